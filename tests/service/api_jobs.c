// The API over the dispatcher, in process, on a real PostgreSQL: blobs only through their case, jobs with their inputs,
// idempotency, and levels that two people name.
#include "server/base/test.h"
#include "tests/service/fixture_api.h"

KF_TEST(an_import_queues_what_follows_and_its_blob_is_reached_through_the_case)
{
    struct client planner, surgeon;
    char target[300], hex[65];
    KF_CHECK_EQ(sign_in(&planner, "planner", PASSWORD), 200);
    KF_CHECK_EQ(sign_in(&surgeon, "surgeon", PASSWORD), 200);
    struct kf_instance_stored stored = receive(ours, "Blob^One", "9.6.1", "blob");
    struct kf_instance_stored other = receive(ours, "Blob^Two", "9.6.2", "blob two");
    const char *artefact = make_volume(stored.case_id, stored.series_id, hex);
    snprintf(target, sizeof target, "/api/v1/cases/%s/jobs", stored.case_id);
    KF_CHECK_EQ(found(&planner, target), 3); // the import, view and segment.bone
    snprintf(target, sizeof target, "/api/v1/cases/%s/volumes", stored.case_id);
    KF_CHECK_EQ(found(&planner, target), 1);
    snprintf(target, sizeof target, "/api/v1/volumes/%s", artefact);
    EXPECT(&planner, "GET", target, NULL, 200, "");
    for (int again = 0; again < 2; again++) { // from disk, then from memory
        snprintf(target, sizeof target, "/api/v1/cases/%s/blobs/%s", stored.case_id, hex);
        struct answer got = call(&surgeon, "GET", target, NULL);
        KF_CHECK_EQ(got.status, 200);
        KF_CHECK_STR(got.type, "application/x-nifti");
        if (again)
            KF_CHECK_STR(got.raw, "volume bytes, volume bytes");
        answer_free(&got);
        got = call_with(&surgeon, "GET", target, NULL, "If-None-Match", "*");
        KF_CHECK_EQ(got.status, 304);
        answer_free(&got);
    }
    struct answer part = call_with(&surgeon, "GET", target, NULL, "Range", "bytes=7-11");
    KF_CHECK_EQ(part.status, 206);
    answer_free(&part);
    part = call_with(&surgeon, "GET", target, NULL, "Range", "bytes=1000-");
    KF_CHECK_EQ(part.status, 416);
    answer_free(&part);
    snprintf(target, sizeof target, "/api/v1/cases/%s/blobs/%s", other.case_id, hex);
    EXPECT(&surgeon, "GET", target, NULL, 404, "not_found"); // the hash alone opens nothing
    snprintf(target, sizeof target, "/api/v1/cases/%s/blobs/%s", stored.case_id, "abc");
    EXPECT(&surgeon, "GET", target, NULL, 404, "not_found");
}

