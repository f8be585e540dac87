// Inside of this folder: the least states of one row of voxels, from its neighbours' rows and along itself. Exists once
// per instruction set; whole numbers only, so that all give the same bytes.
#ifndef KERF_KERNELS_GROW_ROWS_H
#define KERF_KERNELS_GROW_ROWS_H

#include <stdint.h>

#define KF_GROW_ROW 64 // the most voxels of one call

// Voxels 0 … count - 1 of a row; what lies at -1 and at count is read only where `before` and `after` say that it
// exists.
struct kf_grow_row {
    uint32_t *state; // cost · 256 + label
    const int16_t *image;
    int64_t count;
    int before, after;
    int itself;          // the row, or what lies before or after it, changed too
    int wide;            // diagonal neighbours too
    int rows;            // neighbouring rows that changed, at most 8,
    const int64_t *away; // and how far in memory
};

// What an update changed.
#define KF_GROW_CHANGED 1u
#define KF_GROW_FIRST   2u // voxel 0 among others
#define KF_GROW_LAST    4u // voxel count - 1

// *least becomes the least of itself and the states that changed.
typedef unsigned (*kf_grow_row_update)(const struct kf_grow_row *row, uint32_t *least);

kf_grow_row_update kf_grow_rows(void); // of kf_cpu_level()

#endif
