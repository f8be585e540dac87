// Accounts, machine tokens and DICOM peers.
#include "server/app/session.h"
#include "server/base/hash.h"
#include "server/domain/text.h"
#include "server/http/routes_common.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------------------------------------------- accounts
static void out_account(struct kf_out *out, const struct kf_account_row *row, const char *one_time)
{
    kf_out_object(out, NULL);
    kf_out_text(out, "id", row->id);
    kf_out_text(out, "login", row->login);
    kf_out_text(out, "display_name", row->display_name);
    kf_out_text(out, "role", row->role);
    kf_out_flag(out, "disabled", row->disabled);
    kf_out_flag(out, "must_change_password", row->must_change);
    kf_out_time(out, "locked_until", row->locked_until_ms);
    kf_out_time(out, "created_at", row->created_ms);
    kf_out_int(out, "revision", row->revision);
    if (one_time)
        kf_out_text(out, "one_time_password", one_time);
    kf_out_close(out);
}

static enum kf_status reply_account(struct kf_request *request, struct kf_response *response, int http_status,
                                    const struct kf_account_row *row, const char *one_time, struct kf_error *err)
{
    struct kf_out out = {0};
    out_account(&out, row, one_time);
    kf_response_header(request, response, "ETag", kf_etag_revision(request, row->revision));
    return kf_reply(response, http_status, &out, err);
}

enum kf_status kf_route_account_list(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_account_row *rows;
    size_t count;
    int64_t limit;
    const char *after = kf_request_query(request, "cursor");
    enum kf_status status = kf_request_query_int(request, "limit", 1, 500, 100, &limit, err);
    if (status == KF_OK && after && *after && kf_login_check(after, NULL) != KF_OK)
        status = kf_error_set(err, KF_INVALID, "invalid_cursor", "The cursor is not one that we gave.");
    if (status == KF_OK)
        status = kf_app_account_list(call.thread, &call.actor, after && *after ? after : NULL, (int)limit + 1,
                                     &request->arena, &rows, &count, err);
    if (status != KF_OK)
        return status;
    struct kf_out out = {0};
    int more = count > (size_t)limit;
    kf_out_object(&out, NULL);
    kf_out_array(&out, "items");
    for (size_t i = 0; i < count - (size_t)more; i++)
        out_account(&out, &rows[i], NULL);
    kf_out_close(&out);
    kf_out_text(&out, "next", more ? rows[limit - 1].login : NULL);
    kf_out_close(&out);
    return kf_reply(response, 200, &out, err);
}

static enum kf_status read_role(struct kf_request *request, const char *text, enum kf_role *role, struct kf_error *err)
{
    return kf_role_parse(text, role) == KF_OK ? KF_OK : kf_body_fault(request, "/role", "is not a role", err);
}

enum kf_status kf_route_account_create(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *login = NULL, *name = NULL, *role_text = NULL;
    const struct kf_member members[] = {
        {.name = "login", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 200, .to = &login},
        {.name = "display_name", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 200, .to = &name},
        {.name = "role", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 20, .to = &role_text},
    };
    enum kf_role role;
    struct kf_account_row row;
    char one_time[32];
    enum kf_status status = kf_body_read(request, members, sizeof members / sizeof *members, NULL, err);
    if (status == KF_OK)
        status = read_role(request, role_text, &role, err);
    if (status == KF_OK)
        status = kf_login_check(login, err);
    if (status == KF_OK)
        status = kf_text_line_check(name, 1, 200, err);
    if (status == KF_OK)
        status = kf_app_account_add(call.thread, &call.actor, login, name, role, &row, one_time, err);
    if (status != KF_OK)
        return status;
    char *location = kf_arena_printf(&request->arena, "/api/v1/accounts/%s", row.id);
    if (location)
        kf_response_header(request, response, "Location", location);
    return reply_account(request, response, 201, &row, one_time, err);
}

enum kf_status kf_route_account_read(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_account_row row;
    const char *id;
    enum kf_status status = kf_path_id(request, "account_id", &id, err);
    if (status == KF_OK)
        status = kf_app_account_read(call.thread, &call.actor, id, &row, err);
    return status == KF_OK ? reply_account(request, response, 200, &row, NULL, err) : status;
}

