// What the phantoms must be to a surgeon: sizes, gaps, sides, landmarks on their structures, truth that fits the image.
#include "server/base/test.h"
#include "workers/io/memory.h"
#include "workers/jobs/phantom/anatomy.h"
#include "workers/jobs/phantom/paint.h"
#include "workers/jobs/phantom/phantom.h"
#include "workers/jobs/phantom/truth.h"
#include <stdlib.h>

static struct kf_anatomy *anatomy_of(void (*build)(struct kf_anatomy *), uint64_t seed, double side)
{
    struct kf_anatomy *a = calloc(1, sizeof *a);
    if (!a || kf_scene_init(&a->scene, kf_tissues, seed, NULL) != KF_OK)
        abort();
    a->seed = seed;
    a->side = side;
    build(a);
    kf_truth_snap(a);
    return a;
}

static void drop(struct kf_anatomy *a)
{
    kf_scene_release(&a->scene);
    free(a);
}

static struct kf_v3 mark(const struct kf_anatomy *a, const char *name)
{
    for (int i = 0; i < a->landmark_count; i++)
        if (strcmp(a->landmarks[i].name, name) == 0)
            return a->landmarks[i].p;
    fprintf(stderr, "no landmark %s\n", name);
    kf_test_failures++;
    return KF_V(NAN, NAN, NAN);
}

static double apart(const struct kf_anatomy *a, const char *one, const char *other)
{
    return kf_v_length(kf_v_sub(mark(a, one), mark(a, other)));
}

static void check_landmarks(const struct kf_anatomy *a)
{
    KF_CHECK(!a->scene.full);
    for (int i = 0; i < a->landmark_count; i++) {
        const struct kf_landmark *m = &a->landmarks[i];
        int label = kf_paint_label(&a->scene, m->p);
        if (m->ray || (m->label && label != m->label)) {
            fprintf(stderr, "seed %d: %s lies in %d, not in %d\n", (int)a->seed, m->name, label, m->label);
            kf_test_failures++;
        }
        for (int j = 0; j < i; j++)
            KF_CHECK(strcmp(m->name, a->landmarks[j].name) != 0);
    }
}

KF_TEST(landmarks_lie_on_what_they_name)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        void (*const builds[])(struct kf_anatomy *) = {kf_build_head, kf_build_leg, kf_build_spine};
        for (int b = 0; b < 3; b++) {
            struct kf_anatomy *a = anatomy_of(builds[b], seed, 1);
            KF_CHECK(a->landmark_count > 10);
            check_landmarks(a);
            drop(a);
        }
    }
}

KF_TEST(a_head_has_the_measures_of_a_head)
{
    struct kf_anatomy *a = anatomy_of(kf_build_head, 1, 1);
    double condyles = apart(a, "condylion_left", "condylion_right");
    KF_CHECK(condyles > 80 && condyles < 140);
    KF_CHECK_NEAR(apart(a, "nasion", "basion"), 100, 8);
    KF_CHECK_NEAR(apart(a, "zygion_left", "zygion_right"), 132, 8);
    KF_CHECK_NEAR(apart(a, "gonion_left", "gonion_right"), 98, 8);
    KF_CHECK_NEAR(apart(a, "basion", "opisthion"), 35, 4);
    KF_CHECK(mark(a, "condylion_left").x > 0 && mark(a, "condylion_right").x < 0);
    KF_CHECK(mark(a, "nasion").y < mark(a, "basion").y); // faces −y
    KF_CHECK(mark(a, "menton").z < mark(a, "nasion").z);
    // Incisors bite: the upper edges in front of and below the lower ones.
    struct kf_v3 upper = mark(a, "U1_incisal_left"), lower = mark(a, "L1_incisal_left");
    KF_CHECK(upper.y < lower.y && upper.z < lower.z && upper.z > lower.z - 4);
    drop(a);
}

