// Inside of the kernel library: how long questions to a kf_bvh may take. Meshes can be made (and some come so) that the
// nearest triangle is found only by looking at all of them; what looks further than usual is counted over all
// questions, and there is an end to it, the same on every machine and for any number of threads.
#ifndef KERF_KERNELS_PACE_H
#define KERF_KERNELS_PACE_H

#include "workers/kernels/bvh.h"

#define KF_PACE_ASK_EVERY 16384 // looks, each some 20 ns
#define KF_PACE_FREE      1024  // looks of a question that take nothing off the limit; 40 are usual

// Shared by all threads: the loop that asks meanwhile, and the looks that are left for questions that take too long.
struct kf_pace {
    struct kf_loop *loop;
    int64_t left;
};

// What a thread knows of it.
struct kf_asker {
    struct kf_pace *pace;
    int64_t looks, beyond; // since it last told
    int stop;
};

// Before a block; `stop` says whether it is not to be begun.
static inline struct kf_asker kf_asker_begin(struct kf_pace *pace)
{
    struct kf_asker asker = {.pace = pace};
    asker.stop = kf_loop_stop(pace->loop) || __atomic_load_n(&pace->left, __ATOMIC_RELAXED) < 0;
    return asker;
}

// After it.
static inline void kf_asker_finish(const struct kf_asker *a)
{
    __atomic_sub_fetch(&a->pace->left, a->beyond, __ATOMIC_RELAXED);
}

// Counts looks, `beyond` of which are taken off the limit.
static inline void kf_asker_count(struct kf_asker *a, int64_t looks, int64_t beyond)
{
    a->looks += looks;
    a->beyond += beyond;
    if (a->looks < KF_PACE_ASK_EVERY)
        return;
    int64_t left = __atomic_sub_fetch(&a->pace->left, a->beyond, __ATOMIC_RELAXED);
    a->stop = kf_loop_ask(a->pace->loop) || left < 0;
    a->looks = a->beyond = 0;
}

// kf_bvh_near of a tree that is not empty. Once the asker has stopped, any answer will do.
static inline void kf_asker_near(struct kf_asker *a, const struct kf_bvh *bvh, const double p[3], uint32_t hint,
                                 double enough2, struct kf_bvh_nearest *out)
{
    if (a->stop) {
        *out = (struct kf_bvh_nearest){.triangle = 0};
        return;
    }
    kf_bvh_near(bvh, p, hint, enough2, out);
    kf_asker_count(a, out->looks, out->looks > KF_PACE_FREE ? out->looks - KF_PACE_FREE : 0);
}

static inline void kf_asker_nearest(struct kf_asker *a, const struct kf_bvh *bvh, const double p[3], uint32_t hint,
                                    struct kf_bvh_nearest *out)
{
    kf_asker_near(a, bvh, p, hint, -1, out);
}

// What has become of a loop.
static inline enum kf_kernel_status kf_pace_status(const struct kf_pace *pace)
{
    return pace->loop->stop ? KF_KERNEL_CANCELLED : pace->left < 0 ? KF_KERNEL_TOO_LARGE : KF_KERNEL_OK;
}

#endif
