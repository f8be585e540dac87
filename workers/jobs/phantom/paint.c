#include "workers/jobs/phantom/paint.h"
#include <stdlib.h>
#include <string.h>

#define SLACK  1.3   // how far a distance may overstate what it measures, away from the surface
#define INSIDE (-99) // the depth of a voxel that lies deeper than its tissue's shell

static const int64_t block_edge[] = {64, 16, 4};

struct active {
    int part, first, n; // prims: list[first … first + n)
    int solid;
};

struct level {
    int count, used;
    struct active active[KF_SDF_PARTS]; // front (last painted) first
    uint16_t list[KF_SDF_PRIMS];
};

struct painter {
    const struct kf_paint *job;
    double pv;     // width of the partial volume, mm
    double *reach; // per primitive: how far it blends, mm
    int16_t *values;
    uint8_t *labels;
};

static double part_margin(const struct kf_scene *scene, const struct kf_sdf_part *part, double pv)
{
    double shell = scene->materials[part->material].shell_mm * part->shell_scale;
    return (shell > 0 ? 1.3 * shell + 0.3 : 0) + pv + part->rough;
}

static double outside_box(struct kf_v3 p, struct kf_v3 lo, struct kf_v3 hi)
{
    double x = fmax(fmax(lo.x - p.x, p.x - hi.x), 0);
    double y = fmax(fmax(lo.y - p.y, p.y - hi.y), 0);
    double z = fmax(fmax(lo.z - p.z, p.z - hi.z), 0);
    return sqrt(x * x + y * y + z * z);
}

// Which of a part's primitives can matter within `radius` of c. Returns 0 when the part cannot be there at all.
static int choose(const struct painter *painter, const struct active *above, const uint16_t *from, struct kf_v3 c,
                  double radius, double margin, struct level *out, struct active *made)
{
    const struct kf_scene *scene = painter->job->scene;
    int adds = 0;
    made->first = out->used;
    made->n = 0;
    for (int i = 0; i < above->n; i++) {
        const struct kf_sdf_prim *prim = &scene->prims[from[above->first + i]];
        const struct kf_sdf_group *group = &scene->groups[prim->group];
        int always = group->op == KF_INTERSECT || prim->op == KF_INTERSECT;
        double reach = radius + margin + painter->reach[from[above->first + i]] + fabs(group->grow);
        if (!always && outside_box(c, prim->lo, prim->hi) > reach)
            continue;
        adds += group->op == KF_UNION && prim->op == KF_UNION;
        out->list[out->used++] = from[above->first + i];
        made->n++;
    }
    return adds;
}

static void narrow(const struct painter *painter, const struct level *above, struct level *out, struct kf_v3 c,
                   double radius)
{
    const struct kf_scene *scene = painter->job->scene;
    out->count = out->used = 0;
    for (int i = 0; i < above->count; i++) {
        const struct active *a = &above->active[i];
        const struct kf_sdf_part *part = &scene->parts[a->part];
        struct active made = {.part = a->part, .solid = a->solid, .first = out->used};
        double margin = part_margin(scene, part, painter->pv);
        if (!a->solid) {
            if (outside_box(c, part->lo, part->hi) > radius + painter->pv + part->rough)
                continue;
            if (!choose(painter, a, above->list, c, radius, margin, out, &made)) {
                out->used = made.first;
                continue;
            }
            double d = kf_part_distance(scene, a->part, out->list + made.first, made.n, c);
            if (d > radius * SLACK + painter->pv + part->rough) {
                out->used = made.first;
                continue;
            }
            if (d < -(radius * SLACK + margin)) {
                made.solid = 1;
                made.n = 0;
                out->used = made.first;
            }
        }
        out->active[out->count++] = made;
        if (made.solid && part->label != KF_LABEL_BELOW)
            return; // nothing shows through
    }
}

static double shell_factor(const struct kf_sdf_part *part, double z)
{
    if (part->band[0] == part->band[3])
        return part->shell_scale;
    double w = kf_ramp(z, part->band[0], part->band[1]) * (1 - kf_ramp(z, part->band[2], part->band[3]));
    return part->shell_ends + w * (part->shell_scale - part->shell_ends);
}

