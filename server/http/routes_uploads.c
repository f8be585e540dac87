// POST /api/v1/uploads: DICOM files and zips, as a form or as the body itself.
#include "server/http/intake_body.h"
#include "server/http/routes_common.h"
#include <string.h>

static enum kf_status upload_begin(struct kf_request *request, struct kf_error *err)
{
    const char *type = kf_request_content_type(request);
    if (strcmp(type, "multipart/form-data") == 0)
        return kf_intake_begin(request, "upload", NULL, 1, NULL, err);
    if (strcmp(type, "application/zip") == 0 || strcmp(type, "application/x-zip-compressed") == 0)
        return kf_intake_begin(request, "upload", NULL, 0, "upload.zip", err);
    if (strcmp(type, "application/dicom") == 0)
        return kf_intake_begin(request, "upload", NULL, 0, "upload.dcm", err);
    return kf_error_set(err, KF_UNSUPPORTED, NULL,
                        "An upload is multipart/form-data, application/zip or application/dicom.");
}

const struct kf_body_sink kf_sink_upload_create = {upload_begin, kf_intake_data, kf_intake_release};

struct tally {
    int64_t accepted, duplicate, conflict, refused;
    int64_t ours;       // of the refused: for want of disk or database
    const char *reason; // of the first of them
};

static void count_one(void *to, const struct kf_received *received)
{
    struct tally *tally = to;
    switch (received->status) {
    case KF_RECEIVED_CONFLICT:
        tally->conflict++;
        tally->accepted++;
        break;
    case KF_RECEIVED_STORED:
    case KF_RECEIVED_SET_ASIDE:
        tally->accepted++;
        break;
    case KF_RECEIVED_DUPLICATE:
        tally->duplicate++;
        break;
    case KF_RECEIVED_REFUSED:
        tally->refused++;
        if (received->ours && tally->ours++ == 0)
            tally->reason = received->reason;
        break;
    }
}

// When nothing could be kept and none of it was the client's fault, the answer says so in its status.
static enum kf_status check_tally(const struct tally *tally, struct kf_error *err)
{
    if (tally->ours == 0 || tally->ours < tally->refused || tally->accepted + tally->duplicate > 0)
        return KF_OK;
    if (strcmp(tally->reason, "no_space") == 0)
        return kf_error_set(err, KF_NOSPACE, NULL, "The disk is full; nothing of the upload was kept.");
    return kf_error_set(err, KF_UNAVAILABLE, NULL, "Nothing of the upload could be kept; try again later.");
}

static void out_one(void *to, const struct kf_received *received)
{
    struct kf_out *out = to;
    kf_out_object(out, NULL);
    kf_out_text(out, "file", received->file);
    kf_out_text(out, "sop_uid", received->sop_uid);
    kf_out_text(out, "status", kf_received_wire(received->status));
    if (received->reason[0])
        kf_out_text(out, "reason", received->reason);
    if (received->detail[0])
        kf_out_text(out, "detail", received->detail);
    kf_out_close(out);
}

enum kf_status kf_route_upload_create(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_upload *upload;
    struct tally tally = {0};
    struct kf_out out = {0};
    const char(*cases)[KF_ID_TEXT];
    enum kf_status status = kf_intake_end(request, &upload, err);
    if (status != KF_OK)
        return status;
    kf_upload_each(upload, count_one, &tally);
    status = check_tally(&tally, err);
    if (status != KF_OK)
        return status;
    kf_out_object(&out, NULL);
    kf_out_int(&out, "accepted", tally.accepted);
    kf_out_int(&out, "duplicate", tally.duplicate);
    kf_out_int(&out, "conflict", tally.conflict);
    kf_out_int(&out, "refused", tally.refused);
    kf_out_array(&out, "instances");
    kf_upload_each(upload, out_one, &out);
    kf_out_close(&out);
    kf_out_array(&out, "cases");
    size_t count = kf_upload_cases(upload, &cases);
    for (size_t i = 0; i < count; i++)
        kf_out_text(&out, NULL, cases[i]);
    kf_out_close(&out);
    kf_out_close(&out);
    return kf_reply(response, 200, &out, err);
}
