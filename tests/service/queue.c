// The rules of the queue: keys, dedupe, follow-ups, fences, retries, supersession, the state of the case.
#include "server/base/hash.h"
#include "server/base/str.h"
#include "server/base/test.h"
#include "server/queue/queue.h"
#include "tests/service/fixture_pg.h"

static const char *org;
static struct kf_store *store;

static const char *new_case(const char *organisation)
{
    static char ids[32][KF_ID_TEXT];
    static int count;
    char *id = ids[count++ % 32], sql[256];
    kf_id_new(id);
    snprintf(sql, sizeof sql, "INSERT INTO kerf.cases (id, organisation_id) VALUES ('%s', '%s')", id, organisation);
    fixture_sql(sql);
    return id;
}

static const char *new_series(const char *organisation, const char *case_id)
{
    static char ids[32][KF_ID_TEXT];
    static int count;
    char *id = ids[count++ % 32], sql[700];
    kf_id_new(id);
    snprintf(sql, sizeof sql,
             "WITH t AS (INSERT INTO kerf.study (id, organisation_id, case_id, study_uid) VALUES ('%s', '%s', '%s', "
             "'%s') "
             "RETURNING id) INSERT INTO kerf.series (id, organisation_id, case_id, study_id, series_uid) "
             "SELECT '%s', '%s', '%s', id, '1' FROM t",
             id, organisation, case_id, id, id, organisation, case_id);
    fixture_sql(sql);
    return id;
}

// Asks the owner's connection, with the id in place of %s.
static const char *ask(const char *question, const char *id)
{
    char sql[600];
    const char *gap = strstr(question, "%s");
    int before = gap ? (int)(gap - question) : (int)strlen(question);
    snprintf(sql, sizeof sql, "%.*s%s%s", before, question, gap ? id : "", gap ? gap + 2 : "");
    return fixture_sql(sql);
}

// An input whose bytes are known to the organisation.
static struct kf_queue_input input_of(const char *name, const char *bytes)
{
    struct kf_queue_input input = {.name = name, .media_type = "application/test"};
    struct kf_error err;
    int used;
    kf_sha256(bytes, strlen(bytes), input.sha256);
    KF_CHECK_EQ(kf_store_blob_add(store, org, input.sha256, (int64_t)strlen(bytes), "c/in", 0, &used, &err), KF_OK);
    return input;
}

static enum kf_status add(const char *case_id, const char *series, const char *kind, const char *bytes,
                          const char *follow, int supersedes, struct kf_queued *out)
{
    struct kf_queue_input input = input_of("in", bytes);
    struct kf_error err = {0};
    json_t *rules = follow ? json_loads(follow, 0, NULL) : NULL;
    struct kf_queue_job job = {.case_id = case_id, .series_id = series, .kind = kind, .version = 1, .inputs = &input,
                               .input_count = 1, .follow = rules, .supersedes = supersedes};
    enum kf_status status = kf_queue_add(store, org, &job, out, &err);
    if (status)
        fprintf(stderr, "add: %s %s\n", err.code, err.detail);
    json_decref(rules);
    return status;
}

static enum kf_status finish(const struct kf_job_row *job, const char *name, const char *kind, const char *bytes,
                             const char *meta)
{
    struct kf_error err = {0};
    json_t *m = json_loads(meta, 0, NULL);
    struct kf_queue_output output = {.name = name, .kind = kind, .media_type = "application/test", .container = "c/out",
                                     .bytes = (int64_t)strlen(bytes), .meta = m};
    kf_sha256(bytes, strlen(bytes), output.sha256);
    enum kf_status status = kf_queue_finish(store, job, &output, name ? 1 : 0, NULL, &err);
    if (status && status != KF_STALE)
        fprintf(stderr, "finish: %s %s\n", err.code, err.detail);
    json_decref(m);
    return status;
}

