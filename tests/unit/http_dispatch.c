// The dispatcher without sockets: routing, authentication, CSRF, permission, bodies, conditional and range requests,
// problems, security headers, hostile requests.
#include "server/base/json.h"
#include "server/base/test.h"
#include "server/http/health.h"
#include "server/http/http.h"
#include "server/http/internal.h"
#include "server/http/metrics.h"

#include <fcntl.h>
#include <unistd.h>

static struct kf_http *http;
static int handled;
static int sink_released;
static size_t sink_bytes;

static enum kf_status hello(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)err;
    handled++;
    const char *name = kf_request_param(request, "name");
    char *text = kf_arena_printf(&request->arena, "hello %s", name ? name : "nobody");
    kf_response_bytes(response, "text/plain", text, strlen(text));
    return KF_OK;
}

static enum kf_status tagged(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)request;
    (void)err;
    static const char text[] = "0123456789";
    kf_response_bytes(response, "text/plain", text, 10);
    response->etag = "\"v1\"";
    response->accept_ranges = 1;
    response->last_modified_s = 784111777;
    return KF_OK;
}

static enum kf_status tagged_by_header(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)err;
    kf_response_bytes(response, "application/json", "{}", 2);
    kf_response_header(request, response, "ETag", kf_etag_revision(request, 3));
    return KF_OK;
}

static enum kf_status patch(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)response;
    handled++;
    return kf_request_if_match(request, 7, err);
}

static enum kf_status invalid(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    kf_response_header(request, response, "Retry-After", "30");
    kf_request_invalid(request, "/title", "is too long");
    kf_request_invalid(request, "/state", "is \"unknown\"");
    return kf_error_set(err, KF_UNPROCESSABLE, "bad_case", "Two members are wrong.");
}

static enum kf_status broken(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)request;
    (void)response;
    return kf_error_set(err, KF_IO, "disk", "pread of /secret/place failed");
}

static enum kf_status echo(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)err;
    handled++;
    kf_response_bytes(response, "text/plain", request->body, request->body_length);
    return KF_OK;
}

static enum kf_status sink_begin(struct kf_request *request, struct kf_error *err)
{
    if (strcmp(kf_request_content_type(request), "application/dicom") != 0)
        return kf_error_set(err, KF_UNSUPPORTED, NULL, "Only DICOM.");
    return KF_OK;
}

static enum kf_status sink_data(struct kf_request *request, const void *bytes, size_t length, struct kf_error *err)
{
    (void)request;
    sink_bytes += length;
    return memchr(bytes, '!', length) ? kf_error_set(err, KF_INVALID, "bang", "A bang.") : KF_OK;
}

static void sink_release(struct kf_request *request)
{
    (void)request;
    sink_released++;
}

static const struct kf_body_sink sink = {sink_begin, sink_data, sink_release};

static const struct kf_route routes[] = {
    {.method = KF_GET, .pattern = "/open", .flags = KF_ROUTE_NO_AUTH, .handler = hello},
    {.method = KF_GET, .pattern = "/people/{name}", .permission = 1, .handler = hello},
    {.method = KF_GET, .pattern = "/people/me", .permission = 1, .handler = tagged},
    {.method = KF_DELETE, .pattern = "/people/{name}", .permission = 2, .handler = hello},
    {.method = KF_GET, .pattern = "/people/{name}/cars/{car}", .permission = 1, .handler = hello},
    {.method = KF_GET, .pattern = "/tagged", .flags = KF_ROUTE_NO_AUTH, .handler = tagged},
    {.method = KF_GET, .pattern = "/revision", .flags = KF_ROUTE_NO_AUTH, .handler = tagged_by_header},
    {.method = KF_PATCH, .pattern = "/patch", .permission = 1, .max_body = 100, .handler = patch},
    {.method = KF_GET, .pattern = "/invalid", .flags = KF_ROUTE_NO_AUTH, .handler = invalid},
    {.method = KF_GET, .pattern = "/broken", .flags = KF_ROUTE_NO_AUTH, .handler = broken},
    {.method = KF_POST, .pattern = "/echo", .permission = 1, .max_body = 16, .handler = echo},
    {.method = KF_POST,
     .pattern = "/once",
     .permission = 1,
     .flags = KF_ROUTE_IDEMPOTENT,
     .max_body = 16,
     .handler = echo},
    {.method = KF_POST, .pattern = "/upload", .permission = 1, .max_body = 1000, .handler = hello, .sink = &sink},
    {.method = KF_PUT, .pattern = "/password", .flags = KF_ROUTE_PASSWORD_CHANGE, .permission = 1, .handler = hello},
    {.pattern = NULL},
};

