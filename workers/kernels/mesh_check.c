#include "workers/kernels/adjacency.h"
#include "workers/kernels/mesh.h"

#include <string.h>

struct counts {
    int64_t boundary, nonmanifold, misoriented, fans, unused;
};

// How often vertex a has b as the next corner.
static int64_t count_edges(const struct kf_mesh *mesh, const struct kf_corners *at, uint32_t a, uint32_t b)
{
    int64_t n = 0;
    for (uint32_t c = at->first[a]; c < at->first[a + 1]; c++)
        n += mesh->index[kf_corner_next(at->corner[c])] == b;
    return n;
}

// Counts each undirected edge at a once: from its lower end, or from the only end that has it.
static void check_edges(const struct kf_mesh *mesh, const struct kf_corners *at, uint32_t a, struct counts *sum)
{
    for (uint32_t c = at->first[a]; c < at->first[a + 1]; c++) {
        uint32_t b = mesh->index[kf_corner_next(at->corner[c])];
        int seen = b == a;
        for (uint32_t d = at->first[a]; d < c && !seen; d++)
            seen = mesh->index[kf_corner_next(at->corner[d])] == b;
        if (seen)
            continue;
        int64_t back = count_edges(mesh, at, b, a);
        if (a > b && back)
            continue;
        int64_t forth = count_edges(mesh, at, a, b);
        sum->boundary += forth + back == 1;
        sum->nonmanifold += forth + back > 2;
        sum->misoriented += forth + back == 2 && forth != back;
    }
}

// 1 when the triangles around v form one fan: walking from the opening (or anywhere) visits them all.
static int one_fan(const struct kf_mesh *mesh, const struct kf_corners *at, uint32_t v)
{
    uint32_t first = at->first[v], end = at->first[v + 1], start = first;
    for (uint32_t c = first; c < end; c++) {
        uint32_t from = mesh->index[kf_corner_next(at->corner[c])];
        int entered = 0;
        for (uint32_t d = first; d < end && !entered; d++)
            entered = mesh->index[kf_corner_before(at->corner[d])] == from;
        if (!entered) {
            start = c;
            break;
        }
    }
    uint32_t visited = 0, c = start;
    do {
        visited++;
        uint32_t to = mesh->index[kf_corner_before(at->corner[c])], d = first;
        while (d < end && mesh->index[kf_corner_next(at->corner[d])] != to)
            d++;
        c = d;
    } while (c < end && c != start && visited < end - first);
    return visited == end - first;
}

#define ASK_EVERY 4096 // vertices

static enum kf_kernel_status check_vertices(const struct kf_work *work, const struct kf_mesh *mesh,
                                            const struct kf_corners *at, struct counts *sum)
{
    int64_t boundary = 0, nonmanifold = 0, misoriented = 0, fans = 0, unused = 0;
    struct kf_loop loop = kf_loop_make(work, mesh->vertices / ASK_EVERY + 1, 0.2, 0.6);
#pragma omp parallel for num_threads(work->threads) schedule(static) \
    reduction(+ : boundary, nonmanifold, misoriented, fans, unused)
    for (int64_t v = 0; v < mesh->vertices; v++) {
        struct counts one = {0};
        if (v % ASK_EVERY == 0)
            (void)kf_loop_stop(&loop);
        if (__atomic_load_n(&loop.stop, __ATOMIC_RELAXED))
            continue;
        if (at->first[v] == at->first[v + 1]) {
            unused++;
            continue;
        }
        check_edges(mesh, at, (uint32_t)v, &one);
        boundary += one.boundary;
        nonmanifold += one.nonmanifold;
        misoriented += one.misoriented;
        fans += !one_fan(mesh, at, (uint32_t)v);
    }
    *sum = (struct counts){boundary, nonmanifold, misoriented, fans, unused};
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

static void find_bounds(const struct kf_mesh *mesh, double bounds[2][3])
{
    memset(bounds, 0, 6 * sizeof bounds[0][0]);
    for (int64_t c = 0; c < 3 * mesh->triangles; c++)
        for (int r = 0; r < 3; r++) {
            double x = (double)mesh->xyz[3 * (int64_t)mesh->index[c] + r];
            if (c == 0 || x < bounds[0][r])
                bounds[0][r] = x;
            if (c == 0 || x > bounds[1][r])
                bounds[1][r] = x;
        }
}

enum kf_kernel_status kf_mesh_check(const struct kf_work *work, const struct kf_mesh *mesh,
                                    struct kf_mesh_report *report)
{
    *report = (struct kf_mesh_report){0};
    struct kf_corners at;
    enum kf_kernel_status status = kf_corners_make(work, mesh, &at);
    if (status)
        return status;
    uint32_t *group = kf_work_take(work, mesh->vertices * (int64_t)sizeof *group);
    if (!group) {
        kf_corners_release(work, &at);
        return KF_KERNEL_NOMEM;
    }
    struct counts sum;
    status = check_vertices(work, mesh, &at, &sum);
    if (status)
        goto done;
    kf_mesh_groups(mesh, group);
    if (kf_work_step(work, 0.8)) {
        status = KF_KERNEL_CANCELLED;
        goto done;
    }
    for (int64_t v = 0; v < mesh->vertices; v++)
        report->components += group[v] == (uint32_t)v && at.first[v] < at.first[v + 1];
    for (int64_t t = 0; t < mesh->triangles; t++) {
        const uint32_t *i = mesh->index + 3 * t;
        report->degenerate_triangles += i[0] == i[1] || i[1] == i[2] || i[2] == i[0];
    }
    report->boundary_edges = sum.boundary;
    report->nonmanifold_edges = sum.nonmanifold;
    report->misoriented_edges = sum.misoriented;
    report->nonmanifold_vertices = sum.fans;
    report->unused_vertices = sum.unused;
    report->closed = sum.boundary == 0;
    report->manifold = !sum.nonmanifold && !sum.fans && !report->degenerate_triangles;
    report->oriented = sum.misoriented == 0;
    kf_mesh_measure(work, mesh, &report->volume_mm3, &report->area_mm2);
    find_bounds(mesh, report->bounds);
    status = kf_work_step(work, 1) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
done:
    kf_work_give(work, group);
    kf_corners_release(work, &at);
    return status;
}
