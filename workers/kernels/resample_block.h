// Inside of the kernel library: sixteen voxels of a resampled row. Their positions are doubles at the first and floats
// relative to the voxel below it.
#ifndef KERF_KERNELS_RESAMPLE_BLOCK_H
#define KERF_KERNELS_RESAMPLE_BLOCK_H

#include "workers/kernels/filter.h"

struct resample_block {
    int64_t base[3]; // voxel below the first position
    float frac[3], step[3];
};

static inline struct resample_block block_at(const struct kf_resample_row *row, int64_t first)
{
    struct resample_block b;
    for (int a = 0; a < 3; a++) {
        double p = row->start[a] + (double)first * row->step[a];
        b.base[a] = (int64_t)p - ((double)(int64_t)p > p);
        b.frac[a] = (float)(p - (double)b.base[a]);
        b.step[a] = (float)row->step[a];
    }
    return b;
}

static inline int floor_of(float x)
{
    int whole = (int)x;
    return whole - ((float)whole > x);
}

#endif
