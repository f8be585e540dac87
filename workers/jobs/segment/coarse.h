// Grids of our own beside the image's: a mask found on a coarser one, where morphology with a ball of some millimetres
// costs next to nothing, and the limit of those that are laid in millimetres.
#ifndef KERF_JOBS_SEGMENT_COARSE_H
#define KERF_JOBS_SEGMENT_COARSE_H

#include "workers/kernels/bits.h"

// Finds a mask in `coarse`; bits->dim is its dim, all zero. `of` is what the caller gave.
typedef enum kf_kernel_status kf_coarse_find(const struct kf_work *work, const struct kf_volume *coarse, const void *of,
                                             struct kf_bits *bits);

// `find` on the volume's means in blocks of at most 1.6 mm (one voxel where it is coarser); fine->dim is the volume's.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_find_coarsely(const struct kf_work *work, const struct kf_volume *volume,
                                                          kf_coarse_find *find, const void *of, struct kf_bits *fine);

// KF_KERNEL_TOO_LARGE beyond what is taken as a volume (kf_grid_check: 2048 voxels on an axis, 2^31 in all). A grid with
// steps of millimetres over a box of the image grows with the spacing that a file claims, past any count of bytes.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_own_grid_check(const struct kf_grid *grid);

#endif
