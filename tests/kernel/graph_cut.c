// The cut against every labelling of tiny grids and against shortest augmenting paths (Edmonds and Karp) on larger ones;
// the same bytes for any number of threads.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/memory.h"
#include "workers/kernels/graph_cut.h"

#include <stdint.h>

static uint64_t state = 41;
static struct kf_cut_links links;

struct problem {
    struct kf_volume image;
    int32_t *terminal;
    int64_t total;
};

static struct problem make_problem(const int64_t dim[3], int kind)
{
    struct problem p = {
        .image = {.grid = {.dim = {dim[0], dim[1], dim[2]}, .spacing_mm = {1, 1, 2}}, .type = KF_VOXEL_INT16}};
    p.total = dim[0] * dim[1] * dim[2];
    int16_t *value = malloc((size_t)p.total * 2);
    p.image.data = value;
    p.terminal = calloc((size_t)p.total, sizeof *p.terminal);
    if (!value || !p.terminal)
        exit(1);
    for (int64_t v = 0; v < p.total; v++) {
        uint64_t r = test_random(&state);
        value[v] = kind == 2 ? test_random_i16(&state) : (int16_t)(r % 200);
        if (kind == 0 || (r >> 20) % 6 == 0) // everywhere, or sparse and hard
            p.terminal[v] = kind == 0 ? (int32_t)((r >> 40) % 401) - 200 : r >> 60 & 1 ? KF_CUT_HARD : -KF_CUT_HARD;
    }
    return p;
}

static void drop_problem(struct problem *p)
{
    free(p->image.data);
    free(p->terminal);
}

static int64_t capacity(const struct problem *p, int64_t v, int64_t u, int axis)
{
    const int16_t *value = p->image.data;
    int64_t d = llabs((long long)value[v] - value[u]);
    return links.link[axis][d < KF_CUT_DIFFERENCES ? d : KF_CUT_DIFFERENCES - 1];
}

static int64_t cost_of(const struct problem *p, const uint8_t *inside)
{
    const int64_t *dim = p->image.grid.dim, step[3] = {1, dim[0], dim[0] * dim[1]};
    int64_t sum = 0;
    for (int64_t v = 0; v < p->total; v++) {
        const int64_t at[3] = {v % dim[0], v / dim[0] % dim[1], v / dim[0] / dim[1]};
        sum += inside[v] ? (p->terminal[v] < 0 ? -(int64_t)p->terminal[v] : 0) : p->terminal[v] > 0 ? p->terminal[v] : 0;
        for (int a = 0; a < 3; a++)
            if (at[a] + 1 < dim[a] && inside[v] != inside[v + step[a]])
                sum += capacity(p, v, v + step[a], a);
    }
    return sum;
}

KF_TEST(tiny_cuts_are_the_least_of_all)
{
    static const int64_t sizes[][3] = {{1, 1, 1}, {2, 1, 1}, {3, 2, 2}, {1, 4, 3}, {2, 2, 3}, {13, 1, 1}};
    const double spacing[3] = {1, 1, 2};
    KF_REQUIRE(!kf_cut_links_make(spacing, 60, 100, &links));
    for (int round = 0; round < 60; round++) {
        struct problem p = make_problem(sizes[round % 6], round % 3);
        int64_t least = INT64_MAX, fewest = 0, cost;
        uint8_t best[16] = {0}, inside[16], have[16];
        for (uint32_t word = 0; word < 1u << p.total; word++) {
            int64_t count = 0;
            for (int64_t v = 0; v < p.total; v++)
                count += inside[v] = word >> v & 1;
            int64_t sum = cost_of(&p, inside);
            if (sum < least || (sum == least && count < fewest)) {
                least = sum;
                fewest = count;
                memcpy(best, inside, (size_t)p.total);
            }
        }
        struct kf_work work;
        kf_work_init(&work, 1 + round % 2);
        KF_REQUIRE(!kf_graph_cut(&work, &p.image, p.terminal, &links, have, &cost));
        KF_CHECK_EQ(cost, least);
        KF_CHECK(memcmp(have, best, (size_t)p.total) == 0);
        drop_problem(&p);
    }
}

