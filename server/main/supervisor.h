// Keeps a few daemons running: restarts what dies, with a growing pause, and stops all in order. One thread; SIGCHLD,
// SIGINT, SIGTERM and SIGHUP must be blocked (kf_supervisor_signals) before anything is started.
#ifndef KERF_MAIN_SUPERVISOR_H
#define KERF_MAIN_SUPERVISOR_H

#include "server/base/error.h"
#include "server/pgembed/pgembed.h"
#include <stdint.h>

#define KF_DAEMONS_MOST 4

struct kf_daemon {
    const char *name;    // "kerf-server"
    char program[4096];
    pid_t pid;           // 0: not running
    int64_t start_at_ms; // when it is to be started (again)
    int64_t started_ms;
    int failures;        // deaths shortly after a start, in a row
};

struct kf_supervisor {
    struct kf_daemon daemons[KF_DAEMONS_MOST]; // in the order of starting; stopped in the reverse one
    int count;
    const char *user;      // borrowed; that they run as, NULL: ours
    struct kf_pgembed *pg; // borrowed; NULL: an external database
};

// Blocks the signals that kf_supervisor_step waits for: once, before any thread or child.
void kf_supervisor_signals(void);
// Finds NAME beside our own program. KF_NOT_FOUND when it is not there.
KF_MUST_USE enum kf_status kf_supervisor_add(struct kf_supervisor *supervisor, const char *name, struct kf_error *err);
// One round: reaps, restarts, waits at most wait_ms for a signal. Returns 0, or the signal that asks to stop.
int kf_supervisor_step(struct kf_supervisor *supervisor, int wait_ms);
// SIGTERM to all, last started first; SIGKILL after grace_ms; nothing is left.
void kf_supervisor_stop(struct kf_supervisor *supervisor, int grace_ms);

#endif
