// segment.bone: bone in a CT by hysteresis threshold and island rules. Skull and mandible come as they are: telling
// bones apart is another job.
//
//   1. The body: everything above the air of lungs and foam, opened (the thin shells of tables and headrests go), its
//      large pieces, closed again by filling. What lies outside is no bone, however dense.
//   2. Bone: voxels at or above threshold_hu, in pieces that reach seed_hu somewhere.
//   3. Pieces under island_ml go: noise, streaks of metal, calcified vessels.
//   4. Closing by close_mm and filling of cavities up to fill_ml, so that the surface has no bubbles.
#include "workers/io/memory.h"
#include "workers/jobs/segment/coarse.h"
#include "workers/jobs/shared.h"
#include "workers/kernels/bits.h"
#include "workers/runtime/cli.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define PIECE_SHARE 0.005 // of the largest piece of the body that another piece of it must have

struct settings {
    double threshold_hu, seed_hu, body_hu;
    double island_ml, close_mm, fill_ml, least_ml;
    int body;
};

struct findings {
    double voxel_ml;
    int64_t above;   // voxels at or above the threshold
    int64_t outside; // of those, outside of the body
    int64_t islands; // pieces dropped as too small
    int64_t filled;  // voxels set in cavities
    int64_t voxels;
    double largest_ml;
    int64_t pieces;
};

static struct settings read_settings(const struct kf_job_context *job)
{
    return (struct settings){
        .threshold_hu = kf_job_double(job, "threshold_hu"),
        .seed_hu = kf_job_double(job, "seed_hu"),
        .body_hu = kf_job_double(job, "body_hu"),
        .island_ml = kf_job_double(job, "island_ml"),
        .close_mm = kf_job_double(job, "close_mm"),
        .fill_ml = kf_job_double(job, "fill_ml"),
        .least_ml = kf_job_double(job, "least_ml"),
        .body = kf_job_boolean(job, "body_only"),
    };
}

// Keeps the largest piece and those that have at least `share` of it: two legs, an arm beside the trunk.
static enum kf_kernel_status keep_large(const struct kf_work *work, struct kf_bits *bits, double share)
{
    struct kf_components c;
    enum kf_kernel_status status = kf_components_find(work, bits, KF_NEIGHBOURS_6, &c);
    if (status)
        return status;
    uint8_t *keep = kf_work_take(work, c.count);
    if (keep) {
        int64_t most = 0;
        for (int64_t n = 0; n < c.count; n++)
            most = c.table[n].voxels > most ? c.table[n].voxels : most;
        for (int64_t n = 0; n < c.count; n++)
            keep[n] = (double)c.table[n].voxels >= share * (double)most;
        kf_components_draw(work, &c, keep, bits);
    }
    kf_work_give(work, keep);
    kf_components_release(work, &c);
    return keep ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
}

// A radius in mm that reaches at most six voxels on the finest axis, which the ball is made for.
static double ball_mm(const struct kf_grid *g, double wanted_mm)
{
    double finest = fmin(g->spacing_mm[0], fmin(g->spacing_mm[1], g->spacing_mm[2]));
    return fmin(wanted_mm, 6 * finest);
}

// The patient without table and headrest: the large pieces that survive an erosion, grown back a little more than it
// took, so that bone under the skin stays whole.
static enum kf_kernel_status find_body(const struct kf_work *work, const struct kf_volume *volume, const void *of,
                                       struct kf_bits *body)
{
    const struct settings *s = of;
    const double *spacing = volume->grid.spacing_mm;
    double coarsest = fmax(spacing[0], fmax(spacing[1], spacing[2]));
    enum kf_kernel_status status = kf_bits_threshold(work, volume, s->body_hu, 1e9, body);
    if (!status)
        status = kf_bits_erode(work, body, spacing, ball_mm(&volume->grid, 3));
    if (!status)
        status = keep_large(work, body, PIECE_SHARE);
    if (!status)
        status = kf_bits_dilate(work, body, spacing, ball_mm(&volume->grid, 5 + coarsest));
    if (!status)
        status = kf_bits_fill_holes(work, body, KF_NEIGHBOURS_4, 0, NULL);
    return status;
}

static enum kf_kernel_status remove_outside(struct kf_job_work *w, const struct kf_volume *volume,
                                            const struct settings *s, struct kf_bits *bone, struct findings *f)
{
    struct kf_bits body;
    enum kf_kernel_status status = kf_bits_alloc(&w->work, bone->dim, &body);
    if (!status)
        status = kf_find_coarsely(&w->work, volume, find_body, s, &body);
    if (!status) {
        kf_bits_combine(&w->work, bone, KF_BITS_AND, &body);
        f->outside = f->above - kf_bits_count(&w->work, bone);
    }
    kf_bits_release(&w->work, &body);
    return status;
}

