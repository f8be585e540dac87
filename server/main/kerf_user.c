// kerf user: accounts, for the person who holds the machine.
#include "server/base/crypto/password.h"
#include "server/main/admin.h"
#include "server/store/account.h"
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "kerf user add LOGIN --role ROLE [--name NAME]   makes an account and prints its one-time password\n"
    "kerf user list\n"
    "kerf user reset-password LOGIN                  a new one-time password; ends all sessions of the account\n"
    "kerf user unlock LOGIN                          after too many wrong passwords\n"
    "kerf user disable LOGIN | enable LOGIN\n\n"
    "ROLE: admin, technician, planner, surgeon or viewer. All take --data DIR and --organisation NAME.\n";

static enum kf_status one_time(char password[32], char hash[KF_PASSWORD_ENCODED], struct kf_error *err)
{
    kf_password_generate(password);
    return kf_password_hash(password, hash, err);
}

static enum kf_status add(struct kf_admin *admin, const char *role, const char *name, struct kf_error *err)
{
    static const char roles[] = " admin technician planner surgeon viewer ";
    char password[32], hash[KF_PASSWORD_ENCODED], id[KF_ID_TEXT], wanted[32];
    snprintf(wanted, sizeof wanted, " %s ", role);
    if (!strstr(roles, wanted))
        return kf_error_set(err, KF_INVALID, "bad_role", "a role is admin, technician, planner, surgeon or viewer");
    enum kf_status status = one_time(password, hash, err);
    struct kf_account_new account = {.login = admin->words[1], .display_name = name ? name : admin->words[1],
                                     .role = role, .password_hash = hash, .must_change = 1};
    if (!status)
        status = kf_store_account_add(admin->store, admin->organisation, &account, id, err);
    if (!status)
        printf("%s %s\none-time password: %s\n", id, admin->words[1], password);
    return status;
}

static enum kf_status list(struct kf_admin *admin, struct kf_error *err)
{
    char after[208] = "";
    for (;;) {
        struct kf_arena arena = {0};
        struct kf_account_row *rows;
        size_t count;
        enum kf_status status =
            kf_store_account_list(admin->store, admin->organisation, after, 200, &arena, &rows, &count, err);
        for (size_t i = 0; !status && i < count; i++)
            printf("%s\t%s\t%s\t%s%s%s\n", rows[i].login, rows[i].role, rows[i].display_name,
                   rows[i].disabled ? "disabled " : "",
                   rows[i].locked_until_ms > kf_time_unix_ms() ? "locked " : "",
                   rows[i].must_change ? "must-change-password" : "");
        if (!status && count)
            snprintf(after, sizeof after, "%s", rows[count - 1].login);
        kf_arena_release(&arena);
        if (status || count < 200)
            return status;
    }
}

static enum kf_status reset(struct kf_admin *admin, const char *id, struct kf_error *err)
{
    char password[32], hash[KF_PASSWORD_ENCODED];
    struct kf_account_row row;
    enum kf_status status = one_time(password, hash, err);
    struct kf_account_change change = {.password_hash = hash, .disabled = -1, .must_change = 1, .unlock = 1};
    if (!status)
        status = kf_store_account_change(admin->store, admin->organisation, id, &change, &row, err);
    if (!status)
        status = kf_store_sessions_end(admin->store, admin->organisation, id, NULL, err);
    if (!status)
        printf("one-time password: %s\n", password);
    return status;
}

static enum kf_status change(struct kf_admin *admin, const char *id, int disabled, int unlock, struct kf_error *err)
{
    struct kf_account_row row;
    struct kf_account_change wanted = {.disabled = disabled, .must_change = -1, .unlock = unlock};
    enum kf_status status = kf_store_account_change(admin->store, admin->organisation, id, &wanted, &row, err);
    if (!status && disabled == 1)
        status = kf_store_sessions_end(admin->store, admin->organisation, id, NULL, err);
    return status;
}

static enum kf_status on_account(struct kf_admin *admin, const char *verb, int *known, struct kf_error *err)
{
    static const char *const verbs[] = {"reset-password", "unlock", "disable", "enable"};
    size_t v = 0;
    while (v < 4 && strcmp(verbs[v], verb) != 0)
        v++;
    *known = v < 4;
    if (!*known)
        return KF_OK;
    struct kf_account_row row;
    enum kf_status status = kf_store_account_by_login(admin->store, admin->organisation, admin->words[1], &row, err);
    if (status)
        return status;
    return v == 0 ? reset(admin, row.id, err) : change(admin, row.id, v == 2 ? 1 : v == 3 ? 0 : -1, v == 1, err);
}

int kf_command_user(int argc, char **argv)
{
    struct kf_admin admin;
    const char *role = NULL, *name = NULL;
    const struct kf_admin_option options[] = {{"--role", &role, NULL}, {"--name", &name, NULL}, {0}};
    int code = kf_admin_open(&admin, argc, argv, usage, options);
    if (code >= 0)
        return code;
    struct kf_error err;
    enum kf_status status = KF_OK;
    const char *verb = admin.word_count ? admin.words[0] : "";
    int known = 1;
    if (admin.word_count == 1 && strcmp(verb, "list") == 0)
        status = list(&admin, &err);
    else if (admin.word_count == 2 && strcmp(verb, "add") == 0 && role)
        status = add(&admin, role, name, &err);
    else if (admin.word_count == 2)
        status = on_account(&admin, verb, &known, &err);
    else
        known = 0;
    kf_admin_close(&admin);
    if (!known) {
        fputs(usage, stderr);
        return KF_EXIT_USAGE;
    }
    return status ? kf_command_failed("user", &err) : KF_EXIT_OK;
}
