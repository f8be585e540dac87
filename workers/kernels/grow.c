// Cost and label share a word, so the lesser word is the better one and a voxel's state is the minimum over its
// neighbours of (their state + cost of the step): the one fixed point, however it is reached. So it is reached the way
// that memory likes: the volume is cut into tiles that fit into the first cache, and a tile is swept there and back,
// row by row, until it is still; then the rows of other tiles that touch what changed are due. Tiles that do not touch
// each other are swept at the same time. Seeds are the voxels of cost 0, so the state also remembers which seeds it was
// made from.
#include "workers/kernels/grow.h"
#include "workers/kernels/grow_rows.h"
#include "workers/kernels/queue.h"

#include <string.h>

#define COST_ONE 0x100u
#define EDGE     8 // rows of a tile along j and along k, so that a word has a bit for each: j + 8·k
#define STEP_EVERY 0xffffff // voxels that are only looked at
#define NEAR_EVERY 0x3fff   // voxels whose neighbours are, which lie anywhere
#define COLOURS  8 // tiles of one parity along all axes touch no other of theirs

// Row directions: n is (n % 3 - 1, n / 3 - 1) along j and k; SAME is the row itself.
#define AWAYS 9
#define SAME  4

struct tile {
    uint64_t due[AWAYS];           // rows whose neighbour in that direction changed since they were looked at
    uint64_t changed, first, last; // by the sweep just made: rows; rows whose first, whose last voxel changed
    uint32_t key;                  // the least state that made rows due
    uint32_t least;                // the least state that the sweep just made changed
};

struct grow {
    const int16_t *image;
    uint32_t *state;
    int64_t dim[3], voxels, tiles[3];
    int neighbours;
    int8_t away[26][3];
    int64_t step[26];
    struct tile *tile;
    int64_t *list;     // of the tiles that are swept together
    int64_t forgotten; // voxels, so far
};

static void list_neighbours(struct grow *g, enum kf_neighbours kind)
{
    for (int n = 0; n < 27; n++) {
        const int d[3] = {n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1};
        int steps = (d[0] != 0) + (d[1] != 0) + (d[2] != 0);
        if (steps == 0 || (kind == KF_NEIGHBOURS_6 && steps > 1))
            continue;
        for (int a = 0; a < 3; a++)
            g->away[g->neighbours][a] = (int8_t)d[a];
        g->step[g->neighbours++] = d[0] + g->dim[0] * (d[1] + g->dim[1] * d[2]);
    }
}

// The neighbours of v that lie in the volume; at most 26.
static inline int neighbours_of(const struct grow *g, int64_t v, int64_t near[26])
{
    uint32_t row = (uint32_t)v / (uint32_t)g->dim[0];
    int64_t i = v - (int64_t)row * g->dim[0], k = row / (uint32_t)g->dim[1], j = row - k * g->dim[1];
    if (i > 0 && i + 1 < g->dim[0] && j > 0 && j + 1 < g->dim[1] && k > 0 && k + 1 < g->dim[2]) {
        for (int n = 0; n < g->neighbours; n++)
            near[n] = v + g->step[n];
        return g->neighbours;
    }
    int count = 0;
    for (int n = 0; n < g->neighbours; n++) {
        int64_t x = i + g->away[n][0], y = j + g->away[n][1], z = k + g->away[n][2];
        if (x >= 0 && x < g->dim[0] && y >= 0 && y < g->dim[1] && z >= 0 && z < g->dim[2])
            near[count++] = v + g->step[n];
    }
    return count;
}

static inline uint32_t step_cost(const struct grow *g, int64_t u, int64_t v)
{
    int d = g->image[u] - g->image[v];
    return (uint32_t)((d < 0 ? -d : d) + 1) * COST_ONE;
}

// state + cost, or KF_GROW_FAR when that is too much.
static inline uint32_t add_cost(uint32_t state, uint32_t cost)
{
    uint32_t sum = state + cost;
    return sum < state || sum >= (KF_GROW_FAR & ~0xffu) ? KF_GROW_FAR : sum;
}

// ---- tiles ----

static uint64_t due_rows(const struct tile *tile)
{
    uint64_t due = 0;
    for (int n = 0; n < AWAYS; n++)
        due |= tile->due[n];
    return due;
}

// Where `rows` come to lie when they step to their neighbours in a direction, seen from the tile that lies `over` (0 or
// the direction itself) away along that axis; `width` is 1 along j and EDGE along k.
static uint64_t step_rows(uint64_t rows, int direction, int over, int width)
{
    uint64_t low = width == 1 ? 0x0101010101010101u : 0xff, high = low << (width * (EDGE - 1));
    if (direction == 0)
        return rows;
    if (over)
        return direction > 0 ? (rows & high) >> (width * (EDGE - 1)) : (rows & low) << (width * (EDGE - 1));
    return direction > 0 ? (rows & ~high) << width : (rows & ~low) >> width;
}

