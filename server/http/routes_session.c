// Signing in and out.
#include "server/app/session.h"
#include "server/domain/signin.h"
#include "server/http/routes_common.h"
#include <stdio.h>
#include <string.h>

static void out_session(struct kf_out *out, const struct kf_session_row *row)
{
    kf_out_object(out, NULL);
    kf_out_object(out, "account");
    kf_out_text(out, "id", row->account_id[0] ? row->account_id : row->session_id);
    kf_out_text(out, "login", row->login);
    kf_out_text(out, "display_name", row->display_name);
    kf_out_text(out, "role", row->role);
    kf_out_flag(out, "must_change_password", row->must_change);
    kf_out_close(out);
    kf_out_object(out, "organisation");
    kf_out_text(out, "id", row->organisation_id);
    kf_out_text(out, "name", row->organisation_name);
    kf_out_close(out);
    kf_out_text(out, "csrf_token", row->csrf_token);
    kf_out_time(out, "expires_at", row->expires_ms);
    kf_out_close(out);
}

static void set_cookie(struct kf_request *request, struct kf_response *response, const char *token, long max_age_s)
{
    char *cookie = kf_arena_printf(&request->arena, "kerf_session=%s; Path=/; Max-Age=%ld; HttpOnly; SameSite=Strict%s",
                                   token, max_age_s, request->secure ? "; Secure" : "");
    if (cookie)
        kf_response_header(request, response, "Set-Cookie", cookie);
}

enum kf_status kf_route_session_create(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *login = NULL, *password = NULL;
    const struct kf_member members[] = {
        {.name = "login", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 800, .to = &login},
        {.name = "password", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 4096, .to = &password},
    };
    enum kf_status status = kf_body_read(request, members, sizeof members / sizeof *members, NULL, err);
    if (status != KF_OK)
        return status;
    struct kf_signed_in signed_in;
    int retry_after_s = 0;
    status = kf_app_sign_in(call.thread, login, password, request->remote_address, &signed_in, &retry_after_s, err);
    if (retry_after_s > 0)
        kf_reply_retry(request, response, retry_after_s);
    if (status != KF_OK)
        return status;
    set_cookie(request, response, signed_in.token, (long)kf_app_settings(call.routes->app)->session_lifetime_s);
    struct kf_out out = {0};
    out_session(&out, &signed_in.row);
    return kf_reply(response, 200, &out, err);
}

enum kf_status kf_route_session_read(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_session_row row;
    struct kf_out out = {0};
    enum kf_status status = kf_routes_session(request, &row, err);
    if (status != KF_OK)
        return status;
    if (!row.account_id[0])
        return kf_error_set(err, KF_FORBIDDEN, "session_needed", "A machine token has no session.");
    out_session(&out, &row);
    return kf_reply(response, 200, &out, err);
}

enum kf_status kf_route_session_delete(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    if (!call.actor.account_id[0])
        return kf_error_set(err, KF_FORBIDDEN, "session_needed", "A machine token cannot sign out.");
    enum kf_status status = kf_app_sign_out(call.thread, &call.actor, err);
    // The cached row hangs at the account, and this session must not be found in it any more.
    kf_cache_drop_group(call.routes->sessions, call.actor.account_id);
    if (status == KF_OK) {
        set_cookie(request, response, "", 0);
        response->status = 204;
    }
    return status;
}

enum kf_status kf_route_password_change(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *current = NULL, *wanted = NULL;
    const struct kf_member members[] = {
        {.name = "current_password", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 4096, .to = &current},
        {.name = "new_password", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 4096, .to = &wanted},
    };
    struct kf_session_row row;
    int retry_after_s = 0;
    enum kf_status status = kf_body_read(request, members, sizeof members / sizeof *members, NULL, err);
    if (status == KF_OK)
        status = kf_routes_session(request, &row, err);
    if (status == KF_OK)
        status = kf_app_password_change(call.thread, &call.actor, row.login, current, wanted, &retry_after_s, err);
    if (retry_after_s > 0)
        kf_reply_retry(request, response, retry_after_s);
    if (status == KF_OK)
        response->status = 204;
    return status;
}
