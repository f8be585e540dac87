// Nearest points and distances between surfaces: against brute force and against what is known of spheres and boxes;
// the interval of the greatest distance holds it; decimation stays within what it measured.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "tests/kernel/shapes.h"
#include "tests/kernel/slow_distance.h"
#include "workers/io/memory.h"
#include "workers/kernels/bvh.h"
#include "workers/kernels/mesh_distance.h"

#include <stdint.h>

static uint64_t state = 41;

// Soup of small, large, needle-like and flat triangles, far from the origin when asked to.
static void random_soup(const struct kf_work *work, int64_t triangles, double offset, struct kf_mesh *m)
{
    test_mesh_new(work, 3 * triangles, triangles, m);
    for (int64_t t = 0; t < triangles; t++) {
        double size = t % 5 == 0 ? 20 : 1, at[3];
        for (int r = 0; r < 3; r++)
            at[r] = offset + test_uniform(&state, -30, 30);
        for (int c = 0; c < 3; c++) {
            double along = test_uniform(&state, -size, size);
            for (int r = 0; r < 3; r++)
                m->xyz[3 * (3 * t + c) + r] = (float)(at[r] + (t % 7 == 0 ? along + test_uniform(&state, -1e-3, 1e-3)
                                                                          : test_uniform(&state, -size, size)));
            m->index[3 * t + c] = (uint32_t)(3 * t + c);
        }
        if (t % 11 == 0) // a segment
            m->index[3 * t + 2] = m->index[3 * t];
    }
}

KF_TEST(nearest_points_are_those_of_brute_force)
{
    static const int64_t sizes[] = {1, 2, 7, 8, 9, 63, 64, 65, 600};
    struct kf_work work;
    kf_work_init(&work, 2);
    for (int round = 0; round < 18; round++) {
        struct kf_mesh m;
        struct kf_bvh b;
        double offset = round % 2 ? 0 : 900;
        random_soup(&work, sizes[round / 2], offset, &m);
        KF_REQUIRE(!kf_bvh_make(&work, &m, &b));
        for (int n = 0; n < 300; n++) {
            double p[3], least = INFINITY;
            for (int r = 0; r < 3; r++)
                p[r] = offset + test_uniform(&state, -60, 60);
            for (int64_t t = 0; t < m.triangles; t++)
                least = fmin(least, slow_distance(&m, t, p));
            struct kf_bvh_nearest found, hinted;
            KF_REQUIRE(kf_bvh_nearest(&b, p, UINT32_MAX, &found));
            KF_CHECK_NEAR(sqrt(found.distance2), least, 1e-6 * (1 + least));
            KF_REQUIRE(kf_bvh_nearest(&b, p, (uint32_t)(test_random(&state) % (uint64_t)m.triangles), &hinted));
            KF_CHECK(hinted.distance2 == found.distance2);
            double away = 0;
            for (int r = 0; r < 3; r++)
                away += (found.point[r] - p[r]) * (found.point[r] - p[r]);
            KF_CHECK_NEAR(away, found.distance2, 1e-9 * (1 + away));
            KF_CHECK_NEAR(slow_distance(&m, found.triangle, p), sqrt(found.distance2), 1e-6 * (1 + least));
        }
        kf_bvh_release(&work, &b);
        kf_mesh_release(&work, &m);
    }
}

// Two corners in one place, or all three in a row; and the place that is named is the one that is measured.
KF_TEST(triangles_without_area_are_segments)
{
    static const uint32_t corners[][3] = {{0, 1, 1}, {0, 0, 1}, {0, 1, 0}, {0, 2, 1}, {2, 0, 1}, {0, 1, 2}, {0, 0, 0}};
    float xyz[9] = {1, 2, 3, 4, -2, 5, 2.5f, 0, 4};
    uint32_t index[3];
    const struct kf_mesh m = {3, 1, xyz, index};
    for (int n = 0; n < 7; n++) {
        memcpy(index, corners[n], sizeof index);
        for (int i = 0; i < 200; i++) {
            double p[3], nearest[3], share[3], away = 0;
            for (int r = 0; r < 3; r++)
                p[r] = test_uniform(&state, -10, 10);
            double d = sqrt(kf_triangle_distance2(&m, 0, p, nearest));
            KF_CHECK_NEAR(d, slow_distance(&m, 0, p), 1e-9);
            int held = kf_triangle_place(&m, 0, p, share);
            KF_CHECK(held > 0 && held < 8);
            for (int r = 0; r < 3; r++) {
                double at = 0;
                for (int c = 0; c < 3; c++)
                    at += held >> c & 1 ? share[c] * (double)xyz[3 * index[c] + (uint32_t)r] : 0;
                away += (at - p[r]) * (at - p[r]);
            }
            KF_CHECK_NEAR(sqrt(away), d, 1e-9);
        }
    }
}

