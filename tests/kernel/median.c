// The median against sorting 27 values.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/median.h"

static uint64_t state = 5;

static int64_t within(int64_t at, int64_t n)
{
    return at < 0 ? 0 : at >= n ? n - 1 : at;
}

static int16_t by_sorting(const struct kf_volume *v, int64_t i, int64_t j, int64_t k)
{
    int16_t s[27];
    int count = 0;
    const int64_t *dim = v->grid.dim;
    for (int z = -1; z < 2; z++)
        for (int y = -1; y < 2; y++)
            for (int x = -1; x < 2; x++) {
                int64_t at = within(i + x, dim[0]) + dim[0] * (within(j + y, dim[1]) + dim[1] * within(k + z, dim[2]));
                int16_t value = ((const int16_t *)v->data)[at];
                int place = count++;
                for (; place > 0 && s[place - 1] > value; place--)
                    s[place] = s[place - 1];
                s[place] = value;
            }
    return s[13];
}

static enum kf_kernel_status run(const struct kf_work *work, void *out, void *user)
{
    return kf_median3(work, user, out);
}

static void check(int64_t a, int64_t b, int64_t c, int kind)
{
    struct kf_volume v;
    struct kf_error err;
    struct kf_grid grid = {.dim = {a, b, c}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    KF_REQUIRE(!kf_volume_alloc(&v, &grid, KF_VOXEL_INT16, &err));
    int64_t n = a * b * c;
    for (int64_t i = 0; i < n; i++) {
        uint64_t r = test_random(&state);
        // All numbers, only two (the zero-one principle: a network that sorts these sorts all), and many equal ones.
        ((int16_t *)v.data)[i] = kind == 0 ? test_random_i16(&state) : kind == 1 ? (int16_t)(r & 1) : (int16_t)(r % 5);
    }
    int16_t *out = malloc((size_t)n * sizeof *out);
    KF_REQUIRE(out);
    KF_CHECK_EQ(parity_failures(run, &v, (size_t)n * sizeof *out, out), 0);
    int64_t wrong = 0;
    for (int64_t i = 0; i < n; i++)
        wrong += out[i] != by_sorting(&v, i % a, i / a % b, i / a / b);
    KF_CHECK_EQ(wrong, 0);
    free(out);
    kf_volume_release(&v);
}

KF_TEST(median_is_the_middle_of_27)
{
    check(67, 13, 9, 0);
    check(64, 9, 40, 1);
    check(32, 33, 8, 2);
    check(1, 1, 1, 0);
    check(5, 1, 4, 0);
    check(2, 7, 1, 0);
    check(131, 5, 2, 1);
}

static int stop(void *user)
{
    return ++*(int *)user > 1;
}

KF_TEST(median_refuses_and_stops)
{
    struct kf_grid grid = {.dim = {4, 4, 200}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    static int16_t data[3200], out[3200];
    struct kf_volume v = {.grid = grid, .type = KF_VOXEL_UINT16, .data = data};
    struct kf_work work;
    kf_work_init(&work, 1);
    KF_CHECK_EQ(kf_median3(&work, &v, out), KF_KERNEL_INVALID);
    v.type = KF_VOXEL_INT16;
    int asked = 0;
    work.user = &asked;
    work.cancelled = stop;
    KF_CHECK_EQ(kf_median3(&work, &v, out), KF_KERNEL_CANCELLED);
    KF_CHECK_EQ(asked, 2);
}

KF_TEST_MAIN(KF_RUN(median_is_the_middle_of_27); KF_RUN(median_refuses_and_stops);)
