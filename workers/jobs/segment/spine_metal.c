// Metal in a CT: where it is, and its streaks reduced. See spine.h.
//
// Empirical beam hardening correction (Kyriakou, Meyer, Prell and Kachelriess 2010, Med. Phys. 37:5179): the error of a
// ray is a smooth function of how much metal it passed. What powers of that length look like, filtered and projected
// back, is computed per axial slice; the sum of them is added that leaves the least total variation in the image, one
// sum for the whole scan, for metal and beam are the same in all slices. Unlike what is interpolated over the metal's
// trace, it takes nothing of the bone that the same rays passed. What does not follow from the length of metal, as the
// noise of starved rays, stays. Metal and its blurred border then get the values that lie beside them.
//
// On pixels of COARSE_MM, for streaks are wide.
#include "workers/jobs/segment/spine.h"
#include "workers/kernels/bits.h"
#include "workers/kernels/image.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <string.h>

#define ANGLES    320
#define COARSE_MM 1.4
#define METAL_HU  2000   // half of what the least metal has; no bone of a spine is as dense
#define LEAST_MM3 100.0  // fewer are no implant
#define POWERS    3      // of a length, from its square: the first makes nothing but metal
#define LENGTH_MM 20.0   // of metal in these the powers are near one another in size
#define NEAR_MM   3.0    // of metal: its own blurred border, no streak
#define LEAST_HU  (-200) // fat and denser: beside air and lung every edge is larger than a streak
#define MOST_HU   1500
#define BLOCK     3    // pixels: differences are those of means, for lines between the angles are no streaks
#define EVEN_HU   10.0 // a difference of two means that noise makes
#define ROUNDS    12
#define BORDER_MM 1.5 // of metal, blurred: it can only brighten what it lies in
#define BESIDE_MM 2.0 // sigma of the mean that fills it

struct slices {
    struct kf_volume *volume;
    const uint8_t *metal;
    int64_t step, nx, ny, bins, count;
    double cosine[ANGLES], sine[ANGLES], *ramp, pixel_mm;
    float *image;        // nx × ny × count, HU; NAN where no difference is taken
    float *made[POWERS]; // of the same size: what a power looks like, HU
    double *sums;        // SUMS a slice
};

#define SUMS (POWERS * POWERS + POWERS)

static double hit(const struct slices *s, int a, int64_t x, int64_t y)
{
    return ((double)x - 0.5 * (double)s->nx) * s->cosine[a] + ((double)y - 0.5 * (double)s->ny) * s->sine[a] +
           0.5 * (double)s->bins;
}

// Means of step × step voxels, and how much of each is metal.
static void read_slice(const struct slices *s, int64_t k, float *image, float *metal)
{
    const int64_t *dim = s->volume->grid.dim;
    const int16_t *hu = (const int16_t *)s->volume->data + k * dim[0] * dim[1];
    const uint8_t *is_metal = s->metal + k * dim[0] * dim[1];
    for (int64_t y = 0; y < s->ny; y++)
        for (int64_t x = 0; x < s->nx; x++) {
            double sum = 0;
            int count = 0, held = 0;
            for (int64_t j = y * s->step; j < (y + 1) * s->step && j < dim[1]; j++)
                for (int64_t i = x * s->step; i < (x + 1) * s->step && i < dim[0]; i++, count++) {
                    sum += hu[j * dim[0] + i];
                    held += is_metal[j * dim[0] + i];
                }
            image[y * s->nx + x] = (float)(sum / count);
            metal[y * s->nx + x] = (float)held / (float)count;
        }
}

// Lengths of metal in units of LENGTH_MM, ANGLES × bins.
static void project(const struct slices *s, const float *metal, float *rays)
{
    memset(rays, 0, (size_t)(ANGLES * s->bins) * sizeof *rays);
    for (int64_t y = 0; y < s->ny; y++)
        for (int64_t x = 0; x < s->nx; x++) {
            double value = (double)metal[y * s->nx + x] * s->pixel_mm / LENGTH_MM;
            if (!(value > 0))
                continue;
            for (int a = 0; a < ANGLES; a++) {
                double at = hit(s, a, x, y);
                int64_t bin = (int64_t)at;
                double part = at - (double)bin;
                float *row = rays + a * s->bins + bin;
                row[0] += (float)(value * (1 - part));
                row[1] += (float)(value * part);
            }
        }
}

// What no difference is taken of: near metal, air.
static void leave_out(const struct slices *s, const float *metal, float *image)
{
    int64_t reach = (int64_t)ceil(NEAR_MM / s->pixel_mm);
    for (int64_t y = 0; y < s->ny; y++)
        for (int64_t x = 0; x < s->nx; x++) {
            float *here = image + y * s->nx + x;
            if (*here < LEAST_HU || *here > MOST_HU)
                *here = NAN;
            if (!(metal[y * s->nx + x] > 0))
                continue;
            for (int64_t j = y < reach ? -y : -reach; j <= reach && y + j < s->ny; j++)
                for (int64_t i = x < reach ? -x : -reach; i <= reach && x + i < s->nx; i++)
                    here[j * s->nx + i] = NAN;
        }
}

