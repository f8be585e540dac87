// HTTP without sockets: a request goes in, a response comes out. The dispatcher routes, authenticates, checks CSRF and
// permission, limits bodies, answers conditional and range requests and HEAD, turns errors into RFC 9457 problems and
// adds the security headers; handlers only do their one thing. mhd.h puts it behind real connections; tests call
// kf_http_dispatch in process.
//
// Threads: one exchange is worked on by one thread at a time, but not always by the same one. Handlers may block: they
// run on a fixed pool, each thread with its own context (kf_request.thread, for example a database connection).
// Lifetimes: everything in a request, and all memory taken from request->arena, lives until the response is sent.
#ifndef KERF_HTTP_HTTP_H
#define KERF_HTTP_HTTP_H

#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/base/str.h"
#include "server/base/timeid.h"
#include <stddef.h>
#include <stdint.h>

enum kf_method { KF_GET, KF_POST, KF_PUT, KF_PATCH, KF_DELETE, KF_METHODS }; // HEAD arrives at handlers as KF_GET

struct kf_field {
    const char *name;
    const char *value;
};

// Who asks. Filled by the authenticate callback; role and permissions are numbers of server/domain, opaque here.
struct kf_principal {
    char organisation_id[KF_ID_TEXT];
    char account_id[KF_ID_TEXT]; // "" for a machine token
    char session_id[KF_ID_TEXT]; // session or token row
    char csrf_token[72];         // what X-CSRF-Token must repeat; unused for machine tokens
    int role;
    unsigned by_cookie : 1;            // CSRF applies
    unsigned must_change_password : 1; // only routes with KF_ROUTE_PASSWORD_CHANGE are open
};

struct kf_request;
struct kf_response;

// Returns KF_OK with *response filled, or a failure: the dispatcher answers with a problem made from status and *err
// (headers that the handler has set are kept, for example Retry-After; body and content type are replaced).
typedef enum kf_status kf_handler(struct kf_request *request, struct kf_response *response, struct kf_error *err);

// Takes a body as it arrives, with flat memory. The handler of the route runs after the last byte. When begin has
// returned KF_OK, release is called exactly once, after the handler or when the connection is lost.
struct kf_body_sink {
    // Headers are in, nothing of the body yet: set request->state or refuse.
    enum kf_status (*begin)(struct kf_request *request, struct kf_error *err);
    // The next bytes (borrowed). A failure ends the exchange with that problem. May block for disk, not for long.
    enum kf_status (*data)(struct kf_request *request, const void *bytes, size_t length, struct kf_error *err);
    void (*release)(struct kf_request *request);
};

enum kf_route_flag {
    KF_ROUTE_NO_AUTH = 1,         // anybody; authenticate is not called
    KF_ROUTE_AUTH_OPTIONAL = 2,   // authenticate is called, its refusal is ignored (request->principal is NULL)
    KF_ROUTE_PASSWORD_CHANGE = 4, // open while the password must be changed
    KF_ROUTE_SLOW = 8,            // the handler may take seconds: it runs on the slow pool, the connection waits aside
    KF_ROUTE_IDEMPOTENT = 16,     // Idempotency-Key is honoured through the hooks in kf_http_config
    KF_ROUTE_QUIET = 32,          // successful requests are logged at debug level only
    KF_ROUTE_STREAM = 64,         // answers with kf_response_stream; not timed in the latency histogram
};

struct kf_route {
    enum kf_method method;
    const char *pattern; // "/api/v1/cases/{id}": a {name} takes one non-empty segment, percent-decoded
    int permission;      // for kf_http_config.permitted; ignored with KF_ROUTE_NO_AUTH
    unsigned flags;      // KF_ROUTE_…
    int64_t max_body;    // bytes; 0: a body is refused; with a sink: the limit of the whole stream
    kf_handler *handler;
    const struct kf_body_sink *sink; // NULL: the whole body is in request->body when the handler runs
};

#define KF_MAX_PARAMS 6

struct kf_request {
    enum kf_method method;
    int head;               // the client sent HEAD: the handler answers as for GET, the body is left out
    const char *path;       // as sent, without the query; begins with '/'
    const char *query_text; // raw, without '?'; "" when there is none
    const struct kf_route *route;
    struct kf_field params[KF_MAX_PARAMS]; // of the pattern
    size_t param_count;
    struct kf_field *query; // decoded, in the order sent
    size_t query_count;
    struct kf_field *headers; // names in lower case
    size_t header_count;
    const unsigned char *body; // NUL-terminated behind its last byte; NULL when there is none
    size_t body_length;
    int64_t content_length; // as announced; -1 when unknown (chunked)
    int64_t body_received;
    const struct kf_principal *principal; // NULL when nobody is signed in
    char remote_address[48];              // of the client (behind a trusted proxy: the one it names)
    int secure;                           // the client's connection is TLS, here or at the trusted proxy
    int loopback;                         // the peer is this machine and no proxy header is present
    char id[KF_ID_TEXT];                  // request id, for logs and problems
    struct kf_arena arena;
    void *app;    // kf_http_config.app
    void *thread; // kf_http_config.thread_init's result for the thread that runs this call
    void *state;  // the handler's or sink's own
    // Private to the dispatcher from here on.
    struct kf_exchange *exchange;
    struct kf_field *problems;
    size_t problem_count;
};

