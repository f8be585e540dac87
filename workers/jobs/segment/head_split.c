// Skull, mandible and spine compete for the bone: a watershed from their cores over a relief that is low where bone is
// dense and thick, so that they meet in joint spaces (low values) and at contacts of teeth (thin necks).
#include "workers/jobs/segment/coarse.h"
#include "workers/jobs/segment/cortex.h"
#include "workers/jobs/segment/head.h"
#include "workers/kernels/distance.h"
#include "workers/kernels/resample.h"
#include "workers/kernels/watershed.h"

#include <math.h>
#include <string.h>

#define SOFT_HU   50.0
#define ASK_EVERY (1 << 20) // voxels

static const uint8_t label_of_part[3] = {KF_HEAD_SKULL, KF_HEAD_MANDIBLE, KF_HEAD_SPINE};

static enum kf_kernel_status paint_cores(const struct kf_work *work, const struct kf_bits *bone,
                                         const struct kf_head_cores *cores, uint8_t *labels)
{
    struct kf_bits fine;
    enum kf_kernel_status status = kf_bits_alloc(work, bone->dim, &fine);
    for (int p = 0; p < 3 && !status; p++) {
        status = kf_bits_enlarge(work, &cores->part[p], cores->factor, &fine);
        if (status)
            break;
        kf_bits_combine(work, &fine, KF_BITS_AND, bone);
        kf_bits_paint(work, &fine, label_of_part[p], labels);
    }
    kf_bits_release(work, &fine);
    return status;
}

static enum kf_kernel_status make_relief(const struct kf_work *work, const struct kf_volume *v,
                                         const struct kf_bits *bone, uint8_t *relief)
{
    int64_t count = kf_grid_voxels(&v->grid);
    float *depth = kf_work_take(work, count * (int64_t)sizeof *depth);
    enum kf_kernel_status status = depth ? kf_distance(work, bone, v->grid.spacing_mm, 4.5, depth) : KF_KERNEL_NOMEM;
    for (int64_t n = 0; n < count && !status; n++) {
        relief[n] = kf_bone_relief(kf_value_hu(v, n), depth[n]);
        if (n % ASK_EVERY == 0 && kf_work_step(work, 0))
            status = KF_KERNEL_CANCELLED;
    }
    kf_work_give(work, depth);
    return status;
}

// Bone that no core reaches: above the mandible's middle it is the skull's; hyoid and larynx below stay unlabelled.
static enum kf_kernel_status give_rest(const struct kf_work *work, const struct kf_grid *g, const struct kf_bits *bone,
                                       const struct kf_head_cores *cores, uint8_t *labels)
{
    struct kf_bits rest;
    struct kf_components c = {0};
    enum kf_kernel_status status = kf_bits_alloc(work, bone->dim, &rest);
    if (status)
        return status;
    for (int64_t k = 0, n = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++)
                if (!labels[n] && kf_bits_get(bone, i, j, k))
                    kf_bits_put(&rest, i, j, k);
    status = kf_components_find(work, &rest, KF_NEIGHBOURS_26, &c);
    uint8_t *keep = status ? NULL : kf_work_take(work, c.count);
    if (!status && !keep)
        status = KF_KERNEL_NOMEM;
    for (int64_t n = 0; n < c.count && !status; n++) {
        double at[3], p[3];
        for (int a = 0; a < 3; a++)
            at[a] = (double)c.table[n].sum[a] / (double)c.table[n].voxels;
        kf_grid_to_lps(g, at, p);
        keep[n] = !cores->mandible_found || p[2] > cores->low[2] + 45;
    }
    if (!status) {
        kf_components_draw(work, &c, keep, &rest);
        kf_bits_paint(work, &rest, KF_HEAD_SKULL, labels);
    }
    kf_work_give(work, keep);
    kf_components_release(work, &c);
    kf_bits_release(work, &rest);
    return status;
}

enum kf_kernel_status kf_head_split(const struct kf_work *work, const struct kf_volume *volume,
                                    const struct kf_bits *bone, const struct kf_head_cores *cores, uint8_t *labels)
{
    int64_t count = kf_grid_voxels(&volume->grid);
    struct kf_volume relief = {.grid = volume->grid, .type = KF_VOXEL_UINT8};
    uint8_t *mask = kf_work_take(work, count);
    relief.data = kf_work_take(work, count);
    enum kf_kernel_status status = mask && relief.data ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status)
        status = make_relief(work, volume, bone, relief.data);
    if (!status)
        status = paint_cores(work, bone, cores, labels);
    if (!status) {
        memset(mask, 0, (size_t)count);
        kf_bits_paint(work, bone, 1, mask);
        status = kf_watershed(work, &relief, mask, labels);
    }
    kf_work_give(work, relief.data);
    kf_work_give(work, mask);
    return status ? status : give_rest(work, &volume->grid, bone, cores, labels);
}

