// Rigid parts in a displacement field: bones that do not bend while what lies between them does.
#ifndef KERF_KERNELS_FIELD_RIGID_H
#define KERF_KERNELS_FIELD_RIGID_H

#include "workers/kernels/field.h"

struct kf_rigid_part {
    int label;
    int64_t voxels;
    struct kf_affine motion; // p → p + d(p) of the part
    double turn_rad;         // of that motion
    double bent_mm;          // root mean square of what the field did to the part beyond a rigid motion
    double left_mm;          // most that a voxel of the part misses the motion in the result
};
#define KF_RIGID_PARTS 255

// Makes every label (uint8, 1 … 255) of a map move as a whole: by the rigid motion that is nearest to the field in the
// least-squares sense. Outside, the displacement is the mean of the field (weight 1) and of the motions of the parts at
// distance t · blend_mm (weight ((1 - t) / t)²), so that it is smooth up to the bone; as in Little, Hill and Hawkes,
// "Deformations incorporating rigid structures", CVIU 66(2), 1997. Between parts it is unfolded to a Jacobian of
// `least`. *field is replaced by one with a node at every voxel of the map. parts: room for KF_RIGID_PARTS, in order of
// labels. KF_KERNEL_INVALID: no label, another type, or parts that move into each other; KF_KERNEL_TOO_LARGE: over 2^28
// voxels; then *field is as it was. Memory: 29 bytes per voxel of the map.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_field_keep_rigid(const struct kf_work *work, const struct kf_volume *labels,
                                                             double blend_mm, double least, struct kf_field *field,
                                                             struct kf_rigid_part *parts, int *count);

#endif
