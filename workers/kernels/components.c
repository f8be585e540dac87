#include "workers/kernels/bits.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/sets.h"

#include <string.h>

#define ROOTLESS UINT32_MAX

// ---- runs ----

static int64_t count_runs(const uint64_t *row, int64_t words)
{
    int64_t runs = 0;
    uint64_t before = 0; // the top bit of the word before
    for (int64_t w = 0; w < words; w++) {
        uint64_t starts = row[w] & ~(row[w] << 1 | before);
        for (; starts; starts &= starts - 1)
            runs++;
        before = row[w] >> 63;
    }
    return runs;
}

static void list_runs(const uint64_t *row, int64_t words, int32_t *start, int32_t *end)
{
    int64_t ends = 0, starts = 0;
    uint64_t before = 0;
    for (int64_t w = 0; w < words; w++) {
        uint64_t shifted = row[w] << 1 | before;
        uint64_t begin = row[w] & ~shifted, stop = ~row[w] & shifted;
        for (; begin; begin &= begin - 1)
            start[starts++] = (int32_t)(64 * w + __builtin_ctzll(begin));
        for (; stop; stop &= stop - 1)
            end[ends++] = (int32_t)(64 * w + __builtin_ctzll(stop));
        before = row[w] >> 63;
    }
    if (ends < starts)
        end[ends] = (int32_t)(64 * words);
}

// ---- union-find over runs ----

// Joins the runs of two rows that touch; slack 1 counts diagonal neighbours.
static void unite_rows(struct kf_components *c, int64_t row_a, int64_t row_b, int32_t slack)
{
    int64_t a = c->row_first[row_a], a_end = c->row_first[row_a + 1];
    int64_t b = c->row_first[row_b], b_end = c->row_first[row_b + 1];
    while (a < a_end && b < b_end) {
        if (c->start[a] < c->end[b] + slack && c->start[b] < c->end[a] + slack)
            kf_set_join(c->component, (uint32_t)a, (uint32_t)b);
        if (c->end[a] < c->end[b])
            a++;
        else
            b++;
    }
}

// Joins row (j, k) with its earlier neighbours: in its slice, and in the slice before it when `below` is set.
static void unite_row(struct kf_components *c, const int64_t dim[3], enum kf_neighbours neighbours, int64_t j,
                      int64_t k, int in_slice, int below)
{
    int64_t row = j + k * dim[1];
    int32_t slack = neighbours == KF_NEIGHBOURS_26;
    if (in_slice && j > 0)
        unite_rows(c, row, row - 1, slack);
    if (!below || k == 0 || neighbours == KF_NEIGHBOURS_4)
        return;
    for (int64_t dj = -slack; dj <= slack; dj++)
        if (j + dj >= 0 && j + dj < dim[1])
            unite_rows(c, row, row + dj - dim[1], slack);
}

// 1: cancelled.
static int unite_all(const struct kf_work *work, struct kf_components *c, const int64_t dim[3],
                     enum kf_neighbours neighbours)
{
    struct kf_loop loop = kf_loop_make(work, dim[2], 0.3, 0.9);
    // Slabs of slices first, each on its own; the seams between slabs afterwards.
    int64_t slabs = work->threads < dim[2] ? work->threads : dim[2];
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int64_t s = 0; s < slabs; s++) {
        int64_t first = s * dim[2] / slabs, last = (s + 1) * dim[2] / slabs;
        for (int64_t k = first; k < last && !kf_loop_stop(&loop); k++)
            for (int64_t j = 0; j < dim[1]; j++)
                unite_row(c, dim, neighbours, j, k, 1, k > first);
    }
    for (int64_t s = 1; s < slabs; s++)
        for (int64_t j = 0; j < dim[1]; j++)
            unite_row(c, dim, neighbours, j, s * dim[2] / slabs, 0, 1);
    return loop.stop;
}

// ---- measures ----

// Turns parents into component numbers in order of first run; returns how many.
static int64_t number_components(struct kf_components *c)
{
    int64_t count = 0;
    for (int64_t r = 0; r < c->runs; r++) {
        uint32_t parent = c->component[r];
        // A parent comes before its run, so it already holds its number.
        c->component[r] = parent == (uint32_t)r ? (uint32_t)count++ : c->component[parent];
    }
    return count;
}

