// One DICOM instance, opened: where its parts lie, who it is, and its attributes. Part of the door to DCMTK; no C++
// type and no exception crosses it.
//
// Opening walks the structure of the bytes first, with limits and without recursion (scan.h); only what passed goes to
// DCMTK. Accepted: Part 10 files (PS3.10), Part 10 without the preamble, and bare datasets whose transfer syntax can be
// told from their first element (implicit or explicit little endian, explicit big endian). Pixel Data and other large
// values stay in the file: opening a 500 MB object reads its header only.
//
// Threads: different instances may be used by different threads at once; one instance by one thread at a time.
#ifndef KERF_DICOM_META_H
#define KERF_DICOM_META_H

#ifdef __cplusplus
extern "C" {
#endif

#include "server/base/error.h"
#include "server/base/hash.h"
#include <stddef.h>
#include <stdint.h>

// Loads the data dictionary, registers the codecs, silences DCMTK's own log (it would print values), and sets
// TCP_NODELAY in the environment for its network layer. Call once per process, before threads, forks and sandboxes.
KF_MUST_USE enum kf_status kf_dicom_init(struct kf_error *err);

struct kf_dicom_limits {
    int depth;              // nested sequences
    int64_t elements;       // elements in all, nested ones too
    int64_t header_bytes;   // what is kept in memory of the dataset outside of bulk values
    int64_t inflated_bytes; // a deflated dataset may become this large
};
extern const struct kf_dicom_limits kf_dicom_limits_default; // 32; 2,000,000; 128 MiB; 2 GiB

struct kf_dicom; // opaque

// Opens bytes [offset, offset + length) of an open file; length -1 means to its end. The descriptor is borrowed until
// kf_dicom_free and read with pread only. limits may be NULL (the default). *out is owned: kf_dicom_free.
// Codes (KF_INVALID unless said): "not_dicom", "truncated", "bad_structure", "too_deep", "too_many_elements",
// "header_too_large" (KF_TOO_LARGE), "deflate_bomb" (KF_TOO_LARGE), "bad_deflate", "transfer_syntax_unknown"
// (KF_UNSUPPORTED: a private syntax whose dataset cannot be parsed), "no_sop_instance_uid", "no_sop_class_uid",
// "bad_uid", "dicomdir".
KF_MUST_USE enum kf_status kf_dicom_open(int fd, int64_t offset, int64_t length, const struct kf_dicom_limits *limits,
                                         struct kf_dicom **out, struct kf_error *err);
// The same over bytes in memory, borrowed until kf_dicom_free.
KF_MUST_USE enum kf_status kf_dicom_open_memory(const void *bytes, size_t length, const struct kf_dicom_limits *limits,
                                                struct kf_dicom **out, struct kf_error *err);
void kf_dicom_free(struct kf_dicom *dicom);

// Gives back the memory of the attributes. Afterwards only identity, layout, decoding, hash and free work; the
// descriptor given to kf_dicom_open may be closed.
void kf_dicom_forget(struct kf_dicom *dicom);

// Who it is. All texts are UTF-8, trimmed, borrowed from the instance, "" when absent. Text holds patient data: never
// log it. The SOP UIDs have been checked (PS3.5 section 9.1: digits and dots, at most 64).
struct kf_dicom_identity {
    const char *sop_uid, *sop_class, *transfer_syntax, *study_uid, *series_uid, *frame_of_reference_uid;
    const char *modality, *body_part;
    const char *patient_id, *patient_issuer, *patient_name, *birth_date, *sex;
    const char *study_date, *study_time, *study_description, *accession;
    const char *series_description;
    int has_series_number, series_number;
    int has_instance_number, instance_number;
};
const struct kf_dicom_identity *kf_dicom_identity(const struct kf_dicom *dicom); // borrowed

// Whether it can be filed: the Study and Series Instance UID are there and are UIDs. Codes: "no_study_uid",
// "no_series_uid", "bad_uid". kf_dicom_index_build asks this.
KF_MUST_USE enum kf_status kf_dicom_check_place(const struct kf_dicom *dicom, struct kf_error *err);

// Where the parts lie, in bytes from the start of the instance (not of the file it lies in).
struct kf_dicom_layout {
    int64_t bytes;          // of the whole instance
    int has_meta;           // 0: a bare dataset
    int64_t dataset_offset; // first byte after the file meta group
    int64_t dataset_length; // to the end of the instance
    int deflated;           // dataset is deflated: pixel_offset counts in the inflated dataset
    int has_pixels;         // Pixel Data (7FE0,0010) is present and not empty
    int encapsulated;       // Pixel Data is a sequence of fragments
    int64_t pixel_offset;   // of the value of Pixel Data (encapsulated: of the basic offset table's item tag)
    int64_t pixel_length;   // of the value (encapsulated: up to, without, the sequence delimiter)
};
const struct kf_dicom_layout *kf_dicom_layout(const struct kf_dicom *dicom); // borrowed

// The content hash of an instance: SHA-256(transfer syntax UID ‖ 0x00 ‖ dataset bytes as they lie in the file). File
// meta is left out, so that C-STORE and STOW of the same object agree; a deflated dataset is hashed deflated. This is
// the only place that knows the rule.
// _begin: *out is owned (kf_sha256_free); the caller adds the dataset bytes as they arrive and finishes the stream.
KF_MUST_USE enum kf_status kf_dicom_content_hash_begin(const char *transfer_syntax, struct kf_sha256 **out);
KF_MUST_USE enum kf_status kf_dicom_content_hash(const struct kf_dicom *dicom, unsigned char digest[KF_SHA256_BYTES],
                                                 struct kf_error *err);

// ---- attributes of the top level, by tag (group << 16 | element) ----
#define KF_TAG(group, element) (((uint32_t)(group) << 16) | (uint32_t)(element))

// Value `index` (0-based) as text (UTF-8 not guaranteed beyond the identity's fields); "" when absent. Borrowed until
// the next call.
const char *kf_dicom_text(struct kf_dicom *dicom, uint32_t tag, int index);
// Reads up to `max` numbers of any numeric or number-string VR into to; returns how many values the element has, 0 when
// it is absent, -1 when one is not a finite number.
int kf_dicom_numbers(struct kf_dicom *dicom, uint32_t tag, double *to, int max);
// The first value, or `otherwise`.
double kf_dicom_number(struct kf_dicom *dicom, uint32_t tag, double otherwise);
int kf_dicom_has(struct kf_dicom *dicom, uint32_t tag); // present with a value

#ifdef __cplusplus
}
#endif

#endif
