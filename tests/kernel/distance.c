// The distance against trying all voxels, and what it says of balls.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/distance.h"

static uint64_t state = 9;

struct request {
    struct kf_bits bits;
    double spacing_mm[3];
    double band_mm;
};

static enum kf_kernel_status run(const struct kf_work *work, void *out, void *user)
{
    struct request *r = user;
    return kf_distance(work, &r->bits, r->spacing_mm, r->band_mm, out);
}

static double by_trying(const struct request *r, const int64_t p[3])
{
    const int64_t *dim = r->bits.dim;
    int inside = kf_bits_get(&r->bits, p[0], p[1], p[2]);
    double best = INFINITY;
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++) {
                if (kf_bits_get(&r->bits, i, j, k) == inside)
                    continue;
                double x = (double)(i - p[0]) * r->spacing_mm[0], y = (double)(j - p[1]) * r->spacing_mm[1];
                double z = (double)(k - p[2]) * r->spacing_mm[2];
                best = fmin(best, sqrt(x * x + y * y + z * z));
            }
    if (r->band_mm > 0)
        best = fmin(best, r->band_mm);
    return inside ? -best : best;
}

enum shape { SCATTERED, ONE, BLOCK, EMPTY, FULL, SHAPES };

static void draw(struct kf_bits *bits, enum shape shape)
{
    const int64_t *dim = bits->dim;
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++) {
                int set = shape == SCATTERED ? test_random(&state) % 90 == 0
                          : shape == ONE     ? i == dim[0] / 3 && j == dim[1] - 1 && k == 0
                          : shape == BLOCK   ? i > dim[0] / 4 && j > dim[1] / 3 && j < dim[1] - 2 && k > 1
                                             : shape == FULL;
                if (set)
                    kf_bits_put(bits, i, j, k);
            }
}

static void check(int64_t a, int64_t b, int64_t c, enum shape shape, double band_mm)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct request r = {.spacing_mm = {0.47, 0.71, 1.3}, .band_mm = band_mm};
    const int64_t dim[3] = {a, b, c};
    KF_REQUIRE(!kf_bits_alloc(&work, dim, &r.bits));
    draw(&r.bits, shape);
    int64_t n = a * b * c, step = n > 20000 ? 37 : n > 4000 ? 5 : 1;
    float *out = malloc((size_t)n * sizeof *out);
    KF_REQUIRE(out);
    KF_CHECK_EQ(parity_failures(run, &r, (size_t)n * sizeof *out, out), 0);
    double worst = 0;
    for (int64_t i = 0; i < n; i += step) {
        const int64_t p[3] = {i % a, i / a % b, i / a / b};
        double want = by_trying(&r, p), have = (double)out[i];
        worst = test_worst(worst, isinf(want) ? (want != have) : fabs(want - have) / (1 + fabs(want)));
    }
    KF_CHECK(worst < 1e-6);
    free(out);
    kf_bits_release(&work, &r.bits);
}

KF_TEST(distance_is_the_nearest_of_all)
{
    for (int shape = 0; shape < SHAPES; shape++) {
        check(70, 19, 23, (enum shape)shape, 0);
        check(65, 18, 17, (enum shape)shape, 2.5);
        check(1, 40, 9, (enum shape)shape, 0);
    }
    check(64, 8, 8, SCATTERED, 0);
    check(3, 1, 1, BLOCK, 0);
    check(200, 90, 3, ONE, 0); // far across many blocks
    check(21, 100, 40, ONE, 0);
}

// A point grows to a ball: the same voxels as the morphology with a ball.
KF_TEST(distance_agrees_with_morphology)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    const int64_t dim[3] = {60, 41, 33};
    const double spacing_mm[3] = {0.5, 0.6, 0.9};
    struct kf_bits bits;
    KF_REQUIRE(!kf_bits_alloc(&work, dim, &bits));
    draw(&bits, SCATTERED);
    float *out = malloc((size_t)(dim[0] * dim[1] * dim[2]) * sizeof *out);
    KF_REQUIRE(out);
    KF_CHECK(!kf_distance(&work, &bits, spacing_mm, 0, out));
    KF_CHECK(!kf_bits_dilate(&work, &bits, spacing_mm, 2.03));
    int64_t wrong = 0;
    for (int64_t n = 0; n < dim[0] * dim[1] * dim[2]; n++)
        wrong += kf_bits_get(&bits, n % dim[0], n / dim[0] % dim[1], n / dim[0] / dim[1]) != (out[n] <= 2.03f);
    KF_CHECK_EQ(wrong, 0);
    KF_CHECK_EQ(kf_distance(&work, &bits, spacing_mm, -1, out), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_distance(&work, &bits, spacing_mm, NAN, out), KF_KERNEL_INVALID);
    free(out);
    kf_bits_release(&work, &bits);
}

KF_TEST_MAIN(KF_RUN(distance_is_the_nearest_of_all); KF_RUN(distance_agrees_with_morphology);)
