// libFuzzer: any bytes as an archive, walked to its end under small limits.
#include "workers/io/archive.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("archive", 0);
    if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    const struct kf_archive_limits limits = {.entries = 50, .entry_bytes = 1 << 20, .total_bytes = 4 << 20};
    struct kf_archive *archive;
    struct kf_archive_entry entry;
    struct kf_error err;
    char piece[4096];
    int more = 1;
    size_t got = 1;
    if (kf_archive_open(fd, 0, -1, &limits, &archive, &err))
        return 0;
    while (got && !kf_archive_next(archive, &entry, &more, &err) && more) {
        if (!entry.path[0] || entry.path[0] == '/')
            abort();
        while (!kf_archive_read(archive, piece, sizeof piece, &got, &err) && got)
            ;
        got = 1;
    }
    kf_archive_close(archive);
    return 0;
}
