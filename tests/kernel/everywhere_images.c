// kernel_everywhere: masks, images, regions and labels.
#include "tests/kernel/everywhere.h"
#include "workers/kernels/bias.h"
#include "workers/kernels/diffusion.h"
#include "workers/kernels/distance.h"
#include "workers/kernels/fast_marching.h"
#include "workers/kernels/fill_between.h"
#include "workers/kernels/gradient.h"
#include "workers/kernels/graph_cut.h"
#include "workers/kernels/grow.h"
#include "workers/kernels/image.h"
#include "workers/kernels/median.h"
#include "workers/kernels/otsu.h"
#include "workers/kernels/overlap.h"
#include "workers/kernels/random_walker.h"
#include "workers/kernels/resample.h"
#include "workers/kernels/watershed.h"

#include <stddef.h>
#include <string.h>

static void add_bits(const struct kf_bits *b)
{
    add(b->word, b->words * b->dim[1] * b->dim[2] * (int64_t)sizeof *b->word);
}

// ---- masks ----

static enum kf_kernel_status run_threshold(const struct kf_work *w)
{
    const struct kf_volume *of[] = {&in.image, &in.real, &in.byte};
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int n = 0; n < 3 && !status; n++) {
        status = kf_bits_threshold(w, of[n], n == 2 ? 3 : 130, 500, &in.other);
        add_bits(&in.other);
    }
    return status;
}

static enum kf_kernel_status run_set_operations(const struct kf_work *w)
{
    static const enum kf_bits_operator operators[] = {KF_BITS_AND, KF_BITS_OR, KF_BITS_AND_NOT, KF_BITS_COPY};
    int64_t box[2][3];
    enum kf_kernel_status status = kf_bits_threshold(w, &in.image, 260, 500, &in.other);
    for (int n = 0; n < 4; n++) {
        kf_bits_combine(w, &in.other, operators[n], &in.bits);
        kf_bits_invert(w, &in.other);
        add_bits(&in.other);
        add_number((double)kf_bits_count(w, &in.other));
    }
    kf_bits_paint(w, &in.bits, 9, bytes);
    add(bytes, VOXELS);
    add_number(kf_bits_box(&in.bits, box));
    add(box, sizeof box);
    return status;
}

static enum kf_kernel_status run_enlarge(const struct kf_work *w)
{
    struct kf_grid small;
    const int64_t factor[3] = {3, 2, 4};
    struct kf_bits coarse;
    kf_reduce_grid(&grid, factor, &small);
    enum kf_kernel_status status = kf_bits_alloc(w, small.dim, &coarse);
    for (int64_t k = 0; k < small.dim[2] && !status; k++)
        for (int64_t j = 0; j < small.dim[1]; j++)
            for (int64_t i = 0; i < small.dim[0]; i += 1 + (j + k) % 3)
                kf_bits_put(&coarse, i, j, k);
    THEN(status, kf_bits_enlarge(w, &coarse, factor, &in.other));
    add_bits(&in.other);
    kf_bits_release(w, &coarse);
    return status;
}

static void add_components(const struct kf_components *c)
{
    add(&c->runs, sizeof c->runs);
    add(&c->count, sizeof c->count);
    add(c->row_first, (J * K + 1) * (int64_t)sizeof *c->row_first);
    add(c->start, c->runs * (int64_t)sizeof *c->start);
    add(c->end, c->runs * (int64_t)sizeof *c->end);
    add(c->component, c->runs * (int64_t)sizeof *c->component);
    for (int64_t n = 0; n < c->count; n++)
        add(c->table + n, offsetof(struct kf_component, border) + sizeof c->table[n].border);
}

static enum kf_kernel_status run_components(const struct kf_work *w)
{
    static const enum kf_neighbours all[] = {KF_NEIGHBOURS_4, KF_NEIGHBOURS_6, KF_NEIGHBOURS_26};
    enum kf_kernel_status status = kf_bits_threshold(w, &in.image, 255, 500, &in.other);
    for (int n = 0; n < 3 && !status; n++) {
        struct kf_components c;
        status = kf_components_find(w, &in.other, all[n], &c);
        if (!status) {
            add_components(&c);
            for (int64_t each = 0; each < c.count; each++)
                bytes[each] = each % 3 == 1;
            kf_components_draw(w, &c, bytes, &in.other);
            add_bits(&in.other);
        }
        kf_components_release(w, &c);
    }
    return status;
}

static enum kf_kernel_status run_islands_and_holes(const struct kf_work *w)
{
    int64_t dropped = 0, filled[2] = {0, 0};
    enum kf_kernel_status status = kf_bits_threshold(w, &in.image, 255, 500, &in.other);
    THEN(status, kf_bits_drop_islands(w, &in.other, KF_NEIGHBOURS_6, 3, &dropped));
    add_bits(&in.other);
    THEN(status, kf_bits_hysteresis(w, &in.other, &in.bits));
    add_bits(&in.other);
    THEN(status, kf_bits_fill_holes(w, &in.bits, KF_NEIGHBOURS_6, 2, &filled[0]));
    THEN(status, kf_bits_fill_holes(w, &in.bits, KF_NEIGHBOURS_4, 0, &filled[1]));
    add_bits(&in.bits);
    add(&dropped, sizeof dropped);
    add(filled, sizeof filled);
    return status;
}

