// Counters and latency histograms in Prometheus' text format (version 0.0.4). Labels are route patterns, methods and
// status classes only: bounded, and no patient data. Counting is lock free.
#ifndef KERF_HTTP_METRICS_H
#define KERF_HTTP_METRICS_H

#include "server/base/error.h"
#include "server/base/str.h"
#include <stddef.h>
#include <stdint.h>

struct kf_http;
struct kf_metrics;

// A slot for every route, and two more.
KF_MUST_USE enum kf_status kf_metrics_new(size_t slots, struct kf_metrics **out);
void kf_metrics_free(struct kf_metrics *metrics);

// One finished request. timed = 0 leaves the histogram alone (event streams).
void kf_metrics_count(struct kf_metrics *metrics, size_t slot, int status, int64_t duration_ns, int timed,
                      int64_t received, int64_t sent);

// Process-wide gauges of the adapters.
enum kf_metric_gauge {
    KF_GAUGE_CONNECTIONS,
    KF_GAUGE_IN_FLIGHT,
    KF_GAUGE_DEADLINE_CLOSED, // counts up: connections closed because the client was too slow
    KF_GAUGE_REFUSED,         // counts up: connections over the limit
    KF_GAUGES
};
void kf_metrics_gauge_add(enum kf_metric_gauge gauge, int64_t by);
int64_t kf_metrics_gauge(enum kf_metric_gauge gauge);

// Appends everything this server counts; the caller adds its own samples, for example queue depths.
void kf_http_render_metrics(struct kf_http *http, struct kf_str *to);
// Appends one sample with its HELP and TYPE lines: name, "gauge" or "counter", help, value.
void kf_metrics_sample(struct kf_str *to, const char *name, const char *type, const char *help, double value);

#endif
