// STOW-RS: POST /dicom-web/studies[/{study}], PS3.18 §10.5.
#include "server/domain/text.h"
#include "server/http/intake_body.h"
#include "server/http/routes_common.h"
#include <string.h>
#include <strings.h>

// The answer is a DICOM JSON dataset; a client that only takes something else is told so before it sends.
static int takes_json(const struct kf_request *request)
{
    const char *accept = kf_request_header(request, "accept");
    return !accept || !*accept || strstr(accept, "application/dicom+json") || strstr(accept, "application/json") ||
           strstr(accept, "*/*") || strstr(accept, "application/*");
}

static enum kf_status stow_begin(struct kf_request *request, struct kf_error *err)
{
    const char *study_uid = kf_request_param(request, "study_uid");
    const char *type = kf_request_content_parameter(request, "type");
    if (study_uid && !kf_uid_valid(study_uid))
        return kf_error_set(err, KF_INVALID, "invalid_path", "The study in the path is not a DICOM UID.");
    if (!takes_json(request))
        return kf_error_set(err, KF_NOT_ACCEPTABLE, NULL, "The answer is application/dicom+json.");
    if (strcmp(kf_request_content_type(request), "multipart/related") != 0 ||
        (type && strcasecmp(type, "application/dicom") != 0))
        return kf_error_set(err, KF_UNSUPPORTED, NULL, "STOW-RS takes multipart/related; type=\"application/dicom\".");
    return kf_intake_begin(request, "stow", study_uid, 1, NULL, err);
}

const struct kf_body_sink kf_sink_stow_any = {stow_begin, kf_intake_data, kf_intake_release};
const struct kf_body_sink kf_sink_stow_study = {stow_begin, kf_intake_data, kf_intake_release};

// PS3.18 Table 10.5.3-1 and PS3.4 Table B.2-1 (failure statuses of the Storage Service Class).
static int failure_reason(const struct kf_received *received)
{
    static const struct {
        const char *reason;
        int code;
    } reasons[] = {
        {"no_space", 0xA700},       {"out_of_memory", 0xA700},     {"database_unavailable", 0xA700},
        {"unavailable", 0xA700},    {"io_error", 0xA700},          {"other_study", 0xA900},
        {"unknown_class", 0x0122},  {"unsupported_class", 0x0122}, {"unsupported_syntax", 0xC122},
        {"unknown_syntax", 0xC122},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (strcmp(reasons[i].reason, received->reason) == 0)
            return reasons[i].code;
    return received->ours ? 0x0110 : 0xC000; // processing failure; cannot understand
}

struct stow {
    struct kf_out *out;
    int failed; // which of the two sequences is being written
    size_t stored_count, failed_count;
};

static void count_one(void *to, const struct kf_received *received)
{
    struct stow *stow = to;
    if (received->status == KF_RECEIVED_REFUSED)
        stow->failed_count++;
    else
        stow->stored_count++;
}

static void out_uid(struct kf_out *out, const char *tag, const char *uid)
{
    kf_out_object(out, tag);
    kf_out_text(out, "vr", "UI");
    if (kf_uid_valid(uid)) {
        kf_out_array(out, "Value");
        kf_out_text(out, NULL, uid);
        kf_out_close(out);
    }
    kf_out_close(out);
}

static void out_one(void *to, const struct kf_received *received)
{
    struct stow *stow = to;
    if ((received->status == KF_RECEIVED_REFUSED) != stow->failed)
        return;
    kf_out_object(stow->out, NULL);
    out_uid(stow->out, "00081150", received->sop_class);
    out_uid(stow->out, "00081155", received->sop_uid);
    if (stow->failed) {
        kf_out_object(stow->out, "00081197");
        kf_out_text(stow->out, "vr", "US");
        kf_out_array(stow->out, "Value");
        kf_out_int(stow->out, NULL, failure_reason(received));
        kf_out_close(stow->out);
        kf_out_close(stow->out);
    } else {
        kf_out_object(stow->out, "00081190"); // type 2: where it can be fetched is not said
        kf_out_text(stow->out, "vr", "UR");
        kf_out_close(stow->out);
    }
    kf_out_close(stow->out);
}

static void out_sequence(struct stow *stow, const struct kf_upload *upload, const char *tag, int failed)
{
    stow->failed = failed;
    kf_out_object(stow->out, tag);
    kf_out_text(stow->out, "vr", "SQ");
    kf_out_array(stow->out, "Value");
    kf_upload_each(upload, out_one, stow);
    kf_out_close(stow->out);
    kf_out_close(stow->out);
}

static enum kf_status stow(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_upload *upload;
    struct kf_out out = {0};
    struct stow stow = {.out = &out};
    enum kf_status status = kf_intake_end(request, &upload, err);
    if (status != KF_OK)
        return status;
    kf_upload_each(upload, count_one, &stow);
    kf_out_object(&out, NULL);
    kf_out_object(&out, "00081190");
    kf_out_text(&out, "vr", "UR");
    kf_out_close(&out);
    if (stow.failed_count)
        out_sequence(&stow, upload, "00081198", 1);
    if (stow.stored_count)
        out_sequence(&stow, upload, "00081199", 0);
    kf_out_close(&out);
    // §10.5.3: all stored 200, some 202, none 409.
    int http_status = stow.failed_count == 0 ? 200 : stow.stored_count ? 202 : 409;
    status = kf_reply(response, http_status, &out, err);
    kf_reply_type(response, "application/dicom+json");
    return status;
}

enum kf_status kf_route_stow_any(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    return stow(request, response, err);
}

enum kf_status kf_route_stow_study(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    return stow(request, response, err);
}
