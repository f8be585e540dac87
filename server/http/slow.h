// A small pool for handlers that take seconds (KF_ROUTE_SLOW), so that they never hold a connection worker.
#ifndef KERF_HTTP_SLOW_H
#define KERF_HTTP_SLOW_H

#include "server/base/error.h"
#include <stddef.h>

struct kf_slow;

// run(job) is called on a pool thread for every job added; abandon(job) instead when the pool stops before its turn.
KF_MUST_USE enum kf_status kf_slow_new(int threads, size_t most_waiting, void (*run)(void *job),
                                       void (*abandon)(void *job), struct kf_slow **out);
KF_MUST_USE enum kf_status kf_slow_add(struct kf_slow *slow, void *job); // KF_UNAVAILABLE when too many wait
// Finishes what runs, abandons what waits, joins the threads. Adding is refused from then on. Once; NULL is fine.
void kf_slow_stop(struct kf_slow *slow);
void kf_slow_free(struct kf_slow *slow); // stops it, too

#endif
