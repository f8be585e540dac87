// The cord in the dural sac: cross-sections averaged along the canal, so that a contrast below the noise of one voxel
// shows, and in each the ellipse that holds most of what differs from the fluid. See spine_neural.h.
#include "workers/jobs/segment/spine_ellipse.h"
#include "workers/jobs/segment/spine_neural.h"
#include "workers/kernels/kdtree.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MM     0.75
#define ACROSS      33 // cells to the side
#define DEEP        25 // and to the front
#define CELLS       (ACROSS * DEEP)
#define ALONG       6  // stations above and below that a section averages
#define WINDOW      24 // mm of the canal from which the values of cord and fluid are learnt
#define ALONG_SAC   3
#define DEEP_MM     6.2
#define NOWHERE     (-30000.0)
#define UNSEEN      (-0.3) // worth of a cell of which nothing is known
#define LEAST_MM    1.2    // half axis
#define LEAST_SAC   15.0F  // mm²
#define LEAST       400    // values in a window
#define STEPS       6      // of the fit, from 1.2 mm
#define RUN         8      // stations without a cord after which there is none
#define SMOOTH      6
#define SHORTEST    20   // stations
#define LEAST_WORTH 8.0F // mm²
#define LEAST_SHARE 0.5F // of the usual worth
#define LEAD        6    // stations whose way says where the next one lies
#define FARTHEST    15.0 // mm that a station may be off the sac: 11 were seen above the highest vertebra
#define OBLATE      1.6  // at most: wider is a cord with roots beside it

struct section {
    float value[CELLS]; // NaN-free: 0 where weight is 0
    float weight[CELLS];
};

static void cell_at(int cell, double *u, double *v)
{
    *u = (cell % ACROSS - ACROSS / 2) * CELL_MM;
    *v = ((double)(cell / ACROSS) - DEEP / 2) * CELL_MM;
}

