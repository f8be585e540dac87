#include "workers/kernels/cpu.h"
#include "workers/kernels/rows.h"

#include <stdlib.h>
#include <string.h>

// The chosen level plus one; 0: not chosen yet. Two threads that choose at once choose the same.
static int chosen;

static int supported(enum kf_cpu level)
{
    if (level == KF_CPU_NONE)
        return 1;
#if defined(KERF_KERNELS_X86)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi");
    if (level == KF_CPU_AVX2)
        return avx2 != 0;
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return 0;
#endif
}

const struct kf_kernel_table *kf_kernels_for(enum kf_cpu level)
{
    if (!supported(level))
        return NULL;
#if defined(KERF_KERNELS_X86)
    if (level == KF_CPU_AVX512)
        return &kf_rows_avx512;
    if (level == KF_CPU_AVX2)
        return &kf_rows_avx2;
#endif
    return &kf_rows_none;
}

const char *kf_cpu_name(enum kf_cpu level)
{
    static const char *const names[KF_CPU_COUNT] = {"none", "avx2", "avx512"};
    return (unsigned)level < KF_CPU_COUNT ? names[level] : "none";
}

static enum kf_cpu choose(void)
{
    int most = KF_CPU_COUNT - 1;
    const char *wish = getenv("KERF_CPU");
    for (int level = 0; wish && level < KF_CPU_COUNT; level++)
        if (strcmp(wish, kf_cpu_name((enum kf_cpu)level)) == 0)
            most = level;
    while (most > 0 && !supported((enum kf_cpu)most))
        most--;
    return (enum kf_cpu)most;
}

enum kf_cpu kf_cpu_level(void)
{
    int level = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (!level) {
        level = (int)choose() + 1;
        __atomic_store_n(&chosen, level, __ATOMIC_RELAXED);
    }
    return (enum kf_cpu)(level - 1);
}

const struct kf_kernel_table *kf_kernels(void)
{
    return kf_kernels_for(kf_cpu_level());
}

int kf_cpu_use(enum kf_cpu level)
{
    if ((unsigned)level >= KF_CPU_COUNT || !supported(level))
        return -1;
    __atomic_store_n(&chosen, (int)level + 1, __ATOMIC_RELAXED);
    return 0;
}
