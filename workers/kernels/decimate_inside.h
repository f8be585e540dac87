// Inside of the kernel library: what decimate.c (one pass over a mesh) and decimate_blocks.c (many passes over pieces
// of it) share.
#ifndef KERF_KERNELS_DECIMATE_INSIDE_H
#define KERF_KERNELS_DECIMATE_INSIDE_H

#include "workers/kernels/adjacency.h"

// Squared distance to planes, in coordinates relative to the vertex that owns it: xᵀA x + 2 bᵀx + c, and its weight.
struct kf_quadric {
    float a00, a11, a22, a01, a02, a12;
    float b0, b1, b2;
    float c, w;
};

// The collapse of a vertex onto a neighbour. The key is the bits of the error in mm², which are in the order of the
// values.
struct kf_proposal {
    uint32_t vertex, onto;
    uint32_t key;
};

// BORDER: of the surface; stays. LOCKED: at the border of a piece; stays, and nothing comes to it. STALE: something
// around the vertex has changed since its proposal was made. BESIDE: a neighbour was removed in this pass, so that the
// corners of the vertex are not what they were.
enum { KF_VERTEX_REMOVED = 1, KF_VERTEX_BESIDE = 2, KF_VERTEX_BORDER = 4, KF_VERTEX_LOCKED = 8, KF_VERTEX_STALE = 16 };

// The sides of the triangles around each vertex: side[first[v]] … side[first[v + 1] - 1] are the next corner and the
// one before, in order of the triangles.
struct kf_fans {
    uint32_t *first; // vertices + 1
    uint32_t (*side)[2];
};

struct kf_decimator {
    struct kf_mesh *mesh;
    struct kf_fans at;
    struct kf_quadric *q;
    uint32_t *onto; // per vertex: where it went in this pass, or none (all bits set)
    uint8_t *flags;
    struct kf_proposal *list, *spare;
    int64_t count;
    struct kf_proposal *known; // per vertex, from one kf_decimate_round to the next; all STALE before the first
};

// Least significant digit first, stable: equal keys stay in the order of their vertices.
void kf_sort_proposals(struct kf_decimator *d);

// One pass over a mesh whose fans, quadrics and flags are there, on the calling thread: collapses of at most limit2
// (mm²), cheap ones first, at most `most`; triangles that are gone are dropped, vertices keep their numbers. Returns
// the number of collapses.
int64_t kf_decimate_round(struct kf_decimator *d, float limit2, int64_t most, float *reached2);

// Decimates in pieces until the mesh is near its target or no more can be had, and brings vertices and triangles into
// an order in which near ones follow each other. Quadrics and the flag BORDER of the vertices are there
// afterwards, and every vertex is used. `d` has the arrays of the whole mesh but no fans.
enum kf_kernel_status kf_decimate_blocks(const struct kf_work *work, struct kf_decimator *d,
                                         const struct kf_mesh_decimate *how, float *reached2);

// Closes the gaps that removed vertices left; order stays.
void kf_decimate_compact(struct kf_decimator *d);

#endif
