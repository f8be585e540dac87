// Memory for voxels and meshes: big blocks on huge pages, kept for reuse (first touch of fresh 4 kB pages runs at
// 2 GB/s, of 2 MB pages at 12). Thread safe. Also the kf_work that hands this memory to the kernels.
#ifndef KERF_IO_MEMORY_H
#define KERF_IO_MEMORY_H

#include "server/base/error.h"
#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// 64-byte aligned, contents undefined; NULL when there is none. Owned: kf_memory_release.
void *kf_memory_take(int64_t bytes);
void kf_memory_release(void *block); // NULL is fine
int64_t kf_memory_peak(void);        // most bytes in use at once since the start of the process
void kf_memory_trim(void);           // gives kept blocks back to the system

// Fills *work with this allocator, `threads` threads and no callbacks.
void kf_work_init(struct kf_work *work, int threads);

// The status for a kernel's answer, with a sentence in err.
enum kf_status kf_work_status(enum kf_kernel_status status, struct kf_error *err, const char *what);

// A volume with undefined voxels; owned: kf_volume_release. KF_TOO_LARGE over 2048 on an axis or 2^31 voxels,
// KF_INVALID when grid is not a grid (empty, not finite, spacing not positive, axes not orthonormal to 1e-4).
KF_MUST_USE enum kf_status kf_volume_alloc(struct kf_volume *out, const struct kf_grid *grid, enum kf_voxel_type type,
                                           struct kf_error *err);
void kf_volume_release(struct kf_volume *volume); // zeroes *volume
KF_MUST_USE enum kf_status kf_grid_check(const struct kf_grid *grid, struct kf_error *err);

#endif
