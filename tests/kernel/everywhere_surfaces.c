// kernel_everywhere: surfaces.
#include "tests/kernel/everywhere.h"
#include "workers/kernels/bvh.h"
#include "workers/kernels/cover.h"
#include "workers/kernels/kdtree.h"
#include "workers/kernels/mesh_distance.h"
#include "workers/kernels/mesh_intersect.h"
#include "workers/kernels/mesh_onto.h"
#include "workers/kernels/mesh_repair.h"
#include "workers/kernels/mesh_thickness.h"
#include "workers/kernels/register.h"
#include "workers/kernels/surface.h"
#include "workers/kernels/surface_labels.h"

#include <stddef.h>
#include <string.h>

// Without what pads a struct.
static void add_report(const struct kf_mesh_report *r)
{
    add(r, offsetof(struct kf_mesh_report, oriented) + sizeof r->oriented);
    add(&r->area_mm2, (int64_t)(sizeof *r - offsetof(struct kf_mesh_report, area_mm2)));
}

// ---- surfaces ----

static enum kf_kernel_status surface_of(const struct kf_work *w, int cap, struct kf_mesh *mesh)
{
    const struct kf_surface_input input = {&in.bits, &grid, &in.image, 250, cap};
    return kf_surface(w, &input, mesh);
}

static enum kf_kernel_status run_surface(const struct kf_work *w)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    double level[2] = {0, 0}, mistakes[2] = {0, 0};
    for (int cap = 0; cap < 2 && !status; cap++) {
        struct kf_mesh mesh;
        status = surface_of(w, cap, &mesh);
        add_mesh(&mesh);
        kf_mesh_release(w, &mesh);
    }
    THEN(status, kf_surface_level(w, &in.bits, &in.image, &level[0], &mistakes[0]));
    THEN(status, kf_surface_level(w, &in.bits, &in.real, &level[1], &mistakes[1]));
    add(level, sizeof level);
    add(mistakes, sizeof mistakes);
    return status;
}

static void add_net(const struct kf_surface_labels *net)
{
    add(&net->vertices, sizeof net->vertices);
    add(&net->quads, sizeof net->quads);
    add(net->xyz, net->vertices * 12);
    add(net->corner, net->vertices * 8);
    add(net->ring, net->quads * 16);
    add(net->pair, net->quads * 2);
    add(net->kind, net->quads);
}

static enum kf_kernel_status run_surface_labels(const struct kf_work *w)
{
    const struct kf_surface_labels_input input = {.labels = &in.labels, .rounds = 3};
    struct kf_surface_labels net;
    struct kf_mesh mesh;
    uint8_t *pair = NULL;
    enum kf_kernel_status status = kf_surface_labels(w, &input, &net);
    if (!status)
        add_net(&net);
    for (int label = 0; label < 4 && !status; label++) {
        status = kf_surface_labels_mesh(w, &net, label, &mesh);
        add_mesh(&mesh);
        kf_mesh_release(w, &mesh);
    }
    if (!status)
        status = kf_surface_labels_net(w, &net, &mesh, &pair);
    if (!status) {
        add_mesh(&mesh);
        add(pair, mesh.triangles * 2);
        kf_mesh_release(w, &mesh);
        kf_work_give(w, pair);
    }
    kf_surface_labels_release(w, &net);
    return status;
}

// Treats a surface of the mask and adds what became of it.
static enum kf_kernel_status with_mesh(const struct kf_work *w, int cap,
                                       enum kf_kernel_status (*treat)(const struct kf_work *w, struct kf_mesh *mesh))
{
    struct kf_mesh mesh;
    enum kf_kernel_status status = surface_of(w, cap, &mesh);
    THEN(status, treat(w, &mesh));
    if (!status)
        add_mesh(&mesh);
    kf_mesh_release(w, &mesh);
    return status;
}

