// From a scene to voxels: values and truth labels in one pass, hierarchically, so that a block that no surface crosses
// costs one evaluation. Partial volume comes from the distance to the surface; the tissue below shows through.
// Byte-identical for any number of threads.
#ifndef KERF_PHANTOM_PAINT_H
#define KERF_PHANTOM_PAINT_H

#include "workers/jobs/phantom/sdf.h"
#include "workers/kernels/volume.h"

#define KF_PAINT_UNIT 8 // stored steps per HU

struct kf_paint {
    const struct kf_scene *scene;
    const struct kf_grid *grid;
    int t2;                                                         // 0: HU, 1: T2-weighted intensity
    double stretch;                                                 // most that `unmap` lengthens a small step, ≥ 1
    struct kf_v3 (*unmap)(const void *context, struct kf_v3 p_lps); // patient → scene; NULL: the same
    const void *context;
    int flat; // 1: no hierarchy (slow; the tests compare)
    int threads;
};

// Fills values (KF_PAINT_UNIT steps per HU, clipped to int16) and labels (may be NULL), one per voxel of the grid.
// KF_NOMEM.
KF_MUST_USE enum kf_status kf_paint_run(const struct kf_paint *paint, int16_t *values, uint8_t *labels,
                                        struct kf_error *err);

// The label that kf_paint_run gives a voxel whose middle is p.
int kf_paint_label(const struct kf_scene *scene, struct kf_v3 p);

#endif
