// A bounded map from short keys to immutable bytes, with a time to live: sessions, tokens, "this case reaches this
// blob", small immutable bodies. Least recently used entries go first. All functions are thread safe (16 shards, one
// mutex each).
#ifndef KERF_HTTP_CACHE_H
#define KERF_HTTP_CACHE_H

#include "server/base/error.h"
#include <stddef.h>
#include <stdint.h>

struct kf_cache;

// An entry that the caller has pinned: data stays until kf_cache_unpin, even when the entry is dropped meanwhile.
struct kf_cache_item {
    const void *data; // 16-byte aligned
    size_t length;
};

// Over either bound the item that was not asked for the longest goes first.
KF_MUST_USE enum kf_status kf_cache_new(size_t most_entries, size_t most_bytes, struct kf_cache **out);
void kf_cache_free(struct kf_cache *cache); // no item may be pinned
// NULL when absent or too old.
const struct kf_cache_item *kf_cache_get(struct kf_cache *cache, const void *key, size_t key_length);
void kf_cache_unpin(const struct kf_cache_item *item);
void kf_cache_unpin_arg(void *item); // the same, fit for kf_response_pinned
// Copies key and data; replaces an entry of the same key. ttl_ms 0: no end. Too large or out of memory: does nothing.
// group: entries that kf_cache_drop_group forgets together (for example an account); "" for none.
void kf_cache_put(struct kf_cache *cache, const void *key, size_t key_length, const char *group, const void *data,
                  size_t length, int64_t ttl_ms);
void kf_cache_drop(struct kf_cache *cache, const void *key, size_t key_length);
void kf_cache_drop_group(struct kf_cache *cache, const char *group);

#endif
