#include "server/http/watch.h"

#include "server/base/log.h"
#include "server/base/timeid.h"
#include "server/http/metrics.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define SECOND ((int64_t)1000000000)

struct kf_watch {
    struct kf_watch_limits limits;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    struct kf_watched *first;
    int stopping;
    pthread_t thread;
};

int kf_watch_late(const struct kf_watch_limits *limits, enum kf_watch_phase phase, int64_t since_ns, int64_t bytes,
                  int64_t now_ns)
{
    int64_t allowed_s;
    switch (phase) {
    case KF_WATCH_HEADERS:
        allowed_s = limits->header_s;
        break;
    case KF_WATCH_IDLE:
        allowed_s = limits->idle_s + limits->header_s;
        break;
    case KF_WATCH_BODY:
    case KF_WATCH_SEND:
        allowed_s = limits->grace_s + bytes / limits->rate;
        break;
    default:
        return 0;
    }
    return now_ns - since_ns > allowed_s * SECOND;
}

static void check(struct kf_watch *watch)
{
    int64_t now = kf_time_monotonic_ns();
    for (struct kf_watched *at = watch->first; at; at = at->next) {
        // The phase may change between these loads: since_ns is written first, so a mixture of old and new shows either
        // a fresh start or a start that differs when it is read again.
        int64_t since = atomic_load(&at->since_ns);
        enum kf_watch_phase phase = (enum kf_watch_phase)atomic_load(&at->phase);
        if (at->killed || !kf_watch_late(&watch->limits, phase, since, atomic_load(&at->bytes), now) ||
            atomic_load(&at->since_ns) != since)
            continue;
        at->killed = 1;
        shutdown(at->fd, SHUT_RDWR);
        kf_metrics_gauge_add(KF_GAUGE_DEADLINE_CLOSED, 1);
        kf_log(KF_LOG_INFO, "http.deadline", "phase=%d after_ms=%lld", (int)phase,
               (long long)((now - since) / 1000000));
    }
}

static void *run(void *arg)
{
    struct kf_watch *watch = arg;
    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 250000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&watch->stop, &watch->lock, &until);
        check(watch);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

enum kf_status kf_watch_new(const struct kf_watch_limits *limits, struct kf_watch **out)
{
    *out = NULL;
    struct kf_watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return KF_NOMEM;
    watch->limits = *limits;
    pthread_mutex_init(&watch->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->stop, &clock);
    pthread_condattr_destroy(&clock);
    if (pthread_create(&watch->thread, NULL, run, watch)) {
        free(watch);
        return KF_UNAVAILABLE;
    }
    *out = watch;
    return KF_OK;
}

void kf_watch_free(struct kf_watch *watch)
{
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->stopping = 1;
    pthread_cond_signal(&watch->stop);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->stop);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

void kf_watch_phase(struct kf_watched *connection, enum kf_watch_phase phase, int64_t bytes)
{
    atomic_store(&connection->since_ns, kf_time_monotonic_ns());
    atomic_store(&connection->bytes, bytes);
    atomic_store(&connection->phase, phase);
}

void kf_watch_add(struct kf_watch *watch, struct kf_watched *connection)
{
    connection->killed = 0;
    kf_watch_phase(connection, KF_WATCH_HEADERS, 0);
    pthread_mutex_lock(&watch->lock);
    connection->previous = NULL;
    connection->next = watch->first;
    if (watch->first)
        watch->first->previous = connection;
    watch->first = connection;
    pthread_mutex_unlock(&watch->lock);
}

void kf_watch_remove(struct kf_watch *watch, struct kf_watched *connection)
{
    pthread_mutex_lock(&watch->lock);
    *(connection->previous ? &connection->previous->next : &watch->first) = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    pthread_mutex_unlock(&watch->lock);
}
