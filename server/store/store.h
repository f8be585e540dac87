// The connection to PostgreSQL, transactions, and what every query has in common. This module is the only user of
// libpq; every query is a named function in the header of its aggregate (instance.h, job.h, account.h …).
//
// A struct kf_store is one connection and belongs to one thread at a time: open one per thread. It reconnects by
// itself: a call that finds the connection ended, outside a transaction or as the first of one, connects again; what
// only reads is tried once more when it was lost on the way. Otherwise the answer is KF_DB, and a transaction is gone:
// roll back and start again.
//
// Organisations. Row-level security shows the rows of one organisation. A function that takes `organisation` and is
// called outside a transaction is one transaction and one round trip of its own; inside kf_store_begin … commit pass
// the same organisation. Ids are UUID texts; an id that is no UUID is answered KF_NOT_FOUND without asking the
// database.
//
// Errors (all functions): KF_DB the database is not reachable or restarting, worth trying again; KF_UNAVAILABLE a
// deadlock or serialisation failure, worth trying again; KF_TIMEOUT a statement took too long; KF_NOSPACE; KF_CONFLICT
// a unique or foreign key is violated (code: the constraint); KF_INVALID a value the schema refuses; KF_FORBIDDEN
// row-level security or a missing grant; KF_INTERNAL our own bug. Errors never carry values of rows.
#ifndef KERF_STORE_STORE_H
#define KERF_STORE_STORE_H

#include "server/base/error.h"
#include "server/base/timeid.h"
#include <stdint.h>

struct kf_store; // opaque

enum kf_store_role {
    KF_STORE_APP,  // works as kerf_app; KF_FORBIDDEN "unsafe_role" when that could see past row-level security
    KF_STORE_OWNER // the login's own role: migrations and administration only
};

// url: a libpq connection URI or keyword string. application: shown in pg_stat_activity.
KF_MUST_USE enum kf_status kf_store_open(struct kf_store **out, const char *url, const char *application,
                                         enum kf_store_role role, struct kf_error *err); // owned: kf_store_close
// The same without connecting: the first query does, and answers KF_DB while the database is away.
KF_MUST_USE enum kf_status kf_store_new(struct kf_store **out, const char *url, const char *application,
                                        enum kf_store_role role, struct kf_error *err);
void kf_store_close(struct kf_store *store); // rolls back what is open; NULL is fine

// A transaction under one organisation. begin itself sends nothing: it travels with the first query. organisation may
// be NULL for KF_STORE_OWNER only. commit answers KF_DB when the outcome is unknown.
KF_MUST_USE enum kf_status kf_store_begin(struct kf_store *store, const char *organisation, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_commit(struct kf_store *store, struct kf_error *err);
void kf_store_rollback(struct kf_store *store); // no-op outside a transaction
int kf_store_in_transaction(const struct kf_store *store);

// One cheap round trip: is the database there, and is the schema at the version this binary knows?
KF_MUST_USE enum kf_status kf_store_ping(struct kf_store *store, struct kf_error *err);

// The connection's socket, for poll; -1 when there is none.
int kf_store_fd(const struct kf_store *store);

// LISTEN. Waits at most timeout_ms for notifications on `channel` ("kerf_event" or "kerf_job") and calls notified for
// each (payload borrowed). Sets LISTEN up on the first call and after a loss. Use a connection of its own. KF_DB once
// after a loss, also one that another use of the store has mended: something may not have been heard. KF_OK proves that
// the connection lives: the database answered a question on it (KF_DB when it did not within a second or timeout_ms).
// Payloads: kerf_event "ORGANISATION EVENT_ID" or "ORGANISATION 0 …" (schema/0002_change_notify.sql); kerf_job "queued
// KIND" or "cancel JOB_ID".
KF_MUST_USE enum kf_status kf_store_wait(struct kf_store *store, const char *channel, int timeout_ms,
                                         void (*notified)(void *to, const char *payload), void *to,
                                         struct kf_error *err);

#endif