// Claims a job of this kind and ends it with one output.
static enum kf_status work(const char *kind, const char *name, const char *output_kind, const char *bytes,
                           const char *meta)
{
    struct kf_claim claim;
    struct kf_error err = {0};
    enum kf_status status = kf_queue_claim(store, kind, "w", 30, &claim, &err);
    if (status)
        return status;
    KF_CHECK_STR(claim.job.kind, kind);
    KF_CHECK_EQ(claim.place_count, json_array_size(claim.job.inputs));
    status = finish(&claim.job, name, output_kind, bytes, meta);
    kf_claim_release(&claim);
    return status;
}

KF_TEST(keys_depend_on_everything_that_makes_a_result_and_on_nothing_else)
{
    unsigned char a[32], b[32];
    struct kf_queue_input one = input_of("x", "1"), two = input_of("y", "2");
    struct kf_queue_input both[] = {one, two}, swapped[] = {two, one};
    json_t *p = json_loads("{\"b\":1,\"a\":2.0}", 0, NULL), *q = json_loads("{\"a\":2,\"b\":1}", 0, NULL);
    kf_queue_key(org, "k", 1, p, both, 2, a);
    kf_queue_key(org, "k", 1, q, both, 2, b);
    KF_CHECK(memcmp(a, b, 32) == 0); // order of members and 2 or 2.0 do not matter
    kf_queue_key("00000000-0000-0000-0000-000000000000", "k", 1, p, both, 2, b);
    KF_CHECK(memcmp(a, b, 32) != 0);
    kf_queue_key(org, "k", 2, p, both, 2, b);
    KF_CHECK(memcmp(a, b, 32) != 0);
    kf_queue_key(org, "k", 1, p, swapped, 2, b);
    KF_CHECK(memcmp(a, b, 32) != 0);
    kf_queue_key(org, "k", 1, NULL, both, 2, b);
    KF_CHECK(memcmp(a, b, 32) != 0);
    kf_queue_key(org, "k1", 1, p, both, 2, b); // length prefixes: "k1"+"1" is not "k"+"11"
    kf_queue_key(org, "k", 11, p, both, 2, a);
    KF_CHECK(memcmp(a, b, 32) != 0);
    both[0].media_type = "other/type";
    kf_queue_key(org, "k", 11, p, both, 2, b);
    KF_CHECK(memcmp(a, b, 32) == 0);
    json_decref(p);
    json_decref(q);
}

KF_TEST(the_same_work_is_queued_once_and_copied_between_cases)
{
    struct kf_queued first, again, other;
    const char *one = new_case(org), *two = new_case(org);
    KF_REQUIRE(add(one, NULL, "dedupe", "d1", NULL, 0, &first) == KF_OK);
    KF_CHECK_EQ(first.reused, 0);
    KF_CHECK_STR(ask("SELECT state FROM kerf.cases WHERE id = '%s'", one), "processing");
    KF_REQUIRE(add(one, NULL, "dedupe", "d1", NULL, 0, &again) == KF_OK);
    KF_CHECK_EQ(again.reused, 1);
    KF_CHECK_STR(again.job_id, first.job_id);
    KF_CHECK_EQ(work("dedupe", "out", "thing", "result of d1", "{}"), KF_OK);
    KF_CHECK_STR(ask("SELECT state FROM kerf.cases WHERE id = '%s'", one), "ready");
    KF_REQUIRE(add(two, NULL, "dedupe", "d1", NULL, 0, &other) == KF_OK);
    KF_CHECK_EQ(other.reused, 2);
    KF_CHECK_STR(other.state, "done");
    KF_CHECK_STR(ask("SELECT count(*) FROM kerf.artefact WHERE case_id = '%s' AND name = 'out'", two), "1");
    KF_CHECK_STR(ask("SELECT state FROM kerf.cases WHERE id = '%s'", two), "ready");
    KF_CHECK_EQ(work("dedupe", "out", "thing", "x", "{}"), KF_NOT_FOUND); // nothing was queued
}

