// The listening parent of kerf-intake: accepts connections and forks one child for each. It never reads a byte that a
// peer sent, holds no database connection and starts no thread, so that a child begins with a clean process. It is
// also the one that enforces time: children write into a shared page when they last heard from their peer, and the
// parent ends those that break a deadline or hang.
#ifndef KERF_INTAKE_LISTENER_H
#define KERF_INTAKE_LISTENER_H

#include "server/base/error.h"
#include <stdint.h>

#define KF_LISTENER_ADDRESS 46 // INET6_ADDRSTRLEN

struct kf_listener_options {
    const char *bind_address; // "" or "::" for every address, else a numeric IPv4 or IPv6 address
    int port;                 // 0: any free port; -1: do not listen
    int tls_port;             // likewise
    int max_associations;     // children at once
    int max_per_address;      // … of one address
    int negotiation_s;        // from the connection to the accepted association
    int idle_s;               // between two PDVs
    int association_s;        // of a whole association
    int busy_s;               // of our own work on one object, before the child counts as hung
};

// What a child is doing, for the parent's deadlines. Lies in memory shared by both.
enum kf_slot_phase { KF_SLOT_FREE, KF_SLOT_NEGOTIATING, KF_SLOT_READING, KF_SLOT_BUSY };
struct kf_slot {
    _Atomic int64_t alive_ns; // monotonic: the last sign of life from the peer, or the start of our own work
    _Atomic int phase;        // enum kf_slot_phase
};
void kf_slot_enter(struct kf_slot *slot, enum kf_slot_phase phase); // also a sign of life

struct kf_child {
    int fd;              // the connection; moved to the child's main
    int tls;             // came in on the TLS port
    const char *address; // numeric, IPv4-mapped addresses as IPv4
    struct kf_slot *slot;
    const struct kf_slot *slots; // of all children, for kf_child_alone
    int slot_count;
    const volatile int *cut; // set to 1 when the parent has ended this association; fd's receiving side is then shut
};

// 1 when no other association is open just now.
int kf_child_alone(const struct kf_child *child);

struct kf_listener; // opaque

// Binds the ports and starts listening. *out is owned: kf_listener_free.
KF_MUST_USE enum kf_status kf_listener_new(const struct kf_listener_options *options, struct kf_listener **out,
                                           struct kf_error *err);
void kf_listener_free(struct kf_listener *listener);
int kf_listener_port(const struct kf_listener *listener);     // the bound port, -1 when none
int kf_listener_tls_port(const struct kf_listener *listener);

// Serves until SIGTERM or SIGINT, then ends every child and returns. child_main runs in the forked child and its result
// is the exit code.
KF_MUST_USE enum kf_status kf_listener_run(struct kf_listener *listener,
                                           int (*child_main)(const struct kf_child *child, void *context),
                                           void *context, struct kf_error *err);

#endif
