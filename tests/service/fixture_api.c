#include "tests/service/fixture_api.h"

#include "server/app/session.h"
#include "server/app/work.h"
#include "server/base/config.h"
#include "server/base/crypto/password.h"
#include "server/base/hash.h"
#include "server/base/log.h"
#include "server/base/str.h"
#include "server/base/test.h"
#include "server/http/routes.h"
#include "server/store/blob.h"

static struct kf_app *app;
static struct kf_routes *routes;
static struct kf_http *http;
static void *thread;
const char *ours, *theirs;

void answer_free(struct answer *answer)
{
    json_decref(answer->body);
    memset(answer, 0, sizeof *answer);
}

static void keep(char *to, size_t size, const struct kf_exchange *exchange, const char *name)
{
    const char *value = kf_exchange_response_header(exchange, name);
    snprintf(to, size, "%s", value ? value : "");
}

struct answer call_with(const struct client *client, const char *method, const char *target, const char *body,
                        const char *name, const char *value)
{
    const char *headers[20];
    char bearer[120];
    int n = 0;
    if (client->cookie[0]) {
        headers[n++] = "Cookie";
        headers[n++] = client->cookie;
    }
    if (client->csrf[0]) {
        headers[n++] = "X-CSRF-Token";
        headers[n++] = client->csrf;
    }
    if (client->bearer[0]) {
        snprintf(bearer, sizeof bearer, "Bearer %s", client->bearer);
        headers[n++] = "Authorization";
        headers[n++] = bearer;
    }
    if (body) {
        headers[n++] = "Content-Type";
        headers[n++] = "application/json";
    }
    if (name) {
        headers[n++] = name;
        headers[n++] = value;
    }
    headers[n] = NULL;
    struct kf_exchange *exchange =
        kf_http_dispatch(http, thread, method, target, headers, body, body ? strlen(body) : 0);
    struct answer answer = {.status = exchange->response.status};
    keep(answer.etag, sizeof answer.etag, exchange, "ETag");
    keep(answer.cookie, sizeof answer.cookie, exchange, "Set-Cookie");
    keep(answer.retry_after, sizeof answer.retry_after, exchange, "Retry-After");
    keep(answer.location, sizeof answer.location, exchange, "Location");
    snprintf(answer.type, sizeof answer.type, "%s",
             exchange->response.content_type ? exchange->response.content_type : "");
    if (exchange->response.kind == KF_BODY_BYTES && exchange->response.length > 0) {
        snprintf(answer.raw, sizeof answer.raw, "%.*s", (int)exchange->response.length,
                 (const char *)exchange->response.bytes);
        if (strstr(answer.type, "json"))
            KF_CHECK(kf_json_parse(exchange->response.bytes, (size_t)exchange->response.length, &answer.body, NULL) ==
                     KF_OK);
    }
    kf_exchange_free(exchange, 0, 1);
    return answer;
}

struct answer call(const struct client *client, const char *method, const char *target, const char *body)
{
    return call_with(client, method, target, body, NULL, NULL);
}

const char *code_of(const struct answer *answer)
{
    return kf_json_text(answer->body, "code", "");
}

int sign_in(struct client *client, const char *login, const char *password)
{
    char body[600];
    memset(client, 0, sizeof *client);
    snprintf(body, sizeof body, "{\"login\":\"%s\",\"password\":\"%s\"}", login, password);
    struct answer got = call(client, "POST", "/api/v1/session", body);
    snprintf(client->cookie, sizeof client->cookie, "%.*s", (int)strcspn(got.cookie, ";"), got.cookie);
    snprintf(client->csrf, sizeof client->csrf, "%s", kf_json_text(got.body, "csrf_token", ""));
    int status = got.status;
    answer_free(&got);
    return status;
}

void make_account(const char *organisation, const char *login, const char *role, int must_change)
{
    char encoded[KF_PASSWORD_ENCODED], id[KF_ID_TEXT];
    struct kf_error err = {0};
    struct kf_account_new account = {
        .login = login, .display_name = login, .role = role, .password_hash = encoded, .must_change = must_change};
    KF_REQUIRE(kf_password_hash(PASSWORD, encoded, &err) == KF_OK);
    KF_CHECK(kf_store_account_add(fixture_app(), organisation, &account, id, &err) == KF_OK);
}

struct kf_instance_stored receive(const char *organisation, const char *patient, const char *uid, const char *bytes)
{
    struct kf_instance_stored stored = {0};
    struct kf_error err = {0};
    char study[80], series[80];
    snprintf(study, sizeof study, "1.2.%s", uid);
    snprintf(series, sizeof series, "1.3.%s", uid);
    struct kf_instance_new row = {.patient_id = patient,
                                  .patient_name = patient,
                                  .birth_date = "19700101",
                                  .sex = "F",
                                  .study_uid = study,
                                  .study_date = "20260101",
                                  .series_uid = series,
                                  .modality = "CT",
                                  .sop_uid = uid,
                                  .sop_class = "1.2.840.10008.5.1.4.1.1.2",
                                  .transfer_syntax = "1.2.840.10008.1.2.1",
                                  .dicom_json = "x",
                                  .dicom_json_bytes = 1,
                                  .frame_offsets = "",
                                  .source = "upload",
                                  .bytes = (int64_t)strlen(bytes),
                                  .container = "c/1",
                                  .has_instance_number = 1,
                                  .instance_number = 3};
    kf_sha256(bytes, strlen(bytes), row.blob_sha256);
    kf_sha256(bytes, strlen(bytes), row.content_sha256);
    enum kf_status status = kf_store_instance_receive(fixture_app(), organisation, &row, &stored, &err);
    if (status != KF_OK)
        fprintf(stderr, "receive: %s %s\n", err.code, err.detail);
    KF_CHECK(status == KF_OK);
    return stored;
}

