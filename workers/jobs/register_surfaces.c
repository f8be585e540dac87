// register.surfaces: two surfaces of one structure (a scan of the teeth and the teeth of a CT) → the rigid transform
// between them by trimmed ICP (workers/kernels/register.h), written as `register` writes it, and the moving surface in
// the fixed frame.
#include "workers/io/memory.h"
#include "workers/io/meshfile.h"
#include "workers/jobs/register_job.h"
#include "workers/kernels/math.h"
#include "workers/runtime/cli.h"

#include <math.h>
#include <string.h>

struct surfaces {
    struct kf_job_work w;
    struct kf_mesh mesh[2]; // fixed, moving
    struct kf_affine transform, inverse;
    struct kf_register_surfaces_report report;
};

static enum kf_status read_surfaces(struct surfaces *s, struct kf_error *err)
{
    static const char *const names[2] = {"fixed", "moving"};
    for (int n = 0; n < 2; n++) {
        const struct kf_job_input *input = kf_job_input_named(s->w.job, names[n]);
        if (!input)
            return kf_error_set(err, KF_INVALID, "input_missing", "the job needs an input named %s", names[n]);
        enum kf_status status = kf_job_read_mesh(&s->w.work, input, &s->mesh[n], err);
        if (status)
            return status;
    }
    return KF_OK;
}

static enum kf_status align(struct surfaces *s, struct kf_error *err)
{
    const struct kf_job_context *job = s->w.job;
    const struct kf_job_input *given = kf_job_input_named(job, "start");
    struct kf_affine start;
    struct kf_register_surfaces how = {.keep = kf_job_double(job, "keep"),
                                       .points = kf_job_integer(job, "points"),
                                       .iterations = (int)kf_job_integer(job, "iterations")};
    if (given) {
        enum kf_status status = kf_register_transform_read(given, &start, err);
        if (status)
            return status;
        how.start = &start;
    }
    enum kf_kernel_status done =
        kf_register_surfaces(&s->w.work, &s->mesh[0], &s->mesh[1], &how, &s->transform, &s->report);
    if (done == KF_KERNEL_INVALID || (!done && kf_affine_invert(&s->transform, &s->inverse)))
        return kf_error_set(err, KF_UNPROCESSABLE, "not_registered",
                            "the surfaces fix no motion: one is empty, or all that counts lies on a line");
    return kf_work_status(done, err, "registering");
}

static enum kf_status write_result(struct surfaces *s, struct kf_error *err)
{
    double turn[9];
    for (int n = 0; n < 9; n++)
        turn[n] = s->transform.m[4 * (n / 3) + n % 3];
    json_t *quality = json_pack("{s:f,s:f,s:f,s:i,s:b}", "rms_mm", s->report.rms_mm, "mean_mm", s->report.mean_mm,
                                "rotation_deg", kf_rotation_angle_rad(turn) * 180 / KF_PI, "iterations",
                                s->report.iterations, "converged", s->report.converged);
    if (!quality)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the transform");
    kf_job_report(s->w.job, "quality", json_incref(quality));
    if (!s->report.converged)
        kf_job_warn(s->w.job, "not_converged", "all iterations were used: look at both surfaces together");
    return kf_register_transform_write(
        s->w.job, kf_register_transform_json("rigid", "surfaces", &s->transform, &s->inverse, quality), err);
}

