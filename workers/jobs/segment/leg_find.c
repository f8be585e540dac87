// Which pieces of bone are a tibia and its fibula: sections of every piece, then pairs of pieces.
#include "workers/jobs/segment/leg_inside.h"
#include "workers/kernels/distance.h"

#include <math.h>
#include <string.h>

#define PIECES      64   // the largest ones are looked at
#define PIECE_ML    0.4  // what a piece must have to be one of them
#define OTHER_ML    1.0  // what it must have to hold ground against tibia and fibula
#define SHARED_MM   30.0 // both bones side by side, at least
#define SHARED_PART 0.6  // of the fibula's length at least
#define THIN_MM     9.5  // radius of a fibula, at most
#define SLENDER_MM  3.0  // and at least
#define RATIO       1.3  // radius of the tibia over that of the fibula, at least: radius and ulna are equal
#define NEAR_MM     14.0 // between the centres of the sections
#define FAR_MM      60.0
#define SLOPE       0.7  // of the fibula against the frame's k axis
#define BEND_MM     5.0  // RMS distance from a straight line
#define WHOLE_MM    150  // a bone with both ends in the image is at least so long
#define CUT_MM      3.0  // an end is so near the image's border where the image cuts the bone off
#define CUT_SHARE   0.6  // and there has this share of the median radius
#define OVER_KNEE   45.0 // the tibia ends at most so far above the fibula's head
#define OVER_ANKLE  6.0  // and nowhere below its tip but by so much
#define BELOW_ANKLE 35.0 // and not further above it
#define BESIDE_PART 0.5  // of the fibula's length, along which bone beside it is another leg
#define OBLIQUE_MM  30.0 // more where an oblique border of the image cuts the bones

// Marrow within a section is filled, and spongy bone below the threshold too, up to an area: the plateau of a tibia has
// 2700 mm², but so may the notch between condyles that touch all around it.
static const struct {
    double hu, hole_mm2;
} separations[] = {{220, 3000}, {220, 600}, {320, 3000}, {450, 3000}, {320, 600}, {650, 3000}};
static const double erosions_mm[] = {0.9, 1.7, 2.5, 3.2};

// The sections of one piece, slice by slice of the frame.
struct piece {
    int64_t component, voxels;
    int low, high; // slices that it has, both included
    const int32_t *area;
    const float *x, *y; // centroid, voxels
    double erosion;     // mm that were taken off all around
    double line[4];     // fibula only: x = line[0] + line[1]·k, y = line[2] + line[3]·k
    int role;           // seed once chosen, else 0
};

struct pieces {
    int count;
    struct piece piece[PIECES];
    int32_t *area; // PIECES × slices
    float *x, *y;
    double *spare; // slices, for medians
};

struct pair {
    int tibia, fibula;
    double score;
    struct kf_leg leg;
};

static double radius_at(const struct piece *p, int k)
{
    return sqrt(p->area[k] * (KF_LEG_STEP_MM * KF_LEG_STEP_MM) / 3.14159265358979) + p->erosion;
}

static double median(double *value, int count)
{
    for (int gap = count / 2; gap > 0; gap /= 2)
        for (int i = gap; i < count; i++)
            for (int j = i; j >= gap && value[j] < value[j - gap]; j -= gap) {
                double t = value[j];
                value[j] = value[j - gap];
                value[j - gap] = t;
            }
    return count ? value[count / 2] : 0;
}

double kf_leg_hole_mm2(const struct kf_legs *legs)
{
    return separations[legs->strength / (int)(sizeof erosions_mm / sizeof *erosions_mm)].hole_mm2;
}

enum kf_kernel_status kf_leg_solid(const struct kf_work *work, const struct kf_volume *frame, double hu,
                                   double hole_mm2, struct kf_bits *bone)
{
    double voxel_ml = KF_LEG_STEP_MM * KF_LEG_STEP_MM * KF_LEG_STEP_MM / 1000;
    enum kf_kernel_status status = kf_bits_threshold(work, frame, hu, 1e9, bone);
    if (!status)
        status = kf_bits_drop_islands(work, bone, KF_NEIGHBOURS_26, (int64_t)(0.2 / voxel_ml), NULL);
    if (!status) // slice by slice: where the image ends the marrow is open along the bone
        status = kf_bits_fill_holes(work, bone, KF_NEIGHBOURS_4,
                                    (int64_t)(hole_mm2 / (KF_LEG_STEP_MM * KF_LEG_STEP_MM)), NULL);
    if (!status)
        status = kf_bits_fill_holes(work, bone, KF_NEIGHBOURS_6, 0, NULL);
    return status;
}

