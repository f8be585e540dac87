// Grow from seeds against relaxation until nothing changes (Bellman and Ford), and the update against a new start.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/grow.h"

#include <stdint.h>

static uint64_t state = 23;
static const int64_t sizes[][3] = {{1, 1, 1},   {7, 5, 1},   {1, 6, 9},
                                   {11, 10, 9}, {14, 9, 12}, {70, 18, 9}}; // the last has 2 · 3 · 2 tiles

static struct kf_volume make_image(const int64_t dim[3], int kind)
{
    int64_t total = dim[0] * dim[1] * dim[2];
    int16_t *value = malloc((size_t)total * 2);
    if (!value)
        exit(1);
    for (int64_t v = 0; v < total; v++)
        value[v] = kind == 0   ? test_random_i16(&state)
                   : kind == 1 ? (int16_t)(test_random(&state) % 40 + (v % dim[0] > dim[0] / 2 ? 900 : 0))
                               : 7;
    return (struct kf_volume){
        .grid = {.dim = {dim[0], dim[1], dim[2]}, .spacing_mm = {1, 1, 1}}, .type = KF_VOXEL_INT16, .data = value};
}

static void relax_until_still(const struct kf_volume *image, int kind, const uint8_t *seeds, uint64_t *best)
{
    const int64_t *dim = image->grid.dim;
    const int16_t *value = image->data;
    int64_t total = kf_grid_voxels(&image->grid);
    for (int64_t v = 0; v < total; v++)
        best[v] = seeds[v] ? seeds[v] : UINT64_MAX;
    for (int changed = 1; changed;) {
        changed = 0;
        for (int64_t v = 0; v < total; v++)
            for (int n = 0; n < 27; n++) {
                int64_t d[3] = {n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1};
                int64_t x = v % dim[0] + d[0], y = v / dim[0] % dim[1] + d[1], z = v / dim[0] / dim[1] + d[2];
                if (x < 0 || y < 0 || z < 0 || x >= dim[0] || y >= dim[1] || z >= dim[2] || n == 13 ||
                    (kind == KF_NEIGHBOURS_6 && llabs(d[0]) + llabs(d[1]) + llabs(d[2]) > 1))
                    continue;
                int64_t u = x + dim[0] * (y + dim[1] * z);
                if (best[u] == UINT64_MAX)
                    continue;
                uint64_t sum = best[u] + 256 * (1 + (uint64_t)llabs((long long)value[u] - value[v]));
                if (sum < best[v]) {
                    best[v] = sum;
                    changed = 1;
                }
            }
    }
}

static void scatter(uint8_t *seeds, int64_t total, int one_in)
{
    for (int64_t v = 0; v < total; v++) {
        uint64_t r = test_random(&state);
        seeds[v] = (r >> 8) % (uint64_t)one_in == 0 ? (uint8_t)(1 + (r >> 32) % (r & 1 ? 3 : 255)) : 0;
    }
}

KF_TEST(states_are_shortest_paths)
{
    for (int round = 0; round < 36; round++) {
        const int64_t *dim = sizes[round % 6];
        int64_t total = dim[0] * dim[1] * dim[2];
        enum kf_neighbours kind = round & 1 ? KF_NEIGHBOURS_6 : KF_NEIGHBOURS_26;
        struct kf_volume image = make_image(dim, round % 3);
        uint8_t *seeds = malloc((size_t)total), *labels = malloc((size_t)total + 16);
        uint32_t *have = malloc((size_t)total * 4 + 16);
        uint64_t *want = malloc((size_t)total * 8);
        KF_REQUIRE(seeds && labels && have && want);
        scatter(seeds, total, 30);
        memset(have, 0xff, (size_t)total * 4);
        memset(have + total, 0x5a, 16);
        memset(labels + total, 0x5a, 16);
        struct kf_work work;
        kf_work_init(&work, 1 + round % 3);
        KF_REQUIRE(!kf_grow(&work, &image, kind, seeds, have, labels));
        relax_until_still(&image, kind, seeds, want);
        int wrong = 0;
        for (int64_t v = 0; v < total; v++) {
            uint32_t expect = want[v] >= (uint64_t)0xffffff00 ? KF_GROW_FAR : (uint32_t)want[v];
            wrong += have[v] != expect || labels[v] != (expect == KF_GROW_FAR ? 0 : (uint8_t)expect);
        }
        KF_CHECK_EQ(wrong, 0);
        KF_CHECK(have[total] == 0x5a5a5a5au && labels[total] == 0x5a);
        free(image.data);
        free(seeds);
        free(labels);
        free(have);
        free(want);
    }
}

