#include "server/store/read_rows.h"

#include <string.h>

const char *kf_take_text(struct kf_take *take)
{
    const char *text = kf_arena_strdup(take->arena, kf_row_text(take->rows, take->row, take->column++));
    if (!text)
        take->failed = 1;
    return text ? text : "";
}

int64_t kf_take_integer(struct kf_take *take)
{
    return kf_row_integer(take->rows, take->row, take->column++);
}

double kf_take_number(struct kf_take *take)
{
    return kf_row_number(take->rows, take->row, take->column++);
}

int kf_take_flag(struct kf_take *take)
{
    return kf_row_flag(take->rows, take->row, take->column++);
}

int kf_take_maybe(struct kf_take *take, int *value)
{
    int there = !kf_row_null(take->rows, take->row, take->column);
    *value = (int)kf_take_integer(take);
    return there;
}

void *kf_take_all(struct kf_take *take, size_t size, void (*one)(struct kf_take *take, void *view), size_t *count)
{
    unsigned char *views = kf_arena_alloc(take->arena, ((size_t)take->rows->count + 1) * size);
    *count = 0;
    take->failed |= !views;
    for (int i = 0; views && i < take->rows->count && !kf_row_null(take->rows, i, 0); i++) {
        take->row = i;
        take->column = 0;
        one(take, views + (*count)++ * size);
    }
    if (take->failed)
        *count = 0;
    return take->failed ? NULL : views;
}

void kf_take_series(struct kf_take *take, struct kf_series_view *view)
{
    view->id = kf_take_text(take);
    view->case_id = kf_take_text(take);
    view->study_id = kf_take_text(take);
    view->series_uid = kf_take_text(take);
    view->modality = kf_take_text(take);
    view->description = kf_take_text(take);
    view->body_part = kf_take_text(take);
    view->has_number = kf_take_maybe(take, &view->number);
    view->instance_count = kf_take_integer(take);
    view->changed_ms = kf_take_integer(take);
}

static void take_study(struct kf_take *take, struct kf_study_view *view)
{
    view->id = kf_take_text(take);
    view->case_id = kf_take_text(take);
    view->study_uid = kf_take_text(take);
    view->date = kf_take_text(take);
    view->time = kf_take_text(take);
    view->description = kf_take_text(take);
    view->accession = kf_take_text(take);
    view->created_ms = kf_take_integer(take);
}

void kf_take_studies(struct kf_take *take, int column, struct kf_study_view **out, size_t *count)
{
    size_t rows = (size_t)take->rows->count;
    struct kf_study_view *studies = kf_arena_alloc(take->arena, (rows + 1) * sizeof *studies);
    struct kf_series_view *series = kf_arena_alloc(take->arena, (rows + 1) * sizeof *series);
    size_t study_count = 0, series_count = 0;
    if (!studies || !series) {
        take->failed = 1;
        return;
    }
    for (take->row = 0; take->row < take->rows->count; take->row++) {
        const char *id = kf_row_text(take->rows, take->row, column);
        if (!*id)
            continue;
        if (study_count == 0 || strcmp(studies[study_count - 1].id, id) != 0) {
            take->column = column;
            take_study(take, &studies[study_count]);
            studies[study_count++].series = &series[series_count];
        }
        take->column = column + KF_STUDY_COLUMN_COUNT;
        if (kf_row_null(take->rows, take->row, take->column))
            continue;
        kf_take_series(take, &series[series_count++]);
        studies[study_count - 1].series_count++;
    }
    *out = studies;
    *count = study_count;
}

void kf_args_place(struct kf_args *args, const struct kf_place *place)
{
    if (place) {
        kf_args_integer(args, place->at);
        kf_args_text(args, place->id);
    } else {
        kf_args_text(args, NULL);
        kf_args_text(args, NULL);
    }
}

enum kf_status kf_read_one(struct kf_store *store, const char *organisation, const struct kf_query *query,
                           const char *id, const char *what, struct kf_rows *rows, struct kf_error *err)
{
    struct kf_args args = {0};
    memset(rows, 0, sizeof *rows);
    enum kf_status status = kf_ids_check(err, id, NULL);
    if (status != KF_OK)
        return status;
    kf_args_text(&args, id);
    status = kf_run(store, organisation, query, &args, KF_RUN_READ, rows, err);
    if (status == KF_OK && rows->count == 0) {
        kf_rows_release(rows);
        return kf_not_found(err, what);
    }
    return status;
}

enum kf_status kf_take_end(struct kf_take *take, struct kf_rows *rows, struct kf_error *err)
{
    kf_rows_release(rows);
    return take->failed ? kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for what was asked for.") : KF_OK;
}
