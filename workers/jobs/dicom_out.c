// Outputs on the command line as a folder of DICOM, which is what a name that ends in "/" asks for. The files are
// written in a folder inside of it and moved up when all are there: what fails leaves the folder as it was.
#include "workers/dicom/write_derived.h"
#include "workers/io/memory.h"
#include "workers/jobs/shared.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int kf_job_wants_dicom(const char *to)
{
    size_t n = to ? strlen(to) : 0;
    return n > 0 && to[n - 1] == '/';
}

// ---- the folder ----

struct folder {
    char path[4096 - 32], unfinished[4096];
    int made; // there was none before
};

static enum kf_status open_folder(struct folder *f, const char *to, struct kf_error *err)
{
    int n = snprintf(f->path, sizeof f->path, "%s", to);
    if (n < 0 || (size_t)n >= sizeof f->path)
        return kf_error_set(err, KF_INVALID, "bad_usage", "the name of the output folder is too long");
    f->made = mkdir(to, 0777) == 0;
    if (!f->made && errno != EEXIST)
        return kf_error_errno(err, errno, "cannot make the output folder");
    snprintf(f->unfinished, sizeof f->unfinished, "%s.kerf-XXXXXX", f->path);
    if (mkdtemp(f->unfinished))
        return KF_OK;
    enum kf_status status = kf_error_errno(err, errno, "cannot write into the output folder");
    if (f->made)
        rmdir(f->path);
    return status;
}

// Moves every file up, or (keep 0) removes it.
static enum kf_status empty_unfinished(const struct folder *f, int keep, struct kf_error *err)
{
    DIR *dir = opendir(f->unfinished);
    if (!dir)
        return kf_error_errno(err, errno, "cannot read the output folder");
    enum kf_status status = KF_OK;
    for (const struct dirent *e; (e = readdir(dir));) {
        char from[4096 + 256], to[4096 + 256];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(from, sizeof from, "%s/%s", f->unfinished, e->d_name);
        snprintf(to, sizeof to, "%s%s", f->path, e->d_name);
        if ((keep ? rename(from, to) : unlink(from)) && !status)
            status = kf_error_errno(err, errno, "cannot place the output");
    }
    closedir(dir);
    return status;
}

static enum kf_status close_folder(const struct folder *f, enum kf_status status, struct kf_error *err)
{
    struct kf_error ignored;
    if (!status)
        status = empty_unfinished(f, 1, err);
    if (status && empty_unfinished(f, 0, &ignored))
        return status;
    if (rmdir(f->unfinished) && !status)
        status = kf_error_errno(err, errno, "cannot place the output");
    if (status && f->made)
        rmdir(f->path);
    return status;
}

// ---- what is said of the content ----

static void on_progress(void *context, double fraction)
{
    kf_job_progress(context, fraction, "writing DICOM");
}

static int on_cancelled(void *context)
{
    return kf_job_cancelled(context);
}

// `made_by` is the caller's, 80 bytes.
static struct kf_dicom_write_origin origin_of(struct kf_job_context *job, const json_t *meta, char made_by[80])
{
    const struct kf_job_kind *kind = kf_job_kind_of(job);
    const struct kf_job_input *image = kf_job_input_named(job, "volume");
    const char *above = image ? kf_json_text(image->meta, "frame_of_reference_uid", NULL) : NULL;
    snprintf(made_by, 80, "%s %d", kind->name, kind->version);
    return (struct kf_dicom_write_origin){.made_by = made_by,
                                          .frame_uid = kf_json_text(meta, "frame_of_reference_uid", above),
                                          .progress = on_progress,
                                          .cancelled = on_cancelled,
                                          .context = job};
}

