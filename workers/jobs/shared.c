#include "workers/jobs/shared.h"
#include "workers/io/file.h"
#include "workers/io/glb.h"
#include "workers/io/memory.h"
#include "workers/io/meshfile.h"
#include "workers/runtime/cli.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define JSON_MOST (64 << 20) // bytes, as kf_json_load

static void on_progress(void *user, double fraction)
{
    struct kf_job_work *w = user;
    kf_job_progress(w->job, w->from + w->span * fraction, w->stage);
}

static int on_cancelled(void *user)
{
    struct kf_job_work *w = user;
    return kf_job_cancelled(w->job);
}

static void *on_allocate(void *user, int64_t bytes)
{
    (void)user;
    return kf_memory_take(bytes);
}

static void on_release(void *user, void *block)
{
    (void)user;
    kf_memory_release(block);
}

void kf_job_work_init(struct kf_job_work *w, struct kf_job_context *job)
{
    *w = (struct kf_job_work){.job = job, .stage = "starting"};
    kf_work_init(&w->work, kf_job_threads(job));
    w->work.allocate = on_allocate;
    w->work.release = on_release;
    w->work.progress = on_progress;
    w->work.cancelled = on_cancelled;
    w->work.user = w;
}

void kf_job_work_stage(struct kf_job_work *w, const char *stage, double from, double to)
{
    w->stage = stage;
    w->from = from;
    w->span = to - from;
    kf_job_progress(w->job, from, stage);
}

enum kf_status kf_job_ct_input(struct kf_job_context *job, const char *what, const struct kf_job_input **input,
                               int *is_hu, struct kf_error *err)
{
    *input = kf_job_input_named(job, "volume");
    if (!*input)
        return kf_error_set(err, KF_INVALID, "input_missing", "the job needs an input named volume");
    const char *modality = kf_json_text((*input)->meta, "modality", "CT");
    if (strcmp(modality, "CT") != 0)
        return kf_error_set(err, KF_UNPROCESSABLE, "not_ct", "%s found in a CT only; this volume is %.16s", what,
                            modality);
    *is_hu = strcmp(kf_json_text((*input)->meta, "units", "HU"), "HU") == 0;
    if (!*is_hu)
        kf_job_warn(job, "not_hu",
                    "The values are not Hounsfield units (cone-beam CT?): what goes by them may be too much or too "
                    "little. Look at every part.");
    return KF_OK;
}

enum kf_status kf_job_read_volume(const struct kf_work *work, const struct kf_job_input *input, enum kf_nifti_want want,
                                  struct kf_volume *out, struct kf_error *err)
{
    int named = input->offset == 0 && input->length == -1 && !input->sha256[0]; // only the command line says so little
    enum kf_status status = named ? kf_image_read_named(work, input->path, want, out, err)
                                  : kf_image_read(work, input->path, input->offset, input->length, want, out, err);
    if (status)
        kf_error_about(err, input->name);
    return status;
}

// As grids (workers/io/memory.h): what is farther is no millimetre, and squares and cubes of it are no floats.
static enum kf_status check_near(const struct kf_work *work, const struct kf_mesh *mesh, struct kf_error *err)
{
    for (int64_t i = 0; i < 3 * mesh->vertices; i++) {
        if (kf_work_ask(work, i))
            return kf_error_set(err, KF_CANCELLED, NULL, "reading a mesh: cancelled");
        if (!(fabsf(mesh->xyz[i]) <= 1e9f))
            return kf_error_set(err, KF_INVALID, "mesh_far", "a corner of the mesh is over 1000 km from the origin");
    }
    return KF_OK;
}

enum kf_status kf_job_read_mesh(const struct kf_work *work, const struct kf_job_input *input, struct kf_mesh *mesh,
                                struct kf_error *err)
{
    int64_t length = input->length;
    void *bytes = NULL;
    struct kf_glb_summary summary;
    *mesh = (struct kf_mesh){0};
    struct kf_work_part part;
    enum kf_status status =
        kf_file_load(kf_work_part(&part, work, 0, 0.3), input->path, input->offset, &length, &bytes, err);
    const struct kf_work *rest = kf_work_part(&part, work, 0.3, 1);
    if (!status && length >= 4 && memcmp(bytes, "glTF", 4) == 0)
        status = kf_glb_parse(rest, bytes, length, &summary, mesh, err);
    else if (!status && length >= 3 && memcmp(bytes, "ply", 3) == 0)
        status = kf_ply_parse(rest, bytes, length, mesh, err);
    else if (!status)
        status = kf_stl_parse(rest, bytes, length, mesh, err);
    if (status)
        kf_error_about(err, input->name);
    kf_memory_release(bytes);
    if (!status)
        status = check_near(work, mesh, err);
    if (status)
        kf_mesh_release(work, mesh);
    return status;
}

