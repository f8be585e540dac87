// Deformable registration beside elastix, whole runs from files to a transform: a head of 256×256×94 voxels and the
// same bent by up to 4 mm, turned and moved, as CT and as something like MR. elastix: rigid, then B-splines of 16 mm,
// both by mutual information. Usage: bench_deform HEAD256.nii HEAD512.nii THREADS, what kernels.sh runs; it makes
// images of its own, as the truth has to be known. Without elastix only ours is printed. Lines: bench NAME SIZE THREADS
// PEER PEER_MS OUR_MS RATIO TARGET NOTE; errors are mean/p95/max over points of the head.
#include "tests/bench/kernels/elastix.h"
#include "tests/bench/kernels/timing.h"
#include "tests/kernel/register_truth.h"
#include "workers/kernels/register_deform.h"

#define POINTS   2000
#define BOUND_MM 1.5 // of our mean error
#define RUNS     3

static const double pose[3] = {6, -4, 8}, shift[3] = {7, -5, 9}, still[3] = {0}, warp_mm = 4;

struct points {
    double fixed[POINTS][3], truth[POINTS][3];
};

struct result {
    double ms, mean, p95, most, rigid_mean;
    struct kf_field_range jacobian;
};

static struct kf_v3 vector(const double p[3])
{
    return KF_V(p[0], p[1], p[2]);
}

// Points of the head and where the moving image shows them.
static void make_points(struct points *points)
{
    const double radii[3] = {65, 80, 85};
    const double *c = truth_head_centre;
    struct kf_place place = {.centre = vector(c),
                             .turn = kf_m_euler(pose[0], pose[1], pose[2]),
                             .shift = vector(shift),
                             .warp_mm = warp_mm,
                             .tilt_cosine = 1,
                             .seed = 1};
    uint64_t state = 99;
    for (int n = 0; n < POINTS;) {
        double inside = 0, *p = points->fixed[n];
        for (int a = 0; a < 3; a++) {
            double u = 2 * (double)(test_random(&state) >> 11) * 0x1p-53 - 1;
            inside += u * u;
            p[a] = c[a] + radii[a] * u;
        }
        if (inside > 1)
            continue;
        struct kf_v3 q = kf_place_to_lps(&place, vector(p));
        points->truth[n][0] = q.x;
        points->truth[n][1] = q.y;
        points->truth[n++][2] = q.z;
    }
}

static void judge(const struct points *points, double found[][3], struct result *r)
{
    static double error[POINTS];
    r->mean = 0;
    for (int n = 0; n < POINTS; n++) {
        double square = 0;
        for (int a = 0; a < 3; a++)
            square += (found[n][a] - points->truth[n][a]) * (found[n][a] - points->truth[n][a]);
        error[n] = sqrt(square);
        r->mean += error[n] / POINTS;
    }
    qsort(error, POINTS, sizeof *error, timing_order);
    r->p95 = error[POINTS * 95 / 100];
    r->most = error[POINTS - 1];
}

static int ours_once(const char *moving, int threads, const struct points *points, struct result *r)
{
    static double found[POINTS][3];
    struct kf_volume v[2] = {{.data = NULL}, {.data = NULL}};
    struct kf_work work;
    struct kf_affine rigid;
    struct kf_field field = {.xyz = NULL};
    struct kf_register_report report;
    struct kf_register_deform_report deform = {.before = 0};
    const struct kf_register how = {.model = KF_REGISTER_RIGID, .metric = KF_REGISTER_MI, .both_ways = 1};
    const struct kf_register_deform bend = {.linear = &rigid, .both_ways = 1};
    kf_work_init(&work, threads);
    double start = timing_now_ms();
    int failed = elastix_image_read("fixed", &v[0]) || elastix_image_read(moving, &v[1]);
    failed = failed || kf_register_images(&work, &v[0], &v[1], &how, &rigid, &report) != KF_KERNEL_OK;
    failed = failed || kf_register_deform(&work, &v[0], &v[1], &bend, &field, &deform) != KF_KERNEL_OK;
    double ms = timing_now_ms() - start;
    memset(found, 0, sizeof found);
    for (int n = 0; n < POINTS && !failed; n++)
        kf_affine_apply(&rigid, points->fixed[n], found[n]);
    judge(points, found, r);
    double rigid_mean = r->mean;
    for (int n = 0; n < POINTS && !failed; n++)
        kf_field_apply(&rigid, &field, points->fixed[n], found[n]);
    judge(points, found, r);
    r->ms = ms;
    r->rigid_mean = rigid_mean;
    r->jacobian = deform.jacobian;
    kf_field_release(&work, &field);
    kf_volume_release(&v[0]);
    kf_volume_release(&v[1]);
    return failed;
}

