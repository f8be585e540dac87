#include "workers/kernels/cpu.h"
#include "workers/kernels/image.h"

#include <string.h>

void kf_reduce_grid(const struct kf_grid *in, const int64_t factor[3], struct kf_grid *out)
{
    double middle[3]; // of the first block, in voxels
    *out = *in;
    for (int a = 0; a < 3; a++) {
        out->dim[a] = (in->dim[a] + factor[a] - 1) / factor[a];
        out->spacing_mm[a] = in->spacing_mm[a] * (double)factor[a];
        middle[a] = 0.5 * (double)(factor[a] - 1);
    }
    kf_grid_to_lps(in, middle, out->origin_lps);
}

// The block that voxel n of the result stands for, on one axis.
static inline int64_t block_end(int64_t n, int64_t factor, int64_t dim)
{
    return (n + 1) * factor < dim ? (n + 1) * factor : dim;
}

// Mean of one row of blocks; sums holds a row of the input.
static void mean_i16(const struct kf_volume *in, const int64_t factor[3], int64_t j, int64_t k, int32_t *sums,
                     int16_t *to, int64_t n)
{
    const int64_t *dim = in->grid.dim;
    int64_t j1 = block_end(j, factor[1], dim[1]), k1 = block_end(k, factor[2], dim[2]);
    memset(sums, 0, (size_t)dim[0] * sizeof *sums);
    for (int64_t z = k * factor[2]; z < k1; z++)
        for (int64_t y = j * factor[1]; y < j1; y++)
            kf_kernels()->add_i16((const int16_t *)in->data + (y + z * dim[1]) * dim[0], dim[0], sums);
    int64_t rows = (k1 - k * factor[2]) * (j1 - j * factor[1]);
    for (int64_t i = 0; i < n; i++) {
        int64_t sum = 0, i1 = block_end(i, factor[0], dim[0]), count = rows * (i1 - i * factor[0]);
        for (int64_t x = i * factor[0]; x < i1; x++)
            sum += sums[x];
        // Rounds half up, also below zero: floor((2·sum + count) / (2·count)).
        int64_t top = 2 * sum + count, bottom = 2 * count, quotient = top / bottom;
        to[i] = (int16_t)(top % bottom < 0 ? quotient - 1 : quotient);
    }
}

static void mean_f32(const struct kf_volume *in, const int64_t factor[3], int64_t j, int64_t k, float *to, int64_t n)
{
    const int64_t *dim = in->grid.dim;
    int64_t j1 = block_end(j, factor[1], dim[1]), k1 = block_end(k, factor[2], dim[2]);
    for (int64_t i = 0; i < n; i++) {
        int64_t i1 = block_end(i, factor[0], dim[0]), count = 0;
        double sum = 0;
        for (int64_t z = k * factor[2]; z < k1; z++)
            for (int64_t y = j * factor[1]; y < j1; y++)
                for (int64_t x = i * factor[0]; x < i1; x++, count++)
                    sum += (double)((const float *)in->data)[x + dim[0] * (y + dim[1] * z)];
        to[i] = (float)(sum / (double)count);
    }
}

static void majority_u8(const struct kf_volume *in, const int64_t factor[3], int64_t j, int64_t k, uint8_t *to,
                        int64_t n)
{
    const int64_t *dim = in->grid.dim;
    int64_t j1 = block_end(j, factor[1], dim[1]), k1 = block_end(k, factor[2], dim[2]);
    uint32_t votes[256] = {0};
    for (int64_t i = 0; i < n; i++) {
        int64_t i0 = i * factor[0], i1 = block_end(i, factor[0], dim[0]);
        uint8_t least = 255, most = 0;
        for (int64_t z = k * factor[2]; z < k1; z++)
            for (int64_t y = j * factor[1]; y < j1; y++)
                for (int64_t x = i0; x < i1; x++) {
                    uint8_t label = ((const uint8_t *)in->data)[x + dim[0] * (y + dim[1] * z)];
                    votes[label]++;
                    least = label < least ? label : least;
                    most = label > most ? label : most;
                }
        uint8_t best = least;
        for (int label = least; label <= most; label++) {
            if (votes[label] > votes[best])
                best = (uint8_t)label;
        }
        memset(votes + least, 0, (size_t)(most - least + 1) * sizeof *votes);
        to[i] = best;
    }
}

enum kf_kernel_status kf_reduce(const struct kf_work *work, const struct kf_volume *in, const int64_t factor[3],
                                const struct kf_volume *out)
{
    const int64_t *dim = in->grid.dim, *small = out->grid.dim;
    for (int a = 0; a < 3; a++)
        if (factor[a] < 1 || factor[a] > 255 || small[a] != (dim[a] + factor[a] - 1) / factor[a])
            return KF_KERNEL_INVALID;
    if (in->type != out->type || in->type == KF_VOXEL_UINT16)
        return KF_KERNEL_INVALID;
    int64_t blocks = work->threads;
    int32_t *sums = kf_work_take(work, blocks * dim[0] * (int64_t)sizeof *sums);
    if (!sums)
        return KF_KERNEL_NOMEM;
    struct kf_loop loop = kf_loop_make(work, small[2], 0, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t k = b * small[2] / blocks; k < (b + 1) * small[2] / blocks && !kf_loop_stop(&loop); k++)
            for (int64_t j = 0; j < small[1]; j++) {
                int64_t at = (j + k * small[1]) * small[0];
                if (in->type == KF_VOXEL_INT16)
                    mean_i16(in, factor, j, k, sums + b * dim[0], (int16_t *)out->data + at, small[0]);
                else if (in->type == KF_VOXEL_FLOAT32)
                    mean_f32(in, factor, j, k, (float *)out->data + at, small[0]);
                else
                    majority_u8(in, factor, j, k, (uint8_t *)out->data + at, small[0]);
            }
    kf_work_give(work, sums);
    return loop.stop || kf_work_step(work, 1) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}
