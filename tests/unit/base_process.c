#include "server/base/process.h"
#include "server/base/test.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static enum kf_status shell(const char *script, struct kf_spawn spawn, pid_t *pid, struct kf_error *err)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    spawn.program = "sh";
    spawn.argv = argv;
    return kf_spawn(&spawn, pid, err);
}

static const struct kf_spawn plain = {.in = -1, .out = -1, .err = -1};

// What takes no time takes at most this, on a machine that is busy with other things.
#define LONG_MS 60000

KF_TEST(exit_codes_signals_and_timeouts_are_told_apart)
{
    pid_t pid;
    int status;
    char text[32];
    struct kf_error err;
    KF_REQUIRE(shell("exit 3", plain, &pid, &err) == KF_OK);
    KF_CHECK_EQ(kf_process_wait(pid, LONG_MS, &status, &err), KF_OK);
    kf_process_describe(status, text, sizeof text);
    KF_CHECK_STR(text, "exit 3");
    KF_REQUIRE(shell("kill -9 $$", plain, &pid, &err) == KF_OK);
    KF_CHECK_EQ(kf_process_wait(pid, LONG_MS, &status, &err), KF_OK);
    kf_process_describe(status, text, sizeof text);
    KF_CHECK_STR(text, "signal 9");
    KF_REQUIRE(shell("exec sleep 60", plain, &pid, &err) == KF_OK);
    KF_CHECK_EQ(kf_process_wait(pid, 20, &status, &err), KF_TIMEOUT);
    status = kf_process_stop(pid, SIGTERM, LONG_MS);
    KF_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    KF_CHECK(kill(pid, 0) != 0);
}

KF_TEST(a_process_that_ignores_the_signal_is_killed)
{
    pid_t pid;
    struct kf_error err;
    int ends[2];
    char c;
    KF_REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    struct kf_spawn spawn = plain;
    spawn.out = ends[1];
    KF_REQUIRE(shell("trap '' TERM; echo; while :; do sleep 0.05; done", spawn, &pid, &err) == KF_OK);
    KF_CHECK_EQ(read(ends[0], &c, 1), 1); // the trap is set
    close(ends[0]);
    close(ends[1]);
    int status = kf_process_stop(pid, SIGTERM, 100);
    KF_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

KF_TEST(a_missing_program_is_an_error_not_an_exit_code)
{
    pid_t pid;
    struct kf_error err;
    const char *argv[] = {"kerf-no-such-program", NULL};
    struct kf_spawn spawn = plain;
    spawn.program = argv[0];
    spawn.argv = argv;
    KF_CHECK_EQ(kf_spawn(&spawn, &pid, &err), KF_NOT_FOUND);
    spawn.program = "/etc/passwd";
    KF_CHECK(kf_spawn(&spawn, &pid, &err) != KF_OK);
}

KF_TEST(only_named_descriptors_reach_the_child)
{
    char folder[] = "/tmp/kerf-process-XXXXXX", text[64];
    struct kf_error err;
    pid_t pid;
    int status;
    KF_REQUIRE(mkdtemp(folder));
    int leaked = open(folder, O_RDONLY), kept = open(folder, O_RDONLY | O_CLOEXEC);
    KF_REQUIRE(leaked >= 0 && kept >= 0);
    snprintf(text, sizeof text, "[ -e /proc/self/fd/%d ] && [ ! -e /proc/self/fd/%d ]", kept, leaked);
    struct kf_spawn spawn = plain;
    spawn.keep = &kept;
    spawn.keep_count = 1;
    KF_REQUIRE(shell(text, spawn, &pid, &err) == KF_OK);
    KF_CHECK_EQ(kf_process_wait(pid, LONG_MS, &status, &err), KF_OK);
    KF_CHECK_EQ(status, 0);
    close(leaked);
    close(kept);
    rmdir(folder);
}

KF_TEST(output_is_taken_and_failures_are_seen)
{
    char text[8];
    struct kf_error err;
    const char *const hello[] = {"echo", "hello there, this is long", NULL};
    KF_CHECK_EQ(kf_process_output(hello, NULL, text, sizeof text, LONG_MS, &err), KF_OK);
    KF_CHECK_STR(text, "hello t");
    const char *const fails[] = {"false", NULL};
    KF_CHECK_EQ(kf_process_output(fails, NULL, text, sizeof text, LONG_MS, &err), KF_IO);
}

KF_TEST(root_is_given_up_for_good)
{
    const char *user = kf_process_unprivileged_user(NULL);
    if (!user)
        KF_SKIP("only root can become somebody else");
    char said[200] = "\n";
    struct kf_error err;
    const char *const who[] = {"sh", "-c",
                               "id -ru; id -u; id -G | tr ' ' '\n'; if test -r /etc/shadow; then echo 0; fi", NULL};
    KF_CHECK_EQ(kf_process_output(who, user, said + 1, sizeof said - 1, LONG_MS, &err), KF_OK);
    KF_CHECK(said[1] && !strstr(said, "\n0\n")); // neither user nor group of root's, nor what only root may read
}

KF_TEST_MAIN(KF_RUN(exit_codes_signals_and_timeouts_are_told_apart); KF_RUN(a_process_that_ignores_the_signal_is_killed);
             KF_RUN(a_missing_program_is_an_error_not_an_exit_code); KF_RUN(only_named_descriptors_reach_the_child);
             KF_RUN(output_is_taken_and_failures_are_seen); KF_RUN(root_is_given_up_for_good);)
