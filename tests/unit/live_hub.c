// The event hub against a source in memory: order, tenants, cases, resuming, out-of-order commits, slow readers,
// sign-out.
#include "server/base/test.h"
#include "server/base/timeid.h"
#include "server/http/sse.h"

#include <pthread.h>
#include <time.h>

#define ORG_A  "00000000-0000-7000-8000-00000000000a"
#define ORG_B  "00000000-0000-7000-8000-00000000000b"
#define CASE_1 "00000000-0000-7000-8000-000000000001"
#define CASE_2 "00000000-0000-7000-8000-000000000002"

struct row {
    int64_t id, created_ms;
    const char *organisation, *case_id, *kind, *data;
    int announced;
};

// The table, in the order of commits (ids may be out of order), and its notifications.
static struct {
    pthread_mutex_t lock;
    struct row rows[4000];
    int count;
    int broken;
    int losses;          // how often the hub was told that its connection is broken
    int64_t newest_read; // the highest id that the hub has read
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void commit(int64_t id, const char *organisation, const char *case_id, const char *data, int64_t age_ms)
{
    pthread_mutex_lock(&table.lock);
    table.rows[table.count++] =
        (struct row){id, kf_time_unix_ms() - age_ms, organisation, case_id, "job.changed", data, age_ms > 60000};
    pthread_mutex_unlock(&table.lock);
}

// Of 5 ms each, until a test gives up waiting: on a machine that is busy with other things.
#define LOOKS 6000

static void nap_ms(int ms)
{
    struct timespec nap = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&nap, NULL);
}

static enum kf_status wait_rows(void *app, void *thread, int timeout_ms,
                                void (*notified)(void *to, const char *organisation_id, int64_t event_id), void *to,
                                struct kf_error *err)
{
    (void)app;
    (void)thread;
    (void)timeout_ms;
    nap_ms(5);
    pthread_mutex_lock(&table.lock);
    int broken = table.broken;
    for (int i = 0; i < table.count && !broken; i++)
        if (!table.rows[i].announced) {
            table.rows[i].announced = 1;
            struct row row = table.rows[i];
            pthread_mutex_unlock(&table.lock);
            notified(to, row.organisation, row.id);
            pthread_mutex_lock(&table.lock);
        }
    table.losses += broken;
    if (broken) // what is notified meanwhile is lost
        for (int i = 0; i < table.count; i++)
            table.rows[i].announced = 1;
    pthread_mutex_unlock(&table.lock);
    return broken ? kf_error_set(err, KF_DB, NULL, "gone") : KF_OK;
}

static enum kf_status fetch_rows(void *app, void *thread, const char *organisation, int64_t after, size_t limit,
                                 kf_live_emit *emit, void *to, struct kf_error *err)
{
    (void)app;
    (void)thread;
    (void)err;
    int64_t last = after;
    for (size_t n = 0; n < limit; n++) {
        struct row best = {0};
        pthread_mutex_lock(&table.lock);
        for (int i = 0; i < table.count; i++)
            if (strcmp(table.rows[i].organisation, organisation) == 0 && table.rows[i].id > last &&
                (!best.id || table.rows[i].id < best.id))
                best = table.rows[i];
        pthread_mutex_unlock(&table.lock);
        if (!best.id)
            break;
        last = best.id;
        struct kf_live_event event = {best.id, best.created_ms, organisation, best.case_id, best.kind, best.data};
        emit(to, &event);
        pthread_mutex_lock(&table.lock);
        table.newest_read = best.id > table.newest_read ? best.id : table.newest_read;
        pthread_mutex_unlock(&table.lock);
    }
    return KF_OK;
}

static enum kf_status newest_row(void *app, void *thread, const char *organisation, int64_t *id, struct kf_error *err)
{
    (void)app;
    (void)thread;
    (void)err;
    *id = 0;
    pthread_mutex_lock(&table.lock);
    for (int i = 0; i < table.count; i++)
        if (strcmp(table.rows[i].organisation, organisation) == 0 && table.rows[i].id > *id)
            *id = table.rows[i].id;
    pthread_mutex_unlock(&table.lock);
    return KF_OK;
}

static struct kf_live *live;

static enum kf_status subscribe(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    return kf_sse_subscribe(live, request, response, kf_request_query(request, "case"), err);
}

static enum kf_status authenticate(struct kf_request *request, struct kf_principal *principal, struct kf_error *err)
{
    (void)err;
    strcpy(principal->organisation_id, kf_request_header(request, "x-org"));
    strcpy(principal->session_id, "session-1");
    return KF_OK;
}

static const struct kf_route routes[] = {
    {.method = KF_GET, .pattern = "/events", .flags = KF_ROUTE_STREAM, .handler = subscribe}, {.pattern = NULL}};
static struct kf_http *http;

