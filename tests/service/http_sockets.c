// The HTTP adapter and the TLS front over real sockets: slow clients, limits, streams, slow handlers, stopping.
#include "server/base/hash.h"
#include "server/base/str.h"
#include "server/base/test.h"
#include "server/base/timeid.h"
#include "server/front/front.h"
#include "server/http/http.h"
#include "server/http/metrics.h"
#include "server/http/mhd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BIG ((size_t)20000000)

static struct kf_http *http;
static struct kf_mhd *mhd;
static struct kf_front *front;
static struct kf_tls_server *tls;
static char folder[] = "/tmp/kerf-http-XXXXXX";
static int big_fd;
static char big_sha[KF_SHA256_HEX];
static atomic_int contexts; // per-thread contexts alive
static atomic_int slow_running;
static atomic_int slow_held; // slow handlers wait until this is 0
static atomic_int streams_open;

// What must end soon may take this long where the machine is busy with other things; what is stuck takes longer.
#define SOON_S 20

static void nap_ms(int ms)
{
    struct timespec nap = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&nap, NULL);
}

// ------------------------------------------------------------------------------------------------ handlers

static enum kf_status hello(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)err;
    char *text = kf_arena_printf(&request->arena, "hello %s secure=%d context=%d", request->remote_address,
                                 request->secure, request->thread != NULL);
    kf_response_bytes(response, "text/plain", text, strlen(text));
    return KF_OK;
}

static enum kf_status big(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)request;
    (void)err;
    kf_response_file(response, "application/octet-stream", dup(big_fd), 0, (int64_t)BIG);
    response->etag = "\"big\"";
    return KF_OK;
}

static enum kf_status slow(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    atomic_fetch_add(&slow_running, 1);
    do
        nap_ms(200);
    while (atomic_load(&slow_held));
    atomic_fetch_sub(&slow_running, 1);
    return hello(request, response, err);
}

static enum kf_status digest_begin(struct kf_request *request, struct kf_error *err)
{
    (void)err;
    struct kf_sha256 *stream = NULL;
    enum kf_status status = kf_sha256_new(&stream);
    request->state = stream;
    return status;
}

static enum kf_status digest_data(struct kf_request *request, const void *bytes, size_t length, struct kf_error *err)
{
    (void)err;
    kf_sha256_add(request->state, bytes, length);
    return KF_OK;
}

static void digest_release(struct kf_request *request)
{
    kf_sha256_free(request->state);
}

static const struct kf_body_sink digest_sink = {digest_begin, digest_data, digest_release};

static enum kf_status digest(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)err;
    unsigned char sum[KF_SHA256_BYTES];
    char *hex = kf_arena_alloc(&request->arena, KF_SHA256_HEX);
    kf_sha256_finish(request->state, sum);
    kf_hex_encode(hex, sum, sizeof sum);
    kf_response_bytes(response, "text/plain", hex, 64);
    return KF_OK;
}

// A stream that says "tick N" whenever the ticking thread wakes it.
struct ticks {
    pthread_mutex_t lock;
    pthread_t thread;
    void (*wake)(void *);
    void *waker;
    int ready, said, stop;
    int period_ms; // 0: never wakes by itself
};

static void *tick(void *arg)
{
    struct ticks *ticks = arg;
    for (;;) {
        nap_ms(ticks->period_ms);
        pthread_mutex_lock(&ticks->lock);
        int stop = ticks->stop;
        ticks->ready++;
        if (!stop && ticks->wake)
            ticks->wake(ticks->waker);
        pthread_mutex_unlock(&ticks->lock);
        if (stop)
            return NULL;
    }
}

static long ticks_read(void *state, char *to, size_t room)
{
    struct ticks *ticks = state;
    pthread_mutex_lock(&ticks->lock);
    long n = 0;
    if (ticks->said < ticks->ready || ticks->said == 0) {
        n = snprintf(to, room, "data: tick %d\n\n", ticks->said);
        ticks->said++;
        if (ticks->said > ticks->ready)
            ticks->ready = ticks->said;
    }
    pthread_mutex_unlock(&ticks->lock);
    return n;
}

static void ticks_attach(void *state, void (*wake)(void *), void *waker)
{
    struct ticks *ticks = state;
    pthread_mutex_lock(&ticks->lock);
    ticks->wake = wake;
    ticks->waker = waker;
    pthread_mutex_unlock(&ticks->lock);
}

