#include "workers/jobs/phantom/finish.h"
#include "workers/jobs/phantom/vec.h"
#include <stdlib.h>
#include <string.h>

#define ANGLES 360
#define MOST   256 // coarse pixels on a side

const struct kf_metal kf_metal_dental = {.hardening = 500, .saturation_mm = INFINITY, .starved_cubed = 4};
// An estimate, not a fit to measured or tabulated attenuation: what 6 to 45 mm of it may hide of themselves and of the
// photons behind 30 cm of water at 120 kV.
const struct kf_metal kf_metal_titanium = {.hardening = 370, .saturation_mm = 23, .starved = 20};

struct coarse { // one axial slice at a coarser pixel
    int64_t nx, ny, step;
    int bins; // detector bins
    double pixel_mm;
};

struct scratch {
    float *sinogram, *filtered; // ANGLES × bins
    float *image;               // nx × ny
    double *ramp;               // bins
};

static void project(const struct coarse *c, const struct kf_grid *grid, const uint8_t *slice, int metal,
                    const double *cosine, const double *sine, float *sinogram)
{
    int64_t nx = grid->dim[0], ny = grid->dim[1];
    double area = grid->spacing_mm[0] * grid->spacing_mm[1] / c->pixel_mm; // mm of path a voxel adds to one bin
    for (int64_t y = 0; y < ny; y++)
        for (int64_t x = 0; x < nx; x++) {
            if (slice[y * nx + x] != metal)
                continue;
            double px = ((double)x - 0.5 * (double)nx) / (double)c->step,
                   py = ((double)y - 0.5 * (double)ny) / (double)c->step;
            for (int a = 0; a < ANGLES; a++) {
                double s = px * cosine[a] + py * sine[a] + 0.5 * c->bins;
                int bin = (int)s;
                double part = s - bin;
                if (bin < 0 || bin + 1 >= c->bins)
                    continue;
                sinogram[a * c->bins + bin] += (float)(area * (1 - part));
                sinogram[a * c->bins + bin + 1] += (float)(area * part);
            }
        }
}

// Path length → error of the line integral → ramp filter.
static void filter(const struct coarse *c, struct scratch *s, const struct kf_metal *metal, uint64_t seed)
{
    for (int a = 0; a < ANGLES; a++) {
        float *row = s->sinogram + a * c->bins, *out = s->filtered + a * c->bins;
        for (int b = 0; b < c->bins; b++) {
            double p = (double)row[b];
            double starved = (metal->starved * p * sqrt(p) + metal->starved_cubed * p * p * p) *
                             kf_ph_normal(seed, (uint64_t)(a * c->bins + b));
            row[b] = p > 0 ? (float)(-metal->hardening * p * p / (1 + p / metal->saturation_mm) + starved) : 0;
            out[b] = 0;
        }
        for (int from = 0; from < c->bins; from++) {
            double v = (double)row[from];
            if (v == 0)
                continue;
            for (int to = 0; to < c->bins; to++)
                out[to] += (float)(v * s->ramp[to > from ? to - from : from - to]);
        }
    }
}

static void back_project(const struct coarse *c, struct scratch *s, const double *cosine, const double *sine)
{
    for (int64_t y = 0; y < c->ny; y++)
        for (int64_t x = 0; x < c->nx; x++) {
            double sum = 0, px = (double)x - 0.5 * (double)c->nx, py = (double)y - 0.5 * (double)c->ny;
            for (int a = 0; a < ANGLES; a++) {
                double t = px * cosine[a] + py * sine[a] + 0.5 * c->bins;
                int bin = (int)t;
                const float *row = s->filtered + a * c->bins + bin;
                if (bin >= 0 && bin + 1 < c->bins)
                    sum += (double)row[0] + (t - bin) * (double)(row[1] - row[0]);
            }
            s->image[y * c->nx + x] = (float)(sum * KF_PI / ANGLES);
        }
}

