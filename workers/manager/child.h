// One kerf-job child: started in its scratch folder, watched, and its result read back as a stranger's.
#ifndef KERF_MANAGER_CHILD_H
#define KERF_MANAGER_CHILD_H

#include "server/base/json.h"
#include <stdint.h>
#include <sys/types.h>

struct kf_child {
    pid_t pid;       // 0: none
    int pid_fd;      // readable when it has ended
    int progress_fd; // our end of its progress pipe
    char line[256];  // what has come of the next progress line
    size_t line_length;
    double progress; // last seen
    char stage[64];
};

struct kf_child_input {
    const char *name, *path, *sha256, *media_type;
    int64_t offset, length;
    const json_t *meta;
};

struct kf_child_spec {
    const char *program; // kerf-job
    const char *kind;
    int version;
    const json_t *params;
    const struct kf_child_input *inputs;
    size_t input_count;
    const char *scratch; // exists; gets spec.json, out/ and err.txt
    int threads;
};

// Writes spec.json and starts kerf-job on it. *out is owned: kf_child_reap.
KF_MUST_USE enum kf_status kf_child_start(const struct kf_child_spec *spec, struct kf_child *out, struct kf_error *err);

// Waits at most timeout_ms for progress or the end. Returns 1 when it has ended.
int kf_child_wait(struct kf_child *child, int timeout_ms);

// Reaps it (after kf_child_wait gave 1, or after a kill) and closes our descriptors. Returns waitpid's status.
int kf_child_reap(struct kf_child *child);
void kf_child_signal(const struct kf_child *child, int signal_number);

// One output as result.json names it, checked: a regular file directly in out/, no link, opened for reading.
struct kf_child_output {
    const char *name, *kind, *media_type; // borrowed from the result
    const json_t *meta;
    int fd; // owned: close
};

// Reads out/result.json. *result is owned (json_decref). KF_INTERNAL "bad_result" when it is not what job.h says.
KF_MUST_USE enum kf_status kf_child_result(const char *scratch, json_t **result, struct kf_error *err);
int kf_child_output_count(const json_t *result);
KF_MUST_USE enum kf_status kf_child_output_open(const char *scratch, const json_t *result, int index,
                                                struct kf_child_output *out, struct kf_error *err);
// out/error.json's code and detail (made printable and cut to size), or a description of how the child ended.
// *report is owned or NULL.
void kf_child_failure(const char *scratch, int wait_status, struct kf_error *out, json_t **report);

#endif
