#include "workers/io/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES   ((size_t)256 << 10)
#define RATIO_FROM    ((int64_t)16 << 20) // small archives may be as dense as they like

struct kf_archive {
    struct archive *reader;
    int fd;
    int is_zip;
    int zip_complete; // the end of central directory record was seen
    int64_t offset, end, at;
    struct kf_archive_limits limits;
    int64_t entries, total, entry_total;
    unsigned char block[BLOCK_BYTES];
};

int kf_archive_is_zip(const void *bytes, size_t length)
{
    const unsigned char *b = bytes;
    if (length < 4 || b[0] != 'P' || b[1] != 'K')
        return 0;
    return (b[2] == 3 && b[3] == 4) || (b[2] == 5 && b[3] == 6) || (b[2] == 7 && b[3] == 8);
}

static la_ssize_t feed(struct archive *reader, void *user, const void **block)
{
    struct kf_archive *a = user;
    size_t want = a->end - a->at < (int64_t)BLOCK_BYTES ? (size_t)(a->end - a->at) : BLOCK_BYTES;
    ssize_t got;
    do
        got = pread(a->fd, a->block, want, a->at);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        archive_set_error(reader, errno, "read failed");
        return -1;
    }
    a->at += got;
    *block = a->block;
    return got;
}

static la_int64_t seek_to(struct archive *reader, void *user, la_int64_t offset, int whence)
{
    struct kf_archive *a = user;
    int64_t base = whence == SEEK_SET ? a->offset : whence == SEEK_CUR ? a->at : a->end;
    int64_t limit = a->end - a->offset;
    if (offset < -limit || offset > limit || base + offset < a->offset || base + offset > a->end) {
        archive_set_error(reader, EINVAL, "seek outside of the archive");
        return ARCHIVE_FATAL;
    }
    a->at = base + offset;
    return a->at - a->offset;
}

static la_int64_t skip_over(struct archive *reader, void *user, la_int64_t bytes)
{
    (void)reader;
    struct kf_archive *a = user;
    int64_t step = bytes < a->end - a->at ? bytes : a->end - a->at;
    a->at += step;
    return step;
}

// A zip is whole only when its end of central directory record (APPNOTE.TXT 4.3.16) closes it: at most 65 557 bytes
// before the end. A reader without the directory would take a cut between two entries for the end.
static int zip_end_found(struct kf_archive *a)
{
    int64_t span = a->end - a->offset < 65557 ? a->end - a->offset : 65557;
    unsigned char *tail = malloc((size_t)span + 1);
    int found = 0;
    if (tail && pread(a->fd, tail, (size_t)span, a->end - span) == span)
        for (int64_t i = span - 22; i >= 0 && !found; i--)
            found = memcmp(tail + i, "PK\5\6", 4) == 0 && i + 22 + (tail[i + 20] | tail[i + 21] << 8) <= span;
    free(tail);
    return found;
}

static enum kf_status reader_failed(struct kf_archive *a, struct kf_error *err)
{
    if (archive_errno(a->reader) == ENOMEM)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory to read an archive");
    if (a->is_zip && !a->zip_complete)
        return kf_error_set(err, KF_INVALID, "truncated_zip",
                            "the zip archive ends before its directory: it was cut short");
    const char *why = archive_error_string(a->reader); // libarchive has no codes for these two
    if (why && (strstr(why, "ncrypt") || strstr(why, "assphrase")))
        return kf_error_set(err, KF_INVALID, "archive_encrypted", "the archive is encrypted");
    if (a->is_zip && why && strstr(why, "runcated"))
        return kf_error_set(err, KF_INVALID, "truncated_zip", "the zip archive ends in the middle of a file");
    return kf_error_set(err, KF_INVALID, "archive_format", "not an archive that can be read, or a damaged one");
}

static void set_limits(struct kf_archive *a, const struct kf_archive_limits *given)
{
    if (given)
        a->limits = *given;
    if (!a->limits.entries)
        a->limits.entries = 200000;
    if (!a->limits.entry_bytes)
        a->limits.entry_bytes = (int64_t)4 << 30;
    if (!a->limits.total_bytes)
        a->limits.total_bytes = (int64_t)64 << 30;
    if (!(a->limits.ratio > 0))
        a->limits.ratio = 200;
}

// Formats and filters that run in this process only (libarchive would start a program for some others).
static int open_reader(struct kf_archive *a)
{
    a->reader = archive_read_new();
    if (!a->reader)
        return -1;
    archive_read_support_format_zip(a->reader);
    archive_read_support_format_tar(a->reader);
    archive_read_support_filter_gzip(a->reader);
    archive_read_support_filter_bzip2(a->reader);
    archive_read_support_filter_xz(a->reader);
    archive_read_support_filter_zstd(a->reader);
    archive_read_set_read_callback(a->reader, feed);
    archive_read_set_seek_callback(a->reader, seek_to);
    archive_read_set_skip_callback(a->reader, skip_over);
    archive_read_set_callback_data(a->reader, a);
    return archive_read_open1(a->reader) == ARCHIVE_OK ? 0 : 1;
}

