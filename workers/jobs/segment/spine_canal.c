// Where the spinal canal runs. See spine.h.
#include "workers/jobs/segment/spine.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REACH       9 // voxels
#define BONE_HU     190
// Of old bone, all above disc and muscle: a shell of 780 HU and 0.6 mm leaves 150 to 270 in voxels of 1.3 to 2 mm.
#define THIN_HU     160
#define THINNEST_HU 140
// Sac and cord have 10 to 45 HU, the marrow of old bone 60 and more: at this price it counts as 5 rays of 16 fewer, and
// marrow of 80 HU as next to nothing.
#define DENSE_HU    45
#define DENSE_PRICE 0.02
#define SOFT_LOW    (-120)
#define SOFT_HIGH   110
#define LEAST_MM    40.0
#define INSIDE      6   // slices
#define ASIDE       0.8 // of the way down
#define MIDDLE_MM   25
#define TURNS       21 // of the mirror plane: −30° … 30°
#define TURN_DEG    3.0
#define SHIFTS      7 // of it
#define SHIFT_MM    3.0
#define PLANES      (TURNS * SHIFTS)
#define MIRROR_MM   12
#define MIRROR_STEP 4 // stations
#define TURN_PRICE  0.15
#define SHIFT_PRICE 0.1

struct mirror {
    float unlike[PLANES], bone[PLANES]; // of each turn and shift: difference of the sides, their sum
    uint8_t from[PLANES];               // best plane of the station above
};

// One value a slice or station, and what `frames` needs.
struct scratch {
    double *column, *second;
    struct mirror *mirror;
};

double kf_spine_value(const struct kf_volume *volume, const double p_lps[3], double outside)
{
    const int64_t *dim = volume->grid.dim;
    const int16_t *data = volume->data;
    double p[3];
    int64_t i[3];
    kf_grid_to_ijk(&volume->grid, p_lps, p);
    for (int a = 0; a < 3; a++) {
        if (!(p[a] >= 0 && p[a] <= (double)(dim[a] - 1)))
            return outside;
        i[a] = (int64_t)floor(p[a]);
        i[a] = i[a] > dim[a] - 2 ? (dim[a] > 1 ? dim[a] - 2 : 0) : i[a];
        p[a] -= (double)i[a];
    }
    double sum = 0;
    for (int c = 0; c < 8; c++) {
        int64_t at[3];
        double weight = 1;
        for (int a = 0; a < 3; a++) {
            int up = c >> a & 1;
            at[a] = i[a] + up < dim[a] ? i[a] + up : i[a];
            weight *= up ? p[a] : 1 - p[a];
        }
        sum += weight * data[(at[2] * dim[1] + at[1]) * dim[0] + at[0]];
    }
    return sum;
}

// Share of the rays from (i, j) that meet bone within reach, less when the nearest bone is far from a canal's radius.
static float enclosed_by(int16_t bone_hu, const int16_t *slice, const int64_t *dim, int64_t i, int64_t j,
                         const double ray[KF_SPINE_RAYS][2])
{
    int16_t here = slice[j * dim[0] + i];
    if (here < SOFT_LOW || here > SOFT_HIGH)
        return 0;
    int hits = 0, total = 0, nearest = REACH;
    for (int n = 0; n < KF_SPINE_RAYS; n++)
        for (int r = 1; r <= REACH; r++) {
            int64_t x = i + (int64_t)floor(ray[n][0] * r + 0.5), y = j + (int64_t)floor(ray[n][1] * r + 0.5);
            if (x < 0 || y < 0 || x >= dim[0] || y >= dim[1])
                break;
            if (slice[y * dim[0] + x] >= bone_hu) {
                hits++;
                total += r;
                nearest = r < nearest ? r : nearest;
                break;
            }
        }
    if (hits < KF_SPINE_RAYS / 3)
        return 0;
    double mean = (double)total / hits, dark = here > 75 ? 0.01 * (here - 75) : 0;
    return (float)fmax(0, (double)hits / KF_SPINE_RAYS - 0.06 * fabs(mean - 4.5) - dark +
                              0.05 * (nearest < 4 ? nearest - 4 : 0));
}

static float enclosure(const int16_t *slice, const int64_t *dim, int64_t i, int64_t j,
                       const double ray[KF_SPINE_RAYS][2])
{
    return enclosed_by(BONE_HU, slice, dim, i, j, ray);
}

