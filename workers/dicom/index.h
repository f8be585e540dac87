// What is stored of an instance at receipt: where each frame lies, and the one call that makes all of it.
#ifndef KERF_DICOM_INDEX_H
#define KERF_DICOM_INDEX_H

#ifdef __cplusplus
extern "C" {
#endif

#include "server/base/str.h"
#include "workers/dicom/meta.h"

// One frame of Pixel Data: bytes [offset, offset + length) from the start of the Part 10 instance.
// Native: exactly the frame's pixels. Encapsulated: one or more whole fragment items, each with its 8-byte item header
// (FFFE,E000, length); with one fragment the coded frame is [offset + 8, offset + length).
struct kf_dicom_span {
    uint64_t offset;
    uint64_t length;
};

// *spans is owned (free), *count frames; NULL and 0 for objects without Pixel Data and for deflated datasets (their
// frames have no place in the file). Encapsulated frames: one fragment each when there are as many fragments as frames,
// else the basic offset table where it fits the fragments, else the fragments that begin a JPEG, JPEG-LS or JPEG 2000
// stream. (An extended offset table goes with one fragment per frame: PS3.3 section C.7.6.3.1.8.)
// Codes: "truncated", "bad_image" (rows, columns or bits make no sense), "frame_count" (the frames cannot be told
// apart, are not as many as Number of Frames says, or do not begin on whole bytes).
KF_MUST_USE enum kf_status kf_dicom_frames(const struct kf_dicom *dicom, struct kf_dicom_span **spans, int64_t *count,
                                           struct kf_error *err);

struct kf_dicom_index {
    unsigned char content_sha256[KF_SHA256_BYTES];
    struct kf_str json_deflated; // schema/ instance.dicom_json
    struct kf_str
        frame_offsets;    // schema/ instance.frame_offsets: little-endian (uint64 offset, uint64 length) per frame
    char frames_code[48]; // "" or why frame_offsets is empty though there is Pixel Data
    char set_aside[48];   // "" or why the instance takes no part in volumes: "not_an_image", "segmentation", …
};

// "" when the instance can be part of a volume, else why not: "not_an_image" (no Pixel Data: reports, structure sets,
// documents, presentation states), "segmentation", "secondary_capture", "localizer", "dose", "unsupported_class".
// Static.
const char *kf_dicom_set_aside(const struct kf_dicom *dicom);

// Everything at once. Refuses what cannot be filed (kf_dicom_check_place), and "no_pixel_data": an image that could be
// part of a volume but has none was cut short between two elements. content_sha256 may be NULL (then the dataset is
// read and hashed here) or the digest that the caller made while the bytes came (kf_dicom_content_hash_begin). A Pixel
// Data whose frames cannot be found is kept: frames_code says why. *out is owned: kf_dicom_index_release.
KF_MUST_USE enum kf_status kf_dicom_index_build(const struct kf_dicom *dicom,
                                                const unsigned char content_sha256[KF_SHA256_BYTES],
                                                struct kf_dicom_index *out, struct kf_error *err);
void kf_dicom_index_release(struct kf_dicom_index *index);

#ifdef __cplusplus
}
#endif

#endif
