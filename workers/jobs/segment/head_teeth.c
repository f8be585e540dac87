// Teeth by their density: enamel and metal are seeds, dentine that hangs on to them and lies near follows, below the
// crown only deeper than the cortical plate, which is as dense. The jaw that a voxel is in says upper or lower. Roots
// are found only in part.
#include "workers/jobs/segment/cortex.h"
#include "workers/jobs/segment/head.h"
#include "workers/kernels/distance.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define ENAMEL_HU  2000
#define DENTINE_HU 1300
#define CROWN_HU   1200
#define FLANK_HU   950 // half way from dentine to the ligament around it
#define FALL_HU    100 // further out the value falls by more, unless bone begins there
#define CROWN_MM   3.0
#define ROOT_MM    13.0
#define PLATE_MM   2.6 // of cortical bone around roots
#define FOOT_MM    0.5
#define FOOT_REACH 9.0
#define ASIDE_MM   1.0 // beside the footprint of its crown, and LEAN more for each mm to the enamel
#define LEAN       0.15
#define EDGE_HU    400 // a fall from tooth to neighbour of so much shows where the tooth ends
#define METAL_HU   2800

static int in_zone(const struct kf_head_cores *c, const double p[3])
{
    return fabs(p[0] - c->centre[0]) < 42 && p[1] < c->low[1] + 62 && p[2] > c->low[2] + 8 && p[2] < c->low[2] + 85;
}

static void keep_zone(const struct kf_grid *g, const struct kf_head_cores *cores, const uint8_t *labels,
                      struct kf_bits *bits)
{
    for (int64_t k = 0, n = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++) {
                if (!kf_bits_get(bits, i, j, k))
                    continue;
                double ijk[3] = {(double)i, (double)j, (double)k}, p[3];
                kf_grid_to_lps(g, ijk, p);
                if ((labels[n] != KF_HEAD_SKULL && labels[n] != KF_HEAD_MANDIBLE) || !in_zone(cores, p))
                    kf_bits_row(bits, j, k)[i / 64] &= ~((uint64_t)1 << (i % 64));
            }
}

// Where the enamel of one jaw lies, seen along the head's axis, and how far from it all else is.
struct footprint {
    struct kf_grid grid; // one slice
    float *far;          // mm, up to FOOT_REACH
};

static int64_t foot_index(const struct footprint *foot, const double p[3])
{
    const struct kf_grid *g = &foot->grid;
    int64_t i = (int64_t)floor((p[0] - g->origin_lps[0]) / FOOT_MM + 0.5),
            j = (int64_t)floor((p[1] - g->origin_lps[1]) / FOOT_MM + 0.5);
    return i < 0 || j < 0 || i >= g->dim[0] || j >= g->dim[1] ? -1 : i + j * g->dim[0];
}

// foot->far is owned: kf_work_give.
static enum kf_kernel_status make_footprint(const struct kf_work *work, const struct kf_grid *g,
                                            const struct kf_head_cores *cores, const uint8_t *labels, uint8_t jaw,
                                            const struct kf_bits *enamel, struct footprint *foot)
{
    foot->grid = (struct kf_grid){.dim = {(int64_t)(110 / FOOT_MM), (int64_t)(120 / FOOT_MM), 1},
                                  .spacing_mm = {FOOT_MM, FOOT_MM, FOOT_MM},
                                  .origin_lps = {cores->centre[0] - 55, cores->low[1] - 40, 0}};
    struct kf_bits bits;
    enum kf_kernel_status status = kf_bits_alloc(work, foot->grid.dim, &bits);
    if (status)
        return status;
    foot->far = kf_work_take(work, kf_grid_voxels(&foot->grid) * (int64_t)sizeof *foot->far);
    for (int64_t k = 0, n = 0; k < g->dim[2] && foot->far; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++) {
                if (labels[n] != jaw || !kf_bits_get(enamel, i, j, k))
                    continue;
                const double ijk[3] = {(double)i, (double)j, (double)k};
                double p[3];
                kf_grid_to_lps(g, ijk, p);
                int64_t at = foot_index(foot, p);
                if (at >= 0)
                    kf_bits_put(&bits, at % foot->grid.dim[0], at / foot->grid.dim[0], 0);
            }
    status = !foot->far ? KF_KERNEL_NOMEM : kf_bits_close(work, &bits, foot->grid.spacing_mm, 2);
    if (!status)
        status = kf_distance(work, &bits, foot->grid.spacing_mm, FOOT_REACH, foot->far);
    kf_bits_release(work, &bits);
    return status;
}

