// Who a request is from, and the callbacks of the dispatcher around it. Sessions are kept for a few seconds, and only
// while the database's notifications arrive; a sign-out, a changed password, account or token is notified in the commit
// that makes it (schema/0002_change_notify.sql) and forgotten here and in every other replica.
#include "server/app/idempotency.h"
#include "server/app/session.h"
#include "server/app/work.h"
#include "server/base/config.h"
#include "server/base/hash.h"
#include "server/http/routes_common.h"
#include <stdlib.h>
#include <string.h>

#define SESSION_TTL_MS     5000 // an answer is forgotten at once when the session ends; this is for a lost notice
#define SESSION_ENTRIES    20000
#define SESSION_BYTES      ((size_t)32 << 20)
#define BLOB_CACHE_ENTRIES 20000
#define BLOB_CACHE_BYTES   ((size_t)64 << 20)
#define VIEW_CACHE_ENTRIES 20000
#define VIEW_CACHE_BYTES   ((size_t)32 << 20)

static void session_changed(void *context, const char *account_id, const char *session_id)
{
    struct kf_routes *routes = context;
    atomic_fetch_add(&routes->generation, 1);
    // A row is kept under its account (a token's under its own id), so a changed session forgets all of its group.
    if (account_id)
        kf_cache_drop_group(routes->sessions, account_id);
    if (session_id)
        kf_cache_drop_group(routes->sessions, session_id);
    struct kf_live *live = atomic_load(&routes->live);
    if (live && session_id)
        kf_live_drop_session(live, session_id);
}

enum kf_status kf_routes_new(struct kf_app *app, struct kf_routes **out, struct kf_error *err)
{
    *out = NULL;
    struct kf_routes *routes = calloc(1, sizeof *routes);
    enum kf_status status = routes ? kf_cache_new(SESSION_ENTRIES, SESSION_BYTES, &routes->sessions) : KF_NOMEM;
    if (status == KF_OK)
        status = kf_cache_new(BLOB_CACHE_ENTRIES, BLOB_CACHE_BYTES, &routes->blobs);
    if (status == KF_OK)
        status = kf_cache_new(VIEW_CACHE_ENTRIES, VIEW_CACHE_BYTES, &routes->views);
    if (status != KF_OK) {
        kf_routes_free(routes);
        return kf_error_set(err, status, NULL, "Not enough memory to start.");
    }
    routes->view_ttl_ms = kf_config_integer("KERF_VIEW_CACHE_MS");
    routes->app = app;
    kf_app_on_session_change(app, session_changed, routes);
    *out = routes;
    return KF_OK;
}

void kf_routes_free(struct kf_routes *routes)
{
    if (!routes)
        return;
    if (routes->app)
        kf_app_on_session_change(routes->app, NULL, NULL);
    if (routes->sessions)
        kf_cache_free(routes->sessions);
    if (routes->blobs)
        kf_cache_free(routes->blobs);
    if (routes->views)
        kf_cache_free(routes->views);
    free(routes);
}

void kf_routes_set_live(struct kf_routes *routes, struct kf_live *live)
{
    atomic_store(&routes->live, live);
}

void *kf_routes_thread_init(void *app)
{
    return kf_app_thread_new(((struct kf_routes *)app)->app);
}

void kf_routes_thread_exit(void *app, void *thread)
{
    (void)app;
    kf_app_thread_free(thread);
}

// The secret of the request: an API token (Authorization: Bearer) before a session cookie. NULL when there is none.
static const char *secret_of(struct kf_request *request, int *machine)
{
    const char *authorization = kf_request_header(request, "authorization");
    *machine = authorization && strncasecmp(authorization, "Bearer ", 7) == 0;
    if (*machine)
        return authorization + 7;
    return kf_request_cookie(request, "kerf_session");
}

static enum kf_status find_session(struct kf_request *request, struct kf_session_row *row, int *machine,
                                   struct kf_error *err)
{
    struct kf_routes *routes = request->app;
    const char *secret = secret_of(request, machine);
    if (!secret || strlen(secret) < 20 || strlen(secret) > 200)
        return kf_error_set(err, KF_UNAUTHENTICATED, NULL, "Sign in first.");
    int fresh = kf_views_fresh(routes);
    unsigned long epoch = atomic_load(&routes->hearing_epoch);
    unsigned char key[KF_SHA256_BYTES + 1 + sizeof epoch];
    kf_sha256(secret, strlen(secret), key);
    key[KF_SHA256_BYTES] = (unsigned char)*machine;
    memcpy(key + KF_SHA256_BYTES + 1, &epoch, sizeof epoch);
    const struct kf_cache_item *item = fresh ? kf_cache_get(routes->sessions, key, sizeof key) : NULL;
    if (item) {
        memcpy(row, item->data, sizeof *row);
        kf_cache_unpin(item);
        return KF_OK;
    }
    if (!request->thread)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a database connection.");
    unsigned long generation = atomic_load(&routes->generation);
    enum kf_status status = kf_app_session(request->thread, secret, *machine, row, err);
    if (status == KF_OK && fresh && atomic_load(&routes->generation) == generation)
        kf_cache_put(routes->sessions, key, sizeof key, *machine ? row->session_id : row->account_id, row, sizeof *row,
                     SESSION_TTL_MS);
    if (atomic_load(&routes->generation) != generation) // heard between the look and the keeping
        kf_cache_drop(routes->sessions, key, sizeof key);
    return status;
}

