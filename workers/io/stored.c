#include "workers/io/stored.h"
#include "workers/io/memory.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define CHUNK         4096
#define STEP          (256 * CHUNK) // voxels between two questions: some milliseconds
#define EXACT_INTEGER 16777216.0 // 2^24: float32 holds every integer up to here

int kf_stored_value_bytes(enum kf_stored_type type)
{
    switch (type) {
    case KF_STORED_INT8:
    case KF_STORED_UINT8:
        return 1;
    case KF_STORED_INT16:
    case KF_STORED_UINT16:
        return 2;
    case KF_STORED_INT32:
    case KF_STORED_UINT32:
    case KF_STORED_FLOAT32:
        return 4;
    default:
        return 8;
    }
}

int64_t kf_stored_data_bytes(const struct kf_stored *stored)
{
    return kf_grid_voxels(&stored->grid) * kf_stored_value_bytes(stored->type);
}

enum kf_status kf_stored_dimensions(const int64_t sizes[3], struct kf_grid *grid, const char *code,
                                    struct kf_error *err)
{
    int64_t voxels = 1;
    for (int i = 0; i < 3; i++) {
        if (sizes[i] < 1)
            return kf_error_set(err, KF_INVALID, code, "dimension %d has length %lld", i + 1, (long long)sizes[i]);
        if (sizes[i] > 2048 || (voxels *= sizes[i]) > (int64_t)1 << 31)
            return kf_error_set(err, KF_TOO_LARGE, NULL, "more than 2048 voxels on an axis or 2^31 in all");
        grid->dim[i] = sizes[i];
    }
    return KF_OK;
}

enum kf_status kf_stored_geometry(const double axes[9], const double origin_lps[3], struct kf_grid *grid,
                                  const char *code, struct kf_error *err)
{
    for (int col = 0; col < 3; col++) {
        double sum = 0;
        for (int row = 0; row < 3; row++)
            sum += axes[3 * row + col] * axes[3 * row + col];
        grid->spacing_mm[col] = sqrt(sum);
        for (int row = 0; row < 3; row++)
            grid->direction[3 * row + col] = axes[3 * row + col] / grid->spacing_mm[col];
        grid->origin_lps[col] = origin_lps[col];
    }
    // No negative zeros: the same place has one spelling.
    for (int i = 0; i < 9; i++)
        if (grid->direction[i] == 0)
            grid->direction[i] = 0;
    for (int i = 0; i < 3; i++)
        if (grid->origin_lps[i] == 0)
            grid->origin_lps[i] = 0;
    enum kf_status status = kf_grid_check(grid, err);
    if (status == KF_INVALID)
        return kf_error_set(err, KF_INVALID, code,
                            "the image's axes are singular, sheared or not finite: they are not at right angles");
    return status;
}

// ---- values ----

#define LOAD(ctype, bits)                                                                                              \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        uint##bits##_t raw;                                                                                            \
        memcpy(&raw, from + i * (bits / 8), bits / 8);                                                                 \
        if (swap)                                                                                                      \
            raw = swap_##bits(raw);                                                                                    \
        ctype value;                                                                                                   \
        memcpy(&value, &raw, sizeof value);                                                                            \
        to[i] = (double)value;                                                                                         \
    }                                                                                                                  \
    break

static inline uint8_t swap_8(uint8_t v)
{
    return v;
}
static inline uint16_t swap_16(uint16_t v)
{
    return __builtin_bswap16(v);
}
static inline uint32_t swap_32(uint32_t v)
{
    return __builtin_bswap32(v);
}
static inline uint64_t swap_64(uint64_t v)
{
    return __builtin_bswap64(v);
}

