// Half-edge h runs from corner h to the next corner of its triangle; mate[h] is the half-edge of the neighbour across
// it, or NONE. Which half-edges are mates is all that decides: corners joined by mates become one vertex, and what has
// no mate bounds a hole.
#include "workers/kernels/mesh_stitch.h"
#include "workers/kernels/adjacency.h"
#include "workers/kernels/sets.h"
#include "workers/kernels/sort.h"

#include <string.h>

#define NONE       UINT32_MAX
#define SHEETS     32   // triangles at one edge that are told apart; more are all cut
#define LIGHT      32   // triangles or edges at a vertex that are looked through; more are sorted
#define MARK_BLOCK 4096 // triangles between two questions
#define SPLITS     16   // rounds of parting sheets that keep both ends of an edge in common

struct stitcher {
    struct kf_mesh *mesh;
    uint32_t *mate; // per half-edge
    uint32_t *sort; // half-edges grouped by their lower end, ordered by the upper
    uint32_t *root; // per corner: union-find
};

static uint32_t from_of(const struct kf_mesh *m, uint32_t h)
{
    return m->index[h];
}
static uint32_t to_of(const struct kf_mesh *m, uint32_t h)
{
    return m->index[kf_corner_next(h)];
}

static void release(const struct kf_work *work, struct stitcher *s)
{
    kf_work_give(work, s->mate);
    kf_work_give(work, s->sort);
    kf_work_give(work, s->root);
    s->mate = s->sort = s->root = NULL;
}

static enum kf_kernel_status take(const struct kf_work *work, struct stitcher *s)
{
    int64_t bytes = 3 * s->mesh->triangles * (int64_t)sizeof(uint32_t);
    if (3 * s->mesh->triangles >= NONE || s->mesh->vertices >= NONE)
        return KF_KERNEL_TOO_LARGE;
    s->mate = kf_work_take(work, bytes);
    s->sort = kf_work_take(work, bytes);
    s->root = kf_work_take(work, bytes);
    if (s->mate && s->sort && s->root)
        return KF_KERNEL_OK;
    release(work, s);
    return KF_KERNEL_NOMEM;
}

// ---- duplicates ----

static void sorted_corners(const uint32_t *from, uint32_t to[3])
{
    uint32_t a = from[0], b = from[1], c = from[2], least = a < b ? a : b, most = a < b ? b : a;
    to[0] = c < least ? c : least;
    to[2] = c > most ? c : most;
    to[1] = c < least ? least : c > most ? most : c;
}

// Entries for the longest of the lists that end[v - 1] … end[v] bound, when it has more than LIGHT; twice as many, the
// second half to sort with. NULL and *status KF_KERNEL_OK when there is none.
static struct kf_sort_entry *take_entries(const struct kf_work *work, const uint32_t *first, int64_t vertices,
                                          enum kf_kernel_status *status)
{
    int64_t most = 0;
    for (int64_t v = 0; v < vertices; v++)
        most = first[v + 1] - first[v] > most ? first[v + 1] - first[v] : most;
    if (most <= LIGHT)
        return NULL;
    struct kf_sort_entry *list = kf_work_take(work, 2 * most * (int64_t)sizeof *list);
    *status = list ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    return list;
}

// Marks, by 1 those with two equal corners, by 2 those that an earlier one repeats around a vertex with few triangles.
static enum kf_kernel_status mark_light(const struct kf_work *work, const struct kf_mesh *m,
                                        const struct kf_corners *at, uint8_t *drop)
{
    struct kf_loop loop = kf_loop_make(work, m->triangles / MARK_BLOCK + 1, 0.1, 0.2);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t b = 0; b < m->triangles / MARK_BLOCK + 1; b++)
        for (int64_t t = b * MARK_BLOCK; t < (b + 1) * MARK_BLOCK && t < m->triangles; t++) {
            uint32_t own[3], other[3];
            if (t == b * MARK_BLOCK && kf_loop_stop(&loop))
                break;
            sorted_corners(m->index + 3 * t, own);
            drop[t] = own[0] == own[1] || own[1] == own[2] ? 1 : 0;
            uint32_t first = at->first[own[0]], end = at->first[own[0] + 1];
            for (uint32_t i = first; i < end && end - first <= LIGHT && !drop[t]; i++) {
                int64_t before = at->corner[i] / 3;
                if (before >= t)
                    break;
                sorted_corners(m->index + 3 * before, other);
                drop[t] = memcmp(own, other, sizeof own) == 0 ? 2 : 0;
            }
        }
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

