// Files of images and meshes, read and written: told to stop at any of its questions, each way says KF_CANCELLED, asks
// no more and gives all of its memory back; what it reports goes from near 0 towards 1, never back; and it asks often.
#include "server/base/test.h"
#include "tests/kernel/caller.h"
#include "tests/kernel/random.h"
#include "tests/kernel/shapes.h"
#include "workers/io/file.h"
#include "workers/io/glb.h"
#include "workers/io/gzip.h"
#include "workers/io/image_file.h"
#include "workers/io/kvv.h"
#include "workers/io/memory.h"
#include "workers/io/meshfile.h"

#include <unistd.h>

#define FILES 9

static char folder[] = "/tmp/kerf-cancel.XXXXXX";
static struct kf_volume grey, real; // 26 MB of int16; float32 that are integers, so that every pass over it is made
static struct kf_mesh mesh;         // 700,000 triangles
static float *normals;

static const char *file(const char *name)
{
    static char path[FILES][64];
    static int next;
    char *at = path[next++ % FILES];
    snprintf(at, sizeof path[0], "%s/%s", folder, name);
    return at;
}

// ---- what is tried ----

typedef enum kf_status (*way)(const struct kf_work *work, struct kf_error *err);

static enum kf_status write_plain(const struct kf_work *w, struct kf_error *err)
{
    return kf_nifti_write(w, file("w.nii"), &grey, err);
}

static enum kf_status write_packed(const struct kf_work *w, struct kf_error *err)
{
    return kf_nifti_write(w, file("w.nii.gz"), &grey, err);
}

static enum kf_status write_nrrd(const struct kf_work *w, struct kf_error *err)
{
    return kf_image_write(w, file("w.nrrd"), &grey, err);
}

static enum kf_status write_view(const struct kf_work *w, struct kf_error *err)
{
    json_t *view;
    enum kf_status status = kf_kvv_write(w, file("w.kvv"), &grey, &view, err);
    json_decref(view);
    return status;
}

static enum kf_status read_image(const struct kf_work *w, const char *name, struct kf_error *err)
{
    struct kf_volume back;
    enum kf_status status = kf_image_read(w, file(name), 0, -1, KF_NIFTI_IMAGE, &back, err);
    KF_CHECK(!status || !back.data);
    kf_volume_release(&back);
    return status;
}

static enum kf_status read_plain(const struct kf_work *w, struct kf_error *err)
{
    return read_image(w, "plain.nii", err);
}

static enum kf_status read_real(const struct kf_work *w, struct kf_error *err)
{
    return read_image(w, "real.nii", err);
}

static enum kf_status read_packed(const struct kf_work *w, struct kf_error *err)
{
    return read_image(w, "packed.nii.gz", err);
}

static enum kf_status read_nrrd(const struct kf_work *w, struct kf_error *err)
{
    return read_image(w, "packed.nrrd", err);
}

static enum kf_status read_member(const struct kf_work *w, struct kf_error *err)
{
    return read_image(w, "member.nii.gz", err);
}

static enum kf_status read_meta(const struct kf_work *w, struct kf_error *err)
{
    return read_image(w, "real.mha", err);
}

static enum kf_status write_ply(const struct kf_work *w, struct kf_error *err)
{
    return kf_ply_write(w, file("w.ply"), &mesh, normals, err);
}

static enum kf_status write_stl(const struct kf_work *w, struct kf_error *err)
{
    return kf_stl_write(w, file("w.stl"), &mesh, err);
}

static enum kf_status write_glb(const struct kf_work *w, struct kf_error *err)
{
    const struct kf_glb_look look = {"Bone", {1, 1, 1, 1}, normals};
    return kf_glb_write(w, file("w.glb"), &mesh, &look, NULL, err);
}

