// TLS in front of the HTTP adapter: accepts connections on libuv loops, does the handshake, and passes plain bytes
// through a socket pair whose other end it hands on. Each direction holds a bounded amount: a side that does not read
// stops the other.
//
// Threads: one per loop, made by kf_front_start; a connection stays on its loop. `hand_over` is called on a loop's
// thread.
#ifndef KERF_FRONT_FRONT_H
#define KERF_FRONT_FRONT_H

#include "server/base/crypto/tls.h"
#include "server/base/error.h"
#include <sys/socket.h>

struct kf_front_config {
    struct kf_tls_server *tls; // borrowed
    const char *address;
    int port;             // 0: any free one
    int loops;            // 0: one per core, at most 4
    int most_connections; // 0: 1000
    int most_per_address; // 0: 200
    int handshake_s;      // 0: 10, from the accept to the end of the handshake
    // Gives away the plain end (moved, also on failure).
    enum kf_status (*hand_over)(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_length);
    void *arg;
};

struct kf_front;

// Listens and starts the loops' threads. *out is owned: kf_front_stop.
KF_MUST_USE enum kf_status kf_front_start(const struct kf_front_config *config, struct kf_front **out,
                                          struct kf_error *err);
int kf_front_port(const struct kf_front *front); // that it listens on, where 0 was asked for

struct kf_front_stats {
    int connections;   // open now
    long long failed;  // handshakes that failed
    long long late;    // … that took too long
    long long refused; // connections over a limit
};
void kf_front_stats(const struct kf_front *front, struct kf_front_stats *stats);
void kf_front_quiesce(struct kf_front *front); // accepts nothing more; what is open goes on
// Closes everything, joins the threads. Call after the HTTP adapter has closed its ends, so that answers get out.
void kf_front_stop(struct kf_front *front, int grace_ms);

#endif
