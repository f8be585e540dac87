// The ligamentum flavum: on rays from the canal's middle backwards, the first band of ligament behind the sac, between
// discs' levels, with its inner and outer surface where the value is half way. See spine_neural.h.
#include "workers/jobs/segment/spine_neural.h"
#include "workers/kernels/kdtree.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <stddef.h>

#define RAYS       33   // from straight back to both sides
#define STEP_DEG   4.75 // so that the last are at 76°
#define STEP_MM    0.25
#define FILM_MM    3.5 // of fat between sac and ligament, at most
#define THICK_MM   3.6 // at most: what is as dense behind it is muscle
#define THIN_MM    0.5 // at least
#define LEAST_PEAK 0.72
#define IN_SAC     7 // steps before the sac's edge, which may have taken the film in
#define TO_BONE    3
#define SWING      0.25
#define BONE       1.45 // like ligament
#define REACH      0.42 // of the distance between discs, above and below each
#define NEAR_ALONG 2    // medians over 5 stations × 3 rays
#define NEAR_RAYS  1

struct band {
    float from, to; // mm from the canal's middle; from > to: none
};

// 0 as fat, 1 as ligament.
static double like(const struct kf_spine_look *look, double value)
{
    return (value - look->fat) / (look->flavum - look->fat);
}

static struct band band_of(const struct kf_volume *smooth, const uint8_t *labels, const struct kf_spine_look *look,
                           const struct kf_spine_station *t, double sine, double cosine)
{
    enum { MOST = 96 };
    double value[MOST];
    int count = 0, sac = -1, least = 0, peak = 0, bone = 0;
    for (; count < MOST; count++) {
        double p[3], r = count * STEP_MM;
        for (int c = 0; c < 3; c++)
            p[c] = t->p[c] + r * (sine * t->left[c] - cosine * t->front[c]);
        int64_t at = kf_spine_voxel(&smooth->grid, p);
        if (at < 0)
            break;
        int label = labels[at];
        if (label == KF_SPINE_SAC || label == KF_SPINE_CORD)
            sac = count;
        else if (label != 0 && label != KF_SPINE_CANAL && count - sac > 1)
            bone = 1;
        value[count] = like(look, kf_spine_value(smooth, p, look->fat));
        bone |= sac >= 0 && count > sac && value[count] > BONE;
        if (bone)
            break;
        if (sac >= 0 && count > sac + (FILM_MM + THICK_MM) / STEP_MM)
            break;
    }
    struct band none = {1, 0};
    if (sac < 0 || count <= sac + 2)
        return none;
    least = sac > IN_SAC ? sac - IN_SAC : 0; // the film of fat, as far as the value has not risen again
    for (int n = least; n < count && n <= sac + FILM_MM / STEP_MM && value[n] < value[least] + SWING; n++)
        least = value[n] < value[least] ? n : least;
    peak = least;
    for (int n = least; n < count && n <= least + THICK_MM / STEP_MM && value[n] > value[peak] - SWING; n++)
        peak = value[n] > value[peak] ? n : peak;
    if (value[peak] < LEAST_PEAK)
        return none;
    double top = fmin(value[peak], 1), half = 0.5 * (top + fmin(value[least], top));
    int from = peak, to = peak;
    while (from > least && value[from - 1] >= half)
        from--;
    while (to + 1 < count && value[to + 1] >= 0.5 * top && (to + 1 - from) * STEP_MM <= THICK_MM)
        to++;
    if (bone && to + 1 == count) // it ends where bone does, which no band takes
        to += TO_BONE;
    if ((to - from) * STEP_MM < THIN_MM)
        return none;
    return (struct band){(float)((from - 0.5) * STEP_MM), (float)((to + 0.5) * STEP_MM)};
}

static float median(float *values, int count)
{
    return kf_select_f32(values, count, count / 2);
}

