// The kernels of images and regions, surfaces of masks and labels, and the deformable registration: told to stop at any
// of its questions, each says KF_KERNEL_CANCELLED, asks no more, and gives all of its memory back. And it asks often:
// no kernel does more than a share of its work unasked.
#include "server/base/test.h"
#include "tests/kernel/caller.h"
#include "tests/kernel/random.h"
#include "tests/kernel/shapes.h"
#include "workers/kernels/bias.h"
#include "workers/kernels/bits.h"
#include "workers/kernels/diffusion.h"
#include "workers/kernels/distance.h"
#include "workers/kernels/fast_marching.h"
#include "workers/kernels/fill_between.h"
#include "workers/kernels/gradient.h"
#include "workers/kernels/graph_cut.h"
#include "workers/kernels/grow.h"
#include "workers/kernels/image.h"
#include "workers/kernels/median.h"
#include "workers/kernels/mesh_distance.h"
#include "workers/kernels/mesh_intersect.h"
#include "workers/kernels/mesh_repair.h"
#include "workers/kernels/mesh_thickness.h"
#include "workers/kernels/otsu.h"
#include "workers/kernels/overlap.h"
#include "workers/kernels/random_walker.h"
#include "workers/kernels/register_deform.h"
#include "workers/kernels/resample.h"
#include "workers/kernels/surface.h"
#include "workers/kernels/surface_labels.h"
#include "workers/kernels/watershed.h"

#include <math.h>

#define EDGE   48
#define VOXELS ((int64_t)EDGE * EDGE * EDGE)

static const double spacing[3] = {1, 1, 1};
static const double same[12] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};

// What kernels work on; made anew by fill() before every run.
static struct {
    struct kf_volume image, out, speed, labels, small;
    struct kf_bits bits, other;
    uint8_t *bytes, *seeds;
    int32_t *terminal;
    uint32_t *state;
    float *field;
    struct kf_cut_links links;
} in;

// ---- the kernels ----

typedef enum kf_kernel_status (*kernel_run)(const struct kf_work *work);

static enum kf_kernel_status run_threshold(const struct kf_work *w)
{
    return kf_bits_threshold(w, &in.image, 100, 3000, &in.other);
}

static enum kf_kernel_status run_components(const struct kf_work *w)
{
    struct kf_components c;
    enum kf_kernel_status status = kf_components_find(w, &in.bits, KF_NEIGHBOURS_26, &c);
    kf_components_release(w, &c);
    return status;
}

static enum kf_kernel_status run_fill(const struct kf_work *w)
{
    return kf_bits_fill_holes(w, &in.bits, KF_NEIGHBOURS_6, 0, NULL);
}

static enum kf_kernel_status run_close(const struct kf_work *w)
{
    return kf_bits_close(w, &in.bits, spacing, 4);
}

static enum kf_kernel_status run_distance(const struct kf_work *w)
{
    return kf_distance(w, &in.bits, spacing, 0, in.field);
}

static enum kf_kernel_status run_median(const struct kf_work *w)
{
    return kf_median3(w, &in.image, in.out.data);
}

static enum kf_kernel_status run_gaussian(const struct kf_work *w)
{
    return kf_gaussian(w, &in.image, 1, in.field);
}

static enum kf_kernel_status run_gradient(const struct kf_work *w)
{
    return kf_gradient_magnitude(w, &in.image, 1, in.field);
}

static enum kf_kernel_status run_diffusion(const struct kf_work *w)
{
    return kf_diffuse_curvature(w, &in.image, 2, 0.03, 3, in.field);
}

static enum kf_kernel_status run_linear(const struct kf_work *w)
{
    return kf_resample(w, &in.image, same, KF_RESAMPLE_LINEAR, 0, &in.out);
}

static enum kf_kernel_status run_reduce(const struct kf_work *w)
{
    return kf_reduce(w, &in.image, (const int64_t[]){2, 2, 2}, &in.small);
}

static enum kf_kernel_status run_otsu(const struct kf_work *w)
{
    double threshold;
    return kf_otsu(w, &in.image, -32768, 32767, &threshold);
}

