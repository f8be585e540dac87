// repair: a mesh from anywhere (PLY, STL, GLB) → a sound one (PLY and STL), and a certificate of what it is now and what
// was done. What cannot be repaired is not hidden: the certificate says "sound": false and why.
#include "workers/io/memory.h"
#include "workers/io/meshfile.h"
#include "workers/jobs/shared.h"
#include "workers/kernels/mesh_repair.h"
#include "workers/runtime/cli.h"

#include <stddef.h>
#include <string.h>

// intersections: NULL when they are not known.
static json_t *topology_json(const struct kf_mesh_report *r, const int64_t *intersections, int64_t triangles,
                             int64_t vertices)
{
    json_t *pairs = intersections ? json_integer((json_int_t)*intersections) : json_null();
    return json_pack("{s:b,s:b,s:b,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:[[f,f,f],[f,f,f]]}", "closed", r->closed,
                     "manifold", r->manifold, "oriented", r->oriented, "self_intersections", pairs, "boundary_edges",
                     (json_int_t)r->boundary_edges, "nonmanifold_edges", (json_int_t)r->nonmanifold_edges,
                     "nonmanifold_vertices", (json_int_t)r->nonmanifold_vertices, "misoriented_edges",
                     (json_int_t)r->misoriented_edges, "triangles", (json_int_t)triangles, "vertices",
                     (json_int_t)vertices, "components", (json_int_t)r->components, "surface_mm2", r->area_mm2,
                     "volume_ml", r->volume_mm3 / 1000, "bounds_lps_mm", r->bounds[0][0], r->bounds[0][1],
                     r->bounds[0][2], r->bounds[1][0], r->bounds[1][1], r->bounds[1][2]);
}

static json_t *done_json(const struct kf_mesh_repair_report *r)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "welded_vertices", (json_int_t)r->welded_vertices,
                     "degenerate_triangles_dropped", (json_int_t)r->degenerate_triangles,
                     "duplicate_triangles_dropped", (json_int_t)r->duplicate_triangles, "triangles_turned",
                     (json_int_t)r->turned_triangles, "vertices_added_by_splitting", (json_int_t)r->split_vertices,
                     "holes_filled", (json_int_t)r->holes_filled, "triangles_added_in_holes",
                     (json_int_t)r->hole_triangles, "pieces_dropped", (json_int_t)r->pieces_removed);
}

// A new reference, or NULL without memory. `was`: the mesh as it came.
static json_t *certificate(const struct kf_mesh_repair_report *r, const struct kf_mesh *was, const struct kf_mesh *mesh)
{
    const int64_t *before = r->intersections_unknown ? NULL : &r->intersections_before;
    const int64_t *after = r->intersections_unknown ? NULL : &r->intersections_after;
    return json_pack("{s:b,s:b,s:o,s:o,s:o,s:I}", "sound", r->sound, "changed", r->changed, "mesh",
                     topology_json(&r->after, after, mesh->triangles, mesh->vertices), "was",
                     topology_json(&r->before, before, was->triangles, was->vertices), "done",
                     done_json(r), "flat_triangles", (json_int_t)r->flat_triangles);
}

static enum kf_status repair(const struct kf_work *work, struct kf_mesh *mesh, const struct kf_mesh_repair *how,
                             struct kf_mesh_repair_report *report, struct kf_error *err)
{
    enum kf_kernel_status status = kf_mesh_repair(work, mesh, how, report);
    if (status == KF_KERNEL_TOO_LARGE)
        return kf_error_set(err, KF_TOO_LARGE, "mesh_intricate",
                            "so many facets lie beside or behind each other that the mesh cannot be repaired");
    if (!status && mesh->triangles == 0)
        return kf_error_set(err, KF_UNPROCESSABLE, "nothing_left", "no piece of the mesh encloses piece_mm3");
    return kf_work_status(status, err, "repairing the mesh");
}

