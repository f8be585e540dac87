// OpenSSL reads straight from the socket and writes into our buffer through a BIO of our own; the buffer goes out in as
// few calls as the socket allows.
#include "server/base/crypto/tls.h"

#include "server/base/timeid.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define OUT_BYTES    ((size_t)288 << 10)
#define RECORD_BYTES ((size_t)16384)
#define RECORD_EXTRA ((size_t)256) // header, tag, padding of one record

struct kf_tls_server {
    pthread_mutex_t lock; // guards context
    SSL_CTX *context;
    char *certificate, *key;
    unsigned char ticket_keys[80]; // kept over reloads, so that tickets stay good
};

struct kf_tls {
    SSL *ssl;
    int fd;
    unsigned char *out; // OUT_BYTES; [first, last) waits for the socket
    size_t first, last;
    int broken;
};

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static int socket_read(BIO *bio, char *to, int size)
{
    struct kf_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = recv(tls->fd, to, (size_t)size, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    return (int)n;
}

static int buffer_write(BIO *bio, const char *from, int size)
{
    struct kf_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->first == tls->last)
        tls->first = tls->last = 0;
    if (OUT_BYTES - tls->last < (size_t)size && tls->first) {
        memmove(tls->out, tls->out + tls->first, tls->last - tls->first);
        tls->last -= tls->first;
        tls->first = 0;
    }
    if (OUT_BYTES - tls->last < (size_t)size) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(tls->out + tls->last, from, (size_t)size);
    tls->last += (size_t)size;
    return size;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kerf");
    if (!method)
        return;
    BIO_meth_set_read(method, socket_read);
    BIO_meth_set_write(method, buffer_write);
    BIO_meth_set_ctrl(method, bio_control);
}

// ALPN: we speak http/1.1; a client that offers only other protocols is told so (RFC 7301 section 3.2).
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length, const unsigned char *offered,
                           unsigned int offered_length, void *arg)
{
    (void)ssl;
    (void)arg;
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen = NULL;
    int found = SSL_select_next_proto(&chosen, out_length, ours, sizeof ours - 1, offered, offered_length);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static enum kf_status openssl_error(struct kf_error *err, const char *what)
{
    char reason[160] = "";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, reason, sizeof reason);
    ERR_clear_error();
    return kf_error_set(err, KF_INVALID, "tls_setup", "%s: %s", what, reason);
}

