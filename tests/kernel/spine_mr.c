// segment.spine, MR: two finds of one disc are one disc, in noise a body ends at its surface, a black canal leaves
// values to tell by, a bright nucleus in a dark ring is a T2, a bright disc none, and arches are found by place and
// value.
#include "server/base/test.h"
#include "workers/io/memory.h"
#include "workers/jobs/segment/spine_mr.h"
#include "workers/jobs/segment/spine_mr_arch.h"

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
    if (x >= 20 && x < 28 && fabs(y) < 4 && fabs(z - LOWEST_MM - 1.5 * APART_MM) < 4) // tissue as bright as marrow
        return MARROW;
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

struct column {
    struct kf_volume fine, ct;
    struct kf_spine spine;
};

// The column of value_at; the caller adds discs and gives back what it holds.
static int make(struct column *out)
{
    const int64_t voxels = (int64_t)WIDE * DEEP * TALL;
    out->fine = (struct kf_volume){.grid = {.dim = {WIDE, DEEP, TALL},
                                            .spacing_mm = {1, 1, 1},
                                            .origin_lps = {-WIDE / 2, -AXIS, 0},
                                            .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}},
                                   .type = KF_VOXEL_INT16};
    out->ct = out->fine;
    out->spine = (struct kf_spine){.stations = TALL};
    out->fine.data = malloc((size_t)voxels * 2);
    out->ct.data = malloc((size_t)voxels * 2);
    out->spine.station = calloc(KF_SPINE_STATIONS, sizeof *out->spine.station);
    if (!out->fine.data || !out->ct.data || !out->spine.station)
        return 0;
    for (int n = 0; n < TALL; n++)
        out->spine.station[n] = (struct kf_spine_station){
            .p = {0, KF_SPINE_BODY_MM, TALL - 1 - n}, .down = {0, 0, -1}, .front = {0, -1, 0}, .left = {1, 0, 0}};
    for (int64_t v = 0; v < voxels; v++)
        ((int16_t *)out->fine.data)[v] =
            value_at((double)(v % WIDE) - WIDE / 2, (double)(v / WIDE % DEEP) - AXIS, (double)(v / (WIDE * DEEP)));
    return 1;
}

static void release(struct column *column)
{
    free(column->spine.station);
    free(column->ct.data);
    free(column->fine.data);
}

static enum kf_kernel_status paint(struct column *column, double spread)
{
    const struct kf_spine_mr mr = {
        .fluid = FLUID, .body = MARROW, .fat = FAT, .spread = spread, .smooth_spread = spread};
    struct kf_work work;
    kf_work_init(&work, 2);
    return kf_spine_mr_as_ct(&work, &column->fine, &column->spine, &mr, &column->ct);
}

static double height_of(int d)
{
    return LOWEST_MM + APART_MM * (DISCS - 1 - d);
}

// Discs as the search may find them: the middle one by its far rim, and `extra` mm from its place what it took for one
// in a body. What is left must be the true ones, each in its place and by its own find.
static void check(double rim, double extra)
{
    struct column column;
    KF_REQUIRE(make(&column));
    struct kf_spine *spine = &column.spine;
    for (int d = 0; d < DISCS; d++) {
        if (d == 1 && extra > 0)
            spine->disc[spine->discs++] = disc_at(height_of(d) + extra, 50);
        spine->disc[spine->discs++] = disc_at(height_of(d) + (d == 1 ? rim : 2), 200);
        if (d == 1 && extra < 0)
            spine->disc[spine->discs++] = disc_at(height_of(d) + extra, 50);
    }
    KF_CHECK_EQ(paint(&column, 0.05), KF_KERNEL_OK);
    KF_CHECK_EQ(spine->discs, DISCS);
    for (int d = 0; d < DISCS && d < spine->discs; d++) {
        KF_CHECK(fabs(spine->disc[d].middle[2] - height_of(d)) < 0.7);
        KF_CHECK(spine->disc[d].contrast_hu > 100);
    }
    release(&column);
}

