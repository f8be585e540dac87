// What a registration needs before it can begin: int16 images of several resolutions, sample positions, value ranges,
// moments.
#include "workers/kernels/image.h"
#include "workers/kernels/register_inside.h"

#include <math.h>
#include <string.h>

// ---- images ----

static void set_frame(struct kf_reg_image *image)
{
    const struct kf_grid *g = &image->image.grid;
    for (int r = 0; r < 3; r++) {
        double shift = 0;
        for (int c = 0; c < 3; c++) {
            image->to_ijk[4 * r + c] = g->direction[3 * c + r] / g->spacing_mm[r];
            shift -= image->to_ijk[4 * r + c] * g->origin_lps[c];
        }
        image->to_ijk[4 * r + 3] = shift;
    }
}

void kf_reg_image_release(const struct kf_work *work, struct kf_reg_image *image)
{
    if (image->owned_image)
        kf_work_give(work, image->image.data);
    if (image->owned_mask)
        kf_work_give(work, image->mask.data);
    *image = (struct kf_reg_image){0};
}

static int finite_value(float value)
{
    return value > -3e38f && value < 3e38f;
}

int kf_reg_units_find(const struct kf_volume *v, struct kf_reg_units *units)
{
    *units = (struct kf_reg_units){0, 1};
    if (v->type != KF_VOXEL_FLOAT32)
        return 1;
    const float *value = v->data;
    float least = 3e38f, most = -3e38f;
    for (int64_t n = 0, end = kf_grid_voxels(&v->grid); n < end; n++)
        if (finite_value(value[n])) {
            least = value[n] < least ? value[n] : least;
            most = value[n] > most ? value[n] : most;
        }
    if (!(least < most))
        return 0;
    units->offset = 0.5 * (double)least + 0.5 * (double)most;
    units->scale = 64000 / ((double)most - (double)least);
    return 1;
}

static int16_t to_i16(double value)
{
    return value < -32767 ? -32767 : value > 32767 ? 32767 : (int16_t)floor(value + 0.5);
}

static void convert(const struct kf_work *work, const struct kf_volume *v, const struct kf_reg_units *units,
                    int16_t *to)
{
    const int64_t slice = v->grid.dim[0] * v->grid.dim[1];
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < v->grid.dim[2]; k++)
        for (int64_t n = k * slice; n < (k + 1) * slice; n++) {
            double value = v->type == KF_VOXEL_UINT8   ? ((const uint8_t *)v->data)[n]
                           : v->type == KF_VOXEL_INT16 ? ((const int16_t *)v->data)[n]
                                                       : (double)((const float *)v->data)[n];
            if (v->type == KF_VOXEL_FLOAT32 && !finite_value(((const float *)v->data)[n]))
                value = -3e38;
            to[n] = to_i16((value - units->offset) * units->scale);
        }
}

enum kf_kernel_status kf_reg_image_take(const struct kf_work *work, const struct kf_volume *volume,
                                        const struct kf_volume *mask, const struct kf_reg_units *units,
                                        struct kf_reg_image *out)
{
    *out = (struct kf_reg_image){.image = *volume};
    out->image.type = KF_VOXEL_INT16;
    if (mask)
        out->mask = *mask;
    set_frame(out);
    if (volume->type == KF_VOXEL_INT16 && units->offset == 0 && units->scale == 1)
        return KF_KERNEL_OK;
    out->image.data = kf_work_take(work, 2 * kf_grid_voxels(&volume->grid));
    out->owned_image = 1;
    if (!out->image.data) {
        kf_reg_image_release(work, out);
        return KF_KERNEL_NOMEM;
    }
    convert(work, volume, units, out->image.data);
    return KF_KERNEL_OK;
}

