#include "tests/service/fixture_pg.h"

#include "server/base/process.h"
#include "server/pgembed/pgembed.h"
#include "server/store/migrate.h"
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct kf_pgembed *pg;
static struct kf_store *owner, *app;
static char folder[64];
static int durable;

static void must(enum kf_status status, const struct kf_error *err, const char *what)
{
    if (!status)
        return;
    fprintf(stderr, "fixture: %s: %s: %s\n", what, err->code, err->detail);
    exit(1);
}

const char *fixture_folder(void)
{
    if (!*folder) {
        strcpy(folder, "/tmp/kerf-test-XXXXXX");
        if (!mkdtemp(folder) || chmod(folder, 0755)) {
            perror("mkdtemp");
            exit(1);
        }
    }
    return folder;
}

void fixture_durable(void)
{
    durable = 1;
}

static void start(void)
{
    if (pg)
        return;
    char path[128];
    snprintf(path, sizeof path, "%s/pg", fixture_folder());
    struct kf_error err;
    struct kf_pgembed_options options = {.directory = path, .fast_and_unsafe = !durable};
    enum kf_status status = kf_pgembed_start(&options, &pg, &err);
    if (status == KF_UNAVAILABLE) {
        printf("skip: %s\n", err.detail);
        exit(77);
    }
    must(status, &err, "starting PostgreSQL");
}

const char *fixture_owner_url(void)
{
    start();
    return kf_pgembed_owner_url(pg);
}

struct kf_store *fixture_owner(void)
{
    if (owner)
        return owner;
    struct kf_error err;
    struct kf_migrate_report report;
    must(kf_store_open(&owner, fixture_owner_url(), "test-owner", KF_STORE_OWNER, &err), &err, "connecting");
    must(kf_store_migrate(owner, NULL, &report, &err), &err, "migrating");
    must(kf_pgembed_grant_server(pg, &err), &err, "making the server's login");
    return owner;
}

const char *fixture_server_url(void)
{
    fixture_owner();
    return kf_pgembed_server_url(pg);
}

struct kf_store *fixture_new_app(void)
{
    struct kf_error err;
    struct kf_store *store;
    must(kf_store_open(&store, fixture_server_url(), "test-app", KF_STORE_APP, &err), &err, "connecting as the server");
    return store;
}

struct kf_store *fixture_app(void)
{
    if (!app)
        app = fixture_new_app();
    return app;
}

const char *fixture_sql(const char *sql)
{
    static char answer[65536];
    PGconn *connection = PQconnectdb(fixture_owner_url());
    PGresult *result = PQexec(connection, sql);
    ExecStatusType state = PQresultStatus(result);
    if (state != PGRES_COMMAND_OK && state != PGRES_TUPLES_OK) {
        fprintf(stderr, "fixture: %s\n%s", sql, PQerrorMessage(connection));
        exit(1);
    }
    snprintf(answer, sizeof answer, "%s", PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(connection);
    return answer;
}

const char *fixture_organisation(const char *name)
{
    static char ids[64][KF_ID_TEXT];
    static int count;
    if (count == 64)
        abort();
    fixture_owner();
    char *id = ids[count++], sql[256];
    kf_id_new(id);
    snprintf(sql, sizeof sql, "INSERT INTO kerf.organisation (id, name) VALUES ('%s', '%s')", id, name);
    fixture_sql(sql);
    return id;
}

const char *fixture_empty_database(void)
{
    static int count;
    static char url[512];
    char sql[64], name[32];
    snprintf(name, sizeof name, "empty%d", ++count);
    snprintf(sql, sizeof sql, "CREATE DATABASE %s", name);
    fixture_sql(sql);
    // In a keyword string a later dbname wins.
    snprintf(url, sizeof url, "%s dbname=%s", fixture_owner_url(), name);
    return url;
}

void fixture_kill_postgres(void)
{
    kill(kf_pgembed_pid(pg), SIGKILL);
    for (int i = 0; i < 3000 && kf_pgembed_alive(pg); i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
}

void fixture_restart_postgres(void)
{
    struct kf_error err;
    must(kf_pgembed_restart(pg, &err), &err, "restarting PostgreSQL");
}

void fixture_stop(void)
{
    kf_store_close(app);
    kf_store_close(owner);
    app = owner = NULL;
    if (pg)
        kf_pgembed_stop(pg);
    pg = NULL;
    if (*folder) {
        char nothing[8];
        const char *const argv[] = {"rm", "-rf", folder, NULL};
        struct kf_error err;
        if (kf_process_output(argv, NULL, nothing, sizeof nothing, 20000, &err))
            fprintf(stderr, "fixture: %s\n", err.detail);
    }
    *folder = 0;
}
