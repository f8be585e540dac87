// Reading request bodies against a table: every fault is found, named by its pointer, and nothing is taken on trust.
#include "server/base/log.h"
#include "server/base/test.h"
#include "server/http/body.h"
#include "server/http/http.h"

static const char *name;
static int64_t number, when;
static int flag, name_there, when_there;

static enum kf_status handler(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    const struct kf_member members[] = {
        {.name = "name",
         .type = KF_MEMBER_TEXT,
         .required = 1,
         .least = 1,
         .most = 5,
         .to = &name,
         .present = &name_there},
        {.name = "number", .type = KF_MEMBER_INT, .least = -2, .most = 9, .to = &number},
        {.name = "flag", .type = KF_MEMBER_FLAG, .to = &flag},
        {.name = "when", .type = KF_MEMBER_TIME, .nullable = 1, .most = 40, .to = &when, .present = &when_there},
    };
    name = NULL;
    number = when = -1;
    flag = name_there = when_there = 0;
    enum kf_status status = kf_body_read(request, members, sizeof members / sizeof *members, NULL, err);
    response->status = 204;
    return status;
}

static struct kf_http *http;

// The status; the pointers of the problem, parted by spaces, go to `pointers`.
static int post(const char *body, const char *type, char pointers[400])
{
    const char *const headers[] = {"Content-Type", type, NULL};
    struct kf_exchange *exchange = kf_http_dispatch(http, NULL, "POST", "/x", headers, body, strlen(body));
    json_t *problem = NULL, *item;
    size_t i;
    int status = exchange->response.status;
    pointers[0] = 0;
    if (status != 204 && exchange->response.kind == KF_BODY_BYTES &&
        kf_json_parse(exchange->response.bytes, (size_t)exchange->response.length, &problem, NULL) == KF_OK) {
        json_array_foreach(json_object_get(problem, "errors"), i, item)
        {
            size_t length = strlen(pointers);
            snprintf(pointers + length, 400 - length, "%s%s", length ? " " : "", kf_json_text(item, "pointer", "?"));
        }
    }
    json_decref(problem);
    kf_exchange_free(exchange, 0, 1);
    return status;
}

#define JSON "application/json"

KF_TEST(good_bodies_are_taken)
{
    char pointers[400];
    KF_CHECK_EQ(post("{\"name\":\"abc\"}", JSON, pointers), 204);
    KF_CHECK_EQ(name_there, 1);
    KF_CHECK_EQ(when_there, 0);
    KF_CHECK_EQ(
        post(" {\"when\":null,\"flag\":true,\"number\":-2,\"name\":\"\\u00e4\"} ", JSON "; charset=utf-8", pointers),
        204);
    KF_CHECK_EQ(flag, 1);
    KF_CHECK_EQ(number, -2);
    KF_CHECK_EQ(when_there, 1);
    KF_CHECK_EQ(when, -1);
    KF_CHECK_EQ(post("{\"name\":\"a\",\"when\":\"2026-11-21T07:28:56.123+01:00\"}", JSON, pointers), 204);
    KF_CHECK_EQ(when, 1795242536123);
}

KF_TEST(every_fault_is_named)
{
    char pointers[400];
    KF_CHECK_EQ(post("{}", JSON, pointers), 400);
    KF_CHECK_STR(pointers, "/name");
    KF_CHECK_EQ(post("{\"name\":\"toolong\",\"number\":10,\"flag\":1,\"when\":\"soon\",\"a/b~c\":1}", JSON, pointers),
                400);
    KF_CHECK(strstr(pointers, "/name") && strstr(pointers, "/number") && strstr(pointers, "/flag") &&
             strstr(pointers, "/when") && strstr(pointers, "/a~1b~0c"));
    KF_CHECK_EQ(post("{\"name\":null}", JSON, pointers), 400);
    KF_CHECK_EQ(post("{\"name\":\"\"}", JSON, pointers), 400);
    KF_CHECK_EQ(post("{\"name\":\"a\\u0000b\"}", JSON, pointers), 400);
    KF_CHECK_EQ(post("{\"name\":\"a\",\"number\":1.5}", JSON, pointers), 400);
    KF_CHECK_EQ(post("{\"name\":\"a\",\"number\":\"1\"}", JSON, pointers), 400);
    KF_CHECK_EQ(post("{\"name\":\"a\",\"number\":99999999999999999999999}", JSON, pointers), 400);
}

KF_TEST(what_is_no_json_object_is_refused)
{
    char pointers[400];
    static const char *const bad[] = {"",
                                      "[]",
                                      "null",
                                      "7",
                                      "\"name\"",
                                      "{\"name\":\"a\"",
                                      "{\"name\":\"a\"}x",
                                      "{\"name\":\"a\",\"name\":\"b\"}",
                                      "{\"name\":\"\xFF\"}",
                                      "{'name':'a'}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        KF_CHECK_EQ(post(bad[i], JSON, pointers), 400);
    KF_CHECK_EQ(post("name=a", "application/x-www-form-urlencoded", pointers), 415);
    KF_CHECK_EQ(post("{\"name\":\"a\"}", "text/plain", pointers), 415); // a form of another site could send that
}

KF_TEST(times_are_checked_to_the_last_digit)
{
    KF_CHECK_EQ(kf_time_parse("1970-01-01T00:00:01Z"), 1000);
    KF_CHECK_EQ(kf_time_parse("2024-02-29T23:59:59.999999Z"), 1709251199999);
    KF_CHECK_EQ(kf_time_parse("2024-02-29T23:59:59.9-00:30"), 1709252999900);
    static const char *const bad[] = {
        "2023-02-29T00:00:00Z",  "2024-13-01T00:00:00Z",   "2024-01-01T24:00:00Z",      "2024-01-01",
        "2024-01-01T00:00:00",   "2024-01-01T00:00:00z+1", "2024-01-01T00:00:00+1:00",  "",
        "2024-01-01T00:00:00.Z", "24-01-01T00:00:00Z",     "2024-01-01T00:00:00+24:00", "2024-01-01 00:00:00Z",
        "+024-01-01T00:00:00Z",  "2024-01-01T00:00:00Z "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (kf_time_parse(bad[i]) != 0)
            fprintf(stderr, "taken: %s\n", bad[i]);
        KF_CHECK_EQ(kf_time_parse(bad[i]), 0);
    }
}

int main(void)
{
    kf_log_init("test", KF_LOG_ERROR);
    static const struct kf_route table[] = {{KF_POST, "/x", 0, KF_ROUTE_NO_AUTH, 4096, handler, NULL}, {0}};
    static const struct kf_route *const tables[] = {table, NULL};
    struct kf_http_config config = {.tables = tables};
    if (kf_http_new(&config, &http, NULL) != KF_OK)
        return 1;
    KF_RUN(good_bodies_are_taken);
    KF_RUN(every_fault_is_named);
    KF_RUN(what_is_no_json_object_is_refused);
    KF_RUN(times_are_checked_to_the_last_digit);
    kf_http_free(http);
    return kf_test_failures ? 1 : 0;
}
