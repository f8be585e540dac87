// Series that have stopped growing, and what an import of one takes.
#ifndef KERF_STORE_SERIES_H
#define KERF_STORE_SERIES_H

#include "server/base/arena.h"
#include "server/store/store.h"
#include <stddef.h>

struct kf_series_due {
    char organisation_id[KF_ID_TEXT];
    char series_id[KF_ID_TEXT];
    char case_id[KF_ID_TEXT];
};

// Series of all organisations with instances that no import has taken yet, and that received nothing for settle_s seconds,
// oldest first. The array is owned by the arena.
KF_MUST_USE enum kf_status kf_store_series_settled(struct kf_store *store, double settle_s, int limit,
                                                   struct kf_arena *arena, struct kf_series_due **out, size_t *count,
                                                   struct kf_error *err);

// What is due of one series, however young its last instance: KF_NOT_FOUND when there is nothing new to import.
KF_MUST_USE enum kf_status kf_store_series_due(struct kf_store *store, const char *organisation, const char *series_id,
                                               struct kf_series_due *out, struct kf_error *err);

struct kf_series_instance {
    char id[KF_ID_TEXT];
    unsigned char blob_sha256[32];
    int instance_number; // 0 when it has none
    int conflict;
};

// Within a transaction: takes the instances that wait. *out are all that take part in volumes (not set aside), the new ones
// and those taken before, in a fixed order (SOP Instance UID, then content) that decides an import's key; none when
// everything was set aside. What is received meanwhile waits for the next time. KF_NOT_FOUND "nothing_to_import" when none
// was waiting. Lock the case first (kf_store_case_lock).
KF_MUST_USE enum kf_status kf_store_series_take(struct kf_store *store, const char *organisation,
                                                const char *series_id, struct kf_arena *arena,
                                                struct kf_series_instance **out, size_t *count, struct kf_error *err);

#endif
