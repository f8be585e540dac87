// Values of an MR, its discs, and the CT it is turned into. See spine_mr.h.
#include "workers/jobs/segment/spine_mr.h"
#include "workers/jobs/segment/spine_mr_arch.h"
#include "workers/kernels/bias.h"
#include "workers/kernels/bits.h"
#include "workers/kernels/diffusion.h"
#include "workers/kernels/image.h"
#include "workers/kernels/kdtree.h"

#include <math.h>
#include <string.h>

#define SAMPLES        200000
#define NO_SIGNAL      0.06 // of the value below which 98 % lie: air
#define BLUR_MM        0.3
#define NOISY          0.13 // spread of the bodies from which more blur is needed
#define NOISY_BLUR_MM  1.2
#define NOISY_SHELL_MM 1.0
#define MARROW_MIDDLE  0.99 // of the bodies' value
#define LEAST_REACH    0.19 // of marrow's values, to both sides
#define MOST_REACH     0.4
#define SPREADS        2.2
#define MARROW_HIGH    1.42
#define STEEP          0.45 // of it per mm: skins between fat and what is dark pass through its values
#define LIKE_HU        600 // of marrow, where a CT has the wall of a body
#define UNLIKE         0.7 // of the bodies' value, from which on nothing is like marrow
#define PEDICLE_MM     14  // before the canal's middle: before what joins a body
#define LEVEL          0.94 // cosine of 20°
#define WAIST          0.88 // of a body's widths at its end plates
#define OPEN_MM        0.8
#define SHELL_MM       1.9 // from where marrow is even
#define THIN_SHELL_MM  1.5 // the same and a wall of 0.6 to 0.9 mm
#define BESIDE_MM      1.5 // from a wall's outside to where fat is bright, or to a disc
#define SLAB_FROM      5   // mm before the canal's middle
#define SLAB_TO        58
#define SLAB_SIDE      34
#define COLUMN_WIDE    15 // mm beside the bodies' axis: a thoracic body has hardly more
#define COLUMN_DEEP    12
#define COLUMN_INNER   0.36 // of the square: a nucleus is about as wide as half of its disc
#define COLUMN_STEP    2
#define COLUMNS        256
#define RING_DARKER    0.8 // of the bodies' value than they are, so that an edge lies half way
#define BAND_FROM      5   // mm from the bodies' axis: from here on a disc's front and back are measured
#define BAND_MM        8.5 // from the bodies' axis to where those heights hold
#define SLOPE_STEPS    6   // to each side, so up to 20° from the direction in which the disc was found
#define SLOPE_STEP     0.06
#define STEP_MM        0.3
#define HOLLOW_MM      2.4   // of an end plate
#define END_PLATE      2.2   // mm of a disc's dark that are bone
#define THIN_SLICE_MM  1.2   // a slice's mean blurs an edge over its thickness, and the dark takes in what is blurred:
#define SLICE_BLUR     0.5   // of what is thicker than that, towards either body
#define STABLE         0.125 // of the least spacing: a step of the diffusion in mm²
#define DIFFUSIONS     6     // steps; a millimetre of blur where no edge is
#define CONDUCTANCE    1.5   // an edge of twice the usual slope stays
#define OUTSIDE        (-1.0)
#define FRONT_MOST     48
#define FRONT_OFF      0.25 // of the bodies' value, on the mean of many: no marrow, but a wall or what lies before it
#define FRONT_SPARE    2
#define FRONT_SIDE     32.0 // mm beside the midline: half of the widest body, with some to spare
#define PROFILE        60   // steps to each side of a disc
#define BEYOND         10   // steps beyond its ends that it is darker than
#define ONE_DISC_MM    13.0 // nor are two discs in their places as near to each other
#define LEAST_STEPS    8    // of a disc with its end plates
#define MOST_STEPS     62
#define OFF_PRICE      0.003 // of a step away from where the disc was found
#define DISC_HU        90
#define MARROW_HU      600 // a flood of bone runs through it before it runs through walls and over joints
#define REACH_MM       20.0
// Of the bone behind the bodies, below which the flood of marrow has missed arches: half way between what it finds where
// marrow there has the bodies' value (0.80 to 0.84, phantoms of every kind) and where it has three quarters of it (0.48,
// the one real image).
#define FLOOD_SHARE    0.64

enum tissue { OTHER, MARROW, DISC, NEURAL };

