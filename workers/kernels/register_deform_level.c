// From values to levels: what two images are compared in.
#include "workers/kernels/bias.h"
#include "workers/kernels/image.h"
#include "workers/kernels/math.h"
#include "workers/kernels/median.h"
#include "workers/kernels/register_deform_inside.h"

#include <math.h>
#include <string.h>

#define VALUES   65536
#define BINS     512
#define SPREAD   6    // bins that the histogram is smoothed over, each way
#define EVENNESS 0.6  // power of the histogram: 0 leaves the scale as it is, 1 makes all levels equally common
#define LEAVE    5000 // one voxel of so many is beyond either end of the scale
#define THICK_MM                                                                                                       \
    3 // voxels larger than this, even on one axis, are not smoothed: a median would take detail with the noise
#define BLOCK_MM 8    // of what the gain is found in
#define NEGATIVE 1000 // an image with more than one negative voxel in so many has no coil's gain

// Below half of the mean of what is brighter than the mean: air and bone, which do not show the gain. Negative: no coil
// made this image.
static double dark(const struct kf_reg_units *units, const int64_t *count)
{
    double sum[2] = {0}, all[2] = {0}, negative = 0, mean = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < VALUES; i++) {
            const double value = (i - 32768) / units->scale + units->offset, many = (double)count[i];
            negative += pass == 0 && value < 0 ? many : 0;
            sum[pass] += pass == 0 || value > mean ? many * value : 0;
            all[pass] += pass == 0 || value > mean ? many : 0;
        }
        mean = pass == 0 ? sum[0] / all[0] : mean;
    }
    return negative > all[0] / NEGATIVE ? -1 : all[1] > 0 ? 0.5 * sum[1] / all[1] : 0;
}

static void count_values(const struct kf_volume *image, int64_t *count)
{
    const int16_t *v = image->data;
    memset(count, 0, VALUES * sizeof *count);
    for (int64_t n = 0, total = kf_grid_voxels(&image->grid); n < total; n++)
        count[v[n] + 32768]++;
}

// Means of blocks, what is darker than `least` taken as 0. mean->data is owned.
static enum kf_kernel_status take_blocks(const struct kf_work *work, const struct kf_reg_units *units,
                                         const struct kf_volume *image, double least, const int64_t factor[3],
                                         struct kf_volume *mean)
{
    const int64_t total = kf_grid_voxels(&image->grid);
    const int16_t *v = image->data;
    const float per_unit = (float)(1 / units->scale), offset = (float)units->offset, dimmest = (float)least;
    struct kf_volume lit = {.grid = image->grid, .type = KF_VOXEL_FLOAT32, .data = kf_work_take(work, 4 * total)};
    mean->type = KF_VOXEL_FLOAT32;
    kf_reduce_grid(&image->grid, factor, &mean->grid);
    mean->data = lit.data ? kf_work_take(work, 4 * kf_grid_voxels(&mean->grid)) : NULL;
    enum kf_kernel_status status = mean->data ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        float *values = lit.data;
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t n = 0; n < total; n++) {
            const float value = (float)v[n] * per_unit + offset;
            values[n] = value < dimmest ? 0 : value;
        }
        status = kf_reduce(work, &lit, factor, mean);
    }
    kf_work_give(work, lit.data);
    return status;
}

// The block whose middle lies before voxel i, and the share of the next one.
static int64_t block_before(int64_t i, int64_t factor, int64_t blocks, float *share, int64_t *next)
{
    const float at = ((float)i + 0.5f) / (float)factor - 0.5f, last = (float)(blocks - 1);
    const float within = at < 0 ? 0 : at > last ? last : at;
    const int64_t low = (int64_t)within;
    *share = within - (float)low;
    *next = low + 1 < blocks;
    return low;
}

// Multiplies the image by what lies between the blocks' factors.
static void multiply(const struct kf_work *work, const struct kf_reg_units *units, const struct kf_volume *image,
                     const int64_t factor[3], const struct kf_volume *blocks)
{
    const int64_t *dim = image->grid.dim, *many = blocks->grid.dim;
    const float *by = blocks->data, zero = (float)(units->offset * units->scale);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t row = 0; row < dim[1] * dim[2]; row++) {
        int16_t *v = (int16_t *)image->data + row * dim[0];
        float ty, tz;
        int64_t next_y, next_z, next_x, y = block_before(row % dim[1], factor[1], many[1], &ty, &next_y),
                                        z = block_before(row / dim[1], factor[2], many[2], &tz, &next_z);
        const float *front = by + many[0] * (y + many[1] * z);
        next_y *= many[0];
        next_z *= many[0] * many[1];
        for (int64_t i = 0; i < dim[0]; i++) {
            float t, ends[2];
            const float *p = front + block_before(i, factor[0], many[0], &t, &next_x);
            for (int e = 0; e < 2; e++, p += next_x) {
                const float near = p[0] + ty * (p[next_y] - p[0]);
                ends[e] = near + tz * (p[next_z] + ty * (p[next_y + next_z] - p[next_z]) - near);
            }
            const float all = ends[0] + t * (ends[1] - ends[0]), even = (float)v[i] * all + zero * (all - 1);
            v[i] = (int16_t)((int)((even < -32768 ? -32768 : even > 32767 ? 32767 : even) + 32768.5f) - 32768);
        }
    }
}