static double between(double x, double from, double to)
{
    double share = (x - from) / (to - from);
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

// 1 what is like the sac's content … −1 what is like fat or ligament, disc and bone. Where the fluid is the brightest
// of all, what lies in it is told by its place: `deep` in the canal nothing else has a value between.
static double like_sac(const struct kf_spine_look *look, double value, int deep)
{
    if (look->fluid < look->fat) // dark fluid in fat: no image has been seen
        return 0;
    if (look->fluid_to_cord > 0)
        return 2 * between(value, look->fat, look->fluid) * between(value, look->hard, look->cord) - 1;
    if (deep && value < look->fat)
        return 2 * between(value, look->flavum, look->hard) - 1;
    return 2 * between(value, look->fat, 0.5 * (look->fat + look->fluid)) - 1; // a thin film is never as bright
}

static void sample_sac(const struct kf_volume *smooth, const struct kf_spine_look *look, const uint8_t *labels,
                       const struct kf_spine_station *t, struct section *out)
{
    for (int cell = 0; cell < CELLS; cell++) {
        double u, v, p[3];
        cell_at(cell, &u, &v);
        kf_spine_place(t, u, v, p);
        double value = kf_spine_value(smooth, p, NOWHERE);
        int64_t at = kf_spine_voxel(&smooth->grid, p);
        int canal = at >= 0 && (labels[at] == KF_SPINE_SAC || labels[at] == KF_SPINE_CANAL ||
                                look->fluid_to_cord < 0); // bright fluid needs no walls
        out->weight[cell] = value != NOWHERE;
        out->value[cell] = value == NOWHERE ? 0
                           : canal          ? (float)like_sac(look, value, u * u + v * v < DEEP_MM * DEEP_MM)
                                            : -1;
    }
}

// The same by bright fluid alone: of what is darker than fat nothing is known.
static void sample_fluid(const struct kf_volume *smooth, const struct kf_spine_look *look,
                         const struct kf_spine_station *t, struct section *out)
{
    for (int cell = 0; cell < CELLS; cell++) {
        double u, v, p[3];
        cell_at(cell, &u, &v);
        kf_spine_place(t, u, v, p);
        double value = kf_spine_value(smooth, p, NOWHERE);
        out->weight[cell] = value >= look->fat;
        out->value[cell] = value >= look->fat ? (float)like_sac(look, value, 0) : 0;
    }
}

// The part of the sac that its wall does not blur.
static void sample_content(const struct kf_volume *smooth, const struct kf_spine_station *t,
                           const struct kf_spine_ellipse *sac, double rim_mm, struct section *out)
{
    struct kf_spine_ellipse core = *sac;
    core.of[2] = fmax(core.of[2] - rim_mm, 0.5);
    core.of[3] = fmax(core.of[3] - rim_mm, 0.5);
    for (int cell = 0; cell < CELLS; cell++) {
        double u, v, p[3];
        cell_at(cell, &u, &v);
        kf_spine_place(t, u, v, p);
        double value = kf_spine_ellipse_at(&core, u, v) <= 1 ? kf_spine_value(smooth, p, NOWHERE) : NOWHERE;
        out->weight[cell] = value != NOWHERE;
        out->value[cell] = value != NOWHERE ? (float)value : 0;
    }
}

static void average(const struct section *in, int count, int at, int along, struct section *out)
{
    for (int cell = 0; cell < CELLS; cell++) {
        float sum = 0, weight = 0;
        for (int n = at - along; n <= at + along; n++) {
            if (n < 0 || n >= count)
                continue;
            float w = in[n].weight[cell] * (float)(1 + along - (n < at ? at - n : n - at));
            sum += w * in[n].value[cell];
            weight += w;
        }
        out->weight[cell] = weight > (float)along ? 1 : 0;
        out->value[cell] = weight > (float)along ? sum / weight : 0;
    }
}

// 1-2-1 both ways over what is known: noise between neighbours goes, a cord's edge stays where it is.
static void soften(struct section *section)
{
    struct section before = *section;
    for (int cell = 0; cell < CELLS; cell++) {
        float sum = 0, weight = 0;
        if (before.weight[cell] == 0)
            continue;
        for (int n = 0; n < 9; n++) {
            int x = cell % ACROSS + n % 3 - 1, y = cell / ACROSS + n / 3 - 1;
            if (x < 0 || y < 0 || x >= ACROSS || y >= DEEP)
                continue;
            float w = before.weight[y * ACROSS + x] * (n % 3 == 1 ? 2.0F : 1.0F) * (n / 3 == 1 ? 2.0F : 1.0F);
            sum += w * before.value[y * ACROSS + x];
            weight += w;
        }
        section->value[cell] = sum / weight;
    }
}

// Means of the two classes of values near a station (two-means from the outer deciles), and *tenth, below which a tenth
// of them lies; 0 with too few.
static int two_values(const struct section *mean, int count, int at, float *scratch, double *low, double *high,
                      double *tenth)
{
    int64_t n = 0;
    for (int m = at - WINDOW; m <= at + WINDOW; m += 3)
        for (int cell = 0; m >= 0 && m < count && cell < CELLS; cell++)
            if (mean[m].weight[cell] > 0)
                scratch[n++] = mean[m].value[cell];
    if (n < LEAST)
        return 0;
    *low = *tenth = kf_select_f32(scratch, n, n / 10);
    *high = kf_select_f32(scratch, n, 9 * n / 10);
    for (int turn = 0; turn < 8; turn++) {
        double sum[2] = {0, 0}, middle = 0.5 * (*low + *high);
        int64_t of[2] = {0, 0};
        for (int64_t i = 0; i < n; i++) {
            int side = scratch[i] > middle;
            sum[side] += scratch[i];
            of[side]++;
        }
        if (of[0] == 0 || of[1] == 0)
            return 0;
        *low = sum[0] / (double)of[0];
        *high = sum[1] / (double)of[1];
    }
    return 1;
}

// What is sought in a section: values from `minus` to `plus` are worth −1 … 1.
struct sought {
    const struct section *mean;
    double minus, plus;
};

// Sum over the ellipse of how much the cells are like what is sought, mm².
static double worth(const void *context, const struct kf_spine_ellipse *e)
{
    const struct sought *s = context;
    double sum = 0;
    for (int cell = 0; cell < CELLS; cell++) {
        double u, v;
        cell_at(cell, &u, &v);
        if (fabs(u - e->of[0]) > e->of[2] || fabs(v - e->of[1]) > e->of[3] || kf_spine_ellipse_at(e, u, v) > 1)
            continue;
        double like =
            s->mean->weight[cell] > 0 ? 2 * (s->mean->value[cell] - s->minus) / (s->plus - s->minus) - 1 : UNSEEN;
        sum += like > 1 ? 1 : like < -1 ? -1 : like;
    }
    return sum * CELL_MM * CELL_MM;
}

static double fit(const struct section *mean, double minus, double plus, const double most[4],
                  struct kf_spine_ellipse *e)
{
    const struct sought sought = {mean, minus, plus};
    const struct kf_spine_ellipse_range range = {.least = {-most[0], -most[1], LEAST_MM, LEAST_MM},
                                                 .most = {most[0], most[1], most[2], most[3]},
                                                 .oblate = OBLATE,
                                                 .first_mm = 1.2,
                                                 .halvings = STEPS};
    return kf_spine_ellipse_fit(worth, &sought, &range, e);
}

// Of one station.
struct values {
    float fluid, cord;
};

// The cord is where both values are what they are where they differ most: below its end the sac holds fluid and strands
// only, whose mean lies between them.
static int learn_values(const struct section *mean, int count, const struct kf_spine_look *look, float *scratch,
                        struct values *values)
{
    float apart[KF_SPINE_STATIONS], cord[KF_SPINE_STATIONS], sign = (float)look->fluid_to_cord;
    int64_t known = 0;
    for (int n = 0; n < count; n++) {
        double low, high, tenth;
        values[n] = (struct values){0, 0};
        if (!two_values(mean, count, n, scratch, &low, &high, &tenth))
            continue;
        // Edges blur both classes towards each other. In a CT that hardly matters, and less than noise does.
        values[n] = sign > 0 ? (struct values){(float)low, (float)high}
                             : (struct values){(float)fmax(high, look->fluid), (float)tenth};
        if (sign * (values[n].cord - look->cord_least) >= 0) {
            apart[known] = (float)(high - low);
            cord[known++] = values[n].cord;
        }
    }
    if (known < SHORTEST)
        return 0;
    float usual_apart = kf_select_f32(apart, known, known / 2), usual_cord = kf_select_f32(cord, known, known / 2);
    int last = -1;
    for (int n = 0; n < count; n++)
        if (sign * (values[n].cord - values[n].fluid) > 0.85F * usual_apart &&
            sign * (values[n].cord - usual_cord) > -0.2F * usual_apart) {
            for (int m = last < 0 ? 0 : last + 1; m < n; m++) // what lies between takes the nearer end's
                values[m] = last < 0 || m - last > n - m ? values[n] : values[last];
            last = n;
        }
    for (int m = last + 1; m < count; m++)
        values[m] = values[last];
    return last >= 0;
}

// Triangle over the stations that have a cord.
static void smooth_tube(const struct kf_spine_ellipse *in, const float *weight, int count, struct kf_spine_ellipse *out)
{
    for (int n = 0; n < count; n++) {
        double sum[4] = {0}, total = 0;
        for (int m = n - SMOOTH; m <= n + SMOOTH; m++) {
            if (m < 0 || m >= count || weight[m] <= 0)
                continue;
            double w = 1 + SMOOTH - (m < n ? n - m : m - n);
            for (int c = 0; c < 4; c++)
                sum[c] += w * in[m].of[c];
            total += w;
        }
        out[n] = in[n];
        for (int c = 0; c < 4 && total > 0; c++)
            out[n].of[c] = sum[c] / total;
    }
}

// The longest stretch of stations with a cord whose gaps are at most RUN: [*from, *to].
static void longest_stretch(const float *weight, int count, int *from, int *to)
{
    int start = -1, last = -1;
    *from = 0, *to = -1;
    for (int n = 0; n <= count; n++) {
        int closed = start >= 0 && (n == count || n - last > RUN);
        if (closed && last - start > *to - *from)
            *from = start, *to = last;
        if (closed)
            start = -1;
        if (n == count || weight[n] <= 0)
            continue;
        start = start < 0 ? n : start;
        last = n;
    }
}

// Sac and cord by their ellipses; what lies outside of both stays canal. Unlabelled voxels (a ligament or a wall of
// disc by their values) join either.
static enum kf_kernel_status paint(const struct kf_work *work, const struct kf_grid *g, const struct kf_spine *spine,
                                   const struct kf_spine_ellipse *sac, const int sac_range[2],
                                   const struct kf_spine_ellipse *cord, const int range[2], uint8_t *labels)
{
    struct kf_loop loop = kf_loop_make(work, g->dim[2], 0, 0);
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t k = 0; k < g->dim[2]; k++)
        for (int64_t j = 0, stop = kf_loop_stop(&loop); j < g->dim[1] && !stop; j++)
            for (int64_t i = 0; i < g->dim[0]; i++) {
                int64_t at = (k * g->dim[1] + j) * g->dim[0] + i;
                double p[3], suv[3];
                if (labels[at] != KF_SPINE_SAC && labels[at] != KF_SPINE_CANAL && labels[at] != 0)
                    continue;
                kf_spine_point(g, i, j, k, p);
                if (!kf_spine_coordinates(spine, p, suv) || suv[0] < 0 || suv[0] >= spine->stations)
                    continue;
                int n = (int)suv[0];
                if (n >= range[0] && n <= range[1] && kf_spine_ellipse_at(&cord[n], suv[1], suv[2]) <= 1)
                    labels[at] = KF_SPINE_CORD;
                else if (n >= sac_range[0] && n <= sac_range[1] && kf_spine_ellipse_at(&sac[n], suv[1], suv[2]) <= 1)
                    labels[at] = KF_SPINE_SAC;
                else if (labels[at] == KF_SPINE_SAC)
                    labels[at] = KF_SPINE_CANAL;
            }
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

// The sac as a tube of ellipses around what is like its content, as far down as it fills at least a part of the canal.
static void trace_sac(const struct kf_work *work, const struct section *mean, struct kf_spine_ellipse *raw,
                      float *weight, int count, struct kf_spine_ellipse *tube, int range[2])
{
    static const double most[4] = {4, 5, 13, 10};
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int n = 0; n < count; n++) {
        raw[n] = (struct kf_spine_ellipse){{0, 0, 6, 5}};
        weight[n] = (float)fit(&mean[n], -1, 1, most, &raw[n]);
        weight[n] = weight[n] >= LEAST_SAC ? weight[n] : 0;
    }
    longest_stretch(weight, count, &range[0], &range[1]);
    smooth_tube(raw, weight, count, tube);
}

