// MetaImage headers (https://itk.org/Wiki/ITK/MetaIO/Documentation): .mha with its data, .mhd with a file beside it.
// The world is LPS mm, as ITK reads it; AnatomicalOrientation only describes and is not looked at.
#ifndef KERF_IO_METAIMAGE_H
#define KERF_IO_METAIMAGE_H

#include "workers/io/stored.h"

int kf_meta_is(const void *bytes, int64_t length); // 1 when the first line is `word = …` as MetaIO's headers begin

// Reads the header at the start of the file's first `length` bytes (all of it lies before KF_HEADER_MOST).
// TransformMatrix holds the axes' directions one after the other: its rows are the columns of kf_grid.direction.
// MET_LONG has 4 bytes on every system.
// Errors, KF_INVALID: meta_header, meta_dimensions (not three, or several channels), meta_type, meta_encoding (text),
// meta_geometry, meta_data_file (a list, a pattern, or a name with a folder); KF_TOO_LARGE.
KF_MUST_USE enum kf_status kf_meta_header(const void *bytes, int64_t length, struct kf_stored *out,
                                          struct kf_error *err);

// The header that goes before the plain voxels of a volume in an .mha file. Returns its length.
#define KF_META_HEADER_MOST 1024
int kf_meta_make_header(const struct kf_volume *volume, char to[KF_META_HEADER_MOST]);

#endif
