// import: the instances of one series become volumes (kind "volume", NIfTI in LPS order, int16 or float32).
//
// Inputs "instance" × N: DICOM objects. Outputs "volume.N" with the meta of api/: grid, voxel_type, modality, units,
// value_range, window, quality, corrections. Report: set_aside and problems, each {code, detail, instance}; `instance`
// is the index of the input, `detail` names it by its instance number, and neither holds patient data. A series of
// nothing but reports, segmentations, structure sets, … ends done without a volume. A series of images that yields none
// fails for good with the code of its first problem.
#include "workers/dicom/assemble.h"
#include "workers/io/memory.h"
#include "workers/jobs/shared.h"
#include "workers/runtime/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct import {
    struct kf_job_context *job;
    struct kf_instance *instances;
    int instance_count;
    struct kf_slice *slices;
    int slice_count;
    char series_uid[65];                        // the one that is imported
    json_t *set_aside, *problems, *corrections; // the report's lists, owned until they are reported
    struct kf_error first_problem;
    int unreadable; // instances of the series that could not be used
    int volumes;
    double progress_from, progress_span; // what part of the job kf_stack_read fills
};

// ---- opening ----

static void prepare(void)
{
    struct kf_error err;
    if (kf_dicom_init(&err) != KF_OK)
        fprintf(stderr, "kerf-job: %s\n", err.detail);
}

static enum kf_status open_all(struct import *im, struct kf_error *err)
{
    im->instance_count = kf_job_input_count(im->job);
    im->instances = calloc((size_t)im->instance_count + 1, sizeof *im->instances);
    if (!im->instances)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the instances");
    for (int i = 0; i < im->instance_count; i++) {
        const struct kf_job_input *in = kf_job_input_at(im->job, i);
        im->instances[i].path = in->path;
        im->instances[i].offset = in->offset;
        im->instances[i].length = in->length;
    }
    enum kf_status worst = KF_OK;
    int done = 0;
#pragma omp parallel for schedule(dynamic, 8) num_threads(kf_job_threads(im->job))
    for (int i = 0; i < im->instance_count; i++) {
        struct kf_error why = {0};
        enum kf_status status = kf_job_cancelled(im->job) ? KF_CANCELLED : kf_instance_open(&im->instances[i], &why);
#pragma omp critical(import_open)
        {
            if (status != KF_OK && worst == KF_OK) {
                worst = status;
                *err = why;
            }
            if (++done % 64 == 0)
                kf_job_progress(im->job, 0.2 * done / im->instance_count, "reading headers");
        }
    }
    return worst == KF_CANCELLED ? kf_error_set(err, KF_CANCELLED, NULL, "import was cancelled") : worst;
}

// ---- which series ----

struct series_count {
    const char *uid, *modality;
    int instances;
    int64_t pixels;
};

static int count_series(const struct import *im, struct series_count *list)
{
    int n = 0;
    for (int i = 0; i < im->instance_count; i++) {
        const struct kf_instance *instance = &im->instances[i];
        if (!instance->dicom)
            continue;
        const struct kf_dicom_identity *id = kf_dicom_identity(instance->dicom);
        int s = 0;
        while (s < n && strcmp(list[s].uid, id->series_uid) != 0)
            s++;
        if (s == n)
            list[n++] = (struct series_count){.uid = id->series_uid, .modality = id->modality};
        list[s].instances++;
        if (instance->problem.status == KF_OK && !instance->set_aside[0])
            list[s].pixels += (int64_t)instance->image.rows * instance->image.columns * instance->image.frames;
    }
    return n;
}

