// Tibia and fibula of one or two legs in a CT, without learned weights.
#ifndef KERF_JOBS_SEGMENT_LEG_H
#define KERF_JOBS_SEGMENT_LEG_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// Labels; they do not change. The last two are for a leg whose side the anatomy does not show.
enum kf_leg_label {
    KF_LEG_TIBIA_LEFT = 1,
    KF_LEG_FIBULA_LEFT,
    KF_LEG_TIBIA_RIGHT,
    KF_LEG_FIBULA_RIGHT,
    KF_LEG_TIBIA_UNSIDED,
    KF_LEG_FIBULA_UNSIDED,
    KF_LEG_LABELS
};

#define KF_LEG_MOST 2

// Why there are no labels.
enum kf_leg_reason {
    KF_LEG_FOUND = 0,
    KF_LEG_NO_BONE, // under 5 ml of bone
    KF_LEG_NO_PAIR, // no thin bone beside a thick one over at least 30 mm: another part of the body, one bone only, or
                    // too little of the shafts in the field
    KF_LEG_JOINED,  // there is a pair, but its bones could not be told from their neighbours
    KF_LEG_TWO_SIDES, // two legs whose fibulas lie on sides that contradict their order
};

// What was seen of one leg; lengths in mm, directions LPS.
struct kf_leg {
    int tibia, fibula;       // labels
    int by_order;            // 1: the side is only that of the other leg's other side, not seen in this one
    int pieces;              // of the fibula that were put together
    int cropped_low;         // 1: the fibula's lower end is outside of the image
    int cropped_high;        // 1: its upper end is
    int ends_seen;           // 0: the tibia goes on where the image ends the fibula: another bone may hang on to it
    double shared_mm;        // length over which both bones were seen
    double fibula_mm;        // length of the fibula in the image
    double radius_ratio;     // of the tibia's and the fibula's sections (median)
    double apart_mm;         // between their centres (median)
    double lateral;          // LPS x of the unit vector from tibia to fibula within a section: +1 is left
    double metal;            // share of voxels at or above 2800 HU within both bones
    int64_t voxels[2];       // tibia, fibula
    double up[3], middle[3]; // axis of the fibula towards the knee; its middle
};

struct kf_legs {
    int count;
    enum kf_leg_reason reason;
    int strength; // of the separation that was needed, from 0
    int steps;    // how many there are
    int turned;   // 1: found along the bones' own axis, far from the patient's
    int missed;   // 1: beside the one leg that was found lies bone of another, which could not be told apart
    struct kf_leg leg[KF_LEG_MOST];
};

// labels: one byte per voxel of image (int16 or float32, HU), written wholly: kf_leg_label or 0. A bone has its marrow.
//   1. On a grid of 1 mm along the patient's axes (a second time along the bones' principal axis, if need be): bone in
//      ever stronger separations (thresholds, erosion by distance) until pieces of it are a fibula beside a tibia:
//      thin, straight, 15 to 60 mm beside a bone of at least 1.3 times its radius over 30 mm, both ending where they
//      should.
//   2. Watershed from these pieces and from all other bone shares out what lies between.
//   3. On the image's grid the border lies half way between soft tissue and the densest cortex near it.
// The same bytes for any number of threads and instruction set. The direction of image->grid may be any orthonormal
// one. KF_KERNEL_INVALID: another type. KF_KERNEL_TOO_LARGE: bone over more than 2 m on an axis. Memory: about 20 bytes
// per cubic millimetre of the box around all bone, and one byte and two bits per voxel.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_leg_segment(const struct kf_work *work, const struct kf_volume *image,
                                                        uint8_t *labels, struct kf_legs *legs);

#endif
