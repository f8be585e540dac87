// Writers and segments over a backend: hashing, roll-over, and the rule that a failed sync is final.
#include "server/blob/blob.h"

#include "server/base/hash.h"
#include "server/base/str.h"
#include "server/blob/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_BYTES ((size_t)1 << 20)

enum kf_status kf_blob_store_open(struct kf_blob_store **out, const char *location, struct kf_error *err)
{
    *out = NULL;
    if (strstr(location, "://"))
        return kf_error_set(err, KF_UNSUPPORTED, "blob_location", "this kind of blob store is not supported yet");
    struct kf_blob_store *store = calloc(1, sizeof *store);
    if (!store)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the blob store");
    store->root = -1;
    enum kf_status status = kf_backend_dir_open(store, location, err);
    if (status)
        kf_blob_store_close(store);
    else
        *out = store;
    return status;
}

void kf_blob_store_close(struct kf_blob_store *store)
{
    if (!store)
        return;
    if (store->root >= 0)
        close(store->root);
    free(store);
}

enum kf_status kf_blob_store_probe(struct kf_blob_store *store, struct kf_error *err)
{
    return store->backend->probe(store, err);
}

enum kf_status kf_blob_open(struct kf_blob_store *store, const char *container, int *fd, struct kf_error *err)
{
    return store->backend->open(store, container, fd, err);
}

enum kf_status kf_blob_path(struct kf_blob_store *store, const char *container, char *to, size_t size,
                            struct kf_error *err)
{
    return store->backend->path(store, container, to, size, err);
}

enum kf_status kf_blob_remove(struct kf_blob_store *store, const char *container, struct kf_error *err)
{
    return store->backend->remove(store, container, err);
}

// ---------------------------------------------------------------------------------------------- segments
struct kf_blob_segment {
    struct kf_blob_store *store;
    char organisation[64];
    char name[KF_BLOB_CONTAINER];
    struct kf_container *container; // NULL: none made yet, or the last one is full
    struct kf_sha256 *hash;         // of the object that is open
    int64_t length;                 // bytes in the container
    int64_t begun;                  // where the last object starts
    int64_t synced;                 // so much is durable
    int dirty;                      // something was added since the last sync
    int broken;                     // a write or sync failed: nothing here may be called durable any more
};

static enum kf_status broken(struct kf_error *err)
{
    return kf_error_set(err, KF_IO, "segment_broken", "an earlier write to this container failed");
}

enum kf_status kf_blob_segment_open(struct kf_blob_store *store, const char *organisation, struct kf_blob_segment **out,
                                    struct kf_error *err)
{
    *out = NULL;
    struct kf_blob_segment *segment = calloc(1, sizeof *segment);
    if (!segment || kf_sha256_new(&segment->hash)) {
        free(segment);
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a segment");
    }
    segment->store = store;
    kf_str_copy(segment->organisation, sizeof segment->organisation, organisation);
    *out = segment;
    return KF_OK;
}

static void close_container(struct kf_blob_segment *segment)
{
    if (!segment->container)
        return;
    segment->store->backend->close(segment->container);
    segment->container = NULL;
    if (segment->length == 0 && segment->store->backend->remove(segment->store, segment->name, NULL))
        segment->broken = 1;
}

enum kf_status kf_blob_segment_begin(struct kf_blob_segment *segment, struct kf_error *err)
{
    enum kf_status status = segment->broken ? broken(err) : KF_OK;
    if (!status && segment->container && segment->length >= KF_BLOB_SEGMENT_MOST) {
        status = kf_blob_segment_sync(segment, err);
        if (!status)
            close_container(segment);
    }
    if (!status && !segment->container) {
        segment->length = segment->synced = 0;
        status = segment->store->backend->create(segment->store, segment->organisation, segment->name,
                                                 &segment->container, err);
    }
    if (status)
        return status;
    segment->begun = segment->length;
    unsigned char ignored[KF_SHA256_BYTES];
    kf_sha256_finish(segment->hash, ignored); // forgets what an undone object left
    return KF_OK;
}

enum kf_status kf_blob_segment_add(struct kf_blob_segment *segment, const void *bytes, size_t length,
                                   struct kf_error *err)
{
    if (segment->broken)
        return broken(err);
    segment->dirty = 1;
    enum kf_status status = segment->store->backend->append(segment->container, bytes, length, err);
    if (status)
        return status; // how much was written is unknown: the caller undoes the object
    kf_sha256_add(segment->hash, bytes, length);
    segment->length += (int64_t)length;
    return KF_OK;
}

enum kf_status kf_blob_segment_end(struct kf_blob_segment *segment, struct kf_blob_written *out, struct kf_error *err)
{
    memset(out, 0, sizeof *out);
    if (segment->broken)
        return broken(err);
    memcpy(out->container, segment->name, sizeof out->container);
    out->offset = segment->begun;
    out->bytes = segment->length - segment->begun;
    kf_sha256_finish(segment->hash, out->sha256);
    return KF_OK;
}

