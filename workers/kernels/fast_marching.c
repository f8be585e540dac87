// The sign of a time says that its voxel waits in the queue: one float is all the state that a voxel has.
#include "workers/kernels/fast_marching.h"
#include "workers/kernels/filter.h"
#include "workers/kernels/queue.h"

#include <math.h>

#define RING       1024
#define BATCH      128 // voxels of one key that are passed on at once; more would not stay in the nearest cache
#define STEP_EVERY 512 // batches between two questions to the caller
// A time is corrected only by more than this share of itself: rounding must not send a voxel round and round.
#define LEAST_GAIN 1e-6f

struct march {
    struct kf_march_grid grid;
    float *time;
    int64_t dim[3];
    float per_time, stop; // calendar keys per unit of time
    struct kf_calendar calendar;
    // The voxels beside a batch that may get a better time, which neighbours they have, and that time.
    uint32_t voxel[6 * BATCH + KF_ROW_SLACK], sides[6 * BATCH + KF_ROW_SLACK];
    float found[6 * BATCH + KF_ROW_SLACK];
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

static inline void put(struct march *m, int64_t v, float time)
{
    float old = m->time[v];
    int64_t key = key_of(m, time);
    int waits = signbit(old) && key_of(m, -old) == key;
    m->time[v] = -time;
    if (!waits)
        kf_calendar_push(&m->calendar, key, (uint32_t)v);
}

// The front is nowhere near itself in memory: asks for what the neighbours' neighbours will need.
static void fetch(const struct march *m, const uint32_t *batch, int64_t count)
{
    const int64_t *step = m->grid.step;
    const int64_t apart[] = {0, step[1], 2 * step[1], step[2], step[2] - step[1], step[2] + step[1], 2 * step[2]};
    for (int64_t n = 0; n < count; n++)
        for (int a = 0; a < 7; a++) {
            int64_t before = batch[n] - apart[a], after = batch[n] + apart[a];
            before = before > 0 ? before : 0;
            after = after < m->grid.voxels ? after : 0;
            __builtin_prefetch(m->time + before);
            __builtin_prefetch(m->time + after);
            if (a < 2 || a == 3) {
                __builtin_prefetch(m->grid.speed + before);
                __builtin_prefetch(m->grid.speed + after);
            }
        }
}

// Adds the neighbours of v, whose time is t, that may come earlier by it.
static inline int64_t add_neighbours(struct march *m, uint32_t v, float t, int64_t count)
{
    uint32_t row = v / (uint32_t)m->dim[0], at[3], all = 0;
    at[0] = v - row * (uint32_t)m->dim[0];
    at[2] = row / (uint32_t)m->dim[1];
    at[1] = row - at[2] * (uint32_t)m->dim[1];
    for (int a = 0; a < 3; a++)
        all |= (at[a] > 0 ? 1u << 2 * a : 0) | (at[a] + 1 < m->dim[a] ? 2u << 2 * a : 0);
    for (int a = 0; a < 3; a++) { // no branch on times: which voxels come is as good as chance
        uint32_t step = (uint32_t)m->grid.step[a], kept = all & ~(3u << 2 * a);
        if (at[a] > 0) {
            m->voxel[count] = v - step;
            m->sides[count] = kept | (at[a] > 1 ? 3u : 2u) << 2 * a;
            count += fabsf(m->time[v - step]) > t;
        }
        if (at[a] + 1 < m->dim[a]) {
            m->voxel[count] = v + step;
            m->sides[count] = kept | (at[a] + 2 < m->dim[a] ? 3u : 1u) << 2 * a;
            count += fabsf(m->time[v + step]) > t;
        }
    }
    return count;
}

// Settles the times of a batch and gives their neighbours the times that follow.
static void pass_on(struct march *m, const struct kf_filter_table *rows, const uint32_t *batch, int64_t count)
{
    float settled[BATCH];
    fetch(m, batch, count);
    for (int64_t n = 0; n < count; n++) {
        float t = m->time[batch[n]];
        settled[n] = signbit(t) ? -t : INFINITY; // one that was here before: nothing is later than that
        m->time[batch[n]] = fabsf(t);
    }
    int64_t beside = 0;
    for (int64_t n = 0; n < count; n++)
        if (settled[n] < INFINITY)
            beside = add_neighbours(m, batch[n], settled[n], beside);
    if (beside)
        rows->march_times(&m->grid, m->voxel, m->sides, beside, m->found);
    for (int64_t n = 0; n < beside; n++) {
        float t = m->found[n];
        if (t < fabsf(m->time[m->voxel[n]]) * (1 - LEAST_GAIN) && t <= m->stop)
            put(m, m->voxel[n], t);
    }
}

// The width of a calendar key: about the time that the front needs for a third of a voxel, from a sample of speeds.
static float keys_per_time(const struct march *m, int64_t voxels)
{
    float least = m->grid.spacing[0] < m->grid.spacing[1] ? m->grid.spacing[0] : m->grid.spacing[1];
    least = m->grid.spacing[2] < least ? m->grid.spacing[2] : least;
    double sum = 0;
    int64_t count = 0, stride = 1 + voxels / 50021;
    for (int64_t v = 0; v < voxels; v += stride)
        if (m->grid.speed[v] > 0 && m->grid.speed[v] < INFINITY) {
            sum += 1 / (double)m->grid.speed[v];
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
    m->grid = (struct kf_march_grid){.speed = speed->data, .time = time, .voxels = voxels};
    m->time = time;
    m->stop = stop;
    for (int a = 0; a < 3; step *= g->dim[a++]) {
        if (!(g->spacing_mm[a] > 0))
            return KF_KERNEL_INVALID;
        m->dim[a] = g->dim[a];
        m->grid.step[a] = step;
        m->grid.spacing[a] = (float)g->spacing_mm[a];
        m->grid.weight[a] = (float)(1 / (g->spacing_mm[a] * g->spacing_mm[a]));
    }
    struct kf_loop loop = kf_loop_make(work, g->dim[2], 0, 0);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < g->dim[2]; k++)
        for (int64_t v = k * m->grid.step[2], stopped = kf_loop_stop(&loop); v < (k + 1) * m->grid.step[2] && !stopped; v++)
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
    const struct kf_filter_table *rows = kf_filters();
    uint32_t batch[BATCH];
    double most = (double)kf_grid_voxels(&speed->grid) * 1.3, done = 0;
    int64_t taken;
    for (int64_t n = 1; !status && (taken = kf_calendar_take(&m.calendar, batch, BATCH)) > 0; n++) {
        pass_on(&m, rows, batch, taken);
        done += (double)taken;
        if (n % STEP_EVERY == 0 && kf_work_step(work, done < most ? done / most : 0.99))
            status = KF_KERNEL_CANCELLED;
    }
    if (!status && m.calendar.queue.failed)
        status = KF_KERNEL_NOMEM;
    kf_queue_release(&m.calendar.queue);
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    return status;
}