static struct kf_anatomy *head_without(uint32_t missing_teeth, double resected_mm)
{
    struct kf_anatomy *a = calloc(1, sizeof *a);
    if (!a || kf_scene_init(&a->scene, kf_tissues, 1, NULL) != KF_OK)
        abort();
    a->seed = 1;
    a->missing_teeth = missing_teeth;
    a->resected_mm = resected_mm;
    kf_build_head(a);
    return a;
}

// mm along z through (x, y) from -110 to -30 that carry one of the labels from..to.
static double height_of(const struct kf_anatomy *a, double x, double y, int from, int to)
{
    double mm = 0;
    for (double z = -110; z < -30; z += 0.25) {
        int label = kf_paint_label(&a->scene, KF_V(x, y, z));
        mm += label >= from && label <= to ? 0.25 : 0;
    }
    return mm;
}

KF_TEST(missing_teeth_are_gone_and_a_jaw_without_any_is_lower)
{
    const uint32_t first_molar = (uint32_t)1 << (16 + 5), lower = 0xffff0000; // 36; 31 to 48
    struct kf_anatomy *whole = head_without(0, 0), *gap = head_without(first_molar, 0), *bare = head_without(lower, 0);
    KF_CHECK(height_of(whole, 24.6, -57.8, 36, 36) > 5);
    KF_CHECK(height_of(gap, 24.6, -57.8, 36, 36) <= 0 && height_of(bare, 24.6, -57.8, 36, 36) <= 0);
    KF_CHECK_NEAR(height_of(gap, -24.6, -57.8, 46, 46), height_of(whole, -24.6, -57.8, 46, 46), 0.01);
    KF_CHECK(height_of(bare, -24.6, -57.8, 46, 46) <= 0);
    KF_CHECK(height_of(bare, 26, -60.2, 11, 28) > 5); // the upper teeth stay
    double full = height_of(gap, 25, -62, KF_L_MANDIBLE, KF_L_MANDIBLE);
    double lost = full - height_of(bare, 25, -62, KF_L_MANDIBLE, KF_L_MANDIBLE);
    KF_CHECK(lost > 4 && lost < 12);
    drop(whole);
    drop(gap);
    drop(bare);
}

KF_TEST(what_is_resected_is_gone_on_the_left_alone)
{
    struct kf_anatomy *whole = head_without(0, 0), *a = head_without(0, 30);
    for (double t = -14; t <= 14; t += 7) { // along the body
        double x = 33 - 0.434 * t, y = -58 - 0.901 * t;
        KF_CHECK(height_of(whole, x, y, KF_L_MANDIBLE, KF_L_MANDIBLE) > 10);
        KF_CHECK(height_of(a, x, y, KF_L_MANDIBLE, KF_L_MANDIBLE) <= 0);
        KF_CHECK(height_of(a, -x, y, KF_L_MANDIBLE, KF_L_MANDIBLE) > 10);
    }
    for (int end = -1; end <= 1; end += 2) // and bone again beyond both ends
        KF_CHECK(height_of(a, 33 - 0.434 * 19 * end, -58 - 0.901 * 19 * end, KF_L_MANDIBLE, KF_L_MANDIBLE) > 5);
    KF_CHECK(height_of(a, 24.6, -57.8, 36, 36) <= 0 && height_of(a, -24.6, -57.8, 46, 46) > 5);
    drop(whole);
    drop(a);
}

KF_TEST(the_condyle_sits_in_its_fossa_with_a_joint_space)
{
    struct kf_anatomy *a = anatomy_of(kf_build_head, 1, 1);
    const char *const sides[] = {"condylion_left", "condylion_right"};
    for (int s = 0; s < 2; s++) {
        struct kf_v3 p = mark(a, sides[s]);
        double gap = 0;
        while (gap < 12 && kf_paint_label(&a->scene, KF_V(p.x, p.y, p.z + gap)) != KF_L_SKULL)
            gap += 0.05;
        KF_CHECK(gap > 1 && gap < 4);
    }
    drop(a);
}

static struct kf_volume image, labels;

static int label_at(int64_t i, int64_t j, int64_t k)
{
    const int64_t *d = labels.grid.dim;
    return ((const uint8_t *)labels.data)[(k * d[1] + j) * d[0] + i];
}

