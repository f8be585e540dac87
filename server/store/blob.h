// Where the bytes of an organisation lie. A blob is always asked for through something that leads to it.
#ifndef KERF_STORE_BLOB_H
#define KERF_STORE_BLOB_H

#include "server/base/arena.h"
#include "server/store/store.h"
#include <stddef.h>

struct kf_blob_place {
    unsigned char sha256[32];
    int64_t bytes;
    char container[128];
    int64_t offset;
    char media_type[80]; // of the artefact it was asked through; "" otherwise
};

// The blob with this hash, if an artefact or an instance of this case refers to it; else KF_NOT_FOUND. gzip: the same
// bytes gzipped, where the job that made the artefact made that too and it is smaller; else its bytes are 0.
KF_MUST_USE enum kf_status kf_store_blob_of_case(struct kf_store *store, const char *organisation, const char *case_id,
                                                 const unsigned char sha256[32], struct kf_blob_place *out,
                                                 struct kf_blob_place *gzip, struct kf_error *err);

// Registers bytes that are already durable. *used is 0 when the hash was known and the new bytes may go.
KF_MUST_USE enum kf_status kf_store_blob_add(struct kf_store *store, const char *organisation,
                                             const unsigned char sha256[32], int64_t bytes, const char *container,
                                             int64_t offset, int *used, struct kf_error *err);

// Walks all blobs of an organisation by hash, for verification and backup: up to `limit` behind `after` (NULL: from the
// start).
KF_MUST_USE enum kf_status kf_store_blob_walk(struct kf_store *store, const char *organisation,
                                              const unsigned char *after, int limit, struct kf_arena *arena,
                                              struct kf_blob_place **out, size_t *count, struct kf_error *err);

#endif