static enum kf_kernel_status run_otsu_local(const struct kf_work *w)
{
    return kf_otsu_local(w, &in.image, 12, -1000, 1000, 10, &in.other);
}

static enum kf_kernel_status run_bias(const struct kf_work *w)
{
    struct kf_bias_settings s;
    kf_bias_defaults(&s);
    return kf_bias_find(w, &in.image, NULL, &s, in.field, NULL);
}

static enum kf_kernel_status run_march(const struct kf_work *w)
{
    const struct kf_front_seed seed = {VOXELS / 2, 0};
    return kf_fast_marching(w, &in.speed, &seed, 1, INFINITY, in.field);
}

static enum kf_kernel_status run_watershed(const struct kf_work *w)
{
    return kf_watershed(w, &in.image, NULL, in.seeds);
}

static enum kf_kernel_status run_grow(const struct kf_work *w)
{
    return kf_grow(w, &in.image, KF_NEIGHBOURS_26, in.seeds, in.state, in.bytes);
}

// All seeds go away, and with them what they held.
static enum kf_kernel_status run_grow_away(const struct kf_work *w)
{
    const struct kf_work undisturbed = {.threads = w->threads, .allocate = w->allocate, .release = w->release,
                                        .user = w->user};
    enum kf_kernel_status status = kf_grow(&undisturbed, &in.image, KF_NEIGHBOURS_26, in.seeds, in.state, in.bytes);
    memset(in.seeds, 0, VOXELS);
    return status ? status : kf_grow(w, &in.image, KF_NEIGHBOURS_26, in.seeds, in.state, in.bytes);
}

static enum kf_kernel_status run_cut(const struct kf_work *w)
{
    return kf_graph_cut(w, &in.image, in.terminal, &in.links, in.bytes, NULL);
}

static enum kf_kernel_status run_walk(const struct kf_work *w)
{
    const struct kf_walk_options options = {.sigma = 100, .tolerance = 1e-3, .most_iterations = 1000};
    return kf_random_walker(w, &in.image, in.seeds, &options, in.bytes, NULL, NULL);
}

static enum kf_kernel_status run_fill_between(const struct kf_work *w)
{
    memset(in.bytes + 12 * EDGE * EDGE, 0, (size_t)24 * EDGE * EDGE); // slices of the ball, and more on both sides
    return kf_fill_between(w, in.image.grid.dim, spacing, 2, in.bytes);
}

static enum kf_kernel_status run_compare(const struct kf_work *w)
{
    struct kf_label_score scores[255];
    int count;
    return kf_labels_compare(w, &in.labels, &in.labels, scores, &count);
}

static enum kf_kernel_status surface_of(const struct kf_work *w, struct kf_mesh *mesh)
{
    const struct kf_surface_input input = {&in.bits, &in.image.grid, NULL, 0, 1};
    return kf_surface(w, &input, mesh);
}

static enum kf_kernel_status run_surface(const struct kf_work *w)
{
    struct kf_mesh mesh;
    enum kf_kernel_status status = surface_of(w, &mesh);
    kf_mesh_release(w, &mesh);
    return status;
}

static enum kf_kernel_status run_smooth(const struct kf_work *w)
{
    struct kf_mesh mesh;
    const struct kf_mesh_smooth how = {.passes = 10, .pass_band = 0.1};
    enum kf_kernel_status status = surface_of(w, &mesh);
    if (!status)
        status = kf_mesh_smooth(w, &mesh, &how);
    kf_mesh_release(w, &mesh);
    return status;
}

static enum kf_kernel_status run_decimate(const struct kf_work *w)
{
    struct kf_mesh mesh;
    enum kf_kernel_status status = surface_of(w, &mesh);
    const struct kf_mesh_decimate how = {.target = mesh.triangles / 8, .error_mm = 100};
    if (!status)
        status = kf_mesh_decimate(w, &mesh, &how, NULL);
    kf_mesh_release(w, &mesh);
    return status;
}

