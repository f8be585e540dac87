// Inside of this folder: FIFO buckets of voxel numbers, and a calendar of them: a priority queue whose operations take
// constant time. Entries lie in chunks, so that a bucket costs no more than it holds, and chunks in segments that stay
// where they are, so that a queue costs no more than it held at its fullest.
// Based on: Dial, "Algorithm 360: shortest-path forest with topological ordering", CACM 12(11), 1969; Brown, "Calendar
// queues", CACM 31(10), 1988.
#ifndef KERF_KERNELS_QUEUE_H
#define KERF_KERNELS_QUEUE_H

#include "workers/kernels/work.h"

#include <string.h>

#define KF_QUEUE_CHUNK   31
#define KF_QUEUE_SEGMENT 32768 // chunks, a power of two: 4 MiB, which get huge pages
#define KF_QUEUE_NONE    UINT32_MAX

struct kf_queue_chunk {
    uint32_t next;
    uint32_t entry[KF_QUEUE_CHUNK];
};

struct kf_queue_bucket {
    uint32_t head, tail; // chunks, KF_QUEUE_NONE when empty
    uint32_t from, to;   // entries: from in the head, to in the tail
};

// Owned: kf_queue_release. A push that finds no memory sets `failed` and drops its entry; look at it now and then.
struct kf_queue {
    const struct kf_work *work;
    struct kf_queue_bucket *bucket;
    struct kf_queue_chunk **segment;
    uint32_t segments, slots; // in use, and in the table
    uint32_t used, spare;     // chunks; spare is the head of the list of chunks to use again
    int failed;
};

static inline struct kf_queue_chunk *kf_queue_at(const struct kf_queue *q, uint32_t chunk)
{
    return q->segment[chunk / KF_QUEUE_SEGMENT] + chunk % KF_QUEUE_SEGMENT;
}

// One more segment; its chunks are numbered on.
static inline int kf_queue_enlarge(struct kf_queue *q)
{
    const int64_t size = (int64_t)sizeof *q->segment;
    if (q->segments == q->slots) {
        uint32_t slots = q->slots ? q->slots * 2 : 64;
        struct kf_queue_chunk **to = (struct kf_queue_chunk **)kf_work_take(q->work, slots * size);
        if (!to)
            return -1;
        if (q->segments)
            memcpy(to, q->segment, q->segments * (size_t)size);
        kf_work_give(q->work, q->segment);
        q->segment = to;
        q->slots = slots;
    }
    void *more = q->segments < KF_QUEUE_NONE / KF_QUEUE_SEGMENT
                     ? kf_work_take(q->work, KF_QUEUE_SEGMENT * (int64_t)sizeof(struct kf_queue_chunk))
                     : NULL;
    if (!more)
        return -1;
    q->segment[q->segments++] = (struct kf_queue_chunk *)more;
    return 0;
}

static inline int kf_queue_init(struct kf_queue *q, const struct kf_work *work, int64_t buckets)
{
    *q = (struct kf_queue){.work = work, .spare = KF_QUEUE_NONE};
    q->bucket = (struct kf_queue_bucket *)kf_work_take(work, buckets * (int64_t)sizeof *q->bucket);
    if (q->bucket)
        memset(q->bucket, 0xff, (size_t)buckets * sizeof *q->bucket);
    return q->bucket && !kf_queue_enlarge(q) ? 0 : -1;
}

static inline void kf_queue_release(struct kf_queue *q)
{
    for (uint32_t n = 0; n < q->segments; n++)
        kf_work_give(q->work, q->segment[n]);
    kf_work_give(q->work, q->segment);
    kf_work_give(q->work, q->bucket);
    q->segment = NULL;
    q->bucket = NULL;
    q->segments = 0;
}

static inline uint32_t kf_queue_chunk(struct kf_queue *q)
{
    uint32_t c = q->spare;
    if (c != KF_QUEUE_NONE) {
        q->spare = kf_queue_at(q, c)->next;
        return c;
    }
    if (q->used == q->segments * KF_QUEUE_SEGMENT && kf_queue_enlarge(q)) {
        q->failed = 1;
        return KF_QUEUE_NONE;
    }
    return q->used++;
}

