// gzip (RFC 1952) and zlib (RFC 1950) over libdeflate: whole buffers in, whole buffers out; zlib only where a stream
// must be cut short. `work`, which may be NULL, is asked whether to go on: KF_CANCELLED.
#ifndef KERF_IO_GZIP_H
#define KERF_IO_GZIP_H

#include "server/base/error.h"
#include "workers/io/aside.h"
#include <stddef.h>
#include <stdint.h>

int kf_gzip_is(const void *bytes, int64_t length); // 1 when the two magic bytes and the method are there

// One member; *out from kf_memory_take, owned. Same input and level, same bytes.
KF_MUST_USE enum kf_status kf_gzip_pack(const void *bytes, int64_t length, int level, void **out, int64_t *out_length,
                                        struct kf_error *err);

// Exactly `want` bytes from the start of all members of the stream into `to`; what follows is ignored. A cancel is
// heard between members, and within one that is longer than half a GiB.
// KF_INVALID "gzip_truncated" when there are fewer or the stream is damaged.
KF_MUST_USE enum kf_status kf_gzip_unpack(const struct kf_work *work, const void *bytes, int64_t length, void *to,
                                          int64_t want, struct kf_error *err);

// The same for one zlib stream (RFC 1950); "zlib_truncated".
KF_MUST_USE enum kf_status kf_zlib_unpack(const struct kf_work *work, const void *bytes, int64_t length, void *to,
                                          int64_t want, struct kf_error *err);

// Packs each file from[i] into a new file to[i], one member each: who decodes it as a Content-Encoding may stop behind
// the first. The work is done on a thread of its own: start returns at once when `aside`, else when all is packed; the
// bytes do not depend on it. finish waits and tells the outcome; it must follow every start. Both ask `work` while they
// wait; a cancel is heard between files.
struct kf_gzip_files {
    const char *const *from, *const *to; // borrowed until finish
    int count, level;
    enum kf_status status; // the rest is start's and finish's own
    struct kf_error error;
    struct kf_aside aside;
};
void kf_gzip_files_start(const struct kf_work *work, struct kf_gzip_files *files, int aside);
KF_MUST_USE enum kf_status kf_gzip_files_finish(const struct kf_work *work, struct kf_gzip_files *files,
                                                struct kf_error *err);

// Writes [bytes, bytes + length) to fd as members of 4 MiB each, compressed by the threads of `work` (NULL: one).
KF_MUST_USE enum kf_status kf_gzip_write(const struct kf_work *work, int fd, const void *bytes, int64_t length,
                                         int level, struct kf_error *err);

#endif