static enum kf_status authenticate(struct kf_request *request, struct kf_principal *principal, struct kf_error *err)
{
    const char *cookie = kf_request_cookie(request, "kerf_session");
    const char *bearer = kf_request_header(request, "authorization");
    if (cookie && (strcmp(cookie, "good") == 0 || strcmp(cookie, "new") == 0)) {
        principal->by_cookie = 1;
        principal->must_change_password = strcmp(cookie, "new") == 0;
        snprintf(principal->csrf_token, sizeof principal->csrf_token, "csrf-token");
        principal->role = 1;
        return KF_OK;
    }
    if (bearer && strcmp(bearer, "Bearer kerf_machine") == 0) {
        principal->role = 2;
        return KF_OK;
    }
    if (cookie && strcmp(cookie, "database") == 0)
        return kf_error_set(err, KF_DB, NULL, "The connection to 10.0.0.1 was lost.");
    return KF_UNAUTHENTICATED;
}

static int permitted(void *app, const struct kf_principal *principal, int permission)
{
    (void)app;
    return principal->role == 2 || permission == 1;
}

static char stored_key[64];

static enum kf_status once_begin(struct kf_request *request, const char *key, struct kf_response *response,
                                 int *replayed, struct kf_error *err)
{
    (void)request;
    (void)err;
    if (strcmp(key, stored_key) == 0) {
        *replayed = 1;
        response->status = 201;
        kf_response_bytes(response, "text/plain", "stored", 6);
    }
    return KF_OK;
}

static void once_end(struct kf_request *request, const char *key, const struct kf_response *response)
{
    (void)request;
    if (!response->status || response->status < 400)
        snprintf(stored_key, sizeof stored_key, "%s", key);
}

static struct kf_exchange *ask(const char *method, const char *target, const char *const *headers, const char *body)
{
    handled = 0;
    return kf_http_dispatch(http, NULL, method, target, headers, body, body ? strlen(body) : 0);
}

static int status_of(const char *method, const char *target, const char *const *headers, const char *body)
{
    struct kf_exchange *x = ask(method, target, headers, body);
    int status = x->response.status;
    kf_exchange_free(x, 0, 1);
    return status;
}

#define HEADERS(...) ((const char *const[]){__VA_ARGS__, NULL})
static const char *const good[] = {"Cookie", "theme=dark; kerf_session=good", NULL};
static const char *const good_csrf[] = {"Cookie", "kerf_session=good", "X-CSRF-Token", "csrf-token", NULL};

// The problem's code, or "" when the answer is none.
static const char *problem_of(const char *method, const char *target, const char *const *headers, const char *body)
{
    static char code[64];
    code[0] = 0;
    struct kf_exchange *x = ask(method, target, headers, body);
    json_t *problem = NULL;
    if (x->response.kind == KF_BODY_BYTES && x->response.content_type &&
        strcmp(x->response.content_type, "application/problem+json") == 0 &&
        kf_json_parse(x->response.bytes, (size_t)x->response.length, &problem, NULL) == KF_OK)
        snprintf(code, sizeof code, "%s", kf_json_text(problem, "code", ""));
    json_decref(problem);
    kf_exchange_free(x, 0, 1);
    return code;
}

static int body_is(const struct kf_exchange *x, const char *text)
{
    return x->response.kind == KF_BODY_BYTES && x->response.length == (int64_t)strlen(text) &&
           memcmp(x->response.bytes, text, strlen(text)) == 0;
}

KF_TEST(routes_are_found_and_parameters_decoded)
{
    struct kf_exchange *x = ask("GET", "/people/J%c3%b6rg", good, NULL);
    KF_CHECK_EQ(x->response.status, 200);
    KF_CHECK(body_is(x, "hello J\xc3\xb6rg"));
    kf_exchange_free(x, 0, 1);
    x = ask("GET", "/people/me", good, NULL); // the literal wins over the parameter
    KF_CHECK(body_is(x, "0123456789"));
    kf_exchange_free(x, 0, 1);
    x = ask("GET", "/people/me/cars/7", good, NULL); // and gives way where it leads nowhere
    KF_CHECK_EQ(x->response.status, 200);
    KF_CHECK_STR(kf_request_param(&x->request, "car"), "7");
    KF_CHECK_STR(kf_request_param(&x->request, "name"), "me");
    kf_exchange_free(x, 0, 1);
    KF_CHECK_EQ(status_of("GET", "/nowhere", NULL, NULL), 404);
    KF_CHECK_EQ(status_of("GET", "/people", good, NULL), 404);
    KF_CHECK_EQ(status_of("GET", "/people/a/", good, NULL), 404);
    KF_CHECK_EQ(status_of("GET", "/people/a/cars", good, NULL), 404);
}

