// What the administration subcommands share: options, the organisation, a connection that works as the server does.
#ifndef KERF_MAIN_ADMIN_H
#define KERF_MAIN_ADMIN_H

#include "server/main/kerf.h"
#include "server/store/store.h"

#define KF_ADMIN_WORDS 4

struct kf_admin_option {
    const char *name;   // "--role"
    const char **value; // where the value goes; NULL: a flag
    int *flag;          // set to 1
};

struct kf_admin {
    const char *words[KF_ADMIN_WORDS]; // what is no option, in order; argv[0] is not among them
    int word_count;
    const char *data;
    char organisation[KF_ID_TEXT];
    struct kf_store *store; // as kerf_app; close with kf_admin_close
};

// Takes --data, --organisation and the command's own options (ends with name NULL), and opens the database. -1: go on;
// otherwise the exit code.
int kf_admin_open(struct kf_admin *admin, int argc, char **argv, const char *usage,
                  const struct kf_admin_option *options);
void kf_admin_close(struct kf_admin *admin);

#endif
