// segment.leg: tibia and fibula of one or two legs in a CT, with their sides; the work is kf_leg_segment's. Here is
// what is asked of the input, how sure the result is, and what is said where there is none.
#include "workers/io/memory.h"
#include "workers/jobs/shared.h"
#include "workers/jobs/segment/leg.h"
#include "workers/runtime/cli.h"

#include <math.h>
#include <string.h>

#define REVIEW        0.7   // a planner must look below this
#define FIBULA_MM_MIN 280.0 // of adults: beyond these the spacing may be in wrong units
#define FIBULA_MM_MAX 450.0

static const struct {
    const char *name, *code, *meaning, *side, *colour;
} table[KF_LEG_LABELS] = {
    [KF_LEG_TIBIA_LEFT] = {"Left tibia", "12611008", "Bone structure of tibia", "left", "#e3d6b8"},
    [KF_LEG_FIBULA_LEFT] = {"Left fibula", "87342007", "Bone structure of fibula", "left", "#d9b382"},
    [KF_LEG_TIBIA_RIGHT] = {"Right tibia", "12611008", "Bone structure of tibia", "right", "#cfd8c4"},
    [KF_LEG_FIBULA_RIGHT] = {"Right fibula", "87342007", "Bone structure of fibula", "right", "#b7c99a"},
    [KF_LEG_TIBIA_UNSIDED] = {"Tibia (side unconfirmed)", "12611008", "Bone structure of tibia", NULL, "#e3d6b8"},
    [KF_LEG_FIBULA_UNSIDED] = {"Fibula (side unconfirmed)", "87342007", "Bone structure of fibula", NULL, "#d9b382"},
};

static const struct {
    const char *code, *text;
} refusals[] = {
    [KF_LEG_NO_BONE] = {"no_bone", "there is less than 5 ml of bone"},
    [KF_LEG_NO_PAIR] =
        {"no_leg",
         "no thin bone runs beside a thick one over 30 mm: not a lower leg, only one of its bones, or a knee or ankle "
         "with too little of the shafts"},
    [KF_LEG_JOINED] = {"leg_joined", "tibia and fibula could not be told from the bones next to them"},
    [KF_LEG_TWO_SIDES] = {"leg_sides", "the fibulas lie on sides that contradict the order of the two legs"},
};

// How sure a bone is, from what was seen: it falls with the strength of the separation, with sections too alike, with a
// length unlike that of adults, with metal and with gaps. A rule of thumb, not a probability.
static double confidence(const struct kf_legs *legs, const struct kf_leg *leg, int is_hu, int is_fibula)
{
    int whole = !leg->cropped_low && !leg->cropped_high;
    double sure = 0.95 - 0.02 * legs->strength;
    sure -= leg->radius_ratio < 1.5 ? 0.2 : 0;
    sure -= whole && (leg->fibula_mm < FIBULA_MM_MIN || leg->fibula_mm > FIBULA_MM_MAX) ? 0.2 : 0;
    sure -= !is_fibula && !leg->ends_seen ? 0.3 : 0;
    sure -= leg->shared_mm < 45 ? 0.15 : 0;
    sure -= leg->metal > 0.001 ? 0.3 : 0;
    sure -= legs->turned ? 0.3 : 0;
    sure -= is_fibula && leg->pieces > 1 ? 0.3 : 0;
    if (leg->tibia == KF_LEG_TIBIA_UNSIDED || leg->by_order || !is_hu)
        sure = fmin(sure, 0.5);
    if (legs->missed)
        sure = fmin(sure, 0.6);
    return fmax(sure, 0);
}

static json_t *segment(const struct kf_legs *legs, const struct kf_leg *leg, int is_hu, int is_fibula, double voxel_ml)
{
    int label = is_fibula ? leg->fibula : leg->tibia;
    double sure = confidence(legs, leg, is_hu, is_fibula);
    return json_pack("{s:i,s:s,s:{s:s,s:s,s:s},s:s?,s:s,s:I,s:f,s:f,s:s}", "label", label, "name", table[label].name,
                     "code", "scheme", "SCT", "value", table[label].code, "meaning", table[label].meaning, "side",
                     table[label].side, "colour", table[label].colour, "voxels", (json_int_t)leg->voxels[is_fibula],
                     "volume_ml", voxel_ml * (double)leg->voxels[is_fibula], "confidence", sure, "state",
                     sure < REVIEW ? "needs review" : "completed");
}

static json_t *leg_meta(const struct kf_legs *legs, int is_hu, const struct kf_grid *grid)
{
    double voxel_ml = grid->spacing_mm[0] * grid->spacing_mm[1] * grid->spacing_mm[2] / 1000;
    json_t *list = json_array();
    for (int label = 1; label < KF_LEG_LABELS; label++)
        for (int n = 0; n < legs->count; n++)
            if (legs->leg[n].tibia == label || legs->leg[n].fibula == label)
                json_array_append_new(list,
                                      segment(legs, &legs->leg[n], is_hu, legs->leg[n].fibula == label, voxel_ml));
    return json_pack("{s:o,s:o}", "grid", kf_grid_json(grid), "segments", list);
}

