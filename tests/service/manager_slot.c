// A worker's slot with a child of the test's own: what it tells reaches the job's row, a cancel and a stop end it.
#include "server/base/str.h"
#include "server/base/test.h"
#include "server/queue/queue.h"
#include "tests/service/fixture_pg.h"
#include "workers/manager/slot.h"

#include <sys/stat.h>
#include <unistd.h>

// In place of kerf-job: tells what the job's parameter "lines" says, each line when the test has seen the one before, and
// goes on until it is stopped.
static const char child_script[] =
    "#!/usr/bin/env python3\n"
    "import json, os, sys, time\n"
    "spec = json.load(open(sys.argv[3]))\n"
    "for number, line in enumerate(spec['params']['lines']):\n"
    "    while number and not os.path.exists(f'{sys.argv[0]}.seen{number - 1}'):\n"
    "        time.sleep(0.01)\n"
    "    os.write(spec['progress_fd'], (json.dumps(line, ensure_ascii=False) + '\\n').encode())\n"
    "time.sleep(300)\n";

static struct kf_worker worker = {.kinds = "slot", .lease_s = 30, .threads = 1, .lock = PTHREAD_MUTEX_INITIALIZER,
                                  .wake = PTHREAD_COND_INITIALIZER};
static struct kf_slot slot = {.worker = &worker, .name = "test:1:0"};
static const char *org;
static char case_id[KF_ID_TEXT];

static void start_slot(void)
{
    static char program[4200], folder[4200];
    struct kf_error err;
    snprintf(program, sizeof program, "%s/child", fixture_folder());
    FILE *f = fopen(program, "w");
    if (!f || fputs(child_script, f) < 0 || fclose(f) || chmod(program, 0700))
        abort();
    worker.program = program;
    worker.database_url = fixture_server_url();
    snprintf(folder, sizeof folder, "%s/blobs", fixture_folder());
    if (kf_blob_store_open(&worker.blobs, folder, &err))
        abort();
    snprintf(folder, sizeof folder, "%s/scratch", fixture_folder());
    if (mkdir(folder, 0700) || kf_scratch_open(&worker.scratch, folder, &err))
        abort();
    char sql[300];
    org = fixture_organisation("One");
    kf_id_new(case_id);
    snprintf(sql, sizeof sql, "INSERT INTO kerf.cases (id, organisation_id) VALUES ('%s', '%s')", case_id, org);
    fixture_sql(sql);
    atomic_store(&worker.stopping, 0);
    if (pthread_create(&slot.thread, NULL, kf_slot_run, &slot))
        abort();
}

static void stop_slot(void)
{
    atomic_store(&worker.stopping, 1);
    pthread_join(slot.thread, NULL);
}

static void add(const char *lines, struct kf_queued *out)
{
    struct kf_error err = {0};
    json_t *params = json_pack("{s:o}", "lines", json_loads(lines, 0, NULL));
    struct kf_queue_job job = {.case_id = case_id, .kind = "slot", .version = 1, .params = params};
    if (kf_queue_add(fixture_app(), org, &job, out, &err)) {
        fprintf(stderr, "add: %s %s\n", err.code, err.detail);
        abort();
    }
    json_decref(params);
}

// The first lines, up to this number, have reached the row.
static void seen(int number)
{
    char path[4300];
    snprintf(path, sizeof path, "%s.seen%d", worker.program, number);
    FILE *f = fopen(path, "w");
    if (!f || fclose(f))
        abort();
}

// The job's row as "state progress stage", waited for at most a minute.
static int becomes(const struct kf_queued *queued, const char *wanted)
{
    char sql[300];
    const char *is = "";
    snprintf(sql, sizeof sql,
             "SELECT state || ' ' || round(progress::numeric, 2) || ' ' || coalesce(stage, '') FROM kerf.job "
             "WHERE id = '%s'",
             queued->job_id);
    for (int tries = 0; tries < 1200; tries++) {
        is = fixture_sql(sql);
        if (strcmp(is, wanted) == 0)
            return 1;
        usleep(50000);
    }
    fprintf(stderr, "the job is \"%s\", not \"%s\"\n", is, wanted);
    return 0;
}

KF_TEST(a_stage_alone_is_news)
{
    struct kf_queued queued;
    struct kf_error err;
    add("[{\"progress\": 0, \"stage\": \"first\"}, {\"progress\": 0, \"stage\": \"second\"},"
        " {\"progress\": 0.25, \"stage\": \"second\"}, {\"progress\": 0.25, \"stage\": \"third\"}]",
        &queued);
    static const char *const wanted[] = {"0.00 first", "0.00 second", "0.25 second", "0.25 third"};
    for (int i = 0; i < 4; i++) {
        char row[40];
        snprintf(row, sizeof row, "running %s", wanted[i]);
        KF_CHECK(becomes(&queued, row));
        seen(i);
    }
    KF_CHECK_EQ(kf_queue_cancel(fixture_app(), org, queued.job_id, &err), KF_OK);
    atomic_fetch_add(&slot.cancel_hint, 1);
    KF_CHECK(becomes(&queued, "cancelled 0.25 third"));
}

// 64 bytes are kept of a stranger's stage; the database would take no half of a character.
KF_TEST(a_long_stage_is_cut_between_characters)
{
    struct kf_queued queued;
    struct kf_error err;
    struct kf_str lines = {0}, wanted = {0};
    kf_str_add_text(&lines, "[{\"progress\": 0.5, \"stage\": \"");
    kf_str_add_text(&wanted, "running 0.50 ");
    for (int i = 0; i < 40; i++) {
        kf_str_add_text(&lines, "\xc3\xa9");
        kf_str_add_text(&wanted, i < 31 ? "\xc3\xa9" : "");
    }
    kf_str_add_text(&lines, "\"}]");
    add(kf_str_text(&lines), &queued);
    KF_CHECK(becomes(&queued, kf_str_text(&wanted)));
    kf_str_release(&lines);
    kf_str_release(&wanted);
    KF_CHECK_EQ(kf_queue_cancel(fixture_app(), org, queued.job_id, &err), KF_OK);
    atomic_fetch_add(&slot.cancel_hint, 1);
}

KF_TEST(a_worker_that_stops_gives_its_job_back)
{
    struct kf_queued queued;
    char sql[200];
    add("[{\"progress\": 0.125, \"stage\": \"begun\"}]", &queued);
    KF_CHECK(becomes(&queued, "running 0.13 begun"));
    stop_slot();
    snprintf(sql, sizeof sql, "SELECT state || ' ' || attempts FROM kerf.job WHERE id = '%s'", queued.job_id);
    KF_CHECK_STR(fixture_sql(sql), "queued 0");
}

KF_TEST_MAIN(start_slot(); KF_RUN(a_stage_alone_is_news); KF_RUN(a_long_stage_is_cut_between_characters);
             KF_RUN(a_worker_that_stops_gives_its_job_back); kf_scratch_close(&worker.scratch);
             kf_blob_store_close(worker.blobs); fixture_stop();)
