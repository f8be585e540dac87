// mesh: surfaces of label maps, or of a volume at a grey value. For each segment a master mesh (PLY, and STL for
// printers) and three levels of detail for viewers (GLB). PLY and STL also come gzipped, for those who fetch them.
//
// The labels say what is inside; where the volume's grey values agree with them, they say where between two voxels the
// surface lies, so that the mesh is smooth below a voxel instead of a staircase. Labels without grey values (drawn by
// hand, or by a program) are blurred by less than a voxel for the same purpose. A structure that reaches the border
// of the volume is closed by a flat cap, and the result says so. With `shared`, all surfaces come out of one net instead,
// and labels that touch have the same triangles where they do.
#include "server/base/str.h"
#include "workers/io/glb.h"
#include "workers/io/gzip.h"
#include "workers/io/memory.h"
#include "workers/io/meshfile.h"
#include "workers/jobs/mesh_job.h"
#include "workers/kernels/bits.h"
#include "workers/kernels/image.h"
#include "workers/kernels/mesh_distance.h"
#include "workers/kernels/surface.h"
#include "workers/runtime/cli.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LODS           3
#define AUTOMATIC      -32769.0
#define MISTAKES_MOST  0.25 // labels that part the grey values worse than this did not come from them
#define LEAST_TRIANGLES 2000 // that every level of detail keeps
#define LEAST_BOUND_MM 0.01 // distances below this are not told apart: files are quantised to as much
#define GZIP_LEVEL     1    // higher ones gain nothing on coordinates and take longer

// ---- one surface ----

#define CROP_MARGIN 4   // voxels around a label's box, more than the blur of its mask reaches
#define CROP_BELOW  0.6 // of the volume: a larger box is not worth a copy

// What a segment's surface is made from: the whole volumes (borrowed), or copies of the part around the label (owned).
struct part {
    struct kf_volume labels, image;
    int owned;
};

static void part_release(struct part *p)
{
    if (p->owned) {
        kf_volume_release(&p->labels);
        kf_volume_release(&p->image);
    }
}

static enum kf_status crop(const struct kf_volume *from, const int64_t low[3], const struct kf_grid *grid,
                           struct kf_volume *to, struct kf_error *err)
{
    if (!from->data)
        return KF_OK;
    enum kf_status status = kf_volume_alloc(to, grid, from->type, err);
    if (status)
        return status;
    int64_t size = kf_voxel_bytes(from->type);
    for (int64_t k = 0; k < grid->dim[2]; k++)
        for (int64_t j = 0; j < grid->dim[1]; j++) {
            int64_t at = low[0] + from->grid.dim[0] * (low[1] + j + from->grid.dim[1] * (low[2] + k));
            memcpy((char *)to->data + (j + k * grid->dim[1]) * grid->dim[0] * size, (const char *)from->data + at * size,
                   (size_t)(grid->dim[0] * size));
        }
    return KF_OK;
}

// A box with a margin of background on every side but where the volume itself ends, so that only there a cap is made.
static enum kf_status cut_part(const struct kf_mesh_job *m, const struct kf_mesh_segment *s, struct part *p,
                               struct kf_error *err)
{
    *p = (struct part){.labels = m->labels, .image = m->image};
    if (!m->labels.data)
        return KF_OK;
    struct kf_grid grid = m->labels.grid;
    int64_t low[3];
    double first[3];
    for (int a = 0; a < 3; a++) {
        low[a] = s->box[0][a] > CROP_MARGIN ? s->box[0][a] - CROP_MARGIN : 0;
        int64_t high = s->box[1][a] + CROP_MARGIN;
        grid.dim[a] = (high < m->labels.grid.dim[a] ? high : m->labels.grid.dim[a]) - low[a];
        first[a] = (double)low[a];
    }
    if ((double)kf_grid_voxels(&grid) > CROP_BELOW * (double)kf_grid_voxels(&m->labels.grid))
        return KF_OK;
    kf_grid_to_lps(&m->labels.grid, first, grid.origin_lps);
    *p = (struct part){.owned = 1};
    enum kf_status status = crop(&m->labels, low, &grid, &p->labels, err);
    if (!status)
        status = crop(&m->image, low, &grid, &p->image, err);
    if (status)
        part_release(p);
    return status;
}

