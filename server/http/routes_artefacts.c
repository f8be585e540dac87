// Artefacts and the bytes behind them.
#include "server/base/hash.h"
#include "server/http/internal.h"
#include "server/http/routes_common.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALL_BLOB   ((int64_t)128 << 10) // kept in memory together with the right to see it
#define BLOB_TTL_MS  5000
#define BLOB_CACHING "private, max-age=31536000, immutable"

static void out_artefact(struct kf_out *out, const struct kf_artefact_view *view)
{
    char url[36 + 64 + 32];
    snprintf(url, sizeof url, "/api/v1/cases/%s/blobs/%s", view->case_id, view->sha256);
    kf_out_object(out, NULL);
    kf_out_text(out, "id", view->id);
    kf_out_text(out, "case_id", view->case_id);
    kf_out_text(out, "series_id", view->series_id[0] ? view->series_id : NULL);
    kf_out_text(out, "job_id", view->job_id);
    kf_out_text(out, "name", view->name);
    kf_out_text(out, "kind", view->kind);
    kf_out_text(out, "sha256", view->sha256);
    kf_out_int(out, "bytes", view->bytes);
    kf_out_text(out, "media_type", view->media_type);
    kf_out_raw(out, "meta", view->meta);
    kf_out_raw(out, "made_from", view->made_from);
    kf_out_flag(out, "superseded", view->superseded);
    kf_out_time(out, "created_at", view->created_ms);
    kf_out_text(out, "url", url);
    kf_out_close(out);
}

static enum kf_status reply_artefacts(struct kf_request *request, struct kf_response *response,
                                      struct kf_artefact_filter *filter, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_artefact_view *views;
    struct kf_page page;
    size_t count;
    const char *id;
    struct kf_out out = {0};
    enum kf_status status = kf_path_id(request, "case_id", &id, err);
    if (status == KF_OK)
        status = kf_page_of(request, &page, err);
    if (status == KF_OK) {
        filter->after = page.after;
        filter->limit = page.limit + 1;
        status = kf_app_artefact_list(call.thread, &call.actor, id, filter, &request->arena, &views, &count, err);
    }
    if (status != KF_OK)
        return status;
    int more = count > (size_t)page.limit;
    size_t shown = more ? (size_t)page.limit : count;
    kf_out_object(&out, NULL);
    kf_out_array(&out, "items");
    for (size_t i = 0; i < shown; i++)
        out_artefact(&out, &views[i]);
    kf_page_close(&out, more, more ? views[shown - 1].created_us : 0, more ? views[shown - 1].id : NULL);
    return kf_reply(response, 200, &out, err);
}

static int is_kind(const char *kind)
{
    size_t length = strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789_.");
    return length >= 1 && length <= 64 && !kind[length] && islower((unsigned char)kind[0]);
}

enum kf_status kf_route_case_artefacts(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_artefact_filter filter = {.kind = kf_request_query(request, "kind")};
    const char *superseded = kf_request_query(request, "superseded");
    if (filter.kind && !is_kind(filter.kind))
        return kf_error_set(err, KF_INVALID, "invalid_query", "The query's kind is not a kind of artefact.");
    if (superseded && strcmp(superseded, "true") != 0 && strcmp(superseded, "false") != 0)
        return kf_error_set(err, KF_INVALID, "invalid_query", "The query's superseded must be true or false.");
    filter.superseded = superseded && strcmp(superseded, "true") == 0;
    return reply_artefacts(request, response, &filter, err);
}

enum kf_status kf_route_case_volumes(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_artefact_filter filter = {.kind = "volume", .kind_or = "volume.view"};
    return reply_artefacts(request, response, &filter, err);
}

enum kf_status kf_route_case_segmentations(struct kf_request *request, struct kf_response *response,
                                           struct kf_error *err)
{
    struct kf_artefact_filter filter = {.kind = "segmentation", .kind_or = "segmentation.view"};
    return reply_artefacts(request, response, &filter, err);
}

enum kf_status kf_route_case_meshes(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_artefact_filter filter = {.kind = "mesh", .kind_or = "mesh.view"};
    return reply_artefacts(request, response, &filter, err);
}

static enum kf_status reply_artefact(struct kf_request *request, struct kf_response *response, const char *kind,
                                     struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_artefact_view view;
    struct kf_view_ticket ticket;
    const char *id;
    struct kf_out out = {0};
    enum kf_status status = kf_path_id(request, "artefact_id", &id, err);
    if (status == KF_OK && kf_view_serve(request, response, kind ? kind : "artefact_read", id, &ticket))
        return KF_OK;
    if (status == KF_OK)
        status = kf_app_artefact_read(call.thread, &call.actor, id, kind, &request->arena, &view, err);
    if (status != KF_OK)
        return status;
    out_artefact(&out, &view);
    return kf_view_reply(request, response, &ticket, -1, 1, &out, err);
}

enum kf_status kf_route_artefact_read(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    return reply_artefact(request, response, NULL, err);
}

enum kf_status kf_route_volume_read(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    return reply_artefact(request, response, "volume", err);
}

// ---------------------------------------------------------------------------------------------------- bytes
// What is cached: the place, and behind it the bytes when there are few. The key holds organisation and case, so an
// entry says that this case leads to this blob; a case never loses one.
struct held_blob {
    struct kf_app_blob blob;
    int has_bytes;
    _Alignas(16) unsigned char bytes[];
};

