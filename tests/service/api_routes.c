// The API over the dispatcher, in process, on a real PostgreSQL: signing in, locking out, CSRF, one-time passwords, the
// walls between organisations, search and paging, conditional changes. Jobs and blobs: api_jobs.c.
#include "server/base/hash.h"
#include "server/base/str.h"
#include "server/base/test.h"
#include "server/domain/signin.h"
#include "tests/service/fixture_api.h"

// ---------------------------------------------------------------------------------------------------- signing in
KF_TEST(signing_in_gives_a_guarded_cookie)
{
    struct client nobody = {0}, planner;
    EXPECT(&nobody, "GET", "/api/v1/session", NULL, 401, "unauthenticated");
    struct answer got =
        call(&nobody, "POST", "/api/v1/session", "{\"login\":\"planner\",\"password\":\"" PASSWORD "\"}");
    KF_CHECK_EQ(got.status, 200);
    KF_CHECK(strstr(got.cookie, "HttpOnly") && strstr(got.cookie, "SameSite=Strict") && !strstr(got.cookie, "Secure"));
    KF_CHECK_STR(kf_json_text(json_object_get(got.body, "account"), "role", ""), "planner");
    KF_CHECK_STR(kf_json_text(json_object_get(got.body, "organisation"), "id", ""), ours);
    answer_free(&got);
    KF_CHECK_EQ(sign_in(&planner, "Planner", PASSWORD), 200); // logins know no case
    EXPECT(&planner, "GET", "/api/v1/session", NULL, 200, "");
    EXPECT(&planner, "DELETE", "/api/v1/session", NULL, 204, "");
    EXPECT(&planner, "GET", "/api/v1/session", NULL, 401, "unauthenticated");
}

