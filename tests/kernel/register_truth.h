// Pairs of images of known motion, for tests and benchmarks of registration.
#ifndef KERF_TESTS_KERNEL_REGISTER_TRUTH_H
#define KERF_TESTS_KERNEL_REGISTER_TRUTH_H

#include "tests/kernel/random.h"
#include "workers/io/memory.h"
#include "workers/jobs/phantom/phantom.h"
#include "workers/jobs/phantom/place.h"
#include "workers/kernels/register.h"

#include <stdlib.h>
#include <string.h>

// The middle of the phantoms' field of view, about which they turn (head; spine).
static const double truth_head_centre[3] = {0, -12, -1}, truth_spine_centre[3] = {0, 8, 0};

// A phantom of `kind`, bent by up to warp_mm, turned by pose_deg and then moved. 0 on success; owned: kf_volume_release.
static inline int truth_make_bent(const char *kind, const int64_t dim[3], const double pose_deg[3],
                                  const double shift_mm[3], double warp_mm, struct kf_volume *image)
{
    struct kf_phantom_options o;
    struct kf_volume labels;
    struct kf_error err;
    if (kf_phantom_defaults(kind, &o, &err))
        return -1;
    memcpy(o.dim, dim, sizeof o.dim);
    memcpy(o.pose_deg, pose_deg, sizeof o.pose_deg);
    memcpy(o.shift_mm, shift_mm, sizeof o.shift_mm);
    o.warp_mm = warp_mm;
    o.threads = 2;
    if (kf_phantom_volumes(&o, image, &labels, &err))
        return -1;
    kf_volume_release(&labels);
    return 0;
}

static inline int truth_make(const char *kind, const int64_t dim[3], const double pose_deg[3], const double shift_mm[3],
                             struct kf_volume *image)
{
    return truth_make_bent(kind, dim, pose_deg, shift_mm, 0, image);
}

// The motion of an unbent phantom: where a point of the unmoved one lies.
static inline struct kf_affine truth_motion(const double centre[3], const double pose_deg[3], const double shift_mm[3])
{
    struct kf_m3 turn = kf_m_euler(pose_deg[0], pose_deg[1], pose_deg[2]);
    struct kf_affine t;
    for (int r = 0; r < 3; r++) {
        t.m[4 * r + 3] = centre[r] + shift_mm[r];
        for (int c = 0; c < 3; c++) {
            t.m[4 * r + c] = turn.m[3 * r + c];
            t.m[4 * r + 3] -= turn.m[3 * r + c] * centre[c];
        }
    }
    return t;
}

// Values as another modality might show them: fat bright, bone dark, water in between, and a slow shading.
static inline void truth_as_mr(struct kf_volume *v)
{
    static const double at[][2] = {{-1100, 8}, {-200, 40}, {-100, 760}, {-30, 480}, {10, 300}, {45, 620},
                                   {100, 330}, {250, 200}, {700, 120},  {1500, 30}, {4000, 5}};
    int16_t *value = v->data;
    const int64_t *dim = v->grid.dim;
    for (int64_t n = 0; n < kf_grid_voxels(&v->grid); n++) {
        double x = value[n] < -1100 ? -1100 : value[n], y = 0;
        for (int i = 0; i + 1 < 11; i++)
            if (x >= at[i][0] && x <= at[i + 1][0])
                y = at[i][1] + (at[i + 1][1] - at[i][1]) * (x - at[i][0]) / (at[i + 1][0] - at[i][0]);
        double shade = 1 + 0.25 * ((double)(n % dim[0]) / (double)dim[0] - 0.5) -
                       0.2 * ((double)(n / dim[0] / dim[1]) / (double)dim[2] - 0.5);
        value[n] = (int16_t)(y * shade + 0.5);
    }
}

// Mean and largest distance between where `found` and `truth` put points within the radii around the centre.
static inline double truth_error(const struct kf_affine *found, const struct kf_affine *truth, const double centre[3],
                                 const double radii_mm[3], double *most)
{
    uint64_t state = 99;
    double sum = 0;
    int count = 0;
    *most = 0;
    while (count < 2000) {
        double u[3], p[3], a[3], b[3], square = 0, inside = 0;
        for (int i = 0; i < 3; i++) {
            u[i] = 2 * (double)(test_random(&state) >> 11) * 0x1p-53 - 1;
            inside += u[i] * u[i];
            p[i] = centre[i] + radii_mm[i] * u[i];
        }
        if (inside > 1)
            continue;
        kf_affine_apply(found, p, a);
        kf_affine_apply(truth, p, b);
        for (int i = 0; i < 3; i++)
            square += (a[i] - b[i]) * (a[i] - b[i]);
        sum += sqrt(square);
        *most = sqrt(square) > *most ? sqrt(square) : *most;
        count++;
    }
    return sum / count;
}

#endif
