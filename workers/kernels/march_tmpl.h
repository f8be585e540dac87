// The row kernel of fast marching, compiled once per instruction set: times of voxels anywhere in the grid, as many at once
// as there are lanes.
#include "workers/kernels/filter.h"
#include "workers/kernels/lanes.h"

#include <math.h>

typedef uint32_t march_numbers __attribute__((vector_size(4 * KF_LANES), aligned(4), may_alias));

struct march_axis {
    kf_lanes least, spacing, weight; // the earlier of the two neighbours' times
};

static inline kf_lanes march_choose(kf_lanes_int where, kf_lanes a, kf_lanes b)
{
    return (kf_lanes)((where & (kf_lanes_int)a) | (~where & (kf_lanes_int)b));
}

static inline kf_lanes march_length(kf_lanes a)
{
    return (kf_lanes)((kf_lanes_int)a & ~LANES_SIGN);
}

static inline void march_order(struct march_axis *a, struct march_axis *b)
{
    kf_lanes_int swap = b->least < a->least;
    struct march_axis low = {march_choose(swap, b->least, a->least), march_choose(swap, b->spacing, a->spacing),
                             march_choose(swap, b->weight, a->weight)};
    struct march_axis high = {march_choose(swap, a->least, b->least), march_choose(swap, a->spacing, b->spacing),
                              march_choose(swap, a->weight, b->weight)};
    *a = low;
    *b = high;
}

// The sums run over axes with growing times while they matter; lanes where an axis does not matter forget its result.
static inline kf_lanes march_solve(struct march_axis a, struct march_axis b, struct march_axis c, kf_lanes slowness)
{
    march_order(&a, &b);
    march_order(&b, &c);
    march_order(&a, &b);
    const kf_lanes zero = {0}, square = slowness * slowness;
    kf_lanes d = b.least - a.least, e = c.least - a.least, one = slowness * a.spacing;
    kf_lanes_int second = one > d;
    kf_lanes bd = b.weight * d, bdd = bd * d, sum = a.weight + b.weight;
    kf_lanes two = (bd + lanes_sqrt(lanes_max(sum * square - a.weight * bdd, zero))) / sum;
    kf_lanes_int third = second & (two > e);
    kf_lanes ce = c.weight * e, linear = bd + ce;
    sum += c.weight;
    kf_lanes root = linear * linear - sum * (bdd + ce * e - square);
    kf_lanes three = (linear + lanes_sqrt(lanes_max(root, zero))) / sum;
    return a.least + march_choose(third, three, march_choose(second, two, one));
}

// A neighbour that is not there is the voxel itself: no time comes earlier by it.
static inline struct march_axis march_axis_at(const struct kf_march_grid *g, const float *time, march_numbers voxel,
                                              march_numbers sides, int axis)
{
    march_numbers step = (march_numbers){0} + (uint32_t)g->step[axis];
    march_numbers before = voxel - (step & -(sides >> (uint32_t)(2 * axis) & 1u));
    march_numbers after = voxel + (step & -(sides >> (uint32_t)(2 * axis + 1) & 1u));
    return (struct march_axis){lanes_min(march_length(lanes_look_up(time, (kf_lanes_int)before)),
                                         march_length(lanes_look_up(time, (kf_lanes_int)after))),
                               lanes_all(g->spacing[axis]), lanes_all(g->weight[axis])};
}

static void march_times(const struct kf_march_grid *g, uint32_t *voxel, uint32_t *sides, int64_t n, float *out)
{
    // Lanes count from -2^31: in a large grid from its middle.
    const uint32_t origin = g->voxels > INT32_MAX ? (uint32_t)1 << 31 : 0;
    const float *time = g->time + origin, *speed = g->speed + origin;
    for (int64_t end = n; end % KF_ROW_SLACK; end++) {
        voxel[end] = voxel[n - 1];
        sides[end] = 0;
    }
    for (int64_t at = 0; at < n; at += KF_LANES) {
        march_numbers v = *(const march_numbers *)(const void *)(voxel + at) - origin;
        march_numbers s = *(const march_numbers *)(const void *)(sides + at);
        kf_lanes f = lanes_look_up(speed, (kf_lanes_int)v);
        struct march_axis a = march_axis_at(g, time, v, s, 0), b = march_axis_at(g, time, v, s, 1);
        struct march_axis c = march_axis_at(g, time, v, s, 2);
        kf_lanes t = march_solve(a, b, c, 1.0f / f);
        lanes_put(out + at, march_choose(f > 0.0f, t, lanes_all(INFINITY)));
    }
}
