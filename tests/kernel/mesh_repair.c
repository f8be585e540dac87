// Mesh repair: broken surfaces become closed, oriented manifolds, sound ones stay byte for byte, and what cannot be
// repaired is said.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "tests/kernel/shapes.h"
#include "workers/io/memory.h"
#include "workers/kernels/mesh_repair.h"

#include <stdint.h>

static uint64_t state = 77;
static const double origin[3] = {0, 0, 0};
static const struct kf_mesh_repair usual = {.least_mm3 = 1, .hole_edges = 1000, .intersections = 3};

static int is_sound(const struct kf_work *work, const struct kf_mesh *mesh)
{
    struct kf_mesh_report r;
    return !kf_mesh_check(work, mesh, &r) && r.closed && r.manifold && r.oriented;
}

static void drop_triangle(struct kf_mesh *m, int64_t t)
{
    memmove(m->index + 3 * t, m->index + 3 * (m->triangles - 1), 12);
    m->triangles--;
}

KF_TEST(what_is_sound_stays_byte_for_byte)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_mesh mesh, hole;
    struct kf_mesh_repair_report report;
    test_torus(&work, 40, 20, 10, 3, &mesh);
    test_sphere(&work, 12, 40, origin, &hole); // around it
    test_append(&work, &mesh, &hole);
    test_turn_over(&mesh, 0, 1600); // a cavity in the shape of a torus: its facets face into it
    size_t points = (size_t)mesh.vertices * 12, corners = (size_t)mesh.triangles * 12;
    char *before = malloc(points + corners);
    KF_REQUIRE(before);
    memcpy(before, mesh.xyz, points);
    memcpy(before + points, mesh.index, corners);
    KF_REQUIRE(!kf_mesh_repair(&work, &mesh, &usual, &report));
    KF_CHECK(report.sound && !report.changed);
    KF_CHECK_EQ(report.intersections_before, 0);
    KF_REQUIRE((size_t)mesh.vertices * 12 == points && (size_t)mesh.triangles * 12 == corners);
    KF_CHECK(memcmp(before, mesh.xyz, points) == 0 && memcmp(before + points, mesh.index, corners) == 0);
    free(before);
    kf_mesh_release(&work, &mesh);
}

KF_TEST(a_torn_soup_becomes_a_sphere_again)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    for (int round = 0; round < 20; round++) {
        struct kf_mesh mesh, dust;
        struct kf_mesh_repair_report report;
        const double aside[3] = {30, 0, 0};
        test_sphere(&work, 16, 10, origin, &mesh);
        double volume, area, measured;
        kf_mesh_measure(&work, &mesh, &volume, &area);
        for (int n = 0; n < 12; n++)
            drop_triangle(&mesh, (int64_t)(test_random(&state) % (uint64_t)mesh.triangles));
        for (int n = 0; n < 60; n++) {
            int64_t t = (int64_t)(test_random(&state) % (uint64_t)mesh.triangles);
            test_turn_over(&mesh, t, t + 1);
        }
        memcpy(mesh.index + 3, mesh.index, 12); // one facet twice, in place of its neighbour
        test_sphere(&work, 3, 0.2, aside, &dust);
        test_append(&work, &mesh, &dust);
        if (round % 2)
            test_soup(&work, &mesh);
        KF_REQUIRE(!kf_mesh_repair(&work, &mesh, &usual, &report));
        KF_CHECK(is_sound(&work, &mesh) && report.sound && report.changed);
        KF_CHECK_EQ(report.after.components, 1);
        KF_CHECK_EQ(report.duplicate_triangles, 1);
        KF_CHECK_EQ(report.pieces_removed, 1);
        KF_CHECK(report.holes_filled > 0 && report.turned_triangles > 0);
        KF_CHECK(round % 2 ? report.welded_vertices > 1000 : 1);
        kf_mesh_measure(&work, &mesh, &measured, &area);
        KF_CHECK_NEAR(measured / volume, 1, 0.02);
        kf_mesh_release(&work, &mesh);
    }
}

