// Numbers for /metrics and /readyz; nothing about any organisation.
#ifndef KERF_STORE_COUNTS_H
#define KERF_STORE_COUNTS_H

#include "server/store/store.h"

struct kf_counts {
    int64_t jobs_queued, jobs_running, jobs_dead;
    double oldest_ready_s; // how long the job that waits longest could have run; 0 when none waits
    int64_t series_unimported;
    int64_t instances, blobs; // planner's estimates: cheap
    int connections;
};
KF_MUST_USE enum kf_status kf_store_counts(struct kf_store *store, struct kf_counts *out, struct kf_error *err);

#endif
