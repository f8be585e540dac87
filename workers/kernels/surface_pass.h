// Inside of the kernel library: what the two passes of the isosurface share (surface.c, surface_tmpl.h).
#ifndef KERF_KERNELS_SURFACE_PASS_H
#define KERF_KERNELS_SURFACE_PASS_H

#include "workers/kernels/bits.h"

#define KF_SURFACE_TRIANGLES_MAX 5

// By the case of a cell, a bit per corner that is inside.
struct kf_surface_table {
    uint8_t count[256];    // triangles
    uint16_t corners[256]; // a bit for each of their corners
    uint8_t edge[256][16]; // of each corner; the rest is 0
};

// Everything lives on the mask padded by one voxel on all sides: padded index p is voxel p - 1.
struct kf_surface_pass {
    int64_t dim[3];       // of the volume
    int64_t padded[3];    // dim + 2
    int64_t words;        // per padded row
    const uint64_t *bits; // padded mask
    // Voxels that take part: [low, high[a]) in padded indexes; the whole padding when the border is capped.
    int64_t low;
    int64_t high[3];
    const struct kf_surface_table *table;

    // Per padded row: counts after the first pass, then the first vertex on x, y and z edges and the first triangle.
    uint32_t *first_x, *first_y, *first_z;
    int64_t *first_triangle;

    // Second pass only.
    const void *grey; // NULL: every vertex in the middle of its edge
    int grey_float;
    double iso;
    double to_lps[12]; // 3 rows of 4, from padded indexes
    float *xyz;
    uint32_t *index;
};

#endif
