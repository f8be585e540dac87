// Inside of this folder: the passes of a conjugate gradient step over one block of voxels of one colour. The grid is
// coloured like a chessboard, so that neighbours have different colours, and each colour lies side by side: neighbours
// along an axis stand a fixed number of places before and after. Arrays go on with zeros on both sides, and edges have
// no weight over the border, so that no pass knows about rows. Each pass exists once per instruction set; all give the
// same bytes.
#ifndef KERF_KERNELS_WALK_ROWS_H
#define KERF_KERNELS_WALK_ROWS_H

#include <stdint.h>

#define KF_WALK_LANES 16

// The six neighbours, which have the other colour, by axis.
struct kf_walk_near {
    const float *edge_after[3], *edge_before[3]; // weights of the edges to the next and to the previous voxel
    const float *after[3], *before[3];           // what those voxels hold
};

// Vectors of one colour from the block's first voxel on.
struct kf_walk_block {
    float *y, *r, *p, *q; // solution, residual, direction, matrix · direction
    int64_t count;        // a multiple of the lanes
};

struct kf_walk_rows {
    // to = Σ edge·neighbour, over `count` voxels; with `add` that is added to what is there.
    void (*gather)(const struct kf_walk_near *near, float *to, int add, int64_t count);
    // q = p - Σ edge·neighbour; returns p·q.
    double (*apply)(const struct kf_walk_block *block, const struct kf_walk_near *near);
    // y += alpha·p, r -= alpha·q; returns r·r.
    double (*reduce)(const struct kf_walk_block *block, float alpha);
    // p = r + beta·p.
    void (*advance)(const struct kf_walk_block *block, float beta);
};

const struct kf_walk_rows *kf_walk_rows(void); // of kf_cpu_level()

#endif
