// Reads GLB files of strangers: every offset, count and index is checked before it is used.
#include "server/base/json.h"
#include "workers/io/aside.h"
#include "workers/io/file.h"
#include "workers/io/glb.h"
#include "workers/io/memory.h"
#include "workers/mesh3p/meshopt.h"

#include <math.h>
#include <string.h>

#define VIEWS_MAX      4096
#define DEPTH_MAX      16
#define ASK_EVERY      65536 // elements between two questions: a few milliseconds
#define VISITS_MAX     10000
#define ELEMENTS_MAX   ((int64_t)1 << 28) // vertices or indices of one accessor
#define BYTES_MAX      ((int64_t)8 << 30) // decoded from one file
#define ASIDE_FROM     ((int64_t)4 << 20) // bytes that are worth a thread of their own: some hundredths of a second

struct reader {
    const struct kf_work *work;
    json_t *root; // owned
    const unsigned char *binary;
    int64_t binary_length;
    void *view[VIEWS_MAX]; // decoded, owned; NULL when not decoded yet
    int64_t decoded;       // bytes in all
    int visits;
    int depth;
    struct kf_glb_summary *summary;
    struct kf_mesh *mesh; // may be NULL
    int64_t vertex_room, index_room;
    struct kf_error *err;
};

static enum kf_status bad(struct reader *r, const char *code, const char *what)
{
    return kf_error_set(r->err, KF_INVALID, code, "%s", what);
}

// ---- views and accessors ----

static const json_t *item(const struct reader *r, const char *list, json_int_t index)
{
    const json_t *array = json_object_get(r->root, list);
    return index < 0 ? NULL : json_array_get(array, (size_t)index);
}

static enum kf_meshopt_mode mode_of(const char *text)
{
    return strcmp(text, "ATTRIBUTES") == 0  ? KF_MESHOPT_ATTRIBUTES
           : strcmp(text, "TRIANGLES") == 0 ? KF_MESHOPT_TRIANGLES
           : strcmp(text, "INDICES") == 0   ? KF_MESHOPT_INDICES
                                            : 0;
}

static enum kf_meshopt_filter filter_of(const char *text)
{
    return strcmp(text, "NONE") == 0          ? KF_MESHOPT_NONE
           : strcmp(text, "OCTAHEDRAL") == 0  ? KF_MESHOPT_OCTAHEDRAL
           : strcmp(text, "QUATERNION") == 0  ? KF_MESHOPT_QUATERNION
           : strcmp(text, "EXPONENTIAL") == 0 ? KF_MESHOPT_EXPONENTIAL
                                              : 0;
}

static int in_binary(const struct reader *r, int64_t offset, int64_t length)
{
    return offset >= 0 && length >= 0 && offset <= r->binary_length && length <= r->binary_length - offset;
}

struct decoding {
    void *to;
    int64_t count, stride;
    enum kf_meshopt_mode mode;
    enum kf_meshopt_filter filter;
    const unsigned char *from;
    int64_t length;
    int failed;
};

static void run_decoding(struct kf_aside *aside, void *user)
{
    struct decoding *d = user;
    (void)aside;
    d->failed = kf_mesh3p_unpack(d->to, d->count, d->stride, d->mode, d->filter, d->from, d->length);
}

static enum kf_status decode(struct reader *r, struct decoding *d)
{
    enum kf_status status = kf_aside(r->work, d->count * d->stride >= ASIDE_FROM, run_decoding, d, r->err);
    return !status && d->failed ? bad(r, "glb_buffer", "a compressed buffer view is damaged") : status;
}

static enum kf_status decode_view(struct reader *r, json_int_t index, const json_t *extension, int64_t count,
                                  int64_t stride)
{
    int64_t at = kf_json_integer(extension, "byteOffset", 0), length = kf_json_integer(extension, "byteLength", -1);
    enum kf_meshopt_mode mode = mode_of(kf_json_text(extension, "mode", ""));
    enum kf_meshopt_filter filter = filter_of(kf_json_text(extension, "filter", "NONE"));
    if (kf_json_integer(extension, "buffer", -1) != 0 || !in_binary(r, at, length) || !mode || !filter)
        return bad(r, "glb_buffer", "a compressed buffer view does not lie in the file");
    if ((r->decoded += count * stride) > BYTES_MAX)
        return kf_error_set(r->err, KF_TOO_LARGE, NULL, "the file decodes to more than is allowed");
    void *memory = kf_work_take(r->work, count * stride);
    if (!memory)
        return kf_error_set(r->err, KF_NOMEM, NULL, "no memory for a mesh");
    r->view[index] = memory;
    return decode(r, &(struct decoding){memory, count, stride, mode, filter, r->binary + at, length, 0});
}

