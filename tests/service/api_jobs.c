// The API over the dispatcher, in process, on a real PostgreSQL: blobs only through their case, jobs with their inputs,
// idempotency.
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
    snprintf(target, sizeof target,
             "UPDATE kerf.job SET inputs = jsonb_set(inputs, '{0,meta,grid,dim}', '[5, \"6\", 7]') "
             "WHERE case_id = '%s' AND kind = 'segment.bone'", one.case_id);
    fixture_sql(target);
    snprintf(target, sizeof target, "UPDATE kerf.artefact SET superseded = true WHERE id = '%s'", first);
    fixture_sql(target);
    json_t *odd = job_of(&planner, one.case_id, "segment.bone");
    json_t *input = json_array_get(json_object_get(odd, "inputs"), 0);
    KF_CHECK(json_is_null(json_object_get(input, "dim")));
    KF_CHECK_STR(kf_json_text(input, "artefact_id", ""), first); // superseded, and still what was read
    json_decref(odd);
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
    api_stop();
    return kf_test_failures ? 1 : 0;
}
