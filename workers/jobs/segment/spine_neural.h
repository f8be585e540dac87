// What lies in the canal and leaves it: dural sac, cord, ligamentum flavum, nerve roots. Frames and labels: spine.h.
// Called once bone, discs and canal are labelled; `labels` has one byte per voxel of the volume, and only what is 0,
// KF_SPINE_CANAL or KF_SPINE_SAC is changed.
#ifndef KERF_SEGMENT_SPINE_NEURAL_H
#define KERF_SEGMENT_SPINE_NEURAL_H

#include "workers/jobs/segment/spine.h"

// How tissues look, in the image's values. What is between fat and another tissue is told by its share of the way, so
// that fat may be the darkest (CT) or the brightest (MR) of them.
struct kf_spine_look {
    double fat, fluid, cord, root, flavum;
    double hard;          // ligament, disc and bone begin about here
    double fluid_to_cord; // sign: 1 where the cord is brighter than the fluid around it
    double cord_least;    // a cord is at least so far to that side
    double apart;         // values between fluid and cord where both are seen well
    double rim_mm;        // of the sac whose values its wall blurs too much
    double not_root;      // beyond this, seen from fat, lies no root
    int like_marrow;      // 1: a root looks like marrow, so that bone or disc may have been labelled where it is
};

extern const struct kf_spine_look kf_spine_ct_look;

// All of them. Sets cord_sure, roots_sure, flavum_sure, and turns the stations' axes to where the bodies lie.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_find_neural(const struct kf_work *work,
                                                              const struct kf_volume *volume,
                                                              const struct kf_spine_look *look, struct kf_spine *spine,
                                                              uint8_t *labels);

// A Gaussian of int16, rounded to int16 (out->data, same grid).
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_blur(const struct kf_work *work, const struct kf_volume *volume,
                                                       double sigma_mm, const struct kf_volume *out);

// `smooth`: int16, a little blurred. The sac as a tube of ellipses, and the cord as another within it, as far down as
// its contrast to the fluid shows.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_find_cord(const struct kf_work *work, const struct kf_volume *smooth,
                                                            const struct kf_spine_look *look, struct kf_spine *spine,
                                                            uint8_t *labels);
// The ligament behind the sac, between the laminae; after kf_spine_find_cord.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_find_flavum(const struct kf_work *work,
                                                              const struct kf_volume *smooth,
                                                              const struct kf_spine_look *look, struct kf_spine *spine,
                                                              uint8_t *labels);
// Roots from the sac to about 2 cm beyond the pedicle, below each vertebra that has a disc under it.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_find_roots(const struct kf_work *work, const struct kf_volume *smooth,
                                                             const struct kf_spine_look *look, struct kf_spine *spine,
                                                             uint8_t *labels);

// mm along the canal from a disc to the one above it, or below where there is none; 34 for a single disc.
double kf_spine_segment_mm(const struct kf_spine *spine, int d);

// Name, SNOMED CT code, its meaning and a colour of a label from KF_SPINE_CANAL on.
struct kf_spine_name {
    const char *name, *code, *meaning, *colour;
};
struct kf_spine_name kf_spine_neural_name(int label);
// 0…1 for a label from KF_SPINE_CORD on.
double kf_spine_neural_sure(const struct kf_spine *spine, int label);

#endif