KF_TEST(a_wrong_method_names_the_right_ones)
{
    struct kf_exchange *x = ask("PUT", "/people/a", good_csrf, NULL);
    KF_CHECK_EQ(x->response.status, 405);
    KF_CHECK_STR(kf_exchange_response_header(x, "Allow"), "GET, HEAD, DELETE");
    kf_exchange_free(x, 0, 1);
    KF_CHECK_EQ(status_of("TRACE", "/open", NULL, NULL), 405);
    KF_CHECK_EQ(status_of("get", "/open", NULL, NULL), 405);
}

KF_TEST(hostile_paths_and_queries_are_refused)
{
    static const char *const bad[] = {"open",
                                      "",
                                      "/../open",
                                      "/people/../open",
                                      "/people/%2e%2e/x",
                                      "//open",
                                      "/open//",
                                      "/people/a%2fb",
                                      "/people/a%00b",
                                      "/people/%zz",
                                      "/people/%",
                                      "/people/%4",
                                      "/a\\b",
                                      "/a b",
                                      "/people/.",
                                      "*",
                                      "http://x/open"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int status = status_of("GET", bad[i], good, NULL);
        if (status != 400)
            fprintf(stderr, "path %s: %d\n", bad[i], status);
        KF_CHECK_EQ(status, 400);
        KF_CHECK_EQ(handled, 0);
    }
    KF_CHECK_EQ(status_of("GET", "/people/%ff", good, NULL), 404); // decodes to no UTF-8
    KF_CHECK_EQ(status_of("GET", "/open?a=%ff", NULL, NULL), 400);
    KF_CHECK_EQ(status_of("GET", "/open?a=%0d%0ab", NULL, NULL), 400);
    KF_CHECK_EQ(status_of("GET", "/open?a=%2", NULL, NULL), 400);
    char many[2000] = "/open?";
    for (int i = 0; i < 70; i++)
        strcat(many, "a=1&");
    KF_CHECK_EQ(status_of("GET", many, NULL, NULL), 400);
    char longer[4000];
    memset(longer, 'a', sizeof longer - 1);
    longer[0] = '/';
    longer[sizeof longer - 1] = 0;
    KF_CHECK_EQ(status_of("GET", longer, NULL, NULL), 400);
}

KF_TEST(queries_are_decoded)
{
    struct kf_exchange *x = ask("GET", "/open?q=a+b%26c&limit=20&flag&limit=9", NULL, NULL);
    KF_CHECK_STR(kf_request_query(&x->request, "q"), "a b&c");
    KF_CHECK_STR(kf_request_query(&x->request, "flag"), "");
    KF_CHECK(kf_request_query(&x->request, "none") == NULL);
    int64_t limit = 0;
    KF_CHECK_EQ(kf_request_query_int(&x->request, "limit", 1, 50, 10, &limit, NULL), KF_OK);
    KF_CHECK_EQ(limit, 20);
    KF_CHECK_EQ(kf_request_query_int(&x->request, "limit", 1, 19, 10, &limit, NULL), KF_INVALID);
    KF_CHECK_EQ(kf_request_query_int(&x->request, "q", 1, 50, 10, &limit, NULL), KF_INVALID);
    KF_CHECK_EQ(kf_request_query_int(&x->request, "none", 1, 50, 10, &limit, NULL), KF_OK);
    KF_CHECK_EQ(limit, 10);
    kf_exchange_free(x, 0, 1);
}

KF_TEST(framing_that_contradicts_itself_is_refused)
{
    KF_CHECK_STR(problem_of("POST", "/echo", HEADERS("Content-Length", "3", "Transfer-Encoding", "chunked"), "abc"),
                 "invalid_framing");
    KF_CHECK_STR(problem_of("POST", "/echo", HEADERS("Content-Length", "3", "Content-Length", "4"), "abc"),
                 "invalid_framing");
    KF_CHECK_STR(problem_of("POST", "/echo", HEADERS("Content-Length", "+3"), "abc"), "invalid_framing");
    KF_CHECK_STR(problem_of("POST", "/echo", HEADERS("Content-Length", "99999999999999999999"), "abc"),
                 "invalid_framing");
    KF_CHECK_STR(problem_of("POST", "/echo", HEADERS("Transfer-Encoding", "gzip, chunked"), "abc"), "invalid_framing");
    KF_CHECK_STR(problem_of("GET", "/open", HEADERS("Host", "a", "Host", "b"), NULL), "invalid_framing");
    KF_CHECK_STR(problem_of("GET", "/open", HEADERS("X-Odd", "a\x01"), NULL), "invalid_header");
    struct kf_exchange *x =
        ask("POST", "/echo", HEADERS("X-Odd", "\x01", "Content-Length", "3", "Transfer-Encoding", "chunked"), "abc");
    KF_CHECK_STR(kf_exchange_response_header(x, "Connection"), "close"); // what follows is nobody's request
    kf_exchange_free(x, 0, 1);
}

