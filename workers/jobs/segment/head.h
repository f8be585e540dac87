// The stages of segment.head: each takes what the ones before it found. Lengths are millimetres, positions LPS.
#ifndef KERF_JOBS_SEGMENT_HEAD_H
#define KERF_JOBS_SEGMENT_HEAD_H

#include "workers/kernels/bits.h"

// Labels in labels.nii.gz; they do not change.
enum kf_head_label {
    KF_HEAD_SKULL = 1, // with the maxilla
    KF_HEAD_MANDIBLE = 2,
    KF_HEAD_UPPER_TEETH = 3,
    KF_HEAD_LOWER_TEETH = 4,
    KF_HEAD_AIRWAY = 5, // with the sinuses
    KF_HEAD_SKIN = 6,   // all within the skin that has no other label
    KF_HEAD_SPINE = 7,
    KF_HEAD_LABELS = 8
};

struct kf_head_settings {
    double bone_hu, jaw_hu, island_ml;
};

// How the mandible was told from the skull.
struct kf_head_cores {
    struct kf_bits part[3]; // skull, mandible, spine: bone that surely is theirs, on a grid of about 1.2 mm
    struct kf_grid grid;
    int64_t factor[3];        // voxels of the volume in one of the grid
    int mandible_found;       // 0: no piece has the shape and place of a mandible
    int spine_apart;          // 0: bone where the spine must be holds on to the skull
    int atlas_apart;          // 0: the atlas holds on to the skull
    int step;                 // which of the ever stronger separations did it, from 0
    int pieces;               // of the mandible
    double low[3], high[3];   // box of the mandible's core
    double centre[3];
};

KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_bone(const struct kf_work *work, const struct kf_volume *volume,
                                                      const struct kf_head_settings *s, const struct kf_bits *body,
                                                      struct kf_bits *bone);
// *cores is owned: kf_head_cores_release, after a failure too.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_cores_find(const struct kf_work *work, const struct kf_volume *volume,
                                                            struct kf_head_cores *cores);
void kf_head_cores_release(const struct kf_work *work, struct kf_head_cores *cores);

// The parts compete for the bone: labels (one byte per voxel, zero before) get skull, mandible and spine.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_split(const struct kf_work *work, const struct kf_volume *volume,
                                                       const struct kf_bits *bone, const struct kf_head_cores *cores,
                                                       uint8_t *labels);
// Takes the blurred rim below jaw_hu off the mandible and fills its marrow.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_jaw_trim(const struct kf_work *work, const struct kf_volume *volume,
                                                          const struct kf_head_settings *s, uint8_t *labels);
// Dense crowns and what hangs on to them become teeth of the jaw that they are in.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_teeth(const struct kf_work *work, const struct kf_volume *volume,
                                                       const struct kf_head_cores *cores, uint8_t *labels);

// The patient without table, filled.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_body(const struct kf_work *work, const struct kf_volume *volume,
                                                      struct kf_bits *body);
// Air within the body in pieces of 1 ml and more.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_airway(const struct kf_work *work, const struct kf_volume *volume,
                                                        const struct kf_bits *body, struct kf_bits *airway);

#endif