static int at_border(const struct kf_bits *bits)
{
    int64_t box[2][3];
    if (!kf_bits_box(bits, box))
        return 0;
    for (int a = 0; a < 3; a++)
        if (box[0][a] == 0 || box[1][a] == bits->dim[a])
            return 1;
    return 0;
}

// Labels as a smooth field: their mask blurred by 0.7 of the coarsest spacing. *field is owned.
static enum kf_status blur_labels(struct kf_mesh_job *m, const struct kf_grid *grid, const struct kf_bits *bits,
                                  struct kf_volume *field, struct kf_error *err)
{
    struct kf_volume mask;
    enum kf_status status = kf_volume_alloc(&mask, grid, KF_VOXEL_UINT8, err);
    if (status)
        return status;
    memset(mask.data, 0, (size_t)kf_grid_voxels(&mask.grid));
    kf_bits_paint(&m->w.work, bits, 1, mask.data);
    status = kf_volume_alloc(field, grid, KF_VOXEL_FLOAT32, err);
    if (!status) {
        const double *s = mask.grid.spacing_mm;
        double sigma = 0.7 * fmax(s[0], fmax(s[1], s[2]));
        status = kf_work_status(kf_gaussian(&m->w.work, &mask, sigma, field->data), err, "blurring labels");
    }
    kf_volume_release(&mask);
    if (status)
        kf_volume_release(field);
    return status;
}

// The surface and how much to smooth it.
static enum kf_status extract(struct kf_mesh_job *m, struct kf_mesh_segment *s, const struct part *p,
                              const struct kf_bits *bits, struct kf_mesh *mesh, struct kf_error *err)
{
    struct kf_surface_input input = {.inside = bits, .grid = p->labels.data ? &p->labels.grid : &p->image.grid,
                                     .cap = kf_job_boolean(m->w.job, "cap")};
    struct kf_volume field = {0};
    double iso = kf_job_double(m->w.job, "iso"), mistakes = 0;
    enum kf_status status = KF_OK;
    if (!p->labels.data) {
        input.grey = &p->image;
        input.iso = iso;
        s->smoothing = "grey values at iso";
    } else if (p->image.data) {
        status = kf_work_status(kf_surface_level(&m->w.work, bits, &p->image, &s->level, &mistakes), err, "level");
        if (iso > AUTOMATIC)
            s->level = iso;
        if (!status && mistakes <= MISTAKES_MOST) {
            input.grey = &p->image;
            input.iso = s->level;
            s->smoothing = "grey values inside the labels";
        }
    }
    if (!status && !input.grey) {
        status = blur_labels(m, input.grid, bits, &field, err);
        input.grey = &field;
        input.iso = 0.5;
        s->smoothing = "blurred labels";
    }
    if (!status)
        status = kf_work_status(kf_surface(&m->w.work, &input, mesh), err, "extracting the surface");
    kf_volume_release(&field);
    return status;
}

static enum kf_status smooth(struct kf_mesh_job *m, const struct kf_mesh_segment *s, const struct kf_grid *grid,
                             struct kf_mesh *mesh, double *change, struct kf_error *err)
{
    const double *spacing = grid->spacing_mm;
    int from_labels = strcmp(s->smoothing, "blurred labels") == 0;
    int64_t asked = kf_job_integer(m->w.job, "smooth");
    double mean = cbrt(spacing[0] * spacing[1] * spacing[2]);
    struct kf_mesh_smooth how = {
        .passes = (int)(asked >= 0 ? asked : from_labels ? 20 : 8),
        .pass_band = from_labels ? 0.1 : 0.5, // grey values have no steps to hide
        .keep_volume = 1,
        .reach_mm = (from_labels ? 1.0 : 0.5) * mean,
        .planes = grid,
    };
    double before, after, area;
    kf_mesh_measure(&m->w.work, mesh, &before, &area);
    enum kf_status status = kf_work_status(kf_mesh_smooth(&m->w.work, mesh, &how), err, "smoothing");
    kf_mesh_measure(&m->w.work, mesh, &after, &area);
    *change = before != 0 ? after / before - 1 : 0;
    return status;
}

// ---- outputs ----

static const char *why_open(const struct kf_mesh_segment *s, const struct kf_mesh_report *r, int capped)
{
    if (r->closed && s->touches_border && capped)
        return "the structure reaches the border of the volume and is closed there by a flat cap";
    if (r->closed)
        return "";
    return "the structure reaches the border of the volume and is left open there";
}

