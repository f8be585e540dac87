// Parts that stay rigid in a field that bends: a spine of blocks with joints a voxel wide.
#include "workers/kernels/field_rigid.h"
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "workers/io/memory.h"
#include "workers/kernels/math.h"

#include <math.h>

#define N     48
#define PARTS 3

static struct kf_grid cube(int64_t n, double spacing)
{
    struct kf_grid g = {.dim = {n, n, n}, .spacing_mm = {spacing, spacing, spacing}};
    for (int a = 0; a < 3; a++) {
        g.direction[4 * a] = 1;
        g.origin_lps[a] = -0.5 * (double)(n - 1) * spacing;
    }
    return g;
}

// Blocks of 12 voxels with 4 between them, each with a post behind that ends one voxel before the next.
static int label_at(int64_t i, int64_t j, int64_t k)
{
    int64_t part = k / 16, in = k % 16;
    if (i >= 12 && i < 36 && j >= 10 && j < 28 && in >= 2 && in < 14)
        return (int)(5 + 10 * part);
    return i >= 20 && i < 28 && j >= 28 && j < 38 && in < 15 ? (int)(5 + 10 * part) : 0;
}

static int make(struct kf_volume *labels)
{
    const struct kf_grid g = cube(N, 1.5);
    struct kf_error err;
    if (kf_volume_alloc(labels, &g, KF_VOXEL_UINT8, &err))
        return -1;
    for (int64_t n = 0; n < kf_grid_voxels(&g); n++)
        ((uint8_t *)labels->data)[n] = (uint8_t)label_at(n % N, n / N % N, n / N / N);
    return 0;
}

// A smooth field that bends and stretches, on its own coarse grid; push: the parts towards each other, mm.
static int bend(const struct kf_work *work, double push, struct kf_field *f)
{
    const struct kf_grid g = cube(12, 8);
    if (kf_field_take(work, &g, f))
        return -1;
    for (int64_t n = 0; n < 1728; n++) {
        const double ijk[3] = {(double)(n % 12), (double)(n / 12 % 12), (double)(n / 144)};
        double p[3];
        kf_grid_to_lps(&g, ijk, p);
        f->xyz[n] = (float)(3 * kf_sin(p[2] / 15) + 0.02 * p[0]);
        f->xyz[1728 + n] = (float)(3 * kf_cos(p[2] / 18) + kf_sin(p[0] / 9));
        f->xyz[2 * 1728 + n] = (float)(1.5 * kf_sin(p[1] / 12) - push * p[2]);
    }
    return 0;
}

// What is left of the displacements at voxels of a label after the best rigid motion, root mean square, and the most.
static double bent(const struct kf_field *f, const struct kf_volume *labels, int label, double *most)
{
    static double from[3 * N * N * N], to[3 * N * N * N];
    struct kf_affine motion;
    double rms = -1;
    int64_t count = 0;
    for (int64_t n = 0; n < kf_grid_voxels(&labels->grid); n++) {
        const double ijk[3] = {(double)(n % N), (double)(n / N % N), (double)(n / N / N)};
        double d[3];
        if (((const uint8_t *)labels->data)[n] != label)
            continue;
        kf_grid_to_lps(&labels->grid, ijk, from + 3 * count);
        kf_field_at(f, from + 3 * count, d);
        for (int a = 0; a < 3; a++)
            to[3 * count + a] = from[3 * count + a] + d[a];
        count++;
    }
    *most = 0;
    if (kf_register_points(from, to, NULL, count, &motion, &rms))
        return -1;
    for (int64_t n = 0; n < count; n++) {
        double q[3], square = 0;
        kf_affine_apply(&motion, from + 3 * n, q);
        for (int a = 0; a < 3; a++)
            square += (q[a] - to[3 * n + a]) * (q[a] - to[3 * n + a]);
        *most = sqrt(square) > *most ? sqrt(square) : *most;
    }
    return rms;
}

