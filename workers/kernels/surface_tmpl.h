// The two passes over one slice of cells, compiled once per instruction set (see rows_tmpl.h). The padded mask tells
// by word operations which edges cross the surface and which cells are active; a vertex number is the row's first
// vertex plus the rank of its bit, so no edge table is kept.
#include "workers/kernels/surface_pass.h"

#include <string.h>

#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

#define ONES(word) ((uint32_t)kf_ones(word))

// One word of the four rows around a row of cells, and of the same rows moved by one voxel.
struct cell_words {
    uint64_t here[4]; // (y, z): 00, 10, 01, 11
    uint64_t next[4];
    uint64_t edges_mask, cells_mask; // voxels, and cells or x edges, of this word that take part
    uint64_t active;                 // cells that the surface passes through
};

static inline uint64_t range_mask(int64_t w, int64_t low, int64_t high)
{
    int64_t from = low - 64 * w, to = high - 64 * w;
    if (from >= 64 || to <= 0)
        return 0;
    uint64_t mask = from > 0 ? ~(uint64_t)0 << from : ~(uint64_t)0;
    return to < 64 ? mask & (((uint64_t)1 << to) - 1) : mask;
}

// 0 when no edge of this word crosses the surface, as in most; *c is then not filled.
static inline int load_cells(const struct kf_surface_pass *p, const uint64_t *const row[4], int64_t w,
                             struct cell_words *c)
{
    uint64_t any = 0, all = ~(uint64_t)0;
    for (int r = 0; r < 4; r++) {
        c->here[r] = row[r][w];
        c->next[r] = c->here[r] >> 1 | (w + 1 < p->words ? row[r][w + 1] << 63 : 0);
        any |= c->here[r] | c->next[r];
        all &= c->here[r] & c->next[r];
    }
    if (any == 0 || all == ~(uint64_t)0)
        return 0;
    c->edges_mask = range_mask(w, p->low, p->high[0]);
    c->cells_mask = range_mask(w, p->low, p->high[0] - 1);
    c->active = any & ~all & c->cells_mask;
    return 1;
}

// The four rows of cell row (j, k); those past the padding are empty and stand in for by the last row, which is.
static inline void cell_rows(const struct kf_surface_pass *p, int64_t j, int64_t k, const uint64_t *row[4])
{
    int64_t j1 = j + 1 < p->padded[1] ? j + 1 : j, k1 = k + 1 < p->padded[2] ? k + 1 : k;
    row[0] = p->bits + (j + k * p->padded[1]) * p->words;
    row[1] = p->bits + (j1 + k * p->padded[1]) * p->words;
    row[2] = p->bits + (j + k1 * p->padded[1]) * p->words;
    row[3] = p->bits + (j1 + k1 * p->padded[1]) * p->words;
}

static inline int takes_part(const struct kf_surface_pass *p, int axis, int64_t at)
{
    return at >= p->low && at < p->high[axis];
}

#if defined(__AVX512BW__)
// The corners of all cells of a word: one lane per corner, so that one test makes a cell's case.
static inline __m512i corner_lanes(const struct cell_words *c)
{
    return _mm512_set_epi64((int64_t)c->next[3], (int64_t)c->here[3], (int64_t)c->next[2], (int64_t)c->here[2],
                            (int64_t)c->next[1], (int64_t)c->here[1], (int64_t)c->next[0], (int64_t)c->here[0]);
}

static inline int64_t count_triangles(const struct kf_surface_pass *p, const struct cell_words *c)
{
    const __m512i corners = corner_lanes(c);
    int64_t triangles = 0;
    for (uint64_t cells = c->active; cells; cells &= cells - 1)
        triangles += p->table->count[_mm512_test_epi64_mask(corners, _mm512_set1_epi64((int64_t)(cells & -cells)))];
    return triangles;
}
#else
static inline unsigned cell_case(const struct cell_words *c, int bit)
{
    unsigned code = 0;
    for (int r = 0; r < 4; r++)
        code |= (unsigned)(c->here[r] >> bit & 1) << (2 * r) | (unsigned)(c->next[r] >> bit & 1) << (2 * r + 1);
    return code;
}

static inline int64_t count_triangles(const struct kf_surface_pass *p, const struct cell_words *c)
{
    int64_t triangles = 0;
    for (uint64_t cells = c->active; cells; cells &= cells - 1)
        triangles += p->table->count[cell_case(c, __builtin_ctzll(cells))];
    return triangles;
}
#endif

