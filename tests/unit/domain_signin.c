// Password, lockout and rate rules.
#include "server/base/test.h"
#include "server/domain/signin.h"

#define BURST        20.0
#define REFILL_PER_S 0.5

static const char *refusal(const char *password, const char *login)
{
    static struct kf_error err;
    return kf_password_check(password, login, &err) == KF_OK ? "" : err.code;
}

KF_TEST(length_is_counted_in_characters)
{
    KF_CHECK_STR(refusal("elevenchars", NULL), "password_too_short");
    KF_CHECK_STR(refusal("twelve chars", NULL), "");
    KF_CHECK_STR(refusal("\xC3\xA4\xC3\xB6\xC3\xBC\xC3\x9F\xC3\xA9\xC3\xA8\xC3\xB1", NULL), "password_too_short");
    KF_CHECK_STR(refusal("S\xC3\xA4gespalt breit", NULL), "");
    char longest[KF_PASSWORD_MAX_BYTES + 2];
    for (int i = 0; i < KF_PASSWORD_MAX_BYTES + 1; i++)
        longest[i] = (char)('!' + (i * i * 7 + i) % 90);
    longest[KF_PASSWORD_MAX_BYTES + 1] = 0;
    KF_CHECK_STR(refusal(longest, NULL), "password_too_long");
    longest[KF_PASSWORD_MAX_BYTES] = 0;
    KF_CHECK_STR(refusal(longest, NULL), "");
}

KF_TEST(what_is_easy_to_guess_is_refused)
{
    static const char *const weak[] = {"aaaaaaaaaaaa",    "abababababab", "abcabcabcabcab", "Password12345",
                                       "Administrator1!", "123456789012", "qwertyuiop12",   "PASSWORT2026!"};
    for (size_t i = 0; i < sizeof weak / sizeof *weak; i++)
        KF_CHECK_STR(refusal(weak[i], NULL), "password_too_common");
    KF_CHECK_STR(refusal("jane.doe@clinic", "Jane.Doe@clinic"), "password_is_login");
    KF_CHECK_STR(refusal("not\xFFutf8 at all", NULL), "password_not_text");
}

KF_TEST(lockout_starts_at_the_fifth_failure_and_doubles)
{
    static const struct kf_lockout_rule rule = {.attempts = 5, .base_s = 30, .most_s = 3600};
    KF_CHECK_EQ(kf_lockout_s(&rule, 0), 0);
    KF_CHECK_EQ(kf_lockout_s(&rule, 4), 0);
    KF_CHECK_EQ(kf_lockout_s(&rule, 5), 30);
    KF_CHECK_EQ(kf_lockout_s(&rule, 6), 60);
    KF_CHECK_EQ(kf_lockout_s(&rule, 11), 1920);
    KF_CHECK_EQ(kf_lockout_s(&rule, 12), 3600);
    KF_CHECK_EQ(kf_lockout_s(&rule, 2000000000), 3600);
}

KF_TEST(one_address_gets_its_burst_and_then_the_refill)
{
    struct kf_bucket bucket = {0};
    int64_t now = 1000000000;
    for (int i = 0; i < 20; i++)
        KF_CHECK_EQ(kf_bucket_take(&bucket, now, BURST, REFILL_PER_S), 0);
    int wait = kf_bucket_take(&bucket, now, BURST, REFILL_PER_S);
    KF_CHECK(wait >= 2 && wait <= 3);
    KF_CHECK(kf_bucket_take(&bucket, now + 1000000000, BURST, REFILL_PER_S) > 0);
    KF_CHECK_EQ(kf_bucket_take(&bucket, now + 2000000000, BURST, REFILL_PER_S), 0);
    KF_CHECK(kf_bucket_take(&bucket, now - 5000000000, BURST, REFILL_PER_S) > 0);
    int64_t later = now + (int64_t)3600 * 1000000000;
    int taken = 0;
    while (taken < 100 && kf_bucket_take(&bucket, later, BURST, REFILL_PER_S) == 0)
        taken++;
    KF_CHECK_EQ(taken, 20);
}

KF_TEST_MAIN(KF_RUN(length_is_counted_in_characters); KF_RUN(what_is_easy_to_guess_is_refused);
             KF_RUN(lockout_starts_at_the_fifth_failure_and_doubles);
             KF_RUN(one_address_gets_its_burst_and_then_the_refill);)
