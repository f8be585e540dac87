// segment.spine beside the sacrum: shells with holes and a joint between them are one plateau; marrow behind it that has
// next to no markers of the column is an ilium's, and none of the sacrum's own.
#include "server/base/test.h"
#include "workers/io/memory.h"
#include "workers/jobs/segment/spine.h"

#include <stdlib.h>
#include <string.h>

#define N       64
#define FROM    20 // from here on along i the ilium: a shell, the joint's gap, a shell
#define SHELL   2
#define BONE_HU 430

static int16_t values[N * N * N];
static uint8_t labels[N * N * N];

static int64_t at(int i, int j, int k)
{
    return ((int64_t)k * N + j) * N + i;
}

// Marrow of 200 HU on both sides of a joint `gap` mm wide, in shells of 2 mm with a hole of 1 mm in both.
static void lay_joint(int gap)
{
    for (int k = 0; k < N; k++)
        for (int j = 0; j < N; j++)
            for (int i = 0; i < N; i++) {
                int x = i - FROM, hole = j == 32 && k == 30, outer = j < 4 || k < 4 || j > 59 || k > 59;
                int shell = (x >= 0 && x < SHELL) || (x >= SHELL + gap && x < 2 * SHELL + gap);
                values[at(i, j, k)] = (int16_t)(outer                      ? -80
                                                : shell && !hole           ? 900
                                                : x >= SHELL && x < SHELL + gap ? 100
                                                                           : 200);
            }
}

// A canal along z whose middle lies at x = 0, and a disc above everything. The ilium lies to the left, 30 mm aside.
static void lay_spine(struct kf_spine *spine, struct kf_spine_station *stations, struct kf_grid *g)
{
    *g = (struct kf_grid){.dim = {N, N, N},
                          .spacing_mm = {1, 1, 1},
                          .origin_lps = {5, -40, 0},
                          .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    for (int n = 0; n < N; n++)
        stations[n] = (struct kf_spine_station){
            .p = {0, 0, N - 1 - n}, .down = {0, 0, -1}, .front = {0, -1, 0}, .left = {1, 0, 0}};
    *spine = (struct kf_spine){.station = stations, .stations = N, .discs = 1, .vertebrae = 1, .sacrum = 1};
    spine->disc[0] = (struct kf_spine_disc){.normal = {0, 0, -1}, .middle = {0, -22, N}};
}

// Marks the sacrum's marrow up to 4 mm from its shell, and `astray` voxels of the ilium's; 1 where all of the ilium's
// marrow becomes other bone.
static int mark(int gap, double shell_hu, int astray)
{
    struct kf_spine_station stations[N];
    struct kf_spine spine;
    struct kf_grid g;
    struct kf_bits bone = {0}, shells = {0};
    struct kf_work work;
    kf_work_init(&work, 2);
    lay_spine(&spine, stations, &g);
    lay_joint(gap);
    struct kf_volume volume = {.grid = g, .type = KF_VOXEL_INT16, .data = values};
    memset(labels, 0, sizeof labels);
    for (int k = 4; k < 60; k++)
        for (int j = 4; j < 60; j++) {
            for (int i = 0; i < FROM - 4; i++)
                labels[at(i, j, k)] = KF_SPINE_SACRUM;
            for (int i = 0; i < astray; i++)
                labels[at(FROM + 2 * SHELL + gap + i, j, k)] = KF_SPINE_SACRUM;
        }
    KF_CHECK_EQ(kf_bits_alloc(&work, g.dim, &bone), KF_KERNEL_OK);
    KF_CHECK_EQ(kf_bits_threshold(&work, &volume, 50, 3000, &bone), KF_KERNEL_OK);
    KF_CHECK_EQ(kf_spine_find_shells(&work, &volume, shell_hu, &shells), KF_KERNEL_OK);
    KF_CHECK_EQ(kf_spine_mark_ilia(&work, &g, &spine, &bone, &shells, labels), KF_KERNEL_OK);
    int64_t iliac = 0, taken = 0, lost = 0;
    for (int k = 8; k < 56; k++)
        for (int j = 8; j < 56; j++)
            for (int i = 0; i < N; i++) {
                int beyond = i >= FROM + 2 * SHELL + gap;
                iliac += beyond;
                taken += beyond && labels[at(i, j, k)] == KF_SPINE_REST;
                lost += i < FROM && labels[at(i, j, k)] == KF_SPINE_REST;
            }
    KF_CHECK_EQ(lost, 0);
    kf_bits_release(&work, &bone);
    kf_bits_release(&work, &shells);
    return taken == iliac;
}

KF_TEST(marrow_beyond_the_joint_is_an_ilium_s)
{
    for (int gap = 0; gap <= 2; gap++)
        KF_CHECK(mark(gap, BONE_HU, 0));
}

KF_TEST(a_few_markers_astray_make_no_sacrum_of_it_and_many_do)
{
    KF_CHECK(mark(2, BONE_HU, 2));
    KF_CHECK(!mark(2, BONE_HU, 12));
}

KF_TEST(where_no_shell_shows_nothing_is_an_ilium_s)
{
    KF_CHECK(!mark(1, 1000, 0));
}

KF_TEST_MAIN(KF_RUN(marrow_beyond_the_joint_is_an_ilium_s);
             KF_RUN(a_few_markers_astray_make_no_sacrum_of_it_and_many_do);
             KF_RUN(where_no_shell_shows_nothing_is_an_ilium_s);)