// The same of old bone, whose marrow, as soft as a canal's content in a single voxel, is better enclosed: less where it
// is denser on the mean.
static float old_enclosure(int16_t bone_hu, const int16_t *slice, const int64_t *dim, int64_t i, int64_t j,
                           const double ray[KF_SPINE_RAYS][2])
{
    int sum = 0;
    if (i < 1 || j < 1 || i > dim[0] - 2 || j > dim[1] - 2)
        return 0;
    for (int64_t n = 0; n < 9; n++)
        sum += slice[(j + n / 3 - 1) * dim[0] + i + n % 3 - 1];
    float enclosed = enclosed_by(bone_hu, slice, dim, i, j, ray);
    return (float)fmax(0, enclosed - DENSE_PRICE * fmax(0, sum / 9.0 - DENSE_HU));
}

static float thin_enclosure(const int16_t *slice, const int64_t *dim, int64_t i, int64_t j,
                            const double ray[KF_SPINE_RAYS][2])
{
    return old_enclosure(THIN_HU, slice, dim, i, j, ray);
}

static float thinnest_enclosure(const int16_t *slice, const int64_t *dim, int64_t i, int64_t j,
                                const double ray[KF_SPINE_RAYS][2])
{
    return old_enclosure(THINNEST_HU, slice, dim, i, j, ray);
}

static const struct {
    int16_t bone_hu;
    kf_spine_rate *rate;
} looks[KF_SPINE_LOOKS] = {{BONE_HU, enclosure}, {THIN_HU, thin_enclosure}, {THINNEST_HU, thinnest_enclosure}};

enum kf_kernel_status kf_spine_score(const struct kf_work *work, const struct kf_volume *coarse, kf_spine_rate *rate,
                                     float *score)
{
    const int64_t *dim = coarse->grid.dim, area = dim[0] * dim[1];
    const int16_t *data = coarse->data;
    double ray[KF_SPINE_RAYS][2];
    for (int n = 0; n < KF_SPINE_RAYS; n++) {
        ray[n][0] = kf_cos(2 * KF_PI * n / KF_SPINE_RAYS);
        ray[n][1] = kf_sin(2 * KF_PI * n / KF_SPINE_RAYS);
    }
    struct kf_loop loop = kf_loop_make(work, dim[2], 0, 0);
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0, stop = kf_loop_stop(&loop); j < dim[1] && !stop; j++)
            for (int64_t i = 0; i < dim[0]; i++)
                score[k * area + j * dim[0] + i] = rate(data + k * area, dim, i, j, (const double(*)[2])ray);
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

// Viterbi: best[v] = score[v] + the best of 5×5 voxels of the slice before, less for each voxel of shift.
enum kf_kernel_status kf_spine_follow(const struct kf_work *work, const int64_t dim[3], const float *score, float *best,
                                      uint8_t *from, int64_t *path)
{
    static const float price[3] = {0, 0.06F, 0.2F};
    int64_t area = dim[0] * dim[1];
    memcpy(best, score, (size_t)area * sizeof *best);
    for (int64_t k = 1; k < dim[2]; k++) {
        if (kf_work_step(work, 0))
            return KF_KERNEL_CANCELLED;
        const float *before = best + (k - 1) % 2 * area;
        float *now = best + k % 2 * area;
#pragma omp parallel for schedule(static) num_threads(work->threads)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++) {
                float most = -1e30F;
                uint8_t chosen = 12;
                for (int64_t n = 0; n < 25; n++) {
                    int64_t dx = n % 5 - 2, dy = n / 5 - 2, x = i + dx, y = j + dy;
                    if (x < 0 || y < 0 || x >= dim[0] || y >= dim[1])
                        continue;
                    float value = before[y * dim[0] + x] - price[dx < 0 ? -dx : dx] - price[dy < 0 ? -dy : dy];
                    if (value > most)
                        most = value, chosen = (uint8_t)n;
                }
                now[j * dim[0] + i] = most + score[k * area + j * dim[0] + i];
                from[k * area + j * dim[0] + i] = chosen;
            }
    }
    const float *last = best + (dim[2] - 1) % 2 * area;
    int64_t at = 0;
    for (int64_t v = 1; v < area; v++)
        at = last[v] > last[at] ? v : at;
    for (int64_t k = dim[2] - 1; k >= 0; k--) {
        path[k] = at;
        if (k > 0) {
            int64_t n = from[k * area + at];
            at += n % 5 - 2 + (n / 5 - 2) * dim[0];
        }
    }
    return KF_KERNEL_OK;
}

