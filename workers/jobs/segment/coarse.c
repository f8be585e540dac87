#include "workers/jobs/segment/coarse.h"
#include "workers/io/memory.h"
#include "workers/kernels/image.h"

#include <math.h>
#include <stddef.h>

enum kf_kernel_status kf_find_coarsely(const struct kf_work *work, const struct kf_volume *volume, kf_coarse_find *find,
                                       const void *of, struct kf_bits *fine)
{
    int64_t factor[3];
    for (int a = 0; a < 3; a++)
        factor[a] = (int64_t)fmax(1, floor(1.6 / volume->grid.spacing_mm[a]));
    struct kf_volume coarse = {.type = volume->type};
    struct kf_bits bits = {0};
    kf_reduce_grid(&volume->grid, factor, &coarse.grid);
    coarse.data = kf_work_take(work, kf_grid_voxels(&coarse.grid) * kf_voxel_bytes(coarse.type));
    enum kf_kernel_status status = coarse.data ? kf_reduce(work, volume, factor, &coarse) : KF_KERNEL_NOMEM;
    if (!status)
        status = kf_bits_alloc(work, coarse.grid.dim, &bits);
    if (!status)
        status = find(work, &coarse, of, &bits);
    if (!status)
        status = kf_bits_enlarge(work, &bits, factor, fine);
    kf_bits_release(work, &bits);
    kf_work_give(work, coarse.data);
    return status;
}

enum kf_kernel_status kf_own_grid_check(const struct kf_grid *grid)
{
    return kf_grid_check(grid, NULL) ? KF_KERNEL_TOO_LARGE : KF_KERNEL_OK;
}
