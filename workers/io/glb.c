// Based on: glTF 2.0 (Khronos), KHR_mesh_quantization, EXT_meshopt_compression.
#include "workers/io/glb.h"
#include "server/base/json.h"
#include "workers/io/aside.h"
#include "workers/io/file.h"
#include "workers/io/memory.h"
#include "workers/kernels/math.h"
#include "workers/mesh3p/meshopt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORST_MM      0.01
#define NORMAL_BITS   12
#define NORMAL_STRIDE 8
#define ASIDE_FROM    500000 // vertices or indices whose coding is worth a thread of its own

// The mesh in the order and form in which it is written.
struct encoded {
    int64_t vertices, triangles;
    int quantised;
    int64_t position_stride; // 8: uint16 ×3 and a pad; 12: float ×3
    double step, origin[3];  // position = origin + step · code; 1 and zeros for floats
    double least[3], most[3]; // of the written numbers
    double worst_mm;
    void *positions, *normals, *indices; // packed; owned
    int64_t positions_length, normals_length, indices_length;
};

static void encoded_release(const struct kf_work *work, struct encoded *e)
{
    kf_work_give(work, e->positions);
    kf_work_give(work, e->normals);
    kf_work_give(work, e->indices);
}

static void choose_step(const struct kf_mesh *mesh, struct encoded *e)
{
    double low[3], high[3], extent = 0;
    for (int r = 0; r < 3; r++)
        low[r] = high[r] = (double)mesh->xyz[r];
    for (int64_t v = 0; v < mesh->vertices; v++)
        for (int r = 0; r < 3; r++) {
            double x = (double)mesh->xyz[3 * v + r];
            low[r] = x < low[r] ? x : low[r];
            high[r] = x > high[r] ? x : high[r];
        }
    for (int r = 0; r < 3; r++)
        extent = high[r] - low[r] > extent ? high[r] - low[r] : extent;
    double step = extent > 0 ? extent / 65535 : 1;
    e->quantised = 0.5 * step * sqrt(3) <= WORST_MM; // half a step on each axis
    e->step = e->quantised ? step : 1;
    for (int r = 0; r < 3; r++)
        e->origin[r] = e->quantised ? low[r] : 0;
    e->position_stride = e->quantised ? 8 : 12;
}

static void quantise_vertex(struct encoded *e, const float *p, uint16_t code[4])
{
    double square = 0;
    for (int r = 0; r < 3; r++) {
        double at = ((double)p[r] - e->origin[r]) / e->step;
        double whole = floor(at + 0.5);
        whole = whole < 0 ? 0 : whole > 65535 ? 65535 : whole;
        code[r] = (uint16_t)whole;
        double error = (whole - at) * e->step;
        square += error * error;
    }
    code[3] = 0;
    if (sqrt(square) > e->worst_mm)
        e->worst_mm = sqrt(square);
}

// ---- the codecs ----

struct codec {
    void *to;
    int64_t bound, length; // of `to`; what was written
    const void *from;
    int64_t count, stride, bits; // stride 0: indices; bits 0: as they are, else of a normal
    void *codes;
};

static void run_codec(struct kf_aside *aside, void *user)
{
    struct codec *c = user;
    (void)aside;
    if (!c->stride) {
        c->length = kf_mesh3p_pack_triangles(c->to, c->bound, c->from, c->count);
        return;
    }
    if (c->bits)
        kf_mesh3p_pack_normals(c->codes, c->count, c->stride, (int)c->bits, c->from);
    c->length = kf_mesh3p_pack_vertices(c->to, c->bound, c->bits ? c->codes : c->from, c->count, c->stride);
}

// Some 50 ns per element.
static enum kf_kernel_status encode_part(const struct kf_work *work, struct codec *c)
{
    if (kf_aside(work, c->count >= ASIDE_FROM, run_codec, c, NULL))
        return KF_KERNEL_CANCELLED;
    return c->length ? KF_KERNEL_OK : KF_KERNEL_INVALID;
}