KF_TEST(jobs_are_asked_for_cancelled_and_retried)
{
    struct client planner, technician;
    char target[300], body[400], hex[65];
    KF_CHECK_EQ(sign_in(&planner, "planner", PASSWORD), 200);
    KF_CHECK_EQ(sign_in(&technician, "technician", PASSWORD), 200);
    struct kf_instance_stored stored = receive(ours, "Job^One", "9.7.1", "job");
    char artefact[KF_ID_TEXT];
    snprintf(artefact, sizeof artefact, "%s", make_volume(stored.case_id, stored.series_id, hex));
    snprintf(target, sizeof target, "/api/v1/cases/%s/jobs", stored.case_id);
    snprintf(body, sizeof body, "{\"kind\":\"segment.bone\",\"params\":{\"threshold_hu\":300},\"inputs\":[\"%s\"]}",
             artefact);
    struct answer first = call_with(&planner, "POST", target, body, "Idempotency-Key", "key-1");
    KF_CHECK_EQ(first.status, 202);
    struct answer again = call_with(&planner, "POST", target, body, "Idempotency-Key", "key-1");
    KF_CHECK_EQ(again.status, 202);
    KF_CHECK_STR(kf_json_text(again.body, "id", ""), kf_json_text(first.body, "id", "-"));
    KF_CHECK_STR(again.location, first.location);
    answer_free(&again);
    snprintf(body, sizeof body, "{\"kind\":\"segment.bone\",\"params\":{\"threshold_hu\":301},\"inputs\":[\"%s\"]}",
             artefact);
    again = call_with(&planner, "POST", target, body, "Idempotency-Key", "key-1");
    KF_CHECK_EQ(again.status, 422);
    KF_CHECK_STR(code_of(&again), "idempotency_mismatch");
    answer_free(&again);
    snprintf(body, sizeof body, "{\"kind\":\"mesh\",\"inputs\":[\"%s\"]}", artefact);
    EXPECT(&planner, "POST", target, body, 422, "wrong_input");
    snprintf(body, sizeof body, "{\"kind\":\"nothing\",\"inputs\":[\"%s\"]}", artefact);
    EXPECT(&planner, "POST", target, body, 422, "unknown_kind");
    EXPECT(&planner, "POST", target, "{\"kind\":\"mesh\",\"inputs\":[\"0195c2a0-7b1e-7c3a-9a44-0c2f6b0d9e11\"]}", 422,
           "unknown_input");
    EXPECT(&planner, "POST", target, "{\"kind\":\"mesh\",\"inputs\":[7]}", 400, "invalid_body");
    EXPECT(&planner, "POST", target, "{\"kind\":\"mesh\",\"inputs\":[]}", 400, "invalid_body");
    char cancel[200];
    const char *job = kf_json_text(first.body, "id", "");
    snprintf(cancel, sizeof cancel, "/api/v1/jobs/%s/cancel", job);
    EXPECT(&planner, "POST", cancel, NULL, 202, "");
    EXPECT(&planner, "POST", cancel, NULL, 409, "job_ended");
    snprintf(cancel, sizeof cancel, "/api/v1/jobs/%s/acknowledge", job);
    EXPECT(&planner, "POST", cancel, NULL, 409, "job_not_failed");
    snprintf(body, sizeof body, "UPDATE kerf.job SET state = 'failed' WHERE id = '%s'", job);
    fixture_sql(body);
    EXPECT(&planner, "POST", cancel, NULL, 200, "");
    KF_CHECK_STR(fixture_sql("SELECT login FROM kerf.account a, kerf.job WHERE acknowledged_by = a.id"), "planner");
    snprintf(cancel, sizeof cancel, "/api/v1/jobs/%s/retry", job);
    EXPECT(&planner, "POST", cancel, NULL, 403, "forbidden");
    EXPECT(&technician, "POST", cancel, NULL, 202, "");
    EXPECT(&technician, "POST", cancel, NULL, 409, "job_not_ended");
    answer_free(&first);
}

// The job of that kind of a case, as the list has it; owned.
static json_t *job_of(const struct client *client, const char *case_id, const char *kind)
{
    char target[200];
    size_t i;
    json_t *job, *match = NULL;
    snprintf(target, sizeof target, "/api/v1/cases/%s/jobs", case_id);
    struct answer got = call(client, "GET", target, NULL);
    json_array_foreach(json_object_get(got.body, "items"), i, job)
        if (strcmp(kf_json_text(job, "kind", ""), kind) == 0)
            match = json_incref(job);
    answer_free(&got);
    KF_CHECK(match);
    return match;
}

KF_TEST(a_job_says_what_it_reads_in_its_own_case_and_nowhere_else)
{
    struct client planner, stranger;
    char target[300], hex[65], same[65], first[KF_ID_TEXT], second[KF_ID_TEXT];
    KF_CHECK_EQ(sign_in(&planner, "planner", PASSWORD), 200);
    KF_CHECK_EQ(sign_in(&stranger, "stranger", PASSWORD), 200);
    struct kf_instance_stored one = receive(ours, "Input^One", "9.9.1", "input");
    struct kf_instance_stored two = receive(ours, "Input^Two", "9.9.2", "input two");
    snprintf(first, sizeof first, "%s", make_volume(one.case_id, one.series_id, hex));
    snprintf(second, sizeof second, "%s", make_volume(two.case_id, two.series_id, same));
    KF_CHECK_STR(hex, same); // the same bytes in both cases
    const struct kf_instance_stored *cases[] = {&one, &two};
    const char *artefacts[] = {first, second};
    for (int i = 0; i < 2; i++) {
        json_t *job = job_of(&planner, cases[i]->case_id, "segment.bone"), *inputs = json_object_get(job, "inputs");
        json_t *input = json_array_get(inputs, 0), *dim = json_object_get(input, "dim");
        KF_CHECK_EQ((int)json_array_size(inputs), 1);
        KF_CHECK_STR(kf_json_text(input, "role", ""), "volume");
        KF_CHECK_STR(kf_json_text(input, "kind", ""), "volume");
        KF_CHECK_STR(kf_json_text(input, "artefact_id", ""), artefacts[i]);
        KF_CHECK_STR(kf_json_text(input, "series_id", ""), cases[i]->series_id);
        KF_CHECK_STR(kf_json_text(input, "modality", ""), "CT");
        KF_CHECK_EQ((int)json_array_size(dim), 3);
        KF_CHECK_EQ((int)json_integer_value(json_array_get(dim, 2)), 7);
        snprintf(target, sizeof target, "/api/v1/jobs/%s", kf_json_text(job, "id", ""));
        struct answer alone = call(&planner, "GET", target, NULL);
        KF_CHECK(json_equal(json_object_get(alone.body, "inputs"), inputs));
        answer_free(&alone);
        EXPECT(&stranger, "GET", target, NULL, 404, "not_found");
        json_decref(job);
    }
    json_t *import = job_of(&planner, one.case_id, "import");
    json_t *received = json_array_get(json_object_get(import, "inputs"), 0);
    KF_CHECK_STR(kf_json_text(received, "kind", ""), "instance");
    KF_CHECK_STR(kf_json_text(received, "series_id", ""), one.series_id);
    KF_CHECK_EQ((int)json_integer_value(json_object_get(received, "count")), 1);
    KF_CHECK(json_is_null(json_object_get(received, "dim")));
    json_decref(import);
    // What a sandbox says of a grid may be anything: no grid is better than a wrong one.
    static const char *const odd_dims[] = {"[5, \"6\", 7]", "[5, [6], 7]", "[[5], [6], [7]]", "{\"a\": 1}", "7",
                                           "[5, 6.5, 7]",   "[0, 6, 7]",   "[5, 6]",          "[5, 6, 1e30]", "null"};
    snprintf(target, sizeof target, "UPDATE kerf.artefact SET superseded = true WHERE id = '%s'", first);
    fixture_sql(target);
    for (size_t i = 0; i < sizeof odd_dims / sizeof *odd_dims; i++) {
        snprintf(target, sizeof target,
                 "UPDATE kerf.job SET inputs = jsonb_set(inputs, '{0,meta,grid,dim}', '%s') "
                 "WHERE case_id = '%s' AND kind = 'segment.bone'", odd_dims[i], one.case_id);
        fixture_sql(target);
        json_t *odd = job_of(&planner, one.case_id, "segment.bone");
        json_t *input = json_array_get(json_object_get(odd, "inputs"), 0);
        KF_CHECK(json_is_null(json_object_get(input, "dim")));
        KF_CHECK_STR(kf_json_text(input, "artefact_id", ""), first); // superseded, and still what was read
        json_decref(odd);
    }
}

