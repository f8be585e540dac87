// The detail behind a status: what is wrong and where, in words that may be shown to a user and written to a log.
// Never put patient data, a password or a token in an error.
#ifndef KERF_BASE_ERROR_H
#define KERF_BASE_ERROR_H

#include "server/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kf_error {
    enum kf_status status;
    char code[48];    // stable machine reason, for example "slice_gap"; the status's wire code when none is given
    char detail[464]; // a whole sentence
};

// Fills *err (which may be NULL) and returns status, so that a caller writes `return kf_error_set(…)`.
// code may be NULL.
enum kf_status kf_error_set(struct kf_error *err, enum kf_status status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// Says what it was that failed: "what: " before the detail. A NULL err is fine.
void kf_error_about(struct kf_error *err, const char *what);

// The status for an errno value (ENOSPC and EDQUOT → KF_NOSPACE, ENOMEM → KF_NOMEM, ENOENT → KF_NOT_FOUND, else KF_IO).
enum kf_status kf_error_errno(struct kf_error *err, int errnum, const char *what);

#ifdef __cplusplus
}
#endif

#endif
