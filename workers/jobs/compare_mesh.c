// compare.mesh: how far two surfaces are from each other, both ways (workers/kernels/mesh_distance.h).
#include "workers/io/memory.h"
#include "workers/jobs/shared.h"
#include "workers/kernels/mesh_distance.h"
#include "workers/runtime/cli.h"

#include <stdio.h>

static json_t *one_way_json(const struct kf_mesh_one_way *w)
{
    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:[f,f,f],s:I}", "mean_mm", w->mean_mm, "rms_mm", w->rms_mm, "p95_mm",
                     w->p95_mm, "greatest_low_mm", w->greatest_low_mm, "greatest_high_mm", w->greatest_high_mm,
                     "greatest_at_lps", w->greatest_at[0], w->greatest_at[1], w->greatest_at[2], "samples",
                     (json_int_t)w->samples);
}

static enum kf_status declare(struct kf_job_context *job, const struct kf_mesh_distance *d, struct kf_error *err)
{
    json_t *table = json_pack("{s:f,s:f,s:f,s:f,s:f,s:o,s:o}", "mean_mm", d->mean_mm, "rms_mm", d->rms_mm, "hd95_mm",
                              d->hd95_mm, "hausdorff_low_mm", d->hausdorff_low_mm, "hausdorff_high_mm",
                              d->hausdorff_high_mm, "a_to_b", one_way_json(&d->way[0]), "b_to_a",
                              one_way_json(&d->way[1]));
    const char *path = kf_job_output_path(job, "distance.json");
    if (!table || !path) {
        json_decref(table);
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the comparison");
    }
    enum kf_status status = kf_json_save(path, table, err);
    if (status)
        json_decref(table);
    else
        status = kf_job_output(job, "distance", "comparison", "distance.json", "application/json", table);
    return status;
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    static const char *const names[2] = {"a", "b"};
    struct kf_mesh mesh[2] = {{0}, {0}};
    struct kf_mesh_distance distance;
    const struct kf_mesh_distance_how how = {kf_job_double(job, "spacing_mm"), kf_job_double(job, "tolerance_mm")};
    struct kf_job_work w;
    enum kf_status status = KF_OK;
    kf_job_work_init(&w, job);
    kf_job_work_stage(&w, "reading", 0, 0.2);
    for (int i = 0; i < 2 && !status; i++) {
        const struct kf_job_input *input = kf_job_input_named(job, names[i]);
        if (!input)
            status = kf_error_set(err, KF_INVALID, "input_missing", "the job needs inputs named a and b");
        else
            status = kf_job_read_mesh(&w.work, input, &mesh[i], err);
    }
    kf_job_work_stage(&w, "measuring", 0.2, 1);
    enum kf_kernel_status measured = KF_KERNEL_OK;
    if (!status)
        measured = kf_mesh_distance(&w.work, &mesh[0], &mesh[1], &how, &distance);
    if (measured == KF_KERNEL_TOO_LARGE)
        status = kf_error_set(err, KF_TOO_LARGE, "mesh_intricate",
                              "too many samples for spacing_mm, or too many triangles in one place for the nearest");
    else if (!status)
        status = kf_work_status(measured, err, "measuring");
    if (!status)
        status = declare(job, &distance, err);
    kf_mesh_release(&w.work, &mesh[0]);
    kf_mesh_release(&w.work, &mesh[1]);
    return status;
}

// A line on standard output, and --out FILE.json.
static enum kf_status place(struct kf_job_context *job, struct kf_error *err)
{
    const char *out = kf_job_option(job, "--out");
    struct kf_job_output_view view = kf_job_output_at(job, 0);
    printf("mean %.4f mm, rms %.4f mm, hd95 %.4f mm, greatest at most %.4f mm\n", kf_json_number(view.meta, "mean_mm", 0),
           kf_json_number(view.meta, "rms_mm", 0), kf_json_number(view.meta, "hd95_mm", 0),
           kf_json_number(view.meta, "hausdorff_high_mm", 0));
    return out ? kf_job_place_file(view.path, out, err) : KF_OK;
}

static const struct kf_cli_flag flags[] = {
    {"--a", KF_CLI_INPUT, "a", 1, "A mesh: PLY, STL or GLB."},
    {"--b", KF_CLI_INPUT, "b", 1, "Another one in the same frame."},
    {0},
};

static const struct kf_job_cli cli = {
    .flags = flags,
    .place = place,
    .examples = "  kerf-job compare.mesh --a truth.stl --b bone.ply --out distance.json\n",
};

static const struct kf_job_param params[] = {
    {"spacing_mm", KF_PARAM_DOUBLE, 0, 100, 0.5, NULL, "mm",
     "Longest side of the area that one sample stands for; 0: one per triangle."},
    {"tolerance_mm", KF_PARAM_DOUBLE, 1e-6, 100, 0.01, NULL, "mm", "Widest interval around the greatest distance."},
    {0},
};

const struct kf_job_kind kf_job_compare_mesh = {
    .name = "compare.mesh",
    .version = 1,
    .bitwise = 1,
    .profile = KF_SANDBOX_OPENMP,
    .memory_limit_bytes = 8LL << 30,
    .time_limit_s = 600,
    .summary = "Compares two surfaces: mean, root mean square, 95 % and greatest distance, both ways.",
    .params = params,
    .run = run,
    .cli = &cli,
};
