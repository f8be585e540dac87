// The exchange: from the request line to the finished response, without a socket. See http.h for the contract and
// README.md for the order of the checks, which is part of it: what is refused must be refused before it costs anything.
#include "server/http/internal.h"

#include "server/base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOST_HEADERS          100 // bounds a request's memory; browsers send a score
#define BUFFERED_BODY_DEFAULT ((int64_t)8 << 20)
#define SLOW_REQUEST_NS       ((int64_t)1000000000) // is logged even where requests are not

enum kf_status kf_http_new(const struct kf_http_config *config, struct kf_http **out, struct kf_error *err)
{
    *out = NULL;
    struct kf_http *http = calloc(1, sizeof *http);
    if (!http)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    http->config = *config;
    enum kf_status status = kf_router_new(config->tables, &http->router, err);
    if (status == KF_OK)
        status = kf_metrics_new(kf_router_count(http->router) + 2, &http->metrics);
    if (status != KF_OK) {
        kf_http_free(http);
        return status;
    }
    *out = http;
    return KF_OK;
}

void kf_http_free(struct kf_http *http)
{
    if (!http)
        return;
    kf_router_free(http->router);
    kf_metrics_free(http->metrics);
    free(http);
}

struct kf_exchange *kf_exchange_new(struct kf_http *http)
{
    struct kf_exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->http = http;
    exchange->request.exchange = exchange;
    exchange->request.app = http->config.app;
    exchange->request.content_length = -1;
    exchange->request.path = "";
    exchange->request.query_text = "";
    exchange->request.method = KF_METHODS;
    exchange->response.fd = -1;
    exchange->slot = KF_SLOT_NONE(http);
    exchange->started_ns = kf_time_monotonic_ns();
    kf_metrics_gauge_add(KF_GAUGE_IN_FLIGHT, 1);
    return exchange;
}

// Keeps the first reason; the response is made when the headers are complete.
static void fail(struct kf_exchange *exchange, enum kf_status status, const char *code, const char *detail)
{
    if (exchange->failure != KF_OK)
        return;
    exchange->failure = kf_error_set(&exchange->error, status, code, "%s", detail);
}

