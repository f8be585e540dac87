#include "server/main/check_case.h"

#include "server/base/hash.h"
#include "server/base/timeid.h"
#include "workers/io/glb.h"
#include "workers/io/memory.h"
#include "workers/kernels/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 250

// ---------------------------------------------------------------------------------------------- waiting
static enum kf_status failed_job(struct kf_net_client *client, const char *case_id, struct kf_error *err)
{
    char path[160];
    json_t *page = NULL;
    snprintf(path, sizeof path, "/api/v1/cases/%s/jobs?limit=200", case_id);
    enum kf_status status = kf_net_get_json(client, path, &page, err);
    size_t i;
    json_t *job;
    json_array_foreach (json_object_get(page, "items"), i, job) {
        const char *state = kf_json_text(job, "state", "");
        if (status || (strcmp(state, "failed") != 0 && strcmp(state, "dead") != 0))
            continue;
        const json_t *error = json_object_get(job, "error");
        status = kf_error_set(err, KF_UNPROCESSABLE, kf_json_text(error, "code", "job_failed"), "%s: %s",
                              kf_json_text(job, "kind", "a job"), kf_json_text(error, "detail", "it failed"));
    }
    json_decref(page);
    return status;
}

static void tell(const json_t *detail, char last[160])
{
    const json_t *progress = json_object_get(detail, "progress");
    char line[160];
    snprintf(line, sizeof line, "%s: %lld jobs wait, %lld run, %.0f %%", kf_json_text(detail, "state", ""),
             (long long)kf_json_integer(progress, "queued", 0), (long long)kf_json_integer(progress, "running", 0),
             100 * kf_json_number(progress, "fraction", 0));
    if (strcmp(line, last) != 0)
        fprintf(stderr, "  %s\n", line);
    memcpy(last, line, sizeof line);
}

// Everything that was sent has arrived, and nothing waits or runs.
static int is_settled(const json_t *detail, long long instances)
{
    const json_t *progress = json_object_get(detail, "progress");
    const char *state = kf_json_text(detail, "state", "");
    return strcmp(state, "receiving") != 0 && strcmp(state, "processing") != 0 &&
           kf_json_integer(progress, "queued", 1) == 0 && kf_json_integer(progress, "running", 1) == 0 &&
           kf_json_integer(json_object_get(detail, "counts"), "instances", 0) >= instances;
}

enum kf_status kf_check_wait(struct kf_net_client *client, const char *case_id, long long instances, int timeout_s,
                             json_t **detail, struct kf_error *err)
{
    int64_t deadline = kf_time_monotonic_ns() + (int64_t)timeout_s * 1000000000;
    char path[120], last[160] = "";
    snprintf(path, sizeof path, "/api/v1/cases/%s", case_id);
    for (;;) {
        enum kf_status status = kf_net_get_json(client, path, detail, err);
        if (status)
            return status;
        tell(*detail, last);
        if (is_settled(*detail, instances))
            break;
        json_decref(*detail);
        *detail = NULL;
        if (kf_time_monotonic_ns() > deadline)
            return kf_error_set(err, KF_TIMEOUT, "case_timeout", "the case was not finished within %d s", timeout_s);
        nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
    }
    enum kf_status status = failed_job(client, case_id, err);
    if (status) {
        json_decref(*detail);
        *detail = NULL;
    }
    return status;
}

// ---------------------------------------------------------------------------------------------- fetching
struct fetch {
    struct kf_sha256 *hash;
    long long bytes;
    struct kf_str *keep; // NULL: only hashed
};

static int take(void *user, const void *bytes, size_t length)
{
    struct fetch *fetch = user;
    kf_sha256_add(fetch->hash, bytes, length);
    fetch->bytes += (long long)length;
    if (fetch->keep)
        kf_str_add(fetch->keep, bytes, length);
    return fetch->keep && fetch->keep->failed;
}