static enum kf_kernel_status measure(const struct kf_work *w, struct kf_mesh *mesh)
{
    struct kf_mesh_report report = {0};
    double volume, area;
    enum kf_kernel_status status = kf_mesh_check(w, mesh, &report);
    kf_mesh_measure(w, mesh, &volume, &area);
    add_report(&report);
    add_number(volume);
    add_number(area);
    THEN(status, kf_mesh_normals(w, mesh, floats));
    add(floats, mesh->vertices * 12);
    return status;
}

static enum kf_kernel_status smooth(const struct kf_work *w, struct kf_mesh *mesh)
{
    return kf_mesh_smooth(w, mesh, &(struct kf_mesh_smooth){9, 0.1, 1, 0.6, &grid});
}

static enum kf_kernel_status decimate(const struct kf_work *w, struct kf_mesh *mesh)
{
    double reached = 0;
    const struct kf_mesh_decimate how = {.target = mesh->triangles / 5, .error_mm = 1};
    enum kf_kernel_status status = kf_mesh_decimate(w, mesh, &how, &reached);
    add_number(reached);
    return status;
}

static enum kf_kernel_status decimate_within(const struct kf_work *w, struct kf_mesh *mesh)
{
    double measured = 0;
    const struct kf_mesh_decimate how = {.target = mesh->triangles / 3, .error_mm = 0.5};
    enum kf_kernel_status status = kf_mesh_decimate_within(w, mesh, &how, 0.4, &measured);
    add_number(measured);
    return status;
}

static enum kf_kernel_status hausdorff(const struct kf_work *w, struct kf_mesh *mesh)
{
    struct kf_bvh tree = {.mesh = NULL};
    struct kf_mesh before;
    double low = 0, high = 0;
    enum kf_kernel_status status = surface_of(w, 1, &before);
    THEN(status, kf_bvh_make(w, &before, &tree));
    THEN(status, kf_mesh_decimate(w, mesh, &(struct kf_mesh_decimate){0, 0.2}, NULL));
    THEN(status, kf_mesh_hausdorff(w, &tree, mesh, 1e-3, &low, &high));
    add_number(low);
    add_number(high);
    kf_bvh_release(w, &tree);
    kf_mesh_release(w, &before);
    return status;
}

static void map_triangles(const struct kf_work *w, struct kf_onto *map, struct kf_pace *pace)
{
    struct kf_loop loop = kf_loop_make(w, 1, 0, 1);
    pace->loop = &loop;
    struct kf_asker ask = kf_asker_begin(pace);
    for (int64_t t = 0; t < map->from->triangles; t++) {
        double far;
        add_number(kf_onto_triangle(map, &ask, t, 1, &far) ? far : -1);
    }
    kf_asker_finish(&ask);
    add(map->place, map->from->vertices * (int64_t)sizeof *map->place);
    add(map->seen, map->to->mesh->triangles);
}

static enum kf_kernel_status onto(const struct kf_work *w, struct kf_mesh *mesh)
{
    struct kf_bvh tree = {.mesh = NULL};
    struct kf_mesh before;
    struct kf_onto map = {.from = NULL};
    struct kf_pace pace = {.left = (int64_t)1 << 30};
    double farthest = 0;
    enum kf_kernel_status status = surface_of(w, 1, &before);
    THEN(status, kf_mesh_decimate(w, mesh, &(struct kf_mesh_decimate){0, 0.2}, NULL));
    THEN(status, kf_bvh_make(w, mesh, &tree));
    THEN(status, kf_onto_make(w, &before, &tree, &pace, &map, &farthest));
    if (!status)
        map_triangles(w, &map, &pace);
    add_number(farthest);
    kf_onto_release(w, &map);
    kf_bvh_release(w, &tree);
    kf_mesh_release(w, &before);
    return status;
}

