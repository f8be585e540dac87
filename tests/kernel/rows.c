// Every row kernel of every instruction set against the C reference: edge-biased input, odd sizes, unaligned rows,
// canaries. With --bench the same slots are timed; those of surfaces, whose input is a whole pass, through the kernels that
// call them, which surface.c and surface_labels.c compare.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/memory.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/surface.h"
#include "workers/kernels/surface_labels.h"

#include <float.h>
#include <stdint.h>
#include <time.h>

#define N_MAX  1100
#define CANARY 0xa5

static uint64_t state = 1;
static _Alignas(64) unsigned char in_bytes[N_MAX * 8 + 256];
static _Alignas(64) unsigned char want[N_MAX * 8 + 256], have[N_MAX * 8 + 256];

static int64_t odd_size(int round)
{
    static const int64_t sizes[] = {1, 2, 7, 31, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1000};
    return round < 14 ? sizes[round] : 1 + (int64_t)(test_random(&state) % 1024);
}

static void fill_i16(int16_t *row, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        row[i] = test_random_i16(&state);
}

static void fill_f32(float *row, int64_t n)
{
    static const float edge[] = {0.0f, -0.0f, 1.0f, -1.0f, FLT_MAX, -FLT_MAX, FLT_MIN, INFINITY, -INFINITY, NAN};
    for (int64_t i = 0; i < n; i++) {
        uint64_t r = test_random(&state);
        row[i] = r & 7 ? (float)(int32_t)(r >> 32) * 1e-5f : edge[(r >> 8) % 10];
    }
}

static void clear_both(void)
{
    memset(want, CANARY, sizeof want);
    memset(have, CANARY, sizeof have);
}

// The whole of both buffers: results and everything around them.
static void compare(const char *slot, enum kf_cpu level, int64_t n)
{
    if (memcmp(want, have, sizeof want) != 0) {
        fprintf(stderr, "%s differs from the reference at level %s, n = %lld\n", slot, kf_cpu_name(level),
                (long long)n);
        kf_test_failures++;
    }
}

static void check_bits(const struct kf_kernel_table *a, const struct kf_kernel_table *b, enum kf_cpu level)
{
    for (int round = 0; round < 60; round++) {
        int64_t n = odd_size(round), shift = round % 8;
        int16_t *words = (int16_t *)(void *)in_bytes + shift;
        fill_i16(words, n);
        int low = round == 20 ? 40000 : test_random_i16(&state), high = round == 21 ? -40000 : test_random_i16(&state);
        clear_both();
        a->bits_i16(words, n, low, high, (uint64_t *)(void *)(want + 64));
        b->bits_i16(words, n, low, high, (uint64_t *)(void *)(have + 64));
        compare("bits_i16", level, n);
        float *reals = (float *)(void *)in_bytes + shift;
        fill_f32(reals, n);
        clear_both();
        a->bits_f32(reals, n, -1000.5f, round % 2 ? INFINITY : 2000.25f, (uint64_t *)(void *)(want + 64));
        b->bits_f32(reals, n, -1000.5f, round % 2 ? INFINITY : 2000.25f, (uint64_t *)(void *)(have + 64));
        compare("bits_f32", level, n);
        for (int64_t i = 0; i < n; i++)
            in_bytes[shift + i] = (unsigned char)(test_random(&state) % 3 * 127);
        clear_both();
        a->bits_u8(in_bytes + shift, n, 254, (uint64_t *)(void *)(want + 64));
        b->bits_u8(in_bytes + shift, n, 254, (uint64_t *)(void *)(have + 64));
        compare("bits_u8", level, n);
    }
}

static void check_paint(const struct kf_kernel_table *a, const struct kf_kernel_table *b, enum kf_cpu level)
{
    for (int round = 0; round < 40; round++) {
        int64_t n = odd_size(round);
        uint64_t *bits = (uint64_t *)(void *)in_bytes;
        for (int64_t w = 0; w < (n + 63) / 64; w++)
            bits[w] = round % 3 ? test_random(&state) : ~(uint64_t)0;
        clear_both();
        a->paint_u8(bits, n, 7, want + 65);
        b->paint_u8(bits, n, 7, have + 65);
        compare("paint_u8", level, n);
    }
}