// ---- sections ----

static void choose_largest(const struct kf_components *c, struct pieces *all, int64_t slices, double erosion)
{
    int64_t least = (int64_t)(PIECE_ML * 1000 / (KF_LEG_STEP_MM * KF_LEG_STEP_MM * KF_LEG_STEP_MM));
    all->count = 0;
    for (int64_t n = 0; n < c->count; n++) {
        if (c->table[n].voxels < least)
            continue;
        if (all->count == PIECES && all->piece[PIECES - 1].voxels >= c->table[n].voxels)
            continue;
        int at = all->count < PIECES ? all->count++ : PIECES - 1;
        while (at > 0 && all->piece[at - 1].voxels < c->table[n].voxels) {
            all->piece[at] = all->piece[at - 1];
            at--;
        }
        all->piece[at] = (struct piece){.component = n,
                                        .voxels = c->table[n].voxels,
                                        .low = c->table[n].box[0][2],
                                        .high = c->table[n].box[1][2] - 1,
                                        .erosion = erosion};
    }
    for (int n = 0; n < all->count; n++) {
        all->piece[n].area = all->area + n * slices;
        all->piece[n].x = all->x + n * slices;
        all->piece[n].y = all->y + n * slices;
    }
}

static void add_sections(const struct kf_components *c, const int64_t dim[3], const uint8_t *piece_of,
                         struct pieces *all)
{
    memset(all->area, 0, (size_t)(PIECES * dim[2]) * sizeof *all->area);
    memset(all->x, 0, (size_t)(PIECES * dim[2]) * sizeof *all->x);
    memset(all->y, 0, (size_t)(PIECES * dim[2]) * sizeof *all->y);
    for (int64_t k = 0; k < dim[2]; k++) {
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t r = c->row_first[j + k * dim[1]]; r < c->row_first[j + k * dim[1] + 1]; r++) {
                if (piece_of[c->component[r]] == PIECES)
                    continue;
                int64_t at = piece_of[c->component[r]] * dim[2] + k;
                int32_t length = c->end[r] - c->start[r];
                all->area[at] += length; // sums of halves below 2^24: exact
                all->x[at] += 0.5f * (float)length * (float)(c->start[r] + c->end[r] - 1);
                all->y[at] += (float)length * (float)j;
            }
        for (int64_t at = k; at < all->count * dim[2]; at += dim[2])
            if (all->area[at]) {
                all->x[at] /= (float)all->area[at];
                all->y[at] /= (float)all->area[at];
            }
    }
}

static enum kf_kernel_status make_sections(const struct kf_work *work, const struct kf_components *c,
                                           const int64_t dim[3], double erosion, struct pieces *all)
{
    uint8_t *piece_of = kf_work_take(work, c->count);
    if (!piece_of)
        return KF_KERNEL_NOMEM;
    choose_largest(c, all, dim[2], erosion);
    memset(piece_of, PIECES, (size_t)c->count);
    for (int n = 0; n < all->count; n++)
        piece_of[all->piece[n].component] = (uint8_t)n;
    add_sections(c, dim, piece_of, all);
    kf_work_give(work, piece_of);
    return KF_KERNEL_OK;
}

// ---- pairs ----

// A straight line through the centroids, and the RMS distance from it.
static double fit_line(struct piece *p)
{
    double n = 0, k1 = 0, k2 = 0, x1 = 0, kx = 0, y1 = 0, ky = 0, sum = 0;
    for (int k = p->low; k <= p->high; k++)
        if (p->area[k]) {
            n++, k1 += k, k2 += (double)k * k;
            x1 += (double)p->x[k], kx += k * (double)p->x[k];
            y1 += (double)p->y[k], ky += k * (double)p->y[k];
        }
    double spread = n * k2 - k1 * k1;
    if (spread <= 0)
        return 1e9;
    p->line[1] = (n * kx - k1 * x1) / spread, p->line[0] = (x1 - p->line[1] * k1) / n;
    p->line[3] = (n * ky - k1 * y1) / spread, p->line[2] = (y1 - p->line[3] * k1) / n;
    for (int k = p->low; k <= p->high; k++)
        if (p->area[k]) {
            double dx = (double)p->x[k] - p->line[0] - p->line[1] * k,
                   dy = (double)p->y[k] - p->line[2] - p->line[3] * k;
            sum += dx * dx + dy * dy;
        }
    return sqrt(sum / n) * KF_LEG_STEP_MM;
}

