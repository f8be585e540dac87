// Image kernels on a volume: `bench_image VOLUME.nii NAME THREADS REPEATS` prints the median in milliseconds, the most
// bytes in use (input, output and what the kernel took), the bytes of its input, which for kernels on masks is one bit
// per voxel, and the longest time in milliseconds without a question whether to go on. VOLUME.labels.nii is read for
// those on labels. The peer is peer_image.cxx; kernels.sh runs both.
#include "tests/bench/kernels/counted.h"
#include "tests/bench/kernels/timing.h"
#include "workers/io/memory.h"
#include "workers/io/nifti.h"
#include "workers/kernels/bias.h"
#include "workers/kernels/bits.h"
#include "workers/kernels/diffusion.h"
#include "workers/kernels/distance.h"
#include "workers/kernels/gradient.h"
#include "workers/kernels/image.h"
#include "workers/kernels/median.h"
#include "workers/kernels/otsu.h"
#include "workers/kernels/resample.h"
#include "workers/kernels/surface.h"
#include "workers/kernels/surface_labels.h"

#include <math.h>
#include <string.h>

#define STEPS 2 // of the diffusion, as in peer_image.cxx

struct bench {
    struct kf_volume in, out; // out: int16 of the same size
    struct kf_volume labels;  // of the phantom, when they are asked for
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

static enum kf_kernel_status close_by(const struct kf_work *work, struct bench *b, double radius)
{
    const double unit[3] = {1, 1, 1};
    kf_bits_combine(work, &b->spare, KF_BITS_COPY, &b->bone);
    return kf_bits_close(work, &b->spare, unit, radius);
}

static enum kf_kernel_status closing(const struct kf_work *work, struct bench *b)
{
    return close_by(work, b, 2);
}

static enum kf_kernel_status closing4(const struct kf_work *work, struct bench *b)
{
    return close_by(work, b, 4);
}

static enum kf_kernel_status closing8(const struct kf_work *work, struct bench *b)
{
    return close_by(work, b, 8);
}

// The head as if it were an MR with a coil's gain: bias_gain is repeated in peer_image.cxx.
static double bias_gain(const int64_t dim[3], int64_t n)
{
    double x = (double)(n % dim[0]) / (double)dim[0], y = (double)(n / dim[0] % dim[1]) / (double)dim[1];
    double z = (double)(n / dim[0] / dim[1]) / (double)dim[2];
    return 0.5 * x - 0.35 * y + 0.45 * z;
}

// RMS of what is left of the gain, to stderr: ITK says the same.
static void bias_left(const struct bench *b)
{
    double sum = 0, square = 0, used = 0;
    for (int64_t n = 0; n < kf_grid_voxels(&b->in.grid); n++)
        if (((const int16_t *)b->in.data)[n] > -524) {
            double d = (double)b->field[n] - bias_gain(b->in.grid.dim, n);
            sum += d, square += d * d, used++;
        }
    fprintf(stderr, "gain left, RMS of the logarithm: %.4f\n", sqrt(square / used - sum / used * (sum / used)));
}

static enum kf_kernel_status bias(const struct kf_work *work, struct bench *b)
{
    static float *shaded; // made once, by the run that warms up
    int64_t count = kf_grid_voxels(&b->in.grid);
    struct kf_volume v = {.grid = b->in.grid, .type = KF_VOXEL_FLOAT32};
    struct kf_bias_settings s;
    kf_bias_defaults(&s);
    s.stop = 0.001;
    enum kf_kernel_status status = kf_bits_threshold(work, &b->in, -523, 32767, &b->spare);
    int first = !shaded;
    if (first && !(shaded = kf_memory_take(count * (int64_t)sizeof *shaded)))
        return KF_KERNEL_NOMEM;
    for (int64_t n = 0; n < count && first; n++) {
        double value = ((const int16_t *)b->in.data)[n] + 1024;
        shaded[n] = (float)((value > 0 ? value : 0) * exp(bias_gain(b->in.grid.dim, n)));
    }
    v.data = shaded;
    if (!status)
        status = kf_bias_find(work, &v, &b->spare, &s, b->field, NULL);
    if (!status && first)
        bias_left(b);
    return status;
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
    return kf_diffuse_curvature(work, &b->in, STEPS, 0.03, 3, b->field);
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

static enum kf_kernel_status surface(const struct kf_work *work, struct bench *b)
{
    const struct kf_surface_input input = {&b->bone, &b->in.grid, &b->in, 300, 1};
    struct kf_mesh mesh;
    enum kf_kernel_status status = kf_surface(work, &input, &mesh);
    kf_mesh_release(work, &mesh);
    return status;
}

static enum kf_kernel_status surface_labels(const struct kf_work *work, struct bench *b)
{
    const struct kf_surface_labels_input input = {.labels = &b->labels, .rounds = 8};
    struct kf_surface_labels net;
    enum kf_kernel_status status = kf_surface_labels(work, &input, &net);
    kf_surface_labels_release(work, &net);
    return status;
}

enum what { BITS = 1, SHORTS = 16, FLOATS = 32, BYTES = 8, NOTHING = 0 }; // bits per voxel

static const struct {
    const char *name;
    bench_run run;
    enum what in, out;
} list[] = {{"threshold", threshold, SHORTS, BITS},
            {"otsu", otsu, SHORTS, NOTHING},
            {"otsu-local", otsu_local, SHORTS, BITS},
            {"components", components, BITS, NOTHING},
            {"fill", fill_holes, BITS, NOTHING}, // in place, as the closings
            {"bias", bias, 32, 32},
            {"closing", closing, BITS, NOTHING},
            {"closing4", closing4, BITS, NOTHING},
            {"closing8", closing8, BITS, NOTHING},
            {"distance", distance, BITS, FLOATS},
            {"distance-band", distance_band, BITS, FLOATS},
            {"median", median, SHORTS, SHORTS},
            {"gaussian", gaussian, SHORTS, FLOATS},
            {"gradient", gradient, SHORTS, FLOATS},
            {"diffusion", diffusion, SHORTS, FLOATS},
            {"linear", linear, SHORTS, SHORTS},
            {"nearest", nearest, SHORTS, SHORTS},
            {"cubic", cubic, SHORTS, SHORTS},
            {"surface", surface, SHORTS, NOTHING},
            {"surface-labels", surface_labels, BYTES, NOTHING}};

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

static int prepare(struct bench *b, const char *path, const char *what)
{
    struct kf_error err;
    struct kf_work work;
    kf_work_init(&work, 2);
    if (kf_nifti_read(NULL, path, 0, -1, KF_NIFTI_IMAGE, &b->in, &err) || b->in.type != KF_VOXEL_INT16 ||
        kf_bits_alloc(&work, b->in.grid.dim, &b->bone) || kf_bits_alloc(&work, b->in.grid.dim, &b->spare) ||
        kf_volume_alloc(&b->out, &b->in.grid, KF_VOXEL_INT16, &err) ||
        kf_bits_threshold(&work, &b->in, 300, 32767, &b->bone))
        return -1;
    if (strcmp(what, "surface-labels") == 0) {
        char name[4096];
        snprintf(name, sizeof name, "%.*s.labels.nii", (int)strlen(path) - 4, path);
        if (strlen(path) < 5 || kf_nifti_read(NULL, name, 0, -1, KF_NIFTI_LABELS, &b->labels, &err))
            return -1;
    }
    b->field = kf_memory_take(kf_grid_voxels(&b->in.grid) * 4);
    make_map(b->map, b->in.grid.origin_lps);
    return b->field ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct counted counted;
    int threads = argc > 3 ? atoi(argv[3]) : 0, repeats = argc > 4 ? atoi(argv[4]) : 0;
    if (threads < 1 || repeats < 1 || repeats > 32 || prepare(&b, argv[1], argv[2])) {
        fprintf(stderr, "usage: bench_image VOLUME.nii NAME THREADS REPEATS, an int16 volume\n");
        return 2;
    }
    struct kf_work work = counted_work(&counted, threads);
    for (size_t n = 0; n < sizeof list / sizeof list[0]; n++) {
        if (strcmp(argv[2], list[n].name) != 0)
            continue;
        double ms[32], voxels = (double)kf_grid_voxels(&b.in.grid);
        for (int r = -1; r < repeats; r++) { // the first one warms up
            double start = timing_now_ms();
            counted_start(&counted);
            if (list[n].run(&work, &b))
                return 1;
            counted_asked(&counted);
            if (r >= 0)
                ms[r] = timing_now_ms() - start;
        }
        double in = voxels * list[n].in / 8, out = voxels * list[n].out / 8;
        printf("%.3f %.0f %.0f %.1f\n", timing_median(ms, repeats), in + out + (double)counted.peak, in,
               counted.silence_ms);
        return 0;
    }
    fprintf(stderr, "no kernel %s\n", argv[2]);
    return 2;
}
