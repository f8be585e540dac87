// DICOM JSON Model metadata (PS3.18 Annex F) of one instance: one object, keys in tag order.
#ifndef KERF_DICOM_JSON_H
#define KERF_DICOM_JSON_H

#ifdef __cplusplus
extern "C" {
#endif

#include "server/base/str.h"
#include "workers/dicom/meta.h"

// What is in it: every attribute with its vr, sequences nested, person names in their three forms, private attributes,
// text converted to UTF-8 (with 00080005 saying ISO_IR 192), numbers as numbers (an IS or DS that is not a number stays
// a string), binary values of up to 1 kB as InlineBinary. What is not: file meta, group lengths, padding, and the
// value of binary and UN attributes over 1 kB and of Pixel Data (they keep their "vr" alone). 00083002 (Available
// Transfer Syntax) names the stored syntax. An instance always gives the same bytes.
KF_MUST_USE enum kf_status kf_dicom_json(const struct kf_dicom *dicom, struct kf_str *out, struct kf_error *err);

// The same, as raw deflate (RFC 1951): what schema/ stores in instance.dicom_json.
KF_MUST_USE enum kf_status kf_dicom_json_deflated(const struct kf_dicom *dicom, struct kf_str *out,
                                                  struct kf_error *err);

#ifdef __cplusplus
}
#endif

#endif
