// A private PostgreSQL in a directory: Unix socket only, unprivileged user, fsync on. For `kerf up` and for tests.
//
// postgres is a child of the caller (PR_SET_PDEATHSIG, no pg_ctl, no daemon): it cannot outlive it. Started as root, the
// child becomes `postgres` (or the user of the options) and owns the directory. The socket lies in DIR/../run/pg when
// that path is short enough for a Unix address (107 bytes), else in a fresh directory under /run or /tmp; its mode is 0700
// and lets in the caller's user and the server's.
#ifndef KERF_PGEMBED_PGEMBED_H
#define KERF_PGEMBED_PGEMBED_H

#include "server/base/error.h"
#include <stddef.h>
#include <sys/types.h>

struct kf_pgembed; // opaque; one thread

struct kf_pgembed_options {
    const char *directory;        // the cluster; made with initdb when missing
    const char *socket_directory; // NULL: chosen
    const char *programs;         // folder with postgres and initdb; NULL or "": looked for
    const char *user;             // whom it runs as when we are root; NULL or "": postgres
    int fast_and_unsafe;          // tests that do not look at durability: fsync off
};

// Starts it and waits until it answers (at most 60 s). KF_UNAVAILABLE "postgres_missing" when no binaries of version 15 or
// newer are found in the folder named, or else in /usr/lib/postgresql/*/bin or PATH.
KF_MUST_USE enum kf_status kf_pgembed_start(const struct kf_pgembed_options *options, struct kf_pgembed **out,
                                            struct kf_error *err);
// Connection URIs, borrowed. The owner makes the schema; the server's login role is an ordinary member of kerf_app.
const char *kf_pgembed_owner_url(const struct kf_pgembed *pg);
const char *kf_pgembed_server_url(const struct kf_pgembed *pg);
// Makes the server's login role; after the migrations.
KF_MUST_USE enum kf_status kf_pgembed_grant_server(struct kf_pgembed *pg, struct kf_error *err);
pid_t kf_pgembed_pid(const struct kf_pgembed *pg);
// 1 while it runs; reaps it when it has died. Restart with kf_pgembed_restart.
int kf_pgembed_alive(struct kf_pgembed *pg);
KF_MUST_USE enum kf_status kf_pgembed_restart(struct kf_pgembed *pg, struct kf_error *err);
// Fast shutdown (SIGINT), after 30 s SIGQUIT, at last SIGKILL; reaps it and releases pg.
void kf_pgembed_stop(struct kf_pgembed *pg);

#endif
