// The rows of the queue and of the artefact graph. server/queue is the one to call: it holds the rules; here is the SQL.
#ifndef KERF_STORE_JOB_H
#define KERF_STORE_JOB_H

#include "server/base/json.h"
#include "server/store/blob.h"
#include "server/store/store.h"

struct kf_job_row {
    char id[KF_ID_TEXT];
    char organisation_id[KF_ID_TEXT];
    char case_id[KF_ID_TEXT];
    char series_id[KF_ID_TEXT]; // "" when it descends from none
    char kind[64];
    int version;
    unsigned char key[32];
    char state[16];
    int priority;
    int attempts;
    int max_attempts;
    int64_t fence;
    int cancel_requested;
    int supersedes;
    json_t *params; // owned by the row: kf_job_row_release
    json_t *inputs; // [{"name","sha256","media_type","meta"}]
    json_t *follow;
};

void kf_job_row_release(struct kf_job_row *row);

// Everything below is for server/queue and runs inside a transaction of the job's organisation unless it says otherwise.

// Outside any transaction and organisation: the next job of these kinds (comma separated; NULL or "": any), now `running`
// under a new fence and a lease of lease_s. KF_NOT_FOUND when none is ready.
KF_MUST_USE enum kf_status kf_store_job_claim(struct kf_store *store, const char *kinds, const char *worker,
                                              double lease_s, struct kf_job_row *out, struct kf_error *err);

// Outside any transaction and organisation: jobs whose lease has run out go back to the queue with a delay, or are dead
// when their attempts are used up. *count: how many.
KF_MUST_USE enum kf_status kf_store_job_reap(struct kf_store *store, int *count, struct kf_error *err);

// By id; lock: FOR UPDATE.
KF_MUST_USE enum kf_status kf_store_job_get(struct kf_store *store, const char *organisation, const char *job_id,
                                            int lock, struct kf_job_row *out, struct kf_error *err);
// The job that waits, runs or is done under this key: in case_id, or (case_id NULL) a done one in any case.
KF_MUST_USE enum kf_status kf_store_job_by_key(struct kf_store *store, const char *organisation, const char *case_id,
                                               const unsigned char key[32], struct kf_job_row *out,
                                               struct kf_error *err);

struct kf_job_insert {
    const char *case_id, *series_id, *kind, *created_by; // series_id and created_by may be NULL
    int version, priority, max_attempts, supersedes;
    unsigned char key[32];
    const char *params, *inputs, *follow; // JSON texts
    const char *done_like; // a done job of another case with this key: the new row is done at once and its artefacts
                           // are copied; NULL: queued
};
// KF_CONFLICT "job_key" when the same key was queued at the same moment by somebody else; the transaction goes on.
KF_MUST_USE enum kf_status kf_store_job_insert(struct kf_store *store, const char *organisation,
                                               const struct kf_job_insert *job, char id[KF_ID_TEXT],
                                               struct kf_error *err);
// Adds the rules that the job lacks.
KF_MUST_USE enum kf_status kf_store_job_add_follow(struct kf_store *store, const char *organisation, const char *job_id,
                                                   const char *follow, struct kf_error *err);

// Extends the lease. KF_STALE when the fence is not the row's or it runs no more.
KF_MUST_USE enum kf_status kf_store_job_heartbeat(struct kf_store *store, const char *organisation, const char *job_id,
                                                  int64_t fence, double lease_s, int *cancel_requested,
                                                  struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_job_progress(struct kf_store *store, const char *organisation, const char *job_id,
                                                 int64_t fence, double progress, const char *stage,
                                                 struct kf_error *err);
// Ends a running job in `state` (done, failed, cancelled, or retry: queued again with backoff, else dead). KF_STALE.
KF_MUST_USE enum kf_status kf_store_job_end(struct kf_store *store, const char *organisation, const char *job_id,
                                            int64_t fence, const char *state, const char *code, const char *detail,
                                            const char *report, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_job_cancel(struct kf_store *store, const char *organisation, const char *job_id,
                                               struct kf_error *err);
// Failed and dead ones only; once is enough, the first to do it stays. `account` may be NULL.
KF_MUST_USE enum kf_status kf_store_job_acknowledge(struct kf_store *store, const char *organisation,
                                                    const char *job_id, const char *account, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_job_retry(struct kf_store *store, const char *organisation, const char *job_id,
                                              struct kf_error *err);
// A supersedes job was queued: cancels the ones of this series that still wait, asks the running ones to stop.
KF_MUST_USE enum kf_status kf_store_job_cancel_older(struct kf_store *store, const char *organisation,
                                                     const char *job_id, struct kf_error *err);
// Gives a running job back untouched (a worker that is told to stop): queued at once, the attempt does not count.
KF_MUST_USE enum kf_status kf_store_job_release(struct kf_store *store, const char *organisation, const char *job_id,
                                                int64_t fence, struct kf_error *err);

struct kf_artefact_new {
    const char *name, *kind, *media_type;
    unsigned char sha256[32];
    int64_t bytes;
    const char *meta; // JSON text
};
KF_MUST_USE enum kf_status kf_store_artefact_add(struct kf_store *store, const char *organisation, const char *job_id,
                                                 const struct kf_artefact_new *artefact, struct kf_error *err);

struct kf_artefact_row {
    char id[KF_ID_TEXT];
    char name[128], kind[64], media_type[80];
    unsigned char sha256[32];
    int64_t bytes;
    json_t *meta; // owned by the list: kf_artefact_rows_release
};
// The outputs of a job, by name.
KF_MUST_USE enum kf_status kf_store_artefacts_of_job(struct kf_store *store, const char *organisation,
                                                     const char *job_id, struct kf_artefact_row **out, size_t *count,
                                                     struct kf_error *err); // owned: kf_artefact_rows_release
void kf_artefact_rows_release(struct kf_artefact_row *rows, size_t count);

// The artefacts of this job are the current ones of its series: the others of the series are superseded, but for those
// whose inputs are all current still; jobs whose inputs are not are cancelled. *overtaken: a later job of this sort was
// done first, so that this one's artefacts are the old ones.
KF_MUST_USE enum kf_status kf_store_artefacts_supersede(struct kf_store *store, const char *organisation,
                                                        const char *job_id, int *overtaken, struct kf_error *err);
// After a job that supersedes nothing: when one of its inputs is in the case only as a superseded artefact, its own are
// superseded too, and *outdated is 1.
KF_MUST_USE enum kf_status kf_store_artefacts_outdated(struct kf_store *store, const char *organisation,
                                                       const char *job_id, int *outdated, struct kf_error *err);
// The artefacts of this job are current again.
KF_MUST_USE enum kf_status kf_store_artefacts_revive(struct kf_store *store, const char *organisation,
                                                     const char *job_id, struct kf_error *err);

// Where the inputs of a job lie, in the order of its `inputs`. KF_CONFLICT "input_missing" when one is not there.
KF_MUST_USE enum kf_status kf_store_job_inputs(struct kf_store *store, const char *organisation, const char *job_id,
                                               struct kf_arena *arena, struct kf_blob_place **out, size_t *count,
                                               struct kf_error *err);

// Locks the case: the first thing in every transaction that changes several rows below it, so that they come one after
// the other and see each other. KF_NOT_FOUND.
KF_MUST_USE enum kf_status kf_store_case_lock(struct kf_store *store, const char *organisation, const char *case_id,
                                              struct kf_error *err);
// Brings the case's state in line with its series and jobs; writes an event when it changes.
KF_MUST_USE enum kf_status kf_store_case_derive(struct kf_store *store, const char *organisation, const char *case_id,
                                                struct kf_error *err);

#endif
