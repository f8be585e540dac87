// The way out: problems, conditional requests, ranges, and the headers that every response carries.
#include "server/http/internal.h"

#include "server/base/json.h"
#include "server/base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// For the pages and workers of our own web application.
static const char page_policy[] = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
                                  "style-src 'self'; font-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
                                  "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
// For data: if a browser ever shows it as a document, it can do nothing.
static const char data_policy[] = "default-src 'none'; frame-ancestors 'none'; sandbox";

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } table[] = {{200, "OK"},
                 {202, "Accepted"},
                 {204, "No Content"},
                 {206, "Partial Content"},
                 {304, "Not Modified"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {406, "Not Acceptable"},
                 {408, "Request Timeout"},
                 {409, "Conflict"},
                 {410, "Gone"},
                 {412, "Precondition Failed"},
                 {413, "Content Too Large"},
                 {415, "Unsupported Media Type"},
                 {416, "Range Not Satisfiable"},
                 {422, "Unprocessable Content"},
                 {428, "Precondition Required"},
                 {429, "Too Many Requests"},
                 {499, "Cancelled"},
                 {500, "Internal Server Error"},
                 {503, "Service Unavailable"},
                 {507, "Insufficient Storage"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].status == status)
            return table[i].reason;
    return status < 400 ? "OK" : "Error";
}

static void add_header(struct kf_request *request, struct kf_response *response, const char *name, const char *value)
{
    if (!name || !value || !kf_http_value_ok(value)) {
        kf_log(KF_LOG_WARN, "http.header_dropped", "header=%s id=%s", name ? name : "", request->id);
        return;
    }
    if (response->header_count == response->header_capacity) {
        size_t capacity = response->header_capacity ? 2 * response->header_capacity : 16;
        struct kf_field *fields = kf_arena_alloc(&request->arena, capacity * sizeof *fields);
        if (!fields)
            return;
        if (response->header_count)
            memcpy(fields, response->headers, response->header_count * sizeof *fields);
        response->headers = fields;
        response->header_capacity = capacity;
    }
    response->headers[response->header_count++] = (struct kf_field){name, value};
}

// What the dispatcher itself must know about goes to its field: it comes out as one header, and is acted upon.
void kf_response_header(struct kf_request *request, struct kf_response *response, const char *name, const char *value)
{
    if (name && kf_http_token_equal(name, "ETag"))
        response->etag = value;
    else if (name && kf_http_token_equal(name, "Cache-Control"))
        response->cache_control = value;
    else
        add_header(request, response, name, value);
}

void kf_respond_drop_body(struct kf_response *response)
{
    if (response->kind == KF_BODY_FILE && response->fd >= 0)
        close(response->fd);
    if (response->kind == KF_BODY_STREAM && response->stream && response->stream->close)
        response->stream->close(response->stream_state);
    if (response->release)
        response->release(response->release_arg);
    response->kind = KF_BODY_NONE;
    response->release = NULL;
    response->bytes = NULL;
    response->stream = NULL;
    response->fd = -1;
    response->offset = 0;
    response->length = 0;
    response->accept_ranges = 0;
}

void kf_response_bytes(struct kf_response *response, const char *content_type, const void *bytes, size_t length)
{
    kf_response_pinned(response, content_type, bytes, length, NULL, NULL);
}

void kf_response_pinned(struct kf_response *response, const char *content_type, const void *bytes, size_t length,
                        void (*release)(void *), void *arg)
{
    kf_respond_drop_body(response);
    response->kind = KF_BODY_BYTES;
    response->content_type = content_type;
    response->bytes = bytes;
    response->length = (int64_t)length;
    response->release = release;
    response->release_arg = arg;
}

void kf_response_file(struct kf_response *response, const char *content_type, int fd, int64_t offset, int64_t length)
{
    kf_respond_drop_body(response);
    response->kind = KF_BODY_FILE;
    response->content_type = content_type;
    response->fd = fd;
    response->offset = offset;
    response->length = length;
    response->accept_ranges = 1;
}

