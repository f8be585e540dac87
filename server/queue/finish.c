// The end of a job: one transaction for everything that comes of it.
#include "server/queue/internal.h"

#include <stdlib.h>
#include <string.h>

static char *json_or(const json_t *value, const char *otherwise)
{
    return value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(17)) : strdup(otherwise);
}

static enum kf_status add_output(struct kf_store *store, const struct kf_job_row *job, struct kf_queue_output *output,
                                 struct kf_error *err)
{
    enum kf_status status = kf_store_blob_add(store, job->organisation_id, output->sha256, output->bytes,
                                              output->container, output->offset, &output->blob_used, err);
    if (status)
        return status;
    char *meta = json_or(output->meta, "{}");
    if (!meta)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to finish a job.");
    struct kf_artefact_new artefact = {.name = output->name, .kind = output->kind, .media_type = output->media_type,
                                       .bytes = output->bytes, .meta = meta};
    memcpy(artefact.sha256, output->sha256, sizeof artefact.sha256);
    status = kf_store_artefact_add(store, job->organisation_id, job->id, &artefact, err);
    free(meta);
    return status;
}

// After the artefacts are in: which of the series' artefacts count, and what is to be done with them.
static enum kf_status go_on(struct kf_store *store, const struct kf_job_row *job, struct kf_error *err)
{
    struct kf_job_row now; // its follow list may have grown since the claim
    enum kf_status status = kf_store_job_get(store, job->organisation_id, job->id, 0, &now, err);
    if (status)
        return status;
    // Work that was overtaken while it ran gives old results, and nothing is made of them.
    int overtaken = 0;
    if (now.supersedes && *now.series_id)
        status = kf_store_artefacts_supersede(store, now.organisation_id, now.id, &overtaken, err);
    else
        status = kf_store_artefacts_outdated(store, now.organisation_id, now.id, &overtaken, err);
    if (!status && !overtaken)
        status = kf_follow_apply(store, &now, NULL, 0, err);
    kf_job_row_release(&now);
    return status;
}

static enum kf_status finish_within(struct kf_store *store, const struct kf_job_row *job,
                                    struct kf_queue_output *outputs, size_t count, const json_t *report,
                                    struct kf_error *err)
{
    char *text = json_or(report, "{}");
    if (!text)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to finish a job.");
    // The case first, so that the jobs of a case end one after the other and see what the one before has made; then the
    // fence, which locks the job's row.
    enum kf_status status = kf_store_case_lock(store, job->organisation_id, job->case_id, err);
    if (!status)
        status = kf_store_job_end(store, job->organisation_id, job->id, job->fence, "done", "", "", text, err);
    free(text);
    for (size_t i = 0; i < count && !status; i++)
        status = add_output(store, job, &outputs[i], err);
    if (!status)
        status = go_on(store, job, err);
    if (!status)
        status = kf_store_case_derive(store, job->organisation_id, job->case_id, err);
    return status;
}

enum kf_status kf_queue_finish(struct kf_store *store, const struct kf_job_row *job, struct kf_queue_output *outputs,
                               size_t count, const json_t *report, struct kf_error *err)
{
    struct kf_queue_scope scope;
    struct kf_error local;
    if (!err)
        err = &local;
    enum kf_status status = KF_UNAVAILABLE;
    // A deadlock with another transaction undoes everything: begin again, a few times.
    for (int attempt = 0; attempt < 4 && status == KF_UNAVAILABLE; attempt++) {
        status = kf_queue_begin(&scope, store, job->organisation_id, err);
        if (status)
            break;
        status = kf_queue_end(&scope, finish_within(store, job, outputs, count, report, err), err);
        if (!scope.own)
            break;
    }
    for (size_t i = 0; i < count && status; i++)
        outputs[i].blob_used = 0;
    return status;
}

static enum kf_status end_job(struct kf_store *store, const struct kf_job_row *job, const char *state,
                              const char *code, const char *detail, const json_t *report, struct kf_error *err)
{
    struct kf_queue_scope scope;
    char *text = json_or(report, "{}");
    if (!text)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to end a job.");
    enum kf_status status = kf_queue_begin(&scope, store, job->organisation_id, err);
    if (!status) {
        status = kf_store_case_lock(store, job->organisation_id, job->case_id, err);
        if (!status)
            status = kf_store_job_end(store, job->organisation_id, job->id, job->fence, state, code, detail, text, err);
        if (!status)
            status = kf_store_case_derive(store, job->organisation_id, job->case_id, err);
        status = kf_queue_end(&scope, status, err);
    }
    free(text);
    return status;
}

enum kf_status kf_queue_fail(struct kf_store *store, const struct kf_job_row *job, int permanent, const char *code,
                             const char *detail, const json_t *report, struct kf_error *err)
{
    return end_job(store, job, permanent ? "failed" : "retry", code, detail, report, err);
}

enum kf_status kf_queue_cancelled(struct kf_store *store, const struct kf_job_row *job, struct kf_error *err)
{
    return end_job(store, job, "cancelled", "cancelled", "The job was cancelled.", NULL, err);
}
