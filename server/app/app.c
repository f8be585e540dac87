#include "server/app/internal.h"

#include "server/app/receive.h"
#include "server/base/config.h"
#include "server/base/process.h"
#include "server/base/timeid.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum kf_status make_folder(const char *path, struct kf_error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return KF_OK;
    return kf_error_errno(err, errno, path);
}

void kf_app_config_read(struct kf_app_config *config)
{
    static char blobs[600], scratch[600], program[600];
    const char *data = kf_config_text("KERF_DATA"), *own_blobs = kf_config_text("KERF_BLOBS");
    const char *own_scratch = kf_config_text("KERF_SCRATCH");
    char folder[512];
    snprintf(blobs, sizeof blobs, *own_blobs ? "%s" : "%s/blobs", *own_blobs ? own_blobs : data);
    snprintf(scratch, sizeof scratch, *own_scratch ? "%s" : "%s/scratch", *own_scratch ? own_scratch : data);
    *config = (struct kf_app_config){
        .database_url = kf_config_text("KERF_DATABASE_URL"),
        .blob_location = blobs,
        .scratch = scratch,
        .settle_s = kf_config_number("KERF_SETTLE_S"),
        .events_keep_s = kf_config_number("KERF_EVENTS_KEEP_S"),
        .session_lifetime_s = kf_config_number("KERF_SESSION_S"),
        .session_idle_s = kf_config_number("KERF_SESSION_IDLE_S"),
        .index_children = 2,
        .upload_bytes = kf_config_integer("KERF_UPLOAD_MOST_BYTES"),
        .login_attempts = (int)kf_config_integer("KERF_LOGIN_ATTEMPTS"),
        .login_lock_s = kf_config_number("KERF_LOGIN_LOCK_S"),
        .login_lock_most_s = kf_config_number("KERF_LOGIN_LOCK_MOST_S"),
        .logins_per_minute = (int)kf_config_integer("KERF_LOGIN_PER_MINUTE"),
    };
    if (kf_process_own_folder(folder, sizeof folder, NULL) == KF_OK) {
        snprintf(program, sizeof program, "%s/kerf-job", folder);
        if (access(program, X_OK) == 0)
            config->job_program = program;
    }
}

static const char *copy_text(struct kf_app *app, int slot, const char *text)
{
    app->texts[slot] = text ? strdup(text) : NULL;
    return app->texts[slot];
}

static enum kf_status copy_config(struct kf_app *app, const struct kf_app_config *config)
{
    app->config = *config;
    app->config.database_url = copy_text(app, 0, config->database_url);
    app->config.blob_location = copy_text(app, 1, config->blob_location);
    app->config.scratch = copy_text(app, 2, config->scratch);
    app->config.job_program = copy_text(app, 3, config->job_program);
    int missing = !app->config.database_url || !app->config.blob_location || !app->config.scratch ||
                  (config->job_program && !app->config.job_program);
    return missing ? KF_NOMEM : KF_OK;
}

enum kf_status kf_app_new(const struct kf_app_config *config, struct kf_app **out, struct kf_error *err)
{
    *out = NULL;
    struct kf_app *app = calloc(1, sizeof *app);
    enum kf_status status = app ? copy_config(app, config) : KF_NOMEM;
    if (status == KF_OK && !(app->throttle = calloc(1, sizeof *app->throttle)))
        status = KF_NOMEM;
    if (status != KF_OK) {
        kf_app_free(app);
        return kf_error_set(err, status, NULL, "Not enough memory to start.");
    }
    pthread_mutex_init(&app->throttle->lock, NULL);
    kf_random_bytes(app->throttle->seed, sizeof app->throttle->seed);
    status = make_folder(app->config.scratch, err);
    if (status == KF_OK)
        kf_upload_sweep(app->config.scratch);
    if (status == KF_OK)
        status = kf_blob_store_open(&app->blobs, app->config.blob_location, err);
    if (status == KF_OK)
        status = kf_index_pool_new(app, &app->index, err);
    if (status != KF_OK) {
        kf_app_free(app);
        return status;
    }
    *out = app;
    return KF_OK;
}

void kf_app_free(struct kf_app *app)
{
    if (!app)
        return;
    kf_index_pool_free(app->index);
    kf_blob_store_close(app->blobs);
    if (app->throttle)
        pthread_mutex_destroy(&app->throttle->lock);
    free(app->throttle);
    for (size_t i = 0; i < sizeof app->texts / sizeof *app->texts; i++)
        free(app->texts[i]);
    free(app);
}

void kf_app_on_session_change(struct kf_app *app,
                              void (*changed)(void *context, const char *account_id, const char *session_id),
                              void *context)
{
    app->session_changed = changed;
    app->session_changed_context = context;
}

struct kf_app_thread *kf_app_thread_new(struct kf_app *app)
{
    struct kf_app_thread *thread = calloc(1, sizeof *thread);
    if (!thread)
        return NULL;
    thread->app = app;
    // Threads are made once: one that begins while the database is away must work when it is back.
    if (kf_store_new(&thread->store, app->config.database_url, "kerf-server", KF_STORE_APP, NULL) != KF_OK) {
        free(thread);
        return NULL;
    }
    return thread;
}

void kf_app_thread_free(struct kf_app_thread *thread)
{
    if (!thread)
        return;
    kf_store_close(thread->store);
    free(thread);
}

struct kf_blob_store *kf_app_blobs(struct kf_app *app)
{
    return app->blobs;
}

const struct kf_app_config *kf_app_settings(const struct kf_app *app)
{
    return &app->config;
}

enum kf_status kf_app_enter(struct kf_app_thread *thread, const struct kf_actor *actor, enum kf_permission permission,
                            const char *operation, const char *object, struct kf_error *err)
{
    (void)thread;
    (void)operation;
    (void)object;
    if (!kf_role_may(actor->role, permission))
        return kf_error_set(err, KF_FORBIDDEN, NULL, "Your role does not allow this.");
    return KF_OK;
}
