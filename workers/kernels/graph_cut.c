// Two trees of voxels grow from the source and from the sink along edges with room left; where they touch, a path is
// filled, what was cut off by that (the orphans) looks for a new parent, and growing goes on. An edge is kept once, at
// its lower voxel; beyond the border edges have no room, so that no coordinate is ever looked at.
#include "workers/kernels/graph_cut.h"
#include "workers/kernels/math.h"

#include <string.h>

#define NONE       UINT32_MAX
#define ROOT       6 // parent: the terminal itself
#define ORPHAN     7
#define PARENT     7u
#define SOURCE     8u
#define SINK       16u
#define TREE       (SOURCE | SINK)
#define QUEUED     32u
#define STEP_EVERY 0x3fff

// room[axis][0] from this voxel to the next along the axis, room[axis][1] back. rest: room left from the source (> 0)
// or to the sink (< 0).
struct node {
    uint16_t room[3][2];
    int32_t rest;
};

// How far a voxel is from its root, and when that was known last. An orphan's distance is the next orphan.
struct mark {
    uint32_t time, distance;
};

struct cut {
    struct node *node; // preceded by one slice without room
    struct mark *mark;
    uint32_t *next; // of the active voxels
    uint8_t *flag; // one slice of them before and after
    int64_t dim[3], step[3], voxels;
    const struct kf_work *work;
    int *stop; // the caller cancelled: searches in other threads look at it
};

// One search: the whole grid, or a slab that no other thread touches.
struct search {
    const struct cut *cut;
    uint32_t first, last;             // active voxels
    uint32_t orphan_first, orphan_last;
    uint32_t time;
    int64_t flow;
    int cancelled;
};

// Direction d: axis d / 2, forward when even.
static inline int64_t go(const struct cut *c, int64_t v, unsigned d)
{
    return d & 1 ? v - c->step[d >> 1] : v + c->step[d >> 1];
}

static inline uint16_t *room_out(const struct cut *c, int64_t v, unsigned d)
{
    return &c->node[d & 1 ? v - c->step[d >> 1] : v].room[d >> 1][d & 1];
}

static inline uint16_t *room_in(const struct cut *c, int64_t v, unsigned d)
{
    return &c->node[d & 1 ? v - c->step[d >> 1] : v].room[d >> 1][!(d & 1)];
}

static void activate(struct search *s, int64_t v)
{
    uint8_t *flag = &s->cut->flag[v];
    if (*flag & QUEUED)
        return;
    *flag |= QUEUED;
    s->cut->next[v] = NONE;
    if (s->first == NONE)
        s->first = (uint32_t)v;
    else
        s->cut->next[s->last] = (uint32_t)v;
    s->last = (uint32_t)v;
}

static void orphan(struct search *s, int64_t v)
{
    struct mark *mark = s->cut->mark;
    s->cut->flag[v] = (uint8_t)((s->cut->flag[v] & ~PARENT) | ORPHAN);
    mark[v].distance = NONE;
    if (s->orphan_first == NONE)
        s->orphan_first = (uint32_t)v;
    else
        mark[s->orphan_last].distance = (uint32_t)v;
    s->orphan_last = (uint32_t)v;
}

// ---- growing ----

// Looks at all neighbours of v; 1 when one of them is in the other tree: then *d leads there. What room an edge has is
// asked last, for most neighbours are in the same tree and flags lie close together.
static inline __attribute__((always_inline)) int grow_in(struct search *s, int64_t v, unsigned tree, unsigned *d)
{
    const struct cut *c = s->cut;
    for (unsigned n = 0; n < 6; n++) {
        int64_t u = go(c, v, n);
        const uint16_t *room = tree == SOURCE ? room_out(c, v, n) : room_in(c, v, n);
        if (n >= 4 && !*room) // over the seam of two slabs: there is no room, and the flag is another thread's
            continue;
        unsigned flag = c->flag[u];
        if ((flag & TREE) == tree || !*room)
            continue;
        if (flag & TREE) {
            *d = n;
            return 1;
        }
        c->flag[u] = (uint8_t)((flag & QUEUED) | tree | (n ^ 1));
        c->mark[u] = (struct mark){c->mark[v].time, c->mark[v].distance + 1};
        activate(s, u);
    }
    return 0;
}

static int grow_from(struct search *s, int64_t v, unsigned tree, unsigned *d)
{
    return tree == SOURCE ? grow_in(s, v, SOURCE, d) : grow_in(s, v, SINK, d);
}

// ---- filling a path ----