// ---- elastix ----

static int carry(const struct points *points, double found[][3])
{
    char command[1000], line[2048];
    const char *at = elastix_folder;
    FILE *f = elastix_open("points", ".txt", "w");
    if (!f)
        return -1;
    fprintf(f, "point\n%d\n", POINTS);
    for (int n = 0; n < POINTS; n++)
        fprintf(f, "%.17g %.17g %.17g\n", points->fixed[n][0], points->fixed[n][1], points->fixed[n][2]);
    if (fclose(f))
        return -1;
    snprintf(command, sizeof command,
             "transformix -def %s/points.txt -tp %s/out/TransformParameters.1.txt -out %s/out >%s/log 2>&1", at, at, at,
             at);
    f = system(command) ? NULL : elastix_open("out/outputpoints", ".txt", "r");
    int n = 0;
    while (f && n < POINTS && fgets(line, sizeof line, f)) {
        const char *p = strstr(line, "OutputPoint = [");
        n += p && sscanf(p, "OutputPoint = [ %lf %lf %lf", &found[n][0], &found[n][1], &found[n][2]) == 3;
    }
    if (f)
        fclose(f);
    return n == POINTS ? 0 : -1;
}

static int elastix_once(const char *moving, int threads, const struct points *points, struct result *r)
{
    static double found[POINTS][3];
    double start = timing_now_ms();
    if (elastix_run(moving, "rigid", "bend", threads))
        return -1;
    r->ms = timing_now_ms() - start;
    if (carry(points, found))
        return -1;
    judge(points, found, r);
    return 0;
}

// ---- the table ----

static int print_line(const char *name, const char *moving, int threads, const struct points *points)
{
    struct result ours = {0}, theirs = {0};
    double ms[RUNS];
    int failed = 0, peer = elastix_is_there();
    for (int n = 0; n < RUNS && !failed; n++) {
        failed = ours_once(moving, threads, points, &ours);
        ms[n] = ours.ms;
    }
    peer = peer && !failed && elastix_once(moving, threads, points, &theirs) == 0;
    printf("bench\t%s\thead256\t%d\telastix\t", name, threads);
    if (failed) {
        printf("-\t-\t-\t5\tfailed\n");
        return -1;
    }
    ours.ms = timing_median(ms, RUNS);
    if (peer)
        printf("%.1f\t%.1f\t%.2f\t5\t", theirs.ms, ours.ms, theirs.ms / ours.ms);
    else
        printf("-\t%.1f\t-\t5\tno peer; ", ours.ms);
    printf("from files; TRE %.2f/%.2f/%.2f mm%s, rigid alone %.2f", ours.mean, ours.p95, ours.most,
           ours.mean <= BOUND_MM ? "" : " (missed: mean 1.5)", ours.rigid_mean);
    if (peer)
        printf(", theirs %.2f/%.2f/%.2f", theirs.mean, theirs.p95, theirs.most);
    printf("; Jacobian %.2f to %.2f%s\n", ours.jacobian.least, ours.jacobian.most,
           ours.jacobian.least > 0 ? "" : " (folds)");
    fflush(stdout);
    return 0;
}

static int write_files(void)
{
    const int64_t dim[3] = {256, 256, 94};
    static const char *const names[3] = {"fixed", "ct", "mr"};
    for (int i = 0; i < 3; i++) {
        struct kf_volume v;
        if (truth_make_bent("head", dim, i ? pose : still, i ? shift : still, i ? warp_mm : 0, &v))
            return -1;
        if (i == 2)
            truth_as_mr(&v);
        int failed = elastix_image(names[i], &v);
        kf_volume_release(&v);
        if (failed)
            return -1;
    }
    static const char mi[] = "AdvancedMattesMutualInformation";
    return elastix_parameters("rigid", "EulerTransform", mi, 250, "") ||
           elastix_parameters("bend", "BSplineTransform", mi, 500, "(FinalGridSpacingInPhysicalUnits 16)\n");
}

int main(int argc, char **argv)
{
    static struct points points;
    int threads = argc > 3 ? atoi(argv[3]) : 0, status = 1;
    if (threads < 1 || elastix_begin()) {
        fprintf(stderr, "usage: bench_deform HEAD256.nii HEAD512.nii THREADS\n");
        return 2;
    }
    if (write_files())
        fprintf(stderr, "cannot write the images\n");
    else {
        make_points(&points);
        status = print_line("deform-ct-mr", "mr", threads, &points) != 0;
        status |= print_line("deform-ct-ct", "ct", threads, &points) != 0;
    }
    return elastix_end() ? 1 : status;
}
