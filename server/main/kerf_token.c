// kerf token: bearer tokens for machines.
#include "server/base/crypto/password.h"
#include "server/main/admin.h"
#include "server/store/account.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "kerf token add --name NAME --role ROLE [--days N]   prints the token, this once\n"
    "kerf token list\n"
    "kerf token revoke ID\n\n"
    "ROLE: admin, technician, planner, surgeon or viewer. All take --data DIR and --organisation NAME.\n";

static enum kf_status add(struct kf_admin *admin, const char *name, const char *role, const char *days,
                          struct kf_error *err)
{
    char token[KF_TOKEN_TEXT], id[KF_ID_TEXT];
    unsigned char hash[KF_SHA256_BYTES];
    kf_token_new("kerf_", token, hash);
    enum kf_status status = kf_store_token_add(admin->store, admin->organisation, name, role, hash, NULL,
                                               days ? strtod(days, NULL) * 86400 : 0, id, err);
    if (!status)
        puts(token);
    return status;
}

static enum kf_status list(struct kf_admin *admin, struct kf_error *err)
{
    struct kf_arena arena = {0};
    struct kf_token_row *rows;
    size_t count;
    enum kf_status status = kf_store_token_list(admin->store, admin->organisation, &arena, &rows, &count, err);
    for (size_t i = 0; !status && i < count; i++) {
        char created[32], used[32] = "never used";
        kf_time_rfc3339(created, rows[i].created_ms);
        if (rows[i].last_used_ms)
            kf_time_rfc3339(used, rows[i].last_used_ms);
        printf("%s\t%s\t%s\t%s\t%s%s\n", rows[i].id, rows[i].name, rows[i].role, created, used,
               rows[i].revoked ? "\trevoked" : "");
    }
    kf_arena_release(&arena);
    return status;
}

int kf_command_token(int argc, char **argv)
{
    struct kf_admin admin;
    const char *role = NULL, *name = NULL, *days = NULL;
    const struct kf_admin_option options[] = {
        {"--role", &role, NULL}, {"--name", &name, NULL}, {"--days", &days, NULL}, {0}};
    int code = kf_admin_open(&admin, argc, argv, usage, options);
    if (code >= 0)
        return code;
    struct kf_error err;
    enum kf_status status = KF_OK;
    const char *verb = admin.word_count ? admin.words[0] : "";
    int known = 1;
    if (admin.word_count == 1 && strcmp(verb, "list") == 0)
        status = list(&admin, &err);
    else if (admin.word_count == 1 && strcmp(verb, "add") == 0 && role && name)
        status = add(&admin, name, role, days, &err);
    else if (admin.word_count == 2 && strcmp(verb, "revoke") == 0)
        status = kf_store_token_revoke(admin.store, admin.organisation, admin.words[1], &err);
    else
        known = 0;
    kf_admin_close(&admin);
    if (!known) {
        fputs(usage, stderr);
        return KF_EXIT_USAGE;
    }
    return status ? kf_command_failed("token", &err) : KF_EXIT_OK;
}
