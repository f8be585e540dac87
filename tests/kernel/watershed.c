// The watershed against a flood with a plain list, and against the height of the lowest pass to any marker.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/memory.h"
#include "workers/kernels/watershed.h"

#include <stdint.h>

static uint64_t state = 11;
static const int64_t sizes[][3] = {{1, 1, 1}, {9, 7, 1}, {1, 8, 6}, {13, 11, 9}, {16, 15, 8}};

static int neighbours(const int64_t dim[3], int64_t v, int64_t near[6])
{
    // In the order of the kernel: by memory.
    const int64_t p[3] = {v % dim[0], v / dim[0] % dim[1], v / dim[0] / dim[1]}, step[3] = {1, dim[0], dim[0] * dim[1]};
    int count = 0;
    for (int a = 2; a >= 0; a--)
        if (p[a] > 0)
            near[count++] = v - step[a];
    for (int a = 0; a < 3; a++)
        if (p[a] + 1 < dim[a])
            near[count++] = v + step[a];
    return count;
}

static double value_at(const struct kf_volume *relief, int64_t v)
{
    return relief->type == KF_VOXEL_UINT8    ? ((uint8_t *)relief->data)[v]
           : relief->type == KF_VOXEL_INT16  ? ((int16_t *)relief->data)[v]
           : relief->type == KF_VOXEL_UINT16 ? ((uint16_t *)relief->data)[v]
                                             : (double)((float *)relief->data)[v];
}

// The queue as a list that is searched whole for its lowest and then oldest entry.
static void flood_slowly(const struct kf_volume *relief, const uint8_t *mask, uint8_t *labels)
{
    int64_t total = kf_grid_voxels(&relief->grid), count = 0, near[6];
    int64_t *voxel = malloc((size_t)total * sizeof *voxel);
    double *level = malloc((size_t)total * sizeof *level);
    char *taken = calloc((size_t)total, 1);
    if (!voxel || !level || !taken)
        exit(1);
    for (int64_t v = 0; v < total; v++)
        if (labels[v] && (!mask || mask[v])) {
            voxel[count] = v;
            level[count++] = value_at(relief, v);
        }
    for (;;) {
        int64_t best = -1;
        for (int64_t n = 0; n < count; n++)
            if (!taken[n] && (best < 0 || level[n] < level[best]))
                best = n;
        if (best < 0)
            break;
        taken[best] = 1;
        int many = neighbours(relief->grid.dim, voxel[best], near);
        for (int n = 0; n < many; n++)
            if (!labels[near[n]] && (!mask || mask[near[n]])) {
                labels[near[n]] = labels[voxel[best]];
                voxel[count] = near[n];
                level[count++] = fmax(level[best], value_at(relief, near[n]));
            }
    }
    free(voxel);
    free(level);
    free(taken);
}

// Kinds by turns: levels from everywhere, a few (plateaus), and the highest, which the kernel looks up elsewhere.
static void make_case(int round, struct kf_volume *relief, uint8_t *mask, uint8_t *markers)
{
    int64_t total = kf_grid_voxels(&relief->grid);
    int kind = round / 4 % 3;
    for (int64_t v = 0; v < total; v++) {
        uint64_t r = test_random(&state), level = r >> 20;
        mask[v] = r % 11 != 0;
        markers[v] = (r >> 8) % 40 == 0 ? (uint8_t)(1 + (r >> 16) % 255) : 0;
        level = kind == 0 ? level % 65536 : kind == 1 ? level % 5 : 65535 - level % 300;
        if (relief->type == KF_VOXEL_UINT8)
            ((uint8_t *)relief->data)[v] = (uint8_t)level;
        else if (relief->type == KF_VOXEL_FLOAT32)
            ((float *)relief->data)[v] = (float)level * 0.5f; // the levels themselves
        else if (kind == 0)
            ((int16_t *)relief->data)[v] = test_random_i16(&state);
        else
            ((int16_t *)relief->data)[v] = (int16_t)(level - (relief->type == KF_VOXEL_INT16 ? 32768 : 0));
    }
    if (relief->type == KF_VOXEL_FLOAT32 && total > 1) {
        ((float *)relief->data)[0] = 0;
        ((float *)relief->data)[total - 1] = 65535 * 0.5f;
    }
}

