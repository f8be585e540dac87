// A smooth field by few coefficients, and the step that suits the data best. Sums go block by block, in order.
#include "workers/kernels/register_deform_inside.h"

#include <string.h>

#define CG_STEPS 60
#define CG_SMALL 1e-3 // of the first residual, squared
#define BLOCK    2048

int kf_spline_init(struct kf_spline *s, const int64_t nodes[3], int knot)
{
    s->knot = knot;
    for (int a = 0; a < 3; a++) {
        if (nodes[a] < 2 || nodes[a] > KF_SPLINE_MOST)
            return 0;
        s->nodes[a] = nodes[a];
        s->dim[a] = (nodes[a] + knot - 2) / knot + 3;
    }
    s->count = s->dim[0] * s->dim[1] * s->dim[2];
    return 1;
}

static int64_t nodes_of(const struct kf_spline *s)
{
    return s->nodes[0] * s->nodes[1] * s->nodes[2];
}

// The largest plane between coefficients and nodes.
static int64_t between(const struct kf_spline *s)
{
    int64_t most = 1;
    for (int a = 0; a < 3; a++)
        most *= s->nodes[a] > s->dim[a] ? s->nodes[a] : s->dim[a];
    return most;
}

int64_t kf_spline_scratch(const struct kf_spline *s)
{
    return 6 * between(s) + 6 * nodes_of(s) + 18 * s->count;
}

// The first of four coefficients that node i depends on, and their weights.
static int64_t weights(const struct kf_spline *s, int64_t nodes, int64_t i, int squared, float w[4])
{
    int64_t first = i / s->knot, last = (nodes + s->knot - 2) / s->knot - 1;
    first = first > last ? last : first;
    float t = (float)(i - first * s->knot) / (float)s->knot, r = 1 - t;
    w[0] = r * r * r * (1.0f / 6);
    w[1] = (3 * t * t * t - 6 * t * t + 4) * (1.0f / 6);
    w[2] = (3 * r * r * r - 6 * r * r + 4) * (1.0f / 6);
    w[3] = t * t * t * (1.0f / 6);
    for (int n = 0; squared && n < 4; n++)
        w[n] *= w[n];
    return first;
}

// Coefficients → nodes along one axis; dim: of `in`.
static void expand(const struct kf_spline *s, int axis, const int64_t dim[3], const float *in, float *out)
{
    const int64_t run = axis == 0 ? 1 : axis == 1 ? dim[0] : dim[0] * dim[1];
    const int64_t lines = axis == 2 ? 1 : axis == 1 ? dim[2] : dim[1] * dim[2], nodes = s->nodes[axis];
    for (int64_t i = 0; i < nodes; i++) {
        float w[4];
        const int64_t first = weights(s, nodes, i, 0, w);
        for (int64_t line = 0; line < lines; line++) {
            const float *p = in + (line * dim[axis] + first) * run;
            float *q = out + (line * nodes + i) * run;
            for (int64_t n = 0; n < run; n++)
                q[n] = w[0] * p[n] + w[1] * p[n + run] + w[2] * p[n + 2 * run] + w[3] * p[n + 3 * run];
        }
    }
}

// Its transpose (of the squared weights); dim: of `out`.
static void gather(const struct kf_spline *s, int axis, const int64_t dim[3], int squared, const float *in, float *out)
{
    const int64_t run = axis == 0 ? 1 : axis == 1 ? dim[0] : dim[0] * dim[1];
    const int64_t lines = axis == 2 ? 1 : axis == 1 ? dim[2] : dim[1] * dim[2], nodes = s->nodes[axis];
    memset(out, 0, (size_t)(run * lines * dim[axis]) * sizeof *out);
    for (int64_t i = 0; i < nodes; i++) {
        float w[4];
        const int64_t first = weights(s, nodes, i, squared, w);
        for (int64_t line = 0; line < lines; line++) {
            float *p = out + (line * dim[axis] + first) * run;
            const float *q = in + (line * nodes + i) * run;
            for (int k = 0; k < 4; k++)
                for (int64_t n = 0; n < run; n++)
                    p[n + k * run] += w[k] * q[n];
        }
    }
}

static void to_nodes(const struct kf_spline *s, const float *c, float *values, float *scratch)
{
    float *first = scratch, *second = scratch + between(s);
    const int64_t two[3] = {s->nodes[0], s->dim[1], s->dim[2]}, three[3] = {s->nodes[0], s->nodes[1], s->dim[2]};
    expand(s, 0, s->dim, c, first);
    expand(s, 1, two, first, second);
    expand(s, 2, three, second, values);
}

static void to_coefficients(const struct kf_spline *s, const float *values, int squared, float *c, float *scratch)
{
    float *first = scratch, *second = scratch + between(s);
    const int64_t three[3] = {s->nodes[0], s->nodes[1], s->dim[2]}, two[3] = {s->nodes[0], s->dim[1], s->dim[2]};
    gather(s, 2, three, squared, values, first);
    gather(s, 1, two, squared, first, second);
    gather(s, 0, s->dim, squared, second, c);
}

void kf_spline_at_nodes(const struct kf_work *work, const struct kf_spline *s, const float *c, float *values,
                        float *scratch)
{
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int a = 0; a < 3; a++)
        to_nodes(s, c + a * s->count, values + a * nodes_of(s), scratch + a * 2 * between(s));
}

// Adds bend · (squared second differences of c, mixed ones twice) derived by c; affine fields cost nothing. With c NULL
// the diagonal of that matrix.
static void bend_by(const struct kf_spline *s, float bend, const float *c, float *out)
{
    const int64_t *dim = s->dim, step[3] = {1, dim[0], dim[0] * dim[1]};
    for (int64_t n = 0; n < s->count; n++) {
        const int64_t at[3] = {n % dim[0], n / step[1] % dim[1], n / step[2]};
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
    static const int entry[3][3] = {{0, 3, 4}, {3, 1, 5}, {4, 5, 2}};
    const int64_t n = nodes_of(v->s), count = v->s->count;
    kf_spline_at_nodes(work, v->s, c, v->u, v->lines);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int a = 0; a < 3; a++) {
        const float *x = v->model + entry[a][0] * n, *y = v->model + entry[a][1] * n, *z = v->model + entry[a][2] * n;
        for (int64_t i = 0; i < n; i++)
            v->pulled[a * n + i] = x[i] * v->u[i] + y[i] * v->u[n + i] + z[i] * v->u[2 * n + i];
        to_coefficients(v->s, v->pulled + a * n, 0, out + a * count, v->lines + a * 2 * between(v->s));
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
    v.u = scratch + 6 * between(s);
    v.pulled = v.u + 3 * n;
    float *r = v.pulled + 3 * n, *z = r + all, *p = z + all, *q = p + all, *x = q + all, *diagonal = x + all;
    memset(x, 0, (size_t)all * sizeof *x);
    for (int a = 0; a < 3; a++) {
        float *to = r + a * s->count, *d = diagonal + a * s->count;
        to_coefficients(s, model + (6 + a) * n, 0, to, v.lines);
        bend_by(s, bend, c + a * s->count, to);
        to_coefficients(s, model + a * n, 1, d, v.lines);
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
