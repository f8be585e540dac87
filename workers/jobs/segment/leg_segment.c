// The pipeline of kf_leg_segment, and its frames.
#include "workers/jobs/segment/coarse.h"
#include "workers/jobs/segment/cortex.h"
#include "workers/jobs/segment/leg_inside.h"
#include "workers/kernels/image.h"
#include "workers/kernels/resample.h"

#include <math.h>
#include <string.h>

#define LOOK_MM   3.0 // coarse grid on which bone is looked for
#define LOOK_HU   250.0
#define MARGIN_MM 5.0
#define UNSIDED   0.4 // below this the fibula is too nearly before or behind the tibia

static const double same_place[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};

// Block means of about `step_mm`; out->data is owned.
static enum kf_kernel_status reduced(const struct kf_work *work, const struct kf_volume *image, double step_mm,
                                     struct kf_volume *out)
{
    int64_t factor[3];
    for (int a = 0; a < 3; a++) {
        double wanted = floor(step_mm / image->grid.spacing_mm[a] + 0.1);
        factor[a] = wanted > 1 ? (int64_t)wanted : 1;
    }
    out->type = image->type;
    kf_reduce_grid(&image->grid, factor, &out->grid);
    out->data = kf_work_take(work, kf_grid_voxels(&out->grid) * kf_voxel_bytes(out->type));
    return out->data ? kf_reduce(work, image, factor, out) : KF_KERNEL_NOMEM;
}

// Calls visit for the place of every bone voxel of a coarse volume, in memory order.
static int64_t each_bone(const struct kf_volume *coarse, void (*visit)(void *to, const double p_lps[3]), void *to)
{
    const struct kf_grid *g = &coarse->grid;
    int64_t seen = 0;
    for (int64_t k = 0, n = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++)
                if (kf_value_hu(coarse, n) >= LOOK_HU) {
                    const double at[3] = {(double)i, (double)j, (double)k};
                    double p[3];
                    kf_grid_to_lps(g, at, p);
                    visit(to, p);
                    seen++;
                }
    return seen;
}

struct box {
    const double *direction;
    double low[3], high[3];
};

static void widen_box(void *to, const double p[3])
{
    struct box *box = to;
    for (int a = 0; a < 3; a++) {
        double q = 0;
        for (int r = 0; r < 3; r++)
            q += box->direction[3 * r + a] * p[r];
        box->low[a] = kf_leg_least(box->low[a], q);
        box->high[a] = kf_leg_most(box->high[a], q);
    }
}

static void grid_of_box(const struct box *box, struct kf_grid *g)
{
    memcpy(g->direction, box->direction, sizeof g->direction);
    for (int a = 0; a < 3; a++) {
        g->spacing_mm[a] = KF_LEG_STEP_MM;
        g->dim[a] = (int64_t)((box->high[a] - box->low[a] + 2 * MARGIN_MM) / KF_LEG_STEP_MM) + 2;
    }
    for (int r = 0; r < 3; r++) {
        g->origin_lps[r] = 0;
        for (int a = 0; a < 3; a++)
            g->origin_lps[r] += box->direction[3 * r + a] * (box->low[a] - MARGIN_MM);
    }
}

// The image in a frame with the axes `direction` (columns) around all its bone: frame->data is owned (kf_work_give) and
// int16 or float32 as the image. NULL data when there is less than 5 ml of bone.
static enum kf_kernel_status lay_frame(const struct kf_work *work, const struct kf_volume *image,
                                       const double direction[9], struct kf_volume *frame)
{
    struct kf_volume coarse = {.data = NULL}, mean = {.data = NULL};
    struct box box = {direction, {1e30, 1e30, 1e30}, {-1e30, -1e30, -1e30}};
    *frame = (struct kf_volume){.type = image->type};
    enum kf_kernel_status status = reduced(work, image, LOOK_MM, &coarse);
    if (!status) {
        const double *s = coarse.grid.spacing_mm;
        double ml = (double)each_bone(&coarse, widen_box, &box) * s[0] * s[1] * s[2] / 1000;
        if (ml < 5) {
            kf_work_give(work, coarse.data);
            return KF_KERNEL_OK;
        }
        grid_of_box(&box, &frame->grid);
        status = kf_own_grid_check(&frame->grid);
    }
    kf_work_give(work, coarse.data);
    if (!status)
        status = reduced(work, image, KF_LEG_STEP_MM, &mean);
    if (!status) {
        frame->data = kf_work_take(work, kf_grid_voxels(&frame->grid) * kf_voxel_bytes(frame->type));
        status = frame->data ? kf_resample(work, &mean, same_place, KF_RESAMPLE_LINEAR, -1000, frame) : KF_KERNEL_NOMEM;
    }
    kf_work_give(work, mean.data);
    if (status) {
        kf_work_give(work, frame->data);
        frame->data = NULL;
    }
    return status;
}

