// Resampling against direct formulas in doubles, and maps that must give a volume back.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/resample.h"

static uint64_t state = 23;

struct request {
    struct kf_volume in, out;
    double to_in[12];
    enum kf_resample_method method;
};

static enum kf_kernel_status run(const struct kf_work *work, void *out, void *user)
{
    struct request *r = user;
    struct kf_volume to = r->out;
    to.data = out;
    return kf_resample(work, &r->in, r->to_in, r->method, -77, &to);
}

static double value_at(const struct kf_volume *v, int64_t i, int64_t j, int64_t k)
{
    int64_t p[3] = {i, j, k};
    for (int a = 0; a < 3; a++)
        p[a] = p[a] < 0 ? 0 : p[a] >= v->grid.dim[a] ? v->grid.dim[a] - 1 : p[a];
    int64_t at = p[0] + v->grid.dim[0] * (p[1] + v->grid.dim[1] * p[2]);
    return v->type == KF_VOXEL_INT16   ? ((int16_t *)v->data)[at]
           : v->type == KF_VOXEL_UINT8 ? ((uint8_t *)v->data)[at]
                                       : (double)((float *)v->data)[at];
}

static double weight(enum kf_resample_method method, double d)
{
    d = fabs(d);
    if (method == KF_RESAMPLE_LINEAR)
        return d < 1 ? 1 - d : 0;
    if (method == KF_RESAMPLE_NEAREST)
        return d < 0.5;
    return d < 1 ? 1 - 2.5 * d * d + 1.5 * d * d * d : d < 2 ? 2 - 4 * d + 2.5 * d * d - 0.5 * d * d * d : 0;
}

// All voxels within two, each with the product of its weights. *edge: the answer hangs on the last bit of the position.
static double direct(const struct request *r, const double p[3], int *edge)
{
    double q[3], sum = 0;
    *edge = 0;
    for (int a = 0; a < 3; a++) {
        double last = (double)(r->in.grid.dim[a] - 1);
        *edge |= fabs(p[a] + 0.5) < 1e-3 || fabs(p[a] - last - 0.5) < 1e-3;
        if (r->method == KF_RESAMPLE_NEAREST)
            *edge |= fabs(p[a] - floor(p[a]) - 0.5) < 1e-3;
        if (p[a] < -0.5 || p[a] > last + 0.5)
            return -77;
        q[a] = p[a] < 0 ? 0 : p[a] > last ? last : p[a];
    }
    int64_t b[3] = {(int64_t)q[0], (int64_t)q[1], (int64_t)q[2]};
    for (int64_t z = b[2] - 2; z <= b[2] + 3; z++)
        for (int64_t y = b[1] - 2; y <= b[1] + 3; y++)
            for (int64_t x = b[0] - 2; x <= b[0] + 3; x++) {
                double w = weight(r->method, q[0] - (double)x) * weight(r->method, q[1] - (double)y);
                w *= weight(r->method, q[2] - (double)z);
                if (w != 0)
                    sum += w * value_at(&r->in, x, y, z);
            }
    return sum;
}

static void fill(struct kf_volume *v)
{
    for (int64_t i = 0; i < kf_grid_voxels(&v->grid); i++) {
        if (v->type == KF_VOXEL_INT16)
            ((int16_t *)v->data)[i] = test_random_i16(&state);
        else if (v->type == KF_VOXEL_UINT8)
            ((uint8_t *)v->data)[i] = (uint8_t)test_random(&state);
        else
            ((float *)v->data)[i] = (float)test_random_i16(&state) * 0.1f;
    }
}

static void check(enum kf_voxel_type type, enum kf_resample_method method, double angle, double zoom)
{
    struct kf_error err;
    double c = cos(angle), s = sin(angle);
    struct kf_grid in = {.dim = {50, 37, 29},
                         .spacing_mm = {0.7, 0.8, 1.3},
                         .origin_lps = {-20, 11, 5},
                         .direction = {0, -1, 0, 1, 0, 0, 0, 0, 1}};
    struct kf_grid out = {.dim = {83, 21, 33},
                          .spacing_mm = {0.5 * zoom, 1.1, 0.9},
                          .origin_lps = {-44, 8, 7},
                          .direction = {c, -s, 0, s, c, 0, 0, 0, 1}};
    struct request r = {.method = method, .to_in = {1, 0.02, -0.05, 0.4, 0.01, 0.97, 0.1, 1.5, 0.06, -0.1, 1.04, -2}};
    KF_REQUIRE(!kf_volume_alloc(&r.in, &in, type, &err));
    fill(&r.in);
    r.out = (struct kf_volume){.grid = out, .type = type};
    int64_t n = kf_grid_voxels(&out);
    size_t bytes = (size_t)(n * kf_voxel_bytes(type));
    r.out.data = malloc(bytes);
    KF_REQUIRE(r.out.data);
    KF_CHECK_EQ(parity_failures(run, &r, bytes, r.out.data), 0);
    int64_t wrong = 0, inside = 0;
    for (int64_t v = 0; v < n; v++) {
        const double p_ijk[3] = {(double)(v % 83), (double)(v / 83 % 21), (double)(v / 83 / 21)};
        double p[3], q[3], at[3];
        kf_grid_to_lps(&out, p_ijk, p);
        for (int a = 0; a < 3; a++)
            q[a] = r.to_in[4 * a] * p[0] + r.to_in[4 * a + 1] * p[1] + r.to_in[4 * a + 2] * p[2] + r.to_in[4 * a + 3];
        kf_grid_to_ijk(&in, q, at);
        int edge;
        double want = direct(&r, at, &edge), have = value_at(&r.out, v % 83, v / 83 % 21, v / 83 / 21);
        inside += want != -77;
        double lowest = type == KF_VOXEL_INT16 ? -32768 : type == KF_VOXEL_UINT8 ? 0 : -1e9;
        double highest = type == KF_VOXEL_INT16 ? 32767 : type == KF_VOXEL_UINT8 ? 255 : 1e9;
        want = fmin(fmax(want, lowest), highest);
        // Values of 65536 jump from voxel to voxel; positions are good to 1e-5 of one.
        double tolerance = method == KF_RESAMPLE_NEAREST ? 1e-3 : type == KF_VOXEL_INT16 ? 2.0 : 0.2;
        wrong += !edge && fabs(want - have) > tolerance;
    }
    KF_CHECK_EQ(wrong, 0);
    KF_CHECK(inside > n / 10 && inside < n);
    free(r.out.data);
    kf_volume_release(&r.in);
}