// Filtered back-projection of a power of the lengths. filtered: ANGLES × bins.
static void make_power(const struct slices *s, const float *rays, int power, float *filtered, float *out)
{
    memset(filtered, 0, (size_t)(ANGLES * s->bins) * sizeof *filtered);
    for (int a = 0; a < ANGLES; a++)
        for (int64_t from = 0; from < s->bins; from++) {
            double length = (double)rays[a * s->bins + from], value = length;
            for (int n = 0; n <= power; n++)
                value *= length;
            for (int64_t to = 0; to < s->bins && value > 0; to++)
                filtered[a * s->bins + to] += (float)(1000 * value * s->ramp[to > from ? to - from : from - to]);
        }
    for (int64_t y = 0; y < s->ny; y++)
        for (int64_t x = 0; x < s->nx; x++) {
            double sum = 0;
            for (int a = 0; a < ANGLES; a++) {
                double at = hit(s, a, x, y);
                int64_t bin = (int64_t)at;
                const float *to = filtered + a * s->bins + bin;
                sum += (double)to[0] + (at - (double)bin) * (double)(to[1] - to[0]);
            }
            out[y * s->nx + x] = (float)(sum * KF_PI / ANGLES);
        }
}

static int holds_metal(const struct slices *s, int64_t k)
{
    int64_t area = s->volume->grid.dim[0] * s->volume->grid.dim[1];
    return memchr(s->metal + k * area, 1, (size_t)area) != NULL;
}

// Mean of a block whose first pixel is (x, y); NAN when one of its pixels is.
static double block_mean(const struct slices *s, const float *slice, int64_t x, int64_t y)
{
    double sum = 0;
    for (int64_t j = y; j < y + BLOCK; j++)
        for (int64_t i = x; i < x + BLOCK; i++)
            sum += (double)slice[j * s->nx + i];
    return sum / (BLOCK * BLOCK);
}

// Adds the differences of two neighbouring blocks to the normal equations of how the powers, times what is sought, take
// them away. Weighted by the inverse of what remains of each with `factor`, so that the sum of them, not of their
// squares, gets least.
static void add_pair(const double from[1 + POWERS], const double to[1 + POWERS], const double factor[POWERS],
                     double *sums)
{
    double have = to[0] - from[0], made[POWERS], left = have;
    if (isnan(have))
        return;
    for (int n = 0; n < POWERS; n++) {
        made[n] = to[1 + n] - from[1 + n];
        left += factor[n] * made[n];
    }
    double weight = 1 / fmax(fabs(left), EVEN_HU);
    for (int n = 0; n < POWERS; n++) {
        for (int m = 0; m < POWERS; m++)
            sums[n * POWERS + m] += weight * made[n] * made[m];
        sums[POWERS * POWERS + n] -= weight * made[n] * have;
    }
}

static void add_up(const struct slices *s, int64_t k, const double factor[POWERS], double *sums)
{
    const float *slice[1 + POWERS] = {s->image + k * s->nx * s->ny};
    for (int n = 0; n < POWERS; n++)
        slice[1 + n] = s->made[n] + k * s->nx * s->ny;
    memset(sums, 0, SUMS * sizeof *sums);
    for (int64_t y = 0; y + 2 * BLOCK <= s->ny && holds_metal(s, k); y += BLOCK)
        for (int64_t x = 0; x + 2 * BLOCK <= s->nx; x += BLOCK) {
            double at[3][1 + POWERS];
            for (int n = 0; n < 1 + POWERS; n++) {
                at[0][n] = block_mean(s, slice[n], x, y);
                at[1][n] = block_mean(s, slice[n], x + BLOCK, y);
                at[2][n] = block_mean(s, slice[n], x, y + BLOCK);
            }
            add_pair(at[0], at[1], factor, sums);
            add_pair(at[0], at[2], factor, sums);
        }
}

// By Gauss, of a matrix that is symmetric and positive; 0 when it is singular.
static int solve(double sums[SUMS], double out[POWERS])
{
    double *right = sums + POWERS * POWERS;
    for (int n = 0; n < POWERS; n++) {
        double pivot = sums[n * POWERS + n];
        if (!(pivot > 1e-9))
            return 0;
        for (int row = n + 1; row < POWERS; row++) {
            double share = sums[row * POWERS + n] / pivot;
            for (int m = n; m < POWERS; m++)
                sums[row * POWERS + m] -= share * sums[n * POWERS + m];
            right[row] -= share * right[n];
        }
    }
    for (int n = POWERS - 1; n >= 0; n--) {
        double value = right[n];
        for (int m = n + 1; m < POWERS; m++)
            value -= sums[n * POWERS + m] * out[m];
        out[n] = value / sums[n * POWERS + n];
    }
    return 1;
}

