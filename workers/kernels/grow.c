// Cost and label share a word, so the lesser word is the better one and a voxel's state is the minimum over its
// neighbours of (their state + cost of the step): the one fixed point, however it is reached. The calendar only makes
// that quick. Seeds are the voxels of cost 0, so the state also remembers which seeds it was made from.
#include "workers/kernels/grow.h"
#include "workers/kernels/queue.h"

#define RING       131072 // more than the costliest step
#define KEY_SHIFT  8
#define AHEAD      8
#define STEP_EVERY 0x3ffff
#define COST_ONE   0x100u

struct grow {
    const int16_t *image;
    uint32_t *state;
    int64_t dim[3], voxels;
    int neighbours;
    int8_t away[26][3];
    int64_t step[26];
    struct kf_calendar calendar;
};

static int64_t key_now(const void *of, uint32_t value)
{
    const struct grow *g = of;
    uint32_t state = g->state[value];
    return state == KF_GROW_FAR ? -1 : (int64_t)(state >> KEY_SHIFT);
}

static void list_neighbours(struct grow *g, enum kf_neighbours kind)
{
    for (int n = 0; n < 27; n++) {
        const int d[3] = {n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1};
        int steps = (d[0] != 0) + (d[1] != 0) + (d[2] != 0);
        if (steps == 0 || (kind == KF_NEIGHBOURS_6 && steps > 1))
            continue;
        for (int a = 0; a < 3; a++)
            g->away[g->neighbours][a] = (int8_t)d[a];
        g->step[g->neighbours++] = d[0] + g->dim[0] * (d[1] + g->dim[1] * d[2]);
    }
}

// The neighbours of v that lie in the volume; at most 26.
static inline int neighbours_of(const struct grow *g, int64_t v, int64_t near[26])
{
    uint32_t row = (uint32_t)v / (uint32_t)g->dim[0];
    int64_t i = v - (int64_t)row * g->dim[0], k = row / (uint32_t)g->dim[1], j = row - k * g->dim[1];
    if (i > 0 && i + 1 < g->dim[0] && j > 0 && j + 1 < g->dim[1] && k > 0 && k + 1 < g->dim[2]) {
        for (int n = 0; n < g->neighbours; n++)
            near[n] = v + g->step[n];
        return g->neighbours;
    }
    int count = 0;
    for (int n = 0; n < g->neighbours; n++) {
        int64_t x = i + g->away[n][0], y = j + g->away[n][1], z = k + g->away[n][2];
        if (x >= 0 && x < g->dim[0] && y >= 0 && y < g->dim[1] && z >= 0 && z < g->dim[2])
            near[count++] = v + g->step[n];
    }
    return count;
}

static inline uint32_t step_cost(const struct grow *g, int64_t u, int64_t v)
{
    int d = g->image[u] - g->image[v];
    return (uint32_t)((d < 0 ? -d : d) + 1) * COST_ONE;
}

// state + cost, or KF_GROW_FAR when that is too much.
static inline uint32_t add_cost(uint32_t state, uint32_t cost)
{
    uint32_t sum = state + cost;
    return sum < state || sum >= (KF_GROW_FAR & ~0xffu) ? KF_GROW_FAR : sum;
}

static inline void offer(struct grow *g, int64_t v, uint32_t state)
{
    if (state >= g->state[v])
        return;
    g->state[v] = state;
    kf_calendar_push(&g->calendar, (int64_t)(state >> KEY_SHIFT), (uint32_t)v);
}

// Voxels of one cost lie anywhere: without this nearly all time is spent waiting for them.
static inline void fetch_next(const struct grow *g)
{
    uint32_t v;
    if (!kf_queue_peek(&g->calendar.queue, g->calendar.now - g->calendar.base, AHEAD, &v))
        return;
    for (int k = -1; k <= 1; k++)
        for (int j = -1; j <= 1; j++) {
            if (g->neighbours == 6 && j && k)
                continue;
            int64_t u = v + g->dim[0] * (j + g->dim[1] * k);
            if (u < 0 || u >= g->voxels)
                continue;
            __builtin_prefetch(g->state + u);
            __builtin_prefetch(g->image + u);
        }
}

static inline void pass_on(struct grow *g, int64_t v)
{
    int64_t near[26];
    uint32_t state = g->state[v], sum[26], better = 0;
    int count = neighbours_of(g, v, near);
    if (state >= KF_GROW_FAR - 2 * COST_ONE)
        return;
    // No branch while looking: which neighbours gain is as good as chance, and a wrong guess costs more than the sum.
    for (int n = 0; n < count; n++) {
        sum[n] = state + step_cost(g, v, near[n]);
        better |= (uint32_t)((sum[n] < g->state[near[n]]) & (sum[n] > state)) << n;
    }
    for (; better; better &= better - 1) {
        int n = __builtin_ctz(better);
        if (sum[n] < (KF_GROW_FAR & ~0xffu)) {
            g->state[near[n]] = sum[n];
            kf_calendar_push(&g->calendar, (int64_t)(sum[n] >> KEY_SHIFT), (uint32_t)near[n]);
        }
    }
}

