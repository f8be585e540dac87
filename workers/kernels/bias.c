// kf_bias_find: block means, sharpening, fitting, level by level; then the field at full size.
#include "workers/kernels/bias_inside.h"
#include "workers/kernels/image.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <string.h>

#define LEVELS_MOST 6
#define USED_LEAST  100
#define BINS        200 // of the histogram
#define PADDED      512 // circular length of the deconvolution: no wrap from one end of the histogram to the other

// Of one slice of blocks. Slices are added up in order, whatever thread they came from.
struct slice_sums {
    double low, high;   // corrected logarithms
    double sum, square; // of the field's change
    double histogram[BINS];
};

struct estimate {
    struct kf_volume mean; // block means, float32
    uint8_t *use;          // per block
    float *log_value, *field, *rest;
    struct slice_sums *slice;
    int64_t used;
    struct kf_bias_net sum[LEVELS_MOST]; // what each level found, all its iterations together
    int levels;
};

void kf_bias_defaults(struct kf_bias_settings *settings)
{
    *settings = (struct kf_bias_settings){
        .step_mm = 4, .levels = 3, .iterations = 50, .fwhm = 0.15, .narrow = 0.85, .noise = 0.01, .stop = 0.0005};
}

// ---- sharpening ----

// Gaussian of the given width in bins around 0, wrapped, and its transform, which is real as it is symmetric.
static void blur_and_transform(double fwhm_bins, const double cosine[PADDED], double blur[PADDED],
                               double transform[PADDED])
{
    double rate = 4 * 0.69314718055994531 / (fwhm_bins * fwhm_bins), sum = 0;
    for (int n = 0; n < PADDED; n++) {
        int d = n < PADDED / 2 ? n : PADDED - n;
        blur[n] = kf_exp(-rate * d * d);
        sum += blur[n];
    }
    for (int n = 0; n < PADDED; n++)
        blur[n] /= sum;
    for (int f = 0; f < PADDED; f++) {
        double t = 0;
        for (int n = 0; n < PADDED; n++)
            t += blur[n] * cosine[f * n % PADDED];
        transform[f] = t;
    }
}

// sharp[n] = what a voxel with the value of bin n is expected to be without the field. `step` is the width of a bin.
static void sharpen(const double histogram[BINS], double low, double step, double fwhm, double noise,
                    double sharp[BINS])
{
    double cosine[PADDED], blur[PADDED], transform[PADDED], filter[PADDED], true_share[PADDED];
    int before = (PADDED - BINS) / 2;
    for (int n = 0; n < PADDED; n++)
        cosine[n] = kf_cos(2 * KF_PI * n / PADDED);
    blur_and_transform(fwhm / step, cosine, blur, transform);
    for (int n = 0; n < PADDED; n++) { // the Wiener filter, back in bins
        double t = 0;
        for (int f = 0; f < PADDED; f++)
            t += transform[f] / (transform[f] * transform[f] + noise) * cosine[f * n % PADDED];
        filter[n] = t / PADDED;
    }
    for (int n = 0; n < PADDED; n++) {
        double t = 0;
        for (int m = 0; m < BINS; m++)
            t += histogram[m] * filter[(n - m - before + PADDED) % PADDED];
        true_share[n] = t > 0 ? t : 0;
    }
    for (int n = 0; n < BINS; n++) {
        double value = 0, share = 0;
        for (int m = 0; m < PADDED; m++) {
            double b = true_share[m] * blur[(n + before - m + PADDED) % PADDED];
            value += b * (low + (m - before) * step);
            share += b;
        }
        sharp[n] = share > 0 ? value / share : low + n * step;
    }
}

// A corrected logarithm among the bins: between *bin and the next, at the share that is returned.
static inline double bin_of(double value, double low, double per_step, int *bin)
{
    double at = (value - low) * per_step;
    *bin = (int)at < BINS - 2 ? (int)at : BINS - 2;
    return at - *bin;
}

