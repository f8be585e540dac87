// Inside of the kernel library: vectors of floats as wide as the instruction set's, so that one source serves all.
// +, -, · and / are the compiler's; every lane computes what the scalar expression computes.
#ifndef KERF_KERNELS_LANES_H
#define KERF_KERNELS_LANES_H

#include <stdint.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define KF_LANES 16
#elif defined(__AVX2__)
#define KF_LANES 8
#else
#define KF_LANES 4
#endif

typedef float kf_lanes __attribute__((vector_size(4 * KF_LANES), aligned(4), may_alias));
typedef int32_t kf_lanes_int __attribute__((vector_size(4 * KF_LANES), aligned(4), may_alias));

static inline kf_lanes lanes_at(const float *p)
{
    return *(const kf_lanes *)(const void *)p;
}

static inline void lanes_put(float *p, kf_lanes v)
{
    *(kf_lanes *)(void *)p = v;
}

static inline kf_lanes lanes_all(float value)
{
    return (kf_lanes){0} + value;
}

// a < b ? a : b, and a > b ? a : b; whether a < b in any lane.
#if defined(__AVX512F__)
static inline kf_lanes lanes_min(kf_lanes a, kf_lanes b)
{
    return (kf_lanes)_mm512_min_ps((__m512)a, (__m512)b);
}

static inline kf_lanes lanes_max(kf_lanes a, kf_lanes b)
{
    return (kf_lanes)_mm512_max_ps((__m512)a, (__m512)b);
}

static inline int lanes_any_less(kf_lanes a, kf_lanes b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ) != 0;
}

static inline kf_lanes lanes_sqrt(kf_lanes a)
{
    return (kf_lanes)_mm512_sqrt_ps((__m512)a);
}
#elif defined(__AVX2__)
static inline kf_lanes lanes_min(kf_lanes a, kf_lanes b)
{
    return (kf_lanes)_mm256_min_ps((__m256)a, (__m256)b);
}

static inline kf_lanes lanes_max(kf_lanes a, kf_lanes b)
{
    return (kf_lanes)_mm256_max_ps((__m256)a, (__m256)b);
}

static inline int lanes_any_less(kf_lanes a, kf_lanes b)
{
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_LT_OQ)) != 0;
}

static inline kf_lanes lanes_sqrt(kf_lanes a)
{
    return (kf_lanes)_mm256_sqrt_ps((__m256)a);
}
#else
static inline kf_lanes lanes_min(kf_lanes a, kf_lanes b)
{
    kf_lanes_int less = a < b;
    return (kf_lanes)((less & (kf_lanes_int)a) | (~less & (kf_lanes_int)b));
}

static inline kf_lanes lanes_max(kf_lanes a, kf_lanes b)
{
    kf_lanes_int more = a > b;
    return (kf_lanes)((more & (kf_lanes_int)a) | (~more & (kf_lanes_int)b));
}

static inline int lanes_any_less(kf_lanes a, kf_lanes b)
{
    kf_lanes_int less = a < b;
    return (less[0] | less[1] | less[2] | less[3]) != 0;
}

static inline kf_lanes lanes_sqrt(kf_lanes a)
{
    for (int l = 0; l < KF_LANES; l++)
        a[l] = __builtin_sqrtf(a[l]);
    return a;
}
#endif

#define LANES_SIGN ((kf_lanes_int){0} + INT32_MIN)

// table[index], lane by lane.
static inline kf_lanes lanes_look_up(const float *table, kf_lanes_int index)
{
#if defined(__AVX512F__)
    return (kf_lanes)_mm512_i32gather_ps((__m512i)index, table, 4);
#elif defined(__AVX2__)
    return (kf_lanes)_mm256_i32gather_ps(table, (__m256i)index, 4);
#else
    kf_lanes v;
    for (int l = 0; l < KF_LANES; l++)
        v[l] = table[index[l]];
    return v;
#endif
}

// The lanes of a where `where` is all ones, 0 where it is all zeros.
static inline kf_lanes lanes_where(kf_lanes_int where, kf_lanes a)
{
    return (kf_lanes)(where & (kf_lanes_int)a);
}

// p[index] and p[index + 1].
static inline void lanes_look_up_pair(const int16_t *p, kf_lanes_int index, kf_lanes *first, kf_lanes *second)
{
#if defined(__AVX2__)
#if defined(__AVX512F__)
    const kf_lanes_int both = (kf_lanes_int)_mm512_i32gather_epi32((__m512i)index, p, 2);
#else
    const kf_lanes_int both = (kf_lanes_int)_mm256_i32gather_epi32((const int *)(const void *)p, (__m256i)index, 2);
#endif
    *first = __builtin_convertvector(both << 16 >> 16, kf_lanes);
    *second = __builtin_convertvector(both >> 16, kf_lanes);
#else
    for (int l = 0; l < KF_LANES; l++) {
        (*first)[l] = (float)p[index[l]];
        (*second)[l] = (float)p[index[l] + 1];
    }
#endif
}

typedef int16_t kf_lanes_short __attribute__((vector_size(2 * KF_LANES), aligned(2), may_alias));

static inline kf_lanes_int lanes_of_i16(const int16_t *p)
{
    return __builtin_convertvector(*(const kf_lanes_short *)(const void *)p, kf_lanes_int);
}

static inline void lanes_put_i16(int16_t *p, kf_lanes_int v)
{
    *(kf_lanes_short *)(void *)p = __builtin_convertvector(v, kf_lanes_short);
}

#endif
