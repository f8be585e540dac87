// A map from one surface onto another: what it is found for is as near as it says, both ways, whatever the surfaces
// are; and on a surface that was made coarser it is found nearly everywhere.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "tests/kernel/shapes.h"
#include "tests/kernel/slow_distance.h"
#include "workers/io/memory.h"
#include "workers/kernels/mesh_onto.h"

// Samples are looked for among all triangles, which takes four times as long under a sanitizer.
#if defined(__SANITIZE_ADDRESS__)
#define EVERY 41
#else
#define EVERY 11
#endif

static uint64_t state = 31;

// The greatest distance of n·(n + 1) / 2 points of a triangle, its corners among them.
static double sample_triangle(const struct kf_mesh *from, int64_t t, int n, const struct kf_mesh *to)
{
    double most = 0, p[3][3];
    for (int c = 0; c < 3; c++)
        for (int r = 0; r < 3; r++)
            p[c][r] = (double)from->xyz[3 * (int64_t)from->index[3 * t + c] + r];
    for (int i = 0; i < n; i++)
        for (int k = 0; k + i < n; k++) {
            double u = (double)i / (n - 1), v = (double)k / (n - 1), at[3];
            for (int r = 0; r < 3; r++)
                at[r] = p[0][r] + u * (p[1][r] - p[0][r]) + v * (p[2][r] - p[0][r]);
            most = test_worst(most, slow_nearest(to, at));
        }
    return most;
}

// A map with all triangles mapped that go no farther than `most`.
struct mapped {
    struct kf_bvh tree;
    struct kf_onto map;
    char *done; // per triangle of `from`
    double farthest, far;
    int64_t mapped, covered;
};

static void map_all(const struct kf_work *work, const struct kf_mesh *from, const struct kf_mesh *to, double most,
                    struct mapped *m)
{
    struct kf_pace pace = {.left = KF_PACE_ASK_EVERY * (int64_t)100000};
    *m = (struct mapped){.done = calloc((size_t)from->triangles, 1)};
    KF_REQUIRE(m->done && !kf_bvh_make(work, to, &m->tree));
    KF_REQUIRE(!kf_onto_make(work, from, &m->tree, &pace, &m->map, &m->farthest));
    struct kf_loop loop = kf_loop_make(work, 1, 0, 1);
    pace.loop = &loop;
    struct kf_asker ask = kf_asker_begin(&pace);
    for (int64_t t = 0; t < from->triangles; t++) {
        double far;
        m->done[t] = (char)kf_onto_triangle(&m->map, &ask, t, most, &far);
        KF_CHECK(!m->done[t] || far <= most);
        m->far = m->done[t] ? test_worst(m->far, far) : m->far;
        m->mapped += m->done[t];
    }
    kf_asker_finish(&ask);
    for (int64_t t = 0; t < to->triangles; t++)
        m->covered += kf_onto_covers(&m->map, (uint32_t)t);
}

static void mapped_release(const struct kf_work *work, struct mapped *m)
{
    kf_onto_release(work, &m->map);
    kf_bvh_release(work, &m->tree);
    free(m->done);
}

// Every n-th triangle of both, sampled.
static void check_map(const struct kf_mesh *from, const struct kf_mesh *to, const struct mapped *m, int every)
{
    for (int64_t t = 0; t < from->triangles; t += every)
        KF_CHECK(!m->done[t] || sample_triangle(from, t, 4, to) <= m->far + 1e-6);
    for (int64_t t = 0; t < to->triangles; t += every)
        KF_CHECK(!kf_onto_covers(&m->map, (uint32_t)t) || sample_triangle(to, t, 7, from) <= m->far + 1e-6);
}

enum shape { SPHERE, ROUGH, BOX, SHELL, SLAB, HUB, TWICE, OPEN, HOLES, CHAOS, SHAPES };

static void make(const struct kf_work *work, enum shape shape, struct kf_mesh *m)
{
    static const double middle[3] = {20, -10, 300};
    struct kf_mesh more;
    switch (shape) {
    case BOX: // faces of a hundred triangles in one plane
        test_closed_box(work, 20, 15, 9, 8, m);
        return;
    case SHELL: // a wall as thin as the distances
        test_shell(work, 12, 10, 0.3, middle, m);
        return;
    case SLAB:
        test_closed_box(work, 20, 15, 0.2, 8, m);
        test_roughen(&state, 0.05, m);
        return;
    case TWICE: // some triangles have the same corners
        test_sphere(work, 14, 10, middle, m);
        test_sphere(work, 14, 10, middle, &more);
        more.triangles = 60;
        test_append(work, m, &more);
        for (int64_t c = 3 * (m->triangles - 60); c < 3 * m->triangles; c++)
            m->index[c] -= (uint32_t)m->vertices / 2;
        return;
    case CHAOS:
        test_chaos(work, 60, 200, 1, &state, m);
        return;
    default:
        test_sphere(work, shape == HUB ? 40 : 16, 10, middle, m); // 80 triangles at a pole
        if (shape == ROUGH)
            test_roughen(&state, 0.2, m);
        if (shape == OPEN)
            m->triangles -= 100;
        for (int64_t t = 50; shape == HOLES && t < m->triangles; t += 70)
            memcpy(m->index + 3 * t, (const uint32_t[3]){0, 0, 0}, 12);
    }
}

