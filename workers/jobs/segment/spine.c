// segment.spine: the vertebrae of a CT or an MR one by one with their levels, sacrum, discs, canal, and what lies in it.
//
//   1. On 2 mm: the canal as the path most enclosed by bone (spine_canal.c).
//   2. On the working grid around it: discs across the bodies' axis (spine_split.c), marrow of old bone by the shells
//      around it (spine_marrow.c), bodies within their walls (spine_body.c), bone shared out by watershed from them,
//      discs between end plates, canal within its walls (spine_parts.c); sac, cord, ligamentum flavum and nerve roots
//      in it (spine_neural.c).
//   3. Levels by ribs and sacrum, or none (spine_level.c).
//   4. Back on the image's grid.
// An MR is turned into what a CT would show between 1 and 2 (spine_mr.c); its canal is found by its fluid.
#include "workers/io/memory.h"
#include "workers/jobs/segment/spine.h"
#include "workers/jobs/segment/spine_mr.h"
#include "workers/jobs/shared.h"
#include "workers/kernels/image.h"
#include "workers/kernels/math.h"
#include "workers/kernels/resample.h"
#include "workers/runtime/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COARSE_MM     2.0
#define SIDE_MM       66.0 // of the working box beside, before and behind the canal
#define FRONT_MM      62.0
#define BACK_MM       84.0
#define SACRUM_MM     60.0 // below the canal's end: a sacrum goes on where its canal is no longer seen
#define SHORTER_MM    20   // than the usual look's canal: as good
#define LEAST_ML      5.0  // a vertebra beyond these was cut off, merged or ran out into something else
#define MOST_ML       110.0
#define SURE          0.7    // from here on a named segment needs no special look
#define BY_METAL      0.7    // streaks cannot be taken away without a trace
#define DOUBTFUL      0.3    // evidence of a vertebra below which it may be two, or a half
#define FINE_MM       1.25   // the planning quality gate
#define SHELL_SIDE_MM 2.0    // voxels up to here show shells nearly as bright as they are
#define ON_AXIS       0.9999 // cosine
#define LEAST_STEP    0.65   // of what was asked for
#define LEAST_VOXEL   0.55
#define LEAST_FAT     500 // of a million voxels below -30 HU: every CT of a trunk has fat or air, no MR has either
#define MR_STEP_MM    0.7  // a wall of bone is a millimetre thick: in voxels of its size it is half lost
#define EVEN_SPREAD   0.13 // of a body's values in a good MR

// Voxel sizes near `step` along the patient's axes that make each voxel of the image one of the grid's where they can:
// then no value is smoothed by interpolation, and labels come back where they were found. In mm.
static void steps_near(const struct kf_grid *image, double step, double out[3])
{
    double volume = 1;
    for (int a = 0; a < 3; a++) {
        out[a] = step;
        for (int b = 0; b < 3; b++) {
            double spacing = image->spacing_mm[b];
            if (fabs(image->direction[3 * a + b]) > ON_AXIS && spacing >= LEAST_STEP * step)
                out[a] = spacing / floor(fmax(1, spacing / step + 0.5));
        }
        volume *= out[a];
    }
    if (volume < LEAST_VOXEL * step * step * step)
        out[0] = out[1] = out[2] = step;
}