void kf_spine_smooth(double *values, int count, int reach, double *scratch)
{
    for (int n = 0; n < count; n++) {
        double sum = 0, weight = 0;
        for (int d = -reach; d <= reach; d++) {
            int m = n + d;
            if (m < 0 || m >= count)
                continue;
            double w = 1 + reach - (d < 0 ? -d : d);
            sum += w * values[m];
            weight += w;
        }
        scratch[n] = sum / weight;
    }
    memcpy(values, scratch, (size_t)count * sizeof *values);
}

void kf_spine_unit(double v[3])
{
    double length = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    for (int a = 0; a < 3; a++)
        v[a] = length > 0 ? v[a] / length : a == 1 ? -1 : 0;
}

// Where the mass of bone lies as seen from the canal: forwards, since a body is heavier than an arch.
static void look_for_bodies(const struct kf_volume *coarse, const double p[3], double to[3])
{
    to[0] = 0, to[1] = -600, to[2] = 0;
    for (int y = -17; y <= 17; y++)
        for (int x = -17; x <= 17; x++) {
            double r = 2 * sqrt(x * x + y * y);
            if (r < 8 || r > 34 || y > 0)
                continue;
            double q[3] = {p[0] + 2 * x, p[1] + 2 * y, p[2]}, hu = kf_spine_value(coarse, q, -1000);
            if (hu < 130)
                continue;
            to[0] += 2 * x / r;
            to[1] += 2 * y / r;
        }
    kf_spine_unit(to);
}

// ---- which way is forwards: a vertebra is its own mirror image ----

// How unlike the bone is on both sides of a mirror plane through a station, turned and moved sideways.
static void measure_mirror(const struct kf_volume *coarse, const struct kf_spine_station *t, struct mirror *out)
{
    for (int n = 0; n < PLANES; n++) {
        double angle = (n / SHIFTS - TURNS / 2) * TURN_DEG * KF_PI / 180, cosine = kf_cos(angle), sine = kf_sin(angle);
        double shift = (n % SHIFTS - SHIFTS / 2) * SHIFT_MM, left[3], front[3], unlike = 0, all = 0;
        for (int c = 0; c < 3; c++) {
            left[c] = cosine * t->left[c] + sine * t->front[c];
            front[c] = cosine * t->front[c] - sine * t->left[c];
        }
        for (int v = -34; v <= 38; v += 4)
            for (int u = 3; u <= 39; u += 4) {
                double bone[2];
                for (int side = 0; side < 2; side++) {
                    double p[3], lateral = shift + (side ? u : -u);
                    for (int c = 0; c < 3; c++)
                        p[c] = t->p[c] + lateral * left[c] + v * front[c];
                    bone[side] = fmin(fmax(kf_spine_value(coarse, p, SOFT_HIGH), SOFT_HIGH), 450) - SOFT_HIGH;
                }
                unlike += fabs(bone[0] - bone[1]);
                all += bone[0] + bone[1];
            }
        out->unlike[n] = (float)unlike;
        out->bone[n] = (float)all;
    }
}

// Share of the bone near a station that has no like on the other side of each plane.
static void unlikeness(const struct mirror *mirror, int count, int at, double share[PLANES])
{
    int reach = MIRROR_MM / MIRROR_STEP;
    for (int plane = 0; plane < PLANES; plane++) {
        double unlike = 0, bone = 0;
        for (int n = at - reach; n <= at + reach; n++)
            if (n >= 0 && n < count) {
                unlike += (1 + reach - abs(n - at)) * (double)mirror[n].unlike[plane];
                bone += (1 + reach - abs(n - at)) * (double)mirror[n].bone[plane];
            }
        share[plane] = bone > 0 ? unlike / bone : 1;
    }
}

