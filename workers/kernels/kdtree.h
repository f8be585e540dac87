// Nearest points: a k-d tree (Bentley, CACM 18(9), 1975), balanced, in two arrays.
#ifndef KERF_KERNELS_KDTREE_H
#define KERF_KERNELS_KDTREE_H

#include "workers/kernels/work.h"

// Owned: kf_kdtree_release with the same work. Read only after it is made: any number of threads may ask it.
struct kf_kdtree {
    int64_t count;
    float *xyz;       // 3 per point, in the tree's order
    uint32_t *number; // of each point in the caller's order
    uint8_t *axis;    // on which the range with this middle is split
};

// Over `count` points of 3 floats each (copied). KF_KERNEL_INVALID for no point or a coordinate that is not finite,
// KF_KERNEL_TOO_LARGE over 2^32 - 1. Memory: 17 bytes per point.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_kdtree_make(const struct kf_work *work, const float *xyz, int64_t count,
                                                        struct kf_kdtree *out);
void kf_kdtree_release(const struct kf_work *work, struct kf_kdtree *tree);

// The number of the point nearest to p, the smallest of equals; *square (may be NULL) gets the squared distance.
uint32_t kf_kdtree_nearest(const struct kf_kdtree *tree, const float p[3], float *square);

// The k-th smallest (from 0) of n values, which are reordered; the value does not depend on how. No NaN; 0 ≤ k < n.
float kf_select_f32(float *values, int64_t n, int64_t k);

#endif
