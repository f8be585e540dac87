// Nerve roots from the sac through the foramina: per disc and side the best path outwards near where anatomy has it,
// then what is like a root around it. See spine_neural.h.
#include "workers/jobs/segment/spine_neural.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define OUTWARDS         48 // steps of 1 mm to the side, at most
#define SPAN_V           6  // mm from the expected place
#define SPAN_S           8
#define ACROSS           (2 * SPAN_V + 1)
#define ALONG            (2 * SPAN_S + 1)
#define PLACES           (ACROSS * ALONG)
#define RING_MM          4.5
#define BEND             0.12  // price of a millimetre by which a step leaves the expected direction
#define PULL             0.010 // price of a square millimetre away from the expected place
#define LEAST            0.15  // mean evidence below which there is no root to be seen
#define BODY             0.76  // of the distance between discs is a body's height
#define NODES            6
#define GROWN            1.25 // radius
#define SPARE_MM         0.3
#define USUAL_EVIDENCE   0.7
#define USUAL_SEGMENT_MM 34.0

// The way of a root as anatomy has it: down and forwards below the pedicle, thickest at its ganglion in the foramen.
struct way {
    double u[NODES], v[NODES], s[NODES], radius[NODES];
};

struct pedicle {
    double at;    // its middle, mm from the midline
    double canal; // the canal's half width beside it
};

struct root {
    int steps;
    double u0, side;
    double v[OUTWARDS], s[OUTWARDS], radius[OUTWARDS], evidence[OUTWARDS];
};

double kf_spine_segment_mm(const struct kf_spine *spine, int d)
{
    double above = d > 0 ? spine->disc[d].s - spine->disc[d - 1].s : 0,
           below = d + 1 < spine->discs ? spine->disc[d + 1].s - spine->disc[d].s : 0;
    return above > 0 ? above : below > 0 ? below : USUAL_SEGMENT_MM;
}

static void point_at(const struct kf_spine *spine, double s, double u, double v, double p[3])
{
    int n = (int)floor(s + 0.5);
    n = n < 0 ? 0 : n >= spine->stations ? spine->stations - 1 : n;
    const struct kf_spine_station *t = &spine->station[n];
    for (int c = 0; c < 3; c++)
        p[c] = t->p[c] + (s - n) * t->down[c] + u * t->left[c] + v * t->front[c];
}

static int label_at(const struct kf_grid *g, const uint8_t *labels, const double p[3])
{
    int64_t at = kf_spine_voxel(g, p);
    return at < 0 ? -1 : labels[at];
}

// The pedicle above the foramen of a disc; 0 when none is met.
static int find_pedicle(const struct kf_grid *g, const struct kf_spine *spine, const uint8_t *labels, int d, int side,
                        struct pedicle *out)
{
    double segment = kf_spine_segment_mm(spine, d), s = spine->disc[d].s - (0.5 + 0.2 * BODY) * segment;
    double sum = 0, inner = 0;
    int found = 0;
    for (int n = 0; n < 9; n++) {
        int first = 0, last = 0;
        for (int u = 5; u < 36; u++) {
            double p[3];
            point_at(spine, s + 2 * (n / 3 - 1), side * u, 2 * (n % 3), p);
            int bone = label_at(g, labels, p) == 1 + d;
            if (bone && !first)
                first = u;
            else if (!bone && first) {
                last = u;
                break;
            }
        }
        if (first && last > first + 2) {
            sum += 0.5 * (first + last - 1);
            inner += first - 0.5;
            found++;
        }
    }
    *out = (struct pedicle){.at = sum / fmax(1, found), .canal = inner / fmax(1, found)};
    return found > 0;
}

// Of those met, the pedicle that is most like number n: itself, its fellow, the nearest; -1 without any.
static int most_like(const int *met, int count, int n)
{
    int best = met[n] ? n : -1;
    for (int m = 0; m < count && !met[n]; m++)
        if (met[m] && (best < 0 || abs(m / 2 - n / 2) < abs(best / 2 - n / 2)))
            best = m;
    return best;
}

// The pedicles of each disc's vertebra, right and left; one not met lies as the one most like it. 0 when none is met.
static int find_pedicles(const struct kf_grid *g, const struct kf_spine *spine, const uint8_t *labels,
                         struct pedicle *pedicle)
{
    struct pedicle found[2 * KF_SPINE_MOST];
    int met[2 * KF_SPINE_MOST], count = 2 * spine->discs, any = 0;
    for (int n = 0; n < count; n++) {
        met[n] = find_pedicle(g, spine, labels, n / 2, n % 2 ? 1 : -1, &found[n]);
        any |= met[n];
    }
    for (int n = 0; n < count && any; n++)
        pedicle[n] = found[most_like(met, count, n)];
    return any;
}