void kf_blob_segment_undo(struct kf_blob_segment *segment)
{
    if (!segment->container || segment->broken)
        return;
    // Where a cut fails, what was written is garbage in the middle, and offsets would be wrong: start anew. Objects before
    // it that wait for a sync can then no longer be made durable from here, and nobody may hear that they are.
    if (segment->store->backend->cut(segment->container, segment->begun, NULL)) {
        segment->broken = segment->dirty && segment->begun > segment->synced;
        segment->store->backend->close(segment->container);
        segment->container = NULL;
    }
    segment->length = segment->begun;
    if (segment->synced > segment->length)
        segment->synced = segment->length;
}

enum kf_status kf_blob_segment_sync(struct kf_blob_segment *segment, struct kf_error *err)
{
    if (segment->broken)
        return broken(err);
    if (!segment->container || !segment->dirty)
        return KF_OK;
    enum kf_status status = segment->store->backend->sync(segment->container, err);
    segment->broken = status != KF_OK;
    segment->dirty = segment->broken;
    if (!status)
        segment->synced = segment->length;
    return status;
}

enum kf_status kf_blob_segment_put(struct kf_blob_segment *segment, const void *bytes, size_t length,
                                   struct kf_blob_written *out, struct kf_error *err)
{
    enum kf_status status = kf_blob_segment_begin(segment, err);
    if (status)
        return status;
    status = kf_blob_segment_add(segment, bytes, length, err);
    if (!status)
        status = kf_blob_segment_end(segment, out, err);
    if (!status)
        status = kf_blob_segment_sync(segment, err);
    if (status) {
        kf_blob_segment_undo(segment);
        memset(out, 0, sizeof *out);
    }
    return status;
}

int kf_blob_segment_fd(const struct kf_blob_segment *segment)
{
    return segment->container ? segment->store->backend->read_fd(segment->container) : -1;
}

void kf_blob_segment_close(struct kf_blob_segment *segment)
{
    if (!segment)
        return;
    close_container(segment);
    kf_sha256_free(segment->hash);
    free(segment);
}

// ---------------------------------------------------------------------------------------------- writers
// A writer is a segment with one object.
struct kf_blob_writer {
    struct kf_blob_segment *segment;
    int synced;
};

enum kf_status kf_blob_writer_open(struct kf_blob_store *store, const char *organisation, struct kf_blob_writer **out,
                                   struct kf_error *err)
{
    *out = NULL;
    struct kf_blob_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a writer");
    enum kf_status status = kf_blob_segment_open(store, organisation, &writer->segment, err);
    if (!status)
        status = kf_blob_segment_begin(writer->segment, err);
    if (status)
        kf_blob_writer_close(writer);
    else
        *out = writer;
    return status;
}

enum kf_status kf_blob_writer_add(struct kf_blob_writer *writer, const void *bytes, size_t length, struct kf_error *err)
{
    enum kf_status status = kf_blob_segment_add(writer->segment, bytes, length, err);
    writer->segment->broken |= status != KF_OK;
    return status;
}

enum kf_status kf_blob_writer_add_fd(struct kf_blob_writer *writer, int fd, struct kf_error *err)
{
    char *buffer = malloc(COPY_BYTES);
    enum kf_status status = buffer ? KF_OK : kf_error_set(err, KF_NOMEM, NULL, "no memory to copy a file");
    for (ssize_t n = 1; !status && n > 0;) {
        n = read(fd, buffer, COPY_BYTES);
        if (n > 0)
            status = kf_blob_writer_add(writer, buffer, (size_t)n, err);
        else if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            status = kf_error_errno(err, errno, "cannot read a file that is to be stored");
    }
    free(buffer);
    return status;
}

enum kf_status kf_blob_writer_sync(struct kf_blob_writer *writer, const unsigned char *expected,
                                   struct kf_blob_written *out, struct kf_error *err)
{
    writer->segment->dirty = 1; // an empty blob's name must be durable too
    enum kf_status status = kf_blob_segment_end(writer->segment, out, err);
    if (!status && expected && memcmp(expected, out->sha256, KF_SHA256_BYTES) != 0)
        status = kf_error_set(err, KF_UNPROCESSABLE, "hash_mismatch", "the bytes have another hash than was promised");
    if (!status)
        status = kf_blob_segment_sync(writer->segment, err);
    writer->synced = !status;
    if (status)
        memset(out, 0, sizeof *out);
    return status;
}

void kf_blob_writer_close(struct kf_blob_writer *writer)
{
    if (!writer)
        return;
    struct kf_blob_segment *segment = writer->segment;
    if (segment) {
        if (!writer->synced)
            segment->length = 0; // closing an empty container removes it
        else if (segment->length == 0)
            segment->length = 1; // an empty blob stays
        kf_blob_segment_close(segment);
    }
    free(writer);
}