static json_t *mesh_meta(struct kf_mesh_job *m, const struct kf_mesh_segment *s, const struct kf_mesh *mesh,
                         const struct kf_mesh_report *r)
{
    const char *reason = why_open(s, r, kf_job_boolean(m->w.job, "cap"));
    return json_pack(
        "{s:i, s:s, s:s, s:I, s:I, s:[[f,f,f],[f,f,f]], s:b, s:b, s:b, s:I, s:o, s:b, s:f, s:f, s:I, s:s}", "segment",
        s->label, "name", s->name, "colour", s->colour, "triangles", (json_int_t)mesh->triangles, "vertices",
        (json_int_t)mesh->vertices, "bounds_lps", r->bounds[0][0], r->bounds[0][1], r->bounds[0][2], r->bounds[1][0],
        r->bounds[1][1], r->bounds[1][2], "closed", r->closed, "manifold", r->manifold, "oriented", r->oriented,
        "boundary_edges", (json_int_t)r->boundary_edges, "boundary_reason", *reason ? json_string(reason) : json_null(),
        "capped", s->touches_border && r->closed, "surface_mm2", r->area_mm2, "volume_ml", r->volume_mm3 / 1000,
        "components", (json_int_t)r->components, "surface_from", s->smoothing);
}

static int wanted(const struct kf_mesh_job *m, const char *format)
{
    return !m->only || strcmp(m->only, format) == 0;
}

static enum kf_status declare(struct kf_mesh_job *m, const struct kf_mesh_segment *s, const char *suffix,
                              const char *kind, const char *media, json_t *meta, struct kf_error *err)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", s->file, suffix);
    if (!meta)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the result");
    json_t *line = json_pack("{s:s, s:O}", "file", name, "mesh", meta);
    if (line)
        json_array_append_new(m->report, line);
    return kf_job_output(m->w.job, name, kind, name, media, meta);
}

static const char *output_path(struct kf_mesh_job *m, const struct kf_mesh_segment *s, const char *suffix)
{
    char file[128];
    snprintf(file, sizeof file, "%s.%s", s->file, suffix);
    return kf_job_output_path(m->w.job, file);
}

static int ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), k = strlen(tail);
    return n > k && strcmp(text + n - k, tail) == 0;
}

// On the command line --out may name one file: the end of the name of the only output that is wanted, or NULL.
static const char *single_suffix(const struct kf_job_context *job)
{
    const char *out = kf_job_option(job, "--out");
    if (!out)
        return NULL;
    if (ends_with(out, ".glb"))
        return ".lod0.glb";
    return ends_with(out, ".stl") ? ".stl" : ends_with(out, ".ply") ? ".ply" : NULL;
}

static enum kf_status write_master(struct kf_mesh_job *m, const struct kf_mesh_segment *s, const struct kf_mesh *mesh,
                                   const struct kf_mesh_report *r, double change, struct kf_error *err)
{
    enum kf_status status = KF_OK;
    for (int stl = 0; stl < 2 && !status; stl++) {
        const char *suffix = stl ? "stl" : "ply";
        if (!wanted(m, suffix))
            continue;
        const char *path = output_path(m, s, suffix);
        if (!path)
            return kf_error_set(err, KF_NOMEM, NULL, "no memory for the result");
        struct kf_work_part part;
        const struct kf_work *share = kf_work_part(&part, &m->w.work, stl ? 0.3 : 0, stl ? 1 : 0.3);
        status = stl ? kf_stl_write(share, path, mesh, err) : kf_ply_write(share, path, mesh, NULL, err);
        json_t *meta = mesh_meta(m, s, mesh, r);
        if (meta) {
            json_object_set_new(meta, "frame", json_string("LPS mm"));
            if (!m->shared)
                json_object_set_new(meta, "smoothing_volume_change", json_real(change));
            if (s->level != 0)
                json_object_set_new(meta, "level", json_real(s->level));
        }
        if (status)
            json_decref(meta);
        else
            status = declare(m, s, suffix, "mesh", stl ? "model/stl" : "model/ply", meta, err);
    }
    return status;
}

