// Decimation in pieces that fit into a processor's cache: each piece goes through many passes while it is there, pieces
// go to threads, and a vertex that some triangle outside of its piece has stays. The next round cuts elsewhere, and
// allows more error. What a piece becomes depends on nothing outside of it: threads do not matter.
#include "workers/kernels/decimate_inside.h"

#include <string.h>

#define BLOCK       8192  // triangles of a piece
#define SLOTS       32768 // of a piece's table of vertices; more than 3 · BLOCK
#define ROUNDS      12    // cuts at most
#define NONE        UINT32_MAX
#define WHOLE_BELOW (4 * BLOCK) // such small meshes stay whole

struct blocks {
    struct kf_decimator *whole;
    const struct kf_work *work;
    uint32_t *degree;    // triangles of each vertex
    struct piece *piece; // one per thread
    int64_t *kept;       // triangles left in each piece of this round
    float *reached2;     // per piece
    int64_t shift;       // where the second piece of this round begins
};

// What a thread holds of a piece.
struct piece {
    struct kf_mesh mesh;
    struct kf_decimator d;
    uint32_t *global; // vertex of the whole mesh
    uint32_t *slot;   // hash table: local vertex or NONE
};

// ---- quadrics of the planes that are there at the start ----

// Adds the plane of a triangle, by its cross product n and area, to a vertex in it, which is the quadric's origin.
static inline void add_plane(struct kf_quadric *q, const float n[3], float scale, float area2)
{
    q->a00 += n[0] * n[0] * scale;
    q->a11 += n[1] * n[1] * scale;
    q->a22 += n[2] * n[2] * scale;
    q->a01 += n[0] * n[1] * scale;
    q->a02 += n[0] * n[2] * scale;
    q->a12 += n[1] * n[2] * scale;
    q->w += area2;
}

static void gather_triangle(const struct kf_decimator *d, int64_t t, int64_t low, int64_t high, uint64_t *balance)
{
    const struct kf_mesh *m = d->mesh;
    const uint32_t *v = m->index + 3 * t;
    const float *p[3];
    float u[3], w[3], n[3];
    uint64_t hash[3];
    for (int c = 0; c < 3; c++) {
        p[c] = m->xyz + 3 * (int64_t)v[c];
        hash[c] = kf_edge_hash(v[c]);
    }
    for (int r = 0; r < 3; r++) {
        u[r] = p[1][r] - p[0][r];
        w[r] = p[2][r] - p[0][r];
    }
    n[0] = u[1] * w[2] - u[2] * w[1];
    n[1] = u[2] * w[0] - u[0] * w[2];
    n[2] = u[0] * w[1] - u[1] * w[0];
    float area2 = __builtin_sqrtf(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
    float scale = area2 > 0 ? 1 / area2 : 0; // area2 · (n / area2)(n / area2)ᵀ
    for (int c = 0; c < 3; c++) {
        if (v[c] < low || v[c] >= high)
            continue;
        add_plane(&d->q[v[c]], n, scale, area2);
        balance[v[c]] += hash[(c + 1) % 3] - hash[(c + 2) % 3];
    }
}

// Quadrics and the flag of vertices at a border: those with an edge that is not met both ways.
static enum kf_kernel_status gather_quadrics(const struct kf_work *work, struct kf_decimator *d)
{
    const struct kf_mesh *m = d->mesh;
    struct kf_spans spans;
    enum kf_kernel_status status = kf_spans_make(work, m, &spans);
    if (status)
        return status;
    uint64_t *balance = kf_work_take(work, m->vertices * (int64_t)sizeof *balance);
    if (!balance) {
        kf_spans_release(work, &spans);
        return KF_KERNEL_NOMEM;
    }
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int part = 0; part < work->threads; part++) {
        int64_t low, high;
        kf_part_of(m->vertices, 1024, part, work->threads, &low, &high);
        memset(d->q + low, 0, (size_t)(high - low) * sizeof *d->q);
        memset(balance + low, 0, (size_t)(high - low) * sizeof *balance);
        for (int64_t s = 0; s < spans.count; s++) {
            int64_t end = (s + 1) * KF_SPAN < m->triangles ? (s + 1) * KF_SPAN : m->triangles;
            for (int64_t t = s * KF_SPAN; t < end && kf_span_meets(&spans, s, low, high); t++) {
                for (int c = 0; c < 3 && t + 16 < end; c++) {
                    __builtin_prefetch(&d->q[m->index[3 * (t + 16) + c]]);
                    __builtin_prefetch(&balance[m->index[3 * (t + 16) + c]]);
                }
                gather_triangle(d, t, low, high, balance);
            }
        }
        for (int64_t v = low; v < high; v++)
            d->flags[v] = balance[v] ? KF_VERTEX_BORDER : 0;
    }
    kf_work_give(work, balance);
    kf_spans_release(work, &spans);
    return KF_KERNEL_OK;
}

