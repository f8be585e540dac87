// Deformable registration against a known warp, and the fields it is made of.
#include "workers/kernels/register_deform.h"
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/filter.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <stdlib.h>

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

#define EDGE 44 // voxels of an axis

static void make_blobs(uint64_t scene, struct blob blob[BLOBS])
{
    uint64_t state = scene;
    for (int b = 0; b < BLOBS; b++) {
        for (int a = 0; a < 3; a++)
            blob[b].centre[a] = 120 * (unit(&state) - 0.5);
        blob[b].radius = 5 + 8 * unit(&state);
        blob[b].value = floor(6 * unit(&state));
    }
}

static int value_at(const struct blob blob[BLOBS], const double p[3])
{
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
    return value;
}

// Balls of random values; every voxel of the moving image (moved -1: one that moved the other way) looks up which p the
// truth takes to it. Another modality (1) maps values without order; 2 also has noise and the gain of a coil. From
// column `strange` on the image shows other balls.
static int make_strange(struct kf_volume *v, int moved, int other, uint64_t seed, int strange)
{
    static const double shown[2][6] = {{0, 200, 400, 600, 800, 1000}, {700, 100, 900, 300, 50, 500}};
    const struct kf_grid g = cube(EDGE, 2.5);
    struct blob own[BLOBS], strangers[BLOBS];
    struct kf_error err;
    uint64_t noise = seed;
    make_blobs(5, own);
    make_blobs(7, strangers);
    if (kf_volume_alloc(v, &g, KF_VOXEL_INT16, &err))
        return -1;
    for (int64_t n = 0; n < kf_grid_voxels(&g); n++) {
        const double ijk[3] = {(double)(n % EDGE), (double)(n / EDGE % EDGE), (double)(n / EDGE / EDGE)};
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
        const int value = value_at(n % EDGE < strange ? own : strangers, p);
        const double gain = other == 2 ? 0.75 + 0.5 * ijk[0] / (EDGE - 1) : 1, spread = other == 2 ? 150 : 20;
        double shade = gain * shown[other > 0][value] + spread * (unit(&noise) - 0.5);
        ((int16_t *)v->data)[n] = (int16_t)(other == 2 && shade < 0 ? -shade : shade);
    }
    return 0;
}

