#include "workers/io/meshfile.h"
#include "workers/io/aside.h"
#include "workers/io/file.h"
#include "workers/io/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_BYTES ((int64_t)1 << 20)
#define ASK_EVERY   65536 // triangles or vertices between two questions: a millisecond

// Collects small records and writes them in big pieces, before each of which it asks.
struct sink {
    const struct kf_work *work;
    int fd;
    int64_t whole, written; // bytes
    unsigned char *bytes;
    int64_t used;
    enum kf_status status;
    struct kf_error *err;
};

static void sink_flush(struct sink *s)
{
    if (!s->status)
        s->status = kf_io_step(s->work, (double)s->written / (double)s->whole, s->err);
    if (!s->status && s->used)
        s->status = kf_file_write(NULL, s->fd, s->bytes, s->used, s->err);
    s->written += s->used;
    s->used = 0;
}

static void sink_add(struct sink *s, const void *bytes, int64_t length)
{
    if (s->used + length > WRITE_BYTES)
        sink_flush(s);
    memcpy(s->bytes + s->used, bytes, (size_t)length);
    s->used += length;
}

// `whole`: bytes that the file will have.
static enum kf_status sink_open(struct sink *s, const struct kf_work *work, const char *path, int64_t whole,
                                struct kf_error *err)
{
    *s = (struct sink){.work = work, .fd = -1, .whole = whole, .err = err, .bytes = kf_memory_take(WRITE_BYTES)};
    if (!s->bytes)
        return s->status = kf_error_set(err, KF_NOMEM, NULL, "no memory to write a mesh");
    return s->status = kf_file_create(path, &s->fd, err);
}

static enum kf_status sink_close(struct sink *s)
{
    sink_flush(s);
    kf_memory_release(s->bytes);
    return kf_file_close(s->fd, s->status, s->err);
}

enum kf_status kf_ply_write(const struct kf_work *work, const char *path, const struct kf_mesh *mesh,
                            const float *normals, struct kf_error *err)
{
    struct sink s;
    if (!sink_open(&s, work, path, 512 + mesh->vertices * (normals ? 24 : 12) + mesh->triangles * 13, err)) {
        char head[512];
        int length = snprintf(head, sizeof head,
                              "ply\nformat binary_little_endian 1.0\ncomment frame LPS mm\ncomment made by Kerf\n"
                              "element vertex %lld\nproperty float x\nproperty float y\nproperty float z\n%s"
                              "element face %lld\nproperty list uchar uint vertex_indices\nend_header\n",
                              (long long)mesh->vertices,
                              normals ? "property float nx\nproperty float ny\nproperty float nz\n" : "",
                              (long long)mesh->triangles);
        sink_add(&s, head, length);
        for (int64_t v = 0; v < mesh->vertices && !s.status; v++) {
            sink_add(&s, mesh->xyz + 3 * v, 12);
            if (normals)
                sink_add(&s, normals + 3 * v, 12);
        }
        for (int64_t t = 0; t < mesh->triangles && !s.status; t++) {
            unsigned char face[13] = {3};
            memcpy(face + 1, mesh->index + 3 * t, 12);
            sink_add(&s, face, 13);
        }
    }
    return sink_close(&s);
}

static void facet_normal(const float p[9], float n[3])
{
    double u[3], w[3], c[3];
    for (int r = 0; r < 3; r++) {
        u[r] = (double)p[3 + r] - (double)p[r];
        w[r] = (double)p[6 + r] - (double)p[r];
    }
    c[0] = u[1] * w[2] - u[2] * w[1];
    c[1] = u[2] * w[0] - u[0] * w[2];
    c[2] = u[0] * w[1] - u[1] * w[0];
    double length = sqrt(c[0] * c[0] + c[1] * c[1] + c[2] * c[2]);
    for (int r = 0; r < 3; r++)
        n[r] = length > 0 ? (float)(c[r] / length) : 0;
}

enum kf_status kf_stl_write(const struct kf_work *work, const char *path, const struct kf_mesh *mesh,
                            struct kf_error *err)
{
    if (mesh->triangles > UINT32_MAX)
        return kf_error_set(err, KF_TOO_LARGE, NULL, "the mesh does not fit into an STL file");
    struct sink s;
    if (!sink_open(&s, work, path, 84 + 50 * mesh->triangles, err)) {
        // Never starts with "solid", which would make readers take it for text.
        char head[84] = "binary STL, frame LPS mm, made by Kerf";
        uint32_t count = (uint32_t)mesh->triangles;
        memcpy(head + 80, &count, 4);
        sink_add(&s, head, 84);
        for (int64_t t = 0; t < mesh->triangles && !s.status; t++) {
            unsigned char facet[50] = {0};
            float p[9], n[3];
            for (int c = 0; c < 3; c++)
                memcpy(p + 3 * c, mesh->xyz + 3 * (int64_t)mesh->index[3 * t + c], 12);
            facet_normal(p, n);
            memcpy(facet, n, 12);
            memcpy(facet + 12, p, 36);
            sink_add(&s, facet, 50);
        }
    }
    return sink_close(&s);
}

