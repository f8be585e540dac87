// Filters on whole volumes.
#ifndef KERF_KERNELS_IMAGE_H
#define KERF_KERNELS_IMAGE_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// Gaussian of sigma_mm, cut at 3.5 sigma and normalised, the border repeated: int16, uint8 or float32 in, float32 out
// (`out` holds one float per voxel and may not overlap). sigma 0 copies. KF_KERNEL_INVALID when sigma is negative or
// over 64 voxels. Memory: two slices of floats and a padded row per thread.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_gaussian(const struct kf_work *work, const struct kf_volume *in,
                                                     double sigma_mm, float *out);

// Coarser volumes: each voxel of `out` stands for a block of factor[0]×factor[1]×factor[2] voxels (fewer at the far
// border): the mean (int16: rounded half up; float32: summed in memory order) or, for uint8, the value found most often,
// the smaller of equals. out->grid and out->data are filled by the caller: grid from kf_reduce_grid, type as in->type.
void kf_reduce_grid(const struct kf_grid *in, const int64_t factor[3], struct kf_grid *out);
KF_KERNEL_MUST_USE enum kf_kernel_status kf_reduce(const struct kf_work *work, const struct kf_volume *in,
                                                   const int64_t factor[3], const struct kf_volume *out);

#endif
