// The two passes over one slice of cells, compiled once per instruction set (see rows_tmpl.h). The padded mask tells
// by word operations which edges cross the surface and which cells are active; a vertex number is the row's first
// vertex plus the rank of its bit, so no edge table is kept.
#include "workers/kernels/surface_pass.h"

#if defined(__POPCNT__)
#define ONES(word) ((uint32_t)__builtin_popcountll(word))
#else
static inline uint32_t ones_of(uint64_t word)
{
    word -= word >> 1 & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (uint32_t)(word * 0x0101010101010101u >> 56);
}
#define ONES(word) ones_of(word)
#endif

// One word of the four rows around a row of cells, and of the same rows moved by one voxel.
struct cell_words {
    uint64_t here[4]; // (y, z): 00, 10, 01, 11
    uint64_t next[4];
    uint64_t edges_mask, cells_mask; // voxels, and cells or x edges, of this word that take part
};

static inline uint64_t range_mask(int64_t w, int64_t low, int64_t high)
{
    int64_t from = low - 64 * w, to = high - 64 * w;
    if (from >= 64 || to <= 0)
        return 0;
    uint64_t mask = from > 0 ? ~(uint64_t)0 << from : ~(uint64_t)0;
    return to < 64 ? mask & (((uint64_t)1 << to) - 1) : mask;
}

static inline void load_cells(const struct kf_surface_pass *p, const uint64_t *const row[4], int64_t w,
                              struct cell_words *c)
{
    for (int r = 0; r < 4; r++) {
        c->here[r] = row[r][w];
        c->next[r] = c->here[r] >> 1 | (w + 1 < p->words ? row[r][w + 1] << 63 : 0);
    }
    c->edges_mask = range_mask(w, p->low, p->high[0]);
    c->cells_mask = range_mask(w, p->low, p->high[0] - 1);
}

static inline uint64_t active_cells(const struct cell_words *c)
{
    uint64_t any = c->here[0] | c->here[1] | c->here[2] | c->here[3] | c->next[0] | c->next[1] | c->next[2] | c->next[3];
    uint64_t all = c->here[0] & c->here[1] & c->here[2] & c->here[3] & c->next[0] & c->next[1] & c->next[2] & c->next[3];
    return any & ~all & c->cells_mask;
}

