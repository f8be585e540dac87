// Running a query: prepare on first use, organisation and query in one round trip, errors without values of rows.
#include "server/store/row.h"

#include "server/base/fault.h"
#include "server/base/str.h"
#include "server/store/connection.h"
#include <inttypes.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ------------------------------------------------------------------------------------------------ arguments
static int next_argument(struct kf_args *args)
{
    if (args->count >= KF_ARGS_MOST)
        abort(); // a query of ours has more than forty parameters
    return args->count++;
}

void kf_args_text(struct kf_args *args, const char *text)
{
    int i = next_argument(args);
    args->values[i] = text;
    args->formats[i] = 0;
}

void kf_args_string(struct kf_args *args, const char *text)
{
    kf_args_text(args, text ? text : "");
}

void kf_args_integer(struct kf_args *args, int64_t value)
{
    int i = next_argument(args);
    snprintf(args->numbers[i], sizeof args->numbers[i], "%" PRId64, value);
    args->values[i] = args->numbers[i];
    args->formats[i] = 0;
}

void kf_args_number(struct kf_args *args, double value)
{
    int i = next_argument(args);
    snprintf(args->numbers[i], sizeof args->numbers[i], "%.17g", value);
    args->values[i] = args->numbers[i];
    args->formats[i] = 0;
}

void kf_args_flag(struct kf_args *args, int value)
{
    kf_args_text(args, value ? "t" : "f");
}

void kf_args_bytes(struct kf_args *args, const void *bytes, size_t length)
{
    int i = next_argument(args);
    if (length > INT32_MAX / 2)
        abort(); // callers limit what goes into a row long before
    args->values[i] = bytes ? bytes : NULL;
    args->lengths[i] = (int)length;
    args->formats[i] = 1;
}

// ------------------------------------------------------------------------------------------------ errors
struct state_row {
    const char *prefix;
    enum kf_status status;
    const char *code;
};

// The first row whose prefix fits decides. PostgreSQL manual, appendix A.
static const struct state_row states[] = {
    {"08", KF_DB, NULL},
    {"57P", KF_DB, NULL}, // shut down, crashed, starting up
    {"53300", KF_DB, NULL},
    {"53100", KF_NOSPACE, NULL},
    {"53200", KF_NOMEM, NULL},
    {"58", KF_IO, "database_io"},
    {"57014", KF_TIMEOUT, "statement_timeout"},
    {"55P03", KF_TIMEOUT, "lock_timeout"},
    {"40", KF_UNAVAILABLE, "serialization"},
    {"26000", KF_UNAVAILABLE, "plan_gone"},
    {"0A000", KF_UNAVAILABLE, "plan_changed"},
    {"23505", KF_CONFLICT, NULL}, // the constraint is the code
    {"23503", KF_CONFLICT, NULL},
    {"23", KF_INVALID, NULL},
    {"22", KF_INVALID, "bad_value"},
    {"42501", KF_FORBIDDEN, "row_security"},
    {"KF001", KF_STALE, NULL},
    {"KF403", KF_FORBIDDEN, NULL},
    {"KF404", KF_NOT_FOUND, NULL},
    {"KF409", KF_CONFLICT, NULL},
    {"KF412", KF_PRECONDITION_FAILED, NULL},
};

static const struct state_row *find_state(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (strncmp(states[i].prefix, sqlstate, strlen(states[i].prefix)) == 0)
            return &states[i];
    return NULL;
}

