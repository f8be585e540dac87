// Old bone: marrow as dark as muscle in shells that no threshold for usual ones finds. How dense both are is read from
// the image itself, at the walls of bodies; then what such shells enclose is marrow. See spine.h.
#include "workers/jobs/segment/spine.h"
#include "workers/kernels/kdtree.h"

#include <math.h>
#include <stddef.h>

#define PALE       1.15 // times the threshold of spongy bone: texture of a fifth leaves holes in paler marrow
#define CORE_MM    8    // of a body, in which no wall lies: less than half of the depth of any
#define CORE_STEP  2
#define LEAST_FALL 100 // HU from a wall to what is outside: less is none
// What is lifted becomes as dense as at L1 in the middle of life: 226 HU below 30 years, 2.5 less for each further year
// (Jang, Graffy, Ziemlewicz, Lee, Summers, Pickhardt, Radiology 291(2), 2019).
#define LIFTED_HU    185
#define MOST_MM3     200e3 // of marrow in one piece: twice a sacrum's
#define LEAST_HU     (-80) // of a piece: marrow that is all fat has as much
#define ALIEN        0.01  // of a piece: with more in a canal or a disc it is none that bone encloses
#define CANAL_MM     5.0   // from the canal's middle there is no bone
#define SACRAL_MM    20.0  // below the last disc, along the canal: farther down it ends in bone
#define DISC_MM      1.0   // from a disc's middle plane, and DISC_SIDE_MM from the axis, there is none
#define DISC_SIDE_MM 12.0
#define FAT_HU       (-100) // half way from here to marrow is fat
// A gap of 2 mm between plates of 14 mm, which is a joint's, is open at its rim on 0.22 of its surface.
#define MOST_OPEN 0.1
#define RAYS      26
#define RAY_MM    12.0 // half the height of a lumbar lamina
#define RAY_STEPS 24
#define RAYS_OPEN 5 // in a gap between plates 8 are open, in the hole of a plate 9
#define GROWTHS   7

// What bounds marrow. Fat: a hole that leads to it does not matter. Rays: nor does one that leads to muscle, for most
// ways out of the narrow parts of a vertebra still meet bone; wide ones, as a sacrum has, are out of their reach.
enum wall { BY_BONE, BY_BONE_AND_FAT, BY_RAYS };

// close_mm: half the widest hole in a shell that is closed. The narrow parts of an arch are found with small ones
// alone, what has larger holes of noise with large ones alone, and marrow is what any of them finds. In phantoms of 60
// and 80 HU in voxels of 0.7 to 1.3 mm each of them finds some that no other does; joints of 2 mm stay, for what has
// grown together is no hole. least_mm3: less is texture, and where wide holes are closed a gap between the shells of
// neighbours: such have 20 to 100 mm3 in the real crop of old bone, marrow in phantoms has more.
static const struct growth {
    double close_mm, least_mm3;
    enum wall wall;
} growths[GROWTHS] = {{0, 15, BY_BONE},    {0.75, 15, BY_BONE},         {1.5, 120, BY_BONE},
                      {2.2, 120, BY_BONE}, {1.5, 120, BY_BONE_AND_FAT}, {2.2, 120, BY_BONE_AND_FAT},
                      {1.5, 120, BY_RAYS}};

struct marrow {
    const struct kf_volume *volume;
    const struct kf_spine *spine;
    const uint8_t *bodies;
    struct kf_bits *solid, *fat;
    int ray[RAYS][RAY_STEPS][3], steps; // voxels along each
};

// Of a component: voxels where no bone can be, the sum of values, faces towards bone and where it is open.
struct tally {
    int64_t alien, closed, open;
    double sum;
};

// Median over bodies of the median of their cores, HU.
static double marrow_hu(const struct kf_volume *volume, const struct kf_spine *spine)
{
    float body[KF_SPINE_MOST], value[(2 * CORE_MM / CORE_STEP + 1) * (2 * CORE_MM / CORE_STEP + 1)];
    int bodies = 0;
    for (int d = 0; d + 1 < spine->discs; d++) {
        const struct kf_spine_disc *above = &spine->disc[d], *below = above + 1;
        const struct kf_spine_station *t =
            &spine->station[(int)fmin(fmax(0.5 * (above->s + below->s), 0), spine->stations - 1)];
        int count = 0;
        for (int u = -CORE_MM; u <= CORE_MM; u += CORE_STEP)
            for (int v = -CORE_MM; v <= CORE_MM; v += CORE_STEP) {
                double p[3];
                for (int c = 0; c < 3; c++)
                    p[c] = 0.5 * (above->middle[c] + below->middle[c]) + u * t->left[c] + v * t->front[c];
                double hu = kf_spine_value(volume, p, -2000);
                if (u * u + v * v <= CORE_MM * CORE_MM && hu > -1500)
                    value[count++] = (float)hu;
            }
        if (count)
            body[bodies++] = kf_select_f32(value, count, count / 2);
    }
    return bodies ? (double)kf_select_f32(body, bodies, bodies / 2) : 1e9;
}

