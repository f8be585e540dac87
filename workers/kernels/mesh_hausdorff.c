// An upper bound of the greatest distance between two surfaces, found as fast as it can be proven; and decimation
// within such a bound.
#include "workers/kernels/cover.h"
#include "workers/kernels/mesh_distance.h"
#include "workers/kernels/mesh_onto.h"

#include <string.h>

#define BLOCK         1024 // triangles that one thread takes in a row
#define PROBE_EVERY   32   // triangles: the greatest of these distances is near the greatest of all
#define SLACK         0.02 // of the greatest distance that a bound may lie above it
#define COVER_SLOPE   0.25 // of a facet's reach: heights up to which the other surface may cover it
#define DEPTH         24   // how often a facet is cut in four at most
#define LOOKS_OF_CUT  64   // that cutting takes off the limit

// The distances of the points of one surface from another.
struct way {
    const struct kf_bvh *from, *to;
    double enough; // bounds below this need not be tight
    struct kf_pace *pace;
    struct kf_onto *map; // of `from` onto `to`, or the other way round; NULL: none
};

struct asker {
    const struct way *way;
    struct kf_asker ask;
};

struct facet {
    double corner[3][3];
};

struct bounds {
    double low, high; // a distance that was measured; none is greater than this
};

// What need not be known better, where `low` has been found.
static double goal_of(const struct way *w, double low)
{
    double goal = low * (1 + SLACK);
    return goal > w->enough ? goal : w->enough;
}

static void corner_of(const struct kf_mesh *mesh, int64_t t, int c, double p[3])
{
    for (int r = 0; r < 3; r++)
        p[r] = (double)mesh->xyz[3 * (int64_t)mesh->index[3 * t + c] + r];
}

// The middle of a facet; returns how far its corners are from there at most.
static double middle_of(const struct facet *f, double middle[3])
{
    double reach2 = 0;
    for (int r = 0; r < 3; r++)
        middle[r] = (f->corner[0][r] + f->corner[1][r] + f->corner[2][r]) / 3;
    for (int c = 0; c < 3; c++) {
        double sum = 0;
        for (int r = 0; r < 3; r++)
            sum += (f->corner[c][r] - middle[r]) * (f->corner[c][r] - middle[r]);
        reach2 = sum > reach2 ? sum : reach2;
    }
    return __builtin_sqrt(reach2);
}

// The distance to one triangle is convex: over a facet it is greatest at a corner.
static double farthest_corner(const struct kf_mesh *to, uint32_t triangle, const struct facet *f)
{
    double most2 = 0, q[3];
    for (int c = 0; c < 3; c++) {
        double d2 = kf_triangle_distance2(to, triangle, f->corner[c], q);
        most2 = d2 > most2 ? d2 : most2;
    }
    return __builtin_sqrt(most2);
}

// A triangle that is so near to the middle that none of the facet is farther than the goal, or else the nearest. An
// exact distance, which that one's is, may be the greatest.
static uint32_t near_middle(struct asker *a, const double middle[3], double reach, uint32_t hint, struct bounds *b)
{
    const double enough = goal_of(a->way, b->low) - reach;
    struct kf_bvh_nearest found;
    kf_asker_near(&a->ask, a->way->to, middle, hint, enough > 0 ? enough * enough : -1, &found);
    double distance = __builtin_sqrt(found.distance2);
    b->low = distance > b->low && !(distance <= enough) ? distance : b->low;
    return found.triangle;
}

// The other surface covers the facet: *upper gets the greatest height. For what is too wide for one triangle to be near
// to all of it; flat against its size, or else there is too much to look at.
static int is_covered(struct asker *a, const struct facet *f, double reach, double goal, double *upper)
{
    int64_t looks;
    double height, most = COVER_SLOPE * reach < goal ? COVER_SLOPE * reach : goal;
    int covered = kf_bvh_covers(a->way->to, f->corner, most, &height, &looks);
    kf_asker_count(&a->ask, looks, looks);
    *upper = covered ? height : *upper;
    return covered;
}

