// The HTTP adapter: real connections in front of the dispatcher, on libmicrohttpd (mhd.c is its only user).
//
// Threads: `threads` workers, each with its own epoll set and its connections; a handler blocks its worker. Routes with
// KF_ROUTE_SLOW run on `slow_threads` of their own while the connection is suspended. One watchdog thread enforces the
// absolute deadlines that libmicrohttpd, which knows idle time only, cannot.
#ifndef KERF_HTTP_MHD_H
#define KERF_HTTP_MHD_H

#include "server/http/http.h"
#include <sys/socket.h>

struct kf_mhd_config {
    struct kf_http *http;
    const char *address;   // to listen on, "127.0.0.1", "::"; NULL: no listener, only kf_mhd_add
    int port;              // 0: any free one
    int threads;           // 0: 4
    int slow_threads;      // 0: 2
    int most_connections;  // 0: 1000, over all workers
    int most_per_address;  // 0: no limit
    int header_deadline_s; // 0: 15; from the accept or the first byte allowed to the last header
    int idle_s;            // 0: 75; between requests
    int body_grace_s;      // 0: 60; a body may take this long, and then 1 s for every body_rate bytes received
    int64_t body_rate;     // 0: 16 KiB/s
};

struct kf_mhd;

// Listens and starts the workers' threads. *out is owned: kf_mhd_stop.
KF_MUST_USE enum kf_status kf_mhd_start(const struct kf_mhd_config *config, struct kf_mhd **out, struct kf_error *err);
int kf_mhd_port(const struct kf_mhd *mhd);
// Hands over one end of a Unix socket pair (moved, also on failure) whose client is at `peer`. Requests that come
// through it count as secure: only the TLS front does this. Thread safe.
KF_MUST_USE enum kf_status kf_mhd_add(struct kf_mhd *mhd, int fd, const struct sockaddr *peer, socklen_t peer_length);
// Stops listening, ends streams, waits at most grace_s for the requests being worked on, closes the rest, joins the
// threads and frees everything.
void kf_mhd_stop(struct kf_mhd *mhd, int grace_s);

#endif
