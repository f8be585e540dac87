// The live stream, and where its events come from.
#include "server/app/events.h"
#include "server/base/timeid.h"
#include "server/http/routes_common.h"
#include "server/http/sse.h"
#include <string.h>

enum kf_status kf_route_event_stream(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *case_id = kf_request_query(request, "case");
    struct kf_live *live = atomic_load(&call.routes->live);
    if (case_id && *case_id && !kf_id_valid(case_id))
        return kf_error_set(err, KF_INVALID, "invalid_query", "The query's case is not an id.");
    enum kf_status status = kf_app_events_enter(call.thread, &call.actor, case_id, err);
    if (status != KF_OK)
        return status;
    if (!live)
        return kf_error_set(err, KF_UNAVAILABLE, NULL, "There are no live events right now.");
    return kf_sse_subscribe(live, request, response, case_id, err);
}

// What the hub is told, and before it the answers that are kept.
struct listener {
    struct kf_routes *routes;
    void (*notified)(void *to, const char *organisation_id, int64_t event_id);
    void *to;
};

static void heard(void *context, const char *organisation_id, int64_t event_id)
{
    const struct listener *listener = context;
    kf_views_forget(listener->routes, organisation_id);
    if (event_id) // 0: something changed that no event tells of
        listener->notified(listener->to, organisation_id, event_id);
}

static enum kf_status wait_events(void *app, void *thread, int timeout_ms,
                                  void (*notified)(void *to, const char *organisation_id, int64_t event_id), void *to,
                                  struct kf_error *err)
{
    struct listener listener = {app, notified, to};
    int64_t asked_ns = kf_time_monotonic_ns();
    enum kf_status status = kf_app_events_wait(thread, timeout_ms, heard, &listener, err);
    // After the first quiet return LISTEN is in force; after a loss nothing is kept until it is again.
    kf_views_hearing(app, status == KF_OK ? asked_ns : 0);
    return status;
}

struct emitter {
    struct kf_routes *routes;
    int forgot;
    kf_live_emit *emit;
    void *to;
    const char *organisation_id;
};

static void emit_row(void *context, const struct kf_event_row *row)
{
    struct emitter *emitter = context;
    // A row may be here before its notification: whoever is told of it must not read what was kept before it.
    if (!emitter->forgot)
        kf_views_forget(emitter->routes, emitter->organisation_id);
    emitter->forgot = 1;
    struct kf_live_event event = {.id = row->id,
                                  .created_ms = row->created_ms,
                                  .organisation_id = emitter->organisation_id,
                                  .case_id = row->case_id,
                                  .kind = row->kind,
                                  .data = row->body};
    emitter->emit(emitter->to, &event);
}

static enum kf_status fetch_events(void *app, void *thread, const char *organisation_id, int64_t after, size_t limit,
                                   kf_live_emit *emit, void *to, struct kf_error *err)
{
    struct emitter emitter = {app, 0, emit, to, organisation_id};
    return kf_app_events_after(thread, organisation_id, after, (int)limit, emit_row, &emitter, err);
}

static enum kf_status newest_event(void *app, void *thread, const char *organisation_id, int64_t *id,
                                   struct kf_error *err)
{
    (void)app;
    return kf_app_events_newest(thread, organisation_id, id, err);
}

static int is_alive(void *app, void *thread, const char *organisation_id, const char *session_id)
{
    (void)app;
    return kf_app_session_alive(thread, organisation_id, session_id);
}

void kf_routes_live_source(struct kf_routes *routes, struct kf_live_source *source)
{
    *source = (struct kf_live_source){.app = routes,
                                      .thread_init = kf_routes_thread_init,
                                      .thread_exit = kf_routes_thread_exit,
                                      .wait = wait_events,
                                      .fetch = fetch_events,
                                      .newest = newest_event,
                                      .alive = is_alive};
}
