// The accepting side of one DICOM association (PS3.7, PS3.8) over DCMTK: negotiation, C-ECHO, C-STORE. It knows nothing
// of files or databases: data set bytes are handed on as they come off the wire, never re-encoded, and the handler
// answers with a DIMSE status.
//
// Made for a process that serves exactly one association and then ends (workers/intake): DCMTK's network layer keeps
// process-wide state. No thread is started. Deadlines are the caller's: it shuts the socket's receiving side down
// (shutdown(fd, SHUT_RD), allowed in a signal handler) and the association ends as KF_SCP_CUT.
#ifndef KERF_DICOM_NET_SCP_H
#define KERF_DICOM_NET_SCP_H

#include "server/base/error.h"
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KF_AE_TITLE 17 // an AE title's 16 characters and a NUL

// Certificates for DICOM TLS (PS3.15 annex B, BCP 195 profile). Files are PEM and read at once, so that a key readable by
// the administrator alone can be loaded before privileges are dropped.
struct kf_scp_tls; // opaque; shared by all children of the process that made it
// require_client: 1 for mutual authentication, 0 to take senders without a certificate (those that show one are checked).
// *out is owned: kf_scp_tls_free.
KF_MUST_USE enum kf_status kf_scp_tls_new(const char *certificate, const char *key, const char *ca, int require_client,
                                          struct kf_scp_tls **out, struct kf_error *err);
void kf_scp_tls_free(struct kf_scp_tls *tls);

struct kf_scp_peer {
    char calling_ae[KF_AE_TITLE]; // trimmed; control characters replaced by '?'
    char called_ae[KF_AE_TITLE];
    char implementation[KF_AE_TITLE]; // their implementation version name
};

enum kf_scp_verdict {
    KF_SCP_ADMIT = 0,
    KF_SCP_UNKNOWN_CALLING, // rejected for good: calling AE title not recognized
    KF_SCP_UNKNOWN_CALLED,  // rejected for good: called AE title not recognized
    KF_SCP_BUSY,            // rejected for now: temporary congestion
};

struct kf_scp_object {
    const char *sop_class, *sop_instance; // of the C-STORE-RQ; both are valid UIDs
    const char *transfer_syntax;          // of the presentation context
    int unknown_class;                    // kf_net_class said KF_CLASS_UNKNOWN
};

// What the association asks of its owner, in this order: admit once; then for every object begin, data any number of
// times, and end or cut. `begin` and `data` return a DIMSE status: anything but success drops the rest of the object
// unread and is the answer, and neither `data` nor `end` is called again for it. `end` returns the answer. `cut` says
// that the association ended inside an object that was begun; there is no answer then. `alive` is called whenever a
// whole PDV has come.
struct kf_scp_handler {
    void *context;
    enum kf_scp_verdict (*admit)(void *context, const struct kf_scp_peer *peer);
    uint16_t (*begin)(void *context, const struct kf_scp_object *object);
    uint16_t (*data)(void *context, const unsigned char *bytes, size_t length);
    uint16_t (*end)(void *context);
    void (*cut)(void *context);
    void (*alive)(void *context);
};

struct kf_scp_options {
    int set_aside_unknown;  // 1: accept presentation contexts of unknown storage classes, 0: refuse them
    int64_t object_limit;   // bytes of one data set; a longer one is answered with out of resources
    uint32_t pdu_bytes;     // 4 KiB … 128 KiB
    const struct kf_scp_tls *tls; // NULL: plain
};

enum kf_scp_outcome {
    KF_SCP_RELEASED = 1,
    KF_SCP_REJECTED,  // by us: see `reason`
    KF_SCP_ABORTED,   // A-ABORT from the peer
    KF_SCP_CLOSED,    // the peer closed the connection, or it broke
    KF_SCP_CUT,       // our side shut the socket down: a deadline or a stop
    KF_SCP_MALFORMED, // the peer broke the protocol; we sent A-ABORT. See `reason`
};

struct kf_scp_report {
    enum kf_scp_outcome outcome;
    char reason[48];             // a stable code, "" when there is nothing to say
    unsigned contexts_accepted, contexts_refused;
    unsigned echoes, stores;     // requests answered
    unsigned failures;           // … of them with a status other than success
    int64_t bytes;               // data set bytes received
};

const char *kf_scp_outcome_name(enum kf_scp_outcome outcome);

// Serves one accepted TCP connection to its end. fd is moved. Never fails as such: everything that happens is in *report.
void kf_scp_serve(int fd, const struct kf_scp_options *options, const struct kf_scp_handler *handler,
                  const volatile int *cut, struct kf_scp_report *report);

#ifdef __cplusplus
}
#endif

#endif
