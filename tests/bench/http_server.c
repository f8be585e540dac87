// What the HTTP benchmark measures: our whole HTTP path (TLS front, adapter, dispatcher, authentication callback with
// its cache, pinned small bodies, file bodies) over a folder of files, without a database. Prints its ports and ends
// with its standard input.
//   http_bench_server FOLDER THREADS CERTIFICATE KEY
#include "server/front/front.h"
#include "server/http/cache.h"
#include "server/http/health.h"
#include "server/http/http.h"
#include "server/http/mhd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL ((int64_t)256 << 10)

static struct kf_cache *sessions, *bodies;
static int folder;

// As the application does it: the session is looked up by the cookie in a cache with a short life.
static enum kf_status authenticate(struct kf_request *request, struct kf_principal *principal, struct kf_error *err)
{
    (void)err;
    const char *token = kf_request_cookie(request, "kerf_session");
    const struct kf_cache_item *item = token ? kf_cache_get(sessions, token, strlen(token)) : NULL;
    if (!item)
        return KF_UNAUTHENTICATED;
    memcpy(principal, item->data, sizeof *principal);
    kf_cache_unpin(item);
    return KF_OK;
}

static int permitted(void *app, const struct kf_principal *principal, int permission)
{
    (void)app;
    return principal->role == permission;
}

// Reads a small file once and keeps it, pinned while it is sent.
static enum kf_status small_body(struct kf_response *response, const char *name, int fd, int64_t size)
{
    char *text = malloc((size_t)size);
    if (!text || pread(fd, text, (size_t)size, 0) != size) {
        free(text);
        return KF_IO;
    }
    kf_cache_put(bodies, name, strlen(name), "", text, (size_t)size, 0);
    kf_response_pinned(response, "application/json", text, (size_t)size, free, text);
    return KF_OK;
}

static enum kf_status blob(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    const char *name = kf_request_param(request, "name");
    const struct kf_cache_item *item = kf_cache_get(bodies, name, strlen(name));
    if (item) {
        kf_response_pinned(response, "application/json", item->data, item->length, kf_cache_unpin_arg,
                           (void *)(uintptr_t)item);
    } else {
        int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        struct stat about;
        if (fd < 0 || fstat(fd, &about) || !S_ISREG(about.st_mode)) {
            if (fd >= 0)
                close(fd);
            return kf_error_set(err, KF_NOT_FOUND, NULL, "No such file.");
        }
        if (about.st_size > SMALL) {
            kf_response_file(response, "application/octet-stream", fd, 0, about.st_size);
        } else {
            enum kf_status status = small_body(response, name, fd, about.st_size);
            close(fd);
            if (status != KF_OK)
                return status;
        }
    }
    response->etag = kf_etag_text(request, name);
    response->accept_ranges = 1;
    response->cache_control = "private, max-age=31536000, immutable";
    return KF_OK;
}

static enum kf_status hand_over(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_length)
{
    return kf_mhd_add(arg, fd, peer, peer_length);
}

static const struct kf_route routes[] = {
    {.method = KF_GET, .pattern = "/blobs/{name}", .permission = 3, .handler = blob},
    {.pattern = NULL},
};

static int fail(const struct kf_error *err)
{
    fprintf(stderr, "%s\n", err->detail);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    static const struct kf_route *const tables[] = {routes, kf_health_routes, NULL};
    static const char *const names[] = {"localhost", "127.0.0.1", NULL};
    struct kf_principal principal = {.role = 3, .by_cookie = 1, .csrf_token = "x"};
    struct kf_http_config http_config = {.tables = tables, .authenticate = authenticate, .permitted = permitted};
    struct kf_http *http = NULL;
    struct kf_mhd *mhd = NULL;
    struct kf_tls_server *tls = NULL;
    struct kf_front *front = NULL;
    struct kf_error err = {0};
    folder = open(argv[1], O_RDONLY | O_DIRECTORY);
    if (kf_cache_new(1000, 1 << 20, &sessions) != KF_OK || kf_cache_new(1000, 64 << 20, &bodies) != KF_OK)
        return 1;
    kf_cache_put(sessions, "bench", 5, "", &principal, sizeof principal, 0);
    if (kf_http_new(&http_config, &http, &err) != KF_OK)
        return fail(&err);
    struct kf_mhd_config mhd_config = {.http = http, .address = "127.0.0.1", .threads = atoi(argv[2])};
    if (kf_mhd_start(&mhd_config, &mhd, &err) != KF_OK)
        return fail(&err);
    enum kf_status made = kf_tls_make_self_signed(argv[3], argv[4], names, &err);
    if ((made != KF_OK && made != KF_CONFLICT) || kf_tls_server_new(argv[3], argv[4], &tls, &err) != KF_OK)
        return fail(&err);
    struct kf_front_config front_config = {.tls = tls, .address = "127.0.0.1", .hand_over = hand_over, .arg = mhd};
    if (kf_front_start(&front_config, &front, &err) != KF_OK)
        return fail(&err);
    printf("plain=%d tls=%d\n", kf_mhd_port(mhd), kf_front_port(front));
    fflush(stdout);
    while (getchar() != EOF)
        ;
    kf_front_quiesce(front);
    kf_mhd_stop(mhd, 2);
    kf_front_stop(front, 1000);
    kf_tls_server_free(tls);
    kf_http_free(http);
    kf_cache_free(bodies);
    kf_cache_free(sessions);
    close(folder);
    return 0;
}
