// The hub. One mutex guards everything; it is never held while the database is asked. Lock order: the hub's, then the
// adapter's waker (which takes its own). A subscription is freed by its connection (kf_live_leave); the hub only ends
// it.
#include "server/live/live.h"

#include "server/base/log.h"
#include "server/base/str.h"
#include "server/base/timeid.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_MS       500                 // for the database, until the loop looks around
#define HEARTBEAT_MS  15000               // proxies cut a stream that is silent for half a minute
#define ALIVE_MS      30000               // between looks whether a session still holds
#define MOST_QUEUED   ((size_t)256 << 10) // bytes of one subscriber
#define MOST_REPLAYED ((size_t)1000)      // events to one that comes back; more is a resync
#define OVERLAP       64                  // ids before Last-Event-ID that are looked at again …
#define OVERLAP_MS    30000 // … when they are this young: the longest that a transaction holds an id back
#define SEEN          1024  // ids remembered as sent, so that none goes out twice

// The events of one organisation that have gone out lately, so that reading a little backwards repeats nothing.
struct tenant {
    struct tenant *next;
    char id[KF_ID_TEXT];
    int64_t newest;     // highest id that was delivered
    int64_t floor;      // what `newest` was when the first subscriber came
    int64_t seen[SEEN]; // ring of delivered ids
    size_t seen_next;
    int64_t dirty_from; // lowest id that was notified and not yet fetched; 0: none
    int subscribers;
    int ready; // `newest` is known since the first subscriber came; until then nothing is fetched
};

struct kf_live_subscription {
    struct kf_live_subscription *next, *previous;
    struct kf_live *live;
    struct tenant *tenant;
    char case_id[KF_ID_TEXT];
    char session_id[KF_ID_TEXT];
    struct kf_str queue;
    size_t sent; // of the queue
    int64_t last_ms, checked_ms;
    int ended;   // nothing more is queued; what is queued still goes out
    int joining; // the replay is being fetched: new events go to `later`
    struct kf_str later;
    int64_t replayed[MOST_REPLAYED];
    size_t replayed_count;
    int64_t replay_after;
    void (*wake)(void *waker);
    void *waker;
};

struct kf_live {
    struct kf_live_source source;
    size_t most;
    pthread_mutex_t lock;
    pthread_t thread;
    struct kf_live_subscription *subscriptions;
    struct tenant *tenants;
    atomic_size_t count;
    atomic_int stopping;
    int references; // the owner and every subscription
    int resync;     // notifications may have been missed
};

static void live_free(struct kf_live *live)
{
    while (live->tenants) {
        struct tenant *next = live->tenants->next;
        free(live->tenants);
        live->tenants = next;
    }
    pthread_mutex_destroy(&live->lock);
    free(live);
}

static void live_release(struct kf_live *live)
{
    pthread_mutex_lock(&live->lock);
    int left = --live->references;
    pthread_mutex_unlock(&live->lock);
    if (!left)
        live_free(live);
}

static int64_t now_ms(void)
{
    return kf_time_monotonic_ns() / 1000000;
}

static void wake(struct kf_live_subscription *sub)
{
    if (sub->wake)
        sub->wake(sub->waker);
}

static void end(struct kf_live_subscription *sub)
{
    sub->ended = 1;
    wake(sub);
}

// "id", "event", "data" (WHATWG HTML 9.2.6). The case is put into the data when the row keeps it beside the body.
static void add_event(struct kf_str *to, const struct kf_live_event *event)
{
    kf_str_printf(to, "id: %lld\nevent: %s\ndata: ", (long long)event->id, event->kind);
    const char *data = event->data && *event->data == '{' ? event->data : "{}";
    if (event->case_id && *event->case_id && !strstr(data, "\"case_id\"")) {
        const char *rest = data + 1 + strspn(data + 1, " ");
        kf_str_printf(to, "{\"case_id\":\"%s\"%s", event->case_id, *rest == '}' ? "" : ",");
        data = rest;
    }
    for (; *data; data++)
        kf_str_add_char(to, *data == '\n' || *data == '\r' ? ' ' : *data);
    kf_str_add_text(to, "\n\n");
}

