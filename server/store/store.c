// Connecting, the role, transactions, notifications. See row.c for how queries run.
#include "server/store/connection.h"

#include "server/base/fault.h"
#include "server/base/log.h"
#include "server/base/str.h"
#include "server/store/migrate.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 1000 // the least time in which the listening connection must show that it lives

// Durability and limits do not depend on how somebody has set up the database or the role.
static const char session_setup[] =
    "SET synchronous_commit = on; SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '120s'; "
    "SET client_min_messages = warning; SET timezone = 'UTC'; SET bytea_output = hex; SET search_path = pg_catalog; "
    "SET default_transaction_isolation = 'read committed'";

static enum kf_status run_simple(struct kf_store *store, const char *sql, struct kf_error *err)
{
    PGresult *result = PQexec(store->connection, sql);
    ExecStatusType state = PQresultStatus(result);
    enum kf_status status = KF_OK;
    if (state != PGRES_COMMAND_OK && state != PGRES_TUPLES_OK)
        status = kf_connection_error(store, result, err);
    PQclear(result);
    return status;
}

// Row-level security is void for a superuser, for BYPASSRLS and for whoever owns the tables.
static enum kf_status check_role(struct kf_store *store, struct kf_error *err)
{
    static const char question[] =
        "SELECT r.rolsuper OR r.rolbypassrls OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = 'kerf' AND pg_has_role(r.oid, c.relowner, 'MEMBER')), "
        "s.rolsuper OR s.rolbypassrls FROM pg_roles r, pg_roles s "
        "WHERE r.rolname = current_user AND s.rolname = session_user";
    PGresult *result = PQexec(store->connection, question);
    enum kf_status status = KF_OK;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        status = kf_connection_error(store, result, err);
    else if (*PQgetvalue(result, 0, 0) == 't')
        status = kf_error_set(err, KF_FORBIDDEN, "unsafe_role",
                              "The database role may see past row-level security: use a role that owns nothing, is no "
                              "superuser and has no BYPASSRLS.");
    else if (*PQgetvalue(result, 0, 1) == 't')
        kf_log(KF_LOG_WARN, "database.login_is_superuser", "application=%s", store->application);
    PQclear(result);
    return status;
}

static enum kf_status become_app(struct kf_store *store, struct kf_error *err)
{
    PGresult *result = PQexec(store->connection, "SET ROLE kerf_app");
    enum kf_status status = KF_OK;
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        if (state && strcmp(state, "22023") == 0)
            status = kf_error_set(err, KF_UNAVAILABLE, "not_migrated",
                                  "The database has no role kerf_app yet: run `kerf migrate`.");
        else if (state && strcmp(state, "42501") == 0)
            status = kf_error_set(err, KF_FORBIDDEN, "unsafe_role",
                                  "The login may not become kerf_app: GRANT kerf_app TO it.");
        else
            status = kf_connection_error(store, result, err);
    }
    PQclear(result);
    return status ? status : check_role(store, err);
}

static void no_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

enum kf_status kf_connection_need(struct kf_store *store, struct kf_error *err)
{
    if (store->connection && PQstatus(store->connection) == CONNECTION_OK)
        return KF_OK;
    if (store->transaction == KF_TX_OPEN || store->transaction == KF_TX_LOST) {
        store->transaction = KF_TX_LOST;
        return kf_error_set(err, KF_DB, NULL, "The database connection was lost within a transaction.");
    }
    kf_connection_drop(store);
    const char *const keywords[] = {"dbname", "application_name", "connect_timeout", "tcp_user_timeout", NULL};
    const char *const values[] = {store->url, store->application, "10", "30000", NULL};
    store->connection = PQconnectdbParams(keywords, values, 1);
    if (!store->connection)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a database connection.");
    PQsetNoticeProcessor(store->connection, no_notice, NULL);
    enum kf_status status = KF_OK;
    if (PQstatus(store->connection) != CONNECTION_OK)
        status = kf_error_set(err, KF_DB, NULL, "The database cannot be reached.");
    else if (PQserverVersion(store->connection) < 150000)
        status = kf_error_set(err, KF_UNAVAILABLE, "postgres_too_old", "PostgreSQL 15 or newer is needed.");
    if (!status)
        status = run_simple(store, session_setup, err);
    if (!status && store->role == KF_STORE_APP)
        status = become_app(store, err);
    if (status)
        kf_connection_drop(store);
    return status;
}

