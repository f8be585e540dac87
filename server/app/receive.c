#include "server/app/receive_internal.h"

#include "server/app/work.h"
#include "server/base/log.h"
#include "server/base/str.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

const char *kf_received_wire(enum kf_received_status status)
{
    static const char *const wire[] = {"stored", "duplicate", "conflict", "set_aside", "refused"};
    return wire[status];
}

static int remove_entry(const char *path, const struct stat *info, int flag, struct FTW *where)
{
    (void)info;
    (void)flag;
    (void)where;
    remove(path); // whatever happens, go on with the rest
    return 0;
}

void kf_remove_folder(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

// The lock on a folder, or -1 when somebody else holds it.
static int lock_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

// The folder gets its name when it is locked: what is called upload-… and not locked belongs to nobody.
static int make_locked(const struct kf_upload *upload, const char *scratch)
{
    char fresh[600];
    snprintf(fresh, sizeof fresh, "%s/new-%s", scratch, upload->id);
    if (mkdir(fresh, 0700) != 0)
        return -1;
    int fd = lock_folder(fresh);
    if (fd >= 0 && rename(fresh, upload->folder) == 0)
        return fd;
    int failure = errno;
    if (fd >= 0)
        close(fd);
    rmdir(fresh);
    errno = failure;
    return -1;
}

void kf_upload_sweep(const char *scratch)
{
    DIR *dir = opendir(scratch);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char folder[1200];
        if (strncmp(entry->d_name, "upload-", 7) != 0 || !kf_id_valid(entry->d_name + 7) ||
            snprintf(folder, sizeof folder, "%s/%s", scratch, entry->d_name) >= (int)sizeof folder)
            continue;
        int fd = lock_folder(folder);
        if (fd < 0)
            continue;
        kf_remove_folder(folder);
        close(fd);
    }
    closedir(dir);
}

enum kf_status kf_upload_open(struct kf_app *app, const struct kf_actor *actor, const char *source,
                              const char *study_uid, struct kf_upload **out, struct kf_error *err)
{
    *out = NULL;
    if (!kf_role_may(actor->role, KF_PERM_DICOM_STORE))
        return kf_error_set(err, KF_FORBIDDEN, NULL, "Your role does not allow this.");
    if (!app->config.job_program)
        return kf_error_set(err, KF_UNAVAILABLE, NULL, "This server takes no uploads: kerf-job is not there.");
    struct kf_upload *upload = calloc(1, sizeof *upload);
    if (!upload)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for an upload.");
    upload->app = app;
    upload->fd = -1;
    kf_id_new(upload->id);
    int cut = kf_str_copy(upload->organisation, sizeof upload->organisation, actor->organisation_id) |
              kf_str_copy(upload->address, sizeof upload->address, actor->address) |
              kf_str_copy(upload->source, sizeof upload->source, source) |
              kf_str_copy(upload->study_uid, sizeof upload->study_uid, study_uid ? study_uid : "");
    int length = snprintf(upload->folder, sizeof upload->folder, "%s/upload-%s", app->config.scratch, upload->id);
    if (cut || length >= (int)sizeof upload->folder) {
        free(upload);
        return kf_error_set(err, KF_INVALID, NULL, "The upload cannot be named.");
    }
    upload->lock_fd = make_locked(upload, app->config.scratch);
    if (upload->lock_fd < 0) {
        enum kf_status status = kf_error_errno(err, errno, "cannot make a folder for an upload");
        free(upload);
        return status;
    }
    pthread_mutex_init(&upload->lock, NULL);
    pthread_cond_init(&upload->done, NULL);
    *out = upload;
    return KF_OK;
}

// ---------------------------------------------------------------------------------------------------- staging
static enum kf_status new_batch(struct kf_upload *upload, struct kf_error *err)
{
    struct kf_batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for an upload.");
    batch->upload = upload;
    snprintf(batch->folder, sizeof batch->folder, "%s/%d", upload->folder, upload->batch_number++);
    if (mkdir(batch->folder, 0700) != 0) {
        enum kf_status status = kf_error_errno(err, errno, "cannot make a folder for an upload");
        free(batch);
        return status;
    }
    if (upload->last)
        upload->last->next = batch;
    else
        upload->first = batch;
    upload->last = batch;
    upload->filling = 1;
    return KF_OK;
}

