// The table of row kernels, and which instruction set they use. The C reference fills every slot; AVX2 and AVX-512
// variants replace it where the processor has them. Every variant gives the same bytes as the reference
// (tests/kernel/rows.c compares and times them).
#ifndef KERF_KERNELS_CPU_H
#define KERF_KERNELS_CPU_H

#include <stdint.h>

enum kf_cpu { KF_CPU_NONE, KF_CPU_AVX2, KF_CPU_AVX512, KF_CPU_COUNT };

struct kf_surface_pass; // surface.h of this folder's inside
struct kf_labels_pass;  // surface_labels_pass.h
struct kf_labels_extraction;
struct kf_intersect_search; // mesh_intersect_pass.h

// Bit i of a bit row is bit i % 64 of word i / 64; a row of n bits fills (n + 63) / 64 words and leaves the rest of the
// last one zero. Rows may have any alignment of their element type and never overlap.
struct kf_kernel_table {
    // bit i = low ≤ row[i] ≤ high. NaN is never inside.
    void (*bits_i16)(const int16_t *row, int64_t n, int low, int high, uint64_t *bits);
    void (*bits_f32)(const float *row, int64_t n, float low, float high, uint64_t *bits);
    // bit i = row[i] == value
    void (*bits_u8)(const uint8_t *row, int64_t n, uint8_t value, uint64_t *bits);
    // row[i] = value where bit i is set; other values stay.
    void (*paint_u8)(const uint64_t *bits, int64_t n, uint8_t value, uint8_t *row);
    // Symmetric filter across rows: out[i] = w[0]·r[radius][i] + Σ_t w[t]·(r[radius-t][i] + r[radius+t][i]), t =
    // 1…radius.
    void (*fir_f32)(const float *const *rows, const float *weights, int radius, int64_t n, float *out);
    void (*i16_f32)(const int16_t *row, int64_t n, float *out);
    // d = row[i] - row[i-1] modulo 65536, row[-1] = 0: low byte and high byte to their planes (the view container).
    void (*planes_i16)(const int16_t *row, int64_t n, uint8_t *low, uint8_t *high);
    // sums[i] += row[i]
    void (*add_i16)(const int16_t *row, int64_t n, int32_t *sums);
    // to |= every row of `words` words at from + offset[n].
    void (*unite_rows)(uint64_t *to, const uint64_t *from, const int64_t *offset, int64_t count, int64_t words);
    // One slice of cells of the isosurface: counts, then vertices and triangles (surface.c).
    void (*surface_count)(const struct kf_surface_pass *pass, int64_t k);
    void (*surface_fill)(const struct kf_surface_pass *pass, int64_t k);
    // The same for the surfaces between labels (surface_labels.c).
    void (*labels_count)(const struct kf_labels_pass *pass, int64_t k);
    void (*labels_fill)(const struct kf_labels_pass *pass, int64_t k);
    // One block of the surface of one label (surface_labels_mesh.c): which cells it passes through, its vertices, its
    // triangles.
    void (*labels_find)(const struct kf_labels_extraction *x, int64_t block);
    void (*labels_vertices)(const struct kf_labels_extraction *x, int64_t block, float *xyz);
    void (*labels_quads)(const struct kf_labels_extraction *x, int64_t block, uint32_t *index);
    // The pairs that meet of a block of leaves (mesh_intersect.c).
    void (*intersect_block)(struct kf_intersect_search *s, int64_t block);
};

// The best table of this processor, unless the environment variable KERF_CPU says none, avx2 or avx512 (what the
// processor lacks is not used). Thread safe; the choice is made once.
const struct kf_kernel_table *kf_kernels(void);
enum kf_cpu kf_cpu_level(void);
const char *kf_cpu_name(enum kf_cpu level);

// For tests: the table of one level, NULL where the processor or the build lacks it; and a change of the choice for all
// that follows (not thread safe).
const struct kf_kernel_table *kf_kernels_for(enum kf_cpu level);
int kf_cpu_use(enum kf_cpu level); // 0, or -1 when it cannot be used

#endif
