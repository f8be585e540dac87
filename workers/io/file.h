// Whole reads and writes of plain files, for the formats of this folder. `work`, which may be NULL, is asked for every
// few megabytes whether to go on, and hears how far it is: KF_CANCELLED.
#ifndef KERF_IO_FILE_H
#define KERF_IO_FILE_H

#include "server/base/error.h"
#include "workers/kernels/work.h"
#include <stddef.h>
#include <stdint.h>

// Opens path for reading and settles *length: -1 becomes the rest of the file from offset. KF_INVALID when the range
// does not lie inside the file. *fd is owned (close).
KF_MUST_USE enum kf_status kf_file_open(const char *path, int64_t offset, int64_t *length, int *fd,
                                        struct kf_error *err);
// Reads exactly `length` bytes; KF_IO when the file ends before.
KF_MUST_USE enum kf_status kf_file_read(const struct kf_work *work, int fd, int64_t offset, void *to, int64_t length,
                                        struct kf_error *err);
// The whole range in memory from kf_memory_take; owned (kf_memory_release).
KF_MUST_USE enum kf_status kf_file_load(const struct kf_work *work, const char *path, int64_t offset,
                                        int64_t *length, void **bytes, struct kf_error *err);

// Creates or truncates path (mode 0644). *fd is owned: kf_file_close.
KF_MUST_USE enum kf_status kf_file_create(const char *path, int *fd, struct kf_error *err);
KF_MUST_USE enum kf_status kf_file_write(const struct kf_work *work, int fd, const void *bytes, int64_t length,
                                         struct kf_error *err);
// Closes and returns `before` when that is already a failure.
KF_MUST_USE enum kf_status kf_file_close(int fd, enum kf_status before, struct kf_error *err);

#endif
