// Masks against slow and obvious oracles on random blobs: components by flood fill, holes, islands, balls.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/bits.h"

#include <stdint.h>

static uint64_t state = 7;

static void make_random(const struct kf_work *work, const int64_t dim[3], int percent, struct kf_bits *bits)
{
    if (kf_bits_alloc(work, dim, bits))
        exit(1);
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++)
                if ((int)(test_random(&state) % 100) < percent)
                    kf_bits_put(bits, i, j, k);
}

static void copy_of(const struct kf_work *work, const struct kf_bits *from, struct kf_bits *to)
{
    if (kf_bits_alloc(work, from->dim, to))
        exit(1);
    kf_bits_combine(work, to, KF_BITS_COPY, from);
}

// Flood fill; label[v] = component number plus one in memory order of the first voxel.
static int flood(const struct kf_bits *bits, int neighbours, int wanted, int *label)
{
    const int64_t *dim = bits->dim;
    int64_t total = dim[0] * dim[1] * dim[2];
    int64_t *stack = malloc((size_t)total * sizeof *stack);
    int count = 0;
    memset(label, 0, (size_t)total * sizeof *label);
    for (int64_t v = 0; v < total; v++) {
        if (label[v] || kf_bits_get(bits, v % dim[0], v / dim[0] % dim[1], v / dim[0] / dim[1]) != wanted)
            continue;
        int64_t top = 0;
        label[v] = ++count;
        stack[top++] = v;
        while (top) {
            int64_t at = stack[--top], p[3] = {at % dim[0], at / dim[0] % dim[1], at / dim[0] / dim[1]};
            for (int n = 0; n < 27; n++) {
                int64_t d[3] = {n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1};
                int64_t steps = llabs(d[0]) + llabs(d[1]) + llabs(d[2]);
                if (steps == 0 || (neighbours != 26 && steps > 1) || (neighbours == 4 && d[2]))
                    continue;
                int64_t q[3] = {p[0] + d[0], p[1] + d[1], p[2] + d[2]};
                if (q[0] < 0 || q[1] < 0 || q[2] < 0 || q[0] >= dim[0] || q[1] >= dim[1] || q[2] >= dim[2])
                    continue;
                int64_t u = q[0] + dim[0] * (q[1] + dim[1] * q[2]);
                if (!label[u] && kf_bits_get(bits, q[0], q[1], q[2]) == wanted) {
                    label[u] = count;
                    stack[top++] = u;
                }
            }
        }
    }
    free(stack);
    return count;
}

static const int64_t sizes[][3] = {{1, 1, 1},  {5, 4, 3},    {63, 5, 4},  {64, 7, 2},
                                   {65, 6, 5}, {130, 9, 11}, {20, 20, 20}};

KF_TEST(components_agree_with_flood_fill)
{
    static const enum kf_neighbours kinds[] = {KF_NEIGHBOURS_4, KF_NEIGHBOURS_6, KF_NEIGHBOURS_26};
    for (int round = 0; round < 63; round++) {
        struct kf_work work;
        kf_work_init(&work, 1 + round % 4);
        const int64_t *dim = sizes[round % 7];
        int64_t total = dim[0] * dim[1] * dim[2];
        struct kf_bits bits;
        make_random(&work, dim, 10 + 10 * (round % 9), &bits);
        int *label = malloc((size_t)total * sizeof *label);
        int count = flood(&bits, kinds[round % 3], 1, label);
        struct kf_components c;
        KF_REQUIRE(!kf_components_find(&work, &bits, kinds[round % 3], &c));
        KF_CHECK_EQ(c.count, count);
        int wrong = 0;
        for (int64_t row = 0; row < dim[1] * dim[2]; row++)
            for (int64_t r = c.row_first[row]; r < c.row_first[row + 1]; r++)
                for (int64_t i = c.start[r]; i < c.end[r]; i++)
                    wrong += label[row * dim[0] + i] != (int)c.component[r] + 1;
        KF_CHECK_EQ(wrong, 0);
        int64_t voxels = 0;
        for (int64_t n = 0; n < c.count; n++)
            voxels += c.table[n].voxels;
        KF_CHECK_EQ(voxels, kf_bits_count(&work, &bits));
        kf_components_release(&work, &c);
        kf_bits_release(&work, &bits);
        free(label);
    }
}

