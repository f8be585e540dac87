// One received object on its way to being safe: the bytes stream into a blob segment while they are hashed, the header
// is indexed, the bytes are made durable, and only then the row is committed. Success is answered after all of that.
//
// One segment for each association: objects lie one behind the other in it, whatever their series. An object that does
// not make it is cut off again.
#ifndef KERF_INTAKE_RECEIVE_H
#define KERF_INTAKE_RECEIVE_H

#include "server/base/error.h"
#include "server/base/timeid.h"
#include "server/blob/blob.h"
#include "server/store/instance.h"
#include "workers/dicom/net_scp.h"
#include <stdint.h>

struct kf_receive_options {
    struct kf_store *store; // borrowed
    struct kf_blob_store *blobs;
    const char *organisation, *calling_ae, *address, *association_id; // borrowed
    double database_wait_s; // how long a database that is away is waited for
    // Called while a restarting database is waited for, so that the parent does not take us for hung; may be NULL.
    void (*busy)(void *context);
    // 1 while no other association is open; NULL: never known. The database may then work on the row while the bytes
    // become durable. With others beside it that would hold the series' row, which all of them want, for longer.
    int (*alone)(void *context);
    void *context; // of both
};

struct kf_receive; // opaque

KF_MUST_USE enum kf_status kf_receive_new(const struct kf_receive_options *options, struct kf_receive **out,
                                          struct kf_error *err); // owned: kf_receive_free
void kf_receive_free(struct kf_receive *receive);

// An object begins. Fails with KF_NOSPACE and the like; the next object may fare better.
KF_MUST_USE enum kf_status kf_receive_begin(struct kf_receive *receive, const struct kf_scp_object *object,
                                            struct kf_error *err);
KF_MUST_USE enum kf_status kf_receive_data(struct kf_receive *receive, const void *bytes, size_t length,
                                           struct kf_error *err);
// The object is complete. KF_OK: it is durable, or was so already (out->outcome). KF_INVALID: the data set cannot be
// kept (code: what is wrong with it; "class_mismatch" and "instance_mismatch" when it is not what the command said).
// Anything else: our own trouble.
KF_MUST_USE enum kf_status kf_receive_end(struct kf_receive *receive, struct kf_instance_stored *out,
                                          struct kf_error *err);
// The object will not be completed. No-op when none was begun.
void kf_receive_cut(struct kf_receive *receive);

#endif
