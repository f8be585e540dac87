// Inside of the kernel library: the parts of a deformable registration.
#ifndef KERF_KERNELS_REGISTER_DEFORM_INSIDE_H
#define KERF_KERNELS_REGISTER_DEFORM_INSIDE_H

#include "workers/kernels/register_deform.h"

#define KF_MIND_BYTES 16 // per voxel: 12 channels, the rest zero
#define KF_MIND_MOST  (12 * 255)
#define KF_REACH_MOST 3 // voxels a search goes in each direction

// Descriptors of `in` (int16), KF_MIND_BYTES each. scratch: 7 floats per voxel.
void kf_mind(const struct kf_work *work, const struct kf_volume *in, float *scratch, uint8_t *out);

// Costs of blocks of size³ voxels for (2·reach + 1)³ displacements, smoothed over neighbouring blocks by 1 2 1 on each
// axis: costs[d · blocks + b], 16 units per KF_MIND unit and voxel. valid: voxels that count. weight[b]: share of the
// valid ones. line: blocks uint32 per thread.
struct kf_block_costs {
    int64_t dim[3]; // blocks
    int size, reach;
    const uint8_t *fixed, *moving, *valid;
    uint16_t *costs;
    float *weight;
    uint32_t *line;
};
enum kf_kernel_status kf_block_costs_find(const struct kf_work *work, const struct kf_block_costs *b);

// ½ uᵀHu + g·u per node, u in blocks: model[0…5] H (xx yy zz xy xz yz), [6…8] g; planes of `nodes` floats each.
// Adds bend · |Laplacian of (base + u)|² + damp · |u|². u (3 planes) is where it starts and the result.
// scratch: 15 planes.
struct kf_bend {
    int64_t dim[3];
    const float *model, *base;
    float bend, damp;
    int steps;
};
void kf_bend_solve(const struct kf_work *work, const struct kf_bend *b, float *u, float *scratch, double *sums);

#endif