KF_TEST(the_flood_is_the_slow_flood)
{
    static const enum kf_voxel_type types[] = {KF_VOXEL_UINT8, KF_VOXEL_INT16, KF_VOXEL_UINT16, KF_VOXEL_FLOAT32};
    for (int round = 0; round < 60; round++) {
        const int64_t *dim = sizes[round % 5];
        int64_t total = dim[0] * dim[1] * dim[2];
        struct kf_volume relief = {.grid = {.dim = {dim[0], dim[1], dim[2]}, .spacing_mm = {1, 1, 1}},
                                   .type = types[round % 4],
                                   .data = malloc((size_t)total * 4)};
        uint8_t *mask = malloc((size_t)total), *want = malloc((size_t)total), *have = malloc((size_t)total + 16);
        KF_REQUIRE(relief.data && mask && want && have);
        make_case(round, &relief, mask, want);
        memcpy(have, want, (size_t)total);
        memset(have + total, 0x5a, 16);
        struct kf_work work;
        kf_work_init(&work, 1 + round % 3);
        const uint8_t *within = round % 3 ? mask : NULL;
        KF_REQUIRE(!kf_watershed(&work, &relief, within, have));
        flood_slowly(&relief, within, want);
        KF_CHECK(memcmp(have, want, (size_t)total) == 0);
        for (int n = 0; n < 16; n++)
            KF_CHECK_EQ(have[total + n], 0x5a);
        free(relief.data);
        free(mask);
        free(want);
        free(have);
    }
}

// Height of the lowest pass from every voxel to the markers of one label (0: of any), by sweeps until nothing changes.
static void passes(const struct kf_volume *relief, const uint8_t *markers, const uint8_t *regions, double *height)
{
    int64_t total = kf_grid_voxels(&relief->grid), near[6];
    for (int64_t v = 0; v < total; v++)
        height[v] = markers[v] ? value_at(relief, v) : INFINITY;
    for (int changed = 1; changed;) {
        changed = 0;
        for (int64_t v = 0; v < total; v++) {
            int many = neighbours(relief->grid.dim, v, near);
            for (int n = 0; n < many; n++) {
                double over = fmax(height[near[n]], value_at(relief, v));
                if (over < height[v] && (!regions || regions[v] == regions[near[n]])) {
                    height[v] = over;
                    changed = 1;
                }
            }
        }
    }
}

KF_TEST(a_region_reaches_its_marker_over_the_lowest_pass)
{
    const int64_t dim[3] = {19, 17, 15};
    int64_t total = 19 * 17 * 15;
    struct kf_volume relief = {.grid = {.dim = {19, 17, 15}, .spacing_mm = {1, 1, 1}},
                               .type = KF_VOXEL_INT16,
                               .data = malloc((size_t)total * 4)};
    uint8_t *mask = malloc((size_t)total), *markers = malloc((size_t)total), *regions = malloc((size_t)total);
    double *any = malloc((size_t)total * 8), *own = malloc((size_t)total * 8);
    KF_REQUIRE(relief.data && mask && markers && regions && any && own && dim[0] == 19);
    make_case(0, &relief, mask, markers);
    memcpy(regions, markers, (size_t)total);
    struct kf_work work;
    kf_work_init(&work, 2);
    KF_REQUIRE(!kf_watershed(&work, &relief, NULL, regions));
    passes(&relief, markers, NULL, any);
    passes(&relief, markers, regions, own);
    int wrong = 0;
    for (int64_t v = 0; v < total; v++)
        wrong += !regions[v] || own[v] != any[v];
    KF_CHECK_EQ(wrong, 0);
    free(relief.data);
    free(mask);
    free(markers);
    free(regions);
    free(any);
    free(own);
}

KF_TEST(a_relief_without_sense_does_no_harm)
{
    float value[60];
    uint8_t labels[60] = {1};
    labels[59] = 2;
    for (int v = 0; v < 60; v++)
        value[v] = v % 5 == 0 ? NAN : v % 7 == 0 ? INFINITY : v % 11 == 0 ? -INFINITY : (float)v;
    struct kf_volume relief = {
        .grid = {.dim = {5, 4, 3}, .spacing_mm = {1, 1, 1}}, .type = KF_VOXEL_FLOAT32, .data = value};
    struct kf_work work;
    kf_work_init(&work, 1);
    KF_REQUIRE(!kf_watershed(&work, &relief, NULL, labels));
    for (int v = 0; v < 60; v++)
        KF_CHECK(labels[v] == 1 || labels[v] == 2);
    relief.type = (enum kf_voxel_type)9;
    KF_CHECK_EQ(kf_watershed(&work, &relief, NULL, labels), KF_KERNEL_INVALID);
}

KF_TEST_MAIN(KF_RUN(the_flood_is_the_slow_flood); KF_RUN(a_region_reaches_its_marker_over_the_lowest_pass);
             KF_RUN(a_relief_without_sense_does_no_harm);)