// A point of the fibula's line, LPS.
static void line_point(const struct kf_grid *frame, const struct piece *p, double k, double p_lps[3])
{
    const double at[3] = {p->line[0] + p->line[1] * k, p->line[2] + p->line[3] * k, k};
    kf_grid_to_lps(frame, at, p_lps);
}

static int outside(const struct kf_grid *image, const double p_lps[3])
{
    double at[3];
    kf_grid_to_ijk(image, p_lps, at);
    for (int a = 0; a < 3; a++)
        if (at[a] < -0.5 || at[a] > (double)image->dim[a] - 0.5)
            return 1;
    return 0;
}

// Whether the image cuts the bone off at its end `k` (`inwards` is +1 or -1): the line leaves the image there, and the
// section is as wide as elsewhere, which a bone that just ends near the border is not.
static int cut_off(const struct kf_grid *image, const struct kf_grid *frame, const struct piece *p, int k, int inwards,
                   double radius)
{
    double beyond[3];
    line_point(frame, p, k - inwards * (CUT_MM + p->erosion) / KF_LEG_STEP_MM, beyond);
    return outside(image, beyond) && p->area[k + 2 * inwards] && radius_at(p, k + 2 * inwards) >= CUT_SHARE * radius;
}

// Where a fibula lies and how long it is.
static void place_fibula(const struct kf_grid *frame, const struct piece *p, struct kf_leg *leg)
{
    double low[3], high[3], along = 0;
    line_point(frame, p, p->low - p->erosion, low);
    line_point(frame, p, p->high + p->erosion, high);
    line_point(frame, p, 0.5 * (p->low + p->high), leg->middle);
    for (int a = 0; a < 3; a++) {
        leg->up[a] = high[a] - low[a];
        along += leg->up[a] * leg->up[a];
    }
    leg->fibula_mm = sqrt(along);
    for (int a = 0; a < 3; a++)
        leg->up[a] /= leg->fibula_mm;
}

// Thin, straight, upright, and either long or cut off by the image.
static int is_fibula(const struct kf_grid *image, const struct kf_grid *frame, struct piece *p, double *spare,
                     struct kf_leg *leg)
{
    int count = 0;
    double length = (p->high - p->low + 1) * KF_LEG_STEP_MM, most = 0;
    if (length < SHARED_MM || fit_line(p) > BEND_MM + 0.01 * length ||
        p->line[1] * p->line[1] + p->line[3] * p->line[3] > SLOPE * SLOPE)
        return 0;
    for (int k = p->low; k <= p->high; k++)
        if (p->area[k]) {
            spare[count] = radius_at(p, k);
            most = kf_leg_most(most, spare[count++]);
        }
    double radius = median(spare, count);
    if (radius < SLENDER_MM || radius > THIN_MM || most > 2 * THIN_MM || count * KF_LEG_STEP_MM < 0.9 * length)
        return 0;
    leg->cropped_low = cut_off(image, frame, p, p->low, 1, radius);
    leg->cropped_high = cut_off(image, frame, p, p->high, -1, radius);
    if (!leg->cropped_low && !leg->cropped_high && length < WHOLE_MM)
        return 0;
    place_fibula(frame, p, leg);
    return 1;
}

