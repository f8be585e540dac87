// The rules from series to volume (workers/dicom/series.h) over slices made of numbers alone.
#include "server/base/test.h"
#include "workers/dicom/series.h"

#define MOST 400

struct scene {
    struct kf_slice slices[MOST];
    int content[MOST]; // slices with equal numbers hold equal pixels
    int count;
    struct kf_series_plan plan;
};

static struct scene scene;

static int same(void *context, int a, int b)
{
    (void)context;
    return scene.content[a] == scene.content[b];
}

static const double AXIAL[6] = {1, 0, 0, 0, 1, 0};

static struct kf_slice *add(const double axes[6], double x, double y, double z)
{
    struct kf_slice *s = &scene.slices[scene.count];
    scene.content[scene.count] = scene.count;
    *s = (struct kf_slice){.instance = scene.count,
                           .has_number = 1,
                           .number = scene.count + 1,
                           .rows = 512,
                           .columns = 256,
                           .place = {.has_place = 1,
                                     .position_lps = {x, y, z},
                                     .has_spacing = 1,
                                     .spacing_mm = {0.5, 0.7},
                                     .thickness_mm = 1,
                                     .slope = 1}};
    memcpy(s->place.row_lps, axes, sizeof s->place.row_lps);
    memcpy(s->place.column_lps, axes + 3, sizeof s->place.column_lps);
    scene.count++;
    return s;
}

static void begin(void)
{
    kf_series_plan_release(&scene.plan);
    scene.count = 0;
}

static void plan(void)
{
    struct kf_error err;
    KF_CHECK(kf_series_plan(scene.slices, scene.count, same, NULL, &scene.plan, &err) == KF_OK);
}

static int has_correction(const struct kf_stack *stack, const char *code)
{
    for (int i = 0; i < stack->correction_count; i++)
        if (strcmp(stack->corrections[i].code, code) == 0)
            return 1;
    return 0;
}

// One problem, no volume.
static void check_refused(const char *code, const char *names)
{
    plan();
    KF_CHECK_EQ(scene.plan.stack_count, 0);
    KF_REQUIRE(scene.plan.problem_count > 0);
    KF_CHECK_STR(scene.plan.problems[0].code, code);
    KF_CHECK(strstr(scene.plan.problems[0].detail, names) != NULL);
    if (!strstr(scene.plan.problems[0].detail, names))
        fprintf(stderr, "%s\n", scene.plan.problems[0].detail);
}

KF_TEST(order_comes_from_positions)
{
    static const int shuffled[] = {4, 0, 7, 2, 9, 1, 8, 3, 6, 5};
    begin();
    for (int i = 0; i < 10; i++)
        add(AXIAL, 10, 20, 5 - 1.25 * shuffled[i]);
    plan();
    KF_REQUIRE(scene.plan.stack_count == 1 && scene.plan.problem_count == 0);
    const struct kf_stack *s = &scene.plan.stacks[0];
    KF_CHECK_EQ(s->count, 10);
    for (int k = 0; k < 10; k++)
        KF_CHECK_EQ(shuffled[s->slices[k]], 9 - k); // +k goes with the normal, up
    KF_CHECK_NEAR(s->in.origin_lps[2], 5 - 1.25 * 9, 1e-12);
    KF_CHECK_NEAR(s->in.spacing_mm[2], 1.25, 1e-12);
    KF_CHECK_NEAR(s->in.spacing_mm[0], 0.5, 0);
    KF_CHECK_EQ(s->in.dim[0], 256);
    KF_CHECK_EQ(s->in.dim[1], 512);
    KF_CHECK(!s->sheared && !s->uneven && s->correction_count == 0);
}

