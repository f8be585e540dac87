// Rigid registration beside elastix, whole runs from files to a transform: a head of 256×256×94 voxels and the same
// turned and moved, as CT (mean squares) and as something like MR (mutual information). elastix gets the parameters
// that it publishes as defaults (4 resolutions, 2048 samples, 32 bins, adaptive stochastic gradient descent). Usage:
// bench_register HEAD256.nii HEAD512.nii THREADS [RUNS], what kernels.sh runs; it makes images of its own, as the truth
// has to be known. Without elastix only ours is printed. Lines: bench NAME SIZE THREADS PEER PEER_MS OUR_MS RATIO
// TARGET NOTE.
#include "tests/kernel/register_truth.h"
#include "workers/io/nifti.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const double pose[3] = {6, -4, 8}, shift[3] = {7, -5, 9}, still[3] = {0}, radii[3] = {65, 80, 85};
static char folder[] = "/tmp/kerf-bench-register.XXXXXX";

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, compare);
    return values[n / 2];
}

static int ours_once(const char *moving_name, enum kf_register_metric metric, int threads, struct kf_affine *out)
{
    char path[2][256];
    struct kf_volume v[2] = {{.data = NULL}, {.data = NULL}};
    struct kf_error err;
    struct kf_work work;
    struct kf_register_report report;
    struct kf_register how = {.model = KF_REGISTER_RIGID, .metric = metric, .both_ways = 1};
    kf_work_init(&work, threads);
    snprintf(path[0], sizeof path[0], "%s/fixed.nii", folder);
    snprintf(path[1], sizeof path[1], "%s/%s.nii", folder, moving_name);
    int failed = 0;
    for (int i = 0; i < 2; i++)
        failed |= kf_nifti_read(path[i], 0, -1, KF_NIFTI_IMAGE, &v[i], &err) != KF_OK;
    failed = failed || kf_register_images(&work, &v[0], &v[1], &how, out, &report) != KF_KERNEL_OK;
    kf_volume_release(&v[0]);
    kf_volume_release(&v[1]);
    return failed;
}

// ---- elastix ----

static int write_parameters(const char *name, const char *metric)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s.txt", folder, name);
    FILE *f = fopen(path, "w");
    if (!f)
        return -1;
    fprintf(f,
            "(FixedInternalImagePixelType \"float\")\n(MovingInternalImagePixelType \"float\")\n"
            "(UseDirectionCosines \"true\")\n(Registration \"MultiResolutionRegistration\")\n"
            "(Interpolator \"BSplineInterpolator\")\n(ResampleInterpolator \"FinalBSplineInterpolator\")\n"
            "(Resampler \"DefaultResampler\")\n(FixedImagePyramid \"FixedRecursiveImagePyramid\")\n"
            "(MovingImagePyramid \"MovingRecursiveImagePyramid\")\n"
            "(Optimizer \"AdaptiveStochasticGradientDescent\")\n(Transform \"EulerTransform\")\n(Metric \"%s\")\n"
            "(AutomaticScalesEstimation \"true\")\n(AutomaticTransformInitialization \"true\")\n"
            "(HowToCombineTransforms \"Compose\")\n(NumberOfHistogramBins 32)\n(ErodeMask \"false\")\n"
            "(NumberOfResolutions 4)\n(MaximumNumberOfIterations 250)\n(NumberOfSpatialSamples 2048)\n"
            "(NewSamplesEveryIteration \"true\")\n(ImageSampler \"Random\")\n(BSplineInterpolationOrder 1)\n"
            "(FinalBSplineInterpolationOrder 3)\n(DefaultPixelValue 0)\n(WriteResultImage \"false\")\n",
            metric);
    return fclose(f);
}

// The map of elastix's EulerTransform: x → Rz·Rx·Ry·(x - c) + c + t.
static int read_elastix(struct kf_affine *out)
{
    char path[256], line[512];
    double p[6], c[3];
    int found = 0;
    snprintf(path, sizeof path, "%s/out/TransformParameters.0.txt", folder);
    FILE *f = fopen(path, "r");
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
    char command[1200];
    snprintf(
        command, sizeof command,
        "rm -rf %s/out && mkdir %s/out && elastix -f %s/fixed.mha -m %s/%s.mha -p %s/%s.txt -out %s/out -threads %d "
        ">%s/log 2>&1",
        folder, folder, folder, folder, moving_name, folder, parameters, folder, threads, folder);
    return system(command) ? -1 : read_elastix(out);
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
        double start = seconds();
        if (elastix ? elastix_once(moving, metric == KF_REGISTER_MI ? "mi" : "msd", threads, &found)
                    : ours_once(moving, metric, threads, &found))
            return r;
        ms[n] = 1000 * (seconds() - start);
    }
    r.ms = median(ms, runs);
    r.mean = truth_error(&found, &truth, truth_head_centre, radii, &r.most);
    return r;
}

static void print_line(const char *name, const char *moving, enum kf_register_metric metric, int threads, int runs)
{
    struct result ours = measure(0, moving, metric, threads, runs), theirs = {-1, -1, -1};
    if (system("elastix --version >/dev/null 2>&1") == 0)
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

// The same as MetaImage, in doubles. All images here lie along the axes of the patient.
static int write_metaimage(const char *name, const struct kf_volume *v)
{
    char path[256];
    const struct kf_grid *g = &v->grid;
    snprintf(path, sizeof path, "%s/%s.mha", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f)
        return -1;
    fprintf(f,
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
            "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = %.17g %.17g %.17g\nElementSpacing = %.17g %.17g %.17g\n"
            "DimSize = %d %d %d\nElementType = MET_SHORT\nElementDataFile = LOCAL\n",
            g->origin_lps[0], g->origin_lps[1], g->origin_lps[2], g->spacing_mm[0], g->spacing_mm[1], g->spacing_mm[2],
            (int)g->dim[0], (int)g->dim[1], (int)g->dim[2]);
    size_t voxels = (size_t)kf_grid_voxels(g), written = fwrite(v->data, 2, voxels, f);
    return fclose(f) || written != voxels ? -1 : 0;
}

static int write_images(void)
{
    const int64_t dim[3] = {256, 256, 94};
    static const char *const names[3] = {"fixed", "ct", "mr"};
    for (int i = 0; i < 3; i++) {
        struct kf_volume v;
        struct kf_error err;
        char path[256];
        snprintf(path, sizeof path, "%s/%s.nii", folder, names[i]);
        if (truth_make("head", dim, i ? pose : still, i ? shift : still, &v))
            return -1;
        if (i == 2)
            truth_as_mr(&v);
        enum kf_status status = kf_nifti_write(path, &v, 2, &err);
        int failed = status != KF_OK || write_metaimage(names[i], &v);
        kf_volume_release(&v);
        if (failed)
            return -1;
    }
    return write_parameters("mi", "AdvancedMattesMutualInformation") || write_parameters("msd", "AdvancedMeanSquares");
}

int main(int argc, char **argv)
{
    int threads = argc > 3 ? atoi(argv[3]) : 0, runs = argc > 4 ? atoi(argv[4]) : 3;
    if (threads < 1 || runs < 1 || runs > 16 || !mkdtemp(folder)) {
        fprintf(stderr, "usage: bench_register HEAD256.nii HEAD512.nii THREADS [RUNS]\n");
        return 2;
    }
    if (write_images()) {
        fprintf(stderr, "cannot write the images\n");
        return 1;
    }
    print_line("rigid-mi", "mr", KF_REGISTER_MI, threads, runs);
    print_line("rigid-msd", "ct", KF_REGISTER_MSD, threads, runs);
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) ? 1 : 0;
}
