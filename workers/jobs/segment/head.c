// segment.head: skull with maxilla, mandible, teeth of both jaws, airway, skin and the spine in the field, in a CT,
// without learned weights.
//
//   1. The body, filled; the air in it.
//   2. Bone by hysteresis within the body.
//   3. What speaks for a head: a vault around a brain, sinuses (head_evidence.c). Without them and without a mandible
//      the job refuses.
//   4. Cores: pieces of bone that surely are mandible, skull, spine, found by shape and place at the mildest separation
//      that shows a mandible (head_cores.c).
//   5. The cores compete for all bone (head_split.c).
//   6. Teeth by density within each jaw (head_teeth.c); the blurred rim of the bones goes, the jaw's marrow is filled.
// What was not found, or looks wrong, has a low confidence and the state "needs review".
#include "workers/io/memory.h"
#include "workers/jobs/segment/head.h"
#include "workers/jobs/shared.h"
#include "workers/kernels/math.h"
#include "workers/runtime/cli.h"

#include <math.h>
#include <string.h>

struct findings {
    struct kf_head_evidence evidence;
    struct kf_head_cores cores;
    double ml[KF_HEAD_LABELS];
    int64_t voxels[KF_HEAD_LABELS];
    double confidence[KF_HEAD_LABELS];
    struct kf_head_nerve nerve[2];      // left, right
    struct kf_head_teeth_seen teeth[2]; // upper, lower
    int nerves_sought;
    int nerves_thick; // the slices are too thick to tell a canal from other dark marrow
    int is_hu;
    int is_head; // 0: the search ended there
};

#define CROWN_ML   0.25 // enamel of one small crown
#define TURNED_DEG 50   // from here on nobody should trust left and right unseen

static const struct {
    const char *name, *code, *meaning, *colour; // code NULL: none that we could check
} table[KF_HEAD_LABELS] = {
    [KF_HEAD_SKULL] = {"Skull", "89546000", "Bone structure of cranium", "#e3d6b8"},
    [KF_HEAD_MANDIBLE] = {"Mandible", "91609006", "Bone structure of mandible", "#d9b382"},
    [KF_HEAD_UPPER_TEETH] = {"Upper teeth", "39481002", "Maxillary dental arch", "#ffffff"},
    [KF_HEAD_LOWER_TEETH] = {"Lower teeth", "88176008", "Mandibular dental arch", "#f4f0dc"},
    [KF_HEAD_AIRWAY] = {"Airway and sinuses", "89187006", "Airway structure", "#6fb7e0"},
    [KF_HEAD_SKIN] = {"Skin", "39937001", "Skin structure", "#e0ac8b"},
    [KF_HEAD_NERVE_LEFT] = {"Nerve canal left", NULL, NULL, "#ffd400"},
    [KF_HEAD_NERVE_RIGHT] = {"Nerve canal right", NULL, NULL, "#ffb000"},
    [KF_HEAD_SPINE] = {"Cervical spine", "122494005", "Cervical spine structure", "#b9c9a0"},
};

// Sets labels that are still 0 where the bit is set.
static void paint_free(const struct kf_bits *bits, uint8_t label, uint8_t *labels)
{
    for (int64_t k = 0, n = 0; k < bits->dim[2]; k++)
        for (int64_t j = 0; j < bits->dim[1]; j++)
            for (int64_t i = 0; i < bits->dim[0]; i++, n++)
                if (!labels[n] && kf_bits_get(bits, i, j, k))
                    labels[n] = label;
}

static enum kf_kernel_status find_nerves(const struct kf_work *work, const struct kf_volume *posed, uint8_t *labels,
                                         struct findings *f)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    f->nerves_thick = kf_head_nerve_thick(&posed->grid);
    for (int side = 0; side < 2 && !status; side++)
        status = kf_head_nerve_find(work, posed, &f->cores, labels, side ? -1 : 1, &f->nerve[side]);
    const struct kf_head_nerve found[2] = {f->nerve[0], f->nerve[1]};
    for (int side = 0; side < 2 && !status; side++)
        kf_head_nerve_interrupt(&posed->grid, labels, &f->cores, &found[1 - side], &f->nerve[side]);
    for (int side = 0; side < 2 && !status; side++)
        kf_head_nerve_paint(&posed->grid, &f->nerve[side], side ? KF_HEAD_NERVE_RIGHT : KF_HEAD_NERVE_LEFT, labels);
    return status;
}

