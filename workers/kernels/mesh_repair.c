#include "workers/kernels/mesh_repair.h"
#include "workers/kernels/adjacency.h"
#include "workers/kernels/bvh.h"
#include "workers/kernels/mesh_intersect.h"
#include "workers/kernels/mesh_stitch.h"

#include <string.h>

#define PAIRS_MOST (1 << 20) // of intersecting facets that a round looks at
#define LEAST_MM3  1e-9      // what encloses less encloses nothing

#define RAY_LOOKS     ((int64_t)1 << 31) // some twenty seconds
#define LOOKS_OF_NODE 4                  // it lies in three lines of memory, as far away as not

// KF_KERNEL_INVALID when a corner is one that no kf_bvh may have.
static enum kf_kernel_status check_places(const struct kf_work *work, const struct kf_mesh *m)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int64_t c = 0; c < 3 * m->triangles && !(status = kf_work_ask(work, c)); c++)
        for (int r = 0; r < 3; r++)
            if (!(__builtin_fabsf(m->xyz[3 * (int64_t)m->index[c] + r]) < KF_BVH_FAR))
                return KF_KERNEL_INVALID;
    return status;
}

static int is_manifold(const struct kf_mesh_report *r)
{
    return r->closed && r->manifold && r->oriented;
}

// ---- which way pieces face ----

struct ray {
    const struct kf_work *work;
    const struct kf_bvh *tree;
    const uint32_t *group;
    double from[3];
    uint32_t own;  // piece that the ray starts on
    int odd;       // the other pieces are crossed an odd number of times
    int64_t looks; // of all rays, at facets and nodes
    enum kf_kernel_status status;
};

// 1 when the ray along +x from p crosses the triangle. Edges are looked at from their lower vertex, so that two
// triangles agree on their edge and a closed surface is crossed an even number of times all along the line.
static int crosses(const struct kf_mesh *m, uint32_t t, const double p[3])
{
    int odd = 0;
    double x[3][3], n[3];
    for (int c = 0; c < 3; c++) {
        uint32_t i = m->index[3 * (int64_t)t + c], k = m->index[3 * (int64_t)t + (c + 1) % 3];
        const float *a = m->xyz + 3 * (int64_t)(i < k ? i : k), *b = m->xyz + 3 * (int64_t)(i < k ? k : i);
        for (int r = 0; r < 3; r++)
            x[c][r] = (double)m->xyz[3 * (int64_t)i + r];
        double ay = (double)a[1], az = (double)a[2], by = (double)b[1], bz = (double)b[2];
        if ((ay > p[1]) != (by > p[1]))
            odd ^= az + (p[1] - ay) / (by - ay) * (bz - az) > p[2];
    }
    if (!odd)
        return 0;
    for (int r = 0; r < 3; r++) {
        int u = (r + 1) % 3, w = (r + 2) % 3;
        n[r] = (x[1][u] - x[0][u]) * (x[2][w] - x[0][w]) - (x[1][w] - x[0][w]) * (x[2][u] - x[0][u]);
    }
    double across = n[1] * (p[1] - x[0][1]) + n[2] * (p[2] - x[0][2]);
    return n[0] != 0 && x[0][0] - across / n[0] > p[0];
}

static int on_hit(void *user, int64_t place)
{
    struct ray *ray = user;
    const struct kf_mesh *m = ray->tree->mesh;
    uint32_t t = ray->tree->order[place];
    ray->status = kf_work_ask(ray->work, ++ray->looks);
    if (!ray->status && ray->looks > RAY_LOOKS)
        ray->status = KF_KERNEL_TOO_LARGE;
    if (ray->group[m->index[3 * (int64_t)t]] != ray->own)
        ray->odd ^= crosses(m, t, ray->from);
    return ray->status != KF_KERNEL_OK;
}

