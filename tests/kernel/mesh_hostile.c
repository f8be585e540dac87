// Meshes with very many triangles at one vertex or edge, or in one place: the same answers as by looking at all, in a
// time that is in proportion to their number. Bounds are of processor time, ten times what it takes.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "tests/kernel/shapes.h"
#include "workers/io/memory.h"
#include "workers/kernels/mesh_intersect.h"
#include "workers/kernels/mesh_repair.h"

#include <time.h>

#define MANY 300000

static uint64_t state = 2024;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// ---- topology, by looking through all triangles for each question ----

static int64_t times_of(const struct kf_mesh *m, uint32_t a, uint32_t b)
{
    int64_t n = 0;
    for (int64_t c = 0; c < 3 * m->triangles; c++)
        n += m->index[c] == a && m->index[c % 3 == 2 ? c - 2 : c + 1] == b;
    return n;
}

// 1 when the triangles at v, each once, follow each other: from one that no other leads to, or from the first, always
// on to the first that begins where the last ended.
static int walks_around(const struct kf_mesh *m, uint32_t v)
{
    int64_t all = 0, visited = 0, start = -1, first = -1, at;
    for (int64_t c = 0; c < 3 * m->triangles; c++) {
        if (m->index[c] != v)
            continue;
        all++;
        first = first < 0 ? c : first;
        if (start < 0 && !times_of(m, m->index[c % 3 == 2 ? c - 2 : c + 1], v))
            start = c;
    }
    start = start < 0 ? first : start;
    at = start;
    do {
        uint32_t to = m->index[at % 3 == 0 ? at + 2 : at - 1];
        visited++;
        for (at = 0; at < 3 * m->triangles; at++)
            if (m->index[at] == v && m->index[at % 3 == 2 ? at - 2 : at + 1] == to)
                break;
    } while (at < 3 * m->triangles && at != start && visited < all);
    return visited == all;
}

static void check_slowly(const struct kf_mesh *m, struct kf_mesh_report *r)
{
    *r = (struct kf_mesh_report){0};
    for (uint32_t a = 0; a < m->vertices; a++) {
        int used = 0;
        for (uint32_t b = 0; b < m->vertices; b++) {
            int64_t forth = times_of(m, a, b), back = times_of(m, b, a);
            used |= forth + back > 0;
            if (a >= b)
                continue;
            r->boundary_edges += forth + back == 1;
            r->nonmanifold_edges += forth + back > 2;
            r->misoriented_edges += forth + back == 2 && forth != back;
        }
        r->nonmanifold_vertices += used && !walks_around(m, a);
        r->unused_vertices += !used;
    }
}

KF_TEST(a_busy_vertex_is_checked_as_by_looking_through_all)
{
    struct kf_work work;
    int64_t sheets = 0;
    for (int round = 0; round < 40; round++) {
        struct kf_mesh m;
        struct kf_mesh_report fast, slow;
        kf_work_init(&work, 1 + round % 3);
        if (round % 4 == 3)
            test_sphere(&work, 17 + round / 4, 10, (const double[3]){0, 0, 0}, &m); // poles of 34 triangles and more
        else
            test_chaos(&work, 12 + round, 60 + 20 * round, 1, &state, &m);
        if (round % 8 == 7)
            m.triangles -= 25; // one pole is open
        KF_REQUIRE(!kf_mesh_check(&work, &m, &fast));
        if (round % 4 != 3) {
            check_slowly(&m, &slow);
            KF_CHECK_EQ(fast.boundary_edges, slow.boundary_edges);
            KF_CHECK_EQ(fast.nonmanifold_edges, slow.nonmanifold_edges);
            KF_CHECK_EQ(fast.misoriented_edges, slow.misoriented_edges);
            KF_CHECK_EQ(fast.nonmanifold_vertices, slow.nonmanifold_vertices);
            KF_CHECK_EQ(fast.unused_vertices, slow.unused_vertices);
        }
        sheets += fast.nonmanifold_edges;
        KF_CHECK(round % 4 != 3 || (fast.manifold && fast.oriented && fast.closed == (round % 8 == 3)));
        kf_mesh_release(&work, &m);
    }
    KF_CHECK(sheets > 1000);
}

KF_TEST(repetitions_around_a_busy_vertex_are_dropped)
{
    struct kf_work work;
    int64_t repeated = 0;
    kf_work_init(&work, 2);
    for (int round = 0; round < 20; round++) {
        struct kf_mesh m;
        struct kf_mesh_repair_report report;
        const struct kf_mesh_repair all = {.least_mm3 = 0, .hole_edges = 1 << 20};
        int64_t twice = 0, flat = 0;
        test_chaos(&work, 10 + round, 400, 1, &state, &m);
        for (int64_t t = 0; t < m.triangles; t++) {
            const uint32_t *a = m.index + 3 * t;
            int same = 0, empty = a[0] == a[1] || a[1] == a[2] || a[2] == a[0];
            for (int64_t u = 0; u < t && !same && !empty; u++) {
                const uint32_t *b = m.index + 3 * u;
                int common = 0;
                for (int c = 0; c < 9; c++)
                    common += a[c / 3] == b[c % 3];
                same = common == 3 && b[0] != b[1] && b[1] != b[2] && b[2] != b[0];
            }
            twice += same;
            flat += empty;
        }
        KF_REQUIRE(!kf_mesh_repair(&work, &m, &all, &report));
        KF_CHECK_EQ(report.duplicate_triangles, twice);
        KF_CHECK_EQ(report.degenerate_triangles, flat);
        KF_CHECK(report.after.closed && report.after.manifold && report.after.oriented);
        repeated += twice;
        kf_mesh_release(&work, &m);
    }
    KF_CHECK(repeated > 500);
}

