#include "workers/kernels/adjacency.h"
#include "workers/kernels/mesh.h"

#include <string.h>

// Four lanes so that a position is one load; the fourth is zero.
typedef float lanes __attribute__((vector_size(16)));

struct smoother {
    int64_t vertices;
    uint32_t *first;     // neighbours of v: around[first[v]] … around[first[v + 1] - 1]
    uint32_t *around;
    uint8_t *fixed;      // on the boundary
    lanes *now, *then;
    int open;            // some vertex is fixed
};

static void smoother_release(const struct kf_work *work, struct smoother *s)
{
    kf_work_give(work, s->first);
    kf_work_give(work, s->around);
    kf_work_give(work, s->fixed);
    kf_work_give(work, s->now);
    kf_work_give(work, s->then);
    *s = (struct smoother){0};
}

static int has_neighbour(const struct smoother *s, uint32_t a, uint32_t b)
{
    for (uint32_t n = s->first[a]; n < s->first[a + 1]; n++)
        if (s->around[n] == b)
            return 1;
    return 0;
}

// An edge that is not run through in both directions ends the surface: both of its ends stay.
static void fix_boundary(const struct kf_work *work, struct smoother *s)
{
    int open = 0;
    memset(s->fixed, 0, (size_t)s->vertices);
#pragma omp parallel for num_threads(work->threads) schedule(static) reduction(| : open)
    for (int64_t v = 0; v < s->vertices; v++)
        for (uint32_t n = s->first[v]; n < s->first[v + 1]; n++)
            if (!has_neighbour(s, s->around[n], (uint32_t)v)) {
                __atomic_store_n(&s->fixed[v], 1, __ATOMIC_RELAXED);
                __atomic_store_n(&s->fixed[s->around[n]], 1, __ATOMIC_RELAXED);
                open = 1;
            }
    s->open = open;
}

static enum kf_kernel_status smoother_make(const struct kf_work *work, const struct kf_mesh *mesh, struct smoother *s)
{
    *s = (struct smoother){.vertices = mesh->vertices};
    struct kf_corners at;
    enum kf_kernel_status status = kf_corners_make(work, mesh, &at);
    if (status)
        return status;
    s->first = at.first;
    s->around = at.corner;
    int64_t corners = 3 * mesh->triangles;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t c = 0; c < corners; c++)
        s->around[c] = mesh->index[kf_corner_next(s->around[c])];
    s->fixed = kf_work_take(work, s->vertices);
    s->now = kf_work_take(work, s->vertices * (int64_t)sizeof *s->now);
    s->then = kf_work_take(work, s->vertices * (int64_t)sizeof *s->then);
    if (!s->fixed || !s->now || !s->then) {
        smoother_release(work, s);
        return KF_KERNEL_NOMEM;
    }
    fix_boundary(work, s);
    for (int64_t v = 0; v < s->vertices; v++)
        s->now[v] = (lanes){mesh->xyz[3 * v], mesh->xyz[3 * v + 1], mesh->xyz[3 * v + 2], 0};
    return KF_KERNEL_OK;
}

// Every vertex goes `step` of the way to the mean of its neighbours.
static void relax(const struct kf_work *work, struct smoother *s, float step)
{
    lanes *now = s->now, *then = s->then;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t v = 0; v < s->vertices; v++) {
        uint32_t begin = s->first[v], end = s->first[v + 1];
        if (begin == end || s->fixed[v]) {
            then[v] = now[v];
            continue;
        }
        lanes sum = now[s->around[begin]];
        for (uint32_t n = begin + 1; n < end; n++)
            sum += now[s->around[n]];
        float share = 1.0f / (float)(end - begin);
        then[v] = now[v] + (sum * share - now[v]) * step;
    }
    s->now = then;
    s->then = now;
}

// Pulls vertices back into the ball of `reach` around where they started.
static void hold(const struct kf_work *work, struct smoother *s, const struct kf_mesh *mesh, float reach)
{
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t v = 0; v < s->vertices; v++) {
        lanes start = {mesh->xyz[3 * v], mesh->xyz[3 * v + 1], mesh->xyz[3 * v + 2], 0};
        lanes d = s->now[v] - start;
        float square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
        if (square > reach * reach)
            s->now[v] = start + d * (reach / __builtin_sqrtf(square));
    }
}

// Moves the whole surface along its normals until the volume is `volume` again: two Newton steps of dV = A · d.
static enum kf_kernel_status restore_volume(const struct kf_work *work, struct kf_mesh *mesh, double volume)
{
    float *normals = kf_work_take(work, mesh->vertices * 3 * (int64_t)sizeof *normals);
    if (!normals)
        return KF_KERNEL_NOMEM;
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int round = 0; round < 2 && !status; round++) {
        double now, area;
        kf_mesh_measure(work, mesh, &now, &area);
        status = kf_mesh_normals(work, mesh, normals);
        float shift = area > 0 ? (float)((volume - now) / area) : 0;
        for (int64_t i = 0; i < 3 * mesh->vertices && !status; i++)
            mesh->xyz[i] += shift * normals[i];
    }
    kf_work_give(work, normals);
    return status;
}

static enum kf_kernel_status run(const struct kf_work *work, struct smoother *s, const struct kf_mesh *mesh,
                                 const struct kf_mesh_smooth *how)
{
    const float lambda = 0.5f;
    const float mu = (float)(1 / (how->pass_band - 1 / 0.5));
    for (int i = 0; i < how->iterations; i++) {
        relax(work, s, lambda);
        relax(work, s, mu);
        if (how->reach_mm > 0)
            hold(work, s, mesh, (float)how->reach_mm);
        if (kf_work_step(work, (i + 1.0) / how->iterations))
            return KF_KERNEL_CANCELLED;
    }
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_mesh_smooth(const struct kf_work *work, struct kf_mesh *mesh, const struct kf_mesh_smooth *how)
{
    if (how->iterations <= 0 || mesh->triangles == 0)
        return KF_KERNEL_OK;
    if (!(how->pass_band > 0 && how->pass_band < 1))
        return KF_KERNEL_INVALID;
    struct smoother s;
    enum kf_kernel_status status = smoother_make(work, mesh, &s);
    if (status)
        return status;
    double volume, area;
    kf_mesh_measure(work, mesh, &volume, &area);
    status = run(work, &s, mesh, how);
    for (int64_t v = 0; v < s.vertices && !status; v++)
        for (int r = 0; r < 3; r++)
            mesh->xyz[3 * v + r] = s.now[v][r];
    int closed = !s.open;
    smoother_release(work, &s);
    if (!status && how->keep_volume > 0 && closed)
        status = restore_volume(work, mesh, volume);
    return status;
}