static void hand_over(struct kf_upload *upload)
{
    if (!upload->filling)
        return;
    upload->filling = 0;
    pthread_mutex_lock(&upload->lock);
    upload->waiting++;
    pthread_mutex_unlock(&upload->lock);
    kf_index_pool_add(upload->app->index, upload->last);
}

enum kf_status kf_upload_begin(struct kf_upload *upload, const char *name, struct kf_error *err)
{
    char path[640];
    if (!upload->filling) {
        enum kf_status status = new_batch(upload, err);
        if (status != KF_OK)
            return status;
    }
    struct kf_batch *batch = upload->last;
    struct kf_staged *file = &batch->files[batch->count];
    *file =
        (struct kf_staged){.name = kf_arena_strdup(&batch->arena, *name ? name : "unnamed"), .number = batch->count};
    if (!file->name)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for an upload.");
    snprintf(path, sizeof path, "%s/%d", batch->folder, file->number);
    upload->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (upload->fd < 0)
        return kf_error_errno(err, errno, "cannot make a file for an upload");
    upload->file_count++;
    return KF_OK;
}

enum kf_status kf_upload_data(struct kf_upload *upload, const void *bytes, size_t length, struct kf_error *err)
{
    struct kf_batch *batch = upload->last;
    struct kf_staged *file = &batch->files[batch->count];
    const unsigned char *at = bytes;
    file->bytes += (int64_t)length;
    if (file->bytes > upload->app->config.upload_bytes)
        return kf_error_set(err, KF_TOO_LARGE, NULL, "A file of the upload is larger than this server takes.");
    while (length > 0) {
        ssize_t n = write(upload->fd, at, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kf_error_errno(err, errno, "cannot write an upload");
        at += n;
        length -= (size_t)n;
    }
    return KF_OK;
}

enum kf_status kf_upload_end(struct kf_upload *upload, struct kf_error *err)
{
    struct kf_batch *batch = upload->last;
    int failed = close(upload->fd) != 0;
    upload->fd = -1;
    if (failed)
        return kf_error_errno(err, errno, "cannot finish a file of an upload");
    batch->bytes += batch->files[batch->count++].bytes;
    if (batch->count == KF_BATCH_FILES || batch->bytes >= KF_BATCH_BYTES)
        hand_over(upload);
    return KF_OK;
}

// ---------------------------------------------------------------------------------------------------- results
void kf_batch_add(struct kf_batch *batch, const struct kf_received *item)
{
    if (batch->item_count == batch->item_capacity) {
        size_t capacity = batch->item_capacity ? batch->item_capacity * 2 : KF_BATCH_FILES;
        struct kf_received *items = realloc(batch->items, capacity * sizeof *items);
        if (!items)
            return;
        batch->items = items;
        batch->item_capacity = capacity;
    }
    struct kf_received copy = *item;
    const char **texts[] = {&copy.file, &copy.sop_uid, &copy.sop_class, &copy.study_uid, &copy.reason, &copy.detail};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *text = *texts[i] && **texts[i] ? kf_arena_strdup(&batch->arena, *texts[i]) : "";
        *texts[i] = text ? text : "";
    }
    batch->items[batch->item_count++] = copy;
}

void kf_batch_refuse(struct kf_batch *batch, const char *file, const char *reason, const char *detail, int ours)
{
    struct kf_received item = {
        .file = file, .status = KF_RECEIVED_REFUSED, .reason = reason, .detail = detail, .ours = ours};
    kf_batch_add(batch, &item);
}

void kf_batch_grew(struct kf_batch *batch, const char *series_id, const char *case_id)
{
    for (size_t i = 0; i < batch->series_count; i++)
        if (strcmp(batch->series[i][0], series_id) == 0)
            return;
    if (batch->series_count == batch->series_capacity) {
        size_t capacity = batch->series_capacity ? batch->series_capacity * 2 : 8;
        void *more = realloc(batch->series, capacity * sizeof *batch->series);
        if (!more)
            return; // the timer finds the series a little later
        batch->series = more;
        batch->series_capacity = capacity;
    }
    memcpy(batch->series[batch->series_count][0], series_id, KF_ID_TEXT);
    memcpy(batch->series[batch->series_count++][1], case_id, KF_ID_TEXT);
}

