#include "server/base/json.h"
#include "server/base/test.h"
#include <sys/stat.h>
#include <unistd.h>

static char *canonical_of(const char *text)
{
    json_t *value;
    struct kf_error err;
    if (kf_json_parse(text, strlen(text), &value, &err))
        return NULL;
    char *bytes = kf_json_canonical(value);
    json_decref(value);
    return bytes;
}

KF_TEST(canonical_sorts_and_shortens)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"{ \"b\" : 1, \"a\" : [ true , false, null ] }", "{\"a\":[true,false,null],\"b\":1}"},
        {"{\"x\":0.1,\"y\":1.0,\"z\":1e3}", "{\"x\":0.1,\"y\":1,\"z\":1000}"},
        {"{\"x\":1e-7,\"y\":0.30000000000000004}", "{\"x\":1e-07,\"y\":0.30000000000000004}"},
        {"\"a\\u0001\\n\\\"\\\\\\/\\u00e9\"", "\"a\\u0001\\n\\\"\\\\/\xc3\xa9\""},
        {"-0.0", "0"},
        {"9007199254740993", "9007199254740993"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *bytes = canonical_of(rows[i].in);
        KF_CHECK_STR(bytes, rows[i].out);
        char *again = bytes ? canonical_of(bytes) : NULL;
        KF_CHECK_STR(again, rows[i].out);
        free(bytes);
        free(again);
    }
}

KF_TEST(strangers_json_is_limited)
{
    json_t *value;
    struct kf_error err;
    char deep[200] = "";
    for (int i = 0; i < 33; i++)
        strcat(deep, "[");
    for (int i = 0; i < 33; i++)
        strcat(deep, "]");
    KF_CHECK_EQ(kf_json_parse(deep, strlen(deep), &value, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "json_too_deep");
    KF_CHECK(value == NULL);
    KF_CHECK_EQ(kf_json_parse(deep + 1, strlen(deep) - 2, &value, &err), KF_OK);
    json_decref(value);
    KF_CHECK_EQ(kf_json_parse("{\"a\":1,\"a\":2}", 13, &value, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "json_duplicate_key");
    const char *secret = "{\"password\": \"hunter2\" oops}";
    KF_CHECK_EQ(kf_json_parse(secret, strlen(secret), &value, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "json_syntax");
    KF_CHECK(!strstr(err.detail, "hunter2") && !strstr(err.detail, "oops"));
    KF_CHECK_EQ(kf_json_parse("\"\\u0000\"", 8, &value, &err), KF_INVALID);
    KF_CHECK_EQ(kf_json_parse("", 0, &value, &err), KF_INVALID);
    // A bracket inside a string is no level.
    const char *quoted = "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"]";
    KF_CHECK_EQ(kf_json_parse(quoted, strlen(quoted), &value, &err), KF_OK);
    json_decref(value);
}

KF_TEST(members_fall_back_by_type)
{
    json_t *value = json_pack("{s:s, s:i, s:f, s:b}", "t", "x", "i", 3, "d", 2.5, "f", 1);
    KF_CHECK_STR(kf_json_text(value, "t", "o"), "x");
    KF_CHECK_STR(kf_json_text(value, "i", "o"), "o");
    KF_CHECK_EQ(kf_json_integer(value, "i", 9), 3);
    KF_CHECK_EQ(kf_json_integer(value, "d", 9), 9);
    KF_CHECK_NEAR(kf_json_number(value, "i", 9), 3, 0);
    KF_CHECK_EQ(kf_json_flag(value, "f", 0), 1);
    KF_CHECK_EQ(kf_json_flag(value, "t", 7), 7);
    json_decref(value);
}

KF_TEST(save_replaces_whole_or_not_at_all)
{
    char folder[] = "/tmp/kerf-json-XXXXXX", path[64];
    KF_REQUIRE(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.json", folder);
    json_t *value = json_pack("{s:f}", "a", 0.1), *back;
    struct kf_error err;
    KF_CHECK_EQ(kf_json_save(path, value, &err), KF_OK);
    KF_CHECK_EQ(kf_json_save(path, value, &err), KF_OK);
    KF_REQUIRE(kf_json_load(path, &back, &err) == KF_OK);
    KF_CHECK(json_equal(value, back));
    json_decref(back);
    KF_CHECK_EQ(kf_json_save("/nonexistent/x.json", value, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_json_load("/nonexistent/x.json", &back, &err), KF_NOT_FOUND);
    json_decref(value);
    unlink(path);
    KF_CHECK_EQ(rmdir(folder), 0); // no temporary file stays
}

KF_TEST(a_file_of_any_size_is_not_taken_into_memory)
{
    char path[] = "/tmp/kerf-json-XXXXXX";
    json_t *back;
    struct kf_error err;
    int fd = mkstemp(path);
    KF_REQUIRE(fd >= 0 && ftruncate(fd, (off_t)1 << 30) == 0);
    KF_CHECK_EQ(kf_json_load(path, &back, &err), KF_TOO_LARGE);
    KF_CHECK(back == NULL);
    close(fd);
    unlink(path);
}

KF_TEST_MAIN(KF_RUN(a_file_of_any_size_is_not_taken_into_memory);
             KF_RUN(canonical_sorts_and_shortens); KF_RUN(strangers_json_is_limited);
             KF_RUN(members_fall_back_by_type); KF_RUN(save_replaces_whole_or_not_at_all);)