// 1 when the middle of triangle t lies in an odd number of other pieces.
static int is_inside(struct ray *ray, int64_t t)
{
    const struct kf_mesh *m = ray->tree->mesh;
    float low[3], high[3];
    for (int r = 0; r < 3; r++) {
        ray->from[r] = 0;
        for (int c = 0; c < 3; c++)
            ray->from[r] += (double)m->xyz[3 * (int64_t)m->index[3 * t + c] + r] / 3;
        low[r] = high[r] = (float)ray->from[r];
        ray->from[r] = (double)low[r];
    }
    high[0] = __FLT_MAX__;
    ray->own = ray->group[m->index[3 * t]];
    ray->odd = 0;
    const int64_t asked = ray->looks / KF_ASK_EVERY;
    const int64_t nodes = kf_bvh_overlaps(ray->tree, low, high, 0, on_hit, ray);
    ray->looks += LOOKS_OF_NODE * nodes; // where a ray misses all facets, these are the work
    if (!ray->status && ray->looks / KF_ASK_EVERY != asked)
        ray->status = kf_work_ask(ray->work, 0);
    if (!ray->status && ray->looks > RAY_LOOKS)
        ray->status = KF_KERNEL_TOO_LARGE;
    return ray->odd;
}

static enum kf_kernel_status add_volumes(const struct kf_work *work, const struct kf_mesh *m, const uint32_t *group,
                                         double *volume)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    memset(volume, 0, (size_t)m->vertices * sizeof *volume);
    for (int64_t t = 0; t < m->triangles && !(status = kf_work_ask(work, t)); t++) {
        uint32_t piece = group[m->index[3 * t]];
        const float *o = m->xyz + 3 * (int64_t)piece;
        double p[3][3];
        for (int c = 0; c < 3; c++)
            for (int r = 0; r < 3; r++)
                p[c][r] = (double)m->xyz[3 * (int64_t)m->index[3 * t + c] + r] - (double)o[r];
        volume[piece] += p[0][0] * (p[1][1] * p[2][2] - p[1][2] * p[2][1]) +
                         p[0][1] * (p[1][2] * p[2][0] - p[1][0] * p[2][2]) +
                         p[0][2] * (p[1][0] * p[2][1] - p[1][1] * p[2][0]);
    }
    return status;
}

// Sets wrong[piece] to 2 where the sign of its volume is not that of its depth; `group` says the pieces.
static enum kf_kernel_status judge_pieces(const struct kf_work *work, const struct kf_bvh *tree, const uint32_t *group,
                                          const double *volume, uint8_t *wrong)
{
    const struct kf_mesh *m = tree->mesh;
    struct ray ray = {.work = work, .tree = tree, .group = group};
    memset(wrong, 0, (size_t)m->vertices);
    for (int64_t t = 0; t < m->triangles && !ray.status; t++) {
        uint32_t piece = group[m->index[3 * t]];
        if (wrong[piece])
            continue;
        wrong[piece] = (volume[piece] < 0) != is_inside(&ray, t) ? 2 : 1;
        ray.status = ray.status ? ray.status : kf_work_ask(work, ++ray.looks);
    }
    return ray.status;
}

// Turns pieces of a closed surface over whose volume has the wrong sign for their depth.
static enum kf_kernel_status face_outward(const struct kf_work *work, struct kf_mesh *m, int64_t *turned)
{
    struct kf_bvh tree;
    enum kf_kernel_status status = kf_bvh_make(work, m, &tree);
    if (status)
        return status;
    uint32_t *group = kf_work_take(work, m->vertices * (int64_t)sizeof *group);
    double *volume = kf_work_take(work, m->vertices * (int64_t)sizeof *volume);
    uint8_t *wrong = kf_work_take(work, m->vertices);
    status = group && volume && wrong ? kf_mesh_groups(work, m, group) : KF_KERNEL_NOMEM;
    if (!status)
        status = add_volumes(work, m, group, volume);
    if (!status)
        status = judge_pieces(work, &tree, group, volume, wrong);
    for (int64_t t = 0; t < m->triangles && !status && !(status = kf_work_ask(work, t)); t++) {
        uint32_t *corner = m->index + 3 * t, b = corner[1];
        if (wrong[group[corner[0]]] != 2)
            continue;
        corner[1] = corner[2];
        corner[2] = b;
        (*turned)++;
    }
    kf_work_give(work, group);
    kf_work_give(work, volume);
    kf_work_give(work, wrong);
    kf_bvh_release(work, &tree);
    return status;
}