// PLY and STL once more for those who take them gzipped: encodings of the outputs that "of" names, no meshes of their
// own. They are packed while the levels of detail are made.
struct encodings {
    struct kf_gzip_files files; // count 0: none are wanted
    const char *from[2], *to[2];
};

static const char *const packed_suffixes[2][2] = {{"ply", "ply.gz"}, {"stl", "stl.gz"}};

// A command line that asked for one format or file gets just that.
static enum kf_status start_encodings(struct kf_mesh_job *m, const struct kf_mesh_segment *s, struct encodings *e,
                                      struct kf_error *err)
{
    if (m->only || single_suffix(m->w.job))
        return KF_OK;
    for (int i = 0; i < 2; i++) {
        e->from[i] = output_path(m, s, packed_suffixes[i][0]);
        e->to[i] = output_path(m, s, packed_suffixes[i][1]);
        if (!e->from[i] || !e->to[i])
            return kf_error_set(err, KF_NOMEM, NULL, "no memory for the result");
    }
    e->files = (struct kf_gzip_files){.from = e->from, .to = e->to, .count = 2, .level = GZIP_LEVEL};
    kf_gzip_files_start(&m->w.work, &e->files, kf_job_threads(m->w.job) > 1);
    return KF_OK;
}

// Always called, so that nothing goes on behind a job that has failed: `before` is its status.
static enum kf_status finish_encodings(struct kf_mesh_job *m, const struct kf_mesh_segment *s, struct encodings *e,
                                       enum kf_status before, struct kf_error *err)
{
    enum kf_status status = kf_gzip_files_finish(before ? NULL : &m->w.work, &e->files, before ? NULL : err);
    if (before)
        return before;
    for (int i = 0; i < e->files.count && !status; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s.%s", s->file, packed_suffixes[i][1]);
        json_t *meta = json_pack("{s:s%}", "of", name, strlen(name) - strlen(".gz"));
        status = meta ? kf_job_output(m->w.job, name, "encoding.gzip", name, "application/gzip", meta)
                      : kf_error_set(err, KF_NOMEM, NULL, "no memory for the result");
    }
    return status;
}

// What arithmetic in float32, which decodes a file, does to coordinates at most: a few half steps of their size.
static double decoding_mm(const struct kf_mesh_report *r)
{
    double largest = 0;
    for (int a = 0; a < 3; a++)
        largest = fmax(largest, fmax(fabs(r->bounds[0][a]), fabs(r->bounds[1][a])));
    return 3e-7 * largest;
}

// hausdorff_mm: no point of this mesh is farther from the master, and none of the master from this mesh; below 0 when
// that is not known.
static enum kf_status write_view(struct kf_mesh_job *m, const struct kf_work *work, const struct kf_mesh_segment *s,
                                 const struct kf_mesh *mesh, int lod, double hausdorff_mm, struct kf_error *err)
{
    struct kf_mesh_report r;
    struct kf_work_part part;
    enum kf_status status =
        kf_work_status(kf_mesh_check(kf_work_part(&part, work, 0, 0.2), mesh, &r), err, "checking a mesh");
    float *normals = status ? NULL : kf_memory_take(mesh->vertices * 12);
    if (!status && !normals)
        status = kf_error_set(err, KF_NOMEM, NULL, "no memory for normals");
    if (!status)
        status = kf_work_status(kf_mesh_normals(kf_work_part(&part, work, 0.2, 0.3), mesh, normals), err, "normals");
    char suffix[16];
    snprintf(suffix, sizeof suffix, "lod%d.glb", lod);
    const char *path = status ? NULL : output_path(m, s, suffix);
    double worst = 0;
    if (path) {
        struct kf_glb_look look = {.name = s->name, .colour = {s->rgb[0], s->rgb[1], s->rgb[2], 1}, .normals = normals};
        status = kf_glb_write(kf_work_part(&part, work, 0.3, 1), path, mesh, &look, &worst, err);
    }
    kf_memory_release(normals);
    if (status)
        return status;
    json_t *meta = mesh_meta(m, s, mesh, &r);
    if (meta) {
        double most = hausdorff_mm + worst + decoding_mm(&r);
        json_object_set_new(meta, "frame", json_string("glTF m Y-up"));
        json_object_set_new(meta, "lod", json_integer(lod));
        json_object_set_new(meta, "hausdorff_most_mm", hausdorff_mm < 0 ? json_null() : json_real(most));
        json_object_set_new(meta, "quantisation_mm", json_real(worst));
    }
    return declare(m, s, suffix, "mesh.view", "model/gltf-binary", meta, err);
}