static size_t blob_key(const struct kf_request *request, const char *case_id, const char *sha256, char key[160])
{
    int length = snprintf(key, 160, "%s/%s/%s", request->principal->organisation_id, case_id, sha256);
    return length > 0 ? (size_t)length : 0;
}

// Which form goes out. A part of the bytes is always one of the plain ones. Who accepts gzip and has either form
// already is told so.
static int wants_gzip(const struct kf_request *request, const char *sha256, const char *gzip_etag)
{
    const char *have = kf_request_header(request, "if-none-match");
    char plain_etag[80];
    if (kf_request_header(request, "range") || !gzip_etag ||
        !kf_http_accepts_coding(kf_request_header(request, "accept-encoding"), "gzip"))
        return 0;
    snprintf(plain_etag, sizeof plain_etag, "\"%s\"", sha256);
    return !have || kf_http_etag_listed(have, gzip_etag) || !kf_http_etag_listed(have, plain_etag);
}

// The headers of the form that goes out; returns 1 when that is the gzipped one. An artefact has its media type; what
// is no artefact was received as an instance.
static int blob_headers(struct kf_request *request, struct kf_response *response, const char *sha256,
                        const struct kf_app_blob *blob)
{
    const char *gzip_etag = blob->gzip.bytes > 0 ? kf_arena_printf(&request->arena, "\"%s-gzip\"", sha256) : NULL;
    int gzip = wants_gzip(request, sha256, gzip_etag);
    response->etag = gzip ? gzip_etag : kf_etag_text(request, sha256);
    response->cache_control = BLOB_CACHING;
    response->content_type =
        kf_arena_strdup(&request->arena, *blob->media_type ? blob->media_type : "application/dicom");
    if (blob->gzip.bytes > 0)
        kf_response_header(request, response, "Vary", "Accept-Encoding");
    if (gzip)
        kf_response_header(request, response, "Content-Encoding", "gzip");
    return gzip;
}

// Reads a small blob into a cache entry.
static void hold(struct kf_request *request, const char *key, size_t key_length, const struct kf_app_blob *blob, int fd)
{
    struct kf_call call = kf_call_of(request);
    size_t length = (size_t)blob->plain.bytes, have = 0;
    struct held_blob *held = malloc(sizeof *held + length);
    if (!held)
        return;
    held->blob = *blob;
    held->has_bytes = 1;
    while (have < length) {
        ssize_t n = pread(fd, held->bytes + have, length - have, blob->plain.offset + (int64_t)have);
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    if (have == length)
        kf_cache_put(call.routes->blobs, key, key_length, "", held, sizeof *held + length, BLOB_TTL_MS);
    free(held);
}

static enum kf_status send_file(struct kf_request *request, struct kf_response *response, const char *key,
                                size_t key_length, const struct kf_app_blob *blob, int gzip, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const struct kf_app_place *place = gzip ? &blob->gzip : &blob->plain;
    int fd;
    enum kf_status status = kf_app_blob_open(call.thread, place, &fd, err);
    if (status != KF_OK)
        return status;
    if (!gzip && place->bytes <= SMALL_BLOB)
        hold(request, key, key_length, blob, fd);
    kf_response_file(response, response->content_type, fd, place->offset, place->bytes);
    response->accept_ranges = !gzip;
    return KF_OK;
}

static enum kf_status send_held(struct kf_request *request, struct kf_response *response, const char *sha256,
                                const char *key, size_t key_length, const struct kf_cache_item *item,
                                struct kf_error *err)
{
    const struct held_blob *held = item->data;
    int gzip = blob_headers(request, response, sha256, &held->blob);
    if (gzip || !held->has_bytes) {
        struct kf_app_blob blob = held->blob;
        kf_cache_unpin(item);
        return send_file(request, response, key, key_length, &blob, gzip, err);
    }
    union {
        const struct kf_cache_item *item;
        void *arg;
    } pinned = {.item = item};
    kf_response_pinned(response, response->content_type, held->bytes, (size_t)held->blob.plain.bytes,
                       kf_cache_unpin_arg, pinned.arg);
    response->accept_ranges = 1;
    return KF_OK;
}

enum kf_status kf_route_blob_read(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *case_id, *sha256 = kf_request_param(request, "sha256");
    char key[160];
    unsigned char digest[KF_SHA256_BYTES];
    enum kf_status status = kf_path_id(request, "case_id", &case_id, err);
    if (status == KF_OK && kf_hex_decode(digest, sizeof digest, sha256) != 0)
        status = kf_error_set(err, KF_NOT_FOUND, NULL, "There is no such blob in this case.");
    if (status != KF_OK)
        return status;
    size_t key_length = blob_key(request, case_id, sha256, key);
    const struct kf_cache_item *item = kf_cache_get(call.routes->blobs, key, key_length);
    if (item) {
        status = kf_app_enter(call.thread, &call.actor, KF_PERM_CASE_READ, "blob_read", case_id, err);
        if (status == KF_OK)
            return send_held(request, response, sha256, key, key_length, item, err);
        kf_cache_unpin(item);
        return status;
    }
    struct held_blob held = {0};
    status = kf_app_blob_find(call.thread, &call.actor, case_id, sha256, &held.blob, err);
    if (status != KF_OK)
        return status;
    int gzip = blob_headers(request, response, sha256, &held.blob);
    if (gzip || held.blob.plain.bytes > SMALL_BLOB)
        kf_cache_put(call.routes->blobs, key, key_length, "", &held, sizeof held, BLOB_TTL_MS);
    return send_file(request, response, key, key_length, &held.blob, gzip, err);
}