KF_TEST(follow_ups_take_matching_outputs_and_inherited_inputs)
{
    struct kf_queued queued;
    const char *c = new_case(org);
    const char *follow =
        "[{\"kind\":\"f.seg\",\"version\":1,\"when\":{\"output_kind\":\"volume\",\"meta\":{\"modality\":\"CT\"}},"
        "\"inputs\":[{\"name\":\"volume\",\"output\":\"$match\"}],"
        "\"follow\":[{\"kind\":\"f.mesh\",\"version\":1,\"when\":{\"output_kind\":\"labels\"},"
        "\"inputs\":[{\"name\":\"labels\",\"output\":\"$match\"},{\"name\":\"volume\",\"input\":\"volume\"}]}]},"
        "{\"kind\":\"f.none\",\"version\":1,\"when\":{\"output_kind\":\"volume\",\"meta\":{\"modality\":\"MR\"}},"
        "\"inputs\":[{\"name\":\"volume\",\"output\":\"$match\"}]},"
        "{\"kind\":\"f.all\",\"version\":1,\"inputs\":[{\"name\":\"v\",\"output_kind\":\"volume\"}]}]";
    KF_REQUIRE(add(c, NULL, "f.import", "f1", follow, 0, &queued) == KF_OK);
    KF_CHECK_EQ(work("f.import", "volume.0", "volume", "voxels", "{\"modality\":\"CT\",\"x\":1}"), KF_OK);
    KF_CHECK_STR(ask("SELECT string_agg(kind, ' ' ORDER BY kind) FROM kerf.job WHERE case_id = '%s'", c),
                 "f.all f.import f.seg");
    KF_CHECK_EQ(work("f.seg", "labels", "labels", "some labels", "{}"), KF_OK);
    KF_CHECK_STR(ask("SELECT string_agg(i->>'name', ' ' ORDER BY n) FROM kerf.job, "
                     "jsonb_array_elements(inputs) WITH ORDINALITY AS x(i, n) WHERE case_id = '%s' AND kind = "
                     "'f.mesh'", c),
                 "labels volume");
    // Queueing the import again, with one more rule: the work is done, only the new rule queues something.
    KF_REQUIRE(add(c, NULL, "f.import", "f1",
                   "[{\"kind\":\"f.new\",\"version\":1,\"when\":{\"output_kind\":\"volume\"},"
                   "\"inputs\":[{\"name\":\"volume\",\"output\":\"$match\"}]}]", 0, &queued) == KF_OK);
    KF_CHECK_EQ(queued.reused, 1);
    KF_CHECK_STR(ask("SELECT count(*) FROM kerf.job WHERE case_id = '%s' AND kind = 'f.new'", c), "1");
}

KF_TEST(rules_that_cannot_be_read_are_refused_when_they_are_queued)
{
    static const char *const wrong[] = {
        "{}", "[1]", "[{\"kind\":\"k\"}]", "[{\"kind\":\"k\",\"version\":1,\"inputs\":[]}]",
        "[{\"kind\":\"k\",\"version\":1,\"inputs\":[{\"name\":\"x\",\"output\":\"$match\"}]}]",
        "[{\"kind\":\"k\",\"version\":1,\"inputs\":[{\"name\":\"x\",\"output_kind\":\"y\",\"input\":\"z\"}]}]",
        "[{\"kind\":\"k\",\"version\":1,\"colour\":1,\"inputs\":[{\"name\":\"x\",\"input\":\"y\"}]}]",
    };
    const char *c = new_case(org);
    struct kf_queue_input input = input_of("in", "bad");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct kf_queued out;
        struct kf_error err = {0};
        json_t *follow = json_loads(wrong[i], 0, NULL);
        struct kf_queue_job job = {.case_id = c, .kind = "bad", .version = 1, .inputs = &input, .input_count = 1,
                                   .follow = follow};
        KF_CHECK_EQ(kf_queue_add(store, org, &job, &out, &err), KF_INVALID);
        KF_CHECK_STR(err.code, "bad_follow");
        json_decref(follow);
    }
    KF_CHECK_STR(ask("SELECT count(*) FROM kerf.job WHERE case_id = '%s'", c), "0");
}

