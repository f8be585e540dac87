// The two passes of the label surface over one slice of cells, compiled once per instruction set (see rows_tmpl.h).
#include "workers/kernels/surface_labels_pass.h"

#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define ONES(word) ((uint32_t)kf_ones(word))
#define AHEAD      8 // rows: one takes some hundred nanoseconds, as long as memory does

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

// The last `left` of n bytes.
static inline uint64_t differ_end(const uint8_t *a, const uint8_t *b, int64_t n, int64_t left)
{
    if (n < 64 || left == 0)
        return differ_tail(a + n - left, b + n - left, left);
    return differ_word(a + n - 64, b + n - 64) >> (64 - left);
}

// Finds the active cells of row (j, k) and counts them and the quads of the voxel edges that start at their corner 0.
static void count_labels_row(const struct kf_labels_pass *p, int64_t j, int64_t k)
{
    const int64_t n = p->dim[0], r = j + k * p->cells[1];
    const uint8_t *row[4];
    label_rows(p, j, k, row);
    // A slice is one stretch of memory, a few rows on of which are asked for.
    const uint8_t *soon = j + AHEAD < p->dim[1] && k < p->dim[2] ? row[3] + AHEAD * n : row[3];
    uint64_t *active = p->active + r * p->words;
    uint64_t any_before = 0, along_before = row[0][0] != 0; // bits of the word before that belong to this word's bit 0
    uint32_t vertices = 0, quads = (uint32_t)along_before;
    for (int64_t w = 0; w < p->words; w++) {
        const int64_t left = n - 64 * w;
        const uint8_t *at = row[0] + 64 * w;
        uint64_t y = 0, z = 0, x = 0, both = 0;
        if (left > 64) {
            __builtin_prefetch(soon + 64 * w);
            y = differ_word(at, row[1] + 64 * w);
            z = differ_word(at, row[2] + 64 * w);
            both = differ_word(at, row[3] + 64 * w);
            x = differ_word(at, at + 1);
        } else if (left > 0) {
            y = differ_end(row[0], row[1], n, left);
            z = differ_end(row[0], row[2], n, left);
            both = differ_end(row[0], row[3], n, left);
            x = differ_end(row[0], row[0] + 1, n - 1, left - 1) | (uint64_t)(row[0][n - 1] != 0) << (left - 1);
        }
        const uint64_t any = y | z | both;
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

// ---- the second pass ----

// The cells of a stretch of a row that are active, as a list, so that nothing has to be guessed cell by cell.
#define STRETCH 16 // words
struct stretch {
    uint64_t active[4][STRETCH]; // of the row itself, of the rows before it in y, in z, in both
    uint32_t first[4][STRETCH];  // the number of each word's first vertex
    uint16_t cell[64 * STRETCH + 4];
    int count;
};

// `first` holds the numbers of the next vertices of the four rows, and goes on.
static void list_cells(const struct kf_labels_pass *p, const int64_t rows[4], int64_t word, int64_t words,
                       uint32_t first[4], struct stretch *s)
{
    int count = 0;
    for (int64_t w = 0; w < words; w++) {
        for (int n = 0; n < 4; n++) {
            const uint64_t active = p->active[rows[n] * p->words + word + w];
            s->active[n][w] = active;
            s->first[n][w] = first[n];
            first[n] += ONES(active);
        }
        // Four at a time, whether there are as many or not: what is one too many is written over.
        uint64_t left = s->active[0][w];
        int at = count;
        count += (int)ONES(left);
        while (left)
            for (int n = 0; n < 4; n++, left &= left - 1)
                s->cell[at++] = (uint16_t)(64 * w + __builtin_ctzll(left | (uint64_t)1 << 63));
    }
    s->count = count;
}

// Active cells of a slice wait here until there are some, and then their quads, so that every step is a short loop.
#define WAITING 256
struct waiting_cells {
    struct {
        int32_t at[4];      // the voxel at its corner 0
        uint32_t around[4]; // numbers of its vertex and of those of the cells before it in y, in z, in both
    } cell[WAITING];
    uint8_t pair[WAITING][4][2]; // of the quads along x, y, z: what the net says of them
    uint8_t kind[WAITING][4];
    uint16_t quad[3 * WAITING + 3]; // those that there are: 4·cell + axis
    int count;
    int border;                      // some are at the border of the volume
    uint32_t first_cell, first_quad; // numbers
};

static inline void put_corners(const uint8_t *const row[4], int64_t i, uint64_t *corner)
{
#if defined(__AVX2__)
    uint16_t two[4];
    for (int r = 0; r < 4; r++)
        memcpy(&two[r], row[r] + i - 1, 2);
    __m128i v = _mm_cvtsi32_si128(two[0]);
    v = _mm_insert_epi16(_mm_insert_epi16(_mm_insert_epi16(v, two[1], 1), two[2], 2), two[3], 3);
    _mm_storel_epi64((__m128i *)(void *)corner, v);
#else
    uint64_t v = 0;
    for (int r = 0; r < 4; r++)
        v |= ((uint64_t)row[r][i - 1] | (uint64_t)row[r][i] << 8) << (16 * r);
    *corner = v;
#endif
}

// The same at an end of the row, beyond which there is background.
static inline void put_corners_at_end(const struct kf_labels_pass *p, const uint8_t *const row[4], int64_t i,
                                      uint64_t *corner)
{
    uint64_t v = 0;
    for (int r = 0; r < 4; r++)
        v |= (uint64_t)(i > 0 ? row[r][i - 1] : 0) << (16 * r) | (uint64_t)(i < p->dim[0] ? row[r][i] : 0)
                                                                     << (16 * r + 8);
    *corner = v;
}

// Which edges of a cell join two labels: bit y + 2·z for edges along x, 4 + x + 2·z along y, 8 + x + 2·y along z.
static inline unsigned cell_edges(uint64_t v)
{
#if defined(__AVX2__)
    const __m128i from = _mm_set_epi8(0, 0, 0, 0, 3, 2, 1, 0, 5, 4, 1, 0, 6, 4, 2, 0);
    const __m128i to = _mm_set_epi8(0, 0, 0, 0, 7, 6, 5, 4, 7, 6, 3, 2, 7, 5, 3, 1);
    const __m128i c = _mm_cvtsi64_si128((int64_t)v);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_shuffle_epi8(c, from), _mm_shuffle_epi8(c, to))) ^ 0xffff;
#else
    unsigned x = nonzero_bytes(v ^ v >> 8) & 0x55, y = nonzero_bytes(v ^ v >> 16) & 0x33;
    unsigned z = nonzero_bytes(v ^ v >> 32) & 0x0f;
    x = (x | x >> 1) & 0x33;
    return ((x | x >> 2) & 0x0f) | ((y | y >> 2) & 0x0f) << 4 | z << 8;
#endif
}