enum kf_kernel_status kf_spine_mr_level(const struct kf_work *work, const struct kf_volume *in,
                                        const struct kf_volume *out)
{
    int64_t voxels = kf_grid_voxels(&in->grid), step = voxels / SAMPLES + 1, count = 0;
    float *value = kf_work_take(work, 4 * voxels), *field = kf_work_take(work, 4 * voxels),
          *some = kf_work_take(work, 4 * (voxels / step + 1));
    struct kf_bits mask = {0};
    struct kf_bias_settings settings;
    kf_bias_defaults(&settings);
    enum kf_kernel_status status = value && field && some ? kf_bits_alloc(work, in->grid.dim, &mask) : KF_KERNEL_NOMEM;
    if (!status)
        status = kf_gaussian(work, in, 0, value); // a copy in float
    for (int64_t v = 0; !status && v < voxels; v += step)
        if (value[v] > -1e30f && value[v] < 1e30f) // no NaN
            some[count++] = value[v];
    if (!status && count == 0)
        status = KF_KERNEL_INVALID;
    double top = !status ? kf_select_f32(some, count, 49 * count / 50) : 0;
    if (!status)
        status = kf_bits_threshold(work, in, fmax(1, NO_SIGNAL * top), 1e9, &mask);
    if (!status)
        status = kf_bias_find(work, in, &mask, &settings, field, NULL);
    if (!status)
        status = kf_bias_apply(work, in, field, value);
    if (!status) {
        count = 0;
        for (int64_t v = 0; v < voxels; v += step)
            if (value[v] > -1e30f && value[v] < 1e30f)
                some[count++] = value[v];
        double scale = 1000 / fmax(1e-6, kf_select_f32(some, count, 49 * count / 50));
        int16_t *to = out->data;
        for (int64_t v = 0; v < voxels; v++)
            to[v] = (int16_t)fmin(4000, fmax(0, floor(scale * value[v] + 0.5)));
    }
    kf_bits_release(work, &mask);
    kf_work_give(work, some);
    kf_work_give(work, field);
    kf_work_give(work, value);
    return status;
}

enum kf_kernel_status kf_spine_mr_denoise(const struct kf_work *work, const struct kf_volume *in,
                                          const struct kf_volume *out)
{
    int64_t voxels = kf_grid_voxels(&in->grid);
    const double *spacing = in->grid.spacing_mm;
    const int16_t *from = in->data;
    int16_t *to = out->data;
    float *value = kf_work_take(work, 4 * voxels);
    if (!value)
        return KF_KERNEL_NOMEM;
    for (int64_t v = 0; v < voxels; v++)
        to[v] = from[v] < 0 ? 0 : from[v];
    double time_step = STABLE * fmin(spacing[0], fmin(spacing[1], spacing[2]));
    enum kf_kernel_status status = kf_diffuse_curvature(work, out, DIFFUSIONS, time_step, CONDUCTANCE, value);
    for (int64_t v = 0; !status && v < voxels; v++)
        to[v] = (int16_t)(from[v] < 0 ? from[v] : floor(fmin(4000, fmax(0, value[v])) + 0.5));
    kf_work_give(work, value);
    return status;
}

// Half heights of a disc in front of the bodies' axis and behind it.
struct slab {
    double front, back;
};

// Columns along a disc's normal through its ring, and how unlike marrow (1: like ring or nucleus, 0: like marrow, below
// 0: brighter) each is at PROFILE steps to both sides of the plane. The middle, where an old nucleus has the value of
// marrow and a young one is bright, is left out.
struct columns {
    int count;
    double u[COLUMNS], v[COLUMNS]; // mm from the bodies' axis, to the left and forwards
    float unlike[COLUMNS][2 * PROFILE + 1];
};

void kf_spine_mr_in_plane(const struct kf_spine_disc *disc, const struct kf_spine_station *t, double left[3],
                          double front[3])
{
    double along = 0;
    for (int c = 0; c < 3; c++)
        along += t->front[c] * disc->normal[c];
    for (int c = 0; c < 3; c++)
        front[c] = t->front[c] - along * disc->normal[c];
    kf_spine_unit(front);
    for (int c = 0; c < 3; c++) // front × down, as in a station
        left[c] = front[(c + 1) % 3] * disc->normal[(c + 2) % 3] - front[(c + 2) % 3] * disc->normal[(c + 1) % 3];
}

// OUTSIDE where a column has left the image.
static void sample_columns(const struct kf_volume *blurred, const struct kf_spine_disc *disc, const double left[3],
                           const double front[3], double body, struct columns *out)
{
    out->count = 0;
    for (int v = -COLUMN_DEEP; v <= COLUMN_DEEP; v += COLUMN_STEP)
        for (int u = -COLUMN_WIDE; u <= COLUMN_WIDE; u += COLUMN_STEP) {
            double r = (double)(u * u) / (COLUMN_WIDE * COLUMN_WIDE) + (double)(v * v) / (COLUMN_DEEP * COLUMN_DEEP);
            if (r > 1 || r < COLUMN_INNER)
                continue;
            for (int h = -PROFILE; h <= PROFILE; h++) {
                double p[3];
                for (int c = 0; c < 3; c++)
                    p[c] = disc->middle[c] + h * STEP_MM * disc->normal[c] + u * left[c] + v * front[c];
                double x = kf_spine_value(blurred, p, -1) / body;
                out->unlike[out->count][h + PROFILE] = (float)(x < 0              ? OUTSIDE
                                                               : x >= MARROW_HIGH ? 1
                                                                                  : fmin(1, (1 - x) / RING_DARKER));
            }
            out->u[out->count] = u;
            out->v[out->count++] = v;
        }
}

