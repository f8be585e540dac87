// The canal as a smooth tube of ellipses, the largest that its walls of bone and disc let through, and what lies in it.
// See spine.h.
#include "workers/jobs/segment/spine.h"
#include "workers/jobs/segment/spine_ellipse.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define DIRECTIONS       32
#define REACH_MM         17.0 // how far walls are looked for
#define WINDOW           12   // mm of the canal above and below that speak for a station's wall
#define SACRAL_MM        52.0 // of the canal below the last disc, at most
#define SAC_MARGIN_MM    12   // of fat below the sac
#define WALL_MM          0.35 // an inscribed ellipse touches only the innermost of a rough wall
#define STEPS            7    // of the fit: 1.6 mm … 0.025 mm
#define TURNS            3
#define SAC_HU           (-35) // half way between epidural fat and the sac
#define FLAVUM_HU        58    // half way between cord and ligament
#define SAC_SHARE        0.93  // of the canal's half axes
#define FAT_FROM         0.9   // of them: from here on it is fat or ligament
#define FAT_OR_FLAVUM_HU 20
#define INWARD_MM        0.5

struct walls {
    double *limit; // DIRECTIONS a station
    double cosine[DIRECTIONS], sine[DIRECTIONS];
};

// Distance from the canal's middle to bone or disc in each direction; REACH_MM + 1 where nothing is met (a foramen).
static void measure_walls(const struct kf_grid *g, const struct kf_spine_station *t, const uint8_t *labels,
                          const struct walls *walls, double wall[DIRECTIONS])
{
    for (int n = 0; n < DIRECTIONS; n++) {
        wall[n] = REACH_MM + 1;
        for (double r = 2.5; r <= REACH_MM; r += 0.25) {
            double p[3];
            for (int c = 0; c < 3; c++)
                p[c] = t->p[c] + r * (walls->cosine[n] * t->left[c] + walls->sine[n] * t->front[c]);
            int64_t at = kf_spine_voxel(g, p);
            if (at >= 0 && labels[at]) {
                wall[n] = r;
                break;
            }
        }
    }
}

// The typical wall near a station: nearer than 70 % of what was met; so a foramen is closed by the pedicles above and
// below it.
static double typical(const double *wall, int stations, int at, int n)
{
    float seen[2 * WINDOW + 1];
    int count = 0;
    for (int m = at - WINDOW; m <= at + WINDOW; m++)
        if (m >= 0 && m < stations && wall[m * DIRECTIONS + n] <= REACH_MM)
            seen[count++] = (float)wall[m * DIRECTIONS + n];
    for (int a = 1; a < count; a++) // insertion sort: few of them
        for (int b = a; b > 0 && seen[b] < seen[b - 1]; b--) {
            float keep = seen[b];
            seen[b] = seen[b - 1];
            seen[b - 1] = keep;
        }
    return count ? seen[3 * count / 10] : REACH_MM + 1;
}

// Of a station.
struct room {
    const struct walls *walls;
    const double *limit; // the wall in each direction
};

// How well an ellipse fills its walls, at best 0: what it lacks costs a little, up to 3 mm (corners and foramina are not
// filled); what it has too much costs four times.
static double fill(const void *context, const struct kf_spine_ellipse *e)
{
    const struct room *room = context;
    double sum = 0;
    for (int n = 0; n < DIRECTIONS; n++) {
        // |m + r·d| = 1 in the frame where the ellipse is the unit circle
        double dx = room->walls->cosine[n] / e->of[2], dy = room->walls->sine[n] / e->of[3], mx = -e->of[0] / e->of[2],
               my = -e->of[1] / e->of[3], a = dx * dx + dy * dy, b = dx * mx + dy * my, c = mx * mx + my * my - 1,
               root = b * b - a * c;
        double r = root > 0 ? (sqrt(root) - b) / a : 0, lack = room->limit[n] - r;
        sum += lack > 0 ? fmin(lack, 3) : -4 * lack;
    }
    return -sum;
}

static void fit(const struct walls *walls, const double *limit, struct kf_spine_ellipse *e)
{
    static const struct kf_spine_ellipse_range range = {
        .least = {-6, -6, 5, 4}, .most = {6, 6, 17, 13}, .oblate = INFINITY, .first_mm = 1.6, .halvings = STEPS};
    const struct room room = {walls, limit};
    kf_spine_ellipse_fit(fill, &room, &range, e);
}

// How much a station's own ellipse counts: the fourth power of the share of directions in which walls are met, from a
// half.
static double trust(const double *limit)
{
    double met = 0;
    for (int n = 0; n < DIRECTIONS; n++)
        met += limit[n] <= REACH_MM;
    met /= DIRECTIONS;
    return met < 0.5 ? 0 : met * met * met * met;
}

