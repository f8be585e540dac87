// Uploads whose reader (`kerf-job index`) has gone wrong, what a server that died has left behind, and threads that begin
// while the database is away.
#include "server/app/events.h"
#include "server/app/receive.h"
#include "server/base/config.h"
#include "server/base/log.h"
#include "server/base/test.h"
#include "server/base/timeid.h"
#include "server/store/store.h"
#include "tests/service/fixture_pg.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct kf_app *app;
static struct kf_app_thread *thread;
static char scratch[300], program[300];
static const char *org;

// What stands in for kerf-job: a shell script with the out folder in $out.
static void reader(const char *lines)
{
    FILE *to = fopen(program, "w");
    fprintf(to, "#!/bin/sh\nout=$(dirname \"$3\")/out\n%s\n", lines);
    fclose(to);
    chmod(program, 0700);
}

struct heard {
    int count;
    char reason[64];
};

static void hear(void *to, const struct kf_received *received)
{
    struct heard *heard = to;
    heard->count++;
    KF_CHECK_EQ(received->status, KF_RECEIVED_REFUSED);
    snprintf(heard->reason, sizeof heard->reason, "%s", received->reason);
}

static struct kf_upload *begin_upload(void)
{
    struct kf_error err = {0};
    struct kf_upload *upload = NULL;
    struct kf_actor actor = {.organisation_id = org, .account_id = "", .session_id = "", .role = KF_ROLE_TECHNICIAN,
                             .address = "127.0.0.1", .request_id = ""};
    KF_CHECK_EQ(kf_upload_open(app, &actor, "upload", NULL, &upload, &err), KF_OK);
    KF_CHECK_EQ(kf_upload_begin(upload, "a.dcm", &err), KF_OK);
    KF_CHECK_EQ(kf_upload_data(upload, "bytes", 5, &err), KF_OK);
    KF_CHECK_EQ(kf_upload_end(upload, &err), KF_OK);
    return upload;
}

static struct heard upload_one(void)
{
    struct kf_error err = {0};
    struct heard heard = {0};
    struct kf_upload *upload = begin_upload();
    KF_CHECK_EQ(kf_upload_finish(upload, thread, &err), KF_OK);
    kf_upload_each(upload, hear, &heard);
    kf_upload_free(upload);
    return heard;
}

KF_TEST(a_reader_cannot_fill_the_servers_memory)
{
    struct rusage use;
    reader("truncate -s 1G \"$out/index.jsonl\""); // one line without an end
    struct heard heard = upload_one();
    KF_CHECK(heard.count >= 1);
    getrusage(RUSAGE_SELF, &use);
    KF_CHECK(use.ru_maxrss < 256 << 10); // KiB
}

KF_TEST(a_file_that_the_reader_forgot_is_refused)
{
    reader(": > \"$out/index.jsonl\"");
    struct heard heard = upload_one();
    KF_CHECK_EQ(heard.count, 1); // nothing is no success
    KF_CHECK_STR(heard.reason, "nothing_found");
}

KF_TEST(what_a_dead_server_left_is_removed_and_what_a_living_one_needs_stays)
{
    char left[400], file[500], id[KF_ID_TEXT];
    kf_id_new(id);
    snprintf(left, sizeof left, "%s/upload-%s", scratch, id);
    snprintf(file, sizeof file, "%s/0", left);
    KF_REQUIRE(mkdir(left, 0700) == 0 && mkdir(file, 0700) == 0);
    reader(": > \"$out/index.jsonl\"");
    struct kf_upload *upload = begin_upload();
    kf_upload_sweep(scratch); // another server starts
    KF_CHECK(access(left, F_OK) != 0);
    struct kf_error err = {0};
    struct heard heard = {0};
    KF_CHECK_EQ(kf_upload_finish(upload, thread, &err), KF_OK);
    kf_upload_each(upload, hear, &heard);
    KF_CHECK_STR(heard.reason, "nothing_found"); // not "its folder is gone"
    kf_upload_free(upload);
}

KF_TEST(a_thread_that_begins_while_the_database_is_away_works_later)
{
    struct kf_error err = {0};
    int64_t newest;
    fixture_kill_postgres();
    struct kf_app_thread *early = kf_app_thread_new(app);
    KF_REQUIRE(early != NULL);
    KF_CHECK_EQ(kf_app_events_newest(early, org, &newest, &err), KF_DB);
    fixture_restart_postgres();
    KF_CHECK_EQ(kf_app_events_newest(early, org, &newest, &err), KF_OK);
    kf_app_thread_free(early);
}

static int start(void)
{
    static char blobs[300];
    struct kf_error err = {0};
    struct kf_app_config config;
    kf_log_init("test", KF_LOG_ERROR);
    if (kf_config_load(fixture_folder(), &err) != KF_OK)
        return 0;
    kf_app_config_read(&config);
    snprintf(blobs, sizeof blobs, "%s/blobs", fixture_folder());
    snprintf(scratch, sizeof scratch, "%s/scratch", fixture_folder());
    snprintf(program, sizeof program, "%s/reader", fixture_folder());
    config.database_url = fixture_server_url();
    config.blob_location = blobs;
    config.scratch = scratch;
    config.job_program = program;
    org = fixture_organisation("Uploads");
    if (kf_app_new(&config, &app, &err) != KF_OK)
        return 0;
    thread = kf_app_thread_new(app);
    return thread != NULL;
}

int main(void)
{
    if (!start()) {
        fprintf(stderr, "FAIL start\n");
        fixture_stop();
        return 1;
    }
    KF_RUN(a_reader_cannot_fill_the_servers_memory);
    KF_RUN(a_file_that_the_reader_forgot_is_refused);
    KF_RUN(what_a_dead_server_left_is_removed_and_what_a_living_one_needs_stays);
    KF_RUN(a_thread_that_begins_while_the_database_is_away_works_later);
    kf_app_thread_free(thread);
    kf_app_free(app);
    fixture_stop();
    return kf_test_failures ? 1 : 0;
}
