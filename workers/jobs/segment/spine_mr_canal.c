// The canal of an MR. See spine_mr.h.
#include "workers/jobs/segment/spine_mr.h"
#include "workers/kernels/kdtree.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <string.h>

#define NEAR       4 // voxels within which the brightest of a direction is
#define FAR        9
#define LEAST_MM   40.0
#define LEAST_PART 0.3 // of the usual score: marrow all around, where a lumbar sac has darker ligament
#define FLUID_PART 0.8 // of the usual brightest value near the path: below its fluid a sacral canal holds fat
#define CENTRE_MM  10
#define BRIGHT     0.75 // of the fluid's value: above that of fat, which is to one side only where a canal has no bone
#define SMOOTH     12 // stations
#define TURNS      3
#define TILT_DEG   2.0
#define TILTS      15 // to each side

// How much darker it becomes on the ways out, after the brightest near by: fluid may lie around a cord.
static float darkness_around(const int16_t *slice, const int64_t *dim, int64_t i, int64_t j,
                             const double ray[KF_SPINE_RAYS][2])
{
    double sum = 0;
    int met = 0;
    if (slice[j * dim[0] + i] < 0)
        return 0;
    for (int n = 0; n < KF_SPINE_RAYS; n++) {
        double most = slice[j * dim[0] + i], least = most, deepest = 0;
        int r = 1;
        for (; r <= FAR; r++) {
            int64_t x = i + (int64_t)floor(ray[n][0] * r + 0.5), y = j + (int64_t)floor(ray[n][1] * r + 0.5);
            if (x < 0 || y < 0 || x >= dim[0] || y >= dim[1] || slice[y * dim[0] + x] < 0)
                break;
            double value = slice[y * dim[0] + x];
            if (r <= NEAR && value > most)
                most = least = value;
            least = fmin(least, value);
            deepest = fmax(deepest, most - least);
        }
        if (r > FAR / 2)
            sum += deepest, met++;
    }
    return met * 2 > KF_SPINE_RAYS ? (float)(sum / met / 1000) : 0;
}

// Height at `at` of the line through `count` values of a column, from `from`.
static double line_at(const double *column, int from, int count, int at)
{
    double mean = 0, slope = 0, square = 1e-9, middle = from + 0.5 * (count - 1);
    for (int n = from; n < from + count; n++)
        mean += column[n] / count;
    for (int n = from; n < from + count; n++) {
        slope += (n - middle) * (column[n] - mean);
        square += (n - middle) * (n - middle);
    }
    return mean + slope / square * (at - middle);
}

// kf_spine_smooth by SMOOTH, each end continued by its reflection at the line through what lies there: a slope stays
// one up to both ends, where a mean over what lies inwards would turn it straight down, and no end hangs on one
// station.
// column, scratch: `count` and 2 · SMOOTH doubles.
static void smooth_slope(double *column, int count, double *scratch)
{
    int spare = count > SMOOTH ? SMOOTH : count - 1, lines = count < 2 * SMOOTH ? count : 2 * SMOOTH;
    memmove(column + spare, column, (size_t)count * sizeof *column);
    double first = line_at(column, spare, lines, spare),
           last = line_at(column, spare + count - lines, lines, spare + count - 1);
    for (int n = 1; n <= spare; n++) {
        column[spare - n] = 2 * first - column[spare + n];
        column[spare + count - 1 + n] = 2 * last - column[spare + count - 1 - n];
    }
    kf_spine_smooth(column, count + 2 * spare, SMOOTH, scratch);
    memmove(column, column + spare, (size_t)count * sizeof *column);
}

static void smooth_path(struct kf_spine *spine, double *column, double *scratch)
{
    int count = spine->stations;
    for (int c = 0; c < 3; c++) {
        for (int n = 0; n < count; n++)
            column[n] = spine->station[n].p[c] + (c == 2 ? n : 0);
        smooth_slope(column, count, scratch);
        for (int n = 0; n < count; n++)
            spine->station[n].p[c] = column[n] - (c == 2 ? n : 0);
    }
}

