// PS3.18 Annex F: what an attribute looks like in JSON.
#include "server/base/json.h"
#include "server/base/test.h"
#include "tests/unit/dicom_bytes.h"
#include "workers/dicom/json.h"
#include "workers/runtime/sandbox.h"

#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

// The parsed JSON of a file; owned.
static json_t *json_of(const struct dicom_bytes *b)
{
    struct kf_dicom *d;
    struct kf_error err = {0};
    struct kf_str text = {0};
    json_t *json = NULL;
    if (kf_dicom_open_memory(b->out.data, b->out.length, NULL, &d, &err) != KF_OK) {
        fprintf(stderr, "%s: %s\n", err.code, err.detail);
        return NULL;
    }
    if (kf_dicom_json(d, &text, &err) != KF_OK || kf_json_parse(text.data, text.length, &json, &err) != KF_OK)
        fprintf(stderr, "%s\n%s\n", err.detail, kf_str_text(&text));
    kf_str_release(&text);
    kf_dicom_free(d);
    return json;
}

// How a CT image begins that says its character set.
static void put_ct(struct dicom_bytes *b, const char *charset)
{
    put_meta(b, "1.2.840.10008.1.2.1");
    put_text(b, 0x00080005, "CS", charset);
    put_text(b, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2");
    put_text(b, 0x00080018, "UI", "1.2.3.4");
}

// Compares one attribute with its expected JSON text.
static int is(const json_t *json, const char *tag, const char *expected)
{
    json_t *want = json_loads(expected, JSON_DECODE_ANY, NULL);
    const json_t *have = json_object_get(json, tag);
    int same = want && have && json_equal(have, want);
    if (!same) {
        char *text = have ? json_dumps(have, JSON_COMPACT) : NULL;
        fprintf(stderr, "%s is %s, not %s\n", tag, text ? text : "absent", expected);
        free(text);
    }
    json_decref(want);
    return same;
}

KF_TEST(values_by_vr)
{
    struct dicom_bytes b = {0};
    double nan = NAN, eighth = 0.1;
    float third = 0.1f;
    put_meta(&b, "1.2.840.10008.1.2.1");
    put_text(&b, 0x00080005, "CS", "ISO_IR 192");
    put_text(&b, 0x00080008, "CS", "ORIGINAL\\PRIMARY\\\\AXIAL");
    put_text(&b, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2");
    put_text(&b, 0x00080018, "UI", "1.2.3.4");
    put_text(&b, 0x00080050, "SH", "");
    put_text(&b, 0x00100010, "PN", "M\xC3\xBCller^A=\xE5\xB1\xB1=ya");
    put_text(&b, 0x00104000, "LT", " one\\not two\r\n\"x\" ");
    put_text(&b, 0x00181120, "DS", "+18.5\\ 1e3\\.5\\nonsense\\0x10");
    put_text(&b, 0x00200013, "IS", "-007");
    put_text(&b, 0x0020000D, "UI", "1.2.3");
    put_text(&b, 0x0020000E, "UI", "1.2.3.1");
    put_bytes(&b, 0x00189087, "FD", &nan, 8);
    put_bytes(&b, 0x00189089, "FD", &eighth, 8);
    put_bytes(&b, 0x00189104, "FL", &third, 4);
    put_header(&b, 0x00280009, "AT", 4);
    put16(&b, 0x0018);
    put16(&b, 0x1063);
    put_us(&b, 0x00280010, 512);
    put_header(&b, 0x00280120, "SS", 2);
    put16(&b, 0x8000);
    put_bytes(&b, 0x00290010, "LO", "MAKER", 5);
    put_bytes(&b, 0x00291001, "UN", "\1\2\3\4", 4);
    json_t *json = json_of(&b);
    KF_REQUIRE(json);
    KF_CHECK(is(json, "00080008", "{\"vr\":\"CS\",\"Value\":[\"ORIGINAL\",\"PRIMARY\",null,\"AXIAL\"]}"));
    KF_CHECK(is(json, "00080050", "{\"vr\":\"SH\"}"));
    KF_CHECK(is(json, "00083002", "{\"vr\":\"UI\",\"Value\":[\"1.2.840.10008.1.2.1\"]}"));
    KF_CHECK(is(json, "00100010",
                "{\"vr\":\"PN\",\"Value\":[{\"Alphabetic\":\"M\\u00FCller^A\",\"Ideographic\":\"\\u5C71\","
                "\"Phonetic\":\"ya\"}]}"));
    KF_CHECK(is(json, "00104000", "{\"vr\":\"LT\",\"Value\":[\" one\\\\not two\\r\\n\\\"x\\\"\"]}"));
    KF_CHECK(is(json, "00181120", "{\"vr\":\"DS\",\"Value\":[18.5,1e3,0.5,\"nonsense\",\"0x10\"]}"));
    KF_CHECK(is(json, "00200013", "{\"vr\":\"IS\",\"Value\":[-7]}"));
    KF_CHECK(is(json, "00189087", "{\"vr\":\"FD\",\"Value\":[\"NaN\"]}"));
    KF_CHECK(is(json, "00189089", "{\"vr\":\"FD\",\"Value\":[0.1]}"));
    KF_CHECK(is(json, "00189104", "{\"vr\":\"FL\",\"Value\":[0.1]}"));
    KF_CHECK(is(json, "00280009", "{\"vr\":\"AT\",\"Value\":[\"00181063\"]}"));
    KF_CHECK(is(json, "00280010", "{\"vr\":\"US\",\"Value\":[512]}"));
    KF_CHECK(is(json, "00280120", "{\"vr\":\"SS\",\"Value\":[-32768]}"));
    KF_CHECK(is(json, "00290010", "{\"vr\":\"LO\",\"Value\":[\"MAKER\"]}"));
    KF_CHECK(is(json, "00291001", "{\"vr\":\"UN\",\"InlineBinary\":\"AQIDBA==\"}"));
    KF_CHECK(!json_object_get(json, "00020010"));
    json_decref(json);
    kf_str_release(&b.out);
}

KF_TEST(sequences_nest)
{
    struct dicom_bytes b = {0};
    put_meta(&b, "1.2.840.10008.1.2.1");
    put_text(&b, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2");
    put_text(&b, 0x00080018, "UI", "1.2.3.4");
    put_header(&b, 0x00081110, "SQ", UNDEFINED_LENGTH);
    put_item(&b, UNDEFINED_LENGTH);
    put_text(&b, 0x00081150, "UI", "1.20");
    put_item_end(&b);
    put_item(&b, 0);
    put_sequence_end(&b);
    put_header(&b, 0x00081115, "SQ", 0);
    json_t *json = json_of(&b);
    KF_REQUIRE(json);
    KF_CHECK(
        is(json, "00081110", "{\"vr\":\"SQ\",\"Value\":[{\"00081150\":{\"vr\":\"UI\",\"Value\":[\"1.20\"]}},{}]}"));
    KF_CHECK(is(json, "00081115", "{\"vr\":\"SQ\"}"));
    json_decref(json);
    kf_str_release(&b.out);
}

KF_TEST(text_becomes_utf8)
{
    static const struct {
        const char *charset, *name, *expected;
    } cases[] = {
        {"", "M\xFCller", "M\\u00FCller"},
        {"ISO_IR 100", "M\xFCller", "M\\u00FCller"},
        {"ISO_IR 192", "M\xC3\xBCller", "M\\u00FCller"},
        {"ISO_IR 192", "M\xFFller", "M\\uFFFDller"},
        {"ISO_IR 144", "\xBB\xEE\xDA", "\\u041B\\u044E\\u043A"},
        {"GB18030", "\xCD\xF5", "\\u738B"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dicom_bytes b = {0};
        char expected[200];
        put_ct(&b, cases[i].charset);
        put_text(&b, 0x00100010, "PN", cases[i].name);
        json_t *json = json_of(&b);
        KF_REQUIRE(json);
        snprintf(expected, sizeof expected, "{\"vr\":\"PN\",\"Value\":[{\"Alphabetic\":\"%s\"}]}", cases[i].expected);
        KF_CHECK(is(json, "00100010", expected));
        KF_CHECK(is(json, "00080005", "{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]}") || !*cases[i].charset);
        json_decref(json);
        kf_str_release(&b.out);
    }
}

// The examples of PS3.5 annex H, and what a hostile sender may make of them.
KF_TEST(japanese_names_become_utf8)
{
    static const struct {
        const char *charset, *name, *expected;
    } cases[] = {
        {"\\ISO 2022 IR 87",
         "Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B",
         "{\"Alphabetic\":\"Yamada^Tarou\",\"Ideographic\":\"\\u5C71\\u7530^\\u592A\\u90CE\","
         "\"Phonetic\":\"\\u3084\\u307E\\u3060^\\u305F\\u308D\\u3046\"}"},
        {"ISO 2022 IR 13\\ISO 2022 IR 87",
         "\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J=\x1B$B$d$^$@\x1B(J^\x1B$B$?$m$&\x1B(J",
         "{\"Alphabetic\":\"\\uFF94\\uFF8F\\uFF80\\uFF9E^\\uFF80\\uFF9B\\uFF73\",\"Ideographic\":\"\\u5C71\\u7530^"
         "\\u592A\\u90CE\",\"Phonetic\":\"\\u3084\\u307E\\u3060^\\u305F\\u308D\\u3046\"}"},
        // Characters with the bytes of = (0x3D), ^ (0x5E) and the backslash (0x5C) in them part nothing; JIS X 0212.
        {"\\ISO 2022 IR 87", "A=\x1B$B=U\x5E\x5C\x3B\x5C\x1B(B",
         "{\"Alphabetic\":\"A\",\"Ideographic\":\"\\u6625\\u6E43\\u65BD\"}"},
        {"\\ISO 2022 IR 159", "A=\x1B$(D\x30\x21\x1B(B", "{\"Alphabetic\":\"A\",\"Ideographic\":\"\\u4E02\"}"},
        {"\\ISO 2022 IR 87", "A\x1B$B\x7E\x7E\x21", "{\"Alphabetic\":\"A\\uFFFD!\"}"}, // no such character, half a one
        {"\\ISO 2022 IR 87", "A\x1B$Q\xFE" "B", "{\"Alphabetic\":\"A\\uFFFD$Q\\uFFFDB\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dicom_bytes b = {0};
        char expected[400];
        put_ct(&b, cases[i].charset);
        put_header(&b, 0x00081110, "SQ", UNDEFINED_LENGTH);
        put_item(&b, UNDEFINED_LENGTH);
        put_text(&b, 0x00081030, "LO", "\x1B$BF,\x1B(B\\CT");
        put_item_end(&b);
        for (int own = 0; own < 2; own++) { // in UTF-8; and what is nobody's katakana
            put_item(&b, UNDEFINED_LENGTH);
            put_text(&b, 0x00080005, "CS", own ? "ISO_IR 144" : "ISO_IR 192");
            put_text(&b, 0x00081030, "LO", own ? "\xBB\xEE" : "\xE9\xA0\xAD");
            put_item_end(&b);
        }
        put_sequence_end(&b);
        put_text(&b, 0x00100010, "PN", cases[i].name);
        json_t *json = json_of(&b);
        KF_REQUIRE(json);
        snprintf(expected, sizeof expected, "{\"vr\":\"PN\",\"Value\":[%s]}", cases[i].expected);
        KF_CHECK(is(json, "00100010", expected));
        KF_CHECK(is(json, "00081110",
                    "{\"vr\":\"SQ\",\"Value\":[{\"00081030\":{\"vr\":\"LO\",\"Value\":[\"\\u982D\",\"CT\"]}},"
                    "{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]},"
                    "\"00081030\":{\"vr\":\"LO\",\"Value\":[\"\\u982D\"]}},"
                    "{\"00080005\":{\"vr\":\"CS\",\"Value\":[\"ISO_IR 192\"]},"
                    "\"00081030\":{\"vr\":\"LO\",\"Value\":[\"\\uFFFD\\uFFFD\"]}}]}"));
        json_decref(json);
        kf_str_release(&b.out);
    }
}

// 0: text of another character set than the rest of this test needs comes out right, where no code can be loaded.
static int text_in_a_sandbox(void)
{
    static const struct {
        const char *charset, *name, *expected;
    } cases[] = {
        {"ISO_IR 126", "\xC1\xE8\xDE\xED\xE1", "\\u0391\\u03B8\\u03AE\\u03BD\\u03B1"},
        {"ISO_IR 166", "\xA1\xA2", "\\u0E01\\u0E02"},
        {"\\ISO 2022 IR 149", "\x1B$)C\xB1\xE8", "\\uAE40"},
        {"\\ISO 2022 IR 87", "\x1B$B;3ED\x1B(B", "\\u5C71\\u7530"},
    };
    struct kf_error err;
    if (kf_sandbox_enter_client(&err))
        return 99;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dicom_bytes b = {0};
        char expected[200];
        put_ct(&b, cases[i].charset);
        put_text(&b, 0x00100010, "PN", cases[i].name);
        json_t *json = json_of(&b);
        snprintf(expected, sizeof expected, "{\"vr\":\"PN\",\"Value\":[{\"Alphabetic\":\"%s\"}]}", cases[i].expected);
        int same = json && is(json, "00100010", expected);
        json_decref(json);
        kf_str_release(&b.out);
        if (!same)
            return (int)i + 1;
    }
    return 0;
}

KF_TEST(text_becomes_utf8_in_a_sandbox_too)
{
    struct kf_error err;
    int status = -1;
    KF_REQUIRE(kf_dicom_init(&err) == KF_OK);
    pid_t child = fork();
    if (child == 0)
        _exit(text_in_a_sandbox());
    KF_REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
    KF_CHECK_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
}

KF_TEST(bulk_keeps_only_its_vr)
{
    struct dicom_bytes b = {0};
    char *big = calloc(1, 200000);
    put_meta(&b, "1.2.840.10008.1.2.1");
    put_identity(&b);
    put_bytes(&b, 0x00420011, "OB", big, 1025);   // over the limit, in the header
    put_bytes(&b, 0x00420020, "OB", big, 200000); // left in the file
    put_text(&b, 0x00420021, "LO", "after");
    put_bytes(&b, 0x7FE00010, "OW", big, 512);
    free(big);
    json_t *json = json_of(&b);
    KF_REQUIRE(json);
    KF_CHECK(is(json, "00420011", "{\"vr\":\"OB\"}"));
    KF_CHECK(is(json, "00420020", "{\"vr\":\"OB\"}"));
    KF_CHECK(is(json, "00420021", "{\"vr\":\"LO\",\"Value\":[\"after\"]}"));
    KF_CHECK(is(json, "7FE00010", "{\"vr\":\"OW\"}"));
    json_decref(json);
    kf_str_release(&b.out);
}

KF_TEST(keys_come_in_tag_order_and_deflate_agrees)
{
    struct dicom_bytes b = {.implicit = 1};
    struct kf_dicom *d;
    struct kf_str plain = {0}, packed = {0};
    put_meta(&b, "1.2.840.10008.1.2");
    put_identity(&b);
    KF_REQUIRE(kf_dicom_open_memory(b.out.data, b.out.length, NULL, &d, NULL) == KF_OK);
    KF_REQUIRE(kf_dicom_json(d, &plain, NULL) == KF_OK && kf_dicom_json_deflated(d, &packed, NULL) == KF_OK);
    const char *last = "";
    for (const char *at = plain.data; (at = strstr(at, "\"vr\"")); at++) {
        const char *key = at - 10; // 00080016":{
        KF_CHECK(!*last || strncmp(last, key, 8) < 0);
        last = key;
    }
    z_stream z = {0};
    char back[8192];
    KF_REQUIRE(inflateInit2(&z, -MAX_WBITS) == Z_OK);
    z.next_in = (unsigned char *)packed.data;
    z.avail_in = (uInt)packed.length;
    z.next_out = (unsigned char *)back;
    z.avail_out = sizeof back;
    KF_CHECK_EQ(inflate(&z, Z_FINISH), Z_STREAM_END);
    KF_CHECK(z.total_out == plain.length && memcmp(back, plain.data, plain.length) == 0);
    inflateEnd(&z);
    kf_dicom_free(d);
    kf_str_release(&plain);
    kf_str_release(&packed);
    kf_str_release(&b.out);
}

KF_TEST_MAIN(KF_RUN(text_becomes_utf8_in_a_sandbox_too); KF_RUN(values_by_vr); KF_RUN(sequences_nest);
             KF_RUN(text_becomes_utf8); KF_RUN(japanese_names_become_utf8); KF_RUN(bulk_keeps_only_its_vr);
             KF_RUN(keys_come_in_tag_order_and_deflate_agrees);)
