// Cubic B-spline nets through gridded values. All weights are products of one number per axis, so fitting and
// evaluating go one axis at a time.
#include "workers/kernels/bias_inside.h"

#include <string.h>

static void basis(double u, double w[4])
{
    double v = 1 - u;
    w[0] = v * v * v / 6;
    w[1] = (3 * u * u * u - 6 * u * u + 4) / 6;
    w[2] = (3 * v * v * v - 6 * v * v + 4) / 6;
    w[3] = u * u * u / 6;
}

// The span of a place between 0 and 1, clamped, and the weights of its four points.
static int64_t span_of(double place, int64_t spans, double w[4])
{
    double t = (place < 0 ? 0 : place > 1 ? 1 : place) * (double)spans;
    int64_t span = (int64_t)t < spans - 1 ? (int64_t)t : spans - 1;
    basis(t - (double)span, w);
    return span;
}

// sums (points³, zero before) += Σ over voxels of the product of three axis weights times the value (1 without one).
static void contract(const struct kf_work *work, struct kf_bias_net *net, const uint8_t *use, const float *value,
                     float *const axis[3], double *sums)
{
    int64_t p = net->points, plane = p * p;
    const int64_t *dim = net->dim;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < dim[2]; k++) {
        double *slab = net->slab + k * plane;
        memset(slab, 0, (size_t)plane * sizeof *slab);
        for (int64_t j = 0; j < dim[1]; j++) {
            double row[KF_BIAS_MOST] = {0};
            int64_t n = (k * dim[1] + j) * dim[0];
            for (int64_t i = 0; i < dim[0]; i++)
                for (int a = 0; a < 4 && use[n + i]; a++)
                    row[net->first[0][i] + a] += (double)axis[0][4 * i + a] * (value ? (double)value[n + i] : 1);
            for (int b = 0; b < 4; b++)
                for (int64_t x = 0; x < p; x++)
                    slab[(net->first[1][j] + b) * p + x] += (double)axis[1][4 * j + b] * row[x];
        }
    }
    for (int64_t k = 0; k < dim[2]; k++) // in order: the same sums for any number of threads
        for (int c = 0; c < 4; c++)
            for (int64_t n = 0; n < plane; n++)
                sums[(net->first[2][k] + c) * plane + n] += (double)axis[2][4 * k + c] * net->slab[k * plane + n];
}

static void set_weights(struct kf_bias_net *net, int spans, float *square[3])
{
    for (int a = 0; a < 3; a++)
        for (int64_t i = 0; i < net->dim[a]; i++) {
            double w[4], sum = 0;
            double place = net->dim[a] > 1 ? (double)i / (double)(net->dim[a] - 1) : 0;
            net->first[a][i] = span_of(place, spans, w);
            for (int t = 0; t < 4; t++)
                sum += w[t] * w[t];
            for (int t = 0; t < 4; t++) {
                net->weight[a][4 * i + t] = (float)w[t];
                net->cube[a][4 * i + t] = (float)(w[t] * w[t] * w[t] / sum);
                square[a][4 * i + t] = (float)(w[t] * w[t]);
            }
        }
}

enum kf_kernel_status kf_bias_net_make(const struct kf_work *work, const int64_t dim[3], int spans, const uint8_t *use,
                                       struct kf_bias_net *net)
{
    int64_t p = spans + 3, total = dim[0] + dim[1] + dim[2];
    *net = (struct kf_bias_net){.dim = {dim[0], dim[1], dim[2]}, .points = p};
    int64_t doubles = 2 * p * p * p + dim[2] * p * p;
    net->block = kf_work_take(work, (doubles + total) * 8 + 12 * total * (int64_t)sizeof(float));
    if (!net->block)
        return KF_KERNEL_NOMEM;
    net->point = net->block;
    net->share = net->point + p * p * p;
    net->slab = net->share + p * p * p;
    int64_t *first = (int64_t *)(void *)(net->slab + dim[2] * p * p);
    float *weight = (float *)(void *)(first + total), *square[3];
    for (int a = 0; a < 3; a++) {
        net->first[a] = first, first += dim[a];
        net->weight[a] = weight, weight += 4 * dim[a];
        net->cube[a] = weight, weight += 4 * dim[a];
        square[a] = weight, weight += 4 * dim[a];
    }
    set_weights(net, spans, square);
    memset(net->share, 0, (size_t)(p * p * p) * sizeof *net->share);
    contract(work, net, use, NULL, square, net->share);
    return KF_KERNEL_OK;
}

void kf_bias_net_fit(const struct kf_work *work, struct kf_bias_net *net, const uint8_t *use, const float *value)
{
    int64_t count = net->points * net->points * net->points;
    memset(net->point, 0, (size_t)count * sizeof *net->point);
    contract(work, net, use, value, net->cube, net->point);
    for (int64_t n = 0; n < count; n++)
        net->point[n] = net->share[n] > 1e-12 ? net->point[n] / net->share[n] : 0;
}

// The control points of one row: the net summed over its y and z weights.
static void row_points(const struct kf_bias_net *net, int64_t y, const double wy[4], int64_t z, const double wz[4],
                       double row[KF_BIAS_MOST])
{
    int64_t p = net->points;
    memset(row, 0, (size_t)p * sizeof *row);
    for (int c = 0; c < 4; c++)
        for (int b = 0; b < 4; b++)
            for (int64_t x = 0; x < p; x++)
                row[x] += wy[b] * wz[c] * net->point[((z + c) * p + y + b) * p + x];
}

void kf_bias_net_add(const struct kf_work *work, const struct kf_bias_net *net, float *to)
{
    const int64_t *dim = net->dim;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++) {
            double row[KF_BIAS_MOST], wy[4], wz[4];
            for (int t = 0; t < 4; t++)
                wy[t] = (double)net->weight[1][4 * j + t], wz[t] = (double)net->weight[2][4 * k + t];
            row_points(net, net->first[1][j], wy, net->first[2][k], wz, row);
            float *at = to + (k * dim[1] + j) * dim[0];
            for (int64_t i = 0; i < dim[0]; i++) {
                const float *w = net->weight[0] + 4 * i;
                const double *q = row + net->first[0][i];
                at[i] += (float)((double)w[0] * q[0] + (double)w[1] * q[1] + (double)w[2] * q[2] + (double)w[3] * q[3]);
            }
        }
}

void kf_bias_net_row(const struct kf_bias_net *net, double x0, double dx, double y, double z, int64_t count, float *row)
{
    double points[KF_BIAS_MOST], wx[4], wy[4], wz[4];
    int64_t spans = net->points - 3, at_y = span_of(y, spans, wy), at_z = span_of(z, spans, wz);
    row_points(net, at_y, wy, at_z, wz, points);
    for (int64_t i = 0; i < count; i++) {
        const double *q = points + span_of(x0 + (double)i * dx, spans, wx);
        row[i] += (float)(wx[0] * q[0] + wx[1] * q[1] + wx[2] * q[2] + wx[3] * q[3]);
    }
}