KF_TEST(nobody_is_let_in_without_signing_in)
{
    KF_CHECK_EQ(status_of("GET", "/open", NULL, NULL), 200);
    struct kf_exchange *x = ask("GET", "/people/a", NULL, NULL);
    KF_CHECK_EQ(x->response.status, 401);
    KF_CHECK_EQ(handled, 0);
    KF_CHECK_STR(kf_exchange_response_header(x, "WWW-Authenticate"), "Bearer realm=\"kerf\"");
    kf_exchange_free(x, 0, 1);
    KF_CHECK_EQ(status_of("GET", "/people/a", HEADERS("Cookie", "kerf_session=bad"), NULL), 401);
    // The same cookie twice: one of them may have been planted by another site of the domain.
    KF_CHECK_EQ(status_of("GET", "/people/a", HEADERS("Cookie", "kerf_session=good; kerf_session=good"), NULL), 401);
    KF_CHECK_EQ(status_of("GET", "/people/a", HEADERS("Authorization", "Bearer kerf_machine"), NULL), 200);
    KF_CHECK_STR(problem_of("GET", "/people/a", HEADERS("Cookie", "kerf_session=database"), NULL),
                 "database_unavailable");
}

KF_TEST(csrf_and_cross_origin_requests_are_refused)
{
    KF_CHECK_STR(problem_of("POST", "/echo", good, "abc"), "csrf");
    KF_CHECK_STR(problem_of("POST", "/echo", HEADERS("Cookie", "kerf_session=good", "X-CSRF-Token", "csrf-tokeN"), "a"),
                 "csrf");
    KF_CHECK_STR(problem_of("POST", "/echo", HEADERS("Cookie", "kerf_session=good", "X-CSRF-Token", ""), "a"), "csrf");
    KF_CHECK_EQ(handled, 0);
    KF_CHECK_EQ(status_of("POST", "/echo", good_csrf, "abc"), 200);
    KF_CHECK_EQ(status_of("POST", "/echo", HEADERS("Authorization", "Bearer kerf_machine"), "abc"), 200);
    KF_CHECK_STR(problem_of("POST", "/echo",
                            HEADERS("Cookie", "kerf_session=good", "X-CSRF-Token", "csrf-token", "Host", "kerf:1",
                                    "Origin", "https://evil"),
                            "a"),
                 "cross_origin");
    KF_CHECK_EQ(status_of("POST", "/echo",
                          HEADERS("Cookie", "kerf_session=good", "X-CSRF-Token", "csrf-token", "Host", "kerf:1",
                                  "Origin", "https://kerf:1"),
                          "a"),
                200);
    KF_CHECK_STR(
        problem_of("POST", "/echo",
                   HEADERS("Cookie", "kerf_session=good", "X-CSRF-Token", "csrf-token", "Sec-Fetch-Site", "cross-site"),
                   "a"),
        "cross_origin");
}

KF_TEST(permissions_and_the_first_password)
{
    KF_CHECK_EQ(status_of("DELETE", "/people/a", good_csrf, NULL), 403);
    KF_CHECK_EQ(handled, 0);
    KF_CHECK_EQ(status_of("DELETE", "/people/a", HEADERS("Authorization", "Bearer kerf_machine"), NULL), 200);
    KF_CHECK_STR(problem_of("GET", "/people/a", HEADERS("Cookie", "kerf_session=new"), NULL),
                 "password_change_required");
    KF_CHECK_EQ(
        status_of("PUT", "/password", HEADERS("Cookie", "kerf_session=new", "X-CSRF-Token", "csrf-token"), NULL), 200);
}

KF_TEST(bodies_are_bounded)
{
    KF_CHECK_EQ(status_of("POST", "/echo", good_csrf, "0123456789abcdef"), 200);
    KF_CHECK_EQ(status_of("POST", "/echo", good_csrf, "0123456789abcdefg"), 413);
    KF_CHECK_EQ(handled, 0);
    // Chunked: nothing is announced, the count decides.
    KF_CHECK_EQ(
        status_of("POST", "/echo",
                  HEADERS("Cookie", "kerf_session=good", "X-CSRF-Token", "csrf-token", "Transfer-Encoding", "chunked"),
                  "0123456789abcdefg"),
        413);
    KF_CHECK_STR(problem_of("GET", "/open", NULL, "body"), "unexpected_body");
    KF_CHECK_STR(
        problem_of("POST", "/echo",
                   HEADERS("Cookie", "kerf_session=good", "X-CSRF-Token", "csrf-token", "Content-Encoding", "gzip"),
                   "abc"),
        "content_encoding");
}

