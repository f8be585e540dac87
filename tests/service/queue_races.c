// The queue under fire: many workers at once, leases that run out, workers that are killed, a database that is killed.
// Nothing is done twice, nothing is lost, and what a late worker does counts for nothing.
#include "server/base/fault.h"
#include "server/base/hash.h"
#include "server/base/test.h"
#include "server/queue/queue.h"
#include "tests/service/fixture_pg.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *org;
static char case_id[KF_ID_TEXT];

static void queue_jobs(const char *kind, int count)
{
    struct kf_store *store = fixture_app();
    struct kf_error err = {0};
    for (int i = 0; i < count; i++) {
        json_t *params = json_pack("{s:i}", "n", i);
        struct kf_queue_job job = {.case_id = case_id, .kind = kind, .version = 1, .params = params, .max_attempts = 100};
        struct kf_queued queued;
        if (kf_queue_add(store, org, &job, &queued, &err))
            fprintf(stderr, "queue: %s %s\n", err.code, err.detail);
        json_decref(params);
    }
}

// The output says which parameter made it, whoever makes it: the same work is the same bytes.
static enum kf_status finish(struct kf_store *store, const struct kf_claim *claim, struct kf_error *err)
{
    char text[64];
    int length = snprintf(text, sizeof text, "%s %d", claim->job.kind, (int)kf_json_integer(claim->job.params, "n", -1));
    struct kf_queue_output output = {.name = "out", .kind = "thing", .media_type = "text/plain", .bytes = length,
                                     .container = "c"};
    kf_sha256(text, (size_t)length, output.sha256);
    return kf_queue_finish(store, &claim->job, &output, 1, NULL, err);
}

static const char *count_of(const char *what, const char *kind)
{
    char sql[400];
    snprintf(sql, sizeof sql, "SELECT %s FROM kerf.job j LEFT JOIN kerf.artefact a ON a.job_id = j.id WHERE j.kind = "
                              "'%s'",
             what, kind);
    return fixture_sql(sql);
}

struct worker {
    const char *kind;
    int claimed, finished, stale, failed, duplicates;
};
static atomic_int claims_of[256];

static void *drain(void *arg)
{
    struct worker *me = arg;
    struct kf_store *store = fixture_new_app();
    struct kf_claim claim;
    struct kf_error err = {0};
    enum kf_status status;
    while ((status = kf_queue_claim(store, me->kind, "worker", 60, &claim, &err)) == KF_OK) {
        me->claimed++;
        int n = (int)kf_json_integer(claim.job.params, "n", 255);
        me->duplicates += atomic_fetch_add(&claims_of[n & 255], 1) > 0;
        status = finish(store, &claim, &err);
        me->finished += status == KF_OK;
        me->failed += status != KF_OK;
        if (status)
            fprintf(stderr, "finish: %s %s\n", err.code, err.detail);
        kf_claim_release(&claim);
    }
    me->failed += status != KF_NOT_FOUND;
    kf_store_close(store);
    return NULL;
}

KF_TEST(many_workers_do_everything_once)
{
    enum { WORKERS = 6, JOBS = 120 };
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    int claimed = 0, failed = 0, duplicates = 0;
    queue_jobs("many", JOBS);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.kind = "many"};
        KF_REQUIRE(pthread_create(&threads[i], NULL, drain, &workers[i]) == 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        claimed += workers[i].claimed;
        failed += workers[i].failed;
        duplicates += workers[i].duplicates;
    }
    KF_CHECK_EQ(claimed, JOBS);
    KF_CHECK_EQ(failed, 0);
    KF_CHECK_EQ(duplicates, 0);
    KF_CHECK_STR(count_of("count(*) || ' ' || count(DISTINCT a.content_sha256) || ' ' || "
                          "max(attempts)", "many"), "120 120 1");
}

// Works with a lease that is too short, so that others take its jobs away while it is still at it.
static void *dawdle(void *arg)
{
    struct worker *me = arg;
    struct kf_store *store = fixture_new_app();
    struct kf_claim claim;
    struct kf_error err = {0};
    int reaped;
    for (int idle = 0; idle < 400;) {
        if (kf_queue_reap(store, &reaped, &err))
            me->failed++;
        enum kf_status status = kf_queue_claim(store, me->kind, "dawdler", 0.02, &claim, &err);
        if (status == KF_NOT_FOUND) {
            idle++;
            usleep(10000);
            continue;
        }
        if (status) {
            me->failed++;
            break;
        }
        idle = 0;
        me->claimed++;
        int cancel;
        if (claim.job.attempts < 3)
            usleep(40000);
        else // the third time the lease is long enough
            (void)!kf_queue_heartbeat(store, &claim.job, 60, &cancel, &err);
        status = finish(store, &claim, &err);
        me->finished += status == KF_OK;
        me->stale += status == KF_STALE;
        me->failed += status != KF_OK && status != KF_STALE;
        kf_claim_release(&claim);
    }
    kf_store_close(store);
    return NULL;
}

