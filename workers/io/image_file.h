// The one door for files of images: NIfTI, NRRD and MetaImage. Read by their first bytes, written by the name's ending.
// `work` as for nifti.h.
#ifndef KERF_IO_IMAGE_FILE_H
#define KERF_IO_IMAGE_FILE_H

#include "workers/io/nifti.h"

// The ending by which an image is written (".nii.gz", ".nii", ".nrrd" or ".mha", within `path`); NULL when it has none.
const char *kf_image_ending(const char *path);

// Reads bytes [offset, offset + length) of `path` (length -1: to the end). A MetaImage header whose data lies in
// another file is KF_INVALID "meta_detached". *out is owned: kf_volume_release. The determinant of a foreign file's
// direction may be -1. Errors: those of kf_nifti_read, kf_nrrd_header, kf_meta_header and kf_stored_volume, and
// KF_INVALID "image_truncated".
KF_MUST_USE enum kf_status kf_image_read(const struct kf_work *work, const char *path, int64_t offset, int64_t length,
                                         enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err);

// The same for a file that a person named: a MetaImage header may name a file in its own folder. Never in the service,
// where what lies beside an input is none of its sender's business.
KF_MUST_USE enum kf_status kf_image_read_named(const struct kf_work *work, const char *path, enum kf_nifti_want want,
                                               struct kf_volume *out, struct kf_error *err);

// The same from memory, without other files.
KF_MUST_USE enum kf_status kf_image_parse(const struct kf_work *work, const void *bytes, int64_t length,
                                          enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err);

// Writes by the ending of `path` (KF_INVALID "image_ending" when it has none): .nii plain and .nii.gz packed NIfTI (see
// nifti.h), .nrrd packed by gzip, .mha plain; LPS. Same volume, same bytes for any number of threads. Not fsynced.
KF_MUST_USE enum kf_status kf_image_write(const struct kf_work *work, const char *path, const struct kf_volume *volume,
                                          struct kf_error *err);

#endif
