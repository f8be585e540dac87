#include "workers/io/metaimage.h"
#include "server/base/str.h"
#include "workers/io/header_text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LINE_MOST 4096

enum key {
    KEY_OBJECT,
    KEY_NDIMS,
    KEY_BINARY,
    KEY_MSB,
    KEY_COMPRESSED,
    KEY_COMPRESSED_SIZE,
    KEY_MATRIX,
    KEY_OFFSET,
    KEY_SPACING,
    KEY_SIZE,
    KEY_DIM_SIZE,
    KEY_HEADER_SIZE,
    KEY_TYPE,
    KEY_CHANNELS,
    KEY_SLOPE,
    KEY_INTERCEPT,
    KEY_DATA_FILE,
    KEY_COUNT
};

// The keys that matter here, with their other spellings; of several, the first in the file counts.
static const struct {
    const char *name;
    enum key key;
} key_names[] = {
    {"ObjectType", KEY_OBJECT},
    {"NDims", KEY_NDIMS},
    {"BinaryData", KEY_BINARY},
    {"BinaryDataByteOrderMSB", KEY_MSB},
    {"ElementByteOrderMSB", KEY_MSB},
    {"CompressedData", KEY_COMPRESSED},
    {"CompressedDataSize", KEY_COMPRESSED_SIZE},
    {"TransformMatrix", KEY_MATRIX},
    {"Rotation", KEY_MATRIX},
    {"Orientation", KEY_MATRIX},
    {"Offset", KEY_OFFSET},
    {"Position", KEY_OFFSET},
    {"Origin", KEY_OFFSET},
    {"ElementSpacing", KEY_SPACING},
    {"ElementSize", KEY_SIZE},
    {"DimSize", KEY_DIM_SIZE},
    {"HeaderSize", KEY_HEADER_SIZE},
    {"ElementType", KEY_TYPE},
    {"ElementNumberOfChannels", KEY_CHANNELS},
    {"ElementToIntensityFunctionSlope", KEY_SLOPE},
    {"ElementToIntensityFunctionOffset", KEY_INTERCEPT},
    {"ElementDataFile", KEY_DATA_FILE},
};

static const struct {
    const char *name;
    enum kf_stored_type type;
} type_names[] = {
    {"MET_CHAR", KF_STORED_INT8},         {"MET_UCHAR", KF_STORED_UINT8},   {"MET_SHORT", KF_STORED_INT16},
    {"MET_USHORT", KF_STORED_UINT16},     {"MET_INT", KF_STORED_INT32},     {"MET_UINT", KF_STORED_UINT32},
    {"MET_LONG", KF_STORED_INT32},        {"MET_ULONG", KF_STORED_UINT32},  {"MET_LONG_LONG", KF_STORED_INT64},
    {"MET_ULONG_LONG", KF_STORED_UINT64}, {"MET_FLOAT", KF_STORED_FLOAT32}, {"MET_DOUBLE", KF_STORED_FLOAT64},
};

// The values of the keys, as text; NULL where a key is absent.
struct keys {
    char *value[KEY_COUNT];
    char text[KEY_COUNT][LINE_MOST];
};

int kf_meta_is(const void *bytes, int64_t length)
{
    static const char *const first[] = {"ObjectType", "ObjectSubType", "Comment", "NDims", "TransformType"};
    const char *text = bytes;
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        int64_t n = (int64_t)strlen(first[i]);
        if (length > n + 1 && memcmp(text, first[i], (size_t)n) == 0 && (text[n] == ' ' || text[n] == '='))
            return 1;
    }
    return 0;
}

static enum kf_status bad(struct kf_error *err, const char *what)
{
    return kf_error_set(err, KF_INVALID, "meta_header", "the MetaImage header %s", what);
}