// The same surface with every vertex moved, or made coarser.
static void make_near(const struct kf_work *work, enum shape shape, int coarser, double by, struct kf_mesh *from,
                      struct kf_mesh *to)
{
    uint64_t same = state;
    make(work, shape, from);
    state = same;
    make(work, shape, to);
    if (!coarser)
        test_roughen(&state, by, to);
    else
        KF_REQUIRE(!kf_mesh_decimate(work, to, &(struct kf_mesh_decimate){0, by}, NULL));
}

KF_TEST(what_is_mapped_is_near_both_ways)
{
    static const double by[3] = {0.03, 0.1, 0.4};
    struct kf_work work;
    kf_work_init(&work, 2);
    for (int shape = 0; shape < SHAPES; shape++)
        for (int n = 0; n < 6; n++) {
            struct kf_mesh from, to;
            struct mapped m;
            make_near(&work, (enum shape)shape, n % 2 && shape < TWICE, by[n / 2], &from, &to);
            const struct kf_mesh *const pair[2] = {n == 5 ? &to : &from, n == 5 ? &from : &to};
            map_all(&work, pair[0], pair[1], n == 3 ? 0.05 : 1e9, &m);
            check_map(pair[0], pair[1], &m, shape == HUB ? 6 * EVERY : EVERY);
            if (n % 2 && n < 5 && shape <= BOX && n != 3) {
                KF_CHECK(m.mapped >= from.triangles * 98 / 100 && m.covered >= to.triangles * 95 / 100);
                KF_CHECK(m.far <= fmax(2 * m.farthest, 0.05));
                double farthest = 0, p[3];
                for (int64_t v = 0; v < from.vertices; v++) {
                    for (int r = 0; r < 3; r++)
                        p[r] = (double)from.xyz[3 * v + r];
                    farthest = test_worst(farthest, slow_nearest(&to, p));
                }
                KF_CHECK_NEAR(m.farthest, farthest, 1e-6);
            }
            mapped_release(&work, &m);
            kf_mesh_release(&work, &from);
            kf_mesh_release(&work, &to);
        }
}

// A triangle that is missing, or there twice: nothing goes to what lies there of the other surface.
KF_TEST(a_hole_covers_nothing)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    for (int n = 0; n < 200; n += 7) {
        struct kf_mesh from, to;
        struct mapped m;
        make_near(&work, BOX, 1, 0.01, &from, &to); // twelve triangles
        KF_REQUIRE(to.triangles == 12);
        map_all(&work, &from, &to, 1, &m);
        KF_CHECK(m.covered == 12 && m.mapped == from.triangles);
        mapped_release(&work, &m);
        int64_t t = n * 3 % from.triangles;
        double middle[3] = {0};
        for (int i = 0; i < 9; i++)
            middle[i % 3] += (double)from.xyz[3 * (int64_t)from.index[3 * t + i / 3] + i % 3] / 3;
        if (n % 2)
            memcpy(from.index + 3 * t, from.index + 3 * ((t + 1) % from.triangles), 12);
        else
            memcpy(from.index + 3 * t, (const uint32_t[3]){0, 0, 0}, 12);
        map_all(&work, &from, &to, 1, &m);
        KF_CHECK(m.covered < 12 && m.covered >= 4);
        for (int64_t f = 0; f < to.triangles; f++)
            KF_CHECK(slow_distance(&to, f, middle) > 1e-4 || !kf_onto_covers(&m.map, (uint32_t)f));
        check_map(&from, &to, &m, 1);
        mapped_release(&work, &m);
        kf_mesh_release(&work, &from);
        kf_mesh_release(&work, &to);
    }
}

// A closed surface beside a part of a triangle, and one that is there twice: all of it is mapped, and covers nothing
// that can be told.
KF_TEST(what_goes_into_a_part_of_a_triangle_does_not_cover_it)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_mesh box, ball, more;
    struct mapped m;
    test_closed_box(&work, 20, 20, 20, 1, &box);
    for (int n = 0; n < 20; n++) { // in one triangle, or over several
        test_sphere(&work, 9, 1, (const double[3]){test_uniform(&state, 2, 18), test_uniform(&state, 2, 18), 21.5},
                    &ball);
        map_all(&work, &ball, &box, 100, &m);
        KF_CHECK(m.mapped == ball.triangles && m.covered == 0);
        mapped_release(&work, &m);
        kf_mesh_release(&work, &ball);
    }
    test_sphere(&work, 12, 10, (const double[3]){0, 0, 0}, &ball);
    test_sphere(&work, 12, 10.1, (const double[3]){0, 0, 0}, &more);
    map_all(&work, &more, &ball, 1, &m);
    KF_CHECK(m.covered == ball.triangles);
    mapped_release(&work, &m);
    struct kf_mesh twice;
    test_sphere(&work, 12, 10.2, (const double[3]){0, 0, 0}, &twice);
    test_append(&work, &more, &twice);
    map_all(&work, &more, &ball, 1, &m);
    KF_CHECK(m.mapped == more.triangles && m.covered == 0);
    mapped_release(&work, &m);
    kf_mesh_release(&work, &more);
    kf_mesh_release(&work, &ball);
    kf_mesh_release(&work, &box);
}

KF_TEST_MAIN(KF_RUN(what_is_mapped_is_near_both_ways); KF_RUN(a_hole_covers_nothing);
             KF_RUN(what_goes_into_a_part_of_a_triangle_does_not_cover_it);)
