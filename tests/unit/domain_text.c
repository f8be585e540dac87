// What may stand in names, logins, AE titles and UIDs.
#include "server/base/test.h"
#include "server/domain/text.h"

KF_TEST(utf8_is_counted_and_bad_utf8_refused)
{
    KF_CHECK_EQ(kf_text_characters("", 0), 0);
    KF_CHECK_EQ(kf_text_characters("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\xA6\xB4", 10), 4);
    KF_CHECK_EQ(kf_text_characters("\xC0\x80", 2), -1);         // overlong NUL
    KF_CHECK_EQ(kf_text_characters("\xE0\x80\xAF", 3), -1);     // overlong slash
    KF_CHECK_EQ(kf_text_characters("\xED\xA0\x80", 3), -1);     // surrogate
    KF_CHECK_EQ(kf_text_characters("\xF4\x90\x80\x80", 4), -1); // above U+10FFFF
    KF_CHECK_EQ(kf_text_characters("\xC3", 1), -1);             // cut short
    KF_CHECK_EQ(kf_text_characters("\x80", 1), -1);
    KF_CHECK_EQ(kf_text_characters("\xFF", 1), -1);
}

KF_TEST(a_line_has_no_control_characters)
{
    KF_CHECK(kf_text_line_check("Mandible, left; '); DROP TABLE cases;--", 1, 200, NULL) == KF_OK);
    KF_CHECK(kf_text_line_check("\xE4\xB8\x8B\xE9\xA2\x8C\xE9\xAA\xA8", 1, 200, NULL) == KF_OK);
    KF_CHECK(kf_text_line_check("", 0, 200, NULL) == KF_OK);
    KF_CHECK(kf_text_line_check("", 1, 200, NULL) == KF_INVALID);
    KF_CHECK(kf_text_line_check("a\nb", 1, 200, NULL) == KF_INVALID);
    KF_CHECK(kf_text_line_check("a\x7F", 1, 200, NULL) == KF_INVALID);
    KF_CHECK(kf_text_line_check("a\xC2\x85", 1, 200, NULL) == KF_INVALID); // C1
    KF_CHECK(kf_text_line_check("a\xE2\x80\xAE"
                                "b",
                                1, 200, NULL) == KF_INVALID); // right-to-left override
    KF_CHECK(kf_text_line_check(" a", 1, 200, NULL) == KF_INVALID);
    KF_CHECK(kf_text_line_check("a ", 1, 200, NULL) == KF_INVALID);
    KF_CHECK(kf_text_line_check("abcd", 1, 3, NULL) == KF_INVALID);
}

KF_TEST(logins_are_plain)
{
    KF_CHECK(kf_login_check("j.doe+2@clinic-x.org", NULL) == KF_OK);
    KF_CHECK(kf_login_check("", NULL) == KF_INVALID);
    KF_CHECK(kf_login_check("Jane", NULL) == KF_INVALID);
    KF_CHECK(kf_login_check("-jane", NULL) == KF_INVALID);
    KF_CHECK(kf_login_check("jane doe", NULL) == KF_INVALID);
    KF_CHECK(kf_login_check("jane'--", NULL) == KF_INVALID);
    char longest[203];
    memset(longest, 'a', 201);
    longest[201] = 0;
    KF_CHECK(kf_login_check(longest, NULL) == KF_INVALID);
    longest[200] = 0;
    KF_CHECK(kf_login_check(longest, NULL) == KF_OK);
}

KF_TEST(ae_titles_follow_the_standard)
{
    KF_CHECK(kf_ae_title_check("*", NULL) == KF_OK);
    KF_CHECK(kf_ae_title_check("PACS 1", NULL) == KF_OK);
    KF_CHECK(kf_ae_title_check("SIXTEEN_CHARS_AE", NULL) == KF_OK);
    KF_CHECK(kf_ae_title_check("SEVENTEEN_CHARS_A", NULL) == KF_INVALID);
    KF_CHECK(kf_ae_title_check("", NULL) == KF_INVALID);
    KF_CHECK(kf_ae_title_check("A\\B", NULL) == KF_INVALID);
    KF_CHECK(kf_ae_title_check("A*", NULL) == KF_INVALID);
    KF_CHECK(kf_ae_title_check(" A", NULL) == KF_INVALID);
    KF_CHECK(kf_ae_title_check("\xC3\x84", NULL) == KF_INVALID);
}

KF_TEST(uids_are_digits_and_dots)
{
    KF_CHECK(kf_uid_valid("1.2.840.10008.5.1.4.1.1.2"));
    KF_CHECK(!kf_uid_valid(""));
    KF_CHECK(!kf_uid_valid("1..2"));
    KF_CHECK(!kf_uid_valid(".1"));
    KF_CHECK(!kf_uid_valid("1."));
    KF_CHECK(!kf_uid_valid("1.2a"));
    KF_CHECK(!kf_uid_valid("1.2.840.10008.1234567890123456789012345678901234567890123456789012"));
}

KF_TEST_MAIN(KF_RUN(utf8_is_counted_and_bad_utf8_refused); KF_RUN(a_line_has_no_control_characters);
             KF_RUN(logins_are_plain); KF_RUN(ae_titles_follow_the_standard); KF_RUN(uids_are_digits_and_dots);)
