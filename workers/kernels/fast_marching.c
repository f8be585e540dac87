// The sign of a time says that its voxel waits in the queue: one float is all the state that a voxel has.
#include "workers/kernels/fast_marching.h"
#include "workers/kernels/queue.h"

#include <math.h>

#define RING       1024
#define AHEAD      8
#define STEP_EVERY 0xffff // entries between two questions to the caller
// A time is corrected only by more than this share of itself: rounding must not send a voxel round and round.
#define LEAST_GAIN 1e-6f

struct march {
    const float *speed;
    float *time;
    int64_t dim[3], step[3];
    float spacing[3], weight[3]; // mm, 1/mm²
    float per_time, stop;        // calendar keys per unit of time
    struct kf_calendar calendar;
};

static inline int64_t key_of(const struct march *m, float time)
{
    float key = time * m->per_time;
    return key < 4e18f ? (int64_t)key : (int64_t)4e18f;
}

static int64_t waiting_key(const void *of, uint32_t value)
{
    const struct march *m = of;
    float t = m->time[value];
    return signbit(t) ? key_of(m, -t) : -1;
}

struct axis {
    float least, spacing, weight; // of the two neighbours' times
};

// a before b, without a branch: which comes first is as good as chance.
static inline void order(struct axis *a, struct axis *b)
{
    int swap = b->least < a->least;
    struct axis low = {swap ? b->least : a->least, swap ? b->spacing : a->spacing, swap ? b->weight : a->weight};
    struct axis high = {swap ? a->least : b->least, swap ? a->spacing : b->spacing, swap ? a->weight : b->weight};
    *a = low;
    *b = high;
}

// Solves Σ weight·max(T - least, 0)² = slowness² for T; the sums run over axes with growing times while they matter.
static inline float solve(struct axis a, struct axis b, struct axis c, float slowness)
{
    order(&a, &b);
    order(&b, &c);
    order(&a, &b);
    float u = slowness * a.spacing, d = b.least - a.least, e = c.least - a.least;
    if (!(u > d))
        return a.least + u;
    float sum = a.weight + b.weight;
    float root = sum * slowness * slowness - a.weight * b.weight * d * d;
    u = (b.weight * d + sqrtf(root > 0 ? root : 0)) / sum;
    if (!(u > e))
        return a.least + u;
    float linear = b.weight * d + c.weight * e;
    sum += c.weight;
    root = linear * linear - sum * (b.weight * d * d + c.weight * e * e - slowness * slowness);
    return a.least + (linear + sqrtf(root > 0 ? root : 0)) / sum;
}

static inline struct axis axis_at(const struct march *m, int a, int64_t v, int64_t p)
{
    float before = p > 0 ? fabsf(m->time[v - m->step[a]]) : INFINITY;
    float after = p + 1 < m->dim[a] ? fabsf(m->time[v + m->step[a]]) : INFINITY;
    return (struct axis){before < after ? before : after, m->spacing[a], m->weight[a]};
}

static inline void put(struct march *m, int64_t v, float time)
{
    float old = m->time[v];
    int64_t key = key_of(m, time);
    int waits = signbit(old) && key_of(m, -old) == key;
    m->time[v] = -time;
    if (!waits)
        kf_calendar_push(&m->calendar, key, (uint32_t)v);
}

// A better time for voxel v at (i, j, k), when there is one. `from` is the time of the neighbour that calls.
static inline void relax(struct march *m, int64_t v, int64_t i, int64_t j, int64_t k, float from)
{
    float old = fabsf(m->time[v]), speed = m->speed[v];
    if (old <= from || !(speed > 0))
        return;
    float t = solve(axis_at(m, 0, v, i), axis_at(m, 1, v, j), axis_at(m, 2, v, k), 1 / speed);
    if (t < old - LEAST_GAIN * old || (t < old && old == INFINITY))
        if (t <= m->stop)
            put(m, v, t);
}

// The front is nowhere near itself in memory: asks for what the entry after some others will need.
static inline void fetch_next(const struct march *m)
{
    uint32_t v;
    if (!kf_queue_peek(&m->calendar.queue, m->calendar.now - m->calendar.base, AHEAD, &v))
        return;
    int64_t voxels = m->step[2] * m->dim[2];
    for (int a = 1; a < 3; a++)
        for (int64_t side = -2; side <= 2; side++) {
            int64_t u = v + side * m->step[a];
            if (u < 0 || u >= voxels || (a == 2 && side == 0))
                continue;
            __builtin_prefetch(m->time + u);
            if (side > -2 && side < 2)
                __builtin_prefetch(m->speed + u);
        }
}

