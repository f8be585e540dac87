#include "workers/io/nifti.h"
#include "workers/io/file.h"
#include "workers/io/gzip.h"
#include "workers/io/memory.h"

#include <float.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define HEADER_1_BYTES   348
#define HEADER_BYTES     540
#define DATA_OFFSET      544
#define NIFTI_1_AXIS     32767               // voxels: dim is int16
#define VECTOR_INTENT    1007                // NIFTI_INTENT_VECTOR
#define EXTENSIONS_LIMIT ((int64_t)64 << 20) // most bytes between header and voxels

enum nifti_type {
    NIFTI_UINT8 = 2,
    NIFTI_INT16 = 4,
    NIFTI_INT32 = 8,
    NIFTI_FLOAT32 = 16,
    NIFTI_FLOAT64 = 64,
    NIFTI_INT8 = 256,
    NIFTI_UINT16 = 512,
    NIFTI_UINT32 = 768,
    NIFTI_INT64 = 1024,
    NIFTI_UINT64 = 1280
};

// A little reader that knows the header's byte order.
struct fields {
    const unsigned char *bytes;
    int swap;
};

static uint64_t field_bits(const struct fields *f, int at, int size)
{
    uint64_t bits = 0;
    for (int i = 0; i < size; i++)
        bits |= (uint64_t)f->bytes[at + i] << (8 * (f->swap ? size - 1 - i : i));
    return bits;
}

static int64_t field_int(const struct fields *f, int at, int size)
{
    uint64_t bits = field_bits(f, at, size);
    int shift = 64 - 8 * size;
    return (int64_t)(bits << shift) >> shift;
}

static double field_real(const struct fields *f, int at, int size)
{
    uint64_t bits = field_bits(f, at, size);
    if (size == 8) {
        double value;
        memcpy(&value, &bits, 8);
        return value;
    }
    uint32_t low = (uint32_t)bits;
    float value;
    memcpy(&value, &low, 4);
    return (double)value;
}

// Where the fields of the two versions lie (nifti1.h, nifti2.h of the NIfTI reference library).
struct offsets {
    int integer, real; // sizes in bytes
    int dim, type, bits, pixdim, vox_offset, slope, inter, units, units_size, qcode, scode, code_size, quatern, qoffset;
    int srow, intent;
};
static const struct offsets nifti_1 = {2, 4, 40, 70, 72, 76, 108, 112, 116, 123, 1, 252, 254, 2, 256, 268, 280, 68};
static const struct offsets nifti_2 = {8, 8, 16, 12, 14, 104, 168, 176, 184, 500, 4, 344, 348, 4, 352, 376, 400, 504};

// NIfTI-1 holds the sform in float32. Ours says it in doubles as well, so that nothing moves on the way from job to job:
// in a header extension of the code for "unknown", which others pass over. 4 bytes of size, 4 of code, this name, 12
// doubles by rows, zeros. It counts only while it rounds to the header's sform, for a tool may change that and keep what
// it does not know.
#define EXTENSION_AT    352
#define EXTENSION_BYTES (DATA_OFFSET - EXTENSION_AT)
#define EXTENSION_END   (EXTENSION_AT + 8 + 16 + 96)
static const char extension_name[16] = "kerf sform f64\n";
// What float32 may do to a coordinate of a voxel, mm; a grid that it would move by more becomes NIfTI-2.
#define NIFTI_1_MISS_MM 0.001

// 0 when the type is not a real number.
static enum kf_stored_type stored_type(int type)
{
    switch (type) {
    case NIFTI_UINT8:
        return KF_STORED_UINT8;
    case NIFTI_INT8:
        return KF_STORED_INT8;
    case NIFTI_INT16:
        return KF_STORED_INT16;
    case NIFTI_UINT16:
        return KF_STORED_UINT16;
    case NIFTI_INT32:
        return KF_STORED_INT32;
    case NIFTI_UINT32:
        return KF_STORED_UINT32;
    case NIFTI_INT64:
        return KF_STORED_INT64;
    case NIFTI_UINT64:
        return KF_STORED_UINT64;
    case NIFTI_FLOAT32:
        return KF_STORED_FLOAT32;
    case NIFTI_FLOAT64:
        return KF_STORED_FLOAT64;
    default:
        return 0;
    }
}

