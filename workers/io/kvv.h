// The .kvv view container: a volume as the browser wants it. Levels from coarse to full resolution, each in parts
// that are gzip members of their own, fetched by byte range. The directory is not in the file but in the artefact's
// meta.view, which kf_kvv_write returns:
//
//   {"format":1,"type":"int16","levels":[{"dim":[i,j,k],"factor":[fi,fj,fk],"spacing_mm":[…],"origin_lps":[…],
//     "parts":[{"k0":0,"k1":16,"offset":0,"length":123456}, …]}, …]}
//
// A part holds slices k0…k1-1, little-endian. int16: two byte planes (all low bytes, then all high bytes) of the
// horizontal difference modulo 65536, each row starting afresh; uint8: as it is; float32: four byte planes.
// The coarsest level has at most 96 voxels on an axis and one part; the last has factor 1 and parts of 16 slices.
// A coarse voxel is the mean of its block (int16: rounded half up), for labels the value found most often (the
// smaller of equals). A block at the far border may be incomplete; origin_lps is the centre of the first block.
#ifndef KERF_IO_KVV_H
#define KERF_IO_KVV_H

#include "server/base/json.h"
#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// Writes `volume` (int16, float32, or uint8 = labels) to path. *view is owned (json_decref). Byte-identical for any
// number of threads. Memory: an eighth of the volume and two parts per thread.
KF_MUST_USE enum kf_status kf_kvv_write(const struct kf_work *work, const char *path, const struct kf_volume *volume,
                                        json_t **view, struct kf_error *err);

// Reads one level of a container back, checking every claim of `view` against the file. *out is owned:
// kf_volume_release; its direction is `direction` (9 doubles, from meta.grid).
// Errors: KF_INVALID kvv_format; KF_IO; KF_NOMEM.
KF_MUST_USE enum kf_status kf_kvv_read(const char *path, const json_t *view, int level, const double *direction,
                                       struct kf_volume *out, struct kf_error *err);

#endif
