// A smooth field by few coefficients, and the step that suits the data best. Sums go block by block, in order.
#include "workers/kernels/register_deform_inside.h"

#include <string.h>

#define CG_STEPS 60
#define CG_SMALL 1e-3 // of the first residual, squared
#define BLOCK    2048

static int64_t least_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// The first of four coefficients that node i depends on.
static int64_t first_of(const struct kf_spline *s, int axis, int64_t i)
{
    return least_of(i / s->knot, s->dim[axis] - 4);
}

int kf_spline_init(struct kf_spline *s, const int64_t nodes[3], int knot)
{
    s->knot = knot;
    for (int a = 0; a < 3; a++) {
        if (nodes[a] < 2 || nodes[a] > KF_SPLINE_MOST)
            return 0;
        s->nodes[a] = nodes[a];
        s->dim[a] = (nodes[a] + knot - 2) / knot + 3;
        for (int64_t i = 0; i < nodes[a]; i++) {
            const float t = (float)(i - first_of(s, a, i) * knot) / (float)knot, r = 1 - t;
            float *w = s->weight[a][i];
            w[0] = r * r * r * (1.0f / 6);
            w[1] = (3 * t * t * t - 6 * t * t + 4) * (1.0f / 6);
            w[2] = (3 * r * r * r - 6 * r * r + 4) * (1.0f / 6);
            w[3] = t * t * t * (1.0f / 6);
        }
    }
    s->count = s->dim[0] * s->dim[1] * s->dim[2];
    return 1;
}

static int64_t nodes_of(const struct kf_spline *s)
{
    return s->nodes[0] * s->nodes[1] * s->nodes[2];
}

// Between coefficients and nodes: per coefficient along the last axis and component a plane of nodes, and one that has
// nodes along the first axis only.
static int64_t planes_of(const struct kf_spline *s)
{
    return 3 * s->dim[2] * s->nodes[0] * (s->nodes[1] + s->dim[1]);
}

int64_t kf_spline_scratch(const struct kf_spline *s)
{
    return planes_of(s) + 6 * nodes_of(s) + 18 * s->count;
}

// Node i's weight of its coefficient k.
static float weight(const struct kf_spline *s, int axis, int64_t i, int k, int squared)
{
    const float w = s->weight[axis][i][k];
    return squared ? w * w : w;
}

// The planes of scratch of coefficient z and component a.
struct planes {
    float *nodes, *half; // nodes[0] × nodes[1], nodes[0] × dim[1]
};

static struct planes planes_at(const struct kf_spline *s, int64_t a_and_z, float *scratch)
{
    const int64_t whole = s->nodes[0] * s->nodes[1];
    float *nodes = scratch + a_and_z * (whole + s->nodes[0] * s->dim[1]);
    return (struct planes){nodes, nodes + whole};
}

// Coefficients of a plane → its nodes.
static void expand_plane(const struct kf_spline *s, const float *c, struct planes to)
{
    const int64_t run = s->nodes[0];
    for (int64_t i = 0; i < run; i++) {
        const float *w = s->weight[0][i];
        for (int64_t j = 0; j < s->dim[1]; j++) {
            const float *p = c + j * s->dim[0] + first_of(s, 0, i);
            to.half[j * run + i] = w[0] * p[0] + w[1] * p[1] + w[2] * p[2] + w[3] * p[3];
        }
    }
    for (int64_t j = 0; j < s->nodes[1]; j++) {
        const float *p = to.half + first_of(s, 1, j) * run, *w = s->weight[1][j];
        for (int64_t i = 0; i < run; i++)
            to.nodes[j * run + i] = w[0] * p[i] + w[1] * p[i + run] + w[2] * p[i + 2 * run] + w[3] * p[i + 3 * run];
    }
}