// Planes of least unlikeness that change slowly along the column, by dynamic programming: turns in steps of TURN_DEG,
// shifts in steps of SHIFT_MM.
static void best_planes(struct mirror *mirror, int count, double *turn, double *shift)
{
    double total[PLANES], before[PLANES];
    int at = 0;
    for (int n = 0; n < count; n++) {
        unlikeness(mirror, count, n, total);
        for (int a = 0; a < PLANES; a++) {
            double least = n ? 1e9 : 0;
            for (int b = 0; n && b < PLANES; b++) {
                int turns = a / SHIFTS - b / SHIFTS, shifts = a % SHIFTS - b % SHIFTS;
                double value = before[b] + TURN_PRICE * turns * turns + SHIFT_PRICE * shifts * shifts;
                if (value < least)
                    least = value, mirror[n].from[a] = (uint8_t)b;
            }
            total[a] += least;
        }
        memcpy(before, total, sizeof before);
    }
    for (int a = 1; a < PLANES; a++)
        at = before[a] < before[at] ? a : at;
    for (int n = count - 1; n >= 0; n--) {
        turn[n] = at / SHIFTS - TURNS / 2;
        shift[n] = at % SHIFTS - SHIFTS / 2;
        at = mirror[n].from[at];
    }
}

// Turns the frames to the mirror plane, and moves the stations into it.
static enum kf_kernel_status turn_to_mirror(const struct kf_work *work, const struct kf_volume *coarse,
                                            struct kf_spine *spine, struct scratch *of)
{
    double turn[KF_SPINE_STATIONS / MIRROR_STEP], shift[KF_SPINE_STATIONS / MIRROR_STEP];
    int count = (spine->stations + MIRROR_STEP - 1) / MIRROR_STEP;
    struct kf_loop loop = kf_loop_make(work, count, 0, 0);
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int n = 0; n < count; n++)
        if (!kf_loop_stop(&loop))
            measure_mirror(coarse, &spine->station[n * MIRROR_STEP], &of->mirror[n]);
    if (loop.stop)
        return KF_KERNEL_CANCELLED;
    best_planes(of->mirror, count, turn, shift);
    kf_spine_smooth(turn, count, MIRROR_MM / MIRROR_STEP, of->second);
    kf_spine_smooth(shift, count, MIRROR_MM / MIRROR_STEP, of->second);
    for (int n = 0; n < spine->stations; n++) {
        struct kf_spine_station *t = &spine->station[n];
        int low = n / MIRROR_STEP, high = low + 1 < count ? low + 1 : low;
        double share = (double)(n % MIRROR_STEP) / MIRROR_STEP,
               angle = ((1 - share) * turn[low] + share * turn[high]) * TURN_DEG * KF_PI / 180,
               aside = ((1 - share) * shift[low] + share * shift[high]) * SHIFT_MM, cosine = kf_cos(angle),
               sine = kf_sin(angle);
        for (int c = 0; c < 3; c++) {
            double left = t->left[c], front = t->front[c];
            t->left[c] = cosine * left + sine * front;
            t->front[c] = cosine * front - sine * left;
            t->p[c] += aside * t->left[c];
        }
    }
    return KF_KERNEL_OK;
}

static enum kf_kernel_status frames(const struct kf_work *work, const struct kf_volume *coarse, struct kf_spine *spine,
                                    struct scratch *of)
{
    double *column = of->column, *scratch = of->second;
    int n = spine->stations;
    for (int c = 0; c < 3; c++) { // a column bends over centimetres; what turns within fewer is a wandering path
        for (int k = 0; k < n; k++)
            column[k] = spine->station[k].p[c] - (c == 2 ? spine->station[0].p[2] - k : 0);
        kf_spine_smooth(column, n, 20, scratch);
        for (int k = 0; k < n; k++)
            spine->station[k].p[c] = column[k] + (c == 2 ? spine->station[0].p[2] - k : 0);
    }
    for (int k = 0; k < n; k++) {
        const struct kf_spine_station *a = &spine->station[k > 8 ? k - 8 : 0],
                                      *b = &spine->station[k + 8 < n ? k + 8 : n - 1];
        for (int c = 0; c < 3; c++)
            spine->station[k].down[c] = b->p[c] - a->p[c];
        kf_spine_unit(spine->station[k].down);
        look_for_bodies(coarse, spine->station[k].p, spine->station[k].front);
    }
    for (int c = 0; c < 3; c++) {
        for (int k = 0; k < n; k++)
            column[k] = spine->station[k].front[c];
        kf_spine_smooth(column, n, 30, scratch);
        for (int k = 0; k < n; k++)
            spine->station[k].front[c] = column[k];
    }
    for (int k = 0; k < n; k++) {
        struct kf_spine_station *t = &spine->station[k];
        double along = t->front[0] * t->down[0] + t->front[1] * t->down[1] + t->front[2] * t->down[2];
        for (int c = 0; c < 3; c++)
            t->front[c] -= along * t->down[c];
        kf_spine_unit(t->front);
        for (int c = 0; c < 3; c++) // front × down: forwards is −y, down is −z, left is +x
            t->left[c] = t->front[(c + 1) % 3] * t->down[(c + 2) % 3] - t->front[(c + 2) % 3] * t->down[(c + 1) % 3];
    }
    return turn_to_mirror(work, coarse, spine, of);
}

