#include "workers/kernels/field.h"

#include <math.h>
#include <string.h>

#define AT_ONCE  65536 // nodes between looks at whether to stop
#define HOPELESS 40    // rounds of unfolding without fewer folds than ever before

enum kf_kernel_status kf_field_take(const struct kf_work *work, const struct kf_grid *grid, struct kf_field *field)
{
    int64_t bytes = 3 * kf_grid_voxels(grid) * (int64_t)sizeof(float);
    *field = (struct kf_field){.grid = *grid, .xyz = kf_work_take(work, bytes)};
    if (!field->xyz)
        return KF_KERNEL_NOMEM;
    memset(field->xyz, 0, (size_t)bytes);
    return KF_KERNEL_OK;
}

void kf_field_release(const struct kf_work *work, struct kf_field *field)
{
    kf_work_give(work, field->xyz);
    *field = (struct kf_field){0};
}

// d at a place given in voxels of the field.
static void at_ijk(const struct kf_field *f, const double ijk[3], double d[3])
{
    const int64_t *dim = f->grid.dim, total = kf_grid_voxels(&f->grid);
    int64_t low[3], step[3] = {1, dim[0], dim[0] * dim[1]};
    double t[3];
    for (int a = 0; a < 3; a++) {
        double most = (double)(dim[a] - 1), p = ijk[a] > 0 ? ijk[a] < most ? ijk[a] : most : 0;
        low[a] = (int64_t)p;
        if (low[a] == dim[a] - 1)
            step[a] = 0;
        t[a] = p - (double)low[a];
    }
    const float *at = f->xyz + low[0] + dim[0] * (low[1] + dim[1] * low[2]);
    for (int a = 0; a < 3; a++, at += total) {
        double line[4];
        for (int n = 0; n < 4; n++) {
            const float *p = at + (n & 1 ? step[1] : 0) + (n & 2 ? step[2] : 0);
            line[n] = (double)p[0] + t[0] * ((double)p[step[0]] - (double)p[0]);
        }
        double front = line[0] + t[1] * (line[1] - line[0]), back = line[2] + t[1] * (line[3] - line[2]);
        d[a] = front + t[2] * (back - front);
    }
}

void kf_field_at(const struct kf_field *field, const double p_lps[3], double d[3])
{
    double ijk[3];
    kf_grid_to_ijk(&field->grid, p_lps, ijk);
    at_ijk(field, ijk, d);
}

void kf_field_apply(const struct kf_affine *linear, const struct kf_field *field, const double p[3], double q[3])
{
    double d[3] = {0}, moved[3];
    if (field->xyz)
        kf_field_at(field, p, d);
    for (int a = 0; a < 3; a++)
        moved[a] = p[a] + d[a];
    kf_affine_apply(linear, moved, q);
}

static void node_lps(const struct kf_grid *g, int64_t n, double p[3])
{
    const double ijk[3] = {(double)(n % g->dim[0]), (double)(n / g->dim[0] % g->dim[1]),
                           (double)(n / g->dim[0] / g->dim[1])};
    kf_grid_to_lps(g, ijk, p);
}

enum kf_kernel_status kf_field_compose(const struct kf_work *work, const struct kf_field *step, struct kf_field *field)
{
    struct kf_field was = *field;
    int64_t total = kf_grid_voxels(&field->grid);
    field->xyz = kf_work_take(work, 3 * total * (int64_t)sizeof(float));
    if (!field->xyz) {
        *field = was;
        return KF_KERNEL_NOMEM;
    }
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t n = 0; n < total; n++) {
        double p[3], d[3];
        node_lps(&was.grid, n, p);
        for (int a = 0; a < 3; a++)
            p[a] += (double)step->xyz[a * total + n];
        kf_field_at(&was, p, d);
        for (int a = 0; a < 3; a++)
            field->xyz[a * total + n] = (float)(d[a] + (double)step->xyz[a * total + n]);
    }
    kf_work_give(work, was.xyz);
    return KF_KERNEL_OK;
}

// ---- Jacobian ----

