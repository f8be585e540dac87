// Answers to requests that may come twice. The key belongs to the account or token that sent it.
#ifndef KERF_APP_IDEMPOTENCY_H
#define KERF_APP_IDEMPOTENCY_H

#include "server/app/app.h"
#include "server/store/idempotency.h"

// As kf_store_idempotency_claim.
KF_MUST_USE enum kf_status kf_app_idempotent_begin(struct kf_app_thread *thread, const struct kf_actor *actor,
                                                   const char *key, const unsigned char request_sha256[32],
                                                   struct kf_arena *arena, struct kf_idempotent_answer *out,
                                                   struct kf_error *err);
// Keeps a success (2xx) for a day; anything else is forgotten, so that the
// request can be tried again. A failure to keep it is logged: the request itself has been answered.
void kf_app_idempotent_end(struct kf_app_thread *thread, const struct kf_actor *actor, const char *key,
                           const struct kf_idempotent_answer *answer);

#endif
