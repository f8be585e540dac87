// Grow from seeds: each voxel gets the label of the seed that is nearest through the image.
#ifndef KERF_KERNELS_GROW_H
#define KERF_KERNELS_GROW_H

#include "workers/kernels/bits.h"
#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

#define KF_GROW_FAR UINT32_MAX

// GrowCut (Vezhnevets and Konouchine, 2005) in its exact form, as shortest paths (Zhu, Kolesov, Gao, Kikinis,
// Tannenbaum, "An effective interactive medical image segmentation method using fast GrowCut", MICCAI IMIC 2014). A
// step between neighbours costs 1 + |difference of their values|; of equal costs the least label wins, so that the
// result is one and only one, whatever the order of the work.
//   image       int16
//   neighbours  KF_NEIGHBOURS_6 or KF_NEIGHBOURS_26
//   seeds       one byte per voxel: 1…255, 0 where there is none
//   state       one word per voxel, cost · 256 + label, kept by the caller from call to call: filled with KF_GROW_FAR
//               before the first. A later call with other seeds works only where they change something and gives the
//               very state that a call from the start would give; image and neighbours must be the same then.
//   labels      one byte per voxel, may be NULL: label of each voxel, 0 where the cost is 2^24 - 1 or more.
// The same bytes for any number of threads and every instruction set. KF_KERNEL_INVALID: another type or neighbourhood.
// KF_KERNEL_TOO_LARGE over 2^32 - 2 voxels. After any other error `state` must be filled anew. Memory: 1/32 byte per
// voxel, and at the beginning of every call, while seeds that went away are looked for, a queue of 4 MiB at least, with 4
// bytes for each voxel that they held.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_grow(const struct kf_work *work, const struct kf_volume *image,
                                                 enum kf_neighbours neighbours, const uint8_t *seeds, uint32_t *state,
                                                 uint8_t *labels);

#endif
