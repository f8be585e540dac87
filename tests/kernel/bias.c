// The coil's gain on an image of known tissues: recovered, not invented where there is none, the same bytes everywhere.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/bias_inside.h"
#include "workers/kernels/math.h"

#include <math.h>

enum { NX = 97, NY = 88, NZ = 61, COUNT = NX * NY * NZ };

static float values[COUNT], truth[COUNT], found[COUNT];
static struct kf_volume volume = {
    .grid = {.dim = {NX, NY, NZ}, .spacing_mm = {2, 2, 3}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}},
    .type = KF_VOXEL_FLOAT32,
    .data = values};

static double noise(uint64_t *state) // about normal, sd 1
{
    double sum = 0;
    for (int n = 0; n < 12; n++)
        sum += (double)(test_random(state) >> 11) * 0x1p-53;
    return sum - 6;
}

// Three tissues in blobs within an ellipsoid, times exp(gain · field of the given kind), noise of 3 % of the brightest.
static void make(double gain, int kind, uint64_t seed)
{
    uint64_t state = seed;
    for (int n = 0; n < COUNT; n++) {
        double x = n % NX / (double)NX - 0.5, y = n / NX % NY / (double)NY - 0.5, z = n / NX / NY / (double)NZ - 0.5;
        double blob =
            kf_sin(21 * x + (double)seed) + kf_sin(25 * y + 1) + kf_sin(18 * z + 2) + 0.6 * kf_sin(40 * (x + y));
        double tissue = blob > 0.7 ? 900 : blob > -0.6 ? 560 : 260;
        double linear = 1.3 * x - 0.9 * y + 1.1 * z, round = 4 * (0.12 - x * x - y * y - z * z);
        truth[n] = (float)(gain * (kind == 0 ? linear : kind == 1 ? round : kf_sin(4 * x + 1) * kf_cos(5 * y) + z));
        int inside = x * x + y * y + z * z < 0.21;
        double v = inside ? tissue * kf_exp((double)truth[n]) + 27 * noise(&state) : 0;
        values[n] = (float)(v > 0 ? v : 0);
    }
}

// RMS difference of two log fields inside the object, their means aside.
static double rms(const float *a, const float *b)
{
    double sum = 0, square = 0, used = 0;
    for (int n = 0; n < COUNT; n++)
        if (values[n] > 0) {
            double d = (double)(a[n] - (b ? b[n] : 0));
            sum += d, square += d * d, used++;
        }
    return sqrt(square / used - sum / used * (sum / used));
}

static enum kf_kernel_status run(const struct kf_work *work, void *out, void *user)
{
    struct kf_bias_settings s;
    (void)user;
    kf_bias_defaults(&s);
    s.iterations = 12;
    return kf_bias_find(work, &volume, NULL, &s, out, NULL);
}

KF_TEST(a_known_gain_is_recovered)
{
    struct kf_work work;
    struct kf_bias_settings s;
    kf_work_init(&work, 2);
    kf_bias_defaults(&s);
    for (int kind = 0; kind < 3; kind++)
        for (uint64_t seed = 40; seed < 42; seed++) {
            make(0.4, kind, seed);
            int64_t used;
            KF_CHECK(kf_bias_find(&work, &volume, NULL, &s, found, &used) == KF_KERNEL_OK && used > 1000);
            double before = rms(truth, NULL), after = rms(found, truth);
            printf("gain %d: RMS of the log field %.4f before, %.4f after\n", kind, before, after);
            KF_CHECK(before > 0.08 && after < 0.015 && after < before / 6);
        }
}

KF_TEST(an_even_image_stays_even)
{
    struct kf_work work;
    struct kf_bias_settings s;
    kf_work_init(&work, 2);
    kf_bias_defaults(&s);
    make(0, 0, 43);
    KF_CHECK(kf_bias_find(&work, &volume, NULL, &s, found, NULL) == KF_KERNEL_OK);
    printf("no gain: RMS %.4f\n", rms(found, NULL));
    KF_CHECK(rms(found, NULL) < 0.002);
}

KF_TEST(the_field_is_the_same_at_any_thread_count_and_level)
{
    make(0.4, 2, 44);
    KF_CHECK(parity_failures(run, NULL, sizeof found, found) == 0);
}

// One fit is no least squares; fits of what is left, as kf_bias_find makes them, come as near as the net can.
KF_TEST(fits_of_the_rest_converge_to_a_smooth_field)
{
    enum { SMALL = 20 * 18 * 16 };
    static uint8_t use[SMALL];
    static float rest[SMALL], value[SMALL], sum[SMALL];
    const int64_t dim[3] = {20, 18, 16};
    struct kf_work work;
    struct kf_bias_net net;
    kf_work_init(&work, 1);
    for (int n = 0; n < SMALL; n++) {
        use[n] = n % 3 != 0;
        value[n] = (float)(3 + 0.1 * (n % 20) - 0.02 * (n / 20 % 18) * (n / 360));
    }
    KF_CHECK(kf_bias_net_make(&work, dim, 2, use, &net) == KF_KERNEL_OK);
    double first = 0, left = 0;
    for (int turn = 0; turn < 60; turn++) {
        for (int n = 0; n < SMALL; n++)
            rest[n] = value[n] - sum[n];
        kf_bias_net_fit(&work, &net, use, rest);
        kf_bias_net_add(&work, &net, sum);
        left = 0;
        for (int n = 0; n < SMALL; n++) // voxels that were not used, too
            left += (double)((value[n] - sum[n]) * (value[n] - sum[n])) / SMALL;
        first = turn ? first : left;
    }
    printf("net: RMS error %.4f after one fit, %.4f after 60\n", sqrt(first), sqrt(left));
    KF_CHECK(sqrt(left) < 0.1 && sqrt(left) < sqrt(first) / 8);
    kf_work_give(&work, net.block);
}

KF_TEST(bad_arguments_and_empty_images)
{
    struct kf_work work;
    struct kf_bias_settings s;
    kf_work_init(&work, 1);
    kf_bias_defaults(&s);
    memset(values, 0, sizeof values);
    found[0] = 5;
    int64_t used = 7;
    KF_CHECK(kf_bias_find(&work, &volume, NULL, &s, found, &used) == KF_KERNEL_OK && used == 0 && found[0] == 0);
    s.levels = 7;
    KF_CHECK(kf_bias_find(&work, &volume, NULL, &s, found, NULL) == KF_KERNEL_INVALID);
    kf_bias_defaults(&s);
    s.narrow = 1.1;
    KF_CHECK(kf_bias_find(&work, &volume, NULL, &s, found, NULL) == KF_KERNEL_INVALID);
    make(0.4, 0, 45);
    for (int n = 0; n < COUNT; n++)
        found[n] = truth[n];
    static float even[COUNT];
    KF_CHECK(kf_bias_apply(&work, &volume, found, even) == KF_KERNEL_OK);
    int centre = NX / 2 + NX * (NY / 2 + NY * (NZ / 2));
    KF_CHECK(fabs((double)even[centre] - (double)values[centre] / kf_exp((double)truth[centre])) < 0.01);
}

KF_TEST_MAIN(KF_RUN(a_known_gain_is_recovered); KF_RUN(an_even_image_stays_even);
             KF_RUN(the_field_is_the_same_at_any_thread_count_and_level);
             KF_RUN(fits_of_the_rest_converge_to_a_smooth_field); KF_RUN(bad_arguments_and_empty_images);)
