#include "workers/kernels/mesh_thickness.h"
#include "workers/kernels/pace.h"

#include <string.h>

#define BLOCK       512 // vertices that one thread takes in a row
#define ROUNDS_MOST 60

// The radius of the ball that touches p from inside (normal n, outward) and reaches to at most `most`.
static double ball_at(struct kf_asker *asker, const struct kf_bvh *bvh, const double p[3], const double n[3],
                      const struct kf_mesh_thickness *how, uint32_t *hint)
{
    double radius = 0.5 * how->most_mm;
    for (int round = 0; round < ROUNDS_MOST && !asker->stop; round++) {
        double centre[3];
        for (int r = 0; r < 3; r++)
            centre[r] = p[r] - radius * n[r];
        struct kf_bvh_nearest found;
        kf_asker_nearest(asker, bvh, centre, *hint, &found);
        *hint = found.triangle;
        double reach = __builtin_sqrt(found.distance2);
        if (reach >= radius * (1 - 1e-6))
            return radius;
        // The ball through p and the point found that still has its centre below p: |p - q|² = 2 r n·(p - q).
        double apart2 = 0, below = 0, turn = 0;
        for (int r = 0; r < 3; r++) {
            double d = p[r] - found.point[r];
            apart2 += d * d;
            below += d * n[r];
        }
        if (!(below > 0))
            return radius;
        double next = apart2 / (2 * below);
        for (int r = 0; r < 3; r++)
            turn += n[r] * (found.point[r] - (p[r] - next * n[r]));
        // cos of the angle at the new centre between p and the point found.
        if (next > 0 && turn > how->own_cosine * next)
            return radius;
        if (next >= radius * (1 - 1e-6))
            return radius;
        radius = next;
    }
    return radius;
}

// thickness[v] is 0 where no triangle has v, and above 0 elsewhere.
static enum kf_kernel_status measure_all(const struct kf_work *work, const struct kf_bvh *bvh, const float *normals,
                                         const struct kf_mesh_thickness *how, float *thickness)
{
    const struct kf_mesh *mesh = bvh->mesh;
    int64_t blocks = (mesh->vertices + BLOCK - 1) / BLOCK;
    struct kf_loop loop = kf_loop_make(work, blocks, 0.2, 1);
    struct kf_pace pace = {&loop, KF_THICKNESS_LOOKS};
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        uint32_t hint = UINT32_MAX;
        struct kf_asker asker = kf_asker_begin(&pace);
        for (int64_t v = b * BLOCK; v < (b + 1) * BLOCK && v < mesh->vertices && !asker.stop; v++) {
            double p[3], n[3];
            for (int r = 0; r < 3; r++) {
                p[r] = (double)mesh->xyz[3 * v + r];
                n[r] = (double)normals[3 * v + r];
            }
            if (thickness[v] > 0)
                thickness[v] = (float)(2 * ball_at(&asker, bvh, p, n, how, &hint));
        }
        kf_asker_finish(&asker);
    }
    return kf_pace_status(&pace);
}

enum kf_kernel_status kf_mesh_thickness(const struct kf_work *work, const struct kf_mesh *mesh,
                                        const struct kf_mesh_thickness *how, float *thickness)
{
    if (!(how->most_mm >= 1e-3) || !(how->own_cosine < 1 && how->own_cosine > -1))
        return KF_KERNEL_INVALID;
    struct kf_bvh bvh;
    struct kf_work_part part;
    enum kf_kernel_status status = kf_bvh_make(kf_work_part(&part, work, 0, 0.1), mesh, &bvh);
    float *normals = status ? NULL : kf_work_take(work, mesh->vertices * 3 * (int64_t)sizeof *normals);
    if (!status)
        status = normals ? kf_mesh_normals(kf_work_part(&part, work, 0.1, 0.2), mesh, normals) : KF_KERNEL_NOMEM;
    if (!status) {
        memset(thickness, 0, (size_t)mesh->vertices * sizeof *thickness);
        for (int64_t c = 0; c < 3 * mesh->triangles && !(status = kf_work_ask(work, c)); c++)
            thickness[mesh->index[c]] = 1; // is used
    }
    if (!status)
        status = measure_all(work, &bvh, normals, how, thickness);
    kf_work_give(work, normals);
    kf_bvh_release(work, &bvh);
    return status;
}
