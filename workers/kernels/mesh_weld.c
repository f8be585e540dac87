#include "workers/kernels/adjacency.h"
#include "workers/kernels/mesh.h"
#include "workers/kernels/sort.h"

#include <string.h>

#define NONE UINT32_MAX
// Slots that are taken by others before a place finds its own: about one in the mean at the load of a half; when it is
// this many, somebody chose the places by our hash.
#define PROBES_MOST 32
#define PROBES_FEW  65536

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
static enum kf_kernel_status pack_vertices(const struct kf_work *work, struct kf_mesh *mesh, uint32_t *place,
                                           float *xyz)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    memset(place, 0xff, (size_t)mesh->vertices * sizeof *place);
    uint32_t count = 0;
    for (int64_t c = 0; c < 3 * mesh->triangles && !(status = kf_work_ask(work, c)); c++) {
        uint32_t v = mesh->index[c];
        if (place[v] == NONE) {
            memcpy(xyz + 3 * (int64_t)count, mesh->xyz + 3 * (int64_t)v, 3 * sizeof *xyz);
            place[v] = count++;
        }
        mesh->index[c] = place[v];
    }
    memcpy(mesh->xyz, xyz, (size_t)count * 3 * sizeof *xyz);
    mesh->vertices = count;
    return status;
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

// The first vertex at the place of each, by a hash table with `slots` entries, a power of two. *crowded is set, and
// `same` is not made, when the places are such that most of them want the same slots.
static enum kf_kernel_status same_by_hash(const struct kf_work *work, const struct kf_mesh *mesh, uint32_t *table,
                                          uint64_t slots, uint32_t *same, int *crowded)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    int64_t patience = PROBES_MOST * mesh->vertices + PROBES_FEW;
    memset(table, 0xff, slots * sizeof *table);
    for (int64_t v = 0; v < mesh->vertices && patience > 0 && !(status = kf_work_ask(work, v)); v++) {
        uint64_t slot = hash_of(mesh->xyz + 3 * v) & (slots - 1);
        while (table[slot] != NONE && !same_place(mesh->xyz + 3 * (int64_t)table[slot], mesh->xyz + 3 * v)) {
            slot = (slot + 1) & (slots - 1);
            patience--;
        }
        if (table[slot] == NONE)
            table[slot] = (uint32_t)v;
        same[v] = table[slot];
    }
    *crowded = patience <= 0;
    return status;
}

// The same by sorting, for places that were chosen to be crowded in a hash table.
static enum kf_kernel_status same_by_sorting(const struct kf_work *work, const struct kf_mesh *mesh, uint32_t *same)
{
    int64_t n = mesh->vertices;
    struct kf_sort_entry *list = kf_work_take(work, n * (int64_t)sizeof *list);
    struct kf_sort_entry *spare = kf_work_take(work, n * (int64_t)sizeof *spare);
    enum kf_kernel_status status = list && spare ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    for (int64_t v = 0; v < n && !status && !(status = kf_work_ask(work, v)); v++)
        list[v] = (struct kf_sort_entry){bits_of(mesh->xyz[3 * v]), (uint32_t)v, 0};
    if (!status)
        status = kf_sort(work, list, spare, n, 32);
    for (int64_t i = 0; i < n && !status && !(status = kf_work_ask(work, i)); i++) {
        const float *p = mesh->xyz + 3 * (int64_t)list[i].value;
        list[i].key = (uint64_t)bits_of(p[1]) << 32 | bits_of(p[2]);
    }
    if (!status)
        status = kf_sort(work, list, spare, n, 64);
    uint32_t first = 0;
    for (int64_t i = 0; i < n && !status && !(status = kf_work_ask(work, i)); i++) {
        uint32_t v = list[i].value;
        if (i == 0 || !same_place(mesh->xyz + 3 * (int64_t)first, mesh->xyz + 3 * (int64_t)v))
            first = v;
        same[v] = first;
    }
    kf_work_give(work, list);
    kf_work_give(work, spare);
    return status;
}

enum kf_kernel_status kf_same_places(const struct kf_work *work, const struct kf_mesh *mesh, uint32_t *same)
{
    uint64_t slots = 16;
    int crowded = 0;
    while (slots < (uint64_t)mesh->vertices * 2)
        slots *= 2;
    uint32_t *table = kf_work_take(work, (int64_t)(slots * sizeof *table));
    if (!table)
        return KF_KERNEL_NOMEM;
    enum kf_kernel_status status = same_by_hash(work, mesh, table, slots, same, &crowded);
    kf_work_give(work, table);
    return !status && crowded ? same_by_sorting(work, mesh, same) : status;
}

enum kf_kernel_status kf_mesh_weld(const struct kf_work *work, struct kf_mesh *mesh)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    if (mesh->vertices >= NONE)
        return KF_KERNEL_TOO_LARGE;
    for (int64_t c = 0; c < 3 * mesh->triangles && !(status = kf_work_ask(work, c)); c++)
        if (mesh->index[c] >= (uint64_t)mesh->vertices)
            return KF_KERNEL_INVALID;
    if (status)
        return status;
    uint32_t *same = kf_work_take(work, mesh->vertices * (int64_t)sizeof *same);
    float *xyz = kf_work_take(work, mesh->vertices * 3 * (int64_t)sizeof *xyz);
    status = same && xyz ? kf_same_places(work, mesh, same) : KF_KERNEL_NOMEM;
    for (int64_t c = 0; c < 3 * mesh->triangles && !status && !(status = kf_work_ask(work, c)); c++)
        mesh->index[c] = same[mesh->index[c]];
    if (!status) {
        drop_collapsed(mesh);
        status = pack_vertices(work, mesh, same, xyz);
    }
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
    if (!status)
        status = kf_mesh_groups(work, mesh, group);
    if (!status) {
        memset(volume, 0, (size_t)mesh->vertices * sizeof *volume);
        for (int64_t t = 0; t < mesh->triangles && !(status = kf_work_ask(work, t)); t++) {
            uint32_t piece = group[mesh->index[3 * t]];
            volume[piece] += volume_under(mesh, t, piece);
        }
    }
    if (!status) {
        int64_t kept = 0;
        for (int64_t v = 0; v < mesh->vertices && removed; v++)
            *removed += group[v] == (uint32_t)v && __builtin_fabs(volume[v]) < 6 * least_mm3;
        for (int64_t t = 0; t < mesh->triangles && !(status = kf_work_ask(work, t)); t++)
            if (__builtin_fabs(volume[group[mesh->index[3 * t]]]) >= 6 * least_mm3)
                memmove(mesh->index + 3 * kept++, mesh->index + 3 * t, 3 * sizeof *mesh->index);
        mesh->triangles = kept;
        if (!status)
            status = pack_vertices(work, mesh, group, xyz);
    }
    kf_work_give(work, group);
    kf_work_give(work, volume);
    kf_work_give(work, xyz);
    return status;
}