// Borrowed strings, or NULL. Header names are given in lower case.
const char *kf_request_header(const struct kf_request *request, const char *name);
const char *kf_request_param(const struct kf_request *request, const char *name);  // of the pattern; never NULL there
const char *kf_request_query(const struct kf_request *request, const char *name);  // first of that name
const char *kf_request_cookie(const struct kf_request *request, const char *name); // copy in the arena
// The media type of the body without parameters, in lower case ("" when absent), and one of its parameters, unquoted.
const char *kf_request_content_type(struct kf_request *request);
const char *kf_request_content_parameter(struct kf_request *request, const char *name);
// Query parameter as an integer in [least, most]; `otherwise` when absent; KF_INVALID with a problem pointer when bad.
KF_MUST_USE enum kf_status kf_request_query_int(struct kf_request *request, const char *name, int64_t least,
                                                int64_t most, int64_t otherwise, int64_t *out, struct kf_error *err);
// Adds {"pointer","detail"} to the "errors" of the problem that this request will be answered with. Copies both.
void kf_request_invalid(struct kf_request *request, const char *pointer, const char *detail);

// A body that has no end yet (server-sent events). read is called on a pool thread.
struct kf_stream {
    // Copies at most `room` bytes to `to` and returns how many; 0: nothing now, call again after wake; -1: the end.
    long (*read)(void *state, char *to, size_t room);
    // Gives the stream the function that wakes it; may be called from any thread, until close is called.
    void (*attach)(void *state, void (*wake)(void *waker), void *waker);
    void (*close)(void *state); // the connection is gone or the stream has ended: releases state
};

enum kf_body_kind { KF_BODY_NONE, KF_BODY_BYTES, KF_BODY_FILE, KF_BODY_STREAM };

struct kf_response {
    int status;                // 200 when the handler leaves it 0 (204 without a body)
    const char *content_type;  // borrowed until sent
    const char *etag;          // with its quotes; enables If-None-Match (304) and If-Range
    const char *cache_control; // NULL: "no-store"
    int64_t last_modified_s;   // 0: none
    enum kf_body_kind kind;
    int accept_ranges; // the dispatcher may answer a single Range from this body (BYTES or FILE)
    const void *bytes; // KF_BODY_BYTES
    int fd;            // KF_BODY_FILE; closed by the dispatcher
    int64_t offset;
    int64_t length; // of BYTES and FILE
    const struct kf_stream *stream;
    void *stream_state;
    void (*release)(void *arg); // called when `bytes` is no longer needed; may be NULL
    void *release_arg;
    struct kf_field *headers;
    size_t header_count;
    size_t header_capacity;
};

// Adds a header; name and value are borrowed until sent. A value with a control character is dropped (and logged). ETag
// and Cache-Control set the fields above.
void kf_response_header(struct kf_request *request, struct kf_response *response, const char *name, const char *value);
// Body from the request's arena or static memory.
void kf_response_bytes(struct kf_response *response, const char *content_type, const void *bytes, size_t length);
// Body pinned by the caller: release(arg) is called once it has been sent.
void kf_response_pinned(struct kf_response *response, const char *content_type, const void *bytes, size_t length,
                        void (*release)(void *), void *arg);
// Body from length bytes at offset of a file; the descriptor is moved.
void kf_response_file(struct kf_response *response, const char *content_type, int fd, int64_t offset, int64_t length);
void kf_response_stream(struct kf_response *response, const char *content_type, const struct kf_stream *stream,
                        void *state);
// ETag of an integer revision ("\"7\"") or a text (quoted); lives in the arena.
const char *kf_etag_revision(struct kf_request *request, int64_t revision);
const char *kf_etag_text(struct kf_request *request, const char *text);
// If-Match against a revision: KF_OK when it matches or is "*"; KF_PRECONDITION_REQUIRED when absent;
// KF_PRECONDITION_FAILED when it names another one.
KF_MUST_USE enum kf_status kf_request_if_match(const struct kf_request *request, int64_t revision,
                                               struct kf_error *err);
// The revision that If-Match names, for `UPDATE … WHERE revision = $n`: -1 for "*". Same errors as above.
KF_MUST_USE enum kf_status kf_request_if_match_revision(const struct kf_request *request, int64_t *revision,
                                                        struct kf_error *err);

