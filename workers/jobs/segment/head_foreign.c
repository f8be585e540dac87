// What no bone can be: breathing tubes and wires in mouth and throat, which are as dense as bone and touch it.
#include "workers/jobs/segment/head.h"
#include "workers/kernels/distance.h"

#include <math.h>
#include <stddef.h>

#define TOOTH_MM  8.0  // the alveolar process is this near to its teeth
#define MOUTH_MM  30.0 // half of the width in which a tube lies
#define THROAT_MM 95.0 // from the chin's front; the skull's base is farther back or higher than the teeth
#define CHIN_MM   38.0 // depth of the jaw in the middle
#define MIDDLE_MM 18.0 // half the free width behind the chin, which grows by WIDEN per mm
#define WIDEN     0.35
#define CRUMB_ML  1.0
#define HELD      0.25 // share of a crumb beside teeth from which on it is theirs
#define LIPS_MM   10.0 // the jaw's bone comes no farther in front of its core

// Height of the upper teeth's centre in the frame; 0 when there are none.
static int upper_teeth(const struct kf_grid *g, const uint8_t *labels, struct kf_bits *teeth, double *height_mm)
{
    double sum = 0, count = 0;
    for (int64_t k = 0, n = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++) {
                if (labels[n] != KF_HEAD_UPPER_TEETH)
                    continue;
                double ijk[3] = {(double)i, (double)j, (double)k}, p[3];
                kf_grid_to_lps(g, ijk, p);
                kf_bits_put(teeth, i, j, k);
                sum += p[2];
                count++;
            }
    *height_mm = count > 0 ? sum / count : 0;
    return count > 0;
}

static int beside_tooth(const struct kf_grid *g, const uint8_t *labels, int64_t i, int64_t j, int64_t k)
{
    const int64_t *d = g->dim, n = i + d[0] * (j + d[1] * k), row = d[0], slice = d[0] * d[1];
    return (i > 0 && labels[n - 1] == KF_HEAD_LOWER_TEETH) || (i + 1 < d[0] && labels[n + 1] == KF_HEAD_LOWER_TEETH) ||
           (j > 0 && labels[n - row] == KF_HEAD_LOWER_TEETH) ||
           (j + 1 < d[1] && labels[n + row] == KF_HEAD_LOWER_TEETH) ||
           (k > 0 && labels[n - slice] == KF_HEAD_LOWER_TEETH) ||
           (k + 1 < d[2] && labels[n + slice] == KF_HEAD_LOWER_TEETH);
}

// Small pieces apart from the mandible that are not held by teeth, as the bone between roots is.
static enum kf_kernel_status drop_crumbs(const struct kf_work *work, const struct kf_grid *g, uint8_t *labels)
{
    double voxel_ml = g->spacing_mm[0] * g->spacing_mm[1] * g->spacing_mm[2] / 1000;
    struct kf_bits jaw = {0};
    struct kf_components c = {0};
    enum kf_kernel_status status = kf_bits_alloc(work, g->dim, &jaw);
    for (int64_t k = 0, n = 0; k < g->dim[2] && !status; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++)
                if (labels[n] == KF_HEAD_MANDIBLE)
                    kf_bits_put(&jaw, i, j, k);
    if (!status)
        status = kf_components_find(work, &jaw, KF_NEIGHBOURS_6, &c);
    int64_t *held = status ? NULL : kf_work_take(work, c.count * (int64_t)sizeof *held);
    if (!status && !held)
        status = KF_KERNEL_NOMEM;
    for (int64_t n = 0; n < c.count && !status; n++)
        held[n] = 0;
    for (int pass = 0; pass < 2 && !status; pass++)
        for (int64_t row = 0; row < g->dim[1] * g->dim[2]; row++)
            for (int64_t r = c.row_first[row]; r < c.row_first[row + 1]; r++)
                for (int64_t i = c.start[r]; i < c.end[r]; i++) {
                    const struct kf_component *t = &c.table[c.component[r]];
                    if ((double)t->voxels * voxel_ml > CRUMB_ML)
                        break;
                    int64_t *count = &held[c.component[r]];
                    if (pass == 0)
                        *count += beside_tooth(g, labels, i, row % g->dim[1], row / g->dim[1]);
                    else if ((double)*count < HELD * (double)t->voxels)
                        labels[i + g->dim[0] * row] = 0;
                }
    kf_work_give(work, held);
    kf_components_release(work, &c);
    kf_bits_release(work, &jaw);
    return status;
}

enum kf_kernel_status kf_head_drop_tubes(const struct kf_work *work, const struct kf_grid *g,
                                         const struct kf_head_cores *cores, uint8_t *labels)
{
    struct kf_bits teeth = {0};
    float *far = kf_work_take(work, kf_grid_voxels(g) * (int64_t)sizeof *far);
    enum kf_kernel_status status = far ? kf_bits_alloc(work, g->dim, &teeth) : KF_KERNEL_NOMEM;
    double height = 0;
    int toothed = !status && upper_teeth(g, labels, &teeth, &height);
    if (!status && toothed)
        status = kf_distance(work, &teeth, g->spacing_mm, TOOTH_MM + 1, far);
    for (int64_t k = 0, n = 0; k < g->dim[2] && !status; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++) {
                if (labels[n] != KF_HEAD_SKULL && labels[n] != KF_HEAD_MANDIBLE)
                    continue;
                double ijk[3] = {(double)i, (double)j, (double)k}, p[3];
                kf_grid_to_lps(g, ijk, p);
                double aside = fabs(p[0] - cores->centre[0]), back = p[1] - cores->low[1];
                int no_skull = labels[n] == KF_HEAD_SKULL && toothed && p[2] < height && aside < MOUTH_MM &&
                               back < THROAT_MM && far[n] > TOOTH_MM;
                int no_jaw = labels[n] == KF_HEAD_MANDIBLE &&
                             ((back > CHIN_MM && aside < MIDDLE_MM + WIDEN * (back - CHIN_MM) && back < THROAT_MM) ||
                              back < -LIPS_MM);
                if (no_skull || no_jaw)
                    labels[n] = 0;
            }
    kf_bits_release(work, &teeth);
    kf_work_give(work, far);
    return status ? status : drop_crumbs(work, g, labels);
}
