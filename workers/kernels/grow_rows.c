#include "workers/kernels/grow_rows.h"
#include "workers/kernels/cpu.h"

#include <string.h>

#define EVERY_WHERE static inline __attribute__((always_inline))
#define NO_COST     0xffffff00u // costs from here on are no costs any more

EVERY_WHERE uint32_t step_cost(int a, int b)
{
    int d = a - b;
    return (uint32_t)((d < 0 ? -d : d) + 1) << 8;
}

// The sum, or the greatest number when it is greater than that.
EVERY_WHERE uint32_t add_cost(uint32_t state, uint32_t cost)
{
    uint32_t most = ~cost;
    return (state < most ? state : most) + cost;
}

EVERY_WHERE void take(const struct kf_grow_row *row, int64_t away, int side, uint32_t *best)
{
    const uint32_t *state = row->state + away + side;
    const int16_t *there = row->image + away + side, *here = row->image;
    int64_t first = side < 0 && !row->before, end = row->count - (side > 0 && !row->after);
    for (int64_t i = first; i < end; i++) {
        uint32_t sum = add_cost(state[i], step_cost(here[i], there[i]));
        best[i] = sum < best[i] ? sum : best[i];
    }
}

EVERY_WHERE void along(const struct kf_grow_row *row, uint32_t *best)
{
    uint32_t cost[KF_GROW_ROW + 1];
    int64_t n = row->count;
    const int16_t *here = row->image;
    for (int64_t i = 1; i < n; i++)
        cost[i] = step_cost(here[i], here[i - 1]);
    uint32_t state = row->before ? add_cost(row->state[-1], step_cost(here[0], here[-1])) : UINT32_MAX;
    best[0] = state = state < best[0] ? state : best[0];
    for (int64_t i = 1; i < n; i++) {
        state = add_cost(state, cost[i]);
        best[i] = state = state < best[i] ? state : best[i];
    }
    if (row->after) {
        uint32_t sum = add_cost(row->state[n], step_cost(here[n - 1], here[n]));
        state = sum < state ? sum : state;
    }
    best[n - 1] = state;
    for (int64_t i = n - 1; i > 0; i--) {
        state = add_cost(state, cost[i]);
        best[i - 1] = state = state < best[i - 1] ? state : best[i - 1];
    }
}

EVERY_WHERE unsigned update(const struct kf_grow_row *row, uint32_t *least)
{
    uint32_t best[KF_GROW_ROW], changed = 0, low = *least;
    int64_t n = row->count;
    memcpy(best, row->state, (size_t)n * sizeof *best);
    for (int r = 0; r < row->rows; r++) {
        take(row, row->away[r], 0, best);
        if (row->wide) {
            take(row, row->away[r], -1, best);
            take(row, row->away[r], 1, best);
        }
    }
    for (int64_t i = 0; i < n; i++)
        changed |= best[i] ^ row->state[i];
    if (!changed && !row->itself)
        return 0;
    along(row, best);
    changed = 0;
    for (int64_t i = 0; i < n; i++) {
        best[i] = best[i] < NO_COST ? best[i] : UINT32_MAX;
        changed |= best[i] ^ row->state[i];
        uint32_t gained = best[i] < row->state[i] ? best[i] : UINT32_MAX;
        low = gained < low ? gained : low;
    }
    if (!changed)
        return 0;
    *least = low;
    unsigned answer = KF_GROW_CHANGED | (best[0] != row->state[0] ? KF_GROW_FIRST : 0) |
                      (best[n - 1] != row->state[n - 1] ? KF_GROW_LAST : 0);
    memcpy(row->state, best, (size_t)n * sizeof *best);
    return answer;
}

#define VARIANT(name, target)                                                                                          \
    target static unsigned update_##name(const struct kf_grow_row *row, uint32_t *least)                               \
    {                                                                                                                  \
        return update(row, least);                                                                                     \
    }

VARIANT(none, )
#if defined(KERF_KERNELS_X86)
VARIANT(avx2, __attribute__((target("avx2"))))
VARIANT(avx512, __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"))))
#endif

kf_grow_row_update kf_grow_rows(void)
{
#if defined(KERF_KERNELS_X86)
    if (kf_cpu_level() == KF_CPU_AVX512)
        return update_avx512;
    if (kf_cpu_level() == KF_CPU_AVX2)
        return update_avx2;
#endif
    return update_none;
}
