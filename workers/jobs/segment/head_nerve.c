// The canal of the inferior alveolar nerve, each side: the path of least cost from the inner face of the ramus (the
// mandibular foramen) to the outer face of the body below the premolars (the mental foramen). It is cheap to follow
// what is darker than all that surrounds it across the way and not beside a root of a tooth, dear to go through marrow,
// dearest through cortex; so a path that enters and leaves by holes wins. Based on: minimal paths by fast marching
// (Deschamps and Cohen, "Fast extraction of minimal paths in 3D images", Medical Image Analysis 5, 2001).
//
// All is done on a grid of STEP_MM along the axes of the head's frame, the x axis pointing away from the middle.
#include "workers/jobs/segment/coarse.h"
#include "workers/jobs/segment/head.h"
#include "workers/kernels/distance.h"
#include "workers/kernels/fast_marching.h"
#include "workers/kernels/image.h"
#include "workers/kernels/resample.h"

#include <math.h>
#include <string.h>

#define STEP_MM 0.7
#define RING_MM 2.1 // the canal's wall lies this far from its axis
#define RING    8   // samples of the ring
#define TUBE_HU 300 // a wall this much denser than the axis is as good as any
// In slices thicker than half a canal marrow beside the outer plate shows up to 300 HU of a wall, too: more is asked
// for, midway between the 300 HU at which such a way wins and the 500 HU at which the turn to the mental foramen is cut
// short.
#define TUBE_THICK_HU 400
#define FACE_HU       30  // less than this: no canal, but the face of the bone
#define HOLE_HU       450 // the face of the bone is denser than this, but for holes
#define SEEN_HU       90
#define CORTEX        900
// As near to a root as the ring is wide, the root looks like a wall: marrow between roots, dark in thick slices, is no
// canal.
#define ROOT_MM    RING_MM
#define WAYS       9
#define SKIN_MM    2.0  // both sides of a jaw are alike to so much
#define ALIKE_MM   5.0  // and its canals to so much: the mirror plane may be off by a degree or two
#define GAP_MM     8.0  // of a canal without bone are a defect: a socket or a cut is shorter
#define STUMP_MM   10.0 // less of a canal is not worth showing
#define FIRST_MM   5.0  // from the middle
#define FORAMEN_MM 57.0 // the mandibular foramen above the chin, about, in an adult

struct side {
    struct kf_grid grid;
    float *value, *depth, *tube, *speed, *time; // depth: mm inside of the jaw, negative outside
    float *root;                                // mm from the lower teeth, negative inside
    int64_t count;
    double tube_hu, down_cost; // the latter: of a mm down a canal, in mm at full speed
};

static double at(const struct side *s, const float *field, const double p[3])
{
    double q[3], sum = 0;
    int64_t base[3];
    kf_grid_to_ijk(&s->grid, p, q);
    for (int a = 0; a < 3; a++) {
        q[a] = fmin(fmax(q[a], 0), (double)(s->grid.dim[a] - 1) - 1e-6);
        base[a] = (int64_t)floor(q[a]);
        q[a] -= (double)base[a];
    }
    for (int n = 0; n < 8; n++) {
        double w = 1;
        int64_t c[3];
        for (int a = 0; a < 3; a++) {
            int up = n >> a & 1;
            w *= up ? q[a] : 1 - q[a];
            c[a] = base[a] + up;
        }
        sum += w * (double)field[c[0] + s->grid.dim[0] * (c[1] + s->grid.dim[1] * c[2])];
    }
    return sum;
}