static enum kf_status declare(struct kf_job_work *w, const struct kf_mesh *mesh, json_t *paper, struct kf_error *err)
{
    struct kf_job_context *job = w->job;
    static const char *const files[2][2] = {{"repaired.ply", "model/ply"}, {"repaired.stl", "model/stl"}};
    enum kf_status status = KF_OK;
    for (int n = 0; n < 2 && !status; n++) {
        const char *path = kf_job_output_path(job, files[n][0]);
        json_t *meta = json_deep_copy(paper);
        if (!path || !meta) {
            json_decref(meta);
            return kf_error_set(err, KF_NOMEM, NULL, "no memory for the result");
        }
        json_object_set_new(meta, "frame", json_string("LPS mm"));
        struct kf_work_part part;
        const struct kf_work *share = kf_work_part(&part, &w->work, 0.5 * n, 0.5 * n + 0.5);
        status = n ? kf_stl_write(share, path, mesh, err) : kf_ply_write(share, path, mesh, NULL, err);
        if (status)
            json_decref(meta);
        else
            status = kf_job_output(job, files[n][0], "mesh", files[n][0], files[n][1], meta);
    }
    const char *path = status ? NULL : kf_job_output_path(job, "certificate.json");
    if (!status && !path)
        status = kf_error_set(err, KF_NOMEM, NULL, "no memory for the result");
    if (!status)
        status = kf_json_save(path, paper, err);
    if (!status)
        status = kf_job_output(job, "certificate", "certificate", "certificate.json", "application/json",
                               json_incref(paper));
    return status;
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    struct kf_job_work w;
    struct kf_mesh mesh = {0}, was;
    struct kf_mesh_repair_report report = {0};
    const struct kf_job_input *input = kf_job_input_named(job, "mesh");
    const struct kf_mesh_repair how = {.least_mm3 = kf_job_double(job, "piece_mm3"),
                                       .hole_edges = kf_job_integer(job, "hole_edges"),
                                       .intersections = (int)kf_job_integer(job, "rounds")};
    if (!input)
        return kf_error_set(err, KF_INVALID, "input_missing", "the job needs an input named mesh");
    kf_job_work_init(&w, job);
    kf_job_work_stage(&w, "reading", 0, 0.2);
    enum kf_status status = kf_job_read_mesh(&w.work, input, &mesh, err);
    kf_job_work_stage(&w, "repairing", 0.2, 0.9);
    was = mesh;
    if (!status)
        status = repair(&w.work, &mesh, &how, &report, err);
    json_t *paper = status ? NULL : certificate(&report, &was, &mesh);
    kf_job_work_stage(&w, "writing", 0.9, 1);
    if (!status && !paper)
        status = kf_error_set(err, KF_NOMEM, NULL, "no memory for the certificate");
    if (!status)
        status = declare(&w, &mesh, paper, err);
    if (!status && report.intersections_unknown)
        kf_job_warn(job, "intersections_unknown",
                    "so many facets lie beside each other that not all were compared: whether the mesh runs through "
                    "itself is not known");
    if (!status && !report.sound)
        kf_job_warn(job, "mesh_unsound", "the mesh could not be made sound: the certificate says what is left");
    kf_job_report(job, "sound", json_boolean(report.sound));
    json_decref(paper);
    kf_mesh_release(&w.work, &mesh);
    return status;
}

// --out FILE.stl or FILE.ply; --certificate FILE.json.
static enum kf_status place(struct kf_job_context *job, struct kf_error *err)
{
    const char *out = kf_job_option(job, "--out"), *paper = kf_job_option(job, "--certificate");
    int ply = strcmp(out + strlen(out) - 4, ".ply") == 0;
    enum kf_status status = kf_job_place_file(kf_job_output_at(job, ply ? 0 : 1).path, out, err);
    if (!status && paper)
        status = kf_job_place_file(kf_job_output_at(job, 2).path, paper, err);
    return status;
}

static const struct kf_cli_flag flags[] = {
    {"--mesh", KF_CLI_INPUT, "mesh", 1, "The mesh to repair: PLY, STL or GLB."},
    {"--certificate", KF_CLI_OPTION, NULL, 0, "Where to write what the mesh is now, what it was and what was done (JSON)."},
    {0},
};

static const struct kf_cli_name names[] = {{"--out", ".stl .ply", 1}, {0}};

static const struct kf_job_cli cli = {
    .flags = flags,
    .names = names,
    .place = place,
    .examples = "  kerf-job repair --mesh scan.stl --out sound.stl --certificate sound.json\n",
};

static const struct kf_job_param params[] = {
    {"piece_mm3", KF_PARAM_DOUBLE, 0, 1e6, 1, NULL, "mm3", "Separate surfaces that enclose less than this are dropped."},
    {"hole_edges", KF_PARAM_INTEGER, 0, 1e9, 100000, NULL, "1", "Holes with more edges than this stay open; 0 fills none."},
    {"rounds", KF_PARAM_INTEGER, 0, 10, 3, NULL, "1",
     "Rounds in which facets that run through others are cut out, as long as fewer remain; 0 only counts them."},
    {0},
};

const struct kf_job_kind kf_job_repair = {
    .name = "repair",
    .version = 2,
    .bitwise = 1,
    .profile = KF_SANDBOX_OPENMP,
    .memory_limit_bytes = 8LL << 30,
    .time_limit_s = 600,
    .summary = "Repairs a mesh and certifies that it is closed, manifold, oriented and does not run through itself.",
    .params = params,
    .run = run,
    .cli = &cli,
};
