#include "workers/kernels/mesh_rings.h"

#include <string.h>

// Sums of these over the edges that leave a vertex, less those over the edges that come in, are 0 when every neighbour
// is met both ways. One that is not, and one more, cannot cancel; of more than two, one in 2^64 might.
static inline uint64_t scatter(uint32_t v)
{
    uint64_t x = (v + 1ull) * 0x9e3779b97f4a7c15u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

static inline void count_corner(struct kf_ring *r, uint64_t next, uint64_t before)
{
    r->balance += next - before;
    r->degree++;
}

static void count_part(const struct kf_mesh *mesh, const struct kf_spans *spans, struct kf_ring *ring, int64_t low,
                       int64_t high)
{
    memset(ring + low, 0, (size_t)(high - low) * sizeof *ring);
    for (int64_t s = 0; s < spans->count; s++) {
        int meets = kf_span_meets(spans, s, low, high);
        int64_t end = (s + 1) * KF_SPAN < mesh->triangles ? (s + 1) * KF_SPAN : mesh->triangles;
        for (int64_t t = s * KF_SPAN; t < end && meets; t++) {
            const uint32_t *v = mesh->index + 3 * t;
            const uint64_t h[3] = {scatter(v[0]), scatter(v[1]), scatter(v[2])};
            if (meets == 2 || (v[0] >= low && v[0] < high))
                count_corner(&ring[v[0]], h[1], h[2]);
            if (meets == 2 || (v[1] >= low && v[1] < high))
                count_corner(&ring[v[1]], h[2], h[0]);
            if (meets == 2 || (v[2] >= low && v[2] < high))
                count_corner(&ring[v[2]], h[0], h[1]);
        }
    }
}

static inline int class_of(const struct kf_ring *r, const uint8_t *marks, int64_t v)
{
    return r->balance || r->degree >= KF_RINGS_MANY || (marks && marks[v]) ? KF_RINGS_MANY : (int)r->degree;
}

// Sorts a block by class, stable; leaves in first[b] how many entries its lists have and in ring.next where a list
// begins within the block.
static void sort_block(struct kf_rings *out, const uint8_t *marks, int64_t b)
{
    int64_t low = b * KF_RINGS_BLOCK,
            high = low + KF_RINGS_BLOCK < out->vertices ? low + KF_RINGS_BLOCK : out->vertices;
    uint32_t next[KF_RINGS_MANY + 1], entries = 0;
    memset(out->count[b], 0, sizeof out->count[b]);
    for (int64_t v = low; v < high; v++)
        out->count[b][class_of(&out->ring[v], marks, v)]++;
    next[0] = (uint32_t)low;
    for (int k = 0; k < KF_RINGS_MANY; k++)
        next[k + 1] = next[k] + out->count[b][k];
    for (int64_t v = low; v < high; v++) {
        out->place[v] = next[class_of(&out->ring[v], marks, v)]++;
        out->vertex[out->place[v]] = (uint32_t)v;
    }
    for (int64_t p = low; p < high; p++) {
        out->ring[out->vertex[p]].next = entries;
        entries += out->ring[out->vertex[p]].degree;
    }
    out->first[b] = entries;
}

static void fill_part(const struct kf_mesh *mesh, const struct kf_spans *spans, struct kf_rings *out, int64_t low,
                      int64_t high)
{
    for (int64_t v = low; v < high; v++)
        out->ring[v].next += (uint32_t)out->first[v / KF_RINGS_BLOCK];
    for (int64_t s = 0; s < spans->count; s++) {
        int meets = kf_span_meets(spans, s, low, high);
        int64_t end = (s + 1) * KF_SPAN < mesh->triangles ? (s + 1) * KF_SPAN : mesh->triangles;
        for (int64_t t = s * KF_SPAN; t < end && meets; t++) {
            const uint32_t *v = mesh->index + 3 * t;
            for (int c = 0; c < 3; c++)
                if (meets == 2 || (v[c] >= low && v[c] < high))
                    out->around[out->ring[v[c]].next++] = out->place[v[(c + 1) % 3]];
        }
    }
}

static enum kf_kernel_status take_memory(const struct kf_work *work, const struct kf_mesh *mesh, struct kf_rings *out)
{
    int64_t n = mesh->vertices;
    out->place = kf_work_take(work, n * (int64_t)sizeof *out->place);
    out->vertex = kf_work_take(work, n * (int64_t)sizeof *out->vertex);
    out->around = kf_work_take(work, 3 * mesh->triangles * (int64_t)sizeof *out->around);
    out->first = kf_work_take(work, out->blocks * (int64_t)sizeof *out->first);
    out->count = kf_work_take(work, out->blocks * (int64_t)sizeof *out->count);
    out->ring = kf_work_take(work, n * (int64_t)sizeof *out->ring);
    return out->place && out->vertex && out->around && out->first && out->count && out->ring ? KF_KERNEL_OK
                                                                                             : KF_KERNEL_NOMEM;
}

enum kf_kernel_status kf_rings_make(const struct kf_work *work, const struct kf_mesh *mesh,
                                    const struct kf_spans *spans, const uint8_t *marks, struct kf_rings *out)
{
    int64_t n = mesh->vertices;
    *out = (struct kf_rings){.vertices = n, .blocks = (n + KF_RINGS_BLOCK - 1) / KF_RINGS_BLOCK};
    if (3 * mesh->triangles >= UINT32_MAX || n >= UINT32_MAX)
        return KF_KERNEL_TOO_LARGE;
    enum kf_kernel_status status = take_memory(work, mesh, out);
    if (status) {
        kf_rings_release(work, out);
        return status;
    }
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int part = 0; part < work->threads; part++) {
        int64_t low, high;
        kf_part_of(n, KF_RINGS_BLOCK, part, work->threads, &low, &high);
        count_part(mesh, spans, out->ring, low, high);
    }
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t b = 0; b < out->blocks; b++)
        sort_block(out, marks, b);
    int64_t total = 0;
    for (int64_t b = 0; b < out->blocks; b++) {
        int64_t entries = out->first[b];
        out->first[b] = total;
        total += entries;
    }
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int part = 0; part < work->threads; part++) {
        int64_t low, high;
        kf_part_of(n, KF_RINGS_BLOCK, part, work->threads, &low, &high);
        fill_part(mesh, spans, out, low, high);
    }
    return KF_KERNEL_OK;
}

void kf_rings_release(const struct kf_work *work, struct kf_rings *rings)
{
    kf_work_give(work, rings->place);
    kf_work_give(work, rings->vertex);
    kf_work_give(work, rings->around);
    kf_work_give(work, rings->first);
    kf_work_give(work, rings->count);
    kf_work_give(work, rings->ring);
    *rings = (struct kf_rings){0};
}
