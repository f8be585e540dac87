// Random walker: each voxel gets the label whose seed a walker from there meets first with the greatest probability.
#ifndef KERF_KERNELS_RANDOM_WALKER_H
#define KERF_KERNELS_RANDOM_WALKER_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

struct kf_walk_options {
    double sigma;        // difference of neighbours' values at which an edge has weight exp(-1); greater than 0
    double tolerance;    // norm of the residual by that of the right side, per label; 1e-3 is usual; 1e-7 at least
    int most_iterations; // per label, at least 1
};

struct kf_walk_report {
    int iterations;  // of all labels
    double residual; // the worst, by the norm of the right side; over the tolerance when the iterations ran out
};

// Grady, "Random walks for image segmentation", PAMI 28(11), 2006: edges of weight (exp(-(difference / sigma)²) + 1e-6) ·
// (least spacing / spacing)² on the 6-neighbour grid; one linear system per label but one, solved by conjugate gradients
// on the symmetrically scaled matrix (Jacobi), which is never formed, with every second voxel eliminated. Sums run over
// fixed blocks of 16 lanes and are added in order.
//   image          int16
//   seeds          one byte per voxel: labels 1…255, 0 where unknown; at least one seed
//   labels         one byte per voxel; of equal probabilities the least label
//   probability    per voxel that of its label (0…1, to the tolerance), may be NULL
//   report         may be NULL
// The same bytes for any number of threads and every instruction set. KF_KERNEL_INVALID: another type, no seed, options
// out of range. Memory: 36 bytes per voxel and 48 per voxel of a slice: meant for a region of interest.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_random_walker(const struct kf_work *work, const struct kf_volume *image,
                                                          const uint8_t *seeds, const struct kf_walk_options *options,
                                                          uint8_t *labels, float *probability,
                                                          struct kf_walk_report *report);

#endif
