// A blocking HTTP client over libcurl, for what Kerf itself fetches: `kerf check` today; later S3, OIDC and time stamps.
// One client per thread.
#ifndef KERF_BASE_NET_CLIENT_H
#define KERF_BASE_NET_CLIENT_H

#include "server/base/error.h"
#include "server/base/json.h"
#include "server/base/str.h"
#include <stdint.h>

struct kf_net_client; // opaque, owned: kf_net_client_free

// base: "http://127.0.0.1:8080", put in front of every path. bearer: an API token or NULL. ca_file: PEM of the
// authority that signs the server's certificate, or NULL for the system's.
KF_MUST_USE enum kf_status kf_net_client_new(const char *base, const char *bearer, const char *ca_file,
                                             struct kf_net_client **out, struct kf_error *err);
void kf_net_client_free(struct kf_net_client *client);

// Receives a body piece by piece; a non-zero return ends the transfer with KF_CANCELLED.
typedef int (*kf_net_sink)(void *user, const void *bytes, size_t length);

// GET base+path. A status other than 200 is an error: its problem+json detail where there is one, the matching
// kf_status where the table has it, else KF_UNAVAILABLE.
KF_MUST_USE enum kf_status kf_net_get(struct kf_net_client *client, const char *path, kf_net_sink sink, void *user,
                                      struct kf_error *err);
// The same into memory, at most `limit` bytes.
KF_MUST_USE enum kf_status kf_net_get_text(struct kf_net_client *client, const char *path, size_t limit,
                                           struct kf_str *out, struct kf_error *err);
// The same as parsed JSON; *out is owned (json_decref).
KF_MUST_USE enum kf_status kf_net_get_json(struct kf_net_client *client, const char *path, json_t **out,
                                           struct kf_error *err);

#endif
