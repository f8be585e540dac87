// gzip (RFC 1952) and zlib (RFC 1950) over libdeflate: whole buffers in, whole buffers out; zlib only where a stream
// must be cut short.
#ifndef KERF_IO_GZIP_H
#define KERF_IO_GZIP_H

#include "server/base/error.h"
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

int kf_gzip_is(const void *bytes, int64_t length); // 1 when the two magic bytes and the method are there

// One member; *out from kf_memory_take, owned. Same input and level, same bytes.
KF_MUST_USE enum kf_status kf_gzip_pack(const void *bytes, int64_t length, int level, void **out, int64_t *out_length,
                                        struct kf_error *err);

// Exactly `want` bytes from the start of all members of the stream into `to`; what follows is ignored.
// KF_INVALID "gzip_truncated" when there are fewer or the stream is damaged.
KF_MUST_USE enum kf_status kf_gzip_unpack(const void *bytes, int64_t length, void *to, int64_t want,
                                          struct kf_error *err);

// The same for one zlib stream (RFC 1950); "zlib_truncated".
KF_MUST_USE enum kf_status kf_zlib_unpack(const void *bytes, int64_t length, void *to, int64_t want,
                                          struct kf_error *err);

// Packs each file from[i] into a new file to[i], one member each: who decodes it as a Content-Encoding may stop behind
// the first. start returns at once when `aside` (the work is done on a thread of its own), else when all is packed; the
// bytes do not depend on it. finish waits and tells the outcome; it must follow every start.
struct kf_gzip_files {
    const char *const *from, *const *to; // borrowed until finish
    int count, level;
    enum kf_status status; // the rest is start's and finish's own
    struct kf_error error;
    int running;
    pthread_t thread;
};
void kf_gzip_files_start(struct kf_gzip_files *files, int aside);
KF_MUST_USE enum kf_status kf_gzip_files_finish(struct kf_gzip_files *files, struct kf_error *err);

// Writes [bytes, bytes + length) to fd as members of 4 MiB each, compressed by `threads`.
KF_MUST_USE enum kf_status kf_gzip_write(int fd, const void *bytes, int64_t length, int level, int threads,
                                         struct kf_error *err);

#endif