KF_TEST(sinks_see_the_body_and_are_released_once)
{
    const char *const dicom[] = {
        "Cookie", "kerf_session=good", "X-CSRF-Token", "csrf-token", "Content-Type", "application/DICOM; x=y", NULL};
    sink_released = 0;
    sink_bytes = 0;
    KF_CHECK_EQ(status_of("POST", "/upload", dicom, "bytes"), 200);
    KF_CHECK_EQ(handled, 1);
    KF_CHECK_EQ(sink_bytes, 5);
    KF_CHECK_EQ(sink_released, 1);
    KF_CHECK_STR(problem_of("POST", "/upload", dicom, "bad!"), "bang");
    KF_CHECK_EQ(handled, 0);
    KF_CHECK_EQ(sink_released, 2);
    KF_CHECK_EQ(status_of("POST", "/upload", good_csrf, "bytes"), 415);
    KF_CHECK_EQ(sink_released, 2); // begin refused: nothing to release
    // The connection is lost in the middle of the body.
    struct kf_exchange *x = kf_exchange_new(http);
    kf_exchange_start(x, "POST", "/upload", "127.0.0.1", 0);
    for (int i = 0; dicom[i]; i += 2)
        kf_exchange_header(x, dicom[i], dicom[i + 1]);
    kf_exchange_header(x, "Content-Length", "10");
    KF_CHECK_EQ(kf_exchange_begin(x), 1);
    KF_CHECK_EQ(kf_exchange_data(x, "abc", 3), 1);
    kf_exchange_free(x, 0, 0);
    KF_CHECK_EQ(sink_released, 3);
}

KF_TEST(head_answers_like_get)
{
    struct kf_exchange *x = ask("HEAD", "/tagged", HEADERS("Range", "bytes=0-1"), NULL);
    KF_CHECK_EQ(x->response.status, 200);
    KF_CHECK_EQ(x->response.length, 10);
    KF_CHECK_EQ(x->request.head, 1);
    kf_exchange_free(x, 0, 1);
}

KF_TEST(conditional_requests)
{
    KF_CHECK_EQ(status_of("GET", "/tagged", HEADERS("If-None-Match", "\"v0\", W/\"v1\""), NULL), 304);
    KF_CHECK_EQ(status_of("GET", "/tagged", HEADERS("If-None-Match", "*"), NULL), 304);
    KF_CHECK_EQ(status_of("GET", "/tagged", HEADERS("If-None-Match", "\"v2\""), NULL), 200);
    KF_CHECK_EQ(status_of("GET", "/tagged", HEADERS("If-None-Match", "v1"), NULL), 200);
    KF_CHECK_EQ(status_of("GET", "/tagged", HEADERS("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"), NULL), 304);
    KF_CHECK_EQ(status_of("GET", "/tagged", HEADERS("If-Modified-Since", "Sun, 06 Nov 1994 08:49:36 GMT"), NULL), 200);
    KF_CHECK_EQ(status_of("GET", "/tagged", HEADERS("If-Modified-Since", "yesterday"), NULL), 200);
    // If-None-Match wins over If-Modified-Since (RFC 9110 section 13.2.2).
    KF_CHECK_EQ(status_of("GET", "/tagged",
                          HEADERS("If-None-Match", "\"x\"", "If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"),
                          NULL),
                200);
    struct kf_exchange *x = ask("GET", "/tagged", HEADERS("If-None-Match", "\"v1\""), NULL);
    KF_CHECK_EQ(x->response.kind, KF_BODY_NONE);
    KF_CHECK_STR(kf_exchange_response_header(x, "ETag"), "\"v1\"");
    kf_exchange_free(x, 0, 1);
}

KF_TEST(an_entity_tag_set_as_a_header_counts)
{
    KF_CHECK_EQ(status_of("GET", "/revision", HEADERS("If-None-Match", "\"3\""), NULL), 304);
    struct kf_exchange *x = ask("GET", "/revision", HEADERS("If-None-Match", "\"2\""), NULL);
    int tags = 0;
    for (size_t i = 0; i < x->response.header_count; i++)
        tags += strcmp(x->response.headers[i].name, "ETag") == 0;
    KF_CHECK_EQ(x->response.status, 200);
    KF_CHECK_EQ(tags, 1);
    kf_exchange_free(x, 0, 1);
}