static int32_t least_room(const struct cut *c, int64_t v, unsigned tree)
{
    int32_t least = INT32_MAX;
    for (unsigned d; (d = c->flag[v] & PARENT) != ROOT; v = go(c, v, d)) {
        int32_t room = *(tree == SOURCE ? room_in(c, v, d) : room_out(c, v, d));
        least = room < least ? room : least;
    }
    int32_t rest = tree == SOURCE ? c->node[v].rest : -c->node[v].rest;
    return rest < least ? rest : least;
}

static void fill_to_root(struct search *s, int64_t v, unsigned tree, int32_t amount)
{
    const struct cut *c = s->cut;
    for (unsigned d; (d = c->flag[v] & PARENT) != ROOT;) {
        uint16_t *along = tree == SOURCE ? room_in(c, v, d) : room_out(c, v, d);
        uint16_t *back = tree == SOURCE ? room_out(c, v, d) : room_in(c, v, d);
        int64_t u = go(c, v, d);
        *back = (uint16_t)(*back + amount);
        *along = (uint16_t)(*along - amount);
        if (!*along)
            orphan(s, v);
        v = u;
    }
    c->node[v].rest -= tree == SOURCE ? amount : -amount;
    if (!c->node[v].rest)
        orphan(s, v);
}

// The path over the edge from v, which is in `tree`, in direction d to the other tree.
static void fill_path(struct search *s, int64_t v, unsigned tree, unsigned d)
{
    const struct cut *c = s->cut;
    int64_t u = go(c, v, d);
    uint16_t *along = tree == SOURCE ? room_out(c, v, d) : room_in(c, v, d);
    uint16_t *back = tree == SOURCE ? room_in(c, v, d) : room_out(c, v, d);
    int32_t amount = *along, one = least_room(c, v, tree), other = least_room(c, u, tree ^ TREE);
    amount = one < amount ? one : amount;
    amount = other < amount ? other : amount;
    *along = (uint16_t)(*along - amount);
    *back = (uint16_t)(*back + amount);
    fill_to_root(s, v, tree, amount);
    fill_to_root(s, u, tree ^ TREE, amount);
    s->flow += amount;
}

// ---- adoption ----

// Steps from v to its root, UINT32_MAX when an orphan is on the way; marks the way.
static uint32_t distance_to_root(struct search *s, int64_t v)
{
    const struct cut *c = s->cut;
    uint32_t steps = 0;
    for (int64_t u = v;; steps++) {
        unsigned d = c->flag[u] & PARENT;
        if (d == ORPHAN)
            return UINT32_MAX;
        if (c->mark[u].time == s->time) {
            steps += c->mark[u].distance;
            break;
        }
        if (d == ROOT) {
            c->mark[u] = (struct mark){s->time, 1};
            steps++;
            break;
        }
        u = go(c, u, d);
    }
    uint32_t left = steps;
    for (int64_t u = v; c->mark[u].time != s->time; u = go(c, u, c->flag[u] & PARENT))
        c->mark[u] = (struct mark){s->time, left--};
    return steps;
}

static void free_orphan(struct search *s, int64_t v, unsigned tree)
{
    const struct cut *c = s->cut;
    for (unsigned n = 0; n < 6; n++) {
        int64_t u = go(c, v, n);
        // Beyond the border there may be no memory behind, or another row's voxel; only room says that u is a neighbour,
        // and a child's edge may be full: a child is known by its parent.
        if (!*room_in(c, v, n) && !*room_out(c, v, n))
            continue;
        unsigned flag = c->flag[u];
        if ((flag & TREE) != tree)
            continue;
        if (*(tree == SOURCE ? room_in(c, v, n) : room_out(c, v, n)))
            activate(s, u);
        if ((flag & PARENT) == (n ^ 1))
            orphan(s, u);
    }
    c->flag[v] &= QUEUED;
}

static void adopt(struct search *s, int64_t v)
{
    const struct cut *c = s->cut;
    unsigned tree = c->flag[v] & TREE, best = ORPHAN;
    uint32_t least = UINT32_MAX;
    for (unsigned n = 0; n < 6; n++) {
        if (!*(tree == SOURCE ? room_in(c, v, n) : room_out(c, v, n)))
            continue;
        int64_t u = go(c, v, n);
        if ((c->flag[u] & TREE) != tree)
            continue;
        uint32_t steps = distance_to_root(s, u);
        if (steps < least) {
            least = steps;
            best = n;
        }
    }
    if (best == ORPHAN) {
        free_orphan(s, v, tree);
        return;
    }
    c->flag[v] = (uint8_t)((c->flag[v] & ~PARENT) | best);
    c->mark[v] = (struct mark){s->time, least + 1};
}

