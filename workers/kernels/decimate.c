// Edge collapse by quadric error. Based on: Garland and Heckbert, "Surface simplification using quadric error metrics",
// SIGGRAPH 1997; Dey, Edelsbrunner, Guha, Nekhayev, "Topology preserving edge contraction", Publ. Inst. Math. 66, 1999.
//
// Passes: every vertex proposes its cheapest collapse onto a neighbour; the proposals are taken in order of their error
// as long as nothing around them has changed in this pass; then the triangles are renumbered. Most of it is done in
// pieces that fit into a processor's cache (decimate_blocks.c); the last passes see the whole mesh. A collapse that
// would break the link condition or turn a triangle over is not made, so a closed manifold stays one.
#include "workers/kernels/decimate_inside.h"

#include <string.h>

#define NONE       UINT32_MAX
#define RING_MAX   64    // neighbours of a vertex; those with more stay
#define LEAST_TURN 0.25f // cosine between a triangle's normals before and after

// ---- quadrics ----

static void subtract(const float *a, const float *b, float d[3])
{
    for (int r = 0; r < 3; r++)
        d[r] = a[r] - b[r];
}

static void cross(const float u[3], const float w[3], float n[3])
{
    n[0] = u[1] * w[2] - u[2] * w[1];
    n[1] = u[2] * w[0] - u[0] * w[2];
    n[2] = u[0] * w[1] - u[1] * w[0];
}

