#include "server/store/job.h"

#include "server/store/row.h"
#include <string.h>

#define COLUMNS(t)                                                                                                     \
    t "id, " t "organisation_id, " t "case_id, " t "series_id, " t "kind, " t "version, " t "key, " t "state, "        \
    t "priority, " t "attempts, " t "max_attempts, " t "fence, " t "cancel_requested, " t "supersedes, "               \
    t "params, " t "inputs, " t "follow"

void kf_job_row_release(struct kf_job_row *row)
{
    json_decref(row->params);
    json_decref(row->inputs);
    json_decref(row->follow);
    *row = (struct kf_job_row){0};
}

static enum kf_status read_job(const struct kf_rows *rows, struct kf_job_row *out, struct kf_error *err)
{
    if (!rows->count)
        return kf_not_found(err, "job");
    kf_row_copy(rows, 0, 0, out->id, sizeof out->id);
    kf_row_copy(rows, 0, 1, out->organisation_id, sizeof out->organisation_id);
    kf_row_copy(rows, 0, 2, out->case_id, sizeof out->case_id);
    kf_row_copy(rows, 0, 3, out->series_id, sizeof out->series_id);
    kf_row_copy(rows, 0, 4, out->kind, sizeof out->kind);
    out->version = (int)kf_row_integer(rows, 0, 5);
    kf_row_hash(rows, 0, 6, out->key);
    kf_row_copy(rows, 0, 7, out->state, sizeof out->state);
    out->priority = (int)kf_row_integer(rows, 0, 8);
    out->attempts = (int)kf_row_integer(rows, 0, 9);
    out->max_attempts = (int)kf_row_integer(rows, 0, 10);
    out->fence = kf_row_integer(rows, 0, 11);
    out->cancel_requested = kf_row_flag(rows, 0, 12);
    out->supersedes = kf_row_flag(rows, 0, 13);
    out->params = kf_row_json(rows, 0, 14);
    out->inputs = kf_row_json(rows, 0, 15);
    out->follow = kf_row_json(rows, 0, 16);
    if (!out->params || !out->inputs || !out->follow) {
        kf_job_row_release(out);
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a job.");
    }
    return KF_OK;
}

static enum kf_status fetch(struct kf_store *store, const char *organisation, const struct kf_query *query,
                            const struct kf_args *args, unsigned flags, struct kf_job_row *out, struct kf_error *err)
{
    *out = (struct kf_job_row){0};
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, query, args, flags, &rows, err);
    if (!status)
        status = read_job(&rows, out, err);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_job_claim(struct kf_store *store, const char *kinds, const char *worker, double lease_s,
                                  struct kf_job_row *out, struct kf_error *err)
{
    static const struct kf_query query = {
        "job_claim", "SELECT " COLUMNS("j.") " FROM kerf.claim_job(string_to_array(nullif($1, ''), ','), $2, $3) j"};
    struct kf_args args = {0};
    kf_args_string(&args, kinds);
    kf_args_text(&args, worker);
    kf_args_number(&args, lease_s);
    return fetch(store, NULL, &query, &args, KF_RUN_WRITE, out, err);
}

