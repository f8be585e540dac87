// See front.h. A link is one client: the outer socket speaks TLS, the inner one is our end of the pair. After any event
// the link pumps both directions until it would block and then says which events it waits for; nothing else changes its
// state.
#include "server/front/front.h"

#include "server/base/log.h"
#include "server/base/loop/loop.h"
#include "server/base/timeid.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UP_BYTES      ((size_t)64 << 10) // a link holds from its client
#define DOWN_BYTES    ((size_t)64 << 10) // a loop reads from the adapter at once
#define RECORD        ((size_t)16 << 10) // of TLS, at most
#define TURNS         8                  // of one direction per event, so that a fast client does not starve the others
#define CLOSING_MS    10000              // for what is left to go out
#define LINGER_MS     2000               // for the client to close as well
#define TICK_MS       250                // how late a deadline may be seen
#define MOST_LOOPS    16                 // threads, whatever the setting says
#define ADDRESS_SLOTS 4096

enum state { HANDSHAKE, OPEN, CLOSING, LINGER };

struct link {
    struct link *next, *previous;
    struct worker *worker;
    struct kf_tls *tls;
    struct kf_loop_poll *outer_poll, *inner_poll;
    int outer, inner;
    enum state state;
    int64_t deadline_ms; // of HANDSHAKE, CLOSING and LINGER
    int outer_ended;     // the client will send nothing more
    int told_inner;      // … and the inner side knows
    int inner_ended;     // the adapter has closed its end
    int inner_deaf;      // … or takes nothing more: input is thrown away
    size_t up_first, up_last;
    unsigned char *up; // decrypted, on its way in
    unsigned address_slot;
    struct sockaddr_storage peer;
    socklen_t peer_length;
};

struct worker {
    struct kf_front *front;
    struct kf_loop *loop;
    struct kf_loop_poll *listen_poll;
    struct kf_loop_timer *timer;
    pthread_t thread;
    int running;
    struct link *links;
    int stopping;
    int64_t stop_at_ms;
    unsigned char *down; // scratch for the way out: what is read is encrypted at once
};

struct kf_front {
    struct kf_front_config config;
    int listener, port;
    uint64_t seed;
    atomic_int quiet;
    atomic_int connections;
    atomic_llong failed, late, refused;    // counted up
    atomic_int per_address[ADDRESS_SLOTS]; // addresses share slots by a secret hash: the limit is approximate
    int worker_count;
    struct worker workers[MOST_LOOPS];
};

static void link_destroy(struct link *link)
{
    struct worker *worker = link->worker;
    *(link->previous ? &link->previous->next : &worker->links) = link->next;
    if (link->next)
        link->next->previous = link->previous;
    kf_loop_poll_free(link->outer_poll);
    kf_loop_poll_free(link->inner_poll);
    kf_tls_free(link->tls);
    close(link->outer);
    if (link->inner >= 0)
        close(link->inner);
    atomic_fetch_sub(&worker->front->connections, 1);
    atomic_fetch_sub(&worker->front->per_address[link->address_slot], 1);
    free(link->up);
    free(link);
}

// From the adapter to the client. -1: the link must go.
static int pump_down(struct link *link)
{
    for (int turn = 0; turn < TURNS && !link->inner_ended; turn++) {
        size_t room = kf_tls_room(link->tls);
        if (room < RECORD)
            break;
        ssize_t n = read(link->inner, link->worker->down, room < DOWN_BYTES ? room : DOWN_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            link->inner_ended = 1;
            break;
        }
        if (kf_tls_write(link->tls, link->worker->down, (size_t)n) != n)
            return -1;
    }
    return kf_tls_flush(link->tls) == KF_TLS_FAILED ? -1 : 0;
}

// Hands what is decrypted to the adapter. 0: it would block; 1: all gone.
static int give_inner(struct link *link)
{
    while (link->up_first < link->up_last) {
        ssize_t n = link->inner_deaf
                        ? (ssize_t)(link->up_last - link->up_first)
                        : send(link->inner, link->up + link->up_first, link->up_last - link->up_first, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0)
            link->inner_deaf = 1;
        else
            link->up_first += (size_t)n;
    }
    link->up_first = link->up_last = 0;
    return 1;
}

