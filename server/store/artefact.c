#include "server/store/job.h"

#include "server/store/row.h"
#include <stdlib.h>

enum kf_status kf_store_artefact_add(struct kf_store *store, const char *organisation, const char *job_id,
                                     const struct kf_artefact_new *artefact, struct kf_error *err)
{
    static const struct kf_query query = {
        "artefact_add",
        "INSERT INTO kerf.artefact (id, organisation_id, case_id, series_id, job_id, key, name, kind, content_sha256, "
        "bytes, "
        "media_type, meta) SELECT kerf.new_id(), organisation_id, case_id, series_id, id, key, $2, $3, $4, $5, $6, $7 "
        "FROM kerf.job WHERE id = $1"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    kf_args_text(&args, artefact->name);
    kf_args_text(&args, artefact->kind);
    kf_args_bytes(&args, artefact->sha256, sizeof artefact->sha256);
    kf_args_integer(&args, artefact->bytes);
    kf_args_text(&args, artefact->media_type);
    kf_args_text(&args, artefact->meta);
    return kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
}

void kf_artefact_rows_release(struct kf_artefact_row *rows, size_t count)
{
    for (size_t i = 0; rows && i < count; i++)
        json_decref(rows[i].meta);
    free(rows);
}

enum kf_status kf_store_artefacts_of_job(struct kf_store *store, const char *organisation, const char *job_id,
                                         struct kf_artefact_row **out, size_t *count, struct kf_error *err)
{
    static const struct kf_query query = {
        "artefacts_of_job", "SELECT id, name, kind, media_type, content_sha256, bytes, meta FROM kerf.artefact "
                            "WHERE job_id = $1 ORDER BY name COLLATE \"C\""};
    *out = NULL;
    *count = 0;
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_READ, &rows, err);
    if (status)
        return status;
    struct kf_artefact_row *list = calloc((size_t)rows.count + 1, sizeof *list);
    if (!list)
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a list of artefacts.");
    for (int i = 0; !status && i < rows.count; i++) {
        kf_row_copy(&rows, i, 0, list[i].id, sizeof list[i].id);
        kf_row_copy(&rows, i, 1, list[i].name, sizeof list[i].name);
        kf_row_copy(&rows, i, 2, list[i].kind, sizeof list[i].kind);
        kf_row_copy(&rows, i, 3, list[i].media_type, sizeof list[i].media_type);
        kf_row_hash(&rows, i, 4, list[i].sha256);
        list[i].bytes = kf_row_integer(&rows, i, 5);
        list[i].meta = kf_row_json(&rows, i, 6);
    }
    if (!status) {
        *out = list;
        *count = (size_t)rows.count;
    }
    kf_rows_release(&rows);
    return status;
}

// Descendants of a superseded volume whose own inputs have all come out the same again are current: one more generation
// with every round.
static enum kf_status revive_unchanged(struct kf_store *store, const char *organisation, const char *job_id,
                                       struct kf_error *err)
{
    static const struct kf_query query = {
        "artefact_revive_unchanged",
        "UPDATE kerf.artefact a SET superseded = false FROM kerf.job j, kerf.job me "
        "WHERE me.id = $1 AND a.case_id = me.case_id AND a.series_id = me.series_id AND a.superseded AND j.id = "
        "a.job_id "
        "AND NOT j.supersedes AND jsonb_array_length(j.inputs) > 0 AND NOT EXISTS ("
        "SELECT FROM jsonb_array_elements(j.inputs) i WHERE NOT EXISTS (SELECT FROM kerf.artefact c "
        "WHERE c.case_id = me.case_id AND NOT c.superseded AND c.content_sha256 = decode(i->>'sha256', 'hex')))"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    for (int generation = 0; generation < 32; generation++) {
        struct kf_rows rows;
        enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
        int changed = rows.changed;
        kf_rows_release(&rows);
        if (status || !changed)
            return status;
    }
    return KF_OK;
}

// True of a job j that has an input which is an artefact of its case, but no current one.
#define OUTDATED                                                                                                       \
    "EXISTS (SELECT FROM jsonb_array_elements(j.inputs) i JOIN kerf.artefact a ON a.organisation_id = j.organisation_id " \
    "AND a.case_id = j.case_id AND a.content_sha256 = decode(i->>'sha256', 'hex') "                                    \
    "GROUP BY a.content_sha256 HAVING bool_and(a.superseded)) "

static enum kf_status cancel_outdated(struct kf_store *store, const char *organisation, const char *job_id,
                                      struct kf_error *err)
{
    static const struct kf_query query = {
        "job_cancel_outdated",
        "UPDATE kerf.job j SET cancel_requested = (j.state = 'running'), "
        "finished_at = CASE j.state WHEN 'queued' THEN clock_timestamp() ELSE j.finished_at END, "
        "state = CASE j.state WHEN 'queued' THEN 'cancelled' ELSE j.state END FROM kerf.job me WHERE me.id = $1 "
        "AND j.case_id = me.case_id AND j.series_id = me.series_id AND j.state IN ('queued', 'running') "
        "AND NOT j.supersedes AND " OUTDATED};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    return kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
}

enum kf_status kf_store_artefacts_outdated(struct kf_store *store, const char *organisation, const char *job_id,
                                           int *outdated, struct kf_error *err)
{
    static const struct kf_query query = {
        "artefacts_outdated",
        "WITH late AS (SELECT j.id, " OUTDATED " AS yes FROM kerf.job j WHERE j.id = $1), "
        "gone AS (UPDATE kerf.artefact a SET superseded = true FROM late WHERE late.yes AND a.job_id = late.id) "
        "SELECT yes FROM late"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    *outdated = !status && rows.count && kf_row_flag(&rows, 0, 0);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_artefacts_supersede(struct kf_store *store, const char *organisation, const char *job_id,
                                            int *overtaken, struct kf_error *err)
{
    static const struct kf_query query = {
        "artefacts_supersede",
        "WITH me AS (SELECT id, case_id, series_id, kind, created_at FROM kerf.job WHERE id = $1), "
        "late AS (SELECT EXISTS (SELECT FROM kerf.job n, me WHERE n.case_id = me.case_id AND n.series_id = "
        "me.series_id "
        "  AND n.kind = me.kind AND n.supersedes AND n.state = 'done' AND n.id <> me.id "
        "  AND n.created_at > me.created_at) AS yes), "
        "gone AS (UPDATE kerf.artefact a SET superseded = true FROM me, late WHERE a.case_id = me.case_id "
        "  AND a.series_id = me.series_id AND NOT a.superseded "
        "  AND CASE WHEN late.yes THEN a.job_id = me.id ELSE a.job_id <> me.id END) "
        "SELECT yes FROM late"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    *overtaken = status ? 0 : kf_row_flag(&rows, 0, 0);
    kf_rows_release(&rows);
    if (!status && !*overtaken)
        status = revive_unchanged(store, organisation, job_id, err);
    if (!status && !*overtaken)
        status = cancel_outdated(store, organisation, job_id, err);
    return status;
}

enum kf_status kf_store_artefacts_revive(struct kf_store *store, const char *organisation, const char *job_id,
                                         struct kf_error *err)
{
    static const struct kf_query query = {"artefacts_revive",
                                          "UPDATE kerf.artefact SET superseded = false WHERE job_id = $1 AND "
                                          "superseded"};
    struct kf_args args = {0};
    kf_args_text(&args, job_id);
    return kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
}