// ---- an order in which near vertices and triangles follow each other ----

// Ten bits with two zeros before each.
static inline uint32_t spread(uint32_t x)
{
    x = (x | x << 16) & 0x030000ffu;
    x = (x | x << 8) & 0x0300f00fu;
    x = (x | x << 4) & 0x030c30c3u;
    return (x | x << 2) & 0x09249249u;
}

// The place of every vertex along Morton's curve through a cube around the mesh, as keys of d->list.
static void make_keys(const struct kf_work *work, struct kf_decimator *d)
{
    const struct kf_mesh *m = d->mesh;
    float low[3] = {m->xyz[0], m->xyz[1], m->xyz[2]}, side = 0;
    for (int r = 0; r < 3; r++) {
        float high = low[r];
        for (int64_t v = 0; v < m->vertices; v++) {
            low[r] = m->xyz[3 * v + r] < low[r] ? m->xyz[3 * v + r] : low[r];
            high = m->xyz[3 * v + r] > high ? m->xyz[3 * v + r] : high;
        }
        side = high - low[r] > side ? high - low[r] : side;
    }
    float scale = side > 0 ? 1023 / side : 0;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t v = 0; v < m->vertices; v++) {
        uint32_t key = 0;
        for (int r = 0; r < 3; r++) {
            float at = (m->xyz[3 * v + r] - low[r]) * scale;
            key |= spread(at >= 0 && at < 1023 ? (uint32_t)at : at >= 1023 ? 1023 : 0) << r;
        }
        d->list[v] = (struct kf_proposal){(uint32_t)v, 0, key};
    }
    d->count = m->vertices;
}

// Triangles in the order of their least vertex.
static enum kf_kernel_status order_triangles(const struct kf_work *work, struct kf_mesh *m)
{
    uint32_t *first = kf_work_take(work, (m->vertices + 1) * (int64_t)sizeof *first);
    uint32_t *index = kf_work_take(work, m->triangles * 3 * (int64_t)sizeof *index);
    enum kf_kernel_status status = first && index ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        memset(first, 0, (size_t)(m->vertices + 1) * sizeof *first);
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t t = 0; t < m->triangles; t++) {
                const uint32_t *v = m->index + 3 * t;
                uint32_t least = v[0] < v[1] ? v[0] : v[1];
                least = v[2] < least ? v[2] : least;
                if (pass)
                    memcpy(index + 3 * (int64_t)first[least]++, v, 3 * sizeof *index);
                else
                    first[least + 1]++;
            }
            for (int64_t v = 0; v < m->vertices && !pass; v++)
                first[v + 1] += first[v];
        }
        memcpy(m->index, index, (size_t)m->triangles * 3 * sizeof *index);
    }
    kf_work_give(work, first);
    kf_work_give(work, index);
    return status;
}

static enum kf_kernel_status order_mesh(const struct kf_work *work, struct kf_decimator *d)
{
    struct kf_mesh *m = d->mesh;
    float *xyz = kf_work_take(work, m->vertices * 3 * (int64_t)sizeof *xyz);
    if (!xyz)
        return KF_KERNEL_NOMEM;
    make_keys(work, d);
    kf_sort_proposals(d);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t v = 0; v < m->vertices; v++) {
        memcpy(xyz + 3 * v, m->xyz + 3 * (int64_t)d->list[v].vertex, 3 * sizeof *xyz);
        d->onto[d->list[v].vertex] = (uint32_t)v;
    }
    memcpy(m->xyz, xyz, (size_t)m->vertices * 3 * sizeof *xyz);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t c = 0; c < 3 * m->triangles; c++)
        m->index[c] = d->onto[m->index[c]];
    kf_work_give(work, xyz);
    return order_triangles(work, m);
}