KF_TEST(if_match_guards_changes)
{
    const char *const base[] = {"Authorization", "Bearer kerf_machine", NULL};
    KF_CHECK_EQ(status_of("PATCH", "/patch", base, "{}"), 428);
    KF_CHECK_EQ(
        status_of("PATCH", "/patch", HEADERS("Authorization", "Bearer kerf_machine", "If-Match", "\"6\""), "{}"), 412);
    KF_CHECK_EQ(
        status_of("PATCH", "/patch", HEADERS("Authorization", "Bearer kerf_machine", "If-Match", "seven"), "{}"), 412);
    KF_CHECK_EQ(
        status_of("PATCH", "/patch", HEADERS("Authorization", "Bearer kerf_machine", "If-Match", "\"7\""), "{}"), 204);
    KF_CHECK_EQ(status_of("PATCH", "/patch", HEADERS("Authorization", "Bearer kerf_machine", "If-Match", "*"), "{}"),
                204);
}

static void check_range(const char *value, int status, const char *content_range, const char *body)
{
    struct kf_exchange *x = ask("GET", "/tagged", HEADERS("Range", value), NULL);
    const char *got = kf_exchange_response_header(x, "Content-Range");
    int right = x->response.status == status && (content_range ? got && strcmp(got, content_range) == 0 : !got) &&
                (!body || body_is(x, body));
    if (!right)
        fprintf(stderr, "range %s: %d %s\n", value, x->response.status, got ? got : "-");
    KF_CHECK(right);
    kf_exchange_free(x, 0, 1);
}

KF_TEST(ranges)
{
    check_range("bytes=2-4", 206, "bytes 2-4/10", "234");
    check_range("bytes=8-", 206, "bytes 8-9/10", "89");
    check_range("bytes=-3", 206, "bytes 7-9/10", "789");
    check_range("bytes=-30", 206, "bytes 0-9/10", "0123456789");
    check_range("bytes=5-99", 206, "bytes 5-9/10", "56789");
    check_range("bytes=0-0", 206, "bytes 0-0/10", "0");
    check_range("bytes=10-", 416, "bytes */10", NULL);
    check_range("bytes=-0", 416, "bytes */10", NULL);
    // Not understood or several: the whole, as RFC 9110 allows.
    check_range("bytes=0-1,3-4", 200, NULL, "0123456789");
    check_range("bytes=4-2", 200, NULL, "0123456789");
    check_range("bytes=a-b", 200, NULL, "0123456789");
    check_range("bytes=-", 200, NULL, "0123456789");
    check_range("bytes=0-99999999999999999999", 200, NULL, "0123456789");
    check_range("lines=0-1", 200, NULL, "0123456789");
    KF_CHECK_EQ(status_of("GET", "/tagged", HEADERS("Range", "bytes=0-1", "If-Range", "\"v1\""), NULL), 206);
    KF_CHECK_EQ(status_of("GET", "/tagged", HEADERS("Range", "bytes=0-1", "If-Range", "\"v0\""), NULL), 200);
    KF_CHECK_EQ(
        status_of("GET", "/tagged", HEADERS("Range", "bytes=0-1", "If-Range", "Sun, 06 Nov 1994 08:49:37 GMT"), NULL),
        206);
}

KF_TEST(problems_are_json_and_keep_secrets)
{
    struct kf_exchange *x = ask("GET", "/invalid", NULL, NULL);
    json_t *problem = NULL;
    KF_REQUIRE(kf_json_parse(x->response.bytes, (size_t)x->response.length, &problem, NULL) == KF_OK);
    KF_CHECK_EQ(kf_json_integer(problem, "status", 0), 422);
    KF_CHECK_STR(kf_json_text(problem, "code", ""), "bad_case");
    KF_CHECK_STR(kf_json_text(problem, "detail", ""), "Two members are wrong.");
    KF_CHECK_STR(kf_json_text(problem, "title", ""), "Unprocessable Content");
    json_t *errors = json_object_get(problem, "errors");
    KF_CHECK_EQ(json_array_size(errors), 2);
    KF_CHECK_STR(kf_json_text(json_array_get(errors, 1), "pointer", ""), "/state");
    KF_CHECK_STR(kf_exchange_response_header(x, "Retry-After"), "30");
    KF_CHECK_STR(kf_exchange_response_header(x, "Cache-Control"), "no-store");
    json_decref(problem);
    kf_exchange_free(x, 0, 1);
    x = ask("GET", "/broken", NULL, NULL);
    KF_CHECK_EQ(x->response.status, 500);
    KF_CHECK(memmem(x->response.bytes, (size_t)x->response.length, "secret", 6) == NULL);
    kf_exchange_free(x, 0, 1);
}

