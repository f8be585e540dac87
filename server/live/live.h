// Live events for browsers over server-sent events (WHATWG HTML, "Server-sent events"). One thread waits for the
// database's notifications, reads the new event rows and hands them to the subscribers of that organisation; each
// subscriber has a bounded queue and is dropped when it does not read.
//
// Delivery is at least once and in the order of arrival; an event says that something changed, the truth is fetched
// over the API. Ids are the database's; since transactions may commit out of order, a resumed stream repeats the events
// of the last half minute before Last-Event-ID that it may have missed.
#ifndef KERF_LIVE_LIVE_H
#define KERF_LIVE_LIVE_H

#include "server/base/error.h"
#include "server/base/timeid.h"
#include <stddef.h>
#include <stdint.h>

struct kf_live_event {
    int64_t id;
    int64_t created_ms; // Unix time
    const char *organisation_id;
    const char *case_id; // "" when it is about no case
    const char *kind;    // job.changed, …
    const char *data;    // JSON text
};

typedef void kf_live_emit(void *to, const struct kf_live_event *event); // everything is borrowed for the call

// Where events come from. `thread` is the calling thread's context: the one given to kf_live_join, or what thread_init
// gave the hub's own thread.
struct kf_live_source {
    void *app;
    void *(*thread_init)(void *app);
    void (*thread_exit)(void *app, void *thread);
    // Waits at most timeout_ms (LISTEN is set up on the first call and again after a loss) and calls notified for every
    // notification that came. KF_DB: the connection was lost; the hub waits and calls again.
    enum kf_status (*wait)(void *app, void *thread, int timeout_ms,
                           void (*notified)(void *to, const char *organisation_id, int64_t event_id), void *to,
                           struct kf_error *err);
    // Emits the events of an organisation with id > after, by rising id, at most `limit`.
    enum kf_status (*fetch)(void *app, void *thread, const char *organisation_id, int64_t after, size_t limit,
                            kf_live_emit *emit, void *to, struct kf_error *err);
    // The highest event id of an organisation so far (0 when none).
    enum kf_status (*newest)(void *app, void *thread, const char *organisation_id, int64_t *id, struct kf_error *err);
    // 1 while this session or token is still good; asked every half minute per stream. NULL: always.
    int (*alive)(void *app, void *thread, const char *organisation_id, const char *session_id);
};

struct kf_live;

// Starts the thread. source is copied.
KF_MUST_USE enum kf_status kf_live_start(const struct kf_live_source *source, size_t most_subscribers,
                                         struct kf_live **out, struct kf_error *err);
// Ends every stream and the thread. The streams that are still being sent see their end at the next read, and hold
// the hub alive until then.
void kf_live_stop(struct kf_live *live);

// One stream of one client.
struct kf_live_subscription;

// Subscribes to an organisation's events: of one case, or of all when case_id is NULL or "". after: resume behind that
// event id; -1: from now on. thread: the calling thread's context. KF_UNAVAILABLE when there are too many subscribers.
// Owned: kf_live_leave.
KF_MUST_USE enum kf_status kf_live_join(struct kf_live *live, void *thread, const char *organisation_id,
                                        const char *session_id, const char *case_id, int64_t after,
                                        struct kf_live_subscription **out, struct kf_error *err);
// Copies at most `room` bytes of event stream text to `to` and returns how many; 0: nothing now; -1: the end.
long kf_live_read(struct kf_live_subscription *subscription, char *to, size_t room);
// wake(waker) is called, from any thread, when there may be something to read; until kf_live_leave.
void kf_live_attach(struct kf_live_subscription *subscription, void (*wake)(void *waker), void *waker);
void kf_live_leave(struct kf_live_subscription *subscription);
// Ends the streams of a session at once (sign-out in this process; other processes find out through `alive`).
void kf_live_drop_session(struct kf_live *live, const char *session_id);
size_t kf_live_subscribers(const struct kf_live *live);

#endif
