#include "server/base/hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

struct kf_sha256 {
    EVP_MD_CTX *context;
};

static const EVP_MD *algorithm;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

// OpenSSL 3 looks an algorithm up at every use unless it is fetched once.
static void fetch(void)
{
    algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!algorithm)
        algorithm = EVP_sha256();
}

static const EVP_MD *sha256_algorithm(void)
{
    pthread_once(&fetched, fetch);
    return algorithm;
}

// A hash that cannot be computed must never be taken for one: these calls fail only without memory or without SHA-256.
static void must(int success)
{
    if (!success)
        abort();
}

enum kf_status kf_sha256_new(struct kf_sha256 **out)
{
    *out = NULL;
    struct kf_sha256 *stream = calloc(1, sizeof *stream);
    if (!stream)
        return KF_NOMEM;
    stream->context = EVP_MD_CTX_new();
    if (!stream->context || !EVP_DigestInit_ex2(stream->context, sha256_algorithm(), NULL)) {
        kf_sha256_free(stream);
        return KF_NOMEM;
    }
    *out = stream;
    return KF_OK;
}

void kf_sha256_add(struct kf_sha256 *stream, const void *bytes, size_t length)
{
    must(EVP_DigestUpdate(stream->context, bytes, length));
}

void kf_sha256_finish(struct kf_sha256 *stream, unsigned char digest[KF_SHA256_BYTES])
{
    must(EVP_DigestFinal_ex(stream->context, digest, NULL));
    must(EVP_DigestInit_ex2(stream->context, sha256_algorithm(), NULL));
}

void kf_sha256_free(struct kf_sha256 *stream)
{
    if (!stream)
        return;
    EVP_MD_CTX_free(stream->context);
    free(stream);
}

void kf_sha256(const void *bytes, size_t length, unsigned char digest[KF_SHA256_BYTES])
{
    must(EVP_Digest(bytes, length, digest, NULL, sha256_algorithm(), NULL));
}

enum kf_status kf_sha256_fd(int fd, int64_t offset, int64_t length, unsigned char digest[KF_SHA256_BYTES],
                            struct kf_error *err)
{
    enum { CHUNK = 262144 };
    struct kf_sha256 *stream = NULL;
    unsigned char *buffer = malloc(CHUNK);
    enum kf_status status = buffer ? kf_sha256_new(&stream) : KF_NOMEM;
    if (status)
        kf_error_set(err, status, NULL, "Not enough memory to hash a file.");
    while (!status && length > 0) {
        ssize_t n = pread(fd, buffer, length < CHUNK ? (size_t)length : CHUNK, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            status = kf_error_errno(err, errno, "Reading a file to hash it");
        } else if (n == 0) {
            status = kf_error_set(err, KF_IO, "short_file", "A file ends %lld bytes early.", (long long)length);
        } else {
            kf_sha256_add(stream, buffer, (size_t)n);
            offset += n;
            length -= n;
        }
    }
    if (!status)
        kf_sha256_finish(stream, digest);
    kf_sha256_free(stream);
    free(buffer);
    return status;
}