void kf_exchange_header(struct kf_exchange *exchange, const char *name, const char *value)
{
    struct kf_request *request = &exchange->request;
    if (!request->headers)
        request->headers = kf_arena_alloc(&request->arena, MOST_HEADERS * sizeof *request->headers);
    if (!request->headers || request->header_count == MOST_HEADERS) {
        fail(exchange, KF_INVALID, "too_many_headers", "The request has too many header fields.");
        return;
    }
    char *lower = kf_arena_strdup(&request->arena, name);
    char *copy = kf_arena_strdup(&request->arena, value ? value : "");
    if (!lower || !copy) {
        fail(exchange, KF_NOMEM, NULL, "Out of memory.");
        return;
    }
    for (char *at = lower; *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    if (!kf_http_value_ok(copy))
        fail(exchange, KF_INVALID, "invalid_header", "A header field holds a control character.");
    request->headers[request->header_count++] = (struct kf_field){lower, copy};
}

static enum kf_method method_from(const char *text, int *head)
{
    static const char *const names[KF_METHODS] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    *head = strcmp(text, "HEAD") == 0;
    if (*head)
        return KF_GET;
    for (int i = 0; i < KF_METHODS; i++)
        if (strcmp(text, names[i]) == 0)
            return (enum kf_method)i;
    return KF_METHODS;
}

void kf_exchange_start(struct kf_exchange *exchange, const char *method, const char *target, const char *peer_address,
                       int secure)
{
    struct kf_request *request = &exchange->request;
    kf_id_new(request->id);
    snprintf(request->remote_address, sizeof request->remote_address, "%s", peer_address ? peer_address : "");
    request->secure = secure;
    request->method = method_from(method, &request->head);
    const char *question = strchr(target, '?');
    size_t length = question ? (size_t)(question - target) : strlen(target);
    char *path = kf_arena_strndup(&request->arena, target, length);
    char *query = question ? kf_arena_strdup(&request->arena, question + 1) : NULL;
    if (!path || (question && !query)) {
        fail(exchange, KF_NOMEM, NULL, "Out of memory.");
        return;
    }
    request->query_text = query ? query : "";
    if (!kf_http_path_ok(path)) {
        fail(exchange, KF_INVALID, "invalid_path", "The path is not a valid one.");
        return;
    }
    request->path = path;
}

static int is_trusted_proxy(const struct kf_http *http, const char *address)
{
    for (const char *const *at = http->config.trusted_proxies; at && *at; at++)
        if (kf_http_address_in(address, *at))
            return 1;
    return 0;
}

// One X-Forwarded-For field, from its end. 1 when every address in it is a trusted proxy's.
static int take_forwarded(struct kf_exchange *exchange, const char *forwarded)
{
    struct kf_request *request = &exchange->request;
    const char *end = forwarded + strlen(forwarded);
    while (end > forwarded) {
        const char *from = end;
        while (from > forwarded && from[-1] != ',')
            from--;
        const char *first = from + strspn(from, " \t");
        size_t length = strcspn(first, ", \t");
        if (length == 0 || length >= sizeof request->remote_address ||
            strspn(first, "0123456789abcdefABCDEF:.") < length)
            return 0;
        memcpy(request->remote_address, first, length);
        request->remote_address[length] = 0;
        if (!is_trusted_proxy(exchange->http, request->remote_address))
            return 0;
        end = from > forwarded ? from - 1 : forwarded;
    }
    return 1;
}

// Behind a trusted proxy the client is the last address in X-Forwarded-For that is no trusted proxy itself. Several
// fields are one list (RFC 9110 section 5.3): a proxy may add its own behind the one that the client made up.
static void find_client(struct kf_exchange *exchange)
{
    struct kf_request *request = &exchange->request;
    request->loopback = kf_http_address_in(request->remote_address, "loopback") &&
                        !kf_request_header(request, "x-forwarded-for") && !kf_request_header(request, "forwarded") &&
                        !kf_request_header(request, "via") && !kf_request_header(request, "x-real-ip");
    if (!is_trusted_proxy(exchange->http, request->remote_address))
        return;
    const char *proto = kf_request_header(request, "x-forwarded-proto");
    request->secure = proto && strcmp(proto, "https") == 0;
    for (size_t i = request->header_count; i-- > 0;)
        if (strcmp(request->headers[i].name, "x-forwarded-for") == 0 &&
            !take_forwarded(exchange, request->headers[i].value))
            return;
}

static void fail_framing(struct kf_exchange *exchange, const char *detail)
{
    exchange->framing_lost = 1;
    fail(exchange, KF_INVALID, "invalid_framing", detail);
}

// What makes two parsers disagree about where a request ends is refused (request smuggling, RFC 9112 section 11.2).
static void check_framing(struct kf_exchange *exchange)
{
    struct kf_request *request = &exchange->request;
    int hosts = 0, lengths = 0, codings = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        const char *name = request->headers[i].name, *value = request->headers[i].value;
        hosts += strcmp(name, "host") == 0;
        if (strcmp(name, "transfer-encoding") == 0) {
            codings++;
            if (!kf_http_token_equal(value, "chunked"))
                fail_framing(exchange, "Only chunked transfer coding is understood.");
        }
        if (strcmp(name, "content-length") == 0) {
            lengths++;
            size_t digits = strspn(value, "0123456789");
            if (digits == 0 || digits > 18 || value[digits])
                fail_framing(exchange, "Content-Length is not a number.");
            else
                request->content_length = strtoll(value, NULL, 10);
        }
        if (strcmp(name, "content-encoding") == 0 && !kf_http_token_equal(value, "identity"))
            fail(exchange, KF_UNSUPPORTED, "content_encoding", "Encoded request bodies are not understood.");
    }
    if (hosts > 1 || lengths > 1 || codings > 1 || (lengths && codings))
        fail_framing(exchange, "The request's framing headers contradict each other.");
    exchange->has_body = codings || request->content_length > 0;
}

