#include "workers/kernels/surface.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/surface_cells.h"
#include "workers/kernels/surface_pass.h"

#include <string.h>

// ---- the case table ----

// The corners of face f, counter-clockwise seen from outside of the cell.
static void face_corners(int f, int corner[4])
{
    kf_face_corners(f, corner);
    if (f % 2 == 0)
        for (int a = 0, b = 3; a < b; a++, b--) {
            int keep = corner[a];
            corner[a] = corner[b];
            corner[b] = keep;
        }
}

// next[e] = the edge that the polygon through edge e goes to, walking so that inside lies on the left seen from outside
// of the cell; 255 for edges that do not cross. Walking a face's rim counter-clockwise, a polygon enters the face
// where the rim leaves the inside and goes to where it comes back: that joins inside corners on ambiguous faces.
static void link_edges(unsigned code, uint8_t next[12])
{
    memset(next, 255, 12);
    for (int f = 0; f < 6; f++) {
        int corner[4], edge[4], leaves[4], count = 0;
        face_corners(f, corner);
        for (int q = 0; q < 4; q++) {
            int a = corner[q], b = corner[(q + 1) % 4];
            unsigned in_a = code >> a & 1, in_b = code >> b & 1;
            if (in_a != in_b) {
                edge[count] = kf_cell_edge(a, b);
                leaves[count++] = (int)in_a;
            }
        }
        for (int n = 0; n < count; n++)
            if (leaves[n])
                next[edge[n]] = (uint8_t)edge[(n + 1) % count];
    }
}

// 1 when both edges lie on one face of the cell: a cut between them would lie in that face, where the neighbour
// cell may cut too.
static int share_face(int a, int b)
{
    for (int f = 0; f < 6; f++) {
        int corner[4], found = 0;
        face_corners(f, corner);
        for (int q = 0; q < 4; q++) {
            int e = kf_cell_edge(corner[q], corner[(q + 1) % 4]);
            found += (e == a) + (e == b);
        }
        if (found == 2)
            return 1;
    }
    return 0;
}

// Cuts the polygon edge[0…n-1] into triangles without a cut along a face; returns their number, or -1 when there is
// no such way. The side (0, n-1) belongs to the triangle (0, m, n-1); the two rests are cut in turn.
static int cut_polygon(const uint8_t *edge, int n, uint8_t *out)
{
    if (n < 3)
        return 0;
    for (int m = 1; m < n - 1; m++) {
        if ((m > 1 && share_face(edge[0], edge[m])) || (m < n - 2 && share_face(edge[m], edge[n - 1])))
            continue;
        int left = cut_polygon(edge, m + 1, out);
        if (left < 0)
            continue;
        int right = cut_polygon(edge + m, n - m, out + 3 * left);
        if (right < 0)
            continue;
        uint8_t *last = out + 3 * (left + right);
        last[0] = edge[0];
        last[1] = edge[m];
        last[2] = edge[n - 1];
        return left + right + 1;
    }
    return -1;
}

// All 256 cases; microseconds, so that nothing generated is kept and nothing is shared between threads.
// `mirrored` turns every triangle.
static enum kf_kernel_status make_table(int mirrored, struct kf_surface_table *table)
{
    *table = (struct kf_surface_table){0};
    for (unsigned code = 0; code < 256; code++) {
        uint8_t next[12], polygon[12], triangles[36];
        int total = 0;
        link_edges(code, next);
        for (int start = 0; start < 12; start++) {
            int n = 0;
            for (int e = start; next[e] != 255;) {
                polygon[n++] = (uint8_t)e;
                int then = next[e];
                next[e] = 255;
                e = then;
            }
            // Walked with the inside on the left as seen from outside of the cell, the polygon turns clockwise seen
            // from outside of the material: the order is reversed.
            for (int a = 0, b = n - 1; a < b; a++, b--) {
                uint8_t keep = polygon[a];
                polygon[a] = polygon[b];
                polygon[b] = keep;
            }
            int made = cut_polygon(polygon, n, triangles + 3 * total);
            if (made < 0 || total + made > KF_SURFACE_TRIANGLES_MAX)
                return KF_KERNEL_INVALID; // cannot be: tests/kernel/surface.c walks every case
            total += made;
        }
        table->count[code] = (uint8_t)total;
        table->corners[code] = (uint16_t)((1 << 3 * total) - 1);
        for (int c = 0; c < 3 * total; c++)
            table->edge[code][c] = triangles[mirrored && c % 3 ? c - c % 3 + 3 - c % 3 : c];
    }
    return KF_KERNEL_OK;
}

