// From the slices of one series to volumes, by geometry alone (PS3.3 section C.7.6.2): pure functions over numbers, no
// file, no pixel. Position and orientation decide, never a file name or an instance number alone. Put right, and said so:
// duplicate slices, uneven steps, a gantry's tilt, several acquisitions in one series. Refused: a missing slice (a gap of
// over 1.5 times the median), a mirrored series. Every refusal has a stable code and names a slice.
#ifndef KERF_DICOM_SERIES_H
#define KERF_DICOM_SERIES_H

#include "workers/dicom/image.h"
#include "workers/kernels/volume.h"

struct kf_slice {
    int instance;           // index of the instance among the job's inputs
    int frame;              // within it, 0-based
    int has_number, number; // instance number, how people name a slice
    int rows, columns;
    int64_t group; // slices with different values never share a volume (frame of reference, units)
    struct kf_dicom_frame place;
};

// Why slices take no part. `slices` points into the plan's own memory.
struct kf_series_problem {
    char code[48];
    char detail[240];
    int first_slice; // index of the slice it names
    int slice_count; // how many slices it took out
    int set_aside;   // 1: harmless beside the volumes that were found, 0: a series that should have been a volume
};

struct kf_series_correction {
    char code[48]; // "duplicates_dropped", "split_by_echo", "split_by_orientation", "gantry_tilt_sheared",
                   // "resampled_spacing"
    char detail[160];
};

#define KF_SERIES_CORRECTIONS 6

// One volume: its slices in order along +k, and how they lie.
struct kf_stack {
    int *slices; // indexes into the caller's slices; the plan owns it
    int count;
    struct kf_grid in; // as the slices lie: regular, orthogonal if !sheared; dim[2] = count
    // For stacks that must be resampled; else NULL. Per slice, mm: place along the normal and shift in the plane along
    // row and column, all from the first slice.
    double *along_mm, *shift_row_mm, *shift_column_mm;
    int sheared; // gantry tilt: the slices are shifted in their plane against each other
    int uneven;  // the distances differ: resampled to in.spacing_mm[2]
    double tilt_rad;
    double thickness_mm; // largest said, 0: none
    struct kf_series_correction corrections[KF_SERIES_CORRECTIONS];
    int correction_count;
};

struct kf_series_plan {
    struct kf_stack *stacks;
    int stack_count;
    struct kf_series_problem *problems;
    int problem_count;
};

// Says whether two slices hold the same values; asked only for slices in the same place.
typedef int kf_same_pixels(void *context, int slice_a, int slice_b);

// Finds the volumes among `count` slices. Slices in other orientations, sizes or spacings become volumes of their own
// when there are at least three of them, and are set aside when not. A stack that is not regular as a whole is split by
// the attributes of kf_dicom_split where every part then is regular.
// Problem codes: "no_position", "no_pixel_spacing", "orientation_not_orthonormal", "not_a_volume" (all slices in one
// place), "single_slice", "too_few_slices" (under three: their distance cannot be checked), "duplicate_position"
// (different pixels in one place), "missing_slice" (gap > 1.5 × the median), "positions_off_line", "other_orientation",
// "mixed_orientation", "too_many_volumes", "mirrored".
// Limits: gaps compare with 1.5 × median; a slice may lie 0.05 of the step but at most 0.1 mm off the regular grid
// before the stack counts as uneven; up to 0.2 mm of shift over the whole stack is spread evenly instead of sheared.
// *plan is owned: kf_series_plan_release. Fails only for want of memory.
KF_MUST_USE enum kf_status kf_series_plan(const struct kf_slice *slices, int count, kf_same_pixels *same, void *context,
                                          struct kf_series_plan *plan, struct kf_error *err);
void kf_series_plan_release(struct kf_series_plan *plan);

// "instance 9" or "input 3, frame 2": how a slice is named to people.
void kf_slice_name(const struct kf_slice *slice, char to[64]);

#endif
