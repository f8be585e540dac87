#include "server/base/loop/loop.h"

#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

struct post {
    struct post *next;
    void (*fn)(void *arg);
    void *arg;
};

struct kf_loop {
    uv_loop_t uv;
    uv_async_t wake;
    pthread_mutex_t lock;
    struct post *first, **last;
    int stop;
};

struct kf_loop_poll {
    uv_poll_t uv; // first: freed through uv_close
    void (*ready)(void *arg, int events);
    void *arg;
    int events;
};

struct kf_loop_timer {
    uv_timer_t uv;
    void (*due)(void *arg);
    void *arg;
};

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void close_handle(void *handle)
{
    if (handle && !uv_is_closing(handle))
        uv_close(handle, free_handle);
}

static void on_wake(uv_async_t *wake)
{
    struct kf_loop *loop = wake->data;
    for (;;) {
        pthread_mutex_lock(&loop->lock);
        struct post *post = loop->first;
        if (post && !(loop->first = post->next))
            loop->last = &loop->first;
        int stop = loop->stop;
        pthread_mutex_unlock(&loop->lock);
        if (stop)
            uv_stop(&loop->uv);
        if (!post)
            return;
        post->fn(post->arg);
        free(post);
    }
}

enum kf_status kf_loop_new(struct kf_loop **out, struct kf_error *err)
{
    *out = NULL;
    struct kf_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    int failed = uv_loop_init(&loop->uv);
    if (failed) {
        free(loop);
        return kf_error_set(err, KF_UNAVAILABLE, NULL, "An event loop cannot be made: %s.", uv_strerror(failed));
    }
    loop->last = &loop->first;
    pthread_mutex_init(&loop->lock, NULL);
    failed = uv_async_init(&loop->uv, &loop->wake, on_wake);
    loop->wake.data = loop;
    if (failed) {
        uv_loop_close(&loop->uv);
        free(loop);
        return kf_error_set(err, KF_UNAVAILABLE, NULL, "An event loop cannot be made: %s.", uv_strerror(failed));
    }
    *out = loop;
    return KF_OK;
}

void kf_loop_run(struct kf_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    pthread_mutex_lock(&loop->lock);
    loop->stop = 0;
    pthread_mutex_unlock(&loop->lock);
}

void kf_loop_stop(struct kf_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->stop = 1;
    pthread_mutex_unlock(&loop->lock);
    uv_async_send(&loop->wake);
}

enum kf_status kf_loop_post(struct kf_loop *loop, void (*fn)(void *arg), void *arg)
{
    struct post *post = calloc(1, sizeof *post);
    if (!post)
        return KF_NOMEM;
    *post = (struct post){NULL, fn, arg};
    pthread_mutex_lock(&loop->lock);
    *loop->last = post;
    loop->last = &post->next;
    pthread_mutex_unlock(&loop->lock);
    uv_async_send(&loop->wake);
    return KF_OK;
}

static void close_each(uv_handle_t *handle, void *arg)
{
    struct kf_loop *loop = arg;
    if (handle == (uv_handle_t *)&loop->wake) {
        if (!uv_is_closing(handle))
            uv_close(handle, NULL); // part of the loop, not freed by itself
    } else {
        close_handle(handle);
    }
}

void kf_loop_free(struct kf_loop *loop)
{
    if (!loop)
        return;
    uv_walk(&loop->uv, close_each, loop);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_loop_close(&loop->uv);
    while (loop->first) {
        struct post *post = loop->first;
        loop->first = post->next;
        free(post);
    }
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

int64_t kf_loop_now_ms(const struct kf_loop *loop)
{
    return (int64_t)uv_now(&loop->uv);
}

static void on_poll(uv_poll_t *uv, int status, int events)
{
    struct kf_loop_poll *poll = (struct kf_loop_poll *)uv;
    int ready = 0;
    if (status < 0)
        ready = KF_READABLE | KF_WRITABLE;
    if (events & (UV_READABLE | UV_DISCONNECT))
        ready |= KF_READABLE;
    if (events & UV_WRITABLE)
        ready |= KF_WRITABLE;
    poll->ready(poll->arg, ready);
}

enum kf_status kf_loop_poll_new(struct kf_loop *loop, int fd, void (*ready)(void *arg, int events), void *arg,
                                struct kf_loop_poll **out)
{
    *out = NULL;
    struct kf_loop_poll *poll = calloc(1, sizeof *poll);
    if (!poll)
        return KF_NOMEM;
    poll->ready = ready;
    poll->arg = arg;
    if (uv_poll_init(&loop->uv, &poll->uv, fd)) {
        free(poll);
        return KF_IO;
    }
    *out = poll;
    return KF_OK;
}

void kf_loop_poll_set(struct kf_loop_poll *poll, int events)
{
    if (events == poll->events)
        return;
    poll->events = events;
    int wanted = (events & KF_READABLE ? UV_READABLE : 0) | (events & KF_WRITABLE ? UV_WRITABLE : 0);
    if (wanted)
        uv_poll_start(&poll->uv, wanted, on_poll);
    else
        uv_poll_stop(&poll->uv);
}

void kf_loop_poll_free(struct kf_loop_poll *poll)
{
    close_handle(poll);
}

static void on_timer(uv_timer_t *uv)
{
    struct kf_loop_timer *timer = (struct kf_loop_timer *)uv;
    timer->due(timer->arg);
}

enum kf_status kf_loop_timer_new(struct kf_loop *loop, void (*due)(void *arg), void *arg, struct kf_loop_timer **out)
{
    *out = NULL;
    struct kf_loop_timer *timer = calloc(1, sizeof *timer);
    if (!timer)
        return KF_NOMEM;
    timer->due = due;
    timer->arg = arg;
    uv_timer_init(&loop->uv, &timer->uv);
    *out = timer;
    return KF_OK;
}

void kf_loop_timer_set(struct kf_loop_timer *timer, uint64_t first_ms, uint64_t repeat_ms)
{
    uv_timer_start(&timer->uv, on_timer, first_ms, repeat_ms);
}

void kf_loop_timer_free(struct kf_loop_timer *timer)
{
    close_handle(timer);
}
