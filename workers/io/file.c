#include "workers/io/file.h"
#include "workers/io/aside.h"
#include "workers/io/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((int64_t)8 << 20) // bytes between two questions: under 100 ms on a slow disk

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

enum kf_status kf_file_read(const struct kf_work *work, int fd, int64_t offset, void *to, int64_t length,
                            struct kf_error *err)
{
    for (int64_t done = 0; done < length;) {
        int64_t left = length - done;
        enum kf_status status = kf_io_step(work, (double)done / (double)length, err);
        if (status)
            return status;
        ssize_t got = pread(fd, (char *)to + done, (size_t)(left < PIECE ? left : PIECE), offset + done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kf_error_errno(err, errno, "reading an input");
        if (got == 0)
            return kf_error_set(err, KF_IO, NULL, "an input ended early");
        done += got;
    }
    return KF_OK;
}

enum kf_status kf_file_load(const struct kf_work *work, const char *path, int64_t offset, int64_t *length, void **bytes,
                            struct kf_error *err)
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
        status = kf_file_read(work, fd, offset, memory, *length, err);
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

enum kf_status kf_file_write(const struct kf_work *work, int fd, const void *bytes, int64_t length,
                             struct kf_error *err)
{
    for (int64_t done = 0; done < length;) {
        int64_t left = length - done;
        enum kf_status status = kf_io_step(work, (double)done / (double)length, err);
        if (status)
            return status;
        ssize_t put = write(fd, (const char *)bytes + done, (size_t)(left < PIECE ? left : PIECE));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return kf_error_errno(err, errno, "writing an output");
        done += put;
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