KF_TEST(a_stale_fence_writes_nothing)
{
    struct kf_queued queued;
    struct kf_claim late, fresh;
    struct kf_error err = {0};
    int count, cancel;
    const char *c = new_case(org);
    KF_REQUIRE(add(c, NULL, "stale", "s1", NULL, 0, &queued) == KF_OK);
    KF_REQUIRE(kf_queue_claim(store, "stale", "late", 0.001, &late, &err) == KF_OK);
    ask("SELECT pg_sleep(0.01)", "");
    KF_CHECK_EQ(kf_queue_reap(store, &count, &err), KF_OK);
    KF_CHECK_EQ(count, 1);
    KF_CHECK_STR(ask("SELECT state || ' ' || error_code FROM kerf.job WHERE id = '%s'", queued.job_id),
                 "queued lease_expired");
    ask("UPDATE kerf.job SET run_after = now() WHERE id = '%s'", queued.job_id);
    KF_REQUIRE(kf_queue_claim(store, "stale", "fresh", 30, &fresh, &err) == KF_OK);
    KF_CHECK(fresh.job.fence > late.job.fence);
    KF_CHECK_EQ(kf_queue_heartbeat(store, &late.job, 30, &cancel, &err), KF_STALE);
    KF_CHECK_EQ(kf_queue_progress(store, &late.job, 0.5, "x", &err), KF_STALE);
    KF_CHECK_EQ(kf_queue_fail(store, &late.job, 1, "c", "d", NULL, &err), KF_STALE);
    KF_CHECK_EQ(kf_queue_give_back(store, &late.job, &err), KF_STALE);
    KF_CHECK_EQ(finish(&late.job, "out", "thing", "late bytes", "{}"), KF_STALE);
    KF_CHECK_STR(ask("SELECT count(*) FROM kerf.artefact WHERE case_id = '%s'", c), "0");
    KF_CHECK_STR(fixture_sql("SELECT count(*) FROM kerf.blob WHERE sha256 = sha256('late bytes')"), "0");
    KF_CHECK_EQ(finish(&fresh.job, "out", "thing", "fresh bytes", "{}"), KF_OK);
    KF_CHECK_EQ(finish(&fresh.job, "out", "thing", "fresh bytes", "{}"), KF_STALE); // twice is once
    kf_claim_release(&late);
    kf_claim_release(&fresh);
}

KF_TEST(failures_are_retried_then_dead_then_retried_by_hand)
{
    struct kf_queued queued;
    struct kf_claim claim;
    struct kf_error err = {0};
    const char *c = new_case(org);
    KF_REQUIRE(add(c, NULL, "dies", "x1", NULL, 0, &queued) == KF_OK);
    for (int attempt = 1; attempt <= 5; attempt++) {
        KF_REQUIRE(kf_queue_claim(store, "dies", "w", 30, &claim, &err) == KF_OK);
        KF_CHECK_EQ(claim.job.attempts, attempt);
        KF_CHECK_EQ(kf_queue_fail(store, &claim.job, 0, "oops", "It failed.", NULL, &err), KF_OK);
        kf_claim_release(&claim);
        if (attempt == 1) { // not at once, but 1 to 3 s later; more when the machine is slow
            KF_CHECK_STR(ask("SELECT run_after BETWEEN started_at + interval '1 s' AND started_at + interval '13 s' "
                             "FROM kerf.job WHERE id = '%s'", queued.job_id), "t");
            ask("UPDATE kerf.job SET run_after = now() + interval '1 hour' WHERE id = '%s'", queued.job_id);
            KF_CHECK_EQ(kf_queue_claim(store, "dies", "w", 30, &claim, &err), KF_NOT_FOUND);
        }
        ask("UPDATE kerf.job SET run_after = now() WHERE id = '%s'", queued.job_id);
    }
    KF_CHECK_STR(ask("SELECT state FROM kerf.job WHERE id = '%s'", queued.job_id), "dead");
    KF_CHECK_STR(ask("SELECT state FROM kerf.cases WHERE id = '%s'", c), "attention");
    KF_CHECK_EQ(kf_queue_retry(store, org, queued.job_id, &err), KF_OK);
    KF_CHECK_STR(ask("SELECT state FROM kerf.cases WHERE id = '%s'", c), "processing");
    KF_CHECK_EQ(kf_queue_retry(store, org, queued.job_id, &err), KF_CONFLICT);
    KF_REQUIRE(kf_queue_claim(store, "dies", "w", 30, &claim, &err) == KF_OK);
    KF_CHECK_EQ(kf_queue_fail(store, &claim.job, 1, "no_bone", "There is none.", NULL, &err), KF_OK);
    kf_claim_release(&claim);
    KF_CHECK_STR(ask("SELECT state || ' ' || error_code FROM kerf.job WHERE id = "
                     "'%s'", queued.job_id), "failed no_bone");
}

