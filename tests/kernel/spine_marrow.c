// segment.spine in old bone: marrow as dark as muscle is found by the thin shells around it, with holes in them; what
// is open, or has a canal in it, is none; and bone that is usual stays as it is.
#include "server/base/test.h"
#include "workers/io/memory.h"
#include "workers/jobs/segment/spine.h"

#include <stdlib.h>
#include <string.h>

#define NX        64
#define NY        84
#define NZ        96
#define VOXELS    ((int64_t)NX * NY * NZ)
#define SHELL     420
#define MUSCLE    60
#define FAT       (-100)
#define CARTILAGE 110
#define YOUNG     210
#define USUAL     430 // HU of usual shells
#define STEP      30  // from disc to disc

static int16_t values[VOXELS], before[VOXELS];

static int64_t at(int i, int j, int k)
{
    return ((int64_t)k * NY + j) * NX + i;
}

// A box [low, high] whose outermost voxels are shell. `open`: without its last face along k.
static void lay_box(const int low[3], const int high[3], int16_t marrow, int open)
{
    for (int k = low[2]; k <= high[2]; k++)
        for (int j = low[1]; j <= high[1]; j++)
            for (int i = low[0]; i <= high[0]; i++) {
                int shell = i == low[0] || i == high[0] || j == low[1] || j == high[1] || k == low[2] ||
                            (k == high[2] && !open);
                values[at(i, j, k)] = shell ? SHELL : marrow;
            }
}

// Bodies of 24 mm between discs of 6 mm, 22 mm before a canal at j = 46; behind it a process with a hole of 1 mm in its
// shell, beside that one which is open, and a closed box around the canal.
static void lay_column(int16_t marrow)
{
    for (int64_t v = 0; v < VOXELS; v++)
        values[v] = MUSCLE;
    for (int k = 0; k < NZ; k++)
        for (int j = 0; j < NY; j++)
            for (int i = 0; i < NX; i++) {
                double x = (i - 32) / 20.0, y = (j - 24) / 15.0, r = x * x + y * y;
                int high = (k + STEP / 2) % STEP - STEP / 2, disc = high > -3 && high < 3;
                if (r <= 1 && !disc)
                    values[at(i, j, k)] = (int16_t)(r > 0.87 || high == -3 || high == 3 ? SHELL : marrow);
            }
    lay_box((int[]){26, 58, 34}, (int[]){38, 78, 48}, marrow, 0);
    values[at(32, 58, 40)] = MUSCLE;
    lay_box((int[]){44, 58, 34}, (int[]){54, 78, 48}, marrow, 1);
    lay_box((int[]){26, 41, 4}, (int[]){38, 52, 56}, MUSCLE, 0);
    memcpy(before, values, sizeof values);
}

static enum kf_kernel_status lift(int threads, struct kf_spine_bone *bone)
{
    static struct kf_spine_station stations[NZ];
    struct kf_spine spine = {.station = stations, .stations = NZ, .discs = 4};
    struct kf_volume volume = {.grid = {.dim = {NX, NY, NZ},
                                        .spacing_mm = {1, 1, 1},
                                        .origin_lps = {-32, -46, 0},
                                        .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}},
                               .type = KF_VOXEL_INT16,
                               .data = values};
    struct kf_work work;
    kf_work_init(&work, threads);
    for (int n = 0; n < NZ; n++)
        stations[n] = (struct kf_spine_station){
            .p = {0, 0, NZ - 1 - n}, .down = {0, 0, -1}, .front = {0, -1, 0}, .left = {1, 0, 0}};
    for (int d = 0; d < 4; d++)
        spine.disc[d] = (struct kf_spine_disc){
            .s = NZ - 1 - (3 - d) * STEP, .normal = {0, 0, -1}, .middle = {0, -KF_SPINE_BODY_MM, (3 - d) * STEP}};
    *bone = (struct kf_spine_bone){.shell_hu = USUAL, .spongy_hu = KF_SPINE_SPONGY * USUAL};
    return kf_spine_lift_marrow(&work, &volume, &spine, bone);
}

// Voxels of a box that were lifted.
static int64_t lifted(const int low[3], const int high[3])
{
    int64_t count = 0;
    for (int k = low[2]; k <= high[2]; k++)
        for (int j = low[1]; j <= high[1]; j++)
            for (int i = low[0]; i <= high[0]; i++)
                count += values[at(i, j, k)] > before[at(i, j, k)] + 80;
    return count;
}

KF_TEST(dark_marrow_in_a_thin_shell_with_a_hole_is_found)
{
    struct kf_spine_bone bone;
    lay_column(MUSCLE);
    KF_CHECK_EQ(lift(2, &bone), KF_KERNEL_OK);
    KF_CHECK(bone.shell_hu > MUSCLE + 80 && bone.shell_hu < SHELL - 80);
    KF_CHECK_EQ(bone.spongy_hu, KF_SPINE_SPONGY * USUAL);
    KF_CHECK(lifted((int[]){27, 59, 35}, (int[]){37, 77, 47}) >= 11 * 19 * 13 - 8); // no ball fills the corners
}