static void add_run(struct kf_component *t, int64_t i0, int64_t i1, int64_t j, int64_t k)
{
    int64_t n = i1 - i0;
    if (!t->voxels) {
        t->box[0][0] = (int32_t)i0;
        t->box[0][1] = (int32_t)j;
        t->box[0][2] = (int32_t)k;
    }
    t->voxels += n;
    t->sum[0] += (i0 + i1 - 1) * n / 2;
    t->sum[1] += j * n;
    t->sum[2] += k * n;
    const int32_t low[3] = {(int32_t)i0, (int32_t)j, (int32_t)k};
    const int32_t high[3] = {(int32_t)i1, (int32_t)j + 1, (int32_t)k + 1};
    for (int a = 0; a < 3; a++) {
        if (low[a] < t->box[0][a])
            t->box[0][a] = low[a];
        if (high[a] > t->box[1][a])
            t->box[1][a] = high[a];
    }
}

static void measure(struct kf_components *c, const int64_t dim[3])
{
    memset(c->table, 0, (size_t)c->count * sizeof *c->table);
    for (int64_t k = 0, row = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++, row++)
            for (int64_t r = c->row_first[row]; r < c->row_first[row + 1]; r++)
                add_run(&c->table[c->component[r]], c->start[r], c->end[r], j, k);
    for (int64_t n = 0; n < c->count; n++)
        for (int a = 0; a < 3; a++) {
            struct kf_component *t = &c->table[n];
            t->border |= (uint32_t)(t->box[0][a] == 0) << (2 * a) | (uint32_t)(t->box[1][a] == dim[a]) << (2 * a + 1);
        }
}

static enum kf_kernel_status collect_runs(const struct kf_work *work, const struct kf_bits *bits,
                                          struct kf_components *c)
{
    int64_t rows = bits->dim[1] * bits->dim[2];
    c->row_first = kf_work_take(work, (rows + 1) * (int64_t)sizeof *c->row_first);
    if (!c->row_first)
        return KF_KERNEL_NOMEM;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t r = 0; r < rows; r++)
        c->row_first[r + 1] = count_runs(bits->word + r * bits->words, bits->words);
    c->row_first[0] = 0;
    for (int64_t r = 0; r < rows; r++)
        c->row_first[r + 1] += c->row_first[r];
    c->runs = c->row_first[rows];
    if (c->runs >= ROOTLESS)
        return KF_KERNEL_TOO_LARGE;
    c->start = kf_work_take(work, c->runs * (int64_t)sizeof *c->start);
    c->end = kf_work_take(work, c->runs * (int64_t)sizeof *c->end);
    c->component = kf_work_take(work, c->runs * (int64_t)sizeof *c->component);
    if (!c->start || !c->end || !c->component)
        return KF_KERNEL_NOMEM;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        int64_t first = c->row_first[r];
        list_runs(bits->word + r * bits->words, bits->words, c->start + first, c->end + first);
        for (int64_t n = first; n < c->row_first[r + 1]; n++)
            c->component[n] = (uint32_t)n;
    }
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_components_find(const struct kf_work *work, const struct kf_bits *bits,
                                         enum kf_neighbours neighbours, struct kf_components *out)
{
    *out = (struct kf_components){0};
    enum kf_kernel_status status = collect_runs(work, bits, out);
    if (!status && unite_all(work, out, bits->dim, neighbours))
        status = KF_KERNEL_CANCELLED;
    if (!status) {
        out->count = number_components(out);
        out->table = kf_work_take(work, out->count * (int64_t)sizeof *out->table);
        status = out->table ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    }
    if (!status)
        measure(out, bits->dim);
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    if (status)
        kf_components_release(work, out);
    return status;
}

void kf_components_release(const struct kf_work *work, struct kf_components *c)
{
    kf_work_give(work, c->row_first);
    kf_work_give(work, c->start);
    kf_work_give(work, c->end);
    kf_work_give(work, c->component);
    kf_work_give(work, c->table);
    *c = (struct kf_components){0};
}

