// Deformable registration against a known warp, and the fields it is made of.
#include "workers/kernels/register_deform.h"
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/math.h"

#include <math.h>

#define BLOBS 260

struct blob {
    double centre[3], radius, value;
};

static struct kf_grid cube(int64_t n, double spacing)
{
    struct kf_grid g = {.dim = {n, n, n}, .spacing_mm = {spacing, spacing, spacing}};
    for (int a = 0; a < 3; a++) {
        g.direction[4 * a] = 1;
        g.origin_lps[a] = -0.5 * (double)(n - 1) * spacing;
    }
    return g;
}

static double unit(uint64_t *state)
{
    return (double)(test_random(state) >> 11) * 0x1p-53;
}

// Where the moving image shows what the fixed one has at p.
static void truth(const double p[3], double q[3])
{
    q[0] = p[0] + 4 * kf_sin(p[1] / 17) * kf_cos(p[2] / 25);
    q[1] = p[1] + 4 * kf_cos(p[2] / 19 + 1);
    q[2] = p[2] + 3 * kf_sin(p[0] / 16 + 0.5);
}

// Balls of random values; every voxel of the moving image (moved -1: one that moved the other way) looks up which p the
// truth takes to it. Another modality
// (1) maps values without order; 2 also has noise and the gain of a coil.
static int make(struct kf_volume *v, int moved, int other, uint64_t seed)
{
    const struct kf_grid g = cube(44, 2.5);
    struct blob blob[BLOBS];
    struct kf_error err;
    uint64_t state = 5, noise = seed;
    for (int b = 0; b < BLOBS; b++) {
        for (int a = 0; a < 3; a++)
            blob[b].centre[a] = 120 * (unit(&state) - 0.5);
        blob[b].radius = 5 + 8 * unit(&state);
        blob[b].value = floor(6 * unit(&state));
    }
    if (kf_volume_alloc(v, &g, KF_VOXEL_INT16, &err))
        return -1;
    static const double shown[2][6] = {{0, 200, 400, 600, 800, 1000}, {700, 100, 900, 300, 50, 500}};
    for (int64_t n = 0; n < kf_grid_voxels(&g); n++) {
        const double ijk[3] = {(double)(n % 44), (double)(n / 44 % 44), (double)(n / 44 / 44)};
        double w[3], p[3];
        kf_grid_to_lps(&g, ijk, w);
        memcpy(p, w, sizeof p);
        for (int step = 0; moved && step < 12; step++) {
            double q[3];
            truth(p, q);
            for (int a = 0; a < 3; a++)
                p[a] += w[a] - q[a];
        }
        for (int a = 0; moved < 0 && a < 3; a++)
            p[a] = 2 * w[a] - p[a];
        int value = 0;
        for (int b = 0; b < BLOBS; b++) {
            double square = 0;
            if (fabs(p[0] - blob[b].centre[0]) > blob[b].radius)
                continue;
            for (int a = 0; a < 3; a++)
                square += (p[a] - blob[b].centre[a]) * (p[a] - blob[b].centre[a]);
            if (square < blob[b].radius * blob[b].radius)
                value = (int)blob[b].value;
        }
        const double gain = other == 2 ? 0.75 + 0.5 * ijk[0] / 43 : 1, spread = other == 2 ? 150 : 20;
        double shade = gain * shown[other > 0][value] + spread * (unit(&noise) - 0.5);
        ((int16_t *)v->data)[n] = (int16_t)(other == 2 && shade < 0 ? -shade : shade);
    }
    return 0;
}

static double error_of(const struct kf_field *field, double *most)
{
    uint64_t state = 3;
    struct kf_affine still;
    double sum = 0;
    kf_affine_identity(&still);
    *most = 0;
    for (int n = 0; n < 1000; n++) {
        double p[3], q[3], t[3], square = 0;
        for (int a = 0; a < 3; a++)
            p[a] = 84 * (unit(&state) - 0.5);
        truth(p, t);
        kf_field_apply(&still, field, p, q);
        for (int a = 0; a < 3; a++)
            square += (q[a] - t[a]) * (q[a] - t[a]);
        sum += sqrt(square) / 1000;
        *most = sqrt(square) > *most ? sqrt(square) : *most;
    }
    return sum;
}

