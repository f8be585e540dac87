// Binary glTF 2.0 for the viewer: one mesh, meshopt-compressed (EXT_meshopt_compression), quantised
// (KHR_mesh_quantization) when that moves no vertex by more than 0.01 mm, else float32. Inside, positions are LPS mm;
// the root node's matrix turns them into glTF metres, +Y up: (x, y, z) = (x_lps, z_lps, -y_lps) / 1000.
// `work` is asked some times a second whether to go on: KF_CANCELLED.
#ifndef KERF_IO_GLB_H
#define KERF_IO_GLB_H

#include "server/base/error.h"
#include "workers/kernels/mesh.h"

struct kf_glb_look {
    const char *name;     // of the node and the mesh
    double colour[4];     // sRGB red, green, blue and linear alpha, 0…1; written as a linear base colour factor
    const float *normals; // 3 per vertex, or NULL for none
};

// Writes the mesh; triangles and vertices are reordered for the vertex cache. Same input, same bytes. *worst_mm,
// which may be NULL, gets the greatest displacement by quantisation. Errors: KF_INVALID on an empty mesh; KF_IO; KF_NOMEM.
KF_MUST_USE enum kf_status kf_glb_write(const struct kf_work *work, const char *path, const struct kf_mesh *mesh,
                                        const struct kf_glb_look *look, double *worst_mm, struct kf_error *err);

struct kf_glb_summary {
    int64_t triangles;
    int64_t vertices;
    double bounds_gltf[2][3]; // metres, +Y up: decoded positions through every node's transform
    double bounds_lps[2][3];  // the same in LPS mm
};

// Reads any GLB that kf_glb_write makes, and those of others whose meshes are triangles with float or quantised
// positions, with or without EXT_meshopt_compression: decodes every buffer and checks every index. `mesh` may be
// NULL; otherwise it gets all triangles in LPS mm (owned: kf_mesh_release with `work`).
// Errors: KF_INVALID glb_header, glb_json, glb_buffer, glb_index, glb_empty; KF_NOMEM.
KF_MUST_USE enum kf_status kf_glb_parse(const struct kf_work *work, const void *bytes, int64_t length,
                                        struct kf_glb_summary *summary, struct kf_mesh *mesh, struct kf_error *err);
KF_MUST_USE enum kf_status kf_glb_read(const struct kf_work *work, const char *path, struct kf_glb_summary *summary,
                                       struct kf_mesh *mesh, struct kf_error *err);

#endif
