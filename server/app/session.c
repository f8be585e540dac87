#include "server/app/session.h"

#include "server/app/internal.h"
#include "server/base/crypto/password.h"
#include "server/base/log.h"
#include "server/base/timeid.h"
#include "server/domain/text.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct kf_lockout_rule lockout_rule(const struct kf_app *app)
{
    return (struct kf_lockout_rule){.attempts = app->config.login_attempts,
                                    .base_s = app->config.login_lock_s,
                                    .most_s = app->config.login_lock_most_s};
}

static void session_changed(struct kf_app *app, const char *account_id, const char *session_id)
{
    if (app->session_changed)
        app->session_changed(app->session_changed_context, account_id, session_id);
}

static enum kf_status refuse(struct kf_error *err)
{
    return kf_error_set(err, KF_UNAUTHENTICATED, "invalid_credentials", "The login or the password is wrong.");
}

static enum kf_status locked(int *retry_after_s, double seconds, struct kf_error *err)
{
    *retry_after_s = seconds < 1 ? 1 : (int)seconds + 1;
    return kf_error_set(err, KF_RATE_LIMITED, "account_locked", "Too many wrong passwords; try again later.");
}

// Lower-case copy; 0 when it cannot be a login at all.
static int normal_login(const char *login, char to[208])
{
    size_t length = strlen(login);
    if (length == 0 || length > 200)
        return 0;
    for (size_t i = 0; i <= length; i++)
        to[i] = (char)(login[i] >= 'A' && login[i] <= 'Z' ? login[i] + 32 : login[i]);
    return kf_login_check(to, NULL) == KF_OK;
}

// Does the work of a real check against nothing, and locks like a real account.
static enum kf_status unknown_login(struct kf_app *app, const char *login, const char *password, int *retry_after_s,
                                    struct kf_error *err)
{
    struct kf_lockout_rule rule = lockout_rule(app);
    int wait_s = kf_throttle_login(app->throttle, login, &rule, 0);
    enum kf_status status = kf_password_verify(password, NULL, err);
    if (status != KF_UNAUTHENTICATED)
        return status == KF_OK ? refuse(err) : status;
    if (wait_s > 0)
        return locked(retry_after_s, wait_s, err);
    kf_throttle_login(app->throttle, login, &rule, 1);
    return refuse(err);
}

static enum kf_status wrong_password(struct kf_app_thread *thread, const char *account_id, struct kf_error *err)
{
    double locked_s = 0;
    struct kf_lockout_rule rule = lockout_rule(thread->app);
    enum kf_status status =
        kf_store_login_failed(thread->store, account_id, rule.attempts, rule.base_s, rule.most_s, &locked_s, err);
    if (status != KF_OK)
        return status;
    if (locked_s > 0)
        kf_log(KF_LOG_WARN, "signin.locked", "account=%s seconds=%d", account_id, (int)locked_s);
    return refuse(err);
}

// The password against the account; a right one that is disabled or locked is refused as well.
static enum kf_status check_password(struct kf_app_thread *thread, const struct kf_login_row *row, const char *password,
                                     int *retry_after_s, struct kf_error *err)
{
    enum kf_status status = kf_password_verify(password, row->password_hash, err);
    if (status != KF_OK && status != KF_UNAUTHENTICATED)
        return status;
    if (row->locked_s > 0)
        return locked(retry_after_s, row->locked_s, err);
    if (status == KF_UNAUTHENTICATED)
        return wrong_password(thread, row->account_id, err);
    return row->disabled ? refuse(err) : KF_OK;
}

static enum kf_status open_session(struct kf_app_thread *thread, const struct kf_login_row *login,
                                   struct kf_signed_in *out, struct kf_error *err)
{
    struct kf_session_new session = {.account_id = login->account_id,
                                     .lifetime_s = thread->app->config.session_lifetime_s,
                                     .password_hash = login->password_hash};
    unsigned char random[32];
    char csrf[48], id[KF_ID_TEXT];
    int64_t expires_ms;
    kf_random_bytes(random, sizeof random);
    kf_base64url(csrf, random, sizeof random);
    kf_token_new("", out->token, session.token_sha256);
    session.csrf_token = csrf;
    enum kf_status status = kf_store_session_add(thread->store, login->organisation_id, &session, id, &expires_ms, err);
    if (status == KF_NOT_FOUND) // the password was changed while this one was being checked
        return refuse(err);
    if (status == KF_OK)
        status = kf_store_session_find(thread->store, session.token_sha256, thread->app->config.session_idle_s,
                                       &out->row, err);
    return status;
}