static const struct kf_route fallback_route = {.method = KF_GET, .pattern = "(static)", .flags = KF_ROUTE_NO_AUTH};

static void allow_header(struct kf_exchange *exchange, unsigned allowed)
{
    struct kf_request *request = &exchange->request;
    static const char *const names[KF_METHODS] = {"GET, HEAD", "POST", "PUT", "PATCH", "DELETE"};
    char *value = kf_arena_alloc(&request->arena, 64);
    for (unsigned i = 0; value && i < KF_METHODS; i++)
        if (allowed & (1u << i))
            snprintf(value + strlen(value), 64 - strlen(value), "%s%s", *value ? ", " : "", names[i]);
    kf_response_header(request, &exchange->response, "Allow", value);
}

static void find_route(struct kf_exchange *exchange)
{
    struct kf_http *http = exchange->http;
    struct kf_request *request = &exchange->request;
    unsigned allowed = 0;
    if (request->method == KF_METHODS) {
        request->method = KF_GET;
        int index = kf_router_find(http->router, request, &allowed);
        request->method = KF_METHODS;
        allow_header(exchange, index == -1 ? 1u << KF_GET : allowed);
        fail(exchange, KF_METHOD_NOT_ALLOWED, NULL, "This method is not known here.");
        return;
    }
    int index = kf_router_find(http->router, request, &allowed);
    if (index >= 0) {
        request->route = kf_router_route(http->router, (size_t)index);
        exchange->slot = (size_t)index;
    } else if (index == -2) {
        allow_header(exchange, allowed);
        fail(exchange, KF_METHOD_NOT_ALLOWED, NULL, "This method is not allowed on this resource.");
    } else if (request->method == KF_GET && http->config.fallback) {
        exchange->slot = KF_SLOT_FALLBACK(http);
        exchange->is_fallback = 1;
    } else {
        fail(exchange, KF_NOT_FOUND, NULL, "There is nothing at this address.");
    }
}

static const struct kf_route *route_of(const struct kf_exchange *exchange)
{
    return exchange->request.route ? exchange->request.route : &fallback_route;
}

static int64_t body_limit(const struct kf_exchange *exchange)
{
    const struct kf_route *route = route_of(exchange);
    int64_t most = exchange->http->config.buffered_body_limit;
    if (most <= 0)
        most = BUFFERED_BODY_DEFAULT;
    return route->sink || route->max_body < most ? route->max_body : most;
}

static void check_body_size(struct kf_exchange *exchange)
{
    int64_t limit = body_limit(exchange);
    if (!exchange->has_body)
        return;
    if (limit == 0)
        fail(exchange, KF_INVALID, "unexpected_body", "This request takes no body.");
    else if (exchange->request.content_length > limit)
        fail(exchange, KF_TOO_LARGE, NULL, "The body is larger than this resource takes.");
}

static void authenticate(struct kf_exchange *exchange)
{
    struct kf_http *http = exchange->http;
    struct kf_request *request = &exchange->request;
    const struct kf_route *route = route_of(exchange);
    if ((route->flags & KF_ROUTE_NO_AUTH) || exchange->failure != KF_OK)
        return;
    enum kf_status status = KF_UNAUTHENTICATED;
    struct kf_error err = {0};
    if (http->config.authenticate)
        status = http->config.authenticate(request, &exchange->principal, &err);
    if (status == KF_OK) {
        request->principal = &exchange->principal;
    } else if (!(route->flags & KF_ROUTE_AUTH_OPTIONAL)) {
        fail(exchange, status, err.code[0] ? err.code : NULL,
             err.detail[0] ? err.detail : "Sign in, or send an access token.");
    }
}

