// A volume on another grid.
#ifndef KERF_KERNELS_RESAMPLE_H
#define KERF_KERNELS_RESAMPLE_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

enum kf_resample_method {
    KF_RESAMPLE_NEAREST = 1, // any type; for labels
    KF_RESAMPLE_LINEAR,      // int16, float32
    KF_RESAMPLE_CUBIC        // int16, float32: Catmull-Rom, passes through the voxels, overshoots at edges
};

// out(p) = in(to_in · p): each voxel of out->grid at p_lps takes the value of `in` at to_in (three rows of four: a
// linear map, then millimetres to add), which may be any affine map. Past the border: up to half a voxel outside
// of the outermost centres the border is repeated, beyond that voxels get `outside`. int16 results round to the
// nearest, halves to even, and are clamped. out->grid and out->data are the caller's; out->type = in->type. The
// caller's `out` may not overlap `in`. KF_KERNEL_INVALID: type and method do not go together, or the map is not finite.
// No memory. Source of the cubic: Keys, IEEE TASSP 29(6), 1981.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_resample(const struct kf_work *work, const struct kf_volume *in,
                                                     const double to_in[12], enum kf_resample_method method,
                                                     double outside, const struct kf_volume *out);

#endif