// Two unit vectors square to each of the ways that a canal may take.
static void make_rings(double ring[WAYS][RING][3])
{
    static const double way[WAYS][3] = {{0, 1, 0},  {0, 0, 1}, {0, 1, 1},  {0, 1, -1}, {1, 1, 0},
                                        {1, -1, 0}, {1, 0, 0}, {1, 1, -1}, {1, -1, 1}};
    static const double circle[RING][2] = {{1, 0},  {0.70710678, 0.70710678},   {0, 1},  {-0.70710678, 0.70710678},
                                           {-1, 0}, {-0.70710678, -0.70710678}, {0, -1}, {0.70710678, -0.70710678}};
    for (int w = 0; w < WAYS; w++) {
        const double *t = way[w];
        double u[3] = {t[1] * t[1] + t[2] * t[2], -t[0] * t[1], -t[0] * t[2]}, v[3]; // x without its part along t
        if (!(u[0] > 0))
            u[1] = 1;
        v[0] = t[1] * u[2] - t[2] * u[1];
        v[1] = t[2] * u[0] - t[0] * u[2];
        v[2] = t[0] * u[1] - t[1] * u[0];
        double lu = sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2]), lv = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        for (int n = 0; n < RING; n++)
            for (int a = 0; a < 3; a++)
                ring[w][n][a] = RING_MM * (circle[n][0] * u[a] / lu + circle[n][1] * v[a] / lv);
    }
}

// How much denser the second least of the ring is than the axis, for the way that shows it best.
static double tube_at(const struct side *s, const double ring[WAYS][RING][3], const double p[3], double here)
{
    double best = 0;
    for (int w = 0; w < WAYS; w++) {
        double least = 1e9, second = 1e9;
        for (int n = 0; n < RING && second - here > best; n++) {
            const double q[3] = {p[0] + ring[w][n][0], p[1] + ring[w][n][1], p[2] + ring[w][n][2]};
            double value = at(s, s->value, q);
            second = fmin(second, fmax(least, value));
            least = fmin(least, value);
        }
        best = fmax(best, second - here);
    }
    return best;
}

static void make_speed(struct side *s)
{
    double ring[WAYS][RING][3];
    make_rings(ring);
    const struct kf_grid *g = &s->grid;
    for (int64_t k = 0, n = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++) {
                s->tube[n] = s->speed[n] = 0;
                if (!(s->depth[n] > -0.8F))
                    continue;
                double ijk[3] = {(double)i, (double)j, (double)k}, p[3], here = (double)s->value[n];
                kf_grid_to_lps(g, ijk, p);
                if (here < CORTEX && (double)s->root[n] > ROOT_MM)
                    s->tube[n] = (float)tube_at(s, ring, p, here);
                double tube = fmin((double)s->tube[n] / s->tube_hu, 1), dense = fmin(fmax((here - 300) / 600, 0), 1);
                s->speed[n] = (float)(0.03 + 0.07 * (1 - dense) + 0.9 * tube * tube);
            }
}

