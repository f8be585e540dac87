// register: where a point of the fixed image lies in the moving one, by a rigid or affine map or a rigid one and a
// deformation. Gives the transform as JSON, displacements, the moving image on the fixed grid, and points carried over.
//
// transform.json: {"model","frame":"LPS mm","from":"fixed","to":"moving","matrix":[[4],[4],[4],[4]],"inverse":[…],
// "quality":{…}}; matrix · (x, y, z, 1) of the fixed image is the same place in the moving one. With a deformation also
// "deformation":{"convention","grid",…}: matrix · (p + d(p)), d in the displacement file.
#include "workers/io/memory.h"
#include "workers/jobs/register_job.h"
#include "workers/kernels/math.h"
#include "workers/kernels/resample.h"
#include "workers/runtime/cli.h"

#include <math.h>
#include <string.h>

#define LITTLE_SHARE 0.3  // of the fixed samples: below this the overlap is warned of
#define LITTLE_NMI   1.03 // below this the images say next to nothing of each other
#define UNSURE_MM    1.0  // both directions should not disagree by more

// ---- the transform ----

static json_t *quality_json(const struct kf_register_report *q)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:o,s:f,s:f,s:I,s:b}", "start_mi", q->start_mi, "mi", q->mi, "nmi", q->nmi,
                     "msd", q->msd, "overlap", q->overlap, "inverse_mm",
                     q->inverse_mm < 0 ? json_null() : json_real(q->inverse_mm), "moved_mm", q->moved_mm,
                     "rotation_deg", q->rotation_rad * 180 / KF_PI, "evaluations", (json_int_t)q->evaluations,
                     "converged", q->converged);
}

static enum kf_status write_transform(struct kf_register_job *j, struct kf_error *err)
{
    struct kf_job_context *job = j->w.job;
    json_t *file = kf_register_transform_json(kf_job_text(job, "model"), kf_job_text(job, "metric"), &j->transform,
                                              &j->inverse, quality_json(&j->report));
    if (file && j->deformable && json_object_set_new(file, "deformation", kf_register_field_json(j))) {
        json_decref(file);
        file = NULL;
    }
    return kf_register_transform_write(job, file, err);
}

static void report_quality(struct kf_register_job *j)
{
    const struct kf_register_report *q = &j->report;
    struct kf_job_context *job = j->w.job;
    kf_job_report(job, "quality", quality_json(q));
    if (j->deformable)
        kf_job_report(job, "deformation", kf_register_field_json(j));
    if (q->overlap < LITTLE_SHARE)
        kf_job_warn(job, "little_overlap", "only %.0f %% of the fixed image lies in the moving one", 100 * q->overlap);
    if (q->nmi < LITTLE_NMI)
        kf_job_warn(job, "little_in_common", "the images say next to nothing of each other; look at the fused view");
    if (q->inverse_mm > UNSURE_MM)
        kf_job_warn(job, "unsure", "both directions disagree by %.1f mm", q->inverse_mm);
    if (!q->converged)
        kf_job_warn(job, "not_converged", "the last resolution used all its steps");
}

// ---- the warped image ----

// Grey values are those of the moving image; they lie in the frame of the fixed one.
static void say_what_it_shows(const struct kf_job_context *job, json_t *meta)
{
    static const char *const of_moving[] = {"modality",           "units",   "value_range", "window",
                                            "series_description", "quality", "corrections", NULL};
    static const char *const of_fixed[] = {"frame_of_reference_uid", NULL};
    kf_meta_copy(meta, kf_job_input_named(job, "moving")->meta, of_moving);
    kf_meta_copy(meta, kf_job_input_named(job, "fixed")->meta, of_fixed);
}

static enum kf_status write_warped(struct kf_register_job *j, struct kf_error *err)
{
    struct kf_volume warped;
    const char *path = kf_job_output_path(j->w.job, "warped.nii.gz");
    if (!path)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the result");
    enum kf_status status = kf_volume_alloc(&warped, &j->fixed.grid, j->moving.type, err);
    if (status)
        return status;
    double outside = kf_job_double(j->w.job, "outside");
    status = kf_work_status(
        j->deformable ? kf_field_warp(&j->w.work, &j->field, &j->transform, &j->moving, 0, outside, &warped)
                      : kf_resample(&j->w.work, &j->moving, j->transform.m, KF_RESAMPLE_LINEAR, outside, &warped),
        err, "resampling");
    if (!status)
        status = kf_nifti_write(&j->w.work, path, &warped, err);
    json_t *meta = status ? NULL : json_pack("{s:o,s:s}", "grid", kf_grid_json(&warped.grid), "of", "moving");
    if (meta)
        say_what_it_shows(j->w.job, meta);
    if (!status)
        status = kf_job_output(j->w.job, "warped", "volume", "warped.nii.gz", "application/gzip", meta);
    kf_volume_release(&warped);
    return status;
}

