#include "workers/manager/slot.h"

#include "server/base/log.h"
#include "server/base/str.h"
#include "server/queue/queue.h"
#include "workers/manager/child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS          100
#define PROGRESS_MS      300
#define CANCEL_GRACE_MS  5000
#define COMMIT_RETRY_MS  200
#define IDLE_WAIT_S      1
#define DATABASE_WAIT_MS 500

enum outcome { ENDED, STALE, CANCELLED, STOPPED };

static int64_t now_ms(void)
{
    return kf_time_monotonic_ns() / 1000000;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void wait_for_work(struct kf_worker *worker, unsigned *seen)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += IDLE_WAIT_S;
    pthread_mutex_lock(&worker->lock);
    while (*seen == worker->wake_count && !atomic_load(&worker->stopping))
        if (pthread_cond_timedwait(&worker->wake, &worker->lock, &until) == ETIMEDOUT)
            break;
    *seen = worker->wake_count;
    pthread_mutex_unlock(&worker->lock);
}

// ---------------------------------------------------------------------------------------------- starting
static enum kf_status start_child(struct kf_slot *slot, const struct kf_claim *claim, const char *scratch,
                                  struct kf_child *child, struct kf_error *err)
{
    struct kf_worker *worker = slot->worker;
    struct kf_arena arena = {0};
    struct kf_child_input *inputs = kf_arena_alloc(&arena, (claim->place_count + 1) * sizeof *inputs);
    enum kf_status status = inputs ? KF_OK : kf_error_set(err, KF_NOMEM, NULL, "no memory for a job's inputs");
    for (size_t i = 0; !status && i < claim->place_count; i++) {
        const json_t *row = json_array_get(claim->job.inputs, i);
        const struct kf_blob_place *place = &claim->places[i];
        char path[4096];
        status = kf_blob_path(worker->blobs, place->container, path, sizeof path, err);
        inputs[i] = (struct kf_child_input){
            .name = kf_json_text(row, "name", ""),
            .path = kf_arena_strdup(&arena, path),
            .sha256 = kf_json_text(row, "sha256", ""),
            .media_type = kf_json_text(row, "media_type", ""),
            .offset = place->offset,
            .length = place->bytes,
            .meta = json_object_get(row, "meta"),
        };
        if (!status && !inputs[i].path)
            status = kf_error_set(err, KF_NOMEM, NULL, "no memory for a job's inputs");
    }
    struct kf_child_spec spec = {
        .program = worker->program,
        .kind = claim->job.kind,
        .version = claim->job.version,
        .params = claim->job.params,
        .inputs = inputs,
        .input_count = claim->place_count,
        .scratch = scratch,
        .threads = worker->threads,
    };
    if (!status)
        status = kf_child_start(&spec, child, err);
    kf_arena_release(&arena);
    return status;
}

// ---------------------------------------------------------------------------------------------- watching
struct watch {
    int64_t beat_at, told_at, kill_at;
    double told;
    char stage[64]; // that was told of
    unsigned hint;
    enum outcome why;
};

static void ask_to_end(struct watch *watch, const struct kf_child *child, enum outcome why)
{
    if (watch->kill_at)
        return;
    watch->why = why;
    watch->kill_at = now_ms() + (why == STALE ? 0 : CANCEL_GRACE_MS);
    kf_child_signal(child, why == STALE ? SIGKILL : SIGTERM);
}

// A lost database is no reason to stop computing: the lease decides, and the commit is fenced.
static void beat(struct kf_slot *slot, struct kf_store *store, const struct kf_job_row *job, struct watch *watch,
                 const struct kf_child *child)
{
    struct kf_error err;
    int cancel = 0;
    enum kf_status status = kf_queue_heartbeat(store, job, slot->worker->lease_s, &cancel, &err);
    watch->beat_at = now_ms() + (int64_t)(slot->worker->lease_s * 1000 / (status ? 10 : 3));
    if (status == KF_STALE)
        ask_to_end(watch, child, STALE);
    else if (!status && cancel)
        ask_to_end(watch, child, CANCELLED);
}

static void tell_progress(struct kf_store *store, const struct kf_job_row *job, struct watch *watch,
                          const struct kf_child *child)
{
    int64_t now = now_ms();
    int news = child->progress > watch->told || strcmp(child->stage, watch->stage) != 0;
    if (watch->kill_at || !news || now - watch->told_at < PROGRESS_MS)
        return;
    watch->told = child->progress;
    kf_str_copy(watch->stage, sizeof watch->stage, child->stage);
    watch->told_at = now;
    struct kf_error err;
    if (kf_queue_progress(store, job, child->progress, child->stage, &err) == KF_STALE)
        ask_to_end(watch, child, STALE);
}