enum kf_status kf_route_account_change(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_app_account_change change = {.disabled = -1};
    const char *role_text = NULL, *id;
    int64_t never = 0;
    const struct kf_member members[] = {
        {.name = "display_name", .type = KF_MEMBER_TEXT, .least = 1, .most = 200, .to = &change.display_name},
        {.name = "role", .type = KF_MEMBER_TEXT, .least = 1, .most = 20, .to = &role_text},
        {.name = "disabled", .type = KF_MEMBER_FLAG, .to = &change.disabled},
        {.name = "locked_until",
         .type = KF_MEMBER_TIME,
         .nullable = 1,
         .most = 40,
         .to = &never,
         .present = &change.unlock},
    };
    struct kf_account_row row;
    enum kf_status status = kf_path_id(request, "account_id", &id, err);
    if (status == KF_OK)
        status = kf_request_if_match_revision(request, &change.revision, err);
    if (status == KF_OK)
        status = kf_body_read(request, members, sizeof members / sizeof *members, NULL, err);
    if (status == KF_OK && never != 0)
        status = kf_body_fault(request, "/locked_until", "can only be set to null", err);
    if (status == KF_OK && role_text) {
        change.has_role = 1;
        status = read_role(request, role_text, &change.role, err);
    }
    if (status == KF_OK && change.display_name)
        status = kf_text_line_check(change.display_name, 1, 200, err);
    if (status == KF_OK && !change.display_name && !role_text && change.disabled < 0 && !change.unlock)
        status = kf_body_fault(request, "", "changes nothing", err);
    if (status == KF_OK)
        status = kf_app_account_change(call.thread, &call.actor, id, &change, &row, err);
    return status == KF_OK ? reply_account(request, response, 200, &row, NULL, err) : status;
}

enum kf_status kf_route_account_reset_password(struct kf_request *request, struct kf_response *response,
                                               struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_account_row row;
    char one_time[32];
    const char *id;
    enum kf_status status = kf_path_id(request, "account_id", &id, err);
    if (status == KF_OK)
        status = kf_app_account_reset(call.thread, &call.actor, id, &row, one_time, err);
    return status == KF_OK ? reply_account(request, response, 200, &row, one_time, err) : status;
}

// ---------------------------------------------------------------------------------------------------- tokens
static void out_token(struct kf_out *out, const struct kf_token_row *row, const char *secret)
{
    kf_out_object(out, NULL);
    kf_out_text(out, "id", row->id);
    kf_out_text(out, "name", row->name);
    kf_out_text(out, "role", row->role);
    kf_out_time(out, "created_at", row->created_ms);
    kf_out_time(out, "expires_at", row->expires_ms);
    kf_out_flag(out, "revoked", row->revoked);
    kf_out_time(out, "last_used_at", row->last_used_ms);
    if (secret)
        kf_out_text(out, "token", secret);
    kf_out_close(out);
}

enum kf_status kf_route_token_list(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_token_row *rows;
    size_t count;
    struct kf_out out = {0};
    enum kf_status status = kf_app_token_list(call.thread, &call.actor, &request->arena, &rows, &count, err);
    if (status != KF_OK)
        return status;
    kf_out_object(&out, NULL);
    kf_out_array(&out, "items");
    for (size_t i = 0; i < count; i++)
        out_token(&out, &rows[i], NULL);
    kf_page_close(&out, 0, 0, NULL);
    return kf_reply(response, 200, &out, err);
}

enum kf_status kf_route_token_create(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *name = NULL, *role_text = NULL;
    int64_t expires_ms = 0;
    const struct kf_member members[] = {
        {.name = "name", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 200, .to = &name},
        {.name = "role", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 20, .to = &role_text},
        {.name = "expires_at", .type = KF_MEMBER_TIME, .nullable = 1, .most = 40, .to = &expires_ms},
    };
    enum kf_role role;
    struct kf_token_row row;
    char secret[KF_SESSION_TOKEN];
    struct kf_out out = {0};
    enum kf_status status = kf_body_read(request, members, sizeof members / sizeof *members, NULL, err);
    if (status == KF_OK)
        status = read_role(request, role_text, &role, err);
    if (status == KF_OK)
        status = kf_text_line_check(name, 1, 200, err);
    if (status == KF_OK)
        status = kf_app_token_add(call.thread, &call.actor, name, role, expires_ms, secret, &row, err);
    if (status != KF_OK)
        return status;
    out_token(&out, &row, secret);
    return kf_reply(response, 201, &out, err);
}

enum kf_status kf_route_token_revoke(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *id;
    enum kf_status status = kf_path_id(request, "token_id", &id, err);
    if (status == KF_OK)
        status = kf_app_token_revoke(call.thread, &call.actor, id, err);
    if (status == KF_OK)
        response->status = 204;
    return status;
}

// ---------------------------------------------------------------------------------------------------- peers
static void out_peer(struct kf_out *out, const struct kf_peer_row *row)
{
    kf_out_object(out, NULL);
    kf_out_text(out, "id", row->id);
    kf_out_text(out, "name", row->name);
    kf_out_text(out, "ae_title", row->ae_title);
    kf_out_text(out, "called_ae_title", row->called_ae_title);
    kf_out_text(out, "address", row->address[0] ? row->address : NULL);
    if (row->port)
        kf_out_int(out, "port", row->port);
    else
        kf_out_null(out, "port");
    kf_out_flag(out, "tls", row->tls);
    kf_out_flag(out, "may_store", row->may_store);
    kf_out_time(out, "created_at", row->created_ms);
    kf_out_close(out);
}

