#include "server/base/test.h"
#include "server/base/timeid.h"

KF_TEST(rfc3339_of_known_times)
{
    char text[32];
    kf_time_rfc3339(text, 0);
    KF_CHECK_STR(text, "1970-01-01T00:00:00.000Z");
    kf_time_rfc3339(text, 951782400123);
    KF_CHECK_STR(text, "2000-02-29T00:00:00.123Z");
    kf_time_rfc3339(text, -1);
    KF_CHECK_STR(text, "1969-12-31T23:59:59.999Z");
}

KF_TEST(ids_are_version_7_unique_and_ordered_by_time)
{
    char a[KF_ID_TEXT], b[KF_ID_TEXT];
    int64_t before = kf_time_unix_ms();
    kf_id_new(a);
    while (kf_time_unix_ms() <= before + 1)
        ;
    kf_id_new(b);
    KF_CHECK(kf_id_valid(a) && kf_id_valid(b));
    KF_CHECK_EQ(a[14], '7');
    KF_CHECK(strchr("89ab", a[19]) != NULL);
    KF_CHECK(strcmp(a, b) < 0);
    unsigned long long high, low; // RFC 9562 section 5.7: 48 bits of milliseconds, before and behind the first dash
    KF_REQUIRE(sscanf(a, "%8llx-%4llx", &high, &low) == 2);
    int64_t told = (int64_t)(high << 16 | low);
    KF_CHECK(told >= before && told <= kf_time_unix_ms());
    char many[200][KF_ID_TEXT];
    int same = 0;
    for (int i = 0; i < 200; i++) {
        kf_id_new(many[i]);
        for (int j = 0; j < i; j++)
            same += strcmp(many[i], many[j]) == 0;
    }
    KF_CHECK_EQ(same, 0);
}

KF_TEST(ids_of_strangers_are_checked)
{
    KF_CHECK(kf_id_valid("00000000-0000-0000-0000-000000000000"));
    KF_CHECK(!kf_id_valid("00000000-0000-0000-0000-00000000000"));
    KF_CHECK(!kf_id_valid("00000000-0000-0000-0000-0000000000000"));
    KF_CHECK(!kf_id_valid("0000000A-0000-0000-0000-000000000000"));
    KF_CHECK(!kf_id_valid("00000000x0000-0000-0000-000000000000"));
    KF_CHECK(!kf_id_valid(""));
}

KF_TEST(monotonic_clock_does_not_go_back)
{
    int64_t last = kf_time_monotonic_ns();
    for (int i = 0; i < 1000; i++) {
        int64_t now = kf_time_monotonic_ns();
        KF_REQUIRE(now >= last);
        last = now;
    }
}

KF_TEST_MAIN(KF_RUN(rfc3339_of_known_times); KF_RUN(ids_are_version_7_unique_and_ordered_by_time);
             KF_RUN(ids_of_strangers_are_checked); KF_RUN(monotonic_clock_does_not_go_back);)
