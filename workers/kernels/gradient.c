// In strips of rows through all slices, so that the seven slices of a strip stay in the second cache.
#include "workers/kernels/gradient.h"
#include "workers/kernels/filter.h"
#include "workers/kernels/image.h"

#include <string.h>

#define STRIP 16

static int64_t within(int64_t at, int64_t n)
{
    return at < 0 ? 0 : at >= n ? n - 1 : at;
}

static void gradient_strip(const float *field, const struct kf_grid *grid, int64_t strip, float *padded, float *out)
{
    const struct kf_filter_table *table = kf_filters();
    const int64_t *dim = grid->dim;
    float scale[3], *centre = padded + 3;
    for (int a = 0; a < 3; a++)
        scale[a] = (float)(1 / (60 * grid->spacing_mm[a]));
    int64_t end = (strip + 1) * STRIP < dim[1] ? (strip + 1) * STRIP : dim[1];
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = strip * STRIP; j < end; j++) {
            const float *rows_j[7], *rows_k[7];
            for (int t = 0; t < 7; t++) {
                rows_j[t] = field + dim[0] * (within(j + t - 3, dim[1]) + dim[1] * k);
                rows_k[t] = field + dim[0] * (j + dim[1] * within(k + t - 3, dim[2]));
            }
            memcpy(centre, rows_j[3], (size_t)dim[0] * sizeof *centre);
            for (int t = 0; t < 3; t++) {
                padded[t] = centre[0];
                centre[dim[0] + t] = centre[dim[0] - 1];
            }
            table->gradient_row(centre, rows_j, rows_k, scale, dim[0], out + dim[0] * (j + dim[1] * k));
        }
}

enum kf_kernel_status kf_gradient_magnitude(const struct kf_work *work, const struct kf_volume *in, double sigma_mm,
                                            float *out)
{
    const int64_t *dim = in->grid.dim;
    int64_t line = (dim[0] + 6 + 15) / 16 * 16, threads = work->threads;
    float *field = kf_work_take(work, kf_grid_voxels(&in->grid) * (int64_t)sizeof *field);
    float *padded = kf_work_take(work, threads * line * (int64_t)sizeof *padded);
    enum kf_kernel_status status = KF_KERNEL_NOMEM;
    if (field && padded) {
        struct kf_work quiet = *work; // progress stays with this kernel
        quiet.progress = NULL;
        status = kf_gaussian(&quiet, in, sigma_mm, field);
    }
    if (!status) {
        int64_t strips = (dim[1] + STRIP - 1) / STRIP;
        struct kf_loop loop = kf_loop_make(work, strips, 0.6, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
        for (int64_t b = 0; b < threads; b++)
            for (int64_t s = b; s < strips && !kf_loop_stop(&loop); s += threads)
                gradient_strip(field, &in->grid, s, padded + b * line, out);
        if (loop.stop || kf_work_step(work, 1))
            status = KF_KERNEL_CANCELLED;
    }
    kf_work_give(work, padded);
    kf_work_give(work, field);
    return status;
}
