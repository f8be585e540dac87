// kerf verify: every blob of an organisation is read back and its hash compared with its name.
#include "server/base/config.h"
#include "server/base/hash.h"
#include "server/base/str.h"
#include "server/blob/blob.h"
#include "server/main/admin.h"
#include "server/store/blob.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "kerf verify\n\n"
    "Reads every blob back and compares its SHA-256 with its name. Prints one line for each that is missing or differs,\n"
    "then a summary; exits 1 when there is any. Takes --data DIR and --organisation NAME.\n";

struct verify {
    struct kf_blob_store *blobs;
    char container[KF_BLOB_CONTAINER]; // that fd belongs to: a segment holds many blobs
    int fd;
    int64_t count, bytes, bad;
};

static enum kf_status open_container(struct verify *verify, const char *container, struct kf_error *err)
{
    if (verify->fd >= 0 && strcmp(verify->container, container) == 0)
        return KF_OK;
    if (verify->fd >= 0)
        close(verify->fd);
    verify->fd = -1;
    enum kf_status status = kf_blob_open(verify->blobs, container, &verify->fd, err);
    if (!status)
        kf_str_copy(verify->container, sizeof verify->container, container);
    return status;
}

static void check_one(struct verify *verify, const struct kf_blob_place *place)
{
    unsigned char digest[KF_SHA256_BYTES];
    char name[KF_SHA256_HEX];
    struct kf_error err = {0};
    enum kf_status status = open_container(verify, place->container, &err);
    if (!status)
        status = kf_sha256_fd(verify->fd, place->offset, place->bytes, digest, &err);
    verify->count++;
    verify->bytes += place->bytes;
    if (!status && memcmp(digest, place->sha256, sizeof digest) == 0)
        return;
    verify->bad++;
    kf_hex_encode(name, place->sha256, sizeof place->sha256);
    printf("%s\t%s+%lld\t%s\n", name, place->container, (long long)place->offset, status ? err.code : "differs");
}

static enum kf_status check_all(struct verify *verify, struct kf_admin *admin, struct kf_error *err)
{
    unsigned char after[KF_SHA256_BYTES];
    for (int first = 1;; first = 0) {
        struct kf_arena arena = {0};
        struct kf_blob_place *places;
        size_t count;
        enum kf_status status = kf_store_blob_walk(admin->store, admin->organisation, first ? NULL : after, 1000, &arena,
                                                   &places, &count, err);
        for (size_t i = 0; !status && i < count; i++)
            check_one(verify, &places[i]);
        if (!status && count)
            memcpy(after, places[count - 1].sha256, sizeof after);
        kf_arena_release(&arena);
        if (status || count < 1000)
            return status;
    }
}

int kf_command_verify(int argc, char **argv)
{
    struct kf_admin admin;
    int code = kf_admin_open(&admin, argc, argv, usage, NULL);
    if (code >= 0)
        return code;
    struct verify verify = {.fd = -1};
    struct kf_error err;
    char location[4400];
    enum kf_status status = kf_config_folder("KERF_BLOBS", "blobs", location, sizeof location, &err);
    if (!status)
        status = kf_blob_store_open(&verify.blobs, location, &err);
    if (!status)
        status = check_all(&verify, &admin, &err);
    if (verify.fd >= 0)
        close(verify.fd);
    kf_blob_store_close(verify.blobs);
    kf_admin_close(&admin);
    if (status)
        return kf_command_failed("verify", &err);
    printf("%lld blobs, %lld bytes, %lld bad\n", (long long)verify.count, (long long)verify.bytes, (long long)verify.bad);
    return verify.bad ? KF_EXIT_FAILED : KF_EXIT_OK;
}
