// Writes a volume as a DICOM series: CT or MR image storage, one file a slice or one enhanced multi-frame object
// (PS3.3 A.3, A.4, A.36, A.38). Used by the phantom and by tests. Every UID comes from a seed text, so the same input
// gives the same bytes. Not thread safe (DCMTK's codec registry is global).
#ifndef KERF_DICOM_WRITE_SERIES_H
#define KERF_DICOM_WRITE_SERIES_H

#include "server/base/error.h"
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum kf_dicom_write_syntax {
    KF_WRITE_EXPLICIT_LE, // the default
    KF_WRITE_IMPLICIT_LE,
    KF_WRITE_EXPLICIT_BE,
    KF_WRITE_DEFLATED,
    KF_WRITE_RLE,
    KF_WRITE_JPEG_LOSSLESS, // process 14, selection value 1
    KF_WRITE_JPEG_LS,       // lossless
    KF_WRITE_SYNTAX_COUNT
};
// "explicit", "implicit", "big-endian", "deflated", "rle", "jpeg-lossless", "jpeg-ls"; KF_WRITE_SYNTAX_COUNT: none.
enum kf_dicom_write_syntax kf_dicom_write_syntax_find(const char *name);

// Where voxel (i, j, k) lies: origin + i·step[0] + j·step[1] + k·step[2], LPS mm. step[0] and step[1] are
// perpendicular; step[2] need not be normal to them (gantry tilt).
struct kf_dicom_write_geometry {
    int64_t dim[3];
    double origin_lps[3];
    double step[3][3];
};

struct kf_dicom_write_series {
    const char *modality; // "CT" or "MR"
    const char *uid_seed; // all UIDs are made from this and a role
    const char *patient_name, *patient_id, *birth_date, *sex;
    const char *date, *time; // study, series and acquisition: YYYYMMDD, HHMMSS
    const char *study_id, *study_description, *series_description, *body_part, *protocol;
    const char *study_uid, *frame_uid; // NULL: made from the seed
    int series_number;
    double gantry_tilt_deg; // written into the CT image module; the geometry must agree
    double window_centre, window_width;
    int enhanced; // 1: one multi-frame object
    int reversed; // 1: instance numbers run against step[2]; slices only
    enum kf_dicom_write_syntax syntax;
    struct kf_dicom_write_geometry geometry;
    const int16_t *values; // borrowed; CT: HU, clipped to [-1024, 3071]; MR: clipped to [0, 4095]
};

// Writes IM000001.dcm … (or ENHANCED.dcm) into the existing folder `dir`; *files counts them. KF_IO, KF_NOSPACE,
// KF_INVALID (empty, over 65535 on a side, unknown modality), KF_UNSUPPORTED (enhanced with a compressed syntax).
KF_MUST_USE enum kf_status kf_dicom_write(const struct kf_dicom_write_series *series, const char *dir, int *files,
                                          struct kf_error *err);

// "2.25.…" from the first 16 bytes of SHA-256(seed, role) (PS3.5 B.2). `to` holds 65 bytes.
void kf_dicom_write_uid(char to[65], const char *seed, const char *role);

#ifdef __cplusplus
}
#endif

#endif
