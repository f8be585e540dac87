// Fast marching, watershed, grow from seeds, graph cut, random walker beside their peers, in one run.
// Usage: bench_regions FILE.raw NX NY NZ SX SY SZ CUBE [PEER…]: int16 voxels, spacing in mm; CUBE is the edge of the region
// for the cut and the walker; each PEER is a program that is run with the same first arguments and prints "name ms check".
#include "tests/bench/kernels/regions_input.h"
#include "workers/io/memory.h"
#include "workers/kernels/fast_marching.h"
#include "workers/kernels/graph_cut.h"
#include "workers/kernels/grow.h"
#include "workers/kernels/random_walker.h"
#include "workers/kernels/watershed.h"

#include <math.h>

#define ROWS 8

struct row {
    char name[48];
    double ms[2], peer_ms, check, peer_check;
};

static struct row rows[ROWS];
static int row_count;

static struct row *row_named(const char *name)
{
    for (int n = 0; n < row_count; n++)
        if (strcmp(rows[n].name, name) == 0)
            return &rows[n];
    if (row_count == ROWS)
        exit(1);
    snprintf(rows[row_count].name, sizeof rows[row_count].name, "%s", name);
    return &rows[row_count++];
}

static void must(enum kf_kernel_status status, const char *what)
{
    if (status) {
        fprintf(stderr, "%s failed: %d\n", what, (int)status);
        exit(1);
    }
}

static int64_t share(const uint8_t *labels, int64_t n, uint8_t value)
{
    int64_t count = 0;
    for (int64_t v = 0; v < n; v++)
        count += labels[v] == value;
    return count;
}

// The best of three; once when it takes long.
#define TIME(name, threads, before, call)                                                                              \
    do {                                                                                                               \
        double best = 1e30;                                                                                            \
        for (int r = 0; r < 3 && (r == 0 || best < 3000); r++) {                                                       \
            before;                                                                                                    \
            double start = bench_ms();                                                                                 \
            must(call, name);                                                                                          \
            double spent = bench_ms() - start;                                                                         \
            best = spent < best ? spent : best;                                                                        \
        }                                                                                                              \
        row_named(name)->ms[(threads)-1] = best;                                                                       \
    } while (0)

static struct kf_volume volume_of(const struct bench_input *in, enum kf_voxel_type type, void *data)
{
    return (struct kf_volume){.grid = {.dim = {in->dim[0], in->dim[1], in->dim[2]},
                                       .spacing_mm = {in->spacing[0], in->spacing[1], in->spacing[2]},
                                       .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}},
                              .type = type,
                              .data = data};
}

static void bench_march(const struct bench_input *in, int threads)
{
    struct kf_work work;
    kf_work_init(&work, threads);
    float *speed = bench_speed(in), *time = kf_memory_take(in->voxels * 4);
    struct kf_volume volume = volume_of(in, KF_VOXEL_FLOAT32, speed);
    const struct kf_front_seed seed = {bench_middle(in), 0};
    TIME("fast marching", threads, memset(time, 0, (size_t)in->voxels * 4),
         kf_fast_marching(&work, &volume, &seed, 1, INFINITY, time));
    double sum = 0;
    for (int64_t v = 0; v < in->voxels; v++)
        sum += (double)time[v];
    row_named("fast marching")->check = sum / (double)in->voxels;
    free(speed);
    kf_memory_release(time);
}

static void bench_watershed(const struct bench_input *in, int threads)
{
    struct kf_work work;
    kf_work_init(&work, threads);
    int16_t *relief = bench_relief(in);
    uint8_t *seeds = bench_seeds(in, 500), *labels = kf_memory_take(in->voxels);
    struct kf_volume volume = volume_of(in, KF_VOXEL_INT16, relief);
    TIME("watershed", threads, memcpy(labels, seeds, (size_t)in->voxels), kf_watershed(&work, &volume, NULL, labels));
    row_named("watershed")->check = (double)share(labels, in->voxels, 1);
    free(relief);
    free(seeds);
    kf_memory_release(labels);
}