// Mean profile of the columns with `from` ≤ v ≤ `to` about a plane that rises by slope[0] per mm to the left and
// slope[1] forwards. OUTSIDE where fewer than half of them are known.
static void mean_profile(const struct columns *columns, const double slope[2], double from, double to, double *mean)
{
    double sum[2 * PROFILE + 1] = {0};
    int known[2 * PROFILE + 1] = {0}, count = 0;
    for (int n = 0; n < columns->count; n++) {
        if (columns->v[n] < from || columns->v[n] > to)
            continue;
        int shift = (int)floor((slope[0] * columns->u[n] + slope[1] * columns->v[n]) / STEP_MM + 0.5);
        count++;
        for (int h = 0; h <= 2 * PROFILE; h++)
            if (h + shift >= 0 && h + shift <= 2 * PROFILE && columns->unlike[n][h + shift] > OUTSIDE) {
                sum[h] += columns->unlike[n][h + shift];
                known[h]++;
            }
    }
    for (int h = 0; h <= 2 * PROFILE; h++)
        mean[h] = 2 * known[h] > count ? sum[h] / known[h] : OUTSIDE;
}

// The stretch of a profile that is most unlike marrow against the 3 mm beyond both ends: its middle and half its length
// in mm. Returns by how much (0 … 1).
static double most_unlike(const double *mean, double *middle, double *half)
{
    double best = 0, sum[2 * PROFILE + 2] = {0};
    int unseen[2 * PROFILE + 2] = {0};
    for (int n = 0; n <= 2 * PROFILE; n++) {
        sum[n + 1] = sum[n] + mean[n];
        unseen[n + 1] = unseen[n] + (mean[n] == OUTSIDE);
    }
    for (int from = BEYOND; from + LEAST_STEPS < 2 * PROFILE + 1 - BEYOND; from++)
        for (int to = from + LEAST_STEPS; to < from + MOST_STEPS && to + BEYOND <= 2 * PROFILE + 1; to++) {
            double here = (sum[to] - sum[from]) / (to - from), above = (sum[from] - sum[from - BEYOND]) / BEYOND,
                   below = (sum[to + BEYOND] - sum[to]) / BEYOND, off = 0.5 * (from + to - 1) - PROFILE,
                   value = here - fmax(above, below) - OFF_PRICE * fabs(off);
            if (value <= best || unseen[to + BEYOND] > unseen[from - BEYOND])
                continue;
            best = value;
            *middle = off * STEP_MM;
            *half = 0.5 * (to - from) * STEP_MM;
        }
    return best;
}

// The slopes about those given, in `steps` of `step` both ways, about which the columns' mean is the clearest plate.
static void best_slopes(const struct columns *columns, int steps, double step, double slope[2])
{
    double start[2] = {slope[0], slope[1]}, best = 0;
    for (int b = -steps; b <= steps; b++)
        for (int a = -steps; a <= steps; a++) {
            double mean[2 * PROFILE + 1], middle, half, trial[2] = {start[0] + a * step, start[1] + b * step};
            mean_profile(columns, trial, -COLUMN_DEEP, COLUMN_DEEP, mean);
            double here = most_unlike(mean, &middle, &half);
            if (here > best + 1e-9)
                best = here, slope[0] = trial[0], slope[1] = trial[1];
        }
}

// Moves a disc's plane into the middle of what lies between the bodies, and gives its heights in front and behind.
static struct slab place_disc(const struct kf_volume *blurred, const struct kf_spine *spine, struct kf_spine_disc *disc,
                              const struct kf_spine_mr *mr)
{
    const struct kf_spine_station *t = &spine->station[(int)fmin(fmax(disc->s, 0), spine->stations - 1)];
    struct columns columns;
    double left[3], front[3], slope[2] = {0, 0}, mean[2 * PROFILE + 1], shift = 0, whole = LEAST_STEPS * STEP_MM,
                              half[2], sure[2], middle, length = 0;
    kf_spine_mr_in_plane(disc, t, left, front);
    sample_columns(blurred, disc, left, front, mr->body, &columns);
    best_slopes(&columns, SLOPE_STEPS, SLOPE_STEP, slope);
    best_slopes(&columns, 2, SLOPE_STEP / 3, slope);
    mean_profile(&columns, slope, -COLUMN_DEEP, COLUMN_DEEP, mean);
    most_unlike(mean, &shift, &whole);
    for (int back = 0; back < 2; back++) {
        half[back] = whole;
        mean_profile(&columns, slope, back ? -COLUMN_DEEP : BAND_FROM, back ? -BAND_FROM : COLUMN_DEEP, mean);
        sure[back] = most_unlike(mean, &middle, &half[back]);
    }
    for (int back = 0; back < 2; back++)
        if (sure[back] < 0.4 * sure[!back])
            half[back] = whole;
    for (int c = 0; c < 3; c++) {
        disc->middle[c] += shift * disc->normal[c];
        disc->normal[c] -= slope[0] * left[c] + slope[1] * front[c];
        length += disc->normal[c] * disc->normal[c];
    }
    for (int c = 0; c < 3; c++)
        disc->normal[c] /= sqrt(length);
    disc->s = fmin(fmax(disc->s + shift, 0), spine->stations - 1); // it stays a place of the canal
    const double bone = END_PLATE + SLICE_BLUR * fmax(0, mr->slice_mm - THIN_SLICE_MM);
    return (struct slab){fmax(1, half[0] - bone), fmax(1, half[1] - bone)};
}

