// Registration against exact truth: landmarks, gradients of the metric, images of known motion, surfaces; and the
// nearest-point tree and the label scores that come with it.
#include "server/base/test.h"
#include "tests/kernel/register_truth.h"
#include "workers/io/nifti.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/kdtree.h"
#include "workers/kernels/math.h"
#include "workers/kernels/overlap.h"
#include "workers/kernels/register_inside.h"

#include <stdint.h>

static uint64_t state = 5;

static double uniform(void)
{
    return 2 * (double)(test_random(&state) >> 11) * 0x1p-53 - 1;
}

static struct kf_affine random_motion(double degrees, double mm)
{
    struct kf_affine t;
    double w[3], r[9];
    for (int i = 0; i < 3; i++)
        w[i] = uniform() * degrees * KF_PI / 180;
    kf_rotation_exp(w, r);
    for (int i = 0; i < 12; i++)
        t.m[i] = i % 4 == 3 ? uniform() * mm : r[i / 4 * 3 + i % 4];
    return t;
}

// ---- transforms and landmarks ----

KF_TEST(a_transform_and_its_inverse_cancel)
{
    for (int n = 0; n < 50; n++) {
        struct kf_affine t = random_motion(170, 100), back, both;
        t.m[1] += 0.3; // no longer rigid
        KF_CHECK(!kf_affine_invert(&t, &back));
        kf_affine_chain(&back, &t, &both);
        for (int i = 0; i < 12; i++)
            KF_CHECK_NEAR(both.m[i], i % 5 == 0, 1e-9);
    }
    struct kf_affine flat = {{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}}, out;
    KF_CHECK(kf_affine_invert(&flat, &out) == -1);
}

KF_TEST(eigenvectors_are_those_of_the_matrix)
{
    for (int trial = 0; trial < 100; trial++) {
        int n = 2 + trial % 3;
        double a[16], kept[16], values[4], v[16];
        for (int i = 0; i < n; i++)
            for (int j = 0; j <= i; j++)
                a[i * n + j] = a[j * n + i] = trial % 7 == 0 && i != j ? 0 : uniform();
        memcpy(kept, a, sizeof a);
        kf_eigen_symmetric(n, a, values, v);
        for (int k = 0; k < n; k++) {
            KF_CHECK(k == 0 || values[k] <= values[k - 1]);
            for (int i = 0; i < n; i++) {
                double product = 0;
                for (int j = 0; j < n; j++)
                    product += kept[i * n + j] * v[k * n + j];
                KF_CHECK_NEAR(product, values[k] * v[k * n + i], 1e-13);
            }
        }
    }
}

KF_TEST(landmarks_give_the_motion_back)
{
    for (int n = 0; n < 50; n++) {
        double fixed[30], moving[30], weights[10], rms;
        struct kf_affine truth = random_motion(170, 200), found;
        for (int i = 0; i < 10; i++) {
            for (int a = 0; a < 3; a++)
                fixed[3 * i + a] = 80 * uniform();
            kf_affine_apply(&truth, fixed + 3 * i, moving + 3 * i);
            weights[i] = i < 7;
        }
        moving[29] += 40; // weighs nothing
        KF_CHECK(!kf_register_points(fixed, moving, weights, 10, &found, &rms));
        for (int i = 0; i < 12; i++)
            KF_CHECK_NEAR(found.m[i], truth.m[i], 1e-9);
        KF_CHECK_NEAR(rms, 0, 1e-9);
    }
}

KF_TEST(landmarks_never_mirror)
{
    double fixed[12] = {0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 30}, moving[12];
    for (int i = 0; i < 12; i++)
        moving[i] = i % 3 == 0 ? -fixed[i] : fixed[i];
    struct kf_affine t;
    double rms;
    KF_REQUIRE(!kf_register_points(fixed, moving, NULL, 4, &t, &rms));
    const double *m = t.m;
    double det =
        m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8]) + m[2] * (m[4] * m[9] - m[5] * m[8]);
    KF_CHECK_NEAR(det, 1, 1e-9);
    KF_CHECK(rms > 1);
}

