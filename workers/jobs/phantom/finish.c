#include "workers/jobs/phantom/finish.h"
#include "workers/jobs/phantom/vec.h"
#include <stdlib.h>
#include <string.h>

#define REACH 24 // most taps on one side

struct kernel {
    int reach;
    double tap[REACH + 1], power; // power: Σ tap² over both sides, what is left of white noise's variance
};

static struct kernel gaussian(double sigma_voxels)
{
    struct kernel k = {0};
    if (sigma_voxels > 0.05)
        k.reach = (int)kf_clamp(floor(3 * sigma_voxels + 1), 1, REACH);
    double sum = 0;
    for (int i = 0; i <= k.reach; i++) {
        k.tap[i] = k.reach ? kf_exp(-0.5 * i * i / (sigma_voxels * sigma_voxels)) : 1;
        sum += i ? 2 * k.tap[i] : k.tap[i];
    }
    for (int i = 0; i <= k.reach; i++) {
        k.tap[i] /= sum;
        k.power += (i ? 2 : 1) * k.tap[i] * k.tap[i];
    }
    return k;
}

static int16_t stored(double value)
{
    return (int16_t)kf_clamp(floor(value + 0.5), -32760, 32760);
}

static int64_t inside(int64_t i, int64_t n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static void blur_row(const struct kernel *k, const float *from, float *to, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = k->tap[0] * (double)from[i];
        for (int t = 1; t <= k->reach; t++)
            sum += k->tap[t] * ((double)from[inside(i - t, n)] + (double)from[inside(i + t, n)]);
        to[i] = (float)sum;
    }
}

// Noise and in-plane blur of one slice; `scratch` holds two slices.
static void slice_pass(const struct kf_finish *f, const struct kernel k[3], double noise, int16_t *slice, int64_t z,
                       float *scratch)
{
    int64_t nx = f->grid->dim[0], ny = f->grid->dim[1];
    float *a = scratch, *b = scratch + nx * ny;
    for (int64_t i = 0; i < nx * ny; i++) {
        double n = noise > 0 ? noise * kf_ph_normal(f->seed, (uint64_t)(z * nx * ny + i)) : 0;
        double v = slice[i];
        if (f->rician && noise > 0) {
            double quadrature = noise * kf_ph_normal(f->seed + 0x5bd1e995, (uint64_t)(z * nx * ny + i));
            v = sqrt((v + n) * (v + n) + quadrature * quadrature);
        } else {
            v += n;
        }
        a[i] = (float)v;
    }
    for (int64_t y = 0; y < ny; y++)
        blur_row(&k[0], a + y * nx, b + y * nx, nx);
    for (int64_t y = 0; y < ny; y++) {
        for (int64_t x = 0; x < nx; x++) {
            double sum = k[1].tap[0] * (double)b[y * nx + x];
            for (int t = 1; t <= k[1].reach; t++)
                sum += k[1].tap[t] * ((double)b[inside(y - t, ny) * nx + x] + (double)b[inside(y + t, ny) * nx + x]);
            slice[y * nx + x] = stored(sum);
        }
    }
}

// Blur along z of row y, then whole values. `rows` holds the row of every slice.
static void column_pass(const struct kf_finish *f, const struct kernel *k, int16_t *values, int64_t y, int16_t *rows)
{
    int64_t nx = f->grid->dim[0], ny = f->grid->dim[1], nz = f->grid->dim[2];
    for (int64_t z = 0; z < nz; z++)
        memcpy(rows + z * nx, values + (z * ny + y) * nx, (size_t)nx * sizeof *rows);
    for (int64_t z = 0; z < nz; z++) {
        int16_t *to = values + (z * ny + y) * nx;
        for (int64_t x = 0; x < nx; x++) {
            double sum = k->tap[0] * rows[z * nx + x];
            for (int t = 1; t <= k->reach; t++)
                sum += k->tap[t] * (rows[inside(z - t, nz) * nx + x] + rows[inside(z + t, nz) * nx + x]);
            to[x] = stored(sum / f->unit);
        }
    }
}

enum kf_status kf_finish_run(const struct kf_finish *f, int16_t *values, struct kf_error *err)
{
    const int64_t *dim = f->grid->dim;
    struct kernel k[3];
    double power = 1;
    for (int a = 0; a < 3; a++) {
        k[a] = gaussian(f->blur_mm / f->grid->spacing_mm[a]);
        power *= k[a].power;
    }
    double noise = f->noise * f->unit / sqrt(power);
    int failed = 0, threads = f->threads > 0 ? f->threads : 1;
#pragma omp parallel num_threads(threads)
    {
        float *scratch = malloc((size_t)(2 * dim[0] * dim[1]) * sizeof *scratch);
        int16_t *rows = malloc((size_t)(dim[0] * dim[2]) * sizeof *rows);
        if (!scratch || !rows) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic, 4)
        for (int64_t z = 0; z < dim[2]; z++)
            if (scratch && rows)
                slice_pass(f, k, noise, values + z * dim[0] * dim[1], z, scratch);
#pragma omp for schedule(dynamic, 4)
        for (int64_t y = 0; y < dim[1]; y++)
            if (scratch && rows)
                column_pass(f, &k[2], values, y, rows);
        free(scratch);
        free(rows);
    }
    return failed ? kf_error_set(err, KF_NOMEM, NULL, "No memory to blur the phantom.") : KF_OK;
}
