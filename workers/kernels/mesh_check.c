// Each edge is counted at one of its ends, from the corners that follow and precede that end in its triangles: around a
// vertex with few triangles by looking through them, around one with many (a fan may have millions) by sorting them.
#include "workers/kernels/adjacency.h"
#include "workers/kernels/mesh.h"
#include "workers/kernels/sort.h"

#include <string.h>

#define LIGHT     32   // triangles at a vertex that are looked through
#define ASK_EVERY 4096 // vertices

struct counts {
    int64_t boundary, nonmanifold, misoriented, fans, unused;
};

// The edge between a and b, met `forth` times as a → b and `back` times as b → a: counted from its lower end, or from
// the only end that it leaves.
static void count_edge(uint32_t a, uint32_t b, int64_t forth, int64_t back, struct counts *sum)
{
    if (a == b || (a > b && back))
        return;
    sum->boundary += forth + back == 1;
    sum->nonmanifold += forth + back > 2;
    sum->misoriented += forth + back == 2 && forth != back;
}

// ---- vertices with few triangles ----

static int64_t times_in(const uint32_t *list, uint32_t n, uint32_t v)
{
    int64_t times = 0;
    for (uint32_t i = 0; i < n; i++)
        times += list[i] == v;
    return times;
}

static uint32_t first_of(const uint32_t *list, uint32_t n, uint32_t v)
{
    uint32_t i = 0;
    while (i < n && list[i] != v)
        i++;
    return i;
}

// Corner i of vertex a comes from in[i] and goes on to out[i].
static void check_edges(uint32_t a, const uint32_t *out, const uint32_t *in, uint32_t n, struct counts *sum)
{
    for (uint32_t i = 0; i < n; i++)
        if (first_of(out, i, out[i]) == i)
            count_edge(a, out[i], times_in(out, n, out[i]), times_in(in, n, out[i]), sum);
}

// 1 when the triangles form one fan: walking from the opening (or anywhere) visits them all.
static int one_fan(const uint32_t *out, const uint32_t *in, uint32_t n)
{
    uint32_t start = 0, visited = 0;
    while (start < n && first_of(in, n, out[start]) < n)
        start++;
    start = start < n ? start : 0;
    uint32_t at = start;
    do {
        visited++;
        at = first_of(out, n, in[at]);
    } while (at < n && at != start && visited < n);
    return visited == n;
}

static void check_light(const struct kf_mesh *mesh, const struct kf_corners *at, uint32_t v, struct counts *sum)
{
    uint32_t out[LIGHT], in[LIGHT], first = at->first[v], n = at->first[v + 1] - first;
    for (uint32_t i = 0; i < n; i++) {
        out[i] = mesh->index[kf_corner_next(at->corner[first + i])];
        in[i] = mesh->index[kf_corner_before(at->corner[first + i])];
    }
    check_edges(v, out, in, n, sum);
    sum->fans += !one_fan(out, in, n);
}

// Sets *most to the most triangles at a vertex.
static enum kf_kernel_status check_vertices(const struct kf_work *work, const struct kf_mesh *mesh,
                                            const struct kf_corners *at, struct counts *sum, int64_t *most)
{
    int64_t boundary = 0, nonmanifold = 0, misoriented = 0, fans = 0, unused = 0, greatest = 0;
    struct kf_loop loop = kf_loop_make(work, mesh->vertices / ASK_EVERY + 1, 0.2, 0.6);
#pragma omp parallel for num_threads(work->threads) schedule(static) \
    reduction(+ : boundary, nonmanifold, misoriented, fans, unused) reduction(max : greatest)
    for (int64_t v = 0; v < mesh->vertices; v++) {
        struct counts one = {0};
        const int64_t n = (int64_t)at->first[v + 1] - at->first[v];
        if (v % ASK_EVERY == 0)
            (void)kf_loop_stop(&loop);
        if (__atomic_load_n(&loop.stop, __ATOMIC_RELAXED))
            continue;
        greatest = n > greatest ? n : greatest;
        unused += n == 0;
        if (n == 0 || n > LIGHT)
            continue;
        check_light(mesh, at, (uint32_t)v, &one);
        boundary += one.boundary;
        nonmanifold += one.nonmanifold;
        misoriented += one.misoriented;
        fans += one.fans;
    }
    *sum = (struct counts){boundary, nonmanifold, misoriented, fans, unused};
    *most = greatest;
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

// ---- vertices with many ----

// By corner of one vertex; `follow`: the corner after it in its fan, or none.
struct heavy {
    struct kf_sort_entry *out, *in, *spare;
    uint32_t *follow;
};

#define NONE UINT32_MAX

static int64_t run_of(const struct kf_sort_entry *list, int64_t from, int64_t n, uint64_t key)
{
    int64_t end = from;
    while (end < n && list[end].key == key)
        end++;
    return end - from;
}

// Goes through both lists, in order of their keys, at once: counts the edges, says which corner follows each. *start
// gets the first corner that follows none, or 0.
static enum kf_kernel_status match_corners(const struct kf_work *work, uint32_t v, int64_t n, struct heavy *h,
                                           struct counts *sum, uint32_t *start)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    uint32_t opening = NONE;
    int64_t i = 0, k = 0;
    for (int64_t turn = 0; (i < n || k < n) && !(status = kf_work_ask(work, turn)); turn++) {
        uint64_t key = k == n || (i < n && h->out[i].key < h->in[k].key) ? h->out[i].key : h->in[k].key;
        int64_t forth = run_of(h->out, i, n, key), back = run_of(h->in, k, n, key);
        for (int64_t m = k; m < k + back; m++)
            h->follow[h->in[m].value] = forth ? h->out[i].value : NONE;
        if (forth && !back && h->out[i].value < opening)
            opening = h->out[i].value;
        if (forth)
            count_edge(v, (uint32_t)key, forth, back, sum);
        i += forth;
        k += back;
    }
    *start = opening == NONE ? 0 : opening;
    return status;
}

