// A caller that counts: memory blocks that are out, questions that it was asked, and what was reported. It answers one
// of the questions with "stop".
#ifndef KERF_TESTS_KERNEL_CALLER_H
#define KERF_TESTS_KERNEL_CALLER_H

#include "workers/io/memory.h"
#include "workers/kernels/work.h"

struct test_caller {
    int64_t blocks, questions, stop_at; // stop_at: the question to answer with 1, or -1
    double least, last;                 // of what was reported; least is 1 at first
    int back;                           // it went back, or beyond 0…1
};

static inline void *test_caller_take(void *user, int64_t bytes)
{
    void *block = kf_memory_take(bytes);
    ((struct test_caller *)user)->blocks += block != NULL;
    return block;
}

static inline void test_caller_give(void *user, void *block)
{
    ((struct test_caller *)user)->blocks -= block != NULL;
    kf_memory_release(block);
}

static inline int test_caller_ask(void *user)
{
    struct test_caller *c = user;
    return c->questions++ == c->stop_at;
}

static inline void test_caller_report(void *user, double fraction)
{
    struct test_caller *c = user;
    c->back |= fraction < c->last || !(fraction >= 0 && fraction <= 1);
    c->least = fraction < c->least ? fraction : c->least;
    c->last = fraction;
}

// Begins anew; the work is good for as long as *caller is.
static inline struct kf_work test_caller_work(struct test_caller *caller, int threads, int64_t stop_at)
{
    *caller = (struct test_caller){.stop_at = stop_at, .least = 1};
    return (struct kf_work){.threads = threads, .allocate = test_caller_take, .release = test_caller_give,
                            .progress = test_caller_report, .cancelled = test_caller_ask, .user = caller};
}

#endif