static enum kf_status read_mesh(const struct kf_work *w, int stl, struct kf_error *err)
{
    int64_t length = -1;
    void *bytes;
    struct kf_mesh back = {0};
    struct kf_work_part part;
    const char *path = file(stl ? "mesh.stl" : "mesh.ply");
    enum kf_status status = kf_file_load(kf_work_part(&part, w, 0, 0.3), path, 0, &length, &bytes, err);
    const struct kf_work *rest = kf_work_part(&part, w, 0.3, 1);
    if (!status)
        status = (stl ? kf_stl_parse : kf_ply_parse)(rest, bytes, length, &back, err);
    kf_memory_release(bytes);
    kf_mesh_release(w, &back);
    return status;
}

static enum kf_status read_stl(const struct kf_work *w, struct kf_error *err)
{
    return read_mesh(w, 1, err);
}

static enum kf_status read_ply(const struct kf_work *w, struct kf_error *err)
{
    return read_mesh(w, 0, err);
}

static enum kf_status read_glb(const struct kf_work *w, struct kf_error *err)
{
    struct kf_glb_summary summary;
    struct kf_mesh back;
    enum kf_status status = kf_glb_read(w, file("mesh.glb"), &summary, &back, err);
    kf_mesh_release(w, &back);
    return status;
}

static enum kf_status pack_files(const struct kf_work *w, struct kf_error *err)
{
    const char *from[2] = {file("mesh.stl"), file("plain.nii")}, *to[2] = {file("w.stl.gz"), file("w.gz")};
    struct kf_gzip_files files = {.from = from, .to = to, .count = 2, .level = 1};
    kf_gzip_files_start(w, &files, w->threads > 1);
    return kf_gzip_files_finish(w, &files, err);
}

// few: questions that it asks at least, on one thread; by the size of what is read or written where that decides, and
// `often` where it is the clock that does: then only the first is sure to be asked.
static const struct {
    const char *name;
    way run;
    int64_t few;
    int often;
} ways[] = {{"write .nii", write_plain, 3, 0},     {"write .nii.gz", write_packed, 6, 0},
            {"write .nrrd", write_nrrd, 6, 0},     {"write .kvv", write_view, 100, 0},
            {"read .nii", read_plain, 3, 0},       {"read .nii of reals", read_real, 30, 0},
            {"read .nii.gz", read_packed, 1, 1},   {"read .nrrd", read_nrrd, 1, 1},
            {"read one member", read_member, 1, 1}, {"read .mha of reals", read_meta, 30, 0},
            {"write .ply", write_ply, 16, 0},      {"write .stl", write_stl, 30, 0},
            {"write .glb", write_glb, 6, 1},       {"read .stl", read_stl, 60, 0},
            {"read .ply", read_ply, 16, 0},        {"read .glb", read_glb, 20, 1},
            {"pack files", pack_files, 1, 1}};

static enum kf_status run_once(size_t n, int threads, int64_t stop_at, struct test_caller *caller, struct kf_error *err)
{
    const struct kf_work work = test_caller_work(caller, threads, stop_at);
    *err = (struct kf_error){0};
    return ways[n].run(&work, err);
}

static void try_way(size_t n, int threads)
{
    struct test_caller whole, cut;
    struct kf_error err;
    enum kf_status status = run_once(n, threads, -1, &whole, &err);
    int64_t most = whole.questions - 1, stop[] = {0, most / 3, most - 1, most};
    int bad = status != KF_OK || whole.blocks != 0;
    // Which member of a team the calling thread takes, and so when it asks and reports, is its luck.
    if (threads == 1)
        bad |= whole.questions < ways[n].few || whole.back || !(whole.least <= 0.2) ||
               (!ways[n].often && !(whole.last >= 0.55));
    for (size_t s = 0; s < sizeof stop / sizeof *stop && !bad; s++) {
        if (stop[s] < 0 || (s && threads > 1))
            continue;
        status = run_once(n, threads, stop[s], &cut, &err);
        if ((ways[n].often || threads > 1) && cut.questions <= stop[s])
            continue; // it was faster this time, or others did all of it
        bad = status != KF_CANCELLED || strcmp(err.code, "cancelled") != 0 || cut.blocks != 0 ||
              cut.questions != stop[s] + 1;
        whole = bad ? cut : whole;
    }
    if (bad)
        fprintf(stderr, "%s, %d threads: status %d, %lld questions, %lld blocks out, reports %g to %g%s\n",
                ways[n].name, threads, (int)status, (long long)whole.questions, (long long)whole.blocks, whole.least,
                whole.last, whole.back ? ", back" : "");
    KF_CHECK(!bad);
}

