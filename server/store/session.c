// Sessions, machine tokens and sign-in.
#include "server/store/account.h"

#include "server/store/row.h"
#include <string.h>

enum kf_status kf_store_session_find(struct kf_store *store, const unsigned char token_sha256[32], double idle_s,
                                     struct kf_session_row *out, struct kf_error *err)
{
    static const struct kf_query query = {
        "session_find", "SELECT r_session, r_organisation, r_organisation_name, r_account, r_login, r_display_name, "
                        "r_role, "
                        "r_csrf, r_must_change, " KF_MS("r_expires") " FROM kerf.session_find($1, $2)"};
    *out = (struct kf_session_row){0};
    struct kf_args args = {0};
    kf_args_bytes(&args, token_sha256, 32);
    kf_args_number(&args, idle_s);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, NULL, &query, &args, KF_RUN_READ, &rows, err);
    if (!status && !rows.count)
        status = kf_not_found(err, "session");
    if (!status) {
        kf_row_copy(&rows, 0, 0, out->session_id, sizeof out->session_id);
        kf_row_copy(&rows, 0, 1, out->organisation_id, sizeof out->organisation_id);
        kf_row_copy(&rows, 0, 2, out->organisation_name, sizeof out->organisation_name);
        kf_row_copy(&rows, 0, 3, out->account_id, sizeof out->account_id);
        kf_row_copy(&rows, 0, 4, out->login, sizeof out->login);
        kf_row_copy(&rows, 0, 5, out->display_name, sizeof out->display_name);
        kf_row_copy(&rows, 0, 6, out->role, sizeof out->role);
        kf_row_copy(&rows, 0, 7, out->csrf_token, sizeof out->csrf_token);
        out->must_change = kf_row_flag(&rows, 0, 8);
        out->expires_ms = kf_row_integer(&rows, 0, 9);
    }
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_token_find(struct kf_store *store, const unsigned char token_sha256[32],
                                   struct kf_session_row *out, struct kf_error *err)
{
    static const struct kf_query query = {"token_find",
                                          "SELECT r_token, r_organisation, r_organisation_name, r_name, r_role, "
                                          "coalesce(" KF_MS(
                                              "r_expires") ", 0) FROM kerf.token_find($1)"};
    *out = (struct kf_session_row){0};
    struct kf_args args = {0};
    kf_args_bytes(&args, token_sha256, 32);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, NULL, &query, &args, KF_RUN_READ, &rows, err);
    if (!status && !rows.count)
        status = kf_not_found(err, "token");
    if (!status) {
        kf_row_copy(&rows, 0, 0, out->session_id, sizeof out->session_id);
        kf_row_copy(&rows, 0, 1, out->organisation_id, sizeof out->organisation_id);
        kf_row_copy(&rows, 0, 2, out->organisation_name, sizeof out->organisation_name);
        kf_row_copy(&rows, 0, 3, out->login, sizeof out->login);
        kf_row_copy(&rows, 0, 3, out->display_name, sizeof out->display_name);
        kf_row_copy(&rows, 0, 4, out->role, sizeof out->role);
        out->expires_ms = kf_row_integer(&rows, 0, 5);
    }
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_login_find(struct kf_store *store, const char *login, struct kf_login_row *out,
                                   struct kf_error *err)
{
    static const struct kf_query query = {
        "login_find", "SELECT r_account, r_organisation, r_password_hash, r_disabled, r_must_change, r_failed, "
                      "r_locked_s "
                      "FROM kerf.login_find($1)"};
    *out = (struct kf_login_row){0};
    struct kf_args args = {0};
    kf_args_text(&args, login);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, NULL, &query, &args, KF_RUN_READ, &rows, err);
    if (!status && !rows.count)
        status = kf_not_found(err, "account");
    if (!status) {
        kf_row_copy(&rows, 0, 0, out->account_id, sizeof out->account_id);
        kf_row_copy(&rows, 0, 1, out->organisation_id, sizeof out->organisation_id);
        kf_row_copy(&rows, 0, 2, out->password_hash, sizeof out->password_hash);
        out->disabled = kf_row_flag(&rows, 0, 3);
        out->must_change = kf_row_flag(&rows, 0, 4);
        out->failed_logins = (int)kf_row_integer(&rows, 0, 5);
        out->locked_s = kf_row_number(&rows, 0, 6);
    }
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_login_failed(struct kf_store *store, const char *account_id, int threshold, double base_s,
                                     double most_s, double *locked_s, struct kf_error *err)
{
    static const struct kf_query query = {"login_failed", "SELECT kerf.login_failed($1, $2, $3, $4)"};
    struct kf_args args = {0};
    kf_args_text(&args, account_id);
    kf_args_integer(&args, threshold);
    kf_args_number(&args, base_s);
    kf_args_number(&args, most_s);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, NULL, &query, &args, KF_RUN_WRITE, &rows, err);
    *locked_s = status ? 0 : kf_row_number(&rows, 0, 0);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_login_succeeded(struct kf_store *store, const char *account_id, struct kf_error *err)
{
    static const struct kf_query query = {"login_succeeded", "SELECT kerf.login_succeeded($1)"};
    struct kf_args args = {0};
    kf_args_text(&args, account_id);
    return kf_run(store, NULL, &query, &args, KF_RUN_WRITE, NULL, err);
}

