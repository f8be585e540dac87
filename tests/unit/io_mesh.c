// Mesh files out and in again: GLB with meshopt, PLY, STL; and readers that survive damaged files.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/file.h"
#include "workers/io/glb.h"
#include "workers/io/memory.h"
#include "workers/io/meshfile.h"

#include <stdint.h>
#include <unistd.h>

static struct kf_work work;
static char path[64];

// A torus of n×m quads, counter-clockwise from outside.
static struct kf_mesh torus(int n, int m, double size)
{
    struct kf_mesh mesh = {.vertices = n * m, .triangles = 2 * n * m};
    mesh.xyz = kf_work_take(&work, mesh.vertices * 12);
    mesh.index = kf_work_take(&work, mesh.triangles * 12);
    if (!mesh.xyz || !mesh.index)
        exit(1);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) {
            double u = 2 * M_PI * i / n, v = 2 * M_PI * j / m;
            float *p = mesh.xyz + 3 * (i * m + j);
            p[0] = (float)(size * cos(u) * (3 + cos(v)) - 120);
            p[1] = (float)(size * sin(u) * (3 + cos(v)) + 33);
            p[2] = (float)(size * sin(v) - 870);
            uint32_t a = (uint32_t)(i * m + j), b = (uint32_t)((i + 1) % n * m + j);
            uint32_t c = (uint32_t)((i + 1) % n * m + (j + 1) % m), d = (uint32_t)(i * m + (j + 1) % m);
            const uint32_t quad[6] = {a, b, c, a, c, d};
            memcpy(mesh.index + 6 * (i * m + j), quad, sizeof quad);
        }
    return mesh;
}

static void same_shape(const struct kf_mesh *a, const struct kf_mesh *b, double tolerance)
{
    struct kf_mesh_report ra, rb;
    KF_REQUIRE(!kf_mesh_check(&work, a, &ra) && !kf_mesh_check(&work, b, &rb));
    KF_CHECK_EQ(a->triangles, b->triangles);
    KF_CHECK_EQ(a->vertices, b->vertices);
    KF_CHECK(rb.closed && rb.manifold && rb.oriented);
    KF_CHECK_NEAR(rb.volume_mm3 / ra.volume_mm3, 1, 1e-4);
    for (int r = 0; r < 3; r++) {
        KF_CHECK_NEAR(ra.bounds[0][r], rb.bounds[0][r], tolerance);
        KF_CHECK_NEAR(ra.bounds[1][r], rb.bounds[1][r], tolerance);
    }
}

static void glb_round_trip(double size, int with_normals, double worst_allowed)
{
    struct kf_mesh mesh = torus(60, 40, size), back;
    float *normals = kf_work_take(&work, mesh.vertices * 12);
    struct kf_error err = {0};
    KF_REQUIRE(normals && !kf_mesh_normals(&work, &mesh, normals));
    struct kf_glb_look look = {"Bone", {0.9, 0.8, 0.7, 1}, with_normals ? normals : NULL};
    double worst;
    KF_CHECK(!kf_glb_write(&work, path, &mesh, &look, &worst, &err));
    KF_CHECK(worst <= worst_allowed);
    struct kf_glb_summary summary;
    KF_REQUIRE(!kf_glb_read(&work, path, &summary, &back, &err));
    KF_CHECK_EQ(summary.triangles, mesh.triangles);
    same_shape(&mesh, &back, 0.01);
    // glTF is metres with +Y up: the LPS height -870 mm is y.
    KF_CHECK_NEAR(summary.bounds_gltf[0][1] * 1000, summary.bounds_lps[0][2], 1e-6);
    KF_CHECK_NEAR(summary.bounds_gltf[0][2] * 1000, -summary.bounds_lps[1][1], 1e-6);
    kf_mesh_release(&work, &back);
    kf_mesh_release(&work, &mesh);
    kf_work_give(&work, normals);
}

