// Organisations and accounts.
#include "server/store/account.h"

#include "server/store/row.h"
#include <string.h>

#define COLUMNS                                                                                                        \
    "id, login, display_name, role, disabled, must_change, coalesce(" KF_MS("locked_until") ", 0), " KF_MS(            \
        "created_at") ", revision"

static void read_account(const struct kf_rows *rows, int row, struct kf_account_row *out)
{
    kf_row_copy(rows, row, 0, out->id, sizeof out->id);
    kf_row_copy(rows, row, 1, out->login, sizeof out->login);
    kf_row_copy(rows, row, 2, out->display_name, sizeof out->display_name);
    kf_row_copy(rows, row, 3, out->role, sizeof out->role);
    out->disabled = kf_row_flag(rows, row, 4);
    out->must_change = kf_row_flag(rows, row, 5);
    out->locked_until_ms = kf_row_integer(rows, row, 6);
    out->created_ms = kf_row_integer(rows, row, 7);
    out->revision = (int)kf_row_integer(rows, row, 8);
}

static enum kf_status fetch_one(struct kf_store *store, const char *organisation, const struct kf_query *query,
                                const struct kf_args *args, struct kf_account_row *out, struct kf_error *err)
{
    *out = (struct kf_account_row){0};
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, query, args, KF_RUN_READ, &rows, err);
    if (!status && !rows.count)
        status = kf_not_found(err, "account");
    if (!status)
        read_account(&rows, 0, out);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_account_get(struct kf_store *store, const char *organisation, const char *id,
                                    struct kf_account_row *out, struct kf_error *err)
{
    static const struct kf_query query = {"account_get", "SELECT " COLUMNS " FROM kerf.account WHERE id = $1"};
    enum kf_status status = kf_ids_check(err, id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, id);
    return fetch_one(store, organisation, &query, &args, out, err);
}

enum kf_status kf_store_account_by_login(struct kf_store *store, const char *organisation, const char *login,
                                         struct kf_account_row *out, struct kf_error *err)
{
    static const struct kf_query query = {
        "account_by_login",
        "SELECT " COLUMNS " FROM kerf.account WHERE organisation_id = kerf.organisation() AND login = lower($1)"};
    struct kf_args args = {0};
    kf_args_text(&args, login);
    return fetch_one(store, organisation, &query, &args, out, err);
}

enum kf_status kf_store_account_list(struct kf_store *store, const char *organisation, const char *after, int limit,
                                     struct kf_arena *arena, struct kf_account_row **out, size_t *count,
                                     struct kf_error *err)
{
    static const struct kf_query query = {
        "account_list", "SELECT " COLUMNS " FROM kerf.account WHERE organisation_id = kerf.organisation() "
                        "AND login COLLATE \"C\" > $1 ORDER BY login COLLATE \"C\" LIMIT $2"};
    *out = NULL;
    *count = 0;
    struct kf_args args = {0};
    kf_args_string(&args, after);
    kf_args_integer(&args, limit);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_READ, &rows, err);
    if (status)
        return status;
    *out = kf_arena_alloc(arena, (size_t)rows.count * sizeof **out + 1);
    if (!*out)
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a list of accounts.");
    for (int i = 0; *out && i < rows.count; i++)
        read_account(&rows, i, &(*out)[(*count)++]);
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_account_add(struct kf_store *store, const char *organisation,
                                    const struct kf_account_new *account, char id[KF_ID_TEXT], struct kf_error *err)
{
    static const struct kf_query query = {
        "account_add", "INSERT INTO kerf.account (id, organisation_id, login, display_name, role, password_hash, "
                       "must_change) "
                       "VALUES ($1, kerf.organisation(), lower($2), $3, $4, $5, $6)"};
    kf_id_new(id);
    struct kf_args args = {0};
    kf_args_text(&args, id);
    kf_args_text(&args, account->login);
    kf_args_text(&args, account->display_name);
    kf_args_text(&args, account->role);
    kf_args_text(&args, account->password_hash);
    kf_args_flag(&args, account->must_change);
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, NULL, err);
    if (status)
        id[0] = 0;
    if (status == KF_CONFLICT)
        return kf_error_set(err, KF_CONFLICT, "login_taken", "This login is taken.");
    return status;
}

static const char *flag_or_null(int value)
{
    return value < 0 ? NULL : value ? "t" : "f";
}