enum kf_status kf_store_session_add(struct kf_store *store, const char *organisation,
                                    const struct kf_session_new *session, char id[KF_ID_TEXT], int64_t *expires_ms,
                                    struct kf_error *err)
{
    static const struct kf_query query = {
        "session_add", "INSERT INTO kerf.session (id, organisation_id, account_id, token_sha256, csrf_token, "
                       "expires_at) "
                       "SELECT $1::uuid, kerf.organisation(), a.id, $3, $4, now() + $5 * interval '1 second' "
                       "FROM kerf.account a WHERE a.id = $2 AND ($6::text IS NULL OR a.password_hash = $6) FOR SHARE "
                       "RETURNING " KF_MS("expires_at")};
    kf_id_new(id);
    struct kf_args args = {0};
    kf_args_text(&args, id);
    kf_args_text(&args, session->account_id);
    kf_args_bytes(&args, session->token_sha256, sizeof session->token_sha256);
    kf_args_text(&args, session->csrf_token);
    kf_args_number(&args, session->lifetime_s);
    kf_args_text(&args, session->password_hash);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.count)
        status = kf_not_found(err, "account");
    *expires_ms = status ? 0 : kf_row_integer(&rows, 0, 0);
    if (status)
        id[0] = 0;
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_session_end(struct kf_store *store, const char *organisation, const char *session_id,
                                    struct kf_error *err)
{
    static const struct kf_query query = {"session_end", "DELETE FROM kerf.session WHERE id = $1"};
    enum kf_status status = kf_ids_check(err, session_id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, session_id);
    return kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
}

enum kf_status kf_store_sessions_end(struct kf_store *store, const char *organisation, const char *account_id,
                                     const char *keep, struct kf_error *err)
{
    static const struct kf_query query = {
        "sessions_end", "DELETE FROM kerf.session WHERE account_id = $1 AND ($2::uuid IS NULL OR id <> $2)"};
    enum kf_status status = kf_ids_check(err, account_id, keep);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, account_id);
    kf_args_text(&args, keep);
    return kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
}

enum kf_status kf_store_session_alive(struct kf_store *store, const char *organisation, const char *session_id,
                                      int *alive, struct kf_error *err)
{
    static const struct kf_query query = {
        "session_alive",
        "SELECT EXISTS (SELECT FROM kerf.session s JOIN kerf.account a ON a.id = s.account_id "
        "               WHERE s.id = $1 AND s.expires_at > now() AND NOT a.disabled) "
        "OR EXISTS (SELECT FROM kerf.api_token t WHERE t.id = $1 AND t.revoked_at IS NULL "
        "           AND (t.expires_at IS NULL OR t.expires_at > now()))"};
    *alive = 0;
    enum kf_status status = kf_ids_check(err, session_id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, session_id);
    struct kf_rows rows;
    status = kf_run(store, organisation, &query, &args, KF_RUN_READ, &rows, err);
    if (!status)
        *alive = kf_row_flag(&rows, 0, 0);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_token_add(struct kf_store *store, const char *organisation, const char *name,
                                  const char *role, const unsigned char token_sha256[32], const char *created_by,
                                  double lifetime_s, char id[KF_ID_TEXT], struct kf_error *err)
{
    static const struct kf_query query = {
        "token_add", "INSERT INTO kerf.api_token (id, organisation_id, name, role, token_sha256, created_by, "
                     "expires_at) "
                     "VALUES ($1, kerf.organisation(), $2, $3, $4, $5, "
                     "CASE WHEN $6 > 0 THEN now() + $6 * interval '1 second' END)"};
    kf_id_new(id);
    struct kf_args args = {0};
    kf_args_text(&args, id);
    kf_args_text(&args, name);
    kf_args_text(&args, role);
    kf_args_bytes(&args, token_sha256, 32);
    kf_args_text(&args, created_by);
    kf_args_number(&args, lifetime_s);
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
    if (status)
        id[0] = 0;
    return status;
}

enum kf_status kf_store_token_list(struct kf_store *store, const char *organisation, struct kf_arena *arena,
                                   struct kf_token_row **out, size_t *count, struct kf_error *err)
{
    static const struct kf_query query = {
        "token_list",
        "SELECT id, name, role, " KF_MS("created_at") ", coalesce(" KF_MS("expires_at") ", 0), coalesce(" KF_MS(
            "last_used_at") ", 0), revoked_at IS NOT NULL FROM kerf.api_token ORDER BY created_at, id LIMIT 1000"};
    *out = NULL;
    *count = 0;
    struct kf_args none = {0};
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &none, KF_RUN_READ, &rows, err);
    if (status)
        return status;
    *out = kf_arena_alloc(arena, (size_t)rows.count * sizeof **out + 1);
    if (!*out)
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a list of tokens.");
    for (int i = 0; *out && i < rows.count; i++) {
        struct kf_token_row *token = &(*out)[(*count)++];
        kf_row_copy(&rows, i, 0, token->id, sizeof token->id);
        kf_row_copy(&rows, i, 1, token->name, sizeof token->name);
        kf_row_copy(&rows, i, 2, token->role, sizeof token->role);
        token->created_ms = kf_row_integer(&rows, i, 3);
        token->expires_ms = kf_row_integer(&rows, i, 4);
        token->last_used_ms = kf_row_integer(&rows, i, 5);
        token->revoked = kf_row_flag(&rows, i, 6);
    }
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_token_revoke(struct kf_store *store, const char *organisation, const char *id,
                                     struct kf_error *err)
{
    static const struct kf_query query = {
        "token_revoke", "UPDATE kerf.api_token SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1"};
    enum kf_status status = kf_ids_check(err, id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, id);
    struct kf_rows rows;
    status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.changed)
        status = kf_not_found(err, "token");
    kf_rows_release(&rows);
    return status;
}
