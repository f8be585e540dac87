// Tibia and fibula on a small phantom: the same bytes everywhere, the true labels, both sides, and refusals.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/jobs/phantom/anatomy.h"
#include "workers/jobs/phantom/phantom.h"
#include "workers/jobs/segment/leg.h"

static struct kf_volume image, truth;

static int make_leg(int left)
{
    struct kf_phantom_options options;
    struct kf_error err = {0};
    kf_volume_release(&image);
    kf_volume_release(&truth);
    if (kf_phantom_defaults("leg", &options, &err))
        return 0;
    options.seed = 31;
    options.left = left;
    options.threads = 2;
    options.spacing_mm[0] = options.spacing_mm[1] = 1.25;
    options.spacing_mm[2] = 2;
    return kf_phantom_volumes(&options, &image, &truth, &err) == KF_OK;
}

static enum kf_kernel_status run(const struct kf_work *work, void *out, void *user)
{
    struct kf_legs legs;
    enum kf_kernel_status status = kf_leg_segment(work, user, out, &legs);
    return status ? status : legs.count == 1 && legs.leg[0].voxels[1] > 0 ? KF_KERNEL_OK : KF_KERNEL_INVALID;
}

// Dice of a label with a truth label; voxels of marrow in the truth count for neither side.
static double dice(const uint8_t *labels, int label, int true_label)
{
    const uint8_t *t = truth.data;
    int64_t a = 0, b = 0, both = 0, count = kf_grid_voxels(&truth.grid);
    for (int64_t n = 0; n < count; n++)
        if (t[n] != KF_L_MARROW) {
            a += labels[n] == label, b += t[n] == true_label;
            both += labels[n] == label && t[n] == true_label;
        }
    return 2 * (double)both / (double)(a + b);
}

KF_TEST(a_leg_is_the_same_at_any_thread_count_and_level)
{
    KF_CHECK(make_leg(1));
    int64_t count = kf_grid_voxels(&image.grid);
    uint8_t *labels = malloc((size_t)count);
    KF_CHECK(parity_failures_in(0, run, &image, (size_t)count, labels) == 0);
    KF_CHECK(dice(labels, KF_LEG_TIBIA_LEFT, KF_L_TIBIA) > 0.97);
    KF_CHECK(dice(labels, KF_LEG_FIBULA_LEFT, KF_L_FIBULA) > 0.96);
    free(labels);
}

KF_TEST(a_right_leg_has_the_other_labels_and_floats_the_same)
{
    KF_CHECK(make_leg(0));
    int64_t count = kf_grid_voxels(&image.grid);
    struct kf_volume floats = {.grid = image.grid, .type = KF_VOXEL_FLOAT32};
    struct kf_legs legs;
    struct kf_work work;
    kf_work_init(&work, 2);
    uint8_t *labels = malloc((size_t)count), *again = malloc((size_t)count);
    float *values = malloc((size_t)count * sizeof *values);
    for (int64_t n = 0; n < count; n++)
        values[n] = (float)((const int16_t *)image.data)[n];
    floats.data = values;
    KF_CHECK(kf_leg_segment(&work, &image, labels, &legs) == KF_KERNEL_OK && legs.count == 1);
    KF_CHECK(legs.leg[0].tibia == KF_LEG_TIBIA_RIGHT && !legs.leg[0].cropped_low && !legs.leg[0].cropped_high);
    KF_CHECK(dice(labels, KF_LEG_TIBIA_RIGHT, KF_L_TIBIA) > 0.97);
    KF_CHECK(dice(labels, KF_LEG_FIBULA_RIGHT, KF_L_FIBULA) > 0.96);
    KF_CHECK(kf_leg_segment(&work, &floats, again, &legs) == KF_KERNEL_OK);
    int64_t differ = 0; // means of floats are not rounded to whole HU
    for (int64_t n = 0; n < count; n++)
        differ += labels[n] != again[n];
    KF_CHECK(differ < legs.leg[0].voxels[1] / 200);
    free(values);
    free(again);
    free(labels);
}

KF_TEST(a_leg_turned_about_its_axis_has_no_side)
{
    KF_CHECK(make_leg(1));
    struct kf_legs legs;
    struct kf_work work;
    kf_work_init(&work, 2);
    uint8_t *labels = malloc((size_t)kf_grid_voxels(&image.grid));
    const double turned[9] = {0.5, -0.86602540378443865, 0, 0.86602540378443865, 0.5, 0, 0, 0, 1}; // by 60°
    memcpy(image.grid.direction, turned, sizeof turned);
    KF_CHECK(kf_leg_segment(&work, &image, labels, &legs) == KF_KERNEL_OK && legs.count == 1);
    KF_CHECK(legs.leg[0].tibia == KF_LEG_TIBIA_UNSIDED);
    KF_CHECK(dice(labels, KF_LEG_FIBULA_UNSIDED, KF_L_FIBULA) > 0.95);
    free(labels);
}

