#include "workers/jobs/phantom/phantom.h"
#include "server/base/json.h"
#include "workers/io/memory.h"
#include "workers/jobs/phantom/anatomy.h"
#include "workers/jobs/phantom/finish.h"
#include "workers/jobs/phantom/mr.h"
#include "workers/jobs/phantom/paint.h"
#include "workers/jobs/phantom/place.h"
#include "workers/jobs/phantom/truth.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_COBB_DEG 45 // above it facets would overlap
#define THICK_MM 1.5 // of slices from where on one sample does not do for their mean

struct kind {
    const char *name, *subject, *modality, *body_part, *series;
    void (*build)(struct kf_anatomy *anatomy);
    double centre[3], size_mm[3], spacing_mm[3]; // field of view, in the scene
    double noise, blur_mm, warp_mm, bias;
    double pose_deg[3], shift_mm[3];
    double window[2];
    const struct kf_metal *metal;
};

static const struct kind kinds[] = {
    {"head",
     "HEAD",
     "CT",
     "HEAD",
     "Head 120 kV",
     kf_build_head,
     {0, -12, -1},
     {240, 240, 250},
     {0.625, 0.625, 0.65},
     12,
     0.35,
     0,
     0,
     {0, 0, 0},
     {0, 0, 0},
     {400, 2000},
     &kf_metal_dental},
    {"leg",
     "LEG",
     "CT",
     "LEG",
     "Lower leg 120 kV",
     kf_build_leg,
     {0, 5, 175},
     {150, 190, 490},
     {0.625, 0.625, 0.8},
     12,
     0.35,
     0,
     0,
     {0, 0, 0},
     {0, 0, 0},
     {400, 2000},
     &kf_metal_titanium},
    {"spine",
     "SPINE",
     "CT",
     "SPINE",
     "Spine 120 kV",
     kf_build_spine,
     {0, 8, 0},
     {190, 190, 360},
     {0.7, 0.7, 0.8},
     14,
     0.4,
     0,
     0,
     {0, 0, 0},
     {0, 0, 0},
     {300, 1500},
     &kf_metal_titanium},
    {"spine-mr",
     "SPINE",
     "MR",
     "SPINE",
     "Spine T2",
     kf_build_spine,
     {0, 8, 0},
     {190, 190, 360},
     {0.8, 0.8, 1.2},
     14,
     0.45,
     2.5,
     0.3,
     {4, -3, 2.5},
     {7, -5, 9},
     {450, 900},
     &kf_metal_titanium},
};

