// Image kernels on a phantom head beside ITK: `image VOLUME.nii [REPEATS [PEER [NAME,NAME…]]]`. PEER is the program
// bench_peer_image; without it the peer's columns stay empty. One line per kernel:
// kernel | ours 1T ms | ours 2T ms | peer ms | ratio          (peer and ratio with one thread)
#include "tests/bench/kernels/timing.h"
#include "workers/io/memory.h"
#include "workers/io/nifti.h"
#include "workers/kernels/bits.h"
#include "workers/kernels/diffusion.h"
#include "workers/kernels/distance.h"
#include "workers/kernels/gradient.h"
#include "workers/kernels/image.h"
#include "workers/kernels/median.h"
#include "workers/kernels/otsu.h"
#include "workers/kernels/resample.h"

#include <math.h>
#include <string.h>

struct bench {
    struct kf_volume in, out; // out: float or int16 or bytes of the same size
    struct kf_bits bone, spare;
    float *field;
    double map[12];
};

typedef enum kf_kernel_status (*bench_run)(const struct kf_work *work, struct bench *b);

static enum kf_kernel_status threshold(const struct kf_work *work, struct bench *b)
{
    return kf_bits_threshold(work, &b->in, 300, 3071, &b->spare);
}

static enum kf_kernel_status otsu(const struct kf_work *work, struct bench *b)
{
    double t;
    return kf_otsu(work, &b->in, -32768, 32767, &t);
}

static enum kf_kernel_status otsu_local(const struct kf_work *work, struct bench *b)
{
    return kf_otsu_local(work, &b->in, 20, -500, 2000, 200, &b->spare);
}

static enum kf_kernel_status components(const struct kf_work *work, struct bench *b)
{
    struct kf_components found;
    enum kf_kernel_status status = kf_components_find(work, &b->bone, KF_NEIGHBOURS_6, &found);
    kf_components_release(work, &found);
    return status;
}

static enum kf_kernel_status fill_holes(const struct kf_work *work, struct bench *b)
{
    kf_bits_combine(work, &b->spare, KF_BITS_COPY, &b->bone);
    return kf_bits_fill_holes(work, &b->spare, KF_NEIGHBOURS_6, 0, NULL);
}

static enum kf_kernel_status closing(const struct kf_work *work, struct bench *b)
{
    const double unit[3] = {1, 1, 1};
    kf_bits_combine(work, &b->spare, KF_BITS_COPY, &b->bone);
    return kf_bits_close(work, &b->spare, unit, 2);
}

static enum kf_kernel_status distance(const struct kf_work *work, struct bench *b)
{
    return kf_distance(work, &b->bone, b->in.grid.spacing_mm, 0, b->field);
}

static enum kf_kernel_status distance_band(const struct kf_work *work, struct bench *b)
{
    return kf_distance(work, &b->bone, b->in.grid.spacing_mm, 5, b->field);
}

static enum kf_kernel_status median(const struct kf_work *work, struct bench *b)
{
    return kf_median3(work, &b->in, b->out.data);
}

static enum kf_kernel_status gaussian(const struct kf_work *work, struct bench *b)
{
    return kf_gaussian(work, &b->in, 1, b->field);
}

static enum kf_kernel_status gradient(const struct kf_work *work, struct bench *b)
{
    return kf_gradient_magnitude(work, &b->in, 1, b->field);
}

static enum kf_kernel_status diffusion(const struct kf_work *work, struct bench *b)
{
    return kf_diffuse_curvature(work, &b->in, 5, 0.03, 3, b->field);
}

static enum kf_kernel_status linear(const struct kf_work *work, struct bench *b)
{
    return kf_resample(work, &b->in, b->map, KF_RESAMPLE_LINEAR, -1000, &b->out);
}

static enum kf_kernel_status nearest(const struct kf_work *work, struct bench *b)
{
    return kf_resample(work, &b->in, b->map, KF_RESAMPLE_NEAREST, -1000, &b->out);
}

static enum kf_kernel_status cubic(const struct kf_work *work, struct bench *b)
{
    return kf_resample(work, &b->in, b->map, KF_RESAMPLE_CUBIC, -1000, &b->out);
}

