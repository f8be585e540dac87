// Where discs end in slices thicker than an end plate. See spine.h.
//
// A plate of half a millimetre to one lights up the whole slice that it lies in, so that half of its height is reached
// too early, by 0.34 to 0.42 of a slice on the mean over all places of a plate of 0.6 to 0.9 mm in slices of 1.5 to 3
// mm, and by more or less from column to column, as the slices happen to lie. End plates are smooth: the mean over what
// is near takes the latter away.
#include "workers/jobs/segment/spine.h"

#include <math.h>

#define THICK_MM   1.5  // slices; in thinner ones what half height is off is less than half a voxel
#define UPRIGHT    0.7  // of a disc's normal along the slices' axis
#define EARLY      0.38 // of a slice
#define DISC_MM    14.0 // half of the thickest disc
#define SIDE_MM    34.0 // half of the widest
#define SMOOTH_MM  4.0  // what concave plates are flat over
#define LEAST_HU   60   // of a plate over its disc
#define LEAST_AREA 4    // columns; fewer say nothing of a plate

// A plate between a disc and the bone on one side of it, as heights over the columns of the grid: voxels along the
// third axis, counted towards the bone.
struct plate {
    const struct kf_volume *volume;
    const struct kf_spine_disc *disc;
    uint8_t own, bone; // labels
    int64_t side;      // −1, 1: where the bone lies along the third axis
    double slice;      // voxels of the grid
    int64_t from[2], to[2];
    double *height; // per column of the box: border of the plate, NAN where none is seen
    int64_t *at;    // last voxel of the disc, counted likewise
};

static int64_t voxel_of(const struct plate *of, int64_t i, int64_t j, int64_t k)
{
    const int64_t *dim = of->volume->grid.dim;
    k *= of->side;
    return k < 0 || k >= dim[2] ? -1 : (k * dim[1] + j) * dim[0] + i;
}

// Beyond the grid as its last voxel.
static double value_at(const struct plate *of, int64_t i, int64_t j, int64_t k)
{
    const int64_t *dim = of->volume->grid.dim;
    int64_t inside = k * of->side;
    inside = inside < 0 ? 0 : inside >= dim[2] ? dim[2] - 1 : inside;
    return ((const int16_t *)of->volume->data)[(inside * dim[1] + j) * dim[0] + i];
}

// Half way up from the disc to the plate beyond its last voxel k, and EARLY.
static double border_of(const struct plate *of, int64_t i, int64_t j, int64_t k)
{
    int64_t slice = (int64_t)(of->slice + 0.5), peak = k;
    for (int64_t n = k; n <= k + 2 * slice; n++)
        peak = value_at(of, i, j, n) > value_at(of, i, j, peak) ? n : peak;
    double top = value_at(of, i, j, peak), low = top;
    for (int64_t n = peak - 2 * slice; n <= peak - slice; n++)
        low = fmin(low, value_at(of, i, j, n));
    if (top - low < LEAST_HU)
        return NAN;
    double half = 0.5 * (top + low);
    int64_t under = peak;
    while (under > peak - 2 * slice && value_at(of, i, j, under) > half)
        under--;
    double here = value_at(of, i, j, under), next = value_at(of, i, j, under + 1);
    return (double)under + (next > here ? (half - here) / (next - here) : 0) + EARLY * of->slice;
}

// Lays of->height and of->at; how many columns show the plate.
static int64_t find_plate(const struct plate *of, const uint8_t *labels)
{
    const struct kf_grid *g = &of->volume->grid;
    int64_t reach = (int64_t)(DISC_MM / g->spacing_mm[2]), columns = 0;
    for (int64_t j = of->from[1], c = 0; j < of->to[1]; j++)
        for (int64_t i = of->from[0]; i < of->to[0]; i++, c++) {
            double p[3], ijk[3];
            kf_spine_point(g, i, j, 0, p);
            p[2] += kf_spine_below(of->disc, p) / -of->disc->normal[2]; // onto the disc's plane
            kf_grid_to_ijk(g, p, ijk);
            int64_t middle = of->side * (int64_t)floor(ijk[2] + 0.5);
            of->height[c] = NAN;
            for (int64_t k = middle - reach; k <= middle + reach; k++) {
                int64_t here = voxel_of(of, i, j, k), next = voxel_of(of, i, j, k + 1);
                if (here < 0 || next < 0 || labels[here] != of->own || labels[next] != of->bone)
                    continue;
                of->at[c] = k;
                of->height[c] = border_of(of, i, j, k);
                columns += !isnan(of->height[c]);
                break;
            }
        }
    return columns;
}

