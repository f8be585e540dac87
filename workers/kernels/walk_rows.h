// Inside of this folder: the three passes of a conjugate gradient step over one block of voxels. Arrays go on with zeros
// past the last voxel, up to a whole number of lanes, and edges have no weight over the border, so that no pass knows
// about rows. Each pass exists once per instruction set; all give the same bytes.
#ifndef KERF_KERNELS_WALK_ROWS_H
#define KERF_KERNELS_WALK_ROWS_H

#include <stdint.h>

#define KF_WALK_LANES 16

struct kf_walk_block {
    const float *edge[3]; // to the next voxel along each axis, at the block's first voxel
    int64_t step[3];
    float *y, *r, *p, *q; // solution, residual, direction, matrix · direction
    int64_t count;        // a multiple of the lanes
};

struct kf_walk_rows {
    // q = p - Σ edge·p of the six neighbours; returns p·q.
    double (*apply)(const struct kf_walk_block *block);
    // r -= alpha·q; returns r·r.
    double (*reduce)(const struct kf_walk_block *block, float alpha);
    // y += alpha·p, then p = r + beta·p.
    void (*advance)(const struct kf_walk_block *block, float alpha, float beta);
};

const struct kf_walk_rows *kf_walk_rows(void); // of kf_cpu_level()

#endif
