// Inside of the kernel library: a continuous map from one surface to another that is near it and mostly coarser. Where
// it goes over the whole of a triangle of the other, one bound serves both ways: no point that is mapped goes farther
// than the bound, and every point of that triangle is where one of them went.
#ifndef KERF_KERNELS_MESH_ONTO_H
#define KERF_KERNELS_MESH_ONTO_H

#include "workers/kernels/adjacency.h"
#include "workers/kernels/pace.h"

// Where a vertex goes: a point near it. The corners of the least vertex, edge or triangle that holds it come in
// ascending order, the rest is UINT32_MAX; a point without any is nowhere.
struct kf_onto_place {
    uint32_t id[3];
    uint32_t triangle; // that it was found on
    double share[2];   // weights of id[1] and id[2]
    double distance;
};

struct kf_onto {
    const struct kf_mesh *from;  // borrowed
    const struct kf_bvh *to;     // borrowed
    struct kf_corners corners;   // of the mesh that `to` is of
    struct kf_onto_place *place; // per vertex of `from`
    uint32_t *mate, *same;       // per side, and per triangle, of `to`
    uint8_t *seen;               // per triangle of `to`
};

// Finds the places of all vertices; *farthest gets how far they are at most, which one is from its nearest point.
// Vertices with edges that do not have an even number of triangles go nowhere. Owned: kf_onto_release. Memory: 40 bytes
// per vertex and, while it is made, 12 per triangle of `from`; 4 per vertex and 29 per triangle of `to`.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_onto_make(const struct kf_work *work, const struct kf_mesh *from,
                                                      const struct kf_bvh *to, struct kf_pace *pace,
                                                      struct kf_onto *out, double *farthest);
void kf_onto_release(const struct kf_work *work, struct kf_onto *map);

// Maps a triangle of `from`: 1 when no point of it has to go farther than most_mm; *far gets how far they go at most. 0
// when that is not so or no map was found. From any thread; each triangle is to be mapped once.
int kf_onto_triangle(struct kf_onto *map, struct kf_asker *ask, int64_t triangle, double most_mm, double *far);

// After all triangles: 1 when the map goes over the whole of a triangle of `to`.
int kf_onto_covers(const struct kf_onto *map, uint32_t triangle);

#endif
