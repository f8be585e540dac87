// Answers to small reads, kept for a moment. Many browsers look at the same few cases; each such read would be a round
// trip to the database. Every change of the rows behind a kept answer is notified in the commit that makes it
// (schema/0002_change_notify.sql) and forgets all answers of that organisation, before an event of it reaches any
// browser: nobody who was told of a change reads what was before it. Three bounds hold beside that. Answers about a
// case that is still receiving or processing are not kept. Nothing kept is used unless this process has proved within
// HEARD_MOST_MS that notifications arrive, by an answer to a question on the listening connection. And no answer lives
// longer than KERF_VIEW_CACHE_MS. A change through this process forgets them itself. Authorisation is checked for every
// request.
#include "server/base/config.h"
#include "server/base/timeid.h"
#include "server/http/routes_common.h"
#include <string.h>

#define HEARD_MOST_MS 1500 // three waits of the listener (WAIT_MS in server/live/live.c)

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
    if (routes->view_ttl_ms <= 0 || !kf_views_fresh(routes))
        return 0;
    int length = snprintf(ticket->key, sizeof ticket->key, "%lu/%s/%s/%s", atomic_load(&routes->hearing_epoch),
                          call.actor.organisation_id, operation, id);
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
                             const struct kf_view_ticket *ticket, int64_t revision, int settled, struct kf_out *out,
                             struct kf_error *err)
{
    struct kf_routes *routes = request->app;
    size_t length = out->text.length;
    struct view *view =
        settled && ticket->length && !out->text.failed ? kf_arena_alloc(&request->arena, sizeof *view + length) : NULL;
    if (view) {
        view->revision = revision;
        view->length = length;
        memcpy(view->body, out->text.data, length);
        // What was read before a change must not be kept after it.
        if (kf_views_fresh(routes) && atomic_load(&routes->view_generation) == ticket->generation)
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

void kf_views_hearing(struct kf_routes *routes, int64_t heard_ns)
{
    int64_t was = atomic_exchange(&routes->heard_ns, heard_ns);
    if ((was != 0) != (heard_ns != 0))
        atomic_fetch_add(&routes->hearing_epoch, 1); // what was kept before a silence is not used after it
}

int kf_views_fresh(const struct kf_routes *routes)
{
    int64_t heard = atomic_load(&routes->heard_ns);
    return heard && kf_time_monotonic_ns() - heard < (int64_t)HEARD_MOST_MS * 1000000;
}
