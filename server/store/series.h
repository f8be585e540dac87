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
    int change_count; // to be handed to kf_store_series_imported
};

// Series of all organisations that have grown since their last import and received nothing for settle_s seconds, oldest
// first. The array is owned by the arena.
KF_MUST_USE enum kf_status kf_store_series_settled(struct kf_store *store, double settle_s, int limit,
                                                   struct kf_arena *arena, struct kf_series_due **out, size_t *count,
                                                   struct kf_error *err);

// Cases of all organisations that received something for which there is no import, and nothing for settle_s seconds:
// their state is derived. *count: how many.
KF_MUST_USE enum kf_status kf_store_cases_settle(struct kf_store *store, double settle_s, int *count,
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

// The instances of a series that take part in volumes (not set aside), in a fixed order (SOP Instance UID, then content):
// the order decides an import's key.
KF_MUST_USE enum kf_status kf_store_series_instances(struct kf_store *store, const char *organisation,
                                                     const char *series_id, struct kf_arena *arena,
                                                     struct kf_series_instance **out, size_t *count,
                                                     struct kf_error *err);

// An import up to change_count has been queued. In the same transaction as the enqueueing.
KF_MUST_USE enum kf_status kf_store_series_imported(struct kf_store *store, const char *organisation,
                                                    const char *series_id, int change_count, struct kf_error *err);

#endif