// Any nonzero label counts as 1, so that a merged voxel asks whether most of it is inside.
static enum kf_kernel_status reduce_mask(const struct kf_work *work, const struct kf_volume *mask,
                                         const int64_t factor[3], struct kf_volume *out)
{
    struct kf_volume flat = *mask;
    int64_t voxels = kf_grid_voxels(&mask->grid);
    *out = (struct kf_volume){.type = KF_VOXEL_UINT8};
    kf_reduce_grid(&mask->grid, factor, &out->grid);
    flat.data = kf_work_take(work, voxels);
    out->data = flat.data ? kf_work_take(work, kf_grid_voxels(&out->grid)) : NULL;
    if (!out->data) {
        kf_work_give(work, flat.data);
        return KF_KERNEL_NOMEM;
    }
    for (int64_t n = 0; n < voxels; n++)
        ((uint8_t *)flat.data)[n] = ((const uint8_t *)mask->data)[n] != 0;
    enum kf_kernel_status status = kf_reduce(work, &flat, factor, out);
    kf_work_give(work, flat.data);
    return status;
}

enum kf_kernel_status kf_reg_image_reduce(const struct kf_work *work, const struct kf_reg_image *from, double size_mm,
                                          struct kf_reg_image *out)
{
    const struct kf_grid *g = &from->image.grid;
    int64_t factor[3];
    for (int a = 0; a < 3; a++) {
        double wanted = floor(size_mm / g->spacing_mm[a] + 0.5);
        factor[a] = wanted < 1 ? 1 : wanted > 100 ? 100 : (int64_t)wanted;
        while (factor[a] > 1 && g->dim[a] / factor[a] < 8)
            factor[a]--;
    }
    *out = *from;
    out->owned_image = out->owned_mask = 0;
    if (factor[0] == 1 && factor[1] == 1 && factor[2] == 1)
        return KF_KERNEL_OK;
    kf_reduce_grid(g, factor, &out->image.grid);
    out->image.data = kf_work_take(work, 2 * kf_grid_voxels(&out->image.grid));
    out->owned_image = 1;
    enum kf_kernel_status status = KF_KERNEL_NOMEM;
    struct kf_work quiet = *work; // progress stays with the registration
    quiet.progress = NULL;
    if (out->image.data)
        status = kf_reduce(&quiet, &from->image, factor, &out->image);
    if (!status && from->mask.data) {
        status = reduce_mask(&quiet, &from->mask, factor, &out->mask);
        out->owned_mask = 1;
    }
    set_frame(out);
    if (status) {
        kf_reg_image_release(work, out);
    }
    return status;
}

// ---- samples ----

enum kf_kernel_status kf_reg_samples_take(const struct kf_work *work, int64_t room, struct kf_reg_samples *s)
{
    *s = (struct kf_reg_samples){0};
    int64_t n = (room + KF_REG_BLOCK - 1) / KF_REG_BLOCK * KF_REG_BLOCK;
    float *floats = kf_work_take(work, n * 8 * (int64_t)sizeof *floats);
    s->bin = kf_work_take(work, 2 * n);
    s->patch = kf_work_take(work, n * KF_REG_PATCH * (int64_t)sizeof *s->patch);
    s->corner = kf_work_take(work, n * 4 * (int64_t)sizeof *s->corner);
    if (!floats || !s->bin || !s->patch || !s->corner) {
        kf_work_give(work, s->corner);
        kf_work_give(work, s->patch);
        kf_work_give(work, s->bin);
        kf_work_give(work, floats);
        *s = (struct kf_reg_samples){0};
        return KF_KERNEL_NOMEM;
    }
    memset(floats, 0, (size_t)n * 8 * sizeof *floats);
    s->room = n;
    s->step = s->bin + n;
    float **const arrays[8] = {&s->x, &s->y, &s->z, &s->value, &s->u, &s->gx, &s->gy, &s->gz};
    for (int a = 0; a < 8; a++)
        *arrays[a] = floats + a * n;
    return KF_KERNEL_OK;
}

