// Mutual information of two images' levels: the joint histogram, its slopes, and what they ask of a displacement
// (Gauss-Newton with the expected curvature, that is Fisher's information, in place of the observed one).
#include "workers/kernels/math.h"
#include "workers/kernels/register_deform_inside.h"

#include <string.h>

#define N     KF_LEVELS
#define UNIT  KF_LEVEL_UNIT
#define REACH 2
#define WIDTH 0.4 // standard deviation of the smoothing of the histogram, levels: more draws the field off
#define RARE  1.0 // counts that are added to a column
#define FAINT 1e-12

// Counts in units of 1 / UNIT², each sample shared by four neighbouring bins: whole numbers, in any order the same.
static void count_slab(const struct kf_volume *fixed, const struct kf_volume *moving, int64_t from, int64_t end,
                       uint64_t *bins)
{
    const int16_t *f = fixed->data, *m = moving->data;
    memset(bins, 0, (size_t)N * N * sizeof *bins);
    for (int64_t n = from; n < end; n++) {
        if (f[n] < 0 || m[n] < 0)
            continue;
        uint64_t *at = bins + f[n] / UNIT * N + m[n] / UNIT;
        const uint32_t x = (uint32_t)f[n] % UNIT, y = (uint32_t)m[n] % UNIT;
        at[0] += (UNIT - x) * (UNIT - y);
        at[1] += (UNIT - x) * y;
        at[N] += x * (UNIT - y);
        at[N + 1] += x * y;
    }
}

// Along the columns (stride 1) or the rows (stride N), mirrored at the ends.
static void smooth(double (*h)[N], int along_rows)
{
    double kernel[2 * REACH + 1], sum = 0, line[N];
    for (int k = -REACH; k <= REACH; k++)
        sum += kernel[k + REACH] = kf_exp(-k * k / (2 * WIDTH * WIDTH));
    for (int a = 0; a < N; a++) {
        for (int b = 0; b < N; b++) {
            double value = 0;
            for (int k = -REACH; k <= REACH; k++) {
                int c = b + k < 0 ? -1 - b - k : b + k >= N ? 2 * N - 1 - b - k : b + k;
                value += kernel[k + REACH] / sum * (along_rows ? h[c][a] : h[a][c]);
            }
            line[b] = value;
        }
        for (int b = 0; b < N; b++)
            *(along_rows ? &h[b][a] : &h[a][b]) = line[b];
    }
}

static float slope(const double *low, const double *high, int steps)
{
    return steps ? (float)((*high - *low) / steps) : 0;
}

static void find_slopes(const double (*h)[N], const double (*log_ratio)[N], const double *of_fixed,
                        const double *of_moving, struct kf_match *match)
{
    double fixed[N] = {0}, moving[N] = {0};
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++) {
            const int a0 = a > 0 ? a - 1 : a, a1 = a + 1 < N ? a + 1 : a, b0 = b > 0 ? b - 1 : b,
                      b1 = b + 1 < N ? b + 1 : b;
            const float s = slope(&log_ratio[a][b0], &log_ratio[a][b1], b1 - b0),
                        t = slope(&log_ratio[a0][b], &log_ratio[a1][b], a1 - a0);
            match->by_moving[a][b] = s;
            match->by_fixed[a][b] = t;
            moving[b] += h[a][b] * (double)(s * s);
            fixed[a] += h[a][b] * (double)(t * t);
        }
    for (int n = 0; n < N; n++) {
        match->moving_info[n] = (float)(moving[n] / (of_moving[n] + FAINT));
        match->fixed_info[n] = (float)(fixed[n] / (of_fixed[n] + FAINT));
    }
}

void kf_match_find(const struct kf_work *work, const struct kf_volume *fixed, const struct kf_volume *moving,
                   uint64_t *scratch, struct kf_match *match)
{
    const int64_t voxels = kf_grid_voxels(&fixed->grid);
    double h[N][N], log_ratio[N][N], of_fixed[N] = {0}, of_moving[N] = {0}, total = 0;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t block = 0; block < KF_MATCH_BLOCKS; block++)
        count_slab(fixed, moving, voxels * block / KF_MATCH_BLOCKS, voxels * (block + 1) / KF_MATCH_BLOCKS,
                   scratch + block * N * N);
    for (int n = 0; n < N * N; n++) {
        uint64_t sum = 0;
        for (int block = 0; block < KF_MATCH_BLOCKS; block++)
            sum += scratch[block * N * N + n];
        h[n / N][n % N] = (double)sum / (UNIT * UNIT);
        total += h[n / N][n % N];
    }
    *match = (struct kf_match){.voxels = (int64_t)(total + 0.5)};
    if (match->voxels == 0)
        return;
    smooth(h, 0);
    smooth(h, 1);
    for (int n = 0; n < N * N; n++) {
        double *p = &h[n / N][n % N];
        *p /= total;
        of_fixed[n / N] += *p;
        of_moving[n % N] += *p;
    }
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++) {
            double given = (h[a][b] + RARE / total * of_fixed[a]) / (of_moving[b] + RARE / total);
            log_ratio[a][b] = kf_ln((given + 1e-30) / (of_fixed[a] + 1e-30));
            match->mi += h[a][b] * log_ratio[a][b];
        }
    find_slopes((const double(*)[N])h, (const double(*)[N])log_ratio, of_fixed, of_moving, match);
}

