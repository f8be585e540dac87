// Studies, series and instances.
#include "server/store/read_rows.h"

#include <string.h>

// The case joined in front tells an empty case from one that does not exist.
static const struct kf_query case_studies = {
    "read_case_studies", "SELECT " KF_STUDY_COLUMNS ", " KF_SERIES_COLUMNS " FROM kerf.cases c "
                         "LEFT JOIN kerf.study st ON st.case_id = c.id LEFT JOIN kerf.series se ON se.study_id = st.id "
                         "WHERE c.id = $1 " KF_STUDY_ORDER};
static const struct kf_query read_study = {
    "read_study", "SELECT " KF_STUDY_COLUMNS ", " KF_SERIES_COLUMNS " FROM kerf.study st "
                  "LEFT JOIN kerf.series se ON se.study_id = st.id WHERE st.id = $1 " KF_STUDY_ORDER};
static const struct kf_query read_series = {"read_series", "SELECT " KF_SERIES_COLUMNS
                                                           ", c.state IN ('ready', 'attention') FROM kerf.series se "
                                                           "JOIN kerf.cases c ON c.id = se.case_id WHERE se.id = $1"};
static const struct kf_query list_instances = {
    "read_instances",
    "SELECT i.id, i.sop_uid, i.sop_class, i.transfer_syntax, i.set_aside, encode(i.content_sha256, 'hex'), i.source, "
    "i.bytes, " KF_MS("i.received_at") ", i.instance_number, i.conflict "
                                       "FROM kerf.series se LEFT JOIN LATERAL (SELECT * FROM kerf.instance x WHERE "
                                       "x.series_id = se.id "
                                       " AND ($2::bigint IS NULL OR (coalesce(x.instance_number, 2147483647), x.id) > "
                                       "($2, $3::uuid)) "
                                       " ORDER BY coalesce(x.instance_number, 2147483647), x.id LIMIT $4) i ON true "
                                       "WHERE se.id = $1 ORDER BY coalesce(i.instance_number, 2147483647), i.id"};

enum kf_status kf_store_case_studies(struct kf_store *store, const char *organisation, const char *case_id,
                                     struct kf_arena *arena, struct kf_study_view **out, size_t *count,
                                     struct kf_error *err)
{
    struct kf_rows rows;
    *out = NULL;
    *count = 0;
    enum kf_status status = kf_read_one(store, organisation, &case_studies, case_id, "case", &rows, err);
    if (status != KF_OK)
        return status;
    struct kf_take take = {.rows = &rows, .arena = arena};
    kf_take_studies(&take, 0, out, count);
    return kf_take_end(&take, &rows, err);
}

enum kf_status kf_store_study_read(struct kf_store *store, const char *organisation, const char *id,
                                   struct kf_arena *arena, struct kf_study_view *out, struct kf_error *err)
{
    struct kf_rows rows;
    struct kf_study_view *studies = NULL;
    size_t count = 0;
    memset(out, 0, sizeof *out);
    enum kf_status status = kf_read_one(store, organisation, &read_study, id, "study", &rows, err);
    if (status != KF_OK)
        return status;
    struct kf_take take = {.rows = &rows, .arena = arena};
    kf_take_studies(&take, 0, &studies, &count);
    if (count > 0)
        *out = studies[0];
    return kf_take_end(&take, &rows, err);
}

enum kf_status kf_store_series_read(struct kf_store *store, const char *organisation, const char *id,
                                    struct kf_arena *arena, struct kf_series_view *out, struct kf_error *err)
{
    struct kf_rows rows;
    memset(out, 0, sizeof *out);
    enum kf_status status = kf_read_one(store, organisation, &read_series, id, "series", &rows, err);
    if (status != KF_OK)
        return status;
    struct kf_take take = {.rows = &rows, .arena = arena};
    kf_take_series(&take, out);
    out->settled = kf_take_flag(&take);
    return kf_take_end(&take, &rows, err);
}

static void take_instance(struct kf_take *take, void *to)
{
    struct kf_instance_view *view = to;
    view->id = kf_take_text(take);
    view->sop_uid = kf_take_text(take);
    view->sop_class = kf_take_text(take);
    view->transfer_syntax = kf_take_text(take);
    view->set_aside = kf_take_text(take);
    view->content_sha256 = kf_take_text(take);
    view->source = kf_take_text(take);
    view->bytes = kf_take_integer(take);
    view->received_ms = kf_take_integer(take);
    view->has_number = kf_take_maybe(take, &view->number);
    view->conflict = kf_take_flag(take);
}

enum kf_status kf_store_instance_list(struct kf_store *store, const char *organisation, const char *series_id,
                                      const struct kf_place *after, int limit, struct kf_arena *arena,
                                      struct kf_instance_view **out, size_t *count, struct kf_error *err)
{
    struct kf_args args = {0};
    struct kf_rows rows;
    *out = NULL;
    *count = 0;
    enum kf_status status = kf_ids_check(err, series_id, NULL);
    if (status != KF_OK)
        return status;
    kf_args_text(&args, series_id);
    kf_args_place(&args, after);
    kf_args_integer(&args, limit);
    status = kf_run(store, organisation, &list_instances, &args, KF_RUN_READ, &rows, err);
    if (status != KF_OK)
        return status;
    if (rows.count == 0) {
        kf_rows_release(&rows);
        return kf_not_found(err, "series");
    }
    struct kf_take take = {.rows = &rows, .arena = arena};
    *out = kf_take_all(&take, sizeof **out, take_instance, count);
    return kf_take_end(&take, &rows, err);
}