static int wants(const struct kf_live_subscription *sub, const struct kf_live_event *event)
{
    return !sub->case_id[0] || (event->case_id && strcmp(sub->case_id, event->case_id) == 0);
}

// With the lock held. A subscriber that does not read is let go: its browser comes back and resumes.
static void queue_event(struct kf_live_subscription *sub, const struct kf_live_event *event)
{
    if (sub->ended || !wants(sub, event))
        return;
    struct kf_str *to = sub->joining ? &sub->later : &sub->queue;
    if (sub->joining)
        for (size_t i = 0; i < sub->replayed_count; i++)
            if (sub->replayed[i] == event->id)
                return;
    add_event(to, event);
    sub->last_ms = now_ms();
    if (to->failed || to->length > MOST_QUEUED) {
        kf_log(KF_LOG_INFO, "live.slow", "session=%s", sub->session_id);
        end(sub);
    } else if (!sub->joining) {
        wake(sub);
    }
}

// ------------------------------------------------------------------------------------------------ the stream's side

long kf_live_read(struct kf_live_subscription *sub, char *to, size_t room)
{
    struct kf_live *live = sub->live;
    pthread_mutex_lock(&live->lock);
    size_t left = sub->queue.length - sub->sent;
    size_t n = left < room ? left : room;
    long result = sub->ended && !n ? -1 : (long)n;
    if (n) {
        memcpy(to, sub->queue.data + sub->sent, n);
        sub->sent += n;
        if (sub->sent == sub->queue.length) {
            kf_str_clear(&sub->queue);
            sub->sent = 0;
        }
    }
    pthread_mutex_unlock(&live->lock);
    return result;
}

void kf_live_attach(struct kf_live_subscription *sub, void (*wake_fn)(void *waker), void *waker)
{
    pthread_mutex_lock(&sub->live->lock);
    sub->wake = wake_fn;
    sub->waker = waker;
    pthread_mutex_unlock(&sub->live->lock);
}

void kf_live_leave(struct kf_live_subscription *sub)
{
    struct kf_live *live = sub->live;
    pthread_mutex_lock(&live->lock);
    *(sub->previous ? &sub->previous->next : &live->subscriptions) = sub->next;
    if (sub->next)
        sub->next->previous = sub->previous;
    sub->tenant->subscribers--;
    pthread_mutex_unlock(&live->lock);
    atomic_fetch_sub(&live->count, 1);
    kf_str_release(&sub->queue);
    kf_str_release(&sub->later);
    free(sub);
    live_release(live);
}

// ------------------------------------------------------------------------------------------------ subscribing

static struct tenant *tenant_for(struct kf_live *live, const char *id)
{
    for (struct tenant *at = live->tenants; at; at = at->next)
        if (strcmp(at->id, id) == 0)
            return at;
    struct tenant *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    kf_str_copy(made->id, sizeof made->id, id);
    made->next = live->tenants;
    live->tenants = made;
    return made;
}

static enum kf_status join(struct kf_live *live, const char *organisation_id, const char *session_id,
                           const char *case_id, struct kf_live_subscription **out, struct kf_error *err)
{
    struct kf_live_subscription *sub = calloc(1, sizeof *sub);
    if (!sub)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    sub->live = live;
    kf_str_copy(sub->session_id, sizeof sub->session_id, session_id);
    sub->joining = 1;
    sub->last_ms = sub->checked_ms = now_ms();
    kf_str_copy(sub->case_id, sizeof sub->case_id, case_id ? case_id : "");
    kf_str_add_text(&sub->queue, "retry: 2000\n\n");
    pthread_mutex_lock(&live->lock);
    sub->tenant = tenant_for(live, organisation_id);
    if (sub->tenant) {
        if (!sub->tenant->subscribers++) // nobody was there for what came before: it is not theirs
            sub->tenant->ready = 0, sub->tenant->dirty_from = 0;
        sub->next = live->subscriptions;
        if (sub->next)
            sub->next->previous = sub;
        live->subscriptions = sub;
        live->references++;
    }
    pthread_mutex_unlock(&live->lock);
    if (!sub->tenant) {
        kf_str_release(&sub->queue);
        free(sub);
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    }
    *out = sub;
    return KF_OK;
}

