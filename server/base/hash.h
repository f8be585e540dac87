// SHA-256 (FIPS 180-4), the name of every blob and artefact key. Implemented over OpenSSL in crypto/.
#ifndef KERF_BASE_HASH_H
#define KERF_BASE_HASH_H

#include "server/base/error.h"
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KF_SHA256_BYTES 32
#define KF_SHA256_HEX   65 // with the terminating NUL

struct kf_sha256; // opaque stream

KF_MUST_USE enum kf_status kf_sha256_new(struct kf_sha256 **out); // owned: kf_sha256_free
void kf_sha256_add(struct kf_sha256 *stream, const void *bytes, size_t length);
void kf_sha256_finish(struct kf_sha256 *stream, unsigned char digest[KF_SHA256_BYTES]); // may be reused afterwards
void kf_sha256_free(struct kf_sha256 *stream);

// All at once.
void kf_sha256(const void *bytes, size_t length, unsigned char digest[KF_SHA256_BYTES]);

// Hash of `length` bytes of an open file from `offset` (pread; the file position does not move).
KF_MUST_USE enum kf_status kf_sha256_fd(int fd, int64_t offset, int64_t length, unsigned char digest[KF_SHA256_BYTES],
                                        struct kf_error *err);

#ifdef __cplusplus
}
#endif

#endif