static int paint(const char *kind, double spacing_mm)
{
    struct kf_phantom_options o;
    if (kf_phantom_defaults(kind, &o, NULL) != KF_OK)
        return 0;
    for (int a = 0; a < 3; a++)
        o.spacing_mm[a] = spacing_mm;
    o.threads = 2;
    return kf_phantom_volumes(&o, &image, &labels, NULL) == KF_OK;
}

// Voxels of `one` that have a voxel of `other` among their 26 neighbours.
static int64_t touching(int one, int other)
{
    const int64_t *d = labels.grid.dim;
    int64_t n = 0;
    for (int64_t k = 1; k < d[2] - 1; k++)
        for (int64_t j = 1; j < d[1] - 1; j++)
            for (int64_t i = 1; i < d[0] - 1; i++) {
                if (label_at(i, j, k) != one)
                    continue;
                int found = 0;
                for (int c = 0; c < 27 && !found; c++)
                    found = label_at(i + c % 3 - 1, j + c / 3 % 3 - 1, k + c / 9 - 1) == other;
                n += found;
            }
    return n;
}

static double volume_ml(int label)
{
    int64_t n = 0, total = kf_grid_voxels(&labels.grid);
    for (int64_t i = 0; i < total; i++)
        n += ((const uint8_t *)labels.data)[i] == label;
    const double *s = labels.grid.spacing_mm;
    return (double)n * s[0] * s[1] * s[2] / 1000;
}

static int is_bone(int label)
{
    return (label >= KF_L_SKULL && label <= 48) || (label >= KF_L_C1 && label <= KF_L_C4);
}

KF_TEST(the_head_s_truth_fits_its_image)
{
    KF_REQUIRE(paint("head", 1.0));
    double jaw = volume_ml(KF_L_MANDIBLE);
    KF_CHECK(jaw > 40 && jaw < 85);
    KF_CHECK(volume_ml(KF_L_BRAIN) > 1000 && volume_ml(KF_L_BRAIN) < 1600);
    KF_CHECK_EQ(touching(KF_L_MANDIBLE, KF_L_SKULL), 0);
    KF_CHECK_EQ(touching(KF_L_MANDIBLE, KF_L_MAXILLA), 0);
    for (int fdi = 11; fdi <= 48; fdi++)
        if (fdi % 10 >= 1 && fdi % 10 <= 8) {
            double tooth = volume_ml(fdi);
            KF_CHECK(tooth > 0.2 && tooth < 2.5);
        }
    // Left is +x: tooth 36 and the left canal lie there.
    int64_t total = kf_grid_voxels(&labels.grid), both = 0, bone = 0, dense = 0;
    double x36 = 0;
    int64_t n36 = 0;
    for (int64_t i = 0; i < total; i++) {
        int label = ((const uint8_t *)labels.data)[i], hot = ((const int16_t *)image.data)[i] > 300;
        bone += is_bone(label), dense += hot, both += hot && is_bone(label);
        if (label == 36)
            x36 += labels.grid.origin_lps[0] + (double)(i % labels.grid.dim[0]), n36++;
    }
    KF_CHECK(n36 > 0 && x36 / (double)n36 > 15);
    KF_CHECK(2.0 * (double)both / (double)(bone + dense) > 0.9);
    kf_volume_release(&image);
    kf_volume_release(&labels);
}

KF_TEST(vertebrae_are_nine_and_do_not_fuse)
{
    KF_REQUIRE(paint("spine", 0.9));
    for (int v = KF_L_T10; v <= KF_L_SACRUM; v++) {
        double ml = volume_ml(v);
        KF_CHECK(ml > 15 && ml < 250);
        if (v < KF_L_SACRUM)
            KF_CHECK_EQ(touching(v, v + 1), 0);
        if (v < KF_L_SACRUM)
            KF_CHECK(volume_ml(KF_L_DISC_T10T11 + v - KF_L_T10) > 2);
    }
    for (int r = 0; r < 3; r++)
        KF_CHECK_EQ(touching(KF_L_T10 + r, KF_L_RIB_T10 + r), 0);
    KF_CHECK_EQ(touching(KF_L_CORD, KF_L_L1), 0);
    KF_CHECK(volume_ml(KF_L_CORD) > 4 && volume_ml(KF_L_CAUDA) > 15 && volume_ml(KF_L_ROOTS) > 2 &&
             volume_ml(KF_L_FLAVUM) > 4);
    kf_volume_release(&image);
    kf_volume_release(&labels);
}

