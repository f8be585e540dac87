// Child processes without surprises: no shell, signals reset, every descriptor but the named ones closed.
#ifndef KERF_BASE_PROCESS_H
#define KERF_BASE_PROCESS_H

#include "server/base/error.h"
#include <stddef.h>
#include <sys/types.h>

struct kf_spawn {
    const char *program;     // path; searched in PATH when it holds no '/'
    const char *const *argv; // argv[0] too; ends with NULL
    const char *const *env;  // NULL: ours
    const char *directory;   // working directory; NULL: ours
    const char *user;        // drop to this user when we are root; NULL: stay
    int in, out, err;        // descriptors; -1: /dev/null for in and out, inherited for err
    const int *keep;         // further descriptors that the child has under the same number
    size_t keep_count;
    int death_signal; // sent to the child when the thread that spawned it ends; 0: none
    int new_group;    // its own process group, so that kf_process_kill_group reaches its children
};

// vfork-like start: a failing exec is reported here (KF_NOT_FOUND, KF_FORBIDDEN, KF_IO), not by an exit status.
KF_MUST_USE enum kf_status kf_spawn(const struct kf_spawn *spawn, pid_t *pid, struct kf_error *err);

// Waits at most timeout_ms (-1: for ever; 0: only looks). KF_OK and *exit_status as of waitpid, or KF_TIMEOUT.
KF_MUST_USE enum kf_status kf_process_wait(pid_t pid, int timeout_ms, int *exit_status, struct kf_error *err);
// SIGTERM (or `signal`), then after grace_ms SIGKILL; reaps. Returns the exit status as of waitpid.
int kf_process_stop(pid_t pid, int signal, int grace_ms);
// "exit 3" or "signal 9".
void kf_process_describe(int exit_status, char *to, size_t size);

// Runs a short command and gives what it printed (at most size-1 bytes). KF_IO when it exits non-zero.
KF_MUST_USE enum kf_status kf_process_output(const char *const *argv, const char *user, char *to, size_t size,
                                             int timeout_ms, struct kf_error *err);

// The user that a root process becomes for its children: the first of `wanted`, "postgres", "nobody" that exists; NULL when
// we are not root.
const char *kf_process_unprivileged_user(const char *wanted);
// Folder of our own executable.
KF_MUST_USE enum kf_status kf_process_own_folder(char *to, size_t size, struct kf_error *err);

#endif