enum kf_status kf_job_dicom_modality(const struct kf_job_context *job, const json_t *meta, const char **modality,
                                     struct kf_error *err)
{
    const char *known = kf_json_text(meta, "modality", NULL), *said = kf_job_option(job, "--modality");
    *modality = known ? known : said;
    if (!*modality)
        return kf_error_set(err, KF_INVALID, "modality_unknown",
                            "the image's file does not say whether it is a CT or an MR, and DICOM must: say it with "
                            "--modality, or name a folder of DICOM as the image");
    if (strcmp(*modality, "CT") != 0 && strcmp(*modality, "MR") != 0)
        return kf_error_set(err, KF_INVALID, "modality_not_written",
                            "the image is %.16s, and only CT and MR are written as DICOM: choose a name that ends in "
                            "one of: " KF_JOB_FILE_NAMES,
                            *modality);
    return KF_OK;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static enum kf_status write_image(struct kf_job_context *job, const struct kf_job_output_view *view, const char *dir,
                                  struct kf_error *err)
{
    char made_by[80];
    struct kf_volume volume;
    struct kf_job_work w;
    struct kf_dicom_write_facts facts;
    struct kf_dicom_write_image image = {.origin = origin_of(job, view->meta, made_by), .volume = &volume};
    enum kf_status status = kf_job_dicom_modality(job, view->meta, &image.modality, err);
    kf_job_work_init(&w, job);
    kf_job_work_stage(&w, "converting", 1, 1);
    if (!status)
        status = kf_image_read(&w.work, view->path, 0, -1, KF_NIFTI_AS_STORED, &volume, err);
    if (status)
        return status;
    const json_t *window = json_object_get(view->meta, "window");
    image.in_hu = strcmp(kf_json_text(view->meta, "units", "HU"), "HU") == 0;
    image.window_centre = number(window, "centre");
    image.window_width = number(window, "width");
    image.has_window = isfinite(image.window_centre) && image.window_width > 0;
    image.padding = number(view->meta, "padding_value");
    image.has_padding = isfinite(image.padding);
    status = kf_dicom_write_slices(&image, dir, &facts, err);
    kf_volume_release(&volume);
    if (!status && facts.rounded > 0)
        kf_job_warn(job, "values_rounded",
                    "The values do not fit 16 bits as they are: in the DICOM files they are rounded by at most %.3g.",
                    facts.rounded);
    return status;
}

// ---- label maps ----

static int hex(const char *text, unsigned char rgb[3])
{
    unsigned r, g, b;
    if (!text || strlen(text) != 7 || sscanf(text, "#%2x%2x%2x", &r, &g, &b) != 3)
        return 0;
    rgb[0] = (unsigned char)r;
    rgb[1] = (unsigned char)g;
    rgb[2] = (unsigned char)b;
    return 1;
}

// One row of the label table; the strings stay the table's.
static struct kf_dicom_write_segment segment_of(const json_t *row)
{
    const json_t *code = json_object_get(row, "code");
    const char *side = kf_json_text(row, "side", "");
    struct kf_dicom_write_segment s = {.label = (int)json_integer_value(json_object_get(row, "label")),
                                       .name = kf_json_text(row, "name", ""),
                                       .scheme = kf_json_text(code, "scheme", NULL),
                                       .value = kf_json_text(code, "value", NULL),
                                       .meaning = kf_json_text(code, "meaning", NULL),
                                       .side = strcmp(side, "left") == 0    ? 'L'
                                               : strcmp(side, "right") == 0 ? 'R'
                                                                            : 0};
    if (!s.scheme || !s.meaning)
        s.value = NULL;
    s.has_colour = hex(kf_json_text(row, "colour", NULL), s.rgb);
    return s;
}

static enum kf_status write_labels(struct kf_job_context *job, const struct kf_job_output_view *view, const char *dir,
                                   struct kf_error *err)
{
    char made_by[80];
    struct kf_volume volume = {.data = NULL};
    struct kf_job_work w;
    struct kf_dicom_write_facts facts;
    const json_t *table = json_object_get(view->meta, "segments");
    int count = (int)json_array_size(table);
    struct kf_dicom_write_segment *segments = calloc((size_t)count + 1, sizeof *segments);
    struct kf_dicom_write_labels labels = {
        .origin = origin_of(job, view->meta, made_by), .segments = segments, .segment_count = count, .volume = &volume};
    if (!segments)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the segments");
    for (int n = 0; n < count; n++)
        segments[n] = segment_of(json_array_get(table, (size_t)n));
    kf_job_work_init(&w, job);
    kf_job_work_stage(&w, "converting", 1, 1);
    enum kf_status status = kf_image_read(&w.work, view->path, 0, -1, KF_NIFTI_LABELS, &volume, err);
    if (!status)
        status = kf_dicom_write_segmentation(&labels, dir, &facts, err);
    kf_volume_release(&volume);
    free(segments);
    return status;
}

enum kf_status kf_job_place_dicom(struct kf_job_context *job, const struct kf_job_output_view *view, const char *to,
                                  struct kf_error *err)
{
    struct folder folder;
    enum kf_status status = open_folder(&folder, to, err);
    if (status)
        return status;
    status = strcmp(view->kind, "segmentation") == 0 ? write_labels(job, view, folder.unfinished, err)
                                                     : write_image(job, view, folder.unfinished, err);
    return close_folder(&folder, status, err);
}