// The bytes of a buffer view, decoded where it is compressed, and its stride (0: packed).
static enum kf_status view_bytes(struct reader *r, json_int_t index, const unsigned char **bytes, int64_t *length,
                                 int64_t *stride)
{
    const json_t *view = index < VIEWS_MAX ? item(r, "bufferViews", index) : NULL;
    if (!view)
        return bad(r, "glb_buffer", "an accessor names no buffer view");
    const json_t *extension = json_object_get(json_object_get(view, "extensions"), "EXT_meshopt_compression");
    *stride = kf_json_integer(view, "byteStride", 0);
    if (!extension) {
        int64_t at = kf_json_integer(view, "byteOffset", 0);
        *length = kf_json_integer(view, "byteLength", -1);
        if (kf_json_integer(view, "buffer", -1) != 0 || !in_binary(r, at, *length))
            return bad(r, "glb_buffer", "a buffer view does not lie in the file");
        *bytes = r->binary + at;
        return KF_OK;
    }
    int64_t count = kf_json_integer(extension, "count", -1), size = kf_json_integer(extension, "byteStride", -1);
    if (count < 0 || count > ELEMENTS_MAX || size < 1 || size > 256)
        return bad(r, "glb_buffer", "a compressed buffer view claims a wrong size");
    if (!r->view[index]) {
        enum kf_status status = decode_view(r, index, extension, count, size);
        if (status)
            return status;
    }
    *bytes = r->view[index];
    *length = count * size;
    if (kf_json_integer(extension, "byteStride", 0) && strcmp(kf_json_text(extension, "mode", ""), "ATTRIBUTES") == 0)
        *stride = size;
    return KF_OK;
}

struct accessor {
    const unsigned char *bytes; // first element
    int64_t count, stride;
    int component; // glTF component type
    int normalised;
};

static int64_t component_bytes(int type)
{
    return type == 5120 || type == 5121 ? 1 : type == 5122 || type == 5123 ? 2 : type == 5125 || type == 5126 ? 4 : 0;
}

static enum kf_status open_accessor(struct reader *r, json_int_t index, const char *type, int64_t parts,
                                    struct accessor *a)
{
    const json_t *json = item(r, "accessors", index);
    if (!json || strcmp(kf_json_text(json, "type", ""), type) != 0 || json_object_get(json, "sparse"))
        return bad(r, "glb_json", "an accessor is missing or of a kind that is not read");
    const unsigned char *bytes = NULL;
    int64_t length = 0, stride = 0, at = kf_json_integer(json, "byteOffset", 0);
    enum kf_status status = view_bytes(r, kf_json_integer(json, "bufferView", -1), &bytes, &length, &stride);
    if (status)
        return status;
    a->component = (int)kf_json_integer(json, "componentType", 0);
    a->normalised = kf_json_flag(json, "normalized", 0);
    a->count = kf_json_integer(json, "count", -1);
    int64_t size = parts * component_bytes(a->component);
    a->stride = stride ? stride : size;
    if (!size || a->stride < size || a->stride > 256 || a->count < 1 || a->count > ELEMENTS_MAX || at < 0 ||
        at > length || (a->count - 1) * a->stride + size > length - at)
        return bad(r, "glb_buffer", "an accessor reaches past its buffer view");
    a->bytes = bytes + at;
    return KF_OK;
}