// Claims the only waiting job of a kind, ends it, and answers what its case says then.
static const char *end_next(const char *c, const char *kind, const char *code)
{
    struct kf_claim claim;
    struct kf_error err = {0};
    if (kf_queue_claim(store, kind, "w", 30, &claim, &err))
        return "nothing was claimed";
    KF_CHECK_EQ(code ? kf_queue_fail(store, &claim.job, 1, code, "It failed.", NULL, &err)
                     : kf_queue_finish(store, &claim.job, NULL, 0, NULL, &err), KF_OK);
    kf_claim_release(&claim);
    return ask("SELECT state FROM kerf.cases WHERE id = '%s'", c);
}

KF_TEST(a_failure_that_was_seen_asks_for_attention_no_more)
{
    struct kf_queued first, second;
    struct kf_error err = {0};
    const char *c = new_case(org);
    char account[KF_ID_TEXT];
    snprintf(account, sizeof account, "%s",
             ask("INSERT INTO kerf.account (id, organisation_id, login, display_name, role, password_hash) "
                 "VALUES (kerf.new_id(), '%s', 'seen', 'Seen', 'planner', 'x') RETURNING id", org));
    KF_REQUIRE(add(c, NULL, "seen", "s1", NULL, 0, &first) == KF_OK);
    KF_REQUIRE(add(c, NULL, "seen", "s2", NULL, 0, &second) == KF_OK);
    KF_CHECK_EQ(kf_queue_acknowledge(store, org, first.job_id, NULL, &err), KF_CONFLICT); // it waits
    KF_CHECK_STR(err.code, "job_not_failed");
    end_next(c, "seen", "no_bone");
    KF_CHECK_STR(end_next(c, "seen", "no_bone"), "attention");
    // One of two was seen, then the other; twice is as good as once, and the first to do it stays.
    KF_CHECK_EQ(kf_queue_acknowledge(store, org, first.job_id, account, &err), KF_OK);
    KF_CHECK_STR(ask("SELECT state FROM kerf.cases WHERE id = '%s'", c), "attention");
    KF_CHECK_EQ(kf_queue_acknowledge(store, org, second.job_id, NULL, &err), KF_OK);
    KF_CHECK_STR(ask("SELECT state FROM kerf.cases WHERE id = '%s'", c), "ready");
    KF_CHECK_EQ(kf_queue_acknowledge(store, org, first.job_id, NULL, &err), KF_OK);
    KF_CHECK_STR(ask("SELECT acknowledged_by FROM kerf.job WHERE id = '%s'", first.job_id), account);
    KF_CHECK_STR(ask("SELECT body->>'acknowledged' FROM kerf.event WHERE body->>'job_id' = '%s' "
                     "ORDER BY id DESC LIMIT 1", first.job_id), "true");
    KF_CHECK_EQ(kf_queue_acknowledge(store, fixture_organisation("Elsewhere"), first.job_id, NULL, &err), KF_NOT_FOUND);
    // Tried again it counts again, and a retry that succeeds leaves nothing to see.
    KF_CHECK_EQ(kf_queue_retry(store, org, first.job_id, &err), KF_OK);
    KF_CHECK_STR(ask("SELECT acknowledged_at IS NULL AND acknowledged_by IS NULL FROM kerf.job WHERE id = '%s'",
                     first.job_id), "t");
    KF_CHECK_STR(end_next(c, "seen", "no_bone"), "attention");
    KF_CHECK_EQ(kf_queue_retry(store, org, first.job_id, &err), KF_OK);
    KF_CHECK_STR(end_next(c, "seen", NULL), "ready");
    KF_CHECK_EQ(kf_queue_acknowledge(store, org, first.job_id, NULL, &err), KF_CONFLICT); // it is done
}