KF_TEST(solids_that_share_an_edge_or_a_corner_are_parted)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    for (int shared = 1; shared <= 2; shared++) { // axes along which the second box is beside the first, minus one
        const double low[3] = {0, 0, 0}, high[3] = {4, 4, 4};
        const double next[3] = {4, 4, shared == 2 ? 4 : 0}, end[3] = {8, 8, shared == 2 ? 8 : 4};
        struct kf_mesh mesh, other;
        struct kf_mesh_report before;
        struct kf_mesh_repair_report report;
        test_box(&work, low, high, 2, &mesh);
        test_box(&work, next, end, 2, &other);
        test_append(&work, &mesh, &other);
        KF_REQUIRE(!kf_mesh_weld(&work, &mesh));
        KF_REQUIRE(!kf_mesh_check(&work, &mesh, &before));
        KF_CHECK(!before.manifold && before.components == 1);
        int64_t triangles = mesh.triangles;
        KF_REQUIRE(!kf_mesh_repair(&work, &mesh, &usual, &report));
        KF_CHECK(report.sound && is_sound(&work, &mesh));
        KF_CHECK_EQ(report.after.components, 2);
        KF_CHECK_EQ(mesh.triangles, triangles);
        KF_CHECK_EQ(report.split_vertices, shared == 2 ? 1 : 3);
        KF_CHECK_EQ(report.holes_filled, 0);
        KF_CHECK_NEAR(report.after.volume_mm3, 128, 1e-9);
        kf_mesh_release(&work, &mesh);
    }
}

KF_TEST(pieces_face_away_from_what_they_enclose)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_mesh mesh, more;
    struct kf_mesh_repair_report report;
    const double aside[3] = {40, 3, 1};
    test_sphere(&work, 12, 12, origin, &mesh);
    test_turn_over(&mesh, 0, mesh.triangles);
    test_sphere(&work, 10, 8, origin, &more); // a cavity that faces like a solid
    test_append(&work, &mesh, &more);
    test_sphere(&work, 9, 5, origin, &more); // a solid in it
    test_append(&work, &mesh, &more);
    int64_t turned = mesh.triangles - more.triangles;
    test_sphere(&work, 12, 6, aside, &more);
    int64_t last = more.triangles;
    test_turn_over(&more, 0, last);
    test_append(&work, &mesh, &more);
    KF_REQUIRE(!kf_mesh_repair(&work, &mesh, &usual, &report));
    KF_CHECK(report.sound && report.changed);
    KF_CHECK(report.turned_triangles > 0 && report.turned_triangles < turned + last);
    double whole = 4.0 / 3 * M_PI * (12 * 12 * 12 - 8 * 8 * 8 + 5 * 5 * 5 + 6 * 6 * 6);
    KF_CHECK_NEAR(report.after.volume_mm3 / whole, 1, 0.05);
    kf_mesh_release(&work, &mesh);
}

KF_TEST(a_fold_is_cut_out_and_what_stays_is_said)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_mesh mesh, other;
    struct kf_mesh_repair_report report;
    test_sphere(&work, 24, 10, origin, &mesh);
    for (int r = 0; r < 3; r++) // one vertex is pulled through the far side
        mesh.xyz[3 * 300 + r] *= -1.3f;
    KF_REQUIRE(!kf_mesh_repair(&work, &mesh, &usual, &report));
    KF_CHECK(report.intersections_before > 0);
    KF_CHECK_EQ(report.intersections_after, 0);
    KF_CHECK(report.sound && is_sound(&work, &mesh));
    KF_CHECK_NEAR(report.after.volume_mm3 / (4.0 / 3 * M_PI * 1000), 1, 0.05);
    kf_mesh_release(&work, &mesh);
    // Only counted when no round is allowed.
    const double beside[3] = {7, 0.1, 0.2};
    const struct kf_mesh_repair counting = {.least_mm3 = 1, .hole_edges = 1000};
    test_sphere(&work, 10, 10, origin, &mesh);
    test_sphere(&work, 10, 10, beside, &other);
    test_append(&work, &mesh, &other);
    KF_REQUIRE(!kf_mesh_repair(&work, &mesh, &counting, &report));
    KF_CHECK(!report.sound && !report.changed);
    KF_CHECK(report.intersections_before > 0 && report.intersections_after == report.intersections_before);
    kf_mesh_release(&work, &mesh);
}