static struct kf_exchange *open_stream(const char *organisation, const char *case_id, const char *last)
{
    char target[128];
    snprintf(target, sizeof target, "/events?case=%s", case_id);
    const char *const headers[] = {"X-Org", organisation, last ? "Last-Event-ID" : NULL, last, NULL};
    return kf_http_dispatch(http, NULL, "GET", target, headers, NULL, 0);
}

// Everything that comes until the id `last` has been seen, or nothing has for long; ids as "1 2 3 ".
static const char *ids_to(struct kf_exchange *x, int last)
{
    static char text[65536], ids[4096], wanted[32];
    size_t n = 0;
    ids[0] = 0;
    snprintf(wanted, sizeof wanted, "id: %d\n", last);
    for (int i = 0; i < LOOKS; i++) {
        long got = x->response.stream->read(x->response.stream_state, text + n, sizeof text - n - 1);
        if (got < 0)
            break;
        n += (size_t)got;
        text[n] = 0;
        if (strstr(text, wanted))
            break;
        nap_ms(5);
    }
    for (const char *at = text; n && (at = strstr(at, "id: ")); at++)
        snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%d ", atoi(at + 4));
    return ids;
}

KF_TEST(subscribers_get_their_organisation_and_case_in_order)
{
    struct kf_exchange *all = open_stream(ORG_A, "", NULL), *one = open_stream(ORG_A, CASE_1, NULL),
                       *other = open_stream(ORG_B, "", NULL);
    KF_REQUIRE(all->response.status == 200 && all->response.kind == KF_BODY_STREAM);
    KF_CHECK_STR(kf_exchange_response_header(all, "Content-Type"), "text/event-stream");
    commit(1, ORG_A, CASE_1, "{\"state\":\"done\"}", 0);
    commit(2, ORG_A, CASE_2, "{}", 0);
    commit(3, ORG_B, CASE_1, "{}", 0);
    commit(4, ORG_A, CASE_1, "{}", 0);
    KF_CHECK_STR(ids_to(all, 4), "1 2 4 ");
    KF_CHECK_STR(ids_to(one, 4), "1 4 ");
    KF_CHECK_STR(ids_to(other, 3), "3 ");
    KF_CHECK_EQ(kf_live_subscribers(live), 3);
    kf_exchange_free(all, 0, 1);
    kf_exchange_free(one, 0, 1);
    kf_exchange_free(other, 0, 1);
    KF_CHECK_EQ(kf_live_subscribers(live), 0);
}

KF_TEST(the_case_stands_in_the_data)
{
    struct kf_exchange *x = open_stream(ORG_A, "", NULL);
    commit(10, ORG_A, CASE_1, "{\"state\":\"done\"}", 0);
    commit(11, ORG_A, CASE_1, "{}", 0);
    char text[2000] = "";
    size_t n = 0;
    for (int i = 0; i < LOOKS && !strstr(text, "id: 11"); i++) {
        nap_ms(5);
        long got = x->response.stream->read(x->response.stream_state, text + n, sizeof text - n - 1);
        n += got > 0 ? (size_t)got : 0;
        text[n] = 0;
    }
    KF_CHECK(strstr(text, "id: 10\nevent: job.changed\ndata: {\"case_id\":\"" CASE_1 "\",\"state\":\"done\"}\n\n"));
    KF_CHECK(strstr(text, "id: 11\nevent: job.changed\ndata: {\"case_id\":\"" CASE_1 "\"}\n\n"));
    kf_exchange_free(x, 0, 1);
}

KF_TEST(late_commits_are_not_lost)
{
    struct kf_exchange *x = open_stream(ORG_A, "", NULL);
    commit(21, ORG_A, CASE_1, "{}", 0);
    KF_CHECK_STR(ids_to(x, 21), "21 ");
    commit(20, ORG_A, CASE_1, "{}", 0); // its transaction took longer
    KF_CHECK_STR(ids_to(x, 20), "20 ");
    commit(22, ORG_A, CASE_1, "{}", 0);
    KF_CHECK_STR(ids_to(x, 22), "22 "); // and nothing twice
    kf_exchange_free(x, 0, 1);
}

KF_TEST(a_stream_resumes_behind_the_last_id)
{
    commit(30, ORG_A, CASE_1, "{}", 120000);
    commit(31, ORG_A, CASE_1, "{}", 120000);
    commit(32, ORG_A, CASE_2, "{}", 120000);
    commit(33, ORG_A, CASE_1, "{}", 120000);
    struct kf_exchange *x = open_stream(ORG_A, CASE_1, "31");
    // 1 to 22 are young: a transaction of then could have been late, so they may come again; 30 and 31 do not.
    const char *ids = ids_to(x, 33);
    KF_CHECK(strstr(ids, "33 ") != NULL);
    KF_CHECK(strstr(ids, "30 ") == NULL && strstr(ids, "31 ") == NULL && strstr(ids, "32 ") == NULL);
    commit(34, ORG_A, CASE_1, "{}", 0);
    KF_CHECK_STR(ids_to(x, 34), "34 ");
    kf_exchange_free(x, 0, 1);
    x = open_stream(ORG_A, "", "not a number");
    KF_CHECK_EQ(x->response.status, 200);
    kf_exchange_free(x, 0, 1);
}