static void set_newest(struct kf_live_subscription *sub, int64_t newest)
{
    pthread_mutex_lock(&sub->live->lock);
    struct tenant *tenant = sub->tenant;
    if (!tenant->ready) {
        tenant->floor = newest;
        tenant->newest = newest > tenant->newest ? newest : tenant->newest;
    }
    tenant->ready = 1;
    pthread_mutex_unlock(&sub->live->lock);
}

static void replay(void *to, const struct kf_live_event *event)
{
    struct kf_live_subscription *sub = to;
    int young = event->created_ms >= kf_time_unix_ms() - OVERLAP_MS;
    pthread_mutex_lock(&sub->live->lock);
    if ((event->id > sub->replay_after || young) && sub->replayed_count < MOST_REPLAYED) {
        sub->replayed[sub->replayed_count++] = event->id;
        if (wants(sub, event))
            add_event(&sub->queue, event);
    }
    pthread_mutex_unlock(&sub->live->lock);
}

// What arrived while the replay was fetched follows it. A gap that is too long is told: the page then loads everything
// anew.
static void finish_joining(struct kf_live_subscription *sub)
{
    struct kf_live *live = sub->live;
    pthread_mutex_lock(&live->lock);
    if (sub->replayed_count == MOST_REPLAYED)
        kf_str_add_text(&sub->queue, "event: resync\ndata: {}\n\n");
    kf_str_add(&sub->queue, kf_str_text(&sub->later), sub->later.length);
    kf_str_release(&sub->later);
    sub->joining = 0;
    if (sub->queue.failed)
        sub->ended = 1;
    pthread_mutex_unlock(&live->lock);
}

enum kf_status kf_live_join(struct kf_live *live, void *thread, const char *organisation_id, const char *session_id,
                            const char *case_id, int64_t after, struct kf_live_subscription **out, struct kf_error *err)
{
    *out = NULL;
    if (atomic_fetch_add(&live->count, 1) >= live->most || atomic_load(&live->stopping)) {
        atomic_fetch_sub(&live->count, 1);
        return kf_error_set(err, KF_UNAVAILABLE, "too_many_streams", "There are too many live streams. Try again.");
    }
    const struct kf_live_source *source = &live->source;
    struct kf_live_subscription *sub = NULL;
    enum kf_status status = join(live, organisation_id, session_id, case_id, &sub, err);
    if (status != KF_OK) {
        atomic_fetch_sub(&live->count, 1);
        return status;
    }
    // Behind the registration, so that no event falls between the two.
    int64_t newest = 0;
    status = source->newest(source->app, thread, organisation_id, &newest, err);
    if (status == KF_OK)
        set_newest(sub, newest);
    if (status == KF_OK && after >= 0) {
        sub->replay_after = after;
        status = source->fetch(source->app, thread, organisation_id, after > OVERLAP ? after - OVERLAP : 0,
                               MOST_REPLAYED, replay, sub, err);
    }
    if (status != KF_OK) {
        kf_live_leave(sub);
        return status;
    }
    finish_joining(sub);
    *out = sub;
    return KF_OK;
}

void kf_live_drop_session(struct kf_live *live, const char *session_id)
{
    pthread_mutex_lock(&live->lock);
    for (struct kf_live_subscription *sub = live->subscriptions; sub; sub = sub->next)
        if (strcmp(sub->session_id, session_id) == 0)
            end(sub);
    pthread_mutex_unlock(&live->lock);
}

