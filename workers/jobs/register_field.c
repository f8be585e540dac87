// The deformable part of a registration: the field, what it is worth, and its files.
#include "workers/io/memory.h"
#include "workers/jobs/register_job.h"
#include "workers/kernels/math.h"

#define WAYS_MM    2.0  // the mean that both directions should not disagree by more
#define SQUEEZED   0.25 // Jacobian below which something is pressed to a quarter
#define STRETCHED  4.0
#define INVERSE_MM 0.5  // mean way that forth and back may miss
#define BENT_MM    1.5  // what a rigid part was bent by before it was made rigid
#define UNFOLDED   0.05 // least Jacobian between rigid parts

static const char convention[] =
    "q = matrix · (p + d(p)): p is a point and d the displacement in LPS mm of the fixed frame, q lies in the moving "
    "image. d is linear between the nodes of its grid, and outside of it what it is at the border. Back: r = inverse · "
    "q, then p = r + e(r), where e is the inverse displacement, likewise in the fixed frame.";

static const char *const dropped[] = {
    [KF_DEFORM_KEPT] = NULL, [KF_DEFORM_WAYS_DIFFER] = "ways_differ", [KF_DEFORM_NO_GAIN] = "no_gain"};

static json_t *millimetres(double value)
{
    return value < 0 ? json_null() : json_real(value);
}

static json_t *parts_json(const struct kf_register_job *j)
{
    json_t *list = json_array();
    for (int i = 0; i < j->part_count; i++) {
        const struct kf_rigid_part *p = &j->parts[i];
        json_array_append_new(list, json_pack("{s:i,s:I,s:f,s:f,s:f}", "label", p->label, "voxels",
                                              (json_int_t)p->voxels, "rotation_deg", p->turn_rad * 180 / KF_PI,
                                              "bent_mm", p->bent_mm, "residual_mm", p->left_mm));
    }
    return list;
}