static void adopt_all(struct search *s)
{
    while (s->orphan_first != NONE) {
        uint32_t v = s->orphan_first;
        s->orphan_first = s->cut->mark[v].distance;
        adopt(s, v);
    }
}

// Runs until the trees no longer touch. `steps`: the calling thread's, which may call the caller back.
static void run_search(struct search *s, int steps)
{
    const struct cut *c = s->cut;
    for (int64_t count = 1; s->first != NONE && !s->cancelled; count++) {
        uint32_t v = s->first;
        unsigned tree, d;
        while ((tree = c->flag[v] & TREE) && grow_from(s, v, tree, &d)) {
            s->time++;
            fill_path(s, v, tree, d);
            adopt_all(s);
        }
        s->first = c->next[v];
        c->flag[v] &= (uint8_t)~QUEUED;
        if ((count & STEP_EVERY) != 0)
            continue;
        if (steps && kf_work_step(c->work, 0.5))
            __atomic_store_n(c->stop, 1, __ATOMIC_RELAXED);
        s->cancelled = __atomic_load_n(c->stop, __ATOMIC_RELAXED);
    }
}

// ---- the grid ----

static inline uint16_t link_of(const uint16_t *link, int a, int b)
{
    int d = a < b ? b - a : a - b;
    return link[d < KF_CUT_DIFFERENCES ? d : KF_CUT_DIFFERENCES - 1];
}

static void build_slice(struct cut *c, const int16_t *image, const int32_t *terminal, const struct kf_cut_links *links,
                        int64_t k)
{
    for (int64_t j = 0; j < c->dim[1]; j++)
        for (int64_t i = 0; i < c->dim[0]; i++) {
            int64_t v = i + c->step[1] * j + c->step[2] * k;
            uint16_t x = i + 1 < c->dim[0] ? link_of(links->link[0], image[v], image[v + 1]) : 0;
            uint16_t y = j + 1 < c->dim[1] ? link_of(links->link[1], image[v], image[v + c->step[1]]) : 0;
            uint16_t z = k + 1 < c->dim[2] ? link_of(links->link[2], image[v], image[v + c->step[2]]) : 0;
            c->node[v] = (struct node){{{x, x}, {y, y}, {z, z}}, terminal[v]};
            c->flag[v] = (uint8_t)(terminal[v] > 0 ? SOURCE | ROOT : terminal[v] < 0 ? SINK | ROOT : 0);
            c->mark[v] = (struct mark){0, 1};
        }
}

// Edges over the upper face of slice k: closed while slabs are searched on their own, open afterwards.
static void close_seam(struct cut *c, int64_t k)
{
    for (int64_t v = k * c->step[2]; v < (k + 1) * c->step[2]; v++)
        c->node[v].room[2][0] = c->node[v].room[2][1] = 0;
}

static void open_seam(struct search *s, const int16_t *image, const struct kf_cut_links *links, int64_t k)
{
    const struct cut *c = s->cut;
    for (int64_t v = k * c->step[2]; v < (k + 1) * c->step[2]; v++) {
        int64_t u = v + c->step[2];
        c->node[v].room[2][0] = c->node[v].room[2][1] = link_of(links->link[2], image[v], image[u]);
        if (c->flag[v] & TREE)
            activate(s, v);
        if (c->flag[u] & TREE)
            activate(s, u);
    }
}

static int64_t slab_start(const struct cut *c, int64_t slab, int64_t slabs)
{
    return slab * c->dim[2] / slabs;
}

static void search_slab(const struct cut *c, int64_t first, int64_t last, int steps, struct search *s)
{
    *s = (struct search){.cut = c, .first = NONE, .last = NONE, .orphan_first = NONE, .orphan_last = NONE};
    for (int64_t v = first * c->step[2]; v < last * c->step[2]; v++)
        if (c->flag[v] & TREE)
            activate(s, v);
    run_search(s, steps);
}

#define SLABS_MAX 64

