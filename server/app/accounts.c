// Accounts and machine tokens, as an administrator sees them.
#include "server/app/internal.h"
#include "server/app/session.h"
#include "server/base/crypto/password.h"
#include "server/base/log.h"
#include "server/base/str.h"
#include "server/base/timeid.h"
#include "server/domain/text.h"
#include <string.h>

static void session_changed(struct kf_app *app, const char *account_id, const char *session_id)
{
    if (app->session_changed)
        app->session_changed(app->session_changed_context, account_id, session_id);
}

enum kf_status kf_app_account_list(struct kf_app_thread *thread, const struct kf_actor *actor, const char *after,
                                   int limit, struct kf_arena *arena, struct kf_account_row **out, size_t *count,
                                   struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_ACCOUNT_MANAGE, "account_list", "", err);
    return status != KF_OK
               ? status
               : kf_store_account_list(thread->store, actor->organisation_id, after, limit, arena, out, count, err);
}

enum kf_status kf_app_account_read(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                   struct kf_account_row *out, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_ACCOUNT_MANAGE, "account_read", id, err);
    return status != KF_OK ? status : kf_store_account_get(thread->store, actor->organisation_id, id, out, err);
}

enum kf_status kf_app_account_add(struct kf_app_thread *thread, const struct kf_actor *actor, const char *login,
                                  const char *display_name, enum kf_role role, struct kf_account_row *out,
                                  char one_time[32], struct kf_error *err)
{
    char encoded[KF_PASSWORD_ENCODED], id[KF_ID_TEXT];
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_ACCOUNT_MANAGE, "account_create", "", err);
    if (status != KF_OK)
        return status;
    kf_password_generate(one_time);
    status = kf_password_hash(one_time, encoded, err);
    struct kf_account_new account = {.login = login,
                                     .display_name = display_name,
                                     .role = kf_role_wire(role),
                                     .password_hash = encoded,
                                     .must_change = 1};
    if (status == KF_OK)
        status = kf_store_account_add(thread->store, actor->organisation_id, &account, id, err);
    if (status == KF_OK)
        status = kf_store_account_get(thread->store, actor->organisation_id, id, out, err);
    if (status == KF_OK)
        kf_log(KF_LOG_INFO, "account.made", "account=%s by=%s", id, actor->session_id);
    return status;
}

static enum kf_status change_allowed(struct kf_app_thread *thread, const struct kf_actor *actor, const char *account_id,
                                     const struct kf_app_account_change *change, struct kf_error *err)
{
    struct kf_account_row now;
    enum kf_role old_role;
    enum kf_status status = kf_store_account_get(thread->store, actor->organisation_id, account_id, &now, err);
    if (status == KF_OK)
        status = kf_role_parse(now.role, &old_role);
    if (status != KF_OK)
        return status;
    return kf_account_change_allowed(strcmp(actor->account_id, account_id) == 0, old_role,
                                     change->has_role ? change->role : old_role, change->disabled == 1, err);
}

enum kf_status kf_app_account_change(struct kf_app_thread *thread, const struct kf_actor *actor, const char *account_id,
                                     const struct kf_app_account_change *change, struct kf_account_row *out,
                                     struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_ACCOUNT_MANAGE, "account_change", account_id, err);
    if (status == KF_OK)
        status = change_allowed(thread, actor, account_id, change, err);
    if (status != KF_OK)
        return status;
    struct kf_account_change row = {.display_name = change->display_name,
                                    .role = change->has_role ? kf_role_wire(change->role) : NULL,
                                    .disabled = change->disabled,
                                    .must_change = -1,
                                    .unlock = change->unlock,
                                    .revision = change->revision > 0 ? (int)change->revision : 0};
    status = kf_store_account_change(thread->store, actor->organisation_id, account_id, &row, out, err);
    if (status == KF_OK && change->disabled == 1)
        status = kf_store_sessions_end(thread->store, actor->organisation_id, account_id, NULL, err);
    session_changed(thread->app, account_id, NULL);
    return status;
}