static double component(const struct accessor *a, int64_t element, int part)
{
    static const double most[] = {127, 255, 32767, 65535};
    const unsigned char *at = a->bytes + element * a->stride + part * component_bytes(a->component);
    double value = 0;
    if (a->component == 5126) {
        float f;
        memcpy(&f, at, 4);
        return (double)f;
    }
    uint32_t raw = 0;
    for (int64_t i = 0; i < component_bytes(a->component); i++)
        raw |= (uint32_t)at[i] << (8 * i);
    value = a->component == 5120 ? (double)(int8_t)raw : a->component == 5122 ? (double)(int16_t)raw : (double)raw;
    if (a->normalised && a->component <= 5123) {
        value /= most[a->component - 5120];
        value = value < -1 ? -1 : value;
    }
    return value;
}

// ---- nodes: 3 rows of 4 ----

static void multiply(const double a[12], const double b[12], double out[12])
{
    double result[12];
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 4; c++)
            result[4 * r + c] = a[4 * r] * b[c] + a[4 * r + 1] * b[4 + c] + a[4 * r + 2] * b[8 + c] +
                                (c == 3 ? a[4 * r + 3] : 0);
    memcpy(out, result, sizeof result);
}

static int numbers(const json_t *array, int n, double *to)
{
    if (!json_is_array(array) || json_array_size(array) != (size_t)n)
        return 0;
    for (int i = 0; i < n; i++) {
        const json_t *value = json_array_get(array, (size_t)i);
        if (!json_is_number(value))
            return 0;
        to[i] = json_number_value(value);
    }
    return 1;
}

static void node_matrix(const json_t *node, double out[12])
{
    double m[16], t[3] = {0, 0, 0}, q[4] = {0, 0, 0, 1}, s[3] = {1, 1, 1};
    if (numbers(json_object_get(node, "matrix"), 16, m)) {
        for (int r = 0; r < 3; r++)
            for (int c = 0; c < 4; c++)
                out[4 * r + c] = m[4 * c + r];
        return;
    }
    (void)numbers(json_object_get(node, "translation"), 3, t);
    (void)numbers(json_object_get(node, "rotation"), 4, q);
    (void)numbers(json_object_get(node, "scale"), 3, s);
    double x = q[0], y = q[1], z = q[2], w = q[3];
    const double rotation[9] = {1 - 2 * (y * y + z * z), 2 * (x * y - z * w),     2 * (x * z + y * w),
                                2 * (x * y + z * w),     1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
                                2 * (x * z - y * w),     2 * (y * z + x * w),     1 - 2 * (x * x + y * y)};
    for (int r = 0; r < 3; r++) {
        for (int c = 0; c < 3; c++)
            out[4 * r + c] = rotation[3 * r + c] * s[c];
        out[4 * r + 3] = t[r];
    }
}

// ---- triangles ----

static void gltf_to_lps(const double p[3], double lps[3])
{
    lps[0] = p[0] * 1000;
    lps[1] = -p[2] * 1000;
    lps[2] = p[1] * 1000;
}

static void widen(double bounds[2][3], const double p[3], int first)
{
    for (int r = 0; r < 3; r++) {
        bounds[0][r] = first || p[r] < bounds[0][r] ? p[r] : bounds[0][r];
        bounds[1][r] = first || p[r] > bounds[1][r] ? p[r] : bounds[1][r];
    }
}

static void *grow(const struct kf_work *work, void *old, int64_t used, int64_t *room, int64_t need)
{
    if (need <= *room)
        return old;
    int64_t more = need + need / 2;
    void *memory = kf_work_take(work, more);
    if (!memory)
        return NULL;
    if (old)
        memcpy(memory, old, (size_t)used);
    kf_work_give(work, old);
    *room = more;
    return memory;
}

// Makes room for more vertices and triangles; mesh stays valid when it fails.
static enum kf_status make_room(struct reader *r, int64_t vertices, int64_t indices)
{
    struct kf_mesh *m = r->mesh;
    float *xyz = grow(r->work, m->xyz, m->vertices * 12, &r->vertex_room, (m->vertices + vertices) * 12);
    if (xyz)
        m->xyz = xyz;
    uint32_t *index = grow(r->work, m->index, m->triangles * 12, &r->index_room, m->triangles * 12 + indices * 4);
    if (index)
        m->index = index;
    return xyz && index ? KF_OK : kf_error_set(r->err, KF_NOMEM, NULL, "no memory for a mesh");
}

