// Thickness: that of spheres, tubes and slabs is known.
#include "server/base/test.h"
#include "tests/kernel/shapes.h"
#include "workers/io/memory.h"
#include "workers/kernels/mesh_thickness.h"

static const struct kf_mesh_thickness plainly = {100, 0.7};

static void expect_all(const struct kf_work *work, const struct kf_mesh *m, double truth, double tolerance)
{
    float *t = malloc((size_t)m->vertices * sizeof *t);
    KF_CHECK(!kf_mesh_thickness(work, m, &plainly, t));
    // Beside the poles of a sphere of bands the mesh's normals are some degrees off, and so are the balls.
    int64_t off = 0;
    for (int64_t v = 0; v < m->vertices; v++) {
        KF_CHECK_NEAR((double)t[v], truth, 4 * tolerance);
        off += fabs((double)t[v] - truth) > tolerance;
    }
    KF_CHECK(16 * off <= m->vertices);
    free(t);
}

KF_TEST(spheres_and_tubes_are_as_thick_as_they_are)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_mesh m;
    test_sphere(&work, 40, 12, (const double[3]){-30, 10, 200}, &m);
    expect_all(&work, &m, 24, 0.24);
    kf_mesh_release(&work, &m);
    test_torus(&work, 120, 48, 25, 6, &m);
    expect_all(&work, &m, 12, 0.24);
    kf_mesh_release(&work, &m);
}

KF_TEST(a_hollow_sphere_is_as_thick_as_its_wall)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_mesh m, inner;
    test_sphere(&work, 60, 20, (const double[3]){0, 0, 0}, &m);
    test_sphere(&work, 60, 17, (const double[3]){0, 0, 0}, &inner);
    test_turn_over(&inner, 0, inner.triangles);
    test_append(&work, &m, &inner);
    expect_all(&work, &m, 3, 0.1);
    kf_mesh_release(&work, &m);
}

KF_TEST(a_slab_is_thick_in_its_middle_and_the_most_is_kept)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_mesh m;
    test_closed_box(&work, 40, 40, 4, 40, &m);
    float *t = malloc((size_t)m.vertices * sizeof *t);
    KF_REQUIRE(!kf_mesh_thickness(&work, &m, &plainly, t));
    int64_t seen = 0;
    for (int64_t v = 0; v < m.vertices; v++) {
        const float *p = m.xyz + 3 * v;
        if ((p[2] == 0 || p[2] == 4) && p[0] > 5 && p[0] < 35 && p[1] > 5 && p[1] < 35) {
            KF_CHECK_NEAR((double)t[v], 4, 0.001);
            seen++;
        }
    }
    KF_CHECK(seen > 500);
    KF_REQUIRE(!kf_mesh_thickness(&work, &m, &(struct kf_mesh_thickness){2.5, 0.7}, t));
    for (int64_t v = 0; v < m.vertices; v++)
        KF_CHECK(t[v] <= 2.5f);
    KF_CHECK_EQ(kf_mesh_thickness(&work, &m, &(struct kf_mesh_thickness){0, 0.7}, t), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_mesh_thickness(&work, &m, &(struct kf_mesh_thickness){2, 1}, t), KF_KERNEL_INVALID);
    free(t);
    kf_mesh_release(&work, &m);
}

KF_TEST(threads_do_not_matter)
{
    static const int counts[] = {1, 2, 3, 7};
    float *first = NULL;
    for (int n = 0; n < 4; n++) {
        struct kf_work work;
        kf_work_init(&work, counts[n]);
        struct kf_mesh m;
        test_torus(&work, 90, 31, 25, 6, &m);
        float *t = malloc((size_t)m.vertices * sizeof *t);
        KF_REQUIRE(!kf_mesh_thickness(&work, &m, &plainly, t));
        if (!first)
            first = t;
        KF_CHECK(memcmp(first, t, (size_t)m.vertices * sizeof *t) == 0);
        if (first != t)
            free(t);
        kf_mesh_release(&work, &m);
    }
    free(first);
}

KF_TEST_MAIN(KF_RUN(spheres_and_tubes_are_as_thick_as_they_are); KF_RUN(a_hollow_sphere_is_as_thick_as_its_wall);
             KF_RUN(a_slab_is_thick_in_its_middle_and_the_most_is_kept); KF_RUN(threads_do_not_matter);)
