// Masks with one bit per voxel: 16 MiB for 512³, so that whole passes run from cache. Threshold, set operations,
// connected components, islands, hysteresis, holes, morphology with a ball.
#ifndef KERF_KERNELS_BITS_H
#define KERF_KERNELS_BITS_H

#include "workers/kernels/volume.h"
#include "workers/kernels/work.h"

// Row (j, k) starts at word (j + k·dim[1])·words; bit i of the row is voxel i; bits at and past dim[0] are zero.
struct kf_bits {
    int64_t dim[3];
    int64_t words; // per row: (dim[0] + 63) / 64
    uint64_t *word;
};

static inline uint64_t *kf_bits_row(const struct kf_bits *bits, int64_t j, int64_t k)
{
    return bits->word + (j + k * bits->dim[1]) * bits->words;
}

static inline int kf_bits_get(const struct kf_bits *bits, int64_t i, int64_t j, int64_t k)
{
    return (int)(kf_bits_row(bits, j, k)[i / 64] >> (i % 64) & 1);
}

static inline void kf_bits_put(struct kf_bits *bits, int64_t i, int64_t j, int64_t k)
{
    kf_bits_row(bits, j, k)[i / 64] |= (uint64_t)1 << (i % 64);
}

static inline int64_t kf_ones(uint64_t word)
{
#if defined(__POPCNT__)
    return __builtin_popcountll(word);
#else
    word -= word >> 1 & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (int64_t)(word * 0x0101010101010101u >> 56);
#endif
}

// All bits zero. Owned: kf_bits_release with the same work.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bits_alloc(const struct kf_work *work, const int64_t dim[3],
                                                       struct kf_bits *out);
void kf_bits_release(const struct kf_work *work, struct kf_bits *bits);

// bits = low ≤ value ≤ high for an int16 or float32 volume, value == low for uint8. Dimensions must agree.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bits_threshold(const struct kf_work *work, const struct kf_volume *volume,
                                                           double low, double high, struct kf_bits *bits);
// labels[v] = value where the bit is set; other labels stay. `labels` holds one byte per voxel.
void kf_bits_paint(const struct kf_work *work, const struct kf_bits *bits, uint8_t value, uint8_t *labels);

// How many are set.
int64_t kf_bits_count(const struct kf_work *work, const struct kf_bits *bits);
enum kf_bits_operator { KF_BITS_AND = 1, KF_BITS_OR, KF_BITS_AND_NOT, KF_BITS_COPY };
// a = a OP b, in place.
void kf_bits_combine(const struct kf_work *work, struct kf_bits *a, enum kf_bits_operator op, const struct kf_bits *b);
void kf_bits_invert(const struct kf_work *work, struct kf_bits *bits);
// Least box that holds every set bit, [box[0], box[1]) on each axis; 0 and zeros when there is none.
int kf_bits_box(const struct kf_bits *bits, int64_t box[2][3]);

// fine(i, j, k) = coarse(i / factor[0], j / factor[1], k / factor[2]). coarse->dim must be that of kf_reduce_grid.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bits_enlarge(const struct kf_work *work, const struct kf_bits *coarse,
                                                         const int64_t factor[3], struct kf_bits *fine);

// ---- connected components ----

enum kf_neighbours {
    KF_NEIGHBOURS_4 = 4,  // faces within a slice; slices stay apart
    KF_NEIGHBOURS_6 = 6,  // faces
    KF_NEIGHBOURS_26 = 26 // faces, edges and corners
};

struct kf_component {
    int64_t voxels;
    int64_t sum[3];    // of the voxels' i, j, k: the centroid is sum / voxels
    int32_t box[2][3]; // [least, greatest + 1)
    uint32_t border;   // bit 2·axis: touches index 0 on that axis, 2·axis + 1: touches the last
};

// Runs of set bits along i and the component each belongs to; components are numbered by their first voxel in memory
// order. Memory: 12 bytes per run and 72 per component.
struct kf_components {
    int64_t runs;
    int64_t count;
    int64_t *row_first;  // dim[1]·dim[2] + 1 entries: the first run of each row
    int32_t *start;      // per run: [start, end)
    int32_t *end;
    uint32_t *component; // per run
    struct kf_component *table;
};

// Runs and union-find (He, Chao, Suzuki, "A run-based two-scan labeling algorithm", IEEE TIP 17(5), 2008) over bit
// rows. KF_KERNEL_TOO_LARGE over 2^32 - 2 runs. Owned: kf_components_release.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_components_find(const struct kf_work *work, const struct kf_bits *bits,
                                                            enum kf_neighbours neighbours, struct kf_components *out);
void kf_components_release(const struct kf_work *work, struct kf_components *components);
// bits = union of the components whose keep[] is not zero.
void kf_components_draw(const struct kf_work *work, const struct kf_components *components, const uint8_t *keep,
                        struct kf_bits *bits);

// Drops components of fewer than `least` voxels. *dropped (may be NULL) gets their number.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bits_drop_islands(const struct kf_work *work, struct kf_bits *bits,
                                                              enum kf_neighbours neighbours, int64_t least,
                                                              int64_t *dropped);
// Keeps the components of `bits` (26) that hold at least one bit of `seeds`.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bits_hysteresis(const struct kf_work *work, struct kf_bits *bits,
                                                            const struct kf_bits *seeds);
// Sets every hole of at most `most` voxels (0: of any size): components of the background that do not touch the
// border. KF_NEIGHBOURS_6 fills cavities, KF_NEIGHBOURS_4 holes within each slice. *filled (may be NULL): voxels set.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bits_fill_holes(const struct kf_work *work, struct kf_bits *bits,
                                                            enum kf_neighbours neighbours, int64_t most,
                                                            int64_t *filled);

// ---- morphology: a ball of radius_mm around each voxel centre; outside of the volume nothing is eroded ----
// Exact for any radius: a voxel is reached when centre and centre are at most radius_mm apart (and a hair: 1e-9 voxels).
// Memory: one bit per voxel with a margin of the radius around, three bytes per row, 20 bytes per row under the ball.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bits_dilate(const struct kf_work *work, struct kf_bits *bits,
                                                        const double spacing_mm[3], double radius_mm);
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bits_erode(const struct kf_work *work, struct kf_bits *bits,
                                                       const double spacing_mm[3], double radius_mm);
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bits_close(const struct kf_work *work, struct kf_bits *bits,
                                                       const double spacing_mm[3], double radius_mm);
KF_KERNEL_MUST_USE enum kf_kernel_status kf_bits_open(const struct kf_work *work, struct kf_bits *bits,
                                                      const double spacing_mm[3], double radius_mm);

#endif