static enum kf_kernel_status open_side(const struct kf_work *work, const struct kf_volume *v, const uint8_t *labels,
                                       const struct kf_head_cores *cores, int sign, struct side *s)
{
    const double low[3] = {FIRST_MM, cores->low[1] - 4, cores->low[2] - 4};
    const double high[3] = {fmax(cores->high[0] - cores->centre[0], cores->centre[0] - cores->low[0]) + 4,
                            cores->high[1] + 4, cores->high[2] + 4};
    *s = (struct side){.grid = {.direction = {sign, 0, 0, 0, 1, 0, 0, 0, 1}}};
    // In thick slices a wall shows about two thirds of TUBE_THICK_HU, and the way down costs twice as much.
    int thick = kf_head_nerve_thick(&v->grid);
    s->tube_hu = thick ? TUBE_THICK_HU : TUBE_HU;
    s->down_cost = thick ? 2 : 1;
    for (int a = 0; a < 3; a++) {
        s->grid.dim[a] = (int64_t)fmax(2, floor((high[a] - low[a]) / STEP_MM));
        s->grid.spacing_mm[a] = STEP_MM;
        s->grid.origin_lps[a] = a ? low[a] : cores->centre[0] + sign * low[0];
    }
    enum kf_kernel_status status = kf_own_grid_check(&s->grid);
    if (status)
        return status;
    s->count = kf_grid_voxels(&s->grid);
    struct kf_volume ct = {.grid = s->grid, .type = v->type}, jaw = {.grid = s->grid, .type = KF_VOXEL_UINT8};
    struct kf_volume from = {.grid = v->grid, .type = KF_VOXEL_UINT8};
    const double same[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    struct kf_bits in = {0};
    int64_t voxels = kf_grid_voxels(&v->grid);
    uint8_t *mask = kf_work_take(work, voxels);
    float **field[6] = {&s->value, &s->depth, &s->tube, &s->speed, &s->time, &s->root};
    from.data = mask;
    ct.data = kf_work_take(work, s->count * kf_voxel_bytes(v->type));
    jaw.data = kf_work_take(work, s->count);
    status = mask && ct.data && jaw.data ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    for (int n = 0; n < 6 && !status; n++) {
        *field[n] = kf_work_take(work, s->count * (int64_t)sizeof **field[n]);
        status = *field[n] ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    }
    for (int64_t n = 0; n < voxels && !status; n++)
        mask[n] = labels[n] == KF_HEAD_MANDIBLE || labels[n] == KF_HEAD_LOWER_TEETH;
    if (!status)
        status = kf_resample(work, v, same, KF_RESAMPLE_LINEAR, -1000, &ct);
    if (!status)
        status = kf_resample(work, &from, same, KF_RESAMPLE_NEAREST, 0, &jaw);
    if (!status)
        status = kf_gaussian(work, &ct, 0.5, s->value);
    if (!status)
        status = kf_bits_alloc(work, s->grid.dim, &in);
    if (!status)
        status = kf_bits_threshold(work, &jaw, 1, 1, &in);
    if (!status)
        status = kf_bits_close(work, &in, s->grid.spacing_mm, 2.8); // the foramina themselves
    if (!status)
        status = kf_distance(work, &in, s->grid.spacing_mm, 12, s->depth);
    for (int64_t n = 0; n < s->count && !status; n++)
        s->depth[n] = -s->depth[n];
    for (int64_t n = 0; n < voxels && !status; n++)
        mask[n] = labels[n] == KF_HEAD_LOWER_TEETH;
    if (!status)
        status = kf_resample(work, &from, same, KF_RESAMPLE_NEAREST, 0, &jaw);
    if (!status)
        status = kf_bits_threshold(work, &jaw, 1, 1, &in);
    if (!status)
        status = kf_distance(work, &in, s->grid.spacing_mm, 12, s->root);
    kf_bits_release(work, &in);
    kf_work_give(work, mask);
    kf_work_give(work, ct.data);
    kf_work_give(work, jaw.data);
    return status;
}

static void close_side(const struct kf_work *work, struct side *s)
{
    float *field[6] = {s->value, s->depth, s->tube, s->speed, s->time, s->root};
    for (int n = 0; n < 6; n++)
        kf_work_give(work, field[n]);
}

// Where a foramen can be, in parts of an adult jaw: inner (0) or outer (1) face, mm from the box's sides.
struct zone {
    int outer;
    double aside[2], back[2], height[2]; // x from the middle; y; z
};

static int in_zone(const struct side *s, const struct zone *z, int64_t n, const double p[3], double middle)
{
    double aside = fabs(p[0] - middle), step = s->grid.spacing_mm[0];
    if (!(s->depth[n] > -0.75F * (float)STEP_MM && s->depth[n] < 1.3F * (float)STEP_MM) || aside < z->aside[0] ||
        aside > z->aside[1] || p[1] < z->back[0] || p[1] > z->back[1] || p[2] < z->height[0] || p[2] > z->height[1])
        return 0;
    double sign = s->grid.direction[0]; // the face looks where the depth falls
    const double out[3] = {p[0] + 2 * step * sign, p[1] - step, p[2]},
                 in[3] = {p[0] - 2 * step * sign, p[1] + step, p[2]};
    double slope = at(s, s->depth, out) - at(s, s->depth, in);
    return z->outer ? slope < -1.2 : slope > 1.2;
}

// The zone's voxels as seeds of a front, or which of them it reaches first. A seed starts later the lower it lies, by
// what the way down a canal costs, so that thin bone below a foramen is no shorter way in.
static int64_t gather(const struct side *s, const struct zone *z, double middle, int dark, struct kf_front_seed *seeds,
                      int64_t *first)
{
    int64_t found = 0;
    const struct kf_grid *g = &s->grid;
    for (int64_t k = 0, n = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++) {
                double ijk[3] = {(double)i, (double)j, (double)k}, p[3];
                kf_grid_to_lps(g, ijk, p);
                if (!in_zone(s, z, n, p, middle) || (dark && s->value[n] > HOLE_HU))
                    continue;
                if (seeds)
                    seeds[found] = (struct kf_front_seed){n, (float)(s->down_cost * (z->height[1] - p[2]))};
                else if (*first < 0 || s->time[n] < s->time[*first])
                    *first = n;
                found++;
            }
    return found;
}

// Down the times of arrival from voxel to voxel; points are in the frame, from the ramus on. Returns their number.
static int64_t trace(const struct side *s, int64_t from, double (*point)[3], int64_t most)
{
    const struct kf_grid *g = &s->grid;
    int64_t count = 0, n = from;
    while (count < most) {
        int64_t i = n % g->dim[0], j = n / g->dim[0] % g->dim[1], k = n / (g->dim[0] * g->dim[1]), next = n;
        double ijk[3] = {(double)i, (double)j, (double)k}, steepest = 0;
        kf_grid_to_lps(g, ijk, point[count++]);
        for (int64_t m = 0; m < 27; m++) {
            int64_t d[3] = {m % 3 - 1, m / 3 % 3 - 1, m / 9 - 1};
            if (i + d[0] < 0 || i + d[0] >= g->dim[0] || j + d[1] < 0 || j + d[1] >= g->dim[1] || k + d[2] < 0 ||
                k + d[2] >= g->dim[2] || m == 13)
                continue;
            int64_t to = n + d[0] + g->dim[0] * (d[1] + g->dim[1] * d[2]);
            double fall =
                ((double)s->time[n] - (double)s->time[to]) / sqrt((double)(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]));
            if (fall > steepest) {
                steepest = fall;
                next = to;
            }
        }
        if (next == n)
            break;
        n = next;
    }
    for (int64_t m = 0; m < count / 2; m++) {
        double swap[3];
        memcpy(swap, point[m], sizeof swap);
        memcpy(point[m], point[count - 1 - m], sizeof swap);
        memcpy(point[count - 1 - m], swap, sizeof swap);
    }
    return count;
}

