// Inside of the kernel library: the parts of a deformable registration.
#ifndef KERF_KERNELS_REGISTER_DEFORM_INSIDE_H
#define KERF_KERNELS_REGISTER_DEFORM_INSIDE_H

#include "workers/kernels/register_deform.h"
#include "workers/kernels/register_inside.h"

// ---- register_deform_level.c: values as levels ----

#define KF_LEVELS     64
#define KF_LEVEL_UNIT 256 // int16 values per level

// Replaces the values of `image` (owned) by levels 0 … KF_LEVELS - 1 in units of 1 / KF_LEVEL_UNIT: noise is taken out
// by a median of 3³ where no voxel is larger than 3 mm, the gain of an MR coil by kf_bias_find where no value is
// negative, and what is common gets more levels than what is rare (their density goes with a power of the histogram:
// between Panter and Dite, "Quantization distortion in pulse-count modulation with nonuniform spacing of levels", Proc.
// IRE 39(1), 1951, and an even histogram), so that bone does not outweigh all that is soft. units: how the values
// became int16.
enum kf_kernel_status kf_levels_make(const struct kf_work *work, const struct kf_reg_units *units,
                                     struct kf_volume *image);

// ---- register_deform_match.c: what two values say of each other ----

// ln p(f, m) / (p(f) p(m)) by the joint histogram of levels, and its slopes.
struct kf_match {
    float by_moving[KF_LEVELS][KF_LEVELS], by_fixed[KF_LEVELS][KF_LEVELS]; // [fixed][moving], nats per level
    float moving_info[KF_LEVELS], fixed_info[KF_LEVELS];                   // mean square of the slopes at a level
    double mi;                                                             // nats
    int64_t voxels;
};
#define KF_MATCH_BLOCKS 16
#define KF_MATCH_BYTES  ((int64_t)KF_MATCH_BLOCKS * KF_LEVELS * KF_LEVELS * 8)

#define KF_SPLINE_MOST 400 // nodes of an axis

enum kf_match_slopes { KF_SLOPES_MOVING = 1, KF_SLOPES_FIXED, KF_SLOPES_BOTH };

// fixed and moving: levels on one grid, negative where they do not count. scratch: KF_MATCH_BYTES.
void kf_match_find(const struct kf_work *work, const struct kf_volume *fixed, const struct kf_volume *moving,
                   uint64_t *scratch, struct kf_match *match);
#define KF_MATCH_MOST (4 * KF_SPLINE_MOST) // voxels of a row
// Per block of size³ voxels, ½ uᵀHu + g·u for a displacement u (mm along the grid's axes): model[0…5] H (xx yy zz xy xz
// yz), [6…8] g; planes of one float per block. A voxel's information is limited to one over limit_mm², so that a few
// strong edges, never exact to that, do not outvote all others. Sizes of the images are multiples of `size`, and
// KF_ROW_SLACK (filter.h) values after their last voxels can be read.
void kf_match_model(const struct kf_work *work, const struct kf_match *match, const struct kf_volume *fixed,
                    const struct kf_volume *moving, enum kf_match_slopes slopes, int size, double limit_mm,
                    float *model);

// ---- register_deform_spline.c: the smooth field ----

// A cubic B-spline with knots every `knot` nodes: Rueckert et al., "Nonrigid registration using free-form
// deformations", IEEE TMI 18(8), 1999. Coefficients are planes (x, y, z) of `count` floats.
struct kf_spline {
    int64_t nodes[3], dim[3], count;
    int knot;
    float weight[3][KF_SPLINE_MOST][4]; // of a node's four coefficients, axis by axis
};
// 0: an axis would need more nodes than KF_SPLINE_MOST.
int kf_spline_init(struct kf_spline *s, const int64_t nodes[3], int knot);
// Floats of scratch that the two functions below need, each.
int64_t kf_spline_scratch(const struct kf_spline *s);
// The values at the nodes, three planes.
void kf_spline_at_nodes(const struct kf_work *work, const struct kf_spline *s, const float *c, float *values,
                        float *scratch);
// Adds to c the step that makes model (as in kf_match_model, at the nodes) + bend · bending energy of c + damp ·
// |step|² least: conjugate gradients (Hestenes and Stiefel 1952), the diagonal as preconditioner.
void kf_spline_step(const struct kf_work *work, const struct kf_spline *s, const float *model, float bend, float damp,
                    float *c, float *scratch);

// ---- register_deform_warp.c: the moving image as the field shows it ----

struct kf_warp {
    const struct kf_volume *moving; // levels, int16
    const struct kf_affine *linear; // after the field
    const struct kf_grid *nodes;
    const float *values; // displacements at the nodes, mm along the grid's axes, three planes
    int fine;            // voxels of the result per node and axis, 1 … 4
};
// seen->data gets the levels; -1 beyond the moving image's outermost voxels. seen->grid is that of the nodes, `fine`
// times as fine.
void kf_warp_levels(const struct kf_work *work, const struct kf_warp *warp, const struct kf_volume *seen);

// ---- register_deform_mind.c: the judge ----

#define KF_MIND_BYTES 16 // per voxel: 12 channels, the rest zero
#define KF_MIND_MOST  (12 * 255)
#define KF_MIND_REACH 2 // voxels that a descriptor sees, each way: a neighbour, and those around it

// Descriptors of `in` (int16), KF_MIND_BYTES each. scratch: 7 floats per voxel.
void kf_mind(const struct kf_work *work, const struct kf_volume *in, float *scratch, uint8_t *out);
// Mean difference of the valid voxels' descriptors, 0 … 1; -1: none is valid.
double kf_mind_difference(const uint8_t *a, const uint8_t *b, const uint8_t *valid, int64_t voxels);

#endif