// Whatever the orientation, the axes are right-handed and voxel (i, j, k) is where the slice says.
KF_TEST(oblique_grids_agree_with_their_slices)
{
    for (int n = 0; n < 200; n++) {
        double a = 0.1 * n, b = 0.037 * n * n, row[3] = {cos(a) * cos(b), sin(a) * cos(b), sin(b)};
        double up[3] = {-sin(a), cos(a), 0}, axes[6], normal[3];
        for (int i = 0; i < 3; i++) {
            axes[i] = row[i];
            axes[3 + i] = n & 1 ? up[i] : -up[i];
        }
        normal[0] = axes[1] * axes[5] - axes[2] * axes[4];
        normal[1] = axes[2] * axes[3] - axes[0] * axes[5];
        normal[2] = axes[0] * axes[4] - axes[1] * axes[3];
        begin();
        for (int k = 0; k < 5; k++)
            add(axes, 3 - 2 * k * normal[0], 4 - 2 * k * normal[1], 5 - 2 * k * normal[2]);
        plan();
        KF_REQUIRE(scene.plan.stack_count == 1);
        const struct kf_stack *s = &scene.plan.stacks[0];
        const double *d = s->in.direction;
        double det = d[0] * (d[4] * d[8] - d[5] * d[7]) - d[1] * (d[3] * d[8] - d[5] * d[6]) +
                     d[2] * (d[3] * d[7] - d[4] * d[6]);
        KF_CHECK_NEAR(det, 1, 1e-9);
        for (int k = 0; k < 5; k++) {
            const struct kf_slice *slice = &scene.slices[s->slices[k]];
            double ijk[3] = {7, 11, k}, p[3];
            kf_grid_to_lps(&s->in, ijk, p);
            for (int i = 0; i < 3; i++)
                KF_CHECK_NEAR(p[i], slice->place.position_lps[i] + 7 * 0.5 * axes[i] + 11 * 0.7 * axes[3 + i], 1e-6);
        }
    }
}

KF_TEST(a_missing_slice_is_named)
{
    begin();
    for (int k = 0; k < 20; k++)
        if (k != 11)
            add(AXIAL, 0, 0, k);
    check_refused("missing_slice", "instance 11 and instance 12");
}

KF_TEST(one_and_a_half_steps_are_not_yet_missing)
{
    begin();
    for (int k = 0; k < 10; k++)
        add(AXIAL, 0, 0, k < 5 ? k : k + 0.49);
    plan();
    KF_REQUIRE(scene.plan.stack_count == 1);
    KF_CHECK(scene.plan.stacks[0].uneven && has_correction(&scene.plan.stacks[0], "resampled_spacing"));
    begin();
    for (int k = 0; k < 10; k++)
        add(AXIAL, 0, 0, k < 5 ? k : k + 0.51);
    check_refused("missing_slice", "instance 5 and instance 6");
}

KF_TEST(rounded_positions_are_regular)
{
    begin();
    for (int k = 0; k < 300; k++)
        add(AXIAL, 0, 0, rint(k * 0.625 * 100) / 100);
    plan();
    KF_REQUIRE(scene.plan.stack_count == 1);
    KF_CHECK(!scene.plan.stacks[0].uneven);
    KF_CHECK_NEAR(scene.plan.stacks[0].in.spacing_mm[2], 0.625, 1e-4);
}

KF_TEST(equal_duplicates_go_and_different_ones_stop)
{
    begin();
    for (int k = 0; k < 6; k++)
        add(AXIAL, 0, 0, k);
    add(AXIAL, 0, 0, 3);
    scene.content[6] = scene.content[3];
    plan();
    KF_REQUIRE(scene.plan.stack_count == 1);
    KF_CHECK_EQ(scene.plan.stacks[0].count, 6);
    KF_CHECK(has_correction(&scene.plan.stacks[0], "duplicates_dropped"));
    scene.content[6] = 999;
    kf_series_plan_release(&scene.plan);
    check_refused("duplicate_position", "instance 4 and instance 7");
}

KF_TEST(tilt_is_found_and_small_drift_is_not_tilt)
{
    double tilt = 18.5 * 3.14159265358979 / 180;
    double axes[6] = {1, 0, 0, 0, cos(tilt), -sin(tilt)};
    begin();
    for (int k = 0; k < 10; k++)
        add(axes, 0, 0, 3 * k); // the table moves along z, the slices lean
    plan();
    KF_REQUIRE(scene.plan.stack_count == 1);
    const struct kf_stack *s = &scene.plan.stacks[0];
    KF_CHECK(s->sheared && has_correction(s, "gantry_tilt_sheared"));
    KF_CHECK_NEAR(s->tilt_rad, tilt, 1e-9);
    KF_CHECK_NEAR(s->in.spacing_mm[2], 3 * cos(tilt), 1e-9);
    KF_CHECK_NEAR(s->shift_column_mm[9], -27 * sin(tilt), 1e-9);
    begin();
    for (int k = 0; k < 11; k++)
        add(AXIAL, 0.018 * k, 0, k);
    plan();
    KF_REQUIRE(scene.plan.stack_count == 1);
    KF_CHECK(!scene.plan.stacks[0].sheared);
    KF_CHECK_NEAR(scene.plan.stacks[0].in.origin_lps[0], 0.09, 1e-9); // half of the drift at either end
}

