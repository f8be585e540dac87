// Self-signed certificates, so that a first start can speak TLS.
#include "server/base/crypto/tls.h"

#include "server/base/str.h"
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VALID_DAYS 3650

static int add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    int added = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

// "DNS:host,IP:127.0.0.1"; names with characters that neither has are left out.
static void alternative_names(struct kf_str *to, const char *const *names)
{
    for (; *names; names++) {
        unsigned char bits[16];
        int address = inet_pton(AF_INET, *names, bits) == 1 || inet_pton(AF_INET6, *names, bits) == 1;
        size_t length = strlen(*names);
        if (!address && (length == 0 || length > 253 ||
                         strspn(*names, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.*") < length))
            continue;
        kf_str_printf(to, "%s%s:%s", to->length ? "," : "", address ? "IP" : "DNS", *names);
    }
}

static int fill(X509 *certificate, EVP_PKEY *key, const char *const *names)
{
    unsigned char serial[16];
    if (RAND_bytes(serial, sizeof serial) != 1)
        return 0;
    serial[0] &= 0x7f;
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    int right = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
    X509_NAME *subject = X509_get_subject_name(certificate);
    struct kf_str alternatives = {0};
    alternative_names(&alternatives, names);
    right =
        right && alternatives.length && !alternatives.failed && X509_set_version(certificate, X509_VERSION_3) &&
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) &&
        X509_time_adj_ex(X509_getm_notAfter(certificate), VALID_DAYS, 0, NULL) && X509_set_pubkey(certificate, key) &&
        X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"Kerf", -1, -1, 0) &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)names[0], -1, -1, 0) &&
        X509_set_issuer_name(certificate, subject) &&
        add_extension(certificate, NID_subject_alt_name, alternatives.data) &&
        add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
        add_extension(certificate, NID_ext_key_usage, "serverAuth") && X509_sign(certificate, key, EVP_sha256()) > 0;
    kf_str_release(&alternatives);
    return right;
}

static FILE *create(const char *path, mode_t mode, struct kf_error *err, enum kf_status *status)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file)
        return file;
    *status = errno == EEXIST ? kf_error_set(err, KF_CONFLICT, "exists", "A certificate or key file exists already.")
                              : kf_error_errno(err, errno, "A certificate or key file cannot be written");
    if (fd >= 0)
        close(fd);
    return NULL;
}

static int finish(FILE *file)
{
    int right = fflush(file) == 0 && fsync(fileno(file)) == 0;
    return (fclose(file) == 0) && right;
}

static enum kf_status write_pair(const char *certificate_path, const char *key_path, X509 *certificate, EVP_PKEY *key,
                                 struct kf_error *err)
{
    enum kf_status status = KF_OK;
    FILE *to = create(key_path, 0600, err, &status);
    if (!to)
        return status;
    int right = PEM_write_PrivateKey(to, key, NULL, NULL, 0, NULL, NULL) == 1;
    right = finish(to) && right;
    to = right ? create(certificate_path, 0644, err, &status) : NULL;
    if (to) {
        right = PEM_write_X509(to, certificate) == 1;
        right = finish(to) && right;
        if (!right)
            unlink(certificate_path);
    }
    if (status == KF_OK && !right)
        status = kf_error_set(err, KF_IO, NULL, "The certificate or its key cannot be written.");
    if (status != KF_OK)
        unlink(key_path);
    return status;
}

enum kf_status kf_tls_make_self_signed(const char *certificate_path, const char *key_path, const char *const *names,
                                       struct kf_error *err)
{
    if (access(certificate_path, F_OK) == 0 || access(key_path, F_OK) == 0)
        return kf_error_set(err, KF_CONFLICT, "exists", "A certificate or key file exists already.");
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    enum kf_status status = KF_OK;
    if (!key || !certificate || !names[0] || !fill(certificate, key, names))
        status = kf_error_set(err, KF_INTERNAL, NULL, "A self-signed certificate cannot be made.");
    if (status == KF_OK)
        status = write_pair(certificate_path, key_path, certificate, key, err);
    X509_free(certificate);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return status;
}
