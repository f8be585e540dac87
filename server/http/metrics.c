#include "server/http/internal.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Upper bounds of the latency buckets in nanoseconds; a last bucket takes the rest.
static const int64_t bounds_ns[] = {250000,    1000000,   2500000,    5000000,    10000000,   25000000,
                                    100000000, 250000000, 1000000000, 2500000000, 10000000000};
#define BUCKETS (sizeof bounds_ns / sizeof *bounds_ns + 1)
#define CLASSES 5 // 1xx … 5xx

// One cache line set per route: threads on different routes do not share lines.
struct slot {
    _Alignas(64) atomic_int_least64_t by_class[CLASSES];
    atomic_int_least64_t bucket[BUCKETS];
    atomic_int_least64_t duration_ns;
    atomic_int_least64_t received;
    atomic_int_least64_t sent;
};

struct kf_metrics {
    size_t count;
    struct slot *slots;
};

static atomic_int_least64_t gauges[KF_GAUGES];

enum kf_status kf_metrics_new(size_t slots, struct kf_metrics **out)
{
    *out = NULL;
    struct kf_metrics *metrics = calloc(1, sizeof *metrics);
    struct slot *memory = metrics ? aligned_alloc(64, slots * sizeof *memory) : NULL;
    if (!memory) {
        free(metrics);
        return KF_NOMEM;
    }
    memset(memory, 0, slots * sizeof *memory);
    metrics->slots = memory;
    metrics->count = slots;
    *out = metrics;
    return KF_OK;
}

void kf_metrics_free(struct kf_metrics *metrics)
{
    if (!metrics)
        return;
    free(metrics->slots);
    free(metrics);
}

static void add(atomic_int_least64_t *counter, int64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static int64_t get(atomic_int_least64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void kf_metrics_count(struct kf_metrics *metrics, size_t slot, int status, int64_t duration_ns, int timed,
                      int64_t received, int64_t sent)
{
    if (slot >= metrics->count)
        return;
    struct slot *at = &metrics->slots[slot];
    int class = status / 100 - 1;
    add(&at->by_class[class >= 0 && class < CLASSES ? class : CLASSES - 1], 1);
    if (received)
        add(&at->received, received);
    if (sent)
        add(&at->sent, sent);
    if (!timed)
        return;
    size_t bucket = 0;
    while (bucket < BUCKETS - 1 && duration_ns > bounds_ns[bucket])
        bucket++;
    add(&at->bucket[bucket], 1);
    add(&at->duration_ns, duration_ns);
}

void kf_metrics_gauge_add(enum kf_metric_gauge gauge, int64_t by)
{
    add(&gauges[gauge], by);
}

int64_t kf_metrics_gauge(enum kf_metric_gauge gauge)
{
    return get(&gauges[gauge]);
}

void kf_metrics_sample(struct kf_str *to, const char *name, const char *type, const char *help, double value)
{
    kf_str_printf(to, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name,
                  isfinite(value) ? value : 0.0);
}

static int used(struct slot *slot)
{
    for (int i = 0; i < CLASSES; i++)
        if (get(&slot->by_class[i]))
            return 1;
    return 0;
}

static void labels(struct kf_http *http, size_t slot, char *to, size_t size)
{
    static const char *const names[KF_METHODS] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    if (slot < kf_router_count(http->router)) {
        const struct kf_route *route = kf_router_route(http->router, slot);
        snprintf(to, size, "method=\"%s\",route=\"%s\"", names[route->method], route->pattern);
    } else {
        snprintf(to, size, "method=\"any\",route=\"%s\"", slot == KF_SLOT_FALLBACK(http) ? "(static)" : "(none)");
    }
}

static void render_counts(struct kf_http *http, struct kf_str *to)
{
    kf_str_add_text(to, "# HELP kerf_http_requests_total Finished requests by route and status class.\n"
                        "# TYPE kerf_http_requests_total counter\n");
    char text[256];
    for (size_t i = 0; i < http->metrics->count; i++)
        for (int class = 0; class < CLASSES; class ++) {
            int64_t n = get(&http->metrics->slots[i].by_class[class]);
            if (!n)
                continue;
            labels(http, i, text, sizeof text);
            kf_str_printf(to, "kerf_http_requests_total{%s,status=\"%dxx\"} %lld\n", text, class + 1, (long long)n);
        }
}

static void render_bytes(struct kf_http *http, struct kf_str *to)
{
    char text[256];
    for (int sent = 0; sent < 2; sent++) {
        const char *name = sent ? "kerf_http_sent_bytes_total" : "kerf_http_received_bytes_total";
        kf_str_printf(to, "# HELP %s Body bytes %s.\n# TYPE %s counter\n", name, sent ? "sent" : "received", name);
        for (size_t i = 0; i < http->metrics->count; i++) {
            struct slot *slot = &http->metrics->slots[i];
            if (!used(slot))
                continue;
            labels(http, i, text, sizeof text);
            kf_str_printf(to, "%s{%s} %lld\n", name, text, (long long)get(sent ? &slot->sent : &slot->received));
        }
    }
}

static void render_latency(struct kf_http *http, struct kf_str *to)
{
    kf_str_add_text(to, "# HELP kerf_http_request_seconds Time from the request line to the last byte sent.\n"
                        "# TYPE kerf_http_request_seconds histogram\n");
    char text[256];
    for (size_t i = 0; i < http->metrics->count; i++) {
        struct slot *slot = &http->metrics->slots[i];
        if (!used(slot))
            continue;
        labels(http, i, text, sizeof text);
        int64_t total = 0;
        for (size_t bucket = 0; bucket < BUCKETS; bucket++) {
            total += get(&slot->bucket[bucket]);
            char bound[32] = "+Inf";
            if (bucket < BUCKETS - 1)
                snprintf(bound, sizeof bound, "%g", (double)bounds_ns[bucket] / 1e9);
            kf_str_printf(to, "kerf_http_request_seconds_bucket{%s,le=\"%s\"} %lld\n", text, bound, (long long)total);
        }
        kf_str_printf(to, "kerf_http_request_seconds_sum{%s} %.9f\nkerf_http_request_seconds_count{%s} %lld\n", text,
                      (double)get(&slot->duration_ns) / 1e9, text, (long long)total);
    }
}

void kf_http_render_metrics(struct kf_http *http, struct kf_str *to)
{
    static const struct {
        const char *name, *type, *help;
    } rows[KF_GAUGES] = {
        [KF_GAUGE_CONNECTIONS] = {"kerf_http_connections", "gauge", "Open connections behind the HTTP adapter."},
        [KF_GAUGE_IN_FLIGHT] = {"kerf_http_in_flight", "gauge", "Requests being worked on."},
        [KF_GAUGE_DEADLINE_CLOSED] = {"kerf_http_deadline_closed_total", "counter",
                                      "Connections closed because the client was too slow."},
        [KF_GAUGE_REFUSED] = {"kerf_http_refused_total", "counter", "Connections refused over a limit."},
    };
    render_counts(http, to);
    render_bytes(http, to);
    render_latency(http, to);
    for (int i = 0; i < KF_GAUGES; i++)
        kf_metrics_sample(to, rows[i].name, rows[i].type, rows[i].help,
                          (double)kf_metrics_gauge((enum kf_metric_gauge)i));
}
