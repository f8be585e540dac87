#include "server/pgembed/pgembed.h"

#include "server/base/process.h"
#include "server/base/str.h"
#include "server/base/timeid.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VERSION_LEAST   15
#define START_LIMIT_MS  60000
#define STOP_LIMIT_MS   30000
#define TOOL_LIMIT_MS   60000
#define SOCKET_NAME_MOST 24 // "/.s.PGSQL.5432.lock" and room

struct kf_pgembed {
    char bin[PATH_MAX];
    char directory[PATH_MAX];
    char sockets[PATH_MAX];
    int sockets_are_ours; // a fresh folder: removed at the end
    const char *user;     // NULL: we are not root
    int unsafe;
    pid_t pid;
    char owner_url[PATH_MAX + 128];
    char server_url[PATH_MAX + 128];
};

static int64_t now_ms(void)
{
    return kf_time_monotonic_ns() / 1000000;
}

// ---------------------------------------------------------------------------------------------- binaries
static int version_of(const char *bin)
{
    const char *at = strstr(bin, "/postgresql/");
    return at ? atoi(at + 12) : 0;
}

static int has_programs(const char *bin)
{
    static const char *const programs[] = {"postgres", "initdb", "psql"};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%s", bin, programs[i]) >= PATH_MAX || access(path, X_OK))
            return 0;
    }
    return 1;
}

static int find_on_path(char bin[PATH_MAX])
{
    const char *at = getenv("PATH");
    while (at && *at) {
        size_t length = strcspn(at, ":");
        if (length && length < PATH_MAX) {
            memcpy(bin, at, length);
            bin[length] = 0;
            if (has_programs(bin))
                return 1;
        }
        at += length + (at[length] == ':');
    }
    return 0;
}

static enum kf_status find_binaries(const char *named, char bin[PATH_MAX], struct kf_error *err)
{
    if (named && *named) {
        kf_str_copy(bin, PATH_MAX, named);
        if (has_programs(bin))
            return KF_OK;
        return kf_error_set(err, KF_UNAVAILABLE, "postgres_missing", "KERF_POSTGRES_BIN has no postgres, initdb and psql");
    }
    glob_t found;
    int best = 0;
    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            int version = version_of(found.gl_pathv[i]);
            if (version >= VERSION_LEAST && version > best && has_programs(found.gl_pathv[i])) {
                best = version;
                kf_str_copy(bin, PATH_MAX, found.gl_pathv[i]);
            }
        }
        globfree(&found);
    }
    if (best || find_on_path(bin))
        return KF_OK;
    return kf_error_set(err, KF_UNAVAILABLE, "postgres_missing",
                        "no PostgreSQL %d or newer is installed (Debian: apt-get install postgresql-15)", VERSION_LEAST);
}

// ---------------------------------------------------------------------------------------------- folders
// The user that postgres runs as must be able to walk to the folder.
static enum kf_status check_reachable(const struct kf_pgembed *pg, struct kf_error *err)
{
    struct passwd *entry = pg->user ? getpwnam(pg->user) : NULL;
    char path[PATH_MAX];
    if (!entry)
        return KF_OK;
    kf_str_copy(path, sizeof path, pg->directory);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        struct stat st;
        *slash = 0;
        int rc = stat(path, &st);
        mode_t needed = st.st_uid == entry->pw_uid ? S_IXUSR : st.st_gid == entry->pw_gid ? S_IXGRP : S_IXOTH;
        if (rc == 0 && !(st.st_mode & needed))
            return kf_error_set(err, KF_INVALID, "data_unreachable",
                                "user %.40s, who runs PostgreSQL, cannot enter %.200s: choose another data folder",
                                pg->user, path);
        *slash = '/';
    }
    return KF_OK;
}

