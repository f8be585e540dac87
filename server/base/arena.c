#include "server/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)16384)

struct kf_arena_block {
    struct kf_arena_block *next;
    size_t used;
    size_t size;
    size_t pad; // keeps data 16-byte aligned
    unsigned char data[];
};

void kf_arena_release(struct kf_arena *arena)
{
    struct kf_arena_block *block = arena->blocks;
    while (block) {
        struct kf_arena_block *next = block->next;
        free(block);
        block = next;
    }
    *arena = (struct kf_arena){0};
}

void *kf_arena_alloc(struct kf_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - BLOCK_BYTES)
        return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    struct kf_arena_block *block = arena->blocks;
    if (!block || block->size - block->used < bytes) {
        size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block = malloc(sizeof *block + size);
        if (!block)
            return NULL;
        block->next = arena->blocks;
        block->used = 0;
        block->size = size;
        arena->blocks = block;
    }
    void *memory = block->data + block->used;
    block->used += bytes;
    arena->bytes += bytes;
    return memset(memory, 0, bytes);
}

char *kf_arena_strndup(struct kf_arena *arena, const char *text, size_t length)
{
    char *copy = kf_arena_alloc(arena, length + 1);
    if (copy && length)
        memcpy(copy, text, length);
    return copy;
}

char *kf_arena_strdup(struct kf_arena *arena, const char *text)
{
    return kf_arena_strndup(arena, text, strlen(text));
}

char *kf_arena_printf(struct kf_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : kf_arena_alloc(arena, (size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}