// ---- the job ----

static enum kf_status read_one(const struct kf_register_job *j, const char *name, int required, enum kf_nifti_want want,
                               struct kf_volume *out, struct kf_error *err)
{
    const struct kf_job_input *input = kf_job_input_named(j->w.job, name);
    if (input)
        return kf_job_read_volume(&j->w.work, input, want, out, err);
    return required ? kf_error_set(err, KF_INVALID, "input_missing", "the job needs an input named %s", name) : KF_OK;
}

static enum kf_status read_inputs(struct kf_register_job *j, struct kf_error *err)
{
    enum kf_status status = read_one(j, "fixed", 1, KF_NIFTI_IMAGE, &j->fixed, err);
    if (!status)
        status = read_one(j, "moving", 1, KF_NIFTI_IMAGE, &j->moving, err);
    if (!status)
        status = read_one(j, "fixed_mask", 0, KF_NIFTI_LABELS, &j->fixed_mask, err);
    if (!status)
        status = read_one(j, "moving_mask", 0, KF_NIFTI_LABELS, &j->moving_mask, err);
    if (!status && j->deformable)
        status = read_one(j, "rigid_labels", 0, KF_NIFTI_LABELS, &j->rigid_labels, err);
    return status;
}

static enum kf_status settings(const struct kf_register_job *j, struct kf_register *how, struct kf_error *err)
{
    const struct kf_job_context *job = j->w.job;
    const char *model = kf_job_text(job, "model"), *metric = kf_job_text(job, "metric");
    *how = (struct kf_register){
        .model = strcmp(model, "affine") == 0 ? KF_REGISTER_AFFINE : KF_REGISTER_RIGID,
        .metric = strcmp(metric, "msd") == 0 ? KF_REGISTER_MSD : KF_REGISTER_MI,
        .fixed_mask = j->fixed_mask.data ? &j->fixed_mask : NULL,
        .moving_mask = j->moving_mask.data ? &j->moving_mask : NULL,
        .finest_mm = kf_job_double(job, "finest_mm"),
        .samples = kf_job_integer(job, "samples"),
        .both_ways = kf_job_boolean(job, "both_ways"),
    };
    if (strcmp(model, "rigid") != 0 && strcmp(model, "affine") != 0 && strcmp(model, "deformable") != 0)
        return kf_error_set(err, KF_INVALID, "register_model", "the model is rigid, affine or deformable");
    if (strcmp(metric, "mi") != 0 && strcmp(metric, "msd") != 0)
        return kf_error_set(err, KF_INVALID, "register_metric", "the metric is mi or msd");
    return KF_OK;
}

static enum kf_status align(struct kf_register_job *j, struct kf_error *err)
{
    struct kf_register how;
    struct kf_affine start;
    enum kf_status status = settings(j, &how, err);
    const struct kf_job_input *given = kf_job_input_named(j->w.job, "start");
    if (!status && given) {
        status = kf_register_transform_read(given, &start, err);
        how.start = &start;
    }
    if (status)
        return status;
    enum kf_kernel_status done = kf_register_images(&j->w.work, &j->fixed, &j->moving, &how, &j->transform, &j->report);
    if (done == KF_KERNEL_INVALID)
        return kf_error_set(err, KF_UNPROCESSABLE, "not_registered",
                            "the images cannot be registered: too small, without contrast, a mask of another size or "
                            "without voxels, or a start without overlap");
    status = kf_work_status(done, err, "registering");
    if (!status && kf_affine_invert(&j->transform, &j->inverse))
        status = kf_error_set(err, KF_UNPROCESSABLE, "not_registered", "the transform found has no inverse");
    return status;
}

int kf_register_wants(const struct kf_job_context *job, const char *flag, int otherwise)
{
    return kf_job_option(job, "--out") ? kf_job_option(job, flag) != NULL : otherwise;
}