static double tissue(const struct painter *painter, const struct kf_sdf_part *part, struct kf_v3 p, double d)
{
    const struct kf_scene *scene = painter->job->scene;
    const struct kf_material *m = &scene->materials[part->material];
    int t2 = painter->job->t2;
    double value = t2 ? m->t2 : m->hu;
    if (m->texture_hu > 0)
        value += (t2 ? 0.25 : 1) * m->texture_hu * kf_scene_noise(scene, p, m->texture_mm);
    if (m->mixed > 0) {
        double from = (0.5 - m->mixed) * 1.2;
        double w = kf_ramp(kf_scene_noise(scene, KF_V(p.x + 31, p.y, 0.6 * p.z), m->mixed_mm), from, from + 0.2);
        value += w * ((t2 ? m->t2_mixed : m->hu_mixed) - value);
    }
    if (m->shell_mm > 0 && d > INSIDE) {
        double s = m->shell_mm * shell_factor(part, p.z) * (1 + 0.25 * kf_scene_noise(scene, p, 14));
        double w = 1 - kf_ramp(-d, s - 0.25, s + 0.25);
        value += w * ((t2 ? m->t2_shell : m->hu_shell) - value);
    }
    return value;
}

static void paint_voxel(const struct painter *painter, const struct level *level, struct kf_v3 p, int64_t at)
{
    const struct kf_scene *scene = painter->job->scene;
    double through = 1, value = 0;
    int label = KF_LABEL_BELOW;
    for (int i = 0; i < level->count; i++) {
        const struct active *a = &level->active[i];
        const struct kf_sdf_part *part = &scene->parts[a->part];
        double d = a->solid ? INSIDE : kf_part_distance(scene, a->part, level->list + a->first, a->n, p);
        double cover = kf_clamp(0.5 - d / painter->pv, 0, 1);
        if (cover > 0 && through > 0) {
            value += through * cover * tissue(painter, part, p, fmax(d, INSIDE));
            through *= 1 - cover;
        }
        if (label == KF_LABEL_BELOW && d < 0)
            label = part->label;
        if (through < 1e-3 && label != KF_LABEL_BELOW)
            break;
    }
    value += through * (painter->job->t2 ? 4 : -1000);
    painter->values[at] = (int16_t)kf_clamp(floor(value * KF_PAINT_UNIT + 0.5), -32000, 32000);
    if (painter->labels)
        painter->labels[at] = (uint8_t)(label == KF_LABEL_BELOW ? 0 : label);
}

static struct kf_v3 scene_point(const struct kf_paint *job, double i, double j, double k)
{
    double ijk[3] = {i, j, k}, p[3];
    kf_grid_to_lps(job->grid, ijk, p);
    struct kf_v3 lps = KF_V(p[0], p[1], p[2]);
    return job->unmap ? job->unmap(job->context, lps) : lps;
}

static void paint_leaf(const struct painter *painter, const struct level *level, const int64_t lo[3],
                       const int64_t hi[3])
{
    const struct kf_grid *grid = painter->job->grid;
    for (int64_t k = lo[2]; k < hi[2]; k++)
        for (int64_t j = lo[1]; j < hi[1]; j++) {
            int64_t row = (k * grid->dim[1] + j) * grid->dim[0];
            for (int64_t i = lo[0]; i < hi[0]; i++)
                paint_voxel(painter, level, scene_point(painter->job, (double)i, (double)j, (double)k), row + i);
        }
}

// Paints voxels lo … hi, which lie in one block of block_edge[depth]; levels[depth] holds what may be in the block
// above.
static void paint_block(const struct painter *painter, struct level *levels, int depth, const int64_t lo[3],
                        const int64_t hi[3])
{
    const struct kf_paint *job = painter->job;
    double half[3], radius2 = 0;
    for (int a = 0; a < 3; a++) {
        half[a] = 0.5 * (double)(hi[a] - lo[a] - 1);
        radius2 += half[a] * half[a] * job->grid->spacing_mm[a] * job->grid->spacing_mm[a];
    }
    struct kf_v3 c = scene_point(job, (double)lo[0] + half[0], (double)lo[1] + half[1], (double)lo[2] + half[2]);
    struct level *mine = &levels[depth + 1];
    narrow(painter, &levels[depth], mine, c, sqrt(radius2) * job->stretch);
    if (depth == 2 || mine->count == 0 || (mine->count == 1 && mine->active[0].solid)) {
        paint_leaf(painter, mine, lo, hi);
        return;
    }
    int64_t edge = block_edge[depth + 1];
    for (int64_t k = lo[2]; k < hi[2]; k += edge)
        for (int64_t j = lo[1]; j < hi[1]; j += edge)
            for (int64_t i = lo[0]; i < hi[0]; i += edge) {
                int64_t from[3] = {i, j, k};
                int64_t to[3] = {i + edge < hi[0] ? i + edge : hi[0], j + edge < hi[1] ? j + edge : hi[1],
                                 k + edge < hi[2] ? k + edge : hi[2]};
                paint_block(painter, levels, depth + 1, from, to);
            }
}

