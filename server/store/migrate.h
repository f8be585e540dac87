// Migrations: schema/NNNN_name.sql, embedded in the binary, forward only, one transaction each, under an advisory lock so
// that any number of processes may start at once. An applied migration whose bytes have changed is refused
// (KF_CONFLICT "migration_changed"), and so is a database that is newer than the binary ("schema_too_new").
#ifndef KERF_STORE_MIGRATE_H
#define KERF_STORE_MIGRATE_H

#include "server/store/store.h"
#include <stddef.h>

struct kf_migration {
    int version;
    const char *name;
    const char *sql;
    size_t bytes;
};

// The migrations in this binary, by rising version; ends with version 0.
extern const struct kf_migration kf_migrations[];

struct kf_migrate_report {
    int version; // the database's after the call
    int applied; // how many were applied by this call
};

// store must be a KF_STORE_OWNER. list may be NULL for kf_migrations.
KF_MUST_USE enum kf_status kf_store_migrate(struct kf_store *store, const struct kf_migration *list,
                                            struct kf_migrate_report *report, struct kf_error *err);

// Every table of schema kerf that kerf_app may read has row-level security and a policy with both checks (but for the
// list in the function), kerf_app owns nothing and is not privileged, definer functions pin their search_path and are not
// open to PUBLIC. KF_INTERNAL "unprotected" names the first offender.
KF_MUST_USE enum kf_status kf_store_check_protection(struct kf_store *store, struct kf_error *err);

// The login of a server's URL: KF_FORBIDDEN "unsafe_role" when it could see past row-level security (a superuser,
// BYPASSRLS, the owner of the schema or a member of it, or CREATEROLE, which can make itself one). Servers work as
// kerf_app; this keeps their login from being more. Before the first migration nobody owns anything: ask again after.
KF_MUST_USE enum kf_status kf_store_check_login(const char *server_url, struct kf_error *err);
// Lets that login become kerf_app, unless it may already. store is the owner's, the schema is migrated. KF_FORBIDDEN
// "not_granted" when the owner may not grant it.
KF_MUST_USE enum kf_status kf_store_admit_login(struct kf_store *store, const char *server_url, struct kf_error *err);

#endif