// What the levels are measured against: the master, then the finest level, which is much smaller and is itself off by
// own_mm at most.
struct yardstick {
    struct kf_mesh mesh; // owned, as the tree
    struct kf_bvh tree;
    double own_mm; // below 0: not known
};

static void yardstick_release(const struct kf_work *work, struct yardstick *y)
{
    kf_bvh_release(work, &y->tree);
    kf_mesh_release(work, &y->mesh);
}

// A copy of the mesh takes the place of what is there.
static enum kf_status yardstick_take(const struct kf_work *work, const struct kf_mesh *mesh, double own_mm,
                                     struct yardstick *y, struct kf_error *err)
{
    yardstick_release(work, y);
    y->mesh = *mesh;
    y->own_mm = own_mm;
    y->mesh.xyz = kf_work_take(work, mesh->vertices * 12);
    y->mesh.index = kf_work_take(work, mesh->triangles * 12);
    if (!y->mesh.xyz || !y->mesh.index)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for levels of detail");
    memcpy(y->mesh.xyz, mesh->xyz, (size_t)mesh->vertices * 12);
    memcpy(y->mesh.index, mesh->index, (size_t)mesh->triangles * 12);
    return kf_work_status(kf_bvh_make(work, &y->mesh, &y->tree), err, "measuring levels of detail");
}

// Bounds the greatest distance of a level from the master, both ways. A bound is tight enough when it is a fiftieth
// above what was measured, or no more than a tenth of the error allowed.
static enum kf_status measure_level(const struct kf_work *work, const struct yardstick *y, const struct kf_mesh *mesh,
                                    double allowed_mm, double *most_mm, struct kf_error *err)
{
    double low, enough = fmax(0.1 * allowed_mm, LEAST_BOUND_MM);
    enum kf_kernel_status status = kf_mesh_hausdorff(work, &y->tree, mesh, enough, &low, most_mm);
    // Too intricate to measure: a level without a bound is still one to look at.
    *most_mm = status || y->own_mm < 0 ? -1 : *most_mm + y->own_mm;
    return status == KF_KERNEL_TOO_LARGE ? KF_OK : kf_work_status(status, err, "measuring a level of detail");
}

// One level, made from the one before; *sum is what that has used up of the error allowed.
static enum kf_status write_level(struct kf_mesh_job *m, const struct kf_work *work, const struct kf_mesh_segment *s,
                                  struct yardstick *y, struct kf_mesh *mesh, int lod, double *sum, struct kf_error *err)
{
    static const char *const names[LODS] = {"lod0_mm", "lod1_mm", "lod2_mm"};
    struct kf_work_part part;
    double error = 0, most = 0, allowed = kf_job_double(m->w.job, names[lod]);
    struct kf_mesh_decimate how = {.target = LEAST_TRIANGLES, .error_mm = allowed > *sum ? allowed - *sum : 0};
    enum kf_status status = kf_work_status(
        kf_mesh_decimate(kf_work_part(&part, work, 0, 0.3), mesh, &how, &error), err, "simplifying");
    *sum += error;
    if (!status)
        status = measure_level(kf_work_part(&part, work, 0.3, 0.7), y, mesh, allowed, &most, err);
    if (!status && lod == 0)
        status = yardstick_take(kf_work_part(&part, work, 0.7, 0.8), mesh, most, y, err);
    return status ? status : write_view(m, kf_work_part(&part, work, 0.8, 1), s, mesh, lod, most, err);
}

// The chain of levels. Uses the mesh up.
static enum kf_status write_lods(struct kf_mesh_job *m, const struct kf_mesh_segment *s, struct kf_mesh *mesh,
                                 struct kf_error *err)
{
    static const double share[LODS + 1] = {0.1, 0.8, 0.95, 1}; // the first has most triangles to get rid of
    struct yardstick y = {.own_mm = 0};
    struct kf_work_part part;
    double sum = 0;
    enum kf_status status = yardstick_take(kf_work_part(&part, &m->w.work, 0, share[0]), mesh, 0, &y, err);
    for (int lod = 0; lod < LODS && !status; lod++)
        status = write_level(m, kf_work_part(&part, &m->w.work, share[lod], share[lod + 1]), s, &y, mesh, lod, &sum,
                             err);
    yardstick_release(&m->w.work, &y);
    return status;
}

