// Each step reads one field and writes another, in strips of rows through all slices: a ring of three padded slices of
// a strip stays in the second cache, and each face's flux is computed once.
#include "workers/kernels/diffusion.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/filter.h"

#include <string.h>

#define STRIP 32

struct diffusion {
    const struct kf_grid *grid;
    const float *from;
    float *to;
    int64_t line; // floats of a padded row
    struct kf_diffuse_row row;
};

static int64_t within(int64_t at, int64_t n)
{
    return at < 0 ? 0 : at >= n ? n - 1 : at;
}

// A row of `from` with its ends repeated on both sides.
static void pad_row(const float *from, int64_t n, int64_t line, float *padded)
{
    memcpy(padded + KF_PLANE_PAD, from, (size_t)n * sizeof *padded);
    padded[KF_PLANE_PAD - 1] = from[0];
    for (int64_t i = KF_PLANE_PAD + n; i < line; i++)
        padded[i] = from[n - 1];
}

// Rows [first, end) of slice k.
static void load_strip(const struct diffusion *d, int64_t k, int64_t first, int64_t end, float *strip)
{
    const int64_t *dim = d->grid->dim;
    const float *slice = d->from + within(k, dim[2]) * dim[0] * dim[1];
    for (int64_t j = first; j < end; j++)
        pad_row(slice + within(j, dim[1]) * dim[0], dim[0], d->line, strip + (j - first) * d->line);
}

static int64_t scratch_floats(int64_t line)
{
    return line * (3 * (STRIP + 2) + STRIP + 4);
}

// Flux through the faces after the row at `at` along j: the faces before the next row.
static void diffuse_flux_after(const struct diffusion *d, float *const ring[3], int64_t at, float *flux)
{
    struct kf_diffuse_row next = d->row;
    for (int c = 0; c < 3; c++)
        for (int b = 0; b < 2; b++) // along j nothing beyond the two rows of the face is read
            next.at[c][b] = ring[c] + at + b * d->line;
    kf_filters()->flux_row(&next, 1, d->grid->dim[0], flux);
}

// flux: along i, before and after along j, before along k (moved on to the next slice); padded rows.
static void diffuse_one_row(const struct diffusion *d, float *const ring[3], int64_t at, float *const flux[4],
                            float *after_k, float *to)
{
    const struct kf_filter_table *table = kf_filters();
    int64_t n = d->grid->dim[0], pad = KF_PLANE_PAD;
    struct kf_diffuse_row row = d->row, next = d->row;
    for (int c = 0; c < 3; c++)
        for (int b = 0; b < 3; b++) {
            row.at[c][b] = ring[c] + at + (b - 1) * d->line;
            next.at[c][b] = ring[c < 2 ? c + 1 : 2] + at + (b - 1) * d->line;
        }
    table->flux_row(&row, 0, n + 1, flux[0] + pad);
    table->flux_row(&next, 2, n, after_k + pad);
    const float *const faces[3][2] = {
        {flux[0] + pad, flux[0] + pad + 1}, {flux[1] + pad, flux[2] + pad}, {flux[3] + pad, after_k + pad}};
    table->diffuse_row(&row, faces, n, to);
    memcpy(flux[3] + pad, after_k + pad, (size_t)n * sizeof *after_k);
}

// Rows [first, end) of all slices. scratch: three slices of STRIP + 2 rows, the flux before each row along k, four
// rows.
static void diffuse_strip(const struct diffusion *d, int64_t first, int64_t end, float *scratch)
{
    const int64_t *dim = d->grid->dim;
    int64_t line = d->line, n = dim[0], slice = (STRIP + 2) * line;
    float *before_k = scratch + 3 * slice, *rows = before_k + STRIP * line;
    float *along_i = rows, *after_k = rows + line;
    float *ring[3] = {scratch, scratch + slice, scratch + 2 * slice};
    load_strip(d, -1, first - 1, end + 1, ring[0]);
    load_strip(d, 0, first - 1, end + 1, ring[1]);
    memset(before_k, 0, (size_t)(STRIP * line) * sizeof *before_k); // nothing flows through the border
    for (int64_t k = 0; k < dim[2]; k++) {
        load_strip(d, k + 1, first - 1, end + 1, ring[2]);
        float *before_j = rows + 2 * line, *after_j = rows + 3 * line;
        for (int64_t j = first - 1; j < end; j++) {
            const int64_t at = (j - first + 1) * line + KF_PLANE_PAD;
            diffuse_flux_after(d, ring, at, after_j + KF_PLANE_PAD);
            if (j >= first) {
                float *const flux[4] = {along_i, before_j, after_j, before_k + (j - first) * line};
                diffuse_one_row(d, ring, at, flux, after_k, d->to + n * (j + dim[1] * k));
            }
            float *swap = before_j;
            before_j = after_j;
            after_j = swap;
        }
        float *oldest = ring[0];
        ring[0] = ring[1];
        ring[1] = ring[2];
        ring[2] = oldest;
    }
}