void kf_connection_drop(struct kf_store *store)
{
    PQfinish(store->connection);
    store->connection = NULL;
    memset(store->prepared, 0, sizeof store->prepared);
    store->prepared_count = 0;
    store->deaf |= store->listening[0] != 0;
    store->listening[0] = 0;
    store->asked = 0;
    if (store->transaction == KF_TX_OPEN)
        store->transaction = KF_TX_LOST;
}

enum kf_status kf_store_new(struct kf_store **out, const char *url, const char *application, enum kf_store_role role,
                            struct kf_error *err)
{
    struct kf_store *store = *out = calloc(1, sizeof *store);
    if (store)
        store->url = strdup(url);
    if (!store || !store->url) {
        free(store);
        *out = NULL;
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a database connection.");
    }
    kf_str_copy(store->application, sizeof store->application, application);
    store->role = role;
    return KF_OK;
}

enum kf_status kf_store_open(struct kf_store **out, const char *url, const char *application, enum kf_store_role role,
                             struct kf_error *err)
{
    enum kf_status status = kf_store_new(out, url, application, role, err);
    if (!status)
        status = kf_connection_need(*out, err);
    if (status) {
        kf_store_close(*out);
        *out = NULL;
    }
    return status;
}

void kf_store_close(struct kf_store *store)
{
    if (!store)
        return;
    kf_connection_drop(store);
    free(store->url);
    free(store);
}

enum kf_status kf_store_begin(struct kf_store *store, const char *organisation, struct kf_error *err)
{
    if (store->transaction != KF_TX_NONE)
        return kf_error_set(err, KF_INTERNAL, "nested_transaction", "A transaction is open already.");
    if (organisation && !kf_id_valid(organisation))
        return kf_error_set(err, KF_NOT_FOUND, NULL, "There is no such organisation.");
    if (!organisation && store->role != KF_STORE_OWNER)
        return kf_error_set(err, KF_INTERNAL, "no_organisation", "A transaction needs an organisation.");
    kf_str_copy(store->organisation, sizeof store->organisation, organisation ? organisation : "");
    store->transaction = KF_TX_PENDING;
    return KF_OK;
}

int kf_store_in_transaction(const struct kf_store *store)
{
    return store->transaction != KF_TX_NONE;
}

enum kf_status kf_store_commit(struct kf_store *store, struct kf_error *err)
{
    enum kf_transaction was = store->transaction;
    store->transaction = KF_TX_NONE;
    if (was == KF_TX_PENDING)
        return KF_OK;
    if (was != KF_TX_OPEN)
        return kf_error_set(err, KF_DB, NULL, "The database connection was lost within a transaction.");
    if (kf_fault(KF_FAULT_DB)) {
        kf_connection_drop(store);
        return kf_error_set(err, KF_DB, NULL, "The database connection was lost before the commit (injected).");
    }
    if (kf_fault(KF_FAULT_COMMIT)) {
        PQsendQuery(store->connection, "COMMIT");
        PQflush(store->connection);
        kf_connection_drop(store);
        return kf_error_set(err, KF_DB, NULL, "The database connection was lost at the commit (injected).");
    }
    PGresult *result = PQexec(store->connection, "COMMIT");
    enum kf_status status = KF_OK;
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        status = kf_connection_error(store, result, err);
    else if (strcmp(PQcmdStatus(result), "COMMIT") != 0) // a failed transaction answers ROLLBACK
        status = kf_error_set(err, KF_INTERNAL, "commit_of_failed", "A failed transaction was to be committed.");
    PQclear(result);
    return status;
}

void kf_store_rollback(struct kf_store *store)
{
    enum kf_transaction was = store->transaction;
    store->transaction = KF_TX_NONE;
    if (was != KF_TX_OPEN)
        return;
    struct kf_error ignored;
    if (run_simple(store, "ROLLBACK", &ignored))
        kf_connection_drop(store);
}

enum kf_status kf_store_ping(struct kf_store *store, struct kf_error *err)
{
    static const struct kf_query ping = {"ping", "SELECT coalesce(max(version), 0) FROM kerf.schema_migration"};
    struct kf_args none = {0};
    struct kf_rows rows;
    struct kf_error own = {0};
    struct kf_error *to = err ? err : &own;
    enum kf_status status = kf_run(store, NULL, &ping, &none, KF_RUN_READ, &rows, to);
    // The cluster may know kerf_app from another database while this one is empty.
    if (status == KF_INTERNAL && strcmp(to->code, "no_table") == 0)
        return kf_error_set(err, KF_UNAVAILABLE, "not_migrated", "The database has no schema yet: run `kerf migrate`.");
    if (status)
        return status;
    int64_t version = kf_row_integer(&rows, 0, 0);
    kf_rows_release(&rows);
    int64_t known = 0;
    for (const struct kf_migration *m = kf_migrations; m->version; m++)
        known = m->version;
    if (version < known)
        return kf_error_set(err, KF_UNAVAILABLE, "not_migrated",
                            "The database is at version %d, this program needs %d: run `kerf migrate`.", (int)version,
                            (int)known);
    return KF_OK;
}

