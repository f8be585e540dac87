// The two passes of the label surface over one slice of cells, compiled once per instruction set (see rows_tmpl.h).
#include "workers/kernels/surface_labels_pass.h"

#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__POPCNT__)
#define ONES(word) ((uint32_t)__builtin_popcountll(word))
#else
#define ONES(word) ones_of(word)
#endif

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
        word |= (uint64_t)~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, y)) << (32 * h);
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
                          : differ_tail(row[0] + 64 * w, row[0] + 64 * w + 1, left - 1) |
                                (uint64_t)(row[0][n - 1] != 0) << (left - 1);
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

// The labels of a cell's corners, byte x + 2·y + 4·z.
static inline uint64_t cell_labels(const struct kf_labels_pass *p, const uint8_t *const row[4], int64_t i)
{
    uint64_t v = 0;
    if (i > 0)
        for (int r = 0; r < 4; r++)
            v |= (uint64_t)row[r][i - 1] << (16 * r);
    if (i < p->dim[0])
        for (int r = 0; r < 4; r++)
            v |= (uint64_t)row[r][i] << (16 * r + 8);
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

static inline void put_label_vertex(const struct kf_labels_pass *p, uint32_t id, int64_t i, int64_t j, int64_t k,
                                    unsigned edges)
{
    // Along each axis: edges that run along it (in their middle), and those that lie at its far side.
    static const unsigned along[3] = {0x00f, 0x0f0, 0xf00}, far_side[3] = {0xaa0, 0xc0a, 0x0cc};
    const int64_t cell[3] = {i, j, k};
    double share = 0.5 / (double)ONES(edges), at[3];
    for (int a = 0; a < 3; a++) {
        double offset = share * (double)(ONES(edges & along[a]) + 2 * ONES(edges & far_side[a]));
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
    p->pair[2 * (int64_t)q] = (uint8_t)(near > far ? near : far);
    p->pair[2 * (int64_t)q + 1] = (uint8_t)(near > far ? far : near);
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
        uint32_t id = first[0];
        for (uint64_t cells = active[0]; cells; cells &= cells - 1, id++) {
            int bit = __builtin_ctzll(cells);
            uint64_t before = ((uint64_t)1 << bit) - 1, v = cell_labels(p, row, 64 * w + bit);
            unsigned edges = cell_edges(v);
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

#undef ONES
