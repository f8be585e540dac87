// Event loops: the only door to libuv. A loop belongs to the thread that runs it; kf_loop_post and kf_loop_stop are the
// only calls that other threads may make. Handles (polls, timers) are made and freed on the loop's thread, or
// before it runs; freeing one inside its own callback is fine.
#ifndef KERF_BASE_LOOP_LOOP_H
#define KERF_BASE_LOOP_LOOP_H

#include "server/base/error.h"
#include <stdint.h>

struct kf_loop;
struct kf_loop_poll;
struct kf_loop_timer;

KF_MUST_USE enum kf_status kf_loop_new(struct kf_loop **out, struct kf_error *err);
// Runs until kf_loop_stop. Afterwards it may run again.
void kf_loop_run(struct kf_loop *loop);
void kf_loop_stop(struct kf_loop *loop); // any thread
// Runs fn(arg) on the loop's thread, in the order posted. KF_NOMEM. Any thread.
KF_MUST_USE enum kf_status kf_loop_post(struct kf_loop *loop, void (*fn)(void *arg), void *arg);
// Frees the loop and the handles that are left; posts that have not run are dropped. The loop must not be running.
void kf_loop_free(struct kf_loop *loop);
int64_t kf_loop_now_ms(const struct kf_loop *loop); // monotonic, as of the last turn of the loop

enum kf_loop_event { KF_READABLE = 1, KF_WRITABLE = 2 };

// Watches a descriptor, which stays the caller's and must outlive the poll. events of the callback: KF_READABLE and
// KF_WRITABLE bits; an error or hang-up shows as both.
KF_MUST_USE enum kf_status kf_loop_poll_new(struct kf_loop *loop, int fd, void (*ready)(void *arg, int events),
                                            void *arg, struct kf_loop_poll **out);
void kf_loop_poll_set(struct kf_loop_poll *poll, int events); // 0: none for now; cheap when nothing changes
void kf_loop_poll_free(struct kf_loop_poll *poll);

KF_MUST_USE enum kf_status kf_loop_timer_new(struct kf_loop *loop, void (*due)(void *arg), void *arg,
                                             struct kf_loop_timer **out);
void kf_loop_timer_set(struct kf_loop_timer *timer, uint64_t first_ms, uint64_t repeat_ms); // repeat 0: once
void kf_loop_timer_free(struct kf_loop_timer *timer);

#endif