size_t kf_live_subscribers(const struct kf_live *live)
{
    return atomic_load(&live->count);
}

// ------------------------------------------------------------------------------------------------ the hub's thread

static void notified(void *to, const char *organisation_id, int64_t event_id)
{
    struct kf_live *live = to;
    pthread_mutex_lock(&live->lock);
    for (struct tenant *tenant = live->tenants; tenant; tenant = tenant->next)
        if (strcmp(tenant->id, organisation_id) == 0 && (!tenant->dirty_from || event_id < tenant->dirty_from))
            tenant->dirty_from = event_id;
    pthread_mutex_unlock(&live->lock);
}

struct delivery {
    struct kf_live *live;
    struct tenant *tenant;
    size_t count;
    int64_t last;
};

static int was_seen(const struct tenant *tenant, int64_t id)
{
    for (size_t i = 0; i < SEEN; i++)
        if (tenant->seen[i] == id)
            return 1;
    return 0;
}

static void deliver(void *to, const struct kf_live_event *event)
{
    struct delivery *delivery = to;
    struct tenant *tenant = delivery->tenant;
    delivery->count++;
    delivery->last = event->id;
    if (was_seen(tenant, event->id))
        return;
    pthread_mutex_lock(&delivery->live->lock);
    tenant->seen[tenant->seen_next++ % SEEN] = event->id;
    if (event->id > tenant->newest)
        tenant->newest = event->id;
    for (struct kf_live_subscription *sub = delivery->live->subscriptions; sub; sub = sub->next)
        if (sub->tenant == tenant)
            queue_event(sub, event);
    pthread_mutex_unlock(&delivery->live->lock);
}

// Tenants are never freed while the hub runs, so that a pointer may be held without the lock.
static enum kf_status fetch_tenant(struct kf_live *live, struct tenant *tenant, void *thread, struct kf_error *err)
{
    enum { PAGE = 200 };
    pthread_mutex_lock(&live->lock);
    int64_t from = tenant->dirty_from - 1; // rows below it may only be read for the first time
    int64_t after = tenant->newest < from ? tenant->newest : from;
    tenant->dirty_from = 0;
    pthread_mutex_unlock(&live->lock);
    for (;;) {
        struct delivery delivery = {live, tenant, 0, after};
        enum kf_status status =
            live->source.fetch(live->source.app, thread, tenant->id, after, PAGE, deliver, &delivery, err);
        if (status != KF_OK) {
            notified(live, tenant->id, from + 1);
            return status;
        }
        if (delivery.count < PAGE)
            return KF_OK;
        after = delivery.last;
    }
}

static enum kf_status fetch_all(struct kf_live *live, void *thread, struct kf_error *err)
{
    pthread_mutex_lock(&live->lock);
    struct tenant *first = live->tenants;
    for (struct tenant *at = first; live->resync && at; at = at->next)
        if (at->subscribers && at->ready && !at->dirty_from)
            at->dirty_from = 1 + (at->newest - OVERLAP > at->floor ? at->newest - OVERLAP : at->floor);
    live->resync = 0;
    pthread_mutex_unlock(&live->lock);
    for (struct tenant *at = first; at; at = at->next) {
        pthread_mutex_lock(&live->lock);
        int dirty = at->dirty_from && at->ready && at->subscribers;
        pthread_mutex_unlock(&live->lock);
        enum kf_status status = dirty ? fetch_tenant(live, at, thread, err) : KF_OK;
        if (status != KF_OK)
            return status;
    }
    return KF_OK;
}

