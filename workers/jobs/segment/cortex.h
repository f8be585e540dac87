// Values of a CT, and how dense the cortex near a voxel is: bone ends half way between soft tissue and its own cortex.
#ifndef KERF_JOBS_SEGMENT_CORTEX_H
#define KERF_JOBS_SEGMENT_CORTEX_H

#include "workers/kernels/volume.h"

// HU of voxel n in memory order; `v` is int16 or float32.
static inline double kf_value_hu(const struct kf_volume *v, int64_t n)
{
    return v->type == KF_VOXEL_INT16 ? ((const int16_t *)v->data)[n] : (double)((const float *)v->data)[n];
}

// The greatest value within 2 mm of a voxel along the axes (a box, at least the 27 voxels around it, at most 11 wide).
double kf_cortex_near(const struct kf_volume *v, const int64_t at[3]);

#endif
