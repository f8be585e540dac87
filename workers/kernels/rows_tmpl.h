// The row kernels, compiled once per instruction set: KF_ROWS names the table, the compiler's own macros say which
// intrinsics may be used. What has none is plain C that the compiler vectorises; floating point stays in the written
// order (no contraction), so that all tables give the same bytes.
#include "workers/kernels/rows.h"
#include "workers/kernels/mesh_intersect_tmpl.h"
#include "workers/kernels/surface_tmpl.h"
#include "workers/kernels/surface_labels_tmpl.h"
#include "workers/kernels/surface_labels_mesh_tmpl.h"

#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

static inline int clamp_i16(int value)
{
    return value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value;
}

static uint64_t tail_i16(const int16_t *row, int64_t n, int low, int high)
{
    uint64_t word = 0;
    for (int64_t i = 0; i < n; i++)
        word |= (uint64_t)((row[i] >= low) & (row[i] <= high)) << i;
    return word;
}

#if defined(__AVX512BW__)
static inline uint64_t word_i16(const int16_t *row, int low, int high)
{
    __m512i l = _mm512_set1_epi16((int16_t)low), h = _mm512_set1_epi16((int16_t)high);
    __m512i a = _mm512_loadu_si512(row), b = _mm512_loadu_si512(row + 32);
    uint64_t first = _mm512_cmpge_epi16_mask(a, l) & _mm512_cmple_epi16_mask(a, h);
    uint64_t second = _mm512_cmpge_epi16_mask(b, l) & _mm512_cmple_epi16_mask(b, h);
    return first | second << 32;
}
#elif defined(__AVX2__)
static inline uint64_t half_i16(const int16_t *row, __m256i l, __m256i h)
{
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)row);
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(row + 16));
    __m256i out_a = _mm256_or_si256(_mm256_cmpgt_epi16(l, a), _mm256_cmpgt_epi16(a, h));
    __m256i out_b = _mm256_or_si256(_mm256_cmpgt_epi16(l, b), _mm256_cmpgt_epi16(b, h));
    __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(out_a, out_b), 0xd8);
    return (uint32_t)~_mm256_movemask_epi8(bytes);
}

static inline uint64_t word_i16(const int16_t *row, int low, int high)
{
    __m256i l = _mm256_set1_epi16((int16_t)low), h = _mm256_set1_epi16((int16_t)high);
    return half_i16(row, l, h) | half_i16(row + 32, l, h) << 32;
}
#else
static inline uint64_t word_i16(const int16_t *row, int low, int high)
{
    return tail_i16(row, 64, low, high);
}
#endif

static void bits_i16(const int16_t *row, int64_t n, int low, int high, uint64_t *bits)
{
    int empty = low > high || low > INT16_MAX || high < INT16_MIN;
    low = clamp_i16(low);
    high = clamp_i16(high);
    if (empty) {
        memset(bits, 0, (size_t)((n + 63) / 64) * sizeof *bits);
        return;
    }
    int64_t i = 0;
    for (; i + 64 <= n; i += 64)
        bits[i / 64] = word_i16(row + i, low, high);
    if (i < n)
        bits[i / 64] = tail_i16(row + i, n - i, low, high);
}

static uint64_t tail_f32(const float *row, int64_t n, float low, float high)
{
    uint64_t word = 0;
    for (int64_t i = 0; i < n; i++)
        word |= (uint64_t)((row[i] >= low) & (row[i] <= high)) << i;
    return word;
}

#if defined(__AVX512F__)
static inline uint64_t word_f32(const float *row, float low, float high)
{
    uint64_t word = 0;
    for (int i = 0; i < 4; i++) {
        __m512 v = _mm512_loadu_ps(row + 16 * i);
        uint64_t mask = _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(v, _mm512_set1_ps(low), _CMP_GE_OQ), v,
                                                _mm512_set1_ps(high), _CMP_LE_OQ);
        word |= mask << (16 * i);
    }
    return word;
}
#elif defined(__AVX2__)
static inline uint64_t word_f32(const float *row, float low, float high)
{
    uint64_t word = 0;
    for (int i = 0; i < 8; i++) {
        __m256 v = _mm256_loadu_ps(row + 8 * i);
        __m256 in = _mm256_and_ps(_mm256_cmp_ps(v, _mm256_set1_ps(low), _CMP_GE_OQ),
                                  _mm256_cmp_ps(v, _mm256_set1_ps(high), _CMP_LE_OQ));
        word |= (uint64_t)(uint32_t)_mm256_movemask_ps(in) << (8 * i);
    }
    return word;
}
#else
static inline uint64_t word_f32(const float *row, float low, float high)
{
    return tail_f32(row, 64, low, high);
}
#endif

static void bits_f32(const float *row, int64_t n, float low, float high, uint64_t *bits)
{
    int64_t i = 0;
    for (; i + 64 <= n; i += 64)
        bits[i / 64] = word_f32(row + i, low, high);
    if (i < n)
        bits[i / 64] = tail_f32(row + i, n - i, low, high);
}

static uint64_t tail_u8(const uint8_t *row, int64_t n, uint8_t value)
{
    uint64_t word = 0;
    for (int64_t i = 0; i < n; i++)
        word |= (uint64_t)(row[i] == value) << i;
    return word;
}

#if defined(__AVX512BW__)
static inline uint64_t word_u8(const uint8_t *row, uint8_t value)
{
    return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(row), _mm512_set1_epi8((char)value));
}
#elif defined(__AVX2__)
static inline uint64_t word_u8(const uint8_t *row, uint8_t value)
{
    __m256i v = _mm256_set1_epi8((char)value);
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)row);
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(row + 32));
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, v)) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b, v)) << 32;
}
#else
static inline uint64_t word_u8(const uint8_t *row, uint8_t value)
{
    return tail_u8(row, 64, value);
}
#endif