// rest = the corrected logarithms; their range.
static void correct(const struct kf_work *work, struct estimate *e, double *low, double *high)
{
    const int64_t slices = e->mean.grid.dim[2], size = kf_grid_voxels(&e->mean.grid) / slices;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < slices; k++) {
        double least = 1e30, most = -1e30;
        for (int64_t n = k * size; n < (k + 1) * size; n++) {
            double v = (double)(e->rest[n] = e->log_value[n] - e->field[n]);
            least = e->use[n] && v < least ? v : least;
            most = e->use[n] && v > most ? v : most;
        }
        e->slice[k].low = least;
        e->slice[k].high = most;
    }
    *low = 1e30;
    *high = -1e30;
    for (int64_t k = 0; k < slices; k++) {
        *low = e->slice[k].low < *low ? e->slice[k].low : *low;
        *high = e->slice[k].high > *high ? e->slice[k].high : *high;
    }
}

static void count(const struct kf_work *work, struct estimate *e, double low, double per_step, double histogram[BINS])
{
    const int64_t slices = e->mean.grid.dim[2], size = kf_grid_voxels(&e->mean.grid) / slices;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < slices; k++) {
        double own[BINS] = {0};
        for (int64_t n = k * size; n < (k + 1) * size; n++)
            if (e->use[n]) {
                int bin;
                double share = bin_of((double)e->rest[n], low, per_step, &bin);
                own[bin] += 1 - share, own[bin + 1] += share;
            }
        memcpy(e->slice[k].histogram, own, sizeof own);
    }
    memset(histogram, 0, BINS * sizeof *histogram);
    for (int64_t k = 0; k < slices; k++)
        for (int n = 0; n < BINS; n++)
            histogram[n] += e->slice[k].histogram[n];
}

// rest = corrected logarithm − its expected sharp value.
static void find_rest(const struct kf_work *work, struct estimate *e, double fwhm, double noise)
{
    const int64_t blocks = kf_grid_voxels(&e->mean.grid);
    double low, high, histogram[BINS], sharp[BINS];
    correct(work, e, &low, &high);
    double step = (high - low) / (BINS - 1), per_step = 1 / step;
    if (!(step > 1e-9)) {
        memset(e->rest, 0, (size_t)blocks * sizeof *e->rest);
        return;
    }
    count(work, e, low, per_step, histogram);
    sharpen(histogram, low, step, fwhm, noise, sharp);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t n = 0; n < blocks; n++)
        if (e->use[n]) {
            int bin;
            double v = (double)e->rest[n], share = bin_of(v, low, per_step, &bin);
            e->rest[n] = (float)(v - (sharp[bin] + share * (sharp[bin + 1] - sharp[bin])));
        }
}

// ---- levels ----

// Standard deviation of the field's change, exp of it taken as 1 + it.
static double change(const struct kf_work *work, const struct estimate *e, const float *before)
{
    const int64_t slices = e->mean.grid.dim[2], size = kf_grid_voxels(&e->mean.grid) / slices;
    double sum = 0, square = 0, n_used = (double)e->used;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < slices; k++) {
        struct slice_sums *own = &e->slice[k];
        own->sum = own->square = 0;
        for (int64_t n = k * size; n < (k + 1) * size; n++)
            if (e->use[n]) {
                double d = (double)(e->field[n] - before[n]);
                own->sum += d, own->square += d * d;
            }
    }
    for (int64_t k = 0; k < slices; k++)
        sum += e->slice[k].sum, square += e->slice[k].square;
    double spread = square / n_used - sum / n_used * (sum / n_used);
    return spread > 0 ? sqrt(spread) : 0;
}

