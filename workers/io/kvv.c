#include "workers/io/kvv.h"
#include "workers/io/file.h"
#include "workers/io/gzip.h"
#include "workers/io/memory.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/image.h"

#include <string.h>
#include <unistd.h>

#define COARSE_MAX  96 // voxels on an axis of the coarsest level
#define PART_SLICES 16
#define LEVELS_MAX  6
// Of libdeflate: what the planes give up is there by level 1; level 6 takes three times as long for 2 % less.
#define PACK_LEVEL  1
#define BATCH       8  // parts compressed before they are written

static const char *type_name(enum kf_voxel_type type)
{
    return type == KF_VOXEL_INT16 ? "int16" : type == KF_VOXEL_FLOAT32 ? "float32" : "uint8";
}

// ---- writing ----

// The plain bytes of slices [k0, k1): planes as the header of this module says.
static void plane_part(const struct kf_volume *v, int64_t k0, int64_t k1, uint8_t *to)
{
    int64_t row = v->grid.dim[0], rows = v->grid.dim[1] * (k1 - k0), n = row * rows, first = v->grid.dim[1] * k0 * row;
    if (v->type == KF_VOXEL_UINT8) {
        memcpy(to, (const uint8_t *)v->data + first, (size_t)n);
        return;
    }
    if (v->type == KF_VOXEL_INT16) {
        for (int64_t r = 0; r < rows; r++)
            kf_kernels()->planes_i16((const int16_t *)v->data + first + r * row, row, to + r * row, to + n + r * row);
        return;
    }
    const uint8_t *from = (const uint8_t *)v->data + 4 * first;
    for (int64_t i = 0; i < n; i++)
        for (int plane = 0; plane < 4; plane++)
            to[plane * n + i] = from[4 * i + plane];
}

struct part {
    int64_t k0, k1;
    void *bytes; // owned
    int64_t length;
    enum kf_status status;
};

static void make_part(const struct kf_volume *v, struct part *p)
{
    int64_t size = v->grid.dim[0] * v->grid.dim[1] * (p->k1 - p->k0) * kf_voxel_bytes(v->type);
    uint8_t *plain = kf_memory_take(size);
    p->status = plain ? KF_OK : KF_NOMEM;
    if (plain) {
        plane_part(v, p->k0, p->k1, plain);
        p->status = kf_gzip_pack(plain, size, PACK_LEVEL, &p->bytes, &p->length, NULL);
    }
    kf_memory_release(plain);
}

static json_t *level_json(const struct kf_grid *g, const int64_t factor[3])
{
    return json_pack("{s:[I,I,I], s:[I,I,I], s:[f,f,f], s:[f,f,f], s:[]}", "dim", (json_int_t)g->dim[0],
                     (json_int_t)g->dim[1], (json_int_t)g->dim[2], "factor", (json_int_t)factor[0],
                     (json_int_t)factor[1], (json_int_t)factor[2], "spacing_mm", g->spacing_mm[0], g->spacing_mm[1],
                     g->spacing_mm[2], "origin_lps", g->origin_lps[0], g->origin_lps[1], g->origin_lps[2], "parts");
}

// Writes one level from *offset on and appends its parts to the level's directory.
static enum kf_status write_level(const struct kf_work *work, int fd, const struct kf_volume *v, int64_t slices,
                                  json_t *parts, int64_t *offset, struct kf_error *err)
{
    enum kf_status status = KF_OK;
    const int64_t dim = v->grid.dim[2];
    for (int64_t start = 0; start < dim && !status; start += BATCH * slices) {
        struct part part[BATCH] = {{0}};
        int count = 0;
        for (int64_t k = start; k < dim && count < BATCH; k += slices, count++) {
            part[count].k0 = k;
            part[count].k1 = k + slices < dim ? k + slices : dim;
        }
        struct kf_loop loop = kf_loop_make(work, count, (double)start / (double)dim,
                                           (double)part[count - 1].k1 / (double)dim);
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
        for (int i = 0; i < count; i++)
            if (!kf_loop_stop(&loop))
                make_part(v, &part[i]);
        if (loop.stop)
            status = kf_error_set(err, KF_CANCELLED, NULL, "writing the view: cancelled");
        for (int i = 0; i < count; i++) {
            if (!status && part[i].status)
                status = kf_error_set(err, KF_NOMEM, NULL, "no memory for the view");
            if (!status)
                status = kf_file_write(NULL, fd, part[i].bytes, part[i].length, err);
            json_array_append_new(parts, json_pack("{s:I, s:I, s:I, s:I}", "k0", (json_int_t)part[i].k0, "k1",
                                                   (json_int_t)part[i].k1, "offset", (json_int_t)*offset, "length",
                                                   (json_int_t)part[i].length));
            *offset += part[i].length;
            kf_memory_release(part[i].bytes);
        }
    }
    return status;
}

