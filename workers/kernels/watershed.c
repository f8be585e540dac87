// One word per voxel holds its level (high 16 bits), whether it is done, and its label: each neighbour costs one read.
#include "workers/kernels/queue.h"
#include "workers/kernels/watershed.h"

#include <math.h>

#define LEVELS     65536
#define DONE       0x100u
#define AHEAD      8
#define STEP_EVERY 0x3ffff

struct basin {
    uint32_t *state;
    int64_t dim[3], step[3], voxels;
    struct kf_queue queue;
};

static inline uint32_t level_of(const struct kf_volume *relief, int64_t v, float least, float scale)
{
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
    float at = (((const float *)relief->data)[v] - least) * scale;
    return at >= 0 && at < 65535 ? (uint32_t)at : at < 0 ? 0 : 65535;
}

// Least value and levels per unit of a float relief. Minima do not depend on the order in which they are taken.
static void measure(const struct kf_volume *relief, int64_t voxels, float *least, float *scale)
{
    const float *value = relief->data;
    float low = INFINITY, high = -INFINITY;
    *least = *scale = 0;
    if (relief->type != KF_VOXEL_FLOAT32)
        return;
    for (int64_t v = 0; v < voxels; v++) {
        low = value[v] < low ? value[v] : low;
        high = value[v] > high && value[v] < INFINITY ? value[v] : high;
    }
    *least = low > -INFINITY ? low : -3e38f;
    *scale = high > *least && high - *least < INFINITY ? 65535 / (high - *least) : 0;
}

static void fill_states(const struct kf_work *work, struct basin *b, const struct kf_volume *relief,
                        const uint8_t *mask, const uint8_t *labels)
{
    float least, scale;
    measure(relief, b->voxels, &least, &scale);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t v = 0; v < b->voxels; v++) {
        uint32_t out = mask && !mask[v];
        b->state[v] = level_of(relief, v, least, scale) << 16 | (out || labels[v] ? DONE : 0) | labels[v];
    }
}

static inline void flood(struct basin *b, int64_t v, uint32_t level, uint32_t label)
{
    uint32_t state = b->state[v];
    if (state & DONE)
        return;
    b->state[v] = state | DONE | label;
    kf_queue_push(&b->queue, state >> 16 > level ? state >> 16 : level, (uint32_t)v);
}

static inline void fetch_next(const struct basin *b, uint32_t level)
{
    uint32_t v;
    if (!kf_queue_peek(&b->queue, level, AHEAD, &v))
        return;
    __builtin_prefetch(b->state + v);
    for (int a = 1; a < 3; a++) {
        __builtin_prefetch(b->state + (v >= b->step[a] ? v - b->step[a] : v));
        __builtin_prefetch(b->state + (v + b->step[a] < b->voxels ? v + b->step[a] : v));
    }
}

static inline void pass_on(struct basin *b, int64_t v, uint32_t level)
{
    uint32_t label = b->state[v] & 0xff, row = (uint32_t)v / (uint32_t)b->dim[0];
    int64_t i = v - (int64_t)row * b->dim[0], k = row / (uint32_t)b->dim[1], j = row - k * b->dim[1];
    if (k > 0)
        flood(b, v - b->step[2], level, label);
    if (j > 0)
        flood(b, v - b->step[1], level, label);
    if (i > 0)
        flood(b, v - 1, level, label);
    if (i + 1 < b->dim[0])
        flood(b, v + 1, level, label);
    if (j + 1 < b->dim[1])
        flood(b, v + b->step[1], level, label);
    if (k + 1 < b->dim[2])
        flood(b, v + b->step[2], level, label);
}

static enum kf_kernel_status flood_all(const struct kf_work *work, struct basin *b)
{
    uint32_t v;
    int64_t count = 0;
    for (uint32_t level = 0; level < LEVELS; level++)
        while (kf_queue_pop(&b->queue, level, &v)) {
            fetch_next(b, level);
            pass_on(b, v, level);
            if ((++count & STEP_EVERY) == 0 && kf_work_step(work, (double)count / (double)b->voxels))
                return KF_KERNEL_CANCELLED;
        }
    return b->queue.failed ? KF_KERNEL_NOMEM : KF_KERNEL_OK;
}

enum kf_kernel_status kf_watershed(const struct kf_work *work, const struct kf_volume *relief, const uint8_t *mask,
                                   uint8_t *labels)
{
    const int64_t *dim = relief->grid.dim;
    struct basin b = {.dim = {dim[0], dim[1], dim[2]}, .step = {1, dim[0], dim[0] * dim[1]}};
    b.voxels = kf_grid_voxels(&relief->grid);
    if (b.voxels >= KF_QUEUE_NONE)
        return KF_KERNEL_TOO_LARGE;
    if (relief->type < KF_VOXEL_UINT8 || relief->type > KF_VOXEL_FLOAT32)
        return KF_KERNEL_INVALID;
    enum kf_kernel_status status = KF_KERNEL_NOMEM;
    b.state = kf_work_take(work, b.voxels * (int64_t)sizeof *b.state);
    if (!kf_queue_init(&b.queue, work, LEVELS) && b.state) {
        fill_states(work, &b, relief, mask, labels);
        for (int64_t v = 0; v < b.voxels; v++)
            if (labels[v] && !(mask && !mask[v]))
                kf_queue_push(&b.queue, b.state[v] >> 16, (uint32_t)v);
        status = flood_all(work, &b);
    }
    if (!status) {
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t v = 0; v < b.voxels; v++)
            labels[v] = (uint8_t)b.state[v];
        if (kf_work_step(work, 1))
            status = KF_KERNEL_CANCELLED;
    }
    kf_queue_release(&b.queue);
    kf_work_give(work, b.state);
    return status;
}