static enum kf_kernel_status fit_level(const struct kf_work *work, struct estimate *e, const struct kf_bias_settings *s,
                                       int level, double fwhm)
{
    struct kf_bias_net net;
    int64_t points, blocks = kf_grid_voxels(&e->mean.grid);
    enum kf_kernel_status status = kf_bias_net_make(work, e->mean.grid.dim, 1 << level, e->use, &e->sum[level]);
    if (status)
        return status;
    e->levels = level + 1;
    status = kf_bias_net_make(work, e->mean.grid.dim, 1 << level, e->use, &net);
    if (status)
        return status;
    points = net.points * net.points * net.points;
    memset(e->sum[level].point, 0, (size_t)points * sizeof(double));
    for (int n = 0; n < s->iterations && !status; n++) {
        find_rest(work, e, fwhm, s->noise);
        kf_bias_net_fit(work, &net, e->use, e->rest);
        memcpy(e->rest, e->field, (size_t)blocks * sizeof *e->rest);
        kf_bias_net_add(work, &net, e->field);
        for (int64_t p = 0; p < points; p++)
            e->sum[level].point[p] += net.point[p];
        if (kf_work_step(work, ((double)level + (double)n / s->iterations) / s->levels))
            status = KF_KERNEL_CANCELLED;
        if (change(work, e, e->rest) < s->stop)
            break;
    }
    kf_work_give(work, net.block);
    return status;
}

// ---- in and out ----

static double value_at(const struct kf_volume *v, int64_t n)
{
    return v->type == KF_VOXEL_INT16 ? ((const int16_t *)v->data)[n] : (double)((const float *)v->data)[n];
}

static enum kf_kernel_status take_blocks(const struct kf_work *work, const struct kf_volume *in,
                                         const struct kf_bits *mask, const int64_t factor[3], struct estimate *e)
{
    kf_reduce_grid(&in->grid, factor, &e->mean.grid);
    e->mean.type = in->type;
    int64_t count = kf_grid_voxels(&e->mean.grid);
    const int64_t *dim = e->mean.grid.dim;
    e->mean.data = kf_work_take(work, count * kf_voxel_bytes(in->type));
    e->use = kf_work_take(work, count);
    e->log_value = kf_work_take(work, count * (int64_t)sizeof(float));
    e->field = kf_work_take(work, count * (int64_t)sizeof(float));
    e->rest = kf_work_take(work, count * (int64_t)sizeof(float));
    e->slice = kf_work_take(work, dim[2] * (int64_t)sizeof *e->slice);
    if (!e->mean.data || !e->use || !e->log_value || !e->field || !e->rest || !e->slice)
        return KF_KERNEL_NOMEM;
    enum kf_kernel_status status = kf_reduce(work, in, factor, &e->mean);
    for (int64_t k = 0, n = 0; k < dim[2] && !status; k++) {
        status = kf_work_step(work, 0) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++, n++) {
                int64_t at[3] = {i, j, k};
                for (int a = 0; a < 3; a++) { // the block's middle voxel speaks for it
                    at[a] = at[a] * factor[a] + factor[a] / 2;
                    at[a] = at[a] < in->grid.dim[a] ? at[a] : in->grid.dim[a] - 1;
                }
                double v = value_at(&e->mean, n);
                e->use[n] = v > 0 && v < 1e30 && (!mask || kf_bits_get(mask, at[0], at[1], at[2]));
                e->log_value[n] = e->use[n] ? (float)kf_ln(v) : 0;
                e->field[n] = 0;
                e->used += e->use[n];
            }
    }
    return status;
}

static double mean_field(const struct estimate *e)
{
    int64_t count = kf_grid_voxels(&e->mean.grid);
    double sum = 0;
    for (int64_t n = 0; n < count; n++)
        sum += e->use[n] ? (double)e->field[n] : 0;
    return sum / (double)e->used;
}

