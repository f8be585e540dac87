#include "server/http/health.h"

#include "server/http/internal.h"
#include <string.h>

static enum kf_status answer(struct kf_response *response, const char *text)
{
    kf_response_bytes(response, "application/json", text, strlen(text));
    return KF_OK;
}

static enum kf_status healthz(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)request;
    (void)err;
    return answer(response, "{\"status\":\"ok\"}");
}

static enum kf_status readyz(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    const struct kf_http_config *config = &request->exchange->http->config;
    struct kf_error why = {0};
    if (config->ready && config->ready(request, &why) != KF_OK)
        return kf_error_set(err, KF_UNAVAILABLE, "not_ready", "Not ready: %s", why.code[0] ? why.code : "unknown");
    return answer(response, "{\"status\":\"ready\"}");
}

static enum kf_status metrics(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_http *http = request->exchange->http;
    const struct kf_http_config *config = &http->config;
    int allowed = request->loopback;
    if (!allowed && request->principal && config->permitted)
        allowed = config->permitted(config->app, request->principal, config->metrics_permission);
    if (!allowed)
        return request->principal ? kf_error_set(err, KF_FORBIDDEN, NULL, "Your role does not allow this.")
                                  : kf_error_set(err, KF_UNAUTHENTICATED, NULL, "Send an access token.");
    struct kf_str text = {0};
    kf_http_render_metrics(http, &text);
    if (config->extra_metrics)
        config->extra_metrics(request, &text);
    char *copy = text.failed ? NULL : kf_arena_strndup(&request->arena, kf_str_text(&text), text.length);
    size_t length = text.length;
    kf_str_release(&text);
    if (!copy)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    kf_response_bytes(response, "text/plain; version=0.0.4; charset=utf-8", copy, length);
    return KF_OK;
}

const struct kf_route kf_health_routes[] = {
    {.method = KF_GET, .pattern = "/healthz", .flags = KF_ROUTE_NO_AUTH | KF_ROUTE_QUIET, .handler = healthz},
    {.method = KF_GET, .pattern = "/readyz", .flags = KF_ROUTE_NO_AUTH | KF_ROUTE_QUIET, .handler = readyz},
    {.method = KF_GET, .pattern = "/metrics", .flags = KF_ROUTE_AUTH_OPTIONAL | KF_ROUTE_QUIET, .handler = metrics},
    {.pattern = NULL},
};
