// Asks the catalogue whether row-level security holds for everything that kerf_app can reach.
#include "server/store/migrate.h"
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
