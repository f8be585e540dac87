// Times for the kernel benchmarks: the median of a few runs, and the line that all of them print.
#ifndef KERF_TESTS_BENCH_KERNELS_TIMING_H
#define KERF_TESTS_BENCH_KERNELS_TIMING_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifndef TIMING_CLOCK
#define TIMING_CLOCK CLOCK_MONOTONIC // CLOCK_PROCESS_CPUTIME_ID tells one thread's work on a busy machine
#endif

static inline double timing_now_ms(void)
{
    struct timespec now;
    clock_gettime(TIMING_CLOCK, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static inline int timing_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double timing_median(double *ms, int n)
{
    qsort(ms, (size_t)n, sizeof *ms, timing_order);
    return n % 2 ? ms[n / 2] : 0.5 * (ms[n / 2 - 1] + ms[n / 2]);
}

#endif
