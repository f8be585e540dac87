// The work list and the case page. One statement each: a page of cases, or one case with everything below it.
#include "server/store/read.h"

#include "server/base/json.h"
#include "server/store/read_rows.h"
#include "server/store/row.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// c is a row of kerf.cases; what hangs below it is counted beside it.
#define CASE_COLUMNS                                                                                                   \
    "c.id, c.title, c.state, c.patient_id, c.patient_issuer, c.patient_name, c.birth_date, c.sex, c.number, " KF_MS(   \
        "c.created_at") ", " KF_MS("c.updated_at") ", " KF_US("c.updated_at") ", c.revision, "                         \
                                                                              "s.studies, s.series, s.instances, "     \
                                                                              "s.modalities, a.volumes, "              \
                                                                              "a.segmentations, a.meshes, "            \
                                                                              "j.running, j.queued, j.failed, "        \
                                                                              "j.ended, j.part "
#define CASE_COLUMN_COUNT 25
#define CASE_COUNTS                                                                                                    \
    "CROSS JOIN LATERAL (SELECT count(DISTINCT x.study_id) AS studies, count(*) AS series, "                           \
    " coalesce(sum(x.instance_count + " KF_WAITING("x") "), 0) AS instances, "                                         \
    " string_agg(DISTINCT x.modality, ',' ORDER BY x.modality) FILTER (WHERE x.modality <> '') AS modalities "         \
    " FROM kerf.series x WHERE x.case_id = c.id) s "                                                                   \
    "CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE x.kind = 'volume') AS volumes, "                                \
    " count(*) FILTER (WHERE x.kind = 'segmentation') AS segmentations, "                                              \
    " count(*) FILTER (WHERE x.kind = 'mesh') AS meshes "                                                              \
    " FROM kerf.artefact x WHERE x.case_id = c.id AND NOT x.superseded) a "                                            \
    "CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE x.state = 'running') AS running, "                              \
    " count(*) FILTER (WHERE x.state = 'queued') AS queued, "                                                          \
    " count(*) FILTER (WHERE x.state IN ('failed', 'dead') AND x.acknowledged_at IS NULL) AS failed, "                 \
    " count(*) FILTER (WHERE x.state = 'done') AS ended, "                                                             \
    " coalesce(sum(x.progress) FILTER (WHERE x.state = 'running'), 0) AS part "                                        \
    " FROM kerf.job x WHERE x.case_id = c.id) j "

static const struct kf_query list_cases = {
    "read_case_list",
    "SELECT " CASE_COLUMNS "FROM (SELECT * FROM kerf.cases c "
    " WHERE ($1::text IS NULL OR c.state = $1) "
    " AND ($2::bigint IS NULL OR (c.updated_at, c.id) < (timestamptz 'epoch' + $2 * interval '1 microsecond', "
    "$3::uuid)) "
    " AND NOT EXISTS (SELECT FROM jsonb_array_elements_text($4::jsonb) AS w WHERE position(lower(w.value) IN "
    "  lower(concat_ws(' ', c.patient_name, c.patient_id, c.title, '#' || c.number))) = 0) "
    " ORDER BY c.updated_at DESC, c.id DESC LIMIT $5) c " CASE_COUNTS "ORDER BY c.updated_at DESC, c.id DESC"};

static const struct kf_query read_case = {
    "read_case", "SELECT " CASE_COLUMNS ", " KF_STUDY_COLUMNS ", " KF_SERIES_COLUMNS " FROM kerf.cases c " CASE_COUNTS
                 "LEFT JOIN kerf.study st ON st.case_id = c.id LEFT JOIN kerf.series se ON se.study_id = st.id "
                 "WHERE c.id = $1 " KF_STUDY_ORDER};

static const struct kf_query lock_case = {
    "read_case_lock", "SELECT state, title, revision FROM kerf.cases WHERE id = $1 FOR NO KEY UPDATE"};
static const struct kf_query edit_case = {
    "read_case_edit", "UPDATE kerf.cases SET title = coalesce($2, title), state = coalesce($3, state), "
                      "revision = revision + 1, updated_at = now() WHERE id = $1"};
static const struct kf_query case_exists = {"read_case_exists", "SELECT FROM kerf.cases WHERE id = $1"};

static double fraction_of(const struct kf_case_view *view, double done, double part)
{
    double all = done + (double)(view->jobs_running + view->jobs_queued);
    if (all > 0)
        return (done + part) / all;
    return strcmp(view->state, "receiving") == 0 ? 0.0 : 1.0;
}

static void take_case(struct kf_take *take, void *to)
{
    struct kf_case_view *view = to;
    view->id = kf_take_text(take);
    view->title = kf_take_text(take);
    view->state = kf_take_text(take);
    view->patient_id = kf_take_text(take);
    view->patient_issuer = kf_take_text(take);
    view->patient_name = kf_take_text(take);
    view->birth_date = kf_take_text(take);
    view->sex = kf_take_text(take);
    view->number = kf_take_integer(take);
    view->created_ms = kf_take_integer(take);
    view->updated_ms = kf_take_integer(take);
    view->updated_us = kf_take_integer(take);
    view->revision = (int)kf_take_integer(take);
    view->studies = kf_take_integer(take);
    view->series = kf_take_integer(take);
    view->instances = kf_take_integer(take);
    view->modalities = kf_take_text(take);
    view->volumes = kf_take_integer(take);
    view->segmentations = kf_take_integer(take);
    view->meshes = kf_take_integer(take);
    view->jobs_running = kf_take_integer(take);
    view->jobs_queued = kf_take_integer(take);
    view->jobs_failed = kf_take_integer(take);
    double done = kf_take_number(take);
    view->fraction = fraction_of(view, done, kf_take_number(take));
}

