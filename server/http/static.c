#include "server/http/static.h"

#include "server/base/hash.h"
#include "server/base/str.h"
#include "server/http/internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_BYTES ((size_t)256 << 20)
#define MOST_DEPTH 8

enum encoding { PLAIN, GZIP, BROTLI, ENCODINGS };

struct variant {
    unsigned char *bytes; // NULL: there is none
    size_t length;
    char etag[24];
};

struct file {
    char *path; // as in a URL, "/assets/app-1f3c.js"
    const char *type;
    struct variant variants[ENCODINGS];
};

struct kf_static {
    struct file *files; // sorted by path once loaded
    size_t count, capacity;
    size_t bytes;
    const char *const *app_paths;
};

static const char *type_of(const char *path)
{
    static const char *const table[][2] = {{".html", "text/html; charset=utf-8"},
                                           {".js", "text/javascript; charset=utf-8"},
                                           {".mjs", "text/javascript; charset=utf-8"},
                                           {".css", "text/css; charset=utf-8"},
                                           {".json", "application/json"},
                                           {".webmanifest", "application/manifest+json"},
                                           {".svg", "image/svg+xml"},
                                           {".png", "image/png"},
                                           {".jpg", "image/jpeg"},
                                           {".webp", "image/webp"},
                                           {".ico", "image/x-icon"},
                                           {".wasm", "application/wasm"},
                                           {".woff2", "font/woff2"},
                                           {".glb", "model/gltf-binary"},
                                           {".yaml", "application/yaml"},
                                           {".txt", "text/plain; charset=utf-8"}};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof table / sizeof *table; i++)
        if (strcmp(dot, table[i][0]) == 0)
            return table[i][1];
    return "application/octet-stream";
}

static enum kf_status read_whole(int fd, size_t length, unsigned char **out, struct kf_error *err)
{
    *out = malloc(length + 1);
    if (!*out)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    for (size_t n = 0; n < length;) {
        ssize_t got = read(fd, *out + n, length - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            free(*out);
            *out = NULL;
            return kf_error_set(err, KF_IO, NULL, "A file of the web application cannot be read.");
        }
        n += (size_t)got;
    }
    return KF_OK;
}

static struct file *find_or_add(struct kf_static *files, const char *path)
{
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(files->files[i].path, path) == 0)
            return &files->files[i];
    if (files->count == files->capacity) {
        size_t capacity = files->capacity ? 2 * files->capacity : 64;
        struct file *grown = realloc(files->files, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        files->files = grown;
        files->capacity = capacity;
    }
    struct file *file = &files->files[files->count];
    *file = (struct file){.path = strdup(path), .type = type_of(path)};
    if (!file->path)
        return NULL;
    files->count++;
    return file;
}

// Which file and encoding a name on disk stands for: "app.js.br" is the brotli form of "app.js".
static enum encoding split_encoding(char *path)
{
    size_t length = strlen(path);
    enum encoding encoding = PLAIN;
    if (length > 3 && strcmp(path + length - 3, ".br") == 0)
        encoding = BROTLI;
    else if (length > 3 && strcmp(path + length - 3, ".gz") == 0)
        encoding = GZIP;
    if (encoding != PLAIN)
        path[length - 3] = 0;
    return encoding;
}

static enum kf_status load_file(struct kf_static *files, int folder, const char *name, const char *url,
                                struct kf_error *err)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat about;
    if (fd < 0 || fstat(fd, &about) || !S_ISREG(about.st_mode)) {
        if (fd >= 0)
            close(fd);
        return KF_OK; // links and the like are not part of the application
    }
    size_t length = (size_t)about.st_size;
    struct kf_str path = {0};
    kf_str_printf(&path, "%s/%s", url, name);
    enum kf_status status = path.failed ? KF_NOMEM : KF_OK;
    if (files->bytes + length > MOST_BYTES)
        status = kf_error_set(err, KF_TOO_LARGE, "web_root", "The web application is larger than %zu MiB.",
                              MOST_BYTES >> 20);
    unsigned char *bytes = NULL;
    if (status == KF_OK)
        status = read_whole(fd, length, &bytes, err);
    close(fd);
    if (status == KF_OK) {
        enum encoding encoding = split_encoding(path.data);
        struct file *file = find_or_add(files, path.data);
        if (file && !file->variants[encoding].bytes) {
            unsigned char digest[KF_SHA256_BYTES];
            char hex[17];
            kf_sha256(bytes, length, digest);
            kf_hex_encode(hex, digest, 8);
            struct variant *variant = &file->variants[encoding];
            *variant = (struct variant){.bytes = bytes, .length = length};
            snprintf(variant->etag, sizeof variant->etag, "\"%s\"", hex);
            files->bytes += length;
        } else {
            free(bytes);
        }
        if (!file)
            status = kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    }
    kf_str_release(&path);
    return status;
}

