// Inside of the kernel library: the corners, edges and faces of a cube between eight voxel centres. Corner c is (x, y,
// z) = (c & 1, c >> 1 & 1, c >> 2). Edge 4·axis + a + 2·b runs along `axis` at offset a, b on the two other axes in
// rising order. Face f is that across axis f / 2 at side f % 2.
#ifndef KERF_KERNELS_SURFACE_CELLS_H
#define KERF_KERNELS_SURFACE_CELLS_H

// The edge between two corners that one has.
static inline int kf_cell_edge(int a, int b)
{
    int x = a & 1, y = a >> 1 & 1, z = a >> 2, along = a ^ b;
    return along == 1 ? y + 2 * z : along == 2 ? 4 + x + 2 * z : 8 + x + 2 * y;
}

// The corners of face f, counter-clockwise seen from outside of the cell for side 1, from its inside for side 0.
static inline void kf_face_corners(int f, int corner[4])
{
    static const int ring[4][2] = {{0, 0}, {1, 0}, {1, 1}, {0, 1}};
    int axis = f / 2, side = f % 2, u = (axis + 1) % 3, v = (axis + 2) % 3;
    for (int q = 0; q < 4; q++)
        corner[q] = side << axis | ring[q][0] << u | ring[q][1] << v;
}

#endif
