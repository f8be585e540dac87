// The two passes of the label surface over one slice of cells, compiled once per instruction set (see rows_tmpl.h).
#include "workers/kernels/surface_labels_pass.h"

#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define ONES(word) ((uint32_t)kf_ones(word))

// Bit n is set when byte n is not zero.
static inline unsigned nonzero_bytes(uint64_t v)
{
    const uint64_t low = 0x7f7f7f7f7f7f7f7fu;
    uint64_t flags = (((v & low) + low) | v) >> 7 & 0x0101010101010101u;
    return (unsigned)(flags * 0x0102040810204080u >> 56);
}

static uint64_t differ_tail(const uint8_t *a, const uint8_t *b, int64_t n)
{
    uint64_t word = 0;
    for (int64_t i = 0; i < n; i++)
        word |= (uint64_t)(a[i] != b[i]) << i;
    return word;
}

#if defined(__AVX512BW__)
static inline uint64_t differ_word(const uint8_t *a, const uint8_t *b)
{
    return _mm512_cmpneq_epi8_mask(_mm512_loadu_si512(a), _mm512_loadu_si512(b));
}
#elif defined(__AVX2__)
static inline uint64_t differ_word(const uint8_t *a, const uint8_t *b)
{
    uint64_t word = 0;
    for (int h = 0; h < 2; h++) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(a + 32 * h));
        __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)(b + 32 * h));
        word |= (uint64_t) ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, y)) << (32 * h);
    }
    return word;
}
#else
static inline uint64_t differ_word(const uint8_t *a, const uint8_t *b)
{
    uint64_t word = 0;
    for (int n = 0; n < 8; n++) {
        uint64_t x, y;
        memcpy(&x, a + 8 * n, 8);
        memcpy(&y, b + 8 * n, 8);
        if (x != y)
            word |= differ_tail(a + 8 * n, b + 8 * n, 8) << (8 * n);
    }
    return word;
}
#endif

// The voxel rows (y, z) = 00, 10, 01, 11 of a row of cells.
static inline void label_rows(const struct kf_labels_pass *p, int64_t j, int64_t k, const uint8_t *row[4])
{
    for (int r = 0; r < 4; r++) {
        int64_t y = j - 1 + (r & 1), z = k - 1 + (r >> 1);
        int there = y >= 0 && y < p->dim[1] && z >= 0 && z < p->dim[2];
        row[r] = there ? p->labels + p->dim[0] * (y + p->dim[1] * z) : p->nothing;
    }
}

static inline uint64_t differ_at(const uint8_t *a, const uint8_t *b, int64_t left)
{
    return a == b ? 0 : left >= 64 ? differ_word(a, b) : differ_tail(a, b, left);
}

// Finds the active cells of row (j, k) and counts them and the quads of the voxel edges that start at their corner 0.
static void count_labels_row(const struct kf_labels_pass *p, int64_t j, int64_t k)
{
    int64_t n = p->dim[0], r = j + k * p->cells[1];
    const uint8_t *row[4];
    label_rows(p, j, k, row);
    uint64_t *active = p->active + r * p->words;
    uint64_t any_before = 0, along_before = row[0][0] != 0; // bits of the word before that belong to this word's bit 0
    uint32_t vertices = 0, quads = (uint32_t)along_before;
    for (int64_t w = 0; w < p->words; w++) {
        int64_t left = n - 64 * w;
        uint64_t y = 0, z = 0, x = 0, any = 0;
        if (left > 0) {
            y = differ_at(row[0] + 64 * w, row[1] + 64 * w, left);
            z = differ_at(row[0] + 64 * w, row[2] + 64 * w, left);
            any = y | z | differ_at(row[0] + 64 * w, row[3] + 64 * w, left);
            x = left > 64 ? differ_word(row[0] + 64 * w, row[0] + 64 * w + 1)
                          : differ_tail(row[0] + 64 * w, row[0] + 64 * w + 1, left - 1) | (uint64_t)(row[0][n - 1] != 0)
                                                                                              << (left - 1);
        }
        active[w] = any | any << 1 | any_before | x << 1 | along_before;
        any_before = any >> 63;
        along_before = x >> 63;
        vertices += ONES(active[w]);
        quads += ONES(x) + ONES(y) + ONES(z);
    }
    p->first_vertex[r] = vertices;
    p->first_quad[r] = quads;
}