// Both bones slice by slice: length, radii, distance and direction. 1 when they look like a pair.
static int beside(const struct kf_grid *frame, const struct piece *t, const struct piece *f, double *spare,
                  struct kf_leg *leg)
{
    int from = t->low > f->low ? t->low : f->low, to = t->high < f->high ? t->high : f->high, count = 0;
    double dx = 0, dy = 0;
    for (int k = from; k <= to; k++)
        if (t->area[k] && f->area[k])
            spare[count++] = radius_at(t, k) / radius_at(f, k);
    leg->shared_mm = count * KF_LEG_STEP_MM;
    leg->radius_ratio = median(spare, count);
    count = 0;
    for (int k = from; k <= to; k++)
        if (t->area[k] && f->area[k]) {
            double x = (double)(f->x[k] - t->x[k]), y = (double)(f->y[k] - t->y[k]);
            spare[count++] = sqrt(x * x + y * y) * KF_LEG_STEP_MM;
            dx += x, dy += y;
        }
    leg->apart_mm = median(spare, count);
    double length = sqrt(dx * dx + dy * dy);
    leg->lateral = length > 0 ? (frame->direction[0] * dx + frame->direction[1] * dy) / length : 0;
    if (leg->shared_mm < SHARED_PART * (f->high - f->low + 1) * KF_LEG_STEP_MM)
        return 0;
    return leg->shared_mm >= SHARED_MM && leg->radius_ratio >= RATIO && leg->apart_mm >= NEAR_MM &&
           leg->apart_mm <= FAR_MM;
}

// Neither bone runs into its neighbours: the tibia ends near the fibula's ends. 2: so it is; 1: it goes on too far, but
// beyond where the image cuts the fibula off, which may be true; 0: it does not.
static int ends_well(const struct piece *t, const struct piece *f, const struct kf_leg *leg)
{
    double above = (t->high - f->high) * KF_LEG_STEP_MM, below = (f->low - t->low) * KF_LEG_STEP_MM;
    if (!leg->cropped_high && (above > OVER_KNEE || above < -2))
        return 0;
    if (!leg->cropped_low && (below > OVER_ANKLE || below < -BELOW_ANKLE))
        return 0;
    return above > OVER_KNEE + (leg->cropped_high ? OBLIQUE_MM : 0) ||
                   below > OVER_ANKLE + (leg->cropped_low ? OBLIQUE_MM : 0)
               ? 1
               : 2;
}

// Two fibulas of one patient lie side by side: at least half of the shorter one.
static int level(const struct piece *a, const struct piece *b)
{
    int from = a->low > b->low ? a->low : b->low, to = a->high < b->high ? a->high : b->high;
    int first = a->high - a->low, second = b->high - b->low;
    return 2 * (to - from) >= (first < second ? first : second);
}

// The best tibia for each fibula; *near_miss is set where only the ends speak against a pair. Pairs in `out` by score.
static int find_pairs(const struct kf_grid *image, const struct kf_grid *frame, struct pieces *all, struct pair *out,
                      int *near_miss)
{
    int count = 0;
    for (int f = 0; f < all->count; f++) {
        struct pair best = {.score = 0};
        struct kf_leg leg = {0};
        if (!is_fibula(image, frame, &all->piece[f], all->spare, &leg))
            continue;
        for (int t = 0; t < all->count; t++) {
            if (t == f || !beside(frame, &all->piece[t], &all->piece[f], all->spare, &leg))
                continue;
            int ends = ends_well(&all->piece[t], &all->piece[f], &leg);
            if (!ends) {
                *near_miss = 1;
                continue;
            }
            leg.ends_seen = ends == 2;
            double score = ends * leg.shared_mm / (20 + leg.apart_mm);
            if (score > best.score)
                best = (struct pair){t, f, score, leg};
        }
        if (best.score <= 0)
            continue;
        // Of thin bones beside one tibia the nearer and longer is meant, so that they leave room for the other leg.
        int rival = 0;
        while (rival < count && out[rival].tibia != best.tibia)
            rival++;
        if (rival < count && out[rival].score >= best.score)
            continue;
        if (rival < count) {
            for (int n = rival; n + 1 < count; n++)
                out[n] = out[n + 1];
            count--;
        }
        int at = count < KF_LEG_MOST ? count++ : KF_LEG_MOST;
        while (at > 0 && out[at - 1].score < best.score) {
            if (at < KF_LEG_MOST)
                out[at] = out[at - 1];
            at--;
        }
        if (at < KF_LEG_MOST)
            out[at] = best;
    }
    if (count == 2 && !level(&all->piece[out[0].fibula], &all->piece[out[1].fibula]))
        count = 1;
    return count;
}

// ---- what else belongs to them ----

static void line_of_pair(const struct piece *f, int k, double *x, double *y)
{
    *x = f->line[0] + f->line[1] * k;
    *y = f->line[2] + f->line[3] * k;
}

