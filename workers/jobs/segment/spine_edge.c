// Where a vertebra's surface lies: half way between the values on both sides of it. See spine.h.
#include "workers/jobs/segment/spine.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <string.h>

#define LEAST_HU 120 // of bone
#define GAIN     62  // % of the way from least to greatest in voxels of FINE_MM: denser than it is bone, next to bone
#define LOSS     56  // less dense than it is none, next to none
#define FINE_MM  0.7
#define GAIN_MM  15 // less for each mm: a large voxel shows less of a thin shell's height
#define LOSS_MM  10
#define LEAST    45
#define SURE_HU  420 // never taken off

// Least and greatest value of the 27 voxels around one that does not touch the border.
static void range_around(const int16_t *hu, const int64_t *dim, int64_t at, int *least, int *most)
{
    *least = *most = hu[at];
    for (int64_t n = 0; n < 27; n++) {
        int value = hu[at + n % 3 - 1 + (n / 3 % 3 - 1) * dim[0] + (n / 9 - 1) * dim[0] * dim[1]];
        *least = value < *least ? value : *least;
        *most = value > *most ? value : *most;
    }
}

static int is_vertebra(uint8_t label)
{
    return (label > 0 && label < KF_SPINE_DISC) || label == KF_SPINE_SACRUM;
}

// One voxel of the surface is moved: `out` in which `before` is the state that everyone sees, so that the order of the
// work does not matter. Outwards a voxel takes the label of a neighbour, the first of six that is bone.
static void move_surface(const struct kf_work *work, const struct kf_volume *volume, const uint8_t *bodies,
                         const uint8_t *before, uint8_t *out, int outwards)
{
    const int64_t *dim = volume->grid.dim, step[6] = {-1, 1, -dim[0], dim[0], -dim[0] * dim[1], dim[0] * dim[1]};
    const int16_t *hu = volume->data;
    const double *spacing = volume->grid.spacing_mm;
    double larger = fmax(0, kf_exp(kf_ln(spacing[0] * spacing[1] * spacing[2]) / 3) - FINE_MM);
    int gain = (int)fmax(LEAST, GAIN - GAIN_MM * larger), loss = (int)fmax(LEAST, LOSS - LOSS_MM * larger);
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t k = 1; k < dim[2] - 1; k++)
        for (int64_t j = 1; j < dim[1] - 1; j++)
            for (int64_t i = 1; i < dim[0] - 1; i++) {
                int64_t at = (k * dim[1] + j) * dim[0] + i;
                if (outwards ? before[at] != 0 || hu[at] < LEAST_HU || bodies[at] == KF_SPINE_REST
                             : !is_vertebra(before[at]) || bodies[at] != 0 || hu[at] > SURE_HU)
                    continue;
                uint8_t beside = 0;
                int edge = 0;
                for (int n = 0; n < 6; n++) {
                    uint8_t label = before[at + step[n]];
                    edge |= outwards ? is_vertebra(label) : label == 0;
                    beside = !beside && is_vertebra(label) ? label : beside;
                }
                if (!edge)
                    continue;
                int least, most;
                range_around(hu, dim, at, &least, &most);
                if (outwards && 100 * (hu[at] - least) >= gain * (most - least))
                    out[at] = beside;
                else if (!outwards && 100 * (hu[at] - least) < loss * (most - least))
                    out[at] = 0;
            }
}

void kf_spine_sharpen(const struct kf_work *work, const struct kf_volume *volume, const uint8_t *bodies, uint8_t *labels,
                      uint8_t *scratch)
{
    static const int outwards[3] = {1, 1, 0};
    size_t voxels = (size_t)kf_grid_voxels(&volume->grid);
    for (int n = 0; n < 3; n++) {
        memcpy(scratch, labels, voxels);
        move_surface(work, volume, bodies, scratch, labels, outwards[n]);
    }
}
