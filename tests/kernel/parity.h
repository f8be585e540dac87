// The same bytes at any thread count and instruction set, and nothing written outside.
#ifndef KERF_TESTS_KERNEL_PARITY_H
#define KERF_TESTS_KERNEL_PARITY_H

#include "workers/io/memory.h"
#include "workers/kernels/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARITY_GUARD 64

typedef enum kf_kernel_status (*parity_run)(const struct kf_work *work, void *out, void *user);

// Runs a kernel on `bytes` of output for 1, 2, 3 and 7 threads at every level that this machine has; not `crossed`, with
// two of these numbers at each level, which will do for what takes long and is made of kernels that are crossed themselves.
// The first result is left in `first`. Returns the number of runs that failed, wrote outside of the output, or gave
// other bytes.
static inline int parity_failures_in(int crossed, parity_run run, void *user, size_t bytes, void *first)
{
    static const int threads[] = {1, 2, 3, 7};
    unsigned char *guarded = malloc(bytes + 2 * PARITY_GUARD), guard[PARITY_GUARD];
    enum kf_cpu was = kf_cpu_level();
    int failures = 0, runs = 0;
    memset(guard, 0xa5, sizeof guard);
    for (int level = 0; guarded && level < KF_CPU_COUNT; level++)
        for (int t = 0; t < 4 && !kf_cpu_use((enum kf_cpu)level); t++) {
            if (!crossed && t != level && t != level + 1)
                continue;
            struct kf_work work;
            kf_work_init(&work, threads[t]);
            memset(guarded, 0xa5, bytes + 2 * PARITY_GUARD);
            int bad = run(&work, guarded + PARITY_GUARD, user) != KF_KERNEL_OK;
            bad |= memcmp(guarded, guard, sizeof guard) != 0;
            bad |= memcmp(guarded + PARITY_GUARD + bytes, guard, sizeof guard) != 0;
            if (runs == 0)
                memcpy(first, guarded + PARITY_GUARD, bytes);
            else
                bad |= memcmp(first, guarded + PARITY_GUARD, bytes) != 0;
            if (bad)
                fprintf(stderr, "differs: %s, %d threads\n", kf_cpu_name((enum kf_cpu)level), threads[t]);
            failures += bad;
            runs++;
        }
    free(guarded);
    return kf_cpu_use(was) || runs < (crossed ? 4 : 2) ? 1000 : failures;
}

static inline int parity_failures(parity_run run, void *user, size_t bytes, void *first)
{
    return parity_failures_in(1, run, user, bytes, first);
}

#endif