static enum outcome watch_child(struct kf_slot *slot, struct kf_store *store, const struct kf_job_row *job,
                                struct kf_child *child, int *wait_status)
{
    struct watch watch = {.beat_at = now_ms() + (int64_t)(slot->worker->lease_s * 1000 / 3),
                          .hint = atomic_load(&slot->cancel_hint),
                          .why = ENDED};
    while (!kf_child_wait(child, TICK_MS)) {
        unsigned hint = atomic_load(&slot->cancel_hint);
        if (hint != watch.hint || now_ms() >= watch.beat_at) {
            watch.hint = hint;
            beat(slot, store, job, &watch, child);
        }
        tell_progress(store, job, &watch, child);
        if (atomic_load(&slot->worker->stopping))
            ask_to_end(&watch, child, STOPPED);
        if (watch.kill_at && now_ms() >= watch.kill_at)
            kf_child_signal(child, SIGKILL);
    }
    *wait_status = kf_child_reap(child);
    return watch.why;
}

// ---------------------------------------------------------------------------------------------- committing
static enum kf_status store_output(struct kf_slot *slot, const struct kf_job_row *job, const char *scratch,
                                   const json_t *result, int index, struct kf_queue_output *out, struct kf_arena *arena,
                                   struct kf_error *err)
{
    struct kf_child_output output;
    enum kf_status status = kf_child_output_open(scratch, result, index, &output, err);
    if (status)
        return status;
    struct kf_blob_writer *writer = NULL;
    struct kf_blob_written written;
    status = kf_blob_writer_open(slot->worker->blobs, job->organisation_id, &writer, err);
    if (!status)
        status = kf_blob_writer_add_fd(writer, output.fd, err);
    if (!status)
        status = kf_blob_writer_sync(writer, NULL, &written, err);
    kf_blob_writer_close(writer);
    close(output.fd);
    if (status)
        return status;
    *out = (struct kf_queue_output){
        .name = output.name,
        .kind = output.kind,
        .media_type = output.media_type,
        .bytes = written.bytes,
        .container = kf_arena_strdup(arena, written.container),
        .offset = written.offset,
        .meta = output.meta,
    };
    memcpy(out->sha256, written.sha256, sizeof out->sha256);
    return out->container ? KF_OK : kf_error_set(err, KF_NOMEM, NULL, "no memory for an output");
}

// Commits until the answer is certain: after a lost connection the same commit is sent again, and the fence tells.
static enum kf_status finish(struct kf_slot *slot, struct kf_store *store, const struct kf_job_row *job,
                             struct kf_queue_output *outputs, size_t count, const json_t *report, struct kf_error *err)
{
    int64_t deadline = now_ms() + (int64_t)(slot->worker->lease_s * 1000);
    int uncertain = 0;
    for (;;) {
        enum kf_status status = kf_queue_finish(store, job, outputs, count, report, err);
        if (status == KF_STALE && uncertain) {
            // Done by us, or by a later worker with the same bytes. Rows may refer to our containers: they stay.
            for (size_t i = 0; i < count; i++)
                outputs[i].blob_used = 1;
            return KF_OK;
        }
        if (!kf_status_retryable(status) || now_ms() > deadline)
            return status;
        uncertain |= status == KF_DB;
        pause_ms(COMMIT_RETRY_MS);
    }
}

static enum kf_status commit_result(struct kf_slot *slot, struct kf_store *store, const struct kf_job_row *job,
                                    const char *scratch, struct kf_error *err)
{
    json_t *result = NULL;
    struct kf_arena arena = {0};
    enum kf_status status = kf_child_result(scratch, &result, err);
    if (status)
        return status;
    int count = kf_child_output_count(result);
    struct kf_queue_output *outputs = kf_arena_alloc(&arena, (size_t)(count + 1) * sizeof *outputs);
    int stored = 0;
    if (!outputs)
        status = kf_error_set(err, KF_NOMEM, NULL, "no memory for outputs");
    for (; !status && stored < count; stored++)
        status = store_output(slot, job, scratch, result, stored, &outputs[stored], &arena, err);
    if (!status)
        status = finish(slot, store, job, outputs, (size_t)count, json_object_get(result, "report"), err);
    // Bytes that nobody refers to go; after an uncertain commit they stay, and `kerf verify` finds what is garbage.
    for (int i = 0; outputs && i < stored; i++)
        if (outputs[i].container && (status == KF_STALE || (!status && !outputs[i].blob_used)))
            if (kf_blob_remove(slot->worker->blobs, outputs[i].container, NULL))
                kf_log(KF_LOG_WARN, "job.garbage", "job=%s", job->id);
    json_decref(result);
    kf_arena_release(&arena);
    return status;
}