static void surface_count(const struct kf_surface_pass *p, int64_t k)
{
    for (int64_t j = 0; j < p->padded[1]; j++) {
        const uint64_t *row[4];
        cell_rows(p, j, k, row);
        int y0 = takes_part(p, 1, j), y1 = takes_part(p, 1, j + 1), z0 = takes_part(p, 2, k);
        int z1 = takes_part(p, 2, k + 1);
        uint64_t use_x = y0 && z0 ? ~(uint64_t)0 : 0, use_y = y0 && y1 && z0 ? ~(uint64_t)0 : 0;
        uint64_t use_z = y0 && z0 && z1 ? ~(uint64_t)0 : 0;
        uint32_t nx = 0, ny = 0, nz = 0;
        int64_t triangles = 0;
        for (int64_t w = 0; w < p->words; w++) {
            struct cell_words c;
            if (!load_cells(p, row, w, &c))
                continue;
            nx += ONES((c.here[0] ^ c.next[0]) & c.cells_mask & use_x);
            ny += ONES((c.here[0] ^ c.here[1]) & c.edges_mask & use_y);
            nz += ONES((c.here[0] ^ c.here[2]) & c.edges_mask & use_z);
            if (use_y & use_z)
                triangles += count_triangles(p, &c);
        }
        int64_t r = j + k * p->padded[1];
        p->first_x[r] = nx;
        p->first_y[r] = ny;
        p->first_z[r] = nz;
        p->first_triangle[r] = triangles;
    }
}

static inline double grey_at(const struct kf_surface_pass *p, int64_t i, int64_t j, int64_t k)
{
    int64_t at = i - 1 + p->dim[0] * (j - 1 + p->dim[1] * (k - 1));
    return p->grey_float ? (double)((const float *)p->grey)[at] : (double)((const int16_t *)p->grey)[at];
}

static inline int in_volume(const struct kf_surface_pass *p, int64_t i, int64_t j, int64_t k)
{
    return i > 0 && j > 0 && k > 0 && i <= p->dim[0] && j <= p->dim[1] && k <= p->dim[2];
}

// How far along the edge from a = (i, j, k) to its neighbour b on `axis` the surface lies. Never quite at an end, so
// that no triangle collapses.
static inline double crossing(const struct kf_surface_pass *p, int64_t i, int64_t j, int64_t k, int axis, int a_inside)
{
    const double near_end = 1.0 / 64;
    int64_t bi = i + (axis == 0), bj = j + (axis == 1), bk = k + (axis == 2);
    if (!in_volume(p, i, j, k))
        return 1 - near_end; // the cap lies on the last voxel centres
    if (!in_volume(p, bi, bj, bk))
        return near_end;
    if (!p->grey)
        return 0.5;
    double a = grey_at(p, i, j, k) - p->iso, b = grey_at(p, bi, bj, bk) - p->iso;
    if (a_inside ? !(a >= 0 && b < 0) : !(b >= 0 && a < 0))
        return 0.5; // the mask and the grey values disagree here
    double t = a / (a - b);
    return t < near_end ? near_end : t > 1 - near_end ? 1 - near_end : t;
}

static inline void put_vertex(const struct kf_surface_pass *p, float *to, int64_t i, int64_t j, int64_t k, int axis,
                              int a_inside)
{
    double at[3] = {(double)i, (double)j, (double)k};
    at[axis] += crossing(p, i, j, k, axis, a_inside);
    for (int r = 0; r < 3; r++) {
        const double *m = p->to_lps + 4 * r;
        to[r] = (float)(m[0] * at[0] + m[1] * at[1] + m[2] * at[2] + m[3]);
    }
}

// Vertices wait here until there are many, so that their arithmetic is done some at a time. The vertices of a slice
// are one stretch of numbers in the order in which they come.
#define WAIT 256
#if defined(__AVX512F__)
#define SOME 8
#elif defined(__AVX2__)
#define SOME 4
#else
#define SOME 2
#endif
typedef double some __attribute__((vector_size(8 * SOME)));
typedef int64_t some_bits __attribute__((vector_size(8 * SOME)));
typedef float some_floats __attribute__((vector_size(4 * SOME)));
typedef int32_t some_ints __attribute__((vector_size(4 * SOME)));