// The mandible and its teeth without the blurred rim: a voxel of the mandible counts from half way between soft tissue
// (50 HU) and the densest cortex near it, which is little at a thin condyle, and in any case from `enough`.
static void select_jaw(const struct kf_volume *v, const uint8_t *labels, double enough, struct kf_bits *out)
{
    const struct kf_grid *g = &v->grid;
    for (int64_t k = 0, n = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++) {
                if (labels[n] != KF_HEAD_MANDIBLE && labels[n] != KF_HEAD_LOWER_TEETH)
                    continue;
                double value = kf_value_hu(v, n);
                if (labels[n] == KF_HEAD_LOWER_TEETH || value >= enough ||
                    value >= kf_cortex_near(v, (const int64_t[3]){i, j, k}) / 2 + 25)
                    kf_bits_put(out, i, j, k);
            }
}

// A grid along the frame's axes, slices square to `across`, over the set bits; 0 when there are none.
static int lay_slices(const struct kf_grid *g, const struct kf_bits *bits, int across, struct kf_grid *out)
{
    int64_t box[2][3];
    double low[3], high[3], finest = fmin(g->spacing_mm[0], fmin(g->spacing_mm[1], g->spacing_mm[2]));
    if (!kf_bits_box(bits, box))
        return 0;
    for (int n = 0; n < 8; n++) {
        double ijk[3], p[3];
        for (int a = 0; a < 3; a++)
            ijk[a] = (double)(n >> a & 1 ? box[1][a] : box[0][a] - 1);
        kf_grid_to_lps(g, ijk, p);
        for (int a = 0; a < 3; a++) {
            low[a] = n ? fmin(low[a], p[a]) : p[a];
            high[a] = n ? fmax(high[a], p[a]) : p[a];
        }
    }
    memset(out, 0, sizeof *out);
    for (int a = 0; a < 3; a++) {
        int to = (a + across + 1) % 3;
        out->direction[3 * to + a] = 1;
        out->spacing_mm[a] = finest;
        out->origin_lps[a] = low[a];
        out->dim[a] = (int64_t)ceil((high[to] - low[to]) / finest) + 1;
    }
    return 1;
}

