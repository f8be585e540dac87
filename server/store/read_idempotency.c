#include "server/store/idempotency.h"

#include "server/store/row.h"
#include <string.h>

// A claim whose server died is taken over after a minute.
static const struct kf_query claim_key = {
    "idempotency_claim", "INSERT INTO kerf.idempotency (organisation_id, actor, key, request_sha256) "
                         "VALUES (kerf.organisation(), $1, $2, $3) ON CONFLICT (organisation_id, actor, key) DO UPDATE "
                         "SET request_sha256 = excluded.request_sha256, status = 0, created_at = now() "
                         "WHERE (idempotency.status = 0 AND idempotency.created_at < now() - interval '1 minute') "
                         "OR idempotency.created_at < now() - interval '1 day' RETURNING 1"};
static const struct kf_query find_key = {"idempotency_find",
                                         "SELECT request_sha256 = $3, status, content_type, location, body "
                                         "FROM kerf.idempotency WHERE actor = $1 AND key = $2"};
static const struct kf_query keep_key = {"idempotency_keep",
                                         "UPDATE kerf.idempotency SET status = $3, content_type = $4, location = $5, "
                                         "body = $6 WHERE actor = $1 AND key = $2"};
static const struct kf_query drop_key = {"idempotency_drop",
                                         "DELETE FROM kerf.idempotency WHERE actor = $1 AND key = $2 AND status = 0"};

static enum kf_status read_answer(const struct kf_rows *rows, struct kf_arena *arena, struct kf_idempotent_answer *out,
                                  struct kf_error *err)
{
    if (rows->count == 0)
        return kf_error_set(err, KF_CONFLICT, "idempotency_busy", "A request with this key has just ended; try again.");
    if (!kf_row_flag(rows, 0, 0))
        return kf_error_set(err, KF_UNPROCESSABLE, "idempotency_mismatch",
                            "This Idempotency-Key was used for another request.");
    if (kf_row_integer(rows, 0, 1) == 0)
        return kf_error_set(err, KF_CONFLICT, "idempotency_busy", "A request with this key is still being worked on.");
    out->status = (int)kf_row_integer(rows, 0, 1);
    out->content_type = kf_arena_strdup(arena, kf_row_text(rows, 0, 2));
    out->location = kf_arena_strdup(arena, kf_row_text(rows, 0, 3));
    out->body = kf_row_bytes(rows, 0, 4, arena, &out->body_length);
    if (!out->content_type || !out->location || !out->body) {
        memset(out, 0, sizeof *out);
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for an earlier answer.");
    }
    return KF_OK;
}

enum kf_status kf_store_idempotency_claim(struct kf_store *store, const char *organisation, const char *actor,
                                          const char *key, const unsigned char request_sha256[32],
                                          struct kf_arena *arena, struct kf_idempotent_answer *out,
                                          struct kf_error *err)
{
    struct kf_args args = {0};
    struct kf_rows rows;
    memset(out, 0, sizeof *out);
    kf_args_text(&args, actor);
    kf_args_text(&args, key);
    kf_args_bytes(&args, request_sha256, 32);
    enum kf_status status = kf_run(store, organisation, &claim_key, &args, KF_RUN_WRITE, &rows, err);
    if (status != KF_OK)
        return status;
    int claimed = rows.count > 0;
    kf_rows_release(&rows);
    if (claimed)
        return KF_OK;
    status = kf_run(store, organisation, &find_key, &args, KF_RUN_READ, &rows, err);
    if (status == KF_OK)
        status = read_answer(&rows, arena, out, err);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_idempotency_keep(struct kf_store *store, const char *organisation, const char *actor,
                                         const char *key, const struct kf_idempotent_answer *answer,
                                         struct kf_error *err)
{
    struct kf_args args = {0};
    kf_args_text(&args, actor);
    kf_args_text(&args, key);
    kf_args_integer(&args, answer->status);
    kf_args_string(&args, answer->content_type);
    kf_args_string(&args, answer->location);
    kf_args_bytes(&args, answer->body ? answer->body : "", answer->body_length);
    return kf_run(store, organisation, &keep_key, &args, KF_RUN_WRITE, NULL, err);
}

enum kf_status kf_store_idempotency_drop(struct kf_store *store, const char *organisation, const char *actor,
                                         const char *key, struct kf_error *err)
{
    struct kf_args args = {0};
    kf_args_text(&args, actor);
    kf_args_text(&args, key);
    return kf_run(store, organisation, &drop_key, &args, KF_RUN_WRITE, NULL, err);
}