KF_TEST(a_known_warp_between_modalities_is_found_without_folds)
{
    struct kf_volume fixed, moving;
    struct kf_work work;
    struct kf_affine still;
    kf_work_init(&work, 2);
    kf_affine_identity(&still);
    KF_REQUIRE(!make(&fixed, 0, 0, 1) && !make(&moving, 1, 1, 2));
    for (int both = 0; both < 2; both++) {
        struct kf_register_deform how = {.linear = &still, .both_ways = both};
        struct kf_register_deform_report r;
        struct kf_field field, none = {0};
        double most, before_most, before = error_of(&none, &before_most);
        KF_REQUIRE(kf_register_deform(&work, &fixed, &moving, &how, &field, &r) == KF_KERNEL_OK);
        double mean = error_of(&field, &most);
        printf("TRE mean %.3f max %.3f mm (before %.3f %.3f), Jacobian %.3f to %.3f, inverse %.3f/%.3f, ways %.3f\n",
               mean, most, before, before_most, r.jacobian.least, r.jacobian.most, r.inverse_mean_mm, r.inverse_max_mm,
               r.ways_mean_mm);
        KF_CHECK(before > 3 && mean < 0.8 && most < 4);
        KF_CHECK(r.jacobian.least > 0 && r.inverse_mean_mm < 0.2 && r.after < r.before);
        KF_CHECK(both ? r.ways_mean_mm < 1 : r.ways_mean_mm == -1);
        kf_field_release(&work, &field);
    }
    kf_volume_release(&fixed);
    kf_volume_release(&moving);
}

KF_TEST(a_deformation_beats_the_rigid_map_in_noise_and_an_uneven_gain)
{
    struct kf_volume fixed, moving;
    struct kf_work work;
    struct kf_affine still;
    struct kf_field field, none = {0};
    struct kf_register_deform_report r;
    double most, before_most, before = error_of(&none, &before_most);
    kf_work_init(&work, 2);
    kf_affine_identity(&still);
    KF_REQUIRE(!make(&fixed, 0, 0, 1) && !make(&moving, 1, 2, 2));
    struct kf_register_deform how = {.linear = &still, .both_ways = 1};
    KF_REQUIRE(kf_register_deform(&work, &fixed, &moving, &how, &field, &r) == KF_KERNEL_OK);
    double mean = error_of(&field, &most);
    printf("TRE mean %.3f max %.3f mm (before %.3f %.3f)\n", mean, most, before, before_most);
    KF_CHECK(mean < 0.3 * before && most < 0.7 * before_most && r.after < r.before && r.jacobian.least > 0);
    kf_field_release(&work, &field);
    kf_volume_release(&fixed);
    kf_volume_release(&moving);
}

KF_TEST(what_does_not_make_images_more_alike_is_no_deformation)
{
    struct kf_volume fixed, moving;
    struct kf_work work;
    struct kf_affine still;
    struct kf_field field;
    struct kf_register_deform_report r;
    uint64_t state = 77;
    kf_work_init(&work, 2);
    kf_affine_identity(&still);
    KF_REQUIRE(!make(&fixed, 0, 0, 1) && !make(&moving, 0, 0, 1));
    for (int64_t n = 0; n < kf_grid_voxels(&moving.grid); n++)
        ((int16_t *)moving.data)[n] = (int16_t)(1000 * unit(&state));
    struct kf_register_deform how = {.linear = &still, .grid_mm = 14};
    KF_REQUIRE(kf_register_deform(&work, &fixed, &moving, &how, &field, &r) == KF_KERNEL_OK);
    printf("difference %.4f to %.4f, moved %.3f mm\n", r.before, r.after, r.moved_max_mm);
    KF_CHECK(r.moved_max_mm == 0 && r.after == r.before && r.before > 0);
    kf_field_release(&work, &field);
    kf_volume_release(&fixed);
    kf_volume_release(&moving);
}

