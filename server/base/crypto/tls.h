// TLS 1.2 and 1.3 for servers, over OpenSSL 3, on non-blocking sockets. A kf_tls_server holds certificate and key and
// is shared by threads; a kf_tls is one connection and belongs to one thread. Writing is buffered in whole records, so
// that many records leave with one system call.
#ifndef KERF_BASE_CRYPTO_TLS_H
#define KERF_BASE_CRYPTO_TLS_H

#include "server/base/error.h"
#include <stddef.h>

struct kf_tls_server;
struct kf_tls;

// PEM files: the certificate with its chain, and its key. Modern ciphers with forward secrecy only; ALPN http/1.1;
// session tickets whose keys live as long as the kf_tls_server. KF_INVALID when they do not belong together.
KF_MUST_USE enum kf_status kf_tls_server_new(const char *certificate, const char *key, struct kf_tls_server **out,
                                             struct kf_error *err);
// Reads the files again (SIGHUP). New connections use the new ones; on failure the old ones stay. Thread safe.
KF_MUST_USE enum kf_status kf_tls_server_reload(struct kf_tls_server *server, struct kf_error *err);
void kf_tls_server_free(struct kf_tls_server *server);

// Makes an ECDSA P-256 key and a self-signed certificate for `names` (DNS names and IP addresses, NULL-terminated; the
// first is the subject), valid for ten years, as two PEM files; the key's mode is 0600. Leaves existing files alone and
// returns KF_CONFLICT.
KF_MUST_USE enum kf_status kf_tls_make_self_signed(const char *certificate, const char *key, const char *const *names,
                                                   struct kf_error *err);

// A connection on fd (borrowed: the caller closes it after kf_tls_free).
KF_MUST_USE enum kf_status kf_tls_new(struct kf_tls_server *server, int fd, struct kf_tls **out);
void kf_tls_free(struct kf_tls *tls);

// Results below zero of the calls that follow.
enum { KF_TLS_AGAIN = -1, KF_TLS_CLOSED = -2, KF_TLS_FAILED = -3 };

int kf_tls_handshake(struct kf_tls *tls); // 0: done; KF_TLS_AGAIN: call again when readable (or writable, see pending)
long kf_tls_read(struct kf_tls *tls, void *to, size_t size); // bytes, or one of the above
// Encrypts up to `size` bytes and sends what the socket takes; returns how many were taken (fewer when the output
// buffer is full), or one of the above.
long kf_tls_write(struct kf_tls *tls, const void *from, size_t size);
int kf_tls_flush(struct kf_tls *tls);            // 0: all sent; KF_TLS_AGAIN: wait for writable; KF_TLS_FAILED
size_t kf_tls_pending(const struct kf_tls *tls); // encrypted bytes that wait for the socket
size_t kf_tls_room(const struct kf_tls *tls);    // plain bytes that kf_tls_write would take now
void kf_tls_say_goodbye(struct kf_tls *tls);     // queues close_notify

#endif