// The mean of the heights around a column, a cone of SMOOTH_MM.
static double smooth_height(const struct plate *of, int64_t i, int64_t j)
{
    const double *spacing = of->volume->grid.spacing_mm;
    int64_t wide = of->to[0] - of->from[0], m = (int64_t)(SMOOTH_MM / fmin(spacing[0], spacing[1]));
    double sum = 0, all = 0;
    for (int64_t y = j - m < of->from[1] ? of->from[1] : j - m; y <= j + m && y < of->to[1]; y++)
        for (int64_t x = i - m < of->from[0] ? of->from[0] : i - m; x <= i + m && x < of->to[0]; x++) {
            double dx = (double)(x - i) * spacing[0], dy = (double)(y - j) * spacing[1],
                   weight = 1 - sqrt(dx * dx + dy * dy) / SMOOTH_MM,
                   height = of->height[(y - of->from[1]) * wide + x - of->from[0]];
            if (weight > 0 && !isnan(height))
                sum += weight * height, all += weight;
        }
    return sum / all; // of a column that shows the plate: never 0 / 0
}

// Voxels of disc and bone on either side of the border change sides, no more than a slice from where it was.
static void move_border(const struct plate *of, uint8_t *labels)
{
    int64_t most = (int64_t)(of->slice + 0.5);
    for (int64_t j = of->from[1], c = 0; j < of->to[1]; j++)
        for (int64_t i = of->from[0]; i < of->to[0]; i++, c++) {
            if (isnan(of->height[c]))
                continue;
            double border = smooth_height(of, i, j);
            for (int64_t k = of->at[c] - most + 1; k <= of->at[c] + most; k++) {
                int64_t v = voxel_of(of, i, j, k);
                if (v >= 0 && (labels[v] == of->own || labels[v] == of->bone))
                    labels[v] = (double)k < border ? of->own : of->bone;
            }
        }
}

enum kf_kernel_status kf_spine_settle_plates(const struct kf_work *work, const struct kf_volume *volume,
                                             const struct kf_spine *spine, uint8_t *labels)
{
    const struct kf_grid *g = &volume->grid;
    if (spine->slice_mm < THICK_MM)
        return KF_KERNEL_OK;
    int64_t area = g->dim[0] * g->dim[1];
    double *height = kf_work_take(work, area * (int64_t)sizeof *height);
    int64_t *at = kf_work_take(work, area * (int64_t)sizeof *at);
    for (int d = 0; height && at && d < 2 * spine->discs; d++) {
        const struct kf_spine_disc *disc = &spine->disc[d / 2];
        int below = d % 2, last = d / 2 + 1 == spine->discs && spine->sacrum;
        double ijk[3];
        struct plate plate = {.volume = volume,
                              .disc = disc,
                              .own = (uint8_t)(KF_SPINE_DISC + 1 + d / 2),
                              .bone = (uint8_t)(!below ? d / 2 + 1
                                                : last ? KF_SPINE_SACRUM
                                                       : d / 2 + 2),
                              .side = below ? -1 : 1,
                              .slice = spine->slice_mm / g->spacing_mm[2],
                              .height = height,
                              .at = at};
        if (disc->normal[2] > -UPRIGHT)
            continue;
        kf_grid_to_ijk(g, disc->middle, ijk);
        for (int a = 0; a < 2; a++) {
            plate.from[a] = (int64_t)fmax(0, ijk[a] - SIDE_MM / g->spacing_mm[a]);
            plate.to[a] = (int64_t)fmin((double)g->dim[a], ijk[a] + SIDE_MM / g->spacing_mm[a]);
        }
        if (find_plate(&plate, labels) >= LEAST_AREA)
            move_border(&plate, labels);
    }
    enum kf_kernel_status status = height && at ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    kf_work_give(work, at);
    kf_work_give(work, height);
    return status;
}
