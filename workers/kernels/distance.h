// The exact Euclidean distance to the surface of a mask.
#ifndef KERF_KERNELS_DISTANCE_H
#define KERF_KERNELS_DISTANCE_H

#include "workers/kernels/bits.h"

// out[v] (one float per voxel, millimetres): outside of the mask the distance from the voxel's centre to the nearest
// centre inside; inside, minus the distance to the nearest centre outside. So out ≤ r is the mask dilated by a ball of
// radius r, and out < -r the mask eroded by it. Voxels differ on each axis by spacing_mm. What lies outside of the
// volume counts as neither. band_mm > 0 limits the result to ±band_mm (much faster when small); 0: no limit, and
// ±infinity where the mask is empty or full. Exact but for the rounding of float squares (relative 1e-6).
// KF_KERNEL_INVALID: band or spacing not a length, more than 32767 voxels on an axis. Memory: 80 floats per thread for
// each voxel of the longest axis. Source: separable minima of parabolas after Felzenszwalb and Huttenlocher, "Distance
// Transforms of Sampled Functions", Theory of Computing 8, 2012, but found by a search outward that skips blocks by
// their least value.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_distance(const struct kf_work *work, const struct kf_bits *bits,
                                                     const double spacing_mm[3], double band_mm, float *out);

#endif
