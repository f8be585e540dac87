// Static files: only what was there at start is served, encodings are negotiated, application paths get index.html.
#include "server/base/test.h"
#include "server/http/static.h"

#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/kerf-static-XXXXXX";
static struct kf_static *files;
static struct kf_http *http;

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *to = fopen(path, "w");
    if (!to || fputs(text, to) < 0)
        abort();
    fclose(to);
}

static struct kf_exchange *get(const char *target, const char *accept)
{
    const char *const headers[] = {"Accept-Encoding", accept, NULL};
    return kf_http_dispatch(http, NULL, "GET", target, headers, NULL, 0);
}

static void check(const char *target, const char *accept, int status, const char *body, const char *encoding,
                  const char *cache)
{
    struct kf_exchange *x = get(target, accept);
    const char *got = kf_exchange_response_header(x, "Content-Encoding");
    int right = x->response.status == status;
    if (body)
        right =
            right && x->response.length == (int64_t)strlen(body) && memcmp(x->response.bytes, body, strlen(body)) == 0;
    right = right && (encoding ? got && strcmp(got, encoding) == 0 : !got);
    if (cache)
        right = right && strstr(kf_exchange_response_header(x, "Cache-Control"), cache);
    if (!right)
        fprintf(stderr, "%s (%s): %d %s\n", target, accept, x->response.status, got ? got : "-");
    KF_CHECK(right);
    kf_exchange_free(x, 0, 1);
}

KF_TEST(files_are_served_as_they_are)
{
    check("/", "", 200, "<html>", NULL, "no-cache");
    check("/index.html", "", 200, "<html>", NULL, "no-cache");
    check("/assets/app-1a2b.js", "", 200, "plain", NULL, "immutable");
    check("/none.js", "", 404, NULL, NULL, NULL);
    check("/assets", "", 404, NULL, NULL, NULL);
    check("/.hidden", "", 404, NULL, NULL, NULL);
    check("/link", "", 404, NULL, NULL, NULL);
    check("/assets/../index.html", "", 400, NULL, NULL, NULL);
    check("/assets/%2e%2e/index.html", "", 400, NULL, NULL, NULL);
}

KF_TEST(encodings_are_negotiated)
{
    check("/assets/app-1a2b.js", "gzip, deflate, br", 200, "brotli", "br", "immutable");
    check("/assets/app-1a2b.js", "gzip", 200, "gzipped", "gzip", "immutable");
    check("/assets/app-1a2b.js", "br;q=0, gzip;q=0.5", 200, "gzipped", "gzip", NULL);
    check("/assets/app-1a2b.js", "gzipped, *", 200, "plain", NULL, NULL);
    check("/assets/only.css", "identity", 406, NULL, NULL, NULL);
    check("/assets/only.css", "br", 200, "css", "br", NULL);
    struct kf_exchange *x = get("/assets/app-1a2b.js", "br");
    struct kf_exchange *y = get("/assets/app-1a2b.js", "");
    KF_CHECK_STR(kf_exchange_response_header(x, "Vary"), "Accept-Encoding");
    KF_CHECK_STR(kf_exchange_response_header(x, "Content-Type"), "text/javascript; charset=utf-8");
    KF_CHECK(strcmp(x->response.etag, y->response.etag) != 0);
    kf_exchange_free(x, 0, 1);
    kf_exchange_free(y, 0, 1);
}

KF_TEST(application_paths_get_the_page)
{
    check("/cases/0123", "", 200, "<html>", NULL, "no-cache");
    check("/sign-in", "", 200, "<html>", NULL, "no-cache");
    check("/sign-in/x", "", 404, NULL, NULL, NULL);
    check("/caseless", "", 404, NULL, NULL, NULL);
}

KF_TEST(pages_carry_the_whole_policy)
{
    struct kf_exchange *x = get("/", "");
    const char *policy = kf_exchange_response_header(x, "Content-Security-Policy");
    KF_CHECK(policy && strstr(policy, "script-src 'self' 'wasm-unsafe-eval'") && !strstr(policy, "unsafe-inline"));
    KF_CHECK_STR(kf_exchange_response_header(x, "Cross-Origin-Opener-Policy"), "same-origin");
    KF_CHECK_STR(kf_exchange_response_header(x, "Cross-Origin-Embedder-Policy"), "require-corp");
    KF_CHECK(strstr(kf_exchange_response_header(x, "Permissions-Policy"), "xr-spatial-tracking=(self)") != NULL);
    kf_exchange_free(x, 0, 1);
}

KF_TEST(a_folder_without_a_page_is_no_application)
{
    struct kf_static *none = NULL;
    char empty[] = "/tmp/kerf-empty-XXXXXX";
    KF_REQUIRE(mkdtemp(empty));
    KF_CHECK_EQ(kf_static_load(empty, NULL, &none, NULL), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_static_load("/nonexistent", NULL, &none, NULL), KF_NOT_FOUND);
    rmdir(empty);
}

int main(void)
{
    static const char *const app_paths[] = {"/sign-in", "/cases/*", NULL};
    char path[256];
    if (!mkdtemp(root))
        return 1;
    snprintf(path, sizeof path, "%s/assets", root);
    mkdir(path, 0700);
    put("index.html", "<html>");
    put(".hidden", "secret");
    put("assets/app-1a2b.js", "plain");
    put("assets/app-1a2b.js.br", "brotli");
    put("assets/app-1a2b.js.gz", "gzipped");
    put("assets/only.css.br", "css");
    snprintf(path, sizeof path, "%s/link", root);
    if (symlink("/etc/passwd", path))
        return 1;
    struct kf_error err = {0};
    if (kf_static_load(root, app_paths, &files, &err) != KF_OK) {
        fprintf(stderr, "%s\n", err.detail);
        return 1;
    }
    KF_CHECK_EQ(kf_static_count(files), 3);
    struct kf_http_config config = {.fallback = kf_static_serve, .fallback_state = files};
    if (kf_http_new(&config, &http, NULL) != KF_OK)
        return 1;
    KF_RUN(files_are_served_as_they_are);
    KF_RUN(encodings_are_negotiated);
    KF_RUN(application_paths_get_the_page);
    KF_RUN(pages_carry_the_whole_policy);
    KF_RUN(a_folder_without_a_page_is_no_application);
    kf_http_free(http);
    kf_static_free(files);
    snprintf(path, sizeof path, "rm -rf %s", root);
    return system(path) || kf_test_failures ? 1 : 0;
}
