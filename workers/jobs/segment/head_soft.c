// The body and the air in it.
#include "workers/jobs/segment/coarse.h"
#include "workers/jobs/segment/head.h"

#include <math.h>
#include <stddef.h>

static enum kf_kernel_status keep_largest(const struct kf_work *work, struct kf_bits *bits)
{
    struct kf_components c;
    enum kf_kernel_status status = kf_components_find(work, bits, KF_NEIGHBOURS_6, &c);
    if (status)
        return status;
    uint8_t *keep = kf_work_take(work, c.count);
    int64_t best = 0;
    for (int64_t n = 0; keep && n < c.count; n++) {
        keep[n] = 0;
        best = c.table[n].voxels > c.table[best].voxels ? n : best;
    }
    if (keep && c.count) {
        keep[best] = 1;
        kf_components_draw(work, &c, keep, bits);
    }
    kf_components_release(work, &c);
    kf_work_give(work, keep);
    return keep ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
}

static enum kf_kernel_status body_of(const struct kf_work *work, const struct kf_volume *v, const void *of,
                                     struct kf_bits *body)
{
    (void)of;
    const double *spacing = v->grid.spacing_mm;
    double coarsest = fmax(spacing[0], fmax(spacing[1], spacing[2]));
    enum kf_kernel_status status = kf_bits_threshold(work, v, -300, 1e9, body);
    if (!status)
        status = kf_bits_erode(work, body, spacing, 3);
    if (!status)
        status = keep_largest(work, body);
    if (!status)
        status = kf_bits_dilate(work, body, spacing, 3 + coarsest);
    if (!status) // nostrils and lips
        status = kf_bits_close(work, body, spacing, 5);
    if (!status)
        status = kf_bits_fill_holes(work, body, KF_NEIGHBOURS_4, 0, NULL);
    return status;
}

enum kf_kernel_status kf_head_body(const struct kf_work *work, const struct kf_volume *volume, struct kf_bits *body)
{
    return kf_find_coarsely(work, volume, body_of, NULL, body);
}

// Where the body is cut by the volume's border its closing reaches out into the air: flat pieces at the border go.
static enum kf_kernel_status drop_flat(const struct kf_work *work, const double spacing_mm[3], struct kf_bits *air)
{
    struct kf_components c;
    enum kf_kernel_status status = kf_components_find(work, air, KF_NEIGHBOURS_6, &c);
    if (status)
        return status;
    uint8_t *keep = kf_work_take(work, c.count);
    for (int64_t n = 0; keep && n < c.count; n++) {
        keep[n] = 1;
        for (int a = 0; a < 3; a++)
            if (c.table[n].border >> (2 * a) & 3 && (c.table[n].box[1][a] - c.table[n].box[0][a]) * spacing_mm[a] < 10)
                keep[n] = 0;
    }
    if (keep)
        kf_components_draw(work, &c, keep, air);
    kf_components_release(work, &c);
    kf_work_give(work, keep);
    return keep ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
}

enum kf_kernel_status kf_head_airway(const struct kf_work *work, const struct kf_volume *volume,
                                     const struct kf_bits *body, struct kf_bits *airway)
{
    const double *spacing = volume->grid.spacing_mm;
    double voxel_ml = spacing[0] * spacing[1] * spacing[2] / 1000;
    struct kf_bits inside;
    enum kf_kernel_status status = kf_bits_alloc(work, body->dim, &inside);
    if (status)
        return status;
    kf_bits_combine(work, &inside, KF_BITS_COPY, body);
    double finest = fmin(spacing[0], fmin(spacing[1], spacing[2]));
    status = kf_bits_erode(work, &inside, spacing, fmin(3, 6 * finest));
    if (!status)
        status = kf_bits_threshold(work, volume, -2000, -400, airway);
    if (!status) {
        kf_bits_combine(work, airway, KF_BITS_AND, &inside);
        status = kf_bits_drop_islands(work, airway, KF_NEIGHBOURS_6, (int64_t)ceil(1 / voxel_ml), NULL);
        status = status ? status : drop_flat(work, spacing, airway);
    }
    kf_bits_release(work, &inside);
    return status;
}
