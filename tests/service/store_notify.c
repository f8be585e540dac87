// What a server that keeps answers and sessions hears of: every change behind them, and that it hears at all.
#include "server/base/test.h"
#include "server/base/timeid.h"
#include "server/store/event.h"
#include "server/store/store.h"
#include "tests/service/fixture_pg.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *org;
static struct kf_store *listener;
static char heard[8][160];
static int count;

static void note(void *to, const char *payload)
{
    (void)to;
    if (count < 8)
        snprintf(heard[count++], sizeof heard[0], "%s", payload);
}

// The rows of one case, with ids made of one digit.
static void put_rows(void)
{
    char sql[3000];
    snprintf(sql, sizeof sql,
             "WITH o(id) AS (VALUES ('%s'::uuid)), i(c, st, se, j, a, ac, s, t) AS (VALUES "
             "('00000000-0000-0000-0000-000000000001'::uuid, '00000000-0000-0000-0000-000000000002'::uuid, "
             "'00000000-0000-0000-0000-000000000003'::uuid, '00000000-0000-0000-0000-000000000004'::uuid, "
             "'00000000-0000-0000-0000-000000000005'::uuid, '00000000-0000-0000-0000-000000000006'::uuid, "
             "'00000000-0000-0000-0000-000000000007'::uuid, '00000000-0000-0000-0000-000000000008'::uuid)), "
             "k(h) AS (VALUES (decode(repeat('ab', 32), 'hex'))), "
             "p1 AS (INSERT INTO kerf.cases (id, organisation_id, state) SELECT c, o.id, 'ready' FROM o, i), "
             "p2 AS (INSERT INTO kerf.study (id, organisation_id, case_id, study_uid) SELECT st, o.id, c, '1.2' "
             "FROM o, i), "
             "p3 AS (INSERT INTO kerf.series (id, organisation_id, case_id, study_id, series_uid) "
             "SELECT se, o.id, c, st, '1.3' FROM o, i), "
             "p4 AS (INSERT INTO kerf.job (id, organisation_id, case_id, kind, version, key, inputs, state) "
             "SELECT j, o.id, c, 'mesh', 1, h, '[]', 'done' FROM o, i, k), "
             "p5 AS (INSERT INTO kerf.blob (organisation_id, sha256, bytes, container) SELECT o.id, h, 1, 'x' "
             "FROM o, k), "
             "p6 AS (INSERT INTO kerf.artefact (id, organisation_id, case_id, job_id, key, name, kind, content_sha256, "
             "bytes, media_type) SELECT a, o.id, c, j, h, 'n', 'mesh', h, 1, 'x/y' FROM o, i, k), "
             "p7 AS (INSERT INTO kerf.account (id, organisation_id, login, display_name, role, password_hash) "
             "SELECT ac, o.id, 'heard', 'H', 'viewer', 'h' FROM o, i), "
             "p8 AS (INSERT INTO kerf.session (id, organisation_id, account_id, token_sha256, csrf_token, expires_at) "
             "SELECT s, o.id, ac, h, 'c', now() + interval '1 day' FROM o, i, k) "
             "INSERT INTO kerf.api_token (id, organisation_id, name, role, token_sha256) "
             "SELECT t, o.id, 'n', 'viewer', h FROM o, i, k",
             org);
    fixture_sql(sql);
}

static void drain(void)
{
    struct kf_error err;
    count = 0;
    KF_CHECK_EQ(kf_store_wait(listener, "kerf_event", 50, note, NULL, &err), KF_OK);
    count = 0;
}