// How much of each power; 0 of all where nothing tells.
static enum kf_kernel_status find_factors(const struct kf_work *work, const struct slices *s, double factor[POWERS])
{
    memset(factor, 0, POWERS * sizeof *factor);
    for (int round = 0; round < ROUNDS; round++) {
        double all[SUMS] = {0};
        struct kf_loop loop = kf_loop_make(work, s->count, 0, 0);
#pragma omp parallel for schedule(dynamic, 1) num_threads(work->threads)
        for (int64_t k = 0; k < s->count; k++)
            if (!kf_loop_stop(&loop))
                add_up(s, k, factor, s->sums + k * SUMS);
        if (loop.stop)
            return KF_KERNEL_CANCELLED;
        for (int64_t k = 0; k < s->count; k++)
            for (int n = 0; n < SUMS; n++)
                all[n] += s->sums[k * SUMS + n];
        double next[POWERS];
        if (!solve(all, next))
            break;
        memcpy(factor, next, sizeof next);
    }
    return KF_KERNEL_OK;
}

// The sum of the powers, between the middles of their pixels, onto the slice's voxels.
static void write_slice(const struct slices *s, int64_t k, const double factor[POWERS])
{
    const int64_t *dim = s->volume->grid.dim;
    int16_t *hu = (int16_t *)s->volume->data + k * dim[0] * dim[1];
    for (int64_t j = 0; j < dim[1]; j++)
        for (int64_t i = 0; i < dim[0]; i++) {
            double at[2] = {((double)i + 0.5) / (double)s->step - 0.5, ((double)j + 0.5) / (double)s->step - 0.5};
            int64_t n[2] = {s->nx, s->ny}, low[2];
            for (int c = 0; c < 2; c++) {
                at[c] = fmin(fmax(at[c], 0), (double)n[c] - 1.001);
                low[c] = (int64_t)at[c];
                at[c] -= (double)low[c];
            }
            double value = hu[j * dim[0] + i];
            for (int c = 0; c < 4; c++) {
                int64_t v = k * s->nx * s->ny + (low[1] + c / 2) * s->nx + low[0] + c % 2;
                double weight = (c % 2 ? at[0] : 1 - at[0]) * (c / 2 ? at[1] : 1 - at[1]);
                for (int p = 0; p < POWERS; p++)
                    value += weight * factor[p] * (double)s->made[p][v];
            }
            hu[j * dim[0] + i] = (int16_t)floor(fmin(fmax(value, -1024), 3071) + 0.5);
        }
}

// Metal and its border: the mean of what lies beside them.
static enum kf_kernel_status fill_metal(const struct kf_work *work, struct kf_volume *volume, const uint8_t *metal)
{
    const struct kf_grid *g = &volume->grid;
    int64_t voxels = kf_grid_voxels(g), row = g->dim[0];
    int16_t *hu = volume->data;
    struct kf_bits border = {0};
    struct kf_volume known = {.grid = *g, .type = KF_VOXEL_UINT8}, value = {.grid = *g, .type = KF_VOXEL_INT16};
    uint8_t *is_known = known.data = kf_work_take(work, voxels);
    int16_t *values = value.data = kf_work_take(work, 2 * voxels);
    float *weight = kf_work_take(work, 4 * voxels), *sum = kf_work_take(work, 4 * voxels);
    enum kf_kernel_status status =
        is_known && values && weight && sum ? kf_bits_alloc(work, g->dim, &border) : KF_KERNEL_NOMEM;
    if (!status) {
        memcpy(is_known, metal, (size_t)voxels);
        status = kf_bits_threshold(work, &known, 1, 1, &border);
    }
    if (!status)
        status = kf_bits_dilate(work, &border, g->spacing_mm, BORDER_MM);
    for (int64_t v = 0; v < voxels && !status; v++) {
        is_known[v] = !kf_bits_get(&border, v % row, v / row % g->dim[1], v / row / g->dim[1]);
        values[v] = is_known[v] ? hu[v] : 0;
    }
    if (!status)
        status = kf_gaussian(work, &known, BESIDE_MM, weight);
    if (!status)
        status = kf_gaussian(work, &value, BESIDE_MM, sum);
    for (int64_t v = 0; v < voxels && !status; v++)
        if (!is_known[v]) {
            int16_t beside = (int16_t)(weight[v] > 1e-6F ? floor((double)(sum[v] / weight[v]) + 0.5) : 0);
            hu[v] = metal[v] || hu[v] > beside ? beside : hu[v];
        }
    kf_bits_release(work, &border);
    kf_work_give(work, sum);
    kf_work_give(work, weight);
    kf_work_give(work, values);
    kf_work_give(work, is_known);
    return status;
}

