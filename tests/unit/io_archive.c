// Archives of strangers: paths that climb, cut files, too many entries, bombs.
#include "server/base/str.h"
#include "server/base/test.h"
#include "workers/io/archive.h"
#include "workers/io/gzip.h"
#include "workers/io/memory.h"

#include <stdint.h>
#include <unistd.h>

static uint32_t crc32_of(const char *bytes, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)bytes[i];
        for (int b = 0; b < 8; b++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    return ~crc;
}

static void put(struct kf_str *s, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        kf_str_add_char(s, (char)(value >> (8 * i)));
}

// A zip of stored entries: names[i] holds the text contents[i].
static void make_zip(struct kf_str *zip, const char *const *names, const char *const *contents, int count, int flags)
{
    struct kf_str directory = {0};
    for (int i = 0; i < count; i++) {
        size_t at = zip->length, n = strlen(contents[i]);
        for (int central = 0; central < 2; central++) {
            struct kf_str *s = central ? &directory : zip;
            put(s, central ? 0x02014b50 : 0x04034b50, 4);
            if (central)
                put(s, 20, 2);
            put(s, 20, 2);
            put(s, (uint64_t)flags, 2);
            put(s, 0, 2);
            put(s, 0, 4);
            put(s, crc32_of(contents[i], n), 4);
            put(s, n, 4);
            put(s, n, 4);
            put(s, strlen(names[i]), 2);
            put(s, 0, 2);
            if (central) {
                put(s, 0, 2);
                put(s, 0, 2);
                put(s, 0, 2);
                put(s, 0, 4);
                put(s, at, 4);
            }
            kf_str_add_text(s, names[i]);
            if (!central)
                kf_str_add_text(s, contents[i]);
        }
    }
    size_t start = zip->length;
    kf_str_add(zip, directory.data, directory.length);
    put(zip, 0x06054b50, 4);
    put(zip, 0, 4);
    put(zip, (uint64_t)count, 2);
    put(zip, (uint64_t)count, 2);
    put(zip, directory.length, 4);
    put(zip, start, 4);
    put(zip, 0, 2);
    kf_str_release(&directory);
}

static int file_with(const void *bytes, size_t length)
{
    char path[] = "/tmp/kf_archive.XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || unlink(path) || write(fd, bytes, length) != (ssize_t)length)
        exit(1);
    return fd;
}

// Reads everything; names and contents go to `seen` as NAME=CONTENT; lines.
static enum kf_status walk(int fd, const struct kf_archive_limits *limits, struct kf_str *seen, struct kf_error *err)
{
    struct kf_archive *a;
    struct kf_archive_entry entry;
    int more;
    enum kf_status status = kf_archive_open(fd, 0, -1, limits, &a, err);
    while (!status && !(status = kf_archive_next(a, &entry, &more, err)) && more) {
        char piece[7];
        size_t got;
        kf_str_printf(seen, "%s=", entry.path);
        while (!(status = kf_archive_read(a, piece, sizeof piece, &got, err)) && got)
            kf_str_add(seen, piece, got);
        kf_str_add_char(seen, ';');
    }
    kf_archive_close(a);
    return status;
}

static const char *const names[] = {"a.dcm", "deep/er/b.dcm", "../../etc/passwd", "/abs/c", "dir/", "C:\\x\\..\\d\n"};
static const char *const contents[] = {"alpha", "beta beta", "gamma", "", "", "delta"};

KF_TEST(entries_come_with_paths_that_cannot_climb)
{
    struct kf_str zip = {0}, seen = {0};
    struct kf_error err = {0};
    make_zip(&zip, names, contents, 6, 0);
    KF_CHECK(kf_archive_is_zip(zip.data, zip.length));
    int fd = file_with(zip.data, zip.length);
    KF_CHECK_EQ(walk(fd, NULL, &seen, &err), KF_OK);
    KF_CHECK_STR(kf_str_text(&seen), "a.dcm=alpha;deep/er/b.dcm=beta beta;etc/passwd=gamma;abs/c=;x/d_=delta;");
    close(fd);
    kf_str_release(&zip);
    kf_str_release(&seen);
}

KF_TEST(every_cut_is_a_truncated_zip)
{
    struct kf_str zip = {0};
    make_zip(&zip, names, contents, 6, 0);
    int wrong = 0;
    for (size_t cut = 4; cut < zip.length; cut++) {
        struct kf_str seen = {0};
        struct kf_error err = {0};
        int fd = file_with(zip.data, cut);
        wrong += walk(fd, NULL, &seen, &err) != KF_INVALID || strcmp(err.code, "truncated_zip") != 0;
        close(fd);
        kf_str_release(&seen);
    }
    KF_CHECK_EQ(wrong, 0);
    kf_str_release(&zip);
}

static void expect(const void *bytes, size_t length, const struct kf_archive_limits *limits, enum kf_status status,
                   const char *code)
{
    struct kf_str seen = {0};
    struct kf_error err = {0};
    int fd = file_with(bytes, length);
    KF_CHECK_EQ(walk(fd, limits, &seen, &err), status);
    KF_CHECK_STR(err.code, code);
    close(fd);
    kf_str_release(&seen);
}

KF_TEST(limits_hold)
{
    struct kf_str zip = {0};
    make_zip(&zip, names, contents, 6, 0);
    expect(zip.data, zip.length, &(struct kf_archive_limits){.entries = 3}, KF_TOO_LARGE, "archive_too_many");
    expect(zip.data, zip.length, &(struct kf_archive_limits){.entry_bytes = 6}, KF_TOO_LARGE, "archive_too_large");
    expect(zip.data, zip.length, &(struct kf_archive_limits){.total_bytes = 16}, KF_TOO_LARGE, "archive_too_large");
    kf_str_clear(&zip);
    make_zip(&zip, names, contents, 1, 1);
    expect(zip.data, zip.length, NULL, KF_INVALID, "archive_encrypted");
    expect("no archive at all", 17, NULL, KF_INVALID, "archive_format");
    expect("", 0, NULL, KF_INVALID, "archive_format");
    kf_str_release(&zip);
}

KF_TEST(a_bomb_is_stopped)
{
    // A tar of one file of 64 MiB of zeros, as gzip: a thousandth of that.
    int64_t length = 512 + ((int64_t)64 << 20) + 1024;
    char *tar = kf_memory_take(length);
    KF_REQUIRE(tar);
    memset(tar, 0, (size_t)length);
    memcpy(tar, "bomb", 4);
    memcpy(tar + 100, "0000644", 7);
    memcpy(tar + 124, "00400000000", 11);
    memcpy(tar + 148, "        ", 8);
    tar[156] = '0';
    memcpy(tar + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)tar[i];
    snprintf(tar + 148, 8, "%06o", sum);
    void *packed;
    int64_t packed_length;
    struct kf_error err;
    KF_REQUIRE(!kf_gzip_pack(tar, length, 6, &packed, &packed_length, &err));
    expect(packed, (size_t)packed_length, NULL, KF_TOO_LARGE, "archive_bomb");
    kf_memory_release(packed);
    kf_memory_release(tar);
}

KF_TEST_MAIN(KF_RUN(entries_come_with_paths_that_cannot_climb); KF_RUN(every_cut_is_a_truncated_zip); KF_RUN(limits_hold);
             KF_RUN(a_bomb_is_stopped);)
