#include "workers/kernels/overlap.h"
#include "workers/kernels/kdtree.h"

#include <math.h>
#include <string.h>

#define BLOCK        1024 // points that a thread asks for in a row
#define EXTENTS_PART 0.1  // of the time that passing over both maps takes

struct extent {
    int64_t voxels[2], common;
    int64_t box[2][3]; // of both maps' voxels, [least, greatest]
};

static void widen(struct extent *e, int64_t i, int64_t j, int64_t k)
{
    const int64_t at[3] = {i, j, k};
    int first = e->voxels[0] + e->voxels[1] == 0;
    for (int a = 0; a < 3; a++) {
        e->box[0][a] = first || at[a] < e->box[0][a] ? at[a] : e->box[0][a];
        e->box[1][a] = first || at[a] > e->box[1][a] ? at[a] : e->box[1][a];
    }
}

static enum kf_kernel_status find_extents(const struct kf_work *work, const struct kf_volume *a,
                                          const struct kf_volume *b, struct extent extents[256])
{
    const int64_t *dim = a->grid.dim;
    const uint8_t *pa = a->data, *pb = b->data;
    memset(extents, 0, 256 * sizeof *extents);
    for (int64_t k = 0; k < dim[2]; k++) {
        if (kf_work_step(work, EXTENTS_PART * (double)k / (double)dim[2]))
            return KF_KERNEL_CANCELLED;
        for (int64_t j = 0; j < dim[1]; j++, pa += dim[0], pb += dim[0])
            for (int64_t i = 0; i < dim[0]; i++) {
                if (!(pa[i] | pb[i]))
                    continue;
                const uint8_t label[2] = {pa[i], pb[i]};
                for (int s = 0; s < 2; s++)
                    if (label[s]) {
                        widen(&extents[label[s]], i, j, k);
                        extents[label[s]].voxels[s]++;
                    }
                if (pa[i] == pb[i])
                    extents[pa[i]].common++;
            }
    }
    return KF_KERNEL_OK;
}

static int on_border(const struct kf_volume *v, const int64_t p[3], int64_t at, uint8_t label)
{
    const int64_t *dim = v->grid.dim;
    const int64_t stride[3] = {1, dim[0], dim[0] * dim[1]};
    const uint8_t *q = (const uint8_t *)v->data + at;
    for (int a = 0; a < 3; a++)
        if (p[a] == 0 || p[a] == dim[a] - 1 || q[-stride[a]] != label || q[stride[a]] != label)
            return 1;
    return 0;
}

// The border voxels of a label in mm; counts only when `xyz` is NULL. -1 when cancelled.
static int64_t border_points(const struct kf_work *work, const struct kf_volume *v, const double spacing_mm[3],
                             const struct extent *e, uint8_t label, float *xyz)
{
    const int64_t *dim = v->grid.dim;
    int64_t n = 0, p[3];
    for (p[2] = e->box[0][2]; p[2] <= e->box[1][2]; p[2]++) {
        if (kf_work_ask(work, 0))
            return -1;
        for (p[1] = e->box[0][1]; p[1] <= e->box[1][1]; p[1]++)
            for (p[0] = e->box[0][0]; p[0] <= e->box[1][0]; p[0]++) {
                int64_t at = p[0] + dim[0] * (p[1] + dim[1] * p[2]);
                if (((const uint8_t *)v->data)[at] != label || !on_border(v, p, at, label))
                    continue;
                for (int a = 0; a < 3 && xyz; a++)
                    xyz[3 * n + a] = (float)((double)p[a] * spacing_mm[a]);
                n++;
            }
    }
    return n;
}

struct borders {
    float *xyz[2], *distance;
    int64_t count[2];
};

