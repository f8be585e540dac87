// Receiving instances: where they land, duplicates, conflicts, patients, races, and the outcome after a lost answer.
#include "server/base/fault.h"
#include "server/base/hash.h"
#include "server/base/str.h"
#include "server/base/test.h"
#include "server/store/instance.h"
#include "server/store/job.h"
#include "server/store/series.h"
#include "tests/service/fixture_pg.h"
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *org;
static struct kf_store *store;

struct place {
    const char *patient, *study, *series, *sop, *content;
};

static struct kf_instance_new instance_of(struct place at)
{
    struct kf_instance_new in = {.patient_id = at.patient, .patient_issuer = "H", .patient_name = "Test^Name",
                                 .birth_date = "19700101", .sex = "F", .study_uid = at.study,
                                 .study_description = "CT head", .series_uid = at.series, .modality = "CT",
                                 .has_series_number = 1, .series_number = 2, .sop_uid = at.sop, .sop_class = "1.2",
                                 .transfer_syntax = "1.2.840.10008.1.2.1", .dicom_json = "\x03\x00", .dicom_json_bytes = 2,
                                 .source = "dimse", .peer_ae = "SCU", .peer_address = "127.0.0.1", .container = "c/1",
                                 .bytes = 100};
    kf_sha256(at.content, strlen(at.content), in.content_sha256);
    kf_sha256(at.content, strlen(at.content), in.blob_sha256);
    return in;
}

static struct kf_instance_stored receive(struct kf_store *with, struct place at)
{
    struct kf_instance_stored out;
    struct kf_error err = {0};
    struct kf_instance_new in = instance_of(at);
    if (kf_store_instance_receive(with, org, &in, &out, &err)) {
        fprintf(stderr, "receive: %s: %s\n", err.code, err.detail);
        out.outcome = (enum kf_instance_outcome)-1;
    }
    return out;
}

static const char *ask(const char *question, const char *id)
{
    char sql[600];
    const char *gap = strstr(question, "%s");
    int before = gap ? (int)(gap - question) : (int)strlen(question);
    snprintf(sql, sizeof sql, "%.*s%s%s", before, question, gap ? id : "", gap ? gap + 2 : "");
    return fixture_sql(sql);
}

#define WAITING "SELECT count(*) FROM kerf.instance WHERE series_id = '%s' AND NOT queued"

// Takes what waits, as the sweep does; how many instances an import would get, or -1 when nothing waited.
static long take(const char *series_id, const char *case_id)
{
    struct kf_arena arena = {0};
    struct kf_series_instance *instances;
    struct kf_error err;
    size_t count;
    KF_CHECK_EQ(kf_store_begin(store, org, &err), KF_OK);
    KF_CHECK_EQ(kf_store_case_lock(store, org, case_id, &err), KF_OK);
    enum kf_status status = kf_store_series_take(store, org, series_id, &arena, &instances, &count, &err);
    if (!status)
        status = kf_store_case_derive(store, org, case_id, &err);
    if (!status)
        status = kf_store_commit(store, &err);
    kf_store_rollback(store);
    kf_arena_release(&arena);
    return status == KF_OK ? (long)count : status == KF_NOT_FOUND ? -1 : -2;
}

KF_TEST(an_instance_makes_its_case_study_and_series_once)
{
    struct kf_instance_stored a = receive(store, (struct place){"P1", "1.1", "1.1.1", "1.1.1.1", "a"});
    KF_CHECK_EQ(a.outcome, KF_INSTANCE_STORED);
    KF_CHECK_EQ(a.blob_used, 1);
    struct kf_instance_stored b = receive(store, (struct place){"P1", "1.1", "1.1.1", "1.1.1.2", "b"});
    KF_CHECK_STR(b.series_id, a.series_id);
    KF_CHECK_STR(b.case_id, a.case_id);
    struct kf_instance_stored c = receive(store, (struct place){"P1", "1.1", "1.1.2", "1.1.2.1", "c"});
    KF_CHECK(strcmp(c.series_id, a.series_id) != 0);
    KF_CHECK_STR(c.study_id, a.study_id);
    KF_CHECK_STR(ask(WAITING, a.series_id), "2");
    KF_CHECK_STR(ask("SELECT title || '|' || state || '|' || patient_id FROM kerf.cases WHERE id = '%s'", a.case_id),
                 "CT head|receiving|P1");
}