// The same around vertex v, which has many and is the least of the corners.
static enum kf_kernel_status mark_heavy(const struct kf_work *work, const struct kf_mesh *m,
                                        const struct kf_corners *at, uint32_t v, struct kf_sort_entry *list,
                                        uint8_t *drop)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    int64_t n = (int64_t)at->first[v + 1] - at->first[v], count = 0;
    for (int64_t i = 0; i < n && !(status = kf_work_ask(work, i)); i++) {
        uint32_t own[3], t = at->corner[at->first[v] + i] / 3;
        sorted_corners(m->index + 3 * (int64_t)t, own);
        if (own[0] == v && !drop[t])
            list[count++] = (struct kf_sort_entry){(uint64_t)own[1] << 32 | own[2], t, 0};
    }
    if (!status)
        status = kf_sort(work, list, list + n, count, 64);
    for (int64_t i = 1; i < count && !status && !(status = kf_work_ask(work, i)); i++)
        if (list[i].key == list[i - 1].key)
            drop[list[i].value] = 2;
    return status;
}

static enum kf_kernel_status mark_duplicates(const struct kf_work *work, const struct kf_mesh *m,
                                             const struct kf_corners *at, uint8_t *drop)
{
    enum kf_kernel_status status = mark_light(work, m, at, drop);
    struct kf_sort_entry *list = status ? NULL : take_entries(work, at->first, m->vertices, &status);
    for (int64_t v = 0; v < m->vertices && list && !status && !(status = kf_work_ask(work, v)); v++)
        if (at->first[v + 1] - at->first[v] > LIGHT)
            status = mark_heavy(work, m, at, (uint32_t)v, list, drop);
    kf_work_give(work, list);
    return status;
}

// Of triangles with the same three corners, whichever way round, the first stays.
static enum kf_kernel_status drop_duplicates(const struct kf_work *work, struct kf_mesh *m,
                                             struct kf_mesh_repair_report *report)
{
    struct kf_corners at;
    enum kf_kernel_status status = kf_corners_make(work, m, &at);
    if (status)
        return status;
    uint8_t *drop = kf_work_take(work, m->triangles);
    status = drop ? mark_duplicates(work, m, &at, drop) : KF_KERNEL_NOMEM;
    int64_t kept = 0;
    for (int64_t t = 0; t < m->triangles && !status && !(status = kf_work_ask(work, t)); t++) {
        report->degenerate_triangles += drop[t] == 1;
        report->duplicate_triangles += drop[t] == 2;
        if (!drop[t])
            memmove(m->index + 3 * kept++, m->index + 3 * t, 3 * sizeof *m->index);
    }
    m->triangles = status ? m->triangles : kept;
    kf_work_give(work, drop);
    kf_corners_release(work, &at);
    return status;
}

// ---- mates ----

static uint32_t lower(const struct kf_mesh *m, uint32_t h)
{
    return from_of(m, h) < to_of(m, h) ? from_of(m, h) : to_of(m, h);
}

static uint32_t upper(const struct kf_mesh *m, uint32_t h)
{
    return from_of(m, h) < to_of(m, h) ? to_of(m, h) : from_of(m, h);
}

// Orders half-edges [begin, end) of s->sort, which have one lower end, by the upper; equal ones stay in their order.
static enum kf_kernel_status sort_run(const struct kf_work *work, struct stitcher *s, int64_t begin, int64_t end,
                                      struct kf_sort_entry *list)
{
    const struct kf_mesh *m = s->mesh;
    uint32_t *run = s->sort + begin;
    int64_t n = end - begin;
    enum kf_kernel_status status = KF_KERNEL_OK;
    if (n <= LIGHT) {
        uint32_t to[LIGHT];
        for (int64_t i = 0; i < n; i++) {
            uint32_t h = run[i], key = upper(m, h);
            int64_t k = i;
            for (; k > 0 && to[k - 1] > key; k--) {
                to[k] = to[k - 1];
                run[k] = run[k - 1];
            }
            to[k] = key;
            run[k] = h;
        }
        return KF_KERNEL_OK;
    }
    for (int64_t i = 0; i < n && !(status = kf_work_ask(work, i)); i++)
        list[i] = (struct kf_sort_entry){upper(m, run[i]), run[i], 0};
    if (!status)
        status = kf_sort(work, list, list + n, n, 32);
    for (int64_t i = 0; i < n && !status; i++)
        run[i] = list[i].value;
    return status;
}

