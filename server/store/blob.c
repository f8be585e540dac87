#include "server/store/blob.h"

#include "server/store/job.h"
#include "server/store/row.h"

static void read_place(const struct kf_rows *rows, int row, int column, struct kf_blob_place *out)
{
    kf_row_hash(rows, row, column, out->sha256);
    out->bytes = kf_row_integer(rows, row, column + 1);
    kf_row_copy(rows, row, column + 2, out->container, sizeof out->container);
    out->offset = kf_row_integer(rows, row, column + 3);
    kf_row_copy(rows, row, column + 4, out->media_type, sizeof out->media_type);
}

enum kf_status kf_store_blob_of_case(struct kf_store *store, const char *organisation, const char *case_id,
                                     const unsigned char sha256[32], struct kf_blob_place *out,
                                     struct kf_blob_place *gzip, struct kf_error *err)
{
    static const struct kf_query query = {
        "blob_of_case",
        "SELECT b.sha256, b.bytes, b.container, b.location_offset, coalesce(a.media_type, 'application/dicom'), "
        "coalesce(z.sha256, ''), coalesce(z.bytes, 0), coalesce(z.container, ''), coalesce(z.location_offset, 0), "
        "coalesce(a.media_type, '') "
        "FROM kerf.blob b LEFT JOIN LATERAL (SELECT media_type FROM kerf.artefact a "
        "  WHERE a.organisation_id = b.organisation_id AND a.content_sha256 = b.sha256 AND a.case_id = $1 LIMIT 1) a "
        "ON true "
        "LEFT JOIN LATERAL (SELECT p.sha256, p.bytes, p.container, p.location_offset FROM kerf.artefact o "
        "  JOIN kerf.artefact e ON e.job_id = o.job_id AND e.kind = 'encoding.gzip' AND e.meta->>'of' = o.name "
        "  JOIN kerf.blob p ON p.organisation_id = e.organisation_id AND p.sha256 = e.content_sha256 "
        "  WHERE o.organisation_id = b.organisation_id AND o.content_sha256 = b.sha256 AND o.case_id = $1 "
        "  AND p.bytes < b.bytes ORDER BY p.bytes, p.sha256 LIMIT 1) z ON true "
        "WHERE b.organisation_id = kerf.organisation() AND b.sha256 = $2 AND (a.media_type IS NOT NULL OR EXISTS ("
        "  SELECT FROM kerf.instance i JOIN kerf.series s ON s.id = i.series_id "
        "  WHERE i.organisation_id = b.organisation_id AND i.blob_sha256 = b.sha256 AND s.case_id = $1))"};
    *out = (struct kf_blob_place){0};
    *gzip = (struct kf_blob_place){0};
    enum kf_status status = kf_ids_check(err, case_id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, case_id);
    kf_args_bytes(&args, sha256, 32);
    struct kf_rows rows;
    status = kf_run(store, organisation, &query, &args, KF_RUN_READ, &rows, err);
    if (status)
        return status;
    if (rows.count) {
        read_place(&rows, 0, 0, out);
        read_place(&rows, 0, 5, gzip);
    } else {
        status = kf_not_found(err, "blob in this case");
    }
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_blob_add(struct kf_store *store, const char *organisation, const unsigned char sha256[32],
                                 int64_t bytes, const char *container, int64_t offset, int *used, struct kf_error *err)
{
    static const struct kf_query query = {
        "blob_add", "INSERT INTO kerf.blob (organisation_id, sha256, bytes, container, location_offset) "
                    "VALUES (kerf.organisation(), $1, $2, $3, $4) ON CONFLICT DO NOTHING"};
    struct kf_args args = {0};
    kf_args_bytes(&args, sha256, 32);
    kf_args_integer(&args, bytes);
    kf_args_text(&args, container);
    kf_args_integer(&args, offset);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    *used = status ? 0 : rows.changed;
    kf_rows_release(&rows);
    return status;
}

static enum kf_status read_places(struct kf_rows *rows, struct kf_arena *arena, struct kf_blob_place **out,
                                  size_t *count, struct kf_error *err)
{
    *out = kf_arena_alloc(arena, (size_t)rows->count * sizeof **out + 1);
    if (!*out)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a list of blobs.");
    *count = (size_t)rows->count;
    for (int i = 0; i < rows->count; i++)
        read_place(rows, i, 0, &(*out)[i]);
    return KF_OK;
}

enum kf_status kf_store_blob_walk(struct kf_store *store, const char *organisation, const unsigned char *after,
                                  int limit, struct kf_arena *arena, struct kf_blob_place **out, size_t *count,
                                  struct kf_error *err)
{
    static const struct kf_query query = {"blob_walk",
                                          "SELECT sha256, bytes, container, location_offset, '' FROM kerf.blob "
                                          "WHERE organisation_id = kerf.organisation() AND sha256 > coalesce($1, "
                                          "''::bytea) "
                                          "ORDER BY sha256 LIMIT $2"};
    *out = NULL;
    *count = 0;
    struct kf_args args = {0};
    kf_args_bytes(&args, after, 32);
    kf_args_integer(&args, limit);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_READ, &rows, err);
    if (!status)
        status = read_places(&rows, arena, out, count, err);
    kf_rows_release(&rows);
    return status;
}


enum kf_status kf_store_job_inputs(struct kf_store *store, const char *organisation, const char *job_id,
                                   struct kf_arena *arena, struct kf_blob_place **out, size_t *count,
                                   struct kf_error *err)
{
    static const struct kf_query query = {
        "job_inputs",
        "SELECT coalesce(b.sha256, ''), coalesce(b.bytes, -1), coalesce(b.container, ''), "
        "coalesce(b.location_offset, 0), coalesce(i.value->>'media_type', '') "
        "FROM kerf.job j CROSS JOIN jsonb_array_elements(j.inputs) WITH ORDINALITY AS i(value, place) "
        "LEFT JOIN kerf.blob b ON b.organisation_id = j.organisation_id AND b.sha256 = decode(i.value->>'sha256', "
        "'hex') "
        "WHERE j.id = $1 ORDER BY i.place"};
    *out = NULL;
    *count = 0;
    enum kf_status status = kf_ids_check(err, job_id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    struct kf_rows rows;
    status = kf_run(store, organisation, &query, &args, KF_RUN_READ, &rows, err);
    if (!status)
        status = read_places(&rows, arena, out, count, err);
    for (size_t i = 0; !status && i < *count; i++)
        if ((*out)[i].bytes < 0)
            status = kf_error_set(err, KF_CONFLICT, "input_missing", "Input %zu of the job has no blob.", i);
    kf_rows_release(&rows);
    return status;
}
