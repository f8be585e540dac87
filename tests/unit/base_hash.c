#include "server/base/hash.h"
#include "server/base/str.h"
#include "server/base/test.h"
#include <unistd.h>

static void expect_hex(const unsigned char *digest, const char *expected)
{
    char text[KF_SHA256_HEX];
    kf_hex_encode(text, digest, KF_SHA256_BYTES);
    KF_CHECK_STR(text, expected);
}

KF_TEST(known_answers)
{
    unsigned char digest[KF_SHA256_BYTES];
    kf_sha256("", 0, digest);
    expect_hex(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    kf_sha256("abc", 3, digest);
    expect_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

KF_TEST(stream_equals_one_shot_and_is_reusable)
{
    unsigned char bytes[1000], one[KF_SHA256_BYTES], many[KF_SHA256_BYTES];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37);
    kf_sha256(bytes, sizeof bytes, one);
    struct kf_sha256 *stream;
    KF_REQUIRE(kf_sha256_new(&stream) == KF_OK);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof bytes; i += 7)
            kf_sha256_add(stream, bytes + i, sizeof bytes - i < 7 ? sizeof bytes - i : 7);
        kf_sha256_finish(stream, many);
        KF_CHECK(memcmp(one, many, sizeof one) == 0);
    }
    kf_sha256_free(stream);
}

KF_TEST(file_ranges)
{
    FILE *file = tmpfile();
    KF_REQUIRE(file);
    fputs("xxabcyy", file);
    fflush(file);
    unsigned char digest[KF_SHA256_BYTES];
    struct kf_error err;
    KF_CHECK_EQ(kf_sha256_fd(fileno(file), 2, 3, digest, &err), KF_OK);
    expect_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    KF_CHECK_EQ(kf_sha256_fd(fileno(file), 2, 30, digest, &err), KF_IO);
    KF_CHECK_STR(err.code, "short_file");
    fclose(file);
}

KF_TEST_MAIN(KF_RUN(known_answers); KF_RUN(stream_equals_one_shot_and_is_reusable); KF_RUN(file_ranges);)
