// Low-pass filters on a surface. Based on: Taubin, Zhang, Golub, "Optimal surface smoothing as filter design", ECCV
// 1996.
//
// L moves every vertex from the mean of its neighbours to where it is. A polynomial f(L) of the positions x with f(0) =
// 1 leaves what is smooth and takes away what is rough, L's large eigenvalues. f is a windowed sinc, a sum of Chebyshev
// polynomials of X = 1 - L, whose eigenvalues lie in [-1, 1]. With f(L) = 1 - L·h(L) only d = L·x, a small quantity,
// goes through the recurrence (Clenshaw's), so that float is enough: x - h(L)·d.
#include "workers/kernels/adjacency.h"
#include "workers/kernels/math.h"
#include "workers/kernels/mesh.h"
#include "workers/kernels/mesh_rings.h"

#ifdef _OPENMP
#include <sched.h>
#endif
#include <string.h>

#define DEGREE_LEAST 3

// Four lanes so that a position is one load; the fourth is zero.
typedef float lanes __attribute__((vector_size(16)));

struct smoother {
    struct kf_mesh *mesh;
    const struct kf_mesh_smooth *how;
    struct kf_spans spans;
    struct kf_rings rings;
    uint8_t *marks;                           // planes that a vertex slides along, by axis; NULL: none
    lanes *rough, *near, *far;                // by place: d, and the recurrence's last two, in turn; far: positions first
    float weight[KF_MESH_SMOOTH_PASSES_MOST]; // of h, by Chebyshev polynomial
    int degree;                               // of f: steps
    int open;                                 // the surface has a boundary
};

static void smoother_release(const struct kf_work *work, struct smoother *s)
{
    kf_spans_release(work, &s->spans);
    kf_rings_release(work, &s->rings);
    kf_work_give(work, s->marks);
    kf_work_give(work, s->rough);
    kf_work_give(work, s->near);
    kf_work_give(work, s->far);
}

// ---- the filter ----

// weight[0 … degree - 1] of h(L) = (1 - f(L)) / L, for a sinc that cuts at L = pass_band with a Hamming window. With
// L = 1 - cos θ, (1 - cos nθ) / (1 - cos θ) = n + 2 Σ (n - j) cos jθ over 0 < j < n (Fejér's kernel).
static void make_weights(int degree, double pass_band, float *weight)
{
    double f[KF_MESH_SMOOTH_PASSES_MOST + 1], sum = 0, cut = kf_acos(1 - pass_band);
    for (int n = 0; n <= degree; n++) {
        double window = 0.54 + 0.46 * kf_cos(n * KF_PI / (degree + 1));
        f[n] = n ? 2 * kf_sin(n * cut) / (n * KF_PI) * window : cut / KF_PI;
        sum += f[n];
    }
    for (int j = 0; j < degree; j++) {
        double h = 0;
        for (int n = j + 1; n <= degree; n++)
            h += f[n] * (n - j);
        weight[j] = (float)((j ? 2 : 1) * h / sum); // f(0) = 1: what is smooth stays where it is
    }
}

// ---- what may move where ----

// Marks by axis (bit) the vertices that start on an outermost plane of the grid.
static void mark_planes(const struct kf_work *work, const struct kf_mesh *mesh, const struct kf_grid *grid,
                        uint8_t *marks)
{
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t v = 0; v < mesh->vertices; v++) {
        const double p[3] = {(double)mesh->xyz[3 * v], (double)mesh->xyz[3 * v + 1], (double)mesh->xyz[3 * v + 2]};
        double at[3];
        kf_grid_to_ijk(grid, p, at);
        marks[v] = 0;
        for (int a = 0; a < 3; a++)
            if (at[a] < 1.0 / 32 || at[a] > (double)(grid->dim[a] - 1) - 1.0 / 32)
                marks[v] |= (uint8_t)(1 << a);
    }
}

// What of a move d is allowed to a vertex with these marks: nothing across its planes.
static lanes along_planes(const struct kf_grid *grid, uint8_t marks, lanes d)
{
    for (int a = 0; a < 3; a++) {
        if (!(marks >> a & 1))
            continue;
        lanes n = {(float)grid->direction[a], (float)grid->direction[3 + a], (float)grid->direction[6 + a], 0};
        float across = d[0] * n[0] + d[1] * n[1] + d[2] * n[2];
        d -= n * across;
    }
    return d;
}

static lanes allowed(const struct smoother *s, uint32_t vertex, lanes d)
{
    if (s->rings.ring[vertex].balance)
        return (lanes){0};
    return s->marks && s->marks[vertex] ? along_planes(s->how->planes, s->marks[vertex], d) : d;
}

// ---- passes over the surface ----