// ---- passes ----

// Copies the mask into the middle of the padding: one voxel to the right, one row down, one slice on.
static void pad_mask(const struct kf_work *work, const struct kf_bits *inside, const struct kf_surface_pass *p,
                     uint64_t *padded)
{
    memset(padded, 0, (size_t)(p->words * p->padded[1] * p->padded[2]) * sizeof *padded);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < p->dim[2]; k++)
        for (int64_t j = 0; j < p->dim[1]; j++) {
            const uint64_t *from = kf_bits_row(inside, j, k);
            uint64_t *to = padded + (j + 1 + (k + 1) * p->padded[1]) * p->words;
            uint64_t carry = 0;
            for (int64_t w = 0; w < inside->words; w++) {
                to[w] = from[w] << 1 | carry;
                carry = from[w] >> 63;
            }
            if (p->words > inside->words)
                to[inside->words] = carry;
        }
}

static void set_frame(const struct kf_grid *grid, struct kf_surface_pass *p)
{
    const double *d = grid->direction;
    for (int r = 0; r < 3; r++) {
        double origin = grid->origin_lps[r];
        for (int c = 0; c < 3; c++) {
            p->to_lps[4 * r + c] = d[3 * r + c] * grid->spacing_mm[c];
            origin -= p->to_lps[4 * r + c];
        }
        p->to_lps[4 * r + 3] = origin;
    }
}

// Turns counts per row into first numbers. Returns the totals.
static void sum_rows(struct kf_surface_pass *p, int64_t *vertices, int64_t *triangles)
{
    int64_t rows = p->padded[1] * p->padded[2], v = 0, t = 0;
    for (int64_t r = 0; r < rows; r++) {
        int64_t nx = p->first_x[r], ny = p->first_y[r], nz = p->first_z[r], nt = p->first_triangle[r];
        p->first_x[r] = (uint32_t)v;
        p->first_y[r] = (uint32_t)(v + nx);
        p->first_z[r] = (uint32_t)(v + nx + ny);
        p->first_triangle[r] = t;
        v += nx + ny + nz;
        t += nt;
    }
    *vertices = v;
    *triangles = t;
}

static enum kf_kernel_status run_passes(const struct kf_work *work, struct kf_surface_pass *p, struct kf_mesh *mesh)
{
    const struct kf_kernel_table *table = kf_kernels();
    const struct kf_surface_pass *fixed = p;
    struct kf_loop count = kf_loop_make(work, p->padded[2], 0, 0.4), fill = kf_loop_make(work, p->padded[2], 0.4, 1);
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 2)
    for (int64_t k = 0; k < p->padded[2]; k++)
        if (!kf_loop_stop(&count))
            table->surface_count(fixed, k);
    if (count.stop)
        return KF_KERNEL_CANCELLED;
    int64_t vertices, triangles;
    sum_rows(p, &vertices, &triangles);
    if (vertices > UINT32_MAX - 1 || triangles > UINT32_MAX)
        return KF_KERNEL_TOO_LARGE;
    mesh->xyz = kf_work_take(work, vertices * 3 * (int64_t)sizeof(float));
    mesh->index = kf_work_take(work, triangles * 3 * (int64_t)sizeof(uint32_t));
    if (!mesh->xyz || !mesh->index)
        return KF_KERNEL_NOMEM;
    mesh->vertices = vertices;
    mesh->triangles = triangles;
    p->xyz = mesh->xyz;
    p->index = mesh->index;
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 2)
    for (int64_t k = 0; k < p->padded[2]; k++)
        if (!kf_loop_stop(&fill))
            table->surface_fill(fixed, k);
    return fill.stop || kf_work_step(work, 1) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

