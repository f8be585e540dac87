// What the files of server/http share and nobody else sees: parsing of targets and header values, the router, the
// final touches on a response, the counters.
#ifndef KERF_HTTP_INTERNAL_H
#define KERF_HTTP_INTERNAL_H

#include "server/http/http.h"
#include "server/http/metrics.h"

// ------------------------------------------------------------------------------------------------ parse.c

// Decodes %XX of `length` bytes into the arena. NULL when it is malformed, or holds a control character, NUL or, after
// decoding, no valid UTF-8. plus: '+' means a space (query strings).
char *kf_http_decode(struct kf_arena *arena, const char *text, size_t length, int plus);
// 1 when the raw path is one we serve: begins with '/', printable ASCII without '\\', '#', '"', '<', '>', no empty, "."
// or ".." segment (also not percent-encoded), at most 2048 bytes.
int kf_http_path_ok(const char *path);
// Splits a raw query into decoded fields. KF_INVALID when one is malformed or there are more than 64.
enum kf_status kf_http_parse_query(struct kf_request *request, struct kf_error *err);

struct kf_range {
    int64_t first;
    int64_t last; // inclusive
};
// "bytes=…" against a body of `size` bytes: 1 one satisfiable range, 0 none to apply (absent, several, other unit,
// malformed), -1 unsatisfiable.
int kf_http_parse_range(const char *value, int64_t size, struct kf_range *range);
// Accept-Encoding, for one coding (RFC 9110 section 12.5.3): 1 when it is listed and not with q=0. "*" is not taken for any
// coding; header may be NULL.
int kf_http_accepts_coding(const char *header, const char *coding);
// If-None-Match and If-Match lists: 1 when one of the entity tags equals etag (weak comparison) or the value is "*".
int kf_http_etag_listed(const char *value, const char *etag);
// IMF-fixdate ("Sun, 06 Nov 1994 08:49:37 GMT") both ways; -1 when malformed.
void kf_http_date(char to[32], int64_t unix_s);
int64_t kf_http_parse_date(const char *text);
// The value of a parameter of a media type ("multipart/related; type=\"a\""), unquoted into `to`; 0 when found.
int kf_http_media_parameter(const char *value, const char *name, char *to, size_t size);
// 1 when an address lies in a network: an address, CIDR ("10.0.0.0/8", "fd00::/8") or "loopback".
int kf_http_address_in(const char *address, const char *network);
int kf_http_token_equal(const char *a, const char *b); // ASCII, case-insensitive
// 1 when nothing in the value could end a header line.
int kf_http_value_ok(const char *value);

// ------------------------------------------------------------------------------------------------ router.c

struct kf_router;

enum kf_status kf_router_new(const struct kf_route *const *tables, struct kf_router **out, struct kf_error *err);
void kf_router_free(struct kf_router *router);
size_t kf_router_count(const struct kf_router *router);
const struct kf_route *kf_router_route(const struct kf_router *router, size_t index);
// Finds the route and fills request->params. Returns its index; -1: no such path; -2: the path exists, the method does
// not (*allowed is a bit set of 1 << method).
int kf_router_find(const struct kf_router *router, struct kf_request *request, unsigned *allowed);

// ------------------------------------------------------------------------------------------------ respond.c

// Replaces the response with a problem (RFC 9457) made from err, keeping the headers.
void kf_respond_problem(struct kf_exchange *exchange, enum kf_status status, const struct kf_error *err);
// Conditional requests, ranges, defaults and security headers; afterwards the response goes out as it is.
void kf_respond_finish(struct kf_exchange *exchange);
// Frees what the body holds (descriptor, pin, stream) and leaves an empty one.
void kf_respond_drop_body(struct kf_response *response);

// ------------------------------------------------------------------------------------------------ dispatch.c

struct kf_http {
    struct kf_http_config config;
    struct kf_router *router;
    struct kf_metrics *metrics;
};

// The slots of the counters behind the routes: the fallback, and requests that found no route.
#define KF_SLOT_FALLBACK(http) kf_router_count((http)->router)
#define KF_SLOT_NONE(http)     (kf_router_count((http)->router) + 1)

#endif