// 6 neighbours: rows that differ in one step.
static inline int is_neighbour(const struct grow *g, int i, int n)
{
    int steps = (i != 0) + (n % 3 != 1) + (n / 3 != 1);
    return steps > 0 && (steps == 1 || g->neighbours > 6);
}

// Rows of the tile itself that touch a row that changed.
static inline void make_due_within(const struct grow *g, struct tile *tile, uint64_t rows)
{
    for (int n = 0; n < AWAYS; n++)
        if (is_neighbour(g, 0, n))
            tile->due[AWAYS - 1 - n] |= step_rows(step_rows(rows, n % 3 - 1, 0, 1), n / 3 - 1, 0, EDGE);
}

// Rows of other tiles that touch what the tile at at[] changed.
static void make_due(struct grow *g, const int64_t at[3], const struct tile *changed)
{
    for (int n = 0; n < 27; n++) {
        const int over[3] = {n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1};
        uint64_t rows = over[0] < 0 ? changed->first : over[0] > 0 ? changed->last : changed->changed, any = 0;
        int64_t to[3], out = n == 13 || !rows;
        for (int a = 0; a < 3; a++) {
            to[a] = at[a] + over[a];
            out |= to[a] < 0 || to[a] >= g->tiles[a];
        }
        if (out)
            continue;
        struct tile *tile = &g->tile[to[0] + g->tiles[0] * (to[1] + g->tiles[1] * to[2])];
        int had = due_rows(tile) != 0;
        for (int d = 0; d < AWAYS; d++) {
            int j = d % 3 - 1, k = d / 3 - 1;
            if ((over[1] && over[1] != j) || (over[2] && over[2] != k) || !is_neighbour(g, over[0], d))
                continue;
            uint64_t due = step_rows(step_rows(rows, j, over[1], 1), k, over[2], EDGE);
            tile->due[AWAYS - 1 - d] |= due;
            any |= due;
        }
        if (any)
            tile->key = had && tile->key < changed->least ? tile->key : changed->least;
    }
}

static void tile_place(const struct grow *g, int64_t t, int64_t at[3])
{
    at[0] = t % g->tiles[0];
    at[1] = t / g->tiles[0] % g->tiles[1];
    at[2] = t / g->tiles[0] / g->tiles[1];
}

static inline void offer(struct grow *g, int64_t v, uint32_t state)
{
    if (state >= g->state[v])
        return;
    g->state[v] = state;
    uint32_t line = (uint32_t)v / (uint32_t)g->dim[0], k = line / (uint32_t)g->dim[1],
             j = line - k * (uint32_t)g->dim[1];
    int64_t i = v - (int64_t)line * g->dim[0];
    const int64_t at[3] = {i / KF_GROW_ROW, j / EDGE, k / EDGE};
    uint64_t row = (uint64_t)1 << (j % EDGE + EDGE * (k % EDGE));
    const struct tile one = {.changed = row,
                             .first = i % KF_GROW_ROW == 0 ? row : 0,
                             .last = i % KF_GROW_ROW == KF_GROW_ROW - 1 ? row : 0,
                             .least = state};
    struct tile *tile = &g->tile[at[0] + g->tiles[0] * (at[1] + g->tiles[1] * at[2])];
    tile->key = due_rows(tile) && tile->key < state ? tile->key : state;
    tile->due[SAME] |= row;
    make_due_within(g, tile, row);
    make_due(g, at, &one);
}

// The row `number` of a tile, and in away[] those neighbours that changed since it was looked at; 0 when it is not in
// the volume. Nothing is due there from then on.
static int take_row(const struct grow *g, struct tile *tile, const int64_t tile_at[3], int number, int64_t away[8],
                    struct kf_grow_row *row)
{
    int64_t i = tile_at[0] * KF_GROW_ROW, j = tile_at[1] * EDGE + number % EDGE, k = tile_at[2] * EDGE + number / EDGE;
    int64_t first = i + g->dim[0] * (j + g->dim[1] * k);
    int64_t count = g->dim[0] - i < KF_GROW_ROW ? g->dim[0] - i : KF_GROW_ROW;
    uint64_t bit = (uint64_t)1 << number;
    int inside = j < g->dim[1] && k < g->dim[2];
    *row = (struct kf_grow_row){.count = count,
                                .before = i > 0,
                                .after = i + count<g->dim[0], .wide = g->neighbours> 6,
                                .itself = (tile->due[SAME] & bit) != 0,
                                .away = away};
    for (int n = 0; n < AWAYS; n++) {
        if (n != SAME && tile->due[n] & bit)
            away[row->rows++] = g->dim[0] * (n % 3 - 1 + g->dim[1] * (n / 3 - 1));
        tile->due[n] &= ~bit;
    }
    if (inside) {
        row->state = g->state + first;
        row->image = g->image + first;
    }
    return inside;
}

