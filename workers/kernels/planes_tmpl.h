// Row kernels of the gradient and of curvature diffusion, compiled once per instruction set.
#include "workers/kernels/filter.h"
#include "workers/kernels/lanes.h"

#include <string.h>

// Sixth order: (45·(f₁ - f₋₁) - 9·(f₂ - f₋₂) + (f₃ - f₋₃)) / 60.
static inline kf_lanes slope(kf_lanes a3, kf_lanes a2, kf_lanes a1, kf_lanes b1, kf_lanes b2, kf_lanes b3)
{
    return (45.0f * (b1 - a1) - 9.0f * (b2 - a2)) + (b3 - a3);
}

static inline kf_lanes slope_rows(const float *const *rows, int64_t i)
{
    return slope(lanes_at(rows[0] + i), lanes_at(rows[1] + i), lanes_at(rows[2] + i), lanes_at(rows[4] + i),
                 lanes_at(rows[5] + i), lanes_at(rows[6] + i));
}

static inline kf_lanes gradient_lanes(const float *c, const float *const *rows_j, const float *const *rows_k,
                                      const float *scale, int64_t i)
{
    const float *const rows_i[7] = {c - 3, c - 2, c - 1, c, c + 1, c + 2, c + 3};
    kf_lanes x = slope_rows(rows_i, i) * scale[0], y = slope_rows(rows_j, i) * scale[1];
    kf_lanes z = slope_rows(rows_k, i) * scale[2];
    return lanes_sqrt((x * x + y * y) + z * z);
}

static void gradient_row(const float *centre, const float *const *rows_j, const float *const *rows_k,
                         const float *scale, int64_t n, float *out)
{
    int64_t i = 0;
    for (; i + KF_LANES <= n; i += KF_LANES)
        lanes_put(out + i, gradient_lanes(centre, rows_j, rows_k, scale, i));
    if (i < n) {
        float tail[15][KF_LANES + 6] = {{0}};
        const float *rows[14];
        size_t rest = (size_t)(n - i) * sizeof *out;
        for (int t = 0; t < 7; t++) {
            memcpy(tail[t], rows_j[t] + i, rest);
            memcpy(tail[7 + t], rows_k[t] + i, rest);
            rows[t] = tail[t];
            rows[7 + t] = tail[7 + t];
        }
        memcpy(tail[14], centre + i - 3, rest + 6 * sizeof *out);
        float last[KF_LANES];
        lanes_put(last, gradient_lanes(tail[14] + 3, rows, rows + 7, scale, 0));
        memcpy(out + i, last, rest);
    }
}

static void gradient_sum(const float *const *rows, const float *scale, int64_t n, double *sums)
{
    const float *c = rows[0];
    float total[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l += KF_LANES) {
            kf_lanes x = (lanes_at(c + i + l + 1) - lanes_at(c + i + l - 1)) * scale[0];
            kf_lanes y = (lanes_at(rows[2] + i + l) - lanes_at(rows[1] + i + l)) * scale[1];
            kf_lanes z = (lanes_at(rows[4] + i + l) - lanes_at(rows[3] + i + l)) * scale[2];
            lanes_put(total + l, lanes_at(total + l) + ((x * x + y * y) + z * z));
        }
    for (; i < n; i++) {
        float x = (c[i + 1] - c[i - 1]) * scale[0], y = (rows[2][i] - rows[1][i]) * scale[1];
        float z = (rows[4][i] - rows[3][i]) * scale[2];
        total[i % 16] += (x * x + y * y) + z * z;
    }
    for (int l = 0; l < 16; l++)
        sums[l] += (double)total[l];
}

// 1 / √x for 1e-30 < x < 1e30, relative error below 1e-6: Newton's iteration from a linear guess of the logarithm (the
// constants of its first step are those that leave the least error), in arithmetic that is the same everywhere and
// pipelines, where a square root and a division would queue.
static inline kf_lanes lanes_rsqrt(kf_lanes x)
{
    kf_lanes y = (kf_lanes)(0x5f1ffff9 - ((kf_lanes_int)x >> 1));
    y = y * (1.681913948f - 0.703952253f * x * (y * y));
    return y * (1.5f - 0.5f * x * (y * y));
}

// 2^x for x ≤ 0, relative error below 1e-6; 0 is 1 exactly, below -120 as at -120. A Taylor series of e^(r·ln 2), |r| ≤
// 1/2.
static inline kf_lanes lanes_exp2(kf_lanes x)
{
    x = lanes_max(x, lanes_all(-120.0f));
    kf_lanes shifted = x + 12582912.0f; // the whole number ends in the low bits
    kf_lanes r = x - (shifted - 12582912.0f);
    kf_lanes p =
        ((((r * 1.33335581e-3f + 9.61812911e-3f) * r + 5.55041087e-2f) * r + 0.240226507f) * r + 0.693147181f) * r +
        1.0f;
    kf_lanes_int power = (kf_lanes_int)shifted << 23; // keeps the low bits: two's complement of the whole number
    return (kf_lanes)((kf_lanes_int)p + power);
}

