// Inside of the kernel library: what the search for intersections (mesh_intersect.c) and its inner loop, compiled once
// per instruction set (mesh_intersect_tmpl.h), share.
#ifndef KERF_KERNELS_MESH_INTERSECT_PASS_H
#define KERF_KERNELS_MESH_INTERSECT_PASS_H

#include "workers/kernels/bvh.h"
#include "workers/kernels/mesh_intersect.h"

#define KF_INTERSECT_BLOCK 64 // leaves of the tree that one thread searches for in a row

// A triangle at its place in the tree's order. `normal` is the cross product of two sides, rounded; `size` at least the
// sum of the products in each of its parts, which bounds what rounding can have done: 4.1 · 2^-53 of it.
struct kf_facet {
    float p[3][3];
    uint32_t id[4]; // of its corners, equal where places are; the last is none's
    int flat;
    double normal[3], size;
};

// Shared by all threads.
struct kf_intersect_limits {
    struct kf_loop *loop;
    int64_t looks; // that are left
};

struct kf_intersect_search {
    const struct kf_bvh *bvh;
    const struct kf_facet *facet; // in the tree's order
    struct kf_intersect_limits *limits;
    int64_t looks; // not yet taken off the limit
    int stop;
    int64_t pairs;
    uint32_t *list; // NULL: only count
    int64_t most;
};

#endif
