// Inside of the kernel library: the table of the image filters' row kernels, one per instruction set (see cpu.h for how
// a level is chosen). The C reference fills every slot; all tables give the same bytes (tests/kernel/NAME.c).
#ifndef KERF_KERNELS_FILTER_H
#define KERF_KERNELS_FILTER_H

#include <stdint.h>

#define KF_MEDIAN_PAD       64 // int16 values: a row of n takes KF_MEDIAN_STRIDE(n)
#define KF_MEDIAN_STRIDE(n) (((n) + 31) / 32 * 32 + KF_MEDIAN_PAD)
#define KF_DISTANCE_TILE    64 // lines that one call of distance_lines treats
#define KF_DISTANCE_BLOCK   8
#define KF_PLANE_PAD        16 // floats before the first voxel of a padded row

// One row of a resampling: voxel i of the output lies at start + i·step (voxel indexes of the input).
struct kf_resample_row {
    const void *data;
    int64_t dim[3];
    double start[3], step[3];
};

// What a diffusion step of one row needs: value i of the row at (j + b - 1, k + c - 1) is at[c][b][i]. One value before
// and n rounded up to 16, and one, after it can be read.
struct kf_diffuse_row {
    const float *at[3][3];
    float scale[3]; // 1 / spacing
    float contrast; // factor of the squared gradient in the exponent of two, not positive
    float time_step;
};

// Places of an int16 image of two voxels or more an axis and fewer than 2^31 in all, in voxels; n rounded up to
// KF_ROW_SLACK of them can be read.
#define KF_ROW_SLACK 16
struct kf_places_row {
    const int16_t *voxels;
    int64_t dim[3];
    const float *at[3];
};

// A row of two images of levels, 256 to a level (register_deform_inside.h), and those before and after it along j and
// k. KF_ROW_SLACK more values than the row has can be read.
struct kf_match_row {
    const int16_t *fixed[5], *moving[5];   // the row, j - 1, j + 1, k - 1, k + 1
    const float *by_moving, *by_fixed;     // [fixed level][moving level], 64 × 64; NULL: not asked
    const float *moving_info, *fixed_info; // by level
    float per_mm;                          // of a difference of two voxels two apart
    float limit;                           // mm²: one over the most information of a voxel
};

// Grid of a front (fast_marching.c): a time per voxel, whose sign counts for nothing, and a speed.
struct kf_march_grid {
    const float *speed, *time;
    int64_t voxels, step[3];     // voxels fewer than 2^32
    float spacing[3], weight[3]; // mm, 1/mm²
};

struct kf_filter_table {
    // Per value: the three in rising order. low, middle and high hold n rounded up to 32 values.
    void (*sort3_i16)(const int16_t *a, const int16_t *b, const int16_t *c, int64_t n, int16_t *low, int16_t *middle,
                      int16_t *high);
    // Median of 27 from nine rows sorted[3·row + rank] (sort3_i16); ranks: 9·KF_MEDIAN_STRIDE(n) values of scratch.
    void (*median_i16)(const int16_t *const *sorted, int64_t n, int16_t *ranks, int16_t *out);
    // Least and greatest of n ≥ 1 values; *low and *high take part.
    void (*range_i16)(const int16_t *row, int64_t n, int16_t *low, int16_t *high);

    // Signed squared distance along a row of bits to the nearest voxel of the other kind, at most `limit`: negative
    // where the bit is set. step: voxel size.
    void (*distance_row)(const uint64_t *bits, int64_t n, float step, float limit, float *out);
    // The minimum over r of max(sign·line[r], 0) + square[|r - j|] for `width` ≤ KF_DISTANCE_TILE lines side by side,
    // in place: line i is at[i + j·stride], j < n. root: also takes the square root, at most `most`. scratch:
    // KF_DISTANCE_TILE times (n + n / 4 + 2) floats, 64-byte aligned.
    void (*distance_lines)(float *at, int64_t stride, int64_t width, int64_t n, const float *square, int root,
                           float most, float *scratch);

    // Voxels [first, end) of a row whose voxel 0 is *out, at least sixteen, all of whose neighbourhoods lie inside of
    // the input.
    void (*linear_i16)(const struct kf_resample_row *row, int64_t first, int64_t end, int16_t *out);
    void (*linear_f32)(const struct kf_resample_row *row, int64_t first, int64_t end, float *out);
    void (*cubic_i16)(const struct kf_resample_row *row, int64_t first, int64_t end, int16_t *out);
    void (*cubic_f32)(const struct kf_resample_row *row, int64_t first, int64_t end, float *out);

    // The nearest voxels, all inside of the input, any number; values move bit by bit.
    void (*nearest_8)(const struct kf_resample_row *row, int64_t first, int64_t end, uint8_t *out);
    void (*nearest_16)(const struct kf_resample_row *row, int64_t first, int64_t end, uint16_t *out);
    void (*nearest_32)(const struct kf_resample_row *row, int64_t first, int64_t end, uint32_t *out);

    // Length of the gradient of a row by differences of sixth order: rows_j[t] is the row at j + t - 3, rows_k[t] at
    // k + t - 3; `centre` the row itself with three valid values on both sides; scale[axis] is 1 / (60 · spacing).
    void (*gradient_row)(const float *centre, const float *const *rows_j, const float *const *rows_k,
                         const float *scale, int64_t n, float *out);
    // Adds the squared gradient by central differences, scale[axis] = 1 / (2 · spacing), to sixteen sums: voxel i to
    // sum i % 16. rows: the row with one valid value on both sides, then those at j - 1, j + 1, k - 1, k + 1.
    void (*gradient_sum)(const float *const *rows, const float *scale, int64_t n, double *sums);
    // Curvature diffusion (diffusion.c): flux through the face before each of n voxels along an axis.
    void (*flux_row)(const struct kf_diffuse_row *row, int axis, int64_t n, float *flux);
    // One explicit step of a row; flux[axis][0 and 1]: through the faces before and after.
    void (*diffuse_row)(const struct kf_diffuse_row *row, const float *const flux[3][2], int64_t n, float *out);

    // Linear interpolation of values that are not negative, rounded half up; -1 beyond the outermost voxels. `out`
    // holds n rounded up to KF_ROW_SLACK.
    void (*places_i16)(const struct kf_places_row *row, int64_t n, int16_t *out);
    // Adds to planes sum[c · stride + i], c = 0 … 8, what kf_match_model says of each voxel 0 < i < n - 1 of a row. A
    // plane holds n + KF_ROW_SLACK.
    void (*match_row)(const struct kf_match_row *row, int64_t n, int64_t stride, float *sum);

    // The time of each of n voxels by those of its neighbours: the solution T of Σ weight·max(T - least, 0)² =
    // 1/speed², INFINITY without a speed. Bit 2·axis of sides: there is a neighbour before it; bit 2·axis + 1: after
    // it. KF_ROW_SLACK: `out` holds n rounded up to that, `voxel` and `sides` are changed up to there.
    void (*march_times)(const struct kf_march_grid *grid, uint32_t *voxel, uint32_t *sides, int64_t n, float *out);
};

const struct kf_filter_table *kf_filters(void); // of kf_cpu_level()

extern const struct kf_filter_table kf_filters_none;
#if defined(KERF_KERNELS_X86)
extern const struct kf_filter_table kf_filters_avx2;
extern const struct kf_filter_table kf_filters_avx512;
#endif

#endif