KF_TEST(what_is_open_or_a_canal_is_no_marrow)
{
    struct kf_spine_bone bone;
    lay_column(MUSCLE);
    KF_CHECK_EQ(lift(2, &bone), KF_KERNEL_OK);
    KF_CHECK_EQ(lifted((int[]){44, 58, 34}, (int[]){54, 78, 56}), 0);
    KF_CHECK_EQ(lifted((int[]){26, 41, 4}, (int[]){38, 52, 56}), 0);
    int64_t all = 0, beyond = 0;
    for (int64_t v = 0; v < VOXELS; v++) {
        int changed = values[v] != before[v];
        all += changed;
        beyond += changed && before[v] != MUSCLE;
    }
    KF_CHECK(all < 11 * 19 * 13 + 100); // a ball comes through the hole by a little
    KF_CHECK_EQ(beyond, 0);
}

static void fill(const int low[3], const int high[3], int16_t value)
{
    for (int k = low[2]; k <= high[2]; k++)
        for (int j = low[1]; j <= high[1]; j++)
            for (int i = low[0]; i <= high[0]; i++)
                values[at(i, j, k)] = value;
}

// A hole of 7 mm, which no growth closes, in a box too wide for rays.
KF_TEST(a_wide_hole_towards_fat_is_no_way_out)
{
    struct kf_spine_bone bone;
    lay_column(MUSCLE);
    fill((int[]){0, 54, 56}, (int[]){2, 83, 94}, FAT);
    lay_box((int[]){2, 56, 58}, (int[]){24, 82, 92}, MUSCLE, 0);
    fill((int[]){2, 66, 72}, (int[]){2, 72, 78}, FAT);
    memcpy(before, values, sizeof values);
    KF_CHECK_EQ(lift(2, &bone), KF_KERNEL_OK);
    KF_CHECK(lifted((int[]){3, 57, 59}, (int[]){23, 81, 91}) > 21 * 25 * 33 * 9 / 10);
}

KF_TEST(a_wide_hole_towards_muscle_is_no_way_out_of_a_narrow_part)
{
    struct kf_spine_bone bone;
    lay_column(MUSCLE);
    fill((int[]){26, 62, 38}, (int[]){26, 67, 43}, MUSCLE);
    memcpy(before, values, sizeof values);
    KF_CHECK_EQ(lift(2, &bone), KF_KERNEL_OK);
    KF_CHECK(lifted((int[]){27, 59, 35}, (int[]){37, 77, 47}) > 11 * 19 * 13 * 8 / 10);
    KF_CHECK_EQ(lifted((int[]){44, 58, 34}, (int[]){54, 78, 56}), 0);
}

// Two plates in fat, 4 mm apart.
KF_TEST(a_joint_is_no_marrow)
{
    struct kf_spine_bone bone;
    lay_column(MUSCLE);
    fill((int[]){2, 54, 56}, (int[]){24, 82, 82}, FAT);
    fill((int[]){5, 60, 60}, (int[]){8, 73, 73}, SHELL);
    fill((int[]){9, 60, 60}, (int[]){12, 73, 73}, CARTILAGE);
    fill((int[]){13, 60, 60}, (int[]){16, 73, 73}, SHELL);
    memcpy(before, values, sizeof values);
    KF_CHECK_EQ(lift(2, &bone), KF_KERNEL_OK);
    KF_CHECK_EQ(lifted((int[]){2, 54, 56}, (int[]){24, 82, 82}), 0);
}

KF_TEST(usual_bone_stays_as_it_is)
{
    struct kf_spine_bone bone;
    lay_column(YOUNG);
    KF_CHECK_EQ(lift(2, &bone), KF_KERNEL_OK);
    KF_CHECK_EQ(bone.shell_hu, USUAL);
    KF_CHECK_EQ(memcmp(values, before, sizeof values), 0);
}

KF_TEST(threads_change_nothing)
{
    struct kf_spine_bone bone[2];
    int16_t *one = malloc(sizeof values);
    KF_REQUIRE(one);
    lay_column(MUSCLE);
    KF_CHECK_EQ(lift(1, &bone[0]), KF_KERNEL_OK);
    memcpy(one, values, sizeof values);
    lay_column(MUSCLE);
    KF_CHECK_EQ(lift(3, &bone[1]), KF_KERNEL_OK);
    KF_CHECK_EQ(memcmp(values, one, sizeof values), 0);
    KF_CHECK_EQ(bone[0].shell_hu, bone[1].shell_hu);
    free(one);
}

KF_TEST_MAIN(KF_RUN(dark_marrow_in_a_thin_shell_with_a_hole_is_found); KF_RUN(what_is_open_or_a_canal_is_no_marrow);
             KF_RUN(a_wide_hole_towards_fat_is_no_way_out);
             KF_RUN(a_wide_hole_towards_muscle_is_no_way_out_of_a_narrow_part); KF_RUN(a_joint_is_no_marrow);
             KF_RUN(usual_bone_stays_as_it_is); KF_RUN(threads_change_nothing);)
