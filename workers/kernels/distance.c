// Signed squared distances axis by axis, in place: the value of a voxel is the squared distance to the nearest voxel of
// the other kind seen so far, with a minus inside. Both fields (to the inside, for voxels outside, and the reverse) fit
// in one, because a voxel of the other kind is at distance 0 in the field that asks. Along j and k the new value is the
// minimum over the line of (value there, 0 if of the other kind) + squared step. The result is a minimum of correctly
// rounded sums: no order of search, width of vector or thread count changes it.
#include "workers/kernels/distance.h"
#include "workers/kernels/filter.h"

#include <math.h>


struct distance {
    const struct kf_bits *bits;
    float step;        // along i
    float limit, most; // squared and plain
    float *square[3];  // of a number of steps along each axis
    float *scratch;    // per thread
    int64_t share;
    float *out;
};

static void fill_squares(float *square, int64_t n, double step)
{
    for (int64_t d = 0; d <= n; d++)
        square[d] = (float)((double)d * step * ((double)d * step));
}

// Along i and j.
static void distance_slice(const struct distance *d, int64_t k, float *scratch)
{
    const struct kf_filter_table *table = kf_filters();
    const int64_t *dim = d->bits->dim;
    float *slice = d->out + k * dim[0] * dim[1];
    for (int64_t j = 0; j < dim[1]; j++)
        table->distance_row(kf_bits_row(d->bits, j, k), dim[0], d->step, d->limit, slice + j * dim[0]);
    for (int64_t i = 0; i < dim[0]; i += KF_DISTANCE_TILE) {
        int64_t width = dim[0] - i < KF_DISTANCE_TILE ? dim[0] - i : KF_DISTANCE_TILE;
        table->distance_lines(slice + i, dim[0], width, dim[1], d->square[1], 0, d->most, scratch);
    }
}

static void distance_along_k(const struct distance *d, int64_t j, float *scratch)
{
    const struct kf_filter_table *table = kf_filters();
    const int64_t *dim = d->bits->dim;
    for (int64_t i = 0; i < dim[0]; i += KF_DISTANCE_TILE) {
        int64_t width = dim[0] - i < KF_DISTANCE_TILE ? dim[0] - i : KF_DISTANCE_TILE;
        table->distance_lines(d->out + j * dim[0] + i, dim[0] * dim[1], width, dim[2], d->square[2], 1, d->most,
                              scratch);
    }
}

// One axis of work; progress runs from `from` by `part`.
static enum kf_kernel_status distance_pass(const struct kf_work *work, const struct distance *d, int64_t n,
                                           void (*treat)(const struct distance *, int64_t, float *), double from,
                                           double part)
{
    int64_t blocks = work->threads;
    struct kf_loop loop = kf_loop_make(work, n, from, from + part);
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t at = b; at < n && !kf_loop_stop(&loop); at += blocks)
            treat(d, at, d->scratch + b * d->share);
    return loop.stop || kf_work_step(work, from + part) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

enum kf_kernel_status kf_distance(const struct kf_work *work, const struct kf_bits *bits, const double spacing_mm[3],
                                  double band_mm, float *out)
{
    const int64_t *dim = bits->dim;
    int64_t longest = dim[1] > dim[2] ? dim[1] : dim[2];
    if (!(band_mm >= 0 && band_mm < 1e15))
        return KF_KERNEL_INVALID;
    for (int a = 0; a < 3; a++)
        if (!(spacing_mm[a] > 1e-9 && spacing_mm[a] < 1e9) || dim[a] < 1 || dim[a] > 32767)
            return KF_KERNEL_INVALID;
    struct distance d = {.bits = bits, .step = (float)spacing_mm[0], .out = out};
    d.most = band_mm > 0 ? (float)band_mm : INFINITY;
    d.limit = d.most * d.most;
    d.share = (longest + 2 * ((longest + KF_DISTANCE_BLOCK - 1) / KF_DISTANCE_BLOCK)) * KF_DISTANCE_TILE;
    int64_t squares = (longest + 16) / 16 * 16;
    float *memory = kf_work_take(work, (2 * squares + work->threads * d.share) * (int64_t)sizeof *memory);
    if (!memory)
        return KF_KERNEL_NOMEM;
    d.square[1] = memory;
    d.square[2] = memory + squares;
    d.scratch = memory + 2 * squares;
    fill_squares(d.square[1], dim[1], spacing_mm[1]);
    fill_squares(d.square[2], dim[2], spacing_mm[2]);
    enum kf_kernel_status status = distance_pass(work, &d, dim[2], distance_slice, 0, 0.5);
    if (!status)
        status = distance_pass(work, &d, dim[1], distance_along_k, 0.5, 0.5);
    kf_work_give(work, memory);
    return status;
}
