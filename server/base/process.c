#include "server/base/process.h"

#include "server/base/str.h"
#include "server/base/timeid.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUPS_MOST 256

struct identity {
    int change;
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUPS_MOST];
    int group_count;
    char home[PATH_MAX];
};

// ---------------------------------------------------------------------------------------------- who
static enum kf_status look_up(const char *user, struct identity *out, struct kf_error *err)
{
    struct passwd entry, *found = NULL;
    char buffer[4096];
    *out = (struct identity){0};
    if (!user || geteuid() != 0)
        return KF_OK;
    if (getpwnam_r(user, &entry, buffer, sizeof buffer, &found) || !found)
        return kf_error_set(err, KF_INVALID, "no_such_user", "there is no user %.40s to run as", user);
    out->change = 1;
    out->uid = found->pw_uid;
    out->gid = found->pw_gid;
    (void)kf_str_copy(out->home, sizeof out->home, found->pw_dir); // too long: none
    out->group_count = GROUPS_MOST;
    if (getgrouplist(user, found->pw_gid, out->groups, &out->group_count) < 0)
        return kf_error_set(err, KF_INVALID, NULL, "user %.40s is in too many groups", user);
    return KF_OK;
}

// Async-signal-safe: called between fork and exec as well.
static int become(const struct identity *who)
{
    if (!who->change)
        return 0;
    if (setgroups((size_t)who->group_count, who->groups) || setresgid(who->gid, who->gid, who->gid) ||
        setresuid(who->uid, who->uid, who->uid))
        return -1;
    if (who->uid != 0 && setuid(0) == 0) { // nothing of root may be left
        errno = EPERM;
        return -1;
    }
    return 0;
}

const char *kf_process_unprivileged_user(const char *wanted)
{
    const char *const names[] = {wanted, "postgres", "nobody"};
    if (geteuid() != 0)
        return NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i] && *names[i] && getpwnam(names[i]))
            return names[i];
    return NULL;
}

enum kf_status kf_process_own_folder(char *to, size_t size, struct kf_error *err)
{
    ssize_t n = readlink("/proc/self/exe", to, size - 1);
    if (n < 0)
        return kf_error_errno(err, errno, "cannot find our own program");
    to[n] = 0;
    char *slash = strrchr(to, '/');
    if ((size_t)n == size - 1 || !slash)
        return kf_error_set(err, KF_INVALID, NULL, "the path of our own program is too long");
    *slash = 0;
    return KF_OK;
}

// ---------------------------------------------------------------------------------------------- start
static enum kf_status find_program(const char *program, char path[PATH_MAX], struct kf_error *err)
{
    if (strchr(program, '/')) {
        if (kf_str_copy(path, PATH_MAX, program))
            return kf_error_set(err, KF_INVALID, NULL, "the path of a program is too long");
        return KF_OK;
    }
    const char *at = getenv("PATH");
    for (at = at && *at ? at : "/usr/bin:/bin"; *at;) {
        size_t length = strcspn(at, ":");
        int n = snprintf(path, PATH_MAX, "%.*s/%s", (int)length, at, program);
        if (length && n > 0 && n < PATH_MAX && access(path, X_OK) == 0)
            return KF_OK;
        at += length + (at[length] == ':');
    }
    return kf_error_set(err, KF_NOT_FOUND, "no_such_program", "the program %.60s is not installed", program);
}

static int place_descriptors(const struct kf_spawn *spawn)
{
    const int wanted[3] = {spawn->in, spawn->out, spawn->err};
    int moved[3];
    for (int i = 0; i < 3; i++) { // out of the way first: one of them may lie where another has to go
        if (wanted[i] >= 0)
            moved[i] = fcntl(wanted[i], F_DUPFD_CLOEXEC, 3);
        else if (i == 2)
            moved[i] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        else
            moved[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (moved[i] < 0)
            return -1;
    }
    for (int i = 0; i < 3; i++)
        if (dup2(moved[i], i) < 0)
            return -1;
    if (syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */))
        return -1;
    for (size_t i = 0; i < spawn->keep_count; i++)
        if (fcntl(spawn->keep[i], F_SETFD, 0))
            return -1;
    return 0;
}

// Our environment with the home of another user: libpq and others would look for files in root's. Owned, but not its
// strings.
static const char **environment_of(const struct identity *who, char home[PATH_MAX + 8])
{
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    const char **env = malloc((count + 2) * sizeof *env);
    for (size_t i = 0; env && i < count; i++)
        if (strncmp(environ[i], "HOME=", 5) != 0 && strncmp(environ[i], "USER=", 5) != 0 &&
            strncmp(environ[i], "LOGNAME=", 8) != 0)
            env[kept++] = environ[i];
    if (env) {
        snprintf(home, PATH_MAX + 8, "HOME=%s", who->home);
        env[kept++] = home;
        env[kept] = NULL;
    }
    return env;
}

