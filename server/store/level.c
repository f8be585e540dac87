#include "server/store/level.h"

#include "server/store/read_rows.h"

static void take_level(struct kf_take *take, void *to)
{
    struct kf_level_row *row = to;
    row->artefact_id = kf_take_text(take);
    row->account_id = kf_take_text(take);
    row->name = kf_take_text(take);
    row->levels = kf_take_text(take);
    row->stated_ms = kf_take_integer(take);
}

enum kf_status kf_store_level_list(struct kf_store *store, const char *organisation, const char *case_id,
                                   struct kf_arena *arena, struct kf_level_row **out, size_t *count,
                                   struct kf_error *err)
{
    static const struct kf_query query = {
        "level_list", "SELECT n.artefact_id, n.account_id, a.display_name, n.levels, " KF_MS("n.stated_at")
                      " FROM (SELECT DISTINCT ON (artefact_id, account_id) * FROM kerf.level_statement "
                      " WHERE case_id = $1 ORDER BY artefact_id, account_id, stated_at DESC, id DESC) n "
                      "JOIN kerf.account a ON a.id = n.account_id ORDER BY n.artefact_id, n.stated_at, n.id"};
    struct kf_args args = {0};
    struct kf_rows rows;
    *out = NULL;
    *count = 0;
    enum kf_status status = kf_ids_check(err, case_id, NULL);
    if (status != KF_OK)
        return status;
    kf_args_text(&args, case_id);
    status = kf_run(store, organisation, &query, &args, KF_RUN_READ, &rows, err);
    if (status != KF_OK)
        return status;
    struct kf_take take = {.rows = &rows, .arena = arena};
    *out = kf_take_all(&take, sizeof **out, take_level, count);
    return kf_take_end(&take, &rows, err);
}

enum kf_status kf_store_level_add(struct kf_store *store, const char *organisation, const char *case_id,
                                  const char *artefact_id, const char *account_id, const char *levels,
                                  struct kf_error *err)
{
    static const struct kf_query query = {
        "level_add", "INSERT INTO kerf.level_statement (id, organisation_id, case_id, artefact_id, account_id, levels) "
                     "SELECT $1, kerf.organisation(), x.case_id, x.id, $4, $5 FROM kerf.artefact x "
                     "WHERE x.id = $3 AND x.case_id = $2 AND x.kind = 'segmentation'"};
    char id[KF_ID_TEXT];
    struct kf_args args = {0};
    struct kf_rows rows;
    enum kf_status status = kf_ids_check(err, case_id, artefact_id);
    if (status != KF_OK)
        return status;
    kf_id_new(id);
    kf_args_text(&args, id);
    kf_args_text(&args, case_id);
    kf_args_text(&args, artefact_id);
    kf_args_text(&args, account_id);
    kf_args_text(&args, levels);
    status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    if (status == KF_OK && !rows.changed)
        status = kf_not_found(err, "segmentation");
    kf_rows_release(&rows);
    return status;
}
