#include "workers/io/memory.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// Blocks of at least BIG bytes are mapped on their own, 2 MiB aligned, and kept for reuse when released. A header of
// one cache line lies before every block; in a big block it takes the first 64 bytes of the mapping.
#define BIG      ((int64_t)4 << 20)
#define HUGE     ((int64_t)2 << 20)
#define KEPT_MAX 24
#define KEPT_BYTES_MAX ((int64_t)768 << 20)

struct header {
    int64_t bytes;  // asked for
    int64_t mapped; // size of the mapping, header included; 0: from aligned_alloc
    char pad[48];
};
_Static_assert(sizeof(struct header) == 64, "blocks start on a cache line");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // guards all below
static struct header *kept[KEPT_MAX];
static int kept_count;
static int64_t kept_bytes, in_use, peak;

#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
static const int keep_blocks = 0; // a sanitizer must see every use after release
#else
static const int keep_blocks = 1;
#endif

static struct header *map_block(int64_t total)
{
    // Over-maps by one huge page and cuts both ends, so that the block starts on a huge page.
    size_t span = (size_t)(total + HUGE);
    char *start = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    size_t before = (size_t)((HUGE - (int64_t)((uintptr_t)start % (uintptr_t)HUGE)) % HUGE);
    if (before)
        munmap(start, before);
    char *block = start + before;
    size_t after = span - before - (size_t)total;
    if (after)
        munmap(block + total, after);
    madvise(block, (size_t)total, MADV_HUGEPAGE);
    return (struct header *)(void *)block;
}

// The smallest kept block that holds `total` and wastes at most half of itself; the lock is held.
static struct header *reuse_block(int64_t total)
{
    int best = -1;
    for (int i = 0; i < kept_count; i++)
        if (kept[i]->mapped >= total && kept[i]->mapped <= 2 * total &&
            (best < 0 || kept[i]->mapped < kept[best]->mapped))
            best = i;
    if (best < 0)
        return NULL;
    struct header *block = kept[best];
    kept[best] = kept[--kept_count];
    kept_bytes -= block->mapped;
    return block;
}

static struct header *new_block(int64_t bytes)
{
    int64_t total = bytes + (int64_t)sizeof(struct header);
    if (!keep_blocks || total < BIG) {
        struct header *block = aligned_alloc(64, (size_t)((total + 63) / 64 * 64));
        if (block)
            block->mapped = 0;
        return block;
    }
    total = (total + HUGE - 1) / HUGE * HUGE;
    pthread_mutex_lock(&lock);
    struct header *block = reuse_block(total);
    pthread_mutex_unlock(&lock);
    if (block)
        return block;
    block = map_block(total);
    if (!block) {
        kf_memory_trim(); // what is kept may be what is missing
        block = map_block(total);
    }
    if (block)
        block->mapped = total;
    return block;
}

void *kf_memory_take(int64_t bytes)
{
    if (bytes < 0 || bytes > INT64_MAX / 4)
        return NULL;
    struct header *block = new_block(bytes);
    if (!block)
        return NULL;
    block->bytes = bytes;
    pthread_mutex_lock(&lock);
    in_use += bytes;
    if (in_use > peak)
        peak = in_use;
    pthread_mutex_unlock(&lock);
    return block + 1;
}

void kf_memory_release(void *memory)
{
    if (!memory)
        return;
    struct header *block = (struct header *)memory - 1;
    struct header *drop = block;
    pthread_mutex_lock(&lock);
    in_use -= block->bytes;
    if (block->mapped && kept_count < KEPT_MAX && kept_bytes + block->mapped <= KEPT_BYTES_MAX) {
        kept[kept_count++] = block;
        kept_bytes += block->mapped;
        drop = NULL;
    }
    pthread_mutex_unlock(&lock);
    if (!drop)
        return;
    if (drop->mapped)
        munmap(drop, (size_t)drop->mapped);
    else
        free(drop);
}

