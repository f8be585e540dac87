#include "workers/io/gzip.h"
#include "workers/io/aside.h"
#include "workers/io/file.h"
#include "workers/io/memory.h"

#include <errno.h>
#include <libdeflate.h>
#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#define MEMBER_BYTES ((int64_t)4 << 20)
#define WHOLE        ((int64_t)512 << 20) // most that is unpacked in one go that cannot be interrupted: about a second
#define ASIDE_FROM   ((int64_t)16 << 20)  // bytes from which unpacking is worth a thread of its own

int kf_gzip_is(const void *bytes, int64_t length)
{
    const unsigned char *b = bytes;
    return length >= 18 && b[0] == 0x1f && b[1] == 0x8b && b[2] == 8;
}

enum kf_status kf_gzip_pack(const void *bytes, int64_t length, int level, void **out, int64_t *out_length,
                            struct kf_error *err)
{
    *out = NULL;
    *out_length = 0;
    struct libdeflate_compressor *engine = libdeflate_alloc_compressor(level);
    if (!engine)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory to compress");
    size_t bound = libdeflate_gzip_compress_bound(engine, (size_t)length);
    void *packed = kf_memory_take((int64_t)bound);
    size_t size = packed ? libdeflate_gzip_compress(engine, bytes, (size_t)length, packed, bound) : 0;
    libdeflate_free_compressor(engine);
    if (!size) {
        kf_memory_release(packed);
        return kf_error_set(err, KF_NOMEM, NULL, "no memory to compress");
    }
    *out = packed;
    *out_length = (int64_t)size;
    return KF_OK;
}

// What is to be unpacked, and whether it was.
struct unpacking {
    const unsigned char *bytes;
    int64_t length;
    unsigned char *to;
    int64_t want;
    int window; // zlib's window bits: 15 for a zlib stream, 15 + 16 for gzip
    int good;
};

static int has_all(const struct unpacking *u, int64_t out)
{
    return out == u->want;
}

// All members, each at once; 0 when they are not exactly `want` bytes, one is longer than WHOLE, or it should end.
static int unpack_whole(struct kf_aside *aside, const struct unpacking *u)
{
    struct libdeflate_decompressor *engine = libdeflate_alloc_decompressor();
    if (!engine)
        return 0;
    int64_t in = 0, out = 0;
    while (in < u->length && out < u->want && !kf_aside_step(aside, (double)out / (double)u->want)) {
        size_t used = 0, made = 0, room = (size_t)(u->want - out < WHOLE ? u->want - out : WHOLE);
        const enum libdeflate_result result =
            u->window > 15 ? libdeflate_gzip_decompress_ex(engine, u->bytes + in, (size_t)(u->length - in), u->to + out,
                                                           room, &used, &made)
                           : libdeflate_zlib_decompress_ex(engine, u->bytes + in, (size_t)(u->length - in), u->to + out,
                                                           room, &used, &made);
        if (result != LIBDEFLATE_SUCCESS)
            break;
        in += (int64_t)used;
        out += (int64_t)made;
        if (u->window <= 15) // one stream is all
            break;
    }
    libdeflate_free_decompressor(engine);
    return has_all(u, out);
}

// Piece by piece, so that it may be cut short.
static int unpack_start(struct kf_aside *aside, const struct unpacking *u)
{
    z_stream stream = {0};
    if (inflateInit2(&stream, u->window) != Z_OK)
        return 0;
    int64_t in = 0, out = 0;
    int answer = Z_OK;
    while (out < u->want && answer == Z_OK && !kf_aside_step(aside, (double)out / (double)u->want)) {
        // zlib counts in 32 bits.
        uInt give = (uInt)(u->length - in > 1 << 30 ? 1 << 30 : u->length - in);
        uInt room = (uInt)(u->want - out > MEMBER_BYTES ? MEMBER_BYTES : u->want - out);
        stream.next_in = (Bytef *)(uintptr_t)(u->bytes + in);
        stream.avail_in = give;
        stream.next_out = u->to + out;
        stream.avail_out = room;
        answer = inflate(&stream, Z_NO_FLUSH);
        in += give - stream.avail_in;
        out += room - stream.avail_out;
        if (answer == Z_STREAM_END && in < u->length && out < u->want)
            answer = inflateReset(&stream);
    }
    inflateEnd(&stream);
    return has_all(u, out);
}

static void unpack_aside(struct kf_aside *aside, void *user)
{
    struct unpacking *u = user;
    u->good = unpack_whole(aside, u) || unpack_start(aside, u);
}

static enum kf_status unpack(const struct kf_work *work, struct unpacking *u, const char *code, struct kf_error *err)
{
    enum kf_status status = kf_aside(work, u->want >= ASIDE_FROM, unpack_aside, u, err);
    if (!status && !u->good)
        status = kf_error_set(err, KF_INVALID, code, "the compressed data is damaged or ends early");
    return status;
}

