// The walls around a job: what a kerf-job child may do once it looks at foreign bytes. Entered by the child itself, after
// its libraries have loaded what they need from disk and before the first input is opened.
//
// Rules, all of them at once:
//   - no new privileges, no core dump, no capabilities (also as root), no network, no other process
//   - resource limits: address space, CPU time, file size, open files
//   - seccomp: a list of allowed calls per profile; anything else fails with EPERM (clone3 with ENOSYS, for glibc's
//     fallback), so that a library that merely asks goes on
//   - Landlock, where the kernel has it: inputs read-only, the scratch folder read-write, nothing else
// AddressSanitizer builds keep everything but the address space limit, which they cannot live with.
#ifndef KERF_RUNTIME_SANDBOX_H
#define KERF_RUNTIME_SANDBOX_H

#include "workers/runtime/job.h"

struct kf_sandbox_rules {
    enum kf_sandbox_profile profile;
    const char *const *readable; // files or folders; ends with NULL
    const char *writable;        // one folder
    int64_t memory_limit_bytes;
    int64_t file_limit_bytes;
    int cpu_limit_s;
};

struct kf_sandbox_state {
    int landlock_abi; // 0: the kernel has none, and paths are not restricted
    int seccomp;      // 1: the filter is on
};

// The Landlock ABI of this kernel; 0 when it has none, and jobs are then kept from other files by their rights alone.
int kf_sandbox_landlock_abi(void);

// On failure the process must not go on. `state` may be NULL.
KF_MUST_USE enum kf_status kf_sandbox_enter(const struct kf_sandbox_rules *rules, struct kf_sandbox_state *state,
                                            struct kf_error *err);

// The same walls for a process that reads strangers' bytes from a connection it was given, and stores them: no new
// privileges, no core dump, no capabilities but those over files, no other process, the calls of a plain job. Beyond a job
// it may connect to others (the database), though not listen, and use every file that its user may. Limits are the
// caller's. On failure the process must not go on.
KF_MUST_USE enum kf_status kf_sandbox_enter_client(struct kf_error *err);

#endif