static double apart_mm(const double p[3], const double q[3])
{
    return sqrt((p[0] - q[0]) * (p[0] - q[0]) + (p[1] - q[1]) * (p[1] - q[1]) + (p[2] - q[2]) * (p[2] - q[2]));
}

// All discs in their places. What was found in a body, where no disc is, ends in the disc next to it: of two in one
// place the one that came from farther away is dropped, or an empty vertebra would be counted between them.
static void place_discs(const struct kf_volume *blurred, struct kf_spine *spine, const struct kf_spine_mr *mr,
                        struct slab *slabs)
{
    double moved[KF_SPINE_MOST];
    int count = 0;
    for (int d = 0; d < spine->discs; d++) {
        struct kf_spine_disc disc = spine->disc[d];
        struct slab slab = {0};
        for (int turn = 0; turn < 2; turn++) // the second sees it straight
            slab = place_disc(blurred, spine, &disc, mr);
        double way = apart_mm(disc.middle, spine->disc[d].middle);
        int again = count > 0 && apart_mm(disc.middle, spine->disc[count - 1].middle) < ONE_DISC_MM;
        if (again && way >= moved[count - 1])
            continue;
        count -= again;
        spine->disc[count] = disc;
        slabs[count] = slab;
        moved[count++] = way;
    }
    spine->discs = count;
}

// 2 within a disc's height, 1 within HOLLOW_MM of it, where hollow end plates may let a nucleus reach, else 0.
static int in_slab(const struct kf_spine *spine, const struct slab *slab, const double p[3], const double suv[3])
{
    double share = (suv[2] - KF_SPINE_BODY_MM + BAND_MM) / (2 * BAND_MM); // 0 behind … 1 in front
    share = fmin(1.5, fmax(-0.5, share));
    int found = 0;
    if (fabs(suv[1]) > SLAB_SIDE || suv[2] < SLAB_FROM || suv[2] > SLAB_TO)
        return 0;
    for (int d = 0; d < spine->discs; d++) {
        double below = kf_spine_below(&spine->disc[d], p);
        double height = fmax(1, slab[d].back + share * (slab[d].front - slab[d].back));
        int here = fabs(below) < height ? 2 : fabs(below) < height + HOLLOW_MM ? 1 : 0;
        found = here > found ? here : found;
    }
    return found;
}

// Of the values, over the voxels beside one that does not touch the border, per mm.
static double steepness(const int16_t *value, const struct kf_grid *g, int64_t at)
{
    const int64_t step[3] = {1, g->dim[0], g->dim[0] * g->dim[1]};
    double sum = 0;
    for (int a = 0; a < 3; a++) {
        double slope = (value[at + step[a]] - value[at - step[a]]) / (2 * g->spacing_mm[a]);
        sum += slope * slope;
    }
    return sqrt(sum);
}

// By how much a disc's plane leans against the canal's section there, mm per mm forwards: the corner of a body lies so
// much further in front than its middle.
static double leans(const struct kf_spine *spine, const struct kf_spine_disc *disc)
{
    const struct kf_spine_station *t = &spine->station[(int)fmin(fmax(disc->s, 0), spine->stations - 1)];
    double front = 0, down = 0;
    for (int c = 0; c < 3; c++)
        front += t->front[c] * disc->normal[c], down += t->down[c] * disc->normal[c];
    return fabs(front) / fmax(0.5, down);
}

