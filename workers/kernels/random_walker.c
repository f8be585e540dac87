#include "workers/kernels/math.h"
#include "workers/kernels/random_walker.h"
#include "workers/kernels/walk_rows.h"

#include <math.h>
#include <string.h>

#define DIFFERENCES 4096
#define BLOCK       8192 // voxels; sums do not depend on threads because this does not

struct walk {
    const struct kf_work *work;
    const int16_t *image;
    const uint8_t *seeds;
    int64_t dim[3], step[3], voxels, padded, blocks;
    float weight[3][DIFFERENCES];
    float *memory;
    float *edge[3]; // weight · scale of both ends; seeds have scale 0, so that they stand apart
    float *scale;   // 1 / sqrt(sum of the weights) of unknown voxels
    float *y, *r, *p, *q;
    float *best, *rest; // the greatest probability so far, and what the labels left over
    double *sum;        // one per block or slice
};

static inline float weight_of(const struct walk *w, int a, int64_t v, int64_t u)
{
    int d = w->image[v] - w->image[u];
    d = d < 0 ? -d : d;
    return w->weight[a][d < DIFFERENCES ? d : DIFFERENCES - 1];
}

static void make_weights(struct walk *w, const double spacing_mm[3], double sigma)
{
    double least = spacing_mm[0] < spacing_mm[1] ? spacing_mm[0] : spacing_mm[1];
    least = spacing_mm[2] < least ? spacing_mm[2] : least;
    for (int d = 0; d < DIFFERENCES; d++) {
        double weight = kf_exp(-(d / sigma) * (d / sigma)) + 1e-6;
        for (int a = 0; a < 3; a++)
            w->weight[a][d] = (float)(weight * (least / spacing_mm[a]) * (least / spacing_mm[a]));
    }
}

// One allocation; slices of zeros lie before the edges and on both sides of the direction.
static enum kf_kernel_status take_memory(struct walk *w)
{
    int64_t slice = (w->step[2] + KF_WALK_LANES - 1) / KF_WALK_LANES * KF_WALK_LANES;
    int64_t each = w->padded + slice, floats = 3 * each + (each + slice) + 6 * w->padded;
    w->memory = kf_work_take(w->work, floats * (int64_t)sizeof *w->memory);
    int64_t sums = w->blocks > w->dim[2] ? w->blocks : w->dim[2];
    w->sum = kf_work_take(w->work, sums * (int64_t)sizeof *w->sum);
    if (!w->memory || !w->sum)
        return KF_KERNEL_NOMEM;
    float *at = w->memory;
    for (int a = 0; a < 3; a++, at += each) {
        memset(at, 0, (size_t)slice * sizeof *at);
        memset(at + slice + w->voxels, 0, (size_t)(w->padded - w->voxels) * sizeof *at);
        w->edge[a] = at + slice;
    }
    memset(at, 0, (size_t)slice * sizeof *at);
    w->p = at + slice;
    memset(w->p + w->voxels, 0, (size_t)(w->padded - w->voxels + slice) * sizeof *at);
    at = w->p + w->padded + slice;
    float **arrays[6] = {&w->scale, &w->y, &w->r, &w->q, &w->best, &w->rest};
    for (int n = 0; n < 6; n++, at += w->padded) {
        *arrays[n] = at;
        memset(at + w->voxels, 0, (size_t)(w->padded - w->voxels) * sizeof *at);
    }
    return KF_KERNEL_OK;
}

static void raw_edges(struct walk *w, int64_t k)
{
    for (int64_t j = 0; j < w->dim[1]; j++)
        for (int64_t i = 0; i < w->dim[0]; i++) {
            int64_t v = i + w->step[1] * j + w->step[2] * k;
            const int64_t at[3] = {i, j, k};
            for (int a = 0; a < 3; a++)
                w->edge[a][v] = at[a] + 1 < w->dim[a] ? weight_of(w, a, v, v + w->step[a]) : 0;
        }
}