// A folder of the database's user, mode 0700; its parents are made when missing.
static enum kf_status make_folder(const struct kf_pgembed *pg, const char *folder, struct kf_error *err)
{
    char path[PATH_MAX];
    kf_str_copy(path, sizeof path, folder);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(path, 0755) && errno != EEXIST)
            return kf_error_errno(err, errno, "cannot make the database folder");
        *slash = '/';
    }
    if (mkdir(path, 0700) && errno != EEXIST)
        return kf_error_errno(err, errno, "cannot make the database folder");
    struct passwd *entry = pg->user ? getpwnam(pg->user) : NULL;
    if ((entry && chown(path, entry->pw_uid, entry->pw_gid)) || chmod(path, 0700))
        return kf_error_errno(err, errno, "cannot hand over the database folder");
    return KF_OK;
}

static int fits_socket(const char *folder)
{
    return strlen(folder) + SOCKET_NAME_MOST < sizeof((struct sockaddr_un *)0)->sun_path;
}

static enum kf_status choose_sockets(struct kf_pgembed *pg, const char *named, struct kf_error *err)
{
    char parent[PATH_MAX];
    kf_str_copy(parent, sizeof parent, pg->directory);
    char *slash = strrchr(parent, '/');
    if (named) {
        kf_str_copy(pg->sockets, sizeof pg->sockets, named);
    } else if (slash) {
        *slash = 0;
        if (snprintf(pg->sockets, sizeof pg->sockets, "%s/run/pg", parent) >= PATH_MAX)
            pg->sockets[0] = 0;
    }
    if (pg->sockets[0] && fits_socket(pg->sockets))
        return make_folder(pg, pg->sockets, err);
    if (named)
        return kf_error_set(err, KF_INVALID, NULL, "the socket folder's path is too long for a Unix socket");
    kf_str_copy(pg->sockets, sizeof pg->sockets, access("/run", W_OK) ? "/tmp/kerf-pg.XXXXXX" : "/run/kerf-pg.XXXXXX");
    if (!mkdtemp(pg->sockets))
        return kf_error_errno(err, errno, "cannot make a folder for the database's socket");
    pg->sockets_are_ours = 1;
    return make_folder(pg, pg->sockets, err);
}

// ---------------------------------------------------------------------------------------------- tools
// Runs one of PostgreSQL's programs to its end as the database's user. What it prints is not shown: its first line may
// be, when it failed, since nothing but paths is in it.
static enum kf_status run_tool(const struct kf_pgembed *pg, const char *const *argv, const char *what, struct kf_error *err)
{
    int ends[2], exit_status = 0;
    char text[512] = "", how[64];
    if (pipe2(ends, O_CLOEXEC))
        return kf_error_errno(err, errno, "cannot make a pipe");
    pid_t pid;
    struct kf_spawn spawn = {.program = argv[0], .argv = argv, .directory = "/", .user = pg->user, .in = -1, .out = -1,
                             .err = ends[1], .death_signal = SIGKILL};
    enum kf_status status = kf_spawn(&spawn, &pid, err);
    close(ends[1]);
    if (!status) {
        // The text fits the pipe, so waiting first cannot block the tool.
        if (kf_process_wait(pid, TOOL_LIMIT_MS, &exit_status, NULL))
            exit_status = kf_process_stop(pid, SIGKILL, 0);
        ssize_t n = read(ends[0], text, sizeof text - 1);
        text[n > 0 ? n : 0] = 0;
        text[strcspn(text, "\n")] = 0;
        kf_process_describe(exit_status, how, sizeof how);
        if (exit_status)
            status = kf_error_set(err, KF_UNAVAILABLE, "postgres_tool", "%s failed (%s): %.300s", what, how, text);
    }
    close(ends[0]);
    return status;
}

static enum kf_status initialise(const struct kf_pgembed *pg, struct kf_error *err)
{
    char program[PATH_MAX + 16], version[PATH_MAX + 16];
    snprintf(version, sizeof version, "%s/PG_VERSION", pg->directory);
    if (access(version, F_OK) == 0)
        return KF_OK;
    snprintf(program, sizeof program, "%s/initdb", pg->bin);
    const char *const argv[] = {program, "-D", pg->directory, "-U", "kerf_owner", "--auth=trust", "--encoding=UTF8",
                                "--locale=C.UTF-8", "--data-checksums", pg->unsafe ? "--no-sync" : NULL, NULL};
    return run_tool(pg, argv, "initdb", err);
}

