// `kerf phantom`: anatomy of known truth as a DICOM series. One function from options to files; the same options give
// the same bytes on any machine and for any number of threads.
#ifndef KERF_PHANTOM_PHANTOM_H
#define KERF_PHANTOM_PHANTOM_H

#include "server/base/error.h"
#include "workers/dicom/write_series.h"
#include "workers/kernels/volume.h"

struct kf_phantom_options {
    const char *kind;        // "head", "leg", "spine", "spine-mr"
    const char *out, *truth; // folders, made when missing; truth may be NULL
    int64_t dim[3];          // 0: from the kind and the spacing
    double spacing_mm[3];    // 0: from the kind and the size
    double noise;            // HU (CT) or intensity (MR), < 0: of the kind
    double blur_mm;          // < 0: of the kind
    uint64_t seed;
    int threads;
    int metal;                       // head: fillings; spine: pedicle screws and rods
    int defect, table;               // head
    uint32_t missing_teeth;          // head: bit 8 (q - 1) + n - 1 for tooth n of quadrant q (FDI)
    double resected_mm;              // head: so much of the left mandibular body is gone; 0 to 40
    int no_bone;                     // soft tissue in place of bone and teeth, and no label for them
    int lumbar_rib, eleven_ribs;     // spine: a pair of ribs on L1 too; none on T12. Not both
    int sacralised;                  // spine: L5 with wings like a sacrum's
    double trabecular_hu;            // spine: spongy bone of vertebrae and sacrum; 0: of the kind
    double scoliosis_deg;            // spine: Cobb angle, -45 to 45; convex to the right when positive
    double joint_mm;                 // spine: ilia with joints of that width to the sacrum; 0: none
    int left;                        // leg: 1 left, 0 right
    double pose_deg[3], shift_mm[3]; // the patient turned about the middle of the field of view, then moved
    double warp_mm;                  // spine-mr: amplitude of the deformation; < 0: of the kind
    double bias;                     // spine-mr: amplitude of the coil's shading, 0…0.9; < 0: of the kind
    double tilt_deg;                 // CT: gantry tilt
    int enhanced, reversed;
    enum kf_dicom_write_syntax syntax;
    const char *patient; // "NAME^GIVEN", or NULL for one that names the seed
};

struct kf_phantom_report {
    struct kf_grid grid;
    int files, landmarks, labels;
    char series_uid[65];
};

// Defaults for a kind. KF_INVALID with code phantom_kind when there is none of that name.
KF_MUST_USE enum kf_status kf_phantom_defaults(const char *kind, struct kf_phantom_options *options,
                                               struct kf_error *err);

// Makes the series in options->out and, when asked, in options->truth:
//   labels.nii.gz     uint8 on the image's grid; with a tilt on the untilted grid of the same middle
//   labels.json       [{"label","name","code":{scheme,value,meaning}|null,"colour","voxels","volume_ml"}]
//   landmarks.csv     name,x,y,z in LPS mm, label
//   phantom.json      the options and the geometry
//   spine-mr also: pairs.csv (name, MR x y z, CT x y z) and displacement_{x,y,z}.nii.gz (float32 mm on a 4 mm grid: the
//   CT point of an MR point is p + displacement(p))
// Errors: KF_INVALID (options), KF_IO, KF_NOSPACE, KF_NOMEM.
KF_MUST_USE enum kf_status kf_phantom_run(const struct kf_phantom_options *options, struct kf_phantom_report *report,
                                          struct kf_error *err);

// Only the voxels and labels (both owned: kf_volume_release), for tests: int16 values, uint8 labels.
KF_MUST_USE enum kf_status kf_phantom_volumes(const struct kf_phantom_options *options, struct kf_volume *image,
                                              struct kf_volume *labels, struct kf_error *err);

// The command line of `kerf phantom` after the word "phantom"; returns the exit code (0, 1 failed, 2 usage).
int kf_phantom_main(int argc, char **argv);

#endif
