// A stage for tests of kerf-intake: a migrated private PostgreSQL with one organisation and some peers, and a data
// directory. Runs a command on it and takes everything down again.
//
//   intake_stage [--fast] COMMAND [ARGUMENT…]
//
// The command finds KERF_DATABASE_URL (the server's role), KERF_STAGE_OWNER_URL, KERF_STAGE_PG_PID_FILE, KERF_DATA. A
// PostgreSQL that the command kills is started again. --fast: no fsync in the database, for tests that are not about it.
#include "server/base/log.h"
#include "server/base/process.h"
#include "server/pgembed/pgembed.h"
#include "server/store/account.h"
#include "server/store/migrate.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum kf_status fill_database(struct kf_pgembed *pg, struct kf_error *err)
{
    struct kf_store *owner = NULL;
    struct kf_migrate_report report;
    enum kf_status status =
        kf_store_open(&owner, kf_pgembed_owner_url(pg), "stage", KF_STORE_OWNER, err);
    if (status == KF_OK)
        status = kf_store_migrate(owner, NULL, &report, err);
    if (status == KF_OK)
        status = kf_pgembed_grant_server(pg, err);
    // TESTER from loopback under any name of ours; SECURE only over TLS; ECHO_ONLY may not store.
    static const struct kf_peer_new peers[] = {
        {.name = "tester", .ae_title = "TESTER", .address = "127.0.0.0/8", .may_store = 1},
        {.name = "secure", .ae_title = "SECURE", .address = "127.0.0.0/8", .may_store = 1, .tls = 1},
        {.name = "echo only", .ae_title = "ECHO_ONLY", .called_ae_title = "KERF", .may_store = 0},
        {.name = "elsewhere", .ae_title = "ELSEWHERE", .address = "192.0.2.0/24", .may_store = 1},
    };
    const struct kf_account_new admin = {.login = "admin", .display_name = "Admin", .role = "admin",
                                         .password_hash = "$argon2id$none", .must_change = 1};
    char organisation[KF_ID_TEXT], id[KF_ID_TEXT];
    int made = 0;
    if (status == KF_OK)
        status = kf_store_bootstrap(owner, "Stage", &admin, organisation, &made, err);
    for (size_t i = 0; i < sizeof peers / sizeof *peers && status == KF_OK; i++)
        status = kf_store_peer_add(owner, organisation, &peers[i], id, err);
    kf_store_close(owner);
    return status;
}

static void write_pid(const char *path, pid_t pid)
{
    FILE *f = fopen(path, "w");
    if (f) {
        fprintf(f, "%d\n", (int)pid);
        fclose(f);
    }
}

// Runs the command; restarts the database when it dies meanwhile. The command's exit code.
static int play(struct kf_pgembed *pg, char **command, const char *pid_file, struct kf_error *err)
{
    pid_t child;
    struct kf_spawn spawn = {.program = command[0], .argv = (const char *const *)command, .in = -1, .out = 1, .err = 2,
                             .death_signal = SIGTERM};
    if (kf_spawn(&spawn, &child, err) != KF_OK)
        return 1;
    int result = 0;
    while (kf_process_wait(child, 50, &result, err) == KF_TIMEOUT) {
        err->code[0] = 0;
        if (!kf_pgembed_alive(pg)) {
            if (kf_pgembed_restart(pg, err) != KF_OK)
                break;
            write_pid(pid_file, kf_pgembed_pid(pg));
        }
    }
    err->code[0] = 0;
    return WIFEXITED(result) ? WEXITSTATUS(result) : 1;
}

int main(int argc, char **argv)
{
    kf_log_init("stage", KF_LOG_WARN);
    int fast = argc > 1 && strcmp(argv[1], "--fast") == 0;
    if (argc < 2 + fast) {
        fprintf(stderr, "usage: intake_stage [--fast] COMMAND…\n");
        return 2;
    }
    char root[] = "/tmp/kerf-stage.XXXXXX", path[128], pid_file[128];
    if (!mkdtemp(root) || chmod(root, 0755))
        return 1;
    struct kf_error err = {0};
    struct kf_pgembed *pg = NULL;
    snprintf(path, sizeof path, "%s/pg", root);
    snprintf(pid_file, sizeof pid_file, "%s/pg.pid", root);
    struct kf_pgembed_options options = {.directory = path, .fast_and_unsafe = fast};
    int result = 1;
    if (kf_pgembed_start(&options, &pg, &err) == KF_OK && fill_database(pg, &err) == KF_OK) {
        setenv("KERF_DATABASE_URL", kf_pgembed_server_url(pg), 1);
        setenv("KERF_STAGE_OWNER_URL", kf_pgembed_owner_url(pg), 1);
        setenv("KERF_STAGE_PG_PID_FILE", pid_file, 1);
        write_pid(pid_file, kf_pgembed_pid(pg));
        snprintf(path, sizeof path, "%s/data", root);
        mkdir(path, 0755);
        setenv("KERF_DATA", path, 1);
        result = play(pg, argv + 1 + fast, pid_file, &err);
    }
    if (err.code[0])
        fprintf(stderr, "intake_stage: %s: %s\n", err.code, err.detail);
    if (pg)
        kf_pgembed_stop(pg);
    const char *const remove[] = {"rm", "-rf", root, NULL};
    char nothing[16];
    (void)!kf_process_output(remove, NULL, nothing, sizeof nothing, 60000, &err);
    return result;
}