static enum kf_status run_sql(const struct kf_pgembed *pg, const char *database, const char *sql, struct kf_error *err)
{
    char program[PATH_MAX + 16];
    snprintf(program, sizeof program, "%s/psql", pg->bin);
    const char *const argv[] = {program, "-X", "-q", "-h", pg->sockets, "-U", "kerf_owner", "-d", database, "-v",
                                "ON_ERROR_STOP=1", "-c", sql, NULL};
    return run_tool(pg, argv, "psql", err);
}

// ---------------------------------------------------------------------------------------------- the server process
static enum kf_status start_process(struct kf_pgembed *pg, struct kf_error *err)
{
    char program[PATH_MAX + 16], sockets[PATH_MAX + 32], log_path[PATH_MAX + 16];
    snprintf(program, sizeof program, "%s/postgres", pg->bin);
    snprintf(sockets, sizeof sockets, "unix_socket_directories=%s", pg->sockets);
    snprintf(log_path, sizeof log_path, "%s/server.log", pg->directory);
    int log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log_fd < 0)
        return kf_error_errno(err, errno, "cannot open the database's log");
    // Neither statements, nor their parameters, nor rows in DETAIL lines reach the log: patients are in them.
    const char *const argv[] = {
        program, "-D", pg->directory, "-c", "listen_addresses=", "-c", sockets, "-c", "unix_socket_permissions=0700",
        "-c", pg->unsafe ? "fsync=off" : "fsync=on", "-c", pg->unsafe ? "synchronous_commit=off" : "synchronous_commit=on",
        "-c", "log_error_verbosity=terse", "-c", "log_min_error_statement=panic", "-c", "log_parameter_max_length=0", "-c",
        "log_parameter_max_length_on_error=0", "-c", "log_statement=none", "-c", "logging_collector=off", "-c", "jit=off",
        "-c", "max_connections=200", "-c", "shared_buffers=128MB", NULL};
    static const char *const env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", NULL};
    struct kf_spawn spawn = {.program = program, .argv = argv, .env = env, .directory = pg->directory, .user = pg->user,
                             .in = -1, .out = -1, .err = log_fd, .death_signal = SIGINT, .new_group = 1};
    enum kf_status status = kf_spawn(&spawn, &pg->pid, err);
    close(log_fd);
    return status;
}

// The eighth line of postmaster.pid is the server's state; the first its process id.
static int is_ready(const struct kf_pgembed *pg)
{
    char path[PATH_MAX + 20], line[PATH_MAX];
    int ready = 0, ours = 0;
    snprintf(path, sizeof path, "%s/postmaster.pid", pg->directory);
    FILE *file = fopen(path, "re");
    for (int number = 1; file && fgets(line, sizeof line, file); number++) {
        if (number == 1)
            ours = atoi(line) == pg->pid;
        if (number == 8)
            ready = strncmp(line, "ready", 5) == 0;
    }
    if (file)
        fclose(file);
    return ours && ready;
}