// Fills holes of up to 200 mm² in slices square to one axis of the frame, where cortex closes the marrow in.
static enum kf_kernel_status fill_slices(const struct kf_work *work, const struct kf_grid *g, int across,
                                         struct kf_bits *solid)
{
    const double same[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    struct kf_volume here = {.grid = *g, .type = KF_VOXEL_UINT8}, turned = {.type = KF_VOXEL_UINT8};
    struct kf_bits bits = {0};
    if (!lay_slices(g, solid, across, &turned.grid))
        return KF_KERNEL_OK;
    enum kf_kernel_status status = kf_own_grid_check(&turned.grid);
    if (status)
        return status;
    uint8_t *mask = kf_work_take(work, kf_grid_voxels(g)), *filled = kf_work_take(work, kf_grid_voxels(&turned.grid));
    here.data = mask;
    turned.data = filled;
    status = mask && filled ? kf_bits_alloc(work, turned.grid.dim, &bits) : KF_KERNEL_NOMEM;
    if (!status) {
        memset(mask, 0, (size_t)kf_grid_voxels(g));
        kf_bits_paint(work, solid, 1, mask);
        status = kf_resample(work, &here, same, KF_RESAMPLE_NEAREST, 0, &turned);
    }
    double area = turned.grid.spacing_mm[0] * turned.grid.spacing_mm[1];
    if (!status)
        status = kf_bits_threshold(work, &turned, 1, 1, &bits);
    if (!status)
        status = kf_bits_fill_holes(work, &bits, KF_NEIGHBOURS_4, (int64_t)(200 / area), NULL);
    if (!status) {
        kf_bits_paint(work, &bits, 1, filled);
        status = kf_resample(work, &turned, same, KF_RESAMPLE_NEAREST, 0, &here);
    }
    for (int64_t k = 0, n = 0; k < g->dim[2] && !status; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++)
                if (mask[n])
                    kf_bits_put(solid, i, j, k);
    kf_bits_release(work, &bits);
    kf_work_give(work, mask);
    kf_work_give(work, filled);
    return status;
}

enum kf_kernel_status kf_head_jaw_trim(const struct kf_work *work, const struct kf_volume *volume,
                                       const struct kf_head_settings *s, uint8_t *labels)
{
    const double *spacing = volume->grid.spacing_mm;
    double finest = fmin(spacing[0], fmin(spacing[1], spacing[2]));
    struct kf_bits jaw = {0}, solid = {0};
    enum kf_kernel_status status = kf_bits_alloc(work, volume->grid.dim, &jaw);
    if (!status)
        status = kf_bits_alloc(work, volume->grid.dim, &solid);
    if (!status) {
        select_jaw(volume, labels, s->jaw_hu, &jaw);
        double voxel_ml = spacing[0] * spacing[1] * spacing[2] / 1000; // wires and tubes that hung on by the rim
        status = kf_bits_drop_islands(work, &jaw, KF_NEIGHBOURS_6, (int64_t)(0.5 / voxel_ml), NULL);
    }
    if (!status) {
        kf_bits_combine(work, &solid, KF_BITS_COPY, &jaw);
        status = kf_bits_close(work, &solid, spacing, fmin(2.5, 6 * finest));
    }
    for (int across = 0; across < 3 && !status; across++) // the marrow opens into sockets and foramina
        status = fill_slices(work, &volume->grid, across, &solid);
    if (!status)
        status = kf_bits_fill_holes(work, &solid, KF_NEIGHBOURS_6, 0, NULL);
    if (!status)
        status = kf_bits_erode(work, &solid, spacing, fmin(1.3, 6 * finest));
    if (!status) {
        kf_bits_combine(work, &solid, KF_BITS_OR, &jaw);
        const struct kf_grid *g = &volume->grid;
        for (int64_t k = 0, n = 0; k < g->dim[2]; k++)
            for (int64_t j = 0; j < g->dim[1]; j++)
                for (int64_t i = 0; i < g->dim[0]; i++, n++)
                    if (labels[n] == KF_HEAD_MANDIBLE || labels[n] == 0)
                        labels[n] = kf_bits_get(&solid, i, j, k) ? KF_HEAD_MANDIBLE : 0;
    }
    kf_bits_release(work, &jaw);
    kf_bits_release(work, &solid);
    return status;
}

// 1: on some axis the voxel borders on soft tissue or air, bone of its own label lies behind it, and it is less than
// half way up from what lies outside to the denser of the next two voxels inside. A wall one voxel thick has no bone
// behind it.
static int is_rim(const struct kf_volume *v, const uint8_t *labels, const int64_t at[3], int64_t n)
{
    const int64_t *dim = v->grid.dim, step[3] = {1, dim[0], dim[0] * dim[1]};
    double value = kf_value_hu(v, n);
    for (int side = 0; side < 6; side++) {
        int a = side / 2;
        int64_t in = side % 2 ? step[a] : -step[a], deep = side % 2 ? dim[a] - 1 - at[a] : at[a];
        int64_t room = dim[a] - 1 - deep; // voxels on the outer side
        if (at[a] == 0 || at[a] == dim[a] - 1 || labels[n - in] != 0 || labels[n + in] != labels[n])
            continue;
        double inside = kf_value_hu(v, n + in);
        if (deep > 1 && labels[n + 2 * in] == labels[n])
            inside = fmax(inside, kf_value_hu(v, n + 2 * in));
        double outside = fmin(kf_value_hu(v, n - in), SOFT_HU);
        if (room > 1)
            outside = fmin(outside, kf_value_hu(v, n - 2 * in));
        if (value < (inside + outside) / 2)
            return 1;
    }
    return 0;
}

enum kf_kernel_status kf_head_rim_trim(const struct kf_work *work, const struct kf_volume *volume, uint8_t *labels)
{
    const int64_t *dim = volume->grid.dim;
    int64_t count = kf_grid_voxels(&volume->grid);
    uint8_t *before = kf_work_take(work, count);
    if (!before)
        return KF_KERNEL_NOMEM;
    memcpy(before, labels, (size_t)count);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++) {
                int64_t n = i + dim[0] * (j + dim[1] * k);
                if ((before[n] == KF_HEAD_SKULL || before[n] == KF_HEAD_SPINE) &&
                    is_rim(volume, before, (const int64_t[3]){i, j, k}, n))
                    labels[n] = 0;
            }
    kf_work_give(work, before);
    return KF_KERNEL_OK;
}