KF_TEST(holes_are_what_the_border_cannot_reach)
{
    for (int round = 0; round < 28; round++) {
        struct kf_work work;
        kf_work_init(&work, 1 + round % 3);
        const int64_t *dim = sizes[round % 7];
        enum kf_neighbours kind = round % 2 ? KF_NEIGHBOURS_4 : KF_NEIGHBOURS_6;
        int64_t total = dim[0] * dim[1] * dim[2], filled;
        struct kf_bits bits, before;
        make_random(&work, dim, 70, &bits);
        copy_of(&work, &bits, &before);
        int *label = malloc((size_t)total * sizeof *label);
        int count = flood(&bits, kind, 0, label);
        char *open = calloc((size_t)count + 1, 1);
        for (int64_t v = 0; v < total; v++) {
            int64_t p[3] = {v % dim[0], v / dim[0] % dim[1], v / dim[0] / dim[1]};
            for (int a = 0; a < (kind == KF_NEIGHBOURS_4 ? 2 : 3); a++)
                if (p[a] == 0 || p[a] == dim[a] - 1)
                    open[label[v]] = 1;
        }
        KF_REQUIRE(!kf_bits_fill_holes(&work, &bits, kind, 0, &filled));
        int wrong = 0;
        int64_t holes = 0;
        for (int64_t v = 0; v < total; v++) {
            int64_t p[3] = {v % dim[0], v / dim[0] % dim[1], v / dim[0] / dim[1]};
            int hole = label[v] && !open[label[v]];
            holes += hole;
            wrong += kf_bits_get(&bits, p[0], p[1], p[2]) != (hole || kf_bits_get(&before, p[0], p[1], p[2]));
        }
        KF_CHECK_EQ(wrong, 0);
        KF_CHECK_EQ(filled, holes);
        free(open);
        free(label);
        kf_bits_release(&work, &bits);
        kf_bits_release(&work, &before);
    }
}

// 1 where a voxel of `value` lies within radius_mm of p, by trying all.
static int within(const struct kf_bits *bits, const double spacing[3], double radius_mm, const int64_t p[3], int value)
{
    int64_t q[3];
    for (q[2] = 0; q[2] < bits->dim[2]; q[2]++)
        for (q[1] = 0; q[1] < bits->dim[1]; q[1]++)
            for (q[0] = 0; q[0] < bits->dim[0]; q[0]++) {
                double sum = 0;
                for (int a = 0; a < 3; a++)
                    sum += (double)((p[a] - q[a]) * (p[a] - q[a])) * spacing[a] * spacing[a];
                if (sum <= radius_mm * radius_mm + 1e-9 && kf_bits_get(bits, q[0], q[1], q[2]) == value)
                    return 1;
            }
    return 0;
}

static int differs_from_ball(const struct kf_bits *before, const struct kf_bits *after, const double spacing[3],
                             double radius_mm, int eroded)
{
    int wrong = 0;
    int64_t p[3];
    for (p[2] = 0; p[2] < before->dim[2]; p[2]++)
        for (p[1] = 0; p[1] < before->dim[1]; p[1]++)
            for (p[0] = 0; p[0] < before->dim[0]; p[0]++) {
                int want = within(before, spacing, radius_mm, p, !eroded) != eroded;
                wrong += want != kf_bits_get(after, p[0], p[1], p[2]);
            }
    return wrong;
}

KF_TEST(a_ball_reaches_what_lies_within_its_radius)
{
    static const double spacings[3][3] = {{0.7, 1.1, 1.6}, {1, 1, 1}, {0.4, 0.4, 2.5}};
    for (int round = 0; round < 36; round++) {
        struct kf_work work;
        kf_work_init(&work, 1 + round % 3);
        const int64_t dim[3] = {64 * (1 + round % 2) + round % 3, 9 + round % 5, 7};
        const double *spacing = spacings[round % 3], radius = round < 30 ? 0.4 * round : 20.0 * (round - 29);
        int eroded = round / 3 % 2;
        struct kf_bits bits, before;
        make_random(&work, dim, eroded ? 99 : 1, &bits);
        if (round % 4 == 0) // empty and full rows are passed over
            memset(kf_bits_row(&bits, 0, 2), eroded ? 0xff : 0, (size_t)(3 * bits.words) * sizeof *bits.word);
        kf_bits_invert(&work, &bits);
        kf_bits_invert(&work, &bits); // clears what the line above set past the ends of rows
        copy_of(&work, &bits, &before);
        KF_REQUIRE(!(eroded ? kf_bits_erode : kf_bits_dilate)(&work, &bits, spacing, radius));
        KF_CHECK_EQ(differs_from_ball(&before, &bits, spacing, radius, eroded), 0);
        for (int64_t row = 0; row < dim[1] * dim[2]; row++)
            KF_CHECK(!dim[0] || !(dim[0] % 64) || bits.word[(row + 1) * bits.words - 1] >> (dim[0] % 64) == 0);
        kf_bits_release(&work, &bits);
        kf_bits_release(&work, &before);
    }
}

static int64_t morphology_dim[3] = {131, 40, 33};
static const double morphology_spacing[3] = {0.9, 0.8, 1.5};

static enum kf_kernel_status close_and_open(const struct kf_work *work, void *out, void *user)
{
    struct kf_bits bits = *(const struct kf_bits *)user;
    memcpy(out, bits.word, (size_t)(bits.words * bits.dim[1] * bits.dim[2]) * sizeof *bits.word);
    bits.word = out;
    enum kf_kernel_status status = kf_bits_close(work, &bits, morphology_spacing, 5.3);
    return status ? status : kf_bits_open(work, &bits, morphology_spacing, 2.7);
}

