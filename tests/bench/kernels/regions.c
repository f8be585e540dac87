// Fast marching, watershed, grow from seeds, graph cut, random walker: `bench_regions VOLUME.nii NAME THREADS REPEATS
// [EDGE]` prints the median in milliseconds, the most bytes in use (input, output, scratch), the bytes of its input
// (with the seeds), the longest time in milliseconds without a question whether to go on, and a number that the peer
// prints too (a mean, a count or the flow). EDGE: a cube from the middle. Peers: peer_regions.cxx, peer_maxflow.cxx;
// kernels.sh runs both.
#include "tests/bench/kernels/counted.h"
#include "tests/bench/kernels/regions_input.h"
#include "tests/bench/kernels/timing.h"
#include "workers/io/memory.h"
#include "workers/kernels/fast_marching.h"
#include "workers/kernels/graph_cut.h"
#include "workers/kernels/grow.h"
#include "workers/kernels/random_walker.h"
#include "workers/kernels/watershed.h"

#include <math.h>

struct result {
    double ms, check;
    int64_t in, out; // bytes of the kernel's input and output
};

static int threads_wanted, repeats;
static struct counted counted;

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

#define TIME(name, before, call)                                                                                       \
    do {                                                                                                               \
        double spent[32];                                                                                              \
        for (int r = 0; r < repeats; r++) {                                                                            \
            before;                                                                                                    \
            double start = bench_ms();                                                                                 \
            counted_start(&counted);                                                                                   \
            must(call, name);                                                                                          \
            counted_asked(&counted);                                                                                   \
            spent[r] = bench_ms() - start;                                                                             \
        }                                                                                                              \
        result->ms = timing_median(spent, repeats);                                                                    \
    } while (0)

static struct kf_volume volume_of(const struct bench_input *in, enum kf_voxel_type type, void *data)
{
    return (struct kf_volume){.grid = {.dim = {in->dim[0], in->dim[1], in->dim[2]},
                                       .spacing_mm = {in->spacing[0], in->spacing[1], in->spacing[2]},
                                       .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}},
                              .type = type,
                              .data = data};
}

static void bench_march(const struct bench_input *in, struct result *result)
{
    struct kf_work work = counted_work(&counted, threads_wanted);
    float *speed = bench_speed(in), *time = kf_memory_take(in->voxels * 4);
    struct kf_volume volume = volume_of(in, KF_VOXEL_FLOAT32, speed);
    const struct kf_front_seed seed = {bench_middle(in), 0};
    TIME("fast marching", memset(time, 0, (size_t)in->voxels * 4),
         kf_fast_marching(&work, &volume, &seed, 1, INFINITY, time));
    double sum = 0;
    for (int64_t v = 0; v < in->voxels; v++)
        sum += (double)time[v];
    result->check = sum / (double)in->voxels;
    free(speed);
    kf_memory_release(time);
}

static void bench_watershed(const struct bench_input *in, struct result *result)
{
    struct kf_work work = counted_work(&counted, threads_wanted);
    int16_t *relief = bench_relief(in);
    uint8_t *seeds = bench_seeds(in, 500), *labels = kf_memory_take(in->voxels);
    struct kf_volume volume = volume_of(in, KF_VOXEL_INT16, relief);
    TIME("watershed", memcpy(labels, seeds, (size_t)in->voxels), kf_watershed(&work, &volume, NULL, labels));
    result->check = (double)share(labels, in->voxels, 1);
    free(relief);
    free(seeds);
    kf_memory_release(labels);
}

static void bench_grow(const struct bench_input *in, enum kf_neighbours kind, struct result *result)
{
    struct kf_work work = counted_work(&counted, threads_wanted);
    uint8_t *seeds = bench_seeds(in, 500), *labels = kf_memory_take(in->voxels);
    uint32_t *state = kf_memory_take(in->voxels * 4);
    struct kf_volume volume = volume_of(in, KF_VOXEL_INT16, in->value);
    TIME("grow from seeds", memset(state, 0xff, (size_t)in->voxels * 4),
         kf_grow(&work, &volume, kind, seeds, state, labels));
    result->check = (double)share(labels, in->voxels, 1);
    free(seeds);
    kf_memory_release(labels);
    kf_memory_release(state);
}

static void bench_cut(const struct bench_input *cube, struct result *result)
{
    struct kf_work work = counted_work(&counted, threads_wanted);
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
    TIME("graph cut", , kf_graph_cut(&work, &volume, terminal, &links, inside, &flow));
    result->check = (double)flow;
    free(terminal);
    kf_memory_release(inside);
}

static void bench_walker(const struct bench_input *cube, struct result *result)
{
    struct kf_work work = counted_work(&counted, threads_wanted);
    uint8_t *seeds = bench_seeds(cube, 50), *labels = kf_memory_take(cube->voxels);
    struct kf_volume volume = volume_of(cube, KF_VOXEL_INT16, cube->value);
    // The peer's beta of 130 on values / 1000: exp(-130·(d/1000)²/(10·σ)), σ the standard deviation.
    const struct kf_walk_options options = {.sigma = bench_walk_sigma(cube), .tolerance = 1e-3, .most_iterations = 1000};
    struct kf_walk_report report;
    TIME("random walker", , kf_random_walker(&work, &volume, seeds, &options, labels, NULL, &report));
    result->check = (double)share(labels, cube->voxels, 1);
    free(seeds);
    kf_memory_release(labels);
}

int main(int argc, char **argv)
{
    struct bench_input in = bench_arguments(argc, argv, &threads_wanted, &repeats);
    struct result result = {.in = 3 * in.voxels}; // seeds of one byte; labels take their place
    if (strcmp(argv[2], "march") == 0) {
        bench_march(&in, &result);
        result.in = result.out = 4 * in.voxels;
    } else if (strcmp(argv[2], "watershed") == 0) {
        bench_watershed(&in, &result);
    } else if (strcmp(argv[2], "grow6") == 0 || strcmp(argv[2], "grow26") == 0) {
        bench_grow(&in, argv[2][4] == '6' ? KF_NEIGHBOURS_6 : KF_NEIGHBOURS_26, &result);
        result.out = 5 * in.voxels; // labels of one byte, the state that later strokes go on from
    } else if (strcmp(argv[2], "cut") == 0) {
        bench_cut(&in, &result);
        result.in = 6 * in.voxels; // terminals of four bytes
        result.out = in.voxels;
    } else if (strcmp(argv[2], "walk") == 0) {
        bench_walker(&in, &result);
        result.out = in.voxels;
    } else {
        return 2;
    }
    printf("%.3f %lld %lld %.1f %.9g\n", result.ms, (long long)(result.in + result.out + counted.peak),
           (long long)result.in, counted.silence_ms, result.check);
    free(in.value);
    return 0;
}
