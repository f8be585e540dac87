// A sound surface from a broken one, and a report of what was wrong.
#ifndef KERF_KERNELS_MESH_REPAIR_H
#define KERF_KERNELS_MESH_REPAIR_H

#include "workers/kernels/mesh.h"

struct kf_mesh_repair {
    double least_mm3;   // pieces that enclose less (or nothing) are dropped; at least 0
    int64_t hole_edges; // holes with more edges stay open; 0 fills none
    int intersections;  // rounds in which facets that run through others are cut out and their holes filled; 0: only count
};

struct kf_mesh_repair_report {
    struct kf_mesh_report before, after;
    int64_t welded_vertices;      // joined to another at the same place
    int64_t degenerate_triangles; // with two equal corners: dropped
    int64_t duplicate_triangles;  // with the same three corners as an earlier one: dropped
    int64_t turned_triangles;     // that ran against their neighbours, or inside out
    int64_t split_vertices;       // vertices added where sheets met in an edge or a vertex
    int64_t holes_filled, hole_triangles;
    int64_t pieces_removed;
    int64_t intersections_before, intersections_after; // pairs of facets (mesh_intersect.h)
    int intersections_unknown;    // 1: kf_mesh_intersect gave up; the numbers before and after, and of flat ones, are 0
    int64_t flat_triangles;       // without area, afterwards: not tested for intersections
    int sound;                    // closed, manifold, oriented, known to be without intersections
    int changed;                  // 0: the mesh is, byte for byte, what it was
};

// Repairs in place. What is sound stays as it is: nothing is welded in a closed manifold, no vertex is moved. In this
// order: vertices at one place are joined (only when the surface is open), degenerate and duplicate triangles dropped,
// sheets that meet in an edge parted so that each encloses its own wedge, triangles turned to agree with most of their
// piece, vertices split into one per fan, holes filled (three edges: a triangle; more: a fan around their middle),
// empty pieces dropped, pieces turned to face away from what they enclose (a piece inside of an odd number of others
// bounds a cavity), facets that run through others cut out as long as that leaves fewer of them. Based on: Guéziec,
// Taubin, Lazarus, Horn, "Cutting and stitching: converting sets of polygons to manifold surfaces", IEEE TVCG 7(2), 2001;
// Attene, "A lightweight approach to repairing digitized polygon meshes", The Visual Computer 26, 2010.
//
// What cannot be made sound is said: after.closed, after.boundary_edges, intersections_after. Both arrays may be replaced
// by larger ones from the same work. KF_KERNEL_INVALID when an index is out of range, a coordinate of a used vertex is
// no kf_bvh may have, or an argument is out of range; then the mesh is as it was. It is not, but still to be released,
// when memory ran out or the caller cancelled half way. KF_KERNEL_TOO_LARGE too when so many closed pieces lie behind
// each other that which faces where would take too long to find: RAY_LOOKS looks at facets and nodes along all rays.
// The same bytes for any number of threads. Memory: 84 bytes per triangle and 28 per vertex, or what kf_mesh_intersect
// takes; with `intersections` a copy of the mesh beside it.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_repair(const struct kf_work *work, struct kf_mesh *mesh,
                                                        const struct kf_mesh_repair *how,
                                                        struct kf_mesh_repair_report *report);

#endif