// Least and most over the 8 ways of taking differences at node (i, j, k). Row a of a matrix is the difference along
// grid axis a; directions are orthonormal, so the determinant is that of I + D·Rᵀ.
static struct kf_field_range jacobian_at(const struct kf_field *f, const int64_t at[3])
{
    const int64_t *dim = f->grid.dim, total = kf_grid_voxels(&f->grid);
    const int64_t stride[3] = {1, dim[0], dim[0] * dim[1]};
    int64_t n = at[0] + stride[1] * at[1] + stride[2] * at[2];
    struct kf_field_range range = {1e30, -1e30};
    double slope[3][2][3];
    for (int a = 0; a < 3; a++)
        for (int side = 0; side < 2; side++) {
            int inside = side ? at[a] + 1 < dim[a] : at[a] > 0;
            int64_t from = side || !inside ? n : n - stride[a], to = side && inside ? n + stride[a] : n;
            for (int c = 0; c < 3; c++) {
                double unit = f->grid.direction[3 * c + a];
                slope[a][side][c] =
                    unit + ((double)f->xyz[c * total + to] - (double)f->xyz[c * total + from]) / f->grid.spacing_mm[a];
            }
        }
    for (int way = 0; way < 8; way++) {
        const double *x = slope[0][way & 1], *y = slope[1][way >> 1 & 1], *z = slope[2][way >> 2];
        double det = x[0] * (y[1] * z[2] - y[2] * z[1]) - x[1] * (y[0] * z[2] - y[2] * z[0]) +
                     x[2] * (y[0] * z[1] - y[1] * z[0]);
        range.least = det < range.least ? det : range.least;
        range.most = det > range.most ? det : range.most;
    }
    return range;
}

struct kf_field_range kf_field_jacobian(const struct kf_work *work, const struct kf_field *f)
{
    struct kf_field_range range = {1e30, -1e30};
    const int64_t *dim = f->grid.dim;
#pragma omp parallel num_threads(work->threads)
    {
        struct kf_field_range mine = {1e30, -1e30};
#pragma omp for schedule(static)
        for (int64_t n = 0; n < kf_grid_voxels(&f->grid); n++) {
            const int64_t at[3] = {n % dim[0], n / dim[0] % dim[1], n / dim[0] / dim[1]};
            struct kf_field_range here = jacobian_at(f, at);
            mine.least = here.least < mine.least ? here.least : mine.least;
            mine.most = here.most > mine.most ? here.most : mine.most;
        }
#pragma omp critical // the least and the most do not depend on the order
        {
            range.least = mine.least < range.least ? mine.least : range.least;
            range.most = mine.most > range.most ? mine.most : range.most;
        }
    }
    return range;
}

// Moves what is around a node half way to its neighbours' mean.
static void relax(struct kf_field *f, const uint8_t *keep, const int64_t at[3])
{
    const int64_t *dim = f->grid.dim, total = kf_grid_voxels(&f->grid);
    const int64_t stride[3] = {1, dim[0], dim[0] * dim[1]};
    for (int way = 0; way < 27; way++) {
        const int64_t off[3] = {way % 3 - 1, way / 3 % 3 - 1, way / 9 - 1};
        int64_t n = 0, here[3];
        int inside = 1;
        for (int a = 0; a < 3; a++) {
            here[a] = at[a] + off[a];
            inside &= here[a] >= 0 && here[a] < dim[a];
            n += here[a] * stride[a];
        }
        inside = inside && !(keep && keep[n]);
        for (int c = 0; inside && c < 3; c++) {
            double sum = 0, count = 0;
            for (int a = 0; a < 3; a++) {
                sum += here[a] > 0 ? (double)f->xyz[c * total + n - stride[a]] : 0;
                sum += here[a] + 1 < dim[a] ? (double)f->xyz[c * total + n + stride[a]] : 0;
                count += (here[a] > 0) + (here[a] + 1 < dim[a]);
            }
            if (count > 0)
                f->xyz[c * total + n] = (float)(0.5 * (double)f->xyz[c * total + n] + 0.5 * sum / count);
        }
    }
}

enum kf_kernel_status kf_field_unfold(const struct kf_work *work, struct kf_field *f, const uint8_t *keep, double least)
{
    const int64_t *dim = f->grid.dim, total = kf_grid_voxels(&f->grid);
    uint8_t *folded = kf_work_take(work, total);
    if (!folded)
        return KF_KERNEL_NOMEM;
    enum kf_kernel_status status = KF_KERNEL_INVALID;
    int64_t fewest = INT64_MAX;
    for (int round = 0, better = 0; round - better < HOPELESS; round++) {
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t n = 0; n < total; n++) {
            const int64_t at[3] = {n % dim[0], n / dim[0] % dim[1], n / dim[0] / dim[1]};
            folded[n] = jacobian_at(f, at).least < least;
        }
        int64_t found = 0;
        for (int64_t n = 0; n < total; n++) {
            const int64_t at[3] = {n % dim[0], n / dim[0] % dim[1], n / dim[0] / dim[1]};
            found += folded[n];
            if (folded[n])
                relax(f, keep, at);
        }
        if (found < fewest) {
            fewest = found;
            better = round;
        }
        int stopped = work->cancelled && work->cancelled(work->user);
        if (!found || stopped) {
            status = found ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
            break;
        }
    }
    kf_work_give(work, folded);
    return status;
}

// ---- the inverse ----

