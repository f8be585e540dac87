#include "server/store/event.h"

#include "server/store/row.h"

enum kf_status kf_store_event_add(struct kf_store *store, const char *organisation, const char *case_id,
                                  const char *kind, const char *body, struct kf_error *err)
{
    static const struct kf_query query = {"event_add", "INSERT INTO kerf.event (organisation_id, case_id, kind, body) "
                                                       "VALUES (kerf.organisation(), $1, $2, $3)"};
    enum kf_status status = kf_ids_check(err, case_id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, case_id);
    kf_args_text(&args, kind);
    kf_args_text(&args, body);
    return kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
}

enum kf_status kf_store_events_after(struct kf_store *store, const char *organisation, int64_t after, int limit,
                                     void (*emit)(void *to, const struct kf_event_row *event), void *to,
                                     struct kf_error *err)
{
    static const struct kf_query query = {
        "events_after", "SELECT id, " KF_MS("created_at") ", coalesce(case_id::text, ''), kind, body FROM kerf.event "
                        "WHERE organisation_id = kerf.organisation() AND id > $1 ORDER BY id LIMIT $2"};
    struct kf_args args = {0};
    kf_args_integer(&args, after);
    kf_args_integer(&args, limit);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_READ, &rows, err);
    for (int i = 0; !status && i < rows.count; i++) {
        struct kf_event_row event = {
            .id = kf_row_integer(&rows, i, 0),
            .created_ms = kf_row_integer(&rows, i, 1),
            .case_id = kf_row_text(&rows, i, 2),
            .kind = kf_row_text(&rows, i, 3),
            .body = kf_row_text(&rows, i, 4),
        };
        emit(to, &event);
    }
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_event_newest(struct kf_store *store, const char *organisation, int64_t *id,
                                     struct kf_error *err)
{
    static const struct kf_query query = {
        "event_newest", "SELECT coalesce(max(id), 0) FROM kerf.event WHERE organisation_id = kerf.organisation()"};
    struct kf_args none = {0};
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &none, KF_RUN_READ, &rows, err);
    *id = status ? 0 : kf_row_integer(&rows, 0, 0);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_events_prune(struct kf_store *store, double keep_s, int *count, struct kf_error *err)
{
    static const struct kf_query query = {"events_prune", "SELECT kerf.prune($1)"};
    struct kf_args args = {0};
    kf_args_number(&args, keep_s);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, NULL, &query, &args, KF_RUN_WRITE, &rows, err);
    *count = status ? 0 : (int)kf_row_integer(&rows, 0, 0);
    kf_rows_release(&rows);
    return status;
}
