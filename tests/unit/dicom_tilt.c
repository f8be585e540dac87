// Spheres of known place, written as DICOM with a tilted gantry or uneven steps, read back and found again: their
// centres must not move by more than 0.1 mm.
#include "server/base/test.h"
#include "workers/dicom/assemble.h"
#include "workers/dicom/write_series.h"
#include "workers/io/memory.h"

#include <dirent.h>
#include <unistd.h>

#define SPHERES 6

static const double centres[SPHERES][3] = {{-20.3, -15.7, 12.2}, {18.9, -22.4, 20.5}, {2.2, 21.6, 25.1},
                                           {-24.6, 14.8, 33.7},  {23.3, 9.1, 40.9},   {-3.8, -2.3, 46.4}};
static const double radius_mm = 5;

// HU at a point: bone spheres in water, the edge 1 mm wide so that sampling keeps the centre of mass.
static double density(const double p[3])
{
    double best = 1e9;
    for (int s = 0; s < SPHERES; s++) {
        double d =
            sqrt((p[0] - centres[s][0]) * (p[0] - centres[s][0]) + (p[1] - centres[s][1]) * (p[1] - centres[s][1]) +
                 (p[2] - centres[s][2]) * (p[2] - centres[s][2])) -
            radius_mm;
        best = d < best ? d : best;
    }
    double inside = 0.5 - best;
    return 1000 * (inside < 0 ? 0 : inside > 1 ? 1 : inside);
}

struct series {
    char folder[64];
    struct kf_instance instances[200];
    struct kf_slice slices[200];
    int count;
};

static void write_geometry(const char *folder, const struct kf_dicom_write_geometry *g, const char *seed)
{
    int64_t n = g->dim[0] * g->dim[1] * g->dim[2];
    int16_t *values = malloc((size_t)n * 2);
    int64_t at = 0;
    for (int64_t k = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++) {
                double p[3];
                for (int r = 0; r < 3; r++)
                    p[r] = g->origin_lps[r] + (double)i * g->step[0][r] + (double)j * g->step[1][r] +
                           (double)k * g->step[2][r];
                values[at++] = (int16_t)rint(density(p));
            }
    struct kf_dicom_write_series s = {.modality = "CT",
                                      .uid_seed = seed,
                                      .patient_name = "Test^Tilt",
                                      .patient_id = "1",
                                      .birth_date = "",
                                      .sex = "O",
                                      .date = "20260101",
                                      .time = "120000",
                                      .study_id = "1",
                                      .study_description = "spheres",
                                      .series_description = "spheres",
                                      .body_part = "HEAD",
                                      .protocol = "test",
                                      .series_number = 1,
                                      .window_centre = 300,
                                      .window_width = 1500,
                                      .geometry = *g,
                                      .values = values};
    int files;
    struct kf_error err = {0};
    KF_CHECK(kf_dicom_write(&s, folder, &files, &err) == KF_OK);
    free(values);
}

static void open_series(struct series *s)
{
    static char paths[200][400];
    DIR *dir = opendir(s->folder);
    s->count = 0;
    for (struct dirent *e; dir && (e = readdir(dir)) && s->count < 200;)
        if (e->d_name[0] != '.') {
            snprintf(paths[s->count], sizeof paths[0], "%s/%s", s->folder, e->d_name);
            struct kf_instance *instance = &s->instances[s->count];
            *instance = (struct kf_instance){.path = paths[s->count], .length = -1};
            struct kf_error err;
            KF_CHECK(kf_instance_open(instance, &err) == KF_OK && instance->problem.status == KF_OK);
            s->slices[s->count] = (struct kf_slice){.instance = s->count,
                                                    .rows = instance->image.rows,
                                                    .columns = instance->image.columns,
                                                    .place = instance->frames[0]};
            s->count++;
        }
    if (dir)
        closedir(dir);
}

static void drop_series(struct series *s)
{
    for (int i = 0; i < s->count; i++) {
        unlink(s->instances[i].path);
        kf_instance_release(&s->instances[i]);
    }
    rmdir(s->folder);
}

static int never_same(void *context, int a, int b)
{
    (void)context;
    return a == b;
}

static double voxel(const struct kf_volume *v, int64_t index)
{
    return v->type == KF_VOXEL_INT16 ? ((const int16_t *)v->data)[index] : (double)((const float *)v->data)[index];
}