KF_TEST(wrong_credentials_tell_nothing)
{
    struct client nobody = {0};
    static const char *const bodies[] = {"{\"login\":\"planner\",\"password\":\"wrong\"}",
                                         "{\"login\":\"nobody.at.all\",\"password\":\"wrong\"}",
                                         "{\"login\":\"' OR 1=1 --\",\"password\":\"wrong\"}",
                                         "{\"login\":\"\xE5\xB0\xB1\",\"password\":\"\xF0\x9F\xA6\xB4\"}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        EXPECT(&nobody, "POST", "/api/v1/session", bodies[i], 401, "invalid_credentials");
    EXPECT(&nobody, "POST", "/api/v1/session", "{\"login\":\"planner\"}", 400, "invalid_body");
    EXPECT(&nobody, "POST", "/api/v1/session", "{\"login\":\"a\",\"password\":\"b\",\"x\":1}", 400, "invalid_body");
    EXPECT(&nobody, "POST", "/api/v1/session", "{\"login\":\"a\",\"login\":\"b\",\"password\":\"b\"}", 400,
           "invalid_json");
    EXPECT(&nobody, "POST", "/api/v1/session", "[]", 400, "invalid_body");
}

// Real and invented logins lock alike, at the same failure, and a right password does not open a lock.
KF_TEST(failures_lock_the_account)
{
    struct client client;
    static const char *const logins[] = {"lockme", "lock.nobody"};
    for (int i = 0; i < 2; i++) {
        for (int failure = 0; failure < 5; failure++)
            KF_CHECK_EQ(sign_in(&client, logins[i], "wrong wrong wrong"), 401);
        char body[200];
        snprintf(body, sizeof body, "{\"login\":\"%s\",\"password\":\"" PASSWORD "\"}", logins[i]);
        memset(&client, 0, sizeof client);
        struct answer got = call(&client, "POST", "/api/v1/session", body);
        KF_CHECK_EQ(got.status, 429);
        KF_CHECK_STR(code_of(&got), "account_locked");
        KF_CHECK(atoi(got.retry_after) >= 25 && atoi(got.retry_after) <= 31);
        answer_free(&got);
    }
    static const struct kf_lockout_rule rule = {.attempts = 5, .base_s = 30, .most_s = 3600};
    double expected = kf_lockout_s(&rule, 5);
    double there = atof(fixture_sql("SELECT extract(epoch FROM locked_until - now()) FROM kerf.account "
                                    "WHERE login = 'lockme'"));
    KF_CHECK(there > expected - 10 && there <= expected);
    fixture_sql("UPDATE kerf.account SET locked_until = NULL, failed_logins = 11 WHERE login = 'lockme'");
    KF_CHECK_EQ(sign_in(&client, "lockme", "wrong wrong wrong"), 401);
    there =
        atof(fixture_sql("SELECT extract(epoch FROM locked_until - now()) FROM kerf.account WHERE login = 'lockme'"));
    KF_CHECK(there > kf_lockout_s(&rule, 12) - 10 && there <= kf_lockout_s(&rule, 12));
}

KF_TEST(a_one_time_password_opens_nothing_but_its_change)
{
    struct client fresh;
    KF_CHECK_EQ(sign_in(&fresh, "fresh", PASSWORD), 200);
    EXPECT(&fresh, "GET", "/api/v1/session", NULL, 200, "");
    EXPECT(&fresh, "GET", "/api/v1/cases", NULL, 403, "password_change_required");
    EXPECT(&fresh, "PUT", "/api/v1/session/password",
           "{\"current_password\":\"" PASSWORD "\",\"new_password\":\"short\"}", 422, "password_too_short");
    EXPECT(&fresh, "PUT", "/api/v1/session/password",
           "{\"current_password\":\"" PASSWORD "\",\"new_password\":\"" PASSWORD "\"}", 422, "password_unchanged");
    EXPECT(&fresh, "PUT", "/api/v1/session/password",
           "{\"current_password\":\"not this one\",\"new_password\":\"quite another phrase\"}", 422,
           "invalid_credentials");
    struct client second;
    KF_CHECK_EQ(sign_in(&second, "fresh", PASSWORD), 200);
    EXPECT(&fresh, "PUT", "/api/v1/session/password",
           "{\"current_password\":\"" PASSWORD "\",\"new_password\":\"quite another phrase\"}", 204, "");
    EXPECT(&fresh, "GET", "/api/v1/cases", NULL, 200, "");
    EXPECT(&second, "GET", "/api/v1/session", NULL, 401, "unauthenticated"); // other sessions have ended
    KF_CHECK_EQ(sign_in(&second, "fresh", PASSWORD), 401);
}

KF_TEST(a_cookie_changes_nothing_without_its_csrf_token)
{
    struct client admin, forged;
    KF_CHECK_EQ(sign_in(&admin, "admin", PASSWORD), 200);
    forged = admin;
    forged.csrf[0] = 0;
    EXPECT(&forged, "POST", "/api/v1/peers", "{\"name\":\"x\",\"ae_title\":\"X\"}", 403, "csrf");
    snprintf(forged.csrf, sizeof forged.csrf, "%s", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    EXPECT(&forged, "POST", "/api/v1/peers", "{\"name\":\"x\",\"ae_title\":\"X\"}", 403, "csrf");
    EXPECT(&forged, "GET", "/api/v1/peers", NULL, 200, "");
}

KF_TEST(tokens_work_until_they_are_revoked)
{
    struct client admin, machine = {0};
    KF_CHECK_EQ(sign_in(&admin, "admin", PASSWORD), 200);
    struct answer made = call(&admin, "POST", "/api/v1/tokens", "{\"name\":\"bridge\",\"role\":\"viewer\"}");
    KF_CHECK_EQ(made.status, 201);
    snprintf(machine.bearer, sizeof machine.bearer, "%s", kf_json_text(made.body, "token", ""));
    EXPECT(&machine, "GET", "/api/v1/cases", NULL, 200, "");
    EXPECT(&machine, "POST", "/api/v1/peers", "{\"name\":\"x\",\"ae_title\":\"X\"}", 403, "forbidden");
    EXPECT(&machine, "DELETE", "/api/v1/session", NULL, 403, "session_needed");
    char target[100];
    snprintf(target, sizeof target, "/api/v1/tokens/%s", kf_json_text(made.body, "id", ""));
    EXPECT(&admin, "DELETE", target, NULL, 204, "");
    EXPECT(&machine, "GET", "/api/v1/cases", NULL, 401, "unauthenticated");
    answer_free(&made);
    EXPECT(&admin, "POST", "/api/v1/tokens",
           "{\"name\":\"t\",\"role\":\"viewer\",\"expires_at\":\"2001-01-01T00:00:00Z\"}", 422, "unprocessable");
    EXPECT(&admin, "POST", "/api/v1/tokens", "{\"name\":\"t\",\"role\":\"viewer\",\"expires_at\":\"soon\"}", 400,
           "invalid_body");
    EXPECT(&admin, "POST", "/api/v1/tokens", "{\"name\":\"t\",\"role\":\"root\"}", 400, "invalid_body");
}

// ---------------------------------------------------------------------------------------------------- accounts, peers
KF_TEST(accounts_change_only_from_what_was_seen)
{
    struct client admin, other;
    char target[120];
    KF_CHECK_EQ(sign_in(&admin, "admin", PASSWORD), 200);
    struct answer made =
        call(&admin, "POST", "/api/v1/accounts",
             "{\"login\":\"new.one\",\"display_name\":\"Zo\xC3\xAB \xE4\xB8\x89\",\"role\":\"surgeon\"}");
    KF_CHECK_EQ(made.status, 201);
    const char *one_time = kf_json_text(made.body, "one_time_password", "");
    KF_CHECK(strlen(one_time) >= 16);
    KF_CHECK_EQ(sign_in(&other, "new.one", one_time), 200);
    snprintf(target, sizeof target, "/api/v1/accounts/%s", kf_json_text(made.body, "id", ""));
    answer_free(&made);
    EXPECT(&admin, "POST", "/api/v1/accounts", "{\"login\":\"new.one\",\"display_name\":\"x\",\"role\":\"viewer\"}",
           409, "login_taken");
    EXPECT(&admin, "POST", "/api/v1/accounts", "{\"login\":\"New One\",\"display_name\":\"x\",\"role\":\"viewer\"}",
           400, "invalid_login");
    EXPECT(&admin, "PATCH", target, "{\"disabled\":true}", 428, "precondition_required");
    struct answer got = call_with(&admin, "PATCH", target, "{\"disabled\":true}", "If-Match", "\"99\"");
    KF_CHECK_EQ(got.status, 412);
    answer_free(&got);
    struct answer seen = call(&admin, "GET", target, NULL);
    got = call_with(&admin, "PATCH", target, "{\"disabled\":true}", "If-Match", seen.etag);
    KF_CHECK_EQ(got.status, 200);
    KF_CHECK(kf_json_flag(got.body, "disabled", 0));
    KF_CHECK(strcmp(got.etag, seen.etag) != 0);
    answer_free(&got);
    got = call_with(&admin, "PATCH", target, "{\"disabled\":false}", "If-Match", seen.etag);
    KF_CHECK_EQ(got.status, 412);
    answer_free(&got);
    answer_free(&seen);
    EXPECT(&other, "GET", "/api/v1/session", NULL, 401, "unauthenticated");
}

KF_TEST(an_administrator_keeps_his_own_role)
{
    struct client admin;
    char target[120];
    KF_CHECK_EQ(sign_in(&admin, "admin", PASSWORD), 200);
    struct answer me = call(&admin, "GET", "/api/v1/session", NULL);
    snprintf(target, sizeof target, "/api/v1/accounts/%s", kf_json_text(json_object_get(me.body, "account"), "id", ""));
    answer_free(&me);
    struct answer got = call_with(&admin, "PATCH", target, "{\"role\":\"viewer\"}", "If-Match", "*");
    KF_CHECK_EQ(got.status, 409);
    KF_CHECK_STR(code_of(&got), "own_account");
    answer_free(&got);
}

KF_TEST(peers_are_checked_before_they_are_stored)
{
    struct client technician;
    KF_CHECK_EQ(sign_in(&technician, "technician", PASSWORD), 200);
    struct answer made = call(&technician, "POST", "/api/v1/peers",
                              "{\"name\":\"PACS\",\"ae_title\":\"PACS1\",\"address\":\"10.1.2.0/24\",\"port\":104}");
    KF_CHECK_EQ(made.status, 201);
    KF_CHECK_STR(kf_json_text(made.body, "address", ""), "10.1.2.0/24");
    KF_CHECK_STR(kf_json_text(made.body, "called_ae_title", ""), "*");
    char target[100];
    snprintf(target, sizeof target, "/api/v1/peers/%s", kf_json_text(made.body, "id", ""));
    answer_free(&made);
    EXPECT(&technician, "POST", "/api/v1/peers",
           "{\"name\":\"PACS\",\"ae_title\":\"PACS1\",\"address\":\"10.1.2.0/24\"}", 409, "peer_taken");
    static const char *const bad[] = {"10.1.2.3/24", "10.1.2/24",      "10.1.2.0/33", "host",
                                      "::1/129",     "10.0.0.1; DROP", "1.2.3.4/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"name\":\"n\",\"ae_title\":\"A\",\"address\":\"%s\"}", bad[i]);
        EXPECT(&technician, "POST", "/api/v1/peers", body, 400, "invalid_address");
    }
    EXPECT(&technician, "POST", "/api/v1/peers", "{\"name\":\"n\",\"ae_title\":\"A\\\\B\"}", 400, "invalid_ae_title");
    EXPECT(&technician, "POST", "/api/v1/peers", "{\"name\":\"n\\u0000\",\"ae_title\":\"A\"}", 400, "");
    EXPECT(&technician, "POST", "/api/v1/peers", "{\"name\":\"n\\nm\",\"ae_title\":\"A\"}", 400, "invalid_text");
    EXPECT(&technician, "DELETE", target, NULL, 204, "");
    EXPECT(&technician, "DELETE", target, NULL, 404, "not_found");
}

// ---------------------------------------------------------------------------------------------------- cases
static json_int_t searched(const struct client *client, const char *body)
{
    struct answer got = call(client, "POST", "/api/v1/cases/search", body);
    KF_CHECK_EQ(got.status, 200);
    json_int_t count = (json_int_t)json_array_size(json_object_get(got.body, "items"));
    answer_free(&got);
    return count;
}

KF_TEST(the_work_list_finds_and_pages)
{
    struct client viewer;
    KF_CHECK_EQ(sign_in(&viewer, "viewer", PASSWORD), 200);
    for (int i = 0; i < 7; i++) {
        char patient[40], uid[40];
        snprintf(patient, sizeof patient, "PAGE%d^Anna", i);
        snprintf(uid, sizeof uid, "9.1.%d", i);
        receive(ours, patient, uid, uid);
    }
    receive(ours, "\xC5\x81ukasz^\xE5\xB1\xB1%_'\\", "9.2.1", "special");
    KF_CHECK_EQ(searched(&viewer, "{}"), found(&viewer, "/api/v1/cases"));
    KF_CHECK_EQ(searched(&viewer, "{\"q\":\" \"}"), found(&viewer, "/api/v1/cases"));
    KF_CHECK_EQ(searched(&viewer, "{\"q\":\"anna\"}"), 7);
    KF_CHECK_EQ(searched(&viewer, "{\"q\":\"anna PAGE3\"}"), 1);
    KF_CHECK_EQ(searched(&viewer, "{\"q\":\"%\"}"), 1);            // a per cent sign is no wild card
    KF_CHECK_EQ(searched(&viewer, "{\"q\":\"'\\\\\"}"), 1);        // '\.
    KF_CHECK_EQ(searched(&viewer, "{\"q\":\"\xE5\xB1\xB1\"}"), 1); // one character
    KF_CHECK_EQ(searched(&viewer, "{\"q\":\"'; DROP TABLE kerf.cases;--\"}"), 0);
    KF_CHECK_EQ(searched(&viewer, "{\"q\":\"anna\",\"state\":\"archived\"}"), 0);
    KF_CHECK_EQ(searched(&viewer, "{\"q\":\"anna\",\"state\":\"receiving\"}"), 7);
    char body[200] = "{\"q\":\"anna\",\"limit\":3}", seen[7][KF_ID_TEXT];
    int count = 0, pages = 0;
    for (;;) {
        struct answer got = call(&viewer, "POST", "/api/v1/cases/search", body);
        json_t *items = json_object_get(got.body, "items"), *item;
        size_t i;
        json_array_foreach(items, i, item)
        {
            const char *id = kf_json_text(item, "id", "");
            for (int j = 0; j < count; j++)
                KF_CHECK(strcmp(seen[j], id) != 0);
            if (count < 7)
                snprintf(seen[count++], KF_ID_TEXT, "%s", id);
        }
        pages++;
        const char *next = kf_json_text(got.body, "next", "");
        snprintf(body, sizeof body, "{\"q\":\"anna\",\"limit\":3,\"cursor\":\"%s\"}", next);
        int last = !*next;
        answer_free(&got);
        if (last || pages > 5)
            break;
    }
    KF_CHECK_EQ(count, 7);
    KF_CHECK_EQ(pages, 3);
    // The list without a search takes the same cursors.
    struct answer first = call(&viewer, "GET", "/api/v1/cases?limit=3", NULL);
    char target[120];
    snprintf(target, sizeof target, "/api/v1/cases?limit=500&cursor=%s", kf_json_text(first.body, "next", ""));
    KF_CHECK_EQ(found(&viewer, target), found(&viewer, "/api/v1/cases?limit=500") - 3);
    answer_free(&first);
}

KF_TEST(what_is_searched_for_stands_in_no_url)
{
    struct client viewer, forged;
    KF_CHECK_EQ(sign_in(&viewer, "viewer", PASSWORD), 200);
    EXPECT(&viewer, "GET", "/api/v1/cases?q=anna", NULL, 400, "invalid_query");
    EXPECT(&viewer, "GET", "/api/v1/cases?limit=3&q=", NULL, 400, "invalid_query");
    EXPECT(&viewer, "GET", "/api/v1/cases/search", NULL, 404, "not_found");
    EXPECT(&viewer, "DELETE", "/api/v1/cases/search", NULL, 405, "");
    forged = viewer;
    forged.csrf[0] = 0;
    EXPECT(&forged, "POST", "/api/v1/cases/search", "{\"q\":\"anna\"}", 403, "csrf");
    EXPECT(&viewer, "POST", "/api/v1/cases/search", "{\"q\":\"\xFF\"}", 400, "invalid_json");
    EXPECT(&viewer, "POST", "/api/v1/cases/search", "{\"q\":\"a\\u0000b\"}", 400, "");
    EXPECT(&viewer, "POST", "/api/v1/cases/search", "{\"state\":\"ready'\"}", 400, "invalid_body");
    EXPECT(&viewer, "POST", "/api/v1/cases/search", "{\"cursor\":\"1_x\"}", 400, "invalid_cursor");
    EXPECT(&viewer, "GET", "/api/v1/cases?state=ready'", NULL, 400, "invalid_query");
    EXPECT(&viewer, "GET", "/api/v1/cases?limit=0", NULL, 400, "");
    EXPECT(&viewer, "GET", "/api/v1/cases?cursor=1_x", NULL, 400, "invalid_cursor");
}

KF_TEST(a_case_shows_what_hangs_below_it)
{
    struct client planner;
    char target[200];
    KF_CHECK_EQ(sign_in(&planner, "planner", PASSWORD), 200);
    struct kf_instance_stored stored = receive(ours, "Tree^One", "9.3.1", "tree");
    snprintf(target, sizeof target, "/api/v1/cases/%s", stored.case_id);
    struct answer got = call(&planner, "GET", target, NULL);
    KF_CHECK_EQ(got.status, 200);
    json_t *counts = json_object_get(got.body, "counts");
    KF_CHECK_EQ(kf_json_integer(counts, "studies", -1), 1);
    KF_CHECK_EQ(kf_json_integer(counts, "instances", -1), 1);
    json_t *study = json_array_get(json_object_get(got.body, "studies"), 0);
    KF_CHECK_STR(kf_json_text(study, "id", ""), stored.study_id);
    KF_CHECK_STR(kf_json_text(json_array_get(json_object_get(study, "series"), 0), "id", ""), stored.series_id);
    answer_free(&got);
    snprintf(target, sizeof target, "/api/v1/cases/%s/studies", stored.case_id);
    KF_CHECK_EQ(found(&planner, target), 1);
    snprintf(target, sizeof target, "/api/v1/studies/%s/series", stored.study_id);
    KF_CHECK_EQ(found(&planner, target), 1);
    snprintf(target, sizeof target, "/api/v1/series/%s", stored.series_id);
    EXPECT(&planner, "GET", target, NULL, 200, "");
    snprintf(target, sizeof target, "/api/v1/series/%s/instances", stored.series_id);
    KF_CHECK_EQ(found(&planner, target), 1);
    snprintf(target, sizeof target, "/api/v1/cases/%s/artefacts", stored.case_id);
    KF_CHECK_EQ(found(&planner, target), 0);
    snprintf(target, sizeof target, "/api/v1/cases/%s/jobs", stored.case_id);
    KF_CHECK_EQ(found(&planner, target), 0);
    EXPECT(&planner, "GET", "/api/v1/cases/not-an-id", NULL, 404, "not_found");
    EXPECT(&planner, "GET", "/api/v1/cases/0195c2a0-7b1e-7c3a-9a44-0c2f6b0d9e11", NULL, 404, "not_found");
    EXPECT(&planner, "GET", "/api/v1/cases/0195c2a0-7b1e-7c3a-9a44-0c2f6b0d9e11/artefacts", NULL, 404, "not_found");
}

KF_TEST(a_case_changes_only_from_what_was_seen)
{
    struct client planner;
    char target[200];
    KF_CHECK_EQ(sign_in(&planner, "planner", PASSWORD), 200);
    struct kf_instance_stored stored = receive(ours, "Edit^One", "9.4.1", "edit");
    snprintf(target, sizeof target, "/api/v1/cases/%s", stored.case_id);
    EXPECT(&planner, "PATCH", target, "{\"title\":\"x\"}", 428, "precondition_required");
    struct answer seen = call(&planner, "GET", target, NULL);
    struct answer got = call_with(&planner, "PATCH", target, "{\"title\":\"Left mandible\"}", "If-Match", seen.etag);
    KF_CHECK_EQ(got.status, 200);
    KF_CHECK_STR(kf_json_text(got.body, "title", ""), "Left mandible");
    answer_free(&got);
    got = call_with(&planner, "PATCH", target, "{\"title\":\"Right\"}", "If-Match", seen.etag);
    KF_CHECK_EQ(got.status, 412);
    answer_free(&got);
    got = call_with(&planner, "PATCH", target, "{\"state\":\"archived\"}", "If-Match", "*");
    KF_CHECK_EQ(got.status, 409); // it is still receiving
    KF_CHECK_STR(code_of(&got), "case_busy");
    answer_free(&got);
    got = call_with(&planner, "PATCH", target, "{\"state\":\"processing\"}", "If-Match", "*");
    KF_CHECK_EQ(got.status, 409);
    answer_free(&got);
    got = call_with(&planner, "PATCH", target, "{}", "If-Match", "*");
    KF_CHECK_EQ(got.status, 400);
    answer_free(&got);
    answer_free(&seen);
}

KF_TEST(an_organisation_sees_nothing_of_another)
{
    struct client stranger;
    static const char *const paths[] = {"", "/studies", "/artefacts", "/volumes", "/segmentations", "/meshes", "/jobs"};
    char target[300];
    KF_CHECK_EQ(sign_in(&stranger, "stranger", PASSWORD), 200);
    struct kf_instance_stored stored = receive(ours, "Wall^One", "9.5.1", "wall");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        snprintf(target, sizeof target, "/api/v1/cases/%s%s", stored.case_id, paths[i]);
        EXPECT(&stranger, "GET", target, NULL, 404, "not_found");
    }
    snprintf(target, sizeof target, "/api/v1/studies/%s", stored.study_id);
    EXPECT(&stranger, "GET", target, NULL, 404, "not_found");
    snprintf(target, sizeof target, "/api/v1/series/%s", stored.series_id);
    EXPECT(&stranger, "GET", target, NULL, 404, "not_found");
    snprintf(target, sizeof target, "/api/v1/series/%s/instances", stored.series_id);
    EXPECT(&stranger, "GET", target, NULL, 404, "not_found");
    snprintf(target, sizeof target, "/api/v1/events?case=%s", stored.case_id);
    EXPECT(&stranger, "GET", target, NULL, 404, "not_found");
    snprintf(target, sizeof target, "/api/v1/cases/%s", stored.case_id);
    struct answer got = call_with(&stranger, "PATCH", target, "{\"title\":\"mine\"}", "If-Match", "*");
    KF_CHECK_EQ(got.status, 404);
    answer_free(&got);
    KF_CHECK_EQ(found(&stranger, "/api/v1/cases"), 0);
    KF_CHECK_EQ(found(&stranger, "/api/v1/accounts"), 1);
    char hex[65], *text = hex;
    unsigned char digest[32];
    kf_sha256("wall", 4, digest);
    kf_hex_encode(text, digest, 32);
    snprintf(target, sizeof target, "/api/v1/cases/%s/blobs/%s", stored.case_id, hex);
    EXPECT(&stranger, "GET", target, NULL, 404, "not_found");
}

