// Open hashing per shard and an intrusive list from the most to the least recently used entry. An entry is counted: the
// cache holds one reference, every pin another; the last one to leave frees it.
#include "server/http/cache.h"

#include "server/base/timeid.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS  16  // with a lock each, so that threads seldom wait for each other
#define BUCKETS 256 // of a shard
#define KEY_MAX 256 // bytes

struct entry {
    struct kf_cache_item item; // first: the caller's view
    struct entry *next;        // in the bucket
    struct entry *newer, *older;
    atomic_int references;
    uint64_t hash;
    int64_t expires_ns; // 0: never
    size_t cost;
    size_t key_length;
    char group[64];
    unsigned char key[KEY_MAX];
};

struct shard {
    pthread_mutex_t lock;
    struct entry *bucket[BUCKETS];
    struct entry *newest, *oldest;
    size_t entries, bytes;
};

struct kf_cache {
    uint64_t seed;
    size_t most_entries, most_bytes; // per shard
    struct shard shards[SHARDS];
};

enum kf_status kf_cache_new(size_t most_entries, size_t most_bytes, struct kf_cache **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return KF_NOMEM;
    kf_random_bytes(&(*out)->seed, sizeof(*out)->seed);
    (*out)->most_entries = most_entries / SHARDS + 1;
    (*out)->most_bytes = most_bytes / SHARDS + 1;
    for (int i = 0; i < SHARDS; i++)
        pthread_mutex_init(&(*out)->shards[i].lock, NULL);
    return KF_OK;
}

static void unpin(struct entry *entry)
{
    if (atomic_fetch_sub_explicit(&entry->references, 1, memory_order_acq_rel) == 1)
        free(entry);
}

void kf_cache_unpin_arg(void *item)
{
    if (item)
        unpin(item);
}

void kf_cache_unpin(const struct kf_cache_item *item)
{
    kf_cache_unpin_arg((void *)(uintptr_t)item);
}

// FNV-1a over the key, started with a secret and mixed at the end, so that strangers cannot aim at one bucket.
static uint64_t hash_of(const struct kf_cache *cache, const void *key, size_t length)
{
    const unsigned char *at = key;
    uint64_t hash = cache->seed ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static struct shard *shard_of(struct kf_cache *cache, uint64_t hash)
{
    return &cache->shards[hash % SHARDS];
}

static struct entry **bucket_of(struct shard *shard, uint64_t hash)
{
    return &shard->bucket[(hash / SHARDS) % BUCKETS];
}

static void unlink_age(struct shard *shard, struct entry *entry)
{
    *(entry->newer ? &entry->newer->older : &shard->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &shard->oldest) = entry->newer;
}

static void link_newest(struct shard *shard, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = shard->newest;
    *(shard->newest ? &shard->newest->newer : &shard->oldest) = entry;
    shard->newest = entry;
}

// With the lock held: forgets an entry.
static void drop_entry(struct shard *shard, struct entry *entry)
{
    struct entry **at = bucket_of(shard, entry->hash);
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    unlink_age(shard, entry);
    shard->entries--;
    shard->bytes -= entry->cost;
    unpin(entry);
}

static struct entry *find(struct shard *shard, uint64_t hash, const void *key, size_t length)
{
    for (struct entry *at = *bucket_of(shard, hash); at; at = at->next)
        if (at->hash == hash && at->key_length == length && memcmp(at->key, key, length) == 0)
            return at;
    return NULL;
}

const struct kf_cache_item *kf_cache_get(struct kf_cache *cache, const void *key, size_t key_length)
{
    uint64_t hash = hash_of(cache, key, key_length);
    struct shard *shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->lock);
    struct entry *entry = find(shard, hash, key, key_length);
    if (entry && entry->expires_ns && entry->expires_ns <= kf_time_monotonic_ns()) {
        drop_entry(shard, entry);
        entry = NULL;
    }
    if (entry) {
        unlink_age(shard, entry);
        link_newest(shard, entry);
        atomic_fetch_add_explicit(&entry->references, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&shard->lock);
    return entry ? &entry->item : NULL;
}

static struct entry *entry_new(const void *key, size_t key_length, const char *group, const void *data, size_t length,
                               int64_t ttl_ms)
{
    struct entry *entry = malloc(sizeof *entry + 16 + length);
    if (!entry)
        return NULL;
    memset(entry, 0, sizeof *entry);
    unsigned char *bytes = (unsigned char *)(((uintptr_t)(entry + 1) + 15) & ~(uintptr_t)15);
    if (length)
        memcpy(bytes, data, length);
    memcpy(entry->key, key, key_length);
    entry->item = (struct kf_cache_item){bytes, length};
    entry->key_length = key_length;
    entry->cost = sizeof *entry + 16 + length;
    entry->expires_ns = ttl_ms ? kf_time_monotonic_ns() + ttl_ms * 1000000 : 0;
    atomic_init(&entry->references, 1);
    size_t n = strlen(group);
    memcpy(entry->group, group, n < sizeof entry->group ? n : sizeof entry->group - 1);
    return entry;
}

void kf_cache_put(struct kf_cache *cache, const void *key, size_t key_length, const char *group, const void *data,
                  size_t length, int64_t ttl_ms)
{
    if (key_length > KEY_MAX || length >= cache->most_bytes || sizeof(struct entry) + 16 + length > cache->most_bytes)
        return;
    struct entry *entry = entry_new(key, key_length, group ? group : "", data, length, ttl_ms);
    if (!entry)
        return;
    entry->hash = hash_of(cache, key, key_length);
    struct shard *shard = shard_of(cache, entry->hash);
    pthread_mutex_lock(&shard->lock);
    struct entry *old = find(shard, entry->hash, key, key_length);
    if (old)
        drop_entry(shard, old);
    while (shard->oldest && (shard->entries >= cache->most_entries || shard->bytes + entry->cost > cache->most_bytes))
        drop_entry(shard, shard->oldest);
    struct entry **bucket = bucket_of(shard, entry->hash);
    entry->next = *bucket;
    *bucket = entry;
    link_newest(shard, entry);
    shard->entries++;
    shard->bytes += entry->cost;
    pthread_mutex_unlock(&shard->lock);
}

void kf_cache_drop(struct kf_cache *cache, const void *key, size_t key_length)
{
    uint64_t hash = hash_of(cache, key, key_length);
    struct shard *shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->lock);
    struct entry *entry = find(shard, hash, key, key_length);
    if (entry)
        drop_entry(shard, entry);
    pthread_mutex_unlock(&shard->lock);
}

void kf_cache_drop_group(struct kf_cache *cache, const char *group)
{
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        for (struct entry *entry = shard->oldest, *next; entry; entry = next) {
            next = entry->newer;
            if (strncmp(entry->group, group, sizeof entry->group - 1) == 0)
                drop_entry(shard, entry);
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

void kf_cache_free(struct kf_cache *cache)
{
    if (!cache)
        return;
    for (int i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        while (shard->oldest)
            drop_entry(shard, shard->oldest);
        pthread_mutex_destroy(&shard->lock);
    }
    free(cache);
}
