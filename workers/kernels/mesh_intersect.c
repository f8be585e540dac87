#include "workers/kernels/mesh_intersect.h"
#include "workers/kernels/adjacency.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/mesh_intersect_pass.h"

#include <string.h>

#define ASK_EVERY 4096 // triangles

// ---- exact signs ----

// A number as a sum of doubles that do not overlap, the greatest last (Shewchuk's expansion).
struct sum {
    double part[64];
    int parts;
};

// Adds one double without rounding (grow-expansion with zero elimination; Shewchuk 1997, figure 6).
static void add_exactly(struct sum *s, double b)
{
    int kept = 0;
    double q = b;
    for (int i = 0; i < s->parts; i++) {
        double e = s->part[i], total = q + e, of_e = total - q, of_q = total - of_e;
        double rest = (q - of_q) + (e - of_e);
        q = total;
        if (rest != 0)
            s->part[kept++] = rest;
    }
    if (q != 0)
        s->part[kept++] = q;
    s->parts = kept;
}

// Adds x·y·z of three floats: x·y is exact in a double, and so are its two halves times z.
static void add_product(struct sum *s, float x, float y, float z)
{
    double xy = (double)x * (double)y, c = 134217729.0 * xy, high = c - (c - xy), low = xy - high;
    add_exactly(s, high * (double)z);
    add_exactly(s, low * (double)z);
}

static int sign_of(const struct sum *s)
{
    return s->parts == 0 ? 0 : s->part[s->parts - 1] > 0 ? 1 : -1;
}

// + |u v w| as a sum of six products.
static void add_determinant(struct sum *s, const float u[3], const float v[3], const float w[3])
{
    add_product(s, u[0], v[1], w[2]);
    add_product(s, u[1], v[2], w[0]);
    add_product(s, u[2], v[0], w[1]);
    add_product(s, -u[2], v[1], w[0]);
    add_product(s, -u[1], v[0], w[2]);
    add_product(s, -u[0], v[2], w[1]);
}

static int orientation_exactly(const float a[3], const float b[3], const float c[3], const float d[3])
{
    // |a-d b-d c-d| = |a b c| - |b c d| + |c d a| - |d a b|, with the second and fourth turned by one swap.
    struct sum s = {.parts = 0};
    add_determinant(&s, a, b, c);
    add_determinant(&s, c, b, d);
    add_determinant(&s, c, d, a);
    add_determinant(&s, a, d, b);
    return sign_of(&s);
}

int kf_orientation(const float a[3], const float b[3], const float c[3], const float d[3])
{
    double u[3], v[3], w[3];
    for (int r = 0; r < 3; r++) {
        u[r] = (double)a[r] - (double)d[r];
        v[r] = (double)b[r] - (double)d[r];
        w[r] = (double)c[r] - (double)d[r];
    }
    double p0 = v[1] * w[2], q0 = v[2] * w[1], p1 = v[2] * w[0], q1 = v[0] * w[2], p2 = v[0] * w[1], q2 = v[1] * w[0];
    double det = u[0] * (p0 - q0) + u[1] * (p1 - q1) + u[2] * (p2 - q2);
    double size = (__builtin_fabs(p0) + __builtin_fabs(q0)) * __builtin_fabs(u[0]) +
                  (__builtin_fabs(p1) + __builtin_fabs(q1)) * __builtin_fabs(u[1]) +
                  (__builtin_fabs(p2) + __builtin_fabs(q2)) * __builtin_fabs(u[2]);
    double unsure = 8e-16 * size; // Shewchuk's bound is 7.8e-16
    if (det > unsure || -det > unsure)
        return det > 0 ? 1 : -1;
    if (size == 0) // every product has a factor that is 0 exactly
        return 0;
    return orientation_exactly(a, b, c, d);
}

// The same in the plane of the axes x and y: 1 when a, b, c turn counter-clockwise.
static int turn_of(const float *a, const float *b, const float *c, int x, int y)
{
    double left = ((double)a[x] - (double)c[x]) * ((double)b[y] - (double)c[y]);
    double right = ((double)a[y] - (double)c[y]) * ((double)b[x] - (double)c[x]);
    double det = left - right, unsure = 4e-16 * (__builtin_fabs(left) + __builtin_fabs(right));
    if (det > unsure || -det > unsure)
        return det > 0 ? 1 : -1;
    struct sum s = {.parts = 0};
    add_product(&s, a[x], b[y], 1);
    add_product(&s, -a[y], b[x], 1);
    add_product(&s, b[x], c[y], 1);
    add_product(&s, -b[y], c[x], 1);
    add_product(&s, c[x], a[y], 1);
    add_product(&s, -c[y], a[x], 1);
    return sign_of(&s);
}

