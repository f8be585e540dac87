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

// ---- register_transform.c: what register.points and register.surfaces share with it ----

// {"model","metric","frame","from","to","matrix","inverse","quality"} as register.c says; `quality` is stolen. A new
// reference, NULL without memory.
json_t *kf_register_transform_json(const char *model, const char *metric, const struct kf_affine *transform,
                                   const struct kf_affine *inverse, json_t *quality);
// Writes `file` (stolen, NULL: no memory) as transform.json and declares it as the output "transform".
KF_MUST_USE enum kf_status kf_register_transform_write(struct kf_job_context *job, json_t *file, struct kf_error *err);
// The matrix of a transform.json. KF_INVALID "transform_format".
KF_MUST_USE enum kf_status kf_register_transform_read(const struct kf_job_input *input, struct kf_affine *out,
                                                      struct kf_error *err);
// Command line: transform.json to --out.
KF_MUST_USE enum kf_status kf_register_transform_place(struct kf_job_context *job, struct kf_error *err);

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

// All points of an input: *count times three coordinates, mm, in *points (owned: free). KF_INVALID "points_csv" names
// the line that is none, KF_TOO_LARGE more than a million.
KF_MUST_USE enum kf_status kf_register_points_read(const struct kf_job_input *input, double **points, int64_t *count,
                                                   struct kf_error *err);

#endif
