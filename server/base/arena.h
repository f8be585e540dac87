// A region of memory that is released at once: one per request or job. Not thread safe.
#ifndef KERF_BASE_ARENA_H
#define KERF_BASE_ARENA_H

#include <stddef.h>

struct kf_arena_block;

struct kf_arena { // zeroed, it is empty and ready
    struct kf_arena_block *blocks;
    size_t bytes; // handed out since the last release
};

void kf_arena_release(struct kf_arena *arena);

// Zeroed, 16-byte aligned memory that lives until kf_arena_release; NULL when memory has run out.
void *kf_arena_alloc(struct kf_arena *arena, size_t bytes);
char *kf_arena_strdup(struct kf_arena *arena, const char *text);
char *kf_arena_strndup(struct kf_arena *arena, const char *text, size_t length);
char *kf_arena_printf(struct kf_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
