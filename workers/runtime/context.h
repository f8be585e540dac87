// Inside of a running job: what job.h and cli.h hide. Only workers/runtime includes this.
#ifndef KERF_RUNTIME_CONTEXT_H
#define KERF_RUNTIME_CONTEXT_H

#include "server/base/arena.h"
#include "workers/runtime/cli.h"

struct kf_job_context {
    const struct kf_job_kind *kind;
    struct kf_arena arena;
    struct kf_job_input *inputs;
    int input_count, input_capacity;
    json_t *spec;    // owned; inputs and parameters borrow from it
    json_t *params;  // owned; every parameter of the kind, checked, defaults filled in
    json_t *options; // owned; command line only
    json_t *outputs; // owned; array of result.json's output objects
    json_t *report;  // owned
    char out[4096];  // folder of the outputs
    int threads;
    int progress_fd;   // -1: none
    int show_progress; // to a terminal
    double progress;
    long long progress_ms; // monotonic time of the last line written; 0: none was
    char stage[61];        // the stage that line named
};

void kf_job_context_init(struct kf_job_context *job, const struct kf_job_kind *kind);
void kf_job_context_release(struct kf_job_context *job);

// Adds an input; strings are copied, meta is borrowed and must live as long as the job.
KF_MUST_USE enum kf_status kf_job_input_add(struct kf_job_context *job, const struct kf_job_input *input,
                                            struct kf_error *err);

// The command line's inputs: a file; every regular file below a folder (or one file), in path order.
KF_MUST_USE enum kf_status kf_job_input_file(struct kf_job_context *job, const char *name, const char *path,
                                             struct kf_error *err);
KF_MUST_USE enum kf_status kf_job_input_folder(struct kf_job_context *job, const char *name, const char *folder,
                                               struct kf_error *err);
// Where a KF_CLI_VOLUME flag named a folder, runs `import` of `kinds` over it and puts the volume and its metadata in
// its place; the import's report goes into the job's as "import.INPUT". KF_INVALID several_volumes, no_volume, or
// import's own codes (several_series when there is more than one series with images).
KF_MUST_USE enum kf_status kf_job_input_import(struct kf_job_context *job, const struct kf_job_kind *const *kinds,
                                               struct kf_error *err);

// Checks `given` (object or NULL) against the kind's table and fills job->params: unknown names, wrong types and values
// out of range are errors that name the parameter.
KF_MUST_USE enum kf_status kf_job_params_set(struct kf_job_context *job, const json_t *given, struct kf_error *err);

// One parameter from its command-line spelling.
KF_MUST_USE enum kf_status kf_job_param_parse(const struct kf_job_param *param, const char *text, json_t **out,
                                              struct kf_error *err);

// Fills the context from a specification file (job.h).
KF_MUST_USE enum kf_status kf_job_spec_load(struct kf_job_context *job, const char *path, struct kf_error *err);

// Writes out/result.json or out/error.json.
KF_MUST_USE enum kf_status kf_job_result_save(struct kf_job_context *job, struct kf_error *err);
void kf_job_error_save(struct kf_job_context *job, const struct kf_error *failure);

// Catches SIGTERM and SIGINT as a request to cancel.
void kf_job_catch_cancel(void);

#endif