// Positions in written order, packed. order[old] = new.
static enum kf_kernel_status pack_positions(const struct kf_work *work, const struct kf_mesh *mesh,
                                            const uint32_t *order, struct encoded *e)
{
    unsigned char *plain = kf_work_take(work, e->vertices * e->position_stride);
    int64_t bound = kf_mesh3p_pack_vertices_bound(e->vertices, e->position_stride);
    e->positions = kf_work_take(work, bound);
    if (!plain || !e->positions) {
        kf_work_give(work, plain);
        return KF_KERNEL_NOMEM;
    }
    int first = 1;
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int64_t v = 0; v < mesh->vertices && !(status = kf_work_ask(work, v)); v++) {
        if (order[v] == UINT32_MAX)
            continue;
        const float *p = mesh->xyz + 3 * v;
        unsigned char *to = plain + (int64_t)order[v] * e->position_stride;
        uint16_t code[4];
        if (e->quantised) {
            quantise_vertex(e, p, code);
            memcpy(to, code, sizeof code);
        } else {
            memcpy(to, p, 3 * sizeof *p);
        }
        for (int r = 0; r < 3; r++) {
            double x = e->quantised ? (double)code[r] : (double)p[r];
            e->least[r] = first || x < e->least[r] ? x : e->least[r];
            e->most[r] = first || x > e->most[r] ? x : e->most[r];
        }
        first = 0;
    }
    struct codec codec = {.to = e->positions, .bound = bound, .from = plain, .count = e->vertices,
                          .stride = e->position_stride};
    if (!status)
        status = encode_part(work, &codec);
    e->positions_length = codec.length;
    kf_work_give(work, plain);
    return status;
}

static enum kf_kernel_status pack_normals(const struct kf_work *work, const float *normals, int64_t given,
                                          const uint32_t *order, struct encoded *e)
{
    float *plain = kf_work_take(work, e->vertices * 4 * (int64_t)sizeof *plain);
    void *codes = kf_work_take(work, e->vertices * NORMAL_STRIDE);
    int64_t bound = kf_mesh3p_pack_vertices_bound(e->vertices, NORMAL_STRIDE);
    e->normals = kf_work_take(work, bound);
    enum kf_kernel_status status = plain && codes && e->normals ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    for (int64_t v = 0; v < given && !status && !(status = kf_work_ask(work, v)); v++)
        if (order[v] != UINT32_MAX) {
            float *to = plain + 4 * (int64_t)order[v];
            memcpy(to, normals + 3 * v, 3 * sizeof *to);
            to[3] = 0;
        }
    struct codec codec = {.to = e->normals, .bound = bound, .from = plain, .count = e->vertices,
                          .stride = NORMAL_STRIDE, .bits = NORMAL_BITS, .codes = codes};
    if (!status)
        status = encode_part(work, &codec);
    e->normals_length = codec.length;
    kf_work_give(work, plain);
    kf_work_give(work, codes);
    return status;
}

static enum kf_kernel_status encode(const struct kf_work *work, const struct kf_mesh *mesh, const float *normals,
                                    struct encoded *e)
{
    int64_t indices = 3 * mesh->triangles;
    struct kf_work_part part;
    uint32_t *index = kf_work_take(work, indices * (int64_t)sizeof *index);
    uint32_t *order = kf_work_take(work, mesh->vertices * (int64_t)sizeof *order);
    enum kf_kernel_status status = index && order ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        memcpy(index, mesh->index, (size_t)indices * sizeof *index);
        e->triangles = mesh->triangles;
        status = kf_mesh3p_order(kf_work_part(&part, work, 0, 0.6), index, indices, mesh->vertices, order,
                                 &e->vertices);
    }
    for (int64_t c = 0; c < indices && !status && !(status = kf_work_ask(work, c)); c++)
        index[c] = order[index[c]];
    if (!status) {
        choose_step(mesh, e);
        status = pack_positions(kf_work_part(&part, work, 0.6, 0.7), mesh, order, e);
    }
    if (!status && normals)
        status = pack_normals(kf_work_part(&part, work, 0.7, 0.8), normals, mesh->vertices, order, e);
    if (!status) {
        struct codec codec = {.bound = kf_mesh3p_pack_triangles_bound(indices, e->vertices), .from = index,
                              .count = indices};
        codec.to = e->indices = kf_work_take(work, codec.bound);
        status = codec.to ? encode_part(kf_work_part(&part, work, 0.8, 0.9), &codec) : KF_KERNEL_NOMEM;
        e->indices_length = codec.length;
    }
    kf_work_give(work, index);
    kf_work_give(work, order);
    return status;
}

// ---- the JSON chunk ----

static int64_t padded(int64_t length)
{
    return (length + 3) / 4 * 4;
}

