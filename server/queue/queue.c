// Claiming, staying alive, and what people do to jobs.
#include "server/queue/internal.h"

#include <string.h>

enum kf_status kf_queue_claim(struct kf_store *store, const char *kinds, const char *worker, double lease_s,
                              struct kf_claim *out, struct kf_error *err)
{
    *out = (struct kf_claim){0};
    struct kf_error local;
    if (!err)
        err = &local;
    enum kf_status status = kf_store_job_claim(store, kinds, worker, lease_s, &out->job, err);
    if (status)
        return status;
    status = kf_store_job_inputs(store, out->job.organisation_id, out->job.id, &out->arena, &out->places,
                                 &out->place_count, err);
    if (status == KF_CONFLICT) {
        // An input that is gone will not come back: the job fails, and the worker sees an empty queue this time.
        struct kf_error reason = *err;
        status = kf_queue_fail(store, &out->job, 1, reason.code, reason.detail, NULL, err);
        if (!status)
            status = kf_error_set(err, KF_NOT_FOUND, NULL, "There is no job to do.");
    }
    if (status)
        kf_claim_release(out);
    return status;
}

void kf_claim_release(struct kf_claim *claim)
{
    kf_job_row_release(&claim->job);
    kf_arena_release(&claim->arena);
    *claim = (struct kf_claim){0};
}

enum kf_status kf_queue_heartbeat(struct kf_store *store, const struct kf_job_row *job, double lease_s,
                                  int *cancel_requested, struct kf_error *err)
{
    return kf_store_job_heartbeat(store, job->organisation_id, job->id, job->fence, lease_s, cancel_requested, err);
}

enum kf_status kf_queue_progress(struct kf_store *store, const struct kf_job_row *job, double progress,
                                 const char *stage, struct kf_error *err)
{
    return kf_store_job_progress(store, job->organisation_id, job->id, job->fence, progress, stage, err);
}

enum kf_status kf_queue_give_back(struct kf_store *store, const struct kf_job_row *job, struct kf_error *err)
{
    struct kf_queue_scope scope;
    enum kf_status status = kf_queue_begin(&scope, store, job->organisation_id, err);
    if (status)
        return status;
    status = kf_store_case_lock(store, job->organisation_id, job->case_id, err);
    if (!status)
        status = kf_store_job_release(store, job->organisation_id, job->id, job->fence, err);
    if (!status)
        status = kf_store_case_derive(store, job->organisation_id, job->case_id, err);
    return kf_queue_end(&scope, status, err);
}

enum kf_status kf_queue_reap(struct kf_store *store, int *count, struct kf_error *err)
{
    return kf_store_job_reap(store, count, err);
}

// Looks the job up (so that an unknown id is KF_NOT_FOUND), changes it, brings the case in line.
static enum kf_status with_job(struct kf_store *store, const char *organisation, const char *job_id,
                               enum kf_status (*change)(struct kf_store *store, const struct kf_job_row *job,
                                                        const char *account, struct kf_error *err),
                               const char *account, struct kf_error *err)
{
    struct kf_queue_scope scope;
    enum kf_status status = kf_queue_begin(&scope, store, organisation, err);
    if (status)
        return status;
    struct kf_job_row job, locked = {0};
    status = kf_store_job_get(store, organisation, job_id, 0, &job, err);
    if (!status)
        status = kf_store_case_lock(store, organisation, job.case_id, err);
    if (!status)
        status = kf_store_job_get(store, organisation, job_id, 1, &locked, err);
    if (!status) {
        kf_job_row_release(&job);
        job = locked;
    }
    if (!status)
        status = change(store, &job, account, err);
    if (!status)
        status = kf_store_case_derive(store, organisation, job.case_id, err);
    kf_job_row_release(&job);
    return kf_queue_end(&scope, status, err);
}

static enum kf_status cancel(struct kf_store *store, const struct kf_job_row *job, const char *account,
                             struct kf_error *err)
{
    (void)account;
    return kf_store_job_cancel(store, job->organisation_id, job->id, err);
}

static enum kf_status acknowledge(struct kf_store *store, const struct kf_job_row *job, const char *account,
                                  struct kf_error *err)
{
    return kf_store_job_acknowledge(store, job->organisation_id, job->id, account, err);
}

static enum kf_status retry(struct kf_store *store, const struct kf_job_row *job, const char *account,
                            struct kf_error *err)
{
    (void)account;
    if (strcmp(job->state, "dead") != 0 && strcmp(job->state, "failed") != 0 && strcmp(job->state, "cancelled") != 0)
        return kf_error_set(err, KF_CONFLICT, "job_not_ended", "The job has not failed and was not cancelled.");
    return kf_store_job_retry(store, job->organisation_id, job->id, err);
}

enum kf_status kf_queue_cancel(struct kf_store *store, const char *organisation, const char *job_id,
                               struct kf_error *err)
{
    return with_job(store, organisation, job_id, cancel, NULL, err);
}

enum kf_status kf_queue_retry(struct kf_store *store, const char *organisation, const char *job_id,
                              struct kf_error *err)
{
    return with_job(store, organisation, job_id, retry, NULL, err);
}

enum kf_status kf_queue_acknowledge(struct kf_store *store, const char *organisation, const char *job_id,
                                    const char *account, struct kf_error *err)
{
    return with_job(store, organisation, job_id, acknowledge, account, err);
}
