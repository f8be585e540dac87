#include "server/store/series.h"

#include "server/store/row.h"

static void read_due(const struct kf_rows *rows, int row, struct kf_series_due *out)
{
    kf_row_copy(rows, row, 0, out->organisation_id, sizeof out->organisation_id);
    kf_row_copy(rows, row, 1, out->series_id, sizeof out->series_id);
    kf_row_copy(rows, row, 2, out->case_id, sizeof out->case_id);
}

enum kf_status kf_store_series_settled(struct kf_store *store, double settle_s, int limit, struct kf_arena *arena,
                                       struct kf_series_due **out, size_t *count, struct kf_error *err)
{
    static const struct kf_query query = {
        "series_settled",
        "SELECT r_organisation, r_series, r_case FROM kerf.settled_series($1, $2)"};
    *out = NULL;
    *count = 0;
    struct kf_args args = {0};
    kf_args_number(&args, settle_s);
    kf_args_integer(&args, limit);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, NULL, &query, &args, KF_RUN_READ, &rows, err);
    if (status)
        return status;
    *out = kf_arena_alloc(arena, (size_t)rows.count * sizeof **out + 1);
    if (*out) {
        *count = (size_t)rows.count;
        for (int i = 0; i < rows.count; i++)
            read_due(&rows, i, &(*out)[i]);
    } else {
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a list of series.");
    }
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_series_due(struct kf_store *store, const char *organisation, const char *series_id,
                                   struct kf_series_due *out, struct kf_error *err)
{
    static const struct kf_query query = {
        "series_due", "SELECT s.organisation_id, s.id, s.case_id FROM kerf.series s WHERE s.id = $1 "
                      "AND EXISTS (SELECT FROM kerf.instance i WHERE i.series_id = s.id AND NOT i.queued)"};
    *out = (struct kf_series_due){0};
    enum kf_status status = kf_ids_check(err, series_id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, series_id);
    struct kf_rows rows;
    status = kf_run(store, organisation, &query, &args, KF_RUN_READ, &rows, err);
    if (status)
        return status;
    if (rows.count)
        read_due(&rows, 0, out);
    else
        status = kf_error_set(err, KF_NOT_FOUND, "nothing_to_import", "The series has nothing new to import.");
    kf_rows_release(&rows);
    return status;
}

static enum kf_status take_waiting(struct kf_store *store, const char *organisation, const char *series_id,
                                   struct kf_error *err)
{
    static const struct kf_query query = {
        "series_take",
        "WITH taken AS (UPDATE kerf.instance SET queued = true WHERE series_id = $1 AND NOT queued RETURNING id), "
        "s AS (UPDATE kerf.series SET instance_count = instance_count + (SELECT count(*) FROM taken), "
        "  changed_at = clock_timestamp() WHERE id = $1 AND EXISTS (SELECT FROM taken) "
        "  RETURNING organisation_id, case_id, id, instance_count) "
        "INSERT INTO kerf.event (organisation_id, case_id, kind, body) SELECT organisation_id, case_id, "
        "'instance.received', jsonb_build_object('case_id', case_id, 'series_id', id, 'count', instance_count) FROM s"};
    enum kf_status status = kf_ids_check(err, series_id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, series_id);
    struct kf_rows rows;
    status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.changed)
        status = kf_error_set(err, KF_NOT_FOUND, "nothing_to_import", "The series has nothing new to import.");
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_series_take(struct kf_store *store, const char *organisation, const char *series_id,
                                    struct kf_arena *arena, struct kf_series_instance **out, size_t *count,
                                    struct kf_error *err)
{
    static const struct kf_query query = {
        "series_taken", "SELECT id, blob_sha256, coalesce(instance_number, 0), conflict FROM kerf.instance "
                        "WHERE series_id = $1 AND queued AND set_aside = '' "
                        "ORDER BY sop_uid COLLATE \"C\", content_sha256"};
    *out = NULL;
    *count = 0;
    enum kf_status status = take_waiting(store, organisation, series_id, err);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, series_id);
    struct kf_rows rows;
    status = kf_run(store, organisation, &query, &args, KF_RUN_READ, &rows, err);
    if (status)
        return status;
    *out = kf_arena_alloc(arena, (size_t)rows.count * sizeof **out + 1);
    if (!*out)
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for the instances of a series.");
    for (int i = 0; *out && i < rows.count; i++) {
        struct kf_series_instance *instance = &(*out)[i];
        kf_row_copy(&rows, i, 0, instance->id, sizeof instance->id);
        kf_row_hash(&rows, i, 1, instance->blob_sha256);
        instance->instance_number = (int)kf_row_integer(&rows, i, 2);
        instance->conflict = kf_row_flag(&rows, i, 3);
    }
    if (*out)
        *count = (size_t)rows.count;
    kf_rows_release(&rows);
    return status;
}
