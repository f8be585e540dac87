// Shared by receive.c, index_pool.c and index_store.c only.
#ifndef KERF_APP_RECEIVE_INTERNAL_H
#define KERF_APP_RECEIVE_INTERNAL_H

#include "server/app/internal.h"
#include "server/app/receive.h"
#include "server/base/json.h"

#define KF_BATCH_FILES 64 // a child for each file would cost more than the reading
#define KF_BATCH_BYTES ((int64_t)64 << 20) // staged before a child reads them

struct kf_staged {
    char *name; // label, in the batch's arena
    int number; // the file is FOLDER/NUMBER
    int64_t bytes;
};

// A job for one `kerf-job index` child. Made by the request's thread, worked on by one thread of the pool, then read.
struct kf_batch {
    struct kf_upload *upload;
    struct kf_batch *next;   // of the upload, in order of arrival
    struct kf_batch *queued; // of the pool
    struct kf_staged files[KF_BATCH_FILES];
    int count;
    int64_t bytes;
    char folder[600]; // scratch of its own
    struct kf_arena arena;
    struct kf_received *items;
    size_t item_count, item_capacity;
    char (*series)[2][KF_ID_TEXT]; // series and case that grew, without repetition
    size_t series_count, series_capacity;
};

struct kf_upload {
    struct kf_app *app;
    char organisation[KF_ID_TEXT];
    char address[48];
    char id[KF_ID_TEXT];
    char source[8];
    char study_uid[68]; // "" for any
    char folder[512];
    int lock_fd; // of the folder: whose is not locked is left over from a process that died
    struct kf_batch *first, *last; // the last is being filled while `filling`
    int filling;
    int batch_number;
    size_t file_count;
    int fd; // the file being received, or -1
    pthread_mutex_t lock;
    pthread_cond_t done;
    int waiting;   // batches handed to the pool and not yet back
    int abandoned; // nobody wants the results: batches not begun are skipped, the last to come back frees the upload
    char (*cases)[KF_ID_TEXT];
    size_t case_count;
};

// A batch is back. Tells upload->done, or frees an abandoned upload with its last batch.
void kf_upload_batch_done(struct kf_upload *upload);
int kf_upload_is_abandoned(struct kf_upload *upload);

// Hands the batch to the pool, which calls kf_upload_batch_done when it is back.
void kf_index_pool_add(struct kf_index_pool *pool, struct kf_batch *batch);

// Reads the child's findings (index.jsonl in FOLDER/out) and stores them. Adds an item for each. `files` are the staged
// files that the child was given, in order.
void kf_index_store(struct kf_batch *batch, const struct kf_staged *files, int count, const char *folder,
                    struct kf_app_thread *thread);

// Adds an item; texts are copied into the batch's arena.
void kf_batch_add(struct kf_batch *batch, const struct kf_received *item);
void kf_batch_refuse(struct kf_batch *batch, const char *file, const char *reason, const char *detail, int ours);
void kf_batch_grew(struct kf_batch *batch, const char *series_id, const char *case_id);
// Removes a folder and all that is in it.
void kf_remove_folder(const char *path);

#endif