// The image beside its own mirror image, as two legs of one patient, the second at lower x. `fused`: all between tibia
// and fibula of the second is bone, so that no separation tells them apart.
static int two_legs(int fused, struct kf_volume *both)
{
    const int64_t *d = image.grid.dim;
    *both = (struct kf_volume){.grid = image.grid, .type = KF_VOXEL_INT16};
    both->grid.dim[0] = 2 * d[0];
    int16_t *v = malloc((size_t)kf_grid_voxels(&both->grid) * sizeof *v);
    const int16_t *from = image.data;
    const uint8_t *true_label = truth.data;
    both->data = v;
    for (int64_t row = 0; row < d[1] * d[2]; row++) {
        int64_t first = -1, last = -1;
        for (int64_t i = 0; i < d[0]; i++) {
            int bone = true_label[row * d[0] + i] == KF_L_TIBIA || true_label[row * d[0] + i] == KF_L_FIBULA;
            first = bone && first < 0 ? i : first;
            last = bone ? i : last;
        }
        for (int64_t i = 0; i < d[0]; i++) {
            v[2 * row * d[0] + d[0] + i] = from[row * d[0] + i];
            v[2 * row * d[0] + d[0] - 1 - i] =
                fused && first >= 0 && i >= first && i <= last ? 1200 : from[row * d[0] + i];
        }
    }
    return v != NULL;
}

KF_TEST(a_second_leg_that_cannot_be_told_apart_is_not_passed_over_in_silence)
{
    struct kf_legs legs;
    struct kf_work work;
    struct kf_volume both;
    kf_work_init(&work, 2);
    KF_CHECK(make_leg(1));
    for (int fused = 0; fused < 2; fused++) {
        KF_CHECK(two_legs(fused, &both));
        uint8_t *labels = malloc((size_t)kf_grid_voxels(&both.grid));
        KF_CHECK(kf_leg_segment(&work, &both, labels, &legs) == KF_KERNEL_OK);
        KF_CHECK(legs.count == 2 - fused && legs.missed == fused);
        KF_CHECK(legs.count && (legs.leg[0].tibia == KF_LEG_TIBIA_LEFT || legs.leg[1].tibia == KF_LEG_TIBIA_LEFT));
        free(labels);
        free(both.data);
    }
    uint8_t *labels = malloc((size_t)kf_grid_voxels(&image.grid));
    KF_CHECK(kf_leg_segment(&work, &image, labels, &legs) == KF_KERNEL_OK && legs.count == 1 && !legs.missed);
    free(labels);
}

// The box around its bone is 2000 km wide: in millimetres no count of bytes holds it.
KF_TEST(an_image_of_kilometres_is_refused)
{
    struct kf_work work;
    struct kf_legs legs;
    struct kf_volume wide;
    struct kf_grid grid = {
        .dim = {240, 240, 240}, .spacing_mm = {9000, 9000, 9000}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    kf_work_init(&work, 2);
    KF_REQUIRE(kf_volume_alloc(&wide, &grid, KF_VOXEL_INT16, NULL) == KF_OK);
    int64_t count = kf_grid_voxels(&grid);
    memset(wide.data, 0, (size_t)(2 * count));
    ((int16_t *)wide.data)[0] = ((int16_t *)wide.data)[count - 1] = 1000;
    uint8_t *labels = malloc((size_t)count);
    KF_CHECK_EQ(kf_leg_segment(&work, &wide, labels, &legs), KF_KERNEL_TOO_LARGE);
    free(labels);
    kf_volume_release(&wide);
}

KF_TEST(what_is_no_leg_gets_no_label)
{
    struct kf_volume v = {
        .grid = {.dim = {60, 70, 80}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}},
        .type = KF_VOXEL_INT16};
    enum { COUNT = 60 * 70 * 80 };
    struct kf_legs legs;
    struct kf_work work;
    kf_work_init(&work, 1);
    int16_t *values = malloc(COUNT * sizeof *values);
    uint8_t *labels = malloc(COUNT);
    uint64_t state = 9;
    v.data = values;
    for (int turn = 0; turn < 3; turn++) {
        int64_t set = 0;
        for (int64_t n = 0; n < COUNT; n++) { // air, noise, two equal rods
            int64_t x = n % 60, y = n / 60 % 70;
            int rod = (x - 15) * (x - 15) + (y - 30) * (y - 30) < 60 || (x - 45) * (x - 45) + (y - 30) * (y - 30) < 60;
            values[n] = (int16_t)(turn == 0   ? -1000
                                  : turn == 1 ? (int)(test_random(&state) % 3000) - 1000
                                  : rod       ? 1200
                                              : 40);
        }
        KF_CHECK(kf_leg_segment(&work, &v, labels, &legs) == KF_KERNEL_OK && legs.count == 0);
        KF_CHECK(legs.reason == (turn == 0 ? KF_LEG_NO_BONE : KF_LEG_NO_PAIR));
        for (int64_t n = 0; n < COUNT; n++)
            set += labels[n] != 0;
        KF_CHECK(set == 0);
    }
    v.type = KF_VOXEL_UINT8;
    KF_CHECK(kf_leg_segment(&work, &v, labels, &legs) == KF_KERNEL_INVALID);
    free(labels);
    free(values);
}

KF_TEST_MAIN(KF_RUN(a_leg_is_the_same_at_any_thread_count_and_level);
             KF_RUN(a_right_leg_has_the_other_labels_and_floats_the_same);
             KF_RUN(a_leg_turned_about_its_axis_has_no_side);
             KF_RUN(a_second_leg_that_cannot_be_told_apart_is_not_passed_over_in_silence);
             KF_RUN(an_image_of_kilometres_is_refused); KF_RUN(what_is_no_leg_gets_no_label);)