static enum kf_kernel_status measure(const struct kf_work *work, const struct kf_bits *bone, struct findings *f)
{
    struct kf_components c;
    enum kf_kernel_status status = kf_components_find(work, bone, KF_NEIGHBOURS_26, &c);
    if (status)
        return status;
    int64_t largest = 0;
    f->voxels = 0;
    for (int64_t n = 0; n < c.count; n++) {
        f->voxels += c.table[n].voxels;
        largest = c.table[n].voxels > largest ? c.table[n].voxels : largest;
    }
    f->pieces = c.count;
    f->largest_ml = (double)largest * f->voxel_ml;
    kf_components_release(work, &c);
    return KF_KERNEL_OK;
}

static enum kf_kernel_status find_bone(struct kf_job_work *w, const struct kf_volume *volume, const struct settings *s,
                                       struct kf_bits *bone, struct findings *f)
{
    const struct kf_work *work = &w->work;
    struct kf_bits seeds;
    kf_job_work_stage(w, "thresholding", 0.15, 0.25);
    enum kf_kernel_status status = kf_bits_threshold(work, volume, s->threshold_hu, 1e9, bone);
    if (status)
        return status;
    f->above = kf_bits_count(work, bone);
    kf_job_work_stage(w, "finding the body", 0.25, 0.5);
    if (s->body && f->above)
        status = remove_outside(w, volume, s, bone, f);
    if (!status)
        status = kf_bits_alloc(work, bone->dim, &seeds);
    if (status)
        return status;
    kf_job_work_stage(w, "growing bone", 0.5, 0.65);
    status = kf_bits_threshold(work, volume, s->seed_hu, 1e9, &seeds);
    if (!status)
        status = kf_bits_hysteresis(work, bone, &seeds);
    kf_bits_release(work, &seeds);
    kf_job_work_stage(w, "removing islands", 0.65, 0.75);
    if (!status)
        status =
            kf_bits_drop_islands(work, bone, KF_NEIGHBOURS_26, (int64_t)ceil(s->island_ml / f->voxel_ml), &f->islands);
    kf_job_work_stage(w, "filling cavities", 0.75, 0.85);
    if (!status && s->close_mm > 0)
        status = kf_bits_close(work, bone, volume->grid.spacing_mm, ball_mm(&volume->grid, s->close_mm));
    if (!status && s->fill_ml > 0)
        status = kf_bits_fill_holes(work, bone, KF_NEIGHBOURS_6, (int64_t)(s->fill_ml / f->voxel_ml), &f->filled);
    return status ? status : measure(work, bone, f);
}

// ---- what goes in and out ----

static enum kf_status check_bone(const struct findings *f, const struct settings *s, struct kf_error *err)
{
    if (f->largest_ml >= s->least_ml)
        return KF_OK;
    return kf_error_set(err, KF_UNPROCESSABLE, "no_bone",
                        "no bone was found: %.2f ml lie at or above %g HU, the largest piece that reaches %g HU inside "
                        "the body has %.2f ml, and %.2f ml are needed",
                        (double)f->above * f->voxel_ml, s->threshold_hu, s->seed_hu, f->largest_ml, s->least_ml);
}

static json_t *bone_meta(const struct kf_grid *grid, const struct settings *s, const struct findings *f)
{
    return json_pack("{s:o, s:[{s:i, s:s, s:{s:s, s:s, s:s}, s:s, s:I, s:f, s:I, s:f}]}", "grid", kf_grid_json(grid),
                     "segments", "label", 1, "name", "Bone", "code", "scheme", "SCT", "value", "272673000", "meaning",
                     "Bone", "colour", "#e8dcc0", "voxels", (json_int_t)f->voxels, "volume_ml",
                     (double)f->voxels * f->voxel_ml, "components", (json_int_t)f->pieces, "threshold_hu",
                     s->threshold_hu);
}

static void report(struct kf_job_context *job, const struct findings *f)
{
    kf_job_report(job, "bone_ml", json_real((double)f->voxels * f->voxel_ml));
    kf_job_report(job, "largest_ml", json_real(f->largest_ml));
    kf_job_report(job, "pieces", json_integer((json_int_t)f->pieces));
    kf_job_report(job, "islands_removed", json_integer((json_int_t)f->islands));
    kf_job_report(job, "outside_body_ml", json_real((double)f->outside * f->voxel_ml));
    kf_job_report(job, "filled_ml", json_real((double)f->filled * f->voxel_ml));
    kf_job_report(job, "peak_memory_bytes", json_integer((json_int_t)kf_memory_peak()));
}