// ---- facets that run through others ----

static enum kf_kernel_status copy_mesh(const struct kf_work *work, const struct kf_mesh *from, struct kf_mesh *to)
{
    *to = (struct kf_mesh){.vertices = from->vertices,
                           .triangles = from->triangles,
                           .xyz = kf_work_take(work, from->vertices * 3 * (int64_t)sizeof *to->xyz),
                           .index = kf_work_take(work, from->triangles * 3 * (int64_t)sizeof *to->index)};
    if (!to->xyz || !to->index) {
        kf_mesh_release(work, to);
        *to = (struct kf_mesh){0};
        return KF_KERNEL_NOMEM;
    }
    memcpy(to->xyz, from->xyz, (size_t)from->vertices * 3 * sizeof *to->xyz);
    memcpy(to->index, from->index, (size_t)from->triangles * 3 * sizeof *to->index);
    return KF_KERNEL_OK;
}

// Drops the facets of all pairs, and `rings` rings of facets around them.
static enum kf_kernel_status cut_out(const struct kf_work *work, struct kf_mesh *m,
                                     const struct kf_mesh_intersections *found, int rings)
{
    uint8_t *near = kf_work_take(work, m->vertices), *drop = kf_work_take(work, m->triangles);
    if (!near || !drop) {
        kf_work_give(work, near);
        kf_work_give(work, drop);
        return KF_KERNEL_NOMEM;
    }
    enum kf_kernel_status status = KF_KERNEL_OK;
    memset(drop, 0, (size_t)m->triangles);
    for (int64_t i = 0; i < 2 * found->listed; i++)
        drop[found->pair[i]] = 1;
    for (int ring = 0; ring < rings && !status; ring++) {
        memset(near, 0, (size_t)m->vertices);
        for (int64_t c = 0; c < 3 * m->triangles && !(status = kf_work_ask(work, c)); c++)
            near[m->index[c]] |= drop[c / 3];
        for (int64_t c = 0; c < 3 * m->triangles && !status && !(status = kf_work_ask(work, c)); c++)
            drop[c / 3] |= near[m->index[c]];
    }
    int64_t kept = 0;
    for (int64_t t = 0; t < m->triangles && !status && !(status = kf_work_ask(work, t)); t++)
        if (!drop[t])
            memmove(m->index + 3 * kept++, m->index + 3 * t, 3 * sizeof *m->index);
    m->triangles = kept;
    kf_work_give(work, near);
    kf_work_give(work, drop);
    return status;
}

static enum kf_kernel_status mend(const struct kf_work *work, struct kf_mesh *m, const struct kf_mesh_repair *how,
                                  struct kf_mesh_repair_report *report, int stitch);

static enum kf_kernel_status count_pairs(const struct kf_work *work, const struct kf_mesh *m, int64_t most,
                                         struct kf_mesh_intersections *found)
{
    *found = (struct kf_mesh_intersections){0};
    return m->triangles ? kf_mesh_intersect(work, m, most, found) : KF_KERNEL_OK;
}

// One round more: *found is replaced when the surface has become better, and the mesh stays as it was when not.
static enum kf_kernel_status try_without(const struct kf_work *work, struct kf_mesh *m,
                                         const struct kf_mesh_repair *how, int rings,
                                         struct kf_mesh_intersections *found, struct kf_mesh_repair_report *report)
{
    struct kf_mesh other;
    struct kf_mesh_report topology;
    struct kf_mesh_repair_report counts = *report;
    struct kf_mesh_intersections left = {0};
    enum kf_kernel_status status = copy_mesh(work, m, &other);
    if (status)
        return status;
    status = cut_out(work, &other, found, rings);
    if (!status)
        status = mend(work, &other, how, &counts, 1);
    if (!status)
        status = kf_mesh_check(work, &other, &topology);
    if (!status)
        status = count_pairs(work, &other, PAIRS_MOST, &left);
    int better = !status && !left.given_up && left.pairs < found->pairs;
    if (better && other.triangles && topology.closed >= report->after.closed) {
        struct kf_mesh old = *m;
        struct kf_mesh_intersections before = *found;
        *m = other;
        *found = left;
        *report = counts;
        report->after = topology;
        other = old;
        left = before;
    }
    kf_work_give(work, left.pair);
    kf_mesh_release(work, &other);
    return status;
}

