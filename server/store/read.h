// What the work list and the case page show: cases, studies, series, instances, artefacts and jobs, as rows. Every
// function outside a transaction is one round trip. Arrays and texts live in the caller's arena; texts are never NULL;
// times are Unix milliseconds, 0 where there is none; an `after` member is the last row of the page before (NULL: first
// page). Ids of rows that are not this organisation's are KF_NOT_FOUND, as are ids that do not exist.
#ifndef KERF_STORE_READ_H
#define KERF_STORE_READ_H

#include "server/base/arena.h"
#include "server/store/store.h"
#include <stddef.h>
#include <stdint.h>

// A place in a list that is ordered by a number and then an id.
struct kf_place {
    int64_t at;
    char id[KF_ID_TEXT];
};

struct kf_case_view {
    const char *id, *title, *state;
    const char *patient_id, *patient_issuer, *patient_name, *birth_date, *sex;
    int64_t number, created_ms, updated_ms;
    int64_t updated_us; // exact place in the list
    int revision;
    int64_t studies, series, instances, volumes, segmentations, meshes;
    const char *modalities; // parted by commas, sorted
    int64_t jobs_running, jobs_queued, jobs_failed;
    double fraction; // of the work known so far, 0 … 1
};

struct kf_case_filter {
    const char *const *words; // each must occur in patient name, patient id, title or case number
    size_t word_count;
    const char *state;            // NULL: any
    const struct kf_place *after; // at = updated_us
    int limit;
};
// By last change, newest first.
KF_MUST_USE enum kf_status kf_store_case_list(struct kf_store *store, const char *organisation,
                                              const struct kf_case_filter *filter, struct kf_arena *arena,
                                              struct kf_case_view **out, size_t *count, struct kf_error *err);

struct kf_series_view {
    const char *id, *case_id, *study_id, *series_uid, *modality, *description, *body_part;
    int has_number, number;
    int64_t instance_count, changed_ms;
    int settled; // of one series read by itself: its case is neither receiving nor processing
};

struct kf_study_view {
    const char *id, *case_id, *study_uid, *date, *time, *description, *accession;
    int64_t created_ms;
    struct kf_series_view *series; // by number, then UID
    size_t series_count;
};

struct kf_case_detail {
    struct kf_case_view view;
    struct kf_study_view *studies; // by date, then UID
    size_t study_count;
};
KF_MUST_USE enum kf_status kf_store_case_read(struct kf_store *store, const char *organisation, const char *id,
                                              struct kf_arena *arena, struct kf_case_detail *out, struct kf_error *err);

// A person's change. title and state NULL stay. revision: what the caller saw, -1 for any; else
// KF_PRECONDITION_FAILED. Writes case.changed when the state changes. allowed is asked, with the row locked, whether
// the state may go from `from` to `to`.
struct kf_case_edit {
    const char *title, *state;
    int64_t revision;
    enum kf_status (*allowed)(const char *from, const char *to, struct kf_error *err);
};
KF_MUST_USE enum kf_status kf_store_case_edit(struct kf_store *store, const char *organisation, const char *id,
                                              const struct kf_case_edit *edit, struct kf_error *err);

KF_MUST_USE enum kf_status kf_store_case_studies(struct kf_store *store, const char *organisation, const char *case_id,
                                                 struct kf_arena *arena, struct kf_study_view **out, size_t *count,
                                                 struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_study_read(struct kf_store *store, const char *organisation, const char *id,
                                               struct kf_arena *arena, struct kf_study_view *out, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_series_read(struct kf_store *store, const char *organisation, const char *id,
                                                struct kf_arena *arena, struct kf_series_view *out,
                                                struct kf_error *err);

struct kf_instance_view {
    const char *id, *sop_uid, *sop_class, *transfer_syntax, *set_aside, *content_sha256, *source;
    int64_t bytes, received_ms;
    int has_number, number;
    int conflict;
};
// By instance number (without one: last), then id. after->at is the number, or INT32_MAX.
KF_MUST_USE enum kf_status kf_store_instance_list(struct kf_store *store, const char *organisation,
                                                  const char *series_id, const struct kf_place *after, int limit,
                                                  struct kf_arena *arena, struct kf_instance_view **out, size_t *count,
                                                  struct kf_error *err);

struct kf_artefact_view {
    const char *id, *case_id, *series_id, *job_id, *name, *kind, *sha256, *media_type; // series_id "" for none
    const char *meta;                                                                  // JSON text
    int64_t bytes, created_ms, created_us;
    int superseded;
    const char *made_from; // JSON text: names and hashes of the job's inputs, without the instances of an import
};
struct kf_artefact_filter {
    const char *kind, *kind_or;   // NULL: any but the encodings of others ("encoding.gzip")
    int superseded;               // also those
    const struct kf_place *after; // at = created_us
    int limit;
};
// Oldest first.
KF_MUST_USE enum kf_status kf_store_artefact_list(struct kf_store *store, const char *organisation, const char *case_id,
                                                  const struct kf_artefact_filter *filter, struct kf_arena *arena,
                                                  struct kf_artefact_view **out, size_t *count, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_artefact_read(struct kf_store *store, const char *organisation, const char *id,
                                                  struct kf_arena *arena, struct kf_artefact_view *out,
                                                  struct kf_error *err);

struct kf_job_view {
    const char *id, *case_id, *kind, *state, *stage, *error_code, *error_detail;
    const char *report; // JSON text
    const char *inputs; // JSON text: what it reads, as api/openapi.yaml has it (JobInput)
    int version, priority, attempts, max_attempts, cancel_requested;
    double progress;
    int64_t created_ms, started_ms, finished_ms, acknowledged_ms, created_us; // acknowledged_ms 0: nobody did
};
// case_id or state may be NULL for any. Newest first; after->at = created_us.
KF_MUST_USE enum kf_status kf_store_job_list(struct kf_store *store, const char *organisation, const char *case_id,
                                             const char *state, const struct kf_place *after, int limit,
                                             struct kf_arena *arena, struct kf_job_view **out, size_t *count,
                                             struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_job_read(struct kf_store *store, const char *organisation, const char *id,
                                             struct kf_arena *arena, struct kf_job_view *out, struct kf_error *err);

// KF_OK when the case exists for this organisation.
KF_MUST_USE enum kf_status kf_store_case_exists(struct kf_store *store, const char *organisation, const char *case_id,
                                                struct kf_error *err);

#endif