static enum kf_kernel_status check_input(const struct kf_surface_input *input)
{
    const int64_t *dim = input->inside->dim;
    if (memcmp(dim, input->grid->dim, sizeof input->grid->dim) != 0)
        return KF_KERNEL_INVALID;
    if (!input->grey)
        return KF_KERNEL_OK;
    int known = input->grey->type == KF_VOXEL_INT16 || input->grey->type == KF_VOXEL_FLOAT32;
    return known && memcmp(dim, input->grey->grid.dim, sizeof input->grid->dim) == 0 ? KF_KERNEL_OK : KF_KERNEL_INVALID;
}

enum kf_kernel_status kf_surface(const struct kf_work *work, const struct kf_surface_input *input, struct kf_mesh *mesh)
{
    *mesh = (struct kf_mesh){0};
    enum kf_kernel_status status = check_input(input);
    if (status)
        return status;
    struct kf_surface_table table;
    status = make_table(kf_grid_mirrored(input->grid), &table);
    if (status)
        return status;
    struct kf_surface_pass p = {.table = &table, .iso = input->iso, .low = input->cap ? 0 : 1};
    for (int a = 0; a < 3; a++) {
        p.dim[a] = input->inside->dim[a];
        p.padded[a] = p.dim[a] + 2;
        p.high[a] = input->cap ? p.padded[a] : p.padded[a] - 1;
    }
    p.words = (p.padded[0] + 63) / 64;
    p.grey = input->grey ? input->grey->data : NULL;
    p.grey_float = input->grey && input->grey->type == KF_VOXEL_FLOAT32;
    set_frame(input->grid, &p);
    int64_t rows = p.padded[1] * p.padded[2];
    uint64_t *padded = kf_work_take(work, rows * p.words * (int64_t)sizeof *padded);
    uint32_t *firsts = kf_work_take(work, rows * 3 * (int64_t)sizeof *firsts);
    p.first_triangle = kf_work_take(work, rows * (int64_t)sizeof *p.first_triangle);
    status = padded && firsts && p.first_triangle ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        p.first_x = firsts;
        p.first_y = firsts + rows;
        p.first_z = firsts + 2 * rows;
        p.bits = padded;
        pad_mask(work, input->inside, &p, padded);
        status = run_passes(work, &p, mesh);
    }
    kf_work_give(work, padded);
    kf_work_give(work, firsts);
    kf_work_give(work, p.first_triangle);
    if (status)
        kf_mesh_release(work, mesh);
    return status;
}

// ---- the level of a mask ----

struct level_counts {
    int64_t *in;  // boundary voxels of the mask by bin
    int64_t *out; // their neighbours outside by bin
    double low, bins; // value v belongs to bin (v - low) · bins
};

static inline int64_t bin_of(const struct level_counts *counts, const struct kf_volume *grey, int64_t at)
{
    if (grey->type == KF_VOXEL_INT16)
        return ((const int16_t *)grey->data)[at] + 32768;
    double bin = ((double)((const float *)grey->data)[at] - counts->low) * counts->bins;
    return bin < 0 ? 0 : bin > 65535 ? 65535 : (int64_t)bin;
}

// Adds the pairs along one axis: rows a and b = the next row, or the same row moved by one voxel.
static void count_pairs(uint64_t pairs, int64_t first, int64_t step, uint64_t inside, const struct kf_volume *grey,
                        const struct level_counts *counts)
{
    for (; pairs; pairs &= pairs - 1) {
        int bit = __builtin_ctzll(pairs);
        int a_inside = (int)(inside >> bit & 1);
        int64_t a = first + bit, b = a + step;
        counts->in[bin_of(counts, grey, a_inside ? a : b)]++;
        counts->out[bin_of(counts, grey, a_inside ? b : a)]++;
    }
}

