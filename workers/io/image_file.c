#include "workers/io/image_file.h"
#include "workers/io/file.h"
#include "workers/io/gzip.h"
#include "workers/io/header_text.h"
#include "workers/io/memory.h"
#include "workers/io/metaimage.h"
#include "workers/io/nrrd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFLATE_MOST 1032 // bytes that deflate makes of one, at most

// A file's bytes, in memory or behind a descriptor.
struct source {
    const unsigned char *bytes; // NULL: read from fd
    int fd;
    int64_t offset, length;
};

// Bytes [at, at + n) of the source, which lie inside it.
static enum kf_status fetch(const struct kf_work *work, const struct source *s, int64_t at, void *to, int64_t n,
                            struct kf_error *err)
{
    if (!s->bytes)
        return kf_file_read(work, s->fd, s->offset + at, to, n, err);
    return kf_io_copy(work, to, s->bytes + at, n, err);
}

static enum kf_status truncated(struct kf_error *err)
{
    return kf_error_set(err, KF_INVALID, "image_truncated", "the file ends before its last voxel");
}

// Settles where the data lies: KF_OK when [*at, *at + *length) is inside of the source and can hold all voxels.
static enum kf_status data_range(const struct kf_stored *s, const struct source *from, int64_t *at, int64_t *length,
                                 struct kf_error *err)
{
    int64_t whole = kf_stored_data_bytes(s);
    *at = s->data_at_end ? from->length - whole : s->data_offset;
    *length = !s->packing ? whole : s->data_length >= 0 ? s->data_length : from->length - *at;
    if (*at < 0 || *at > from->length || *length > from->length - *at)
        return truncated(err);
    // A header that promises more than its bytes can hold is caught before memory is taken.
    return s->packing && whole / DEFLATE_MOST > *length ? truncated(err) : KF_OK;
}

static enum kf_status unpack(const struct kf_work *work, const struct kf_stored *s, const struct source *from,
                             int64_t at, int64_t length, void *to, struct kf_error *err)
{
    unsigned char *packed = kf_memory_take(length);
    if (!packed)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for an input");
    struct kf_work_part part;
    enum kf_status status = fetch(kf_work_part(&part, work, 0, 0.3), from, at, packed, length, err);
    (void)kf_work_part(&part, work, 0.3, 1);
    // MetaIO tells the two by their first bytes, whatever was meant.
    if (!status && (s->packing == KF_PACKED_GZIP || kf_gzip_is(packed, length)))
        status = kf_gzip_unpack(&part.work, packed, length, to, kf_stored_data_bytes(s), err);
    else if (!status)
        status = kf_zlib_unpack(&part.work, packed, length, to, kf_stored_data_bytes(s), err);
    kf_memory_release(packed);
    return status == KF_INVALID ? truncated(err) : status;
}

static enum kf_status read_data(const struct kf_work *work, const struct kf_stored *s, const struct source *from,
                                enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err)
{
    int64_t at, length;
    enum kf_voxel_type as = kf_nifti_wanted(s, want), direct = kf_stored_direct(s, as);
    enum kf_status status = data_range(s, from, &at, &length, err);
    if (status)
        return status;
    void *plain = NULL;
    if (direct) { // straight to its place
        status = kf_volume_alloc(out, &s->grid, direct, err);
    } else {
        plain = kf_memory_take(kf_stored_data_bytes(s));
        status = plain ? KF_OK : kf_error_set(err, KF_NOMEM, NULL, "no memory for an input");
    }
    void *to = direct ? out->data : plain;
    struct kf_work_part part;
    const struct kf_work *share = kf_work_part(&part, kf_io_work(work), 0, direct ? 1 : 0.6);
    if (!status)
        status = s->packing ? unpack(share, s, from, at, length, to, err) : fetch(share, from, at, to, length, err);
    if (!status && !direct)
        status = kf_stored_volume(kf_work_part(&part, kf_io_work(work), 0.6, 1), s, plain, as, out, err);
    kf_memory_release(plain);
    if (status)
        kf_volume_release(out);
    return status;
}

// The data of a header that names a file beside it.
static enum kf_status read_beside(const struct kf_work *work, const struct kf_stored *s, const char *path,
                                  enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err)
{
    char name[4096];
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash - path) + 1 : 0;
    int n = snprintf(name, sizeof name, "%.*s%s", folder, path, s->data_file);
    if (n < 0 || (size_t)n >= sizeof name)
        return kf_error_set(err, KF_INVALID, "meta_data_file", "the name of the data's file is too long");
    struct source from = {.length = -1};
    enum kf_status status = kf_file_open(name, 0, &from.length, &from.fd, err);
    if (status)
        return status;
    status = read_data(work, s, &from, want, out, err);
    close(from.fd);
    return status;
}