// An axis along which the triangle can be looked at without becoming a line; -1 when it has no area.
static int seen_along(const float t[3][3])
{
    for (int axis = 0; axis < 3; axis++)
        if (turn_of(t[0], t[1], t[2], (axis + 1) % 3, (axis + 2) % 3))
            return axis;
    return -1;
}

// ---- within a plane ----

static int between(const float *a, const float *b, const float *p, int x, int y)
{
    for (int n = 0; n < 2; n++) {
        int r = n ? y : x;
        if ((p[r] < a[r] && p[r] < b[r]) || (p[r] > a[r] && p[r] > b[r]))
            return 0;
    }
    return 1;
}

static int segments_meet(const float *a, const float *b, const float *c, const float *d, int x, int y)
{
    int s = turn_of(a, b, c, x, y), t = turn_of(a, b, d, x, y), u = turn_of(c, d, a, x, y), v = turn_of(c, d, b, x, y);
    if (s * t < 0 && u * v < 0)
        return 1;
    return (!s && between(a, b, c, x, y)) || (!t && between(a, b, d, x, y)) || (!u && between(c, d, a, x, y)) ||
           (!v && between(c, d, b, x, y));
}

static int inside_triangle(const float t[3][3], const float *p, int x, int y)
{
    int low = 0, high = 0;
    for (int c = 0; c < 3; c++) {
        int turn = turn_of(t[c], t[(c + 1) % 3], p, x, y);
        low |= turn < 0;
        high |= turn > 0;
    }
    return !(low && high);
}

// A segment and a triangle in one plane.
static int flat_meet(const float *p, const float *q, const float t[3][3])
{
    int axis = seen_along(t), x = (axis + 1) % 3, y = (axis + 2) % 3;
    if (inside_triangle(t, p, x, y) || inside_triangle(t, q, x, y))
        return 1;
    for (int c = 0; c < 3; c++)
        if (segments_meet(p, q, t[c], t[(c + 1) % 3], x, y))
            return 1;
    return 0;
}

// ---- triangles ----

// The segment pq, whose ends lie on the sides s and u of the triangle's plane, and the triangle, both with their rims.
static int segment_meets(const float *p, const float *q, int s, int u, const float t[3][3])
{
    if (s * u > 0)
        return 0;
    if (!s && !u)
        return flat_meet(p, q, t);
    int low = 0, high = 0;
    for (int c = 0; c < 3; c++) {
        int side = kf_orientation(p, q, t[c], t[(c + 1) % 3]);
        low |= side < 0;
        high |= side > 0;
        if (low && high)
            return 0;
    }
    return 1;
}

