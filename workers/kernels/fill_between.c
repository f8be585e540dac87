// Blended distances are below zero only within one of the two outlines, so each label works in the box around both, one
// voxel wider: the nearest voxel outside of an outline is never farther away than that. Outlines that are moved may leave
// that box; they take the whole slice.
#include "workers/kernels/fill_between.h"
#include "workers/kernels/distance.h"

#include <math.h>
#include <string.h>

struct fill {
    uint8_t *labels;
    int64_t size[2], step[2]; // within a slice
    int64_t depth, over;      // across
    double spacing[2];
    float farthest; // what no distance in a slice exceeds
};

struct outline {
    int64_t voxels, sum[2], box[2][2]; // [least, greatest + 1)
};

struct gap {
    int64_t from, to; // the given slices
    float *best;      // per voxel between: the least blended distance so far
};

static const uint8_t *slice(const struct fill *f, int64_t s)
{
    return f->labels + s * f->over;
}

static void find_labels(const struct fill *f, int64_t s, struct outline out[256])
{
    memset(out, 0, 256 * sizeof *out);
    const uint8_t *from = slice(f, s);
    for (int64_t y = 0; y < f->size[1]; y++)
        for (int64_t x = 0; x < f->size[0]; x++) {
            const int64_t p[2] = {x, y};
            struct outline *o = out + from[x * f->step[0] + y * f->step[1]];
            for (int a = 0; a < 2; a++) {
                o->sum[a] += p[a];
                o->box[0][a] = !o->voxels || p[a] < o->box[0][a] ? p[a] : o->box[0][a];
                o->box[1][a] = !o->voxels || p[a] >= o->box[1][a] ? p[a] + 1 : o->box[1][a];
            }
            o->voxels++;
        }
}

static int is_given(const struct fill *f, int64_t s)
{
    const uint8_t *from = slice(f, s);
    for (int64_t y = 0; y < f->size[1]; y++)
        for (int64_t x = 0; x < f->size[0]; x++)
            if (from[x * f->step[0] + y * f->step[1]])
                return 1;
    return 0;
}

static void box_of_both(const struct fill *f, const struct outline *a, const struct outline *b, int64_t box[2][2])
{
    const struct outline *any = a->voxels ? a : b;
    memcpy(box, any->box, sizeof any->box);
    for (int c = 0; c < 2; c++) {
        if (a->voxels && b->voxels) {
            box[0][c] = b->box[0][c] < box[0][c] ? b->box[0][c] : box[0][c];
            box[1][c] = b->box[1][c] > box[1][c] ? b->box[1][c] : box[1][c];
        }
        box[0][c] -= box[0][c] > 0;
        box[1][c] += box[1][c] < f->size[c];
    }
}

// Distances to the label's outline in slice s, in the box, none beyond f->farthest.
static enum kf_kernel_status measure(const struct kf_work *work, const struct fill *f, int64_t s, int label,
                                     const int64_t box[2][2], float *out)
{
    const int64_t dim[3] = {box[1][0] - box[0][0], box[1][1] - box[0][1], 1};
    const double spacing[3] = {f->spacing[0], f->spacing[1], 1};
    struct kf_bits bits;
    enum kf_kernel_status status = kf_bits_alloc(work, dim, &bits);
    if (status)
        return status;
    const uint8_t *from = slice(f, s);
    for (int64_t y = 0; y < dim[1]; y++)
        for (int64_t x = 0; x < dim[0]; x++)
            if (from[(x + box[0][0]) * f->step[0] + (y + box[0][1]) * f->step[1]] == label)
                kf_bits_put(&bits, x, y, 0);
    status = kf_distance(work, &bits, spacing, 0, out);
    kf_bits_release(work, &bits);
    for (int64_t v = 0; v < dim[0] * dim[1]; v++)
        out[v] = out[v] > f->farthest ? f->farthest : out[v] < -f->farthest ? -f->farthest : out[v];
    return status;
}

// In place of the distances to an outline that is not there: as far outside everywhere as the other is deep.
static void measure_nothing(const float *other, float *out, int64_t count)
{
    float least = 0;
    for (int64_t v = 0; v < count; v++)
        least = other[v] < least ? other[v] : least;
    for (int64_t v = 0; v < count; v++)
        out[v] = -least;
}

static int overlap(const float *a, const float *b, int64_t count)
{
    int both = 0;
    for (int64_t v = 0; v < count; v++)
        both |= (a[v] < 0) & (b[v] < 0);
    return both;
}

static int64_t nearest(double x)
{
    return (int64_t)floor(x + 0.5);
}

// Writes the label into the slice between where it is deeper than what is there. `move`: from the first outline's
// centroid to the second's.
static void blend(const struct kf_work *work, const struct fill *f, const struct gap *gap, int64_t s, int label,
                  const int64_t box[2][2], const float *first, const float *second, const double move[2])
{
    float t = (float)(s - gap->from) / (float)(gap->to - gap->from);
    int64_t size[2] = {box[1][0] - box[0][0], box[1][1] - box[0][1]}, by[2], back[2];
    for (int a = 0; a < 2; a++) {
        by[a] = nearest((double)t * move[a]);
        back[a] = by[a] - nearest(move[a]);
    }
    uint8_t *to = f->labels + s * f->over;
    float *best = gap->best + (s - gap->from - 1) * f->size[0] * f->size[1];
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t y = 0; y < size[1]; y++)
        for (int64_t x = 0; x < size[0]; x++) {
            int64_t x1 = x - by[0], y1 = y - by[1], x2 = x - back[0], y2 = y - back[1];
            if (x1 < 0 || y1 < 0 || x2 < 0 || y2 < 0 || x1 >= size[0] || y1 >= size[1] || x2 >= size[0] || y2 >= size[1])
                continue;
            float d = (1 - t) * first[x1 + size[0] * y1] + t * second[x2 + size[0] * y2];
            int64_t i = x + box[0][0], j = y + box[0][1];
            if (d < best[i + f->size[0] * j]) {
                best[i + f->size[0] * j] = d;
                to[i * f->step[0] + j * f->step[1]] = (uint8_t)label;
            }
        }
}