// 1: cancelled. Progress goes from `from` to `to`.
static int step(const struct kf_work *work, const struct diffusion *d, float *scratch, double from, double to)
{
    int64_t strips = (d->grid->dim[1] + STRIP - 1) / STRIP, threads = work->threads;
    struct kf_loop loop = kf_loop_make(work, strips, from, to);
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int64_t b = 0; b < threads; b++)
        for (int64_t s = b; s < strips && !kf_loop_stop(&loop); s += threads) {
            int64_t end = (s + 1) * STRIP < d->grid->dim[1] ? (s + 1) * STRIP : d->grid->dim[1];
            diffuse_strip(d, s * STRIP, end, scratch + b * scratch_floats(d->line));
        }
    return loop.stop || kf_work_step(work, to);
}

static double slice_gradient(const struct diffusion *d, int64_t k, float *padded)
{
    const struct kf_filter_table *table = kf_filters();
    const int64_t *dim = d->grid->dim;
    const float scale[3] = {0.5f * d->row.scale[0], 0.5f * d->row.scale[1], 0.5f * d->row.scale[2]};
    double sums[16] = {0}, total = 0;
    for (int64_t j = 0; j < dim[1]; j++) {
        const int64_t beside[5][2] = {{j, k}, {j - 1, k}, {j + 1, k}, {j, k - 1}, {j, k + 1}};
        const float *rows[5];
        for (int t = 0; t < 5; t++)
            rows[t] = d->from + dim[0] * (within(beside[t][0], dim[1]) + dim[1] * within(beside[t][1], dim[2]));
        pad_row(rows[0], dim[0], d->line, padded);
        rows[0] = padded + KF_PLANE_PAD;
        table->gradient_sum(rows, scale, dim[0], sums);
    }
    for (int l = 0; l < 16; l++)
        total += sums[l];
    return total;
}

// Mean of the squared gradient; one sum per slice, added in order. Less than 0: cancelled.
static double mean_gradient(const struct kf_work *work, const struct diffusion *d, double *sums, float *scratch,
                            double done)
{
    const int64_t *dim = d->grid->dim;
    int64_t threads = work->threads;
    struct kf_loop loop = kf_loop_make(work, dim[2], done, done);
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int64_t b = 0; b < threads; b++)
        for (int64_t k = b * dim[2] / threads; k < (b + 1) * dim[2] / threads && !kf_loop_stop(&loop); k++)
            sums[k] = slice_gradient(d, k, scratch + b * scratch_floats(d->line));
    if (loop.stop)
        return -1;
    double total = 0;
    for (int64_t k = 0; k < dim[2]; k++)
        total += sums[k];
    return total / (double)kf_grid_voxels(d->grid);
}

static void load_field(const struct kf_work *work, const struct kf_volume *in, float *field)
{
    const struct kf_kernel_table *table = kf_kernels();
    int64_t plane = in->grid.dim[0] * in->grid.dim[1];
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < in->grid.dim[2]; k++) {
        float *to = field + k * plane;
        if (in->type == KF_VOXEL_INT16)
            table->i16_f32((const int16_t *)in->data + k * plane, plane, to);
        else if (in->type == KF_VOXEL_FLOAT32)
            memmove(to, (const float *)in->data + k * plane, (size_t)plane * sizeof *to);
        else
            for (int64_t i = 0; i < plane; i++)
                to[i] = (float)((const uint8_t *)in->data)[k * plane + i];
    }
}

enum kf_kernel_status kf_diffuse_curvature(const struct kf_work *work, const struct kf_volume *in, int iterations,
                                           double time_step, double conductance, float *out)
{
    const int64_t *dim = in->grid.dim;
    if (in->type == KF_VOXEL_UINT16 || iterations < 0 || iterations > 1000 || !(time_step >= 0 && time_step < 1e6) ||
        !(conductance >= 0 && conductance < 1e6))
        return KF_KERNEL_INVALID;
    struct diffusion d = {.grid = &in->grid, .line = (dim[0] + 15) / 16 * 16 + 3 * KF_PLANE_PAD};
    d.row.time_step = (float)time_step;
    for (int a = 0; a < 3; a++) {
        if (!(in->grid.spacing_mm[a] > 1e-6 && in->grid.spacing_mm[a] < 1e6) || dim[a] < 1)
            return KF_KERNEL_INVALID;
        d.row.scale[a] = (float)(1 / in->grid.spacing_mm[a]);
    }
    float *other = kf_work_take(work, kf_grid_voxels(&in->grid) * (int64_t)sizeof *other);
    float *scratch = kf_work_take(work, work->threads * scratch_floats(d.line) * (int64_t)sizeof *scratch);
    double *sums = kf_work_take(work, dim[2] * (int64_t)sizeof *sums);
    enum kf_kernel_status status = other && scratch && sums ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) // the last step has to end in `out`
        load_field(work, in, iterations % 2 ? other : out);
    for (int n = 0; n < iterations && !status; n++) {
        int even = (iterations - n) % 2 == 0;
        d.from = even ? out : other;
        d.to = even ? other : out;
        double done = (double)n / (double)iterations, next = (double)(n + 1) / (double)iterations;
        double mean = mean_gradient(work, &d, sums, scratch, done), k = -2 * mean * conductance * conductance;
        // Without any gradient, or conductance, nothing flows.
        d.row.contrast = k < -1e-30 ? (float)(1.44269504088896338700 / k) : -1e30f;
        if (mean < 0 || step(work, &d, scratch, done, next))
            status = KF_KERNEL_CANCELLED;
    }
    kf_work_give(work, sums);
    kf_work_give(work, scratch);
    kf_work_give(work, other);
    return status;
}
