#include "workers/kernels/surface_labels.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/surface_labels_pass.h"

#include <string.h>

#define NONE UINT32_MAX

void kf_surface_labels_release(const struct kf_work *work, struct kf_surface_labels *s)
{
    kf_work_give(work, s->xyz);
    kf_work_give(work, s->corner);
    kf_work_give(work, s->ring);
    kf_work_give(work, s->pair);
    kf_work_give(work, s->kind);
    *s = (struct kf_surface_labels){0};
}

// ---- the net ----

static void set_frame(const struct kf_grid *grid, double to_lps[12])
{
    for (int r = 0; r < 3; r++) {
        for (int c = 0; c < 3; c++)
            to_lps[4 * r + c] = grid->direction[3 * r + c] * grid->spacing_mm[c];
        to_lps[4 * r + 3] = grid->origin_lps[r];
    }
}

static int is_mirrored(const struct kf_grid *grid)
{
    const double *d = grid->direction;
    return d[0] * (d[4] * d[8] - d[5] * d[7]) - d[1] * (d[3] * d[8] - d[5] * d[6]) + d[2] * (d[3] * d[7] - d[4] * d[6]) < 0;
}

static enum kf_kernel_status take_result(const struct kf_work *work, struct kf_labels_pass *p,
                                         struct kf_surface_labels *out)
{
    int64_t vertices = 0, quads = 0;
    for (int64_t r = 0; r < p->cells[1] * p->cells[2]; r++) {
        int64_t v = p->first_vertex[r], q = p->first_quad[r];
        p->first_vertex[r] = (uint32_t)vertices;
        p->first_quad[r] = (uint32_t)quads;
        vertices += v;
        quads += q;
    }
    if (vertices >= NONE || quads >= NONE)
        return KF_KERNEL_TOO_LARGE;
    out->vertices = vertices;
    out->quads = quads;
    p->xyz = out->xyz = kf_work_take(work, vertices * 3 * (int64_t)sizeof *out->xyz);
    p->corner = out->corner = kf_work_take(work, vertices * (int64_t)sizeof *out->corner);
    p->ring = out->ring = kf_work_take(work, quads * 4 * (int64_t)sizeof *out->ring);
    p->pair = out->pair = kf_work_take(work, quads * 2);
    p->kind = out->kind = kf_work_take(work, quads);
    return out->xyz && out->corner && out->ring && out->pair && out->kind ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
}

static enum kf_kernel_status run_passes(const struct kf_work *work, struct kf_labels_pass *p,
                                        struct kf_surface_labels *out)
{
    const struct kf_kernel_table *table = kf_kernels();
    const struct kf_labels_pass *fixed = p;
    struct kf_loop count = kf_loop_make(work, p->cells[2], 0, 0.3), fill = kf_loop_make(work, p->cells[2], 0.3, 0.6);
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 2)
    for (int64_t k = 0; k < p->cells[2]; k++)
        if (!kf_loop_stop(&count))
            table->labels_count(fixed, k);
    enum kf_kernel_status status = count.stop ? KF_KERNEL_CANCELLED : take_result(work, p, out);
    if (status)
        return status;
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 2)
    for (int64_t k = 0; k < p->cells[2]; k++)
        if (!kf_loop_stop(&fill))
            table->labels_fill(fixed, k);
    return fill.stop || kf_work_step(work, 0.6) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

// ---- relaxation ----

// The corners of face f (axis f / 2, side f % 2) in a ring.
static void face_corners(int f, int corner[4])
{
    static const int ring[4][2] = {{0, 0}, {1, 0}, {1, 1}, {0, 1}};
    int axis = f / 2, side = f % 2, u = (axis + 1) % 3, v = (axis + 2) % 3;
    for (int q = 0; q < 4; q++)
        corner[q] = side << axis | ring[q][0] << u | ring[q][1] << v;
}

// The faces whose neighbours pull at a vertex: those across which the net goes on; where three labels meet in two or
// more faces, only these.
static unsigned pulling_faces(uint64_t v, int corner[6][4])
{
    unsigned two = 0, three = 0;
    for (int f = 0; f < 6; f++) {
        unsigned label[4];
        for (int q = 0; q < 4; q++)
            label[q] = (unsigned)(v >> (8 * corner[f][q]) & 255);
        int distinct = 1 + (label[1] != label[0]) + (label[2] != label[0] && label[2] != label[1]) +
                       (label[3] != label[0] && label[3] != label[1] && label[3] != label[2]);
        two |= (unsigned)(distinct > 1) << f;
        three |= (unsigned)(distinct > 2) << f;
    }
    return three & (three - 1) ? three : two;
}

