// Metal in a CT: where it is, and its streaks reduced. See spine.h.
//
// Normalised metal artefact reduction (Meyer, Raupach, Lell, Schmidt and Kachelriess 2010): each axial slice is
// projected again; what passed through metal is replaced by what lies beside it, both divided by the projection of a
// prior that has air, soft tissue and bone, so that bones keep their borders; the change is filtered, projected back
// and added. Twice: the first prior knows no bone, the second has that of the first result. On pixels of COARSE_MM, for
// streaks are wide.
#include "workers/jobs/segment/spine.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <string.h>

#define ANGLES    240
#define COARSE_MM 1.4
#define METAL_HU  2000  // half of what the least metal has; no bone of a spine is as dense
#define LEAST_MM3 100.0 // fewer are no implant
#define AIR       500.0 // of a prior, in HU + 1000
#define SOFT      1000.0
#define BONE      1200.0
#define MOST      4000.0
#define BESIDE    1 // bins of the trace's blurred border
// Of the change: bone is hidden from so many rays through metal that the whole change takes as much of it as of
// streaks.
#define TAKEN       0.5
#define FILLED_LOW  0 // HU, least and most of what is put in the place of metal
#define FILLED_HIGH 600

struct slices {
    struct kf_volume *volume;
    const uint8_t *metal;
    int64_t step, nx, ny, bins;
    double cosine[ANGLES], sine[ANGLES], *ramp;
};

// What one thread needs for a slice.
struct scratch {
    float *image, *prior, *mended; // nx × ny, HU + 1000
    float *rays, *known, *change;  // ANGLES × bins
};

static double hit(const struct slices *s, int a, int64_t x, int64_t y)
{
    return ((double)x - 0.5 * (double)s->nx) * s->cosine[a] + ((double)y - 0.5 * (double)s->ny) * s->sine[a] +
           0.5 * (double)s->bins;
}

static void project(const struct slices *s, const float *image, float *rays)
{
    memset(rays, 0, (size_t)(ANGLES * s->bins) * sizeof *rays);
    for (int64_t y = 0; y < s->ny; y++)
        for (int64_t x = 0; x < s->nx; x++) {
            float value = image[y * s->nx + x];
            if (!(value > 0))
                continue;
            for (int a = 0; a < ANGLES; a++) {
                double at = hit(s, a, x, y);
                int64_t bin = (int64_t)at;
                float part = (float)(at - (double)bin), *row = rays + a * s->bins + bin;
                row[0] += value * (1 - part);
                row[1] += value * part;
            }
        }
}

// Means of step × step voxels, and which of them hold metal.
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
                    sum += fmin(MOST, fmax(0, hu[j * dim[0] + i] + 1000));
                    held |= is_metal[j * dim[0] + i];
                }
            image[y * s->nx + x] = (float)(sum / count);
            metal[y * s->nx + x] = held ? 1 : 0;
        }
}

// Air, soft tissue, and of `mended` (3 × 3 means; NULL: of nothing) bone.
static void lay_prior(const struct slices *s, const float *image, const float *mended, float *prior)
{
    for (int64_t y = 0; y < s->ny; y++)
        for (int64_t x = 0; x < s->nx; x++) {
            double sum = 0, count = 0;
            for (int64_t j = y - 1; mended && j <= y + 1; j++)
                for (int64_t i = x - 1; i <= x + 1; i++)
                    if (i >= 0 && j >= 0 && i < s->nx && j < s->ny)
                        sum += (double)mended[j * s->nx + i], count++;
            double value = mended ? sum / count : fmin((double)image[y * s->nx + x], SOFT);
            prior[y * s->nx + x] = (float)(value < AIR ? 0 : value > BONE ? value : SOFT);
        }
}

// Rows of rays through metal (`change` > 0 on entry) → by how much they are to change; others 0.
static void bridge(const struct slices *s, const float *rays, const float *known, float *change)
{
    for (int a = 0; a < ANGLES; a++) {
        const float *have = rays + a * s->bins, *base = known + a * s->bins;
        float *row = change + a * s->bins;
        for (int64_t from = 0, to; from < s->bins; from = to) {
            to = from + 1;
            if (!(row[from] > 0))
                continue;
            while (to < s->bins && row[to] > 0)
                to++;
            int64_t left = from - 1 - BESIDE, right = to + BESIDE;
            double low = left >= 0 && base[left] > 0 ? (double)(have[left] / base[left]) : -1,
                   high = right < s->bins && base[right] > 0 ? (double)(have[right] / base[right]) : -1;
            low = low < 0 ? high : low, high = high < 0 ? low : high;
            for (int64_t b = from; b < to; b++) {
                double share = (double)(b - left) / (double)(right - left);
                row[b] = low < 0 ? 0 : (float)((low + share * (high - low)) * (double)base[b] - (double)have[b]);
            }
        }
    }
}

// Filtered back-projection of `change`, added to `image`. row: one row of rays.
static void add_change(const struct slices *s, const float *image, float *change, float *row, float *mended)
{
    for (int a = 0; a < ANGLES; a++) {
        float *here = change + a * s->bins;
        memset(row, 0, (size_t)s->bins * sizeof *row);
        for (int64_t from = 0; from < s->bins; from++)
            for (int64_t to = 0; to < s->bins && here[from] != 0; to++)
                row[to] += (float)((double)here[from] * s->ramp[to > from ? to - from : from - to]);
        memcpy(here, row, (size_t)s->bins * sizeof *row);
    }
    for (int64_t y = 0; y < s->ny; y++)
        for (int64_t x = 0; x < s->nx; x++) {
            double sum = 0;
            for (int a = 0; a < ANGLES; a++) {
                double at = hit(s, a, x, y);
                int64_t bin = (int64_t)at;
                const float *to = change + a * s->bins + bin;
                sum += (double)to[0] + (at - (double)bin) * (double)(to[1] - to[0]);
            }
            mended[y * s->nx + x] = image[y * s->nx + x] + (float)(sum * KF_PI / ANGLES);
        }
}