static void lay_way(const struct kf_spine *spine, const struct pedicle *pedicle, int d, struct way *way)
{
    double segment = kf_spine_segment_mm(spine, d), h = BODY * segment, middle = spine->disc[d].s - 0.5 * segment,
           canal = pedicle->canal, at = pedicle->at;
    const struct way usual = {{0.45 * canal, 0.8 * canal, fmax(at - 3, 0.9 * canal), at + 2, at + 9, at + 20},
                              {0.5, 1.5, 3.5, 5.5, 8.5, 12.5},
                              {middle - 0.42 * h, middle - 0.12 * h, middle + 0.07 * h + 3.4, middle + 0.07 * h + 5,
                               middle + 0.07 * h + 8, middle + 0.07 * h + 18},
                              {0.9, 1.2, 1.7, 2.7, 1.9, 1.7}};
    *way = usual;
}

static double on_way(const double u[NODES], const double value[NODES], double at)
{
    int n = 0;
    while (n + 2 < NODES && at > u[n + 1])
        n++;
    double share = (at - u[n]) / (u[n + 1] - u[n]);
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    return value[n] + share * (value[n + 1] - value[n]);
}

// 0 as fat, 1 as a root.
static double on_scale(const struct kf_spine_look *look, double value)
{
    return (value - look->fat) / (look->root - look->fat);
}

// The same, less again towards what is no root.
static double like(const struct kf_spine_look *look, double value)
{
    double x = on_scale(look, value);
    if (x > 1)
        return x > on_scale(look, look->not_root) ? -1 : 1 - 0.5 * (x - 1);
    return x < 0 ? 0 : x;
}

// How much a place looks like a strand that runs outwards: like a root there, like fat around.
static double evidence(const struct kf_volume *smooth, const struct kf_spine_look *look, const struct kf_spine *spine,
                       double s, double u, double v)
{
    static const double ring[8][2] = {{1, 0},  {0.7071, 0.7071},   {0, 1},  {-0.7071, 0.7071},
                                      {-1, 0}, {-0.7071, -0.7071}, {0, -1}, {0.7071, -0.7071}};
    double p[3], core = 0, around = 0;
    for (int n = 0; n < 5; n++) {
        point_at(spine, s + (n == 1) - (n == 2), u, v + (n == 3) - (n == 4), p);
        core += like(look, kf_spine_value(smooth, p, look->fat)) / 5;
    }
    for (int n = 0; n < 8; n++) {
        point_at(spine, s + RING_MM * ring[n][0], u, v + RING_MM * ring[n][1], p);
        around += fabs(like(look, kf_spine_value(smooth, p, look->fat))) / 8;
    }
    return core - 0.5 * around;
}

// Viterbi outwards: best total of evidence, less what the path leaves the expected way by.
static void follow(const struct kf_volume *smooth, const struct kf_spine_look *look, const struct kf_spine *spine,
                   const struct way *way, struct root *root)
{
    float gain[OUTWARDS][PLACES], best[PLACES], before[PLACES];
    uint8_t from[OUTWARDS][PLACES];
    for (int n = 0; n < root->steps; n++) {
        double u = root->u0 + n, v = on_way(way->u, way->v, u), s = on_way(way->u, way->s, u);
        for (int place = 0; place < PLACES; place++) {
            int dv = place % ACROSS - SPAN_V, ds = place / ACROSS - SPAN_S;
            gain[n][place] =
                (float)(evidence(smooth, look, spine, s + ds, root->side * u, v + dv) - PULL * (dv * dv + ds * ds));
        }
    }
    memcpy(best, gain[0], sizeof best);
    for (int n = 1; n < root->steps; n++) {
        memcpy(before, best, sizeof before);
        for (int place = 0; place < PLACES; place++) {
            int dv = place % ACROSS, ds = place / ACROSS;
            float most = -1e30F;
            for (int turn = 0; turn < 9; turn++) {
                int x = dv + turn % 3 - 1, y = ds + turn / 3 - 1;
                if (x < 0 || y < 0 || x >= ACROSS || y >= ALONG)
                    continue;
                float value = before[y * ACROSS + x] - (float)(BEND * ((turn % 3 != 1) + (turn / 3 != 1)));
                if (value > most)
                    most = value, from[n][place] = (uint8_t)(y * ACROSS + x);
            }
            best[place] = most + gain[n][place];
        }
    }
    int at = 0;
    for (int place = 1; place < PLACES; place++)
        at = best[place] > best[at] ? place : at;
    for (int n = root->steps - 1; n >= 0; n--) {
        double u = root->u0 + n;
        int dv = at % ACROSS - SPAN_V, ds = at / ACROSS - SPAN_S;
        root->v[n] = on_way(way->u, way->v, u) + dv;
        root->s[n] = on_way(way->u, way->s, u) + ds;
        root->radius[n] = on_way(way->u, way->radius, u);
        root->evidence[n] = gain[n][at] + PULL * (dv * dv + ds * ds);
        at = n > 0 ? from[n][at] : 0;
    }
}

