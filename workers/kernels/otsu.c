#include "workers/kernels/otsu.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/filter.h"

#include <math.h>
#include <string.h>

#define TABLES     4 // histograms of one thread, so that equal neighbours do not wait for each other
#define FLOAT_BINS 4096
#define LOCAL_BINS 256

// The best cut of counts[n], bin b standing for the value b: all up to the cut are the lower class. -1 when fewer than
// two bins are filled. Sums are whole numbers below 2^53, the variance is compared in doubles.
static int64_t best_cut(const int64_t *counts, int64_t n, double *separation)
{
    double total = 0, sum = 0, below = 0, sum_below = 0, best = 0;
    int64_t first = -1, last = -1;
    for (int64_t b = 0; b < n; b++) {
        total += (double)counts[b];
        sum += (double)b * (double)counts[b];
    }
    for (int64_t b = 0; b < n; b++) {
        if (counts[b] == 0) {
            if (first >= 0 && last == b - 1) // in a gap nothing changes: the cut may lie anywhere in it
                last = b;
            continue;
        }
        below += (double)counts[b];
        sum_below += (double)b * (double)counts[b];
        double above = total - below, moment = sum * below - sum_below * total;
        if (above == 0)
            break;
        double variance = moment * moment / (below * above);
        if (variance > best) {
            best = variance;
            first = last = b;
            if (separation)
                *separation = moment / (below * above);
        }
    }
    return first < 0 ? -1 : first + (last - first) / 2;
}

struct histogram {
    const struct kf_volume *in;
    int64_t plane;       // voxels of a slice
    double low, high;    // of values that count
    double least, scale; // bin = (value - least) · scale
    int64_t bins;
    uint32_t *own; // TABLES · bins per thread
};

static void count_i16(const int16_t *v, int64_t n, int64_t least, int64_t bins, uint32_t *own)
{
    uint32_t *a = own, *b = a + bins, *c = b + bins, *d = c + bins;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        a[v[i] - least]++;
        b[v[i + 1] - least]++;
        c[v[i + 2] - least]++;
        d[v[i + 3] - least]++;
    }
    for (; i < n; i++)
        a[v[i] - least]++;
}

static void count_slice(const struct histogram *h, int64_t k, uint32_t *own)
{
    if (h->in->type == KF_VOXEL_INT16) {
        count_i16((const int16_t *)h->in->data + k * h->plane, h->plane, (int64_t)h->least, h->bins, own);
    } else if (h->in->type == KF_VOXEL_UINT8) {
        const uint8_t *v = (const uint8_t *)h->in->data + k * h->plane;
        for (int64_t i = 0; i < h->plane; i++)
            own[i % TABLES * h->bins + v[i]]++;
    } else {
        const float *v = (const float *)h->in->data + k * h->plane;
        for (int64_t i = 0; i < h->plane; i++) {
            double value = (double)v[i];
            if (!(value >= h->low && value <= h->high))
                continue;
            int64_t bin = (int64_t)((value - h->least) * h->scale);
            own[i % TABLES * h->bins + (bin < h->bins ? bin : h->bins - 1)]++;
        }
    }
}

// Least and greatest value of a slice, within [low, high] for floats; least > greatest when there is none.
static void slice_range(const struct histogram *h, int64_t k, double range[2])
{
    if (h->in->type == KF_VOXEL_INT16) {
        int16_t least = INT16_MAX, most = INT16_MIN;
        kf_filters()->range_i16((const int16_t *)h->in->data + k * h->plane, h->plane, &least, &most);
        range[0] = least;
        range[1] = most;
        return;
    }
    const float *v = (const float *)h->in->data + k * h->plane;
    range[0] = INFINITY;
    range[1] = -INFINITY;
    for (int64_t i = 0; i < h->plane; i++) {
        double value = (double)v[i];
        if (value >= h->low && value <= h->high) {
            range[0] = value < range[0] ? value : range[0];
            range[1] = value > range[1] ? value : range[1];
        }
    }
}

