// The surface of one label, block by block of the net: which cells it passes through, its vertices, its triangles.
// Compiled once per instruction set (see rows_tmpl.h).
#include "workers/kernels/surface_labels_pass.h"

#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

// ---- which cells ----

// The cells of a word, one by one; there are `count` of them.
static void find_cells(const struct kf_labels_extraction *x, int64_t w, int64_t count)
{
    uint64_t here = 0, odd = 0;
    for (int64_t n = 0; n < count; n++) {
        const unsigned code = kf_label_code(x, 64 * w + n);
        here |= (uint64_t)(code != 0) << n;
        odd |= (uint64_t)(x->loops.odd[code / 8] >> (code % 8) & 1) << n;
    }
    x->here[w] = here;
    x->odd[w] = odd;
}

// All 64 cells of a word. A code is a byte with a bit per corner; `odd` is looked up in two halves of 16 bytes by the
// code's upper five bits, and the bit in it by its lower three.
#if defined(__AVX512BW__)
static inline void find_word(const struct kf_labels_extraction *x, int64_t w)
{
    const __m512i label = _mm512_set1_epi8((char)x->label);
    const uint64_t *corner = x->s->corner + 64 * w;
    int64_t c[8];
    for (int n = 0; n < 8; n++)
        c[n] = (int64_t)_mm512_cmpeq_epi8_mask(_mm512_loadu_si512(corner + 8 * n), label);
    if (!(c[0] | c[1] | c[2] | c[3] | c[4] | c[5] | c[6] | c[7])) {
        x->here[w] = x->odd[w] = 0;
        return;
    }
    const __m512i codes = _mm512_set_epi64(c[7], c[6], c[5], c[4], c[3], c[2], c[1], c[0]);
    const __m512i low = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)x->loops.odd));
    const __m512i high = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)(x->loops.odd + 16)));
    const __m512i bits = _mm512_set1_epi64((int64_t)0x8040201008040201u);
    const __m512i place = _mm512_and_si512(_mm512_srli_epi16(codes, 3), _mm512_set1_epi8(15));
    const __m512i byte =
        _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(low, place), _mm512_movepi8_mask(codes), high, place);
    const __m512i bit = _mm512_shuffle_epi8(bits, _mm512_and_si512(codes, _mm512_set1_epi8(7)));
    x->here[w] = _mm512_test_epi8_mask(codes, codes);
    x->odd[w] = _mm512_test_epi8_mask(byte, bit);
}
#elif defined(__AVX2__)
static inline void find_word(const struct kf_labels_extraction *x, int64_t w)
{
    const __m256i label = _mm256_set1_epi8((char)x->label), none = _mm256_setzero_si256();
    const __m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)x->loops.odd));
    const __m256i high =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(x->loops.odd + 16)));
    const __m256i bits = _mm256_set1_epi64x((int64_t)0x8040201008040201u);
    uint64_t here = 0, odd = 0;
    for (int h = 0; h < 2; h++) {
        const uint64_t *corner = x->s->corner + 64 * w + 32 * h;
        int c[8];
        for (int n = 0; n < 8; n++)
            c[n] = _mm256_movemask_epi8(
                _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)(corner + 4 * n)), label));
        const __m256i codes = _mm256_set_epi32(c[7], c[6], c[5], c[4], c[3], c[2], c[1], c[0]);
        const __m256i place = _mm256_and_si256(_mm256_srli_epi16(codes, 3), _mm256_set1_epi8(15));
        const __m256i byte =
            _mm256_blendv_epi8(_mm256_shuffle_epi8(low, place), _mm256_shuffle_epi8(high, place), codes);
        const __m256i bit = _mm256_shuffle_epi8(bits, _mm256_and_si256(codes, _mm256_set1_epi8(7)));
        here |= (uint64_t)(uint32_t)~_mm256_movemask_epi8(_mm256_cmpeq_epi8(codes, none)) << (32 * h);
        odd |= (uint64_t)(uint32_t)~_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_and_si256(byte, bit), none))
               << (32 * h);
    }
    x->here[w] = here;
    x->odd[w] = odd;
}
#else
static inline void find_word(const struct kf_labels_extraction *x, int64_t w)
{
    find_cells(x, w, 64);
}
#endif

