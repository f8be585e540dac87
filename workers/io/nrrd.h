// NRRD headers (https://teem.sourceforge.net/nrrd/format.html), versions 1 to 5, attached data. The world is the file's
// `space`: left-posterior-superior as it is, right-anterior-superior and left-anterior-superior turned to LPS.
#ifndef KERF_IO_NRRD_H
#define KERF_IO_NRRD_H

#include "workers/io/stored.h"

int kf_nrrd_is(const void *bytes, int64_t length); // 1 when the file begins with the magic word

// Reads the header at the start of the file's first `length` bytes (all of it lies before KF_HEADER_MOST).
// Geometry: `space` with `space directions` and `space origin`; without a space, `spacings` alone, from 0.
// Errors, KF_INVALID: nrrd_header (no header, a field twice or not as the format says), nrrd_dimensions (not three axes
// of samples), nrrd_type, nrrd_encoding (not raw or gzip), nrrd_endian (not said), nrrd_space (a space or unit that is
// not the patient's), nrrd_geometry, nrrd_detached (the data is in another file); KF_TOO_LARGE.
KF_MUST_USE enum kf_status kf_nrrd_header(const void *bytes, int64_t length, struct kf_stored *out,
                                          struct kf_error *err);

// The header that goes before the gzip stream of a volume: NRRD0004, LPS. Returns its length.
#define KF_NRRD_HEADER_MOST 1024
int kf_nrrd_make_header(const struct kf_volume *volume, char to[KF_NRRD_HEADER_MOST]);

#endif