static enum kf_kernel_status measure_both(const struct kf_work *work, const struct fill *f, const struct gap *gap,
                                          int label, const int64_t box[2][2], const struct outline *a,
                                          const struct outline *b, float *field[2])
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    if (a->voxels)
        status = measure(work, f, gap->from, label, box, field[0]);
    if (!status && b->voxels)
        status = measure(work, f, gap->to, label, box, field[1]);
    return status;
}

static enum kf_kernel_status fill_label(const struct kf_work *work, const struct fill *f, const struct gap *gap,
                                        int label, const struct outline *a, const struct outline *b, float *field[2])
{
    int64_t box[2][2];
    double move[2] = {0, 0};
    box_of_both(f, a, b, box);
    int64_t count = (box[1][0] - box[0][0]) * (box[1][1] - box[0][1]);
    enum kf_kernel_status status = measure_both(work, f, gap, label, box, a, b, field);
    if (status)
        return status;
    if (!a->voxels)
        measure_nothing(field[1], field[0], count);
    else if (!b->voxels)
        measure_nothing(field[0], field[1], count);
    else if (!overlap(field[0], field[1], count)) {
        for (int c = 0; c < 2; c++) {
            move[c] = (double)b->sum[c] / (double)b->voxels - (double)a->sum[c] / (double)a->voxels;
            box[0][c] = 0;
            box[1][c] = f->size[c];
        }
        status = measure_both(work, f, gap, label, box, a, b, field);
        if (status)
            return status;
    }
    for (int64_t s = gap->from + 1; s < gap->to; s++)
        blend(work, f, gap, s, label, box, field[0], field[1], move);
    return KF_KERNEL_OK;
}

static enum kf_kernel_status fill_gap(const struct kf_work *work, const struct fill *f, struct gap *gap, float *field[2])
{
    struct outline a[256], b[256];
    int64_t count = (gap->to - gap->from - 1) * f->size[0] * f->size[1];
    find_labels(f, gap->from, a);
    find_labels(f, gap->to, b);
    memset(gap->best, 0, (size_t)count * sizeof *gap->best);
    for (int label = 1; label < 256; label++) {
        if (!a[label].voxels && !b[label].voxels)
            continue;
        enum kf_kernel_status status = fill_label(work, f, gap, label, &a[label], &b[label], field);
        if (status)
            return status;
        double done = (double)gap->from + (double)((gap->to - gap->from) * label) / 256;
        if (kf_work_step(work, done / (double)f->depth))
            return KF_KERNEL_CANCELLED;
    }
    return KF_KERNEL_OK;
}

// Every gap in turn, or with `field` NULL only the empty slices of the widest, in *widest.
static enum kf_kernel_status each_gap(const struct kf_work *work, const struct fill *f, float *best, float *field[2],
                                      int64_t *widest)
{
    int64_t last = -1;
    for (int64_t s = 0; s < f->depth; s++) {
        if (!is_given(f, s))
            continue;
        struct gap gap = {last, s, best};
        last = s;
        if (gap.from < 0 || gap.to - gap.from < 2)
            continue;
        if (!field) {
            *widest = gap.to - gap.from - 1 > *widest ? gap.to - gap.from - 1 : *widest;
            continue;
        }
        enum kf_kernel_status status = fill_gap(work, f, &gap, field);
        if (status)
            return status;
    }
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_fill_between(const struct kf_work *work, const int64_t dim[3], const double spacing_mm[3],
                                      int axis, uint8_t *labels)
{
    if (axis < 0 || axis > 2)
        return KF_KERNEL_INVALID;
    const int64_t step[3] = {1, dim[0], dim[0] * dim[1]};
    struct fill f = {.labels = labels, .depth = dim[axis], .over = step[axis]};
    double square = 0;
    for (int a = 0, n = 0; a < 3; a++) {
        if (dim[a] < 1 || !(spacing_mm[a] > 0 && spacing_mm[a] < INFINITY))
            return KF_KERNEL_INVALID;
        if (a == axis)
            continue;
        f.size[n] = dim[a];
        f.step[n] = step[a];
        f.spacing[n++] = spacing_mm[a];
        square += (double)dim[a] * spacing_mm[a] * (double)dim[a] * spacing_mm[a];
    }
    f.farthest = (float)sqrt(square);
    int64_t widest = 0, area = f.size[0] * f.size[1];
    enum kf_kernel_status status = each_gap(work, &f, NULL, NULL, &widest);
    if (status || widest == 0)
        return status;
    float *best = kf_work_take(work, widest * area * (int64_t)sizeof *best);
    float *first = kf_work_take(work, area * (int64_t)sizeof *first);
    float *second = kf_work_take(work, area * (int64_t)sizeof *second);
    status = best && first && second ? each_gap(work, &f, best, (float *[2]){first, second}, NULL) : KF_KERNEL_NOMEM;
    kf_work_give(work, best);
    kf_work_give(work, first);
    kf_work_give(work, second);
    return status;
}