static void labels_find(const struct kf_labels_extraction *x, int64_t block)
{
    const int64_t end = kf_label_block_end(block, x->s->vertices);
    int64_t w = block * KF_LABELS_BLOCK / 64;
    for (; 64 * w + 64 <= end; w++)
        find_word(x, w);
    if (64 * w < end)
        find_cells(x, w, end - 64 * w);
}

// ---- vertices ----

// The vertices of the cells of a word, one by one; the next number and the place to write go on.
static inline void put_cells_of_label(const struct kf_labels_extraction *x, int64_t w, uint32_t *number, float **to)
{
    const uint64_t odd = x->odd[w];
    for (uint64_t left = x->here[w]; left; left &= left - 1) {
        const int at = __builtin_ctzll(left);
        const int64_t v = 64 * w + at;
        const uint32_t is_odd = (uint32_t)(odd >> at & 1);
        const unsigned count = is_odd ? x->loops.count[kf_label_rule(x, v)][kf_label_code(x, v)] : 1;
        x->number[v] = *number | is_odd << 31;
        *number += count;
        for (unsigned n = 0; n < count; n++, *to += 3)
            memcpy(*to, x->s->xyz + 3 * v, 3 * sizeof **to);
    }
}

#if defined(__AVX512BW__)
// The same for whole words without odd cells, 16 cells at a time: 48 coordinates in three registers.
static inline void put_word_of_label(const struct kf_labels_extraction *x, int64_t w, uint32_t *number, float **to)
{
    const __m512i count = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i cell[3] = {
        _mm512_set_epi32(32, 16, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1),
        _mm512_set_epi32(1024, 1024, 512, 512, 512, 256, 256, 256, 128, 128, 128, 64, 64, 64, 32, 32),
        _mm512_set_epi32(32768, 32768, 32768, 16384, 16384, 16384, 8192, 8192, 8192, 4096, 4096, 4096, 2048, 2048, 2048,
                         1024)};
    const uint64_t here = x->here[w];
    for (int part = 0; part < 4; part++) {
        const __mmask16 cells = (__mmask16)(here >> (16 * part));
        if (!cells)
            continue;
        const int64_t v = 64 * w + 16 * part;
        const __m512i all = _mm512_set1_epi32(cells);
        _mm512_storeu_si512(x->number + v,
                            _mm512_maskz_expand_epi32(cells, _mm512_add_epi32(count, _mm512_set1_epi32((int)*number))));
        *number += (uint32_t)kf_ones(cells);
        for (int r = 0; r < 3; r++) {
            const __mmask16 mine = _mm512_test_epi32_mask(all, cell[r]);
            const int64_t n = kf_ones(mine);
            const __m512 those = _mm512_maskz_compress_ps(mine, _mm512_loadu_ps(x->s->xyz + 3 * v + 16 * r));
            _mm512_mask_storeu_ps(*to, (__mmask16)((1u << n) - 1), those);
            *to += n;
        }
    }
}
#endif

static void labels_vertices(const struct kf_labels_extraction *x, int64_t block, float *xyz)
{
    uint32_t number = (uint32_t)x->before[block];
    float *to = xyz + 3 * (int64_t)number;
    const int64_t end = kf_label_block_end(block, x->s->vertices);
    for (int64_t w = block * KF_LABELS_BLOCK / 64; 64 * w < end; w++) {
#if defined(__AVX512BW__)
        if (!x->odd[w] && 64 * w + 64 <= end) {
            put_word_of_label(x, w, &number, &to);
            continue;
        }
#endif
        put_cells_of_label(x, w, &number, &to);
    }
}

// ---- triangles ----

// The numbers of a quad's corners in the mesh where cells are odd. Hardly ever called, and not inline, so that the loop
// that does keeps its registers.
static __attribute__((noinline)) void quad_numbers(const struct kf_labels_extraction *x, int64_t q, uint32_t id[4])
{
    const uint32_t *ring = x->s->ring + 4 * q;
    for (int c = 0; c < 4; c++) {
        id[c] = x->number[ring[c]];
        if (id[c] & KF_LABELS_MANY)
            id[c] = (id[c] & ~KF_LABELS_MANY) +
                    x->loops.of[kf_label_rule(x, ring[c])][kf_label_code(x, ring[c])][x->edge[x->s->kind[q] & 3][c]];
    }
}