// Smooths the way, its ends stay, and keeps every other point. Then says how much of it has a canal's wall. The first
// part, down the face of the ramus from seed to seed, goes: the foramen is where the way goes in.
static void finish(const struct side *s, double (*point)[3], int64_t count, struct kf_head_nerve *nerve)
{
    int64_t face = 0;
    while (face < count / 2 && at(s, s->tube, point[face]) < FACE_HU && at(s, s->value, point[face]) > HOLE_HU)
        face++;
    if (face > 0 && face < count / 2) {
        point += face - 1;
        count -= face - 1;
    }
    for (int round = 0; round < 6; round++) {
        double before[3];
        memcpy(before, point[0], sizeof before);
        for (int64_t m = 1; m + 1 < count; m++)
            for (int a = 0; a < 3; a++) {
                double here = point[m][a];
                point[m][a] = before[a] / 4 + here / 2 + point[m + 1][a] / 4;
                before[a] = here;
            }
    }
    double seen = 0;
    for (int64_t m = 0; m < count; m++)
        seen += at(s, s->tube, point[m]) > SEEN_HU;
    for (int64_t m = 0; m < count && nerve->count < KF_HEAD_NERVE_POINTS; m += m + 2 < count || m + 1 == count ? 2 : 1)
        memcpy(nerve->point[nerve->count++], point[m], sizeof *point);
    for (int64_t m = 1; m < nerve->count; m++) {
        double d2 = 0;
        for (int a = 0; a < 3; a++)
            d2 += (nerve->point[m][a] - nerve->point[m - 1][a]) * (nerve->point[m][a] - nerve->point[m - 1][a]);
        nerve->length_mm += sqrt(d2);
    }
    nerve->seen = seen / (double)count;
}

int kf_head_nerve_thick(const struct kf_grid *g)
{
    return fmax(g->spacing_mm[0], fmax(g->spacing_mm[1], g->spacing_mm[2])) > KF_HEAD_NERVE_MM;
}

int kf_head_nerve_in_field(const struct kf_head_cores *cores)
{
    return !cores->joints_cut || cores->high[2] - cores->low[2] > FORAMEN_MM + 6;
}

