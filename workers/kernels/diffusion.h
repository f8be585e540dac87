// Smoothing that keeps edges.
#ifndef KERF_KERNELS_DIFFUSION_H
#define KERF_KERNELS_DIFFUSION_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// Modified curvature diffusion, f_t = |∇f| ∇·(c ∇f / |∇f|) with c = exp(-|∇f|² / (2 · conductance² · mean |∇f|²)), by
// explicit steps with upwind differences; the mean is taken anew before each step; no flux through the border. int16,
// uint8 or float32 in; `out` holds one float per voxel; it may be in->data of a float32 volume, and overlap in no other
// way.
//   iterations   steps, 0 to 1000
//   time_step    mm² of diffusion time; stable up to least spacing · 2⁻³ (0.0625 mm for 0.5 mm voxels)
//   conductance  unitless, typically 1 to 5: the smaller, the more edges stay
// KF_KERNEL_INVALID when one is out of range. Memory: one float per voxel and, per thread, 160 rows. Progress per step.
// Source: Whitaker and Xue, "Variable-Conductance, Level-Set Curvature for Image Denoising", ICIP 2001, with the
// discretisation documented by ITK, so that results can be compared.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_diffuse_curvature(const struct kf_work *work, const struct kf_volume *in,
                                                              int iterations, double time_step, double conductance,
                                                              float *out);

#endif
