#include "workers/kernels/kdtree.h"

#include <string.h>

#define LEAF  8
#define DEPTH 64

// ---- making ----

struct order {
    float *xyz;
    uint32_t *number;
    int axis;
    const struct kf_work *work;
    int64_t passed; // points, in all
};

// By coordinate, then by number, so that the tree does not depend on how it was made.
static int before(float a, uint32_t na, float b, uint32_t nb)
{
    return a < b || (a == b && na < nb);
}

static void swap_points(const struct order *o, int64_t i, int64_t j)
{
    uint32_t n = o->number[i];
    o->number[i] = o->number[j];
    o->number[j] = n;
    for (int a = 0; a < 3; a++) {
        float x = o->xyz[3 * i + a];
        o->xyz[3 * i + a] = o->xyz[3 * j + a];
        o->xyz[3 * j + a] = x;
    }
}

// Hoare's selection: afterwards everything in [low, k) comes before point k, and everything behind it after.
static enum kf_kernel_status select_point(struct order *o, int64_t low, int64_t high, int64_t k)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (high--; low < high && !status;) {
        int64_t middle = low + (high - low) / 2, i = low, j = high;
        float pivot = o->xyz[3 * middle + o->axis];
        uint32_t number = o->number[middle];
        while (i <= j && !(status = kf_work_ask(o->work, ++o->passed))) {
            while (before(o->xyz[3 * i + o->axis], o->number[i], pivot, number))
                i++;
            while (before(pivot, number, o->xyz[3 * j + o->axis], o->number[j]))
                j--;
            if (i <= j)
                swap_points(o, i++, j--);
        }
        if (k <= j)
            high = j;
        else if (k >= i)
            low = i;
        else
            break;
    }
    return status;
}

static int widest_axis(const float *xyz, int64_t low, int64_t high)
{
    float least[3], most[3];
    memcpy(least, xyz + 3 * low, sizeof least);
    memcpy(most, least, sizeof most);
    for (int64_t i = low + 1; i < high; i++)
        for (int a = 0; a < 3; a++) {
            float x = xyz[3 * i + a];
            least[a] = x < least[a] ? x : least[a];
            most[a] = x > most[a] ? x : most[a];
        }
    int axis = 0;
    for (int a = 1; a < 3; a++)
        axis = most[a] - least[a] > most[axis] - least[axis] ? a : axis;
    return axis;
}

static enum kf_kernel_status split_all(const struct kf_work *work, struct kf_kdtree *tree)
{
    struct order o = {.xyz = tree->xyz, .number = tree->number, .work = work};
    enum kf_kernel_status status = KF_KERNEL_OK;
    int64_t stack[DEPTH][2] = {{0, tree->count}};
    for (int top = 1; top > 0 && !status;) {
        int64_t low = stack[--top][0], high = stack[top][1];
        if (high - low <= LEAF)
            continue;
        int64_t middle = low + (high - low) / 2;
        o.axis = widest_axis(tree->xyz, low, high);
        status = select_point(&o, low, high, middle);
        tree->axis[middle] = (uint8_t)o.axis;
        stack[top][0] = low;
        stack[top++][1] = middle;
        stack[top][0] = middle + 1;
        stack[top++][1] = high;
    }
    return status;
}

enum kf_kernel_status kf_kdtree_make(const struct kf_work *work, const float *xyz, int64_t count, struct kf_kdtree *out)
{
    *out = (struct kf_kdtree){0};
    if (count > UINT32_MAX)
        return KF_KERNEL_TOO_LARGE;
    if (count < 1)
        return KF_KERNEL_INVALID;
    for (int64_t i = 0; i < 3 * count; i++) // as little as copying them
        if (!(xyz[i] > -1e18f && xyz[i] < 1e18f))
            return KF_KERNEL_INVALID;
    out->count = count;
    out->xyz = kf_work_take(work, 12 * count);
    out->number = kf_work_take(work, 4 * count);
    out->axis = kf_work_take(work, count);
    if (!out->xyz || !out->number || !out->axis) {
        kf_kdtree_release(work, out);
        return KF_KERNEL_NOMEM;
    }
    memcpy(out->xyz, xyz, (size_t)count * 12);
    for (int64_t i = 0; i < count; i++)
        out->number[i] = (uint32_t)i;
    memset(out->axis, 0, (size_t)count);
    enum kf_kernel_status status = split_all(work, out);
    if (status)
        kf_kdtree_release(work, out);
    return status;
}

void kf_kdtree_release(const struct kf_work *work, struct kf_kdtree *tree)
{
    kf_work_give(work, tree->axis);
    kf_work_give(work, tree->number);
    kf_work_give(work, tree->xyz);
    *tree = (struct kf_kdtree){0};
}

// ---- asking ----

struct nearest {
    float square;
    uint32_t number;
};

static inline void try_point(const struct kf_kdtree *tree, int64_t i, const float p[3], struct nearest *best)
{
    float x = tree->xyz[3 * i] - p[0], y = tree->xyz[3 * i + 1] - p[1], z = tree->xyz[3 * i + 2] - p[2];
    float square = x * x + y * y + z * z;
    if (square < best->square || (square == best->square && tree->number[i] < best->number))
        *best = (struct nearest){square, tree->number[i]};
}

uint32_t kf_kdtree_nearest(const struct kf_kdtree *tree, const float p[3], float *square)
{
    struct range {
        int64_t low, high;
        float bound; // no point of the range is nearer
    } stack[DEPTH] = {{0, tree->count, 0}};
    struct nearest best = {3.4e38f, UINT32_MAX};
    for (int top = 1; top > 0;) {
        struct range r = stack[--top];
        while (r.bound <= best.square) {
            if (r.high - r.low <= LEAF) {
                for (int64_t i = r.low; i < r.high; i++)
                    try_point(tree, i, p, &best);
                break;
            }
            int64_t middle = r.low + (r.high - r.low) / 2;
            int axis = tree->axis[middle];
            float away = p[axis] - tree->xyz[3 * middle + axis];
            float bound = away * away > r.bound ? away * away : r.bound;
            try_point(tree, middle, p, &best);
            stack[top++] = (struct range){away < 0 ? middle + 1 : r.low, away < 0 ? r.high : middle, bound};
            if (away < 0)
                r.high = middle;
            else
                r.low = middle + 1;
        }
    }
    if (square)
        *square = best.square;
    return best.number;
}

float kf_select_f32(float *values, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        float pivot = values[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (values[i] < pivot)
                i++;
            while (values[j] > pivot)
                j--;
            if (i <= j) {
                float value = values[i];
                values[i++] = values[j];
                values[j--] = value;
            }
        }
        if (k <= j)
            high = j;
        else if (k >= i)
            low = i;
        else
            break;
    }
    return values[k];
}