// All levels at every voxel. A block's centre lies between its voxels' centres. 1: cancelled.
static int enlarge(const struct kf_work *work, const struct kf_volume *in, const int64_t factor[3],
                   const struct estimate *e, float *log_field)
{
    const int64_t *dim = in->grid.dim;
    double scale[3], start[3], mean = mean_field(e);
    for (int a = 0; a < 3; a++) {
        double blocks = (double)(e->mean.grid.dim[a] - 1);
        scale[a] = blocks > 0 ? 1 / ((double)factor[a] * blocks) : 0;
        start[a] = -0.5 * (double)(factor[a] - 1) * scale[a];
    }
    struct kf_loop loop = kf_loop_make(work, dim[2], 1, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0, stop = kf_loop_stop(&loop); j < dim[1] && !stop; j++) {
            float *row = log_field + (k * dim[1] + j) * dim[0];
            for (int64_t i = 0; i < dim[0]; i++)
                row[i] = (float)-mean;
            for (int l = 0; l < e->levels; l++)
                kf_bias_net_row(&e->sum[l], start[0], scale[0], start[1] + (double)j * scale[1],
                                start[2] + (double)k * scale[2], dim[0], row);
        }
    return loop.stop;
}

static int bad_arguments(const struct kf_volume *in, const struct kf_bits *mask, const struct kf_bias_settings *s)
{
    for (int a = 0; a < 3; a++)
        if (in->grid.dim[a] < 1 || !(in->grid.spacing_mm[a] > 0) || (mask && mask->dim[a] != in->grid.dim[a]))
            return 1;
    return (in->type != KF_VOXEL_INT16 && in->type != KF_VOXEL_FLOAT32) || s->levels < 1 || s->levels > LEVELS_MOST ||
           s->iterations < 1 || s->iterations > 1000 || !(s->step_mm > 0) || !(s->fwhm > 0) ||
           !(s->narrow > 0 && s->narrow <= 1) || !(s->noise > 0) || !(s->stop > 0);
}

enum kf_kernel_status kf_bias_find(const struct kf_work *work, const struct kf_volume *in, const struct kf_bits *mask,
                                   const struct kf_bias_settings *s, float *log_field, int64_t *used)
{
    if (bad_arguments(in, mask, s))
        return KF_KERNEL_INVALID;
    struct estimate e = {.used = 0};
    int64_t factor[3];
    for (int a = 0; a < 3; a++) {
        double wanted = floor(s->step_mm / in->grid.spacing_mm[a] + 0.5);
        factor[a] = wanted < 1 ? 1 : wanted > (double)in->grid.dim[a] ? in->grid.dim[a] : (int64_t)wanted;
    }
    enum kf_kernel_status status = take_blocks(work, in, mask, factor, &e);
    double fwhm = s->fwhm;
    for (int level = 0; level < s->levels && !status && e.used >= USED_LEAST; level++, fwhm *= s->narrow)
        status = fit_level(work, &e, s, level, fwhm);
    if (!status && e.used >= USED_LEAST)
        status = enlarge(work, in, factor, &e, log_field) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
    else if (!status)
        memset(log_field, 0, (size_t)kf_grid_voxels(&in->grid) * sizeof *log_field);
    if (used)
        *used = e.used;
    for (int level = 0; level < e.levels; level++)
        kf_work_give(work, e.sum[level].block);
    kf_work_give(work, e.slice);
    kf_work_give(work, e.rest);
    kf_work_give(work, e.field);
    kf_work_give(work, e.log_value);
    kf_work_give(work, e.use);
    kf_work_give(work, e.mean.data);
    return status;
}

enum kf_kernel_status kf_bias_apply(const struct kf_work *work, const struct kf_volume *in, const float *log_field,
                                    float *out)
{
    int64_t count = kf_grid_voxels(&in->grid);
    if (in->type != KF_VOXEL_INT16 && in->type != KF_VOXEL_FLOAT32)
        return KF_KERNEL_INVALID;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t n = 0; n < count; n++)
        out[n] = (float)(value_at(in, n) * kf_exp(-(double)log_field[n]));
    return KF_KERNEL_OK;
}
