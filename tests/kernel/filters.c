// Every slot of the image filters' tables: each instruction set against the C reference on edge-biased input, odd sizes
// and unaligned rows, with canaries around what may be written. With --bench the same slots are timed. That the
// reference is right is tested kernel by kernel: median.c, distance.c, resample.c and so on.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/filter.h"

#include <stdint.h>
#include <time.h>

#define N_MAX  1024
#define ROOM   (N_MAX + 128) // of a row, with what may be read beside it
#define BEFORE 32            // values in front of a row that can be read
#define CANARY 0xa5
#define BUFFER (1 << 19)

enum { I = 61, J = 23, K = 19 }; // the volume that rows are sampled from

static uint64_t state = 3;
static int16_t words[15][ROOM];
static float reals[18][ROOM];
static uint64_t bits[64][ROOM / 64];
static int16_t volume_i16[I * J * K + 64];
static float volume_f32[I * J * K + 64], speed[I * J * K + 64], table[2][64 * 64], info[2][64];
static uint8_t volume_u8[I * J * K + 64];
static struct kf_resample_row sampled;
static int axis_or_side, shift; // vary from round to round
static _Alignas(64) unsigned char want[BUFFER], have[BUFFER];
static _Alignas(64) float scratch[KF_DISTANCE_TILE * (ROOM + ROOM / 4 + 2)];

// What a call wrote: rows of so many bytes, each of which may be followed by `spill` bytes of anything. `values` counts
// them for the bench.
struct shape {
    int64_t rows, stride, bytes, spill, values;
};

// ---- the slots ----

static const int16_t *word_row(int row)
{
    return words[row] + BEFORE + shift;
}

static const float *real_row(int row)
{
    return reals[row] + BEFORE + shift;
}