static void add_case(struct kf_upload *upload, const char *case_id)
{
    for (size_t i = 0; i < upload->case_count; i++)
        if (strcmp(upload->cases[i], case_id) == 0)
            return;
    void *more = realloc(upload->cases, (upload->case_count + 1) * sizeof *upload->cases);
    if (!more)
        return;
    upload->cases = more;
    memcpy(upload->cases[upload->case_count++], case_id, KF_ID_TEXT);
}

static void wait_all(struct kf_upload *upload)
{
    pthread_mutex_lock(&upload->lock);
    while (upload->waiting > 0)
        pthread_cond_wait(&upload->done, &upload->lock);
    pthread_mutex_unlock(&upload->lock);
}

static void start_imports(struct kf_upload *upload, struct kf_app_thread *thread)
{
    for (struct kf_batch *batch = upload->first; batch; batch = batch->next) {
        for (size_t i = 0; i < batch->series_count; i++) {
            struct kf_error err = {0};
            add_case(upload, batch->series[i][1]);
            if (kf_app_series_received(thread->store, upload->organisation, batch->series[i][0], &err) != KF_OK)
                kf_log_error(KF_LOG_WARN, "upload.import_later", &err); // the timer comes back to it
        }
    }
}

enum kf_status kf_upload_finish(struct kf_upload *upload, struct kf_app_thread *thread, struct kf_error *err)
{
    hand_over(upload);
    wait_all(upload);
    start_imports(upload, thread);
    kf_log(KF_LOG_INFO, "upload.done", "upload=%s files=%zu cases=%zu", upload->id, upload->file_count,
           upload->case_count);
    if (upload->file_count == 0)
        return kf_error_set(err, KF_UNPROCESSABLE, "empty_upload", "The upload has no file.");
    return KF_OK;
}

void kf_upload_each(const struct kf_upload *upload, void (*each)(void *to, const struct kf_received *received),
                    void *to)
{
    for (const struct kf_batch *batch = upload->first; batch; batch = batch->next)
        for (size_t i = 0; i < batch->item_count; i++)
            each(to, &batch->items[i]);
}

size_t kf_upload_cases(const struct kf_upload *upload, const char (**ids)[KF_ID_TEXT])
{
    *ids = (const char(*)[KF_ID_TEXT])upload->cases;
    return upload->case_count;
}

static void destroy(struct kf_upload *upload)
{
    if (upload->fd >= 0)
        close(upload->fd);
    kf_remove_folder(upload->folder);
    close(upload->lock_fd);
    while (upload->first) {
        struct kf_batch *batch = upload->first;
        upload->first = batch->next;
        kf_arena_release(&batch->arena);
        free(batch->items);
        free(batch->series);
        free(batch);
    }
    pthread_mutex_destroy(&upload->lock);
    pthread_cond_destroy(&upload->done);
    free(upload->cases);
    free(upload);
}

int kf_upload_is_abandoned(struct kf_upload *upload)
{
    pthread_mutex_lock(&upload->lock);
    int abandoned = upload->abandoned;
    pthread_mutex_unlock(&upload->lock);
    return abandoned;
}

void kf_upload_batch_done(struct kf_upload *upload)
{
    pthread_mutex_lock(&upload->lock);
    int last = --upload->waiting == 0 && upload->abandoned;
    pthread_cond_broadcast(&upload->done);
    pthread_mutex_unlock(&upload->lock);
    if (last)
        destroy(upload);
}

void kf_upload_free(struct kf_upload *upload)
{
    if (!upload)
        return;
    pthread_mutex_lock(&upload->lock);
    upload->abandoned = 1;
    int busy = upload->waiting > 0;
    pthread_mutex_unlock(&upload->lock);
    if (!busy)
        destroy(upload);
}
