// Typical values of an MR of the back, and where its discs are: see spine_mr.h.
#include "workers/jobs/segment/spine_mr.h"
#include "workers/kernels/kdtree.h"
#include "workers/kernels/math.h"

#include <math.h>

#define SAMPLES     200000
#define UNEVEN      0.32 // spread beyond which what lies before the canal is no row of bodies
#define LEAST_MM    18  // between discs of a back; a disc of 14 mm with a bright nucleus is dark twice
#define END_FROM    24 // mm; every canal has 40
#define END_MM      30 // a front 45 mm before a canal that leans by 35°
#define FAT_SHARE   0.69 // of the fluid's value where no fat is seen
// Discs that are bright throughout are of no T2: explained as bright by this part at least of what is explained as dark ...
#define BRIGHT_PART 0.4
// ... and their rings as bright as this share of a body. Of the phantoms' T2 (slices of 1.2 to 5 mm) rings have 0.43 to
// 0.55 of a body's value, with discs painted 1.3 and 1.6 times as bright as bodies 1.21 to 1.53.
#define RING_BRIGHT 0.9
#define RING_POINTS 24
#define RING_WIDE   12.8 // mm beside the bodies' axis: within the disc of a thoracic body, outside of a nucleus
#define RING_DEEP   10.2

// A quantile of the values in a box of every station's section, of those between low and high; `none` without any.
static double quantile(const struct kf_volume *fine, const struct kf_spine *spine, const double box[4], double low,
                       double high, double share, float *scratch, double none)
{
    int64_t count = 0, section = (int64_t)((box[1] - box[0]) / 2 + 1) * (int64_t)((box[3] - box[2]) / 2 + 1);
    int step = 2 + (int)(spine->stations * section / SAMPLES); // all of a long column, not what fits of its top
    for (int n = 0; n < spine->stations; n += step)
        for (double v = box[2]; v <= box[3]; v += 2)
            for (double u = box[0]; u <= box[1]; u += 2) {
                double p[3], value;
                kf_spine_place(&spine->station[n], u, v, p);
                value = kf_spine_value(fine, p, -1);
                if (value >= low && value <= high && count < SAMPLES)
                    scratch[count++] = (float)value;
            }
    return count > 50 ? kf_select_f32(scratch, count, (int64_t)(share * (double)(count - 1))) : none;
}

static const double before_canal[4] = {-9, 9, 14, 28};

// Half the range that holds 70 % of the bodies' values, as a share of `body`.
static double spread_of(const struct kf_volume *fine, const struct kf_spine *spine, double body, float *scratch)
{
    double low = quantile(fine, spine, before_canal, 0.5 * body, 1.6 * body, 0.15, scratch, body),
           high = quantile(fine, spine, before_canal, 0.5 * body, 1.6 * body, 0.85, scratch, body);
    return 0.5 * (high - low) / fmax(1, body);
}

static void learn(const struct kf_volume *fine, const struct kf_spine *spine, float *scratch, struct kf_spine_mr *mr)
{
    static const double tube[4] = {-5, 5, -5, 5}, back[4] = {-40, 40, -70, -25};
    // At least 1, so that the scale from fat to root has a length where the canal is black.
    mr->fluid = fmax(1, quantile(fine, spine, tube, 0, 1e9, 0.9, scratch, 1000));
    mr->body = quantile(fine, spine, before_canal, 1, 1e9, 0.5, scratch, 0.3 * mr->fluid);
    mr->spread = spread_of(fine, spine, mr->body, scratch);
    mr->fat = quantile(fine, spine, back, 1.42 * mr->body, 0.9 * mr->fluid, 0.5, scratch, FAT_SHARE * mr->fluid);
    // Cord, roots and ligament as their relaxation has them beside fluid, fat and marrow.
    double dark = 0.22 * mr->body;
    mr->look = (struct kf_spine_look){.fat = mr->fat,
                                      .fluid = mr->fluid,
                                      .cord = 0.4 * mr->fluid,
                                      .root = 0.5 * mr->fat,
                                      .flavum = dark,
                                      .hard = 2 * dark,
                                      .fluid_to_cord = -1,
                                      .cord_least = 0.75 * mr->fluid,
                                      .apart = 0.4 * mr->fluid,
                                      .rim_mm = 0.6,
                                      .not_root = 0.25 * mr->fat + 0.2 * mr->body,
                                      .like_marrow = 1};
}