// Orders half-edges by (lower end, upper end, number); `first` has one entry per vertex and one more.
static enum kf_kernel_status sort_edges(const struct kf_work *work, struct stitcher *s, uint32_t *first)
{
    const struct kf_mesh *m = s->mesh;
    int64_t count = 3 * m->triangles;
    enum kf_kernel_status status = KF_KERNEL_OK;
    memset(first, 0, (size_t)(m->vertices + 1) * sizeof *first);
    for (int64_t h = 0; h < count && !(status = kf_work_ask(work, h)); h++)
        first[lower(m, (uint32_t)h) + 1]++;
    for (int64_t v = 0; v < m->vertices; v++)
        first[v + 1] += first[v];
    struct kf_sort_entry *list = status ? NULL : take_entries(work, first, m->vertices, &status);
    for (int64_t h = 0; h < count && !status && !(status = kf_work_ask(work, h)); h++)
        s->sort[first[lower(m, (uint32_t)h)]++] = (uint32_t)h; // first[v] becomes the end of v's run
    for (int64_t v = 0; v < m->vertices && !status && !(status = kf_work_ask(work, v)); v++)
        status = sort_run(work, s, v ? first[v - 1] : 0, first[v], list);
    kf_work_give(work, list);
    return status;
}

static void subtract(const float *a, const float *b, double d[3])
{
    for (int r = 0; r < 3; r++)
        d[r] = (double)a[r] - (double)b[r];
}

static void cross(const double u[3], const double w[3], double n[3])
{
    n[0] = u[1] * w[2] - u[2] * w[1];
    n[1] = u[2] * w[0] - u[0] * w[2];
    n[2] = u[0] * w[1] - u[1] * w[0];
}

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

// Grows with the angle at which the triangle of each half-edge stands around their common edge, 0…4, counter-clockwise
// seen from its upper end.
static void angles_around(const struct kf_mesh *m, const uint32_t *edge, int n, double angle[SHEETS])
{
    double along[3], u[3] = {0, 0, 0}, w[3] = {0, 0, 0};
    const float *low = m->xyz + 3 * (int64_t)lower(m, edge[0]);
    subtract(m->xyz + 3 * (int64_t)upper(m, edge[0]), low, along);
    double length2 = dot(along, along);
    for (int i = 0; i < n; i++) {
        double out[3];
        subtract(m->xyz + 3 * (int64_t)m->index[kf_corner_before(edge[i])], low, out);
        double share = length2 > 0 ? dot(out, along) / length2 : 0;
        for (int r = 0; r < 3; r++)
            out[r] -= share * along[r];
        if (i == 0) {
            memcpy(u, out, sizeof u);
            cross(along, u, w);
            double scale = length2 > 0 ? 1 / __builtin_sqrt(length2) : 0;
            for (int r = 0; r < 3; r++)
                w[r] *= scale;
        }
        double x = dot(out, u), y = dot(out, w), sum = __builtin_fabs(x) + __builtin_fabs(y), t = sum > 0 ? y / sum : 0;
        angle[i] = x >= 0 ? (y >= 0 ? t : 4 + t) : 2 - t;
    }
}

// Parts the sheets at one edge: a triangle that runs up the edge has its inside clockwise of it, so it belongs with the
// next one clockwise, if that runs down; pairs are taken off like brackets.
static void pair_sheets(struct stitcher *s, const uint32_t *group, int n)
{
    const struct kf_mesh *m = s->mesh;
    uint32_t edge[SHEETS];
    double angle[SHEETS];
    angles_around(m, group, n, angle);
    memcpy(edge, group, (size_t)n * sizeof *edge);
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && angle[k - 1] > angle[k]; k--) {
            double a = angle[k];
            uint32_t h = edge[k];
            angle[k] = angle[k - 1];
            edge[k] = edge[k - 1];
            angle[k - 1] = a;
            edge[k - 1] = h;
        }
    for (int found = 1; found && n > 1;) {
        found = 0;
        for (int i = 0; i < n && !found; i++) {
            int before = (i + n - 1) % n;
            if (from_of(m, edge[i]) > to_of(m, edge[i]) || from_of(m, edge[before]) < to_of(m, edge[before]))
                continue;
            s->mate[edge[i]] = edge[before];
            s->mate[edge[before]] = edge[i];
            int kept = 0;
            for (int k = 0; k < n; k++)
                if (k != i && k != before)
                    edge[kept++] = edge[k];
            n = kept;
            found = 1;
        }
    }
}