KF_TEST(every_answer_carries_the_security_headers)
{
    static const char *const targets[] = {"/open", "/people/a", "/nowhere", "/broken", "/../x"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        struct kf_exchange *x = ask("GET", targets[i], NULL, NULL);
        const char *policy = kf_exchange_response_header(x, "Content-Security-Policy");
        KF_CHECK(policy && strstr(policy, "default-src 'none'") && strstr(policy, "frame-ancestors 'none'"));
        KF_CHECK_STR(kf_exchange_response_header(x, "X-Content-Type-Options"), "nosniff");
        KF_CHECK_STR(kf_exchange_response_header(x, "Cross-Origin-Resource-Policy"), "same-origin");
        KF_CHECK(kf_exchange_response_header(x, "X-Request-Id") != NULL);
        kf_exchange_free(x, 0, 1);
    }
}

KF_TEST(a_key_makes_a_post_happen_once)
{
    const char *const keyed[] = {"Authorization", "Bearer kerf_machine", "Idempotency-Key", "k1", NULL};
    stored_key[0] = 0;
    KF_CHECK_EQ(status_of("POST", "/once", keyed, "abc"), 200);
    KF_CHECK_EQ(handled, 1);
    struct kf_exchange *x = ask("POST", "/once", keyed, "abc");
    KF_CHECK_EQ(x->response.status, 201);
    KF_CHECK_EQ(handled, 0);
    KF_CHECK(body_is(x, "stored"));
    kf_exchange_free(x, 0, 1);
    KF_CHECK_STR(
        problem_of("POST", "/once", HEADERS("Authorization", "Bearer kerf_machine", "Idempotency-Key", "a b"), "a"),
        "invalid_idempotency_key");
}

KF_TEST(header_values_cannot_break_out)
{
    struct kf_exchange *x = ask("GET", "/open", NULL, NULL);
    size_t before = x->response.header_count;
    kf_response_header(&x->request, &x->response, "X-Test", "a\r\nSet-Cookie: b");
    KF_CHECK_EQ(x->response.header_count, before);
    kf_exchange_free(x, 0, 1);
}

KF_TEST(media_parameters_are_unquoted)
{
    struct kf_exchange *x =
        ask("GET", "/open",
            HEADERS("Content-Type", "Multipart/Related; Type=\"application/dicom\"; boundary=\"a\\\"b; c\"; start=x"),
            NULL);
    KF_CHECK_STR(kf_request_content_type(&x->request), "multipart/related");
    KF_CHECK_STR(kf_request_content_parameter(&x->request, "type"), "application/dicom");
    KF_CHECK_STR(kf_request_content_parameter(&x->request, "boundary"), "a\"b; c");
    KF_CHECK_STR(kf_request_content_parameter(&x->request, "start"), "x");
    KF_CHECK(kf_request_content_parameter(&x->request, "none") == NULL);
    kf_exchange_free(x, 0, 1);
}