enum step { ROUGH, SECOND, NEXT, LAST };

// What a step works on. A copy of its own, which no store through the arrays can change: all of it stays in registers.
struct step_arrays {
    const lanes *from; // what the neighbours' mean is made of
    lanes *rough, *near, *far;
    float weight;
};

// What becomes of place p when `mean` is that of its neighbours.
static inline __attribute__((always_inline)) void put(const struct smoother *s, enum step step,
                                                      const struct step_arrays *a, uint32_t p, lanes mean, int special)
{
    uint32_t vertex = special || step == LAST ? s->rings.vertex[p] : 0;
    if (step == ROUGH) { // far holds positions
        lanes d = a->far[p] - mean;
        d = special ? allowed(s, vertex, d) : d;
        a->rough[p] = d;
        a->near[p] = d * a->weight;
        return;
    }
    if (special)
        mean = allowed(s, vertex, mean);
    if (step == SECOND)
        a->far[p] = a->rough[p] * a->weight + mean * 2.0f;
    if (step == NEXT)
        a->far[p] = a->rough[p] * a->weight + mean * 2.0f - a->far[p];
    if (step != LAST)
        return;
    lanes e = a->rough[p] * a->weight + mean - a->far[p];
    float square = e[0] * e[0] + e[1] * e[1] + e[2] * e[2], reach = (float)s->how->reach_mm;
    if (reach > 0 && square > reach * reach)
        e *= reach / __builtin_sqrtf(square);
    for (int r = 0; r < 3; r++)
        s->mesh->xyz[3 * (int64_t)vertex + r] -= e[r];
}

// Places [p, p + count), each with `degree` neighbours; returns the rest of their lists. A constant degree is unrolled.
static inline __attribute__((always_inline)) const uint32_t *run_class(const struct smoother *s, enum step step,
                                                                       const struct step_arrays *a, uint32_t p,
                                                                       uint32_t count, int degree,
                                                                       const uint32_t *around)
{
    const float share = 1.0f / (float)degree;
    for (uint32_t end = p + count; p < end; p++, around += degree) {
        lanes sum = a->from[around[0]];
        for (int n = 1; n < degree; n++)
            sum += a->from[around[n]];
        put(s, step, a, p, sum * share, 0);
    }
    return around;
}

static void run_special(const struct smoother *s, enum step step, const struct step_arrays *a, uint32_t p,
                        uint32_t count, const uint32_t *around)
{
    for (uint32_t end = p + count; p < end; p++) {
        uint32_t degree = s->rings.ring[s->rings.vertex[p]].degree;
        lanes sum = {0};
        for (uint32_t n = 0; n < degree; n++)
            sum += a->from[around[n]];
        put(s, step, a, p, degree ? sum * (1.0f / (float)degree) : a->from[p], 1);
        around += degree;
    }
}

// Step `t` of the recurrence on block b; two arrays take turns as the last and the last but one.
static inline __attribute__((always_inline)) void run_block(const struct smoother *s, enum step step, int t, int64_t b)
{
    const uint32_t *around = s->rings.around + s->rings.first[b], *count = s->rings.count[b];
    lanes *last = t & 1 ? s->near : s->far, *other = t & 1 ? s->far : s->near;
    const struct step_arrays a = {.from = last, .rough = s->rough, .weight = s->weight[s->degree - 1 - t],
                                  .near = step == ROUGH ? other : last, .far = step == ROUGH ? last : other};
    uint32_t p = (uint32_t)(b * KF_RINGS_BLOCK);
    for (uint32_t end = p + count[0]; p < end; p++) // no triangle has it
        put(s, step, &a, p, a.from[p], 0);
#define KF_CLASS(degree)                                                                                               \
    around = run_class(s, step, &a, p, count[degree], degree, around);                                                 \
    p += count[degree];
    KF_CLASS(1)
    KF_CLASS(2) KF_CLASS(3) KF_CLASS(4) KF_CLASS(5) KF_CLASS(6) KF_CLASS(7) KF_CLASS(8) KF_CLASS(9) KF_CLASS(10)
        KF_CLASS(11) KF_CLASS(12)
#undef KF_CLASS
            _Static_assert(KF_RINGS_MANY == 13, "a line per class");
    run_special(s, step, &a, p, count[KF_RINGS_MANY], around);
}

static void run_step(const struct smoother *s, int t, int64_t b)
{
    if (t == 0)
        run_block(s, ROUGH, t, b);
    else if (t == 1)
        run_block(s, SECOND, t, b);
    else if (t < s->degree - 1)
        run_block(s, NEXT, t, b);
    else
        run_block(s, LAST, t, b);
}

