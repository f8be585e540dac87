// Whatever text a client sends: the checks of server/domain, the body reader and the JSON writer must neither crash nor
// contradict each other.
#include "server/base/json.h"
#include "server/base/log.h"
#include "server/domain/signin.h"
#include "server/domain/text.h"
#include "server/http/body.h"
#include "server/http/json_out.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kf_http *http;

static enum kf_status handler(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    const char *text = NULL;
    int64_t number = 0, when = 0;
    int flag = 0;
    json_t *list = NULL, *object = NULL, *root = NULL;
    const struct kf_member members[] = {
        {.name = "a", .type = KF_MEMBER_TEXT, .least = 1, .most = 20, .to = &text},
        {.name = "b", .type = KF_MEMBER_INT, .least = -5, .most = 5, .to = &number},
        {.name = "c", .type = KF_MEMBER_FLAG, .to = &flag},
        {.name = "d", .type = KF_MEMBER_ARRAY, .least = 0, .most = 3, .to = &list},
        {.name = "e", .type = KF_MEMBER_OBJECT, .nullable = 1, .to = &object},
        {.name = "f", .type = KF_MEMBER_TIME, .nullable = 1, .most = 40, .to = &when},
    };
    enum kf_status status = kf_body_read(request, members, sizeof members / sizeof *members, &root, err);
    if (status == KF_OK && (number < -5 || number > 5 || (text && (strlen(text) < 1 || strlen(text) > 20))))
        abort();
    json_decref(root);
    response->status = 204;
    return status;
}

static void check_body(const uint8_t *data, size_t size)
{
    static const char *const headers[] = {"Content-Type", "application/json", NULL};
    if (!http) {
        static const struct kf_route table[] = {{KF_POST, "/x", 0, KF_ROUTE_NO_AUTH, 1 << 20, handler, NULL}, {0}};
        static const struct kf_route *const tables[] = {table, NULL};
        struct kf_http_config config = {.tables = tables};
        kf_log_init("fuzz", KF_LOG_ERROR);
        if (kf_http_new(&config, &http, NULL) != KF_OK)
            abort();
    }
    struct kf_exchange *exchange = kf_http_dispatch(http, NULL, "POST", "/x", headers, data, size);
    int status = exchange->response.status;
    if (status != 204 && status != 400)
        abort();
    kf_exchange_free(exchange, 0, 1);
}

// What is written is JSON; a text that the rules take comes back as it was.
static void check_writer(const char *text)
{
    struct kf_out out = {0};
    json_t *back = NULL;
    kf_out_text(&out, NULL, text);
    if (kf_json_parse(kf_str_text(&out.text), out.text.length, &back, NULL) != KF_OK)
        abort();
    if (kf_text_characters(text, strlen(text)) >= 0 && strcmp(json_string_value(back), text) != 0)
        abort();
    json_decref(back);
    kf_str_release(&out.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    check_writer(text);
    if (kf_text_line_check(text, 0, 1000000, NULL) == KF_OK && kf_text_characters(text, strlen(text)) < 0)
        abort();
    if (kf_login_check(text, NULL) == KF_OK && strlen(text) > 200)
        abort();
    if (kf_ae_title_check(text, NULL) == KF_OK && strlen(text) > 16)
        abort();
    if (kf_uid_valid(text) && (strlen(text) > 64 || strstr(text, "..")))
        abort();
    (void)kf_password_check(text, "login", NULL);
    (void)kf_time_parse(text);
    check_body(data, size);
    free(text);
    return 0;
}