static enum kf_kernel_status run_morphology(const struct kf_work *w)
{
    enum kf_kernel_status status = kf_bits_dilate(w, &in.bits, grid.spacing_mm, 1.3);
    THEN(status, kf_bits_close(w, &in.bits, grid.spacing_mm, 3.1));
    add_bits(&in.bits);
    THEN(status, kf_bits_erode(w, &in.bits, grid.spacing_mm, 1.9));
    THEN(status, kf_bits_open(w, &in.bits, grid.spacing_mm, 2.4));
    add_bits(&in.bits);
    return status;
}

// ---- images ----

static enum kf_kernel_status run_gaussian(const struct kf_work *w)
{
    const struct kf_volume *of[] = {&in.image, &in.real, &in.byte};
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int n = 0; n < 3 && !status; n++) {
        status = kf_gaussian(w, of[n], 0.6 + n, floats);
        add(floats, (int64_t)VOXELS * 4);
    }
    return status;
}

static enum kf_kernel_status run_reduce(const struct kf_work *w)
{
    const struct kf_volume *of[] = {&in.image, &in.real, &in.byte};
    const int64_t factor[3] = {3, 2, 4};
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int n = 0; n < 3 && !status; n++) {
        struct kf_volume small = {.type = of[n]->type, .data = floats};
        kf_reduce_grid(&grid, factor, &small.grid);
        status = kf_reduce(w, of[n], factor, &small);
        add(floats, kf_grid_voxels(&small.grid) * kf_voxel_bytes(small.type));
    }
    return status;
}

static enum kf_kernel_status run_median(const struct kf_work *w)
{
    enum kf_kernel_status status = kf_median3(w, &in.image, (int16_t *)(void *)words);
    add((int16_t *)(void *)words, (int64_t)VOXELS * 2);
    return status;
}

static enum kf_kernel_status run_otsu(const struct kf_work *w)
{
    double t[2] = {0, 0};
    enum kf_kernel_status status = kf_otsu(w, &in.image, -1000, 1000, &t[0]);
    THEN(status, kf_otsu(w, &in.real, -1000, 1000, &t[1]));
    THEN(status, kf_otsu_local(w, &in.image, 11, 0, 500, 10, &in.other));
    add(t, sizeof t);
    add_bits(&in.other);
    return status;
}

static enum kf_kernel_status run_distance(const struct kf_work *w)
{
    enum kf_kernel_status status = kf_distance(w, &in.bits, grid.spacing_mm, 0, floats);
    add(floats, (int64_t)VOXELS * 4);
    THEN(status, kf_distance(w, &in.bits, grid.spacing_mm, 3, floats));
    add(floats, (int64_t)VOXELS * 4);
    return status;
}

static enum kf_kernel_status run_resample(const struct kf_work *w)
{
    static const double map[12] = {0.98, 0.05, -0.03, 1.4, -0.04, 1.03, 0.06, -2.2, 0.02, -0.05, 0.97, 0.9};
    const struct kf_volume *of[] = {&in.image, &in.real, &in.labels};
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int n = 0; n < 3; n++)
        for (int method = KF_RESAMPLE_NEAREST; method <= KF_RESAMPLE_CUBIC && !status; method++) {
            struct kf_volume out = {.grid = grid, .type = of[n]->type, .data = floats};
            if (n == 2 && method != KF_RESAMPLE_NEAREST)
                continue;
            out.grid.dim[0] = I - 5;
            status = kf_resample(w, of[n], map, (enum kf_resample_method)method, 7, &out);
            add(floats, kf_grid_voxels(&out.grid) * kf_voxel_bytes(out.type));
        }
    return status;
}

static enum kf_kernel_status run_gradient(const struct kf_work *w)
{
    enum kf_kernel_status status = kf_gradient_magnitude(w, &in.image, 0.8, floats);
    add(floats, (int64_t)VOXELS * 4);
    THEN(status, kf_gradient_magnitude(w, &in.real, 0, floats));
    add(floats, (int64_t)VOXELS * 4);
    return status;
}

static enum kf_kernel_status run_diffusion(const struct kf_work *w)
{
    enum kf_kernel_status status = kf_diffuse_curvature(w, &in.image, 3, 0.03, 2.5, floats);
    add(floats, (int64_t)VOXELS * 4);
    return status;
}

static enum kf_kernel_status run_bias(const struct kf_work *w)
{
    struct kf_bias_settings s;
    int64_t used = 0;
    kf_bias_defaults(&s);
    s.iterations = 5;
    enum kf_kernel_status status = kf_bias_find(w, &in.image, &in.bits, &s, floats, &used);
    add(floats, (int64_t)VOXELS * 4);
    add(&used, sizeof used);
    THEN(status, kf_bias_apply(w, &in.image, floats, (float *)(void *)words));
    add(words, (int64_t)VOXELS * 4);
    return status;
}