// A soup: each triangle with corners of its own.
static enum kf_kernel_status part(const struct kf_work *w, struct kf_mesh *mesh)
{
    const int64_t corners = 3 * mesh->triangles;
    float *xyz = kf_work_take(w, corners * 12);
    if (!xyz)
        return KF_KERNEL_NOMEM;
    for (int64_t c = 0; c < corners; c++) {
        memcpy(xyz + 3 * c, mesh->xyz + 3 * (int64_t)mesh->index[c], 12);
        mesh->index[c] = (uint32_t)c;
    }
    kf_work_give(w, mesh->xyz);
    mesh->xyz = xyz;
    mesh->vertices = corners;
    return KF_KERNEL_OK;
}

static enum kf_kernel_status weld(const struct kf_work *w, struct kf_mesh *mesh)
{
    int64_t removed = 0;
    enum kf_kernel_status status = part(w, mesh);
    THEN(status, kf_mesh_weld(w, mesh));
    add_mesh(mesh);
    THEN(status, kf_mesh_drop_small(w, mesh, 2, &removed));
    add(&removed, sizeof removed);
    return status;
}

// Holes, and a fold through the rest.
static enum kf_kernel_status repair(const struct kf_work *w, struct kf_mesh *mesh)
{
    struct kf_mesh_repair_report r = {0};
    const struct kf_mesh_repair how = {.least_mm3 = 1, .hole_edges = 500, .intersections = 2};
    enum kf_kernel_status status = part(w, mesh);
    for (int64_t t = 0; t < mesh->triangles; t += 301)
        mesh->index[3 * t + 1] = mesh->index[3 * t];
    for (int64_t v = 0; v < mesh->vertices; v += 1501)
        mesh->xyz[3 * v] += 3;
    THEN(status, kf_mesh_repair(w, mesh, &how, &r));
    add_report(&r.before);
    add_report(&r.after);
    add(&r.welded_vertices, (int64_t)(offsetof(struct kf_mesh_repair_report, changed) + sizeof r.changed -
                                      offsetof(struct kf_mesh_repair_report, welded_vertices)));
    return status;
}

static enum kf_kernel_status intersect(const struct kf_work *w, struct kf_mesh *mesh)
{
    struct kf_mesh_intersections found = {0};
    for (int64_t v = 0; v < mesh->vertices; v += 97)
        mesh->xyz[3 * v + 1] += 2;
    enum kf_kernel_status status = kf_mesh_intersect(w, mesh, 200, &found);
    if (!status) {
        const int64_t counts[3] = {found.pairs, found.flat, found.listed};
        add(counts, sizeof counts);
        add(found.pair, found.listed * 8);
        kf_work_give(w, found.pair);
    }
    return status;
}

static enum kf_kernel_status thickness(const struct kf_work *w, struct kf_mesh *mesh)
{
    enum kf_kernel_status status = kf_mesh_thickness(w, mesh, &(struct kf_mesh_thickness){12, 0.7}, floats);
    add(floats, mesh->vertices * 4);
    return status;
}

// The boxes around it, and the nearest points of it.
static enum kf_kernel_status boxes(const struct kf_work *w, struct kf_mesh *mesh)
{
    struct kf_bvh bvh;
    enum kf_kernel_status status = kf_bvh_make(w, mesh, &bvh);
    if (status)
        return status;
    add(bvh.order, mesh->triangles * 4);
    for (int level = 0; level < bvh.levels; level++)
        add(bvh.node[level], bvh.nodes[level] * (int64_t)sizeof *bvh.node[level]);
    for (int n = 0; n < 200; n++) {
        struct kf_bvh_nearest near;
        const double p[3] = {n % 7 * 5 - 20, n % 11 * 4, n % 13 * 4};
        add_number(kf_bvh_nearest(&bvh, p, UINT32_MAX, &near));
        add(&near.distance2, sizeof near.distance2);
        add(near.point, sizeof near.point);
        add(&near.triangle, sizeof near.triangle);
        add_number(kf_bvh_near(&bvh, p, UINT32_MAX, 9, &near));
        add(&near.triangle, sizeof near.triangle);
        const double facet[3][3] = {{p[0], p[1], p[2]}, {p[0] + 2, p[1], p[2] + 1}, {p[0], p[1] + 2, p[2] - 1}};
        double height;
        int64_t looks;
        add_number(kf_bvh_covers(&bvh, facet, 3, &height, &looks));
        add(&height, sizeof height);
    }
    kf_bvh_release(w, &bvh);
    return KF_KERNEL_OK;
}

