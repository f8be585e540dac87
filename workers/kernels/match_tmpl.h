// Rows of a deformable registration, compiled once per instruction set: where the moving image's values come from, and
// what a pair of rows says of a displacement.
#include "workers/kernels/filter.h"
#include "workers/kernels/lanes.h"

// 0 … dim - 2 and the way from there, for places within 0 … dim - 1.
static inline kf_lanes_int voxel_before(kf_lanes at, int32_t dim, kf_lanes *t)
{
    kf_lanes_int low = __builtin_convertvector(at, kf_lanes_int);
    low += low > dim - 2; // a true comparison is -1
    *t = at - __builtin_convertvector(low, kf_lanes);
    return low;
}

static inline kf_lanes lanes_pair(const int16_t *voxels, kf_lanes_int index, kf_lanes t)
{
    kf_lanes a, b;
    lanes_look_up_pair(voxels, index, &a, &b);
    return a + t * (b - a);
}

static void places_i16(const struct kf_places_row *row, int64_t n, int16_t *out)
{
    const int64_t line = row->dim[0], plane = line * row->dim[1];
    const int32_t step[3] = {1, (int32_t)line, (int32_t)plane};
    const int16_t *v = row->voxels;
    for (int64_t i = 0; i < n; i += KF_LANES) {
        kf_lanes_int inside = ~(kf_lanes_int){0}, index = {0};
        kf_lanes at[3], t[3];
        for (int a = 0; a < 3; a++) {
            at[a] = lanes_at(row->at[a] + i);
            inside &= (at[a] >= 0) & (at[a] <= (float)(row->dim[a] - 1));
        }
        for (int a = 0; a < 3; a++)
            index += step[a] * voxel_before(lanes_where(inside, at[a]), (int32_t)row->dim[a], &t[a]);
        const kf_lanes a = lanes_pair(v, index, t[0]), b = lanes_pair(v + line, index, t[0]);
        const kf_lanes c = lanes_pair(v + plane, index, t[0]), d = lanes_pair(v + plane + line, index, t[0]);
        const kf_lanes front = a + t[1] * (b - a), back = c + t[1] * (d - c);
        const kf_lanes value = front + t[2] * (back - front) + 0.5f;
        lanes_put_i16(out + i, __builtin_convertvector(value, kf_lanes_int) | ~inside);
    }
}

// Level's slopes at voxels i … along the axes. Returns where no neighbour is negative.
static inline kf_lanes_int slopes_at(const int16_t *const rows[5], int64_t i, float per_mm, kf_lanes g[3])
{
    const kf_lanes_int before[3] = {lanes_of_i16(rows[0] + i - 1), lanes_of_i16(rows[1] + i),
                                    lanes_of_i16(rows[3] + i)};
    const kf_lanes_int after[3] = {lanes_of_i16(rows[0] + i + 1), lanes_of_i16(rows[2] + i), lanes_of_i16(rows[4] + i)};
    for (int a = 0; a < 3; a++)
        g[a] = __builtin_convertvector(after[a] - before[a], kf_lanes) * per_mm;
    return (before[0] | before[1] | before[2] | after[0] | after[1] | after[2]) >= 0;
}

// Between the four entries from `index` on of a table of 64 columns; x: towards the next row, y: the next column.
static inline kf_lanes lanes_between(const float *table, kf_lanes_int index, kf_lanes x, kf_lanes y)
{
    const kf_lanes a = lanes_look_up(table, index), b = lanes_look_up(table + 1, index);
    const kf_lanes c = lanes_look_up(table + 64, index), d = lanes_look_up(table + 65, index);
    return (1 - x) * ((1 - y) * a + y * b) + x * ((1 - y) * c + y * d);
}

// pull: what the metric gains per level; info: its curvature.
static inline void add_pull(const kf_lanes g[3], kf_lanes pull, kf_lanes info, float limit, int64_t stride, float *sum)
{
    const kf_lanes keep = 1 / (1 + limit * info * (g[0] * g[0] + g[1] * g[1] + g[2] * g[2]));
    pull *= keep;
    info *= keep;
    const kf_lanes own[9] = {info * g[0] * g[0], info * g[1] * g[1], info * g[2] * g[2],
                             info * g[0] * g[1], info * g[0] * g[2], info * g[1] * g[2],
                             -pull * g[0],       -pull * g[1],       -pull * g[2]};
    for (int c = 0; c < 9; c++)
        lanes_put(sum + c * stride, lanes_at(sum + c * stride) + own[c]);
}

static void match_row(const struct kf_match_row *row, int64_t n, int64_t stride, float *sum)
{
    kf_lanes_int lane;
    for (int l = 0; l < KF_LANES; l++)
        lane[l] = l;
    for (int64_t i = 1; i + 1 < n; i += KF_LANES) {
        kf_lanes of_fixed[3], of_moving[3];
        kf_lanes_int f = lanes_of_i16(row->fixed[0] + i), m = lanes_of_i16(row->moving[0] + i);
        const kf_lanes_int counts = slopes_at(row->fixed, i, row->per_mm, of_fixed) &
                                    slopes_at(row->moving, i, row->per_mm, of_moving) & ((f | m) >= 0) &
                                    (lane < (int32_t)(n - 1 - i));
        if (!lanes_any_less(lanes_where(counts, lanes_all(-1)), lanes_all(0)))
            continue;
        f &= counts;
        m &= counts;
        const kf_lanes x = __builtin_convertvector(f & 255, kf_lanes) * (1.0f / 256);
        const kf_lanes y = __builtin_convertvector(m & 255, kf_lanes) * (1.0f / 256);
        f >>= 8;
        m >>= 8;
        if (row->by_moving) {
            const kf_lanes info =
                (1 - y) * lanes_look_up(row->moving_info, m) + y * lanes_look_up(row->moving_info + 1, m);
            const kf_lanes pull = lanes_between(row->by_moving, f * 64 + m, x, y);
            add_pull(of_moving, lanes_where(counts, pull), lanes_where(counts, info), row->limit, stride, sum + i);
        }
        // The fixed image moved one way is the moving one moved the other way.
        if (row->by_fixed) {
            const kf_lanes info =
                (1 - x) * lanes_look_up(row->fixed_info, f) + x * lanes_look_up(row->fixed_info + 1, f);
            const kf_lanes pull = -lanes_between(row->by_fixed, f * 64 + m, x, y);
            add_pull(of_fixed, lanes_where(counts, pull), lanes_where(counts, info), row->limit, stride, sum + i);
        }
    }
}