// mm from the canal's middle to the front of the body between discs d − 1 and d: where, on the way forwards from its
// axis, values are no longer those of marrow over the middle of its height.
static double find_front(const struct kf_volume *blurred, const struct kf_spine *spine, const struct kf_spine_mr *mr,
                         int d)
{
    double above = d > 0 ? spine->disc[d - 1].s : spine->disc[0].s - kf_spine_segment_mm(spine, 0),
           below = d < spine->discs ? spine->disc[d].s : above + kf_spine_segment_mm(spine, spine->discs - 1), lean = 0;
    int middle = (int)(0.5 * (above + below));
    for (int n = d - 1; n <= d; n++)
        if (n >= 0 && n < spine->discs)
            lean = fmax(lean, leans(spine, &spine->disc[n]));
    double spare = FRONT_SPARE + 0.5 * lean * (below - above);
    for (int v = (int)KF_SPINE_BODY_MM; v < FRONT_MOST; v++) {
        double sum = 0;
        int count = 0;
        for (int n = middle - 5; n <= middle + 5; n++)
            for (int u = -8; u <= 8 && n >= 0 && n < spine->stations; u += 2) {
                double p[3];
                kf_spine_place(&spine->station[n], u, v, p);
                sum += kf_spine_value(blurred, p, mr->body) / mr->body;
                count++;
            }
        if (count && fabs(sum / count - 1) > FRONT_OFF)
            return v + spare;
    }
    return FRONT_MOST;
}

static int vertebra_at(const struct kf_spine *spine, const double p[3])
{
    int above = 0;
    while (above < spine->discs && kf_spine_below(&spine->disc[above], p) > 0)
        above++;
    return above;
}

// The same for a place: a body's front is round.
static double front_of(const double front[KF_SPINE_MOST], const struct kf_spine *spine, const double p[3], double u)
{
    return KF_SPINE_BODY_MM +
           (front[vertebra_at(spine, p)] - KF_SPINE_BODY_MM) * sqrt(fmax(0, 1 - u * u / (FRONT_SIDE * FRONT_SIDE)));
}

// Where single voxels are too noisy to tell marrow: bodies (one byte per voxel, as of kf_spine_find_bodies) by the
// closed surface that parts what is like marrow from what is not, darker or brighter. known[n]: that of vertebra n is
// all in the field and shows; not below the last disc, where a sacrum has none.
static enum kf_kernel_status find_bodies(const struct kf_work *work, const struct kf_volume *smooth,
                                         const struct kf_spine *spine, const struct kf_spine_mr *mr, uint8_t *bodies,
                                         int known[256])
{
    int64_t voxels = kf_grid_voxels(&smooth->grid);
    struct kf_volume like = {.grid = smooth->grid, .type = KF_VOXEL_INT16};
    struct kf_spine all = *spine;
    const int16_t *value = smooth->data;
    int16_t *hu = like.data = kf_work_take(work, 2 * voxels);
    if (!hu)
        return KF_KERNEL_NOMEM;
    for (int64_t v = 0; v < voxels; v++)
        hu[v] = (int16_t)(value[v] < 0 ? -2000
                                       : LIKE_HU * fmax(0, 1 - fabs(value[v] / mr->body - MARROW_MIDDLE) / UNLIKE));
    all.vertebrae = spine->discs + 1;
    enum kf_kernel_status status = kf_spine_find_bodies(work, &like, &all, bodies);
    double beyond[3]; // the disc above the uppermost body
    for (int c = 0; c < 3; c++)
        beyond[c] = spine->disc[0].middle[c] - kf_spine_segment_mm(spine, 0) * spine->disc[0].normal[c];
    memset(known, 0, 256 * sizeof *known);
    for (int64_t v = 0; !status && v < voxels; v++)
        known[bodies[v]] = 1;
    known[0] = known[KF_SPINE_REST] = known[all.vertebrae] = 0;
    known[1] = known[1] && kf_spine_voxel(&smooth->grid, beyond) >= 0;
    kf_work_give(work, hu);
    return status;
}

// Whether the vertebra below the last disc, which is seen in part at most, is none of the sacrum: above that a disc
// leans forwards.
static int is_level_below(const struct kf_spine *spine)
{
    return spine->disc[spine->discs - 1].normal[2] < -LEVEL;
}

// Whether a place outside of all known bodies lies before or beside one, where no part of a vertebra is. Of the
// outermost, which the field cuts, the waist of the one beside it says how wide they are.
static int is_beside_body(const struct kf_grid *g, const struct kf_spine *spine, const uint8_t *bodies,
                          const int *known, const double p[3], const double suv[3])
{
    int n = vertebra_at(spine, p), beside = n == 0 ? 1 : n - 1, d = n == 0 ? 0 : n - 1;
    if (suv[2] <= PEDICLE_MM || known[1 + n])
        return suv[2] > PEDICLE_MM;
    if (!known[1 + beside] || (n == spine->discs && !is_level_below(spine)))
        return 0;
    double q[3], s = spine->disc[d].s + (n == 0 ? 0.5 : -0.5) * kf_spine_segment_mm(spine, d);
    kf_spine_place(&spine->station[(int)fmin(fmax(s, 0), spine->stations - 1)], WAIST * suv[1],
                   KF_SPINE_BODY_MM + WAIST * (suv[2] - KF_SPINE_BODY_MM), q);
    int64_t at = kf_spine_voxel(g, q);
    return at < 0 || bodies[at] != 1 + beside;
}

