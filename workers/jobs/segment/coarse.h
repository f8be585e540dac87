// A mask found on a coarser grid, where morphology with a ball of some millimetres costs next to nothing.
#ifndef KERF_JOBS_SEGMENT_COARSE_H
#define KERF_JOBS_SEGMENT_COARSE_H

#include "workers/kernels/bits.h"

// Finds a mask in `coarse`; bits->dim is its dim, all zero. `of` is what the caller gave.
typedef enum kf_kernel_status kf_coarse_find(const struct kf_work *work, const struct kf_volume *coarse, const void *of,
                                             struct kf_bits *bits);

// `find` on the volume's means in blocks of at most 1.6 mm (one voxel where it is coarser); fine->dim is the volume's.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_find_coarsely(const struct kf_work *work, const struct kf_volume *volume,
                                                          kf_coarse_find *find, const void *of, struct kf_bits *fine);

#endif
