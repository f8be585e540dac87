// Shared by the files of server/queue.
#ifndef KERF_QUEUE_INTERNAL_H
#define KERF_QUEUE_INTERNAL_H

#include "server/queue/queue.h"

// Runs inside the caller's transaction, or in one of its own.
struct kf_queue_scope {
    struct kf_store *store;
    int own;
};
KF_MUST_USE enum kf_status kf_queue_begin(struct kf_queue_scope *scope, struct kf_store *store,
                                          const char *organisation, struct kf_error *err);
// Commits when status is KF_OK and the transaction is its own; rolls that back otherwise. Returns what came of it.
KF_MUST_USE enum kf_status kf_queue_end(struct kf_queue_scope *scope, enum kf_status status, struct kf_error *err);

// Within a transaction: queues or reuses one job, and goes on with its follow-ups when it is done already. depth counts
// the generations that are done.
KF_MUST_USE enum kf_status kf_queue_add_within(struct kf_store *store, const char *organisation,
                                               const struct kf_queue_job *job, int depth, struct kf_queued *out,
                                               struct kf_error *err);

// A follow list that can be read, at most eight generations deep. KF_INVALID "bad_follow".
KF_MUST_USE enum kf_status kf_follow_check(const json_t *follow, struct kf_error *err);
// Within a transaction: applies `follow` (NULL: the job's own) to the outputs of a job that is done.
KF_MUST_USE enum kf_status kf_follow_apply(struct kf_store *store, const struct kf_job_row *job, const json_t *follow,
                                           int depth, struct kf_error *err);

#endif