// A comment keeps proxies from closing a silent stream, and finds out whether anybody is still there.
static void heartbeat(struct kf_live *live)
{
    int64_t now = now_ms();
    pthread_mutex_lock(&live->lock);
    for (struct kf_live_subscription *sub = live->subscriptions; sub; sub = sub->next)
        if (!sub->ended && !sub->joining && now - sub->last_ms >= HEARTBEAT_MS) {
            kf_str_add_text(&sub->queue, ":\n\n");
            sub->last_ms = now;
            if (sub->queue.length > MOST_QUEUED)
                sub->ended = 1;
            wake(sub);
        }
    pthread_mutex_unlock(&live->lock);
}

// One session whose turn it is to be asked about, if any.
static int next_to_check(struct kf_live *live, char organisation_id[KF_ID_TEXT], char session_id[KF_ID_TEXT])
{
    int64_t now = now_ms();
    int found = 0;
    pthread_mutex_lock(&live->lock);
    for (struct kf_live_subscription *sub = live->subscriptions; sub; sub = sub->next) {
        if (sub->ended || now - sub->checked_ms < ALIVE_MS)
            continue;
        if (!found) {
            kf_str_copy(organisation_id, KF_ID_TEXT, sub->tenant->id);
            kf_str_copy(session_id, KF_ID_TEXT, sub->session_id);
            found = 1;
        }
        if (strcmp(sub->session_id, session_id) == 0)
            sub->checked_ms = now;
    }
    pthread_mutex_unlock(&live->lock);
    return found;
}

static void check_sessions(struct kf_live *live, void *thread)
{
    char organisation_id[KF_ID_TEXT], session_id[KF_ID_TEXT];
    while (live->source.alive && !atomic_load(&live->stopping) && next_to_check(live, organisation_id, session_id))
        if (!live->source.alive(live->source.app, thread, organisation_id, session_id))
            kf_live_drop_session(live, session_id);
}

static void rest(struct kf_live *live)
{
    for (int i = 0; i < 20 && !atomic_load(&live->stopping); i++) {
        struct timespec nap = {0, 50000000};
        nanosleep(&nap, NULL);
    }
}

static void *run(void *arg)
{
    struct kf_live *live = arg;
    const struct kf_live_source *source = &live->source;
    void *thread = source->thread_init ? source->thread_init(source->app) : NULL;
    int failing = 0;
    while (!atomic_load(&live->stopping)) {
        struct kf_error err = {0};
        enum kf_status status = source->wait(source->app, thread, WAIT_MS, notified, live, &err);
        if (status == KF_OK)
            status = fetch_all(live, thread, &err);
        if (status != KF_OK) {
            if (!failing)
                kf_log_error(KF_LOG_WARN, "live.source", &err);
            pthread_mutex_lock(&live->lock);
            live->resync = 1;
            pthread_mutex_unlock(&live->lock);
            rest(live);
        }
        failing = status != KF_OK;
        heartbeat(live);
        if (!failing)
            check_sessions(live, thread);
    }
    if (source->thread_exit && thread)
        source->thread_exit(source->app, thread);
    return NULL;
}

enum kf_status kf_live_start(const struct kf_live_source *source, size_t most_subscribers, struct kf_live **out,
                             struct kf_error *err)
{
    *out = NULL;
    struct kf_live *live = calloc(1, sizeof *live);
    if (!live)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    live->source = *source;
    live->most = most_subscribers;
    live->references = 1;
    pthread_mutex_init(&live->lock, NULL);
    if (pthread_create(&live->thread, NULL, run, live)) {
        live_free(live);
        return kf_error_set(err, KF_UNAVAILABLE, NULL, "The thread of the live events cannot be started.");
    }
    *out = live;
    return KF_OK;
}

void kf_live_stop(struct kf_live *live)
{
    if (!live)
        return;
    atomic_store(&live->stopping, 1);
    pthread_join(live->thread, NULL);
    pthread_mutex_lock(&live->lock);
    for (struct kf_live_subscription *sub = live->subscriptions; sub; sub = sub->next)
        end(sub);
    pthread_mutex_unlock(&live->lock);
    live_release(live);
}
