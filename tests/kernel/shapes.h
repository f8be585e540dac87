// Meshes whose shape is known: spheres, tori and boxes, subdivided as finely as wanted; and what is done to them.
#ifndef KERF_TESTS_KERNEL_SHAPES_H
#define KERF_TESTS_KERNEL_SHAPES_H

#include "tests/kernel/random.h"
#include "workers/kernels/mesh.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static inline void test_mesh_new(const struct kf_work *work, int64_t vertices, int64_t triangles, struct kf_mesh *m)
{
    *m = (struct kf_mesh){.vertices = vertices,
                          .triangles = triangles,
                          .xyz = kf_work_take(work, vertices * 12),
                          .index = kf_work_take(work, triangles * 12)};
    if (!m->xyz || !m->index)
        exit(1);
}

// n × m quads around a torus (rings n, tube m), counter-clockwise seen from outside.
static inline void test_torus(const struct kf_work *work, int n, int m, double ring_mm, double tube_mm,
                              struct kf_mesh *out)
{
    test_mesh_new(work, (int64_t)n * m, 2 * (int64_t)n * m, out);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < m; k++) {
            double a = 2 * M_PI * i / n, b = 2 * M_PI * k / m, r = ring_mm + tube_mm * cos(b);
            int64_t v = (int64_t)i * m + k;
            out->xyz[3 * v] = (float)(r * cos(a));
            out->xyz[3 * v + 1] = (float)(r * sin(a));
            out->xyz[3 * v + 2] = (float)(tube_mm * sin(b));
            uint32_t id[4] = {(uint32_t)v, (uint32_t)((i + 1) % n * m + k), (uint32_t)((i + 1) % n * m + (k + 1) % m),
                              (uint32_t)(i * m + (k + 1) % m)};
            const uint32_t two[6] = {id[0], id[1], id[2], id[0], id[2], id[3]};
            memcpy(out->index + 6 * v, two, sizeof two);
        }
}

// A sphere of `rows` bands of 2·rows quads, with single vertices at the poles.
static inline void test_sphere(const struct kf_work *work, int rows, double radius_mm, const double middle[3],
                               struct kf_mesh *out)
{
    int around = 2 * rows;
    int64_t vertices = 2 + (int64_t)(rows - 1) * around, t = 0;
    test_mesh_new(work, vertices, 2 * (int64_t)around * (rows - 1), out);
    for (int64_t v = 0; v < vertices; v++) {
        int row = v == 0 ? 0 : v == vertices - 1 ? rows : 1 + (int)((v - 1) / around), at = (int)((v - 1) % around);
        double a = M_PI * row / rows, b = 2 * M_PI * at / around;
        const double p[3] = {sin(a) * cos(b), sin(a) * sin(b), cos(a)};
        for (int r = 0; r < 3; r++)
            out->xyz[3 * v + r] = (float)(middle[r] + radius_mm * p[r]);
    }
    for (int row = 0; row < rows; row++)
        for (int k = 0; k < around; k++) {
            int next = (k + 1) % around;
            uint32_t a = row == 0 ? 0 : (uint32_t)(1 + (row - 1) * around + k);
            uint32_t b = row == 0 ? 0 : (uint32_t)(1 + (row - 1) * around + next);
            uint32_t c = row == rows - 1 ? (uint32_t)(vertices - 1) : (uint32_t)(1 + row * around + k);
            uint32_t d = row == rows - 1 ? (uint32_t)(vertices - 1) : (uint32_t)(1 + row * around + next);
            if (row < rows - 1) {
                const uint32_t one[3] = {a, c, d};
                memcpy(out->index + 3 * t++, one, sizeof one);
            }
            if (row > 0) {
                const uint32_t one[3] = {a, d, b};
                memcpy(out->index + 3 * t++, one, sizeof one);
            }
        }
    if (t != out->triangles)
        exit(1);
}