KF_TEST(concentric_spheres_are_a_millimetre_apart)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    const double middle[3] = {100, -200, 300};
    struct kf_mesh a, b;
    test_sphere(&work, 50, 20, middle, &a);
    test_sphere(&work, 50, 21, middle, &b);
    struct kf_mesh_distance d;
    KF_REQUIRE(!kf_mesh_distance(&work, &a, &b, &(struct kf_mesh_distance_how){0.3, 0.01}, &d));
    KF_CHECK_NEAR(d.mean_mm, 1, 0.01);
    KF_CHECK_NEAR(d.rms_mm, 1, 0.01);
    KF_CHECK_NEAR(d.hd95_mm, 1, 0.01);
    KF_CHECK(d.hausdorff_low_mm <= d.hausdorff_high_mm && d.hausdorff_high_mm <= d.hausdorff_low_mm + 0.01 + 1e-8);
    KF_CHECK_NEAR(d.hausdorff_high_mm, 1, 0.05);
    KF_REQUIRE(!kf_mesh_distance(&work, &a, &a, &(struct kf_mesh_distance_how){0.3, 0.01}, &d));
    KF_CHECK_NEAR(d.mean_mm, 0, 1e-6);
    KF_CHECK_NEAR(d.hausdorff_low_mm, 0, 1e-6);
    KF_CHECK(d.hausdorff_high_mm <= 0.0101);
    kf_mesh_release(&work, &a);
    kf_mesh_release(&work, &b);
}

// A cube with a thin needle: the mean knows nothing of it, the maximum is its tip's, the 95th percentile is not.
KF_TEST(a_needle_is_seen_by_the_maximum_only)
{
    struct kf_work work;
    kf_work_init(&work, 3);
    const double low[3] = {0, 0, 0}, high[3] = {10, 10, 10};
    struct kf_mesh a, b, needle;
    test_box(&work, low, high, 9, &a);
    test_box(&work, low, high, 4, &b);
    test_mesh_new(&work, 3, 1, &needle);
    const float tip[9] = {4, 4, 10, 4.01f, 4, 10, 4, 4, 17.5f};
    const uint32_t corner[3] = {0, 1, 2};
    memcpy(needle.xyz, tip, sizeof tip);
    memcpy(needle.index, corner, sizeof corner);
    test_append(&work, &b, &needle);
    struct kf_mesh_distance d;
    KF_REQUIRE(!kf_mesh_distance(&work, &a, &b, &(struct kf_mesh_distance_how){0.5, 0.01}, &d));
    KF_CHECK_NEAR(d.hausdorff_low_mm, 7.5, 1e-6);
    KF_CHECK_NEAR(d.hausdorff_high_mm, 7.5, 0.0101);
    KF_CHECK_NEAR(d.way[1].greatest_at[2], 17.5, 1e-6);
    KF_CHECK_NEAR(d.way[0].greatest_high_mm, 0, 0.0101);
    KF_CHECK(d.mean_mm < 0.001);
    KF_CHECK_NEAR(d.hd95_mm, 0, 1e-6);
    // Offset boxes: faces are 1 mm apart, corners √3.
    const double low2[3] = {-1, -1, -1}, high2[3] = {11, 11, 11};
    struct kf_mesh outer;
    test_box(&work, low2, high2, 3, &outer);
    KF_REQUIRE(!kf_mesh_distance(&work, &outer, &a, &(struct kf_mesh_distance_how){0.05, 0.0005}, &d));
    KF_CHECK_NEAR(d.way[0].greatest_low_mm, sqrt(3), 1e-6);
    KF_CHECK_NEAR(d.way[1].greatest_high_mm, 1, 0.0006);
    KF_CHECK_NEAR(d.way[1].mean_mm, 1, 1e-6);
    kf_mesh_release(&work, &a);
    kf_mesh_release(&work, &b);
    kf_mesh_release(&work, &outer);
}