// Bodies at 300 whatever their value, discs below: darker ones, or with `bright` those that are brighter.
static void for_discs(const struct kf_volume *fine, double body, int bright, const struct kf_volume *out)
{
    int64_t voxels = kf_grid_voxels(&fine->grid);
    const int16_t *in = fine->data;
    int16_t *to = out->data;
    for (int64_t v = 0; v < voxels; v++) {
        double x = 300 * in[v] / body, y = bright ? fmin(300, fmax(0, 600 - x)) : fmin(300, x);
        to[v] = (int16_t)(in[v] < 0 ? -2000 : floor(y + 0.5));
    }
}

static double explained(const struct kf_spine *spine)
{
    double sum = 0;
    for (int d = 0; d < spine->discs; d++)
        sum += spine->disc[d].contrast_hu;
    return sum;
}

// The canal goes on below the end of its fluid as it went over the last END_FROM mm, as far as the front of the lowest
// disc may lie below that end. No disc is sought there.
static void lengthen(const struct kf_volume *fine, struct kf_spine *spine)
{
    int count = spine->fluid_end = spine->stations;
    const struct kf_spine_station last = spine->station[count - 1], before = spine->station[count - 1 - END_FROM];
    double way[3], along = 0;
    for (int c = 0; c < 3; c++)
        way[c] = last.p[c] - before.p[c];
    kf_spine_unit(way);
    for (int c = 0; c < 3; c++)
        along += way[c] * last.front[c];
    struct kf_spine_station next = last;
    for (int c = 0; c < 3; c++)
        next.down[c] = way[c], next.front[c] = last.front[c] - along * way[c];
    kf_spine_unit(next.front);
    for (int c = 0; c < 3; c++)
        next.left[c] = next.front[(c + 1) % 3] * way[(c + 2) % 3] - next.front[(c + 2) % 3] * way[(c + 1) % 3];
    for (int n = 1; n <= END_MM && spine->stations < KF_SPINE_STATIONS; n++) {
        for (int c = 0; c < 3; c++)
            next.p[c] = last.p[c] + n * way[c];
        if (kf_spine_value(fine, next.p, -1) < 0)
            break;
        spine->station[spine->stations++] = next;
    }
}

// Median over the discs of what their rings have, in the fibres around a nucleus.
static double ring_value(const struct kf_volume *fine, const struct kf_spine *spine, float *scratch)
{
    for (int d = 0; d < spine->discs; d++) {
        const struct kf_spine_disc *disc = &spine->disc[d];
        double left[3], front[3], sum = 0;
        kf_spine_mr_in_plane(disc, &spine->station[(int)disc->s], left, front);
        for (int n = 0; n < RING_POINTS; n++) {
            double angle = 2 * KF_PI * n / RING_POINTS, u = RING_WIDE * kf_cos(angle), v = RING_DEEP * kf_sin(angle), p[3];
            for (int c = 0; c < 3; c++)
                p[c] = disc->middle[c] + u * left[c] + v * front[c];
            sum += fmax(0, kf_spine_value(fine, p, 0));
        }
        scratch[d] = (float)(sum / RING_POINTS);
    }
    return spine->discs ? kf_select_f32(scratch, spine->discs, spine->discs / 2) : 0;
}

// Discs as T2 has them: dark, or with a nucleus brighter than marrow in a dark ring. `dark`, `bright`: what was found as
// such.
static int is_t2(const struct kf_volume *fine, const struct kf_spine *dark, const struct kf_spine *bright, double body,
                 float *scratch)
{
    return explained(bright) < BRIGHT_PART * explained(dark) || ring_value(fine, bright, scratch) < RING_BRIGHT * body;
}

enum kf_kernel_status kf_spine_mr_discs(const struct kf_work *work, const struct kf_volume *fine,
                                        const struct kf_volume *smooth, struct kf_spine *spine, struct kf_spine_mr *mr)
{
    struct kf_volume look = {.grid = fine->grid, .type = KF_VOXEL_INT16};
    look.data = kf_work_take(work, 2 * kf_grid_voxels(&fine->grid));
    float *scratch = kf_work_take(work, 4 * SAMPLES);
    enum kf_kernel_status status = look.data && scratch ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        learn(fine, spine, scratch, mr);
        mr->smooth_spread = spread_of(smooth, spine, mr->body, scratch);
    }
    struct kf_spine other = *spine;
    if (!status) {
        for_discs(fine, mr->body, 1, &look);
        status = kf_spine_find_discs(work, &look, LEAST_MM, &other);
    }
    if (!status) {
        for_discs(fine, mr->body, 0, &look);
        status = kf_spine_find_discs(work, &look, LEAST_MM, spine);
    }
    if (!status)
        lengthen(fine, spine);
    mr->has_bodies = !status && mr->spread < UNEVEN;
    mr->is_t2 = !status && is_t2(fine, spine, &other, mr->body, scratch);
    kf_work_give(work, scratch);
    kf_work_give(work, look.data);
    return status;
}
