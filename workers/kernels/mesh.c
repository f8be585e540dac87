#include "workers/kernels/mesh.h"
#include "workers/kernels/adjacency.h"
#include "workers/kernels/sets.h"

#include <string.h>

void kf_mesh_release(const struct kf_work *work, struct kf_mesh *mesh)
{
    kf_work_give(work, mesh->xyz);
    kf_work_give(work, mesh->index);
    *mesh = (struct kf_mesh){0};
}

static enum kf_kernel_status fill_corners(const struct kf_work *work, const struct kf_mesh *mesh,
                                          struct kf_corners *out)
{
    int64_t n = mesh->vertices, corners = 3 * mesh->triangles;
    enum kf_kernel_status status = KF_KERNEL_OK;
    memset(out->first, 0, (size_t)(n + 1) * sizeof *out->first);
    for (int64_t c = 0; c < corners && !(status = kf_work_ask(work, c)); c++) {
        if (mesh->index[c] >= (uint64_t)n)
            return KF_KERNEL_INVALID;
        out->first[mesh->index[c] + 1]++;
    }
    for (int64_t v = 0; v < n; v++)
        out->first[v + 1] += out->first[v];
    // Fills with first[v] as the next free place, which leaves it at the end of v's list: then moves all by one.
    for (int64_t c = 0; c < corners && !status && !(status = kf_work_ask(work, c)); c++)
        out->corner[out->first[mesh->index[c]]++] = (uint32_t)c;
    memmove(out->first + 1, out->first, (size_t)n * sizeof *out->first);
    out->first[0] = 0;
    return status;
}

enum kf_kernel_status kf_corners_make(const struct kf_work *work, const struct kf_mesh *mesh, struct kf_corners *out)
{
    *out = (struct kf_corners){0};
    int64_t n = mesh->vertices, corners = 3 * mesh->triangles;
    if (corners >= UINT32_MAX || n >= UINT32_MAX)
        return KF_KERNEL_TOO_LARGE;
    out->first = kf_work_take(work, (n + 1) * (int64_t)sizeof *out->first);
    out->corner = kf_work_take(work, corners * (int64_t)sizeof *out->corner);
    if (!out->first || !out->corner) {
        kf_corners_release(work, out);
        return KF_KERNEL_NOMEM;
    }
    enum kf_kernel_status status = fill_corners(work, mesh, out);
    if (status)
        kf_corners_release(work, out);
    return status;
}

void kf_corners_release(const struct kf_work *work, struct kf_corners *corners)
{
    kf_work_give(work, corners->first);
    kf_work_give(work, corners->corner);
    *corners = (struct kf_corners){0};
}

enum kf_kernel_status kf_spans_make(const struct kf_work *work, const struct kf_mesh *mesh, struct kf_spans *out)
{
    *out = (struct kf_spans){.count = (mesh->triangles + KF_SPAN - 1) / KF_SPAN};
    out->range = kf_work_take(work, out->count * (int64_t)sizeof *out->range);
    if (!out->range)
        return KF_KERNEL_NOMEM;
    int wrong = 0;
#pragma omp parallel for num_threads(work->threads) schedule(static) reduction(| : wrong)
    for (int64_t s = 0; s < out->count; s++) {
        int64_t end = (s + 1) * KF_SPAN < mesh->triangles ? (s + 1) * KF_SPAN : mesh->triangles;
        uint32_t low = UINT32_MAX, high = 0;
        for (int64_t c = 3 * s * KF_SPAN; c < 3 * end; c++) {
            low = mesh->index[c] < low ? mesh->index[c] : low;
            high = mesh->index[c] > high ? mesh->index[c] : high;
        }
        out->range[s][0] = low;
        out->range[s][1] = high;
        wrong |= (int64_t)high >= mesh->vertices;
    }
    if (wrong)
        kf_spans_release(work, out);
    return wrong ? KF_KERNEL_INVALID : KF_KERNEL_OK;
}

void kf_spans_release(const struct kf_work *work, struct kf_spans *spans)
{
    kf_work_give(work, spans->range);
    *spans = (struct kf_spans){0};
}

enum kf_kernel_status kf_mesh_groups(const struct kf_work *work, const struct kf_mesh *mesh, uint32_t *group)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int64_t v = 0; v < mesh->vertices; v++)
        group[v] = (uint32_t)v;
    for (int64_t t = 0; t < mesh->triangles && !(status = kf_work_ask(work, t)); t++) {
        const uint32_t *corner = mesh->index + 3 * t;
        kf_set_join(group, corner[0], corner[1]);
        kf_set_join(group, corner[1], corner[2]);
    }
    for (int64_t v = 0; v < mesh->vertices && !status; v++)
        group[v] = group[group[v]]; // the group of an earlier vertex is final
    return status;
}

// ---- measures ----

#define BLOCK       4096 // triangles whose sums are made in one go
#define BLOCKS_HELD 256