// Rotation of the quaternion (a ≥ 0 implied), scaled by pixdim: nifti1.h, "method 2".
static void affine_from_quaternion(const struct fields *f, const struct offsets *o, double affine[12])
{
    double b = field_real(f, o->quatern, o->real), c = field_real(f, o->quatern + o->real, o->real);
    double d = field_real(f, o->quatern + 2 * o->real, o->real);
    double rest = 1 - (b * b + c * c + d * d), a = 0;
    if (rest < 1e-7) {
        double norm = sqrt(b * b + c * c + d * d);
        if (norm > 0) {
            b /= norm;
            c /= norm;
            d /= norm;
        }
    } else {
        a = sqrt(rest);
    }
    const double r[9] = {a * a + b * b - c * c - d * d, 2 * (b * c - a * d),           2 * (b * d + a * c),
                         2 * (b * c + a * d),           a * a + c * c - b * b - d * d, 2 * (c * d - a * b),
                         2 * (b * d - a * c),           2 * (c * d + a * b),           a * a + d * d - b * b - c * c};
    double handed = field_real(f, o->pixdim, o->real) < 0 ? -1 : 1;
    for (int row = 0; row < 3; row++) {
        for (int col = 0; col < 3; col++) {
            double size = fabs(field_real(f, o->pixdim + (1 + col) * o->real, o->real));
            affine[4 * row + col] = r[3 * row + col] * (size > 0 ? size : 1) * (col == 2 ? handed : 1);
        }
        affine[4 * row + 3] = field_real(f, o->qoffset + row * o->real, o->real);
    }
}

// Puts the doubles of our extension in the place of an sform that they round to.
static void read_exact_sform(const struct fields *f, int64_t length, double affine[12])
{
    const unsigned char *at = f->bytes + EXTENSION_AT;
    const struct fields little = {.bytes = at};
    if (length < EXTENSION_END || f->swap || f->bytes[348] != 1 || field_int(&little, 0, 4) != EXTENSION_BYTES ||
        field_int(&little, 4, 4) != 0 || memcmp(at + 8, extension_name, sizeof extension_name) != 0)
        return;
    double exact[12];
    for (int i = 0; i < 12; i++) {
        exact[i] = field_real(&little, 24 + 8 * i, 8);
        if (!(fabs(exact[i]) <= (double)FLT_MAX) || (double)(float)exact[i] != affine[i])
            return;
    }
    memcpy(affine, exact, sizeof exact);
}

static void read_affine(const struct fields *f, const struct offsets *o, int64_t length, double affine[12])
{
    memset(affine, 0, 12 * sizeof *affine);
    if (field_int(f, o->scode, o->code_size) > 0) {
        for (int i = 0; i < 12; i++)
            affine[i] = field_real(f, o->srow + i * o->real, o->real);
        if (o == &nifti_1)
            read_exact_sform(f, length, affine);
    } else if (field_int(f, o->qcode, o->code_size) > 0) {
        affine_from_quaternion(f, o, affine);
    } else {
        for (int i = 0; i < 3; i++) {
            double size = fabs(field_real(f, o->pixdim + (1 + i) * o->real, o->real));
            affine[5 * i] = size > 0 ? size : 1;
        }
    }
    int64_t units = field_int(f, o->units, o->units_size) & 7;
    double scale = units == 1 ? 1000 : units == 3 ? 0.001 : 1;
    for (int i = 0; i < 12; i++)
        affine[i] *= scale;
}

static enum kf_status grid_from_affine(const double affine[12], struct kf_grid *grid, struct kf_error *err)
{
    double axes[9], origin[3];
    for (int row = 0; row < 3; row++) {
        double sign = row < 2 ? -1 : 1; // RAS to LPS
        for (int col = 0; col < 3; col++)
            axes[3 * row + col] = sign * affine[4 * row + col];
        origin[row] = sign * affine[4 * row + 3];
    }
    return kf_stored_geometry(axes, origin, grid, "nifti_geometry", err);
}

