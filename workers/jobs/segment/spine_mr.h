// MR of the spine on the way of the CT: the canal is found by its brightness, bodies and discs by their marrow, and
// bone, disc, fat and muscle are then painted as a CT would show them, so that telling vertebrae apart is one work for
// both. For T2-weighted images.
#ifndef KERF_SEGMENT_SPINE_MR_H
#define KERF_SEGMENT_SPINE_MR_H

#include "workers/jobs/segment/spine_neural.h"

// Of a wall in the CT that an MR is turned into, and least of bone there: just below what a CT's flood counts as dense.
#define KF_SPINE_MR_BONE_HU 384

// Typical values of one image, from itself.
struct kf_spine_mr {
    double fluid, body, fat;
    double spread;        // of the bodies' values, half the range that holds 70 %, as a share of `body`
    double smooth_spread; // the same without noise
    double slice_mm;      // given: how far a voxel of the image reaches along the patient's axis
    int is_t2;            // 0: discs are brighter than bodies, rings and all
    int has_bodies;       // 0: what lies before the canal is not even enough (a neck's bodies are too small)
    struct kf_spine_look look;
};

// `out` (int16, the grid of `in`): free of the coil's shading, scaled so that 98 of 100 voxels of the body are below
// 1000. `in` is int16 or float32.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_mr_level(const struct kf_work *work, const struct kf_volume *in,
                                                           const struct kf_volume *out);

// `out` (int16, the grid of `in`, int16): free of noise, with its edges; what is below 0 (outside of the image) stays.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_mr_denoise(const struct kf_work *work, const struct kf_volume *in,
                                                             const struct kf_volume *out);

// The canal as the path most brighter than the dark that surrounds it; spine->station as from kf_spine_find_canal.
// `coarse`: int16 of about 2 mm on the patient's axes, below 0 outside of the image. stations = 0: none over 40 mm.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_mr_canal(const struct kf_work *work, const struct kf_volume *coarse,
                                                           struct kf_spine *spine);

// Directions in a disc's plane, to the left and forwards.
void kf_spine_mr_in_plane(const struct kf_spine_disc *disc, const struct kf_spine_station *t, double left[3],
                          double front[3]);

// Discs and typical values. `fine`: as coarse, on the working grid; `smooth`: the same without noise.
// Then the canal is continued below its fluid by up to 30 stations.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_mr_discs(const struct kf_work *work, const struct kf_volume *fine,
                                                           const struct kf_volume *smooth, struct kf_spine *spine,
                                                           struct kf_spine_mr *mr);

// `ct` (int16, grid of smooth): Hounsfield units of what the tissues are. Discs' planes are moved into their middle.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_mr_as_ct(const struct kf_work *work, const struct kf_volume *smooth,
                                                           struct kf_spine *spine, const struct kf_spine_mr *mr,
                                                           const struct kf_volume *ct);

// What that CT shows as disc between two vertebrae and was left without a label, wedges above all. `scratch`: one byte
// per voxel.
void kf_spine_mr_fill_discs(const struct kf_work *work, const struct kf_volume *ct, const struct kf_spine *spine,
                            uint8_t *labels, uint8_t *scratch);

#endif
