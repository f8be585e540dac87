// The Gaussian against a direct sum, and the elementary functions against libm.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/memory.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/image.h"
#include "workers/kernels/math.h"

#include <stdint.h>

static uint64_t state = 31;

static double relative(double have, double want)
{
    return fabs(have - want) / fmax(fabs(want), 1e-300);
}

KF_TEST(elementary_functions_agree_with_libm)
{
    double worst_exp = 0, worst_log = 0, worst_sin = 0, worst_atan = 0, worst_pow = 0;
    for (int n = 0; n < 200000; n++) {
        double u = (double)(test_random(&state) >> 11) * 0x1p-53;
        worst_exp = test_worst(worst_exp, relative(kf_exp(1400 * u - 700), exp(1400 * u - 700)));
        double x = exp(1400 * u - 700);
        worst_log = test_worst(worst_log, fabs(kf_ln(x) - log(x)) / fmax(1e-3, fabs(log(x))));
        worst_sin = test_worst(worst_sin, fabs(kf_sin(2000 * u - 1000) - sin(2000 * u - 1000)));
        worst_sin = test_worst(worst_sin, fabs(kf_cos(2000 * u - 1000) - cos(2000 * u - 1000)));
        worst_atan = test_worst(worst_atan, fabs(kf_atan2(u - 0.5, cos(100 * u)) - atan2(u - 0.5, cos(100 * u))));
        worst_atan = test_worst(worst_atan, fabs(kf_acos(2 * u - 1) - acos(2 * u - 1)));
        worst_pow = test_worst(worst_pow, relative(kf_pow(u + 1e-3, 2.4), pow(u + 1e-3, 2.4)));
    }
    KF_CHECK(worst_exp < 5e-16);
    KF_CHECK(worst_log < 5e-16);
    KF_CHECK(worst_sin < 5e-16);
    KF_CHECK(worst_atan < 2e-15);
    KF_CHECK(worst_pow < 1e-14);
    KF_CHECK(kf_exp(-800) == 0 && isinf(kf_exp(800)) && isinf(kf_ln(0)) && isnan(kf_ln(-1)));
    KF_CHECK(kf_exp(0) == 1 && kf_ln(1) == 0 && kf_sin(0) == 0 && kf_cos(0) == 1 && isnan(kf_sin(1e9)));
}

static void fill(struct kf_volume *v)
{
    for (int64_t i = 0; i < kf_grid_voxels(&v->grid); i++) {
        if (v->type == KF_VOXEL_INT16)
            ((int16_t *)v->data)[i] = test_random_i16(&state);
        else if (v->type == KF_VOXEL_UINT8)
            ((uint8_t *)v->data)[i] = (uint8_t)test_random(&state);
        else
            ((float *)v->data)[i] = (float)test_random_i16(&state) * 0.1f;
    }
}

static double value_at(const struct kf_volume *v, const int64_t p[3])
{
    const int64_t *dim = v->grid.dim;
    int64_t q[3];
    for (int a = 0; a < 3; a++)
        q[a] = p[a] < 0 ? 0 : p[a] >= dim[a] ? dim[a] - 1 : p[a];
    int64_t at = q[0] + dim[0] * (q[1] + dim[1] * q[2]);
    return v->type == KF_VOXEL_INT16  ? ((int16_t *)v->data)[at]
           : v->type == KF_VOXEL_UINT8 ? ((uint8_t *)v->data)[at]
                                       : (double)((float *)v->data)[at];
}

// The whole kernel at one voxel, in doubles.
static double direct(const struct kf_volume *v, double sigma_mm, const int64_t p[3])
{
    double sum = 0, weight = 0;
    int r[3];
    for (int a = 0; a < 3; a++)
        r[a] = (int)(3.5 * sigma_mm / v->grid.spacing_mm[a] + 0.5);
    for (int z = -r[2]; z <= r[2]; z++)
        for (int y = -r[1]; y <= r[1]; y++)
            for (int x = -r[0]; x <= r[0]; x++) {
                double d = 0;
                const int step[3] = {x, y, z};
                for (int a = 0; a < 3; a++)
                    d += pow(step[a] * v->grid.spacing_mm[a] / sigma_mm, 2);
                const int64_t q[3] = {p[0] + x, p[1] + y, p[2] + z};
                sum += exp(-0.5 * d) * value_at(v, q);
                weight += exp(-0.5 * d);
            }
    return sum / weight;
}

static void check_gaussian(enum kf_voxel_type type, int64_t i, double sigma_mm)
{
    struct kf_grid grid = {
        .dim = {i, 11, 9}, .spacing_mm = {0.7, 1.1, 1.6}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct kf_volume v;
    struct kf_error err;
    KF_REQUIRE(!kf_volume_alloc(&v, &grid, type, &err));
    fill(&v);
    int64_t total = kf_grid_voxels(&grid);
    float *first = malloc((size_t)total * 4), *out = malloc((size_t)total * 4);
    KF_REQUIRE(first && out);
    enum kf_cpu was = kf_cpu_level();
    int differs = 0, runs = 0;
    for (int level = 0; level < KF_CPU_COUNT; level++)
        for (int threads = 1; threads <= 7 && !kf_cpu_use((enum kf_cpu)level); threads += 2, runs++) {
            struct kf_work work;
            kf_work_init(&work, threads);
            KF_CHECK(!kf_gaussian(&work, &v, sigma_mm, runs ? out : first));
            differs += runs && memcmp(first, out, (size_t)total * 4) != 0;
        }
    KF_CHECK(!kf_cpu_use(was));
    KF_CHECK_EQ(differs, 0);
    double worst = 0;
    for (int64_t n = 0; n < total; n += 7) {
        const int64_t p[3] = {n % i, n / i % 11, n / i / 11};
        worst = test_worst(worst, fabs((double)first[n] - direct(&v, sigma_mm, p)));
    }
    KF_CHECK(worst < (type == KF_VOXEL_UINT8 ? 1e-4 : 0.02)); // values up to 32767 in floats
    free(first);
    free(out);
    kf_volume_release(&v);
}

KF_TEST(gaussian_is_the_direct_sum)
{
    check_gaussian(KF_VOXEL_INT16, 37, 0.9);
    check_gaussian(KF_VOXEL_UINT8, 70, 1.4);
    check_gaussian(KF_VOXEL_FLOAT32, 1, 0.5);
    check_gaussian(KF_VOXEL_FLOAT32, 65, 2.0);
}

KF_TEST_MAIN(KF_RUN(elementary_functions_agree_with_libm); KF_RUN(gaussian_is_the_direct_sum);)
