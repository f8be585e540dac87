// The view container: every level reads back as the reduction it claims to be, whatever the number of threads.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/file.h"
#include "workers/io/kvv.h"
#include "workers/io/memory.h"
#include "workers/kernels/image.h"

#include <stdint.h>
#include <unistd.h>

static char path[64];
static uint64_t state = 9;

static void make(enum kf_voxel_type type, struct kf_volume *v)
{
    struct kf_grid grid = {.dim = {201, 130, 67},
                           .spacing_mm = {0.5, 0.5, 1.25},
                           .origin_lps = {-10, 20, 30},
                           .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct kf_error err;
    if (kf_volume_alloc(v, &grid, type, &err))
        exit(1);
    for (int64_t i = 0; i < kf_grid_voxels(&grid); i++) {
        if (type == KF_VOXEL_INT16)
            ((int16_t *)v->data)[i] = test_random_i16(&state);
        else if (type == KF_VOXEL_UINT8)
            ((uint8_t *)v->data)[i] = (uint8_t)(test_random(&state) % 4);
        else
            ((float *)v->data)[i] = (float)test_random_i16(&state) * 0.1f;
    }
}

// The mean or majority of one block, the slow way.
static double block_value(const struct kf_volume *v, const int64_t f[3], int64_t i, int64_t j, int64_t k)
{
    const int64_t *dim = v->grid.dim;
    double sum = 0, count = 0;
    int votes[256] = {0};
    for (int64_t z = k * f[2]; z < (k + 1) * f[2] && z < dim[2]; z++)
        for (int64_t y = j * f[1]; y < (j + 1) * f[1] && y < dim[1]; y++)
            for (int64_t x = i * f[0]; x < (i + 1) * f[0] && x < dim[0]; x++) {
                int64_t at = x + dim[0] * (y + dim[1] * z);
                count++;
                if (v->type == KF_VOXEL_INT16)
                    sum += ((int16_t *)v->data)[at];
                else if (v->type == KF_VOXEL_FLOAT32)
                    sum += (double)((float *)v->data)[at];
                else
                    votes[((uint8_t *)v->data)[at]]++;
            }
    if (v->type == KF_VOXEL_INT16)
        return floor(sum / count + 0.5);
    if (v->type == KF_VOXEL_FLOAT32)
        return (double)(float)(sum / count);
    int best = 0;
    for (int l = 1; l < 256; l++)
        best = votes[l] > votes[best] ? l : best;
    return best;
}

static void check_level(const struct kf_volume *v, const json_t *view, int level)
{
    struct kf_volume back;
    struct kf_error err;
    KF_REQUIRE(!kf_kvv_read(path, view, level, v->grid.direction, &back, &err));
    const json_t *factors = json_object_get(json_array_get(json_object_get(view, "levels"), (size_t)level), "factor");
    int64_t f[3], wrong = 0;
    for (size_t a = 0; a < 3; a++) {
        f[a] = json_integer_value(json_array_get(factors, a));
        KF_CHECK_NEAR(back.grid.spacing_mm[a], v->grid.spacing_mm[a] * (double)f[a], 1e-12);
        KF_CHECK_NEAR(back.grid.origin_lps[a], v->grid.origin_lps[a] + 0.5 * (double)(f[a] - 1) * v->grid.spacing_mm[a],
                      1e-9);
        KF_CHECK(level > 0 || back.grid.dim[a] <= 96);
    }
    const int64_t *dim = back.grid.dim;
    for (int64_t at = 0; at < dim[0] * dim[1] * dim[2]; at++) {
        double want = block_value(v, f, at % dim[0], at / dim[0] % dim[1], at / dim[0] / dim[1]);
        double have = back.type == KF_VOXEL_INT16  ? ((int16_t *)back.data)[at]
                      : back.type == KF_VOXEL_UINT8 ? ((uint8_t *)back.data)[at]
                                                    : (double)((float *)back.data)[at];
        wrong += want != have;
    }
    KF_CHECK_EQ(wrong, 0);
    kf_volume_release(&back);
}

static void round_trip(enum kf_voxel_type type)
{
    struct kf_volume v;
    struct kf_error err;
    void *first = NULL;
    int64_t first_length = 0;
    make(type, &v);
    for (int threads = 1; threads <= 3; threads++) {
        struct kf_work work;
        kf_work_init(&work, threads);
        json_t *view;
        KF_REQUIRE(!kf_kvv_write(&work, path, &v, &view, &err));
        int levels = (int)json_array_size(json_object_get(view, "levels"));
        KF_CHECK(levels >= 2);
        for (int l = 0; l < levels && threads == 1; l++)
            check_level(&v, view, l);
        json_decref(view);
        int64_t length = -1;
        void *bytes;
        KF_REQUIRE(!kf_file_load(NULL, path, 0, &length, &bytes, &err));
        if (first)
            KF_CHECK(length == first_length && memcmp(first, bytes, (size_t)length) == 0);
        if (first) {
            kf_memory_release(bytes);
        } else {
            first = bytes;
            first_length = length;
        }
    }
    kf_memory_release(first);
    kf_volume_release(&v);
}

KF_TEST(int16_levels_are_means)
{
    round_trip(KF_VOXEL_INT16);
}

KF_TEST(label_levels_are_majorities)
{
    round_trip(KF_VOXEL_UINT8);
}

KF_TEST(float_levels_are_means)
{
    round_trip(KF_VOXEL_FLOAT32);
}

KF_TEST(false_directories_are_refused)
{
    struct kf_volume v, back;
    struct kf_work work;
    struct kf_error err;
    json_t *view;
    make(KF_VOXEL_UINT8, &v);
    kf_work_init(&work, 1);
    KF_REQUIRE(!kf_kvv_write(&work, path, &v, &view, &err));
    json_t *level = json_array_get(json_object_get(view, "levels"), 0);
    json_t *part = json_array_get(json_object_get(level, "parts"), 0);
    json_int_t offset = kf_json_integer(part, "offset", 0);
    json_object_set_new(part, "offset", json_integer((json_int_t)1 << 40));
    KF_CHECK_EQ(kf_kvv_read(path, view, 0, v.grid.direction, &back, &err), KF_INVALID);
    json_object_set_new(part, "offset", json_integer(offset + 1));
    KF_CHECK_EQ(kf_kvv_read(path, view, 0, v.grid.direction, &back, &err), KF_INVALID);
    json_object_set_new(part, "offset", json_integer(offset));
    json_object_set_new(level, "dim", json_pack("[i,i,i]", 96, 96, 1 << 20));
    KF_CHECK_EQ(kf_kvv_read(path, view, 0, v.grid.direction, &back, &err), KF_INVALID);
    KF_CHECK_EQ(kf_kvv_read(path, view, 17, v.grid.direction, &back, &err), KF_INVALID);
    json_decref(view);
    kf_volume_release(&v);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/kf_kvv.XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    KF_RUN(int16_levels_are_means);
    KF_RUN(label_levels_are_majorities);
    KF_RUN(float_levels_are_means);
    KF_RUN(false_directories_are_refused);
    unlink(path);
    return kf_test_failures ? 1 : 0;
}
