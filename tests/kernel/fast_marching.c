// Fast marching against sweeps in doubles until nothing changes, against the distance where the speed is one, and its
// edges: walls, stops, bad arguments, little memory.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/memory.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/fast_marching.h"

#include <stdint.h>
#include <string.h>

static uint64_t state = 5;

static struct kf_volume make_speed(const int64_t dim[3], const double spacing[3], float *data)
{
    return (struct kf_volume){.grid = {.dim = {dim[0], dim[1], dim[2]},
                                       .spacing_mm = {spacing[0], spacing[1], spacing[2]},
                                       .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}},
                              .type = KF_VOXEL_FLOAT32,
                              .data = data};
}

// The upwind equation by bisection: obviously right, and slow.
static double upwind(const double least[3], const double spacing[3], double slowness)
{
    double low = fmin(least[0], fmin(least[1], least[2]));
    if (isinf(low))
        return INFINITY;
    double high = low + 1e3 * slowness * 10, from = low;
    for (int n = 0; n < 200; n++) {
        double t = 0.5 * (from + high), sum = 0;
        for (int a = 0; a < 3; a++)
            sum += t > least[a] ? pow((t - least[a]) / spacing[a], 2) : 0;
        if (sum > slowness * slowness)
            high = t;
        else
            from = t;
    }
    return high;
}

static void sweep_until_still(const struct kf_volume *speed, const struct kf_front_seed *seeds, int count, double *time)
{
    const int64_t *dim = speed->grid.dim;
    int64_t total = kf_grid_voxels(&speed->grid);
    for (int64_t v = 0; v < total; v++)
        time[v] = INFINITY;
    for (int n = 0; n < count; n++)
        time[seeds[n].voxel] = fmin(time[seeds[n].voxel], (double)seeds[n].time);
    for (int changed = 1; changed;) {
        changed = 0;
        for (int64_t v = 0; v < total; v++) {
            float f = ((const float *)speed->data)[v];
            if (!(f > 0))
                continue;
            int64_t p[3] = {v % dim[0], v / dim[0] % dim[1], v / dim[0] / dim[1]}, step = 1;
            double least[3];
            for (int a = 0; a < 3; step *= dim[a++]) {
                least[a] = p[a] > 0 ? time[v - step] : INFINITY;
                least[a] = p[a] + 1 < dim[a] ? fmin(least[a], time[v + step]) : least[a];
            }
            double t = upwind(least, speed->grid.spacing_mm, 1 / (double)f);
            if (t < time[v] * (1 - 1e-12)) {
                time[v] = t;
                changed = 1;
            }
        }
    }
}

KF_TEST(the_front_solves_the_upwind_equation)
{
    static const int64_t sizes[][3] = {{1, 1, 1}, {9, 1, 1}, {1, 7, 5}, {13, 11, 9}, {17, 6, 12}};
    static const double spacings[][3] = {{1, 1, 1}, {0.5, 0.7, 1.6}};
    for (int round = 0; round < 20; round++) {
        const int64_t *dim = sizes[round % 5];
        int64_t total = dim[0] * dim[1] * dim[2];
        float *data = malloc((size_t)total * 4), *time = malloc((size_t)total * 4 + 64);
        double *want = malloc((size_t)total * 8);
        KF_REQUIRE(data && time && want);
        for (int64_t v = 0; v < total; v++) {
            uint64_t r = test_random(&state);
            double f = 0.02 + (double)(r >> 40) / (double)(1 << 24) * (round % 3 ? 3 : 0.1);
            data[v] = r % 7 == 0 ? (r & 64 ? 0 : -1.0f) : (float)f;
        }
        struct kf_volume speed = make_speed(dim, spacings[round % 2], data);
        struct kf_front_seed seeds[3];
        int count = 1 + round % 3;
        for (int n = 0; n < count; n++)
            seeds[n] = (struct kf_front_seed){(int64_t)(test_random(&state) % (uint64_t)total), (float)n * 0.3f};
        struct kf_work work;
        kf_work_init(&work, 1 + round % 3);
        memset(time + total, 0x5a, 64);
        KF_REQUIRE(!kf_fast_marching(&work, &speed, seeds, count, INFINITY, time));
        sweep_until_still(&speed, seeds, count, want);
        int wrong = 0;
        for (int64_t v = 0; v < total; v++)
            wrong += isinf(want[v]) ? time[v] != INFINITY : !(fabs(time[v] - want[v]) <= 2e-5 * (1e-3 + want[v]));
        KF_CHECK_EQ(wrong, 0);
        for (int n = 0; n < 64; n++)
            KF_CHECK_EQ(((unsigned char *)(time + total))[n], 0x5a);
        free(data);
        free(time);
        free(want);
    }
}

