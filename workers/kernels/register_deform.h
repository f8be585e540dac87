// Deformable registration of images of any two modalities, after a rigid or affine one.
#ifndef KERF_KERNELS_REGISTER_DEFORM_H
#define KERF_KERNELS_REGISTER_DEFORM_H

#include "workers/kernels/field.h"

struct kf_register_deform {
    const struct kf_affine *linear;     // fixed → moving, rigid or affine: where the deformation starts
    const struct kf_volume *fixed_mask; // uint8 on the fixed grid: where it is 0 nothing is compared; NULL: none
    double grid_mm;                     // between nodes; 0: 8
    double stiffness;                   // weight of the bending energy; 0: 1
    int both_ways;                      // 1: also moving → fixed; the result is the middle of both
};

struct kf_register_deform_report {
    struct kf_field_range jacobian;
    double inverse_mean_mm, inverse_max_mm; // over the nodes: how far p lies from inverse(forward(p))
    double ways_mean_mm, ways_max_mm;       // `both_ways`: how far the two directions lie apart; else -1
    double moved_mean_mm, moved_max_mm;     // length of the displacements
    double before, after;                   // mean difference of the descriptors, 0 … 1
};

// Modality independent descriptors (self-similarity context: Heinrich et al., "Towards realtime multimodal fusion for
// image-guided interventions using self-similarities", MICCAI 2013) in 12 bytes per voxel, compared by sums of absolute
// differences over a dense set of displacements per node. Displacements are chosen in turn with a smooth field that is
// pulled to them ever harder (Heinrich et al., "Non-parametric discrete registration with convex optimisation", WBIR
// 2014); the smooth field is the least-squares one of local quadratic models of the costs and the bending energy
// (Gauss-Newton; conjugate gradients). From voxels of grid_mm / 2 to grid_mm / 4, the moving image warped anew each
// time; steps are composed and unfolded, so that the Jacobian stays positive. Reach: about grid_mm per coarse step, of
// which there are two, and half of it in two more. int16, uint8 or float32 volumes. *field is owned (kf_field_release).
// KF_KERNEL_INVALID: fewer than 4 nodes on an axis, other types, images of one value, no overlap, or a field that does
// not unfold. Memory: 65 bytes per cube of grid_mm / 4, 900 bytes per node and 4 more per thread, and both images in
// int16 merged to grid_mm / 4 and grid_mm / 2.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_register_deform(const struct kf_work *work, const struct kf_volume *fixed,
                                                            const struct kf_volume *moving,
                                                            const struct kf_register_deform *how,
                                                            struct kf_field *field,
                                                            struct kf_register_deform_report *report);

// Fills in what `report` says of the field alone: jacobian, inverse_… and moved_…, anew for a field changed since.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_register_deform_judge(const struct kf_work *work,
                                                                  const struct kf_field *field,
                                                                  struct kf_register_deform_report *report);

#endif
