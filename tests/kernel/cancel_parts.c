// The stages of segment.spine: told to stop at any of its questions, each says KF_KERNEL_CANCELLED and gives its memory
// back; and each asks for every slice or station that it passes over, several times.
#include "server/base/test.h"
#include "tests/kernel/caller.h"
#include "workers/jobs/phantom/phantom.h"
#include "workers/jobs/segment/spine.h"
#include "workers/jobs/segment/spine_neural.h"

static struct kf_volume image, truth;
static struct kf_spine spine, kept;
static struct kf_spine_station kept_stations[KF_SPINE_STATIONS];
static uint8_t *labels, *kept_labels, *bodies;

static enum kf_kernel_status canal(const struct kf_work *w)
{
    return kf_spine_find_canal(w, &image, 0, &spine);
}

static enum kf_kernel_status discs(const struct kf_work *w)
{
    return kf_spine_find_discs(w, &image, KF_SPINE_NEAREST_MM, &spine);
}

static enum kf_kernel_status split(const struct kf_work *w)
{
    return kf_spine_split(w, &image, &(struct kf_spine_bone){200, 72}, 1, &spine, labels);
}

static enum kf_kernel_status find_bodies(const struct kf_work *w)
{
    return kf_spine_find_bodies(w, &image, &spine, bodies);
}

// Its marrow is said to be too dark.
static enum kf_kernel_status lift_marrow(const struct kf_work *w)
{
    struct kf_volume with = image;
    struct kf_spine_bone bone = {.shell_hu = 430, .spongy_hu = 400};
    int64_t bytes = 2 * kf_grid_voxels(&image.grid);
    with.data = kf_memory_take(bytes);
    if (!with.data)
        return KF_KERNEL_NOMEM;
    memcpy(with.data, image.data, (size_t)bytes);
    enum kf_kernel_status status = kf_spine_lift_marrow(w, &with, &spine, &bone);
    KF_CHECK(status || bone.shell_hu < 430);
    kf_memory_release(with.data);
    return status;
}

// What is as dense as metal is made so by the test.
static enum kf_kernel_status mend_metal(const struct kf_work *w)
{
    struct kf_volume with = image;
    int found = 0;
    int64_t bytes = 2 * kf_grid_voxels(&image.grid);
    with.data = kf_memory_take(bytes);
    if (!with.data)
        return KF_KERNEL_NOMEM;
    memcpy(with.data, image.data, (size_t)bytes);
    for (int64_t k = image.grid.dim[2] / 2 - 4; k < image.grid.dim[2] / 2 + 4; k++)
        for (int64_t n = 0; n < 4; n++)
            ((int16_t *)with.data)[(k * image.grid.dim[1] + image.grid.dim[1] / 2) * image.grid.dim[0] +
                                   image.grid.dim[0] / 2 + n] = 3000;
    enum kf_kernel_status status = kf_spine_mend_metal(w, &with, bodies, &found);
    KF_CHECK(found);
    kf_memory_release(with.data);
    return status;
}

static enum kf_kernel_status fill_canal(const struct kf_work *w)
{
    return kf_spine_fill_canal(w, &image, &spine, labels);
}

static enum kf_kernel_status neural(const struct kf_work *w)
{
    return kf_spine_find_neural(w, &image, &kf_spine_ct_look, &spine, labels);
}

// slices: how many passes over all slices (or stations, which are more) ask at each; 0: what has no such pass asks too.
static const struct {
    const char *name;
    enum kf_kernel_status (*run)(const struct kf_work *w);
    int slices;
} stages[] = {{"canal", canal, 3},
              {"discs", discs, 1},
              {"split", split, 12},
              {"bodies", find_bodies, 0},
              {"marrow", lift_marrow, 1},
              {"metal", mend_metal, 14}, // 12 of them for the factors
              {"canal filled", fill_canal, 1},
              {"nerves", neural, 3}};

static enum kf_kernel_status run_stage(size_t n, int64_t stop_at, struct test_caller *caller)
{
    const struct kf_work work = test_caller_work(caller, 1, stop_at);
    return stages[n].run(&work);
}

static void keep(void)
{
    kept = spine;
    memcpy(kept_stations, spine.station, sizeof kept_stations);
    memcpy(kept_labels, labels, (size_t)kf_grid_voxels(&image.grid));
}

static void put_back(void)
{
    spine = kept;
    memcpy(spine.station, kept_stations, sizeof kept_stations);
    memcpy(labels, kept_labels, (size_t)kf_grid_voxels(&image.grid));
}

KF_TEST(a_stage_that_is_cancelled_says_so_and_leaves_nothing)
{
    struct kf_phantom_options o;
    KF_REQUIRE(kf_phantom_defaults("spine", &o, NULL) == KF_OK);
    o.spacing_mm[0] = o.spacing_mm[1] = o.spacing_mm[2] = 2.5;
    KF_REQUIRE(kf_phantom_volumes(&o, &image, &truth, NULL) == KF_OK);
    int64_t voxels = kf_grid_voxels(&image.grid);
    spine.station = kf_memory_take(KF_SPINE_STATIONS * (int64_t)sizeof *spine.station);
    labels = kf_memory_take(voxels);
    kept_labels = kf_memory_take(voxels);
    bodies = kf_memory_take(voxels);
    KF_REQUIRE(spine.station && labels && kept_labels && bodies);
    memset(labels, 0, (size_t)voxels);
    for (size_t n = 0; n < sizeof stages / sizeof *stages; n++) {
        struct test_caller whole, cut;
        keep();
        enum kf_kernel_status status = run_stage(n, -1, &whole);
        KF_CHECK_EQ(status, KF_KERNEL_OK);
        KF_CHECK_EQ(whole.blocks, 0);
        if (whole.questions < stages[n].slices * image.grid.dim[2]) {
            fprintf(stderr, "%s: %lld questions only\n", stages[n].name, (long long)whole.questions);
            kf_test_failures++;
        }
        int64_t most = whole.questions - 1, stop[] = {0, most / 3, most / 2, most};
        for (size_t s = 0; s < sizeof stop / sizeof *stop; s++) {
            put_back();
            KF_CHECK_EQ(run_stage(n, stop[s], &cut), KF_KERNEL_CANCELLED);
            KF_CHECK_EQ(cut.questions, stop[s] + 1);
            KF_CHECK_EQ(cut.blocks, 0);
        }
        put_back();
        KF_REQUIRE(run_stage(n, -1, &whole) == KF_KERNEL_OK);
    }
    KF_CHECK(spine.stations > 100 && spine.discs > 4);
    kf_volume_release(&image);
    kf_volume_release(&truth);
    kf_memory_release(bodies);
    kf_memory_release(kept_labels);
    kf_memory_release(labels);
    kf_memory_release(spine.station);
}

KF_TEST_MAIN(KF_RUN(a_stage_that_is_cancelled_says_so_and_leaves_nothing);)