json_t *kf_register_field_json(const struct kf_register_job *j)
{
    const struct kf_register_deform_report *q = &j->deform;
    json_t *json =
        json_pack("{s:s,s:s,s:o,s:f,s:f,s:b,s:f,s:f,s:o,s:o,s:f,s:f,s:f,s:f}", "convention", convention, "frame",
                  "LPS mm", "grid", kf_grid_json(&j->field.grid), "jacobian_least", q->jacobian.least, "jacobian_most",
                  q->jacobian.most, "folds", q->jacobian.least <= 0, "inverse_mean_mm", q->inverse_mean_mm,
                  "inverse_max_mm", q->inverse_max_mm, "ways_mean_mm", millimetres(q->ways_mean_mm), "ways_max_mm",
                  millimetres(q->ways_max_mm), "moved_mean_mm", q->moved_mean_mm, "moved_max_mm", q->moved_max_mm,
                  "difference_before", q->before, "difference_after", q->after);
    if (json && json_object_set_new(json, "dropped", q->dropped ? json_string(dropped[q->dropped]) : json_null())) {
        json_decref(json);
        return NULL;
    }
    if (json && j->part_count && json_object_set_new(json, "rigid_parts", parts_json(j))) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static void warn(const struct kf_register_job *j)
{
    const struct kf_register_deform_report *q = &j->deform;
    struct kf_job_context *job = j->w.job;
    if (q->jacobian.least < SQUEEZED || q->jacobian.most > STRETCHED)
        kf_job_warn(job, "strong_deformation", "volumes change by factors of %.2f to %.2f; look at the fused view",
                    q->jacobian.least, q->jacobian.most);
    if (q->dropped == KF_DEFORM_WAYS_DIFFER)
        kf_job_warn(job, "ways_differ",
                    "both directions disagree by %.1f mm on average: neither is believed, the rigid map stays as it is",
                    q->ways_mean_mm);
    else if (q->ways_mean_mm > WAYS_MM)
        kf_job_warn(job, "ways_differ", "both directions disagree by %.1f mm on average", q->ways_mean_mm);
    if (q->inverse_mean_mm > INVERSE_MM)
        kf_job_warn(job, "inverse_misses", "forth and back misses by %.1f mm on average", q->inverse_mean_mm);
    if (q->dropped == KF_DEFORM_NO_GAIN)
        kf_job_warn(job, "no_gain",
                    "no deformation makes the images more alike than the rigid map does, which stays as it is");
}

static enum kf_status keep_rigid(struct kf_register_job *j, struct kf_error *err)
{
    if (!j->rigid_labels.data)
        return KF_OK;
    if (!kf_job_same_grid(&j->rigid_labels.grid, &j->fixed.grid))
        return kf_error_set(err, KF_INVALID, "grids_differ",
                            "the rigid labels do not lie on the grid of the fixed image");
    enum kf_kernel_status done =
        kf_field_keep_rigid(&j->w.work, &j->rigid_labels, kf_job_double(j->w.job, "rigid_blend_mm"), UNFOLDED,
                            &j->field, j->parts, &j->part_count);
    if (done == KF_KERNEL_INVALID)
        return kf_error_set(err, KF_UNPROCESSABLE, "rigid_parts",
                            "the rigid labels are empty, or would have to move into each other");
    if (!done)
        done = kf_register_deform_judge(&j->w.work, &j->field, &j->deform);
    for (int i = 0; i < j->part_count && !done; i++)
        if (j->parts[i].bent_mm > BENT_MM)
            kf_job_warn(j->w.job, "rigid_part_bent", "label %d was bent by %.1f mm before it was made rigid",
                        j->parts[i].label, j->parts[i].bent_mm);
    return kf_work_status(done, err, "keeping parts rigid");
}

enum kf_status kf_register_find_field(struct kf_register_job *j, struct kf_error *err)
{
    const struct kf_job_context *job = j->w.job;
    const struct kf_register_deform how = {
        .linear = &j->transform,
        .fixed_mask = j->fixed_mask.data ? &j->fixed_mask : NULL,
        .grid_mm = kf_job_double(job, "grid_mm"),
        .stiffness = kf_job_double(job, "stiffness"),
        .both_ways = kf_job_boolean(job, "both_ways"),
    };
    enum kf_kernel_status done = kf_register_deform(&j->w.work, &j->fixed, &j->moving, &how, &j->field, &j->deform);
    if (done == KF_KERNEL_INVALID)
        return kf_error_set(
            err, KF_UNPROCESSABLE, "not_deformed",
            "no deformation can be found: fewer than 4 or more than 400 nodes on an axis, images that do "
            "not overlap or are all of one value, or folds");
    enum kf_status status = kf_work_status(done, err, "deforming");
    if (!status)
        status = keep_rigid(j, err);
    if (!status)
        warn(j);
    return status;
}

static enum kf_status write_one(struct kf_register_job *j, const struct kf_field *field, const char *name,
                                const char *file, struct kf_error *err)
{
    struct kf_job_context *job = j->w.job;
    const char *path = kf_job_output_path(job, file);
    if (!path)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the displacement");
    enum kf_status status = kf_nifti_write_vectors(&j->w.work, path, &field->grid, field->xyz, err);
    if (!status)
        status = kf_job_output(job, name, "displacement", file, "application/gzip",
                               json_pack("{s:o,s:s,s:s}", "grid", kf_grid_json(&field->grid), "frame",
                                         "LPS mm of the fixed image", "convention", convention));
    return status;
}

enum kf_status kf_register_write_field(struct kf_register_job *j, struct kf_error *err)
{
    enum kf_status status = KF_OK;
    if (kf_register_wants(j->w.job, "--displacement", 1))
        status = write_one(j, &j->field, "displacement", "displacement.nii.gz", err);
    if (status || !kf_register_wants(j->w.job, "--inverse", 1))
        return status;
    struct kf_field inverse;
    status = kf_work_status(kf_field_invert(&j->w.work, &j->field, &inverse), err, "inverting the deformation");
    if (status)
        return status;
    status = write_one(j, &inverse, "inverse", "inverse.nii.gz", err);
    kf_field_release(&j->w.work, &inverse);
    return status;
}