static void count_row(const struct kf_bits *m, const struct kf_volume *grey, int64_t j, int64_t k,
                      const struct level_counts *counts)
{
    const int64_t *dim = m->dim;
    const uint64_t *row = kf_bits_row(m, j, k);
    const uint64_t *down = j + 1 < dim[1] ? kf_bits_row(m, j + 1, k) : NULL;
    const uint64_t *on = k + 1 < dim[2] ? kf_bits_row(m, j, k + 1) : NULL;
    int64_t base = (j + k * dim[1]) * dim[0];
    for (int64_t w = 0; w < m->words; w++) {
        uint64_t here = row[w], next = here >> 1 | (w + 1 < m->words ? row[w + 1] << 63 : 0);
        int64_t pairs = dim[0] - 1 - 64 * w; // x pairs of this word that have both voxels
        uint64_t valid = pairs >= 64 ? ~(uint64_t)0 : pairs > 0 ? ((uint64_t)1 << pairs) - 1 : 0;
        count_pairs((here ^ next) & valid, base + 64 * w, 1, here, grey, counts);
        if (down)
            count_pairs(here ^ down[w], base + 64 * w, dim[0], here, grey, counts);
        if (on)
            count_pairs(here ^ on[w], base + 64 * w, dim[0] * dim[1], here, grey, counts);
    }
}

// The range of a float volume as bins; 0 when a value is not finite.
static int float_bins(const struct kf_volume *grey, struct level_counts *counts)
{
    const float *v = grey->data;
    float low = v[0], high = v[0];
    for (int64_t i = 0, n = kf_grid_voxels(&grey->grid); i < n; i++) {
        if (!(v[i] - v[i] == 0))
            return 0;
        low = v[i] < low ? v[i] : low;
        high = v[i] > high ? v[i] : high;
    }
    counts->low = (double)low;
    counts->bins = high > low ? 65535 / ((double)high - (double)low) : 1;
    return 1;
}

// The threshold with the fewest mistakes, in bins: every one from *first to *last is as good. Returns the mistakes.
static int64_t best_threshold(const struct level_counts *counts, int64_t *first, int64_t *last, int64_t *pairs)
{
    int64_t wrong = 0, best;
    *first = *last = *pairs = 0;
    for (int v = 0; v < 65536; v++) {
        *pairs += counts->in[v];
        wrong += counts->out[v]; // threshold at the bottom: all outside neighbours are at or above it
    }
    best = wrong;
    for (int v = 0; v < 65536; v++) {
        // Moves the threshold from v to v + 1.
        wrong += counts->in[v] - counts->out[v];
        if (wrong < best) {
            best = wrong;
            *first = *last = v + 1;
        } else if (wrong == best && *last == v) {
            *last = v + 1;
        }
    }
    return best;
}

enum kf_kernel_status kf_surface_level(const struct kf_work *work, const struct kf_bits *inside,
                                       const struct kf_volume *grey, double *level, double *mistakes)
{
    *level = 0;
    if (mistakes)
        *mistakes = 0;
    struct level_counts both = {.low = -32768, .bins = 1};
    int known = grey->type == KF_VOXEL_INT16 || grey->type == KF_VOXEL_FLOAT32;
    if (!known || memcmp(inside->dim, grey->grid.dim, sizeof inside->dim) != 0 ||
        (grey->type == KF_VOXEL_FLOAT32 && !float_bins(grey, &both)))
        return KF_KERNEL_INVALID;
    int64_t *counts = kf_work_take(work, 2 * 65536 * (int64_t)sizeof *counts);
    if (!counts)
        return KF_KERNEL_NOMEM;
    memset(counts, 0, 2 * 65536 * sizeof *counts);
    both.in = counts;
    both.out = counts + 65536;
    for (int64_t k = 0; k < inside->dim[2]; k++)
        for (int64_t j = 0; j < inside->dim[1]; j++)
            count_row(inside, grey, j, k, &both);
    int64_t first, last, pairs, best = best_threshold(&both, &first, &last, &pairs);
    kf_work_give(work, counts);
    if (!pairs)
        return KF_KERNEL_INVALID;
    // In the middle of the best; a voxel at a threshold counts as inside.
    *level = 0.5 * (double)(first - 1 + last) / both.bins + both.low;
    if (grey->type == KF_VOXEL_FLOAT32)
        *level = 0.5 * (double)(first + last) / both.bins + both.low; // bins have a width
    if (mistakes)
        *mistakes = (double)best / (double)(2 * pairs);
    return KF_KERNEL_OK;
}
