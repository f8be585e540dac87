// Which bone is surely skull, mandible or spine. Bone is taken apart by ever stronger separations: higher thresholds,
// erosions, and leaving out enamel and metal, through which the teeth of both jaws touch. The mildest at which a piece
// has the shape and place of a mandible decides: as wide as a jaw, its front near the front of the skull, its middle
// empty, below the middle of the skull. Left and right, front and back are those of LPS; turns up to about 14° do no
// harm to these rules.
#include "workers/jobs/segment/head.h"
#include "workers/kernels/image.h"

#include <math.h>
#include <string.h>

#define GRID_MM 1.25
#define COUNT   32

struct separation {
    double hu, erode_mm;
    int capped; // enamel and metal left out
};

struct piece {
    int64_t component;
    double ml, low[3], high[3], centre[3];
    double middle; // share of its voxels within 8 mm of the vertical through its box's middle
};

static struct separation separation_at(int step)
{
    static const double hu[] = {300, 450, 650, 900}, erode[] = {0, 1.3, 2.0, 2.7};
    return (struct separation){hu[step % 4], erode[step / 8], step / 4 % 2};
}

enum kf_kernel_status kf_head_bone(const struct kf_work *work, const struct kf_volume *volume,
                                   const struct kf_head_settings *s, const struct kf_bits *body, struct kf_bits *bone)
{
    const double *spacing = volume->grid.spacing_mm;
    double voxel_ml = spacing[0] * spacing[1] * spacing[2] / 1000;
    struct kf_bits seeds;
    enum kf_kernel_status status = kf_bits_alloc(work, bone->dim, &seeds);
    if (status)
        return status;
    status = kf_bits_threshold(work, volume, s->bone_hu, 1e9, bone);
    if (!status)
        status = kf_bits_threshold(work, volume, s->bone_hu + 200, 1e9, &seeds);
    if (!status) {
        kf_bits_combine(work, bone, KF_BITS_AND, body);
        status = kf_bits_hysteresis(work, bone, &seeds);
    }
    if (!status)
        status = kf_bits_drop_islands(work, bone, KF_NEIGHBOURS_26, (int64_t)ceil(s->island_ml / voxel_ml), NULL);
    if (!status)
        status = kf_bits_fill_holes(work, bone, KF_NEIGHBOURS_6, (int64_t)(2 / voxel_ml), NULL);
    kf_bits_release(work, &seeds);
    return status;
}

// bone ∧ value ≥ hu, without what is dense and 1.3 mm around it when capped, eroded.
static enum kf_kernel_status separate(const struct kf_work *work, const struct kf_volume *v, struct separation how,
                                      const struct kf_bits *bone, struct kf_bits *out)
{
    const double *spacing = v->grid.spacing_mm;
    struct kf_bits dense = {0};
    enum kf_kernel_status status = kf_bits_threshold(work, v, how.hu, 1e9, out);
    if (!status && how.capped) {
        status = kf_bits_alloc(work, out->dim, &dense);
        if (!status)
            status = kf_bits_threshold(work, v, 1900, 1e9, &dense);
        if (!status)
            status = kf_bits_dilate(work, &dense, spacing, 1.3);
        if (!status)
            kf_bits_combine(work, out, KF_BITS_AND_NOT, &dense);
    }
    if (!status) {
        kf_bits_combine(work, out, KF_BITS_AND, bone);
        status = how.erode_mm > 0 ? kf_bits_erode(work, out, spacing, how.erode_mm) : KF_KERNEL_OK;
    }
    kf_bits_release(work, &dense);
    return status;
}

static void widen(struct piece *p, const double at[3])
{
    for (int a = 0; a < 3; a++) {
        p->low[a] = fmin(p->low[a], at[a]);
        p->high[a] = fmax(p->high[a], at[a]);
    }
}

// Boxes, centres and middles of the components in patient space, from the ends of their runs.
static void measure(const struct kf_components *c, const struct kf_grid *g, struct piece *piece)
{
    double voxel_ml = g->spacing_mm[0] * g->spacing_mm[1] * g->spacing_mm[2] / 1000;
    for (int64_t n = 0; n < c->count; n++) {
        struct piece *p = &piece[n];
        double count = (double)c->table[n].voxels, at[3];
        for (int a = 0; a < 3; a++) {
            at[a] = (double)c->table[n].sum[a] / count;
            p->low[a] = 1e9;
            p->high[a] = -1e9;
        }
        p->component = n;
        p->ml = count * voxel_ml;
        p->middle = 0;
        kf_grid_to_lps(g, at, p->centre);
    }
    for (int pass = 0; pass < 2; pass++)
        for (int64_t row = 0; row < g->dim[1] * g->dim[2]; row++)
            for (int64_t r = c->row_first[row]; r < c->row_first[row + 1]; r++) {
                struct piece *p = &piece[c->component[r]];
                double ends[2][3] = {{c->start[r], (double)(row % g->dim[1]), (double)(row / g->dim[1])},
                                     {c->end[r] - 1, (double)(row % g->dim[1]), (double)(row / g->dim[1])}};
                double at[2][3], share = (double)(c->end[r] - c->start[r]) * voxel_ml / p->ml;
                kf_grid_to_lps(g, ends[0], at[0]);
                kf_grid_to_lps(g, ends[1], at[1]);
                for (int e = 0; e < 2 && pass == 0; e++)
                    widen(p, at[e]);
                double dx = (at[0][0] + at[1][0]) / 2 - (p->low[0] + p->high[0]) / 2;
                double dy = (at[0][1] + at[1][1]) / 2 - (p->low[1] + p->high[1]) / 2;
                if (pass == 1 && dx * dx + dy * dy < 64)
                    p->middle += share;
            }
}