static void bits_u8(const uint8_t *row, int64_t n, uint8_t value, uint64_t *bits)
{
    int64_t i = 0;
    for (; i + 64 <= n; i += 64)
        bits[i / 64] = word_u8(row + i, value);
    if (i < n)
        bits[i / 64] = tail_u8(row + i, n - i, value);
}

static void paint_u8(const uint64_t *bits, int64_t n, uint8_t value, uint8_t *row)
{
    for (int64_t start = 0; start < n; start += 64) {
        uint64_t word = bits[start / 64];
        int64_t count = n - start < 64 ? n - start : 64;
        if (word == ~(uint64_t)0 && count == 64) {
            memset(row + start, value, 64);
            continue;
        }
        for (; word; word &= word - 1) {
            int64_t bit = __builtin_ctzll(word);
            if (bit >= count)
                break;
            row[start + bit] = value;
        }
    }
}

// Vectors as wide as the instruction set's; four of them stay in registers.
#if defined(__AVX512F__)
#define FIR_LANES 16
#elif defined(__AVX__)
#define FIR_LANES 8
#else
#define FIR_LANES 4
#endif
typedef float fir_lanes __attribute__((vector_size(4 * FIR_LANES), aligned(4), may_alias));
#define FIR_BLOCK       (4 * FIR_LANES)
#define FIR_AT(row, n)  (*(const fir_lanes *)(const void *)((row) + (n)*FIR_LANES))
#define FIR_PUT(row, n) (*(fir_lanes *)(void *)((row) + (n)*FIR_LANES))

static void fir_f32(const float *const *rows, const float *weights, int radius, int64_t n, float *out)
{
    int64_t start = 0;
    for (; start + FIR_BLOCK <= n; start += FIR_BLOCK) {
        const float *middle = rows[radius] + start;
        fir_lanes a = weights[0] * FIR_AT(middle, 0), b = weights[0] * FIR_AT(middle, 1);
        fir_lanes c = weights[0] * FIR_AT(middle, 2), d = weights[0] * FIR_AT(middle, 3);
        for (int t = 1; t <= radius; t++) {
            const float *before = rows[radius - t] + start, *after = rows[radius + t] + start;
            a += weights[t] * (FIR_AT(before, 0) + FIR_AT(after, 0));
            b += weights[t] * (FIR_AT(before, 1) + FIR_AT(after, 1));
            c += weights[t] * (FIR_AT(before, 2) + FIR_AT(after, 2));
            d += weights[t] * (FIR_AT(before, 3) + FIR_AT(after, 3));
        }
        FIR_PUT(out + start, 0) = a;
        FIR_PUT(out + start, 1) = b;
        FIR_PUT(out + start, 2) = c;
        FIR_PUT(out + start, 3) = d;
    }
    for (int64_t i = start; i < n; i++) {
        float one = weights[0] * rows[radius][i];
        for (int t = 1; t <= radius; t++)
            one += weights[t] * (rows[radius - t][i] + rows[radius + t][i]);
        out[i] = one;
    }
}

static void i16_f32(const int16_t *row, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)row[i];
}

static void planes_i16(const int16_t *row, int64_t n, uint8_t *restrict low, uint8_t *restrict high)
{
    if (n < 1)
        return;
    low[0] = (uint8_t)row[0];
    high[0] = (uint8_t)((uint16_t)row[0] >> 8);
    for (int64_t i = 1; i < n; i++) {
        uint16_t d = (uint16_t)((uint16_t)row[i] - (uint16_t)row[i - 1]);
        low[i] = (uint8_t)d;
        high[i] = (uint8_t)(d >> 8);
    }
}

static void add_i16(const int16_t *row, int64_t n, int32_t *restrict sums)
{
    for (int64_t i = 0; i < n; i++)
        sums[i] += row[i];
}

// A block of the row stays in registers while the rows go by.
static void unite_rows(uint64_t *to, const uint64_t *from, const int64_t *offset, int64_t count, int64_t words)
{
    int64_t w = 0;
#if defined(__AVX512F__)
    for (; w + 8 <= words; w += 8) {
        __m512i sum = _mm512_loadu_si512(to + w);
        for (int64_t n = 0; n < count; n++)
            sum = _mm512_or_si512(sum, _mm512_loadu_si512(from + offset[n] + w));
        _mm512_storeu_si512(to + w, sum);
    }
#endif
#if defined(__AVX2__)
    for (; w + 4 <= words; w += 4) {
        __m256i sum = _mm256_loadu_si256((const __m256i *)(const void *)(to + w));
        for (int64_t n = 0; n < count; n++)
            sum = _mm256_or_si256(sum, _mm256_loadu_si256((const __m256i *)(const void *)(from + offset[n] + w)));
        _mm256_storeu_si256((__m256i *)(void *)(to + w), sum);
    }
#endif
    for (; w < words; w++) {
        uint64_t sum = to[w];
        for (int64_t n = 0; n < count; n++)
            sum |= from[offset[n] + w];
        to[w] = sum;
    }
}

const struct kf_kernel_table KF_ROWS = {
    .bits_i16 = bits_i16,
    .bits_f32 = bits_f32,
    .bits_u8 = bits_u8,
    .paint_u8 = paint_u8,
    .fir_f32 = fir_f32,
    .i16_f32 = i16_f32,
    .planes_i16 = planes_i16,
    .add_i16 = add_i16,
    .unite_rows = unite_rows,
    .surface_count = surface_count,
    .surface_fill = surface_fill,
    .labels_count = labels_count,
    .labels_fill = labels_fill,
    .labels_find = labels_find,
    .labels_vertices = labels_vertices,
    .labels_quads = labels_quads,
    .intersect_block = intersect_block,
};