int64_t kf_memory_peak(void)
{
    pthread_mutex_lock(&lock);
    int64_t bytes = peak;
    pthread_mutex_unlock(&lock);
    return bytes;
}

void kf_memory_trim(void)
{
    pthread_mutex_lock(&lock);
    while (kept_count) {
        struct header *block = kept[--kept_count];
        munmap(block, (size_t)block->mapped);
    }
    kept_bytes = 0;
    pthread_mutex_unlock(&lock);
}

static void *work_allocate(void *user, int64_t bytes)
{
    (void)user;
    return kf_memory_take(bytes);
}

static void work_release(void *user, void *block)
{
    (void)user;
    kf_memory_release(block);
}

void kf_work_init(struct kf_work *work, int threads)
{
    *work = (struct kf_work){
        .threads = threads < 1 ? 1 : threads, .allocate = work_allocate, .release = work_release};
}

enum kf_status kf_work_status(enum kf_kernel_status status, struct kf_error *err, const char *what)
{
    switch (status) {
    case KF_KERNEL_OK:
        return KF_OK;
    case KF_KERNEL_NOMEM:
        return kf_error_set(err, KF_NOMEM, NULL, "%s: out of memory", what);
    case KF_KERNEL_CANCELLED:
        return kf_error_set(err, KF_CANCELLED, NULL, "%s: cancelled", what);
    case KF_KERNEL_TOO_LARGE:
        return kf_error_set(err, KF_TOO_LARGE, NULL, "%s: the result is too large to index", what);
    case KF_KERNEL_INVALID:
        break;
    }
    return kf_error_set(err, KF_INVALID, NULL, "%s: an argument is out of range", what);
}

static int finite_all(const double *values, int n)
{
    for (int i = 0; i < n; i++)
        if (!isfinite(values[i]) || fabs(values[i]) > 1e9)
            return 0;
    return 1;
}

enum kf_status kf_grid_check(const struct kf_grid *grid, struct kf_error *err)
{
    int64_t voxels = 1;
    for (int a = 0; a < 3; a++) {
        if (grid->dim[a] < 1)
            return kf_error_set(err, KF_INVALID, NULL, "axis %d of the volume has no voxels", a);
        if (grid->dim[a] > 2048 || (voxels *= grid->dim[a]) > (int64_t)1 << 31)
            return kf_error_set(err, KF_TOO_LARGE, NULL, "the volume has more than 2048 voxels on an axis or 2^31 in all");
        if (!(grid->spacing_mm[a] > 1e-6 && grid->spacing_mm[a] < 1e4))
            return kf_error_set(err, KF_INVALID, NULL, "the spacing on axis %d is not a length", a);
    }
    if (!finite_all(grid->origin_lps, 3) || !finite_all(grid->direction, 9))
        return kf_error_set(err, KF_INVALID, NULL, "the place of the volume is not finite");
    for (int a = 0; a < 3; a++)
        for (int b = a; b < 3; b++) {
            double dot = 0;
            for (int r = 0; r < 3; r++)
                dot += grid->direction[3 * r + a] * grid->direction[3 * r + b];
            if (fabs(dot - (a == b)) > 1e-4)
                return kf_error_set(err, KF_INVALID, NULL, "the axes of the volume are not orthonormal");
        }
    return KF_OK;
}

enum kf_status kf_volume_alloc(struct kf_volume *out, const struct kf_grid *grid, enum kf_voxel_type type,
                               struct kf_error *err)
{
    *out = (struct kf_volume){0};
    enum kf_status status = kf_grid_check(grid, err);
    if (status)
        return status;
    void *data = kf_memory_take(kf_grid_voxels(grid) * kf_voxel_bytes(type));
    if (!data)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a volume");
    *out = (struct kf_volume){.grid = *grid, .type = type, .data = data};
    return KF_OK;
}

void kf_volume_release(struct kf_volume *volume)
{
    kf_memory_release(volume->data);
    *volume = (struct kf_volume){0};
}
