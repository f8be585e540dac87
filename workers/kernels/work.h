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

// Asks without counting an iteration, in the midst of a long one. From any thread of the team; only the calling thread
// asks, the others hear of it.
static inline int kf_loop_ask(struct kf_loop *loop)
{
    double done = (double)__atomic_load_n(&loop->done, __ATOMIC_RELAXED) / (double)loop->count;
    int calling = 1;
#ifdef _OPENMP
    calling = omp_get_thread_num() == 0;
#endif
    if (calling && !loop->stop && kf_work_step(loop->work, loop->from + (loop->to - loop->from) * done))
        __atomic_store_n(&loop->stop, 1, __ATOMIC_RELAXED);
    return __atomic_load_n(&loop->stop, __ATOMIC_RELAXED);
}

// From any thread of the team.
static inline int kf_loop_stop(struct kf_loop *loop)
{
    __atomic_fetch_add(&loop->done, 1, __ATOMIC_RELAXED);
    return kf_loop_ask(loop);
}

// For long passes of the calling thread alone, with the number of the element: asks at every KF_ASK_EVERYth, which is
// some milliseconds of work even where each waits for memory. KF_KERNEL_CANCELLED or KF_KERNEL_OK.
#define KF_ASK_EVERY ((int64_t)1 << 17)

static inline enum kf_kernel_status kf_work_ask(const struct kf_work *work, int64_t n)
{
    return n % KF_ASK_EVERY == 0 && work->cancelled && work->cancelled(work->user) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

// A kernel within a kernel: what it reports from 0 to 1 is from `from` to `from` + `span` of the whole. Lives as long
// as the work that kf_work_part gives.
struct kf_work_part {
    struct kf_work work;
    const struct kf_work *whole;
    double from, span;
};

static inline void *kf_work_part_allocate(void *user, int64_t bytes)
{
    const struct kf_work *whole = ((struct kf_work_part *)user)->whole;
    return whole->allocate(whole->user, bytes);
}

static inline void kf_work_part_release(void *user, void *block)
{
    const struct kf_work *whole = ((struct kf_work_part *)user)->whole;
    whole->release(whole->user, block);
}

static inline void kf_work_part_progress(void *user, double fraction)
{
    const struct kf_work_part *part = (struct kf_work_part *)user;
    if (part->whole->progress)
        part->whole->progress(part->whole->user, part->from + part->span * fraction);
}

static inline int kf_work_part_cancelled(void *user)
{
    const struct kf_work *whole = ((struct kf_work_part *)user)->whole;
    return whole->cancelled && whole->cancelled(whole->user);
}

static inline const struct kf_work *kf_work_part(struct kf_work_part *part, const struct kf_work *whole, double from,
                                                 double to)
{
    part->work = *whole;
    part->work.allocate = kf_work_part_allocate;
    part->work.release = kf_work_part_release;
    part->work.progress = kf_work_part_progress;
    part->work.cancelled = kf_work_part_cancelled;
    part->work.user = part;
    part->whole = whole;
    part->from = from;
    part->span = to - from;
    return &part->work;
}

#endif