KF_TEST(cancelling_a_waiting_and_a_running_job)
{
    struct kf_queued queued;
    struct kf_claim claim;
    struct kf_error err = {0};
    int cancel;
    const char *c = new_case(org);
    KF_REQUIRE(add(c, NULL, "cancel", "c1", NULL, 0, &queued) == KF_OK);
    KF_CHECK_EQ(kf_queue_cancel(store, org, queued.job_id, &err), KF_OK);
    KF_CHECK_STR(ask("SELECT state FROM kerf.job WHERE id = '%s'", queued.job_id), "cancelled");
    KF_CHECK_EQ(kf_queue_cancel(store, org, queued.job_id, &err), KF_CONFLICT);
    KF_REQUIRE(add(c, NULL, "cancel", "c1", NULL, 0, &queued) == KF_OK); // may be queued again
    KF_CHECK_EQ(queued.reused, 0);
    KF_REQUIRE(kf_queue_claim(store, "cancel", "w", 30, &claim, &err) == KF_OK);
    KF_CHECK_EQ(kf_queue_heartbeat(store, &claim.job, 30, &cancel, &err), KF_OK);
    KF_CHECK_EQ(cancel, 0);
    KF_CHECK_EQ(kf_queue_cancel(store, org, queued.job_id, &err), KF_OK);
    KF_CHECK_EQ(kf_queue_heartbeat(store, &claim.job, 30, &cancel, &err), KF_OK);
    KF_CHECK_EQ(cancel, 1);
    KF_CHECK_EQ(kf_queue_cancelled(store, &claim.job, &err), KF_OK);
    KF_CHECK_STR(ask("SELECT state FROM kerf.job WHERE id = '%s'", queued.job_id), "cancelled");
    KF_CHECK_EQ(kf_queue_cancel(store, org, "not-an-id", &err), KF_NOT_FOUND);
    kf_claim_release(&claim);
}

KF_TEST(a_grown_series_supersedes_and_what_did_not_change_stays)
{
    static const char follow[] = "[{\"kind\":\"s.seg\",\"version\":1,\"when\":{\"output_kind\":\"volume\"},"
                                 "\"inputs\":[{\"name\":\"volume\",\"output\":\"$match\"}]}]";
    struct kf_queued queued;
    const char *c = new_case(org), *s = new_series(org, c);
    KF_REQUIRE(add(c, s, "s.import", "90 slices", follow, 1, &queued) == KF_OK);
    KF_CHECK_EQ(work("s.import", "volume.0", "volume", "short", "{}"), KF_OK);
    KF_CHECK_EQ(work("s.seg", "labels", "labels", "short labels", "{}"), KF_OK);
    KF_REQUIRE(add(c, s, "s.import", "93 slices", follow, 1, &queued) == KF_OK);
    KF_CHECK_EQ(work("s.import", "volume.0", "volume", "long", "{}"), KF_OK);
    KF_CHECK_STR(ask("SELECT count(*) FROM kerf.artefact WHERE case_id = '%s' AND superseded", c), "2");
    KF_CHECK_EQ(work("s.seg", "labels", "labels", "long labels", "{}"), KF_OK);
    // An import that gives the same volume: its segmentation is not made again and stays current.
    KF_REQUIRE(add(c, s, "s.import", "94 slices", follow, 1, &queued) == KF_OK);
    KF_CHECK_EQ(work("s.import", "volume.0", "volume", "long", "{}"), KF_OK);
    KF_CHECK_EQ(work("s.seg", "labels", "labels", "x", "{}"), KF_NOT_FOUND);
    KF_CHECK_STR(ask("SELECT string_agg((content_sha256 = sha256('long labels'))::text, ' ') "
                     "FROM kerf.artefact WHERE case_id = '%s' AND name = 'labels' AND NOT superseded", c), "true");
    KF_CHECK_STR(ask("SELECT count(*) FROM kerf.artefact WHERE case_id = '%s' AND name = 'volume.0' AND NOT superseded",
                     c), "1");
}