KF_TEST(parts_move_as_a_whole_and_nothing_folds)
{
    struct kf_volume labels;
    struct kf_work work;
    struct kf_field field, plain;
    struct kf_rigid_part parts[KF_RIGID_PARTS];
    int count;
    double most;
    kf_work_init(&work, 2);
    KF_REQUIRE(!make(&labels) && !bend(&work, 0, &field) && !bend(&work, 0, &plain));
    KF_REQUIRE(kf_field_keep_rigid(&work, &labels, 8, 0.05, &field, parts, &count) == KF_KERNEL_OK);
    KF_CHECK_EQ(count, PARTS);
    for (int i = 0; i < count; i++) {
        double before = bent(&plain, &labels, parts[i].label, &most);
        KF_CHECK(before > 0.2);
        KF_CHECK(fabs(parts[i].bent_mm - before) < 0.05);
        double after = bent(&field, &labels, parts[i].label, &most);
        printf("label %d: bent %.3f mm, then %.6f (most %.6f); turned by %.2f°\n", parts[i].label, before, after, most,
               parts[i].turn_rad * 180 / KF_PI);
        KF_CHECK(parts[i].label == 5 + 10 * i && after >= 0 && most < 0.001 && parts[i].left_mm < 0.001);
    }
    struct kf_field_range range = kf_field_jacobian(&work, &field);
    printf("Jacobian %.3f to %.3f\n", range.least, range.most);
    KF_CHECK(range.least >= 0.05 && range.most < 5);
    // Beyond the reach of the parts nothing has changed.
    const double far[3] = {-30, 30, -30};
    double a[3], b[3];
    kf_field_at(&field, far, a);
    kf_field_at(&plain, far, b);
    for (int i = 0; i < 3; i++)
        KF_CHECK(fabs(a[i] - b[i]) < 0.05);
    kf_field_release(&work, &field);
    kf_field_release(&work, &plain);
    kf_volume_release(&labels);
}

KF_TEST(what_cannot_stay_rigid_is_refused_and_the_field_kept)
{
    struct kf_volume labels;
    struct kf_work work;
    struct kf_field field;
    struct kf_rigid_part parts[KF_RIGID_PARTS];
    int count;
    kf_work_init(&work, 2);
    KF_REQUIRE(!make(&labels) &&
               !bend(&work, 0.4, &field)); // the parts come nearer by 10 mm, their posts are 1.5 apart
    KF_CHECK_EQ(kf_field_keep_rigid(&work, &labels, 8, 0.05, &field, parts, &count), KF_KERNEL_INVALID);
    KF_CHECK(field.xyz && field.grid.dim[0] == 12 && count == 0);
    memset(labels.data, 0, N * N * N);
    KF_CHECK_EQ(kf_field_keep_rigid(&work, &labels, 8, 0.05, &field, parts, &count), KF_KERNEL_INVALID);
    KF_CHECK(field.xyz && field.grid.dim[0] == 12);
    kf_field_release(&work, &field);
    kf_volume_release(&labels);
}

static enum kf_kernel_status keep(const struct kf_work *work, void *out, void *user)
{
    struct kf_field field;
    struct kf_rigid_part parts[KF_RIGID_PARTS];
    int count;
    if (bend(work, 0, &field))
        return KF_KERNEL_NOMEM;
    enum kf_kernel_status status = kf_field_keep_rigid(work, user, 8, 0.05, &field, parts, &count);
    if (!status)
        memcpy(out, field.xyz, sizeof(float) * 3 * N * N * N);
    kf_field_release(work, &field);
    return status;
}

KF_TEST(rigid_parts_have_the_same_bytes_everywhere)
{
    struct kf_volume labels;
    static float first[3 * N * N * N];
    KF_REQUIRE(!make(&labels));
    KF_CHECK_EQ(parity_failures(keep, &labels, sizeof first, first), 0);
    kf_volume_release(&labels);
}

KF_TEST_MAIN(KF_RUN(parts_move_as_a_whole_and_nothing_folds);
             KF_RUN(what_cannot_stay_rigid_is_refused_and_the_field_kept);
             KF_RUN(rigid_parts_have_the_same_bytes_everywhere);)
