// Inside of the kernel library: which corners and neighbours a vertex has.
#ifndef KERF_KERNELS_ADJACENCY_H
#define KERF_KERNELS_ADJACENCY_H

#include "workers/kernels/mesh.h"

// The corners of vertex v are corner[first[v]] … corner[first[v + 1] - 1] in order of their triangles; corner c belongs to
// triangle c / 3. Memory: 12 bytes per triangle and 4 per vertex.
struct kf_corners {
    uint32_t *first; // vertices + 1
    uint32_t *corner;
};

// KF_KERNEL_TOO_LARGE over 2^32 - 1 corners, KF_KERNEL_INVALID when an index is out of range.
enum kf_kernel_status kf_corners_make(const struct kf_work *work, const struct kf_mesh *mesh, struct kf_corners *out);
void kf_corners_release(const struct kf_work *work, struct kf_corners *corners);

static inline uint32_t kf_corner_next(uint32_t corner)
{
    return corner % 3 == 2 ? corner - 2 : corner + 1;
}

static inline uint32_t kf_corner_before(uint32_t corner)
{
    return corner % 3 == 0 ? corner + 2 : corner - 1;
}

// Union-find over vertices: joins the corners of every triangle and flattens, so that group[v] is the least vertex
// connected with v.
void kf_mesh_groups(const struct kf_mesh *mesh, uint32_t *group);

#endif
