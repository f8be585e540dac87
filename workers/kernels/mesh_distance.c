#include "workers/kernels/mesh_distance.h"
#include "workers/kernels/pace.h"

#include <string.h>

#define BLOCK     1024 // triangles or vertices that one thread takes in a row; sums are made per block
#define SIDE_MOST 64   // shares along a side of a triangle
#define DEPTH     24   // how often a triangle is cut in four at most

struct sample {
    double distance;
    double area;
};

struct way {
    const struct kf_bvh *from, *to;
    const struct kf_mesh_distance_how *how;
    uint32_t *near;   // per vertex of `from`: the nearest triangle
    double *distance; // per vertex of `from`
    int64_t *first;   // per triangle in the order of the tree: its first sample
    struct sample *sample;
    struct kf_pace *pace; // shared by all threads
};

#define LOOKS_OF_CUT 64 // that cutting a piece takes off the limit; most triangles need none, or a few

// A thread that measures.
struct asker {
    const struct way *way;
    struct kf_asker ask;
};

static struct asker asker_begin(const struct way *w)
{
    return (struct asker){w, kf_asker_begin(w->pace)};
}

// What of the other mesh is nearest to p.
static void find_nearest(struct asker *a, const double p[3], uint32_t hint, struct kf_bvh_nearest *out)
{
    kf_asker_nearest(&a->ask, a->way->to, p, hint, out);
}

static void corner_of(const struct kf_mesh *mesh, int64_t t, int c, double p[3])
{
    for (int r = 0; r < 3; r++)
        p[r] = (double)mesh->xyz[3 * (int64_t)mesh->index[3 * t + c] + r];
}

static double length_between(const double a[3], const double b[3])
{
    double sum = 0;
    for (int r = 0; r < 3; r++)
        sum += (a[r] - b[r]) * (a[r] - b[r]);
    return __builtin_sqrt(sum);
}

static double area_of(const double p[3][3])
{
    double u[3], w[3], n[3];
    for (int r = 0; r < 3; r++) {
        u[r] = p[1][r] - p[0][r];
        w[r] = p[2][r] - p[0][r];
    }
    n[0] = u[1] * w[2] - u[2] * w[1];
    n[1] = u[2] * w[0] - u[0] * w[2];
    n[2] = u[0] * w[1] - u[1] * w[0];
    return 0.5 * __builtin_sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
}

static int shares_along(const struct kf_mesh *mesh, int64_t t, double spacing_mm)
{
    double p[3][3], longest = 0;
    if (!(spacing_mm > 0))
        return 1;
    for (int c = 0; c < 3; c++)
        corner_of(mesh, t, c, p[c]);
    for (int c = 0; c < 3; c++) {
        double l = length_between(p[c], p[(c + 1) % 3]);
        longest = l > longest ? l : longest;
    }
    double n = __builtin_ceil(longest / spacing_mm);
    return n < 1 ? 1 : n > SIDE_MOST ? SIDE_MOST : (int)n;
}

// ---- samples ----

// The middles of the n² equal triangles that triangle t is cut into.
static void sample_triangle(struct asker *a, int64_t t, struct sample *to, uint32_t *hint)
{
    const struct way *w = a->way;
    int n = shares_along(w->from->mesh, t, w->how->spacing_mm);
    double p[3][3];
    for (int c = 0; c < 3; c++)
        corner_of(w->from->mesh, t, c, p[c]);
    double area = area_of(p) / (double)(n * n);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 2 * (n - i) - 1; k++) {
            // Row i; upright shares at even k, turned ones at odd k.
            double u = ((double)i + (k % 2 ? 2.0 : 1.0) / 3) / n, v = ((double)(k / 2) + (k % 2 ? 2.0 : 1.0) / 3) / n;
            double at[3];
            for (int r = 0; r < 3; r++)
                at[r] = p[0][r] + u * (p[1][r] - p[0][r]) + v * (p[2][r] - p[0][r]);
            struct kf_bvh_nearest found;
            find_nearest(a, at, *hint, &found);
            *hint = found.triangle;
            *to++ = (struct sample){__builtin_sqrt(found.distance2), area};
        }
}