// Neighbours on one tangential axis of the voxels behind and before a face.
struct face_side {
    const float *here_after, *here_before, *there_after, *there_before;
    float scale;
};

static inline kf_lanes tangent_square(const struct face_side *s, int64_t i)
{
    kf_lanes here = lanes_at(s->here_after + i) - lanes_at(s->here_before + i);
    kf_lanes there = lanes_at(s->there_after + i) - lanes_at(s->there_before + i);
    kf_lanes mean = (here + there) * s->scale;
    return mean * mean;
}

static inline void flux_lines(const float *here, const float *there, float scale, const struct face_side side[2],
                              float contrast, int64_t n, float *flux)
{
    for (int64_t i = 0; i < n; i += KF_LANES) {
        kf_lanes d = (lanes_at(here + i) - lanes_at(there + i)) * scale;
        kf_lanes square = (d * d + tangent_square(&side[0], i)) + tangent_square(&side[1], i);
        lanes_put(flux + i, d * lanes_rsqrt(square + 1e-10f) * lanes_exp2(square * contrast));
    }
}

static void flux_row(const struct kf_diffuse_row *row, int axis, int64_t n, float *flux)
{
    const float *c = row->at[1][1];
    // A central difference is half, a mean of two of them a quarter.
    float x = 0.25f * row->scale[0], y = 0.25f * row->scale[1], z = 0.25f * row->scale[2];
    if (axis == 0) {
        const float *const *k0 = row->at[0], *const *k1 = row->at[1], *const *k2 = row->at[2];
        struct face_side side[2] = {{k1[2], k1[0], k1[2] - 1, k1[0] - 1, y}, {k2[1], k0[1], k2[1] - 1, k0[1] - 1, z}};
        flux_lines(c, c - 1, row->scale[0], side, row->contrast, n, flux);
    } else if (axis == 1) {
        const float *p = row->at[1][0];
        struct face_side side[2] = {{c + 1, c - 1, p + 1, p - 1, x},
                                    {row->at[2][1], row->at[0][1], row->at[2][0], row->at[0][0], z}};
        flux_lines(c, p, row->scale[1], side, row->contrast, n, flux);
    } else {
        const float *p = row->at[0][1];
        struct face_side side[2] = {{c + 1, c - 1, p + 1, p - 1, x},
                                    {row->at[1][2], row->at[1][0], row->at[0][2], row->at[0][0], y}};
        flux_lines(c, p, row->scale[2], side, row->contrast, n, flux);
    }
}

// Squared one-sided differences against the direction of motion; flip turns both around.
static inline kf_lanes upwind_square(kf_lanes before, kf_lanes after, kf_lanes_int flip)
{
    kf_lanes zero = {0};
    kf_lanes a = lanes_min((kf_lanes)((kf_lanes_int)before ^ flip), zero);
    kf_lanes b = lanes_max((kf_lanes)((kf_lanes_int)after ^ flip), zero);
    return a * a + b * b;
}

static void diffuse_row(const struct kf_diffuse_row *row, const float *const flux[3][2], int64_t n, float *out)
{
    const float *c = row->at[1][1];
    const float *const beside[3][2] = {{c - 1, c + 1}, {row->at[1][0], row->at[1][2]}, {row->at[0][1], row->at[2][1]}};
    for (int64_t i = 0; i < n; i += KF_LANES) {
        kf_lanes value = lanes_at(c + i), square = {0};
        kf_lanes speed = lanes_at(flux[0][1] + i) - lanes_at(flux[0][0] + i);
        speed = speed + (lanes_at(flux[1][1] + i) - lanes_at(flux[1][0] + i));
        speed = speed + (lanes_at(flux[2][1] + i) - lanes_at(flux[2][0] + i));
        kf_lanes zero = {0};
        kf_lanes_int flip = ~(speed > zero) & LANES_SIGN;
        for (int a = 0; a < 3; a++) {
            kf_lanes before = (value - lanes_at(beside[a][0] + i)) * row->scale[a];
            kf_lanes after = (lanes_at(beside[a][1] + i) - value) * row->scale[a];
            square = square + upwind_square(before, after, flip);
        }
        value = value + row->time_step * (lanes_sqrt(square) * speed);
        if (i + KF_LANES <= n) {
            lanes_put(out + i, value);
        } else {
            float tail[KF_LANES];
            lanes_put(tail, value);
            memcpy(out + i, tail, (size_t)(n - i) * sizeof *out);
        }
    }
}