static void block_sums(const struct kf_mesh *mesh, int64_t block, double *volume6, double *area2)
{
    double v = 0, a = 0;
    int64_t end = (block + 1) * BLOCK < mesh->triangles ? (block + 1) * BLOCK : mesh->triangles;
    const float *origin = mesh->xyz; // near the mesh, so that little cancels
    for (int64_t t = block * BLOCK; t < end; t++) {
        double p[3][3];
        for (int c = 0; c < 3; c++)
            for (int r = 0; r < 3; r++)
                p[c][r] = (double)mesh->xyz[3 * (int64_t)mesh->index[3 * t + c] + r] - (double)origin[r];
        double u[3], w[3], n[3];
        for (int r = 0; r < 3; r++) {
            u[r] = p[1][r] - p[0][r];
            w[r] = p[2][r] - p[0][r];
        }
        n[0] = u[1] * w[2] - u[2] * w[1];
        n[1] = u[2] * w[0] - u[0] * w[2];
        n[2] = u[0] * w[1] - u[1] * w[0];
        v += n[0] * p[0][0] + n[1] * p[0][1] + n[2] * p[0][2];
        a += __builtin_sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
    }
    *volume6 = v;
    *area2 = a;
}

void kf_mesh_measure(const struct kf_work *work, const struct kf_mesh *mesh, double *volume_mm3, double *area_mm2)
{
    double volume = 0, area = 0;
    int64_t blocks = (mesh->triangles + BLOCK - 1) / BLOCK;
    for (int64_t first = 0; first < blocks; first += BLOCKS_HELD) {
        double v[BLOCKS_HELD] = {0}, a[BLOCKS_HELD] = {0};
        int64_t count = blocks - first < BLOCKS_HELD ? blocks - first : BLOCKS_HELD;
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t b = 0; b < count; b++)
            block_sums(mesh, first + b, &v[b], &a[b]);
        for (int64_t b = 0; b < count; b++) {
            volume += v[b];
            area += a[b];
        }
    }
    *volume_mm3 = volume / 6;
    *area_mm2 = area / 2;
}

static inline void face_normal(const struct kf_mesh *mesh, int64_t t, float n[3])
{
    const float *a = mesh->xyz + 3 * (int64_t)mesh->index[3 * t];
    const float *b = mesh->xyz + 3 * (int64_t)mesh->index[3 * t + 1];
    const float *c = mesh->xyz + 3 * (int64_t)mesh->index[3 * t + 2];
    float u[3], w[3];
    for (int r = 0; r < 3; r++) {
        u[r] = b[r] - a[r];
        w[r] = c[r] - a[r];
    }
    n[0] = u[1] * w[2] - u[2] * w[1];
    n[1] = u[2] * w[0] - u[0] * w[2];
    n[2] = u[0] * w[1] - u[1] * w[0];
}

void kf_gather_normals(const struct kf_work *work, const struct kf_mesh *mesh, const struct kf_spans *spans,
                       float *sums)
{
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int part = 0; part < work->threads; part++) {
        int64_t low, high;
        kf_part_of(mesh->vertices, 1, part, work->threads, &low, &high);
        memset(sums + 3 * low, 0, (size_t)(high - low) * 3 * sizeof *sums);
        for (int64_t s = 0; s < spans->count; s++) {
            int meets = kf_span_meets(spans, s, low, high);
            int64_t end = (s + 1) * KF_SPAN < mesh->triangles ? (s + 1) * KF_SPAN : mesh->triangles;
            for (int64_t t = s * KF_SPAN; t < end && meets; t++) {
                float n[3];
                face_normal(mesh, t, n);
                for (int c = 0; c < 3; c++) {
                    int64_t v = mesh->index[3 * t + c];
                    if (meets < 2 && (v < low || v >= high))
                        continue;
                    for (int r = 0; r < 3; r++)
                        sums[3 * v + r] += n[r];
                }
            }
        }
    }
}

enum kf_kernel_status kf_mesh_normals(const struct kf_work *work, const struct kf_mesh *mesh, float *normals)
{
    struct kf_spans spans;
    enum kf_kernel_status status = kf_spans_make(work, mesh, &spans);
    if (status)
        return status;
    kf_gather_normals(work, mesh, &spans, normals);
    kf_spans_release(work, &spans);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t v = 0; v < mesh->vertices; v++) {
        float *n = normals + 3 * v;
        double x = (double)n[0], y = (double)n[1], z = (double)n[2];
        double length = __builtin_sqrt(x * x + y * y + z * z);
        if (!(length > 1e-30 && length <= (double)__FLT_MAX__)) {
            n[0] = n[1] = 0;
            n[2] = 1;
            continue;
        }
        n[0] = (float)(x / length);
        n[1] = (float)(y / length);
        n[2] = (float)(z / length);
    }
    return kf_work_step(work, 1) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}