// Pieces of a fibula that erosion broke off lie on its line; pieces of a tibia lie within its sections.
static void give_roles(struct pieces *all, const struct pair *pairs, struct kf_legs *legs)
{
    for (int n = 0; n < legs->count; n++) {
        all->piece[pairs[n].tibia].role = 1 + 2 * n;
        all->piece[pairs[n].fibula].role = 2 + 2 * n;
        legs->leg[n].pieces = 1;
    }
    for (int p = 0; p < all->count; p++) {
        struct piece *q = &all->piece[p];
        for (int n = 0; n < legs->count && !q->role; n++) {
            const struct piece *t = &all->piece[pairs[n].tibia], *f = &all->piece[pairs[n].fibula];
            int k = (q->low + q->high) / 2;
            if (!q->area[k] || k < t->low - 25 || k > t->high)
                continue;
            double x, y;
            line_of_pair(f, k, &x, &y);
            double dx = (double)q->x[k] - x, dy = (double)q->y[k] - y;
            if ((q->low > f->high || q->high < f->low) && dx * dx + dy * dy < 49 && radius_at(q, k) < THIN_MM + 2) {
                q->role = 2 + 2 * n;
                legs->leg[n].pieces++;
            } else if (k >= t->low && t->area[k] && q->low >= t->low - 12) {
                dx = (double)(q->x[k] - t->x[k]), dy = (double)(q->y[k] - t->y[k]);
                double reach = radius_at(t, k);
                q->role = dx * dx + dy * dy < reach * reach ? 1 + 2 * n : 0;
            }
        }
    }
}

// 1: beside the only leg that was found there is other bone, as thick as a shaft, along half of it.
static int another_leg(const struct pieces *all, const struct pair *pair)
{
    const struct piece *t = &all->piece[pair->tibia], *f = &all->piece[pair->fibula];
    int beside = 0;
    for (int k = f->low; k <= f->high; k++) {
        int found = 0;
        for (int p = 0; p < all->count && !found && t->area[k]; p++) {
            const struct piece *q = &all->piece[p];
            double dx = (double)(q->x[k] - t->x[k]), dy = (double)(q->y[k] - t->y[k]);
            found = !q->role && q->area[k] && radius_at(q, k) >= SLENDER_MM &&
                    sqrt(dx * dx + dy * dy) * KF_LEG_STEP_MM >= KF_LEG_BESIDE_MM;
        }
        beside += found;
    }
    return beside >= BESIDE_PART * (f->high - f->low + 1);
}

static void draw_seeds(const struct kf_components *c, const int64_t dim[3], const uint8_t *role, uint8_t *seeds)
{
    for (int64_t row = 0; row < dim[1] * dim[2]; row++) {
        memset(seeds + row * dim[0], 0, (size_t)dim[0]);
        for (int64_t r = c->row_first[row]; r < c->row_first[row + 1]; r++)
            memset(seeds + row * dim[0] + c->start[r], role[c->component[r]], (size_t)(c->end[r] - c->start[r]));
    }
}

static enum kf_kernel_status make_seeds(const struct kf_work *work, const struct kf_components *c, const int64_t dim[3],
                                        const struct pieces *all, uint8_t *seeds)
{
    uint8_t *role = kf_work_take(work, c->count);
    if (!role)
        return KF_KERNEL_NOMEM;
    int64_t least = (int64_t)(OTHER_ML * 1000 / (KF_LEG_STEP_MM * KF_LEG_STEP_MM * KF_LEG_STEP_MM));
    for (int64_t n = 0; n < c->count; n++)
        role[n] = c->table[n].voxels >= least ? KF_LEG_OTHER : 0;
    for (int p = 0; p < all->count; p++)
        if (all->piece[p].role)
            role[all->piece[p].component] = (uint8_t)all->piece[p].role;
    draw_seeds(c, dim, role, seeds);
    kf_work_give(work, role);
    return KF_KERNEL_OK;
}

// More legs are better, and of as many those whose ends are as they should be.
static int worth(int count, int first_ends, int second_ends)
{
    return 3 * count + (count > 0 && first_ends) + (count > 1 && second_ends);
}