void kf_reg_samples_release(const struct kf_work *work, struct kf_reg_samples *s)
{
    kf_work_give(work, s->corner);
    kf_work_give(work, s->patch);
    kf_work_give(work, s->bin);
    kf_work_give(work, s->x); // the first of the eight arrays
    *s = (struct kf_reg_samples){0};
}

// SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014).
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static int masked_out(const struct kf_reg_image *image, int64_t at)
{
    return image->mask.data && !((const uint8_t *)image->mask.data)[at];
}

static void add_sample(const struct kf_reg_image *fixed, const double p[3], int64_t at, struct kf_reg_samples *s)
{
    double lps[3];
    int64_t n = s->count++;
    kf_grid_to_lps(&fixed->image.grid, p, lps);
    s->x[n] = (float)(lps[0] - s->centre[0]);
    s->y[n] = (float)(lps[1] - s->centre[1]);
    s->z[n] = (float)(lps[2] - s->centre[2]);
    memcpy(s->corner + 4 * n, &at, sizeof at);
    for (int a = 0; a < 3; a++) {
        s->low[a] = n == 0 || lps[a] < s->low[a] ? lps[a] : s->low[a];
        s->high[a] = n == 0 || lps[a] > s->high[a] ? lps[a] : s->high[a];
    }
}

// From where add_sample left each voxel's number. Apart from it, so that many reads wait for memory at once.
static void read_values(const struct kf_reg_image *fixed, const struct kf_reg_range *range, struct kf_reg_samples *s)
{
    for (int64_t n = 0; n < s->count; n++) {
        int64_t at;
        memcpy(&at, s->corner + 4 * n, sizeof at);
        s->value[n] = (float)((const int16_t *)fixed->image.data)[at];
    }
    for (int64_t n = 0; n < s->count; n++) {
        float t = (s->value[n] - range->low) * range->scale + 0.5f;
        s->bin[n] = (uint8_t)(t > 0 ? t < (float)KF_REG_BINS ? (int)t : KF_REG_BINS - 1 : 0);
    }
    memset(s->corner, 0xff, (size_t)s->count * 4 * sizeof *s->corner); // KF_REG_NOWHERE
}

// The edge of a cell, in voxels, so that the cells that count are about `wanted`.
static double cell_edge(const struct kf_reg_image *fixed, int64_t wanted)
{
    double voxels = (double)kf_grid_voxels(&fixed->image.grid);
    if (fixed->mask.data) {
        int64_t inside = 0;
        for (int64_t n = 0, end = kf_grid_voxels(&fixed->mask.grid); n < end; n++)
            inside += ((const uint8_t *)fixed->mask.data)[n] != 0;
        voxels = (double)inside;
    }
    double volume = voxels / (double)wanted, low = 0.5, high = 200;
    for (int i = 0; i < 40; i++) { // a cube root without libm's
        double middle = 0.5 * (low + high);
        *(middle * middle * middle < volume ? &low : &high) = middle;
    }
    return high < 1 ? 1 : high;
}

void kf_reg_samples_lay(const struct kf_reg_image *fixed, int64_t wanted, uint64_t seed,
                        const struct kf_reg_range *range, struct kf_reg_samples *s)
{
    const int64_t *dim = fixed->image.grid.dim;
    double edge = cell_edge(fixed, wanted), sum = 0;
    int64_t cells[3];
    s->count = 0;
    for (int a = 0; a < 3; a++)
        cells[a] = (int64_t)ceil((double)(dim[a] - 1) / edge);
    for (int64_t c = 0, end = cells[0] * cells[1] * cells[2]; c < end && s->count < s->room; c++) {
        const int64_t cell[3] = {c % cells[0], c / cells[0] % cells[1], c / cells[0] / cells[1]};
        uint64_t random = mix(seed ^ mix((uint64_t)c));
        double p[3];
        int inside = 1;
        for (int a = 0; a < 3; a++) {
            p[a] = floor(((double)cell[a] + (double)(random >> (21 * a) & 0x1fffff) * 0x1p-21) * edge);
            inside &= p[a] <= (double)(dim[a] - 1);
        }
        int64_t at = (int64_t)p[0] + dim[0] * ((int64_t)p[1] + dim[1] * (int64_t)p[2]);
        if (inside && !masked_out(fixed, at))
            add_sample(fixed, p, at, s);
    }
    read_values(fixed, range, s);
    for (int64_t n = 0; n < s->count; n++)
        sum += (double)(s->x[n] * s->x[n] + s->y[n] * s->y[n] + s->z[n] * s->z[n]);
    s->radius = s->count ? sqrt(sum / (double)s->count) : 1;
    s->radius = s->radius > 1 ? s->radius : 1;
    for (int64_t n = s->count; n < s->room && n < s->count + KF_REG_LANES; n++)
        s->x[n] = s->y[n] = s->z[n] = s->u[n] = s->gx[n] = s->gy[n] = s->gz[n] = 0;
}

