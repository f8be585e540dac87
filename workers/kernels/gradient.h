// How fast a smoothed volume changes.
#ifndef KERF_KERNELS_GRADIENT_H
#define KERF_KERNELS_GRADIENT_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// out = |∇(G ∗ in)| per millimetre, with the Gaussian of sigma_mm of kf_gaussian (image.h; 0: none) and differences of
// sixth order, the border repeated. int16, uint8 or float32 in; `out` holds one float per voxel and may not overlap.
// KF_KERNEL_INVALID as kf_gaussian. Memory: one float per voxel, and that of kf_gaussian.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_gradient_magnitude(const struct kf_work *work, const struct kf_volume *in,
                                                               double sigma_mm, float *out);

#endif