static float dot(const float a[3], const float b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static inline float evaluate(const struct kf_quadric *q, const float x[3])
{
    float ax = q->a00 * x[0] + q->a01 * x[1] + q->a02 * x[2];
    float ay = q->a01 * x[0] + q->a11 * x[1] + q->a12 * x[2];
    float az = q->a02 * x[0] + q->a12 * x[1] + q->a22 * x[2];
    float value = x[0] * (ax + 2 * q->b0) + x[1] * (ay + 2 * q->b1) + x[2] * (az + 2 * q->b2) + q->c;
    return value > 0 ? value : 0;
}

// Adds `from` to `to`, whose origin lies at t in the frame of `from`.
static void add_quadric(struct kf_quadric *to, const struct kf_quadric *from, const float t[3])
{
    to->c += evaluate(from, t);
    to->b0 += from->b0 + from->a00 * t[0] + from->a01 * t[1] + from->a02 * t[2];
    to->b1 += from->b1 + from->a01 * t[0] + from->a11 * t[1] + from->a12 * t[2];
    to->b2 += from->b2 + from->a02 * t[0] + from->a12 * t[1] + from->a22 * t[2];
    to->a00 += from->a00;
    to->a11 += from->a11;
    to->a22 += from->a22;
    to->a01 += from->a01;
    to->a02 += from->a02;
    to->a12 += from->a12;
    to->w += from->w;
}

typedef float four __attribute__((vector_size(16)));
typedef int32_t mask __attribute__((vector_size(16)));

// For four neighbours u of v: the mean squared distance, in mm², of u from the planes of v, and of u from the planes of
// both, whichever is larger.
static four collapse_error2(const struct kf_decimator *d, uint32_t v, const uint32_t u[4])
{
    const struct kf_quadric *q = &d->q[v], *o[4] = {&d->q[u[0]], &d->q[u[1]], &d->q[u[2]], &d->q[u[3]]};
    const float *p = d->mesh->xyz + 3 * (int64_t)v, *to[4];
    for (int n = 0; n < 4; n++)
        to[n] = d->mesh->xyz + 3 * (int64_t)u[n];
    const four x = (four){to[0][0], to[1][0], to[2][0], to[3][0]} - p[0];
    const four y = (four){to[0][1], to[1][1], to[2][1], to[3][1]} - p[1];
    const four z = (four){to[0][2], to[1][2], to[2][2], to[3][2]} - p[2];
    const four c = {o[0]->c, o[1]->c, o[2]->c, o[3]->c}, w = {o[0]->w, o[1]->w, o[2]->w, o[3]->w};
    four ax = q->a00 * x + q->a01 * y + q->a02 * z;
    four ay = q->a01 * x + q->a11 * y + q->a12 * z;
    four az = q->a02 * x + q->a12 * y + q->a22 * z;
    four own = x * (ax + 2 * q->b0) + y * (ay + 2 * q->b1) + z * (az + 2 * q->b2) + q->c;
    own = (four)((mask)own & (own > 0.0f));
    const four tiny = {1e-20f, 1e-20f, 1e-20f, 1e-20f};
    four all = w + q->w, more = (four)((mask)all & (all > tiny)) + (four)((mask)tiny & ~(all > tiny));
    four alone = own / (q->w > 1e-20f ? q->w : 1e-20f), both = (own + c) / more;
    return (four)(((mask)alone & (alone > both)) | ((mask)both & ~(alone > both)));
}

static inline float one_error2(const struct kf_decimator *d, uint32_t v, uint32_t u)
{
    const struct kf_quadric *q = &d->q[v], *r = &d->q[u];
    float t[3];
    subtract(d->mesh->xyz + 3 * (int64_t)u, d->mesh->xyz + 3 * (int64_t)v, t);
    float own = evaluate(q, t), all = r->w + q->w;
    float alone = own / (q->w > 1e-20f ? q->w : 1e-20f), both = (own + r->c) / (all > 1e-20f ? all : 1e-20f);
    return alone > both ? alone : both;
}

// ---- proposals ----

static float error2_of(const struct kf_proposal *p)
{
    float error2;
    memcpy(&error2, &p->key, 4);
    return error2;
}

static uint32_t key_of(float error2)
{
    uint32_t bits;
    memcpy(&bits, &error2, 4); // not negative: the bits are in the order of the values
    return bits;
}

static void propose(const struct kf_decimator *d, uint32_t v, struct kf_proposal *p)
{
    uint32_t first = d->at.first[v], end = d->at.first[v + 1];
    uint64_t least = UINT64_MAX; // the error's bits, then the neighbour: of equal ones the least
    *p = (struct kf_proposal){v, NONE, 0};
    if (first == end || end - first > RING_MAX || d->flags[v] & (KF_VERTEX_BORDER | KF_VERTEX_LOCKED))
        return;
    for (uint32_t i = first; i < end; i += 4) {
        uint32_t u[4], here = end - i < 4 ? end - i : 4;
        for (uint32_t n = 0; n < 4; n++)
            u[n] = d->at.side[n < here ? i + n : i][0];
        const four error2 = collapse_error2(d, v, u);
        for (int n = 0; n < 4; n++) {
            const uint64_t locked = d->flags[u[n]] & KF_VERTEX_LOCKED ? UINT64_MAX : 0;
            const uint64_t key = ((uint64_t)key_of(error2[n]) << 32 | u[n]) | locked;
            least = key < least ? key : least;
        }
    }
    if (least != UINT64_MAX)
        *p = (struct kf_proposal){v, (uint32_t)least, (uint32_t)(least >> 32)};
}

#define DIGIT_BITS 11
#define DIGITS     (1 << DIGIT_BITS)

void kf_sort_proposals(struct kf_decimator *d)
{
    uint32_t start[3][DIGITS] = {{0}};
    for (int64_t i = 0; i < d->count; i++)
        for (int n = 0; n < 3; n++)
            start[n][d->list[i].key >> (n * DIGIT_BITS) & (DIGITS - 1)]++;
    for (int n = 0; n < 3; n++) {
        uint32_t sum = 0;
        for (int i = 0; i < DIGITS; i++) {
            uint32_t here = start[n][i];
            start[n][i] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < d->count; i++)
            d->spare[start[n][d->list[i].key >> (n * DIGIT_BITS) & (DIGITS - 1)]++] = d->list[i];
        struct kf_proposal *swap = d->list;
        d->list = d->spare;
        d->spare = swap;
    }
}

// Leaves of the proposals `from`, one per vertex, those up to limit2 in d->list, in order of their errors.
static void keep_proposals(struct kf_decimator *d, const struct kf_proposal *from, float limit2)
{
    int64_t kept = 0;
    for (int64_t v = 0; v < d->mesh->vertices; v++) {
        struct kf_proposal p = from[v];
        d->list[kept] = p;
        kept += (p.onto != NONE) & (error2_of(&p) <= limit2);
    }
    d->count = kept;
    kf_sort_proposals(d);
}

// ---- collapses ----

// Neighbours of v, each once; -1 when there are too many. Around a vertex inside a manifold
// every neighbour is the next corner of just one triangle; at a border those that only lie before it are added.
static int ring_of(const struct kf_decimator *d, uint32_t v, uint32_t ring[RING_MAX])
{
    uint32_t first = d->at.first[v], end = d->at.first[v + 1];
    int n = 0;
    if (end - first >= RING_MAX)
        return -1;
    for (uint32_t i = first; i < end; i++)
        ring[n++] = d->at.side[i][0];
    if (!(d->flags[v] & KF_VERTEX_BORDER))
        return n;
    for (uint32_t i = first; i < end; i++) {
        uint32_t before = d->at.side[i][1];
        int seen = 0;
        for (int k = 0; k < n && !seen; k++)
            seen = ring[k] == before;
        if (seen)
            continue;
        if (n >= RING_MAX)
            return -1;
        ring[n++] = before;
    }
    return n;
}

// The link condition: v and u have exactly the two neighbours in common that lie beside their edge, and no triangle
// over both of those.
static int link_holds(const struct kf_decimator *d, uint32_t v, uint32_t u)
{
    uint32_t around_v[RING_MAX], around_u[RING_MAX], common[2] = {NONE, NONE};
    int nv = ring_of(d, v, around_v), nu = nv < 0 ? -1 : ring_of(d, u, around_u), shared = 0;
    if (nu < 0 || nv < 3)
        return 0;
    for (int i = 0; i < nv; i++)
        for (int k = 0; k < nu; k++)
            if (around_v[i] == around_u[k]) {
                if (shared == 2)
                    return 0;
                common[shared++] = around_v[i];
            }
    if (shared != 2)
        return 0;
    for (uint32_t i = d->at.first[u]; i < d->at.first[u + 1]; i++) {
        uint32_t a = d->at.side[i][0];
        uint32_t b = d->at.side[i][1];
        if ((a == common[0] && b == common[1]) || (a == common[1] && b == common[0]))
            return 0;
    }
    return 1;
}

// 1 when some triangle of v that stays would turn over or collapse with v moved onto u.
static int turns_over(const struct kf_decimator *d, uint32_t v, uint32_t u)
{
    const float *p = d->mesh->xyz + 3 * (int64_t)v, *q = d->mesh->xyz + 3 * (int64_t)u;
    for (uint32_t i = d->at.first[v]; i < d->at.first[v + 1]; i++) {
        uint32_t a = d->at.side[i][0];
        uint32_t b = d->at.side[i][1];
        if (a == u || b == u)
            continue;
        float edge[3], before[3], after[3], n0[3], n1[3];
        const float *pa = d->mesh->xyz + 3 * (int64_t)a;
        subtract(d->mesh->xyz + 3 * (int64_t)b, pa, edge);
        subtract(p, pa, before);
        subtract(q, pa, after);
        cross(edge, before, n0);
        cross(edge, after, n1);
        float old2 = dot(n0, n0), new2 = dot(n1, n1), turn = dot(n0, n1);
        if (!(new2 > 1e-12f) || turn <= 0 || turn * turn < LEAST_TURN * LEAST_TURN * old2 * new2)
            return 1;
    }
    return 0;
}

// Proposals come in order of error, which is anywhere in memory: what the next ones will look at is asked for early.
static void look_ahead(const struct kf_decimator *d, int64_t i)
{
    if (i + 16 < d->count) {
        __builtin_prefetch(&d->at.first[d->list[i + 16].vertex]);
        __builtin_prefetch(&d->at.first[d->list[i + 16].onto]);
    }
    if (i + 8 < d->count) {
        __builtin_prefetch(&d->at.side[d->at.first[d->list[i + 8].vertex]]);
        __builtin_prefetch(&d->at.side[d->at.first[d->list[i + 8].onto]]);
    }
}

// What v's collapse onto u means for the proposal of their neighbour w: u costs something else now, v is gone.
static void refresh(const struct kf_decimator *d, uint32_t w, uint32_t v, uint32_t u)
{
    struct kf_proposal *known = &d->known[w];
    if (w == u || w == v || d->flags[w] & (KF_VERTEX_BORDER | KF_VERTEX_LOCKED))
        return;
    if (known->onto == v || known->onto == u)
        d->flags[w] |= KF_VERTEX_STALE;
    if (d->flags[w] & KF_VERTEX_STALE)
        return;
    uint32_t key = key_of(one_error2(d, w, u));
    if (known->onto == NONE || key < known->key || (key == known->key && u < known->onto))
        *known = (struct kf_proposal){w, u, key};
}

static void refresh_around(const struct kf_decimator *d, uint32_t v, uint32_t u)
{
    d->flags[v] |= KF_VERTEX_STALE;
    d->flags[u] |= KF_VERTEX_STALE;
    for (uint32_t i = d->at.first[v]; i < d->at.first[v + 1]; i++)
        refresh(d, d->at.side[i][0], v, u);
    for (uint32_t i = d->at.first[u]; i < d->at.first[u + 1]; i++) // at a border the last one is at it, too, and stays
        refresh(d, d->at.side[i][0], v, u);
}

static int64_t take_proposals(struct kf_decimator *d, float goal2, int64_t most, float *reached2)
{
    int64_t made = 0;
    for (int64_t i = 0; i < d->count && made < most && error2_of(&d->list[i]) <= goal2; i++) {
        uint32_t v = d->list[i].vertex, u = d->list[i].onto;
        if (!d->known) // a piece is in the cache
            look_ahead(d, i);
        if ((d->flags[v] | d->flags[u]) & (KF_VERTEX_REMOVED | KF_VERTEX_BESIDE))
            continue;
        if (!link_holds(d, v, u) || turns_over(d, v, u))
            continue;
        float t[3];
        subtract(d->mesh->xyz + 3 * (int64_t)u, d->mesh->xyz + 3 * (int64_t)v, t);
        add_quadric(&d->q[u], &d->q[v], t);
        d->flags[v] |= KF_VERTEX_REMOVED;
        for (uint32_t c = d->at.first[v]; c < d->at.first[v + 1]; c++) // no border is at v: these are all
            d->flags[d->at.side[c][0]] |= KF_VERTEX_BESIDE;
        d->onto[v] = u;
        if (d->known)
            refresh_around(d, v, u);
        float error2 = error2_of(&d->list[i]);
        *reached2 = error2 > *reached2 ? error2 : *reached2;
        made++;
    }
    return made;
}

static void renumber(struct kf_decimator *d)
{
    struct kf_mesh *m = d->mesh;
    int64_t kept = 0;
    for (int64_t t = 0; t < m->triangles; t++) {
        uint32_t corner[3], *to = m->index + 3 * kept;
        for (int c = 0; c < 3; c++) {
            uint32_t v = m->index[3 * t + c];
            corner[c] = d->onto[v] == NONE ? v : d->onto[v];
        }
        for (int c = 0; c < 3; c++)
            to[c] = corner[c]; // no branch: which ones go is hard to foresee
        kept += corner[0] != corner[1] && corner[1] != corner[2] && corner[2] != corner[0];
    }
    m->triangles = kept;
}

void kf_decimate_compact(struct kf_decimator *d)
{
    struct kf_mesh *m = d->mesh;
    uint32_t count = 0;
    memset(d->onto, 0xff, (size_t)m->vertices * sizeof *d->onto);
    for (int64_t c = 0; c < 3 * m->triangles; c++)
        d->onto[m->index[c]] = 0;
    for (int64_t v = 0; v < m->vertices; v++) {
        if (d->onto[v] == NONE)
            continue;
        memmove(m->xyz + 3 * (int64_t)count, m->xyz + 3 * v, 3 * sizeof *m->xyz);
        d->q[count] = d->q[v];
        d->flags[count] = d->flags[v] & KF_VERTEX_BORDER;
        d->onto[v] = count++;
    }
    for (int64_t c = 0; c < 3 * m->triangles; c++)
        m->index[c] = d->onto[m->index[c]];
    m->vertices = count;
}

// Takes of the proposals `from`, one per vertex; they may lie in d->list.
static int64_t finish_round(struct kf_decimator *d, const struct kf_proposal *from, float limit2, int64_t most,
                            float *reached2)
{
    memset(d->onto, 0xff, (size_t)d->mesh->vertices * sizeof *d->onto);
    keep_proposals(d, from, limit2);
    // Cheap collapses first: this pass stops a little above the error of its cheaper half.
    float goal2 = d->count ? error2_of(&d->list[d->count / 2]) * 4.0f : 0;
    int64_t made = take_proposals(d, goal2 < limit2 ? goal2 : limit2, most, reached2);
    renumber(d);
    return made;
}

int64_t kf_decimate_round(struct kf_decimator *d, float limit2, int64_t most, float *reached2)
{
    for (int64_t v = 0; v < d->mesh->vertices; v++) {
        if (d->flags[v] & KF_VERTEX_STALE)
            propose(d, (uint32_t)v, &d->known[v]);
        d->flags[v] &= (uint8_t) ~(KF_VERTEX_STALE | KF_VERTEX_BESIDE);
    }
    return finish_round(d, d->known, limit2, most, reached2);
}

static enum kf_kernel_status make_fans(const struct kf_work *work, const struct kf_mesh *m, struct kf_fans *at)
{
    struct kf_corners corners;
    *at = (struct kf_fans){0};
    enum kf_kernel_status status = kf_corners_make(work, m, &corners);
    if (status)
        return status;
    uint32_t(*side)[2] = kf_work_take(work, 3 * m->triangles * (int64_t)sizeof *side);
    if (!side) {
        kf_corners_release(work, &corners);
        return KF_KERNEL_NOMEM;
    }
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t i = 0; i < 3 * m->triangles; i++) {
        side[i][0] = m->index[kf_corner_next(corners.corner[i])];
        side[i][1] = m->index[kf_corner_before(corners.corner[i])];
    }
    *at = (struct kf_fans){corners.first, side};
    kf_work_give(work, corners.corner);
    return KF_KERNEL_OK;
}