static enum kf_status read_dimensions(const struct fields *f, const struct offsets *o, struct kf_grid *grid,
                                      struct kf_error *err)
{
    int64_t count = field_int(f, o->dim, o->integer);
    if (count < 1 || count > 7)
        return kf_error_set(err, KF_INVALID, "nifti_dimensions", "the header names %lld dimensions", (long long)count);
    int64_t sizes[3];
    for (int i = 1; i <= 7; i++) {
        int64_t n = i <= count ? field_int(f, o->dim + i * o->integer, o->integer) : 1;
        if (n < 1 || (i > 3 && n != 1))
            return kf_error_set(err, KF_INVALID, "nifti_dimensions", "dimension %d has length %lld", i, (long long)n);
        if (i <= 3)
            sizes[i - 1] = n;
    }
    return kf_stored_dimensions(sizes, grid, "nifti_dimensions", err);
}

// `bytes` holds the first `length` bytes of the (uncompressed) file.
static enum kf_status read_header(const unsigned char *bytes, int64_t length, struct kf_stored *out,
                                  struct kf_error *err)
{
    *out = (struct kf_stored){0};
    const struct offsets *o = NULL;
    struct fields f = {.bytes = bytes};
    for (f.swap = 0; f.swap < 2 && !o; f.swap++) {
        int64_t size = length >= HEADER_1_BYTES ? field_int(&f, 0, 4) : 0;
        if (size == HEADER_1_BYTES && memcmp(bytes + 344, "n+1", 4) == 0)
            o = &nifti_1;
        else if (size == HEADER_BYTES && length >= HEADER_BYTES && memcmp(bytes + 4, "n+2\0\r\n\032\n", 8) == 0)
            o = &nifti_2;
    }
    f.swap--; // the loop stepped past the order that fitted
    if (!o)
        return kf_error_set(err, KF_INVALID, "nifti_header", "not a single-file NIfTI-1 or NIfTI-2 header");
    enum kf_status status = read_dimensions(&f, o, &out->grid, err);
    if (status)
        return status;
    out->swap = f.swap;
    int type = (int)field_int(&f, o->type, 2);
    out->type = stored_type(type);
    if (!out->type)
        return kf_error_set(err, KF_INVALID, "nifti_type", "voxel type %d is not a real number", type);
    double at = o == &nifti_1 ? field_real(&f, o->vox_offset, 4) : (double)field_int(&f, o->vox_offset, 8);
    int64_t least = o == &nifti_1 ? HEADER_1_BYTES : HEADER_BYTES;
    if (!(at >= 0 && at <= (double)EXTENSIONS_LIMIT))
        return kf_error_set(err, KF_INVALID, "nifti_header", "the voxels do not start where they can");
    out->data_offset = (int64_t)at < least ? least + 4 : (int64_t)at;
    out->slope = field_real(&f, o->slope, o->real);
    out->inter = field_real(&f, o->inter, o->real);
    if (out->slope == 0 || !isfinite(out->slope) || !isfinite(out->inter)) {
        out->slope = 1;
        out->inter = 0;
    }
    double affine[12];
    read_affine(&f, o, length, affine);
    return grid_from_affine(affine, &out->grid, err);
}

enum kf_voxel_type kf_nifti_wanted(const struct kf_stored *s, enum kf_nifti_want want)
{
    int plain = s->slope == 1 && s->inter == 0;
    if (want == KF_NIFTI_LABELS || (want != KF_NIFTI_IMAGE && plain && s->type == KF_STORED_UINT8))
        return KF_VOXEL_UINT8;
    return want == KF_NIFTI_AS_STORED && plain && s->type == KF_STORED_FLOAT32 ? KF_VOXEL_FLOAT32 : 0;
}

static enum kf_status truncated(struct kf_error *err)
{
    return kf_error_set(err, KF_INVALID, "nifti_truncated", "the file ends before its last voxel");
}

