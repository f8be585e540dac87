// Triangle meshes: memory, measures, topology, smoothing, normals, welding.
#ifndef KERF_KERNELS_MESH_H
#define KERF_KERNELS_MESH_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// Indexed triangles. Positions are LPS millimetres unless said otherwise; a triangle's corners run counter-clockwise
// seen from outside, so that a closed mesh has a positive volume. Both arrays come from one kf_work's allocator: the
// mesh is owned by the caller, who releases it with kf_mesh_release and the same kf_work.
//
// Numbers of vertices and of corners are 32 bits wide, counts and sizes of memory 64. What works with corners (check,
// smooth, decimate, repair, surfaces that are registered) answers KF_KERNEL_TOO_LARGE from 2^32 - 1 corners, which is
// 1,431,655,765 triangles, or as many vertices; weld, drop_small and whatever asks a kf_bvh from 2^32 - 1 vertices or
// triangles. kf_surface makes up to 2^32 - 1 of each; measure and normals take any mesh.
struct kf_mesh {
    int64_t vertices;
    int64_t triangles;
    float *xyz;      // 3 per vertex
    uint32_t *index; // 3 per triangle, each below `vertices`
};

// Gives both arrays back to `work` and leaves an empty mesh.
void kf_mesh_release(const struct kf_work *work, struct kf_mesh *mesh);

struct kf_mesh_report {
    int64_t boundary_edges;       // used by one triangle only
    int64_t nonmanifold_edges;    // used by three or more triangles
    int64_t misoriented_edges;    // both triangles run along it in the same direction
    int64_t nonmanifold_vertices; // whose triangles do not form one fan
    int64_t degenerate_triangles; // two equal corners
    int64_t unused_vertices;
    int64_t components; // connected through shared vertices
    int closed;         // no boundary edge
    int manifold;       // no non-manifold edge or vertex, no degenerate triangle
    int oriented;       // no misoriented edge
    double area_mm2;
    double volume_mm3;   // signed; meaningful when closed and oriented
    double bounds[2][3]; // least and greatest corner over used vertices; zeros when empty
};

// Measures the mesh and checks its topology. The report is whole or, when anything but KF_KERNEL_OK is answered, all
// zeros, which says of no mesh that it is closed. Memory: 28 bytes per triangle and 16 per vertex.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_check(const struct kf_work *work, const struct kf_mesh *mesh,
                                                       struct kf_mesh_report *report);

// Signed volume by the divergence theorem (Zhang and Chen, "Efficient feature extraction for 2D/3D objects in mesh
// representation", ICIP 2001), and area; sums over fixed blocks, so that threads do not matter.
void kf_mesh_measure(const struct kf_work *work, const struct kf_mesh *mesh, double *volume_mm3, double *area_mm2);

#define KF_MESH_SMOOTH_PASSES_MOST 256

struct kf_mesh_smooth {
    int passes;         // 0 does nothing, 1 and 2 count as 3; more of them part rough from smooth more sharply
    double pass_band;   // 0 < k < 1: features longer than about 2π/√(2k) edges stay; 0.1 is a good default
    double keep_volume; // 1: shift along the normals at the end so that the volume is what it was; 0: do not
    // Vertices do not leave the ball of this radius (mm) around their first position, before the shift of keep_volume
    // at the end; 0: no limit.
    double reach_mm;
    // Vertices that start on the outermost voxel planes of this grid (to 1/32 voxel) only slide along them, so that the
    // caps of a cut structure stay flat; NULL: no such planes. Borrowed.
    const struct kf_grid *planes;
};

// A windowed sinc over the surface's frequencies (Taubin, Zhang, Golub, "Optimal surface smoothing as filter design",
// ECCV 1996), in place. Boundary vertices of an open mesh stay. KF_KERNEL_INVALID over KF_MESH_SMOOTH_PASSES_MOST
// passes or for another pass band. Memory: 12 bytes per triangle and 73 per vertex.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_smooth(const struct kf_work *work, struct kf_mesh *mesh,
                                                        const struct kf_mesh_smooth *how);

struct kf_mesh_decimate {
    int64_t target;  // triangles to come down to; the result may have more when the error does not allow it
    double error_mm; // no collapse above this: root mean square distance to the planes that were there before
};

// Collapses edges by quadric error (Garland and Heckbert, SIGGRAPH 1997), in place: vertices stay where they are or go.
// A closed, manifold, oriented mesh stays so (link condition), no triangle turns by more than 75° in a collapse, open
// borders stay. *reached_mm (may be NULL) gets the greatest error of a collapse. The arrays keep their size; large
// meshes come out in an order in which near vertices follow each other. Memory: 36 bytes per triangle and 93 per
// vertex, and 4 MB per thread.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_decimate(const struct kf_work *work, struct kf_mesh *mesh,
                                                          const struct kf_mesh_decimate *how, double *reached_mm);

// Unit vertex normals, outward, weighted by the corner's angle-free area (the sum of the triangles' cross products):
// `normals` holds 3 floats per vertex. A vertex without area gets (0, 0, 1).
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_normals(const struct kf_work *work, const struct kf_mesh *mesh,
                                                         float *normals);

// Joins vertices at bitwise equal positions (-0 counts as 0), drops triangles that collapse and vertices that nothing
// uses; vertices keep the order of their first use. In place; the arrays keep their size.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_weld(const struct kf_work *work, struct kf_mesh *mesh);

// Drops connected pieces whose absolute volume is below `least_mm3`; vertices keep their order. In place.
// *removed, which may be NULL, gets the number of pieces dropped.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_drop_small(const struct kf_work *work, struct kf_mesh *mesh,
                                                            double least_mm3, int64_t *removed);

#endif
