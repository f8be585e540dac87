// The sending side of a DICOM association: C-ECHO and C-STORE of files as they are. The data set's bytes go out exactly
// as they lie in the file, in the transfer syntax they lie in; nothing is decoded or converted.
#ifndef KERF_DICOM_NET_SCU_H
#define KERF_DICOM_NET_SCU_H

#include "server/base/error.h"
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KF_SCU_CONTEXTS 128 // presentation contexts of one association (ids are the odd numbers 1–255)

struct kf_scu_context {
    const char *sop_class, *transfer_syntax;
};

struct kf_scu_options {
    const char *host;
    int port;
    const char *calling_ae, *called_ae; // at most 16 characters
    int timeout_s;                      // connecting, and waiting for each answer; 0: 30
};

struct kf_scu; // opaque; one association, one thread

// Connects and negotiates Verification and the given contexts, one transfer syntax each (count ≤ KF_SCU_CONTEXTS - 1).
// *out is owned: kf_scu_close. Codes: "connect" (KF_UNAVAILABLE), "rejected_calling_ae", "rejected_called_ae",
// "rejected" (KF_FORBIDDEN), "rejected_busy" (KF_UNAVAILABLE), "negotiation".
KF_MUST_USE enum kf_status kf_scu_open(const struct kf_scu_options *options, const struct kf_scu_context *contexts,
                                       int count, struct kf_scu **out, struct kf_error *err);
KF_MUST_USE enum kf_status kf_scu_echo(struct kf_scu *scu, uint16_t *dimse_status, struct kf_error *err);

struct kf_scu_object {
    const char *sop_class, *sop_instance, *transfer_syntax;
    int fd;                 // borrowed; read with pread
    int64_t offset, length; // of the data set, file meta left out
};

// Sends one object and waits for the answer: KF_OK and *dimse_status, whatever it is. KF_UNSUPPORTED
// "context_refused" when the peer did not accept its class in its transfer syntax (nothing was sent, the association
// lives). Anything else ends the association.
KF_MUST_USE enum kf_status kf_scu_store(struct kf_scu *scu, const struct kf_scu_object *object, uint16_t *dimse_status,
                                        struct kf_error *err);
// Releases the association (or aborts it after a failure) and frees. NULL is fine.
void kf_scu_close(struct kf_scu *scu);

#ifdef __cplusplus
}
#endif

#endif