static enum kf_status add_vertices(struct reader *r, const struct accessor *positions, const double m[12])
{
    for (int64_t v = 0; v < positions->count; v++) {
        double done = 0.5 * (double)v / (double)positions->count;
        enum kf_status status = v % ASK_EVERY ? KF_OK : kf_io_step(r->work, done, r->err);
        if (status)
            return status;
        double p[3], q[3], lps[3];
        for (int c = 0; c < 3; c++)
            p[c] = component(positions, v, c);
        for (int c = 0; c < 3; c++)
            q[c] = m[4 * c] * p[0] + m[4 * c + 1] * p[1] + m[4 * c + 2] * p[2] + m[4 * c + 3];
        if (!isfinite(q[0]) || !isfinite(q[1]) || !isfinite(q[2]))
            return bad(r, "glb_buffer", "a position is not finite");
        gltf_to_lps(q, lps);
        int first = r->summary->vertices == 0 && v == 0;
        widen(r->summary->bounds_gltf, q, first);
        widen(r->summary->bounds_lps, lps, first);
        if (r->mesh)
            for (int c = 0; c < 3; c++)
                r->mesh->xyz[3 * (r->mesh->vertices + v) + c] = (float)lps[c];
    }
    return KF_OK;
}

static enum kf_status add_primitive(struct reader *r, const json_t *primitive, const double m[12])
{
    if (kf_json_integer(primitive, "mode", 4) != 4)
        return bad(r, "glb_json", "a primitive is not made of triangles");
    struct accessor positions, indices = {0};
    json_int_t position = kf_json_integer(json_object_get(primitive, "attributes"), "POSITION", -1);
    enum kf_status status = open_accessor(r, position, "VEC3", 3, &positions);
    int indexed = json_object_get(primitive, "indices") != NULL;
    if (!status && indexed)
        status = open_accessor(r, kf_json_integer(primitive, "indices", -1), "SCALAR", 1, &indices);
    if (status)
        return status;
    if (indexed && indices.component != 5121 && indices.component != 5123 && indices.component != 5125)
        return bad(r, "glb_json", "the indices are not unsigned integers");
    int64_t count = indexed ? indices.count : positions.count;
    if (count % 3)
        return bad(r, "glb_index", "the indices do not make whole triangles");
    if (r->mesh)
        status = make_room(r, positions.count, count);
    if (!status)
        status = add_vertices(r, &positions, m);
    for (int64_t i = 0; i < count && !status; i++) {
        if (i % ASK_EVERY == 0)
            status = kf_io_step(r->work, 0.5 + 0.5 * (double)i / (double)count, r->err);
        if (status)
            return status;
        double at = indexed ? component(&indices, i, 0) : (double)i;
        if (at >= (double)positions.count)
            return bad(r, "glb_index", "an index is past the last vertex");
        if (r->mesh)
            r->mesh->index[3 * r->mesh->triangles + i] = (uint32_t)(r->mesh->vertices + (int64_t)at);
    }
    if (status)
        return status;
    r->summary->vertices += positions.count;
    r->summary->triangles += count / 3;
    if (r->mesh) {
        r->mesh->vertices += positions.count;
        r->mesh->triangles += count / 3;
    }
    if (r->summary->vertices > ELEMENTS_MAX || r->summary->triangles > ELEMENTS_MAX)
        return kf_error_set(r->err, KF_TOO_LARGE, NULL, "the file has more triangles than are allowed");
    return KF_OK;
}

static enum kf_status visit_node(struct reader *r, json_int_t index, const double above[12])
{
    const json_t *node = item(r, "nodes", index);
    if (!node || r->depth > DEPTH_MAX || ++r->visits > VISITS_MAX)
        return bad(r, "glb_json", "the nodes are not a tree, or too deep a one");
    double own[12];
    node_matrix(node, own);
    multiply(above, own, own);
    enum kf_status status = KF_OK;
    const json_t *mesh = item(r, "meshes", kf_json_integer(node, "mesh", -1));
    const json_t *primitives = json_object_get(mesh, "primitives"), *children = json_object_get(node, "children");
    for (size_t i = 0; i < json_array_size(primitives) && !status; i++)
        status = add_primitive(r, json_array_get(primitives, i), own);
    r->depth++;
    for (size_t i = 0; i < json_array_size(children) && !status; i++) {
        const json_t *child = json_array_get(children, i);
        status = visit_node(r, json_is_integer(child) ? json_integer_value(child) : -1, own);
    }
    r->depth--;
    return status;
}