// ---- Edmonds and Karp: breadth first from the source, again and again ----

struct network {
    int64_t count, *room; // room[6·v + d], then from source and to sink
    int64_t *source, *sink;
    int *from;
    int64_t *queue;
};

static int64_t next_voxel(const int64_t dim[3], int64_t v, int d)
{
    const int64_t at[3] = {v % dim[0], v / dim[0] % dim[1], v / dim[0] / dim[1]}, step[3] = {1, dim[0], dim[0] * dim[1]};
    int a = d / 2;
    if (d & 1)
        return at[a] > 0 ? v - step[a] : -1;
    return at[a] + 1 < dim[a] ? v + step[a] : -1;
}

// Voxels that the source reaches; the first that can go on to the sink, or -1.
static int64_t reach(const int64_t dim[3], struct network *n)
{
    int64_t head = 0, tail = 0;
    for (int64_t v = 0; v < n->count; v++) {
        n->from[v] = n->source[v] > 0 ? 6 : -1;
        if (n->source[v] > 0)
            n->queue[tail++] = v;
    }
    while (head < tail) {
        int64_t v = n->queue[head++];
        if (n->sink[v] > 0)
            return v;
        for (int d = 0; d < 6; d++) {
            int64_t u = next_voxel(dim, v, d);
            if (u >= 0 && n->from[u] < 0 && n->room[6 * v + d] > 0) {
                n->from[u] = d;
                n->queue[tail++] = u;
            }
        }
    }
    return -1;
}

static int64_t augment(const int64_t dim[3], struct network *n, int64_t end)
{
    int64_t least = n->sink[end], v = end;
    for (; n->from[v] != 6; v = next_voxel(dim, v, n->from[v] ^ 1)) {
        int64_t room = n->room[6 * next_voxel(dim, v, n->from[v] ^ 1) + n->from[v]];
        least = room < least ? room : least;
    }
    least = n->source[v] < least ? n->source[v] : least;
    n->source[v] -= least;
    n->sink[end] -= least;
    for (v = end; n->from[v] != 6; v = next_voxel(dim, v, n->from[v] ^ 1)) {
        n->room[6 * v + (n->from[v] ^ 1)] += least;
        n->room[6 * next_voxel(dim, v, n->from[v] ^ 1) + n->from[v]] -= least;
    }
    return least;
}

static int64_t slow_cut(const struct problem *p, uint8_t *inside)
{
    const int64_t *dim = p->image.grid.dim;
    struct network n = {.count = p->total,
                        .room = calloc((size_t)p->total * 6, 8),
                        .source = calloc((size_t)p->total, 8),
                        .sink = calloc((size_t)p->total, 8),
                        .from = calloc((size_t)p->total, sizeof *n.from),
                        .queue = calloc((size_t)p->total, 8)};
    if (!n.room || !n.source || !n.sink || !n.from || !n.queue)
        exit(1);
    for (int64_t v = 0; v < p->total; v++) {
        n.source[v] = p->terminal[v] > 0 ? p->terminal[v] : 0;
        n.sink[v] = p->terminal[v] < 0 ? -(int64_t)p->terminal[v] : 0;
        for (int d = 0; d < 6; d++) {
            int64_t u = next_voxel(dim, v, d);
            n.room[6 * v + d] = u < 0 ? 0 : capacity(p, v, u, d / 2);
        }
    }
    int64_t flow = 0;
    for (int64_t end; (end = reach(dim, &n)) >= 0;)
        flow += augment(dim, &n, end);
    for (int64_t v = 0; v < p->total; v++)
        inside[v] = n.from[v] >= 0;
    free(n.room);
    free(n.source);
    free(n.sink);
    free(n.from);
    free(n.queue);
    return flow;
}