static enum kf_status make_context(struct kf_tls_server *server, SSL_CTX **out, struct kf_error *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    *out = NULL;
    if (!context)
        return openssl_error(err, "TLS cannot be set up");
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    // Several records a system call on the way in; whoever reads must read until KF_TLS_AGAIN.
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 4 * (RECORD_BYTES + RECORD_EXTRA));
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_tlsext_ticket_keys(context, server->ticket_keys, sizeof server->ticket_keys);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    static const unsigned char id[] = "kerf";
    SSL_CTX_set_session_id_context(context, id, sizeof id - 1);
    enum kf_status status = KF_OK;
    if (SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
        SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") != 1)
        status = openssl_error(err, "The TLS ciphers cannot be set");
    else if (SSL_CTX_use_certificate_chain_file(context, server->certificate) != 1)
        status = openssl_error(err, "The TLS certificate cannot be used");
    else if (SSL_CTX_use_PrivateKey_file(context, server->key, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(context) != 1)
        status = openssl_error(err, "The TLS key cannot be used with the certificate");
    if (status != KF_OK)
        SSL_CTX_free(context);
    else
        *out = context;
    return status;
}

enum kf_status kf_tls_server_new(const char *certificate, const char *key, struct kf_tls_server **out,
                                 struct kf_error *err)
{
    *out = NULL;
    pthread_once(&method_once, make_method);
    struct kf_tls_server *server = calloc(1, sizeof *server);
    if (!server || !method) {
        free(server);
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    }
    pthread_mutex_init(&server->lock, NULL);
    server->certificate = strdup(certificate);
    server->key = strdup(key);
    enum kf_status status = server->certificate && server->key ? KF_OK : KF_NOMEM;
    if (status == KF_OK)
        kf_random_bytes(server->ticket_keys, sizeof server->ticket_keys);
    if (status == KF_OK)
        status = make_context(server, &server->context, err);
    if (status != KF_OK) {
        kf_tls_server_free(server);
        return status;
    }
    *out = server;
    return KF_OK;
}

enum kf_status kf_tls_server_reload(struct kf_tls_server *server, struct kf_error *err)
{
    SSL_CTX *fresh = NULL;
    enum kf_status status = make_context(server, &fresh, err);
    if (status != KF_OK)
        return status;
    pthread_mutex_lock(&server->lock);
    SSL_CTX *old = server->context;
    server->context = fresh;
    pthread_mutex_unlock(&server->lock);
    SSL_CTX_free(old);
    return KF_OK;
}

void kf_tls_server_free(struct kf_tls_server *server)
{
    if (!server)
        return;
    SSL_CTX_free(server->context);
    OPENSSL_cleanse(server->ticket_keys, sizeof server->ticket_keys);
    free(server->certificate);
    free(server->key);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

enum kf_status kf_tls_new(struct kf_tls_server *server, int fd, struct kf_tls **out)
{
    *out = NULL;
    struct kf_tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return KF_NOMEM;
    tls->fd = fd;
    tls->out = malloc(OUT_BYTES);
    pthread_mutex_lock(&server->lock);
    tls->ssl = SSL_new(server->context);
    pthread_mutex_unlock(&server->lock);
    BIO *bio = tls->ssl ? BIO_new(method) : NULL;
    if (!tls->out || !bio) {
        kf_tls_free(tls);
        return KF_NOMEM;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    *out = tls;
    return KF_OK;
}

void kf_tls_free(struct kf_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    free(tls->out);
    free(tls);
    ERR_clear_error();
}

int kf_tls_flush(struct kf_tls *tls)
{
    while (tls->first < tls->last) {
        ssize_t n = send(tls->fd, tls->out + tls->first, tls->last - tls->first, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return KF_TLS_AGAIN;
        if (n <= 0) {
            tls->broken = 1;
            return KF_TLS_FAILED;
        }
        tls->first += (size_t)n;
    }
    return 0;
}

static int outcome(struct kf_tls *tls, int result)
{
    int reason = SSL_get_error(tls->ssl, result);
    ERR_clear_error();
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
        return KF_TLS_AGAIN;
    if (reason == SSL_ERROR_ZERO_RETURN)
        return KF_TLS_CLOSED;
    tls->broken = 1;
    return KF_TLS_FAILED;
}

int kf_tls_handshake(struct kf_tls *tls)
{
    int result = SSL_do_handshake(tls->ssl);
    int said = result == 1 ? 0 : outcome(tls, result);
    if (kf_tls_flush(tls) == KF_TLS_FAILED) // also a fatal alert must get out
        return KF_TLS_FAILED;
    return said;
}

long kf_tls_read(struct kf_tls *tls, void *to, size_t size)
{
    size_t n = 0;
    int result = SSL_read_ex(tls->ssl, to, size, &n);
    return result == 1 ? (long)n : outcome(tls, result);
}

size_t kf_tls_room(const struct kf_tls *tls)
{
    size_t free_bytes = OUT_BYTES - (tls->last - tls->first);
    size_t records = free_bytes / (RECORD_BYTES + RECORD_EXTRA);
    return records > 1 ? (records - 1) * RECORD_BYTES : 0; // one is kept for alerts and tickets
}

long kf_tls_write(struct kf_tls *tls, const void *from, size_t size)
{
    size_t room = kf_tls_room(tls), done = 0;
    if (size > room)
        size = room;
    while (done < size) {
        size_t n = 0;
        int result = SSL_write_ex(tls->ssl, (const char *)from + done, size - done, &n);
        if (result != 1) {
            int said = outcome(tls, result);
            if (said != KF_TLS_AGAIN)
                return said;
            break;
        }
        done += n;
    }
    if (kf_tls_flush(tls) == KF_TLS_FAILED)
        return KF_TLS_FAILED;
    return done ? (long)done : KF_TLS_AGAIN;
}

size_t kf_tls_pending(const struct kf_tls *tls)
{
    return tls->last - tls->first;
}

void kf_tls_say_goodbye(struct kf_tls *tls)
{
    if (!tls->broken && SSL_is_init_finished(tls->ssl)) {
        SSL_shutdown(tls->ssl);
        ERR_clear_error();
    }
}
