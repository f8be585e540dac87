// Gantry tilt and uneven distances taken out: every slice of the new grid is a blend of at most two shifted slices of
// the old one.
#include "workers/dicom/assemble.h"
#include "workers/io/memory.h"

#include <math.h>
#include <string.h>

struct regrid {
    const struct kf_stack *stack;
    const struct kf_volume *from;
    struct kf_volume to;
    double low_row, low_column; // smallest shift of any slice, mm (≤ 0)
    double outside;
    int has_padding;
    double padding;
};

// Weights of the four neighbours at -1, 0, 1, 2 for a point `t` ∈ [0, 1) past 0.
static void cubic_weights(double t, float w[4])
{
    double t2 = t * t, t3 = t2 * t;
    w[0] = (float)(-0.5 * t3 + t2 - 0.5 * t);
    w[1] = (float)(1.5 * t3 - 2.5 * t2 + 1);
    w[2] = (float)(-1.5 * t3 + 2 * t2 + 0.5 * t);
    w[3] = (float)(0.5 * t3 - 0.5 * t2);
}

// Shifts a line of `n` values (stride `step`) so that to[i] = from(i - shift), in pixels; `m` values come out.
static void shift_line(const float *from, int64_t n, int64_t step, double shift, float outside, float *to, int64_t m,
                       int64_t to_step)
{
    double base = floor(-shift);
    int64_t first = (int64_t)base;
    float w[4];
    cubic_weights(-shift - base, w);
    for (int64_t i = 0; i < m; i++) {
        int64_t a = i + first; // the neighbour at 0
        double at = (double)i - shift;
        if (at < -0.5 || at > (double)n - 0.5) {
            to[i * to_step] = outside;
            continue;
        }
        float sum = 0;
        for (int64_t k = -1; k <= 2; k++) {
            int64_t c = a + k < 0 ? 0 : a + k >= n ? n - 1 : a + k;
            sum += w[k + 1] * from[c * step];
        }
        to[i * to_step] = sum;
    }
}

static float value_at(const struct regrid *g, int64_t index)
{
    double v = g->from->type == KF_VOXEL_INT16 ? ((const int16_t *)g->from->data)[index]
                                               : (double)((const float *)g->from->data)[index];
    return (float)(g->has_padding && v == g->padding ? g->outside : v);
}

// Slice k of the old grid, shifted into the plane of the new one. `room` holds two planes.
static void shifted_slice(const struct regrid *g, int64_t k, float *room, float *to)
{
    const struct kf_grid *in = &g->from->grid, *out = &g->to.grid;
    int64_t columns = in->dim[0], rows = in->dim[1], wide = out->dim[0], high = out->dim[1];
    double shift_i = 0, shift_j = 0;
    if (g->stack->sheared) {
        shift_i = (g->stack->shift_row_mm[k] - g->low_row) / in->spacing_mm[0];
        shift_j = (g->stack->shift_column_mm[k] - g->low_column) / in->spacing_mm[1];
    }
    float *plain = room, *across = room + columns * rows;
    for (int64_t i = 0; i < columns * rows; i++)
        plain[i] = value_at(g, k * columns * rows + i);
    for (int64_t j = 0; j < rows; j++)
        shift_line(plain + j * columns, columns, 1, shift_i, (float)g->outside, across + j * wide, wide, 1);
    for (int64_t i = 0; i < wide; i++)
        shift_line(across + i, rows, wide, shift_j, (float)g->outside, to + i, high, wide);
}

static void store(const struct regrid *g, int64_t k, const float *a, const float *b, double weight_b)
{
    int64_t plane = g->to.grid.dim[0] * g->to.grid.dim[1];
    for (int64_t i = 0; i < plane; i++) {
        double v = weight_b > 0 ? (1 - weight_b) * (double)a[i] + weight_b * (double)b[i] : (double)a[i];
        if (g->to.type == KF_VOXEL_INT16) {
            v = floor(v + 0.5);
            v = v < INT16_MIN ? INT16_MIN : v > INT16_MAX ? INT16_MAX : v;
            ((int16_t *)g->to.data)[k * plane + i] = (int16_t)v;
        } else {
            ((float *)g->to.data)[k * plane + i] = (float)v;
        }
    }
}

