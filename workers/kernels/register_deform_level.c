// From values to levels: what two images are compared in.
#include "workers/kernels/bias.h"
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
#define NEGATIVE 1000 // an image with more than one negative voxel in so many has no coil's gain

static double physical(const struct kf_reg_units *units, int16_t value)
{
    return (double)value / units->scale + units->offset;
}

// Below half of the mean of what is brighter than the mean: air and bone, which do not show the gain.
static double dark(const struct kf_reg_units *units, const int16_t *v, int64_t total)
{
    double sum[2] = {0}, count = 0;
    for (int64_t n = 0; n < total; n++)
        sum[0] += physical(units, v[n]);
    for (int64_t n = 0; n < total; n++)
        if (physical(units, v[n]) > sum[0] / (double)total) {
            sum[1] += physical(units, v[n]);
            count++;
        }
    return count > 0 ? 0.5 * sum[1] / count : 0;
}

static enum kf_kernel_status even_gain(const struct kf_work *work, const struct kf_reg_units *units,
                                       const struct kf_volume *image)
{
    const int64_t total = kf_grid_voxels(&image->grid);
    int16_t *v = image->data;
    int64_t negative = 0;
    for (int64_t n = 0; n < total; n++)
        negative += physical(units, v[n]) < 0;
    if (negative > total / NEGATIVE)
        return KF_KERNEL_OK;
    struct kf_volume lit = {.grid = image->grid, .type = KF_VOXEL_FLOAT32, .data = kf_work_take(work, 4 * total)};
    float *field = kf_work_take(work, 4 * total), *values = lit.data;
    enum kf_kernel_status status = lit.data && field ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        struct kf_bias_settings settings;
        const double least = dark(units, v, total);
        struct kf_work quiet = *work;
        quiet.progress = NULL;
        kf_bias_defaults(&settings);
        settings.step_mm = 8;
        settings.iterations = 20;
        for (int64_t n = 0; n < total; n++)
            values[n] = physical(units, v[n]) < least ? 0 : (float)physical(units, v[n]);
        status = kf_bias_find(&quiet, &lit, NULL, &settings, field, NULL);
    }
    if (!status)
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t n = 0; n < total; n++) {
            double even = (physical(units, v[n]) * kf_exp(-(double)field[n]) - units->offset) * units->scale;
            v[n] = (int16_t)rint(even < -32768 ? -32768 : even > 32767 ? 32767 : even);
        }
    kf_work_give(work, field);
    kf_work_give(work, lit.data);
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
    memset(count, 0, VALUES * sizeof *count);
    for (int64_t n = 0; n < total; n++)
        count[v[n] + 32768]++;
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
    enum kf_kernel_status status = calm && level && count ? even_gain(work, units, image) : KF_KERNEL_NOMEM;
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