// ---- reading ----

static enum kf_status make_mesh(const struct kf_work *work, int64_t vertices, int64_t triangles, struct kf_mesh *mesh,
                                struct kf_error *err)
{
    mesh->xyz = kf_work_take(work, vertices * 12);
    mesh->index = kf_work_take(work, triangles * 12);
    if (!mesh->xyz || !mesh->index) {
        kf_mesh_release(work, mesh);
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a mesh");
    }
    mesh->vertices = vertices;
    mesh->triangles = triangles;
    return KF_OK;
}

static int all_finite(const float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return 0;
    return 1;
}

// Before element n of `count`, whose pass is from `from` to `to` of the whole.
static enum kf_status step(const struct kf_work *work, int64_t n, int64_t count, double from, double to,
                           struct kf_error *err)
{
    return n % ASK_EVERY ? KF_OK : kf_io_step(work, from + (to - from) * (double)n / (double)count, err);
}

static enum kf_status stl_body(const struct kf_work *work, const unsigned char *b, struct kf_mesh *mesh,
                               struct kf_error *err)
{
    for (int64_t t = 0; t < mesh->triangles; t++) {
        enum kf_status status = step(work, t, mesh->triangles, 0, 0.4, err);
        if (status)
            return status;
        memcpy(mesh->xyz + 9 * t, b + 84 + 50 * t + 12, 36);
        for (int64_t c = 3 * t; c < 3 * t + 3; c++)
            mesh->index[c] = (uint32_t)c;
        if (!all_finite(mesh->xyz + 9 * t, 9))
            return kf_error_set(err, KF_INVALID, "stl_format", "a corner is not finite");
    }
    struct kf_work_part part;
    return kf_work_status(kf_mesh_weld(kf_work_part(&part, work, 0.4, 1), mesh), err, "welding a mesh");
}

enum kf_status kf_stl_parse(const struct kf_work *work, const void *bytes, int64_t length, struct kf_mesh *mesh,
                            struct kf_error *err)
{
    *mesh = (struct kf_mesh){0};
    const unsigned char *b = bytes;
    uint32_t count = 0;
    if (length >= 84)
        memcpy(&count, b + 80, 4);
    if (length < 84 || length != 84 + 50 * (int64_t)count)
        return kf_error_set(err, KF_INVALID, "stl_format", "not a binary STL file, or one that was cut short");
    if (count > UINT32_MAX / 3 - 1)
        return kf_error_set(err, KF_TOO_LARGE, NULL, "the STL file has too many triangles");
    enum kf_status status = make_mesh(work, 3 * (int64_t)count, count, mesh, err);
    if (status)
        return status;
    status = stl_body(work, b, mesh, err);
    if (status)
        kf_mesh_release(work, mesh);
    return status;
}

static int type_bytes(const char *type)
{
    static const struct {
        const char *name;
        int bytes;
    } types[] = {{"char", 1}, {"uchar", 1}, {"int8", 1}, {"uint8", 1}, {"short", 2}, {"ushort", 2}, {"int16", 2},
                 {"uint16", 2}, {"int", 4}, {"uint", 4}, {"int32", 4}, {"uint32", 4}, {"float", 4}, {"float32", 4},
                 {"double", 8}, {"float64", 8}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i].name) == 0)
            return types[i].bytes;
    return 0;
}

// What the header of a PLY file says, as far as we read it.
struct ply {
    int64_t vertices, faces;
    int64_t vertex_bytes, properties;
    int coordinate_bytes; // 4 or 8
    int index_bytes;      // of a face's corners, after one byte of count
    int64_t data;         // where it starts
    int element;          // 0 none yet, 1 vertex, 2 face, 3 another
    int good;
};