static void scale_slice(struct walk *w, int64_t k)
{
    for (int64_t v = k * w->step[2]; v < (k + 1) * w->step[2]; v++) {
        float sum = 0;
        for (int a = 0; a < 3; a++)
            sum += w->edge[a][v] + w->edge[a][v - w->step[a]];
        w->scale[v] = w->seeds[v] || !(sum > 0) ? 0 : 1 / sqrtf(sum);
    }
}

static void scale_edges(struct walk *w, int64_t k)
{
    for (int64_t v = k * w->step[2]; v < (k + 1) * w->step[2]; v++)
        for (int a = 0; a < 3; a++)
            if (w->edge[a][v] > 0)
                w->edge[a][v] *= w->scale[v] * w->scale[v + w->step[a]];
}

// The right side for one label, as the first residual and direction; the first solution is 0.
static double start_slice(struct walk *w, int64_t k, uint8_t label)
{
    double sum = 0;
    for (int64_t j = 0; j < w->dim[1]; j++)
        for (int64_t i = 0; i < w->dim[0]; i++) {
            int64_t v = i + w->step[1] * j + w->step[2] * k;
            const int64_t at[3] = {i, j, k};
            float b = 0;
            for (int a = 0; a < 3 && !w->seeds[v]; a++) {
                if (at[a] > 0 && w->seeds[v - w->step[a]] == label)
                    b += weight_of(w, a, v, v - w->step[a]);
                if (at[a] + 1 < w->dim[a] && w->seeds[v + w->step[a]] == label)
                    b += weight_of(w, a, v, v + w->step[a]);
            }
            b *= w->scale[v];
            w->r[v] = w->p[v] = b;
            w->y[v] = 0;
            sum += (double)b * (double)b;
        }
    return sum;
}

static struct kf_walk_block block_of(const struct walk *w, int64_t n)
{
    int64_t first = n * BLOCK, count = w->padded - first < BLOCK ? w->padded - first : BLOCK;
    return (struct kf_walk_block){.edge = {w->edge[0] + first, w->edge[1] + first, w->edge[2] + first},
                                  .step = {w->step[0], w->step[1], w->step[2]},
                                  .y = w->y + first,
                                  .r = w->r + first,
                                  .p = w->p + first,
                                  .q = w->q + first,
                                  .count = count};
}

static double add_up(const double *sum, int64_t count)
{
    double total = 0;
    for (int64_t n = 0; n < count; n++)
        total += sum[n];
    return total;
}

// Conjugate gradients for one label; `done` is the progress to report.
static enum kf_kernel_status solve(struct walk *w, uint8_t label, const struct kf_walk_options *options, double done,
                                   struct kf_walk_report *report)
{
    const struct kf_walk_rows *rows = kf_walk_rows();
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
    for (int64_t k = 0; k < w->dim[2]; k++)
        w->sum[k] = start_slice(w, k, label);
    double total = add_up(w->sum, w->dim[2]), rr = total, limit = options->tolerance * options->tolerance * total;
    int n = 0;
    for (; n < options->most_iterations && rr > limit; n++) {
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
        for (int64_t b = 0; b < w->blocks; b++) {
            struct kf_walk_block block = block_of(w, b);
            w->sum[b] = rows->apply(&block);
        }
        double pq = add_up(w->sum, w->blocks);
        if (!(pq > 0))
            break;
        float alpha = (float)(rr / pq);
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
        for (int64_t b = 0; b < w->blocks; b++) {
            struct kf_walk_block block = block_of(w, b);
            w->sum[b] = rows->reduce(&block, alpha);
        }
        double next = add_up(w->sum, w->blocks);
        float beta = (float)(next / rr);
        rr = next;
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
        for (int64_t b = 0; b < w->blocks; b++) {
            struct kf_walk_block block = block_of(w, b);
            rows->advance(&block, alpha, beta);
        }
        if (kf_work_step(w->work, done))
            return KF_KERNEL_CANCELLED;
    }
    double residual = total > 0 ? sqrt(rr / total) : 0;
    report->iterations += n;
    report->residual = residual > report->residual ? residual : report->residual;
    return KF_KERNEL_OK;
}

