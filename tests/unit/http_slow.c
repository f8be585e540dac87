// The pool for slow handlers: what is added is run or abandoned, once, and nothing after the stop.
#include "server/base/test.h"
#include "server/http/slow.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static atomic_int begun, ran, abandoned, released;

static void nap(void)
{
    struct timespec moment = {0, 1000000};
    nanosleep(&moment, NULL);
}

// Every job goes on until the test releases them.
static void run(void *job)
{
    (void)job;
    atomic_fetch_add(&begun, 1);
    while (!atomic_load(&released))
        nap();
    atomic_fetch_add(&ran, 1);
}

static void abandon(void *job)
{
    (void)job;
    atomic_fetch_add(&abandoned, 1);
}

static void fresh(void)
{
    atomic_store(&begun, 0);
    atomic_store(&ran, 0);
    atomic_store(&abandoned, 0);
    atomic_store(&released, 0);
}

static void *stop(void *slow)
{
    kf_slow_stop(slow);
    return NULL;
}

KF_TEST(a_stopped_pool_has_answered_everything_and_takes_nothing)
{
    enum { ROOM = 100000 }; // never full, so that a refusal says that it is stopping
    struct kf_slow *slow;
    pthread_t stopping;
    int added = 0;
    fresh();
    KF_REQUIRE(kf_slow_new(2, ROOM, run, abandon, &slow) == KF_OK);
    while (added < 5)
        added += kf_slow_add(slow, &added) == KF_OK;
    while (atomic_load(&begun) < 2)
        nap();
    KF_REQUIRE(pthread_create(&stopping, NULL, stop, slow) == 0);
    while (kf_slow_add(slow, &added) == KF_OK) {
        added++;
        nap();
    }
    KF_CHECK(added < ROOM);
    atomic_store(&released, 1);
    pthread_join(stopping, NULL);
    KF_CHECK_EQ(atomic_load(&ran), 2);
    KF_CHECK_EQ(atomic_load(&abandoned), added - 2);
    // Connections live a little longer than the pool's threads.
    KF_CHECK_EQ(kf_slow_add(slow, &added), KF_UNAVAILABLE);
    kf_slow_free(slow);
    KF_CHECK_EQ(atomic_load(&ran) + atomic_load(&abandoned), added);
}

KF_TEST(a_full_pool_says_so)
{
    struct kf_slow *slow;
    int taken = 0;
    fresh();
    KF_REQUIRE(kf_slow_new(2, 4, run, abandon, &slow) == KF_OK);
    for (int i = 0; i < 20; i++)
        taken += kf_slow_add(slow, &taken) == KF_OK;
    KF_CHECK(taken >= 4 && taken <= 6); // four wait, up to two run
    atomic_store(&released, 1);
    kf_slow_free(slow);
    KF_CHECK_EQ(atomic_load(&ran) + atomic_load(&abandoned), taken); // nothing is forgotten
}

KF_TEST_MAIN(KF_RUN(a_stopped_pool_has_answered_everything_and_takes_nothing); KF_RUN(a_full_pool_says_so);)