struct waiting {
    float a[WAIT], b[WAIT];               // grey values at both ends
    int32_t i[WAIT], j[WAIT], axis[WAIT]; // padded indexes of the first end
    int32_t inside[WAIT];                 // all bits: the first end
    int count;
    int64_t k;
    float *to;
};

static inline some choose(some_bits mask, some yes, some no)
{
    return (some)((mask & (some_bits)yes) | (~mask & (some_bits)no));
}

static inline some to_doubles(const int32_t *from)
{
    some_ints v;
    memcpy(&v, from, sizeof v);
    return __builtin_convertvector(v, some);
}

// crossing() for some edges within the volume.
static inline some some_crossings(const struct kf_surface_pass *p, const struct waiting *q, int n)
{
    const some near_end = (some){0} + 1.0 / 64, far_end = (some){0} + (1 - 1.0 / 64), half = (some){0} + 0.5;
    some_floats va, vb;
    some_ints vi;
    memcpy(&va, q->a + n, sizeof va);
    memcpy(&vb, q->b + n, sizeof vb);
    memcpy(&vi, q->inside + n, sizeof vi);
    const some a = __builtin_convertvector(va, some) - p->iso, b = __builtin_convertvector(vb, some) - p->iso;
    const some_bits inside = __builtin_convertvector(vi, some_bits);
    const some high = choose(inside, a, b), low = choose(inside, b, a), zero = {0};
    some t = a / (a - b);
    t = choose(t < near_end, near_end, t);
    t = choose(t > far_end, far_end, t);
    return choose((high >= zero) & (low < zero), t, half); // the mask and the grey values disagree elsewhere
}

static inline void flush_vertices(const struct kf_surface_pass *p, struct waiting *q)
{
    const some k = (some){0} + (double)q->k;
    for (int n = 0; n < q->count; n += SOME) {
        const some t = some_crossings(p, q, n);
        some_ints axis;
        memcpy(&axis, q->axis + n, sizeof axis);
        const some_bits on = __builtin_convertvector(axis, some_bits);
        some at[3] = {to_doubles(q->i + n), to_doubles(q->j + n), k};
        for (int a = 0; a < 3; a++)
            at[a] += (some)((some_bits)t & (on == a));
        float out[3][SOME];
        for (int r = 0; r < 3; r++) {
            const double *m = p->to_lps + 4 * r;
            some_floats v = __builtin_convertvector(m[0] * at[0] + m[1] * at[1] + m[2] * at[2] + m[3], some_floats);
            memcpy(out[r], &v, sizeof v);
        }
        int here = q->count - n < SOME ? q->count - n : SOME;
        for (int s = 0; s < here; s++)
            for (int r = 0; r < 3; r++)
                *q->to++ = out[r][s];
    }
    q->count = 0;
}

static inline void wait_for(struct waiting *q, float a, float b, int64_t i, int64_t j, int axis, int inside)
{
    int n = q->count++;
    q->a[n] = a;
    q->b[n] = b;
    q->i[n] = (int32_t)i;
    q->j[n] = (int32_t)j;
    q->axis[n] = axis;
    q->inside[n] = -inside;
}

// The crossed edges of word w of row (j, k) along `axis`, all of them within the volume.
static inline void collect(const struct kf_surface_pass *p, struct waiting *q, uint64_t crossed, uint64_t inside,
                           int64_t w, int64_t j, int axis)
{
    const int64_t step = axis == 0 ? 1 : axis == 1 ? p->dim[0] : p->dim[0] * p->dim[1];
    const int64_t base = 64 * w - 1 + p->dim[0] * (j - 1 + p->dim[1] * (q->k - 1));
    if (q->count > WAIT - 64)
        flush_vertices(p, q);
    for (; crossed; crossed &= crossed - 1) {
        int bit = __builtin_ctzll(crossed), in = (int)(inside >> bit & 1);
        float a = 0, b = 0; // without grey values both alike: in the middle
        if (p->grey && p->grey_float) {
            a = ((const float *)p->grey)[base + bit];
            b = ((const float *)p->grey)[base + bit + step];
        } else if (p->grey) {
            a = ((const int16_t *)p->grey)[base + bit];
            b = ((const int16_t *)p->grey)[base + bit + step];
        }
        wait_for(q, a, b, 64 * w + bit, j, axis, in);
    }
}

