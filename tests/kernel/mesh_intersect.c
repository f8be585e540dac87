// Where a surface runs through itself: exact against separating axes in integers, complete against all pairs.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "tests/kernel/shapes.h"
#include "workers/io/memory.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/mesh_intersect.h"

#include <stdint.h>

static uint64_t state = 51;

static void cross(const int64_t a[3], const int64_t b[3], int64_t n[3])
{
    for (int r = 0; r < 3; r++)
        n[r] = a[(r + 1) % 3] * b[(r + 2) % 3] - a[(r + 2) % 3] * b[(r + 1) % 3];
}

// 1 when the direction n has all of a strictly on one side of all of b.
static int separates(const int64_t n[3], const int64_t t[2][3][3])
{
    int64_t low[2], high[2];
    for (int k = 0; k < 2; k++)
        for (int c = 0; c < 3; c++) {
            int64_t at = n[0] * t[k][c][0] + n[1] * t[k][c][1] + n[2] * t[k][c][2];
            low[k] = c == 0 || at < low[k] ? at : low[k];
            high[k] = c == 0 || at > high[k] ? at : high[k];
        }
    return high[0] < low[1] || high[1] < low[0];
}

// Two convex sets are apart when some normal, or product of edges, or edge turned within a plane separates them.
static int apart(const int64_t t[2][3][3])
{
    int64_t edge[2][3][3], normal[2][3], axis[3];
    for (int k = 0; k < 2; k++) {
        for (int c = 0; c < 3; c++)
            for (int r = 0; r < 3; r++)
                edge[k][c][r] = t[k][(c + 1) % 3][r] - t[k][c][r];
        cross(edge[k][0], edge[k][1], normal[k]);
    }
    for (int k = 0; k < 2; k++) {
        if (separates(normal[k], t))
            return 1;
        for (int c = 0; c < 3; c++) {
            cross(normal[k], edge[k][c], axis);
            if (separates(axis, t))
                return 1;
            for (int d = 0; d < 3 && k == 0; d++) {
                cross(edge[0][c], edge[1][d], axis);
                if (separates(axis, t))
                    return 1;
            }
        }
    }
    return 0;
}

// Small integers meet in planes, lines and corners all the time; moved and scaled by powers of two they stay exact.
KF_TEST(triangles_meet_as_separating_axes_say)
{
    int met = 0, missed = 0;
    for (int round = 0; round < 400000; round++) {
        int64_t t[2][3][3], range = 2 + round % 5, normal[3], u[3], w[3];
        float f[2][3][3], scale = round % 2 ? 1.0f : 0x1p-9f;
        int shared = 0, flat = 0;
        for (int k = 0; k < 2; k++) {
            for (int c = 0; c < 3; c++)
                for (int r = 0; r < 3; r++) {
                    t[k][c][r] = (int64_t)(test_random(&state) % (uint64_t)range) + (round % 3 ? 0 : 100000);
                    f[k][c][r] = (float)t[k][c][r] * scale;
                }
            for (int r = 0; r < 3; r++) {
                u[r] = t[k][1][r] - t[k][0][r];
                w[r] = t[k][2][r] - t[k][0][r];
            }
            cross(u, w, normal);
            flat |= !normal[0] && !normal[1] && !normal[2];
        }
        for (int c = 0; c < 9; c++)
            shared += memcmp(f[0][c / 3], f[1][c % 3], sizeof f[0][0]) == 0;
        if (shared || flat)
            continue;
        int truth = !apart((const int64_t (*)[3][3])t);
        int found = kf_triangles_meet((const float (*)[3])f[0], (const float (*)[3])f[1]);
        KF_CHECK_EQ(found, truth);
        KF_CHECK_EQ(kf_triangles_meet((const float (*)[3])f[1], (const float (*)[3])f[0]), truth);
        met += truth;
        missed += !truth;
    }
    KF_CHECK(met > 10000 && missed > 10000);
}

