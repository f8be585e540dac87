// The API of Kerf on the dispatcher: what kerf-server puts into struct kf_http_config. The table itself is generated
// from api/openapi.yaml (route_table_gen.h); each resource has its own routes_*.c.
//
//   struct kf_routes *routes;  kf_routes_new(app, &routes, err);
//   config.app = routes; config.tables = {kf_route_table, …};
//   config.thread_init = kf_routes_thread_init; …; kf_live_start(&source from kf_routes_live_source, …);
//   kf_routes_set_live(routes, live);
#ifndef KERF_HTTP_ROUTES_H
#define KERF_HTTP_ROUTES_H

#include "server/app/app.h"
#include "server/http/http.h"
#include "server/live/live.h"

struct kf_routes;

extern const struct kf_route kf_route_table[]; // ends with a row whose pattern is NULL

// app is borrowed until kf_routes_free. Registers itself with kf_app_on_session_change.
KF_MUST_USE enum kf_status kf_routes_new(struct kf_app *app, struct kf_routes **out, struct kf_error *err);
void kf_routes_free(struct kf_routes *routes);
// The hub for GET /api/v1/events; without one the route answers 503. NULL before it is stopped.
void kf_routes_set_live(struct kf_routes *routes, struct kf_live *live);

// The callbacks of struct kf_http_config; `app` is the struct kf_routes, a thread's context is a struct kf_app_thread.
void *kf_routes_thread_init(void *app);
void kf_routes_thread_exit(void *app, void *thread);
enum kf_status kf_routes_authenticate(struct kf_request *request, struct kf_principal *principal, struct kf_error *err);
int kf_routes_permitted(void *app, const struct kf_principal *principal, int permission);
enum kf_status kf_routes_idempotent_begin(struct kf_request *request, const char *key, struct kf_response *response,
                                          int *replayed, struct kf_error *err);
void kf_routes_idempotent_end(struct kf_request *request, const char *key, const struct kf_response *response);

// Where live events come from: the event rows of the database. `source->app` is the struct kf_routes.
void kf_routes_live_source(struct kf_routes *routes, struct kf_live_source *source);

// One turn of the background timer (every half second or so), with a context of kf_routes_thread_init.
KF_MUST_USE enum kf_status kf_routes_tick(struct kf_routes *routes, void *thread, struct kf_error *err);

#endif