void kf_response_stream(struct kf_response *response, const char *content_type, const struct kf_stream *stream,
                        void *state)
{
    kf_respond_drop_body(response);
    response->kind = KF_BODY_STREAM;
    response->content_type = content_type;
    response->stream = stream;
    response->stream_state = state;
}

// What the client may read: failures of ours are told in general words, the detail goes to the log.
static const char *public_detail(enum kf_status status, const struct kf_error *err)
{
    switch (status) {
    case KF_INTERNAL:
    case KF_IO:
        return "The server could not do this; the request id finds the reason in its log.";
    case KF_DB:
        return "The database cannot be reached. Try again.";
    case KF_NOMEM:
        return "The server is short of memory. Try again.";
    default:
        return err && err->detail[0] ? err->detail : reason(kf_status_http(status));
    }
}

static char *problem_text(struct kf_request *request, enum kf_status status, const struct kf_error *err)
{
    int http = kf_status_http(status);
    int ours = http == 500 || status == KF_DB || status == KF_NOMEM;
    const char *code = err && err->code[0] && !ours ? err->code : kf_status_wire(status);
    json_t *problem = json_pack("{s:s,s:s,s:i,s:s,s:s}", "type", "about:blank", "title", reason(http), "status", http,
                                "code", code, "detail", public_detail(status, err));
    if (problem && request->id[0])
        json_object_set_new(problem, "instance", json_sprintf("urn:uuid:%s", request->id));
    if (problem && request->problem_count) {
        json_t *list = json_array();
        for (size_t i = 0; i < request->problem_count; i++)
            json_array_append_new(list, json_pack("{s:s,s:s}", "pointer", request->problems[i].name, "detail",
                                                  request->problems[i].value));
        json_object_set_new(problem, "errors", list);
    }
    char *text = problem ? json_dumps(problem, JSON_COMPACT) : NULL;
    json_decref(problem);
    char *copy = text ? kf_arena_strdup(&request->arena, text) : NULL;
    free(text);
    return copy;
}

void kf_respond_problem(struct kf_exchange *exchange, enum kf_status status, const struct kf_error *err)
{
    struct kf_request *request = &exchange->request;
    struct kf_response *response = &exchange->response;
    static const char last_resort[] = "{\"type\":\"about:blank\",\"title\":\"Error\",\"code\":\"internal\"}";
    char *text = problem_text(request, status, err);
    kf_response_bytes(response, "application/problem+json", text ? text : last_resort,
                      text ? strlen(text) : sizeof last_resort - 1);
    response->status = kf_status_http(status);
    response->etag = NULL;
    response->cache_control = NULL;
    response->last_modified_s = 0;
    if (response->status == 401)
        kf_response_header(request, response, "WWW-Authenticate", "Bearer realm=\"kerf\"");
    if (kf_status_retryable(status) && !kf_exchange_response_header(exchange, "Retry-After"))
        kf_response_header(request, response, "Retry-After", "2");
    int http = response->status;
    if (http >= 500 && err)
        kf_log(KF_LOG_ERROR, "http.failed", "id=%s route=%s code=%s", request->id,
               request->route ? request->route->pattern : "-", err->code);
    if (http >= 500 && err && err->detail[0])
        kf_log_error(KF_LOG_ERROR, "http.failure", err);
}

static int not_modified(const struct kf_request *request, const struct kf_response *response)
{
    const char *none_match = kf_request_header(request, "if-none-match");
    if (none_match)
        return response->etag && kf_http_etag_listed(none_match, response->etag);
    const char *since = response->last_modified_s ? kf_request_header(request, "if-modified-since") : NULL;
    if (!since)
        return 0;
    int64_t seen = kf_http_parse_date(since);
    return seen >= 0 && response->last_modified_s <= seen;
}