// What is painted 5 mm beside a body, in an image whose bodies' values have that spread.
static void beside(double spread, int16_t *hu)
{
    struct column column;
    KF_REQUIRE(make(&column));
    for (int d = 0; d < DISCS; d++)
        column.spine.disc[column.spine.discs++] = disc_at(height_of(d), 200);
    KF_CHECK_EQ(paint(&column, spread), KF_KERNEL_OK);
    int64_t k = (int64_t)(height_of(1) + 0.5 * APART_MM);
    *hu = ((int16_t *)column.ct.data)[(k * DEEP + AXIS) * WIDE + WIDE / 2 + 25];
    release(&column);
}

KF_TEST(in_noise_what_is_like_marrow_beside_a_body_is_no_bone)
{
    int16_t clean = 0, noisy = 0;
    beside(0.05, &clean);
    beside(0.2, &noisy);
    KF_CHECK(clean >= KF_SPINE_MR_BONE_HU); // by its value alone it is
    KF_CHECK(noisy < KF_SPINE_MR_BONE_HU);
}

KF_TEST(what_was_found_in_a_body_above_a_disc_is_dropped)
{
    check(-6, 12);
}

KF_TEST(what_was_found_in_a_body_below_a_disc_is_dropped)
{
    check(6, -12);
}

// Where the canal holds no signal fat, root and fluid still differ: what is measured between them is a number.
KF_TEST(a_black_canal_leaves_a_scale)
{
    struct column column;
    struct kf_spine_mr mr = {0};
    struct kf_work work;
    kf_work_init(&work, 2);
    KF_REQUIRE(make(&column));
    for (int64_t v = 0; v < (int64_t)WIDE * DEEP * TALL; v++) // black from 2 mm before the canal's tube of 5 mm
        if ((double)(v / WIDE % DEEP) - AXIS > KF_SPINE_BODY_MM - 7)
            ((int16_t *)column.fine.data)[v] = 0;
    KF_CHECK_EQ(kf_spine_mr_discs(&work, &column.fine, &column.fine, &column.spine, &mr), KF_KERNEL_OK);
    KF_CHECK_NEAR(mr.body, MARROW, 1);
    KF_CHECK(mr.fat > mr.look.root && mr.look.root > 0);
    release(&column);
}

// Whether discs of such rings and nuclei (within 11 mm of the axis) are taken for those of a T2.
static int is_t2_with(int16_t ring, int16_t nucleus)
{
    struct column column;
    struct kf_spine_mr mr = {0};
    struct kf_work work;
    kf_work_init(&work, 2);
    KF_CHECK(make(&column));
    int16_t *value = column.fine.data;
    for (int64_t v = 0; v < (int64_t)WIDE * DEEP * TALL; v++) {
        double x = (double)(v % WIDE) - WIDE / 2, y = (double)(v / WIDE % DEEP) - AXIS;
        if (value[v] == RING)
            value[v] = x * x + y * y < 121 ? nucleus : ring;
    }
    KF_CHECK_EQ(kf_spine_mr_discs(&work, &column.fine, &column.fine, &column.spine, &mr), KF_KERNEL_OK);
    KF_CHECK_EQ(mr.has_bodies, 1);
    release(&column);
    return mr.is_t2;
}

KF_TEST(discs_bright_throughout_are_of_no_t2)
{
    KF_CHECK_EQ(is_t2_with(RING, RING), 1);
    KF_CHECK_EQ(is_t2_with(RING, 2 * MARROW), 1); // more of it is bright than dark
    KF_CHECK_EQ(is_t2_with(4 * MARROW / 3, 4 * MARROW / 3), 0);
    KF_CHECK_EQ(is_t2_with(4 * MARROW / 3, 2 * MARROW), 0);
}

