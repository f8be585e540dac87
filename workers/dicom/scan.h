// The structure of a DICOM byte stream, walked without recursion and within limits before any library sees it: where
// the dataset begins, where Pixel Data and its fragments lie, and the header bytes that are worth parsing. Internal to
// workers/dicom.
#ifndef KERF_DICOM_SCAN_H
#define KERF_DICOM_SCAN_H

#ifdef __cplusplus
extern "C" {
#endif

#include "server/base/str.h"
#include "workers/dicom/meta.h"

// Bytes of one instance: in memory (memory != NULL) or [offset, offset + length) of fd, read with pread.
struct kf_dicom_bytes {
    const unsigned char *memory;
    int fd;
    int64_t offset;
    int64_t length;
};

// Copies bytes [at, at + length) of the instance; "truncated" when they are not all there, KF_IO when reading fails.
KF_MUST_USE enum kf_status kf_dicom_read_at(const struct kf_dicom_bytes *bytes, int64_t at, void *to, size_t length,
                                            struct kf_error *err);

enum kf_dicom_encoding { KF_DICOM_IMPLICIT_LE = 1, KF_DICOM_EXPLICIT_LE, KF_DICOM_EXPLICIT_BE };

struct kf_dicom_fragment {
    int64_t item;   // of the item tag, from the start of the source that layout.pixel_offset counts in
    int64_t length; // of the payload, which follows 8 bytes after `item`
};

struct kf_dicom_skipped { // a top-level value too large to be kept
    uint32_t tag;
    char vr[3]; // "" in implicit encoding
    int64_t at, length;
};

struct kf_dicom_scan {
    struct kf_dicom_layout layout;
    char transfer_syntax[65];
    char meta_sop_class[65], meta_sop_uid[65]; // of the file meta group, "" when absent
    enum kf_dicom_encoding encoding;           // of the dataset as it truly is
    struct kf_str header;                      // the dataset's elements before Pixel Data, without those in `skipped`
    struct kf_str inflated;                    // the whole dataset when it lay deflated, else empty
    struct kf_dicom_bytes pixels;              // what layout.pixel_offset counts in: the instance, or `inflated`
    char pixel_vr[3];
    struct kf_dicom_fragment *fragments; // of encapsulated Pixel Data without the offset table
    int64_t fragment_count;
    struct kf_dicom_fragment offset_table; // the basic offset table's item; length 0 when empty
    struct kf_dicom_skipped *skipped;
    int64_t skipped_count;
    int64_t elements;
};

// Codes as in kf_dicom_open. *scan is owned: kf_dicom_scan_release.
KF_MUST_USE enum kf_status kf_dicom_scan(const struct kf_dicom_bytes *bytes, const struct kf_dicom_limits *limits,
                                         struct kf_dicom_scan *scan, struct kf_error *err);
void kf_dicom_scan_release(struct kf_dicom_scan *scan);

// The scan behind an opened instance; borrowed.
const struct kf_dicom_scan *kf_dicom_scanned(const struct kf_dicom *dicom);

// 1 when the data dictionary gives this public attribute the VR SQ. After kf_dicom_init.
int kf_dicom_tag_is_sequence(uint32_t tag);

// 1 for 1 to 64 digits and dots.
int kf_dicom_uid_valid(const char *uid);

#ifdef __cplusplus
}
#endif

#endif