int kf_spine_is_dark(const struct kf_volume *volume, const struct kf_spine *spine, double spongy_hu)
{
    return marrow_hu(volume, spine) < PALE * spongy_hu;
}

// Bone in shells and bodies.
static void add_body(void *context, int64_t i, int64_t j, int64_t k, int64_t at)
{
    struct marrow *m = context;
    if (m->bodies[at] && m->bodies[at] != KF_SPINE_REST)
        kf_bits_put(m->solid, i, j, k);
}

// Where no bone can be: in the canal and between end plates.
static int is_alien(const struct kf_spine *spine, const struct kf_grid *g, int64_t i, int64_t j, int64_t k)
{
    double p[3], suv[3], end = fmin(spine->stations, spine->disc[spine->discs - 1].s + SACRAL_MM);
    kf_spine_locate(spine, g, i, j, k, p, suv);
    if (suv[1] * suv[1] + suv[2] * suv[2] < CANAL_MM * CANAL_MM)
        return suv[0] >= 0 && suv[0] < end;
    double v = suv[2] - KF_SPINE_BODY_MM;
    if (suv[1] * suv[1] + v * v > DISC_SIDE_MM * DISC_SIDE_MM)
        return 0;
    for (int d = 0; d < spine->discs; d++)
        if (fabs(kf_spine_below(&spine->disc[d], p)) < DISC_MM)
            return 1;
    return 0;
}

static void aim_rays(struct marrow *m)
{
    const double *mm = m->volume->grid.spacing_mm, step = fmin(mm[0], fmin(mm[1], mm[2]));
    m->steps = (int)fmin(RAY_STEPS, RAY_MM / step);
    for (int n = 0; n < RAYS; n++) {
        int way = n < RAYS / 2 ? n : n + 1; // 13 is none
        double d[3] = {way % 3 - 1, way / 3 % 3 - 1, way / 9 - 1};
        kf_spine_unit(d);
        for (int r = 0; r < m->steps; r++)
            for (int c = 0; c < 3; c++)
                m->ray[n][r][c] = (int)floor((r + 1) * step * d[c] / mm[c] + 0.5);
    }
}

// Whether most rays from a voxel meet bone, and no fat before it.
static int is_enclosed(const struct marrow *m, const struct kf_bits *bone, int64_t i, int64_t j, int64_t k)
{
    const int64_t *dim = bone->dim;
    int open = 0;
    for (int n = 0; n < RAYS && open <= RAYS_OPEN; n++) {
        int met = 0;
        for (int r = 0; r < m->steps && !met; r++) {
            int64_t x = i + m->ray[n][r][0], y = j + m->ray[n][r][1], z = k + m->ray[n][r][2];
            if (x < 0 || y < 0 || z < 0 || x >= dim[0] || y >= dim[1] || z >= dim[2] || kf_bits_get(m->fat, x, y, z))
                break;
            met = kf_bits_get(bone, x, y, z);
        }
        open += !met;
    }
    return open <= RAYS_OPEN;
}

// What bounds marrow besides bone.
static enum kf_kernel_status find_bounds(const struct kf_work *work, const struct marrow *m, enum wall wall,
                                         const struct kf_bits *bone, struct kf_bits *bounds)
{
    const int64_t *dim = bone->dim;
    if (wall != BY_BONE)
        kf_bits_combine(work, bounds, KF_BITS_COPY, m->fat);
    if (wall != BY_RAYS)
        return KF_KERNEL_OK;
    struct kf_loop loop = kf_loop_make(work, dim[2], 0, 0);
#pragma omp parallel for schedule(dynamic, 4) num_threads(work->threads)
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0, stop = kf_loop_stop(&loop); j < dim[1] && !stop; j++)
            for (int64_t i = 0; i < dim[0]; i++)
                if (!kf_bits_get(bone, i, j, k) && !kf_bits_get(bounds, i, j, k) && !is_enclosed(m, bone, i, j, k))
                    kf_bits_put(bounds, i, j, k);
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