static enum kf_kernel_status take_samples(const struct kf_work *work, struct way *w, int64_t *count)
{
    const struct kf_mesh *mesh = w->from->mesh;
    enum kf_kernel_status status = KF_KERNEL_OK;
    int64_t blocks = (mesh->triangles + BLOCK - 1) / BLOCK, total = 0;
    for (int64_t t = 0; t < mesh->triangles && !(status = kf_work_ask(work, t)); t++) {
        int64_t n = shares_along(mesh, w->from->order[t], w->how->spacing_mm);
        w->first[t] = total;
        total += n * n;
    }
    *count = total;
    if (status || total > KF_DISTANCE_SAMPLES)
        return status ? status : KF_KERNEL_TOO_LARGE;
    w->sample = kf_work_take(work, total * (int64_t)sizeof *w->sample);
    if (!w->sample)
        return KF_KERNEL_NOMEM;
    struct kf_loop loop = kf_loop_make(work, blocks, 0.5, 1);
    w->pace->loop = &loop;
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        uint32_t hint = UINT32_MAX;
        struct asker a = asker_begin(w);
        for (int64_t t = b * BLOCK; t < (b + 1) * BLOCK && t < mesh->triangles && !a.ask.stop; t++)
            sample_triangle(&a, w->from->order[t], w->sample + w->first[t], &hint);
        kf_asker_finish(&a.ask);
    }
    return kf_pace_status(w->pace);
}

static uint32_t bits_of(double distance)
{
    float f = (float)distance;
    uint32_t bits;
    memcpy(&bits, &f, 4); // not negative: the bits are in the order of the values
    return bits;
}

// The distance, to a float, that `share` of the area `whole` does not exceed: the upper half of the bits, then the
// lower.
static enum kf_kernel_status find_percentile(const struct kf_work *work, const struct way *w, int64_t count,
                                             double share, double *bins, double *out)
{
    const struct sample *sample = w->sample;
    enum kf_kernel_status status = KF_KERNEL_OK;
    double whole = 0, below = 0;
    for (int64_t i = 0; i < count && !(status = kf_work_ask(work, i)); i++)
        whole += sample[i].area;
    uint32_t high = 0;
    for (int half = 0; half < 2 && !status; half++) {
        memset(bins, 0, 65536 * sizeof *bins);
        for (int64_t i = 0; i < count && !(status = kf_work_ask(work, i)); i++) {
            uint32_t bits = bits_of(sample[i].distance);
            if (!half)
                bins[bits >> 16] += sample[i].area;
            else if (bits >> 16 == high)
                bins[bits & 65535] += sample[i].area;
        }
        uint32_t at = 0, last = 0;
        for (; at < 65536; at++) {
            last = bins[at] > 0 ? at : last;
            if (below + bins[at] >= share * whole && bins[at] > 0)
                break;
            below += bins[at];
        }
        at = at < 65536 ? at : last;
        high = half ? high << 16 | at : at;
    }
    float value;
    memcpy(&value, &high, 4);
    *out = (double)value;
    return status;
}

struct sums {
    double area, first, second; // of the area, area · d, area · d²
};

static enum kf_kernel_status sum_samples(const struct kf_work *work, const struct way *w, int64_t count,
                                         struct kf_mesh_one_way *out, struct sums *all)
{
    double *bins = kf_work_take(work, 65536 * (int64_t)sizeof *bins);
    enum kf_kernel_status status = bins ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    *all = (struct sums){0};
    for (int64_t from = 0; from < count && !status && !(status = kf_work_ask(work, from)); from += BLOCK) {
        struct sums one = {0};
        for (int64_t i = from; i < from + BLOCK && i < count; i++) {
            const struct sample *s = &w->sample[i];
            one.area += s->area;
            one.first += s->area * s->distance;
            one.second += s->area * s->distance * s->distance;
        }
        all->area += one.area;
        all->first += one.first;
        all->second += one.second;
    }
    out->samples = count;
    if (!status && all->area > 0) {
        out->mean_mm = all->first / all->area;
        out->rms_mm = __builtin_sqrt(all->second / all->area);
        status = find_percentile(work, w, count, 0.95, bins, &out->p95_mm);
    }
    kf_work_give(work, bins);
    return status;
}

// ---- the greatest distance ----

struct piece {
    double corner[3][3];
    double distance[3];
    uint32_t near[3];
};

struct bounds {
    double low, high;
    double at[3]; // where low was found
};