KF_TEST(at_speed_one_the_time_is_the_distance)
{
    const int64_t dim[3] = {61, 61, 61};
    const double spacing[3] = {0.5, 0.5, 0.5};
    int64_t total = 61 * 61 * 61;
    float *data = malloc((size_t)total * 4), *time = malloc((size_t)total * 4), *stopped = malloc((size_t)total * 4);
    KF_REQUIRE(data && time && stopped);
    for (int64_t v = 0; v < total; v++)
        data[v] = 2;
    struct kf_volume speed = make_speed(dim, spacing, data);
    const struct kf_front_seed seed = {30 + 61 * (30 + 61 * 30), 0};
    struct kf_work work;
    kf_work_init(&work, 1);
    KF_REQUIRE(!kf_fast_marching(&work, &speed, &seed, 1, INFINITY, time));
    KF_REQUIRE(!kf_fast_marching(&work, &speed, &seed, 1, 5, stopped));
    double worst = 0;
    int wrong = 0;
    for (int64_t v = 0; v < total; v++) {
        double x = (double)(v % 61 - 30), y = (double)(v / 61 % 61 - 30), z = (double)(v / 3721 - 30);
        double d = 0.25 * sqrt(x * x + y * y + z * z);
        worst = test_worst(worst, fabs(time[v] - d));
        wrong += stopped[v] != (time[v] <= 5 ? time[v] : INFINITY);
    }
    KF_CHECK(worst > 0 && worst < 0.75); // first order: up to one and a half voxels along the diagonal
    KF_CHECK_EQ(wrong, 0);
    free(data);
    free(time);
    free(stopped);
}

// Speeds over fifteen orders of magnitude: the calendar's window has to turn, and nothing may hang.
KF_TEST(slow_lands_are_crossed_too)
{
    const int64_t dim[3] = {40, 3, 2};
    const double spacing[3] = {1, 1, 1};
    float data[240], time[240];
    double want[240];
    for (int v = 0; v < 240; v++)
        data[v] = v % 40 < 10 ? 1e6f : v % 40 < 30 ? 1 : 1e-9f;
    struct kf_volume speed = make_speed(dim, spacing, data);
    const struct kf_front_seed seed = {0, 0};
    struct kf_work work;
    kf_work_init(&work, 1);
    KF_REQUIRE(!kf_fast_marching(&work, &speed, &seed, 1, INFINITY, time));
    sweep_until_still(&speed, &seed, 1, want);
    for (int v = 0; v < 240; v++)
        KF_CHECK_NEAR(time[v] / (want[v] + 1e-9), want[v] / (want[v] + 1e-9), 1e-4);
}