// The vertex of a cell; on the axes whose bits are set in `flat` it lies in the middle.
static inline void put_label_vertex(const struct kf_labels_pass *p, const int32_t at[4], unsigned edges, unsigned flat,
                                    float *to)
{
    double place[3];
    for (int a = 0; a < 3; a++)
        place[a] = (double)at[a] + (flat >> a & 1 ? 0.5 : p->offset[edges][a]);
    for (int r = 0; r < 3; r++)
        to[r] = (float)(p->column[0][r] * place[0] + p->column[1][r] * place[1] + p->column[2][r] * place[2] +
                        p->column[3][r]);
}

// The vertices of the cells that wait, as if none were at the border of the volume.
static void put_vertices(const struct kf_labels_pass *p, const struct waiting_cells *q)
{
    const uint64_t *corner = p->corner + q->first_cell;
    float *to = p->xyz + 3 * (int64_t)q->first_cell;
#if defined(__AVX2__)
    const __m256d x = _mm256_loadu_pd(p->column[0]), y = _mm256_loadu_pd(p->column[1]);
    const __m256d z = _mm256_loadu_pd(p->column[2]), origin = _mm256_loadu_pd(p->column[3]);
    const double(*offset)[4] = (const double(*)[4])p->offset;
    for (int n = 0; n < q->count; n++, to += 3) {
        const __m256d cell = _mm256_cvtepi32_pd(_mm_loadu_si128((const __m128i *)(const void *)q->cell[n].at));
        const __m256d at = _mm256_add_pd(cell, _mm256_loadu_pd(offset[cell_edges(corner[n]) & 4095]));
        __m256d sum = _mm256_add_pd(_mm256_mul_pd(x, _mm256_permute4x64_pd(at, 0)),
                                    _mm256_mul_pd(y, _mm256_permute4x64_pd(at, 0x55)));
        sum = _mm256_add_pd(sum, _mm256_mul_pd(z, _mm256_permute4x64_pd(at, 0xaa)));
        const __m128 out = _mm256_cvtpd_ps(_mm256_add_pd(sum, origin));
        _mm_storel_pi((__m64 *)(void *)to, out);
        _mm_store_ss(to + 2, _mm_movehl_ps(out, out));
    }
#else
    for (int n = 0; n < q->count; n++)
        put_label_vertex(p, q->cell[n].at, cell_edges(corner[n]), 0, to + 3 * n);
#endif
}

