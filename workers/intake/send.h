// Sending a study over DICOM: what `kerf import` and `kerf check` do. A study is a folder (searched through), one file, or
// a zip. Everything is looked at before anything is sent, so that a broken archive sends nothing.
#ifndef KERF_INTAKE_SEND_H
#define KERF_INTAKE_SEND_H

#include "server/base/error.h"
#include "workers/dicom/net_scu.h"
#include <stdint.h>

#define KF_SEND_STUDIES 16

struct kf_send_report {
    int files;              // seen, DICOM or not
    int objects;            // DICOM objects found
    int sent;               // answered with Success
    int refused;            // answered otherwise, or not taken by the peer
    int skipped;            // no DICOM, or not readable as such
    int64_t bytes;          // of data sets, sent
    double seconds;         // sending alone
    uint16_t dimse_status;  // of the first refusal; 0 when the peer did not take its kind at all
    char refused_code[48];  // of the first refusal: "status_a700", "context_refused"; "" when there was none
    int studies;            // distinct Study Instance UIDs, the first KF_SEND_STUDIES of them
    char study_uids[KF_SEND_STUDIES][65];
    char skipped_code[48];  // of the first file skipped for another reason than "not_dicom"
};

// Called after every object; return 0 to go on, anything else to stop (KF_CANCELLED).
typedef int kf_send_progress(void *context, const struct kf_send_report *so_far);

// KF_OK when every object was answered with Success; KF_UNPROCESSABLE "refused_objects" when some were not (all were
// tried). Before anything is sent: KF_NOT_FOUND "no_such_study", KF_INVALID "empty_study" (no file in it), "not_dicom"
// (files, but no DICOM object), "truncated_zip" and the other codes of workers/io/archive.h. Then the codes of
// kf_scu_open and kf_scu_store. report is filled as far as it went. progress may be NULL.
KF_MUST_USE enum kf_status kf_send_study(const char *path, const struct kf_scu_options *peer,
                                         kf_send_progress *progress, void *progress_context,
                                         struct kf_send_report *report, struct kf_error *err);

#endif
