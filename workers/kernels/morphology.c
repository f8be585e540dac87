// A ball is a stack of runs along i: rows are widened once for every half-width that occurs, and each row of the
// result is the union of widened neighbour rows. Cost per output row: the number of rows under the ball.
#include "workers/kernels/bits.h"

#include <string.h>

#define REACH_MAX 64 // voxels on an axis

// out = row | row << n | row >> n and all shifts between, by doubling.
static void widen_row(const uint64_t *row, int64_t words, int64_t half, uint64_t *out, uint64_t *spare)
{
    memcpy(out, row, (size_t)words * sizeof *row);
    for (int64_t done = 0; done < half;) {
        int64_t step = done + done + 1 <= half ? done + 1 : half - done;
        if (step > 63)
            step = 63;
        memcpy(spare, out, (size_t)words * sizeof *row);
        for (int64_t w = 0; w < words; w++) {
            uint64_t left = spare[w] << step, right = spare[w] >> step;
            if (w > 0)
                left |= spare[w - 1] >> (64 - step);
            if (w + 1 < words)
                right |= spare[w + 1] << (64 - step);
            out[w] |= left | right;
        }
        done += step;
    }
}

struct ball {
    int64_t reach[3];
    // half-width along i of the run at (dj, dk), -1 outside of the ball
    int8_t half[2 * REACH_MAX + 1][2 * REACH_MAX + 1];
};

static enum kf_kernel_status make_ball(const double spacing_mm[3], double radius_mm, struct ball *ball)
{
    for (int a = 0; a < 3; a++) {
        if (!(spacing_mm[a] > 0) || !(radius_mm >= 0) || radius_mm / spacing_mm[a] >= REACH_MAX)
            return KF_KERNEL_INVALID;
        // A hair of tolerance, so that 2 mm on a 0.4 mm grid reaches five voxels whatever the rounding.
        ball->reach[a] = (int64_t)(radius_mm / spacing_mm[a] + 1e-9);
    }
    for (int64_t dk = -ball->reach[2]; dk <= ball->reach[2]; dk++)
        for (int64_t dj = -ball->reach[1]; dj <= ball->reach[1]; dj++) {
            double y = (double)dj * spacing_mm[1], z = (double)dk * spacing_mm[2];
            double rest = radius_mm * radius_mm - y * y - z * z;
            int64_t half = rest < -1e-9 ? -1 : (int64_t)(__builtin_sqrt(rest > 0 ? rest : 0) / spacing_mm[0] + 1e-9);
            ball->half[dk + REACH_MAX][dj + REACH_MAX] = (int8_t)half;
        }
    return KF_KERNEL_OK;
}

// wide[h·volume + …] holds the mask widened by h, for each h in 0…reach[0].
static void widen_all(const struct kf_work *work, const struct kf_bits *bits, int64_t reach, uint64_t *wide,
                      uint64_t *spare)
{
    int64_t words = bits->words, slice = words * bits->dim[1], volume = slice * bits->dim[2];
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < bits->dim[2]; k++)
        for (int64_t j = 0; j < bits->dim[1]; j++) {
            int64_t at = k * slice + j * words;
            for (int64_t h = 0; h <= reach; h++)
                widen_row(bits->word + at, words, h, wide + h * volume + at, spare + k * words);
        }
}

static void unite_ball(const struct kf_bits *bits, const struct ball *ball, const uint64_t *wide, int64_t j, int64_t k)
{
    int64_t words = bits->words, slice = words * bits->dim[1], volume = slice * bits->dim[2];
    uint64_t *row = kf_bits_row(bits, j, k);
    memset(row, 0, (size_t)words * sizeof *row);
    for (int64_t dk = -ball->reach[2]; dk <= ball->reach[2]; dk++)
        for (int64_t dj = -ball->reach[1]; dj <= ball->reach[1]; dj++) {
            int64_t half = ball->half[dk + REACH_MAX][dj + REACH_MAX], y = j + dj, z = k + dk;
            if (half < 0 || y < 0 || y >= bits->dim[1] || z < 0 || z >= bits->dim[2])
                continue;
            const uint64_t *from = wide + half * volume + z * slice + y * words;
            for (int64_t w = 0; w < words; w++)
                row[w] |= from[w];
        }
    if (bits->dim[0] % 64)
        row[words - 1] &= ((uint64_t)1 << (bits->dim[0] % 64)) - 1;
}

enum kf_kernel_status kf_bits_dilate(const struct kf_work *work, struct kf_bits *bits, const double spacing_mm[3],
                                     double radius_mm)
{
    struct ball *ball = kf_work_take(work, (int64_t)sizeof *ball);
    if (!ball)
        return KF_KERNEL_NOMEM;
    enum kf_kernel_status status = make_ball(spacing_mm, radius_mm, ball);
    uint64_t *wide = NULL, *spare = NULL;
    if (!status) {
        int64_t volume = bits->words * bits->dim[1] * bits->dim[2];
        wide = kf_work_take(work, (ball->reach[0] + 1) * volume * (int64_t)sizeof *wide);
        spare = kf_work_take(work, bits->words * bits->dim[2] * (int64_t)sizeof *spare);
        status = wide && spare ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    }
    if (!status) {
        widen_all(work, bits, ball->reach[0], wide, spare);
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t k = 0; k < bits->dim[2]; k++)
            for (int64_t j = 0; j < bits->dim[1]; j++)
                unite_ball(bits, ball, wide, j, k);
        if (kf_work_step(work, 1))
            status = KF_KERNEL_CANCELLED;
    }
    kf_work_give(work, wide);
    kf_work_give(work, spare);
    kf_work_give(work, ball);
    return status;
}

enum kf_kernel_status kf_bits_erode(const struct kf_work *work, struct kf_bits *bits, const double spacing_mm[3],
                                    double radius_mm)
{
    kf_bits_invert(work, bits);
    enum kf_kernel_status status = kf_bits_dilate(work, bits, spacing_mm, radius_mm);
    kf_bits_invert(work, bits);
    return status;
}

enum kf_kernel_status kf_bits_close(const struct kf_work *work, struct kf_bits *bits, const double spacing_mm[3],
                                    double radius_mm)
{
    enum kf_kernel_status status = kf_bits_dilate(work, bits, spacing_mm, radius_mm);
    return status ? status : kf_bits_erode(work, bits, spacing_mm, radius_mm);
}

enum kf_kernel_status kf_bits_open(const struct kf_work *work, struct kf_bits *bits, const double spacing_mm[3],
                                   double radius_mm)
{
    enum kf_kernel_status status = kf_bits_erode(work, bits, spacing_mm, radius_mm);
    return status ? status : kf_bits_dilate(work, bits, spacing_mm, radius_mm);
}
