// Self-similarity context descriptors and how far they are from each other.
#include "workers/kernels/register_deform_inside.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define SHIFTS 6
#define FLOOR  0.01f // of the image's mean difference: what is less than that is noise

// The six differences between neighbours of a voxel that touch along an edge. Pair (a, a + shift) of neighbours; each
// shift serves two pairs.
static const int shift_of[SHIFTS][3] = {{1, 1, 0}, {1, -1, 0}, {1, 0, 1}, {1, 0, -1}, {0, 1, 1}, {0, 1, -1}};
static const int start_of[SHIFTS][2][3] = {{{-1, 0, 0}, {0, -1, 0}}, {{-1, 0, 0}, {0, 1, 0}},  {{-1, 0, 0}, {0, 0, -1}},
                                           {{-1, 0, 0}, {0, 0, 1}},  {{0, -1, 0}, {0, 0, -1}}, {{0, -1, 0}, {0, 0, 1}}};

static int64_t within(int64_t at, int64_t n)
{
    return at < 0 ? 0 : at >= n ? n - 1 : at;
}

// Squared differences along a shift, summed over 3×3 voxels of a slice.
static void slice_of_shift(const struct kf_volume *in, const int shift[3], int64_t k, float *rows, float *out)
{
    const int64_t *dim = in->grid.dim;
    const int16_t *voxels = in->data;
    const int16_t *other = voxels + dim[0] * dim[1] * within(k + shift[2], dim[2]);
    voxels += dim[0] * dim[1] * k;
    for (int64_t j = 0; j < dim[1]; j++) {
        const int16_t *a = voxels + dim[0] * j, *b = other + dim[0] * within(j + shift[1], dim[1]);
        float *row = rows + dim[0] * j;
        for (int64_t i = 0; i + shift[0] < dim[0]; i++) {
            float d = (float)a[i] - (float)b[i + shift[0]];
            row[i] = d * d;
        }
        if (shift[0]) {
            float d = (float)a[dim[0] - 1] - (float)b[dim[0] - 1];
            row[dim[0] - 1] = d * d;
        }
        float before = row[0];
        for (int64_t i = 0; i < dim[0]; i++) {
            float here = row[i];
            row[i] = before + here + row[i + 1 < dim[0] ? i + 1 : i];
            before = here;
        }
    }
    for (int64_t j = 0; j < dim[1]; j++) {
        const float *a = rows + dim[0] * within(j - 1, dim[1]), *b = rows + dim[0] * j,
                    *c = rows + dim[0] * within(j + 1, dim[1]);
        for (int64_t i = 0; i < dim[0]; i++)
            out[dim[0] * j + i] = a[i] + b[i] + c[i];
    }
}

// exp(-t) for t ≥ 0 to a hundredth, by plain arithmetic.
static inline float fall(float t)
{
    float r = 1 - t * (1.0f / 16);
    r = r > 0 ? r : 0;
    r *= r;
    r *= r;
    r *= r;
    return r * r;
}

// The descriptors of one row from the differences of all shifts.
static void describe_row(const float *const *at, int64_t first, int64_t n, float least, uint8_t *out)
{
    for (int64_t i = 0; i < n; i++, out += KF_MIND_BYTES) {
        float value[12], low = 3e38f, sum = 0;
        for (int c = 0; c < 12; c++) {
            value[c] = at[c][first + i];
            low = value[c] < low ? value[c] : low;
            sum += value[c];
        }
        float scale = 1 / (sum * (1.0f / 12) + least);
        for (int c = 0; c < 12; c++)
            out[c] = (uint8_t)(255 * fall((value[c] - low) * scale) + 0.5f);
        memset(out + 12, 0, 4);
    }
}

void kf_mind(const struct kf_work *work, const struct kf_volume *in, float *scratch, uint8_t *out)
{
    const int64_t *dim = in->grid.dim, slice = dim[0] * dim[1], total = slice * dim[2];
    float *flat = scratch + SHIFTS * total;
    for (int s = 0; s < SHIFTS; s++) {
        float *sums = scratch + s * total;
        // The z sums read `flat`; until then `sums` is scratch for the rows.
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t k = 0; k < dim[2]; k++)
            slice_of_shift(in, shift_of[s], k, sums + slice * k, flat + slice * k);
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t k = 0; k < dim[2]; k++) {
            const float *a = flat + slice * within(k - 1, dim[2]), *b = flat + slice * k,
                        *c = flat + slice * within(k + 1, dim[2]);
            for (int64_t n = 0; n < slice; n++)
                sums[slice * k + n] = a[n] + b[n] + c[n];
        }
    }
    double mean = 0;
    for (int64_t k = 0; k < dim[2]; k++) { // in memory order: the same for any number of threads
        float lane[8] = {0};
        for (int64_t n = 0; n + 8 <= slice; n += 8)
            for (int l = 0; l < 8; l++)
                lane[l] += scratch[slice * k + n + l];
        for (int l = 0; l < 8; l++)
            mean += (double)lane[l];
    }
    float least = FLOOR * (float)(mean / (double)total) + 1e-3f;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t row = 0; row < dim[1] * dim[2]; row++) {
        int64_t j = row % dim[1], k = row / dim[1];
        for (int64_t i = 0; i < dim[0]; i++) {
            const float *at[12];
            int inner = i > 0 && i + 1 < dim[0];
            int64_t n = inner ? dim[0] - 2 : 1;
            for (int c = 0; c < 12; c++) {
                const int *o = start_of[c / 2][c % 2];
                int64_t at_i = inner ? i + o[0] : within(i + o[0], dim[0]);
                at[c] = scratch + c / 2 * total + slice * within(k + o[2], dim[2]) + dim[0] * within(j + o[1], dim[1]) +
                        at_i;
            }
            describe_row(at, 0, n, least, out + KF_MIND_BYTES * (row * dim[0] + i));
            i += n - 1;
        }
    }
}

static inline uint32_t distance(const uint8_t *a, const uint8_t *b)
{
#if defined(__SSE2__)
    __m128i both = _mm_sad_epu8(_mm_loadu_si128((const void *)a), _mm_loadu_si128((const void *)b));
    return (uint32_t)(_mm_cvtsi128_si32(both) + _mm_cvtsi128_si32(_mm_srli_si128(both, 8)));
#else
    uint32_t sum = 0;
    for (int c = 0; c < KF_MIND_BYTES; c++)
        sum += (uint32_t)(a[c] > b[c] ? a[c] - b[c] : b[c] - a[c]);
    return sum;
#endif
}

double kf_mind_difference(const uint8_t *a, const uint8_t *b, const uint8_t *valid, int64_t voxels)
{
    uint64_t sum = 0, count = 0;
    for (int64_t n = 0; n < voxels; n++)
        if (valid[n]) {
            sum += distance(a + KF_MIND_BYTES * n, b + KF_MIND_BYTES * n);
            count++;
        }
    return count ? (double)sum / (double)(count * KF_MIND_MOST) : -1;
}
