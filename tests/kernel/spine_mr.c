// segment.spine, MR: two finds of one disc are one disc.
#include "server/base/test.h"
#include "workers/io/memory.h"
#include "workers/jobs/segment/spine_mr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDE      64 // mm and voxels
#define DEEP      76
#define TALL      142
#define AXIS      24 // of the bodies, along j
#define APART_MM  35
#define LOWEST_MM 36
#define DISCS     3
#define FLUID     900
#define FAT       640
#define MARROW    300
#define RING      90
#define MUSCLE    130

// A straight column: bodies 40 mm wide with discs of 6 mm between, fluid behind them.
static int16_t value_at(double x, double y, double z)
{
    double up = fmod(z - LOWEST_MM + 10 * APART_MM + 0.5 * APART_MM, APART_MM) - 0.5 * APART_MM;
    if (x * x + y * y < 400)
        return fabs(up) < 3 ? RING : MARROW;
    y -= KF_SPINE_BODY_MM + 4;
    return x * x + y * y < 64 ? FLUID : MUSCLE;
}

static struct kf_spine_disc disc_at(double z, double contrast_hu)
{
    return (struct kf_spine_disc){
        .s = TALL - 1 - z, .normal = {0, 0, -1}, .middle = {0, 0, z}, .contrast_hu = contrast_hu};
}

// Discs as the search may find them: the middle one by its far rim, and `extra` mm from that what it took for one in a
// body. What is left must be the true ones, each in its place and by its own find.
static void check(double rim, double extra)
{
    struct kf_volume fine = {.grid = {.dim = {WIDE, DEEP, TALL},
                                      .spacing_mm = {1, 1, 1},
                                      .origin_lps = {-WIDE / 2, -AXIS, 0},
                                      .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}},
                             .type = KF_VOXEL_INT16},
                     ct = fine;
    const int64_t voxels = (int64_t)WIDE * DEEP * TALL;
    const struct kf_spine_mr mr = {.fluid = FLUID, .body = MARROW, .fat = FAT, .spread = 0.05, .smooth_spread = 0.05};
    struct kf_spine spine = {.stations = TALL};
    struct kf_work work;
    fine.data = malloc((size_t)voxels * 2);
    ct.data = malloc((size_t)voxels * 2);
    spine.station = calloc(TALL, sizeof *spine.station);
    KF_REQUIRE(fine.data && ct.data && spine.station);
    for (int n = 0; n < TALL; n++)
        spine.station[n] = (struct kf_spine_station){.p = {0, KF_SPINE_BODY_MM, TALL - 1 - n},
                                                     .down = {0, 0, -1},
                                                     .front = {0, -1, 0},
                                                     .left = {1, 0, 0}};
    for (int64_t v = 0; v < voxels; v++)
        ((int16_t *)fine.data)[v] = value_at((double)(v % WIDE) - WIDE / 2, (double)(v / WIDE % DEEP) - AXIS,
                                             (double)(v / (WIDE * DEEP)));
    for (int d = 0; d < DISCS; d++) {
        double z = LOWEST_MM + APART_MM * (DISCS - 1 - d);
        if (d == 1 && extra > 0)
            spine.disc[spine.discs++] = disc_at(z + extra, 50);
        spine.disc[spine.discs++] = disc_at(d == 1 ? z + rim : z + 2, 200);
        if (d == 1 && extra < 0)
            spine.disc[spine.discs++] = disc_at(z + extra, 50);
    }
    kf_work_init(&work, 2);
    KF_CHECK_EQ(kf_spine_mr_as_ct(&work, &fine, &spine, &mr, &ct), KF_KERNEL_OK);
    KF_CHECK_EQ(spine.discs, DISCS);
    for (int d = 0; d < DISCS && d < spine.discs; d++) {
        KF_CHECK(fabs(spine.disc[d].middle[2] - (LOWEST_MM + APART_MM * (DISCS - 1 - d))) < 0.7);
        KF_CHECK(spine.disc[d].contrast_hu > 100);
    }
    free(spine.station);
    free(ct.data);
    free(fine.data);
}

KF_TEST(what_was_found_in_a_body_above_a_disc_is_dropped)
{
    check(-6, 12);
}

KF_TEST(what_was_found_in_a_body_below_a_disc_is_dropped)
{
    check(6, -12);
}

KF_TEST_MAIN(KF_RUN(what_was_found_in_a_body_above_a_disc_is_dropped);
             KF_RUN(what_was_found_in_a_body_below_a_disc_is_dropped);)
