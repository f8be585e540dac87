// Pixels of one frame, from any transfer syntax that Kerf reads.
#ifndef KERF_DICOM_DECODE_H
#define KERF_DICOM_DECODE_H

#ifdef __cplusplus
extern "C" {
#endif

#include "workers/dicom/image.h"
#include "workers/dicom/index.h"

// KF_OK when frames in this syntax can be decoded; else KF_UNSUPPORTED with code "htj2k", "video", "jpeg2000_part2",
// "jpip" or "transfer_syntax_unknown", naming the syntax.
KF_MUST_USE enum kf_status kf_dicom_can_decode(const char *transfer_syntax, struct kf_error *err);

// As kf_dicom_frames, but counted in the bytes that kf_dicom_decode reads: for a deflated dataset, the inflated one.
KF_MUST_USE enum kf_status kf_dicom_frames_inside(const struct kf_dicom *dicom, struct kf_dicom_span **spans,
                                                  int64_t *count, struct kf_error *err);

// Writes rows × columns stored values to `to`: each in 16 bits, bits above the stored ones cleared or filled with the
// sign (read as int16_t when image->is_signed, else as uint16_t). Native pixels are read straight into `to`.
// fd is the file again (it may have been closed since kf_dicom_open); ignored for memory and deflated datasets. Several
// threads may decode frames of one instance at once.
// Codes: as kf_dicom_can_decode; KF_INVALID "bad_pixels" (the coded frame is damaged), "frame_mismatch" (the coded
// frame has other dimensions or components than the header says), "truncated".
KF_MUST_USE enum kf_status kf_dicom_decode(const struct kf_dicom *dicom, int fd, const struct kf_dicom_image *image,
                                           const struct kf_dicom_span *span, uint16_t *to, struct kf_error *err);

// One JPEG 2000 codestream or JP2 file (OpenJPEG) of one component: columns × rows values of at most 16 bits.
// Two's complement of the component's precision is kept when the header says signed, whatever the codestream says:
// the two contradict each other in real files and the header is right (J2K has the bits, DICOM their meaning).
KF_MUST_USE enum kf_status kf_dicom_decode_j2k(const unsigned char *bytes, size_t length, int columns, int rows,
                                               int is_signed, uint16_t *to, struct kf_error *err);

#ifdef __cplusplus
}
#endif

#endif