static enum kf_kernel_status run_check(const struct kf_work *w)
{
    struct kf_mesh mesh;
    struct kf_mesh_report report;
    enum kf_kernel_status status = surface_of(w, &mesh);
    if (!status)
        status = kf_mesh_check(w, &mesh, &report);
    else
        memset(&report, 0, sizeof report);
    KF_CHECK(status ? !report.closed && !report.components && !(report.area_mm2 > 0) : report.closed);
    kf_mesh_release(w, &mesh);
    return status;
}

// A torn surface with a sheet at a vertex, and a piece through it: every part of the repair has something to do.
static enum kf_kernel_status broken(const struct kf_work *w, struct kf_mesh *mesh)
{
    static const double middle[3] = {0, 0, 0}, beside[3] = {8, 0.1, 0.2};
    const struct kf_work undisturbed = {.threads = w->threads, .allocate = w->allocate, .release = w->release,
                                        .user = w->user};
    struct kf_mesh other;
    test_sphere(&undisturbed, 30, 10, middle, mesh);
    test_sphere(&undisturbed, 12, 5, beside, &other);
    test_append(&undisturbed, mesh, &other);
    memcpy(mesh->index + 900, mesh->index + 600, 12);
    mesh->triangles -= 3;
    return KF_KERNEL_OK;
}

static enum kf_kernel_status run_repair(const struct kf_work *w)
{
    struct kf_mesh mesh;
    struct kf_mesh_repair_report report;
    const struct kf_mesh_repair how = {.least_mm3 = 1, .hole_edges = 1000, .intersections = 2};
    enum kf_kernel_status status = broken(w, &mesh);
    if (!status)
        status = kf_mesh_repair(w, &mesh, &how, &report);
    kf_mesh_release(w, &mesh);
    return status;
}

static enum kf_kernel_status run_intersect(const struct kf_work *w)
{
    struct kf_mesh mesh;
    struct kf_mesh_intersections found = {0};
    enum kf_kernel_status status = broken(w, &mesh);
    if (!status)
        status = kf_mesh_intersect(w, &mesh, 1000, &found);
    kf_work_give(w, found.pair);
    kf_mesh_release(w, &mesh);
    return status;
}

static enum kf_kernel_status run_mesh_distance(const struct kf_work *w)
{
    struct kf_mesh mesh, other;
    struct kf_mesh_distance distance;
    const struct kf_mesh_distance_how how = {0.5, 0.01};
    enum kf_kernel_status status = broken(w, &mesh), more = broken(w, &other);
    for (int64_t i = 0; i < 3 * other.vertices; i++)
        other.xyz[i] *= 1.1f;
    if (!status && !more)
        status = kf_mesh_distance(w, &mesh, &other, &how, &distance);
    kf_mesh_release(w, &mesh);
    kf_mesh_release(w, &other);
    return status;
}

static enum kf_kernel_status run_hausdorff(const struct kf_work *w)
{
    static const double middle[3] = {0, 0, 0};
    struct kf_mesh mesh[2];
    struct kf_bvh tree;
    double low, high;
    for (int n = 0; n < 2; n++)
        test_sphere(w, 60 - 30 * n, 10, middle, &mesh[n]);
    enum kf_kernel_status status = kf_bvh_make(w, &mesh[0], &tree);
    if (!status)
        status = kf_mesh_hausdorff(w, &tree, &mesh[1], 1e-3, &low, &high);
    kf_bvh_release(w, &tree);
    for (int n = 0; n < 2; n++)
        kf_mesh_release(w, &mesh[n]);
    return status;
}

static enum kf_kernel_status run_thickness(const struct kf_work *w)
{
    struct kf_mesh mesh;
    const struct kf_mesh_thickness how = {10, 0.7};
    enum kf_kernel_status status = broken(w, &mesh);
    if (!status)
        status = kf_mesh_thickness(w, &mesh, &how, in.field);
    kf_mesh_release(w, &mesh);
    return status;
}

static enum kf_kernel_status run_weld(const struct kf_work *w)
{
    struct kf_mesh mesh;
    int64_t removed;
    enum kf_kernel_status status = broken(w, &mesh);
    if (!status)
        status = kf_mesh_weld(w, &mesh);
    if (!status)
        status = kf_mesh_drop_small(w, &mesh, 1, &removed);
    kf_mesh_release(w, &mesh);
    return status;
}

