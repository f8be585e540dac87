// kerf-workerd: claims jobs from the queue and runs each in a sandboxed kerf-job child. Any number of them on any number
// of hosts; the settings KERF_WORKER_… say how many jobs at once and of which kinds. The main thread listens for new jobs
// and cancels, and puts jobs with expired leases back; each slot is a thread (slot.h).
#include "server/base/config.h"
#include "server/base/log.h"
#include "server/base/process.h"
#include "server/base/str.h"
#include "server/queue/queue.h"
#include "workers/manager/slot.h"
#include "workers/runtime/sandbox.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SLOTS_MOST     64
#define LISTEN_WAIT_MS 500
#define REAP_EVERY_MS  5000

static volatile sig_atomic_t stop_requested;

static void on_stop(int signal_number)
{
    (void)signal_number;
    stop_requested = 1;
}

struct daemon {
    struct kf_worker worker;
    struct kf_slot slots[SLOTS_MOST];
    int slot_count;
    char program[4096];
};

static void notified(void *to, const char *payload)
{
    struct daemon *d = to;
    if (strncmp(payload, "cancel ", 7) == 0) {
        for (int i = 0; i < d->slot_count; i++)
            atomic_fetch_add(&d->slots[i].cancel_hint, 1);
        return;
    }
    pthread_mutex_lock(&d->worker.lock);
    d->worker.wake_count++;
    pthread_cond_broadcast(&d->worker.wake);
    pthread_mutex_unlock(&d->worker.lock);
}

static enum kf_status find_program(struct daemon *d, struct kf_error *err)
{
    const char *set = kf_config_text("KERF_WORKER_JOB_PROGRAM");
    if (*set) {
        kf_str_copy(d->program, sizeof d->program, set);
    } else {
        char folder[3072];
        enum kf_status status = kf_process_own_folder(folder, sizeof folder, err);
        if (status)
            return status;
        snprintf(d->program, sizeof d->program, "%s/kerf-job", folder);
    }
    if (access(d->program, X_OK))
        return kf_error_set(err, KF_INVALID, "setting", "KERF_WORKER_JOB_PROGRAM: kerf-job cannot be executed");
    return KF_OK;
}

static enum kf_status set_up(struct daemon *d, struct kf_error *err)
{
    struct kf_worker *worker = &d->worker;
    char blobs[4096], scratch[4096];
    enum kf_status status = kf_config_load(NULL, err);
    if (!status)
        status = find_program(d, err);
    if (!status)
        status = kf_config_folder("KERF_BLOBS", "blobs", blobs, sizeof blobs, err);
    if (!status)
        status = kf_config_folder("KERF_SCRATCH", "scratch", scratch, sizeof scratch, err);
    if (!status)
        status = kf_blob_store_open(&worker->blobs, blobs, err);
    if (!status)
        status = kf_scratch_open(&worker->scratch, scratch, err);
    if (status)
        return status;
    worker->database_url = kf_config_text("KERF_DATABASE_URL");
    worker->program = d->program;
    worker->kinds = kf_config_text("KERF_WORKER_KINDS");
    worker->lease_s = kf_config_number("KERF_WORKER_LEASE_S");
    worker->threads = (int)kf_config_integer("KERF_WORKER_THREADS");
    if (worker->threads <= 0)
        worker->threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    d->slot_count = (int)kf_config_integer("KERF_WORKER_SLOTS");
    if (d->slot_count > SLOTS_MOST)
        d->slot_count = SLOTS_MOST;
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->wake, NULL);
    return KF_OK;
}

static enum kf_status start_slots(struct daemon *d, struct kf_error *err)
{
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    for (int i = 0; i < d->slot_count; i++) {
        struct kf_slot *slot = &d->slots[i];
        slot->worker = &d->worker;
        snprintf(slot->name, sizeof slot->name, "%s:%d:%d", host, (int)getpid(), i);
        if (pthread_create(&slot->thread, NULL, kf_slot_run, slot)) {
            d->slot_count = i;
            return kf_error_set(err, KF_NOMEM, NULL, "cannot start a worker thread");
        }
    }
    return KF_OK;
}

static void stop_slots(struct daemon *d)
{
    pthread_mutex_lock(&d->worker.lock);
    atomic_store(&d->worker.stopping, 1);
    pthread_cond_broadcast(&d->worker.wake);
    pthread_mutex_unlock(&d->worker.lock);
    for (int i = 0; i < d->slot_count; i++)
        pthread_join(d->slots[i].thread, NULL);
}

// Until a signal: hear of new work, and return jobs whose worker is gone to the queue.
static void listen_and_reap(struct daemon *d)
{
    struct kf_store *store = NULL;
    struct kf_error err = {0};
    int64_t reap_at = 0;
    while (!stop_requested) {
        int64_t now = kf_time_monotonic_ns() / 1000000;
        int count = 0;
        enum kf_status status = KF_OK;
        if (!store)
            status = kf_store_open(&store, d->worker.database_url, "kerf-workerd", KF_STORE_APP, &err);
        if (!status && now >= reap_at) {
            reap_at = now + REAP_EVERY_MS;
            status = kf_queue_reap(store, &count, &err);
            if (count)
                kf_log(KF_LOG_WARN, "queue.reaped", "jobs=%d", count);
        }
        if (!status)
            status = kf_store_wait(store, "kerf_job", LISTEN_WAIT_MS, notified, d, &err);
        if (status && status != KF_TIMEOUT) {
            kf_log_error(KF_LOG_WARN, "worker.listen", &err);
            usleep(LISTEN_WAIT_MS * 1000);
        }
    }
    kf_store_close(store);
}

int main(void)
{
    static struct daemon d;
    struct kf_error err = {0};
    kf_log_init("kerf-workerd", KF_LOG_INFO);
    signal(SIGPIPE, SIG_IGN);
    struct sigaction action = {.sa_handler = on_stop};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    d.worker.scratch.lock_fd = -1;
    enum kf_status status = set_up(&d, &err);
    if (!status)
        status = start_slots(&d, &err);
    if (!status) {
        int landlock = kf_sandbox_landlock_abi();
        kf_log(landlock ? KF_LOG_INFO : KF_LOG_WARN, "worker.ready", "slots=%d threads=%d landlock=%d", d.slot_count,
               d.worker.threads, landlock);
        listen_and_reap(&d);
    } else {
        kf_log_error(KF_LOG_ERROR, "worker.start", &err);
    }
    stop_slots(&d);
    kf_scratch_close(&d.worker.scratch);
    kf_blob_store_close(d.worker.blobs);
    return status ? 1 : 0;
}
