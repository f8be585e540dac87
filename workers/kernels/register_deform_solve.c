// The smooth field nearest to what the nodes ask for: conjugate gradients (Hestenes and Stiefel 1952) with the diagonal
// as preconditioner. Sums go row by row, in order, in double.
#include "workers/kernels/register_deform_inside.h"

#define SMALL 65536 // nodes: below that waking threads takes longer than the work

// Neighbours' sum minus count times the value (natural boundaries).
static void laplacian(const struct kf_work *work, const int64_t dim[3], const float *in, float *out)
{
    const int64_t slice = dim[0] * dim[1];
#pragma omp parallel for num_threads(work->threads) schedule(static) if (slice * dim[2] > SMALL)
    for (int64_t row = 0; row < dim[1] * dim[2]; row++) {
        int64_t j = row % dim[1], k = row / dim[1];
        const float *p = in + row * dim[0];
        const float *a = j > 0 ? p - dim[0] : p, *b = j + 1 < dim[1] ? p + dim[0] : p;
        const float *c = k > 0 ? p - slice : p, *d = k + 1 < dim[2] ? p + slice : p;
        float *q = out + row * dim[0];
        for (int64_t i = 0; i < dim[0]; i++)
            q[i] = a[i] + b[i] + c[i] + d[i] - 4 * p[i];
        for (int64_t i = 1; i < dim[0]; i++)
            q[i] += p[i - 1] - p[i];
        for (int64_t i = 0; i + 1 < dim[0]; i++)
            q[i] += p[i + 1] - p[i];
    }
}

static double dot(const struct kf_work *work, int64_t rows, int64_t n, const float *a, const float *b, double *sums)
{
#pragma omp parallel for num_threads(work->threads) schedule(static) if (rows * n > 3 * SMALL)
    for (int64_t row = 0; row < rows; row++) {
        double lane[4] = {0};
        for (int64_t i = 0; i < n; i++)
            lane[i & 3] += (double)a[row * n + i] * (double)b[row * n + i];
        sums[row] = (lane[0] + lane[1]) + (lane[2] + lane[3]);
    }
    double sum = 0;
    for (int64_t row = 0; row < rows; row++)
        sum += sums[row];
    return sum;
}

// out = (H + bend · L² + damp) u; twice: scratch of two planes.
static void apply(const struct kf_work *work, const struct kf_bend *b, const float *u, float *twice, float *out)
{
    const int64_t n = b->dim[0] * b->dim[1] * b->dim[2];
    const float *h = b->model;
    for (int a = 0; a < 3; a++) {
        static const int entry[3][3] = {{0, 3, 4}, {3, 1, 5}, {4, 5, 2}};
        const float *x = h + entry[a][0] * n, *y = h + entry[a][1] * n, *z = h + entry[a][2] * n;
        laplacian(work, b->dim, u + a * n, twice);
        laplacian(work, b->dim, twice, twice + n);
#pragma omp parallel for num_threads(work->threads) schedule(static) if (n > SMALL)
        for (int64_t i = 0; i < n; i++)
            out[a * n + i] =
                x[i] * u[i] + y[i] * u[n + i] + z[i] * u[2 * n + i] + b->bend * twice[n + i] + b->damp * u[a * n + i];
    }
}

void kf_bend_solve(const struct kf_work *work, const struct kf_bend *b, float *u, float *scratch, double *sums)
{
    const int64_t n = b->dim[0] * b->dim[1] * b->dim[2], rows = 3 * b->dim[1] * b->dim[2], width = b->dim[0];
    float *r = scratch, *z = r + 3 * n, *p = z + 3 * n, *q = p + 3 * n, *twice = q + 3 * n;
    apply(work, b, u, twice, q);
    for (int a = 0; a < 3; a++) {
        laplacian(work, b->dim, b->base + a * n, twice);
        laplacian(work, b->dim, twice, twice + n);
        for (int64_t i = 0; i < n; i++)
            r[a * n + i] = -b->model[(6 + a) * n + i] - b->bend * twice[n + i] - q[a * n + i];
    }
    double old = 0, begin = 0;
    for (int step = 0; step < b->steps; step++) {
        for (int a = 0; a < 3; a++)
            for (int64_t i = 0; i < n; i++)
                z[a * n + i] = r[a * n + i] / (b->model[a * n + i] + 42 * b->bend + b->damp);
        double rz = dot(work, rows, width, r, z, sums);
        begin = step ? begin : rz;
        if (!(rz > 1e-7 * begin) || rz <= 0)
            break;
        float beta = step ? (float)(rz / old) : 0;
        for (int64_t i = 0; i < 3 * n; i++)
            p[i] = step ? z[i] + beta * p[i] : z[i];
        apply(work, b, p, twice, q);
        double pq = dot(work, rows, width, p, q, sums);
        if (!(pq > 0))
            break;
        float alpha = (float)(rz / pq);
        for (int64_t i = 0; i < 3 * n; i++) {
            u[i] += alpha * p[i];
            r[i] -= alpha * q[i];
        }
        old = rz;
    }
}