static enum kf_kernel_status classify(const struct kf_work *work, const struct kf_volume *blurred,
                                      const struct kf_spine *spine, const struct kf_spine_mr *mr,
                                      const struct slab *slabs, const uint8_t *bodies, const int *known,
                                      uint8_t *tissue, uint8_t *core)
{
    struct kf_loop loop = kf_loop_make(work, blurred->grid.dim[2], 0, 0);
    const struct kf_grid *g = &blurred->grid;
    const int16_t *value = blurred->data;
    double spread = mr->smooth_spread > NOISY ? 0.5 * mr->smooth_spread : mr->smooth_spread,
           reach = fmin(MOST_REACH, fmax(LEAST_REACH, SPREADS * spread)), front[KF_SPINE_MOST];
    for (int d = 0; d <= spine->discs; d++)
        front[d] = find_front(blurred, spine, mr, d);
    if (spine->discs > 0) // a sacrum is less deep in its middle than below the last disc
        front[spine->discs] = fmax(front[spine->discs], front[spine->discs - 1]);
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t k = 0; k < g->dim[2]; k++)
        for (int64_t j = 0, stop = kf_loop_stop(&loop); j < g->dim[1] && !stop; j++)
            for (int64_t i = 0; i < g->dim[0]; i++) {
                int64_t at = (k * g->dim[1] + j) * g->dim[0] + i;
                double p[3], suv[3], x = value[at] / mr->body;
                kf_spine_point(g, i, j, k, p);
                int near = kf_spine_coordinates(spine, p, suv);
                int inner = i > 0 && j > 0 && k > 0 && i < g->dim[0] - 1 && j < g->dim[1] - 1 && k < g->dim[2] - 1;
                int marrow = near && inner && suv[2] < front_of(front, spine, p, suv[1]) &&
                             fabs(x - MARROW_MIDDLE) < reach && steepness(value, g, at) < STEEP * mr->body;
                double u = suv[1], v = suv[2] - KF_SPINE_BODY_MM;
                double fluid = 0.5 * (mr->fat + mr->fluid), r = u * u / 196 + suv[2] * suv[2] / 121;
                if (near && (u * u / 56 + suv[2] * suv[2] / 42 < 1 || (value[at] > fluid && r < 1)))
                    tissue[at] = NEURAL;
                else {
                    int slab = near ? in_slab(spine, slabs, p, suv) : 0,
                        nucleus = x >= MARROW_HIGH && u * u / 256 + v * v / 144 < 1;
                    tissue[at] = (slab == 2 && x < MARROW_HIGH) || (slab && nucleus) ? DISC
                                 : marrow && slab < 2 && value[at] >= 0              ? MARROW
                                                                                     : OTHER;
                }
                if (near && known[bodies[at]])
                    tissue[at] = MARROW;
                else if (tissue[at] == MARROW && is_beside_body(g, spine, bodies, known, p, suv))
                    tissue[at] = OTHER;
                core[at] = near && tissue[at] == MARROW && u * u / 81 + v * v / 49 < 1;
            }
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

// The wall around marrow: what is no fat within SHELL_MM of it where fat, fluid or a disc lies behind that, which say
// where it ends; towards muscle, as dark as a wall, only a wall's usual thickness. `shell`: within it marrow, then its
// wall.
static enum kf_kernel_status find_shell(const struct kf_work *work, const struct kf_volume *blurred,
                                        const struct kf_spine_mr *mr, const struct kf_volume *tissue,
                                        struct kf_bits *shell)
{
    const double *spacing = blurred->grid.spacing_mm;
    struct kf_bits thin = {0}, other = {0};
    enum kf_kernel_status status = kf_bits_alloc(work, blurred->grid.dim, &thin);
    if (!status)
        status = kf_bits_alloc(work, blurred->grid.dim, &other);
    if (!status) {
        kf_bits_combine(work, &thin, KF_BITS_COPY, shell);
        status = kf_bits_dilate(work, &thin, spacing, THIN_SHELL_MM);
    }
    if (!status)
        status = kf_bits_dilate(work, shell, spacing, mr->smooth_spread > NOISY ? NOISY_SHELL_MM : SHELL_MM);
    if (!status)
        status = kf_bits_threshold(work, blurred, MARROW_HIGH * mr->body, 1e9, &other);
    if (!status)
        status = kf_bits_dilate(work, &other, spacing, BESIDE_MM);
    if (!status) {
        kf_bits_combine(work, &thin, KF_BITS_OR, &other);
        status = kf_bits_threshold(work, tissue, DISC, DISC, &other);
    }
    if (!status)
        status = kf_bits_dilate(work, &other, spacing, BESIDE_MM);
    if (!status) {
        kf_bits_combine(work, &thin, KF_BITS_OR, &other);
        kf_bits_combine(work, shell, KF_BITS_AND, &thin);
        status = kf_bits_threshold(work, blurred, 0, fmin(1.2 * mr->body, 0.5 * mr->fat), &other);
    }
    if (!status)
        kf_bits_combine(work, shell, KF_BITS_AND, &other);
    kf_bits_release(work, &other);
    kf_bits_release(work, &thin);
    return status;
}

