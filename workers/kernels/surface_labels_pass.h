// Inside of the kernel library: what the two passes of the label surface share (surface_labels.c,
// surface_labels_tmpl.h), and what its extraction of one label shares (surface_labels_mesh.c).
#ifndef KERF_KERNELS_SURFACE_LABELS_PASS_H
#define KERF_KERNELS_SURFACE_LABELS_PASS_H

#include "workers/kernels/bits.h"
#include "workers/kernels/surface_labels.h"

#include <string.h>

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
    double (*offset)[4]; // of a cell's vertex from its corner 0, by its edges that join two labels (4096)
    double column[4][4]; // LPS mm of a step on each axis, and of voxel (0, 0, 0)
    float *xyz;
    uint64_t *corner;
    uint32_t *ring;
    uint8_t *pair;
    uint8_t *kind;
};

// ---- the surface of one label ----

#define KF_LABELS_BLOCK 4096                // vertices, or quads, in one go
#define KF_LABELS_MANY  ((uint32_t)1 << 31) // of a number: the cell is odd

// A label's surface passes through a cell in one or more loops of edges, each around a part of the label; each loop
// gets a vertex of its own. On a face whose corners belong to the label crosswise, rule 0 takes the label's corners as
// apart and rule 1 as joined. Where both cells beside such a face have all four of its edges in one loop, the edge
// between their vertices would have four triangles: these cells, which have no other such face, go by rule 1.
struct kf_labels_loops {
    uint8_t of[2][256][12]; // rule, corners of the label, edge of the cell: its loop
    uint8_t count[2][256];
    uint8_t crowded[256]; // by rule 0: 1 + the face all of whose four edges are in one loop; 0: none
    uint8_t odd[32];      // a bit per corners: crowded, or not one loop; most cells are neither
};

struct kf_labels_extraction {
    const struct kf_surface_labels *s;
    struct kf_labels_loops loops;
    uint8_t label;
    uint8_t edge[3][4]; // axis, place in the ring: the edge of that cell
    uint64_t *here;     // a bit per vertex: its cell has the label
    uint64_t *odd;      // those of them whose corners are odd
    uint64_t *joined;   // and those that go by rule 1
    uint32_t *number;   // per vertex of the label: its first number in the mesh, and KF_LABELS_MANY
    uint64_t *quad;     // two bits per quad: the label is the greater one, the smaller one
    int64_t *before;    // per block of vertices, then of quads: how many come before
    int64_t vertex_blocks, quad_blocks;
};

// Bit c is set when corner c has the label.
static inline unsigned kf_label_code(const struct kf_labels_extraction *x, int64_t v)
{
    const uint64_t ones = 0x0101010101010101u, low = 0x7f * ones;
    const uint64_t other = x->s->corner[v] ^ x->label * ones;
    return (unsigned)((~(((other & low) + low) | other) >> 7 & ones) * 0x0102040810204080u >> 56);
}

static inline unsigned kf_label_rule(const struct kf_labels_extraction *x, int64_t v)
{
    return (unsigned)(x->joined[v / 64] >> (v % 64) & 1);
}

static inline int64_t kf_label_block_end(int64_t block, int64_t all)
{
    return (block + 1) * KF_LABELS_BLOCK < all ? (block + 1) * KF_LABELS_BLOCK : all;
}

typedef float kf_label_lanes __attribute__((vector_size(16)));

static inline float kf_label_square(const float *xyz, uint32_t a, uint32_t b)
{
    kf_label_lanes p, q;
    memcpy(&p, xyz + 3 * (int64_t)a, sizeof p);
    memcpy(&q, xyz + 3 * (int64_t)b, sizeof q);
    p -= q;
    p *= p;
    return p[0] + p[1] + p[2];
}

// Two triangles of the corners id[0…3], turned around when `turn` is odd; cut along the shorter diagonal.
static inline void kf_label_triangles(const struct kf_surface_labels *s, const uint32_t *ring, const uint32_t id[4],
                                      int turn, uint32_t *to)
{
    const int other = kf_label_square(s->xyz, ring[1], ring[3]) < kf_label_square(s->xyz, ring[0], ring[2]);
    const uint32_t c[5] = {id[0], id[1], id[2], id[3], id[0]};
    to[0] = to[3] = c[other];
    to[1 + (turn & 1)] = c[1 + other];
    to[2 - (turn & 1)] = to[4 + (turn & 1)] = c[2 + other];
    to[5 - (turn & 1)] = c[(3 + other) & 3];
}

#endif
