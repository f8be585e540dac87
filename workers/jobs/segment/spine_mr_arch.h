// Arches and processes of an MR. Their marrow may be little brighter than muscle, and as bright as where muscle meets
// fat: where something lies is as good evidence as its value. Inside segment.spine's MR.
#ifndef KERF_SEGMENT_SPINE_MR_ARCH_H
#define KERF_SEGMENT_SPINE_MR_ARCH_H

#include "workers/jobs/segment/spine_mr.h"

// Share of bone about the canal, as letters ('.' none, 'z' all), the same on both sides: cells of KF_ARCH_CELL_MM to
// the side, and forwards from KF_ARCH_BACK_MM before (below 0: behind) the canal's middle, the foremost row first;
// blocks of equal parts of the way from one disc to the next, which is KF_ARCH_PITCH_MM.
#define KF_ARCH_WIDE     18
#define KF_ARCH_DEEP     32
#define KF_ARCH_TALL     8
#define KF_ARCH_CELL_MM  2.5
#define KF_ARCH_BACK_MM  (-66.0)
#define KF_ARCH_PITCH_MM 34.0
extern const char kf_spine_mr_atlas[KF_ARCH_TALL][KF_ARCH_DEEP][KF_ARCH_WIDE + 1];

enum kf_arch {
    KF_ARCH_ELSEWHERE, // before the canal, above or below what discs tell, outside of the image
    KF_ARCH_SOFT,
    KF_ARCH_WALL,
    KF_ARCH_MARROW,
};

// arch[v] (one byte per voxel): what lies behind the bodies of the vertebrae down to the station `to`. `blurred`:
// int16, below 0 outside of the image. `not_bone[v]`: 1 where no bone is. All ELSEWHERE with one disc only, or where
// values show no bone where the atlas has some.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_mr_arches(const struct kf_work *work, const struct kf_volume *blurred,
                                                            const struct kf_spine *spine, const struct kf_spine_mr *mr,
                                                            int to, const uint8_t *not_bone, uint8_t *arch);

#endif
