#include "workers/kernels/adjacency.h"
#include "workers/kernels/mesh.h"

#include <string.h>

#define NONE UINT32_MAX

static uint32_t bits_of(float value)
{
    uint32_t bits;
    value = value == 0 ? 0 : value; // -0 is 0
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint64_t hash_of(const float *p)
{
    uint64_t h = 0;
    for (int r = 0; r < 3; r++) {
        h = (h ^ bits_of(p[r])) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return h;
}

static int same_place(const float *a, const float *b)
{
    return bits_of(a[0]) == bits_of(b[0]) && bits_of(a[1]) == bits_of(b[1]) && bits_of(a[2]) == bits_of(b[2]);
}

// Drops vertices that no triangle uses, keeping the order of first use. `place` holds one entry per vertex.
static void pack_vertices(struct kf_mesh *mesh, uint32_t *place, float *xyz)
{
    memset(place, 0xff, (size_t)mesh->vertices * sizeof *place);
    uint32_t count = 0;
    for (int64_t c = 0; c < 3 * mesh->triangles; c++) {
        uint32_t v = mesh->index[c];
        if (place[v] == NONE) {
            memcpy(xyz + 3 * (int64_t)count, mesh->xyz + 3 * (int64_t)v, 3 * sizeof *xyz);
            place[v] = count++;
        }
        mesh->index[c] = place[v];
    }
    memcpy(mesh->xyz, xyz, (size_t)count * 3 * sizeof *xyz);
    mesh->vertices = count;
}

static void drop_collapsed(struct kf_mesh *mesh)
{
    int64_t kept = 0;
    for (int64_t t = 0; t < mesh->triangles; t++) {
        uint32_t a = mesh->index[3 * t], b = mesh->index[3 * t + 1], c = mesh->index[3 * t + 2];
        if (a == b || b == c || c == a)
            continue;
        mesh->index[3 * kept] = a;
        mesh->index[3 * kept + 1] = b;
        mesh->index[3 * kept + 2] = c;
        kept++;
    }
    mesh->triangles = kept;
}

enum kf_kernel_status kf_mesh_weld(const struct kf_work *work, struct kf_mesh *mesh)
{
    if (mesh->vertices >= NONE)
        return KF_KERNEL_TOO_LARGE;
    for (int64_t c = 0; c < 3 * mesh->triangles; c++)
        if (mesh->index[c] >= (uint64_t)mesh->vertices)
            return KF_KERNEL_INVALID;
    uint64_t slots = 16;
    while (slots < (uint64_t)mesh->vertices * 2)
        slots *= 2;
    uint32_t *table = kf_work_take(work, (int64_t)(slots * sizeof *table));
    uint32_t *same = kf_work_take(work, mesh->vertices * (int64_t)sizeof *same);
    float *xyz = kf_work_take(work, mesh->vertices * 3 * (int64_t)sizeof *xyz);
    enum kf_kernel_status status = table && same && xyz ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        memset(table, 0xff, slots * sizeof *table);
        for (int64_t v = 0; v < mesh->vertices; v++) {
            uint64_t slot = hash_of(mesh->xyz + 3 * v) & (slots - 1);
            while (table[slot] != NONE && !same_place(mesh->xyz + 3 * (int64_t)table[slot], mesh->xyz + 3 * v))
                slot = (slot + 1) & (slots - 1);
            if (table[slot] == NONE)
                table[slot] = (uint32_t)v;
            same[v] = table[slot];
        }
        for (int64_t c = 0; c < 3 * mesh->triangles; c++)
            mesh->index[c] = same[mesh->index[c]];
        drop_collapsed(mesh);
        pack_vertices(mesh, same, xyz);
    }
    kf_work_give(work, table);
    kf_work_give(work, same);
    kf_work_give(work, xyz);
    return status;
}

// Six times the volume of the tetrahedron under triangle t, seen from the first vertex of its piece.
static double volume_under(const struct kf_mesh *mesh, int64_t t, uint32_t piece)
{
    double p[3][3];
    for (int c = 0; c < 3; c++)
        for (int r = 0; r < 3; r++)
            p[c][r] = (double)mesh->xyz[3 * (int64_t)mesh->index[3 * t + c] + r] -
                      (double)mesh->xyz[3 * (int64_t)piece + r];
    return p[0][0] * (p[1][1] * p[2][2] - p[1][2] * p[2][1]) + p[0][1] * (p[1][2] * p[2][0] - p[1][0] * p[2][2]) +
           p[0][2] * (p[1][0] * p[2][1] - p[1][1] * p[2][0]);
}

enum kf_kernel_status kf_mesh_drop_small(const struct kf_work *work, struct kf_mesh *mesh, double least_mm3,
                                         int64_t *removed)
{
    if (removed)
        *removed = 0;
    if (mesh->triangles == 0)
        return KF_KERNEL_OK;
    if (mesh->vertices >= NONE)
        return KF_KERNEL_TOO_LARGE;
    uint32_t *group = kf_work_take(work, mesh->vertices * (int64_t)sizeof *group);
    double *volume = kf_work_take(work, mesh->vertices * (int64_t)sizeof *volume);
    float *xyz = kf_work_take(work, mesh->vertices * 3 * (int64_t)sizeof *xyz);
    enum kf_kernel_status status = group && volume && xyz ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        kf_mesh_groups(mesh, group);
        memset(volume, 0, (size_t)mesh->vertices * sizeof *volume);
        for (int64_t t = 0; t < mesh->triangles; t++) {
            uint32_t piece = group[mesh->index[3 * t]];
            volume[piece] += volume_under(mesh, t, piece);
        }
        int64_t kept = 0;
        for (int64_t v = 0; v < mesh->vertices && removed; v++)
            *removed += group[v] == (uint32_t)v && __builtin_fabs(volume[v]) < 6 * least_mm3;
        for (int64_t t = 0; t < mesh->triangles; t++)
            if (__builtin_fabs(volume[group[mesh->index[3 * t]]]) >= 6 * least_mm3)
                memmove(mesh->index + 3 * kept++, mesh->index + 3 * t, 3 * sizeof *mesh->index);
        mesh->triangles = kept;
        pack_vertices(mesh, group, xyz);
    }
    kf_work_give(work, group);
    kf_work_give(work, volume);
    kf_work_give(work, xyz);
    return status;
}
