// Writes what is true of a phantom: label map, its table, landmarks.
#ifndef KERF_PHANTOM_TRUTH_H
#define KERF_PHANTOM_TRUTH_H

#include "server/base/json.h"
#include "workers/jobs/phantom/anatomy.h"
#include "workers/jobs/phantom/place.h"
#include "workers/kernels/volume.h"

// dir/labels.nii.gz and dir/labels.json; *count is the number of labels present.
KF_MUST_USE enum kf_status kf_truth_labels(const char *dir, const struct kf_volume *labels, int threads, int *count,
                                           struct kf_error *err);
// dir/landmarks.csv: name,x,y,z,label; LPS mm.
KF_MUST_USE enum kf_status kf_truth_landmarks(const char *dir, const struct kf_anatomy *anatomy,
                                              const struct kf_place *place, struct kf_error *err);
// dir/pairs.csv and dir/displacement_{x,y,z}.nii.gz: the map from this image's patient space to the scene's (the CT's),
// over the box of `grid`.
KF_MUST_USE enum kf_status kf_truth_transform(const char *dir, const struct kf_anatomy *anatomy,
                                              const struct kf_place *place, const struct kf_grid *grid, int threads,
                                              struct kf_error *err);
// Landmarks that were given as a ray become points of the surface they meet.
void kf_truth_snap(struct kf_anatomy *anatomy);

#endif