// ---- all surfaces at once ----

#define SHARED_ROUNDS 4 // of relaxation, unless `smooth` says how many; more shrink what is thin

static enum kf_status make_net(struct kf_mesh_job *m, struct kf_error *err)
{
    int64_t asked = kf_job_integer(m->w.job, "smooth");
    const struct kf_surface_labels_input input = {&m->labels, (int)(asked >= 0 ? asked : SHARED_ROUNDS)};
    kf_job_work_stage(&m->w, "extracting all surfaces", 0.1, 0.2);
    enum kf_status status =
        kf_work_status(kf_surface_labels(&m->w.work, &input, &m->net), err, "extracting the surfaces between labels");
    for (int n = 0; n < m->count; n++)
        for (int a = 0; a < 3; a++)
            m->segments[n].touches_border |=
                m->segments[n].box[0][a] == 0 || m->segments[n].box[1][a] == m->labels.grid.dim[a];
    kf_volume_release(&m->labels);
    kf_volume_release(&m->image);
    kf_memory_trim();
    return status;
}

// What would move or drop a part of one label's surface, and not of its neighbour's, is left undone.
static enum kf_status take_from_net(struct kf_mesh_job *m, struct kf_mesh_segment *s, struct kf_mesh *mesh,
                                    struct kf_error *err)
{
    s->smoothing = "interfaces of all labels";
    return kf_work_status(kf_surface_labels_mesh(&m->w.work, &m->net, s->label, mesh), err, "extracting the surface");
}

// ---- one segment ----

// The surface of one segment as it is, and the grid it was made on.
static enum kf_status make_surface(struct kf_mesh_job *m, struct kf_mesh_segment *s, struct kf_mesh *mesh,
                                   struct kf_grid *grid, struct kf_error *err)
{
    struct part p;
    struct kf_bits bits = {0};
    enum kf_status status = cut_part(m, s, &p, err);
    if (status)
        return status;
    const struct kf_volume *source = p.labels.data ? &p.labels : &p.image;
    double low = p.labels.data ? s->label : kf_job_double(m->w.job, "iso");
    status = kf_work_status(kf_bits_alloc(&m->w.work, source->grid.dim, &bits), err, "a mask");
    if (!status)
        status = kf_work_status(kf_bits_threshold(&m->w.work, source, low, 1e9, &bits), err, "a mask");
    if (!status) {
        s->touches_border = at_border(&bits);
        status = extract(m, s, &p, &bits, mesh, err);
    }
    kf_bits_release(&m->w.work, &bits);
    if (!status && mesh->triangles == 0)
        status = kf_error_set(err, KF_UNPROCESSABLE, "no_surface", "nothing lies at or above the grey value %g", low);
    *grid = source->grid;
    part_release(&p);
    return status;
}

// After the last surface the volumes have done their work: the rest needs their memory more.
static void let_volumes_go(struct kf_mesh_job *m)
{
    if (m->made + 1 < m->count)
        return;
    kf_volume_release(&m->labels);
    kf_volume_release(&m->image);
    kf_memory_trim();
}

// A surface of its own: smooth, and without its small pieces.
static enum kf_status make_alone(struct kf_mesh_job *m, struct kf_mesh_segment *s, double from, double share,
                                 struct kf_mesh *mesh, double *change, struct kf_error *err)
{
    struct kf_grid grid;
    kf_job_work_stage(&m->w, "extracting the surface", from, from + 0.2 * share);
    enum kf_status status = make_surface(m, s, mesh, &grid, err);
    let_volumes_go(m);
    kf_job_work_stage(&m->w, "smoothing", from + 0.2 * share, from + 0.4 * share);
    if (!status)
        status = smooth(m, s, &grid, mesh, change, err);
    if (!status)
        status = kf_work_status(kf_mesh_drop_small(&m->w.work, mesh, kf_job_double(m->w.job, "piece_mm3"), NULL), err,
                                "dropping pieces");
    return status;
}