// Finds the mates. With `strict`, only half-edges of opposite directions, and more than two at an edge are parted;
// without, any two that are alone at their edge.
static enum kf_kernel_status find_mates(const struct kf_work *work, struct stitcher *s, int strict)
{
    const struct kf_mesh *m = s->mesh;
    uint32_t *first = kf_work_take(work, (m->vertices + 1) * (int64_t)sizeof *first);
    if (!first)
        return KF_KERNEL_NOMEM;
    enum kf_kernel_status status = sort_edges(work, s, first);
    kf_work_give(work, first);
    int64_t count = 3 * m->triangles, end, groups = 0;
    memset(s->mate, 0xff, (size_t)count * sizeof *s->mate);
    for (int64_t i = 0; i < count && !status && !(status = kf_work_ask(work, groups++)); i = end) {
        const uint32_t *group = s->sort + i;
        for (end = i + 1; end < count && lower(m, s->sort[end]) == lower(m, group[0]) &&
                          upper(m, s->sort[end]) == upper(m, group[0]);)
            end++;
        int same = end - i == 2 && from_of(m, group[0]) == from_of(m, group[1]);
        if (end - i == 2 && !(strict && same)) {
            s->mate[group[0]] = group[1];
            s->mate[group[1]] = group[0];
        } else if (end - i > 2 && end - i <= SHEETS && strict) {
            pair_sheets(s, group, (int)(end - i));
        }
    }
    return status;
}

// ---- orientation ----

static void turn(struct kf_mesh *m, int64_t t)
{
    uint32_t b = m->index[3 * t + 1];
    m->index[3 * t + 1] = m->index[3 * t + 2];
    m->index[3 * t + 2] = b;
}

// Goes through each sheet from its first triangle and turns what disagrees; the fewer of the two kinds are turned.
// A sheet that cannot be oriented is cut later, where its mates run in the same direction. Uses root as the queue.
static enum kf_kernel_status orient(const struct kf_work *work, struct stitcher *s, int64_t *turned)
{
    struct kf_mesh *m = s->mesh;
    enum { UNSEEN, KEEP, TURN };
    uint8_t *state = kf_work_take(work, m->triangles);
    if (!state)
        return KF_KERNEL_NOMEM;
    memset(state, UNSEEN, (size_t)m->triangles);
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int64_t seed = 0; seed < m->triangles && !status && !(status = kf_work_ask(work, seed)); seed++) {
        if (state[seed] != UNSEEN)
            continue;
        int64_t head = 0, tail = 0, other = 0;
        s->root[tail++] = (uint32_t)seed;
        state[seed] = KEEP;
        while (head < tail && !(status = kf_work_ask(work, head))) {
            uint32_t t = s->root[head++];
            other += state[t] == TURN;
            for (uint32_t h = 3 * t; h < 3 * t + 3; h++) {
                uint32_t g = s->mate[h];
                if (g == NONE || state[g / 3] != UNSEEN)
                    continue;
                int same = from_of(m, h) == from_of(m, g);
                state[g / 3] = (state[t] == TURN) != same ? TURN : KEEP;
                s->root[tail++] = g / 3;
            }
        }
        uint8_t wrong = 2 * other > tail ? KEEP : TURN;
        for (int64_t i = 0; i < tail && !status; i++)
            if (state[s->root[i]] == wrong) {
                turn(m, s->root[i]);
                (*turned)++;
            }
    }
    kf_work_give(work, state);
    return status;
}

// ---- one vertex per fan ----

