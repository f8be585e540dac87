// Row-level security as the server's own role sees it: no foreign row, none at all without an organisation, no way to write
// across, and a check that notices a table without a policy.
#include "server/base/arena.h"
#include "server/base/hash.h"
#include "server/base/str.h"
#include "server/base/test.h"
#include "server/queue/queue.h"
#include "server/store/account.h"
#include "server/store/blob.h"
#include "server/store/event.h"
#include "server/store/instance.h"
#include "server/store/migrate.h"
#include "tests/service/fixture_pg.h"
#include <libpq-fe.h>

static const char *orgs[2];

// One row in every tenant table of this organisation, made through the functions that the product uses.
static void populate(const char *org, int number)
{
    struct kf_store *store = fixture_app();
    struct kf_error err = {0};
    char id[KF_ID_TEXT], login[32], sql[400];
    int64_t expires;
    unsigned char hash[32];
    snprintf(login, sizeof login, "user%d", number);
    kf_sha256(login, strlen(login), hash);
    struct kf_account_new account = {.login = login, .display_name = "x", .role = "admin", .password_hash = "$argon2id$"};
    KF_REQUIRE(kf_store_account_add(store, org, &account, id, &err) == KF_OK);
    struct kf_session_new session = {.account_id = id, .csrf_token = "c", .lifetime_s = 60};
    memcpy(session.token_sha256, hash, 32);
    char other[KF_ID_TEXT];
    KF_CHECK_EQ(kf_store_session_add(store, org, &session, other, &expires, &err), KF_OK);
    KF_CHECK_EQ(kf_store_token_add(store, org, "t", "viewer", hash, id, 0, other, &err), KF_OK);
    struct kf_peer_new peer = {.name = "p", .ae_title = login, .may_store = 1};
    KF_CHECK_EQ(kf_store_peer_add(store, org, &peer, other, &err), KF_OK);
    struct kf_instance_new in = {.study_uid = "1", .series_uid = "1", .sop_uid = "1", .sop_class = "1",
                                 .transfer_syntax = "1", .source = "stow", .container = "c", .bytes = 1};
    memcpy(in.blob_sha256, hash, 32);
    memcpy(in.content_sha256, hash, 32);
    struct kf_instance_stored stored;
    KF_REQUIRE(kf_store_instance_receive(store, org, &in, &stored, &err) == KF_OK);
    struct kf_queue_input input = {.name = "in", .media_type = "x"};
    memcpy(input.sha256, hash, 32);
    struct kf_queue_job job = {.case_id = stored.case_id, .series_id = stored.series_id, .kind = "k", .version = 1,
                               .inputs = &input, .input_count = 1};
    struct kf_queued queued;
    KF_REQUIRE(kf_queue_add(store, org, &job, &queued, &err) == KF_OK);
    snprintf(sql, sizeof sql,
             "INSERT INTO kerf.artefact (id, organisation_id, case_id, job_id, key, name, kind, content_sha256, bytes, "
             "media_type) SELECT gen_random_uuid(), organisation_id, case_id, id, key, 'a', 'k', blob.sha256, 1, 'm' "
             "FROM kerf.job JOIN kerf.blob USING (organisation_id) WHERE organisation_id = '%s'", org);
    fixture_sql(sql);
    snprintf(sql, sizeof sql,
             "INSERT INTO kerf.level_statement (id, organisation_id, case_id, artefact_id, account_id, levels) "
             "SELECT gen_random_uuid(), organisation_id, a.case_id, a.id, c.id, '{}' "
             "FROM kerf.artefact a JOIN kerf.account c USING (organisation_id) WHERE organisation_id = '%s'", org);
    fixture_sql(sql);
    snprintf(sql, sizeof sql, "INSERT INTO kerf.idempotency (organisation_id, actor, key, request_sha256) "
                              "VALUES ('%s', 'a', 'k', '')", org);
    fixture_sql(sql);
}


// A plain connection with the server's own login and role, to run any SQL.
static PGconn *as_server(void)
{
    PGconn *c = PQconnectdb(fixture_server_url());
    PQclear(PQexec(c, "SET ROLE kerf_app"));
    return c;
}

