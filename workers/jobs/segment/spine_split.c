// Where the discs are. See spine.h.
#include "workers/jobs/segment/spine.h"
#include "workers/kernels/kdtree.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <string.h>

#define TILTS         13 // in the sagittal plane: −36° … 36°
#define NEAREST       KF_SPINE_NEAREST_MM
#define FARTHEST      48
#define SMALL_BODY_MM 17.0
#define LOCAL_MM      60
#define SPAN          (FARTHEST - NEAREST + 1)

// Mean of a plate of 24 × 18 mm, times size, across the bodies' axis, bright voxels cut off so that metal does not
// decide.
static double plate(const struct kf_volume *volume, const double middle[3], const double left[3], const double front[3],
                    double size, double *seen)
{
    double sum = 0;
    int count = 0, all = 0;
    for (int v = -9; v <= 9; v += 3)
        for (int u = -12; u <= 12; u += 4) {
            if (u * u / 180.0 + v * v / 100.0 > 1)
                continue;
            double p[3];
            for (int c = 0; c < 3; c++)
                p[c] = middle[c] + size * (u * left[c] + v * front[c]);
            double hu = kf_spine_value(volume, p, -2000);
            all++;
            if (hu < -1500)
                continue;
            sum += fmin(fmax(hu, -50), 500);
            count++;
        }
    *seen = (double)count / all;
    return count ? sum / count : 0;
}

static void tilted(const struct kf_spine_station *t, int tilt, double down[3], double front[3])
{
    double angle = (tilt - TILTS / 2) * 6 * KF_PI / 180, cosine = kf_cos(angle), sine = kf_sin(angle);
    for (int c = 0; c < 3; c++) {
        down[c] = cosine * t->down[c] + sine * t->front[c];
        front[c] = cosine * t->front[c] - sine * t->down[c];
    }
}

// By how much the plates up to `half` mm from the middle (value[8]) are darker than the brightest on either side
// between `from` and `to` mm.
static double darkness(const double value[17], int half, int from, int to)
{
    double above = -1000, below = -1000, dark = 0;
    for (int h = -half; h <= half; h++)
        dark += value[8 + h] / (2 * half + 1);
    for (int h = from; h <= to; h++) {
        above = fmax(above, value[8 - h]);
        below = fmax(below, value[8 + h]);
    }
    return fmin(above, below) - dark;
}

// Keeps in *best what is darker than the end plates near it, of a thick disc or one of 2 mm, in bodies whose axis is
// body_mm before the canal's middle.
static void seek_disc(const struct kf_volume *volume, const struct kf_spine_station *t, double body_mm, double size,
                      struct kf_spine_disc *best)
{
    double middle[3];
    for (int c = 0; c < 3; c++)
        middle[c] = t->p[c] + body_mm * t->front[c];
    for (int tilt = 0; tilt < TILTS; tilt++) {
        double down[3], front[3], at[3], value[17], seen = 1;
        tilted(t, tilt, down, front);
        for (int h = -8; h <= 8; h++) {
            double share;
            for (int c = 0; c < 3; c++)
                at[c] = middle[c] + h * down[c];
            value[h + 8] = plate(volume, at, t->left, front, size, &share);
            seen = fmin(seen, share);
        }
        if (seen < 0.6)
            continue;
        double contrast = fmax(darkness(value, 1, 3, 7), darkness(value, 0, 2, 4));
        if (contrast > best->contrast_hu) {
            best->contrast_hu = contrast;
            memcpy(best->normal, down, sizeof down);
            for (int c = 0; c < 3; c++) // of any plate the point on the same axis
                best->middle[c] = middle[c] + (KF_SPINE_BODY_MM - body_mm) * front[c];
        }
    }
}

// The best disc at a station, in a lumbar body or in a small one of the upper column.
static struct kf_spine_disc disc_at(const struct kf_volume *volume, const struct kf_spine *spine, int n)
{
    struct kf_spine_disc large = {.s = n, .contrast_hu = -1000}, small = large;
    seek_disc(volume, &spine->station[n], KF_SPINE_BODY_MM, 1, &large);
    seek_disc(volume, &spine->station[n], SMALL_BODY_MM, 0.6, &small);
    return small.contrast_hu > 60 && small.contrast_hu > 1.6 * large.contrast_hu ? small : large;
}