static enum kf_status choose_series(struct import *im, struct kf_error *err)
{
    struct series_count *list = calloc((size_t)im->instance_count + 1, sizeof *list);
    if (!list)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the list of series");
    int n = count_series(im, list), best = 0, pictures = 0;
    const char *wanted = kf_job_option(im->job, "--series");
    enum kf_status status = KF_OK;
    for (int s = 1; s < n; s++)
        if (list[s].pixels > list[best].pixels)
            best = s;
    for (int s = 0; s < n; s++)
        pictures += list[s].pixels > 0;
    for (int s = 0; wanted && s < n; s++)
        if (strcmp(list[s].uid, wanted) == 0) {
            best = s;
            wanted = NULL;
        }
    if (kf_job_option(im->job, "--list"))
        for (int s = 0; s < n; s++)
            printf("%s %s instances=%d pixels=%lld%s\n", list[s].uid, list[s].modality[0] ? list[s].modality : "-",
                   list[s].instances, (long long)list[s].pixels, s == best ? " largest" : "");
    if (wanted)
        status =
            kf_error_set(err, KF_INVALID, "no_such_series", "no instance belongs to the series that was asked for");
    else if (pictures > 1 && kf_job_option(im->job, "--image")) // a folder in place of another job's image
        status = kf_error_set(err, KF_INVALID, "several_series",
                              "the folder holds %d series of images: `kerf-job import --in FOLDER --list` names them, "
                              "and with --series UID --out NAME.nii.gz makes a file of the one that is meant",
                              pictures);
    else if (n > 1 && !kf_job_option(im->job, "--in"))
        status = kf_error_set(err, KF_INVALID, "several_series", "the inputs belong to %d series, not to one", n);
    else if (n > 0)
        kf_str_copy(im->series_uid, sizeof im->series_uid, list[best].uid);
    if (status == KF_OK && n > 1 && !kf_job_option(im->job, "--series"))
        kf_job_warn(im->job, "largest_series", "%d series; the largest was taken", n);
    free(list);
    return status;
}

// ---- slices ----

static void instance_name(const struct import *im, int index, char to[64])
{
    struct kf_slice slice = {.instance = index};
    if (im->instances[index].dicom) {
        const struct kf_dicom_identity *id = kf_dicom_identity(im->instances[index].dicom);
        slice.has_number = id->has_instance_number;
        slice.number = id->instance_number;
    }
    kf_slice_name(&slice, to);
}

static void note(json_t *list, const char *code, const char *detail, int instance, int slices)
{
    json_t *row = json_pack("{s:s, s:s, s:i}", "code", code, "detail", detail, "instance", instance);
    if (row && slices > 1)
        json_object_set_new(row, "slices", json_integer(slices));
    if (row)
        json_array_append_new(list, row);
}

static void note_problem(struct import *im, enum kf_status status, const char *code, const char *detail, int instance,
                         int slices)
{
    note(im->problems, code, detail, instance, slices);
    if (im->first_problem.status == KF_OK)
        kf_error_set(&im->first_problem, status == KF_OK ? KF_INVALID : status, code, "%s", detail);
}

