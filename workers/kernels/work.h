// What a kernel needs from its caller: memory, threads, and two callbacks. Kernels keep no state of their own, take
// all memory from here, and give all scratch back before they return.
#ifndef KERF_KERNELS_WORK_H
#define KERF_KERNELS_WORK_H

#include <stdint.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum kf_kernel_status {
    KF_KERNEL_OK = 0,
    KF_KERNEL_NOMEM,     // the caller's allocator said no
    KF_KERNEL_CANCELLED, // `cancelled` answered 1
    KF_KERNEL_INVALID,   // an argument is out of its documented range
    KF_KERNEL_TOO_LARGE, // more runs, vertices or triangles than 32-bit indexes can name
};

#define KF_KERNEL_MUST_USE __attribute__((warn_unused_result))

struct kf_work {
    int threads; // at least 1; results do not depend on it
    // 64-byte aligned memory with undefined contents, or NULL. Called from the calling thread only.
    void *(*allocate)(void *user, int64_t bytes);
    void (*release)(void *user, void *block); // block may be NULL
    // Both may be NULL. Called from the calling thread, between slices or blocks; fraction goes from 0 to 1. A kernel
    // that was cancelled leaves its output undefined.
    void (*progress)(void *user, double fraction);
    int (*cancelled)(void *user);
    void *user;
};

static inline void *kf_work_take(const struct kf_work *work, int64_t bytes)
{
    return bytes < 0 ? (void *)0 : work->allocate(work->user, bytes ? bytes : 1);
}

static inline void kf_work_give(const struct kf_work *work, void *block)
{
    if (block)
        work->release(work->user, block);
}

// Reports `fraction` and asks whether to stop; 1 means: return KF_KERNEL_CANCELLED soon.
static inline int kf_work_step(const struct kf_work *work, double fraction)
{
    if (work->progress)
        work->progress(work->user, fraction);
    return work->cancelled && work->cancelled(work->user);
}

// A loop that threads share, and that asks in its midst: each of `count` iterations calls kf_loop_stop first and does
// nothing when it answers 1. Progress goes from `from` to `to`. After the loop `stop` says whether it was left early.
struct kf_loop {
    const struct kf_work *work;
    double from, to;
    int64_t count, done;
    int stop;
};

static inline struct kf_loop kf_loop_make(const struct kf_work *work, int64_t count, double from, double to)
{
    struct kf_loop loop = {work, from, to, count, 0, 0};
    return loop;
}

// From any thread of the team; only the calling thread asks, the others hear of it.
static inline int kf_loop_stop(struct kf_loop *loop)
{
    double done = (double)__atomic_add_fetch(&loop->done, 1, __ATOMIC_RELAXED) / (double)loop->count;
    int calling = 1;
#ifdef _OPENMP
    calling = omp_get_thread_num() == 0;
#endif
    if (calling && !loop->stop && kf_work_step(loop->work, loop->from + (loop->to - loop->from) * done))
        __atomic_store_n(&loop->stop, 1, __ATOMIC_RELAXED);
    return __atomic_load_n(&loop->stop, __ATOMIC_RELAXED);
}

#endif
