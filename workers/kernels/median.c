#include "workers/kernels/median.h"
#include "workers/kernels/filter.h"


static int64_t within(int64_t at, int64_t n)
{
    return at < 0 ? 0 : at >= n ? n - 1 : at;
}

// Slice k. scratch: a ring of three rows of sorted triples along k, then the ranks.
static void median_slice(const struct kf_volume *in, int64_t k, int16_t *scratch, int16_t *out)
{
    const struct kf_filter_table *table = kf_filters();
    const int64_t *dim = in->grid.dim;
    int64_t stride = KF_MEDIAN_STRIDE(dim[0]), plane = dim[0] * dim[1];
    const int16_t *data = in->data;
    const int16_t *slice[3] = {data + within(k - 1, dim[2]) * plane, data + k * plane,
                               data + within(k + 1, dim[2]) * plane};
    int16_t *ranks = scratch + 9 * stride;
    int64_t made = 0; // rows whose triples were sorted
    for (int64_t j = 0; j < dim[1]; j++) {
        for (; made <= within(j + 1, dim[1]); made++) {
            int16_t *to = scratch + made % 3 * 3 * stride;
            int64_t at = made * dim[0];
            table->sort3_i16(slice[0] + at, slice[1] + at, slice[2] + at, dim[0], to, to + stride, to + 2 * stride);
        }
        const int16_t *sorted[9];
        for (int t = 0; t < 9; t++)
            sorted[t] = scratch + (within(j + t / 3 - 1, dim[1]) % 3 * 3 + t % 3) * stride;
        table->median_i16(sorted, dim[0], ranks, out + k * plane + j * dim[0]);
    }
}

enum kf_kernel_status kf_median3(const struct kf_work *work, const struct kf_volume *in, int16_t *out)
{
    const int64_t *dim = in->grid.dim;
    if (in->type != KF_VOXEL_INT16 || dim[0] < 1 || dim[1] < 1 || dim[2] < 1)
        return KF_KERNEL_INVALID;
    int64_t blocks = work->threads, share = 18 * KF_MEDIAN_STRIDE(dim[0]);
    int16_t *scratch = kf_work_take(work, blocks * share * (int64_t)sizeof *scratch);
    if (!scratch)
        return KF_KERNEL_NOMEM;
    struct kf_loop loop = kf_loop_make(work, dim[2], 0, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t k = b * dim[2] / blocks; k < (b + 1) * dim[2] / blocks && !kf_loop_stop(&loop); k++)
            median_slice(in, k, scratch + b * share, out);
    kf_work_give(work, scratch);
    return loop.stop || kf_work_step(work, 1) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}
