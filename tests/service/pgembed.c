// The private PostgreSQL starts from nothing, survives a kill, and leaves nothing behind.
#include "server/base/process.h"
#include "server/base/test.h"
#include "server/pgembed/pgembed.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char root[] = "/tmp/kerf-pgembed.XXXXXX";

static struct kf_pgembed *start(const char *name)
{
    char folder[128];
    struct kf_pgembed *pg = NULL;
    struct kf_error err = {0};
    snprintf(folder, sizeof folder, "%s/%s/pg", root, name);
    if (kf_pgembed_start(&(struct kf_pgembed_options){.directory = folder}, &pg, &err))
        fprintf(stderr, "%s: %s\n", err.code, err.detail);
    return pg;
}

static enum kf_status ask(const struct kf_pgembed *pg, const char *sql, char *answer, size_t size)
{
    const char *const argv[] = {"psql", "-X", "-A", "-t", "-d", kf_pgembed_owner_url(pg), "-c", sql, NULL};
    struct kf_error err;
    return kf_process_output(argv, NULL, answer, size, 10000, &err);
}

KF_TEST(it_starts_from_nothing_and_is_durable)
{
    char answer[128];
    struct kf_pgembed *pg = start("a");
    KF_REQUIRE(pg);
    static const char settings[] = "SELECT current_setting('fsync') || current_setting('synchronous_commit') || "
                                   "current_setting('listen_addresses') || current_setting('data_checksums')";
    KF_CHECK_EQ(ask(pg, settings, answer, sizeof answer), KF_OK);
    KF_CHECK_STR(answer, "ononon\n");
    kf_pgembed_stop(pg);
}

KF_TEST(a_killed_server_is_seen_and_restarts_with_its_rows)
{
    char answer[128];
    struct kf_error err;
    struct kf_pgembed *pg = start("a");
    KF_REQUIRE(pg);
    KF_CHECK_EQ(ask(pg, "CREATE TABLE t AS SELECT 42 AS n", answer, sizeof answer), KF_OK);
    kill(kf_pgembed_pid(pg), SIGKILL);
    for (int i = 0; i < 3000 && kf_pgembed_alive(pg); i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    KF_CHECK(!kf_pgembed_alive(pg));
    KF_REQUIRE(kf_pgembed_restart(pg, &err) == KF_OK);
    KF_CHECK_EQ(ask(pg, "SELECT n FROM t", answer, sizeof answer), KF_OK);
    KF_CHECK_STR(answer, "42\n");
    kf_pgembed_stop(pg);
}

KF_TEST(stopping_leaves_no_process)
{
    struct kf_pgembed *pg = start("a");
    KF_REQUIRE(pg);
    pid_t pid = kf_pgembed_pid(pg);
    KF_CHECK(kill(pid, 0) == 0);
    kf_pgembed_stop(pg);
    KF_CHECK(kill(pid, 0) != 0);
}

KF_TEST(a_long_path_gets_its_socket_elsewhere)
{
    char deep[200] = "deep";
    char answer[32];
    for (int i = 0; i < 12; i++)
        strcat(deep, "/folder123");
    char folder[400];
    struct kf_pgembed *pg = NULL;
    struct kf_error err = {0};
    snprintf(folder, sizeof folder, "%s/%s/pg", root, deep);
    KF_REQUIRE(kf_pgembed_start(&(struct kf_pgembed_options){.directory = folder}, &pg, &err) == KF_OK);
    KF_CHECK_EQ(ask(pg, "SELECT 1", answer, sizeof answer), KF_OK);
    kf_pgembed_stop(pg);
}

KF_TEST(a_folder_its_user_cannot_enter_is_refused_with_a_reason)
{
    if (geteuid() != 0)
        KF_SKIP("only root runs PostgreSQL as another user");
    char closed[128], folder[200];
    struct kf_pgembed *pg = NULL;
    struct kf_error err = {0};
    snprintf(closed, sizeof closed, "%s/closed", root);
    mkdir(closed, 0700);
    snprintf(folder, sizeof folder, "%s/data/pg", closed);
    KF_CHECK_EQ(kf_pgembed_start(&(struct kf_pgembed_options){.directory = folder}, &pg, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "data_unreachable");
}

KF_TEST(programs_are_taken_from_the_folder_that_is_named)
{
    char folder[128];
    struct kf_pgembed *pg = NULL;
    struct kf_error err = {0};
    snprintf(folder, sizeof folder, "%s/other", root);
    struct kf_pgembed_options options = {.directory = folder, .programs = root};
    KF_CHECK_EQ(kf_pgembed_start(&options, &pg, &err), KF_UNAVAILABLE);
    KF_CHECK_STR(err.code, "postgres_missing");
}

static void prepare(void)
{
    if (!mkdtemp(root) || chmod(root, 0755))
        abort();
}

static void clean(void)
{
    char answer[8];
    const char *const argv[] = {"rm", "-rf", root, NULL};
    (void)!kf_process_output(argv, NULL, answer, sizeof answer, 10000, NULL);
}

KF_TEST_MAIN(prepare(); KF_RUN(it_starts_from_nothing_and_is_durable);
             KF_RUN(a_killed_server_is_seen_and_restarts_with_its_rows); KF_RUN(stopping_leaves_no_process);
             KF_RUN(a_long_path_gets_its_socket_elsewhere);
             KF_RUN(a_folder_its_user_cannot_enter_is_refused_with_a_reason);
             KF_RUN(programs_are_taken_from_the_folder_that_is_named); clean();)
