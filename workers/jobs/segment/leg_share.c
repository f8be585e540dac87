// From seeds to bones: a watershed in the frame, then the exact border on the image's grid.
#include "workers/jobs/segment/cortex.h"
#include "workers/jobs/segment/leg_inside.h"
#include "workers/kernels/distance.h"
#include "workers/kernels/watershed.h"

#include <math.h>
#include <string.h>

#define RIM_MM    2.0  // regions reach so far beyond the bone
#define INNER_MM  1.5  // from here on below the surface a voxel is bone whatever its value
#define SOFT_HU   50.0 // what bone borders on
#define WEAK_HU   150  // no border voxel is below
#define ENOUGH_HU 850  // a voxel at or above is bone in any case (metal would raise the measure)
#define METAL_HU  2800
#define CLOSE_MM  1.2

// Low where bone is dense and thick: regions meet in joint spaces and at thin contacts.
static void make_relief(const struct kf_volume *frame, const float *depth, uint8_t *relief, uint8_t *mask)
{
    int64_t count = kf_grid_voxels(&frame->grid);
    for (int64_t n = 0; n < count; n++) {
        relief[n] = kf_bone_relief(kf_value_hu(frame, n), depth[n]);
        mask[n] = depth[n] <= (float)RIM_MM;
    }
}

enum kf_kernel_status kf_leg_share(const struct kf_work *work, const struct kf_volume *frame,
                                   const struct kf_legs *legs, uint8_t *seeds)
{
    int64_t count = kf_grid_voxels(&frame->grid);
    struct kf_volume relief = {.grid = frame->grid, .type = KF_VOXEL_UINT8};
    struct kf_bits bone = {0};
    float *depth = kf_work_take(work, count * (int64_t)sizeof *depth);
    uint8_t *mask = kf_work_take(work, count);
    relief.data = kf_work_take(work, count);
    enum kf_kernel_status status = depth && mask && relief.data ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status)
        status = kf_bits_alloc(work, frame->grid.dim, &bone);
    if (!status)
        status = kf_leg_solid(work, frame, KF_LEG_BONE_HU, kf_leg_hole_mm2(legs), &bone);
    if (!status)
        status = kf_distance(work, &bone, frame->grid.spacing_mm, 4.5, depth);
    if (!status) {
        make_relief(frame, depth, relief.data, mask);
        status = kf_watershed(work, &relief, mask, seeds);
    }
    for (int64_t n = 0; n < count && !status; n++)
        if (seeds[n] && depth[n] < (float)-INNER_MM)
            seeds[n] |= KF_LEG_INNER;
    kf_bits_release(work, &bone);
    kf_work_give(work, relief.data);
    kf_work_give(work, mask);
    kf_work_give(work, depth);
    return status;
}

// ---- the border ----

static int is_bone(const struct kf_volume *v, const int64_t at[3], int64_t n, int region)
{
    double value = kf_value_hu(v, n);
    if (region & KF_LEG_INNER || value >= ENOUGH_HU)
        return 1;
    return value >= WEAK_HU && value >= 0.5 * (kf_cortex_near(v, at) + SOFT_HU);
}

// Regions → bits of one bone; its metal is counted.
static void select_bone(const struct kf_work *work, const struct kf_volume *v, const uint8_t *labels, int bone,
                        struct kf_bits *bits)
{
    const int64_t *dim = v->grid.dim;
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 4)
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++) {
                int64_t n = i + dim[0] * (j + dim[1] * k);
                if ((labels[n] & ~KF_LEG_INNER) == bone && is_bone(v, (const int64_t[3]){i, j, k}, n, labels[n]))
                    kf_bits_put(bits, i, j, k);
            }
}

static enum kf_kernel_status finish_bone(const struct kf_work *work, const struct kf_grid *g, struct kf_bits *bits)
{
    double voxel_ml = g->spacing_mm[0] * g->spacing_mm[1] * g->spacing_mm[2] / 1000;
    enum kf_kernel_status status = kf_bits_close(work, bits, g->spacing_mm, CLOSE_MM);
    if (!status)
        status = kf_bits_fill_holes(work, bits, KF_NEIGHBOURS_6, 0, NULL);
    if (!status)
        status = kf_bits_drop_islands(work, bits, KF_NEIGHBOURS_6, (int64_t)(0.5 / voxel_ml), NULL);
    return status;
}

static void count_bone(const struct kf_volume *v, const struct kf_bits *bits, int64_t *voxels, int64_t *metal)
{
    for (int64_t k = 0, n = 0; k < bits->dim[2]; k++)
        for (int64_t j = 0; j < bits->dim[1]; j++)
            for (int64_t i = 0; i < bits->dim[0]; i++, n++)
                if (kf_bits_get(bits, i, j, k)) {
                    ++*voxels;
                    *metal += kf_value_hu(v, n) >= METAL_HU;
                }
}

enum kf_kernel_status kf_leg_border(const struct kf_work *work, const struct kf_volume *image, uint8_t *labels,
                                    struct kf_legs *legs)
{
    struct kf_bits bits[2 * KF_LEG_MOST] = {{{0}, 0, NULL}};
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int n = 0; n < 2 * legs->count && !status; n++) {
        status = kf_bits_alloc(work, image->grid.dim, &bits[n]);
        if (!status) {
            select_bone(work, image, labels, 1 + n, &bits[n]);
            status = finish_bone(work, &image->grid, &bits[n]);
        }
    }
    if (!status)
        memset(labels, 0, (size_t)kf_grid_voxels(&image->grid));
    for (int n = 0; n < 2 * legs->count && !status; n++) {
        struct kf_leg *leg = &legs->leg[n / 2];
        int64_t metal = 0;
        kf_bits_paint(work, &bits[n], (uint8_t)(1 + n), labels);
        count_bone(image, &bits[n], &leg->voxels[n % 2], &metal);
        leg->metal += (double)metal;
    }
    for (int n = 0; n < legs->count && !status; n++) {
        int64_t both = legs->leg[n].voxels[0] + legs->leg[n].voxels[1];
        legs->leg[n].metal /= both ? (double)both : 1;
    }
    for (int n = 0; n < 2 * legs->count; n++)
        kf_bits_release(work, &bits[n]);
    return status;
}
