// view: a volume or a label map as the browser wants it (workers/io/kvv.h).
#include "workers/io/kvv.h"
#include "workers/io/memory.h"
#include "workers/jobs/shared.h"
#include "workers/runtime/cli.h"

#include <stddef.h>

static const char *const image_keys[] = {"modality", "units", "value_range", "window", "series_uid",
                                         "frame_of_reference_uid", "series_description", "quality", "corrections",
                                         NULL};
static const char *const label_keys[] = {"segments", NULL};

static enum kf_status declare(struct kf_job_context *job, const struct kf_job_input *input,
                              const struct kf_volume *volume, const char *file, json_t *view, struct kf_error *err)
{
    int labels = volume->type == KF_VOXEL_UINT8;
    json_t *meta = json_pack("{s:o, s:O}", "grid", kf_grid_json(&volume->grid), "view", view);
    if (!meta)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the view");
    kf_meta_copy(meta, input->meta, labels ? label_keys : image_keys);
    return kf_job_output(job, "view", labels ? "segmentation.view" : "volume.view", file,
                         "application/vnd.kerf.view", meta);
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    const struct kf_job_input *input = kf_job_input_named(job, "volume");
    if (!input)
        return kf_error_set(err, KF_INVALID, "input_missing", "the job needs an input named volume");
    struct kf_job_work w;
    kf_job_work_init(&w, job);
    kf_job_work_stage(&w, "reading", 0, 0.1);
    struct kf_volume volume;
    enum kf_status status = kf_job_read_volume(&w.work, input, KF_NIFTI_EITHER, &volume, err);
    if (status)
        return status;
    const char *file = volume.type == KF_VOXEL_UINT8 ? "labels.kvv" : "volume.kvv";
    const char *path = kf_job_output_path(job, file);
    json_t *view = NULL;
    kf_job_work_stage(&w, "packing", 0.1, 1);
    status = path ? kf_kvv_write(&w.work, path, &volume, &view, err)
                  : kf_error_set(err, KF_NOMEM, NULL, "no memory for the view");
    if (!status)
        status = declare(job, input, &volume, file, view, err);
    json_decref(view);
    kf_job_report(job, "peak_memory_bytes", json_integer((json_int_t)kf_memory_peak()));
    kf_volume_release(&volume);
    return status;
}

// --out FILE.kvv, with the directory beside it as FILE.json.
static enum kf_status place(struct kf_job_context *job, struct kf_error *err)
{
    const char *out = kf_job_option(job, "--out");
    struct kf_job_output_view view = kf_job_output_at(job, 0);
    char table[4096];
    int length = snprintf(table, sizeof table, "%s.json", out);
    if (length < 0 || length >= (int)sizeof table)
        return kf_error_set(err, KF_INVALID, "bad_usage", "the name after --out is too long");
    enum kf_status status = kf_job_place_file(view.path, out, err);
    return status ? status : kf_json_save(table, view.meta, err);
}

static const struct kf_cli_flag flags[] = {
    {"--image", KF_CLI_VOLUME, "volume", 1, "A volume; one that stores uint8 is taken for a label map."},
    {0},
};

static const struct kf_cli_name names[] = {{"--out", NULL, 1}, {0}};

static const struct kf_job_cli cli = {
    .flags = flags,
    .names = names,
    .place = place,
    .examples = "  kerf-job view --image ct.nii.gz --out ct.kvv    (the directory goes to ct.kvv.json)\n",
};

static const struct kf_job_param params[] = {{0}};

const struct kf_job_kind kf_job_view = {
    .name = "view",
    .version = 1,
    .bitwise = 1,
    .profile = KF_SANDBOX_OPENMP,
    .memory_limit_bytes = 12LL << 30,
    .time_limit_s = 600,
    .summary = "Packs a volume or a label map for the browser: levels of detail in parts that are fetched by range.",
    .params = params,
    .run = run,
    .cli = &cli,
};
