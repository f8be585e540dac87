// libmicrohttpd in front of the dispatcher. A connection (struct peer) lives from accept to close; a call from the
// request line to the notification that its response is out. MHD calls us on the worker thread that owns the
// connection; two other threads touch a call: the slow pool (between suspend and resume, when the worker leaves it
// alone) and a stream's waker (under call->lock).
#include "server/http/mhd.h"

#include "server/base/log.h"
#include "server/http/internal.h"
#include "server/http/slow.h"
#include "server/http/watch.h"
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// What is read and thrown away so that a client still sending gets to see our refusal.
#define MOST_DRAINED     ((int64_t)16 << 20)
#define CONNECTION_BYTES ((size_t)64 << 10) // request head and buffers of one connection
#define STREAM_BLOCK     ((size_t)16 << 10)
#define SLOW_WAITING     64 // requests for each slow pool; one more is told to come later

struct peer {
    struct kf_watched watched; // first
    char address[48];
    int secure;
};

enum phase { START, BODY, DRAIN, WORKING, RESPOND, DONE };

struct call {
    struct kf_mhd *mhd;
    struct peer *peer;
    struct MHD_Connection *connection;
    struct kf_exchange *exchange;
    char *target;
    enum phase phase;
    int64_t drained;
    int64_t sent; // of a stream
    int expects_continue;
    // Streams: the waker's side.
    pthread_mutex_t lock;
    int suspended, woken;
    struct call *next, *previous; // in mhd->streams, under mhd->lock
};

struct kf_mhd {
    struct kf_mhd_config config;
    struct MHD_Daemon *daemon;
    struct kf_watch *watch;
    struct kf_slow *slow;   // what costs a moment of computing: passwords
    struct kf_slow *bodies; // what works on a body that a sink took: uploads. Neither holds up the other
    pthread_key_t thread_key;
    int thread_key_made;
    int port;
    int listener;
    atomic_int stopping;
    atomic_int calls; // between request line and completion, streams left out
    pthread_mutex_t lock;
    struct call *streams;
};

// ------------------------------------------------------------------------------------------------ per-thread context

struct thread_slot {
    struct kf_mhd *mhd;
    void *context;
};

static void thread_gone(void *arg)
{
    struct thread_slot *slot = arg;
    const struct kf_http_config *config = &slot->mhd->config.http->config;
    if (config->thread_exit && slot->context)
        config->thread_exit(config->app, slot->context);
    free(slot);
}

static void *thread_context(struct kf_mhd *mhd)
{
    struct thread_slot *slot = pthread_getspecific(mhd->thread_key);
    if (slot)
        return slot->context;
    const struct kf_http_config *config = &mhd->config.http->config;
    slot = config->thread_init ? calloc(1, sizeof *slot) : NULL;
    if (!slot)
        return NULL;
    slot->mhd = mhd;
    slot->context = config->thread_init(config->app);
    pthread_setspecific(mhd->thread_key, slot);
    return slot->context;
}

// ------------------------------------------------------------------------------------------------ connections

static void address_text(const struct sockaddr *from, char *to, size_t size)
{
    to[0] = 0;
    if (!from)
        return;
    const void *bits = NULL;
    if (from->sa_family == AF_INET)
        bits = &((const struct sockaddr_in *)(const void *)from)->sin_addr;
    else if (from->sa_family == AF_INET6)
        bits = &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
    if (!bits || !inet_ntop(from->sa_family, bits, to, (socklen_t)size))
        to[0] = 0;
    if (strncmp(to, "::ffff:", 7) == 0 && strchr(to, '.'))
        memmove(to, to + 7, strlen(to + 7) + 1);
}