enum kf_kernel_status kf_head_nerve_find(const struct kf_work *work, const struct kf_volume *volume,
                                         const struct kf_head_cores *cores, const uint8_t *labels, int sign,
                                         struct kf_head_nerve *nerve)
{
    struct side s = {0};
    memset(nerve, 0, sizeof *nerve);
    const double *low = cores->low, *high = cores->high;
    double top = cores->joints_cut ? fmax(high[2], low[2] + FORAMEN_MM + 32) : high[2];
    const struct zone ramus = {0, {28, 58}, {high[1] - 32, high[1] - 5}, {top - 46, top - 20}};
    const struct zone chin = {1, {17, 36}, {low[1] + 5, low[1] + 27}, {low[2] + 7, low[2] + 28}};
    enum kf_kernel_status status = open_side(work, volume, labels, cores, sign, &s);
    int64_t most = 4 * (s.grid.dim[0] + s.grid.dim[1] + s.grid.dim[2]);
    struct kf_front_seed *seeds = status ? NULL : kf_work_take(work, s.count * (int64_t)sizeof *seeds);
    double(*point)[3] = status ? NULL : kf_work_take(work, most * (int64_t)sizeof *point);
    if (!status && (!seeds || !point))
        status = KF_KERNEL_NOMEM;
    int64_t count = 0, end = -1;
    if (!status) {
        make_speed(&s);
        for (int dark = 1; dark >= 0 && count < 3; dark--)
            count = gather(&s, &ramus, cores->centre[0], dark, seeds, NULL);
    }
    if (!status && count) {
        const struct kf_volume speed = {.grid = s.grid, .type = KF_VOXEL_FLOAT32, .data = s.speed};
        status = kf_fast_marching(work, &speed, seeds, count, INFINITY, s.time);
        if (!status && gather(&s, &chin, cores->centre[0], 0, NULL, &end) && isfinite(s.time[end]))
            finish(&s, point, trace(&s, end, point, most), nerve);
    }
    kf_work_give(work, point);
    kf_work_give(work, seeds);
    close_side(work, &s);
    return status;
}

// 1: bone of the jaw, a tooth or a canal in it within SKIN_MM of p along the axes.
static int near_jaw(const struct kf_grid *g, const uint8_t *labels, const double p[3])
{
    double q[3];
    int64_t low[3], high[3];
    kf_grid_to_ijk(g, p, q);
    for (int a = 0; a < 3; a++) {
        double reach = SKIN_MM / g->spacing_mm[a];
        if (!(q[a] > -0.5 && q[a] < (double)g->dim[a] - 0.5))
            return 1; // outside of the field nothing is known
        low[a] = (int64_t)fmax(0, ceil(q[a] - reach));
        high[a] = (int64_t)fmin((double)g->dim[a] - 1, floor(q[a] + reach));
    }
    for (int64_t k = low[2]; k <= high[2]; k++)
        for (int64_t j = low[1]; j <= high[1]; j++)
            for (int64_t i = low[0]; i <= high[0]; i++) {
                uint8_t l = labels[i + g->dim[0] * (j + g->dim[1] * k)];
                if (l == KF_HEAD_MANDIBLE || l == KF_HEAD_LOWER_TEETH || l == KF_HEAD_NERVE_LEFT ||
                    l == KF_HEAD_NERVE_RIGHT)
                    return 1;
            }
    return 0;
}

static double apart(const double a[3], const double b[3])
{
    return sqrt((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]) + (a[2] - b[2]) * (a[2] - b[2]));
}

// The point of `way` nearest to p and how far it is.
static int64_t nearest(const struct kf_head_nerve *way, const double p[3], double *far_mm)
{
    int64_t best = 0;
    for (int64_t m = 1; m < way->count; m++)
        best = apart(way->point[m], p) < apart(way->point[best], p) ? m : best;
    *far_mm = apart(way->point[best], p);
    return best;
}

