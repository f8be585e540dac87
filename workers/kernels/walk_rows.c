#include "workers/kernels/walk_rows.h"
#include "workers/kernels/cpu.h"

// Sixteen floats whatever the processor: the compiler splits them where its registers are narrower, and the lanes of a
// sum stay what they are.
typedef float lanes __attribute__((vector_size(4 * KF_WALK_LANES), aligned(4), may_alias));

#define AT(row)     (*(const lanes *)(const void *)(row))
#define PUT(row)    (*(lanes *)(void *)(row))
#define EVERY_WHERE static inline __attribute__((always_inline))

// Lanes added as a tree, in doubles.
#define ADD_LANES(sum, total)                                                                                          \
    do {                                                                                                               \
        double part[KF_WALK_LANES];                                                                                    \
        for (int n = 0; n < KF_WALK_LANES; n++)                                                                        \
            part[n] = (double)(sum)[n];                                                                                \
        for (int half = KF_WALK_LANES / 2; half; half /= 2)                                                            \
            for (int n = 0; n < half; n++)                                                                             \
                part[n] += part[n + half];                                                                             \
        (total) = part[0];                                                                                             \
    } while (0)

// What voxel i takes from its neighbours along an axis, and from all.
#define ALONG(near, a, i)                                                                                              \
    (AT((near).edge_after[a] + (i)) * AT((near).after[a] + (i)) +                                                      \
     AT((near).edge_before[a] + (i)) * AT((near).before[a] + (i)))
#define AROUND(near, i) (ALONG(near, 0, i) + ALONG(near, 1, i) + ALONG(near, 2, i))

EVERY_WHERE void gather(const struct kf_walk_near *from, float *to, int add, int64_t count)
{
    const struct kf_walk_near near = *from; // no store can change it
    for (int64_t i = 0; i < count; i += KF_WALK_LANES) {
        lanes sum = AROUND(near, i);
        if (add)
            sum += AT(to + i);
        PUT(to + i) = sum;
    }
}

EVERY_WHERE double apply(const struct kf_walk_block *b, const struct kf_walk_near *from)
{
    const struct kf_walk_near near = *from;
    const float *direction = b->p;
    float *out = b->q;
    lanes sum = {0};
    for (int64_t i = 0, count = b->count; i < count; i += KF_WALK_LANES) {
        lanes p = AT(direction + i), q = p - AROUND(near, i);
        PUT(out + i) = q;
        sum += p * q;
    }
    double total;
    ADD_LANES(sum, total);
    return total;
}

EVERY_WHERE double reduce(const struct kf_walk_block *b, float alpha)
{
    lanes sum = {0};
    for (int64_t i = 0; i < b->count; i += KF_WALK_LANES) {
        PUT(b->y + i) = AT(b->y + i) + alpha * AT(b->p + i);
        lanes r = AT(b->r + i) - alpha * AT(b->q + i);
        PUT(b->r + i) = r;
        sum += r * r;
    }
    double total;
    ADD_LANES(sum, total);
    return total;
}

EVERY_WHERE void advance(const struct kf_walk_block *b, float beta)
{
    for (int64_t i = 0; i < b->count; i += KF_WALK_LANES)
        PUT(b->p + i) = AT(b->r + i) + beta * AT(b->p + i);
}

#define VARIANT(name, target)                                                                                          \
    target static void gather_##name(const struct kf_walk_near *near, float *to, int add, int64_t count)               \
    {                                                                                                                  \
        gather(near, to, add, count);                                                                                  \
    }                                                                                                                  \
    target static double apply_##name(const struct kf_walk_block *block, const struct kf_walk_near *near)              \
    {                                                                                                                  \
        return apply(block, near);                                                                                     \
    }                                                                                                                  \
    target static double reduce_##name(const struct kf_walk_block *block, float alpha)                                 \
    {                                                                                                                  \
        return reduce(block, alpha);                                                                                   \
    }                                                                                                                  \
    target static void advance_##name(const struct kf_walk_block *block, float beta)                                   \
    {                                                                                                                  \
        advance(block, beta);                                                                                          \
    }                                                                                                                  \
    static const struct kf_walk_rows rows_##name = {gather_##name, apply_##name, reduce_##name, advance_##name};

VARIANT(none, )
#if defined(KERF_KERNELS_X86)
VARIANT(avx2, __attribute__((target("avx2"))))
VARIANT(avx512, __attribute__((target("avx512f,avx512dq,avx512vl,prefer-vector-width=512"))))
#endif

const struct kf_walk_rows *kf_walk_rows(void)
{
#if defined(KERF_KERNELS_X86)
    if (kf_cpu_level() == KF_CPU_AVX512)
        return &rows_avx512;
    if (kf_cpu_level() == KF_CPU_AVX2)
        return &rows_avx2;
#endif
    return &rows_none;
}