static void check_filters(const struct kf_kernel_table *a, const struct kf_kernel_table *b, enum kf_cpu level)
{
    static float rows[9][N_MAX];
    static const float weights[] = {0.4f, 0.2f, 0.05f, 0.03f, 0.02f};
    const float *at[9];
    for (int round = 0; round < 40; round++) {
        int64_t n = odd_size(round);
        int radius = round % 5;
        for (int t = 0; t < 9; t++) {
            for (int64_t i = 0; i < n; i++)
                rows[t][i + 1] = (float)test_random_i16(&state) * 0.37f;
            at[t] = rows[t] + 1;
        }
        clear_both();
        a->fir_f32(at, weights, radius, n, (float *)(void *)(want + 68));
        b->fir_f32(at, weights, radius, n, (float *)(void *)(have + 68));
        compare("fir_f32", level, n);
        int16_t *words = (int16_t *)(void *)in_bytes + round % 7;
        fill_i16(words, n);
        clear_both();
        a->i16_f32(words, n, (float *)(void *)(want + 68));
        b->i16_f32(words, n, (float *)(void *)(have + 68));
        compare("i16_f32", level, n);
        clear_both();
        a->planes_i16(words, n, want + 65, want + 65 + 2 * N_MAX);
        b->planes_i16(words, n, have + 65, have + 65 + 2 * N_MAX);
        compare("planes_i16", level, n);
        clear_both();
        memset(want + 64, 0, (size_t)n * 4);
        memset(have + 64, 0, (size_t)n * 4);
        a->add_i16(words, n, (int32_t *)(void *)(want + 64));
        b->add_i16(words, n, (int32_t *)(void *)(have + 64));
        compare("add_i16", level, n);
    }
}

static void check_unite(const struct kf_kernel_table *a, const struct kf_kernel_table *b, enum kf_cpu level)
{
    static uint64_t rows[70][20];
    int64_t offset[70];
    for (int round = 0; round < 60; round++) {
        int64_t words = 1 + round % 19, count = round * 7 % 70;
        for (int n = 0; n < 70; n++) {
            for (int w = 0; w < 20; w++) // few bits: else the union of many is always full
                rows[n][w] = test_random(&state) & test_random(&state) & test_random(&state) & test_random(&state);
            offset[n] = 20 * ((n + round) % 70 - 35);
        }
        clear_both();
        a->unite_rows((uint64_t *)(void *)(want + 64), rows[35], offset, count, words);
        b->unite_rows((uint64_t *)(void *)(have + 64), rows[35], offset, count, words);
        compare("unite_rows", level, words);
    }
}

KF_TEST(every_variant_equals_the_reference)
{
    const struct kf_kernel_table *reference = kf_kernels_for(KF_CPU_NONE);
    KF_REQUIRE(reference);
    for (int level = KF_CPU_AVX2; level < KF_CPU_COUNT; level++) {
        const struct kf_kernel_table *variant = kf_kernels_for((enum kf_cpu)level);
        if (!variant) {
            printf("skip level %s: not in this processor or build\n", kf_cpu_name((enum kf_cpu)level));
            continue;
        }
        check_bits(reference, variant, (enum kf_cpu)level);
        check_paint(reference, variant, (enum kf_cpu)level);
        check_filters(reference, variant, (enum kf_cpu)level);
        check_unite(reference, variant, (enum kf_cpu)level);
    }
}

// The reference itself against what the header says, one value at a time.
KF_TEST(reference_does_what_the_header_says)
{
    const struct kf_kernel_table *t = kf_kernels_for(KF_CPU_NONE);
    int16_t row[130];
    uint64_t bits[3];
    uint8_t low[130], high[130];
    fill_i16(row, 130);
    t->bits_i16(row, 130, -100, 3000, bits);
    t->planes_i16(row, 130, low, high);
    int wrong = 0;
    for (int i = 0; i < 130; i++) {
        wrong += (int)(bits[i / 64] >> (i % 64) & 1) != (row[i] >= -100 && row[i] <= 3000);
        uint16_t d = (uint16_t)(row[i] - (i ? row[i - 1] : 0));
        wrong += low[i] != (d & 255) || high[i] != d >> 8;
    }
    KF_CHECK_EQ(wrong, 0);
    KF_CHECK_EQ(bits[2] >> 2, 0);
    t->bits_i16(row, 130, 5, 4, bits);
    KF_CHECK_EQ(bits[0] | bits[1] | bits[2], 0);
}

// ---- bench ----

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#define TIME(name, call)                                                                                               \
    do {                                                                                                               \
        double best = 1e9;                                                                                             \
        for (int r = 0; r < 9; r++) {                                                                                  \
            double start = seconds();                                                                                  \
            for (int n = 0; n < 20000; n++)                                                                            \
                call;                                                                                                  \
            double spent = (seconds() - start) / 20000 / 1024 * 1e9;                                                   \
            best = spent < best ? spent : best;                                                                        \
        }                                                                                                              \
        printf("%-12s %-7s %7.4f ns per value\n", name, kf_cpu_name((enum kf_cpu)level), best);                        \
    } while (0)

