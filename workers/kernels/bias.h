// The slowly varying gain of an MR coil, found in the image itself.
#ifndef KERF_KERNELS_BIAS_H
#define KERF_KERNELS_BIAS_H

#include "workers/kernels/bits.h"

struct kf_bias_settings {
    double step_mm; // the field is estimated on block means of about this size
    int levels;     // the field's net has 1 cubic span an axis at the first level and twice as many at each further one
    int iterations; // per level, at most
    double fwhm;    // of the blur that the field gives the histogram of log intensities, at the first level
    double narrow;  // fwhm of a level by that of the level before, at most 1
    double noise;   // of the Wiener filter
    double stop;    // a level ends when the field's ratio changes by less than this (standard deviation)
};

// 4 mm, 3 levels, 50 iterations, 0.15, 0.85, 0.01, 0.0005.
void kf_bias_defaults(struct kf_bias_settings *settings);

// log_field (one float per voxel of `in`): the natural logarithm of the gain, mean 0 over the voxels used. `in` is
// int16 or float32; blocks whose mean is at or below 0 and those whose middle voxel is outside of `mask` (NULL: none)
// are not used, the field reaches over them. *used (may be NULL): block means that were used; under 100 the field is 0
// everywhere. N4 (Tustison et al., "N4ITK: improved N3 bias correction", IEEE TMI 29(6), 2010): the histogram of the
// corrected logarithms is sharpened by deconvolution with a Gaussian (Sled, Zijdenbos, Evans, IEEE TMI 17(1), 1998),
// each voxel's expected sharp value subtracted, and the rest smoothed by a least-squares-like cubic B-spline (Lee,
// Wolberg, Shin, "Scattered data interpolation with multilevel B-splines", IEEE TVCG 3(3), 1997), which on a grid comes
// apart into one axis after the other. Unlike there, the Gaussian gets narrower from level to level: it stands for the
// field that is still to be found, of which each level leaves less, and what it is too wide for is taken from the
// anatomy. The same bytes for any number of threads and instruction set. KF_KERNEL_INVALID: type, mask size, settings
// out of range (levels 1…6, iterations 1…1000, positive numbers). Memory: 24 bytes per block, 2 KiB per slice of
// blocks, and a row of floats per thread.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bias_find(const struct kf_work *work, const struct kf_volume *in,
                                                      const struct kf_bits *mask,
                                                      const struct kf_bias_settings *settings, float *log_field,
                                                      int64_t *used);
// out = in / exp(log_field), one float per voxel.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bias_apply(const struct kf_work *work, const struct kf_volume *in,
                                                       const float *log_field, float *out);

#endif