KF_TEST(every_instruction_set_gives_the_same_bytes)
{
    const int64_t dim[3] = {37, 29, 31};
    const double spacing[3] = {0.6, 0.6, 1.1};
    int64_t total = 37 * 29 * 31;
    float *data = malloc((size_t)total * 4), *time = malloc((size_t)total * 4), *first = malloc((size_t)total * 4);
    KF_REQUIRE(data && time && first);
    for (int64_t v = 0; v < total; v++) {
        uint64_t r = test_random(&state);
        data[v] = r % 11 == 0 ? 0 : r % 13 == 0 ? NAN : 0.01f + (float)(r >> 40) / (float)(1 << 24);
    }
    struct kf_volume speed = make_speed(dim, spacing, data);
    const struct kf_front_seed seeds[2] = {{18 + 37 * (14 + 29 * 15), 0}, {0, 3}};
    data[seeds[0].voxel] = data[0] = 1;
    enum kf_cpu was = kf_cpu_level();
    int runs = 0;
    for (int level = KF_CPU_NONE; level < KF_CPU_COUNT; level++) {
        if (kf_cpu_use((enum kf_cpu)level))
            continue;
        struct kf_work work;
        kf_work_init(&work, 1);
        KF_REQUIRE(!kf_fast_marching(&work, &speed, seeds, 2, 40, time));
        if (!runs++)
            memcpy(first, time, (size_t)total * 4);
        KF_CHECK(!memcmp(first, time, (size_t)total * 4));
    }
    KF_CHECK(!kf_cpu_use(was));
    KF_CHECK(runs >= 1);
    int reached = 0;
    for (int64_t v = 0; v < total; v++)
        reached += first[v] <= 40;
    KF_CHECK(reached > total / 2 && reached < total);
    free(data);
    free(time);
    free(first);
}

static int left;
static void *scarce(void *user, int64_t bytes)
{
    (void)user;
    return left-- > 0 ? kf_memory_take(bytes) : NULL;
}

static int always(void *user)
{
    (void)user;
    return 1;
}

KF_TEST(bad_arguments_and_little_memory_are_answers)
{
    const int64_t dim[3] = {80, 80, 80};
    const double spacing[3] = {1, 1, 1};
    int64_t total = 512000;
    float *data = malloc((size_t)total * 4), *time = malloc((size_t)total * 4);
    KF_REQUIRE(data && time);
    for (int64_t v = 0; v < total; v++)
        data[v] = 1;
    struct kf_volume speed = make_speed(dim, spacing, data);
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_front_seed seed = {total, 0};
    KF_CHECK_EQ(kf_fast_marching(&work, &speed, &seed, 1, INFINITY, time), KF_KERNEL_INVALID);
    seed = (struct kf_front_seed){-1, 0};
    KF_CHECK_EQ(kf_fast_marching(&work, &speed, &seed, 1, INFINITY, time), KF_KERNEL_INVALID);
    seed = (struct kf_front_seed){0, NAN};
    KF_CHECK_EQ(kf_fast_marching(&work, &speed, &seed, 1, INFINITY, time), KF_KERNEL_INVALID);
    seed = (struct kf_front_seed){5, 0};
    KF_CHECK_EQ(kf_fast_marching(&work, &speed, &seed, 1, NAN, time), KF_KERNEL_INVALID);
    work.allocate = scarce;
    int64_t before = kf_memory_peak();
    int refused = 0;
    for (int many = 0; many < 8; many++) {
        left = many;
        refused += kf_fast_marching(&work, &speed, &seed, 1, INFINITY, time) == KF_KERNEL_NOMEM;
    }
    KF_CHECK(refused >= 2 && refused < 8 && before >= 0);
    kf_work_init(&work, 1);
    work.cancelled = always;
    KF_CHECK_EQ(kf_fast_marching(&work, &speed, &seed, 1, INFINITY, time), KF_KERNEL_CANCELLED);
    free(data);
    free(time);
}

KF_TEST_MAIN(KF_RUN(the_front_solves_the_upwind_equation); KF_RUN(at_speed_one_the_time_is_the_distance);
             KF_RUN(slow_lands_are_crossed_too); KF_RUN(every_instruction_set_gives_the_same_bytes);
             KF_RUN(bad_arguments_and_little_memory_are_answers);)