// The interval holds what dense sampling finds, on soups where the greatest distance lies within a triangle.
KF_TEST(the_interval_holds_the_greatest_distance)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    for (int round = 0; round < 8; round++) {
        struct kf_mesh a, b;
        random_soup(&work, 3, 0, &a);
        random_soup(&work, 25, 0, &b);
        struct kf_mesh_distance d;
        KF_REQUIRE(!kf_mesh_distance(&work, &a, &b, &(struct kf_mesh_distance_how){0, 0.01}, &d));
        double most = 0;
        for (int64_t t = 0; t < a.triangles; t++)
            for (int i = 0; i <= 40; i++)
                for (int k = 0; k <= 40 - i; k++) {
                    double p[3], least = INFINITY;
                    for (int r = 0; r < 3; r++) {
                        const uint32_t *v = a.index + 3 * t;
                        double x = (double)a.xyz[3 * (int64_t)v[0] + r], y = (double)a.xyz[3 * (int64_t)v[1] + r];
                        double z = (double)a.xyz[3 * (int64_t)v[2] + r];
                        p[r] = x + (y - x) * i / 40 + (z - x) * k / 40;
                    }
                    for (int64_t s = 0; s < b.triangles; s++)
                        least = fmin(least, slow_distance(&b, s, p));
                    most = fmax(most, least);
                }
        KF_CHECK(most <= d.way[0].greatest_high_mm + 1e-6);
        KF_CHECK(d.way[0].greatest_low_mm <= most + 1.5); // samples are up to 1.5 mm apart
        KF_CHECK(d.way[0].greatest_high_mm - d.way[0].greatest_low_mm <= 0.0101);
        kf_mesh_release(&work, &a);
        kf_mesh_release(&work, &b);
    }
}

KF_TEST(decimation_stays_within_what_it_measured)
{
    static const double limits[] = {0.02, 0.1, 0.5};
    int64_t last = INT64_MAX;
    for (int n = 0; n < 3; n++) {
        struct kf_work work;
        kf_work_init(&work, 2);
        struct kf_mesh mesh, before;
        test_torus(&work, 120, 60, 20, 7, &mesh);
        test_torus(&work, 120, 60, 20, 7, &before);
        double measured;
        KF_REQUIRE(!kf_mesh_decimate_within(&work, &mesh, &(struct kf_mesh_decimate){0, 1}, limits[n], &measured));
        KF_CHECK(measured <= limits[n]);
        KF_CHECK(mesh.triangles < before.triangles && mesh.triangles < last);
        last = mesh.triangles;
        struct kf_mesh_distance d;
        KF_REQUIRE(!kf_mesh_distance(&work, &before, &mesh, &(struct kf_mesh_distance_how){0, 0.1 * limits[n]}, &d));
        KF_CHECK(d.hausdorff_low_mm <= measured);
        KF_CHECK(d.hausdorff_low_mm > 0.2 * limits[n]); // and the room was used
        struct kf_mesh_report r;
        KF_REQUIRE(!kf_mesh_check(&work, &mesh, &r));
        KF_CHECK(r.closed && r.manifold && r.oriented);
        printf("limit %.2f mm: %lld of %lld triangles, measured %.4f mm\n", limits[n], (long long)mesh.triangles,
               (long long)before.triangles, measured);
        kf_mesh_release(&work, &mesh);
        kf_mesh_release(&work, &before);
    }
}

KF_TEST(threads_do_not_matter)
{
    static const int counts[] = {1, 2, 3, 7};
    struct kf_mesh_distance first;
    for (int n = 0; n < 4; n++) {
        struct kf_work work;
        kf_work_init(&work, counts[n]);
        state = 77;
        struct kf_mesh a, b;
        random_soup(&work, 1100, 0, &a);
        random_soup(&work, 1500, 0, &b);
        struct kf_mesh_distance d;
        KF_REQUIRE(!kf_mesh_distance(&work, &a, &b, &(struct kf_mesh_distance_how){1, 2}, &d));
        if (n == 0)
            first = d;
        KF_CHECK(memcmp(&first, &d, sizeof d) == 0);
        kf_mesh_release(&work, &a);
        kf_mesh_release(&work, &b);
    }
}

KF_TEST(what_cannot_be_measured_is_refused)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_mesh a, nothing = {0};
    random_soup(&work, 5, 0, &a);
    struct kf_mesh_distance d;
    struct kf_mesh_distance_how how = {1, 0.01};
    KF_CHECK_EQ(kf_mesh_distance(&work, &a, &nothing, &how, &d), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_mesh_distance(&work, &a, &a, &(struct kf_mesh_distance_how){1, 0}, &d), KF_KERNEL_INVALID);
    a.xyz[4] = NAN;
    KF_CHECK_EQ(kf_mesh_distance(&work, &a, &a, &how, &d), KF_KERNEL_INVALID);
    a.xyz[4] = 0;
    a.index[7] = 15;
    KF_CHECK_EQ(kf_mesh_distance(&work, &a, &a, &how, &d), KF_KERNEL_INVALID);
    kf_mesh_release(&work, &a);
}

KF_TEST_MAIN(KF_RUN(nearest_points_are_those_of_brute_force); KF_RUN(triangles_without_area_are_segments);
             KF_RUN(concentric_spheres_are_a_millimetre_apart); KF_RUN(a_needle_is_seen_by_the_maximum_only);
             KF_RUN(the_interval_holds_the_greatest_distance); KF_RUN(decimation_stays_within_what_it_measured);
             KF_RUN(threads_do_not_matter); KF_RUN(what_cannot_be_measured_is_refused);)