static void peer_opened(struct kf_mhd *mhd, struct MHD_Connection *connection, void **context)
{
    struct peer *peer = calloc(1, sizeof *peer);
    const union MHD_ConnectionInfo *fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *from = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    *context = peer;
    if (!peer || !fd)
        return;
    peer->watched.fd = fd->connect_fd;
    // Only the TLS front hands us Unix sockets: what comes through one was encrypted on the way here.
    struct sockaddr_storage local;
    socklen_t length = sizeof local;
    peer->secure = getsockname(fd->connect_fd, (struct sockaddr *)&local, &length) == 0 && local.ss_family == AF_UNIX;
    address_text(from ? from->client_addr : NULL, peer->address, sizeof peer->address);
    kf_watch_add(mhd->watch, &peer->watched);
    kf_metrics_gauge_add(KF_GAUGE_CONNECTIONS, 1);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct kf_mhd *mhd = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        peer_opened(mhd, connection, context);
        return;
    }
    struct peer *peer = *context;
    *context = NULL;
    if (!peer)
        return;
    kf_watch_remove(mhd->watch, &peer->watched);
    kf_metrics_gauge_add(KF_GAUGE_CONNECTIONS, -1);
    free(peer);
}

// The raw target, before MHD decodes it; what we return becomes the call's context.
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct kf_mhd *mhd = cls;
    struct call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    call->mhd = mhd;
    call->connection = connection;
    call->peer = info ? info->socket_context : NULL;
    call->target = strdup(uri);
    call->exchange = kf_exchange_new(mhd->config.http);
    pthread_mutex_init(&call->lock, NULL);
    atomic_fetch_add(&mhd->calls, 1);
    return call;
}

static size_t leave_escaped(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strlen(text);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    (void)connection;
    struct kf_mhd *mhd = cls;
    struct call *call = *context;
    *context = NULL;
    if (!call)
        return;
    int completed = code == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    struct kf_exchange *exchange = call->exchange;
    int64_t sent = call->sent;
    if (exchange && completed && exchange->response.kind != KF_BODY_STREAM && !exchange->request.head)
        sent = exchange->response.length;
    pthread_mutex_lock(&mhd->lock);
    if (call->previous || mhd->streams == call) {
        *(call->previous ? &call->previous->next : &mhd->streams) = call->next;
        if (call->next)
            call->next->previous = call->previous;
    } else {
        atomic_fetch_sub(&mhd->calls, 1);
    }
    pthread_mutex_unlock(&mhd->lock);
    if (call->peer)
        kf_watch_phase(&call->peer->watched, KF_WATCH_IDLE, 0);
    kf_exchange_free(exchange, sent, completed); // closes a stream: its waker is silent afterwards
    pthread_mutex_destroy(&call->lock);
    free(call->target);
    free(call);
}

// ------------------------------------------------------------------------------------------------ streams

static void wake(void *waker)
{
    struct call *call = waker;
    pthread_mutex_lock(&call->lock);
    call->woken = 1;
    if (call->suspended) {
        call->suspended = 0;
        MHD_resume_connection(call->connection);
    }
    pthread_mutex_unlock(&call->lock);
}

// Reads from the stream; with nothing to read the connection is suspended until wake. A wake that comes between the
// read and the suspension is not lost: it is seen under the lock, and MHD asks again.
static ssize_t read_stream(void *cls, uint64_t position, char *to, size_t room)
{
    (void)position;
    struct call *call = cls;
    const struct kf_response *response = &call->exchange->response;
    pthread_mutex_lock(&call->lock);
    call->woken = 0;
    pthread_mutex_unlock(&call->lock);
    if (atomic_load(&call->mhd->stopping))
        return MHD_CONTENT_READER_END_OF_STREAM;
    long n = response->stream->read(response->stream_state, to, room);
    if (n < 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n > 0) {
        call->sent += n;
        return n;
    }
    pthread_mutex_lock(&call->lock);
    if (!call->woken && !atomic_load(&call->mhd->stopping)) {
        call->suspended = 1;
        MHD_suspend_connection(call->connection);
    }
    pthread_mutex_unlock(&call->lock);
    return 0;
}

static void register_stream(struct call *call)
{
    struct kf_mhd *mhd = call->mhd;
    pthread_mutex_lock(&mhd->lock);
    call->next = mhd->streams;
    call->previous = NULL;
    if (mhd->streams)
        mhd->streams->previous = call;
    mhd->streams = call;
    pthread_mutex_unlock(&mhd->lock);
    atomic_fetch_sub(&mhd->calls, 1);
    const struct kf_response *response = &call->exchange->response;
    if (response->stream->attach)
        response->stream->attach(response->stream_state, wake, call);
}

// ------------------------------------------------------------------------------------------------ responses