static struct kf_anatomy *shaped_spine(double scoliosis_deg, double joint_mm)
{
    struct kf_anatomy *a = calloc(1, sizeof *a);
    if (!a || kf_scene_init(&a->scene, kf_tissues, 1, NULL) != KF_OK)
        abort();
    a->seed = 1, a->side = 1, a->scoliosis_deg = scoliosis_deg, a->joint_mm = joint_mm;
    kf_build_spine(a);
    kf_truth_snap(a);
    return a;
}

// Lean of a vertebra in the coronal plane, degrees.
static double lean_deg(const struct kf_anatomy *a, const char *level)
{
    char left[32], right[32];
    snprintf(left, sizeof left, "%s_pedicle_left", level);
    snprintf(right, sizeof right, "%s_pedicle_right", level);
    struct kf_v3 p = mark(a, left), q = mark(a, right);
    return kf_atan2(q.z - p.z, p.x - q.x) * 180 / KF_PI;
}

KF_TEST(a_scoliosis_has_its_angle_and_its_side)
{
    for (int side = -1; side <= 1; side += 2) {
        struct kf_anatomy *a = shaped_spine(30.0 * side, 0), *straight = shaped_spine(0, 0);
        check_landmarks(a);
        KF_CHECK_NEAR(side * (lean_deg(a, "T11") - lean_deg(a, "L4")), 30, 4);
        double ends = 0.5 * (mark(a, "T11_centre").x + mark(a, "L4_centre").x), apex = mark(a, "L1_centre").x;
        KF_CHECK(side * (ends - apex) > 6 && side * (ends - apex) < 20); // convex to the right: to -x
        struct kf_v3 body = mark(a, "L1_centre"), canal = mark(a, "L1_canal");
        KF_CHECK(side * (canal.x - body.x) > 3); // the body turns to the convex side
        KF_CHECK_NEAR(mark(straight, "L1_centre").x, 0, 1);
        drop(straight);
        drop(a);
    }
}

// From the middle of the sacrum's wing to the side: where it ends and where the ilium begins, mm.
static void across_joint(const struct kf_anatomy *a, int side, double dz, double *from, double *to)
{
    struct kf_v3 p = mark(a, side > 0 ? "sacral_ala_left" : "sacral_ala_right");
    *from = *to = NAN;
    for (double x = 0; x < 40; x += 0.1) {
        int label = kf_paint_label(&a->scene, KF_V(p.x + side * x, p.y, p.z + dz));
        *from = label == KF_L_SACRUM ? x : *from;
        if (label == KF_L_ILIUM) {
            *to = x;
            return;
        }
    }
}

KF_TEST(ilia_lie_beside_the_sacrum_at_the_width_of_the_joint)
{
    static const double widths_mm[3] = {0.5, 2, 4};
    for (int w = 0; w < 3; w++) {
        struct kf_anatomy *a = shaped_spine(0, widths_mm[w]);
        KF_CHECK(!a->scene.full);
        for (int side = -1; side <= 1; side += 2)
            for (double dz = -8; dz <= 4; dz += 4) {
                double from, to;
                across_joint(a, side, dz, &from, &to);
                KF_CHECK(to - from > 0.8 * widths_mm[w] - 0.4 && to - from < 1.5 * widths_mm[w] + 0.8);
            }
        drop(a);
    }
    struct kf_anatomy *bare = shaped_spine(0, 0);
    double from, to;
    across_joint(bare, 1, 0, &from, &to);
    KF_CHECK(from > 3 && isnan(to));
    drop(bare);
}