// Large surfaces do not fit into a cache, and a step does little with much memory. So a few steps follow each other
// through the blocks like a wave (Wonnacott, "Achieving scalable locality with time skewing", IJPP 30(3), 2002): a step
// needs of a block's neighbours what the step before made and spoils what that step needed, so it stays behind it by
// the farthest that neighbours are apart. Threads take the pieces of a wave in one order and wait for what a piece
// needs, which comes earlier in that order and is mostly done.
#define WAVE_BLOCKS 8                  // of a piece
#define WAVE_BYTES  ((int64_t)8 << 20) // of a cache, for all steps of a wave
#define SPINS       4000               // some 80 µs, as long as a piece takes
#define PLACE_BYTES (3 * (int64_t)sizeof(lanes) + 6 * (int64_t)sizeof(uint32_t))

struct wave {
    int from, steps;
    int64_t pieces;
    int64_t lag;   // in pieces; neighbours are less than this apart
    uint8_t *done; // by step and piece
    int64_t next;  // to be taken; shared
};

static int64_t lag_of(const struct kf_spans *spans)
{
    int64_t most = 0;
    for (int64_t n = 0; n < spans->count; n++) {
        int64_t apart = (int64_t)spans->range[n][1] / KF_RINGS_BLOCK - spans->range[n][0] / KF_RINGS_BLOCK;
        most = apart > most ? apart : most;
    }
    return 1 + (most + WAVE_BLOCKS - 1) / WAVE_BLOCKS;
}

// What is not done after the time that a piece takes is in the hands of a thread that does not run, and
// that may need this processor.
static void pause_at(int turn)
{
#ifdef _OPENMP
    if (turn >= SPINS)
        sched_yield();
#if defined(KERF_KERNELS_X86)
    else
        __builtin_ia32_pause();
#endif
#else
    (void)turn; // one thread never waits
#endif
}

static void wait_for(const struct wave *w, int64_t step, int64_t piece)
{
    for (int64_t n = piece >= w->lag ? piece - w->lag + 1 : 0; n < piece + w->lag && n < w->pieces; n++)
        for (int turn = 0; !__atomic_load_n(&w->done[step * w->pieces + n], __ATOMIC_ACQUIRE); turn += turn < SPINS)
            pause_at(turn);
}

static void run_wave(const struct kf_work *work, const struct smoother *s, struct wave *w)
{
    const int64_t all = (w->pieces + w->lag * (w->steps - 1)) * w->steps;
    memset(w->done, 0, (size_t)(w->steps * w->pieces));
    w->next = 0;
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int thread = 0; thread < work->threads; thread++)
        for (int64_t n; (n = __atomic_fetch_add(&w->next, 1, __ATOMIC_RELAXED)) < all;) {
            const int64_t step = n % w->steps, piece = n / w->steps - step * w->lag;
            if (piece < 0 || piece >= w->pieces)
                continue;
            if (step)
                wait_for(w, step - 1, piece);
            for (int64_t b = piece * WAVE_BLOCKS; b < (piece + 1) * WAVE_BLOCKS && b < s->rings.blocks; b++)
                run_step(s, w->from + (int)step, b);
            __atomic_store_n(&w->done[step * w->pieces + piece], 1, __ATOMIC_RELEASE);
        }
}

static enum kf_kernel_status run(const struct kf_work *work, struct smoother *s, int degree)
{
    struct wave w = {.pieces = (s->rings.blocks + WAVE_BLOCKS - 1) / WAVE_BLOCKS, .lag = lag_of(&s->spans)};
    const int64_t most = WAVE_BYTES / (w.lag * WAVE_BLOCKS * KF_RINGS_BLOCK * PLACE_BYTES);
    // Where neighbours are far apart, one step after the other is as good, and keeps all threads busy.
    const int waves = most < 2 || w.pieces < 2 * w.lag ? degree : (int)((degree + most - 1) / most);
    enum kf_kernel_status status = KF_KERNEL_OK;
    s->degree = degree;
    make_weights(degree, s->how->pass_band, s->weight);
    w.done = kf_work_take(work, degree * w.pieces);
    if (!w.done)
        return KF_KERNEL_NOMEM;
    for (int n = 0; n < waves && !status; n++) {
        w.from = degree * n / waves;
        w.steps = degree * (n + 1) / waves - w.from;
        run_wave(work, s, &w);
        if (kf_work_step(work, (double)(w.from + w.steps) / (degree + 2)))
            status = KF_KERNEL_CANCELLED;
    }
    kf_work_give(work, w.done);
    return status;
}

// ---- the volume ----

#define SUM_BLOCK 4096 // vertices whose sums are made in one go

struct volume_sums {
    double volume; // 18 times
    double growth; // 6 times: of the volume with a shift of one along all directions
};

