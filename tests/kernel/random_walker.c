// The random walker against Gaussian elimination of the whole system in doubles, and on grids of many blocks against the
// equations themselves; the same bytes for any number of threads and every instruction set.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/memory.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/random_walker.h"

#include <stdint.h>

static uint64_t state = 77;

static struct kf_volume make_image(const int64_t dim[3], const double spacing[3], int wild)
{
    int64_t total = dim[0] * dim[1] * dim[2];
    int16_t *value = malloc((size_t)total * 2);
    if (!value)
        exit(1);
    for (int64_t v = 0; v < total; v++)
        value[v] = wild ? test_random_i16(&state) : (int16_t)(test_random(&state) % 100);
    return (struct kf_volume){
        .grid = {.dim = {dim[0], dim[1], dim[2]}, .spacing_mm = {spacing[0], spacing[1], spacing[2]}},
        .type = KF_VOXEL_INT16,
        .data = value};
}

static double weight(const struct kf_volume *image, int64_t v, int64_t u, int axis, double sigma)
{
    const int16_t *value = image->data;
    const double *s = image->grid.spacing_mm;
    double d = fmin(4095, fabs((double)value[v] - value[u])), least = fmin(s[0], fmin(s[1], s[2]));
    return (exp(-(d / sigma) * (d / sigma)) + 1e-6) * pow(least / s[axis], 2);
}

static void eliminate(double *a, double *x, int64_t n)
{
    for (int64_t c = 0; c < n; c++)
        for (int64_t r = c + 1; r < n; r++) {
            double f = a[r * n + c] / a[c * n + c];
            for (int64_t k = c; k < n && f != 0; k++)
                a[r * n + k] -= f * a[c * n + k];
            x[r] -= f * x[c];
        }
    for (int64_t r = n - 1; r >= 0; r--) {
        for (int64_t k = r + 1; k < n; k++)
            x[r] -= a[r * n + k] * x[k];
        x[r] /= a[r * n + r];
    }
}

// The probability of one label everywhere, seeds included as rows of their own.
static void solve_slowly(const struct kf_volume *image, const uint8_t *seeds, int label, double sigma, double *x)
{
    const int64_t *dim = image->grid.dim, step[3] = {1, dim[0], dim[0] * dim[1]};
    int64_t n = kf_grid_voxels(&image->grid);
    double *a = calloc((size_t)(n * n), sizeof *a);
    if (!a)
        exit(1);
    for (int64_t v = 0; v < n; v++) {
        const int64_t at[3] = {v % dim[0], v / dim[0] % dim[1], v / dim[0] / dim[1]};
        x[v] = seeds[v] == label;
        if (seeds[v])
            a[v * n + v] = 1;
        for (int d = 0; d < 6 && !seeds[v]; d++) {
            int64_t to = at[d / 2] + (d & 1 ? -1 : 1), u = v + (d & 1 ? -step[d / 2] : step[d / 2]);
            if (to < 0 || to >= dim[d / 2])
                continue;
            double w = weight(image, v, u, d / 2, sigma);
            a[v * n + v] += w;
            a[v * n + u] -= w;
        }
    }
    eliminate(a, x, n);
    free(a);
}

KF_TEST(probabilities_are_those_of_elimination)
{
    static const int64_t sizes[][3] = {{1, 1, 2}, {5, 1, 1}, {7, 6, 5}, {3, 9, 8}, {16, 5, 4}};
    static const double spacings[][3] = {{1, 1, 1}, {0.6, 0.8, 1.5}};
    for (int round = 0; round < 20; round++) {
        const int64_t *dim = sizes[round % 5];
        int64_t n = dim[0] * dim[1] * dim[2];
        int count = 1 + round % 4;
        struct kf_volume image = make_image(dim, spacings[round % 2], 0);
        uint8_t *seeds = calloc((size_t)n, 1), *labels = malloc((size_t)n + 16);
        float *have = malloc((size_t)n * 4 + 16);
        double *want = malloc((size_t)n * 8 * 4);
        KF_REQUIRE(seeds && labels && have && want);
        for (int l = 0; l < count; l++)
            seeds[test_random(&state) % (uint64_t)n] = (uint8_t)(3 + 50 * l);
        memset(labels + n, 0x5a, 16);
        memset(have + n, 0x5a, 16);
        struct kf_work work;
        kf_work_init(&work, 1 + round % 3);
        const struct kf_walk_options options = {.sigma = 60, .tolerance = 1e-6, .most_iterations = 2000};
        struct kf_walk_report report;
        KF_REQUIRE(!kf_random_walker(&work, &image, seeds, &options, labels, have, &report));
        KF_CHECK(report.residual <= 1e-6);
        for (int l = 0; l < count; l++)
            solve_slowly(&image, seeds, 3 + 50 * l, 60, want + l * n);
        int wrong = 0;
        for (int64_t v = 0; v < n; v++) {
            double best = 0;
            for (int l = 0; l < count; l++)
                best = fmax(best, want[l * n + v]);
            int own = (labels[v] - 3) / 50;
            wrong += fabs(have[v] - best) > 1e-3 || labels[v] != 3 + 50 * own || own >= count ||
                     want[own * n + v] < best - 1e-3;
        }
        KF_CHECK_EQ(wrong, 0);
        KF_CHECK(labels[n] == 0x5a && ((unsigned char *)(have + n))[15] == 0x5a);
        free(image.data);
        free(seeds);
        free(labels);
        free(have);
        free(want);
    }
}

