// What happened, in order. Writing an event notifies listeners (channel kerf_event) at commit.
#ifndef KERF_STORE_EVENT_H
#define KERF_STORE_EVENT_H

#include "server/store/store.h"
#include <stddef.h>

// body: a JSON object of ids, states and counts; no patient data. case_id may be NULL.
KF_MUST_USE enum kf_status kf_store_event_add(struct kf_store *store, const char *organisation, const char *case_id,
                                              const char *kind, const char *body, struct kf_error *err);

struct kf_event_row {
    int64_t id;
    int64_t created_ms;
    const char *case_id; // "" when it is about no case
    const char *kind;
    const char *body; // JSON text
};

// Calls emit for the events with id > after, by rising id, at most `limit`. Everything is borrowed for the call.
KF_MUST_USE enum kf_status kf_store_events_after(struct kf_store *store, const char *organisation, int64_t after,
                                                 int limit, void (*emit)(void *to, const struct kf_event_row *event),
                                                 void *to, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_event_newest(struct kf_store *store, const char *organisation, int64_t *id,
                                                 struct kf_error *err); // 0 when there is none
// Housekeeping over all organisations: removes events older than keep_s seconds, sessions and remembered answers that are
// over for a day. *count: events.
KF_MUST_USE enum kf_status kf_store_events_prune(struct kf_store *store, double keep_s, int *count,
                                                 struct kf_error *err);

#endif
