// Sac, cord, ligament and roots, one after the other. See spine_neural.h.
#include "workers/jobs/segment/spine_neural.h"
#include "workers/kernels/image.h"
#include "workers/kernels/math.h"

#include <math.h>

#define BLUR_MM      0.5
#define BODY_FROM_MM 8
#define BODY_SIDE_MM 34
#define LEAST_VOXELS 200

// Hounsfield units.
const struct kf_spine_look kf_spine_ct_look = {.fat = -85,
                                               .fluid = 12,
                                               .cord = 45,
                                               .root = 45,
                                               .flavum = 82,
                                               .hard = 75,
                                               .fluid_to_cord = 1,
                                               .cord_least = 20,
                                               .apart = 25,
                                               .rim_mm = 1.3,
                                               .not_root = 123};

enum kf_kernel_status kf_spine_blur(const struct kf_work *work, const struct kf_volume *volume, double sigma_mm,
                                    const struct kf_volume *out)
{
    int64_t voxels = kf_grid_voxels(&volume->grid);
    float *values = kf_work_take(work, 4 * voxels);
    enum kf_kernel_status status = values ? kf_gaussian(work, volume, sigma_mm, values) : KF_KERNEL_NOMEM;
    int16_t *to = out->data;
    for (int64_t v = 0; !status && v < voxels; v++)
        to[v] = (int16_t)floorf(values[v] + 0.5F);
    kf_work_give(work, values);
    return status;
}

// Turns left and front about the canal so that each body lies straight before it; frames laid before bone was told
// apart may be 15° off in a patient who lies turned.
static void straighten(const struct kf_grid *g, const uint8_t *labels, struct kf_spine *spine)
{
    double sum[KF_SPINE_MOST][3] = {{0}}; // s, u, v of the bodies
    int64_t count[KF_SPINE_MOST] = {0};
    for (int64_t k = 0, at = 0; k < g->dim[2]; k++)
        for (int64_t j = 0; j < g->dim[1]; j++)
            for (int64_t i = 0; i < g->dim[0]; i++, at++) {
                double p[3], suv[3];
                if (labels[at] == 0 || labels[at] > spine->vertebrae || (i + j + k) % 3)
                    continue;
                kf_spine_point(g, i, j, k, p);
                if (!kf_spine_coordinates(spine, p, suv) || suv[2] < BODY_FROM_MM || fabs(suv[1]) > BODY_SIDE_MM)
                    continue;
                for (int c = 0; c < 3; c++)
                    sum[labels[at] - 1][c] += suv[c];
                count[labels[at] - 1]++;
            }
    double s[KF_SPINE_MOST], turn[KF_SPINE_MOST];
    int known = 0;
    for (int n = 0; n < spine->vertebrae; n++)
        if (count[n] > LEAST_VOXELS) {
            s[known] = sum[n][0] / (double)count[n];
            turn[known++] = kf_atan2(sum[n][1], sum[n][2]);
        }
    for (int n = 0, next = 0; n < spine->stations && known > 0; n++) {
        while (next < known && s[next] < n)
            next++;
        double share = next > 0 && next < known ? (n - s[next - 1]) / (s[next] - s[next - 1]) : 0,
               angle = next == 0       ? turn[0]
                       : next == known ? turn[known - 1]
                                       : turn[next - 1] + share * (turn[next] - turn[next - 1]);
        struct kf_spine_station *t = &spine->station[n];
        for (int c = 0; c < 3; c++) {
            double left = t->left[c], front = t->front[c];
            t->front[c] = kf_cos(angle) * front + kf_sin(angle) * left;
            t->left[c] = kf_cos(angle) * left - kf_sin(angle) * front;
        }
    }
}

enum kf_kernel_status kf_spine_find_neural(const struct kf_work *work, const struct kf_volume *volume,
                                           const struct kf_spine_look *look, struct kf_spine *spine, uint8_t *labels)
{
    struct kf_volume smooth = {.grid = volume->grid, .type = KF_VOXEL_INT16};
    smooth.data = kf_work_take(work, 2 * kf_grid_voxels(&volume->grid));
    enum kf_kernel_status status = smooth.data ? kf_spine_blur(work, volume, BLUR_MM, &smooth) : KF_KERNEL_NOMEM;
    straighten(&volume->grid, labels, spine);
    if (!status)
        status = kf_spine_find_cord(work, &smooth, look, spine, labels);
    if (!status)
        status = kf_spine_find_flavum(work, &smooth, look, spine, labels);
    if (!status)
        status = kf_spine_find_roots(work, &smooth, look, spine, labels);
    kf_work_give(work, smooth.data);
    return status;
}

// The general concept where we are not certain of the special one.
struct kf_spine_name kf_spine_neural_name(int label)
{
    switch (label) {
    case KF_SPINE_CANAL:
        return (struct kf_spine_name){"Spinal canal outside of the dural sac", "61853006", "Spinal canal structure",
                                      "#8fb8de"};
    case KF_SPINE_SAC:
        return (struct kf_spine_name){"Dural sac with cauda equina", "61853006", "Spinal canal structure", "#f2d45c"};
    case KF_SPINE_CORD:
        return (struct kf_spine_name){"Spinal cord", "2748008", "Spinal cord structure", "#e0a030"};
    case KF_SPINE_ROOTS:
        return (struct kf_spine_name){"Nerve roots", "3057000", "Nerve structure", "#ffe599"};
    default:
        return (struct kf_spine_name){"Ligamentum flavum", "52082005", "Ligament structure", "#bf9000"};
    }
}

double kf_spine_neural_sure(const struct kf_spine *spine, int label)
{
    return 0.9 * (label == KF_SPINE_CORD    ? spine->cord_sure
                  : label == KF_SPINE_ROOTS ? spine->roots_sure
                                            : spine->flavum_sure);
}