// Between fork and exec; only returns on failure, with errno set.
static void exec_child(const struct kf_spawn *spawn, const struct identity *who, const char *path,
                       const char *const *env, pid_t parent)
{
    for (int s = 1; s < NSIG; s++)
        if (s != SIGKILL && s != SIGSTOP)
            signal(s, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if ((spawn->new_group && setpgid(0, 0)) || place_descriptors(spawn) || become(who))
        return;
    // A change of user clears the death signal, so it comes after; the parent may have gone meanwhile.
    if (spawn->death_signal && prctl(PR_SET_PDEATHSIG, spawn->death_signal, 0, 0, 0))
        return;
    if (spawn->death_signal && getppid() != parent)
        _exit(127);
    if (spawn->directory && chdir(spawn->directory))
        return;
    execve(path, (char *const *)(uintptr_t)spawn->argv, (char *const *)(uintptr_t)env);
}

enum kf_status kf_spawn(const struct kf_spawn *spawn, pid_t *pid, struct kf_error *err)
{
    char path[PATH_MAX];
    struct identity who;
    int report[2];
    char home[PATH_MAX + 8];
    const char **own = NULL;
    *pid = 0;
    enum kf_status status = find_program(spawn->program, path, err);
    if (!status)
        status = look_up(spawn->user, &who, err);
    if (status)
        return status;
    if (who.change && !spawn->env && !(own = environment_of(&who, home)))
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for an environment");
    if (pipe2(report, O_CLOEXEC)) {
        int pipe_errno = errno;
        free(own);
        return kf_error_errno(err, pipe_errno, "cannot make a pipe");
    }
    const char *const *env = spawn->env ? spawn->env : own ? own : (const char *const *)(uintptr_t)environ;
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        exec_child(spawn, &who, path, env, parent);
        int failure = errno;
        ssize_t ignored = write(report[1], &failure, sizeof failure);
        (void)ignored;
        _exit(127);
    }
    int fork_errno = errno, failure = 0;
    free(own);
    close(report[1]);
    ssize_t n = 0;
    if (child > 0)
        while ((n = read(report[0], &failure, sizeof failure)) < 0 && errno == EINTR)
            ;
    close(report[0]);
    if (child < 0)
        return kf_error_errno(err, fork_errno, "cannot start a process");
    if (n == sizeof failure) {
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            ;
        enum kf_status why = KF_IO;
        if (failure == ENOENT)
            why = KF_NOT_FOUND;
        else if (failure == EACCES || failure == EPERM)
            why = KF_FORBIDDEN;
        char reason[128];
        return kf_error_set(err, why, NULL, "cannot execute %.200s: %s", path, strerror_r(failure, reason, sizeof reason));
    }
    *pid = child;
    return KF_OK;
}

// ---------------------------------------------------------------------------------------------- end
enum kf_status kf_process_wait(pid_t pid, int timeout_ms, int *exit_status, struct kf_error *err)
{
    if (timeout_ms >= 0) {
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (fd < 0)
            return kf_error_errno(err, errno, "cannot watch a process");
        struct pollfd ended = {.fd = fd, .events = POLLIN};
        int64_t deadline = kf_time_monotonic_ns() / 1000000 + timeout_ms;
        int rc, left = timeout_ms;
        while ((rc = poll(&ended, 1, left)) < 0 && errno == EINTR) {
            left = (int)(deadline - kf_time_monotonic_ns() / 1000000);
            left = left > 0 ? left : 0;
        }
        close(fd);
        if (rc == 0)
            return kf_error_set(err, KF_TIMEOUT, NULL, "a process has not ended within %d ms", timeout_ms);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return kf_error_errno(err, errno, "cannot wait for a process");
    *exit_status = status;
    return KF_OK;
}

int kf_process_stop(pid_t pid, int signal_number, int grace_ms)
{
    int status = 0;
    kill(pid, signal_number);
    if (kf_process_wait(pid, grace_ms, &status, NULL) == KF_TIMEOUT) {
        kill(pid, SIGKILL);
        if (kf_process_wait(pid, -1, &status, NULL))
            status = SIGKILL;
    }
    return status;
}

void kf_process_describe(int exit_status, char *to, size_t size)
{
    if (WIFEXITED(exit_status))
        snprintf(to, size, "exit %d", WEXITSTATUS(exit_status));
    else
        snprintf(to, size, "signal %d", WTERMSIG(exit_status));
}

// Reads until end of file or the deadline. Returns 0, or -1 when time ran out.
static int read_all(int fd, char *to, size_t size, int64_t deadline_ms)
{
    size_t length = 0;
    for (;;) {
        int64_t left = deadline_ms - kf_time_monotonic_ns() / 1000000;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (left <= 0 || poll(&ready, 1, (int)left) == 0)
            return -1;
        char rest[512];
        int room = length + 1 < size;
        ssize_t n = read(fd, room ? to + length : rest, room ? size - 1 - length : sizeof rest);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        length += room ? (size_t)n : 0;
    }
    to[length] = 0;
    return 0;
}

enum kf_status kf_process_output(const char *const *argv, const char *user, char *to, size_t size, int timeout_ms,
                                 struct kf_error *err)
{
    int ends[2];
    to[0] = 0;
    if (pipe2(ends, O_CLOEXEC))
        return kf_error_errno(err, errno, "cannot make a pipe");
    struct kf_spawn spawn = {.program = argv[0], .argv = argv, .user = user, .in = -1, .out = ends[1], .err = -1,
                             .death_signal = SIGKILL};
    pid_t pid;
    enum kf_status status = kf_spawn(&spawn, &pid, err);
    close(ends[1]);
    if (!status) {
        int late = read_all(ends[0], to, size, kf_time_monotonic_ns() / 1000000 + timeout_ms);
        int exit_status = kf_process_stop(pid, late ? SIGKILL : 0, late ? 0 : timeout_ms);
        if (late)
            status = kf_error_set(err, KF_TIMEOUT, NULL, "%.60s did not end within %d ms", argv[0], timeout_ms);
        else if (!WIFEXITED(exit_status) || WEXITSTATUS(exit_status) != 0)
            status = kf_error_set(err, KF_IO, NULL, "%.60s failed", argv[0]);
    }
    close(ends[0]);
    return status;
}
