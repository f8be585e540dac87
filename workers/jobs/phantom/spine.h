// The vertebral column's own frames, shared by the builders of bone, discs and nerves.
#ifndef KERF_PHANTOM_SPINE_H
#define KERF_PHANTOM_SPINE_H

#include "workers/jobs/phantom/anatomy.h"

#define KF_LEVELS 9 // T10 … L5, S1

// One vertebra: sizes in mm, frame with its origin in the middle of the body, x left, y posterior, z to the upper
// plate.
struct kf_vertebra {
    const char *name;
    int label;
    double height, half_width, half_depth; // body
    double disc;                           // below it
    double canal_x, canal_y;               // half axes of the bony canal
    double pedicle_x, pedicle_half;        // distance from the midline, half width
    double facet_x, facet_deg;             // of the joint with the vertebra below; 0° sagittal, 90° coronal
    struct kf_v3 origin;
    struct kf_m3 axes;
    double tilt_deg, roll_deg, turn_deg; // in the sagittal plane; of a scoliosis: in the coronal plane, about its axis
};

struct kf_spine {
    struct kf_vertebra v[KF_LEVELS];
    double conus; // level index at which the cord ends, for example 3.3: a third below the middle of L1
};

// A point of vertebra i's frame in the scene.
struct kf_v3 kf_spine_at(const struct kf_spine *spine, int i, double x, double y, double z);
// Middle of the disc below vertebra i, and its axes.
struct kf_v3 kf_spine_disc(const struct kf_spine *spine, int i, struct kf_m3 *axes);
// Middle of the canal at level index + fraction `at` (0 is the middle of T10, 8 that of S1).
struct kf_v3 kf_spine_canal(const struct kf_spine *spine, double at);

void kf_build_vertebrae(struct kf_anatomy *a, const struct kf_spine *spine);
void kf_build_sacrum(struct kf_anatomy *a, const struct kf_spine *spine);
// What of the sacrum lies towards the ilia, in the frame of S1, as groups of the current part: added (KF_UNION), or,
// grown by `grow` mm on every side, taken away (KF_SUBTRACT).
void kf_sacral_mass(struct kf_scene *s, const struct kf_vertebra *s1, enum kf_sdf_op op, double grow);
// The hip bones' upper parts, with joints to the sacrum that are a->joint_mm wide and filled with cartilage.
void kf_build_ilia(struct kf_anatomy *a, const struct kf_spine *spine);
// Titanium: two pedicle screws in each of L3 to L5, with a rod on either side.
void kf_build_screws(struct kf_anatomy *a, const struct kf_spine *spine);
void kf_build_neural(struct kf_anatomy *a, const struct kf_spine *spine);

#endif