KF_TEST(landmarks_that_fix_no_motion_are_refused)
{
    double line[9] = {0, 0, 0, 1, 2, 3, 2, 4, 6}, one[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    double nan[9] = {0, 0, 0, 1, 0, 0, 0, NAN, 0}, weights[3] = {1, 1, 0}, fine[9] = {0, 0, 0, 1, 0, 0, 0, 1, 0};
    struct kf_affine t;
    KF_CHECK_EQ(kf_register_points(line, line, NULL, 3, &t, NULL), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_register_points(one, one, NULL, 3, &t, NULL), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_register_points(nan, fine, NULL, 3, &t, NULL), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_register_points(fine, fine, weights, 3, &t, NULL), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_register_points(fine, fine, NULL, 2, &t, NULL), KF_KERNEL_INVALID);
    KF_CHECK(!kf_register_points(fine, fine, NULL, 3, &t, NULL));
}

// ---- nearest points ----

KF_TEST(the_tree_finds_what_a_full_search_finds)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    for (int trial = 0; trial < 6; trial++) {
        int n = (int[]){1, 2, 9, 500, 3000, 3000}[trial], wrong = 0;
        float *xyz = malloc((size_t)n * 12);
        KF_REQUIRE(xyz);
        for (int i = 0; i < 3 * n; i++) // the last trial is full of equal points and coordinates
            xyz[i] = trial == 5 ? (float)(test_random(&state) % 6) : (float)uniform();
        struct kf_kdtree tree;
        KF_REQUIRE(!kf_kdtree_make(&work, xyz, n, &tree));
        for (int q = 0; q < 500; q++) {
            const float p[3] = {(float)(7 * uniform()), (float)(2 * uniform()), (float)uniform()};
            float least = 1e30f, square;
            uint32_t best = 0;
            for (int i = 0; i < n; i++) {
                float x = xyz[3 * i] - p[0], y = xyz[3 * i + 1] - p[1], z = xyz[3 * i + 2] - p[2];
                if (x * x + y * y + z * z < least) {
                    least = x * x + y * y + z * z;
                    best = (uint32_t)i;
                }
            }
            wrong += kf_kdtree_nearest(&tree, p, &square) != best || square != least;
        }
        KF_CHECK_EQ(wrong, 0);
        kf_kdtree_release(&work, &tree);
        free(xyz);
    }
    struct kf_kdtree tree;
    const float bad[3] = {0, NAN, 0};
    KF_CHECK_EQ(kf_kdtree_make(&work, bad, 1, &tree), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_kdtree_make(&work, bad, 0, &tree), KF_KERNEL_INVALID);
}

KF_TEST(selection_is_the_sorted_value)
{
    for (int trial = 0; trial < 200; trial++) {
        int n = 1 + (int)(test_random(&state) % 60), k = (int)(test_random(&state) % (uint64_t)n), below = 0, upto = 0;
        float v[60];
        for (int i = 0; i < n; i++)
            v[i] = (float)(test_random(&state) % 20);
        float x = kf_select_f32(v, n, k);
        for (int i = 0; i < n; i++) {
            below += v[i] < x;
            upto += v[i] <= x;
        }
        KF_CHECK(below <= k && k < upto);
    }
}

// ---- label scores ----