// Makes room for more vertices and triangles; what is there is kept.
static enum kf_kernel_status grow(const struct kf_work *work, struct kf_mesh *m, int64_t vertices, int64_t triangles)
{
    if (m->vertices + vertices >= NONE || 3 * (m->triangles + triangles) >= NONE)
        return KF_KERNEL_TOO_LARGE;
    float *xyz = kf_work_take(work, (m->vertices + vertices) * 3 * (int64_t)sizeof *xyz);
    uint32_t *index = kf_work_take(work, (m->triangles + triangles) * 3 * (int64_t)sizeof *index);
    if (!xyz || !index) {
        kf_work_give(work, xyz);
        kf_work_give(work, index);
        return KF_KERNEL_NOMEM;
    }
    memcpy(xyz, m->xyz, (size_t)m->vertices * 3 * sizeof *xyz);
    memcpy(index, m->index, (size_t)m->triangles * 3 * sizeof *index);
    kf_work_give(work, m->xyz);
    kf_work_give(work, m->index);
    m->xyz = xyz;
    m->index = index;
    return KF_KERNEL_OK;
}

static uint32_t add_vertex(struct kf_mesh *m, const float p[3])
{
    memcpy(m->xyz + 3 * m->vertices, p, 3 * sizeof *p);
    return (uint32_t)m->vertices++;
}

static void add_triangle(struct kf_mesh *m, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t corner[3] = {a, b, c};
    memcpy(m->index + 3 * m->triangles++, corner, sizeof corner);
}

// The first fan of a vertex keeps its number, every other gets a new one at the same place.
static enum kf_kernel_status split_vertices(const struct kf_work *work, struct stitcher *s, int64_t *added)
{
    struct kf_mesh *m = s->mesh;
    int64_t count = 3 * m->triangles;
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int64_t h = 0; h < count; h++)
        s->root[h] = (uint32_t)h;
    for (int64_t h = 0; h < count && !(status = kf_work_ask(work, h)); h++) {
        uint32_t g = s->mate[h];
        if (g == NONE || g < h)
            continue;
        kf_set_join(s->root, (uint32_t)h, kf_corner_next(g));
        kf_set_join(s->root, kf_corner_next((uint32_t)h), g);
    }
    uint8_t *taken = status ? NULL : kf_work_take(work, m->vertices);
    if (!taken)
        return status ? status : KF_KERNEL_NOMEM;
    memset(taken, 0, (size_t)m->vertices);
    int64_t more = 0;
    for (int64_t c = 0; c < count && !(status = kf_work_ask(work, c)); c++)
        if (kf_set_root(s->root, (uint32_t)c) == c) {
            more += taken[m->index[c]];
            taken[m->index[c]] = 1;
        }
    memset(taken, 0, (size_t)(m->vertices));
    if (!status && more)
        status = grow(work, m, more, 0);
    for (int64_t c = 0; c < count && more && !status && !(status = kf_work_ask(work, c)); c++) {
        uint32_t r = kf_set_root(s->root, (uint32_t)c), v = m->index[c];
        if (r != c) {
            m->index[c] = m->index[r]; // the root is the least corner of its fan: it has its number already
        } else if (taken[v]) {
            m->index[c] = add_vertex(m, m->xyz + 3 * (int64_t)v);
            (*added)++;
        } else {
            taken[v] = 1;
        }
    }
    kf_work_give(work, taken);
    return status;
}