// Decrypts what is there into the empty buffer. -1: the link must go; 0: nothing came; 1: something did.
static int take_outer(struct link *link)
{
    while (UP_BYTES - link->up_last >= RECORD) {
        long n = kf_tls_read(link->tls, link->up + link->up_last, UP_BYTES - link->up_last);
        if (n == KF_TLS_AGAIN)
            break;
        if (n == KF_TLS_FAILED)
            return -1;
        if (n == KF_TLS_CLOSED) {
            link->outer_ended = 1;
            break;
        }
        link->up_last += (size_t)n;
    }
    return link->up_last > 0;
}

static int pump_up(struct link *link)
{
    for (int turn = 0; turn < TURNS; turn++) {
        if (!give_inner(link))
            return 0;
        if (link->outer_ended)
            break;
        int took = take_outer(link);
        if (took < 0)
            return -1;
        if (!took)
            break;
    }
    if (!give_inner(link))
        return 0;
    if (link->outer_ended && !link->told_inner) {
        link->told_inner = 1;
        shutdown(link->inner, SHUT_WR);
    }
    return 0;
}

static void set_interest(struct link *link)
{
    int outer = 0, inner = 0;
    if (link->state == HANDSHAKE || link->state == LINGER)
        outer = KF_READABLE;
    else if (!link->outer_ended && link->up_first == link->up_last)
        outer = KF_READABLE;
    if (kf_tls_pending(link->tls))
        outer |= KF_WRITABLE;
    if (link->state == OPEN) {
        if (!link->inner_ended && kf_tls_room(link->tls) >= RECORD)
            inner = KF_READABLE;
        if (link->up_first < link->up_last && !link->inner_deaf)
            inner |= KF_WRITABLE;
    }
    kf_loop_poll_set(link->outer_poll, outer);
    if (link->inner_poll)
        kf_loop_poll_set(link->inner_poll, inner);
}

// The adapter has closed: the last records and the close_notify go out, then we wait a moment for the client to close,
// since closing first would take back what it has not read.
static int wind_down(struct link *link)
{
    int64_t now = kf_loop_now_ms(link->worker->loop);
    if (link->state == OPEN && link->inner_ended) {
        link->state = CLOSING;
        link->deadline_ms = now + CLOSING_MS;
        kf_tls_say_goodbye(link->tls);
    }
    if (link->state == CLOSING) {
        int said = kf_tls_flush(link->tls);
        if (said == KF_TLS_FAILED)
            return -1;
        if (said == 0) {
            shutdown(link->outer, SHUT_WR);
            link->state = LINGER;
            link->deadline_ms = now + LINGER_MS;
        }
    }
    if (link->state == LINGER) {
        ssize_t n;
        do
            n = recv(link->outer, link->worker->down, DOWN_BYTES, 0);
        while (n > 0);
        if (n == 0 || errno != EAGAIN)
            return -1;
    }
    return 0;
}

static void on_link(void *arg, int events);

static int open_inner(struct link *link)
{
    struct kf_front *front = link->worker->front;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
        return -1;
    link->inner = pair[0];
    link->up = malloc(UP_BYTES);
    if (!link->up || kf_loop_poll_new(link->worker->loop, link->inner, on_link, link, &link->inner_poll) != KF_OK) {
        close(pair[1]);
        return -1;
    }
    link->state = OPEN;
    return front->config.hand_over(front->config.arg, pair[1], (struct sockaddr *)&link->peer, link->peer_length) ==
                   KF_OK
               ? 0
               : -1;
}

static int shake_hands(struct link *link)
{
    int said = kf_tls_handshake(link->tls);
    if (said == 0)
        return open_inner(link);
    if (said == KF_TLS_AGAIN)
        return 0;
    atomic_fetch_add(&link->worker->front->failed, 1);
    return -1;
}

static void on_link(void *arg, int events)
{
    (void)events;
    struct link *link = arg;
    int gone = 0;
    if (link->state == HANDSHAKE)
        gone = shake_hands(link);
    if (!gone && link->state == OPEN)
        gone = pump_up(link) || pump_down(link);
    if (!gone && (link->state != HANDSHAKE))
        gone = wind_down(link);
    if (gone)
        link_destroy(link);
    else
        set_interest(link);
}

// ------------------------------------------------------------------------------------------------ accepting