// Those at the border anew: the outer faces of the last voxels stay flat.
static void put_vertices_at_border(const struct kf_labels_pass *p, const struct waiting_cells *q)
{
    for (int n = 0; n < q->count; n++) {
        unsigned flat = 0;
        for (int a = 0; a < 3; a++)
            flat |= (unsigned)(q->cell[n].at[a] < 0 || q->cell[n].at[a] == p->dim[a] - 1) << a;
        const int64_t v = (int64_t)q->first_cell + n;
        if (flat)
            put_label_vertex(p, q->cell[n].at, cell_edges(p->corner[v]), flat, p->xyz + 3 * v);
    }
}

// Lists the quads around the voxel edges that start at the cells' corners 0, and says what the net says of them.
static int list_quads(const struct kf_labels_pass *p, struct waiting_cells *q)
{
    const uint64_t *corner = p->corner + q->first_cell;
    int quads = 0;
    for (int n = 0; n < q->count; n++) {
        const uint64_t v = corner[n];
#if defined(__AVX2__)
        const __m128i c = _mm_cvtsi64_si128((int64_t)v);
        const __m128i near = _mm_broadcastb_epi8(c);
        const __m128i far = _mm_shuffle_epi8(c, _mm_set_epi8(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2, 1));
        const __m128i most = _mm_max_epu8(near, far), least = _mm_min_epu8(near, far);
        const __m128i last = _mm_cmpeq_epi8(near, least);
        _mm_storel_epi64((__m128i *)(void *)q->pair[n], _mm_unpacklo_epi8(most, least));
        _mm_storeu_si32(q->kind[n], _mm_or_si128(_mm_and_si128(last, _mm_set1_epi8(4)), _mm_set1_epi32(0x020100)));
        const unsigned there = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(near, far)) ^ 7;
#else
        const unsigned near = v & 255;
        unsigned there = 0;
        for (unsigned axis = 0; axis < 3; axis++) {
            const unsigned far = v >> (8 << axis) & 255;
            q->pair[n][axis][0] = (uint8_t)(near > far ? near : far);
            q->pair[n][axis][1] = (uint8_t)(near > far ? far : near);
            q->kind[n][axis] = (uint8_t)(axis + (near > far ? 0 : 4));
            there |= (unsigned)(near != far) << axis;
        }
#endif
        for (unsigned axis = 0; axis < 3; axis++) {
            q->quad[quads] = (uint16_t)(4 * (unsigned)n + axis);
            quads += (int)(there >> axis & 1);
        }
    }
    return quads;
}

// A quad needs its cells only where they are active, and a cell before an active one has the number before.
static void put_quads(const struct kf_labels_pass *p, const struct waiting_cells *q, int quads)
{
    static const uint32_t less[3][4] = {{0, 0, 0, 0}, {1, 1, 0, 0}, {1, 0, 0, 1}};
    uint32_t *ring = p->ring + 4 * (int64_t)q->first_quad;
    uint8_t *pair = p->pair + 2 * (int64_t)q->first_quad, *kind = p->kind + q->first_quad;
    for (int n = 0; n < quads; n++) {
        const unsigned cell = q->quad[n] >> 2, axis = q->quad[n] & 3;
        memcpy(pair + 2 * n, q->pair[cell][axis], 2);
        kind[n] = q->kind[cell][axis];
#if defined(__AVX2__)
        static const uint8_t place[3][16] = {{12, 13, 14, 15, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7},
                                             {8, 9, 10, 11, 0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11},
                                             {4, 5, 6, 7, 4, 5, 6, 7, 0, 1, 2, 3, 0, 1, 2, 3}};
        const __m128i from = _mm_loadu_si128((const __m128i *)(const void *)place[axis]);
        const __m128i all = _mm_loadu_si128((const __m128i *)(const void *)q->cell[cell].around);
        _mm_storeu_si128(
            (__m128i *)(void *)(ring + 4 * n),
            _mm_sub_epi32(_mm_shuffle_epi8(all, from), _mm_loadu_si128((const __m128i *)(const void *)less[axis])));
#else
        static const uint8_t place[3][4] = {{3, 2, 0, 1}, {2, 0, 0, 2}, {1, 1, 0, 0}};
        for (int c = 0; c < 4; c++)
            ring[4 * n + c] = q->cell[cell].around[place[axis][c]] - less[axis][c];
#endif
    }
}

// Not inline, so that neither its loops nor those around it run out of registers.
static __attribute__((noinline)) void put_waiting(const struct kf_labels_pass *p, struct waiting_cells *q)
{
    put_vertices(p, q);
    if (q->border)
        put_vertices_at_border(p, q);
    const int quads = list_quads(p, q);
    put_quads(p, q, quads);
    q->first_quad += (uint32_t)quads;
    q->first_cell += (uint32_t)q->count;
    q->count = q->border = 0;
}