typedef float lanes __attribute__((vector_size(16)));

struct relaxer {
    uint32_t *around; // 6 per vertex: the neighbour across each face, where one pulls
    uint8_t *pull;    // per vertex: faces
    lanes *now, *then; // voxel indexes
};

// Every face of a cell across which the net goes on is a side of some quad; that says who the neighbour is.
static void find_neighbours(const struct kf_surface_labels *s, struct relaxer *r)
{
    int corner[6][4];
    for (int f = 0; f < 6; f++)
        face_corners(f, corner[f]);
    for (int64_t v = 0; v < s->vertices; v++)
        r->pull[v] = (uint8_t)pulling_faces(s->corner[v], corner);
    for (int64_t q = 0; q < s->quads; q++) {
        const uint32_t *ring = s->ring + 4 * q;
        int u = ((s->kind[q] & 3) + 1) % 3, w = ((s->kind[q] & 3) + 2) % 3;
        // From place 0 to 1 and from 3 to 2 one goes up along u, from 0 to 3 and from 1 to 2 along w.
        r->around[6 * (int64_t)ring[0] + 2 * u + 1] = ring[1];
        r->around[6 * (int64_t)ring[1] + 2 * u] = ring[0];
        r->around[6 * (int64_t)ring[3] + 2 * u + 1] = ring[2];
        r->around[6 * (int64_t)ring[2] + 2 * u] = ring[3];
        r->around[6 * (int64_t)ring[0] + 2 * w + 1] = ring[3];
        r->around[6 * (int64_t)ring[3] + 2 * w] = ring[0];
        r->around[6 * (int64_t)ring[1] + 2 * w + 1] = ring[2];
        r->around[6 * (int64_t)ring[2] + 2 * w] = ring[1];
    }
}

// `home` holds where a vertex was first: its cell is the unit cube that it lies in.
static void relax(const struct kf_work *work, const struct kf_surface_labels *s, struct relaxer *r, const int64_t dim[3])
{
    const float margin = 1.0f / 64;
    lanes *now = r->now, *then = r->then;
    float most[3] = {(float)dim[0] - 1, (float)dim[1] - 1, (float)dim[2] - 1};
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t v = 0; v < s->vertices; v++) {
        const float *home = s->xyz + 3 * v;
        lanes sum = {0, 0, 0, 0};
        int n = 0;
        for (unsigned faces = r->pull[v]; faces; faces &= faces - 1, n++)
            sum += now[r->around[6 * v + __builtin_ctz(faces)]];
        lanes to = (now[v] + sum * (1.0f / (float)n)) * 0.5f;
        for (int a = 0; a < 3; a++) {
            float low = (float)__builtin_floor((double)home[a]) + margin, high = low + 1 - 2 * margin;
            to[a] = to[a] < low ? low : to[a] > high ? high : to[a];
            if (home[a] < 0 || home[a] > most[a])
                to[a] = home[a]; // on the outer face of the last voxels
        }
        then[v] = to;
    }
    r->now = then;
    r->then = now;
}

static enum kf_kernel_status relax_all(const struct kf_work *work, const struct kf_surface_labels_input *input,
                                       struct kf_surface_labels *s)
{
    struct relaxer r = {.around = kf_work_take(work, s->vertices * 6 * (int64_t)sizeof *r.around),
                        .pull = kf_work_take(work, s->vertices),
                        .now = kf_work_take(work, s->vertices * (int64_t)sizeof *r.now),
                        .then = kf_work_take(work, s->vertices * (int64_t)sizeof *r.then)};
    enum kf_kernel_status status = r.around && r.pull && r.now && r.then ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    double m[12];
    set_frame(&input->labels->grid, m);
    if (!status) {
        find_neighbours(s, &r);
        for (int64_t v = 0; v < s->vertices; v++)
            r.now[v] = (lanes){s->xyz[3 * v], s->xyz[3 * v + 1], s->xyz[3 * v + 2], 0};
    }
    for (int round = 0; round < input->rounds && !status; round++) {
        relax(work, s, &r, input->labels->grid.dim);
        if (kf_work_step(work, 0.6 + 0.4 * (round + 1.0) / input->rounds))
            status = KF_KERNEL_CANCELLED;
    }
    for (int64_t v = 0; v < s->vertices && !status; v++)
        for (int row = 0; row < 3; row++) {
            const double *to = m + 4 * row;
            s->xyz[3 * v + row] = (float)(to[0] * (double)r.now[v][0] + to[1] * (double)r.now[v][1] +
                                          to[2] * (double)r.now[v][2] + to[3]);
        }
    kf_work_give(work, r.around);
    kf_work_give(work, r.pull);
    kf_work_give(work, r.now);
    kf_work_give(work, r.then);
    return status;
}