KF_TEST(every_change_behind_a_kept_answer_is_told)
{
    static const char *const rows[][2] = {
        // statement, what follows "ORGANISATION " ("" for the number of an event)
        {"UPDATE kerf.study SET description = 'x' WHERE organisation_id = ", "0"},
        {"UPDATE kerf.series SET description = 'x' WHERE organisation_id = ", "0"},
        {"UPDATE kerf.cases SET patient_name = 'x' WHERE organisation_id = ", "0"},
        {"UPDATE kerf.cases SET title = 'x', revision = revision + 1 WHERE organisation_id = ", ""},
        {"UPDATE kerf.artefact SET superseded = true WHERE organisation_id = ", "0"},
        {"UPDATE kerf.job SET state = 'failed' WHERE organisation_id = ", ""},
        {"UPDATE kerf.account SET role = 'surgeon' WHERE login = 'heard' AND organisation_id = ",
         "0 00000000-0000-0000-0000-000000000006"},
        {"UPDATE kerf.api_token SET revoked_at = now() WHERE organisation_id = ",
         "0 00000000-0000-0000-0000-000000000008 00000000-0000-0000-0000-000000000008"},
        {"DELETE FROM kerf.session WHERE organisation_id = ",
         "0 00000000-0000-0000-0000-000000000006 00000000-0000-0000-0000-000000000007"},
        {"DELETE FROM kerf.artefact WHERE organisation_id = ", "0"},
        {"DELETE FROM kerf.job WHERE organisation_id = ", "0"},
        {"DELETE FROM kerf.series WHERE organisation_id = ", "0"},
        {"DELETE FROM kerf.study WHERE organisation_id = ", "0"},
    };
    put_rows();
    drain();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char sql[400], expected[160];
        struct kf_error err;
        snprintf(sql, sizeof sql, "%s'%s'", rows[i][0], org);
        fixture_sql(sql);
        count = 0;
        KF_CHECK_EQ(kf_store_wait(listener, "kerf_event", 2000, note, NULL, &err), KF_OK);
        snprintf(expected, sizeof expected, "%s %s", org, rows[i][1]);
        int found = 0;
        for (int k = 0; k < count; k++)
            found |= *rows[i][1] ? strcmp(heard[k], expected) == 0
                                 : strncmp(heard[k], expected, strlen(expected)) == 0 && atoll(heard[k] + 37) > 0;
        if (!found)
            fprintf(stderr, "not told: %s (%d heard, %s)\n", rows[i][0], count, count ? heard[0] : "");
        KF_CHECK(found);
    }
}

KF_TEST(what_changes_nothing_that_is_kept_is_not_told)
{
    drain();
    char sql[300];
    struct kf_error err;
    snprintf(sql, sizeof sql, "UPDATE kerf.account SET failed_logins = 1 WHERE organisation_id = '%s'", org);
    fixture_sql(sql);
    snprintf(sql, sizeof sql, "UPDATE kerf.api_token SET last_used_at = now() WHERE organisation_id = '%s'", org);
    fixture_sql(sql);
    KF_CHECK_EQ(kf_store_wait(listener, "kerf_event", 100, note, NULL, &err), KF_OK);
    KF_CHECK_EQ(count, 0);
}

// A connection that is half open looks like one on which nothing happens.
KF_TEST(a_listener_that_is_no_longer_answered_says_so)
{
    struct kf_store *other = NULL;
    struct kf_error err = {0};
    KF_REQUIRE(kf_store_new(&other, fixture_server_url(), "deaf", KF_STORE_APP, &err) == KF_OK);
    KF_CHECK_EQ(kf_store_wait(other, "kerf_event", 0, note, NULL, &err), KF_OK);
    int pid = atoi(fixture_sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'deaf'"));
    KF_REQUIRE(pid > 1);
    KF_REQUIRE(kill(pid, SIGSTOP) == 0);
    int64_t start = kf_time_monotonic_ns();
    KF_CHECK_EQ(kf_store_wait(other, "kerf_event", 100, note, NULL, &err), KF_DB);
    double seconds = (double)(kf_time_monotonic_ns() - start) * 1e-9;
    KF_CHECK(seconds > 0.05 && seconds < 20); // TCP alone would take minutes
    kill(pid, SIGCONT);
    KF_CHECK_EQ(kf_store_wait(other, "kerf_event", 100, note, NULL, &err), KF_OK); // connects again
    kf_store_close(other);
}

// The hub reads on the connection that listens; a read that has connected again must not hide that it was deaf.
KF_TEST(a_loss_that_a_read_has_mended_is_told_once)
{
    struct kf_store *other = NULL;
    struct kf_error err = {0};
    int64_t newest;
    KF_REQUIRE(kf_store_new(&other, fixture_server_url(), "mended", KF_STORE_APP, &err) == KF_OK);
    KF_CHECK_EQ(kf_store_wait(other, "kerf_event", 0, note, NULL, &err), KF_OK);
    fixture_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mended'");
    for (int i = 0; i < 3000 &&
                    strcmp(fixture_sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mended'"), "0");
         i++)
        usleep(10000);
    KF_CHECK_EQ(kf_store_event_newest(other, org, &newest, &err), KF_OK);
    KF_CHECK_EQ(kf_store_wait(other, "kerf_event", 0, note, NULL, &err), KF_DB);
    KF_CHECK_EQ(kf_store_wait(other, "kerf_event", 0, note, NULL, &err), KF_OK);
    kf_store_close(other);
}

static void prepare(void)
{
    org = fixture_organisation("Heard");
    listener = fixture_new_app();
}

KF_TEST_MAIN(prepare(); KF_RUN(every_change_behind_a_kept_answer_is_told);
             KF_RUN(what_changes_nothing_that_is_kept_is_not_told);
             KF_RUN(a_listener_that_is_no_longer_answered_says_so); KF_RUN(a_loss_that_a_read_has_mended_is_told_once);
             kf_store_close(listener); fixture_stop();)
