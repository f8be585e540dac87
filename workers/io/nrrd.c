#include "workers/io/nrrd.h"
#include "server/base/str.h"
#include "workers/io/header_text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LINE_MOST 4096

enum field {
    FIELD_DIMENSION,
    FIELD_TYPE,
    FIELD_ENCODING,
    FIELD_ENDIAN,
    FIELD_SIZES,
    FIELD_SPACE,
    FIELD_SPACE_DIMENSION,
    FIELD_DIRECTIONS,
    FIELD_ORIGIN,
    FIELD_SPACINGS,
    FIELD_UNITS,
    FIELD_SPACE_UNITS,
    FIELD_AXIS_MINS,
    FIELD_DATA_FILE,
    FIELD_LINE_SKIP,
    FIELD_BYTE_SKIP,
    FIELD_COUNT
};

// Names of the fields that matter here, with the spellings that the format allows beside them. All others describe what
// does not change a value or a place.
static const struct {
    const char *name;
    enum field field;
} field_names[] = {
    {"dimension", FIELD_DIMENSION},
    {"type", FIELD_TYPE},
    {"encoding", FIELD_ENCODING},
    {"endian", FIELD_ENDIAN},
    {"sizes", FIELD_SIZES},
    {"space", FIELD_SPACE},
    {"space dimension", FIELD_SPACE_DIMENSION},
    {"space directions", FIELD_DIRECTIONS},
    {"space origin", FIELD_ORIGIN},
    {"spacings", FIELD_SPACINGS},
    {"units", FIELD_UNITS},
    {"space units", FIELD_SPACE_UNITS},
    {"axis mins", FIELD_AXIS_MINS},
    {"axismins", FIELD_AXIS_MINS},
    {"data file", FIELD_DATA_FILE},
    {"datafile", FIELD_DATA_FILE},
    {"line skip", FIELD_LINE_SKIP},
    {"lineskip", FIELD_LINE_SKIP},
    {"byte skip", FIELD_BYTE_SKIP},
    {"byteskip", FIELD_BYTE_SKIP},
};

static const struct {
    const char *name;
    enum kf_stored_type type;
} type_names[] = {
    {"signed char", KF_STORED_INT8},
    {"int8", KF_STORED_INT8},
    {"int8_t", KF_STORED_INT8},
    {"uchar", KF_STORED_UINT8},
    {"unsigned char", KF_STORED_UINT8},
    {"uint8", KF_STORED_UINT8},
    {"uint8_t", KF_STORED_UINT8},
    {"short", KF_STORED_INT16},
    {"short int", KF_STORED_INT16},
    {"signed short", KF_STORED_INT16},
    {"signed short int", KF_STORED_INT16},
    {"int16", KF_STORED_INT16},
    {"int16_t", KF_STORED_INT16},
    {"ushort", KF_STORED_UINT16},
    {"unsigned short", KF_STORED_UINT16},
    {"unsigned short int", KF_STORED_UINT16},
    {"uint16", KF_STORED_UINT16},
    {"uint16_t", KF_STORED_UINT16},
    {"int", KF_STORED_INT32},
    {"signed int", KF_STORED_INT32},
    {"int32", KF_STORED_INT32},
    {"int32_t", KF_STORED_INT32},
    {"uint", KF_STORED_UINT32},
    {"unsigned int", KF_STORED_UINT32},
    {"uint32", KF_STORED_UINT32},
    {"uint32_t", KF_STORED_UINT32},
    {"longlong", KF_STORED_INT64},
    {"long long", KF_STORED_INT64},
    {"long long int", KF_STORED_INT64},
    {"signed long long", KF_STORED_INT64},
    {"signed long long int", KF_STORED_INT64},
    {"int64", KF_STORED_INT64},
    {"int64_t", KF_STORED_INT64},
    {"ulonglong", KF_STORED_UINT64},
    {"unsigned long long", KF_STORED_UINT64},
    {"unsigned long long int", KF_STORED_UINT64},
    {"uint64", KF_STORED_UINT64},
    {"uint64_t", KF_STORED_UINT64},
    {"float", KF_STORED_FLOAT32},
    {"double", KF_STORED_FLOAT64},
};

// Spaces of the patient and the signs that turn their axes to LPS.
static const struct {
    const char *name, *brief;
    double sign[3];
} spaces[] = {
    {"left-posterior-superior", "LPS", {1, 1, 1}},
    {"right-anterior-superior", "RAS", {-1, -1, 1}},
    {"left-anterior-superior", "LAS", {1, -1, 1}},
};

// The values of the fields, as text; NULL where a field is absent.
struct fields {
    char *value[FIELD_COUNT];
    char text[FIELD_COUNT][LINE_MOST];
};

int kf_nrrd_is(const void *bytes, int64_t length)
{
    return length >= 8 && memcmp(bytes, "NRRD000", 7) == 0;
}

static enum kf_status bad(struct kf_error *err, const char *what)
{
    return kf_error_set(err, KF_INVALID, "nrrd_header", "the NRRD header %s", what);
}