static unsigned address_slot(const struct kf_front *front, const struct sockaddr_storage *peer)
{
    const unsigned char *bytes = (const unsigned char *)&((const struct sockaddr_in *)peer)->sin_addr;
    size_t length = 4;
    if (peer->ss_family == AF_INET6) { // a client owns a whole /64; an IPv4 client is at the end of ::ffff:0:0/96
        const struct in6_addr *six = &((const struct sockaddr_in6 *)peer)->sin6_addr;
        int mapped = IN6_IS_ADDR_V4MAPPED(six);
        bytes = six->s6_addr + (mapped ? 12 : 0);
        length = mapped ? 4 : 8;
    }
    uint64_t hash = front->seed;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    hash ^= hash >> 31;
    return (unsigned)((hash * 0x9e3779b97f4a7c15u) >> 52);
}

static int admit(struct kf_front *front, unsigned slot)
{
    if (atomic_fetch_add(&front->connections, 1) >= front->config.most_connections) {
        atomic_fetch_sub(&front->connections, 1);
        return 0;
    }
    if (atomic_fetch_add(&front->per_address[slot], 1) >= front->config.most_per_address) {
        atomic_fetch_sub(&front->per_address[slot], 1);
        atomic_fetch_sub(&front->connections, 1);
        return 0;
    }
    return 1;
}

