// Inside of the kernel library: the row kernels of each instruction set.
#ifndef KERF_KERNELS_ROWS_H
#define KERF_KERNELS_ROWS_H

#include "workers/kernels/cpu.h"

extern const struct kf_kernel_table kf_rows_none;
#if defined(KERF_KERNELS_X86)
extern const struct kf_kernel_table kf_rows_avx2;
extern const struct kf_kernel_table kf_rows_avx512;
#endif

#endif
