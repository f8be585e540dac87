// Minimum cut between a source and a sink over the voxels of an image: the labelling of least energy.
#ifndef KERF_KERNELS_GRAPH_CUT_H
#define KERF_KERNELS_GRAPH_CUT_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

#define KF_CUT_DIFFERENCES  4096
#define KF_CUT_CAPACITY_MAX 32767
#define KF_CUT_HARD         1000000 // a terminal that no cut can pay: over the capacity of a voxel's six edges

// What a cut between neighbours costs, by the difference of their values: link[axis][min(|difference|, 4095)], 0 to
// KF_CUT_CAPACITY_MAX.
struct kf_cut_links {
    uint16_t link[3][KF_CUT_DIFFERENCES];
};

// link = 1 + round(strength · exp(-(difference / sigma)²) · least spacing / spacing of the axis), at most the greatest
// (Boykov and Jolly, "Interactive graph cuts for optimal boundary & region segmentation", ICCV 2001). sigma > 0.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_cut_links_make(const double spacing_mm[3], double sigma, double strength,
                                                           struct kf_cut_links *out);

// Maximum flow on the 6-neighbour grid with two search trees (Boykov and Kolmogorov, "An experimental comparison of
// min-cut/max-flow algorithms for energy minimization in vision", PAMI 26(9), 2004), first in slabs of slices, one per
// thread, then over their seams, which keeps the trees (Liu and Sun, "Parallel graph-cuts by adaptive bottom-up
// merging", CVPR 2010). The grid is implicit.
//   image     int16
//   terminal  per voxel: greater than 0 ties it to the source with that capacity, less than 0 to the sink
//   inside    one byte per voxel: 1 on the source's side. Of all minimum cuts the one with the fewest voxels inside,
//             so that the result is one and only one whatever the number of threads.
//   flow      the cost of the cut, may be NULL
// KF_KERNEL_INVALID: another type, a capacity or terminal beyond ±2^30. KF_KERNEL_TOO_LARGE over 2^32 - 2 voxels.
// Memory: 29 bytes per voxel besides image (2), terminal (4) and inside (1), and a slice: meant for a region of interest.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_graph_cut(const struct kf_work *work, const struct kf_volume *image,
                                                      const int32_t *terminal, const struct kf_cut_links *links,
                                                      uint8_t *inside, int64_t *flow);

#endif