// Faces of a voxel within the grid towards bone and towards what else bounds its component.
static void count_faces(const struct kf_bits *bone, const struct kf_bits *bounds, int64_t i, int64_t j, int64_t k,
                        struct tally *tally)
{
    static const int step[6][3] = {{-1, 0, 0}, {1, 0, 0}, {0, -1, 0}, {0, 1, 0}, {0, 0, -1}, {0, 0, 1}};
    for (int n = 0; n < 6; n++) {
        int64_t x = i + step[n][0], y = j + step[n][1], z = k + step[n][2];
        int closed = kf_bits_get(bone, x, y, z);
        tally->closed += closed;
        tally->open += !closed && kf_bits_get(bounds, x, y, z);
    }
}

// Which components of what neither is bone nor bounds them otherwise are marrow.
static void choose(const struct marrow *m, const struct kf_components *c, double least_mm3, const struct kf_bits *bone,
                   const struct kf_bits *bounds, struct tally *tally, uint8_t *keep)
{
    const struct kf_grid *g = &m->volume->grid;
    const int16_t *hu = m->volume->data;
    double mm3 = g->spacing_mm[0] * g->spacing_mm[1] * g->spacing_mm[2];
    for (int64_t n = 0; n < c->count; n++) {
        double size_mm3 = mm3 * (double)c->table[n].voxels;
        keep[n] = !c->table[n].border && size_mm3 >= least_mm3 && size_mm3 <= MOST_MM3;
        tally[n] = (struct tally){.sum = 0};
    }
    for (int64_t row = 0; row < g->dim[1] * g->dim[2]; row++)
        for (int64_t run = c->row_first[row]; run < c->row_first[row + 1]; run++)
            for (int64_t i = c->start[run]; keep[c->component[run]] && i < c->end[run]; i++) {
                struct tally *own = &tally[c->component[run]];
                own->alien += is_alien(m->spine, g, i, row % g->dim[1], row / g->dim[1]);
                own->sum += hu[row * g->dim[0] + i];
                count_faces(bone, bounds, i, row % g->dim[1], row / g->dim[1], own);
            }
    for (int64_t n = 0; n < c->count; n++) {
        double voxels = (double)c->table[n].voxels, faces = (double)(tally[n].closed + tally[n].open);
        keep[n] = keep[n] && (double)tally[n].alien < ALIEN * voxels && tally[n].sum >= LEAST_HU * voxels &&
                  (double)tally[n].open <= MOST_OPEN * faces;
    }
}

// The first and the last slice as lids: bone that the field cuts is open there.
static enum kf_kernel_status close_ends(const struct kf_work *work, struct kf_bits *bits)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int end = 0; end < 2 && !status; end++) {
        struct kf_bits slice = {.dim = {bits->dim[0], bits->dim[1], 1},
                                .words = bits->words,
                                .word = kf_bits_row(bits, 0, end ? bits->dim[2] - 1 : 0)};
        status = kf_bits_fill_holes(work, &slice, KF_NEIGHBOURS_4, 0, NULL);
    }
    return status;
}

// hole = the components of it that are marrow.
static enum kf_kernel_status keep_marrow(const struct kf_work *work, const struct marrow *m, double least_mm3,
                                         const struct kf_bits *bone, const struct kf_bits *bounds, struct kf_bits *hole)
{
    struct kf_components c = {0};
    struct tally *tally = NULL;
    uint8_t *keep = NULL;
    enum kf_kernel_status status = kf_components_find(work, hole, KF_NEIGHBOURS_6, &c);
    if (!status) {
        tally = kf_work_take(work, c.count * (int64_t)sizeof *tally);
        keep = kf_work_take(work, c.count);
        status = tally && keep ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    }
    if (!status) {
        choose(m, &c, least_mm3, bone, bounds, tally, keep);
        kf_components_draw(work, &c, keep, hole);
    }
    kf_work_give(work, keep);
    kf_work_give(work, tally);
    kf_components_release(work, &c);
    return status;
}

