// Otsu's threshold against trying every value, and the local one on an uneven background.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/otsu.h"

static uint64_t state = 17;

struct request {
    struct kf_volume volume;
    double low, high;
};

static enum kf_kernel_status run(const struct kf_work *work, void *out, void *user)
{
    struct request *r = user;
    return kf_otsu(work, &r->volume, r->low, r->high, out);
}

static double variance_at(const double *v, int64_t n, double t)
{
    double count[2] = {0, 0}, sum[2] = {0, 0};
    for (int64_t i = 0; i < n; i++) {
        count[v[i] > t] += 1;
        sum[v[i] > t] += v[i];
    }
    if (count[0] == 0 || count[1] == 0)
        return 0;
    double apart = sum[0] / count[0] - sum[1] / count[1];
    return count[0] * count[1] * apart * apart / ((double)n * (double)n);
}

// Two humps of values, and a few outliers beyond the range that counts.
static double hump(int64_t i)
{
    double u = (double)(test_random(&state) % 1000) + (double)(test_random(&state) % 1000);
    return i % 97 == 0 ? 30000 : i % 3 ? -900 + 0.2 * u : 300 + 0.5 * u;
}

static void check(enum kf_voxel_type type)
{
    enum { A = 45, B = 11, C = 7, N = A * B * C };
    struct kf_error err;
    struct kf_grid grid = {.dim = {A, B, C}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct request r = {.low = -2000, .high = 5000};
    KF_REQUIRE(!kf_volume_alloc(&r.volume, &grid, type, &err));
    static double kept[N];
    int64_t n = 0;
    for (int64_t i = 0; i < N; i++) {
        double value = hump(i);
        if (type == KF_VOXEL_UINT8)
            ((uint8_t *)r.volume.data)[i] = (uint8_t)(value < 0 ? 20 : 180), value = value < 0 ? 20 : 180;
        else if (type == KF_VOXEL_INT16)
            ((int16_t *)r.volume.data)[i] = (int16_t)value, value = (int16_t)value;
        else
            ((float *)r.volume.data)[i] = i == 50 ? NAN : (float)value;
        if (value >= r.low && value <= r.high)
            kept[n++] = value;
    }
    double t = 0, best = 0;
    KF_CHECK_EQ(parity_failures(run, &r, sizeof t, &t), 0);
    for (double v = -1000; v < 1500; v += type == KF_VOXEL_FLOAT32 ? 0.25 : 1)
        best = fmax(best, variance_at(kept, n, v));
    KF_CHECK(best > 0 && variance_at(kept, n, t) > best * (type == KF_VOXEL_FLOAT32 ? 0.99999 : 1 - 1e-12));
    if (type == KF_VOXEL_UINT8)
        KF_CHECK_NEAR(t, 99.5, 0.6); // the middle of the gap
    r.low = r.high = 299;
    KF_CHECK_EQ(kf_otsu(&(struct kf_work){.threads = 1, .allocate = NULL}, &(struct kf_volume){.type = KF_VOXEL_UINT16},
                        0, 1, &t),
                KF_KERNEL_INVALID);
    struct kf_work work;
    kf_work_init(&work, 2);
    KF_CHECK_EQ(kf_otsu(&work, &r.volume, r.low, r.high, &t), KF_KERNEL_INVALID);
    kf_volume_release(&r.volume);
}

KF_TEST(otsu_is_the_best_of_all_cuts)
{
    check(KF_VOXEL_INT16);
    check(KF_VOXEL_UINT8);
    check(KF_VOXEL_FLOAT32);
}

// Rods of +300 on a background that rises by 1500: no single threshold finds them.
static int rod(int64_t i, int64_t j)
{
    return i % 16 > 9 && j % 16 > 9;
}

static enum kf_kernel_status run_local(const struct kf_work *work, void *out, void *user)
{
    struct request *r = user;
    const int64_t *dim = r->volume.grid.dim;
    struct kf_bits bits = {.dim = {dim[0], dim[1], dim[2]}, .words = (dim[0] + 63) / 64, .word = out};
    return kf_otsu_local(work, &r->volume, 36, r->low, r->high, 100, &bits);
}

static void check_local(enum kf_voxel_type type)
{
    enum { A = 150, B = 70, C = 40, N = A * B * C, WORDS = 3 * B * C };
    struct kf_error err;
    struct kf_grid grid = {.dim = {A, B, C}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct request r = {.low = -500, .high = 2500};
    KF_REQUIRE(!kf_volume_alloc(&r.volume, &grid, type, &err));
    for (int64_t n = 0; n < N; n++) {
        int64_t i = n % A, j = n / A % B;
        double value = 10.0 * (double)i + (rod(i, j) ? 300 : 0) + (double)(test_random(&state) % 60);
        if (type == KF_VOXEL_INT16)
            ((int16_t *)r.volume.data)[n] = (int16_t)value;
        else
            ((float *)r.volume.data)[n] = (float)value;
    }
    static uint64_t bits[WORDS];
    KF_CHECK_EQ(parity_failures(run_local, &r, sizeof bits, bits), 0);
    struct kf_work work;
    kf_work_init(&work, 2);
    double t = 0;
    KF_CHECK(!kf_otsu(&work, &r.volume, r.low, r.high, &t));
    int64_t both = 0, either = 0, global_both = 0, global_either = 0;
    for (int64_t n = 0; n < N; n++) {
        int64_t i = n % A, j = n / A % B;
        int have = (int)(bits[n / A * 3 + i / 64] >> (i % 64) & 1), want = rod(i, j);
        double value = type == KF_VOXEL_INT16 ? ((int16_t *)r.volume.data)[n] : (double)((float *)r.volume.data)[n];
        both += have && want;
        either += have + want;
        global_both += value > t && want;
        global_either += (value > t) + want;
    }
    printf("local Otsu: Dice %.3f, global %.3f\n", 2.0 * (double)both / (double)either,
           2.0 * (double)global_both / (double)global_either);
    KF_CHECK(2.0 * (double)both > 0.9 * (double)either);
    KF_CHECK(2.0 * (double)global_both < 0.6 * (double)global_either);
    kf_volume_release(&r.volume);
}

KF_TEST(local_otsu_follows_the_background)
{
    check_local(KF_VOXEL_INT16);
    check_local(KF_VOXEL_FLOAT32);
}

KF_TEST_MAIN(KF_RUN(otsu_is_the_best_of_all_cuts); KF_RUN(local_otsu_follows_the_background);)