KF_TEST(lost_bone_is_as_dark_as_it_is_said_to_be)
{
    struct kf_phantom_options o;
    double mean[2], shell[2];
    for (int old = 0; old < 2; old++) {
        KF_REQUIRE(kf_phantom_defaults("spine", &o, NULL) == KF_OK);
        for (int c = 0; c < 3; c++)
            o.spacing_mm[c] = 1.5;
        o.trabecular_hu = old ? 80 : 0;
        KF_REQUIRE(kf_phantom_volumes(&o, &image, &labels, NULL) == KF_OK);
        int64_t n = 0, edge = 0;
        const int64_t *d = labels.grid.dim;
        mean[old] = shell[old] = 0;
        for (int64_t k = 3; k < d[2] - 3; k++)
            for (int64_t j = 3; j < d[1] - 3; j++)
                for (int64_t i = 3; i < d[0] - 3; i++) {
                    if (label_at(i, j, k) != KF_L_L3)
                        continue;
                    int deep = 1, outer = 0;
                    for (int c = 0; c < 27; c++) {
                        deep &= label_at(i + 3 * (c % 3 - 1), j + 3 * (c / 3 % 3 - 1), k + 3 * (c / 9 - 1)) == KF_L_L3;
                        outer |= label_at(i + c % 3 - 1, j + c / 3 % 3 - 1, k + c / 9 - 1) != KF_L_L3;
                    }
                    double hu = ((const int16_t *)image.data)[(k * d[1] + j) * d[0] + i];
                    mean[old] += deep ? hu : 0, n += deep;
                    shell[old] += outer ? hu : 0, edge += outer;
                }
        mean[old] /= (double)n, shell[old] /= (double)edge;
        kf_volume_release(&image);
        kf_volume_release(&labels);
    }
    KF_CHECK_NEAR(mean[0], 185, 15);
    KF_CHECK_NEAR(mean[1], 80, 10);
    KF_CHECK(shell[1] < shell[0] - 60 && shell[1] > mean[1] + 60);
}

static struct kf_anatomy *spine_with(int metal, int sacralised)
{
    struct kf_anatomy *a = calloc(1, sizeof *a);
    if (!a || kf_scene_init(&a->scene, kf_tissues, 1, NULL) != KF_OK)
        abort();
    a->seed = 1, a->side = 1, a->metal = metal, a->sacralised = sacralised;
    kf_build_spine(a);
    kf_truth_snap(a);
    return a;
}

KF_TEST(screws_lie_in_the_pedicles_of_l3_to_l5)
{
    struct kf_anatomy *a = spine_with(1, 0);
    KF_REQUIRE(!a->scene.full);
    for (int level = 0; level < 8; level++)
        for (int side = 0; side < 2; side++) {
            char name[32];
            snprintf(name, sizeof name, "%s%d_pedicle_%s", level < 3 ? "T" : "L", level < 3 ? 10 + level : level - 2,
                     side ? "left" : "right");
            KF_CHECK_EQ(kf_paint_label(&a->scene, mark(a, name)), level < 5 ? KF_L_T10 + level : KF_L_METAL);
        }
    KF_CHECK_EQ(kf_paint_label(&a->scene, mark(a, "L4_centre")), KF_L_L4);
    drop(a);
}

KF_TEST(a_sacralised_l5_has_wings)
{
    for (int on = 0; on < 2; on++) {
        struct kf_anatomy *a = spine_with(0, on);
        for (int side = -1; side <= 1; side += 2) {
            struct kf_v3 p = mark(a, side > 0 ? "L5_pedicle_left" : "L5_pedicle_right");
            KF_CHECK_EQ(kf_paint_label(&a->scene, KF_V(50.0 * side, p.y - 3, p.z - 8)) == KF_L_L5, on);
        }
        drop(a);
    }
}

