// Blobs: what is written comes back, a half-written object leaves no trace, and a failed sync is final.
#include "server/base/hash.h"
#include "server/base/test.h"
#include "server/base/timeid.h"
#include "server/blob/backend.h"
#include "server/blob/blob.h"

#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[] = "/tmp/kerf-blob.XXXXXX";
static struct kf_blob_store *store;
static char organisation[KF_ID_TEXT];

static long long files;

static int count_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)st;
    (void)ftw;
    files += type == FTW_F;
    return 0;
}

static long long count_files(void)
{
    files = 0;
    nftw(root, count_file, 8, FTW_PHYS);
    return files;
}

static int reads_back(const struct kf_blob_written *w, const char *text)
{
    char bytes[64] = "";
    int fd;
    struct kf_error err;
    if (kf_blob_open(store, w->container, &fd, &err))
        return 0;
    ssize_t n = pread(fd, bytes, (size_t)w->bytes, w->offset);
    close(fd);
    unsigned char digest[32];
    kf_sha256(text, strlen(text), digest);
    return n == (ssize_t)strlen(text) && memcmp(bytes, text, strlen(text)) == 0 && memcmp(digest, w->sha256, 32) == 0;
}

KF_TEST(objects_of_a_segment_come_back_by_their_places)
{
    struct kf_blob_segment *segment;
    struct kf_blob_written a, b;
    struct kf_error err;
    KF_REQUIRE(kf_blob_segment_open(store, organisation, &segment, &err) == KF_OK);
    KF_CHECK_EQ(kf_blob_segment_put(segment, "first", 5, &a, &err), KF_OK);
    KF_CHECK_EQ(kf_blob_segment_put(segment, "second", 6, &b, &err), KF_OK);
    KF_CHECK_STR(a.container, b.container);
    KF_CHECK_EQ(b.offset, 5);
    KF_CHECK(reads_back(&a, "first"));
    KF_CHECK(reads_back(&b, "second"));
    kf_blob_segment_close(segment);
}

KF_TEST(an_undone_object_leaves_no_bytes_and_no_hash)
{
    struct kf_blob_segment *segment;
    struct kf_blob_written w;
    struct kf_error err;
    KF_REQUIRE(kf_blob_segment_open(store, organisation, &segment, &err) == KF_OK);
    KF_CHECK_EQ(kf_blob_segment_begin(segment, &err), KF_OK);
    KF_CHECK_EQ(kf_blob_segment_add(segment, "half", 4, &err), KF_OK);
    kf_blob_segment_undo(segment);
    KF_CHECK_EQ(kf_blob_segment_put(segment, "whole", 5, &w, &err), KF_OK);
    KF_CHECK_EQ(w.offset, 0);
    KF_CHECK(reads_back(&w, "whole"));
    kf_blob_segment_close(segment);
}

static enum kf_status no_cut(struct kf_container *container, int64_t length, struct kf_error *err)
{
    (void)container;
    (void)length;
    return kf_error_set(err, KF_UNSUPPORTED, NULL, "not here");
}

KF_TEST(where_nothing_can_be_cut_nothing_unsynced_is_called_durable)
{
    struct kf_backend stiff = *store->backend;
    const struct kf_backend *usual = store->backend;
    struct kf_blob_segment *segment;
    struct kf_blob_written a, b;
    struct kf_error err;
    stiff.cut = no_cut;
    store->backend = &stiff;
    KF_REQUIRE(kf_blob_segment_open(store, organisation, &segment, &err) == KF_OK);
    KF_CHECK_EQ(kf_blob_segment_put(segment, "first", 5, &a, &err), KF_OK);
    KF_REQUIRE(kf_blob_segment_begin(segment, &err) == KF_OK);
    KF_CHECK_EQ(kf_blob_segment_add(segment, "gone", 4, &err), KF_OK);
    kf_blob_segment_undo(segment); // all before it is durable: a new container, and on
    KF_CHECK_EQ(kf_blob_segment_begin(segment, &err), KF_OK);
    KF_CHECK_EQ(kf_blob_segment_add(segment, "waits", 5, &err), KF_OK);
    KF_CHECK_EQ(kf_blob_segment_end(segment, &b, &err), KF_OK);
    KF_CHECK(strcmp(a.container, b.container) != 0);
    KF_CHECK_EQ(kf_blob_segment_begin(segment, &err), KF_OK);
    KF_CHECK_EQ(kf_blob_segment_add(segment, "gone", 4, &err), KF_OK);
    kf_blob_segment_undo(segment);
    KF_CHECK_EQ(kf_blob_segment_begin(segment, &err), KF_IO);
    KF_CHECK_EQ(kf_blob_segment_sync(segment, &err), KF_IO); // "waits" was in the container that is left
    kf_blob_segment_close(segment);
    store->backend = usual;
    KF_CHECK(reads_back(&a, "first"));
}

