// The DICOM objects of a folder, a file or a zip, found and opened once: what send.c sends.
#ifndef KERF_INTAKE_STUDY_H
#define KERF_INTAKE_STUDY_H

#include "workers/intake/send.h"
#include <stddef.h>

struct kf_study_object {
    char *path; // NULL: lies in the study's scratch file
    int64_t offset, length; // of the data set
    char sop_class[65], sop_instance[65];
    int context; // index into contexts
};

struct kf_study_context {
    char sop_class[65], transfer_syntax[65];
};

struct kf_study {
    struct kf_study_object *objects;
    size_t count, capacity;
    struct kf_study_context *contexts;
    size_t context_count;
    int scratch; // unlinked file that holds what came out of a zip; -1: none
};

// *out is zeroed first. On success kf_study_release; on failure nothing is owned.
KF_MUST_USE enum kf_status kf_study_open(const char *path, struct kf_study *out, struct kf_send_report *report,
                                         struct kf_error *err);
void kf_study_release(struct kf_study *study);

#endif
