// Inside of the kernel library: which corners and neighbours a vertex has, and how threads share out what is gathered
// from triangles at their corners.
#ifndef KERF_KERNELS_ADJACENCY_H
#define KERF_KERNELS_ADJACENCY_H

#include "workers/kernels/mesh.h"

// The corners of vertex v are corner[first[v]] … corner[first[v + 1] - 1] in order of their triangles; corner c belongs
// to triangle c / 3. Memory: 12 bytes per triangle and 4 per vertex.
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

// The least and greatest vertex of every KF_SPAN triangles. A thread that gathers for a range of vertices passes over
// the spans that have none of them: each vertex then sees its triangles in their order, whatever the number of threads.
// Meshes mostly have near vertices in near triangles; where they do not, every thread looks at all triangles.
#define KF_SPAN 1024

struct kf_spans {
    int64_t count;
    uint32_t (*range)[2];
};

// KF_KERNEL_INVALID when an index is out of range. Owned: kf_spans_release.
enum kf_kernel_status kf_spans_make(const struct kf_work *work, const struct kf_mesh *mesh, struct kf_spans *out);
void kf_spans_release(const struct kf_work *work, struct kf_spans *spans);

// Whether span s has vertices from [low, high): 0, 1, or 2 when all of its vertices are.
static inline int kf_span_meets(const struct kf_spans *spans, int64_t s, int64_t low, int64_t high)
{
    int64_t least = spans->range[s][0], most = spans->range[s][1];
    return most < low || least >= high ? 0 : least >= low && most < high ? 2 : 1;
}

// Vertices [*low, *high) of part `part` of `parts`, in whole blocks of `block`.
static inline void kf_part_of(int64_t vertices, int64_t block, int part, int parts, int64_t *low, int64_t *high)
{
    int64_t blocks = (vertices + block - 1) / block;
    *low = blocks * part / parts * block;
    *high = blocks * (part + 1) / parts * block;
    *low = *low < vertices ? *low : vertices;
    *high = *high < vertices ? *high : vertices;
}

// Per vertex the sum of its triangles' cross products, in the order of the triangles: 3 floats each.
void kf_gather_normals(const struct kf_work *work, const struct kf_mesh *mesh, const struct kf_spans *spans,
                       float *sums);

// Sums of these over the edges that leave a vertex, less those over the edges that come in, are 0 when every neighbour
// is met both ways. One that is not, and one more, cannot cancel; of more than two, one in 2^64 might.
static inline uint64_t kf_edge_hash(uint32_t v)
{
    uint64_t x = (v + 1ull) * 0x9e3779b97f4a7c15u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

// Union-find over vertices: joins the corners of every triangle and flattens, so that group[v] is the least vertex
// connected with v. KF_KERNEL_CANCELLED leaves `group` half made.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_mesh_groups(const struct kf_work *work, const struct kf_mesh *mesh,
                                                        uint32_t *group);

// same[v] is the first vertex at the place of v (-0 is 0). Memory: 16 bytes per vertex, or 32 when places are crowded.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_same_places(const struct kf_work *work, const struct kf_mesh *mesh,
                                                        uint32_t *same);

#endif