KF_TEST(a_newer_import_stops_the_older_ones)
{
    struct kf_queued old, running, fresh;
    struct kf_claim claim;
    struct kf_error err = {0};
    int cancel;
    const char *c = new_case(org), *s = new_series(org, c);
    KF_REQUIRE(add(c, s, "o.import", "o1", NULL, 1, &running) == KF_OK);
    KF_REQUIRE(kf_queue_claim(store, "o.import", "w", 30, &claim, &err) == KF_OK);
    KF_REQUIRE(add(c, s, "o.import", "o2", NULL, 1, &old) == KF_OK);
    KF_REQUIRE(add(c, s, "o.import", "o3", NULL, 1, &fresh) == KF_OK);
    KF_CHECK_STR(ask("SELECT state FROM kerf.job WHERE id = '%s'", old.job_id), "cancelled");
    KF_CHECK_EQ(kf_queue_heartbeat(store, &claim.job, 30, &cancel, &err), KF_OK);
    KF_CHECK_EQ(cancel, 1);
    // The old one ends all the same, after the new one: its results are not the current ones.
    KF_CHECK_EQ(work("o.import", "volume.0", "volume", "newest", "{}"), KF_OK);
    KF_CHECK_EQ(finish(&claim.job, "volume.0", "volume", "oldest", "{}"), KF_OK);
    KF_CHECK_STR(ask("SELECT string_agg((content_sha256 = sha256('newest'))::text, ' ') FROM kerf.artefact "
                     "WHERE case_id = '%s' AND NOT superseded", c), "true");
    kf_claim_release(&claim);
}

KF_TEST(work_that_was_overtaken_while_it_ran_counts_for_nothing)
{
    static const char follow[] =
        "[{\"kind\":\"v.seg\",\"version\":1,\"when\":{\"output_kind\":\"volume\"},"
        "\"inputs\":[{\"name\":\"volume\",\"output\":\"$match\"}],"
        "\"follow\":[{\"kind\":\"v.mesh\",\"version\":1,\"when\":{\"output_kind\":\"labels\"},"
        "\"inputs\":[{\"name\":\"labels\",\"output\":\"$match\"}]}]},"
        "{\"kind\":\"v.view\",\"version\":1,\"when\":{\"output_kind\":\"volume\"},"
        "\"inputs\":[{\"name\":\"volume\",\"output\":\"$match\"}]}]";
    struct kf_queued queued;
    struct kf_claim late;
    struct kf_error err = {0};
    int cancel;
    const char *c = new_case(org), *s = new_series(org, c);
    KF_REQUIRE(add(c, s, "v.import", "partial", follow, 1, &queued) == KF_OK);
    KF_CHECK_EQ(work("v.import", "volume.0", "volume", "partial volume", "{}"), KF_OK);
    KF_REQUIRE(kf_queue_claim(store, "v.seg", "late", 30, &late, &err) == KF_OK);
    KF_REQUIRE(add(c, s, "v.import", "whole", follow, 1, &queued) == KF_OK);
    KF_CHECK_EQ(work("v.import", "volume.0", "volume", "whole volume", "{}"), KF_OK);
    // The view of the partial volume waited: cancelled. Its segmentation runs: asked to stop, but it ends all the same.
    KF_CHECK_STR(ask("SELECT string_agg(state, ' ' ORDER BY created_at) FROM kerf.job WHERE case_id = '%s' "
                     "AND kind = 'v.view'", c), "cancelled queued");
    KF_CHECK_EQ(kf_queue_heartbeat(store, &late.job, 30, &cancel, &err), KF_OK);
    KF_CHECK_EQ(cancel, 1);
    KF_CHECK_EQ(work("v.seg", "labels", "labels", "whole labels", "{}"), KF_OK);
    KF_CHECK_EQ(finish(&late.job, "labels", "labels", "partial labels", "{}"), KF_OK);
    KF_CHECK_STR(ask("SELECT string_agg((content_sha256 = sha256('whole labels'))::text, ' ') FROM kerf.artefact "
                     "WHERE case_id = '%s' AND kind = 'labels' AND NOT superseded", c), "true");
    KF_CHECK_STR(ask("SELECT count(*) FROM kerf.job WHERE case_id = '%s' AND kind = 'v.mesh'", c), "1");
    kf_claim_release(&late);
}

