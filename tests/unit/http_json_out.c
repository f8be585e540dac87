// The JSON writer: what it writes reads back as what went in, whatever went in.
#include "server/base/json.h"
#include "server/base/test.h"
#include "server/http/json_out.h"

static json_t *read_back(struct kf_out *out)
{
    json_t *value = NULL;
    KF_CHECK(!out->text.failed);
    KF_CHECK(kf_json_parse(kf_str_text(&out->text), out->text.length, &value, NULL) == KF_OK);
    kf_str_release(&out->text);
    return value;
}

KF_TEST(nested_values_are_parted_by_commas)
{
    struct kf_out out = {0};
    kf_out_object(&out, NULL);
    kf_out_array(&out, "list");
    for (int i = 0; i < 3; i++)
        kf_out_int(&out, NULL, i);
    kf_out_object(&out, NULL);
    kf_out_close(&out);
    kf_out_close(&out);
    kf_out_flag(&out, "yes", 1);
    kf_out_null(&out, "nothing");
    kf_out_number(&out, "half", 0.5);
    kf_out_number(&out, "endless", INFINITY);
    kf_out_raw(&out, "raw", "{\"a\":[1,2]}");
    kf_out_raw(&out, "empty", "");
    kf_out_time(&out, "when", 1763706536123);
    kf_out_time(&out, "never", 0);
    kf_out_close(&out);
    KF_CHECK_STR(kf_str_text(&out.text),
                 "{\"list\":[0,1,2,{}],\"yes\":true,\"nothing\":null,\"half\":0.5,\"endless\":null,"
                 "\"raw\":{\"a\":[1,2]},\"empty\":{},\"when\":\"2025-11-21T06:28:56.123Z\",\"never\":null}");
    json_decref(read_back(&out));
}

KF_TEST(texts_survive_as_they_are)
{
    static const char *const texts[] = {"",
                                        "plain",
                                        "quote \" backslash \\ slash /",
                                        "tab\t newline\n return\r bell\a escape\x1B delete\x7F",
                                        "\xC3\xA4\xE2\x82\xAC\xF0\x9F\xA6\xB4",
                                        "\xF4\x8F\xBF\xBF",
                                        "</script><!--"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct kf_out out = {0};
        kf_out_text(&out, NULL, texts[i]);
        json_t *value = read_back(&out);
        KF_CHECK_STR(json_string_value(value), texts[i]);
        json_decref(value);
    }
}

KF_TEST(bytes_that_are_no_utf8_become_replacement_characters)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\xFF"
         "b",
         "a\xEF\xBF\xBD"
         "b"},
        {"\xC0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"},                                 // overlong NUL
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},                 // surrogate
        {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, // above U+10FFFF
        {"cut \xE2\x82", "cut \xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kf_out out = {0};
        kf_out_text(&out, NULL, cases[i].in);
        json_t *value = read_back(&out);
        KF_CHECK_STR(json_string_value(value), cases[i].out);
        json_decref(value);
    }
}

// Every pair of bytes is written as something that reads back.
KF_TEST(any_two_bytes_make_json)
{
    for (int a = 1; a < 256; a++) {
        for (int b = 1; b < 256; b++) {
            char text[3] = {(char)a, (char)b, 0};
            struct kf_out out = {0};
            json_t *value = NULL;
            kf_out_text(&out, NULL, text);
            if (kf_json_parse(kf_str_text(&out.text), out.text.length, &value, NULL) != KF_OK)
                KF_CHECK(!"does not read back");
            json_decref(value);
            kf_str_release(&out.text);
        }
    }
}

KF_TEST_MAIN(KF_RUN(nested_values_are_parted_by_commas); KF_RUN(texts_survive_as_they_are);
             KF_RUN(bytes_that_are_no_utf8_become_replacement_characters); KF_RUN(any_two_bytes_make_json);)
