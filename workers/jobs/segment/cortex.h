// Values of a CT, how dense the cortex near a voxel is (bone ends half way between soft tissue and its own cortex), and
// where one bone ends and the next begins.
#ifndef KERF_JOBS_SEGMENT_CORTEX_H
#define KERF_JOBS_SEGMENT_CORTEX_H

#include "workers/kernels/volume.h"

// HU of voxel n in memory order; `v` is int16 or float32.
static inline double kf_value_hu(const struct kf_volume *v, int64_t n)
{
    return v->type == KF_VOXEL_INT16 ? ((const int16_t *)v->data)[n] : (double)((const float *)v->data)[n];
}

// Relief on which bones that touch are told apart by a watershed, 0…255: low where bone is dense (200 HU to 1160) and deep
// below its surface (to 4.5 mm), so that regions meet in joint spaces and at thin necks. depth_mm is negative within bone.
static inline uint8_t kf_bone_relief(double hu, float depth_mm)
{
    double dense = (hu - 200) / 8, thick = -30 * (double)depth_mm;
    dense = dense > 0 ? dense < 120 ? dense : 120 : 0;
    thick = thick > 0 ? thick < 135 ? thick : 135 : 0;
    return (uint8_t)(255 - (int)(dense + thick));
}

// The greatest value within 2 mm of a voxel along the axes (a box, at least the 27 voxels around it, at most 11 wide).
double kf_cortex_near(const struct kf_volume *v, const int64_t at[3]);

#endif