// The stretch of stations whose sections hold a cord, their ellipses, and how sure it is: the contrast between cord and
// fluid against what it is where both are seen well.
static void trace(const struct kf_work *work, const struct section *mean, const struct values *values,
                  const struct kf_spine_look *look, struct kf_spine_ellipse *raw, float *weight, struct kf_spine *spine,
                  struct kf_spine_ellipse *tube, int range[2])
{
    static const double most[4] = {7, 6, 8.5, 6.5};
    int count = spine->stations;
    float known[KF_SPINE_STATIONS];
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int n = 0; n < count; n++) {
        raw[n] = (struct kf_spine_ellipse){{0, 0, 4, 3.5}};
        weight[n] = (float)fit(&mean[n], values[n].fluid, values[n].cord, most, &raw[n]);
    }
    memcpy(known, weight, (size_t)count * sizeof *known);
    float usual = kf_select_f32(known, count, 9 * count / 10);
    for (int n = 0; n < count; n++)
        weight[n] = weight[n] >= LEAST_WORTH && weight[n] >= LEAST_SHARE * usual ? weight[n] : 0;
    longest_stretch(weight, count, &range[0], &range[1]);
    smooth_tube(raw, weight, count, tube);
    double apart = 0;
    for (int n = range[0]; n <= range[1]; n++)
        apart += look->fluid_to_cord * (values[n].cord - values[n].fluid) / (range[1] - range[0] + 1);
    spine->cord_sure = range[1] > range[0] ? fmin(1, fmax(0, apart / look->apart)) : 0;
}