// Distances from every point of side `from` to the nearest of the other: sum, 95th percentile, greatest.
static enum kf_kernel_status measure(const struct kf_work *work, struct borders *b, int from, double *sum, double *p95,
                                     double *most)
{
    struct kf_kdtree tree;
    int64_t n = b->count[from];
    enum kf_kernel_status status = kf_kdtree_make(work, b->xyz[!from], b->count[!from], &tree);
    if (status)
        return status;
    struct kf_loop loop = kf_loop_make(work, (n + BLOCK - 1) / BLOCK, 0.5 * from, 0.5 * (from + 1));
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int64_t block = 0; block < loop.count; block++)
        for (int64_t i = block * BLOCK; i < (block + 1) * BLOCK && i < n; i++) {
            float square;
            if (i == block * BLOCK && kf_loop_stop(&loop))
                break;
            kf_kdtree_nearest(&tree, b->xyz[from] + 3 * i, &square);
            b->distance[i] = (float)sqrt((double)square);
        }
    kf_kdtree_release(work, &tree);
    *sum = *most = 0;
    for (int64_t i = 0; i < n && !loop.stop; i++) {
        *sum += (double)b->distance[i];
        *most = (double)b->distance[i] > *most ? (double)b->distance[i] : *most;
    }
    *p95 = loop.stop ? 0 : (double)kf_select_f32(b->distance, n, (95 * n + 99) / 100 - 1);
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

static enum kf_kernel_status take_borders(const struct kf_work *work, const struct kf_volume *const v[2],
                                          const struct extent *e, uint8_t label, struct borders *b)
{
    *b = (struct borders){0};
    for (int s = 0; s < 2; s++) {
        b->count[s] = border_points(work, v[s], v[0]->grid.spacing_mm, e, label, NULL);
        if (b->count[s] < 0)
            return KF_KERNEL_CANCELLED;
        b->xyz[s] = kf_work_take(work, 12 * b->count[s]);
        if (!b->xyz[s])
            return KF_KERNEL_NOMEM;
        if (border_points(work, v[s], v[0]->grid.spacing_mm, e, label, b->xyz[s]) < 0)
            return KF_KERNEL_CANCELLED;
    }
    b->distance = kf_work_take(work, 4 * (b->count[0] > b->count[1] ? b->count[0] : b->count[1]));
    return b->distance ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
}

static enum kf_kernel_status score(const struct kf_work *work, const struct kf_volume *const v[2],
                                   const struct extent *e, struct kf_label_score *out)
{
    for (int s = 0; s < 2; s++)
        out->voxels[s] = e->voxels[s];
    out->common = e->common;
    out->dice = 2 * (double)e->common / (double)(e->voxels[0] + e->voxels[1]);
    out->assd_mm = out->hd95_mm = out->hd_mm = -1;
    if (!e->voxels[0] || !e->voxels[1])
        return KF_KERNEL_OK;
    struct borders b;
    double sum[2], p95[2], most[2];
    enum kf_kernel_status status = take_borders(work, v, e, (uint8_t)out->label, &b);
    for (int s = 0; s < 2 && !status; s++)
        status = measure(work, &b, s, &sum[s], &p95[s], &most[s]);
    if (!status) {
        out->assd_mm = (sum[0] + sum[1]) / (double)(b.count[0] + b.count[1]);
        out->hd95_mm = p95[0] > p95[1] ? p95[0] : p95[1];
        out->hd_mm = most[0] > most[1] ? most[0] : most[1];
    }
    kf_work_give(work, b.distance);
    kf_work_give(work, b.xyz[1]);
    kf_work_give(work, b.xyz[0]);
    return status;
}

enum kf_kernel_status kf_labels_compare(const struct kf_work *work, const struct kf_volume *a,
                                        const struct kf_volume *b, struct kf_label_score *scores, int *count)
{
    const struct kf_volume *const v[2] = {a, b};
    *count = 0;
    if (a->type != KF_VOXEL_UINT8 || b->type != KF_VOXEL_UINT8 ||
        memcmp(a->grid.dim, b->grid.dim, sizeof a->grid.dim) != 0)
        return KF_KERNEL_INVALID;
    struct extent extents[256];
    enum kf_kernel_status status = find_extents(work, a, b, extents);
    for (int label = 1; label < 256 && !status; label++) {
        const struct extent *e = &extents[label];
        if (!(e->voxels[0] + e->voxels[1]))
            continue;
        double from = EXTENTS_PART + (1 - EXTENTS_PART) * (label - 1) / 255;
        struct kf_work_part part;
        const struct kf_work *share = kf_work_part(&part, work, from, from + (1 - EXTENTS_PART) / 255);
        scores[*count].label = label;
        status = kf_work_step(share, 0) ? KF_KERNEL_CANCELLED : score(share, v, e, &scores[*count]);
        *count += !status;
    }
    return status;
}