// Marrow in one piece with a body, and its wall.
static enum kf_kernel_status find_bone(const struct kf_work *work, const struct kf_volume *blurred,
                                       const struct kf_spine_mr *mr, const uint8_t *tissue, const uint8_t *core,
                                       struct kf_bits *bone)
{
    struct kf_bits seeds = {0};
    struct kf_volume bytes = {.grid = blurred->grid, .type = KF_VOXEL_UINT8, .data = (void *)(uintptr_t)tissue};
    enum kf_kernel_status status = kf_bits_alloc(work, blurred->grid.dim, &seeds);
    if (!status)
        status = kf_bits_threshold(work, &bytes, MARROW, MARROW, bone);
    bytes.data = (void *)(uintptr_t)core;
    if (!status)
        status = kf_bits_threshold(work, &bytes, 1, 255, &seeds);
    if (!status)
        status = kf_bits_open(work, bone, blurred->grid.spacing_mm, OPEN_MM);
    if (!status)
        status = kf_bits_hysteresis(work, bone, &seeds);
    bytes.data = (void *)(uintptr_t)tissue;
    if (!status) {
        kf_bits_combine(work, &seeds, KF_BITS_COPY, bone);
        status = find_shell(work, blurred, mr, &bytes, &seeds);
    }
    if (!status) {
        kf_bits_combine(work, bone, KF_BITS_OR, &seeds);
        status = kf_bits_fill_holes(work, bone, KF_NEIGHBOURS_6, 4000, NULL);
    }
    kf_bits_release(work, &seeds);
    return status;
}

// Whether the flood of marrow has missed arches: of what place and value together call bone.
static int is_flood_poor(const struct kf_volume *blurred, const uint8_t *arch, const uint8_t *not_bone,
                         const struct kf_bits *bone)
{
    const struct kf_grid *g = &blurred->grid;
    int64_t all = 0, found = 0;
    for (int64_t k = 0, at = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, at++)
                if (!not_bone[at] && (arch[at] == KF_ARCH_WALL || arch[at] == KF_ARCH_MARROW))
                    all++, found += kf_bits_get(bone, i, j, k);
    return (double)found < FLOOD_SHARE * (double)all;
}

// Where the flood of marrow misses arches, bone behind the bodies is what place and value together say. `bone`,
// `tissue`: changed there; `scratch`: two bytes per voxel. Says so in the spine.
static enum kf_kernel_status lay_arches(const struct kf_work *work, const struct kf_volume *blurred,
                                        struct kf_spine *spine, const struct kf_spine_mr *mr, uint8_t *tissue,
                                        uint8_t *scratch, struct kf_bits *bone)
{
    const struct kf_grid *g = &blurred->grid;
    int64_t voxels = kf_grid_voxels(g);
    uint8_t *arch = scratch, *not_bone = scratch + voxels;
    // A sacrum's back is none of the atlas's.
    int to = is_level_below(spine) ? spine->stations : (int)spine->disc[spine->discs - 1].s;
    for (int64_t v = 0; v < voxels; v++)
        not_bone[v] = tissue[v] == DISC || tissue[v] == NEURAL;
    enum kf_kernel_status status = kf_spine_mr_arches(work, blurred, spine, mr, to, not_bone, arch);
    if (status || !is_flood_poor(blurred, arch, not_bone, bone))
        return status;
    spine->arches_by_form = 1;
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t k = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++) {
                int64_t at = (k * g->dim[1] + j) * g->dim[0] + i;
                if (arch[at] == KF_ARCH_ELSEWHERE || not_bone[at])
                    continue;
                tissue[at] = arch[at] == KF_ARCH_MARROW ? MARROW : OTHER;
                if (arch[at] == KF_ARCH_SOFT)
                    kf_bits_row(bone, j, k)[i / 64] &= ~((uint64_t)1 << (i % 64));
                else
                    kf_bits_put(bone, i, j, k);
            }
    return KF_KERNEL_OK;
}