// The same where an edge leaves the volume: one by one.
static void put_at_border(const struct kf_surface_pass *p, struct waiting *q, uint64_t crossed, uint64_t inside,
                          int64_t w, int64_t j, int axis)
{
    flush_vertices(p, q);
    for (; crossed; crossed &= crossed - 1, q->to += 3) {
        int bit = __builtin_ctzll(crossed);
        put_vertex(p, q->to, 64 * w + bit, j, q->k, axis, (int)(inside >> bit & 1));
    }
}

// Vertices of the edges along `axis` that start at row (j, k).
static void fill_vertices(const struct kf_surface_pass *p, struct waiting *q, int64_t j, const uint64_t *const row[4],
                          int axis)
{
    const int leaves = axis == 1 ? j == 0 || j == p->dim[1] : axis == 2 ? q->k == 0 || q->k == p->dim[2] : 0;
    for (int64_t w = 0; w < p->words; w++) {
        uint64_t here = row[0][w], crossed;
        if (axis == 0)
            crossed = (here ^ (here >> 1 | (w + 1 < p->words ? row[0][w + 1] << 63 : 0))) &
                      range_mask(w, p->low, p->high[0] - 1);
        else
            crossed = (here ^ row[axis][w]) & range_mask(w, p->low, p->high[0]);
        if (!crossed)
            continue;
        const int64_t last = p->dim[0] - 64 * w; // the bit whose x edge leaves the volume
        if (leaves || (axis == 0 && ((w == 0 && crossed & 1) || (last < 64 && crossed >> last & 1))))
            put_at_border(p, q, crossed, here, w, j, axis);
        else
            collect(p, q, crossed, here, w, j, axis);
    }
}

static inline void ask_for(uint64_t bits, int64_t size, const char *grey)
{
    for (; bits; bits = size > 1 ? bits >> (64 / size) : 0, grey += 64)
        if (bits << (64 - 64 / size))
            __builtin_prefetch(grey);
}

// Asks for the grey values that row (j, k) is going to need, which nobody has looked at since the threshold: a few
// lines of its own row and of those beside it.
static inline void look_ahead(const struct kf_surface_pass *p, int64_t j, int64_t k)
{
    if (!p->grey || j < 1 || j >= p->dim[1] || k < 1 || k >= p->dim[2])
        return;
    const int64_t size = p->grey_float ? 4 : 2, row = size * p->dim[0];
    const uint64_t *near = p->bits + (j + k * p->padded[1]) * p->words, *far = near + p->padded[1] * p->words;
    const char *grey = (const char *)p->grey + row * (j - 1 + p->dim[1] * (k - 1));
    for (int64_t w = 0; w < p->words; w++, grey += 64 * size) {
        const uint64_t z = near[w] ^ far[w], y = near[w] ^ near[w + p->words];
        ask_for(z | y, size, grey);
        ask_for(z, size, grey + row * p->dim[1]);
        ask_for(y, size, grey + row);
    }
}

// The crossed edges of one word for the eight rows of edges around a row of cells: x edges at (y, z) 00, 10, 01, 11; y
// edges at z 0, 1; z edges at y 0, 1.
static inline void crossed_edges(const struct cell_words *c, uint64_t crossed[8])
{
    for (int n = 0; n < 4; n++)
        crossed[n] = (c->here[n] ^ c->next[n]) & c->cells_mask;
    crossed[4] = (c->here[0] ^ c->here[1]) & c->edges_mask;
    crossed[5] = (c->here[2] ^ c->here[3]) & c->edges_mask;
    crossed[6] = (c->here[0] ^ c->here[2]) & c->edges_mask;
    crossed[7] = (c->here[1] ^ c->here[3]) & c->edges_mask;
}

