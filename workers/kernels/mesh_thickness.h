// How thick a structure is at each place of its surface.
#ifndef KERF_KERNELS_MESH_THICKNESS_H
#define KERF_KERNELS_MESH_THICKNESS_H

#include "workers/kernels/mesh.h"

struct kf_mesh_thickness {
    double most_mm; // thicker places get this; at least 1e-3
    // A ball is not made smaller for what it touches closer than this to its own place, as an angle at its centre given
    // by its cosine: facets and noise beside the place are no other side. 0.7 (45°) is a good default; below 1, above
    // -1.
    double own_cosine;
};

#define KF_THICKNESS_LOOKS ((int64_t)1 << 28)

// The diameter, in mm, of the greatest ball inside of the surface that touches it at each vertex: thickness[v],
// `vertices` floats; 0 for a vertex without area. Shrinking balls: Ma, Bae, Choi, "3D medial axis point approximation
// using nearest neighbors and the normal field", The Visual Computer 28, 2012, with exact nearest points of the
// triangles; the angle after Peters and Ledoux, "Robust approximation of the medial axis transform of LiDAR point
// clouds", Computers & Geosciences 90, 2016. For a closed mesh facing outward. The same bytes for any number of
// threads. KF_KERNEL_INVALID for coordinates that are not finite or arguments out of range. KF_KERNEL_TOO_LARGE when so
// many triangles are as near to the middles of the balls that the nearest take too long to find: more than
// KF_THICKNESS_LOOKS looks beyond the first 1024 of each question, which is some ten seconds on one thread; every
// machine refuses the same meshes. A heap in one place is such a mesh, and an exact sphere of some 10,000 vertices, all
// of which lie around one middle. Memory: a kf_bvh and 12 bytes per vertex.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_thickness(const struct kf_work *work, const struct kf_mesh *mesh,
                                                           const struct kf_mesh_thickness *how, float *thickness);

#endif