int kf_store_fd(const struct kf_store *store)
{
    return store->connection ? PQsocket(store->connection) : -1;
}

static enum kf_status listen_on(struct kf_store *store, const char *channel, struct kf_error *err)
{
    enum kf_status status = kf_connection_need(store, err);
    if (status || strcmp(store->listening, channel) == 0)
        return status;
    char *name = PQescapeIdentifier(store->connection, channel, strlen(channel));
    char sql[128];
    snprintf(sql, sizeof sql, "LISTEN %s", name ? name : "");
    PQfreemem(name);
    status = run_simple(store, sql, err);
    if (status)
        kf_connection_drop(store);
    else
        kf_str_copy(store->listening, sizeof store->listening, channel);
    return status;
}

static int hand_over(struct kf_store *store, void (*notified)(void *to, const char *payload), void *to)
{
    int count = 0;
    for (PGnotify *note; (note = PQnotifies(store->connection)) != NULL; count++) {
        notified(to, note->extra);
        PQfreemem(note);
    }
    return count;
}

// What has come so far: whether the empty query was answered, and the notifications (counted).
static enum kf_status take_arrived(struct kf_store *store, void (*notified)(void *to, const char *payload), void *to,
                                   int *count, struct kf_error *err)
{
    if (!PQconsumeInput(store->connection) || PQstatus(store->connection) != CONNECTION_OK) {
        kf_connection_drop(store);
        return kf_error_set(err, KF_DB, NULL, "The database connection was lost while waiting.");
    }
    while (store->asked && !PQisBusy(store->connection)) {
        PGresult *result = PQgetResult(store->connection);
        int lost = result && PQresultStatus(result) != PGRES_EMPTY_QUERY;
        store->asked = result != NULL;
        PQclear(result);
        if (lost) {
            kf_connection_drop(store);
            return kf_error_set(err, KF_DB, NULL, "The database ended the connection that listens.");
        }
    }
    *count += hand_over(store, notified, to);
    return KF_OK;
}

static enum kf_status wait_for(struct kf_store *store, const char *channel, int timeout_ms,
                               void (*notified)(void *to, const char *payload), void *to, struct kf_error *err)
{
    enum kf_status status = listen_on(store, channel, err);
    if (status)
        return status;
    if (store->deaf)
        return kf_error_set(err, KF_DB, NULL, "The connection that listened was lost for a while.");
    store->asked = PQsendQuery(store->connection, "") == 1;
    if (!store->asked) {
        kf_connection_drop(store);
        return kf_error_set(err, KF_DB, NULL, "The database connection was lost while waiting.");
    }
    int64_t start = kf_time_monotonic_ns(), deadline = start + (int64_t)timeout_ms * 1000000;
    int64_t patience = start + (int64_t)(timeout_ms > ANSWER_MS ? timeout_ms : ANSWER_MS) * 1000000;
    int count = hand_over(store, notified, to);
    for (;;) {
        int64_t left_ms = ((store->asked ? patience : deadline) - kf_time_monotonic_ns()) / 1000000;
        struct pollfd ready = {.fd = PQsocket(store->connection), .events = POLLIN};
        int n = poll(&ready, 1, left_ms > 0 ? (int)left_ms : 0);
        if (n < 0 && errno != EINTR) {
            status = kf_error_errno(err, errno, "Waiting for the database");
            kf_connection_drop(store);
            return status;
        }
        if ((status = take_arrived(store, notified, to, &count, err)) != KF_OK)
            return status;
        if (store->asked && n <= 0 && left_ms <= 0) {
            kf_connection_drop(store);
            return kf_error_set(err, KF_DB, NULL, "The database does not answer on the connection that listens.");
        }
        // A signal interrupts: the caller looks around.
        if (!store->asked && (count || n < 0 || left_ms <= 0))
            return KF_OK;
    }
}

enum kf_status kf_store_wait(struct kf_store *store, const char *channel, int timeout_ms,
                             void (*notified)(void *to, const char *payload), void *to, struct kf_error *err)
{
    enum kf_status status = wait_for(store, channel, timeout_ms, notified, to, err);
    if (status)
        store->deaf = 0; // now it was said
    return status;
}
