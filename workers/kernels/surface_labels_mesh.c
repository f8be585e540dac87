// The surface of one label out of the net of all: which corners of a cell have the label is found by comparing bytes;
// vertices and triangles are then counted and written block by block. Hardly a cell is odd: all but those have one
// vertex, whatever their corners.
#include "workers/kernels/bits.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/surface_cells.h"
#include "workers/kernels/surface_labels_pass.h"

#include <string.h>

// ---- what passes through a cell ----

static void join(uint8_t group[12], int a, int b)
{
    uint8_t from = group[a] > group[b] ? group[a] : group[b], to = group[a] > group[b] ? group[b] : group[a];
    for (int e = 0; e < 12; e++)
        if (group[e] == from)
            group[e] = to;
}

static void make_loops_of(struct kf_labels_loops *t, int rule, unsigned code)
{
    uint8_t group[12];
    unsigned crossed = 0;
    for (int e = 0; e < 12; e++)
        group[e] = (uint8_t)e;
    for (int f = 0; f < 6; f++) {
        int corner[4], edge[4];
        kf_face_corners(f, corner);
        unsigned sides = 0, in[4];
        for (int q = 0; q < 4; q++) {
            in[q] = code >> corner[q] & 1;
            edge[q] = kf_cell_edge(corner[q], corner[(q + 1) % 4]);
        }
        for (int q = 0; q < 4; q++)
            sides |= (in[q] ^ in[(q + 1) % 4]) << q;
        for (int q = 0; q < 4; q++) {
            crossed |= (sides >> q & 1) << edge[q];
            for (int o = 0; o < q; o++)
                if (sides != 15 && sides >> q & 1 && sides >> o & 1)
                    join(group, edge[q], edge[o]);
            if (sides == 15 && in[q] != (unsigned)rule)
                join(group, edge[q], edge[(q + 3) % 4]);
        }
    }
    uint8_t number[12], count = 0;
    for (int e = 0; e < 12; e++) {
        if (group[e] == e && crossed >> e & 1)
            number[e] = count++;
        t->of[rule][code][e] = crossed >> e & 1 ? number[group[e]] : 0;
    }
    t->count[rule][code] = count;
}

static void make_loops(struct kf_labels_loops *t)
{
    memset(t->odd, 0, sizeof t->odd);
    for (unsigned code = 0; code < 256; code++) {
        make_loops_of(t, 0, code);
        make_loops_of(t, 1, code);
        t->crowded[code] = 0;
        for (int f = 0; f < 6; f++) {
            int corner[4], same = 1;
            kf_face_corners(f, corner);
            const uint8_t *of = t->of[0][code];
            for (int q = 0; q < 4; q++) {
                int next = corner[(q + 1) % 4];
                same &= (code >> corner[q] & 1) != (code >> next & 1) &&
                        of[kf_cell_edge(corner[q], next)] == of[kf_cell_edge(corner[0], corner[1])];
            }
            if (same)
                t->crowded[code] = (uint8_t)(1 + f);
        }
        if (t->crowded[code] || (code && t->count[0][code] != 1))
            t->odd[code / 8] |= (uint8_t)(1 << code % 8);
    }
}

// ---- passes ----

static void number_edges(struct kf_labels_extraction *x)
{
    static const int ring[4][2] = {{0, 0}, {1, 0}, {1, 1}, {0, 1}};
    for (int axis = 0; axis < 3; axis++)
        for (int q = 0; q < 4; q++) {
            int u = (axis + 1) % 3, v = (axis + 2) % 3;
            int from = (1 - ring[q][0]) << u | (1 - ring[q][1]) << v;
            x->edge[axis][q] = (uint8_t)kf_cell_edge(from, from | 1 << axis);
        }
}

// How many vertices the label has in a block of cells by rule 0; adds those cells that are crowded.
static int64_t count_vertices(const struct kf_labels_extraction *x, int64_t block, int64_t *crowded)
{
    int64_t count = 0;
    for (int64_t w = block * KF_LABELS_BLOCK / 64; w < (kf_label_block_end(block, x->s->vertices) + 63) / 64; w++) {
        count += kf_ones(x->here[w]);
        for (uint64_t left = x->odd[w]; left; left &= left - 1) {
            const unsigned code = kf_label_code(x, 64 * w + __builtin_ctzll(left));
            count += x->loops.count[0][code] - 1;
            *crowded += x->loops.crowded[code] > 0;
        }
    }
    return count;
}

// How many more there are by rule 1.
static int64_t count_joined(const struct kf_labels_extraction *x, int64_t block)
{
    int64_t more = 0;
    for (int64_t w = block * KF_LABELS_BLOCK / 64; w < (kf_label_block_end(block, x->s->vertices) + 63) / 64; w++)
        for (uint64_t left = x->joined[w]; left; left &= left - 1) {
            const unsigned code = kf_label_code(x, 64 * w + __builtin_ctzll(left));
            more += x->loops.count[1][code] - x->loops.count[0][code];
        }
    return more;
}