static int equal_in_constant_time(const char *a, const char *b)
{
    size_t n = strlen(a);
    unsigned char differ = strlen(b) != n;
    for (size_t i = 0; i < n && b[i]; i++)
        differ |= (unsigned char)(a[i] ^ b[i]);
    return n > 0 && !differ;
}

// The authority of an Origin ("https://host:port") must be the one that the request was sent to.
static int same_origin(const struct kf_request *request)
{
    const char *site = kf_request_header(request, "sec-fetch-site");
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return 0;
    const char *origin = kf_request_header(request, "origin");
    if (!origin)
        return 1;
    const char *host = kf_request_header(request, "host");
    const char *authority = strstr(origin, "://");
    return host && authority && strcasecmp(authority + 3, host) == 0;
}

static void check_csrf(struct kf_exchange *exchange)
{
    struct kf_request *request = &exchange->request;
    if (request->method == KF_GET || exchange->failure != KF_OK)
        return;
    const struct kf_principal *principal = request->principal;
    if (principal && !principal->by_cookie)
        return;
    if (!same_origin(request)) {
        fail(exchange, KF_FORBIDDEN, "cross_origin", "This request was made by another site.");
        return;
    }
    const char *token = kf_request_header(request, "x-csrf-token");
    if (principal && (!token || !equal_in_constant_time(principal->csrf_token, token)))
        fail(exchange, KF_FORBIDDEN, "csrf", "The X-CSRF-Token header is missing or not that of this session.");
}

static void check_permission(struct kf_exchange *exchange)
{
    struct kf_http *http = exchange->http;
    const struct kf_principal *principal = exchange->request.principal;
    const struct kf_route *route = route_of(exchange);
    if (exchange->failure != KF_OK || !principal)
        return;
    if (principal->must_change_password && !(route->flags & KF_ROUTE_PASSWORD_CHANGE))
        fail(exchange, KF_FORBIDDEN, "password_change_required", "The password must be changed first.");
    else if (!(route->flags & KF_ROUTE_AUTH_OPTIONAL) && http->config.permitted &&
             !http->config.permitted(http->config.app, principal, route->permission))
        fail(exchange, KF_FORBIDDEN, NULL, "Your role does not allow this.");
}

static void open_sink(struct kf_exchange *exchange)
{
    const struct kf_body_sink *sink = route_of(exchange)->sink;
    if (exchange->failure != KF_OK || !sink)
        return;
    exchange->failure = sink->begin(&exchange->request, &exchange->error);
    exchange->sink_open = exchange->failure == KF_OK;
}

static void close_sink(struct kf_exchange *exchange)
{
    if (!exchange->sink_open)
        return;
    exchange->sink_open = 0;
    const struct kf_body_sink *sink = route_of(exchange)->sink;
    if (sink->release)
        sink->release(&exchange->request);
}

static void respond_failure(struct kf_exchange *exchange)
{
    kf_respond_problem(exchange, exchange->failure, &exchange->error);
    if (exchange->framing_lost) // nothing after it may be taken for a request (RFC 9112 section 6.1)
        kf_response_header(&exchange->request, &exchange->response, "Connection", "close");
    close_sink(exchange);
    kf_respond_finish(exchange);
}

int kf_exchange_begin(struct kf_exchange *exchange)
{
    struct kf_request *request = &exchange->request;
    find_client(exchange);
    check_framing(exchange);
    if (exchange->failure == KF_OK)
        exchange->failure = kf_http_parse_query(request, &exchange->error);
    if (exchange->failure == KF_OK)
        find_route(exchange);
    if (exchange->failure == KF_OK)
        check_body_size(exchange);
    authenticate(exchange);
    check_csrf(exchange);
    check_permission(exchange);
    open_sink(exchange);
    if (exchange->failure == KF_OK)
        return 1;
    respond_failure(exchange);
    return 0;
}

