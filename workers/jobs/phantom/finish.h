// What the scanner adds to painted values: metal streaks, noise, the point spread. In place, any number of threads, the
// same bytes.
#ifndef KERF_PHANTOM_FINISH_H
#define KERF_PHANTOM_FINISH_H

#include "server/base/error.h"
#include "workers/kernels/volume.h"

struct kf_finish {
    const struct kf_grid *grid;
    double noise;   // standard deviation after the blur, in units of the value (HU)
    double blur_mm; // standard deviation of the Gaussian point spread
    int rician;     // 1: magnitude noise (MR), never below 0
    int unit;       // stored steps per value in `values` on entry (KF_PAINT_UNIT); 1 on return
    uint64_t seed;
    int threads;
};

// values: painted, `unit` steps each; on return whole values. KF_NOMEM.
KF_MUST_USE enum kf_status kf_finish_run(const struct kf_finish *finish, int16_t *values, struct kf_error *err);

// How a metal spoils a line integral of p mm of it, in HU·mm: −hardening·p² / (1 + p / saturation_mm), and noise of the
// standard deviation starved·p^1.5 + starved_cubed·p³.
struct kf_metal {
    double hardening; // HU/mm
    double saturation_mm;
    double starved, starved_cubed;
};
extern const struct kf_metal kf_metal_dental;   // amalgam and gold
extern const struct kf_metal kf_metal_titanium; // implants

// Adds the streaks and shadows of every voxel labelled `metal`, axial slice by axial slice: the metal's line integrals
// p are projected, their beam hardening error (Joseph and Spital 1978) and the noise of starved rays
// are filtered and projected back (Kak and Slaney, chapter 3). KF_NOMEM.
KF_MUST_USE enum kf_status kf_metal_streaks(const struct kf_grid *grid, const uint8_t *labels, int metal,
                                            const struct kf_metal *of, int16_t *values, int unit, uint64_t seed,
                                            int threads, struct kf_error *err);

#endif