static void ticks_close(void *state)
{
    struct ticks *ticks = state;
    pthread_mutex_lock(&ticks->lock);
    ticks->stop = 1;
    pthread_mutex_unlock(&ticks->lock);
    if (ticks->period_ms)
        pthread_join(ticks->thread, NULL);
    pthread_mutex_destroy(&ticks->lock);
    free(ticks);
    atomic_fetch_sub(&streams_open, 1);
}

static const struct kf_stream ticks_stream = {ticks_read, ticks_attach, ticks_close};

static enum kf_status events(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)err;
    struct ticks *ticks = calloc(1, sizeof *ticks);
    if (!ticks)
        return KF_NOMEM;
    pthread_mutex_init(&ticks->lock, NULL);
    ticks->period_ms = kf_request_query(request, "silent") ? 0 : 5;
    if (ticks->period_ms && pthread_create(&ticks->thread, NULL, tick, ticks)) {
        free(ticks);
        return KF_UNAVAILABLE;
    }
    atomic_fetch_add(&streams_open, 1);
    kf_response_stream(response, "text/event-stream", &ticks_stream, ticks);
    return KF_OK;
}

static const struct kf_route routes[] = {
    {.method = KF_GET, .pattern = "/hello", .flags = KF_ROUTE_NO_AUTH, .handler = hello},
    {.method = KF_GET, .pattern = "/big", .flags = KF_ROUTE_NO_AUTH, .handler = big},
    {.method = KF_GET, .pattern = "/slow", .flags = KF_ROUTE_NO_AUTH | KF_ROUTE_SLOW, .handler = slow},
    {.method = KF_GET, .pattern = "/quick", .flags = KF_ROUTE_NO_AUTH | KF_ROUTE_SLOW, .handler = hello},
    {.method = KF_GET, .pattern = "/events", .flags = KF_ROUTE_NO_AUTH | KF_ROUTE_STREAM, .handler = events},
    {.method = KF_POST, .pattern = "/digest", .flags = KF_ROUTE_NO_AUTH | KF_ROUTE_SLOW, .max_body = (int64_t)1 << 32,
     .handler = digest, .sink = &digest_sink},
    {.method = KF_POST, .pattern = "/upload", .flags = KF_ROUTE_NO_AUTH | KF_ROUTE_SLOW, .max_body = 1000,
     .handler = slow, .sink = &digest_sink},
    {.method = KF_POST, .pattern = "/small", .flags = KF_ROUTE_NO_AUTH, .max_body = 1000, .handler = hello},
    {.method = KF_POST, .pattern = "/closed", .permission = 1, .max_body = 100 << 20, .handler = hello,
     .sink = &digest_sink},
    {.pattern = NULL},
};

static void *context_new(void *app)
{
    (void)app;
    atomic_fetch_add(&contexts, 1);
    return &contexts;
}

static void context_free(void *app, void *context)
{
    (void)app;
    if (context == &contexts)
        atomic_fetch_sub(&contexts, 1);
}

static enum kf_status hand_over(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_length)
{
    (void)arg;
    return kf_mhd_add(mhd, fd, peer, peer_length);
}

// In a hurry, for the tests of deadlines: their limits are shorter than a busy machine may let an honest client wait.
static int start(int hurry)
{
    struct kf_error err = {0};
    struct kf_mhd_config config = {.http = http,
                                   .address = "127.0.0.1",
                                   .threads = 1, .slow_threads = 2,
                                   .most_connections = 64,
                                   .header_deadline_s = hurry ? 1 : 60,
                                   .idle_s = hurry ? 2 : 60,
                                   .body_grace_s = hurry ? 2 : 60, .body_rate = 1 << 20};
    if (kf_mhd_start(&config, &mhd, &err) != KF_OK)
        return fprintf(stderr, "%s\n", err.detail);
    struct kf_front_config front_config = {
        .tls = tls, .address = "127.0.0.1", .hand_over = hand_over, .handshake_s = hurry ? 1 : 60, .loops = 2};
    if (kf_front_start(&front_config, &front, &err) != KF_OK)
        return fprintf(stderr, "%s\n", err.detail);
    return 0;
}

static void stop(int grace_s)
{
    kf_front_quiesce(front);
    kf_mhd_stop(mhd, grace_s);
    kf_front_stop(front, 1000);
}

// ------------------------------------------------------------------------------------------------ a client

