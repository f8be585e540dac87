// The threads that run `kerf-job index` over staged files. A child that dies takes its whole batch with it, so each
// file of that batch is then tried alone: the one that kills is refused, the others are stored.
#include "server/app/receive_internal.h"

#include "server/base/log.h"
#include "server/base/process.h"
#include "server/domain/pipeline.h"
#include "server/domain/text.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define INDEX_TIME_LIMIT_MS (15 * 60 * 1000) // a batch takes seconds: what is longer hangs
#define INDEX_CHILDREN_MOST 16               // whatever the setting says

struct kf_index_pool {
    struct kf_app *app;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct kf_batch *first, *last;
    pthread_t threads[INDEX_CHILDREN_MOST];
    int thread_count;
    int stopping;
};

// ---------------------------------------------------------------------------------------------------- the child
// The name it came under, when JSON can hold it.
static const char *label_of(const struct kf_staged *file)
{
    return kf_text_characters(file->name, strlen(file->name)) >= 0 ? file->name : "unnamed";
}

static json_t *spec_of(const struct kf_batch *batch, const struct kf_staged *files, int count, const char *folder)
{
    char path[700];
    json_t *inputs = json_array();
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%d", batch->folder, files[i].number);
        json_array_append_new(inputs,
                              json_pack("{s:s, s:s, s:i, s:I, s:s, s:s, s:{s:s}}", "name", "file", "path", path,
                                        "offset", 0, "length", (json_int_t)files[i].bytes, "sha256", "", "media_type",
                                        "application/octet-stream", "meta", "file", label_of(&files[i])));
    }
    snprintf(path, sizeof path, "%s/out", folder);
    return json_pack("{s:s, s:i, s:{}, s:o, s:s, s:i}", "kind", "index", "version", kf_job_kind_version("index"),
                     "params", "inputs", inputs, "out", path, "threads", 1);
}

static enum kf_status write_spec(const struct kf_batch *batch, const struct kf_staged *files, int count,
                                 const char *folder, char *path, size_t size, struct kf_error *err)
{
    snprintf(path, size, "%s/out", folder);
    if (mkdir(path, 0700) != 0)
        return kf_error_errno(err, errno, "cannot make a folder for the index job");
    snprintf(path, size, "%s/spec.json", folder);
    json_t *spec = spec_of(batch, files, count, folder);
    enum kf_status status = spec ? kf_json_save(path, spec, err)
                                 : kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for the index job.");
    json_decref(spec);
    return status;
}

// Runs the child in folder. KF_OK when it has ended by itself with exit status 0.
static enum kf_status run_child(const struct kf_batch *batch, const struct kf_staged *files, int count,
                                const char *folder, struct kf_error *err)
{
    static const char *const env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "MALLOC_ARENA_MAX=2", NULL};
    char spec[700], how_it_ended[32];
    pid_t pid;
    int exit_status = 0;
    enum kf_status status = write_spec(batch, files, count, folder, spec, sizeof spec, err);
    if (status != KF_OK)
        return status;
    const char *program = batch->upload->app->config.job_program;
    const char *const argv[] = {program, "index", "--spec", spec, NULL};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC); // libraries print what they read: never into our log
    struct kf_spawn spawn = {.program = program,
                             .argv = argv,
                             .env = env,
                             .directory = folder,
                             .in = -1,
                             .out = -1,
                             .err = null,
                             .death_signal = SIGKILL,
                             .new_group = 1};
    status = kf_spawn(&spawn, &pid, err);
    if (null >= 0)
        close(null);
    if (status != KF_OK)
        return status;
    if (kf_process_wait(pid, INDEX_TIME_LIMIT_MS, &exit_status, err) != KF_OK)
        exit_status = kf_process_stop(pid, SIGKILL, 0);
    if (WIFEXITED(exit_status) && WEXITSTATUS(exit_status) == 0)
        return KF_OK;
    kf_process_describe(exit_status, how_it_ended, sizeof how_it_ended);
    kf_log(KF_LOG_WARN, "index.failed", "upload=%s files=%d how=%s", batch->upload->id, count, how_it_ended);
    return kf_error_set(err, KF_UNPROCESSABLE, "index_failed", "The file could not be read: its reader stopped.");
}

// One child over some files of the batch, and the storing of what it found.
static int index_files(struct kf_batch *batch, const struct kf_staged *files, int count, int attempt,
                       struct kf_app_thread *thread, struct kf_error *err)
{
    char folder[680];
    snprintf(folder, sizeof folder, "%s/job-%d", batch->folder, attempt);
    if (mkdir(folder, 0700) != 0) {
        enum kf_status status = kf_error_errno(err, errno, "cannot make a folder for the index job");
        return status == KF_OK;
    }
    enum kf_status status = run_child(batch, files, count, folder, err);
    if (status == KF_OK)
        kf_index_store(batch, files, count, folder, thread);
    kf_remove_folder(folder);
    return status == KF_OK;
}

static void work_on(struct kf_batch *batch, struct kf_app_thread *thread)
{
    struct kf_error err = {0};
    if (!thread) {
        for (int i = 0; i < batch->count; i++)
            kf_batch_refuse(batch, batch->files[i].name, "out_of_memory", "The server has too little memory.", 1);
    } else if (!index_files(batch, batch->files, batch->count, 0, thread, &err)) {
        for (int i = 0; i < batch->count; i++) {
            if (batch->count > 1 && index_files(batch, &batch->files[i], 1, i + 1, thread, &err))
                continue;
            kf_batch_refuse(batch, batch->files[i].name, err.code, err.detail, err.status != KF_UNPROCESSABLE);
        }
    }
    kf_remove_folder(batch->folder);
}

// ---------------------------------------------------------------------------------------------------- the threads
static struct kf_batch *next_batch(struct kf_index_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    while (!pool->first && !pool->stopping)
        pthread_cond_wait(&pool->work, &pool->lock);
    struct kf_batch *batch = pool->first;
    if (batch) {
        pool->first = batch->queued;
        if (!pool->first)
            pool->last = NULL;
    }
    pthread_mutex_unlock(&pool->lock);
    return batch;
}

static void *run(void *context)
{
    struct kf_index_pool *pool = context;
    struct kf_app_thread *thread = NULL;
    struct kf_batch *batch;
    while ((batch = next_batch(pool))) {
        struct kf_upload *upload = batch->upload;
        if (!thread)
            thread = kf_app_thread_new(pool->app);
        if (!kf_upload_is_abandoned(upload))
            work_on(batch, thread);
        kf_upload_batch_done(upload);
    }
    kf_app_thread_free(thread);
    return NULL;
}

void kf_index_pool_add(struct kf_index_pool *pool, struct kf_batch *batch)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->last)
        pool->last->queued = batch;
    else
        pool->first = batch;
    pool->last = batch;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

enum kf_status kf_index_pool_new(struct kf_app *app, struct kf_index_pool **out, struct kf_error *err)
{
    struct kf_index_pool *pool = *out = calloc(1, sizeof *pool);
    if (!pool)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to start.");
    pool->app = app;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    int wanted = app->config.index_children < INDEX_CHILDREN_MOST ? app->config.index_children : INDEX_CHILDREN_MOST;
    while (pool->thread_count < wanted && pthread_create(&pool->threads[pool->thread_count], NULL, run, pool) == 0)
        pool->thread_count++;
    if (pool->thread_count == wanted)
        return KF_OK;
    kf_index_pool_free(pool);
    *out = NULL;
    return kf_error_set(err, KF_NOMEM, NULL, "Not enough threads to start.");
}

void kf_index_pool_free(struct kf_index_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = 1;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    free(pool);
}