// Which old slice lies at or below the new plane, and how far the plane is on the way to the next.
static int64_t bracket(const struct kf_stack *stack, double along, double *weight)
{
    int64_t k = 0;
    while (k + 2 < stack->count && stack->along_mm[k + 1] <= along)
        k++;
    double gap = stack->along_mm[k + 1] - stack->along_mm[k];
    *weight = (along - stack->along_mm[k]) / gap;
    if (*weight < 1e-6)
        *weight = 0;
    if (*weight > 1 - 1e-6) {
        *weight = 0;
        k++;
    }
    return k;
}

static void make_slice(const struct regrid *g, int64_t k, float *room)
{
    int64_t plane = g->to.grid.dim[0] * g->to.grid.dim[1];
    float *a = room, *b = room + plane, *rest = room + 2 * plane;
    double weight = 0;
    int64_t from = k;
    if (g->stack->uneven)
        from = bracket(g->stack, (double)k * g->to.grid.spacing_mm[2], &weight);
    shifted_slice(g, from, rest, a);
    if (weight > 0)
        shifted_slice(g, from + 1, rest, b);
    store(g, k, a, b, weight);
}

static void outer_grid(struct regrid *g, struct kf_grid *to)
{
    const struct kf_stack *stack = g->stack;
    double high_row = 0, high_column = 0;
    *to = g->from->grid;
    if (stack->sheared)
        for (int k = 0; k < stack->count; k++) {
            g->low_row = fmin(g->low_row, stack->shift_row_mm[k]);
            g->low_column = fmin(g->low_column, stack->shift_column_mm[k]);
            high_row = fmax(high_row, stack->shift_row_mm[k]);
            high_column = fmax(high_column, stack->shift_column_mm[k]);
        }
    to->dim[0] += (int64_t)ceil((high_row - g->low_row) / to->spacing_mm[0] - 1e-3);
    to->dim[1] += (int64_t)ceil((high_column - g->low_column) / to->spacing_mm[1] - 1e-3);
    for (int r = 0; r < 3; r++)
        to->origin_lps[r] += to->direction[3 * r] * g->low_row + to->direction[3 * r + 1] * g->low_column;
}

static void measure(const struct kf_volume *volume, struct kf_pixel_facts *facts)
{
    int64_t n = kf_grid_voxels(&volume->grid);
    double low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double v = volume->type == KF_VOXEL_INT16 ? ((const int16_t *)volume->data)[i]
                                                  : (double)((const float *)volume->data)[i];
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    *facts = (struct kf_pixel_facts){.lowest = low, .highest = high};
}

enum kf_status kf_stack_regrid(const struct kf_stack *stack, double outside, int threads, struct kf_volume *volume,
                               struct kf_pixel_facts *facts, struct kf_error *err)
{
    struct regrid g = {.stack = stack,
                       .from = volume,
                       .outside = outside,
                       .has_padding = facts->has_padding,
                       .padding = facts->padding};
    struct kf_grid grid;
    outer_grid(&g, &grid);
    enum kf_status status = kf_volume_alloc(&g.to, &grid, volume->type, err);
    if (status != KF_OK)
        return status;
    int64_t plane = grid.dim[0] * grid.dim[1], old = volume->grid.dim[0] * volume->grid.dim[1];
    int64_t room_bytes = (int64_t)sizeof(float) * (2 * plane + old + grid.dim[0] * volume->grid.dim[1]);
    int no_memory = 0;
#pragma omp parallel num_threads(threads)
    {
        float *room = kf_memory_take(room_bytes);
        if (!room) {
#pragma omp atomic write
            no_memory = 1;
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t k = 0; k < grid.dim[2]; k++)
            if (room)
                make_slice(&g, k, room);
        kf_memory_release(room);
    }
    if (no_memory) {
        kf_volume_release(&g.to);
        return kf_error_set(err, KF_NOMEM, NULL, "no memory to resample a volume");
    }
    kf_volume_release(volume);
    *volume = g.to;
    measure(volume, facts);
    return KF_OK;
}