static enum kf_status sign_in(struct kf_app_thread *thread, const char *login, const char *password,
                              struct kf_signed_in *out, int *retry_after_s, struct kf_error *err)
{
    char normal[208];
    struct kf_login_row row;
    if (!normal_login(login, normal))
        return unknown_login(thread->app, login, password, retry_after_s, err);
    enum kf_status status = kf_store_login_find(thread->store, normal, &row, err);
    if (status == KF_NOT_FOUND)
        return unknown_login(thread->app, normal, password, retry_after_s, err);
    if (status == KF_OK)
        status = check_password(thread, &row, password, retry_after_s, err);
    if (status == KF_OK)
        status = kf_store_login_succeeded(thread->store, row.account_id, err);
    if (status == KF_OK)
        status = open_session(thread, &row, out, err);
    explicit_bzero(row.password_hash, sizeof row.password_hash);
    return status;
}

enum kf_status kf_app_sign_in(struct kf_app_thread *thread, const char *login, const char *password,
                              const char *address, struct kf_signed_in *out, int *retry_after_s, struct kf_error *err)
{
    memset(out, 0, sizeof *out);
    *retry_after_s = 0;
    int wait_s = kf_throttle_address(thread->app->throttle, address, thread->app->config.logins_per_minute);
    if (wait_s > 0) {
        *retry_after_s = wait_s;
        return kf_error_set(err, KF_RATE_LIMITED, NULL, "Too many tries from this address; wait a little.");
    }
    if (strlen(password) > KF_PASSWORD_MAX_BYTES)
        return refuse(err);
    enum kf_status status = sign_in(thread, login, password, out, retry_after_s, err);
    if (status != KF_OK) {
        memset(out, 0, sizeof *out);
        kf_log(KF_LOG_INFO, "signin.refused", "address=%s code=%s", address, err ? err->code : "");
    } else {
        kf_log(KF_LOG_INFO, "signin.done", "address=%s account=%s", address, out->row.account_id);
    }
    return status;
}

enum kf_status kf_app_sign_out(struct kf_app_thread *thread, const struct kf_actor *actor, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_SELF, "session_delete", actor->session_id, err);
    if (status == KF_OK)
        status = kf_store_session_end(thread->store, actor->organisation_id, actor->session_id, err);
    session_changed(thread->app, NULL, actor->session_id);
    return status;
}

enum kf_status kf_app_session(struct kf_app_thread *thread, const char *token, int machine, struct kf_session_row *out,
                              struct kf_error *err)
{
    unsigned char digest[KF_SHA256_BYTES];
    kf_sha256(token, strlen(token), digest);
    enum kf_status status =
        machine ? kf_store_token_find(thread->store, digest, out, err)
                : kf_store_session_find(thread->store, digest, thread->app->config.session_idle_s, out, err);
    if (status == KF_NOT_FOUND)
        return kf_error_set(err, KF_UNAUTHENTICATED, NULL, "Sign in first.");
    return status;
}

enum kf_status kf_app_password_change(struct kf_app_thread *thread, const struct kf_actor *actor, const char *login,
                                      const char *current, const char *wanted, int *retry_after_s, struct kf_error *err)
{
    *retry_after_s = 0;
    if (!actor->account_id[0])
        return kf_error_set(err, KF_FORBIDDEN, "session_needed", "A machine token has no password.");
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_SELF, "password_change", actor->account_id, err);
    struct kf_login_row row;
    if (status == KF_OK)
        status = kf_store_login_find(thread->store, login, &row, err);
    if (status != KF_OK)
        return status;
    status = check_password(thread, &row, current, retry_after_s, err);
    explicit_bzero(row.password_hash, sizeof row.password_hash);
    if (status == KF_UNAUTHENTICATED)
        return kf_error_set(err, KF_UNPROCESSABLE, "invalid_credentials", "The current password is wrong.");
    if (status == KF_OK)
        status = kf_password_check(wanted, login, err);
    if (status == KF_OK && strcmp(current, wanted) == 0)
        status = kf_error_set(err, KF_UNPROCESSABLE, "password_unchanged", "The new password is the old one.");
    char encoded[KF_PASSWORD_ENCODED];
    if (status == KF_OK)
        status = kf_password_hash(wanted, encoded, err);
    if (status != KF_OK)
        return status;
    struct kf_account_change change = {.password_hash = encoded, .disabled = -1, .must_change = 0, .unlock = 1};
    struct kf_account_row changed;
    status = kf_store_account_change(thread->store, actor->organisation_id, actor->account_id, &change, &changed, err);
    if (status == KF_OK)
        status =
            kf_store_sessions_end(thread->store, actor->organisation_id, actor->account_id, actor->session_id, err);
    session_changed(thread->app, actor->account_id, NULL);
    return status;
}
