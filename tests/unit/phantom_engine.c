// The phantom's engine: distances, painting, random numbers, placement.
#include "server/base/test.h"
#include "workers/io/memory.h"
#include "workers/jobs/phantom/anatomy.h"
#include "workers/jobs/phantom/paint.h"
#include "workers/jobs/phantom/phantom.h"
#include "workers/jobs/phantom/place.h"
#include <stdlib.h>
#include <unistd.h>

KF_TEST(normal_numbers_have_mean_0_and_variance_1)
{
    double sum = 0, squares = 0;
    int n = 200000;
    for (int i = 0; i < n; i++) {
        double v = kf_ph_normal(7, (uint64_t)i);
        sum += v, squares += v * v;
    }
    KF_CHECK_NEAR(sum / n, 0, 0.01);
    KF_CHECK_NEAR(squares / n, 1, 0.02);
}

KF_TEST(a_ball_has_the_distance_of_a_ball_and_a_flat_tube_ends_flat)
{
    struct kf_scene scene;
    KF_REQUIRE(kf_scene_init(&scene, kf_tissues, 1, NULL) == KF_OK);
    kf_scene_part(&scene, "ball", 1, KF_T_BONE);
    kf_scene_group(&scene, KF_UNION, 0);
    kf_scene_ellipsoid(&scene, KF_UNION, 0, KF_V(1, 2, 3), KF_V(10, 10, 10), KF_V(20, 30, 40));
    KF_CHECK_NEAR(kf_part_distance(&scene, 0, NULL, 0, KF_V(1, 2, 18)), 5, 1e-9);
    KF_CHECK_NEAR(kf_part_distance(&scene, 0, NULL, 0, KF_V(4, 2, 3)), -7, 1e-9);
    const struct kf_station drum[] = {{0, 0, -10, 15, 12}, {0, 0, 0, 15, 12}, {0, 0, 10, 15, 12}};
    kf_scene_part(&scene, "drum", 2, KF_T_BONE);
    kf_scene_group(&scene, KF_UNION, 0);
    kf_scene_tube(&scene, KF_UNION, 0, drum, 3, KF_V(0, 1, 0), 1, KF_TUBE_FLAT_START | KF_TUBE_FLAT_END, 4);
    KF_CHECK_NEAR(kf_part_distance(&scene, 1, NULL, 0, KF_V(0, 0, 13)), 3, 1e-9);
    KF_CHECK_NEAR(kf_part_distance(&scene, 1, NULL, 0, KF_V(0, 0, -13)), 3, 1e-9);
    KF_CHECK_NEAR(fabs(kf_part_distance(&scene, 1, NULL, 0, KF_V(15, 0, 2))), 0, 1e-9);
    kf_scene_release(&scene);
}

// Three crowded corners of the head, painted with and without the hierarchy.
enum { PRUNED = 26 };