// 1: there is metal; `metal` (one byte per voxel) is 1 where.
static int find_metal(const struct kf_volume *volume, uint8_t *metal)
{
    int64_t voxels = kf_grid_voxels(&volume->grid), count = 0;
    const int16_t *hu = volume->data;
    const double *spacing = volume->grid.spacing_mm;
    for (int64_t v = 0; v < voxels; v++)
        count += metal[v] = hu[v] >= METAL_HU;
    return (double)count * spacing[0] * spacing[1] * spacing[2] >= LEAST_MM3;
}

// `buffers`: per thread an image of metal and two of rays.
static enum kf_kernel_status reduce(const struct kf_work *work, struct slices *s, float *buffers)
{
    int64_t area = s->nx * s->ny, fan = ANGLES * s->bins, each = area + 2 * fan;
    double factor[POWERS];
    struct kf_loop loop = kf_loop_make(work, s->count, 0, 0);
#pragma omp parallel for schedule(static, 1) num_threads(work->threads)
    for (int n = 0; n < work->threads; n++) { // one share of the slices, and one of the buffers, a thread
        float *metal = buffers + n * each, *rays = metal + area, *filtered = rays + fan;
        for (int64_t k = n; k < s->count; k += work->threads) {
            if (kf_loop_stop(&loop) || !holds_metal(s, k))
                continue;
            read_slice(s, k, s->image + k * area, metal);
            project(s, metal, rays);
            leave_out(s, metal, s->image + k * area);
            for (int p = 0; p < POWERS; p++)
                make_power(s, rays, p, filtered, s->made[p] + k * area);
        }
    }
    enum kf_kernel_status status = loop.stop ? KF_KERNEL_CANCELLED : find_factors(work, s, factor);
    if (status)
        return status;
    loop = kf_loop_make(work, s->count, 0, 0);
#pragma omp parallel for schedule(dynamic, 1) num_threads(work->threads)
    for (int64_t k = 0; k < s->count; k++)
        if (!kf_loop_stop(&loop) && holds_metal(s, k))
            write_slice(s, k, factor);
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

enum kf_kernel_status kf_spine_mend_metal(const struct kf_work *work, struct kf_volume *volume, uint8_t *metal,
                                          int *found)
{
    *found = find_metal(volume, metal);
    if (!*found)
        return KF_KERNEL_OK;
    const struct kf_grid *g = &volume->grid;
    struct slices s = {.volume = volume, .metal = metal, .count = g->dim[2]};
    s.step = (int64_t)fmax(1, floor(COARSE_MM / fmax(g->spacing_mm[0], g->spacing_mm[1]) + 0.5));
    s.nx = (g->dim[0] + s.step - 1) / s.step, s.ny = (g->dim[1] + s.step - 1) / s.step;
    s.pixel_mm = 0.5 * (double)s.step * (g->spacing_mm[0] + g->spacing_mm[1]);
    s.bins = (int64_t)ceil(sqrt((double)(s.nx * s.nx + s.ny * s.ny))) + 6;
    int64_t area = s.nx * s.ny, each = area + 2 * ANGLES * s.bins;
    float *buffers = kf_work_take(work, work->threads * each * (int64_t)sizeof *buffers);
    s.image = kf_work_take(work, (1 + POWERS) * area * s.count * (int64_t)sizeof *s.image);
    s.sums = kf_work_take(work, SUMS * s.count * (int64_t)sizeof *s.sums);
    s.ramp = kf_work_take(work, s.bins * (int64_t)sizeof *s.ramp);
    enum kf_kernel_status status =
        buffers && s.image && s.sums && s.ramp ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    for (int p = 0; p < POWERS && !status; p++)
        s.made[p] = s.image + (1 + p) * area * s.count;
    for (int a = 0; a < ANGLES; a++)
        s.cosine[a] = kf_cos(a * KF_PI / ANGLES), s.sine[a] = kf_sin(a * KF_PI / ANGLES);
    for (int64_t b = 0; b < s.bins && !status; b++) // Ram–Lak in pixels
        s.ramp[b] = b == 0 ? 0.25 : b & 1 ? -1 / (KF_PI * KF_PI * (double)(b * b)) : 0;
    if (!status && s.nx > 1 && s.ny > 1) // one pixel has no neighbour to differ from
        status = reduce(work, &s, buffers);
    kf_work_give(work, s.ramp);
    kf_work_give(work, s.sums);
    kf_work_give(work, s.image);
    kf_work_give(work, buffers);
    return status ? status : fill_metal(work, volume, metal);
}