// Distance of the centre of mass around a sphere from the truth.
static double miss(const struct kf_volume *v, int sphere)
{
    double sum[3] = {0}, mass = 0;
    for (int64_t k = 0; k < v->grid.dim[2]; k++)
        for (int64_t j = 0; j < v->grid.dim[1]; j++)
            for (int64_t i = 0; i < v->grid.dim[0]; i++) {
                double ijk[3] = {(double)i, (double)j, (double)k}, p[3], d2 = 0;
                kf_grid_to_lps(&v->grid, ijk, p);
                for (int r = 0; r < 3; r++)
                    d2 += (p[r] - centres[sphere][r]) * (p[r] - centres[sphere][r]);
                if (d2 > (radius_mm + 3) * (radius_mm + 3))
                    continue;
                double m = voxel(v, (k * v->grid.dim[1] + j) * v->grid.dim[0] + i);
                m = m < 0 ? 0 : m;
                for (int r = 0; r < 3; r++)
                    sum[r] += m * p[r];
                mass += m;
            }
    double d2 = 0;
    for (int r = 0; r < 3; r++)
        d2 += (sum[r] / mass - centres[sphere][r]) * (sum[r] / mass - centres[sphere][r]);
    return mass > 0 ? sqrt(d2) : 1e9;
}

// Reads the series of a folder and regrids it. 0 when it is not exactly one volume.
static int read_back(struct series *s, struct kf_stack *stack_out, int threads, struct kf_volume *volume)
{
    struct kf_series_plan plan;
    struct kf_pixel_facts facts;
    struct kf_error err = {0};
    if (kf_series_plan(s->slices, s->count, never_same, NULL, &plan, &err) != KF_OK)
        return 0;
    int good = plan.stack_count == 1;
    for (int i = 0; i < plan.problem_count; i++)
        fprintf(stderr, "%s: %s\n", plan.problems[i].code, plan.problems[i].detail);
    if (good) {
        good =
            kf_stack_read(s->instances, s->slices, &plan.stacks[0], threads, NULL, NULL, volume, &facts, &err) == KF_OK;
        *stack_out = plan.stacks[0];
        if (good && (stack_out->sheared || stack_out->uneven))
            good = kf_stack_regrid(&plan.stacks[0], -1024, threads, volume, &facts, &err) == KF_OK;
    }
    kf_series_plan_release(&plan);
    return good;
}

static void check_spheres(const struct kf_volume *v)
{
    double worst = 0;
    for (int s = 0; s < SPHERES; s++)
        worst = fmax(worst, miss(v, s));
    printf("     worst landmark %.4f mm\n", worst);
    KF_CHECK(worst < 0.1);
}

static void tilted(double degrees, double step_mm, double lean_sign)
{
    double a = degrees * 3.14159265358979323846 / 180;
    struct series s = {.folder = "/tmp/kerf-tilt.XXXXXX"};
    struct kf_dicom_write_geometry g = {
        .dim = {128, 128, (int64_t)(70 / step_mm)},
        .origin_lps = {-39.5, -36, 0},
        .step = {{0.6, 0, 0}, {0, 0.6 * cos(a), lean_sign * -0.6 * sin(a)}, {0, 0, step_mm}}};
    g.origin_lps[2] = lean_sign * 36 * sin(a) - 5;
    KF_REQUIRE(mkdtemp(s.folder));
    write_geometry(s.folder, &g, "tilted");
    open_series(&s);
    struct kf_volume one = {0}, three = {0};
    struct kf_stack stack;
    KF_CHECK(read_back(&s, &stack, 1, &one) && read_back(&s, &stack, 3, &three));
    KF_CHECK(stack.sheared);
    KF_CHECK_NEAR(stack.tilt_rad, a, 1e-4);
    if (one.data && three.data) {
        check_spheres(&one);
        KF_CHECK(kf_grid_voxels(&one.grid) == kf_grid_voxels(&three.grid) &&
                 memcmp(one.data, three.data, (size_t)(2 * kf_grid_voxels(&one.grid))) == 0);
    }
    kf_volume_release(&one);
    kf_volume_release(&three);
    drop_series(&s);
}

KF_TEST(tilted_series_keep_their_landmarks)
{
    tilted(18.5, 1.0, 1);
    tilted(18.5, 1.0, -1);
    tilted(7.25, 0.7, 1);
}

