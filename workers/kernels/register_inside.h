// Inside of the kernel library: one resolution of an image registration, and the metric over its samples.
#ifndef KERF_KERNELS_REGISTER_INSIDE_H
#define KERF_KERNELS_REGISTER_INSIDE_H

#include "workers/kernels/register.h"

#define KF_REG_BINS  32                // of the fixed image, and steps of the moving one
#define KF_REG_WIDE  (KF_REG_BINS + 4) // a sample touches four neighbouring moving bins
#define KF_REG_BLOCK 2048              // samples that one thread sums before the blocks are added in order
#define KF_REG_LANES 8                 // independent sums within a block, so that they vectorise in any build

// An int16 image of one resolution and the way into its voxels.
struct kf_reg_image {
    struct kf_volume image; // int16
    struct kf_volume mask;  // uint8 or data NULL
    int owned_image, owned_mask;
    double to_ijk[12]; // LPS → voxel, 3×4 row major
};

// Positions in the fixed image and its values there. x, y, z are mm from `centre` (LPS).
struct kf_reg_samples {
    int64_t count, room;
    float *x, *y, *z, *value;
    uint8_t *bin;
    float *u, *gx, *gy, *gz; // scratch of an evaluation: place in the moving bin (or difference), gradient per voxel
    uint8_t *step;           // moving bin, KF_REG_OUTSIDE when the sample misses the moving image
    int16_t *patch;          // KF_REG_PATCH voxels of the moving image around each sample
    uint16_t *corner;        // four per sample: where its patch begins, KF_REG_NOWHERE without one
    double centre[3];
    double radius;          // root mean square distance from the centre, mm
    double low[3], high[3]; // box around the samples
};
#define KF_REG_OUTSIDE 255
#define KF_REG_PATCH   64 // 4×4×4
#define KF_REG_NOWHERE 65535

struct kf_reg_range {
    float low, scale; // bin = (value - low) · scale, within 0 … KF_REG_BINS - 1
};

struct kf_reg_metric {
    const struct kf_work *work;
    enum kf_register_metric kind;
    const struct kf_reg_image *moving;
    struct kf_reg_samples *samples;
    struct kf_reg_range range; // of the moving image
    float *histograms;         // one per block
    double *sums;              // 16 per block
    int64_t evaluations;
    // of the last evaluation
    double overlap, mi, nmi, msd;
};

// Memory for the histograms of up to `samples` samples.
enum kf_kernel_status kf_reg_metric_init(struct kf_reg_metric *m, const struct kf_work *work, int64_t samples);
void kf_reg_metric_release(struct kf_reg_metric *m);

// What is to be made small (-MI, or MSD) for q = A·x + t, x mm from the samples' centre, q LPS of the moving frame:
// pose is 3×4 row major. gradient (12, may be NULL) gets the derivative by each entry of pose. 1e30 when fewer than a
// tenth of the samples, or fewer than 64, meet the moving image.
double kf_reg_evaluate(struct kf_reg_metric *m, const double pose[12], double *gradient);
// Copies what lies around each sample at `pose` side by side: in a large image the samples are scattered and an
// evaluation waits for memory, while poses near this one then read in order. Values do not change.
void kf_reg_patches_take(struct kf_reg_metric *m, const double pose[12]);

// ---- register_prepare.c ----

// The image of one resolution: voxels of about `size_mm`, from the finer one before it (which stays the caller's).
enum kf_kernel_status kf_reg_image_reduce(const struct kf_work *work, const struct kf_reg_image *from, double size_mm,
                                          struct kf_reg_image *out);
void kf_reg_image_release(const struct kf_work *work, struct kf_reg_image *image);
// value → int16 as (value - offset) · scale; int16 and uint8 stay as they are with 0 and 1.
struct kf_reg_units {
    double offset, scale;
};
int kf_reg_units_find(const struct kf_volume *volume, struct kf_reg_units *units); // 0: no finite value or no range
// The original as int16: borrowed where it is int16 and units are plain, else a copy.
enum kf_kernel_status kf_reg_image_take(const struct kf_work *work, const struct kf_volume *volume,
                                        const struct kf_volume *mask, const struct kf_reg_units *units,
                                        struct kf_reg_image *out);

// Room for so many samples; owned: kf_reg_samples_release.
enum kf_kernel_status kf_reg_samples_take(const struct kf_work *work, int64_t room, struct kf_reg_samples *s);
void kf_reg_samples_release(const struct kf_work *work, struct kf_reg_samples *s);
// About `wanted` stratified voxels (an interpolated value would be smoother than what it is compared with); `seed`
// chooses the set. Fills bins with `range`.
void kf_reg_samples_lay(const struct kf_reg_image *fixed, int64_t wanted, uint64_t seed,
                        const struct kf_reg_range *range, struct kf_reg_samples *s);
// Range between the percentiles that leave out 0.02 % at both ends, over voxels in the mask. 0: all values are the
// same.
int kf_reg_range_find(const struct kf_work *work, const struct kf_reg_image *image, struct kf_reg_range *range,
                      enum kf_kernel_status *status);

// First and second moments of what is brighter than the darkest, LPS mm; axes are rows, longest first.
struct kf_reg_moments {
    double centre[3], middle[3], axes[9], spread[3];
};
void kf_reg_moments_find(const struct kf_reg_image *image, const struct kf_reg_range *range,
                         struct kf_reg_moments *out);

#endif