// Where no bone encloses it any more, the sac can still be seen in fat. Moves *at to the middle of what is soft within
// 8 mm of it; 0 when that is not a soft core in a ring of fat or bone.
static int sac_in_fat(const struct kf_volume *coarse, int64_t k, int64_t *at)
{
    const int64_t *dim = coarse->grid.dim;
    const int16_t *slice = (const int16_t *)coarse->data + k * dim[0] * dim[1];
    int64_t x = *at % dim[0], y = *at / dim[0], sum[2] = {0, 0};
    int soft = 0, core = 0, inner = 0, ring = 0, other = 0;
    for (int64_t dy = -6; dy <= 6; dy++)
        for (int64_t dx = -6; dx <= 6; dx++) {
            int64_t i = x + dx, j = y + dy, r2 = dx * dx + dy * dy;
            if (r2 > 36 || i < 0 || j < 0 || i >= dim[0] || j >= dim[1])
                continue;
            int16_t hu = slice[j * dim[0] + i];
            int is_soft = hu > -40 && hu < SOFT_HIGH;
            if (r2 <= 16 && is_soft)
                sum[0] += dx, sum[1] += dy, soft++;
            core += r2 <= 5;
            inner += r2 <= 5 && is_soft;
            ring += r2 >= 25;
            other += r2 >= 25 && !is_soft;
        }
    if (inner * 10 < core * 8 || other * 10 < ring * 7)
        return 0;
    int64_t half = soft / 2;
    x += (sum[0] + (sum[0] < 0 ? -half : half)) / soft;
    y += (sum[1] + (sum[1] < 0 ? -half : half)) / soft;
    *at = y * dim[0] + x;
    return 1;
}

// A run that ends a few slices from the field's border goes on straight to it: there the field ends, not the canal.
static void run_out(const int64_t *dim, int64_t *path, int way, int *from, int *length)
{
    int end = way < 0 ? *from : *from + *length - 1, missing = way < 0 ? end : (int)dim[2] - 1 - end;
    if (missing > INSIDE)
        return;
    int64_t x = path[end] % dim[0], y = path[end] / dim[0], in = path[end - way * INSIDE];
    for (int n = 1; n <= missing; n++) {
        int64_t i = x + (x - in % dim[0]) * n / INSIDE, j = y + (y - in / dim[0]) * n / INSIDE;
        i = i < 0 ? 0 : i >= dim[0] ? dim[0] - 1 : i;
        j = j < 0 ? 0 : j >= dim[1] ? dim[1] - 1 : j;
        path[end + way * n] = j * dim[0] + i;
    }
    *from -= way < 0 ? missing : 0;
    *length += missing;
}

// Lengthens the run [*from, *from + *length) of slices by those on which the sac goes on in fat, followed from a few
// slices inside, since the path wanders where its enclosure ends.
static void extend(const struct kf_volume *coarse, int64_t *path, int *from, int *length)
{
    int count = (int)coarse->grid.dim[2];
    for (int way = -1; way <= 1; way += 2) {
        int end = way < 0 ? *from : *from + *length - 1;
        int64_t at = path[end - way * INSIDE];
        for (int k = end - way * (INSIDE - 1); k >= 0 && k < count; k += way) {
            int seen = sac_in_fat(coarse, k, &at), outside = way * (k - end) > 0;
            if (seen)
                path[k] = at;
            else if (outside)
                break;
            at = path[k];
            *from = k < *from ? k : *from;
            *length += outside;
        }
        run_out(coarse->grid.dim, path, way, from, length);
    }
}

// No canal runs aside by more than ASIDE in a few slices: there the path goes over to a hip.
static int runs_aside(const int64_t *path, const int64_t *dim, int64_t k)
{
    int64_t above = k + INSIDE < dim[2] ? k + INSIDE : dim[2] - 1, below = k > INSIDE ? k - INSIDE : 0;
    return (double)llabs(path[above] % dim[0] - path[below] % dim[0]) > ASIDE * (double)(above - below);
}