// ---- pieces ----

static enum kf_kernel_status piece_make(const struct kf_work *work, struct piece *p)
{
    const int64_t n = 3 * BLOCK; // vertices of triangles that share none
    *p = (struct piece){.d = {.mesh = NULL}};
    p->mesh.xyz = kf_work_take(work, n * 3 * (int64_t)sizeof *p->mesh.xyz);
    p->mesh.index = kf_work_take(work, n * (int64_t)sizeof *p->mesh.index);
    p->d.at.first = kf_work_take(work, (n + 1) * (int64_t)sizeof *p->d.at.first);
    p->d.at.side = kf_work_take(work, n * (int64_t)sizeof *p->d.at.side);
    p->d.q = kf_work_take(work, n * (int64_t)sizeof *p->d.q);
    p->d.onto = kf_work_take(work, n * (int64_t)sizeof *p->d.onto);
    p->d.flags = kf_work_take(work, n);
    p->d.list = kf_work_take(work, n * (int64_t)sizeof *p->d.list);
    p->d.spare = kf_work_take(work, n * (int64_t)sizeof *p->d.spare);
    p->d.known = kf_work_take(work, n * (int64_t)sizeof *p->d.known);
    p->global = kf_work_take(work, n * (int64_t)sizeof *p->global);
    p->slot = kf_work_take(work, SLOTS * (int64_t)sizeof *p->slot);
    return p->mesh.xyz && p->mesh.index && p->d.at.first && p->d.at.side && p->d.q && p->d.onto && p->d.flags &&
                   p->d.list && p->d.spare && p->d.known && p->global && p->slot
               ? KF_KERNEL_OK
               : KF_KERNEL_NOMEM;
}

static void piece_release(const struct kf_work *work, struct piece *p)
{
    kf_mesh_release(work, &p->mesh);
    kf_work_give(work, p->d.at.first);
    kf_work_give(work, p->d.at.side);
    kf_work_give(work, p->d.q);
    kf_work_give(work, p->d.onto);
    kf_work_give(work, p->d.flags);
    kf_work_give(work, p->d.list);
    kf_work_give(work, p->d.spare);
    kf_work_give(work, p->d.known);
    kf_work_give(work, p->global);
    kf_work_give(work, p->slot);
}

static uint32_t local_vertex(const struct blocks *b, struct piece *p, uint32_t v)
{
    uint32_t at = v % SLOTS; // a piece's vertices are mostly in a row
    for (; p->slot[at] != NONE; at = (at + 1) % SLOTS)
        if (p->global[p->slot[at]] == v)
            return p->slot[at];
    uint32_t local = (uint32_t)p->mesh.vertices++;
    p->slot[at] = local;
    p->global[local] = v;
    memcpy(p->mesh.xyz + 3 * (int64_t)local, b->whole->mesh->xyz + 3 * (int64_t)v, 3 * sizeof *p->mesh.xyz);
    return local;
}

static void fill_fans(struct piece *p)
{
    struct kf_fans *at = &p->d.at;
    const int64_t n = p->mesh.vertices;
    const uint32_t *index = p->mesh.index;
    memset(at->first, 0, (size_t)(n + 1) * sizeof *at->first);
    for (int64_t c = 0; c < 3 * p->mesh.triangles; c++)
        at->first[index[c] + 1]++;
    for (int64_t v = 0; v < n; v++)
        at->first[v + 1] += at->first[v];
    for (int64_t t = 0; t < p->mesh.triangles; t++)
        for (int c = 0; c < 3; c++) {
            uint32_t *side = at->side[at->first[index[3 * t + c]]++];
            side[0] = index[3 * t + (c + 1) % 3];
            side[1] = index[3 * t + (c + 2) % 3];
        }
    memmove(at->first + 1, at->first, (size_t)n * sizeof *at->first);
    at->first[0] = 0;
}