static enum kf_kernel_status points(const struct kf_work *w, struct kf_mesh *mesh)
{
    struct kf_kdtree tree;
    enum kf_kernel_status status = kf_kdtree_make(w, mesh->xyz, mesh->vertices, &tree);
    if (status)
        return status;
    add(tree.xyz, tree.count * 12);
    add(tree.number, tree.count * 4);
    for (int n = 0; n < 200; n++) {
        const float p[3] = {(float)(n % 7 * 5 - 20), (float)(n % 11 * 4), (float)(n % 13 * 4)};
        float square;
        uint32_t number = kf_kdtree_nearest(&tree, p, &square);
        add(&number, sizeof number);
        add(&square, sizeof square);
    }
    kf_kdtree_release(w, &tree);
    return KF_KERNEL_OK;
}

// From the surface to itself, moved and smoothed.
static enum kf_kernel_status two_surfaces(const struct kf_work *w, struct kf_mesh *mesh)
{
    struct kf_mesh other;
    struct kf_mesh_distance distance;
    struct kf_affine found;
    struct kf_register_surfaces_report report = {0};
    const struct kf_mesh_distance_how how = {0.5, 0.01};
    const struct kf_register_surfaces search = {.points = 700, .iterations = 30};
    enum kf_kernel_status status = surface_of(w, 1, &other);
    THEN(status, smooth(w, &other));
    for (int64_t v = 0; v < other.vertices; v++)
        other.xyz[3 * v + v % 2] += 0.75f;
    THEN(status, kf_mesh_distance(w, mesh, &other, &how, &distance));
    if (!status)
        add(&distance, sizeof distance);
    THEN(status, kf_register_surfaces(w, mesh, &other, &search, &found, &report));
    if (!status)
        add(&found, sizeof found);
    add(&report, sizeof report);
    kf_mesh_release(w, &other);
    return status;
}

#define WITH_MESH(name, cap, treat)                                                                                    \
    static enum kf_kernel_status name(const struct kf_work *w)                                                         \
    {                                                                                                                  \
        return with_mesh(w, cap, treat);                                                                               \
    }
WITH_MESH(run_measure, 0, measure)
WITH_MESH(run_smooth, 1, smooth)
WITH_MESH(run_decimate, 1, decimate)
WITH_MESH(run_decimate_within, 1, decimate_within)
WITH_MESH(run_hausdorff, 1, hausdorff)
WITH_MESH(run_onto, 1, onto)
WITH_MESH(run_weld, 1, weld)
WITH_MESH(run_repair, 1, repair)
WITH_MESH(run_intersect, 1, intersect)
WITH_MESH(run_thickness, 1, thickness)
WITH_MESH(run_boxes, 1, boxes)
WITH_MESH(run_points, 1, points)
WITH_MESH(run_two_surfaces, 1, two_surfaces)

const struct kernel kernels_of_surfaces[] = {
    {"surface", run_surface},
    {"surface of labels", run_surface_labels},
    {"check, measure, normals", run_measure},
    {"smooth", run_smooth},
    {"decimate", run_decimate},
    {"decimate within", run_decimate_within},
    {"hausdorff", run_hausdorff},
    {"onto", run_onto},
    {"weld, drop small", run_weld},
    {"repair", run_repair},
    {"intersections", run_intersect},
    {"thickness", run_thickness},
    {"boxes", run_boxes},
    {"nearest points", run_points},
    {"two surfaces", run_two_surfaces},
    {NULL, NULL}};
