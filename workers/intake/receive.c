#include "workers/intake/receive.h"
#include "server/base/hash.h"
#include "server/base/log.h"
#include "workers/dicom/index.h"
#include "workers/dicom/meta.h"
#include "workers/dicom/net_part10.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct kf_receive {
    struct kf_receive_options options;
    struct kf_blob_segment *segment; // NULL until the first object, and after a failure
    struct kf_sha256 *content;       // of the object that is coming in; NULL: none is
    int unknown_class;
    int synced; // a sync of the object was tried, with sync_status for its result
    enum kf_status sync_status;
    char sop_class[65], sop_instance[65];
};

enum kf_status kf_receive_new(const struct kf_receive_options *options, struct kf_receive **out, struct kf_error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return kf_error_set(err, KF_NOMEM, NULL, "Memory ran out.");
    (*out)->options = *options;
    return KF_OK;
}

void kf_receive_free(struct kf_receive *receive)
{
    if (!receive)
        return;
    kf_receive_cut(receive);
    if (receive->segment)
        kf_blob_segment_close(receive->segment);
    free(receive);
}

// After a failed write or sync a segment takes nothing any more (the kernel may have dropped its pages): the next object
// gets a new one.
static void drop_segment(struct kf_receive *receive)
{
    if (receive->segment)
        kf_blob_segment_close(receive->segment);
    receive->segment = NULL;
}

static void forget_object(struct kf_receive *receive)
{
    kf_sha256_free(receive->content);
    receive->content = NULL;
}

void kf_receive_cut(struct kf_receive *receive)
{
    if (!receive->content)
        return;
    forget_object(receive);
    if (receive->segment)
        kf_blob_segment_undo(receive->segment);
}

static enum kf_status begin_bytes(struct kf_receive *receive, const struct kf_scp_object *object,
                                  struct kf_error *err)
{
    unsigned char header[KF_PART10_HEADER];
    size_t length = kf_part10_header(object->sop_class, object->sop_instance, object->transfer_syntax,
                                     receive->options.calling_ae, header, sizeof header);
    if (length == 0)
        return kf_error_set(err, KF_INTERNAL, NULL, "The file meta information cannot be written.");
    enum kf_status status = KF_OK;
    if (!receive->segment)
        status = kf_blob_segment_open(receive->options.blobs, receive->options.organisation, &receive->segment, err);
    if (status == KF_OK)
        status = kf_blob_segment_begin(receive->segment, err);
    if (status == KF_OK)
        status = kf_blob_segment_add(receive->segment, header, length, err);
    return status;
}

enum kf_status kf_receive_begin(struct kf_receive *receive, const struct kf_scp_object *object, struct kf_error *err)
{
    kf_str_copy(receive->sop_class, sizeof receive->sop_class, object->sop_class);
    kf_str_copy(receive->sop_instance, sizeof receive->sop_instance, object->sop_instance);
    receive->unknown_class = object->unknown_class;
    enum kf_status status = kf_dicom_content_hash_begin(object->transfer_syntax, &receive->content);
    if (status != KF_OK)
        return kf_error_set(err, status, NULL, "The content hash cannot be started.");
    status = begin_bytes(receive, object, err);
    if (status != KF_OK) {
        forget_object(receive);
        drop_segment(receive);
    }
    return status;
}

enum kf_status kf_receive_data(struct kf_receive *receive, const void *bytes, size_t length, struct kf_error *err)
{
    enum kf_status status = kf_blob_segment_add(receive->segment, bytes, length, err);
    if (status == KF_OK) {
        kf_sha256_add(receive->content, bytes, length);
    } else {
        forget_object(receive);
        drop_segment(receive);
    }
    return status;
}

// ---------------------------------------------------------------------------------------------- the end

static enum kf_status check_identity(const struct kf_receive *receive, const struct kf_dicom_identity *identity,
                                     struct kf_error *err)
{
    if (strcmp(identity->sop_class, receive->sop_class) != 0)
        return kf_error_set(err, KF_INVALID, "class_mismatch", "The data set is of another SOP class than announced.");
    if (strcmp(identity->sop_uid, receive->sop_instance) != 0)
        return kf_error_set(err, KF_INVALID, "instance_mismatch", "The data set has another UID than announced.");
    return KF_OK;
}