// Arches as the atlas's likelier half has them, 3 mm farther back, smaller and lower than in it: whether a place is
// bone.
static int is_arch(double x, double y, double z)
{
    const double size = 0.9 * APART_MM / KF_ARCH_PITCH_MM;
    double u = fabs(x) / size, v = (KF_SPINE_BODY_MM - y + 3) / size, share = (height_of(0) - z) / APART_MM + 0.06;
    int i = (int)(u / KF_ARCH_CELL_MM), j = (int)floor((v - KF_ARCH_BACK_MM) / KF_ARCH_CELL_MM),
        k = (int)(KF_ARCH_TALL * (share - floor(share)));
    return i < KF_ARCH_WIDE && j >= 0 && j < KF_ARCH_DEEP && kf_spine_mr_atlas[k][KF_ARCH_DEEP - 1 - j][i] >= 'a' + 13;
}

#define BACK_DEEP 112 // voxels from AXIS before the bodies' axis backwards
#define BACK_WIDE 96

// A back whose arches have `marrow`, between muscle and fat, with blobs of that value where no arch is; what is found
// of it. *dice: of bone behind the bodies. *blobs: share of them that was taken for bone.
static enum kf_kernel_status find_arches(int threads, int16_t marrow, int discs, uint8_t *arch, double *dice,
                                         double *blobs)
{
    struct column column;
    struct kf_work work;
    const int64_t dim[3] = {BACK_WIDE, BACK_DEEP, TALL}, voxels = dim[0] * dim[1] * dim[2];
    const struct kf_spine_mr mr = {.fluid = FLUID, .body = MARROW, .fat = FAT};
    uint8_t *none = calloc((size_t)voxels, 1);
    int64_t both = 0, truth = 0, ours = 0, blob = 0, taken = 0;
    KF_CHECK(make(&column) && none);
    free(column.fine.data);
    int16_t *value = column.fine.data = malloc((size_t)voxels * 2);
    memcpy(column.fine.grid.dim, dim, sizeof dim);
    column.fine.grid.origin_lps[0] = -BACK_WIDE / 2;
    for (int d = 0; d < discs; d++)
        column.spine.disc[column.spine.discs++] = disc_at(height_of(d), 200);
    for (int turn = 0; turn < 2; turn++) { // makes it, then compares
        if (turn == 1) {
            kf_work_init(&work, threads);
            enum kf_kernel_status status =
                kf_spine_mr_arches(&work, &column.fine, &column.spine, &mr, column.spine.stations, none, arch);
            if (status)
                return status;
        }
        for (int64_t v = 0; v < voxels; v++) {
            double x = (double)(v % dim[0]) - BACK_WIDE / 2, y = (double)(v / dim[0] % dim[1]) - AXIS,
                   z = (double)(v / (dim[0] * dim[1]));
            int behind = KF_SPINE_BODY_MM - y < 5, bone = is_arch(x, y, z),
                fat = (int)floor(x / 5) % 3 == 0 && (int)floor(y / 5) % 3 == 0;
            int is_blob = fabs(x) > 24 && y > 52 && (int)floor(z / 8) % 3 == 0;
            if (turn == 0)
                value[v] = (int16_t)(bone || is_blob ? marrow : fat ? FAT : MUSCLE);
            else if (behind && arch[v] != KF_ARCH_ELSEWHERE) {
                int found = arch[v] != KF_ARCH_SOFT;
                both += bone && found, truth += bone, ours += found;
                blob += is_blob && !bone, taken += is_blob && !bone && found;
            }
        }
    }
    *dice = 2.0 * (double)both / (double)(truth + ours + 1);
    *blobs = (double)taken / (double)(blob + 1);
    free(none);
    release(&column);
    return KF_KERNEL_OK;
}

