// Artefacts and jobs.
#include "server/store/read_rows.h"

#include <string.h>

#define ARTEFACT_COLUMNS                                                                                               \
    "a.id, a.case_id, coalesce(a.series_id::text, ''), a.job_id, a.name, a.kind, encode(a.content_sha256, 'hex'), "    \
    "a.media_type, a.meta, a.bytes, " KF_MS("a.created_at") ", " KF_US("a.created_at") ", a.superseded, "    \
    "coalesce((SELECT jsonb_agg(jsonb_build_object('name', i->>'name', 'sha256', i->>'sha256')) "                      \
    " FROM kerf.job m, jsonb_array_elements(m.inputs) i "                                                              \
    " WHERE m.id = a.job_id AND i->>'name' <> 'instance'), '[]') "
// What a job reads, as JSON: its own record of each input, and the artefact of its case that holds the same bytes now.
// The instances of an import are thousands, and stand as one. A grid that is none is left out: it came from a sandbox.
#define JOB_INPUTS                                                                                                     \
    "CASE WHEN j.inputs->0->>'name' = 'instance' THEN jsonb_build_array(jsonb_build_object('role', 'instance', "       \
    "  'kind', 'instance', 'artefact_id', NULL, 'series_id', j.series_id, 'dim', NULL, "                               \
    "  'modality', coalesce((SELECT s.modality FROM kerf.series s WHERE s.id = j.series_id), ''), "                    \
    "  'count', jsonb_array_length(j.inputs))) "                                                                       \
    "ELSE coalesce((SELECT jsonb_agg(jsonb_build_object('role', i.one->>'name', 'kind', a.kind, "                      \
    "  'artefact_id', a.id, 'series_id', a.series_id, 'modality', coalesce(i.one->'meta'->>'modality', ''), "          \
    "  'dim', jsonb_path_query_first(i.one, 'strict $.meta.grid.dim ? (@.type() == \"array\" && @.size() == 3 "        \
    "   && !exists(@[*] ? (@.type() != \"number\" || @ < 1 || @ > 1000000 || @.floor() != @)))', '{}', true), "       \
    "  'count', 1) ORDER BY i.at) "                                                                                    \
    " FROM jsonb_array_elements(j.inputs) WITH ORDINALITY i(one, at) LEFT JOIN LATERAL "                               \
    " (SELECT x.id, x.kind, x.series_id FROM kerf.artefact x "                                                         \
    "  WHERE x.organisation_id = j.organisation_id AND x.case_id = j.case_id "                                         \
    "  AND x.content_sha256 = decode(i.one->>'sha256', 'hex') AND x.kind NOT LIKE 'encoding.%' "                       \
    "  ORDER BY x.superseded, x.series_id IS DISTINCT FROM j.series_id, x.created_at, x.id LIMIT 1) a ON true), "      \
    "  '[]') END "
#define JOB_COLUMNS                                                                                                    \
    "j.id, j.case_id, j.kind, j.state, j.stage, j.error_code, j.error_detail, j.report, j.version, j.priority, "       \
    "j.attempts, j.max_attempts, j.cancel_requested, j.progress, " KF_MS("j.created_at") ", "                          \
    KF_MS("j.started_at") ", " KF_MS("j.finished_at") ", " KF_MS("j.acknowledged_at") ", "                             \
    KF_US("j.created_at") ", " JOB_INPUTS

// The case joined in front tells an empty case from one that does not exist.
static const struct kf_query list_artefacts = {
    "read_artefacts",
    "SELECT " ARTEFACT_COLUMNS "FROM kerf.cases c LEFT JOIN LATERAL (SELECT * FROM kerf.artefact x "
    " WHERE x.case_id = c.id AND (x.kind = $2 OR x.kind = $3 OR $2::text IS NULL AND x.kind NOT LIKE 'encoding.%') "
    " AND ($4 OR NOT x.superseded) "
    " AND ($5::bigint IS NULL OR (x.created_at, x.id) > "
    "  (timestamptz 'epoch' + $5 * interval '1 microsecond', $6::uuid)) "
    " ORDER BY x.created_at, x.id LIMIT $7) a ON true WHERE c.id = $1 ORDER BY a.created_at, a.id"};
static const struct kf_query read_artefact = {"read_artefact",
                                              "SELECT " ARTEFACT_COLUMNS "FROM kerf.artefact a WHERE a.id = $1"};
static const struct kf_query case_jobs = {
    "read_case_jobs", "SELECT " JOB_COLUMNS "FROM kerf.cases c LEFT JOIN LATERAL (SELECT * FROM kerf.job x "
                      " WHERE x.case_id = c.id AND ($2::text IS NULL OR x.state = $2) "
                      " AND ($3::bigint IS NULL OR (x.created_at, x.id) < "
                      "  (timestamptz 'epoch' + $3 * interval '1 microsecond', $4::uuid)) "
                      " ORDER BY x.created_at DESC, x.id DESC LIMIT $5) j ON true WHERE c.id = $1 "
                      "ORDER BY j.created_at DESC, j.id DESC"};
static const struct kf_query all_jobs = {
    "read_jobs", "SELECT " JOB_COLUMNS "FROM kerf.job j WHERE ($1::text IS NULL OR j.state = $1) "
                 "AND ($2::bigint IS NULL OR (j.created_at, j.id) < "
                 " (timestamptz 'epoch' + $2 * interval '1 microsecond', $3::uuid)) "
                 "ORDER BY j.created_at DESC, j.id DESC LIMIT $4"};
