// The queue: jobs with artefact keys, leases and fences over PostgreSQL.
//
// Keys. key = SHA-256 over the length-prefixed (uint64 little-endian) organisation, kind, version (decimal), canonical
// params, and for every input, in order, name and content hash. A job that waits, runs or is done under a key in a case
// is never queued again there; a job done under the same key in another case of the organisation is copied, not run.
//
// Leases and fences. A claim raises the job's fence and gives it a lease by the database's clock. Whoever comes with an
// older fence is answered KF_STALE and has written nothing. A lease that runs out puts the job back (kf_queue_reap).
//
// Follow-ups. `follow` is a list of rules that finish applies to the outputs, in the same transaction:
//
//   [{ "kind": "segment.bone", "version": 1, "params": {…}, "priority": 0,
//      "when": { "output_kind": "volume", "meta": { "modality": "CT" } },
//      "inputs": [ { "name": "volume", "output": "$match" } ],
//      "follow": [ … ] }, …]
//
// For every output of kind `when.output_kind` whose meta contains all of `when.meta` (objects by containment, everything
// else by equality) one job is queued. Without `when`, one job is queued for the whole result. Each member of `inputs`
// adds inputs under `name`:
//   "output": "$match"       the output that matched
//   "output_kind": "mesh"    all outputs of that kind, by name
//   "input": "volume"        all inputs of the finished job with that name, in order
// A rule whose inputs come out empty queues nothing. params, priority and follow may be absent ({}, the finished job's
// priority, []). A rule that cannot be read fails the finish with KF_INTERNAL "bad_follow": it is our own document. Rules
// are checked when they are queued.
//
// The case's state follows in the same transaction: processing while jobs wait or run, attention when the latest job of
// a kind for a series has failed for good and nobody has acknowledged it, else ready; receiving while a series still grows.
#ifndef KERF_QUEUE_QUEUE_H
#define KERF_QUEUE_QUEUE_H

#include "server/base/arena.h"
#include "server/base/json.h"
#include "server/store/job.h"

struct kf_queue_input {
    const char *name;
    unsigned char sha256[32];
    const char *media_type;
    const json_t *meta; // may be NULL
};

struct kf_queue_job {
    const char *case_id;
    const char *series_id; // the series that its results descend from, or NULL
    const char *kind;
    int version;
    const json_t *params; // NULL: {}
    const struct kf_queue_input *inputs;
    size_t input_count;
    const json_t *follow;   // NULL: []
    int priority;           // higher first
    int max_attempts;       // 0: 5
    int supersedes;         // its results replace those of the series' earlier jobs of this sort (imports)
    const char *created_by; // account, or NULL
};

struct kf_queued {
    char job_id[KF_ID_TEXT];
    int reused; // 0: a new row; 1: the job was there (any of queued, running, done); 2: done, copied from another case
    char state[16];
};

void kf_queue_key(const char *organisation, const char *kind, int version, const json_t *params,
                  const struct kf_queue_input *inputs, size_t input_count, unsigned char key[32]);

// Within the caller's transaction for `organisation`, or in one of its own. KF_INVALID for a bad follow or bad names.
KF_MUST_USE enum kf_status kf_queue_add(struct kf_store *store, const char *organisation,
                                        const struct kf_queue_job *job, struct kf_queued *out, struct kf_error *err);

// ------------------------------------------------------------------------- the worker's side (no transaction open)
struct kf_claim {
    struct kf_job_row job;        // released by kf_claim_release
    struct kf_blob_place *places; // of the inputs, same order and number as job.inputs; owned by `arena`
    size_t place_count;
    struct kf_arena arena;
};
// KF_NOT_FOUND: nothing to do. kinds: comma separated, NULL for any.
KF_MUST_USE enum kf_status kf_queue_claim(struct kf_store *store, const char *kinds, const char *worker, double lease_s,
                                          struct kf_claim *out, struct kf_error *err);
void kf_claim_release(struct kf_claim *claim);

// The lease ends lease_s from now on the database's clock. KF_STALE when it is another worker's by now.
// *cancel_requested: 1 when somebody wants the job to stop.
KF_MUST_USE enum kf_status kf_queue_heartbeat(struct kf_store *store, const struct kf_job_row *job, double lease_s,
                                              int *cancel_requested, struct kf_error *err);
// The caller throttles (a few times a second at most); every call writes a job.changed event.
KF_MUST_USE enum kf_status kf_queue_progress(struct kf_store *store, const struct kf_job_row *job, double progress,
                                             const char *stage, struct kf_error *err);

struct kf_queue_output {
    const char *name, *kind, *media_type;
    unsigned char sha256[32];
    int64_t bytes;
    const char *container; // durable already
    int64_t offset;
    const json_t *meta; // NULL: {}
    int blob_used;      // out: 0 when the organisation had these bytes; the container may be removed
};
// One transaction: blobs, artefacts, the job's end, follow-ups, events, the case's state. KF_STALE: nothing was written.
// KF_DB after commit was sent: unknown; calling again answers KF_STALE when the first call had succeeded, and then the
// job is done. Names of outputs must differ.
KF_MUST_USE enum kf_status kf_queue_finish(struct kf_store *store, const struct kf_job_row *job,
                                           struct kf_queue_output *outputs, size_t count, const json_t *report,
                                           struct kf_error *err);
// permanent: the input will not get better (state failed). Otherwise queued again after 2 s · 2^attempts (at most 5 min,
// ± 50 % at random), or dead when the attempts are used up.
KF_MUST_USE enum kf_status kf_queue_fail(struct kf_store *store, const struct kf_job_row *job, int permanent,
                                         const char *code, const char *detail, const json_t *report,
                                         struct kf_error *err);
// The worker has stopped the child because a cancel was requested.
KF_MUST_USE enum kf_status kf_queue_cancelled(struct kf_store *store, const struct kf_job_row *job,
                                              struct kf_error *err);
// The worker is stopping: the job goes back untouched.
KF_MUST_USE enum kf_status kf_queue_give_back(struct kf_store *store, const struct kf_job_row *job,
                                              struct kf_error *err);
// Expired leases of all organisations. Every worker calls it now and then.
KF_MUST_USE enum kf_status kf_queue_reap(struct kf_store *store, int *count, struct kf_error *err);

// ------------------------------------------------------------------------- people
// A waiting job is cancelled at once; a running one when its worker hears of it. KF_CONFLICT "job_ended" otherwise.
KF_MUST_USE enum kf_status kf_queue_cancel(struct kf_store *store, const char *organisation, const char *job_id,
                                           struct kf_error *err);
// Somebody has seen that the job failed: its case asks for attention on its account no more. Doing it again changes
// nothing; `account` may be NULL. KF_CONFLICT "job_not_failed".
KF_MUST_USE enum kf_status kf_queue_acknowledge(struct kf_store *store, const char *organisation, const char *job_id,
                                                const char *account, struct kf_error *err);
// A dead, failed or cancelled job waits again with fresh attempts. KF_CONFLICT "job_not_ended", or "job_key" when the
// same work waits, runs or is done under another row.
KF_MUST_USE enum kf_status kf_queue_retry(struct kf_store *store, const char *organisation, const char *job_id,
                                          struct kf_error *err);

#endif
