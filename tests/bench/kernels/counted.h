// A kf_work that counts: the most bytes that a kernel holds at once, and how long it goes without asking whether to go
// on, in the calling thread's own time, so that a busy machine does not count, nor does
// waiting for its other threads. Single calls from one thread, as kernels
// call.
#ifndef KERF_TESTS_BENCH_KERNELS_COUNTED_H
#define KERF_TESTS_BENCH_KERNELS_COUNTED_H

#include "workers/io/memory.h"

#include <string.h>
#include <time.h>

#define COUNTED_HEAD 64 // keeps the alignment; the size is kept here

struct counted {
    int64_t now, peak;
    double asked_ms, silence_ms; // when the kernel asked last, and the longest time between two questions
};

static inline double counted_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static inline int counted_asked(void *user)
{
    struct counted *c = user;
    double now = counted_ms(), silence = now - c->asked_ms;
    c->silence_ms = silence > c->silence_ms ? silence : c->silence_ms;
    c->asked_ms = now;
    return 0;
}

// Before and after a kernel runs: its start and its end are questions too.
static inline void counted_start(struct counted *c)
{
    c->asked_ms = counted_ms();
    c->silence_ms = 0;
}

static inline void *counted_take(void *user, int64_t bytes)
{
    struct counted *c = user;
    char *block = kf_memory_take(bytes + COUNTED_HEAD);
    if (!block)
        return NULL;
    memcpy(block, &bytes, sizeof bytes);
    c->now += bytes;
    c->peak = c->now > c->peak ? c->now : c->peak;
    return block + COUNTED_HEAD;
}

static inline void counted_give(void *user, void *block)
{
    struct counted *c = user;
    int64_t bytes;
    if (!block)
        return;
    memcpy(&bytes, (char *)block - COUNTED_HEAD, sizeof bytes);
    c->now -= bytes;
    kf_memory_release((char *)block - COUNTED_HEAD);
}

static inline struct kf_work counted_work(struct counted *c, int threads)
{
    *c = (struct counted){0};
    return (struct kf_work){.threads = threads,
                            .allocate = counted_take,
                            .release = counted_give,
                            .cancelled = counted_asked,
                            .user = c};
}

#endif
