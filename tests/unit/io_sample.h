// Images for the tests of files: an oblique grid, voxels of every kind, and a folder to write them in.
#ifndef KERF_TESTS_IO_SAMPLE_H
#define KERF_TESTS_IO_SAMPLE_H

#include "server/base/test.h"
#include "workers/io/memory.h"

#include <stdint.h>

static char scratch[64];

static inline const char *temporary(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    return path;
}

// Rotation by 0.3 about z, then 0.2 about x; nothing is a multiple of anything.
static inline struct kf_grid oblique(int64_t i, int64_t j, int64_t k)
{
    double c = cos(0.3), s = sin(0.3), d = cos(0.2), t = sin(0.2);
    struct kf_grid g = {.dim = {i, j, k}, .spacing_mm = {0.46875, 0.7, 1.25}, .origin_lps = {-120.5, 33.25, -870.125}};
    const double direction[9] = {c, -s * d, s * t, s, c * d, -c * t, 0, t, d};
    memcpy(g.direction, direction, sizeof direction);
    return g;
}

static inline void check_grid(const struct kf_grid *a, const struct kf_grid *b, double tolerance)
{
    for (int i = 0; i < 3; i++) {
        KF_CHECK_EQ(a->dim[i], b->dim[i]);
        KF_CHECK_NEAR(a->spacing_mm[i], b->spacing_mm[i], tolerance);
        KF_CHECK_NEAR(a->origin_lps[i], b->origin_lps[i], tolerance);
    }
    for (int i = 0; i < 9; i++)
        KF_CHECK_NEAR(a->direction[i], b->direction[i], tolerance);
}

static inline void sample(enum kf_voxel_type type, struct kf_volume *v)
{
    struct kf_grid grid = oblique(33, 17, 9);
    struct kf_error err;
    KF_REQUIRE(!kf_volume_alloc(v, &grid, type, &err));
    for (int64_t i = 0; i < kf_grid_voxels(&grid); i++) {
        if (type == KF_VOXEL_INT16)
            ((int16_t *)v->data)[i] = (int16_t)(i * 7919 % 65536 - 32768);
        else if (type == KF_VOXEL_UINT8)
            ((uint8_t *)v->data)[i] = (uint8_t)(i * 31);
        else
            ((float *)v->data)[i] = (float)i * 0.37f - 5;
    }
}

#endif