static const struct kind *kind_named(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

enum kf_status kf_phantom_defaults(const char *name, struct kf_phantom_options *o, struct kf_error *err)
{
    memset(o, 0, sizeof *o);
    const struct kind *kind = kind_named(name);
    if (!kind)
        return kf_error_set(err, KF_INVALID, "phantom_kind",
                            "There is no phantom \"%.20s\": head, leg, spine, spine-mr.", name);
    o->kind = kind->name;
    o->noise = o->blur_mm = o->warp_mm = o->bias = -1;
    o->seed = 1;
    o->threads = 1;
    o->left = 1;
    memcpy(o->pose_deg, kind->pose_deg, sizeof o->pose_deg);
    memcpy(o->shift_mm, kind->shift_mm, sizeof o->shift_mm);
    return KF_OK;
}

struct phantom {
    const struct kf_phantom_options *o;
    const struct kind *kind;
    struct kf_grid grid;
    struct kf_place place;
    struct kf_anatomy *anatomy;
    struct kf_material tissues[KF_TISSUE_COUNT]; // of this patient
};

static enum kf_status lay_grid(const struct kf_phantom_options *o, const struct kind *kind, struct kf_grid *g,
                               struct kf_error *err)
{
    *g = (struct kf_grid){.direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    for (int a = 0; a < 3; a++) {
        double spacing = o->spacing_mm[a];
        if (spacing <= 0)
            spacing = o->dim[a] > 0 ? kind->size_mm[a] / (double)o->dim[a] : kind->spacing_mm[a];
        g->spacing_mm[a] = spacing;
        g->dim[a] = o->dim[a] > 0 ? o->dim[a] : (int64_t)floor(kind->size_mm[a] / spacing + 0.5);
        if (g->dim[a] < 2 || g->dim[a] > 2048 || spacing < 0.05 || spacing > 50)
            return kf_error_set(err, KF_INVALID, "phantom_size",
                                "A phantom has 2 to 2048 voxels of 0.05 to 50 mm an axis.");
        g->origin_lps[a] = kind->centre[a] + o->shift_mm[a] - 0.5 * spacing * (double)(g->dim[a] - 1);
    }
    return KF_OK;
}

// Soft tissue in place of everything that a bone threshold would find.
static void take_bone_away(struct kf_scene *scene)
{
    for (int i = 0; i < scene->part_count; i++) {
        struct kf_sdf_part *part = &scene->parts[i];
        const struct kf_material *m = &scene->materials[part->material];
        if (m->hu >= 150 || m->hu_shell >= 150 || (part->label >= KF_L_SKULL && part->label < KF_L_BODY)) {
            part->material = KF_T_MUSCLE;
            part->label = KF_L_BODY;
        }
    }
}

static enum kf_status check_spine(const struct kf_phantom_options *o, struct kf_error *err)
{
    if (o->lumbar_rib && o->eleven_ribs) // ribs on L1 below a T12 without any: nobody has been seen with both
        return kf_error_set(err, KF_INVALID, "phantom_ribs", "A spine has --lumbar-rib or --eleven-ribs, not both.");
    if (!(fabs(o->scoliosis_deg) <= MOST_COBB_DEG))
        return kf_error_set(err, KF_INVALID, "phantom_scoliosis", "A scoliosis has at most 45 degrees.");
    if (o->joint_mm < 0 || (o->joint_mm > 0 && !(o->joint_mm >= 0.1 && o->joint_mm <= 5)))
        return kf_error_set(err, KF_INVALID, "phantom_pelvis", "Joints of the pelvis are 0.1 to 5 mm wide.");
    if (o->trabecular_hu < 0 || (o->trabecular_hu > 0 && !(o->trabecular_hu >= 40 && o->trabecular_hu <= 300)))
        return kf_error_set(err, KF_INVALID, "phantom_trabecular", "Spongy bone has 40 to 300 HU.");
    return KF_OK;
}

// Bone loses its spongy inside, and the shell half of that share of its thickness; the shell stays as dense as it was.
// That shells of vertebrae get thinner with age: Ritzel et al. 1997.
static void set_bone(double trabecular_hu, struct kf_material *m)
{
    double left = trabecular_hu / m->hu;
    m->hu = trabecular_hu;
    m->texture_hu *= left;
    m->shell_mm *= 0.5 + 0.5 * left;
}

static enum kf_status open_phantom(const struct kf_phantom_options *o, struct phantom *p, struct kf_error *err)
{
    *p = (struct phantom){.o = o, .kind = kind_named(o->kind)};
    if (!p->kind)
        return kf_error_set(err, KF_INVALID, "phantom_kind", "There is no phantom of that kind.");
    if (fabs(o->tilt_deg) > 40)
        return kf_error_set(err, KF_INVALID, "phantom_tilt", "A gantry tilts by 40 degrees at most.");
    if (!(o->resected_mm >= 0 && o->resected_mm <= 40))
        return kf_error_set(err, KF_INVALID, "phantom_resected", "From 0 to 40 mm of the mandible can be gone.");
    enum kf_status status = check_spine(o, err);
    if (status == KF_OK)
        status = lay_grid(o, p->kind, &p->grid, err);
    if (status != KF_OK)
        return status;
    p->anatomy = calloc(1, sizeof *p->anatomy);
    if (!p->anatomy)
        return kf_error_set(err, KF_NOMEM, NULL, "No memory for the anatomy.");
    struct kf_anatomy *a = p->anatomy;
    a->seed = o->seed;
    a->metal = o->metal, a->defect = o->defect, a->table = o->table;
    a->missing_teeth = o->missing_teeth, a->resected_mm = o->resected_mm;
    a->lumbar_rib = o->lumbar_rib, a->eleven_ribs = o->eleven_ribs, a->sacralised = o->sacralised;
    a->side = o->left ? 1 : -1;
    a->scoliosis_deg = o->scoliosis_deg, a->joint_mm = o->joint_mm;
    memcpy(p->tissues, kf_tissues, sizeof p->tissues);
    if (o->trabecular_hu > 0)
        set_bone(o->trabecular_hu, &p->tissues[KF_T_VERTEBRA]);
    status = kf_scene_init(&a->scene, p->tissues, o->seed, err);
    if (status != KF_OK)
        return status;
    p->kind->build(a);
    if (a->scene.full)
        return kf_error_set(err, KF_INTERNAL, "phantom_full", "The anatomy is larger than its tables.");
    kf_truth_snap(a);
    if (o->no_bone)
        take_bone_away(&a->scene);
    double tilt = o->tilt_deg * KF_PI / 180;
    p->place = (struct kf_place){.centre = KF_V(p->kind->centre[0], p->kind->centre[1], p->kind->centre[2]),
                                 .turn = kf_m_euler(o->pose_deg[0], o->pose_deg[1], o->pose_deg[2]),
                                 .shift = KF_V(o->shift_mm[0], o->shift_mm[1], o->shift_mm[2]),
                                 .warp_mm = o->warp_mm >= 0 ? o->warp_mm : p->kind->warp_mm,
                                 .tilt_tangent = kf_tan(tilt),
                                 .tilt_cosine = kf_cos(tilt),
                                 .seed = o->seed};
    if (p->place.warp_mm > 4)
        return kf_error_set(err, KF_INVALID, "phantom_warp", "A warp of more than 4 mm would fold.");
    // The grid is tilted about the middle of the field of view, which the shift moves with it.
    return KF_OK;
}

static void close_phantom(struct phantom *p)
{
    if (p->anatomy)
        kf_scene_release(&p->anatomy->scene);
    free(p->anatomy);
}

static int is_mr(const struct phantom *p)
{
    return strcmp(p->kind->modality, "MR") == 0;
}

static enum kf_status paint(const struct phantom *p, const struct kf_grid *grid, int tilted, int16_t *values,
                            uint8_t *labels, struct kf_error *err)
{
    struct kf_place place = p->place;
    if (!tilted)
        place.tilt_tangent = 0, place.tilt_cosine = 1;
    struct kf_paint job = {.scene = &p->anatomy->scene,
                           .grid = grid,
                           .t2 = is_mr(p),
                           .stretch = kf_place_stretch(&place),
                           .unmap = kf_place_grid_to_scene,
                           .context = &place,
                           .threads = p->o->threads};
    return kf_paint_run(&job, values, labels, err);
}

// A thick slice is the mean over its thickness: painted in its middle alone it would miss every shell that lies beside
// it. Labels are those of the middle.
static enum kf_status paint_slices(const struct phantom *p, int16_t *values, uint8_t *labels, struct kf_error *err)
{
    const struct kf_grid *g = &p->grid;
    double thick = g->spacing_mm[2];
    if (thick <= THICK_MM || thick < 1.5 * fmax(g->spacing_mm[0], g->spacing_mm[1]))
        return paint(p, g, 1, values, labels, err);
    int64_t thin = 2 * (int64_t)(thick / THICK_MM) + 1, plane = g->dim[0] * g->dim[1];
    struct kf_grid fine = *g;
    fine.dim[2] *= thin;
    fine.spacing_mm[2] /= (double)thin;
    fine.origin_lps[2] -= 0.5 * (thick - fine.spacing_mm[2]);
    struct kf_volume image = {0}, truth = {0};
    enum kf_status status = kf_volume_alloc(&image, &fine, KF_VOXEL_INT16, err);
    if (status == KF_OK)
        status = kf_volume_alloc(&truth, &fine, KF_VOXEL_UINT8, err);
    if (status == KF_OK)
        status = paint(p, &fine, 1, image.data, truth.data, err);
    for (int64_t k = 0; status == KF_OK && k < g->dim[2]; k++) {
        const int16_t *value = (const int16_t *)image.data + k * thin * plane;
        memcpy(labels + k * plane, (const uint8_t *)truth.data + (k * thin + thin / 2) * plane, (size_t)plane);
        for (int64_t v = 0; v < plane; v++) {
            int64_t sum = 0;
            for (int64_t n = 0; n < thin; n++)
                sum += value[n * plane + v];
            values[k * plane + v] = (int16_t)floor((double)sum / (double)thin + 0.5);
        }
    }
    kf_volume_release(&image);
    kf_volume_release(&truth);
    return status;
}

static enum kf_status make_image(const struct phantom *p, struct kf_volume *image, struct kf_volume *labels,
                                 struct kf_error *err)
{
    const struct kf_phantom_options *o = p->o;
    enum kf_status status = kf_volume_alloc(image, &p->grid, KF_VOXEL_INT16, err);
    if (status == KF_OK)
        status = kf_volume_alloc(labels, &p->grid, KF_VOXEL_UINT8, err);
    if (status == KF_OK)
        status = paint_slices(p, image->data, labels->data, err);
    if (status == KF_OK && o->metal && !is_mr(p)) // an MR shows a void; how metal bends its field is not modelled
        status = kf_metal_streaks(&p->grid, labels->data, KF_L_METAL, p->kind->metal, image->data, KF_PAINT_UNIT,
                                  o->seed, o->threads, err);
    double bias = o->bias >= 0 ? o->bias : p->kind->bias;
    if (status == KF_OK && is_mr(p) && bias > 0)
        kf_mr_bias(&p->grid, bias, o->seed, o->threads, image->data);
    if (status == KF_OK) {
        struct kf_finish finish = {&p->grid,
                                   o->noise >= 0 ? o->noise : p->kind->noise,
                                   o->blur_mm >= 0 ? o->blur_mm : p->kind->blur_mm,
                                   is_mr(p),
                                   KF_PAINT_UNIT,
                                   o->seed * 7919 + 3,
                                   o->threads};
        status = kf_finish_run(&finish, image->data, err);
    }
    return status;
}

// With a tilt the image's grid is sheared; the truth is painted again on the straight one.
static enum kf_status straight_labels(const struct phantom *p, struct kf_volume *labels, struct kf_error *err)
{
    struct kf_volume scrap;
    enum kf_status status = kf_volume_alloc(&scrap, &p->grid, KF_VOXEL_INT16, err);
    if (status == KF_OK) {
        status = paint(p, &p->grid, 0, scrap.data, labels->data, err);
        kf_volume_release(&scrap);
    }
    return status;
}

enum kf_status kf_phantom_volumes(const struct kf_phantom_options *o, struct kf_volume *image, struct kf_volume *labels,
                                  struct kf_error *err)
{
    memset(image, 0, sizeof *image);
    memset(labels, 0, sizeof *labels);
    struct phantom p;
    enum kf_status status = open_phantom(o, &p, err);
    if (status == KF_OK)
        status = make_image(&p, image, labels, err);
    close_phantom(&p);
    if (status != KF_OK) {
        kf_volume_release(image);
        kf_volume_release(labels);
    }
    return status;
}

// ---- files ----

static enum kf_status make_folder(const char *path, struct kf_error *err)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return KF_OK;
    return kf_error_errno(err, errno, "The output folder cannot be made");
}

// Everything that shapes the image, canonically: the seed of the UIDs and the content of phantom.json.
static json_t *described(const struct phantom *p)
{
    const struct kf_phantom_options *o = p->o;
    const struct kf_grid *g = &p->grid;
    json_t *json = json_pack(
        "{s:s,s:s,s:I,s:[I,I,I],s:[f,f,f],s:[f,f,f],s:f,s:f,s:b,s:b,s:b,s:s,s:[f,f,f],s:[f,f,f],s:f,s:f,"
        "s:f,s:b,s:b,s:i,s:b}",
        "kind", o->kind, "version", "1", "seed", (json_int_t)o->seed, "dim", (json_int_t)g->dim[0],
        (json_int_t)g->dim[1], (json_int_t)g->dim[2], "spacing_mm", g->spacing_mm[0], g->spacing_mm[1],
        g->spacing_mm[2], "origin_lps", g->origin_lps[0], g->origin_lps[1], g->origin_lps[2], "noise",
        o->noise >= 0 ? o->noise : p->kind->noise, "blur_mm", o->blur_mm >= 0 ? o->blur_mm : p->kind->blur_mm, "metal",
        o->metal, "defect", o->defect, "table", o->table, "side", o->left ? "left" : "right", "pose_deg",
        o->pose_deg[0], o->pose_deg[1], o->pose_deg[2], "shift_mm", o->shift_mm[0], o->shift_mm[1], o->shift_mm[2],
        "warp_mm", p->place.warp_mm, "bias", o->bias >= 0 ? o->bias : p->kind->bias, "tilt_deg", o->tilt_deg,
        "enhanced", o->enhanced, "reversed", o->reversed, "syntax", (int)o->syntax, "no_bone", o->no_bone);
    if (json && o->missing_teeth)
        json_object_set_new(json, "missing_teeth", json_integer(o->missing_teeth));
    if (json && o->resected_mm > 0)
        json_object_set_new(json, "resected_mm", json_real(o->resected_mm));
    if (json && o->lumbar_rib)
        json_object_set_new(json, "lumbar_rib", json_true());
    if (json && o->eleven_ribs)
        json_object_set_new(json, "eleven_ribs", json_true());
    if (json && o->sacralised)
        json_object_set_new(json, "sacralised", json_true());
    if (json && o->trabecular_hu > 0)
        json_object_set_new(json, "trabecular_hu", json_real(o->trabecular_hu));
    if (json && o->scoliosis_deg != 0)
        json_object_set_new(json, "scoliosis_deg", json_real(o->scoliosis_deg));
    if (json && o->joint_mm > 0)
        json_object_set_new(json, "joint_mm", json_real(o->joint_mm));
    return json;
}

static void lay_geometry(const struct phantom *p, struct kf_dicom_write_geometry *g)
{
    const double *s = p->grid.spacing_mm, *origin = p->grid.origin_lps;
    double c = p->place.tilt_cosine, tangent = p->place.tilt_tangent, middle = p->place.centre.y;
    memcpy(g->dim, p->grid.dim, sizeof g->dim);
    double y = origin[1] - middle;
    double step[3][3] = {{s[0], 0, 0}, {0, s[1] * c, s[1] * c * tangent}, {0, 0, s[2]}};
    memcpy(g->step, step, sizeof step);
    g->origin_lps[0] = origin[0];
    g->origin_lps[1] = middle + y * c;
    g->origin_lps[2] = origin[2] + y * c * tangent;
}

static enum kf_status write_series(const struct phantom *p, const struct kf_volume *image, const char *seed,
                                   struct kf_phantom_report *report, struct kf_error *err)
{
    const struct kf_phantom_options *o = p->o;
    char name[64], id[64], birth[16];
    snprintf(name, sizeof name, "PHANTOM^%s", p->kind->subject);
    snprintf(id, sizeof id, "KP-%s-%" PRIu64, p->kind->subject, o->seed);
    snprintf(birth, sizeof birth, "19%02d0%d15", (int)(40 + o->seed % 50), (int)(1 + o->seed % 9));
    struct kf_dicom_write_series series = {.modality = p->kind->modality,
                                           .uid_seed = seed,
                                           .patient_name = o->patient ? o->patient : name,
                                           .patient_id = id,
                                           .birth_date = birth,
                                           .sex = "O",
                                           .date = "20260105",
                                           .time = "093000",
                                           .study_id = "1",
                                           .study_description = "Kerf phantom",
                                           .series_description = p->kind->series,
                                           .body_part = p->kind->body_part,
                                           .protocol = p->kind->name,
                                           .series_number = 2,
                                           .gantry_tilt_deg = o->tilt_deg,
                                           .window_centre = p->kind->window[0],
                                           .window_width = p->kind->window[1],
                                           .enhanced = o->enhanced,
                                           .reversed = o->reversed,
                                           .syntax = o->syntax,
                                           .values = image->data};
    lay_geometry(p, &series.geometry);
    kf_dicom_write_uid(report->series_uid, seed, "series");
    return kf_dicom_write(&series, o->out, &report->files, err);
}

static enum kf_status write_truth(const struct phantom *p, struct kf_volume *labels, const json_t *text,
                                  struct kf_phantom_report *report, struct kf_error *err)
{
    const struct kf_phantom_options *o = p->o;
    enum kf_status status = make_folder(o->truth, err);
    if (status == KF_OK && o->tilt_deg != 0)
        status = straight_labels(p, labels, err);
    if (status == KF_OK)
        status = kf_truth_labels(o->truth, labels, o->threads, &report->labels, err);
    if (status == KF_OK)
        status = kf_truth_landmarks(o->truth, p->anatomy, &p->place, err);
    if (status == KF_OK && is_mr(p))
        status = kf_truth_transform(o->truth, p->anatomy, &p->place, &p->grid, o->threads, err);
    if (status == KF_OK) {
        char path[4096];
        snprintf(path, sizeof path, "%s/phantom.json", o->truth);
        status = kf_json_save(path, text, err);
    }
    return status;
}

enum kf_status kf_phantom_run(const struct kf_phantom_options *o, struct kf_phantom_report *report,
                              struct kf_error *err)
{
    memset(report, 0, sizeof *report);
    struct phantom p;
    struct kf_volume image = {0}, labels = {0};
    json_t *text = NULL;
    char *seed = NULL;
    enum kf_status status = open_phantom(o, &p, err);
    if (status == KF_OK)
        status = make_folder(o->out, err);
    if (status != KF_OK)
        goto done;
    report->grid = p.grid;
    report->landmarks = p.anatomy->landmark_count;
    text = described(&p);
    seed = text ? kf_json_canonical(text) : NULL;
    if (!seed) {
        status = kf_error_set(err, KF_NOMEM, NULL, "No memory for the description.");
        goto done;
    }
    status = make_image(&p, &image, &labels, err);
    if (status == KF_OK)
        status = write_series(&p, &image, seed, report, err);
    if (status == KF_OK && o->truth)
        status = write_truth(&p, &labels, text, report, err);
done:
    kf_volume_release(&image);
    kf_volume_release(&labels);
    json_decref(text);
    free(seed);
    close_phantom(&p);
    return status;
}