KF_TEST(an_unused_segment_and_an_unsynced_writer_leave_no_file)
{
    long long before = count_files();
    struct kf_blob_segment *segment;
    struct kf_blob_writer *writer;
    struct kf_error err;
    KF_REQUIRE(kf_blob_segment_open(store, organisation, &segment, &err) == KF_OK);
    KF_CHECK_EQ(kf_blob_segment_begin(segment, &err), KF_OK);
    kf_blob_segment_close(segment);
    KF_REQUIRE(kf_blob_writer_open(store, organisation, &writer, &err) == KF_OK);
    KF_CHECK_EQ(kf_blob_writer_add(writer, "bytes", 5, &err), KF_OK);
    kf_blob_writer_close(writer);
    KF_CHECK_EQ(count_files(), before);
}

KF_TEST(a_writer_refuses_bytes_with_another_hash)
{
    unsigned char promised[32];
    struct kf_blob_writer *writer;
    struct kf_blob_written w;
    struct kf_error err;
    kf_sha256("this", 4, promised);
    long long before = count_files();
    KF_REQUIRE(kf_blob_writer_open(store, organisation, &writer, &err) == KF_OK);
    KF_CHECK_EQ(kf_blob_writer_add(writer, "that", 4, &err), KF_OK);
    KF_CHECK_EQ(kf_blob_writer_sync(writer, promised, &w, &err), KF_UNPROCESSABLE);
    KF_CHECK_STR(err.code, "hash_mismatch");
    kf_blob_writer_close(writer);
    KF_CHECK_EQ(count_files(), before);
}

KF_TEST(an_empty_blob_is_a_blob)
{
    struct kf_blob_writer *writer;
    struct kf_blob_written w;
    struct kf_error err;
    KF_REQUIRE(kf_blob_writer_open(store, organisation, &writer, &err) == KF_OK);
    KF_CHECK_EQ(kf_blob_writer_sync(writer, NULL, &w, &err), KF_OK);
    kf_blob_writer_close(writer);
    KF_CHECK(reads_back(&w, ""));
}

KF_TEST(a_name_from_a_row_is_no_path)
{
    static const char *const bad[] = {"", "../../etc/passwd", "/etc/passwd", "a/b/c",
                                      "00000000-0000-7000-8000-000000000000/00/../../../../../../etc/passwd"};
    int fd;
    struct kf_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        KF_CHECK(kf_blob_open(store, bad[i], &fd, &err) != KF_OK && fd == -1);
}

// In a child, so that the fault belongs to it alone.
static int with_fault(const char *variable, const char *value, int (*body)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        setenv(variable, value, 1);
        _exit(body());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int failing_sync(void)
{
    struct kf_blob_segment *segment;
    struct kf_blob_written w;
    struct kf_error err;
    if (kf_blob_segment_open(store, organisation, &segment, &err))
        return 1;
    if (kf_blob_segment_put(segment, "one", 3, &w, &err) != KF_IO)
        return 2;
    if (kf_blob_segment_sync(segment, &err) == KF_OK || kf_blob_segment_put(segment, "two", 3, &w, &err) == KF_OK)
        return 3; // a failed sync may not be repaired by asking again
    kf_blob_segment_close(segment);
    return 0;
}

static int full_disk(void)
{
    struct kf_blob_segment *segment;
    struct kf_blob_written w;
    struct kf_error err;
    if (kf_blob_segment_open(store, organisation, &segment, &err) || kf_blob_segment_put(segment, "12345", 5, &w, &err))
        return 1;
    if (kf_blob_segment_put(segment, "123456789", 9, &w, &err) != KF_NOSPACE)
        return 2;
    return kf_blob_segment_sync(segment, &err) == KF_OK ? 0 : 3; // what was whole before stays whole
}

KF_TEST(a_failed_sync_is_final)
{
    KF_CHECK_EQ(with_fault("KERF_FAULT_FSYNC", "1", failing_sync), 0); // the bytes
    KF_CHECK_EQ(with_fault("KERF_FAULT_FSYNC", "2", failing_sync), 0); // the name
    KF_CHECK_EQ(with_fault("KERF_FAULT_FSYNC", "4", failing_sync), 0); // the root's name
}

KF_TEST(a_full_disk_is_told_and_hurts_no_earlier_object)
{
    KF_CHECK_EQ(with_fault("KERF_FAULT_ENOSPC", "8", full_disk), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void start(void)
{
    kf_id_new(organisation);
    if (!mkdtemp(root))
        abort();
}

static void open_store(void)
{
    struct kf_error err;
    if (kf_blob_store_open(&store, root, &err))
        abort();
}

static void end(void)
{
    kf_blob_store_close(store);
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

// The faulty children come first: the fault module reads its variables once in a process.
KF_TEST_MAIN(start(); open_store(); KF_RUN(a_failed_sync_is_final); KF_RUN(a_full_disk_is_told_and_hurts_no_earlier_object);
             KF_RUN(objects_of_a_segment_come_back_by_their_places); KF_RUN(an_undone_object_leaves_no_bytes_and_no_hash);
             KF_RUN(where_nothing_can_be_cut_nothing_unsynced_is_called_durable);
             KF_RUN(an_unused_segment_and_an_unsynced_writer_leave_no_file);
             KF_RUN(a_writer_refuses_bytes_with_another_hash); KF_RUN(an_empty_blob_is_a_blob);
             KF_RUN(a_name_from_a_row_is_no_path); end();)