KF_TEST(an_image_is_not_deformed_to_match_itself)
{
    struct kf_volume fixed;
    struct kf_work work;
    struct kf_affine still;
    struct kf_field field;
    struct kf_register_deform_report r;
    kf_work_init(&work, 2);
    kf_affine_identity(&still);
    KF_REQUIRE(!make(&fixed, 0, 0, 1));
    for (int both = 0; both < 2; both++) {
        struct kf_register_deform how = {.linear = &still, .grid_mm = 14, .both_ways = both};
        KF_REQUIRE(kf_register_deform(&work, &fixed, &fixed, &how, &field, &r) == KF_KERNEL_OK);
        KF_CHECK(r.moved_max_mm < 0.05 && r.after <= r.before);
        kf_field_release(&work, &field);
    }
    kf_volume_release(&fixed);
}

// Where the mask is 0 the moving image is that of somebody who bowed the other way: seen in neither direction may that
// count.
KF_TEST(what_the_mask_leaves_out_counts_in_neither_direction)
{
    struct kf_volume fixed, moving, other, mask;
    struct kf_work work;
    struct kf_affine still;
    struct kf_field field;
    struct kf_register_deform_report r;
    struct kf_error err;
    uint64_t state = 31;
    kf_work_init(&work, 2);
    kf_affine_identity(&still);
    KF_REQUIRE(!make(&fixed, 0, 0, 1) && !make(&moving, 1, 1, 2) && !make(&other, -1, 1, 3));
    KF_REQUIRE(!kf_volume_alloc(&mask, &fixed.grid, KF_VOXEL_UINT8, &err));
    for (int64_t n = 0; n < kf_grid_voxels(&mask.grid); n++) {
        ((uint8_t *)mask.data)[n] = n % 44 < 26;
        if (n % 44 >= 28)
            ((int16_t *)moving.data)[n] = ((const int16_t *)other.data)[n];
    }
    struct kf_register_deform how = {.linear = &still, .both_ways = 1, .fixed_mask = &mask};
    KF_REQUIRE(kf_register_deform(&work, &fixed, &moving, &how, &field, &r) == KF_KERNEL_OK);
    double sum = 0, count = 0;
    for (int n = 0; n < 4000; n++) {
        double p[3], q[3], t[3], square = 0;
        for (int a = 0; a < 3; a++)
            p[a] = 84 * (unit(&state) - 0.5);
        if (p[0] > 5 || p[0] < -20)
            continue;
        truth(p, t);
        kf_field_apply(&still, &field, p, q);
        for (int a = 0; a < 3; a++)
            square += (q[a] - t[a]) * (q[a] - t[a]);
        sum += sqrt(square);
        count++;
    }
    printf("masked: TRE mean %.3f mm, ways %.3f mm\n", sum / count, r.ways_mean_mm);
    KF_CHECK(sum / count < 0.9 && r.ways_mean_mm < 0.7);
    kf_field_release(&work, &field);
    kf_volume_release(&fixed);
    kf_volume_release(&moving);
    kf_volume_release(&other);
    kf_volume_release(&mask);
}

struct pair {
    struct kf_volume fixed, moving;
};

static enum kf_kernel_status find_field(const struct kf_work *work, void *out, void *user)
{
    const struct pair *pair = user;
    struct kf_affine still;
    struct kf_field field;
    struct kf_register_deform_report r;
    kf_affine_identity(&still);
    struct kf_register_deform how = {.linear = &still, .grid_mm = 14};
    enum kf_kernel_status status = kf_register_deform(work, &pair->fixed, &pair->moving, &how, &field, &r);
    if (!status)
        memcpy(out, field.xyz, 3 * 512 * sizeof(float));
    kf_field_release(work, &field);
    return status;
}

KF_TEST(the_field_has_the_same_bytes_everywhere)
{
    struct pair pair;
    static float first[3 * 512];
    KF_REQUIRE(!make(&pair.fixed, 0, 0, 1) && !make(&pair.moving, 1, 1, 2));
    KF_CHECK_EQ(parity_failures(find_field, &pair, sizeof first, first), 0);
    kf_volume_release(&pair.fixed);
    kf_volume_release(&pair.moving);
}

static int stop_now(void *user)
{
    (void)user;
    return 1;
}

