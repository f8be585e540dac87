// The surface between the voxels of a mask and the rest: closed (or cut at the border of the volume), manifold,
// oriented, at the grey value's own height where there is one.
#ifndef KERF_KERNELS_SURFACE_H
#define KERF_KERNELS_SURFACE_H

#include "workers/kernels/bits.h"
#include "workers/kernels/mesh.h"

struct kf_surface_input {
    const struct kf_bits *inside;
    const struct kf_grid *grid; // same dimensions; any orthonormal direction, mirrored or not
    // int16 or float32 voxels of the same dimensions, or NULL. Where the mask is at or above `iso` on its side of an
    // edge and below on the other, the vertex lies where the linear interpolation crosses iso; elsewhere, and
    // without grey values, in the middle.
    const struct kf_volume *grey;
    double iso;
    // 1: the surface is closed along the outermost voxel centres where the mask reaches the border of the volume;
    // 0: it ends there, with boundary edges.
    int cap;
};

// Flying edges on a bit mask: two passes, no edge table. Based on: Lorensen and Cline, "Marching cubes", SIGGRAPH 1987;
// Schroeder, Maynard, Geveci, "Flying edges", LDAV 2015. The case table is derived in surface.c: on an ambiguous face the
// inside corners are joined, and no polygon is cut along a face of its cell, so that every edge of a capped surface
// has exactly two triangles and every vertex one fan. Vertices are ordered by slice, row and axis of their edge.
// *mesh is owned (kf_mesh_release); empty when the mask is. Byte-identical for any thread count and instruction set.
// KF_KERNEL_TOO_LARGE over 2^32 - 2 vertices or 2^32 - 1 triangles. Memory beside the mesh: one bit per voxel and 20
// bytes per row.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_surface(const struct kf_work *work, const struct kf_surface_input *input,
                                                    struct kf_mesh *mesh);

// The grey value that parts the mask's boundary voxels from their outside neighbours with the fewest mistakes: for a
// mask that began as a threshold, that threshold (float32: to a 65536th of the range of values). *mistakes (may be
// NULL) gets the share of neighbour voxels on the wrong side, 0…1. KF_KERNEL_INVALID when the mask has no boundary, a
// float is not finite, or the type is neither int16 nor float32.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_surface_level(const struct kf_work *work, const struct kf_bits *inside,
                                                          const struct kf_volume *grey, double *level,
                                                          double *mistakes);

#endif