static enum kf_kernel_status find_range(const struct kf_work *work, struct histogram *h)
{
    int64_t slices = h->in->grid.dim[2];
    h->least = 0;
    h->scale = 1;
    h->bins = 256;
    if (h->in->type == KF_VOXEL_UINT8)
        return KF_KERNEL_OK;
    double(*range)[2] = kf_work_take(work, slices * (int64_t)sizeof *range);
    if (!range)
        return KF_KERNEL_NOMEM;
    struct kf_loop loop = kf_loop_make(work, slices, 0, 0.3);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < slices; k++)
        if (!kf_loop_stop(&loop))
            slice_range(h, k, range[k]);
    if (loop.stop) {
        kf_work_give(work, range);
        return KF_KERNEL_CANCELLED;
    }
    double least = range[0][0], most = range[0][1];
    for (int64_t k = 1; k < slices; k++) {
        least = range[k][0] < least ? range[k][0] : least;
        most = range[k][1] > most ? range[k][1] : most;
    }
    kf_work_give(work, range);
    if (!(least < most))
        return KF_KERNEL_INVALID;
    h->least = least;
    h->bins = h->in->type == KF_VOXEL_INT16 ? (int64_t)(most - least) + 1 : FLOAT_BINS;
    h->scale = h->in->type == KF_VOXEL_INT16 ? 1 : FLOAT_BINS / (most - least);
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_otsu(const struct kf_work *work, const struct kf_volume *in, double low, double high,
                              double *threshold)
{
    *threshold = 0;
    if (in->type == KF_VOXEL_UINT16 || !(low <= high))
        return KF_KERNEL_INVALID;
    // Infinite voxels have no place in a range of floats.
    struct histogram h = {.in = in, .plane = in->grid.dim[0] * in->grid.dim[1]};
    h.low = low > -3.4e38 ? low : -3.4e38;
    h.high = high < 3.4e38 ? high : 3.4e38;
    enum kf_kernel_status status = find_range(work, &h);
    if (status)
        return status;
    int64_t threads = work->threads, share = TABLES * h.bins, slices = in->grid.dim[2];
    h.own = kf_work_take(work, threads * share * (int64_t)sizeof *h.own);
    int64_t *counts = kf_work_take(work, h.bins * (int64_t)sizeof *counts);
    if (h.own && counts) {
        struct kf_loop loop = kf_loop_make(work, slices, 0.3, 1);
        memset(h.own, 0, (size_t)(threads * share) * sizeof *h.own);
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
        for (int64_t b = 0; b < threads; b++)
            for (int64_t k = b * slices / threads; k < (b + 1) * slices / threads && !kf_loop_stop(&loop); k++)
                count_slice(&h, k, h.own + b * share);
        for (int64_t bin = 0; bin < h.bins; bin++) {
            double value = h.least + (double)bin / h.scale;
            counts[bin] = 0;
            for (int64_t t = 0; t < threads * TABLES; t++)
                counts[bin] += h.own[t * h.bins + bin];
            if (in->type != KF_VOXEL_FLOAT32 && (value < low || value > high))
                counts[bin] = 0;
        }
        int64_t cut = best_cut(counts, h.bins, NULL);
        if (loop.stop)
            status = KF_KERNEL_CANCELLED;
        else if (cut < 0)
            status = KF_KERNEL_INVALID;
        else
            *threshold = h.least + (double)(in->type == KF_VOXEL_FLOAT32 ? cut + 1 : cut) / h.scale;
    } else {
        status = KF_KERNEL_NOMEM;
    }
    kf_work_give(work, counts);
    kf_work_give(work, h.own);
    return !status && kf_work_step(work, 1) ? KF_KERNEL_CANCELLED : status;
}

// ---- local ----

struct local {
    const struct kf_volume *in;
    double low, step; // of a bin
    int64_t cell[3];  // voxels
    int64_t count[3]; // cells
    uint32_t *own;    // LOCAL_BINS per cell
    float *threshold; // per cell
    float *rows;      // per thread, two
    int32_t *first;   // per voxel of a row: the cell centre before it, and the weight of the next
    float *weight;
};

static void read_row(const struct kf_volume *in, int64_t j, int64_t k, float *row)
{
    int64_t n = in->grid.dim[0], at = (j + k * in->grid.dim[1]) * n;
    if (in->type == KF_VOXEL_INT16)
        kf_kernels()->i16_f32((const int16_t *)in->data + at, n, row);
    else
        memcpy(row, (const float *)in->data + at, (size_t)n * sizeof *row);
}