KF_TEST(cuts_are_those_of_shortest_paths)
{
    static const int64_t sizes[][3] = {{9, 8, 7}, {5, 4, 21}, {17, 3, 9}, {10, 10, 10}};
    const double spacing[3] = {1, 1, 2};
    KF_REQUIRE(!kf_cut_links_make(spacing, 40, 60, &links));
    for (int round = 0; round < 24; round++) {
        struct problem p = make_problem(sizes[round % 4], round % 3);
        uint8_t *want = malloc((size_t)p.total), *have = malloc((size_t)p.total + 16);
        KF_REQUIRE(want && have);
        memset(have + p.total, 0x5a, 16);
        int64_t flow = slow_cut(&p, want), cost;
        static const int counts[] = {1, 2, 3, 7};
        for (int t = 0; t < 4; t++) {
            struct kf_work work;
            kf_work_init(&work, counts[t]);
            KF_REQUIRE(!kf_graph_cut(&work, &p.image, p.terminal, &links, have, &cost));
            KF_CHECK_EQ(cost, flow);
            KF_CHECK(memcmp(want, have, (size_t)p.total) == 0);
        }
        KF_CHECK_EQ(cost_of(&p, have), flow);
        for (int n = 0; n < 16; n++)
            KF_CHECK_EQ(have[p.total + n], 0x5a);
        free(want);
        free(have);
        drop_problem(&p);
    }
}

KF_TEST(many_threads_give_the_same_cut)
{
    const int64_t dim[3] = {41, 37, 45};
    const double spacing[3] = {1, 1, 2};
    KF_REQUIRE(!kf_cut_links_make(spacing, 30, 200, &links));
    for (int kind = 0; kind < 3; kind++) {
        struct problem p = make_problem(dim, kind);
        uint8_t *first = malloc((size_t)p.total), *have = malloc((size_t)p.total);
        int64_t cost, want = 0;
        KF_REQUIRE(first && have);
        for (int threads = 1; threads <= 7; threads += threads < 3 ? 1 : 4) {
            struct kf_work work;
            kf_work_init(&work, threads);
            KF_REQUIRE(!kf_graph_cut(&work, &p.image, p.terminal, &links, threads == 1 ? first : have, &cost));
            want = threads == 1 ? cost : want;
            KF_CHECK(cost == want && (threads == 1 || memcmp(first, have, (size_t)p.total) == 0));
        }
        KF_CHECK_EQ(cost_of(&p, first), want);
        free(first);
        free(have);
        drop_problem(&p);
    }
}

static int always(void *user)
{
    (void)user;
    return 1;
}

KF_TEST(bad_arguments_are_answers)
{
    const int64_t dim[3] = {4, 4, 4};
    const double spacing[3] = {1, 1, 1};
    uint8_t inside[64];
    int64_t flow = 5;
    struct kf_work work;
    kf_work_init(&work, 1);
    KF_CHECK_EQ(kf_cut_links_make(spacing, 0, 1, &links), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_cut_links_make(spacing, 1, NAN, &links), KF_KERNEL_INVALID);
    KF_REQUIRE(!kf_cut_links_make(spacing, 10, 1e9, &links));
    KF_CHECK_EQ(links.link[0][0], KF_CUT_CAPACITY_MAX);
    KF_CHECK_EQ(links.link[2][4095], 1);
    struct problem p = make_problem(dim, 0);
    p.terminal[3] = INT32_MIN;
    KF_CHECK_EQ(kf_graph_cut(&work, &p.image, p.terminal, &links, inside, &flow), KF_KERNEL_INVALID);
    p.terminal[3] = 0;
    work.cancelled = always;
    KF_CHECK_EQ(kf_graph_cut(&work, &p.image, p.terminal, &links, inside, &flow), KF_KERNEL_CANCELLED);
    KF_CHECK_EQ(flow, 0);
    drop_problem(&p);
}

KF_TEST_MAIN(KF_RUN(tiny_cuts_are_the_least_of_all); KF_RUN(cuts_are_those_of_shortest_paths);
             KF_RUN(many_threads_give_the_same_cut); KF_RUN(bad_arguments_are_answers);)