double kf_field_invert_at(const struct kf_field *field, const double q[3], double p[3])
{
    const double goal[3] = {q[0], q[1], q[2]};
    double here[3] = {q[0], q[1], q[2]}, left = 0;
    for (int step = 0; step < 60; step++) {
        double d[3], square = 0;
        kf_field_at(field, here, d);
        for (int a = 0; a < 3; a++) {
            double miss = goal[a] - d[a] - here[a];
            square += miss * miss;
            here[a] += (step < 20 ? 1 : 0.5) * miss;
        }
        left = sqrt(square);
        if (left < 1e-4)
            break;
    }
    memcpy(p, here, sizeof here);
    return left;
}

enum kf_kernel_status kf_field_invert(const struct kf_work *work, const struct kf_field *field, struct kf_field *out)
{
    enum kf_kernel_status status = kf_field_take(work, &field->grid, out);
    int64_t total = kf_grid_voxels(&field->grid);
    for (int64_t begin = 0; begin < total && !status; begin += AT_ONCE) {
        int64_t end = begin + AT_ONCE < total ? begin + AT_ONCE : total;
        if (work->cancelled && work->cancelled(work->user)) {
            kf_field_release(work, out);
            return KF_KERNEL_CANCELLED;
        }
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t n = begin; n < end; n++) {
            double q[3], p[3];
            node_lps(&field->grid, n, q);
            kf_field_invert_at(field, q, p);
            for (int a = 0; a < 3; a++)
                out->xyz[a * total + n] = (float)(p[a] - q[a]);
        }
    }
    return status;
}

// ---- warping ----

static double voxel(const struct kf_volume *v, int64_t at)
{
    return v->type == KF_VOXEL_UINT8   ? ((const uint8_t *)v->data)[at]
           : v->type == KF_VOXEL_INT16 ? ((const int16_t *)v->data)[at]
                                       : (double)((const float *)v->data)[at];
}

static double sample(const struct kf_volume *v, const double ijk[3], int nearest, double outside)
{
    int64_t low[3], step[3] = {1, v->grid.dim[0], v->grid.dim[0] * v->grid.dim[1]};
    double t[3];
    for (int a = 0; a < 3; a++) {
        double most = (double)(v->grid.dim[a] - 1), p = ijk[a];
        if (!(p >= -0.5 && p <= most + 0.5))
            return outside;
        p = p > 0 ? p < most ? p : most : 0;
        low[a] = (int64_t)(nearest ? p + 0.5 : p);
        t[a] = nearest ? 0 : p - (double)low[a];
        if (low[a] >= v->grid.dim[a] - 1)
            step[a] = 0;
    }
    int64_t at = low[0] + v->grid.dim[0] * (low[1] + v->grid.dim[1] * low[2]);
    if (nearest)
        return voxel(v, at);
    double line[4];
    for (int n = 0; n < 4; n++) {
        int64_t p = at + (n & 1 ? step[1] : 0) + (n & 2 ? step[2] : 0);
        line[n] = voxel(v, p) + t[0] * (voxel(v, p + step[0]) - voxel(v, p));
    }
    double front = line[0] + t[1] * (line[1] - line[0]), back = line[2] + t[1] * (line[3] - line[2]);
    return front + t[2] * (back - front);
}

static void put(const struct kf_volume *v, int64_t at, double value)
{
    if (v->type == KF_VOXEL_FLOAT32)
        ((float *)v->data)[at] = (float)value;
    else if (v->type == KF_VOXEL_INT16)
        ((int16_t *)v->data)[at] = (int16_t)rint(value < -32768 ? -32768 : value > 32767 ? 32767 : value);
    else
        ((uint8_t *)v->data)[at] = (uint8_t)rint(value < 0 ? 0 : value > 255 ? 255 : value);
}

enum kf_kernel_status kf_field_warp(const struct kf_work *work, const struct kf_field *field,
                                    const struct kf_affine *linear, const struct kf_volume *in, int nearest,
                                    double outside, const struct kf_volume *out)
{
    if (in->type != out->type || in->type == KF_VOXEL_UINT16)
        return KF_KERNEL_INVALID;
    const int64_t *dim = out->grid.dim;
    for (int64_t begin = 0; begin < dim[2]; begin += 8) {
        int64_t end = begin + 8 < dim[2] ? begin + 8 : dim[2];
        if (kf_work_step(work, (double)begin / (double)dim[2]))
            return KF_KERNEL_CANCELLED;
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 16)
        for (int64_t row = begin * dim[1]; row < end * dim[1]; row++)
            for (int64_t i = 0; i < dim[0]; i++) {
                const double ijk[3] = {(double)i, (double)(row % dim[1]), (double)(row / dim[1])};
                double p[3], q[3], there[3];
                kf_grid_to_lps(&out->grid, ijk, p);
                kf_field_apply(linear, field, p, q);
                kf_grid_to_ijk(&in->grid, q, there);
                put(out, row * dim[0] + i, sample(in, there, nearest, outside));
            }
    }
    return KF_KERNEL_OK;
}