// The words as a JSON array; owned (free). NULL when memory has run out.
static char *words_json(const struct kf_case_filter *filter)
{
    json_t *words = json_array();
    for (size_t i = 0; words && i < filter->word_count; i++)
        if (json_array_append_new(words, json_string(filter->words[i])) != 0) {
            json_decref(words);
            return NULL;
        }
    char *text = words ? json_dumps(words, JSON_COMPACT) : NULL;
    json_decref(words);
    return text;
}

enum kf_status kf_store_case_list(struct kf_store *store, const char *organisation, const struct kf_case_filter *filter,
                                  struct kf_arena *arena, struct kf_case_view **out, size_t *count,
                                  struct kf_error *err)
{
    struct kf_args args = {0};
    struct kf_rows rows;
    *out = NULL;
    *count = 0;
    char *words = words_json(filter);
    if (!words)
        return kf_error_set(err, KF_INVALID, "invalid_text", "The search is not valid UTF-8.");
    kf_args_text(&args, filter->state);
    kf_args_place(&args, filter->after);
    kf_args_text(&args, words);
    kf_args_integer(&args, filter->limit);
    enum kf_status status = kf_run(store, organisation, &list_cases, &args, KF_RUN_READ, &rows, err);
    free(words);
    if (status != KF_OK)
        return status;
    struct kf_take take = {.rows = &rows, .arena = arena};
    *out = kf_take_all(&take, sizeof **out, take_case, count);
    return kf_take_end(&take, &rows, err);
}

enum kf_status kf_store_case_read(struct kf_store *store, const char *organisation, const char *id,
                                  struct kf_arena *arena, struct kf_case_detail *out, struct kf_error *err)
{
    struct kf_args args = {0};
    struct kf_rows rows;
    memset(out, 0, sizeof *out);
    enum kf_status status = kf_ids_check(err, id, NULL);
    if (status != KF_OK)
        return status;
    kf_args_text(&args, id);
    status = kf_run(store, organisation, &read_case, &args, KF_RUN_READ, &rows, err);
    if (status != KF_OK)
        return status;
    if (rows.count == 0) {
        kf_rows_release(&rows);
        return kf_not_found(err, "case");
    }
    struct kf_take take = {.rows = &rows, .arena = arena};
    take_case(&take, &out->view);
    kf_take_studies(&take, CASE_COLUMN_COUNT, &out->studies, &out->study_count);
    kf_rows_release(&rows);
    if (take.failed) {
        memset(out, 0, sizeof *out);
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a case.");
    }
    return KF_OK;
}

// With the row locked: is the change based on what is there, and may the state go there?
static enum kf_status check_edit(const struct kf_rows *rows, const struct kf_case_edit *edit, struct kf_error *err)
{
    if (rows->count == 0)
        return kf_not_found(err, "case");
    if (edit->revision >= 0 && kf_row_integer(rows, 0, 2) != edit->revision)
        return kf_error_set(err, KF_PRECONDITION_FAILED, NULL, "The case has been changed since.");
    return edit->state ? edit->allowed(kf_row_text(rows, 0, 0), edit->state, err) : KF_OK;
}

static enum kf_status edit_locked(struct kf_store *store, const char *organisation, const char *id,
                                  const struct kf_case_edit *edit, struct kf_error *err)
{
    struct kf_args args = {0};
    struct kf_rows rows;
    kf_args_text(&args, id);
    enum kf_status status = kf_run(store, organisation, &lock_case, &args, KF_RUN_WRITE, &rows, err);
    if (status != KF_OK)
        return status;
    status = check_edit(&rows, edit, err);
    int changes = status == KF_OK && ((edit->state && strcmp(edit->state, kf_row_text(&rows, 0, 0)) != 0) ||
                                      (edit->title && strcmp(edit->title, kf_row_text(&rows, 0, 1)) != 0));
    kf_rows_release(&rows);
    if (status != KF_OK || !changes)
        return status;
    kf_args_text(&args, edit->title);
    kf_args_text(&args, edit->state);
    return kf_run(store, organisation, &edit_case, &args, KF_RUN_WRITE, NULL, err);
}

enum kf_status kf_store_case_edit(struct kf_store *store, const char *organisation, const char *id,
                                  const struct kf_case_edit *edit, struct kf_error *err)
{
    enum kf_status status = kf_ids_check(err, id, NULL);
    if (status == KF_OK)
        status = kf_store_begin(store, organisation, err);
    if (status != KF_OK)
        return status;
    status = edit_locked(store, organisation, id, edit, err);
    if (status == KF_OK)
        return kf_store_commit(store, err);
    kf_store_rollback(store);
    return status;
}

enum kf_status kf_store_case_exists(struct kf_store *store, const char *organisation, const char *case_id,
                                    struct kf_error *err)
{
    struct kf_args args = {0};
    struct kf_rows rows;
    enum kf_status status = kf_ids_check(err, case_id, NULL);
    if (status != KF_OK)
        return status;
    kf_args_text(&args, case_id);
    status = kf_run(store, organisation, &case_exists, &args, KF_RUN_READ, &rows, err);
    if (status == KF_OK && rows.count == 0)
        status = kf_not_found(err, "case");
    kf_rows_release(&rows);
    return status;
}