static void set_range(uint64_t *row, int64_t start, int64_t end)
{
    int64_t first = start / 64, last = (end - 1) / 64;
    uint64_t head = ~(uint64_t)0 << (start % 64), tail = ~(uint64_t)0 >> (63 - (end - 1) % 64);
    if (first == last) {
        row[first] |= head & tail;
        return;
    }
    row[first] |= head;
    for (int64_t w = first + 1; w < last; w++)
        row[w] = ~(uint64_t)0;
    row[last] |= tail;
}

void kf_components_draw(const struct kf_work *work, const struct kf_components *c, const uint8_t *keep,
                        struct kf_bits *bits)
{
    int64_t rows = bits->dim[1] * bits->dim[2];
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        uint64_t *row = bits->word + r * bits->words;
        memset(row, 0, (size_t)bits->words * sizeof *row);
        for (int64_t n = c->row_first[r]; n < c->row_first[r + 1]; n++)
            if (keep[c->component[n]])
                set_range(row, c->start[n], c->end[n]);
    }
}

// ---- what is built on components ----

enum kf_kernel_status kf_bits_drop_islands(const struct kf_work *work, struct kf_bits *bits,
                                           enum kf_neighbours neighbours, int64_t least, int64_t *dropped)
{
    if (dropped)
        *dropped = 0;
    struct kf_components c;
    enum kf_kernel_status status = kf_components_find(work, bits, neighbours, &c);
    if (status)
        return status;
    uint8_t *keep = kf_work_take(work, c.count);
    if (keep) {
        for (int64_t n = 0; n < c.count; n++) {
            keep[n] = c.table[n].voxels >= least;
            if (dropped)
                *dropped += !keep[n];
        }
        kf_components_draw(work, &c, keep, bits);
    }
    status = keep ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    kf_work_give(work, keep);
    kf_components_release(work, &c);
    return status;
}

static int any_in_range(const uint64_t *row, int64_t start, int64_t end)
{
    for (int64_t w = start / 64; w <= (end - 1) / 64; w++) {
        uint64_t word = row[w];
        if (w == start / 64)
            word &= ~(uint64_t)0 << (start % 64);
        if (w == (end - 1) / 64)
            word &= ~(uint64_t)0 >> (63 - (end - 1) % 64);
        if (word)
            return 1;
    }
    return 0;
}

enum kf_kernel_status kf_bits_hysteresis(const struct kf_work *work, struct kf_bits *bits, const struct kf_bits *seeds)
{
    struct kf_components c;
    enum kf_kernel_status status = kf_components_find(work, bits, KF_NEIGHBOURS_26, &c);
    if (status)
        return status;
    uint8_t *keep = kf_work_take(work, c.count);
    if (keep) {
        memset(keep, 0, (size_t)c.count);
        int64_t rows = bits->dim[1] * bits->dim[2];
        for (int64_t r = 0; r < rows; r++)
            for (int64_t n = c.row_first[r]; n < c.row_first[r + 1]; n++)
                if (!keep[c.component[n]] && any_in_range(seeds->word + r * bits->words, c.start[n], c.end[n]))
                    keep[c.component[n]] = 1;
        kf_components_draw(work, &c, keep, bits);
    }
    status = keep ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    kf_work_give(work, keep);
    kf_components_release(work, &c);
    return status;
}

enum kf_kernel_status kf_bits_fill_holes(const struct kf_work *work, struct kf_bits *bits,
                                         enum kf_neighbours neighbours, int64_t most, int64_t *filled)
{
    if (filled)
        *filled = 0;
    // Within a slice only its own four sides are a border.
    uint32_t sides = neighbours == KF_NEIGHBOURS_4 ? 0xf : 0x3f;
    struct kf_components c;
    kf_bits_invert(work, bits);
    enum kf_kernel_status status = kf_components_find(work, bits, neighbours, &c);
    uint8_t *keep = status ? NULL : kf_work_take(work, c.count);
    if (keep) {
        for (int64_t n = 0; n < c.count; n++) {
            int hole = !(c.table[n].border & sides) && (most <= 0 || c.table[n].voxels <= most);
            keep[n] = !hole;
            if (hole && filled)
                *filled += c.table[n].voxels;
        }
        kf_components_draw(work, &c, keep, bits);
    }
    kf_bits_invert(work, bits);
    if (!status && !keep)
        status = KF_KERNEL_NOMEM;
    kf_work_give(work, keep);
    kf_components_release(work, &c);
    return status;
}
