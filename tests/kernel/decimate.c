// Decimation: closed manifolds stay closed manifolds on any mask, the error stays where it was promised, and threads
// and instruction sets do not matter. meshoptimizer's simplifier is the peer.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/memory.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/decimate_inside.h"
#include "workers/kernels/surface.h"
#include "workers/mesh3p/meshopt.h"

#include <stdint.h>

static uint64_t state = 21;

// The surface of a ball of grey values with a wave on it, or of random noise.
static void make(const struct kf_work *work, int64_t n, double radius, double wave, int noise, struct kf_mesh *mesh)
{
    struct kf_grid grid = {.dim = {n, n, n}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct kf_volume v;
    struct kf_bits bits;
    struct kf_error err;
    double c = 0.5 * (double)(n - 1) + 0.13;
    if (kf_volume_alloc(&v, &grid, KF_VOXEL_INT16, &err) || kf_bits_alloc(work, grid.dim, &bits))
        exit(1);
    for (int64_t i = 0; i < n * n * n; i++) {
        double x = (double)(i % n) - c, y = (double)(i / n % n) - c, z = (double)(i / n / n) - c;
        double d = radius - sqrt(x * x + y * y + z * z) + wave * sin(0.3 * x) * sin(0.4 * y);
        ((int16_t *)v.data)[i] = noise ? test_random_i16(&state) : (int16_t)rint(fmax(-3000, 100 * d));
    }
    struct kf_surface_input input = {.inside = &bits, .grid = &grid, .grey = &v, .iso = 0, .cap = 1};
    if (kf_bits_threshold(work, &v, noise ? 12000 : 0, 32767, &bits) || kf_surface(work, &input, mesh))
        exit(1);
    kf_volume_release(&v);
    kf_bits_release(work, &bits);
}

KF_TEST(any_closed_manifold_stays_one)
{
    for (int round = 0; round < 24; round++) {
        struct kf_work work;
        kf_work_init(&work, 1 + round % 3);
        struct kf_mesh mesh;
        make(&work, 12 + round, 8, 1, 1, &mesh);
        struct kf_mesh_report before, after;
        KF_REQUIRE(!kf_mesh_check(&work, &mesh, &before));
        int64_t full = mesh.triangles;
        KF_REQUIRE(!kf_mesh_decimate(&work, &mesh, &(struct kf_mesh_decimate){0, 0.2 + 0.2 * round}, NULL));
        KF_REQUIRE(!kf_mesh_check(&work, &mesh, &after));
        KF_CHECK(after.closed && after.manifold && after.oriented);
        KF_CHECK_EQ(after.unused_vertices, 0);
        KF_CHECK_EQ(after.components, before.components);
        KF_CHECK(mesh.triangles < full);
        kf_mesh_release(&work, &mesh);
    }
}

// A ball of radius `radius` in n³ voxels.
static void expect_errors(int64_t n_voxels, double radius, const double errors[3])
{
    int64_t last = INT64_MAX;
    for (int n = 0; n < 3; n++) {
        struct kf_work work;
        kf_work_init(&work, 2);
        struct kf_mesh mesh;
        make(&work, n_voxels, radius, 0, 0, &mesh);
        double reached, worst = 0, c = 0.5 * (double)(n_voxels - 1) + 0.13;
        KF_REQUIRE(!kf_mesh_decimate(&work, &mesh, &(struct kf_mesh_decimate){0, errors[n]}, &reached));
        KF_CHECK(reached <= errors[n] + 1e-6);
        KF_CHECK(mesh.triangles < last);
        last = mesh.triangles;
        for (int64_t t = 0; t < mesh.triangles; t++) {
            double p[3] = {0, 0, 0};
            for (int k = 0; k < 3; k++)
                for (int r = 0; r < 3; r++)
                    p[r] += (double)mesh.xyz[3 * (int64_t)mesh.index[3 * t + k] + r] / 3;
            double d = radius - sqrt((p[0] - c) * (p[0] - c) + (p[1] - c) * (p[1] - c) + (p[2] - c) * (p[2] - c));
            worst = test_worst(worst, fabs(d));
        }
        KF_CHECK(worst < 3 * errors[n] + 0.05); // the quadric is a mean, the middle of a facet the worst of it
        struct kf_mesh_report r;
        KF_REQUIRE(!kf_mesh_check(&work, &mesh, &r));
        KF_CHECK(r.closed && r.manifold && r.oriented);
        KF_CHECK_NEAR(r.volume_mm3 / (4.0 / 3 * M_PI * radius * radius * radius), 1, errors[n] * 0.12 + 0.002);
        kf_mesh_release(&work, &mesh);
    }
}

KF_TEST(a_sphere_stays_within_its_error)
{
    expect_errors(64, 25, (const double[3]){0.02, 0.1, 0.4});
}

KF_TEST(a_sphere_of_many_pieces_stays_within_its_error)
{
    expect_errors(128, 55, (const double[3]){0.02, 0.1, 0.4});
}

KF_TEST(as_few_triangles_as_the_peer_needs)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_mesh mesh, peer;
    double reached;
    make(&work, 64, 25, 2, 0, &mesh);
    KF_REQUIRE(!kf_mesh3p_simplify(&work, &mesh, 0, 0.1, &peer, &reached));
    int64_t full = mesh.triangles;
    KF_REQUIRE(!kf_mesh_decimate(&work, &mesh, &(struct kf_mesh_decimate){0, 0.1}, &reached));
    printf("of %lld triangles %lld are left, meshoptimizer leaves %lld\n", (long long)full, (long long)mesh.triangles,
           (long long)peer.triangles);
    KF_CHECK((double)mesh.triangles < 1.3 * (double)peer.triangles);
    kf_mesh_release(&work, &mesh);
    kf_mesh_release(&work, &peer);
}

