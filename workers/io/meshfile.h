// Meshes for printers and other programs: PLY (binary little-endian, float32) and STL (binary). Both say their frame:
// PLY in a comment, STL in its 80-byte header. Coordinates are LPS millimetres. `work` is asked every few milliseconds
// whether to go on: KF_CANCELLED.
#ifndef KERF_IO_MESHFILE_H
#define KERF_IO_MESHFILE_H

#include "server/base/error.h"
#include "workers/kernels/mesh.h"

// `normals` may be NULL (3 floats per vertex). Same input, same bytes. Errors: KF_IO, KF_NOSPACE, KF_NOMEM.
KF_MUST_USE enum kf_status kf_ply_write(const struct kf_work *work, const char *path, const struct kf_mesh *mesh,
                                        const float *normals, struct kf_error *err);
KF_MUST_USE enum kf_status kf_stl_write(const struct kf_work *work, const char *path, const struct kf_mesh *mesh,
                                        struct kf_error *err);

// Reads a binary little-endian PLY with float32 or float64 x, y, z first among the vertex properties and triangles
// only, or a binary STL (whose corners are welded). Hostile files end in KF_INVALID ply_format or stl_format, or
// KF_TOO_LARGE. *mesh is owned: kf_mesh_release with `work`.
KF_MUST_USE enum kf_status kf_ply_parse(const struct kf_work *work, const void *bytes, int64_t length,
                                        struct kf_mesh *mesh, struct kf_error *err);
KF_MUST_USE enum kf_status kf_stl_parse(const struct kf_work *work, const void *bytes, int64_t length,
                                        struct kf_mesh *mesh, struct kf_error *err);

#endif