// The distance to one triangle is convex: over a piece it is greatest at a corner.
static double farthest_corner(const struct kf_mesh *to, uint32_t triangle, const struct piece *p)
{
    double most = 0, q[3];
    for (int c = 0; c < 3; c++) {
        double d = p->near[c] == triangle ? p->distance[c]
                                          : __builtin_sqrt(kf_triangle_distance2(to, triangle, p->corner[c], q));
        most = d > most ? d : most;
    }
    return most;
}

// No point of the piece is farther than this: the least over the triangles nearest to its corners.
static double upper_bound(const struct kf_mesh *to, const struct piece *p)
{
    double least = __builtin_inf();
    for (int n = 0; n < 3; n++) {
        if (n && (p->near[n] == p->near[0] || (n == 2 && p->near[2] == p->near[1])))
            continue;
        double most = farthest_corner(to, p->near[n], p);
        least = most < least ? most : least;
    }
    return least;
}

// The same with the triangle nearest to the middle of the piece: what is not bounded by those around often is by it.
static double middle_bound(struct asker *a, const struct piece *p)
{
    double middle[3];
    for (int r = 0; r < 3; r++)
        middle[r] = (p->corner[0][r] + p->corner[1][r] + p->corner[2][r]) / 3;
    struct kf_bvh_nearest found;
    find_nearest(a, middle, p->near[0], &found);
    return farthest_corner(a->way->to->mesh, found.triangle, p);
}

// The four pieces between the corners and the middles of the sides.
static void cut_piece(struct asker *a, const struct piece *p, struct piece out[4])
{
    struct piece middle;
    for (int c = 0; c < 3; c++) {
        struct kf_bvh_nearest found;
        for (int r = 0; r < 3; r++)
            middle.corner[c][r] = 0.5 * (p->corner[c][r] + p->corner[(c + 1) % 3][r]);
        find_nearest(a, middle.corner[c], p->near[c], &found);
        middle.distance[c] = __builtin_sqrt(found.distance2);
        middle.near[c] = found.triangle;
    }
    out[3] = middle;
    for (int c = 0; c < 3; c++) {
        const int opposite = (c + 1) % 3; // middle n lies between the corners n and n + 1
        out[c] = middle;
        memcpy(out[c].corner[opposite], p->corner[c], sizeof p->corner[c]);
        out[c].distance[opposite] = p->distance[c];
        out[c].near[opposite] = p->near[c];
    }
}

static void refine(struct asker *a, const struct piece *p, int depth, struct bounds *b)
{
    const struct way *w = a->way;
    for (int c = 0; c < 3; c++)
        if (p->distance[c] > b->low) {
            b->low = p->distance[c];
            memcpy(b->at, p->corner[c], sizeof b->at);
        }
    double upper = upper_bound(w->to->mesh, p), goal = b->low + w->how->tolerance_mm;
    if (upper > goal) {
        double other = middle_bound(a, p);
        upper = other < upper ? other : upper;
    }
    if (upper <= goal || depth == DEPTH || a->ask.stop) {
        b->high = upper > b->high ? upper : b->high;
        return;
    }
    struct piece part[4];
    kf_asker_count(&a->ask, LOOKS_OF_CUT, LOOKS_OF_CUT);
    cut_piece(a, p, part);
    for (int n = 0; n < 4; n++)
        refine(a, &part[n], depth + 1, b);
}

// Vertices in the order of the mesh: neighbours mostly follow each other. Unused ones are not on the surface.
static enum kf_kernel_status measure_vertices(const struct kf_work *work, const struct way *w)
{
    const struct kf_mesh *mesh = w->from->mesh;
    enum kf_kernel_status status = KF_KERNEL_OK;
    int64_t blocks = (mesh->vertices + BLOCK - 1) / BLOCK;
    memset(w->near, 0xff, (size_t)mesh->vertices * sizeof *w->near);
    for (int64_t c = 0; c < 3 * mesh->triangles && !(status = kf_work_ask(work, c)); c++)
        w->near[mesh->index[c]] = 0;
    if (status)
        return status;
    struct kf_loop loop = kf_loop_make(work, blocks, 0, 0.1);
    w->pace->loop = &loop;
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        uint32_t hint = UINT32_MAX;
        struct asker a = asker_begin(w);
        for (int64_t v = b * BLOCK; v < (b + 1) * BLOCK && v < mesh->vertices && !a.ask.stop; v++) {
            if (w->near[v] == UINT32_MAX)
                continue;
            const double p[3] = {(double)mesh->xyz[3 * v], (double)mesh->xyz[3 * v + 1], (double)mesh->xyz[3 * v + 2]};
            struct kf_bvh_nearest found;
            find_nearest(&a, p, hint, &found);
            hint = w->near[v] = found.triangle;
            w->distance[v] = __builtin_sqrt(found.distance2);
        }
        kf_asker_finish(&a.ask);
    }
    return kf_pace_status(w->pace);
}