static void labels_count(const struct kf_labels_pass *p, int64_t k)
{
    for (int64_t j = 0; j < p->cells[1]; j++)
        count_labels_row(p, j, k);
}

static inline uint64_t two_labels(const uint8_t *row, int64_t i)
{
    return (uint64_t)row[i - 1] | (uint64_t)row[i] << 8;
}

// The labels of a cell's corners, byte x + 2·y + 4·z.
static inline uint64_t cell_labels(const struct kf_labels_pass *p, const uint8_t *const row[4], int64_t i)
{
    if (i > 0 && i < p->dim[0])
        return two_labels(row[0], i) | two_labels(row[1], i) << 16 | two_labels(row[2], i) << 32 |
               two_labels(row[3], i) << 48;
    uint64_t v = 0;
    for (int r = 0; r < 4; r++)
        v |= i > 0 ? (uint64_t)row[r][i - 1] << (16 * r) : (uint64_t)row[r][i] << (16 * r + 8);
    return v;
}

// Which edges of a cell join two labels: bit y + 2·z for edges along x, 4 + x + 2·z along y, 8 + x + 2·y along z.
static inline unsigned cell_edges(uint64_t v)
{
    unsigned x = nonzero_bytes(v ^ v >> 8) & 0x55, y = nonzero_bytes(v ^ v >> 16) & 0x33;
    unsigned z = nonzero_bytes(v ^ v >> 32) & 0x0f;
    x = (x | x >> 1) & 0x33;
    return ((x | x >> 2) & 0x0f) | ((y | y >> 2) & 0x0f) << 4 | z << 8;
}

// The edges of the cells of a word, to ask for one after the other.
#if defined(__AVX512BW__)
struct word_edges {
    __m512i xy, z; // a lane per edge
    int inside;    // all voxels of the word and the one before it are there; else the lanes are not
};

static inline struct word_edges edges_of_word(const struct kf_labels_pass *p, const uint8_t *const row[4], int64_t w)
{
    struct word_edges e = {.inside = w > 0 && 64 * w + 64 <= p->dim[0]};
    if (!e.inside)
        return e;
    __m512i near[4], far[4];
    for (int r = 0; r < 4; r++) {
        near[r] = _mm512_loadu_si512(row[r] + 64 * w - 1);
        far[r] = _mm512_loadu_si512(row[r] + 64 * w);
    }
#define DIFFER(a, b) ((int64_t)_mm512_cmpneq_epi8_mask(a, b))
    e.xy = _mm512_set_epi64(DIFFER(far[2], far[3]), DIFFER(near[2], near[3]), DIFFER(far[0], far[1]),
                            DIFFER(near[0], near[1]), DIFFER(near[3], far[3]), DIFFER(near[2], far[2]),
                            DIFFER(near[1], far[1]), DIFFER(near[0], far[0]));
    e.z = _mm512_set_epi64(0, 0, 0, 0, DIFFER(far[1], far[3]), DIFFER(near[1], near[3]), DIFFER(far[0], far[2]),
                           DIFFER(near[0], near[2]));
#undef DIFFER
    return e;
}

static inline unsigned edges_at(const struct word_edges *e, uint64_t bit, uint64_t v)
{
    if (!e->inside)
        return cell_edges(v);
    const __m512i here = _mm512_set1_epi64((int64_t)bit);
    return _mm512_test_epi64_mask(e->xy, here) | (unsigned)_mm512_test_epi64_mask(e->z, here) << 8;
}
#else
struct word_edges {
    char nothing; // a cell's labels tell
};

static inline struct word_edges edges_of_word(const struct kf_labels_pass *p, const uint8_t *const row[4], int64_t w)
{
    (void)p, (void)row, (void)w;
    return (struct word_edges){0};
}

static inline unsigned edges_at(const struct word_edges *e, uint64_t bit, uint64_t v)
{
    (void)e, (void)bit;
    return cell_edges(v);
}
#endif