// Two sheets that still have both ends of an edge in common: all but the first get a vertex of their own in its middle.
// A triangle is cut once a round; *cut says how many were.
static enum kf_kernel_status cut_common_edges(const struct kf_work *work, struct stitcher *s, int64_t *cut,
                                              int64_t *added)
{
    struct kf_mesh *m = s->mesh;
    int64_t count = 3 * m->triangles, end, extra = 0, groups = 0;
    enum kf_kernel_status status = KF_KERNEL_OK;
    *cut = 0;
    for (int64_t i = 0; i < count && !(status = kf_work_ask(work, groups++)); i = end) {
        for (end = i + 1; end < count && lower(m, s->sort[end]) == lower(m, s->sort[i]) &&
                          upper(m, s->sort[end]) == upper(m, s->sort[i]);)
            end++;
        extra += end - i > 2 || (end - i == 2 && s->mate[s->sort[i]] != s->sort[i + 1]) ? end - i : 0;
    }
    if (!extra || status)
        return status;
    status = grow(work, m, extra, extra);
    uint8_t *touched = status ? NULL : kf_work_take(work, m->triangles);
    if (!touched)
        return status ? status : KF_KERNEL_NOMEM;
    memset(touched, 0, (size_t)m->triangles);
    // The groups are read before any of their triangles changes: a triangle that was cut is left for the next round.
    for (int64_t i = 0; i < count && !(status = kf_work_ask(work, i)); i++) {
        uint32_t h = s->sort[i], g = s->mate[h];
        int first = i == 0 || touched[s->sort[i - 1] / 3] || lower(m, s->sort[i - 1]) != lower(m, h) ||
                    upper(m, s->sort[i - 1]) != upper(m, h);
        if (first || touched[h / 3] || (g != NONE && touched[g / 3]) || g == s->sort[i - 1])
            continue;
        float middle[3];
        for (int r = 0; r < 3; r++)
            middle[r] = 0.5f * (m->xyz[3 * (int64_t)from_of(m, h) + r] + m->xyz[3 * (int64_t)to_of(m, h) + r]);
        uint32_t v = add_vertex(m, middle), both[2] = {h, g};
        for (int n = 0; n < 2 && both[n] != NONE; n++) {
            uint32_t to = to_of(m, both[n]), tip = m->index[kf_corner_before(both[n])];
            touched[both[n] / 3] = 1;
            m->index[kf_corner_next(both[n])] = v;
            add_triangle(m, v, to, tip);
            (*cut)++;
        }
        (*added)++;
    }
    kf_work_give(work, touched);
    return status;
}

// ---- holes ----

struct rims {
    const struct kf_mesh *mesh;
    uint32_t *leave; // per vertex: the half-edge without mate that leaves it
    uint32_t *seen;  // per half-edge: the start that came by, NONE, or RIM
};

#define RIM (NONE - 1) // on a rim that was met from beside it; its first half-edge has yet to start

static uint32_t next_of(const struct rims *r, uint32_t h)
{
    return r->leave[to_of(r->mesh, h)];
}

// Sets *length to that of the rim through `start`, or to 0: when the way from there does not come back, or another
// start has been on it. No half-edge is passed more than a few times in all.
static enum kf_kernel_status follow_rim(const struct kf_work *work, const struct rims *r, uint32_t start,
                                        int64_t *length)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    const uint32_t fresh = r->seen[start] == RIM ? RIM : NONE;
    uint32_t h = start;
    int64_t n = 0;
    *length = 0;
    for (; h != NONE && r->seen[h] == fresh && !(status = kf_work_ask(work, n + 1)); h = next_of(r, h), n++)
        r->seen[h] = start;
    if (status || h == NONE || n == 0 || r->seen[h] != start)
        return status;
    *length = h == start ? n : 0;
    for (; h != start && r->seen[h] == start; h = next_of(r, h))
        r->seen[h] = RIM;
    return status;
}

// The middle of a rim, by length.
static void middle_of(const struct kf_mesh *m, const uint32_t *leave, uint32_t start, int64_t n, float out[3])
{
    double sum[3] = {0, 0, 0}, all = 0;
    uint32_t h = start;
    for (int64_t i = 0; i < n; i++, h = leave[to_of(m, h)]) {
        const float *a = m->xyz + 3 * (int64_t)from_of(m, h), *b = m->xyz + 3 * (int64_t)to_of(m, h);
        double d[3];
        subtract(b, a, d);
        double length = __builtin_sqrt(dot(d, d)) + 1e-30;
        for (int r = 0; r < 3; r++)
            sum[r] += length * 0.5 * ((double)a[r] + (double)b[r]);
        all += length;
    }
    for (int r = 0; r < 3; r++)
        out[r] = (float)(sum[r] / all);
}

static void fill_rim(struct kf_mesh *m, uint32_t *leave, uint32_t start, int64_t n)
{
    uint32_t v = NONE, h = start;
    if (n > 3) {
        float middle[3];
        middle_of(m, leave, start, n, middle);
        v = add_vertex(m, middle);
    } else {
        uint32_t b = to_of(m, start);
        add_triangle(m, b, from_of(m, start), to_of(m, leave[b]));
    }
    for (int64_t i = 0; i < n; i++) {
        uint32_t from = from_of(m, h), to = to_of(m, h), next = leave[to];
        if (v != NONE)
            add_triangle(m, to, from, v);
        leave[from] = NONE;
        h = next;
    }
}