static void ply_property(struct ply *p, const char *line)
{
    char type[16], second[16], third[16];
    if (p->element == 2) {
        p->index_bytes = sscanf(line, "property list %15s %15s %15s", type, second, third) == 3 &&
                                 type_bytes(type) == 1 && !p->index_bytes && strncmp(third, "vertex_ind", 10) == 0
                             ? type_bytes(second)
                             : -1;
    } else if (p->element == 1) {
        static const char *const names[] = {"x", "y", "z"};
        int bytes = sscanf(line, "property %15s %15s", type, second) == 2 ? type_bytes(type) : 0;
        if (p->properties < 3) {
            int real = bytes >= 4 && (type[0] == 'f' || type[0] == 'd');
            p->good &= real && strcmp(second, names[p->properties]) == 0 &&
                       (!p->coordinate_bytes || p->coordinate_bytes == bytes);
            p->coordinate_bytes = bytes;
        }
        p->good &= bytes > 0;
        p->vertex_bytes += bytes;
        p->properties++;
    }
}

static int ply_line(struct ply *p, const char *line)
{
    long long count;
    if (strncmp(line, "property ", 9) == 0) {
        ply_property(p, line);
    } else if (sscanf(line, "element vertex %lld", &count) == 1) {
        p->good &= p->element == 0;
        p->element = 1;
        p->vertices = count;
    } else if (sscanf(line, "element face %lld", &count) == 1) {
        p->good &= p->element == 1;
        p->element = 2;
        p->faces = count;
    } else if (strncmp(line, "element ", 8) == 0) {
        p->good &= p->element == 2; // what follows the faces is not read
        p->element = 3;
    } else if (strncmp(line, "format ", 7) == 0) {
        p->good &= strcmp(line, "format binary_little_endian 1.0") == 0;
    }
    return strcmp(line, "end_header") == 0;
}

static int ply_header(const char *b, int64_t length, struct ply *p)
{
    *p = (struct ply){.good = length > 4 && memcmp(b, "ply", 3) == 0};
    int64_t at = 0;
    int done = 0;
    for (int lines = 0; p->good && !done && lines < 1000; lines++) {
        char line[256];
        int64_t n = 0;
        while (at + n < length && n < 255 && b[at + n] != '\n')
            n++;
        if (at + n >= length || n >= 255)
            return 0;
        memcpy(line, b + at, (size_t)n);
        line[n > 0 && b[at + n - 1] == '\r' ? n - 1 : n] = 0;
        at += n + 1;
        done = ply_line(p, line);
    }
    p->data = at;
    return p->good && done && p->properties >= 3 && p->index_bytes == 4 && p->vertices >= 0 && p->faces >= 0 &&
           p->vertices < UINT32_MAX && p->faces < UINT32_MAX;
}

static enum kf_status ply_body(const struct kf_work *work, const struct ply *p, const unsigned char *b,
                               struct kf_mesh *mesh, struct kf_error *err)
{
    enum kf_status status;
    const unsigned char *at = b + p->data;
    for (int64_t v = 0; v < p->vertices; v++, at += p->vertex_bytes) {
        status = step(work, v, p->vertices, 0, 0.5, err);
        if (status)
            return status;
        for (int r = 0; r < 3; r++) {
            double wide;
            if (p->coordinate_bytes == 4) {
                memcpy(mesh->xyz + 3 * v + r, at + 4 * r, 4);
            } else {
                memcpy(&wide, at + 8 * r, 8);
                mesh->xyz[3 * v + r] = (float)wide;
            }
        }
        if (!all_finite(mesh->xyz + 3 * v, 3))
            return kf_error_set(err, KF_INVALID, "ply_format", "a vertex is not finite");
    }
    for (int64_t t = 0; t < p->faces; t++, at += 13) {
        status = step(work, t, p->faces, 0.5, 1, err);
        if (status)
            return status;
        memcpy(mesh->index + 3 * t, at + 1, 12);
        for (int c = 0; c < 3; c++)
            if (at[0] != 3 || mesh->index[3 * t + c] >= p->vertices)
                return kf_error_set(err, KF_INVALID, "ply_format", "a face is no triangle or names no vertex");
    }
    return KF_OK;
}

enum kf_status kf_ply_parse(const struct kf_work *work, const void *bytes, int64_t length, struct kf_mesh *mesh,
                            struct kf_error *err)
{
    *mesh = (struct kf_mesh){0};
    struct ply p;
    if (!ply_header(bytes, length, &p))
        return kf_error_set(err, KF_INVALID, "ply_format", "not a binary little-endian PLY file of triangles");
    if (p.vertex_bytes > 4096 || p.vertices > (length - p.data) / p.vertex_bytes ||
        p.faces > (length - p.data - p.vertices * p.vertex_bytes) / 13)
        return kf_error_set(err, KF_INVALID, "ply_format", "the file ends before its last face");
    enum kf_status status = make_mesh(work, p.vertices, p.faces, mesh, err);
    if (!status)
        status = ply_body(work, &p, bytes, mesh, err);
    if (status)
        kf_mesh_release(work, mesh);
    return status;
}
