#include "workers/kernels/surface_labels.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/surface_cells.h"
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

static void set_frame(const struct kf_grid *grid, double column[4][4])
{
    for (int r = 0; r < 3; r++) {
        for (int c = 0; c < 3; c++)
            column[c][r] = grid->direction[3 * r + c] * grid->spacing_mm[c];
        column[3][r] = grid->origin_lps[r];
    }
}

// The mean of the middles of a cell's edges that join two labels, for every set of them.
static void make_offsets(double (*offset)[4])
{
    for (unsigned edges = 0; edges < 4096; edges++) {
        int count = 0, sum[3] = {0, 0, 0}; // halves
        for (int e = 0; e < 12; e++) {
            if (!(edges >> e & 1))
                continue;
            int axis = e / 4, low = axis == 0, high = axis == 2 ? 1 : 2; // the two other axes
            count++;
            sum[axis]++;
            sum[low] += 2 * (e & 1);
            sum[high] += e & 2;
        }
        for (int a = 0; a < 3; a++)
            offset[edges][a] = count ? 0.5 / count * sum[a] : 0;
        offset[edges][3] = 0;
    }
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
    p->xyz = out->xyz = kf_work_take(work, (vertices * 3 + 1) * (int64_t)sizeof *out->xyz); // the last is read as four
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
        kf_face_corners(f, corner[f]);
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
    double m[4][4];
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
        for (int row = 0; row < 3; row++)
            s->xyz[3 * v + row] = (float)(m[0][row] * (double)r.now[v][0] + m[1][row] * (double)r.now[v][1] +
                                          m[2][row] * (double)r.now[v][2] + m[3][row]);
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
        p.column[0][0] = p.column[1][1] = p.column[2][2] = 1; // voxel indexes until the vertices rest
    else
        set_frame(grid, p.column);
    out->mirrored = kf_grid_mirrored(grid);
    int64_t rows = p.cells[1] * p.cells[2];
    uint8_t *nothing = kf_work_take(work, p.dim[0]);
    p.active = kf_work_take(work, rows * p.words * (int64_t)sizeof *p.active);
    p.first_vertex = kf_work_take(work, rows * (int64_t)sizeof *p.first_vertex);
    p.first_quad = kf_work_take(work, rows * (int64_t)sizeof *p.first_quad);
    p.offset = kf_work_take(work, 4096 * (int64_t)sizeof *p.offset);
    enum kf_kernel_status status =
        nothing && p.active && p.first_vertex && p.first_quad && p.offset ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        make_offsets(p.offset);
        memset(nothing, 0, (size_t)p.dim[0]);
        p.nothing = nothing;
        status = run_passes(work, &p, out);
    }
    kf_work_give(work, nothing);
    kf_work_give(work, p.active);
    kf_work_give(work, p.first_vertex);
    kf_work_give(work, p.first_quad);
    kf_work_give(work, p.offset);
    if (!status && input->rounds > 0)
        status = relax_all(work, input, out);
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    if (status)
        kf_surface_labels_release(work, out);
    return status;
}