// Where the first stretch of `way` begins that has no bone near for GAP_MM and which `own` keeps away from; its count
// when there is none.
static int64_t find_gap(const struct kf_grid *g, const uint8_t *labels, const struct kf_head_nerve *way,
                        const struct kf_head_nerve *own)
{
    int64_t first = -1;
    double length = 0, away = 0, far_mm;
    for (int64_t m = 0; m < way->count; m++) {
        if (near_jaw(g, labels, way->point[m])) {
            first = -1;
            continue;
        }
        length = first < 0 ? 0 : length + apart(way->point[m - 1], way->point[m]);
        away = first < 0 ? 0 : away;
        first = first < 0 ? m : first;
        nearest(own, way->point[m], &far_mm);
        away = fmax(away, far_mm);
        if (length >= GAP_MM && away > ALIKE_MM)
            return first;
    }
    return way->count;
}

void kf_head_nerve_interrupt(const struct kf_grid *g, const uint8_t *labels, const struct kf_head_cores *cores,
                             const struct kf_head_nerve *other, struct kf_head_nerve *nerve)
{
    struct kf_head_nerve mirrored = *other;
    for (int64_t m = 0; m < mirrored.count; m++)
        mirrored.point[m][0] = 2 * cores->centre[0] - mirrored.point[m][0];
    int64_t gap = nerve->count > 1 ? find_gap(g, labels, &mirrored, nerve) : mirrored.count;
    if (gap == mirrored.count)
        return;
    nerve->interrupted = 1;
    nerve->length_mm = 0;
    int64_t kept = 0;
    double far_mm = 0;
    while (kept < nerve->count && nearest(&mirrored, nerve->point[kept], &far_mm) < gap && far_mm <= ALIKE_MM)
        kept++;
    while (kept > 0 && (nearest(&mirrored, nerve->point[kept - 1], &far_mm), far_mm > ALIKE_MM / 2))
        kept--; // where it turns aside
    for (int64_t m = 1; m < kept; m++)
        nerve->length_mm += apart(nerve->point[m - 1], nerve->point[m]);
    nerve->count = nerve->length_mm >= STUMP_MM ? kept : 0;
}

// Distance of p to the piece a–b, squared.
static double square_to(const double a[3], const double b[3], const double p[3])
{
    double along = 0, length = 0, sum = 0;
    for (int x = 0; x < 3; x++) {
        along += (p[x] - a[x]) * (b[x] - a[x]);
        length += (b[x] - a[x]) * (b[x] - a[x]);
    }
    double t = length > 0 ? fmin(fmax(along / length, 0), 1) : 0;
    for (int x = 0; x < 3; x++) {
        double d = p[x] - a[x] - t * (b[x] - a[x]);
        sum += d * d;
    }
    return sum;
}

void kf_head_nerve_paint(const struct kf_grid *g, const struct kf_head_nerve *nerve, uint8_t label, uint8_t *labels)
{
    for (int64_t m = 1; m < nerve->count; m++) {
        double ends[2][3];
        int64_t box[2][3];
        kf_grid_to_ijk(g, nerve->point[m - 1], ends[0]);
        kf_grid_to_ijk(g, nerve->point[m], ends[1]);
        for (int a = 0; a < 3; a++) {
            double reach = KF_HEAD_NERVE_MM / g->spacing_mm[a];
            box[0][a] = (int64_t)fmax(0, ceil(fmin(ends[0][a], ends[1][a]) - reach));
            box[1][a] = (int64_t)fmin((double)g->dim[a] - 1, floor(fmax(ends[0][a], ends[1][a]) + reach));
        }
        for (int64_t k = box[0][2]; k <= box[1][2]; k++)
            for (int64_t j = box[0][1]; j <= box[1][1]; j++)
                for (int64_t i = box[0][0]; i <= box[1][0]; i++) {
                    double ijk[3] = {(double)i, (double)j, (double)k}, p[3];
                    int64_t n = i + g->dim[0] * (j + g->dim[1] * k);
                    kf_grid_to_lps(g, ijk, p);
                    if (labels[n] == KF_HEAD_MANDIBLE &&
                        square_to(nerve->point[m - 1], nerve->point[m], p) <= KF_HEAD_NERVE_MM * KF_HEAD_NERVE_MM)
                        labels[n] = label;
                }
    }
}
