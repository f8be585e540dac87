#include "workers/kernels/mesh_repair.h"
#include "workers/kernels/adjacency.h"
#include "workers/kernels/bvh.h"
#include "workers/kernels/mesh_intersect.h"
#include "workers/kernels/mesh_stitch.h"

#include <string.h>

#define PAIRS_MOST (1 << 20) // of intersecting facets that a round looks at
#define LEAST_MM3  1e-9      // what encloses less encloses nothing

static int is_finite(const struct kf_mesh *m)
{
    for (int64_t c = 0; c < 3 * m->triangles; c++)
        for (int r = 0; r < 3; r++)
            if (!(__builtin_fabsf(m->xyz[3 * (int64_t)m->index[c] + r]) <= __FLT_MAX__))
                return 0;
    return 1;
}

static int is_manifold(const struct kf_mesh_report *r)
{
    return r->closed && r->manifold && r->oriented;
}

// ---- which way pieces face ----

struct ray {
    const struct kf_bvh *tree;
    const uint32_t *group;
    uint8_t *inside; // per piece: the ray has left it an odd number of times; all 0 between rays
    double from[3];
    uint32_t own; // piece that the ray starts on
    int forget;   // only clears `inside`
    int64_t depth;
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
    uint32_t t = ray->tree->order[place], piece = ray->group[m->index[3 * (int64_t)t]];
    if (piece == ray->own)
        return 0;
    if (ray->forget) {
        ray->inside[piece] = 0;
    } else if (crosses(m, t, ray->from)) {
        ray->inside[piece] ^= 1;
        ray->depth += ray->inside[piece] ? 1 : -1;
    }
    return 0;
}

// In how many other pieces the middle of triangle t lies.
static int64_t depth_of(struct ray *ray, int64_t t)
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
    ray->depth = 0;
    for (ray->forget = 0; ray->forget < 2; ray->forget++)
        kf_bvh_overlaps(ray->tree, low, high, 0, on_hit, ray);
    return ray->depth;
}

static void add_volumes(const struct kf_mesh *m, const uint32_t *group, double *volume)
{
    memset(volume, 0, (size_t)m->vertices * sizeof *volume);
    for (int64_t t = 0; t < m->triangles; t++) {
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
    uint8_t *seen = kf_work_take(work, m->vertices), *inside = kf_work_take(work, m->vertices);
    if (group && volume && seen && inside) {
        kf_mesh_groups(m, group);
        add_volumes(m, group, volume);
        memset(seen, 0, (size_t)m->vertices);
        memset(inside, 0, (size_t)m->vertices);
        struct ray ray = {.tree = &tree, .group = group, .inside = inside};
        for (int64_t t = 0; t < m->triangles; t++) {
            uint32_t piece = group[m->index[3 * t]];
            if (!seen[piece])
                seen[piece] = (volume[piece] < 0) != (depth_of(&ray, t) % 2) ? 2 : 1;
        }
        for (int64_t t = 0; t < m->triangles; t++) {
            uint32_t *corner = m->index + 3 * t, b = corner[1];
            if (seen[group[corner[0]]] != 2)
                continue;
            corner[1] = corner[2];
            corner[2] = b;
            (*turned)++;
        }
    } else {
        status = KF_KERNEL_NOMEM;
    }
    kf_work_give(work, group);
    kf_work_give(work, volume);
    kf_work_give(work, seen);
    kf_work_give(work, inside);
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
    memset(drop, 0, (size_t)m->triangles);
    for (int64_t i = 0; i < 2 * found->listed; i++)
        drop[found->pair[i]] = 1;
    for (int ring = 0; ring < rings; ring++) {
        memset(near, 0, (size_t)m->vertices);
        for (int64_t c = 0; c < 3 * m->triangles; c++)
            near[m->index[c]] |= drop[c / 3];
        for (int64_t c = 0; c < 3 * m->triangles; c++)
            drop[c / 3] |= near[m->index[c]];
    }
    int64_t kept = 0;
    for (int64_t t = 0; t < m->triangles; t++)
        if (!drop[t])
            memmove(m->index + 3 * kept++, m->index + 3 * t, 3 * sizeof *m->index);
    m->triangles = kept;
    kf_work_give(work, near);
    kf_work_give(work, drop);
    return KF_KERNEL_OK;
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
    if (!status && other.triangles && topology.closed >= report->after.closed && left.pairs < found->pairs) {
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
    enum kf_kernel_status status = kf_mesh_check(work, mesh, &report->before);
    if (!status && !is_finite(mesh))
        status = KF_KERNEL_INVALID;
    int sick = !is_manifold(&report->before);
    if (!status && !report->before.closed)
        status = weld_open(work, mesh, report);
    if (!status)
        status = mend(work, mesh, how, report, sick);
    if (!status)
        status = kf_mesh_check(work, mesh, &report->after);
    struct kf_mesh_intersections found = {0};
    if (!status)
        status = count_pairs(work, mesh, how->intersections ? PAIRS_MOST : 0, &found);
    report->intersections_before = found.pairs;
    for (int round = 0; round < how->intersections && found.pairs && !status; round++)
        status = try_without(work, mesh, how, 1 + round, &found, report);
    report->intersections_after = found.pairs;
    report->flat_triangles = found.flat;
    report->sound = mesh->triangles > 0 && is_manifold(&report->after) && found.pairs == 0;
    report->changed = sick || report->pieces_removed || report->turned_triangles ||
                      report->intersections_after != report->intersections_before;
    kf_work_give(work, found.pair);
    return status;
}
