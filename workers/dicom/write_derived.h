// What Kerf made, as DICOM: a volume as CT or MR Image Storage, one file a slice (PS3.3 A.3, A.4), and a label map as
// Segmentation Storage, binary (PS3.3 A.51). Nothing of a patient and no clock: what PS3.3 wants of them is there and
// empty, and every UID comes from the content. Same content, same bytes. The codec registry is not touched.
#ifndef KERF_DICOM_WRITE_DERIVED_H
#define KERF_DICOM_WRITE_DERIVED_H

#include "server/base/error.h"
#include "workers/kernels/volume.h"

#ifdef __cplusplus
extern "C" {
#endif

// Who made it, where it lies, and how the work is watched.
struct kf_dicom_write_origin {
    const char *made_by;   // "segment.bone 2": kind and version
    const char *frame_uid; // Frame of Reference UID that it lies in; NULL or no UID: made from the content
    void (*progress)(void *context, double fraction); // may be NULL
    int (*cancelled)(void *context);                  // may be NULL; 1: KF_CANCELLED soon
    void *context;
};

struct kf_dicom_write_image {
    struct kf_dicom_write_origin origin;
    const char *modality; // "CT" or "MR"
    int in_hu;            // CT: the values are Hounsfield units
    int has_window, has_padding;
    double window_centre, window_width, padding; // in the volume's values
    const struct kf_volume *volume;              // borrowed; its grid is one that kf_grid_check passes
};

struct kf_dicom_write_facts {
    int files;
    double rounded; // the most that a value had to move, 0: every value is exact
};

// Writes IM000001.dcm … into the existing folder `dir`, slice k as number k + 1. Whole numbers that span no more than
// 16 bits are exact, stored as they are where that can be; any others are rounded to 65536 steps between the least and
// the greatest by Rescale Slope and Intercept, and facts->rounded says how far. A left-handed grid keeps its places.
// Series of one study have one frame of reference: the study's UID is made from it. KF_INVALID "dimensions" (over 65535
// rows or columns, over 999999 slices), "modality", "values_not_finite"; KF_IO, KF_NOSPACE, KF_CANCELLED.
KF_MUST_USE enum kf_status kf_dicom_write_slices(const struct kf_dicom_write_image *image, const char *dir,
                                                 struct kf_dicom_write_facts *facts, struct kf_error *err);

struct kf_dicom_write_segment {
    int label;                            // 1…255
    const char *name;                     // at most 64 bytes are written
    const char *scheme, *value, *meaning; // what it is; value NULL: an anatomical structure
    int side;                             // 'L', 'R' or 0
    int has_colour;
    unsigned char rgb[3];
};

struct kf_dicom_write_labels {
    struct kf_dicom_write_origin origin;
    const struct kf_dicom_write_segment *segments; // segment number n + 1 is segments[n]
    int segment_count;
    const struct kf_volume *volume; // borrowed; uint8
};

// Writes SEG.dcm: a frame for each slice of each segment that has a voxel there, in that order. KF_INVALID
// "dimensions", "labels_empty" (no voxel at all), "label_unknown" (a voxel whose label no segment has); KF_TOO_LARGE
// over 4 GiB of frames; KF_IO, KF_NOSPACE, KF_CANCELLED.
KF_MUST_USE enum kf_status kf_dicom_write_segmentation(const struct kf_dicom_write_labels *labels, const char *dir,
                                                       struct kf_dicom_write_facts *facts, struct kf_error *err);

#ifdef __cplusplus
}
#endif

#endif
