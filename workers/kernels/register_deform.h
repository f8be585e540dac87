// Deformable registration of images of any two modalities, after a rigid or affine one.
#ifndef KERF_KERNELS_REGISTER_DEFORM_H
#define KERF_KERNELS_REGISTER_DEFORM_H

#include "workers/kernels/field.h"

struct kf_register_deform {
    const struct kf_affine *linear;     // fixed → moving, rigid or affine: where the deformation starts
    const struct kf_volume *fixed_mask; // uint8 on the fixed grid: where it is 0 nothing is compared; NULL: none
    double grid_mm;                     // between nodes; 0: about 8, to fit the voxels
    double stiffness;                   // weight of the bending energy; 0: 1
    int both_ways; // 1: also moving → fixed; the result is the middle of both, and none if they differ by 0.3 of
                   // grid_mm
};

// Why nothing moves though a deformation was looked for.
enum kf_deform_dropped {
    KF_DEFORM_KEPT = 0,
    KF_DEFORM_WAYS_DIFFER, // the two directions differ so much that there is nothing to believe in either
    KF_DEFORM_NO_GAIN,     // what was found makes the images no more alike
};

struct kf_register_deform_report {
    enum kf_deform_dropped dropped;
    struct kf_field_range jacobian;
    double inverse_mean_mm, inverse_max_mm; // over the nodes: how far p lies from inverse(forward(p))
    double ways_mean_mm, ways_max_mm;   // `both_ways`: how far the two directions lie apart, the mean weighed by how
                                        // much the images say there; else -1
    double moved_mean_mm, moved_max_mm; // length of the displacements
    double before, after; // mean difference of descriptors that the search did not use, 0 … 1; equal when dropped
};

// Mutual information over all voxels, made large by Gauss-Newton steps of a cubic B-spline (Rueckert et al.,
// "Nonrigid registration using free-form deformations", IEEE TMI 18(8), 1999) whose bending energy costs ever less.
// Values become 64 levels first: freed of noise and of an MR coil's gain, and spaced by how common they are, so that
// bone does not outweigh what is soft. Slopes of the joint histogram's logarithm pull at each voxel along the
// gradients of both images, at the end of the one that leads to more information; curvatures are those expected
// (Fisher's), and no voxel claims to know its place better than half of its size. Knots are 4 nodes apart. The field
// is unfolded, so that the Jacobian stays positive. Whether it helped is judged by descriptors that have no part in
// this (self-similarity context: Heinrich et al., "Towards realtime multimodal fusion for image-guided interventions
// using self-similarities", MICCAI 2013): if their difference, where they see neither image's end, does not fall by a
// hundredth, nothing is moved and report->after is report->before. Voxels of grid_mm come first, then smaller ones,
// down to a quarter of it. Reach: about 12 mm. int16, uint8 or float32 volumes. *field is owned (kf_field_release).
// KF_KERNEL_INVALID: fewer than 4 or more than 400 nodes on an axis, other types, images of one value, no overlap, or a
// field that does not unfold. KF_KERNEL_TOO_LARGE: an image of 2^31 voxels or more, merged to a quarter of grid_mm.
// Memory: both images in int16 merged to grid_mm / 8, and beside them first 6 bytes per voxel of the one that is
// prepared, then 9 bytes per cube of grid_mm / 4 and 720 per node.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_register_deform(const struct kf_work *work, const struct kf_volume *fixed,
                                                            const struct kf_volume *moving,
                                                            const struct kf_register_deform *how,
                                                            struct kf_field *field,
                                                            struct kf_register_deform_report *report);

// Fills in what `report` says of the field alone: jacobian, inverse_… and moved_…, anew for a field changed since.
// KF_KERNEL_NOMEM (one more field), KF_KERNEL_CANCELLED.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_register_deform_judge(const struct kf_work *work,
                                                                  const struct kf_field *field,
                                                                  struct kf_register_deform_report *report);

#endif
