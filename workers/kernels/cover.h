// Inside of the kernel library: whether a surface covers a facet, which tells of all of its points at once how far from
// the surface they are.
#ifndef KERF_KERNELS_COVER_H
#define KERF_KERNELS_COVER_H

#include "workers/kernels/bvh.h"

// 1 when every point of the facet has a point of the tree's mesh straight above or below it, at most most_mm away; *far
// gets the greatest such height. 0 when that is not so or cannot be told. *looks gets what was looked at.
//
// Take the triangles around the facet that are so near, as a set whose edges count modulo 2: where no edge that is left
// over lies above the facet, the number of triangles above a point is odd for all points or even for all, so that one
// point tells. Nothing is asked of the mesh; one that is not closed there is not found to cover.
int kf_bvh_covers(const struct kf_bvh *bvh, const double facet[3][3], double most_mm, double *far, int64_t *looks);

#endif