static int same_place(const float *a, const float *b)
{
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

static void sides_of(const float t[3][3], const float of[3][3], int side[3])
{
    for (int c = 0; c < 3; c++)
        side[c] = kf_orientation(t[0], t[1], t[2], of[c]);
}

static int all_on_one_side(const int side[3])
{
    return (side[0] > 0 && side[1] > 0 && side[2] > 0) || (side[0] < 0 && side[1] < 0 && side[2] < 0);
}

// Two triangles with the edge from a[i] to a[(i + 1) % 3] in common: they meet beyond it only when folded flat.
static int folded(const float a[3][3], int i, const float *other)
{
    const float *p = a[i], *q = a[(i + 1) % 3], *mine = a[(i + 2) % 3];
    if (kf_orientation(p, q, mine, other))
        return 0;
    int axis = seen_along(a), x = (axis + 1) % 3, y = (axis + 2) % 3;
    return turn_of(p, q, mine, x, y) == turn_of(p, q, other, x, y);
}

// Two triangles with the corner a[i] = b[k] in common: what leaves it together ends on a side opposite to it.
static int meet_around_corner(const float a[3][3], int i, const float b[3][3], int k)
{
    const float *p = a[(i + 1) % 3], *q = a[(i + 2) % 3], *r = b[(k + 1) % 3], *s = b[(k + 2) % 3];
    int side_r = kf_orientation(a[0], a[1], a[2], r), side_s = kf_orientation(a[0], a[1], a[2], s);
    if (side_r * side_s > 0)
        return 0;
    int side_p = kf_orientation(b[0], b[1], b[2], p), side_q = kf_orientation(b[0], b[1], b[2], q);
    if (side_p * side_q > 0)
        return 0;
    return segment_meets(p, q, side_p, side_q, b) || segment_meets(r, s, side_r, side_s, a);
}

int kf_triangles_meet(const float a[][3], const float b[][3])
{
    int shared = 0, at_a[3] = {0, 0, 0}, at_b[3] = {0, 0, 0}, free_a = 3, free_b = 3;
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            if (same_place(a[i], b[k])) {
                at_a[shared % 3] = i;
                at_b[shared % 3] = k;
                free_a -= i;
                free_b -= k;
                shared++;
            }
    if (shared >= 3)
        return 1;
    if (shared == 2) // the corner of a that is left is free_a, and the edge begins after it
        return folded(a, (free_a + 1) % 3, b[free_b]);
    if (shared == 1)
        return meet_around_corner(a, at_a[0], b, at_b[0]);
    int side_b[3], side_a[3];
    sides_of(a, b, side_b);
    if (all_on_one_side(side_b))
        return 0;
    sides_of(b, a, side_a);
    if (all_on_one_side(side_a))
        return 0;
    for (int c = 0; c < 3; c++) {
        int n = (c + 1) % 3;
        if (segment_meets(a[c], a[n], side_a[c], side_a[n], b) || segment_meets(b[c], b[n], side_b[c], side_b[n], a))
            return 1;
    }
    return 0;
}

// ---- the mesh ----

static void make_facet(const struct kf_mesh *mesh, uint32_t t, const uint32_t *same, struct kf_facet *f)
{
    double u[3], w[3], widest_u = 0, widest_w = 0;
    for (int c = 0; c < 3; c++) {
        uint32_t v = mesh->index[3 * (int64_t)t + c];
        memcpy(f->p[c], mesh->xyz + 3 * (int64_t)v, sizeof f->p[c]);
        f->id[c] = same[v];
    }
    f->id[3] = UINT32_MAX;
    for (int r = 0; r < 3; r++) {
        u[r] = (double)f->p[1][r] - (double)f->p[0][r];
        w[r] = (double)f->p[2][r] - (double)f->p[0][r];
        widest_u = __builtin_fabs(u[r]) > widest_u ? __builtin_fabs(u[r]) : widest_u;
        widest_w = __builtin_fabs(w[r]) > widest_w ? __builtin_fabs(w[r]) : widest_w;
    }
    f->size = 2 * widest_u * widest_w;
    int sure = 0;
    for (int r = 0; r < 3; r++) {
        f->normal[r] = u[(r + 1) % 3] * w[(r + 2) % 3] - u[(r + 2) % 3] * w[(r + 1) % 3];
        sure |= __builtin_fabs(f->normal[r]) > 1e-15 * f->size;
    }
    f->flat = !sure && seen_along((const float (*)[3])f->p) < 0;
}

// Per block of leaves the number of pairs before it; the last entry is that of all. *given_up: looks ran out.
static enum kf_kernel_status count_pairs(const struct kf_work *work, const struct kf_intersect_search *like,
                                         int64_t blocks, int64_t *count, int *given_up)
{
    const struct kf_kernel_table *table = kf_kernels();
    struct kf_loop loop = kf_loop_make(work, blocks, 0, 1);
    struct kf_intersect_limits limits = {&loop, KF_INTERSECT_LOOKS + 64 * like->bvh->mesh->triangles};
    int64_t total = 0;
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        struct kf_intersect_search s = {.bvh = like->bvh, .facet = like->facet, .limits = &limits};
        if (kf_loop_stop(&loop) || __atomic_load_n(&limits.looks, __ATOMIC_RELAXED) < 0)
            continue;
        table->intersect_block(&s, b);
        count[b] = s.pairs;
    }
    *given_up = limits.looks < 0;
    if (loop.stop)
        return KF_KERNEL_CANCELLED;
    for (int64_t b = 0; b < blocks && !*given_up; b++) {
        int64_t n = count[b];
        count[b] = total;
        total += n;
    }
    count[blocks] = *given_up ? 0 : total;
    return KF_KERNEL_OK;
}

