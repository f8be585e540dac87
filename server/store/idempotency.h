// Answers to requests that may be sent twice (Idempotency-Key), kept for a day.
#ifndef KERF_STORE_IDEMPOTENCY_H
#define KERF_STORE_IDEMPOTENCY_H

#include "server/base/arena.h"
#include "server/store/store.h"
#include <stddef.h>

struct kf_idempotent_answer {
    int status; // HTTP status of the first answer; 0: there is none yet
    const char *content_type, *location;
    const void *body;
    size_t body_length;
};

// Claims the key for this request, or finds the answer that was given (out->status not 0; texts live in the arena).
// KF_CONFLICT "idempotency_busy" while the first request is still being worked on (for a minute at most),
// KF_UNPROCESSABLE "idempotency_mismatch" when the key came with another request.
KF_MUST_USE enum kf_status kf_store_idempotency_claim(struct kf_store *store, const char *organisation,
                                                      const char *actor, const char *key,
                                                      const unsigned char request_sha256[32], struct kf_arena *arena,
                                                      struct kf_idempotent_answer *out, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_idempotency_keep(struct kf_store *store, const char *organisation,
                                                     const char *actor, const char *key,
                                                     const struct kf_idempotent_answer *answer, struct kf_error *err);
// The request failed and may be tried again.
KF_MUST_USE enum kf_status kf_store_idempotency_drop(struct kf_store *store, const char *organisation,
                                                     const char *actor, const char *key, struct kf_error *err);

#endif