static int64_t group_key(const struct kf_instance *instance)
{
    uint64_t hash = 14695981039346656037ULL;
    for (const char *c = kf_dicom_identity(instance->dicom)->frame_of_reference_uid; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211ULL;
    for (const char *c = instance->image.units; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211ULL;
    return (int64_t)(hash >> 1);
}

static void add_slices(struct import *im, int index)
{
    const struct kf_instance *instance = &im->instances[index];
    const struct kf_dicom_identity *id = kf_dicom_identity(instance->dicom);
    for (int f = 0; f < instance->image.frames; f++)
        im->slices[im->slice_count++] = (struct kf_slice){.instance = index,
                                                          .frame = f,
                                                          .has_number = id->has_instance_number,
                                                          .number = id->instance_number,
                                                          .rows = instance->image.rows,
                                                          .columns = instance->image.columns,
                                                          .group = group_key(instance),
                                                          .place = instance->frames[f]};
}

// Sorts the instances into usable, set aside and broken.
static enum kf_status collect_slices(struct import *im, struct kf_error *err)
{
    int64_t frames = 0;
    for (int i = 0; i < im->instance_count; i++)
        if (im->instances[i].frames && im->instances[i].problem.status == KF_OK)
            frames += im->instances[i].image.frames;
    if (frames > 1000000)
        return kf_error_set(err, KF_TOO_LARGE, "too_many_slices", "the series has more than a million slices");
    im->slices = calloc((size_t)frames + 1, sizeof *im->slices);
    if (!im->slices)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the slices");
    for (int i = 0; i < im->instance_count; i++) {
        const struct kf_instance *instance = &im->instances[i];
        char name[64], detail[600];
        if (instance->dicom && strcmp(kf_dicom_identity(instance->dicom)->series_uid, im->series_uid) != 0)
            continue;
        instance_name(im, i, name);
        if (instance->problem.status != KF_OK) {
            snprintf(detail, sizeof detail, "%s: %s", name, instance->problem.detail);
            if (strcmp(instance->problem.code, "not_dicom") == 0 && kf_job_option(im->job, "--in")) {
                note(im->set_aside, "not_dicom", detail, i, 1); // a folder holds other files too
                continue;
            }
            note_problem(im, instance->problem.status, instance->problem.code, detail, i, 1);
            im->unreadable++;
        } else if (instance->set_aside[0]) {
            snprintf(detail, sizeof detail, "%s takes no part in a volume", name);
            note(im->set_aside, instance->set_aside, detail, i, 1);
        } else {
            add_slices(im, i);
        }
    }
    return KF_OK;
}

// ---- volumes ----

static json_t *corrections_meta(const struct import *im, const struct kf_stack *stack)
{
    json_t *list = json_array();
    for (int i = 0; i < stack->correction_count; i++) {
        json_array_append_new(im->corrections, json_string(stack->corrections[i].code));
        json_array_append_new(
            list, json_pack("{s:s, s:s}", "code", stack->corrections[i].code, "detail", stack->corrections[i].detail));
    }
    if (im->unreadable) {
        char detail[96];
        snprintf(detail, sizeof detail, "%d instances of the series could not be used", im->unreadable);
        json_array_append_new(list, json_pack("{s:s, s:s}", "code", "instances_left_out", "detail", detail));
    }
    return list;
}

// What a guide is made on may have slices of 1.25 mm; whoever signs is warned above 1.0 mm.
static json_t *quality_meta(const struct kf_stack *stack)
{
    double worst = fmax(stack->thickness_mm, stack->in.spacing_mm[2]);
    const char *gate = worst > 1.25 + 1e-6 ? "no_guide" : worst > 1.0 + 1e-6 ? "warn" : "good";
    return json_pack("{s:f, s:f, s:s}", "slice_thickness_mm", stack->thickness_mm, "slice_spacing_mm",
                     stack->in.spacing_mm[2], "gate", gate);
}

static json_t *window_meta(const struct kf_instance *middle, const struct kf_pixel_facts *facts)
{
    double centre = (facts->lowest + facts->highest) / 2, width = fmax(facts->highest - facts->lowest, 1);
    if (middle->image.in_hu) {
        centre = 40;
        width = 400;
    }
    if (middle->has_window) {
        centre = middle->window_centre;
        width = middle->window_width;
    }
    return json_pack("{s:f, s:f}", "centre", centre, "width", width);
}

static json_t *volume_meta(const struct import *im, const struct kf_stack *stack, const struct kf_volume *volume,
                           const struct kf_pixel_facts *facts)
{
    const struct kf_instance *middle = &im->instances[im->slices[stack->slices[stack->count / 2]].instance];
    const struct kf_dicom_identity *id = kf_dicom_identity(middle->dicom);
    json_t *meta =
        json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:[f,f], s:o, s:o, s:o, s:s, s:i}", "grid", kf_grid_json(&volume->grid),
                  "voxel_type", volume->type == KF_VOXEL_INT16 ? "int16" : "float32", "modality", id->modality,
                  "series_uid", id->series_uid, "frame_of_reference_uid", id->frame_of_reference_uid,
                  "series_description", id->series_description, "value_range", facts->lowest, facts->highest, "window",
                  window_meta(middle, facts), "quality", quality_meta(stack), "corrections",
                  corrections_meta(im, stack), "units", middle->image.in_hu ? "HU" : "1", "slices", stack->count);
    if (meta && facts->has_padding)
        json_object_set_new(meta, "padding_value", json_real(facts->padding));
    return meta;
}

