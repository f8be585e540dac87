// The bound of the greatest distance: never below what dense samples measure, whatever the surfaces are; and what a
// surface is said to cover is covered.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "tests/kernel/shapes.h"
#include "tests/kernel/slow_distance.h"
#include "workers/io/memory.h"
#include "workers/kernels/cover.h"
#include "workers/kernels/mesh_distance.h"

static uint64_t state = 12;

// ---- samples ----

static void corners_of(const struct kf_mesh *m, int64_t t, double p[3][3])
{
    for (int c = 0; c < 3; c++)
        for (int r = 0; r < 3; r++)
            p[c][r] = (double)m->xyz[3 * (int64_t)m->index[3 * t + c] + r];
}

// The greatest distance of n·(n + 1) / 2 points of a triangle, its corners among them.
static double sample_facet(const double p[3][3], int n, const struct kf_mesh *to)
{
    double most = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k + i < n; k++) {
            double u = (double)i / (n - 1), v = (double)k / (n - 1), at[3];
            for (int r = 0; r < 3; r++)
                at[r] = p[0][r] + u * (p[1][r] - p[0][r]) + v * (p[2][r] - p[0][r]);
            most = test_worst(most, slow_nearest(to, at));
        }
    return most;
}

static double sample_all(const struct kf_mesh *from, int n, const struct kf_mesh *to)
{
    double most = 0;
    for (int64_t t = 0; t < from->triangles; t++) {
        double p[3][3];
        corners_of(from, t, p);
        most = test_worst(most, sample_facet(p, n, to));
    }
    return most;
}

// ---- surfaces ----

enum shape { SPHERE, ROUGH, BOX, SHELL, SLAB, OPEN, SOUP, SHAPES };

static void make(const struct kf_work *work, enum shape shape, struct kf_mesh *m)
{
    static const double middle[3] = {20, -10, 300};
    switch (shape) {
    case SPHERE:
    case ROUGH:
    case OPEN:
        test_sphere(work, 14, 10, middle, m);
        if (shape == ROUGH)
            test_roughen(&state, 0.2, m);
        if (shape == OPEN)
            m->triangles -= 100;
        break;
    case BOX: // faces of a hundred triangles in one plane
        test_closed_box(work, 20, 15, 9, 8, m);
        break;
    case SHELL: // a wall as thin as the distances
        test_shell(work, 10, 10, 0.3, middle, m);
        break;
    case SLAB:
        test_closed_box(work, 20, 15, 0.2, 7, m);
        test_roughen(&state, 0.05, m);
        break;
    default:
        test_torus(work, 24, 12, 12, 4, m);
        test_roughen(&state, 0.1, m);
        if (shape == SOUP)
            test_soup(work, m);
    }
}

static double bound(const struct kf_work *work, const struct kf_mesh *a, const struct kf_mesh *b, double enough,
                    double *low)
{
    struct kf_bvh tree;
    double high = -1;
    if (kf_bvh_make(work, a, &tree))
        exit(1);
    KF_CHECK(!kf_mesh_hausdorff(work, &tree, b, enough, low, &high));
    kf_bvh_release(work, &tree);
    return high;
}

// Samples are looked for among all triangles, which takes four times as long under a sanitizer: fewer meshes say there
// what it could see.
#if defined(__SANITIZE_ADDRESS__)
enum { ERRORS = 1, FACETS = 100 };
#else
enum { ERRORS = 3, FACETS = 400 };
#endif

KF_TEST(the_bound_is_above_what_samples_measure)
{
    static const double errors[] = {0.02, 0.1, 0.5};
    struct kf_work work;
    kf_work_init(&work, 2);
    int tight = 0, all = 0;
    for (int shape = 0; shape < SHAPES; shape++)
        for (int n = 0; n < ERRORS; n++) {
            struct kf_mesh before, after;
            uint64_t same = state;
            make(&work, (enum shape)shape, &before);
            state = same;
            make(&work, (enum shape)shape, &after);
            if (shape == SOUP)
                test_roughen(&state, errors[n], &after);
            else
                KF_REQUIRE(!kf_mesh_decimate(&work, &after, &(struct kf_mesh_decimate){0, errors[n]}, NULL));
            double low, high = bound(&work, &before, &after, 0.01, &low);
            double measured = fmax(sample_all(&before, 3, &after), sample_all(&after, 7, &before));
            KF_CHECK(measured <= high + 1e-6);
            KF_CHECK(low <= high && high <= fmax(1.1 * low, 0.01) + 1e-6);
            KF_CHECK(low <= measured + 0.6); // samples are up to twice as far apart
            tight += high <= 1.2 * measured + 0.01;
            all++;
            double other, loose = bound(&work, &after, &before, 1, &other);
            KF_CHECK(loose <= fmax(1.1 * other, 1) + 1e-6 && measured <= loose + 1e-6);
            kf_mesh_release(&work, &before);
            kf_mesh_release(&work, &after);
        }
    KF_CHECK(tight >= all - 3);
}

// ---- covering ----

static void one_facet(double z, double facet[3][3])
{
    const double p[3][3] = {{1, 1, z}, {6, 2, z}, {3, 7, z}};
    memcpy(facet, p, sizeof p);
}

static int covered(const struct kf_work *work, const struct kf_mesh *m, const double facet[3][3], double most,
                   double *height)
{
    struct kf_bvh tree;
    int64_t looks;
    if (kf_bvh_make(work, m, &tree))
        exit(1);
    int yes = kf_bvh_covers(&tree, facet, most, height, &looks);
    KF_CHECK(looks > 0);
    kf_bvh_release(work, &tree);
    return yes;
}

