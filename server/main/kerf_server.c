// kerf-server: the HTTP API, the web application, live events. Wires the modules together and waits for signals:
// SIGTERM and SIGINT stop in order, SIGHUP reads the TLS certificate again.
//
// Threads: the adapter's workers and slow pool, its watchdog, the front's loops, the event hub, the ticker, and this
// one, which only takes signals (they are blocked everywhere else).
#include "server/app/app.h"
#include "server/base/config.h"
#include "server/base/log.h"
#include "server/base/process.h"
#include "server/domain/authz.h"
#include "server/front/front.h"
#include "server/http/health.h"
#include "server/http/metrics.h"
#include "server/http/mhd.h"
#include "server/http/routes.h"
#include "server/http/static.h"
#include "server/live/live.h"
#include "server/store/counts.h"
#include <arpa/inet.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS      500
#define GRACE_S      10
#define MOST_PROXIES 16

struct server {
    struct kf_app *app;
    struct kf_routes *routes;
    struct kf_live *live;
    struct kf_static *files;
    struct kf_http *http;
    struct kf_mhd *mhd;
    struct kf_tls_server *tls;
    struct kf_front *front;
    pthread_t ticker;
    int ticking;
    atomic_int stopping;
    char proxy_text[1024];
    const char *proxies[MOST_PROXIES + 1];
};

static struct server server; // one per process; the callbacks of /readyz and /metrics find it here

// ------------------------------------------------------------------------------------------------ health

static enum kf_status ready(struct kf_request *request, struct kf_error *err)
{
    const struct kf_app_thread *thread = request->thread;
    if (!thread || kf_store_ping(thread->store, err) != KF_OK)
        return kf_error_set(err, KF_UNAVAILABLE, "database", "The database does not answer.");
    if (kf_blob_store_probe(kf_app_blobs(server.app), err) != KF_OK)
        return kf_error_set(err, KF_UNAVAILABLE, "blob_store", "The blob store cannot be written.");
    return KF_OK;
}

static void add_front_metrics(struct kf_str *to)
{
    struct kf_front_stats stats;
    kf_front_stats(server.front, &stats);
    kf_metrics_sample(to, "kerf_tls_connections", "gauge", "Open TLS connections.", stats.connections);
    kf_metrics_sample(to, "kerf_tls_failed_total", "counter", "TLS handshakes that failed.", (double)stats.failed);
    kf_metrics_sample(to, "kerf_tls_late_total", "counter", "TLS handshakes that took too long.", (double)stats.late);
    kf_metrics_sample(to, "kerf_tls_refused_total", "counter", "TLS connections over a limit.", (double)stats.refused);
}

static void extra_metrics(struct kf_request *request, struct kf_str *to)
{
    const struct kf_app_thread *thread = request->thread;
    struct kf_counts counts;
    struct kf_error err = {0};
    if (server.front)
        add_front_metrics(to);
    kf_metrics_sample(to, "kerf_live_streams", "gauge", "Open live event streams.",
                      (double)kf_live_subscribers(server.live));
    int up = thread && kf_store_counts(thread->store, &counts, &err) == KF_OK;
    kf_metrics_sample(to, "kerf_database_up", "gauge", "The database answered this scrape.", up);
    if (!up)
        return;
    kf_metrics_sample(to, "kerf_jobs_queued", "gauge", "Jobs that wait.", (double)counts.jobs_queued);
    kf_metrics_sample(to, "kerf_jobs_running", "gauge", "Jobs that run.", (double)counts.jobs_running);
    kf_metrics_sample(to, "kerf_jobs_dead", "gauge", "Jobs that were given up.", (double)counts.jobs_dead);
    kf_metrics_sample(to, "kerf_jobs_oldest_ready_seconds", "gauge", "How long a job has been waiting at most.",
                      counts.oldest_ready_s);
    kf_metrics_sample(to, "kerf_series_unimported", "gauge", "Series with instances that no import has seen.",
                      (double)counts.series_unimported);
    kf_metrics_sample(to, "kerf_instances", "gauge", "Instances kept (estimate).", (double)counts.instances);
    kf_metrics_sample(to, "kerf_blobs", "gauge", "Blobs kept (estimate).", (double)counts.blobs);
    kf_metrics_sample(to, "kerf_database_connections", "gauge", "Connections to the database.", counts.connections);
}