static struct MHD_Response *make_response(struct call *call)
{
    struct kf_response *response = &call->exchange->response;
    switch (response->kind) {
    case KF_BODY_BYTES:
        // The exchange keeps the bytes until on_completed.
        return MHD_create_response_from_buffer((size_t)response->length, (void *)(uintptr_t)response->bytes,
                                               MHD_RESPMEM_PERSISTENT);
    case KF_BODY_FILE: {
        struct MHD_Response *made = MHD_create_response_from_fd_at_offset64((uint64_t)response->length, response->fd,
                                                                            (uint64_t)response->offset);
        if (made)
            response->fd = -1; // moved
        return made;
    }
    case KF_BODY_STREAM:
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, call, NULL);
    default:
        return MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    }
}

static enum MHD_Result send_response(struct call *call)
{
    struct kf_response *response = &call->exchange->response;
    struct MHD_Response *made = make_response(call);
    if (!made)
        return MHD_NO;
    for (size_t i = 0; i < response->header_count; i++)
        if (MHD_add_response_header(made, response->headers[i].name, response->headers[i].value) != MHD_YES &&
            response->headers[i].value[0])
            kf_log(KF_LOG_WARN, "http.header_refused", "header=%s", response->headers[i].name);
    if (atomic_load(&call->mhd->stopping))
        MHD_add_response_header(made, "Connection", "close");
    call->phase = DONE;
    if (call->peer)
        kf_watch_phase(&call->peer->watched, response->kind == KF_BODY_STREAM ? KF_WATCH_WORK : KF_WATCH_SEND,
                       response->length);
    if (response->kind == KF_BODY_STREAM && !call->exchange->request.head)
        register_stream(call);
    enum MHD_Result result = MHD_queue_response(call->connection, (unsigned int)response->status, made);
    MHD_destroy_response(made);
    return result;
}

// ------------------------------------------------------------------------------------------------ requests

static enum MHD_Result take_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_length,
                                   const char *value, size_t value_length)
{
    (void)kind;
    struct kf_exchange *exchange = cls;
    // A NUL inside would hide the rest from us and not from others.
    if (strlen(name) != name_length || (value && strlen(value) != value_length))
        value = "\x01";
    kf_exchange_header(exchange, name, value);
    return MHD_YES;
}

// The refusal is ready while the client may still be sending: read on for a while so that it gets to see it. An answer
// from within the first call would also make MHD close the connection.
static enum MHD_Result refuse(struct call *call)
{
    const struct kf_exchange *exchange = call->exchange;
    int64_t announced = exchange->request.content_length;
    if (!exchange->has_body || (!call->expects_continue && announced <= MOST_DRAINED)) {
        call->phase = DRAIN;
        return MHD_YES;
    }
    return send_response(call);
}

static enum MHD_Result begin(struct call *call, const char *method)
{
    struct kf_exchange *exchange = call->exchange;
    kf_exchange_start(exchange, method, call->target, call->peer->address, call->peer->secure);
    MHD_get_connection_values_n(call->connection, MHD_HEADER_KIND, take_header, exchange);
    call->expects_continue = kf_request_header(&exchange->request, "expect") != NULL;
    exchange->request.thread = thread_context(call->mhd);
    int wanted = kf_exchange_begin(exchange);
    kf_watch_phase(&call->peer->watched, KF_WATCH_BODY, 0);
    if (!wanted)
        return refuse(call);
    call->phase = BODY;
    return MHD_YES;
}

static enum MHD_Result take_body(struct call *call, const char *data, size_t *length)
{
    size_t n = *length;
    *length = 0;
    struct kf_exchange *exchange = call->exchange;
    if (call->phase == BODY) {
        exchange->request.thread = thread_context(call->mhd);
        if (!kf_exchange_data(exchange, data, n))
            call->phase = DRAIN;
        else
            atomic_store(&call->peer->watched.bytes, exchange->request.body_received);
        return MHD_YES;
    }
    call->drained += (int64_t)n;
    return call->drained > MOST_DRAINED ? MHD_NO : MHD_YES;
}

static void run_slow(void *job)
{
    struct call *call = job;
    call->exchange->request.thread = thread_context(call->mhd);
    kf_exchange_end(call->exchange);
    call->phase = RESPOND;
    MHD_resume_connection(call->connection);
}