// What the loop over quads needs of an extraction.
struct label_quads {
    const uint32_t *ring, *number;
    const float *xyz;
    const uint8_t *kind;
};

// The two triangles of quad q, turned around when `turn` is 1; kf_label_triangles, and its choice of a diagonal.
static inline void put_quad(const struct kf_labels_extraction *x, const struct label_quads *s, int64_t q, unsigned turn,
                            uint32_t *to)
{
    const uint32_t *ring = s->ring + 4 * q, *number = s->number;
#if defined(__AVX2__)
    static const int32_t orders[4][8] = {
        {0, 1, 2, 0, 2, 3}, {1, 2, 3, 1, 3, 0}, {0, 2, 1, 0, 3, 2}, {1, 3, 2, 1, 0, 3}};
    const float *xyz = s->xyz;
    __m128i id = _mm_set_epi32((int)number[ring[3]], (int)number[ring[2]], (int)number[ring[1]], (int)number[ring[0]]);
    if (_mm_movemask_ps(_mm_castsi128_ps(id))) {
        uint32_t each[4];
        quad_numbers(x, q, each);
        memcpy(&id, each, sizeof id);
    }
    __m128 one = _mm_sub_ps(_mm_loadu_ps(xyz + 3 * (int64_t)ring[0]), _mm_loadu_ps(xyz + 3 * (int64_t)ring[2]));
    __m128 two = _mm_sub_ps(_mm_loadu_ps(xyz + 3 * (int64_t)ring[1]), _mm_loadu_ps(xyz + 3 * (int64_t)ring[3]));
    one = _mm_mul_ps(one, one);
    two = _mm_mul_ps(two, two);
    __m128 low = _mm_unpacklo_ps(one, two), sum = _mm_add_ps(low, _mm_movehl_ps(low, low));
    sum = _mm_add_ps(sum, _mm_unpackhi_ps(one, two));
    const unsigned other = (unsigned)_mm_comilt_ss(_mm_movehdup_ps(sum), sum);
    const __m256i order = _mm256_loadu_si256((const __m256i *)(const void *)orders[2 * turn + other]);
    const __m256i out = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(id), order);
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(out));
    _mm_storeu_si64(to + 4, _mm256_extracti128_si256(out, 1));
#else
    uint32_t id[4], many = 0;
    for (int c = 0; c < 4; c++) {
        id[c] = number[ring[c]];
        many |= id[c];
    }
    if (many & KF_LABELS_MANY)
        quad_numbers(x, q, id);
    kf_label_triangles(x->s, ring, id, (int)turn, to);
#endif
}

// The ring turns counter-clockwise seen from the far voxel; the mesh faces away from the label.
static void labels_quads(const struct kf_labels_extraction *x, int64_t block, uint32_t *index)
{
    const struct label_quads s = {x->s->ring, x->number, x->s->xyz, x->s->kind};
    const uint64_t *quad = x->quad;
    const unsigned mirrored = (unsigned)x->s->mirrored;
    const int64_t end = (kf_label_block_end(block, x->s->quads) + 31) / 32;
    uint32_t *to = index + 6 * x->before[x->vertex_blocks + block];
    for (int64_t w = block * KF_LABELS_BLOCK / 32; w < end; w++) {
        const uint64_t soon = w + 4 < end ? quad[w + 4] : 0; // what a label has of the net comes in pieces
        for (int64_t line = 0; line < 8; line++)
            if (soon >> (8 * line) & 255)
                __builtin_prefetch(s.ring + 128 * (w + 4) + 16 * line);
        for (uint64_t left = quad[w]; left; left &= left - 1, to += 6) {
            const unsigned bit = (unsigned)__builtin_ctzll(left);
            const int64_t q = 32 * w + bit / 2;
            put_quad(x, &s, q, (s.kind[q] >> 2 & 1) ^ (bit & 1) ^ mirrored, to);
        }
    }
}
