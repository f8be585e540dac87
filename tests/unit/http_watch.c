// Deadlines of connections, as a pure rule and with a real descriptor.
#include "server/base/test.h"
#include "server/http/watch.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND ((int64_t)1000000000)

static void nap_ms(int ms)
{
    struct timespec nap = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&nap, NULL);
}

KF_TEST(every_phase_has_its_time)
{
    struct kf_watch_limits limits = {.header_s = 10, .idle_s = 60, .grace_s = 30, .rate = 1000};
    KF_CHECK(!kf_watch_late(&limits, KF_WATCH_HEADERS, 0, 0, 10 * SECOND));
    KF_CHECK(kf_watch_late(&limits, KF_WATCH_HEADERS, 0, 0, 11 * SECOND));
    KF_CHECK(!kf_watch_late(&limits, KF_WATCH_IDLE, 0, 0, 70 * SECOND));
    KF_CHECK(kf_watch_late(&limits, KF_WATCH_IDLE, 0, 0, 71 * SECOND));
    // A body earns a second with every 1,000 bytes.
    KF_CHECK(kf_watch_late(&limits, KF_WATCH_BODY, 0, 0, 31 * SECOND));
    KF_CHECK(!kf_watch_late(&limits, KF_WATCH_BODY, 0, 5000, 35 * SECOND));
    KF_CHECK(kf_watch_late(&limits, KF_WATCH_BODY, 0, 5000, 36 * SECOND));
    KF_CHECK(kf_watch_late(&limits, KF_WATCH_SEND, 0, 5000, 36 * SECOND));
    KF_CHECK(!kf_watch_late(&limits, KF_WATCH_WORK, 0, 0, 100000 * SECOND));
}

KF_TEST(a_late_connection_is_shut_down_and_no_other)
{
    struct kf_watch_limits limits = {.header_s = 1, .idle_s = 60, .grace_s = 60, .rate = 1000};
    struct kf_watch *watch = NULL;
    struct kf_watched late = {0}, fine = {0};
    int a[2], b[2];
    KF_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, a) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, b) == 0);
    KF_REQUIRE(kf_watch_new(&limits, &watch) == KF_OK);
    late.fd = a[0];
    fine.fd = b[0];
    kf_watch_add(watch, &late);
    kf_watch_add(watch, &fine);
    kf_watch_phase(&fine, KF_WATCH_BODY, 0);
    char c;
    ssize_t got = -1;
    for (int i = 0; i < 300 && got < 0; i++) { // a deadline of 1 s, on a machine that may be busy
        nap_ms(100);
        got = recv(a[1], &c, 1, MSG_DONTWAIT);
    }
    KF_CHECK_EQ(got, 0);
    KF_CHECK_EQ(recv(b[1], &c, 1, MSG_DONTWAIT), -1);
    kf_watch_remove(watch, &late);
    kf_watch_remove(watch, &fine);
    kf_watch_free(watch);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

KF_TEST_MAIN(KF_RUN(every_phase_has_its_time); KF_RUN(a_late_connection_is_shut_down_and_no_other);)
