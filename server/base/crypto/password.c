#include "server/base/crypto/password.h"

#include "server/base/config.h"
#include "server/base/timeid.h"
#include <argon2.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANES      1
#define SALT_BYTES 16
#define HASH_BYTES 32

static uint32_t memory_kib, passes;
static char dummy[KF_PASSWORD_ENCODED];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    memory_kib = (uint32_t)kf_config_integer("KERF_ARGON2_MEMORY_KIB");
    passes = (uint32_t)kf_config_integer("KERF_ARGON2_PASSES");
    unsigned char salt[SALT_BYTES];
    char secret[33] = "";
    kf_random_bytes(salt, sizeof salt);
    kf_random_bytes(secret, sizeof secret - 1);
    argon2id_hash_encoded(passes, memory_kib, LANES, secret, sizeof secret, salt, sizeof salt, HASH_BYTES, dummy,
                          sizeof dummy);
}

enum kf_status kf_password_hash(const char *password, char encoded[KF_PASSWORD_ENCODED], struct kf_error *err)
{
    pthread_once(&once, load);
    encoded[0] = 0;
    size_t length = strlen(password);
    if (length > KF_PASSWORD_MOST)
        return kf_error_set(err, KF_INVALID, "password_too_long", "A password has at most %d bytes.", KF_PASSWORD_MOST);
    unsigned char salt[SALT_BYTES];
    kf_random_bytes(salt, sizeof salt);
    int code = argon2id_hash_encoded(passes, memory_kib, LANES, password, length, salt, sizeof salt, HASH_BYTES, encoded,
                                     KF_PASSWORD_ENCODED);
    if (code == ARGON2_MEMORY_ALLOCATION_ERROR)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to hash a password.");
    if (code != ARGON2_OK)
        return kf_error_set(err, KF_INTERNAL, "argon2", "A password cannot be hashed (argon2 error %d).", code);
    return KF_OK;
}

enum kf_status kf_password_verify(const char *password, const char *encoded, struct kf_error *err)
{
    pthread_once(&once, load);
    size_t length = strlen(password);
    // A password that is too long is wrong, but takes its time like any other.
    int code = argon2id_verify(encoded ? encoded : dummy, password, length > KF_PASSWORD_MOST ? 0 : length);
    if (code == ARGON2_MEMORY_ALLOCATION_ERROR)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to check a password.");
    if (code != ARGON2_OK || !encoded || length > KF_PASSWORD_MOST)
        return kf_error_set(err, KF_UNAUTHENTICATED, "invalid_credentials", "Login or password is wrong.");
    return KF_OK;
}

void kf_password_generate(char to[32])
{
    // 31 signs: no 0 O 1 I L. 20 of them are 99 bits.
    static const char alphabet[] = "23456789ABCDEFGHJKMNPQRSTUVWXYZ";
    char *at = to;
    for (int i = 0; i < 20; i++) {
        unsigned char byte;
        do
            kf_random_bytes(&byte, 1);
        while (byte >= 31 * 8); // no sign is more likely than another
        if (i && i % 5 == 0)
            *at++ = '-';
        *at++ = alphabet[byte % 31];
    }
    *at = 0;
}

void kf_base64url(char *to, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < n; i += 3) {
        unsigned word = (unsigned)bytes[i] << 16 | (i + 1 < n ? (unsigned)bytes[i + 1] << 8 : 0) |
                        (i + 2 < n ? bytes[i + 2] : 0);
        *to++ = digits[word >> 18 & 63];
        *to++ = digits[word >> 12 & 63];
        if (i + 1 < n)
            *to++ = digits[word >> 6 & 63];
        if (i + 2 < n)
            *to++ = digits[word & 63];
    }
    *to = 0;
}

void kf_token_new(const char *prefix, char to[KF_TOKEN_TEXT], unsigned char sha256[KF_SHA256_BYTES])
{
    unsigned char secret[32];
    char text[48];
    kf_random_bytes(secret, sizeof secret);
    kf_base64url(text, secret, sizeof secret);
    int length = snprintf(to, KF_TOKEN_TEXT, "%.16s%s", prefix, text);
    kf_sha256(to, (size_t)length, sha256);
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(text, sizeof text);
}