// ---- a million ----

// Triangles around one vertex, or two (closed).
static void make_fan(const struct kf_work *work, int64_t n, int closed, struct kf_mesh *m)
{
    test_mesh_new(work, n + 2, closed ? 2 * n : n, m);
    for (int64_t i = 0; i < n + 2; i++) {
        double a = 2 * M_PI * (double)i / (double)n;
        m->xyz[3 * i] = i < n ? (float)(1000 * cos(a)) : 0;
        m->xyz[3 * i + 1] = i < n ? (float)(1000 * sin(a)) : 0;
        m->xyz[3 * i + 2] = i < n ? 0 : i == n ? 500 : -500;
    }
    for (int64_t i = 0; i < n; i++) {
        const uint32_t a = (uint32_t)i, b = (uint32_t)((i + 1) % n);
        const uint32_t two[6] = {(uint32_t)n, a, b, (uint32_t)(n + 1), b, a};
        memcpy(m->index + (closed ? 6 : 3) * i, two, closed ? 24 : 12);
    }
}

KF_TEST(very_many_triangles_around_one_vertex)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    for (int closed = 0; closed < 2; closed++) {
        struct kf_mesh m;
        struct kf_mesh_report r;
        make_fan(&work, closed ? MANY / 2 : MANY, closed, &m);
        double start = seconds();
        KF_REQUIRE(!kf_mesh_check(&work, &m, &r));
        KF_CHECK(seconds() - start < 10);
        KF_CHECK_EQ(r.boundary_edges, closed ? 0 : MANY);
        KF_CHECK(r.manifold && r.oriented && r.closed == closed);
        KF_CHECK_EQ(r.components, 1);
        KF_CHECK_EQ(r.unused_vertices, closed ? 0 : 1);
        m.index[3 * 77 + 1] = m.index[3 * 99 + 1]; // the fan is torn
        KF_REQUIRE(!kf_mesh_check(&work, &m, &r));
        KF_CHECK(!r.manifold && !r.closed);
        kf_mesh_release(&work, &m);
    }
}

// Its rim is longer than what is filled; all of the triangles lie beside each other.
KF_TEST(very_many_triangles_around_one_vertex_are_repaired_as_far_as_that_goes)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_mesh m;
    struct kf_mesh_repair_report report;
    const struct kf_mesh_repair how = {.least_mm3 = 1, .hole_edges = 100000, .intersections = 3};
    make_fan(&work, MANY, 0, &m);
    double start = seconds();
    KF_REQUIRE(!kf_mesh_repair(&work, &m, &how, &report));
    KF_CHECK(seconds() - start < 100);
    KF_CHECK(!report.sound && report.intersections_unknown);
    KF_CHECK_EQ(report.intersections_before, 0);
    KF_CHECK_EQ(report.after.boundary_edges, MANY);
    KF_CHECK_EQ(report.holes_filled, 0);
    kf_mesh_release(&work, &m);
}

// ---- places that all want one slot of the table that joins them ----

static uint64_t hash_like_ours(const float *p)
{
    uint64_t h = 0;
    for (int r = 0; r < 3; r++) {
        uint32_t bits;
        memcpy(&bits, &p[r], 4);
        h = (h ^ bits) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return h;
}

KF_TEST(places_chosen_to_crowd_a_table_are_joined_all_the_same)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    const int64_t n = 3000; // of different places: two vertices at each, so that the table has 16384 slots
    struct kf_mesh m;
    test_mesh_new(&work, 2 * n, 2 * n - 2, &m);
    float *p = m.xyz;
    for (uint32_t bits = 0x3f800000; p < m.xyz + 3 * n; bits++) {
        float x;
        memcpy(&x, &bits, 4);
        const float at[3] = {1, x, 2};
        if (hash_like_ours(at) % 16384 < 4) {
            memcpy(p, at, 12);
            memcpy(p + 3 * n, at, 12);
            p += 3;
        }
    }
    for (int64_t t = 0; t < m.triangles; t++)
        for (int c = 0; c < 3; c++)
            m.index[3 * t + c] = (uint32_t)(t + c);
    KF_REQUIRE(!kf_mesh_weld(&work, &m));
    KF_CHECK_EQ(m.vertices, n);
    KF_CHECK_EQ(m.triangles, 2 * n - 2);
    for (int64_t t = 0; t < m.triangles; t++)
        for (int c = 0; c < 3; c++)
            KF_CHECK_EQ(m.index[3 * t + c], (uint32_t)((t + c) % n));
    kf_mesh_release(&work, &m);
}

KF_TEST_MAIN(KF_RUN(a_busy_vertex_is_checked_as_by_looking_through_all);
             KF_RUN(repetitions_around_a_busy_vertex_are_dropped); KF_RUN(very_many_triangles_around_one_vertex);
             KF_RUN(very_many_triangles_around_one_vertex_are_repaired_as_far_as_that_goes);
             KF_RUN(places_chosen_to_crowd_a_table_are_joined_all_the_same);)