// Shares out bone among the parts, once its cores are known.
static enum kf_kernel_status grow_parts(struct kf_job_work *w, const struct kf_volume *posed,
                                        const struct kf_head_settings *s, const struct kf_bits *bone, uint8_t *labels,
                                        struct findings *f)
{
    const struct kf_work *work = &w->work;
    kf_job_work_stage(w, "growing the parts", 0.6, 0.8);
    enum kf_kernel_status status = kf_head_split(work, posed, bone, &f->cores, labels);
    kf_job_work_stage(w, "finding teeth", 0.8, 0.9);
    if (!status && f->cores.mandible_found)
        status = kf_head_teeth(work, posed, &f->cores, labels);
    if (!status)
        status = kf_head_jaw_trim(work, posed, s, labels);
    if (!status)
        status = kf_head_rim_trim(work, posed, labels);
    if (!status && f->cores.mandible_found)
        status = kf_head_drop_tubes(work, &posed->grid, &f->cores, labels);
    for (int jaw = 0; jaw < 2 && !status; jaw++)
        kf_head_teeth_evidence(posed, labels, jaw ? KF_HEAD_LOWER_TEETH : KF_HEAD_UPPER_TEETH, &f->teeth[jaw]);
    if (!status)
        kf_head_field_check(&posed->grid, labels, &f->cores);
    kf_job_work_stage(w, "following the nerves", 0.9, 0.92);
    f->nerves_sought = f->cores.mandible_found && !f->cores.chin_cut && kf_head_nerve_in_field(&f->cores);
    if (!status && f->nerves_sought)
        status = find_nerves(work, posed, labels, f);
    return status;
}

static enum kf_kernel_status find_parts(struct kf_job_work *w, const struct kf_volume *volume,
                                        const struct kf_head_settings *s, uint8_t *labels, struct findings *f)
{
    const struct kf_work *work = &w->work;
    struct kf_bits body = {0}, air = {0}, bone = {0};
    kf_job_work_stage(w, "finding the body", 0.1, 0.2);
    enum kf_kernel_status status = kf_bits_alloc(work, volume->grid.dim, &body);
    if (!status)
        status = kf_bits_alloc(work, volume->grid.dim, &air);
    if (!status)
        status = kf_bits_alloc(work, volume->grid.dim, &bone);
    if (!status)
        status = kf_head_body(work, volume, &body);
    kf_job_work_stage(w, "finding the airway", 0.2, 0.3);
    if (!status)
        status = kf_head_airway(work, volume, &body, &air);
    kf_job_work_stage(w, "finding bone", 0.3, 0.4);
    if (!status)
        status = kf_head_bone(work, volume, s, &body, &bone);
    if (!status)
        status = kf_head_evidence_find(work, &volume->grid, &body, &air, &bone, &f->evidence);
    kf_job_work_stage(w, "telling the jaws apart", 0.4, 0.6);
    struct kf_head_frame frame;
    if (!status)
        status = kf_head_frame_find(work, volume, &body, &frame);
    if (!status)
        status = kf_head_cores_find(work, volume, &frame, &f->evidence, &f->cores);
    struct kf_volume posed = *volume; // from here on positions are those in the head
    if (!status)
        kf_head_frame_pose(&f->cores.frame, &posed.grid);
    f->is_head = f->cores.mandible_found || kf_head_evidence_suffices(&f->evidence);
    if (!status && f->is_head)
        status = grow_parts(w, &posed, s, &bone, labels, f);
    if (!status && f->is_head) {
        paint_free(&air, KF_HEAD_AIRWAY, labels);
        paint_free(&body, KF_HEAD_SKIN, labels);
    }
    kf_bits_release(work, &bone);
    kf_bits_release(work, &air);
    kf_bits_release(work, &body);
    return status;
}