static void pass_on(struct march *m, int64_t v)
{
    float t = -m->time[v];
    m->time[v] = t;
    uint32_t row = (uint32_t)v / (uint32_t)m->dim[0];
    int64_t i = v - (int64_t)row * m->dim[0], k = row / (uint32_t)m->dim[1], j = row - k * m->dim[1];
    if (i > 0)
        relax(m, v - 1, i - 1, j, k, t);
    if (i + 1 < m->dim[0])
        relax(m, v + 1, i + 1, j, k, t);
    if (j > 0)
        relax(m, v - m->step[1], i, j - 1, k, t);
    if (j + 1 < m->dim[1])
        relax(m, v + m->step[1], i, j + 1, k, t);
    if (k > 0)
        relax(m, v - m->step[2], i, j, k - 1, t);
    if (k + 1 < m->dim[2])
        relax(m, v + m->step[2], i, j, k + 1, t);
}

// The width of a calendar key: about the time that the front needs for a third of a voxel, from a sample of speeds.
static float keys_per_time(const struct march *m, int64_t voxels)
{
    float least = m->spacing[0] < m->spacing[1] ? m->spacing[0] : m->spacing[1];
    least = m->spacing[2] < least ? m->spacing[2] : least;
    double sum = 0;
    int64_t count = 0, stride = 1 + voxels / 50021;
    for (int64_t v = 0; v < voxels; v += stride)
        if (m->speed[v] > 0 && m->speed[v] < INFINITY) {
            sum += 1 / (double)m->speed[v];
            count++;
        }
    double width = count && sum < 1e30 ? (double)least * sum / (double)count * 0.35 : 1;
    return width > 1e-30 ? (float)(1 / width) : 1e30f;
}

static enum kf_kernel_status prepare(const struct kf_work *work, struct march *m, const struct kf_volume *speed,
                                     const struct kf_front_seed *seeds, int64_t count, float stop, float *time)
{
    const struct kf_grid *g = &speed->grid;
    int64_t voxels = kf_grid_voxels(g), step = 1;
    if (voxels >= KF_QUEUE_NONE)
        return KF_KERNEL_TOO_LARGE;
    if (speed->type != KF_VOXEL_FLOAT32 || !(stop >= 0))
        return KF_KERNEL_INVALID;
    for (int64_t n = 0; n < count; n++)
        if (seeds[n].voxel < 0 || seeds[n].voxel >= voxels || !(seeds[n].time >= 0 && seeds[n].time < INFINITY))
            return KF_KERNEL_INVALID;
    *m = (struct march){.speed = speed->data, .time = time, .stop = stop};
    for (int a = 0; a < 3; step *= g->dim[a++]) {
        if (!(g->spacing_mm[a] > 0))
            return KF_KERNEL_INVALID;
        m->dim[a] = g->dim[a];
        m->step[a] = step;
        m->spacing[a] = (float)g->spacing_mm[a];
        m->weight[a] = (float)(1 / (g->spacing_mm[a] * g->spacing_mm[a]));
    }
    struct kf_loop loop = kf_loop_make(work, g->dim[2], 0, 0);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < g->dim[2]; k++)
        for (int64_t v = k * m->step[2], stopped = kf_loop_stop(&loop); v < (k + 1) * m->step[2] && !stopped; v++)
            time[v] = INFINITY;
    if (loop.stop)
        return KF_KERNEL_CANCELLED;
    m->per_time = keys_per_time(m, voxels);
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_fast_marching(const struct kf_work *work, const struct kf_volume *speed,
                                       const struct kf_front_seed *seeds, int64_t count, float stop, float *time)
{
    struct march m;
    enum kf_kernel_status status = prepare(work, &m, speed, seeds, count, stop, time);
    if (status)
        return status;
    if (kf_calendar_init(&m.calendar, work, RING, waiting_key, &m))
        status = KF_KERNEL_NOMEM;
    for (int64_t n = 0; n < count && !status; n++)
        if (seeds[n].time <= stop && seeds[n].time < fabsf(time[seeds[n].voxel]))
            put(&m, seeds[n].voxel, seeds[n].time);
    uint32_t v;
    double most = (double)kf_grid_voxels(&speed->grid) * 1.3;
    for (int64_t n = 1; !status && kf_calendar_pop(&m.calendar, &v); n++) {
        fetch_next(&m);
        if (signbit(time[v]))
            pass_on(&m, v);
        if ((n & STEP_EVERY) == 0 && kf_work_step(work, (double)n < most ? (double)n / most : 0.99))
            status = KF_KERNEL_CANCELLED;
    }
    if (!status && m.calendar.queue.failed)
        status = KF_KERNEL_NOMEM;
    kf_queue_release(&m.calendar.queue);
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    return status;
}
