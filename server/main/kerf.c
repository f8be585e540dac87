// kerf: administration on the command line. `kerf --help` lists the subcommands.
#include "server/main/kerf.h"

#include "server/base/config.h"
#include "server/base/json.h"
#include "server/base/str.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static int command_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("kerf " KERF_VERSION);
    return KF_EXIT_OK;
}

static const struct kf_command commands[] = {
    {"up", "Run everything on this machine, with a private PostgreSQL.", kf_command_up},
    {"import", "Send a folder or zip of DICOM to a DICOM listener.", kf_command_import},
    {"check", "Push a study through a running Kerf and verify everything that it makes of it.", kf_command_check},
    {"phantom", "Make DICOM of a phantom whose truth is known.", kf_command_phantom},
    {"migrate", "Bring the database's schema up to date.", kf_command_migrate},
    {"user", "Add, list, reset and unlock accounts.", kf_command_user},
    {"token", "Add, list and revoke tokens for machines.", kf_command_token},
    {"peer", "Add, list and remove DICOM peers.", kf_command_peer},
    {"job", "List dead jobs; retry, acknowledge or cancel one.", kf_command_job},
    {"verify", "Read every blob back and compare it with its hash.", kf_command_verify},
    {"settings", "Show every setting, its value and where it comes from.", kf_command_settings},
    {"version", "Print the version.", command_version},
};

#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void print_help(FILE *to)
{
    fprintf(to, "kerf COMMAND [options]; `kerf COMMAND --help` explains one.\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
}

int kf_command_failed(const char *name, const struct kf_error *err)
{
    fprintf(stderr, "kerf %s: %s [%s]\n", name, err->detail, err->code);
    return KF_EXIT_FAILED;
}

const char *kf_command_value(int argc, char **argv, int *at)
{
    if (*at + 1 < argc)
        return argv[++*at];
    fprintf(stderr, "kerf %s: %s needs a value\n", argv[0], argv[*at]);
    return NULL;
}

enum kf_status kf_command_database(const char *data, char *owner_url, char *server_url, unsigned long size,
                                   struct kf_error *err)
{
    enum kf_status status = kf_config_load(data, err);
    if (status)
        return status;
    const char *server = kf_config_text("KERF_DATABASE_URL"), *owner = kf_config_text("KERF_DATABASE_OWNER_URL");
    if (*server) {
        kf_str_copy(server_url, size, server);
        kf_str_copy(owner_url, size, *owner ? owner : server);
        return KF_OK;
    }
    char path[4096];
    json_t *noted = NULL;
    snprintf(path, sizeof path, "%s/run/database", data ? data : "");
    if (!data || kf_json_load(path, &noted, NULL))
        return kf_error_set(err, KF_UNAVAILABLE, "not_running",
                            "no database: set KERF_DATABASE_URL, or give the --data folder of a running kerf up");
    kf_str_copy(owner_url, size, kf_json_text(noted, "owner", ""));
    kf_str_copy(server_url, size, kf_json_text(noted, "server", ""));
    json_decref(noted);
    return KF_OK;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_help(stderr);
        return KF_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return KF_EXIT_OK;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "kerf: there is no command %.60s; see kerf --help\n", argv[1]);
    return KF_EXIT_USAGE;
}
