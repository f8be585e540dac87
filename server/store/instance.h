// Received DICOM instances.
#ifndef KERF_STORE_INSTANCE_H
#define KERF_STORE_INSTANCE_H

#include "server/store/store.h"
#include <stddef.h>

// Everything about an instance that goes into the database. Texts are UTF-8 without NUL; NULL reads as "". Longer texts
// than the schema allows are cut by the caller's rules, not here. All borrowed.
struct kf_instance_new {
    // Patient and study
    const char *patient_id, *patient_issuer, *patient_name, *birth_date, *sex;
    const char *study_uid, *study_date, *study_time, *study_description, *accession;
    // Series
    const char *series_uid, *modality, *series_description, *body_part;
    int has_series_number, series_number;
    // Instance
    const char *sop_uid, *sop_class, *transfer_syntax, *set_aside;
    int has_instance_number, instance_number;
    unsigned char content_sha256[32]; // kf_dicom_content_hash
    const void *dicom_json;           // PS3.18 Annex F, raw deflate
    size_t dicom_json_bytes;
    const void *frame_offsets; // little-endian (uint64 offset, uint64 length) per frame, from the start of the blob
    size_t frame_offsets_bytes;
    // Where it came from
    const char *source; // "dimse", "stow" or "upload"
    const char *peer_ae, *peer_address;
    const char *association_id; // UUID, or NULL
    // The blob: the whole Part 10 file, already durable in the blob store
    unsigned char blob_sha256[32];
    int64_t bytes;
    const char *container;
    int64_t location_offset;
};

enum kf_instance_outcome {
    KF_INSTANCE_STORED,
    KF_INSTANCE_DUPLICATE, // the same UID and the same content: nothing changed
    KF_INSTANCE_CONFLICT   // the same UID with other content: stored and flagged, and so are the ones before
};

struct kf_instance_stored {
    enum kf_instance_outcome outcome;
    int blob_used;       // 0: the blob was known already, the bytes just written are not referred to and may go
    int patient_differs; // set aside as "patient_mismatch": patient id, issuer, birth date or sex differ from the case's
    char instance_id[KF_ID_TEXT];
    char series_id[KF_ID_TEXT];
    char study_id[KF_ID_TEXT];
    char case_id[KF_ID_TEXT];
};

// Receives one instance: finds or makes its case, study, series and blob. One round trip, one transaction; when this
// answers KF_OK outside a transaction, the row is durable. Idempotent: after KF_DB call it again. A new study joins the
// newest case, not archived, of the same patient (id not empty and id, issuer, birth date, sex equal), else a new case.
KF_MUST_USE enum kf_status kf_store_instance_receive(struct kf_store *store, const char *organisation,
                                                     const struct kf_instance_new *instance,
                                                     struct kf_instance_stored *out, struct kf_error *err);

// The same outside a transaction, while the bytes are still on their way to the disk: the database works on the row
// meanwhile, `ready` makes the bytes durable, and only when it has answered KF_OK is the commit asked for. Anything else
// rolls back and is the result. `ready` is called once for each attempt that reached the database.
KF_MUST_USE enum kf_status kf_store_instance_receive_when(struct kf_store *store, const char *organisation,
                                                          const struct kf_instance_new *instance,
                                                          enum kf_status (*ready)(void *context, struct kf_error *err),
                                                          void *context, struct kf_instance_stored *out,
                                                          struct kf_error *err);

#endif