// The farthest of the middles of a block's triangles and of their sides: where the greatest distance is near, most
// triangles are done with at the first look.
static void probe_block(struct asker *a, int64_t block, struct bounds *b)
{
    static const double weight[4][3] = {{1.0 / 3, 1.0 / 3, 1.0 / 3}, {0.5, 0.5, 0}, {0, 0.5, 0.5}, {0.5, 0, 0.5}};
    const struct way *w = a->way;
    const struct kf_mesh *mesh = w->from->mesh;
    for (int64_t t = block * BLOCK; t < (block + 1) * BLOCK && t < mesh->triangles && !a->ask.stop; t++) {
        double p[3][3];
        uint32_t hint = w->near[mesh->index[3 * t]];
        for (int c = 0; c < 3; c++)
            corner_of(mesh, t, c, p[c]);
        for (int n = 0; n < 4; n++) {
            double at[3];
            for (int r = 0; r < 3; r++)
                at[r] = weight[n][0] * p[0][r] + weight[n][1] * p[1][r] + weight[n][2] * p[2][r];
            struct kf_bvh_nearest found;
            find_nearest(a, at, hint, &found);
            hint = found.triangle;
            if (__builtin_sqrt(found.distance2) <= b->low)
                continue;
            b->low = __builtin_sqrt(found.distance2);
            memcpy(b->at, at, sizeof at);
        }
    }
}

// Every block starts from `start`, so that what it looks into does not depend on other blocks.
static enum kf_kernel_status probe_all(const struct kf_work *work, const struct way *w, const struct bounds *start,
                                       int64_t blocks, struct bounds *block)
{
    struct kf_loop loop = kf_loop_make(work, blocks, 0.1, 0.3);
    w->pace->loop = &loop;
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        struct asker a = asker_begin(w);
        block[b] = *start;
        probe_block(&a, b, &block[b]);
        kf_asker_finish(&a.ask);
    }
    return kf_pace_status(w->pace);
}

static enum kf_kernel_status refine_all(const struct kf_work *work, const struct way *w, const struct bounds *start,
                                        int64_t blocks, struct bounds *block)
{
    const struct kf_mesh *mesh = w->from->mesh;
    struct kf_loop loop = kf_loop_make(work, blocks, 0.3, 0.5);
    w->pace->loop = &loop;
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        struct asker a = asker_begin(w);
        block[b] = *start;
        for (int64_t t = b * BLOCK; t < (b + 1) * BLOCK && t < mesh->triangles && !a.ask.stop; t++) {
            struct piece p;
            for (int c = 0; c < 3; c++) {
                uint32_t v = mesh->index[3 * t + c];
                corner_of(mesh, t, c, p.corner[c]);
                p.distance[c] = w->distance[v];
                p.near[c] = w->near[v];
            }
            refine(&a, &p, 0, &block[b]);
        }
        kf_asker_finish(&a.ask);
    }
    return kf_pace_status(w->pace);
}

static enum kf_kernel_status find_greatest(const struct kf_work *work, const struct way *w, struct kf_mesh_one_way *out)
{
    const struct kf_mesh *mesh = w->from->mesh;
    int64_t blocks = (mesh->triangles + BLOCK - 1) / BLOCK;
    struct bounds *block = kf_work_take(work, blocks * (int64_t)sizeof *block), start = {0};
    enum kf_kernel_status status = block ? measure_vertices(work, w) : KF_KERNEL_NOMEM;
    for (int64_t v = 0; v < mesh->vertices && !status; v++)
        if (w->near[v] != UINT32_MAX && w->distance[v] > start.low) {
            start.low = w->distance[v];
            for (int r = 0; r < 3; r++)
                start.at[r] = (double)mesh->xyz[3 * v + r];
        }
    if (!status)
        status = probe_all(work, w, &start, blocks, block);
    for (int64_t b = 0; b < blocks && !status; b++)
        start = block[b].low > start.low ? block[b] : start;
    start.high = start.low;
    if (!status)
        status = refine_all(work, w, &start, blocks, block);
    for (int64_t b = 0; b < blocks && !status; b++) {
        if (block[b].low > start.low)
            start = (struct bounds){block[b].low, start.high, {block[b].at[0], block[b].at[1], block[b].at[2]}};
        start.high = block[b].high > start.high ? block[b].high : start.high;
    }
    kf_work_give(work, block);
    // Coordinates and roots in doubles round: this covers them many times.
    out->greatest_low_mm = start.low;
    out->greatest_high_mm = (start.high > start.low ? start.high : start.low) * (1 + 1e-12) + 1e-9;
    memcpy(out->greatest_at, start.at, sizeof start.at);
    return status;
}

