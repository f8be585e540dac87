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
    KF_CHECK_EQ(lseek(fileno(file), 1, SEEK_SET), 1);
    KF_CHECK_EQ(kf_sha256_fd(fileno(file), 2, 3, digest, &err), KF_OK);
    KF_CHECK_EQ(lseek(fileno(file), 0, SEEK_CUR), 1); // where it was
    expect_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    KF_CHECK_EQ(kf_sha256_fd(fileno(file), 2, 30, digest, &err), KF_IO);
    KF_CHECK_STR(err.code, "short_file");
    fclose(file);
}

// More than any buffer in between holds, and no whole number of them.
KF_TEST(a_large_range_is_hashed_to_its_end)
{
    static unsigned char bytes[(5 << 20) + 77];
    unsigned char of_file[KF_SHA256_BYTES], of_memory[KF_SHA256_BYTES];
    struct kf_error err;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 31 + (i >> 12));
    FILE *file = tmpfile();
    KF_REQUIRE(file && fwrite(bytes, 1, sizeof bytes, file) == sizeof bytes && fflush(file) == 0);
    kf_sha256(bytes + 5, sizeof bytes - 6, of_memory);
    KF_CHECK_EQ(kf_sha256_fd(fileno(file), 5, (int64_t)sizeof bytes - 6, of_file, &err), KF_OK);
    KF_CHECK(memcmp(of_file, of_memory, sizeof of_file) == 0);
    fclose(file);
}

KF_TEST_MAIN(KF_RUN(known_answers); KF_RUN(stream_equals_one_shot_and_is_reusable); KF_RUN(file_ranges);
             KF_RUN(a_large_range_is_hashed_to_its_end);)