// Adds to `marrow` what bone encloses once it has grown, up to the bone itself.
static enum kf_kernel_status enclose(const struct kf_work *work, const struct marrow *m, const struct growth *growth,
                                     struct kf_bits *marrow)
{
    const struct kf_grid *g = &m->volume->grid;
    const double grow = growth->close_mm;
    struct kf_bits hole = {0}, bone = {0}, bounds = {0};
    enum kf_kernel_status status = kf_bits_alloc(work, g->dim, &hole);
    if (!status)
        status = kf_bits_alloc(work, g->dim, &bone);
    if (!status)
        status = kf_bits_alloc(work, g->dim, &bounds);
    if (!status)
        kf_bits_combine(work, &bone, KF_BITS_COPY, m->solid);
    if (!status && grow > 0)
        status = kf_bits_dilate(work, &bone, g->spacing_mm, grow);
    if (!status)
        status = close_ends(work, &bone);
    if (!status)
        status = find_bounds(work, m, growth->wall, &bone, &bounds);
    if (!status) {
        kf_bits_combine(work, &hole, KF_BITS_COPY, &bone);
        kf_bits_combine(work, &hole, KF_BITS_OR, &bounds);
        kf_bits_invert(work, &hole);
        status = keep_marrow(work, m, growth->least_mm3, &bone, &bounds, &hole);
    }
    if (!status && grow > 0)
        status = kf_bits_dilate(work, &hole, g->spacing_mm, grow);
    if (!status) {
        kf_bits_combine(work, &hole, KF_BITS_AND_NOT, m->solid);
        if (growth->wall != BY_BONE)
            kf_bits_combine(work, &hole, KF_BITS_AND_NOT, m->fat);
        kf_bits_combine(work, marrow, KF_BITS_OR, &hole);
    }
    kf_bits_release(work, &bounds);
    kf_bits_release(work, &bone);
    kf_bits_release(work, &hole);
    return status;
}

static void lift(const struct kf_work *work, const struct kf_bits *marrow, double by_hu, struct kf_volume *volume)
{
    const int64_t *dim = volume->grid.dim;
    int16_t *hu = volume->data;
    int by = (int)by_hu;
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++)
                if (kf_bits_get(marrow, i, j, k))
                    hu[(k * dim[1] + j) * dim[0] + i] = (int16_t)(hu[(k * dim[1] + j) * dim[0] + i] + by);
}

// Marrow in shells that are denser than shell_hu, beside and behind `bodies`. What is darker than fat_hu is fat.
static enum kf_kernel_status find_marrow(const struct kf_work *work, const struct kf_volume *volume,
                                         const struct kf_spine *spine, const uint8_t *bodies, double shell_hu,
                                         double fat_hu, struct kf_bits *marrow)
{
    struct kf_bits solid = {0}, fat = {0};
    struct marrow m = {.volume = volume, .spine = spine, .bodies = bodies, .solid = &solid, .fat = &fat};
    enum kf_kernel_status status = kf_bits_alloc(work, volume->grid.dim, &solid);
    if (!status)
        status = kf_bits_alloc(work, volume->grid.dim, &fat);
    if (!status)
        status = kf_bits_threshold(work, volume, shell_hu, 1e9, &solid);
    if (!status)
        status = kf_bits_threshold(work, volume, -1e9, fat_hu, &fat);
    if (!status)
        status = kf_spine_each_voxel(work, &volume->grid, 0, add_body, &m);
    aim_rays(&m);
    for (int n = 0; n < GROWTHS && !status; n++)
        status = enclose(work, &m, &growths[n], marrow);
    kf_bits_release(work, &fat);
    kf_bits_release(work, &solid);
    return status;
}

enum kf_kernel_status kf_spine_lift_marrow(const struct kf_work *work, struct kf_volume *volume,
                                           const struct kf_spine *spine, struct kf_spine_bone *bone)
{
    const struct kf_grid *g = &volume->grid;
    struct kf_spine_walls walls;
    struct kf_bits marrow = {0};
    struct kf_spine inner = *spine;
    if (!kf_spine_is_dark(volume, spine, bone->spongy_hu))
        return KF_KERNEL_OK;
    inner.vertebrae = spine->discs; // whether it is a sacrum that lies below the last disc is not known yet
    uint8_t *bodies = kf_work_take(work, kf_grid_voxels(g));
    enum kf_kernel_status status = bodies ? kf_bits_alloc(work, g->dim, &marrow) : KF_KERNEL_NOMEM;
    if (!status)
        status = kf_spine_find_walls(work, volume, &inner, bodies, &walls);
    if (!status && walls.shell_hu - walls.outside_hu >= LEAST_FALL) {
        // Thin places decide whether a shell is whole, its usual ones where its surface lies.
        status = find_marrow(work, volume, &inner, bodies, 0.5 * (walls.thin_hu + walls.outside_hu),
                             0.5 * (marrow_hu(volume, spine) + FAT_HU), &marrow);
        if (!status) {
            bone->shell_hu = fmin(bone->shell_hu, 0.5 * (walls.shell_hu + walls.outside_hu));
            lift(work, &marrow, LIFTED_HU - marrow_hu(volume, spine), volume);
        }
    }
    kf_bits_release(work, &marrow);
    kf_work_give(work, bodies);
    return status;
}
