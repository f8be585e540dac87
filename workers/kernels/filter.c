#include "workers/kernels/filter.h"
#include "workers/kernels/cpu.h"

const struct kf_filter_table *kf_filters(void)
{
#if defined(KERF_KERNELS_X86)
    switch (kf_cpu_level()) {
    case KF_CPU_AVX512:
        return &kf_filters_avx512;
    case KF_CPU_AVX2:
        return &kf_filters_avx2;
    default:
        break;
    }
#endif
    return &kf_filters_none;
}