static enum kf_status visit_scene(struct reader *r)
{
    static const double identity[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    const json_t *roots = json_object_get(item(r, "scenes", kf_json_integer(r->root, "scene", 0)), "nodes");
    enum kf_status status = KF_OK;
    for (size_t i = 0; i < json_array_size(roots) && !status; i++) {
        const json_t *root = json_array_get(roots, i);
        status = visit_node(r, json_is_integer(root) ? json_integer_value(root) : -1, identity);
    }
    if (!status && !r->summary->triangles)
        return bad(r, "glb_empty", "the file has no triangles");
    return status;
}

// ---- the file ----

static int64_t get32(const unsigned char *at)
{
    return (int64_t)at[0] | (int64_t)at[1] << 8 | (int64_t)at[2] << 16 | (int64_t)at[3] << 24;
}

struct document {
    const char *text;
    size_t length;
    json_t **root;
    enum kf_status status;
};

static void parse_document(struct kf_aside *aside, void *user)
{
    struct document *d = user;
    (void)aside;
    d->status = kf_json_parse(d->text, d->length, d->root, NULL);
}

static enum kf_status open_chunks(struct reader *r, const unsigned char *b, int64_t length)
{
    if (length < 20 || memcmp(b, "glTF", 4) != 0 || get32(b + 4) != 2 || get32(b + 8) > length)
        return bad(r, "glb_header", "not a binary glTF 2.0 file, or one that was cut short");
    length = get32(b + 8);
    int64_t json = length < 20 ? -1 : get32(b + 12);
    if (json < 0 || json > length - 20 || memcmp(b + 16, "JSON", 4) != 0)
        return bad(r, "glb_header", "the first chunk is not JSON");
    int64_t at = 20 + json;
    if (length - at >= 8 && memcmp(b + at + 4, "BIN\0", 4) == 0) {
        r->binary = b + at + 8;
        r->binary_length = get32(b + at);
        if (r->binary_length > length - at - 8)
            return bad(r, "glb_header", "the binary chunk was cut short");
    }
    struct document document = {(const char *)b + 20, (size_t)json, &r->root, KF_OK};
    enum kf_status status = kf_aside(r->work, json >= ASIDE_FROM, parse_document, &document, r->err);
    if (status)
        return status;
    if (document.status || !json_is_object(r->root))
        return bad(r, "glb_json", "the JSON chunk cannot be parsed");
    return KF_OK;
}

enum kf_status kf_glb_parse(const struct kf_work *work, const void *bytes, int64_t length,
                            struct kf_glb_summary *summary, struct kf_mesh *mesh, struct kf_error *err)
{
    *summary = (struct kf_glb_summary){0};
    if (mesh)
        *mesh = (struct kf_mesh){0};
    struct reader *r = kf_work_take(work, (int64_t)sizeof *r);
    if (!r)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a mesh");
    *r = (struct reader){.work = work, .summary = summary, .mesh = mesh, .err = err};
    enum kf_status status = open_chunks(r, bytes, length);
    if (!status)
        status = visit_scene(r);
    for (int i = 0; i < VIEWS_MAX; i++)
        kf_work_give(work, r->view[i]);
    json_decref(r->root);
    kf_work_give(work, r);
    if (status) {
        *summary = (struct kf_glb_summary){0};
        if (mesh)
            kf_mesh_release(work, mesh);
    }
    return status;
}

enum kf_status kf_glb_read(const struct kf_work *work, const char *path, struct kf_glb_summary *summary,
                           struct kf_mesh *mesh, struct kf_error *err)
{
    *summary = (struct kf_glb_summary){0};
    if (mesh)
        *mesh = (struct kf_mesh){0};
    int64_t length = -1;
    void *bytes;
    struct kf_work_part part;
    enum kf_status status = kf_file_load(kf_work_part(&part, work, 0, 0.2), path, 0, &length, &bytes, err);
    if (status)
        return status;
    status = kf_glb_parse(kf_work_part(&part, work, 0.2, 1), bytes, length, summary, mesh, err);
    kf_memory_release(bytes);
    return status;
}