// Waits until the hub has been told so often that its connection is broken.
static void lost(int times)
{
    int now = 0;
    for (int i = 0; i < LOOKS && now < times; i++) {
        nap_ms(5);
        pthread_mutex_lock(&table.lock);
        now = table.losses;
        pthread_mutex_unlock(&table.lock);
    }
    KF_CHECK(now >= times);
}

KF_TEST(a_lost_database_connection_loses_no_event)
{
    struct kf_exchange *x = open_stream(ORG_A, "", NULL);
    pthread_mutex_lock(&table.lock);
    table.broken = 1;
    int before = table.losses;
    pthread_mutex_unlock(&table.lock);
    lost(before + 1);
    commit(40, ORG_A, CASE_1, "{}", 0);
    lost(before + 2); // its notification was never received
    pthread_mutex_lock(&table.lock);
    table.broken = 0;
    pthread_mutex_unlock(&table.lock);
    KF_CHECK_STR(ids_to(x, 40), "40 ");
    kf_exchange_free(x, 0, 1);
}

KF_TEST(who_does_not_read_is_let_go)
{
    static char large[4000];
    memset(large, 'x', sizeof large - 1);
    memcpy(large, "{\"a\":\"", 6);
    memcpy(large + sizeof large - 3, "\"}", 2);
    struct kf_exchange *slow = open_stream(ORG_B, "", NULL);
    for (int i = 0; i < 100; i++)
        commit(100 + i, ORG_B, CASE_1, large, 0);
    int64_t newest = 0;
    for (int i = 0; i < LOOKS && newest < 199; i++) { // until the hub has got so far
        nap_ms(5);
        pthread_mutex_lock(&table.lock);
        newest = table.newest_read;
        pthread_mutex_unlock(&table.lock);
    }
    static char sink[300000];
    long got;
    size_t all = 0;
    while ((got = slow->response.stream->read(slow->response.stream_state, sink, sizeof sink)) > 0)
        all += (size_t)got;
    KF_CHECK_EQ(got, -1);
    KF_CHECK(all > 0 && all < 300000);
    kf_exchange_free(slow, 0, 1);
}

KF_TEST(signing_out_ends_the_stream)
{
    struct kf_exchange *x = open_stream(ORG_A, "", NULL);
    char text[256];
    KF_CHECK(x->response.stream->read(x->response.stream_state, text, sizeof text) > 0);
    KF_CHECK_EQ(x->response.stream->read(x->response.stream_state, text, sizeof text), 0);
    kf_live_drop_session(live, "session-2");
    KF_CHECK_EQ(x->response.stream->read(x->response.stream_state, text, sizeof text), 0);
    kf_live_drop_session(live, "session-1");
    KF_CHECK_EQ(x->response.stream->read(x->response.stream_state, text, sizeof text), -1);
    kf_exchange_free(x, 0, 1);
}

KF_TEST(there_are_only_so_many_streams)
{
    struct kf_exchange *open[6];
    for (int i = 0; i < 6; i++)
        open[i] = open_stream(ORG_A, "", NULL);
    KF_CHECK_EQ(open[4]->response.status, 200);
    KF_CHECK_EQ(open[5]->response.status, 503);
    for (int i = 0; i < 6; i++)
        kf_exchange_free(open[i], 0, 1);
}

KF_TEST(stopping_ends_the_streams_and_they_may_outlive_the_hub)
{
    struct kf_exchange *x = open_stream(ORG_A, "", NULL);
    kf_live_stop(live);
    char text[256];
    long got;
    while ((got = x->response.stream->read(x->response.stream_state, text, sizeof text)) > 0)
        ;
    KF_CHECK_EQ(got, -1);
    kf_exchange_free(x, 0, 1);
}

int main(void)
{
    struct kf_live_source source = {.wait = wait_rows, .fetch = fetch_rows, .newest = newest_row};
    static const struct kf_route *const tables[] = {routes, NULL};
    struct kf_http_config config = {.tables = tables, .authenticate = authenticate};
    if (kf_live_start(&source, 5, &live, NULL) != KF_OK || kf_http_new(&config, &http, NULL) != KF_OK)
        return 1;
    KF_RUN(subscribers_get_their_organisation_and_case_in_order);
    KF_RUN(the_case_stands_in_the_data);
    KF_RUN(late_commits_are_not_lost);
    KF_RUN(a_stream_resumes_behind_the_last_id);
    KF_RUN(a_lost_database_connection_loses_no_event);
    KF_RUN(who_does_not_read_is_let_go);
    KF_RUN(signing_out_ends_the_stream);
    KF_RUN(there_are_only_so_many_streams);
    KF_RUN(stopping_ends_the_streams_and_they_may_outlive_the_hub);
    kf_http_free(http);
    return kf_test_failures ? 1 : 0;
}
