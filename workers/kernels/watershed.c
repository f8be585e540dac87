// The labels say what is flooded, so that a voxel needs no state of its own. Voxels at the border of the volume or
// beside one that the mask excludes are marked in a set of bits; all others look at their neighbours without asking
// whether they have them.
#include "workers/kernels/queue.h"
#include "workers/kernels/watershed.h"

#include <math.h>

#define LEVELS     65536
#define AHEAD      10
#define STEP_EVERY 0x3ffff

struct basin {
    const struct kf_volume *relief;
    const uint8_t *mask;
    uint8_t *labels;
    uint64_t *special; // one bit per voxel: not all of its neighbours are there
    int64_t dim[3], step[3], voxels;
    float least, scale; // of a float relief
    struct kf_queue queue;
};

static inline uint32_t level_of(const struct basin *b, int64_t v)
{
    const struct kf_volume *relief = b->relief;
    switch (relief->type) {
    case KF_VOXEL_UINT8:
        return ((const uint8_t *)relief->data)[v];
    case KF_VOXEL_INT16:
        return (uint32_t)(((const int16_t *)relief->data)[v] + 32768);
    case KF_VOXEL_UINT16:
        return ((const uint16_t *)relief->data)[v];
    case KF_VOXEL_FLOAT32:
        break;
    }
    float at = (((const float *)relief->data)[v] - b->least) * b->scale;
    return at >= 0 && at < 65535 ? (uint32_t)at : at < 0 ? 0 : 65535;
}

// Least value and levels per unit of a float relief. Minima do not depend on the order in which they are taken.
static void measure(struct basin *b)
{
    const float *value = b->relief->data;
    float low = INFINITY, high = -INFINITY;
    if (b->relief->type != KF_VOXEL_FLOAT32)
        return;
    for (int64_t v = 0; v < b->voxels; v++) {
        low = value[v] < low ? value[v] : low;
        high = value[v] > high && value[v] < INFINITY ? value[v] : high;
    }
    b->least = low > -INFINITY ? low : -3e38f;
    b->scale = high > b->least && high - b->least < INFINITY ? 65535 / (high - b->least) : 0;
}

// The neighbour n of voxel v at p[], in the order of memory: 0 when it is not there.
static int neighbour_exists(const struct basin *b, int64_t v, const int64_t p[3], int n)
{
    int a = n < 3 ? 2 - n : n - 3;
    if (n < 3 ? p[a] == 0 : p[a] + 1 == b->dim[a])
        return 0;
    return !b->mask || b->mask[n < 3 ? v - b->step[a] : v + b->step[a]];
}

static void mark_special(const struct kf_work *work, struct basin *b)
{
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t word = 0; word < (b->voxels + 63) / 64; word++) {
        uint64_t bits = 0;
        for (int64_t v = word * 64; v < word * 64 + 64 && v < b->voxels; v++) {
            int64_t row = v / b->dim[0];
            const int64_t p[3] = {v - row * b->dim[0], row % b->dim[1], row / b->dim[1]};
            int all = 1;
            for (int n = 0; n < 6; n++)
                all &= neighbour_exists(b, v, p, n);
            bits |= (uint64_t)!all << (v & 63);
        }
        b->special[word] = bits;
    }
}

// Asks for the memory that passing on from v will need.
static inline void fetch(const struct basin *b, int64_t v)
{
    const char *relief = (const char *)b->relief->data;
    int64_t bytes = kf_voxel_bytes(b->relief->type);
    for (int n = -2; n <= 2; n++) {
        int64_t u = v + (n < 0 ? -b->step[-n] : n > 0 ? b->step[n] : 0);
        if (u < 0 || u >= b->voxels)
            continue;
        __builtin_prefetch(b->labels + u);
        __builtin_prefetch(relief + u * bytes);
    }
}

static inline void fetch_ahead(const struct basin *b, uint32_t level, uint32_t ahead)
{
    uint32_t v;
    if (kf_queue_peek(&b->queue, level, ahead, &v))
        fetch(b, v);
}

// Neighbours of v that are there and not flooded, a bit for each.
static inline unsigned open_neighbours(const struct basin *b, int64_t v, const int64_t near[6])
{
    unsigned open = 0;
    if (b->special[v >> 6] >> (v & 63) & 1) {
        int64_t row = v / b->dim[0];
        const int64_t p[3] = {v - row * b->dim[0], row % b->dim[1], row / b->dim[1]};
        for (int n = 0; n < 6; n++)
            open |= (unsigned)(neighbour_exists(b, v, p, n) && !b->labels[near[n]]) << n;
        return open;
    }
    for (int n = 0; n < 6; n++)
        open |= (unsigned)!b->labels[near[n]] << n;
    return open;
}

static inline void pass_on(struct basin *b, int64_t v, uint32_t level)
{
    const int64_t near[6] = {v - b->step[2], v - b->step[1], v - 1, v + 1, v + b->step[1], v + b->step[2]};
    uint8_t label = b->labels[v];
    for (unsigned open = open_neighbours(b, v, near); open; open &= open - 1) {
        int64_t u = near[__builtin_ctz(open)];
        uint32_t own = level_of(b, u);
        b->labels[u] = label;
        kf_queue_push(&b->queue, own > level ? own : level, (uint32_t)u);
        if (own <= level) // its turn may come before it is seen ahead
            fetch(b, u);
    }
}

static enum kf_kernel_status flood_all(const struct kf_work *work, struct basin *b)
{
    uint32_t v;
    int64_t count = 0;
    for (uint32_t level = 0; level < LEVELS; level++) {
        for (uint32_t n = 0; n < AHEAD; n++)
            fetch_ahead(b, level, n);
        while (kf_queue_pop(&b->queue, level, &v)) {
            fetch_ahead(b, level, AHEAD);
            pass_on(b, v, level);
            if ((++count & STEP_EVERY) == 0 && kf_work_step(work, (double)count / (double)b->voxels))
                return KF_KERNEL_CANCELLED;
        }
    }
    return b->queue.failed ? KF_KERNEL_NOMEM : KF_KERNEL_OK;
}

enum kf_kernel_status kf_watershed(const struct kf_work *work, const struct kf_volume *relief, const uint8_t *mask,
                                   uint8_t *labels)
{
    const int64_t *dim = relief->grid.dim;
    struct basin b = {.relief = relief,
                      .mask = mask,
                      .labels = labels,
                      .dim = {dim[0], dim[1], dim[2]},
                      .step = {1, dim[0], dim[0] * dim[1]}};
    b.voxels = kf_grid_voxels(&relief->grid);
    if (b.voxels >= KF_QUEUE_NONE)
        return KF_KERNEL_TOO_LARGE;
    if (relief->type < KF_VOXEL_UINT8 || relief->type > KF_VOXEL_FLOAT32)
        return KF_KERNEL_INVALID;
    enum kf_kernel_status status = KF_KERNEL_NOMEM;
    b.special = kf_work_take(work, (b.voxels + 63) / 64 * (int64_t)sizeof *b.special);
    if (!kf_queue_init(&b.queue, work, LEVELS) && b.special) {
        measure(&b);
        mark_special(work, &b);
        for (int64_t v = 0; v < b.voxels; v++)
            if (labels[v] && !(mask && !mask[v]))
                kf_queue_push(&b.queue, level_of(&b, v), (uint32_t)v);
        status = flood_all(work, &b);
    }
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    kf_queue_release(&b.queue);
    kf_work_give(work, b.special);
    return status;
}