static enum kf_status load_folder(struct kf_static *files, int fd, const char *url, int depth, struct kf_error *err)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return kf_error_errno(err, errno, "Cannot read a folder of the web application");
    }
    enum kf_status status = KF_OK;
    for (struct dirent *entry; status == KF_OK && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        int child = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (child < 0) {
            status = load_file(files, dirfd(dir), entry->d_name, url, err);
        } else if (depth == MOST_DEPTH) {
            close(child);
        } else {
            struct kf_str path = {0};
            kf_str_printf(&path, "%s/%s", url, entry->d_name);
            status = load_folder(files, child, kf_str_text(&path), depth + 1, err);
            kf_str_release(&path);
        }
    }
    closedir(dir);
    return status;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static const struct file *find(const struct kf_static *files, const char *path)
{
    size_t low = 0, high = files->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(path, files->files[middle].path);
        if (order == 0)
            return &files->files[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

enum kf_status kf_static_load(const char *root, const char *const *app_paths, struct kf_static **out,
                              struct kf_error *err)
{
    *out = NULL;
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return kf_error_set(err, KF_NOT_FOUND, "web_root", "The folder of the web application cannot be opened.");
    struct kf_static *files = calloc(1, sizeof *files);
    if (!files) {
        close(fd);
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    }
    files->app_paths = app_paths;
    enum kf_status status = load_folder(files, fd, "", 0, err);
    if (status == KF_OK) {
        if (files->count)
            qsort(files->files, files->count, sizeof *files->files, by_path);
        const struct file *index = find(files, "/index.html");
        if (!index || !index->variants[PLAIN].bytes)
            status = kf_error_set(err, KF_NOT_FOUND, "web_root", "The web application has no index.html.");
    }
    if (status != KF_OK) {
        kf_static_free(files);
        return status;
    }
    *out = files;
    return KF_OK;
}

void kf_static_free(struct kf_static *files)
{
    if (!files)
        return;
    for (size_t i = 0; i < files->count; i++) {
        free(files->files[i].path);
        for (int k = 0; k < ENCODINGS; k++)
            free(files->files[i].variants[k].bytes);
    }
    free(files->files);
    free(files);
}

size_t kf_static_count(const struct kf_static *files)
{
    return files->count;
}

static enum encoding choose(const struct file *file, const char *accept)
{
    if (file->variants[BROTLI].bytes && kf_http_accepts_coding(accept, "br"))
        return BROTLI;
    if (file->variants[GZIP].bytes && kf_http_accepts_coding(accept, "gzip"))
        return GZIP;
    return PLAIN;
}

static int is_app_path(const struct kf_static *files, const char *path)
{
    if (strcmp(path, "/") == 0)
        return 1;
    for (const char *const *at = files->app_paths; at && *at; at++) {
        size_t length = strlen(*at);
        if ((*at)[length - 1] == '*' ? strncmp(path, *at, length - 1) == 0 : strcmp(path, *at) == 0)
            return 1;
    }
    return 0;
}

enum kf_status kf_static_serve(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    const struct kf_static *files = request->state;
    const struct file *file = files ? find(files, request->path) : NULL;
    if (files && !file && is_app_path(files, request->path))
        file = find(files, "/index.html");
    if (!file)
        return kf_error_set(err, KF_NOT_FOUND, NULL, "There is nothing at this address.");
    enum encoding encoding = choose(file, kf_request_header(request, "accept-encoding"));
    const struct variant *variant = &file->variants[encoding];
    if (!variant->bytes) // only an encoded form is there, and the client does not take it
        return kf_error_set(err, KF_NOT_ACCEPTABLE, NULL,
                            "This file exists in an encoding only that was not accepted.");
    kf_response_bytes(response, file->type, variant->bytes, variant->length);
    response->etag = variant->etag;
    response->accept_ranges = encoding == PLAIN;
    response->cache_control =
        strncmp(file->path, "/assets/", 8) == 0 ? "public, max-age=31536000, immutable" : "no-cache";
    if (encoding != PLAIN)
        kf_response_header(request, response, "Content-Encoding", encoding == BROTLI ? "br" : "gzip");
    if (file->variants[GZIP].bytes || file->variants[BROTLI].bytes)
        kf_response_header(request, response, "Vary", "Accept-Encoding");
    return KF_OK;
}