static void warn_of(struct kf_job_context *job, const struct kf_legs *legs, const struct kf_leg *leg)
{
    int whole = !leg->cropped_low && !leg->cropped_high;
    if (leg->tibia == KF_LEG_TIBIA_UNSIDED)
        kf_job_warn(job, "side_unconfirmed", "Whether this is a left or a right leg could not be told: name it.");
    if (leg->by_order)
        kf_job_warn(job, "side_by_order",
                    "The side of one leg was taken from the place beside the other alone: check it.");
    if (whole && (leg->fibula_mm < FIBULA_MM_MIN || leg->fibula_mm > FIBULA_MM_MAX))
        kf_job_warn(job, "length_unusual", "The fibula's length is unlike that of an adult: check the units.");
    if (leg->metal > 0.001)
        kf_job_warn(job, "metal", "There is metal in or on the bones: look at their borders.");
    if (leg->pieces > 1)
        kf_job_warn(job, "fibula_in_pieces", "The fibula was put together from pieces: look at the gaps.");
    if (!leg->ends_seen)
        kf_job_warn(job, "tibia_goes_on",
                    "The tibia goes on where the image cuts the fibula off: see that it ends at the joint.");
    if (legs->turned)
        kf_job_warn(job, "not_upright", "The leg lies far from the patient's axis: check its orientation and side.");
}

static void report(struct kf_job_context *job, const struct kf_legs *legs)
{
    json_t *list = json_array();
    for (int n = 0; n < legs->count; n++) {
        const struct kf_leg *leg = &legs->leg[n];
        json_array_append_new(
            list, json_pack("{s:s?,s:b,s:b,s:f,s:f,s:f,s:f,s:f,s:f,s:i}", "side", table[leg->tibia].side, "cropped_low",
                            leg->cropped_low, "cropped_high", leg->cropped_high, "shared_mm", leg->shared_mm,
                            "fibula_mm", leg->fibula_mm, "radius_ratio", leg->radius_ratio, "apart_mm", leg->apart_mm,
                            "lateral", leg->lateral, "metal_share", leg->metal, "fibula_pieces", leg->pieces));
        warn_of(job, legs, leg);
    }
    kf_job_report(job, "legs", list);
    kf_job_report(job, "leg_missed", json_boolean(legs->missed));
    if (legs->missed)
        kf_job_warn(
            job, "leg_missed",
            "Beside this leg lies bone of another, in which no tibia and fibula were told apart: it has no labels.");
    kf_job_report(job, "separation_step", json_integer(legs->strength));
    kf_job_report(job, "peak_memory_bytes", json_integer((json_int_t)kf_memory_peak()));
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    const struct kf_job_input *input;
    int is_hu;
    enum kf_status status = kf_job_ct_input(job, "the leg is", &input, &is_hu, err);
    if (status)
        return status;
    struct kf_job_work w;
    kf_job_work_init(&w, job);
    struct kf_legs legs = {0};
    struct kf_volume volume, labels = {0};
    kf_job_work_stage(&w, "reading", 0, 0.1);
    status = kf_job_read_volume(&w.work, input, KF_NIFTI_IMAGE, &volume, err);
    if (status)
        return status;
    status = kf_volume_alloc(&labels, &volume.grid, KF_VOXEL_UINT8, err);
    kf_job_work_stage(&w, "telling the bones apart", 0.1, 0.9);
    if (!status)
        status = kf_work_status(kf_leg_segment(&w.work, &volume, labels.data, &legs), err, "segmenting the leg");
    kf_volume_release(&volume);
    if (!status && legs.count == 0)
        status = kf_error_set(err, KF_UNPROCESSABLE, refusals[legs.reason].code, "%s", refusals[legs.reason].text);
    if (!status) {
        kf_job_work_stage(&w, "writing", 0.9, 1);
        status = kf_job_write_labels(&w, &labels, leg_meta(&legs, is_hu, &labels.grid), err);
    }
    if (!status)
        report(job, &legs);
    kf_volume_release(&labels);
    return status;
}

static const struct kf_cli_flag flags[] = {
    {"--image", KF_CLI_VOLUME, "volume", 1, "A CT volume of one or two lower legs in HU."},
    {0},
};

static const struct kf_job_cli cli = {
    .flags = flags,
    .names = kf_job_segmentation_names,
    .place = kf_job_place_segmentation,
    .examples = "  kerf-job segment.leg --image ct.nii.gz --out seg.nii.gz    (the label table goes to seg.json)\n",
};

static const struct kf_job_param params[] = {
    {0},
};

const struct kf_job_kind kf_job_segment_leg = {
    .name = "segment.leg",
    .version = 2,
    .bitwise = 1,
    .profile = KF_SANDBOX_OPENMP,
    .memory_limit_bytes = 12LL << 30,
    .time_limit_s = 600,
    .summary = "Finds tibia and fibula of one or two legs in a CT.",
    .params = params,
    .run = run,
    .cli = &cli,
};