KF_TEST(a_resent_instance_is_a_duplicate_and_other_bytes_are_a_conflict)
{
    struct kf_instance_stored a = receive(store, (struct place){"P2", "2.1", "2.1.1", "2.1.1.1", "first"});
    struct kf_instance_stored again = receive(store, (struct place){"P2", "2.1", "2.1.1", "2.1.1.1", "first"});
    KF_CHECK_EQ(again.outcome, KF_INSTANCE_DUPLICATE);
    KF_CHECK_EQ(again.blob_used, 0);
    KF_CHECK_STR(again.instance_id, a.instance_id);
    KF_CHECK_STR(again.case_id, a.case_id);
    struct kf_instance_stored other = receive(store, (struct place){"P2", "2.1", "2.1.1", "2.1.1.1", "second"});
    KF_CHECK_EQ(other.outcome, KF_INSTANCE_CONFLICT);
    KF_CHECK(strcmp(other.instance_id, a.instance_id) != 0);
    KF_CHECK_STR(ask("SELECT count(*) || ' ' || bool_and(conflict) FROM kerf.instance WHERE series_id = "
                     "'%s'", a.series_id),
                 "2 true");
    KF_CHECK_STR(ask(WAITING, a.series_id), "2");
}

KF_TEST(studies_of_one_patient_meet_in_one_case)
{
    struct kf_instance_stored a = receive(store, (struct place){"P3", "3.1", "3.1.1", "3.1.1.1", "p3a"});
    struct kf_instance_stored b = receive(store, (struct place){"P3", "3.2", "3.2.1", "3.2.1.1", "p3b"});
    KF_CHECK_STR(b.case_id, a.case_id);
    // Nobody's patient id says nothing: each study is a case of its own.
    struct kf_instance_stored c = receive(store, (struct place){"", "3.3", "3.3.1", "3.3.1.1", "p3c"});
    struct kf_instance_stored d = receive(store, (struct place){"", "3.4", "3.4.1", "3.4.1.1", "p3d"});
    KF_CHECK(strcmp(c.case_id, d.case_id) != 0);
    // Another birth date under the same id is another patient.
    struct kf_instance_new in = instance_of((struct place){"P3", "3.5", "3.5.1", "3.5.1.1", "p3e"});
    struct kf_instance_stored e;
    struct kf_error err;
    in.birth_date = "19800101";
    KF_REQUIRE(kf_store_instance_receive(store, org, &in, &e, &err) == KF_OK);
    KF_CHECK(strcmp(e.case_id, a.case_id) != 0);
    // An archived case takes no new study.
    ask("UPDATE kerf.cases SET state = 'archived' WHERE id = '%s'", a.case_id);
    struct kf_instance_stored f = receive(store, (struct place){"P3", "3.6", "3.6.1", "3.6.1.1", "p3f"});
    KF_CHECK(strcmp(f.case_id, a.case_id) != 0);
}

KF_TEST(another_patient_within_a_study_is_set_aside)
{
    struct kf_instance_stored a = receive(store, (struct place){"P4", "4.1", "4.1.1", "4.1.1.1", "p4a"});
    struct kf_instance_stored b = receive(store, (struct place){"P5", "4.1", "4.1.1", "4.1.1.2", "p4b"});
    KF_CHECK_EQ(b.outcome, KF_INSTANCE_STORED);
    KF_CHECK_EQ(b.patient_differs, 1);
    KF_CHECK_STR(b.case_id, a.case_id);
    KF_CHECK_STR(ask("SELECT set_aside FROM kerf.instance WHERE id = '%s'", b.instance_id), "patient_mismatch");
    // It takes part in no volume, and when the rest has been taken a person has to look.
    KF_CHECK_EQ(take(a.series_id, a.case_id), 1);
    KF_CHECK_STR(ask("SELECT state FROM kerf.cases WHERE id = '%s'", a.case_id), "attention");
}

