#include "server/http/slow.h"

#include <pthread.h>
#include <stdlib.h>

struct kf_slow {
    void (*run)(void *job);
    void (*abandon)(void *job);
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    void **ring;
    size_t size, first, count;
    int stopping;
    pthread_t *threads;
    int thread_count;
};

static void *work(void *arg)
{
    struct kf_slow *slow = arg;
    pthread_mutex_lock(&slow->lock);
    for (;;) {
        while (!slow->count && !slow->stopping)
            pthread_cond_wait(&slow->arrived, &slow->lock);
        if (!slow->count)
            break;
        void *job = slow->ring[slow->first];
        slow->first = (slow->first + 1) % slow->size;
        slow->count--;
        int stopping = slow->stopping;
        pthread_mutex_unlock(&slow->lock);
        if (stopping)
            slow->abandon(job);
        else
            slow->run(job);
        pthread_mutex_lock(&slow->lock);
    }
    pthread_mutex_unlock(&slow->lock);
    return NULL;
}

enum kf_status kf_slow_new(int threads, size_t most_waiting, void (*run)(void *job), void (*abandon)(void *job),
                           struct kf_slow **out)
{
    *out = NULL;
    struct kf_slow *slow = calloc(1, sizeof *slow);
    if (!slow)
        return KF_NOMEM;
    pthread_mutex_init(&slow->lock, NULL);
    pthread_cond_init(&slow->arrived, NULL);
    slow->run = run;
    slow->abandon = abandon;
    slow->size = most_waiting;
    slow->ring = calloc(most_waiting, sizeof *slow->ring);
    slow->threads = calloc((size_t)threads, sizeof *slow->threads);
    enum kf_status status = slow->ring && slow->threads ? KF_OK : KF_NOMEM;
    while (status == KF_OK && slow->thread_count < threads) {
        if (pthread_create(&slow->threads[slow->thread_count], NULL, work, slow))
            status = KF_UNAVAILABLE;
        else
            slow->thread_count++;
    }
    if (status != KF_OK) {
        kf_slow_free(slow);
        return status;
    }
    *out = slow;
    return KF_OK;
}

enum kf_status kf_slow_add(struct kf_slow *slow, void *job)
{
    pthread_mutex_lock(&slow->lock);
    int full = slow->count == slow->size || slow->stopping;
    if (!full) {
        slow->ring[(slow->first + slow->count) % slow->size] = job;
        slow->count++;
        pthread_cond_signal(&slow->arrived);
    }
    pthread_mutex_unlock(&slow->lock);
    return full ? KF_UNAVAILABLE : KF_OK;
}

void kf_slow_stop(struct kf_slow *slow)
{
    if (!slow)
        return;
    pthread_mutex_lock(&slow->lock);
    slow->stopping = 1;
    pthread_cond_broadcast(&slow->arrived);
    pthread_mutex_unlock(&slow->lock);
    while (slow->thread_count > 0)
        pthread_join(slow->threads[--slow->thread_count], NULL);
}

void kf_slow_free(struct kf_slow *slow)
{
    if (!slow)
        return;
    kf_slow_stop(slow);
    pthread_cond_destroy(&slow->arrived);
    pthread_mutex_destroy(&slow->lock);
    free(slow->threads);
    free(slow->ring);
    free(slow);
}
