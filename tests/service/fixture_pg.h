// A private PostgreSQL for a test program: started on first use, migrated, with organisations to work in.
//
//   struct kf_store *app = fixture_app();            // as the server sees it
//   const char *org = fixture_organisation("One");   // made by the owner
//   … fixture_stop();                                 // at the end of main
//
// Works as root (PostgreSQL becomes an unprivileged user) and as an ordinary user. fsync is off unless fixture_durable is
// called first.
#ifndef KERF_TESTS_FIXTURE_PG_H
#define KERF_TESTS_FIXTURE_PG_H

#include "server/store/store.h"

void fixture_durable(void);
const char *fixture_folder(void);     // scratch, removed by fixture_stop
const char *fixture_owner_url(void);  // starts PostgreSQL
const char *fixture_server_url(void); // of the migrated database, as the server's login
struct kf_store *fixture_owner(void); // one connection each, kept until fixture_stop
struct kf_store *fixture_app(void);
struct kf_store *fixture_new_app(void); // a further connection; close it
// A new organisation; the id lives until the program ends.
const char *fixture_organisation(const char *name);
// A fresh, empty database beside the migrated one; its owner URL, valid until the next call.
const char *fixture_empty_database(void);
void fixture_kill_postgres(void);    // SIGKILL, and waits until it is gone
void fixture_restart_postgres(void); // after a kill
// Runs SQL as the owner; aborts the test program when it fails. The first column of the first row, or "".
const char *fixture_sql(const char *sql);
void fixture_stop(void);

#endif