// Triangle of half width `reach` stations over those that have an ellipse; beyond them the size of the nearest.
static void smooth(const struct walls *walls, const struct kf_spine_ellipse *in, int count, int reach,
                   struct kf_spine_ellipse *out)
{
    for (int n = 0; n < count; n++) {
        double sum[4] = {0}, weight = 0;
        for (int m = n - reach; m <= n + reach; m++) {
            if (m < 0 || m >= count)
                continue;
            double w = trust(walls->limit + m * DIRECTIONS) * (1 + reach - (m < n ? n - m : m - n));
            for (int c = 0; c < 4; c++)
                sum[c] += w * in[m].of[c];
            weight += w;
        }
        for (int c = 0; c < 4 && weight > 0; c++)
            out[n].of[c] = sum[c] / weight;
        if (weight == 0)
            out[n] = (struct kf_spine_ellipse){{0, 0, -1, -1}};
    }
    for (int n = 1; n < count; n++)
        if (out[n].of[2] < 0)
            out[n].of[2] = out[n - 1].of[2], out[n].of[3] = out[n - 1].of[3];
    for (int n = count - 2; n >= 0; n--)
        if (out[n].of[2] < 0)
            out[n].of[2] = out[n + 1].of[2], out[n].of[3] = out[n + 1].of[3];
}

static void move_to_middle(struct kf_spine *spine, struct kf_spine_ellipse *tube)
{
    for (int n = 0; n < spine->stations; n++) {
        struct kf_spine_station *t = &spine->station[n];
        for (int c = 0; c < 3; c++)
            t->p[c] += tube[n].of[0] * t->left[c] + tube[n].of[1] * t->front[c];
        tube[n].of[0] = tube[n].of[1] = 0;
    }
}

// Mean of what is no bone or disc among the voxels around one, of all 27 or the nearest 7: noise must not tell fat from
// sac. *beside: one of them is labelled.
static double mean_around(const int16_t *hu, const uint8_t *labels, const int64_t dim[3], int64_t i, int64_t j,
                          int64_t k, int all, int *beside)
{
    int64_t sum = 0, count = 0;
    *beside = 0;
    for (int64_t n = 0; n < 27; n++) {
        int64_t x = i + n % 3 - 1, y = j + n / 3 % 3 - 1, z = k + n / 9 - 1, at = (z * dim[1] + y) * dim[0] + x;
        if (x < 0 || y < 0 || z < 0 || x >= dim[0] || y >= dim[1] || z >= dim[2])
            continue;
        int wall = labels[at] > 0 && labels[at] <= KF_SPINE_SACRUM;
        *beside |= wall;
        if (wall || (!all && (n % 3 != 1) + (n / 3 % 3 != 1) + (n / 9 != 1) > 1))
            continue;
        sum += hu[at];
        count++;
    }
    return count ? (double)sum / (double)count : 0;
}

// The sac ends in the sacrum, most often at S2, and fat fills the canal below: the station below which 8 mm hold none.
static double sac_end(const struct kf_volume *volume, const struct kf_spine *spine)
{
    if (spine->fluid_end > 0)
        return fmin(spine->fluid_end + SAC_MARGIN_MM, spine->stations - 1);
    if (!spine->sacrum)
        return spine->stations - 1;
    int end = (int)fmin(spine->stations - 1, spine->disc[spine->discs - 1].s + SACRAL_MM), fat = 0,
        n = (int)spine->disc[spine->discs - 1].s;
    for (; n < end && fat < 8; n++) {
        const struct kf_spine_station *t = &spine->station[n];
        double sum = 0;
        for (int m = 0; m < 25; m++) {
            double p[3];
            for (int c = 0; c < 3; c++)
                p[c] = t->p[c] + 1.5 * ((m % 5 - 2) * t->left[c] + (m / 5 - 2) * t->front[c]);
            sum += kf_spine_value(volume, p, 0);
        }
        fat = sum / 25 < SAC_HU ? fat + 1 : 0;
    }
    return fmin(n - fat + SAC_MARGIN_MM, spine->stations - 1);
}

// The ligament that lines the arch is denser than sac and fat. Next to bone that would be so of anything: there what is
// INWARD_MM nearer the middle tells.
static int is_flavum(const struct kf_volume *volume, const uint8_t *labels, const struct kf_spine_station *t,
                     const double p_lps[3], double r, int beside)
{
    double ijk[3], p[3], d[3], length = 1e-6;
    int64_t at[3];
    for (int c = 0; c < 3; c++)
        d[c] = p_lps[c] - t->p[c], length += d[c] * d[c];
    for (int c = 0; c < 3; c++)
        p[c] = p_lps[c] - (beside ? INWARD_MM / sqrt(length) : 0) * d[c];
    kf_grid_to_ijk(&volume->grid, p, ijk);
    for (int a = 0; a < 3; a++)
        at[a] = (int64_t)floor(ijk[a] + 0.5);
    return mean_around(volume->data, labels, volume->grid.dim, at[0], at[1], at[2], 1, &beside) > FLAVUM_HU ||
           (r > FAT_FROM &&
            mean_around(volume->data, labels, volume->grid.dim, at[0], at[1], at[2], 0, &beside) > FAT_OR_FLAVUM_HU);
}