// A corner of the scene painted with pruning and without.
static void compare_pruning(const struct kf_scene *scene, const double corner[3])
{
    enum { N = PRUNED };
    int16_t *flat = malloc(N * N * N * sizeof *flat), *fast = malloc(N * N * N * sizeof *fast);
    uint8_t *flat_labels = malloc(N * N * N), *fast_labels = malloc(N * N * N);
    struct kf_grid grid = {
        {N, N, N}, {1, 0.9, 1.1}, {corner[0], corner[1], corner[2]}, {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct kf_paint job = {.scene = scene, .grid = &grid, .stretch = 1, .flat = 1, .threads = 2};
    KF_REQUIRE(kf_paint_run(&job, flat, flat_labels, NULL) == KF_OK);
    job.flat = 0;
    KF_REQUIRE(kf_paint_run(&job, fast, fast_labels, NULL) == KF_OK);
    int values = 0, labels = 0, kinds[256] = {0}, seen = 0;
    for (int i = 0; i < N * N * N; i++) {
        values += abs(flat[i] - fast[i]) > 2 * KF_PAINT_UNIT; // a far subtracted shape may shift a blend by a hair
        labels += flat_labels[i] != fast_labels[i];
        seen += !kinds[flat_labels[i]]++;
    }
    KF_CHECK_EQ(values, 0);
    KF_CHECK_EQ(labels, 0);
    KF_CHECK(seen >= 4); // the corner is worth comparing
    free(flat), free(fast), free(flat_labels), free(fast_labels);
}

KF_TEST(pruning_changes_no_voxel)
{
    static const double corners[3][3] = {{38, -26, -18}, {14, -90, -66}, {20, -40, 6}};
    struct kf_anatomy *a = calloc(2, sizeof *a);
    KF_REQUIRE(a != NULL);
    KF_REQUIRE(kf_scene_init(&a[0].scene, kf_tissues, 1, NULL) == KF_OK &&
               kf_scene_init(&a[1].scene, kf_tissues, 1, NULL) == KF_OK);
    kf_build_head(&a[0]);
    for (int c = 0; c < 3; c++)
        compare_pruning(&a[0].scene, corners[c]);
    a[1].joint_mm = 1;
    kf_build_spine(&a[1]);
    for (int n = 0; n < a[1].landmark_count; n++)
        if (strncmp(a[1].landmarks[n].name, "sacral_ala", 10) == 0) { // the ilium takes off what the sacrum adds
            struct kf_v3 p = a[1].landmarks[n].p;
            compare_pruning(&a[1].scene, (const double[3]){p.x - PRUNED / 2, p.y - PRUNED / 2, p.z - PRUNED / 2});
        }
    kf_scene_release(&a[0].scene);
    kf_scene_release(&a[1].scene);
    free(a);
}

KF_TEST(a_place_inverts_itself)
{
    struct kf_place place = {.centre = KF_V(0, 8, 0),
                             .turn = kf_m_euler(4, -3, 2.5),
                             .shift = KF_V(7, -5, 9),
                             .warp_mm = 4,
                             .tilt_cosine = 1,
                             .seed = 3};
    double worst = 0, bent = 0;
    for (int i = 0; i < 500; i++) {
        struct kf_v3 p = KF_V(90 * kf_ph_uniform(1, (uint64_t)i), 90 * kf_ph_uniform(2, (uint64_t)i),
                              180 * kf_ph_uniform(3, (uint64_t)i));
        struct kf_v3 q = kf_place_to_lps(&place, p);
        worst = fmax(worst, kf_v_length(kf_v_sub(kf_place_to_scene(&place, q), p)));
        struct kf_place rigid = place;
        rigid.warp_mm = 0;
        bent = fmax(bent, kf_v_length(kf_v_sub(q, kf_place_to_lps(&rigid, p))));
    }
    KF_CHECK(worst < 1e-9);
    KF_CHECK(bent > 2); // there is a deformation to find
}

KF_TEST(same_options_same_bytes_for_any_number_of_threads)
{
    struct kf_phantom_options o;
    struct kf_volume a, b, labels_a, labels_b;
    KF_REQUIRE(kf_phantom_defaults("head", &o, NULL) == KF_OK);
    for (int i = 0; i < 3; i++)
        o.dim[i] = 96;
    o.metal = 1;
    o.threads = 1;
    KF_REQUIRE(kf_phantom_volumes(&o, &a, &labels_a, NULL) == KF_OK);
    o.threads = 3;
    KF_REQUIRE(kf_phantom_volumes(&o, &b, &labels_b, NULL) == KF_OK);
    KF_CHECK(memcmp(a.data, b.data, 96 * 96 * 96 * 2) == 0);
    KF_CHECK(memcmp(labels_a.data, labels_b.data, 96 * 96 * 96) == 0);
    kf_volume_release(&b), kf_volume_release(&labels_b);
    o.seed = 2;
    KF_REQUIRE(kf_phantom_volumes(&o, &b, &labels_b, NULL) == KF_OK);
    KF_CHECK(memcmp(labels_a.data, labels_b.data, 96 * 96 * 96) != 0); // another individual
    kf_volume_release(&a), kf_volume_release(&b), kf_volume_release(&labels_a), kf_volume_release(&labels_b);
}

KF_TEST(a_thick_slice_is_the_mean_over_its_thickness)
{
    struct kf_phantom_options o;
    struct kf_volume thick, thin, thick_labels, thin_labels;
    KF_REQUIRE(kf_phantom_defaults("spine", &o, NULL) == KF_OK);
    o.dim[0] = o.dim[1] = 40, o.dim[2] = 12;
    o.spacing_mm[0] = o.spacing_mm[1] = 1.5, o.spacing_mm[2] = 3;
    o.noise = o.blur_mm = 0;
    KF_REQUIRE(kf_phantom_volumes(&o, &thick, &thick_labels, NULL) == KF_OK);
    o.dim[2] *= 5, o.spacing_mm[2] /= 5;
    KF_REQUIRE(kf_phantom_volumes(&o, &thin, &thin_labels, NULL) == KF_OK);
    const int16_t *mean = thick.data, *part = thin.data;
    const uint8_t *label = thick_labels.data, *middle = thin_labels.data;
    int64_t plane = 40 * 40, off = 0, other = 0;
    for (int64_t v = 0; v < 12 * plane; v++) {
        double sum = 0;
        for (int64_t n = 0; n < 5; n++)
            sum += part[(v / plane * 5 + n) * plane + v % plane] / 5.0;
        off += fabs(sum - mean[v]) > 1.01;
        other += label[v] != middle[(v / plane * 5 + 2) * plane + v % plane];
    }
    KF_CHECK_EQ(off, 0);
    KF_CHECK_EQ(other, 0);
    kf_volume_release(&thick), kf_volume_release(&thick_labels);
    kf_volume_release(&thin), kf_volume_release(&thin_labels);
}

KF_TEST(wrong_options_are_refused_with_a_reason)
{
    struct kf_phantom_options o;
    struct kf_volume image, labels;
    struct kf_error err = {0};
    KF_CHECK_EQ(kf_phantom_defaults("elbow", &o, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "phantom_kind");
    KF_REQUIRE(kf_phantom_defaults("spine-mr", &o, NULL) == KF_OK);
    o.warp_mm = 9;
    o.dim[0] = o.dim[1] = o.dim[2] = 8;
    KF_CHECK_EQ(kf_phantom_volumes(&o, &image, &labels, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "phantom_warp");
    o.warp_mm = 1;
    o.dim[2] = 5000;
    KF_CHECK_EQ(kf_phantom_volumes(&o, &image, &labels, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "phantom_size");
    KF_CHECK(image.data == NULL && labels.data == NULL);
    KF_REQUIRE(kf_phantom_defaults("spine", &o, NULL) == KF_OK);
    o.dim[0] = o.dim[1] = o.dim[2] = 8;
    o.lumbar_rib = o.eleven_ribs = 1;
    KF_CHECK_EQ(kf_phantom_volumes(&o, &image, &labels, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "phantom_ribs");
    o.eleven_ribs = 0, o.scoliosis_deg = 60;
    KF_CHECK_EQ(kf_phantom_volumes(&o, &image, &labels, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "phantom_scoliosis");
    o.scoliosis_deg = 0, o.joint_mm = -1;
    KF_CHECK_EQ(kf_phantom_volumes(&o, &image, &labels, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "phantom_pelvis");
    o.joint_mm = 0, o.trabecular_hu = 10;
    KF_CHECK_EQ(kf_phantom_volumes(&o, &image, &labels, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "phantom_trabecular");
}

// The command line: what one kind has and another has not is no option of the other.
KF_TEST(an_option_of_another_kind_is_refused)
{
    static char phantom[] = "phantom", head[] = "head", leg[] = "leg", spine[] = "spine", size[] = "--size",
                small[] = "8x8x8", to[] = "--out", pelvis[] = "--pelvis", wide[] = "2", bias[] = "--bias",
                table[] = "--table";
    char folder[] = "/tmp/kerf-phantom-XXXXXX";
    KF_REQUIRE(mkdtemp(folder) != NULL);
    KF_CHECK_EQ(kf_phantom_main(8, (char *[]){phantom, head, to, folder, size, small, pelvis, wide, NULL}), 2);
    KF_CHECK_EQ(kf_phantom_main(7, (char *[]){phantom, leg, to, folder, size, small, table, NULL}), 2);
    KF_CHECK_EQ(kf_phantom_main(8, (char *[]){phantom, spine, to, folder, size, small, bias, wide, NULL}), 2);
    KF_CHECK_EQ(rmdir(folder), 0); // nothing was written into it
}

KF_TEST_MAIN(KF_RUN(normal_numbers_have_mean_0_and_variance_1);
             KF_RUN(a_ball_has_the_distance_of_a_ball_and_a_flat_tube_ends_flat); KF_RUN(pruning_changes_no_voxel);
             KF_RUN(a_place_inverts_itself); KF_RUN(same_options_same_bytes_for_any_number_of_threads);
             KF_RUN(a_thick_slice_is_the_mean_over_its_thickness); KF_RUN(wrong_options_are_refused_with_a_reason);
             KF_RUN(an_option_of_another_kind_is_refused);)