KF_TEST(a_hole_larger_than_allowed_stays_open)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_mesh mesh;
    struct kf_mesh_repair_report report;
    const struct kf_mesh_repair small = {.least_mm3 = 0, .hole_edges = 16};
    test_sphere(&work, 16, 10, origin, &mesh);
    mesh.triangles -= 31; // the last band is gone
    KF_REQUIRE(!kf_mesh_repair(&work, &mesh, &small, &report));
    KF_CHECK(!report.sound && !report.after.closed && report.after.boundary_edges > 16);
    KF_CHECK_EQ(report.holes_filled, 0);
    kf_mesh_release(&work, &mesh);
}

// Any set of triangles: whatever comes out is a manifold, oriented and closed.
KF_TEST(any_triangles_become_a_closed_manifold)
{
    const struct kf_mesh_repair all = {.least_mm3 = 0, .hole_edges = 1 << 20};
    for (int round = 0; round < 300; round++) {
        struct kf_work work;
        kf_work_init(&work, 1 + round % 3);
        struct kf_mesh mesh;
        struct kf_mesh_repair_report report;
        test_chaos(&work, 4 + round % 30, 1 + (int64_t)(test_random(&state) % 120), 0, &state, &mesh);
        KF_REQUIRE(!kf_mesh_repair(&work, &mesh, &all, &report));
        KF_CHECK(mesh.triangles == 0 || is_sound(&work, &mesh));
        struct kf_mesh_repair_report again;
        KF_REQUIRE(!kf_mesh_repair(&work, &mesh, &all, &again));
        KF_CHECK(!again.changed);
        kf_mesh_release(&work, &mesh);
    }
}

static enum kf_kernel_status repair_chaos(const struct kf_work *work, void *out, void *user)
{
    struct kf_mesh mesh;
    struct kf_mesh_repair_report report;
    uint64_t seed = *(uint64_t *)user;
    test_chaos(work, 60, 200, 0, &seed, &mesh);
    enum kf_kernel_status status = kf_mesh_repair(work, &mesh, &usual, &report);
    memset(out, 0, 65536);
    memcpy(out, mesh.xyz, (size_t)(mesh.vertices > 1500 ? 1500 : mesh.vertices) * 12);
    memcpy((char *)out + 20000, mesh.index, (size_t)(mesh.triangles > 3700 ? 3700 : mesh.triangles) * 12);
    memcpy((char *)out + 65000, &report.intersections_after, 8);
    kf_mesh_release(work, &mesh);
    return status;
}

KF_TEST(threads_and_instruction_sets_do_not_matter)
{
    uint64_t seed = 5;
    char *first = malloc(65536);
    KF_REQUIRE(first);
    KF_CHECK_EQ(parity_failures(repair_chaos, &seed, 65536, first), 0);
    free(first);
}

KF_TEST(what_is_no_mesh_is_refused)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_mesh mesh;
    struct kf_mesh_repair_report report;
    test_sphere(&work, 4, 10, origin, &mesh);
    mesh.xyz[7] = NAN;
    KF_CHECK_EQ(kf_mesh_repair(&work, &mesh, &usual, &report), KF_KERNEL_INVALID);
    mesh.xyz[7] = 0;
    mesh.index[5] = 1000;
    KF_CHECK_EQ(kf_mesh_repair(&work, &mesh, &usual, &report), KF_KERNEL_INVALID);
    kf_mesh_release(&work, &mesh);
}

KF_TEST_MAIN(KF_RUN(what_is_sound_stays_byte_for_byte); KF_RUN(a_torn_soup_becomes_a_sphere_again);
             KF_RUN(solids_that_share_an_edge_or_a_corner_are_parted);
             KF_RUN(pieces_face_away_from_what_they_enclose); KF_RUN(a_fold_is_cut_out_and_what_stays_is_said);
             KF_RUN(a_hole_larger_than_allowed_stays_open); KF_RUN(any_triangles_become_a_closed_manifold);
             KF_RUN(threads_and_instruction_sets_do_not_matter); KF_RUN(what_is_no_mesh_is_refused);)
