// Arches by place and value. See spine_mr_arch.h.
//
// Where bone is likely is the share of it in an atlas of other backs, moved, stretched and laid along the canal so that
// it explains this one best. What values bone and its surroundings have is learned from this image, by expectation and
// maximisation with the atlas as the prior (Van Leemput, Maes, Vandermeulen, Suetens, "Automated model-based tissue
// classification of MR images of the brain", IEEE TMI 18(10), 1999), as two histograms, since neither is one tissue.
// Then each voxel's odds are evened with its neighbours' by mean field (the Potts model of Zhang, "The mean field
// theory in EM procedures for Markov random fields", IEEE TSP 40(10), 1992).
#include "workers/jobs/segment/spine_mr_arch.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <string.h>

#define FRONT_MM    9.0  // before the canal's middle: the backs of bodies
#define SIDE_MM     44.0 // no process reaches farther
#define BACK_MM     64.0
#define CANAL_WIDE  10.0 // half axes of what is canal for sure, where no values of bone or muscle are learned
#define CANAL_DEEP  9.0
#define GRID_MM     3 // between samples
#define BINS        48
#define TOP         2.4   // bodies' values up to the last bin
#define LEAST_SHARE 0.02  // of bone in the atlas: below it a sample is too far from bone to say what surrounds it
#define PRIOR_BIN   0.002 // of all samples, that each bin has unseen
#define MOST_ODDS   3.0   // that a value can speak for bone or against it, as logarithm: a histogram of few is no proof
#define SPARE_SHARE 0.005 // of bone where the atlas has none, and of none where it has nothing else
#define LEAST_FAT   1.42  // of the bodies' value: no fat was looked for below that
#define ROUNDS      3
#define SHIFTS      2   // steps forwards and along to each side
#define EVEN        0.5 // what a neighbour's odds weigh
#define EVENINGS    12
#define SURE_MARROW 0.3 // logarithm of the odds that a value speaks for bone

// What the histograms of bone and of its surroundings may have in common: it is 0.3 to 0.4 in phantoms, 0.6 in the one
// real image, and 1 where there is no bone.
#define MOST_COMMON 0.8

// How the atlas lies: mm forwards, share of the way between discs, stretch.
struct fit {
    double front, along, size;
};

// A place of the column and its value.
struct sample {
    float u, v, share, scale;
    int bin;
};

struct arches {
    const struct kf_volume *blurred;
    const struct kf_spine *spine;
    int to;
    double body, fat; // fat: of the bodies' value
    const uint8_t *not_bone;
    uint8_t *arch;
    struct fit fit;
    float odds[BINS];     // logarithm of how much likelier bone has such a value
    float *bone, *before; // of each voxel: probability; before: as the sweep found it
    float *own;           // logarithm of its own odds
};

// Place in the period of the discs and stretch of it. 0: farther than a period from the outermost disc.
static int period_of(const struct kf_spine *spine, double s, double *share, double *scale)
{
    int d = 0;
    while (d < spine->discs && spine->disc[d].s < s)
        d++;
    int above = d == 0 ? 0 : d == spine->discs ? d - 2 : d - 1;
    double pitch = spine->disc[above + 1].s - spine->disc[above].s;
    if (pitch < KF_SPINE_NEAREST_MM / 2)
        return 0;
    *share = (s - spine->disc[above].s) / pitch;
    *scale = pitch / KF_ARCH_PITCH_MM;
    return *share > -1 && *share < 2;
}

// Share of bone in the atlas, trilinear.
static double bone_share(double u, double v, double share)
{
    double at[3] = {fmax(0, fabs(u) / KF_ARCH_CELL_MM - 0.5), (v - KF_ARCH_BACK_MM) / KF_ARCH_CELL_MM - 0.5,
                    KF_ARCH_TALL * (share - floor(share)) - 0.5},
           sum = 0;
    at[1] = fmin(at[1], KF_ARCH_DEEP - 1);
    if (at[0] >= KF_ARCH_WIDE - 1 || at[1] < 0)
        return 0;
    int low[3];
    for (int a = 0; a < 3; a++) {
        low[a] = (int)floor(at[a]);
        at[a] -= low[a];
    }
    for (int n = 0; n < 8; n++) {
        int i = low[0] + (n & 1), j = low[1] + (n >> 1 & 1), k = (low[2] + (n >> 2) + KF_ARCH_TALL) % KF_ARCH_TALL;
        j = j < KF_ARCH_DEEP ? j : KF_ARCH_DEEP - 1;
        char letter = kf_spine_mr_atlas[k][KF_ARCH_DEEP - 1 - j][i];
        sum += (n & 1 ? at[0] : 1 - at[0]) * (n & 2 ? at[1] : 1 - at[1]) * (n & 4 ? at[2] : 1 - at[2]) *
               (letter == '.' ? 0 : (letter - 'a' + 1) / 26.0);
    }
    return sum;
}

static double prior(const struct fit *fit, double u, double v, double share, double scale)
{
    double size = fit->size * scale;
    return bone_share(u / size, (v - fit->front) / size, share + fit->along);
}

