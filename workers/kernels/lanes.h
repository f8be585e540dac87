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

#endif
