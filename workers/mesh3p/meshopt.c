#include "workers/mesh3p/meshopt.h"

#include <meshoptimizer.h>
#include <string.h>

enum kf_kernel_status kf_mesh3p_simplify(const struct kf_work *work, const struct kf_mesh *mesh, int64_t target,
                                         double error_mm, struct kf_mesh *out, double *reached_mm)
{
    *out = (struct kf_mesh){0};
    *reached_mm = 0;
    size_t indices = (size_t)mesh->triangles * 3, vertices = (size_t)mesh->vertices;
    uint32_t *index = kf_work_take(work, (int64_t)(indices * sizeof *index));
    uint32_t *order = kf_work_take(work, (int64_t)(vertices * sizeof *order));
    enum kf_kernel_status status = index && order ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status && mesh->triangles) {
        float scale = meshopt_simplifyScale(mesh->xyz, vertices, 3 * sizeof(float)), error = 0;
        size_t kept = meshopt_simplify(index, mesh->index, indices, mesh->xyz, vertices, 3 * sizeof(float),
                                       (size_t)target * 3, (float)error_mm / scale, meshopt_SimplifyLockBorder, &error);
        *reached_mm = (double)(error * scale);
        size_t used = meshopt_optimizeVertexFetchRemap(order, index, kept, vertices);
        out->xyz = kf_work_take(work, (int64_t)(used * 3 * sizeof(float)));
        out->index = kf_work_take(work, (int64_t)(kept * sizeof *index));
        status = out->xyz && out->index ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
        if (!status) {
            meshopt_remapIndexBuffer(out->index, index, kept, order);
            meshopt_remapVertexBuffer(out->xyz, mesh->xyz, vertices, 3 * sizeof(float), order);
            out->vertices = (int64_t)used;
            out->triangles = (int64_t)(kept / 3);
        }
    }
    kf_work_give(work, index);
    kf_work_give(work, order);
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    if (status)
        kf_mesh_release(work, out);
    return status;
}

#define PART_INDICES ((int64_t)3 << 18) // 60 ms

// A part of the triangles with vertex numbers of its own, so that the time does not depend on the whole. `number` holds
// UINT32_MAX for every vertex of the whole, before and after; `global` has room for PART_INDICES.
static void order_part(uint32_t *index, int64_t indices, uint32_t *number, uint32_t *global)
{
    uint32_t count = 0;
    for (int64_t c = 0; c < indices; c++) {
        uint32_t v = index[c];
        if (number[v] == UINT32_MAX) {
            global[count] = v;
            number[v] = count++;
        }
        index[c] = number[v];
    }
    meshopt_optimizeVertexCache(index, index, (size_t)indices, count);
    for (int64_t c = 0; c < indices; c++)
        index[c] = global[index[c]];
    for (uint32_t v = 0; v < count; v++)
        number[global[v]] = UINT32_MAX;
}

enum kf_kernel_status kf_mesh3p_order(const struct kf_work *work, uint32_t *index, int64_t indices, int64_t vertices,
                                      uint32_t *order, int64_t *used)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    *used = 0;
    if (indices <= PART_INDICES) {
        meshopt_optimizeVertexCache(index, index, (size_t)indices, (size_t)vertices);
    } else {
        uint32_t *global = kf_work_take(work, PART_INDICES * (int64_t)sizeof *global);
        if (!global)
            return KF_KERNEL_NOMEM;
        memset(order, 0xff, (size_t)vertices * sizeof *order);
        for (int64_t at = 0; at < indices && !status; at += PART_INDICES) {
            order_part(index + at, indices - at < PART_INDICES ? indices - at : PART_INDICES, order, global);
            status = kf_work_step(work, (double)at / (double)indices) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
        }
        kf_work_give(work, global);
    }
    if (!status)
        *used = (int64_t)meshopt_optimizeVertexFetchRemap(order, index, (size_t)indices, (size_t)vertices);
    return !status && kf_work_step(work, 1) ? KF_KERNEL_CANCELLED : status;
}

int64_t kf_mesh3p_pack_vertices_bound(int64_t count, int64_t stride)
{
    return (int64_t)meshopt_encodeVertexBufferBound((size_t)count, (size_t)stride);
}

int64_t kf_mesh3p_pack_vertices(void *to, int64_t size, const void *vertices, int64_t count, int64_t stride)
{
    meshopt_encodeVertexVersion(0); // the version that EXT_meshopt_compression names
    return (int64_t)meshopt_encodeVertexBuffer(to, (size_t)size, vertices, (size_t)count, (size_t)stride);
}

int64_t kf_mesh3p_pack_triangles_bound(int64_t indices, int64_t vertices)
{
    return (int64_t)meshopt_encodeIndexBufferBound((size_t)indices, (size_t)vertices);
}

int64_t kf_mesh3p_pack_triangles(void *to, int64_t size, const uint32_t *index, int64_t indices)
{
    meshopt_encodeIndexVersion(1); // as above
    return (int64_t)meshopt_encodeIndexBuffer(to, (size_t)size, index, (size_t)indices);
}

void kf_mesh3p_pack_normals(void *to, int64_t count, int64_t stride, int bits, const float *xyzw)
{
    meshopt_encodeFilterOct(to, (size_t)count, (size_t)stride, bits, xyzw);
}

static int unfilter(void *to, int64_t count, int64_t stride, enum kf_meshopt_filter filter)
{
    switch (filter) {
    case KF_MESHOPT_NONE:
        return 0;
    case KF_MESHOPT_OCTAHEDRAL:
        if (stride != 4 && stride != 8)
            return -1;
        meshopt_decodeFilterOct(to, (size_t)count, (size_t)stride);
        return 0;
    case KF_MESHOPT_QUATERNION:
        if (stride != 8)
            return -1;
        meshopt_decodeFilterQuat(to, (size_t)count, (size_t)stride);
        return 0;
    case KF_MESHOPT_EXPONENTIAL:
        meshopt_decodeFilterExp(to, (size_t)count, (size_t)stride);
        return 0;
    }
    return -1;
}

int kf_mesh3p_unpack(void *to, int64_t count, int64_t stride, enum kf_meshopt_mode mode,
                     enum kf_meshopt_filter filter, const void *bytes, int64_t length)
{
    if (count < 0 || length < 0)
        return -1;
    size_t n = (size_t)count, size = (size_t)stride, given = (size_t)length;
    if (mode == KF_MESHOPT_ATTRIBUTES) {
        if (stride < 4 || stride > 256 || stride % 4)
            return -1;
        return meshopt_decodeVertexBuffer(to, n, size, bytes, given) ? -1 : unfilter(to, count, stride, filter);
    }
    if ((stride != 2 && stride != 4) || filter != KF_MESHOPT_NONE)
        return -1;
    if (mode == KF_MESHOPT_TRIANGLES)
        return count % 3 || meshopt_decodeIndexBuffer(to, n, size, bytes, given) ? -1 : 0;
    return meshopt_decodeIndexSequence(to, n, size, bytes, given) ? -1 : 0;
}
