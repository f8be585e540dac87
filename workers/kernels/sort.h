// Inside of the kernel library: sorting numbers by keys.
#ifndef KERF_KERNELS_SORT_H
#define KERF_KERNELS_SORT_H

#include "workers/kernels/work.h"

struct kf_sort_entry {
    uint64_t key;
    uint32_t value;
    uint32_t pad;
};

// Sorts `list` by its keys, of which only the lowest `bits` bits may be set; equal keys stay in their order. `spare`
// holds as many entries. Radix, least digit first: the time is in proportion to `count`. Asks as it goes.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_sort(const struct kf_work *work, struct kf_sort_entry *list,
                                                 struct kf_sort_entry *spare, int64_t count, int bits);

#endif