static const char *one(PGconn *c, const char *sql)
{
    static char answer[512];
    PGresult *r = PQexec(c, sql);
    if (PQresultStatus(r) == PGRES_TUPLES_OK)
        snprintf(answer, sizeof answer, "%s", PQntuples(r) ? PQgetvalue(r, 0, 0) : "");
    else if (PQresultStatus(r) == PGRES_COMMAND_OK)
        snprintf(answer, sizeof answer, "done %s", PQcmdTuples(r));
    else
        snprintf(answer, sizeof answer, "error %s", PQresultErrorField(r, PG_DIAG_SQLSTATE));
    PQclear(r);
    return answer;
}

static void set_organisation(PGconn *c, const char *org)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT set_config('kerf.organisation', '%s', false)", org);
    one(c, sql);
}

static int tenant_tables(char names[][64], int most)
{
    PGconn *c = PQconnectdb(fixture_owner_url());
    PGresult *r = PQexec(c, "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
                            "WHERE c.relnamespace = 'kerf'::regnamespace AND c.relkind = 'r' "
                            "AND a.attname = 'organisation_id' ORDER BY 1");
    int n = PQntuples(r) < most ? PQntuples(r) : most;
    for (int i = 0; i < n; i++)
        kf_str_copy(names[i], 64, PQgetvalue(r, i, 0));
    PQclear(r);
    PQfinish(c);
    return n;
}

KF_TEST(no_table_shows_a_foreign_row_and_none_shows_any_without_an_organisation)
{
    char tables[64][64], sql[512];
    int n = tenant_tables(tables, 64);
    KF_CHECK(n >= 14);
    PGconn *c = as_server();
    for (int i = 0; i < n; i++) {
        for (int o = 0; o < 2; o++) {
            set_organisation(c, orgs[o]);
            snprintf(sql, sizeof sql, "SELECT count(*) FILTER (WHERE organisation_id <> '%s') || ' ' || (count(*) > 0) "
                                      "FROM kerf.%.63s", orgs[o], tables[i]);
            if (strcmp(one(c, sql), "0 true") != 0)
                fprintf(stderr, "table %s\n", tables[i]);
            KF_CHECK_STR(one(c, sql), "0 true");
        }
        set_organisation(c, "");
        snprintf(sql, sizeof sql, "SELECT count(*) FROM kerf.%.63s", tables[i]);
        KF_CHECK_STR(one(c, sql), "0");
    }
    set_organisation(c, orgs[0]);
    KF_CHECK_STR(one(c, "SELECT count(*) FROM kerf.organisation"), "1");
    set_organisation(c, "");
    KF_CHECK_STR(one(c, "SELECT count(*) FROM kerf.organisation"), "0");
    PQfinish(c);
}