// Bounds the distances of a facet. Most need no search: all of their corners are near enough to the triangle that the
// last was near to (*hint), or to one near their middle; or the other surface covers them. What is left is cut in four:
// between the middles of the sides, and at each corner.
static void bound_facet(struct asker *a, const struct facet *f, int depth, uint32_t *hint, struct bounds *b)
{
    const struct way *w = a->way;
    double middle_at[3], reach = middle_of(f, middle_at), goal = goal_of(w, b->low);
    double upper = farthest_corner(w->to->mesh, *hint, f);
    if (upper > goal && !a->ask.stop && !(reach > goal && is_covered(a, f, reach, goal, &upper))) {
        *hint = near_middle(a, middle_at, reach, *hint, b);
        upper = farthest_corner(w->to->mesh, *hint, f);
    }
    if (upper <= goal_of(w, b->low) || depth == DEPTH || a->ask.stop) {
        b->high = upper > b->high ? upper : b->high;
        return;
    }
    struct facet middle, part;
    for (int c = 0; c < 3; c++)
        for (int r = 0; r < 3; r++)
            middle.corner[c][r] = 0.5 * (f->corner[c][r] + f->corner[(c + 1) % 3][r]);
    kf_asker_count(&a->ask, LOOKS_OF_CUT, LOOKS_OF_CUT);
    bound_facet(a, &middle, depth + 1, hint, b);
    for (int c = 0; c < 3; c++) {
        part = middle;
        memcpy(part.corner[(c + 1) % 3], f->corner[c], sizeof part.corner[c]); // side n is between corners n and n + 1
        bound_facet(a, &part, depth + 1, hint, b);
    }
}

// What has a map needs no more, whether it goes or is gone onto.
static void bound_triangle(struct asker *a, uint32_t t, uint32_t *hint, struct bounds *b)
{
    struct facet f;
    struct kf_onto *map = a->way->map;
    double far;
    if (map && map->from != a->way->from->mesh && kf_onto_covers(map, t))
        return;
    if (map && map->from == a->way->from->mesh && kf_onto_triangle(map, &a->ask, t, goal_of(a->way, b->low), &far)) {
        b->high = far > b->high ? far : b->high;
        return;
    }
    for (int c = 0; c < 3; c++)
        corner_of(a->way->from->mesh, t, c, f.corner[c]);
    bound_facet(a, &f, 0, hint, b);
}

// A corner of some triangles of a block.
static void probe_few(struct asker *a, int64_t block, struct bounds *b)
{
    const struct kf_bvh *from = a->way->from;
    uint32_t hint = UINT32_MAX;
    for (int64_t t = block * BLOCK; t < (block + 1) * BLOCK && t < from->mesh->triangles; t += PROBE_EVERY) {
        double p[3];
        struct kf_bvh_nearest found;
        corner_of(from->mesh, from->order[t], 0, p);
        kf_asker_nearest(&a->ask, a->way->to, p, hint, &found);
        hint = found.triangle;
        double distance = __builtin_sqrt(found.distance2);
        b->low = distance > b->low ? distance : b->low;
    }
}

// One way: probes (bound 0), or bounds all triangles, along the curve of the tree, where the next is mostly beside the
// last. Every block starts from *all, which gets the greatest of them.
static enum kf_kernel_status bound_way(const struct kf_work *work, const struct way *w, int bound, struct bounds *all)
{
    const int64_t triangles = w->from->mesh->triangles, blocks = (triangles + BLOCK - 1) / BLOCK;
    struct bounds *block = kf_work_take(work, blocks * (int64_t)sizeof *block);
    if (!block)
        return KF_KERNEL_NOMEM;
    const struct bounds start = *all;
    struct kf_loop loop = kf_loop_make(work, blocks, 0, 1);
    w->pace->loop = &loop;
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        struct asker a = {w, kf_asker_begin(w->pace)};
        uint32_t hint = 0;
        block[b] = start;
        if (!bound)
            probe_few(&a, b, &block[b]);
        for (int64_t t = b * BLOCK; bound && t < (b + 1) * BLOCK && t < triangles && !a.ask.stop; t++)
            bound_triangle(&a, w->from->order[t], &hint, &block[b]);
        kf_asker_finish(&a.ask);
    }
    for (int64_t b = 0; b < blocks; b++) {
        all->low = block[b].low > all->low ? block[b].low : all->low;
        all->high = block[b].high > all->high ? block[b].high : all->high;
    }
    kf_work_give(work, block);
    return kf_pace_status(w->pace);
}

