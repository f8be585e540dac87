// Every way a Kerf function can fail: one table, from which the enum, the wire codes and the HTTP statuses come.
#ifndef KERF_BASE_STATUS_H
#define KERF_BASE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

// X(id, wire code, HTTP status, whether trying the same thing again later can help)
#define KF_STATUS_TABLE(X)                                                                                             \
    X(KF_OK, "ok", 200, 0)                                                                                             \
    X(KF_INVALID, "invalid", 400, 0)                                                                                   \
    X(KF_UNAUTHENTICATED, "unauthenticated", 401, 0)                                                                   \
    X(KF_FORBIDDEN, "forbidden", 403, 0)                                                                               \
    X(KF_NOT_FOUND, "not_found", 404, 0)                                                                               \
    X(KF_METHOD_NOT_ALLOWED, "method_not_allowed", 405, 0)                                                             \
    X(KF_NOT_ACCEPTABLE, "not_acceptable", 406, 0)                                                                     \
    X(KF_TIMEOUT, "timeout", 408, 1)                                                                                   \
    X(KF_CONFLICT, "conflict", 409, 0)                                                                                 \
    X(KF_STALE, "stale_lease", 409, 0)                                                                                 \
    X(KF_GONE, "gone", 410, 0)                                                                                         \
    X(KF_PRECONDITION_FAILED, "precondition_failed", 412, 0)                                                           \
    X(KF_TOO_LARGE, "too_large", 413, 0)                                                                               \
    X(KF_UNSUPPORTED, "unsupported_media_type", 415, 0)                                                                \
    X(KF_RANGE, "range_not_satisfiable", 416, 0)                                                                       \
    X(KF_UNPROCESSABLE, "unprocessable", 422, 0)                                                                       \
    X(KF_PRECONDITION_REQUIRED, "precondition_required", 428, 0)                                                       \
    X(KF_RATE_LIMITED, "rate_limited", 429, 1)                                                                         \
    X(KF_CANCELLED, "cancelled", 499, 0)                                                                               \
    X(KF_INTERNAL, "internal", 500, 0)                                                                                 \
    X(KF_IO, "io_error", 500, 1)                                                                                       \
    X(KF_NOMEM, "out_of_memory", 503, 1)                                                                               \
    X(KF_DB, "database_unavailable", 503, 1)                                                                           \
    X(KF_UNAVAILABLE, "unavailable", 503, 1)                                                                           \
    X(KF_NOSPACE, "no_space", 507, 1)

enum kf_status {
#define X(id, wire, http, retry) id,
    KF_STATUS_TABLE(X)
#undef X
        KF_STATUS_COUNT
};

#define KF_MUST_USE __attribute__((warn_unused_result))

const char *kf_status_wire(enum kf_status status);
int kf_status_http(enum kf_status status);
int kf_status_retryable(enum kf_status status);

#ifdef __cplusplus
}
#endif

#endif