// Says how a job failed until the database has heard it or the lease is surely gone.
static void report_failure(struct kf_slot *slot, struct kf_store *store, const struct kf_job_row *job, int permanent,
                           const struct kf_error *failure, const json_t *report)
{
    int64_t deadline = now_ms() + (int64_t)(slot->worker->lease_s * 1000);
    struct kf_error err;
    enum kf_status status;
    while ((status = kf_queue_fail(store, job, permanent, failure->code, failure->detail, report, &err)) &&
           kf_status_retryable(status) && now_ms() < deadline)
        pause_ms(COMMIT_RETRY_MS);
    kf_log(KF_LOG_WARN, "job.failed", "job=%s kind=%s code=%s permanent=%d attempt=%d", job->id, job->kind,
           failure->code, permanent, job->attempts);
}

static void settle(struct kf_slot *slot, struct kf_store *store, const struct kf_job_row *job, const char *scratch,
                   enum outcome outcome, int wait_status)
{
    struct kf_error err = {0};
    json_t *report = NULL;
    switch (outcome) {
    case STALE:
        kf_log(KF_LOG_WARN, "job.stale", "job=%s kind=%s", job->id, job->kind);
        return;
    case CANCELLED:
        if (kf_queue_cancelled(store, job, &err))
            kf_log_error(KF_LOG_WARN, "job.cancel", &err);
        return;
    case STOPPED:
        if (kf_queue_give_back(store, job, &err))
            kf_log_error(KF_LOG_WARN, "job.give_back", &err);
        return;
    case ENDED:
        break;
    }
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) {
        enum kf_status status = commit_result(slot, store, job, scratch, &err);
        if (!status)
            kf_log(KF_LOG_INFO, "job.done", "job=%s kind=%s attempt=%d", job->id, job->kind, job->attempts);
        else if (status != KF_STALE)
            report_failure(slot, store, job, 0, &err, NULL);
        return;
    }
    int permanent = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 1;
    kf_child_failure(scratch, wait_status, &err, &report);
    report_failure(slot, store, job, permanent, &err, report);
    json_decref(report);
}

static void run_job(struct kf_slot *slot, struct kf_store *store, const struct kf_claim *claim)
{
    const struct kf_job_row *job = &claim->job;
    struct kf_error err = {0};
    struct kf_child child = {.pid_fd = -1, .progress_fd = -1};
    char scratch[4000];
    kf_log(KF_LOG_INFO, "job.start", "job=%s kind=%s attempt=%d inputs=%zu", job->id, job->kind, job->attempts,
           claim->place_count);
    enum kf_status status = kf_scratch_job(&slot->worker->scratch, job->id, scratch, sizeof scratch, &err);
    if (!status)
        status = start_child(slot, claim, scratch, &child, &err);
    if (status) {
        report_failure(slot, store, job, 0, &err, NULL);
    } else {
        int wait_status = 0;
        enum outcome outcome = watch_child(slot, store, job, &child, &wait_status);
        // A child that had finished before it heard of the stop or the cancel has still done its work.
        if ((outcome == STOPPED || outcome == CANCELLED) && WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)
            outcome = ENDED;
        settle(slot, store, job, scratch, outcome, wait_status);
    }
    kf_scratch_remove(scratch);
}

void *kf_slot_run(void *argument)
{
    struct kf_slot *slot = argument;
    struct kf_worker *worker = slot->worker;
    struct kf_store *store = NULL;
    struct kf_error err = {0};
    unsigned seen = 0;
    while (!atomic_load(&worker->stopping)) {
        if (!store && kf_store_open(&store, worker->database_url, slot->name, KF_STORE_APP, &err)) {
            kf_log_error(KF_LOG_WARN, "worker.database", &err);
            pause_ms(DATABASE_WAIT_MS);
            continue;
        }
        struct kf_claim claim;
        enum kf_status status = kf_queue_claim(store, worker->kinds, slot->name, worker->lease_s, &claim, &err);
        if (!status) {
            run_job(slot, store, &claim);
            kf_claim_release(&claim);
        } else if (status == KF_NOT_FOUND) {
            wait_for_work(worker, &seen);
        } else {
            kf_log_error(KF_LOG_WARN, "worker.claim", &err);
            pause_ms(DATABASE_WAIT_MS);
        }
    }
    kf_store_close(store);
    return NULL;
}
