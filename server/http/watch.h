// Deadlines for connections. libmicrohttpd closes a connection that is silent; a client that sends one byte now and
// then is never silent. Here every connection has a phase with an absolute end, and one thread that shuts down the late
// ones.
#ifndef KERF_HTTP_WATCH_H
#define KERF_HTTP_WATCH_H

#include "server/base/error.h"
#include <stdatomic.h>
#include <stdint.h>

enum kf_watch_phase {
    KF_WATCH_HEADERS, // waiting for the request line and headers of the first request
    KF_WATCH_BODY,    // receiving
    KF_WATCH_WORK,    // ours: no deadline
    KF_WATCH_SEND,    // a body of known size goes out
    KF_WATCH_IDLE,    // between requests (and the headers of the next one)
};

struct kf_watched {
    struct kf_watched *next, *previous; // under the watch's lock
    int fd;
    atomic_int phase;
    atomic_int_least64_t since_ns; // start of the phase
    atomic_int_least64_t bytes;    // BODY: received so far; SEND: size of the body
    int killed;
};

struct kf_watch_limits {
    int header_s, idle_s, grace_s;
    int64_t rate; // bytes a second that a body must reach, after the grace
};

struct kf_watch;

// Starts the thread that shuts late connections down. A connection is borrowed from add to remove.
KF_MUST_USE enum kf_status kf_watch_new(const struct kf_watch_limits *limits, struct kf_watch **out);
void kf_watch_free(struct kf_watch *watch); // joins the thread; no connection may be left
void kf_watch_add(struct kf_watch *watch, struct kf_watched *connection);
// After this the descriptor may be closed: it is not touched any more.
void kf_watch_remove(struct kf_watch *watch, struct kf_watched *connection);
void kf_watch_phase(struct kf_watched *connection, enum kf_watch_phase phase, int64_t bytes);
// 1 when the phase has gone on for too long at time now_ns. Pure; exposed for the tests.
int kf_watch_late(const struct kf_watch_limits *limits, enum kf_watch_phase phase, int64_t since_ns, int64_t bytes,
                  int64_t now_ns);

#endif