static void bench_grow(const struct bench_input *in, int threads, enum kf_neighbours kind, const char *name)
{
    struct kf_work work;
    kf_work_init(&work, threads);
    uint8_t *seeds = bench_seeds(in, 500), *labels = kf_memory_take(in->voxels);
    uint32_t *state = kf_memory_take(in->voxels * 4);
    struct kf_volume volume = volume_of(in, KF_VOXEL_INT16, in->value);
    TIME(name, threads, memset(state, 0xff, (size_t)in->voxels * 4), kf_grow(&work, &volume, kind, seeds, state, labels));
    row_named(name)->check = (double)share(labels, in->voxels, 1);
    if (kind == KF_NEIGHBOURS_26) {
        // A stroke of the brush: a ball of voxels in the middle becomes bone, then is taken back.
        int64_t middle = bench_middle(in);
        double start = bench_ms();
        for (int64_t n = -3; n <= 3; n++)
            seeds[middle + n] = 1;
        must(kf_grow(&work, &volume, kind, seeds, state, NULL), name);
        double there = bench_ms();
        for (int64_t n = -3; n <= 3; n++)
            seeds[middle + n] = 0;
        must(kf_grow(&work, &volume, kind, seeds, state, NULL), name);
        printf("# %s: a stroke of 7 seeds added %.1f ms, taken back %.1f ms\n", name, there - start, bench_ms() - there);
    }
    free(seeds);
    kf_memory_release(labels);
    kf_memory_release(state);
}

static void bench_cut(const struct bench_input *cube, int threads)
{
    struct kf_work work;
    kf_work_init(&work, threads);
    static struct kf_cut_links links;
    const double even[3] = {1, 1, 1};
    int32_t *terminal = bench_terminals(cube);
    uint8_t *inside = kf_memory_take(cube->voxels);
    int64_t flow;
    struct kf_volume volume = volume_of(cube, KF_VOXEL_INT16, cube->value);
    must(kf_cut_links_make(even, 120, 200, &links), "links");
    for (int d = 0; d < KF_CUT_DIFFERENCES; d++) // as the peer rounds
        for (int a = 0; a < 3; a++)
            links.link[a][d] = (uint16_t)bench_link(d);
    TIME("graph cut", threads, , kf_graph_cut(&work, &volume, terminal, &links, inside, &flow));
    row_named("graph cut")->check = (double)flow;
    free(terminal);
    kf_memory_release(inside);
}

static void bench_walker(const struct bench_input *cube, int threads)
{
    struct kf_work work;
    kf_work_init(&work, threads);
    uint8_t *seeds = bench_seeds(cube, 50), *labels = kf_memory_take(cube->voxels);
    struct kf_volume volume = volume_of(cube, KF_VOXEL_INT16, cube->value);
    // The peer's beta of 130 on values / 1000: exp(-130·(d/1000)²/(10·σ)), σ the standard deviation.
    const struct kf_walk_options options = {.sigma = bench_walk_sigma(cube), .tolerance = 1e-3, .most_iterations = 1000};
    struct kf_walk_report report;
    TIME("random walker", threads, , kf_random_walker(&work, &volume, seeds, &options, labels, NULL, &report));
    row_named("random walker")->check = (double)share(labels, cube->voxels, 1);
    if (threads == 1)
        printf("# random walker: %d iterations, sigma %.1f, residual %.2g\n", report.iterations, options.sigma,
               report.residual);
    free(seeds);
    kf_memory_release(labels);
}

static void run_peer(const char *program, char **argv)
{
    char command[1024], line[256];
    snprintf(command, sizeof command, "%s %s %s %s %s %s %s %s %s", program, argv[1], argv[2], argv[3], argv[4], argv[5],
             argv[6], argv[7], argv[8]);
    FILE *pipe = popen(command, "r");
    while (pipe && fgets(line, sizeof line, pipe)) {
        char name[48];
        double ms, check;
        if (sscanf(line, "%47[^|]| %lf %lf", name, &ms, &check) != 3)
            continue;
        struct row *row = row_named(name);
        row->peer_ms = ms;
        row->peer_check = check;
    }
    if (!pipe || pclose(pipe))
        fprintf(stderr, "%s did not run\n", program);
}

int main(int argc, char **argv)
{
    if (argc < 9)
        return 2;
    struct bench_input in = bench_read(argv);
    struct bench_input cube = bench_cube(&in, atoi(argv[8]));
    for (int threads = 1; threads <= 2; threads++) {
        bench_march(&in, threads);
        bench_watershed(&in, threads);
        bench_grow(&in, threads, KF_NEIGHBOURS_6, "grow from seeds 6");
        bench_grow(&in, threads, KF_NEIGHBOURS_26, "grow from seeds 26");
        bench_cut(&cube, threads);
        bench_walker(&cube, threads);
    }
    for (int n = 9; n < argc; n++)
        run_peer(argv[n], argv);
    printf("kernel | ours 1T ms | ours 2T ms | peer ms | ratio\n");
    for (int n = 0; n < row_count; n++)
        printf("%s | %.1f | %.1f | %.1f | %.2f   (check %.6g, peer's %.6g)\n", rows[n].name, rows[n].ms[0], rows[n].ms[1],
               rows[n].peer_ms, rows[n].ms[0] > 0 ? rows[n].peer_ms / rows[n].ms[0] : 0, rows[n].check, rows[n].peer_check);
    free(in.value);
    free(cube.value);
    return 0;
}