// The artefact's bytes over HTTP, with its hash and length compared; kept in `keep` when that is not NULL.
static enum kf_status fetch_artefact(struct kf_net_client *client, const json_t *artefact, struct kf_str *keep,
                                     struct kf_error *err)
{
    struct fetch fetch = {.keep = keep};
    unsigned char digest[KF_SHA256_BYTES];
    char hex[KF_SHA256_HEX];
    if (kf_sha256_new(&fetch.hash))
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a hash");
    enum kf_status status = kf_net_get(client, kf_json_text(artefact, "url", "/"), take, &fetch, err);
    kf_sha256_finish(fetch.hash, digest);
    kf_sha256_free(fetch.hash);
    kf_hex_encode(hex, digest, sizeof digest);
    if (!status && (strcmp(hex, kf_json_text(artefact, "sha256", "")) != 0 ||
                    fetch.bytes != kf_json_integer(artefact, "bytes", -1)))
        status = kf_error_set(err, KF_UNPROCESSABLE, "hash_mismatch",
                              "artefact %.60s came back with other bytes than its hash says",
                              kf_json_text(artefact, "name", ""));
    return status;
}

// ---------------------------------------------------------------------------------------------- GLB against volume
static int read_grid(const json_t *json, struct kf_grid *grid)
{
    const json_t *dim = json_object_get(json, "dim"), *spacing = json_object_get(json, "spacing_mm");
    const json_t *origin = json_object_get(json, "origin_lps"), *direction = json_object_get(json, "direction");
    if (json_array_size(dim) != 3 || json_array_size(spacing) != 3 || json_array_size(origin) != 3 ||
        json_array_size(direction) != 9)
        return -1;
    for (size_t i = 0; i < 3; i++) {
        grid->dim[i] = json_integer_value(json_array_get(dim, i));
        grid->spacing_mm[i] = json_number_value(json_array_get(spacing, i));
        grid->origin_lps[i] = json_number_value(json_array_get(origin, i));
    }
    for (size_t i = 0; i < 9; i++)
        grid->direction[i] = json_number_value(json_array_get(direction, i));
    return 0;
}

// The box of the grid in LPS, with the half voxel (and a cap's voxel) around the outermost centres.
static void grid_bounds(const struct kf_grid *grid, double bounds[2][3])
{
    for (int axis = 0; axis < 3; axis++) {
        bounds[0][axis] = 1e300;
        bounds[1][axis] = -1e300;
    }
    for (int corner = 0; corner < 8; corner++) {
        double ijk[3], lps[3];
        for (int axis = 0; axis < 3; axis++)
            ijk[axis] = corner >> axis & 1 ? (double)grid->dim[axis] : -1.0;
        kf_grid_to_lps(grid, ijk, lps);
        for (int axis = 0; axis < 3; axis++) {
            bounds[0][axis] = lps[axis] < bounds[0][axis] ? lps[axis] : bounds[0][axis];
            bounds[1][axis] = lps[axis] > bounds[1][axis] ? lps[axis] : bounds[1][axis];
        }
    }
}

static enum kf_status check_glb(const json_t *artefact, const struct kf_str *bytes, const json_t *volumes,
                                struct kf_error *err)
{
    struct kf_glb_summary summary;
    struct kf_work work;
    const char *name = kf_json_text(artefact, "name", ""), *series = kf_json_text(artefact, "series_id", "");
    kf_work_init(&work, 1);
    enum kf_status status = kf_glb_parse(&work, bytes->data, (int64_t)bytes->length, &summary, NULL, err);
    if (status)
        return status;
    if (summary.triangles < KF_CHECK_TRIANGLES)
        return kf_error_set(err, KF_UNPROCESSABLE, "glb_small", "%.60s has only %lld triangles", name,
                            (long long)summary.triangles);
    size_t i;
    json_t *volume;
    json_array_foreach ((json_t *)(uintptr_t)volumes, i, volume) {
        struct kf_grid grid;
        double box[2][3];
        int inside = 1;
        if (strcmp(kf_json_text(volume, "series_id", ""), series) != 0 ||
            read_grid(json_object_get(json_object_get(volume, "meta"), "grid"), &grid))
            continue;
        grid_bounds(&grid, box);
        for (int axis = 0; axis < 3; axis++)
            inside &= summary.bounds_lps[0][axis] >= box[0][axis] && summary.bounds_lps[1][axis] <= box[1][axis];
        if (inside)
            return KF_OK;
    }
    return kf_error_set(err, KF_UNPROCESSABLE, "glb_outside", "%.60s does not lie inside a volume of its series", name);
}

