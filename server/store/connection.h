// The insides of struct kf_store, for store.c and row.c.
#ifndef KERF_STORE_CONNECTION_H
#define KERF_STORE_CONNECTION_H

#include "server/store/row.h"
#include <libpq-fe.h>

#define KF_PREPARED_SLOTS 512 // a power of two, well above the number of queries

enum kf_transaction {
    KF_TX_NONE,
    KF_TX_PENDING, // begin was asked for, nothing is sent yet
    KF_TX_OPEN,
    KF_TX_LOST // the connection broke inside it: only rollback helps
};

struct kf_store {
    PGconn *connection; // NULL or broken: connect before use
    char *url;
    char application[64];
    enum kf_store_role role;
    enum kf_transaction transaction;
    char organisation[KF_ID_TEXT]; // of the transaction; "" for none
    const struct kf_query *prepared[KF_PREPARED_SLOTS];
    int prepared_count;
    char listening[32]; // channel, on this connection
    int deaf;             // a connection that listened was lost: something may not have been heard
    int asked;            // an empty query is under way to see that the connection lives
    int64_t announced_ns; // when an instance.received event was last asked for
    enum kf_status (*ready)(void *context, struct kf_error *err); // run between sending a batch and committing it
    void *ready_context;
};

KF_MUST_USE enum kf_status kf_connection_need(struct kf_store *store, struct kf_error *err);
void kf_connection_drop(struct kf_store *store); // closes; a transaction becomes lost

// The status for a failed result (or, with NULL, for the state of the connection).
enum kf_status kf_connection_error(struct kf_store *store, const PGresult *result, struct kf_error *err);

#endif
