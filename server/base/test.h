// The test harness: a test program is a list of KF_TEST functions and one KF_TEST_MAIN. A failed KF_CHECK prints where
// and what, and the test goes on; a failed KF_REQUIRE ends that test.
#ifndef KERF_BASE_TEST_H
#define KERF_BASE_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int kf_test_failures __attribute__((unused)); // by a fixture, which counts nothing
static int kf_test_skips __attribute__((unused));

#define KF_TEST(name) static void name(void)

#define KF_CHECK(condition)                                                                                            \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            kf_test_failures++;                                                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                                    \
        }                                                                                                              \
    } while (0)

#define KF_REQUIRE(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            kf_test_failures++;                                                                                        \
            fprintf(stderr, "%s:%d: failed (test ended): %s\n", __FILE__, __LINE__, #condition);                       \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

#define KF_CHECK_EQ(a, b)                                                                                              \
    do {                                                                                                               \
        long long kf_a = (long long)(a), kf_b = (long long)(b);                                                        \
        if (kf_a != kf_b) {                                                                                            \
            kf_test_failures++;                                                                                        \
            fprintf(stderr, "%s:%d: failed: %s == %s (%lld, %lld)\n", __FILE__, __LINE__, #a, #b, kf_a, kf_b);         \
        }                                                                                                              \
    } while (0)

#define KF_CHECK_STR(a, b)                                                                                             \
    do {                                                                                                               \
        const char *kf_a = (a), *kf_b = (b);                                                                           \
        if (!kf_a || !kf_b || strcmp(kf_a, kf_b) != 0) {                                                               \
            kf_test_failures++;                                                                                        \
            fprintf(stderr, "%s:%d: failed: %s == %s (\"%s\", \"%s\")\n", __FILE__, __LINE__, #a, #b,                  \
                    kf_a ? kf_a : "(null)", kf_b ? kf_b : "(null)");                                                   \
        }                                                                                                              \
    } while (0)

#define KF_CHECK_NEAR(a, b, tolerance)                                                                                 \
    do {                                                                                                               \
        double kf_a = (a), kf_b = (b);                                                                                 \
        if (!(fabs(kf_a - kf_b) <= (tolerance))) {                                                                     \
            kf_test_failures++;                                                                                        \
            fprintf(stderr, "%s:%d: failed: %s near %s (%.17g, %.17g)\n", __FILE__, __LINE__, #a, #b, kf_a, kf_b);     \
        }                                                                                                              \
    } while (0)

// Ends the test and counts it as skipped, by name and reason.
#define KF_SKIP(reason)                                                                                                \
    do {                                                                                                               \
        kf_test_skips++;                                                                                               \
        printf("skip %s: %s\n", __func__, reason);                                                                     \
        return;                                                                                                        \
    } while (0)

#define KF_RUN(name)                                                                                                   \
    do {                                                                                                               \
        int kf_before = kf_test_failures, kf_skipped = kf_test_skips;                                                  \
        name();                                                                                                        \
        if (kf_skipped == kf_test_skips)                                                                               \
            printf("%s %s\n", kf_before == kf_test_failures ? "pass" : "FAIL", #name);                                 \
        fflush(stdout);                                                                                                \
    } while (0)

#define KF_TEST_MAIN(...)                                                                                              \
    int main(void)                                                                                                     \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
        return kf_test_failures ? 1 : 0;                                                                               \
    }

// The folder of shared test data (real CT, MR, odd DICOM), or NULL where the checkout has none beside it.
static inline const char *kf_test_data(void)
{
    return getenv("KERF_TEST_DATA");
}

#endif
