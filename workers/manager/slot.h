// A slot runs one job at a time: claim, start the child, heartbeat, take the result, commit with the fence. Each slot is a
// thread with a database connection of its own; nothing is shared but the struct below.
#ifndef KERF_MANAGER_SLOT_H
#define KERF_MANAGER_SLOT_H

#include "server/blob/blob.h"
#include "workers/manager/scratch.h"
#include <pthread.h>
#include <stdatomic.h>

struct kf_worker {
    const char *database_url;
    struct kf_blob_store *blobs;
    struct kf_scratch scratch;
    const char *program; // kerf-job
    const char *kinds;   // comma separated; "" for any
    double lease_s;
    int threads; // per job
    atomic_int stopping;
    pthread_mutex_t lock; // guards wake_count
    pthread_cond_t wake;
    unsigned wake_count; // raised when the queue may hold something new
};

struct kf_slot {
    struct kf_worker *worker;
    char name[96]; // host:process:slot
    pthread_t thread;
    _Atomic unsigned cancel_hint; // raised when a cancel was announced: heartbeat now
};

// The thread's body; `argument` is a struct kf_slot.
void *kf_slot_run(void *argument);

#endif
