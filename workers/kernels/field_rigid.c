#include "workers/kernels/field_rigid.h"
#include "workers/kernels/bits.h"
#include "workers/kernels/distance.h"

#include <math.h>
#include <string.h>

#define FIT_POINTS 20000 // of a part, for its motion

struct rigid {
    const struct kf_work *work;
    const struct kf_volume *labels;
    const uint8_t *label;
    double blend_mm;
    struct kf_field out;
    float *weight;
    int64_t box[256][2][3], voxels[256];
};

static void place(const struct kf_grid *g, int64_t n, double p[3])
{
    const double ijk[3] = {(double)(n % g->dim[0]), (double)(n / g->dim[0] % g->dim[1]),
                           (double)(n / g->dim[0] / g->dim[1])};
    kf_grid_to_lps(g, ijk, p);
}

static void find_boxes(struct rigid *r)
{
    const int64_t *dim = r->labels->grid.dim;
    for (int l = 0; l < 256; l++)
        memcpy(r->box[l][0], dim, sizeof r->box[l][0]);
    for (int64_t row = 0; row < dim[1] * dim[2]; row++)
        for (int64_t i = 0; i < dim[0]; i++) {
            int l = r->label[row * dim[0] + i];
            const int64_t at[3] = {i, row % dim[1], row / dim[1]};
            r->voxels[l]++;
            for (int a = 0; l && a < 3; a++) {
                r->box[l][0][a] = at[a] < r->box[l][0][a] ? at[a] : r->box[l][0][a];
                r->box[l][1][a] = at[a] >= r->box[l][1][a] ? at[a] + 1 : r->box[l][1][a];
            }
        }
}

// The motion of a part from the field as it was found. Parts too thin to fix an angle only move.
static enum kf_kernel_status fit(const struct rigid *r, const struct kf_field *field, struct kf_rigid_part *part)
{
    const int64_t *dim = r->labels->grid.dim, step = 1 + r->voxels[part->label] / FIT_POINTS;
    const int64_t total = kf_grid_voxels(&r->labels->grid), room = r->voxels[part->label] / step + 1;
    double *from = kf_work_take(r->work, 6 * room * (int64_t)sizeof(double)), *to = from ? from + 3 * room : NULL;
    if (!from)
        return KF_KERNEL_NOMEM;
    int64_t seen = 0, count = 0;
    double mean[3] = {0};
    for (int64_t n = dim[0] * dim[1] * r->box[part->label][0][2]; n < total && count < room; n++) {
        if (r->label[n] != part->label || seen++ % step)
            continue;
        double d[3];
        place(&r->labels->grid, n, from + 3 * count);
        kf_field_at(field, from + 3 * count, d);
        for (int a = 0; a < 3; a++) {
            to[3 * count + a] = from[3 * count + a] + d[a];
            mean[a] += d[a];
        }
        count++;
    }
    enum kf_kernel_status status = kf_register_points(from, to, NULL, count, &part->motion, &part->bent_mm);
    if (status == KF_KERNEL_INVALID) {
        kf_affine_identity(&part->motion);
        for (int a = 0; a < 3; a++)
            part->motion.m[4 * a + 3] = mean[a] / (double)count;
        part->bent_mm = 0;
        status = KF_KERNEL_OK;
    }
    const double *m = part->motion.m;
    const double turn[9] = {m[0], m[1], m[2], m[4], m[5], m[6], m[8], m[9], m[10]};
    part->turn_rad = kf_rotation_angle_rad(turn);
    kf_work_give(r->work, from);
    return status;
}

static void motion_at(const struct kf_affine *motion, const double p[3], double d[3])
{
    kf_affine_apply(motion, p, d);
    for (int a = 0; a < 3; a++)
        d[a] -= p[a];
}

// Adds a part's motion around it, and sets what is in it.
static void spread(const struct rigid *r, const struct kf_rigid_part *part, const struct kf_grid *box,
                   const int64_t first[3], const float *distance)
{
    const int64_t *dim = r->labels->grid.dim, total = kf_grid_voxels(&r->labels->grid);
#pragma omp parallel for num_threads(r->work->threads) schedule(static)
    for (int64_t row = 0; row < box->dim[1] * box->dim[2]; row++) {
        int64_t j = first[1] + row % box->dim[1], k = first[2] + row / box->dim[1];
        for (int64_t i = 0; i < box->dim[0]; i++) {
            int64_t n = first[0] + i + dim[0] * (j + dim[1] * k);
            double t = (double)distance[row * box->dim[0] + i] / r->blend_mm, p[3], d[3];
            if (t >= 1 || (r->label[n] && r->label[n] != part->label))
                continue;
            place(&r->labels->grid, n, p);
            motion_at(&part->motion, p, d);
            double w = r->label[n] ? 1 : (1 - t) / t * ((1 - t) / t);
            for (int a = 0; a < 3; a++) {
                float *x = r->out.xyz + a * total + n;
                *x = r->label[n] ? (float)d[a] : *x + (float)(w * d[a]);
            }
            r->weight[n] = r->label[n] ? 1 : r->weight[n] + (float)w;
        }
    }
}