static const struct kf_query read_job = {"read_job", "SELECT " JOB_COLUMNS "FROM kerf.job j WHERE j.id = $1"};

static void take_artefact(struct kf_take *take, void *to)
{
    struct kf_artefact_view *view = to;
    view->id = kf_take_text(take);
    view->case_id = kf_take_text(take);
    view->series_id = kf_take_text(take);
    view->job_id = kf_take_text(take);
    view->name = kf_take_text(take);
    view->kind = kf_take_text(take);
    view->sha256 = kf_take_text(take);
    view->media_type = kf_take_text(take);
    view->meta = kf_take_text(take);
    view->bytes = kf_take_integer(take);
    view->created_ms = kf_take_integer(take);
    view->created_us = kf_take_integer(take);
    view->superseded = kf_take_flag(take);
    view->made_from = kf_take_text(take);
}

enum kf_status kf_store_artefact_list(struct kf_store *store, const char *organisation, const char *case_id,
                                      const struct kf_artefact_filter *filter, struct kf_arena *arena,
                                      struct kf_artefact_view **out, size_t *count, struct kf_error *err)
{
    struct kf_args args = {0};
    struct kf_rows rows;
    *out = NULL;
    *count = 0;
    enum kf_status status = kf_ids_check(err, case_id, NULL);
    if (status != KF_OK)
        return status;
    kf_args_text(&args, case_id);
    kf_args_text(&args, filter->kind);
    kf_args_text(&args, filter->kind_or ? filter->kind_or : filter->kind);
    kf_args_flag(&args, filter->superseded);
    kf_args_place(&args, filter->after);
    kf_args_integer(&args, filter->limit);
    status = kf_run(store, organisation, &list_artefacts, &args, KF_RUN_READ, &rows, err);
    if (status != KF_OK)
        return status;
    if (rows.count == 0) {
        kf_rows_release(&rows);
        return kf_not_found(err, "case");
    }
    struct kf_take take = {.rows = &rows, .arena = arena};
    *out = kf_take_all(&take, sizeof **out, take_artefact, count);
    return kf_take_end(&take, &rows, err);
}

enum kf_status kf_store_artefact_read(struct kf_store *store, const char *organisation, const char *id,
                                      struct kf_arena *arena, struct kf_artefact_view *out, struct kf_error *err)
{
    struct kf_rows rows;
    memset(out, 0, sizeof *out);
    enum kf_status status = kf_read_one(store, organisation, &read_artefact, id, "artefact", &rows, err);
    if (status != KF_OK)
        return status;
    struct kf_take take = {.rows = &rows, .arena = arena};
    take_artefact(&take, out);
    return kf_take_end(&take, &rows, err);
}

static void take_job(struct kf_take *take, void *to)
{
    struct kf_job_view *view = to;
    view->id = kf_take_text(take);
    view->case_id = kf_take_text(take);
    view->kind = kf_take_text(take);
    view->state = kf_take_text(take);
    view->stage = kf_take_text(take);
    view->error_code = kf_take_text(take);
    view->error_detail = kf_take_text(take);
    view->report = kf_take_text(take);
    view->version = (int)kf_take_integer(take);
    view->priority = (int)kf_take_integer(take);
    view->attempts = (int)kf_take_integer(take);
    view->max_attempts = (int)kf_take_integer(take);
    view->cancel_requested = kf_take_flag(take);
    view->progress = kf_take_number(take);
    view->created_ms = kf_take_integer(take);
    view->started_ms = kf_take_integer(take);
    view->finished_ms = kf_take_integer(take);
    view->acknowledged_ms = kf_take_integer(take);
    view->created_us = kf_take_integer(take);
    view->inputs = kf_take_text(take);
}

enum kf_status kf_store_job_list(struct kf_store *store, const char *organisation, const char *case_id,
                                 const char *state, const struct kf_place *after, int limit, struct kf_arena *arena,
                                 struct kf_job_view **out, size_t *count, struct kf_error *err)
{
    struct kf_args args = {0};
    struct kf_rows rows;
    *out = NULL;
    *count = 0;
    enum kf_status status = kf_ids_check(err, case_id, NULL);
    if (status != KF_OK)
        return status;
    if (case_id)
        kf_args_text(&args, case_id);
    kf_args_text(&args, state);
    kf_args_place(&args, after);
    kf_args_integer(&args, limit);
    status = kf_run(store, organisation, case_id ? &case_jobs : &all_jobs, &args, KF_RUN_READ, &rows, err);
    if (status != KF_OK)
        return status;
    if (case_id && rows.count == 0) {
        kf_rows_release(&rows);
        return kf_not_found(err, "case");
    }
    struct kf_take take = {.rows = &rows, .arena = arena};
    *out = kf_take_all(&take, sizeof **out, take_job, count);
    return kf_take_end(&take, &rows, err);
}

enum kf_status kf_store_job_read(struct kf_store *store, const char *organisation, const char *id,
                                 struct kf_arena *arena, struct kf_job_view *out, struct kf_error *err)
{
    struct kf_rows rows;
    memset(out, 0, sizeof *out);
    enum kf_status status = kf_read_one(store, organisation, &read_job, id, "job", &rows, err);
    if (status != KF_OK)
        return status;
    struct kf_take take = {.rows = &rows, .arena = arena};
    take_job(&take, out);
    return kf_take_end(&take, &rows, err);
}
