// How well two label maps agree.
#ifndef KERF_KERNELS_OVERLAP_H
#define KERF_KERNELS_OVERLAP_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// Distances lie between the centres of the label's border voxels (a face neighbour is of another label or outside of
// the volume), from each to the nearest of the other map. -1 where one map lacks the label.
struct kf_label_score {
    int label;
    int64_t voxels[2]; // in a and in b
    int64_t common;
    double dice;    // 2·common / (voxels of a + voxels of b)
    double assd_mm; // average symmetric surface distance: mean over the border voxels of both
    double hd95_mm; // the larger one of both directions' 95th percentiles
    double hd_mm;   // the largest distance of all
};

// Scores of every label but 0 that one of two uint8 volumes of equal dimensions has, in rising order; a's spacing
// counts. `scores` has room for 255. KF_KERNEL_INVALID when type or dimensions do not agree. Memory: 61 bytes per
// border voxel of the largest label.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_labels_compare(const struct kf_work *work, const struct kf_volume *a,
                                                           const struct kf_volume *b, struct kf_label_score *scores,
                                                           int *count);

#endif