enum kf_status kf_routes_session(struct kf_request *request, struct kf_session_row *out, struct kf_error *err)
{
    int machine;
    return find_session(request, out, &machine, err);
}

enum kf_status kf_routes_authenticate(struct kf_request *request, struct kf_principal *principal, struct kf_error *err)
{
    struct kf_session_row row;
    enum kf_role role;
    int machine;
    enum kf_status status = find_session(request, &row, &machine, err);
    if (status != KF_OK)
        return status;
    if (row.expires_ms && row.expires_ms <= kf_time_unix_ms())
        return kf_error_set(err, KF_UNAUTHENTICATED, NULL, "The session has ended; sign in again.");
    if (kf_role_parse(row.role, &role) != KF_OK)
        return kf_error_set(err, KF_FORBIDDEN, NULL, "The account has no role that this version knows.");
    memcpy(principal->organisation_id, row.organisation_id, sizeof principal->organisation_id);
    memcpy(principal->account_id, row.account_id, sizeof principal->account_id);
    memcpy(principal->session_id, row.session_id, sizeof principal->session_id);
    memcpy(principal->csrf_token, row.csrf_token, sizeof principal->csrf_token);
    principal->role = (int)role;
    principal->by_cookie = !machine;
    principal->must_change_password = row.must_change != 0;
    return KF_OK;
}

int kf_routes_permitted(void *app, const struct kf_principal *principal, int permission)
{
    (void)app;
    return kf_role_may((enum kf_role)principal->role, (enum kf_permission)permission);
}

// ---------------------------------------------------------------------------------------------- Idempotency-Key

// Method, path and body: the same key may only repeat the same request.
static void request_digest(const struct kf_request *request, unsigned char digest[KF_SHA256_BYTES])
{
    struct kf_sha256 *stream;
    char method = (char)('0' + request->method);
    if (kf_sha256_new(&stream) != KF_OK) {
        memset(digest, 0, KF_SHA256_BYTES);
        return;
    }
    kf_sha256_add(stream, &method, 1);
    kf_sha256_add(stream, request->path, strlen(request->path) + 1);
    if (request->body_length)
        kf_sha256_add(stream, request->body, request->body_length);
    kf_sha256_finish(stream, digest);
    kf_sha256_free(stream);
}

enum kf_status kf_routes_idempotent_begin(struct kf_request *request, const char *key, struct kf_response *response,
                                          int *replayed, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_idempotent_answer answer;
    unsigned char digest[KF_SHA256_BYTES];
    *replayed = 0;
    if (!request->principal)
        return KF_OK;
    request_digest(request, digest);
    enum kf_status status =
        kf_app_idempotent_begin(call.thread, &call.actor, key, digest, &request->arena, &answer, err);
    if (status != KF_OK || answer.status == 0)
        return status;
    *replayed = 1;
    response->status = answer.status;
    kf_response_bytes(response, answer.content_type, answer.body, answer.body_length);
    if (answer.location[0])
        kf_response_header(request, response, "Location", answer.location);
    return KF_OK;
}

void kf_routes_idempotent_end(struct kf_request *request, const char *key, const struct kf_response *response)
{
    struct kf_call call = kf_call_of(request);
    struct kf_idempotent_answer answer = {.status = response->status, .location = "", .content_type = ""};
    if (!request->principal)
        return;
    for (size_t i = 0; i < response->header_count; i++)
        if (strcmp(response->headers[i].name, "Location") == 0)
            answer.location = response->headers[i].value;
    if (response->content_type)
        answer.content_type = response->content_type;
    if (response->kind == KF_BODY_BYTES) {
        answer.body = response->bytes;
        answer.body_length = (size_t)response->length;
    }
    kf_app_idempotent_end(call.thread, &call.actor, key, &answer);
}

enum kf_status kf_routes_tick(struct kf_routes *routes, void *thread, struct kf_error *err)
{
    struct kf_app_thread *context = thread;
    return kf_app_sweep(context->store, kf_app_settings(routes->app), NULL, err);
}