// Where the way from station `back` to `from`, each moved by `moved`, meets the section of station `n`, mm from it.
static void lead(const struct kf_spine *spine, const struct kf_spine_ellipse *moved, int back, int from, int n,
                 double *u, double *v)
{
    double p[3], q[3], off[3];
    kf_spine_place(&spine->station[back], moved[back].of[0], moved[back].of[1], p);
    kf_spine_place(&spine->station[from], moved[from].of[0], moved[from].of[1], q);
    if (back == from)
        return;
    const struct kf_spine_station *t = &spine->station[n];
    for (int c = 0; c < 3; c++)
        off[c] = q[c] + (q[c] - p[c]) / abs(from - back) - t->p[c];
    *u = *v = 0;
    for (int c = 0; c < 3; c++)
        *u += off[c] * t->left[c], *v += off[c] * t->front[c];
    *u = fmin(FARTHEST, fmax(-FARTHEST, *u));
    *v = fmin(FARTHEST, fmax(-FARTHEST, *v));
}

// Bright fluid shows the sac where walls of bone, far from it at the ends, may not. Stations are moved to its middle,
// outwards from the column's middle, each sought where the sac before it leads.
static void centre_on_sac(const struct kf_volume *smooth, const struct kf_spine_look *look, struct section *section,
                          struct kf_spine_ellipse *move, struct kf_spine_ellipse *rough, float *weight,
                          struct kf_spine *spine)
{
    static const double most[4] = {2, 2, 13, 10}; // a station's step aside, and the half axes of a sac
    int count = spine->stations, middle = count / 2;
    for (int m = 1; m <= count; m++) {
        int n = m <= middle + 1 ? middle + 1 - m : m - 1, from = n < middle ? n + 1 : n - 1;
        const struct kf_spine_station *t = &spine->station[n];
        struct kf_spine_station there = *t;
        double u = n == middle ? 0 : rough[from].of[0], v = n == middle ? 0 : rough[from].of[1];
        if (m > 1) { // the way of the last LEAD stations goes on
            int back = n < middle ? (n + LEAD < middle ? n + LEAD : middle) : n - LEAD > middle ? n - LEAD : middle;
            lead(spine, rough, back, from, n, &u, &v);
        }
        kf_spine_place(t, u, v, there.p);
        struct kf_spine_ellipse here = {{0, 0, 6, 5}};
        sample_fluid(smooth, look, &there, section);
        weight[n] = (float)fit(section, -1, 1, most, &here) >= LEAST_SAC;
        rough[n] = (struct kf_spine_ellipse){{u + here.of[0], v + here.of[1], 1, 1}};
        if (weight[n] <= 0)
            rough[n] = n == middle ? (struct kf_spine_ellipse){{0, 0, 1, 1}} : rough[from];
    }
    smooth_tube(rough, weight, count, move);
    for (int n = 0; n < count; n++)
        kf_spine_place(&spine->station[n], move[n].of[0], move[n].of[1], spine->station[n].p);
}

