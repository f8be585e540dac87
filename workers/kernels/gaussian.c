// Separable: along i and j slice by slice, then along k in place, one line of slices per row.
#include "workers/kernels/cpu.h"
#include "workers/kernels/image.h"
#include "workers/kernels/math.h"

#include <string.h>

#define RADIUS_MAX 224

struct gauss {
    int radius[3];
    float weight[3][RADIUS_MAX + 1];
};

static enum kf_kernel_status make_weights(const struct kf_grid *grid, double sigma_mm, struct gauss *g)
{
    for (int a = 0; a < 3; a++) {
        double sigma = sigma_mm / grid->spacing_mm[a];
        if (!(sigma >= 0 && sigma <= 64))
            return KF_KERNEL_INVALID;
        g->radius[a] = (int)(3.5 * sigma + 0.5);
        double value[RADIUS_MAX + 1], sum = 0;
        for (int t = 0; t <= g->radius[a]; t++) {
            value[t] = t == 0 ? 1 : kf_exp(-0.5 * t * t / (sigma * sigma));
            sum += t == 0 ? value[t] : 2 * value[t];
        }
        for (int t = 0; t <= g->radius[a]; t++)
            g->weight[a][t] = (float)(value[t] / sum);
    }
    return KF_KERNEL_OK;
}

static void load_row(const struct kf_kernel_table *table, const struct kf_volume *in, int64_t at, float *row)
{
    int64_t n = in->grid.dim[0];
    if (in->type == KF_VOXEL_INT16)
        table->i16_f32((const int16_t *)in->data + at, n, row);
    else if (in->type == KF_VOXEL_FLOAT32)
        memcpy(row, (const float *)in->data + at, (size_t)n * sizeof *row);
    else
        for (int64_t i = 0; i < n; i++)
            row[i] = (float)((const uint8_t *)in->data)[at + i];
}

static int64_t within(int64_t at, int64_t n)
{
    return at < 0 ? 0 : at >= n ? n - 1 : at;
}

// One slice along i and j. `line` holds a row padded on both sides, `plane` a slice.
static void blur_slice(const struct kf_volume *in, const struct gauss *g, int64_t k, float *line, float *plane,
                       float *out)
{
    const struct kf_kernel_table *table = kf_kernels();
    const int64_t *dim = in->grid.dim;
    const float *rows[2 * RADIUS_MAX + 1];
    int r = g->radius[0];
    for (int64_t j = 0; j < dim[1]; j++) {
        load_row(table, in, (j + k * dim[1]) * dim[0], line + r);
        for (int t = 0; t < r; t++) {
            line[t] = line[r];
            line[r + dim[0] + t] = line[r + dim[0] - 1];
        }
        for (int t = 0; t <= 2 * r; t++)
            rows[t] = line + t;
        table->fir_f32(rows, g->weight[0], r, dim[0], plane + j * dim[0]);
    }
    r = g->radius[1];
    for (int64_t j = 0; j < dim[1]; j++) {
        for (int t = -r; t <= r; t++)
            rows[r + t] = plane + within(j + t, dim[1]) * dim[0];
        table->fir_f32(rows, g->weight[1], r, dim[0], out + (j + k * dim[1]) * dim[0]);
    }
}

// Row j of all slices along k: copied aside, then written back filtered.
static void blur_along_k(const int64_t dim[3], const struct gauss *g, int64_t j, float *aside, float *out)
{
    const struct kf_kernel_table *table = kf_kernels();
    const float *rows[2 * RADIUS_MAX + 1];
    int r = g->radius[2];
    for (int64_t k = 0; k < dim[2]; k++)
        memcpy(aside + k * dim[0], out + (j + k * dim[1]) * dim[0], (size_t)dim[0] * sizeof *aside);
    for (int64_t k = 0; k < dim[2]; k++) {
        for (int t = -r; t <= r; t++)
            rows[r + t] = aside + within(k + t, dim[2]) * dim[0];
        table->fir_f32(rows, g->weight[2], r, dim[0], out + (j + k * dim[1]) * dim[0]);
    }
}

enum kf_kernel_status kf_gaussian(const struct kf_work *work, const struct kf_volume *in, double sigma_mm, float *out)
{
    const int64_t *dim = in->grid.dim;
    if (in->type == KF_VOXEL_UINT16)
        return KF_KERNEL_INVALID;
    struct gauss g;
    enum kf_kernel_status status = make_weights(&in->grid, sigma_mm, &g);
    if (status)
        return status;
    // One share of scratch per block of slices or rows; blocks are as many as threads.
    int64_t blocks = work->threads, line = dim[0] + 2 * RADIUS_MAX;
    int64_t plane = dim[0] * (dim[1] > dim[2] ? dim[1] : dim[2]);
    float *scratch = kf_work_take(work, blocks * (line + plane) * (int64_t)sizeof *scratch);
    if (!scratch)
        return KF_KERNEL_NOMEM;
    struct kf_loop slices = kf_loop_make(work, dim[2], 0, 0.6), rows = kf_loop_make(work, dim[1], 0.6, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int64_t b = 0; b < blocks; b++) {
        float *own = scratch + b * (line + plane);
        for (int64_t k = b * dim[2] / blocks; k < (b + 1) * dim[2] / blocks && !kf_loop_stop(&slices); k++)
            blur_slice(in, &g, k, own, own + line, out);
    }
    if (!slices.stop) {
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
        for (int64_t b = 0; b < blocks; b++)
            for (int64_t j = b * dim[1] / blocks; j < (b + 1) * dim[1] / blocks && !kf_loop_stop(&rows); j++)
                blur_along_k(dim, &g, j, scratch + b * (line + plane) + line, out);
    }
    kf_work_give(work, scratch);
    return slices.stop || rows.stop || kf_work_step(work, 1) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}
