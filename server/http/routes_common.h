// What every routes_*.c needs. Private to them.
#ifndef KERF_HTTP_ROUTES_COMMON_H
#define KERF_HTTP_ROUTES_COMMON_H

#include "server/app/cases.h"
#include "server/http/body.h"
#include "server/http/cache.h"
#include "server/http/http.h"
#include "server/http/json_out.h"
#include "server/http/route_table_gen.h"
#include "server/http/routes.h"
#include <stdatomic.h>

struct kf_routes {
    struct kf_app *app;
    struct kf_cache *sessions; // SHA-256 of the token → struct kf_session_row, for a few seconds
    atomic_ulong generation;   // raised when sessions change, so that a look-up under way is not kept
    struct kf_cache *blobs;    // organisation, case, hash → struct kf_app_blob and, when small, the bytes
    _Atomic(struct kf_live *) live;
    struct kf_cache *views;       // see routes_views.c; group: the organisation
    atomic_ulong view_generation; // raised by every change
    atomic_ulong hearing_epoch;   // raised when the notifications begin to arrive and when they end
    _Atomic(int64_t) heard_ns;    // when the notifications were last known to arrive (monotonic); 0: they do not
    int64_t view_ttl_ms;
};

// Who calls, for the use cases.
struct kf_call {
    struct kf_routes *routes;
    struct kf_app_thread *thread;
    struct kf_actor actor;
};
struct kf_call kf_call_of(const struct kf_request *request);

// A path parameter that must be an id: KF_NOT_FOUND when it cannot be one.
KF_MUST_USE enum kf_status kf_path_id(const struct kf_request *request, const char *name, const char **out,
                                      struct kf_error *err);

#define KF_PAGE_ITEMS 100 // when nothing else is asked for
#define KF_PAGE_MOST  500

// limit and cursor of a list. after is NULL on the first page; it points to *place otherwise.
struct kf_page {
    int limit;
    struct kf_place place;
    const struct kf_place *after;
};
KF_MUST_USE enum kf_status kf_page_of(struct kf_request *request, struct kf_page *page, struct kf_error *err);
// The same of values that came another way; cursor may be NULL or empty. KF_INVALID "invalid_cursor".
KF_MUST_USE enum kf_status kf_page_at(struct kf_page *page, int limit, const char *cursor, struct kf_error *err);
// Ends {"items":[…]: closes the array, writes "next" when there are more, closes the object.
void kf_page_close(struct kf_out *out, int more, int64_t at, const char *id);

// Moves the text into the response as application/json (or the given type). KF_NOMEM when it could not be built.
KF_MUST_USE enum kf_status kf_reply(struct kf_response *response, int http_status, struct kf_out *out,
                                    struct kf_error *err);
void kf_reply_type(struct kf_response *response, const char *content_type);
// Retry-After in seconds.
void kf_reply_retry(struct kf_request *request, struct kf_response *response, int seconds);

// Answers to small reads (routes_views.c): `if (kf_view_serve(…)) return KF_OK;`, else ask the use case and end with
// kf_view_reply in place of kf_reply. revision: the ETag, or -1. settled: whether every change of what was read will be
// told (schema/0002_change_notify.sql); what is not settled is not kept.
struct kf_view_ticket {
    char key[160];
    size_t length; // 0: the answer is not kept
    unsigned long generation;
};
int kf_view_serve(struct kf_request *request, struct kf_response *response, const char *operation, const char *id,
                  struct kf_view_ticket *ticket);
KF_MUST_USE enum kf_status kf_view_reply(struct kf_request *request, struct kf_response *response,
                                         const struct kf_view_ticket *ticket, int64_t revision, int settled,
                                         struct kf_out *out, struct kf_error *err);
// Something of the organisation has changed.
void kf_views_forget(struct kf_routes *routes, const char *organisation_id);
// When the database's notifications were last known to arrive (monotonic), said every half second; 0: they do not, and
// nothing is kept.
void kf_views_hearing(struct kf_routes *routes, int64_t heard_ns);
// Whether what is kept here may be used: the database was heard within the last moments.
int kf_views_fresh(const struct kf_routes *routes);

// The signed-in session of this request (cached a few seconds).
struct kf_session_row;
KF_MUST_USE enum kf_status kf_routes_session(struct kf_request *request, struct kf_session_row *out,
                                             struct kf_error *err);

#endif