struct kf_http_config {
    const struct kf_route *const *tables; // NULL-terminated list of tables, each ends with a row whose pattern is NULL
    kf_handler *fallback;                 // GET of a path that no route has (static files); NULL: 404
    void *fallback_state;                 // becomes request->state for it
    void *app;
    // One context per thread, made on the thread's first request. NULL: none.
    void *(*thread_init)(void *app);
    void (*thread_exit)(void *app, void *context);
    // KF_OK and *principal filled, or KF_UNAUTHENTICATED, or another failure (KF_DB …). *principal lives in the arena.
    enum kf_status (*authenticate)(struct kf_request *request, struct kf_principal *principal, struct kf_error *err);
    int (*permitted)(void *app, const struct kf_principal *principal, int permission);
    // Idempotency-Key. begin: KF_OK to go on, KF_CONFLICT when the same key came with another request or is still
    // being worked on; *replayed = 1 when the earlier response was put into *response. end: called after the handler
    // (the final response, before conditional handling), also for failures, so that a claim can be given up.
    enum kf_status (*idempotent_begin)(struct kf_request *request, const char *key, struct kf_response *response,
                                       int *replayed, struct kf_error *err);
    void (*idempotent_end)(struct kf_request *request, const char *key, const struct kf_response *response);
    // /readyz: KF_OK when requests can be served (database, blob store); err->code is shown. NULL: always ready.
    enum kf_status (*ready)(struct kf_request *request, struct kf_error *err);
    // /metrics: appends samples of the application (queue depth …). NULL: none.
    void (*extra_metrics)(struct kf_request *request, struct kf_str *to);
    int metrics_permission;             // of /metrics for those who are not on this machine
    const char *const *trusted_proxies; // NULL-terminated: addresses, CIDR or "loopback"; their
                                        // X-Forwarded-For and -Proto are believed
    int64_t buffered_body_limit;        // 0: 8 MiB, the most for a route without a sink, whatever its max_body
    int hsts;                           // send Strict-Transport-Security on secure connections
    int log_every_request;              // else only failures and slow requests
};

struct kf_http;
// *out is owned: kf_http_free, when no exchange is left.
KF_MUST_USE enum kf_status kf_http_new(const struct kf_http_config *config, struct kf_http **out, struct kf_error *err);
void kf_http_free(struct kf_http *http);

// ------------------------------------------------------------------------------------------------ driving an exchange
// For adapters (mhd.c) and tests. An exchange is one request and its response.

struct kf_exchange {
    struct kf_request request;
    struct kf_response response;
    struct kf_http *http;
    struct kf_error error;
    enum kf_status failure; // what ended the exchange early, KF_OK else
    size_t slot;            // of the counters
    int has_body;           // one was announced
    int framing_lost;       // where the request ends is not known
    int is_fallback;        // no route: the fallback handler answers
    int sink_open;
    int responded; // response is final
    int64_t started_ns;
    unsigned char *buffer; // buffered body
    size_t buffer_capacity;
    struct kf_principal principal;
};

// NULL when memory has run out.
struct kf_exchange *kf_exchange_new(struct kf_http *http);
// Adds a request header as received (name in any case). Copies.
void kf_exchange_header(struct kf_exchange *exchange, const char *name, const char *value);
// What came before: method, target as sent ("/a%20b?x=1"), the peer's address, whether its connection is TLS.
void kf_exchange_start(struct kf_exchange *exchange, const char *method, const char *target, const char *peer_address,
                       int secure);
// All headers are in. Returns 1 when the body is wanted, 0 when the response is ready.
int kf_exchange_begin(struct kf_exchange *exchange);
// Body bytes. Returns 1 to go on, 0 when the response is ready (an early failure).
int kf_exchange_data(struct kf_exchange *exchange, const void *bytes, size_t length);
// The body is complete: runs the handler; the response is ready afterwards.
void kf_exchange_end(struct kf_exchange *exchange);
// Answers with a problem instead of running the handler (the server is stopping or full).
void kf_exchange_refuse(struct kf_exchange *exchange, enum kf_status status, const char *detail);
// Counts, logs and releases everything; `bytes_sent` of the body, `completed` = 0 when the connection was lost.
void kf_exchange_free(struct kf_exchange *exchange, int64_t bytes_sent, int completed);
// The value of a response header, or NULL. For adapters and tests.
const char *kf_exchange_response_header(const struct kf_exchange *exchange, const char *name);

// Whole exchange in one call, for tests: start, headers ("name", "value", …, NULL), body, end. Body of a response that
// is a file is left as a file. The thread context is the caller's: `thread` (may be NULL). Owned: kf_exchange_free.
struct kf_exchange *kf_http_dispatch(struct kf_http *http, void *thread, const char *method, const char *target,
                                     const char *const *headers, const void *body, size_t body_length);

#endif