static enum kf_status mesh_segment(struct kf_mesh_job *m, struct kf_mesh_segment *s, struct kf_error *err)
{
    double begin = m->shared ? 0.2 : 0.1, share = (1 - begin) / m->count, from = begin + share * m->made, change = 0;
    struct kf_mesh mesh = {0};
    struct kf_mesh_report r;
    enum kf_status status =
        m->shared ? take_from_net(m, s, &mesh, err) : make_alone(m, s, from, share, &mesh, &change, err);
    if (!status)
        status = kf_work_status(kf_mesh_check(&m->w.work, &mesh, &r), err, "checking the mesh");
    kf_job_work_stage(&m->w, "writing", from + 0.4 * share, from + 0.5 * share);
    if (!status && mesh.triangles == 0) {
        kf_job_warn(m->w.job, "segment_too_small", "%s has no piece of piece_mm3 or more: no mesh was made", s->name);
    } else if (!status) {
        status = write_master(m, s, &mesh, &r, change, err);
        struct encodings encodings = {0};
        if (!status)
            status = start_encodings(m, s, &encodings, err);
        kf_job_work_stage(&m->w, "levels of detail", from + 0.5 * share, from + share);
        if (!status && wanted(m, "glb"))
            status = write_lods(m, s, &mesh, err);
        status = finish_encodings(m, s, &encodings, status, err);
    }
    kf_mesh_release(&m->w.work, &mesh);
    m->made++;
    return status;
}

// ---- the job ----

static enum kf_status read_inputs(struct kf_mesh_job *m, const json_t **table, json_t **owned, struct kf_error *err)
{
    const struct kf_job_input *labels = kf_job_input_named(m->w.job, "labels");
    const struct kf_job_input *image = kf_job_input_named(m->w.job, "volume");
    const struct kf_job_input *given = kf_job_input_named(m->w.job, "table");
    if (!labels && !image)
        return kf_error_set(err, KF_INVALID, "input_missing", "the job needs labels, or a volume and iso");
    if (m->shared && (!labels || !kf_job_boolean(m->w.job, "cap")))
        return kf_error_set(err, KF_INVALID, "shared_impossible", "shared needs labels, and cap");
    if (!labels && kf_job_double(m->w.job, "iso") <= AUTOMATIC)
        return kf_error_set(err, KF_INVALID, "iso_missing", "a surface of a volume needs the parameter iso");
    enum kf_status status = KF_OK;
    if (labels)
        status = kf_job_read_volume(&m->w.work, labels, KF_NIFTI_LABELS, &m->labels, err);
    if (!status && image && !m->shared)
        status = kf_job_read_volume(&m->w.work, image, KF_NIFTI_IMAGE, &m->image, err);
    if (!status && labels && image && !m->shared &&
        memcmp(m->labels.grid.dim, m->image.grid.dim, sizeof m->labels.grid.dim) != 0)
        status = kf_error_set(err, KF_INVALID, "grids_differ", "labels and volume do not have the same dimensions");
    if (!status && given)
        status = kf_job_read_json(given, owned, err);
    *table = json_object_get(given ? *owned : labels ? labels->meta : NULL, "segments");
    return status;
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    struct kf_mesh_job m = {.only = kf_job_option(job, "--format")};
    if (m.only && strcmp(m.only, "ply") && strcmp(m.only, "stl") && strcmp(m.only, "glb"))
        return kf_error_set(err, KF_INVALID, "bad_usage", "--format is ply, stl or glb");
    m.report = json_array();
    kf_job_work_init(&m.w, job);
    m.shared = kf_job_boolean(job, "shared");
    kf_job_work_stage(&m.w, "reading", 0, 0.1);
    const json_t *table = NULL;
    json_t *owned = NULL;
    enum kf_status status = read_inputs(&m, &table, &owned, err);
    if (!status)
        status = kf_mesh_job_segments(&m, table, err);
    if (!status && m.shared)
        status = make_net(&m, err);
    for (int i = 0; i < m.count && !status; i++)
        status = mesh_segment(&m, &m.segments[i], err);
    kf_job_report(job, "segments", json_integer(m.made));
    kf_job_report(job, "files", m.report);
    kf_job_report(job, "peak_memory_bytes", json_integer((json_int_t)kf_memory_peak()));
    kf_memory_release(m.segments);
    kf_surface_labels_release(&m.w.work, &m.net);
    kf_volume_release(&m.labels);
    kf_volume_release(&m.image);
    json_decref(owned);
    return status;
}

// ---- command line ----

