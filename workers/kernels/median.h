// Median of 3×3×3 voxels.
#ifndef KERF_KERNELS_MEDIAN_H
#define KERF_KERNELS_MEDIAN_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// out = the median of the 27 voxels around each, the border repeated; int16 only (KF_KERNEL_INVALID otherwise). `out`
// holds one value per voxel and may not overlap. Exact; takes out salt-and-pepper noise and keeps edges. Memory: per
// thread 18 rows. Progress every 32 slices.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_median3(const struct kf_work *work, const struct kf_volume *in,
                                                    int16_t *out);

#endif