static enum kf_status parse_packed(const struct kf_work *work, const unsigned char *bytes, int64_t length,
                                   enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err)
{
    unsigned char head[HEADER_BYTES] = {0};
    if (kf_gzip_unpack(NULL, bytes, length, head, HEADER_1_BYTES, NULL))
        return truncated(err);
    int64_t have = kf_gzip_unpack(NULL, bytes, length, head, HEADER_BYTES, NULL) ? HEADER_1_BYTES : HEADER_BYTES;
    struct kf_stored l;
    enum kf_status status = read_header(head, have, &l, err);
    if (status)
        return status;
    // Deflate makes at most 1032 bytes of one: a header that promises more is caught before memory is taken.
    int64_t total = l.data_offset + kf_stored_data_bytes(&l);
    if (total / 1032 > length)
        return truncated(err);
    unsigned char *plain = kf_memory_take(total);
    if (!plain)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a volume");
    struct kf_work_part part;
    status = kf_gzip_unpack(kf_work_part(&part, work, 0, 0.6), bytes, length, plain, total, err);
    if (status == KF_INVALID)
        status = truncated(err);
    if (!status)
        status = kf_stored_volume(kf_work_part(&part, work, 0.6, 1), &l, plain + l.data_offset,
                                  kf_nifti_wanted(&l, want), out, err);
    kf_memory_release(plain);
    return status;
}

enum kf_status kf_nifti_parse(const struct kf_work *work, const void *bytes, int64_t length, enum kf_nifti_want want,
                              struct kf_volume *out, struct kf_error *err)
{
    *out = (struct kf_volume){0};
    if (kf_gzip_is(bytes, length))
        return parse_packed(kf_io_work(work), bytes, length, want, out, err);
    struct kf_stored l;
    enum kf_status status = read_header(bytes, length, &l, err);
    if (status)
        return status;
    if (length < l.data_offset + kf_stored_data_bytes(&l))
        return truncated(err);
    return kf_stored_volume(work, &l, (const unsigned char *)bytes + l.data_offset, kf_nifti_wanted(&l, want), out,
                            err);
}

// Uncompressed int16 and labels go from the file straight to their place.
static enum kf_status read_direct(const struct kf_work *work, int fd, int64_t offset, int64_t length,
                                  enum kf_nifti_want want, struct kf_volume *out, int *done, struct kf_error *err)
{
    unsigned char head[HEADER_BYTES] = {0};
    int64_t have = length < HEADER_BYTES ? length : HEADER_BYTES;
    *done = 0;
    enum kf_status status = kf_file_read(NULL, fd, offset, head, have, err);
    if (status || kf_gzip_is(head, have))
        return status;
    struct kf_stored l;
    status = read_header(head, have, &l, err);
    if (status)
        return status;
    if (length < l.data_offset + kf_stored_data_bytes(&l))
        return truncated(err);
    enum kf_voxel_type type = kf_stored_direct(&l, kf_nifti_wanted(&l, want));
    if (!type)
        return KF_OK;
    *done = 1;
    status = kf_volume_alloc(out, &l.grid, type, err);
    if (!status)
        status = kf_file_read(work, fd, offset + l.data_offset, out->data, kf_stored_data_bytes(&l), err);
    if (status)
        kf_volume_release(out);
    return status;
}

enum kf_status kf_nifti_read(const struct kf_work *work, const char *path, int64_t offset, int64_t length,
                             enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err)
{
    *out = (struct kf_volume){0};
    int fd, done = 0;
    enum kf_status status = kf_file_open(path, offset, &length, &fd, err);
    if (status)
        return status;
    status = read_direct(work, fd, offset, length, want, out, &done, err);
    void *bytes = NULL;
    struct kf_work_part part;
    work = kf_io_work(work);
    if (!status && !done) {
        bytes = kf_memory_take(length);
        status = bytes ? kf_file_read(kf_work_part(&part, work, 0, 0.2), fd, offset, bytes, length, err)
                       : kf_error_set(err, KF_NOMEM, NULL, "no memory for an input");
        if (!status)
            status = kf_nifti_parse(kf_work_part(&part, work, 0.2, 1), bytes, length, want, out, err);
        kf_memory_release(bytes);
    }
    close(fd);
    return status;
}

// ---- writing ----

static void put_int(unsigned char *header, int at, int size, int64_t value)
{
    for (int i = 0; i < size; i++)
        header[at + i] = (unsigned char)((uint64_t)value >> (8 * i));
}

static void put_real(unsigned char *header, int at, int size, double value)
{
    uint64_t bits;
    if (size == 4) {
        float narrow = (float)value;
        uint32_t low;
        memcpy(&low, &narrow, 4);
        bits = low;
    } else {
        memcpy(&bits, &value, 8);
    }
    put_int(header, at, size, (int64_t)bits);
}