// The moving surface where it lies in the fixed frame: PLY and STL.
static enum kf_status write_moved(struct surfaces *s, struct kf_error *err)
{
    static const char *const files[2][2] = {{"moved.ply", "model/ply"}, {"moved.stl", "model/stl"}};
    struct kf_mesh *mesh = &s->mesh[1];
    enum kf_status status = KF_OK;
    for (int64_t v = 0; v < mesh->vertices; v++) {
        const double p[3] = {(double)mesh->xyz[3 * v], (double)mesh->xyz[3 * v + 1], (double)mesh->xyz[3 * v + 2]};
        double q[3];
        kf_affine_apply(&s->inverse, p, q);
        for (int a = 0; a < 3; a++)
            mesh->xyz[3 * v + a] = (float)q[a];
    }
    for (int n = 0; n < 2 && !status; n++) {
        const char *path = kf_job_output_path(s->w.job, files[n][0]);
        if (!path)
            return kf_error_set(err, KF_NOMEM, NULL, "no memory for the result");
        status = n ? kf_stl_write(&s->w.work, path, mesh, err) : kf_ply_write(&s->w.work, path, mesh, NULL, err);
        if (!status)
            status = kf_job_output(s->w.job, files[n][0], "mesh", files[n][0], files[n][1],
                                   json_pack("{s:s}", "frame", "LPS mm"));
    }
    return status;
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    struct surfaces s = {.mesh = {{0}, {0}}};
    kf_job_work_init(&s.w, job);
    kf_job_work_stage(&s.w, "reading", 0, 0.2);
    enum kf_status status = read_surfaces(&s, err);
    kf_job_work_stage(&s.w, "registering", 0.2, 0.9);
    if (!status)
        status = align(&s, err);
    kf_job_work_stage(&s.w, "writing", 0.9, 1);
    if (!status)
        status = write_result(&s, err);
    if (!status)
        status = write_moved(&s, err);
    kf_mesh_release(&s.w.work, &s.mesh[0]);
    kf_mesh_release(&s.w.work, &s.mesh[1]);
    return status;
}

// --out FILE.json, --moved FILE.stl or FILE.ply.
static enum kf_status place(struct kf_job_context *job, struct kf_error *err)
{
    const char *moved = kf_job_option(job, "--moved");
    int ply = moved && strcmp(moved + strlen(moved) - 4, ".ply") == 0;
    enum kf_status status = kf_register_transform_place(job, err);
    return status || !moved ? status : kf_job_place_file(kf_job_output_at(job, ply ? 1 : 2).path, moved, err);
}

static const struct kf_cli_flag flags[] = {
    {"--fixed", KF_CLI_INPUT, "fixed", 1, "A surface in whose frame the result lies: PLY, STL or GLB."},
    {"--moving", KF_CLI_INPUT, "moving", 1, "The surface that is brought to it."},
    {"--start", KF_CLI_INPUT, "start", 0,
     "A transform to start from, as register.points writes it; without one the centroids are brought together."},
    {"--moved", KF_CLI_OPTION, NULL, 0, "Where the moving surface in the fixed frame goes (.stl, .ply)."},
    {0},
};

static const struct kf_cli_name names[] = {{"--out", NULL, 1}, {"--moved", ".stl .ply", 0}, {0}};

static const struct kf_job_cli cli = {
    .flags = flags,
    .names = names,
    .place = place,
    .examples = "  kerf-job register.surfaces --fixed teeth_ct.stl --moving scan.stl --out t.json --moved scan_in_ct.stl\n",
};

static const struct kf_job_param params[] = {
    {"keep", KF_PARAM_DOUBLE, 0.3, 1, 0.8, NULL, "1",
     "Share of the closest pairs that count: less where one surface shows what the other lacks."},
    {"points", KF_PARAM_INTEGER, 100, 1e6, 4000, NULL, "1", "Points of each surface that look for the other one."},
    {"iterations", KF_PARAM_INTEGER, 1, 10000, 100, NULL, "1", "Steps at most."},
    {0},
};

const struct kf_job_kind kf_job_register_surfaces = {
    .name = "register.surfaces",
    .version = 1,
    .bitwise = 1,
    .profile = KF_SANDBOX_OPENMP,
    .memory_limit_bytes = 8LL << 30,
    .time_limit_s = 600,
    .summary = "Registers two surfaces by their shape: the rigid transform between them, and the second one moved.",
    .params = params,
    .run = run,
    .cli = &cli,
};