static int is_mandible(const struct piece *p, const struct piece *skull)
{
    double w = p->high[0] - p->low[0], d = p->high[1] - p->low[1], h = p->high[2] - p->low[2];
    return p->ml >= 5 && p->ml <= 130 && w >= 55 && w <= 150 && d >= 28 && d <= 130 && h >= 14 && h <= 130 &&
           p->low[1] - skull->low[1] < 50 && p->centre[2] < skull->centre[2] - 25 && p->middle < 0.02;
}

// A ramus or half that a defect or the separation itself cut off.
static int is_piece_of_mandible(const struct piece *p, const struct piece *m)
{
    double middle = (m->low[0] + m->high[0]) / 2, h = p->high[2] - p->low[2], d = p->high[1] - p->low[1];
    double side = fabs(p->centre[0] - middle);
    return p->ml >= 1 && p->ml <= 60 && (h >= 25 || d >= 25) && side > 22 && side < 75 &&
           p->centre[2] < m->low[2] + 75 && p->high[2] < m->low[2] + 110 && p->low[2] > m->low[2] - 25 &&
           p->centre[1] < m->low[1] + 85;
}

static int is_spine(const struct piece *p, const struct kf_head_cores *cores)
{
    return p->ml >= 0.3 && fabs(p->centre[0] - cores->centre[0]) < 45 && p->centre[1] > cores->low[1] + 68 &&
           p->centre[2] < cores->low[2] + 78;
}

static int64_t largest(const struct piece *piece, int64_t count)
{
    int64_t best = 0;
    for (int64_t n = 1; n < count; n++)
        best = piece[n].ml > piece[best].ml ? n : best;
    return best;
}

// Of the pieces of one separation: the mandible, if there is one. -1: none.
static int64_t pick_mandible(const struct piece *piece, int64_t count, int64_t skull)
{
    int64_t best = -1;
    for (int64_t n = 0; n < count; n++)
        if (n != skull && is_mandible(&piece[n], &piece[skull]) && (best < 0 || piece[n].ml > piece[best].ml))
            best = n;
    return best;
}

static void take_mandible(struct kf_head_cores *cores, const struct piece *piece, int64_t count, int64_t main,
                          int64_t skull, uint8_t *keep)
{
    memcpy(cores->low, piece[main].low, sizeof cores->low);
    memcpy(cores->high, piece[main].high, sizeof cores->high);
    memcpy(cores->centre, piece[main].centre, sizeof cores->centre);
    cores->centre[0] = (cores->low[0] + cores->high[0]) / 2;
    cores->pieces = 0;
    for (int64_t n = 0; n < count; n++) {
        keep[n] = n != skull && (n == main || is_piece_of_mandible(&piece[n], &piece[main]));
        cores->pieces += keep[n];
    }
    cores->mandible_found = 1;
}

// Bone of the skull's piece where only the spine can be, in ml: box[0] to box[1].
static double skull_within(const struct kf_components *c, const struct kf_grid *g, int64_t skull,
                           const double box[2][3])
{
    double voxel_ml = g->spacing_mm[0] * g->spacing_mm[1] * g->spacing_mm[2] / 1000, ml = 0;
    for (int64_t row = 0; row < g->dim[1] * g->dim[2]; row++)
        for (int64_t r = c->row_first[row]; r < c->row_first[row + 1]; r++) {
            double ijk[3] = {0.5 * (c->start[r] + c->end[r] - 1), (double)(row % g->dim[1]),
                             (double)(row / g->dim[1])}, p[3];
            kf_grid_to_lps(g, ijk, p);
            int in = c->component[r] == skull;
            for (int a = 0; a < 3; a++)
                in = in && p[a] >= box[0][a] && p[a] <= box[1][a];
            ml += in ? (double)(c->end[r] - c->start[r]) * voxel_ml : 0;
        }
    return ml;
}

// 1 when the skull is free of the spine below the atlas.
static int spine_apart(const struct kf_components *c, const struct kf_grid *g, int64_t skull,
                       const struct kf_head_cores *m)
{
    const double box[2][3] = {{m->centre[0] - 25, m->low[1] + 72, -1e9}, {m->centre[0] + 25, 1e9, m->low[2] + 38}};
    return skull_within(c, g, skull, box) < 0.3;
}