// A grid with the patient's axes over a box, whose first voxel is one of the image's.
static void patient_grid(const struct kf_grid *image, const double box[2][3], double step, struct kf_grid *out)
{
    double ijk[3], p[3];
    *out = (struct kf_grid){.direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    steps_near(image, step, out->spacing_mm);
    kf_grid_to_ijk(image, box[0], ijk);
    for (int a = 0; a < 3; a++)
        ijk[a] = floor(ijk[a] + 0.5);
    kf_grid_to_lps(image, ijk, p);
    for (int a = 0; a < 3; a++) {
        out->origin_lps[a] = p[a];
        out->dim[a] = (int64_t)((box[1][a] - p[a]) / out->spacing_mm[a] + 1e-6) + 1;
    }
}

static void whole_box(const struct kf_grid *g, double box[2][3])
{
    for (int corner = 0; corner < 8; corner++) {
        double ijk[3], p[3];
        for (int a = 0; a < 3; a++)
            ijk[a] = corner >> a & 1 ? (double)(g->dim[a] - 1) : 0;
        kf_grid_to_lps(g, ijk, p);
        for (int a = 0; a < 3; a++) {
            box[0][a] = corner && box[0][a] < p[a] ? box[0][a] : p[a];
            box[1][a] = corner && box[1][a] > p[a] ? box[1][a] : p[a];
        }
    }
}

static void spine_box(const struct kf_spine *spine, const double whole[2][3], double box[2][3])
{
    static const double margin[2][3] = {{SIDE_MM, FRONT_MM, SACRUM_MM}, {SIDE_MM, BACK_MM, 12}};
    for (int n = 0; n < spine->stations; n++)
        for (int a = 0; a < 3; a++) {
            double p = spine->station[n].p[a];
            box[0][a] = n && box[0][a] < p - margin[0][a] ? box[0][a] : p - margin[0][a];
            box[1][a] = n && box[1][a] > p + margin[1][a] ? box[1][a] : p + margin[1][a];
        }
    for (int a = 0; a < 3; a++) {
        box[0][a] = fmax(box[0][a], whole[0][a]);
        box[1][a] = fmin(box[1][a], whole[1][a]);
    }
}

// `in` (int16) on the patient's axes at about `step`, block means first where the image is finer.
static enum kf_status resampled(const struct kf_work *work, const struct kf_volume *in, const double box[2][3],
                                double step, struct kf_volume *out, struct kf_error *err)
{
    static const double same[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    struct kf_grid grid, reduced;
    struct kf_volume mean = {.type = in->type};
    int64_t factor[3];
    for (int a = 0; a < 3; a++)
        factor[a] = (int64_t)fmax(1, floor(step / in->grid.spacing_mm[a] + 0.1));
    kf_reduce_grid(&in->grid, factor, &reduced);
    patient_grid(&reduced, box, step, &grid);
    enum kf_status status = kf_volume_alloc(&mean, &reduced, in->type, err);
    if (!status)
        status = kf_work_status(kf_reduce(work, in, factor, &mean), err, "reducing");
    if (!status)
        status = kf_volume_alloc(out, &grid, in->type, err);
    if (!status)
        status = kf_work_status(kf_resample(work, &mean, same, KF_RESAMPLE_LINEAR, -1000, out), err, "resampling");
    kf_volume_release(&mean);
    return status;
}

// Numbers that stay: the level's when it is named, else one that says unknown.
static int final_label(const struct kf_spine *spine, int label)
{
    int shift = label > KF_SPINE_DISC && label < KF_SPINE_SACRUM ? KF_SPINE_DISC : 0, place = label - shift;
    if (label >= KF_SPINE_SACRUM || label == 0)
        return label == KF_SPINE_REST ? 0 : label;
    return shift + (spine->named ? spine->lowest - (spine->vertebrae - place) : KF_SPINE_UNKNOWN + place - 1);
}

// What the table needs of each label: voxels, and whether it reaches the border of the image.
struct tally {
    int64_t count[256];
    int cut[256], metal[256]; // metal: it touches some
    int is_hu;    // 0: the values are not Hounsfield units, whatever was found in them is for a person
    double sharp; // 1 up to voxels of FINE_MM, less for larger ones: a surface is no surer than its voxels are small
};

static void number(const struct kf_spine *spine, struct kf_volume *labels, struct tally *tally)
{
    const int64_t *dim = labels->grid.dim;
    const double *spacing = labels->grid.spacing_mm;
    tally->sharp = spine->even * fmin(1, FINE_MM / fmax(spacing[0], fmax(spacing[1], spacing[2])));
    uint8_t *label = labels->data, map[256];
    for (int n = 0; n < 256; n++)
        map[n] = (uint8_t)final_label(spine, n);
    for (int64_t k = 0, v = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++, v++) {
                label[v] = map[label[v]];
                tally->count[label[v]]++;
                tally->cut[label[v]] |=
                    i == 0 || j == 0 || k == 0 || i == dim[0] - 1 || j == dim[1] - 1 || k == dim[2] - 1;
                const int64_t before[3] = {i ? v - 1 : v, j ? v - dim[0] : v, k ? v - dim[0] * dim[1] : v};
                for (int n = 0; n < 3; n++) {
                    tally->metal[label[v]] |= label[before[n]] == KF_SPINE_METAL;
                    tally->metal[label[before[n]]] |= label[v] == KF_SPINE_METAL;
                }
            }
}

// ---- how sure we are, from 0 to 1 ----

// A disc: its contrast against that of the discs near it.
static double disc_evidence(const struct kf_spine *spine, int d)
{
    return fmin(1, fmax(0, spine->disc[d].contrast_hu / spine->disc[d].usual_hu));
}

// Vertebra at place i of those numbered from `first`: the weaker of the discs beside it; the field must hold it whole;
// and it may not differ much in volume from the vertebrae beside it (×1.2 is common, ×2 is two in one).
static double vertebra_evidence(const struct kf_spine *spine, const struct tally *tally, int first, int i)
{
    double split = 1, size = 0;
    for (int d = i - 1; d <= i; d++)
        split = d >= 0 && d < spine->discs ? fmin(split, disc_evidence(spine, d)) : split;
    int beside = 0;
    for (int n = i - 1; n <= i + 1; n += 2)
        if (n >= 0 && n < spine->vertebrae && tally->count[first + n] > 0 && !tally->cut[first + n]) {
            size += fabs(kf_ln((double)(tally->count[first + i] + 1) / (double)tally->count[first + n]));
            beside++;
        }
    size = beside ? fmax(0, 1 - fmax(0, size / beside - 0.2) / 0.5) : 0.5;
    return 0.95 * split * size * (tally->cut[first + i] ? 0.5 : 1);
}

// Names count up from the lowest vertebra: one in doubt, two in one or a half of one, puts all above it in doubt.
static double count_evidence(const struct kf_spine *spine, const struct tally *tally, int first, int place)
{
    double least = 1;
    for (int n = place + 1; n < spine->vertebrae; n++)
        least = fmin(least, vertebra_evidence(spine, tally, first, n));
    return least < DOUBTFUL ? 0.4 : 1;
}

static double confidence_of(const struct kf_spine *spine, const struct tally *tally, int label, double volume_ml)
{
    int disc = label > KF_SPINE_DISC && label < KF_SPINE_SACRUM,
        first = spine->named ? spine->lowest - spine->vertebrae + 1 : KF_SPINE_UNKNOWN;
    int place = (disc ? label - KF_SPINE_DISC : label) - first;
    double sure = 0;
    if (label == KF_SPINE_METAL)
        return 0.9; // nothing else is as dense
    if (label >= KF_SPINE_CORD)
        return kf_spine_neural_sure(spine, label);
    if (label >= KF_SPINE_SACRUM) { // the canal is as sure as the column around it on the whole
        for (int d = 0; d < spine->discs; d++)
            sure += 0.9 * disc_evidence(spine, d) / spine->discs;
        return tally->cut[label] && label == KF_SPINE_SACRUM ? 0.5 * sure : sure;
    }
    if (disc)
        sure = 0.9 * disc_evidence(spine, place) * (tally->cut[label] ? 0.5 : 1);
    else if (volume_ml <= MOST_ML && volume_ml >= LEAST_ML)
        sure = vertebra_evidence(spine, tally, first, place);
    if (!spine->named)
        return sure;
    // A level in doubt is in doubt for all of them.
    return fmin(sure * (0.5 + 0.5 * spine->clear), count_evidence(spine, tally, first, place));
}

// ---- the table ----

static void level_name(int label, char out[16])
{
    if (label <= 7)
        snprintf(out, 16, "C%d", label);
    else if (label <= KF_SPINE_T12)
        snprintf(out, 16, "T%d", label - 7);
    else
        snprintf(out, 16, "L%d", label - KF_SPINE_T12);
}

// SNOMED CT: the general concept where the level is unconfirmed, or where we are not certain of the special one.
static json_t *segment(const struct kf_spine *spine, const struct tally *tally, int label, double volume_ml)
{
    static const char *const colours[3] = {"#e8dcc0", "#d9c39a", "#c8b89e"};
    char name[96], level[16] = "", under[16];
    const char *code = "51282000", *meaning = "Vertebra", *colour = colours[label % 3];
    // Unconfirmed levels are for a person whatever the shape, and so is all that was never measured against truth.
    double confidence =
        tally->sharp * confidence_of(spine, tally, label, volume_ml) *
        (tally->metal[label] && label != KF_SPINE_METAL ? BY_METAL : 1);
    int measured = label < KF_SPINE_SACRUM || label == KF_SPINE_CANAL;
    const char *state = spine->named && measured && tally->is_hu && confidence >= SURE ? "completed" : "needs review";
    int disc = label > KF_SPINE_DISC && label < KF_SPINE_SACRUM, bone = disc ? label - KF_SPINE_DISC : label;
    if (label == KF_SPINE_SACRUM) {
        snprintf(name, sizeof name, "Sacrum");
        code = "54735007", meaning = "Sacrum";
    } else if (label == KF_SPINE_METAL) {
        snprintf(name, sizeof name, "Implants");
        code = "260787004", meaning = "Physical object", colour = "#8d99a6";
    } else if (label >= KF_SPINE_CANAL) {
        struct kf_spine_name own = kf_spine_neural_name(label);
        snprintf(name, sizeof name, "%s", own.name);
        code = own.code, meaning = own.meaning, colour = own.colour;
    } else if (spine->named) {
        level_name(bone, level);
        level_name(bone + 1, under);
        if (disc)
            snprintf(name, sizeof name, "Disc %s-%s", level, bone == KF_SPINE_L5 ? "S1" : under);
        else
            snprintf(name, sizeof name, "Vertebra %s", level);
    } else
        snprintf(name, sizeof name, "%s %d of %d (level unconfirmed)", disc ? "Disc below vertebra" : "Vertebra",
                 bone - KF_SPINE_UNKNOWN + 1, spine->vertebrae);
    if (disc)
        code = "360499006", meaning = "Intervertebral disc", colour = "#7fc8a9";
    return json_pack("{s:i,s:s,s:{s:s,s:s,s:s},s:s,s:o,s:f,s:s,s:f}", "label", label, "name", name, "code", "scheme",
                     "SCT", "value", code, "meaning", meaning, "colour", colour, "level",
                     level[0] && !disc ? json_string(level) : json_null(), "confidence", confidence, "state", state,
                     "volume_ml", volume_ml);
}

static json_t *table(const struct kf_spine *spine, const struct kf_grid *grid, const struct tally *tally)
{
    double voxel_ml = grid->spacing_mm[0] * grid->spacing_mm[1] * grid->spacing_mm[2] / 1000;
    json_t *list = json_array();
    for (int n = 1; n < KF_SPINE_REST; n++)
        if (tally->count[n]) {
            double ml = voxel_ml * (double)tally->count[n];
            json_array_append_new(list, segment(spine, tally, n, ml));
        }
    return json_pack("{s:o,s:s,s:o}", "grid", kf_grid_json(grid), "levels", spine->named ? "named" : "unconfirmed",
                     "segments", list);
}

static void report(struct kf_job_context *job, const struct kf_spine *spine)
{
    kf_job_report(job, "canal_mm", json_integer(spine->stations));
    kf_job_report(job, "discs", json_integer(spine->discs));
    kf_job_report(job, "vertebrae", json_integer(spine->vertebrae));
    kf_job_report(job, "sacrum", json_boolean(spine->sacrum));
    kf_job_report(job, "levels", json_string(spine->named ? "named" : "unconfirmed"));
    kf_job_report(job, "peak_memory_bytes", json_integer((json_int_t)kf_memory_peak()));
    if (spine->metal)
        kf_job_warn(job, "metal",
                    "There are implants: their streaks were reduced, and the borders of bone near them need a look.");
    if (spine->arches_by_form)
        kf_job_warn(job, "arches_by_form",
                    "Arches and processes hardly show by their values alone: their usual form had a say. Where one was "
                    "taken away or is unusual, it needs a look.");
    if (!spine->named)
        kf_job_warn(job, "level_unconfirmed",
                    "The levels are not confirmed: ribs five vertebrae above a sacrum were not both found (an MR does "
                    "not show them well enough). Two people must name them.");
}

static enum kf_status no_discs(struct kf_error *err)
{
    return kf_error_set(err, KF_UNPROCESSABLE, "no_discs",
                        "no discs lie in front of what looks like a spinal canal: this is another part of the body (the "
                        "marrow of a long bone looks like a canal too), or fewer than two vertebrae are in the field");
}

// ---- the pipeline ----

static enum kf_status find_canal(struct kf_job_work *w, const struct kf_volume *image, int thin,
                                 struct kf_spine *spine, struct kf_error *err)
{
    struct kf_volume coarse = {.data = NULL};
    double whole[2][3];
    whole_box(&image->grid, whole);
    enum kf_status status = resampled(&w->work, image, (const double(*)[3])whole, COARSE_MM, &coarse, err);
    if (!status)
        status = kf_work_status(kf_spine_find_canal(&w->work, &coarse, thin, spine), err, "finding the canal");
    kf_volume_release(&coarse);
    return status;
}

// A CT's column as a look shows it.
struct look {
    struct kf_spine spine;
    struct kf_volume fine; // the working grid around it
    uint8_t *metal;        // one byte per voxel of fine; spine.metal says whether there is any
    int thin;              // which look
};

static void release_look(struct kf_job_work *w, struct look *look)
{
    kf_work_give(&w->work, look->metal);
    kf_volume_release(&look->fine);
    *look = (struct look){.metal = NULL};
}

static enum kf_status find_discs(struct kf_job_work *w, const struct kf_volume *image, struct look *look,
                                 struct kf_error *err)
{
    double whole[2][3], box[2][3];
    const double *spacing = image->grid.spacing_mm;
    double step = fmin(fmax(fmin(spacing[0], fmin(spacing[1], spacing[2])), 0.7), 1.5);
    whole_box(&image->grid, whole);
    spine_box(&look->spine, (const double(*)[3])whole, box);
    enum kf_status status = resampled(&w->work, image, (const double(*)[3])box, step, &look->fine, err);
    kf_job_work_stage(w, "finding discs", 0.35, 0.45);
    if (!status)
        look->metal = kf_work_take(&w->work, kf_grid_voxels(&look->fine.grid));
    if (!status && !look->metal)
        status = kf_error_set(err, KF_NOMEM, NULL, "no memory for metal");
    if (!status)
        status = kf_work_status(kf_spine_mend_metal(&w->work, &look->fine, look->metal, &look->spine.metal), err,
                                "reducing streaks");
    if (!status)
        status = kf_work_status(kf_spine_find_discs(&w->work, &look->fine, KF_SPINE_NEAREST_MM, &look->spine), err,
                                "finding discs");
    if (!status && look->spine.discs > 0)
        kf_spine_name(&look->fine, &look->spine);
    return status;
}

// Whether a look shows more of a column than the one before it: more discs; of as many a sacrum below them, or more
// canal. In old bone the usual look's path may run on through marrow and find a disc there: that does not count.
static int shows_more(const struct look *now, const struct look *before)
{
    const struct kf_spine *a = &now->spine, *b = &before->spine;
    if (a->discs == b->discs)
        return a->sacrum != b->sacrum ? a->sacrum : a->stations > b->stations;
    if (before->thin == 0 && a->discs > 0 && a->stations + SHORTER_MM >= b->stations)
        return 1;
    return a->discs > b->discs;
}

// Another look, which takes thinner shells for bone. It counts when it shows more: where shells are lost in noise the
// canal's path ends early, with one threshold in one patient and with another in the next. A look that has come as far
// as the sacrum needs no other, which would only find a disc within it.
static enum kf_status look_again(struct kf_job_work *w, const struct kf_volume *image, int thin, struct look *first,
                                 struct kf_error *err)
{
    struct look second = {.spine = first->spine, .thin = thin};
    second.spine.discs = second.spine.stations = 0;
    second.spine.station = kf_work_take(&w->work, KF_SPINE_STATIONS * (int64_t)sizeof *second.spine.station);
    if (!second.spine.station)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the canal");
    struct kf_spine_station *own = second.spine.station;
    enum kf_status status = find_canal(w, image, thin, &second.spine, err);
    if (!status && second.spine.stations > 0)
        status = find_discs(w, image, &second, err);
    if (!status && shows_more(&second, first)) {
        struct look before = *first;
        memcpy(before.spine.station, own, (size_t)second.spine.stations * sizeof *own);
        second.spine.station = before.spine.station;
        *first = second;
        second = before;
    }
    release_look(w, &second);
    kf_work_give(&w->work, own);
    return status;
}

static enum kf_status find_column(struct kf_job_work *w, const struct kf_volume *image, double spongy_hu,
                                  struct look *look, struct kf_error *err)
{
    kf_job_work_stage(w, "finding the canal", 0.15, 0.3);
    enum kf_status status = find_canal(w, image, 0, &look->spine, err);
    if (!status && look->spine.stations > 0)
        status = find_discs(w, image, look, err);
    int again = !status && (look->spine.stations == 0 || kf_spine_is_dark(&look->fine, &look->spine, spongy_hu));
    for (int thin = 1; thin < KF_SPINE_LOOKS && again && !status && !look->spine.sacrum; thin++)
        status = look_again(w, image, thin, look, err);
    if (!status && look->spine.stations == 0)
        status = kf_error_set(err, KF_UNPROCESSABLE, "no_spine", "no spinal canal of at least 40 mm was found");
    if (!status && look->spine.discs == 0)
        status = no_discs(err);
    return status;
}

// The same for an MR: `image` (levelled), `fine` as a CT would show it, `seen` as it is.
static enum kf_status find_mr_column(struct kf_job_work *w, const struct kf_volume *image, struct kf_spine *spine,
                                     struct kf_spine_mr *mr, struct kf_volume *fine, struct kf_volume *seen,
                                     struct kf_error *err)
{
    struct kf_volume coarse = {.data = NULL}, smooth = {.data = NULL};
    double whole[2][3], box[2][3];
    whole_box(&image->grid, whole);
    kf_job_work_stage(w, "finding the canal", 0.2, 0.3);
    enum kf_status status = resampled(&w->work, image, (const double(*)[3])whole, COARSE_MM, &coarse, err);
    if (!status)
        status = kf_work_status(kf_spine_mr_canal(&w->work, &coarse, spine), err, "finding the canal");
    kf_volume_release(&coarse);
    if (!status && spine->stations == 0)
        status = kf_error_set(err, KF_UNPROCESSABLE, "no_spine",
                              "no canal of at least 40 mm that is brighter than its wall was found");
    if (status)
        return status;
    spine_box(spine, (const double(*)[3])whole, box);
    status = resampled(&w->work, image, (const double(*)[3])box, MR_STEP_MM, seen, err);
    kf_job_work_stage(w, "finding discs", 0.3, 0.4);
    if (!status)
        status = kf_volume_alloc(&smooth, &seen->grid, KF_VOXEL_INT16, err);
    if (!status)
        status = kf_work_status(kf_spine_mr_denoise(&w->work, seen, &smooth), err, "taking the noise out");
    if (!status)
        status = kf_work_status(kf_spine_mr_discs(&w->work, seen, &smooth, spine, mr), err, "finding discs");
    if (!status && spine->discs == 0)
        status = no_discs(err);
    if (!status && !mr->has_bodies)
        status = kf_error_set(err, KF_UNPROCESSABLE, "no_bodies",
                              "what lies 14 to 28 mm before the canal is no row of bodies: a neck is not told apart");
    if (!status && !mr->is_t2)
        status = kf_error_set(err, KF_UNPROCESSABLE, "not_t2",
                              "the discs are brighter than the bodies: only T2-weighted MR is told apart");
    if (!status)
        status = kf_volume_alloc(fine, &seen->grid, KF_VOXEL_INT16, err);
    if (!status)
        status = kf_work_status(kf_spine_mr_as_ct(&w->work, &smooth, spine, mr, fine), err, "telling tissues apart");
    kf_volume_release(&smooth);
    return status;
}

static enum kf_status fill_mr_discs(struct kf_job_work *w, const struct kf_volume *ct, const struct kf_spine *spine,
                                    uint8_t *labels, struct kf_error *err)
{
    uint8_t *scratch = kf_work_take(&w->work, kf_grid_voxels(&ct->grid));
    if (!scratch)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the discs");
    kf_spine_mr_fill_discs(&w->work, ct, spine, labels, scratch);
    kf_work_give(&w->work, scratch);
    return KF_OK;
}

// Shells are a millimetre thick: what a voxel holds of one falls as its longest side grows.
static struct kf_spine_bone usual_bone(const struct kf_grid *grid, double shell_hu)
{
    double side = fmax(grid->spacing_mm[0], fmax(grid->spacing_mm[1], grid->spacing_mm[2]));
    shell_hu *= fmin(1, fmax(0.57, 1 - 0.43 * (side - SHELL_SIDE_MM)));
    return (struct kf_spine_bone){.shell_hu = shell_hu, .spongy_hu = KF_SPINE_SPONGY * shell_hu};
}

// `fine` in Hounsfield units; what lies in the canal is looked for in `seen`, by `look`. metal: implants, one byte per
// voxel of fine, or NULL.
static enum kf_status label_column(struct kf_job_work *w, const struct kf_grid *grid, struct kf_spine *spine,
                                   const struct kf_volume *fine, const struct kf_volume *seen,
                                   const struct kf_spine_look *look, const struct kf_spine_bone *bone,
                                   const uint8_t *metal, struct kf_volume *labels, struct kf_error *err)
{
    static const double same[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    struct kf_volume work_labels = {.data = NULL};
    enum kf_status status = kf_volume_alloc(&work_labels, &fine->grid, KF_VOXEL_UINT8, err);
    kf_job_work_stage(w, "telling vertebrae apart", 0.45, 0.75);
    if (!status)
        status = kf_work_status(kf_spine_split(&w->work, fine, bone, fine == seen, spine, work_labels.data), err,
                                "telling vertebrae apart");
    if (!status && fine != seen)
        status = fill_mr_discs(w, fine, spine, work_labels.data, err);
    if (!status)
        status = kf_work_status(kf_spine_fill_canal(&w->work, fine, spine, work_labels.data), err, "the canal");
    if (!status)
        status = kf_work_status(kf_spine_find_neural(&w->work, seen, look, spine, work_labels.data), err,
                                "the nerves");
    for (int64_t v = 0; !status && metal && v < kf_grid_voxels(&fine->grid); v++)
        if (metal[v])
            ((uint8_t *)work_labels.data)[v] = KF_SPINE_METAL;
    if (!status)
        status = kf_volume_alloc(labels, grid, KF_VOXEL_UINT8, err);
    kf_job_work_stage(w, "back to the image", 0.8, 0.88);
    if (!status)
        status = kf_work_status(kf_resample(&w->work, &work_labels, same, KF_RESAMPLE_NEAREST, 0, labels), err,
                                "resampling");
    kf_volume_release(&work_labels);
    return status;
}

// Whether any part is like a vertebra at all: the shaft of a long bone, cut in two, has none of a vertebra's size.
static int has_vertebra(const struct kf_spine *spine, const struct kf_grid *g, const struct tally *tally)
{
    double voxel_ml = g->spacing_mm[0] * g->spacing_mm[1] * g->spacing_mm[2] / 1000;
    for (int n = 0; n < spine->vertebrae; n++) {
        int label = final_label(spine, 1 + n);
        if (confidence_of(spine, tally, label, voxel_ml * (double)tally->count[label]) > 0)
            return 1;
    }
    return 0;
}

static enum kf_status write_labels(struct kf_job_work *w, const struct kf_spine *spine, int is_hu,
                                   struct kf_volume *labels, struct kf_error *err)
{
    struct tally tally = {.is_hu = is_hu};
    number(spine, labels, &tally);
    if (!has_vertebra(spine, &labels->grid, &tally))
        return kf_error_set(err, KF_UNPROCESSABLE, "no_spine",
                            "no part of what looks like a column has the size of a vertebra: this is another part of "
                            "the body");
    kf_job_work_stage(w, "writing", 0.88, 1);
    return kf_job_write_labels(w, labels, table(spine, &labels->grid, &tally), err);
}

// A file without a header may hold anything; values of fat and air below water are what CT alone has.
static int is_like_hu(const struct kf_volume *image)
{
    int64_t voxels = kf_grid_voxels(&image->grid), below = 0;
    const int16_t *hu = image->data;
    for (int64_t v = 0; v < voxels; v++)
        below += hu[v] < -30;
    return below * 1000000 >= voxels * LEAST_FAT;
}

// By the parameter, else by the volume's own metadata; what says nothing is a CT.
static enum kf_status modality(struct kf_job_context *job, int *is_mr, struct kf_error *err)
{
    const struct kf_job_input *input = kf_job_input_named(job, "volume");
    const char *wish = kf_job_text(job, "modality");
    if (strcmp(wish, "auto") != 0 && strcmp(wish, "ct") != 0 && strcmp(wish, "mr") != 0)
        return kf_error_set(err, KF_INVALID, "bad_modality", "modality is auto, ct or mr");
    *is_mr = strcmp(wish, "mr") == 0 ||
             (strcmp(wish, "auto") == 0 && input && strcmp(kf_json_text(input->meta, "modality", "CT"), "MR") == 0);
    return KF_OK;
}

// How far a voxel reaches along the patient's axis, mm.
static double slice_mm(const struct kf_grid *grid)
{
    double sum = 0;
    for (int n = 0; n < 3; n++)
        sum += fabs(grid->direction[6 + n]) * grid->spacing_mm[n];
    return sum;
}

static enum kf_status label_ct(struct kf_job_work *w, struct kf_volume *image, struct kf_spine *spine,
                               struct kf_volume *labels, struct kf_error *err)
{
    struct kf_grid grid = image->grid;
    struct kf_spine_bone bone = usual_bone(&grid, kf_job_double(w->job, "bone_hu"));
    enum kf_status status = KF_OK;
    spine->slice_mm = slice_mm(&grid);
    struct look look = {.spine = *spine};
    if (image->type != KF_VOXEL_INT16)
        status = kf_error_set(err, KF_UNPROCESSABLE, "not_hu", "the values are not whole Hounsfield units");
    if (!status && !is_like_hu(image))
        status = kf_error_set(err, KF_UNPROCESSABLE, "not_hu",
                              "the values are not Hounsfield units (an MR? then say modality mr): there is no fat or "
                              "air in them");
    if (!status)
        status = find_column(w, image, bone.spongy_hu, &look, err);
    *spine = look.spine;
    kf_volume_release(image);
    if (!status)
        status = kf_work_status(kf_spine_lift_marrow(&w->work, &look.fine, spine, &bone), err, "reading the bone");
    if (!status)
        status = label_column(w, &grid, spine, &look.fine, &look.fine, &kf_spine_ct_look, &bone,
                              spine->metal ? look.metal : NULL, labels, err);
    release_look(w, &look);
    return status;
}

static enum kf_status label_mr(struct kf_job_work *w, struct kf_volume *image, struct kf_spine *spine,
                               struct kf_volume *labels, struct kf_error *err)
{
    struct kf_volume level = {.data = NULL}, fine = {.data = NULL}, seen = {.data = NULL};
    struct kf_grid grid = image->grid;
    const struct kf_spine_bone bone = {KF_SPINE_MR_BONE_HU, KF_SPINE_SPONGY * KF_SPINE_MR_BONE_HU};
    struct kf_spine_mr mr = {.slice_mm = slice_mm(&grid)};
    kf_job_work_stage(w, "evening out the shading", 0.1, 0.2);
    enum kf_status status = kf_volume_alloc(&level, &grid, KF_VOXEL_INT16, err);
    if (!status)
        status = kf_work_status(kf_spine_mr_level(&w->work, image, &level), err, "evening out the shading");
    kf_volume_release(image);
    if (!status)
        status = find_mr_column(w, &level, spine, &mr, &fine, &seen, err);
    kf_volume_release(&level);
    if (!status)
        status = label_column(w, &grid, spine, &fine, &seen, &mr.look, &bone, NULL, labels, err);
    if (!status)
        spine->even = fmin(1, EVEN_SPREAD / fmax(EVEN_SPREAD, mr.spread));
    // Ribs are not to be told from muscle's fat in an MR, and from the sacrum alone one in seven is misnumbered.
    spine->named = 0;
    kf_volume_release(&seen);
    kf_volume_release(&fine);
    return status;
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    const struct kf_job_input *input = kf_job_input_named(job, "volume");
    int is_hu = 0, is_mr = 0;
    enum kf_status status = modality(job, &is_mr, err);
    if (!status && is_mr && !input)
        status = kf_error_set(err, KF_INVALID, "input_missing", "the job needs an input named volume");
    if (!status && !is_mr)
        status = kf_job_ct_input(job, "without modality mr the spine is", &input, &is_hu, err);
    if (status)
        return status;
    struct kf_job_work w;
    kf_job_work_init(&w, job);
    struct kf_spine spine = {.even = 1};
    struct kf_volume image = {.data = NULL}, labels = {.data = NULL};
    kf_job_work_stage(&w, "reading", 0, 0.1);
    status = kf_job_read_volume(&w.work, input, KF_NIFTI_IMAGE, &image, err);
    if (!status) {
        spine.station = kf_memory_take(KF_SPINE_STATIONS * (int64_t)sizeof *spine.station);
        status = spine.station ? KF_OK : kf_error_set(err, KF_NOMEM, NULL, "no memory for the canal");
    }
    if (!status)
        status = (is_mr ? label_mr : label_ct)(&w, &image, &spine, &labels, err);
    kf_volume_release(&image);
    if (!status)
        status = write_labels(&w, &spine, is_hu, &labels, err);
    if (!status)
        report(job, &spine);
    kf_volume_release(&labels);
    kf_memory_release(spine.station);
    return status;
}

static const struct kf_cli_flag flags[] = {
    {"--image", KF_CLI_VOLUME, "volume", 1, "A CT volume in HU, or an MR."},
    {0},
};

static const struct kf_job_cli cli = {
    .flags = flags,
    .names = kf_job_segmentation_names,
    .place = kf_job_place_segmentation,
    .examples = "  kerf-job segment.spine --image ct.nii.gz --out seg.nii.gz    (the label table goes to seg.json)\n",
};

static const struct kf_job_param params[] = {
    {"bone_hu", KF_PARAM_DOUBLE, 100, 1000, 430, NULL, "HU",
     "Shells of bone are at or above this in voxels of up to 2 mm and at less in larger ones, at 57 % of it from 3 mm; "
     "spongy bone inside them may have a third of it. Where it has less, both are read from the image. CT only."},
    {"modality", KF_PARAM_TEXT, 0, 0, 0, "auto", "1",
     "auto: as the volume says, CT where it says nothing; ct; mr: T2-weighted."},
    {0},
};

const struct kf_job_kind kf_job_segment_spine = {
    .name = "segment.spine",
    .version = 11,
    .bitwise = 1,
    .profile = KF_SANDBOX_OPENMP,
    .memory_limit_bytes = 6LL << 30,
    .time_limit_s = 600,
    .summary =
        "Tells the vertebrae of a CT or T2 MR apart, with levels where a CT shows them, discs, canal and nerves.",
    .params = params,
    .run = run,
    .cli = &cli,
};