KF_TEST(the_cord_ends_near_l1_and_the_spine_is_lordotic)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct kf_anatomy *a = anatomy_of(kf_build_spine, seed, 1);
        KF_CHECK(mark(a, "conus_tip").z < mark(a, "T12_centre").z &&
                 mark(a, "conus_tip").z > mark(a, "L2_centre").z - 14);
        struct kf_v3 l1 = mark(a, "L1_centre"), l3 = mark(a, "L3_centre"), s1 = mark(a, "S1_centre");
        KF_CHECK(l3.y < l1.y && l3.y < s1.y); // convex to the front
        KF_CHECK(mark(a, "L3_pedicle_left").x > 10 && mark(a, "L3_pedicle_right").x < -10);
        KF_CHECK(mark(a, "L3_spinous_tip").y > mark(a, "L3_canal").y);
        drop(a);
    }
}

KF_TEST(a_leg_has_its_length_and_its_side)
{
    for (int side = -1; side <= 1; side += 2) {
        struct kf_anatomy *a = anatomy_of(kf_build_leg, 3, side);
        double fibula = apart(a, "lateral_malleolus_tip", "fibular_head_apex");
        KF_CHECK(fibula > 280 && fibula < 450);
        struct kf_v3 lateral = mark(a, "lateral_malleolus_tip"), medial = mark(a, "medial_malleolus_tip");
        KF_CHECK(side * (lateral.x - medial.x) > 30);                              // lateral is +x on a left leg
        KF_CHECK(mark(a, "fibular_head_apex").y > mark(a, "tibial_tuberosity").y); // behind
        KF_CHECK(lateral.z < medial.z);                                            // and reaches further down
        drop(a);
    }
    KF_REQUIRE(paint("leg", 1.2));
    KF_CHECK_EQ(touching(KF_L_TIBIA, KF_L_FIBULA), 0);
    KF_CHECK_EQ(touching(KF_L_TIBIA, KF_L_FEMUR), 0);
    KF_CHECK_EQ(touching(KF_L_TIBIA, KF_L_TALUS), 0);
    KF_CHECK(volume_ml(KF_L_MARROW) > 15);
    kf_volume_release(&image);
    kf_volume_release(&labels);
}

KF_TEST(without_bone_nothing_is_dense)
{
    struct kf_phantom_options o;
    KF_REQUIRE(kf_phantom_defaults("head", &o, NULL) == KF_OK);
    o.dim[0] = o.dim[1] = o.dim[2] = 80;
    o.no_bone = 1;
    KF_REQUIRE(kf_phantom_volumes(&o, &image, &labels, NULL) == KF_OK);
    int most = -1024;
    for (int64_t i = 0; i < 80 * 80 * 80; i++)
        most = ((const int16_t *)image.data)[i] > most ? ((const int16_t *)image.data)[i] : most;
    KF_CHECK(most > 40 && most < 220);
    KF_CHECK(volume_ml(KF_L_SKULL) == 0 && volume_ml(KF_L_BODY) > 500);
    kf_volume_release(&image);
    kf_volume_release(&labels);
}

KF_TEST_MAIN(KF_RUN(landmarks_lie_on_what_they_name); KF_RUN(a_head_has_the_measures_of_a_head);
             KF_RUN(missing_teeth_are_gone_and_a_jaw_without_any_is_lower);
             KF_RUN(what_is_resected_is_gone_on_the_left_alone);
             KF_RUN(the_condyle_sits_in_its_fossa_with_a_joint_space); KF_RUN(the_head_s_truth_fits_its_image);
             KF_RUN(vertebrae_are_nine_and_do_not_fuse); KF_RUN(screws_lie_in_the_pedicles_of_l3_to_l5);
             KF_RUN(a_scoliosis_has_its_angle_and_its_side);
             KF_RUN(ilia_lie_beside_the_sacrum_at_the_width_of_the_joint);
             KF_RUN(lost_bone_is_as_dark_as_it_is_said_to_be); KF_RUN(a_sacralised_l5_has_wings);
             KF_RUN(the_cord_ends_near_l1_and_the_spine_is_lordotic);
             KF_RUN(a_leg_has_its_length_and_its_side); KF_RUN(without_bone_nothing_is_dense);)
