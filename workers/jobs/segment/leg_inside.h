// What the stages of kf_leg_segment hand on. The frame is a grid of cubic voxels whose k axis runs up the leg.
#ifndef KERF_JOBS_SEGMENT_LEG_INSIDE_H
#define KERF_JOBS_SEGMENT_LEG_INSIDE_H

#include "workers/kernels/bits.h"
#include "workers/jobs/segment/leg.h"

#define KF_LEG_STEP_MM   1.0
#define KF_LEG_BONE_HU   200  // in the frame, where a voxel is a mean over about 1 mm³
#define KF_LEG_BESIDE_MM 60.0 // the tibias of two legs that lie beside each other are at least so far apart
#define KF_LEG_OTHER     15   // seed of bone that is neither; seeds of leg n are 1 + 2 n (tibia) and 2 + 2 n (fibula)
#define KF_LEG_INNER     128  // added to a region's number where it is surely within the bone

static inline double kf_leg_least(double a, double b)
{
    return a < b ? a : b;
}

static inline double kf_leg_most(double a, double b)
{
    return a > b ? a : b;
}

// Bone at or above `hu` with what it encloses, and holes in sections of the frame up to hole_mm2 (its marrow).
KF_KERNEL_MUST_USE enum kf_kernel_status kf_leg_solid(const struct kf_work *work, const struct kf_volume *frame,
                                                      double hu, double hole_mm2, struct kf_bits *bone);
// The holes that were filled in the separation that found the legs.
double kf_leg_hole_mm2(const struct kf_legs *legs);
// Finds pairs and sets seeds (one byte per voxel of the frame). legs->count is 0 where there is none.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_leg_find(const struct kf_work *work, const struct kf_volume *image,
                                                     const struct kf_volume *frame, uint8_t *seeds,
                                                     struct kf_legs *legs);
// Seeds become regions that cover the bone and 2 mm around it.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_leg_share(const struct kf_work *work, const struct kf_volume *frame,
                                                      const struct kf_legs *legs, uint8_t *seeds);
// labels: regions on the image's grid in, bones out (numbered as the seeds). Counts voxels and metal.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_leg_border(const struct kf_work *work, const struct kf_volume *image,
                                                       uint8_t *labels, struct kf_legs *legs);

#endif
