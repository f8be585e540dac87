// The image inside an instance: its pixel description, and where each frame lies in the patient. Classic images carry
// that once, enhanced multi-frame images in functional groups (PS3.3 section C.7.6.16).
#ifndef KERF_DICOM_IMAGE_H
#define KERF_DICOM_IMAGE_H

#ifdef __cplusplus
extern "C" {
#endif

#include "workers/dicom/meta.h"

struct kf_dicom_image {
    int rows, columns, frames;
    int samples; // per pixel
    int bits_allocated, bits_stored, high_bit;
    int is_signed; // Pixel Representation 1
    int inverted;  // MONOCHROME1: only how it is shown, values are as they are
    int has_padding;
    int32_t padding_low, padding_high; // stored values that mean "nothing was measured here", inclusive
    int in_hu;                         // CT whose rescale type is HU or not said
    char units[17];                    // rescale type otherwise, "" when not said
};

// Codes (KF_INVALID): "not_an_image", "bad_image" (rows, columns, bits or frames make no sense); KF_UNSUPPORTED:
// "colour_image", "bits_allocated" (not 8 or 16), "modality_lut" (values go through a table; planning needs a linear
// rescale).
KF_MUST_USE enum kf_status kf_dicom_image(struct kf_dicom *dicom, struct kf_dicom_image *out, struct kf_error *err);

// 1 when the class is one of those that volumes are made of, and yet there is neither Pixel Data nor an address for it.
int kf_dicom_lacks_pixels(const struct kf_dicom *dicom);

// By what a series may hold several volumes in the same place.
enum kf_dicom_split {
    KF_SPLIT_IMAGE_TYPE,
    KF_SPLIT_THICKNESS,
    KF_SPLIT_ECHO,
    KF_SPLIT_TEMPORAL,
    KF_SPLIT_TRIGGER,
    KF_SPLIT_B_VALUE,
    KF_SPLIT_GRADIENT,
    KF_SPLIT_KERNEL,
    KF_SPLIT_KVP,
    KF_SPLIT_INVERSION,
    KF_SPLIT_STACK,
    KF_SPLIT_ACQUISITION,
    KF_SPLIT_COUNT,
};
extern const char *const kf_dicom_split_names[KF_SPLIT_COUNT]; // "image_type", …

struct kf_dicom_frame {
    int has_place;          // position and orientation are there and numbers
    double position_lps[3]; // centre of the first pixel, mm
    double row_lps[3];      // direction along a row (column index grows), as the file says it
    double column_lps[3];   // direction along a column (row index grows)
    int has_spacing;
    double spacing_mm[2]; // between columns (along a row), between rows
    double thickness_mm;  // 0: not said
    double slope, intercept;
    int64_t split[KF_SPLIT_COUNT]; // equal values belong together; only equality and order mean something
};

// Fills `count` (= image.frames) frames. Codes (KF_INVALID): "bad_rescale", "functional_groups" (fewer than frames).
// A frame without a usable place has has_place 0 and is no error here.
KF_MUST_USE enum kf_status kf_dicom_frame_places(struct kf_dicom *dicom, struct kf_dicom_frame *to, int count,
                                                 struct kf_error *err);

#ifdef __cplusplus
}
#endif

#endif