// Turns sums of cross products into the directions of the shift: unit normals, within the planes.
static struct volume_sums sum_block(const struct smoother *s, float *sums, int64_t b)
{
    struct volume_sums all = {0, 0};
    const float *origin = s->mesh->xyz; // near the mesh, so that little cancels
    for (int64_t v = b * SUM_BLOCK; v < (b + 1) * SUM_BLOCK && v < s->mesh->vertices; v++) {
        const float *p = s->mesh->xyz + 3 * v;
        float *n = sums + 3 * v, length = __builtin_sqrtf(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
        lanes area = {n[0], n[1], n[2], 0}, to = length > 1e-18f ? area * (1 / length) : (lanes){0};
        if (s->marks && s->marks[v])
            to = along_planes(s->how->planes, s->marks[v], to);
        for (int r = 0; r < 3; r++) {
            all.volume += (double)area[r] * ((double)p[r] - (double)origin[r]);
            all.growth += (double)area[r] * (double)to[r];
            n[r] = to[r];
        }
    }
    return all;
}

// Shifts the whole surface along its normals until the volume is `volume` again: Newton steps.
static enum kf_kernel_status restore_volume(const struct kf_work *work, struct smoother *s, double volume)
{
    struct kf_mesh *mesh = s->mesh;
    int64_t blocks = (mesh->vertices + SUM_BLOCK - 1) / SUM_BLOCK;
    struct volume_sums *part = kf_work_take(work, blocks * (int64_t)sizeof *part);
    if (!part)
        return KF_KERNEL_NOMEM;
    float *sums = (float *)s->near;
    double missing = volume;
    for (int round = 0; round < 4 && __builtin_fabs(missing) > 1e-3 * __builtin_fabs(volume); round++) {
        struct volume_sums all = {0, 0};
        kf_gather_normals(work, mesh, &s->spans, sums);
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t b = 0; b < blocks; b++)
            part[b] = sum_block(s, sums, b);
        for (int64_t b = 0; b < blocks; b++) {
            all.volume += part[b].volume;
            all.growth += part[b].growth;
        }
        missing = volume - all.volume / 18; // the step that follows leaves its square, so far below a thousandth
        float shift = all.growth > 0 ? (float)(missing / (all.growth / 6)) : 0;
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t c = 0; c < 3 * mesh->vertices; c++)
            mesh->xyz[c] += sums[c] * shift;
    }
    kf_work_give(work, part);
    return KF_KERNEL_OK;
}

static enum kf_kernel_status smoother_make(const struct kf_work *work, struct smoother *s)
{
    int64_t n = s->mesh->vertices;
    enum kf_kernel_status status = kf_spans_make(work, s->mesh, &s->spans);
    if (!status && s->how->planes) {
        s->marks = kf_work_take(work, n);
        status = s->marks ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
        if (!status)
            mark_planes(work, s->mesh, s->how->planes, s->marks);
    }
    if (!status)
        status = kf_rings_make(work, s->mesh, &s->spans, s->marks, &s->rings);
    if (status)
        return status;
    s->rough = kf_work_take(work, n * (int64_t)sizeof *s->rough);
    s->near = kf_work_take(work, n * (int64_t)sizeof *s->near);
    s->far = kf_work_take(work, n * (int64_t)sizeof *s->far);
    if (!s->rough || !s->near || !s->far)
        return KF_KERNEL_NOMEM;
    int open = 0;
#pragma omp parallel for num_threads(work->threads) schedule(static) reduction(| : open)
    for (int64_t p = 0; p < n; p++) {
        const float *from = s->mesh->xyz + 3 * (int64_t)s->rings.vertex[p];
        s->far[p] = (lanes){from[0], from[1], from[2], 0};
        open |= s->rings.ring[p].balance != 0;
    }
    s->open = open;
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_mesh_smooth(const struct kf_work *work, struct kf_mesh *mesh, const struct kf_mesh_smooth *how)
{
    if (how->passes <= 0 || mesh->triangles == 0)
        return KF_KERNEL_OK;
    if (!(how->pass_band > 0 && how->pass_band < 1) || how->passes > KF_MESH_SMOOTH_PASSES_MOST)
        return KF_KERNEL_INVALID;
    struct smoother s = {.mesh = mesh, .how = how};
    double volume, area;
    enum kf_kernel_status status = smoother_make(work, &s);
    if (!status) {
        kf_mesh_measure(work, mesh, &volume, &area);
        status = run(work, &s, how->passes > DEGREE_LEAST ? how->passes : DEGREE_LEAST);
    }
    if (!status && how->keep_volume > 0 && !s.open)
        status = restore_volume(work, &s, volume);
    smoother_release(work, &s);
    return status;
}