// ---- the model of a block ----

struct place {
    const int16_t *fixed, *moving;
    int64_t step[3];
    float per_mm; // of a difference of two voxels two apart
};

// Level's slope along the axes; 0 where a neighbour does not count.
static int gradient(const struct place *p, const int16_t *v, float g[3])
{
    for (int a = 0; a < 3; a++) {
        const int before = v[-p->step[a]], after = v[p->step[a]];
        if (before < 0 || after < 0)
            return 0;
        g[a] = (float)(after - before) * p->per_mm;
    }
    return 1;
}

static float between(const float (*table)[N], int a, int b, float x, float y)
{
    return (1 - x) * ((1 - y) * table[a][b] + y * table[a][b + 1]) +
           x * ((1 - y) * table[a + 1][b] + y * table[a + 1][b + 1]);
}

// pull: what the metric gains per level; info: its curvature.
static void add(const float g[3], float pull, float info, float limit, float sum[9])
{
    const float keep = 1 / (1 + limit * info * (g[0] * g[0] + g[1] * g[1] + g[2] * g[2]));
    pull *= keep;
    info *= keep;
    sum[0] += info * g[0] * g[0];
    sum[1] += info * g[1] * g[1];
    sum[2] += info * g[2] * g[2];
    sum[3] += info * g[0] * g[1];
    sum[4] += info * g[0] * g[2];
    sum[5] += info * g[1] * g[2];
    for (int a = 0; a < 3; a++)
        sum[6 + a] -= pull * g[a];
}

static void add_voxel(const struct kf_match *match, const struct place *p, int64_t n, enum kf_match_slopes slopes,
                      float limit, float sum[9])
{
    const int16_t *f = p->fixed + n, *m = p->moving + n;
    float of_fixed[3], of_moving[3];
    if (*f < 0 || *m < 0 || !gradient(p, f, of_fixed) || !gradient(p, m, of_moving))
        return;
    const int a = *f / UNIT, b = *m / UNIT;
    const float x = (float)(*f % UNIT) / UNIT, y = (float)(*m % UNIT) / UNIT;
    if (slopes != KF_SLOPES_FIXED)
        add(of_moving, between(match->by_moving, a, b, x, y),
            (1 - y) * match->moving_info[b] + y * match->moving_info[b + 1], limit, sum);
    // The fixed image moved one way is the moving one moved the other way.
    if (slopes != KF_SLOPES_MOVING)
        add(of_fixed, -between(match->by_fixed, a, b, x, y),
            (1 - x) * match->fixed_info[a] + x * match->fixed_info[a + 1], limit, sum);
}

void kf_match_model(const struct kf_work *work, const struct kf_match *match, const struct kf_volume *fixed,
                    const struct kf_volume *moving, enum kf_match_slopes slopes, int size, double limit_mm,
                    float *model)
{
    const int64_t *dim = fixed->grid.dim, blocks[3] = {dim[0] / size, dim[1] / size, dim[2] / size};
    const int64_t count = blocks[0] * blocks[1] * blocks[2];
    const struct place p = {.fixed = fixed->data,
                            .moving = moving->data,
                            .step = {1, dim[0], dim[0] * dim[1]},
                            .per_mm = (float)(1 / (2 * UNIT * fixed->grid.spacing_mm[0]))};
    const float limit = (float)(limit_mm * limit_mm);
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 8)
    for (int64_t block = 0; block < count; block++) {
        const int64_t at[3] = {block % blocks[0] * size, block / blocks[0] % blocks[1] * size,
                               block / blocks[0] / blocks[1] * size};
        float sum[9] = {0};
        for (int64_t k = at[2]; k < at[2] + size; k++)
            for (int64_t j = at[1]; j < at[1] + size; j++)
                for (int64_t i = at[0]; i < at[0] + size; i++)
                    if (i > 0 && j > 0 && k > 0 && i + 1 < dim[0] && j + 1 < dim[1] && k + 1 < dim[2])
                        add_voxel(match, &p, i + p.step[1] * j + p.step[2] * k, slopes, limit, sum);
        for (int n = 0; n < 9; n++)
            model[n * count + block] = sum[n];
    }
}
