// Rigid registration beside elastix, whole runs from files to a transform: a head of 256×256×94 voxels and the same
// turned and moved, as CT (mean squares) and as something like MR (mutual information). Usage: bench_register
// HEAD256.nii HEAD512.nii THREADS [RUNS], what kernels.sh runs; it makes images of its own, as the truth has to be
// known. Without elastix only ours is printed. Lines: bench NAME SIZE THREADS PEER PEER_MS OUR_MS RATIO TARGET NOTE.
#include "tests/bench/kernels/elastix.h"
#include "tests/bench/kernels/timing.h"
#include "tests/kernel/register_truth.h"

static const double pose[3] = {6, -4, 8}, shift[3] = {7, -5, 9}, still[3] = {0}, radii[3] = {65, 80, 85};

static int ours_once(const char *moving_name, enum kf_register_metric metric, int threads, struct kf_affine *out)
{
    struct kf_volume v[2] = {{.data = NULL}, {.data = NULL}};
    struct kf_work work;
    struct kf_register_report report;
    struct kf_register how = {.model = KF_REGISTER_RIGID, .metric = metric, .both_ways = 1};
    kf_work_init(&work, threads);
    int failed = elastix_image_read("fixed", &v[0]) || elastix_image_read(moving_name, &v[1]);
    failed = failed || kf_register_images(&work, &v[0], &v[1], &how, out, &report) != KF_KERNEL_OK;
    kf_volume_release(&v[0]);
    kf_volume_release(&v[1]);
    return failed;
}

// The map of elastix's EulerTransform: x → Rz·Rx·Ry·(x - c) + c + t.
static int read_elastix(struct kf_affine *out)
{
    char line[512];
    double p[6], c[3];
    int found = 0;
    FILE *f = elastix_open("out/TransformParameters.0", ".txt", "r");
    while (f && fgets(line, sizeof line, f)) {
        found |=
            sscanf(line, "(TransformParameters %lf %lf %lf %lf %lf %lf", p, p + 1, p + 2, p + 3, p + 4, p + 5) == 6;
        found |= 2 * (sscanf(line, "(CenterOfRotationPoint %lf %lf %lf", c, c + 1, c + 2) == 3);
    }
    if (f)
        fclose(f);
    if (found != 3)
        return -1;
    double r[3][9];
    for (int a = 0; a < 3; a++) {
        double w[3] = {0};
        w[a] = p[a];
        kf_rotation_exp(w, r[a]);
    }
    const int order[3] = {2, 0, 1};
    struct kf_affine t;
    kf_affine_identity(out);
    for (int n = 0; n < 3; n++) {
        for (int i = 0; i < 12; i++)
            t.m[i] = i % 4 == 3 ? 0 : r[order[n]][i / 4 * 3 + i % 4];
        kf_affine_chain(out, &t, out);
    }
    for (int i = 0; i < 3; i++)
        out->m[4 * i + 3] =
            c[i] + p[3 + i] - out->m[4 * i] * c[0] - out->m[4 * i + 1] * c[1] - out->m[4 * i + 2] * c[2];
    return 0;
}

static int elastix_once(const char *moving_name, const char *parameters, int threads, struct kf_affine *out)
{
    return elastix_run(moving_name, parameters, NULL, threads) ? -1 : read_elastix(out);
}

// ---- the table ----

struct result {
    double ms, mean, most;
};

static struct result measure(int elastix, const char *moving, enum kf_register_metric metric, int threads, int runs)
{
    struct result r = {-1, -1, -1};
    double ms[16];
    struct kf_affine found, truth = truth_motion(truth_head_centre, pose, shift);
    for (int n = 0; n < runs; n++) {
        double start = timing_now_ms();
        if (elastix ? elastix_once(moving, metric == KF_REGISTER_MI ? "mi" : "msd", threads, &found)
                    : ours_once(moving, metric, threads, &found))
            return r;
        ms[n] = timing_now_ms() - start;
    }
    r.ms = timing_median(ms, runs);
    r.mean = truth_error(&found, &truth, truth_head_centre, radii, &r.most);
    return r;
}

static void print_line(const char *name, const char *moving, enum kf_register_metric metric, int threads, int runs)
{
    struct result ours = measure(0, moving, metric, threads, runs), theirs = {-1, -1, -1};
    if (elastix_is_there())
        theirs = measure(1, moving, metric, threads, runs);
    printf("bench\t%s\thead256\t%d\telastix\t", name, threads);
    if (ours.ms < 0)
        printf("-\t-\t-\t10\tfailed\n");
    else if (theirs.ms < 0)
        printf("-\t%.1f\t-\t10\tTRE mean/max %.3f/%.3f mm, no peer\n", ours.ms, ours.mean, ours.most);
    else
        printf("%.1f\t%.1f\t%.2f\t10\tfrom files; TRE mean/max %.3f/%.3f mm, theirs %.3f/%.3f\n", theirs.ms, ours.ms,
               theirs.ms / ours.ms, ours.mean, ours.most, theirs.mean, theirs.most);
    fflush(stdout);
}

static int write_images(void)
{
    const int64_t dim[3] = {256, 256, 94};
    static const char *const names[3] = {"fixed", "ct", "mr"};
    for (int i = 0; i < 3; i++) {
        struct kf_volume v;
        if (truth_make("head", dim, i ? pose : still, i ? shift : still, &v))
            return -1;
        if (i == 2)
            truth_as_mr(&v);
        int failed = elastix_image(names[i], &v);
        kf_volume_release(&v);
        if (failed)
            return -1;
    }
    return elastix_parameters("mi", "EulerTransform", "AdvancedMattesMutualInformation", 250, "") ||
           elastix_parameters("msd", "EulerTransform", "AdvancedMeanSquares", 250, "");
}

int main(int argc, char **argv)
{
    int threads = argc > 3 ? atoi(argv[3]) : 0, runs = argc > 4 ? atoi(argv[4]) : 3;
    if (threads < 1 || runs < 1 || runs > 16 || elastix_begin()) {
        fprintf(stderr, "usage: bench_register HEAD256.nii HEAD512.nii THREADS [RUNS]\n");
        return 2;
    }
    if (write_images()) {
        fprintf(stderr, "cannot write the images\n");
        return 1;
    }
    print_line("rigid-mi", "mr", KF_REGISTER_MI, threads, runs);
    print_line("rigid-msd", "ct", KF_REGISTER_MSD, threads, runs);
    return elastix_end() ? 1 : 0;
}