KF_TEST(a_case_of_reports_only_is_ready_when_nothing_more_comes)
{
    struct kf_instance_new in = instance_of((struct place){"P12", "12.1", "12.1.1", "12.1.1.1", "report"});
    struct kf_instance_stored out;
    struct kf_error err;
    in.set_aside = "not_an_image";
    KF_REQUIRE(kf_store_instance_receive(store, org, &in, &out, &err) == KF_OK);
    KF_CHECK_EQ(take(out.series_id, out.case_id), 0);
    KF_CHECK_STR(ask("SELECT state FROM kerf.cases WHERE id = '%s'", out.case_id), "ready");
    // An image in the same study starts it again.
    struct kf_instance_stored image = receive(store, (struct place){"P12", "12.1", "12.1.2", "12.1.2.1", "p12"});
    KF_CHECK_STR(image.case_id, out.case_id);
    KF_CHECK_STR(ask("SELECT state FROM kerf.cases WHERE id = '%s'", out.case_id), "receiving");
}

KF_TEST(a_settled_series_is_taken_once_and_what_comes_later_again)
{
    struct kf_arena arena = {0};
    struct kf_series_due *due, one;
    struct kf_series_instance *instances;
    struct kf_error err;
    size_t count, n = 0;
    struct kf_instance_stored a = receive(store, (struct place){"P6", "6.1", "6.1.1", "6.1.1.2", "p6b"});
    receive(store, (struct place){"P6", "6.1", "6.1.1", "6.1.1.1", "p6a"});
    KF_REQUIRE(kf_store_series_settled(store, 3600, 1000, &arena, &due, &count, &err) == KF_OK);
    KF_CHECK_EQ(count, 0);
    KF_REQUIRE(kf_store_series_settled(store, 0, 1000, &arena, &due, &count, &err) == KF_OK);
    for (size_t i = 0; i < count; i++)
        n += strcmp(due[i].series_id, a.series_id) == 0 && strcmp(due[i].organisation_id, org) == 0;
    KF_CHECK_EQ(n, 1);
    KF_CHECK_EQ(kf_store_series_due(store, org, a.series_id, &one, &err), KF_OK);
    // What is received between the taking and its commit waits for the next time.
    struct kf_store *other = fixture_new_app();
    KF_REQUIRE(kf_store_begin(store, org, &err) == KF_OK);
    KF_REQUIRE(kf_store_series_take(store, org, a.series_id, &arena, &instances, &count, &err) == KF_OK);
    KF_CHECK_EQ(count, 2);
    struct kf_instance_stored late = receive(other, (struct place){"P6", "6.1", "6.1.1", "6.1.1.3", "p6c"});
    KF_CHECK_EQ(late.outcome, KF_INSTANCE_STORED);
    KF_CHECK_EQ(kf_store_commit(store, &err), KF_OK);
    KF_CHECK_STR(ask("SELECT sop_uid FROM kerf.instance WHERE id = '%s'", instances[0].id), "6.1.1.1"); // by UID
    KF_CHECK_STR(ask(WAITING, a.series_id), "1");
    KF_CHECK_EQ(take(a.series_id, a.case_id), 3);
    KF_CHECK_STR(ask("SELECT instance_count FROM kerf.series WHERE id = '%s'", a.series_id), "3");
    KF_CHECK_EQ(kf_store_series_due(store, org, a.series_id, &one, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(take(a.series_id, a.case_id), -1);
    kf_store_close(other);
    kf_arena_release(&arena);
}

KF_TEST(senders_of_one_series_do_not_wait_for_each_other)
{
    struct kf_store *other = fixture_new_app();
    struct kf_error err;
    receive(store, (struct place){"P13", "13.1", "13.1.1", "13.1.1.1", "p13a"});
    KF_REQUIRE(kf_store_begin(store, org, &err) == KF_OK);
    receive(store, (struct place){"P13", "13.1", "13.1.1", "13.1.1.2", "p13b"}); // not committed yet
    int64_t start = kf_time_monotonic_ns();
    struct kf_instance_stored out = receive(other, (struct place){"P13", "13.1", "13.1.1", "13.1.1.3", "p13c"});
    KF_CHECK_EQ(out.outcome, KF_INSTANCE_STORED);
    KF_CHECK((kf_time_monotonic_ns() - start) / 1000000 < 20000); // it would wait for ever
    KF_CHECK_EQ(kf_store_commit(store, &err), KF_OK);
    KF_CHECK_STR(ask(WAITING, out.series_id), "3");
    kf_store_close(other);
}

struct sender {
    int number;
    int stored, duplicates, conflicts, failed;
};

// Every sender sends the same 40 instances of one new study, and 40 with bytes of its own under shared UIDs.
static void *send_all(void *arg)
{
    struct sender *me = arg;
    struct kf_store *mine = fixture_new_app();
    for (int i = 0; i < 80; i++) {
        char sop[32], content[64];
        snprintf(sop, sizeof sop, "7.1.1.%d", i);
        snprintf(content, sizeof content, "race %d of %d", i, i < 40 ? -1 : me->number);
        struct kf_instance_stored out = receive(mine, (struct place){"P7", "7.1", "7.1.1", sop, content});
        me->stored += out.outcome == KF_INSTANCE_STORED;
        me->duplicates += out.outcome == KF_INSTANCE_DUPLICATE;
        me->conflicts += out.outcome == KF_INSTANCE_CONFLICT;
        me->failed += out.outcome > KF_INSTANCE_CONFLICT;
    }
    kf_store_close(mine);
    return NULL;
}

KF_TEST(senders_that_race_lose_and_double_nothing)
{
    enum { N = 4 };
    struct sender senders[N];
    pthread_t threads[N];
    struct sender sum = {0};
    for (int i = 0; i < N; i++) {
        senders[i] = (struct sender){.number = i};
        KF_REQUIRE(pthread_create(&threads[i], NULL, send_all, &senders[i]) == 0);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        sum.stored += senders[i].stored;
        sum.duplicates += senders[i].duplicates;
        sum.conflicts += senders[i].conflicts;
        sum.failed += senders[i].failed;
    }
    KF_CHECK_EQ(sum.failed, 0);
    KF_CHECK_EQ(sum.stored, 80);
    KF_CHECK_EQ(sum.duplicates, 40 * (N - 1));
    KF_CHECK_EQ(sum.conflicts, 40 * (N - 1));
    KF_CHECK_STR(fixture_sql("SELECT count(*) || ' ' || count(DISTINCT s.case_id) || ' ' || count(DISTINCT s.id) "
                             "FROM kerf.instance i JOIN kerf.series s ON s.id = i.series_id WHERE s.series_uid = "
                             "'7.1.1'"),
                 "200 1 1");
    KF_CHECK_STR(fixture_sql("SELECT count(*) FROM kerf.instance WHERE conflict AND sop_uid LIKE '7.1.1.%'"), "160");
}

// In a child process, so that the fault is this call's only.
static int in_child(const char *name, const char *value, int (*body)(void))
{
    (void)fixture_server_url();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        setenv(name, value, 1);
        kf_fault_reload();
        _exit(body());
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int lost_answer(void)
{
    struct kf_store *mine = fixture_new_app();
    struct kf_instance_new in = instance_of((struct place){"P8", "8.1", "8.1.1", "8.1.1.1", "p8"});
    struct kf_instance_stored out;
    struct kf_error err;
    if (kf_store_instance_receive(mine, org, &in, &out, &err) != KF_DB)
        return 1;
    // Whether the first one was committed or not: the second answer is the truth.
    if (kf_store_instance_receive(mine, org, &in, &out, &err) != KF_OK)
        return 2;
    kf_store_close(mine);
    return 0;
}

KF_TEST(a_lost_connection_is_never_success_and_sending_again_is_safe)
{
    KF_CHECK_EQ(in_child("KERF_FAULT_COMMIT", "1", lost_answer), 0);
    KF_CHECK_STR(fixture_sql("SELECT count(*) FROM kerf.instance WHERE sop_uid = '8.1.1.1'"), "1");
    KF_CHECK_EQ(in_child("KERF_FAULT_DB", "1", lost_answer), 0);
    KF_CHECK_STR(fixture_sql("SELECT count(*) FROM kerf.instance WHERE sop_uid = '8.1.1.1'"), "1");
}

KF_TEST(the_database_may_be_killed_and_come_back)
{
    struct kf_store *mine = fixture_new_app(), *writer = fixture_new_app(), *worker = fixture_new_app();
    struct kf_instance_new in = instance_of((struct place){"P9", "9.1", "9.1.1", "9.1.1.1", "p9"});
    struct kf_instance_stored out;
    struct kf_error err = {0};
    KF_REQUIRE(kf_store_begin(mine, org, &err) == KF_OK);
    KF_CHECK_EQ(kf_store_instance_receive(mine, org, &in, &out, &err), KF_OK);
    fixture_kill_postgres();
    struct pollfd gone = {.fd = kf_store_fd(mine), .events = POLLIN}; // its backend outlives the postmaster by a moment
    KF_REQUIRE(poll(&gone, 1, 10000) == 1);
    KF_CHECK_EQ(kf_store_commit(mine, &err), KF_DB);
    KF_CHECK_EQ(kf_store_ping(mine, &err), KF_DB);
    fixture_restart_postgres();
    KF_CHECK_EQ(kf_store_ping(mine, &err), KF_OK);
    // Connections that slept through it go on as if nothing had been: a write, and the first query of a transaction.
    KF_CHECK_STR(fixture_sql("SELECT count(*) FROM kerf.instance WHERE sop_uid = '9.1.1.1'"), "0");
    KF_CHECK_EQ(kf_store_instance_receive(writer, org, &in, &out, &err), KF_OK);
    KF_CHECK_EQ(kf_store_begin(worker, org, &err), KF_OK);
    KF_CHECK_EQ(kf_store_instance_receive(worker, org, &in, &out, &err), KF_OK);
    KF_CHECK_EQ(out.outcome, KF_INSTANCE_DUPLICATE);
    KF_CHECK_EQ(kf_store_commit(worker, &err), KF_OK);
    kf_store_close(writer);
    kf_store_close(worker);
    KF_CHECK_STR(fixture_sql("SELECT count(*) FROM kerf.instance WHERE sop_uid = '9.1.1.1'"), "1");
    kf_store_close(mine);
}

KF_TEST(hostile_texts_are_values_or_refusals_never_sql)
{
    struct kf_instance_new in = instance_of((struct place){"'; DROP TABLE kerf.job; "
                                                           "--", "10.1", "10.1.1", "10.1.1.1", "p10"});
    struct kf_instance_stored out;
    struct kf_error err = {0};
    KF_CHECK_EQ(kf_store_instance_receive(store, org, &in, &out, &err), KF_OK);
    in.sop_uid = "10.1.1.2";
    in.patient_name = "broken \xff utf8";
    KF_CHECK_EQ(kf_store_instance_receive(store, org, &in, &out, &err), KF_INVALID);
    KF_CHECK(!strstr(err.detail, "broken"));
    KF_CHECK_EQ(kf_store_instance_receive(store, "no-uuid", &in, &out, &err), KF_NOT_FOUND);
}

// Not a test of speed: it prints what a machine does, so that a slow path is seen.
KF_TEST(instances_per_second)
{
    int64_t start = kf_time_monotonic_ns();
    enum { N = 500 };
    for (int i = 0; i < N; i++) {
        char sop[32];
        snprintf(sop, sizeof sop, "11.1.1.%d", i);
        struct kf_instance_stored out = receive(store, (struct place){"P11", "11.1", "11.1.1", sop, sop});
        KF_REQUIRE(out.outcome == KF_INSTANCE_STORED);
    }
    double s = (double)(kf_time_monotonic_ns() - start) / 1e9;
    printf("     %d instances received at %.0f/s on one connection (fsync off)\n", N, N / s);
}

static void prepare(void)
{
    org = fixture_organisation("Instances");
    store = fixture_app();
}

KF_TEST_MAIN(prepare(); KF_RUN(an_instance_makes_its_case_study_and_series_once);
             KF_RUN(a_resent_instance_is_a_duplicate_and_other_bytes_are_a_conflict);
             KF_RUN(studies_of_one_patient_meet_in_one_case); KF_RUN(another_patient_within_a_study_is_set_aside);
             KF_RUN(a_case_of_reports_only_is_ready_when_nothing_more_comes);
             KF_RUN(a_settled_series_is_taken_once_and_what_comes_later_again);
             KF_RUN(senders_of_one_series_do_not_wait_for_each_other); KF_RUN(senders_that_race_lose_and_double_nothing);
             KF_RUN(hostile_texts_are_values_or_refusals_never_sql); KF_RUN(instances_per_second);
             KF_RUN(a_lost_connection_is_never_success_and_sending_again_is_safe);
             KF_RUN(the_database_may_be_killed_and_come_back); fixture_stop();)