enum kf_kernel_status kf_surface_labels(const struct kf_work *work, const struct kf_surface_labels_input *input,
                                        struct kf_surface_labels *out)
{
    *out = (struct kf_surface_labels){0};
    const struct kf_grid *grid = &input->labels->grid;
    if (input->labels->type != KF_VOXEL_UINT8 || input->rounds < 0 || grid->dim[0] < 1 || grid->dim[1] < 1 ||
        grid->dim[2] < 1)
        return KF_KERNEL_INVALID;
    struct kf_labels_pass p = {.labels = input->labels->data};
    for (int a = 0; a < 3; a++) {
        p.dim[a] = grid->dim[a];
        p.cells[a] = grid->dim[a] + 1;
    }
    p.words = (p.cells[0] + 63) / 64;
    if (input->rounds > 0)
        p.to_lps[0] = p.to_lps[5] = p.to_lps[10] = 1; // voxel indexes until the vertices rest
    else
        set_frame(grid, p.to_lps);
    out->mirrored = is_mirrored(grid);
    int64_t rows = p.cells[1] * p.cells[2];
    uint8_t *nothing = kf_work_take(work, p.dim[0]);
    p.active = kf_work_take(work, rows * p.words * (int64_t)sizeof *p.active);
    p.first_vertex = kf_work_take(work, rows * (int64_t)sizeof *p.first_vertex);
    p.first_quad = kf_work_take(work, rows * (int64_t)sizeof *p.first_quad);
    enum kf_kernel_status status = nothing && p.active && p.first_vertex && p.first_quad ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        memset(nothing, 0, (size_t)p.dim[0]);
        p.nothing = nothing;
        status = run_passes(work, &p, out);
    }
    kf_work_give(work, nothing);
    kf_work_give(work, p.active);
    kf_work_give(work, p.first_vertex);
    kf_work_give(work, p.first_quad);
    if (!status && input->rounds > 0)
        status = relax_all(work, input, out);
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    if (status)
        kf_surface_labels_release(work, out);
    return status;
}

// ---- the mesh of one label ----

// A label's surface passes through a cell in one or more loops of edges, each around a part of the label; each loop
// gets a vertex of its own. On a face whose corners belong to the label crosswise, rule 0 takes the label's corners as
// apart and rule 1 as joined. Where both cells beside such a face have all four of its edges in one loop, the edge
// between their vertices would have four triangles: these cells, which have no other such face, go by rule 1.
struct loops {
    uint8_t of[2][256][12]; // rule, corners of the label, edge of the cell: its loop
    uint8_t count[2][256];
    uint8_t crowded[256]; // by rule 0: 1 + the face all of whose four edges are in one loop; 0: none
};

static int edge_between(int a, int b)
{
    int x = a & 1, y = a >> 1 & 1, z = a >> 2;
    int turned = a ^ b;
    return turned == 1 ? y + 2 * z : turned == 2 ? 4 + x + 2 * z : 8 + x + 2 * y;
}

static void join(uint8_t group[12], int a, int b)
{
    uint8_t from = group[a] > group[b] ? group[a] : group[b], to = group[a] > group[b] ? group[b] : group[a];
    for (int e = 0; e < 12; e++)
        if (group[e] == from)
            group[e] = to;
}