static void link_new(struct worker *worker, int fd, const struct sockaddr_storage *peer, socklen_t peer_length)
{
    struct kf_front *front = worker->front;
    unsigned slot = address_slot(front, peer);
    if (!admit(front, slot)) {
        atomic_fetch_add(&front->refused, 1);
        close(fd);
        return;
    }
    struct link *link = calloc(1, sizeof *link);
    if (!link || kf_tls_new(front->config.tls, fd, &link->tls) != KF_OK ||
        kf_loop_poll_new(worker->loop, fd, on_link, link, &link->outer_poll) != KF_OK) {
        if (link)
            kf_tls_free(link->tls);
        free(link);
        close(fd);
        atomic_fetch_sub(&front->connections, 1);
        atomic_fetch_sub(&front->per_address[slot], 1);
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    link->worker = worker;
    link->outer = fd;
    link->inner = -1;
    link->address_slot = slot;
    link->peer = *peer;
    link->peer_length = peer_length;
    link->deadline_ms = kf_loop_now_ms(worker->loop) + front->config.handshake_s * 1000;
    link->next = worker->links;
    if (link->next)
        link->next->previous = link;
    worker->links = link;
    set_interest(link);
}

static void on_listen(void *arg, int events)
{
    (void)events;
    struct worker *worker = arg;
    for (int i = 0; i < 16 && !atomic_load(&worker->front->quiet); i++) {
        struct sockaddr_storage peer = {0};
        socklen_t length = sizeof peer;
        int fd = accept4(worker->front->listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            link_new(worker, fd, &peer, length);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            kf_loop_poll_set(worker->listen_poll, 0); // until the next tick: nothing can be accepted now
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static void on_tick(void *arg)
{
    struct worker *worker = arg;
    int64_t now = kf_loop_now_ms(worker->loop);
    for (struct link *link = worker->links, *next; link; link = next) {
        next = link->next;
        if (link->state == OPEN || now < link->deadline_ms)
            continue;
        if (link->state == HANDSHAKE)
            atomic_fetch_add(&worker->front->late, 1);
        link_destroy(link);
    }
    kf_loop_poll_set(worker->listen_poll, atomic_load(&worker->front->quiet) ? 0 : KF_READABLE);
    if (worker->stopping && (!worker->links || now >= worker->stop_at_ms)) {
        while (worker->links)
            link_destroy(worker->links);
        kf_loop_stop(worker->loop);
    }
}

// ------------------------------------------------------------------------------------------------ start and stop

static void *run(void *arg)
{
    kf_loop_run(((struct worker *)arg)->loop);
    return NULL;
}

static enum kf_status listen_on(struct kf_front *front, struct kf_error *err)
{
    struct sockaddr_storage at = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&at;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&at;
    socklen_t length = sizeof *v4;
    const struct kf_front_config *config = &front->config;
    if (inet_pton(AF_INET, config->address, &v4->sin_addr) == 1) {
        at.ss_family = AF_INET;
        v4->sin_port = htons((uint16_t)config->port);
    } else if (inet_pton(AF_INET6, config->address, &v6->sin6_addr) == 1) {
        at.ss_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)config->port);
        length = sizeof *v6;
    } else {
        return kf_error_set(err, KF_INVALID, "listen_address", "\"%s\" is no IP address to listen on.",
                            config->address);
    }
    int on = 1;
    front->listener = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (front->listener >= 0)
        setsockopt(front->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (front->listener < 0 || bind(front->listener, (struct sockaddr *)&at, length) || listen(front->listener, 511) ||
        getsockname(front->listener, (struct sockaddr *)&at, &length))
        return kf_error_errno(err, errno, "Cannot listen for TLS");
    front->port = ntohs(at.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    return KF_OK;
}

static enum kf_status start_worker(struct kf_front *front, struct worker *worker, struct kf_error *err)
{
    worker->front = front;
    worker->down = malloc(DOWN_BYTES);
    if (!worker->down)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    enum kf_status status = kf_loop_new(&worker->loop, err);
    if (status == KF_OK)
        status = kf_loop_poll_new(worker->loop, front->listener, on_listen, worker, &worker->listen_poll);
    if (status == KF_OK)
        status = kf_loop_timer_new(worker->loop, on_tick, worker, &worker->timer);
    if (status != KF_OK)
        return status;
    kf_loop_poll_set(worker->listen_poll, KF_READABLE);
    kf_loop_timer_set(worker->timer, TICK_MS, TICK_MS);
    if (pthread_create(&worker->thread, NULL, run, worker))
        return kf_error_set(err, KF_UNAVAILABLE, NULL, "A thread cannot be started.");
    worker->running = 1;
    return KF_OK;
}

enum kf_status kf_front_start(const struct kf_front_config *config, struct kf_front **out, struct kf_error *err)
{
    *out = NULL;
    struct kf_front *front = calloc(1, sizeof *front);
    if (!front)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    front->config = *config;
    front->listener = -1;
    kf_random_bytes(&front->seed, sizeof front->seed);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int loops = config->loops > 0 ? config->loops : (cores < 1 ? 1 : cores > 4 ? 4 : (int)cores);
    loops = loops < MOST_LOOPS ? loops : MOST_LOOPS;
    front->config.most_connections = config->most_connections > 0 ? config->most_connections : 1000;
    front->config.most_per_address = config->most_per_address > 0 ? config->most_per_address : 200;
    front->config.handshake_s = config->handshake_s > 0 ? config->handshake_s : 10;
    enum kf_status status = listen_on(front, err);
    while (status == KF_OK && front->worker_count < loops)
        status = start_worker(front, &front->workers[front->worker_count++], err);
    if (status != KF_OK) {
        kf_front_stop(front, 0);
        return status;
    }
    *out = front;
    return KF_OK;
}

int kf_front_port(const struct kf_front *front)
{
    return front->port;
}

void kf_front_stats(const struct kf_front *front, struct kf_front_stats *stats)
{
    struct kf_front *counted = (struct kf_front *)(uintptr_t)front; // atomic loads want it so
    stats->connections = atomic_load(&counted->connections);
    stats->failed = atomic_load(&counted->failed);
    stats->late = atomic_load(&counted->late);
    stats->refused = atomic_load(&counted->refused);
}

void kf_front_quiesce(struct kf_front *front)
{
    atomic_store(&front->quiet, 1);
}

static void begin_stop(void *arg)
{
    struct worker *worker = arg;
    worker->stopping = 1;
    on_tick(worker);
}

void kf_front_stop(struct kf_front *front, int grace_ms)
{
    if (!front)
        return;
    atomic_store(&front->quiet, 1);
    for (int i = 0; i < front->worker_count; i++) {
        struct worker *worker = &front->workers[i];
        if (!worker->running)
            continue;
        worker->stop_at_ms = kf_time_monotonic_ns() / 1000000 + grace_ms;
        if (kf_loop_post(worker->loop, begin_stop, worker) != KF_OK)
            kf_loop_stop(worker->loop);
    }
    for (int i = 0; i < front->worker_count; i++) {
        struct worker *worker = &front->workers[i];
        if (worker->running)
            pthread_join(worker->thread, NULL);
        while (worker->links)
            link_destroy(worker->links);
        kf_loop_free(worker->loop);
        free(worker->down);
    }
    if (front->listener >= 0)
        close(front->listener);
    free(front);
}