struct moments {
    double count, sum[3], square[9];
};

static void add_moment(void *to, const double p[3])
{
    struct moments *m = to;
    m->count++;
    for (int r = 0; r < 3; r++) {
        m->sum[r] += p[r];
        for (int c = 0; c < 3; c++)
            m->square[3 * r + c] += p[r] * p[c];
    }
}

static double unit(double v[3])
{
    double length = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    for (int a = 0; a < 3 && length > 0; a++)
        v[a] /= length;
    return length;
}

// The direction of greatest spread, by power iteration.
static void longest_axis(const struct moments *m, double axis[3])
{
    double spread[9];
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            spread[3 * r + c] = m->square[3 * r + c] / m->count - m->sum[r] / m->count * (m->sum[c] / m->count);
    axis[0] = 0.3, axis[1] = 0.5, axis[2] = 0.8;
    for (int turn = 0; turn < 200; turn++) {
        double next[3];
        for (int r = 0; r < 3; r++)
            next[r] = spread[3 * r] * axis[0] + spread[3 * r + 1] * axis[1] + spread[3 * r + 2] * axis[2];
        if (unit(next) <= 0)
            return;
        memcpy(axis, next, sizeof next);
    }
}

// Right-handed axes of the image's bone, the longest as k, upwards if that can be said. 0: no bone.
static enum kf_kernel_status find_axes(const struct kf_work *work, const struct kf_volume *image, double direction[9],
                                       int *found)
{
    struct kf_volume coarse = {.data = NULL};
    struct moments m = {0};
    enum kf_kernel_status status = reduced(work, image, LOOK_MM, &coarse);
    *found = !status && each_bone(&coarse, add_moment, &m) > 0;
    kf_work_give(work, coarse.data);
    if (!*found)
        return status;
    double up[3], left[3] = {1, 0, 0}, back[3];
    longest_axis(&m, up);
    if (up[2] < 0)
        for (int a = 0; a < 3; a++)
            up[a] = -up[a];
    if (fabs(up[0]) > 0.8)
        left[0] = 0, left[1] = 1;
    double along = up[0] * left[0] + up[1] * left[1] + up[2] * left[2];
    for (int a = 0; a < 3; a++)
        left[a] -= along * up[a];
    unit(left);
    for (int a = 0; a < 3; a++)
        back[a] = up[(a + 1) % 3] * left[(a + 2) % 3] - up[(a + 2) % 3] * left[(a + 1) % 3];
    for (int r = 0; r < 3; r++)
        direction[3 * r] = left[r], direction[3 * r + 1] = back[r], direction[3 * r + 2] = up[r];
    return KF_KERNEL_OK;
}

// Seeds in a frame with the given axes, made into regions on the image's grid; labels stay as they are without a pair.
static enum kf_kernel_status regions_along(const struct kf_work *work, const struct kf_volume *image,
                                           const double direction[9], uint8_t *labels, struct kf_legs *legs)
{
    struct kf_volume frame, seeds;
    enum kf_kernel_status status = lay_frame(work, image, direction, &frame);
    if (status || !frame.data) {
        legs->reason = KF_LEG_NO_BONE;
        return status;
    }
    seeds = (struct kf_volume){.grid = frame.grid, .type = KF_VOXEL_UINT8};
    seeds.data = kf_work_take(work, kf_grid_voxels(&frame.grid));
    status = seeds.data ? kf_leg_find(work, image, &frame, seeds.data, legs) : KF_KERNEL_NOMEM;
    if (!status && legs->count)
        status = kf_leg_share(work, &frame, legs, seeds.data);
    kf_work_give(work, frame.data);
    if (!status && legs->count) {
        struct kf_volume out = {.grid = image->grid, .type = KF_VOXEL_UINT8, .data = labels};
        status = kf_resample(work, &seeds, same_place, KF_RESAMPLE_NEAREST, 0, &out);
    }
    kf_work_give(work, seeds.data);
    return status;
}