// RFC 9110 section 13.1.5: a Range counts only while the representation is the one that If-Range names.
static int range_still_valid(const struct kf_request *request, const struct kf_response *response)
{
    const char *value = kf_request_header(request, "if-range");
    if (!value)
        return 1;
    if (value[0] == '"')
        return response->etag && strcmp(value, response->etag) == 0;
    return response->last_modified_s && kf_http_parse_date(value) == response->last_modified_s;
}

static void apply_range(struct kf_exchange *exchange)
{
    struct kf_request *request = &exchange->request;
    struct kf_response *response = &exchange->response;
    kf_response_header(request, response, "Accept-Ranges", "bytes");
    const char *value = kf_request_header(request, "range");
    if (!value || request->head || !range_still_valid(request, response))
        return;
    struct kf_range range;
    int64_t size = response->length;
    int found = kf_http_parse_range(value, size, &range);
    if (found < 0) {
        struct kf_error err;
        (void)kf_error_set(&err, KF_RANGE, NULL, "The range lies outside of the %lld bytes.", (long long)size);
        kf_respond_problem(exchange, KF_RANGE, &err);
        kf_response_header(request, response, "Content-Range",
                           kf_arena_printf(&request->arena, "bytes */%lld", (long long)size));
    } else if (found > 0) {
        response->status = 206;
        response->length = range.last - range.first + 1;
        if (response->kind == KF_BODY_FILE)
            response->offset += range.first;
        else
            response->bytes = (const char *)response->bytes + range.first;
        kf_response_header(request, response, "Content-Range",
                           kf_arena_printf(&request->arena, "bytes %lld-%lld/%lld", (long long)range.first,
                                           (long long)range.last, (long long)size));
    }
}

static void add_security_headers(struct kf_exchange *exchange)
{
    struct kf_request *request = &exchange->request;
    struct kf_response *response = &exchange->response;
    int page = exchange->is_fallback;
    if (!kf_exchange_response_header(exchange, "Content-Security-Policy"))
        kf_response_header(request, response, "Content-Security-Policy", page ? page_policy : data_policy);
    kf_response_header(request, response, "X-Content-Type-Options", "nosniff");
    kf_response_header(request, response, "Cross-Origin-Resource-Policy", "same-origin");
    kf_response_header(request, response, "Referrer-Policy", "no-referrer");
    if (page) {
        kf_response_header(request, response, "Cross-Origin-Opener-Policy", "same-origin");
        kf_response_header(request, response, "Cross-Origin-Embedder-Policy", "require-corp");
        kf_response_header(request, response, "Permissions-Policy",
                           "xr-spatial-tracking=(self), camera=(), microphone=(), geolocation=()");
    }
    if (request->secure && exchange->http->config.hsts)
        kf_response_header(request, response, "Strict-Transport-Security", "max-age=31536000");
}

static void add_entity_headers(struct kf_exchange *exchange)
{
    struct kf_request *request = &exchange->request;
    struct kf_response *response = &exchange->response;
    if (response->content_type && response->kind != KF_BODY_NONE)
        kf_response_header(request, response, "Content-Type", response->content_type);
    if (response->etag)
        add_header(request, response, "ETag", response->etag);
    add_header(request, response, "Cache-Control", response->cache_control ? response->cache_control : "no-store");
    if (response->last_modified_s > 0) {
        char *date = kf_arena_alloc(&request->arena, 32);
        if (date) {
            kf_http_date(date, response->last_modified_s);
            kf_response_header(request, response, "Last-Modified", date);
        }
    }
    if (request->id[0])
        kf_response_header(request, response, "X-Request-Id", request->id);
}

void kf_respond_finish(struct kf_exchange *exchange)
{
    struct kf_response *response = &exchange->response;
    if (!response->status)
        response->status = response->kind == KF_BODY_NONE ? 204 : 200;
    if (exchange->request.method == KF_GET && response->status == 200) {
        if (not_modified(&exchange->request, response)) {
            kf_respond_drop_body(response);
            response->status = 304;
        } else if (response->accept_ranges) {
            apply_range(exchange);
        }
    }
    add_entity_headers(exchange);
    add_security_headers(exchange);
    exchange->responded = 1;
}
