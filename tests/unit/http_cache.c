// The bounded cache: what is put is found, limits and times hold, pins outlive drops, threads do not trip over each
// other.
#include "server/base/test.h"
#include "server/http/cache.h"

#include <pthread.h>
#include <unistd.h>

static int holds(struct kf_cache *cache, const char *key, const char *value)
{
    const struct kf_cache_item *item = kf_cache_get(cache, key, strlen(key));
    int right = item && item->length == strlen(value) && memcmp(item->data, value, item->length) == 0;
    kf_cache_unpin(item);
    return right;
}

static void put(struct kf_cache *cache, const char *key, const char *group, const char *value, int64_t ttl_ms)
{
    kf_cache_put(cache, key, strlen(key), group, value, strlen(value), ttl_ms);
}

KF_TEST(what_is_put_is_found_until_dropped)
{
    struct kf_cache *cache = NULL;
    KF_REQUIRE(kf_cache_new(1000, 1 << 20, &cache) == KF_OK);
    put(cache, "a", "g1", "one", 0);
    put(cache, "b", "g1", "two", 0);
    put(cache, "c", "g2", "three", 0);
    KF_CHECK(holds(cache, "a", "one"));
    put(cache, "a", "g1", "uno", 0);
    KF_CHECK(holds(cache, "a", "uno"));
    KF_CHECK(!holds(cache, "A", "one"));
    kf_cache_drop_group(cache, "g1");
    KF_CHECK(!holds(cache, "a", "uno"));
    KF_CHECK(!holds(cache, "b", "two"));
    KF_CHECK(holds(cache, "c", "three"));
    kf_cache_drop(cache, "c", 1);
    KF_CHECK(!holds(cache, "c", "three"));
    kf_cache_free(cache);
}

KF_TEST(entries_grow_old)
{
    struct kf_cache *cache = NULL;
    KF_REQUIRE(kf_cache_new(10, 1 << 20, &cache) == KF_OK);
    int held = 0;
    for (int i = 0; i < 100 && !held; i++) { // looked for in vain where the machine was busy with other things for 30 ms
        put(cache, "a", "", "one", 30);
        held = holds(cache, "a", "one");
    }
    KF_CHECK(held);
    usleep(40000);
    KF_CHECK(!holds(cache, "a", "one"));
    kf_cache_free(cache);
}

KF_TEST(the_bounds_hold)
{
    struct kf_cache *cache = NULL;
    KF_REQUIRE(kf_cache_new(64, 1 << 20, &cache) == KF_OK);
    char key[16];
    int found = 0;
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(cache, key, "", "v", 0);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        found += holds(cache, key, "v");
    }
    KF_CHECK(found <= 80 && found >= 16); // 5 per shard
    kf_cache_free(cache);
    KF_REQUIRE(kf_cache_new(1000, 16 << 10, &cache) == KF_OK);
    static char large[4096];
    kf_cache_put(cache, "large", 5, "", large, sizeof large, 0);
    KF_CHECK(kf_cache_get(cache, "large", 5) == NULL);
    kf_cache_free(cache);
}

KF_TEST(a_pin_outlives_a_drop)
{
    struct kf_cache *cache = NULL;
    KF_REQUIRE(kf_cache_new(10, 1 << 20, &cache) == KF_OK);
    put(cache, "a", "", "pinned", 0);
    const struct kf_cache_item *item = kf_cache_get(cache, "a", 1);
    KF_REQUIRE(item);
    kf_cache_drop(cache, "a", 1);
    KF_CHECK(memcmp(item->data, "pinned", 6) == 0);
    KF_CHECK_EQ((uintptr_t)item->data % 16, 0);
    kf_cache_unpin(item);
    kf_cache_free(cache);
}

static void *hammer(void *arg)
{
    struct kf_cache *cache = arg;
    char key[8];
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "%d", i % 97);
        const struct kf_cache_item *item = kf_cache_get(cache, key, strlen(key));
        if (item && (item->length != strlen(key) || memcmp(item->data, key, item->length) != 0))
            return cache;
        kf_cache_unpin(item);
        if (i % 3 == 0)
            kf_cache_put(cache, key, strlen(key), "", key, strlen(key), i % 5 ? 0 : 1);
        if (i % 11 == 0)
            kf_cache_drop(cache, key, strlen(key));
    }
    return NULL;
}

KF_TEST(threads_see_whole_entries)
{
    struct kf_cache *cache = NULL;
    KF_REQUIRE(kf_cache_new(48, 1 << 20, &cache) == KF_OK);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, hammer, cache);
    for (int i = 0; i < 4; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        KF_CHECK(wrong == NULL);
    }
    kf_cache_free(cache);
}

KF_TEST_MAIN(KF_RUN(what_is_put_is_found_until_dropped); KF_RUN(entries_grow_old); KF_RUN(the_bounds_hold);
             KF_RUN(a_pin_outlives_a_drop); KF_RUN(threads_see_whole_entries);)
