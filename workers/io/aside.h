// Calls that cannot be interrupted (codecs of other libraries) on a thread of their own, while the calling thread asks
// its caller whether to go on; and the questions of what this folder does itself.
#ifndef KERF_IO_ASIDE_H
#define KERF_IO_ASIDE_H

#include "server/base/error.h"
#include "workers/kernels/work.h"
#include <pthread.h>

struct kf_aside {
    void (*run)(struct kf_aside *aside, void *user);
    void *user; // borrowed until the wait is over
    int running, ended, stop, millis; // millis: thousandths that are done
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

// Begins run(aside, user) and returns; where there is no thread to be had it has been done when this returns.
void kf_aside_start(struct kf_aside *aside, void (*run)(struct kf_aside *aside, void *user), void *user);

// For `run`, where it can: says how far it is; 1 when it should end, its result is not wanted any more.
int kf_aside_step(struct kf_aside *aside, double fraction);

// Waits for the end; meanwhile tells `work` (may be NULL) how far it is and asks, some times a second. KF_CANCELLED
// when the answer was to stop: after that nobody is asked, and what `run` cannot leave is waited for.
KF_MUST_USE enum kf_status kf_aside_wait(struct kf_aside *aside, const struct kf_work *work, struct kf_error *err);

// Both at once; on the calling thread, unasked, when it is not `worth` another.
KF_MUST_USE enum kf_status kf_aside(const struct kf_work *work, int worth,
                                    void (*run)(struct kf_aside *aside, void *user), void *user, struct kf_error *err);

// `work`, or one thread that nobody asks after when it is NULL.
const struct kf_work *kf_io_work(const struct kf_work *work);

// Reports `fraction` and asks `work`, which may be NULL. KF_CANCELLED or KF_OK.
KF_MUST_USE enum kf_status kf_io_step(const struct kf_work *work, double fraction, struct kf_error *err);

// memcpy of many bytes, with such questions.
KF_MUST_USE enum kf_status kf_io_copy(const struct kf_work *work, void *to, const void *from, int64_t bytes,
                                      struct kf_error *err);

#endif