// Factors from full resolution (index 0) to the coarsest: each level halves the axes whose voxels are no longer than
// those of the others, until none has more than COARSE_MAX.
static int choose_factors(const struct kf_grid *g, int64_t factor[LEVELS_MAX][3])
{
    int count = 1;
    factor[0][0] = factor[0][1] = factor[0][2] = 1;
    for (;;) {
        const int64_t *now = factor[count - 1];
        int64_t next[3], largest = 0;
        double least = 0;
        for (int a = 0; a < 3; a++) {
            int64_t n = (g->dim[a] + now[a] - 1) / now[a];
            double size = g->spacing_mm[a] * (double)now[a];
            largest = n > largest ? n : largest;
            if (n > 1)
                least = least == 0 || size < least ? size : least;
        }
        if (largest <= COARSE_MAX || count == LEVELS_MAX)
            return count;
        for (int a = 0; a < 3; a++) {
            int64_t n = (g->dim[a] + now[a] - 1) / now[a];
            int fine = g->spacing_mm[a] * (double)now[a] < 1.5 * least;
            next[a] = now[a] * (n > 1 && (fine || n > COARSE_MAX) ? 2 : 1);
        }
        memcpy(factor[count++], next, sizeof next);
    }
}

// Level n of `count` that come one after the other.
static const struct kf_work *level_share(struct kf_work_part *part, const struct kf_work *work, int n, int count)
{
    return kf_work_part(part, work, (double)n / count, (double)(n + 1) / count);
}

// The levels' volumes: made one from the other, each the reduction of the full volume's blocks.
static enum kf_status reduce_all(const struct kf_work *work, const struct kf_volume *volume, int count,
                                 int64_t factor[LEVELS_MAX][3], struct kf_volume levels[LEVELS_MAX],
                                 struct kf_error *err)
{
    levels[0] = *volume;
    for (int l = 1; l < count; l++) {
        struct kf_grid grid;
        struct kf_work_part part;
        kf_reduce_grid(&volume->grid, factor[l], &grid);
        enum kf_status status = kf_volume_alloc(&levels[l], &grid, volume->type, err);
        if (!status)
            status = kf_work_status(
                kf_reduce(level_share(&part, work, l - 1, count - 1), volume, factor[l], &levels[l]), err,
                "reducing the volume");
        if (status)
            return status;
    }
    return KF_OK;
}

static enum kf_status write_levels(const struct kf_work *work, const char *path, int count,
                                   int64_t factor[LEVELS_MAX][3], const struct kf_volume levels[LEVELS_MAX],
                                   json_t *list, struct kf_error *err)
{
    int fd;
    int64_t offset = 0;
    struct kf_work_part part, of_level;
    enum kf_status status = kf_file_create(path, &fd, err);
    if (status)
        return status;
    for (int l = count - 1; l >= 0 && !status; l--) {
        json_t *level = level_json(&levels[l].grid, factor[l]);
        const struct kf_work *share =
            l ? level_share(&of_level, kf_work_part(&part, work, 0, 0.1), count - 1 - l, count - 1)
              : kf_work_part(&part, work, 0.1, 1); // the finest is seven eighths of all, or more
        if (!level || json_array_append_new(list, level))
            status = kf_error_set(err, KF_NOMEM, NULL, "no memory for the view");
        else
            status = write_level(share, fd, &levels[l], l == count - 1 && l > 0 ? levels[l].grid.dim[2] : PART_SLICES,
                                 json_object_get(level, "parts"), &offset, err);
    }
    return kf_file_close(fd, status, err);
}

enum kf_status kf_kvv_write(const struct kf_work *work, const char *path, const struct kf_volume *volume,
                            json_t **view, struct kf_error *err)
{
    *view = NULL;
    if (volume->type == KF_VOXEL_UINT16)
        return kf_error_set(err, KF_INVALID, NULL, "a view holds int16, float32 or uint8");
    int64_t factor[LEVELS_MAX][3];
    int count = choose_factors(&volume->grid, factor);
    struct kf_volume levels[LEVELS_MAX] = {{.data = NULL}};
    json_t *list = json_array();
    struct kf_work_part part;
    enum kf_status status = list ? reduce_all(kf_work_part(&part, work, 0, 0.1), volume, count, factor, levels, err)
                                 : kf_error_set(err, KF_NOMEM, NULL, "no memory for the view");
    if (!status)
        status = write_levels(kf_work_part(&part, work, 0.1, 1), path, count, factor, levels, list, err);
    for (int l = 1; l < count; l++)
        kf_volume_release(&levels[l]);
    if (!status)
        *view = json_pack("{s:i, s:s, s:O}", "format", 1, "type", type_name(volume->type), "levels", list);
    json_decref(list);
    if (!status && !*view)
        status = kf_error_set(err, KF_NOMEM, NULL, "no memory for the view");
    return status;
}