static void paint(const struct kf_work *work, const struct kf_volume *blurred, const struct kf_spine_mr *mr,
                  const uint8_t *tissue, const struct kf_bits *bone, const struct kf_volume *ct)
{
    const struct kf_grid *g = &blurred->grid;
    const int16_t *value = blurred->data;
    int16_t *hu = ct->data;
    double fluid = 0.5 * (mr->fat + mr->fluid);
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t k = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++) {
                int64_t at = (k * g->dim[1] + j) * g->dim[0] + i;
                int is_bone = kf_bits_get(bone, i, j, k) && tissue[at] != DISC && tissue[at] != NEURAL;
                hu[at] = (int16_t)(value[at] < 0                        ? -1000
                                   : is_bone && tissue[at] == MARROW    ? MARROW_HU
                                   : is_bone                            ? KF_SPINE_MR_BONE_HU
                                   : tissue[at] == DISC                 ? DISC_HU
                                   : value[at] >= fluid                 ? 12
                                   : tissue[at] == NEURAL               ? 40
                                   : value[at] > MARROW_HIGH * mr->body ? -85
                                                                        : 55);
            }
}

enum kf_kernel_status kf_spine_mr_as_ct(const struct kf_work *work, const struct kf_volume *fine,
                                        struct kf_spine *spine, const struct kf_spine_mr *mr,
                                        const struct kf_volume *ct)
{
    int64_t voxels = kf_grid_voxels(&fine->grid);
    struct slab slabs[KF_SPINE_MOST];
    struct kf_bits bone = {0};
    struct kf_volume blurred = {.grid = fine->grid, .type = KF_VOXEL_INT16};
    blurred.data = kf_work_take(work, 2 * voxels);
    uint8_t *tissue = kf_work_take(work, voxels), *core = kf_work_take(work, voxels),
            *bodies = kf_work_take(work, voxels);
    int known[256] = {0};
    enum kf_kernel_status status =
        blurred.data && tissue && core && bodies ? kf_bits_alloc(work, fine->grid.dim, &bone) : KF_KERNEL_NOMEM;
    if (!status)
        status = kf_spine_blur(work, fine, mr->smooth_spread > NOISY ? NOISY_BLUR_MM : BLUR_MM, &blurred);
    if (!status) {
        place_discs(&blurred, spine, mr, slabs);
        if (mr->smooth_spread > NOISY)
            status = find_bodies(work, fine, spine, mr, bodies, known);
        else
            memset(bodies, 0, (size_t)voxels);
    }
    if (!status)
        status = classify(work, &blurred, spine, mr, slabs, bodies, known, tissue, core);
    if (!status)
        status = find_bone(work, &blurred, mr, tissue, core, &bone);
    uint8_t *scratch = !status ? kf_work_take(work, 2 * voxels) : NULL;
    if (!status)
        status = scratch ? lay_arches(work, &blurred, spine, mr, tissue, scratch, &bone) : KF_KERNEL_NOMEM;
    kf_work_give(work, scratch);
    if (!status)
        paint(work, &blurred, mr, tissue, &bone, ct);
    kf_bits_release(work, &bone);
    kf_work_give(work, bodies);
    kf_work_give(work, core);
    kf_work_give(work, tissue);
    kf_work_give(work, blurred.data);
    return status;
}

// Whether the vertebra `label` is met within REACH_MM from a point along a direction.
static int met(const struct kf_grid *g, const uint8_t *labels, const double p[3], const double way[3], double sign,
               int label)
{
    for (double h = 0.5; h <= REACH_MM; h += 0.5) {
        double q[3];
        for (int c = 0; c < 3; c++)
            q[c] = p[c] + sign * h * way[c];
        int64_t at = kf_spine_voxel(g, q);
        if (at >= 0 && labels[at] == label)
            return 1;
    }
    return 0;
}

void kf_spine_mr_fill_discs(const struct kf_work *work, const struct kf_volume *ct, const struct kf_spine *spine,
                            uint8_t *labels, uint8_t *scratch)
{
    const struct kf_grid *g = &ct->grid;
    const int16_t *hu = ct->data;
    memcpy(scratch, labels, (size_t)kf_grid_voxels(g));
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t k = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++) {
                int64_t at = (k * g->dim[1] + j) * g->dim[0] + i;
                double p[3];
                if (scratch[at] != 0 || hu[at] != DISC_HU)
                    continue;
                kf_spine_point(g, i, j, k, p);
                int nearest = 0;
                for (int d = 1; d < spine->discs; d++)
                    if (fabs(kf_spine_below(&spine->disc[d], p)) < fabs(kf_spine_below(&spine->disc[nearest], p)))
                        nearest = d;
                const double *normal = spine->disc[nearest].normal;
                int under = nearest + 1 == spine->discs && spine->sacrum ? KF_SPINE_SACRUM : nearest + 2;
                if (met(g, scratch, p, normal, -1, nearest + 1) && met(g, scratch, p, normal, 1, under))
                    labels[at] = (uint8_t)(KF_SPINE_DISC + 1 + nearest);
            }
}
