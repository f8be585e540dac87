// Meshes with so much in one place that what is asked of them would take without end: they are refused by name, in a
// bounded time (of the processor, ten times what it takes).
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "tests/kernel/shapes.h"
#include "workers/io/memory.h"
#include "workers/kernels/mesh_distance.h"
#include "workers/kernels/mesh_thickness.h"

#include <time.h>

#define MANY 300000

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

KF_TEST(too_many_in_one_place_to_measure_is_said)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_mesh heap, one;
    struct kf_mesh_distance d;
    const struct kf_mesh_distance_how how = {0, 0.01}, fine = {1e-3, 0.01};
    test_mesh_new(&work, 3, MANY, &heap);
    test_sphere(&work, 60, 10, (const double[3]){0, 0, 0}, &one);
    for (int64_t t = 0; t < heap.triangles; t++)
        memcpy(heap.index + 3 * t, (const uint32_t[3]){0, 1, 2}, 12);
    memcpy(heap.xyz, (const float[9]){1, 0, 0, 4, 1, 0, 0, 4, 2}, 36);
    double start = seconds();
    KF_CHECK_EQ(kf_mesh_distance(&work, &heap, &one, &how, &d), KF_KERNEL_TOO_LARGE);
    KF_CHECK(seconds() - start < 200);
    heap.triangles = MANY / 4;
    KF_CHECK_EQ(kf_mesh_distance(&work, &heap, &one, &fine, &d), KF_KERNEL_TOO_LARGE);
    struct kf_bvh tree;
    double low, high;
    kf_mesh_release(&work, &one);
    test_sphere(&work, 400, 10, (const double[3]){0, 0, 0}, &one); // a bound asks less often
    KF_REQUIRE(!kf_bvh_make(&work, &heap, &tree));
    start = seconds();
    KF_CHECK_EQ(kf_mesh_hausdorff(&work, &tree, &one, 1e-6, &low, &high), KF_KERNEL_TOO_LARGE);
    KF_CHECK(seconds() - start < 200);
    kf_bvh_release(&work, &tree);
    heap.xyz[4] = 2e18f;
    KF_CHECK_EQ(kf_mesh_distance(&work, &heap, &one, &how, &d), KF_KERNEL_INVALID);
    kf_mesh_release(&work, &heap);
    kf_mesh_release(&work, &one);
}

KF_TEST(too_many_in_one_place_for_a_thickness_is_said)
{
    struct kf_work work;
    const struct kf_mesh_thickness how = {10, 0.7};
    int refused = 0;
    for (int threads = 1; threads <= 2; threads++) {
        struct kf_mesh heap, ball;
        kf_work_init(&work, threads);
        test_mesh_new(&work, 3, MANY / 4, &heap);
        memcpy(heap.xyz, (const float[9]){1, 0, 0, 4, 1, 0, 0, 4, 2}, 36);
        for (int64_t t = 0; t < heap.triangles; t++)
            memcpy(heap.index + 3 * t, (const uint32_t[3]){0, 1, 2}, 12);
        float *thickness = malloc(3 * MANY * sizeof *thickness);
        KF_REQUIRE(thickness);
        KF_CHECK(!kf_mesh_thickness(&work, &heap, &how, thickness)); // few questions
        test_soup(&work, &heap);
        double start = seconds();
        refused += kf_mesh_thickness(&work, &heap, &how, thickness) == KF_KERNEL_TOO_LARGE;
        KF_CHECK(seconds() - start < 200);
        kf_mesh_release(&work, &heap);
        for (int rows = 50; rows <= 150; rows += 100) { // all vertices ask from the middle
            test_sphere(&work, rows, 10, (const double[3]){0, 0, 0}, &ball);
            const struct kf_mesh_thickness whole = {40, 0.7};
            enum kf_kernel_status status = kf_mesh_thickness(&work, &ball, &whole, thickness);
            KF_CHECK(status == (rows == 50 ? KF_KERNEL_OK : KF_KERNEL_TOO_LARGE));
            kf_mesh_release(&work, &ball);
        }
        free(thickness);
    }
    KF_CHECK_EQ(refused, 2);
}

KF_TEST_MAIN(KF_RUN(too_many_in_one_place_to_measure_is_said); KF_RUN(too_many_in_one_place_for_a_thickness_is_said);)
