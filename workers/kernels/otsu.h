// Thresholds that separate two classes best.
#ifndef KERF_KERNELS_OTSU_H
#define KERF_KERNELS_OTSU_H

#include "workers/kernels/bits.h"

// *threshold: the value t for which the classes value ≤ t and value > t of the voxels with low ≤ value ≤ high have the
// greatest variance between them; in the middle where a gap leaves several. int16 and uint8: every value is its own
// bin. float32: 4096 bins between the least and greatest voxel of the range, t on the edge of one; values that are not
// finite are left out. KF_KERNEL_INVALID when the range holds fewer than two values. Memory: per thread 16 bytes for
// each value between the least and the greatest of an int16 volume (at most 1 MiB). Source: Otsu, "A Threshold
// Selection Method from Gray-Level Histograms", IEEE TSMC 9(1), 1979.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_otsu(const struct kf_work *work, const struct kf_volume *in, double low,
                                                 double high, double *threshold);

// bits = value > t(voxel): t is Otsu's threshold of a window around the voxel, so that a thin or weak structure is
// judged by its surroundings. Windows of window_mm (3 × 3 × 3 cells) in steps of a third of it, 256 bins between low
// and high (values beyond count in the last bins), t linear between the windows' centres. A window whose two class
// means differ by less than `contrast` takes the threshold of the whole volume. int16 or float32. KF_KERNEL_INVALID:
// window under three voxels or no length, low ≥ high. Memory: about 1 KiB per cell (27 per window volume), and two rows
// per thread.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_otsu_local(const struct kf_work *work, const struct kf_volume *in,
                                                       double window_mm, double low, double high, double contrast,
                                                       struct kf_bits *bits);

#endif