// Directions: along the path; forwards as the scanner says, turned by `angle` about the path.
static void frames(struct kf_spine *spine, double angle)
{
    int count = spine->stations;
    for (int n = 0; n < count; n++) {
        struct kf_spine_station *t = &spine->station[n];
        const struct kf_spine_station *a = &spine->station[n > 8 ? n - 8 : 0],
                                      *b = &spine->station[n + 8 < count ? n + 8 : count - 1];
        double along = 0, forwards[3] = {kf_sin(angle), -kf_cos(angle), 0};
        for (int c = 0; c < 3; c++)
            t->down[c] = b->p[c] - a->p[c];
        kf_spine_unit(t->down);
        for (int c = 0; c < 3; c++)
            along += forwards[c] * t->down[c];
        for (int c = 0; c < 3; c++)
            t->front[c] = forwards[c] - along * t->down[c];
        kf_spine_unit(t->front);
        for (int c = 0; c < 3; c++)
            t->left[c] = t->front[(c + 1) % 3] * t->down[(c + 2) % 3] - t->front[(c + 2) % 3] * t->down[(c + 1) % 3];
    }
}

// The brightest value within NEAR voxels of a place of a slice: fluid, whatever lies in the middle.
static double brightest_near(const struct kf_volume *coarse, int k, int64_t place)
{
    const int64_t *dim = coarse->grid.dim, x = place % dim[0], y = place / dim[0];
    const int16_t *slice = (const int16_t *)coarse->data + k * dim[0] * dim[1];
    double most = 0;
    for (int64_t j = y - NEAR; j <= y + NEAR; j++)
        for (int64_t i = x - NEAR; i <= x + NEAR; i++)
            if (i >= 0 && j >= 0 && i < dim[0] && j < dim[1] && (i - x) * (i - x) + (j - y) * (j - y) <= NEAR * NEAR)
                most = fmax(most, slice[j * dim[0] + i]);
    return most;
}

// Of a column of values, one per slice: the usual one is that below which three of four lie.
static double usual_of(const double *column, int count)
{
    float sorted[KF_SPINE_STATIONS];
    for (int k = 0; k < count; k++)
        sorted[k] = (float)column[k];
    return kf_select_f32(sorted, count, 3 * count / 4);
}

// The longest run of slices whose score and brightness are near the usual ones, as stations of 1 mm from above.
static void lay_stations(const struct kf_volume *coarse, const int64_t *path, const float *score,
                         struct kf_spine *spine, double *column, double *scratch)
{
    const struct kf_grid *g = &coarse->grid;
    int count = (int)g->dim[2], from = 0, length = 0, start = 0;
    int64_t area = g->dim[0] * g->dim[1];
    double bright[KF_SPINE_STATIONS];
    for (int k = 0; k < count; k++) {
        column[k] = score[k * area + path[k]];
        bright[k] = brightest_near(coarse, k, path[k]);
    }
    kf_spine_smooth(column, count, 5, scratch);
    kf_spine_smooth(bright, count, 2, scratch);
    double least = LEAST_PART * usual_of(column, count), fluid = FLUID_PART * usual_of(bright, count);
    for (int k = 0; k <= count; k++) {
        if (k < count && column[k] >= least && bright[k] >= fluid)
            continue;
        if (k - start > length)
            length = k - start, from = start;
        start = k + 1;
    }
    double step = g->spacing_mm[2];
    spine->stations = 0;
    if (length * step < LEAST_MM)
        return;
    int stations = (int)((length - 1) * step) + 1;
    stations = stations > KF_SPINE_STATIONS ? KF_SPINE_STATIONS : stations;
    for (int n = 0; n < stations; n++) {
        double at = fmax(from + length - 1 - n / step, from);
        int low = (int)at, high = low + 1 < count ? low + 1 : low;
        double share = at - low;
        double a[3] = {(double)(path[low] % g->dim[0]), (double)(path[low] / g->dim[0]), low},
               b[3] = {(double)(path[high] % g->dim[0]), (double)(path[high] / g->dim[0]), high}, p[3], q[3];
        kf_grid_to_lps(g, a, p);
        kf_grid_to_lps(g, b, q);
        for (int c = 0; c < 3; c++)
            spine->station[n].p[c] = p[c] + share * (q[c] - p[c]);
    }
    spine->stations = stations;
}

