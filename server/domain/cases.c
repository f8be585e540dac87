#include "server/domain/cases.h"

#include <string.h>

static const char *const state_wire[KF_CASE_STATE_COUNT] = {
#define X(id, wire) wire,
    KF_CASE_STATE_TABLE(X)
#undef X
};

const char *kf_case_state_wire(enum kf_case_state state)
{
    return (unsigned)state < KF_CASE_STATE_COUNT ? state_wire[state] : "none";
}

enum kf_status kf_case_state_parse(const char *text, enum kf_case_state *out)
{
    *out = KF_CASE_STATE_COUNT;
    for (int i = 0; text && i < KF_CASE_STATE_COUNT; i++) {
        if (strcmp(state_wire[i], text) == 0) {
            *out = (enum kf_case_state)i;
            return KF_OK;
        }
    }
    return KF_INVALID;
}

enum kf_status kf_case_change_allowed(enum kf_case_state from, enum kf_case_state to, struct kf_error *err)
{
    if (from == to)
        return KF_OK;
    if (to != KF_CASE_ARCHIVED && to != KF_CASE_READY)
        return kf_error_set(err, KF_CONFLICT, "case_state",
                            "A person can make a case ready or archived, nothing else.");
    if (from == KF_CASE_RECEIVING || from == KF_CASE_PROCESSING)
        return kf_error_set(err, KF_CONFLICT, "case_busy", "The case is still receiving or processing.");
    return KF_OK;
}