// From the finer to the coarser surface and back. The map bounds both for what it is found for.
static enum kf_kernel_status bound_both(const struct kf_work *work, const struct kf_bvh *fine,
                                        const struct kf_bvh *coarse, double enough_mm, struct bounds *all)
{
    struct kf_work_part part;
    struct kf_onto map;
    struct kf_pace pace = {.left = KF_DISTANCE_LOOKS +
                                   KF_DISTANCE_LOOKS_EACH * (fine->mesh->triangles + coarse->mesh->triangles)};
    struct way way[2] = {{fine, coarse, enough_mm, &pace, &map}, {coarse, fine, enough_mm, &pace, &map}};
    enum kf_kernel_status status =
        kf_onto_make(kf_work_part(&part, work, 0, 0.4), fine->mesh, coarse, &pace, &map, &all->low);
    if (status)
        return status;
    status = bound_way(kf_work_part(&part, work, 0.4, 0.45), &way[1], 0, all);
    for (int n = 0; n < 2 && !status; n++) {
        status = bound_way(kf_work_part(&part, work, n ? 0.75 : 0.45, n ? 1 : 0.75), &way[n], 1, all);
        way[1].enough = all->high > enough_mm ? all->high : enough_mm; // the greater of both ways is what is asked for
    }
    kf_onto_release(work, &map);
    return status;
}

enum kf_kernel_status kf_mesh_hausdorff(const struct kf_work *work, const struct kf_bvh *a, const struct kf_mesh *b,
                                        double enough_mm, double *low_mm, double *high_mm)
{
    *low_mm = *high_mm = 0;
    if (!a->levels || !b->triangles || !(enough_mm >= 1e-6))
        return KF_KERNEL_INVALID;
    struct kf_bvh tree;
    struct kf_work_part part;
    struct bounds all = {0};
    enum kf_kernel_status status = kf_bvh_make(kf_work_part(&part, work, 0, 0.2), b, &tree);
    if (!status)
        status = bound_both(kf_work_part(&part, work, 0.2, 1), b->triangles > a->mesh->triangles ? &tree : a,
                            b->triangles > a->mesh->triangles ? a : &tree, enough_mm, &all);
    kf_bvh_release(work, &tree);
    if (status)
        return status;
    *low_mm = all.low;
    // Coordinates and roots in doubles round: this covers them many times.
    *high_mm = (all.high > all.low ? all.high : all.low) * (1 + 1e-12) + 1e-9;
    return KF_KERNEL_OK;
}

// ---- decimation within a measured bound ----

static void copy_mesh(const struct kf_mesh *from, struct kf_mesh *to)
{
    to->vertices = from->vertices;
    to->triangles = from->triangles;
    memcpy(to->xyz, from->xyz, (size_t)from->vertices * 3 * sizeof *to->xyz);
    memcpy(to->index, from->index, (size_t)from->triangles * 3 * sizeof *to->index);
}

enum kf_kernel_status kf_mesh_decimate_within(const struct kf_work *work, struct kf_mesh *mesh,
                                              const struct kf_mesh_decimate *how, double hausdorff_mm,
                                              double *measured_mm)
{
    if (measured_mm)
        *measured_mm = 0;
    if (!(hausdorff_mm >= 1e-4))
        return KF_KERNEL_INVALID;
    if (mesh->triangles == 0)
        return KF_KERNEL_OK;
    struct kf_mesh before = {.xyz = kf_work_take(work, mesh->vertices * 3 * (int64_t)sizeof *mesh->xyz),
                             .index = kf_work_take(work, mesh->triangles * 3 * (int64_t)sizeof *mesh->index)};
    enum kf_kernel_status status = before.xyz && before.index ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    struct kf_mesh_decimate now = *how;
    now.error_mm = now.error_mm < hausdorff_mm ? now.error_mm : hausdorff_mm;
    double high = __builtin_inf();
    struct kf_bvh tree = {.mesh = NULL};
    struct kf_work_part part;
    if (!status) {
        copy_mesh(mesh, &before);
        status = kf_bvh_make(kf_work_part(&part, work, 0, 0.1), &before, &tree);
    }
    for (int round = 0; round < 8 && !status && !(high <= hausdorff_mm); round++) {
        double reached = 0, low = 0, from = 0.1 + 0.9 * round / 8, half = 0.9 / 16;
        copy_mesh(&before, mesh);
        status = kf_mesh_decimate(kf_work_part(&part, work, from, from + half), mesh, &now, &reached);
        if (!status)
            status = kf_mesh_hausdorff(kf_work_part(&part, work, from + half, from + 2 * half), &tree, mesh,
                                       hausdorff_mm, &low, &high);
        // The quadric's error is a mean; the greatest distance falls with it about in proportion.
        double scale = hausdorff_mm / (low > hausdorff_mm ? low : high);
        now.error_mm = (reached < now.error_mm ? reached : now.error_mm) * 0.9 * scale;
    }
    kf_bvh_release(work, &tree);
    if (!(high <= hausdorff_mm) && before.xyz && before.index && (before.triangles || before.vertices)) {
        copy_mesh(&before, mesh);
        high = 0;
    }
    if (measured_mm && !status)
        *measured_mm = high;
    kf_mesh_release(work, &before);
    return status;
}
