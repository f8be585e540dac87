// Signing in and out, accounts, tokens, peers, and who a token belongs to. What has an actor passes kf_app_enter:
// KF_FORBIDDEN without the permission; KF_NOT_FOUND for an id of another organisation as for one that does not exist.
// Lists live in the caller's arena.
#ifndef KERF_APP_SESSION_H
#define KERF_APP_SESSION_H

#include "server/app/app.h"
#include "server/store/account.h"

#define KF_SESSION_TOKEN 64

struct kf_signed_in {
    struct kf_session_row row;
    char token[KF_SESSION_TOKEN]; // for the cookie, nowhere else
};

// KF_UNAUTHENTICATED "invalid_credentials" for an unknown login, a wrong password and a disabled account alike, in the
// same time; KF_RATE_LIMITED "rate_limited" or "account_locked", then *retry_after_s says how long.
KF_MUST_USE enum kf_status kf_app_sign_in(struct kf_app_thread *thread, const char *login, const char *password,
                                          const char *address, struct kf_signed_in *out, int *retry_after_s,
                                          struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_sign_out(struct kf_app_thread *thread, const struct kf_actor *actor,
                                           struct kf_error *err);

// The live session or API token behind this secret, asked from the database. machine: 1 for an API token.
// KF_UNAUTHENTICATED when there is none.
KF_MUST_USE enum kf_status kf_app_session(struct kf_app_thread *thread, const char *token, int machine,
                                          struct kf_session_row *out, struct kf_error *err);

// Ends every other session of the account. KF_UNPROCESSABLE with a code of kf_password_check or "password_unchanged";
// KF_UNPROCESSABLE "invalid_credentials" when current is wrong (counts as a failed sign-in).
KF_MUST_USE enum kf_status kf_app_password_change(struct kf_app_thread *thread, const struct kf_actor *actor,
                                                  const char *login, const char *current, const char *wanted,
                                                  int *retry_after_s, struct kf_error *err);

KF_MUST_USE enum kf_status kf_app_account_list(struct kf_app_thread *thread, const struct kf_actor *actor,
                                               const char *after, int limit, struct kf_arena *arena,
                                               struct kf_account_row **out, size_t *count, struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_account_read(struct kf_app_thread *thread, const struct kf_actor *actor,
                                               const char *id, struct kf_account_row *out, struct kf_error *err);
// The one-time password is made here and returned once.
KF_MUST_USE enum kf_status kf_app_account_add(struct kf_app_thread *thread, const struct kf_actor *actor,
                                              const char *login, const char *display_name, enum kf_role role,
                                              struct kf_account_row *out, char one_time[32], struct kf_error *err);
struct kf_app_account_change {
    const char *display_name; // NULL stays
    int has_role;
    enum kf_role role;
    int disabled; // 0, 1 or -1: stays
    int unlock;
    int64_t revision; // -1: any
};
KF_MUST_USE enum kf_status kf_app_account_change(struct kf_app_thread *thread, const struct kf_actor *actor,
                                                 const char *account_id, const struct kf_app_account_change *change,
                                                 struct kf_account_row *out, struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_account_reset(struct kf_app_thread *thread, const struct kf_actor *actor,
                                                const char *account_id, struct kf_account_row *out, char one_time[32],
                                                struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_token_list(struct kf_app_thread *thread, const struct kf_actor *actor,
                                             struct kf_arena *arena, struct kf_token_row **out, size_t *count,
                                             struct kf_error *err);
// secret is returned once.
KF_MUST_USE enum kf_status kf_app_token_add(struct kf_app_thread *thread, const struct kf_actor *actor,
                                            const char *name, enum kf_role role, int64_t expires_ms,
                                            char secret[KF_SESSION_TOKEN], struct kf_token_row *out,
                                            struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_token_revoke(struct kf_app_thread *thread, const struct kf_actor *actor,
                                               const char *token_id, struct kf_error *err);

KF_MUST_USE enum kf_status kf_app_peer_list(struct kf_app_thread *thread, const struct kf_actor *actor,
                                            struct kf_arena *arena, struct kf_peer_row **out, size_t *count,
                                            struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_peer_add(struct kf_app_thread *thread, const struct kf_actor *actor,
                                           const struct kf_peer_new *peer, char id[KF_ID_TEXT], struct kf_error *err);
KF_MUST_USE enum kf_status kf_app_peer_remove(struct kf_app_thread *thread, const struct kf_actor *actor,
                                              const char *id, struct kf_error *err);

#endif