KF_TEST(resampling_is_the_direct_sum)
{
    const enum kf_voxel_type types[] = {KF_VOXEL_INT16, KF_VOXEL_FLOAT32, KF_VOXEL_UINT8};
    for (int t = 0; t < 3; t++)
        for (int method = KF_RESAMPLE_NEAREST; method <= KF_RESAMPLE_CUBIC; method++) {
            if (types[t] == KF_VOXEL_UINT8 && method != KF_RESAMPLE_NEAREST)
                continue;
            check(types[t], (enum kf_resample_method)method, 1.45, 1);
            check(types[t], (enum kf_resample_method)method, 0.3, 0.2);
        }
}

KF_TEST(whole_shifts_move_voxels)
{
    struct kf_error err;
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_grid grid = {.dim = {70, 20, 10}, .spacing_mm = {0.5, 0.5, 2}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct kf_volume in, out;
    KF_REQUIRE(!kf_volume_alloc(&in, &grid, KF_VOXEL_INT16, &err) &&
               !kf_volume_alloc(&out, &grid, KF_VOXEL_INT16, &err));
    fill(&in);
    const double shift[12] = {1, 0, 0, 1.5, 0, 1, 0, -1, 0, 0, 1, 2}; // by 3, -2 and 1 voxels
    for (int method = KF_RESAMPLE_NEAREST; method <= KF_RESAMPLE_CUBIC; method++) {
        KF_CHECK(!kf_resample(&work, &in, shift, (enum kf_resample_method)method, -77, &out));
        int64_t wrong = 0;
        for (int64_t n = 0; n < 14000; n++) {
            int64_t i = n % 70 + 3, j = n / 70 % 20 - 2, k = n / 1400 + 1;
            int beyond = i > 69 || j < 0 || k > 9;
            wrong += ((int16_t *)out.data)[n] != (beyond ? -77 : ((int16_t *)in.data)[i + 70 * (j + 20 * k)]);
        }
        KF_CHECK_EQ(wrong, 0);
    }
    double broken[12] = {NAN};
    KF_CHECK_EQ(kf_resample(&work, &in, broken, KF_RESAMPLE_LINEAR, 0, &out), KF_KERNEL_INVALID);
    in.type = out.type = KF_VOXEL_UINT8;
    KF_CHECK_EQ(kf_resample(&work, &in, shift, KF_RESAMPLE_LINEAR, 0, &out), KF_KERNEL_INVALID);
    kf_volume_release(&in);
    kf_volume_release(&out);
}

// Over 2^31 voxels: only the corner that is looked at is ever touched, so that this takes no memory to speak of.
KF_TEST(far_voxels_are_found)
{
    enum { N = 1300, FROM = 1276 };
    const int64_t total = (int64_t)N * N * N;
    uint8_t *data = calloc((size_t)total, 1), have[20 * 3 * 3];
    if (!data) {
        puts("no address space for 2.2 GB: not tried");
        return;
    }
    struct kf_grid grid = {.dim = {N, N, N}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct kf_volume in = {.grid = grid, .type = KF_VOXEL_UINT8, .data = data}, out = in;
    out.grid = (struct kf_grid){.dim = {20, 3, 3},
                                .spacing_mm = {1, 1, 1},
                                .origin_lps = {FROM, FROM, FROM},
                                .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    out.data = have;
    for (int v = 0; v < 180; v++)
        data[FROM + v % 20 + N * (FROM + v / 20 % 3 + (int64_t)N * (FROM + v / 60))] = (uint8_t)(v + 1);
    const double identity[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    enum kf_cpu was = kf_cpu_level();
    for (int level = 0; level < KF_CPU_COUNT; level++) {
        struct kf_work work;
        kf_work_init(&work, 2);
        if (kf_cpu_use((enum kf_cpu)level))
            continue;
        memset(have, 0, sizeof have);
        KF_REQUIRE(!kf_resample(&work, &in, identity, KF_RESAMPLE_NEAREST, 0, &out));
        int wrong = 0;
        for (int v = 0; v < 180; v++)
            wrong += have[v] != v + 1;
        KF_CHECK_EQ(wrong, 0);
    }
    KF_REQUIRE(!kf_cpu_use(was));
    free(data);
}

KF_TEST_MAIN(KF_RUN(far_voxels_are_found); KF_RUN(resampling_is_the_direct_sum); KF_RUN(whole_shifts_move_voxels);)