// One separation: seeds are drawn when it is worth more than what legs holds so far.
static enum kf_kernel_status try_step(const struct kf_work *work, const struct kf_grid *image,
                                      const struct kf_grid *frame, const float *depth, int step, double erosion,
                                      struct pieces *all, struct kf_bits *core, uint8_t *seeds, struct kf_legs *legs)
{
    struct kf_components c = {0};
    struct pair pairs[KF_LEG_MOST] = {{0}};
    int near_miss = 0;
    memset(core->word, 0, (size_t)(core->words * core->dim[1] * core->dim[2]) * sizeof *core->word);
    for (int64_t k = 0, n = 0; k < core->dim[2]; k++)
        for (int64_t j = 0; j < core->dim[1]; j++)
            for (int64_t i = 0; i < core->dim[0]; i++, n++)
                if (depth[n] < (float)-erosion)
                    kf_bits_put(core, i, j, k);
    enum kf_kernel_status status = kf_components_find(work, core, KF_NEIGHBOURS_6, &c);
    if (!status)
        status = make_sections(work, &c, frame->dim, erosion, all);
    if (!status) {
        int count = find_pairs(image, frame, all, pairs, &near_miss);
        if (near_miss && !count && !legs->count)
            legs->reason = KF_LEG_JOINED;
        if (worth(count, count && pairs[0].leg.ends_seen, count > 1 && pairs[1].leg.ends_seen) >
            worth(legs->count, legs->leg[0].ends_seen, legs->leg[1].ends_seen)) {
            legs->count = count;
            legs->strength = step;
            legs->reason = KF_LEG_FOUND;
            for (int n = 0; n < count; n++)
                legs->leg[n] = pairs[n].leg;
            give_roles(all, pairs, legs);
            legs->missed = count == 1 && another_leg(all, pairs);
            status = make_seeds(work, &c, frame->dim, all, seeds);
        }
    }
    kf_components_release(work, &c);
    return status;
}

static enum kf_kernel_status try_steps(const struct kf_work *work, const struct kf_volume *image,
                                       const struct kf_volume *frame, struct pieces *all, float *depth,
                                       struct kf_bits *bone, uint8_t *seeds, struct kf_legs *legs)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    int erosions = (int)(sizeof erosions_mm / sizeof *erosions_mm), step = 0;
    legs->steps = erosions * (int)(sizeof separations / sizeof *separations);
    legs->reason = KF_LEG_NO_PAIR;
    for (size_t t = 0; t < sizeof separations / sizeof *separations && !status; t++) {
        status = kf_leg_solid(work, frame, separations[t].hu, separations[t].hole_mm2, bone);
        if (!status)
            status = kf_distance(work, bone, frame->grid.spacing_mm, erosions_mm[erosions - 1] + 0.5, depth);
        for (int e = 0; e < erosions && !status; e++, step++) {
            if (worth(legs->count, legs->leg[0].ends_seen, legs->leg[1].ends_seen) == 4 * KF_LEG_MOST)
                return status;
            status = try_step(work, &image->grid, &frame->grid, depth, step, erosions_mm[e], all, bone, seeds, legs);
            if (!status && kf_work_step(work, (double)step / legs->steps))
                status = KF_KERNEL_CANCELLED;
        }
    }
    return status;
}

enum kf_kernel_status kf_leg_find(const struct kf_work *work, const struct kf_volume *image,
                                  const struct kf_volume *frame, uint8_t *seeds, struct kf_legs *legs)
{
    const int64_t *dim = frame->grid.dim;
    struct kf_bits bone = {0};
    struct pieces *all = kf_work_take(work, (int64_t)sizeof *all);
    float *depth = kf_work_take(work, kf_grid_voxels(&frame->grid) * (int64_t)sizeof *depth);
    int32_t *area = kf_work_take(work, PIECES * dim[2] * (int64_t)sizeof *area);
    float *x = kf_work_take(work, PIECES * dim[2] * (int64_t)sizeof *x);
    float *y = kf_work_take(work, PIECES * dim[2] * (int64_t)sizeof *y);
    double *spare = kf_work_take(work, dim[2] * (int64_t)sizeof *spare);
    enum kf_kernel_status status = all && depth && area && x && y && spare ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status)
        status = kf_bits_alloc(work, dim, &bone);
    if (!status) {
        *all = (struct pieces){.area = area, .x = x, .y = y, .spare = spare};
        status = try_steps(work, image, frame, all, depth, &bone, seeds, legs);
    }
    kf_bits_release(work, &bone);
    kf_work_give(work, spare);
    kf_work_give(work, y);
    kf_work_give(work, x);
    kf_work_give(work, area);
    kf_work_give(work, depth);
    kf_work_give(work, all);
    return status;
}
