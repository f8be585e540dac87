// How far two surfaces are from each other: mean, root mean square, 95th percentile, and the greatest distance as an
// interval that provably holds it. And decimation whose error is measured so.
#ifndef KERF_KERNELS_MESH_DISTANCE_H
#define KERF_KERNELS_MESH_DISTANCE_H

#include "workers/kernels/bvh.h"

struct kf_mesh_distance_how {
    // The integrals are sums over samples, each the middle of its share of a triangle, whose sides are at most this
    // long (mm) but no triangle has more than 4096 shares. 0: one sample per triangle.
    double spacing_mm;
    double tolerance_mm; // greatest width of the interval of the maximum; at least 1e-6
};

// Distances from the points of one surface to the nearest of another (exact, point to triangle).
struct kf_mesh_one_way {
    double mean_mm; // by area
    double rms_mm;
    double p95_mm; // 95 % of the area is at most so far
    // The directed Hausdorff distance lies in [greatest_low, greatest_high]; the point where the low end was measured.
    double greatest_low_mm, greatest_high_mm;
    double greatest_at[3];
    int64_t samples;
};

struct kf_mesh_distance {
    struct kf_mesh_one_way way[2]; // from a to b, from b to a
    double mean_mm, rms_mm;        // over the area of both
    double hd95_mm;                // the greater of both ways
    double hausdorff_low_mm, hausdorff_high_mm;
};

#define KF_DISTANCE_SAMPLES ((int64_t)1 << 29) // 8 GiB
#define KF_DISTANCE_LOOKS   ((int64_t)1 << 27)
#define KF_DISTANCE_LOOKS_EACH 64 // more for each triangle: a cut

// The maximum is bounded by branch and bound: the distance to one triangle is convex, so over a triangle it is greatest
// in a corner; what is too loose is cut in four (after Tang, Lee, Kim, "Interactive Hausdorff distance computation for
// general polygonal models", SIGGRAPH 2009). KF_KERNEL_INVALID when a mesh is empty or none that a kf_bvh takes, or an
// argument is out of range; KF_KERNEL_TOO_LARGE for more than KF_DISTANCE_SAMPLES samples, and when so many
// triangles lie in one place that the nearest takes too long to find: more than KF_DISTANCE_LOOKS looks, and
// KF_DISTANCE_LOOKS_EACH per triangle, beyond the first 1024 of each question. That is some ten seconds on one thread;
// every machine refuses the same meshes.
// The same bytes for any number of threads. Memory: a kf_bvh of each mesh; 12 bytes per vertex, 8 per triangle and 16
// per sample of the one that is measured from.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_distance(const struct kf_work *work, const struct kf_mesh *a,
                                                          const struct kf_mesh *b,
                                                          const struct kf_mesh_distance_how *how,
                                                          struct kf_mesh_distance *out);

// The Hausdorff distance alone, of a tree's mesh and another, as an interval that provably holds it: *high_mm is above
// *low_mm, which a point was measured to have, by a fiftieth of it at most, or not above `enough_mm` (at least 1e-6).
// Many times faster than the above: the finer of both is mapped onto the other, which bounds both ways at once
// (mesh_onto.h). Where no map is found, what is nearer than the greatest distance found so far is not looked at
// closely, and it is asked whether one surface covers whole facets of the other (cover.h). Limits, errors and bytes as
// above, KF_KERNEL_INVALID when a mesh is empty. Memory: a kf_bvh of b, 16 bytes for 1024 triangles, and a kf_onto.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_hausdorff(const struct kf_work *work, const struct kf_bvh *a,
                                                           const struct kf_mesh *b, double enough_mm, double *low_mm,
                                                           double *high_mm);

// kf_mesh_decimate, then an upper bound of the Hausdorff distance between before and after. When it is not below
// `hausdorff_mm`, decimates again with a smaller error, at most eight times; at last the mesh stays as it was.
// *measured_mm (may be NULL) gets that bound. A closed, manifold, oriented mesh stays so. Memory: a copy of the mesh,
// a kf_bvh of both and what kf_mesh_decimate takes.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_decimate_within(const struct kf_work *work, struct kf_mesh *mesh,
                                                                 const struct kf_mesh_decimate *how,
                                                                 double hausdorff_mm, double *measured_mm);

#endif