// A view that decodes to [at, at + count·stride) of the fallback buffer.
static json_t *view_json(int64_t at, int64_t count, int64_t stride, int64_t packed_at, int64_t packed_length,
                         const char *mode, const char *filter)
{
    int vertices = strcmp(mode, "ATTRIBUTES") == 0;
    json_t *extension = json_pack("{s:i, s:I, s:I, s:I, s:s, s:I}", "buffer", 0, "byteOffset", (json_int_t)packed_at,
                                  "byteLength", (json_int_t)packed_length, "byteStride", (json_int_t)stride, "mode",
                                  mode, "count", (json_int_t)count);
    if (extension && filter)
        json_object_set_new(extension, "filter", json_string(filter));
    json_t *view = json_pack("{s:i, s:I, s:I, s:i, s:{s:o}}", "buffer", 1, "byteOffset", (json_int_t)at, "byteLength",
                             (json_int_t)(count * stride), "target", vertices ? 34962 : 34963, "extensions",
                             "EXT_meshopt_compression", extension);
    if (view && vertices)
        json_object_set_new(view, "byteStride", json_integer((json_int_t)stride));
    return view;
}

static json_t *three(const double v[3])
{
    return json_pack("[f,f,f]", v[0], v[1], v[2]);
}

static double linear(double srgb)
{
    srgb = srgb < 0 ? 0 : srgb > 1 ? 1 : srgb;
    double value = srgb <= 0.04045 ? srgb / 12.92 : kf_pow((srgb + 0.055) / 1.055, 2.4);
    return floor(value * 1e6 + 0.5) / 1e6;
}

static json_t *material_json(const struct kf_glb_look *look)
{
    return json_pack("{s:{s:[f,f,f,f], s:f, s:f}, s:b, s:s}", "pbrMetallicRoughness", "baseColorFactor",
                     linear(look->colour[0]), linear(look->colour[1]), linear(look->colour[2]), look->colour[3],
                     "metallicFactor", 0.0, "roughnessFactor", 0.65, "doubleSided", 1, "alphaMode",
                     look->colour[3] < 1 ? "BLEND" : "OPAQUE");
}

static json_t *accessors_json(const struct encoded *e)
{
    json_t *list = json_array();
    json_array_append_new(list, json_pack("{s:i, s:i, s:I, s:s, s:o, s:o}", "bufferView", 0, "componentType",
                                          e->quantised ? 5123 : 5126, "count", (json_int_t)e->vertices, "type", "VEC3",
                                          "min", three(e->least), "max", three(e->most)));
    if (e->normals)
        json_array_append_new(list, json_pack("{s:i, s:i, s:I, s:s, s:b}", "bufferView", 1, "componentType", 5122,
                                              "count", (json_int_t)e->vertices, "type", "VEC3", "normalized", 1));
    json_array_append_new(list, json_pack("{s:i, s:i, s:I, s:s}", "bufferView", e->normals ? 2 : 1, "componentType",
                                          5125, "count", (json_int_t)(3 * e->triangles), "type", "SCALAR"));
    return list;
}

static json_t *nodes_json(const struct encoded *e, const char *name)
{
    json_t *child = json_pack("{s:i, s:s}", "mesh", 0, "name", name);
    if (e->quantised && child) {
        json_object_set_new(child, "translation", three(e->origin));
        json_object_set_new(child, "scale", json_pack("[f,f,f]", e->step, e->step, e->step));
    }
    // Columns: LPS x, y, z in glTF's metres, +Y up.
    json_t *matrix = json_pack("[f,f,f,f,f,f,f,f,f,f,f,f,f,f,f,f]", 0.001, 0.0, 0.0, 0.0, 0.0, 0.0, -0.001, 0.0, 0.0,
                               0.001, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0);
    return json_pack("[{s:s, s:o, s:[i]}, o]", "name", "LPS mm to glTF", "matrix", matrix, "children", 1, child);
}