// A spine of two vertebrae in the case, as its job would have left it; returns the artefact's id.
static const char *make_spine(const char *case_id, const char *volume)
{
    static char id[KF_ID_TEXT];
    char sql[1200];
    snprintf(id, sizeof id, "%s", fixture_sql("SELECT gen_random_uuid()"));
    snprintf(sql, sizeof sql,
             "INSERT INTO kerf.artefact (id, organisation_id, case_id, series_id, job_id, key, name, kind, "
             "content_sha256, bytes, media_type, meta) SELECT '%s', organisation_id, case_id, series_id, job_id, key, "
             "'labels', 'segmentation', content_sha256, bytes, media_type, '{\"levels\": \"unconfirmed\", \"segments\": "
             "[{\"label\": 9, \"name\": \"Vertebra 1 of 2\"}, {\"label\": 10, \"name\": \"Vertebra 2 of 2\"}, "
             "{\"label\": 30, \"name\": \"Sacrum\"}]}' FROM kerf.artefact WHERE id = '%s' AND case_id = '%s'",
             id, volume, case_id);
    fixture_sql(sql);
    return id;
}

// Says it, and checks the answer's status and code or state.
static void state_levels(const struct client *who, const char *target, const char *spine, const char *levels,
                         int status, const char *expected)
{
    char body[300];
    snprintf(body, sizeof body, "{\"artefact_id\":\"%s\",\"levels\":%s}", spine, levels);
    struct answer got = call(who, "POST", target, body);
    KF_CHECK_EQ(got.status, status);
    KF_CHECK_STR(kf_json_text(got.body, status == 201 ? "state" : "code", ""), expected);
    answer_free(&got);
}

// What is said of the only spine of a case, as `who` reads it; owned.
static json_t *levels_of(const struct client *who, const char *target)
{
    struct answer got = call(who, "GET", target, NULL);
    KF_CHECK_EQ(got.status, 200);
    KF_CHECK_EQ((int)json_array_size(json_object_get(got.body, "items")), 1);
    json_t *review = json_incref(json_array_get(json_object_get(got.body, "items"), 0));
    answer_free(&got);
    return review;
}

#define LUMBAR   "{\"9\":\"L4\",\"10\":\"L5\"}"
#define SHIFTED  "{\"9\":\"L5\",\"10\":\"L6\"}"
#define LUMBAR_2 "{\"10\":\"L5\",\"9\":\"L4\"}" // the same in another order