struct painter {
    const struct kf_volume *volume;
    const struct kf_spine *spine;
    const struct kf_spine_ellipse *tube;
    double end;            // station below which nothing is painted
    const uint8_t *before; // the labels that the pass found
    uint8_t *labels;
};

static void paint(void *context, int64_t i, int64_t j, int64_t k, int64_t at)
{
    const struct painter *painter = context;
    const struct kf_volume *volume = painter->volume;
    double p[3], suv[3];
    int beside;
    if (painter->before[at] || !kf_spine_locate(painter->spine, &volume->grid, i, j, k, p, suv) || suv[0] < 0 ||
        suv[0] > painter->end)
        return;
    const struct kf_spine_ellipse *e = &painter->tube[(int)suv[0]];
    double x = suv[1] / (e->of[2] + WALL_MM), y = suv[2] / (e->of[3] + WALL_MM), r = sqrt(x * x + y * y);
    if (r >= 1)
        return;
    double hu = mean_around(volume->data, painter->before, volume->grid.dim, i, j, k, 1, &beside);
    if (suv[2] < 0 && r > 0.7 &&
        is_flavum(volume, painter->before, &painter->spine->station[(int)suv[0]], p, r, beside))
        return; // the ligament that lines the arch
    painter->labels[at] = r < SAC_SHARE && hu > SAC_HU ? KF_SPINE_SAC : KF_SPINE_CANAL;
}

// Moves the stations to the middle of the tube that fits between what is labelled. `tube`: one ellipse a station.
static enum kf_kernel_status fit_tube(const struct kf_work *work, const struct kf_grid *grid, const uint8_t *labels,
                                      struct kf_spine *spine, struct kf_spine_ellipse *tube)
{
    int count = spine->stations;
    double *wall = kf_work_take(work, (int64_t)count * DIRECTIONS * 2 * 8);
    struct kf_spine_ellipse *raw = kf_work_take(work, (int64_t)count * (int64_t)sizeof *raw);
    struct walls walls = {.limit = wall ? wall + (int64_t)count * DIRECTIONS : NULL};
    for (int d = 0; d < DIRECTIONS; d++) {
        walls.cosine[d] = kf_cos(2 * KF_PI * d / DIRECTIONS);
        walls.sine[d] = kf_sin(2 * KF_PI * d / DIRECTIONS);
    }
    enum kf_kernel_status status = wall && raw ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    for (int turn = 0; !status && turn < TURNS; turn++) {
#pragma omp parallel for schedule(static) num_threads(work->threads)
        for (int n = 0; n < count; n++)
            measure_walls(grid, &spine->station[n], labels, &walls, wall + n * DIRECTIONS);
#pragma omp parallel for schedule(static) num_threads(work->threads)
        for (int n = 0; n < count; n++) {
            for (int d = 0; d < DIRECTIONS; d++)
                walls.limit[n * DIRECTIONS + d] = typical(wall, count, n, d);
            raw[n] = (struct kf_spine_ellipse){{0, 0, 9, 8}};
            fit(&walls, walls.limit + n * DIRECTIONS, &raw[n]);
        }
        smooth(&walls, raw, count, 14, tube);
        move_to_middle(spine, tube);
        if (kf_work_step(work, 0))
            status = KF_KERNEL_CANCELLED;
    }
    kf_work_give(work, raw);
    kf_work_give(work, wall);
    return status;
}

enum kf_kernel_status kf_spine_centre_canal(const struct kf_work *work, const struct kf_grid *grid,
                                            const uint8_t *labels, struct kf_spine *spine)
{
    struct kf_spine_ellipse *tube = kf_work_take(work, (int64_t)spine->stations * (int64_t)sizeof *tube);
    enum kf_kernel_status status = tube ? fit_tube(work, grid, labels, spine, tube) : KF_KERNEL_NOMEM;
    kf_work_give(work, tube);
    return status;
}

enum kf_kernel_status kf_spine_fill_canal(const struct kf_work *work, const struct kf_volume *volume,
                                          struct kf_spine *spine, uint8_t *labels)
{
    int64_t voxels = kf_grid_voxels(&volume->grid);
    struct kf_spine_ellipse *tube = kf_work_take(work, (int64_t)spine->stations * (int64_t)sizeof *tube);
    uint8_t *before = kf_work_take(work, voxels);
    enum kf_kernel_status status = tube && before ? fit_tube(work, &volume->grid, labels, spine, tube) : KF_KERNEL_NOMEM;
    if (!status) {
        memcpy(before, labels, (size_t)voxels);
        struct painter painter = {.volume = volume, .spine = spine, .tube = tube, .end = sac_end(volume, spine),
                                  .before = before, .labels = labels};
        status = kf_spine_each_voxel(work, &volume->grid, 0, paint, &painter);
    }
    kf_work_give(work, before);
    kf_work_give(work, tube);
    return status;
}
