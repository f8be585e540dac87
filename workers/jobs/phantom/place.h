// Where the canonical anatomy lies in the scanner: pose, gantry tilt and, for the second modality, a smooth
// deformation, each with its closed form.
#ifndef KERF_PHANTOM_PLACE_H
#define KERF_PHANTOM_PLACE_H

#include "workers/jobs/phantom/vec.h"

struct kf_place {
    struct kf_v3 centre; // of the field of view, in the scene
    struct kf_m3 turn;
    struct kf_v3 shift;
    double warp_mm;      // amplitude of the deformation, 0: none
    double tilt_tangent; // the image's grid is sheared by it: y moves z
    double tilt_cosine;
    uint64_t seed;
};

// Patient LPS → scene: turnᵀ·(p − centre − shift) + centre + u(p).
struct kf_v3 kf_place_to_scene(const struct kf_place *place, struct kf_v3 p_lps);
// Scene → patient LPS: the same inverted, by fixed-point iteration (|∇u| < 0.3) to 1e-9 mm.
struct kf_v3 kf_place_to_lps(const struct kf_place *place, struct kf_v3 p);
// How the image's grid (axis-parallel, of kf_paint) lies in the patient when the gantry is tilted, then as above.
struct kf_v3 kf_place_grid_to_scene(const void *place, struct kf_v3 p_grid);
// The most that either map lengthens a small step.
double kf_place_stretch(const struct kf_place *place);

#endif
