// Regions that grow from markers and meet on the crests of a relief.
#ifndef KERF_KERNELS_WATERSHED_H
#define KERF_KERNELS_WATERSHED_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// Seeded watershed by flooding (Meyer, "Un algorithme optimal pour la ligne de partage des eaux", RFIA 1991; Vincent
// and Soille, PAMI 13(6), 1991): 6 neighbours, no line between regions, lowest level first and of one level the oldest
// first, so that plateaus are shared by distance. Every voxel belongs at the end to a marker that it reaches over a
// pass as low as any.
//   relief  uint8, int16 or uint16: taken as it is. float32: 65536 levels between its least and greatest value
//           (NaN counts as the greatest).
//   mask    one byte per voxel, 0: never flooded; NULL: everything is.
//   labels  one byte per voxel: markers (1…255) in, regions out. 0 stays where no marker can come. Markers outside of
//           the mask are kept but do not grow.
// One thread; the same bytes everywhere. KF_KERNEL_INVALID: unknown type. KF_KERNEL_TOO_LARGE over 2^32 - 2 voxels,
// where each axis is two voxels longer than the volume's and filled up to a multiple of 4, or over 2^31 - 1 of those in
// four slices.
// Memory: 2 bytes per voxel of the volume with a voxel more on all sides, 1 MiB, and 4 bytes for each voxel of the
// shore, 4 MiB at least; a relief with noise has half of all voxels there at its worst.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_watershed(const struct kf_work *work, const struct kf_volume *relief,
                                                      const uint8_t *mask, uint8_t *labels);

#endif
