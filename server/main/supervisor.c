#include "server/main/supervisor.h"

#include "server/base/log.h"
#include "server/base/process.h"
#include "server/base/timeid.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STABLE_MS      10000 // a daemon that lived this long had a good start
#define PAUSE_FIRST_MS 100
#define PAUSE_MOST_MS  5000

static int64_t now_ms(void)
{
    return kf_time_monotonic_ns() / 1000000;
}

static void watched_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGCHLD);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

void kf_supervisor_signals(void)
{
    sigset_t set;
    watched_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

enum kf_status kf_supervisor_add(struct kf_supervisor *supervisor, const char *name, struct kf_error *err)
{
    char folder[3072];
    struct kf_daemon *daemon = &supervisor->daemons[supervisor->count];
    enum kf_status status = kf_process_own_folder(folder, sizeof folder, err);
    if (status)
        return status;
    *daemon = (struct kf_daemon){.name = name};
    snprintf(daemon->program, sizeof daemon->program, "%s/%s", folder, name);
    if (access(daemon->program, X_OK))
        return kf_error_set(err, KF_NOT_FOUND, "program_missing", "%s is not beside kerf: build everything first", name);
    supervisor->count++;
    return KF_OK;
}

static void plan_start(struct kf_daemon *daemon)
{
    daemon->failures = now_ms() - daemon->started_ms < STABLE_MS ? daemon->failures + 1 : 0;
    int64_t pause = PAUSE_FIRST_MS;
    for (int i = 1; i < daemon->failures && pause < PAUSE_MOST_MS; i++)
        pause *= 2;
    daemon->start_at_ms = now_ms() + (pause < PAUSE_MOST_MS ? pause : PAUSE_MOST_MS);
}

static void start(struct kf_daemon *daemon, const char *user)
{
    const char *const argv[] = {daemon->program, NULL};
    struct kf_spawn spawn = {.program = daemon->program, .argv = argv, .user = user, .in = -1, .out = STDERR_FILENO,
                             .err = -1, .death_signal = SIGTERM, .new_group = 1};
    struct kf_error err;
    daemon->started_ms = now_ms();
    if (kf_spawn(&spawn, &daemon->pid, &err)) {
        kf_log_error(KF_LOG_ERROR, "daemon.start", &err);
        plan_start(daemon);
        return;
    }
    kf_log(KF_LOG_INFO, "daemon.start", "daemon=%s pid=%d", daemon->name, (int)daemon->pid);
}

static void reap(struct kf_daemon *daemon)
{
    int status;
    if (daemon->pid <= 0 || waitpid(daemon->pid, &status, WNOHANG) != daemon->pid)
        return;
    char how[64];
    kf_process_describe(status, how, sizeof how);
    kf_log_text(KF_LOG_WARN, daemon->name, how);
    // What it left in its group (the children of an association or a job) goes with it.
    kill(-daemon->pid, SIGKILL);
    daemon->pid = 0;
    plan_start(daemon);
}

static void keep_database(struct kf_supervisor *supervisor)
{
    struct kf_error err;
    if (!supervisor->pg || kf_pgembed_alive(supervisor->pg))
        return;
    kf_log(KF_LOG_WARN, "database.restart", "pid=%d", 0);
    if (kf_pgembed_restart(supervisor->pg, &err))
        kf_log_error(KF_LOG_ERROR, "database.restart", &err);
}

int kf_supervisor_step(struct kf_supervisor *supervisor, int wait_ms)
{
    keep_database(supervisor);
    for (int i = 0; i < supervisor->count; i++) {
        struct kf_daemon *daemon = &supervisor->daemons[i];
        reap(daemon);
        if (!daemon->pid && now_ms() >= daemon->start_at_ms)
            start(daemon, supervisor->user);
    }
    sigset_t set;
    watched_signals(&set);
    siginfo_t info;
    int signal_number = sigtimedwait(&set, &info, &(struct timespec){wait_ms / 1000, wait_ms % 1000 * 1000000L});
    if (signal_number == SIGHUP) // certificates are read again
        for (int i = 0; i < supervisor->count; i++)
            if (supervisor->daemons[i].pid > 0)
                kill(supervisor->daemons[i].pid, SIGHUP);
    return signal_number == SIGINT || signal_number == SIGTERM ? signal_number : 0;
}

void kf_supervisor_stop(struct kf_supervisor *supervisor, int grace_ms)
{
    for (int i = supervisor->count - 1; i >= 0; i--)
        if (supervisor->daemons[i].pid > 0)
            kill(supervisor->daemons[i].pid, SIGTERM);
    int64_t deadline = now_ms() + grace_ms;
    for (int i = supervisor->count - 1; i >= 0; i--) {
        struct kf_daemon *daemon = &supervisor->daemons[i];
        if (daemon->pid <= 0)
            continue;
        int64_t left = deadline - now_ms();
        kf_process_stop(daemon->pid, SIGTERM, left > 0 ? (int)left : 0);
        kill(-daemon->pid, SIGKILL);
        daemon->pid = 0;
    }
}