// Its transpose (of the squared weights): nodes of a plane → coefficients.
static void gather_plane(const struct kf_spline *s, int squared, struct planes from, float *c)
{
    const int64_t run = s->nodes[0];
    memset(from.half, 0, (size_t)(run * s->dim[1]) * sizeof *from.half);
    memset(c, 0, (size_t)(s->dim[0] * s->dim[1]) * sizeof *c);
    for (int64_t j = 0; j < s->nodes[1]; j++) {
        float *p = from.half + first_of(s, 1, j) * run;
        const float *q = from.nodes + j * run;
        for (int k = 0; k < 4; k++) {
            const float w = weight(s, 1, j, k, squared);
            for (int64_t i = 0; i < run; i++)
                p[i + k * run] += w * q[i];
        }
    }
    for (int64_t i = 0; i < run; i++) {
        const float w[4] = {weight(s, 0, i, 0, squared), weight(s, 0, i, 1, squared), weight(s, 0, i, 2, squared),
                            weight(s, 0, i, 3, squared)};
        for (int64_t j = 0; j < s->dim[1]; j++) {
            float *p = c + j * s->dim[0] + first_of(s, 0, i), value = from.half[j * run + i];
            for (int k = 0; k < 4; k++)
                p[k] += w[k] * value;
        }
    }
}

// Three planes of values at the nodes; with a model also what its matrices make of them.
static void to_nodes(const struct kf_work *work, const struct kf_spline *s, const float *c, const float *model,
                     float *values, float *pulled, float *scratch)
{
    static const int entry[3][3] = {{0, 3, 4}, {3, 1, 5}, {4, 5, 2}};
    const int64_t n = nodes_of(s), whole = s->nodes[0] * s->nodes[1], flat = s->dim[0] * s->dim[1];
    const int64_t next = whole + s->nodes[0] * s->dim[1];
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t at = 0; at < 3 * s->dim[2]; at++)
        expand_plane(s, c + at * flat, planes_at(s, at, scratch));
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < s->nodes[2]; k++) {
        const float *w = s->weight[2][k];
        for (int a = 0; a < 3; a++) {
            const float *p = planes_at(s, a * s->dim[2] + first_of(s, 2, k), scratch).nodes;
            float *q = values + a * n + k * whole;
            for (int64_t i = 0; i < whole; i++)
                q[i] = w[0] * p[i] + w[1] * p[i + next] + w[2] * p[i + 2 * next] + w[3] * p[i + 3 * next];
        }
        const float *u = values + k * whole;
        for (int a = 0; model && a < 3; a++) {
            const float *x = model + entry[a][0] * n + k * whole, *y = model + entry[a][1] * n + k * whole;
            const float *z = model + entry[a][2] * n + k * whole;
            float *q = pulled + a * n + k * whole;
            for (int64_t i = 0; i < whole; i++)
                q[i] = x[i] * u[i] + y[i] * u[n + i] + z[i] * u[2 * n + i];
        }
    }
}

static void to_coefficients(const struct kf_work *work, const struct kf_spline *s, const float *values, int squared,
                            float *c, float *scratch)
{
    const int64_t n = nodes_of(s), whole = s->nodes[0] * s->nodes[1], flat = s->dim[0] * s->dim[1];
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t at = 0; at < 3 * s->dim[2]; at++) {
        const int64_t a = at / s->dim[2], z = at % s->dim[2];
        const struct planes to = planes_at(s, at, scratch);
        memset(to.nodes, 0, (size_t)whole * sizeof *to.nodes);
        for (int64_t k = 0; k < s->nodes[2]; k++) {
            const int64_t which = z - first_of(s, 2, k);
            if (which < 0 || which > 3)
                continue;
            const float *p = values + a * n + k * whole, w = weight(s, 2, k, (int)which, squared);
            for (int64_t i = 0; i < whole; i++)
                to.nodes[i] += w * p[i];
        }
        gather_plane(s, squared, to, c + at * flat);
    }
}

void kf_spline_at_nodes(const struct kf_work *work, const struct kf_spline *s, const float *c, float *values,
                        float *scratch)
{
    to_nodes(work, s, c, NULL, values, NULL, scratch);
}