static enum kf_kernel_status solve(const struct kf_work *work, struct cut *c, const int16_t *image,
                                   const struct kf_cut_links *links, int64_t *flow)
{
    struct search part[SLABS_MAX];
    // Thin slabs meet more seam than they save.
    int64_t slabs = work->threads < SLABS_MAX ? work->threads : SLABS_MAX;
    slabs = slabs > c->dim[2] / 4 ? c->dim[2] / 4 : slabs;
    slabs = slabs < 1 ? 1 : slabs;
    for (int64_t n = 1; n < slabs; n++)
        close_seam(c, slab_start(c, n, slabs) - 1);
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int64_t n = 0; n < slabs; n++)
        search_slab(c, slab_start(c, n, slabs), slab_start(c, n + 1, slabs), n == 0, &part[n]);
    struct search all = part[0];
    for (int64_t n = 1; n < slabs; n++) {
        all.flow += part[n].flow;
        all.time = part[n].time > all.time ? part[n].time : all.time;
    }
    if (*c->stop || kf_work_step(work, 0.5))
        return KF_KERNEL_CANCELLED;
    for (int64_t n = 1; n < slabs; n++)
        open_seam(&all, image, links, slab_start(c, n, slabs) - 1);
    run_search(&all, 1);
    *flow = all.flow;
    return all.cancelled ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

enum kf_kernel_status kf_cut_links_make(const double spacing_mm[3], double sigma, double strength,
                                        struct kf_cut_links *out)
{
    double least = spacing_mm[0] < spacing_mm[1] ? spacing_mm[0] : spacing_mm[1];
    least = spacing_mm[2] < least ? spacing_mm[2] : least;
    if (!(sigma > 0) || !(strength >= 0) || !(least > 0))
        return KF_KERNEL_INVALID;
    for (int a = 0; a < 3; a++)
        for (int d = 0; d < KF_CUT_DIFFERENCES; d++) {
            double link = 1.5 + strength * kf_exp(-(d / sigma) * (d / sigma)) * least / spacing_mm[a];
            out->link[a][d] = (uint16_t)(link < KF_CUT_CAPACITY_MAX ? link : KF_CUT_CAPACITY_MAX);
        }
    return KF_KERNEL_OK;
}

static int arguments_are_good(const struct kf_volume *image, const int32_t *terminal, const struct kf_cut_links *links)
{
    int64_t voxels = kf_grid_voxels(&image->grid);
    for (int a = 0; a < 3; a++)
        for (int d = 0; d < KF_CUT_DIFFERENCES; d++)
            if (links->link[a][d] > KF_CUT_CAPACITY_MAX)
                return 0;
    for (int64_t v = 0; v < voxels; v++)
        if (terminal[v] > 1 << 30 || terminal[v] < -(1 << 30))
            return 0;
    return image->type == KF_VOXEL_INT16;
}

enum kf_kernel_status kf_graph_cut(const struct kf_work *work, const struct kf_volume *image, const int32_t *terminal,
                                   const struct kf_cut_links *links, uint8_t *inside, int64_t *flow)
{
    const int64_t *dim = image->grid.dim;
    int stop = 0;
    struct cut c = {
        .dim = {dim[0], dim[1], dim[2]}, .step = {1, dim[0], dim[0] * dim[1]}, .work = work, .stop = &stop};
    c.voxels = kf_grid_voxels(&image->grid);
    if (c.voxels >= NONE)
        return KF_KERNEL_TOO_LARGE;
    if (!arguments_are_good(image, terminal, links))
        return KF_KERNEL_INVALID;
    int64_t cost = 0;
    struct node *nodes = kf_work_take(work, (c.step[2] + c.voxels) * (int64_t)sizeof *nodes);
    c.mark = kf_work_take(work, c.voxels * (int64_t)sizeof *c.mark);
    c.next = kf_work_take(work, c.voxels * (int64_t)sizeof *c.next);
    uint8_t *flags = kf_work_take(work, c.voxels + 2 * c.step[2]);
    enum kf_kernel_status status = nodes && c.mark && c.next && flags ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        memset(nodes, 0, (size_t)c.step[2] * sizeof *nodes);
        memset(flags, 0, (size_t)c.step[2]);
        memset(flags + c.step[2] + c.voxels, 0, (size_t)c.step[2]);
        c.node = nodes + c.step[2];
        c.flag = flags + c.step[2];
        struct kf_loop loop = kf_loop_make(work, dim[2], 0, 0.2);
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t k = 0; k < dim[2]; k++)
            if (!kf_loop_stop(&loop))
                build_slice(&c, image->data, terminal, links, k);
        status = loop.stop ? KF_KERNEL_CANCELLED : solve(work, &c, image->data, links, &cost);
    }
    if (!status) {
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t v = 0; v < c.voxels; v++)
            inside[v] = (c.flag[v] & SOURCE) != 0;
        if (kf_work_step(work, 1))
            status = KF_KERNEL_CANCELLED;
    }
    if (flow)
        *flow = status ? 0 : cost;
    kf_work_give(work, nodes);
    kf_work_give(work, c.mark);
    kf_work_give(work, c.next);
    kf_work_give(work, flags);
    return status;
}