// ---- reading ----

static enum kf_status broken(struct kf_error *err, const char *what)
{
    return kf_error_set(err, KF_INVALID, "kvv_format", "the view container is not valid: %s", what);
}

static int triple(const json_t *object, const char *key, double to[3])
{
    const json_t *array = json_object_get(object, key);
    for (size_t i = 0; i < 3; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_number(value))
            return 0;
        to[i] = json_number_value(value);
    }
    return 1;
}

static void unplane_part(struct kf_volume *v, int64_t k0, int64_t k1, const uint8_t *from)
{
    int64_t row = v->grid.dim[0], rows = v->grid.dim[1] * (k1 - k0), n = row * rows, first = v->grid.dim[1] * k0 * row;
    if (v->type == KF_VOXEL_UINT8) {
        memcpy((uint8_t *)v->data + first, from, (size_t)n);
    } else if (v->type == KF_VOXEL_INT16) {
        for (int64_t r = 0; r < rows; r++) {
            uint16_t value = 0;
            for (int64_t i = r * row; i < (r + 1) * row; i++) {
                value = (uint16_t)(value + (from[i] | from[n + i] << 8));
                ((int16_t *)v->data)[first + i] = (int16_t)value;
            }
        }
    } else {
        uint8_t *to = (uint8_t *)v->data + 4 * first;
        for (int64_t i = 0; i < n; i++)
            for (int plane = 0; plane < 4; plane++)
                to[4 * i + plane] = from[plane * n + i];
    }
}

static enum kf_status read_part(int fd, int64_t size, const json_t *part, int64_t k0, struct kf_volume *v, int64_t *k1,
                                struct kf_error *err)
{
    int64_t at = kf_json_integer(part, "offset", -1), length = kf_json_integer(part, "length", -1);
    *k1 = kf_json_integer(part, "k1", -1);
    if (kf_json_integer(part, "k0", -1) != k0 || *k1 <= k0 || *k1 > v->grid.dim[2] || at < 0 || length < 18 ||
        at > size || length > size - at)
        return broken(err, "a part is out of place");
    int64_t plain_bytes = v->grid.dim[0] * v->grid.dim[1] * (*k1 - k0) * kf_voxel_bytes(v->type);
    void *packed = kf_memory_take(length), *plain = kf_memory_take(plain_bytes);
    enum kf_status status = packed && plain ? kf_file_read(NULL, fd, at, packed, length, err)
                                            : kf_error_set(err, KF_NOMEM, NULL, "no memory for the view");
    if (!status && kf_gzip_unpack(NULL, packed, length, plain, plain_bytes, NULL))
        status = broken(err, "a part is damaged");
    if (!status)
        unplane_part(v, k0, *k1, plain);
    kf_memory_release(packed);
    kf_memory_release(plain);
    return status;
}

static enum kf_status read_parts(const char *path, const json_t *parts, struct kf_volume *v, struct kf_error *err)
{
    int fd;
    int64_t size = -1, k = 0;
    enum kf_status status = kf_file_open(path, 0, &size, &fd, err);
    if (status)
        return status;
    for (size_t i = 0; i < json_array_size(parts) && !status; i++)
        status = read_part(fd, size, json_array_get(parts, i), k, v, &k, err);
    if (!status && k != v->grid.dim[2])
        status = broken(err, "slices are missing");
    close(fd);
    return status;
}

enum kf_status kf_kvv_read(const char *path, const json_t *view, int level, const double *direction,
                           struct kf_volume *out, struct kf_error *err)
{
    *out = (struct kf_volume){0};
    const char *name = kf_json_text(view, "type", "");
    enum kf_voxel_type type = strcmp(name, "int16") == 0     ? KF_VOXEL_INT16
                              : strcmp(name, "float32") == 0 ? KF_VOXEL_FLOAT32
                              : strcmp(name, "uint8") == 0   ? KF_VOXEL_UINT8
                                                             : 0;
    const json_t *json = level < 0 ? NULL : json_array_get(json_object_get(view, "levels"), (size_t)level);
    struct kf_grid grid;
    double dim[3];
    if (!type || !json || kf_json_integer(view, "format", 0) != 1 || !triple(json, "dim", dim) ||
        !triple(json, "spacing_mm", grid.spacing_mm) || !triple(json, "origin_lps", grid.origin_lps))
        return broken(err, "its directory");
    for (int a = 0; a < 3; a++) {
        if (!(dim[a] >= 1 && dim[a] <= 65536))
            return broken(err, "its dimensions");
        grid.dim[a] = (int64_t)dim[a];
    }
    memcpy(grid.direction, direction, sizeof grid.direction);
    enum kf_status status = kf_volume_alloc(out, &grid, type, err);
    if (!status)
        status = read_parts(path, json_object_get(json, "parts"), out, err);
    if (status)
        kf_volume_release(out);
    return status;
}