static int64_t rounded(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

// Two, four, … bytes per value; rows lie far enough apart for a canary between them.
static struct shape shape_of(int64_t rows, int64_t n, int64_t each, int64_t room)
{
    return (struct shape){rows, ROOM * 4, n * each, (room - n) * each, rows * n};
}

static struct shape call_sort3(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    t->sort3_i16(word_row(0), word_row(1), word_row(2), n, (int16_t *)(void *)out,
                 (int16_t *)(void *)(out + 4 * ROOM), (int16_t *)(void *)(out + 8 * ROOM));
    return shape_of(3, n, 2, rounded(n, 32));
}

static struct shape call_median(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    static int16_t triples[9][ROOM], ranks[9 * KF_MEDIAN_STRIDE(N_MAX)];
    const int16_t *sorted[9];
    for (int row = 0; row < 3; row++)
        t->sort3_i16(word_row(3 * row), word_row(3 * row + 1), word_row(3 * row + 2), n, triples[3 * row],
                     triples[3 * row + 1], triples[3 * row + 2]);
    for (int r = 0; r < 9; r++)
        sorted[r] = triples[r];
    t->median_i16(sorted, n, ranks, (int16_t *)(void *)out);
    return shape_of(1, n, 2, n);
}

static struct shape call_range(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    int16_t *ends = (int16_t *)(void *)out;
    ends[0] = word_row(0)[0];
    ends[1] = ends[0];
    t->range_i16(word_row(0), n, ends, ends + 1);
    return (struct shape){1, ROOM, 4, 0, n};
}

static struct shape call_distance_row(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    t->distance_row(bits[0], n, 0.7f, axis_or_side ? INFINITY : 200, (float *)(void *)out);
    return shape_of(1, n, 4, n);
}

// n / 16 rows of at most a tile, as the pass along i leaves them.
static struct shape call_distance_lines(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    static float square[N_MAX + 16];
    int64_t lines = n / 16 + 1, width = n < KF_DISTANCE_TILE ? n : KF_DISTANCE_TILE - axis_or_side;
    float *at = (float *)(void *)out;
    for (int d = 0; d < N_MAX + 16; d++)
        square[d] = (float)(0.81 * d * d);
    for (int64_t j = 0; j < lines; j++)
        kf_filters_none.distance_row(bits[j % 64], width, 0.7f, INFINITY, at + j * ROOM);
    t->distance_lines(at, ROOM, width, lines, square, axis_or_side & 1, 40, scratch);
    struct shape s = shape_of(lines, width, 4, width);
    return s;
}

#define SAMPLED(name, slot, type, voxels)                                                                              \
    static struct shape name(const struct kf_filter_table *t, int64_t n, unsigned char *out)                           \
    {                                                                                                                  \
        sampled.data = voxels;                                                                                         \
        n = n < 16 ? 16 : n;                                                                                           \
        t->slot(&sampled, 0, n, (type *)(void *)out);                                                                  \
        return shape_of(1, n, (int64_t)sizeof(type), n);                                                               \
    }
SAMPLED(call_linear_i16, linear_i16, int16_t, volume_i16)
SAMPLED(call_linear_f32, linear_f32, float, volume_f32)
SAMPLED(call_cubic_i16, cubic_i16, int16_t, volume_i16)
SAMPLED(call_cubic_f32, cubic_f32, float, volume_f32)
SAMPLED(call_nearest_8, nearest_8, uint8_t, volume_u8)
SAMPLED(call_nearest_16, nearest_16, uint16_t, volume_i16)
SAMPLED(call_nearest_32, nearest_32, uint32_t, volume_f32)

static struct shape call_gradient(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    static const float scale[3] = {0.02f, 0.017f, 0.011f};
    const float *rows[14];
    for (int r = 0; r < 14; r++)
        rows[r] = real_row(r);
    t->gradient_row(real_row(14), rows, rows + 7, scale, n, (float *)(void *)out);
    return shape_of(1, n, 4, n);
}

static struct shape call_gradient_sum(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    static const float scale[3] = {0.7f, 0.6f, 0.4f};
    const float *rows[5];
    double *sums = (double *)(void *)out;
    for (int r = 0; r < 5; r++)
        rows[r] = real_row(r);
    for (int l = 0; l < 16; l++)
        sums[l] = l;
    t->gradient_sum(rows, scale, n, sums);
    return (struct shape){1, ROOM * 4, 16 * 8, 0, n};
}

static struct kf_diffuse_row diffused(void)
{
    struct kf_diffuse_row row = {.scale = {1.3f, 1.1f, 0.6f}, .contrast = -2e-8f, .time_step = 0.06f};
    for (int c = 0; c < 3; c++)
        for (int b = 0; b < 3; b++)
            row.at[c][b] = real_row(3 * c + b);
    return row;
}

static struct shape call_flux(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    const struct kf_diffuse_row row = diffused();
    for (int axis = 0; axis < 3; axis++)
        t->flux_row(&row, axis, n, (float *)(void *)(out + 4 * ROOM * axis));
    return shape_of(3, n, 4, rounded(n, 16));
}

static struct shape call_diffuse(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    const struct kf_diffuse_row row = diffused();
    const float *const flux[3][2] = {{real_row(9), real_row(9) + 1}, {real_row(10), real_row(11)},
                                     {real_row(12), real_row(13)}};
    t->diffuse_row(&row, flux, n, (float *)(void *)out);
    return shape_of(1, n, 4, n);
}

static struct shape call_places(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    const struct kf_places_row row = {
        .voxels = volume_i16, .dim = {I, J, K}, .at = {reals[15] + shift, reals[16] + shift, reals[17] + shift}};
    t->places_i16(&row, n, (int16_t *)(void *)out);
    return shape_of(1, n, 2, rounded(n, KF_ROW_SLACK));
}

static struct shape call_match(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    struct kf_match_row row = {.moving_info = info[0], .fixed_info = info[1], .per_mm = 0.002f, .limit = 3};
    row.by_moving = axis_or_side != 1 ? table[0] : NULL;
    row.by_fixed = axis_or_side != 2 ? table[1] : NULL;
    for (int r = 0; r < 5; r++) {
        row.fixed[r] = word_row(5 + r); // values from 0 to 16127, or -1
        row.moving[r] = word_row(10 + r);
    }
    memset(out, 0, (size_t)9 * ROOM * 4);
    t->match_row(&row, n, ROOM, (float *)(void *)out);
    return shape_of(9, n, 4, ROOM); // a plane has slack
}

static struct shape call_march(const struct kf_filter_table *t, int64_t n, unsigned char *out)
{
    static uint32_t voxel[ROOM], sides[ROOM];
    struct kf_march_grid g = {
        .speed = speed, .time = volume_f32, .voxels = I * J * K, .step = {1, I, I * J}, .spacing = {0.7f, 0.7f, 1.3f}};
    for (int a = 0; a < 3; a++)
        g.weight[a] = 1 / (g.spacing[a] * g.spacing[a]);
    for (int64_t v = 0; v < n; v++) {
        uint32_t at = (uint32_t)(v * 7919 + shift) % (I * J * K), i = at % I, j = at / I % J, k = at / I / J;
        voxel[v] = at;
        sides[v] = (uint32_t)((i > 0) | (i + 1 < I) << 1 | (j > 0) << 2 | (j + 1 < J) << 3);
        sides[v] |= (uint32_t)((k > 0) << 4 | (k + 1 < K) << 5);
    }
    t->march_times(&g, voxel, sides, n, (float *)(void *)out);
    return shape_of(1, n, 4, rounded(n, KF_ROW_SLACK));
}

static const struct {
    const char *name;
    struct shape (*call)(const struct kf_filter_table *t, int64_t n, unsigned char *out);
} slots[] = {{"sort3_i16", call_sort3},
             {"median_i16", call_median},
             {"range_i16", call_range},
             {"distance_row", call_distance_row},
             {"distance_lines", call_distance_lines},
             {"linear_i16", call_linear_i16},
             {"linear_f32", call_linear_f32},
             {"cubic_i16", call_cubic_i16},
             {"cubic_f32", call_cubic_f32},
             {"nearest_8", call_nearest_8},
             {"nearest_16", call_nearest_16},
             {"nearest_32", call_nearest_32},
             {"gradient_row", call_gradient},
             {"gradient_sum", call_gradient_sum},
             {"flux_row", call_flux},
             {"diffuse_row", call_diffuse},
             {"places_i16", call_places},
             {"match_row", call_match},
             {"march_times", call_march}};
enum { SLOTS = sizeof slots / sizeof slots[0] };

// ---- input ----

static double unit(void)
{
    return (double)(test_random(&state) >> 11) * 0x1p-53;
}

// Between whole numbers, on them, tiny and large.
static float odd_real(void)
{
    static const float edge[] = {0.0f, -0.0f, 1.0f, -1.0f, 1e-30f, -1e-30f, 1e12f, -32768.0f, 32767.0f, 0.5f};
    uint64_t r = test_random(&state);
    return r & 7 ? (float)(int16_t)(r >> 16) * 0.37f : edge[(r >> 8) % 10];
}

// A row of `n` voxels from somewhere within the volume to somewhere else in it, a voxel from its border.
static void sample_somewhere(int64_t n)
{
    const int64_t dim[3] = {I, J, K};
    for (int a = 0; a < 3; a++) {
        double from = 1.01 + unit() * ((double)dim[a] - 3.03), to = 1.01 + unit() * ((double)dim[a] - 3.03);
        sampled.dim[a] = dim[a];
        sampled.start[a] = from;
        sampled.step[a] = (to - from) / (double)(n < 16 ? 16 : n);
    }
}

static void fill(int round, int64_t n)
{
    axis_or_side = round % 3;
    shift = round % 8;
    for (int r = 0; r < 15; r++)
        for (int v = 0; v < ROOM; v++) {
            uint64_t x = test_random(&state);
            words[r][v] = r < 5 ? test_random_i16(&state) : x % 41 ? (int16_t)((x >> 8) % 16128) : (int16_t)-1;
        }
    for (int r = 0; r < 15; r++)
        for (int v = 0; v < ROOM; v++)
            reals[r][v] = odd_real();
    for (int v = 0; v < 3 * ROOM; v++) { // places, some of them outside
        static const int edge[3] = {I - 1, J - 1, K - 1};
        uint64_t x = test_random(&state) % 64;
        float at = (float)(-0.3 + unit() * (edge[v / ROOM] + 0.6));
        reals[15 + v / ROOM][v % ROOM] = x == 0 ? (float)edge[v / ROOM] : x == 1 ? NAN : x == 2 ? INFINITY : at;
    }
    for (int v = 0; v < 64 * (ROOM / 64); v++) {
        uint64_t x = test_random(&state);
        bits[v / (ROOM / 64)][v % (ROOM / 64)] = x & 1 ? x & test_random(&state) & test_random(&state) : x & 2 ? 0 : ~x;
    }
    for (int v = 0; v < I * J * K; v++) {
        volume_i16[v] = (int16_t)(test_random(&state) % 16128);
        volume_f32[v] = odd_real();
        volume_u8[v] = (uint8_t)(test_random(&state) % 256);
        speed[v] = volume_u8[v] == 1 ? 0.0f : volume_u8[v] == 2 ? -1.0f : volume_u8[v] == 3 ? NAN : 0.1f * volume_u8[v];
    }
    for (int v = 0; v < 2 * 64 * 64; v++)
        table[v / 4096][v % 4096] = (float)(unit() - 0.5);
    for (int v = 0; v < 128; v++)
        info[v / 64][v % 64] = (float)unit();
    sample_somewhere(n);
}

static int64_t odd_size(int round)
{
    static const int64_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 511, 512, 1000, 1024};
    return round < 20 ? sizes[round] : 1 + (int64_t)(test_random(&state) % N_MAX);
}