// Of two labels, the second with probability x: norm of what its equations leave, by the norm of their right side, both
// scaled as the solver scales them.
static double residual_of(const struct kf_volume *image, const uint8_t *seeds, const double *x, double sigma)
{
    const int64_t *dim = image->grid.dim, step[3] = {1, dim[0], dim[0] * dim[1]};
    double left = 0, right = 0;
    for (int64_t v = 0; v < kf_grid_voxels(&image->grid); v++) {
        const int64_t at[3] = {v % dim[0], v / dim[0] % dim[1], v / dim[0] / dim[1]};
        double sum = 0, flow = 0, known = 0;
        for (int d = 0; d < 6 && !seeds[v]; d++) {
            int64_t to = at[d / 2] + (d & 1 ? -1 : 1), u = v + (d & 1 ? -step[d / 2] : step[d / 2]);
            if (to < 0 || to >= dim[d / 2])
                continue;
            double w = weight(image, v, u, d / 2, sigma);
            sum += w;
            flow += w * (x[u] - x[v]);
            known += seeds[u] ? w * x[u] : 0;
        }
        left += sum > 0 ? flow * flow / sum : 0;
        right += sum > 0 ? known * known / sum : 0;
    }
    return sqrt(left / right);
}

KF_TEST(many_blocks_and_threads_solve_their_equations)
{
    static const int64_t sizes[][3] = {{61, 47, 23}, {48, 50, 31}, {13, 70, 44}, {120, 7, 64}};
    const double spacing[3] = {0.7, 0.8, 1.1};
    for (int round = 0; round < 8; round++) {
        const int64_t *dim = sizes[round % 4], n = dim[0] * dim[1] * dim[2];
        struct kf_volume image = make_image(dim, spacing, 0);
        uint8_t *seeds = calloc((size_t)n, 1), *labels = malloc((size_t)n);
        float *have = malloc((size_t)n * 4);
        double *x = malloc((size_t)n * 8);
        KF_REQUIRE(seeds && labels && have && x);
        for (int l = 0; l < 200; l++)
            seeds[test_random(&state) % (uint64_t)n] = (uint8_t)(1 + l % 2);
        struct kf_work work;
        kf_work_init(&work, 1 + round % 4);
        const struct kf_walk_options options = {.sigma = 60, .tolerance = 1e-5, .most_iterations = 2000};
        KF_REQUIRE(!kf_random_walker(&work, &image, seeds, &options, labels, have, NULL));
        for (int64_t v = 0; v < n; v++)
            x[v] = labels[v] == 2 ? (double)have[v] : 1 - (double)have[v];
        double residual = residual_of(&image, seeds, x, 60);
        KF_CHECK(residual > 0 && residual < 2e-5);
        free(image.data);
        free(seeds);
        free(labels);
        free(have);
        free(x);
    }
}

KF_TEST(threads_and_instruction_sets_give_the_same_bytes)
{
    const int64_t dim[3] = {61, 47, 23};
    const double spacing[3] = {0.7, 0.7, 1.1};
    int64_t n = 61 * 47 * 23;
    for (int wild = 0; wild < 2; wild++) {
        struct kf_volume image = make_image(dim, spacing, wild);
        uint8_t *seeds = calloc((size_t)n, 1), *labels = malloc((size_t)n * 2);
        float *have = malloc((size_t)n * 8);
        KF_REQUIRE(seeds && labels && have);
        for (int l = 0; l < 200; l++)
            seeds[test_random(&state) % (uint64_t)n] = (uint8_t)(1 + l % 3);
        enum kf_cpu was = kf_cpu_level();
        int runs = 0;
        for (int level = 0; level < KF_CPU_COUNT; level++)
            for (int threads = 1; threads <= 7 && !kf_cpu_use((enum kf_cpu)level);
                 threads += threads < 3 ? 1 : 4, runs++) {
                struct kf_work work;
                kf_work_init(&work, threads);
                const struct kf_walk_options options = {.sigma = 40, .tolerance = 1e-4, .most_iterations = 200};
                int64_t to = runs ? n : 0;
                KF_REQUIRE(!kf_random_walker(&work, &image, seeds, &options, labels + to, have + to, NULL));
                KF_CHECK(!runs || memcmp(labels, labels + n, (size_t)n) == 0);
                KF_CHECK(!runs || memcmp(have, have + n, (size_t)n * 4) == 0);
            }
        KF_CHECK(!kf_cpu_use(was) && runs >= 4);
        free(image.data);
        free(seeds);
        free(labels);
        free(have);
    }
}

KF_TEST(bad_arguments_are_answers)
{
    const int64_t dim[3] = {4, 3, 2};
    const double spacing[3] = {1, 1, 1};
    uint8_t seeds[24] = {0}, labels[24];
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_volume image = make_image(dim, spacing, 0);
    struct kf_walk_options options = {.sigma = 50, .tolerance = 1e-3, .most_iterations = 10};
    KF_CHECK_EQ(kf_random_walker(&work, &image, seeds, &options, labels, NULL, NULL), KF_KERNEL_INVALID);
    seeds[7] = 9;
    KF_REQUIRE(!kf_random_walker(&work, &image, seeds, &options, labels, NULL, NULL));
    for (int v = 0; v < 24; v++)
        KF_CHECK_EQ(labels[v], 9);
    options.sigma = NAN;
    KF_CHECK_EQ(kf_random_walker(&work, &image, seeds, &options, labels, NULL, NULL), KF_KERNEL_INVALID);
    free(image.data);
}

KF_TEST_MAIN(KF_RUN(probabilities_are_those_of_elimination); KF_RUN(many_blocks_and_threads_solve_their_equations);
             KF_RUN(threads_and_instruction_sets_give_the_same_bytes); KF_RUN(bad_arguments_are_answers);)
