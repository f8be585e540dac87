#include "server/app/cases.h"

#include "server/base/hash.h"
#include "server/base/str.h"
#include "server/domain/cases.h"
#include "server/queue/queue.h"
#include "server/store/blob.h"
#include <string.h>

enum kf_status kf_app_case_list(struct kf_app_thread *thread, const struct kf_actor *actor,
                                const struct kf_case_filter *filter, struct kf_arena *arena, struct kf_case_view **out,
                                size_t *count, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_READ, "case_list", "", err);
    return status != KF_OK ? status
                           : kf_store_case_list(thread->store, actor->organisation_id, filter, arena, out, count, err);
}

enum kf_status kf_app_case_read(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                struct kf_arena *arena, struct kf_case_detail *out, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_READ, "case_read", id, err);
    return status != KF_OK ? status : kf_store_case_read(thread->store, actor->organisation_id, id, arena, out, err);
}

static enum kf_status state_change_allowed(const char *from, const char *to, struct kf_error *err)
{
    enum kf_case_state old_state, new_state;
    if (kf_case_state_parse(from, &old_state) != KF_OK || kf_case_state_parse(to, &new_state) != KF_OK)
        return kf_error_set(err, KF_INTERNAL, NULL, "A case is in a state that this version does not know.");
    return kf_case_change_allowed(old_state, new_state, err);
}

enum kf_status kf_app_case_change(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                  const char *title, const char *state, int64_t revision, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_WRITE, "case_change", id, err);
    struct kf_case_edit edit = {.title = title, .state = state, .revision = revision, .allowed = state_change_allowed};
    return status != KF_OK ? status : kf_store_case_edit(thread->store, actor->organisation_id, id, &edit, err);
}

enum kf_status kf_app_case_studies(struct kf_app_thread *thread, const struct kf_actor *actor, const char *case_id,
                                   struct kf_arena *arena, struct kf_study_view **out, size_t *count,
                                   struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_READ, "case_studies", case_id, err);
    return status != KF_OK
               ? status
               : kf_store_case_studies(thread->store, actor->organisation_id, case_id, arena, out, count, err);
}

enum kf_status kf_app_study_read(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                 struct kf_arena *arena, struct kf_study_view *out, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_READ, "study_read", id, err);
    return status != KF_OK ? status : kf_store_study_read(thread->store, actor->organisation_id, id, arena, out, err);
}

enum kf_status kf_app_series_read(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                  struct kf_arena *arena, struct kf_series_view *out, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_READ, "series_read", id, err);
    return status != KF_OK ? status : kf_store_series_read(thread->store, actor->organisation_id, id, arena, out, err);
}

enum kf_status kf_app_instance_list(struct kf_app_thread *thread, const struct kf_actor *actor, const char *series_id,
                                    const struct kf_place *after, int limit, struct kf_arena *arena,
                                    struct kf_instance_view **out, size_t *count, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_READ, "series_instances", series_id, err);
    return status != KF_OK ? status
                           : kf_store_instance_list(thread->store, actor->organisation_id, series_id, after, limit,
                                                    arena, out, count, err);
}

enum kf_status kf_app_artefact_list(struct kf_app_thread *thread, const struct kf_actor *actor, const char *case_id,
                                    const struct kf_artefact_filter *filter, struct kf_arena *arena,
                                    struct kf_artefact_view **out, size_t *count, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_READ, "case_artefacts", case_id, err);
    return status != KF_OK
               ? status
               : kf_store_artefact_list(thread->store, actor->organisation_id, case_id, filter, arena, out, count, err);
}

enum kf_status kf_app_artefact_read(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                    const char *kind, struct kf_arena *arena, struct kf_artefact_view *out,
                                    struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_READ, "artefact_read", id, err);
    if (status == KF_OK)
        status = kf_store_artefact_read(thread->store, actor->organisation_id, id, arena, out, err);
    if (status == KF_OK && kind && strcmp(kind, out->kind) != 0)
        return kf_error_set(err, KF_NOT_FOUND, NULL, "There is no %s with this id.", kind);
    return status;
}

static void take_place(const struct kf_blob_place *from, struct kf_app_place *to)
{
    memcpy(to->container, from->container, sizeof to->container);
    to->offset = from->offset;
    to->bytes = from->bytes;
}

enum kf_status kf_app_blob_find(struct kf_app_thread *thread, const struct kf_actor *actor, const char *case_id,
                                const char *sha256_hex, struct kf_app_blob *out, struct kf_error *err)
{
    unsigned char sha256[KF_SHA256_BYTES];
    struct kf_blob_place plain, gzip;
    memset(out, 0, sizeof *out);
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_READ, "blob_read", case_id, err);
    if (status != KF_OK)
        return status;
    if (kf_hex_decode(sha256, sizeof sha256, sha256_hex) != 0)
        return kf_error_set(err, KF_NOT_FOUND, NULL, "There is no such blob in this case.");
    status = kf_store_blob_of_case(thread->store, actor->organisation_id, case_id, sha256, &plain, &gzip, err);
    if (status != KF_OK)
        return status;
    take_place(&plain, &out->plain);
    take_place(&gzip, &out->gzip);
    memcpy(out->media_type, plain.media_type, sizeof out->media_type);
    return KF_OK;
}

enum kf_status kf_app_blob_open(struct kf_app_thread *thread, const struct kf_app_place *place, int *fd,
                                struct kf_error *err)
{
    return kf_blob_open(kf_app_blobs(thread->app), place->container, fd, err);
}

enum kf_status kf_app_job_list(struct kf_app_thread *thread, const struct kf_actor *actor, const char *case_id,
                               const char *state, const struct kf_place *after, int limit, struct kf_arena *arena,
                               struct kf_job_view **out, size_t *count, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, case_id ? KF_PERM_JOB_READ : KF_PERM_JOB_REVIEW,
                                         case_id ? "case_jobs" : "job_list", case_id ? case_id : "", err);
    return status != KF_OK ? status
                           : kf_store_job_list(thread->store, actor->organisation_id, case_id, state, after, limit,
                                               arena, out, count, err);
}

enum kf_status kf_app_job_read(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                               struct kf_arena *arena, struct kf_job_view *out, struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_JOB_READ, "job_read", id, err);
    return status != KF_OK ? status : kf_store_job_read(thread->store, actor->organisation_id, id, arena, out, err);
}

enum kf_status kf_app_job_cancel(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                 struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_JOB_RUN, "job_cancel", id, err);
    return status != KF_OK ? status : kf_queue_cancel(thread->store, actor->organisation_id, id, err);
}

enum kf_status kf_app_job_acknowledge(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                      struct kf_error *err)
{
    const char *account = actor->account_id[0] ? actor->account_id : NULL;
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_JOB_RUN, "job_acknowledge", id, err);
    return status != KF_OK ? status
                           : kf_queue_acknowledge(thread->store, actor->organisation_id, id, account, err);
}

enum kf_status kf_app_job_retry(struct kf_app_thread *thread, const struct kf_actor *actor, const char *id,
                                struct kf_error *err)
{
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_JOB_RETRY, "job_retry", id, err);
    return status != KF_OK ? status : kf_queue_retry(thread->store, actor->organisation_id, id, err);
}
