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
    uint8_t *marks;      // planes that a vertex slides along, by axis; NULL: none
    lanes *now, *then;
    int open;            // some vertex is fixed
};

static void smoother_release(const struct kf_work *work, struct smoother *s)
{
    kf_work_give(work, s->first);
    kf_work_give(work, s->around);
    kf_work_give(work, s->fixed);
    kf_work_give(work, s->marks);
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

// Marks by axis (bit) the vertices that start on an outermost plane of the grid.
static void mark_planes(const struct kf_work *work, const float *start, int64_t vertices, const struct kf_grid *grid,
                        uint8_t *marks)
{
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t v = 0; v < vertices; v++) {
        const double p[3] = {(double)start[3 * v], (double)start[3 * v + 1], (double)start[3 * v + 2]};
        double at[3];
        kf_grid_to_ijk(grid, p, at);
        marks[v] = 0;
        for (int a = 0; a < 3; a++)
            if (at[a] < 1.0 / 32 || at[a] > (double)(grid->dim[a] - 1) - 1.0 / 32)
                marks[v] |= (uint8_t)(1 << a);
    }
}

static enum kf_kernel_status smoother_make(const struct kf_work *work, const struct kf_mesh *mesh,
                                           const struct kf_grid *planes, struct smoother *s)
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
    if (planes)
        s->marks = kf_work_take(work, s->vertices);
    if (!s->fixed || !s->now || !s->then || (planes && !s->marks)) {
        smoother_release(work, s);
        return KF_KERNEL_NOMEM;
    }
    fix_boundary(work, s);
    if (planes)
        mark_planes(work, mesh->xyz, s->vertices, planes, s->marks);
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

// What of a move d is allowed to a vertex with these marks: nothing across its planes.
static lanes along_planes(const struct kf_grid *grid, uint8_t marks, lanes d)
{
    for (int a = 0; a < 3; a++) {
        if (!(marks >> a & 1))
            continue;
        lanes n = {(float)grid->direction[a], (float)grid->direction[3 + a], (float)grid->direction[6 + a], 0};
        float across = d[0] * n[0] + d[1] * n[1] + d[2] * n[2];
        d -= n * across;
    }
    return d;
}

// Pulls vertices back to where they may be: into the ball around where they started, and onto their planes.
static void hold(const struct kf_work *work, struct smoother *s, const float *start, const struct kf_mesh_smooth *how)
{
    float reach = (float)how->reach_mm;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t v = 0; v < s->vertices; v++) {
        lanes from = {start[3 * v], start[3 * v + 1], start[3 * v + 2], 0};
        lanes d = s->now[v] - from;
        if (s->marks && s->marks[v])
            d = along_planes(how->planes, s->marks[v], d);
        float square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
        if (reach > 0 && square > reach * reach)
            d *= reach / __builtin_sqrtf(square);
        s->now[v] = from + d;
    }
}

// Moves the whole surface along its normals until the volume is `volume` again: Newton steps of dV = A · d.
static enum kf_kernel_status restore_volume(const struct kf_work *work, struct kf_mesh *mesh, double volume,
                                            const struct kf_grid *planes, const uint8_t *marks)
{
    float *normals = kf_work_take(work, mesh->vertices * 3 * (int64_t)sizeof *normals);
    if (!normals)
        return KF_KERNEL_NOMEM;
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int round = 0; round < 3 && !status; round++) {
        double now, area;
        kf_mesh_measure(work, mesh, &now, &area);
        status = kf_mesh_normals(work, mesh, normals);
        float shift = area > 0 ? (float)((volume - now) / area) : 0;
        for (int64_t v = 0; v < mesh->vertices && !status; v++) {
            lanes d = (lanes){normals[3 * v], normals[3 * v + 1], normals[3 * v + 2], 0} * shift;
            if (marks && marks[v])
                d = along_planes(planes, marks[v], d);
            for (int r = 0; r < 3; r++)
                mesh->xyz[3 * v + r] += d[r];
        }
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
        if (how->reach_mm > 0 || s->marks)
            hold(work, s, mesh->xyz, how);
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
    enum kf_kernel_status status = smoother_make(work, mesh, how->planes, &s);
    if (status)
        return status;
    double volume, area;
    kf_mesh_measure(work, mesh, &volume, &area);
    status = run(work, &s, mesh, how);
    for (int64_t v = 0; v < s.vertices && !status; v++)
        for (int r = 0; r < 3; r++)
            mesh->xyz[3 * v + r] = s.now[v][r];
    if (!status && how->keep_volume > 0 && !s.open)
        status = restore_volume(work, mesh, volume, how->planes, s.marks);
    smoother_release(work, &s);
    return status;
}
