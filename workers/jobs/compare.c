// compare: how well two label maps of one grid agree, label by label: Dice, average surface distance, 95 % Hausdorff
// distance. What the accuracy tables are made with.
#include "workers/io/memory.h"
#include "workers/jobs/shared.h"
#include "workers/kernels/overlap.h"
#include "workers/runtime/cli.h"

#include <stdio.h>
#include <string.h>

static json_t *length_or_null(double mm)
{
    return mm < 0 ? json_null() : json_real(mm);
}

static json_t *score_json(const struct kf_label_score *s, double voxel_ml)
{
    return json_pack("{s:i,s:f,s:o,s:o,s:o,s:f,s:f,s:I,s:I,s:I}", "label", s->label, "dice", s->dice, "assd_mm",
                     length_or_null(s->assd_mm), "hd95_mm", length_or_null(s->hd95_mm), "hd_mm",
                     length_or_null(s->hd_mm), "a_ml", voxel_ml * (double)s->voxels[0], "b_ml",
                     voxel_ml * (double)s->voxels[1], "a_voxels", (json_int_t)s->voxels[0], "b_voxels",
                     (json_int_t)s->voxels[1], "common_voxels", (json_int_t)s->common);
}

static enum kf_status declare(struct kf_job_context *job, const struct kf_label_score *scores, int count,
                              const struct kf_grid *grid, struct kf_error *err)
{
    double voxel_ml = grid->spacing_mm[0] * grid->spacing_mm[1] * grid->spacing_mm[2] / 1000, sum = 0;
    json_t *list = json_array(), *table = json_pack("{s:o?}", "labels", list);
    for (int i = 0; i < count; i++) {
        sum += scores[i].dice;
        json_array_append_new(list, score_json(&scores[i], voxel_ml));
    }
    const char *path = kf_job_output_path(job, "comparison.json");
    if (!table || !path || (int)json_array_size(list) != count) {
        json_decref(table);
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the comparison");
    }
    json_object_set_new(table, "mean_dice", count ? json_real(sum / count) : json_null());
    enum kf_status status = kf_json_save(path, table, err);
    kf_job_report(job, "labels", json_integer(count));
    kf_job_report(job, "mean_dice", count ? json_real(sum / count) : json_null());
    if (status)
        json_decref(table);
    else
        status = kf_job_output(job, "comparison", "comparison", "comparison.json", "application/json", table);
    return status;
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    static const char *const names[2] = {"a", "b"};
    struct kf_volume volume[2] = {{.data = NULL}, {.data = NULL}};
    struct kf_label_score scores[255];
    int count = 0;
    struct kf_job_work w;
    kf_job_work_init(&w, job);
    kf_job_work_stage(&w, "reading", 0, 0.2);
    enum kf_status status = KF_OK;
    for (int i = 0; i < 2 && !status; i++) {
        const struct kf_job_input *input = kf_job_input_named(job, names[i]);
        if (!input)
            status = kf_error_set(err, KF_INVALID, "input_missing", "the job needs inputs named a and b");
        else
            status = kf_job_read_volume(&w.work, input, KF_NIFTI_LABELS, &volume[i], err);
    }
    if (!status && !kf_job_same_grid(&volume[0].grid, &volume[1].grid))
        status = kf_error_set(err, KF_INVALID, "grids_differ", "the label maps do not lie on the same grid");
    kf_job_work_stage(&w, "comparing", 0.2, 1);
    if (!status)
        status = kf_work_status(kf_labels_compare(&w.work, &volume[0], &volume[1], scores, &count), err, "comparing");
    if (!status)
        status = declare(job, scores, count, &volume[0].grid, err);
    kf_volume_release(&volume[0]);
    kf_volume_release(&volume[1]);
    return status;
}

// ---- command line: a table on standard output, and --out FILE.json ----

static void print_length(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    if (json_is_real(value))
        printf(" %9.3f", json_real_value(value));
    else
        printf(" %9s", "-");
}

static enum kf_status place(struct kf_job_context *job, struct kf_error *err)
{
    const char *out = kf_job_option(job, "--out");
    struct kf_job_output_view view = kf_job_output_at(job, 0);
    const json_t *list = json_object_get(view.meta, "labels");
    printf("label    dice   assd_mm   hd95_mm      a_ml      b_ml\n");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        printf("%5d  %.4f", (int)kf_json_integer(row, "label", 0), kf_json_number(row, "dice", 0));
        print_length(row, "assd_mm");
        print_length(row, "hd95_mm");
        print_length(row, "a_ml");
        print_length(row, "b_ml");
        printf("\n");
    }
    return out ? kf_job_place_file(view.path, out, err) : KF_OK;
}

static const struct kf_cli_flag flags[] = {
    {"--a", KF_CLI_INPUT, "a", 1, "A label map."},
    {"--b", KF_CLI_INPUT, "b", 1, "Another one on the same grid; which of both is the truth does not matter."},
    {0},
};

static const struct kf_job_cli cli = {
    .flags = flags,
    .place = place,
    .examples = "  kerf-job compare --a truth.nii.gz --b seg.nii.gz --out scores.json\n",
};

static const struct kf_job_param params[] = {{0}};

const struct kf_job_kind kf_job_compare = {
    .name = "compare",
    .version = 1,
    .bitwise = 1,
    .profile = KF_SANDBOX_OPENMP,
    .memory_limit_bytes = 8LL << 30,
    .time_limit_s = 600,
    .summary = "Compares two label maps: Dice, average surface distance and 95 % Hausdorff distance per label.",
    .params = params,
    .run = run,
    .cli = &cli,
};