KF_TEST(late_workers_are_stale_and_every_job_ends_once)
{
    enum { WORKERS = 4, JOBS = 24 };
    struct worker workers[WORKERS], sum = {0};
    pthread_t threads[WORKERS];
    queue_jobs("late", JOBS);
    // Backoff would make this test minutes long.
    fixture_sql("CREATE OR REPLACE FUNCTION kerf.backoff(p_attempts integer) RETURNS interval LANGUAGE sql VOLATILE "
                "AS $$ SELECT interval '0' $$");
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.kind = "late"};
        KF_REQUIRE(pthread_create(&threads[i], NULL, dawdle, &workers[i]) == 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        sum.finished += workers[i].finished;
        sum.stale += workers[i].stale;
        sum.failed += workers[i].failed;
    }
    KF_CHECK_EQ(sum.failed, 0);
    KF_CHECK_EQ(sum.finished, JOBS);
    KF_CHECK(sum.stale > 0); // the test means nothing if nobody was late
    KF_CHECK_STR(count_of("count(*) || ' ' || count(a.id) || ' ' || bool_and(state = 'done')", "late"), "24 24 true");
}

static void be_killed(const char *kind)
{
    struct kf_store *store = fixture_new_app();
    struct kf_error err;
    for (;;) {
        struct kf_claim claim;
        if (kf_queue_claim(store, kind, "victim", 0.2, &claim, &err)) {
            usleep(1000);
            continue;
        }
        usleep(2000);
        (void)!finish(store, &claim, &err);
        kf_claim_release(&claim);
    }
}

KF_TEST(killed_workers_lose_nothing)
{
    enum { JOBS = 150, KILLS = 25 };
    struct kf_error err;
    int reaped;
    queue_jobs("kill", JOBS);
    (void)fixture_server_url();
    for (int i = 0; i < KILLS; i++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            be_killed("kill");
            _exit(1);
        }
        usleep((useconds_t)(20000 + 3713 * i % 17000));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    usleep(300000);
    KF_CHECK_EQ(kf_queue_reap(fixture_app(), &reaped, &err), KF_OK);
    // What the last victim held comes back and is done by somebody else.
    struct worker last = {.kind = "kill"};
    memset(claims_of, 0, sizeof claims_of);
    drain(&last);
    KF_CHECK_EQ(last.failed, 0);
    KF_CHECK_STR(count_of("count(*) || ' ' || count(a.id) || ' ' || bool_and(state = 'done')", "kill"), "150 150 true");
}

// The n-th database call of finishing fails; whatever was written is whole or not there, and a retry brings it home.
static int finish_with_fault(const char *variable, int n)
{
    char number[16];
    struct kf_store *store = fixture_new_app();
    struct kf_claim claim;
    struct kf_error err;
    if (kf_queue_claim(store, "fault", "w", 60, &claim, &err))
        return 1;
    snprintf(number, sizeof number, "%d", n);
    setenv(variable, number, 1);
    kf_fault_reload();
    enum kf_status status = finish(store, &claim, &err);
    unsetenv(variable);
    kf_fault_reload();
    if (status == KF_OK)
        return 2; // the fault lies behind the last call
    if (status != KF_DB)
        return 3;
    status = finish(store, &claim, &err);
    if (status != KF_OK && status != KF_STALE)
        return 4;
    kf_claim_release(&claim);
    kf_store_close(store);
    return 0;
}

static int in_child(const char *variable, int n)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(finish_with_fault(variable, n));
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

KF_TEST(every_lost_call_of_finish_is_survived)
{
    (void)fixture_server_url();
    queue_jobs("fault", 20);
    int n = 1, code;
    while ((code = in_child("KERF_FAULT_DB", n)) == 0)
        n++;
    KF_CHECK_EQ(code, 2);
    KF_CHECK(n > 5); // fence, blob, artefact, re-read, state of the case, commit
    KF_CHECK_EQ(in_child("KERF_FAULT_COMMIT", 1), 0);
    char expected[32];
    snprintf(expected, sizeof expected, "%d %d", n + 1, n + 1);
    KF_CHECK_STR(count_of("count(*) FILTER (WHERE state = 'done') || ' ' || count(a.id)", "fault"), expected);
}

static void *adding(void *arg)
{
    struct kf_store *store = fixture_new_app();
    struct kf_error err = {0};
    long fresh = 0;
    for (int i = 0; i < 40; i++) {
        json_t *params = json_pack("{s:i}", "same", i);
        struct kf_queue_job job = {.case_id = case_id, .kind = "same", .version = 1, .params = params};
        struct kf_queued queued;
        if (kf_queue_add(store, org, &job, &queued, &err)) {
            fprintf(stderr, "add: %s %s\n", err.code, err.detail);
            fresh += 1000;
        }
        fresh += !queued.reused;
        json_decref(params);
    }
    kf_store_close(store);
    *(long *)arg = fresh;
    return NULL;
}

KF_TEST(the_same_work_queued_at_once_by_many_is_one_job)
{
    enum { N = 5 };
    pthread_t threads[N];
    long fresh[N], sum = 0;
    for (int i = 0; i < N; i++)
        KF_REQUIRE(pthread_create(&threads[i], NULL, adding, &fresh[i]) == 0);
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        sum += fresh[i];
    }
    KF_CHECK_EQ(sum, 40);
    KF_CHECK_STR(count_of("count(*)", "same"), "40");
}

static void prepare(void)
{
    char sql[200];
    org = fixture_organisation("Races");
    kf_id_new(case_id);
    snprintf(sql, sizeof sql, "INSERT INTO kerf.cases (id, organisation_id) VALUES ('%s', '%s')", case_id, org);
    fixture_sql(sql);
}

KF_TEST_MAIN(prepare(); KF_RUN(many_workers_do_everything_once);
             KF_RUN(the_same_work_queued_at_once_by_many_is_one_job);
             KF_RUN(late_workers_are_stale_and_every_job_ends_once); KF_RUN(killed_workers_lose_nothing);
             KF_RUN(every_lost_call_of_finish_is_survived); fixture_stop();)
