// Event loops: posts from other threads run in order, timers come, descriptors wake, handles may be freed in callbacks.
#include "server/base/loop/loop.h"
#include "server/base/test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static struct kf_loop *loop;
static int sum, order_wrong, last;

static void add(void *arg)
{
    int n = (int)(intptr_t)arg;
    order_wrong |= n != last + 1;
    last = n;
    sum++;
    if (n == 1000)
        kf_loop_stop(loop);
}

static void *poster(void *arg)
{
    (void)arg;
    for (int i = 1; i <= 1000; i++)
        if (kf_loop_post(loop, add, (void *)(intptr_t)i) != KF_OK)
            return loop;
    return NULL;
}

KF_TEST(posts_run_in_order_on_the_loop)
{
    pthread_t thread;
    sum = last = order_wrong = 0;
    pthread_create(&thread, NULL, poster, NULL);
    kf_loop_run(loop);
    pthread_join(thread, NULL);
    KF_CHECK_EQ(sum, 1000);
    KF_CHECK_EQ(order_wrong, 0);
}

static struct kf_loop_poll *poll;
static struct kf_loop_timer *timer;
static int pair[2], got, ticks;

static void readable(void *arg, int events)
{
    (void)arg;
    char c;
    if ((events & KF_READABLE) && read(pair[0], &c, 1) == 1)
        got += c;
    kf_loop_poll_free(poll);
    kf_loop_stop(loop);
}

static void tick(void *arg)
{
    (void)arg;
    if (++ticks == 3) {
        KF_CHECK_EQ(write(pair[1], "\x05", 1), 1);
        kf_loop_timer_free(timer);
    }
}

KF_TEST(timers_and_descriptors_wake_the_loop)
{
    KF_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    KF_REQUIRE(kf_loop_poll_new(loop, pair[0], readable, NULL, &poll) == KF_OK);
    KF_REQUIRE(kf_loop_timer_new(loop, tick, NULL, &timer) == KF_OK);
    kf_loop_poll_set(poll, KF_READABLE);
    kf_loop_timer_set(timer, 1, 1);
    kf_loop_run(loop);
    KF_CHECK_EQ(ticks, 3);
    KF_CHECK_EQ(got, 5);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    if (kf_loop_new(&loop, NULL) != KF_OK)
        return 1;
    KF_RUN(posts_run_in_order_on_the_loop);
    KF_RUN(timers_and_descriptors_wake_the_loop);
    kf_loop_free(loop);
    return kf_test_failures ? 1 : 0;
}
