// A whole request: the first line is method and target, then header lines, an empty line, the body. Runs the dispatcher
// with routes that look at everything a handler can ask for.
#include "server/base/log.h"
#include "server/http/http.h"
#include "server/http/internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum kf_status look(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    int64_t number = 0;
    kf_request_cookie(request, "kerf_session");
    kf_request_content_type(request);
    kf_request_content_parameter(request, "boundary");
    kf_request_param(request, "id");
    kf_request_query(request, "q");
    (void)!kf_request_query_int(request, "limit", 0, 100, 10, &number, err);
    (void)!kf_request_if_match_revision(request, &number, err);
    kf_response_bytes(response, "text/plain", "0123456789", 10);
    response->etag = "\"tag\"";
    response->last_modified_s = 784111777;
    response->accept_ranges = 1;
    return KF_OK;
}

static enum kf_status authenticate(struct kf_request *request, struct kf_principal *principal, struct kf_error *err)
{
    (void)err;
    const char *cookie = kf_request_cookie(request, "s");
    principal->by_cookie = cookie != NULL;
    memcpy(principal->csrf_token, "t", 2);
    return cookie || kf_request_header(request, "authorization") ? KF_OK : KF_UNAUTHENTICATED;
}

static const struct kf_route routes[] = {
    {.method = KF_GET, .pattern = "/a", .flags = KF_ROUTE_NO_AUTH, .handler = look},
    {.method = KF_GET, .pattern = "/a/{id}", .handler = look},
    {.method = KF_POST, .pattern = "/a/{id}/b", .max_body = 1000, .handler = look},
    {.method = KF_PATCH, .pattern = "/a/{id}/{x}/c", .max_body = 1000, .flags = KF_ROUTE_NO_AUTH, .handler = look},
    {.pattern = NULL},
};

// The next line without its end; NULL when there is none. Cuts the text in place.
static char *line(char **at)
{
    char *from = *at, *end = strchr(from, '\n');
    if (!end)
        return NULL;
    *end = 0;
    *at = end + 1;
    if (end > from && end[-1] == '\r')
        end[-1] = 0;
    return from;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kf_http *http;
    static const struct kf_route *const tables[] = {routes, NULL};
    static const char *const proxies[] = {"192.0.2.0/24", NULL};
    if (!http) {
        struct kf_http_config config = {.tables = tables, .authenticate = authenticate, .trusted_proxies = proxies};
        kf_log_init("fuzz", KF_LOG_ERROR);
        if (kf_http_new(&config, &http, NULL) != KF_OK)
            abort();
    }
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    char *at = text, *first = line(&at);
    char *target = first ? strchr(first, ' ') : NULL;
    struct kf_exchange *exchange = target ? kf_exchange_new(http) : NULL;
    if (exchange) {
        *target++ = 0;
        kf_exchange_start(exchange, first, target, "192.0.2.1", 0);
        for (char *header; (header = line(&at)) && *header;) {
            char *colon = strchr(header, ':');
            if (!colon)
                break;
            *colon = 0;
            kf_exchange_header(exchange, header, colon + 1 + strspn(colon + 1, " "));
        }
        size_t left = size - (size_t)(at - text);
        if (kf_exchange_begin(exchange) && (!left || kf_exchange_data(exchange, at, left)))
            kf_exchange_end(exchange);
        if (!exchange->responded || exchange->response.status < 200)
            abort();
        if (exchange->response.kind == KF_BODY_BYTES && exchange->response.length < 0)
            abort();
        kf_exchange_free(exchange, 0, 1);
    }
    free(text);
    return 0;
}