KF_TEST(an_update_is_a_new_start)
{
    for (int round = 0; round < 24; round++) {
        const int64_t *dim = sizes[round % 6];
        int64_t total = dim[0] * dim[1] * dim[2];
        enum kf_neighbours kind = round & 1 ? KF_NEIGHBOURS_6 : KF_NEIGHBOURS_26;
        struct kf_volume image = make_image(dim, round % 3);
        uint8_t *seeds = malloc((size_t)total);
        uint32_t *kept = malloc((size_t)total * 4), *fresh = malloc((size_t)total * 4);
        KF_REQUIRE(seeds && kept && fresh);
        struct kf_work work;
        kf_work_init(&work, 1);
        memset(kept, 0xff, (size_t)total * 4);
        scatter(seeds, total, 25);
        for (int stroke = 0; stroke < 6; stroke++) {
            KF_REQUIRE(!kf_grow(&work, &image, kind, seeds, kept, NULL));
            memset(fresh, 0xff, (size_t)total * 4);
            KF_REQUIRE(!kf_grow(&work, &image, kind, seeds, fresh, NULL));
            KF_CHECK(memcmp(kept, fresh, (size_t)total * 4) == 0);
            if (stroke == 4)
                memset(seeds, 0, (size_t)total);        // all of them go
            for (int n = 0; n < 4 && stroke < 4; n++) { // some go, come, or change their label
                uint64_t r = test_random(&state);
                seeds[r % (uint64_t)total] = (uint8_t)(r >> 60 & 3);
            }
            for (int64_t v = 0; v < total && stroke < 4; v += 3)
                if (seeds[v] && (test_random(&state) & 1))
                    seeds[v] = (uint8_t)(test_random(&state) % 3);
        }
        free(image.data);
        free(seeds);
        free(kept);
        free(fresh);
    }
}

struct request {
    struct kf_volume image;
    enum kf_neighbours kind;
    const uint8_t *before, *seeds;
};

static enum kf_kernel_status run(const struct kf_work *work, void *out, void *user)
{
    const struct request *r = user;
    memset(out, 0xff, (size_t)kf_grid_voxels(&r->image.grid) * 4);
    enum kf_kernel_status status = kf_grow(work, &r->image, r->kind, r->before, out, NULL);
    return status ? status : kf_grow(work, &r->image, r->kind, r->seeds, out, NULL);
}

// A start from few seeds, whose paths cross many tiles, and an update.
KF_TEST(threads_and_instructions_change_nothing)
{
    const int64_t dim[3] = {131, 18, 25}, total = 131 * 18 * 25;
    uint8_t *before = malloc((size_t)total), *seeds = malloc((size_t)total);
    uint32_t *first = malloc((size_t)total * 4), *fresh = malloc((size_t)total * 4);
    KF_REQUIRE(before && seeds && first && fresh);
    for (int kind = 0; kind < 4; kind++) {
        struct request r = {.image = make_image(dim, kind / 2),
                            .kind = kind & 1 ? KF_NEIGHBOURS_6 : KF_NEIGHBOURS_26,
                            .before = before,
                            .seeds = seeds};
        scatter(before, total, 20000);
        scatter(seeds, total, 20000);
        before[77] = 4;
        seeds[total / 2] = 5;
        KF_CHECK_EQ(parity_failures(run, &r, (size_t)total * 4, first), 0);
        struct kf_work work;
        kf_work_init(&work, 1);
        memset(fresh, 0xff, (size_t)total * 4);
        KF_REQUIRE(!kf_grow(&work, &r.image, r.kind, seeds, fresh, NULL));
        KF_CHECK(memcmp(first, fresh, (size_t)total * 4) == 0);
        free(r.image.data);
    }
    free(before);
    free(seeds);
    free(first);
    free(fresh);
}

KF_TEST(what_costs_too_much_stays_without_label)
{
    enum { N = 700 };
    static int16_t value[N];
    static uint8_t seeds[N], labels[N];
    static uint32_t kept[N];
    for (int v = 0; v < N; v++)
        value[v] = v & 1 ? INT16_MAX : INT16_MIN; // 65536 a step
    seeds[0] = 9;
    memset(kept, 0xff, sizeof kept);
    struct kf_volume image = {
        .grid = {.dim = {N, 1, 1}, .spacing_mm = {1, 1, 1}}, .type = KF_VOXEL_INT16, .data = value};
    struct kf_work work;
    kf_work_init(&work, 1);
    KF_REQUIRE(!kf_grow(&work, &image, KF_NEIGHBOURS_6, seeds, kept, labels));
    for (int v = 0; v < N; v++)
        KF_CHECK_EQ(labels[v], v < 256 ? 9 : 0);
    image.type = KF_VOXEL_UINT8;
    KF_CHECK_EQ(kf_grow(&work, &image, KF_NEIGHBOURS_6, seeds, kept, labels), KF_KERNEL_INVALID);
}

KF_TEST_MAIN(KF_RUN(states_are_shortest_paths); KF_RUN(an_update_is_a_new_start);
             KF_RUN(threads_and_instructions_change_nothing); KF_RUN(what_costs_too_much_stays_without_label);)