static enum kf_kernel_status measure_way(const struct kf_work *work, struct way *w, struct kf_mesh_one_way *out,
                                         struct sums *all)
{
    const struct kf_mesh *from = w->from->mesh;
    *all = (struct sums){0};
    w->near = kf_work_take(work, from->vertices * (int64_t)sizeof *w->near);
    w->distance = kf_work_take(work, from->vertices * (int64_t)sizeof *w->distance);
    w->first = kf_work_take(work, from->triangles * (int64_t)sizeof *w->first);
    enum kf_kernel_status status = w->near && w->distance && w->first ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status)
        status = find_greatest(work, w, out);
    int64_t count = 0;
    if (!status)
        status = take_samples(work, w, &count);
    if (!status)
        status = sum_samples(work, w, count, out, all);
    kf_work_give(work, w->near);
    kf_work_give(work, w->distance);
    kf_work_give(work, w->first);
    kf_work_give(work, w->sample);
    return status;
}

static void summarise(const struct sums all[2], struct kf_mesh_distance *out)
{
    const struct kf_mesh_one_way *one = &out->way[0], *two = &out->way[1];
    double area = all[0].area + all[1].area;
    out->mean_mm = area > 0 ? (all[0].first + all[1].first) / area : 0;
    out->rms_mm = area > 0 ? __builtin_sqrt((all[0].second + all[1].second) / area) : 0;
    out->hd95_mm = one->p95_mm > two->p95_mm ? one->p95_mm : two->p95_mm;
    out->hausdorff_low_mm = one->greatest_low_mm > two->greatest_low_mm ? one->greatest_low_mm : two->greatest_low_mm;
    out->hausdorff_high_mm =
        one->greatest_high_mm > two->greatest_high_mm ? one->greatest_high_mm : two->greatest_high_mm;
}

enum kf_kernel_status kf_mesh_distance(const struct kf_work *work, const struct kf_mesh *a, const struct kf_mesh *b,
                                       const struct kf_mesh_distance_how *how, struct kf_mesh_distance *out)
{
    *out = (struct kf_mesh_distance){0};
    if (a->triangles == 0 || b->triangles == 0 || !(how->spacing_mm >= 0) || !(how->tolerance_mm >= 1e-6))
        return KF_KERNEL_INVALID;
    struct kf_bvh tree[2];
    memset(tree, 0, sizeof tree);
    struct sums all[2];
    memset(all, 0, sizeof all);
    struct kf_work_part part;
    struct kf_pace pace = {.left = KF_DISTANCE_LOOKS + KF_DISTANCE_LOOKS_EACH * (a->triangles + b->triangles)};
    enum kf_kernel_status status = kf_bvh_make(kf_work_part(&part, work, 0, 0.05), a, &tree[0]);
    if (!status)
        status = kf_bvh_make(kf_work_part(&part, work, 0.05, 0.1), b, &tree[1]);
    for (int n = 0; n < 2 && !status; n++) {
        const struct kf_work *share = kf_work_part(&part, work, 0.1 + 0.45 * n, 0.55 + 0.45 * n);
        struct way w = {.from = &tree[n], .to = &tree[1 - n], .how = how, .pace = &pace};
        status = measure_way(share, &w, &out->way[n], &all[n]);
        if (!status && kf_work_step(share, 1))
            status = KF_KERNEL_CANCELLED;
    }
    kf_bvh_release(work, &tree[0]);
    kf_bvh_release(work, &tree[1]);
    if (status)
        *out = (struct kf_mesh_distance){0};
    else
        summarise(all, out);
    return status;
}