// The typical contrast near each station: the upper fifth of the peaks (greatest within 8 mm) no more than LOCAL_MM
// away, since thin discs of the upper column are much paler than lumbar ones; at least a third of the whole column's.
static void typical_contrast(const struct kf_spine_disc *all, int count, float *usual)
{
    float peak[KF_SPINE_STATIONS], near[KF_SPINE_STATIONS];
    int at[KF_SPINE_STATIONS], peaks = 0;
    for (int n = 0; n < count; n++) {
        int greatest = all[n].contrast_hu > 20;
        for (int m = n - 8; m <= n + 8; m++)
            greatest = greatest && (m < 0 || m >= count || all[m].contrast_hu <= all[n].contrast_hu);
        if (greatest)
            peak[peaks] = (float)all[n].contrast_hu, at[peaks++] = n;
    }
    memcpy(near, peak, (size_t)peaks * sizeof *peak);
    float whole = peaks ? kf_select_f32(near, peaks, 4 * peaks / 5) : 0;
    for (int n = 0; n < count; n++) {
        int found = 0;
        for (int i = 0; i < peaks; i++)
            if (at[i] >= n - LOCAL_MM && at[i] <= n + LOCAL_MM)
                near[found++] = peak[i];
        usual[n] = found ? kf_select_f32(near, found, 4 * found / 5) : whole;
        usual[n] = usual[n] < whole / 3 ? whole / 3 : usual[n];
        usual[n] = usual[n] < 60 ? 60 : usual[n];
    }
}

// A plate as dark as spongy bone between end plates is no disc: two fifths of the typical contrast are worth nothing.
static double worth(double contrast_hu, double typical)
{
    return fmin(contrast_hu / typical, 2) - 0.4;
}

// total[n][d]: the best chain whose last disc is at n and the one before d + NEAREST mm above (d = SPAN: it is the
// first).
static void chain(const struct kf_spine_disc *all, int count, int least_mm, double *total, int16_t *back,
                  struct kf_spine *spine)
{
    float usual[KF_SPINE_STATIONS];
    double best = 0;
    int at = -1, distance = SPAN;
    typical_contrast(all, count, usual);
    for (int n = 0; n < count; n++)
        for (int d = 0; d <= SPAN; d++) {
            double *here = &total[n * (SPAN + 1) + d], own = worth(all[n].contrast_hu, usual[n]);
            int before = n - d - NEAREST;
            *here = d == SPAN ? own : -1e9;
            back[n * (SPAN + 1) + d] = SPAN;
            if (d < SPAN && d + NEAREST >= least_mm && before >= 0)
                for (int e = 0; e <= SPAN; e++) {
                    double turn = e == SPAN ? 0 : kf_ln((double)(d + NEAREST) / (e + NEAREST));
                    double value = own + total[before * (SPAN + 1) + e] - 5 * turn * turn;
                    if (value > *here)
                        *here = value, back[n * (SPAN + 1) + d] = (int16_t)e;
                }
            if (*here > best)
                best = *here, at = n, distance = d;
        }
    int found[KF_SPINE_MOST];
    spine->discs = 0;
    while (at >= 0 && spine->discs < KF_SPINE_MOST - 1) {
        found[spine->discs++] = at;
        if (distance == SPAN)
            break;
        int next = back[at * (SPAN + 1) + distance];
        at -= distance + NEAREST;
        distance = next;
    }
    for (int i = 0; i < spine->discs; i++) {
        int n = found[spine->discs - 1 - i];
        spine->disc[i] = all[n];
        spine->disc[i].usual_hu = usual[n];
    }
}

enum kf_kernel_status kf_spine_find_discs(const struct kf_work *work, const struct kf_volume *volume,
                                          int least_mm, struct kf_spine *spine)
{
    int count = spine->stations;
    struct kf_spine_disc *all = kf_work_take(work, count * (int64_t)sizeof *all);
    double *total = kf_work_take(work, (int64_t)count * (SPAN + 1) * 8);
    int16_t *back = kf_work_take(work, (int64_t)count * (SPAN + 1) * 2);
    enum kf_kernel_status status = all && total && back ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        struct kf_loop loop = kf_loop_make(work, count, 0, 0);
#pragma omp parallel for schedule(dynamic, 8) num_threads(work->threads)
        for (int n = 0; n < count; n++)
            if (!kf_loop_stop(&loop))
                all[n] = disc_at(volume, spine, n);
        status = loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
    }
    if (!status)
        chain(all, count, least_mm, total, back, spine);
    kf_work_give(work, back);
    kf_work_give(work, total);
    kf_work_give(work, all);
    return status;
}