enum kf_kernel_status kf_spine_find_cord(const struct kf_work *work, const struct kf_volume *smooth,
                                         const struct kf_spine_look *look, struct kf_spine *spine, uint8_t *labels)
{
    int count = spine->stations, sac_range[2], range[2] = {0, -1};
    struct section *raw = kf_work_take(work, count * (int64_t)sizeof *raw),
                   *mean = kf_work_take(work, count * (int64_t)sizeof *raw);
    float *scratch = kf_work_take(work, (int64_t)(2 * WINDOW / 3 + 2) * CELLS * 4),
          *weight = kf_work_take(work, count * (int64_t)sizeof *weight);
    struct values *values = kf_work_take(work, count * (int64_t)sizeof *values);
    struct kf_spine_ellipse *tube = kf_work_take(work, 3 * count * (int64_t)sizeof *tube), *sac = tube,
                            *cord = tube + count, *rough = cord + count;
    int ok = raw && mean && scratch && weight && values && tube;
    enum kf_kernel_status status = ok ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    spine->cord_sure = 0;
    if (!status) {
        if (look->fluid_to_cord < 0)
            centre_on_sac(smooth, look, raw, cord, rough, weight, spine);
#pragma omp parallel for schedule(static) num_threads(work->threads)
        for (int n = 0; n < count; n++)
            sample_sac(smooth, look, labels, &spine->station[n], &raw[n]);
#pragma omp parallel for schedule(static) num_threads(work->threads)
        for (int n = 0; n < count; n++)
            average(raw, count, n, ALONG_SAC, &mean[n]);
        trace_sac(work, mean, rough, weight, count, sac, sac_range);
#pragma omp parallel for schedule(static) num_threads(work->threads)
        for (int n = 0; n < count; n++)
            sample_content(smooth, &spine->station[n], &sac[n], look->rim_mm, &raw[n]);
#pragma omp parallel for schedule(static) num_threads(work->threads)
        for (int n = 0; n < count; n++) {
            average(raw, count, n, ALONG, &mean[n]);
            soften(&mean[n]);
        }
        if (learn_values(mean, count, look, scratch, values)) {
            trace(work, mean, values, look, rough, weight, spine, cord, range);
        }
        status = paint(work, &smooth->grid, spine, sac, sac_range, cord, range, labels);
    }
    kf_work_give(work, tube);
    kf_work_give(work, values);
    kf_work_give(work, weight);
    kf_work_give(work, scratch);
    kf_work_give(work, mean);
    kf_work_give(work, raw);
    return status;
}
