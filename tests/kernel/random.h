// Test numbers: a counter-based generator (splitmix64, Steele, Lea, Flood, OOPSLA 2014), so that every run is the same.
#ifndef KERF_TESTS_KERNEL_RANDOM_H
#define KERF_TESTS_KERNEL_RANDOM_H

#include <stdint.h>

static inline uint64_t test_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline double test_uniform(uint64_t *state, double low, double high)
{
    return low + (high - low) * (double)(test_random(state) >> 11) * 0x1p-53;
}

// Biased to the edges of the type, where kernels break.
static inline int16_t test_random_i16(uint64_t *state)
{
    static const int16_t edge[] = {INT16_MIN, INT16_MIN + 1, -1, 0, 1, 255, 256, INT16_MAX - 1, INT16_MAX};
    uint64_t r = test_random(state);
    return r & 3 ? (int16_t)(r >> 16) : edge[(r >> 8) % 9];
}

// The greater of two errors, from 0 on. Unlike fmax it keeps a NaN, which then is below no bound.
static inline double test_worst(double worst, double error)
{
    return error <= worst ? worst : worst >= 0 ? error : worst;
}

#endif
