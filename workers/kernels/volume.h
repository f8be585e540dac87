// A scalar volume on a regular grid: plain memory and its place in the patient. No I/O, no allocation here.
#ifndef KERF_KERNELS_VOLUME_H
#define KERF_KERNELS_VOLUME_H

#include <stdint.h>

enum kf_voxel_type { KF_VOXEL_UINT8 = 1, KF_VOXEL_INT16, KF_VOXEL_UINT16, KF_VOXEL_FLOAT32 };

// Where a grid lies: voxel (i, j, k) has its centre at
//   p_lps = origin + direction · (spacing ⊙ (i, j, k))
// in DICOM patient coordinates (LPS), millimetres. `direction` is row major; its columns are the unit vectors of the
// i, j and k axes; its determinant is +1 for every volume that Kerf accepts.
struct kf_grid {
    int64_t dim[3]; // i fastest in memory
    double spacing_mm[3];
    double origin_lps[3]; // centre of voxel (0, 0, 0)
    double direction[9];
};

// A view of voxels: dim[0]·dim[1]·dim[2] values of `type`, contiguous, i fastest. Who owns `data` is said where the
// volume comes from.
struct kf_volume {
    struct kf_grid grid;
    enum kf_voxel_type type;
    void *data;
};

static inline int64_t kf_grid_voxels(const struct kf_grid *grid)
{
    return grid->dim[0] * grid->dim[1] * grid->dim[2];
}

static inline int64_t kf_voxel_bytes(enum kf_voxel_type type)
{
    return type == KF_VOXEL_UINT8 ? 1 : type == KF_VOXEL_FLOAT32 ? 4 : 2;
}

static inline void kf_grid_to_lps(const struct kf_grid *g, const double p_ijk[3], double p_lps[3])
{
    for (int r = 0; r < 3; r++)
        p_lps[r] = g->origin_lps[r] + g->direction[3 * r] * g->spacing_mm[0] * p_ijk[0] +
                   g->direction[3 * r + 1] * g->spacing_mm[1] * p_ijk[1] +
                   g->direction[3 * r + 2] * g->spacing_mm[2] * p_ijk[2];
}

// The inverse of kf_grid_to_lps; `direction` is orthonormal, so its inverse is its transpose.
static inline void kf_grid_to_ijk(const struct kf_grid *g, const double p_lps[3], double p_ijk[3])
{
    for (int c = 0; c < 3; c++) {
        double sum = 0;
        for (int r = 0; r < 3; r++)
            sum += g->direction[3 * r + c] * (p_lps[r] - g->origin_lps[r]);
        p_ijk[c] = sum / g->spacing_mm[c];
    }
}

// 1 when the directions are left-handed: what turns counter-clockwise in voxel indexes turns clockwise in the patient.
static inline int kf_grid_mirrored(const struct kf_grid *g)
{
    const double *d = g->direction;
    return d[0] * (d[4] * d[8] - d[5] * d[7]) - d[1] * (d[3] * d[8] - d[5] * d[6]) + d[2] * (d[3] * d[7] - d[4] * d[6]) < 0;
}

#endif