// Adds bend · (squared second differences of c, mixed ones twice) derived by c; affine fields cost nothing. With c NULL
// the diagonal of that matrix.
static void bend_by(const struct kf_spline *s, float bend, const float *c, float *out)
{
    const int64_t *dim = s->dim, step[3] = {1, dim[0], dim[0] * dim[1]};
    for (int64_t n = 0, k = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++, n++) {
                const int64_t at[3] = {i, j, k};
                for (int a = 0; a < 3; a++) {
                    const int b = (a + 1) % 3;
                    const int64_t p = step[a], q = step[b];
                    if (at[a] > 0 && at[a] + 1 < dim[a]) {
                        float v = c ? bend * (c[n - p] - 2 * c[n] + c[n + p]) : bend;
                        out[n - p] += v;
                        out[n] += c ? -2 * v : 4 * v;
                        out[n + p] += v;
                    }
                    if (at[a] + 1 < dim[a] && at[b] + 1 < dim[b]) {
                        float v = 2 * bend * (c ? c[n] - c[n + p] - c[n + q] + c[n + p + q] : 1), w = c ? -v : v;
                        out[n] += v;
                        out[n + p] += w;
                        out[n + q] += w;
                        out[n + p + q] += v;
                    }
                }
            }
}

static double dot(int64_t n, const float *a, const float *b)
{
    double sum = 0;
    for (int64_t from = 0; from < n; from += BLOCK) {
        double lane[4] = {0};
        for (int64_t i = from; i < n && i < from + BLOCK; i++)
            lane[i & 3] += (double)a[i] * (double)b[i];
        sum += (lane[0] + lane[1]) + (lane[2] + lane[3]);
    }
    return sum;
}

struct solver {
    const struct kf_spline *s;
    const float *model;
    float bend, damp;
    float *lines, *u, *pulled; // scratch; values at the nodes
};

// out = (BᵀHB + bend + damp) c.
static void apply(const struct kf_work *work, const struct solver *v, const float *c, float *out)
{
    const int64_t count = v->s->count;
    to_nodes(work, v->s, c, v->model, v->u, v->pulled, v->lines);
    to_coefficients(work, v->s, v->pulled, 0, out, v->lines);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int a = 0; a < 3; a++) {
        bend_by(v->s, v->bend, c + a * count, out + a * count);
        for (int64_t i = 0; i < count; i++)
            out[a * count + i] += v->damp * c[a * count + i];
    }
}

void kf_spline_step(const struct kf_work *work, const struct kf_spline *s, const float *model, float bend, float damp,
                    float *c, float *scratch)
{
    const int64_t n = nodes_of(s), all = 3 * s->count;
    struct solver v = {.s = s, .model = model, .bend = bend, .damp = damp};
    v.lines = scratch;
    v.u = scratch + planes_of(s);
    v.pulled = v.u + 3 * n;
    float *r = v.pulled + 3 * n, *z = r + all, *p = z + all, *q = p + all, *x = q + all, *diagonal = x + all;
    memset(x, 0, (size_t)all * sizeof *x);
    to_coefficients(work, s, model + 6 * n, 0, r, v.lines);
    to_coefficients(work, s, model, 1, diagonal, v.lines);
    for (int a = 0; a < 3; a++) {
        float *to = r + a * s->count, *d = diagonal + a * s->count;
        bend_by(s, bend, c + a * s->count, to);
        bend_by(s, bend, NULL, d);
        for (int64_t i = 0; i < s->count; i++) {
            to[i] = -to[i];
            d[i] += damp;
        }
    }
    double old = 0, begin = 0;
    for (int step = 0; step < CG_STEPS; step++) {
        for (int64_t i = 0; i < all; i++)
            z[i] = r[i] / diagonal[i];
        double rz = dot(all, r, z);
        begin = step ? begin : rz;
        if (!(rz > CG_SMALL * begin) || rz <= 0)
            break;
        float beta = step ? (float)(rz / old) : 0;
        for (int64_t i = 0; i < all; i++)
            p[i] = step ? z[i] + beta * p[i] : z[i];
        apply(work, &v, p, q);
        double pq = dot(all, p, q);
        if (!(pq > 0))
            break;
        float alpha = (float)(rz / pq);
        for (int64_t i = 0; i < all; i++) {
            x[i] += alpha * p[i];
            r[i] -= alpha * q[i];
        }
        old = rz;
    }
    for (int64_t i = 0; i < all; i++)
        c[i] += x[i];
}
