// The distance from a point to a triangle, in another way than the kernels'.
#ifndef KERF_TESTS_KERNEL_SLOW_DISTANCE_H
#define KERF_TESTS_KERNEL_SLOW_DISTANCE_H

#include "workers/kernels/mesh.h"

#include <math.h>

static inline double segment_distance(const double p[3], const double a[3], const double b[3])
{
    double l = 0, s = 0, d = 0;
    for (int r = 0; r < 3; r++) {
        l += (b[r] - a[r]) * (b[r] - a[r]);
        s += (b[r] - a[r]) * (p[r] - a[r]);
    }
    s = l > 0 ? fmin(1, fmax(0, s / l)) : 0;
    for (int r = 0; r < 3; r++)
        d += pow(a[r] + s * (b[r] - a[r]) - p[r], 2);
    return sqrt(d);
}

// Another way than the kernel's: distance to the plane where p lies above the inside of all three sides, else to a
// side.
static inline double slow_distance(const struct kf_mesh *m, int64_t t, const double p[3])
{
    double c[3][3], n[3], least = INFINITY;
    for (int k = 0; k < 3; k++)
        for (int r = 0; r < 3; r++)
            c[k][r] = (double)m->xyz[3 * (int64_t)m->index[3 * t + k] + r];
    for (int k = 0; k < 3; k++)
        least = fmin(least, segment_distance(p, c[k], c[(k + 1) % 3]));
    for (int r = 0; r < 3; r++) {
        int u = (r + 1) % 3, w = (r + 2) % 3;
        n[r] = (c[1][u] - c[0][u]) * (c[2][w] - c[0][w]) - (c[1][w] - c[0][w]) * (c[2][u] - c[0][u]);
    }
    double length = sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
    if (!(length > 1e-9))
        return least;
    int inside = 1;
    for (int k = 0; k < 3; k++) {
        double turn = 0;
        for (int r = 0; r < 3; r++) {
            int u = (r + 1) % 3, w = (r + 2) % 3, next = (k + 1) % 3;
            turn += n[r] * ((c[next][u] - c[k][u]) * (p[w] - c[k][w]) - (c[next][w] - c[k][w]) * (p[u] - c[k][u]));
        }
        inside &= turn > 0;
    }
    double above = 0;
    for (int r = 0; r < 3; r++)
        above += n[r] / length * (p[r] - c[0][r]);
    return inside ? fabs(above) : least;
}

// To the nearest of all triangles.
static inline double slow_nearest(const struct kf_mesh *m, const double p[3])
{
    double least = INFINITY;
    for (int64_t t = 0; t < m->triangles; t++)
        least = fmin(least, slow_distance(m, t, p));
    return least;
}

#endif
