// The use cases. A route, the intake or a timer calls one function here; it loads, asks server/domain, stores and
// queues. Nothing here knows HTTP or JSON texts, nothing below knows who is signed in.
//
// Threads: struct kf_app is shared and safe for all threads. A struct kf_app_thread (one database connection) belongs
// to one thread at a time.
#ifndef KERF_APP_APP_H
#define KERF_APP_APP_H

#include "server/base/arena.h"
#include "server/blob/blob.h"
#include "server/domain/authz.h"
#include "server/store/store.h"
#include <stdint.h>

struct kf_app;

struct kf_app_config {
    const char *database_url;
    const char *blob_location; // directory of the blob store
    const char *scratch;       // directory for uploads on their way; made when missing
    const char *job_program;   // kerf-job, run as `kerf-job index`; NULL: no uploads
    double settle_s;           // a series that received nothing for so long is imported
    double events_keep_s;      // a stream that comes back is answered from the events of so long
    double session_lifetime_s;
    double session_idle_s;
    int index_children;   // at most so many kerf-job index at once
    int64_t upload_bytes; // the largest upload
    int login_attempts;   // wrong passwords in a row after which an account is locked
    double login_lock_s;  // first lock; it doubles
    double login_lock_most_s;
    int logins_per_minute; // and address
};

// Everything from the settings (server/base/config.h), which must be loaded.
void kf_app_config_read(struct kf_app_config *config);

// config's texts are copied. Opens the blob store; does not talk to the database.
KF_MUST_USE enum kf_status kf_app_new(const struct kf_app_config *config, struct kf_app **out, struct kf_error *err);
void kf_app_free(struct kf_app *app); // no thread context may be left
// Whoever keeps copies of sessions, or streams that belong to one, hears here when they are over or have changed: all
// of an account (session_id NULL) or one session or token (account_id NULL). Set before the first request.
void kf_app_on_session_change(struct kf_app *app,
                              void (*changed)(void *context, const char *account_id, const char *session_id),
                              void *context);

struct kf_app_thread {
    struct kf_app *app;
    struct kf_store *store;
};
// Never fails for want of a database (the store connects at its first query); NULL when memory has run out.
struct kf_app_thread *kf_app_thread_new(struct kf_app *app);
void kf_app_thread_free(struct kf_app_thread *thread);

// Borrowed, for as long as the app lives.
struct kf_blob_store *kf_app_blobs(struct kf_app *app);
const struct kf_app_config *kf_app_settings(const struct kf_app *app);

// Who acts, and from where: goes through every use case, and is what an audit trail is made of.
struct kf_actor {
    const char *organisation_id;
    const char *account_id; // "" for a machine
    const char *session_id; // session or token
    enum kf_role role;
    const char *address;
    const char *request_id;
};

// Every read and write of patient data passes here first, by the name of its operation and the object it is about.
// KF_FORBIDDEN when the actor's role lacks the permission: the same rule as at the route, held a second time.
KF_MUST_USE enum kf_status kf_app_enter(struct kf_app_thread *thread, const struct kf_actor *actor,
                                        enum kf_permission permission, const char *operation, const char *object,
                                        struct kf_error *err);

#endif