static int bin_of(double value, double body)
{
    return (int)fmin(BINS - 1, fmax(0, floor(value / body * (BINS / TOP))));
}

// What of the column's sections counts, every GRID_MM; `out` NULL: how many there are at most.
static int64_t sample_sections(const struct arches *all, struct sample *out)
{
    int64_t count = 0;
    for (int n = 0; n < all->to; n += GRID_MM) {
        double share, scale;
        if (!period_of(all->spine, n, &share, &scale))
            continue;
        for (double v = -BACK_MM; v < FRONT_MM; v += GRID_MM)
            for (double u = -SIDE_MM; u <= SIDE_MM; u += GRID_MM) {
                double p[3], value;
                if (u * u / (CANAL_WIDE * CANAL_WIDE) + v * v / (CANAL_DEEP * CANAL_DEEP) < 1)
                    continue;
                if (out) {
                    kf_spine_place(&all->spine->station[n], u, v, p);
                    if ((value = kf_spine_value(all->blurred, p, -1)) < 0)
                        continue;
                    out[count] =
                        (struct sample){(float)u, (float)v, (float)share, (float)scale, bin_of(value, all->body)};
                }
                count++;
            }
    }
    return count;
}

// Weights 1, 2, 1 twice, then shares of their sum.
static void smooth_histogram(double *of)
{
    double sum = 0;
    for (int turn = 0; turn < 2; turn++) {
        double last = of[0];
        for (int b = 0; b < BINS; b++) {
            double here = of[b], next = b + 1 < BINS ? of[b + 1] : of[b];
            of[b] = 0.25 * last + 0.5 * here + 0.25 * next;
            last = here;
        }
    }
    for (int b = 0; b < BINS; b++)
        sum += of[b];
    for (int b = 0; b < BINS; b++)
        of[b] = of[b] / fmax(1e-9, sum) + PRIOR_BIN;
}

// Marrow is never brighter than fat, whatever lies beside bone: half way to it a value says nothing for bone at best.
// Returns how much the two histograms have in common, 0 to 1.
static double learn_values(struct arches *all, const struct sample *samples, int64_t count, int turns)
{
    double common = 0;
    memset(all->odds, 0, sizeof all->odds);
    for (int turn = 0; turn < turns; turn++) {
        double bone[BINS] = {0}, soft[BINS] = {0}, ratio[BINS];
        for (int b = 0; b < BINS; b++)
            ratio[b] = kf_exp(all->odds[b]);
        for (int64_t n = 0; n < count; n++) {
            const struct sample *s = &samples[n];
            double share = prior(&all->fit, s->u, s->v, s->share, s->scale), r = share * ratio[s->bin];
            if (share < LEAST_SHARE)
                continue;
            r /= r + 1 - share;
            bone[s->bin] += r;
            soft[s->bin] += 1 - r;
        }
        smooth_histogram(bone);
        smooth_histogram(soft);
        common = 0;
        for (int b = 0; b < BINS; b++) {
            double most = MOST_ODDS * fmax(-1, fmin(1, 1 - 2 * ((b + 0.5) * TOP / BINS - 1) / (all->fat - 1)));
            all->odds[b] = (float)fmin(most, fmax(-MOST_ODDS, kf_ln(bone[b] / soft[b])));
            common += fmin(bone[b], soft[b]);
        }
    }
    return common / (1 + BINS * PRIOR_BIN);
}

// How well the atlas, laid so, explains the samples: logarithm of their likelihood against that of no bone at all.
static double explained(const struct fit *fit, const double ratio[BINS], const struct sample *samples, int64_t count)
{
    double sum = 0;
    for (int64_t n = 0; n < count; n++) {
        const struct sample *s = &samples[n];
        sum += kf_ln(1 + prior(fit, s->u, s->v, s->share, s->scale) * (ratio[s->bin] - 1));
    }
    return sum;
}

