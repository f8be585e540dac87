// Where sacrum and ilium part: at the double shell of their joint. See spine.h.
#include "workers/jobs/segment/spine.h"

#include <stddef.h>

#define JOINT_MM  2.0  // half of the widest joint that counts as one shell; holes up to half as wide are closed
#define ILIAC_MM3 2000 // of marrow: that of a transverse process or of a piece of an arch has less
#define MARKED    0.1  // of an ilium's marrow, which comes a little nearer to the midline than markers reach

enum kf_kernel_status kf_spine_find_shells(const struct kf_work *work, const struct kf_volume *volume, double bone_hu,
                                           struct kf_bits *shells)
{
    enum kf_kernel_status status = kf_bits_alloc(work, volume->grid.dim, shells);
    if (!status)
        status = kf_bits_threshold(work, volume, bone_hu, 1e9, shells);
    if (!status)
        status = kf_bits_close(work, shells, volume->grid.spacing_mm, JOINT_MM);
    return status;
}

static int is_beside(const struct kf_spine *spine, const struct kf_grid *g, const struct kf_component *piece)
{
    double ijk[3], p[3], suv[3];
    for (int a = 0; a < 3; a++)
        ijk[a] = (double)piece->sum[a] / (double)piece->voxels;
    kf_grid_to_lps(g, ijk, p);
    kf_spine_coordinates(spine, p, suv);
    return kf_spine_below(&spine->disc[spine->discs - 1], p) > 0 && kf_spine_beside_sacrum(spine, p, suv);
}

// Voxels of each piece that bear a marker of the column.
static void count_markers(const struct kf_components *c, const struct kf_grid *g, const uint8_t *labels,
                          int64_t *marked)
{
    for (int64_t n = 0; n < c->count; n++)
        marked[n] = 0;
    for (int64_t row = 0; row < g->dim[1] * g->dim[2]; row++)
        for (int64_t run = c->row_first[row]; run < c->row_first[row + 1]; run++)
            for (int64_t i = c->start[run]; i < c->end[run]; i++) {
                uint8_t label = labels[row * g->dim[0] + i];
                marked[c->component[run]] += label != 0 && label != KF_SPINE_REST;
            }
}

enum kf_kernel_status kf_spine_mark_ilia(const struct kf_work *work, const struct kf_grid *g,
                                         const struct kf_spine *spine, const struct kf_bits *bone,
                                         const struct kf_bits *shells, uint8_t *labels)
{
    struct kf_bits marrow = {0};
    struct kf_components c = {0};
    uint8_t *keep = NULL;
    int64_t *marked = NULL;
    double voxel_mm3 = g->spacing_mm[0] * g->spacing_mm[1] * g->spacing_mm[2];
    enum kf_kernel_status status = kf_bits_alloc(work, g->dim, &marrow);
    if (!status) {
        kf_bits_combine(work, &marrow, KF_BITS_COPY, bone);
        kf_bits_combine(work, &marrow, KF_BITS_AND_NOT, shells);
        status = kf_components_find(work, &marrow, KF_NEIGHBOURS_6, &c);
    }
    if (!status) {
        keep = kf_work_take(work, c.count);
        marked = kf_work_take(work, c.count * (int64_t)sizeof *marked);
        status = keep && marked ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    }
    if (!status) {
        count_markers(&c, g, labels, marked);
        for (int64_t n = 0; n < c.count; n++)
            keep[n] = (double)c.table[n].voxels * voxel_mm3 >= ILIAC_MM3 &&
                      (double)marked[n] < MARKED * (double)c.table[n].voxels && is_beside(spine, g, &c.table[n]);
        kf_components_draw(work, &c, keep, &marrow);
        kf_bits_paint(work, &marrow, KF_SPINE_REST, labels);
    }
    kf_work_give(work, marked);
    kf_work_give(work, keep);
    kf_components_release(work, &c);
    kf_bits_release(work, &marrow);
    return status;
}
