// Where a surface runs through itself.
#ifndef KERF_KERNELS_MESH_INTERSECT_H
#define KERF_KERNELS_MESH_INTERSECT_H

#include "workers/kernels/mesh.h"

struct kf_mesh_intersections {
    int given_up;       // 1: too many triangles lie beside each other to compare all; the rest is then 0
    int64_t pairs;      // of triangles that meet where they should not
    int64_t flat;       // triangles without area: not tested
    int64_t listed;     // in `pair`: all pairs, or the first `most` in the order of the search, which is always the same
    uint32_t *pair;     // 2 per listed pair, the smaller number first; owned: kf_work_give
};

// Boxes of n slivers in one fan all overlap, and there are meshes whose n² / 2 pairs all meet: after KF_INTERSECT_LOOKS
// looks at pairs and nodes, and 64 more for each triangle, the search ends with given_up, on every machine at the same
// meshes. That is half a minute; a surface as scanners and segmentations make it takes about 30 for each triangle.
#define KF_INTERSECT_LOOKS ((int64_t)1 << 28)

// Finds all pairs of triangles that have a point in common beyond the corners that they share: disjoint triangles that
// touch or cross, two around one vertex that meet elsewhere, two at one edge that are folded onto each other, and the
// same triangle twice. Corners at bitwise equal positions are the same corner, so that a surface that touches itself in
// a vertex (kf_surface_labels_mesh) is sound. Every answer is exact: the signs of determinants are taken from doubles
// where these are sure and from sums without rounding where not (after Shewchuk, "Adaptive precision floating-point
// arithmetic and fast robust geometric predicates", Discrete Comput. Geom. 18, 1997; the tests after Guigue and
// Devillers, "Fast and robust triangle-triangle overlap test using orientation predicates", J. Graphics Tools 8(1),
// 2003). Exact for coordinates between 1e-30 and 1e30 and 0. `most`: how many pairs to list at most. KF_KERNEL_INVALID
// for coordinates that no kf_bvh may have, KF_KERNEL_TOO_LARGE from 2^32 - 1 vertices or triangles. Same answer for any
// number of threads. Memory: a kf_bvh, 88 bytes per triangle, 8 per listed pair, and 20 per vertex or 36 when places are
// crowded.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_intersect(const struct kf_work *work, const struct kf_mesh *mesh,
                                                           int64_t most, struct kf_mesh_intersections *out);

// 1 when two triangles, of three corners each, have a point in common beyond shared corners, as above; neither may be
// flat.
int kf_triangles_meet(const float a[][3], const float b[][3]);

// Sign of the volume of the tetrahedron (a, b, c, d): 1 when d lies on the side of the plane abc from which a, b, c
// turn clockwise, 0 when it lies in the plane. Exact.
int kf_orientation(const float a[3], const float b[3], const float c[3], const float d[3]);

#endif