// Part of the coarse change, between the middles of its pixels, onto the slice's voxels; metal gets the mended value
// itself.
static void write_slice(const struct slices *s, int64_t k, const struct scratch *t)
{
    const int64_t *dim = s->volume->grid.dim;
    int16_t *hu = (int16_t *)s->volume->data + k * dim[0] * dim[1];
    const uint8_t *is_metal = s->metal + k * dim[0] * dim[1];
    for (int64_t j = 0; j < dim[1]; j++)
        for (int64_t i = 0; i < dim[0]; i++) {
            double at[2] = {((double)i + 0.5) / (double)s->step - 0.5, ((double)j + 0.5) / (double)s->step - 0.5};
            int64_t n[2] = {s->nx, s->ny}, low[2];
            for (int c = 0; c < 2; c++) {
                at[c] = fmin(fmax(at[c], 0), (double)n[c] - 1.001);
                low[c] = (int64_t)at[c];
                at[c] -= (double)low[c];
            }
            double value = 0, was = 0;
            for (int c = 0; c < 4; c++) {
                int64_t v = (low[1] + c / 2) * s->nx + low[0] + c % 2;
                double weight = (c % 2 ? at[0] : 1 - at[0]) * (c / 2 ? at[1] : 1 - at[1]);
                value += weight * (double)t->mended[v], was += weight * (double)t->image[v];
            }
            int64_t v = j * dim[0] + i;
            double out =
                is_metal[v] ? fmin(fmax(value - 1000, FILLED_LOW), FILLED_HIGH) : hu[v] + TAKEN * (value - was);
            hu[v] = (int16_t)floor(fmin(fmax(out, -1024), 3071) + 0.5);
        }
}

static void mend_slice(const struct slices *s, int64_t k, const struct scratch *t)
{
    float *metal = t->mended, *row = t->known; // until they are needed
    read_slice(s, k, t->image, metal);
    project(s, t->image, t->rays);
    for (int round = 0; round < 2; round++) {
        lay_prior(s, t->image, round ? t->mended : NULL, t->prior);
        if (round) // the mended image has taken its place
            read_slice(s, k, t->image, metal);
        project(s, metal, t->change);
        project(s, t->prior, t->known);
        bridge(s, t->rays, t->known, t->change);
        add_change(s, t->image, t->change, row, t->mended);
    }
    write_slice(s, k, t);
}

static int holds_metal(const uint8_t *slice, int64_t count)
{
    return memchr(slice, 1, (size_t)count) != NULL;
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

enum kf_kernel_status kf_spine_mend_metal(const struct kf_work *work, struct kf_volume *volume, uint8_t *metal,
                                          int *found)
{
    *found = find_metal(volume, metal);
    if (!*found)
        return KF_KERNEL_OK;
    const struct kf_grid *g = &volume->grid;
    struct slices s = {.volume = volume, .metal = metal};
    s.step = (int64_t)fmax(1, floor(COARSE_MM / fmax(g->spacing_mm[0], g->spacing_mm[1]) + 0.5));
    s.nx = (g->dim[0] + s.step - 1) / s.step, s.ny = (g->dim[1] + s.step - 1) / s.step;
    s.bins = (int64_t)ceil(sqrt((double)(s.nx * s.nx + s.ny * s.ny))) + 6;
    int64_t area = s.nx * s.ny, fan = ANGLES * s.bins, each = 3 * area + 3 * fan;
    float *buffers = kf_work_take(work, work->threads * each * (int64_t)sizeof *buffers);
    s.ramp = kf_work_take(work, s.bins * (int64_t)sizeof *s.ramp);
    enum kf_kernel_status status = buffers && s.ramp && s.nx > 1 && s.ny > 1 ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    for (int a = 0; a < ANGLES; a++)
        s.cosine[a] = kf_cos(a * KF_PI / ANGLES), s.sine[a] = kf_sin(a * KF_PI / ANGLES);
    for (int64_t b = 0; b < s.bins && !status; b++) // Ram–Lak in pixels; lengths along rays are in pixels too
        s.ramp[b] = b == 0 ? 0.25 : b & 1 ? -1 / (KF_PI * KF_PI * (double)(b * b)) : 0;
    if (!status) {
#pragma omp parallel for schedule(static, 1) num_threads(work->threads)
        for (int n = 0; n < work->threads; n++) { // one share of the slices, and one of the buffers, a thread
            float *own = buffers + n * each;
            struct scratch t = {
                own, own + area, own + 2 * area, own + 3 * area, own + 3 * area + fan, own + 3 * area + 2 * fan};
            for (int64_t k = n; k < g->dim[2]; k += work->threads)
                if (holds_metal(metal + k * g->dim[0] * g->dim[1], g->dim[0] * g->dim[1]))
                    mend_slice(&s, k, &t);
        }
    }
    kf_work_give(work, s.ramp);
    kf_work_give(work, buffers);
    return status;
}