// Quaternion (b, c, d with a ≥ 0) of a proper rotation, row major.
static void quaternion(const double r[9], double q[3])
{
    double a = 0.5 * sqrt(fmax(0, 1 + r[0] + r[4] + r[8]));
    double b = 0.5 * sqrt(fmax(0, 1 + r[0] - r[4] - r[8]));
    double c = 0.5 * sqrt(fmax(0, 1 - r[0] + r[4] - r[8]));
    double d = 0.5 * sqrt(fmax(0, 1 - r[0] - r[4] + r[8]));
    // The largest part is known best; the others follow from it.
    if (a >= b && a >= c && a >= d) {
        b = 0.25 * (r[7] - r[5]) / a;
        c = 0.25 * (r[2] - r[6]) / a;
        d = 0.25 * (r[3] - r[1]) / a;
    } else if (b >= c && b >= d) {
        a = 0.25 * (r[7] - r[5]) / b;
        c = 0.25 * (r[1] + r[3]) / b;
        d = 0.25 * (r[2] + r[6]) / b;
    } else if (c >= d) {
        a = 0.25 * (r[2] - r[6]) / c;
        b = 0.25 * (r[1] + r[3]) / c;
        d = 0.25 * (r[5] + r[7]) / c;
    } else {
        a = 0.25 * (r[3] - r[1]) / d;
        b = 0.25 * (r[2] + r[6]) / d;
        c = 0.25 * (r[5] + r[7]) / d;
    }
    double sign = a < 0 ? -1 : 1;
    q[0] = sign * b;
    q[1] = sign * c;
    q[2] = sign * d;
}

static int file_type(enum kf_voxel_type type)
{
    switch (type) {
    case KF_VOXEL_UINT8:
        return NIFTI_UINT8;
    case KF_VOXEL_UINT16:
        return NIFTI_UINT16;
    case KF_VOXEL_INT16:
        return NIFTI_INT16;
    default:
        return NIFTI_FLOAT32;
    }
}

// The affine of a grid as a file says it: RAS mm, 3 rows of 4.
static void affine_of(const struct kf_grid *g, double affine[12])
{
    for (int row = 0; row < 3; row++) {
        double sign = row < 2 ? -1 : 1;
        for (int col = 0; col < 3; col++)
            affine[4 * row + col] = sign * g->direction[3 * row + col] * g->spacing_mm[col];
        affine[4 * row + 3] = sign * g->origin_lps[row];
    }
}

static int fits_nifti_1(const struct kf_grid *g, const double affine[12])
{
    for (int i = 0; i < 3; i++) {
        double miss_mm = 0;
        if (g->dim[i] > NIFTI_1_AXIS || g->spacing_mm[i] < (double)FLT_MIN)
            return 0;
        for (int col = 0; col < 4; col++) {
            double exact = affine[4 * i + col];
            if (!(fabs(exact) <= (double)FLT_MAX))
                return 0;
            miss_mm += fabs((double)(float)exact - exact) * (col < 3 ? (double)(g->dim[col] - 1) : 1);
        }
        if (!(miss_mm <= NIFTI_1_MISS_MM))
            return 0;
    }
    return 1;
}

// What differs between the versions beside the places of the fields. Answers those places.
static const struct offsets *begin_header(unsigned char header[DATA_OFFSET], const struct kf_grid *g,
                                          const double affine[12])
{
    memset(header, 0, DATA_OFFSET);
    if (!fits_nifti_1(g, affine)) {
        put_int(header, 0, 4, HEADER_BYTES);
        memcpy(header + 4, "n+2\0\r\n\032\n", 8);
        put_int(header, nifti_2.vox_offset, 8, DATA_OFFSET);
        return &nifti_2;
    }
    put_int(header, 0, 4, HEADER_1_BYTES);
    header[38] = 'r'; // as ANALYZE readers want it
    memcpy(header + 344, "n+1", 4);
    put_real(header, nifti_1.vox_offset, 4, DATA_OFFSET);
    header[348] = 1; // an extension follows
    put_int(header, EXTENSION_AT, 4, EXTENSION_BYTES);
    memcpy(header + EXTENSION_AT + 8, extension_name, sizeof extension_name);
    for (int i = 0; i < 12; i++)
        put_real(header, EXTENSION_AT + 24 + 8 * i, 8, affine[i]);
    return &nifti_1;
}