enum kf_status kf_app_account_reset(struct kf_app_thread *thread, const struct kf_actor *actor, const char *account_id,
                                    struct kf_account_row *out, char one_time[32], struct kf_error *err)
{
    char encoded[KF_PASSWORD_ENCODED];
    enum kf_status status =
        kf_app_enter(thread, actor, KF_PERM_ACCOUNT_MANAGE, "account_reset_password", account_id, err);
    if (status != KF_OK)
        return status;
    kf_password_generate(one_time);
    status = kf_password_hash(one_time, encoded, err);
    struct kf_account_change change = {.password_hash = encoded, .disabled = -1, .must_change = 1, .unlock = 1};
    if (status == KF_OK)
        status = kf_store_account_change(thread->store, actor->organisation_id, account_id, &change, out, err);
    if (status == KF_OK)
        status = kf_store_sessions_end(thread->store, actor->organisation_id, account_id, NULL, err);
    session_changed(thread->app, account_id, NULL);
    return status;
}

enum kf_status kf_app_token_list(struct kf_app_thread *thread, const struct kf_actor *actor, struct kf_arena *arena,
                                 struct kf_token_row **out, size_t *count, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_TOKEN_MANAGE, "token_list", "", err);
    return status != KF_OK ? status
                           : kf_store_token_list(thread->store, actor->organisation_id, arena, out, count, err);
}

enum kf_status kf_app_token_add(struct kf_app_thread *thread, const struct kf_actor *actor, const char *name,
                                enum kf_role role, int64_t expires_ms, char secret[KF_SESSION_TOKEN],
                                struct kf_token_row *out, struct kf_error *err)
{
    unsigned char digest[KF_SHA256_BYTES];
    int64_t now_ms = kf_time_unix_ms();
    memset(out, 0, sizeof *out);
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_TOKEN_MANAGE, "token_create", "", err);
    if (status == KF_OK && expires_ms && expires_ms <= now_ms)
        status = kf_error_set(err, KF_UNPROCESSABLE, NULL, "The token would have expired already.");
    if (status != KF_OK)
        return status;
    kf_token_new("kerf_", secret, digest);
    double lifetime_s = expires_ms ? (double)(expires_ms - now_ms) / 1000.0 : 0.0;
    status = kf_store_token_add(thread->store, actor->organisation_id, name, kf_role_wire(role), digest,
                                actor->account_id[0] ? actor->account_id : NULL, lifetime_s, out->id, err);
    out->created_ms = now_ms;
    out->expires_ms = expires_ms;
    if (kf_str_copy(out->name, sizeof out->name, name) != 0 ||
        kf_str_copy(out->role, sizeof out->role, kf_role_wire(role)) != 0)
        status = kf_error_set(err, KF_INVALID, "invalid_text", "The name is too long.");
    return status;
}

enum kf_status kf_app_token_revoke(struct kf_app_thread *thread, const struct kf_actor *actor, const char *token_id,
                                   struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_TOKEN_MANAGE, "token_revoke", token_id, err);
    if (status == KF_OK)
        status = kf_store_token_revoke(thread->store, actor->organisation_id, token_id, err);
    session_changed(thread->app, NULL, token_id);
    return status;
}

enum kf_status kf_app_peer_list(struct kf_app_thread *thread, const struct kf_actor *actor, struct kf_arena *arena,
                                struct kf_peer_row **out, size_t *count, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_PEER_MANAGE, "peer_list", "", err);
    return status != KF_OK ? status : kf_store_peer_list(thread->store, actor->organisation_id, arena, out, count, err);
}

enum kf_status kf_app_peer_add(struct kf_app_thread *thread, const struct kf_actor *actor,
                               const struct kf_peer_new *peer, char id[KF_ID_TEXT], struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_PEER_MANAGE, "peer_create", "", err);
    struct kf_peer_new ours = *peer;
    ours.only_ours = 1; // where organisations share a network, `kerf peer` divides it
    if (status == KF_OK)
        status = kf_store_peer_add(thread->store, actor->organisation_id, &ours, id, err);
    return status;
}

enum kf_status kf_app_peer_remove(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                  struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_PEER_MANAGE, "peer_delete", id, err);
    return status != KF_OK ? status : kf_store_peer_remove(thread->store, actor->organisation_id, id, err);
}
