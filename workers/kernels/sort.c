#include "workers/kernels/sort.h"

#include <string.h>

#define DIGIT_MOST 12 // bits: as many places to write to at once as a cache still keeps apart
#define FEW        4096
#define DIGIT_FEW  8 // for few entries, to which the counters of a larger digit would be most of the work

enum kf_kernel_status kf_sort(const struct kf_work *work, struct kf_sort_entry *list, struct kf_sort_entry *spare,
                              int64_t count, int bits)
{
    const int digit = count < FEW ? DIGIT_FEW : DIGIT_MOST;
    const uint64_t mask = ((uint64_t)1 << digit) - 1;
    struct kf_sort_entry *from = list, *to = spare;
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int shift = 0; shift < bits && count > 1; shift += digit) {
        int64_t start[(1 << DIGIT_MOST) + 1];
        memset(start, 0, (size_t)(mask + 2) * sizeof *start);
        for (int64_t i = 0; i < count && !(status = kf_work_ask(work, i)); i++)
            start[(from[i].key >> shift & mask) + 1]++;
        if (status)
            return status;
        if (start[(from[0].key >> shift & mask) + 1] == count)
            continue; // all have the same digit
        for (uint64_t i = 0; i < mask; i++)
            start[i + 1] += start[i];
        for (int64_t i = 0; i < count && !(status = kf_work_ask(work, i)); i++)
            to[start[from[i].key >> shift & mask]++] = from[i];
        if (status)
            return status;
        struct kf_sort_entry *swap = from;
        from = to;
        to = swap;
    }
    if (from != list)
        memcpy(list, from, (size_t)count * sizeof *list);
    return status;
}