// Histograms of the cells of layer ck.
static void count_layer(const struct local *l, int64_t ck, float *row)
{
    const int64_t *dim = l->in->grid.dim;
    float low = (float)l->low, scale = (float)(1 / l->step);
    int64_t end = (ck + 1) * l->cell[2] < dim[2] ? (ck + 1) * l->cell[2] : dim[2];
    for (int64_t k = ck * l->cell[2]; k < end; k++)
        for (int64_t j = 0; j < dim[1]; j++) {
            uint32_t *cells = l->own + (ck * l->count[1] + j / l->cell[1]) * l->count[0] * LOCAL_BINS;
            read_row(l->in, j, k, row);
            for (int64_t i = 0; i < dim[0]; i++) {
                float bin = (row[i] - low) * scale;
                bin = bin > 0 ? bin : 0; // and NaN
                row[i] = bin < LOCAL_BINS - 1 ? bin : LOCAL_BINS - 1;
            }
            for (int64_t start = 0; start < dim[0]; start += l->cell[0], cells += LOCAL_BINS) {
                int64_t stop = start + l->cell[0] < dim[0] ? start + l->cell[0] : dim[0];
                for (int64_t i = start; i < stop; i++)
                    cells[(int)row[i]]++;
            }
        }
}

static float cell_threshold(const struct local *l, int64_t cut)
{
    return (float)(l->low + (double)(cut + 1) * l->step);
}

// From the window of 3×3×3 cells around a cell.
static void window_threshold(const struct local *l, const int64_t c[3], double contrast, float otherwise)
{
    uint32_t sums[LOCAL_BINS] = {0};
    int64_t counts[LOCAL_BINS];
    for (int64_t z = c[2] - 1; z <= c[2] + 1; z++)
        for (int64_t y = c[1] - 1; y <= c[1] + 1; y++)
            for (int64_t x = c[0] - 1; x <= c[0] + 1; x++) {
                if (x < 0 || y < 0 || z < 0 || x >= l->count[0] || y >= l->count[1] || z >= l->count[2])
                    continue;
                const uint32_t *own = l->own + (x + l->count[0] * (y + l->count[1] * z)) * LOCAL_BINS;
                for (int b = 0; b < LOCAL_BINS; b++)
                    sums[b] += own[b];
            }
    for (int b = 0; b < LOCAL_BINS; b++)
        counts[b] = sums[b];
    double apart = 0;
    int64_t cut = best_cut(counts, LOCAL_BINS, &apart);
    l->threshold[c[0] + l->count[0] * (c[1] + l->count[1] * c[2])] =
        cut >= 0 && apart * l->step >= contrast ? cell_threshold(l, cut) : otherwise;
}

// Where a voxel lies between cell centres: *first and *first + 1 with weight *t of the second.
static void place_between(int64_t at, int64_t cell, int64_t count, int64_t *first, float *t)
{
    double x = ((double)at + 0.5) / (double)cell - 0.5;
    x = x < 0 ? 0 : x > (double)(count - 1) ? (double)(count - 1) : x;
    *first = (int64_t)x < count - 1 ? (int64_t)x : count > 1 ? count - 2 : 0;
    *t = count > 1 ? (float)(x - (double)*first) : 0;
}

// The row's thresholds at cell centres along i to nodes, then voxel by voxel. rows: two of dim[0] + 2 floats.
static void compare_row(const struct local *l, int64_t j, int64_t k, float *rows, struct kf_bits *bits)
{
    int64_t n = l->in->grid.dim[0], cells = l->count[0], fy, fz;
    float ty, tz, *nodes = rows, *value = rows + n + 2;
    place_between(j, l->cell[1], l->count[1], &fy, &ty);
    place_between(k, l->cell[2], l->count[2], &fz, &tz);
    int64_t next_y = l->count[1] > 1 ? cells : 0, next_z = l->count[2] > 1 ? cells * l->count[1] : 0;
    const float *t = l->threshold + cells * (fy + l->count[1] * fz);
    for (int64_t c = 0; c < cells; c++) {
        float a = t[c] + ty * (t[c + next_y] - t[c]);
        float b = t[c + next_z] + ty * (t[c + next_y + next_z] - t[c + next_z]);
        nodes[c] = a + tz * (b - a);
    }
    read_row(l->in, j, k, value);
    for (int64_t i = 0; i < n;) {
        int32_t first = l->first[i];
        float from = nodes[first], rise = cells > 1 ? nodes[first + 1] - from : 0;
        int64_t stop = i + 1; // all voxels between the same two centres
        while (stop < n && l->first[stop] == first)
            stop++;
        for (; i < stop; i++)
            value[i] = value[i] - (from + l->weight[i] * rise);
    }
    kf_kernels()->bits_f32(value, n, 0x1p-149f, INFINITY, kf_bits_row(bits, j, k));
}