enum kf_status kf_archive_open(int fd, int64_t offset, int64_t length, const struct kf_archive_limits *limits,
                               struct kf_archive **out, struct kf_error *err)
{
    *out = NULL;
    struct stat info;
    if (fstat(fd, &info))
        return kf_error_errno(err, errno, "looking at an archive");
    if (offset < 0 || offset > info.st_size || length < -1 || length > info.st_size - offset)
        return kf_error_set(err, KF_INVALID, NULL, "the archive ends before the bytes that were asked for");
    struct kf_archive *a = calloc(1, sizeof *a);
    if (!a)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory to read an archive");
    a->fd = fd;
    a->offset = a->at = offset;
    a->end = length < 0 ? info.st_size : offset + length;
    set_limits(a, limits);
    unsigned char magic[4];
    a->is_zip = a->end - offset >= 4 && pread(fd, magic, 4, offset) == 4 && kf_archive_is_zip(magic, 4);
    a->zip_complete = a->is_zip && zip_end_found(a);
    int failed = open_reader(a);
    if (failed) {
        enum kf_status status = failed < 0 ? kf_error_set(err, KF_NOMEM, NULL, "no memory to read an archive")
                                           : reader_failed(a, err);
        kf_archive_close(a);
        return status;
    }
    *out = a;
    return KF_OK;
}

// Keeps the parts of a path that are names. The result is for showing; it cannot climb or start at a root.
static void clean_path(const char *from, char to[512])
{
    size_t n = 0;
    if (from && from[0] && from[1] == ':')
        from += 2;
    while (from && *from) {
        size_t length = strcspn(from, "/\\");
        int skip = length == 0 || (length == 1 && from[0] == '.') || (length == 2 && from[0] == '.' && from[1] == '.');
        if (!skip && n + length + 2 < 512) {
            if (n)
                to[n++] = '/';
            for (size_t i = 0; i < length; i++) {
                unsigned char c = (unsigned char)from[i];
                to[n++] = c < 32 || c == 127 ? '_' : (char)c;
            }
        }
        from += length;
        from += strspn(from, "/\\");
    }
    to[n] = 0;
    if (!n)
        memcpy(to, "unnamed", 8);
}

enum kf_status kf_archive_next(struct kf_archive *a, struct kf_archive_entry *entry, int *more, struct kf_error *err)
{
    *more = 0;
    for (;;) {
        struct archive_entry *header;
        int answer = archive_read_next_header(a->reader, &header);
        if (answer == ARCHIVE_EOF && a->is_zip && !a->zip_complete)
            return reader_failed(a, err);
        if (answer == ARCHIVE_EOF)
            return KF_OK;
        if (answer < ARCHIVE_WARN)
            return reader_failed(a, err);
        if (++a->entries > a->limits.entries)
            return kf_error_set(err, KF_TOO_LARGE, "archive_too_many", "the archive has more than %lld entries",
                                (long long)a->limits.entries);
        const char *path = archive_entry_pathname(header);
        size_t length = path ? strlen(path) : 0;
        if (archive_entry_filetype(header) != AE_IFREG || archive_entry_hardlink(header) ||
            (length && path[length - 1] == '/'))
            continue;
        if (archive_entry_is_encrypted(header))
            return kf_error_set(err, KF_INVALID, "archive_encrypted", "the archive is encrypted");
        clean_path(path, entry->path);
        entry->size_hint = archive_entry_size_is_set(header) ? archive_entry_size(header) : -1;
        a->entry_total = 0;
        *more = 1;
        return KF_OK;
    }
}

enum kf_status kf_archive_read(struct kf_archive *a, void *to, size_t size, size_t *got, struct kf_error *err)
{
    *got = 0;
    la_ssize_t n = archive_read_data(a->reader, to, size);
    if (n == ARCHIVE_RETRY)
        n = archive_read_data(a->reader, to, size);
    if (n < 0)
        return reader_failed(a, err);
    a->entry_total += n;
    a->total += n;
    if (a->entry_total > a->limits.entry_bytes || a->total > a->limits.total_bytes)
        return kf_error_set(err, KF_TOO_LARGE, "archive_too_large", "the archive unpacks to more than is allowed");
    if (a->total > RATIO_FROM && (double)a->total > a->limits.ratio * (double)(a->end - a->offset))
        return kf_error_set(err, KF_TOO_LARGE, "archive_bomb", "the archive unpacks to over %.0f times its size",
                            a->limits.ratio);
    *got = (size_t)n;
    return KF_OK;
}

void kf_archive_close(struct kf_archive *a)
{
    if (!a)
        return;
    if (a->reader)
        archive_read_free(a->reader);
    free(a);
}
