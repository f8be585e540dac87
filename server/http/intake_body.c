#include "server/http/intake_body.h"

#include "server/http/multipart.h"
#include "server/http/routes_common.h"
#include <stdlib.h>
#include <string.h>

#define MOST_PARTS 100000

struct intake {
    struct kf_upload *upload;
    struct kf_multipart *parser; // NULL: the body is one file
    int64_t most_bytes;
};

static enum kf_status part_begin(void *context, const struct kf_multipart_part *part, struct kf_error *err)
{
    struct intake *intake = context;
    const char *name = part->file_name[0] ? part->file_name : part->name;
    char numbered[40];
    if (!name[0]) {
        snprintf(numbered, sizeof numbered, "part %zu", part->index + 1);
        name = numbered;
    }
    return kf_upload_begin(intake->upload, name, err);
}

static enum kf_status part_data(void *context, const void *bytes, size_t length, struct kf_error *err)
{
    return kf_upload_data(((struct intake *)context)->upload, bytes, length, err);
}

static enum kf_status part_end(void *context, struct kf_error *err)
{
    return kf_upload_end(((struct intake *)context)->upload, err);
}

static const struct kf_multipart_events part_events = {part_begin, part_data, part_end};

static enum kf_status open_parser(struct kf_request *request, struct intake *intake, struct kf_error *err)
{
    const char *boundary = kf_request_content_parameter(request, "boundary");
    if (!boundary)
        return kf_error_set(err, KF_INVALID, "bad_multipart", "The Content-Type has no boundary.");
    return kf_multipart_new(boundary, MOST_PARTS, &part_events, intake, &intake->parser, err);
}

enum kf_status kf_intake_begin(struct kf_request *request, const char *source, const char *study_uid, int multipart,
                               const char *name, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    int64_t most_bytes = kf_app_settings(call.routes->app)->upload_bytes;
    if (request->content_length > most_bytes)
        return kf_error_set(err, KF_TOO_LARGE, NULL, "The upload is larger than this server takes.");
    struct intake *intake = calloc(1, sizeof *intake);
    if (!intake)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for an upload.");
    intake->most_bytes = most_bytes;
    enum kf_status status = kf_upload_open(call.routes->app, &call.actor, source, study_uid, &intake->upload, err);
    if (status == KF_OK && multipart)
        status = open_parser(request, intake, err);
    else if (status == KF_OK)
        status = kf_upload_begin(intake->upload, name, err);
    request->state = intake;
    if (status != KF_OK)
        kf_intake_release(request);
    return status;
}

enum kf_status kf_intake_data(struct kf_request *request, const void *bytes, size_t length, struct kf_error *err)
{
    struct intake *intake = request->state;
    if (request->body_received > intake->most_bytes)
        return kf_error_set(err, KF_TOO_LARGE, NULL, "The upload is larger than this server takes.");
    if (intake->parser)
        return kf_multipart_feed(intake->parser, bytes, length, err);
    return kf_upload_data(intake->upload, bytes, length, err);
}

enum kf_status kf_intake_end(struct kf_request *request, struct kf_upload **out, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct intake *intake = request->state;
    *out = intake->upload;
    if (!intake->parser && request->body_received == 0)
        return kf_error_set(err, KF_UNPROCESSABLE, "empty_upload", "The upload is empty.");
    enum kf_status status =
        intake->parser ? kf_multipart_finish(intake->parser, err) : kf_upload_end(intake->upload, err);
    if (status == KF_OK)
        status = kf_upload_finish(intake->upload, call.thread, err);
    kf_views_forget(call.routes, call.actor.organisation_id);
    return status;
}

void kf_intake_release(struct kf_request *request)
{
    struct intake *intake = request->state;
    if (!intake)
        return;
    request->state = NULL;
    if (intake->parser)
        kf_multipart_free(intake->parser);
    kf_upload_free(intake->upload);
    free(intake);
}
