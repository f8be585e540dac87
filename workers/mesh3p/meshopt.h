// The adapter to meshoptimizer (https://github.com/zeux/meshoptimizer, MIT): simplification, vertex order, and the
// codecs of EXT_meshopt_compression. The only place that includes it. Deterministic: single-threaded, baseline code.
#ifndef KERF_MESH3P_MESHOPT_H
#define KERF_MESH3P_MESHOPT_H

#include "workers/kernels/mesh.h"

// Collapses edges until `target` triangles are left or the next collapse would exceed error_mm (quadric estimate of
// the distance to the input surface; Garland and Heckbert, SIGGRAPH 1997). Vertices are a subset of the input's; open
// borders stay where they are. *out is owned (kf_mesh_release); *reached_mm gets the greatest estimate.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh3p_simplify(const struct kf_work *work, const struct kf_mesh *mesh,
                                                            int64_t target, double error_mm, struct kf_mesh *out,
                                                            double *reached_mm);

// Reorders triangles for the vertex cache in place, a quarter of a million at a time, and fills order[old vertex] = new
// vertex by first use; *used gets the number of used vertices. `order` holds one entry per vertex, UINT32_MAX where
// unused. Memory: 4 MB where there are more triangles than one such part has.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh3p_order(const struct kf_work *work, uint32_t *index, int64_t indices,
                                                         int64_t vertices, uint32_t *order, int64_t *used);

// Codecs. `stride` is a multiple of 4 up to 256. Packing returns the bytes written (0: `size` was too small).
int64_t kf_mesh3p_pack_vertices_bound(int64_t count, int64_t stride);
int64_t kf_mesh3p_pack_vertices(void *to, int64_t size, const void *vertices, int64_t count, int64_t stride);
int64_t kf_mesh3p_pack_triangles_bound(int64_t indices, int64_t vertices);
int64_t kf_mesh3p_pack_triangles(void *to, int64_t size, const uint32_t *index, int64_t indices);

// Unit vectors (4 floats each, the fourth 0) to octahedral codes of `bits` bits in 4 (bits ≤ 8) or 8 bytes each.
void kf_mesh3p_pack_normals(void *to, int64_t count, int64_t stride, int bits, const float *xyzw);

enum kf_meshopt_mode { KF_MESHOPT_ATTRIBUTES = 1, KF_MESHOPT_TRIANGLES, KF_MESHOPT_INDICES };
enum kf_meshopt_filter { KF_MESHOPT_NONE = 1, KF_MESHOPT_OCTAHEDRAL, KF_MESHOPT_QUATERNION, KF_MESHOPT_EXPONENTIAL };

// Decodes `count` elements of `stride` bytes into `to`. 0, or -1 when the bytes or the arguments are not valid.
int kf_mesh3p_unpack(void *to, int64_t count, int64_t stride, enum kf_meshopt_mode mode,
                     enum kf_meshopt_filter filter, const void *bytes, int64_t length);

#endif
