// Inside of the kernel library: the neighbours of all vertices, laid out for passes over the whole surface.
#ifndef KERF_KERNELS_MESH_RINGS_H
#define KERF_KERNELS_MESH_RINGS_H

#include "workers/kernels/adjacency.h"

#define KF_RINGS_BLOCK 1024 // vertices that are renumbered among themselves
#define KF_RINGS_MANY  13   // a class of its own has each smaller number of neighbours; the last is for all others

// Vertices are renumbered within blocks of KF_RINGS_BLOCK by their number of neighbours, so that a pass over a block is
// a few loops of one known length each: a branch less per vertex, and that one is hard to foresee. In class
// KF_RINGS_MANY are also those vertices that want special care: the boundary's, and those with marks. A neighbour is
// the next corner in a triangle of the vertex; in the middle of a manifold each comes once.
struct kf_rings {
    int64_t vertices, blocks;
    uint32_t *place;                      // of each vertex of the mesh
    uint32_t *vertex;                     // at each place
    uint32_t *around;                     // places of neighbours, one list after the other in the order of the places
    int64_t *first;                       // per block: where its lists begin in `around`
    uint32_t (*count)[KF_RINGS_MANY + 1]; // per block and class: places
    struct kf_ring {
        uint64_t balance; // of directed edges: 0 inside of the surface
        uint32_t degree;
        uint32_t next;
    } * ring; // per vertex of the mesh
};

// `marks` (may be NULL): vertices with a mark that is not 0 are special. Every edge of a triangle whose opposite no
// other triangle has makes both ends special, with balance ≠ 0. KF_KERNEL_TOO_LARGE over 2^32 - 1 corners,
// KF_KERNEL_INVALID when an index is out of range. Memory: 12 bytes per triangle and 24 per vertex. Owned:
// kf_rings_release.
enum kf_kernel_status kf_rings_make(const struct kf_work *work, const struct kf_mesh *mesh,
                                    const struct kf_spans *spans, const uint8_t *marks, struct kf_rings *out);
void kf_rings_release(const struct kf_work *work, struct kf_rings *rings);

#endif