static int may_be_root(const struct kf_spine_look *look, int label)
{
    return label == 0 || label == KF_SPINE_CANAL || (look->like_marrow && label < KF_SPINE_SACRUM);
}

// What is like a root within `reach` of a place.
static void paint_around(const struct kf_volume *smooth, const struct kf_spine_look *look, const double p[3],
                         double reach, uint8_t *labels)
{
    const struct kf_grid *g = &smooth->grid;
    const int16_t *value = smooth->data;
    double ijk[3], most = on_scale(look, look->not_root);
    int64_t low[3], high[3];
    kf_grid_to_ijk(g, p, ijk);
    for (int a = 0; a < 3; a++) {
        low[a] = (int64_t)fmax(0, ceil(ijk[a] - reach / g->spacing_mm[a]));
        high[a] = (int64_t)fmin((double)(g->dim[a] - 1), floor(ijk[a] + reach / g->spacing_mm[a]));
    }
    for (int64_t k = low[2]; k <= high[2]; k++)
        for (int64_t j = low[1]; j <= high[1]; j++)
            for (int64_t i = low[0]; i <= high[0]; i++) {
                int64_t at = (k * g->dim[1] + j) * g->dim[0] + i;
                double q[3], square = 0, x = on_scale(look, value[at]);
                if (!may_be_root(look, labels[at]))
                    continue;
                kf_spine_point(g, i, j, k, q);
                for (int c = 0; c < 3; c++)
                    square += (q[c] - p[c]) * (q[c] - p[c]);
                if (square <= reach * reach && x >= 0.5 && x < most)
                    labels[at] = KF_SPINE_ROOTS;
            }
}

// Its radius, a little more where the image says so.
static void paint(const struct kf_volume *smooth, const struct kf_spine_look *look, const struct kf_spine *spine,
                  const struct root *root, uint8_t *labels)
{
    for (int n = 0; n + 1 < root->steps; n++)
        for (int part = 0; part < 4; part++) {
            double share = part / 4.0, p[3];
            point_at(spine, root->s[n] + share * (root->s[n + 1] - root->s[n]), root->side * (root->u0 + n + share),
                     root->v[n] + share * (root->v[n + 1] - root->v[n]), p);
            paint_around(smooth, look, p, GROWN * root->radius[n] + SPARE_MM, labels);
        }
}

// How far outwards the image shows it: to where the evidence of the next five millimetres ends. *sure: its mean.
static int seen(const struct root *root, double *sure)
{
    double sum = 0;
    int end = 0;
    for (int n = 0; n < root->steps; n++) {
        double ahead = 0;
        for (int m = n; m < n + 5; m++)
            ahead += root->evidence[m < root->steps ? m : root->steps - 1] / 5;
        if (ahead < LEAST && n > 6)
            break;
        sum += root->evidence[n];
        end = n + 1;
    }
    *sure = end ? sum / end : 0;
    return end;
}

enum kf_kernel_status kf_spine_find_roots(const struct kf_work *work, const struct kf_volume *smooth,
                                          const struct kf_spine_look *look, struct kf_spine *spine, uint8_t *labels)
{
    int count = 2 * spine->discs;
    struct root *roots = kf_work_take(work, count * (int64_t)sizeof *roots);
    if (!roots)
        return KF_KERNEL_NOMEM;
    struct pedicle pedicle[2 * KF_SPINE_MOST];
    if (!find_pedicles(&smooth->grid, spine, labels, pedicle))
        count = 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(work->threads)
    for (int n = 0; n < count; n++) {
        struct way way;
        lay_way(spine, &pedicle[n], n / 2, &way);
        roots[n].side = n % 2 ? 1 : -1;
        roots[n].u0 = way.u[1];
        roots[n].steps = (int)fmin(OUTWARDS, way.u[NODES - 1] - way.u[1]);
        follow(smooth, look, spine, &way, &roots[n]);
    }
    double sum = 0;
    for (int n = 0; n < count; n++) {
        double sure = 0;
        roots[n].steps = roots[n].steps ? seen(&roots[n], &sure) : 0;
        if (sure < LEAST)
            continue;
        paint(smooth, look, spine, &roots[n], labels);
        sum += fmin(1, sure / USUAL_EVIDENCE);
    }
    spine->roots_sure = count ? sum / count : 0;
    kf_work_give(work, roots);
    return KF_KERNEL_OK;
}