static json_t *document_json(const struct encoded *e, const struct kf_glb_look *look)
{
    int64_t position_bytes = e->vertices * e->position_stride;
    int64_t normal_bytes = e->normals ? e->vertices * NORMAL_STRIDE : 0;
    int64_t normals_at = padded(e->positions_length), indices_at = normals_at + padded(e->normals_length);
    json_t *views = json_array();
    json_array_append_new(views, view_json(0, e->vertices, e->position_stride, 0, e->positions_length, "ATTRIBUTES",
                                           NULL));
    if (e->normals)
        json_array_append_new(views, view_json(position_bytes, e->vertices, NORMAL_STRIDE, normals_at,
                                               e->normals_length, "ATTRIBUTES", "OCTAHEDRAL"));
    json_array_append_new(views, view_json(position_bytes + normal_bytes, 3 * e->triangles, 4, indices_at,
                                           e->indices_length, "TRIANGLES", NULL));
    json_t *attributes = json_pack("{s:i}", "POSITION", 0);
    if (e->normals && attributes)
        json_object_set_new(attributes, "NORMAL", json_integer(1));
    json_t *extensions = json_pack("[s]", "EXT_meshopt_compression");
    if (e->quantised && extensions)
        json_array_append_new(extensions, json_string("KHR_mesh_quantization"));
    const char *name = look->name ? look->name : "mesh";
    json_t *mesh = json_pack("{s:s, s:[{s:o, s:i, s:i, s:i}]}", "name", name, "primitives", "attributes", attributes,
                             "indices", e->normals ? 2 : 1, "material", 0, "mode", 4);
    json_t *buffers = json_pack("[{s:I}, {s:I, s:{s:{s:b}}}]", "byteLength",
                                (json_int_t)(indices_at + padded(e->indices_length)), "byteLength",
                                (json_int_t)(position_bytes + normal_bytes + 12 * e->triangles), "extensions",
                                "EXT_meshopt_compression", "fallback", 1);
    return json_pack("{s:{s:s, s:s}, s:i, s:[{s:[i]}], s:o, s:[o], s:[o], s:o, s:o, s:o, s:O, s:o}", "asset", "version",
                     "2.0", "generator", "Kerf", "scene", 0, "scenes", "nodes", 0, "nodes", nodes_json(e, name),
                     "meshes", mesh, "materials", material_json(look), "accessors", accessors_json(e), "bufferViews",
                     views, "buffers", buffers, "extensionsUsed", extensions, "extensionsRequired", extensions);
}

// ---- the file ----

static void put32(unsigned char *to, int64_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)((uint64_t)value >> (8 * i));
}

static enum kf_status write_padded(const struct kf_work *work, int fd, const void *bytes, int64_t length, char pad,
                                   struct kf_error *err)
{
    char tail[3] = {pad, pad, pad};
    enum kf_status status = length ? kf_file_write(work, fd, bytes, length, err) : KF_OK;
    return status ? status : kf_file_write(NULL, fd, tail, padded(length) - length, err);
}

static enum kf_status write_file(const struct kf_work *work, const char *path, const struct encoded *e,
                                 const char *text, struct kf_error *err)
{
    int64_t json = padded((int64_t)strlen(text));
    int64_t binary = padded(e->positions_length) + padded(e->normals_length) + padded(e->indices_length);
    if (12 + 8 + json + 8 + binary > UINT32_MAX)
        return kf_error_set(err, KF_TOO_LARGE, NULL, "the mesh does not fit into a GLB file");
    unsigned char head[20], middle[8];
    memcpy(head, "glTF", 4);
    put32(head + 4, 2);
    put32(head + 8, 12 + 8 + json + 8 + binary);
    put32(head + 12, json);
    memcpy(head + 16, "JSON", 4);
    put32(middle, binary);
    memcpy(middle + 4, "BIN\0", 4);
    int fd;
    struct kf_work_part part;
    enum kf_status status = kf_file_create(path, &fd, err);
    if (status)
        return status;
    status = kf_file_write(NULL, fd, head, sizeof head, err);
    if (!status)
        status = write_padded(NULL, fd, text, (int64_t)strlen(text), ' ', err);
    if (!status)
        status = kf_file_write(NULL, fd, middle, sizeof middle, err);
    if (!status)
        status = write_padded(kf_work_part(&part, work, 0.9, 0.94), fd, e->positions, e->positions_length, 0, err);
    if (!status)
        status = write_padded(kf_work_part(&part, work, 0.94, 0.97), fd, e->normals, e->normals_length, 0, err);
    if (!status)
        status = write_padded(kf_work_part(&part, work, 0.97, 1), fd, e->indices, e->indices_length, 0, err);
    return kf_file_close(fd, status, err);
}

enum kf_status kf_glb_write(const struct kf_work *work, const char *path, const struct kf_mesh *mesh,
                            const struct kf_glb_look *look, double *worst_mm, struct kf_error *err)
{
    if (worst_mm)
        *worst_mm = 0;
    if (mesh->triangles < 1)
        return kf_error_set(err, KF_INVALID, "glb_empty", "the mesh has no triangles");
    struct encoded e = {0};
    enum kf_status status = kf_work_status(encode(work, mesh, look->normals, &e), err, "encoding a mesh");
    if (!status) {
        json_t *document = document_json(&e, look);
        char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
        status = text ? write_file(work, path, &e, text, err)
                      : kf_error_set(err, KF_NOMEM, NULL, "no memory for a mesh");
        free(text);
        json_decref(document);
        if (worst_mm)
            *worst_mm = e.worst_mm;
    }
    encoded_release(work, &e);
    return status;
}
