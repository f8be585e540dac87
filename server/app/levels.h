// Naming the levels of a spine: a second pair of eyes for what a job could not count.
#ifndef KERF_APP_LEVELS_H
#define KERF_APP_LEVELS_H

#include "server/app/app.h"
#include "server/base/json.h"
#include "server/store/level.h"

// Rows as kf_store_level_list has them. What only one person has said is told to that person alone (levels NULL for all
// others), so that the second one names them unprompted.
KF_MUST_USE enum kf_status kf_app_level_list(struct kf_app_thread *thread, const struct kf_actor *actor,
                                             const char *case_id, struct kf_arena *arena, struct kf_level_row **out,
                                             size_t *count, struct kf_error *err);
// A person's word; machines have none (KF_FORBIDDEN "person_needed"). levels: {"LABEL": "L2", …}, see
// server/domain/levels.h. KF_NOT_FOUND unless it is a segmentation of the case; KF_CONFLICT "superseded" when its
// series was imported anew since.
KF_MUST_USE enum kf_status kf_app_level_state(struct kf_app_thread *thread, const struct kf_actor *actor,
                                              const char *case_id, const char *artefact_id, const json_t *levels,
                                              struct kf_error *err);

#endif