json_int_t found(const struct client *client, const char *target)
{
    struct answer got = call(client, "GET", target, NULL);
    KF_CHECK_EQ(got.status, 200);
    json_int_t count = (json_int_t)json_array_size(json_object_get(got.body, "items"));
    answer_free(&got);
    return count;
}

static void blob_of(const char *organisation, const char *bytes, char hex[65], struct kf_blob_written *written)
{
    struct kf_blob_writer *writer;
    struct kf_error err = {0};
    KF_REQUIRE(kf_blob_writer_open(kf_app_blobs(app), organisation, &writer, &err) == KF_OK);
    KF_CHECK(kf_blob_writer_add(writer, bytes, strlen(bytes), &err) == KF_OK);
    KF_CHECK(kf_blob_writer_sync(writer, NULL, written, &err) == KF_OK);
    kf_blob_writer_close(writer);
    kf_hex_encode(hex, written->sha256, 32);
}

const char *make_volume(const char *case_id, const char *series_id, char hex[65])
{
    static char id[KF_ID_TEXT];
    struct kf_blob_written written;
    struct kf_claim claim;
    struct kf_error err = {0};
    KF_CHECK(kf_app_series_received(fixture_app(), ours, series_id, &err) == KF_OK);
    blob_of(ours, "volume bytes, volume bytes", hex, &written);
    for (;;) {
        if (kf_queue_claim(fixture_app(), "import", "test", 60, &claim, &err) != KF_OK) {
            KF_CHECK(!"no import to claim");
            return "";
        }
        int mine = strcmp(claim.job.case_id, case_id) == 0;
        json_t *meta = json_pack("{s:s, s:{s:[i, i, i]}}", "modality", "CT", "grid", "dim", 5, 6, 7);
        struct kf_queue_output output = {.name = "volume.0",
                                         .kind = "volume",
                                         .media_type = "application/x-nifti",
                                         .bytes = written.bytes,
                                         .container = written.container,
                                         .meta = meta};
        memcpy(output.sha256, written.sha256, 32);
        enum kf_status status = kf_queue_finish(fixture_app(), &claim.job, &output, 1, NULL, &err);
        if (status != KF_OK)
            fprintf(stderr, "finish: %s %s\n", err.code, err.detail);
        KF_CHECK(status == KF_OK);
        json_decref(meta);
        kf_claim_release(&claim);
        if (mine)
            break;
    }
    char sql[300];
    snprintf(sql, sizeof sql, "SELECT id FROM kerf.artefact WHERE case_id = '%s' AND kind = 'volume'", case_id);
    snprintf(id, sizeof id, "%s", fixture_sql(sql));
    return id;
}

int api_start(void)
{
    struct kf_error err = {0};
    struct kf_app_config config;
    char blobs[300], scratch[300];
    static const struct kf_route *tables[] = {kf_route_table, NULL};
    kf_log_init("test", KF_LOG_ERROR);
    if (kf_config_load(fixture_folder(), &err) != KF_OK || kf_config_set("KERF_LOGIN_PER_MINUTE", "400", &err) != KF_OK)
        return 0;
    kf_app_config_read(&config);
    snprintf(blobs, sizeof blobs, "%s/blobs", fixture_folder());
    snprintf(scratch, sizeof scratch, "%s/scratch", fixture_folder());
    config.database_url = fixture_server_url();
    config.blob_location = blobs;
    config.scratch = scratch;
    if (kf_app_new(&config, &app, &err) != KF_OK || kf_routes_new(app, &routes, &err) != KF_OK)
        return 0;
    struct kf_http_config web = {.tables = tables,
                                 .app = routes,
                                 .thread_init = kf_routes_thread_init,
                                 .thread_exit = kf_routes_thread_exit,
                                 .authenticate = kf_routes_authenticate,
                                 .permitted = kf_routes_permitted,
                                 .idempotent_begin = kf_routes_idempotent_begin,
                                 .idempotent_end = kf_routes_idempotent_end};
    if (kf_http_new(&web, &http, &err) != KF_OK)
        return 0;
    thread = kf_routes_thread_init(routes);
    ours = fixture_organisation("Ours");
    theirs = fixture_organisation("Theirs");
    static const char *const roles[] = {"admin", "technician", "planner", "surgeon", "viewer"};
    for (size_t i = 0; i < 5; i++)
        make_account(ours, roles[i], roles[i], 0);
    make_account(ours, "lockme", "viewer", 0);
    make_account(ours, "fresh", "planner", 1);
    make_account(theirs, "stranger", "admin", 0);
    return thread != NULL;
}

void api_stop(void)
{
    kf_routes_thread_exit(routes, thread);
    kf_http_free(http);
    kf_routes_free(routes);
    kf_app_free(app);
    fixture_stop();
}