// The gain changes over centimetres: it is found in blocks, and known between them.
static enum kf_kernel_status even_gain(const struct kf_work *work, const struct kf_reg_units *units,
                                       const struct kf_volume *image, int64_t *count)
{
    struct kf_volume blocks = {.data = NULL};
    struct kf_bias_settings settings;
    struct kf_work quiet = *work;
    int64_t factor[3];
    quiet.progress = NULL;
    count_values(image, count);
    const double least = dark(units, count);
    if (least < 0)
        return KF_KERNEL_OK;
    for (int a = 0; a < 3; a++) {
        const double wanted = floor(BLOCK_MM / image->grid.spacing_mm[a] + 0.5);
        factor[a] = wanted < 1 ? 1 : wanted > (double)image->grid.dim[a] ? image->grid.dim[a] : (int64_t)wanted;
    }
    enum kf_kernel_status status = take_blocks(&quiet, units, image, least, factor, &blocks);
    const int64_t many = status ? 0 : kf_grid_voxels(&blocks.grid);
    float *field = status ? NULL : kf_work_take(work, 4 * many);
    if (!status && !field)
        status = KF_KERNEL_NOMEM;
    if (!status) {
        kf_bias_defaults(&settings);
        settings.step_mm = 1e-3; // each block as it is
        settings.iterations = 20;
        status = kf_bias_find(&quiet, &blocks, NULL, &settings, field, NULL);
    }
    for (int64_t n = 0; n < many && !status; n++)
        ((float *)blocks.data)[n] = (float)kf_exp(-(double)field[n]);
    if (!status)
        multiply(work, units, image, factor, &blocks);
    kf_work_give(work, field);
    kf_work_give(work, blocks.data);
    return status;
}

// The share of the scale below each of BINS bins between the values `low` and `high`.
static void find_shares(const int64_t *count, int low, int high, double shares[BINS + 1])
{
    double common[BINS] = {0}, sum = 0;
    for (int i = low; i <= high; i++)
        common[(int64_t)(i - low) * BINS / (high - low + 1)] += (double)count[i];
    for (int b = 0; b < BINS; b++) {
        double mean = 0, weight = 0;
        for (int k = -SPREAD; k <= SPREAD; k++)
            if (b + k >= 0 && b + k < BINS) {
                double w = kf_exp(-k * k / 8.0);
                mean += w * common[b + k];
                weight += w;
            }
        shares[b] = sum;
        sum += kf_pow(mean / weight, EVENNESS);
    }
    shares[BINS] = sum;
    for (int b = 0; b <= BINS; b++)
        shares[b] /= sum;
}

// KF_KERNEL_INVALID: one value only.
static enum kf_kernel_status apply_scale(const struct kf_work *work, const struct kf_volume *image, int64_t *count,
                                         int16_t *level)
{
    const int64_t total = kf_grid_voxels(&image->grid);
    int16_t *v = image->data;
    count_values(image, count);
    int low = 0, high = VALUES - 1;
    for (int64_t below = 0; low < high && below + count[low] <= total / LEAVE; low++)
        below += count[low];
    for (int64_t above = 0; high > low && above + count[high] <= total / LEAVE; high--)
        above += count[high];
    if (low == high)
        return KF_KERNEL_INVALID;
    double shares[BINS + 1];
    find_shares(count, low, high, shares);
    for (int i = 0; i < VALUES; i++) {
        double at = (i - low) * (double)BINS / (high - low + 1);
        at = at < 0 ? 0 : at > BINS - 1e-6 ? BINS - 1e-6 : at;
        double share = shares[(int)at] + (at - (int)at) * (shares[(int)at + 1] - shares[(int)at]);
        level[i] = (int16_t)(share * ((KF_LEVELS - 1) * KF_LEVEL_UNIT - 1));
    }
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t n = 0; n < total; n++)
        v[n] = level[v[n] + 32768];
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_levels_make(const struct kf_work *work, const struct kf_reg_units *units,
                                     struct kf_volume *image)
{
    const int64_t total = kf_grid_voxels(&image->grid);
    int16_t *calm = kf_work_take(work, 2 * total), *level = kf_work_take(work, VALUES * 2);
    int64_t *count = kf_work_take(work, VALUES * (int64_t)sizeof *count);
    enum kf_kernel_status status = calm && level && count ? even_gain(work, units, image, count) : KF_KERNEL_NOMEM;
    struct kf_work quiet = *work;
    quiet.progress = NULL;
    const double *size = image->grid.spacing_mm;
    const int is_thick = size[0] > THICK_MM || size[1] > THICK_MM || size[2] > THICK_MM;
    if (!status && !is_thick)
        status = kf_median3(&quiet, image, calm);
    if (!status && !is_thick)
        memcpy(image->data, calm, (size_t)(2 * total));
    if (!status)
        status = apply_scale(work, image, count, level);
    kf_work_give(work, count);
    kf_work_give(work, level);
    kf_work_give(work, calm);
    return status;
}
