// The child of one association: admits the peer, takes its objects, says in the log what came of it.
#ifndef KERF_INTAKE_SESSION_H
#define KERF_INTAKE_SESSION_H

#include "server/blob/blob.h"
#include "workers/dicom/net_scp.h"
#include "workers/intake/listener.h"
#include <stdint.h>

// Made by the parent before it listens; shared read-only by all children.
struct kf_session_settings {
    const char *database_url;
    const char *ae_title;        // ours: a peer that is not known under it is told so
    const char *data;            // location of the blob store
    double database_wait_s;
    int64_t memory_limit_bytes;  // address space of a child
    struct kf_scp_options scp;   // tls is set for connections of the TLS port only
    const struct kf_scp_tls *tls;
};

// Serves the connection to its end. context is a struct kf_session_settings. Returns the exit code.
int kf_session_main(const struct kf_child *child, void *context);

#endif
