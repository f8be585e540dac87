// Reading cases and what hangs below them, and a person's changes to a case. Each function enters (kf_app_enter), then
// asks the store once; views, filters and places are those of server/store/read.h.
#ifndef KERF_APP_CASES_H
#define KERF_APP_CASES_H

#include "server/app/app.h"
#include "server/store/read.h"

KF_MUST_USE enum kf_status kf_app_case_list(struct kf_app_thread *thread, const struct kf_actor *actor,
                                            const struct kf_case_filter *filter, struct kf_arena *arena,
                                            struct kf_case_view **out, size_t *count, struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_case_read(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                            struct kf_arena *arena, struct kf_case_detail *out, struct kf_error *err);
// title and state NULL stay; revision -1: any.
KF_MUST_USE enum kf_status kf_app_case_change(struct kf_app_thread *thread, const struct kf_actor *actor,
                                              const char *id, const char *title, const char *state, int64_t revision,
                                              struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_case_studies(struct kf_app_thread *thread, const struct kf_actor *actor,
                                               const char *case_id, struct kf_arena *arena, struct kf_study_view **out,
                                               size_t *count, struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_study_read(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                             struct kf_arena *arena, struct kf_study_view *out, struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_series_read(struct kf_app_thread *thread, const struct kf_actor *actor,
                                              const char *id, struct kf_arena *arena, struct kf_series_view *out,
                                              struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_instance_list(struct kf_app_thread *thread, const struct kf_actor *actor,
                                                const char *series_id, const struct kf_place *after, int limit,
                                                struct kf_arena *arena, struct kf_instance_view **out, size_t *count,
                                                struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_artefact_list(struct kf_app_thread *thread, const struct kf_actor *actor,
                                                const char *case_id, const struct kf_artefact_filter *filter,
                                                struct kf_arena *arena, struct kf_artefact_view **out, size_t *count,
                                                struct kf_error *err);
// kind: NULL, or KF_NOT_FOUND when the artefact is of another kind.
KF_MUST_USE enum kf_status kf_app_artefact_read(struct kf_app_thread *thread, const struct kf_actor *actor,
                                                const char *id, const char *kind, struct kf_arena *arena,
                                                struct kf_artefact_view *out, struct kf_error *err);

// The place of the blob, if an artefact or instance of this case leads to it; open_blob then opens it (the descriptor
// is owned). Two steps, so that what a caller has already need not be opened.
struct kf_app_place {
    char container[KF_BLOB_CONTAINER];
    int64_t offset, bytes;
};
struct kf_app_blob {
    struct kf_app_place plain;
    struct kf_app_place gzip; // the same bytes gzipped; bytes 0: there is none that is smaller
    char media_type[80];
};
KF_MUST_USE enum kf_status kf_app_blob_find(struct kf_app_thread *thread, const struct kf_actor *actor,
                                            const char *case_id, const char *sha256_hex, struct kf_app_blob *out,
                                            struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_blob_open(struct kf_app_thread *thread, const struct kf_app_place *place, int *fd,
                                            struct kf_error *err);

KF_MUST_USE enum kf_status kf_app_job_list(struct kf_app_thread *thread, const struct kf_actor *actor,
                                           const char *case_id, const char *state, const struct kf_place *after,
                                           int limit, struct kf_arena *arena, struct kf_job_view **out, size_t *count,
                                           struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_job_read(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                           struct kf_arena *arena, struct kf_job_view *out, struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_job_cancel(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                             struct kf_error *err);
// The failure was seen: the case asks for attention on its account no more. KF_CONFLICT "job_not_failed".
KF_MUST_USE enum kf_status kf_app_job_acknowledge(struct kf_app_thread *thread, const struct kf_actor *actor,
                                                  const char *id, struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_job_retry(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                            struct kf_error *err);

#endif