static void load_piece(const struct blocks *b, struct piece *p, int64_t from, int64_t end)
{
    memset(p->slot, 0xff, SLOTS * sizeof *p->slot);
    p->mesh.vertices = 0;
    p->mesh.triangles = end - from;
    p->d.mesh = &p->mesh;
    const struct kf_mesh *whole = b->whole->mesh;
    for (int64_t c = 3 * from; c < 3 * end; c++) {
        if (c + 96 < 3 * end) {
            __builtin_prefetch(whole->xyz + 3 * (int64_t)whole->index[c + 96]);
            __builtin_prefetch(&b->whole->q[whole->index[c + 96]]);
        }
        p->mesh.index[c - 3 * from] = local_vertex(b, p, whole->index[c]);
    }
    fill_fans(p);
    for (int64_t v = 0; v < p->mesh.vertices; v++) {
        uint32_t g = p->global[v];
        int inside = p->d.at.first[v + 1] - p->d.at.first[v] == b->degree[g];
        p->d.flags[v] = inside ? b->whole->flags[g] | KF_VERTEX_STALE : KF_VERTEX_LOCKED | KF_VERTEX_STALE;
        if (inside)
            p->d.q[v] = b->whole->q[g];
    }
}

static void store_piece(const struct blocks *b, const struct piece *p, int64_t from)
{
    uint32_t *index = b->whole->mesh->index + 3 * from;
    for (int64_t c = 0; c < 3 * p->mesh.triangles; c++)
        index[c] = p->global[p->mesh.index[c]];
    for (int64_t v = 0; v < p->mesh.vertices; v++)
        if (!(p->d.flags[v] & (KF_VERTEX_LOCKED | KF_VERTEX_REMOVED)))
            b->whole->q[p->global[v]] = p->d.q[v];
}

// Passes over one piece until little more can be had; `share` of its triangles stay.
static void run_piece(const struct blocks *b, struct piece *p, int64_t n, float limit2, double share)
{
    int64_t from = n ? b->shift + (n - 1) * BLOCK : 0, end = b->shift + n * BLOCK;
    end = end < b->whole->mesh->triangles ? end : b->whole->mesh->triangles;
    int64_t floor = (int64_t)__builtin_ceil((double)(end - from) * share), made = BLOCK;
    float reached2 = 0;
    load_piece(b, p, from, end);
    for (int pass = 0; made > p->mesh.triangles / 24 && p->mesh.triangles > floor + 1; pass++) {
        if (pass)
            fill_fans(p);
        made = kf_decimate_round(&p->d, limit2, (p->mesh.triangles - floor) / 2, &reached2);
    }
    store_piece(b, p, from);
    b->kept[n] = p->mesh.triangles;
    b->reached2[n] = reached2;
}

static void count_degrees(struct blocks *b)
{
    const struct kf_mesh *m = b->whole->mesh;
    memset(b->degree, 0, (size_t)m->vertices * sizeof *b->degree);
    for (int64_t c = 0; c < 3 * m->triangles; c++)
        b->degree[m->index[c]]++;
}

// One cut into pieces. `done`: how far the whole is, for progress.
static enum kf_kernel_status run_round(struct blocks *b, float limit2, int64_t target, double done, float *reached2)
{
    struct kf_mesh *m = b->whole->mesh;
    const struct blocks *fixed = b;
    const double share = (double)target / (double)m->triangles;
    const int64_t pieces = (m->triangles - b->shift + BLOCK - 1) / BLOCK + 1;
    const int threads = b->work->threads;
    count_degrees(b);
    int64_t next = 0;
    struct kf_loop loop = kf_loop_make(b->work, pieces, done, done);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; thread++)
        for (int64_t n; (n = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < pieces && !kf_loop_stop(&loop);)
            run_piece(fixed, &fixed->piece[thread], n, limit2, share);
    if (loop.stop)
        return KF_KERNEL_CANCELLED;
    int64_t kept = 0;
    for (int64_t n = 0; n < pieces; n++) {
        int64_t from = n ? b->shift + (n - 1) * BLOCK : 0;
        memmove(m->index + 3 * kept, m->index + 3 * from, (size_t)b->kept[n] * 3 * sizeof *m->index);
        kept += b->kept[n];
        *reached2 = b->reached2[n] > *reached2 ? b->reached2[n] : *reached2;
    }
    m->triangles = kept;
    return KF_KERNEL_OK;
}