// ---------------------------------------------------------------------------------------------------- the rest
KF_TEST(too_many_tries_from_one_address_are_slowed_down)
{
    struct client nobody = {0};
    int limited = 0;
    char body[1300]; // too long to be hashed, so that the loop outruns the refill
    snprintf(body, sizeof body, "{\"login\":\"x.y\",\"password\":\"%01100d\"}", 0);
    for (int i = 0; i < 1000 && !limited; i++) {
        struct answer got = call(&nobody, "POST", "/api/v1/session", body);
        limited = got.status == 429 && strcmp(code_of(&got), "rate_limited") == 0;
        if (limited)
            KF_CHECK(atoi(got.retry_after) >= 1);
        answer_free(&got);
    }
    KF_CHECK(limited);
}

KF_TEST(what_anybody_may_know)
{
    struct client nobody = {0};
    EXPECT(&nobody, "GET", "/api/v1/settings/public", NULL, 200, "");
    struct answer got = call(&nobody, "GET", "/api/v1/openapi.yaml", NULL);
    KF_CHECK_EQ(got.status, 200);
    KF_CHECK(strstr(got.raw, "The HTTP interface of Kerf") != NULL);
    answer_free(&got);
    EXPECT(&nobody, "GET", "/api/v1/settings", NULL, 401, "unauthenticated");
}

int main(void)
{
    if (!api_start()) {
        fprintf(stderr, "FAIL start\n");
        fixture_stop();
        return 1;
    }
    KF_RUN(signing_in_gives_a_guarded_cookie);
    KF_RUN(wrong_credentials_tell_nothing);
    KF_RUN(failures_lock_the_account);
    KF_RUN(a_one_time_password_opens_nothing_but_its_change);
    KF_RUN(a_cookie_changes_nothing_without_its_csrf_token);
    KF_RUN(tokens_work_until_they_are_revoked);
    KF_RUN(accounts_change_only_from_what_was_seen);
    KF_RUN(an_administrator_keeps_his_own_role);
    KF_RUN(peers_are_checked_before_they_are_stored);
    KF_RUN(the_work_list_finds_and_pages);
    KF_RUN(what_is_searched_for_stands_in_no_url);
    KF_RUN(a_case_shows_what_hangs_below_it);
    KF_RUN(a_case_changes_only_from_what_was_seen);
    KF_RUN(an_organisation_sees_nothing_of_another);
    KF_RUN(what_anybody_may_know);
    KF_RUN(too_many_tries_from_one_address_are_slowed_down);
    api_stop();
    return kf_test_failures ? 1 : 0;
}
