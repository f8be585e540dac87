// For the files of server/store only: how a query is written, run and read.
//
//   static const struct kf_query find = {"thing_find", "SELECT id, name FROM kerf.thing WHERE id = $1"};
//   struct kf_args args = {0};
//   kf_args_text(&args, id);
//   struct kf_rows rows;
//   enum kf_status status = kf_run(store, organisation, &find, &args, KF_RUN_READ, &rows, err);
//   if (!status && rows.count) … kf_row_text(&rows, 0, 0) …
//   kf_rows_release(&rows);
//
// Outside a transaction kf_run is one transaction and one round trip: the organisation and the query travel together
// (pipeline mode, implicit transaction until the sync). Queries are prepared on first use and remembered per connection
// by the address of the struct: it must be static.
#ifndef KERF_STORE_ROW_H
#define KERF_STORE_ROW_H

#include "server/base/arena.h"
#include "server/base/json.h"
#include "server/store/store.h"
#include <stddef.h>

struct kf_query {
    const char *name; // unique in this folder
    const char *sql;
};

#define KF_ARGS_MOST 40

struct kf_args { // a zeroed struct has no arguments; values are borrowed until kf_run returns
    int count;
    const char *values[KF_ARGS_MOST];
    int lengths[KF_ARGS_MOST];
    int formats[KF_ARGS_MOST];
    char numbers[KF_ARGS_MOST][32];
};

void kf_args_text(struct kf_args *args, const char *text);   // NULL is SQL NULL
void kf_args_string(struct kf_args *args, const char *text); // NULL is ''
void kf_args_integer(struct kf_args *args, int64_t value);
void kf_args_number(struct kf_args *args, double value);
void kf_args_flag(struct kf_args *args, int value);
void kf_args_bytes(struct kf_args *args, const void *bytes, size_t length); // bytea; NULL bytes is SQL NULL

enum kf_run_flag {
    KF_RUN_READ = 1, // changes nothing: tried once more when the connection turns out to be broken
    KF_RUN_WRITE = 2
};

struct kf_rows {
    struct pg_result *result;
    int count;   // rows
    int changed; // rows inserted, updated or deleted
};

// organisation NULL: none is set (definer functions, owner connections). rows may be NULL; on failure it is empty.
KF_MUST_USE enum kf_status kf_run(struct kf_store *store, const char *organisation, const struct kf_query *query,
                                  const struct kf_args *args, unsigned flags, struct kf_rows *rows,
                                  struct kf_error *err);
// Several statements without arguments or results, for migrations and session set-up.
KF_MUST_USE enum kf_status kf_run_script(struct kf_store *store, const char *sql, struct kf_error *err);
void kf_rows_release(struct kf_rows *rows);

// Column values of a row; texts are borrowed until kf_rows_release. NULL reads as "", 0, 0.
const char *kf_row_text(const struct kf_rows *rows, int row, int column);
int kf_row_null(const struct kf_rows *rows, int row, int column);
int64_t kf_row_integer(const struct kf_rows *rows, int row, int column);
double kf_row_number(const struct kf_rows *rows, int row, int column);
int kf_row_flag(const struct kf_rows *rows, int row, int column);
void kf_row_copy(const struct kf_rows *rows, int row, int column, char *to, size_t size);
void kf_row_hash(const struct kf_rows *rows, int row, int column, unsigned char digest[32]); // a bytea column
// A bytea column into the arena; NULL when memory has run out.
unsigned char *kf_row_bytes(const struct kf_rows *rows, int row, int column, struct kf_arena *arena, size_t *length);
// A json or jsonb column, parsed; owned. NULL when memory has run out or the value is NULL.
json_t *kf_row_json(const struct kf_rows *rows, int row, int column);

// KF_NOT_FOUND unless every id (NULL: skipped) is a UUID; the usual first line of a function that takes ids.
KF_MUST_USE enum kf_status kf_ids_check(struct kf_error *err, const char *first, const char *second);
KF_MUST_USE enum kf_status kf_not_found(struct kf_error *err, const char *what);

// Times cross as milliseconds since 1970: wrap a timestamptz column in this.
#define KF_MS(column) "(extract(epoch FROM " column ") * 1000)::bigint"

#endif
