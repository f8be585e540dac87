// Who may do what: the roles, the permissions, and the one table between them. Every route names one permission.
#ifndef KERF_DOMAIN_AUTHZ_H
#define KERF_DOMAIN_AUTHZ_H

#include "server/base/error.h"

// X(id, wire name)
#define KF_ROLE_TABLE(X)                                                                                               \
    X(KF_ROLE_ADMIN, "admin")                                                                                          \
    X(KF_ROLE_TECHNICIAN, "technician")                                                                                \
    X(KF_ROLE_PLANNER, "planner")                                                                                      \
    X(KF_ROLE_SURGEON, "surgeon")                                                                                      \
    X(KF_ROLE_VIEWER, "viewer")

enum kf_role {
#define X(id, wire) id,
    KF_ROLE_TABLE(X)
#undef X
        KF_ROLE_COUNT
};

// X(id, wire name, admin, technician, planner, surgeon, viewer)
#define KF_PERMISSION_TABLE(X)                                                                                         \
    X(KF_PERM_PUBLIC, "public", 1, 1, 1, 1, 1)           /* nobody need sign in */                                     \
    X(KF_PERM_SELF, "session.self", 1, 1, 1, 1, 1)       /* one's own session and password */                          \
    X(KF_PERM_CASE_READ, "case.read", 1, 1, 1, 1, 1)     /* patients, studies, artefacts, live events */               \
    X(KF_PERM_CASE_WRITE, "case.write", 1, 1, 1, 0, 0)   /* title, archive */                                          \
    X(KF_PERM_DICOM_STORE, "dicom.store", 1, 1, 1, 0, 0) /* uploads and STOW-RS */                                     \
    X(KF_PERM_JOB_READ, "job.read", 1, 1, 1, 1, 1)                                                                     \
    X(KF_PERM_JOB_RUN, "job.run", 1, 1, 1, 0, 0)       /* start, cancel, dismiss a failure */                         \
    X(KF_PERM_JOB_RETRY, "job.retry", 1, 1, 0, 0, 0)   /* wake a dead or failed job */                                 \
    X(KF_PERM_JOB_REVIEW, "job.review", 1, 0, 0, 0, 0) /* the dead letters of the whole organisation */                \
    X(KF_PERM_LEVEL_STATE, "level.state", 1, 0, 1, 1, 0) /* say which vertebra is which */                             \
    X(KF_PERM_ACCOUNT_MANAGE, "account.manage", 1, 0, 0, 0, 0)                                                         \
    X(KF_PERM_TOKEN_MANAGE, "token.manage", 1, 0, 0, 0, 0)                                                             \
    X(KF_PERM_PEER_MANAGE, "peer.manage", 1, 1, 0, 0, 0)                                                               \
    X(KF_PERM_METRICS_READ, "metrics.read", 1, 0, 0, 0, 0)

enum kf_permission {
#define X(id, wire, a, t, p, s, v) id,
    KF_PERMISSION_TABLE(X)
#undef X
        KF_PERM_COUNT
};

const char *kf_role_wire(enum kf_role role);
const char *kf_permission_wire(enum kf_permission permission);

// Reads a role's wire name; KF_INVALID for anything else (then *out is KF_ROLE_COUNT, which may do nothing).
KF_MUST_USE enum kf_status kf_role_parse(const char *text, enum kf_role *out);
KF_MUST_USE enum kf_status kf_permission_parse(const char *text, enum kf_permission *out);

// 1 when the role holds the permission. Values outside the enums hold nothing.
int kf_role_may(enum kf_role role, enum kf_permission permission);

// An administrator can neither disable nor demote the account that he is signed in with, so that an organisation is
// never left without one by a slip.
KF_MUST_USE enum kf_status kf_account_change_allowed(int is_self, enum kf_role old_role, enum kf_role new_role,
                                                     int new_disabled, struct kf_error *err);

#endif