static enum kf_status take_field(struct fields *f, char *line, struct kf_error *err)
{
    char *colon = strstr(line, ":");
    if (line[0] == '#' || (colon && colon[1] == '=')) // a comment, or a key of somebody's own
        return KF_OK;
    if (!colon || colon[1] != ' ')
        return bad(err, "has a line that is no field");
    *colon = 0;
    for (size_t i = 0; i < sizeof field_names / sizeof *field_names; i++) {
        enum field field = field_names[i].field;
        if (strcasecmp(line, field_names[i].name) != 0)
            continue;
        if (f->value[field])
            return bad(err, "has a field twice");
        if (kf_str_copy(f->text[field], LINE_MOST, colon + 2))
            return bad(err, "has a line that is too long");
        f->value[field] = kf_header_trim(f->text[field]);
    }
    return KF_OK;
}

static enum kf_status read_fields(const unsigned char *bytes, int64_t length, struct fields *f, int64_t *end,
                                  struct kf_error *err)
{
    char line[LINE_MOST];
    *end = 0;
    if (!kf_nrrd_is(bytes, length) || !kf_header_line(bytes, length, end, line, sizeof line) || strlen(line) != 8 ||
        line[7] < '1' || line[7] > '5')
        return bad(err, "is of no version from 1 to 5");
    for (;;) {
        if (*end > KF_HEADER_MOST || !kf_header_line(bytes, length, end, line, sizeof line))
            return bad(err, "does not end with an empty line");
        if (line[0] == 0)
            return KF_OK;
        enum kf_status status = take_field(f, line, err);
        if (status)
            return status;
    }
}

static enum kf_status read_type(const struct fields *f, struct kf_stored *out, struct kf_error *err)
{
    const char *type = f->value[FIELD_TYPE], *endian = f->value[FIELD_ENDIAN];
    for (size_t i = 0; type && i < sizeof type_names / sizeof *type_names; i++)
        if (strcasecmp(type, type_names[i].name) == 0)
            out->type = type_names[i].type;
    if (!out->type)
        return kf_error_set(err, KF_INVALID, "nrrd_type", "the samples are of no number type");
    int big = endian && strcasecmp(endian, "big") == 0;
    if (kf_stored_value_bytes(out->type) > 1 && !big && !(endian && strcasecmp(endian, "little") == 0))
        return kf_error_set(err, KF_INVALID, "nrrd_endian", "the header does not say endian: little or big");
    out->swap = big && kf_stored_value_bytes(out->type) > 1;
    return KF_OK;
}

static enum kf_status read_sizes(const struct fields *f, struct kf_stored *out, struct kf_error *err)
{
    int64_t dimension, sizes[3];
    if (!f->value[FIELD_DIMENSION] || !kf_header_integers(f->value[FIELD_DIMENSION], 1, &dimension))
        return bad(err, "does not say its dimension");
    if (dimension != 3)
        return kf_error_set(err, KF_INVALID, "nrrd_dimensions",
                            "the file has %lld axes; a volume has three (layers, vectors and time: write one by one)",
                            (long long)dimension);
    if (!f->value[FIELD_SIZES] || !kf_header_integers(f->value[FIELD_SIZES], 3, sizes))
        return bad(err, "does not say three sizes");
    return kf_stored_dimensions(sizes, &out->grid, "nrrd_dimensions", err);
}

// "(1,2,3)" at *text, which moves behind it.
static int take_vector(char **text, double v[3])
{
    char *open = *text + strspn(*text, " \t"), *close = strchr(open, ')');
    if (*open != '(' || !close)
        return 0;
    *text = close + 1;
    *close = 0;
    for (char *c = open; *c; c++)
        if (*c == ',')
            *c = ' ';
    return kf_header_reals(open + 1, 3, v);
}

static enum kf_status no_space(struct kf_error *err)
{
    return kf_error_set(err, KF_INVALID, "nrrd_space",
                        "the space is none of the patient's: left-posterior-superior, right-anterior-superior or "
                        "left-anterior-superior, in mm");
}

// Spacings without a space: the file does not say where the image lies, as a NIfTI file without forms.
static enum kf_status read_spacings(const struct fields *f, struct kf_stored *out, struct kf_error *err)
{
    double spacing[3], axes[9] = {0};
    static const double origin[3] = {0, 0, 0};
    if (f->value[FIELD_SPACE_DIMENSION] || f->value[FIELD_DIRECTIONS] || f->value[FIELD_ORIGIN] ||
        f->value[FIELD_AXIS_MINS])
        return no_space(err);
    if (!f->value[FIELD_SPACINGS] || !kf_header_reals(f->value[FIELD_SPACINGS], 3, spacing))
        return kf_error_set(err, KF_INVALID, "nrrd_geometry", "the header says neither a space nor three spacings");
    for (int i = 0; i < 3; i++)
        axes[4 * i] = spacing[i];
    return kf_stored_geometry(axes, origin, &out->grid, "nrrd_geometry", err);
}

// "mm" "mm" "mm", or nothing said.
static int units_are_mm(const char *units)
{
    int named = 0;
    for (;;) {
        units += strspn(units, " \t\"");
        size_t n = strcspn(units, " \t\"");
        if (n == 0)
            return named == 3;
        if (!(n == 2 && memcmp(units, "mm", 2) == 0) && !(n == 10 && memcmp(units, "millimeter", 10) == 0))
            return 0;
        named++;
        units += n;
    }
}