// ---- all of it ----

static enum kf_kernel_status mend(const struct kf_work *work, struct kf_mesh *m, const struct kf_mesh_repair *how,
                                  struct kf_mesh_repair_report *report, int stitch)
{
    int64_t pieces = 0;
    struct kf_mesh_report topology;
    enum kf_kernel_status status = stitch ? kf_mesh_stitch(work, m, how, report) : KF_KERNEL_OK;
    if (!status)
        status = kf_mesh_check(work, m, &topology);
    if (!status && topology.closed) {
        // Dropping renumbers vertices, which must not happen where there is nothing to drop.
        struct kf_mesh copy;
        status = copy_mesh(work, m, &copy);
        if (!status)
            status = kf_mesh_drop_small(work, &copy, how->least_mm3 > LEAST_MM3 ? how->least_mm3 : LEAST_MM3, &pieces);
        if (!status && pieces) {
            struct kf_mesh old = *m;
            *m = copy;
            copy = old;
        }
        kf_mesh_release(work, &copy);
        if (!status && m->triangles)
            status = face_outward(work, m, &report->turned_triangles);
    }
    report->pieces_removed += pieces;
    return status;
}

static enum kf_kernel_status weld_open(const struct kf_work *work, struct kf_mesh *m,
                                       struct kf_mesh_repair_report *report)
{
    int64_t vertices = m->vertices, triangles = m->triangles;
    enum kf_kernel_status status = kf_mesh_weld(work, m);
    report->welded_vertices = vertices - m->vertices - report->before.unused_vertices;
    report->degenerate_triangles = triangles - m->triangles;
    return status;
}

enum kf_kernel_status kf_mesh_repair(const struct kf_work *work, struct kf_mesh *mesh, const struct kf_mesh_repair *how,
                                     struct kf_mesh_repair_report *report)
{
    *report = (struct kf_mesh_repair_report){0};
    if (!(how->least_mm3 >= 0) || how->hole_edges < 0 || how->intersections < 0)
        return KF_KERNEL_INVALID;
    struct kf_work_part part;
    enum kf_kernel_status status = kf_mesh_check(kf_work_part(&part, work, 0, 0.1), mesh, &report->before);
    if (!status)
        status = check_places(work, mesh);
    int sick = !is_manifold(&report->before);
    if (!status && !report->before.closed)
        status = weld_open(work, mesh, report);
    if (!status)
        status = mend(kf_work_part(&part, work, 0.1, 0.4), mesh, how, report, sick);
    if (!status)
        status = kf_mesh_check(kf_work_part(&part, work, 0.4, 0.5), mesh, &report->after);
    struct kf_mesh_intersections found = {0};
    if (!status)
        status = count_pairs(kf_work_part(&part, work, 0.5, 0.8), mesh, how->intersections ? PAIRS_MOST : 0, &found);
    report->intersections_before = found.pairs;
    for (int round = 0; round < how->intersections && found.pairs && !status; round++) {
        double from = 0.8 + 0.2 * round / how->intersections;
        const struct kf_work *share = kf_work_part(&part, work, from, from + 0.2 / how->intersections);
        status = try_without(share, mesh, how, 1 + round, &found, report);
    }
    report->intersections_after = found.pairs;
    report->intersections_unknown = found.given_up;
    report->flat_triangles = found.flat;
    report->sound = mesh->triangles > 0 && is_manifold(&report->after) && found.pairs == 0 && !found.given_up;
    report->changed = sick || report->pieces_removed || report->turned_triangles ||
                      report->intersections_after != report->intersections_before;
    kf_work_give(work, found.pair);
    return status;
}
