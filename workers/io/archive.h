// Walks the files of a zip or tar (also compressed) archive that comes from a stranger, in the order they lie in.
// Directories, links and devices are passed over. Nothing is ever written: where an entry goes is the caller's
// decision, and `path` is only a name to show.
#ifndef KERF_IO_ARCHIVE_H
#define KERF_IO_ARCHIVE_H

#include "server/base/error.h"
#include <stddef.h>
#include <stdint.h>

struct kf_archive; // opaque; one thread

struct kf_archive_limits {
    int64_t entries;     // most files; 0: 200 000
    int64_t entry_bytes; // most bytes of one file; 0: 4 GiB
    int64_t total_bytes; // most bytes of all files; 0: 64 GiB
    double ratio;        // most bytes out per byte of the whole archive, from 16 MiB out on; 0: 200
};

struct kf_archive_entry {
    char path[512];    // cleaned: no drive, no leading slash, no "." or "..", no control character; never empty
    int64_t size_hint; // what the archive claims, or -1; not to be trusted
};

// 1 when the first bytes are those of a zip archive (also an empty or spanned one).
int kf_archive_is_zip(const void *bytes, size_t length);

// Reads bytes [offset, offset + length) of fd with pread (length -1: to the end). fd is borrowed until close.
// limits may be NULL. Errors: KF_INVALID archive_format; KF_IO; KF_NOMEM.
KF_MUST_USE enum kf_status kf_archive_open(int fd, int64_t offset, int64_t length,
                                           const struct kf_archive_limits *limits, struct kf_archive **out,
                                           struct kf_error *err);

// The next file: *more is 1 and *entry is filled, or 0 at the end. Errors: KF_INVALID truncated_zip,
// archive_format, archive_encrypted; KF_TOO_LARGE archive_too_many, archive_too_large, archive_bomb. After an error
// only kf_archive_close may follow.
KF_MUST_USE enum kf_status kf_archive_next(struct kf_archive *archive, struct kf_archive_entry *entry, int *more,
                                           struct kf_error *err);

// Up to `size` bytes of the current file; *got is 0 at its end. Same errors.
KF_MUST_USE enum kf_status kf_archive_read(struct kf_archive *archive, void *to, size_t size, size_t *got,
                                           struct kf_error *err);

void kf_archive_close(struct kf_archive *archive); // NULL is fine

#endif
