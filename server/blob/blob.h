// The blob store: immutable bytes in containers. A directory today; the interface assumes neither rename nor mmap nor
// that what lies on disk is plaintext, so that an object store fits behind it later.
//
// A container is written once, by one writer, front to back, and read from any offset. Nothing here knows hashes of
// organisations or rows: the database says which bytes of which container are a blob, and a container that no row refers
// to is garbage. Containers of a directory lie under ROOT/ORGANISATION/xx/UUID.
//
// Durability: kf_blob_writer_sync answers KF_OK only after fdatasync of the bytes and, when names are new, fsync of every
// new directory entry. A failed sync is final for that writer: every later call fails too, since the kernel may have
// dropped the pages (nothing is ever retried into a success).
//
// Faults for tests, in every build but only when the variable is set: KERF_FAULT_FSYNC=n lets the n-th sync of the process
// fail (n,m: from n to m); KERF_FAULT_ENOSPC=bytes lets every write behind that many bytes of the process fail.
//
// Threads: a store may be shared; a writer belongs to one thread.
#ifndef KERF_BLOB_BLOB_H
#define KERF_BLOB_BLOB_H

#include "server/base/error.h"
#include <stddef.h>
#include <stdint.h>

#define KF_BLOB_CONTAINER 128                       // longest container name, with NUL
#define KF_BLOB_SEGMENT_MOST ((int64_t)256 << 20)   // a segment rolls over to a new container beyond this

struct kf_blob_store;

// location: a directory (made when missing), later "s3://…".
KF_MUST_USE enum kf_status kf_blob_store_open(struct kf_blob_store **out, const char *location, struct kf_error *err);
void kf_blob_store_close(struct kf_blob_store *store);
// Can be written right now? Makes and removes a small file. For /readyz.
KF_MUST_USE enum kf_status kf_blob_store_probe(struct kf_blob_store *store, struct kf_error *err);

// ------------------------------------------------------------------------- one blob, one container
struct kf_blob_writer;

// *out is owned: kf_blob_writer_close.
KF_MUST_USE enum kf_status kf_blob_writer_open(struct kf_blob_store *store, const char *organisation,
                                               struct kf_blob_writer **out, struct kf_error *err);
KF_MUST_USE enum kf_status kf_blob_writer_add(struct kf_blob_writer *writer, const void *bytes, size_t length,
                                              struct kf_error *err);
// Everything from fd (from its position to its end), without passing through our memory where the kernel can, hashed.
KF_MUST_USE enum kf_status kf_blob_writer_add_fd(struct kf_blob_writer *writer, int fd, struct kf_error *err);

struct kf_blob_written {
    char container[KF_BLOB_CONTAINER];
    int64_t offset; // 0 for a container of its own
    int64_t bytes;
    unsigned char sha256[32];
};
// Makes it durable and says what it is. When expected is not NULL and the hash differs: KF_UNPROCESSABLE
// "hash_mismatch", and the container is removed.
KF_MUST_USE enum kf_status kf_blob_writer_sync(struct kf_blob_writer *writer, const unsigned char *expected,
                                               struct kf_blob_written *out, struct kf_error *err);
// Closes. Without a successful sync before, the container is removed.
void kf_blob_writer_close(struct kf_blob_writer *writer);

// ------------------------------------------------------------------------- many blobs, one container
// A segment takes one object after another (an association appends the instances of a series). Objects may be streamed:
// begin, add…, end; `end` gives its place and hash, sync makes everything up to here durable.
struct kf_blob_segment;

// *out is owned: kf_blob_segment_close.
KF_MUST_USE enum kf_status kf_blob_segment_open(struct kf_blob_store *store, const char *organisation,
                                                struct kf_blob_segment **out, struct kf_error *err);
// Starts an object; rolls over to a new container when the present one is full.
KF_MUST_USE enum kf_status kf_blob_segment_begin(struct kf_blob_segment *segment, struct kf_error *err);
KF_MUST_USE enum kf_status kf_blob_segment_add(struct kf_blob_segment *segment, const void *bytes, size_t length,
                                               struct kf_error *err);
KF_MUST_USE enum kf_status kf_blob_segment_end(struct kf_blob_segment *segment, struct kf_blob_written *out,
                                               struct kf_error *err);
// Forgets the object that was begun (or ended and not used): the container is cut back where the backend can.
void kf_blob_segment_undo(struct kf_blob_segment *segment);
// begin + add + end + sync. The usual call of the intake for small objects.
KF_MUST_USE enum kf_status kf_blob_segment_put(struct kf_blob_segment *segment, const void *bytes, size_t length,
                                               struct kf_blob_written *out, struct kf_error *err);
KF_MUST_USE enum kf_status kf_blob_segment_sync(struct kf_blob_segment *segment, struct kf_error *err);
// A read-only descriptor of the container that is being written, borrowed (pread of what was added so far).
int kf_blob_segment_fd(const struct kf_blob_segment *segment);
void kf_blob_segment_close(struct kf_blob_segment *segment); // an empty container is removed

// ------------------------------------------------------------------------- reading
// A descriptor for `container` (owned: close). Ranges are the caller's business: pread, sendfile.
KF_MUST_USE enum kf_status kf_blob_open(struct kf_blob_store *store, const char *container, int *fd,
                                        struct kf_error *err);
// The file's path, for a process that is given files (the job child). KF_UNSUPPORTED where the backend has none.
KF_MUST_USE enum kf_status kf_blob_path(struct kf_blob_store *store, const char *container, char *to, size_t size,
                                        struct kf_error *err);
// Removes a container that no row refers to. Missing is fine.
KF_MUST_USE enum kf_status kf_blob_remove(struct kf_blob_store *store, const char *container, struct kf_error *err);

#endif