// Room for `length` more bytes and a NUL. What is announced is taken as a hint only up to 1 MiB.
static int reserve(struct kf_exchange *exchange, size_t length)
{
    struct kf_request *request = &exchange->request;
    size_t need = request->body_length + length + 1;
    if (need <= exchange->buffer_capacity)
        return 0;
    size_t capacity = exchange->buffer_capacity ? 2 * exchange->buffer_capacity : 4096;
    if (!exchange->buffer_capacity && request->content_length > 0 && request->content_length < (1 << 20))
        capacity = (size_t)request->content_length + 1;
    if (capacity < need)
        capacity = need;
    unsigned char *buffer = realloc(exchange->buffer, capacity);
    if (!buffer)
        return -1;
    exchange->buffer = buffer;
    exchange->buffer_capacity = capacity;
    return 0;
}

static void take_data(struct kf_exchange *exchange, const void *bytes, size_t length)
{
    struct kf_request *request = &exchange->request;
    request->body_received += (int64_t)length;
    if (request->body_received > body_limit(exchange)) {
        fail(exchange, KF_TOO_LARGE, NULL, "The body is larger than this resource takes.");
        return;
    }
    const struct kf_body_sink *sink = route_of(exchange)->sink;
    if (sink) {
        exchange->failure = sink->data(request, bytes, length, &exchange->error);
        return;
    }
    if (reserve(exchange, length)) {
        fail(exchange, KF_NOMEM, NULL, "Out of memory.");
        return;
    }
    memcpy(exchange->buffer + request->body_length, bytes, length);
    request->body_length += length;
    exchange->buffer[request->body_length] = 0;
    request->body = exchange->buffer;
}

int kf_exchange_data(struct kf_exchange *exchange, const void *bytes, size_t length)
{
    if (exchange->responded)
        return 0;
    take_data(exchange, bytes, length);
    if (exchange->failure == KF_OK)
        return 1;
    respond_failure(exchange);
    return 0;
}

// 1 when the key may be used: 1 to 200 visible ASCII characters.
static int key_ok(const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < length; i++)
        if (key[i] <= 0x20 || key[i] >= 0x7f)
            return 0;
    return length >= 1 && length <= 200;
}

static void run_handler(struct kf_exchange *exchange)
{
    struct kf_request *request = &exchange->request;
    kf_handler *handler = request->route ? request->route->handler : exchange->http->config.fallback;
    if (!request->route)
        request->state = exchange->http->config.fallback_state;
    exchange->failure = handler(request, &exchange->response, &exchange->error);
    if (exchange->failure == KF_OK)
        return;
    if (exchange->error.status != exchange->failure)
        exchange->error = (struct kf_error){.status = exchange->failure};
    kf_respond_problem(exchange, exchange->failure, &exchange->error);
}

static void run_idempotent(struct kf_exchange *exchange, const char *key)
{
    const struct kf_http_config *config = &exchange->http->config;
    struct kf_request *request = &exchange->request;
    int replayed = 0;
    if (!key_ok(key)) {
        fail(exchange, KF_INVALID, "invalid_idempotency_key", "Idempotency-Key must be 1 to 200 visible characters.");
        kf_respond_problem(exchange, exchange->failure, &exchange->error);
        return;
    }
    exchange->failure = config->idempotent_begin(request, key, &exchange->response, &replayed, &exchange->error);
    if (exchange->failure != KF_OK) {
        kf_respond_problem(exchange, exchange->failure, &exchange->error);
        return;
    }
    if (replayed) {
        kf_response_header(request, &exchange->response, "Idempotent-Replayed", "true");
        return;
    }
    run_handler(exchange);
    config->idempotent_end(request, key, &exchange->response);
}

void kf_exchange_end(struct kf_exchange *exchange)
{
    if (exchange->responded)
        return;
    const struct kf_route *route = route_of(exchange);
    const struct kf_http_config *config = &exchange->http->config;
    const char *key = (route->flags & KF_ROUTE_IDEMPOTENT) && config->idempotent_begin && config->idempotent_end
                          ? kf_request_header(&exchange->request, "idempotency-key")
                          : NULL;
    if (key)
        run_idempotent(exchange, key);
    else
        run_handler(exchange);
    close_sink(exchange);
    kf_respond_finish(exchange);
}

