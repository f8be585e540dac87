// Times of arrival of a front that starts at seeds and moves with a given speed: the eikonal equation |∇T| · speed = 1.
#ifndef KERF_KERNELS_FAST_MARCHING_H
#define KERF_KERNELS_FAST_MARCHING_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

struct kf_front_seed {
    int64_t voxel; // i + dim[0]·(j + dim[1]·k)
    float time;    // at least 0
};

// First-order upwind (Godunov) solution on the 6-neighbour grid, the one that fast marching defines (Sethian, "A fast
// marching level set method for monotonically advancing fronts", PNAS 93(4), 1996), found with a calendar queue whose
// entries are corrected when they come too early, so that it is not the untidy approximation (Yatziv, Bartesaghi,
// Sapiro, J. Comput. Phys. 212, 2006) but the solution itself, to 1e-5 of each value. Constant work per voxel.
//   speed  one float32 volume, mm per unit of time. Where it is not greater than 0 (or NaN) the front never comes.
//   stop   times beyond it are not wanted: those voxels get INFINITY. INFINITY: the whole volume.
//   time   one float per voxel; INFINITY where the front does not come. Undefined after an error.
// One thread; the same bytes everywhere. KF_KERNEL_INVALID: a speed volume of another type, a seed outside of it or
// with a bad time, a stop that is negative or NaN. KF_KERNEL_TOO_LARGE over 2^32 - 2 voxels. KF_KERNEL_NOMEM.
// Memory: `time`, and 4 bytes for each voxel of the front, 4 MiB at least.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_fast_marching(const struct kf_work *work, const struct kf_volume *speed,
                                                          const struct kf_front_seed *seeds, int64_t count, float stop,
                                                          float *time);

#endif