static void measure(const struct kf_grid *g, const uint8_t *labels, struct findings *f)
{
    int64_t count = kf_grid_voxels(g);
    for (int64_t n = 0; n < count; n++)
        f->voxels[labels[n]]++;
    for (int l = 0; l < KF_HEAD_LABELS; l++)
        f->ml[l] = (double)f->voxels[l] * g->spacing_mm[0] * g->spacing_mm[1] * g->spacing_mm[2] / 1000;
}

static double turned_deg(const struct kf_head_frame *frame)
{
    return kf_acos(kf_head_frame_cosine(frame)) * 180 / KF_PI;
}

static double teeth_sure(const struct kf_head_teeth_seen *seen)
{
    // On phantoms the Dice is about edge − 0.7 metal; roots, found in part only, always want a look.
    return 0.7 * fmax(seen->edge - 0.7 * seen->metal, 0) * fmin(seen->enamel_ml / CROWN_ML, 1);
}

// Confidence falls with the strength of the separation that was needed and with what is unlike anatomy. It is a rule of
// thumb, not a probability; below 0.7 a planner must look.
static void judge(struct findings *f)
{
    const struct kf_head_cores *c = &f->cores;
    double jaw = c->mandible_found ? 0.95 - 0.02 * c->step : 0;
    if (f->ml[KF_HEAD_MANDIBLE] < 30 || f->ml[KF_HEAD_MANDIBLE] > 95)
        jaw = fmin(jaw, 0.5);
    if (c->pieces > 1)
        jaw = fmin(jaw, 0.6);
    if (c->joints_cut || c->chin_cut)
        jaw = fmin(jaw, 0.6);
    f->confidence[KF_HEAD_MANDIBLE] = jaw;
    f->confidence[KF_HEAD_SKULL] = c->mandible_found ? fmin(0.9, jaw + (c->atlas_apart ? 0 : -0.3)) : 0.3;
    // What has no evidence of its own stays below what a planner may take unseen.
    f->confidence[KF_HEAD_SPINE] = c->mandible_found && c->atlas_apart ? 0.65 : 0.3;
    f->confidence[KF_HEAD_UPPER_TEETH] = fmin(jaw, teeth_sure(&f->teeth[0]));
    f->confidence[KF_HEAD_LOWER_TEETH] = fmin(jaw, teeth_sure(&f->teeth[1]));
    for (int side = 0; side < 2; side++)
        f->confidence[KF_HEAD_NERVE_LEFT + side] = fmin(
            fmin(jaw, f->nerves_thick || f->nerve[side].interrupted ? 0.3 : 0.65), 0.2 + 0.6 * f->nerve[side].seen);
    f->confidence[KF_HEAD_AIRWAY] = 0.65;
    f->confidence[KF_HEAD_SKIN] = 0.9;
    int turned = turned_deg(&c->frame) > TURNED_DEG;
    for (int l = 1; l < KF_HEAD_LABELS; l++)
        if (!f->is_hu || (turned && l != KF_HEAD_SKIN))
            f->confidence[l] = fmin(f->confidence[l], 0.5);
}

static json_t *code_json(int label)
{
    if (!table[label].code)
        return json_null();
    return json_pack("{s:s, s:s, s:s}", "scheme", "SCT", "value", table[label].code, "meaning", table[label].meaning);
}

static json_t *path_json(const struct kf_head_frame *frame, const struct kf_head_nerve *nerve)
{
    json_t *path = json_array();
    for (int64_t n = 0; n < nerve->count; n++) {
        double p[3];
        kf_head_frame_to_lps(frame, nerve->point[n], p);
        json_array_append_new(path, json_pack("[f, f, f]", p[0], p[1], p[2]));
    }
    return path;
}

static json_t *head_meta(const struct kf_grid *grid, const struct findings *f)
{
    json_t *segments = json_array();
    for (int l = 1; l < KF_HEAD_LABELS; l++) {
        if (!f->voxels[l])
            continue;
        double sure = fmax(f->confidence[l], 0);
        json_t *segment =
            json_pack("{s:i, s:s, s:o, s:s, s:I, s:f, s:f, s:s}", "label", l, "name", table[l].name, "code",
                      code_json(l), "colour", table[l].colour, "voxels", (json_int_t)f->voxels[l], "volume_ml",
                      f->ml[l], "confidence", sure, "state", sure < 0.7 ? "needs review" : "completed");
        if (segment && (l == KF_HEAD_NERVE_LEFT || l == KF_HEAD_NERVE_RIGHT)) {
            const struct kf_head_nerve *nerve = &f->nerve[l - KF_HEAD_NERVE_LEFT];
            json_object_set_new(segment, "path_lps_mm", path_json(&f->cores.frame, nerve));
            json_object_set_new(segment, "length_mm", json_real(nerve->length_mm));
        }
        json_array_append_new(segments, segment);
    }
    return json_pack("{s:o, s:o}", "grid", kf_grid_json(grid), "segments", segments);
}