static void make_loops_of(struct loops *t, int rule, unsigned code)
{
    uint8_t group[12];
    unsigned crossed = 0;
    for (int e = 0; e < 12; e++)
        group[e] = (uint8_t)e;
    for (int f = 0; f < 6; f++) {
        int corner[4], edge[4];
        face_corners(f, corner);
        unsigned sides = 0, in[4];
        for (int q = 0; q < 4; q++) {
            in[q] = code >> corner[q] & 1;
            edge[q] = edge_between(corner[q], corner[(q + 1) % 4]);
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

static void make_loops(struct loops *t)
{
    for (unsigned code = 0; code < 256; code++) {
        make_loops_of(t, 0, code);
        make_loops_of(t, 1, code);
        t->crowded[code] = 0;
        for (int f = 0; f < 6; f++) {
            int corner[4], same = 1;
            face_corners(f, corner);
            const uint8_t *of = t->of[0][code];
            for (int q = 0; q < 4; q++) {
                int next = corner[(q + 1) % 4];
                same &= (code >> corner[q] & 1) != (code >> next & 1) &&
                        of[edge_between(corner[q], next)] == of[edge_between(corner[0], corner[1])];
            }
            if (same)
                t->crowded[code] = (uint8_t)(1 + f);
        }
    }
}

struct extraction {
    const struct kf_surface_labels *s;
    struct loops loops;
    unsigned label;
    uint16_t *state;  // per vertex: the label's corners, + 256 for rule 1; 0 when the label is not there
    uint32_t *first;  // per vertex: its first number in the mesh, or NONE
    uint8_t edge[3][4]; // axis, place in the ring: the edge of that cell
    int64_t quads, vertices;
};

static void number_edges(struct extraction *x)
{
    static const int ring[4][2] = {{0, 0}, {1, 0}, {1, 1}, {0, 1}};
    for (int axis = 0; axis < 3; axis++)
        for (int q = 0; q < 4; q++) {
            int u = (axis + 1) % 3, v = (axis + 2) % 3;
            int from = (1 - ring[q][0]) << u | (1 - ring[q][1]) << v;
            x->edge[axis][q] = (uint8_t)edge_between(from, from | 1 << axis);
        }
}

static unsigned corners_of(uint64_t v, unsigned label)
{
    uint64_t other = v ^ label * 0x0101010101010101u;
    const uint64_t low = 0x7f7f7f7f7f7f7f7fu;
    uint64_t flags = (((other & low) + low) | other) >> 7 & 0x0101010101010101u;
    return 255 - (unsigned)(flags * 0x0102040810204080u >> 56);
}

static int has_label(const struct extraction *x, int64_t q)
{
    return x->s->pair[2 * q] == x->label || x->s->pair[2 * q + 1] == x->label;
}

// Finds the vertices and quads of the label, and the cells that go by rule 1.
static void survey(struct extraction *x)
{
    const struct kf_surface_labels *s = x->s;
    memset(x->state, 0, (size_t)s->vertices * sizeof *x->state);
    for (int64_t q = 0; q < s->quads; q++) {
        if (!has_label(x, q))
            continue;
        x->quads++;
        const uint32_t *ring = s->ring + 4 * q;
        unsigned crowded = 0;
        for (int c = 0; c < 4; c++) {
            uint16_t *state = &x->state[ring[c]];
            if (!*state) {
                *state = (uint16_t)corners_of(s->corner[ring[c]], x->label);
                x->vertices += x->loops.count[0][*state];
            }
            crowded += x->loops.crowded[*state & 255] != 0;
        }
        if (crowded < 2)
            continue;
        int u = ((s->kind[q] & 3) + 1) % 3, w = ((s->kind[q] & 3) + 2) % 3;
        const int side[4][4] = {{0, 1, u, 0}, {3, 2, u, 0}, {0, 3, w, 0}, {1, 2, w, 0}};
        for (int n = 0; n < 4; n++) {
            uint16_t *low = &x->state[ring[side[n][0]]], *high = &x->state[ring[side[n][1]]];
            if (x->loops.crowded[*low & 255] != 2 + 2 * side[n][2] || x->loops.crowded[*high & 255] != 1 + 2 * side[n][2])
                continue;
            x->vertices += 2 * (!(*low & 256) + !(*high & 256)); // at most: a cell has four loops
            *low |= 256;
            *high |= 256;
        }
    }
}

static double square_between(const float *a, const float *b)
{
    double sum = 0;
    for (int r = 0; r < 3; r++) {
        double d = (double)a[r] - (double)b[r];
        sum += d * d;
    }
    return sum;
}

// 1 when the quad is cut from place 1 to 3 instead of 0 to 2.
static int cut_other_way(const struct kf_surface_labels *s, const uint32_t *ring)
{
    const float *p[4];
    for (int c = 0; c < 4; c++)
        p[c] = s->xyz + 3 * (int64_t)ring[c];
    return square_between(p[1], p[3]) < square_between(p[0], p[2]);
}

// Two triangles of the corners id[0…3], turned around when `turn` is odd.
static void put_triangles(uint32_t *to, const uint32_t id[4], int other_way, int turn)
{
    static const uint8_t cut[2][6] = {{0, 1, 2, 0, 2, 3}, {1, 2, 3, 1, 3, 0}};
    for (int t = 0; t < 6; t += 3) {
        const uint8_t *c = cut[other_way] + t;
        to[t] = id[c[0]];
        to[t + 1] = id[c[turn & 1 ? 2 : 1]];
        to[t + 2] = id[c[turn & 1 ? 1 : 2]];
    }
}

static void emit(struct extraction *x, struct kf_mesh *mesh)
{
    const struct kf_surface_labels *s = x->s;
    uint32_t *to = mesh->index;
    uint32_t used = 0;
    memset(x->first, 0xff, (size_t)s->vertices * sizeof *x->first);
    for (int64_t q = 0; q < s->quads; q++) {
        if (!has_label(x, q))
            continue;
        const uint32_t *ring = s->ring + 4 * q;
        int axis = s->kind[q] & 3;
        uint32_t id[4];
        for (int c = 0; c < 4; c++) {
            uint32_t v = ring[c];
            unsigned code = x->state[v] & 255, rule = x->state[v] >> 8;
            if (x->first[v] == NONE) {
                x->first[v] = used;
                for (unsigned n = 0; n < x->loops.count[rule][code]; n++)
                    memcpy(mesh->xyz + 3 * (int64_t)used++, s->xyz + 3 * (int64_t)v, 3 * sizeof *mesh->xyz);
            }
            id[c] = x->first[v] + x->loops.of[rule][code][x->edge[axis][c]];
        }
        // The ring turns counter-clockwise seen from the far voxel; the mesh faces away from the label.
        int label_is_far = (s->kind[q] >> 2) ^ (s->pair[2 * q] != x->label);
        put_triangles(to, id, cut_other_way(s, ring), label_is_far ^ s->mirrored);
        to += 6;
    }
    mesh->vertices = used;
}

enum kf_kernel_status kf_surface_labels_mesh(const struct kf_work *work, const struct kf_surface_labels *surface,
                                             int label, struct kf_mesh *mesh)
{
    *mesh = (struct kf_mesh){0};
    if (label < 0 || label > 255)
        return KF_KERNEL_INVALID;
    struct extraction *x = kf_work_take(work, (int64_t)sizeof *x);
    uint16_t *state = kf_work_take(work, surface->vertices * (int64_t)sizeof *state);
    uint32_t *first = kf_work_take(work, surface->vertices * (int64_t)sizeof *first);
    enum kf_kernel_status status = x && state && first ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        x->s = surface;
        x->label = (unsigned)label;
        x->state = state;
        x->first = first;
        x->quads = x->vertices = 0;
        make_loops(&x->loops);
        number_edges(x);
        survey(x);
        mesh->triangles = 2 * x->quads;
        mesh->xyz = kf_work_take(work, x->vertices * 3 * (int64_t)sizeof *mesh->xyz);
        mesh->index = kf_work_take(work, x->quads * 6 * (int64_t)sizeof *mesh->index);
        status = x->vertices >= NONE || 2 * x->quads >= NONE ? KF_KERNEL_TOO_LARGE
                 : mesh->xyz && mesh->index                  ? KF_KERNEL_OK
                                                             : KF_KERNEL_NOMEM;
    }
    if (!status)
        emit(x, mesh);
    kf_work_give(work, x);
    kf_work_give(work, state);
    kf_work_give(work, first);
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
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
        put_triangles(mesh->index + 6 * q, ring, cut_other_way(surface, ring), (surface->kind[q] >> 2) ^ surface->mirrored);
        for (int n = 0; n < 4; n++)
            (*pair)[4 * q + n] = surface->pair[2 * q + n % 2];
    }
    return KF_KERNEL_OK;
}
