// Filling between slices against the same formula with distances found by trying all voxels; and what it makes of shapes.
#include "server/base/test.h"
#include "tests/kernel/parity.h"
#include "tests/kernel/random.h"
#include "workers/kernels/fill_between.h"

#include <math.h>

static uint64_t state = 5;

enum { A = 13, B = 11, C = 12, N = A * B * C };

struct request {
    int64_t dim[3];
    double spacing_mm[3];
    int axis;
    const uint8_t *given;
    int64_t voxels;
};

static enum kf_kernel_status run(const struct kf_work *work, void *out, void *user)
{
    struct request *r = user;
    memcpy(out, r->given, (size_t)r->voxels);
    return kf_fill_between(work, r->dim, r->spacing_mm, r->axis, out);
}

struct slice {
    int64_t size[2];
    double spacing[2];
    uint8_t value[A * A];
};

static struct slice cut(const struct request *r, int64_t s)
{
    struct slice out = {.size = {0, 0}};
    int in[2], n = 0;
    for (int a = 0; a < 3; a++)
        if (a != r->axis)
            in[n++] = a;
    const int64_t step[3] = {1, r->dim[0], r->dim[0] * r->dim[1]};
    for (int a = 0; a < 2; a++) {
        out.size[a] = r->dim[in[a]];
        out.spacing[a] = r->spacing_mm[in[a]];
    }
    for (int64_t y = 0; y < out.size[1]; y++)
        for (int64_t x = 0; x < out.size[0]; x++)
            out.value[x + out.size[0] * y] = r->given[s * step[r->axis] + x * step[in[0]] + y * step[in[1]]];
    return out;
}

static float by_trying(const struct slice *s, int label, int64_t x, int64_t y)
{
    int inside = s->value[x + s->size[0] * y] == label;
    double w = (double)s->size[0] * s->spacing[0], h = (double)s->size[1] * s->spacing[1], best = sqrt(w * w + h * h);
    for (int64_t v = 0; v < s->size[1]; v++)
        for (int64_t u = 0; u < s->size[0]; u++) {
            double dx = (double)(u - x) * s->spacing[0], dy = (double)(v - y) * s->spacing[1];
            if ((s->value[u + s->size[0] * v] == label) != inside)
                best = fmin(best, sqrt(dx * dx + dy * dy));
        }
    return (float)(inside ? -best : best);
}

static int has(const struct slice *s, int label, double centre[2])
{
    int64_t count = 0;
    centre[0] = centre[1] = 0;
    for (int64_t v = 0; v < s->size[0] * s->size[1]; v++)
        if (s->value[v] == label) {
            centre[0] += (double)(v % s->size[0]);
            centre[1] += (double)(v / s->size[0]);
            count++;
        }
    for (int a = 0; count && a < 2; a++)
        centre[a] /= (double)count;
    return count > 0;
}

static float field_at(const struct slice *s, const struct slice *other, int label, int there, int64_t x, int64_t y)
{
    if (there)
        return x < 0 || y < 0 || x >= s->size[0] || y >= s->size[1] ? 1e9f : by_trying(s, label, x, y);
    float deepest = 0;
    for (int64_t v = 0; v < other->size[0] * other->size[1]; v++)
        deepest = fminf(deepest, by_trying(other, label, v % other->size[0], v / other->size[0]));
    return -deepest;
}

static uint8_t want_at(const struct slice *a, const struct slice *b, float t, int64_t x, int64_t y)
{
    float best = 0;
    uint8_t out = 0;
    for (int label = 1; label < 4; label++) {
        double ca[2], cb[2];
        int64_t by[2] = {0, 0}, back[2] = {0, 0};
        int in_a = has(a, label, ca), in_b = has(b, label, cb), meet = 0;
        if (!in_a && !in_b)
            continue;
        for (int64_t v = 0; v < a->size[0] * a->size[1]; v++)
            meet |= a->value[v] == label && b->value[v] == label;
        for (int c = 0; c < 2 && in_a && in_b && !meet; c++) {
            by[c] = (int64_t)floor((double)t * (cb[c] - ca[c]) + 0.5);
            back[c] = by[c] - (int64_t)floor(cb[c] - ca[c] + 0.5);
        }
        float d = (1 - t) * field_at(a, b, label, in_a, x - by[0], y - by[1]) +
                  t * field_at(b, a, label, in_b, x - back[0], y - back[1]);
        if (d < best) {
            best = d;
            out = (uint8_t)label;
        }
    }
    return out;
}

// Random discs of three labels on slices 1, 2, 6 and 9.
static void draw(const struct request *r, uint8_t *out)
{
    const int64_t step[3] = {1, r->dim[0], r->dim[0] * r->dim[1]};
    int one = r->axis == 0, two = r->axis == 2 ? 1 : 2;
    static const int64_t slices[] = {1, 2, 6, 9};
    memset(out, 0, N);
    for (int n = 0; n < 4; n++)
        for (int label = 1; label < 4; label++) {
            int64_t x0 = (int64_t)(test_random(&state) % 11), y0 = (int64_t)(test_random(&state) % 11);
            int64_t square = (int64_t)(test_random(&state) % 14) - 2;
            for (int64_t y = 0; y < r->dim[two]; y++)
                for (int64_t x = 0; x < r->dim[one]; x++)
                    if ((x - x0) * (x - x0) + (y - y0) * (y - y0) <= square)
                        out[slices[n] * step[r->axis] + x * step[one] + y * step[two]] = (uint8_t)label;
        }
}