KF_TEST(what_cannot_be_registered_is_refused)
{
    struct kf_grid g = cube(8, 2);
    struct kf_volume small, fixed, even;
    struct kf_error err;
    struct kf_work work;
    struct kf_affine far;
    struct kf_field field;
    struct kf_register_deform_report r;
    kf_work_init(&work, 1);
    kf_affine_identity(&far);
    KF_REQUIRE(!kf_volume_alloc(&small, &g, KF_VOXEL_INT16, &err) && !make(&fixed, 0, 0, 1));
    memset(small.data, 0, 2 * 512);
    struct kf_register_deform how = {.linear = &far};
    KF_CHECK_EQ(kf_register_deform(&work, &small, &small, &how, &field, &r), KF_KERNEL_INVALID);
    KF_REQUIRE(!kf_volume_alloc(&even, &fixed.grid, KF_VOXEL_INT16, &err));
    memset(even.data, 0, 2 * 44 * 44 * 44);
    KF_CHECK_EQ(kf_register_deform(&work, &even, &fixed, &how, &field, &r), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_register_deform(&work, &fixed, &even, &how, &field, &r), KF_KERNEL_INVALID);
    work.cancelled = stop_now;
    KF_CHECK_EQ(kf_register_deform(&work, &fixed, &fixed, &how, &field, &r), KF_KERNEL_CANCELLED);
    work.cancelled = NULL;
    far.m[3] = 5000;
    KF_CHECK_EQ(kf_register_deform(&work, &fixed, &fixed, &how, &field, &r), KF_KERNEL_INVALID);
    KF_CHECK(!field.xyz);
    kf_volume_release(&even);
    kf_volume_release(&small);
    kf_volume_release(&fixed);
}

KF_TEST(fields_compose_invert_and_unfold)
{
    struct kf_grid g = cube(12, 8);
    struct kf_work work;
    struct kf_field a, b, inverse;
    uint64_t state = 9;
    kf_work_init(&work, 2);
    KF_REQUIRE(!kf_field_take(&work, &g, &a) && !kf_field_take(&work, &g, &b));
    for (int n = 0; n < 3 * 12 * 12 * 12; n++) {
        a.xyz[n] = (float)(2 * unit(&state));
        b.xyz[n] = (float)(20 * (unit(&state) - 0.5));
    }
    KF_CHECK(kf_field_jacobian(&work, &b).least < 0);
    KF_CHECK(kf_field_unfold(&work, &b, NULL, 0.1) == KF_KERNEL_OK && kf_field_jacobian(&work, &b).least >= 0.1);
    const double p[3] = {3, -5, 7};
    double d[3], q[3], back[3];
    kf_field_at(&a, p, d);
    for (int i = 0; i < 3; i++)
        q[i] = p[i] + d[i];
    KF_CHECK(kf_field_invert_at(&a, q, back) < 1e-3);
    for (int i = 0; i < 3; i++)
        KF_CHECK(fabs(back[i] - p[i]) < 1e-3);
    KF_CHECK(!kf_field_invert(&work, &a, &inverse));
    KF_CHECK(!kf_field_compose(&work, &inverse, &a)); // at nodes inside: nothing is left
    int64_t middle = 6 + 12 * (6 + 12 * 6);
    for (int i = 0; i < 3; i++)
        KF_CHECK(fabs((double)a.xyz[i * 1728 + middle]) < 1e-2);
    kf_field_release(&work, &inverse);
    kf_field_release(&work, &a);
    kf_field_release(&work, &b);
}

KF_TEST_MAIN(KF_RUN(a_known_warp_between_modalities_is_found_without_folds);
             KF_RUN(a_deformation_beats_the_rigid_map_in_noise_and_an_uneven_gain);
             KF_RUN(what_does_not_make_images_more_alike_is_no_deformation);
             KF_RUN(what_the_mask_leaves_out_counts_in_neither_direction);
             KF_RUN(an_image_is_not_deformed_to_match_itself); KF_RUN(the_field_has_the_same_bytes_everywhere);
             KF_RUN(what_cannot_be_registered_is_refused); KF_RUN(fields_compose_invert_and_unfold);)
