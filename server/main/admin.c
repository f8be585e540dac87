#include "server/main/admin.h"

#include "server/base/config.h"
#include "server/base/log.h"
#include "server/store/account.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct kf_admin_option *find(const struct kf_admin_option *options, const char *name)
{
    for (; options && options->name; options++)
        if (strcmp(options->name, name) == 0)
            return options;
    return NULL;
}

static int wrong_usage(const char *command, const char *what, const char *usage)
{
    fprintf(stderr, "kerf %s: %s\n%s", command, what, usage);
    return KF_EXIT_USAGE;
}

static int parse(struct kf_admin *admin, const char **organisation, int argc, char **argv, const char *usage,
                 const struct kf_admin_option *options)
{
    struct kf_admin_option own[] = {{"--data", &admin->data, NULL}, {"--organisation", organisation, NULL}, {0}};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(usage, stdout);
            return KF_EXIT_OK;
        }
        if (strncmp(argv[i], "--", 2) != 0) {
            if (admin->word_count == KF_ADMIN_WORDS)
                return wrong_usage(argv[0], "too many words", usage);
            admin->words[admin->word_count++] = argv[i];
            continue;
        }
        const struct kf_admin_option *option = find(own, argv[i]);
        if (!option)
            option = find(options, argv[i]);
        if (!option)
            return wrong_usage(argv[0], "there is no such option", usage);
        if (option->flag)
            *option->flag = 1;
        else if (!(*option->value = kf_command_value(argc, argv, &i)))
            return KF_EXIT_USAGE;
    }
    return -1;
}

// The organisation is found by the owner, who sees all of them; everything else is done as the server's role.
static enum kf_status open_store(struct kf_admin *admin, const char *organisation, struct kf_error *err)
{
    char owner_url[4400], server_url[4400];
    struct kf_store *owner = NULL;
    enum kf_status status = kf_command_database(admin->data, owner_url, server_url, sizeof owner_url, err);
    if (!status)
        status = kf_store_open(&owner, owner_url, "kerf admin", KF_STORE_OWNER, err);
    if (!status)
        status = kf_store_organisation_find(owner, organisation, admin->organisation, err);
    kf_store_close(owner);
    return status ? status : kf_store_open(&admin->store, server_url, "kerf admin", KF_STORE_APP, err);
}

int kf_admin_open(struct kf_admin *admin, int argc, char **argv, const char *usage,
                  const struct kf_admin_option *options)
{
    *admin = (struct kf_admin){.data = getenv("KERF_DATA")};
    const char *organisation = NULL;
    kf_log_init("kerf", KF_LOG_ERROR);
    int code = parse(admin, &organisation, argc, argv, usage, options);
    if (code >= 0)
        return code;
    struct kf_error err;
    if (open_store(admin, organisation, &err))
        return kf_command_failed(argv[0], &err);
    return -1;
}

void kf_admin_close(struct kf_admin *admin)
{
    kf_store_close(admin->store);
    admin->store = NULL;
}
