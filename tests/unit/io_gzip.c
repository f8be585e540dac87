// gzip of whole files: one member that gives the bytes back, the same on a thread of its own; and failures.
#include "server/base/test.h"
#include "workers/io/file.h"
#include "workers/io/gzip.h"
#include "workers/io/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define FILES 3

static char folder[] = "/tmp/kerf-gzip.XXXXXX";
static char from[FILES][64], to[FILES][64];
static const char *from_paths[FILES], *to_paths[FILES];

// Coordinates that change little, noise, and nothing.
static int64_t make(int which, unsigned char **bytes)
{
    static const int64_t lengths[FILES] = {9 << 20, 100003, 0};
    uint32_t random = 1;
    *bytes = malloc((size_t)lengths[which] + 1);
    for (int64_t i = 0; *bytes && i < lengths[which]; i++) {
        random = random * 1664525u + 1013904223u;
        (*bytes)[i] = (unsigned char)(which ? random >> 24 : i >> 9);
    }
    return *bytes ? lengths[which] : 0;
}

static void write_all(void)
{
    for (int i = 0; i < FILES; i++) {
        unsigned char *bytes;
        int64_t length = make(i, &bytes);
        int fd;
        snprintf(from[i], sizeof from[i], "%s/%d", folder, i);
        snprintf(to[i], sizeof to[i], "%s/%d.gz", folder, i);
        from_paths[i] = from[i];
        to_paths[i] = to[i];
        KF_REQUIRE(kf_file_create(from[i], &fd, NULL) == KF_OK);
        KF_REQUIRE(kf_file_close(fd, kf_file_write(NULL, fd, bytes, length, NULL), NULL) == KF_OK);
        free(bytes);
    }
}

// What a decoder that knows of one member only makes of the file.
static void check_member(int which)
{
    void *packed;
    int64_t packed_length = -1;
    unsigned char *wanted;
    int64_t length = make(which, &wanted);
    unsigned char *got = malloc((size_t)length + 1);
    KF_REQUIRE(got && kf_file_load(NULL, to[which], 0, &packed_length, &packed, NULL) == KF_OK);
    z_stream stream = {.next_in = packed, .avail_in = (uInt)packed_length, .next_out = got, .avail_out = (uInt)length + 1};
    KF_REQUIRE(inflateInit2(&stream, 15 + 16) == Z_OK);
    KF_CHECK_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
    KF_CHECK_EQ(stream.avail_in, 0);
    KF_CHECK_EQ((int64_t)stream.total_out, length);
    KF_CHECK(memcmp(got, wanted, (size_t)length) == 0);
    inflateEnd(&stream);
    kf_memory_release(packed);
    free(got);
    free(wanted);
}

static enum kf_status pack(const char *const *of, const char *const *into, int aside, struct kf_error *err)
{
    struct kf_gzip_files files = {.from = of, .to = into, .count = FILES, .level = 1};
    kf_gzip_files_start(NULL, &files, aside);
    return kf_gzip_files_finish(NULL, &files, err);
}

KF_TEST(each_file_becomes_one_member)
{
    struct kf_error err = {0};
    KF_REQUIRE(pack(from_paths, to_paths, 1, &err) == KF_OK);
    for (int i = 0; i < FILES; i++)
        check_member(i);
}

KF_TEST(a_thread_of_its_own_does_not_change_a_byte)
{
    void *first[FILES] = {0};
    int64_t first_length[FILES];
    for (int aside = 0; aside < 2; aside++) {
        KF_REQUIRE(pack(from_paths, to_paths, aside, NULL) == KF_OK);
        for (int i = 0; i < FILES; i++) {
            void *bytes;
            int64_t length = -1;
            KF_REQUIRE(kf_file_load(NULL, to[i], 0, &length, &bytes, NULL) == KF_OK);
            if (!aside) {
                first[i] = bytes;
                first_length[i] = length;
                continue;
            }
            KF_CHECK(length == first_length[i] && memcmp(bytes, first[i], (size_t)length) == 0);
            kf_memory_release(bytes);
        }
    }
    for (int i = 0; i < FILES; i++)
        kf_memory_release(first[i]);
}

KF_TEST(one_file_that_fails_fails_all)
{
    struct kf_error err = {0};
    const char *broken[FILES] = {from[0], "/nowhere/at/all", from[2]};
    for (int aside = 0; aside < 2; aside++) {
        err = (struct kf_error){0};
        KF_CHECK(pack(broken, to_paths, aside, &err) != KF_OK);
        KF_CHECK(err.code[0] != 0);
    }
    const char *nowhere[FILES] = {to[0], to[1], "/nowhere/at/all"};
    KF_CHECK(pack(from_paths, nowhere, 1, &err) != KF_OK);
}

static void prepare(void)
{
    KF_REQUIRE(mkdtemp(folder) != NULL);
    write_all();
}

static void clean(void)
{
    for (int i = 0; i < FILES; i++) {
        unlink(from[i]);
        unlink(to[i]);
    }
    rmdir(folder);
}

KF_TEST_MAIN(prepare(); KF_RUN(each_file_becomes_one_member); KF_RUN(a_thread_of_its_own_does_not_change_a_byte);
             KF_RUN(one_file_that_fails_fails_all); clean();)
