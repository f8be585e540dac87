// Two bytes per voxel say at which level it lies or, once it is flooded, by what. They lie in bricks of 4 × 4 × 4, two
// cache lines each, because a flood goes where the relief leads it, here and there in the whole volume, and memory is
// what it waits for: a voxel and its six neighbours lie in three lines, but in five rows. Around the volume lies a
// layer that counts as flooded, as does what the mask excludes: nothing in the flood asks where the volume ends.
#include "workers/kernels/queue.h"
#include "workers/kernels/watershed.h"

#include <math.h>

#define LEVELS     65536
#define AHEAD      32 // voxels between asking for memory and using it, a power of two
#define STEP_EVERY 0x1ffff

// What a cell holds: the level of an open voxel, or
#define FLOODED 65280u           // and the label; less is open
#define CLOSED  (FLOODED + 255u) // any label: neither flooded nor asked
#define STEEP   (FLOODED - 1u)   // open, at this level or above: the relief itself says at which

struct basin {
    const struct kf_volume *relief;
    const uint8_t *mask;
    uint8_t *labels;
    uint16_t *cell;                           // in bricks, of the volume with one voxel more all around
    int64_t dim[3], bricks[3], voxels, count; // count: of bricks
    int32_t near[64][6];                      // from a voxel to its neighbours, in the order of the volume's memory
    float least, scale;                       // of a float relief
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

// ---- bricks ----

// Of a voxel of the volume. The layer around it shifts all by one.
static inline uint32_t brick_place(const struct basin *b, int64_t i, int64_t j, int64_t k)
{
    int64_t brick = (i + 1) / 4 + b->bricks[0] * ((j + 1) / 4 + b->bricks[1] * ((k + 1) / 4));
    return (uint32_t)(brick * 64 + (i + 1) % 4 + (j + 1) % 4 * 4 + (k + 1) % 4 * 16);
}

// The level of an open voxel that is too high to stand in its cell.
static uint32_t steep_level(const struct basin *b, uint32_t place)
{
    int64_t brick = place >> 6, i = brick % b->bricks[0] * 4 + place % 4 - 1;
    int64_t j = brick / b->bricks[0] % b->bricks[1] * 4 + place / 4 % 4 - 1;
    int64_t k = brick / b->bricks[0] / b->bricks[1] * 4 + place / 16 % 4 - 1;
    return level_of(b, i + b->dim[0] * (j + b->dim[1] * k));
}

static void make_steps(struct basin *b)
{
    const int64_t over[3] = {64, 64 * b->bricks[0], 64 * b->bricks[0] * b->bricks[1]};
    for (int v = 0; v < 64; v++) {
        const int at[3] = {v % 4, v / 4 % 4, v / 16};
        for (int a = 0, width = 1; a < 3; a++, width *= 4) {
            b->near[v][2 - a] = (int32_t)(at[a] > 0 ? -width : 3 * width - over[a]);
            b->near[v][3 + a] = (int32_t)(at[a] < 3 ? width : over[a] - 3 * width);
        }
    }
}

// One layer of bricks: which voxels are closed, flooded already or open.
static void fill_layer(struct basin *b, int64_t layer)
{
    int64_t size = b->bricks[0] * b->bricks[1];
    memset(b->cell + layer * size * 64, 0xff, (size_t)size * 64 * sizeof *b->cell);
    _Static_assert(CLOSED == 0xffff, "all bits");
    for (int64_t k = layer * 4 - 1; k < layer * 4 + 3; k++)
        for (int64_t j = 0; j < b->dim[1] && k >= 0 && k < b->dim[2]; j++) {
            int64_t v = b->dim[0] * (j + b->dim[1] * k);
            for (int64_t i = 0; i < b->dim[0]; i++) {
                if (b->mask && !b->mask[v + i])
                    continue;
                uint32_t level = b->labels[v + i] ? FLOODED + b->labels[v + i] : level_of(b, v + i);
                b->cell[brick_place(b, i, j, k)] = (uint16_t)(b->labels[v + i] || level < STEEP ? level : STEEP);
            }
        }
}

static void take_slice(const struct basin *b, int64_t k)
{
    for (int64_t j = 0; j < b->dim[1]; j++) {
        int64_t v = b->dim[0] * (j + b->dim[1] * k);
        for (int64_t i = 0; i < b->dim[0]; i++)
            if (!b->mask || b->mask[v + i]) {
                uint32_t cell = b->cell[brick_place(b, i, j, k)];
                b->labels[v + i] = (uint8_t)(cell >= FLOODED ? cell - FLOODED : 0);
            }
    }
}

static enum kf_kernel_status fill_bricks(const struct kf_work *work, struct basin *b)
{
    struct kf_loop loop = kf_loop_make(work, b->bricks[2], 0, 0);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t layer = 0; layer < b->bricks[2]; layer++)
        if (!kf_loop_stop(&loop))
            fill_layer(b, layer);
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

// ---- flooding ----

// Least value and levels per unit of a float relief. Minima do not depend on the order in which they are taken.
static enum kf_kernel_status measure(const struct kf_work *work, struct basin *b)
{
    const float *value = b->relief->data;
    float low = INFINITY, high = -INFINITY;
    if (b->relief->type != KF_VOXEL_FLOAT32)
        return KF_KERNEL_OK;
    for (int64_t v = 0; v < b->voxels; v++) {
        low = value[v] < low ? value[v] : low;
        high = value[v] > high && value[v] < INFINITY ? value[v] : high;
        if ((v & 0xffffff) == 0xffffff && kf_work_step(work, 0))
            return KF_KERNEL_CANCELLED;
    }
    b->least = low > -INFINITY ? low : -3e38f;
    b->scale = high > b->least && high - b->least < INFINITY ? 65535 / (high - b->least) : 0;
    return KF_KERNEL_OK;
}

static enum kf_kernel_status push_markers(const struct kf_work *work, struct basin *b)
{
    for (int64_t k = 0, v = 0; k < b->dim[2]; k++) {
        for (int64_t j = 0; j < b->dim[1]; j++)
            for (int64_t i = 0; i < b->dim[0]; i++, v++)
                if (b->labels[v] && !(b->mask && !b->mask[v]))
                    kf_queue_push(&b->queue, level_of(b, v), brick_place(b, i, j, k));
        if (kf_work_step(work, 0))
            return KF_KERNEL_CANCELLED;
    }
    return KF_KERNEL_OK;
}

static inline void fetch(const struct basin *b, uint32_t v)
{
    const int32_t *near = b->near[v & 63];
    for (int n = 0; n < 6; n++)
        __builtin_prefetch(b->cell + (v + (uint32_t)near[n]));
}

static inline void pass_on(struct basin *b, uint32_t v, uint32_t level)
{
    const int32_t *near = b->near[v & 63];
    uint16_t own = b->cell[v];
    for (int n = 0; n < 6; n++) {
        uint32_t u = v + (uint32_t)near[n], cell = b->cell[u];
        if (cell >= FLOODED)
            continue;
        if (cell == STEEP)
            cell = steep_level(b, u);
        b->cell[u] = own;
        kf_queue_push(&b->queue, cell > level ? cell : level, u);
    }
}

// A few voxels are taken out of the queue before their turn, in their order, so that their memory is there by then.
static enum kf_kernel_status flood_all(const struct kf_work *work, struct basin *b)
{
    uint32_t ring[AHEAD], in = 0, out = 0;
    int64_t count = 0;
    for (uint32_t level = 0; level < LEVELS; level++)
        for (;;) {
            while (in - out < AHEAD && kf_queue_pop(&b->queue, level, &ring[in % AHEAD]))
                fetch(b, ring[in++ % AHEAD]);
            if (in == out)
                break;
            pass_on(b, ring[out++ % AHEAD], level);
            if ((++count & STEP_EVERY) == 0 && kf_work_step(work, (double)count / (double)b->voxels))
                return KF_KERNEL_CANCELLED;
        }
    return b->queue.failed ? KF_KERNEL_NOMEM : KF_KERNEL_OK;
}

static enum kf_kernel_status run(const struct kf_work *work, struct basin *b)
{
    b->cell = kf_work_take(work, b->count * 64 * (int64_t)sizeof *b->cell);
    if (kf_queue_init(&b->queue, work, LEVELS) || !b->cell)
        return KF_KERNEL_NOMEM;
    make_steps(b);
    enum kf_kernel_status status = measure(work, b);
    if (!status)
        status = fill_bricks(work, b);
    if (!status)
        status = push_markers(work, b);
    if (!status)
        status = flood_all(work, b);
    if (!status) {
        struct kf_loop loop = kf_loop_make(work, b->dim[2], 1, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t k = 0; k < b->dim[2]; k++)
            if (!kf_loop_stop(&loop))
                take_slice(b, k);
        status = loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
    }
    return status;
}

enum kf_kernel_status kf_watershed(const struct kf_work *work, const struct kf_volume *relief, const uint8_t *mask,
                                   uint8_t *labels)
{
    const int64_t *dim = relief->grid.dim;
    struct basin b = {.relief = relief,
                      .mask = mask,
                      .labels = labels,
                      .dim = {dim[0], dim[1], dim[2]},
                      .bricks = {(dim[0] + 5) / 4, (dim[1] + 5) / 4, (dim[2] + 5) / 4}};
    b.voxels = kf_grid_voxels(&relief->grid);
    b.count = b.bricks[0] * b.bricks[1] * b.bricks[2];
    if (b.bricks[0] * b.bricks[1] > INT32_MAX / 64 || b.count * 64 >= KF_QUEUE_NONE)
        return KF_KERNEL_TOO_LARGE;
    if (relief->type < KF_VOXEL_UINT8 || relief->type > KF_VOXEL_FLOAT32)
        return KF_KERNEL_INVALID;
    enum kf_kernel_status status = run(work, &b);
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    kf_queue_release(&b.queue);
    kf_work_give(work, b.cell);
    return status;
}