// ---- value ranges and moments ----

int kf_reg_range_find(const struct kf_work *work, const struct kf_reg_image *image, struct kf_reg_range *range,
                      enum kf_kernel_status *status)
{
    int64_t *count = kf_work_take(work, 65536 * (int64_t)sizeof *count);
    *status = count ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!count)
        return 0;
    memset(count, 0, 65536 * sizeof *count);
    const int16_t *value = image->image.data;
    const uint8_t *mask = image->mask.data;
    int64_t total = 0;
    for (int64_t n = 0, end = kf_grid_voxels(&image->image.grid); n < end; n++)
        if (!mask || mask[n]) {
            count[value[n] + 32768]++;
            total++;
        }
    int64_t leave = total / 5000, below = 0, above = 0;
    int low = 0, high = 65535;
    for (; low < 65535 && below + count[low] <= leave; low++)
        below += count[low];
    for (; high > low && above + count[high] <= leave; high--)
        above += count[high];
    kf_work_give(work, count);
    if (high - low < 1)
        return 0;
    range->low = (float)(low - 32768);
    range->scale = (float)(KF_REG_BINS - 1) / (float)(high - low);
    return 1;
}

void kf_reg_moments_find(const struct kf_reg_image *image, const struct kf_reg_range *range, struct kf_reg_moments *out)
{
    const int64_t *dim = image->image.grid.dim;
    const int16_t *value = image->image.data;
    const uint8_t *mask = image->mask.data;
    double sum = 0, first[3] = {0}, second[9] = {0};
    *out = (struct kf_reg_moments){0};
    double middle[3] = {0.5 * (double)(dim[0] - 1), 0.5 * (double)(dim[1] - 1), 0.5 * (double)(dim[2] - 1)};
    kf_grid_to_lps(&image->image.grid, middle, out->middle);
    for (int64_t n = 0, end = kf_grid_voxels(&image->image.grid); n < end; n++) {
        double t = (double)(((float)value[n] - range->low) * range->scale) / KF_REG_BINS;
        if (t < 0.1 || (mask && !mask[n]))
            continue;
        double w = t < 1 ? t : 1,
               p[3] = {(double)(n % dim[0]), (double)(n / dim[0] % dim[1]), (double)(n / dim[0] / dim[1])}, q[3];
        kf_grid_to_lps(&image->image.grid, p, q);
        sum += w;
        for (int r = 0; r < 3; r++) {
            first[r] += w * (q[r] - out->middle[r]);
            for (int c = 0; c < 3; c++)
                second[3 * r + c] += w * (q[r] - out->middle[r]) * (q[c] - out->middle[c]);
        }
    }
    sum = sum > 0 ? sum : 1;
    for (int r = 0; r < 3; r++) {
        first[r] /= sum;
        out->centre[r] = out->middle[r] + first[r];
    }
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            second[3 * r + c] = second[3 * r + c] / sum - first[r] * first[c];
    kf_eigen_symmetric(3, second, out->spread, out->axes);
}