static int64_t find_quads(const struct kf_labels_extraction *x, const struct kf_kernel_table *table, int64_t block)
{
    int64_t first = block * KF_LABELS_BLOCK, count = kf_label_block_end(block, x->s->quads) - first, found = 0;
    uint64_t *quad = x->quad + first / 32;
    table->bits_u8(x->s->pair + 2 * first, 2 * count, x->label, quad);
    for (int64_t w = 0; w < (count + 31) / 32; w++)
        found += kf_ones(quad[w]);
    return found;
}

// Marks pairs of cells that are crowded on the face between them.
static void join_quad(const struct kf_labels_extraction *x, int64_t q)
{
    const struct kf_surface_labels *s = x->s;
    const uint32_t *ring = s->ring + 4 * q;
    int u = ((s->kind[q] & 3) + 1) % 3, w = ((s->kind[q] & 3) + 2) % 3;
    const int side[4][3] = {{0, 1, u}, {3, 2, u}, {0, 3, w}, {1, 2, w}};
    for (int n = 0; n < 4; n++) {
        const uint32_t low = ring[side[n][0]], high = ring[side[n][1]];
        if (x->loops.crowded[kf_label_code(x, low)] != 2 + 2 * side[n][2] ||
            x->loops.crowded[kf_label_code(x, high)] != 1 + 2 * side[n][2])
            continue;
        __atomic_fetch_or(&x->joined[low / 64], (uint64_t)1 << (low % 64), __ATOMIC_RELAXED);
        __atomic_fetch_or(&x->joined[high / 64], (uint64_t)1 << (high % 64), __ATOMIC_RELAXED);
    }
}

// The first quad from `from` on, and before `end`, whose last cell is not before v. Quads are in the order of their
// last cells; steps double until one is too long, so that near ones are found soon.
static int64_t quad_of_cell(const struct kf_surface_labels *s, int64_t from, int64_t end, int64_t v)
{
    int64_t step = 1;
    while (from + step <= end && s->ring[4 * (from + step - 1) + 2] < v) {
        from += step;
        step *= 2;
    }
    for (; step; step /= 2)
        if (from + step <= end && s->ring[4 * (from + step - 1) + 2] < v)
            from += step;
    return from;
}

// A face that a cell has in common with one before it lies beside two quads whose last cell this is.
static void join_block(const struct kf_labels_extraction *x, int64_t block)
{
    const struct kf_surface_labels *s = x->s;
    const int64_t end = kf_label_block_end(block, s->quads);
    int64_t q = block * KF_LABELS_BLOCK;
    const int64_t first = s->ring[4 * q + 2], last = s->ring[4 * (end - 1) + 2];
    for (int64_t w = first / 64; w <= last / 64; w++)
        for (uint64_t left = x->odd[w]; left; left &= left - 1) {
            const int64_t v = 64 * w + __builtin_ctzll(left);
            if (v < first || v > last || !(x->loops.crowded[kf_label_code(x, v)] & 1))
                continue;
            for (q = quad_of_cell(s, q, end, v); q < end && s->ring[4 * q + 2] == v; q++)
                if (x->quad[q / 32] >> (2 * (q % 32)) & 3)
                    join_quad(x, q);
        }
}

static int64_t sum_before(int64_t *count, int64_t blocks)
{
    int64_t total = 0;
    for (int64_t b = 0; b < blocks; b++) {
        int64_t here = count[b];
        count[b] = total;
        total += here;
    }
    return total;
}

// Finds the vertices and quads of the label, and the cells that go by rule 1.
static void survey(const struct kf_work *work, const struct kf_kernel_table *table, struct kf_labels_extraction *x,
                   int64_t *vertices, int64_t *quads)
{
    const struct kf_labels_extraction *fixed = x;
    const int64_t n = x->s->vertices;
    int64_t crowded = 0;
    memset(x->joined, 0, (size_t)((n + 63) / 64) * sizeof *x->joined);
#pragma omp parallel for num_threads(work->threads) schedule(static) reduction(+ : crowded)
    for (int64_t b = 0; b < x->vertex_blocks; b++) {
        table->labels_find(fixed, b);
        fixed->before[b] = count_vertices(fixed, b, &crowded);
    }
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t b = 0; b < x->quad_blocks; b++)
        fixed->before[fixed->vertex_blocks + b] = find_quads(fixed, table, b);
    if (crowded > 1) {
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t b = 0; b < x->quad_blocks; b++)
            join_block(fixed, b);
        for (int64_t b = 0; b < x->vertex_blocks; b++)
            x->before[b] += count_joined(x, b);
    }
    *vertices = sum_before(x->before, x->vertex_blocks);
    *quads = sum_before(x->before + x->vertex_blocks, x->quad_blocks);
}

