// What a place for containers must be able to do. Only server/blob includes this: dir.c is the directory, an object store
// comes beside it.
#ifndef KERF_BLOB_BACKEND_H
#define KERF_BLOB_BACKEND_H

#include "server/blob/blob.h"

struct kf_container; // one that is being written; belongs to one thread

struct kf_backend {
    enum kf_status (*probe)(struct kf_blob_store *store, struct kf_error *err);
    // A new, empty container; its name is written to `name`.
    enum kf_status (*create)(struct kf_blob_store *store, const char *organisation, char name[KF_BLOB_CONTAINER],
                             struct kf_container **out, struct kf_error *err);
    enum kf_status (*append)(struct kf_container *container, const void *bytes, size_t length, struct kf_error *err);
    // Cuts it back to `length` bytes; KF_UNSUPPORTED where that cannot be done (the bytes stay as garbage).
    enum kf_status (*cut)(struct kf_container *container, int64_t length, struct kf_error *err);
    // Bytes and name survive a loss of power after this.
    enum kf_status (*sync)(struct kf_container *container, struct kf_error *err);
    int (*read_fd)(const struct kf_container *container); // borrowed; -1 where there is none
    void (*close)(struct kf_container *container);
    enum kf_status (*open)(struct kf_blob_store *store, const char *name, int *fd, struct kf_error *err);
    enum kf_status (*path)(struct kf_blob_store *store, const char *name, char *to, size_t size, struct kf_error *err);
    enum kf_status (*remove)(struct kf_blob_store *store, const char *name, struct kf_error *err);
};

struct kf_blob_store {
    const struct kf_backend *backend;
    int root;        // dir.c: descriptor of the root folder
    char path[4096]; // dir.c: the root's absolute path
};

// Opens `location` as a directory.
KF_MUST_USE enum kf_status kf_backend_dir_open(struct kf_blob_store *store, const char *location, struct kf_error *err);

#endif
