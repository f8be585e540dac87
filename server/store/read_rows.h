// Shared by read_*.c: taking the columns of a row one after the other into an arena, and the columns of a study with
// its series, which come with a case, with a study and alone.
#ifndef KERF_STORE_READ_ROWS_H
#define KERF_STORE_READ_ROWS_H

#include "server/store/read.h"
#include "server/store/row.h"

// Exact place of a timestamp, in microseconds since 1970.
#define KF_US(column) "(extract(epoch FROM " column ") * 1000000)::bigint"

// st is a row of kerf.study, se one of kerf.series.
#define KF_STUDY_COLUMNS                                                                                               \
    "st.id, st.case_id, st.study_uid, st.study_date, st.study_time, st.description, st.accession, " KF_MS(             \
        "st.created_at")
#define KF_STUDY_COLUMN_COUNT 8
// Instances of a series that no import has taken yet; the others are counted in its row.
#define KF_WAITING(series) "(SELECT count(*) FROM kerf.instance w WHERE w.series_id = " series ".id AND NOT w.queued)"
#define KF_SERIES_COLUMNS                                                                                              \
    "se.id, se.case_id, se.study_id, se.series_uid, se.modality, se.description, se.body_part, se.series_number, "     \
    "se.instance_count + " KF_WAITING("se") ", "                                                                       \
    KF_MS("greatest(se.changed_at, (SELECT max(w.received_at) FROM kerf.instance w "                                   \
          "WHERE w.series_id = se.id AND NOT w.queued))")
#define KF_STUDY_ORDER "ORDER BY st.study_date, st.study_uid, st.id, se.series_number NULLS LAST, se.series_uid, se.id"

struct kf_take {
    const struct kf_rows *rows;
    struct kf_arena *arena;
    int row, column; // next to be taken
    int failed;      // memory has run out
};
const char *kf_take_text(struct kf_take *take); // never NULL unless failed
int64_t kf_take_integer(struct kf_take *take);
double kf_take_number(struct kf_take *take);
int kf_take_flag(struct kf_take *take);
int kf_take_maybe(struct kf_take *take, int *value); // 1 when the integer is there

// All rows as an array of views of `size` bytes in the arena, up to one whose first column is NULL (an outer join that
// found nothing); `one` takes a row. NULL and a count of 0 when memory has run out, which kf_take_end says.
void *kf_take_all(struct kf_take *take, size_t size, void (*one)(struct kf_take *take, void *view), size_t *count);

// All rows, whose columns from `column` on are KF_STUDY_COLUMNS and KF_SERIES_COLUMNS in KF_STUDY_ORDER, as studies
// with their series. Rows without a study are skipped.
void kf_take_studies(struct kf_take *take, int column, struct kf_study_view **out, size_t *count);
void kf_take_series(struct kf_take *take, struct kf_series_view *view);

// Two arguments: number and id of a place, or two NULLs.
void kf_args_place(struct kf_args *args, const struct kf_place *place);

// Runs a read of at most one row. KF_NOT_FOUND when id is none or the row is not there; *rows is to be released on
// KF_OK.
KF_MUST_USE enum kf_status kf_read_one(struct kf_store *store, const char *organisation, const struct kf_query *query,
                                       const char *id, const char *what, struct kf_rows *rows, struct kf_error *err);
// Releases the rows; KF_NOMEM when something could not be taken.
KF_MUST_USE enum kf_status kf_take_end(struct kf_take *take, struct kf_rows *rows, struct kf_error *err);

#endif