// Searches once more in the blocks that have pairs, and writes these to where they belong.
static enum kf_kernel_status list_pairs(const struct kf_work *work, const struct kf_intersect_search *like,
                                        int64_t blocks, const int64_t *count, int64_t listed, uint32_t *pair)
{
    const struct kf_kernel_table *table = kf_kernels();
    struct kf_loop loop = kf_loop_make(work, blocks, 1, 1);
    struct kf_intersect_limits limits = {&loop, INT64_MAX}; // as many as before
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        if (kf_loop_stop(&loop) || count[b] == count[b + 1] || count[b] >= listed)
            continue;
        struct kf_intersect_search s = {.bvh = like->bvh, .facet = like->facet, .limits = &limits};
        s.list = pair + 2 * count[b];
        s.most = listed - count[b];
        table->intersect_block(&s, b);
    }
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

static enum kf_kernel_status search_all(const struct kf_work *work, const struct kf_intersect_search *like, int64_t most,
                                        struct kf_mesh_intersections *out)
{
    int64_t blocks = (like->bvh->nodes[0] + KF_INTERSECT_BLOCK - 1) / KF_INTERSECT_BLOCK;
    int64_t *count = kf_work_take(work, (blocks + 1) * (int64_t)sizeof *count);
    if (!count)
        return KF_KERNEL_NOMEM;
    enum kf_kernel_status status = count_pairs(work, like, blocks, count, &out->given_up);
    if (!status) {
        out->pairs = count[blocks];
        out->listed = out->pairs < most ? out->pairs : most;
        out->pair = out->listed > 0 ? kf_work_take(work, out->listed * 2 * (int64_t)sizeof *out->pair) : NULL;
    }
    if (!status && out->listed > 0)
        status = out->pair ? list_pairs(work, like, blocks, count, out->listed, out->pair) : KF_KERNEL_NOMEM;
    kf_work_give(work, count);
    return status;
}

// The facets in the tree's order. Owned: kf_work_give.
static enum kf_kernel_status make_facets(const struct kf_work *work, const struct kf_bvh *bvh, struct kf_facet **out,
                                         int64_t *flat)
{
    const struct kf_mesh *mesh = bvh->mesh;
    int64_t flats = 0;
    uint32_t *same = kf_work_take(work, mesh->vertices * (int64_t)sizeof *same);
    struct kf_facet *facet = kf_work_take(work, mesh->triangles * (int64_t)sizeof *facet);
    enum kf_kernel_status status = same && facet ? kf_same_places(work, mesh, same) : KF_KERNEL_NOMEM;
    if (!status) {
        struct kf_loop loop = kf_loop_make(work, mesh->triangles / ASK_EVERY + 1, 0, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static) reduction(+ : flats)
        for (int64_t n = 0; n < mesh->triangles; n++) {
            if (n % ASK_EVERY == 0)
                (void)kf_loop_stop(&loop);
            if (__atomic_load_n(&loop.stop, __ATOMIC_RELAXED))
                continue;
            make_facet(mesh, bvh->order[n], same, &facet[n]);
            flats += facet[n].flat;
        }
        status = loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
    }
    kf_work_give(work, same);
    if (status) {
        kf_work_give(work, facet);
        facet = NULL;
    }
    *out = facet;
    *flat = flats;
    return status;
}

enum kf_kernel_status kf_mesh_intersect(const struct kf_work *work, const struct kf_mesh *mesh, int64_t most,
                                        struct kf_mesh_intersections *out)
{
    *out = (struct kf_mesh_intersections){0};
    if (most < 0)
        return KF_KERNEL_INVALID;
    if (mesh->vertices >= UINT32_MAX)
        return KF_KERNEL_TOO_LARGE;
    struct kf_bvh bvh;
    struct kf_work_part part;
    struct kf_facet *facet = NULL;
    enum kf_kernel_status status = kf_bvh_make(kf_work_part(&part, work, 0, 0.2), mesh, &bvh);
    if (!status && bvh.levels)
        status = make_facets(kf_work_part(&part, work, 0.2, 0.3), &bvh, &facet, &out->flat);
    if (!status && bvh.levels) {
        const struct kf_intersect_search like = {.bvh = &bvh, .facet = facet};
        status = search_all(kf_work_part(&part, work, 0.3, 1), &like, most, out);
    }
    out->flat = out->given_up ? 0 : out->flat;
    kf_work_give(work, facet);
    kf_bvh_release(work, &bvh);
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    if (status) {
        kf_work_give(work, out->pair);
        *out = (struct kf_mesh_intersections){0};
    }
    return status;
}