// n values of the file's type as doubles, not scaled yet.
static void load_stored(const struct kf_stored *s, const unsigned char *from, int64_t n, double *to)
{
    int swap = s->swap;
    switch (s->type) {
    case KF_STORED_INT8:
        LOAD(int8_t, 8);
    case KF_STORED_UINT8:
        LOAD(uint8_t, 8);
    case KF_STORED_INT16:
        LOAD(int16_t, 16);
    case KF_STORED_UINT16:
        LOAD(uint16_t, 16);
    case KF_STORED_INT32:
        LOAD(int32_t, 32);
    case KF_STORED_UINT32:
        LOAD(uint32_t, 32);
    case KF_STORED_INT64:
        LOAD(int64_t, 64);
    case KF_STORED_UINT64:
        LOAD(uint64_t, 64);
    case KF_STORED_FLOAT32:
        LOAD(float, 32);
    case KF_STORED_FLOAT64:
        LOAD(double, 64);
    }
}

static void scale(const struct kf_stored *s, int64_t n, double *values)
{
    if (s->slope != 1 || s->inter != 0)
        for (int64_t i = 0; i < n; i++)
            values[i] = values[i] * s->slope + s->inter;
}

// Before each chunk of a pass over all voxels, which is from `from` to `to` of the whole.
static enum kf_status step(const struct kf_work *work, int64_t start, int64_t total, double from, double to,
                           struct kf_error *err)
{
    return start % STEP ? KF_OK : kf_io_step(work, from + (to - from) * (double)start / (double)total, err);
}

// *yes: 1 when every value is an integer in [low, high] (NaN is none); else 0, and *other is the first that is not.
static enum kf_status all_integers(const struct kf_work *work, const struct kf_stored *s, const unsigned char *data,
                                   const double range[2], int *yes, double *other, struct kf_error *err)
{
    double values[CHUNK];
    int64_t total = kf_grid_voxels(&s->grid), bytes = kf_stored_value_bytes(s->type);
    *yes = 1;
    for (int64_t start = 0; start < total; start += CHUNK) {
        enum kf_status status = step(work, start, total, 0, 0.4, err);
        if (status)
            return status;
        int64_t n = total - start < CHUNK ? total - start : CHUNK;
        load_stored(s, data + start * bytes, n, values);
        scale(s, n, values);
        for (int64_t i = 0; i < n; i++)
            if (!(values[i] >= range[0] && values[i] <= range[1] && values[i] == rint(values[i]))) {
                *other = values[i];
                *yes = 0;
                return KF_OK;
            }
    }
    return KF_OK;
}

// What a stored number must not be if float32 is to hold it (or what a scale makes of it) with all of its digits.
// 64-bit integers have lost their last digits as doubles already, but not that they lie beyond 2^24.
static int unfit(const struct kf_stored *s, double stored)
{
    double size = fabs(stored);
    if (s->type != KF_STORED_FLOAT32 && s->type != KF_STORED_FLOAT64)
        return size > EXACT_INTEGER;
    return size > EXACT_INTEGER && size < INFINITY &&
           (size > (double)FLT_MAX || (stored == rint(stored) && (double)(float)stored != stored));
}

static int wide(enum kf_stored_type type)
{
    return kf_stored_value_bytes(type) >= 4 && type != KF_STORED_FLOAT32;
}

// 1 when a scale could make more of a stored number than float32 holds; not for integers times what scales usually are.
static int may_overflow(const struct kf_stored *s)
{
    int real = s->type == KF_STORED_FLOAT32 || s->type == KF_STORED_FLOAT64;
    double largest = real ? INFINITY : 18446744073709551616.0; // 2^64
    return (s->slope != 1 || s->inter != 0) && !(fabs(s->slope) * largest + fabs(s->inter) <= (double)FLT_MAX);
}