static enum kf_status read_space(const struct fields *f, struct kf_stored *out, struct kf_error *err)
{
    const char *space = f->value[FIELD_SPACE];
    const char *units = f->value[FIELD_SPACE_UNITS] ? f->value[FIELD_SPACE_UNITS] : f->value[FIELD_UNITS];
    if (units && !units_are_mm(units))
        return no_space(err);
    if (!space)
        return read_spacings(f, out, err);
    const double *sign = NULL;
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        if (strcasecmp(space, spaces[i].name) == 0 || strcasecmp(space, spaces[i].brief) == 0)
            sign = spaces[i].sign;
    if (!sign)
        return no_space(err);
    double axes[9], origin[3] = {0, 0, 0};
    char *directions = f->value[FIELD_DIRECTIONS], *from = f->value[FIELD_ORIGIN];
    for (int col = 0; col < 3; col++) {
        double v[3];
        if (!directions || !take_vector(&directions, v))
            return kf_error_set(err, KF_INVALID, "nrrd_geometry",
                                "there are no three space directions of three numbers");
        for (int row = 0; row < 3; row++)
            axes[3 * row + col] = sign[row] * v[row];
    }
    if (directions[strspn(directions, " \t")] || (from && !take_vector(&from, origin)))
        return kf_error_set(err, KF_INVALID, "nrrd_geometry", "space directions or space origin are malformed");
    for (int row = 0; row < 3; row++)
        origin[row] *= sign[row];
    return kf_stored_geometry(axes, origin, &out->grid, "nrrd_geometry", err);
}

// Where the data lies; `end` is where the header ends.
static enum kf_status read_data_place(const struct fields *f, int64_t end, struct kf_stored *out, struct kf_error *err)
{
    const char *encoding = f->value[FIELD_ENCODING];
    int64_t lines = 0, skip = 0;
    if (f->value[FIELD_DATA_FILE])
        return kf_error_set(err, KF_INVALID, "nrrd_detached",
                            "the data is in another file; write it attached, as one .nrrd file");
    if (encoding && strcasecmp(encoding, "raw") == 0)
        out->packing = KF_PACKED_NOT;
    else if (encoding && (strcasecmp(encoding, "gzip") == 0 || strcasecmp(encoding, "gz") == 0))
        out->packing = KF_PACKED_GZIP;
    else
        return kf_error_set(err, KF_INVALID, "nrrd_encoding", "the encoding is neither raw nor gzip");
    if ((f->value[FIELD_LINE_SKIP] && !kf_header_integers(f->value[FIELD_LINE_SKIP], 1, &lines)) || lines != 0 ||
        (f->value[FIELD_BYTE_SKIP] && !kf_header_integers(f->value[FIELD_BYTE_SKIP], 1, &skip)) || skip < -1 ||
        skip > KF_HEADER_MOST || (skip != 0 && out->packing))
        return bad(err, "skips bytes in a way that is not read here");
    out->data_at_end = skip == -1;
    out->data_offset = end + (skip > 0 ? skip : 0);
    out->data_length = -1;
    return KF_OK;
}

enum kf_status kf_nrrd_header(const void *bytes, int64_t length, struct kf_stored *out, struct kf_error *err)
{
    struct fields f = {.value = {NULL}};
    int64_t end;
    *out = (struct kf_stored){.slope = 1};
    enum kf_status status = read_fields(bytes, length, &f, &end, err);
    if (!status)
        status = read_sizes(&f, out, err);
    if (!status)
        status = read_type(&f, out, err);
    if (!status)
        status = read_data_place(&f, end, out, err);
    if (!status)
        status = read_space(&f, out, err);
    return status;
}

int kf_nrrd_make_header(const struct kf_volume *volume, char to[KF_NRRD_HEADER_MOST])
{
    static const char *const types[] = {"", "uint8", "int16", "uint16", "float"};
    const struct kf_grid *g = &volume->grid;
    int n = snprintf(to, KF_NRRD_HEADER_MOST,
                     "NRRD0004\ntype: %s\ndimension: 3\nspace: left-posterior-superior\nsizes: %lld %lld %lld\n"
                     "space directions:",
                     types[volume->type], (long long)g->dim[0], (long long)g->dim[1], (long long)g->dim[2]);
    for (int col = 0; col < 3; col++)
        n += snprintf(to + n, KF_NRRD_HEADER_MOST - (size_t)n, " (%.17g,%.17g,%.17g)",
                      g->direction[col] * g->spacing_mm[col], g->direction[3 + col] * g->spacing_mm[col],
                      g->direction[6 + col] * g->spacing_mm[col]);
    n +=
        snprintf(to + n, KF_NRRD_HEADER_MOST - (size_t)n,
                 "\nkinds: domain domain domain\nendian: little\nencoding: gzip\nspace origin: (%.17g,%.17g,%.17g)\n\n",
                 g->origin_lps[0], g->origin_lps[1], g->origin_lps[2]);
    return n;
}
