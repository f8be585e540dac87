// A displacement field: how points move beyond an affine map. Vectors on a coarse grid, linear between its nodes, the
// border's value outside of it.
#ifndef KERF_KERNELS_FIELD_H
#define KERF_KERNELS_FIELD_H

#include "workers/kernels/register.h"

struct kf_field {
    struct kf_grid grid;
    float *xyz; // LPS mm: x of all nodes, then y, then z; owned: kf_field_release
};

struct kf_field_range {
    double least, most; // determinant of the Jacobian of p + d(p), one-sided differences of all 8 kinds at every node
};

// Zeroes *field; KF_KERNEL_NOMEM leaves nothing owned. Values are zero.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_field_take(const struct kf_work *work, const struct kf_grid *grid,
                                                       struct kf_field *field);
void kf_field_release(const struct kf_work *work, struct kf_field *field);

// d(p), LPS mm.
void kf_field_at(const struct kf_field *field, const double p_lps[3], double d[3]);
// q = linear · (p + d(p)); field->xyz may be NULL: no displacement.
void kf_field_apply(const struct kf_affine *linear, const struct kf_field *field, const double p[3], double q[3]);
// field(p) = step(p) + field(p + step(p)): first the step, then the field as it was; both on the same grid.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_field_compose(const struct kf_work *work, const struct kf_field *step,
                                                          struct kf_field *field);
struct kf_field_range kf_field_jacobian(const struct kf_work *work, const struct kf_field *field);
// Shrinks differences between neighbours where the Jacobian is below `least` until it is nowhere; nodes where `keep`
// (one byte per node; NULL: none) is not 0 stay. KF_KERNEL_INVALID: it does not come to an end; KF_KERNEL_NOMEM (a byte
// per node); KF_KERNEL_CANCELLED.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_field_unfold(const struct kf_work *work, struct kf_field *field,
                                                         const uint8_t *keep, double least);
// The p with p + d(p) = q by fixed-point iteration (Chen et al., "A simple fixed-point approach to invert a deformation
// field", Medical Physics 35(1), 2008), up to 1e-4 mm or 60 steps; p may be q. Returns what is left, mm.
double kf_field_invert_at(const struct kf_field *field, const double q[3], double p[3]);
// e with p + e(p) = the point that `field` takes to p, at the nodes of the same grid; *out is owned.
// KF_KERNEL_NOMEM, KF_KERNEL_CANCELLED.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_field_invert(const struct kf_work *work, const struct kf_field *field,
                                                         struct kf_field *out);
// out(p) = in(linear · (p + d(p))), linear interpolation, int16, uint8 or float32; `nearest` for labels. Beyond half a
// voxel from the outermost centres `outside`. out->grid and out->data are the caller's, of in's type.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_field_warp(const struct kf_work *work, const struct kf_field *field,
                                                       const struct kf_affine *linear, const struct kf_volume *in,
                                                       int nearest, double outside, const struct kf_volume *out);

#endif