static void on_progress(void *context, double fraction)
{
    struct import *im = context;
    kf_job_progress(im->job, im->progress_from + im->progress_span * fraction, "decoding slices");
}

static int wants_gzip(const struct kf_job_context *job)
{
    const char *out = kf_job_option(job, "--out");
    size_t n = out ? strlen(out) : 0;
    return n > 3 && strcmp(out + n - 3, ".gz") == 0;
}

// Declares the finished file of volume number im->volumes.
static enum kf_status declare(struct import *im, const struct kf_stack *stack, const struct kf_volume *volume,
                              const struct kf_pixel_facts *facts, const char *file, struct kf_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "volume.%d", im->volumes);
    json_t *meta = volume_meta(im, stack, volume, facts);
    if (!meta)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the result");
    im->volumes++;
    return kf_job_output(im->job, name, "volume", file, "application/x-nifti", meta);
}

// ---- the common way: slices go to the file while the next ones are decoded ----

struct volume_file {
    int fd;
    struct kf_volume volume; // data stays NULL
};

static enum kf_status write_at(int fd, int64_t at, const void *bytes, int64_t n, struct kf_error *err)
{
    const char *next = bytes;
    while (n > 0) {
        ssize_t done = pwrite(fd, next, (size_t)(n < 1 << 30 ? n : 1 << 30), (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return kf_error_errno(err, done < 0 ? errno : EIO, "writing the volume");
        next += done;
        at += done;
        n -= done;
    }
    return KF_OK;
}

static enum kf_status begin_file(void *context, enum kf_voxel_type type, struct kf_error *err)
{
    struct volume_file *file = context;
    unsigned char header[KF_NIFTI_DATA];
    file->volume.type = type;
    kf_nifti_header(&file->volume, header);
    if (ftruncate(file->fd, 0) != 0)
        return kf_error_errno(err, errno, "writing the volume");
    return write_at(file->fd, 0, header, KF_NIFTI_DATA, err);
}

static enum kf_status write_slab(void *context, int first, int count, const void *data, struct kf_error *err)
{
    const struct volume_file *file = context;
    const struct kf_grid *grid = &file->volume.grid;
    int64_t slice_bytes = grid->dim[0] * grid->dim[1] * kf_voxel_bytes(file->volume.type);
    return write_at(file->fd, KF_NIFTI_DATA + first * slice_bytes, data, count * slice_bytes, err);
}

static enum kf_status stream_volume(struct import *im, const struct kf_stack *stack, const char *file, const char *path,
                                    struct kf_error *err)
{
    struct kf_pixel_facts facts;
    enum kf_voxel_type type;
    struct volume_file to = {.volume = {.grid = stack->in}};
    struct kf_slab_writer writer = {.begin = begin_file, .write = write_slab, .context = &to};
    to.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (to.fd < 0)
        return kf_error_errno(err, errno, "making the volume's file");
    enum kf_status status = kf_stack_stream(im->instances, im->slices, stack, kf_job_threads(im->job), on_progress, im,
                                            &writer, &type, &facts, err);
    if (close(to.fd) != 0 && status == KF_OK)
        status = kf_error_errno(err, errno, "writing the volume");
    return status == KF_OK ? declare(im, stack, &to.volume, &facts, file, err) : status;
}

// ---- the other way: the volume is needed whole, to be resampled or compressed ----

static enum kf_status hold_volume(struct import *im, const struct kf_stack *stack, const char *file, const char *path,
                                  struct kf_error *err)
{
    struct kf_volume volume = {0};
    struct kf_pixel_facts facts;
    int threads = kf_job_threads(im->job);
    const struct kf_instance *first = &im->instances[im->slices[stack->slices[0]].instance];
    enum kf_status status =
        kf_stack_read(im->instances, im->slices, stack, threads, on_progress, im, &volume, &facts, err);
    if (status == KF_OK && (stack->sheared || stack->uneven)) {
        double outside = first->image.in_hu ? fmin(-1024, facts.lowest) : facts.lowest;
        status = kf_stack_regrid(stack, outside, threads, &volume, &facts, err);
    }
    struct kf_job_work w;
    kf_job_work_init(&w, im->job);
    kf_job_work_stage(&w, "writing", im->progress_from + im->progress_span, im->progress_from + im->progress_span);
    if (status == KF_OK)
        status = kf_nifti_write(&w.work, path, &volume, err);
    if (status == KF_OK)
        status = declare(im, stack, &volume, &facts, file, err);
    kf_volume_release(&volume);
    return status;
}

static enum kf_status make_volume(struct import *im, const struct kf_stack *stack, struct kf_error *err)
{
    char file[40];
    int packed = wants_gzip(im->job);
    snprintf(file, sizeof file, "volume.%d.nii%s", im->volumes, packed ? ".gz" : "");
    const char *path = kf_job_output_path(im->job, file);
    if (!path)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a path");
    enum kf_status status = packed || stack->sheared || stack->uneven ? hold_volume(im, stack, file, path, err)
                                                                      : stream_volume(im, stack, file, path, err);
    if (status == KF_OK || kf_status_retryable(status) || status == KF_CANCELLED)
        return status;
    unlink(path); // half a volume is none
    note_problem(im, status, err->code, err->detail, im->slices[stack->slices[0]].instance, stack->count);
    return KF_OK;
}

static int larger_first(const void *a, const void *b)
{
    const struct kf_stack *x = a, *y = b;
    int64_t n = kf_grid_voxels(&x->in), m = kf_grid_voxels(&y->in);
    return n != m ? (n > m ? -1 : 1) : x->slices[0] < y->slices[0] ? -1 : x->slices[0] > y->slices[0];
}

static int same_pixels(void *context, int a, int b)
{
    struct import *im = context;
    const struct kf_slice *x = &im->slices[a], *y = &im->slices[b];
    size_t n = (size_t)x->rows * (size_t)x->columns;
    if (x->place.slope != y->place.slope || x->place.intercept != y->place.intercept)
        return 0;
    uint16_t *p = kf_memory_take((int64_t)(4 * n));
    struct kf_error ignored;
    int same = p && kf_instance_decode(&im->instances[x->instance], x->frame, p, &ignored) == KF_OK &&
               kf_instance_decode(&im->instances[y->instance], y->frame, p + n, &ignored) == KF_OK &&
               memcmp(p, p + n, 2 * n) == 0;
    kf_memory_release(p);
    return same;
}

static enum kf_status make_volumes(struct import *im, struct kf_error *err)
{
    struct kf_series_plan plan;
    enum kf_status status = kf_series_plan(im->slices, im->slice_count, same_pixels, im, &plan, err);
    if (status != KF_OK)
        return status;
    for (int i = 0; i < plan.problem_count; i++) {
        const struct kf_series_problem *p = &plan.problems[i];
        int instance = im->slices[p->first_slice].instance;
        if (p->set_aside)
            note(im->set_aside, p->code, p->detail, instance, p->slice_count);
        else
            note_problem(im, KF_INVALID, p->code, p->detail, instance, p->slice_count);
    }
    if (plan.stack_count)
        qsort(plan.stacks, (size_t)plan.stack_count, sizeof *plan.stacks, larger_first);
    for (int i = 0; status == KF_OK && i < plan.stack_count; i++) {
        im->progress_span = 0.8 / plan.stack_count;
        im->progress_from = 0.2 + im->progress_span * i;
        status = make_volume(im, &plan.stacks[i], err);
        if (status == KF_OK && kf_job_cancelled(im->job))
            status = kf_error_set(err, KF_CANCELLED, NULL, "import was cancelled");
    }
    kf_series_plan_release(&plan);
    return status;
}

// ---- the job ----

static enum kf_status import_series(struct import *im, struct kf_error *err)
{
    enum kf_status status = open_all(im, err);
    if (status == KF_OK)
        status = choose_series(im, err);
    if (status == KF_OK && kf_job_option(im->job, "--list"))
        return KF_OK;
    if (status == KF_OK)
        status = collect_slices(im, err);
    if (status == KF_OK && im->slice_count)
        status = make_volumes(im, err);
    if (status != KF_OK || im->volumes)
        return status;
    if (im->first_problem.status != KF_OK) {
        if (err)
            *err = im->first_problem;
        return im->first_problem.status;
    }
    if (im->instance_count == 0)
        return kf_error_set(err, KF_INVALID, "empty_series", "there is no instance to import");
    return KF_OK; // nothing but objects that are no images
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    struct kf_error own = {0};
    struct import im = {.job = job, .set_aside = json_array(), .problems = json_array(), .corrections = json_array()};
    enum kf_status status = KF_NOMEM;
    prepare();
    if (im.set_aside && im.problems && im.corrections)
        status = import_series(&im, err ? err : &own);
    kf_job_report(job, "series_uid", json_string(im.series_uid));
    kf_job_report(job, "volumes", json_integer(im.volumes));
    kf_job_report(job, "instances", json_integer(im.instance_count));
    if (im.unreadable && im.volumes)
        kf_job_warn(job, "instances_left_out", "%d instances of the series could not be used", im.unreadable);
    kf_job_report(job, "set_aside", im.set_aside);
    kf_job_report(job, "problems", im.problems);
    kf_job_report(job, "corrections", im.corrections);
    for (int i = 0; i < im.instance_count && im.instances; i++)
        kf_instance_release(&im.instances[i]);
    free(im.instances);
    free(im.slices);
    return status;
}

// ---- command line ----

static enum kf_status place(struct kf_job_context *job, struct kf_error *err)
{
    const char *out = kf_job_option(job, "--out");
    if (kf_job_option(job, "--list"))
        return KF_OK;
    if (!out)
        return kf_error_set(err, KF_INVALID, "bad_usage", "--out is missing; see kerf-job import --help");
    int count = kf_job_output_count(job);
    if (count == 0)
        return kf_error_set(err, KF_INVALID, "no_volume", "the series holds no image that could be a volume");
    const char *ending = kf_job_image_ending(out);
    enum kf_status status = KF_OK;
    for (int i = 0; status == KF_OK && i < count; i++) {
        char to[4096];
        int n = i == 0 ? snprintf(to, sizeof to, "%s", out)
                       : snprintf(to, sizeof to, "%.*s.%d%s", (int)(ending - out), out, i, ending);
        if (n < 0 || (size_t)n >= sizeof to)
            return kf_error_set(err, KF_INVALID, "bad_usage", "the name after --out is too long");
        struct kf_job_output_view view = kf_job_output_at(job, i);
        status = kf_job_place_image(job, &view, to, "--out", err);
        if (status == KF_OK && count > 1)
            printf("%s\n", to);
    }
    return status;
}

static const struct kf_cli_flag flags[] = {
    {"--in", KF_CLI_INPUT_DIR, "instance", 1, "A folder of DICOM files, or one file."},
    {"--series", KF_CLI_OPTION, NULL, 0, "The Series Instance UID to import; the largest series when not given."},
    {"--list", KF_CLI_SWITCH, NULL, 0, "Only list the series that are there."},
    {0},
};

static const struct kf_cli_name names[] = {{"--out", KF_JOB_IMAGE_NAMES, 0}, {0}}; // --list needs none

static const struct kf_job_cli cli = {
    .flags = flags,
    .names = names,
    .place = place,
    .examples = "  kerf-job import --in study/ --list\n"
                "  kerf-job import --in study/ --series 1.2.3.4 --out ct.nii.gz --report import.json\n"
                "  kerf-job import --in study/ --out ct/    (CT or MR slices without anything of the patient)\n",
};

static const struct kf_job_param params[] = {{0}};

const struct kf_job_kind kf_job_import = {
    .name = "import",
    .version = 2,
    .bitwise = 1,
    .profile = KF_SANDBOX_DCMTK,
    .memory_limit_bytes = 16LL << 30,
    .time_limit_s = 900,
    .summary = "Makes volumes from the DICOM instances of a series.",
    .params = params,
    .run = run,
    .prepare = prepare,
    .cli = &cli,
};