// 1 when the skull is also free of the atlas: nothing of it around the dens, whose tip is the top of the spine.
static int atlas_apart(const struct kf_components *c, const struct kf_grid *g, int64_t skull,
                       const struct piece *piece, const struct kf_head_cores *m)
{
    const struct piece *top = NULL;
    for (int64_t n = 0; n < c->count; n++)
        if (n != skull && is_spine(&piece[n], m) && piece[n].ml > 2 && (!top || piece[n].high[2] > top->high[2]))
            top = &piece[n];
    if (!top)
        return 1;
    const double box[2][3] = {{m->centre[0] - 12, top->low[1] - 15, top->high[2] - 25},
                              {m->centre[0] + 12, top->low[1] + 15, top->high[2] - 4}};
    return skull_within(c, g, skull, box) < 0.1;
}

// One step: what it finds goes into *cores. `mask` is scratch.
static enum kf_kernel_status try_step(const struct kf_work *work, const struct kf_volume *v,
                                      const struct kf_bits *bone, int step, struct kf_bits *mask,
                                      struct kf_head_cores *cores)
{
    struct kf_components c = {0};
    enum kf_kernel_status status = separate(work, v, separation_at(step), bone, mask);
    if (!status)
        status = kf_components_find(work, mask, KF_NEIGHBOURS_6, &c);
    if (status)
        return status;
    struct piece *piece = kf_work_take(work, c.count * (int64_t)sizeof *piece);
    uint8_t *keep = kf_work_take(work, c.count);
    status = piece && keep ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status && c.count > 1) {
        measure(&c, &v->grid, piece);
        int64_t skull = largest(piece, c.count);
        int64_t main = cores->mandible_found ? -1 : pick_mandible(piece, c.count, skull);
        if (main >= 0) {
            take_mandible(cores, piece, c.count, main, skull, keep);
            cores->step = step;
            kf_components_draw(work, &c, keep, &cores->part[1]);
        }
        int apart = cores->mandible_found && spine_apart(&c, &v->grid, skull, cores);
        int atlas = apart && atlas_apart(&c, &v->grid, skull, piece, cores);
        if (apart && (atlas || !cores->spine_apart)) {
            cores->spine_apart = 1;
            cores->atlas_apart = atlas;
            for (int64_t n = 0; n < c.count; n++)
                keep[n] = n != skull && is_spine(&piece[n], cores);
            kf_components_draw(work, &c, keep, &cores->part[2]);
            kf_bits_combine(work, &cores->part[2], KF_BITS_AND_NOT, &cores->part[1]);
        }
        if (main >= 0 || atlas || !cores->mandible_found) {
            memset(keep, 0, (size_t)c.count);
            keep[skull] = 1;
            kf_components_draw(work, &c, keep, &cores->part[0]);
            kf_bits_combine(work, &cores->part[0], KF_BITS_AND_NOT, &cores->part[1]);
        }
    }
    kf_work_give(work, keep);
    kf_work_give(work, piece);
    kf_components_release(work, &c);
    return status;
}

// The bone on the coarse grid: a voxel counts when its mean is bone.
static enum kf_kernel_status coarse_bone(const struct kf_work *work, const struct kf_volume *v, struct kf_bits *bone)
{
    enum kf_kernel_status status = kf_bits_threshold(work, v, 250, 1e9, bone);
    if (!status)
        status = kf_bits_fill_holes(work, bone, KF_NEIGHBOURS_6, 1000, NULL);
    return status;
}

enum kf_kernel_status kf_head_cores_find(const struct kf_work *work, const struct kf_volume *volume,
                                         struct kf_head_cores *cores)
{
    memset(cores, 0, sizeof *cores);
    for (int a = 0; a < 3; a++)
        cores->factor[a] = (int64_t)fmax(1, floor(GRID_MM / volume->grid.spacing_mm[a]));
    kf_reduce_grid(&volume->grid, cores->factor, &cores->grid);
    struct kf_volume v = {.grid = cores->grid, .type = volume->type};
    struct kf_bits mask = {0}, solid = {0};
    v.data = kf_work_take(work, kf_grid_voxels(&v.grid) * kf_voxel_bytes(v.type));
    enum kf_kernel_status status = v.data ? kf_reduce(work, volume, cores->factor, &v) : KF_KERNEL_NOMEM;
    for (int p = 0; p < 3 && !status; p++)
        status = kf_bits_alloc(work, v.grid.dim, &cores->part[p]);
    if (!status)
        status = kf_bits_alloc(work, v.grid.dim, &mask);
    if (!status)
        status = kf_bits_alloc(work, v.grid.dim, &solid);
    if (!status)
        status = coarse_bone(work, &v, &solid);
    for (int step = 0; step < COUNT && !status && !(cores->mandible_found && cores->atlas_apart); step++) {
        status = try_step(work, &v, &solid, step, &mask, cores);
        if (!status && kf_work_step(work, (double)(step + 1) / COUNT))
            status = KF_KERNEL_CANCELLED;
    }
    kf_bits_release(work, &mask);
    kf_bits_release(work, &solid);
    kf_work_give(work, v.data);
    return status;
}

void kf_head_cores_release(const struct kf_work *work, struct kf_head_cores *cores)
{
    for (int p = 0; p < 3; p++)
        kf_bits_release(work, &cores->part[p]);
}