KF_TEST(a_slice_off_the_line_is_named)
{
    begin();
    for (int k = 0; k < 10; k++)
        add(AXIAL, k == 6 ? 0.5 : 0, 0, k);
    check_refused("positions_off_line", "instance 7");
}

KF_TEST(two_volumes_of_one_series_are_split)
{
    static const int keys[] = {KF_SPLIT_ECHO, KF_SPLIT_TEMPORAL, KF_SPLIT_ACQUISITION, KF_SPLIT_IMAGE_TYPE};
    for (int i = 0; i < 4; i++) {
        begin();
        for (int k = 0; k < 8; k++)
            for (int v = 0; v < 2; v++)
                add(AXIAL, 0, 0, k)->place.split[keys[i]] = 10 + v;
        plan();
        char code[64];
        snprintf(code, sizeof code, "split_by_%s", kf_dicom_split_names[keys[i]]);
        KF_REQUIRE(scene.plan.stack_count == 2 && scene.plan.problem_count == 0);
        for (int v = 0; v < 2; v++) {
            KF_CHECK_EQ(scene.plan.stacks[v].count, 8);
            KF_CHECK(has_correction(&scene.plan.stacks[v], code));
            for (int k = 0; k < 8; k++)
                KF_CHECK_EQ(scene.plan.stacks[v].slices[k], 2 * k + v);
        }
    }
}

KF_TEST(two_keys_together_are_found)
{
    begin();
    for (int k = 0; k < 5; k++)
        for (int v = 0; v < 6; v++) {
            struct kf_slice *s = add(AXIAL, 0, 0, k);
            s->place.split[KF_SPLIT_ECHO] = v / 3;
            s->place.split[KF_SPLIT_TEMPORAL] = v % 3;
        }
    plan();
    KF_CHECK_EQ(scene.plan.stack_count, 6);
    KF_CHECK_EQ(scene.plan.problem_count, 0);
}

// Step and shoot: every table position has an acquisition number of its own, and all are one volume.
KF_TEST(acquisitions_that_continue_each_other_stay_together)
{
    begin();
    for (int k = 0; k < 16; k++)
        add(AXIAL, 0, 0, k)->place.split[KF_SPLIT_ACQUISITION] = k / 4;
    plan();
    KF_REQUIRE(scene.plan.stack_count == 1);
    KF_CHECK_EQ(scene.plan.stacks[0].count, 16);
}

// Two scans whose slices interleave are two volumes; one scan whose step changes is one.
KF_TEST(interleaved_scans_are_split_and_changing_steps_resampled)
{
    begin();
    for (int k = 0; k < 10; k++)
        for (int v = 0; v < 2; v++)
            add(AXIAL, 0, 0, k + 0.4 * v)->place.split[KF_SPLIT_KERNEL] = v;
    plan();
    KF_REQUIRE(scene.plan.stack_count == 2);
    KF_CHECK(!scene.plan.stacks[0].uneven && !scene.plan.stacks[1].uneven);
    begin();
    for (int k = 0; k < 20; k++)
        add(AXIAL, 0, 0, k < 10 ? k : 9 + 1.3 * (k - 9))->place.split[KF_SPLIT_THICKNESS] = k < 10;
    plan();
    KF_REQUIRE(scene.plan.stack_count == 1);
    KF_CHECK(scene.plan.stacks[0].uneven);
    KF_CHECK_EQ(scene.plan.stacks[0].count, 20);
}

// A missing slice must not be explained away by splitting at the gap into two short stacks.
KF_TEST(splitting_does_not_hide_a_gap)
{
    begin();
    for (int k = 0; k < 4; k++)
        add(AXIAL, 0, 0, k < 3 ? 5 * k : 20)->place.split[KF_SPLIT_ACQUISITION] = k / 2;
    check_refused("missing_slice", "instance 3 and instance 4");
}

KF_TEST(localizers_stand_aside)
{
    double sagittal[6] = {0, 1, 0, 0, 0, -1};
    begin();
    add(sagittal, 0, 0, 0);
    for (int k = 0; k < 5; k++)
        add(AXIAL, 0, 0, k);
    plan();
    KF_REQUIRE(scene.plan.stack_count == 1 && scene.plan.problem_count == 1);
    KF_CHECK_STR(scene.plan.problems[0].code, "other_orientation");
    KF_CHECK(scene.plan.problems[0].set_aside);
}