static void abandon_slow(void *job)
{
    struct call *call = job;
    kf_exchange_refuse(call->exchange, KF_UNAVAILABLE, "The server is busy or stopping. Try again.");
    call->phase = RESPOND;
    MHD_resume_connection(call->connection);
}

static enum MHD_Result finish(struct call *call)
{
    struct kf_exchange *exchange = call->exchange;
    kf_watch_phase(&call->peer->watched, KF_WATCH_WORK, 0);
    const struct kf_route *route = exchange->request.route;
    if (route && (route->flags & KF_ROUTE_SLOW)) {
        call->phase = WORKING;
        MHD_suspend_connection(call->connection);
        if (kf_slow_add(route->sink ? call->mhd->bodies : call->mhd->slow, call) != KF_OK)
            abandon_slow(call);
        return MHD_YES;
    }
    exchange->request.thread = thread_context(call->mhd);
    kf_exchange_end(exchange);
    return send_response(call);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *length, void **context)
{
    (void)cls;
    (void)connection;
    (void)url;
    (void)version;
    struct call *call = *context;
    if (!call || !call->exchange || !call->target || !call->peer)
        return MHD_NO;
    switch (call->phase) {
    case START:
        return begin(call, method);
    case BODY:
        return *length ? take_body(call, data, length) : finish(call);
    case DRAIN:
        return *length ? take_body(call, data, length) : send_response(call);
    case RESPOND:
        return send_response(call);
    default:
        return MHD_YES;
    }
}

// ------------------------------------------------------------------------------------------------ start and stop

static enum kf_status listen_on(const char *address, int port, int *fd, int *bound, struct kf_error *err)
{
    struct sockaddr_storage at = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&at;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&at;
    socklen_t length = sizeof *v4;
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        at.ss_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
    } else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        at.ss_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        length = sizeof *v6;
    } else {
        return kf_error_set(err, KF_INVALID, "listen_address", "\"%s\" is no IP address to listen on.", address);
    }
    int on = 1;
    *fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd >= 0)
        setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (*fd < 0 || bind(*fd, (struct sockaddr *)&at, length) || listen(*fd, 511) ||
        getsockname(*fd, (struct sockaddr *)&at, &length)) {
        enum kf_status status = kf_error_errno(err, errno, "Cannot listen");
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
        return status;
    }
    *bound = ntohs(at.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    return KF_OK;
}

static void set_defaults(struct kf_mhd_config *config)
{
    config->threads = config->threads > 0 ? config->threads : 4;
    config->slow_threads = config->slow_threads > 0 ? config->slow_threads : 2;
    config->most_connections = config->most_connections > 0 ? config->most_connections : 1000;
    config->header_deadline_s = config->header_deadline_s > 0 ? config->header_deadline_s : 15;
    config->idle_s = config->idle_s > 0 ? config->idle_s : 75;
    config->body_grace_s = config->body_grace_s > 0 ? config->body_grace_s : 60;
    config->body_rate = config->body_rate > 0 ? config->body_rate : 16 << 10;
}

static struct MHD_Daemon *start_daemon(struct kf_mhd *mhd)
{
    const struct kf_mhd_config *config = &mhd->config;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_TURBO;
    if (mhd->listener < 0)
        flags |= MHD_USE_NO_LISTEN_SOCKET;
    // MHD shares the limit out between the workers and wants at least one connection for each.
    unsigned most = (unsigned)(config->most_connections > config->threads ? config->most_connections : config->threads);
    struct MHD_OptionItem listener[] = {{MHD_OPTION_LISTEN_SOCKET, mhd->listener, NULL}, {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, mhd,                                  //
                            MHD_OPTION_THREAD_POOL_SIZE, (unsigned)config->threads,                 //
                            MHD_OPTION_CONNECTION_LIMIT, most,                                      //
                            MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)config->most_per_address, //
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)config->idle_s,                //
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES,                   //
                            MHD_OPTION_STRICT_FOR_CLIENT, 1,                                        //
                            MHD_OPTION_NOTIFY_CONNECTION, on_connection, mhd,                       //
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, mhd,                         //
                            MHD_OPTION_URI_LOG_CALLBACK, on_request_line, mhd,                      //
                            MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, mhd,                       //
                            MHD_OPTION_ARRAY, mhd->listener >= 0 ? listener : none, MHD_OPTION_END);
}