enum kf_status kf_connection_error(struct kf_store *store, const PGresult *result, struct kf_error *err)
{
    const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (!sqlstate) {
        kf_connection_drop(store);
        return kf_error_set(err, KF_DB, NULL, "The database connection was lost.");
    }
    const struct state_row *row = find_state(sqlstate);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (!row) {
        // Class 42 and the like name things of ours (tables, columns), never values.
        int ours = strncmp(sqlstate, "42", 2) == 0;
        const char *code = strcmp(sqlstate, "42P01") == 0 ? "no_table" : "sql";
        return kf_error_set(err, KF_INTERNAL, code, "Database error %s%s%s.", sqlstate, ours && message ? ": " : "",
                            ours && message ? message : "");
    }
    if (row->status == KF_DB || strncmp(sqlstate, "26", 2) == 0 || strncmp(sqlstate, "0A", 2) == 0)
        kf_connection_drop(store);
    if (sqlstate[0] == 'K') // raised by the schema itself: the message is the code
        return kf_error_set(err, row->status, message, "The database refused: %s.", message ? message : sqlstate);
    return kf_error_set(err, row->status, row->code ? row->code : constraint, "Database error %s%s%s.", sqlstate,
                        constraint ? " at " : "", constraint ? constraint : "");
}

// ------------------------------------------------------------------------------------------------ running
static const struct kf_query begin_transaction = {"begin", "BEGIN"};
static const struct kf_query set_organisation = {"organisation", "SELECT set_config('kerf.organisation', $1, true)"};

static const struct kf_query **prepared_slot(struct kf_store *store, const struct kf_query *query)
{
    size_t at = ((uintptr_t)query >> 4) * 0x9E3779B97F4A7C15u >> 40;
    for (size_t i = 0;; i++) {
        const struct kf_query **slot = &store->prepared[(at + i) & (KF_PREPARED_SLOTS - 1)];
        if (!*slot || *slot == query)
            return slot;
    }
}

// One message of the pipeline and what its result means.
struct step {
    const struct kf_query *query;
    int preparing;
};

struct batch {
    struct step steps[8];
    int count;
};

static int send_step(struct kf_store *store, struct batch *batch, const struct kf_query *query,
                     const struct kf_args *args)
{
    if (!*prepared_slot(store, query)) {
        if (!PQsendPrepare(store->connection, query->name, query->sql, 0, NULL))
            return 0;
        batch->steps[batch->count++] = (struct step){query, 1};
    }
    static const struct kf_args none;
    const struct kf_args *a = args ? args : &none;
    batch->steps[batch->count++] = (struct step){query, 0};
    return PQsendQueryPrepared(store->connection, query->name, a->count, a->values, a->lengths, a->formats, 0);
}

// The server begins to work on what was sent while `ready` makes something durable that the commit is to wait for.
static enum kf_status wait_until_ready(struct kf_store *store, struct kf_error *err)
{
    if (!store->ready)
        return KF_OK;
    if (!PQsendFlushRequest(store->connection) || PQflush(store->connection) < 0)
        return kf_error_set(err, KF_DB, NULL, "The database connection was lost.");
    return store->ready(store->ready_context, err);
}

static int send_batch(struct kf_store *store, struct batch *batch, const char *organisation,
                      const struct kf_query *query, const struct kf_args *args)
{
    int begin = store->transaction == KF_TX_PENDING;
    if (begin && !send_step(store, batch, &begin_transaction, NULL))
        return 0;
    const char *scope = begin ? store->organisation : "";
    if (store->transaction == KF_TX_NONE && organisation)
        scope = organisation;
    if (*scope) {
        struct kf_args who = {0};
        kf_args_text(&who, scope);
        if (!send_step(store, batch, &set_organisation, &who))
            return 0;
    }
    return send_step(store, batch, query, args);
}

static void remember(struct kf_store *store, const struct kf_query *query)
{
    const struct kf_query **slot = prepared_slot(store, query);
    if (*slot)
        return;
    if (++store->prepared_count > KF_PREPARED_SLOTS / 2)
        abort(); // more queries than this folder has
    *slot = query;
}

