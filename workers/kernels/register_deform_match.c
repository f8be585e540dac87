// Mutual information of two images' levels: the joint histogram, its slopes, and what they ask of a displacement
// (Gauss-Newton with the expected curvature, that is Fisher's information, in place of the observed one).
#include "workers/kernels/filter.h"
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

struct model {
    const struct kf_volume *fixed, *moving;
    struct kf_match_row row; // what all rows have in common
    int size;
    int64_t count; // blocks
    float *out;
};

// Row (j, k) of both images and the four around it; `at` is its first voxel.
static void rows_around(const struct kf_volume *v, int64_t at, const int16_t *rows[5])
{
    const int64_t line = v->grid.dim[0], plane = line * v->grid.dim[1];
    const int64_t step[5] = {0, -line, line, -plane, plane};
    for (int n = 0; n < 5; n++)
        rows[n] = (const int16_t *)v->data + at + step[n];
}

// A row of blocks: voxels of the same place in their rows are summed first, then those side by side. sum: 9 planes.
static void model_row(const struct model *m, int64_t row_of_blocks, float *sum)
{
    const int64_t *dim = m->fixed->grid.dim, blocks = dim[0] / m->size, rows = dim[1] / m->size;
    const int64_t stride = dim[0] + KF_ROW_SLACK;
    const int64_t j0 = row_of_blocks % rows * m->size, k0 = row_of_blocks / rows * m->size;
    memset(sum, 0, (size_t)(9 * stride) * sizeof *sum);
    for (int64_t k = k0; k < k0 + m->size; k++)
        for (int64_t j = j0; j < j0 + m->size; j++) {
            if (j == 0 || k == 0 || j + 1 == dim[1] || k + 1 == dim[2])
                continue;
            struct kf_match_row row = m->row;
            rows_around(m->fixed, dim[0] * (j + dim[1] * k), row.fixed);
            rows_around(m->moving, dim[0] * (j + dim[1] * k), row.moving);
            kf_filters()->match_row(&row, dim[0], stride, sum);
        }
    for (int c = 0; c < 9; c++)
        for (int64_t b = 0; b < blocks; b++) {
            float all = 0;
            for (int64_t i = b * m->size; i < (b + 1) * m->size; i++)
                all += sum[c * stride + i];
            m->out[c * m->count + row_of_blocks * blocks + b] = all;
        }
}

void kf_match_model(const struct kf_work *work, const struct kf_match *match, const struct kf_volume *fixed,
                    const struct kf_volume *moving, enum kf_match_slopes slopes, int size, double limit_mm,
                    float *model)
{
    const int64_t *dim = fixed->grid.dim, rows = dim[1] / size * (dim[2] / size);
    const struct model m = {
        .fixed = fixed,
        .moving = moving,
        .row = {.by_moving = slopes == KF_SLOPES_FIXED ? NULL : match->by_moving[0],
                .by_fixed = slopes == KF_SLOPES_MOVING ? NULL : match->by_fixed[0],
                .moving_info = match->moving_info,
                .fixed_info = match->fixed_info,
                .per_mm = (float)(1 / (2 * UNIT * fixed->grid.spacing_mm[0])),
                .limit = (float)(limit_mm * limit_mm)},
        .size = size,
        .count = dim[0] / size * rows,
        .out = model,
    };
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 4)
    for (int64_t row = 0; row < rows; row++) {
        float sum[9 * (KF_MATCH_MOST + KF_ROW_SLACK)];
        model_row(&m, row, sum);
    }
}