// Stages and their shares of the job's time.
static enum kf_status find(struct kf_register_job *j, struct kf_error *err)
{
    enum kf_status status;
    j->deformable = strcmp(kf_job_text(j->w.job, "model"), "deformable") == 0;
    kf_job_work_stage(&j->w, "reading", 0, j->deformable ? 0.05 : 0.2);
    status = read_inputs(j, err);
    kf_job_work_stage(&j->w, "registering", j->deformable ? 0.05 : 0.2, j->deformable ? 0.2 : 0.7);
    if (!status)
        status = align(j, err);
    if (status || !j->deformable)
        return status;
    kf_job_work_stage(&j->w, "deforming", 0.2, 0.9);
    return kf_register_find_field(j, err);
}

// What a DICOM folder of the warped image must say is asked before any work.
static enum kf_status check_warped(const struct kf_job_context *job, struct kf_error *err)
{
    const struct kf_job_input *moving = kf_job_input_named(job, "moving");
    const char *modality;
    if (!kf_job_wants_dicom(kf_job_option(job, "--warped")))
        return KF_OK;
    return kf_job_dicom_modality(job, moving ? moving->meta : NULL, &modality, err);
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    struct kf_register_job j = {.report = {.mi = 0}};
    kf_job_work_init(&j.w, job);
    enum kf_status status = check_warped(job, err);
    if (!status)
        status = find(&j, err);
    kf_job_work_stage(&j.w, "resampling", j.deformable ? 0.9 : 0.7, 1);
    if (!status)
        status = write_transform(&j, err);
    if (!status && j.deformable)
        status = kf_register_write_field(&j, err);
    if (!status)
        status = kf_register_carry(&j, err);
    if (!status && kf_register_wants(job, "--warped", kf_job_boolean(job, "warp")))
        status = write_warped(&j, err);
    if (!status)
        report_quality(&j);
    kf_job_report(job, "peak_memory_bytes", json_integer((json_int_t)kf_memory_peak()));
    kf_field_release(&j.w.work, &j.field);
    kf_volume_release(&j.rigid_labels);
    kf_volume_release(&j.moving_mask);
    kf_volume_release(&j.fixed_mask);
    kf_volume_release(&j.moving);
    kf_volume_release(&j.fixed);
    return status;
}

// ---- command line ----

static enum kf_status place(struct kf_job_context *job, struct kf_error *err)
{
    static const char *const flag_of[][2] = {
        {"transform", "--out"}, {"points", "--points-out"},         {"points_back", "--points-back-out"},
        {"warped", "--warped"}, {"displacement", "--displacement"}, {"inverse", "--inverse"}};
    enum kf_status status = KF_OK;
    for (int i = 0; i < kf_job_output_count(job) && !status; i++) {
        struct kf_job_output_view view = kf_job_output_at(job, i);
        for (size_t f = 0; f < sizeof flag_of / sizeof *flag_of && !status; f++) {
            const char *to = kf_job_option(job, flag_of[f][1]);
            if (!to || strcmp(view.name, flag_of[f][0]) != 0)
                continue;
            status = strcmp(view.kind, "volume") == 0 ? kf_job_place_image(job, &view, to, flag_of[f][1], err)
                                                      : kf_job_place_file(view.path, to, err);
        }
    }
    return status;
}

static const struct kf_cli_flag flags[] = {
    {"--fixed", KF_CLI_VOLUME, "fixed", 1, "The image whose frame the points are given in."},
    {"--moving", KF_CLI_VOLUME, "moving", 1, "The image that is brought to it."},
    {"--fixed-mask", KF_CLI_INPUT, "fixed_mask", 0, "Labels on the fixed grid: only where they are not 0 is compared."},
    {"--moving-mask", KF_CLI_INPUT, "moving_mask", 0, "The same on the moving grid."},
    {"--rigid-labels", KF_CLI_INPUT, "rigid_labels", 0,
     "deformable: labels on the fixed grid; each (a vertebra) moves as a whole, and the rest deforms."},
    {"--start", KF_CLI_INPUT, "start", 0, "A transform of this job to refine, in place of a search for the start."},
    {"--points", KF_CLI_INPUT, "points", 0, "Lines x,y,z in LPS mm of the fixed frame, to be carried over."},
    {"--points-out", KF_CLI_OPTION, NULL, 0, "Where those points go, in LPS mm of the moving frame."},
    {"--points-back", KF_CLI_INPUT, "points_back", 0, "Lines x,y,z in LPS mm of the moving frame, to be carried back."},
    {"--points-back-out", KF_CLI_OPTION, NULL, 0, "Where those points go, in LPS mm of the fixed frame."},
    {"--warped", KF_CLI_OPTION, NULL, 0,
     "Where the moving image on the fixed grid goes (" KF_JOB_IMAGE_NAMES ")."},
    {"--modality", KF_CLI_OPTION, NULL, 0,
     "CT or MR: what the moving image shows, for a --warped folder of DICOM; needed where the image is no DICOM."},
    {"--displacement", KF_CLI_OPTION, NULL, 0,
     "deformable: where the displacement d goes (.nii.gz, 3 components): q = matrix · (p + d(p)), LPS mm."},
    {"--inverse", KF_CLI_OPTION, NULL, 0,
     "deformable: where the inverse displacement e goes: p = r + e(r) with r = inverse · q."},
    {0},
};

