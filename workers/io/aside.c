#include "workers/io/aside.h"

#include <string.h>
#include <time.h>

#define ASK_EVERY_NS 50000000L
#define COPY_BYTES   ((int64_t)32 << 20) // between two questions: some milliseconds

static void *run_aside(void *arg)
{
    struct kf_aside *aside = arg;
    aside->run(aside, aside->user);
    pthread_mutex_lock(&aside->lock);
    aside->ended = 1;
    pthread_cond_signal(&aside->changed);
    pthread_mutex_unlock(&aside->lock);
    return NULL;
}

void kf_aside_start(struct kf_aside *aside, void (*run)(struct kf_aside *aside, void *user), void *user)
{
    *aside = (struct kf_aside){.run = run, .user = user};
    pthread_mutex_init(&aside->lock, NULL);
    pthread_cond_init(&aside->changed, NULL);
    aside->running = pthread_create(&aside->thread, NULL, run_aside, aside) == 0;
    if (!aside->running)
        run(aside, user);
}

int kf_aside_step(struct kf_aside *aside, double fraction)
{
    __atomic_store_n(&aside->millis, (int)(1000 * fraction), __ATOMIC_RELAXED);
    return __atomic_load_n(&aside->stop, __ATOMIC_RELAXED);
}

// 1 when it has ended, 0 when it is time to ask. A clock that is set makes a question early or late.
static int wait_a_little(struct kf_aside *aside)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ASK_EVERY_NS;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&aside->lock);
    int timed_out = 0;
    while (!aside->ended && !timed_out)
        timed_out = pthread_cond_timedwait(&aside->changed, &aside->lock, &until) != 0;
    int ended = aside->ended;
    pthread_mutex_unlock(&aside->lock);
    return ended;
}

enum kf_status kf_aside_wait(struct kf_aside *aside, const struct kf_work *work, struct kf_error *err)
{
    enum kf_status status = KF_OK;
    while (aside->running && !wait_a_little(aside)) {
        if (!status)
            status = kf_io_step(work, __atomic_load_n(&aside->millis, __ATOMIC_RELAXED) / 1000.0, err);
        __atomic_store_n(&aside->stop, status != KF_OK, __ATOMIC_RELAXED);
    }
    if (aside->running)
        pthread_join(aside->thread, NULL);
    aside->running = 0;
    pthread_cond_destroy(&aside->changed);
    pthread_mutex_destroy(&aside->lock);
    return status;
}

enum kf_status kf_aside(const struct kf_work *work, int worth, void (*run)(struct kf_aside *aside, void *user),
                        void *user, struct kf_error *err)
{
    struct kf_aside aside = {.running = 0};
    if (!worth) {
        run(&aside, user);
        return KF_OK;
    }
    kf_aside_start(&aside, run, user);
    return kf_aside_wait(&aside, work, err);
}

const struct kf_work *kf_io_work(const struct kf_work *work)
{
    static const struct kf_work nobody = {.threads = 1};
    return work ? work : &nobody;
}

enum kf_status kf_io_step(const struct kf_work *work, double fraction, struct kf_error *err)
{
    if (work && kf_work_step(work, fraction))
        return kf_error_set(err, KF_CANCELLED, NULL, "reading or writing a file: cancelled");
    return KF_OK;
}

enum kf_status kf_io_copy(const struct kf_work *work, void *to, const void *from, int64_t bytes, struct kf_error *err)
{
    enum kf_status status = KF_OK;
    for (int64_t at = 0; at < bytes && !(status = kf_io_step(work, (double)at / (double)bytes, err)); at += COPY_BYTES)
        memcpy((char *)to + at, (const char *)from + at, (size_t)(bytes - at < COPY_BYTES ? bytes - at : COPY_BYTES));
    return status;
}