KF_TEST(slices_between_follow_the_slow_formula)
{
    static uint8_t given[N], have[N];
    int64_t filled = 0;
    for (int round = 0; round < 9; round++) {
        struct request r = {{A, B, C}, {1, round & 1 ? 2 : 1, 1}, round % 3, given, N};
        draw(&r, given);
        KF_CHECK_EQ(parity_failures(run, &r, N, have), 0);
        int64_t last = -1, wrong = 0;
        for (int64_t s = 0; s < r.dim[r.axis]; s++) {
            struct slice b = cut(&r, s);
            int empty = 1;
            for (int64_t v = 0; v < b.size[0] * b.size[1]; v++)
                empty &= b.value[v] == 0;
            if (empty)
                continue;
            struct request result = r;
            result.given = have;
            for (int64_t m = last + 1; last >= 0 && m < s; m++) {
                struct slice a = cut(&r, last), got = cut(&result, m);
                float t = (float)(m - last) / (float)(s - last);
                for (int64_t v = 0; v < a.size[0] * a.size[1]; v++) {
                    wrong += got.value[v] != want_at(&a, &b, t, v % a.size[0], v / a.size[0]);
                    filled += got.value[v] != 0;
                }
            }
            struct slice kept = cut(&result, s);
            wrong += memcmp(kept.value, b.value, (size_t)(b.size[0] * b.size[1])) != 0;
            last = s;
        }
        KF_CHECK_EQ(wrong, 0);
    }
    KF_CHECK(filled > 500);
}

enum { S = 41 };
static uint8_t ball[S * S * S], cubes[S * S * S];

static int64_t count_of(const uint8_t *in, int64_t from, int64_t to, uint8_t label)
{
    int64_t count = 0;
    for (int64_t v = from; v < to; v++)
        count += in[v] == label;
    return count;
}

KF_TEST(a_ball_comes_back_from_every_fifth_slice)
{
    const int64_t dim[3] = {S, S, S};
    const double even[3] = {1, 1, 1};
    struct kf_work work;
    kf_work_init(&work, 2);
    for (int64_t v = 0; v < S * S * S; v++) {
        int64_t x = v % S - 20, y = v / S % S - 20, z = v / (S * S) - 20;
        ball[v] = x * x + y * y + z * z <= 17 * 17;
        cubes[v] = (uint8_t)(z % 5 == 0 && ball[v] ? 7 : 0);
    }
    KF_REQUIRE(!kf_fill_between(&work, dim, even, 2, cubes));
    int64_t both = 0, either = 0, wanted = 0;
    for (int64_t v = 5 * S * S; v < 36 * S * S; v++) { // from the first slice given to the last
        both += ball[v] && cubes[v] == 7;
        either += (ball[v] != 0) + (cubes[v] != 0);
        wanted += ball[v];
    }
    printf("ball from every fifth slice: Dice %.4f\n", 2.0 * (double)both / (double)either);
    KF_CHECK(wanted > 10000 && 2.0 * (double)both > 0.97 * (double)either);
}

KF_TEST(an_oblique_rod_stays_whole_and_a_label_vanishes_half_way)
{
    const int64_t dim[3] = {S, S, S};
    const double even[3] = {1, 1, 1};
    struct kf_work work;
    kf_work_init(&work, 2);
    memset(cubes, 0, sizeof cubes);
    for (int64_t v = 0; v < S * S; v++) {
        int64_t x = v % S, y = v / S;
        cubes[v] = (uint8_t)((x - 5) * (x - 5) + (y - 8) * (y - 8) <= 9 ? 1 : x > 20 && x < 30 && y > 20 && y < 30 ? 2 : 0);
        cubes[10 * S * S + v] = (x - 33) * (x - 33) + (y - 18) * (y - 18) <= 9;
    }
    KF_REQUIRE(!kf_fill_between(&work, dim, even, 2, cubes));
    for (int64_t s = 1; s < 10; s++) {
        int64_t rod = count_of(cubes, s * S * S, (s + 1) * S * S, 1);
        int64_t square = count_of(cubes, s * S * S, (s + 1) * S * S, 2);
        KF_CHECK(rod >= 25 && rod <= 33); // 29 in both ends
        KF_CHECK((square > 0) == (s < 5));
        KF_CHECK(s < 4 ? square <= 81 : square <= 9); // from 9×9, evenly
    }
    KF_CHECK_EQ(count_of(cubes, 11 * S * S, S * S * S, 0), 30 * S * S);
    KF_CHECK_EQ(kf_fill_between(&work, dim, even, 3, cubes), KF_KERNEL_INVALID);
}

KF_TEST_MAIN(KF_RUN(slices_between_follow_the_slow_formula); KF_RUN(a_ball_comes_back_from_every_fifth_slice);
             KF_RUN(an_oblique_rod_stays_whole_and_a_label_vanishes_half_way);)