static enum kf_status read_keys(const unsigned char *bytes, int64_t length, struct keys *k, int64_t *end,
                                struct kf_error *err)
{
    char line[LINE_MOST];
    *end = 0;
    while (!k->value[KEY_DATA_FILE]) { // always the last key
        if (*end > KF_HEADER_MOST || !kf_header_line(bytes, length, end, line, sizeof line))
            return bad(err, "does not end with ElementDataFile");
        char *equals = strchr(line, '=');
        if (!equals)
            return bad(err, "has a line that is no `Key = value`");
        *equals = 0;
        const char *name = kf_header_trim(line);
        for (size_t i = 0; i < sizeof key_names / sizeof *key_names; i++) {
            enum key key = key_names[i].key;
            if (strcmp(name, key_names[i].name) == 0 && !k->value[key]) {
                if (kf_str_copy(k->text[key], LINE_MOST, equals + 1))
                    return bad(err, "has a line that is too long");
                k->value[key] = kf_header_trim(k->text[key]);
            }
        }
    }
    return KF_OK;
}

// True or False (MetaIO looks at the first letter); `otherwise` when the key is absent.
static int truth(const struct keys *k, enum key key, int otherwise)
{
    const char *value = k->value[key];
    return value ? value[0] == 'T' || value[0] == 't' || value[0] == '1' : otherwise;
}

static enum kf_status read_shape(const struct keys *k, struct kf_stored *out, struct kf_error *err)
{
    int64_t dims = 0, channels = 1, sizes[3];
    if (k->value[KEY_OBJECT] && strcmp(k->value[KEY_OBJECT], "Image") != 0)
        return bad(err, "is of another object than an Image");
    if (!k->value[KEY_NDIMS] || !kf_header_integers(k->value[KEY_NDIMS], 1, &dims))
        return bad(err, "does not say NDims");
    if (k->value[KEY_CHANNELS] && !kf_header_integers(k->value[KEY_CHANNELS], 1, &channels))
        return bad(err, "does not say ElementNumberOfChannels as a number");
    if (dims != 3 || channels != 1)
        return kf_error_set(err, KF_INVALID, "meta_dimensions",
                            "the image has %lld dimensions and %lld channels, not 3 and 1", (long long)dims,
                            (long long)channels);
    if (!k->value[KEY_DIM_SIZE] || !kf_header_integers(k->value[KEY_DIM_SIZE], 3, sizes))
        return bad(err, "does not say three numbers as DimSize");
    return kf_stored_dimensions(sizes, &out->grid, "meta_dimensions", err);
}

static enum kf_status read_type(const struct keys *k, struct kf_stored *out, struct kf_error *err)
{
    const char *type = k->value[KEY_TYPE];
    double slope = 1, inter = 0;
    for (size_t i = 0; type && i < sizeof type_names / sizeof *type_names; i++)
        if (strcmp(type, type_names[i].name) == 0)
            out->type = type_names[i].type;
    if (!out->type)
        return kf_error_set(err, KF_INVALID, "meta_type", "ElementType is no number type");
    if (!truth(k, KEY_BINARY, 0))
        return kf_error_set(err, KF_INVALID, "meta_encoding",
                            "the voxels are written as text (BinaryData is not True)");
    if ((k->value[KEY_SLOPE] && !kf_header_reals(k->value[KEY_SLOPE], 1, &slope)) ||
        (k->value[KEY_INTERCEPT] && !kf_header_reals(k->value[KEY_INTERCEPT], 1, &inter)) || slope != 1 || inter != 0)
        return kf_error_set(err, KF_INVALID, "meta_type",
                            "ElementToIntensityFunction is not 1 and 0: readers disagree what the values are");
    out->slope = 1;
    out->swap = truth(k, KEY_MSB, 0) && kf_stored_value_bytes(out->type) > 1;
    return KF_OK;
}

