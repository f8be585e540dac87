// The pool for slow handlers: what is added is run or abandoned, once, and nothing after the stop.
#include "server/base/test.h"
#include "server/http/slow.h"

#include <stdatomic.h>
#include <time.h>

static atomic_int ran, abandoned;

static void run(void *job)
{
    struct timespec nap = {0, *(int *)job * 1000000L};
    nanosleep(&nap, NULL);
    atomic_fetch_add(&ran, 1);
}

static void abandon(void *job)
{
    (void)job;
    atomic_fetch_add(&abandoned, 1);
}

KF_TEST(a_stopped_pool_has_answered_everything_and_takes_nothing)
{
    struct kf_slow *slow;
    int ms = 100;
    KF_REQUIRE(kf_slow_new(1, 4, run, abandon, &slow) == KF_OK);
    for (int i = 0; i < 3; i++)
        KF_CHECK_EQ(kf_slow_add(slow, &ms), KF_OK);
    struct timespec nap = {0, 20000000};
    nanosleep(&nap, NULL); // the first is being run
    kf_slow_stop(slow);
    KF_CHECK_EQ(atomic_load(&ran), 1);
    KF_CHECK_EQ(atomic_load(&abandoned), 2);
    // Connections live a little longer than the pool's threads.
    KF_CHECK_EQ(kf_slow_add(slow, &ms), KF_UNAVAILABLE);
    kf_slow_free(slow);
    KF_CHECK_EQ(atomic_load(&ran) + atomic_load(&abandoned), 3);
}

KF_TEST(a_full_pool_says_so)
{
    struct kf_slow *slow;
    int ms = 100, taken = 0;
    atomic_store(&ran, 0);
    atomic_store(&abandoned, 0);
    KF_REQUIRE(kf_slow_new(1, 2, run, abandon, &slow) == KF_OK);
    for (int i = 0; i < 10; i++)
        taken += kf_slow_add(slow, &ms) == KF_OK;
    KF_CHECK(taken >= 2 && taken <= 3);
    kf_slow_free(slow);
    KF_CHECK_EQ(atomic_load(&ran) + atomic_load(&abandoned), taken);
}

KF_TEST_MAIN(KF_RUN(a_stopped_pool_has_answered_everything_and_takes_nothing); KF_RUN(a_full_pool_says_so);)