// ---- regions ----

static enum kf_kernel_status run_march(const struct kf_work *w)
{
    const struct kf_front_seed seeds[] = {{VOXELS / 2, 0}, {77, 3}};
    enum kf_kernel_status status = kf_fast_marching(w, &in.real, seeds, 2, 0.3f, floats);
    add(floats, (int64_t)VOXELS * 4);
    return status;
}

static enum kf_kernel_status run_watershed(const struct kf_work *w)
{
    const struct kf_volume *of[] = {&in.image, &in.real, &in.byte};
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int n = 0; n < 3 && !status; n++) {
        memcpy(bytes, in.seeds, VOXELS);
        status = kf_watershed(w, of[n], n ? NULL : in.labels.data, bytes);
        add(bytes, VOXELS);
    }
    return status;
}

// From the start, and once more after seeds came and went.
static enum kf_kernel_status run_grow(const struct kf_work *w)
{
    static const enum kf_neighbours both[] = {KF_NEIGHBOURS_6, KF_NEIGHBOURS_26};
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int n = 0; n < 2 && !status; n++) {
        memset(words, 0xff, (size_t)VOXELS * sizeof *words); // KF_GROW_FAR
        for (int again = 0; again < 2 && !status; again++) {
            status = kf_grow(w, &in.image, both[n], in.seeds, words, bytes);
            add(words, (int64_t)VOXELS * 4);
            add(bytes, VOXELS);
            for (int64_t v = 0; v < VOXELS; v++)
                in.seeds[v] = v % 5 == 0 ? 0 : v % 1013 == 0 ? 3 : in.seeds[v];
        }
    }
    return status;
}

static enum kf_kernel_status run_cut(const struct kf_work *w)
{
    static struct kf_cut_links links;
    int64_t flow = 0;
    enum kf_kernel_status status = kf_cut_links_make(grid.spacing_mm, 60, 100, &links);
    THEN(status, kf_graph_cut(w, &in.image, in.terminal, &links, bytes, &flow));
    add(&links, sizeof links);
    add(bytes, VOXELS);
    add(&flow, sizeof flow);
    return status;
}

static enum kf_kernel_status run_walk(const struct kf_work *w)
{
    const struct kf_walk_options options = {.sigma = 60, .tolerance = 1e-3, .most_iterations = 100};
    struct kf_walk_report report = {0};
    enum kf_kernel_status status = kf_random_walker(w, &in.image, in.seeds, &options, bytes, floats, &report);
    add(bytes, VOXELS);
    add(floats, (int64_t)VOXELS * 4);
    add(&report.iterations, sizeof report.iterations);
    add_number(report.residual);
    return status;
}

static enum kf_kernel_status run_fill_between(const struct kf_work *w)
{
    memcpy(bytes, in.labels.data, VOXELS);
    memset(bytes + 9 * SLICE, 0, (size_t)(11 * SLICE));
    memset(bytes + 23 * SLICE, 0, (size_t)(6 * SLICE));
    enum kf_kernel_status status = kf_fill_between(w, grid.dim, grid.spacing_mm, 2, bytes);
    add(bytes, VOXELS);
    return status;
}

static enum kf_kernel_status run_compare(const struct kf_work *w)
{
    static struct kf_label_score scores[255];
    int count = 0;
    for (int64_t v = 0; v < VOXELS; v++)
        bytes[v] = ((const uint8_t *)in.labels.data)[v > 60 ? v - 55 : v];
    const struct kf_volume moved = {grid, KF_VOXEL_UINT8, bytes};
    enum kf_kernel_status status = kf_labels_compare(w, &in.labels, &moved, scores, &count);
    for (int n = 0; n < count && !status; n++) {
        add(&scores[n].label, sizeof scores[n].label);
        add(scores[n].voxels, (int64_t)(sizeof scores[n] - offsetof(struct kf_label_score, voxels)));
    }
    return status;
}

const struct kernel kernels_of_images[] = {
    {"threshold", run_threshold},
    {"set operations", run_set_operations},
    {"enlarge", run_enlarge},
    {"components", run_components},
    {"islands, hysteresis, holes", run_islands_and_holes},
    {"morphology", run_morphology},
    {"gaussian", run_gaussian},
    {"reduce", run_reduce},
    {"median", run_median},
    {"otsu, global and local", run_otsu},
    {"distance", run_distance},
    {"resample", run_resample},
    {"gradient", run_gradient},
    {"diffusion", run_diffusion},
    {"bias", run_bias},
    {"fast marching", run_march},
    {"watershed", run_watershed},
    {"grow", run_grow},
    {"graph cut", run_cut},
    {"random walker", run_walk},
    {"fill between", run_fill_between},
    {"compare labels", run_compare},
    {NULL, NULL}};