// The longest run of slices [*from, *from + *length) that are enclosed on the whole.
static void enclosed_run(const int64_t *dim, const int64_t *path, const float *score, struct scratch *of, int *from,
                         int *length)
{
    int count = (int)dim[2], start = 0;
    *from = *length = 0;
    for (int k = 0; k < count; k++)
        of->column[k] = score[k * dim[0] * dim[1] + path[k]];
    kf_spine_smooth(of->column, count, 8, of->second);
    for (int k = 0; k <= count; k++) {
        if (k < count && of->column[k] >= 0.36 && !runs_aside(path, dim, k))
            continue;
        if (k - start > *length)
            *length = k - start, *from = start;
        start = k + 1;
    }
}

// A hip is better enclosed than a sacrum, and draws the path over from far: what is far aside of the run is no canal.
// 1: the path went there.
static int forget_aside(const struct kf_volume *coarse, const int64_t *path, int from, int length, float *score)
{
    const int64_t *dim = coarse->grid.dim;
    int gone = 0;
    for (int64_t k = 0; k < dim[2]; k++) {
        int64_t nearest = k < from ? from : k >= from + length ? from + length - 1 : k, x = path[nearest] % dim[0];
        double most =
            (MIDDLE_MM + 0.3 * fabs((double)(k - nearest)) * coarse->grid.spacing_mm[2]) / coarse->grid.spacing_mm[0];
        gone |= (double)llabs(path[k] % dim[0] - x) > most;
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++)
                if ((double)llabs(i - x) > most)
                    score[(k * dim[1] + j) * dim[0] + i] = 0;
    }
    return gone;
}

// That run, from above to below, as stations of 1 mm.
static enum kf_kernel_status lay_stations(const struct kf_work *work, const struct kf_volume *coarse, int64_t *path,
                                          int from, int length, struct kf_spine *spine, struct scratch *of)
{
    double *column = of->column, *scratch = of->second, step = coarse->grid.spacing_mm[2];
    const struct kf_grid *g = &coarse->grid;
    spine->stations = 0;
    if (length * step < LEAST_MM)
        return KF_KERNEL_OK;
    extend(coarse, path, &from, &length);
    int stations = (int)(length * step);
    stations = stations > KF_SPINE_STATIONS ? KF_SPINE_STATIONS : stations;
    for (int c = 0; c < 3; c++) {
        for (int k = 0; k < length; k++) {
            int64_t at = path[from + k];
            double ijk[3] = {(double)(at % g->dim[0]), (double)(at / g->dim[0]), from + k}, p[3];
            kf_grid_to_lps(g, ijk, p);
            column[k] = p[c];
        }
        if (c < 2)
            kf_spine_smooth(column, length, 5, scratch);
        for (int n = 0; n < stations; n++) {
            double at = length - 1 - n / step;
            int low = at > 0 ? (int)at : 0, high = low + 1 < length ? low + 1 : low;
            spine->station[n].p[c] = column[low] + (at > 0 ? at - low : 0) * (column[high] - column[low]);
        }
    }
    spine->stations = stations;
    return frames(work, coarse, spine, of);
}

// The path runs anywhere in the canal, and in a wide one to its side; its walls say where the middle is.
static enum kf_kernel_status centre(const struct kf_work *work, const struct kf_volume *coarse, int thin,
                                    struct kf_spine *spine, struct scratch *of)
{
    int64_t voxels = kf_grid_voxels(&coarse->grid);
    const int16_t *hu = coarse->data;
    uint8_t *bone = kf_work_take(work, voxels);
    if (!bone)
        return KF_KERNEL_NOMEM;
    for (int64_t v = 0; v < voxels; v++)
        bone[v] = hu[v] >= looks[thin].bone_hu;
    enum kf_kernel_status status = frames(work, coarse, spine, of); // now along the mirror plane
    if (!status)
        status = kf_spine_centre_canal(work, &coarse->grid, bone, spine);
    if (!status)
        status = frames(work, coarse, spine, of);
    kf_work_give(work, bone);
    return status;
}