KF_TEST(a_sheet_covers_and_one_with_a_hole_does_not)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_mesh sheet, more;
    double facet[3][3], height;
    test_closed_box(&work, 8, 8, 40, 8, &sheet); // its floor is at 0
    one_facet(0.25, facet);
    KF_CHECK(covered(&work, &sheet, facet, 0.5, &height) && fabs(height - 0.25) < 1e-6);
    KF_CHECK(!covered(&work, &sheet, facet, 0.2, &height));
    // Every triangle that the facet is above or below of is needed, and none else.
    int64_t needed = 0;
    for (int64_t t = 0; t < sheet.triangles; t++) {
        const uint32_t *v = sheet.index + 3 * t;
        uint32_t keep[3] = {v[0], v[1], v[2]};
        memcpy(sheet.index + 3 * t, (const uint32_t[3]){v[0], v[0], v[0]}, 12);
        int yes = covered(&work, &sheet, facet, 0.5, &height);
        memcpy(sheet.index + 3 * t, keep, 12);
        double p[3][3], least = INFINITY;
        corners_of(&sheet, t, p);
        for (int i = 0; i < 40; i++)
            for (int k = 0; k + i < 40; k++) {
                double at[3] = {0, 0, 0};
                for (int r = 0; r < 2; r++)
                    at[r] =
                        facet[0][r] + i / 39.0 * (facet[1][r] - facet[0][r]) + k / 39.0 * (facet[2][r] - facet[0][r]);
                least = fmin(least, slow_distance(&sheet, t, at));
            }
        KF_CHECK(least > 1e-9 || !yes);
        needed += !yes;
    }
    KF_CHECK(needed > 20 && needed < 70);
    // A second sheet: even numbers tell nothing, unless one is too far to be counted.
    test_box(&work, (const double[3]){-1, -1, 0.4}, (const double[3]){9, 9, 40}, 8, &more);
    KF_REQUIRE(!kf_mesh_weld(&work, &more));
    test_append(&work, &sheet, &more);
    KF_CHECK(!covered(&work, &sheet, facet, 0.5, &height));
    KF_CHECK(covered(&work, &sheet, facet, 0.2, &height) && fabs(height - 0.15) < 1e-6);
    const double flat[3][3] = {{1, 1, 0}, {2, 1, 0}, {3, 1, 0}};
    KF_CHECK(!kf_bvh_covers(&(struct kf_bvh){.mesh = &sheet}, flat, 1, &height, &(int64_t){0}));
    kf_mesh_release(&work, &sheet);
}

// Facets of all sizes and directions among surfaces of all kinds.
KF_TEST(what_is_said_to_be_covered_is)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    int said = 0, missed = 0;
    for (int shape = 0; shape < SHAPES; shape++) {
        struct kf_mesh m;
        struct kf_bvh tree;
        make(&work, (enum shape)shape, &m);
        KF_REQUIRE(!kf_bvh_make(&work, &m, &tree));
        for (int n = 0; n < FACETS; n++) {
            double facet[3][3], size = test_uniform(&state, 0.2, 3), by = test_uniform(&state, 0, 0.3), height;
            int64_t t = (int64_t)(test_random(&state) % (uint64_t)m.triangles), looks;
            corners_of(&m, t, facet);
            double middle[3];
            for (int r = 0; r < 3; r++)
                middle[r] = (facet[0][r] + facet[1][r] + facet[2][r]) / 3;
            for (int i = 0; i < 9; i++)
                facet[i / 3][i % 3] =
                    middle[i % 3] + size * (facet[i / 3][i % 3] - middle[i % 3]) + test_uniform(&state, -by, by);
            double most = test_uniform(&state, 0.1, 2);
            int yes = kf_bvh_covers(&tree, (const double(*)[3])facet, most, &height, &looks);
            double measured = yes || n % 8 == 0 ? sample_facet((const double(*)[3])facet, 7, &m) : 0;
            KF_CHECK(!yes || (height <= most && measured <= height + 1e-6));
            said += yes;
            missed += !yes && n % 8 == 0 && measured < 0.3 * most;
        }
        kf_bvh_release(&work, &tree);
        kf_mesh_release(&work, &m);
    }
    KF_CHECK(said > 2 * FACETS);
    printf("covered: %d of %d facets; not told of %d of %d\n", said, FACETS * SHAPES, missed, FACETS / 8 * SHAPES);
}

KF_TEST(what_cannot_be_bounded_is_refused)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_mesh m, none = {0};
    struct kf_bvh tree[2];
    double low, high;
    make(&work, SPHERE, &m);
    KF_REQUIRE(!kf_bvh_make(&work, &m, &tree[0]) && !kf_bvh_make(&work, &none, &tree[1]));
    KF_CHECK_EQ(kf_mesh_hausdorff(&work, &tree[0], &none, 0.1, &low, &high), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_mesh_hausdorff(&work, &tree[1], &m, 0.1, &low, &high), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_mesh_hausdorff(&work, &tree[0], &m, 0, &low, &high), KF_KERNEL_INVALID);
    KF_CHECK(!kf_mesh_hausdorff(&work, &tree[0], &m, 1e-3, &low, &high) && high <= 1e-3 + 1e-8);
    kf_bvh_release(&work, &tree[0]);
    kf_bvh_release(&work, &tree[1]);
    kf_mesh_release(&work, &m);
}

KF_TEST_MAIN(KF_RUN(the_bound_is_above_what_samples_measure); KF_RUN(a_sheet_covers_and_one_with_a_hole_does_not);
             KF_RUN(what_is_said_to_be_covered_is); KF_RUN(what_cannot_be_bounded_is_refused);)