KF_TEST(an_input_that_is_gone_fails_the_job_with_a_reason)
{
    struct kf_queue_input input = {.name = "in", .media_type = ""};
    struct kf_queued queued;
    struct kf_claim claim;
    struct kf_error err = {0};
    const char *c = new_case(org);
    kf_sha256("nobody has this", 15, input.sha256);
    struct kf_queue_job job = {.case_id = c, .kind = "gone", .version = 1, .inputs = &input, .input_count = 1};
    KF_REQUIRE(kf_queue_add(store, org, &job, &queued, &err) == KF_OK);
    KF_CHECK_EQ(kf_queue_claim(store, "gone", "w", 30, &claim, &err), KF_NOT_FOUND);
    KF_CHECK_STR(ask("SELECT state || ' ' || error_code FROM kerf.job WHERE id = '%s'", queued.job_id),
                 "failed input_missing");
}

KF_TEST(every_change_is_an_event_and_wakes_the_listeners)
{
    struct kf_queued queued;
    const char *c = new_case(org);
    KF_REQUIRE(add(c, NULL, "event", "e1", NULL, 0, &queued) == KF_OK);
    KF_CHECK_EQ(work("event", "out", "thing", "event bytes", "{}"), KF_OK);
    KF_CHECK_STR(ask("SELECT string_agg(kind || coalesce(':' || (body->>'state'), ''), ' ' ORDER BY id) FROM "
                     "kerf.event "
                     "WHERE case_id = '%s'", c),
                 "case.created:receiving job.changed:queued case.changed:processing job.changed:running "
                 "job.changed:done artefact.made case.changed:ready");
}

static void prepare(void)
{
    org = fixture_organisation("Queue");
    store = fixture_app();
}

KF_TEST_MAIN(prepare(); KF_RUN(keys_depend_on_everything_that_makes_a_result_and_on_nothing_else);
             KF_RUN(the_same_work_is_queued_once_and_copied_between_cases);
             KF_RUN(follow_ups_take_matching_outputs_and_inherited_inputs);
             KF_RUN(rules_that_cannot_be_read_are_refused_when_they_are_queued);
             KF_RUN(a_stale_fence_writes_nothing); KF_RUN(failures_are_retried_then_dead_then_retried_by_hand);
             KF_RUN(a_failure_that_was_seen_asks_for_attention_no_more);
             KF_RUN(cancelling_a_waiting_and_a_running_job);
             KF_RUN(a_grown_series_supersedes_and_what_did_not_change_stays);
             KF_RUN(work_that_was_overtaken_while_it_ran_counts_for_nothing);
             KF_RUN(a_newer_import_stops_the_older_ones); KF_RUN(an_input_that_is_gone_fails_the_job_with_a_reason);
             KF_RUN(every_change_is_an_event_and_wakes_the_listeners); fixture_stop();)
