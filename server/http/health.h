// /healthz (the process answers), /readyz (it can do its work), /metrics (Prometheus; this machine, or a principal with
// kf_http_config.metrics_permission).
#ifndef KERF_HTTP_HEALTH_H
#define KERF_HTTP_HEALTH_H

#include "server/http/http.h"

extern const struct kf_route kf_health_routes[]; // a table for kf_http_config.tables

#endif
