// Interpolation of a row's voxels, sixteen at a time, compiled once per instruction set. Positions are doubles at the
// first of the sixteen and floats from there, so that they are as good at the end of a row as at its start. On x86 the
// linear kernels gather; otherwise each voxel is computed by the same expressions.
#include "workers/kernels/resample_block.h"

// Voxels [first, end) of a row, at least sixteen of them; `out` is voxel 0. The last sixteen may overlap those before.
#define SPAN(name, type)                                                                                               \
    static void name(const struct kf_resample_row *row, int64_t first, int64_t end, type *out)                         \
    {                                                                                                                  \
        for (int64_t i = first; i < end; i += 16)                                                                      \
            name##_16(row, end - i < 16 ? end - 16 : i, out + (end - i < 16 ? end - 16 : i));                          \
    }

static inline float lerp(float a, float b, float t)
{
    return a + t * (b - a);
}

static inline int16_t to_i16(float value)
{
    value = (value + 12582912.0f) - 12582912.0f; // the nearest whole number, halves to even
    return (int16_t)(value < -32768 ? -32768 : value > 32767 ? 32767 : value);
}

#define LINEAR(name, type, convert)                                                                                    \
    static inline void name##_16(const struct kf_resample_row *row, int64_t first, type *out)                          \
    {                                                                                                                  \
        struct resample_block b = block_at(row, first);                                                                \
        int64_t line = row->dim[0], plane = row->dim[0] * row->dim[1];                                                 \
        const type *base = (const type *)row->data + b.base[0] + b.base[1] * line + b.base[2] * plane;                 \
        for (int l = 0; l < 16; l++) {                                                                                 \
            float x = b.frac[0] + (float)l * b.step[0], y = b.frac[1] + (float)l * b.step[1];                          \
            float z = b.frac[2] + (float)l * b.step[2];                                                                \
            int i = floor_of(x), j = floor_of(y), k = floor_of(z);                                                     \
            x -= (float)i;                                                                                             \
            y -= (float)j;                                                                                             \
            z -= (float)k;                                                                                             \
            const type *v = base + i + j * line + k * plane, *w = v + plane;                                           \
            float a = lerp(lerp((float)v[0], (float)v[1], x), lerp((float)v[line], (float)v[line + 1], x), y);         \
            float c = lerp(lerp((float)w[0], (float)w[1], x), lerp((float)w[line], (float)w[line + 1], x), y);         \
            out[l] = convert(lerp(a, c, z));                                                                           \
        }                                                                                                              \
    }

#if defined(__AVX512F__)
struct gather16 {
    __m512 t[3];   // fractions
    __m512i index; // from the base voxel
};

static inline struct gather16 gather_of(const struct resample_block *b, const int64_t dim[3])
{
    struct gather16 g;
    const int32_t stride[3] = {1, (int32_t)dim[0], (int32_t)(dim[0] * dim[1])};
    const __m512 lane = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    g.index = _mm512_setzero_si512();
    for (int a = 0; a < 3; a++) {
        __m512 x = _mm512_add_ps(_mm512_set1_ps(b->frac[a]), _mm512_mul_ps(lane, _mm512_set1_ps(b->step[a])));
        __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
        g.t[a] = _mm512_sub_ps(x, whole);
        __m512i i = _mm512_cvttps_epi32(whole);
        g.index = _mm512_add_epi32(g.index, a ? _mm512_mullo_epi32(i, _mm512_set1_epi32(stride[a])) : i);
    }
    return g;
}

static inline __m512 lerp16(__m512 a, __m512 b, __m512 t)
{
    return _mm512_add_ps(a, _mm512_mul_ps(t, _mm512_sub_ps(b, a)));
}

// Along x between a voxel and the next: both int16 come in one gathered word.
static inline __m512 pair_i16(const int16_t *base, __m512i index, __m512 t)
{
    __m512i both = _mm512_i32gather_epi32(index, base, 2);
    __m512 a = _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(both, 16), 16));
    return lerp16(a, _mm512_cvtepi32_ps(_mm512_srai_epi32(both, 16)), t);
}

static inline __m512 pair_f32(const float *base, __m512i index, __m512 t)
{
    return lerp16(_mm512_i32gather_ps(index, base, 4), _mm512_i32gather_ps(index, base + 1, 4), t);
}

#define LINEAR_GATHER(name, type, pair, store)                                                                         \
    static inline void name##_16(const struct kf_resample_row *row, int64_t first, type *out)                          \
    {                                                                                                                  \
        struct resample_block b = block_at(row, first);                                                                \
        struct gather16 g = gather_of(&b, row->dim);                                                                   \
        int64_t line = row->dim[0], plane = row->dim[0] * row->dim[1];                                                 \
        const type *base = (const type *)row->data + b.base[0] + b.base[1] * line + b.base[2] * plane;                 \
        __m512 a = lerp16(pair(base, g.index, g.t[0]), pair(base + line, g.index, g.t[0]), g.t[1]);                    \
        base += plane;                                                                                                 \
        __m512 c = lerp16(pair(base, g.index, g.t[0]), pair(base + line, g.index, g.t[0]), g.t[1]);                    \
        store(out, lerp16(a, c, g.t[2]));                                                                              \
    }