// To the middle of what is bright within CENTRE_MM: fluid all around a cord, or all of the sac.
static void centre(const struct kf_volume *coarse, double bright, struct kf_spine *spine)
{
    for (int n = 0; n < spine->stations; n++) {
        struct kf_spine_station *t = &spine->station[n];
        double sum[2] = {0, 0}, weight = 1e-6;
        for (int v = -CENTRE_MM; v <= CENTRE_MM; v++)
            for (int u = -CENTRE_MM; u <= CENTRE_MM; u++) {
                double p[3];
                if (u * u + v * v > CENTRE_MM * CENTRE_MM)
                    continue;
                for (int c = 0; c < 3; c++)
                    p[c] = t->p[c] + u * t->left[c] + v * t->front[c];
                double w = fmax(0, kf_spine_value(coarse, p, 0) - bright);
                sum[0] += w * u;
                sum[1] += w * v;
                weight += w;
            }
        for (int c = 0; c < 3; c++)
            t->p[c] += (sum[0] * t->left[c] + sum[1] * t->front[c]) / weight;
    }
}

// How unlike the left half is to the right one.
static double asymmetry(const struct kf_volume *coarse, const struct kf_spine *spine)
{
    double sum = 0;
    int count = 0;
    for (int n = 0; n < spine->stations; n += 4)
        for (int v = -30; v <= 40; v += 3)
            for (int u = 2; u <= 40; u += 2) {
                const struct kf_spine_station *t = &spine->station[n];
                double p[3], q[3];
                for (int c = 0; c < 3; c++) {
                    p[c] = t->p[c] + u * t->left[c] + v * t->front[c];
                    q[c] = t->p[c] - u * t->left[c] + v * t->front[c];
                }
                double left = kf_spine_value(coarse, p, -1), right = kf_spine_value(coarse, q, -1);
                if (left < 0 || right < 0)
                    continue;
                sum += fabs(left - right);
                count++;
            }
    return count ? sum / count : 0;
}

static void place(const struct kf_volume *coarse, struct kf_spine *spine, double *column, double *scratch)
{
    float values[4 * KF_SPINE_STATIONS];
    int count = 0;
    smooth_path(spine, column, scratch);
    frames(spine, 0);
    for (int n = 0; n < spine->stations; n++)
        for (int m = 0; m < 4; m++) { // two of them in fluid, whatever lies in the middle
            double p[3], away = m % 2 ? 4 : -4;
            const struct kf_spine_station *t = &spine->station[n];
            for (int c = 0; c < 3; c++)
                p[c] = t->p[c] + away * (m / 2 ? t->left[c] : t->front[c]);
            values[count++] = (float)kf_spine_value(coarse, p, 0);
        }
    double bright = BRIGHT * kf_select_f32(values, count, 3 * count / 4);
    for (int turn = 0; turn < TURNS; turn++) {
        centre(coarse, bright, spine);
        smooth_path(spine, column, scratch);
        frames(spine, 0);
    }
    double best = 0, least = 1e30;
    for (int tilt = -TILTS; tilt <= TILTS; tilt++) {
        frames(spine, tilt * TILT_DEG * KF_PI / 180);
        double here = asymmetry(coarse, spine);
        if (here < least)
            least = here, best = tilt * TILT_DEG * KF_PI / 180;
    }
    frames(spine, best);
}

enum kf_kernel_status kf_spine_mr_canal(const struct kf_work *work, const struct kf_volume *coarse,
                                        struct kf_spine *spine)
{
    const int64_t *dim = coarse->grid.dim, area = dim[0] * dim[1], voxels = area * dim[2];
    float *score = kf_work_take(work, voxels * 4), *best = kf_work_take(work, 2 * area * 4);
    uint8_t *from = kf_work_take(work, voxels);
    int64_t *path = kf_work_take(work, dim[2] * 8);
    int64_t most = (dim[2] > KF_SPINE_STATIONS ? dim[2] : KF_SPINE_STATIONS) + 2 * SMOOTH;
    double *column = kf_work_take(work, 2 * most * 8);
    int ok = score && best && from && path && column;
    enum kf_kernel_status status = !ok                          ? KF_KERNEL_NOMEM
                                   : dim[2] > KF_SPINE_STATIONS ? KF_KERNEL_TOO_LARGE
                                                                : KF_KERNEL_OK;
    if (!status) {
        status = kf_spine_score(work, coarse, darkness_around, score);
        if (!status)
            status = kf_spine_follow(work, dim, score, best, from, path);
    }
    if (!status) {
        lay_stations(coarse, path, score, spine, column, column + most);
        if (spine->stations > 0)
            place(coarse, spine, column, column + most);
    }
    kf_work_give(work, column);
    kf_work_give(work, path);
    kf_work_give(work, from);
    kf_work_give(work, best);
    kf_work_give(work, score);
    return status;
}
