// Inside of mesh repair: makes a manifold of any set of triangles.
#ifndef KERF_KERNELS_MESH_STITCH_H
#define KERF_KERNELS_MESH_STITCH_H

#include "workers/kernels/mesh_repair.h"

// Drops degenerate and duplicate triangles, turns triangles to agree, parts sheets, splits vertices, fills holes of up to
// how->hole_edges edges, drops unused vertices. Adds to the counts in `report`. Memory as mesh_repair.h says.
enum kf_kernel_status kf_mesh_stitch(const struct kf_work *work, struct kf_mesh *mesh,
                                     const struct kf_mesh_repair *how, struct kf_mesh_repair_report *report);

#endif