// Administrators are looked at one after the other, so that two of them cannot take each other's role away at once.
static enum kf_status change_locked(struct kf_store *store, const char *organisation, const char *id,
                                    const struct kf_account_change *change, struct kf_account_row *out,
                                    struct kf_error *err)
{
    static const struct kf_query lock = {
        "account_lock", "SELECT id FROM kerf.account WHERE organisation_id = kerf.organisation() "
                        "AND (role = 'admin' OR id = $1) ORDER BY id FOR NO KEY UPDATE"};
    static const struct kf_query update = {
        "account_change",
        "UPDATE kerf.account SET display_name = coalesce($2, display_name), role = coalesce($3, role), "
        "password_hash = coalesce($4, password_hash), disabled = coalesce($5, disabled), "
        "must_change = coalesce($6, must_change), locked_until = CASE WHEN $7 THEN NULL ELSE locked_until END, "
        "failed_logins = CASE WHEN $7 THEN 0 ELSE failed_logins END, revision = revision + 1 "
        "WHERE id = $1 AND ($8 = 0 OR revision = $8) RETURNING " COLUMNS};
    static const struct kf_query admins = {
        "account_admins", "SELECT count(*) FROM kerf.account WHERE organisation_id = kerf.organisation() "
                          "AND role = 'admin' AND NOT disabled"};
    struct kf_args one = {0};
    kf_args_text(&one, id);
    enum kf_status status = kf_run(store, organisation, &lock, &one, KF_RUN_WRITE, NULL, err);
    if (!status)
        status = kf_store_account_get(store, organisation, id, out, err);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, id);
    kf_args_text(&args, change->display_name);
    kf_args_text(&args, change->role);
    kf_args_text(&args, change->password_hash);
    kf_args_text(&args, flag_or_null(change->disabled));
    kf_args_text(&args, flag_or_null(change->must_change));
    kf_args_flag(&args, change->unlock);
    kf_args_integer(&args, change->revision);
    struct kf_rows rows;
    status = kf_run(store, organisation, &update, &args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.count)
        status = kf_error_set(err, KF_PRECONDITION_FAILED, "revision", "Somebody has changed the account meanwhile.");
    else if (!status)
        read_account(&rows, 0, out);
    kf_rows_release(&rows);
    if (status || (!change->role && change->disabled != 1))
        return status;
    struct kf_args none = {0};
    status = kf_run(store, organisation, &admins, &none, KF_RUN_READ, &rows, err);
    if (!status && kf_row_integer(&rows, 0, 0) == 0)
        status = kf_error_set(err, KF_CONFLICT, "last_admin", "The last administrator cannot be taken away.");
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_account_change(struct kf_store *store, const char *organisation, const char *id,
                                       const struct kf_account_change *change, struct kf_account_row *out,
                                       struct kf_error *err)
{
    *out = (struct kf_account_row){0};
    enum kf_status status = kf_ids_check(err, id, NULL);
    int own = !kf_store_in_transaction(store);
    if (!status && own)
        status = kf_store_begin(store, organisation, err);
    if (status)
        return status;
    status = change_locked(store, organisation, id, change, out, err);
    if (!status && own)
        status = kf_store_commit(store, err);
    if (status && own)
        kf_store_rollback(store);
    return status;
}

// ------------------------------------------------------------------------------------------------ organisations
enum kf_status kf_store_organisation_find(struct kf_store *store, const char *name_or_id,
                                          char organisation_id[KF_ID_TEXT], struct kf_error *err)
{
    static const struct kf_query query = {
        "organisation_find",
        "SELECT id FROM kerf.organisation WHERE $1::text IS NULL OR name = $1 OR id::text = $1 ORDER BY created_at "
        "LIMIT 2"};
    organisation_id[0] = 0;
    struct kf_args args = {0};
    kf_args_text(&args, name_or_id);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, NULL, &query, &args, KF_RUN_READ, &rows, err);
    if (!status && rows.count == 0)
        status = kf_not_found(err, "organisation");
    else if (!status && rows.count > 1)
        status = kf_error_set(err, KF_CONFLICT, "several_organisations", "There are several organisations: name one.");
    else if (!status)
        kf_row_copy(&rows, 0, 0, organisation_id, KF_ID_TEXT);
    kf_rows_release(&rows);
    return status;
}

// The table is locked so that two first starts at once make one organisation.
static enum kf_status make_first(struct kf_store *store, const char *name, char id[KF_ID_TEXT], int *made,
                                 struct kf_error *err)
{
    static const struct kf_query add = {"organisation_first",
                                        "INSERT INTO kerf.organisation (id, name) SELECT $1, $2 "
                                        "WHERE NOT EXISTS (SELECT FROM kerf.organisation)"};
    enum kf_status status = kf_run_script(store, "LOCK TABLE kerf.organisation IN SHARE ROW EXCLUSIVE MODE", err);
    if (status)
        return status;
    kf_id_new(id);
    struct kf_args args = {0};
    kf_args_text(&args, id);
    kf_args_text(&args, name);
    struct kf_rows rows;
    status = kf_run(store, NULL, &add, &args, KF_RUN_WRITE, &rows, err);
    *made = status ? 0 : rows.changed;
    kf_rows_release(&rows);
    return status;
}

static enum kf_status scope(struct kf_store *store, const char *organisation, struct kf_error *err)
{
    static const struct kf_query query = {"organisation_scope", "SELECT set_config('kerf.organisation', $1, true)"};
    struct kf_args args = {0};
    kf_args_text(&args, organisation);
    return kf_run(store, NULL, &query, &args, KF_RUN_WRITE, NULL, err);
}

enum kf_status kf_store_bootstrap(struct kf_store *store, const char *organisation_name,
                                  const struct kf_account_new *admin, char organisation_id[KF_ID_TEXT], int *made,
                                  struct kf_error *err)
{
    *made = 0;
    organisation_id[0] = 0;
    enum kf_status status = kf_store_begin(store, NULL, err);
    if (!status)
        status = make_first(store, organisation_name, organisation_id, made, err);
    if (!status && *made) {
        char account_id[KF_ID_TEXT];
        status = scope(store, organisation_id, err);
        if (!status)
            status = kf_store_account_add(store, NULL, admin, account_id, err);
    }
    if (!status)
        status = kf_store_commit(store, err);
    if (status) {
        kf_store_rollback(store);
        *made = 0;
        return status;
    }
    return *made ? KF_OK : kf_store_organisation_find(store, NULL, organisation_id, err);
}
