// Inside of the register job: what its parts share.
#ifndef KERF_JOBS_REGISTER_JOB_H
#define KERF_JOBS_REGISTER_JOB_H

#include "workers/jobs/shared.h"
#include "workers/kernels/field_rigid.h"
#include "workers/kernels/register_deform.h"

// A point p of the fixed image lies at transform · (p + d(p)) in the moving one.
struct kf_register_job {
    struct kf_job_work w;
    struct kf_volume fixed, moving, fixed_mask, moving_mask, rigid_labels;
    struct kf_affine transform, inverse;
    struct kf_register_report report;
    int deformable;
    struct kf_field field; // xyz NULL unless deformable; owned: kf_field_release
    struct kf_register_deform_report deform;
    struct kf_rigid_part parts[KF_RIGID_PARTS]; // what stays rigid within the deformation
    int part_count;
};

// Whether an output is to be made: on the command line when its flag is there, in the service when `otherwise`.
int kf_register_wants(const struct kf_job_context *job, const char *flag, int otherwise);

// ---- register_field.c ----

// Finds j->field beyond j->transform, and warns of what a person should look at.
KF_MUST_USE enum kf_status kf_register_find_field(struct kf_register_job *j, struct kf_error *err);
// How to use the displacements, and their quality; a new reference, NULL without memory.
json_t *kf_register_field_json(const struct kf_register_job *j);
// Writes the displacement and the inverse one, as far as they are wanted.
KF_MUST_USE enum kf_status kf_register_write_field(struct kf_register_job *j, struct kf_error *err);

// ---- register_carry.c ----

// Carries the inputs "points" (fixed → moving) and "points_back" (moving → fixed), where they are given.
KF_MUST_USE enum kf_status kf_register_carry(struct kf_register_job *j, struct kf_error *err);

#endif