static enum kf_kernel_status extract(const struct kf_work *work, struct kf_labels_extraction *x, struct kf_mesh *mesh)
{
    const struct kf_kernel_table *table = kf_kernels();
    int64_t vertices, quads;
    make_loops(&x->loops);
    number_edges(x);
    survey(work, table, x, &vertices, &quads);
    if (vertices >= KF_LABELS_MANY || 2 * quads >= UINT32_MAX)
        return KF_KERNEL_TOO_LARGE;
    mesh->vertices = vertices;
    mesh->triangles = 2 * quads;
    float *xyz = mesh->xyz = kf_work_take(work, vertices * 3 * (int64_t)sizeof *xyz);
    uint32_t *index = mesh->index = kf_work_take(work, quads * 6 * (int64_t)sizeof *index);
    if (!xyz || !index)
        return KF_KERNEL_NOMEM;
    const struct kf_labels_extraction *fixed = x;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t b = 0; b < x->vertex_blocks; b++)
        table->labels_vertices(fixed, b, xyz);
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 4)
    for (int64_t b = 0; b < x->quad_blocks; b++)
        table->labels_quads(fixed, b, index);
    return kf_work_step(work, 1) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

// Takes the next `bytes` of a block, whole words of them.
static void *part_of(char *block, int64_t *used, int64_t bytes)
{
    void *part = block ? block + *used : NULL;
    *used += (bytes + 7) / 8 * 8;
    return part;
}

// Lays out what an extraction needs in `block`; returns how much that is. With NULL it only says so.
static int64_t lay_out(struct kf_labels_extraction *x, char *block)
{
    const int64_t v = x->s->vertices, q = x->s->quads;
    int64_t used = 0;
    x->here = part_of(block, &used, (v + 63) / 64 * (int64_t)sizeof *x->here);
    x->odd = part_of(block, &used, (v + 63) / 64 * (int64_t)sizeof *x->odd);
    x->joined = part_of(block, &used, (v + 63) / 64 * (int64_t)sizeof *x->joined);
    x->number = part_of(block, &used, v * (int64_t)sizeof *x->number);
    x->quad = part_of(block, &used, (q + 31) / 32 * (int64_t)sizeof *x->quad);
    x->before = part_of(block, &used, (x->vertex_blocks + x->quad_blocks) * (int64_t)sizeof *x->before);
    return used;
}

enum kf_kernel_status kf_surface_labels_mesh(const struct kf_work *work, const struct kf_surface_labels *surface,
                                             int label, struct kf_mesh *mesh)
{
    *mesh = (struct kf_mesh){0};
    if (label < 0 || label > 255)
        return KF_KERNEL_INVALID;
    struct kf_labels_extraction x;
    x.s = surface;
    x.label = (uint8_t)label;
    x.vertex_blocks = (surface->vertices + KF_LABELS_BLOCK - 1) / KF_LABELS_BLOCK;
    x.quad_blocks = (surface->quads + KF_LABELS_BLOCK - 1) / KF_LABELS_BLOCK;
    char *block = kf_work_take(work, lay_out(&x, NULL));
    if (!block)
        return KF_KERNEL_NOMEM;
    lay_out(&x, block);
    enum kf_kernel_status status = extract(work, &x, mesh);
    kf_work_give(work, block);
    if (status)
        kf_mesh_release(work, mesh);
    return status;
}

enum kf_kernel_status kf_surface_labels_net(const struct kf_work *work, const struct kf_surface_labels *surface,
                                            struct kf_mesh *mesh, uint8_t **pair)
{
    *mesh = (struct kf_mesh){.vertices = surface->vertices, .triangles = 2 * surface->quads};
    mesh->xyz = kf_work_take(work, surface->vertices * 3 * (int64_t)sizeof *mesh->xyz);
    mesh->index = kf_work_take(work, surface->quads * 6 * (int64_t)sizeof *mesh->index);
    *pair = kf_work_take(work, surface->quads * 4);
    if (!mesh->xyz || !mesh->index || !*pair) {
        kf_mesh_release(work, mesh);
        kf_work_give(work, *pair);
        *pair = NULL;
        return KF_KERNEL_NOMEM;
    }
    memcpy(mesh->xyz, surface->xyz, (size_t)surface->vertices * 3 * sizeof *mesh->xyz);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t q = 0; q < surface->quads; q++) {
        const uint32_t *ring = surface->ring + 4 * q;
        kf_label_triangles(surface, ring, ring, surface->kind[q] >> 2 ^ surface->mirrored, mesh->index + 6 * q);
        for (int n = 0; n < 4; n++)
            (*pair)[4 * q + n] = surface->pair[2 * q + n % 2];
    }
    return KF_KERNEL_OK;
}