// The error at which about half of the proposals of every 32nd piece would be taken.
static float first_limit2(const struct blocks *b)
{
    struct piece *p = &b->piece[0];
    double sum = 0;
    int64_t count = 0;
    for (int64_t from = 0; from + BLOCK <= b->whole->mesh->triangles; from += 32 * BLOCK) {
        float reached2 = 0;
        load_piece(b, p, from, from + BLOCK);
        (void)kf_decimate_round(&p->d, __builtin_inff(), INT64_MAX, &reached2);
        sum += (double)reached2;
        count++;
    }
    return (float)(sum / (double)(count ? count : 1));
}

static enum kf_kernel_status run_rounds(struct blocks *b, const struct kf_mesh_decimate *how, float *reached2)
{
    struct kf_mesh *m = b->whole->mesh;
    const float most2 = (float)(how->error_mm * how->error_mm);
    const int64_t before = m->triangles;
    count_degrees(b);
    float limit2 = first_limit2(b);
    double done = 0;
    for (int round = 0; round < ROUNDS; round++) {
        limit2 = limit2 < most2 ? limit2 : most2;
        int64_t had = m->triangles;
        b->shift = round % 2 ? BLOCK / 2 : BLOCK;
        enum kf_kernel_status status = run_round(b, limit2, how->target, done, reached2);
        done = 0.9 * (1 - (double)m->triangles / (double)before);
        if (status || kf_work_step(b->work, done))
            return status ? status : KF_KERNEL_CANCELLED;
        double left = (double)m->triangles / ((double)how->target * 1.05 + 1);
        if (m->triangles < WHOLE_BELOW || left < 1.08 || (limit2 >= most2 && m->triangles > had - had / 20))
            break;
        // Twice the error, about half of the triangles.
        double grow = left < 2 ? left * left : 4;
        limit2 = limit2 > 0 ? limit2 * (float)grow : 1e-8f;
    }
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_decimate_blocks(const struct kf_work *work, struct kf_decimator *d,
                                         const struct kf_mesh_decimate *how, float *reached2)
{
    struct kf_mesh *m = d->mesh;
    if (3 * m->triangles >= UINT32_MAX || m->vertices >= UINT32_MAX)
        return KF_KERNEL_TOO_LARGE;
    if (m->triangles < WHOLE_BELOW)
        return gather_quadrics(work, d);
    struct blocks b = {.whole = d, .work = work};
    const int64_t most = m->triangles / BLOCK + 2;
    struct kf_spans spans;
    enum kf_kernel_status status = kf_spans_make(work, m, &spans); // are all indexes in range?
    kf_spans_release(work, &spans);
    if (!status)
        status = order_mesh(work, d);
    if (!status && kf_work_step(work, 0))
        status = KF_KERNEL_CANCELLED;
    if (!status)
        status = gather_quadrics(work, d);
    if (!status && kf_work_step(work, 0))
        status = KF_KERNEL_CANCELLED;
    if (status)
        return status;
    b.degree = kf_work_take(work, m->vertices * (int64_t)sizeof *b.degree);
    b.kept = kf_work_take(work, most * (int64_t)sizeof *b.kept);
    b.reached2 = kf_work_take(work, most * (int64_t)sizeof *b.reached2);
    b.piece = kf_work_take(work, work->threads * (int64_t)sizeof *b.piece);
    status = b.degree && b.kept && b.reached2 && b.piece ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (b.piece)
        memset(b.piece, 0, (size_t)work->threads * sizeof *b.piece);
    for (int t = 0; t < work->threads && !status; t++)
        status = piece_make(work, &b.piece[t]);
    if (!status)
        status = run_rounds(&b, how, reached2);
    for (int t = 0; t < work->threads && b.piece; t++)
        piece_release(work, &b.piece[t]);
    kf_work_give(work, b.degree);
    kf_work_give(work, b.kept);
    kf_work_give(work, b.reached2);
    kf_work_give(work, b.piece);
    if (!status)
        kf_decimate_compact(d);
    return status;
}