// A row of cells, and the stretch of it that begins at `word`.
struct row_of_cells {
    const uint8_t *voxels[4];
    int64_t j, k, word;
    struct stretch s;
};

// Cells from..to of a stretch join those that wait, as many as there is room for; `at_end` of a row is only one at a
// time. Returns where to go on.
static int add_cells(const struct kf_labels_pass *p, struct waiting_cells *q, const struct row_of_cells *row, int from,
                     int to, int at_end)
{
    const struct stretch *s = &row->s;
    to = to - from > WAITING - q->count ? from + WAITING - q->count : to;
    uint32_t id = q->first_cell + (uint32_t)q->count;
    uint64_t *corner = p->corner + id;
    for (int n = from; n < to; n++, corner++, id++) {
        const int w = s->cell[n] / 64, here = q->count + n - from;
        const int64_t i = 64 * row->word + s->cell[n];
        const uint64_t before = ((uint64_t)1 << (s->cell[n] & 63)) - 1;
        if (at_end)
            put_corners_at_end(p, row->voxels, i, corner);
        else
            put_corners(row->voxels, i, corner);
        const int32_t at[4] = {(int32_t)i - 1, (int32_t)row->j - 1, (int32_t)row->k - 1, 0};
        uint32_t around[4] = {id};
        for (int r = 1; r < 4; r++)
            around[r] = s->first[r][w] + ONES(s->active[r][w] & before);
        memcpy(q->cell[here].at, at, sizeof at);
        memcpy(q->cell[here].around, around, sizeof around);
    }
    q->count += to - from;
    q->border |= at_end || row->j == 0 || row->j == p->dim[1] || row->k == 0 || row->k == p->dim[2];
    if (q->count == WAITING)
        put_waiting(p, q);
    return to;
}

static void fill_labels_row(const struct kf_labels_pass *p, struct waiting_cells *q, int64_t j, int64_t k)
{
    const int64_t r = j + k * p->cells[1];
    const int64_t rows[4] = {r, j ? r - 1 : r, k ? r - p->cells[1] : r, j && k ? r - p->cells[1] - 1 : r};
    uint32_t first[4];
    for (int n = 0; n < 4; n++)
        first[n] = p->first_vertex[rows[n]];
    struct row_of_cells row;
    row.j = j;
    row.k = k;
    label_rows(p, j, k, row.voxels);
    for (row.word = 0; row.word < p->words; row.word += STRETCH) {
        list_cells(p, rows, row.word, p->words - row.word < STRETCH ? p->words - row.word : STRETCH, first, &row.s);
        int n = 0, end = row.s.count;
        if (!end)
            continue;
        if (row.word == 0 && row.s.cell[0] == 0)
            n = add_cells(p, q, &row, 0, 1, 1);
        const int last = end > n && 64 * row.word + row.s.cell[end - 1] == p->dim[0];
        while (n < end - last)
            n = add_cells(p, q, &row, n, end - last, 0);
        if (last)
            add_cells(p, q, &row, n, end, 1);
    }
}

// Asks for the voxels that row (j, k) of cells is going to need and no row before it did. Always inline: as a function
// of its own, without a result, compilers leave it out.
static inline __attribute__((always_inline)) void look_ahead_labels(const struct kf_labels_pass *p, int64_t j,
                                                                    int64_t k)
{
    if (j >= p->dim[1] || k >= p->dim[2])
        return;
    const uint64_t *active = p->active + (j + k * p->cells[1]) * p->words;
    const uint8_t *labels = p->labels + p->dim[0] * (j + p->dim[1] * k);
    for (int64_t w = 0; w < p->words; w++)
        if (active[w])
            __builtin_prefetch(labels + 64 * w);
}

static void labels_fill(const struct kf_labels_pass *p, int64_t k)
{
    struct waiting_cells q;
    q.count = q.border = 0;
    q.first_cell = p->first_vertex[k * p->cells[1]];
    q.first_quad = p->first_quad[k * p->cells[1]];
    const int64_t rows = p->cells[1] * p->cells[2];
    for (int64_t j = 0; j < p->cells[1]; j++) {
        const int64_t r = j + k * p->cells[1];
        look_ahead_labels(p, j + AHEAD, k);
        if (r + 1 == rows || p->first_vertex[r] != p->first_vertex[r + 1])
            fill_labels_row(p, &q, j, k);
    }
    put_waiting(p, &q);
}

#undef ONES
#undef STRETCH
#undef AHEAD
#undef WAITING