// The path's run of enclosed slices, looked for once more where what lies aside of it led the path astray.
static enum kf_kernel_status find_run(const struct kf_work *work, const struct kf_volume *coarse, float *score,
                                      float *best, uint8_t *from, int64_t *path, struct scratch *of, int *run,
                                      int *length)
{
    const int64_t *dim = coarse->grid.dim;
    enum kf_kernel_status status = kf_spine_follow(work, dim, score, best, from, path);
    if (status)
        return status;
    enclosed_run(dim, path, score, of, run, length);
    if (*length == 0 || !forget_aside(coarse, path, *run, *length, score))
        return KF_KERNEL_OK;
    status = kf_spine_follow(work, dim, score, best, from, path);
    if (!status)
        enclosed_run(dim, path, score, of, run, length);
    return status;
}

enum kf_kernel_status kf_spine_find_canal(const struct kf_work *work, const struct kf_volume *coarse, int thin,
                                          struct kf_spine *spine)
{
    const int64_t *dim = coarse->grid.dim, area = dim[0] * dim[1], voxels = area * dim[2];
    float *score = kf_work_take(work, voxels * 4), *best = kf_work_take(work, 2 * area * 4);
    uint8_t *from = kf_work_take(work, voxels);
    int64_t *path = kf_work_take(work, dim[2] * 8);
    int64_t most = dim[2] > KF_SPINE_STATIONS ? dim[2] : KF_SPINE_STATIONS;
    struct scratch of = {.column = kf_work_take(work, 2 * most * 8),
                         .mirror = kf_work_take(work, KF_SPINE_STATIONS / MIRROR_STEP * (int64_t)sizeof *of.mirror)};
    enum kf_kernel_status status =
        score && best && from && path && of.column && of.mirror ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        int run, length;
        of.second = of.column + most;
        status = kf_spine_score(work, coarse, looks[thin].rate, score);
        if (!status)
            status = find_run(work, coarse, score, best, from, path, &of, &run, &length);
        if (!status)
            status = lay_stations(work, coarse, path, run, length, spine, &of);
        if (!status && spine->stations > 0)
            status = centre(work, coarse, thin, spine, &of);
    }
    kf_work_give(work, of.mirror);
    kf_work_give(work, of.column);
    kf_work_give(work, path);
    kf_work_give(work, from);
    kf_work_give(work, best);
    kf_work_give(work, score);
    return status;
}

int kf_spine_coordinates(const struct kf_spine *spine, const double p_lps[3], double suv[3])
{
    int n = (int)(spine->station[0].p[2] - p_lps[2]);
    double d[3], along = 0;
    n = n < 0 ? 0 : n >= spine->stations ? spine->stations - 1 : n;
    for (int turn = 0; turn < 4; turn++) {
        const struct kf_spine_station *t = &spine->station[n];
        for (int c = 0; c < 3; c++)
            d[c] = p_lps[c] - t->p[c];
        along = d[0] * t->down[0] + d[1] * t->down[1] + d[2] * t->down[2];
        int next = n + (int)(along * 0.8);
        next = next < 0 ? 0 : next >= spine->stations ? spine->stations - 1 : next;
        if (next == n)
            break;
        n = next;
    }
    const struct kf_spine_station *t = &spine->station[n];
    suv[0] = n + along;
    suv[1] = d[0] * t->left[0] + d[1] * t->left[1] + d[2] * t->left[2];
    suv[2] = d[0] * t->front[0] + d[1] * t->front[1] + d[2] * t->front[2];
    return suv[0] > -12 && suv[0] < spine->stations + 12;
}

int kf_spine_locate(const struct kf_spine *spine, const struct kf_grid *grid, int64_t i, int64_t j, int64_t k,
                    double p_lps[3], double suv[3])
{
    kf_spine_point(grid, i, j, k, p_lps);
    return kf_spine_coordinates(spine, p_lps, suv);
}

enum kf_kernel_status kf_spine_each_voxel(const struct kf_work *work, const struct kf_grid *grid, int border,
                                          kf_spine_visit *visit, void *context)
{
    const int64_t *dim = grid->dim;
    struct kf_loop loop = kf_loop_make(work, dim[2], 0, 0);
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t k = border; k < dim[2] - border; k++)
        for (int64_t j = border, stop = kf_loop_stop(&loop); j < dim[1] - border && !stop; j++)
            for (int64_t i = border; i < dim[0] - border; i++)
                visit(context, i, j, k, (k * dim[1] + j) * dim[0] + i);
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}