static enum kf_status read_geometry(const struct keys *k, struct kf_stored *out, struct kf_error *err)
{
    const char *spacing_text = k->value[KEY_SPACING] ? k->value[KEY_SPACING] : k->value[KEY_SIZE];
    double spacing[3] = {1, 1, 1}, origin[3] = {0, 0, 0}, rows[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1}, axes[9];
    if ((spacing_text && !kf_header_reals(spacing_text, 3, spacing)) ||
        (k->value[KEY_OFFSET] && !kf_header_reals(k->value[KEY_OFFSET], 3, origin)) ||
        (k->value[KEY_MATRIX] && !kf_header_reals(k->value[KEY_MATRIX], 9, rows)))
        return kf_error_set(err, KF_INVALID, "meta_geometry", "spacing, offset or matrix are malformed");
    for (int axis = 0; axis < 3; axis++) {
        double *d = rows + 3 * axis, square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
        if (!(spacing[axis] > 0) || !(square > 0.99 && square < 1.01)) // the matrix holds directions, no lengths
            return kf_error_set(err, KF_INVALID, "meta_geometry",
                                "a spacing is not positive or an axis not of length 1");
        for (int row = 0; row < 3; row++)
            axes[3 * row + axis] = d[row] * spacing[axis];
    }
    enum kf_status status = kf_stored_geometry(axes, origin, &out->grid, "meta_geometry", err);
    // The spacing is said in words of its own: kept to the last bit.
    for (int axis = 0; axis < 3 && !status; axis++)
        out->grid.spacing_mm[axis] = spacing[axis];
    return status;
}

static int bare_name(const char *name)
{
    return name[0] && name[0] != '.' && !strpbrk(name, "/\\%* \t") && strcmp(name, "LIST") != 0;
}

static enum kf_status read_data_place(const struct keys *k, int64_t end, struct kf_stored *out, struct kf_error *err)
{
    const char *file = k->value[KEY_DATA_FILE];
    int64_t header = 0;
    int local = strcasecmp(file, "LOCAL") == 0;
    out->data_length = -1;
    out->packing = truth(k, KEY_COMPRESSED, 0) ? KF_PACKED_ZLIB : KF_PACKED_NOT;
    if ((k->value[KEY_COMPRESSED_SIZE] &&
         (!kf_header_integers(k->value[KEY_COMPRESSED_SIZE], 1, &out->data_length) || out->data_length < 0)) ||
        (k->value[KEY_HEADER_SIZE] && (!kf_header_integers(k->value[KEY_HEADER_SIZE], 1, &header) || header < -1)))
        return bad(err, "does not say CompressedDataSize or HeaderSize as a number");
    if (!local && (!bare_name(file) || kf_str_copy(out->data_file, sizeof out->data_file, file)))
        return kf_error_set(err, KF_INVALID, "meta_data_file",
                            "the data is not in this file (LOCAL) or in one beside it (a bare name)");
    if (header > KF_HEADER_MOST || (header != 0 && (local || out->packing)))
        return bad(err, "has a HeaderSize that is not read here");
    out->data_at_end = header == -1;
    out->data_offset = local ? end : header > 0 ? header : 0;
    return KF_OK;
}

enum kf_status kf_meta_header(const void *bytes, int64_t length, struct kf_stored *out, struct kf_error *err)
{
    struct keys k = {.value = {NULL}};
    int64_t end;
    *out = (struct kf_stored){.slope = 1};
    enum kf_status status = read_keys(bytes, length, &k, &end, err);
    if (!status)
        status = read_shape(&k, out, err);
    if (!status)
        status = read_type(&k, out, err);
    if (!status)
        status = read_data_place(&k, end, out, err);
    if (!status)
        status = read_geometry(&k, out, err);
    return status;
}

int kf_meta_make_header(const struct kf_volume *volume, char to[KF_META_HEADER_MOST])
{
    static const char *const types[] = {"", "MET_UCHAR", "MET_SHORT", "MET_USHORT", "MET_FLOAT"};
    const struct kf_grid *g = &volume->grid;
    const double *d = g->direction, *o = g->origin_lps, *s = g->spacing_mm;
    return snprintf(to, KF_META_HEADER_MOST,
                    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
                    "CompressedData = False\n"
                    "TransformMatrix = %.17g %.17g %.17g %.17g %.17g %.17g %.17g %.17g %.17g\n"
                    "Offset = %.17g %.17g %.17g\nCenterOfRotation = 0 0 0\nElementSpacing = %.17g %.17g %.17g\n"
                    "DimSize = %lld %lld %lld\nElementType = %s\nElementDataFile = LOCAL\n",
                    d[0], d[3], d[6], d[1], d[4], d[7], d[2], d[5], d[8], o[0], o[1], o[2], s[0], s[1], s[2],
                    (long long)g->dim[0], (long long)g->dim[1], (long long)g->dim[2], types[volume->type]);
}