void kf_exchange_refuse(struct kf_exchange *exchange, enum kf_status status, const char *detail)
{
    if (exchange->responded)
        return;
    fail(exchange, status, NULL, detail);
    respond_failure(exchange);
}

// Routes, not paths, and neither query nor ids of patients' things: a log line names nobody but the account.
static void log_exchange(const struct kf_exchange *exchange, int64_t duration_ns, int64_t sent, int completed)
{
    const struct kf_request *request = &exchange->request;
    const struct kf_route *route = route_of(exchange);
    int status = exchange->response.status;
    int quiet = status < 400 && completed && (request->method == KF_GET || (route->flags & KF_ROUTE_QUIET)) &&
                ((route->flags & KF_ROUTE_STREAM) || duration_ns < SLOW_REQUEST_NS) &&
                !exchange->http->config.log_every_request;
    static const char *const names[KF_METHODS + 1] = {"GET", "POST", "PUT", "PATCH", "DELETE", "OTHER"};
    kf_log(quiet ? KF_LOG_DEBUG : KF_LOG_INFO, "http.request",
           "id=%s method=%s route=%s status=%d ms=%.3f received=%lld sent=%lld address=%s account=%s complete=%d",
           request->id, request->head ? "HEAD" : names[request->method],
           exchange->slot == KF_SLOT_NONE(exchange->http) ? "(none)" : route->pattern, status,
           (double)duration_ns / 1e6, (long long)request->body_received, (long long)sent,
           request->remote_address[0] ? request->remote_address : "-",
           request->principal && request->principal->account_id[0] ? request->principal->account_id : "-", completed);
}

void kf_exchange_free(struct kf_exchange *exchange, int64_t bytes_sent, int completed)
{
    if (!exchange)
        return;
    close_sink(exchange);
    kf_respond_drop_body(&exchange->response);
    int64_t duration_ns = kf_time_monotonic_ns() - exchange->started_ns;
    const struct kf_route *route = route_of(exchange);
    if (exchange->request.id[0]) {
        kf_metrics_count(exchange->http->metrics, exchange->slot, exchange->response.status, duration_ns,
                         !(route->flags & KF_ROUTE_STREAM), exchange->request.body_received, bytes_sent);
        log_exchange(exchange, duration_ns, bytes_sent, completed);
    }
    kf_metrics_gauge_add(KF_GAUGE_IN_FLIGHT, -1);
    kf_arena_release(&exchange->request.arena);
    free(exchange->buffer);
    free(exchange);
}

const char *kf_exchange_response_header(const struct kf_exchange *exchange, const char *name)
{
    for (size_t i = 0; i < exchange->response.header_count; i++)
        if (strcasecmp(exchange->response.headers[i].name, name) == 0)
            return exchange->response.headers[i].value;
    return NULL;
}

struct kf_exchange *kf_http_dispatch(struct kf_http *http, void *thread, const char *method, const char *target,
                                     const char *const *headers, const void *body, size_t body_length)
{
    struct kf_exchange *exchange = kf_exchange_new(http);
    if (!exchange)
        return NULL;
    kf_exchange_start(exchange, method, target, "127.0.0.1", 0);
    int announced = 0;
    for (const char *const *at = headers; at && at[0] && at[1]; at += 2) {
        announced |= strcasecmp(at[0], "content-length") == 0 || strcasecmp(at[0], "transfer-encoding") == 0;
        kf_exchange_header(exchange, at[0], at[1]);
    }
    if (body_length && !announced) {
        char text[24];
        snprintf(text, sizeof text, "%zu", body_length);
        kf_exchange_header(exchange, "Content-Length", text);
    }
    exchange->request.thread = thread;
    if (kf_exchange_begin(exchange) && (!body_length || kf_exchange_data(exchange, body, body_length)))
        kf_exchange_end(exchange);
    return exchange;
}