// ------------------------------------------------------------------------------------------------ the ticker

static void pause_ms(int64_t ms)
{
    struct timespec nap = {ms / 1000, (ms % 1000) * 1000000};
    nanosleep(&nap, NULL);
}

static void *tick(void *arg)
{
    (void)arg;
    void *thread = kf_routes_thread_init(server.routes);
    int failing = 0;
    while (!atomic_load(&server.stopping)) {
        struct kf_error err = {0};
        enum kf_status status = thread ? kf_routes_tick(server.routes, thread, &err) : KF_NOMEM;
        if (status != KF_OK && !failing)
            kf_log_error(KF_LOG_WARN, "tick.failed", &err);
        failing = status != KF_OK;
        pause_ms(TICK_MS);
    }
    if (thread)
        kf_routes_thread_exit(server.routes, thread);
    return NULL;
}

// ------------------------------------------------------------------------------------------------ parts

// The folder named in the settings, or one of the usual places beside the programs. "" when there is none.
static void find_web_root(char *to, size_t size)
{
    static const char *const places[] = {"web/dist", "../web/dist", "../../web/dist", "../share/kerf/web"};
    char folder[PATH_MAX];
    (void)kf_str_copy(to, size, kf_config_text("KERF_WEB_ROOT"));
    if (*to || kf_process_own_folder(folder, sizeof folder, NULL) != KF_OK)
        return;
    struct kf_str path = {0};
    for (size_t i = 0; i < sizeof places / sizeof *places && !*to; i++) {
        kf_str_clear(&path);
        kf_str_printf(&path, "%s/%s/index.html", folder, places[i]);
        if (access(kf_str_text(&path), R_OK) == 0) {
            path.data[path.length - strlen("/index.html")] = 0;
            (void)kf_str_copy(to, size, path.data);
        }
    }
    kf_str_release(&path);
}

static enum kf_status load_web(struct kf_error *err)
{
    static const char *const pages[] = {"/cases/*", "/admin", "/admin/*", NULL};
    char root[PATH_MAX];
    find_web_root(root, sizeof root);
    if (!*root) {
        kf_log_text(KF_LOG_WARN, "web.missing", "No built web application was found: only the API is served.");
        return KF_OK;
    }
    enum kf_status status = kf_static_load(root, pages, &server.files, err);
    if (status == KF_OK)
        kf_log(KF_LOG_INFO, "web.loaded", "files=%zu", kf_static_count(server.files));
    return status;
}

// "10.0.0.1, 192.168.0.0/16" → a list. A name that is no network would never match: it is refused.
static enum kf_status read_proxies(struct kf_error *err)
{
    size_t count = 0;
    snprintf(server.proxy_text, sizeof server.proxy_text, "%s", kf_config_text("KERF_TRUSTED_PROXY"));
    char *rest = NULL;
    for (char *name = strtok_r(server.proxy_text, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest)) {
        unsigned char bits[16];
        char base[64] = "";
        size_t length = strcspn(name, "/");
        if (length < sizeof base)
            memcpy(base, name, length);
        int known = strcmp(name, "loopback") == 0 || inet_pton(AF_INET, base, bits) == 1 ||
                    inet_pton(AF_INET6, base, bits) == 1;
        if (!known || count == MOST_PROXIES)
            return kf_error_set(err, KF_INVALID, "setting", "KERF_TRUSTED_PROXY: \"%s\" is no address or network.",
                                name);
        server.proxies[count++] = name;
    }
    return KF_OK;
}

static enum kf_status make_http(struct kf_error *err)
{
    static const struct kf_route *const tables[] = {kf_route_table, kf_health_routes, NULL};
    struct kf_http_config config = {.tables = tables,
                                    .fallback = server.files ? kf_static_serve : NULL,
                                    .fallback_state = server.files,
                                    .app = server.routes,
                                    .thread_init = kf_routes_thread_init,
                                    .thread_exit = kf_routes_thread_exit,
                                    .authenticate = kf_routes_authenticate,
                                    .permitted = kf_routes_permitted,
                                    .idempotent_begin = kf_routes_idempotent_begin,
                                    .idempotent_end = kf_routes_idempotent_end,
                                    .ready = ready,
                                    .extra_metrics = extra_metrics,
                                    .metrics_permission = KF_PERM_METRICS_READ,
                                    .trusted_proxies = server.proxies,
                                    .hsts = 1};
    return kf_http_new(&config, &server.http, err);
}