static inline void store_i16(int16_t *out, __m512 v)
{
    _mm256_storeu_si256((__m256i *)(void *)out, _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(v)));
}

LINEAR_GATHER(linear_i16, int16_t, pair_i16, store_i16)
LINEAR_GATHER(linear_f32, float, pair_f32, _mm512_storeu_ps)
#else
LINEAR(linear_i16, int16_t, to_i16)
LINEAR(linear_f32, float, )
#endif

SPAN(linear_i16, int16_t)
SPAN(linear_f32, float)

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

// Keys, "Cubic Convolution Interpolation for Digital Image Processing", IEEE TASSP 29(6), 1981, with a = -1/2.
static inline four cubic_weights(float t)
{
    float s = t * t, c = s * t;
    return (four){-0.5f * t + s - 0.5f * c, 1.0f - 2.5f * s + 1.5f * c, 0.5f * t + 2.0f * s - 1.5f * c,
                  -0.5f * s + 0.5f * c};
}

static inline four four_i16(const int16_t *p)
{
    typedef int16_t four_words __attribute__((vector_size(8), aligned(2), may_alias));
    return __builtin_convertvector(*(const four_words *)(const void *)p, four);
}

static inline four four_f32(const float *p)
{
    return *(const four *)(const void *)p;
}

#define CUBIC(name, type, load, convert)                                                                               \
    static inline void name##_16(const struct kf_resample_row *row, int64_t first, type *out)                          \
    {                                                                                                                  \
        struct resample_block b = block_at(row, first);                                                                \
        int64_t line = row->dim[0], plane = row->dim[0] * row->dim[1];                                                 \
        const type *base = (const type *)row->data + b.base[0] + b.base[1] * line + b.base[2] * plane;                 \
        for (int l = 0; l < 16; l++) {                                                                                 \
            float x = b.frac[0] + (float)l * b.step[0], y = b.frac[1] + (float)l * b.step[1];                          \
            float z = b.frac[2] + (float)l * b.step[2];                                                                \
            int i = floor_of(x), j = floor_of(y), k = floor_of(z);                                                     \
            four wx = cubic_weights(x - (float)i), wy = cubic_weights(y - (float)j);                                   \
            four wz = cubic_weights(z - (float)k), sum = {0};                                                          \
            const type *v = base + (i - 1) + (j - 1) * line + (k - 1) * plane;                                         \
            for (int c = 0; c < 4; c++)                                                                                \
                for (int a = 0; a < 4; a++) {                                                                          \
                    const type *q = v + a * line + c * plane;                                                          \
                    sum += (wz[c] * wy[a]) * load(q);                                                                  \
                }                                                                                                      \
            sum *= wx;                                                                                                 \
            out[l] = convert((sum[0] + sum[1]) + (sum[2] + sum[3]));                                                   \
        }                                                                                                              \
    }

CUBIC(cubic_i16, int16_t, four_i16, to_i16)
CUBIC(cubic_f32, float, four_f32, )
SPAN(cubic_i16, int16_t)
SPAN(cubic_f32, float)

// Offsets first, all at once, and through memory, which is faster than taking them out of a register one by one. A
// gather would not be faster than sixteen loads. Any number of voxels.
#define NEAREST(name, type)                                                                                            \
    static void name(const struct kf_resample_row *row, int64_t first, int64_t end, type *out)                         \
    {                                                                                                                  \
        int32_t line = (int32_t)row->dim[0], plane = (int32_t)(row->dim[0] * row->dim[1]), offset[16];                 \
        for (; first < end; first += 16) {                                                                             \
            struct resample_block b = block_at(row, first);                                                            \
            int64_t at = b.base[0] + row->dim[0] * (b.base[1] + row->dim[1] * b.base[2]);                              \
            const type *base = (const type *)row->data + at;                                                           \
            for (int l = 0; l < 16; l++) {                                                                             \
                int i = floor_of(b.frac[0] + (float)l * b.step[0] + 0.5f);                                             \
                int j = floor_of(b.frac[1] + (float)l * b.step[1] + 0.5f);                                             \
                int k = floor_of(b.frac[2] + (float)l * b.step[2] + 0.5f);                                             \
                offset[l] = i + j * line + k * plane;                                                                  \
            }                                                                                                          \
            __asm__("" : "+m"(offset));                                                                                \
            if (end - first >= 16)                                                                                     \
                for (int l = 0; l < 16; l++)                                                                           \
                    out[first + l] = base[offset[l]];                                                                  \
            else                                                                                                       \
                for (int l = 0; l < (int)(end - first); l++)                                                           \
                    out[first + l] = base[offset[l]];                                                                  \
        }                                                                                                              \
    }

NEAREST(nearest_8, uint8_t)
NEAREST(nearest_16, uint16_t)
NEAREST(nearest_32, uint32_t)