KF_TEST(morphology_is_the_same_at_any_thread_count_and_level)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_bits bits;
    make_random(&work, morphology_dim, 1, &bits);
    size_t bytes = (size_t)(bits.words * bits.dim[1] * bits.dim[2]) * sizeof *bits.word;
    void *first = malloc(bytes);
    KF_CHECK_EQ(parity_failures(close_and_open, &bits, bytes, first), 0);
    free(first);
    kf_bits_release(&work, &bits);
}

KF_TEST(closing_only_adds_and_opening_only_takes)
{
    const double spacing[3] = {1, 1, 2};
    const int64_t dim[3] = {67, 30, 20};
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_bits bits, closed, opened, rest;
    make_random(&work, dim, 45, &bits);
    copy_of(&work, &bits, &closed);
    copy_of(&work, &bits, &opened);
    KF_REQUIRE(!kf_bits_close(&work, &closed, spacing, 2));
    KF_REQUIRE(!kf_bits_open(&work, &opened, spacing, 1));
    copy_of(&work, &bits, &rest);
    kf_bits_combine(&work, &rest, KF_BITS_AND_NOT, &closed);
    KF_CHECK_EQ(kf_bits_count(&work, &rest), 0);
    kf_bits_combine(&work, &rest, KF_BITS_COPY, &opened);
    kf_bits_combine(&work, &rest, KF_BITS_AND_NOT, &bits);
    KF_CHECK_EQ(kf_bits_count(&work, &rest), 0);
    KF_CHECK(kf_bits_count(&work, &closed) > kf_bits_count(&work, &bits));
    KF_CHECK(kf_bits_count(&work, &opened) < kf_bits_count(&work, &bits));
    kf_bits_release(&work, &bits);
    kf_bits_release(&work, &closed);
    kf_bits_release(&work, &opened);
    kf_bits_release(&work, &rest);
}

KF_TEST(enlarging_repeats_every_voxel)
{
    const int64_t factor[3] = {3, 2, 1}, dim[3] = {200, 7, 4}, small[3] = {67, 4, 4};
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_bits coarse, fine;
    make_random(&work, small, 50, &coarse);
    KF_REQUIRE(!kf_bits_alloc(&work, dim, &fine));
    KF_REQUIRE(!kf_bits_enlarge(&work, &coarse, factor, &fine));
    int wrong = 0;
    for (int64_t v = 0; v < 200 * 7 * 4; v++)
        wrong += kf_bits_get(&fine, v % 200, v / 200 % 7, v / 1400) !=
                 kf_bits_get(&coarse, v % 200 / 3, v / 200 % 7 / 2, v / 1400);
    KF_CHECK_EQ(wrong, 0);
    KF_CHECK_EQ(kf_bits_row(&fine, 0, 0)[3] >> 8, 0);
    kf_bits_release(&work, &coarse);
    kf_bits_release(&work, &fine);
}

KF_TEST(hysteresis_keeps_what_holds_a_seed)
{
    const int64_t dim[3] = {100, 10, 10};
    struct kf_work work;
    kf_work_init(&work, 3);
    struct kf_bits bits, seeds;
    KF_REQUIRE(!kf_bits_alloc(&work, dim, &bits));
    KF_REQUIRE(!kf_bits_alloc(&work, dim, &seeds));
    for (int64_t i = 2; i < 30; i++)
        kf_bits_put(&bits, i, 5, 5);
    for (int64_t i = 60; i < 90; i++)
        kf_bits_put(&bits, i, 5, i % 2 ? 5 : 6); // joined only through edges
    kf_bits_put(&seeds, 70, 5, 6);
    KF_REQUIRE(!kf_bits_hysteresis(&work, &bits, &seeds));
    KF_CHECK_EQ(kf_bits_count(&work, &bits), 30);
    KF_CHECK(!kf_bits_get(&bits, 10, 5, 5));
    int64_t dropped;
    KF_REQUIRE(!kf_bits_drop_islands(&work, &bits, KF_NEIGHBOURS_26, 31, &dropped));
    KF_CHECK_EQ(dropped, 1);
    KF_CHECK_EQ(kf_bits_count(&work, &bits), 0);
    kf_bits_release(&work, &bits);
    kf_bits_release(&work, &seeds);
}

KF_TEST_MAIN(KF_RUN(components_agree_with_flood_fill); KF_RUN(holes_are_what_the_border_cannot_reach);
             KF_RUN(a_ball_reaches_what_lies_within_its_radius);
             KF_RUN(morphology_is_the_same_at_any_thread_count_and_level);
             KF_RUN(closing_only_adds_and_opening_only_takes); KF_RUN(enlarging_repeats_every_voxel);
             KF_RUN(hysteresis_keeps_what_holds_a_seed);)
