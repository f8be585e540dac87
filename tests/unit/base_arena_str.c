#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/base/str.h"
#include "server/base/test.h"
#include <stdint.h>

KF_TEST(arena_memory_is_zeroed_aligned_and_separate)
{
    struct kf_arena arena = {0};
    unsigned char *last = NULL;
    for (size_t n = 1; n < 40000; n = n * 2 + 1) {
        unsigned char *memory = kf_arena_alloc(&arena, n);
        KF_REQUIRE(memory);
        KF_CHECK_EQ((uintptr_t)memory % 16, 0);
        for (size_t i = 0; i < n; i++)
            KF_REQUIRE(memory[i] == 0);
        memset(memory, 0xa5, n);
        if (last)
            KF_CHECK(last[0] == 0xa5);
        last = memory;
    }
    KF_CHECK(kf_arena_alloc(&arena, SIZE_MAX) == NULL);
    KF_CHECK_STR(kf_arena_printf(&arena, "%d-%s", 42, "x"), "42-x");
    KF_CHECK_STR(kf_arena_strndup(&arena, "abcdef", 3), "abc");
    kf_arena_release(&arena);
    KF_CHECK_EQ(arena.bytes, 0);
}

KF_TEST(string_keeps_nuls_and_terminates)
{
    struct kf_str str = {0};
    KF_CHECK_STR(kf_str_text(&str), "");
    kf_str_add(&str, "a\0b", 3);
    kf_str_printf(&str, "%05d", 7);
    KF_CHECK_EQ(str.length, 8);
    KF_CHECK(memcmp(str.data, "a\0b00007", 9) == 0);
    kf_str_clear(&str);
    KF_CHECK_EQ(str.length, 0);
    kf_str_release(&str);
}

KF_TEST(string_failure_sticks)
{
    struct kf_str str = {0};
    kf_str_add(&str, "x", SIZE_MAX / 2);
    KF_CHECK(str.failed);
    kf_str_add_text(&str, "more");
    KF_CHECK_EQ(str.length, 0);
    kf_str_release(&str);
}

KF_TEST(copy_reports_when_it_cuts)
{
    char to[4];
    KF_CHECK_EQ(kf_str_copy(to, sizeof to, "abc"), 0);
    KF_CHECK_EQ(kf_str_copy(to, sizeof to, "abcd"), -1);
    KF_CHECK_STR(to, "abc");
}

// "aé漢😀" has characters of 1, 2, 3 and 4 bytes; a cut before each byte keeps the whole ones.
KF_TEST(a_cut_splits_no_character)
{
    static const char text[] = "a\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x98\x80";
    static const size_t kept[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};
    char to[sizeof text];
    for (size_t most = 0; most <= sizeof text - 1; most++) {
        KF_CHECK_EQ(kf_utf8_cut(text, most), kept[most]);
        KF_CHECK_EQ(kf_str_copy(to, most + 1, text), most < sizeof text - 1 ? -1 : 0);
        KF_CHECK_EQ(strlen(to), kept[most]);
    }
    KF_CHECK_EQ(kf_utf8_cut("\x80\x80\x80\x80\x80", 5), 5); // no characters at all
}

KF_TEST(an_errors_detail_is_utf8_however_its_parts_were_cut)
{
    struct kf_error err;
    KF_CHECK_EQ(kf_error_set(&err, KF_INVALID, NULL, "no parameter %.4s.", "ab\xc3\xa9\xc3\xa9"), KF_INVALID);
    KF_CHECK_STR(err.detail, "no parameter ab\xc3\xa9.");
    KF_CHECK_EQ(kf_error_set(&err, KF_INVALID, NULL, "no parameter %.5s.", "ab\xc3\xa9\xc3\xa9"), KF_INVALID);
    KF_CHECK_STR(err.detail, "no parameter ab\xc3\xa9?.");
    KF_CHECK_EQ(kf_error_set(&err, KF_INVALID, NULL, "%*s\xe6\xbc\xa2", (int)sizeof err.detail - 3, "."), KF_INVALID);
    KF_CHECK_EQ(strlen(err.detail), sizeof err.detail - 3); // one byte short of the character
    KF_CHECK_EQ(kf_error_set(&err, KF_INVALID, NULL, "%*s\xe6\xbc\xa2", (int)sizeof err.detail - 4, "."), KF_INVALID);
    KF_CHECK_EQ(strlen(err.detail), sizeof err.detail - 1);
}

KF_TEST(hex_round_trip_and_refusals)
{
    unsigned char bytes[3] = {0x00, 0xfe, 0x1b}, back[3];
    char text[7];
    kf_hex_encode(text, bytes, 3);
    KF_CHECK_STR(text, "00fe1b");
    KF_CHECK_EQ(kf_hex_decode(back, 3, "00FE1b"), 0);
    KF_CHECK(memcmp(bytes, back, 3) == 0);
    KF_CHECK_EQ(kf_hex_decode(back, 3, "00fe1"), -1);
    KF_CHECK_EQ(kf_hex_decode(back, 3, "00fe1b2"), -1);
    KF_CHECK_EQ(kf_hex_decode(back, 3, "00fg1b"), -1);
}

KF_TEST_MAIN(KF_RUN(arena_memory_is_zeroed_aligned_and_separate); KF_RUN(string_keeps_nuls_and_terminates);
             KF_RUN(string_failure_sticks); KF_RUN(copy_reports_when_it_cuts); KF_RUN(a_cut_splits_no_character);
             KF_RUN(an_errors_detail_is_utf8_however_its_parts_were_cut); KF_RUN(hex_round_trip_and_refusals);)
