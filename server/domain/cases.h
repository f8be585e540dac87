// The states of a case, and who moves it between them: the machine while work goes on, a person to put it away.
#ifndef KERF_DOMAIN_CASES_H
#define KERF_DOMAIN_CASES_H

#include "server/base/error.h"

// X(id, wire name)
#define KF_CASE_STATE_TABLE(X)                                                                                         \
    X(KF_CASE_RECEIVING, "receiving")                                                                                  \
    X(KF_CASE_PROCESSING, "processing")                                                                                \
    X(KF_CASE_READY, "ready")                                                                                          \
    X(KF_CASE_ATTENTION, "attention")                                                                                  \
    X(KF_CASE_ARCHIVED, "archived")

enum kf_case_state {
#define X(id, wire) id,
    KF_CASE_STATE_TABLE(X)
#undef X
        KF_CASE_STATE_COUNT
};

const char *kf_case_state_wire(enum kf_case_state state);
KF_MUST_USE enum kf_status kf_case_state_parse(const char *text, enum kf_case_state *out);

// Whether a person may ask for this change. Archiving is possible from ready and attention (nothing is on its way); an
// archived case can be taken back as ready; attention is put aside by asking for ready, until anything changes in the
// case (to acknowledge the job that failed lasts). Everything else is the machine's. Asking for the state that already
// holds is allowed. KF_CONFLICT "case_busy" or "case_state" otherwise.
KF_MUST_USE enum kf_status kf_case_change_allowed(enum kf_case_state from, enum kf_case_state to, struct kf_error *err);

#endif
