// The head's own frame, found in the bone, whatever way the head lies in the scanner.
//
//   1. Left: the normal of the plane that mirrors the bone best, sought over all directions on a grid of about 4 mm.
//   2. Front and top: from a mandible, which kf_head_frame_pitch takes from whoever found a piece that may be one. Seen
//      from the side, the line from the chin to the joints rises by about 48° over the Frankfort horizontal, and the
//      angles of the jaw lie below it.
// Left and right follow from front and top: a patient has no mirror image.
#include "workers/jobs/segment/cortex.h"
#include "workers/jobs/segment/head.h"
#include "workers/kernels/image.h"

#include <math.h>
#include <string.h>

#define FRAME_MM 4.0
#define SAMPLES  4000
#define RISE_COS 0.6691306 // of 48 degrees
#define RISE_SIN 0.7431448
#define SIDES    4 // cells along half an edge of the cube that the directions are taken from
#define BEST     4

struct plane {
    double normal[3], offset_mm, score;
};

struct cloud {
    struct kf_grid grid;
    float *value; // what of a voxel is bone, smoothed
    double (*point)[3];
    float *weight;
    int64_t count;
    double centre[3];
};

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static void cross(const double a[3], const double b[3], double out[3])
{
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

static void normalise(double v[3])
{
    double length = sqrt(dot(v, v));
    for (int a = 0; a < 3; a++)
        v[a] = length > 0 ? v[a] / length : a == 0;
}

// The nearest voxel's value; -1 outside of the field.
static double value_at(const struct cloud *c, const double p_lps[3])
{
    double q[3];
    int64_t at[3];
    kf_grid_to_ijk(&c->grid, p_lps, q);
    for (int a = 0; a < 3; a++) {
        if (!(q[a] > -0.5 && q[a] < (double)c->grid.dim[a] - 0.5))
            return -1;
        at[a] = (int64_t)floor(q[a] + 0.5);
    }
    return (double)c->value[at[0] + c->grid.dim[0] * (at[1] + c->grid.dim[1] * at[2])];
}

// Correlation of the bone with its mirror image where both lie in the field. Bone on the plane itself says nothing, and
// so weighs less; of planes that are alike, the one that halves the scanner's left and right wins.
static double mirror_score(const struct cloud *c, const struct plane *plane)
{
    double both = 0, here = 0, there = 0, whole = 0;
    for (int64_t n = 0; n < c->count; n++) {
        double d = dot(plane->normal, c->point[n]) - plane->offset_mm, p[3], w = fmin(fabs(d) / 30, 1);
        for (int a = 0; a < 3; a++)
            p[a] = c->point[n][a] - 2 * d * plane->normal[a];
        double a = c->weight[n], b = value_at(c, p);
        whole += w * a * a;
        if (b < 0)
            continue;
        both += w * a * b;
        here += w * a * a;
        there += w * b * b;
    }
    if (!(here > 0.4 * whole) || !(there > 0))
        return 0;
    return both / sqrt(here * there) * (0.95 + 0.05 * fabs(plane->normal[0]));
}

static void keep_best(struct plane best[BEST], const struct plane *plane)
{
    int n = BEST;
    while (n > 0 && best[n - 1].score < plane->score)
        n--;
    for (int m = BEST - 1; m > n; m--)
        best[m] = best[m - 1];
    if (n < BEST)
        best[n] = *plane;
}

static void try_direction(const struct cloud *c, const double direction[3], struct plane best[BEST])
{
    struct plane most = {.score = -1}, plane = {0};
    memcpy(plane.normal, direction, sizeof plane.normal);
    normalise(plane.normal);
    for (int step = -3; step <= 3; step++) {
        plane.offset_mm = dot(plane.normal, c->centre) + 8 * step;
        plane.score = mirror_score(c, &plane);
        most = plane.score > most.score ? plane : most;
    }
    keep_best(best, &most);
}

// Walks to the best plane near by: turns by ever smaller angles about two axes, and shifts.
static void refine(const struct cloud *c, struct plane *plane)
{
    for (double angle = 0.16, shift = 6; angle > 0.004; angle /= 2, shift /= 2) {
        int better = 1;
        for (int round = 0; round < 8 && better; round++) {
            better = 0;
            for (int move = 0; move < 6; move++) {
                struct plane to = *plane;
                double other[3] = {0}, side[3];
                int least = fabs(to.normal[1]) < fabs(to.normal[2]) ? 1 : 2;
                other[fabs(to.normal[0]) < fabs(to.normal[least]) ? 0 : least] = 1;
                cross(to.normal, other, side);
                normalise(side);
                cross(to.normal, side, other);
                double sign = move % 2 ? 1 : -1;
                for (int a = 0; a < 3 && move < 4; a++)
                    to.normal[a] += sign * angle * (move < 2 ? side[a] : other[a]);
                normalise(to.normal);
                to.offset_mm = move < 4 ? plane->offset_mm - dot(plane->normal, c->centre) + dot(to.normal, c->centre)
                                        : plane->offset_mm + sign * shift;
                to.score = mirror_score(c, &to);
                if (to.score > plane->score) {
                    *plane = to;
                    better = 1;
                }
            }
        }
    }
}

static struct plane find_plane(const struct cloud *c)
{
    struct plane best[BEST] = {{.score = -1}, {.score = -1}, {.score = -1}, {.score = -1}};
    for (int face = 0; face < 3; face++)
        for (int u = -SIDES; u <= SIDES; u++)
            for (int v = -SIDES; v <= SIDES; v++) {
                double direction[3];
                direction[face] = SIDES + 0.5;
                direction[(face + 1) % 3] = u;
                direction[(face + 2) % 3] = v;
                try_direction(c, direction, best);
            }
    struct plane most = {.score = -1};
    for (int n = 0; n < BEST; n++) {
        refine(c, &best[n]);
        most = best[n].score > most.score ? best[n] : most;
    }
    return most;
}

static void choose_points(struct cloud *c)
{
    int64_t voxels = kf_grid_voxels(&c->grid), bone = 0, seen = 0;
    double sum = 0;
    for (int64_t n = 0; n < voxels; n++)
        bone += c->value[n] >= 60;
    int64_t every = bone / SAMPLES + 1;
    for (int64_t k = 0, n = 0; k < c->grid.dim[2]; k++)
        for (int64_t j = 0; j < c->grid.dim[1]; j++)
            for (int64_t i = 0; i < c->grid.dim[0]; i++, n++) {
                if (c->value[n] < 60 || seen++ % every)
                    continue;
                double ijk[3] = {(double)i, (double)j, (double)k}, *p = c->point[c->count];
                kf_grid_to_lps(&c->grid, ijk, p);
                c->weight[c->count++] = c->value[n];
                sum += (double)c->value[n];
                for (int a = 0; a < 3; a++)
                    c->centre[a] += (double)c->value[n] * p[a];
            }
    for (int a = 0; a < 3 && sum > 0; a++)
        c->centre[a] /= sum;
}

// value = bone over 150 HU, metal and enamel no more than cortex, within the body.
static enum kf_kernel_status make_cloud(const struct kf_work *work, const struct kf_volume *volume,
                                        const struct kf_bits *body, struct cloud *c)
{
    int64_t factor[3], count = kf_grid_voxels(&volume->grid);
    for (int a = 0; a < 3; a++)
        factor[a] = (int64_t)fmax(1, floor(FRAME_MM / volume->grid.spacing_mm[a] + 0.5));
    struct kf_volume bone = {.grid = volume->grid, .type = KF_VOXEL_INT16}, coarse = {.type = KF_VOXEL_INT16};
    kf_reduce_grid(&volume->grid, factor, &coarse.grid);
    c->grid = coarse.grid;
    int64_t coarse_count = kf_grid_voxels(&coarse.grid);
    int16_t *value = kf_work_take(work, count * (int64_t)sizeof *value);
    bone.data = value;
    coarse.data = kf_work_take(work, coarse_count * (int64_t)sizeof(int16_t));
    c->value = kf_work_take(work, coarse_count * (int64_t)sizeof *c->value);
    c->point = kf_work_take(work, (SAMPLES + 1) * (int64_t)sizeof *c->point);
    c->weight = kf_work_take(work, (SAMPLES + 1) * (int64_t)sizeof *c->weight);
    enum kf_kernel_status status =
        value && coarse.data && c->value && c->point && c->weight ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    for (int64_t k = 0, n = 0; k < volume->grid.dim[2] && !status; k++) {
        for (int64_t j = 0; j < volume->grid.dim[1]; j++)
            for (int64_t i = 0; i < volume->grid.dim[0]; i++, n++) {
                double hu = kf_value_hu(volume, n);
                value[n] = kf_bits_get(body, i, j, k) ? (int16_t)fmin(fmax(hu - 150, 0), 1000) : 0;
            }
        if (kf_work_step(work, 0))
            status = KF_KERNEL_CANCELLED;
    }
    if (!status)
        status = kf_reduce(work, &bone, factor, &coarse);
    if (!status)
        status = kf_gaussian(work, &coarse, 3, c->value);
    if (!status)
        choose_points(c);
    kf_work_give(work, value);
    kf_work_give(work, coarse.data);
    return status;
}

// Axes from left and an up that need not be square to it.
static void set_axes(struct kf_head_frame *frame, const double left[3], const double up[3])
{
    double *x = frame->axis, *y = frame->axis + 3, *z = frame->axis + 6;
    memcpy(x, left, 3 * sizeof *x);
    for (int a = 0; a < 3; a++)
        z[a] = up[a] - dot(up, x) * x[a];
    normalise(z);
    cross(z, x, y);
}

enum kf_kernel_status kf_head_frame_find(const struct kf_work *work, const struct kf_volume *volume,
                                         const struct kf_bits *body, struct kf_head_frame *frame)
{
    *frame = (struct kf_head_frame){.axis = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct cloud c = {0};
    enum kf_kernel_status status = make_cloud(work, volume, body, &c);
    if (!status && c.count >= 100) {
        struct plane plane = find_plane(&c);
        double sign = plane.normal[0] < 0 ? -1 : 1, left[3];
        for (int a = 0; a < 3; a++) {
            left[a] = sign * plane.normal[a];
            frame->origin_lps[a] = c.centre[a] - (dot(plane.normal, c.centre) - plane.offset_mm) * plane.normal[a];
        }
        frame->symmetry = plane.score;
        // A plane square to the scanner's vertical has no up there; front and top then come from the mandible alone.
        const double up[3] = {0, fabs(left[2]) > 0.9 ? -1 : 0, fabs(left[2]) > 0.9 ? 0 : 1};
        set_axes(frame, left, up);
    }
    kf_work_give(work, c.value);
    kf_work_give(work, c.point);
    kf_work_give(work, c.weight);
    return status;
}

void kf_head_frame_pose(const struct kf_head_frame *frame, struct kf_grid *grid)
{
    double direction[9], from[3];
    for (int r = 0; r < 3; r++) {
        for (int c = 0; c < 3; c++) {
            const double column[3] = {grid->direction[c], grid->direction[3 + c], grid->direction[6 + c]};
            direction[3 * r + c] = dot(frame->axis + 3 * r, column);
        }
        from[r] = grid->origin_lps[r] - frame->origin_lps[r];
    }
    for (int r = 0; r < 3; r++)
        grid->origin_lps[r] = dot(frame->axis + 3 * r, from);
    memcpy(grid->direction, direction, sizeof direction);
}

double kf_head_frame_cosine(const struct kf_head_frame *frame)
{
    return fmin(fmax((frame->axis[0] + frame->axis[4] + frame->axis[8] - 1) / 2, -1), 1);
}

void kf_head_frame_to_lps(const struct kf_head_frame *frame, const double p[3], double p_lps[3])
{
    for (int a = 0; a < 3; a++)
        p_lps[a] = frame->origin_lps[a] + p[0] * frame->axis[a] + p[1] * frame->axis[3 + a] + p[2] * frame->axis[6 + a];
}

int kf_head_frame_pitch(const double chin[3], const double joints[3], const double centre[3],
                        const struct kf_head_frame *from, struct kf_head_frame *to)
{
    double rise[3] = {0, joints[1] - chin[1], joints[2] - chin[2]};
    double below[3] = {0, centre[1] - chin[1], centre[2] - chin[2]};
    double length = sqrt(dot(rise, rise));
    if (length < 55 || length > 150)
        return 0;
    normalise(rise);
    double aside = rise[1] * below[2] - rise[2] * below[1]; // > 0: the angle is to the left of the line, seen from +x
    if (fabs(aside) < 2)
        return 0;
    // With y back and z up the jaw's angle is to the right of the line; where it is to the left, x points right.
    double turn = aside < 0 ? 1 : -1, left[3], up[3];
    double z[3] = {0, RISE_SIN * rise[1] - turn * RISE_COS * rise[2], RISE_SIN * rise[2] + turn * RISE_COS * rise[1]};
    for (int a = 0; a < 3; a++) {
        left[a] = turn * from->axis[a];
        up[a] = z[1] * from->axis[3 + a] + z[2] * from->axis[6 + a];
    }
    *to = *from;
    set_axes(to, left, up);
    to->pitch_found = 1;
    return 1;
}