KF_TEST(shared_corners_and_edges_count_only_beyond)
{
    static const float a[3][3] = {{0, 0, 0}, {4, 0, 0}, {0, 4, 0}};
    static const struct {
        float t[3][3];
        int meets;
    } cases[] = {
        {{{0, 0, 0}, {4, 0, 0}, {0, 0, 4}}, 0},    // one edge, a right angle
        {{{0, 0, 0}, {4, 0, 0}, {1, -3, 0}}, 0},   // one edge, flat and apart
        {{{4, 0, 0}, {0, 0, 0}, {1, 3, 0}}, 1},    // one edge, folded onto it
        {{{0, 0, 0}, {4, 0, 0}, {1, 3, 1e-30f}}, 0}, // almost
        {{{0, 0, 0}, {-4, 0, 1}, {-4, 1, 0}}, 0},  // one corner
        {{{0, 0, 0}, {2, 2, 2}, {2, 2, -2}}, 1},   // one corner, and through the middle
        {{{0, 0, 0}, {1, 1, 0}, {1, 1, 5}}, 1},    // one corner, an edge within
        {{{0, 0, 0}, {-1, -1, 0}, {2, 3, 0}}, 1},  // one corner, in the plane and over it
        {{{0, 0, 0}, {-1, -1, 0}, {-2, 3, 0}}, 0}, // one corner, in the plane and apart
        {{{0, 4, 0}, {0, 0, 0}, {4, 0, 0}}, 1},    // the same
        {{{2, 2, 0}, {9, 9, 1}, {9, 9, -1}}, 1},   // touches an edge
        {{{2, 2.000001f, 0}, {9, 9, 1}, {9, 9, -1}}, 0},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++)
        for (int turn = 0; turn < 9; turn++) {
            float p[3][3], q[3][3];
            for (int c = 0; c < 3; c++) {
                memcpy(p[c], a[(c + turn) % 3], sizeof p[c]);
                memcpy(q[c], cases[n].t[(c + turn / 3) % 3], sizeof q[c]);
            }
            int found = kf_triangles_meet((const float (*)[3])p, (const float (*)[3])q);
            int back = kf_triangles_meet((const float (*)[3])q, (const float (*)[3])p);
            if (found != cases[n].meets || back != cases[n].meets)
                printf("case %zu, turn %d\n", n, turn);
            KF_CHECK_EQ(found, cases[n].meets);
            KF_CHECK_EQ(back, cases[n].meets);
        }
}

KF_TEST(orientation_is_exact_where_doubles_are_not)
{
    const float a[3] = {0, 0, 0}, b[3] = {1, 0, 0}, c[3] = {0, 1, 0};
    KF_CHECK_EQ(kf_orientation(a, b, c, (const float[3]){0.3f, 0.3f, 1e-30f}), -1);
    KF_CHECK_EQ(kf_orientation(a, b, c, (const float[3]){0.3f, 0.3f, -1e-30f}), 1);
    // A plane far out, a point on it and one that is one unit in the last place off.
    for (int n = 0; n < 1000; n++) {
        int64_t x = (int64_t)(test_random(&state) % 8388608), y = (int64_t)(test_random(&state) % 8388608);
        const float p[3] = {16777215, 1, 3}, q[3] = {1, 16777213, 5}, r[3] = {3, 7, 16777209}; // x + y + z = 16777219
        const float d[3] = {(float)x, (float)y, (float)(16777219 - x - y + n % 3 - 1)};
        const float on[3] = {8, 11, 16777200};
        KF_CHECK_EQ(kf_orientation(p, q, r, on), 0);
        int64_t u[3], v[3], w[3], m[3];
        for (int k = 0; k < 3; k++) {
            u[k] = (int64_t)p[k] - (int64_t)d[k];
            v[k] = (int64_t)q[k] - (int64_t)d[k];
            w[k] = (int64_t)r[k] - (int64_t)d[k];
        }
        cross(v, w, m);
        __extension__ typedef __int128 wide;
        wide det = (wide)u[0] * m[0] + (wide)u[1] * m[1] + (wide)u[2] * m[2];
        KF_CHECK_EQ(kf_orientation(p, q, r, d), det > 0 ? 1 : det < 0 ? -1 : 0);
    }
}

KF_TEST(all_pairs_of_a_soup_are_found)
{
    static const int counts[] = {1, 2, 3, 7};
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_mesh m;
    test_mesh_new(&work, 500, 700, &m);
    for (int64_t v = 0; v < 3 * m.vertices; v++)
        m.xyz[v] = (float)(test_random(&state) % 12);
    for (int64_t c = 0; c < 3 * m.triangles; c++)
        m.index[c] = (uint32_t)(test_random(&state) % 500);
    int64_t pairs = 0, flat = 0;
    float (*t)[3][3] = malloc(700 * sizeof *t);
    uint8_t *is_flat = calloc(700, 1);
    for (int64_t n = 0; n < 700; n++) {
        double u[3], w[3];
        for (int c = 0; c < 3; c++)
            memcpy(t[n][c], m.xyz + 3 * (int64_t)m.index[3 * n + c], sizeof t[n][c]);
        for (int r = 0; r < 3; r++) {
            u[r] = (double)t[n][1][r] - (double)t[n][0][r];
            w[r] = (double)t[n][2][r] - (double)t[n][0][r];
        }
        is_flat[n] = u[0] * w[1] == u[1] * w[0] && u[1] * w[2] == u[2] * w[1] && u[2] * w[0] == u[0] * w[2];
        flat += is_flat[n];
    }
    for (int64_t n = 0; n < 700; n++)
        for (int64_t o = 0; o < n; o++)
            pairs += !is_flat[n] && !is_flat[o] && kf_triangles_meet((const float (*)[3])t[n], (const float (*)[3])t[o]);
    uint32_t *first = NULL;
    const enum kf_cpu was = kf_cpu_level();
    for (int n = 0; n < 4 * KF_CPU_COUNT; n++) {
        if (kf_cpu_use((enum kf_cpu)(n / 4)))
            continue;
        kf_work_init(&work, counts[n % 4]);
        struct kf_mesh_intersections found;
        KF_REQUIRE(!kf_mesh_intersect(&work, &m, 1 << 20, &found));
        KF_CHECK_EQ(found.pairs, pairs);
        KF_CHECK_EQ(found.listed, pairs);
        KF_CHECK_EQ(found.flat, flat);
        if (!first)
            first = found.pair;
        KF_CHECK(memcmp(first, found.pair, (size_t)pairs * 8) == 0);
        for (int64_t p = 0; p < pairs; p++)
            KF_CHECK(kf_triangles_meet((const float (*)[3])t[found.pair[2 * p]],
                                       (const float (*)[3])t[found.pair[2 * p + 1]]));
        if (first != found.pair)
            kf_work_give(&work, found.pair);
        KF_REQUIRE(!kf_mesh_intersect(&work, &m, 7, &found));
        KF_CHECK_EQ(found.listed, 7);
        KF_CHECK(memcmp(first, found.pair, 7 * 8) == 0);
        kf_work_give(&work, found.pair);
    }
    KF_CHECK(!kf_cpu_use(was));
    kf_work_give(&work, first);
    free(t);
    free(is_flat);
    kf_mesh_release(&work, &m);
}