// There and back until no row is due. Rows go up in memory and then down, so that a path that turns once is found in
// one round.
static void sweep(const struct grow *g, int64_t t, kf_grow_row_update update)
{
    struct tile *tile = g->tile + t;
    struct kf_grow_row row;
    int64_t at[3], away[8];
    uint64_t due = due_rows(tile);
    tile_place(g, t, at);
    tile->changed = tile->first = tile->last = 0;
    tile->least = UINT32_MAX;
    for (int down = 0; due; down = !down, due = due_rows(tile))
        while (due) {
            int number = down ? 63 - __builtin_clzll(due) : __builtin_ctzll(due);
            uint64_t bit = (uint64_t)1 << number, ahead = down ? bit - 1 : ~(bit | (bit - 1));
            unsigned what = take_row(g, tile, at, number, away, &row) ? update(&row, &tile->least) : 0;
            if (what) {
                make_due_within(g, tile, bit);
                tile->changed |= bit;
                tile->first |= what & KF_GROW_FIRST ? bit : 0;
                tile->last |= what & KF_GROW_LAST ? bit : 0;
            }
            due = due_rows(tile) & ahead;
        }
}

// Tiles of one colour with rows due by a state of at most `most`.
static int64_t list_due(struct grow *g, int colour, uint32_t most)
{
    int64_t count = 0;
    for (int64_t k = colour >> 2; k < g->tiles[2]; k += 2)
        for (int64_t j = colour >> 1 & 1; j < g->tiles[1]; j += 2)
            for (int64_t i = colour & 1; i < g->tiles[0]; i += 2) {
                int64_t t = i + g->tiles[0] * (j + g->tiles[1] * k);
                if (g->tile[t].key <= most && due_rows(&g->tile[t]))
                    g->list[count++] = t;
            }
    return count;
}

// About what a path pays for one step, from a sample of steps along rows.
static uint32_t usual_step(const struct grow *g)
{
    int64_t sum = 0, count = 0, stride = 1 + g->voxels / 50021;
    for (int64_t v = 1; v < g->voxels; v += stride, count++)
        sum += step_cost(g, v, v - 1);
    int64_t step = count ? sum / count : 0;
    return step < KF_GROW_FAR / 2 ? (uint32_t)step : KF_GROW_FAR / 2;
}

// What costs least goes first, or most tiles would be swept for paths that are beaten later.
static enum kf_kernel_status settle(const struct kf_work *work, struct grow *g)
{
    kf_grow_row_update update = kf_grow_rows();
    int64_t all = g->tiles[0] * g->tiles[1] * g->tiles[2], swept = 0;
    uint32_t step = usual_step(g);
    for (;;) {
        uint32_t most = KF_GROW_FAR;
        for (int64_t t = 0; t < all; t++)
            most = g->tile[t].key < most && due_rows(&g->tile[t]) ? g->tile[t].key : most;
        if (most == KF_GROW_FAR)
            return KF_KERNEL_OK;
        most = most < KF_GROW_FAR - step ? most + step : KF_GROW_FAR;
        for (int colour = 0; colour < COLOURS; colour++) {
            int64_t count = list_due(g, colour, most);
            double done = (double)swept / (double)(swept + all);
            struct kf_loop loop = kf_loop_make(work, count, done, done);
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1) if (count > 1)
            for (int64_t n = 0; n < count; n++)
                if (!kf_loop_stop(&loop))
                    sweep(g, g->list[n], update);
            if (loop.stop)
                return KF_KERNEL_CANCELLED;
            for (int64_t n = 0; n < count; n++) {
                int64_t at[3];
                tile_place(g, g->list[n], at);
                make_due(g, at, g->tile + g->list[n]);
            }
            swept += count;
        }
        if (kf_work_step(work, (double)swept / (double)(swept + all)))
            return KF_KERNEL_CANCELLED;
    }
}

// ---- seeds that went away ----

// Forgets v and everything that may owe its state to it. A state that has another reason too is found again.
static enum kf_kernel_status forget_from(const struct kf_work *work, struct grow *g, struct kf_queue *lists,
                                         int64_t seed)
{
    enum { WAITING, FORGOTTEN };
    int64_t near[26];
    uint32_t v, state;
    kf_queue_push(lists, WAITING, (uint32_t)seed);
    kf_queue_push(lists, WAITING, g->state[seed]);
    g->state[seed] = KF_GROW_FAR;
    while (!lists->failed && kf_queue_pop(lists, WAITING, &v) && kf_queue_pop(lists, WAITING, &state)) {
        kf_queue_push(lists, FORGOTTEN, v);
        if ((++g->forgotten & NEAR_EVERY) == 0 && kf_work_step(work, 0))
            return KF_KERNEL_CANCELLED;
        int count = neighbours_of(g, v, near);
        for (int n = 0; n < count; n++) {
            uint32_t have = g->state[near[n]];
            if (have == KF_GROW_FAR || have != add_cost(state, step_cost(g, v, near[n])))
                continue;
            kf_queue_push(lists, WAITING, (uint32_t)near[n]);
            kf_queue_push(lists, WAITING, have);
            g->state[near[n]] = KF_GROW_FAR;
        }
    }
    return lists->failed ? KF_KERNEL_NOMEM : KF_KERNEL_OK;
}

