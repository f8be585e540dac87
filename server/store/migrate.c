#include "server/store/migrate.h"

#include "server/base/hash.h"
#include "server/base/log.h"
#include "server/store/row.h"
#include <string.h>

// Held for the whole run: another process that migrates at the same time waits and then finds nothing to do. The number
// is "kerf" in ASCII.
static const struct kf_query lock = {"migrate_lock", "SELECT pg_advisory_lock(1801810534)"};
static const struct kf_query unlock = {"migrate_unlock", "SELECT pg_advisory_unlock(1801810534)"};
static const struct kf_query begun = {"migrate_begun", "SELECT to_regclass('kerf.schema_migration') IS NOT NULL"};
static const struct kf_query applied = {"migrate_applied",
                                        "SELECT version, sha256 FROM kerf.schema_migration ORDER BY version"};
static const struct kf_query note = {"migrate_note",
                                     "INSERT INTO kerf.schema_migration (version, name, sha256) VALUES ($1, $2, $3)"};

static const struct kf_migration *find(const struct kf_migration *list, int64_t version)
{
    for (; list->version; list++)
        if (list->version == version)
            return list;
    return NULL;
}

// Compares what the database has with the list; *version is the last one applied.
static enum kf_status compare(struct kf_store *store, const struct kf_migration *list, int *version,
                              struct kf_error *err)
{
    struct kf_args none = {0};
    struct kf_rows rows;
    *version = 0;
    enum kf_status status = kf_run(store, NULL, &begun, &none, KF_RUN_READ, &rows, err);
    if (status)
        return status;
    int exists = kf_row_flag(&rows, 0, 0);
    kf_rows_release(&rows);
    if (!exists)
        return KF_OK;
    status = kf_run(store, NULL, &applied, &none, KF_RUN_READ, &rows, err);
    for (int i = 0; !status && i < rows.count; i++) {
        int64_t number = kf_row_integer(&rows, i, 0);
        const struct kf_migration *ours = find(list, number);
        unsigned char recorded[KF_SHA256_BYTES], digest[KF_SHA256_BYTES];
        kf_row_hash(&rows, i, 1, recorded);
        if (!ours) {
            status = kf_error_set(err, KF_CONFLICT, "schema_too_new",
                                  "The database has migration %d, which this program does not know.", (int)number);
            break;
        }
        kf_sha256(ours->sql, ours->bytes, digest);
        if (memcmp(recorded, digest, sizeof digest) != 0)
            status = kf_error_set(err, KF_CONFLICT, "migration_changed",
                                  "Migration %d was applied with other contents; migrations are never edited.",
                                  (int)number);
        *version = (int)number;
    }
    kf_rows_release(&rows);
    return status;
}

static enum kf_status apply(struct kf_store *store, const struct kf_migration *migration, struct kf_error *err)
{
    unsigned char digest[KF_SHA256_BYTES];
    kf_sha256(migration->sql, migration->bytes, digest);
    enum kf_status status = kf_store_begin(store, NULL, err);
    if (!status)
        status = kf_run_script(store, "SET LOCAL statement_timeout = 0", err);
    if (!status)
        status = kf_run_script(store, migration->sql, err);
    if (!status) {
        struct kf_args args = {0};
        kf_args_integer(&args, migration->version);
        kf_args_text(&args, migration->name);
        kf_args_bytes(&args, digest, sizeof digest);
        status = kf_run(store, NULL, &note, &args, KF_RUN_WRITE, NULL, err);
    }
    if (!status)
        status = kf_store_commit(store, err);
    if (status)
        kf_store_rollback(store);
    return status;
}

enum kf_status kf_store_migrate(struct kf_store *store, const struct kf_migration *list,
                                struct kf_migrate_report *report, struct kf_error *err)
{
    *report = (struct kf_migrate_report){0};
    if (!list)
        list = kf_migrations;
    struct kf_args none = {0};
    // Waiting for another migrating process may take longer than a statement usually may.
    enum kf_status status = kf_run_script(store, "SET statement_timeout = '10min'", err);
    if (!status)
        status = kf_run(store, NULL, &lock, &none, KF_RUN_WRITE, NULL, err);
    if (status)
        return status;
    status = compare(store, list, &report->version, err);
    for (const struct kf_migration *m = list; !status && m->version; m++) {
        if (m->version <= report->version)
            continue;
        status = apply(store, m, err);
        if (!status) {
            report->version = m->version;
            report->applied++;
            kf_log(KF_LOG_INFO, "schema.migrated", "version=%d name=%s", m->version, m->name);
        }
    }
    struct kf_error ignored;
    if (kf_run(store, NULL, &unlock, &none, KF_RUN_WRITE, NULL, &ignored))
        kf_store_rollback(store); // the connection is gone, and the lock with it
    return status;
}
