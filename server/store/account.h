// Organisations, accounts, sessions, machine tokens and DICOM peers.
//
// The first group is asked before the organisation is known: SECURITY DEFINER functions that answer one narrow question
// each. Secrets never reach the database: tokens are looked up by their SHA-256, passwords are argon2id texts.
#ifndef KERF_STORE_ACCOUNT_H
#define KERF_STORE_ACCOUNT_H

#include "server/base/arena.h"
#include "server/store/store.h"
#include <stddef.h>

#define KF_ROLE_TEXT 16

// ------------------------------------------------------------------------- before the organisation is known
struct kf_session_row {
    char session_id[KF_ID_TEXT]; // session or token row
    char organisation_id[KF_ID_TEXT];
    char organisation_name[208];
    char account_id[KF_ID_TEXT]; // "" for a machine token
    char login[208];
    char display_name[208];
    char role[KF_ROLE_TEXT];
    char csrf_token[72];
    int must_change;
    int64_t expires_ms; // Unix time; 0: never
};

// A live session of an enabled account; KF_NOT_FOUND otherwise. last_seen_at is touched at most once a minute; a session
// that was not used for idle_s seconds is over.
KF_MUST_USE enum kf_status kf_store_session_find(struct kf_store *store, const unsigned char token_sha256[32],
                                                 double idle_s, struct kf_session_row *out, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_token_find(struct kf_store *store, const unsigned char token_sha256[32],
                                               struct kf_session_row *out, struct kf_error *err);

struct kf_login_row {
    char account_id[KF_ID_TEXT];
    char organisation_id[KF_ID_TEXT];
    char password_hash[256];
    int disabled;
    int must_change;
    int failed_logins;
    double locked_s; // seconds until the lock ends; 0: not locked
};
KF_MUST_USE enum kf_status kf_store_login_find(struct kf_store *store, const char *login, struct kf_login_row *out,
                                               struct kf_error *err);
// A wrong password: from the `threshold`th in a row on the account is locked for base_s · 2^(excess), at most most_s.
// *locked_s: seconds that it is locked now.
KF_MUST_USE enum kf_status kf_store_login_failed(struct kf_store *store, const char *account_id, int threshold,
                                                 double base_s, double most_s, double *locked_s, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_login_succeeded(struct kf_store *store, const char *account_id,
                                                    struct kf_error *err);

struct kf_peer_match {
    char peer_id[KF_ID_TEXT];
    char organisation_id[KF_ID_TEXT];
    int tls;
    int may_store;
};
// The peer row for an association: calling and called AE title (or '*') and the address; the most exact one wins.
// KF_NOT_FOUND: nobody we know.
KF_MUST_USE enum kf_status kf_store_peer_find(struct kf_store *store, const char *calling_ae, const char *called_ae,
                                              const char *address, struct kf_peer_match *out, struct kf_error *err);

// ------------------------------------------------------------------------- under an organisation
struct kf_session_new {
    const char *account_id;
    unsigned char token_sha256[32];
    const char *csrf_token;
    double lifetime_s;
    const char *password_hash; // that was checked: KF_NOT_FOUND when the account has another by now; NULL: any
};
KF_MUST_USE enum kf_status kf_store_session_add(struct kf_store *store, const char *organisation,
                                                const struct kf_session_new *session, char id[KF_ID_TEXT],
                                                int64_t *expires_ms, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_session_end(struct kf_store *store, const char *organisation,
                                                const char *session_id, struct kf_error *err);
// Ends all sessions of an account but `keep` (NULL: all).
KF_MUST_USE enum kf_status kf_store_sessions_end(struct kf_store *store, const char *organisation,
                                                 const char *account_id, const char *keep, struct kf_error *err);
// 1 in *alive while this session or token is good.
KF_MUST_USE enum kf_status kf_store_session_alive(struct kf_store *store, const char *organisation,
                                                  const char *session_id, int *alive, struct kf_error *err);

struct kf_account_row {
    char id[KF_ID_TEXT];
    char login[208];
    char display_name[208];
    char role[KF_ROLE_TEXT];
    int disabled;
    int must_change;
    int64_t locked_until_ms; // 0: not locked
    int64_t created_ms;
    int revision;
};
struct kf_account_new {
    const char *login, *display_name, *role, *password_hash;
    int must_change;
};
// KF_CONFLICT "login_taken".
KF_MUST_USE enum kf_status kf_store_account_add(struct kf_store *store, const char *organisation,
                                                const struct kf_account_new *account, char id[KF_ID_TEXT],
                                                struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_account_get(struct kf_store *store, const char *organisation, const char *id,
                                                struct kf_account_row *out, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_account_by_login(struct kf_store *store, const char *organisation,
                                                     const char *login, struct kf_account_row *out,
                                                     struct kf_error *err);
// All accounts by login, behind `after` (a login; NULL: from the start).
KF_MUST_USE enum kf_status kf_store_account_list(struct kf_store *store, const char *organisation, const char *after,
                                                 int limit, struct kf_arena *arena, struct kf_account_row **out,
                                                 size_t *count, struct kf_error *err);
// Members that are NULL (or -1) stay. revision: what the caller saw, or 0 for any; else KF_PRECONDITION_FAILED.
// Disabling an account and unlock (locked_until and failures reset) are here too. KF_CONFLICT "last_admin" when no
// enabled administrator would be left.
struct kf_account_change {
    const char *display_name, *role, *password_hash;
    int disabled, must_change; // 0, 1 or -1
    int unlock;
    int revision;
};
KF_MUST_USE enum kf_status kf_store_account_change(struct kf_store *store, const char *organisation, const char *id,
                                                   const struct kf_account_change *change, struct kf_account_row *out,
                                                   struct kf_error *err);

struct kf_token_row {
    char id[KF_ID_TEXT];
    char name[208];
    char role[KF_ROLE_TEXT];
    int64_t created_ms, expires_ms, last_used_ms; // 0: never
    int revoked;
};
KF_MUST_USE enum kf_status kf_store_token_add(struct kf_store *store, const char *organisation, const char *name,
                                              const char *role, const unsigned char token_sha256[32],
                                              const char *created_by, double lifetime_s, char id[KF_ID_TEXT],
                                              struct kf_error *err); // lifetime_s 0: no end
KF_MUST_USE enum kf_status kf_store_token_list(struct kf_store *store, const char *organisation,
                                               struct kf_arena *arena, struct kf_token_row **out, size_t *count,
                                               struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_token_revoke(struct kf_store *store, const char *organisation, const char *id,
                                                 struct kf_error *err);

struct kf_peer_row {
    char id[KF_ID_TEXT];
    char name[208];
    char ae_title[20];
    char called_ae_title[20];
    char address[64]; // CIDR; "" means any
    int port;         // 0: none
    int tls;
    int may_store;
    int64_t created_ms;
};
struct kf_peer_new {
    const char *name, *ae_title, *called_ae_title, *address; // called_ae_title NULL: '*'; address NULL or "": any
    int port, tls, may_store;
    int only_ours; // refuse one that an association of another organisation's peer could fit as well
};
// KF_CONFLICT "peer_taken" (another row, perhaps of another organisation, has these titles and this address; with
// only_ours: another organisation has a peer that an association could be meant for as well).
KF_MUST_USE enum kf_status kf_store_peer_add(struct kf_store *store, const char *organisation,
                                             const struct kf_peer_new *peer, char id[KF_ID_TEXT],
                                             struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_peer_list(struct kf_store *store, const char *organisation, struct kf_arena *arena,
                                              struct kf_peer_row **out, size_t *count, struct kf_error *err);
KF_MUST_USE enum kf_status kf_store_peer_remove(struct kf_store *store, const char *organisation, const char *id,
                                                struct kf_error *err);

// ------------------------------------------------------------------------- installation (KF_STORE_OWNER)
// The first organisation and its administrator, if the database has no organisation yet. *made tells whether.
KF_MUST_USE enum kf_status kf_store_bootstrap(struct kf_store *store, const char *organisation_name,
                                              const struct kf_account_new *admin, char organisation_id[KF_ID_TEXT],
                                              int *made, struct kf_error *err);
// The only organisation, or the one with this id or name (NULL: KF_CONFLICT "several_organisations" when there are more).
KF_MUST_USE enum kf_status kf_store_organisation_find(struct kf_store *store, const char *name_or_id,
                                                      char organisation_id[KF_ID_TEXT], struct kf_error *err);

#endif