static enum kf_kernel_status local_thresholds(const struct kf_work *work, const struct local *l, double contrast)
{
    int64_t cells = l->count[0] * l->count[1] * l->count[2], layer = l->count[0] * l->count[1];
    memset(l->own, 0, (size_t)(cells * LOCAL_BINS) * sizeof *l->own);
    int64_t threads = work->threads, line = l->in->grid.dim[0] + 2;
    struct kf_loop loop = kf_loop_make(work, l->count[2], 0, 0.4);
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
    for (int64_t b = 0; b < threads; b++)
        for (int64_t ck = b; ck < l->count[2] && !kf_loop_stop(&loop); ck += threads)
            count_layer(l, ck, l->rows + 2 * b * line);
    if (loop.stop)
        return KF_KERNEL_CANCELLED;
    int64_t counts[LOCAL_BINS] = {0};
    for (int64_t c = 0; c < cells * LOCAL_BINS; c++)
        counts[c % LOCAL_BINS] += l->own[c];
    int64_t cut = best_cut(counts, LOCAL_BINS, NULL);
    if (cut < 0)
        return KF_KERNEL_INVALID;
    float otherwise = cell_threshold(l, cut);
    struct kf_loop windows = kf_loop_make(work, cells, 0.4, 0.5);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t c = 0; c < cells; c++) {
        if (kf_loop_stop(&windows))
            continue;
        const int64_t at[3] = {c % l->count[0], c % layer / l->count[0], c / layer};
        window_threshold(l, at, contrast, otherwise);
    }
    return windows.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

enum kf_kernel_status kf_otsu_local(const struct kf_work *work, const struct kf_volume *in, double window_mm,
                                    double low, double high, double contrast, struct kf_bits *bits)
{
    const int64_t *dim = in->grid.dim;
    if ((in->type != KF_VOXEL_INT16 && in->type != KF_VOXEL_FLOAT32) || !(low < high) || !(contrast >= 0) ||
        !(high - low < 1e9) || memcmp(dim, bits->dim, sizeof bits->dim) != 0)
        return KF_KERNEL_INVALID;
    struct local l = {.in = in, .low = low, .step = (high - low) / LOCAL_BINS};
    int64_t cells = 1;
    for (int a = 0; a < 3; a++) {
        double cell = window_mm / 3 / in->grid.spacing_mm[a];
        if (!(cell >= 1 && cell < 1e6))
            return KF_KERNEL_INVALID;
        l.cell[a] = (int64_t)(cell + 0.5);
        l.count[a] = (dim[a] + l.cell[a] - 1) / l.cell[a];
        cells *= l.count[a];
    }
    int64_t threads = work->threads, line = dim[0] + 2;
    l.own = kf_work_take(work, cells * LOCAL_BINS * (int64_t)sizeof *l.own);
    l.threshold = kf_work_take(work, cells * (int64_t)sizeof *l.threshold);
    l.rows = kf_work_take(work, (2 * threads + 2) * line * (int64_t)sizeof *l.rows);
    enum kf_kernel_status status = KF_KERNEL_NOMEM;
    if (l.own && l.threshold && l.rows) {
        l.weight = l.rows + 2 * threads * line;
        l.first = (int32_t *)(void *)(l.weight + line);
        for (int64_t i = 0; i < dim[0]; i++) {
            int64_t first;
            place_between(i, l.cell[0], l.count[0], &first, &l.weight[i]);
            l.first[i] = (int32_t)first;
        }
        status = local_thresholds(work, &l, contrast);
    }
    if (!status) {
        struct kf_loop loop = kf_loop_make(work, dim[2], 0.5, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static, 1)
        for (int64_t b = 0; b < threads; b++)
            for (int64_t k = b * dim[2] / threads; k < (b + 1) * dim[2] / threads && !kf_loop_stop(&loop); k++)
                for (int64_t j = 0; j < dim[1]; j++)
                    compare_row(&l, j, k, l.rows + 2 * b * line, bits);
        if (loop.stop || kf_work_step(work, 1))
            status = KF_KERNEL_CANCELLED;
    }
    kf_work_give(work, l.rows);
    kf_work_give(work, l.threshold);
    kf_work_give(work, l.own);
    return status;
}