static inline void put_label_vertex(const struct kf_labels_pass *p, uint32_t id, int64_t i, int64_t j, int64_t k,
                                    unsigned edges)
{
    const int64_t cell[3] = {i, j, k};
    double at[3];
    for (int a = 0; a < 3; a++) {
        double offset = p->offset[edges][a];
        if (cell[a] == 0 || cell[a] == p->dim[a])
            offset = 0.5; // the outer faces of the last voxels stay flat
        at[a] = (double)(cell[a] - 1) + offset;
    }
    float *to = p->xyz + 3 * (int64_t)id;
    for (int r = 0; r < 3; r++) {
        const double *m = p->to_lps + 4 * r;
        to[r] = (float)(m[0] * at[0] + m[1] * at[1] + m[2] * at[2] + m[3]);
    }
}

static inline void put_quad(const struct kf_labels_pass *p, uint32_t q, int axis, unsigned near, unsigned far,
                            uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    uint32_t *ring = p->ring + 4 * (int64_t)q;
    ring[0] = a;
    ring[1] = b;
    ring[2] = c;
    ring[3] = d;
    uint8_t *pair = p->pair + 2 * (int64_t)q;
    pair[0] = (uint8_t)(near > far ? near : far);
    pair[1] = (uint8_t)(near > far ? far : near);
    p->kind[q] = (uint8_t)(axis + (near > far ? 0 : 4));
}

// The vertices of cell row (j, k), and the quads around the voxel edges that start at the corners 0 of its cells. A
// quad needs its cells only where they are active, and a cell before an active one has the number before.
static void fill_labels_row(const struct kf_labels_pass *p, int64_t j, int64_t k)
{
    int64_t r = j + k * p->cells[1];
    const uint8_t *row[4];
    label_rows(p, j, k, row);
    int64_t rows[4] = {r, j ? r - 1 : r, k ? r - p->cells[1] : r, j && k ? r - p->cells[1] - 1 : r};
    uint32_t first[4];
    for (int n = 0; n < 4; n++)
        first[n] = p->first_vertex[rows[n]];
    uint32_t quad = p->first_quad[r];
    for (int64_t w = 0; w < p->words; w++) {
        uint64_t active[4];
        for (int n = 0; n < 4; n++)
            active[n] = p->active[rows[n] * p->words + w];
        if (!(active[0] | active[1] | active[2] | active[3]))
            continue;
        uint32_t id = first[0];
        const struct word_edges all = edges_of_word(p, row, w);
        for (uint64_t cells = active[0]; cells; cells &= cells - 1, id++) {
            const int bit = __builtin_ctzll(cells);
            const uint64_t before = ((uint64_t)1 << bit) - 1, v = cell_labels(p, row, 64 * w + bit);
            const unsigned edges = edges_at(&all, (uint64_t)1 << bit, v);
            p->corner[id] = v;
            put_label_vertex(p, id, 64 * w + bit, j, k, edges);
            if (!(edges & 0x111))
                continue;
            uint32_t down = first[1] + ONES(active[1] & before), back = first[2] + ONES(active[2] & before);
            uint32_t both = first[3] + ONES(active[3] & before);
            unsigned near = (unsigned)(v & 255);
            if (edges & 0x001)
                put_quad(p, quad++, 0, near, (unsigned)(v >> 8 & 255), both, back, id, down);
            if (edges & 0x010)
                put_quad(p, quad++, 1, near, (unsigned)(v >> 16 & 255), back - 1, id - 1, id, back);
            if (edges & 0x100)
                put_quad(p, quad++, 2, near, (unsigned)(v >> 32 & 255), down - 1, down, id, id - 1);
        }
        for (int n = 0; n < 4; n++)
            first[n] += ONES(active[n]);
    }
}

static void labels_fill(const struct kf_labels_pass *p, int64_t k)
{
    for (int64_t j = 0; j < p->cells[1]; j++)
        fill_labels_row(p, j, k);
}

// ---- the surface of one label: the vertices and the triangles of one block ----