static enum kf_kernel_status check_one_heavy(const struct kf_work *work, const struct kf_mesh *mesh,
                                             const struct kf_corners *at, uint32_t v, struct heavy *h,
                                             struct counts *sum)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    int64_t n = (int64_t)at->first[v + 1] - at->first[v], visited = 0;
    for (int64_t i = 0; i < n && !(status = kf_work_ask(work, i)); i++) {
        uint32_t corner = at->corner[at->first[v] + i];
        h->out[i] = (struct kf_sort_entry){mesh->index[kf_corner_next(corner)], (uint32_t)i, 0};
        h->in[i] = (struct kf_sort_entry){mesh->index[kf_corner_before(corner)], (uint32_t)i, 0};
    }
    if (!status)
        status = kf_sort(work, h->out, h->spare, n, 32);
    if (!status)
        status = kf_sort(work, h->in, h->spare, n, 32);
    uint32_t start = 0;
    if (!status)
        status = match_corners(work, v, n, h, sum, &start);
    for (uint32_t c = start; !status;) {
        visited++;
        c = h->follow[c];
        if (c == NONE || c == start || visited == n)
            break;
        status = kf_work_ask(work, visited);
    }
    sum->fans += visited != n;
    return status;
}

static enum kf_kernel_status check_heavy(const struct kf_work *work, const struct kf_mesh *mesh,
                                         const struct kf_corners *at, int64_t most, struct counts *sum)
{
    struct heavy h = {.out = kf_work_take(work, most * (int64_t)sizeof *h.out),
                      .in = kf_work_take(work, most * (int64_t)sizeof *h.in),
                      .spare = kf_work_take(work, most * (int64_t)sizeof *h.spare),
                      .follow = kf_work_take(work, most * (int64_t)sizeof *h.follow)};
    enum kf_kernel_status status = h.out && h.in && h.spare && h.follow ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    for (int64_t v = 0; v < mesh->vertices && !status; v++) {
        status = kf_work_ask(work, v);
        if (!status && at->first[v + 1] - at->first[v] > LIGHT)
            status = check_one_heavy(work, mesh, at, (uint32_t)v, &h, sum);
    }
    kf_work_give(work, h.out);
    kf_work_give(work, h.in);
    kf_work_give(work, h.spare);
    kf_work_give(work, h.follow);
    return status;
}

// ---- all of it ----

static enum kf_kernel_status find_bounds(const struct kf_work *work, const struct kf_mesh *mesh, double bounds[2][3])
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    memset(bounds, 0, 6 * sizeof bounds[0][0]);
    for (int64_t c = 0; c < 3 * mesh->triangles && !(status = kf_work_ask(work, c)); c++)
        for (int r = 0; r < 3; r++) {
            double x = (double)mesh->xyz[3 * (int64_t)mesh->index[c] + r];
            if (c == 0 || x < bounds[0][r])
                bounds[0][r] = x;
            if (c == 0 || x > bounds[1][r])
                bounds[1][r] = x;
        }
    return status;
}

static enum kf_kernel_status count_triangles(const struct kf_work *work, const struct kf_mesh *mesh,
                                             const struct kf_corners *at, const uint32_t *group,
                                             struct kf_mesh_report *report)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int64_t v = 0; v < mesh->vertices && !(status = kf_work_ask(work, v)); v++)
        report->components += group[v] == (uint32_t)v && at->first[v] < at->first[v + 1];
    for (int64_t t = 0; t < mesh->triangles && !status && !(status = kf_work_ask(work, t)); t++) {
        const uint32_t *i = mesh->index + 3 * t;
        report->degenerate_triangles += i[0] == i[1] || i[1] == i[2] || i[2] == i[0];
    }
    return status;
}

static void report_counts(const struct counts *sum, struct kf_mesh_report *report)
{
    report->boundary_edges = sum->boundary;
    report->nonmanifold_edges = sum->nonmanifold;
    report->misoriented_edges = sum->misoriented;
    report->nonmanifold_vertices = sum->fans;
    report->unused_vertices = sum->unused;
    report->closed = sum->boundary == 0;
    report->manifold = !sum->nonmanifold && !sum->fans && !report->degenerate_triangles;
    report->oriented = sum->misoriented == 0;
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
    struct counts sum = {0};
    int64_t most = 0;
    status = group ? check_vertices(work, mesh, &at, &sum, &most) : KF_KERNEL_NOMEM;
    if (!status && most > LIGHT)
        status = check_heavy(work, mesh, &at, most, &sum);
    if (!status)
        status = kf_mesh_groups(work, mesh, group);
    if (!status && kf_work_step(work, 0.8))
        status = KF_KERNEL_CANCELLED;
    if (!status)
        status = count_triangles(work, mesh, &at, group, report);
    if (!status) {
        report_counts(&sum, report);
        kf_mesh_measure(work, mesh, &report->volume_mm3, &report->area_mm2);
        status = find_bounds(work, mesh, report->bounds);
    }
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    if (status)
        *report = (struct kf_mesh_report){0};
    kf_work_give(work, group);
    kf_corners_release(work, &at);
    return status;
}