static enum kf_status start_adapter(struct kf_error *err)
{
    const char *address = kf_config_text("KERF_HTTP_ADDRESS");
    struct kf_mhd_config config = {.http = server.http,
                                   .address = *address ? address : NULL,
                                   .port = (int)kf_config_integer("KERF_HTTP_PORT"),
                                   .threads = (int)kf_config_integer("KERF_HTTP_THREADS"),
                                   .slow_threads = (int)kf_config_integer("KERF_HTTP_SLOW_THREADS"),
                                   .most_connections = (int)kf_config_integer("KERF_HTTP_CONNECTIONS"),
                                   .header_deadline_s = (int)kf_config_number("KERF_HTTP_HEADER_S"),
                                   .idle_s = (int)kf_config_number("KERF_HTTP_IDLE_S")};
    return kf_mhd_start(&config, &server.mhd, err);
}

static enum kf_status hand_over(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_length)
{
    (void)arg;
    return kf_mhd_add(server.mhd, fd, peer, peer_length);
}

static enum kf_status load_tls(struct kf_error *err)
{
    if (kf_config_integer("KERF_TLS_PORT") == 0)
        return KF_OK;
    const char *certificate = kf_config_text("KERF_TLS_CERT"), *key = kf_config_text("KERF_TLS_KEY");
    if (!*certificate || !*key)
        return kf_error_set(err, KF_INVALID, "setting", "KERF_TLS_PORT needs KERF_TLS_CERT and KERF_TLS_KEY.");
    return kf_tls_server_new(certificate, key, &server.tls, err);
}

static enum kf_status start_front(struct kf_error *err)
{
    if (!server.tls)
        return KF_OK;
    struct kf_front_config config = {.tls = server.tls,
                                     .address = kf_config_text("KERF_TLS_ADDRESS"),
                                     .port = (int)kf_config_integer("KERF_TLS_PORT"),
                                     .most_connections = (int)kf_config_integer("KERF_HTTP_CONNECTIONS"),
                                     .hand_over = hand_over};
    return kf_front_start(&config, &server.front, err);
}

static enum kf_status start_live(struct kf_error *err)
{
    struct kf_live_source source;
    kf_routes_live_source(server.routes, &source);
    enum kf_status status =
        kf_live_start(&source, (size_t)kf_config_integer("KERF_EVENTS_SUBSCRIBERS"), &server.live, err);
    if (status == KF_OK)
        kf_routes_set_live(server.routes, server.live);
    return status;
}

// What --check-config looks at: everything that can be wrong before anything is started.
static enum kf_status prepare(struct kf_error *err)
{
    struct kf_app_config config;
    kf_app_config_read(&config);
    if (!config.database_url || !*config.database_url)
        return kf_error_set(err, KF_INVALID, "setting", "KERF_DATABASE_URL is not set (kerf up sets it by itself).");
    enum kf_status status = read_proxies(err);
    if (status == KF_OK)
        status = load_tls(err);
    if (status == KF_OK)
        status = load_web(err);
    if (status == KF_OK)
        status = kf_app_new(&config, &server.app, err);
    if (status == KF_OK)
        status = kf_routes_new(server.app, &server.routes, err);
    if (status == KF_OK)
        status = make_http(err);
    return status;
}

static enum kf_status start(struct kf_error *err)
{
    enum kf_status status = start_live(err);
    if (status == KF_OK)
        status = start_adapter(err);
    if (status == KF_OK)
        status = start_front(err);
    if (status == KF_OK && pthread_create(&server.ticker, NULL, tick, NULL))
        status = kf_error_set(err, KF_UNAVAILABLE, NULL, "The ticker cannot be started.");
    server.ticking = status == KF_OK;
    return status;
}