enum kf_status kf_store_job_reap(struct kf_store *store, int *count, struct kf_error *err)
{
    static const struct kf_query query = {"job_reap", "SELECT kerf.reap_jobs()"};
    struct kf_args none = {0};
    struct kf_rows rows;
    enum kf_status status = kf_run(store, NULL, &query, &none, KF_RUN_WRITE, &rows, err);
    *count = status ? 0 : (int)kf_row_integer(&rows, 0, 0);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_job_get(struct kf_store *store, const char *organisation, const char *job_id, int lock,
                                struct kf_job_row *out, struct kf_error *err)
{
    static const struct kf_query plain = {"job_get", "SELECT " COLUMNS("") " FROM kerf.job WHERE id = $1"};
    static const struct kf_query locked = {"job_lock", "SELECT " COLUMNS("") " FROM kerf.job WHERE id = $1 FOR NO KEY "
                                                            "UPDATE"};
    *out = (struct kf_job_row){0};
    enum kf_status status = kf_ids_check(err, job_id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    return fetch(store, organisation, lock ? &locked : &plain, &args, lock ? KF_RUN_WRITE : KF_RUN_READ, out, err);
}

enum kf_status kf_store_job_by_key(struct kf_store *store, const char *organisation, const char *case_id,
                                   const unsigned char key[32], struct kf_job_row *out, struct kf_error *err)
{
    static const struct kf_query in_case = {"job_by_key",
                                            "SELECT " COLUMNS("") " FROM kerf.job WHERE organisation_id = "
                                                            "kerf.organisation() "
                                            "AND case_id = $2 AND key = $1 AND state IN ('queued', 'running', 'done')"};
    static const struct kf_query anywhere = {"job_by_key_done",
                                             "SELECT " COLUMNS("") " FROM kerf.job "
                                             "WHERE organisation_id = kerf.organisation() AND key = $1 AND state = "
                                             "'done' "
                                             "ORDER BY created_at LIMIT 1"};
    *out = (struct kf_job_row){0};
    enum kf_status status = kf_ids_check(err, case_id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_bytes(&args, key, 32);
    if (case_id)
        kf_args_text(&args, case_id);
    return fetch(store, organisation, case_id ? &in_case : &anywhere, &args, KF_RUN_READ, out, err);
}

static enum kf_status copy_artefacts(struct kf_store *store, const char *organisation, const char *to,
                                     const char *from, struct kf_error *err)
{
    static const struct kf_query query = {
        "job_copy_artefacts",
        "INSERT INTO kerf.artefact (id, organisation_id, case_id, series_id, job_id, key, name, kind, content_sha256, "
        "bytes, media_type, meta) SELECT kerf.new_id(), t.organisation_id, t.case_id, t.series_id, t.id, a.key, "
        "a.name, "
        "a.kind, a.content_sha256, a.bytes, a.media_type, a.meta "
        "FROM kerf.artefact a, kerf.job t WHERE a.job_id = $1 AND t.id = $2"};
    struct kf_args args = {0};
    kf_args_text(&args, from);
    kf_args_text(&args, to);
    return kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
}

enum kf_status kf_store_job_insert(struct kf_store *store, const char *organisation, const struct kf_job_insert *job,
                                   char id[KF_ID_TEXT], struct kf_error *err)
{
    static const struct kf_query query = {
        "job_insert",
        "INSERT INTO kerf.job (id, organisation_id, case_id, series_id, kind, version, key, params, inputs, follow, "
        "priority, "
        "max_attempts, supersedes, created_by, state, progress, report, started_at, finished_at) "
        "SELECT $1, kerf.organisation(), $2, $3::uuid, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
        "CASE WHEN l.id IS NULL THEN 'queued' ELSE 'done' END, CASE WHEN l.id IS NULL THEN 0 ELSE 1 END, "
        "coalesce(l.report, '{}'), l.started_at, l.finished_at "
        "FROM (SELECT) one LEFT JOIN kerf.job l ON l.id = $14 AND l.state = 'done' AND l.key = $6 "
        "ON CONFLICT (organisation_id, case_id, key) WHERE state IN ('queued', 'running', 'done') DO NOTHING"};
    id[0] = 0;
    enum kf_status status = kf_ids_check(err, job->case_id, job->series_id && *job->series_id ? job->series_id : NULL);
    if (status)
        return status;
    char fresh[KF_ID_TEXT];
    kf_id_new(fresh);
    struct kf_args args = {0};
    kf_args_text(&args, fresh);
    kf_args_text(&args, job->case_id);
    kf_args_text(&args, job->series_id && *job->series_id ? job->series_id : NULL);
    kf_args_text(&args, job->kind);
    kf_args_integer(&args, job->version);
    kf_args_bytes(&args, job->key, sizeof job->key);
    kf_args_text(&args, job->params);
    kf_args_text(&args, job->inputs);
    kf_args_text(&args, job->follow);
    kf_args_integer(&args, job->priority);
    kf_args_integer(&args, job->max_attempts);
    kf_args_flag(&args, job->supersedes);
    kf_args_text(&args, job->created_by);
    kf_args_text(&args, job->done_like);
    struct kf_rows rows;
    status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.changed)
        status = kf_error_set(err, KF_CONFLICT, "job_key", "The same work waits, runs or is done already.");
    kf_rows_release(&rows);
    if (!status && job->done_like)
        status = copy_artefacts(store, organisation, fresh, job->done_like, err);
    if (!status)
        memcpy(id, fresh, sizeof fresh);
    return status;
}

enum kf_status kf_store_job_add_follow(struct kf_store *store, const char *organisation, const char *job_id,
                                       const char *follow, struct kf_error *err)
{
    static const struct kf_query query = {
        "job_add_follow", "UPDATE kerf.job SET follow = follow || coalesce((SELECT jsonb_agg(rule) FROM "
                          "jsonb_array_elements($2::jsonb) AS rule WHERE NOT follow @> jsonb_build_array(rule)), '[]') "
                          "WHERE id = $1 AND NOT follow @> $2::jsonb"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    kf_args_text(&args, follow);
    return kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
}

// ------------------------------------------------------------------------------------------------ while it runs
static enum kf_status stale(struct kf_error *err)
{
    return kf_error_set(err, KF_STALE, NULL, "The job is no longer this worker's.");
}

enum kf_status kf_store_job_heartbeat(struct kf_store *store, const char *organisation, const char *job_id,
                                      int64_t fence, double lease_s, int *cancel_requested, struct kf_error *err)
{
    static const struct kf_query query = {
        "job_heartbeat", "UPDATE kerf.job SET lease_until = clock_timestamp() + $3 * interval '1 second' "
                         "WHERE id = $1 AND fence = $2 AND state = 'running' RETURNING cancel_requested"};
    *cancel_requested = 0;
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    kf_args_integer(&args, fence);
    kf_args_number(&args, lease_s);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.count)
        status = stale(err);
    else if (!status)
        *cancel_requested = kf_row_flag(&rows, 0, 0);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_job_progress(struct kf_store *store, const char *organisation, const char *job_id,
                                     int64_t fence, double progress, const char *stage, struct kf_error *err)
{
    static const struct kf_query query = {
        "job_progress", "UPDATE kerf.job SET progress = greatest(0, least(1, $3::real)), stage = left($4, 100) "
                        "WHERE id = $1 AND fence = $2 AND state = 'running'"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    kf_args_integer(&args, fence);
    kf_args_number(&args, progress);
    kf_args_string(&args, stage);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.changed)
        status = stale(err);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_job_end(struct kf_store *store, const char *organisation, const char *job_id, int64_t fence,
                                const char *state, const char *code, const char *detail, const char *report,
                                struct kf_error *err)
{
    static const struct kf_query query = {"job_end", "SELECT kerf.end_job($1, $2, $3, left($4, 100), left($5, 1000), "
                                                     "$6)"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    kf_args_integer(&args, fence);
    kf_args_text(&args, state);
    kf_args_string(&args, code);
    kf_args_string(&args, detail);
    kf_args_text(&args, report ? report : "{}");
    return kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
}

enum kf_status kf_store_job_release(struct kf_store *store, const char *organisation, const char *job_id,
                                    int64_t fence, struct kf_error *err)
{
    static const struct kf_query query = {
        "job_release", "UPDATE kerf.job SET state = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'queued' END, "
                       "attempts = greatest(0, attempts - 1), lease_until = NULL, progress = 0, stage = '', "
                       "finished_at = CASE WHEN cancel_requested THEN clock_timestamp() END, cancel_requested = false, "
                       "run_after = clock_timestamp() WHERE id = $1 AND fence = $2 AND state = 'running'"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    kf_args_integer(&args, fence);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.changed)
        status = stale(err);
    kf_rows_release(&rows);
    return status;
}

// ------------------------------------------------------------------------------------------------ people
// Runs an UPDATE of one job by id; KF_CONFLICT `code` when it changed nothing (the caller knows that the job exists).
static enum kf_status update_one(struct kf_store *store, const char *organisation, const struct kf_query *query,
                                 const struct kf_args *args, const char *code, const char *why, struct kf_error *err)
{
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, query, args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.changed && code)
        status = kf_error_set(err, KF_CONFLICT, code, "%s", why);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_job_cancel(struct kf_store *store, const char *organisation, const char *job_id,
                                   struct kf_error *err)
{
    static const struct kf_query query = {
        "job_cancel", "UPDATE kerf.job SET cancel_requested = (state = 'running'), "
                      "finished_at = CASE state WHEN 'queued' THEN clock_timestamp() ELSE finished_at END, "
                      "state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END "
                      "WHERE id = $1 AND state IN ('queued', 'running')"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    return update_one(store, organisation, &query, &args, "job_ended", "The job has ended already.", err);
}

enum kf_status kf_store_job_acknowledge(struct kf_store *store, const char *organisation, const char *job_id,
                                        const char *account, struct kf_error *err)
{
    static const struct kf_query query = {
        "job_acknowledge", "UPDATE kerf.job SET acknowledged_at = coalesce(acknowledged_at, clock_timestamp()), "
                           "acknowledged_by = CASE WHEN acknowledged_at IS NULL THEN $2::uuid ELSE acknowledged_by END "
                           "WHERE id = $1 AND state IN ('failed', 'dead')"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    kf_args_text(&args, account);
    return update_one(store, organisation, &query, &args, "job_not_failed", "The job has not failed.", err);
}

enum kf_status kf_store_job_retry(struct kf_store *store, const char *organisation, const char *job_id,
                                  struct kf_error *err)
{
    static const struct kf_query query = {
        "job_retry",
        "UPDATE kerf.job j SET state = 'queued', attempts = 0, run_after = clock_timestamp(), error_code = '', "
        "error_detail = '', progress = 0, stage = '', report = '{}', started_at = NULL, finished_at = NULL "
        "WHERE id = $1 AND state IN ('dead', 'failed', 'cancelled') AND NOT EXISTS (SELECT FROM kerf.job o "
        "WHERE o.organisation_id = j.organisation_id AND o.case_id = j.case_id AND o.key = j.key "
        "AND o.state IN ('queued', 'running', 'done'))"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    return update_one(store, organisation, &query, &args, "job_key", "The same work waits, runs or is done already.",
                      err);
}

enum kf_status kf_store_job_cancel_older(struct kf_store *store, const char *organisation, const char *job_id,
                                         struct kf_error *err)
{
    static const struct kf_query query = {
        "job_cancel_older",
        "UPDATE kerf.job o SET cancel_requested = (o.state = 'running'), "
        "finished_at = CASE o.state WHEN 'queued' THEN clock_timestamp() ELSE o.finished_at END, "
        "state = CASE o.state WHEN 'queued' THEN 'cancelled' ELSE o.state END "
        "FROM kerf.job n WHERE n.id = $1 AND o.case_id = n.case_id AND o.series_id = n.series_id AND o.id <> n.id "
        "AND o.supersedes AND o.kind = n.kind AND o.state IN ('queued', 'running') AND o.created_at <= n.created_at"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    return update_one(store, organisation, &query, &args, NULL, NULL, err);
}

enum kf_status kf_store_case_lock(struct kf_store *store, const char *organisation, const char *case_id,
                                  struct kf_error *err)
{
    static const struct kf_query query = {"case_lock", "SELECT FROM kerf.cases WHERE id = $1 FOR NO KEY UPDATE"};
    enum kf_status status = kf_ids_check(err, case_id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, case_id);
    struct kf_rows rows;
    status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.count)
        status = kf_not_found(err, "case");
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_case_derive(struct kf_store *store, const char *organisation, const char *case_id,
                                    struct kf_error *err)
{
    static const struct kf_query query = {"case_derive", "SELECT kerf.derive_case($1)"};
    struct kf_args args = {0};
    kf_args_text(&args, case_id);
    return kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
}