static json_t *frame_json(const struct kf_head_frame *frame)
{
    json_t *rows[3];
    for (int a = 0; a < 3; a++)
        rows[a] = json_pack("[f, f, f]", frame->axis[3 * a], frame->axis[3 * a + 1], frame->axis[3 * a + 2]);
    return json_pack("{s:o, s:o, s:o, s:f, s:f, s:b}", "left", rows[0], "back", rows[1], "up", rows[2], "turned_deg",
                     turned_deg(frame), "symmetry", frame->symmetry, "pitch_found", frame->pitch_found);
}

static json_t *outside_json(const struct kf_head_cores *c)
{
    json_t *list = json_array();
    if (c->skull_cut)
        json_array_append_new(list, json_string("skull"));
    if (c->joints_cut)
        json_array_append_new(list, json_string("joints"));
    if (c->chin_cut)
        json_array_append_new(list, json_string("chin"));
    return list;
}

static json_t *teeth_json(const struct kf_head_teeth_seen *seen)
{
    return json_pack("{s:f, s:f, s:f}", "edge_share", seen->edge, "metal_share", seen->metal, "enamel_ml",
                     seen->enamel_ml);
}

static void report(struct kf_job_context *job, const struct findings *f)
{
    const struct kf_head_cores *c = &f->cores;
    kf_job_report(job, "frame", frame_json(&c->frame));
    kf_job_report(job, "evidence",
                  json_pack("{s:f, s:f}", "brain_ml", f->evidence.brain_ml, "sinus_ml", f->evidence.sinus_ml));
    kf_job_report(job, "mandible_ml", json_real(f->ml[KF_HEAD_MANDIBLE]));
    kf_job_report(job, "mandible_pieces", json_integer(c->pieces));
    kf_job_report(job, "separation_step", json_integer(c->step));
    kf_job_report(job, "upper_teeth", teeth_json(&f->teeth[0]));
    kf_job_report(job, "lower_teeth", teeth_json(&f->teeth[1]));
    kf_job_report(job, "spine_apart", json_boolean(c->atlas_apart));
    kf_job_report(job, "outside_of_the_field", outside_json(c));
    kf_job_report(job, "peak_memory_bytes", json_integer((json_int_t)kf_memory_peak()));
    if (!c->mandible_found)
        kf_job_warn(job, "no_mandible",
                    "No piece of bone has the shape and place of a mandible: all bone is one segment.");
    else if (c->pieces > 1)
        kf_job_warn(job, "mandible_in_pieces", "The mandible was found in %d pieces: look at the gaps.", c->pieces);
    if (c->joints_cut || c->chin_cut)
        kf_job_warn(job, "mandible_cut",
                    c->joints_cut && c->chin_cut
                        ? "Joints and chin of the jaw lie outside of the field, or some of them."
                    : c->chin_cut ? "The chin lies outside of the field, or some of it."
                                  : "The joints of the jaw lie outside of the field, or some of them.");
    if (c->mandible_found && !f->nerves_sought)
        kf_job_warn(job, "nerve_outside",
                    "A foramen of the nerve canals lies outside of the field: the canals were not sought.");
    for (int side = 0; side < 2; side++)
        if (f->nerve[side].interrupted)
            kf_job_warn(job, "nerve_interrupted",
                        "Bone is missing where the nerve canal on the %s must run: its way ends there or is left out.",
                        side ? "right" : "left");
        else if (f->nerves_sought && f->nerve[side].count < 2)
            kf_job_warn(job, "nerve_missing", "The nerve canal on the %s was sought and not found.",
                        side ? "right" : "left");
    if (f->nerves_thick && (f->nerve[0].count > 1 || f->nerve[1].count > 1))
        kf_job_warn(job, "nerve_thick_slices",
                    "The slices are thicker than half a nerve canal: its way may be a wrong one, look at all of it.");
    if (c->mandible_found && turned_deg(&c->frame) > TURNED_DEG)
        kf_job_warn(job, "turned",
                    "The head lies otherwise than the scanner says: look whether left and right are right.");
    if (c->mandible_found && !c->atlas_apart)
        kf_job_warn(job, "spine_on_skull",
                    "Skull and spine could not be told apart: part of the spine is in the skull.");
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    const struct kf_job_input *input;
    int is_hu;
    enum kf_status status = kf_job_ct_input(job, "the head is", &input, &is_hu, err);
    if (status)
        return status;
    struct kf_job_work w;
    kf_job_work_init(&w, job);
    struct kf_head_settings s = {kf_job_double(job, "bone_hu"), kf_job_double(job, "jaw_hu"),
                                 kf_job_double(job, "island_ml")};
    struct findings f = {.is_hu = is_hu};
    struct kf_volume volume, labels = {0};
    kf_job_work_stage(&w, "reading", 0, 0.1);
    status = kf_job_read_volume(&w.work, input, KF_NIFTI_IMAGE, &volume, err);
    if (status)
        return status;
    status = kf_volume_alloc(&labels, &volume.grid, KF_VOXEL_UINT8, err);
    if (!status) {
        memset(labels.data, 0, (size_t)kf_grid_voxels(&volume.grid));
        status = kf_work_status(find_parts(&w, &volume, &s, labels.data, &f), err, "segmenting the head");
    }
    kf_volume_release(&volume);
    if (!status && !f.is_head)
        status = kf_error_set(err, KF_UNPROCESSABLE, "no_head",
                              "there is no lower jaw, no skull around a brain and no sinuses: this is another part of "
                              "the body, or too little of a head is in the field");
    if (!status) {
        measure(&labels.grid, labels.data, &f);
        judge(&f);
        if (f.ml[KF_HEAD_SKULL] + f.ml[KF_HEAD_MANDIBLE] < 5)
            status = kf_error_set(err, KF_UNPROCESSABLE, "no_bone", "no bone of a head was found");
    }
    if (!status) {
        kf_job_work_stage(&w, "writing", 0.92, 1);
        status = kf_job_write_labels(&w, &labels, head_meta(&labels.grid, &f), err);
    }
    if (!status)
        report(job, &f);
    kf_head_cores_release(&w.work, &f.cores);
    kf_head_evidence_release(&w.work, &f.evidence);
    kf_volume_release(&labels);
    return status;
}

