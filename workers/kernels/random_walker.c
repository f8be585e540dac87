// A grid is a chessboard: neighbours have different colours. The equations of one colour therefore give its unknowns
// from those of the other, x₀ = b₀ + E·x₁, and what remains for the other, (1 - Eᵀ·E) x₁ = b₁ + Eᵀ·b₀, takes conjugate
// gradients half as many steps, on vectors half as long (Reid, "The use of conjugate gradients for systems of linear
// equations possessing Property A", SIAM J. Numer. Anal. 9(2), 1972). Rows and slices are filled up to odd lengths: the
// parity of a voxel's place is its colour then, and half the place its place among its colour.
#include "workers/kernels/math.h"
#include "workers/kernels/random_walker.h"
#include "workers/kernels/walk_rows.h"

#include <math.h>
#include <string.h>

#define DIFFERENCES 4096
#define BLOCK       2048 // voxels of a colour; sums do not depend on threads because this does not

struct walk {
    const struct kf_work *work;
    const int16_t *image;
    const uint8_t *seeds;
    int64_t dim[3], step[3], voxels;
    int64_t rows[3];              // dim, but the first two filled up to odd numbers
    int64_t odd[3];               // steps between places
    int64_t half, margin, blocks; // places of a colour and zeros on both sides, whole lanes; blocks of a colour
    float weight[3][DIFFERENCES];
    float *memory;
    float *edge[2][3];  // by colour, to the next voxel: weight · scale of both ends; a seed's is 0, so it stands apart
    float *scale;       // by place: 1 / sqrt(sum of the weights) of unknown voxels
    float *y[2];        // solution by colour; of the first its right side until the second is solved
    float *r, *p, *q;   // of the second colour
    float *t;           // of the first: E·p
    float *best, *rest; // by voxel: the greatest probability so far, and what the labels left over
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

// One allocation.
static enum kf_kernel_status take_memory(struct walk *w)
{
    float **by_colour[12] = {&w->edge[0][0], &w->edge[0][1], &w->edge[0][2], &w->edge[1][0],
                             &w->edge[1][1], &w->edge[1][2], &w->y[0],       &w->y[1],
                             &w->r,          &w->p,          &w->q,          &w->t};
    int64_t places = w->odd[2] * w->rows[2], each = w->half + 2 * w->margin;
    int64_t sums = w->blocks > w->dim[2] ? w->blocks : w->dim[2];
    w->memory = kf_work_take(w->work, (12 * each + places + 2 * w->voxels) * (int64_t)sizeof *w->memory);
    w->sum = kf_work_take(w->work, sums * (int64_t)sizeof *w->sum);
    if (!w->memory || !w->sum)
        return KF_KERNEL_NOMEM;
    float *at = w->memory;
    for (int n = 0; n < 12; n++, at += each) {
        const int64_t tail = w->half - KF_WALK_LANES; // some of these are places, and filled later
        memset(at, 0, (size_t)w->margin * sizeof *at);
        memset(at + w->margin + tail, 0, (size_t)(KF_WALK_LANES + w->margin) * sizeof *at);
        *by_colour[n] = at + w->margin;
    }
    w->scale = at;
    w->best = w->scale + places;
    w->rest = w->best + w->voxels;
    return KF_KERNEL_OK;
}

// From a place of a colour to that of the next voxel along an axis, among the other colour, and to the previous one.
static inline int64_t to_next(const struct walk *w, int colour, int axis)
{
    return (w->odd[axis] - 1) / 2 + colour;
}

static inline int64_t to_previous(const struct walk *w, int colour, int axis)
{
    return colour - (w->odd[axis] + 1) / 2;
}

static void raw_edges(struct walk *w, int64_t k)
{
    for (int64_t j = 0, place = k * w->odd[2]; j < w->rows[1]; j++)
        for (int64_t i = 0; i < w->rows[0]; i++, place++) {
            int64_t v = i + w->step[1] * j + w->step[2] * k;
            const int64_t at[3] = {i, j, k};
            int inside = i < w->dim[0] && j < w->dim[1];
            for (int a = 0; a < 3; a++)
                w->edge[place & 1][a][place >> 1] =
                    inside && at[a] + 1 < w->dim[a] ? weight_of(w, a, v, v + w->step[a]) : 0;
        }
}

static void scale_slice(struct walk *w, int64_t k)
{
    for (int64_t j = 0, place = k * w->odd[2]; j < w->rows[1]; j++)
        for (int64_t i = 0; i < w->rows[0]; i++, place++) {
            int64_t v = i + w->step[1] * j + w->step[2] * k, c = place >> 1;
            int colour = (int)(place & 1), known = i >= w->dim[0] || j >= w->dim[1] || w->seeds[v];
            float sum = 0;
            for (int a = 0; a < 3; a++)
                sum += w->edge[colour][a][c] + w->edge[!colour][a][c + to_previous(w, colour, a)];
            w->scale[place] = known || !(sum > 0) ? 0 : 1 / sqrtf(sum);
        }
}

static void scale_edges(struct walk *w, int64_t k)
{
    for (int64_t place = k * w->odd[2]; place < (k + 1) * w->odd[2]; place++)
        for (int a = 0; a < 3; a++) {
            float *edge = &w->edge[place & 1][a][place >> 1];
            if (*edge > 0)
                *edge *= w->scale[place] * w->scale[place + w->odd[a]];
        }
}

// The right side for one label; the second colour's is the first residual, and its first solution 0.
static double start_slice(struct walk *w, int64_t k, uint8_t label)
{
    double sum = 0;
    for (int64_t j = 0, place = k * w->odd[2]; j < w->rows[1]; j++)
        for (int64_t i = 0; i < w->rows[0]; i++, place++) {
            int64_t v = i + w->step[1] * j + w->step[2] * k, c = place >> 1;
            const int64_t at[3] = {i, j, k};
            float b = 0;
            for (int a = 0; a < 3 && w->scale[place] > 0; a++) {
                if (at[a] > 0 && w->seeds[v - w->step[a]] == label)
                    b += weight_of(w, a, v, v - w->step[a]);
                if (at[a] + 1 < w->dim[a] && w->seeds[v + w->step[a]] == label)
                    b += weight_of(w, a, v, v + w->step[a]);
            }
            b *= w->scale[place];
            sum += (double)b * (double)b;
            if (place & 1) {
                w->r[c] = b;
                w->y[1][c] = w->p[c] = w->q[c] = 0;
            } else {
                w->y[0][c] = b;
            }
        }
    return sum;
}

// ---- passes over all blocks ----

static int64_t count_of(const struct walk *w, int64_t block)
{
    return w->half - block * BLOCK < BLOCK ? w->half - block * BLOCK : BLOCK;
}

// Of a block of one colour; `other` is a vector of the other.
static struct kf_walk_near near_of(const struct walk *w, int colour, const float *other, int64_t block)
{
    struct kf_walk_near near;
    for (int a = 0; a < 3; a++) {
        int64_t first = block * BLOCK, next = first + to_next(w, colour, a),
                previous = first + to_previous(w, colour, a);
        near.edge_after[a] = w->edge[colour][a] + first;
        near.edge_before[a] = w->edge[!colour][a] + previous;
        near.after[a] = other + next;
        near.before[a] = other + previous;
    }
    return near;
}

static struct kf_walk_block block_of(const struct walk *w, int64_t n)
{
    int64_t first = n * BLOCK;
    return (struct kf_walk_block){
        .y = w->y[1] + first, .r = w->r + first, .p = w->p + first, .q = w->q + first, .count = count_of(w, n)};
}

static double add_up(const double *sum, int64_t count)
{
    double total = 0;
    for (int64_t n = 0; n < count; n++)
        total += sum[n];
    return total;
}

static void gather_all(const struct walk *w, int colour, const float *other, float *to)
{
    const struct kf_walk_rows *rows = kf_walk_rows();
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
    for (int64_t n = 0; n < w->blocks; n++) {
        struct kf_walk_near near = near_of(w, colour, other, n);
        rows->gather(&near, to + n * BLOCK, 1, count_of(w, n));
    }
}

static void gather_direction(const struct walk *w, const struct kf_walk_rows *rows, int64_t block)
{
    struct kf_walk_near near = near_of(w, 0, w->p, block);
    rows->gather(&near, w->t + block * BLOCK, 0, count_of(w, block));
}

// q = p - Eᵀ·E·p; returns p·q. Of each thread's part first both ends, which its neighbours need, then t = E·p one slice
// ahead of q, so that the edges are still in the cache when q takes them.
static double apply_all(const struct walk *w)
{
    const struct kf_walk_rows *rows = kf_walk_rows();
    const int64_t parts = w->work->threads, lead = (w->margin + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(w->work->threads) schedule(static, 1)
    for (int64_t part = 0; part < parts; part++) {
        const int64_t from = w->blocks * part / parts, to = w->blocks * (part + 1) / parts;
        for (int64_t n = from; n < to; n = n + 1 == from + lead && to - lead > n ? to - lead : n + 1)
            gather_direction(w, rows, n);
    }
#pragma omp parallel for num_threads(w->work->threads) schedule(static, 1)
    for (int64_t part = 0; part < parts; part++) {
        const int64_t from = w->blocks * part / parts, to = w->blocks * (part + 1) / parts;
        for (int64_t n = from, ahead = from + lead; n < to; n++) {
            for (; ahead <= n + lead && ahead < to - lead; ahead++)
                gather_direction(w, rows, ahead);
            struct kf_walk_block block = block_of(w, n);
            struct kf_walk_near near = near_of(w, 1, w->t, n);
            w->sum[n] = rows->apply(&block, &near);
        }
    }
    return add_up(w->sum, w->blocks);
}

// y += alpha·p, r -= alpha·q; returns r·r.
static double reduce_all(const struct walk *w, float alpha)
{
    const struct kf_walk_rows *rows = kf_walk_rows();
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
    for (int64_t n = 0; n < w->blocks; n++) {
        struct kf_walk_block block = block_of(w, n);
        w->sum[n] = rows->reduce(&block, alpha);
    }
    return add_up(w->sum, w->blocks);
}

static void advance_all(const struct walk *w, float beta)
{
    const struct kf_walk_rows *rows = kf_walk_rows();
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
    for (int64_t n = 0; n < w->blocks; n++) {
        struct kf_walk_block block = block_of(w, n);
        rows->advance(&block, beta);
    }
}

// One label; `done` is the progress to report. The residual of the whole system is that of the second colour: the
// first's equations hold.
static enum kf_kernel_status solve(struct walk *w, uint8_t label, const struct kf_walk_options *options, double done,
                                   struct kf_walk_report *report)
{
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
    for (int64_t k = 0; k < w->dim[2]; k++)
        w->sum[k] = start_slice(w, k, label);
    double total = add_up(w->sum, w->dim[2]), limit = options->tolerance * options->tolerance * total;
    gather_all(w, 1, w->y[0], w->r);
    double rr = reduce_all(w, 0);
    float beta = 0;
    int n = 0;
    for (; n < options->most_iterations && rr > limit; n++) {
        advance_all(w, beta);
        double pq = apply_all(w);
        if (!(pq > 0))
            break;
        double next = reduce_all(w, (float)(rr / pq));
        beta = (float)(next / rr);
        rr = next;
        if (kf_work_step(w->work, done))
            return KF_KERNEL_CANCELLED;
    }
    gather_all(w, 0, w->y[1], w->y[0]);
    double residual = total > 0 ? sqrt(rr / total) : 0;
    report->iterations += n;
    report->residual = residual > report->residual ? residual : report->residual;
    return KF_KERNEL_OK;
}

// Takes label's solution into the choice; the last label has what the others left.
static void choose(struct walk *w, uint8_t label, int first, int last, uint8_t *labels)
{
#pragma omp parallel for num_threads(w->work->threads) schedule(static)
    for (int64_t row = 0; row < w->dim[1] * w->dim[2]; row++) {
        int64_t place = row % w->dim[1] * w->odd[1] + row / w->dim[1] * w->odd[2];
        for (int64_t v = row * w->dim[0]; v < (row + 1) * w->dim[0]; v++, place++) {
            float here = w->seeds[v] ? (float)(w->seeds[v] == label) : w->y[place & 1][place >> 1] * w->scale[place];
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
}

// present[label]: there is a seed of that label; present[0]: how many labels have one.
static enum kf_kernel_status prepare(struct walk *w, const struct kf_volume *image, const uint8_t *seeds,
                                     const struct kf_walk_options *options, int present[256])
{
    const struct kf_grid *g = &image->grid;
    w->image = image->data;
    w->seeds = seeds;
    w->voxels = kf_grid_voxels(g);
    for (int64_t a = 0, step = 1, odd = 1; a < 3; step *= w->dim[a], odd *= w->rows[a], a++) {
        w->dim[a] = g->dim[a];
        w->rows[a] = a < 2 ? g->dim[a] | 1 : g->dim[a];
        w->step[a] = step;
        w->odd[a] = odd;
        if (!(g->spacing_mm[a] > 0))
            return KF_KERNEL_INVALID;
    }
    const int64_t places = w->odd[2] * w->rows[2], lanes = KF_WALK_LANES;
    w->half = ((places + 1) / 2 + lanes - 1) / lanes * lanes;
    w->margin = ((w->odd[2] + 1) / 2 + lanes - 1) / lanes * lanes;
    w->blocks = (w->half + BLOCK - 1) / BLOCK;
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