static void fill_row(const struct kf_receive *receive, const struct kf_dicom_identity *identity,
                     const struct kf_dicom_index *index, const struct kf_blob_written *written,
                     struct kf_instance_new *row)
{
    *row = (struct kf_instance_new){
        .patient_id = identity->patient_id,
        .patient_issuer = identity->patient_issuer,
        .patient_name = identity->patient_name,
        .birth_date = identity->birth_date,
        .sex = identity->sex,
        .study_uid = identity->study_uid,
        .study_date = identity->study_date,
        .study_time = identity->study_time,
        .study_description = identity->study_description,
        .accession = identity->accession,
        .series_uid = identity->series_uid,
        .modality = identity->modality,
        .series_description = identity->series_description,
        .body_part = identity->body_part,
        .has_series_number = identity->has_series_number,
        .series_number = identity->series_number,
        .sop_uid = identity->sop_uid,
        .sop_class = identity->sop_class,
        .transfer_syntax = identity->transfer_syntax,
        .set_aside = receive->unknown_class ? "unknown_class" : index->set_aside,
        .has_instance_number = identity->has_instance_number,
        .instance_number = identity->instance_number,
        .dicom_json = kf_str_text(&index->json_deflated),
        .dicom_json_bytes = index->json_deflated.length,
        .frame_offsets = kf_str_text(&index->frame_offsets),
        .frame_offsets_bytes = index->frame_offsets.length,
        .source = "dimse",
        .peer_ae = receive->options.calling_ae,
        .peer_address = receive->options.address,
        .association_id = receive->options.association_id,
        .bytes = written->bytes,
        .container = written->container,
        .location_offset = written->offset,
    };
    memcpy(row->content_sha256, index->content_sha256, sizeof row->content_sha256);
    memcpy(row->blob_sha256, written->sha256, sizeof row->blob_sha256);
}

static void sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

// Makes the object's bytes durable, once, while the database prepares the row. A failure is final for the segment.
static enum kf_status sync_bytes(void *context, struct kf_error *err)
{
    struct kf_receive *receive = context;
    if (!receive->synced) {
        receive->synced = 1;
        receive->sync_status = kf_blob_segment_sync(receive->segment, err);
    } else if (receive->sync_status != KF_OK) {
        return kf_error_set(err, receive->sync_status, NULL, "The bytes are not durable.");
    }
    return receive->sync_status;
}

// Commits the row. A database that restarts is waited for: storing is idempotent, so an unknown outcome is asked again.
// *asked_again then says that "duplicate" may mean our own first attempt, whose bytes are these.
static enum kf_status commit_row(struct kf_receive *receive, const struct kf_instance_new *row,
                                 struct kf_instance_stored *out, int *asked_again, struct kf_error *err)
{
    *asked_again = 0;
    const struct kf_receive_options *o = &receive->options;
    int64_t until = kf_time_monotonic_ns() + (int64_t)(o->database_wait_s * 1e9);
    for (long pause_ms = 20;; pause_ms = pause_ms < 500 ? pause_ms * 2 : 500) {
        enum kf_status status =
            kf_store_instance_receive_when(o->store, o->organisation, row, sync_bytes, receive, out, err);
        int again = status == KF_DB || status == KF_UNAVAILABLE || status == KF_TIMEOUT;
        if (!again || receive->sync_status != KF_OK || kf_time_monotonic_ns() > until)
            return status;
        *asked_again = 1;
        if (o->busy)
            o->busy(o->context);
        sleep_ms(pause_ms);
    }
}

// The bytes lie in the segment, not yet durable: reads the header back, makes them durable, commits.
static enum kf_status store_object(struct kf_receive *receive, const unsigned char content[KF_SHA256_BYTES],
                                   const struct kf_blob_written *written, struct kf_instance_stored *out,
                                   struct kf_error *err)
{
    struct kf_dicom *dicom = NULL;
    struct kf_dicom_index index = {0};
    enum kf_status status =
        kf_dicom_open(kf_blob_segment_fd(receive->segment), written->offset, written->bytes, NULL, &dicom, err);
    if (status == KF_OK)
        status = check_identity(receive, kf_dicom_identity(dicom), err);
    if (status == KF_OK)
        status = kf_dicom_index_build(dicom, content, &index, err);
    if (status != KF_OK) {
        kf_blob_segment_undo(receive->segment);
        goto done;
    }
    receive->synced = 0;
    receive->sync_status = KF_OK;
    struct kf_instance_new row;
    fill_row(receive, kf_dicom_identity(dicom), &index, written, &row);
    int asked_again = 0, overlap = receive->options.alone && receive->options.alone(receive->options.context);
    if (!overlap)
        status = sync_bytes(receive, err);
    if (status == KF_OK)
        status = commit_row(receive, &row, out, &asked_again, err);
    if (receive->sync_status != KF_OK)
        drop_segment(receive);
    else if (status == KF_OK && !out->blob_used && !asked_again)
        kf_blob_segment_undo(receive->segment);
    // A commit whose outcome is unknown keeps its bytes: the row may be there.
done:
    kf_dicom_index_release(&index);
    kf_dicom_free(dicom);
    return status;
}

enum kf_status kf_receive_end(struct kf_receive *receive, struct kf_instance_stored *out, struct kf_error *err)
{
    memset(out, 0, sizeof *out);
    unsigned char content[KF_SHA256_BYTES];
    kf_sha256_finish(receive->content, content);
    forget_object(receive);
    struct kf_blob_written written;
    enum kf_status status = kf_blob_segment_end(receive->segment, &written, err);
    if (status != KF_OK) {
        drop_segment(receive);
        return status;
    }
    return store_object(receive, content, &written, out, err);
}