// The first 32 slices lie 0.9 mm apart, the other 30 lie 1.2 mm apart.
KF_TEST(uneven_series_keep_their_landmarks)
{
    struct series s = {.folder = "/tmp/kerf-uneven.XXXXXX"};
    char second[64] = "/tmp/kerf-uneven.XXXXXX", from[400], to[400];
    struct kf_dicom_write_geometry narrow = {
        .dim = {128, 128, 32}, .origin_lps = {-39.5, -38, 0}, .step = {{0.6, 0, 0}, {0, 0.6, 0}, {0, 0, 0.9}}};
    struct kf_dicom_write_geometry wide = {.dim = {128, 128, 30},
                                           .origin_lps = {-39.5, -38, 31 * 0.9 + 1.2},
                                           .step = {{0.6, 0, 0}, {0, 0.6, 0}, {0, 0, 1.2}}};
    KF_REQUIRE(mkdtemp(s.folder) && mkdtemp(second));
    write_geometry(s.folder, &narrow, "uneven");
    write_geometry(second, &wide, "uneven");
    for (int i = 1; i <= 30; i++) {
        snprintf(from, sizeof from, "%s/IM%06d.dcm", second, i);
        snprintf(to, sizeof to, "%s/wide%06d.dcm", s.folder, i);
        KF_CHECK(rename(from, to) == 0);
    }
    rmdir(second);
    open_series(&s);
    KF_CHECK_EQ(s.count, 62);
    struct kf_volume volume = {0};
    struct kf_stack stack = {0};
    KF_CHECK(read_back(&s, &stack, 2, &volume));
    KF_CHECK(stack.uneven && !stack.sheared);
    if (volume.data)
        check_spheres(&volume);
    kf_volume_release(&volume);
    drop_series(&s);
}

// A straight series must come back exactly, in every syntax that the writer knows and as one multi-frame object.
KF_TEST(straight_series_come_back_exactly)
{
    static const char *const syntaxes[] = {"explicit", "implicit",      "big-endian", "deflated",
                                           "rle",      "jpeg-lossless", "jpeg-ls"};
    for (int kind = 0; kind < 8; kind++) {
        struct series s = {.folder = "/tmp/kerf-straight.XXXXXX"};
        int16_t values[8 * 6 * 5];
        for (int i = 0; i < 240; i++)
            values[i] = (int16_t)(i * 37 % 4000 - 1000);
        KF_REQUIRE(mkdtemp(s.folder));
        struct kf_dicom_write_series w = {
            .modality = "CT",
            .uid_seed = "straight",
            .patient_name = "A",
            .patient_id = "1",
            .birth_date = "",
            .sex = "O",
            .date = "20260101",
            .time = "120000",
            .study_id = "1",
            .study_description = "d",
            .series_description = "s",
            .body_part = "HEAD",
            .protocol = "p",
            .series_number = 1,
            .window_centre = 40,
            .window_width = 400,
            .values = values,
            .reversed = kind & 1,
            .enhanced = kind == 7,
            .geometry = {.dim = {8, 6, 5}, .origin_lps = {1, 2, 3}, .step = {{0, 0.5, 0}, {0, 0, -0.5}, {-2, 0, 0}}}};
        w.syntax = kf_dicom_write_syntax_find(kind < 7 ? syntaxes[kind] : "explicit");
        int files;
        struct kf_error err = {0};
        KF_CHECK(kf_dicom_write(&w, s.folder, &files, &err) == KF_OK);
        open_series(&s);
        if (w.enhanced) {
            s.count = 5;
            for (int f = 0; f < 5; f++) {
                s.slices[f] = s.slices[0];
                s.slices[f].frame = f;
                s.slices[f].place = s.instances[0].frames[f];
            }
        }
        struct kf_volume volume = {0};
        struct kf_stack stack;
        KF_CHECK(read_back(&s, &stack, 2, &volume));
        if (w.enhanced)
            s.count = 1;
        KF_REQUIRE(volume.data && volume.type == KF_VOXEL_INT16);
        KF_CHECK_NEAR(volume.grid.spacing_mm[2], 2, 1e-9);
        // row × column = -x, so k runs as it was written.
        KF_CHECK(memcmp(volume.data, values, sizeof values) == 0);
        KF_CHECK_NEAR(volume.grid.origin_lps[0], 1, 1e-6);
        KF_CHECK_NEAR(volume.grid.direction[2], -1, 1e-9);
        kf_volume_release(&volume);
        drop_series(&s);
    }
}

KF_TEST_MAIN(KF_RUN(tilted_series_keep_their_landmarks); KF_RUN(uneven_series_keep_their_landmarks);
             KF_RUN(straight_series_come_back_exactly);)