#define EDGE 128

// The surface of a ball with holes, alone and as one of two labels: nanoseconds per voxel, of all slots that take part.
static void bench_surfaces(void)
{
    static uint8_t labels[EDGE * EDGE * EDGE];
    const struct kf_grid grid = {
        .dim = {EDGE, EDGE, EDGE}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    const struct kf_volume volume = {grid, KF_VOXEL_UINT8, labels};
    struct kf_work work;
    struct kf_bits bits;
    kf_work_init(&work, 1);
    if (kf_bits_alloc(&work, grid.dim, &bits))
        return;
    for (int v = 0; v < EDGE * EDGE * EDGE; v++) {
        int x = v % EDGE - 64, y = v / EDGE % EDGE - 64, z = v / EDGE / EDGE - 64;
        labels[v] = (uint8_t)(x * x + y * y + z * z < 3000 && (x & 15) ? 1 + (z > 0) : 0);
        if (labels[v])
            kf_bits_put(&bits, x + 64, y + 64, z + 64);
    }
    for (int level = 0; level < KF_CPU_COUNT; level++) {
        double best[3] = {1e9, 1e9, 1e9}, before = 0;
        for (int r = 0; r < 9 && !kf_cpu_use((enum kf_cpu)level); r++) {
            const struct kf_surface_input alone = {.inside = &bits, .grid = &grid, .cap = 1};
            const struct kf_surface_labels_input together = {.labels = &volume};
            struct kf_mesh mesh = {0}, of_net = {0};
            struct kf_surface_labels net = {0};
            double start = seconds();
            int bad = kf_surface(&work, &alone, &mesh) != KF_KERNEL_OK;
            double middle = seconds();
            bad |= kf_surface_labels(&work, &together, &net) != KF_KERNEL_OK;
            double later = seconds();
            bad |= kf_surface_labels_mesh(&work, &net, 1, &of_net) != KF_KERNEL_OK;
            before = seconds();
            const double spent[3] = {middle - start, later - middle, before - later};
            for (int n = 0; n < 3 && !bad; n++)
                best[n] = spent[n] < best[n] ? spent[n] : best[n];
            kf_mesh_release(&work, &of_net);
            kf_surface_labels_release(&work, &net);
            kf_mesh_release(&work, &mesh);
        }
        static const char *const names[3] = {"surface_count, surface_fill", "labels_count, labels_fill",
                                             "labels_vertices, labels_quads"};
        for (int n = 0; n < 3 && before > 0; n++)
            printf("%-30s %-7s %7.4f ns per voxel\n", names[n], kf_cpu_name((enum kf_cpu)level),
                   best[n] * 1e9 / EDGE / EDGE / EDGE);
    }
    kf_bits_release(&work, &bits);
}

static void bench(void)
{
    static int16_t words[1024];
    static float reals[1024], out[1024];
    static uint8_t bytes[2048];
    static uint64_t bits[16];
    static int32_t sums[1024];
    static const float weights[] = {0.4f, 0.2f, 0.05f, 0.03f, 0.02f};
    static uint64_t union_of[1024], united[8 * 1024];
    static const int64_t offset[8] = {0, 1024, 2048, 3072, 4096, 5120, 6144, 7168};
    const float *rows[9];
    fill_i16(words, 1024);
    for (int i = 0; i < 1024; i++)
        reals[i] = (float)words[i];
    for (int t = 0; t < 9; t++)
        rows[t] = reals;
    for (int level = 0; level < KF_CPU_COUNT; level++) {
        const struct kf_kernel_table *t = kf_kernels_for((enum kf_cpu)level);
        if (!t)
            continue;
        TIME("bits_i16", t->bits_i16(words, 1024, 250, 3000, bits));
        TIME("bits_f32", t->bits_f32(reals, 1024, 250, 3000, bits));
        TIME("bits_u8", t->bits_u8(bytes, 1024, 1, bits));
        TIME("paint_u8", t->paint_u8(bits, 1024, 1, bytes));
        TIME("fir_f32 r=4", t->fir_f32(rows, weights, 4, 1024, out));
        TIME("i16_f32", t->i16_f32(words, 1024, out));
        TIME("planes_i16", t->planes_i16(words, 1024, bytes, bytes + 1024));
        TIME("add_i16", t->add_i16(words, 1024, sums));
        TIME("unite_rows 8", t->unite_rows(union_of, united, offset, 8, 1024));
    }
    bench_surfaces();
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench();
        return 0;
    }
    KF_RUN(reference_does_what_the_header_says);
    KF_RUN(every_variant_equals_the_reference);
    return kf_test_failures ? 1 : 0;
}