KF_TEST(glb_reads_back_within_a_hundredth_of_a_millimetre)
{
    glb_round_trip(25, 1, 0.01);
    glb_round_trip(25, 0, 0.01);
    glb_round_trip(400, 1, 0); // too large to quantise: floats
}

KF_TEST(damaged_glb_files_end_in_a_status)
{
    struct kf_mesh mesh = torus(12, 8, 20);
    struct kf_glb_look look = {"Bone", {1, 1, 1, 1}, NULL};
    struct kf_error err;
    KF_REQUIRE(!kf_glb_write(&work, path, &mesh, &look, NULL, &err));
    int64_t length = -1;
    void *bytes;
    KF_REQUIRE(!kf_file_load(NULL, path, 0, &length, &bytes, &err));
    struct kf_glb_summary summary;
    int accepted = 0;
    for (int64_t cut = 0; cut < length; cut++)
        accepted += !kf_glb_parse(&work, bytes, cut, &summary, NULL, &err);
    KF_CHECK_EQ(accepted, 0);
    uint64_t state = 3;
    unsigned char *copy = kf_memory_take(length);
    KF_REQUIRE(copy);
    for (int round = 0; round < 3000; round++) {
        memcpy(copy, bytes, (size_t)length);
        for (uint64_t n = 0; n <= (uint64_t)round % 4; n++)
            copy[test_random(&state) % (uint64_t)length] ^= (unsigned char)(1u << test_random(&state) % 8);
        struct kf_mesh back;
        if (!kf_glb_parse(&work, copy, length, &summary, &back, &err)) {
            for (int64_t i = 0; i < 3 * back.triangles; i++)
                accepted += back.index[i] >= (uint64_t)back.vertices;
            kf_mesh_release(&work, &back);
        }
    }
    KF_CHECK_EQ(accepted, 0);
    kf_memory_release(copy);
    kf_memory_release(bytes);
    kf_mesh_release(&work, &mesh);
}

KF_TEST(ply_and_stl_read_back_equal_and_say_their_frame)
{
    struct kf_mesh mesh = torus(30, 20, 25), back;
    struct kf_error err = {0};
    for (int stl = 0; stl < 2; stl++) {
        int64_t length = -1;
        void *bytes;
        KF_CHECK(!(stl ? kf_stl_write(&work, path, &mesh, &err) : kf_ply_write(&work, path, &mesh, NULL, &err)));
        KF_REQUIRE(!kf_file_load(NULL, path, 0, &length, &bytes, &err));
        KF_CHECK(memmem(bytes, 200, "LPS mm", 6) != NULL);
        KF_REQUIRE(!(stl ? kf_stl_parse : kf_ply_parse)(&work, bytes, length, &back, &err));
        same_shape(&mesh, &back, 0);
        kf_mesh_release(&work, &back);
        int accepted = 0;
        for (int64_t cut = 0; cut < length; cut += 7)
            accepted += !(stl ? kf_stl_parse : kf_ply_parse)(&work, bytes, cut, &back, &err);
        KF_CHECK_EQ(accepted, 0);
        uint64_t state = 5;
        for (int round = 0; round < 2000; round++) {
            unsigned char *b = bytes, keep;
            uint64_t at = test_random(&state) % (stl ? 100 : 300);
            keep = b[at];
            b[at] = (unsigned char)test_random(&state);
            if (!(stl ? kf_stl_parse : kf_ply_parse)(&work, bytes, length, &back, &err))
                kf_mesh_release(&work, &back);
            b[at] = keep;
        }
        kf_memory_release(bytes);
    }
    kf_mesh_release(&work, &mesh);
}

int main(void)
{
    kf_work_init(&work, 2);
    snprintf(path, sizeof path, "/tmp/kf_mesh.XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    KF_RUN(glb_reads_back_within_a_hundredth_of_a_millimetre);
    KF_RUN(damaged_glb_files_end_in_a_status);
    KF_RUN(ply_and_stl_read_back_equal_and_say_their_frame);
    unlink(path);
    return kf_test_failures ? 1 : 0;
}