// Takes the results of a batch. The last step's goes to *last (owned); the first failure to *status.
static void take_results(struct kf_store *store, const struct batch *batch, PGresult **last, enum kf_status *status,
                         struct kf_error *err)
{
    for (int i = 0; i < batch->count; i++) {
        PGresult *result = PQgetResult(store->connection);
        ExecStatusType state = PQresultStatus(result);
        int good = state == PGRES_COMMAND_OK || state == PGRES_TUPLES_OK;
        if (good && batch->steps[i].preparing)
            remember(store, batch->steps[i].query);
        if (!good && !*status) {
            *status = kf_connection_error(store, result, err);
            if (!store->connection) {
                PQclear(result);
                return;
            }
        }
        if (i == batch->count - 1 && good && !*status)
            *last = result;
        else
            PQclear(result);
        PGresult *end = PQgetResult(store->connection); // NULL after each command
        PQclear(end);
    }
    PGresult *sync = PQgetResult(store->connection);
    // A deferred failure (a constraint at commit, a lost connection) shows here.
    if (PQresultStatus(sync) != PGRES_PIPELINE_SYNC && !*status)
        *status = kf_connection_error(store, sync, err);
    PQclear(sync);
}

// A connection that sat idle over a restart of the database is at its end before anything is sent: then it is safe to
// connect again whatever the query does.
static void drop_if_ended(struct kf_store *store)
{
    if (!store->connection || store->transaction == KF_TX_OPEN)
        return;
    struct pollfd socket = {.fd = PQsocket(store->connection), .events = POLLIN};
    // A last message of the server may come before the end of the stream.
    for (int i = 0; i < 8 && poll(&socket, 1, 0) > 0; i++)
        if (!PQconsumeInput(store->connection) || PQstatus(store->connection) != CONNECTION_OK) {
            kf_connection_drop(store);
            return;
        }
}

static enum kf_status run_once(struct kf_store *store, const char *organisation, const struct kf_query *query,
                               const struct kf_args *args, unsigned flags, PGresult **result, struct kf_error *err)
{
    enum kf_status status = kf_connection_need(store, err);
    if (status)
        return status;
    if (kf_fault(KF_FAULT_DB)) {
        kf_connection_drop(store);
        return kf_error_set(err, KF_DB, "injected", "The database connection was lost (injected).");
    }
    struct batch batch = {.count = 0};
    if (!PQenterPipelineMode(store->connection) || !send_batch(store, &batch, organisation, query, args)) {
        kf_connection_drop(store);
        return kf_error_set(err, KF_DB, NULL, "The database connection was lost.");
    }
    status = wait_until_ready(store, err);
    if (!status && !PQpipelineSync(store->connection))
        status = kf_error_set(err, KF_DB, NULL, "The database connection was lost.");
    if (status) {
        kf_connection_drop(store); // without its Sync message nothing of the batch is ever committed
        return status;
    }
    if (store->transaction == KF_TX_PENDING)
        store->transaction = KF_TX_OPEN;
    if (store->transaction == KF_TX_NONE && (flags & KF_RUN_WRITE) && kf_fault(KF_FAULT_COMMIT)) {
        kf_connection_drop(store);
        return kf_error_set(err, KF_DB, "injected", "The database connection was lost at the commit (injected).");
    }
    take_results(store, &batch, result, &status, err);
    if (store->connection && !PQexitPipelineMode(store->connection)) {
        kf_connection_drop(store);
        if (!status)
            status = kf_error_set(err, KF_DB, NULL, "The database connection was lost.");
    }
    if (status) {
        PQclear(*result);
        *result = NULL;
    }
    return status;
}

enum kf_status kf_run(struct kf_store *store, const char *organisation, const struct kf_query *query,
                      const struct kf_args *args, unsigned flags, struct kf_rows *rows, struct kf_error *err)
{
    if (rows)
        *rows = (struct kf_rows){0};
    if (organisation && !kf_id_valid(organisation))
        return kf_not_found(err, "organisation");
    if (organisation && store->transaction != KF_TX_NONE && strcmp(organisation, store->organisation) != 0)
        return kf_error_set(err, KF_INTERNAL, "other_organisation", "The transaction works for another organisation.");
    struct kf_error local;
    if (!err)
        err = &local;
    // What only reads may be tried again, and so may the first query of a transaction: nothing of it was committed.
    enum kf_transaction was = store->transaction;
    int again = was == KF_TX_PENDING || (was == KF_TX_NONE && (flags & KF_RUN_READ));
    if (flags & KF_RUN_WRITE)
        drop_if_ended(store);
    again = again && store->connection != NULL;
    PGresult *result = NULL;
    enum kf_status status = run_once(store, organisation, query, args, flags, &result, err);
    if (status == KF_DB && again && strcmp(err->code, "injected") != 0) {
        store->transaction = was;
        status = run_once(store, organisation, query, args, flags, &result, err);
    }
    if (!status && rows) {
        rows->result = result;
        rows->count = PQntuples(result);
        rows->changed = atoi(PQcmdTuples(result));
    } else {
        PQclear(result);
    }
    return status;
}

