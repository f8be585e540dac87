// The surfaces between the labels of a label map, all at once: one net of vertices that neighbours share, from which
// the closed surface of every label can be taken.
#ifndef KERF_KERNELS_SURFACE_LABELS_H
#define KERF_KERNELS_SURFACE_LABELS_H

#include "workers/kernels/mesh.h"

struct kf_surface_labels_input {
    const struct kf_volume *labels; // uint8, at least one voxel; 0 is the background, and so is all that lies outside
    // Rounds of relaxation: every vertex goes half of the way to the mean of its neighbours but never leaves its cell
    // (the cube between eight voxel centres), so that the surface stays within half a voxel of the voxels' faces on
    // each axis. Where three labels meet, vertices go along that line only. 0 keeps the net of the plain means of
    // crossings.
    int rounds;
};

// A cell is the cube between eight voxel centres; each cell that more than one label touches has one vertex, at the
// mean of the middles of those of its edges that join two labels. Each pair of neighbouring voxels with two labels has
// one quad, between the vertices of the four cells around it: so two labels share their interface vertex by vertex. The
// surface of a structure that reaches the border of the volume is closed along the outer faces of the last voxels.
struct kf_surface_labels {
    int64_t vertices;
    int64_t quads;
    float *xyz;       // 3 per vertex, LPS mm
    uint64_t *corner; // per vertex: the labels of its cell's corners; byte x + 2·y + 4·z
    uint32_t *ring;   // 4 per quad, counter-clockwise seen from the far end of the pair of voxels
    uint8_t *pair;    // 2 per quad: the greater and the smaller label
    uint8_t *kind;    // per quad: its axis, + 4 where the greater label is that of the far voxel
    int mirrored;     // the grid is: turns every quad
};

// Surface nets: Gibson, "Constrained elastic surface nets", MICCAI 1998; for many labels at once as in Frisken,
// "SurfaceNets for multi-label segmentations with preservation of sharp boundaries", JCGT 11(1), 2022. Cells and pairs
// of voxels are found by comparing bytes, 64 at a time. *out is owned: kf_surface_labels_release with the same work.
// KF_KERNEL_INVALID for another voxel type, KF_KERNEL_TOO_LARGE over 2^32 - 2 vertices or quads. The same bytes for any
// number of threads and instruction set. Memory beside the result: one bit per voxel, 8 bytes per row and 128 KiB; with
// rounds, 62 bytes per vertex.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_surface_labels(const struct kf_work *work,
                                                           const struct kf_surface_labels_input *input,
                                                           struct kf_surface_labels *out);
void kf_surface_labels_release(const struct kf_work *work, struct kf_surface_labels *surface);

// The surface of one label (0: of the background, which then has the outside of the volume around it) as a closed,
// manifold, oriented mesh, facing away from the label; empty when the label is not there. Every quad becomes two
// triangles, cut along its shorter diagonal, so two labels get the same triangles on their interface, turned over.
// Where parts of the label touch along an edge or at a corner only, the mesh has several vertices at one place, so that
// every edge has two triangles and every vertex one fan (Wenger, "Isosurfaces: geometry, topology, and algorithms",
// 2013, on manifold dual contouring); do not weld it. Vertices are in the order of the net's, triangles in that of its
// quads. *mesh is owned (kf_mesh_release). KF_KERNEL_TOO_LARGE from 2^31 vertices. Memory beside it: 5 bytes per vertex
// of the net.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_surface_labels_mesh(const struct kf_work *work,
                                                                const struct kf_surface_labels *surface, int label,
                                                                struct kf_mesh *mesh);

// The whole net as one mesh: vertices as they are (not manifold where three labels meet), triangle t facing from
// pair[2·t] to pair[2·t + 1], the greater label first. *mesh is owned; *pair is owned: kf_work_give.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_surface_labels_net(const struct kf_work *work,
                                                               const struct kf_surface_labels *surface,
                                                               struct kf_mesh *mesh, uint8_t **pair);

#endif