static void release(struct kf_mhd *mhd)
{
    kf_slow_free(mhd->slow);
    kf_slow_free(mhd->bodies);
    kf_watch_free(mhd->watch);
    if (mhd->thread_key_made)
        pthread_key_delete(mhd->thread_key);
    if (mhd->listener >= 0)
        close(mhd->listener);
    pthread_mutex_destroy(&mhd->lock);
    free(mhd);
}

enum kf_status kf_mhd_start(const struct kf_mhd_config *config, struct kf_mhd **out, struct kf_error *err)
{
    *out = NULL;
    struct kf_mhd *mhd = calloc(1, sizeof *mhd);
    if (!mhd)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    mhd->config = *config;
    mhd->listener = -1;
    set_defaults(&mhd->config);
    pthread_mutex_init(&mhd->lock, NULL);
    signal(SIGPIPE, SIG_IGN); // sendfile to a client that has left must be an error, not our end
    struct kf_watch_limits limits = {mhd->config.header_deadline_s, mhd->config.idle_s, mhd->config.body_grace_s,
                                     mhd->config.body_rate};
    enum kf_status status = kf_watch_new(&limits, &mhd->watch);
    if (status == KF_OK)
        status = kf_slow_new(mhd->config.slow_threads, SLOW_WAITING, run_slow, abandon_slow, &mhd->slow);
    if (status == KF_OK)
        status = kf_slow_new(mhd->config.slow_threads, SLOW_WAITING, run_slow, abandon_slow, &mhd->bodies);
    if (status == KF_OK && pthread_key_create(&mhd->thread_key, thread_gone) != 0)
        status = KF_NOMEM;
    mhd->thread_key_made = status == KF_OK;
    if (status != KF_OK)
        (void)kf_error_set(err, status, NULL, "Cannot start the threads of the HTTP server.");
    if (status == KF_OK && config->address)
        status = listen_on(config->address, config->port, &mhd->listener, &mhd->port, err);
    if (status == KF_OK && !(mhd->daemon = start_daemon(mhd)))
        status = kf_error_set(err, KF_UNAVAILABLE, "http_start", "The HTTP server could not be started.");
    if (status != KF_OK) {
        release(mhd);
        return status;
    }
    *out = mhd;
    return KF_OK;
}

int kf_mhd_port(const struct kf_mhd *mhd)
{
    return mhd->port;
}

enum kf_status kf_mhd_add(struct kf_mhd *mhd, int fd, const struct sockaddr *peer, socklen_t peer_length)
{
    if (atomic_load(&mhd->stopping)) {
        close(fd);
        return KF_UNAVAILABLE;
    }
    // MHD closes the descriptor when it refuses.
    if (MHD_add_connection(mhd->daemon, fd, peer, peer_length) != MHD_YES) {
        kf_metrics_gauge_add(KF_GAUGE_REFUSED, 1);
        return KF_UNAVAILABLE;
    }
    return KF_OK;
}

static void wait_for_calls(struct kf_mhd *mhd, int grace_s)
{
    int64_t end = kf_time_monotonic_ns() + (int64_t)grace_s * 1000000000;
    while (atomic_load(&mhd->calls) > 0 && kf_time_monotonic_ns() < end) {
        struct timespec nap = {0, 10000000};
        nanosleep(&nap, NULL);
    }
}

static void end_streams(struct kf_mhd *mhd)
{
    pthread_mutex_lock(&mhd->lock);
    for (struct call *call = mhd->streams; call; call = call->next)
        wake(call);
    pthread_mutex_unlock(&mhd->lock);
}

void kf_mhd_stop(struct kf_mhd *mhd, int grace_s)
{
    if (!mhd)
        return;
    MHD_quiesce_daemon(mhd->daemon);
    atomic_store(&mhd->stopping, 1);
    end_streams(mhd);
    wait_for_calls(mhd, grace_s);
    // MHD must not find a suspended connection: slow calls are finished or abandoned first, and both resume theirs. The
    // pools stay until MHD's workers are gone, who refuse what still comes.
    kf_slow_stop(mhd->slow);
    kf_slow_stop(mhd->bodies);
    end_streams(mhd);
    MHD_stop_daemon(mhd->daemon);
    release(mhd);
}
