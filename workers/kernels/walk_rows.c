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

EVERY_WHERE double apply(const struct kf_walk_block *b)
{
    lanes sum = {0};
    const float *x = b->edge[0], *y = b->edge[1], *z = b->edge[2], *p = b->p;
    int64_t row = b->step[1], slice = b->step[2];
    for (int64_t i = 0; i < b->count; i += KF_WALK_LANES) {
        lanes along = AT(x + i) * AT(p + i + 1) + AT(x + i - 1) * AT(p + i - 1);
        lanes across = AT(y + i) * AT(p + i + row) + AT(y + i - row) * AT(p + i - row);
        lanes through = AT(z + i) * AT(p + i + slice) + AT(z + i - slice) * AT(p + i - slice);
        lanes here = AT(p + i), q = here - (along + across + through);
        PUT(b->q + i) = q;
        sum += here * q;
    }
    double total;
    ADD_LANES(sum, total);
    return total;
}

EVERY_WHERE double reduce(const struct kf_walk_block *b, float alpha)
{
    lanes sum = {0};
    for (int64_t i = 0; i < b->count; i += KF_WALK_LANES) {
        lanes r = AT(b->r + i) - alpha * AT(b->q + i);
        PUT(b->r + i) = r;
        sum += r * r;
    }
    double total;
    ADD_LANES(sum, total);
    return total;
}

EVERY_WHERE void advance(const struct kf_walk_block *b, float alpha, float beta)
{
    for (int64_t i = 0; i < b->count; i += KF_WALK_LANES) {
        lanes p = AT(b->p + i);
        PUT(b->y + i) = AT(b->y + i) + alpha * p;
        PUT(b->p + i) = AT(b->r + i) + beta * p;
    }
}

#define VARIANT(name, target)                                                                                          \
    target static double apply_##name(const struct kf_walk_block *block)                                               \
    {                                                                                                                  \
        return apply(block);                                                                                           \
    }                                                                                                                  \
    target static double reduce_##name(const struct kf_walk_block *block, float alpha)                                 \
    {                                                                                                                  \
        return reduce(block, alpha);                                                                                   \
    }                                                                                                                  \
    target static void advance_##name(const struct kf_walk_block *block, float alpha, float beta)                      \
    {                                                                                                                  \
        advance(block, alpha, beta);                                                                                   \
    }                                                                                                                  \
    static const struct kf_walk_rows rows_##name = {apply_##name, reduce_##name, advance_##name};

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