static int make(struct kf_volume *v, int moved, int other, uint64_t seed)
{
    return make_strange(v, moved, other, seed, EDGE);
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
    KF_CHECK(r.moved_max_mm == 0 && r.after == r.before && r.before > 0 && r.dropped == KF_DEFORM_NO_GAIN);
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

// Most of the moving image shows balls that the fixed one does not have. A field that is soft enough follows them
// anyhow, another way in each direction, and the rest of the image is enough for the judge to call it a gain.
KF_TEST(a_field_whose_directions_differ_is_dropped_and_one_just_inside_of_the_limit_is_kept)
{
    struct kf_volume fixed, moving;
    struct kf_work work;
    struct kf_affine still;
    kf_work_init(&work, 2);
    kf_affine_identity(&still);
    KF_REQUIRE(!make(&fixed, 0, 0, 1) && !make_strange(&moving, 1, 1, 2, 16));
    for (int soft = 0; soft < 2; soft++) {
        struct kf_field field;
        struct kf_register_deform_report r;
        struct kf_register_deform how = {
            .linear = &still, .both_ways = 1, .grid_mm = 5, .stiffness = soft ? 0.01 : 0.1};
        KF_REQUIRE(kf_register_deform(&work, &fixed, &moving, &how, &field, &r) == KF_KERNEL_OK);
        printf("ways %.3f mm apart, moved %.3f mm, difference %.4f to %.4f\n", r.ways_mean_mm, r.moved_mean_mm,
               r.before, r.after);
        if (soft) {
            KF_CHECK(r.ways_mean_mm > 0.3 * how.grid_mm && r.dropped == KF_DEFORM_WAYS_DIFFER);
            KF_CHECK(r.moved_max_mm == 0 && r.after == r.before);
        } else {
            KF_CHECK(r.ways_mean_mm < 0.3 * how.grid_mm && r.ways_mean_mm > 0.2 * how.grid_mm);
            KF_CHECK(r.dropped == KF_DEFORM_KEPT && r.moved_mean_mm > 1 && r.after < 0.98 * r.before);
        }
        kf_field_release(&work, &field);
    }
    kf_volume_release(&fixed);
    kf_volume_release(&moving);
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

// ---- row kernels ----

#define ROOM 96 // values of a row, with what may be read beyond it

// The value between eight voxels, voxel by voxel; -1 outside.
static int16_t value_between(const int16_t *v, const int64_t dim[3], const float at[3])
{
    double sum = 0;
    for (int a = 0; a < 3; a++)
        if (!(at[a] >= 0 && at[a] <= (float)(dim[a] - 1)))
            return -1;
    for (int n = 0; n < 8; n++) {
        double weight = 1;
        int64_t where[3];
        for (int a = 0; a < 3; a++) {
            const int64_t low = (int64_t)at[a] < dim[a] - 1 ? (int64_t)at[a] : dim[a] - 2;
            const double t = (double)at[a] - (double)low;
            where[a] = low + (n >> a & 1);
            weight *= n >> a & 1 ? t : 1 - t;
        }
        sum += weight * v[where[0] + dim[0] * (where[1] + dim[1] * where[2])];
    }
    return (int16_t)(sum + 0.5);
}

KF_TEST(places_of_a_row_get_the_value_between_their_voxels_or_none)
{
    int16_t voxels[7 * 5 * 4], out[ROOM], first[ROOM];
    float at[3][ROOM];
    struct kf_places_row row = {.voxels = voxels, .dim = {7, 5, 4}, .at = {at[0], at[1], at[2]}};
    const enum kf_cpu was = kf_cpu_level();
    uint64_t state = 21;
    for (int n = 0; n < 7 * 5 * 4; n++)
        voxels[n] = (int16_t)(test_random(&state) % 16128);
    for (int64_t n = 1; n < 80; n += 13) {
        for (int64_t i = 0; i < 3 * ROOM; i++)
            at[i / ROOM][i % ROOM] = (float)(-0.3 + ((double)row.dim[i / ROOM] - 0.4) * unit(&state));
        at[0][0] = 6; // the last voxel itself
        at[1][0] = 4;
        at[2][0] = 0;
        at[0][n / 2] = n > 2 ? (float)INFINITY : 6;
        at[1][n - 1] = n > 2 ? (float)NAN : 4;
        for (int level = 0; level < KF_CPU_COUNT; level++) {
            if (kf_cpu_use((enum kf_cpu)level))
                continue;
            memset(out, 77, sizeof out);
            kf_filters()->places_i16(&row, n, out);
            int64_t wrong = 0;
            for (int64_t i = 0; i < n; i++) {
                const float p[3] = {at[0][i], at[1][i], at[2][i]};
                wrong += abs(out[i] - value_between(voxels, row.dim, p)) > (out[i] < 0 ? 0 : 1);
            }
            KF_CHECK(wrong == 0 && out[(n + 15) / 16 * 16] == 77 * 257);
            KF_CHECK(level == 0 || memcmp(out, first, (size_t)n * sizeof *out) == 0);
            memcpy(first, out, sizeof first);
        }
    }
    KF_CHECK_EQ(kf_cpu_use(was), 0);
}

// What one voxel of a row asks for by the moving image's slopes, in doubles.
static void ask_voxel(const struct kf_match_row *row, int64_t i, double own[9])
{
    const int f = row->fixed[0][i], m = row->moving[0][i];
    const int16_t *const *r = row->moving;
    const double g[3] = {(double)row->per_mm * (r[0][i + 1] - r[0][i - 1]), (double)row->per_mm * (r[2][i] - r[1][i]),
                         (double)row->per_mm * (r[4][i] - r[3][i])};
    const double x = f % 256 / 256.0, y = m % 256 / 256.0, square = g[0] * g[0] + g[1] * g[1] + g[2] * g[2];
    const float *t = row->by_moving + f / 256 * 64 + m / 256, *info = row->moving_info + m / 256;
    double pull =
        (1 - x) * ((1 - y) * (double)t[0] + y * (double)t[1]) + x * ((1 - y) * (double)t[64] + y * (double)t[65]);
    double know = (1 - y) * (double)info[0] + y * (double)info[1];
    const double keep = 1 / (1 + (double)row->limit * know * square);
    static const int pairs[6][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}, {0, 2}, {1, 2}};
    for (int c = 0; c < 6; c++)
        own[c] = keep * know * g[pairs[c][0]] * g[pairs[c][1]];
    for (int a = 0; a < 3; a++)
        own[6 + a] = -keep * pull * g[a];
}

KF_TEST(a_row_asks_for_what_its_voxels_ask_for)
{
    static int16_t voxels[10][ROOM];
    static float table[64 * 64], info[64], sum[9 * ROOM], first[9 * ROOM];
    struct kf_match_row row = {.by_moving = table, .moving_info = info, .per_mm = 0.002f, .limit = 3};
    const enum kf_cpu was = kf_cpu_level();
    uint64_t state = 22;
    for (int n = 0; n < 64 * 64; n++)
        table[n] = (float)(unit(&state) - 0.5);
    for (int n = 0; n < 64; n++)
        info[n] = (float)unit(&state);
    for (int n = 0; n < 10 * ROOM; n++) // some do not count
        voxels[n / ROOM][n % ROOM] = (int16_t)(n % 41 == 7 ? -1 : (int)(test_random(&state) % 16128));
    for (int r = 0; r < 5; r++) {
        row.fixed[r] = voxels[r];
        row.moving[r] = voxels[5 + r];
    }
    for (int64_t n = 1; n < 80; n += 13)
        for (int level = 0; level < KF_CPU_COUNT; level++) {
            if (kf_cpu_use((enum kf_cpu)level))
                continue;
            memset(sum, 0, sizeof sum);
            kf_filters()->match_row(&row, n, ROOM, sum);
            int64_t wrong = 0;
            for (int64_t i = 0; i < n; i++) {
                double own[9] = {0};
                int counts = i > 0 && i + 1 < n && voxels[0][i] >= 0 && voxels[5][i] >= 0;
                for (int r = 0; r < 10 && counts; r++)
                    counts = r % 5 ? voxels[r][i] >= 0 : voxels[r][i - 1] >= 0 && voxels[r][i + 1] >= 0;
                if (counts)
                    ask_voxel(&row, i, own);
                for (int c = 0; c < 9; c++)
                    wrong += !(fabs((double)sum[c * ROOM + i] - own[c]) < 1e-4 * (1 + fabs(own[c])));
            }
            KF_CHECK_EQ(wrong, 0);
            KF_CHECK(level == 0 || memcmp(sum, first, sizeof sum) == 0);
            memcpy(first, sum, sizeof first);
        }
    KF_CHECK_EQ(kf_cpu_use(was), 0);
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
             KF_RUN(a_field_whose_directions_differ_is_dropped_and_one_just_inside_of_the_limit_is_kept);
             KF_RUN(what_the_mask_leaves_out_counts_in_neither_direction);
             KF_RUN(an_image_is_not_deformed_to_match_itself); KF_RUN(the_field_has_the_same_bytes_everywhere);
             KF_RUN(places_of_a_row_get_the_value_between_their_voxels_or_none);
             KF_RUN(a_row_asks_for_what_its_voxels_ask_for); KF_RUN(what_cannot_be_registered_is_refused);
             KF_RUN(fields_compose_invert_and_unfold);)