// A root stands below its crown, leaning a little: what lies beside it as seen along the head's axis is bone.
static void relabel(const struct kf_volume *v, const float *far, const struct footprint foot[2],
                    const struct kf_bits *crown, const struct kf_bits *tooth, uint8_t *labels)
{
    const struct kf_grid *g = &v->grid;
    for (int64_t k = 0, n = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++) {
                int is = (far[n] <= CROWN_MM && kf_bits_get(crown, i, j, k)) ||
                         (far[n] <= ROOT_MM && kf_bits_get(tooth, i, j, k));
                if (!is)
                    continue;
                const double ijk[3] = {(double)i, (double)j, (double)k};
                double p[3];
                kf_grid_to_lps(g, ijk, p);
                const struct footprint *below = &foot[labels[n] != KF_HEAD_SKULL];
                int64_t at = foot_index(below, p);
                if (at >= 0 && (double)below->far[at] <= ASIDE_MM + LEAN * fmax((double)far[n], 0))
                    labels[n] = labels[n] == KF_HEAD_SKULL ? KF_HEAD_UPPER_TEETH : KF_HEAD_LOWER_TEETH;
            }
}

// Takes the outer PLATE_MM of both jaws away from `tooth`, but not near enamel.
static enum kf_kernel_status strip_plate(const struct kf_work *work, const struct kf_grid *g, const uint8_t *labels,
                                         const struct kf_bits *enamel, struct kf_bits *tooth)
{
    struct kf_bits jaw = {0}, crown = {0};
    enum kf_kernel_status status = kf_bits_alloc(work, g->dim, &jaw);
    if (!status)
        status = kf_bits_alloc(work, g->dim, &crown);
    for (int64_t k = 0, n = 0; k < g->dim[2] && !status; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, n++)
                if (labels[n] == KF_HEAD_SKULL || labels[n] == KF_HEAD_MANDIBLE)
                    kf_bits_put(&jaw, i, j, k);
    double finest = fmin(g->spacing_mm[0], fmin(g->spacing_mm[1], g->spacing_mm[2]));
    if (!status)
        status = kf_bits_close(work, &jaw, g->spacing_mm, fmin(2.5, 6 * finest));
    if (!status)
        status = kf_bits_erode(work, &jaw, g->spacing_mm, fmin(PLATE_MM, 6 * finest));
    if (!status) {
        kf_bits_combine(work, &crown, KF_BITS_COPY, enamel);
        status = kf_bits_dilate(work, &crown, g->spacing_mm, fmin(CROWN_MM, 6 * finest));
    }
    if (!status) {
        kf_bits_combine(work, &jaw, KF_BITS_OR, &crown);
        kf_bits_combine(work, tooth, KF_BITS_AND, &jaw);
    }
    kf_bits_release(work, &crown);
    kf_bits_release(work, &jaw);
    return status;
}

// The blurred outer half of an upper root: what lies beside its dentine, above FLANK_HU, on a slope that goes on
// falling. Where it does not the tooth ends at bone, and stays as it is; so do lower teeth, whose bone is as dense as
// dentine. One layer; `was` is a copy of labels.
static void grow_flanks(const struct kf_volume *v, const uint8_t *was, uint8_t *labels)
{
    const int64_t *dim = v->grid.dim, step[3] = {1, dim[0], dim[0] * dim[1]};
    for (int64_t k = 1, n; k + 1 < dim[2]; k++)
        for (int64_t j = 1; j + 1 < dim[1]; j++)
            for (int64_t i = 1; i + 1 < dim[0]; i++) {
                n = i + dim[0] * (j + dim[1] * k);
                double here = kf_value_hu(v, n);
                if (was[n] != KF_HEAD_SKULL || here < FLANK_HU)
                    continue;
                for (int side = 0; side < 6 && labels[n] == KF_HEAD_SKULL; side++) {
                    int64_t in = side % 2 ? step[side / 2] : -step[side / 2];
                    double inside = kf_value_hu(v, n + in);
                    if (was[n + in] == KF_HEAD_UPPER_TEETH && inside > here && inside < ENAMEL_HU &&
                        kf_value_hu(v, n - in) < here - FALL_HU)
                        labels[n] = KF_HEAD_UPPER_TEETH;
                }
            }
}