static const struct kf_cli_name names[] = {
    {"--out", NULL, 1},
    {"--warped", KF_JOB_IMAGE_NAMES, 0},
    {"--displacement", ".nii.gz", 0}, // vectors are written as packed NIfTI only, and do not lie under another name
    {"--inverse", ".nii.gz", 0},
    {0},
};

static const struct kf_job_cli cli = {
    .flags = flags,
    .names = names,
    .place = place,
    .examples =
        "  kerf-job register --fixed ct.nii.gz --moving mr.nii.gz --model rigid --out t.json --warped mr_in_ct.nii.gz\n"
        "  kerf-job register --fixed ct/ --moving mr/ --out t.json --warped mr_in_ct/    (DICOM in, DICOM out)\n"
        "  kerf-job register --fixed a.nii.gz --moving b.nii.gz --out t.json --points p.csv --points-out q.csv\n"
        "  kerf-job register --fixed ct.nii.gz --moving mr.nii.gz --model deformable --out t.json --displacement "
        "d.nii.gz --inverse e.nii.gz\n",
};

static const struct kf_job_param params[] = {
    {"model", KF_PARAM_TEXT, 0, 0, 0, "rigid", "1",
     "What the map may do: rigid, affine, or deformable (rigid, and then a smooth deformation)."},
    {"metric", KF_PARAM_TEXT, 0, 0, 0, "mi", "1",
     "mi: mutual information, any two modalities; msd: mean squared difference, for one modality in the same units."},
    {"finest_mm", KF_PARAM_DOUBLE, 0, 20, 0, NULL, "mm",
     "Voxels are merged up to about this size at the last resolution; 0 chooses 1."},
    {"samples", KF_PARAM_INTEGER, 0, 4000000, 0, NULL, "1", "Samples at the last resolution; 0 chooses 80000."},
    {"both_ways", KF_PARAM_BOOLEAN, 0, 0, 1, NULL, "1",
     "Runs the last resolution, and the deformation, in both directions, takes the middle and reports how far both lie "
     "apart (inverse_mm, ways_mean_mm)."},
    {"grid_mm", KF_PARAM_DOUBLE, 0, 40, 0, NULL, "mm",
     "deformable: distance of the nodes of the deformation; voxels are merged to a quarter of it; 0 chooses about 8."},
    {"stiffness", KF_PARAM_DOUBLE, 0, 100, 0, NULL, "1",
     "deformable: weight of smoothness against likeness; 0 chooses 1."},
    {"rigid_blend_mm", KF_PARAM_DOUBLE, 0.5, 100, 10, NULL, "mm",
     "deformable: how far from a rigid label its motion is felt."},
    {"warp", KF_PARAM_BOOLEAN, 0, 0, 1, NULL, "1",
     "Makes the moving image on the fixed grid; on the command line --warped says so."},
    {"outside", KF_PARAM_DOUBLE, -32768, 32767, -1024, NULL, "1",
     "Value of the warped image where there is no moving image (HU for CT; 0 suits MR)."},
    {0},
};

const struct kf_job_kind kf_job_register = {
    .name = "register",
    .version = 7,
    .bitwise = 1,
    .profile = KF_SANDBOX_OPENMP,
    .memory_limit_bytes = 12LL << 30,
    .time_limit_s = 600,
    .summary =
        "Registers two images, rigid, affine or deformable: a transform, points carried over, the image resampled.",
    .params = params,
    .run = run,
    .cli = &cli,
};