// The best of the fits around the present one.
static enum kf_kernel_status refine(const struct kf_work *work, struct arches *all, const struct fit *step,
                                    const struct sample *samples, int64_t count)
{
    enum { ROW = 2 * SHIFTS + 1, FITS = 3 * ROW * ROW };
    struct fit trial[FITS];
    double worth[FITS], ratio[BINS];
    struct kf_loop loop = kf_loop_make(work, FITS, 0, 0);
    for (int b = 0; b < BINS; b++)
        ratio[b] = kf_exp(all->odds[b]);
#pragma omp parallel for schedule(dynamic) num_threads(work->threads)
    for (int n = 0; n < FITS; n++) {
        trial[n] = (struct fit){all->fit.front + (n % ROW - SHIFTS) * step->front,
                                all->fit.along + (n / ROW % ROW - SHIFTS) * step->along,
                                all->fit.size + (n / (ROW * ROW) - 1) * step->size};
        worth[n] = kf_loop_stop(&loop) ? 0 : explained(&trial[n], ratio, samples, count);
    }
    int best = FITS / 2; // the present one
    for (int n = 0; n < FITS; n++)
        best = worth[n] > worth[best] ? n : best;
    all->fit = trial[best];
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

static enum kf_kernel_status learn(const struct kf_work *work, struct arches *all, int *found)
{
    static const struct fit step[ROUNDS] = {{2, 0.05, 0.08}, {1, 0.03, 0.05}, {0.7, 0.02, 0.03}};
    int64_t most = sample_sections(all, NULL);
    struct sample *samples = kf_work_take(work, most * (int64_t)sizeof *samples);
    if (!samples)
        return KF_KERNEL_NOMEM;
    int64_t count = sample_sections(all, samples);
    enum kf_kernel_status status = KF_KERNEL_OK;
    double common = learn_values(all, samples, count, 1);
    for (int n = 0; n < ROUNDS && !status; n++) {
        status = refine(work, all, &step[n], samples, count);
        common = learn_values(all, samples, count, n + 2);
    }
    *found = count > 0 && common < MOST_COMMON;
    kf_work_give(work, samples);
    return status;
}

// Each voxel's own odds; those that are not behind the bodies get none.
static void judge(void *context, int64_t i, int64_t j, int64_t k, int64_t at)
{
    const struct arches *all = context;
    double p[3], suv[3], share, scale;
    int value = ((const int16_t *)all->blurred->data)[at];
    all->bone[at] = 0;
    all->arch[at] = KF_ARCH_ELSEWHERE;
    if (value < 0 || !kf_spine_locate(all->spine, &all->blurred->grid, i, j, k, p, suv) || suv[2] >= FRONT_MM ||
        suv[0] >= all->to || !period_of(all->spine, suv[0], &share, &scale))
        return;
    double bone = prior(&all->fit, suv[1], suv[2], share, scale);
    all->arch[at] = KF_ARCH_SOFT;
    if (all->not_bone[at] || bone <= 0)
        return;
    double own = kf_ln((bone + SPARE_SHARE) / (1 - bone + SPARE_SHARE)) + all->odds[bin_of(value, all->body)];
    all->own[at] = (float)own;
    all->arch[at] = KF_ARCH_WALL;
    all->bone[at] = (float)(1 / (1 + kf_exp(-own)));
}

static void even_out(void *context, int64_t i, int64_t j, int64_t k, int64_t at)
{
    const struct arches *all = context;
    const int64_t *dim = all->blurred->grid.dim, step[3] = {1, dim[0], dim[0] * dim[1]};
    double sum = 0;
    (void)i, (void)j, (void)k;
    if (all->arch[at] != KF_ARCH_WALL)
        return;
    for (int a = 0; a < 3; a++)
        sum += 2 * (all->before[at - step[a]] + all->before[at + step[a]] - 1);
    all->bone[at] = (float)(1 / (1 + kf_exp(-all->own[at] - EVEN * sum)));
}

static void settle(void *context, int64_t i, int64_t j, int64_t k, int64_t at)
{
    const struct arches *all = context;
    (void)i, (void)j, (void)k;
    if (all->arch[at] != KF_ARCH_WALL)
        return;
    double speaks = all->odds[bin_of(((const int16_t *)all->blurred->data)[at], all->body)];
    all->arch[at] = all->bone[at] <= 0.5 ? KF_ARCH_SOFT : speaks > SURE_MARROW ? KF_ARCH_MARROW : KF_ARCH_WALL;
}

enum kf_kernel_status kf_spine_mr_arches(const struct kf_work *work, const struct kf_volume *blurred,
                                         const struct kf_spine *spine, const struct kf_spine_mr *mr, int to,
                                         const uint8_t *not_bone, uint8_t *arch)
{
    const struct kf_grid *g = &blurred->grid;
    int64_t voxels = kf_grid_voxels(g);
    int found = 0;
    struct arches all = {.blurred = blurred,
                         .spine = spine,
                         .to = to < spine->stations ? to : spine->stations,
                         .body = mr->body,
                         .fat = fmax(LEAST_FAT, mr->fat / mr->body),
                         .not_bone = not_bone,
                         .arch = arch,
                         .fit = {0, 0, 1}};
    enum kf_kernel_status status = KF_KERNEL_OK;
    memset(arch, KF_ARCH_ELSEWHERE, (size_t)voxels);
    if (spine->discs > 1)
        status = learn(work, &all, &found);
    if (status || !found)
        return status;
    all.bone = kf_work_take(work, 4 * voxels);
    all.before = kf_work_take(work, 4 * voxels);
    all.own = kf_work_take(work, 4 * voxels);
    status = all.bone && all.before && all.own ? kf_spine_each_voxel(work, g, 0, judge, &all) : KF_KERNEL_NOMEM;
    for (int n = 0; n < EVENINGS && !status; n++) {
        memcpy(all.before, all.bone, (size_t)voxels * 4);
        status = kf_spine_each_voxel(work, g, 1, even_out, &all);
    }
    if (!status)
        status = kf_spine_each_voxel(work, g, 0, settle, &all);
    kf_work_give(work, all.own);
    kf_work_give(work, all.before);
    kf_work_give(work, all.bone);
    return status;
}