// ---- command line and parameters ----

static const struct kf_cli_flag flags[] = {
    {"--image", KF_CLI_VOLUME, "volume", 1, "A CT volume of a head in HU."},
    {0},
};

static const struct kf_job_cli cli = {
    .flags = flags,
    .names = kf_job_segmentation_names,
    .place = kf_job_place_segmentation,
    .examples = "  kerf-job segment.head --image ct.nii.gz --out seg.nii.gz    (the label table goes to seg.json)\n",
};

static const struct kf_job_param params[] = {
    {"bone_hu", KF_PARAM_DOUBLE, 100, 1000, 250, NULL, "HU", "Voxels at or above this may be bone."},
    {"jaw_hu", KF_PARAM_DOUBLE, 100, 1500, 830, NULL, "HU",
     "From here on a voxel of the mandible is bone in any case; below, from half of the densest cortex near it on."},
    {"island_ml", KF_PARAM_DOUBLE, 0, 100, 0.1, NULL, "ml", "Pieces of bone smaller than this are dropped."},
    {0},
};

const struct kf_job_kind kf_job_segment_head = {
    .name = "segment.head",
    .version = 4,
    .bitwise = 1,
    .profile = KF_SANDBOX_OPENMP,
    .memory_limit_bytes = 12LL << 30,
    .time_limit_s = 600,
    .summary = "Tells skull, mandible, teeth, airway, skin and spine apart in a CT of a head.",
    .params = params,
    .run = run,
    .cli = &cli,
};