// Each forgotten voxel takes what its neighbours still know.
static enum kf_kernel_status remember(const struct kf_work *work, struct grow *g, struct kf_queue *lists)
{
    int64_t near[26], remembered = 0;
    uint32_t v;
    while (kf_queue_pop(lists, 1, &v)) {
        if ((++remembered & NEAR_EVERY) == 0 && kf_work_step(work, 0))
            return KF_KERNEL_CANCELLED;
        uint32_t best = KF_GROW_FAR;
        int count = neighbours_of(g, v, near);
        for (int n = 0; n < count; n++) {
            uint32_t have = g->state[near[n]];
            uint32_t sum = have == KF_GROW_FAR ? have : add_cost(have, step_cost(g, v, near[n]));
            best = sum < best ? sum : best;
        }
        offer(g, v, best);
    }
    return KF_KERNEL_OK;
}

static enum kf_kernel_status take_away(const struct kf_work *work, struct grow *g, const uint8_t *seeds)
{
    struct kf_queue lists;
    enum kf_kernel_status status = kf_queue_init(&lists, work, 2) ? KF_KERNEL_NOMEM : KF_KERNEL_OK;
    for (int64_t v = 0; v < g->voxels && !status; v++) {
        if (g->state[v] < COST_ONE && seeds[v] != g->state[v])
            status = forget_from(work, g, &lists, v);
        if (!status && (v & STEP_EVERY) == STEP_EVERY && kf_work_step(work, 0))
            status = KF_KERNEL_CANCELLED;
    }
    if (!status)
        status = remember(work, g, &lists);
    kf_queue_release(&lists);
    return status;
}

static enum kf_kernel_status run(const struct kf_work *work, struct grow *g, const uint8_t *seeds)
{
    enum kf_kernel_status status = take_away(work, g, seeds);
    if (status)
        return status;
    for (int64_t v = 0; v < g->voxels; v++) {
        if (seeds[v])
            offer(g, v, seeds[v]);
        if ((v & STEP_EVERY) == STEP_EVERY && kf_work_step(work, 0))
            return KF_KERNEL_CANCELLED;
    }
    return settle(work, g);
}

static enum kf_kernel_status make_tiles(const struct kf_work *work, struct grow *g)
{
    g->tiles[0] = (g->dim[0] + KF_GROW_ROW - 1) / KF_GROW_ROW;
    g->tiles[1] = (g->dim[1] + EDGE - 1) / EDGE;
    g->tiles[2] = (g->dim[2] + EDGE - 1) / EDGE;
    int64_t all = g->tiles[0] * g->tiles[1] * g->tiles[2];
    g->tile = kf_work_take(work, all * (int64_t)sizeof *g->tile);
    g->list = kf_work_take(work, all * (int64_t)sizeof *g->list);
    if (!g->tile || !g->list)
        return KF_KERNEL_NOMEM;
    memset(g->tile, 0, (size_t)all * sizeof *g->tile);
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_grow(const struct kf_work *work, const struct kf_volume *image, enum kf_neighbours neighbours,
                              const uint8_t *seeds, uint32_t *state, uint8_t *labels)
{
    const int64_t *dim = image->grid.dim;
    struct grow g = {.image = image->data, .state = state, .dim = {dim[0], dim[1], dim[2]}};
    g.voxels = kf_grid_voxels(&image->grid);
    if (image->type != KF_VOXEL_INT16 || (neighbours != KF_NEIGHBOURS_6 && neighbours != KF_NEIGHBOURS_26))
        return KF_KERNEL_INVALID;
    if (g.voxels >= KF_QUEUE_NONE)
        return KF_KERNEL_TOO_LARGE;
    list_neighbours(&g, neighbours);
    enum kf_kernel_status status = make_tiles(work, &g);
    if (!status)
        status = run(work, &g, seeds);
    kf_work_give(work, g.tile);
    kf_work_give(work, g.list);
    if (!status && labels) {
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t v = 0; v < g.voxels; v++)
            labels[v] = state[v] == KF_GROW_FAR ? 0 : (uint8_t)state[v];
    }
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    return status;
}