KF_TEST(the_target_is_met)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_mesh mesh;
    make(&work, 48, 18, 1, 0, &mesh);
    KF_REQUIRE(!kf_mesh_decimate(&work, &mesh, &(struct kf_mesh_decimate){2000, 5}, NULL));
    KF_CHECK(mesh.triangles >= 1998 && mesh.triangles <= 2001);
    kf_mesh_release(&work, &mesh);
}

static void expect_parity(int large)
{
    static const int counts[] = {1, 2, 3, 7};
    struct kf_mesh first = {0};
    struct kf_work work;
    enum kf_cpu was = kf_cpu_level();
    for (int level = 0; level < KF_CPU_COUNT; level++) {
        if (kf_cpu_use((enum kf_cpu)level))
            continue;
        for (int n = 0; n < 4; n++) {
            kf_work_init(&work, counts[n]);
            struct kf_mesh mesh;
            make(&work, large ? 96 : 40, large ? 40 : 15, 2, 0, &mesh);
            KF_REQUIRE(
                !kf_mesh_decimate(&work, &mesh, &(struct kf_mesh_decimate){large ? 9000 : 0, large ? 1 : 0.1}, NULL));
            if (!first.xyz) {
                first = mesh;
                continue;
            }
            KF_CHECK(mesh.vertices == first.vertices && mesh.triangles == first.triangles);
            KF_CHECK(memcmp(mesh.xyz, first.xyz, (size_t)mesh.vertices * 12) == 0);
            KF_CHECK(memcmp(mesh.index, first.index, (size_t)mesh.triangles * 12) == 0);
            kf_mesh_release(&work, &mesh);
        }
    }
    kf_mesh_release(&work, &first);
    KF_CHECK(!kf_cpu_use(was));
}

KF_TEST(threads_and_instruction_sets_do_not_matter)
{
    expect_parity(0);
    expect_parity(1);
}

// Large enough to be cut into pieces: sound, on target, and what is flat costs nothing where pieces meet.
KF_TEST(pieces_leave_a_sound_surface_on_target)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    for (int noise = 0; noise < 2; noise++) {
        struct kf_mesh mesh;
        struct kf_mesh_report before, after;
        make(&work, noise ? 48 : 96, 40, 2, noise, &mesh);
        KF_REQUIRE(mesh.triangles > 40000);
        KF_REQUIRE(!kf_mesh_check(&work, &mesh, &before));
        double reached;
        int64_t target = mesh.triangles * (noise ? 80 : 15) / 100;
        KF_REQUIRE(!kf_mesh_decimate(&work, &mesh, &(struct kf_mesh_decimate){target, noise ? 5 : 1}, &reached));
        KF_CHECK(mesh.triangles >= target - 2 && mesh.triangles <= target + 1);
        KF_CHECK(reached > 0 && reached <= (noise ? 5 : 1));
        KF_REQUIRE(!kf_mesh_check(&work, &mesh, &after));
        KF_CHECK(after.closed && after.manifold && after.oriented);
        KF_CHECK_EQ(after.components, before.components);
        KF_CHECK_EQ(after.unused_vertices, 0);
        if (!noise)
            KF_CHECK_NEAR(after.volume_mm3 / before.volume_mm3, 1, 0.002);
        kf_mesh_release(&work, &mesh);
    }
}