enum kf_status kf_gzip_unpack(const struct kf_work *work, const void *bytes, int64_t length, void *to, int64_t want,
                              struct kf_error *err)
{
    return unpack(work, &(struct unpacking){bytes, length, to, want, 15 + 16, 0}, "gzip_truncated", err);
}

enum kf_status kf_zlib_unpack(const struct kf_work *work, const void *bytes, int64_t length, void *to, int64_t want,
                              struct kf_error *err)
{
    return unpack(work, &(struct unpacking){bytes, length, to, want, 15, 0}, "zlib_truncated", err);
}

enum kf_status kf_gzip_write(const struct kf_work *work, int fd, const void *bytes, int64_t length, int level,
                             struct kf_error *err)
{
    enum { BATCH = 16 };
    const char *from = bytes;
    enum kf_status status = KF_OK;
    work = kf_io_work(work);
    for (int64_t start = 0; start < length && !status; start += BATCH * MEMBER_BYTES) {
        void *packed[BATCH] = {0};
        int64_t packed_length[BATCH] = {0};
        enum kf_status part_status[BATCH] = {0};
        const int64_t end = length - start < BATCH * MEMBER_BYTES ? length : start + BATCH * MEMBER_BYTES;
        const int64_t count = (end - start + MEMBER_BYTES - 1) / MEMBER_BYTES;
        struct kf_loop loop =
            kf_loop_make(work, count, (double)start / (double)length, (double)end / (double)length);
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
        for (int64_t i = 0; i < count; i++) {
            int64_t at = start + i * MEMBER_BYTES;
            int64_t size = end - at < MEMBER_BYTES ? end - at : MEMBER_BYTES;
            if (!kf_loop_stop(&loop))
                part_status[i] = kf_gzip_pack(from + at, size, level, &packed[i], &packed_length[i], NULL);
        }
        if (loop.stop)
            status = kf_error_set(err, KF_CANCELLED, NULL, "compressing: cancelled");
        for (int64_t i = 0; i < count; i++) {
            if (!status && part_status[i])
                status = kf_error_set(err, part_status[i], NULL, "no memory to compress");
            if (!status)
                status = kf_file_write(NULL, fd, packed[i], packed_length[i], err);
            kf_memory_release(packed[i]);
        }
    }
    return status;
}

// The file is our own and has just been written: its pages are there already, and mapped they are not copied.
static enum kf_status map_file(const char *path, void **bytes, int64_t *length, struct kf_error *err)
{
    int fd;
    *bytes = NULL;
    *length = -1;
    enum kf_status status = kf_file_open(path, 0, length, &fd, err);
    if (status)
        return status;
    if (*length > 0)
        *bytes = mmap(NULL, (size_t)*length, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (*bytes == MAP_FAILED) {
        *bytes = NULL;
        status = kf_error_errno(err, errno, "mapping an output");
    }
    close(fd);
    return status;
}

static enum kf_status pack_file(const char *from, const char *to, int level, struct kf_error *err)
{
    void *bytes, *packed = NULL;
    int64_t length, packed_length = 0;
    int fd = -1;
    enum kf_status status = map_file(from, &bytes, &length, err);
    if (status)
        return status;
    status = kf_gzip_pack(bytes ? bytes : "", length, level, &packed, &packed_length, err);
    if (bytes)
        munmap(bytes, (size_t)length);
    if (!status)
        status = kf_file_create(to, &fd, err);
    if (!status)
        status = kf_file_close(fd, kf_file_write(NULL, fd, packed, packed_length, err), err);
    kf_memory_release(packed);
    return status;
}

static void pack_files(struct kf_aside *aside, void *user)
{
    struct kf_gzip_files *files = user;
    for (int i = 0; i < files->count && !files->status && !kf_aside_step(aside, (double)i / files->count); i++)
        files->status = pack_file(files->from[i], files->to[i], files->level, &files->error);
}

void kf_gzip_files_start(const struct kf_work *work, struct kf_gzip_files *files, int aside)
{
    files->status = KF_OK;
    files->error = (struct kf_error){0};
    kf_aside_start(&files->aside, pack_files, files);
    if (aside)
        return;
    struct kf_error cancelled;
    enum kf_status status = kf_aside_wait(&files->aside, work, &cancelled);
    if (status) {
        files->status = status;
        files->error = cancelled;
    }
}

enum kf_status kf_gzip_files_finish(const struct kf_work *work, struct kf_gzip_files *files, struct kf_error *err)
{
    if (files->aside.running) {
        enum kf_status status = kf_aside_wait(&files->aside, work, err);
        if (status)
            return status;
    }
    if (files->status && err)
        *err = files->error;
    return files->status;
}