KF_TEST(a_trusted_proxy_names_the_client)
{
    static const char *const trusted[] = {"loopback", "10.0.0.8/30", NULL};
    struct kf_http *behind = NULL;
    static const struct kf_route *const tables[] = {routes, NULL};
    struct kf_http_config config = {.tables = tables, .trusted_proxies = trusted};
    KF_REQUIRE(kf_http_new(&config, &behind, NULL) == KF_OK);
    struct kf_exchange *x = kf_http_dispatch(
        behind, NULL, "GET", "/open",
        HEADERS("X-Forwarded-For", "6.6.6.6, 192.0.2.7, 10.0.0.9", "X-Forwarded-Proto", "https"), NULL, 0);
    KF_CHECK_STR(x->request.remote_address, "192.0.2.7"); // not what the client itself claimed in front
    KF_CHECK_EQ(x->request.secure, 1);
    KF_CHECK_EQ(x->request.loopback, 0);
    kf_exchange_free(x, 0, 1);
    // A proxy that adds a field of its own behind the client's: they are one list.
    x = kf_http_dispatch(behind, NULL, "GET", "/open",
                         HEADERS("X-Forwarded-For", "6.6.6.6", "X-Forwarded-For", "192.0.2.7, 10.0.0.9",
                                 "X-Forwarded-For", "10.0.0.10"),
                         NULL, 0);
    KF_CHECK_STR(x->request.remote_address, "192.0.2.7");
    kf_exchange_free(x, 0, 1);
    kf_http_free(behind);
    x = ask("GET", "/open", HEADERS("X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "https"), NULL);
    KF_CHECK_STR(x->request.remote_address, "127.0.0.1"); // no proxy is trusted here
    KF_CHECK_EQ(x->request.secure, 0);
    KF_CHECK_EQ(x->request.loopback, 0);
    kf_exchange_free(x, 0, 1);
}

KF_TEST(networks_hold_their_addresses)
{
    KF_CHECK(kf_http_address_in("10.1.2.3", "10.0.0.0/8"));
    KF_CHECK(!kf_http_address_in("11.1.2.3", "10.0.0.0/8"));
    KF_CHECK(kf_http_address_in("192.168.1.129", "192.168.1.128/25"));
    KF_CHECK(!kf_http_address_in("192.168.1.127", "192.168.1.128/25"));
    KF_CHECK(kf_http_address_in("192.0.2.1", "192.0.2.1"));
    KF_CHECK(kf_http_address_in("192.0.2.1", "0.0.0.0/0"));
    KF_CHECK(kf_http_address_in("fd00::1", "fd00::/8"));
    KF_CHECK(!kf_http_address_in("fe80::1", "fd00::/8"));
    KF_CHECK(!kf_http_address_in("192.0.2.1", "fd00::/8"));
    KF_CHECK(!kf_http_address_in("fd00::1", "0.0.0.0/0"));
    KF_CHECK(kf_http_address_in("::1", "loopback") && kf_http_address_in("127.9.9.9", "loopback"));
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0.0/x", "10.0.0.0/", "10.0.0/8", "", "host"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        KF_CHECK(!kf_http_address_in("10.0.0.1", bad[i]));
}

KF_TEST(health_and_metrics)
{
    KF_CHECK_EQ(status_of("GET", "/healthz", NULL, NULL), 200);
    KF_CHECK_EQ(status_of("GET", "/readyz", NULL, NULL), 200);
    KF_CHECK_EQ(status_of("GET", "/metrics", HEADERS("X-Forwarded-For", "192.0.2.7"), NULL), 401);
    KF_CHECK_EQ(status_of("GET", "/people/secret-name", good, NULL), 200);
    struct kf_exchange *x = ask("GET", "/metrics", NULL, NULL);
    KF_CHECK_EQ(x->response.status, 200);
    const char *text = x->response.bytes;
    KF_CHECK(strstr(text, "kerf_http_requests_total{method=\"GET\",route=\"/people/{name}\",status=\"2xx\"}") != NULL);
    KF_CHECK(strstr(text, "kerf_http_request_seconds_bucket{method=\"GET\",route=\"/open\",le=\"+Inf\"}") != NULL);
    KF_CHECK(strstr(text, "secret-name") == NULL);
    kf_exchange_free(x, 0, 1);
}

int main(void)
{
    static const struct kf_route *const tables[] = {routes, kf_health_routes, NULL};
    struct kf_http_config config = {.tables = tables,
                                    .authenticate = authenticate,
                                    .permitted = permitted,
                                    .idempotent_begin = once_begin,
                                    .idempotent_end = once_end};
    if (kf_http_new(&config, &http, NULL) != KF_OK)
        return 1;
    KF_RUN(routes_are_found_and_parameters_decoded);
    KF_RUN(a_wrong_method_names_the_right_ones);
    KF_RUN(hostile_paths_and_queries_are_refused);
    KF_RUN(queries_are_decoded);
    KF_RUN(framing_that_contradicts_itself_is_refused);
    KF_RUN(nobody_is_let_in_without_signing_in);
    KF_RUN(csrf_and_cross_origin_requests_are_refused);
    KF_RUN(permissions_and_the_first_password);
    KF_RUN(bodies_are_bounded);
    KF_RUN(sinks_see_the_body_and_are_released_once);
    KF_RUN(head_answers_like_get);
    KF_RUN(conditional_requests);
    KF_RUN(an_entity_tag_set_as_a_header_counts);
    KF_RUN(if_match_guards_changes);
    KF_RUN(ranges);
    KF_RUN(problems_are_json_and_keep_secrets);
    KF_RUN(every_answer_carries_the_security_headers);
    KF_RUN(a_key_makes_a_post_happen_once);
    KF_RUN(header_values_cannot_break_out);
    KF_RUN(media_parameters_are_unquoted);
    KF_RUN(a_trusted_proxy_names_the_client);
    KF_RUN(networks_hold_their_addresses);
    KF_RUN(health_and_metrics);
    kf_http_free(http);
    return kf_test_failures ? 1 : 0;
}