static void everything(const struct kf_scene *scene, struct level *level)
{
    level->count = level->used = 0;
    for (int i = scene->part_count - 1; i >= 0; i--) {
        const struct kf_sdf_part *part = &scene->parts[i];
        struct active *a = &level->active[level->count++];
        *a = (struct active){.part = i, .first = level->used};
        for (int g = part->first; g < part->first + part->count; g++)
            for (int p = 0; p < scene->groups[g].count; p++)
                level->list[level->used++] = (uint16_t)(scene->groups[g].first + p);
        a->n = level->used - a->first;
    }
}

// A primitive matters as far as any blend that follows it: the later ones of its group, then of its part.
static void lay_reach(const struct kf_scene *scene, double *reach)
{
    for (int n = 0; n < scene->part_count; n++) {
        const struct kf_sdf_part *part = &scene->parts[n];
        double later = 0;
        for (int g = part->first + part->count - 1; g >= part->first; g--) {
            const struct kf_sdf_group *group = &scene->groups[g];
            later = fmax(later, group->k);
            double blend = later;
            for (int p = group->first + group->count - 1; p >= group->first; p--) {
                blend = fmax(blend, scene->prims[p].k);
                reach[p] = blend;
            }
        }
    }
}

enum kf_status kf_paint_run(const struct kf_paint *paint, int16_t *values, uint8_t *labels, struct kf_error *err)
{
    const int64_t *dim = paint->grid->dim, *edge = block_edge;
    const double *spacing = paint->grid->spacing_mm;
    struct painter painter = {paint, 1, calloc(KF_SDF_PRIMS, sizeof(double)), values, labels};
    if (!painter.reach)
        return kf_error_set(err, KF_NOMEM, NULL, "No memory to paint the phantom.");
    lay_reach(paint->scene, painter.reach);
    painter.pv = (spacing[0] + spacing[1] + spacing[2]) / 3;
    int64_t blocks[3];
    for (int a = 0; a < 3; a++)
        blocks[a] = (dim[a] + edge[0] - 1) / edge[0];
    int64_t total = blocks[0] * blocks[1] * blocks[2];
    int threads = paint->threads > 0 ? paint->threads : 1, failed = 0;
#pragma omp parallel num_threads(threads)
    {
        struct level *levels = malloc(4 * sizeof *levels);
        if (!levels) {
#pragma omp atomic write
            failed = 1;
        } else {
            everything(paint->scene, &levels[0]);
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t b = 0; b < total; b++) {
            if (!levels)
                continue;
            int64_t lo[3] = {b % blocks[0] * edge[0], b / blocks[0] % blocks[1] * edge[0],
                             b / (blocks[0] * blocks[1]) * edge[0]},
                    hi[3];
            for (int a = 0; a < 3; a++)
                hi[a] = lo[a] + edge[0] < dim[a] ? lo[a] + edge[0] : dim[a];
            if (paint->flat)
                paint_leaf(&painter, &levels[0], lo, hi);
            else
                paint_block(&painter, levels, 0, lo, hi);
        }
        free(levels);
    }
    free(painter.reach);
    return failed ? kf_error_set(err, KF_NOMEM, NULL, "No memory to paint the phantom.") : KF_OK;
}

int kf_paint_label(const struct kf_scene *scene, struct kf_v3 p)
{
    for (int i = scene->part_count - 1; i >= 0; i--)
        if (scene->parts[i].label != KF_LABEL_BELOW && kf_part_distance(scene, i, NULL, 0, p) < 0)
            return scene->parts[i].label;
    return 0;
}