// Takes label's solution into the choice; the last label has what the others left.
static void choose(struct walk *w, uint8_t label, int first, int last, uint8_t *labels)
{
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
    for (int64_t v = 0; v < w->voxels; v++) {
        float here = w->seeds[v] ? (float)(w->seeds[v] == label) : w->y[v] * w->scale[v];
        here = here > 0 ? here < 1 ? here : 1 : 0;
        if (last)
            here = first ? 1 : w->rest[v] > 0 ? w->rest[v] : 0;
        float best = first ? -1 : w->best[v];
        if (here > best) {
            best = here;
            labels[v] = label;
        }
        w->best[v] = best;
        w->rest[v] = (first ? 1 : w->rest[v]) - here;
    }
}

// present[label]: there is a seed of that label; present[0]: how many labels have one.
static enum kf_kernel_status prepare(struct walk *w, const struct kf_volume *image, const uint8_t *seeds,
                                     const struct kf_walk_options *options, int present[256])
{
    const struct kf_grid *g = &image->grid;
    w->image = image->data;
    w->seeds = seeds;
    w->voxels = kf_grid_voxels(g);
    w->padded = (w->voxels + KF_WALK_LANES - 1) / KF_WALK_LANES * KF_WALK_LANES;
    w->blocks = (w->padded + BLOCK - 1) / BLOCK;
    for (int64_t a = 0, step = 1; a < 3; step *= g->dim[a++]) {
        w->dim[a] = g->dim[a];
        w->step[a] = step;
        if (!(g->spacing_mm[a] > 0))
            return KF_KERNEL_INVALID;
    }
    memset(present, 0, 256 * sizeof *present);
    for (int64_t v = 0; v < w->voxels; v++)
        present[seeds[v]] = 1;
    int count = 0;
    for (int label = 1; label < 256; label++)
        count += present[label];
    present[0] = count;
    // NaN fails every comparison that an option must pass.
    if (image->type != KF_VOXEL_INT16 || !count || !(options->sigma > 0) || !(options->tolerance >= 1e-7) ||
        options->most_iterations < 1)
        return KF_KERNEL_INVALID;
    make_weights(w, g->spacing_mm, options->sigma);
    return take_memory(w);
}

static enum kf_kernel_status run(struct walk *w, const int present[256], const struct kf_walk_options *options,
                                 uint8_t *labels, struct kf_walk_report *report)
{
    int taken = 0;
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
    for (int64_t k = 0; k < w->dim[2]; k++)
        raw_edges(w, k);
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
    for (int64_t k = 0; k < w->dim[2]; k++)
        scale_slice(w, k);
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
    for (int64_t k = 0; k < w->dim[2]; k++)
        scale_edges(w, k);
    for (int label = 1; label < 256; label++) {
        if (!present[label])
            continue;
        int last = taken + 1 == present[0];
        enum kf_kernel_status status =
            last ? KF_KERNEL_OK : solve(w, (uint8_t)label, options, (double)taken / present[0], report);
        if (status)
            return status;
        choose(w, (uint8_t)label, taken == 0, last, labels);
        taken++;
    }
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_random_walker(const struct kf_work *work, const struct kf_volume *image, const uint8_t *seeds,
                                       const struct kf_walk_options *options, uint8_t *labels, float *probability,
                                       struct kf_walk_report *report)
{
    struct kf_walk_report had = {0, 0};
    int present[256];
    struct walk *w = kf_work_take(work, (int64_t)sizeof *w);
    if (!w)
        return KF_KERNEL_NOMEM;
    *w = (struct walk){.work = work};
    enum kf_kernel_status status = prepare(w, image, seeds, options, present);
    if (!status)
        status = run(w, present, options, labels, &had);
    if (!status && probability)
        memcpy(probability, w->best, (size_t)w->voxels * sizeof *probability);
    if (report)
        *report = status ? (struct kf_walk_report){0, 0} : had;
    kf_work_give(work, w->memory);
    kf_work_give(work, w->sum);
    kf_work_give(work, w);
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    return status;
}
