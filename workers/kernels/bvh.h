// Boxes around the triangles of a mesh, eight by eight, for questions of where: nearest point, what touches what.
#ifndef KERF_KERNELS_BVH_H
#define KERF_KERNELS_BVH_H

#include "workers/kernels/mesh.h"

#define KF_BVH_WIDTH  8
#define KF_BVH_LEVELS 12

// The boxes of eight children; those that are not there have low = +infinity and high = -infinity.
struct kf_bvh_node {
    float low[3][KF_BVH_WIDTH];
    float high[3][KF_BVH_WIDTH];
};

// Triangles along a Morton curve through their middles (Morton, 1966; Lauterbach et al., "Fast BVH construction on
// GPUs", Eurographics 2009); node n of level 0 holds the triangles order[8·n] …, node n of level l the nodes 8·n … of
// level l - 1; the last level has one node. An empty mesh has no level.
struct kf_bvh {
    const struct kf_mesh *mesh; // borrowed for as long as the tree lives
    uint32_t *order;            // triangles along the curve
    struct kf_bvh_node *node[KF_BVH_LEVELS];
    int64_t nodes[KF_BVH_LEVELS];
    int levels;
    double largest; // greatest absolute coordinate
};

#define KF_BVH_FAR 1e18f // coordinates of a tree are nearer to 0 than this: squares of distances are floats

// Owned: kf_bvh_release with the same work. KF_KERNEL_INVALID when an index is out of range or a coordinate of a used
// vertex is not nearer than KF_BVH_FAR; KF_KERNEL_TOO_LARGE from 2^32 - 1 triangles. Memory: 32 bytes per triangle, and
// 16 more while it is made. The same tree for any number of threads.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bvh_make(const struct kf_work *work, const struct kf_mesh *mesh,
                                                     struct kf_bvh *out);
void kf_bvh_release(const struct kf_work *work, struct kf_bvh *bvh);

// Square of the distance between p and a triangle of the mesh, and the nearest point (Ericson, "Real-time collision
// detection", 2005, 5.1.5). Triangles without area are segments or points.
double kf_triangle_distance2(const struct kf_mesh *mesh, uint32_t triangle, const double p[3], double nearest[3]);

// The weights of the corners in that point, and as bits 0 to 2 which of them are of the least part of the triangle that
// holds it: a corner, two at a side, or all three.
int kf_triangle_place(const struct kf_mesh *mesh, uint32_t triangle, const double p[3], double share[3]);

struct kf_bvh_nearest {
    double distance2; // mm²
    double point[3];
    uint32_t triangle;
    int64_t looks; // at nodes and triangles, to find it: about 40 mostly, as many as there are in a mesh made for it
};

// The nearest point of the mesh to p. `hint` is any triangle, best one that is near, or UINT32_MAX: it says nothing
// about the answer but which of equally near triangles is named. 0 when the mesh is empty.
int kf_bvh_nearest(const struct kf_bvh *bvh, const double p[3], uint32_t hint, struct kf_bvh_nearest *out);

// The same, but any triangle whose squared distance is at most enough2 will do.
int kf_bvh_near(const struct kf_bvh *bvh, const double p[3], uint32_t hint, double enough2,
                struct kf_bvh_nearest *out);

// Calls `found` with the place in `order` of every triangle from `from` on whose box meets [low, high] (touching
// counts), in an order of the tree's; stops when it answers 1. Returns how many nodes it looked at.
int64_t kf_bvh_overlaps(const struct kf_bvh *bvh, const float low[3], const float high[3], int64_t from,
                        int (*found)(void *user, int64_t place), void *user);

#endif
