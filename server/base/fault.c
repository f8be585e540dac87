#include "server/base/fault.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static const char *const names[KF_FAULTS] = {"KERF_FAULT_DB", "KERF_FAULT_COMMIT", "KERF_FAULT_FSYNC"};
static long first[KF_FAULTS], last[KF_FAULTS];
static atomic_long calls[KF_FAULTS];
static atomic_llong room = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    for (int i = 0; i < KF_FAULTS; i++) {
        const char *text = getenv(names[i]);
        first[i] = last[i] = 0;
        atomic_store(&calls[i], 0);
        if (!text || !*text)
            continue;
        char *end;
        first[i] = last[i] = strtol(text, &end, 10);
        if (*end == ',')
            last[i] = strtol(end + 1, NULL, 10);
    }
    const char *text = getenv("KERF_FAULT_ENOSPC");
    atomic_store(&room, text && *text ? strtoll(text, NULL, 10) : -1);
}

void kf_fault_reload(void)
{
    pthread_once(&once, load);
    load();
}

int kf_fault(enum kf_fault fault)
{
    pthread_once(&once, load);
    if (!first[fault])
        return 0;
    long call = atomic_fetch_add(&calls[fault], 1) + 1;
    return call >= first[fault] && call <= last[fault];
}

int64_t kf_fault_room(int64_t bytes)
{
    pthread_once(&once, load);
    long long left = atomic_load(&room);
    if (left < 0)
        return bytes;
    while (!atomic_compare_exchange_weak(&room, &left, left > bytes ? left - bytes : 0))
        ;
    return left > bytes ? bytes : left;
}
