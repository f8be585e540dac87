// Who may try to sign in, held in memory: a bucket for each remote address, and for logins that name no account the
// same lockout that real ones get from the database, so that a lock does not tell which logins exist. Slots are shared
// by whatever hashes to them under a random seed: the newcomer takes a slot over once its owner has calmed down.
#include "server/app/internal.h"

#include "server/base/hash.h"
#include "server/base/timeid.h"
#include <arpa/inet.h>
#include <string.h>

#define MINUTE_NS ((int64_t)60 * 1000000000)

static uint64_t keyed_hash(const struct kf_throttle *throttle, const char *text, size_t length)
{
    unsigned char block[16 + 256], digest[KF_SHA256_BYTES];
    if (length > 256)
        length = 256;
    memcpy(block, throttle->seed, 16);
    memcpy(block + 16, text, length);
    kf_sha256(block, 16 + length, digest);
    uint64_t key;
    memcpy(&key, digest, sizeof key);
    return key ? key : 1;
}

// IPv6: the /64, since one customer owns it, whatever way it is written.
static uint64_t address_key(const struct kf_throttle *throttle, const char *address)
{
    struct in6_addr bits;
    if (inet_pton(AF_INET6, address, &bits) == 1 && !IN6_IS_ADDR_V4MAPPED(&bits))
        return keyed_hash(throttle, (const char *)bits.s6_addr, 8);
    return keyed_hash(throttle, address, strlen(address));
}

int kf_throttle_address(struct kf_throttle *throttle, const char *address, int per_minute)
{
    uint64_t key = address_key(throttle, address);
    int64_t now = kf_time_monotonic_ns();
    pthread_mutex_lock(&throttle->lock);
    struct kf_throttle_slot *slot = &throttle->addresses[key % KF_THROTTLE_SLOTS];
    if (slot->key != key && now - slot->bucket.updated_ns > MINUTE_NS)
        slot->bucket = (struct kf_bucket){0};
    slot->key = key;
    int wait_s = kf_bucket_take(&slot->bucket, now, per_minute, per_minute / 60.0);
    pthread_mutex_unlock(&throttle->lock);
    return wait_s;
}

int kf_throttle_login(struct kf_throttle *throttle, const char *login, const struct kf_lockout_rule *rule, int failed)
{
    uint64_t key = keyed_hash(throttle, login, strlen(login));
    int64_t now = kf_time_monotonic_ns();
    int wait_s = 0;
    pthread_mutex_lock(&throttle->lock);
    struct kf_throttle_slot *slot = &throttle->logins[key % KF_THROTTLE_SLOTS];
    if (slot->key != key && now >= slot->locked_until_ns) {
        slot->key = key;
        slot->failures = 0;
        slot->locked_until_ns = 0;
    }
    if (slot->key == key) {
        if (now < slot->locked_until_ns)
            wait_s = (int)((slot->locked_until_ns - now) / 1000000000) + 1;
        else if (failed)
            slot->locked_until_ns = now + (int64_t)(kf_lockout_s(rule, ++slot->failures) * 1e9);
    }
    pthread_mutex_unlock(&throttle->lock);
    return wait_s;
}
