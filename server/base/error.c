#include "server/base/error.h"
#include "server/base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *wire;
    int http;
    int retry;
} table[KF_STATUS_COUNT] = {
#define X(id, wire, http, retry) [id] = {wire, http, retry},
    KF_STATUS_TABLE(X)
#undef X
};

const char *kf_status_wire(enum kf_status status)
{
    return (unsigned)status < KF_STATUS_COUNT ? table[status].wire : "internal";
}

int kf_status_http(enum kf_status status)
{
    return (unsigned)status < KF_STATUS_COUNT ? table[status].http : 500;
}

int kf_status_retryable(enum kf_status status)
{
    return (unsigned)status < KF_STATUS_COUNT ? table[status].retry : 0;
}

enum kf_status kf_error_set(struct kf_error *err, enum kf_status status, const char *code, const char *format, ...)
{
    if (!err)
        return status;
    err->status = status;
    snprintf(err->code, sizeof err->code, "%s", code ? code : kf_status_wire(status));
    va_list args;
    va_start(args, format);
    int length = vsnprintf(err->detail, sizeof err->detail, format, args);
    va_end(args);
    // Formats cut foreign texts by bytes (%.60s), and neither JSON nor the database takes half a character.
    if (length >= (int)sizeof err->detail)
        err->detail[kf_utf8_cut(err->detail, sizeof err->detail - 1)] = 0;
    kf_utf8_clean(err->detail);
    return status;
}

void kf_error_about(struct kf_error *err, const char *what)
{
    if (!err)
        return;
    struct kf_error inner = *err;
    (void)kf_error_set(err, inner.status, inner.code, "%s: %s", what, inner.detail);
}

enum kf_status kf_error_errno(struct kf_error *err, int errnum, const char *what)
{
    enum kf_status status = KF_IO;
    if (errnum == ENOSPC || errnum == EDQUOT)
        status = KF_NOSPACE;
    else if (errnum == ENOMEM)
        status = KF_NOMEM;
    else if (errnum == ENOENT)
        status = KF_NOT_FOUND;
    char reason[128];
    return kf_error_set(err, status, NULL, "%s: %s", what, strerror_r(errnum, reason, sizeof reason));
}