// ---------------------------------------------------------------------------------------------- the whole case
// All pages of a list; *out is an owned array.
static enum kf_status fetch_all(struct kf_net_client *client, const char *path, json_t **out, struct kf_error *err)
{
    *out = json_array();
    struct kf_str url = {0};
    enum kf_status status = *out ? KF_OK : kf_error_set(err, KF_NOMEM, NULL, "no memory for a list");
    char cursor[512] = "";
    do {
        json_t *page = NULL;
        kf_str_clear(&url);
        kf_str_printf(&url, "%s%climit=100%s%s", path, strchr(path, '?') ? '&' : '?', *cursor ? "&cursor=" : "", cursor);
        if (!status)
            status = kf_net_get_json(client, kf_str_text(&url), &page, err);
        if (!status && json_array_extend(*out, json_object_get(page, "items")))
            status = kf_error_set(err, KF_INTERNAL, NULL, "the server's list has no items");
        kf_str_copy(cursor, sizeof cursor, kf_json_text(page, "next", ""));
        json_decref(page);
    } while (!status && *cursor);
    kf_str_release(&url);
    return status;
}

static enum kf_status check_one(struct kf_net_client *client, const json_t *artefact, const json_t *volumes,
                                struct kf_check_counts *counts, struct kf_error *err)
{
    const char *kind = kf_json_text(artefact, "kind", ""), *media = kf_json_text(artefact, "media_type", "");
    int glb = strcmp(media, "model/gltf-binary") == 0;
    struct kf_str bytes = {0};
    enum kf_status status = fetch_artefact(client, artefact, glb ? &bytes : NULL, err);
    if (!status && glb)
        status = check_glb(artefact, &bytes, volumes, err);
    kf_str_release(&bytes);
    counts->volumes += strcmp(kind, "volume") == 0;
    counts->meshes += strcmp(kind, "mesh") == 0 && strcmp(media, "model/ply") == 0;
    if (strcmp(kind, "segmentation") == 0)
        counts->segments += (long long)json_array_size(json_object_get(json_object_get(artefact, "meta"), "segments"));
    return status;
}

enum kf_status kf_check_artefacts(struct kf_net_client *client, const char *case_id, struct kf_check_counts *counts,
                                  struct kf_error *err)
{
    char path[160];
    json_t *artefacts = NULL, *encodings = NULL, *volumes = NULL, *artefact;
    size_t i;
    snprintf(path, sizeof path, "/api/v1/cases/%s/artefacts", case_id);
    enum kf_status status = fetch_all(client, path, &artefacts, err);
    snprintf(path, sizeof path, "/api/v1/cases/%s/artefacts?kind=encoding.gzip", case_id);
    if (!status)
        status = fetch_all(client, path, &encodings, err);
    snprintf(path, sizeof path, "/api/v1/cases/%s/volumes", case_id);
    if (!status)
        status = fetch_all(client, path, &volumes, err);
    json_array_foreach (artefacts, i, artefact)
        if (!status && !kf_json_flag(artefact, "superseded", 0))
            status = check_one(client, artefact, volumes, counts, err);
    json_array_foreach (encodings, i, artefact)
        if (!status && !kf_json_flag(artefact, "superseded", 0))
            status = fetch_artefact(client, artefact, NULL, err);
    json_decref(artefacts);
    json_decref(encodings);
    json_decref(volumes);
    if (status)
        return status;
    if (!counts->volumes)
        return kf_error_set(err, KF_UNPROCESSABLE, "no_volume", "no volume was made from the study");
    if (!counts->segments)
        return kf_error_set(err, KF_UNPROCESSABLE, "no_segment", "nothing was segmented in the study");
    if (!counts->meshes)
        return kf_error_set(err, KF_UNPROCESSABLE, "no_mesh", "no mesh was made from the study");
    return KF_OK;
}