static int dial(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 2 * SOON_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&at, sizeof at)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void say(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left) {
        ssize_t n = send(fd, text, left, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        text += n;
        left -= (size_t)n;
    }
}

// Reads until `until` has been seen (NULL: until the end). The text is valid until the next call.
static const char *hear(int fd, const char *until)
{
    static char text[65536];
    size_t n = 0;
    text[0] = 0;
    while (n < sizeof text - 1) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
        text[n] = 0;
        if (until && strstr(text, until))
            break;
    }
    return text;
}

static double now_s(void)
{
    return (double)kf_time_monotonic_ns() / 1e9;
}

// Seconds until the server closes the connection.
static double closed_after(int fd, double from)
{
    char sink[256];
    while (recv(fd, sink, sizeof sink, 0) > 0)
        ;
    return now_s() - from;
}

static long resident_kib(void)
{
    FILE *from = fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;
    if (!from || fscanf(from, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    if (from)
        fclose(from);
    return resident * 4;
}

// Runs curl; returns its exit status and what it printed.
static int curl(const char *arguments, char *to, size_t size)
{
    char command[1024];
    snprintf(command, sizeof command, "curl -sk --max-time 60 %s 2>/dev/null", arguments);
    FILE *from = popen(command, "r");
    size_t n = from ? fread(to, 1, size - 1, from) : 0;
    to[n] = 0;
    int status = from ? pclose(from) : -1;
    return status < 0 ? -1 : status / 256;
}

// ------------------------------------------------------------------------------------------------ tests

KF_TEST(requests_follow_each_other_on_one_connection)
{
    int fd = dial(kf_mhd_port(mhd));
    say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n"
            "HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const char *text = hear(fd, NULL);
    KF_CHECK(strstr(text, "hello 127.0.0.1 secure=0 context=1") != NULL);
    const char *second = strstr(text, "404 Not Found");
    KF_CHECK(second && strstr(second, "application/problem+json"));
    const char *third = second ? strstr(second, "HTTP/1.1 200") : NULL;
    KF_CHECK(third && strstr(third, "hello") == NULL && strstr(third, "Content-Length: 34"));
    close(fd);
}

KF_TEST(broken_requests_are_answered_and_closed)
{
    static const char *const bad[] = {
        "GET /hello\r\n\r\n",
        "GET /hello HTTP/1.1\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 client hello to the plain port\r\n\r\n",
        "POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc",
        "GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int fd = dial(kf_mhd_port(mhd));
        double from = now_s();
        say(fd, bad[i]);
        shutdown(fd, SHUT_WR);
        const char *text = hear(fd, NULL);
        if (text[0] && strstr(text, "200 OK"))
            fprintf(stderr, "accepted: %s\n", bad[i]);
        KF_CHECK(strstr(text, "200 OK") == NULL);
        KF_CHECK(now_s() - from < SOON_S);
        close(fd);
    }
    // Very long headers end at the connection's memory.
    int fd = dial(kf_mhd_port(mhd));
    say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\nX: ");
    char filler[4097];
    memset(filler, 'x', 4096);
    filler[4096] = 0;
    for (int i = 0; i < 64; i++)
        say(fd, filler);
    KF_CHECK(strstr(hear(fd, NULL), "200 OK") == NULL);
    close(fd);
}

KF_TEST(nothing_is_smuggled_behind_broken_framing)
{
    static const char *const heads[] = {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                                        "Content-Length: 3\r\nContent-Length: 38\r\n\r\nabc"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        int fd = dial(kf_mhd_port(mhd));
        say(fd, "POST /small HTTP/1.1\r\nHost: x\r\n");
        say(fd, heads[i]);
        say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        KF_CHECK(strstr(hear(fd, NULL), "200 OK") == NULL); // to the end of the connection, which the server closes
        close(fd);
    }
}

KF_TEST(a_client_that_trickles_its_headers_is_closed)
{
    int64_t before = kf_metrics_gauge(KF_GAUGE_DEADLINE_CLOSED);
    int fd = dial(kf_mhd_port(mhd));
    double from = now_s();
    say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n");
    // A header byte each 100 ms: never idle, never done.
    int alive = 1;
    for (int i = 0; i < 10 * SOON_S && alive; i++) {
        nap_ms(100);
        char c;
        alive =
            send(fd, i % 20 ? "a" : "X: a", 1, MSG_NOSIGNAL) == 1 && !(recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) == 0);
    }
    KF_CHECK(!alive);
    KF_CHECK(now_s() - from > 0.9);
    KF_CHECK(kf_metrics_gauge(KF_GAUGE_DEADLINE_CLOSED) > before);
    close(fd);
}

KF_TEST(a_client_that_trickles_its_body_is_closed)
{
    int fd = dial(kf_mhd_port(mhd));
    say(fd, "POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    int alive = 1;
    for (int i = 0; i < 10 * SOON_S && alive; i++) {
        nap_ms(100);
        char c;
        alive = send(fd, "abcdefgh", 8, MSG_NOSIGNAL) == 8 && !(recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) == 0);
    }
    KF_CHECK(!alive);
    close(fd);
}

KF_TEST(silent_connections_are_closed)
{
    int fd = dial(kf_mhd_port(mhd));
    double from = now_s();
    double after = closed_after(fd, from);
    KF_CHECK(after > 0.5 && after < SOON_S);
    close(fd);
    fd = dial(kf_mhd_port(mhd));
    say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(fd, "context=1");
    after = closed_after(fd, now_s());
    KF_CHECK(after > 1 && after < SOON_S);
    close(fd);
}

KF_TEST(a_refused_body_still_gets_its_answer)
{
    int fd = dial(kf_mhd_port(mhd));
    say(fd, "POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n");
    char block[1001];
    memset(block, 'x', 1000);
    block[1000] = 0;
    for (int i = 0; i < 300; i++)
        say(fd, block);
    KF_CHECK(strstr(hear(fd, "}"), "413 ") != NULL);
    // The whole body was read: the connection goes on.
    say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    KF_CHECK(strstr(hear(fd, "context=1"), "200 OK") != NULL);
    close(fd);
    // Chunked, so that only the count can tell.
    fd = dial(kf_mhd_port(mhd));
    say(fd, "POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        say(fd, "3e8\r\n");
        say(fd, block);
        say(fd, "\r\n");
    }
    say(fd, "0\r\n\r\n");
    KF_CHECK(strstr(hear(fd, "}"), "413 ") != NULL);
    close(fd);
    // Who asks first gets the refusal instead of "100 Continue".
    fd = dial(kf_mhd_port(mhd));
    say(fd, "POST /closed HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\nExpect: 100-continue\r\n\r\n");
    const char *text = hear(fd, "}");
    KF_CHECK(strstr(text, "401 ") && !strstr(text, "100 Continue"));
    close(fd);
}

KF_TEST(files_arrive_whole_and_in_ranges)
{
    char text[256], command[512];
    snprintf(command, sizeof command, "http://127.0.0.1:%d/big | sha256sum", kf_mhd_port(mhd));
    KF_CHECK_EQ(curl(command, text, sizeof text), 0);
    KF_CHECK(strncmp(text, big_sha, 64) == 0);
    snprintf(command, sizeof command, "https://127.0.0.1:%d/big | sha256sum", kf_front_port(front));
    KF_CHECK_EQ(curl(command, text, sizeof text), 0);
    KF_CHECK(strncmp(text, big_sha, 64) == 0);
    char wanted[64], range[64];
    KF_REQUIRE(pread(big_fd, wanted, 10, 12345678) == 10);
    for (int secure = 0; secure < 2; secure++) {
        snprintf(command, sizeof command, "-r 12345678-12345687 http%s://127.0.0.1:%d/big", secure ? "s" : "",
                 secure ? kf_front_port(front) : kf_mhd_port(mhd));
        KF_CHECK_EQ(curl(command, range, sizeof range), 0);
        KF_CHECK(memcmp(range, wanted, 10) == 0);
    }
}

KF_TEST(tls_is_modern_and_keeps_the_address)
{
    char text[256], command[512];
    int port = kf_front_port(front);
    snprintf(command, sizeof command, "--tlsv1.3 https://127.0.0.1:%d/hello", port);
    KF_CHECK_EQ(curl(command, text, sizeof text), 0);
    KF_CHECK_STR(text, "hello 127.0.0.1 secure=1 context=1");
    snprintf(command, sizeof command, "--tlsv1.2 --tls-max 1.2 https://127.0.0.1:%d/hello", port);
    KF_CHECK_EQ(curl(command, text, sizeof text), 0);
    snprintf(command, sizeof command, "--tlsv1.0 --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0 https://127.0.0.1:%d/hello",
             port);
    KF_CHECK_EQ(curl(command, text, sizeof text), 35);
    snprintf(command, sizeof command, "--http2 -w '%%{http_version}' -o /dev/null https://127.0.0.1:%d/hello", port);
    KF_CHECK_EQ(curl(command, text, sizeof text), 0);
    KF_CHECK_STR(text, "1.1");
    // The certificate names the machine: curl accepts it when it is told to trust it.
    snprintf(command, sizeof command,
             "curl -s --cacert %s/cert.pem https://localhost:%d/hello --resolve localhost:%d:127.0.0.1 > /dev/null",
             folder, port, port);
    KF_CHECK_EQ(system(command), 0);
}

KF_TEST(clients_on_an_ipv6_listener_are_told_apart)
{
    struct kf_front *both = NULL;
    struct kf_front_config config = {.address = "::", .tls = tls, .most_per_address = 1, .hand_over = hand_over};
    char command[200], text[200];
    if (kf_front_start(&config, &both, NULL) != KF_OK)
        return; // no IPv6 here
    int fd = dial(kf_front_port(both)); // 127.0.0.1 has its one connection
    snprintf(command, sizeof command, "https://127.0.0.1:%d/hello", kf_front_port(both));
    KF_CHECK(curl(command, text, sizeof text) != 0);
    snprintf(command, sizeof command, "--interface 127.0.0.2 https://127.0.0.1:%d/hello", kf_front_port(both));
    KF_CHECK_EQ(curl(command, text, sizeof text), 0); // another client is not the same for being IPv4 too
    KF_CHECK(strncmp(text, "hello 127.0.0.2 ", 16) == 0);
    close(fd);
    kf_front_quiesce(both);
    kf_front_stop(both, 1000);
}

KF_TEST(handshakes_have_a_deadline_and_garbage_ends)
{
    int fd = dial(kf_front_port(front));
    double after = closed_after(fd, now_s());
    KF_CHECK(after > 0.9 && after < SOON_S);
    close(fd);
    fd = dial(kf_front_port(front));
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    KF_CHECK(closed_after(fd, now_s()) < SOON_S);
    close(fd);
    struct kf_front_stats stats;
    kf_front_stats(front, &stats);
    KF_CHECK(stats.late >= 1 && stats.failed >= 1);
}

KF_TEST(a_reloaded_certificate_is_used)
{
    struct kf_error err = {0};
    KF_CHECK_EQ(kf_tls_server_reload(tls, &err), KF_OK);
    char text[256], command[512], path[256];
    snprintf(command, sizeof command, "https://127.0.0.1:%d/hello", kf_front_port(front));
    KF_CHECK_EQ(curl(command, text, sizeof text), 0);
    // A broken file changes nothing.
    snprintf(path, sizeof path, "%s/cert.pem", folder);
    KF_REQUIRE(truncate(path, 100) == 0);
    KF_CHECK(kf_tls_server_reload(tls, &err) != KF_OK);
    KF_CHECK_EQ(curl(command, text, sizeof text), 0);
}

KF_TEST(large_uploads_take_little_memory)
{
    char text[256], command[512];
    long before = resident_kib();
    for (int secure = 0; secure < 2; secure++) {
        snprintf(command, sizeof command,
                 "-X POST -H 'Expect:' -H 'Transfer-Encoding: chunked' -T %s/big http%s://127.0.0.1:%d/digest", folder,
                 secure ? "s" : "", secure ? kf_front_port(front) : kf_mhd_port(mhd));
        KF_CHECK_EQ(curl(command, text, sizeof text), 0);
        KF_CHECK(strncmp(text, big_sha, 64) == 0);
    }
    // 300 MB that nobody could keep within the bound below.
    snprintf(command, sizeof command,
             "head -c 300000000 /dev/zero | curl -s -o /dev/null -w '%%{http_code}' -X POST -H 'Expect:' -T - "
             "http://127.0.0.1:%d/digest",
             kf_mhd_port(mhd));
    FILE *from = popen(command, "r");
    KF_REQUIRE(from);
    KF_CHECK(fgets(text, sizeof text, from) && strcmp(text, "200") == 0);
    pclose(from);
    KF_CHECK(resident_kib() - before < 32 * 1024);
}

KF_TEST(slow_readers_hold_bounded_memory)
{
    char command[512], text[64];
    long before = resident_kib();
    snprintf(command, sizeof command,
             "for i in 1 2 3 4 5 6 7 8; do curl -sk --limit-rate 100k --max-time 2 -o /dev/null "
             "https://127.0.0.1:%d/big & done; wait; echo done",
             kf_front_port(front));
    FILE *from = popen(command, "r");
    KF_REQUIRE(from);
    nap_ms(1000);
    long during = resident_kib();
    // 20 MB each would be 160 MB; a link keeps 64 KiB inward and 288 KiB outward.
    KF_CHECK(during - before < 8 * 1024);
    KF_CHECK(fgets(text, sizeof text, from) && strcmp(text, "done\n") == 0);
    pclose(from);
    struct kf_front_stats stats;
    for (int i = 0; i < 20 * SOON_S; i++) {
        kf_front_stats(front, &stats);
        if (!stats.connections)
            break;
        nap_ms(50);
    }
    KF_CHECK_EQ(stats.connections, 0); // who went away is noticed
}

KF_TEST(streams_run_beside_other_requests)
{
    int stream[8];
    for (int i = 0; i < 8; i++) {
        stream[i] = dial(kf_mhd_port(mhd));
        say(stream[i], "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for (int i = 0; i < 8; i++)
        KF_CHECK(strstr(hear(stream[i], "tick 20\n"), "tick 20\n") != NULL);
    int fd = dial(kf_mhd_port(mhd));
    say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    KF_CHECK(strstr(hear(fd, "context=1"), "200 OK") != NULL);
    close(fd);
    KF_CHECK_EQ(atomic_load(&streams_open), 8);
    for (int i = 0; i < 8; i++)
        close(stream[i]);
    for (int i = 0; i < 50 * SOON_S && atomic_load(&streams_open); i++)
        nap_ms(20);
    KF_CHECK_EQ(atomic_load(&streams_open), 0); // a client that left is noticed at the next event
}

KF_TEST(slow_handlers_do_not_hold_up_the_others)
{
    int waiting[4];
    atomic_store(&slow_held, 1);
    for (int i = 0; i < 4; i++) {
        waiting[i] = dial(kf_mhd_port(mhd));
        say(waiting[i], "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    while (atomic_load(&slow_running) < 2) // one worker, two slow threads
        nap_ms(5);
    int fd = dial(kf_mhd_port(mhd));
    for (int i = 0; i < 20; i++) {
        say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
        KF_CHECK(strstr(hear(fd, "context=1"), "200 OK") != NULL);
    }
    KF_CHECK_EQ(atomic_load(&slow_running), 2);
    atomic_store(&slow_held, 0);
    for (int i = 0; i < 4; i++) {
        KF_CHECK(strstr(hear(waiting[i], "context=1"), "200 OK") != NULL);
        close(waiting[i]);
    }
    close(fd);
}

KF_TEST(uploads_do_not_hold_up_sign_in)
{
    int waiting[6];
    atomic_store(&slow_held, 1);
    for (int i = 0; i < 6; i++) { // three for each of the two threads
        waiting[i] = dial(kf_mhd_port(mhd));
        say(waiting[i], "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
    }
    while (!atomic_load(&slow_running))
        nap_ms(5);
    int fd = dial(kf_mhd_port(mhd));
    say(fd, "GET /quick HTTP/1.1\r\nHost: x\r\n\r\n");
    KF_CHECK(strstr(hear(fd, "context=1"), "200 OK") != NULL);
    close(fd);
    KF_CHECK(atomic_load(&slow_running) > 0);
    atomic_store(&slow_held, 0);
    for (int i = 0; i < 6; i++) {
        KF_CHECK(strstr(hear(waiting[i], "context=1"), "200 OK") != NULL);
        close(waiting[i]);
    }
}

KF_TEST(connections_are_limited)
{
    int fd[80], open = 0;
    for (int i = 0; i < 80; i++)
        fd[i] = dial(kf_mhd_port(mhd));
    for (int i = 0; i < 80; i++)
        say(fd[i], "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    // Looked at once more when all that may be have been answered: none is answered beyond these.
    for (int looks = 0, full = 0; looks < 10 * SOON_S && full < 2; looks++, full += open >= 60) {
        nap_ms(100);
        open = 0;
        for (int i = 0; i < 80; i++) {
            char c;
            open += recv(fd[i], &c, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
        }
    }
    KF_CHECK(open >= 60 && open <= 64);
    for (int i = 0; i < 80; i++)
        close(fd[i]);
}

KF_TEST(stopping_ends_streams_and_lets_answers_out)
{
    int silent = dial(kf_mhd_port(mhd)), idle = dial(kf_mhd_port(mhd)), busy = dial(kf_mhd_port(mhd));
    say(silent, "GET /events?silent=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    KF_CHECK(strstr(hear(silent, "tick 0\n"), "tick 0\n") != NULL);
    say(idle, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(idle, "context=1");
    say(busy, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!atomic_load(&slow_running))
        nap_ms(5);
    double from = now_s();
    stop(3 * SOON_S);
    KF_CHECK(now_s() - from < SOON_S);
    KF_CHECK(strstr(hear(busy, NULL), "context=1") != NULL);
    KF_CHECK(closed_after(silent, now_s()) < SOON_S);
    KF_CHECK(closed_after(idle, now_s()) < SOON_S);
    KF_CHECK_EQ(atomic_load(&streams_open), 0);
    KF_CHECK_EQ(atomic_load(&contexts), 0);
    KF_CHECK_EQ(kf_metrics_gauge(KF_GAUGE_CONNECTIONS), 0);
    KF_CHECK_EQ(kf_metrics_gauge(KF_GAUGE_IN_FLIGHT), 0);
    close(silent);
    close(idle);
    close(busy);
}

// ------------------------------------------------------------------------------------------------ main

static int prepare(void)
{
    static const struct kf_route *const tables[] = {routes, NULL};
    static const char *const names[] = {"localhost", "127.0.0.1", NULL};
    struct kf_http_config config = {.tables = tables, .thread_init = context_new, .thread_exit = context_free};
    char certificate[256], key[256], path[256];
    struct kf_error err = {0};
    if (!mkdtemp(folder))
        return 1;
    snprintf(certificate, sizeof certificate, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    snprintf(path, sizeof path, "%s/big", folder);
    unsigned char *bytes = malloc(BIG), sum[KF_SHA256_BYTES];
    big_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (!bytes || big_fd < 0)
        return 1;
    kf_random_bytes(bytes, BIG);
    for (size_t n = 0; n < BIG;) {
        ssize_t wrote = write(big_fd, bytes + n, BIG - n);
        if (wrote <= 0)
            return 1;
        n += (size_t)wrote;
    }
    kf_sha256(bytes, BIG, sum);
    kf_hex_encode(big_sha, sum, sizeof sum);
    free(bytes);
    if (kf_http_new(&config, &http, &err) != KF_OK || kf_tls_make_self_signed(certificate, key, names, &err) != KF_OK ||
        kf_tls_server_new(certificate, key, &tls, &err) != KF_OK) {
        fprintf(stderr, "%s\n", err.detail);
        return 1;
    }
    return 0;
}

int main(void)
{
    if (prepare() || start(1))
        return 1;
    KF_RUN(a_client_that_trickles_its_headers_is_closed);
    KF_RUN(a_client_that_trickles_its_body_is_closed);
    KF_RUN(silent_connections_are_closed);
    KF_RUN(handshakes_have_a_deadline_and_garbage_ends);
    stop(SOON_S);
    if (start(0))
        return 1;
    KF_RUN(requests_follow_each_other_on_one_connection);
    KF_RUN(broken_requests_are_answered_and_closed);
    KF_RUN(nothing_is_smuggled_behind_broken_framing);
    KF_RUN(a_refused_body_still_gets_its_answer);
    KF_RUN(files_arrive_whole_and_in_ranges);
    KF_RUN(tls_is_modern_and_keeps_the_address);
    KF_RUN(clients_on_an_ipv6_listener_are_told_apart);
    KF_RUN(large_uploads_take_little_memory);
    KF_RUN(a_reloaded_certificate_is_used);
    KF_RUN(slow_readers_hold_bounded_memory);
    KF_RUN(streams_run_beside_other_requests);
    KF_RUN(slow_handlers_do_not_hold_up_the_others);
    KF_RUN(uploads_do_not_hold_up_sign_in);
    KF_RUN(connections_are_limited);
    KF_RUN(stopping_ends_streams_and_lets_answers_out);
    kf_http_free(http);
    kf_tls_server_free(tls);
    close(big_fd);
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || kf_test_failures ? 1 : 0;
}