static enum kf_kernel_status around(const struct rigid *r, const struct kf_rigid_part *part)
{
    const struct kf_grid *g = &r->labels->grid;
    struct kf_grid box = *g;
    int64_t first[3];
    for (int a = 0; a < 3; a++) {
        int64_t margin = (int64_t)ceil(r->blend_mm / g->spacing_mm[a]), end = r->box[part->label][1][a] + margin;
        first[a] = r->box[part->label][0][a] - margin;
        first[a] = first[a] > 0 ? first[a] : 0;
        box.dim[a] = (end < g->dim[a] ? end : g->dim[a]) - first[a];
    }
    struct kf_bits bits;
    enum kf_kernel_status status = kf_bits_alloc(r->work, box.dim, &bits);
    if (status)
        return status;
    for (int64_t k = 0; k < box.dim[2]; k++)
        for (int64_t j = 0; j < box.dim[1]; j++)
            for (int64_t i = 0; i < box.dim[0]; i++)
                if (r->label[first[0] + i + g->dim[0] * (first[1] + j + g->dim[1] * (first[2] + k))] == part->label)
                    kf_bits_put(&bits, i, j, k);
    float *distance = kf_work_take(r->work, kf_grid_voxels(&box) * (int64_t)sizeof *distance);
    status = distance ? kf_distance(r->work, &bits, g->spacing_mm, r->blend_mm, distance) : KF_KERNEL_NOMEM;
    if (!status)
        spread(r, part, &box, first, distance);
    kf_work_give(r->work, distance);
    kf_bits_release(r->work, &bits);
    return status;
}

// The field as it was found, at every voxel.
static void lay(const struct rigid *r, const struct kf_field *field)
{
    const int64_t total = kf_grid_voxels(&r->labels->grid);
#pragma omp parallel for num_threads(r->work->threads) schedule(static)
    for (int64_t n = 0; n < total; n++) {
        double p[3], d[3];
        place(&r->labels->grid, n, p);
        kf_field_at(field, p, d);
        for (int a = 0; a < 3; a++)
            r->out.xyz[a * total + n] = (float)d[a];
        r->weight[n] = 1;
    }
}

// The mean of what came together, and what is left of the parts' own motion.
static void finish(const struct rigid *r)
{
    const int64_t total = kf_grid_voxels(&r->labels->grid);
#pragma omp parallel for num_threads(r->work->threads) schedule(static)
    for (int64_t n = 0; n < total; n++)
        for (int a = 0; a < 3; a++)
            r->out.xyz[a * total + n] /= r->weight[n];
}

static void measure(const struct rigid *r, struct kf_rigid_part *parts, int count)
{
    const int64_t total = kf_grid_voxels(&r->labels->grid);
    int of[256] = {0};
    for (int i = 0; i < count; i++)
        of[parts[i].label] = i;
    for (int64_t n = 0; n < total; n++) {
        if (!r->label[n])
            continue;
        struct kf_rigid_part *part = &parts[of[r->label[n]]];
        double p[3], d[3], square = 0;
        place(&r->labels->grid, n, p);
        motion_at(&part->motion, p, d);
        for (int a = 0; a < 3; a++) {
            double miss = (double)r->out.xyz[a * total + n] - d[a];
            square += miss * miss;
        }
        part->left_mm = sqrt(square) > part->left_mm ? sqrt(square) : part->left_mm;
    }
}

enum kf_kernel_status kf_field_keep_rigid(const struct kf_work *work, const struct kf_volume *labels, double blend_mm,
                                          double least, struct kf_field *field, struct kf_rigid_part *parts, int *count)
{
    const int64_t total = kf_grid_voxels(&labels->grid);
    struct rigid r = {.work = work, .labels = labels, .label = labels->data, .blend_mm = blend_mm};
    *count = 0;
    if (labels->type != KF_VOXEL_UINT8 || !(blend_mm > 0))
        return KF_KERNEL_INVALID;
    if (total > (int64_t)1 << 28)
        return KF_KERNEL_TOO_LARGE;
    find_boxes(&r);
    enum kf_kernel_status status = kf_field_take(work, &labels->grid, &r.out);
    r.weight = status ? NULL : kf_work_take(work, total * (int64_t)sizeof(float));
    if (!r.weight)
        status = KF_KERNEL_NOMEM;
    if (!status)
        lay(&r, field);
    for (int l = 1; l < 256 && !status; l++) {
        if (!r.voxels[l])
            continue;
        if (kf_work_step(work, l / 256.0))
            status = KF_KERNEL_CANCELLED;
        parts[*count] = (struct kf_rigid_part){.label = l, .voxels = r.voxels[l]};
        if (!status)
            status = fit(&r, field, &parts[*count]);
        if (!status)
            status = around(&r, &parts[(*count)++]);
    }
    if (!status) {
        finish(&r);
        status = *count == 0 ? KF_KERNEL_INVALID : kf_field_unfold(work, &r.out, r.label, least);
    }
    kf_work_give(work, r.weight);
    if (status) {
        kf_field_release(work, &r.out);
        *count = 0;
        return status;
    }
    measure(&r, parts, *count);
    kf_field_release(work, field);
    *field = r.out;
    return KF_KERNEL_OK;
}
