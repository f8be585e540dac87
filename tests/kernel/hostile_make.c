// Meshes that nobody means well with, as binary PLY: hostile_make SHAPE TRIANGLES FILE. Each is cheap to make and has
// very many of something that a sound surface has few of.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct out {
    FILE *file;
    int64_t vertices, triangles;
};

static void vertex(const struct out *o, double x, double y, double z)
{
    const float p[3] = {(float)x, (float)y, (float)z};
    fwrite(p, sizeof p, 1, o->file);
}

static void triangle(const struct out *o, int64_t a, int64_t b, int64_t c)
{
    const uint32_t corner[3] = {(uint32_t)a, (uint32_t)b, (uint32_t)c};
    fputc(3, o->file);
    fwrite(corner, sizeof corner, 1, o->file);
}

static void head(const struct out *o)
{
    fprintf(o->file,
            "ply\nformat binary_little_endian 1.0\nelement vertex %lld\nproperty float x\nproperty float y\n"
            "property float z\nelement face %lld\nproperty list uchar uint vertex_indices\nend_header\n",
            (long long)o->vertices, (long long)o->triangles);
}

static void circle(const struct out *o, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        vertex(o, 1000 * cos(2 * M_PI * (double)i / (double)n), 1000 * sin(2 * M_PI * (double)i / (double)n), 0);
}

// All around one vertex, with a rim as long.
static void fan(struct out *o, int64_t n)
{
    o->vertices = n + 1;
    head(o);
    vertex(o, 0, 0, 500);
    circle(o, n);
    for (int64_t i = 0; i < n; i++)
        triangle(o, 0, 1 + i, 1 + (i + 1) % n);
}

// Two of these: closed, and sound.
static void spindle(struct out *o, int64_t n)
{
    n /= 2;
    o->triangles = 2 * n;
    o->vertices = n + 2;
    head(o);
    vertex(o, 0, 0, 500);
    vertex(o, 0, 0, -500);
    circle(o, n);
    for (int64_t i = 0; i < n; i++) {
        triangle(o, 0, 2 + i, 2 + (i + 1) % n);
        triangle(o, 1, 2 + (i + 1) % n, 2 + i);
    }
}

// One triangle again and again.
static void same(struct out *o, int64_t n)
{
    o->vertices = 3;
    head(o);
    vertex(o, 0, 0, 0);
    vertex(o, 10, 0, 1);
    vertex(o, 0, 10, 2);
    for (int64_t i = 0; i < n; i++)
        triangle(o, i % 3, (i + 1) % 3, (i + 2) % 3);
}

// All at one edge.
static void book(struct out *o, int64_t n)
{
    o->vertices = n + 2;
    head(o);
    vertex(o, 0, 0, -500);
    vertex(o, 0, 0, 500);
    circle(o, n);
    for (int64_t i = 0; i < n; i++)
        triangle(o, i % 2, 1 - i % 2, 2 + i);
}

// On one line, without area.
static void thread(struct out *o, int64_t n)
{
    o->vertices = n + 2;
    head(o);
    for (int64_t i = 0; i < n + 2; i++)
        vertex(o, (double)(i * 7919 % (n + 2)), 0, 0);
    for (int64_t i = 0; i < n; i++)
        triangle(o, i, i + 1, i + 2);
}

// Closed pieces, `apart` from each other along the axis by which it is found out which lies in which, and up to `aside`
// beside it.
static void pieces(struct out *o, int64_t n, int apart, int aside)
{
    n /= 4;
    o->triangles = 4 * n;
    o->vertices = 4 * n;
    head(o);
    for (int64_t i = 0; i < n; i++) {
        double x = (double)apart * (double)i, y = (double)(i * 7919 % aside), z = (double)(i * 104729 / 7 % aside);
        vertex(o, x, y - 2, z - 2);
        vertex(o, x, y + 2, z - 2);
        vertex(o, x, y, z + 2);
        vertex(o, x + 3, y, z);
    }
    for (int64_t v = 0; v < 4 * n; v += 4) {
        triangle(o, v, v + 2, v + 1);
        triangle(o, v, v + 1, v + 3);
        triangle(o, v + 1, v + 2, v + 3);
        triangle(o, v + 2, v, v + 3);
    }
}

// Behind each other.
static void queue(struct out *o, int64_t n)
{
    pieces(o, n, 4, 1);
}

// Mostly missed by a line through them, which nodes of a tree of boxes are not.
static void swarm(struct out *o, int64_t n)
{
    pieces(o, n, 64, 241);
}

// All through each other.
static void heap(struct out *o, int64_t n)
{
    o->vertices = 3 * n;
    head(o);
    for (int64_t i = 0; i < n; i++) {
        double a = 2 * M_PI * (double)i / (double)n;
        for (int k = 0; k < 3; k++)
            vertex(o, 50 * cos(a + k * 2 * M_PI / 3), 50 * sin(a + k * 2 * M_PI / 3),
                   k == 0 ? 20 * sin(7 * a) : -cos(a));
    }
    for (int64_t i = 0; i < n; i++)
        triangle(o, 3 * i, 3 * i + 1, 3 * i + 2);
}

static void one(struct out *o, double x)
{
    o->vertices = 3;
    o->triangles = 1;
    head(o);
    vertex(o, 0, 0, 0);
    vertex(o, x, 0, 0);
    vertex(o, 0, 10, 0);
    triangle(o, 0, 1, 2);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*make)(struct out *o, int64_t n);
    } shapes[] = {{"fan", fan},       {"spindle", spindle}, {"same", same},   {"book", book},
                  {"thread", thread}, {"queue", queue},     {"swarm", swarm}, {"heap", heap}};
    if (argc != 4)
        return 2;
    struct out o = {.file = fopen(argv[3], "wb"), .triangles = atoll(argv[2])};
    if (!o.file)
        return 1;
    int known = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(argv[1], shapes[i].name) == 0) {
            shapes[i].make(&o, o.triangles);
            known = 1;
        }
    if (strcmp(argv[1], "far") == 0)
        one(&o, 1e30);
    else if (strcmp(argv[1], "nowhere") == 0)
        one(&o, NAN);
    else if (!known)
        return 2;
    return fclose(o.file) ? 1 : 0;
}