// The metal itself stays saturated: its own error is far above the scale.
static void add(const struct coarse *c, const struct kf_grid *grid, const float *image, const uint8_t *labels,
                int metal, int16_t *slice, int unit)
{
    int64_t nx = grid->dim[0], ny = grid->dim[1];
    for (int64_t y = 0; y < ny; y++)
        for (int64_t x = 0; x < nx; x++) {
            if (labels[y * nx + x] == metal)
                continue;
            double u = kf_clamp((double)x / (double)c->step, 0, (double)(c->nx - 1) - 1e-6);
            double v = kf_clamp((double)y / (double)c->step, 0, (double)(c->ny - 1) - 1e-6);
            int64_t i = (int64_t)u, j = (int64_t)v;
            const float *p = image + j * c->nx + i;
            u -= (double)i, v -= (double)j;
            double top = (double)p[0] + u * (double)(p[1] - p[0]);
            double low = (double)p[c->nx] + u * (double)(p[c->nx + 1] - p[c->nx]);
            double value = slice[y * nx + x] + unit * (top + v * (low - top));
            slice[y * nx + x] = (int16_t)kf_clamp(floor(value + 0.5), -1024 * unit, 4000 * unit);
        }
}

static int has(const uint8_t *slice, int64_t n, int metal)
{
    return memchr(slice, metal, (size_t)n) != NULL;
}

enum kf_status kf_metal_streaks(const struct kf_grid *grid, const uint8_t *labels, int metal, const struct kf_metal *of,
                                int16_t *values, int unit, uint64_t seed, int threads, struct kf_error *err)
{
    struct coarse c = {.step = 1};
    int64_t plane = grid->dim[0] * grid->dim[1], widest = grid->dim[0] > grid->dim[1] ? grid->dim[0] : grid->dim[1];
    while (widest / c.step > MOST)
        c.step++;
    c.nx = (grid->dim[0] + c.step - 1) / c.step + 1;
    c.ny = (grid->dim[1] + c.step - 1) / c.step + 1;
    c.pixel_mm = grid->spacing_mm[0] * (double)c.step;
    c.bins = (int)(1.45 * (double)(c.nx > c.ny ? c.nx : c.ny)) + 4;
    double cosine[ANGLES], sine[ANGLES];
    for (int a = 0; a < ANGLES; a++) {
        cosine[a] = kf_cos(a * KF_PI / ANGLES);
        sine[a] = kf_sin(a * KF_PI / ANGLES);
    }
    int failed = 0;
#pragma omp parallel num_threads(threads > 0 ? threads : 1)
    {
        struct scratch s = {calloc((size_t)(ANGLES * c.bins), sizeof(float)),
                            calloc((size_t)(ANGLES * c.bins), sizeof(float)),
                            calloc((size_t)(c.nx * c.ny), sizeof(float)), calloc((size_t)c.bins, sizeof(double))};
        int ready = s.sinogram && s.filtered && s.image && s.ramp;
        if (!ready) {
#pragma omp atomic write
            failed = 1;
        }
        for (int b = 0; ready && b < c.bins; b++) // Ram–Lak, times the bin width
            s.ramp[b] = (b == 0 ? 0.25 : b & 1 ? -1 / (KF_PI * KF_PI * b * b) : 0) / c.pixel_mm;
#pragma omp for schedule(dynamic, 1)
        for (int64_t z = 0; z < grid->dim[2]; z++) {
            if (!ready || !has(labels + z * plane, plane, metal))
                continue;
            memset(s.sinogram, 0, (size_t)(ANGLES * c.bins) * sizeof(float));
            project(&c, grid, labels + z * plane, metal, cosine, sine, s.sinogram);
            filter(&c, &s, of, seed + (uint64_t)z);
            back_project(&c, &s, cosine, sine);
            add(&c, grid, s.image, labels + z * plane, metal, values + z * plane, unit);
        }
        free(s.sinogram);
        free(s.filtered);
        free(s.image);
        free(s.ramp);
    }
    return failed ? kf_error_set(err, KF_NOMEM, NULL, "No memory for the metal artefacts.") : KF_OK;
}