// What kf_decimate_round works on, with memory for as many vertices and triangles as the mesh has.
static void prepare(const struct kf_work *work, struct kf_mesh *mesh, struct kf_decimator *d)
{
    const int64_t n = mesh->vertices;
    float reached2;
    *d = (struct kf_decimator){.mesh = mesh};
    d->at.first = kf_work_take(work, (n + 1) * (int64_t)sizeof *d->at.first);
    d->at.side = kf_work_take(work, 3 * mesh->triangles * (int64_t)sizeof *d->at.side);
    d->q = kf_work_take(work, n * (int64_t)sizeof *d->q);
    d->onto = kf_work_take(work, n * (int64_t)sizeof *d->onto);
    d->flags = kf_work_take(work, n);
    d->list = kf_work_take(work, n * (int64_t)sizeof *d->list);
    d->spare = kf_work_take(work, n * (int64_t)sizeof *d->spare);
    d->known = kf_work_take(work, n * (int64_t)sizeof *d->known);
    KF_REQUIRE(!kf_decimate_blocks(work, d, &(struct kf_mesh_decimate){0, 1}, &reached2)); // quadrics and borders only
}

static void put_back(const struct kf_work *work, struct kf_decimator *d)
{
    void *const all[] = {d->at.first, d->at.side, d->q, d->onto, d->flags, d->list, d->spare, d->known};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kf_work_give(work, all[i]);
}

static void fill_fans(const struct kf_mesh *m, struct kf_fans *at)
{
    uint32_t used = 0;
    for (int64_t v = 0; v < m->vertices; v++) {
        at->first[v] = used;
        for (int64_t c = 0; c < 3 * m->triangles; c++)
            if (m->index[c] == v) {
                at->side[used][0] = m->index[c % 3 == 2 ? c - 2 : c + 1];
                at->side[used++][1] = m->index[c % 3 == 0 ? c + 2 : c - 1];
            }
    }
    at->first[m->vertices] = used;
}

// A pass takes up the proposals of the pass before where nothing has changed. What comes out is what it would be if
// every vertex were asked anew in each pass.
KF_TEST(kept_proposals_are_those_of_vertices_asked_anew)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    for (int kind = 0; kind < 3; kind++) { // a wavy ball, noise, and the wavy ball without a third of it
        struct kf_mesh mesh[2];
        struct kf_decimator d[2];
        for (int n = 0; n < 2; n++) {
            state = 77;
            make(&work, kind == 1 ? 14 : 24, 8, 2, kind == 1, &mesh[n]);
            if (kind == 2)
                mesh[n].triangles -= mesh[n].triangles / 3;
            prepare(&work, &mesh[n], &d[n]);
            memset(d[n].known, 0, (size_t)mesh[n].vertices * sizeof *d[n].known);
            for (int64_t v = 0; v < mesh[n].vertices; v++)
                d[n].flags[v] |= KF_VERTEX_STALE;
        }
        int64_t collapses = 0;
        for (int pass = 0; pass < 12; pass++) {
            int64_t made[2];
            for (int n = 0; n < 2; n++) {
                float reached2 = 0;
                for (int64_t v = 0; v < mesh[n].vertices && n; v++)
                    d[n].flags[v] |= KF_VERTEX_STALE;
                fill_fans(&mesh[n], &d[n].at);
                made[n] = kf_decimate_round(&d[n], 0.5f, INT64_MAX, &reached2);
            }
            KF_CHECK_EQ(made[0], made[1]);
            KF_REQUIRE(mesh[0].triangles == mesh[1].triangles);
            KF_CHECK(memcmp(mesh[0].index, mesh[1].index, (size_t)mesh[0].triangles * 12) == 0);
            collapses += made[0];
        }
        KF_CHECK(collapses > 200);
        for (int n = 0; n < 2; n++) {
            put_back(&work, &d[n]);
            kf_mesh_release(&work, &mesh[n]);
        }
    }
}

KF_TEST(a_wrong_index_is_refused)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    for (int64_t n = 40; n <= 96; n += 56) {
        struct kf_mesh mesh;
        make(&work, n, 0.4 * (double)n, 2, 0, &mesh);
        mesh.index[3 * mesh.triangles - 1] = (uint32_t)mesh.vertices;
        KF_CHECK_EQ(kf_mesh_decimate(&work, &mesh, &(struct kf_mesh_decimate){0, 1}, NULL), KF_KERNEL_INVALID);
        kf_mesh_release(&work, &mesh);
    }
}

KF_TEST_MAIN(KF_RUN(any_closed_manifold_stays_one); KF_RUN(a_sphere_stays_within_its_error);
             KF_RUN(a_sphere_of_many_pieces_stays_within_its_error); KF_RUN(as_few_triangles_as_the_peer_needs);
             KF_RUN(the_target_is_met); KF_RUN(threads_and_instruction_sets_do_not_matter);
             KF_RUN(pieces_leave_a_sound_surface_on_target); 
             KF_RUN(kept_proposals_are_those_of_vertices_asked_anew); KF_RUN(a_wrong_index_is_refused);)
