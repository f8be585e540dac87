// Curvature diffusion against the formula in doubles, voxel by voxel, and what it is for.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/diffusion.h"

static uint64_t state = 41;

struct request {
    struct kf_volume volume;
    int iterations;
    double time_step, conductance;
};

static enum kf_kernel_status run(const struct kf_work *work, void *out, void *user)
{
    struct request *r = user;
    return kf_diffuse_curvature(work, &r->volume, r->iterations, r->time_step, r->conductance, out);
}

struct field {
    int64_t dim[3];
    double spacing[3];
    const double *v;
};

static double at(const struct field *f, const int64_t p[3], int axis, int step, int axis2, int step2)
{
    int64_t q[3] = {p[0], p[1], p[2]};
    q[axis] += step;
    q[axis2] += step2;
    for (int a = 0; a < 3; a++)
        q[a] = q[a] < 0 ? 0 : q[a] >= f->dim[a] ? f->dim[a] - 1 : q[a];
    return f->v[q[0] + f->dim[0] * (q[1] + f->dim[1] * q[2])];
}

static double central(const struct field *f, const int64_t p[3], int axis, int other, int step)
{
    return (at(f, p, axis, 1, other, step) - at(f, p, axis, -1, other, step)) / (2 * f->spacing[axis]);
}

// Flux through the face after (side 0) or before p.
static double face(const struct field *f, const int64_t p[3], int axis, int side, double k)
{
    int step = side ? -1 : 1;
    double d = step * (at(f, p, axis, step, axis, 0) - at(f, p, axis, 0, axis, 0)) / f->spacing[axis], square = d * d;
    for (int b = 0; b < 3; b++)
        if (b != axis)
            square += 0.25 * pow(central(f, p, b, axis, 0) + central(f, p, b, axis, step), 2);
    return d / sqrt(1e-10 + square) * exp(square / k);
}

static double update(const struct field *f, const int64_t p[3], double k)
{
    double speed = 0, square = 0;
    for (int a = 0; a < 3; a++)
        speed += face(f, p, a, 0, k) - face(f, p, a, 1, k);
    for (int a = 0; a < 3; a++) {
        double before = (at(f, p, a, 0, a, 0) - at(f, p, a, -1, a, 0)) / f->spacing[a];
        double after = (at(f, p, a, 1, a, 0) - at(f, p, a, 0, a, 0)) / f->spacing[a];
        square += speed > 0 ? pow(fmin(before, 0), 2) + pow(fmax(after, 0), 2)
                            : pow(fmax(before, 0), 2) + pow(fmin(after, 0), 2);
    }
    return sqrt(square) * speed;
}

static void step_directly(const struct request *r, const struct field *f, double *next)
{
    int64_t n = f->dim[0] * f->dim[1] * f->dim[2];
    double mean = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t v = 0; v < n; v++) {
            const int64_t p[3] = {v % f->dim[0], v / f->dim[0] % f->dim[1], v / f->dim[0] / f->dim[1]};
            if (pass == 0)
                for (int a = 0; a < 3; a++)
                    mean += pow(central(f, p, a, a, 0), 2) / (double)n;
            else
                next[v] = f->v[v] + r->time_step * update(f, p, -2 * mean * r->conductance * r->conductance);
        }
}

static double pattern(int64_t i, int64_t j, int64_t k)
{
    double edge = i + j > 30 ? 800 : -200; // an edge between two waves, and noise
    return edge + 60 * sin(0.3 * (double)i) + 40 * cos(0.5 * (double)(j + k)) + (double)(test_random(&state) % 100);
}

static void check(int64_t a, int64_t b, int64_t c, enum kf_voxel_type type, int iterations)
{
    struct kf_error err;
    struct kf_grid grid = {.dim = {a, b, c}, .spacing_mm = {0.9, 1.1, 1.4}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct request r = {.iterations = iterations, .time_step = 0.06, .conductance = 2};
    KF_REQUIRE(!kf_volume_alloc(&r.volume, &grid, type, &err));
    int64_t n = a * b * c;
    double *v = malloc((size_t)n * 8), *next = malloc((size_t)n * 8);
    float *out = malloc((size_t)n * 4);
    KF_REQUIRE(v && next && out);
    for (int64_t i = 0; i < n; i++) {
        v[i] = rint(pattern(i % a, i / a % b, i / a / b) * 0.1);
        if (type == KF_VOXEL_INT16)
            ((int16_t *)r.volume.data)[i] = (int16_t)v[i];
        else if (type == KF_VOXEL_UINT8)
            ((uint8_t *)r.volume.data)[i] = (uint8_t)(v[i] = v[i] < 0 ? 0 : v[i]);
        else
            ((float *)r.volume.data)[i] = (float)v[i];
    }
    KF_CHECK_EQ(parity_failures(run, &r, (size_t)n * 4, out), 0);
    for (int s = 0; s < iterations; s++) {
        struct field f = {.dim = {a, b, c}, .spacing = {0.9, 1.1, 1.4}, .v = v};
        step_directly(&r, &f, next);
        double *swap = v;
        v = next;
        next = swap;
    }
    double worst = 0;
    for (int64_t i = 0; i < n; i++)
        worst = test_worst(worst, fabs(v[i] - (double)out[i]));
    printf("diffusion: worst difference %.2g of 100\n", worst);
    KF_CHECK(worst < 0.01);
    free(v);
    free(next);
    free(out);
    kf_volume_release(&r.volume);
}

KF_TEST(diffusion_is_the_formula)
{
    check(37, 35, 12, KF_VOXEL_FLOAT32, 3);
    check(16, 70, 5, KF_VOXEL_INT16, 2);
    check(33, 3, 4, KF_VOXEL_UINT8, 1);
    check(1, 9, 1, KF_VOXEL_FLOAT32, 2);
    check(64, 1, 1, KF_VOXEL_FLOAT32, 1);
    check(15, 32, 2, KF_VOXEL_INT16, 0);
}

KF_TEST(diffusion_smooths_noise_and_keeps_the_edge)
{
    struct kf_error err;
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_grid grid = {.dim = {40, 40, 40}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct kf_volume v;
    KF_REQUIRE(!kf_volume_alloc(&v, &grid, KF_VOXEL_FLOAT32, &err));
    float *data = v.data;
    for (int64_t n = 0; n < 64000; n++)
        data[n] = (float)((n % 40 > 19 ? 1000 : 0) + (int64_t)(test_random(&state) % 101) - 50);
    KF_CHECK(!kf_diffuse_curvature(&work, &v, 10, 0.0625, 3, data)); // in place
    double noise = 0, step = 0;
    for (int64_t n = 0; n < 64000; n++) {
        int64_t i = n % 40;
        noise += (i > 4 && i < 15) ? (double)data[n] * (double)data[n] / 16000 : 0;
        step += i == 19 ? (double)(data[n + 1] - data[n]) / 1600 : 0;
    }
    printf("diffusion: noise %.1f of 29.2, edge %.0f of 1000\n", sqrt(noise), step);
    KF_CHECK(sqrt(noise) < 15 && step > 900);
    float kept = data[5];
    KF_CHECK_EQ(kf_diffuse_curvature(&work, &v, -1, 0.1, 3, data), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_diffuse_curvature(&work, &v, 1, NAN, 3, data), KF_KERNEL_INVALID);
    KF_CHECK(data[5] == kept);
    kf_volume_release(&v);
}

KF_TEST_MAIN(KF_RUN(diffusion_is_the_formula); KF_RUN(diffusion_smooths_noise_and_keeps_the_edge);)
