// Inside of the kernel library: union-find. A root is the least member of its set, so the order of unions does not
// matter.
#ifndef KERF_KERNELS_SETS_H
#define KERF_KERNELS_SETS_H

#include <stdint.h>

// parent[n] = n for a set of its own.
static inline uint32_t kf_set_root(uint32_t *parent, uint32_t n)
{
    while (parent[n] != n) {
        parent[n] = parent[parent[n]];
        n = parent[n];
    }
    return n;
}

static inline void kf_set_join(uint32_t *parent, uint32_t a, uint32_t b)
{
    a = kf_set_root(parent, a);
    b = kf_set_root(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

#endif
