// Passwords, one-time passwords and machine tokens.
#ifndef KERF_BASE_CRYPTO_PASSWORD_H
#define KERF_BASE_CRYPTO_PASSWORD_H

#include "server/base/error.h"
#include "server/base/hash.h"
#include <stddef.h>

#define KF_PASSWORD_ENCODED 160 // longest encoded hash, with NUL
#define KF_PASSWORD_MOST    1024 // bytes of a password that are looked at; longer ones are refused
#define KF_TOKEN_TEXT       64   // longest token, with NUL

// argon2id (RFC 9106) in its encoded form: 19 MiB, 2 passes, 1 lane, 16-byte salt, 32-byte hash (OWASP's minimum
// parameters). KERF_ARGON2_MEMORY_KIB and KERF_ARGON2_PASSES may raise them, never lower. About 20 ms and 19 MiB a call.
KF_MUST_USE enum kf_status kf_password_hash(const char *password, char encoded[KF_PASSWORD_ENCODED],
                                            struct kf_error *err);
// KF_OK when it fits, KF_UNAUTHENTICATED when not. encoded NULL: does the same work against a dummy and answers
// KF_UNAUTHENTICATED, so that an unknown login takes as long as a wrong password.
KF_MUST_USE enum kf_status kf_password_verify(const char *password, const char *encoded, struct kf_error *err);

// A one-time password that can be read aloud: four groups of five from an alphabet without look-alikes (about 99 bits).
void kf_password_generate(char to[32]);

// prefix + base64url of 32 random bytes, and the SHA-256 under which it is stored.
void kf_token_new(const char *prefix, char to[KF_TOKEN_TEXT], unsigned char sha256[KF_SHA256_BYTES]);

// base64url without padding (RFC 4648 §5). `to` takes 4·⌈n/3⌉+1 bytes.
void kf_base64url(char *to, const unsigned char *bytes, size_t n);

#endif
