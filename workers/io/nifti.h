// NIfTI-1 and NIfTI-2 (https://nifti.nimh.nih.gov), read from strangers and written for ourselves. RAS in the file
// becomes LPS in memory and back; nothing else moves: the order of voxels in memory is that of the file.
// `work` may be NULL (one thread); else it is asked for every few megabytes whether to go on: KF_CANCELLED.
#ifndef KERF_IO_NIFTI_H
#define KERF_IO_NIFTI_H

#include "server/base/error.h"
#include "workers/io/stored.h"

enum kf_nifti_want {
    KF_NIFTI_IMAGE = 1, // int16 when every value after scl_slope/scl_inter is an integer in range, else float32
    KF_NIFTI_LABELS,    // uint8; KF_INVALID "labels_range" when a value is not an integer in 0…255
    KF_NIFTI_EITHER,    // labels when the file stores unscaled uint8, else an image
    KF_NIFTI_AS_STORED, // EITHER, but unscaled float32 stays float32 though all of its values are integers
};

// The same wish as kf_stored_volume says it, for a file that stores `stored`.
enum kf_voxel_type kf_nifti_wanted(const struct kf_stored *stored, enum kf_nifti_want want);

// Reads bytes [offset, offset + length) of `path` (length -1: to the end); gzip is recognised by its first bytes.
// Geometry: sform if its code is positive, else qform, else pixdim. A dimension beyond the third must be 1.
// *out is owned: kf_volume_release (workers/io/memory.h). The determinant of a foreign file's direction may be -1.
// Errors: KF_IO; KF_NOMEM; KF_TOO_LARGE over 2^31 voxels; KF_INVALID with code nifti_header, nifti_type,
// nifti_dimensions, nifti_geometry (sheared, singular or not finite), nifti_truncated, and those
// of kf_stored_volume (stored.h).
KF_MUST_USE enum kf_status kf_nifti_read(const struct kf_work *work, const char *path, int64_t offset, int64_t length,
                                         enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err);

// The same from memory.
KF_MUST_USE enum kf_status kf_nifti_parse(const struct kf_work *work, const void *bytes, int64_t length,
                                          enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err);

#define KF_NIFTI_DATA 544 // where the voxels of a file of ours begin, in both versions

// The first KF_NIFTI_DATA bytes of what kf_nifti_write writes, for a caller that writes the voxels itself as they come;
// volume->data is not looked at.
void kf_nifti_header(const struct kf_volume *volume, unsigned char header[KF_NIFTI_DATA]);

// Writes NIfTI-1, little-endian, which every tool reads: 348 bytes of header, a header extension, voxels at 544; sform
// and qform both set. Float32 moves no voxel by more than 1 µm; the extension holds the sform in doubles, which
// kf_nifti_read takes as long as they round to the header's, so that a grid comes back as it was. NIfTI-2 when an axis has
// more than 32767 voxels or float32 is too coarse for the grid. A name that ends in ".gz" is compressed: gzip members of
// 4 MiB each, made in parallel by the threads of `work`, the same bytes for any number of threads. Same volume, same bytes.
// Not fsynced: job outputs are committed by whoever stores them.
KF_MUST_USE enum kf_status kf_nifti_write(const struct kf_work *work, const char *path, const struct kf_volume *volume,
                                          struct kf_error *err);

// The same with three float32 components per voxel as dim[5] = 3 (NIFTI_INTENT_VECTOR): xyz holds x of all voxels, then
// y, then z. Components are written as they are, LPS if they are LPS, as ITK and ANTs keep them.
KF_MUST_USE enum kf_status kf_nifti_write_vectors(const struct kf_work *work, const char *path,
                                                  const struct kf_grid *grid, const float *xyz,
                                                  struct kf_error *err);

#endif