static enum kf_kernel_status run_enlarge(const struct kf_work *w)
{
    const int64_t half[3] = {EDGE / 2, EDGE / 2, EDGE / 2};
    struct kf_bits small;
    enum kf_kernel_status status = kf_bits_alloc(w, half, &small);
    if (!status)
        status = kf_bits_enlarge(w, &small, (const int64_t[]){2, 2, 2}, &in.other);
    kf_bits_release(w, &small);
    return status;
}

static enum kf_kernel_status run_surface_labels(const struct kf_work *w)
{
    const struct kf_surface_labels_input input = {.labels = &in.labels, .rounds = 4};
    struct kf_surface_labels net;
    enum kf_kernel_status status = kf_surface_labels(w, &input, &net);
    kf_surface_labels_release(w, &net);
    return status;
}

// The middle of both directions, and what the result is judged by, are part of it.
static enum kf_kernel_status run_deform(const struct kf_work *w)
{
    struct kf_affine still;
    struct kf_field field;
    struct kf_register_deform_report report;
    kf_affine_identity(&still);
    const struct kf_register_deform how = {.linear = &still, .both_ways = 1};
    enum kf_kernel_status status = kf_register_deform(w, &in.image, &in.image, &how, &field, &report);
    kf_field_release(w, &field);
    return status;
}

static enum kf_kernel_status run_judge(const struct kf_work *w)
{
    struct kf_field field;
    struct kf_register_deform_report report;
    enum kf_kernel_status status = kf_field_take(w, &in.image.grid, &field);
    if (!status)
        status = kf_register_deform_judge(w, &field, &report);
    kf_field_release(w, &field);
    return status;
}

// few: questions that a run asks at least; those that count slices ask at each.
static const struct {
    const char *name;
    kernel_run run;
    int64_t few;
} kernels[] = {{"threshold", run_threshold, 1},
               {"components", run_components, EDGE / 4},
               {"fill holes", run_fill, EDGE / 4},
               {"close", run_close, EDGE / 4},
               {"distance", run_distance, EDGE / 2},
               {"median", run_median, EDGE / 4},
               {"gaussian", run_gaussian, EDGE / 2},
               {"gradient", run_gradient, EDGE / 2},
               {"diffusion", run_diffusion, EDGE / 2},
               {"resample", run_linear, 2},
               {"reduce", run_reduce, EDGE / 8},
               {"otsu", run_otsu, EDGE / 2},
               {"otsu local", run_otsu_local, EDGE / 4},
               {"bias", run_bias, EDGE / 4},
               {"fast marching", run_march, EDGE / 2},
               {"watershed", run_watershed, EDGE / 2},
               {"grow", run_grow, 2},
               {"grow, seeds away", run_grow_away, 5},
               {"graph cut", run_cut, EDGE / 4},
               {"random walker", run_walk, 4},
               {"fill between", run_fill_between, 2},
               {"compare", run_compare, EDGE},
               {"surface", run_surface, 2},
               {"smooth", run_smooth, 4},
               {"decimate", run_decimate, 2},
               {"check", run_check, 8},
               {"repair", run_repair, 60},
               {"intersect", run_intersect, 10},
               {"mesh distance", run_mesh_distance, 40},
               {"hausdorff", run_hausdorff, 40},
               {"thickness", run_thickness, 8},
               {"weld", run_weld, 8},
               {"enlarge", run_enlarge, EDGE},
               {"surface labels", run_surface_labels, 4},
               {"deform", run_deform, 400},
               {"judge deformation", run_judge, EDGE / 2}};

// ---- the runs ----

