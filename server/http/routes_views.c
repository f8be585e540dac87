// Answers to small reads, kept for a moment. Many browsers look at the same few cases; each such read would be a round
// trip to the database. An answer is kept for VIEW_TTL_MS at most, and only while this process hears the database's
// notifications: whatever writes an event forgets all answers of that organisation, before the event reaches any
// browser, so nobody who was told of a change reads what was before it. A change through this process forgets them
// itself. Authorisation is never kept: the session and the role are checked for every request.
#include "server/base/config.h"
#include "server/http/routes_common.h"
#include <string.h>

struct view {
    int64_t revision; // -1: the answer has no ETag
    size_t length;
    char body[];
};

int kf_view_serve(struct kf_request *request, struct kf_response *response, const char *operation, const char *id,
                  struct kf_view_ticket *ticket)
{
    struct kf_call call = kf_call_of(request);
    struct kf_routes *routes = call.routes;
    memset(ticket, 0, sizeof *ticket);
    if (!atomic_load(&routes->hearing) || routes->view_ttl_ms <= 0)
        return 0;
    int length = snprintf(ticket->key, sizeof ticket->key, "%s/%s/%s", call.actor.organisation_id, operation, id);
    ticket->length = (size_t)length < sizeof ticket->key ? (size_t)length : 0;
    ticket->generation = atomic_load(&routes->view_generation);
    const struct kf_cache_item *item = ticket->length ? kf_cache_get(routes->views, ticket->key, ticket->length) : NULL;
    if (!item)
        return 0;
    if (kf_app_enter(call.thread, &call.actor, KF_PERM_CASE_READ, operation, id, NULL) != KF_OK) {
        kf_cache_unpin(item);
        return 0; // the use case says why
    }
    const struct view *view = item->data;
    union {
        const struct kf_cache_item *item;
        void *arg;
    } pinned = {.item = item};
    kf_response_pinned(response, "application/json", view->body, view->length, kf_cache_unpin_arg, pinned.arg);
    response->status = 200;
    if (view->revision >= 0)
        kf_response_header(request, response, "ETag", kf_etag_revision(request, view->revision));
    return 1;
}

enum kf_status kf_view_reply(struct kf_request *request, struct kf_response *response,
                             const struct kf_view_ticket *ticket, int64_t revision, struct kf_out *out,
                             struct kf_error *err)
{
    struct kf_routes *routes = request->app;
    size_t length = out->text.length;
    struct view *view =
        ticket->length && !out->text.failed ? kf_arena_alloc(&request->arena, sizeof *view + length) : NULL;
    if (view) {
        view->revision = revision;
        view->length = length;
        memcpy(view->body, out->text.data, length);
        // What was read before a change must not be kept after it.
        if (atomic_load(&routes->hearing) && atomic_load(&routes->view_generation) == ticket->generation)
            kf_cache_put(routes->views, ticket->key, ticket->length, request->principal->organisation_id, view,
                         sizeof *view + length, routes->view_ttl_ms);
        if (atomic_load(&routes->view_generation) != ticket->generation)
            kf_cache_drop(routes->views, ticket->key, ticket->length);
    }
    if (revision >= 0)
        kf_response_header(request, response, "ETag", kf_etag_revision(request, revision));
    return kf_reply(response, 200, out, err);
}

void kf_views_forget(struct kf_routes *routes, const char *organisation_id)
{
    atomic_fetch_add(&routes->view_generation, 1);
    kf_cache_drop_group(routes->views, organisation_id);
}

void kf_views_hearing(struct kf_routes *routes, int hearing)
{
    if (atomic_exchange(&routes->hearing, hearing) != hearing)
        atomic_fetch_add(&routes->view_generation, 1);
}
