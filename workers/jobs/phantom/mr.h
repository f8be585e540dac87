// What is particular to the MR phantom.
#ifndef KERF_PHANTOM_MR_H
#define KERF_PHANTOM_MR_H

#include "workers/kernels/volume.h"

// Multiplies by a smooth shading 1 ± amplitude, as a surface coil behind the back gives it. In place.
void kf_mr_bias(const struct kf_grid *grid, double amplitude, uint64_t seed, int threads, int16_t *values);

#endif
