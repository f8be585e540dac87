// The live stream's side of the database.
#ifndef KERF_APP_EVENTS_H
#define KERF_APP_EVENTS_H

#include "server/app/app.h"
#include "server/store/event.h"

// KF_OK when the actor may follow this case (NULL or "": all of the organisation).
KF_MUST_USE enum kf_status kf_app_events_enter(struct kf_app_thread *thread, const struct kf_actor *actor,
                                               const char *case_id, struct kf_error *err);
// Waits for notifications; calls notified for each new event. A connection of its own.
KF_MUST_USE enum kf_status kf_app_events_wait(struct kf_app_thread *thread, int timeout_ms,
                                              void (*notified)(void *to, const char *organisation_id, int64_t event_id),
                                              void *to, struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_events_after(struct kf_app_thread *thread, const char *organisation, int64_t after,
                                               int limit, void (*emit)(void *to, const struct kf_event_row *event),
                                               void *to, struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_events_newest(struct kf_app_thread *thread, const char *organisation, int64_t *id,
                                                struct kf_error *err);
// 1 while the session or token is good; 1 as well when the database cannot be asked.
int kf_app_session_alive(struct kf_app_thread *thread, const char *organisation, const char *session_id);

#endif