static enum kf_status wait_ready(struct kf_pgembed *pg, int64_t deadline, struct kf_error *err)
{
    while (now_ms() < deadline) {
        if (!kf_pgembed_alive(pg))
            return kf_error_set(err, KF_UNAVAILABLE, "postgres_ended",
                                "PostgreSQL ended while it was starting; server.log in its folder says why");
        if (is_ready(pg))
            return KF_OK;
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    return kf_error_set(err, KF_TIMEOUT, "postgres_slow", "PostgreSQL was not ready within %d s", START_LIMIT_MS / 1000);
}

enum kf_status kf_pgembed_restart(struct kf_pgembed *pg, struct kf_error *err)
{
    int64_t deadline = now_ms() + START_LIMIT_MS;
    enum kf_status status;
    if (kf_pgembed_alive(pg))
        return KF_OK;
    // After a SIGKILL the backends of the old server may hold its shared memory for a moment, and a new one refuses to
    // start: try again until they are gone.
    do {
        status = start_process(pg, err);
        if (!status)
            status = wait_ready(pg, deadline, err);
        if (status && pg->pid)
            pg->pid = (kf_process_stop(pg->pid, SIGQUIT, 1000), 0);
        if (status)
            nanosleep(&(struct timespec){0, 200000000}, NULL);
    } while (status == KF_UNAVAILABLE && now_ms() < deadline);
    return status;
}

int kf_pgembed_alive(struct kf_pgembed *pg)
{
    if (pg->pid <= 0)
        return 0;
    int status;
    pid_t rc = waitpid(pg->pid, &status, WNOHANG);
    if (rc == pg->pid || (rc < 0 && errno == ECHILD))
        pg->pid = 0;
    return pg->pid > 0;
}

// ---------------------------------------------------------------------------------------------- the whole
// A libpq keyword value: single quotes, with quotes and backslashes escaped.
static void write_url(char *to, size_t size, const char *user, const char *folder)
{
    struct kf_str url = {0};
    kf_str_printf(&url, "user=%s dbname=kerf host='", user);
    for (; *folder; folder++) {
        if (*folder == '\'' || *folder == '\\')
            kf_str_add_char(&url, '\\');
        kf_str_add_char(&url, *folder);
    }
    kf_str_add_text(&url, "'");
    kf_str_copy(to, size, kf_str_text(&url));
    kf_str_release(&url);
}

static enum kf_status make_database(const struct kf_pgembed *pg, struct kf_error *err)
{
    struct kf_error ignored;
    if (run_sql(pg, "kerf", "SELECT 1", &ignored) == KF_OK)
        return KF_OK;
    return run_sql(pg, "postgres", "CREATE DATABASE kerf", err);
}

enum kf_status kf_pgembed_start(const struct kf_pgembed_options *options, struct kf_pgembed **out, struct kf_error *err)
{
    *out = NULL;
    struct kf_pgembed *pg = calloc(1, sizeof *pg);
    if (!pg)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the database");
    pg->unsafe = options->fast_and_unsafe;
    pg->user = kf_process_unprivileged_user(options->user);
    enum kf_status status = KF_OK;
    if (options->directory[0] != '/' || kf_str_copy(pg->directory, sizeof pg->directory - 64, options->directory))
        status = kf_error_set(err, KF_INVALID, NULL, "the database folder must be an absolute, not too long path");
    if (!status)
        status = find_binaries(options->programs, pg->bin, err);
    if (!status)
        status = make_folder(pg, pg->directory, err);
    if (!status)
        status = check_reachable(pg, err);
    if (!status)
        status = choose_sockets(pg, options->socket_directory, err);
    if (!status)
        status = initialise(pg, err);
    if (!status)
        status = kf_pgembed_restart(pg, err);
    if (!status)
        status = make_database(pg, err);
    if (status) {
        kf_pgembed_stop(pg);
        return status;
    }
    write_url(pg->owner_url, sizeof pg->owner_url, "kerf_owner", pg->sockets);
    write_url(pg->server_url, sizeof pg->server_url, "kerf_server", pg->sockets);
    *out = pg;
    return KF_OK;
}

const char *kf_pgembed_owner_url(const struct kf_pgembed *pg)
{
    return pg->owner_url;
}

const char *kf_pgembed_server_url(const struct kf_pgembed *pg)
{
    return pg->server_url;
}

pid_t kf_pgembed_pid(const struct kf_pgembed *pg)
{
    return pg->pid;
}

enum kf_status kf_pgembed_grant_server(struct kf_pgembed *pg, struct kf_error *err)
{
    return run_sql(pg, "kerf",
                   "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kerf_server') THEN "
                   "CREATE ROLE kerf_server LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE; END IF; END $$; "
                   "GRANT kerf_app TO kerf_server", err);
}

void kf_pgembed_stop(struct kf_pgembed *pg)
{
    if (!pg)
        return;
    if (kf_pgembed_alive(pg)) {
        kill(pg->pid, SIGINT);
        int status;
        if (kf_process_wait(pg->pid, STOP_LIMIT_MS, &status, NULL) == KF_TIMEOUT)
            kf_process_stop(pg->pid, SIGQUIT, 5000);
    }
    if (pg->sockets_are_ours)
        rmdir(pg->sockets);
    free(pg);
}