static enum kf_status write_labels(struct kf_job_work *w, const struct kf_grid *grid, const struct kf_bits *bone,
                                   const struct settings *s, const struct findings *f, struct kf_error *err)
{
    struct kf_volume labels;
    enum kf_status status = kf_volume_alloc(&labels, grid, KF_VOXEL_UINT8, err);
    if (status)
        return status;
    memset(labels.data, 0, (size_t)kf_grid_voxels(grid));
    kf_bits_paint(&w->work, bone, 1, labels.data);
    kf_job_work_stage(w, "writing", 0.88, 1);
    status = kf_job_write_labels(w, &labels, bone_meta(grid, s, f), err);
    kf_volume_release(&labels);
    return status;
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    const struct kf_job_input *input;
    int is_hu;
    enum kf_status status = kf_job_ct_input(job, "bone is", &input, &is_hu, err);
    if (status)
        return status;
    struct kf_job_work w;
    kf_job_work_init(&w, job);
    struct settings s = read_settings(job);
    struct findings f = {0};
    struct kf_volume volume;
    struct kf_bits bone = {0};
    kf_job_work_stage(&w, "reading", 0, 0.15);
    status = kf_job_read_volume(&w.work, input, KF_NIFTI_IMAGE, &volume, err);
    if (status)
        return status;
    struct kf_grid grid = volume.grid;
    f.voxel_ml = grid.spacing_mm[0] * grid.spacing_mm[1] * grid.spacing_mm[2] / 1000;
    status = kf_work_status(kf_bits_alloc(&w.work, grid.dim, &bone), err, "bone");
    if (!status)
        status = kf_work_status(find_bone(&w, &volume, &s, &bone, &f), err, "segmenting bone");
    kf_volume_release(&volume);
    if (!status)
        status = check_bone(&f, &s, err);
    if (!status)
        status = write_labels(&w, &grid, &bone, &s, &f, err);
    kf_bits_release(&w.work, &bone);
    report(job, &f);
    return status;
}

// ---- command line and parameters ----

static const struct kf_cli_flag flags[] = {
    {"--image", KF_CLI_VOLUME, "volume", 1, "A CT volume in HU."},
    {0},
};

static const struct kf_job_cli cli = {
    .flags = flags,
    .names = kf_job_segmentation_names,
    .place = kf_job_place_segmentation,
    .examples = "  kerf-job segment.bone --image ct.nii.gz --out seg.nii.gz    (the label table goes to seg.json)\n"
                "  kerf-job segment.bone --image study/ --out seg/    (a DICOM segmentation, SEG.dcm, and seg.json)\n",
};

static const struct kf_job_param params[] = {
    {"threshold_hu", KF_PARAM_DOUBLE, -1000, 4000, 250, NULL, "HU", "Voxels at or above this may be bone."},
    {"seed_hu", KF_PARAM_DOUBLE, -1000, 4000, 450, NULL, "HU",
     "A piece counts as bone only if some voxel of it is at or above this."},
    {"island_ml", KF_PARAM_DOUBLE, 0, 1000, 0.25, NULL, "ml", "Pieces smaller than this are dropped."},
    {"close_mm", KF_PARAM_DOUBLE, 0, 5, 0, NULL, "mm", "Radius of the ball that closes small gaps; 0 closes none."},
    {"fill_ml", KF_PARAM_DOUBLE, 0, 1000, 2, NULL, "ml", "Closed cavities up to this size become bone."},
    {"body_only", KF_PARAM_BOOLEAN, 0, 0, 1, NULL, "1", "Leaves out what lies outside of the patient."},
    {"body_hu", KF_PARAM_DOUBLE, -1000, 500, -300, NULL, "HU",
     "The patient is what lies at or above this in large pieces."},
    {"least_ml", KF_PARAM_DOUBLE, 0, 1000, 2, NULL, "ml",
     "The largest piece must have at least this, else the job fails with no_bone."},
    {0},
};

const struct kf_job_kind kf_job_segment_bone = {
    .name = "segment.bone",
    .version = 2,
    .bitwise = 1,
    .profile = KF_SANDBOX_OPENMP,
    .memory_limit_bytes = 12LL << 30,
    .time_limit_s = 600,
    .summary = "Finds bone in a CT by hysteresis threshold and island rules.",
    .params = params,
    .run = run,
    .cli = &cli,
};
