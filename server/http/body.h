// Reads the JSON body of a request against a table of members: what is unknown, missing, of another type or out of
// bounds is refused, every fault with a JSON pointer, all of them at once.
#ifndef KERF_HTTP_BODY_H
#define KERF_HTTP_BODY_H

#include "server/base/json.h"
#include "server/http/http.h"

enum kf_member_type {
    KF_MEMBER_TEXT = 1,
    KF_MEMBER_INT,
    KF_MEMBER_FLAG,
    KF_MEMBER_OBJECT,
    KF_MEMBER_ARRAY,
    KF_MEMBER_TIME
};

struct kf_member {
    const char *name;
    enum kf_member_type type;
    int required;
    int nullable;        // null counts as present and leaves *to alone
    int64_t least, most; // TEXT: bytes; INT: value; ARRAY: elements
    void *to;     // TEXT const char ** (arena); INT and TIME (Unix ms) int64_t *; FLAG int *; OBJECT, ARRAY json_t **
    int *present; // set to 1 when the member is there; may be NULL
};

// root: NULL, or receives the parsed body, owned (json_decref), to which OBJECT and ARRAY members point.
// KF_UNSUPPORTED when the body is not application/json, KF_INVALID "invalid_json" or "invalid_body".
KF_MUST_USE enum kf_status kf_body_read(struct kf_request *request, const struct kf_member *members, size_t count,
                                        json_t **root, struct kf_error *err);

// RFC 3339 with Z or an offset → Unix milliseconds; 0 when it is not one. (The epoch itself does not occur.)
int64_t kf_time_parse(const char *text);

// Adds a fault about one member and returns the status for it (KF_INVALID "invalid_body").
enum kf_status kf_body_fault(struct kf_request *request, const char *pointer, const char *detail, struct kf_error *err);

#endif
