// What kf_bias_find is made of.
#ifndef KERF_KERNELS_BIAS_INSIDE_H
#define KERF_KERNELS_BIAS_INSIDE_H

#include "workers/kernels/bias.h"

#define KF_BIAS_MOST 35 // control points an axis: 2⁵ spans and 3

// A net of control points over the corners of a grid: spans + 3 an axis.
struct kf_bias_net {
    int64_t dim[3];    // of the grid
    int64_t points;    // an axis
    int64_t *first[3]; // per index of the axis: its first control point
    float *weight[3];  // per index 4 weights
    float *cube[3];    // per index 4: weight³ / Σ weight²
    double *point;     // points³ values, x fastest
    double *share;     // points³: Σ weight² over the voxels used
    double *slab;      // scratch: dim[2] · points²
    void *block;       // all of it
};

// *net is owned: kf_work_give(net->block).
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bias_net_make(const struct kf_work *work, const int64_t dim[3], int spans,
                                                          const uint8_t *use, struct kf_bias_net *net);
// net->point = the net through the values of the voxels used.
void kf_bias_net_fit(const struct kf_work *work, struct kf_bias_net *net, const uint8_t *use, const float *value);
// to[…] += the net at every voxel.
void kf_bias_net_add(const struct kf_work *work, const struct kf_bias_net *net, float *to);
// Adds the net's row at (y, z), which run from 0 to 1 over the grid, to `row`; x of voxel i is x0 + i·dx.
void kf_bias_net_row(const struct kf_bias_net *net, double x0, double dx, double y, double z, int64_t count,
                     float *row);

#endif
