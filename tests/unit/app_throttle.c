// How often one address may try to sign in.
#include "server/app/internal.h"
#include "server/base/test.h"

#include <stdlib.h>

static struct kf_throttle *throttle;

static int tries(const char *const *addresses, size_t count)
{
    int let_through = 0;
    for (size_t i = 0; i < 30; i++)
        let_through += kf_throttle_address(throttle, addresses[i % count], 6) == 0;
    return let_through;
}

KF_TEST(one_address_has_its_share_and_no_more)
{
    static const char *const one[] = {"192.0.2.1"}, *const two[] = {"192.0.2.2", "192.0.2.3"};
    KF_CHECK_EQ(tries(one, 1), 6);
    KF_CHECK_EQ(tries(two, 2), 12);
}

KF_TEST(a_network_of_64_bits_is_one_customer_however_it_is_written)
{
    static const char *const same[] = {"2001:db8::1", "2001:db8::2", "2001:db8::3:4", "2001:db8:0:0:5:6:7:8",
                                       "2001:db8::9:a:b:c"};
    static const char *const others[] = {"2001:db8:0:1::1", "2001:db8:0:2::1"};
    KF_CHECK_EQ(tries(same, 5), 6);
    KF_CHECK_EQ(tries(others, 2), 12);
}

KF_TEST(a_login_that_does_not_exist_is_locked_like_one_that_does)
{
    const struct kf_lockout_rule rule = {.attempts = 3, .base_s = 30, .most_s = 3600};
    for (int n = 0; n < 3; n++) {
        KF_CHECK_EQ(kf_throttle_login(throttle, "nobody", &rule, 0), 0);
        KF_CHECK_EQ(kf_throttle_login(throttle, "nobody", &rule, 1), 0); // the third locks what comes after it
    }
    int wait_s = kf_throttle_login(throttle, "nobody", &rule, 0);
    KF_CHECK(wait_s >= 29 && wait_s <= 31);
    KF_CHECK_EQ(kf_throttle_login(throttle, "somebody", &rule, 0), 0);
}

static void start(void)
{
    throttle = calloc(1, sizeof *throttle);
    if (!throttle)
        abort();
    pthread_mutex_init(&throttle->lock, NULL);
}

KF_TEST_MAIN(start(); KF_RUN(one_address_has_its_share_and_no_more);
             KF_RUN(a_network_of_64_bits_is_one_customer_however_it_is_written);
             KF_RUN(a_login_that_does_not_exist_is_locked_like_one_that_does);)