// NRRD and MetaImage; `head` are the first bytes of the source. `named`: the path that a person gave, or NULL.
static enum kf_status read_text(const struct kf_work *work, const struct source *from, const void *head, int64_t have,
                                const char *named, enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err)
{
    struct kf_stored s;
    enum kf_status status =
        kf_nrrd_is(head, have) ? kf_nrrd_header(head, have, &s, err) : kf_meta_header(head, have, &s, err);
    if (status)
        return status;
    if (!s.data_file[0])
        return read_data(work, &s, from, want, out, err);
    if (named)
        return read_beside(work, &s, named, want, out, err);
    return kf_error_set(err, KF_INVALID, "meta_detached",
                        "the data is in another file; write it attached, as one .mha file");
}

static int is_text(const void *head, int64_t have)
{
    return kf_nrrd_is(head, have) || kf_meta_is(head, have);
}

enum kf_status kf_image_parse(const struct kf_work *work, const void *bytes, int64_t length, enum kf_nifti_want want,
                              struct kf_volume *out, struct kf_error *err)
{
    *out = (struct kf_volume){0};
    struct source from = {.bytes = bytes, .length = length};
    if (is_text(bytes, length))
        return read_text(work, &from, bytes, length, NULL, want, out, err);
    return kf_nifti_parse(work, bytes, length, want, out, err);
}

static enum kf_status read_file(const struct kf_work *work, const char *path, int64_t offset, int64_t length,
                                const char *named, enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err)
{
    *out = (struct kf_volume){0};
    struct source from = {.offset = offset, .length = length};
    unsigned char *head = NULL;
    enum kf_status status = kf_file_open(path, offset, &from.length, &from.fd, err);
    if (status)
        return status;
    int64_t have = from.length < 2 * KF_HEADER_MOST ? from.length : 2 * KF_HEADER_MOST;
    head = kf_memory_take(have);
    status = head ? fetch(NULL, &from, 0, head, have, err)
                  : kf_error_set(err, KF_NOMEM, NULL, "no memory for an input");
    int text = !status && is_text(head, have);
    if (text)
        status = read_text(work, &from, head, have, named, want, out, err);
    kf_memory_release(head);
    close(from.fd);
    return status || text ? status : kf_nifti_read(work, path, offset, length, want, out, err);
}

enum kf_status kf_image_read(const struct kf_work *work, const char *path, int64_t offset, int64_t length,
                             enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err)
{
    return read_file(work, path, offset, length, NULL, want, out, err);
}

enum kf_status kf_image_read_named(const struct kf_work *work, const char *path, enum kf_nifti_want want,
                                   struct kf_volume *out, struct kf_error *err)
{
    return read_file(work, path, 0, -1, path, want, out, err);
}

// ---- writing ----

const char *kf_image_ending(const char *path)
{
    static const char *const endings[] = {".nii.gz", ".nii", ".nrrd", ".mha"};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n = strlen(endings[i]);
        if (length > n && strcmp(name + length - n, endings[i]) == 0)
            return name + length - n;
    }
    return NULL;
}

enum kf_status kf_image_write(const struct kf_work *work, const char *path, const struct kf_volume *volume,
                              struct kf_error *err)
{
    const char *ending = kf_image_ending(path);
    if (!ending)
        return kf_error_set(err, KF_INVALID, "image_ending", "an image is written as .nii.gz, .nii, .nrrd or .mha");
    if (strncmp(ending, ".nii", 4) == 0)
        return kf_nifti_write(work, path, volume, err);
    int nrrd = strcmp(ending, ".nrrd") == 0, fd;
    char header[KF_NRRD_HEADER_MOST > KF_META_HEADER_MOST ? KF_NRRD_HEADER_MOST : KF_META_HEADER_MOST];
    int length = nrrd ? kf_nrrd_make_header(volume, header) : kf_meta_make_header(volume, header);
    int64_t bytes = kf_grid_voxels(&volume->grid) * kf_voxel_bytes(volume->type);
    enum kf_status status = kf_file_create(path, &fd, err);
    if (status)
        return status;
    status = kf_file_write(NULL, fd, header, length, err);
    if (!status)
        status = nrrd ? kf_gzip_write(work, fd, volume->data, bytes, 6, err)
                      : kf_file_write(work, fd, volume->data, bytes, err);
    return kf_file_close(fd, status, err);
}
