// The transform that registrations write and start from: transform.json, as register.c says.
#include "workers/jobs/register_job.h"
#include "workers/runtime/cli.h"

#include <math.h>

static json_t *matrix_json(const struct kf_affine *t)
{
    json_t *rows = json_array();
    for (int r = 0; r < 4; r++) {
        json_t *row = json_array();
        for (int c = 0; c < 4; c++)
            json_array_append_new(row, json_real(r < 3 ? t->m[4 * r + c] : c == 3));
        json_array_append_new(rows, row);
    }
    return rows;
}

json_t *kf_register_transform_json(const char *model, const char *metric, const struct kf_affine *transform,
                                   const struct kf_affine *inverse, json_t *quality)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:o,s:o}", "model", model, "metric", metric, "frame", "LPS mm", "from",
                     "fixed", "to", "moving", "matrix", matrix_json(transform), "inverse", matrix_json(inverse),
                     "quality", quality);
}

enum kf_status kf_register_transform_write(struct kf_job_context *job, json_t *file, struct kf_error *err)
{
    const char *path = kf_job_output_path(job, "transform.json");
    if (!file || !path) {
        json_decref(file);
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the transform");
    }
    enum kf_status status = kf_json_save(path, file, err);
    if (status) {
        json_decref(file);
        return status;
    }
    return kf_job_output(job, "transform", "transform", "transform.json", "application/json", file);
}

enum kf_status kf_register_transform_read(const struct kf_job_input *input, struct kf_affine *out, struct kf_error *err)
{
    json_t *file;
    enum kf_status status = kf_job_read_json(input, &file, err);
    if (status)
        return status;
    const json_t *rows = json_object_get(file, "matrix");
    for (size_t r = 0; r < 3 && !status; r++)
        for (size_t c = 0; c < 4 && !status; c++) {
            const json_t *value = json_array_get(json_array_get(rows, r), c);
            out->m[4 * r + c] = json_number_value(value);
            if (!json_is_number(value) || !(fabs(out->m[4 * r + c]) < 1e6))
                status = kf_error_set(err, KF_INVALID, "transform_format",
                                      "the start is no transform with a 4×4 matrix");
        }
    json_decref(file);
    return status;
}

enum kf_status kf_register_transform_place(struct kf_job_context *job, struct kf_error *err)
{
    return kf_job_place_file(kf_job_output_at(job, 0).path, kf_job_option(job, "--out"), err);
}
