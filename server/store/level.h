// What people have said of the levels of a spine. Statements are added and never changed.
#ifndef KERF_STORE_LEVEL_H
#define KERF_STORE_LEVEL_H

#include "server/base/arena.h"
#include "server/store/store.h"
#include <stddef.h>
#include <stdint.h>

struct kf_level_row {
    const char *artefact_id, *account_id, *name; // name: of the account, as people know it
    const char *levels;                          // JSON text; the same for the same levels
    int64_t stated_ms;
};
// The newest statement of each person on each segmentation of a case: those of one segmentation together, in the order
// of time. In the caller's arena.
KF_MUST_USE enum kf_status kf_store_level_list(struct kf_store *store, const char *organisation, const char *case_id,
                                               struct kf_arena *arena, struct kf_level_row **out, size_t *count,
                                               struct kf_error *err);
// levels: JSON text. Writes levels.stated. The segmentation is one of the case.
KF_MUST_USE enum kf_status kf_store_level_add(struct kf_store *store, const char *organisation, const char *case_id,
                                              const char *artefact_id, const char *account_id, const char *levels,
                                              struct kf_error *err);

#endif