enum kf_kernel_status kf_head_teeth(const struct kf_work *work, const struct kf_volume *volume,
                                    const struct kf_head_cores *cores, uint8_t *labels)
{
    const struct kf_grid *g = &volume->grid;
    struct kf_bits enamel = {0}, crown = {0}, tooth = {0};
    struct footprint foot[2] = {{.far = NULL}, {.far = NULL}};
    float *far = kf_work_take(work, kf_grid_voxels(g) * (int64_t)sizeof *far);
    enum kf_kernel_status status = far ? kf_bits_alloc(work, g->dim, &enamel) : KF_KERNEL_NOMEM;
    if (!status)
        status = kf_bits_alloc(work, g->dim, &crown);
    if (!status)
        status = kf_bits_alloc(work, g->dim, &tooth);
    if (!status)
        status = kf_bits_threshold(work, volume, ENAMEL_HU, 1e9, &enamel);
    if (!status)
        status = kf_bits_threshold(work, volume, CROWN_HU, 1e9, &crown);
    if (!status)
        status = kf_bits_threshold(work, volume, DENTINE_HU, 1e9, &tooth);
    if (!status) {
        keep_zone(g, cores, labels, &enamel);
        keep_zone(g, cores, labels, &crown);
        keep_zone(g, cores, labels, &tooth);
        status = kf_bits_drop_islands(work, &enamel, KF_NEIGHBOURS_26,
                                      (int64_t)(20 / (g->spacing_mm[0] * g->spacing_mm[1] * g->spacing_mm[2])), NULL);
    }
    if (!status)
        status = strip_plate(work, g, labels, &enamel, &tooth);
    if (!status)
        status = kf_bits_hysteresis(work, &tooth, &enamel);
    for (int jaw = 0; jaw < 2 && !status; jaw++)
        status = make_footprint(work, g, cores, labels, jaw ? KF_HEAD_MANDIBLE : KF_HEAD_SKULL, &enamel, &foot[jaw]);
    if (!status)
        status = kf_distance(work, &enamel, g->spacing_mm, ROOT_MM + 1, far);
    if (!status)
        relabel(volume, far, foot, &crown, &tooth, labels);
    uint8_t *was = status ? NULL : kf_work_take(work, kf_grid_voxels(g));
    if (!status && !was)
        status = KF_KERNEL_NOMEM;
    if (!status) {
        memcpy(was, labels, (size_t)kf_grid_voxels(g));
        grow_flanks(volume, was, labels);
    }
    kf_work_give(work, was);
    kf_bits_release(work, &tooth);
    kf_bits_release(work, &crown);
    kf_bits_release(work, &enamel);
    for (int jaw = 0; jaw < 2; jaw++)
        kf_work_give(work, foot[jaw].far);
    kf_work_give(work, far);
    return status;
}

// The least value of the two voxels beyond voxel n in the direction of `step`, `most` of which are in the field.
static double beyond(const struct kf_volume *v, int64_t n, int64_t step, int64_t most)
{
    double least = kf_value_hu(v, n + step);
    return most > 1 ? fmin(least, kf_value_hu(v, n + 2 * step)) : least;
}

void kf_head_teeth_evidence(const struct kf_volume *v, const uint8_t *labels, uint8_t label,
                            struct kf_head_teeth_seen *seen)
{
    const int64_t *dim = v->grid.dim, step[3] = {1, dim[0], dim[0] * dim[1]};
    const double *s = v->grid.spacing_mm, area[3] = {s[1] * s[2], s[0] * s[2], s[0] * s[1]};
    double border = 0, edge = 0, voxels = 0, metal = 0, enamel = 0;
    for (int64_t k = 0, n = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++, n++) {
                if (labels[n] != label)
                    continue;
                double value = kf_value_hu(v, n);
                const int64_t at[3] = {i, j, k};
                voxels++;
                metal += value >= METAL_HU;
                enamel += value >= ENAMEL_HU;
                for (int side = 0; side < 6; side++) {
                    int a = side / 2;
                    int64_t left = side % 2 ? at[a] : dim[a] - 1 - at[a], to = side % 2 ? -step[a] : step[a];
                    if (left == 0 || labels[n + to] == label)
                        continue;
                    border += area[a];
                    edge += value - beyond(v, n, to, left) >= EDGE_HU ? area[a] : 0;
                }
            }
    seen->edge = border > 0 ? edge / border : 0;
    seen->metal = voxels > 0 ? metal / voxels : 0;
    seen->enamel_ml = enamel * s[0] * s[1] * s[2] / 1000;
}