KF_TEST(nothing_can_be_written_changed_or_linked_across)
{
    char sql[512];
    PGconn *c = as_server();
    set_organisation(c, orgs[0]);
    snprintf(sql, sizeof sql, "INSERT INTO kerf.cases (id, organisation_id) VALUES (gen_random_uuid(), '%s')", orgs[1]);
    KF_CHECK_STR(one(c, sql), "error 42501");
    snprintf(sql, sizeof sql, "UPDATE kerf.cases SET organisation_id = '%s'", orgs[1]);
    KF_CHECK_STR(one(c, sql), "error 42501");
    KF_CHECK_STR(one(c, "UPDATE kerf.cases SET title = 'mine'"), "done 1");
    snprintf(sql, sizeof sql, "UPDATE kerf.cases SET title = 'mine' WHERE organisation_id = '%s'", orgs[1]);
    KF_CHECK_STR(one(c, sql), "done 0");
    // A foreign key does not reach over either, though it is checked behind row-level security.
    char foreign[KF_ID_TEXT];
    snprintf(sql, sizeof sql, "SELECT id FROM kerf.cases WHERE organisation_id = '%s'", orgs[1]);
    kf_str_copy(foreign, sizeof foreign, fixture_sql(sql));
    snprintf(sql, sizeof sql, "INSERT INTO kerf.study (id, organisation_id, case_id, study_uid) "
                              "VALUES (gen_random_uuid(), '%s', '%s', 'x')", orgs[0], foreign);
    KF_CHECK_STR(one(c, sql), "error 23503");
    // Nor may one person's word hang on another organisation's spine, be changed, or be taken back.
    snprintf(sql, sizeof sql, "SELECT id FROM kerf.artefact WHERE organisation_id = '%s'", orgs[1]);
    kf_str_copy(foreign, sizeof foreign, fixture_sql(sql));
    snprintf(sql, sizeof sql,
             "INSERT INTO kerf.level_statement (id, organisation_id, case_id, artefact_id, account_id, levels) "
             "SELECT gen_random_uuid(), organisation_id, case_id, '%s', account_id, '{}' FROM kerf.level_statement",
             foreign);
    KF_CHECK_STR(one(c, sql), "error 23503");
    KF_CHECK_STR(one(c, "UPDATE kerf.level_statement SET levels = '{}'"), "error 42501");
    KF_CHECK_STR(one(c, "DELETE FROM kerf.level_statement"), "error 42501");
    KF_CHECK_STR(one(c, "TRUNCATE kerf.event"), "error 42501");
    KF_CHECK_STR(one(c, "DELETE FROM kerf.cases"), "error 42501");
    KF_CHECK_STR(one(c, "UPDATE kerf.blob SET container = 'x'"), "error 42501");
    KF_CHECK_STR(one(c, "UPDATE kerf.event SET kind = 'x'"), "error 42501");
    KF_CHECK_STR(one(c, "INSERT INTO kerf.schema_migration VALUES (99, 'x', '')"), "error 42501");
    KF_CHECK_STR(one(c, "INSERT INTO kerf.organisation (id, name) VALUES (gen_random_uuid(), 'x')"), "error 42501");
    KF_CHECK_STR(one(c, "CREATE TABLE kerf.x (n integer)"), "error 42501");
    KF_CHECK_STR(one(c, "ALTER TABLE kerf.cases DISABLE ROW LEVEL SECURITY"), "error 42501");
    PQfinish(c);
}