static void fill(void)
{
    uint64_t state = 5;
    int16_t *value = in.image.data;
    memset(in.bits.word, 0, (size_t)(in.bits.words * EDGE * EDGE) * sizeof *in.bits.word);
    for (int64_t v = 0; v < VOXELS; v++) {
        int64_t i = v % EDGE, j = v / EDGE % EDGE, k = v / EDGE / EDGE;
        uint64_t r = test_random(&state);
        int inside = (i - 24) * (i - 24) + (j - 20) * (j - 20) + (k - 24) * (k - 24) < 324;
        value[v] = (int16_t)(inside * 400 + 200 + (int)(r % 101));
        if (inside && r >> 20 & 15)
            kf_bits_put(&in.bits, i, j, k);
        in.seeds[v] = (r >> 30) % 64 == 0 ? (uint8_t)(1 + inside) : 0;
        in.bytes[v] = (uint8_t)inside;
        ((uint8_t *)in.labels.data)[v] = (uint8_t)(inside + (i < 10));
        in.terminal[v] = in.seeds[v] ? inside ? KF_CUT_HARD : -KF_CUT_HARD : 0;
        ((float *)in.speed.data)[v] = 1.0f + (float)(r >> 40 & 7);
        in.state[v] = KF_GROW_FAR;
    }
}

static void *bytes_of(int64_t each)
{
    void *block = kf_memory_take(VOXELS * each);
    if (!block)
        exit(1);
    return block;
}

static struct kf_volume volume_of(enum kf_voxel_type type)
{
    const struct kf_grid grid = {
        .dim = {EDGE, EDGE, EDGE}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    return (struct kf_volume){grid, type, bytes_of(kf_voxel_bytes(type))};
}

static int make_input(void)
{
    const int64_t dim[3] = {EDGE, EDGE, EDGE}, factor[3] = {2, 2, 2};
    struct kf_work work;
    kf_work_init(&work, 1);
    in.image = volume_of(KF_VOXEL_INT16);
    in.out = volume_of(KF_VOXEL_INT16);
    in.speed = volume_of(KF_VOXEL_FLOAT32);
    in.labels = volume_of(KF_VOXEL_UINT8);
    in.small = volume_of(KF_VOXEL_INT16);
    kf_reduce_grid(&in.image.grid, factor, &in.small.grid);
    in.bytes = bytes_of(1);
    in.seeds = bytes_of(1);
    in.terminal = bytes_of(4);
    in.state = bytes_of(4);
    in.field = bytes_of(4);
    return kf_bits_alloc(&work, dim, &in.bits) || kf_bits_alloc(&work, dim, &in.other) ||
           kf_cut_links_make(spacing, 60, 100, &in.links);
}

static enum kf_kernel_status run_once(size_t n, int threads, int64_t stop_at, struct test_caller *caller)
{
    const struct kf_work work = test_caller_work(caller, threads, stop_at);
    fill();
    return kernels[n].run(&work);
}

KF_TEST(a_kernel_that_is_cancelled_says_so_and_leaves_nothing)
{
    KF_REQUIRE(!make_input());
    for (size_t n = 0; n < sizeof kernels / sizeof kernels[0]; n++)
        for (int threads = 1; threads <= 3; threads += 2) {
            struct test_caller whole, cut;
            enum kf_kernel_status status = run_once(n, threads, -1, &whole);
            int64_t most = whole.questions - 1, stop[] = {0, 1, most / 3, most / 2, most - 1, most};
            int bad = status != KF_KERNEL_OK || whole.blocks != 0 || (threads == 1 && whole.questions < kernels[n].few);
            for (size_t s = 0; s < sizeof stop / sizeof stop[0] && !bad; s++) {
                // How many questions the calling thread gets to ask depends on its luck where slices are shared out.
                if (stop[s] < 0 || stop[s] > most || (threads > 1 && s > 1))
                    continue;
                status = run_once(n, threads, stop[s], &cut);
                if (threads > 1 && cut.questions <= stop[s])
                    continue;
                bad = status != KF_KERNEL_CANCELLED || cut.blocks != 0 || cut.questions != stop[s] + 1;
                whole = bad ? cut : whole;
            }
            if (bad)
                fprintf(stderr, "%s, %d threads: status %d, %lld questions, %lld blocks not given back\n",
                        kernels[n].name, threads, (int)status, (long long)whole.questions, (long long)whole.blocks);
            KF_CHECK(!bad);
        }
}

KF_TEST_MAIN(KF_RUN(a_kernel_that_is_cancelled_says_so_and_leaves_nothing);)
