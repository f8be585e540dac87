// Scratch folders: one per worker process, locked as long as it lives, so that what a killed worker left is recognised
// and removed by the next one on this host.
#ifndef KERF_MANAGER_SCRATCH_H
#define KERF_MANAGER_SCRATCH_H

#include "server/base/error.h"

struct kf_scratch {
    char folder[3072]; // ROOT/UUID
    int lock_fd;
};

// Makes ROOT/UUID with its lock, and removes every folder below ROOT whose owner is gone.
KF_MUST_USE enum kf_status kf_scratch_open(struct kf_scratch *scratch, const char *root, struct kf_error *err);
void kf_scratch_close(struct kf_scratch *scratch); // removes it

// A new folder for one job; the path is written to `to`.
KF_MUST_USE enum kf_status kf_scratch_job(const struct kf_scratch *scratch, const char *job_id, char *to,
                                          unsigned long size, struct kf_error *err);
void kf_scratch_remove(const char *folder);

#endif
