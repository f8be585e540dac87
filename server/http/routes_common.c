#include "server/http/routes_common.h"

#define KERF_ROUTE_TABLE
#include "server/http/route_table_gen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kf_call kf_call_of(const struct kf_request *request)
{
    struct kf_call call = {.routes = request->app, .thread = request->thread};
    const struct kf_principal *who = request->principal;
    call.actor = (struct kf_actor){.organisation_id = who ? who->organisation_id : "",
                                   .account_id = who ? who->account_id : "",
                                   .session_id = who ? who->session_id : "",
                                   .role = who ? (enum kf_role)who->role : KF_ROLE_COUNT,
                                   .address = request->remote_address,
                                   .request_id = request->id};
    return call;
}

enum kf_status kf_path_id(const struct kf_request *request, const char *name, const char **out, struct kf_error *err)
{
    *out = kf_request_param(request, name);
    if (!*out || !kf_id_valid(*out))
        return kf_error_set(err, KF_NOT_FOUND, NULL, "There is nothing with this id.");
    return KF_OK;
}

// "NUMBER_UUID", as kf_page_close writes it.
static int read_cursor(const char *text, struct kf_place *place)
{
    char *end;
    if (strlen(text) > 60 || (*text != '-' && (*text < '0' || *text > '9')))
        return 0;
    place->at = strtoll(text, &end, 10);
    if (*end != '_' || !kf_id_valid(end + 1))
        return 0;
    memcpy(place->id, end + 1, sizeof place->id);
    return 1;
}

enum kf_status kf_page_of(struct kf_request *request, struct kf_page *page, struct kf_error *err)
{
    int64_t limit;
    enum kf_status status = kf_request_query_int(request, "limit", 1, KF_PAGE_MOST, KF_PAGE_ITEMS, &limit, err);
    return status == KF_OK ? kf_page_at(page, (int)limit, kf_request_query(request, "cursor"), err) : status;
}

enum kf_status kf_page_at(struct kf_page *page, int limit, const char *cursor, struct kf_error *err)
{
    memset(page, 0, sizeof *page);
    page->limit = limit;
    if (cursor && *cursor) {
        if (!read_cursor(cursor, &page->place))
            return kf_error_set(err, KF_INVALID, "invalid_cursor", "The cursor is not one that we gave.");
        page->after = &page->place;
    }
    return KF_OK;
}

void kf_page_close(struct kf_out *out, int more, int64_t at, const char *id)
{
    char cursor[64];
    kf_out_close(out);
    if (more) {
        snprintf(cursor, sizeof cursor, "%lld_%s", (long long)at, id);
        kf_out_text(out, "next", cursor);
    } else {
        kf_out_null(out, "next");
    }
    kf_out_close(out);
}

enum kf_status kf_reply(struct kf_response *response, int http_status, struct kf_out *out, struct kf_error *err)
{
    if (out->text.failed) {
        kf_str_release(&out->text);
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for the answer.");
    }
    response->status = http_status;
    kf_response_pinned(response, "application/json", out->text.data, out->text.length, free, out->text.data);
    memset(&out->text, 0, sizeof out->text);
    return KF_OK;
}

void kf_reply_type(struct kf_response *response, const char *content_type)
{
    response->content_type = content_type;
}

void kf_reply_retry(struct kf_request *request, struct kf_response *response, int seconds)
{
    char *text = kf_arena_printf(&request->arena, "%d", seconds < 1 ? 1 : seconds);
    if (text)
        kf_response_header(request, response, "Retry-After", text);
}