static enum kf_status check_fit(const struct kf_work *work, const struct kf_stored *s, const unsigned char *data,
                                struct kf_error *err)
{
    double values[CHUNK];
    int64_t total = kf_grid_voxels(&s->grid), bytes = kf_stored_value_bytes(s->type);
    int digits = wide(s->type), range = may_overflow(s);
    for (int64_t start = 0; start < total && (digits || range); start += CHUNK) {
        enum kf_status status = step(work, start, total, 0.4, 0.6, err);
        if (status)
            return status;
        int64_t n = total - start < CHUNK ? total - start : CHUNK;
        load_stored(s, data + start * bytes, n, values);
        for (int64_t i = 0; i < n; i++) {
            double scaled = values[i] * s->slope + s->inter;
            if (range && isfinite(values[i]) && !(fabs(scaled) <= (double)FLT_MAX))
                return kf_error_set(err, KF_INVALID, "scale_range",
                                    "voxel %lld stores %.17g, which the header's scale makes %.6g; float32 ends at "
                                    "3.4e38: correct the header's slope and intercept",
                                    (long long)(start + i), values[i], scaled);
            if (digits && unfit(s, values[i]))
                return kf_error_set(
                    err, KF_INVALID, "integers_range",
                    "voxel %lld stores %.17g; numbers beyond 16777216 (2^24) lose digits here: renumber "
                    "labels to 0…255, or rescale an image and store it as float32",
                    (long long)(start + i), values[i]);
        }
    }
    return KF_OK;
}

static enum kf_status convert(const struct kf_work *work, const struct kf_stored *s, const unsigned char *data,
                              struct kf_volume *out, struct kf_error *err)
{
    double values[CHUNK];
    int64_t total = kf_grid_voxels(&s->grid), bytes = kf_stored_value_bytes(s->type);
    for (int64_t start = 0; start < total; start += CHUNK) {
        enum kf_status status = step(work, start, total, 0.6, 1, err);
        if (status)
            return status;
        int64_t n = total - start < CHUNK ? total - start : CHUNK;
        load_stored(s, data + start * bytes, n, values);
        scale(s, n, values);
        for (int64_t i = 0; i < n; i++) {
            if (out->type == KF_VOXEL_INT16)
                ((int16_t *)out->data)[start + i] = (int16_t)values[i];
            else if (out->type == KF_VOXEL_UINT8)
                ((uint8_t *)out->data)[start + i] = (uint8_t)values[i];
            else
                ((float *)out->data)[start + i] = (float)values[i];
        }
    }
    return KF_OK;
}

enum kf_voxel_type kf_stored_direct(const struct kf_stored *s, enum kf_voxel_type as)
{
    if (s->swap || s->slope != 1 || s->inter != 0)
        return 0;
    if (as == KF_VOXEL_UINT8)
        return s->type == KF_STORED_UINT8 ? as : 0;
    if (as == KF_VOXEL_FLOAT32)
        return s->type == KF_STORED_FLOAT32 ? as : 0;
    return s->type == KF_STORED_INT16 ? KF_VOXEL_INT16 : 0;
}

enum kf_status kf_stored_volume(const struct kf_work *work, const struct kf_stored *s, const void *data,
                                enum kf_voxel_type as, struct kf_volume *out, struct kf_error *err)
{
    static const double label_range[2] = {0, 255}, int16_range[2] = {INT16_MIN, INT16_MAX};
    enum kf_voxel_type direct = kf_stored_direct(s, as), type = direct;
    enum kf_status status = KF_OK;
    double other = 0;
    int integers = 0;
    *out = (struct kf_volume){0};
    if (!direct && as == KF_VOXEL_UINT8) {
        type = KF_VOXEL_UINT8;
        status = all_integers(work, s, data, label_range, &integers, &other, err);
        if (!status && !integers)
            return kf_error_set(err, KF_INVALID, "labels_range",
                                "a label is %.17g, not an integer from 0 to 255: renumber the labels", other);
    } else if (!direct) {
        if (as != KF_VOXEL_FLOAT32)
            status = all_integers(work, s, data, int16_range, &integers, &other, err);
        type = integers ? KF_VOXEL_INT16 : KF_VOXEL_FLOAT32;
        if (!status && !integers)
            status = check_fit(work, s, data, err);
    }
    if (!status)
        status = kf_volume_alloc(out, &s->grid, type, err);
    if (!status)
        status = direct ? kf_io_copy(work, out->data, data, kf_stored_data_bytes(s), err)
                        : convert(work, s, data, out, err);
    if (status)
        kf_volume_release(out);
    return status;
}