// Left and right: the fibula lies lateral of its tibia, and of two legs the left one lies further to the left.
static void name_sides(struct kf_legs *legs)
{
    for (int n = 0; n < legs->count; n++) {
        struct kf_leg *leg = &legs->leg[n];
        int sure = fabs(leg->lateral) >= UNSIDED, left = leg->lateral > 0;
        leg->tibia = !sure ? KF_LEG_TIBIA_UNSIDED : left ? KF_LEG_TIBIA_LEFT : KF_LEG_TIBIA_RIGHT;
    }
    // Of two legs that lie beside each other; one on top of the other has no order.
    if (legs->count == 2 && fabs(legs->leg[0].middle[0] - legs->leg[1].middle[0]) >= KF_LEG_BESIDE_MM) {
        int first_is_left = legs->leg[0].middle[0] > legs->leg[1].middle[0];
        for (int n = 0; n < 2; n++) {
            int by_order = first_is_left == (n == 0) ? KF_LEG_TIBIA_LEFT : KF_LEG_TIBIA_RIGHT;
            if (legs->leg[n].tibia == KF_LEG_TIBIA_UNSIDED) {
                legs->leg[n].tibia = by_order;
                legs->leg[n].by_order = 1;
            } else if (legs->leg[n].tibia != by_order)
                legs->reason = KF_LEG_TWO_SIDES;
        }
    }
    for (int n = 0; n < legs->count; n++)
        legs->leg[n].fibula = legs->leg[n].tibia + 1;
}

static void rename_labels(const struct kf_grid *g, const struct kf_legs *legs, uint8_t *labels)
{
    uint8_t name[256] = {0};
    for (int n = 0; n < legs->count && legs->reason == KF_LEG_FOUND; n++) {
        name[1 + 2 * n] = (uint8_t)legs->leg[n].tibia;
        name[2 + 2 * n] = (uint8_t)legs->leg[n].fibula;
    }
    int64_t count = kf_grid_voxels(g);
    for (int64_t n = 0; n < count; n++)
        labels[n] = name[labels[n]];
}

enum kf_kernel_status kf_leg_segment(const struct kf_work *work, const struct kf_volume *image, uint8_t *labels,
                                     struct kf_legs *legs)
{
    static const double patient[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    *legs = (struct kf_legs){0};
    memset(labels, 0, (size_t)kf_grid_voxels(&image->grid));
    if (image->type != KF_VOXEL_INT16 && image->type != KF_VOXEL_FLOAT32)
        return KF_KERNEL_INVALID;
    struct kf_work part = *work; // what a part has done of itself is not what is done of the whole
    part.progress = NULL;
    enum kf_kernel_status status = regions_along(&part, image, patient, labels, legs);
    if (!status && kf_work_step(work, 0.5))
        status = KF_KERNEL_CANCELLED;
    if (!status && !legs->count && legs->reason != KF_LEG_NO_BONE) {
        double own[9];
        int found;
        status = find_axes(&part, image, own, &found);
        if (!status && found && own[8] < 0.94) { // over 20°: else it is the same again
            status = regions_along(&part, image, own, labels, legs);
            legs->turned = legs->count > 0;
        }
    }
    if (!status && kf_work_step(work, 0.75))
        status = KF_KERNEL_CANCELLED;
    if (!status && legs->count)
        status = kf_leg_border(&part, image, labels, legs);
    if (status)
        return status;
    name_sides(legs);
    rename_labels(&image->grid, legs, labels);
    if (legs->reason != KF_LEG_FOUND)
        legs->count = 0;
    return KF_KERNEL_OK;
}