KF_TEST(functions_of_the_store_answer_not_found_across)
{
    struct kf_store *store = fixture_app();
    struct kf_error err = {0};
    char sql[256], foreign_case[KF_ID_TEXT], foreign_job[KF_ID_TEXT];
    snprintf(sql, sizeof sql, "SELECT id FROM kerf.cases WHERE organisation_id = '%s'", orgs[1]);
    kf_str_copy(foreign_case, sizeof foreign_case, fixture_sql(sql));
    snprintf(sql, sizeof sql, "SELECT id FROM kerf.job WHERE organisation_id = '%s'", orgs[1]);
    kf_str_copy(foreign_job, sizeof foreign_job, fixture_sql(sql));
    struct kf_blob_place place, gzip;
    unsigned char hash[32];
    kf_sha256("user1", 5, hash); // populate(orgs[1], 1)
    KF_CHECK_EQ(kf_store_blob_of_case(store, orgs[1], foreign_case, hash, &place, &gzip, &err), KF_OK);
    KF_CHECK_EQ(kf_store_blob_of_case(store, orgs[0], foreign_case, hash, &place, &gzip, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_queue_cancel(store, orgs[0], foreign_job, &err), KF_NOT_FOUND);
    struct kf_account_row row;
    KF_CHECK_EQ(kf_store_account_by_login(store, orgs[0], "user1", &row, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_store_account_by_login(store, orgs[1], "user1", &row, &err), KF_OK);
    KF_CHECK_EQ(kf_store_event_add(store, orgs[0], "not an id", "x", "{}", &err), KF_NOT_FOUND);
    // The organisation does not leak into the next call on the same connection.
    struct kf_arena arena = {0};
    struct kf_account_row *rows;
    size_t count;
    KF_CHECK_EQ(kf_store_account_list(store, orgs[0], NULL, 10, &arena, &rows, &count, &err), KF_OK);
    KF_CHECK_EQ(count, 1);
    KF_CHECK_STR(rows[0].login, "user0");
    kf_arena_release(&arena);
}

KF_TEST(unsafe_roles_are_refused)
{
    struct kf_store *store = NULL;
    struct kf_error err = {0};
    char url[512];
    fixture_sql("CREATE ROLE outsider LOGIN");
    fixture_sql("CREATE ROLE sneaky LOGIN BYPASSRLS");
    snprintf(url, sizeof url, "%s user=outsider", fixture_server_url());
    KF_CHECK_EQ(kf_store_open(&store, url, "t", KF_STORE_APP, &err), KF_FORBIDDEN);
    KF_CHECK_STR(err.code, "unsafe_role");
    KF_CHECK(store == NULL);
    // kerf_app itself made privileged by somebody.
    fixture_sql("ALTER ROLE kerf_app BYPASSRLS");
    KF_CHECK_EQ(kf_store_open(&store, fixture_server_url(), "t", KF_STORE_APP, &err), KF_FORBIDDEN);
    KF_CHECK_STR(err.code, "unsafe_role");
    KF_CHECK_EQ(kf_store_check_protection(fixture_owner(), &err), KF_INTERNAL);
    fixture_sql("ALTER ROLE kerf_app NOBYPASSRLS");
    KF_CHECK_EQ(kf_store_open(&store, fixture_server_url(), "t", KF_STORE_APP, &err), KF_OK);
    kf_store_close(store);
}

static enum kf_status check_login(const char *role)
{
    char url[512];
    struct kf_error err = {0};
    snprintf(url, sizeof url, "%s user=%s", fixture_server_url(), role);
    enum kf_status status = kf_store_check_login(url, &err);
    KF_CHECK_STR(err.code, status ? "unsafe_role" : "");
    return status;
}

KF_TEST(logins_that_could_see_more_are_told_from_others)
{
    struct kf_error err = {0};
    struct kf_store *store = NULL;
    char url[512];
    fixture_sql("CREATE ROLE plain LOGIN");
    fixture_sql("CREATE ROLE maker LOGIN CREATEROLE");
    fixture_sql("CREATE ROLE child LOGIN NOINHERIT IN ROLE maker");
    fixture_sql("CREATE ROLE passer LOGIN BYPASSRLS");
    KF_CHECK_EQ(check_login("plain"), KF_OK);
    KF_CHECK_EQ(check_login("maker"), KF_FORBIDDEN);
    KF_CHECK_EQ(check_login("child"), KF_FORBIDDEN);
    KF_CHECK_EQ(check_login("passer"), KF_FORBIDDEN);
    KF_CHECK_EQ(check_login("kerf_owner"), KF_FORBIDDEN);
    KF_CHECK_EQ(kf_store_check_login(fixture_server_url(), &err), KF_OK);
    // A plain one becomes kerf_app when the owner lets it, and only then; twice is once.
    snprintf(url, sizeof url, "%s user=plain", fixture_server_url());
    KF_CHECK_EQ(kf_store_open(&store, url, "t", KF_STORE_APP, &err), KF_FORBIDDEN);
    KF_CHECK_EQ(kf_store_admit_login(fixture_owner(), url, &err), KF_OK);
    KF_CHECK_EQ(kf_store_admit_login(fixture_owner(), url, &err), KF_OK);
    KF_REQUIRE(kf_store_open(&store, url, "t", KF_STORE_APP, &err) == KF_OK);
    kf_store_close(store);
    KF_CHECK_EQ(check_login("plain"), KF_OK);
    fixture_sql("CREATE TABLE kerf.ours (id integer)");
    fixture_sql("ALTER TABLE kerf.ours OWNER TO plain");
    KF_CHECK_EQ(check_login("plain"), KF_FORBIDDEN);
    fixture_sql("DROP TABLE kerf.ours");
    // A role without rights over others cannot let anybody in.
    struct kf_store *nobody = NULL;
    fixture_sql("CREATE ROLE other LOGIN");
    KF_REQUIRE(kf_store_open(&nobody, fixture_server_url(), "t", KF_STORE_OWNER, &err) == KF_OK);
    snprintf(url, sizeof url, "%s user=other", fixture_server_url());
    KF_CHECK_EQ(kf_store_admit_login(nobody, url, &err), KF_FORBIDDEN);
    KF_CHECK_STR(err.code, "not_granted");
    kf_store_close(nobody);
}

// Runs SQL as the owner on the fixture's connection, looks, and undoes it.
static enum kf_status check_after(const char *sql, struct kf_error *err)
{
    fixture_sql(sql);
    return kf_store_check_protection(fixture_owner(), err);
}

KF_TEST(a_table_without_a_policy_and_other_holes_are_noticed)
{
    struct kf_error err = {0};
    KF_CHECK_EQ(kf_store_check_protection(fixture_owner(), &err), KF_OK);
    KF_CHECK_EQ(check_after("CREATE TABLE kerf.hole (id integer, organisation_id uuid); "
                            "GRANT SELECT ON kerf.hole TO kerf_app", &err), KF_INTERNAL);
    KF_CHECK(strstr(err.detail, "hole"));
    KF_CHECK_EQ(check_after("ALTER TABLE kerf.hole ENABLE ROW LEVEL SECURITY", &err), KF_INTERNAL);
    KF_CHECK_EQ(check_after("CREATE POLICY p ON kerf.hole USING (true)", &err), KF_INTERNAL);
    KF_CHECK_EQ(check_after("DROP POLICY p ON kerf.hole; CREATE POLICY p ON kerf.hole "
                            "USING (organisation_id = kerf.organisation())", &err), KF_INTERNAL);
    KF_CHECK_EQ(check_after("DROP POLICY p ON kerf.hole; CREATE POLICY p ON kerf.hole "
                            "USING (organisation_id = kerf.organisation()) "
                            "WITH CHECK (organisation_id = kerf.organisation())", &err), KF_OK);
    KF_CHECK_EQ(check_after("CREATE POLICY wide ON kerf.hole FOR SELECT USING (true)", &err), KF_INTERNAL);
    KF_CHECK_EQ(check_after("DROP TABLE kerf.hole; CREATE VIEW kerf.peep AS SELECT * FROM kerf.cases; "
                            "GRANT SELECT ON kerf.peep TO kerf_app", &err), KF_INTERNAL);
    KF_CHECK_EQ(check_after("DROP VIEW kerf.peep; GRANT TRUNCATE ON kerf.event TO kerf_app", &err), KF_INTERNAL);
    KF_CHECK_EQ(check_after("REVOKE TRUNCATE ON kerf.event FROM kerf_app; "
                            "CREATE FUNCTION kerf.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; "
                            "REVOKE EXECUTE ON FUNCTION kerf.f() FROM PUBLIC", &err), KF_INTERNAL);
    KF_CHECK_EQ(check_after("ALTER FUNCTION kerf.f() SET search_path = kerf, pg_temp", &err), KF_OK);
    KF_CHECK_EQ(check_after("GRANT EXECUTE ON FUNCTION kerf.f() TO PUBLIC", &err), KF_INTERNAL);
    KF_CHECK_EQ(check_after("DROP FUNCTION kerf.f()", &err), KF_OK);
}

static void prepare(void)
{
    for (int i = 0; i < 2; i++) {
        orgs[i] = fixture_organisation(i ? "Two" : "One");
        populate(orgs[i], i);
    }
}

KF_TEST_MAIN(prepare(); KF_RUN(no_table_shows_a_foreign_row_and_none_shows_any_without_an_organisation);
             KF_RUN(nothing_can_be_written_changed_or_linked_across);
             KF_RUN(functions_of_the_store_answer_not_found_across); KF_RUN(unsafe_roles_are_refused);
             KF_RUN(logins_that_could_see_more_are_told_from_others);
             KF_RUN(a_table_without_a_policy_and_other_holes_are_noticed); fixture_stop();)