// Of a back whose arches have `marrow`, the share that is painted as bone; *by_form as the spine has it.
static double painted_arches(int16_t marrow, int *by_form)
{
    struct column column;
    const int64_t dim[3] = {BACK_WIDE, BACK_DEEP, TALL}, voxels = dim[0] * dim[1] * dim[2];
    int64_t truth = 0, painted = 0;
    KF_CHECK(make(&column));
    free(column.fine.data);
    free(column.ct.data);
    int16_t *value = column.fine.data = malloc((size_t)voxels * 2), *hu = column.ct.data = malloc((size_t)voxels * 2);
    KF_CHECK(value && hu);
    column.fine.grid.origin_lps[0] = -BACK_WIDE / 2;
    memcpy(column.fine.grid.dim, dim, sizeof dim);
    column.ct.grid = column.fine.grid;
    for (int d = 0; d < DISCS; d++)
        column.spine.disc[column.spine.discs++] = disc_at(height_of(d), 200);
    for (int turn = 0; turn < 2; turn++) {
        for (int64_t v = 0; v < voxels; v++) {
            double x = (double)(v % dim[0]) - BACK_WIDE / 2, y = (double)(v / dim[0] % dim[1]) - AXIS,
                   z = (double)(v / (dim[0] * dim[1]));
            int behind = y > KF_SPINE_BODY_MM + 8, arch = is_arch(x, y, z);
            if (turn == 0)
                value[v] = y > KF_SPINE_BODY_MM - 9 && arch ? marrow : value_at(x, y, z);
            else if (behind && arch)
                truth++, painted += hu[v] >= KF_SPINE_MR_BONE_HU;
        }
        if (turn == 0)
            KF_CHECK_EQ(paint(&column, 0.05), KF_KERNEL_OK);
    }
    *by_form = column.spine.arches_by_form;
    release(&column);
    return (double)painted / (double)truth;
}

KF_TEST(the_form_of_arches_counts_where_marrow_is_no_evidence)
{
    int by_form = 0;
    double dim = painted_arches(3 * MARROW / 5, &by_form);
    KF_CHECK_EQ(by_form, 1);
    KF_CHECK(dim > 0.85);
    double bright = painted_arches(MARROW, &by_form);
    KF_CHECK_EQ(by_form, 0);
    KF_CHECK(bright > 0.85);
}

KF_TEST(arches_of_dim_marrow_are_found_where_arches_are)
{
    const int64_t voxels = (int64_t)BACK_WIDE * BACK_DEEP * TALL;
    uint8_t *arch = malloc((size_t)voxels), *again = malloc((size_t)voxels);
    double dice = 0, blobs = 1;
    KF_REQUIRE(arch && again);
    KF_CHECK_EQ(find_arches(1, 2 * MARROW / 3, DISCS, arch, &dice, &blobs), KF_KERNEL_OK);
    KF_CHECK(dice > 0.9);
    KF_CHECK(blobs < 0.02);
    KF_CHECK_EQ(find_arches(3, 2 * MARROW / 3, DISCS, again, &dice, &blobs), KF_KERNEL_OK);
    KF_CHECK(memcmp(arch, again, (size_t)voxels) == 0);
    free(again);
    free(arch);
}

KF_TEST(without_arches_or_a_second_disc_none_are_made_up)
{
    const int64_t voxels = (int64_t)BACK_WIDE * BACK_DEEP * TALL;
    uint8_t *arch = malloc((size_t)voxels);
    double dice, blobs;
    KF_REQUIRE(arch);
    for (int discs = 1; discs <= DISCS; discs += 2) {
        KF_CHECK_EQ(find_arches(2, discs == 1 ? 2 * MARROW / 3 : MUSCLE, discs, arch, &dice, &blobs), KF_KERNEL_OK);
        for (int64_t v = 0; v < voxels; v++)
            if (arch[v] != KF_ARCH_ELSEWHERE) {
                KF_CHECK_EQ(arch[v], KF_ARCH_ELSEWHERE);
                break;
            }
    }
    free(arch);
}

KF_TEST_MAIN(KF_RUN(in_noise_what_is_like_marrow_beside_a_body_is_no_bone);
             KF_RUN(what_was_found_in_a_body_above_a_disc_is_dropped);
             KF_RUN(what_was_found_in_a_body_below_a_disc_is_dropped); KF_RUN(a_black_canal_leaves_a_scale);
             KF_RUN(discs_bright_throughout_are_of_no_t2);
             KF_RUN(the_form_of_arches_counts_where_marrow_is_no_evidence);
             KF_RUN(arches_of_dim_marrow_are_found_where_arches_are);
             KF_RUN(without_arches_or_a_second_disc_none_are_made_up);)