// New clients are turned away first; then answers get out; then what the answers stood on goes.
static void stop(void)
{
    atomic_store(&server.stopping, 1);
    if (server.front)
        kf_front_quiesce(server.front);
    kf_mhd_stop(server.mhd, GRACE_S);
    kf_front_stop(server.front, 2000);
    if (server.routes)
        kf_routes_set_live(server.routes, NULL);
    kf_live_stop(server.live);
    if (server.ticking)
        pthread_join(server.ticker, NULL);
    kf_http_free(server.http);
    kf_routes_free(server.routes);
    kf_app_free(server.app);
    kf_static_free(server.files);
    kf_tls_server_free(server.tls);
}

// ------------------------------------------------------------------------------------------------ main

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum kf_log_level log_level(void)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++)
        if (strcmp(kf_config_text("KERF_LOG_LEVEL"), names[i]) == 0)
            return (enum kf_log_level)i;
    return KF_LOG_INFO;
}

static void reload(void)
{
    struct kf_error err = {0};
    if (!server.tls)
        return;
    if (kf_tls_server_reload(server.tls, &err) == KF_OK)
        kf_log(KF_LOG_INFO, "tls.reloaded", " ");
    else
        kf_log_error(KF_LOG_ERROR, "tls.reload", &err); // the old one stays
}

static enum kf_status write_ready_file(const char *path, struct kf_error *err)
{
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!path)
        return KF_OK;
    if (!file)
        return kf_error_set(err, KF_IO, NULL, "The ready file cannot be written.");
    fprintf(file, "{\"http\":%d,\"https\":%d}\n", kf_mhd_port(server.mhd),
            server.front ? kf_front_port(server.front) : 0);
    return fclose(file) == 0 ? KF_OK : kf_error_set(err, KF_IO, NULL, "The ready file cannot be written.");
}

static int run(const char *ready_file, const sigset_t *signals)
{
    struct kf_error err = {0};
    enum kf_status status = start(&err);
    if (status == KF_OK)
        status = write_ready_file(ready_file, &err);
    if (status != KF_OK) {
        kf_log_error(KF_LOG_ERROR, "server.start", &err);
        fprintf(stderr, "kerf-server: %s\n", err.detail);
        stop();
        return 1;
    }
    kf_log(KF_LOG_INFO, "server.started", "version=%s http_port=%d tls_port=%d", KERF_VERSION, kf_mhd_port(server.mhd),
           server.front ? kf_front_port(server.front) : 0);
    for (int caught = 0; caught != SIGTERM && caught != SIGINT;) {
        if (sigwait(signals, &caught))
            break;
        if (caught == SIGHUP)
            reload();
    }
    kf_log(KF_LOG_INFO, "server.stopping", " ");
    stop();
    kf_log(KF_LOG_INFO, "server.stopped", " ");
    return 0;
}

static int usage(FILE *to)
{
    fputs("kerf-server [--data DIR] [--ready FILE] [--check-config]\n"
          "Serves the HTTP API and the web application. Settings: kerf settings.\n"
          "  --data DIR      folder with kerf.conf (KERF_DATA)\n"
          "  --ready FILE    once it listens, writes {\"http\":PORT,\"https\":PORT} there\n"
          "  --check-config  checks settings, certificate and web application, and ends\n",
          to);
    return to == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
    const char *data = NULL, *ready_file = NULL;
    int check = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--data") == 0 && i + 1 < argc)
            data = argv[++i];
        else if (strcmp(argv[i], "--ready") == 0 && i + 1 < argc)
            ready_file = argv[++i];
        else if (strcmp(argv[i], "--check-config") == 0)
            check = 1;
        else if (strcmp(argv[i], "--version") == 0)
            return puts("kerf-server " KERF_VERSION) < 0;
        else
            return usage(strcmp(argv[i], "--help") == 0 ? stdout : stderr);
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); // before any thread is made
    struct kf_error err = {0};
    enum kf_status status = kf_config_load(data, &err);
    kf_log_init("kerf-server", log_level());
    raise_file_limit();
    if (status == KF_OK)
        status = prepare(&err);
    if (status != KF_OK || check) {
        if (status != KF_OK)
            fprintf(stderr, "kerf-server: %s\n", err.detail);
        else
            puts("ok");
        stop();
        return status == KF_OK ? 0 : 1;
    }
    return run(ready_file, &signals);
}