static int border_at(const uint8_t *v, int n, int i, int j, int k, uint8_t label)
{
    if (v[i + n * (j + n * k)] != label)
        return 0;
    const int step[6][3] = {{1, 0, 0}, {-1, 0, 0}, {0, 1, 0}, {0, -1, 0}, {0, 0, 1}, {0, 0, -1}};
    for (int s = 0; s < 6; s++) {
        int x = i + step[s][0], y = j + step[s][1], z = k + step[s][2];
        if (x < 0 || y < 0 || z < 0 || x >= n || y >= n || z >= n || v[x + n * (y + n * z)] != label)
            return 1;
    }
    return 0;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Every border voxel of a against every one of b.
static int directed(const uint8_t *a, const uint8_t *b, int n, const double mm[3], uint8_t label, double *out)
{
    int count = 0, cells = n * n * n;
    for (int p = 0; p < cells; p++) {
        if (!border_at(a, n, p % n, p / n % n, p / n / n, label))
            continue;
        double least = 1e30;
        for (int q = 0; q < cells; q++)
            if (border_at(b, n, q % n, q / n % n, q / n / n, label)) {
                double x = (p % n - q % n) * mm[0], y = (p / n % n - q / n % n) * mm[1],
                       z = (p / n / n - q / n / n) * mm[2];
                least = fmin(least, x * x + y * y + z * z);
            }
        out[count++] = sqrt(least);
    }
    qsort(out, (size_t)count, sizeof *out, compare_doubles);
    return count;
}

KF_TEST(label_scores_are_those_of_a_full_search)
{
    enum { N = 11, CELLS = N * N * N };
    static uint8_t a[CELLS], b[CELLS];
    static double ab[CELLS], ba[CELLS];
    const double mm[3] = {0.7, 1.1, 2.3};
    for (int p = 0; p < CELLS; p++) {
        int x = p % N - 5, y = p / N % N - 5, z = p / N / N - 5;
        a[p] = x * x + y * y + z * z < 17 ? 3 : x > 3 && y > 2 ? 9 : 0;
        b[p] = x * x + 2 * y * y + z * z < 14 + (int)(test_random(&state) % 5) ? 3 : z < -4 ? 200 : 0;
    }
    struct kf_grid grid = {.dim = {N, N, N}, .spacing_mm = {0.7, 1.1, 2.3}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct kf_volume va = {grid, KF_VOXEL_UINT8, a}, vb = {grid, KF_VOXEL_UINT8, b};
    struct kf_label_score s[255];
    int count, na = directed(a, b, N, mm, 3, ab), nb = directed(b, a, N, mm, 3, ba);
    double sum = 0;
    for (int i = 0; i < na; i++)
        sum += ab[i];
    for (int i = 0; i < nb; i++)
        sum += ba[i];
    for (int threads = 1; threads < 8; threads += 3) {
        struct kf_work work;
        kf_work_init(&work, threads);
        KF_REQUIRE(!kf_labels_compare(&work, &va, &vb, s, &count));
        KF_CHECK_EQ(count, 3);
        KF_CHECK(s[0].label == 3 && s[1].label == 9 && s[2].label == 200);
        KF_CHECK_NEAR(s[0].assd_mm, sum / (na + nb), 1e-6);
        KF_CHECK_NEAR(s[0].hd95_mm, fmax(ab[(95 * na + 99) / 100 - 1], ba[(95 * nb + 99) / 100 - 1]), 1e-6);
        KF_CHECK_NEAR(s[0].hd_mm, fmax(ab[na - 1], ba[nb - 1]), 1e-6);
        KF_CHECK(s[0].dice > 0.3 && s[0].dice < 1 && s[0].hd95_mm > 0);
        KF_CHECK(s[1].dice == 0 && s[1].assd_mm == -1 && s[2].hd95_mm == -1);
        KF_REQUIRE(!kf_labels_compare(&work, &va, &va, s, &count));
        KF_CHECK(count == 2 && s[0].dice == 1 && s[0].assd_mm == 0 && s[0].hd_mm == 0);
    }
}

// ---- images ----

static const int64_t small[3] = {120, 120, 100};
static const double head_radii[3] = {65, 80, 85}, spine_radii[3] = {60, 60, 150}, none[3] = {0, 0, 0};

// Blurred noise: smooth enough for finite differences, without symmetry.
static int make_noise(struct kf_volume *v, uint64_t seed)
{
    struct kf_grid grid = {.dim = {29, 31, 27},
                           .spacing_mm = {2, 2.1, 2.3},
                           .origin_lps = {-20, 10, 5},
                           .direction = {0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1}};
    struct kf_error err;
    if (kf_volume_alloc(v, &grid, KF_VOXEL_INT16, &err))
        return -1;
    for (int64_t n = 0; n < kf_grid_voxels(&grid); n++) {
        double x = (double)(n % 29), y = (double)(n / 29 % 31), z = (double)(n / 29 / 31), p = (double)seed;
        ((int16_t *)v->data)[n] =
            (int16_t)(8000 * (sin(0.21 * x + p) * cos(0.17 * y) + sin(0.13 * z + 0.1 * x + 2 * p)));
    }
    return 0;
}

// Two noises, samples of the first and the metric over them in the second.
struct pair {
    struct kf_work work;
    struct kf_volume v[2];
    struct kf_reg_image image[2];
    struct kf_reg_range range[2];
    struct kf_reg_samples s;
    struct kf_reg_metric m;
};

static int make_pair(struct pair *p)
{
    const struct kf_reg_units plain = {0, 1};
    const double middle[3] = {14, 15, 13};
    enum kf_kernel_status status;
    kf_work_init(&p->work, 2);
    for (int i = 0; i < 2; i++)
        if (make_noise(&p->v[i], 1) || kf_reg_image_take(&p->work, &p->v[i], NULL, &plain, &p->image[i]) ||
            !kf_reg_range_find(&p->work, &p->image[i], &p->range[i], &status))
            return -1;
    if (kf_reg_samples_take(&p->work, 20000, &p->s) || kf_reg_metric_init(&p->m, &p->work, p->s.room))
        return -1;
    kf_grid_to_lps(&p->v[0].grid, middle, p->s.centre);
    kf_reg_samples_lay(&p->image[0], 9000, 1, &p->range[0], &p->s);
    p->m.samples = &p->s;
    p->m.moving = &p->image[1];
    p->m.range = p->range[1];
    return 0;
}

static void release_pair(struct pair *p)
{
    kf_reg_metric_release(&p->m);
    kf_reg_samples_release(&p->work, &p->s);
    kf_volume_release(&p->v[0]);
    kf_volume_release(&p->v[1]);
}

KF_TEST(gradients_are_those_of_the_metric)
{
    struct pair p;
    KF_REQUIRE(!make_pair(&p));
    struct kf_reg_metric m = p.m;
    const double *centre = p.s.centre;
    KF_CHECK(p.s.count > 7000 && p.s.count < 12000);
    for (int kind = KF_REGISTER_MI; kind <= KF_REGISTER_MSD; kind++) {
        m.kind = (enum kf_register_metric)kind;
        // Shrunk, so that no sample leaves the image when the pose changes a little.
        double pose[12] = {0.6,  0.05, -0.04, centre[0] + 1.5, -0.03, 0.62, 0.02, centre[1] - 1,
                           0.04, 0.01, 0.58,  centre[2] + 2};
        double gradient[12], unused[12];
        kf_reg_evaluate(&m, pose, gradient);
        KF_CHECK_NEAR(m.overlap, 1, 0);
        for (int e = 0; e < 12; e++) {
            double step = e % 4 == 3 ? 0.02 : 0.001, kept = pose[e];
            pose[e] = kept + step;
            double up = kf_reg_evaluate(&m, pose, NULL);
            pose[e] = kept - step;
            double down = kf_reg_evaluate(&m, pose, unused);
            pose[e] = kept;
            double want = (up - down) / (2 * step);
            KF_CHECK_NEAR(gradient[e] / want, 1, 0.05);
        }
    }
    release_pair(&p);
}

// Poses at which all, some and none of the samples find their patch, at and beyond the borders too.
KF_TEST(patches_change_no_value)
{
    struct pair p;
    KF_REQUIRE(!make_pair(&p));
    const double *c = p.s.centre;
    const double pose[12] = {1, 0.05, -0.04, c[0] + 1, -0.03, 1, 0.02, c[1] - 1, 0.04, 0.01, 1, c[2] + 2};
    for (int kind = KF_REGISTER_MI; kind <= KF_REGISTER_MSD; kind++)
        for (int far = 0; far < 4; far++) {
            double at[12], gradient[2][12] = {{0}}, value[2];
            memcpy(at, pose, sizeof at);
            at[3] += 2.5 * far;
            at[1] += 0.03 * far;
            p.m.kind = (enum kf_register_metric)kind;
            for (int patched = 0; patched < 2; patched++) {
                kf_reg_samples_lay(&p.image[0], 9000, 1, &p.range[0], &p.s);
                if (patched)
                    kf_reg_patches_take(&p.m, pose);
                KF_CHECK((p.s.corner[0] == KF_REG_NOWHERE) == !patched);
                value[patched] = kf_reg_evaluate(&p.m, at, gradient[patched]);
            }
            KF_CHECK(p.m.overlap > 0.5 && p.m.overlap < 1);
            KF_CHECK(memcmp(&value[0], &value[1], sizeof value[0]) == 0);
            KF_CHECK(memcmp(gradient[0], gradient[1], sizeof gradient[0]) == 0);
        }
    release_pair(&p);
}

struct image_case {
    const char *name, *fixed, *moving;
    const double *centre, *radii;
    double pose[3], shift[3];
    int as_mr;
    enum kf_register_model model;
    enum kf_register_metric metric;
    double mean_mm, most_mm; // gates
};

// The phantoms at rest, made once.
static const struct kf_volume *at_rest(const char *kind)
{
    static struct kf_volume made[2];
    struct kf_volume *v = &made[strcmp(kind, "head") == 0];
    if (!v->data && truth_make(kind, small, none, none, v))
        return NULL;
    return v;
}

// How far a registration said it was, and the widest step of it: a part that reports the end of itself would be one.
struct heard {
    double most, leap;
};

static void hear(void *user, double fraction)
{
    struct heard *heard = user;
    heard->leap = fmax(heard->leap, fraction - heard->most);
    heard->most = fmax(heard->most, fraction);
}

static void run_case(const struct image_case *c)
{
    struct kf_volume moving;
    const struct kf_volume *fixed = at_rest(c->fixed);
    const double *shift = c->shift;
    KF_REQUIRE(fixed);
    KF_REQUIRE(!truth_make(c->moving, small, c->pose, shift, &moving));
    if (c->as_mr)
        truth_as_mr(&moving);
    struct kf_affine truth = truth_motion(c->centre, c->pose, shift), found;
    struct kf_register how = {.model = c->model, .metric = c->metric, .both_ways = 1};
    struct kf_register_report report;
    struct kf_work work;
    kf_work_init(&work, 2);
    struct heard heard = {0};
    work.progress = hear;
    work.user = &heard;
    double most = 1e9, mean = 1e9;
    KF_CHECK(!kf_register_images(&work, fixed, &moving, &how, &found, &report));
    KF_CHECK(heard.most > 0.5 && heard.most <= 1 && heard.leap < 0.3);
    mean = truth_error(&found, &truth, c->centre, c->radii, &most);
    printf("%-34s TRE mean %.3f max %.3f mm, overlap %.2f, nmi %.3f, both ways agree to %.3f mm, %lld evaluations\n",
           c->name, mean, most, report.overlap, report.nmi, report.inverse_mm, (long long)report.evaluations);
    KF_CHECK(mean <= c->mean_mm && most <= c->most_mm);
    KF_CHECK(report.converged && report.mi > report.start_mi * 0.5 && report.inverse_mm >= 0 &&
             report.inverse_mm < 2 * c->most_mm);
    kf_volume_release(&moving);
}

KF_TEST(images_of_known_motion_are_registered)
{
    const double *h = truth_head_centre, *s = truth_spine_centre;
    const struct image_case cases[] = {
        {"head MSD",
         "head",
         "head",
         h,
         head_radii,
         {6, -4, 8},
         {7, -5, 9},
         0,
         KF_REGISTER_RIGID,
         KF_REGISTER_MSD,
         .03,
         .06},
        {"head MI",
         "head",
         "head",
         h,
         head_radii,
         {6, -4, 8},
         {7, -5, 9},
         0,
         KF_REGISTER_RIGID,
         KF_REGISTER_MI,
         .04,
         .08},
        {"head CT-MR",
         "head",
         "head",
         h,
         head_radii,
         {6, -4, 8},
         {7, -5, 9},
         1,
         KF_REGISTER_RIGID,
         KF_REGISTER_MI,
         .06,
         .12},
        {"head CT-MR 30 deg 40 mm",
         "head",
         "head",
         h,
         head_radii,
         {-30, 0, 0},
         {0, 40, 0},
         1,
         KF_REGISTER_RIGID,
         KF_REGISTER_MI,
         .12,
         .2},
        {"head CT-MR 30 deg oblique 40 mm",
         "head",
         "head",
         h,
         head_radii,
         {17, -17, 17},
         {-23, 23, 23},
         1,
         KF_REGISTER_RIGID,
         KF_REGISTER_MI,
         .1,
         .15},
        {"head CT-MR affine model",
         "head",
         "head",
         h,
         head_radii,
         {6, -4, 8},
         {7, -5, 9},
         1,
         KF_REGISTER_AFFINE,
         KF_REGISTER_MI,
         .12,
         .25},
        {"spine CT-MR",
         "spine",
         "spine-mr",
         s,
         spine_radii,
         {4, -3, 2.5},
         {7, -5, 9},
         0,
         KF_REGISTER_RIGID,
         KF_REGISTER_MI,
         .4,
         .5},
        {"spine CT-MR 25 deg 40 mm",
         "spine",
         "spine-mr",
         s,
         spine_radii,
         {0, 25, 10},
         {20, -30, 18},
         0,
         KF_REGISTER_RIGID,
         KF_REGISTER_MI,
         .25,
         .35},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++)
        run_case(&cases[n]);
}

// Half of the head is missing in the moving image, at the same offset and turn.
KF_TEST(images_that_overlap_in_part_are_registered)
{
    const double pose[3] = {8, -6, 5}, shift[3] = {10, 5, -8}, low[3] = {0, -12, 35}, radii[3] = {60, 75, 40};
    struct kf_volume fixed, moving, half;
    struct kf_error err;
    KF_REQUIRE(!truth_make("head", small, none, none, &fixed));
    KF_REQUIRE(!truth_make("head", small, pose, shift, &moving));
    truth_as_mr(&moving);
    struct kf_grid grid = moving.grid;
    const double corner[3] = {0, 0, 45};
    grid.dim[2] -= 45;
    kf_grid_to_lps(&moving.grid, corner, grid.origin_lps);
    KF_REQUIRE(!kf_volume_alloc(&half, &grid, KF_VOXEL_INT16, &err));
    memcpy(half.data, (int16_t *)moving.data + 45 * grid.dim[0] * grid.dim[1], (size_t)kf_grid_voxels(&grid) * 2);
    struct kf_affine truth = truth_motion(truth_head_centre, pose, shift), found;
    struct kf_register how = {.model = KF_REGISTER_RIGID, .metric = KF_REGISTER_MI};
    struct kf_register_report report;
    struct kf_work work;
    kf_work_init(&work, 2);
    double most, mean;
    KF_CHECK(!kf_register_images(&work, &fixed, &half, &how, &found, &report));
    mean = truth_error(&found, &truth, low, radii, &most);
    printf("%-34s TRE mean %.3f max %.3f mm, overlap %.2f\n", "head CT-MR, half of it", mean, most, report.overlap);
    KF_CHECK(mean < 0.2 && most < 0.45);
    kf_volume_release(&fixed);
    kf_volume_release(&moving);
    kf_volume_release(&half);
}

// CT and T1 of one head, of slices that cover different parts of it. Turned by 20° less of it is seen and the mutual
// information is greater at the coarsest resolution; their headers are not far off.
KF_TEST(a_start_that_sees_less_of_the_other_image_is_not_taken_for_a_better_one)
{
    if (!kf_test_data())
        KF_SKIP("KERF_TEST_DATA is not set");
    static const char *const names[2] = {"ct_example", "mri_t1_example"};
    static const double middle[3] = {-160, -160, 50}, radii[3] = {70, 80, 40}; // of the head, LPS mm
    struct kf_volume v[2];
    struct kf_work work;
    struct kf_affine headers, searched, started;
    struct kf_register_report from_search, from_headers;
    char path[4096];
    kf_work_init(&work, 2);
    for (int i = 0; i < 2; i++) {
        struct kf_error err;
        snprintf(path, sizeof path, "%s/head_ct_mr/%s.nii.gz", kf_test_data(), names[i]);
        KF_REQUIRE(kf_nifti_read(NULL, path, 0, -1, KF_NIFTI_IMAGE, &v[i], &err) == KF_OK);
    }
    kf_affine_identity(&headers);
    struct kf_register how = {.model = KF_REGISTER_RIGID, .metric = KF_REGISTER_MI};
    KF_REQUIRE(kf_register_images(&work, &v[0], &v[1], &how, &searched, &from_search) == KF_KERNEL_OK);
    how.start = &headers;
    KF_REQUIRE(kf_register_images(&work, &v[0], &v[1], &how, &started, &from_headers) == KF_KERNEL_OK);
    double most, mean = truth_error(&searched, &started, middle, radii, &most);
    printf("mean %.2f, most %.2f mm apart, NMI %.4f and %.4f\n", mean, most, from_search.nmi, from_headers.nmi);
    KF_CHECK(mean < 1 && from_headers.nmi > 1.2 && from_search.nmi > from_headers.nmi - 0.001);
    kf_volume_release(&v[0]);
    kf_volume_release(&v[1]);
}

// A fixed body beside a moving one: the mask says which of the two motions is asked for.
KF_TEST(masks_choose_what_is_registered)
{
    const double pose[3] = {5, 3, -4}, shift[3] = {0};
    struct kf_volume fixed, moving, mask;
    struct kf_error err;
    KF_REQUIRE(!truth_make("head", small, none, none, &fixed));
    KF_REQUIRE(!truth_make("head", small, pose, shift, &moving));
    KF_REQUIRE(!kf_volume_alloc(&mask, &fixed.grid, KF_VOXEL_UINT8, &err));
    memset(mask.data, 0, (size_t)kf_grid_voxels(&mask.grid));
    const int64_t half = small[2] / 2 * small[0] * small[1];
    // The lower half of the moving image is that of the head at rest; the mask leaves the upper one.
    memcpy(moving.data, fixed.data, (size_t)half * 2);
    memset((uint8_t *)mask.data + half + 8 * small[0] * small[1], 7, (size_t)(half - 8 * small[0] * small[1]));
    struct kf_affine truth = truth_motion(truth_head_centre, pose, shift), found;
    const double at[3] = {0, -12, 55}, radii[3] = {55, 60, 25};
    struct kf_register how = {
        .model = KF_REGISTER_RIGID, .metric = KF_REGISTER_MI, .fixed_mask = &mask, .moving_mask = &mask};
    struct kf_register_report report;
    struct kf_work work;
    kf_work_init(&work, 2);
    double most, mean;
    KF_CHECK(!kf_register_images(&work, &fixed, &moving, &how, &found, &report));
    mean = truth_error(&found, &truth, at, radii, &most);
    printf("%-34s TRE mean %.3f max %.3f mm\n", "head, upper half by mask", mean, most);
    KF_CHECK(mean < 0.15 && most < 0.4);
    memset(mask.data, 0, (size_t)kf_grid_voxels(&mask.grid));
    KF_CHECK_EQ(kf_register_images(&work, &fixed, &moving, &how, &found, &report), KF_KERNEL_INVALID);
    mask.grid.dim[0]--;
    KF_CHECK_EQ(kf_register_images(&work, &fixed, &moving, &how, &found, &report), KF_KERNEL_INVALID);
    kf_volume_release(&fixed);
    kf_volume_release(&moving);
    kf_volume_release(&mask);
}

KF_TEST(registration_gives_the_same_bytes)
{
    const int64_t dim[3] = {61, 67, 53};
    const double pose[3] = {9, 3, -4}, shift[3] = {3, -8, 5};
    struct kf_volume fixed, moving, reals;
    struct kf_error err;
    KF_REQUIRE(!truth_make("head", dim, none, none, &fixed));
    KF_REQUIRE(!truth_make("head", dim, pose, shift, &moving));
    KF_REQUIRE(!kf_volume_alloc(&reals, &moving.grid, KF_VOXEL_FLOAT32, &err));
    for (int64_t n = 0; n < kf_grid_voxels(&reals.grid); n++)
        ((float *)reals.data)[n] = 0.01f * (float)((int16_t *)moving.data)[n];
    struct kf_affine first[3], found;
    struct kf_register_report report, first_report[3];
    enum kf_cpu was = kf_cpu_level();
    int differs = 0, runs = 0;
    for (int level = 0; level < KF_CPU_COUNT; level++)
        for (int t = level; t < level + 2 && !kf_cpu_use((enum kf_cpu)level); t++, runs++)
            for (int kind = 0; kind < 3; kind++) { // kernel_everywhere crosses them on small images
                struct kf_work work;
                kf_work_init(&work, (int[]){1, 2, 3, 7}[t]);
                struct kf_register how = {.model = kind == 1 ? KF_REGISTER_AFFINE : KF_REGISTER_RIGID,
                                          .metric = kind == 2 ? KF_REGISTER_MSD : KF_REGISTER_MI,
                                          .both_ways = 1};
                KF_CHECK(!kf_register_images(&work, &fixed, kind == 1 ? &reals : &moving, &how, &found, &report));
                if (!runs) {
                    first[kind] = found;
                    first_report[kind] = report;
                }
                differs += memcmp(&first[kind], &found, sizeof found) != 0 || first_report[kind].mi != report.mi ||
                           first_report[kind].evaluations != report.evaluations;
            }
    KF_CHECK(!kf_cpu_use(was));
    KF_CHECK_EQ(differs, 0);
    kf_volume_release(&fixed);
    kf_volume_release(&moving);
    kf_volume_release(&reals);
}

static int never(void *user)
{
    return *(int *)user;
}

KF_TEST(hopeless_images_are_refused)
{
    struct kf_volume v, flat;
    KF_REQUIRE(!make_noise(&v, 1) && !make_noise(&flat, 2));
    memset(flat.data, 0, (size_t)kf_grid_voxels(&flat.grid) * 2);
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_affine t, far;
    struct kf_register how = {.model = KF_REGISTER_RIGID, .metric = KF_REGISTER_MI};
    struct kf_register_report report;
    KF_CHECK_EQ(kf_register_images(&work, &v, &flat, &how, &t, &report), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_register_images(&work, &flat, &v, &how, &t, &report), KF_KERNEL_INVALID);
    kf_affine_identity(&far);
    far.m[3] = 5000;
    how.start = &far;
    KF_CHECK_EQ(kf_register_images(&work, &v, &v, &how, &t, &report), KF_KERNEL_INVALID);
    how.start = NULL;
    int stop = 1;
    work.cancelled = never;
    work.user = &stop;
    KF_CHECK_EQ(kf_register_images(&work, &v, &v, &how, &t, &report), KF_KERNEL_CANCELLED);
    KF_CHECK(t.m[0] == 1 && report.mi == 0);
    kf_volume_release(&v);
    kf_volume_release(&flat);
}

// ---- surfaces ----

// A potato of rings and sectors: no symmetry; moved by t; `keep_rings` of them.
static struct kf_mesh potato(const struct kf_work *work, int rings, int sectors, const struct kf_affine *t,
                             int keep_rings)
{
    struct kf_mesh mesh = {.vertices = (int64_t)(keep_rings + 1) * sectors,
                           .triangles = 2 * (int64_t)keep_rings * sectors};
    mesh.xyz = kf_work_take(work, 12 * mesh.vertices);
    mesh.index = kf_work_take(work, 12 * mesh.triangles);
    for (int r = 0; r <= keep_rings; r++)
        for (int s = 0; s < sectors; s++) {
            double a = KF_PI * (r + 0.5) / (rings + 1), b = 2 * KF_PI * s / sectors;
            double radius =
                30 + 5 * sin(2 * b + 1) * sin(a) + 6 * cos(3 * a) * sin(a) * cos(b) + 4 * sin(a) * sin(a) * sin(3 * b);
            double p[3] = {1.5 * radius * sin(a) * cos(b), radius * sin(a) * sin(b), 1.2 * radius * cos(a)}, q[3];
            kf_affine_apply(t, p, q);
            for (int i = 0; i < 3; i++)
                mesh.xyz[3 * (r * sectors + s) + i] = (float)q[i];
        }
    for (int r = 0; r < keep_rings; r++)
        for (int s = 0; s < sectors; s++) {
            uint32_t v = (uint32_t)(r * sectors + s), w = (uint32_t)(r * sectors + (s + 1) % sectors),
                     n = (uint32_t)sectors;
            const uint32_t two[6] = {v, v + n, w, w, v + n, w + n};
            memcpy(mesh.index + 6 * (int64_t)v, two, sizeof two);
        }
    return mesh;
}

static void check_surfaces(double degrees, double mm, int keep_rings, double keep, double gate_mm)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_affine still, truth = random_motion(degrees, mm), found, again;
    kf_affine_identity(&still);
    struct kf_mesh fixed = potato(&work, 90, 140, &still, 89), moving = potato(&work, 77, 151, &truth, keep_rings);
    struct kf_register_surfaces how = {.keep = keep};
    struct kf_register_surfaces_report report;
    const double centre[3] = {0}, radii[3] = {40, 30, 35};
    double most = 1e9;
    KF_CHECK(!kf_register_surfaces(&work, &fixed, &moving, &how, &found, &report));
    double mean = truth_error(&found, &truth, centre, radii, &most);
    printf("%-34s TRE mean %.4f max %.4f mm, rms %.4f, %d iterations\n", "surfaces", mean, most, report.rms_mm,
           report.iterations);
    KF_CHECK(most < gate_mm && report.rms_mm < 0.2);
    kf_work_init(&work, 7);
    KF_CHECK(!kf_register_surfaces(&work, &fixed, &moving, &how, &again, &report));
    KF_CHECK(memcmp(&found, &again, sizeof found) == 0);
    kf_mesh_release(&work, &fixed);
    kf_mesh_release(&work, &moving);
}

KF_TEST(surfaces_are_registered)
{
    check_surfaces(15, 60, 76, 0, 0.1);
    check_surfaces(10, 5, 60, 0.6, 0.2); // a fifth of the moving one is missing
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_mesh nothing = {0};
    struct kf_register_surfaces how = {0};
    struct kf_register_surfaces_report report;
    struct kf_affine t;
    KF_CHECK_EQ(kf_register_surfaces(&work, &nothing, &nothing, &how, &t, &report), KF_KERNEL_INVALID);
}

KF_TEST_MAIN(KF_RUN(a_transform_and_its_inverse_cancel); KF_RUN(eigenvectors_are_those_of_the_matrix);
             KF_RUN(landmarks_give_the_motion_back); KF_RUN(landmarks_never_mirror);
             KF_RUN(landmarks_that_fix_no_motion_are_refused); KF_RUN(the_tree_finds_what_a_full_search_finds);
             KF_RUN(selection_is_the_sorted_value); KF_RUN(label_scores_are_those_of_a_full_search);
             KF_RUN(gradients_are_those_of_the_metric); KF_RUN(patches_change_no_value);
             KF_RUN(images_of_known_motion_are_registered); KF_RUN(images_that_overlap_in_part_are_registered);
             KF_RUN(a_start_that_sees_less_of_the_other_image_is_not_taken_for_a_better_one);
             KF_RUN(masks_choose_what_is_registered); KF_RUN(registration_gives_the_same_bytes);
             KF_RUN(hopeless_images_are_refused); KF_RUN(surfaces_are_registered);)