KF_TEST(a_level_is_confirmed_by_two_people_who_say_the_same_each_alone)
{
    struct client planner, surgeon, viewer, technician, stranger, machine = {0};
    char target[200], hex[65], spine[KF_ID_TEXT], volume[KF_ID_TEXT];
    const struct { struct client *client; const char *login; } people[] = {
        {&planner, "planner"}, {&surgeon, "surgeon"}, {&viewer, "viewer"}, {&technician, "technician"},
        {&stranger, "stranger"}};
    for (size_t i = 0; i < sizeof people / sizeof *people; i++)
        KF_CHECK_EQ(sign_in(people[i].client, people[i].login, PASSWORD), 200);
    struct kf_instance_stored one = receive(ours, "Level^One", "9.8.1", "level");
    struct kf_instance_stored two = receive(ours, "Level^Two", "9.8.2", "level two");
    snprintf(volume, sizeof volume, "%s", make_volume(one.case_id, one.series_id, hex));
    snprintf(spine, sizeof spine, "%s", make_spine(one.case_id, volume));
    snprintf(target, sizeof target, "/api/v1/cases/%s/levels", one.case_id);
    KF_CHECK_EQ((int)found(&viewer, target), 0);
    // Who may not, and what may not be said.
    state_levels(&viewer, target, spine, LUMBAR, 403, "forbidden");
    state_levels(&technician, target, spine, LUMBAR, 403, "forbidden");
    state_levels(&stranger, target, spine, LUMBAR, 404, "not_found");
    EXPECT(&stranger, "GET", target, NULL, 404, "not_found");
    state_levels(&planner, target, volume, LUMBAR, 404, "not_found");
    state_levels(&planner, target, spine, "{\"9\":\"L4\"}", 422, "levels_incomplete");
    state_levels(&planner, target, spine, "{\"9\":\"L5\",\"10\":\"L4\"}", 422, "levels_order");
    state_levels(&planner, target, spine, "[]", 400, "invalid_body");
    char other[200];
    snprintf(other, sizeof other, "/api/v1/cases/%s/levels", two.case_id);
    state_levels(&planner, other, spine, LUMBAR, 404, "not_found"); // a spine of another case
    struct client admin;
    KF_CHECK_EQ(sign_in(&admin, "admin", PASSWORD), 200);
    struct answer token = call(&admin, "POST", "/api/v1/tokens", "{\"name\":\"levels\",\"role\":\"planner\"}");
    snprintf(machine.bearer, sizeof machine.bearer, "%s", kf_json_text(token.body, "token", ""));
    answer_free(&token);
    state_levels(&machine, target, spine, LUMBAR, 403, "person_needed");
    // One person, twice: still one person.
    state_levels(&planner, target, spine, SHIFTED, 201, "once");
    state_levels(&planner, target, spine, LUMBAR, 201, "once");
    json_t *seen = levels_of(&surgeon, target);
    json_t *statement = json_array_get(json_object_get(seen, "statements"), 0);
    KF_CHECK_STR(kf_json_text(statement, "name", ""), "planner");
    KF_CHECK(json_is_null(json_object_get(statement, "levels"))); // the second one is not prompted
    json_decref(seen);
    seen = levels_of(&planner, target);
    statement = json_object_get(json_array_get(json_object_get(seen, "statements"), 0), "levels");
    KF_CHECK_STR(kf_json_text(statement, "9", ""), "L4");
    json_decref(seen);
    // A second one disagrees, then agrees.
    state_levels(&surgeon, target, spine, SHIFTED, 201, "disputed");
    state_levels(&surgeon, target, spine, LUMBAR_2, 201, "confirmed");
    seen = levels_of(&viewer, target);
    KF_CHECK_STR(kf_json_text(json_object_get(seen, "levels"), "10", ""), "L5");
    KF_CHECK_EQ((int)json_array_size(json_object_get(seen, "statements")), 2);
    json_decref(seen);
    // Every statement stays, and each was told to those who look on.
    KF_CHECK_STR(fixture_sql("SELECT count(*) FROM kerf.level_statement"), "4");
    KF_CHECK_STR(fixture_sql("SELECT count(*) FROM kerf.event WHERE kind = 'levels.stated'"), "4");
    state_levels(&admin, target, spine, SHIFTED, 201, "disputed"); // a third voice undoes it
    snprintf(other, sizeof other, "UPDATE kerf.artefact SET superseded = true WHERE id = '%s'", spine);
    fixture_sql(other);
    state_levels(&surgeon, target, spine, LUMBAR, 409, "superseded");
}

int main(void)
{
    if (!api_start()) {
        fprintf(stderr, "FAIL start\n");
        fixture_stop();
        return 1;
    }
    KF_RUN(an_import_queues_what_follows_and_its_blob_is_reached_through_the_case);
    KF_RUN(jobs_are_asked_for_cancelled_and_retried);
    KF_RUN(a_job_says_what_it_reads_in_its_own_case_and_nowhere_else);
    KF_RUN(a_level_is_confirmed_by_two_people_who_say_the_same_each_alone);
    api_stop();
    return kf_test_failures ? 1 : 0;
}