// The median of the bands near one, none where most are none.
static struct band usual(const struct band *band, int stations, int at, int ray)
{
    float from[(2 * NEAR_ALONG + 1) * (2 * NEAR_RAYS + 1)], to[(2 * NEAR_ALONG + 1) * (2 * NEAR_RAYS + 1)];
    int count = 0, seen = 0;
    for (int n = at - NEAR_ALONG; n <= at + NEAR_ALONG; n++)
        for (int r = ray - NEAR_RAYS; r <= ray + NEAR_RAYS; r++) {
            if (n < 0 || n >= stations || r < 0 || r >= RAYS)
                continue;
            const struct band *b = &band[n * RAYS + r];
            seen++;
            if (b->from > b->to)
                continue;
            from[count] = b->from;
            to[count++] = b->to;
        }
    return 2 * count > seen ? (struct band){median(from, count), median(to, count)} : (struct band){1, 0};
}

// Whether a point lies at the height of a ligament: near a disc, against the distance between discs.
static int between_laminae(const struct kf_spine *spine, const double p[3])
{
    for (int d = 0; d < spine->discs; d++)
        if (fabs(kf_spine_below(&spine->disc[d], p)) < REACH * kf_spine_segment_mm(spine, d))
            return 1;
    return 0;
}

static enum kf_kernel_status paint(const struct kf_work *work, const struct kf_grid *g, const struct kf_spine *spine,
                                   const struct band *band, uint8_t *labels)
{
    struct kf_loop loop = kf_loop_make(work, g->dim[2], 0, 0);
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t k = 0; k < g->dim[2]; k++)
        for (int64_t j = 0, stop = kf_loop_stop(&loop); j < g->dim[1] && !stop; j++)
            for (int64_t i = 0; i < g->dim[0]; i++) {
                int64_t at = (k * g->dim[1] + j) * g->dim[0] + i;
                double p[3], suv[3];
                if (labels[at] != 0 && labels[at] != KF_SPINE_CANAL && labels[at] != KF_SPINE_SAC)
                    continue;
                kf_spine_point(g, i, j, k, p);
                if (!kf_spine_coordinates(spine, p, suv) || suv[0] < 0 || suv[0] >= spine->stations || suv[2] > 4)
                    continue;
                double r = sqrt(suv[1] * suv[1] + suv[2] * suv[2]);
                if (r < 2 || r > 24)
                    continue;
                double degrees = kf_atan2(suv[1], -suv[2]) * 180 / KF_PI;
                int ray = (int)floor(degrees / STEP_DEG + RAYS / 2 + 0.5);
                if (ray < 0 || ray >= RAYS)
                    continue;
                const struct band *b = &band[(int)suv[0] * RAYS + ray];
                if (r >= b->from && r <= b->to && between_laminae(spine, p))
                    labels[at] = KF_SPINE_FLAVUM;
            }
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

enum kf_kernel_status kf_spine_find_flavum(const struct kf_work *work, const struct kf_volume *smooth,
                                           const struct kf_spine_look *look, struct kf_spine *spine, uint8_t *labels)
{
    int count = spine->stations;
    int64_t all = (int64_t)count * RAYS;
    struct band *raw = kf_work_take(work, 2 * all * (int64_t)sizeof *raw), *band = raw ? raw + all : NULL;
    if (!raw)
        return KF_KERNEL_NOMEM;
    double sine[RAYS], cosine[RAYS];
    for (int r = 0; r < RAYS; r++) {
        sine[r] = kf_sin((r - RAYS / 2) * STEP_DEG * KF_PI / 180);
        cosine[r] = kf_cos((r - RAYS / 2) * STEP_DEG * KF_PI / 180);
    }
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int n = 0; n < count; n++)
        for (int r = 0; r < RAYS; r++)
            raw[n * RAYS + r] = band_of(smooth, labels, look, &spine->station[n], sine[r], cosine[r]);
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int n = 0; n < count; n++)
        for (int r = 0; r < RAYS; r++)
            band[n * RAYS + r] = usual(raw, count, n, r);
    enum kf_kernel_status status = paint(work, &smooth->grid, spine, band, labels);
    int64_t met = 0, sought = 0;
    for (int n = 0; n < count; n++)
        if (between_laminae(spine, spine->station[n].p))
            for (int r = RAYS / 4; r <= RAYS - 1 - RAYS / 4; r++, sought++)
                met += band[n * RAYS + r].from <= band[n * RAYS + r].to;
    spine->flavum_sure = sought ? (double)met / (double)sought : 0;
    kf_work_give(work, raw);
    return status;
}
