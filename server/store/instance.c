#include "server/store/instance.h"

#include "server/store/connection.h"
#include "server/store/row.h"
#include <string.h>

static const struct kf_query receive = {
    "instance_receive",
    "SELECT r_outcome, r_blob_used, r_patient_differs, r_instance, r_series, r_study, r_case FROM "
    "kerf.receive_instance("
    "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, "
    "$25, "
    "$26, $27, $28, $29, $30, $31, $32)"};

static void number_or_null(struct kf_args *args, int has, int value)
{
    if (has)
        kf_args_integer(args, value);
    else
        kf_args_text(args, NULL);
}

static void fill(struct kf_args *args, const struct kf_instance_new *in)
{
    const char *const place[] = {in->patient_id, in->patient_issuer,     in->patient_name,      in->birth_date,
                                 in->sex,        in->study_uid,          in->study_date,        in->study_time,
                                 in->study_description, in->accession,   in->series_uid,        in->modality,
                                 in->series_description, in->body_part};
    for (size_t i = 0; i < sizeof place / sizeof *place; i++)
        kf_args_string(args, place[i]);
    number_or_null(args, in->has_series_number, in->series_number);
    kf_args_string(args, in->sop_uid);
    kf_args_string(args, in->sop_class);
    kf_args_string(args, in->transfer_syntax);
    kf_args_string(args, in->set_aside);
    number_or_null(args, in->has_instance_number, in->instance_number);
    kf_args_bytes(args, in->content_sha256, sizeof in->content_sha256);
    kf_args_bytes(args, in->dicom_json ? in->dicom_json : "", in->dicom_json_bytes);
    kf_args_bytes(args, in->frame_offsets ? in->frame_offsets : "", in->frame_offsets_bytes);
    kf_args_string(args, in->source);
    kf_args_string(args, in->peer_ae);
    kf_args_string(args, in->peer_address);
    kf_args_text(args, in->association_id);
    kf_args_bytes(args, in->blob_sha256, sizeof in->blob_sha256);
    kf_args_integer(args, in->bytes);
    kf_args_string(args, in->container);
    kf_args_integer(args, in->location_offset);
}

enum kf_status kf_store_instance_receive(struct kf_store *store, const char *organisation,
                                         const struct kf_instance_new *instance, struct kf_instance_stored *out,
                                         struct kf_error *err)
{
    *out = (struct kf_instance_stored){0};
    // One event a second and connection is enough; the first instance of a series is always announced.
    int64_t now = kf_time_monotonic_ns();
    int announce = now - store->announced_ns >= 1000000000;
    struct kf_args args = {0};
    fill(&args, instance);
    kf_args_flag(&args, announce);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &receive, &args, KF_RUN_WRITE, &rows, err);
    if (status)
        return status;
    if (announce)
        store->announced_ns = now;
    const char *outcome = kf_row_text(&rows, 0, 0);
    out->outcome = strcmp(outcome, "stored") == 0      ? KF_INSTANCE_STORED
                   : strcmp(outcome, "duplicate") == 0 ? KF_INSTANCE_DUPLICATE
                                                       : KF_INSTANCE_CONFLICT;
    out->blob_used = kf_row_flag(&rows, 0, 1);
    out->patient_differs = kf_row_flag(&rows, 0, 2);
    kf_row_copy(&rows, 0, 3, out->instance_id, sizeof out->instance_id);
    kf_row_copy(&rows, 0, 4, out->series_id, sizeof out->series_id);
    kf_row_copy(&rows, 0, 5, out->study_id, sizeof out->study_id);
    kf_row_copy(&rows, 0, 6, out->case_id, sizeof out->case_id);
    kf_rows_release(&rows);
    return KF_OK;
}

enum kf_status kf_store_instance_receive_when(struct kf_store *store, const char *organisation,
                                              const struct kf_instance_new *instance,
                                              enum kf_status (*ready)(void *context, struct kf_error *err),
                                              void *context, struct kf_instance_stored *out, struct kf_error *err)
{
    if (store->transaction != KF_TX_NONE)
        return kf_error_set(err, KF_INTERNAL, NULL, "Receiving commits by itself.");
    store->ready = ready;
    store->ready_context = context;
    enum kf_status status = kf_store_instance_receive(store, organisation, instance, out, err);
    store->ready = NULL;
    store->ready_context = NULL;
    return status;
}