static void labels_vertices(const struct kf_labels_extraction *x, int64_t block, float *xyz)
{
    uint32_t number = (uint32_t)x->before[block];
    float *to = xyz + 3 * (int64_t)number;
    for (int64_t w = block * KF_LABELS_BLOCK / 8; w < (kf_label_block_end(block, x->s->vertices) + 7) / 8; w++) {
        const uint64_t codes = x->code[w], joined = x->joined[w / 8] >> (8 * (w % 8));
        const float *from = x->s->xyz + 24 * w;
        for (unsigned left = codes ? nonzero_bytes(codes) : 0; left; left &= left - 1) {
            const int at = __builtin_ctz(left);
            const unsigned rule = (unsigned)(joined >> at & 1), count = x->loops.count[rule][codes >> (8 * at) & 255];
            x->number[8 * w + at] = number | (rule | (count > 1)) << 31;
            number += count;
            for (unsigned n = 0; n < count; n++, to += 3)
                memcpy(to, from + 3 * at, 3 * sizeof *to);
        }
    }
}

// The numbers of a quad's corners in the mesh.
static inline void quad_numbers(const struct kf_labels_extraction *x, int64_t q, uint32_t id[4])
{
    const uint32_t *ring = x->s->ring + 4 * q;
    for (int c = 0; c < 4; c++)
        id[c] = (x->number[ring[c]] & ~KF_LABELS_MANY) +
                x->loops.of[kf_label_rule(x, ring[c])][kf_label_code(x, ring[c])][x->edge[x->s->kind[q] & 3][c]];
}

// The ring turns counter-clockwise seen from the far voxel; the mesh faces away from the label.
static inline int quad_turn(const struct kf_labels_extraction *x, int64_t q)
{
    return x->s->kind[q] >> 2 ^ (x->s->pair[2 * q] != x->label) ^ x->s->mirrored;
}

#if defined(__AVX2__)
// kf_label_triangles, and its choice of a diagonal.
static inline void put_quad_triangles(const struct kf_labels_extraction *x, int64_t q, uint32_t *to)
{
    static const int32_t orders[4][8] = {
        {0, 1, 2, 0, 2, 3}, {1, 2, 3, 1, 3, 0}, {0, 2, 1, 0, 3, 2}, {1, 3, 2, 1, 0, 3}};
    const uint32_t *ring = x->s->ring + 4 * q;
    const float *xyz = x->s->xyz;
    const uint32_t *number = x->number;
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
    const int other = _mm_comilt_ss(_mm_movehdup_ps(sum), sum);
    const __m256i order = _mm256_loadu_si256((const __m256i *)(const void *)orders[2 * quad_turn(x, q) + other]);
    const __m256i out = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(id), order);
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(out));
    _mm_storeu_si64(to + 4, _mm256_extracti128_si256(out, 1));
}
#else
static inline void put_quad_triangles(const struct kf_labels_extraction *x, int64_t q, uint32_t *to)
{
    const uint32_t *ring = x->s->ring + 4 * q;
    uint32_t id[4], many = 0;
    for (int c = 0; c < 4; c++) {
        id[c] = x->number[ring[c]];
        many |= id[c];
    }
    if (many & KF_LABELS_MANY)
        quad_numbers(x, q, id);
    kf_label_triangles(x->s, ring, id, quad_turn(x, q), to);
}
#endif

static void labels_quads(const struct kf_labels_extraction *x, int64_t block, uint32_t *index)
{
    uint32_t *to = index + 6 * x->before[x->vertex_blocks + block];
    const int64_t end = (kf_label_block_end(block, x->s->quads) + 31) / 32;
    for (int64_t w = block * KF_LABELS_BLOCK / 32; w < end; w++) {
        const uint64_t soon = w + 4 < end ? x->quad[w + 4] : 0; // what a label has of the net comes in pieces
        for (int64_t line = 0; line < 8; line++)
            if (soon >> (8 * line) & 255)
                __builtin_prefetch(x->s->ring + 128 * (w + 4) + 16 * line);
        for (uint64_t left = x->quad[w]; left; left &= left - 1, to += 6)
            put_quad_triangles(x, 32 * w + __builtin_ctzll(left) / 2, to);
    }
}

#undef ONES
