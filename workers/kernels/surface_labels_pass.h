// Inside of the kernel library: what the two passes of the label surface share (surface_labels.c,
// surface_labels_tmpl.h).
#ifndef KERF_KERNELS_SURFACE_LABELS_PASS_H
#define KERF_KERNELS_SURFACE_LABELS_PASS_H

#include <stdint.h>

// Cell (i, j, k), each from 0 to dim, lies between the voxels i - 1 and i, and so on; voxels outside are background.
struct kf_labels_pass {
    int64_t dim[3]; // of the volume
    int64_t cells[3];
    int64_t words; // per row of cells
    const uint8_t *labels;
    const uint8_t *nothing; // dim[0] zeros
    uint64_t *active;       // one bit per cell: it has a vertex
    uint32_t *first_vertex; // per row of cells: counts after the first pass, then first numbers
    uint32_t *first_quad;

    // Second pass only.
    double to_lps[12]; // 3 rows of 4, from voxel indexes
    float *xyz;
    uint64_t *corner;
    uint32_t *ring;
    uint8_t *pair;
    uint8_t *kind;
};

#endif
