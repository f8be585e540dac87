// Jobs: what the arrival of a series sets going, and what people ask for.
#ifndef KERF_APP_WORK_H
#define KERF_APP_WORK_H

#include "server/app/app.h"
#include "server/base/json.h"
#include "server/queue/queue.h"

// Queues the import of a series that has something new, now (an association or upload has ended). Nothing new is fine.
// Safe to call from several processes at once: the key of the import decides.
KF_MUST_USE enum kf_status kf_app_series_received(struct kf_store *store, const char *organisation,
                                                  const char *series_id, struct kf_error *err);

// The timer's work: imports of settled series, expired leases, old idempotency keys. *queued: how many imports; may be
// NULL. Any number of servers may call it.
KF_MUST_USE enum kf_status kf_app_sweep(struct kf_store *store, const struct kf_app_config *config, int *queued,
                                        struct kf_error *err);

#define KF_JOB_INPUTS_MOST 8 // what register takes, which takes most

struct kf_app_job_request {
    const char *case_id;
    const char *kind;
    const json_t *params;
    const char *const *artefact_ids;
    const char *const *roles; // the name of each input for the job; NULL: in the kind's own order
    size_t artefact_count; // at most KF_JOB_INPUTS_MOST
};
// KF_UNPROCESSABLE "unknown_kind", "wrong_input", "input_count", "unknown_input" or "bad_parameter".
KF_MUST_USE enum kf_status kf_app_job_ask(struct kf_app_thread *thread, const struct kf_actor *actor,
                                          const struct kf_app_job_request *request, struct kf_queued *out,
                                          struct kf_error *err);

#endif
