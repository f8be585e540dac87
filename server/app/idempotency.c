#include "server/app/idempotency.h"

#include "server/base/log.h"

#define KEEP_BYTES (1u << 20)

static const char *owner_of(const struct kf_actor *actor)
{
    return actor->account_id[0] ? actor->account_id : actor->session_id;
}

enum kf_status kf_app_idempotent_begin(struct kf_app_thread *thread, const struct kf_actor *actor, const char *key,
                                       const unsigned char request_sha256[32], struct kf_arena *arena,
                                       struct kf_idempotent_answer *out, struct kf_error *err)
{
    return kf_store_idempotency_claim(thread->store, actor->organisation_id, owner_of(actor), key, request_sha256,
                                      arena, out, err);
}

// Whether the same request would get the same answer tomorrow. Only successes: a client that has put right what was
// wrong sends another body, and thus another request.
static int is_final(int status)
{
    return status >= 200 && status < 300;
}

void kf_app_idempotent_end(struct kf_app_thread *thread, const struct kf_actor *actor, const char *key,
                           const struct kf_idempotent_answer *answer)
{
    struct kf_error err = {0};
    enum kf_status status =
        is_final(answer->status) && answer->body_length <= KEEP_BYTES
            ? kf_store_idempotency_keep(thread->store, actor->organisation_id, owner_of(actor), key, answer, &err)
            : kf_store_idempotency_drop(thread->store, actor->organisation_id, owner_of(actor), key, &err);
    if (status != KF_OK)
        kf_log_error(KF_LOG_WARN, "idempotency.not_kept", &err);
}