static enum kf_kernel_status fill_holes(const struct kf_work *work, struct stitcher *s, int64_t most,
                                        struct kf_mesh_repair_report *report)
{
    struct kf_mesh *m = s->mesh;
    int64_t count = 3 * m->triangles, open = 0, before = m->triangles;
    struct rims rims = {.mesh = m, .seen = s->root};
    rims.leave = kf_work_take(work, m->vertices * (int64_t)sizeof *rims.leave);
    enum kf_kernel_status status = rims.leave ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (status)
        return status;
    memset(rims.leave, 0xff, (size_t)m->vertices * sizeof *rims.leave);
    memset(rims.seen, 0xff, (size_t)count * sizeof *rims.seen);
    for (int64_t h = 0; h < count && !(status = kf_work_ask(work, h)); h++)
        if (s->mate[h] == NONE) {
            rims.leave[m->index[h]] = (uint32_t)h;
            open++;
        }
    if (!status && open && most)
        status = grow(work, m, open / 3 + 1, open);
    for (int64_t h = 0; h < count && open && most && !status && !(status = kf_work_ask(work, h)); h++) {
        int64_t n = 0;
        if (s->mate[h] != NONE || rims.leave[m->index[h]] != (uint32_t)h)
            continue;
        status = follow_rim(work, &rims, (uint32_t)h, &n);
        if (status || n < 3 || n > most)
            continue;
        fill_rim(m, rims.leave, (uint32_t)h, n);
        report->holes_filled++;
    }
    report->hole_triangles += m->triangles - before;
    kf_work_give(work, rims.leave);
    return status;
}

static enum kf_kernel_status pack(const struct kf_work *work, struct kf_mesh *m)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    uint32_t count = 0, *place = kf_work_take(work, m->vertices * (int64_t)sizeof *place);
    if (!place)
        return KF_KERNEL_NOMEM;
    memset(place, 0xff, (size_t)m->vertices * sizeof *place);
    for (int64_t c = 0; c < 3 * m->triangles && !(status = kf_work_ask(work, c)); c++)
        place[m->index[c]] = 0;
    for (int64_t v = 0; v < m->vertices && !status && !(status = kf_work_ask(work, v)); v++) {
        if (place[v] == NONE)
            continue;
        memmove(m->xyz + 3 * (int64_t)count, m->xyz + 3 * v, 3 * sizeof *m->xyz);
        place[v] = count++;
    }
    for (int64_t c = 0; c < 3 * m->triangles && !status && !(status = kf_work_ask(work, c)); c++)
        m->index[c] = place[m->index[c]];
    m->vertices = status ? m->vertices : count;
    kf_work_give(work, place);
    return status;
}

enum kf_kernel_status kf_mesh_stitch(const struct kf_work *work, struct kf_mesh *mesh, const struct kf_mesh_repair *how,
                                     struct kf_mesh_repair_report *report)
{
    struct stitcher s = {.mesh = mesh};
    enum kf_kernel_status status = drop_duplicates(work, mesh, report);
    if (!status)
        status = take(work, &s);
    if (!status)
        status = find_mates(work, &s, 0);
    if (!status)
        status = orient(work, &s, &report->turned_triangles);
    int64_t cut = 1;
    for (int round = 0; round < SPLITS && cut && !status; round++) {
        status = find_mates(work, &s, 1);
        if (!status)
            status = split_vertices(work, &s, &report->split_vertices);
        if (!status)
            status = find_mates(work, &s, 1);
        if (!status)
            status = cut_common_edges(work, &s, &cut, &report->split_vertices);
        if (!status && cut) { // there are more corners now
            release(work, &s);
            status = take(work, &s);
        }
        if (!status && kf_work_step(work, 0.5 + 0.4 * round / SPLITS))
            status = KF_KERNEL_CANCELLED;
    }
    if (!status && cut)
        status = find_mates(work, &s, 1);
    if (!status)
        status = fill_holes(work, &s, how->hole_edges, report);
    release(work, &s);
    return status ? status : pack(work, mesh);
}