// ---- the check ----

static int all_canary(const unsigned char *from, const unsigned char *end)
{
    for (; from < end; from++)
        if (*from != CANARY)
            return 0;
    return 1;
}

static int rows_are_the_same(const struct shape *s)
{
    for (int64_t r = 0; r < s->rows; r++) {
        const unsigned char *a = want + 64 + r * s->stride, *b = have + 64 + r * s->stride;
        if (memcmp(a, b, (size_t)s->bytes) != 0 || !all_canary(b + s->bytes + s->spill, b + s->stride))
            return 0;
    }
    return all_canary(have, have + 64) && all_canary(have + 64 + s->rows * s->stride, have + BUFFER);
}

KF_TEST(every_slot_of_the_filters_equals_the_reference)
{
    enum kf_cpu was = kf_cpu_level();
    KF_CHECK_EQ(SLOTS, sizeof(struct kf_filter_table) / sizeof(void (*)(void))); // a new slot wants a line above
    for (int level = KF_CPU_AVX2; level < KF_CPU_COUNT; level++) {
        if (kf_cpu_use((enum kf_cpu)level)) {
            printf("skip level %s: not in this processor or build\n", kf_cpu_name((enum kf_cpu)level));
            continue;
        }
        const struct kf_filter_table *variant = kf_filters();
        KF_REQUIRE(variant != &kf_filters_none);
        for (int round = 0; round < 60; round++) {
            int64_t n = odd_size(round);
            fill(round, n);
            for (int slot = 0; slot < SLOTS; slot++) {
                memset(want, CANARY, sizeof want);
                memset(have, CANARY, sizeof have);
                slots[slot].call(&kf_filters_none, n, want + 64);
                struct shape s = slots[slot].call(variant, n, have + 64);
                if (!rows_are_the_same(&s)) {
                    fprintf(stderr, "%s differs from the reference at level %s, n = %lld\n", slots[slot].name,
                            kf_cpu_name((enum kf_cpu)level), (long long)n);
                    kf_test_failures++;
                }
            }
        }
    }
    KF_CHECK(!kf_cpu_use(was));
}

// ---- the bench ----

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void bench(void)
{
    fill(24, N_MAX); // from an aligned place
    for (int slot = 0; slot < SLOTS; slot++)
        for (int level = 0; level < KF_CPU_COUNT; level++) {
            if (kf_cpu_use((enum kf_cpu)level))
                continue;
            const struct kf_filter_table *t = kf_filters();
            double best = 1e9;
            for (int r = 0; r < 9; r++) {
                struct shape s = {0};
                double start = seconds();
                for (int n = 0; n < 1000; n++)
                    s = slots[slot].call(t, N_MAX, have + 64);
                double spent = (seconds() - start) / 1000 / (double)s.values * 1e9;
                best = spent < best ? spent : best;
            }
            printf("%-14s %-7s %8.4f ns per value\n", slots[slot].name, kf_cpu_name((enum kf_cpu)level), best);
        }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench();
        return 0;
    }
    KF_RUN(every_slot_of_the_filters_equals_the_reference);
    return kf_test_failures ? 1 : 0;
}