enum kf_status kf_route_peer_list(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_peer_row *rows;
    size_t count;
    struct kf_out out = {0};
    enum kf_status status = kf_app_peer_list(call.thread, &call.actor, &request->arena, &rows, &count, err);
    if (status != KF_OK)
        return status;
    kf_out_object(&out, NULL);
    kf_out_array(&out, "items");
    for (size_t i = 0; i < count; i++)
        out_peer(&out, &rows[i]);
    kf_page_close(&out, 0, 0, NULL);
    return kf_reply(response, 200, &out, err);
}

// An address or a network in CIDR form whose host bits are zero, as PostgreSQL's cidr wants it. 1 when it is one.
static int is_network(const char *text)
{
    char address[64];
    unsigned char bits[16];
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    if (length == 0 || length >= sizeof address)
        return 0;
    memcpy(address, text, length);
    address[length] = 0;
    int family = strchr(address, ':') ? AF_INET6 : AF_INET, whole = family == AF_INET ? 32 : 128, prefix = whole;
    if (inet_pton(family, address, bits) != 1)
        return 0;
    if (slash) {
        size_t digits = strspn(slash + 1, "0123456789");
        if (digits == 0 || digits > 3 || slash[1 + digits])
            return 0;
        prefix = atoi(slash + 1);
    }
    for (int bit = prefix; bit < whole; bit++)
        if (bits[bit / 8] >> (7 - bit % 8) & 1)
            return 0;
    return prefix <= whole;
}

static enum kf_status check_peer(const struct kf_peer_new *peer, struct kf_error *err)
{
    enum kf_status status = kf_text_line_check(peer->name, 1, 200, err);
    if (status == KF_OK)
        status = kf_ae_title_check(peer->ae_title, err);
    if (status == KF_OK && peer->called_ae_title)
        status = kf_ae_title_check(peer->called_ae_title, err);
    if (status == KF_OK && peer->address && !is_network(peer->address))
        status = kf_error_set(err, KF_INVALID, "invalid_address",
                              "The address must be an IP address, or a network such as 10.1.2.0/24.");
    return status;
}

static enum kf_status find_peer(struct kf_request *request, const char *id, struct kf_peer_row *out,
                                struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_peer_row *rows;
    size_t count;
    enum kf_status status = kf_app_peer_list(call.thread, &call.actor, &request->arena, &rows, &count, err);
    for (size_t i = 0; status == KF_OK && i < count; i++)
        if (strcmp(rows[i].id, id) == 0) {
            *out = rows[i];
            return KF_OK;
        }
    return status == KF_OK ? kf_error_set(err, KF_GONE, NULL, "The peer was deleted at once.") : status;
}

enum kf_status kf_route_peer_create(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_peer_new peer = {.may_store = 1};
    int64_t port = 0;
    const struct kf_member members[] = {
        {.name = "name", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 200, .to = &peer.name},
        {.name = "ae_title", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 16, .to = &peer.ae_title},
        {.name = "called_ae_title", .type = KF_MEMBER_TEXT, .least = 1, .most = 16, .to = &peer.called_ae_title},
        {.name = "address", .type = KF_MEMBER_TEXT, .nullable = 1, .least = 1, .most = 64, .to = &peer.address},
        {.name = "port", .type = KF_MEMBER_INT, .nullable = 1, .least = 1, .most = 65535, .to = &port},
        {.name = "tls", .type = KF_MEMBER_FLAG, .to = &peer.tls},
        {.name = "may_store", .type = KF_MEMBER_FLAG, .to = &peer.may_store},
    };
    char id[KF_ID_TEXT];
    struct kf_peer_row row;
    struct kf_out out = {0};
    enum kf_status status = kf_body_read(request, members, sizeof members / sizeof *members, NULL, err);
    if (status == KF_OK)
        status = check_peer(&peer, err);
    peer.port = (int)port;
    if (status == KF_OK)
        status = kf_app_peer_add(call.thread, &call.actor, &peer, id, err);
    if (status == KF_OK)
        status = find_peer(request, id, &row, err);
    if (status != KF_OK)
        return status;
    out_peer(&out, &row);
    return kf_reply(response, 201, &out, err);
}

enum kf_status kf_route_peer_delete(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *id;
    enum kf_status status = kf_path_id(request, "peer_id", &id, err);
    if (status == KF_OK)
        status = kf_app_peer_remove(call.thread, &call.actor, id, err);
    if (status == KF_OK)
        response->status = 204;
    return status;
}
