// The gradient of what is known: sums of sines that the Gaussian damps, and a slope.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/gradient.h"

struct request {
    struct kf_volume volume;
    double sigma_mm;
};

static enum kf_kernel_status run(const struct kf_work *work, void *out, void *user)
{
    struct request *r = user;
    return kf_gradient_magnitude(work, &r->volume, r->sigma_mm, out);
}

static void make(struct request *r, enum kf_voxel_type type, double (*value)(const double p_mm[3]))
{
    struct kf_error err;
    struct kf_grid grid = {
        .dim = {69, 45, 40}, .spacing_mm = {0.5, 0.8, 0.9}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    KF_REQUIRE(!kf_volume_alloc(&r->volume, &grid, type, &err));
    for (int64_t n = 0; n < kf_grid_voxels(&grid); n++) {
        const double p[3] = {0.5 * (double)(n % 69), 0.8 * (double)(n / 69 % 45), 0.9 * (double)(n / 69 / 45)};
        if (type == KF_VOXEL_INT16)
            ((int16_t *)r->volume.data)[n] = (int16_t)rint(value(p));
        else
            ((float *)r->volume.data)[n] = (float)value(p);
    }
}

static const double wave[3] = {0.9, 0.7, 0.5}; // rad per mm

static double waves(const double p[3])
{
    return 1000 * sin(wave[0] * p[0]) + 800 * sin(wave[1] * p[1]) + 600 * sin(wave[2] * p[2]);
}

static double slope(const double p[3])
{
    return 8 * p[0] - 20 * p[1] + 10 * p[2];
}

static void check(enum kf_voxel_type type, double sigma_mm, double (*value)(const double p_mm[3]), double tolerance)
{
    struct request r = {.sigma_mm = sigma_mm};
    make(&r, type, value);
    KF_REQUIRE(r.volume.data);
    int64_t n = kf_grid_voxels(&r.volume.grid);
    float *out = malloc((size_t)n * sizeof *out);
    KF_REQUIRE(out);
    KF_CHECK_EQ(parity_failures(run, &r, (size_t)n * sizeof *out, out), 0);
    double worst = 0;
    for (int64_t v = 0; v < n; v++) {
        const int64_t i = v % 69, j = v / 69 % 45, k = v / 69 / 45;
        if (i < 14 || i > 54 || j < 10 || j > 34 || k < 9 || k > 30)
            continue; // where the repeated border cannot reach
        const double p[3] = {0.5 * (double)i, 0.8 * (double)j, 0.9 * (double)k}, amount[3] = {1000, 800, 600};
        double square = 0;
        for (int a = 0; a < 3; a++) {
            double damped = exp(-0.5 * wave[a] * wave[a] * sigma_mm * sigma_mm);
            square += pow(amount[a] * wave[a] * damped * cos(wave[a] * p[a]), 2);
        }
        double want = value == slope ? sqrt(8 * 8 + 20 * 20 + 10 * 10) : sqrt(square);
        worst = test_worst(worst, fabs((double)out[v] - want));
    }
    printf("gradient: worst error %.4f per mm\n", worst);
    KF_CHECK(worst < tolerance);
    free(out);
    kf_volume_release(&r.volume);
}

KF_TEST(gradient_of_waves_and_slopes)
{
    check(KF_VOXEL_FLOAT32, 1.2, waves, 4); // of 1200: the cut of the Gaussian at 3.5 sigma
    check(KF_VOXEL_FLOAT32, 0, waves, 6);   // the differences alone
    check(KF_VOXEL_FLOAT32, 0.9, slope, 1e-3);
    check(KF_VOXEL_INT16, 0.9, slope, 0.5);
}

KF_TEST(gradient_of_odd_sizes)
{
    static const int64_t sizes[][3] = {{1, 1, 1}, {2, 3, 1}, {17, 1, 5}, {16, 33, 2}, {33, 17, 3}, {5, 2, 40}};
    uint64_t state = 3;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct request r = {.sigma_mm = 0.7};
        struct kf_error err;
        struct kf_grid grid = {.spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
        memcpy(grid.dim, sizes[s], sizeof grid.dim);
        KF_REQUIRE(!kf_volume_alloc(&r.volume, &grid, KF_VOXEL_INT16, &err));
        int64_t n = kf_grid_voxels(&grid);
        for (int64_t i = 0; i < n; i++)
            ((int16_t *)r.volume.data)[i] = test_random_i16(&state);
        float *out = malloc((size_t)n * sizeof *out);
        KF_REQUIRE(out);
        KF_CHECK_EQ(parity_failures(run, &r, (size_t)n * sizeof *out, out), 0);
        int finite = 1;
        for (int64_t i = 0; i < n; i++)
            finite &= out[i] >= 0 && out[i] < 1e6f;
        KF_CHECK(finite && (n > 1 || out[0] == 0));
        free(out);
        kf_volume_release(&r.volume);
    }
}

KF_TEST_MAIN(KF_RUN(gradient_of_waves_and_slopes); KF_RUN(gradient_of_odd_sizes);)