static inline unsigned cell_case(const struct cell_words *c, int bit)
{
    unsigned code = 0;
    for (int r = 0; r < 4; r++)
        code |= (unsigned)(c->here[r] >> bit & 1) << (2 * r) | (unsigned)(c->next[r] >> bit & 1) << (2 * r + 1);
    return code;
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
            load_cells(p, row, w, &c);
            nx += ONES((c.here[0] ^ c.next[0]) & c.cells_mask & use_x);
            ny += ONES((c.here[0] ^ c.here[1]) & c.edges_mask & use_y);
            nz += ONES((c.here[0] ^ c.here[2]) & c.edges_mask & use_z);
            if (use_y & use_z)
                for (uint64_t cells = active_cells(&c); cells; cells &= cells - 1)
                    triangles += p->table->count[cell_case(&c, __builtin_ctzll(cells))];
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

static inline void put_vertex(const struct kf_surface_pass *p, uint32_t id, int64_t i, int64_t j, int64_t k, int axis,
                              int a_inside)
{
    double at[3] = {(double)i, (double)j, (double)k};
    at[axis] += crossing(p, i, j, k, axis, a_inside);
    float *to = p->xyz + 3 * (int64_t)id;
    for (int r = 0; r < 3; r++) {
        const double *m = p->to_lps + 4 * r;
        to[r] = (float)(m[0] * at[0] + m[1] * at[1] + m[2] * at[2] + m[3]);
    }
}

static inline uint32_t put_vertices(const struct kf_surface_pass *p, uint64_t crossed, uint64_t inside, uint32_t id,
                                    int64_t w, int64_t j, int64_t k, int axis)
{
    for (; crossed; crossed &= crossed - 1) {
        int bit = __builtin_ctzll(crossed);
        put_vertex(p, id++, 64 * w + bit, j, k, axis, (int)(inside >> bit & 1));
    }
    return id;
}

// Vertices of the x, y and z edges that start at row (j, k).
static void fill_vertices(const struct kf_surface_pass *p, int64_t j, int64_t k, const uint64_t *const row[4])
{
    int64_t r = j + k * p->padded[1];
    uint32_t x = p->first_x[r], y = p->first_y[r], z = p->first_z[r];
    int y0 = takes_part(p, 1, j), y1 = takes_part(p, 1, j + 1), z0 = takes_part(p, 2, k);
    int z1 = takes_part(p, 2, k + 1);
    for (int64_t w = 0; w < p->words; w++) {
        struct cell_words c;
        load_cells(p, row, w, &c);
        if (y0 && z0)
            x = put_vertices(p, (c.here[0] ^ c.next[0]) & c.cells_mask, c.here[0], x, w, j, k, 0);
        if (y0 && y1 && z0)
            y = put_vertices(p, (c.here[0] ^ c.here[1]) & c.edges_mask, c.here[0], y, w, j, k, 1);
        if (y0 && z0 && z1)
            z = put_vertices(p, (c.here[0] ^ c.here[2]) & c.edges_mask, c.here[0], z, w, j, k, 2);
    }
}

// The crossed edges of one word for the eight rows of edges around a row of cells, and the vertices before it.
struct edge_words {
    uint64_t crossed[8]; // x edges at (y, z) 00, 10, 01, 11; y edges at z 0, 1; z edges at y 0, 1
    uint32_t first[8];
};

static inline void cell_vertices(const struct edge_words *e, int bit, uint32_t id[12])
{
    uint64_t before = ((uint64_t)1 << bit) - 1;
    for (int n = 0; n < 4; n++)
        id[n] = e->first[n] + ONES(e->crossed[n] & before);
    for (int n = 4; n < 8; n++) {
        id[2 * n - 4] = e->first[n] + ONES(e->crossed[n] & before);
        id[2 * n - 3] = id[2 * n - 4] + (uint32_t)(e->crossed[n] >> bit & 1);
    }
}

static void fill_triangles(const struct kf_surface_pass *p, int64_t j, int64_t k, const uint64_t *const row[4])
{
    int64_t r = j + k * p->padded[1], slice = p->padded[1];
    uint32_t *out = p->index + 3 * p->first_triangle[r];
    int second = p->flip ? 2 : 1, third = p->flip ? 1 : 2;
    struct edge_words e = {.first = {p->first_x[r], p->first_x[r + 1], p->first_x[r + slice], p->first_x[r + slice + 1],
                                     p->first_y[r], p->first_y[r + slice], p->first_z[r], p->first_z[r + 1]}};
    for (int64_t w = 0; w < p->words; w++) {
        struct cell_words c;
        load_cells(p, row, w, &c);
        for (int n = 0; n < 4; n++)
            e.crossed[n] = (c.here[n] ^ c.next[n]) & c.cells_mask;
        e.crossed[4] = (c.here[0] ^ c.here[1]) & c.edges_mask;
        e.crossed[5] = (c.here[2] ^ c.here[3]) & c.edges_mask;
        e.crossed[6] = (c.here[0] ^ c.here[2]) & c.edges_mask;
        e.crossed[7] = (c.here[1] ^ c.here[3]) & c.edges_mask;
        for (uint64_t cells = active_cells(&c); cells; cells &= cells - 1) {
            int bit = __builtin_ctzll(cells);
            unsigned code = cell_case(&c, bit);
            uint32_t id[12];
            cell_vertices(&e, bit, id);
            const uint8_t *edge = p->table->edge[code];
            for (int t = 0; t < p->table->count[code]; t++, edge += 3, out += 3) {
                out[0] = id[edge[0]];
                out[1] = id[edge[second]];
                out[2] = id[edge[third]];
            }
        }
        for (int n = 0; n < 8; n++)
            e.first[n] += ONES(e.crossed[n]);
    }
}

static void surface_fill(const struct kf_surface_pass *p, int64_t k)
{
    for (int64_t j = 0; j < p->padded[1]; j++) {
        const uint64_t *row[4];
        cell_rows(p, j, k, row);
        fill_vertices(p, j, k, row);
        if (takes_part(p, 1, j) && takes_part(p, 1, j + 1) && takes_part(p, 2, k) && takes_part(p, 2, k + 1))
            fill_triangles(p, j, k, row);
    }
}

#undef ONES
