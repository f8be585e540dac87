// Labels drawn on some slices, carried over to the slices between.
#ifndef KERF_KERNELS_FILL_BETWEEN_H
#define KERF_KERNELS_FILL_BETWEEN_H

#include "workers/kernels/work.h"

// labels: one byte per voxel, dim[0]·dim[1]·dim[2], i fastest; changed in place. A slice across `axis` (0, 1, 2) with any
// label is given and stays as it is; empty slices between two given ones are filled, those before the first and after
// the last stay empty. Per label the signed distances (mm, within the slice) to its outlines on both sides are blended
// by how near they are (Raya and Udupa, "Shape-based interpolation of multidimensional objects", IEEE TMI 9(1), 1990); a
// voxel gets the label that it lies deepest in, the smaller number of equals. Beyond that paper:
//   - outlines of a label that do not overlap are first moved onto each other by their centroids, in whole voxels, so
//     that an oblique canal stays in one piece;
//   - a label that one side lacks shrinks evenly to its deepest voxels and is gone from half way on.
// The same bytes for any number of threads. KF_KERNEL_INVALID: axis, an empty dimension, spacing not a length.
// Memory: 4 bytes per voxel of the widest gap, two slices of floats, and that of kf_distance.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_fill_between(const struct kf_work *work, const int64_t dim[3],
                                                         const double spacing_mm[3], int axis, uint8_t *labels);

#endif