KF_TEST(orientations_become_volumes_or_are_refused)
{
    double sagittal[6] = {0, 1, 0, 0, 0, -1};
    begin();
    for (int k = 0; k < 4; k++) {
        add(sagittal, k, 0, 0);
        add(AXIAL, 0, 0, k);
    }
    plan();
    KF_REQUIRE(scene.plan.stack_count == 2);
    KF_CHECK(has_correction(&scene.plan.stacks[0], "split_by_orientation"));
    begin();
    add(sagittal, 0, 0, 0);
    add(AXIAL, 0, 0, 0);
    add(sagittal, 1, 0, 0);
    add(AXIAL, 0, 0, 1);
    check_refused("mixed_orientation", "instance 1");
}

KF_TEST(what_cannot_be_a_volume_has_its_own_code)
{
    begin();
    add(AXIAL, 0, 0, 0);
    check_refused("single_slice", "instance 1");
    begin();
    add(AXIAL, 0, 0, 0);
    add(AXIAL, 0, 0, 1);
    check_refused("too_few_slices", "instance 1");
    begin();
    for (int k = 0; k < 5; k++)
        add(AXIAL, 0, 0, 61.5)->place.split[KF_SPLIT_ACQUISITION] = k;
    check_refused("not_a_volume", "instance 1");
    begin();
    for (int k = 0; k < 5; k++)
        add(AXIAL, 0, 0, k)->place.has_place = 0;
    check_refused("no_position", "instance 1");
    begin();
    for (int k = 0; k < 5; k++)
        add(AXIAL, 0, 0, k)->place.has_spacing = 0;
    check_refused("no_pixel_spacing", "instance 1");
    double skewed[6] = {1, 0, 0, 0.1, 1, 0};
    begin();
    for (int k = 0; k < 5; k++)
        add(skewed, 0, 0, k);
    check_refused("orientation_not_orthonormal", "instance 1");
}

KF_TEST(cine_is_refused_not_unfolded)
{
    begin();
    for (int v = 0; v < 80; v++)
        for (int k = 0; k < 5; k++)
            add(AXIAL, 0, 0, k)->place.split[KF_SPLIT_TEMPORAL] = v;
    plan();
    KF_CHECK_EQ(scene.plan.stack_count, 0);
    KF_REQUIRE(scene.plan.problem_count == 1);
    KF_CHECK_STR(scene.plan.problems[0].code, "too_many_volumes");
    begin();
    plan();
    KF_CHECK_EQ(scene.plan.stack_count + scene.plan.problem_count, 0);
    kf_series_plan_release(&scene.plan);
}

// Numbers from a stranger: not numbers, huge, all different. Only not crashing and not taking for ever count.
KF_TEST(hostile_numbers_are_survived)
{
    unsigned r = 7;
    for (int round = 0; round < 30; round++) {
        begin();
        for (int i = 0; i < MOST; i++) {
            r = r * 1664525u + 1013904223u;
            struct kf_slice *s = add(AXIAL, r % 7 ? 0 : r, 0, (double)(r >> 20) * (r % 3 ? 1 : 1e300));
            for (int k = 0; k < KF_SPLIT_COUNT; k++)
                s->place.split[k] = (r >> (k + 5)) % (unsigned)(2 + round % 5);
        }
        plan();
    }
    begin();
    plan();
    kf_series_plan_release(&scene.plan);
}

KF_TEST_MAIN(KF_RUN(order_comes_from_positions); KF_RUN(oblique_grids_agree_with_their_slices);
             KF_RUN(a_missing_slice_is_named); KF_RUN(one_and_a_half_steps_are_not_yet_missing);
             KF_RUN(rounded_positions_are_regular); KF_RUN(equal_duplicates_go_and_different_ones_stop);
             KF_RUN(tilt_is_found_and_small_drift_is_not_tilt); KF_RUN(a_slice_off_the_line_is_named);
             KF_RUN(two_volumes_of_one_series_are_split); KF_RUN(two_keys_together_are_found);
             KF_RUN(acquisitions_that_continue_each_other_stay_together);
             KF_RUN(interleaved_scans_are_split_and_changing_steps_resampled); KF_RUN(splitting_does_not_hide_a_gap);
             KF_RUN(localizers_stand_aside); KF_RUN(orientations_become_volumes_or_are_refused);
             KF_RUN(what_cannot_be_a_volume_has_its_own_code); KF_RUN(cine_is_refused_not_unfolded);
             KF_RUN(hostile_numbers_are_survived);)
