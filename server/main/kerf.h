// `kerf`, the administration tool: one function per subcommand, listed in kerf.c.
#ifndef KERF_MAIN_KERF_H
#define KERF_MAIN_KERF_H

#include "server/base/error.h"

struct kf_command {
    const char *name;
    const char *summary; // one line for --help
    int (*run)(int argc, char **argv); // argv[0] is the subcommand; returns the exit code
};

enum { KF_EXIT_OK = 0, KF_EXIT_FAILED = 1, KF_EXIT_USAGE = 2 };

// Prints "kerf NAME: sentence [code]" and returns KF_EXIT_FAILED.
int kf_command_failed(const char *name, const struct kf_error *err);

// argv[*at] must be an option with a value; returns the value and moves *at to it, or prints what is wrong and gives NULL.
const char *kf_command_value(int argc, char **argv, int *at);

// The owner's and the server's database for a data folder: from the settings, else the private PostgreSQL that a running
// `kerf up` noted in DATA/run/database. KF_UNAVAILABLE "not_running" when there is neither. size bytes each.
KF_MUST_USE enum kf_status kf_command_database(const char *data, char *owner_url, char *server_url, unsigned long size,
                                               struct kf_error *err);

int kf_command_up(int argc, char **argv);
int kf_command_check(int argc, char **argv);
int kf_command_import(int argc, char **argv);
int kf_command_phantom(int argc, char **argv);
int kf_command_migrate(int argc, char **argv);
int kf_command_user(int argc, char **argv);
int kf_command_token(int argc, char **argv);
int kf_command_peer(int argc, char **argv);
int kf_command_job(int argc, char **argv);
int kf_command_settings(int argc, char **argv);
int kf_command_verify(int argc, char **argv);

#endif