// `components`: 1, or 3 for vectors in planes.
static void make_header(const struct kf_volume *v, int components, unsigned char header[DATA_OFFSET])
{
    const struct kf_grid *g = &v->grid;
    double affine[12], r[9], q[3];
    affine_of(g, affine);
    const struct offsets *o = begin_header(header, g, affine);
    put_int(header, o->type, 2, file_type(v->type));
    put_int(header, o->bits, 2, 8 * kf_voxel_bytes(v->type));
    put_int(header, o->dim, o->integer, components > 1 ? 5 : 3);
    for (int i = 0; i < 7; i++)
        put_int(header, o->dim + (1 + i) * o->integer, o->integer, i < 3 ? g->dim[i] : i == 4 ? components : 1);
    if (components > 1)
        put_int(header, o->intent, o == &nifti_1 ? 2 : 4, VECTOR_INTENT);
    for (int i = 0; i < 9; i++)
        r[i] = (i < 6 ? -1 : 1) * g->direction[i];
    double det =
        r[0] * (r[4] * r[8] - r[5] * r[7]) - r[1] * (r[3] * r[8] - r[5] * r[6]) + r[2] * (r[3] * r[7] - r[4] * r[6]);
    put_real(header, o->pixdim, o->real, det < 0 ? -1 : 1);
    for (int i = 0; i < 3; i++)
        put_real(header, o->pixdim + (1 + i) * o->real, o->real, g->spacing_mm[i]);
    put_real(header, o->slope, o->real, 1);
    put_int(header, o->qcode, o->code_size, 1);
    put_int(header, o->scode, o->code_size, 1);
    for (int i = 0; i < 12; i++)
        put_real(header, o->srow + i * o->real, o->real, affine[i]);
    for (int row = 0; row < 3; row++) {
        put_real(header, o->qoffset + row * o->real, o->real, affine[4 * row + 3]);
        if (det < 0)
            r[3 * row + 2] = -r[3 * row + 2];
    }
    quaternion(r, q);
    for (int i = 0; i < 3; i++)
        put_real(header, o->quatern + i * o->real, o->real, q[i]);
    put_int(header, o->units, o->units_size, 2); // millimetres
}

void kf_nifti_header(const struct kf_volume *volume, unsigned char header[KF_NIFTI_DATA])
{
    make_header(volume, 1, header);
}

static enum kf_status write_file(const struct kf_work *work, const char *path, const unsigned char header[DATA_OFFSET],
                                 const void *data, int64_t bytes, struct kf_error *err)
{
    size_t name = strlen(path);
    int packed = name > 3 && strcmp(path + name - 3, ".gz") == 0;
    int fd;
    enum kf_status status = kf_file_create(path, &fd, err);
    if (status)
        return status;
    if (packed) {
        status = kf_gzip_write(NULL, fd, header, DATA_OFFSET, 6, err);
        if (!status)
            status = kf_gzip_write(work, fd, data, bytes, 6, err);
    } else {
        status = kf_file_write(NULL, fd, header, DATA_OFFSET, err);
        if (!status)
            status = kf_file_write(work, fd, data, bytes, err);
    }
    return kf_file_close(fd, status, err);
}

enum kf_status kf_nifti_write(const struct kf_work *work, const char *path, const struct kf_volume *volume,
                              struct kf_error *err)
{
    unsigned char header[DATA_OFFSET];
    make_header(volume, 1, header);
    return write_file(work, path, header, volume->data, kf_grid_voxels(&volume->grid) * kf_voxel_bytes(volume->type),
                      err);
}

enum kf_status kf_nifti_write_vectors(const struct kf_work *work, const char *path, const struct kf_grid *grid,
                                      const float *xyz, struct kf_error *err)
{
    unsigned char header[DATA_OFFSET];
    const struct kf_volume shape = {.grid = *grid, .type = KF_VOXEL_FLOAT32};
    make_header(&shape, 3, header);
    return write_file(work, path, header, xyz, 3 * kf_grid_voxels(grid) * (int64_t)sizeof(float), err);
}
