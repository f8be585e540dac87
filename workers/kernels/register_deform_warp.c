// The levels of the moving image where the field and the linear map after it take each voxel that is compared.
#include "workers/kernels/filter.h"
#include "workers/kernels/register_deform_inside.h"

#include <string.h>

#define ROW KF_MATCH_MOST // voxels of a row, at most

// From voxels of the comparison to those of the moving image.
struct way {
    double start[3], step[3][3]; // of voxel (0, 0, 0), and along i, j, k
    float turn[9];               // mm along the grid's axes → voxels
};

static void find_way(const struct kf_warp *warp, const struct kf_grid *g, struct way *w)
{
    const struct kf_grid *to = &warp->moving->grid;
    const double *m = warp->linear->m;
    double all[12];
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 4; c++) {
            double sum = 0;
            for (int a = 0; a < 3; a++)
                sum += to->direction[3 * a + r] * (m[4 * a + c] - (c == 3 ? to->origin_lps[a] : 0));
            all[4 * r + c] = sum / to->spacing_mm[r];
        }
    for (int r = 0; r < 3; r++) {
        w->start[r] = all[4 * r + 3];
        for (int c = 0; c < 3; c++) {
            w->start[r] += all[4 * r + c] * g->origin_lps[c];
            double along = 0;
            for (int k = 0; k < 3; k++)
                along += all[4 * r + k] * g->direction[3 * k + c];
            w->step[c][r] = along * g->spacing_mm[c];
            w->turn[3 * r + c] = (float)along;
        }
    }
}

// The node before voxel i of an axis, the way to the next one, and 1 or 0 where there is none.
static int64_t node_before(int64_t i, int fine, int64_t nodes, float *t, int64_t *next)
{
    float at = ((float)i + 0.5f) / (float)fine - 0.5f;
    at = at > 0 ? at : 0;
    int64_t low = (int64_t)at;
    *next = low + 1 < nodes;
    *t = *next ? at - (float)low : 0;
    return *next ? low : nodes - 1;
}

// Displacements along a row of nodes, in voxels of the moving image.
static void row_of_nodes(const struct kf_warp *warp, const struct way *w, int64_t j, int64_t k,
                         float line[3][KF_SPLINE_MOST])
{
    const int64_t *n = warp->nodes->dim, count = kf_grid_voxels(warp->nodes);
    float ty, tz;
    int64_t next_y, next_z, y = node_before(j, warp->fine, n[1], &ty, &next_y),
                            z = node_before(k, warp->fine, n[2], &tz, &next_z);
    next_y *= n[0];
    next_z *= n[0] * n[1];
    for (int64_t i = 0; i < n[0]; i++) {
        float u[3];
        for (int a = 0; a < 3; a++) {
            const float *p = warp->values + a * count + i + n[0] * (y + n[1] * z);
            float front = p[0] + ty * (p[next_y] - p[0]), back = p[next_z] + ty * (p[next_y + next_z] - p[next_z]);
            u[a] = front + tz * (back - front);
        }
        for (int r = 0; r < 3; r++)
            line[r][i] = w->turn[3 * r] * u[0] + w->turn[3 * r + 1] * u[1] + w->turn[3 * r + 2] * u[2];
    }
}

// Adds the displacements between a row of nodes to the places of its voxels. Of the voxels of a node the first half
// lies before it. Inlined for each `fine`, so that the voxels of a node are computed side by side.
static inline void add_between_nodes(int fine, int64_t nodes, const float *line, float *at)
{
    for (int64_t i = 0; i < nodes; i++) {
        const float here = line[i], before = line[i > 0 ? i - 1 : i], after = line[i + 1 < nodes ? i + 1 : i];
        for (int n = 0; n < fine; n++) {
            const float t = ((float)n + 0.5f) / (float)fine - 0.5f;
            at[fine * i + n] += t < 0 ? here - t * (before - here) : here + t * (after - here);
        }
    }
}

// Where the voxels of row (j, k) lie in the moving image along one axis.
static void places_of_row(const struct kf_warp *warp, const struct way *w, int axis, int64_t j, int64_t k,
                          const float *line, float *at)
{
    const int64_t nodes = warp->nodes->dim[0];
    const int count = (int)nodes * warp->fine;
    const double start = w->start[axis] + (double)j * w->step[1][axis] + (double)k * w->step[2][axis];
    const double step = w->step[0][axis];
    for (int i = 0; i < count; i++)
        at[i] = (float)(start + (double)i * step);
    if (warp->fine == 4)
        add_between_nodes(4, nodes, line, at);
    else if (warp->fine == 3)
        add_between_nodes(3, nodes, line, at);
    else
        add_between_nodes(warp->fine, nodes, line, at);
}

void kf_warp_levels(const struct kf_work *work, const struct kf_warp *warp, const struct kf_volume *seen)
{
    struct way w;
    const int64_t *dim = seen->grid.dim, *from = warp->moving->grid.dim;
    const int is_flat = from[0] < 2 || from[1] < 2 || from[2] < 2; // between whose voxels there is nothing
    find_way(warp, &seen->grid, &w);
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 16)
    for (int64_t row = 0; row < dim[1] * dim[2]; row++) {
        float line[3][KF_SPLINE_MOST], at[3][ROW + KF_ROW_SLACK];
        int16_t levels[ROW + KF_ROW_SLACK];
        const int64_t j = row % dim[1], k = row / dim[1];
        const struct kf_places_row places = {
            .voxels = warp->moving->data, .dim = {from[0], from[1], from[2]}, .at = {at[0], at[1], at[2]}};
        row_of_nodes(warp, &w, j, k, line);
        for (int a = 0; a < 3; a++) {
            places_of_row(warp, &w, a, j, k, line[a], at[a]);
            memset(at[a] + dim[0], 0, KF_ROW_SLACK * sizeof at[a][0]);
        }
        if (is_flat)
            memset(levels, 0xff, sizeof levels); // -1
        else
            kf_filters()->places_i16(&places, dim[0], levels);
        memcpy((int16_t *)seen->data + row * dim[0], levels, (size_t)dim[0] * sizeof *levels);
    }
}
