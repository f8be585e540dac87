#include "workers/runtime/context.h"

#include "server/base/str.h"
#include "server/base/timeid.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_EVERY_MS 100

static volatile sig_atomic_t cancel_requested;

static void on_cancel(int signal_number)
{
    (void)signal_number;
    cancel_requested = 1;
}

void kf_job_catch_cancel(void)
{
    struct sigaction action = {.sa_handler = on_cancel};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

void kf_job_context_init(struct kf_job_context *job, const struct kf_job_kind *kind)
{
    *job = (struct kf_job_context){.kind = kind, .threads = 1, .progress_fd = -1};
}

void kf_job_context_release(struct kf_job_context *job)
{
    json_decref(job->spec);
    json_decref(job->params);
    json_decref(job->options);
    json_decref(job->outputs);
    json_decref(job->report);
    free(job->inputs);
    kf_arena_release(&job->arena);
    kf_job_context_init(job, NULL);
}

enum kf_status kf_job_input_add(struct kf_job_context *job, const struct kf_job_input *input, struct kf_error *err)
{
    if (job->input_count == job->input_capacity) {
        int capacity = job->input_capacity ? 2 * job->input_capacity : 16;
        struct kf_job_input *inputs = realloc(job->inputs, (size_t)capacity * sizeof *inputs);
        if (!inputs)
            return kf_error_set(err, KF_NOMEM, NULL, "no memory for %d inputs", capacity);
        job->inputs = inputs;
        job->input_capacity = capacity;
    }
    struct kf_job_input copy = {
        .name = kf_arena_strdup(&job->arena, input->name),
        .path = kf_arena_strdup(&job->arena, input->path),
        .offset = input->offset,
        .length = input->length,
        .sha256 = kf_arena_strdup(&job->arena, input->sha256 ? input->sha256 : ""),
        .media_type = kf_arena_strdup(&job->arena, input->media_type ? input->media_type : ""),
        .meta = input->meta,
    };
    if (!copy.name || !copy.path || !copy.sha256 || !copy.media_type)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for an input");
    job->inputs[job->input_count++] = copy;
    return KF_OK;
}

// ---------------------------------------------------------------------------------------------- parameters
static const struct kf_job_param *find_param(const struct kf_job_kind *kind, const char *name)
{
    for (const struct kf_job_param *p = kind->params; p && p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static json_t *default_value(const struct kf_job_param *p)
{
    switch (p->type) {
    case KF_PARAM_DOUBLE:
        return json_real(p->number);
    case KF_PARAM_INTEGER:
        return json_integer((json_int_t)p->number);
    case KF_PARAM_BOOLEAN:
        return json_boolean(p->number != 0);
    case KF_PARAM_TEXT:
        break;
    }
    return json_string(p->text ? p->text : "");
}

static enum kf_status check_range(const struct kf_job_param *p, double value, struct kf_error *err)
{
    if (!isfinite(value))
        return kf_error_set(err, KF_INVALID, "bad_parameter", "parameter %s must be a finite number", p->name);
    if (!(p->minimum < p->maximum) || (value >= p->minimum && value <= p->maximum))
        return KF_OK;
    return kf_error_set(err, KF_INVALID, "bad_parameter", "parameter %s must lie between %g and %g %s, not %g", p->name,
                        p->minimum, p->maximum, p->unit ? p->unit : "", value);
}

// *out is the value in its canonical JSON type (an integer given for a DOUBLE becomes a real).
static enum kf_status check_value(const struct kf_job_param *p, const json_t *given, json_t **out, struct kf_error *err)
{
    *out = NULL;
    const char *wanted = "a number";
    enum kf_status status = KF_OK;
    switch (p->type) {
    case KF_PARAM_DOUBLE:
        if (json_is_number(given)) {
            status = check_range(p, json_number_value(given), err);
            *out = status ? NULL : json_real(json_number_value(given));
        }
        break;
    case KF_PARAM_INTEGER:
        wanted = "a whole number";
        if (json_is_integer(given)) {
            status = check_range(p, (double)json_integer_value(given), err);
            *out = status ? NULL : json_integer(json_integer_value(given));
        }
        break;
    case KF_PARAM_BOOLEAN:
        wanted = "true or false";
        if (json_is_boolean(given))
            *out = json_boolean(json_is_true(given));
        break;
    case KF_PARAM_TEXT:
        wanted = "a text";
        if (json_is_string(given))
            *out = json_string(json_string_value(given));
        break;
    }
    if (status || *out)
        return status;
    return kf_error_set(err, KF_INVALID, "bad_parameter", "parameter %s must be %s", p->name, wanted);
}

enum kf_status kf_job_params_set(struct kf_job_context *job, const json_t *given, struct kf_error *err)
{
    json_decref(job->params);
    job->params = json_object();
    if (!job->params)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for parameters");
    for (const struct kf_job_param *p = job->kind->params; p && p->name; p++)
        if (json_object_set_new(job->params, p->name, default_value(p)))
            return kf_error_set(err, KF_NOMEM, NULL, "no memory for parameters");
    if (given && !json_is_object(given))
        return kf_error_set(err, KF_INVALID, "bad_parameter", "parameters must be an object");
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)given, name, value) {
        const struct kf_job_param *p = find_param(job->kind, name);
        if (!p)
            return kf_error_set(err, KF_INVALID, "bad_parameter", "%s has no parameter %.60s", job->kind->name, name);
        json_t *checked;
        enum kf_status status = check_value(p, value, &checked, err);
        if (status)
            return status;
        if (json_object_set_new(job->params, name, checked))
            return kf_error_set(err, KF_NOMEM, NULL, "no memory for parameters");
    }
    return KF_OK;
}

enum kf_status kf_job_param_parse(const struct kf_job_param *param, const char *text, json_t **out,
                                  struct kf_error *err)
{
    json_t *raw = NULL;
    char *end = NULL;
    errno = 0;
    switch (param->type) {
    case KF_PARAM_DOUBLE:
        raw = json_real(strtod(text, &end)); // NULL for infinities and NaN, which fails the check below
        break;
    case KF_PARAM_INTEGER:
        raw = json_integer(strtoll(text, &end, 10));
        break;
    case KF_PARAM_BOOLEAN:
        if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
            raw = json_true();
        else if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
            raw = json_false();
        break;
    case KF_PARAM_TEXT:
        raw = json_string(text);
        break;
    }
    if ((end && (end == text || *end || errno)) || !raw) {
        json_decref(raw);
        *out = NULL;
        return kf_error_set(err, KF_INVALID, "bad_parameter", "parameter %s cannot be read from the text given",
                            param->name);
    }
    enum kf_status status = check_value(param, raw, out, err);
    json_decref(raw);
    return status;
}

// ---------------------------------------------------------------------------------------------- specification
static enum kf_status spec_input(struct kf_job_context *job, const json_t *object, struct kf_error *err)
{
    struct kf_job_input input = {
        .name = kf_json_text(object, "name", NULL),
        .path = kf_json_text(object, "path", NULL),
        .offset = kf_json_integer(object, "offset", 0),
        .length = kf_json_integer(object, "length", -1),
        .sha256 = kf_json_text(object, "sha256", ""),
        .media_type = kf_json_text(object, "media_type", ""),
        .meta = json_object_get(object, "meta"),
    };
    if (!input.name || !input.path || input.offset < 0 || input.length < -1)
        return kf_error_set(err, KF_INVALID, "bad_spec", "an input of the specification lacks a name, path or range");
    return kf_job_input_add(job, &input, err);
}

enum kf_status kf_job_spec_load(struct kf_job_context *job, const char *path, struct kf_error *err)
{
    enum kf_status status = kf_json_load(path, &job->spec, err);
    if (status)
        return status;
    const char *kind = kf_json_text(job->spec, "kind", "");
    json_int_t version = kf_json_integer(job->spec, "version", -1);
    if (strcmp(kind, job->kind->name) != 0 || version != job->kind->version)
        return kf_error_set(err, KF_INVALID, "wrong_version", "this program runs %s version %d, not %.60s version %lld",
                            job->kind->name, job->kind->version, kind, (long long)version);
    if (kf_str_copy(job->out, sizeof job->out, kf_json_text(job->spec, "out", "")) || job->out[0] != '/')
        return kf_error_set(err, KF_INVALID, "bad_spec", "the specification's out is no absolute path");
    job->threads = (int)kf_json_integer(job->spec, "threads", 1);
    if (job->threads < 1 || job->threads > 1024)
        return kf_error_set(err, KF_INVALID, "bad_spec", "the specification's threads is out of range");
    job->progress_fd = (int)kf_json_integer(job->spec, "progress_fd", -1);
    if (job->progress_fd >= 0 && fcntl(job->progress_fd, F_GETFD) < 0)
        job->progress_fd = -1;
    size_t i;
    json_t *object;
    json_array_foreach (json_object_get(job->spec, "inputs"), i, object) {
        status = spec_input(job, object, err);
        if (status)
            return status;
    }
    return kf_job_params_set(job, json_object_get(job->spec, "params"), err);
}

// ---------------------------------------------------------------------------------------------- what `run` calls
int kf_job_input_count(const struct kf_job_context *job)
{
    return job->input_count;
}

const struct kf_job_input *kf_job_input_at(const struct kf_job_context *job, int index)
{
    return index >= 0 && index < job->input_count ? &job->inputs[index] : NULL;
}

const struct kf_job_input *kf_job_input_named(const struct kf_job_context *job, const char *name)
{
    for (int i = 0; i < job->input_count; i++)
        if (strcmp(job->inputs[i].name, name) == 0)
            return &job->inputs[i];
    return NULL;
}

double kf_job_double(const struct kf_job_context *job, const char *param)
{
    return json_number_value(json_object_get(job->params, param));
}

int64_t kf_job_integer(const struct kf_job_context *job, const char *param)
{
    return json_integer_value(json_object_get(job->params, param));
}

int kf_job_boolean(const struct kf_job_context *job, const char *param)
{
    return json_is_true(json_object_get(job->params, param));
}

const char *kf_job_text(const struct kf_job_context *job, const char *param)
{
    return kf_json_text(job->params, param, "");
}

int kf_job_threads(const struct kf_job_context *job)
{
    return job->threads;
}

void kf_job_progress(struct kf_job_context *job, double fraction, const char *stage)
{
    // A stage that begins is always told of, however soon it comes; within one the lines are few.
    char named[sizeof job->stage];
    kf_str_copy(named, sizeof named, stage);
    int same_stage = job->progress_ms && strcmp(named, job->stage) == 0;
    if (same_stage && !(fraction > job->progress))
        return;
    if (fraction > 1)
        fraction = 1;
    job->progress = fraction > job->progress ? fraction : job->progress;
    long long now_ms = kf_time_monotonic_ns() / 1000000;
    if (same_stage && now_ms - job->progress_ms < PROGRESS_EVERY_MS)
        return;
    job->progress_ms = now_ms;
    memcpy(job->stage, named, sizeof named);
    char line[160];
    if (job->show_progress) {
        fprintf(stderr, "\r%-40.40s %3.0f %%", stage, 100 * job->progress);
    } else if (job->progress_fd >= 0) {
        int n = snprintf(line, sizeof line, "{\"progress\":%.4f,\"stage\":\"%s\"}\n", job->progress, job->stage);
        // A reader that went away is no reason to stop: the manager that reads has its own way to end us.
        if (n > 0 && write(job->progress_fd, line, (size_t)n) < 0)
            job->progress_fd = -1;
    }
}

int kf_job_cancelled(const struct kf_job_context *job)
{
    (void)job;
    return cancel_requested;
}

const char *kf_job_output_path(struct kf_job_context *job, const char *file)
{
    return kf_arena_printf(&job->arena, "%s/%s", job->out, file);
}

static json_t *ensure(json_t **value, json_t *(*make)(void))
{
    if (!*value)
        *value = make();
    return *value;
}

enum kf_status kf_job_output(struct kf_job_context *job, const char *name, const char *kind, const char *file,
                             const char *media_type, json_t *meta)
{
    json_t *output = json_pack("{s:s, s:s, s:s, s:s}", "name", name, "kind", kind, "file", file, "media_type", media_type);
    json_object_set_new(output, "meta", meta ? meta : json_object());
    json_t *outputs = ensure(&job->outputs, json_array);
    if (!output || !outputs || json_array_append_new(outputs, output))
        return KF_NOMEM;
    return KF_OK;
}

void kf_job_report(struct kf_job_context *job, const char *key, json_t *value)
{
    json_object_set_new(ensure(&job->report, json_object), key, value);
}

void kf_job_warn(struct kf_job_context *job, const char *code, const char *format, ...)
{
    char detail[400];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    json_t *warnings = json_object_get(ensure(&job->report, json_object), "warnings");
    if (!warnings) {
        warnings = json_array();
        json_object_set_new(job->report, "warnings", warnings);
    }
    json_array_append_new(warnings, json_pack("{s:s, s:s}", "code", code, "detail", detail));
}

// ---------------------------------------------------------------------------------------------- outcome
enum kf_status kf_job_result_save(struct kf_job_context *job, struct kf_error *err)
{
    ensure(&job->outputs, json_array);
    ensure(&job->report, json_object);
    json_t *result = json_pack("{s:O, s:O}", "outputs", job->outputs, "report", job->report);
    if (!result)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the result");
    enum kf_status status = kf_json_save(kf_job_output_path(job, "result.json"), result, err);
    json_decref(result);
    return status;
}

void kf_job_error_save(struct kf_job_context *job, const struct kf_error *failure)
{
    json_t *error = json_pack("{s:s, s:s, s:O}", "code", failure->code, "detail", failure->detail, "report",
                              ensure(&job->report, json_object));
    struct kf_error ignored;
    if (error && kf_json_save(kf_job_output_path(job, "error.json"), error, &ignored))
        fprintf(stderr, "cannot write error.json: %s\n", ignored.detail);
    json_decref(error);
}