// Two triangles with no, one or two corners in common, on grids and off them, small, large and far from the origin: what
// is decided without kf_triangles_meet is what that says, with every instruction set.
KF_TEST(what_is_decided_in_doubles_and_floats_is_right)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    int met[3] = {0, 0, 0}, missed[3] = {0, 0, 0};
    const enum kf_cpu was = kf_cpu_level();
    for (int round = 0; round < 180000; round++) {
        if (kf_cpu_use((enum kf_cpu)(round / 60000)))
            continue;
        const int common = round % 3, fine = round / 3 % 2;
        const float scale = (const float[]){1, 1e-12f, 1e9f, 0.1f}[round % 4], off = round % 4 == 3 ? 1e5f : 0;
        float xyz[6][3], t[2][3][3];
        uint32_t index[6];
        for (int i = 0; i < 18; i++) {
            uint64_t range = fine ? 1000003 : 5;
            xyz[i / 3][i % 3] = (float)(test_random(&state) % range) * scale + off;
        }
        for (int i = 0; i < 6; i++) {
            index[i] = (uint32_t)(i < 3 || i >= 3 + common ? i : (i - 3 + round) % 3);
            memcpy(t[i / 3][i % 3], xyz[index[i]], sizeof xyz[0]);
        }
        const struct kf_mesh m = {.vertices = 6, .triangles = 2, .xyz = &xyz[0][0], .index = index};
        struct kf_mesh_intersections found;
        KF_REQUIRE(!kf_mesh_intersect(&work, &m, 0, &found));
        if (found.flat)
            continue;
        int truth = kf_triangles_meet((const float(*)[3])t[0], (const float(*)[3])t[1]);
        KF_CHECK_EQ(found.pairs, truth);
        met[common] += truth;
        missed[common] += !truth;
    }
    KF_CHECK(!kf_cpu_use(was));
    for (int common = 0; common < 3; common++)
        KF_CHECK(met[common] > 100 && missed[common] > 2000);
}

KF_TEST(sound_surfaces_have_none_and_crossing_ones_do)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_mesh torus, sphere;
    struct kf_mesh_intersections found;
    test_torus(&work, 60, 40, 20, 6, &torus);
    KF_REQUIRE(!kf_mesh_intersect(&work, &torus, 0, &found));
    KF_CHECK_EQ(found.pairs, 0);
    test_sphere(&work, 20, 5, (const double[3]){20, 0, 0}, &sphere);
    test_append(&work, &torus, &sphere);
    KF_REQUIRE(!kf_mesh_intersect(&work, &torus, 0, &found)); // within the tube
    KF_CHECK_EQ(found.pairs, 0);
    test_sphere(&work, 20, 5, (const double[3]){-23, 0, 0}, &sphere);
    test_append(&work, &torus, &sphere);
    KF_REQUIRE(!kf_mesh_intersect(&work, &torus, 10, &found));
    KF_CHECK(found.pairs > 30);
    KF_CHECK_EQ(found.listed, 10);
    kf_work_give(&work, found.pair);
    kf_mesh_release(&work, &torus);
}

KF_TEST_MAIN(KF_RUN(triangles_meet_as_separating_axes_say); KF_RUN(shared_corners_and_edges_count_only_beyond);
             KF_RUN(orientation_is_exact_where_doubles_are_not); KF_RUN(all_pairs_of_a_soup_are_found);
             KF_RUN(what_is_decided_in_doubles_and_floats_is_right);
             KF_RUN(sound_surfaces_have_none_and_crossing_ones_do);)
