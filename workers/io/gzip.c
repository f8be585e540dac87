#include "workers/io/gzip.h"
#include "workers/io/file.h"
#include "workers/io/memory.h"

#include <errno.h>
#include <libdeflate.h>
#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#define MEMBER_BYTES ((int64_t)4 << 20)

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

// All members, exactly `want` bytes in all; 0 when anything is different from that.
static int unpack_whole(const unsigned char *bytes, int64_t length, unsigned char *to, int64_t want)
{
    struct libdeflate_decompressor *engine = libdeflate_alloc_decompressor();
    if (!engine)
        return 0;
    int64_t in = 0, out = 0;
    while (in < length && out < want) {
        size_t used = 0, made = 0;
        if (libdeflate_gzip_decompress_ex(engine, bytes + in, (size_t)(length - in), to + out, (size_t)(want - out),
                                          &used, &made) != LIBDEFLATE_SUCCESS)
            break;
        in += (int64_t)used;
        out += (int64_t)made;
    }
    libdeflate_free_decompressor(engine);
    return out == want;
}

// `window`: zlib's window bits, 15 for a zlib stream and 15 + 16 for gzip.
static int unpack_start(const unsigned char *bytes, int64_t length, unsigned char *to, int64_t want, int window)
{
    z_stream stream = {0};
    if (inflateInit2(&stream, window) != Z_OK)
        return 0;
    int64_t in = 0, out = 0;
    int answer = Z_OK;
    while (out < want && answer == Z_OK) {
        // zlib counts in 32 bits.
        uInt give = (uInt)(length - in > 1 << 30 ? 1 << 30 : length - in);
        uInt room = (uInt)(want - out > 1 << 30 ? 1 << 30 : want - out);
        stream.next_in = (Bytef *)(uintptr_t)(bytes + in);
        stream.avail_in = give;
        stream.next_out = to + out;
        stream.avail_out = room;
        answer = inflate(&stream, Z_NO_FLUSH);
        in += give - stream.avail_in;
        out += room - stream.avail_out;
        if (answer == Z_STREAM_END && in < length && out < want)
            answer = inflateReset(&stream);
    }
    inflateEnd(&stream);
    return out == want;
}

enum kf_status kf_gzip_unpack(const void *bytes, int64_t length, void *to, int64_t want, struct kf_error *err)
{
    if (unpack_whole(bytes, length, to, want) || unpack_start(bytes, length, to, want, 15 + 16))
        return KF_OK;
    return kf_error_set(err, KF_INVALID, "gzip_truncated", "the compressed data is damaged or ends early");
}

enum kf_status kf_zlib_unpack(const void *bytes, int64_t length, void *to, int64_t want, struct kf_error *err)
{
    struct libdeflate_decompressor *engine = libdeflate_alloc_decompressor();
    int done = engine &&
               libdeflate_zlib_decompress(engine, bytes, (size_t)length, to, (size_t)want, NULL) == LIBDEFLATE_SUCCESS;
    if (engine)
        libdeflate_free_decompressor(engine);
    if (done || unpack_start(bytes, length, to, want, 15))
        return KF_OK;
    return kf_error_set(err, KF_INVALID, "zlib_truncated", "the compressed data is damaged or ends early");
}

enum kf_status kf_gzip_write(int fd, const void *bytes, int64_t length, int level, int threads, struct kf_error *err)
{
    enum { BATCH = 16 };
    const char *from = bytes;
    enum kf_status status = KF_OK;
    for (int64_t start = 0; start < length && !status; start += BATCH * MEMBER_BYTES) {
        void *packed[BATCH] = {0};
        int64_t packed_length[BATCH] = {0};
        enum kf_status part_status[BATCH] = {0};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
        for (int i = 0; i < BATCH; i++) {
            int64_t at = start + i * MEMBER_BYTES;
            int64_t size = length - at < MEMBER_BYTES ? length - at : MEMBER_BYTES;
            if (size > 0)
                part_status[i] = kf_gzip_pack(from + at, size, level, &packed[i], &packed_length[i], NULL);
        }
        for (int i = 0; i < BATCH; i++) {
            if (!status && part_status[i])
                status = kf_error_set(err, part_status[i], NULL, "no memory to compress");
            if (!status)
                status = kf_file_write(fd, packed[i], packed_length[i], err);
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
        status = kf_file_close(fd, kf_file_write(fd, packed, packed_length, err), err);
    kf_memory_release(packed);
    return status;
}

static void *pack_files(void *arg)
{
    struct kf_gzip_files *files = arg;
    for (int i = 0; i < files->count && !files->status; i++)
        files->status = pack_file(files->from[i], files->to[i], files->level, &files->error);
    return NULL;
}

void kf_gzip_files_start(struct kf_gzip_files *files, int aside)
{
    files->status = KF_OK;
    files->error = (struct kf_error){0};
    files->running = aside && pthread_create(&files->thread, NULL, pack_files, files) == 0;
    if (!files->running)
        pack_files(files);
}

enum kf_status kf_gzip_files_finish(struct kf_gzip_files *files, struct kf_error *err)
{
    if (files->running)
        pthread_join(files->thread, NULL);
    files->running = 0;
    if (files->status && err)
        *err = files->error;
    return files->status;
}
