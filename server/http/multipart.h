// A streaming parser of multipart bodies (RFC 2046 section 5.1, RFC 7578 form-data, PS3.18 multipart/related): bytes go
// in as they arrive, parts come out as events. Memory is flat: the longest thing held back is a delimiter or one part's
// headers (8 KiB at most). It believes nothing: every length is bounded and every violation is KF_INVALID.
#ifndef KERF_HTTP_MULTIPART_H
#define KERF_HTTP_MULTIPART_H

#include "server/base/error.h"
#include <stddef.h>

#define KF_MULTIPART_HEADER_BYTES 8192
#define KF_MULTIPART_BOUNDARY     70 // RFC 2046: 1 to 70 characters

// Borrowed for the call; "" when absent. file_name has lost its folders and control characters: it is a label for
// people, never a path to open.
struct kf_multipart_part {
    size_t index; // 0, 1, …
    const char *name;
    const char *file_name;
    const char *content_type; // without parameters, lower case
    const char *content_location;
};

struct kf_multipart_events {
    enum kf_status (*part_begin)(void *context, const struct kf_multipart_part *part, struct kf_error *err);
    enum kf_status (*part_data)(void *context, const void *bytes, size_t length, struct kf_error *err);
    enum kf_status (*part_end)(void *context, struct kf_error *err);
};

struct kf_multipart; // opaque

// boundary: the Content-Type parameter, unquoted. events are borrowed until free. most_parts: 0 for no limit.
KF_MUST_USE enum kf_status kf_multipart_new(const char *boundary, size_t most_parts,
                                            const struct kf_multipart_events *events, void *context,
                                            struct kf_multipart **out, struct kf_error *err);
// A failure of an event is passed on and sticks: later calls return it again.
KF_MUST_USE enum kf_status kf_multipart_feed(struct kf_multipart *parser, const void *bytes, size_t length,
                                             struct kf_error *err);
// KF_INVALID ("truncated_multipart") when the closing delimiter has not been seen.
KF_MUST_USE enum kf_status kf_multipart_finish(struct kf_multipart *parser, struct kf_error *err);
void kf_multipart_free(struct kf_multipart *parser);

#endif