KF_TEST(a_file_that_is_cancelled_says_so_and_leaves_nothing)
{
    for (size_t n = 0; n < sizeof ways / sizeof *ways; n++)
        for (int threads = 1; threads <= 2; threads++)
            try_way(n, threads);
}

// ---- inputs ----

static void make_volumes(void)
{
    const struct kf_grid grid = {
        .dim = {256, 256, 200}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct kf_error err;
    uint64_t state = 9;
    KF_REQUIRE(!kf_volume_alloc(&grey, &grid, KF_VOXEL_INT16, &err) &&
               !kf_volume_alloc(&real, &grid, KF_VOXEL_FLOAT32, &err));
    for (int64_t v = 0; v < kf_grid_voxels(&grid); v++) {
        ((int16_t *)grey.data)[v] = (int16_t)(test_random(&state) % 64);
        ((float *)real.data)[v] = (float)(v % 1000);
    }
    KF_REQUIRE(!kf_nifti_write(NULL, file("plain.nii"), &grey, &err));
    KF_REQUIRE(!kf_nifti_write(NULL, file("real.nii"), &real, &err));
    KF_REQUIRE(!kf_image_write(NULL, file("real.mha"), &real, &err));
    KF_REQUIRE(!kf_nifti_write(NULL, file("packed.nii.gz"), &grey, &err));
    KF_REQUIRE(!kf_image_write(NULL, file("packed.nrrd"), &grey, &err));
    const char *from = file("plain.nii"), *to = file("member.nii.gz");
    struct kf_gzip_files files = {.from = &from, .to = &to, .count = 1, .level = 1};
    kf_gzip_files_start(NULL, &files, 0);
    KF_REQUIRE(!kf_gzip_files_finish(NULL, &files, &err));
}

static void make_meshes(const struct kf_work *work)
{
    struct kf_error err;
    test_torus(work, 700, 500, 60, 20, &mesh);
    normals = kf_memory_take(mesh.vertices * 12);
    const struct kf_glb_look look = {"Bone", {1, 1, 1, 1}, normals};
    KF_REQUIRE(normals && !kf_mesh_normals(work, &mesh, normals));
    KF_REQUIRE(!kf_ply_write(NULL, file("mesh.ply"), &mesh, normals, &err));
    KF_REQUIRE(!kf_stl_write(NULL, file("mesh.stl"), &mesh, &err));
    KF_REQUIRE(!kf_glb_write(work, file("mesh.glb"), &mesh, &look, NULL, &err));
}

static void clean(void)
{
    static const char *const names[] = {"plain.nii", "real.nii", "real.mha", "packed.nii.gz", "packed.nrrd",
                                        "member.nii.gz", "mesh.ply", "mesh.stl", "mesh.glb", "w.nii", "w.nii.gz",
                                        "w.nrrd", "w.kvv", "w.ply", "w.stl", "w.glb", "w.stl.gz", "w.gz"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(file(names[i]));
    rmdir(folder);
}

int main(void)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    if (!mkdtemp(folder))
        return 1;
    make_volumes();
    make_meshes(&work);
    KF_RUN(a_file_that_is_cancelled_says_so_and_leaves_nothing);
    clean();
    kf_volume_release(&grey);
    kf_volume_release(&real);
    kf_mesh_release(&work, &mesh);
    kf_memory_release(normals);
    return kf_test_failures ? 1 : 0;
}
