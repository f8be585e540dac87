// Levels of a spine as people name them: which names may follow which, and what the statements of several people come
// to. A job that could not count names none; two different people who say the same confirm one: each alone, or after
// they differed, when each has seen what the other said.
#ifndef KERF_DOMAIN_LEVELS_H
#define KERF_DOMAIN_LEVELS_H

#include "server/base/json.h"
#include <stddef.h>

// What the newest statements of each person on one segmentation come to.
enum kf_level_verdict {
    KF_LEVELS_ONCE,     // one person has named them
    KF_LEVELS_DISPUTED, // several have, and not all alike
    KF_LEVELS_CONFIRMED // two or more have, and all alike
};
const char *kf_level_verdict_wire(enum kf_level_verdict verdict);

// levels: one text for each of `count` (at least 1) different people, equal texts for equal statements.
enum kf_level_verdict kf_levels_verdict(const char *const *levels, size_t count);

// levels: {"LABEL": "L2", …}; meta: what the segmentation's job said of it. Every vertebra of the table has a level
// and nothing else has one; from the top down they follow without a gap: C1 … C7, T1 … T11 to T13, L1 … L6.
// KF_UNPROCESSABLE "no_levels" (no vertebrae one by one), "levels_incomplete" or "levels_order".
KF_MUST_USE enum kf_status kf_levels_check(const json_t *levels, const json_t *meta, struct kf_error *err);

#endif