// ---- seeds that went away ----

// Forgets v and everything that may owe its state to it. A state that has another reason too is found again.
static void forget_from(struct grow *g, struct kf_queue *lists, int64_t seed)
{
    enum { WAITING, FORGOTTEN };
    int64_t near[26];
    uint32_t v, state;
    kf_queue_push(lists, WAITING, (uint32_t)seed);
    kf_queue_push(lists, WAITING, g->state[seed]);
    g->state[seed] = KF_GROW_FAR;
    while (!lists->failed && kf_queue_pop(lists, WAITING, &v) && kf_queue_pop(lists, WAITING, &state)) {
        kf_queue_push(lists, FORGOTTEN, v);
        int count = neighbours_of(g, v, near);
        for (int n = 0; n < count; n++) {
            uint32_t have = g->state[near[n]];
            if (have == KF_GROW_FAR || have != add_cost(state, step_cost(g, v, near[n])))
                continue;
            kf_queue_push(lists, WAITING, (uint32_t)near[n]);
            kf_queue_push(lists, WAITING, have);
            g->state[near[n]] = KF_GROW_FAR;
        }
    }
}

// Each forgotten voxel takes what its neighbours still know.
static void remember(struct grow *g, struct kf_queue *lists)
{
    int64_t near[26];
    uint32_t v;
    while (kf_queue_pop(lists, 1, &v)) {
        uint32_t best = KF_GROW_FAR;
        int count = neighbours_of(g, v, near);
        for (int n = 0; n < count; n++) {
            uint32_t have = g->state[near[n]];
            uint32_t sum = have == KF_GROW_FAR ? have : add_cost(have, step_cost(g, v, near[n]));
            best = sum < best ? sum : best;
        }
        offer(g, v, best);
    }
}

static enum kf_kernel_status take_away(const struct kf_work *work, struct grow *g, const uint8_t *seeds)
{
    struct kf_queue lists;
    int lacking = kf_queue_init(&lists, work, 2);
    for (int64_t v = 0; v < g->voxels && !lacking; v++)
        if (g->state[v] < COST_ONE && seeds[v] != g->state[v]) {
            forget_from(g, &lists, v);
            lacking = lists.failed;
        }
    if (!lacking)
        remember(g, &lists);
    kf_queue_release(&lists);
    return lacking ? KF_KERNEL_NOMEM : KF_KERNEL_OK;
}

static enum kf_kernel_status run(const struct kf_work *work, struct grow *g, const uint8_t *seeds)
{
    enum kf_kernel_status status = take_away(work, g, seeds);
    if (status)
        return status;
    for (int64_t v = 0; v < g->voxels; v++)
        if (seeds[v])
            offer(g, v, seeds[v]);
    uint32_t v;
    for (int64_t n = 1; kf_calendar_pop(&g->calendar, &v); n++) {
        fetch_next(g);
        // An entry of an older, worse state: the better one has been passed on already.
        if ((int64_t)(g->state[v] >> KEY_SHIFT) == g->calendar.now)
            pass_on(g, v);
        if ((n & STEP_EVERY) == 0 &&
            kf_work_step(work, n < 2 * g->voxels ? (double)n / (double)(2 * g->voxels) : 0.99))
            return KF_KERNEL_CANCELLED;
    }
    return g->calendar.queue.failed ? KF_KERNEL_NOMEM : KF_KERNEL_OK;
}

enum kf_kernel_status kf_grow(const struct kf_work *work, const struct kf_volume *image, enum kf_neighbours neighbours,
                              const uint8_t *seeds, uint32_t *state, uint8_t *labels)
{
    const int64_t *dim = image->grid.dim;
    struct grow g = {.image = image->data, .state = state, .dim = {dim[0], dim[1], dim[2]}};
    g.voxels = kf_grid_voxels(&image->grid);
    if (image->type != KF_VOXEL_INT16 || (neighbours != KF_NEIGHBOURS_6 && neighbours != KF_NEIGHBOURS_26))
        return KF_KERNEL_INVALID;
    if (g.voxels >= KF_QUEUE_NONE)
        return KF_KERNEL_TOO_LARGE;
    list_neighbours(&g, neighbours);
    enum kf_kernel_status status = KF_KERNEL_NOMEM;
    if (!kf_calendar_init(&g.calendar, work, RING, key_now, &g))
        status = run(work, &g, seeds);
    kf_queue_release(&g.calendar.queue);
    if (!status && labels) {
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t v = 0; v < g.voxels; v++)
            labels[v] = state[v] == KF_GROW_FAR ? 0 : (uint8_t)state[v];
    }
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    return status;
}
