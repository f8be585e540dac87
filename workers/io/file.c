#include "workers/io/file.h"
#include "workers/io/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum kf_status kf_file_open(const char *path, int64_t offset, int64_t *length, int *fd, struct kf_error *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return kf_error_errno(err, errno, "opening an input");
    enum kf_status status = KF_OK;
    struct stat info;
    if (fstat(*fd, &info))
        status = kf_error_errno(err, errno, "looking at an input");
    else if (!S_ISREG(info.st_mode))
        status = kf_error_set(err, KF_INVALID, NULL, "an input is not a file");
    else if (offset < 0 || offset > info.st_size || *length < -1 || *length > info.st_size - offset)
        status = kf_error_set(err, KF_INVALID, NULL, "an input ends before the bytes that were asked for");
    if (status) {
        close(*fd);
        *fd = -1;
        return status;
    }
    if (*length < 0)
        *length = info.st_size - offset;
    return KF_OK;
}

enum kf_status kf_file_read(int fd, int64_t offset, void *to, int64_t length, struct kf_error *err)
{
    char *at = to;
    while (length > 0) {
        size_t want = length > (int64_t)1 << 30 ? (size_t)1 << 30 : (size_t)length;
        ssize_t got = pread(fd, at, want, offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kf_error_errno(err, errno, "reading an input");
        if (got == 0)
            return kf_error_set(err, KF_IO, NULL, "an input ended early");
        at += got;
        offset += got;
        length -= got;
    }
    return KF_OK;
}

enum kf_status kf_file_load(const char *path, int64_t offset, int64_t *length, void **bytes, struct kf_error *err)
{
    *bytes = NULL;
    int fd;
    enum kf_status status = kf_file_open(path, offset, length, &fd, err);
    if (status)
        return status;
    void *memory = kf_memory_take(*length);
    if (!memory)
        status = kf_error_set(err, KF_NOMEM, NULL, "no memory for an input");
    else
        status = kf_file_read(fd, offset, memory, *length, err);
    close(fd);
    if (status)
        kf_memory_release(memory);
    else
        *bytes = memory;
    return status;
}

enum kf_status kf_file_create(const char *path, int *fd, struct kf_error *err)
{
    *fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return *fd < 0 ? kf_error_errno(err, errno, "creating an output") : KF_OK;
}

enum kf_status kf_file_write(int fd, const void *bytes, int64_t length, struct kf_error *err)
{
    const char *at = bytes;
    while (length > 0) {
        size_t want = length > (int64_t)1 << 30 ? (size_t)1 << 30 : (size_t)length;
        ssize_t put = write(fd, at, want);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return kf_error_errno(err, errno, "writing an output");
        at += put;
        length -= put;
    }
    return KF_OK;
}

enum kf_status kf_file_close(int fd, enum kf_status before, struct kf_error *err)
{
    if (fd < 0)
        return before;
    int failed = close(fd);
    if (before)
        return before;
    return failed ? kf_error_errno(err, errno, "closing an output") : KF_OK;
}