// A box between two corners, each face cut into n × n quads that share no vertices with other faces: weld it.
static inline void test_box(const struct kf_work *work, const double low[3], const double high[3], int n,
                            struct kf_mesh *out)
{
    test_mesh_new(work, 6 * (int64_t)(n + 1) * (n + 1), 12 * (int64_t)n * n, out);
    uint32_t *to = out->index;
    for (int f = 0; f < 6; f++) {
        int axis = f / 2, side = f % 2, u = (axis + 1) % 3, w = (axis + 2) % 3;
        uint32_t first = (uint32_t)(f * (n + 1) * (n + 1));
        for (int i = 0; i <= n; i++)
            for (int k = 0; k <= n; k++) {
                float *p = out->xyz + 3 * (int64_t)(first + (uint32_t)(i * (n + 1) + k));
                p[axis] = (float)(side ? high[axis] : low[axis]);
                p[u] = (float)(low[u] + (high[u] - low[u]) * i / n);
                p[w] = (float)(low[w] + (high[w] - low[w]) * k / n);
            }
        for (int i = 0; i < n; i++)
            for (int k = 0; k < n; k++) {
                uint32_t a = first + (uint32_t)(i * (n + 1) + k), b = a + (uint32_t)(n + 1);
                const uint32_t out_side[6] = {a, b, b + 1, a, b + 1, a + 1},
                               in_side[6] = {a, b + 1, b, a, a + 1, b + 1};
                memcpy(to, side ? out_side : in_side, sizeof out_side);
                to += 6;
            }
    }
}

// The same from the origin to (x, y, z), closed.
static inline void test_closed_box(const struct kf_work *work, double x, double y, double z, int n, struct kf_mesh *out)
{
    test_box(work, (const double[3]){0, 0, 0}, (const double[3]){x, y, z}, n, out);
    if (kf_mesh_weld(work, out))
        exit(1);
}

// Appends `more` to `mesh`; `more` is released.
static inline void test_append(const struct kf_work *work, struct kf_mesh *mesh, struct kf_mesh *more)
{
    struct kf_mesh both;
    test_mesh_new(work, mesh->vertices + more->vertices, mesh->triangles + more->triangles, &both);
    memcpy(both.xyz, mesh->xyz, (size_t)mesh->vertices * 12);
    memcpy(both.xyz + 3 * mesh->vertices, more->xyz, (size_t)more->vertices * 12);
    memcpy(both.index, mesh->index, (size_t)mesh->triangles * 12);
    for (int64_t c = 0; c < 3 * more->triangles; c++)
        both.index[3 * mesh->triangles + c] = more->index[c] + (uint32_t)mesh->vertices;
    kf_mesh_release(work, mesh);
    kf_mesh_release(work, more);
    *mesh = both;
}

// Turns the triangles [from, to) over.
static inline void test_turn_over(struct kf_mesh *m, int64_t from, int64_t to)
{
    for (int64_t t = from; t < to; t++) {
        uint32_t b = m->index[3 * t + 1];
        m->index[3 * t + 1] = m->index[3 * t + 2];
        m->index[3 * t + 2] = b;
    }
}

// A sphere with a hollow in it, which leaves a wall.
static inline void test_shell(const struct kf_work *work, int rows, double radius_mm, double wall_mm,
                              const double middle[3], struct kf_mesh *out)
{
    struct kf_mesh hollow;
    test_sphere(work, rows, radius_mm, middle, out);
    test_sphere(work, rows, radius_mm - wall_mm, middle, &hollow);
    test_turn_over(&hollow, 0, hollow.triangles);
    test_append(work, out, &hollow);
}

// Moves every coordinate by up to `by`.
static inline void test_roughen(uint64_t *state, double by, struct kf_mesh *m)
{
    for (int64_t i = 0; i < 3 * m->vertices; i++)
        m->xyz[i] += (float)test_uniform(state, -by, by);
}

// A triangle of its own vertices each, as an STL file has them.
static inline void test_soup(const struct kf_work *work, struct kf_mesh *m)
{
    struct kf_mesh soup;
    test_mesh_new(work, 3 * m->triangles, m->triangles, &soup);
    for (int64_t c = 0; c < 3 * m->triangles; c++) {
        memcpy(soup.xyz + 3 * c, m->xyz + 3 * (int64_t)m->index[c], 12);
        soup.index[c] = (uint32_t)c;
    }
    kf_mesh_release(work, m);
    *m = soup;
}

// Any vertices in a cube of 20 mm, and any triangles between them; with `hubs`, every other corner in the turn of its
// triangle is one of the first two vertices: fans, sheets and repetitions around both.
static inline void test_chaos(const struct kf_work *work, int64_t vertices, int64_t triangles, int hubs,
                              uint64_t *state, struct kf_mesh *m)
{
    test_mesh_new(work, vertices, triangles, m);
    for (int64_t i = 0; i < 3 * vertices; i++)
        m->xyz[i] = (float)(test_random(state) % 1000) / 50;
    for (int64_t i = 0; i < 3 * triangles; i++) {
        uint64_t r = test_random(state);
        int hub = hubs && r % 2 && i % 3 == i / 3 % 3;
        m->index[i] = (uint32_t)(hub ? r / 2 % 2 : hubs ? r / 2 % (uint64_t)vertices : r % (uint64_t)vertices);
    }
}

#endif
