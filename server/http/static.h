// The web application's files: read into memory once at start, so that a request can neither traverse the file system
// nor meet a half-written file. Of every file the .br and .gz siblings are served to clients that accept them.
#ifndef KERF_HTTP_STATIC_H
#define KERF_HTTP_STATIC_H

#include "server/http/http.h"

struct kf_static;

// root: a folder with index.html. app_paths: NULL-terminated list of paths that the application itself routes; they are
// answered with index.html. An entry ending in '*' takes everything that begins with what stands before it; NULL: none.
// At most 256 MiB in all. Hidden files and links are left out. KF_NOT_FOUND when there is no index.html.
KF_MUST_USE enum kf_status kf_static_load(const char *root, const char *const *app_paths, struct kf_static **out,
                                          struct kf_error *err);
void kf_static_free(struct kf_static *files); // after the last response is gone
size_t kf_static_count(const struct kf_static *files);

// kf_http_config.fallback, with kf_http_config.fallback_state = the kf_static. Thread safe.
enum kf_status kf_static_serve(struct kf_request *request, struct kf_response *response, struct kf_error *err);

#endif
