// Rigid and affine registration: of images, of landmarks, of surfaces. A transform takes a point of the fixed frame
// to the moving frame (LPS mm both): that is how kf_resample brings the moving image to the fixed grid and how points
// are carried over.
#ifndef KERF_KERNELS_REGISTER_H
#define KERF_KERNELS_REGISTER_H

#include "workers/kernels/mesh.h"
#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// Row major 3×4: q[r] = m[4r]·p[0] + m[4r+1]·p[1] + m[4r+2]·p[2] + m[4r+3].
struct kf_affine {
    double m[12];
};

void kf_affine_identity(struct kf_affine *t);
void kf_affine_apply(const struct kf_affine *t, const double p[3], double q[3]);
// out = second ∘ first: first is applied first. `out` may be one of the two.
void kf_affine_chain(const struct kf_affine *second, const struct kf_affine *first, struct kf_affine *out);
// 0, or -1 when t has no inverse (then *out is the identity). `out` may be t.
int kf_affine_invert(const struct kf_affine *t, struct kf_affine *out);
// Rotation by |vector| radians about it (Rodrigues), row major.
void kf_rotation_exp(const double vector_rad[3], double rotation[9]);
// The angle of a rotation matrix, in [0, π].
double kf_rotation_angle_rad(const double rotation[9]);

// Eigenvalues in falling order and unit eigenvectors (rows of `vectors`) of a symmetric n×n matrix, n ≤ 4, by cyclic
// Jacobi rotations (Golub and Van Loan, "Matrix Computations", 8.5). `a` is overwritten.
void kf_eigen_symmetric(int n, double *a, double *values, double *vectors);

// ---- landmarks ----

// The rigid motion that takes `fixed` to `moving` with the least sum of squares: the unit quaternion of Horn
// ("Closed-form solution of absolute orientation using unit quaternions", JOSA A 4(4), 1987). Points are 3 doubles
// each; weights (≥ 0) may be NULL. *rms_mm (may be NULL) gets the weighted root mean square residual.
// KF_KERNEL_INVALID for fewer than 3 points of positive weight, values that are not finite, or points on one line
// (the angle about it is open).
KF_KERNEL_MUST_USE enum kf_kernel_status kf_register_points(const double *fixed, const double *moving,
                                                            const double *weights, int64_t count, struct kf_affine *out,
                                                            double *rms_mm);

// ---- images ----

enum kf_register_model { KF_REGISTER_RIGID = 1, KF_REGISTER_AFFINE };
enum kf_register_metric {
    KF_REGISTER_MI = 1, // mutual information: any two modalities
    KF_REGISTER_MSD     // mean squared difference: the same modality, the same units
};

struct kf_register {
    enum kf_register_model model;
    enum kf_register_metric metric;
    const struct kf_volume *fixed_mask; // uint8 on the grid of its image: where it is 0 nothing is compared; NULL: none
    const struct kf_volume *moving_mask;
    const struct kf_affine *start; // first guess, which is only refined; NULL: the start is searched for
    double finest_mm;              // voxels are merged up to about this size at the last resolution; 0: 1
    int64_t samples;               // at the last resolution; 0: 80000. More than the voxels there are is fine.
    int both_ways;                 // 1: the last resolution runs in both directions; the result is the middle
};

struct kf_register_report {
    double start_mi, mi; // nats: at the first guess or the start found (coarse), and at the end
    double nmi;          // (H(fixed) + H(moving)) / H(both) at the end: 1 for images that know nothing of each other
    double msd;          // mean squared difference at the end, in the square of the images' unit
    double overlap;      // share of the fixed samples that meet the moving image (and mask)
    double inverse_mm;   // `both_ways`: most that both directions differ over the fixed image's corners; else -1
    double moved_mm;     // mean way of the samples through the transform
    double rotation_rad; // of the rigid part
    int64_t evaluations; // of the metric, all resolutions
    int converged;       // the last resolution stopped by itself
};

// Mutual information after Mattes et al., "PET-CT image registration in the chest using free-form deformations", IEEE
// TMI 22(1), 2003 (cubic B-spline Parzen window over the moving values) or mean squares, with analytic gradients over
// a fixed set of stratified samples, minimised by BFGS from coarse to fine. Without `start` the start is the best of
// moments, principal axes, centres and the headers' own frames, each turned by up to 40° and moved by up to 30 mm:
// made for rotations up to 30° and offsets up to 40 mm and more. Volumes are int16, uint8 or float32, 8 voxels or
// more on every axis. KF_KERNEL_INVALID: other types or sizes, a mask of another grid size, nothing in the mask,
// values that are all the same, or a start without overlap. Memory: both images once more in int16, merged to
// finest_mm (nothing where int16 voxels are as large already), a seventh of that for the coarser ones, and 340 bytes
// per sample.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_register_images(const struct kf_work *work, const struct kf_volume *fixed,
                                                            const struct kf_volume *moving,
                                                            const struct kf_register *how, struct kf_affine *out,
                                                            struct kf_register_report *report);

// ---- surfaces ----

struct kf_register_surfaces {
    const struct kf_affine *start; // NULL: the centroids are brought together
    double keep;                   // share of the closest pairs that count, 0.3 … 1; 0: 0.8
    int64_t points;                // per surface; 0: 4000
    int iterations;                // at most; 0: 100
};

struct kf_register_surfaces_report {
    double rms_mm;  // over the pairs that counted
    double mean_mm; // over all pairs
    int iterations;
    int converged;
};

// Trimmed iterative closest points (Chetverikov, Stepanov, Krsek, "Robust Euclidean alignment of 3D point sets: the
// trimmed iterative closest point algorithm", IVC 23(3), 2005): points of both surfaces look for the closest point of
// the other one (symmetric matching), the closest `keep` of both kinds make the next rigid motion. KF_KERNEL_INVALID:
// an empty mesh, or pairs that fix no motion.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_register_surfaces(const struct kf_work *work, const struct kf_mesh *fixed,
                                                              const struct kf_mesh *moving,
                                                              const struct kf_register_surfaces *how,
                                                              struct kf_affine *out,
                                                              struct kf_register_surfaces_report *report);

#endif