static const struct {
    const char *name, *peer; // peer: what bench_peer_image calls it
    bench_run run;
} list[] = {{"threshold", "threshold", threshold},
            {"otsu", "otsu", otsu},
            {"otsu local", NULL, otsu_local},
            {"components", "components", components},
            {"fill holes", "fill", fill_holes},
            {"closing r=2", "closing", closing},
            {"distance", "distance", distance},
            {"distance 5 mm", "distance", distance_band},
            {"median", "median", median},
            {"gaussian 1 mm", "gaussian", gaussian},
            {"gradient 1 mm", "gradient", gradient},
            {"diffusion 5 steps", "diffusion", diffusion},
            {"resample linear", "linear", linear},
            {"resample nearest", "nearest", nearest},
            {"resample cubic", "cubic", cubic}};

static double time_ours(bench_run run, struct bench *b, int threads, int repeats)
{
    struct kf_work work;
    double ms[32];
    kf_work_init(&work, threads);
    for (int r = -1; r < repeats; r++) { // the first one warms up
        double start = timing_now_ms();
        if (run(&work, b))
            return NAN;
        if (r >= 0)
            ms[r] = timing_now_ms() - start;
    }
    return timing_median(ms, repeats);
}

// The peer's time, NaN when there is none: the last number that it prints.
static double time_peer(const char *peer, const char *volume, const char *name)
{
    char command[1024];
    double ms = NAN;
    if (!peer || !name ||
        snprintf(command, sizeof command, "'%s' '%s' %s 1", peer, volume, name) >= (int)sizeof command)
        return NAN;
    FILE *pipe = popen(command, "r");
    if (pipe) {
        if (fscanf(pipe, "%lf", &ms) != 1)
            ms = NAN;
        pclose(pipe);
    }
    return ms;
}

// The map of the peer: 0.12 rad about an oblique axis through the origin of the volume.
static void make_map(double map[12], const double origin[3])
{
    double axis[3] = {0.1, 0.2, 0.97}, c = cos(0.12), s = sin(0.12);
    double length = sqrt(axis[0] * axis[0] + axis[1] * axis[1] + axis[2] * axis[2]);
    for (int a = 0; a < 3; a++)
        axis[a] /= length;
    for (int r = 0; r < 3; r++) {
        map[4 * r + 3] = origin[r];
        for (int k = 0; k < 3; k++) {
            double cross = r == k ? 0 : (k == (r + 1) % 3 ? -1 : 1) * axis[3 - r - k];
            map[4 * r + k] = (r == k ? c : 0) + (1 - c) * axis[r] * axis[k] + s * cross;
            map[4 * r + 3] -= map[4 * r + k] * origin[k];
        }
    }
}

int main(int argc, char **argv)
{
    struct kf_error err;
    struct bench b = {0};
    int repeats = argc > 2 ? atoi(argv[2]) : 5;
    if (argc < 2 || repeats < 1 || repeats > 32 || kf_nifti_read(argv[1], 0, -1, KF_NIFTI_IMAGE, &b.in, &err) ||
        b.in.type != KF_VOXEL_INT16) {
        fprintf(stderr, "usage: image VOLUME.nii [REPEATS 1-32 [PEER [NAMES]]], an int16 volume\n");
        return 2;
    }
    struct kf_work work;
    kf_work_init(&work, 2);
    if (kf_bits_alloc(&work, b.in.grid.dim, &b.bone) || kf_bits_alloc(&work, b.in.grid.dim, &b.spare) ||
        kf_volume_alloc(&b.out, &b.in.grid, KF_VOXEL_INT16, &err) ||
        kf_bits_threshold(&work, &b.in, 300, 32767, &b.bone))
        return 1;
    b.field = kf_memory_take(kf_grid_voxels(&b.in.grid) * 4);
    if (!b.field)
        return 1;
    make_map(b.map, b.in.grid.origin_lps);
    printf("%-18s | %9s | %9s | %9s | %s\n", "kernel", "ours 1T", "ours 2T", "peer 1T", "ratio (ms)");
    for (size_t n = 0; n < sizeof list / sizeof list[0]; n++) {
        if (argc > 4 && !strstr(argv[4], list[n].name))
            continue;
        double one = time_ours(list[n].run, &b, 1, repeats), two = time_ours(list[n].run, &b, 2, repeats);
        double peer = time_peer(argc > 3 && argv[3][0] ? argv[3] : NULL, argv[1], list[n].peer);
        if (isnan(peer))
            printf("%-18s | %9.2f | %9.2f | %9s | -\n", list[n].name, one, two, "-");
        else
            printf("%-18s | %9.2f | %9.2f | %9.1f | %.1f\n", list[n].name, one, two, peer, peer / one);
        fflush(stdout);
    }
    return 0;
}
