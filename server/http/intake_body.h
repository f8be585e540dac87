// The body of an upload on its way to disk: one file, or the parts of a multipart body. Shared by routes_uploads.c and
// routes_stow.c.
#ifndef KERF_HTTP_INTAKE_BODY_H
#define KERF_HTTP_INTAKE_BODY_H

#include "server/app/receive.h"
#include "server/http/http.h"

// Sets request->state. multipart: the parts are the files; else the whole body is one, called `name`.
KF_MUST_USE enum kf_status kf_intake_begin(struct kf_request *request, const char *source, const char *study_uid,
                                           int multipart, const char *name, struct kf_error *err);
KF_MUST_USE enum kf_status kf_intake_data(struct kf_request *request, const void *bytes, size_t length,
                                          struct kf_error *err);
// The last byte is in: ends the file or the multipart body, waits for everything to be stored. *out is the request's.
KF_MUST_USE enum kf_status kf_intake_end(struct kf_request *request, struct kf_upload **out, struct kf_error *err);
void kf_intake_release(struct kf_request *request);

#endif
