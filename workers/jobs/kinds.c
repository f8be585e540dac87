// Every job kind that kerf-job knows, in the order that --help lists them.
#include "workers/runtime/job.h"

extern const struct kf_job_kind kf_job_index;
extern const struct kf_job_kind kf_job_import;
extern const struct kf_job_kind kf_job_view;
extern const struct kf_job_kind kf_job_segment_bone;
extern const struct kf_job_kind kf_job_segment_head;
extern const struct kf_job_kind kf_job_segment_spine;
extern const struct kf_job_kind kf_job_segment_leg;
extern const struct kf_job_kind kf_job_mesh;
extern const struct kf_job_kind kf_job_register;
extern const struct kf_job_kind kf_job_register_points;
extern const struct kf_job_kind kf_job_register_surfaces;
extern const struct kf_job_kind kf_job_compare;
extern const struct kf_job_kind kf_job_compare_mesh;
extern const struct kf_job_kind kf_job_repair;

const struct kf_job_kind *const kf_job_kinds[] = {
    &kf_job_index,
    &kf_job_import,
    &kf_job_view,
    &kf_job_segment_bone,
    &kf_job_segment_head,
    &kf_job_segment_spine,
    &kf_job_segment_leg,
    &kf_job_mesh,
    &kf_job_register,
    &kf_job_register_points,
    &kf_job_register_surfaces,
    &kf_job_compare,
    &kf_job_compare_mesh,
    &kf_job_repair,
    NULL,
};
