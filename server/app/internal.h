// Shared by the files of server/app only.
#ifndef KERF_APP_INTERNAL_H
#define KERF_APP_INTERNAL_H

#include "server/app/app.h"
#include "server/domain/signin.h"
#include <pthread.h>

#define KF_THROTTLE_SLOTS 4096 // power of two

// One remote address, or one login that does not exist, by a keyed hash of its name.
struct kf_throttle_slot {
    uint64_t key;
    struct kf_bucket bucket; // addresses
    int failures;            // logins
    int64_t locked_until_ns; // logins
};

struct kf_throttle {
    pthread_mutex_t lock;
    unsigned char seed[16];
    struct kf_throttle_slot addresses[KF_THROTTLE_SLOTS];
    struct kf_throttle_slot logins[KF_THROTTLE_SLOTS];
};

struct kf_app {
    struct kf_app_config config;
    char *texts[4]; // copies of the config's texts
    struct kf_blob_store *blobs;
    struct kf_throttle *throttle;
    struct kf_index_pool *index;
    void (*session_changed)(void *context, const char *account_id, const char *session_id);
    void *session_changed_context;
};

// 0, or the seconds to wait.
int kf_throttle_address(struct kf_throttle *throttle, const char *address, int per_minute);
// For logins that name no account: seconds it is locked now; a failure is counted by `failed`.
int kf_throttle_login(struct kf_throttle *throttle, const char *login, const struct kf_lockout_rule *rule, int failed);

#endif