enum kf_status kf_run_script(struct kf_store *store, const char *sql, struct kf_error *err)
{
    enum kf_status status = kf_connection_need(store, err);
    if (status)
        return status;
    if (store->transaction == KF_TX_PENDING) {
        PGresult *begun = PQexec(store->connection, "BEGIN");
        if (PQresultStatus(begun) != PGRES_COMMAND_OK)
            status = kf_connection_error(store, begun, err);
        PQclear(begun);
        if (status)
            return status;
        store->transaction = KF_TX_OPEN;
    }
    PGresult *result = PQexec(store->connection, sql);
    ExecStatusType state = PQresultStatus(result);
    if (state != PGRES_COMMAND_OK && state != PGRES_TUPLES_OK)
        status = kf_connection_error(store, result, err);
    PQclear(result);
    return status;
}

// ------------------------------------------------------------------------------------------------ rows
void kf_rows_release(struct kf_rows *rows)
{
    PQclear(rows->result);
    *rows = (struct kf_rows){0};
}

const char *kf_row_text(const struct kf_rows *rows, int row, int column)
{
    return PQgetvalue(rows->result, row, column);
}

int kf_row_null(const struct kf_rows *rows, int row, int column)
{
    return PQgetisnull(rows->result, row, column);
}

int64_t kf_row_integer(const struct kf_rows *rows, int row, int column)
{
    return strtoll(kf_row_text(rows, row, column), NULL, 10);
}

double kf_row_number(const struct kf_rows *rows, int row, int column)
{
    return strtod(kf_row_text(rows, row, column), NULL);
}

int kf_row_flag(const struct kf_rows *rows, int row, int column)
{
    return *kf_row_text(rows, row, column) == 't';
}

void kf_row_copy(const struct kf_rows *rows, int row, int column, char *to, size_t size)
{
    kf_str_copy(to, size, kf_row_text(rows, row, column));
}

void kf_row_hash(const struct kf_rows *rows, int row, int column, unsigned char digest[32])
{
    const char *text = kf_row_text(rows, row, column); // \x and hex digits
    if (strncmp(text, "\\x", 2) != 0 || kf_hex_decode(digest, 32, text + 2))
        memset(digest, 0, 32);
}

unsigned char *kf_row_bytes(const struct kf_rows *rows, int row, int column, struct kf_arena *arena, size_t *length)
{
    const char *text = kf_row_text(rows, row, column);
    size_t n = strncmp(text, "\\x", 2) == 0 ? strlen(text + 2) / 2 : 0;
    unsigned char *bytes = kf_arena_alloc(arena, n + 1);
    *length = 0;
    if (bytes && n && kf_hex_decode(bytes, n, text + 2))
        return NULL;
    *length = n;
    return bytes;
}

json_t *kf_row_json(const struct kf_rows *rows, int row, int column)
{
    if (kf_row_null(rows, row, column))
        return NULL;
    const char *text = kf_row_text(rows, row, column);
    return json_loadb(text, strlen(text), JSON_DECODE_ANY, NULL);
}

enum kf_status kf_not_found(struct kf_error *err, const char *what)
{
    return kf_error_set(err, KF_NOT_FOUND, NULL, "There is no such %s.", what);
}

enum kf_status kf_ids_check(struct kf_error *err, const char *first, const char *second)
{
    if ((first && !kf_id_valid(first)) || (second && !kf_id_valid(second)))
        return kf_error_set(err, KF_NOT_FOUND, NULL, "There is nothing with this id.");
    return KF_OK;
}
