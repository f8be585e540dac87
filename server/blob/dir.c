// Containers as files: ROOT/ORGANISATION/xx/UUID, where xx are the last two digits of the UUID.
#include "server/blob/backend.h"

#include "server/base/fault.h"
#include "server/base/str.h"
#include "server/base/timeid.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct kf_container {
    struct kf_blob_store *store;
    int fd;
    int name_is_durable;
    char name[KF_BLOB_CONTAINER];
};

// 1 when `name` has the form ORGANISATION/xx/UUID that we make; a row's text is never trusted as a path.
static int is_name(const char *name)
{
    char part[KF_ID_TEXT];
    if (strlen(name) != 36 + 1 + 2 + 1 + 36 || name[36] != '/' || name[39] != '/' || strchr(name + 40, '/'))
        return 0;
    memcpy(part, name, 36);
    part[36] = 0;
    return kf_id_valid(part) && kf_id_valid(name + 40) && memcmp(name + 37, name + 40 + 34, 2) == 0;
}

static enum kf_status dir_probe(struct kf_blob_store *store, struct kf_error *err)
{
    char name[KF_ID_TEXT + 8] = "probe-";
    kf_id_new(name + 6);
    int fd = openat(store->root, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return kf_error_errno(err, errno, "the blob folder cannot be written");
    ssize_t n = kf_fault_room(1) ? write(fd, "x", 1) : (errno = ENOSPC, -1);
    enum kf_status status = n == 1 ? KF_OK : kf_error_errno(err, errno, "the blob folder cannot be written");
    close(fd);
    unlinkat(store->root, name, 0);
    return status;
}

// Makes ORG and ORG/xx below the root; both may be there.
static int make_parents(int root, const char *name)
{
    char part[40];
    for (int length = 36; length <= 39; length += 3) {
        memcpy(part, name, (size_t)length);
        part[length] = 0;
        if (mkdirat(root, part, 0700) && errno != EEXIST)
            return -1;
    }
    return 0;
}

static enum kf_status dir_create(struct kf_blob_store *store, const char *organisation, char name[KF_BLOB_CONTAINER],
                                 struct kf_container **out, struct kf_error *err)
{
    *out = NULL;
    if (!kf_id_valid(organisation))
        return kf_error_set(err, KF_INVALID, NULL, "a container needs its organisation's id");
    struct kf_container *container = calloc(1, sizeof *container);
    if (!container)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a container");
    char id[KF_ID_TEXT];
    kf_id_new(id);
    snprintf(container->name, sizeof container->name, "%s/%s/%s", organisation, id + 34, id);
    container->store = store;
    container->fd = -1;
    if (make_parents(store->root, container->name) == 0)
        container->fd = openat(store->root, container->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (container->fd < 0) {
        int failure = errno;
        free(container);
        return kf_error_errno(err, failure, "cannot make a container");
    }
    memcpy(name, container->name, KF_BLOB_CONTAINER);
    *out = container;
    return KF_OK;
}

static enum kf_status dir_append(struct kf_container *container, const void *bytes, size_t length, struct kf_error *err)
{
    const char *at = bytes;
    while (length) {
        size_t most = length < ((size_t)1 << 30) ? length : (size_t)1 << 30;
        int64_t room = kf_fault_room((int64_t)most);
        ssize_t n = room ? write(container->fd, at, (size_t)room) : (errno = ENOSPC, -1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kf_error_errno(err, errno, "cannot write to a container");
        at += n;
        length -= (size_t)n;
    }
    return KF_OK;
}

static enum kf_status dir_cut(struct kf_container *container, int64_t length, struct kf_error *err)
{
    if (ftruncate(container->fd, length) || lseek(container->fd, length, SEEK_SET) != length)
        return kf_error_errno(err, errno, "cannot cut a container back");
    return KF_OK;
}

static int sync_folder(int root, const char *path)
{
    int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = kf_fault(KF_FAULT_FSYNC) ? (errno = EIO, -1) : fsync(fd);
    int failure = errno;
    close(fd);
    errno = failure;
    return rc;
}

// The new name, and its folders' names: whoever made them may not have come to making them durable.
static int sync_names(const struct kf_container *container)
{
    char folder[40];
    memcpy(folder, container->name, 39);
    folder[39] = 0;
    if (sync_folder(container->store->root, folder))
        return -1;
    folder[36] = 0;
    return sync_folder(container->store->root, folder) || sync_folder(container->store->root, ".") ? -1 : 0;
}

static enum kf_status dir_sync(struct kf_container *container, struct kf_error *err)
{
    if (kf_fault(KF_FAULT_FSYNC) ? (errno = EIO, 1) : fdatasync(container->fd))
        return kf_error_errno(err, errno, "a container's bytes are not durable");
    if (!container->name_is_durable && sync_names(container))
        return kf_error_errno(err, errno, "a container's name is not durable");
    container->name_is_durable = 1;
    return KF_OK;
}

static int dir_read_fd(const struct kf_container *container)
{
    return container->fd;
}

static void dir_close(struct kf_container *container)
{
    close(container->fd);
    free(container);
}

static enum kf_status check_name(const char *name, struct kf_error *err)
{
    return is_name(name) ? KF_OK : kf_error_set(err, KF_INTERNAL, NULL, "a row names no container");
}

static enum kf_status dir_open(struct kf_blob_store *store, const char *name, int *fd, struct kf_error *err)
{
    *fd = -1;
    enum kf_status status = check_name(name, err);
    if (status)
        return status;
    *fd = openat(store->root, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return *fd < 0 ? kf_error_errno(err, errno, "cannot open a container") : KF_OK;
}

static enum kf_status dir_path(struct kf_blob_store *store, const char *name, char *to, size_t size,
                               struct kf_error *err)
{
    enum kf_status status = check_name(name, err);
    if (status)
        return status;
    int n = snprintf(to, size, "%s/%s", store->path, name);
    return n < 0 || (size_t)n >= size ? kf_error_set(err, KF_INVALID, NULL, "a container's path is too long") : KF_OK;
}

static enum kf_status dir_remove(struct kf_blob_store *store, const char *name, struct kf_error *err)
{
    enum kf_status status = check_name(name, err);
    if (!status && unlinkat(store->root, name, 0) && errno != ENOENT)
        status = kf_error_errno(err, errno, "cannot remove a container");
    return status;
}

static const struct kf_backend directory = {
    .probe = dir_probe,
    .create = dir_create,
    .append = dir_append,
    .cut = dir_cut,
    .sync = dir_sync,
    .read_fd = dir_read_fd,
    .close = dir_close,
    .open = dir_open,
    .path = dir_path,
    .remove = dir_remove,
};

enum kf_status kf_backend_dir_open(struct kf_blob_store *store, const char *location, struct kf_error *err)
{
    char resolved[PATH_MAX];
    if (mkdir(location, 0700) && errno != EEXIST)
        return kf_error_errno(err, errno, "cannot make the blob folder");
    if (!realpath(location, resolved) || kf_str_copy(store->path, sizeof store->path, resolved))
        return kf_error_errno(err, errno, "cannot find the blob folder");
    store->root = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->root < 0)
        return kf_error_errno(err, errno, "cannot open the blob folder");
    store->backend = &directory;
    return KF_OK;
}