// One pass over the whole mesh; *made gets the number of collapses.
static enum kf_kernel_status run_pass(const struct kf_work *work, struct kf_decimator *d,
                                      const struct kf_mesh_decimate *how, float *reached2, int64_t *made)
{
    float limit2 = (float)(how->error_mm * how->error_mm);
    enum kf_kernel_status status = make_fans(work, d->mesh, &d->at);
    if (status)
        return status;
    int64_t n = d->mesh->vertices;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t v = 0; v < n; v++)
        propose(d, (uint32_t)v, &d->list[v]);
    *made = finish_round(d, d->list, limit2, (d->mesh->triangles - how->target) / 2, reached2);
    kf_work_give(work, d->at.first);
    kf_work_give(work, d->at.side);
    kf_decimate_compact(d);
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_mesh_decimate(const struct kf_work *work, struct kf_mesh *mesh,
                                       const struct kf_mesh_decimate *how, double *reached_mm)
{
    float reached2 = 0;
    int64_t n = mesh->vertices, before = mesh->triangles;
    if (reached_mm)
        *reached_mm = 0;
    if (!(how->error_mm >= 0) || how->target < 0)
        return KF_KERNEL_INVALID;
    struct kf_decimator d = {.mesh = mesh};
    d.q = kf_work_take(work, n * (int64_t)sizeof *d.q);
    d.onto = kf_work_take(work, n * (int64_t)sizeof *d.onto);
    d.flags = kf_work_take(work, n);
    d.list = kf_work_take(work, n * (int64_t)sizeof *d.list);
    d.spare = kf_work_take(work, n * (int64_t)sizeof *d.spare);
    enum kf_kernel_status status = d.q && d.onto && d.flags && d.list && d.spare ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    int64_t made = INT64_MAX;
    if (!status && mesh->triangles > how->target)
        status = kf_decimate_blocks(work, &d, how, &reached2);
    while (!status && mesh->triangles > how->target && made > mesh->triangles / 200) {
        status = run_pass(work, &d, how, &reached2, &made);
        double done = 1 - (double)mesh->triangles / (double)before;
        if (!status && kf_work_step(work, done))
            status = KF_KERNEL_CANCELLED;
    }
    kf_work_give(work, d.q);
    kf_work_give(work, d.onto);
    kf_work_give(work, d.flags);
    kf_work_give(work, d.list);
    kf_work_give(work, d.spare);
    if (reached_mm)
        *reached_mm = __builtin_sqrt((double)reached2);
    return status;
}
