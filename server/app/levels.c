#include "server/app/levels.h"

#include "server/domain/levels.h"
#include "server/store/read.h"
#include <stdlib.h>
#include <string.h>

enum kf_status kf_app_level_list(struct kf_app_thread *thread, const struct kf_actor *actor, const char *case_id,
                                 struct kf_arena *arena, struct kf_level_row **out, size_t *count,
                                 struct kf_error *err)
{
    *out = NULL;
    *count = 0;
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_READ, "level_list", case_id, err);
    if (status == KF_OK)
        status = kf_store_case_exists(thread->store, actor->organisation_id, case_id, err);
    if (status == KF_OK)
        status = kf_store_level_list(thread->store, actor->organisation_id, case_id, arena, out, count, err);
    for (size_t i = 0; status == KF_OK && i < *count; i++) {
        struct kf_level_row *row = &(*out)[i];
        int alone = (i == 0 || strcmp(row[-1].artefact_id, row->artefact_id) != 0) &&
                    (i + 1 == *count || strcmp(row[1].artefact_id, row->artefact_id) != 0);
        if (alone && strcmp(row->account_id, actor->account_id) != 0)
            row->levels = NULL;
    }
    return status;
}

static enum kf_status check(const struct kf_artefact_view *view, const char *case_id, const json_t *levels,
                            struct kf_error *err)
{
    json_t *meta = NULL;
    if (strcmp(view->case_id, case_id) != 0 || strcmp(view->kind, "segmentation") != 0)
        return kf_error_set(err, KF_NOT_FOUND, NULL, "There is no segmentation with this id in this case.");
    if (view->superseded)
        return kf_error_set(err, KF_CONFLICT, "superseded", "The series was imported anew: name the newer one.");
    enum kf_status status = kf_json_parse(view->meta, strlen(view->meta), &meta, err);
    if (status == KF_OK)
        status = kf_levels_check(levels, meta, err);
    json_decref(meta);
    return status;
}

enum kf_status kf_app_level_state(struct kf_app_thread *thread, const struct kf_actor *actor, const char *case_id,
                                  const char *artefact_id, const json_t *levels, struct kf_error *err)
{
    struct kf_arena arena = {0};
    struct kf_artefact_view view;
    char *text = NULL;
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_LEVEL_STATE, "level_state", artefact_id, err);
    if (status == KF_OK)
        status = kf_store_artefact_read(thread->store, actor->organisation_id, artefact_id, &arena, &view, err);
    if (status == KF_OK && !actor->account_id[0])
        status = kf_error_set(err, KF_FORBIDDEN, "person_needed", "Only a person can say which vertebra is which.");
    if (status == KF_OK)
        status = check(&view, case_id, levels, err);
    if (status == KF_OK && !(text = kf_json_canonical(levels)))
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a statement.");
    if (status == KF_OK)
        status = kf_store_level_add(thread->store, actor->organisation_id, case_id, artefact_id, actor->account_id,
                                    text, err);
    free(text);
    kf_arena_release(&arena);
    return status;
}
