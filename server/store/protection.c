// Asks the catalogue whether row-level security holds for everything that kerf_app can reach, and for who logs in.
#include "server/store/migrate.h"
#include "server/base/str.h"
#include "server/store/row.h"

// Tables that are no organisation's: they may be read without a policy, and written by nobody but the owner.
#define OPEN_TABLES "'schema_migration'"

struct rule {
    struct kf_query query; // answers the names of offenders
    const char *complaint;
};

static const struct rule rules[] = {
    {{"protect_tables",
      "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
      "WHERE n.nspname = 'kerf' AND c.relkind IN ('r', 'p', 'f') AND c.relname NOT IN (" OPEN_TABLES ") "
      "AND (has_table_privilege('kerf_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE') "
      "  OR has_any_column_privilege('kerf_app', c.oid, 'SELECT, INSERT, UPDATE')) "
      "AND NOT (c.relrowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive "
      "  AND p.polcmd = '*' AND pg_get_expr(p.polqual, c.oid) LIKE '%= kerf.organisation())' "
      "  AND pg_get_expr(p.polwithcheck, c.oid) LIKE '%= kerf.organisation())') "
      "  AND (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive) = 1) ORDER BY 1"},
     "has no row-level security policy with both checks"},
    {{"protect_views",
      "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
      "WHERE n.nspname = 'kerf' AND c.relkind IN ('v', 'm') AND has_table_privilege('kerf_app', c.oid, 'SELECT') "
      "AND NOT coalesce(c.reloptions @> ARRAY['security_invoker=true'], false) ORDER BY 1"},
     "is a view with its owner's rights"},
    {{"protect_writes",
      "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
      "WHERE n.nspname = 'kerf' AND c.relkind IN ('r', 'p') "
      "AND (has_table_privilege('kerf_app', c.oid, 'TRUNCATE, REFERENCES, TRIGGER') OR (c.relname IN (" OPEN_TABLES
      ") AND has_table_privilege('kerf_app', c.oid, 'INSERT, UPDATE, DELETE'))) ORDER BY 1"},
     "gives kerf_app more than it needs"},
    {{"protect_role",
      "SELECT rolname FROM pg_roles r WHERE rolname = 'kerf_app' AND (rolsuper OR rolbypassrls OR rolcreaterole "
      "OR rolcreatedb OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid) "
      "OR EXISTS (SELECT FROM pg_proc f WHERE f.proowner = r.oid))"},
     "is privileged or owns something"},
    {{"protect_functions",
      "SELECT f.proname FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE n.nspname = 'kerf' "
      "AND ((f.prosecdef AND NOT coalesce(f.proconfig::text LIKE '%search_path=kerf, pg_temp%', false)) "
      "  OR f.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(f.proacl) a WHERE a.grantee = 0)) ORDER BY 1"},
     "is open to everybody or runs with its owner's rights without a pinned search_path"},
};

enum kf_status kf_store_check_protection(struct kf_store *store, struct kf_error *err)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct kf_args none = {0};
        struct kf_rows rows;
        enum kf_status status = kf_run(store, NULL, &rules[i].query, &none, KF_RUN_READ, &rows, err);
        if (!status && rows.count)
            status = kf_error_set(err, KF_INTERNAL, "unprotected", "%s %s.", kf_row_text(&rows, 0, 0),
                                  rules[i].complaint);
        kf_rows_release(&rows);
        if (status)
            return status;
    }
    return KF_OK;
}

#define LOGIN_MOST 64 // bytes of a role's name with its end, as PostgreSQL has it

struct login {
    char name[LOGIN_MOST];
    int unsafe, admitted;
};

// Asked as the login itself: only it knows its name, which the URL may leave to the environment.
static enum kf_status ask_login(const char *url, struct login *login, struct kf_error *err)
{
    static const struct kf_query query = {
        "protect_login",
        "SELECT r.rolname, r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR EXISTS (SELECT FROM pg_roles o "
        "WHERE pg_has_role(r.oid, o.oid, 'MEMBER') AND (o.rolsuper OR o.rolbypassrls OR o.rolcreaterole "
        "OR EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = 'kerf' AND n.nspowner = o.oid) "
        "OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'kerf' AND c.relowner = o.oid))), EXISTS (SELECT FROM pg_roles a "
        "WHERE a.rolname = 'kerf_app' AND pg_has_role(r.oid, a.oid, 'MEMBER')) "
        "FROM pg_roles r WHERE r.rolname = session_user"};
    struct kf_args none = {0};
    struct kf_rows rows = {0};
    struct kf_store *store = NULL;
    *login = (struct login){.unsafe = 1};
    enum kf_status status = kf_store_open(&store, url, "kerf login", KF_STORE_OWNER, err);
    if (!status)
        status = kf_run(store, NULL, &query, &none, KF_RUN_READ, &rows, err);
    if (!status && rows.count == 1) {
        kf_row_copy(&rows, 0, 0, login->name, sizeof login->name);
        login->unsafe = kf_row_flag(&rows, 0, 1);
        login->admitted = kf_row_flag(&rows, 0, 2);
    }
    kf_rows_release(&rows);
    kf_store_close(store);
    return status;
}

enum kf_status kf_store_check_login(const char *server_url, struct kf_error *err)
{
    struct login login;
    enum kf_status status = ask_login(server_url, &login, err);
    if (!status && login.unsafe)
        status = kf_error_set(err, KF_FORBIDDEN, "unsafe_role",
                              "The login of KERF_DATABASE_URL may see past row-level security: use a role that owns "
                              "nothing and has no SUPERUSER, BYPASSRLS or CREATEROLE, and name the schema's owner in "
                              "KERF_DATABASE_OWNER_URL.");
    return status;
}

enum kf_status kf_store_admit_login(struct kf_store *store, const char *server_url, struct kf_error *err)
{
    static const struct kf_query query = {"protect_admit", "SELECT format('GRANT kerf_app TO %I', $1::text)"};
    struct login login;
    enum kf_status status = ask_login(server_url, &login, err);
    if (status || login.admitted)
        return status;
    struct kf_args args = {0};
    struct kf_rows rows = {0};
    char sql[3 * LOGIN_MOST] = "";
    kf_args_text(&args, login.name);
    status = kf_run(store, NULL, &query, &args, KF_RUN_READ, &rows, err);
    if (!status)
        kf_row_copy(&rows, 0, 0, sql, sizeof sql);
    kf_rows_release(&rows);
    if (!status)
        status = kf_run_script(store, sql, err);
    if (status == KF_FORBIDDEN)
        status = kf_error_set(err, KF_FORBIDDEN, "not_granted",
                              "The login of KERF_DATABASE_URL may not become kerf_app, and the schema's owner may not "
                              "grant that: GRANT kerf_app TO it as a superuser.");
    return status;
}