enum kf_status kf_job_read_json(const struct kf_job_input *input, json_t **out, struct kf_error *err)
{
    int64_t length = input->length;
    int fd;
    void *text = NULL;
    *out = NULL;
    enum kf_status status = kf_file_open(input->path, input->offset, &length, &fd, err);
    if (status)
        return status;
    if (length > JSON_MOST)
        status = kf_error_set(err, KF_TOO_LARGE, "json_too_large", "JSON is larger than %d MiB", JSON_MOST >> 20);
    close(fd);
    if (!status)
        status = kf_file_load(NULL, input->path, input->offset, &length, &text, err); // JSON_MOST: a moment
    if (!status)
        status = kf_json_parse(text, (size_t)length, out, err);
    if (status)
        kf_error_about(err, input->name);
    kf_memory_release(text);
    return status;
}

static json_t *numbers(const double *values, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_real(values[i]));
    return list;
}

int kf_job_same_grid(const struct kf_grid *a, const struct kf_grid *b)
{
    if (memcmp(a->dim, b->dim, sizeof a->dim) != 0)
        return 0;
    for (int corner = 0; corner < 8; corner++) {
        double p[3], q[3], r[3];
        for (int i = 0; i < 3; i++)
            p[i] = corner >> i & 1 ? (double)(a->dim[i] - 1) : 0;
        kf_grid_to_lps(a, p, q);
        kf_grid_to_ijk(b, q, r);
        for (int i = 0; i < 3; i++)
            if (!(fabs(r[i] - p[i]) < 0.1))
                return 0;
    }
    return 1;
}

json_t *kf_grid_json(const struct kf_grid *grid)
{
    return json_pack("{s:[I,I,I], s:o, s:o, s:o}", "dim", (json_int_t)grid->dim[0], (json_int_t)grid->dim[1],
                     (json_int_t)grid->dim[2], "spacing_mm", numbers(grid->spacing_mm, 3), "origin_lps",
                     numbers(grid->origin_lps, 3), "direction", numbers(grid->direction, 9));
}

enum kf_status kf_job_write_labels(struct kf_job_work *w, const struct kf_volume *labels, json_t *meta,
                                   struct kf_error *err)
{
    const char *path = kf_job_output_path(w->job, "labels.nii.gz");
    enum kf_status status = path ? kf_nifti_write(&w->work, path, labels, err)
                                 : kf_error_set(err, KF_NOMEM, NULL, "no memory for the labels");
    if (status) {
        json_decref(meta);
        return status;
    }
    return kf_job_output(w->job, "labels", "segmentation", "labels.nii.gz", "application/gzip", meta);
}

void kf_meta_copy(json_t *to, const json_t *from, const char *const *keys)
{
    for (; *keys; keys++) {
        json_t *value = json_object_get(from, *keys);
        if (value)
            json_object_set_new(to, *keys, json_deep_copy(value));
    }
}

// Written into the scratch folder first: what appears at `to` is whole.
static enum kf_status place_converted(struct kf_job_context *job, const char *from, const char *to,
                                      const char *ending, struct kf_error *err)
{
    char converted[4096];
    struct kf_volume volume;
    struct kf_job_work w;
    int n = snprintf(converted, sizeof converted, "%s.as%s", from, ending);
    if (n < 0 || (size_t)n >= sizeof converted)
        return kf_error_set(err, KF_INVALID, NULL, "the scratch path is too long");
    kf_job_work_init(&w, job);
    kf_job_work_stage(&w, "converting", 1, 1);
    enum kf_status status = kf_image_read(&w.work, from, 0, -1, KF_NIFTI_AS_STORED, &volume, err);
    if (status)
        return status;
    status = kf_image_write(&w.work, converted, &volume, err);
    kf_volume_release(&volume);
    return status ? status : kf_job_place_file(converted, to, err);
}

const char *kf_job_image_ending(const char *to)
{
    if (!kf_job_wants_dicom(to))
        return kf_image_ending(to);
    const char *ending = to + strlen(to);
    while (ending > to && ending[-1] == '/')
        ending--;
    return ending;
}

enum kf_status kf_job_place_image(struct kf_job_context *job, const struct kf_job_output_view *view, const char *to,
                                  const char *flag, struct kf_error *err)
{
    const char *ending = kf_job_image_ending(to), *now = kf_image_ending(view->path);
    if (!ending)
        return kf_error_set(err, KF_INVALID, "bad_usage", "%s needs a name that ends in one of: " KF_JOB_IMAGE_NAMES,
                            flag);
    if (*ending == '/')
        return kf_job_place_dicom(job, view, to, err);
    if (now && strcmp(ending, now) == 0)
        return kf_job_place_file(view->path, to, err);
    return place_converted(job, view->path, to, ending, err);
}

const struct kf_cli_name kf_job_segmentation_names[] = {{"--out", KF_JOB_IMAGE_NAMES, 1}, {0}};

enum kf_status kf_job_place_segmentation(struct kf_job_context *job, struct kf_error *err)
{
    const char *out = kf_job_option(job, "--out"), *ending = kf_job_image_ending(out);
    struct kf_job_output_view view = kf_job_output_at(job, 0);
    char table[4096];
    int n = snprintf(table, sizeof table, "%.*s.json", (int)(ending - out), out);
    if (n < 0 || (size_t)n >= sizeof table)
        return kf_error_set(err, KF_INVALID, "bad_usage", "the name after --out is too long");
    enum kf_status status = kf_job_place_image(job, &view, out, "--out", err);
    return status ? status : kf_json_save(table, view.meta, err);
}