static inline void kf_queue_push(struct kf_queue *q, int64_t bucket, uint32_t value)
{
    struct kf_queue_bucket *b = &q->bucket[bucket];
    if (b->tail == KF_QUEUE_NONE || b->to == KF_QUEUE_CHUNK) {
        uint32_t c = kf_queue_chunk(q);
        if (c == KF_QUEUE_NONE)
            return;
        if (b->tail == KF_QUEUE_NONE) {
            b->head = c;
            b->from = 0;
        } else {
            kf_queue_at(q, b->tail)->next = c;
        }
        kf_queue_at(q, c)->next = KF_QUEUE_NONE;
        b->tail = c;
        b->to = 0;
    }
    kf_queue_at(q, b->tail)->entry[b->to++] = value;
}

// Takes the oldest entry; 0 when the bucket is empty.
static inline int kf_queue_pop(struct kf_queue *q, int64_t bucket, uint32_t *value)
{
    struct kf_queue_bucket *b = &q->bucket[bucket];
    if (b->head == KF_QUEUE_NONE)
        return 0;
    struct kf_queue_chunk *c = kf_queue_at(q, b->head);
    *value = c->entry[b->from++];
    if (b->from < (b->head == b->tail ? b->to : KF_QUEUE_CHUNK))
        return 1;
    uint32_t emptied = b->head;
    b->head = c->next;
    b->from = 0;
    if (b->head == KF_QUEUE_NONE)
        b->tail = KF_QUEUE_NONE;
    else if (b->head != b->tail)
        __builtin_prefetch(kf_queue_at(q, kf_queue_at(q, b->head)->next));
    c->next = q->spare;
    q->spare = emptied;
    return 1;
}

// Buckets for the keys [base, base + ring); what lies beyond waits in one more bucket until the window moves there.
struct kf_calendar {
    struct kf_queue queue;
    int64_t ring, base, now; // keys: the window's first, and the one that is being emptied
    int64_t near, far;       // entries in the window and beyond
    // The present key of an entry that waited beyond the window, or -1 when it may be dropped.
    int64_t (*key)(const void *of, uint32_t value);
    const void *of;
};

static inline int kf_calendar_init(struct kf_calendar *c, const struct kf_work *work, int64_t ring,
                                   int64_t (*key)(const void *of, uint32_t value), const void *of)
{
    *c = (struct kf_calendar){.ring = ring, .key = key, .of = of};
    return kf_queue_init(&c->queue, work, ring + 1);
}

// Keys are at least 0; a key before `now` counts as now.
static inline void kf_calendar_push(struct kf_calendar *c, int64_t key, uint32_t value)
{
    int64_t at = (key < c->now ? c->now : key) - c->base;
    if (at < c->ring) {
        c->near++;
        kf_queue_push(&c->queue, at, value);
    } else {
        c->far++;
        kf_queue_push(&c->queue, c->ring, value);
    }
}

// The window goes to the least key that waits beyond it.
static inline void kf_calendar_turn(struct kf_calendar *c)
{
    int64_t count = c->far, least = INT64_MAX;
    uint32_t value = 0;
    c->far = 0;
    for (int64_t n = 0; n < count && kf_queue_pop(&c->queue, c->ring, &value); n++) {
        int64_t key = c->key(c->of, value);
        if (key < c->base + c->ring) // its turn came, through a better entry
            continue;
        least = key < least ? key : least;
        c->far++;
        kf_queue_push(&c->queue, c->ring, value);
    }
    count = c->far;
    c->far = 0;
    if (!count)
        return;
    c->base = c->now = least;
    for (int64_t n = 0; n < count && kf_queue_pop(&c->queue, c->ring, &value); n++)
        kf_calendar_push(c, c->key(c->of, value), value);
}

// The next entry in the order of keys (of entries with one key, the oldest first); 0 when there is none.
static inline int kf_calendar_pop(struct kf_calendar *c, uint32_t *value)
{
    while (c->near == 0) {
        if (c->far == 0 || c->queue.failed)
            return 0;
        kf_calendar_turn(c);
    }
    if (c->queue.failed)
        return 0;
    while (!kf_queue_pop(&c->queue, c->now - c->base, value))
        c->now++;
    c->near--;
    return 1;
}

// The next entries of one key, up to `most` of them; how many.
static inline int64_t kf_calendar_take(struct kf_calendar *c, uint32_t *values, int64_t most)
{
    int64_t n = kf_calendar_pop(c, values);
    while (n && n < most && kf_queue_pop(&c->queue, c->now - c->base, values + n)) {
        c->near--;
        n++;
    }
    return n;
}

#endif