// Every crossed edge has an active cell at its own bit, but for the last column, after which nothing comes: numbers go
// up from one active cell to the next. `first` holds the number of the next crossed edge of each of the eight rows.
#if defined(__AVX512BW__)
static inline uint32_t *put_cells(const struct kf_surface_pass *p, const struct cell_words *c, uint32_t first[16],
                                  uint32_t *out)
{
    uint64_t e[8];
    crossed_edges(c, e);
    const __m512i corners = corner_lanes(c), one = _mm512_set1_epi32(1);
    // The edges of a cell, one per lane; of two lanes for one row of edges the second is for the cell's far side.
    const __m512i low = _mm512_set_epi64((int64_t)e[5], (int64_t)e[5], (int64_t)e[4], (int64_t)e[4], (int64_t)e[3],
                                         (int64_t)e[2], (int64_t)e[1], (int64_t)e[0]);
    const __m512i high = _mm512_set_epi64(0, 0, 0, 0, (int64_t)e[7], (int64_t)e[7], (int64_t)e[6], (int64_t)e[6]);
    const __mmask16 far_side = 0x0aa0;
    __m512i number = _mm512_loadu_si512(first);
    for (uint64_t cells = c->active; cells; cells &= cells - 1) {
        const __m512i bit = _mm512_set1_epi64((int64_t)(cells & -cells));
        const unsigned code = _mm512_test_epi64_mask(corners, bit);
        const __mmask16 here = _mm512_kunpackb(_mm512_test_epi64_mask(high, bit), _mm512_test_epi64_mask(low, bit));
        const __m512i id = _mm512_mask_add_epi32(number, here & far_side, number, one);
        const __m512i edge = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p->table->edge[code]));
        _mm512_mask_storeu_epi32(out, p->table->corners[code], _mm512_permutexvar_epi32(edge, id));
        out += 3 * p->table->count[code];
        number = _mm512_mask_add_epi32(number, here, number, one);
    }
    _mm512_storeu_si512(first, number);
    return out;
}
#else
static inline uint32_t *put_cells(const struct kf_surface_pass *p, const struct cell_words *c, uint32_t first[16],
                                  uint32_t *out)
{
    uint64_t e[8];
    crossed_edges(c, e);
    for (uint64_t cells = c->active; cells; cells &= cells - 1) {
        int bit = __builtin_ctzll(cells);
        unsigned code = cell_case(c, bit);
        uint32_t id[12], here[8];
        for (int n = 0; n < 8; n++)
            here[n] = (uint32_t)(e[n] >> bit & 1);
        memcpy(id, first, sizeof id);
        for (int n = 4; n < 8; n++)
            id[2 * n - 3] += here[n];
        const uint8_t *edge = p->table->edge[code];
        for (int t = 0; t < p->table->count[code]; t++, edge += 3, out += 3) {
            out[0] = id[edge[0]];
            out[1] = id[edge[1]];
            out[2] = id[edge[2]];
        }
        for (int n = 0; n < 4; n++)
            first[n] += here[n];
        for (int n = 4; n < 12; n++)
            first[n] += here[2 + n / 2];
    }
    return out;
}
#endif

static void fill_triangles(const struct kf_surface_pass *p, int64_t j, int64_t k, const uint64_t *const row[4])
{
    int64_t r = j + k * p->padded[1], slice = p->padded[1];
    uint32_t *out = p->index + 3 * p->first_triangle[r];
    const uint32_t *x = p->first_x, *y = p->first_y, *z = p->first_z;
    uint32_t first[16] = {x[r],         x[r + 1], x[r + slice], x[r + slice + 1], y[r],    y[r], y[r + slice],
                          y[r + slice], z[r],     z[r],         z[r + 1],         z[r + 1]};
    for (int64_t w = 0; w < p->words; w++) {
        struct cell_words c;
        if (load_cells(p, row, w, &c))
            out = put_cells(p, &c, first, out);
    }
}

static void surface_fill(const struct kf_surface_pass *p, int64_t k)
{
    const int64_t ahead = 6;
    struct waiting q;
    q.count = 0;
    q.k = k;
    q.to = p->xyz + 3 * (int64_t)p->first_x[k * p->padded[1]];
    for (int64_t j = 0; j < p->padded[1]; j++) {
        const uint64_t *row[4];
        const int64_t r = j + k * p->padded[1];
        cell_rows(p, j, k, row);
        look_ahead(p, j + ahead, k);
        if (!takes_part(p, 1, j) || !takes_part(p, 2, k))
            continue;
        const int y1 = takes_part(p, 1, j + 1), z1 = takes_part(p, 2, k + 1);
        if (p->first_y[r] > p->first_x[r])
            fill_vertices(p, &q, j, row, 0);
        if (y1 && p->first_z[r] > p->first_y[r])
            fill_vertices(p, &q, j, row, 1);
        if (z1)
            fill_vertices(p, &q, j, row, 2);
        if (y1 && z1)
            fill_triangles(p, j, k, row);
    }
    flush_vertices(p, &q);
}

#undef WAIT
#undef SOME
#undef ONES