// --out FILE.stl (one segment), or --out FOLDER for all files.
static enum kf_status place(struct kf_job_context *job, struct kf_error *err)
{
    const char *out = kf_job_option(job, "--out");
    const char *single = single_suffix(job);
    enum kf_status status = KF_OK;
    int placed = 0;
    if (!single && mkdir(out, 0777) && errno != EEXIST)
        return kf_error_errno(err, errno, "making the folder that --out names");
    for (int i = 0; i < kf_job_output_count(job) && !status; i++) {
        struct kf_job_output_view view = kf_job_output_at(job, i);
        char to[4096];
        if (single && (placed || !ends_with(view.file, single)))
            continue;
        int length = snprintf(to, sizeof to, single ? "%s" : "%s/%s", out, view.file);
        if (length < 0 || length >= (int)sizeof to)
            return kf_error_set(err, KF_INVALID, "bad_usage", "the name after --out is too long");
        status = kf_job_place_file(view.path, to, err);
        placed++;
    }
    if (!status && !placed)
        return kf_error_set(err, KF_INVALID, "bad_usage", "--format makes no file of the kind that --out names");
    return status;
}

static const struct kf_cli_flag flags[] = {
    {"--labels", KF_CLI_INPUT, "labels", 0, "A label map: one mesh per label."},
    {"--image", KF_CLI_VOLUME, "volume", 0,
     "The volume the labels were made from, or, with --iso, to take a surface of."},
    {"--table", KF_CLI_INPUT, "table", 0, "Names and colours of the labels, as segment.bone writes them."},
    {"--format", KF_CLI_OPTION, NULL, 0, "Only ply, stl or glb; all three when not given."},
    {0},
};

static const struct kf_cli_name names[] = {{"--out", NULL, 1}, {0}};

static const struct kf_job_cli cli = {
    .flags = flags,
    .names = names,
    .place = place,
    .examples = "  kerf-job mesh --labels seg.nii.gz --image ct.nii.gz --table seg.json --out meshes\n"
                "  kerf-job mesh --labels seg.nii.gz --out meshes --format stl\n"
                "  kerf-job mesh --labels seg.nii.gz --shared true --out meshes --format ply\n"
                "  kerf-job mesh --image ct.nii.gz --iso 300 --out bone.stl\n",
};

static const struct kf_job_param params[] = {
    {"iso", KF_PARAM_DOUBLE, AUTOMATIC, 1e6, AUTOMATIC, NULL, "HU or 1",
     "Grey value of the surface; the default stands for none: with labels, the value that parts them best."},
    {"cap", KF_PARAM_BOOLEAN, 0, 0, 1, NULL, "1", "Closes a structure where it reaches the border of the volume."},
    {"smooth", KF_PARAM_INTEGER, -1, 200, -1, NULL, "1",
     "Smoothing passes; -1 chooses 8 for grey values, 20 for labels and 4 for shared surfaces, which shrink a little; the "
     "volume of all others is kept."},
    {"shared", KF_PARAM_BOOLEAN, 0, 0, 0, NULL, "1",
     "Takes all labels from one net, so that two that touch have the same vertices and triangles there in PLY and STL. "
     "Grey values and piece_mm3 are not used, and no vertex leaves the cube between its eight voxels."},
    {"piece_mm3", KF_PARAM_DOUBLE, 0, 1e6, 1, NULL, "mm3", "Separate surfaces that enclose less than this are dropped."},
    {"lod0_mm", KF_PARAM_DOUBLE, 0, 100, 0.05, NULL, "mm", "Root mean square error that the finest level may have."},
    {"lod1_mm", KF_PARAM_DOUBLE, 0, 100, 0.3, NULL, "mm", "Root mean square error that the middle level may have."},
    {"lod2_mm", KF_PARAM_DOUBLE, 0, 100, 1.0, NULL, "mm", "Root mean square error that the coarsest level may have."},
    {0},
};

const struct kf_job_kind kf_job_mesh = {
    .name = "mesh",
    .version = 5,
    .bitwise = 1,
    .profile = KF_SANDBOX_OPENMP,
    .memory_limit_bytes = 16LL << 30,
    .time_limit_s = 900,
    .summary = "Makes surfaces of labels, or of a volume at a grey value: PLY, STL and GLB.",
    .params = params,
    .run = run,
    .cli = &cli,
};
