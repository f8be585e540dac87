// Few coefficients, ever less stiff, in ever smaller voxels: warp, count, ask every voxel, let the smooth field settle;
// then a judge that saw nothing of it.
#include "workers/kernels/filter.h"
#include "workers/kernels/register_deform_inside.h"
#include "workers/kernels/resample.h"

#include <math.h>
#include <string.h>

#define OUTSIDE (-32768.0) // of a warped image where there is none
#define LEAST   0.05       // Jacobian
#define GRID_MM 8.0        // between nodes
#define KNOT    4          // nodes between knots
#define FINEST  4          // voxels that are compared, per node and axis, at most
#define JUDGED  2          // and those that the judge looks at
#define LIMIT   0.5        // of its size: no voxel says more exactly where it belongs
#define DAMP    0.064      // per square node
#define OVERLAP 64         // voxels at least
#define GAIN    0.99       // of the difference before, at most, or the field has found nothing but noise
#define APART   0.3        // of grid_mm: what the two directions may differ by where the images say something

// The bending energy's weight, in nats per square of a node's way, falls from stage to stage, in large voxels (one to a
// node, which see far) as in small ones.
static const struct stage {
    int steps;
    double bend;
} stages[] = {{4, 320}, {4, 32}};
#define LAST_BEND   1.6
#define TRIAL       2 // steps of the last stage with the slopes of either image
#define LAST        3 // and with the better ones after that
#define SIZES       3 // of voxels, the last of which all is done with
#define SLACK_BYTES (2 * (int64_t)KF_ROW_SLACK)
#define STEPS       (SIZES * (4 + 4) + 2 * TRIAL + LAST)

// An image in levels, as large as it is merged for them, and in voxels of each size that is compared.
struct input {
    struct kf_reg_image merged, at[SIZES];
};

// One direction.
struct deform {
    const struct kf_work *work;
    const struct kf_register_deform *how;
    struct kf_affine linear;
    const struct kf_volume *mask;
    const struct kf_affine *to_mask; // from this way's fixed image; NULL: it is the mask's
    const struct input *input[2];    // fixed, moving
    struct kf_grid nodes;
    double h;
    int size[SIZES]; // voxels per node and axis, the finest last and maybe more than once
    int fine;        // those that are compared at present
    int64_t count;
    struct kf_spline spline;
    double repeats;                 // of them from one voxel of an image
    const struct kf_volume *moving; // in those
    struct kf_volume seen[2];       // int16 on the grid of the voxels that are compared: fixed, moving warped
    float *c, *kept, *values, *model, *scratch; // coefficients; mm along the grid's axes at the nodes
    uint64_t *bins;
    struct kf_match match;
    double from, span, done; // progress
};

static double middle_spacing(const struct kf_grid *g)
{
    const double *s = g->spacing_mm, low = s[0] < s[1] ? s[0] : s[1], high = s[0] < s[1] ? s[1] : s[0];
    return s[2] < low ? low : s[2] < high ? s[2] : high;
}

// The voxels that are compared are not smaller than those of the images: what lies between those says nothing new and
// would count as if it did. Unless told otherwise the nodes fit them.
static void choose_sizes(struct deform *d, const struct kf_grid *a, const struct kf_grid *b)
{
    const double x = middle_spacing(a), y = middle_spacing(b), most = x > y ? x : y;
    const double voxel = most > GRID_MM / FINEST ? most : GRID_MM / FINEST;
    const double wanted = d->how->grid_mm > 0 ? d->how->grid_mm : GRID_MM, many = floor(wanted / voxel + 0.5);
    const int finest = many < 2 ? 2 : many > FINEST ? FINEST : (int)many;
    for (int s = 0; s < SIZES; s++)
        d->size[s] = 1 << s < finest ? 1 << s : finest;
    d->fine = finest;
    d->h = d->how->grid_mm > 0 || voxel > GRID_MM / 2 ? wanted : finest * voxel;
}

static int make_nodes(struct deform *d, const struct kf_grid *fixed, const struct kf_grid *moving)
{
    choose_sizes(d, fixed, moving);
    d->nodes = *fixed;
    for (int a = 0; a < 3; a++) {
        d->nodes.dim[a] = (int64_t)ceil((double)fixed->dim[a] * fixed->spacing_mm[a] / d->h - 1e-9);
        d->nodes.spacing_mm[a] = d->h;
        if (d->nodes.dim[a] < 4 || d->nodes.dim[a] > 400)
            return 0;
    }
    const double first[3] = {0.5 * (d->h / fixed->spacing_mm[0] - 1), 0.5 * (d->h / fixed->spacing_mm[1] - 1),
                             0.5 * (d->h / fixed->spacing_mm[2] - 1)};
    kf_grid_to_lps(fixed, first, d->nodes.origin_lps);
    d->count = kf_grid_voxels(&d->nodes);
    return 1;
}

static struct kf_grid fine_grid(const struct deform *d, int size)
{
    struct kf_grid g = d->nodes;
    const double first = 0.5 / size - 0.5;
    const double corner[3] = {first, first, first};
    kf_grid_to_lps(&d->nodes, corner, g.origin_lps);
    for (int a = 0; a < 3; a++) {
        g.dim[a] *= size;
        g.spacing_mm[a] /= size;
    }
    return g;
}

static int64_t fine_voxels(const struct deform *d)
{
    return (int64_t)d->fine * d->fine * d->fine * d->count;
}

// What the search needs and no one after it.
static void release_search(struct deform *d)
{
    void **const blocks[] = {&d->seen[0].data,    &d->seen[1].data,  (void **)&d->c,      (void **)&d->kept,
                             (void **)&d->values, (void **)&d->bins, (void **)&d->scratch};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        kf_work_give(d->work, *blocks[i]);
        *blocks[i] = NULL;
    }
}

static void release_input(const struct kf_work *work, struct input *input)
{
    for (int s = 0; s < SIZES; s++)
        kf_reg_image_release(work, &input->at[s]);
    kf_reg_image_release(work, &input->merged);
}

// Its own voxels even where nothing is merged, as they are written to.
static enum kf_kernel_status merge(const struct kf_work *work, const struct kf_volume *in,
                                   const struct kf_reg_units *units, double size_mm, struct kf_reg_image *merged)
{
    struct kf_reg_image taken;
    enum kf_kernel_status status = kf_reg_image_take(work, in, NULL, units, &taken);
    if (!status)
        status = kf_reg_image_reduce(work, &taken, size_mm, merged);
    if (!status && !merged->owned_image) {
        const int64_t bytes = 2 * kf_grid_voxels(&merged->image.grid);
        void *copy = kf_work_take(work, bytes);
        if (copy)
            memcpy(copy, merged->image.data, (size_t)bytes);
        merged->image.data = copy;
        merged->owned_image = 1;
        status = copy ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    }
    kf_reg_image_release(work, &taken);
    return status;
}

// Levels of an image for both directions, whose voxels are of the same sizes.
static enum kf_kernel_status take_input(const struct deform *d, const struct kf_volume *in, struct input *input)
{
    struct kf_reg_units units;
    if (in->type == KF_VOXEL_UINT16 || !kf_reg_units_find(in, &units))
        return KF_KERNEL_INVALID;
    enum kf_kernel_status status = merge(d->work, in, &units, d->h / (2 * d->size[SIZES - 1]), &input->merged);
    if (!status)
        status = kf_levels_make(d->work, &units, &input->merged.image);
    for (int s = 0; s < SIZES && !status; s++)
        status = kf_reg_image_reduce(d->work, &input->merged, d->h / d->size[s], &input->at[s]);
    if (!status && kf_grid_voxels(&input->at[SIZES - 1].image.grid) > INT32_MAX) // which places_i16 counts with
        status = KF_KERNEL_TOO_LARGE;
    return status;
}

static enum kf_kernel_status prepare(struct deform *d)
{
    if (!kf_spline_init(&d->spline, d->nodes.dim, KNOT))
        return KF_KERNEL_INVALID;
    const int64_t coefficients = 3 * 4 * d->spline.count;
    for (int i = 0; i < 2; i++)
        d->seen[i] =
            (struct kf_volume){.type = KF_VOXEL_INT16, .data = kf_work_take(d->work, 2 * fine_voxels(d) + SLACK_BYTES)};
    d->c = kf_work_take(d->work, coefficients);
    d->kept = kf_work_take(d->work, coefficients);
    d->values = kf_work_take(d->work, 3 * 4 * d->count);
    d->model = kf_work_take(d->work, 9 * 4 * d->count);
    d->scratch = kf_work_take(d->work, 4 * kf_spline_scratch(&d->spline));
    d->bins = kf_work_take(d->work, KF_MATCH_BYTES);
    if (!d->seen[0].data || !d->seen[1].data || !d->c || !d->kept || !d->values || !d->model || !d->scratch || !d->bins)
        return KF_KERNEL_NOMEM;
    memset(d->c, 0, (size_t)coefficients);
    for (int i = 0; i < 2; i++) // what rows at the end look at beyond it
        memset((int16_t *)d->seen[i].data + fine_voxels(d), 0, SLACK_BYTES);
    return KF_KERNEL_OK;
}

// ---- what is compared ----

// Whether the mask (or there is none) holds the place of voxel n.
static int in_mask(const struct deform *d, const struct kf_grid *g, int64_t n)
{
    if (!d->mask)
        return 1;
    const double ijk[3] = {(double)(n % g->dim[0]), (double)(n / g->dim[0] % g->dim[1]),
                           (double)(n / g->dim[0] / g->dim[1])};
    double p[3], at[3];
    int64_t where = 0;
    kf_grid_to_lps(g, ijk, p);
    if (d->to_mask)
        kf_affine_apply(d->to_mask, p, p);
    kf_grid_to_ijk(&d->mask->grid, p, at);
    for (int a = 2; a >= 0; a--) {
        double r = floor(at[a] + 0.5), most = (double)(d->mask->grid.dim[a] - 1);
        where = where * d->mask->grid.dim[a] + (int64_t)(r > 0 ? r < most ? r : most : 0);
    }
    return ((const uint8_t *)d->mask->data)[where] != 0;
}

static enum kf_kernel_status see_fixed(struct deform *d, const struct kf_volume *fixed)
{
    struct kf_work quiet = *d->work;
    struct kf_affine still;
    quiet.progress = NULL;
    kf_affine_identity(&still);
    enum kf_kernel_status status = kf_resample(&quiet, fixed, still.m, KF_RESAMPLE_LINEAR, -1, &d->seen[0]);
    int16_t *v = d->seen[0].data;
    const int64_t total = kf_grid_voxels(&d->seen[0].grid);
#pragma omp parallel for num_threads(d->work->threads) schedule(static)
    for (int64_t n = 0; n < total; n++)
        if (!status && d->mask && !in_mask(d, &d->seen[0].grid, n))
            v[n] = -1;
    return status;
}

// ---- the search ----

// What the field is worth now.
static void compare(struct deform *d)
{
    const struct kf_warp warp = {
        .moving = d->moving, .linear = &d->linear, .nodes = &d->nodes, .values = d->values, .fine = d->fine};
    kf_spline_at_nodes(d->work, &d->spline, d->c, d->values, d->scratch);
    kf_warp_levels(d->work, &warp, &d->seen[1]);
    kf_match_find(d->work, &d->seen[0], &d->seen[1], d->bins, &d->match);
}

// How many of the voxels that are compared lie in one of an image's, in the coarser image: a thick slice is looked at
// more than once, and what it says would count as often.
static double repeats(const struct deform *d, int size)
{
    double most = 1;
    for (int i = 0; i < 2; i++) {
        double here = 1;
        for (int a = 0; a < 3; a++) {
            const double times = floor(d->input[i]->merged.image.grid.spacing_mm[a] * d->size[size] / d->h + 1e-6);
            here *= times > 1 ? times : 1;
        }
        most = here > most ? here : most;
    }
    return most;
}

// Both images in voxels of one size, and what the field is worth there.
static enum kf_kernel_status look_at(struct deform *d, int size)
{
    d->fine = d->size[size];
    d->repeats = repeats(d, size);
    d->moving = &d->input[1]->at[size].image;
    for (int i = 0; i < 2; i++)
        d->seen[i].grid = fine_grid(d, d->fine);
    enum kf_kernel_status status = see_fixed(d, &d->input[0]->at[size].image);
    if (!status)
        compare(d);
    return status;
}

// `steps` steps from a field that was compared; compares the last one.
static enum kf_kernel_status walk(struct deform *d, int steps, double bend, enum kf_match_slopes slopes)
{
    const double stiffness = d->how->stiffness > 0 ? d->how->stiffness : 1, node = 1 / (d->h * d->h);
    for (int n = 0; n < steps; n++) {
        d->done += 1.0 / STEPS;
        if (kf_work_step(d->work, d->from + d->span * d->done))
            return KF_KERNEL_CANCELLED;
        if (d->match.voxels < OVERLAP)
            return KF_KERNEL_INVALID;
        kf_match_model(d->work, &d->match, &d->seen[0], &d->seen[1], slopes, d->fine, LIMIT * d->h / d->fine, d->model);
        kf_spline_step(d->work, &d->spline, d->model, (float)(d->repeats * stiffness * bend * node),
                       (float)(DAMP * node), d->c, d->scratch);
        compare(d);
    }
    return KF_KERNEL_OK;
}

// Where the field gives in to details, the slopes of the noisier image would draw it off: which one that is shows in
// what the images then say of each other.
static enum kf_kernel_status finish(struct deform *d)
{
    const size_t bytes = (size_t)(3 * d->spline.count) * sizeof *d->c;
    double mi[2];
    memcpy(d->kept, d->c, bytes);
    enum kf_kernel_status status = walk(d, TRIAL, LAST_BEND, KF_SLOPES_MOVING);
    if (status)
        return status;
    mi[0] = d->match.mi;
    for (int64_t n = 0; n < 3 * d->spline.count; n++) {
        float c = d->c[n];
        d->c[n] = d->kept[n];
        d->kept[n] = c;
    }
    compare(d);
    status = walk(d, TRIAL, LAST_BEND, KF_SLOPES_FIXED);
    mi[1] = d->match.mi;
    if (!status && mi[0] >= mi[1]) {
        memcpy(d->c, d->kept, bytes);
        compare(d);
    }
    return status ? status : walk(d, LAST, LAST_BEND, mi[0] >= mi[1] ? KF_SLOPES_MOVING : KF_SLOPES_FIXED);
}

static void to_field(const struct deform *d, struct kf_field *field)
{
    for (int64_t n = 0; n < d->count; n++)
        for (int c = 0; c < 3; c++) {
            double sum = 0;
            for (int a = 0; a < 3; a++)
                sum += d->nodes.direction[3 * c + a] * (double)d->values[a * d->count + n];
            field->xyz[c * d->count + n] = (float)sum;
        }
}

// One direction. *field is owned, whatever comes back; d->model is that of the last step.
static enum kf_kernel_status one_way(struct deform *d, struct kf_field *field)
{
    enum kf_kernel_status status = kf_field_take(d->work, &d->nodes, field);
    if (!status)
        status = prepare(d);
    for (int size = 0; size < SIZES && !status; size++) {
        if (size > 0 && d->size[size] == d->size[size - 1])
            break;
        status = look_at(d, size);
        for (size_t n = 0; n < sizeof stages / sizeof *stages && !status; n++)
            status = walk(d, stages[n].steps, stages[n].bend, KF_SLOPES_BOTH);
    }
    if (!status)
        status = finish(d);
    if (!status) {
        to_field(d, field);
        status = kf_field_unfold(d->work, field, NULL, LEAST);
    }
    release_search(d);
    return status;
}

// ---- the judge ----

static void drop(struct kf_field *field, enum kf_deform_dropped why, struct kf_register_deform_report *report)
{
    memset(field->xyz, 0, (size_t)(3 * kf_grid_voxels(&field->grid)) * sizeof *field->xyz);
    report->dropped = why;
}

struct judged {
    struct kf_volume seen;
    uint8_t *valid, *mind[3]; // of the fixed image, the moving one without a field, and with it
    float *scratch;
};

// The descriptors of an image through a field. What is outside of it gets its darkest value, so that nothing stands
// out, and is not valid.
static enum kf_kernel_status describe(const struct deform *d, const struct kf_volume *image,
                                      const struct kf_field *field, const struct kf_affine *linear, struct judged *j,
                                      uint8_t *mind)
{
    const int64_t total = kf_grid_voxels(&j->seen.grid);
    struct kf_work quiet = *d->work;
    quiet.progress = NULL;
    enum kf_kernel_status status = kf_field_warp(&quiet, field, linear, image, 0, OUTSIDE, &j->seen);
    if (status)
        return status;
    int16_t *v = j->seen.data, least = 32767;
    for (int64_t n = 0; n < total; n++)
        least = v[n] > OUTSIDE && v[n] < least ? v[n] : least;
    for (int64_t n = 0; n < total; n++)
        if (v[n] == OUTSIDE) {
            v[n] = least;
            j->valid[n] = 0;
        }
    kf_mind(d->work, &j->seen, j->scratch, mind);
    return KF_KERNEL_OK;
}

// Along a line, which stays valid where as many voxels as a descriptor sees are, both ways.
static void erode_line(uint8_t *valid, int64_t n, int64_t step)
{
    for (int64_t i = 0, run = 0; i < n; i++) {
        run = valid[i * step] ? run + 1 : 0;
        valid[i * step] = (uint8_t)(run > KF_MIND_REACH ? KF_MIND_REACH + 1 : run);
    }
    for (int64_t i = n - 1, run = 0; i >= 0; i--) {
        run = valid[i * step] ? run + 1 : 0;
        valid[i * step] = run > KF_MIND_REACH && valid[i * step] > KF_MIND_REACH;
    }
}

// What is compared: voxels in the mask whose descriptors see neither image's end, before or after. At an end they see
// what is made up, which a field moves as it likes.
static void find_valid(const struct deform *d, struct judged *j)
{
    const struct kf_grid *g = &j->seen.grid;
    const int64_t *dim = g->dim, plane = dim[0] * dim[1];
    for (int64_t row = 0; row < dim[1] * dim[2]; row++)
        erode_line(j->valid + row * dim[0], dim[0], 1);
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t i = 0; i < dim[0]; i++)
            erode_line(j->valid + k * plane + i, dim[1], dim[0]);
    for (int64_t n = 0; n < plane; n++)
        erode_line(j->valid + n, dim[2], plane);
#pragma omp parallel for num_threads(d->work->threads) schedule(static)
    for (int64_t n = 0; n < plane * dim[2]; n++)
        if (!in_mask(d, g, n))
            j->valid[n] = 0;
}

// Whether the field makes the images more alike to descriptors that had no part in the search. If it does not, nothing
// moves: what makes them less alike is no deformation.
static enum kf_kernel_status judge(struct deform *d, struct kf_field *field, struct kf_register_deform_report *report)
{
    const int64_t voxels = JUDGED * JUDGED * JUDGED * d->count;
    const struct kf_volume *fixed = &d->input[0]->at[SIZES - 1].image, *moving = &d->input[1]->at[SIZES - 1].image;
    const struct kf_field none = {0};
    struct kf_affine still;
    struct judged j = {
        .seen = {.grid = fine_grid(d, JUDGED), .type = KF_VOXEL_INT16, .data = kf_work_take(d->work, 2 * voxels)},
        .valid = kf_work_take(d->work, voxels),
        .scratch = kf_work_take(d->work, 28 * voxels)};
    int all = j.seen.data && j.valid && j.scratch;
    for (int i = 0; i < 3; i++) {
        j.mind[i] = kf_work_take(d->work, KF_MIND_BYTES * voxels);
        all = all && j.mind[i];
    }
    kf_affine_identity(&still);
    if (all)
        memset(j.valid, 1, (size_t)voxels);
    enum kf_kernel_status status = all ? describe(d, fixed, &none, &still, &j, j.mind[0]) : KF_KERNEL_NOMEM;
    if (!status)
        status = describe(d, moving, &none, &d->linear, &j, j.mind[1]);
    if (!status)
        status = describe(d, moving, field, &d->linear, &j, j.mind[2]);
    if (!status) {
        find_valid(d, &j);
        report->before = kf_mind_difference(j.mind[0], j.mind[1], j.valid, voxels);
        report->after = kf_mind_difference(j.mind[0], j.mind[2], j.valid, voxels);
        status = report->before < 0 ? KF_KERNEL_INVALID : KF_KERNEL_OK;
    }
    if (!status && !report->dropped && report->after > GAIN * report->before)
        drop(field, KF_DEFORM_NO_GAIN, report);
    if (report->dropped)
        report->after = report->before;
    for (int i = 0; i < 3; i++)
        kf_work_give(d->work, j.mind[i]);
    kf_work_give(d->work, j.scratch);
    kf_work_give(d->work, j.valid);
    kf_work_give(d->work, j.seen.data);
    return status;
}

// What is summed slice by slice, so that sums do not depend on who made them.
struct slice {
    double sum, weight, way, most, most_way;
};

static struct slice all_of(const struct slice *slices, int64_t count)
{
    struct slice all = {0};
    for (int64_t k = 0; k < count; k++) {
        all.sum += slices[k].sum;
        all.weight += slices[k].weight;
        all.way += slices[k].way;
        all.most = slices[k].most > all.most ? slices[k].most : all.most;
        all.most_way = slices[k].most_way > all.most_way ? slices[k].most_way : all.most_way;
    }
    return all;
}

static double length(const double d[3])
{
    return sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
}

// Node n of the field goes to the middle of both directions.
static void middle_of_node(const struct deform *d, const struct kf_affine *back, struct kf_field *field,
                           const struct kf_field *other, int64_t n, struct slice *slice)
{
    const double ijk[3] = {(double)(n % d->nodes.dim[0]), (double)(n / d->nodes.dim[0] % d->nodes.dim[1]),
                           (double)(n / d->nodes.dim[0] / d->nodes.dim[1])};
    double p[3], q[3], there[3], apart[3], weight = 0;
    kf_grid_to_lps(&d->nodes, ijk, p);
    kf_affine_apply(&d->linear, p, q);
    kf_field_invert_at(other, q, q);
    kf_affine_apply(back, q, there);
    for (int a = 0; a < 3; a++) {
        float *x = field->xyz + a * d->count + n;
        apart[a] = there[a] - p[a] - (double)*x;
        weight += (double)d->model[a * d->count + n];
        *x = (float)((double)*x + 0.5 * apart[a]);
    }
    const double far = length(apart);
    slice->sum += weight * far;
    slice->weight += weight;
    slice->most = weight > 0 && far > slice->most ? far : slice->most;
}

// The middle of the field found one way and the inverse of the one found the other way. How far they are apart is
// weighed by how much the images say at a node (the model's curvatures): in air nothing pulls at either.
static enum kf_kernel_status take_middle(const struct deform *d, const struct kf_affine *back, struct kf_field *field,
                                         const struct kf_field *other, struct kf_register_deform_report *report)
{
    const int64_t slices = d->nodes.dim[2], each = d->count / slices;
    struct slice slice[KF_SPLINE_MOST] = {{0}};
    struct kf_work quiet = *d->work;
    quiet.progress = NULL;
    struct kf_loop loop = kf_loop_make(&quiet, slices, 0, 1);
#pragma omp parallel for num_threads(d->work->threads) schedule(dynamic, 1)
    for (int64_t k = 0; k < slices; k++)
        for (int64_t n = 0, stop = kf_loop_stop(&loop); n < each && !stop; n++)
            middle_of_node(d, back, field, other, k * each + n, &slice[k]);
    if (loop.stop)
        return KF_KERNEL_CANCELLED;
    const struct slice all = all_of(slice, slices);
    report->ways_mean_mm = all.weight > 0 ? all.sum / all.weight : 0;
    report->ways_max_mm = all.most;
    return KF_KERNEL_OK;
}

// How far node n moves, and how far the inverse misses it on the way back.
static void judge_node(const struct kf_field *field, const struct kf_field *inverse, int64_t n, struct slice *slice)
{
    const struct kf_grid *g = &field->grid;
    const int64_t count = kf_grid_voxels(g);
    const double ijk[3] = {(double)(n % g->dim[0]), (double)(n / g->dim[0] % g->dim[1]),
                           (double)(n / g->dim[0] / g->dim[1])};
    double p[3], q[3], e[3], moved[3], missed[3];
    kf_grid_to_lps(g, ijk, p);
    for (int a = 0; a < 3; a++) {
        moved[a] = (double)field->xyz[a * count + n];
        q[a] = p[a] + moved[a];
    }
    kf_field_at(inverse, q, e);
    for (int a = 0; a < 3; a++)
        missed[a] = moved[a] + e[a];
    const double way = length(moved), miss = length(missed);
    slice->way += way;
    slice->sum += miss;
    slice->most_way = way > slice->most_way ? way : slice->most_way;
    slice->most = miss > slice->most ? miss : slice->most;
}

enum kf_kernel_status kf_register_deform_judge(const struct kf_work *work, const struct kf_field *field,
                                               struct kf_register_deform_report *report)
{
    const int64_t slices = field->grid.dim[2], each = field->grid.dim[0] * field->grid.dim[1];
    const double count = (double)kf_grid_voxels(&field->grid);
    struct kf_field inverse;
    struct kf_work quiet = *work;
    quiet.progress = NULL;
    enum kf_kernel_status status = kf_field_invert(work, field, &inverse);
    if (status)
        return status;
    struct slice *slice = kf_work_take(work, slices * (int64_t)sizeof *slice);
    if (!slice) {
        kf_field_release(work, &inverse);
        return KF_KERNEL_NOMEM;
    }
    memset(slice, 0, (size_t)slices * sizeof *slice);
    struct kf_loop loop = kf_loop_make(&quiet, slices, 0, 1);
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t k = 0; k < slices; k++)
        for (int64_t n = 0, stop = kf_loop_stop(&loop); n < each && !stop; n++)
            judge_node(field, &inverse, k * each + n, &slice[k]);
    const struct slice all = all_of(slice, slices);
    report->inverse_mean_mm = all.sum / count;
    report->inverse_max_mm = all.most;
    report->moved_mean_mm = all.way / count;
    report->moved_max_mm = all.most_way;
    kf_work_give(work, slice);
    kf_field_release(work, &inverse);
    if (loop.stop)
        return KF_KERNEL_CANCELLED;
    report->jacobian = kf_field_jacobian(work, field);
    return KF_KERNEL_OK;
}

// The middle of both directions in *field, or no displacement where they differ so much that there is nothing to
// believe in either.
static enum kf_kernel_status other_way(const struct deform *d, struct deform *e, struct kf_field *field,
                                       struct kf_register_deform_report *report)
{
    struct kf_field other;
    enum kf_kernel_status status = one_way(e, &other);
    if (!status)
        status = take_middle(d, &e->linear, field, &other, report);
    if (!status && report->ways_mean_mm > APART * d->h)
        drop(field, KF_DEFORM_WAYS_DIFFER, report);
    if (!status)
        status = kf_field_unfold(d->work, field, NULL, LEAST);
    kf_field_release(d->work, &other);
    return status;
}

enum kf_kernel_status kf_register_deform(const struct kf_work *work, const struct kf_volume *fixed,
                                         const struct kf_volume *moving, const struct kf_register_deform *how,
                                         struct kf_field *field, struct kf_register_deform_report *report)
{
    struct input input[2] = {{.merged = {.owned_image = 0}}, {.merged = {.owned_image = 0}}};
    struct deform d = {.work = work,
                       .how = how,
                       .linear = *how->linear,
                       .mask = how->fixed_mask,
                       .input = {&input[0], &input[1]},
                       .span = how->both_ways ? 0.5 : 1};
    struct deform e = d;
    *report = (struct kf_register_deform_report){.ways_mean_mm = -1, .ways_max_mm = -1};
    *field = (struct kf_field){0};
    if (kf_affine_invert(how->linear, &e.linear))
        return KF_KERNEL_INVALID;
    e.to_mask = &e.linear;
    e.input[0] = &input[1];
    e.input[1] = &input[0];
    e.from = 0.5;
    if (!make_nodes(&d, &fixed->grid, &moving->grid) ||
        (how->both_ways && !make_nodes(&e, &moving->grid, &fixed->grid)))
        return KF_KERNEL_INVALID;
    enum kf_kernel_status status = kf_work_step(work, 0) ? KF_KERNEL_CANCELLED : take_input(&d, fixed, &input[0]);
    if (!status)
        status = take_input(&d, moving, &input[1]);
    if (!status)
        status = one_way(&d, field);
    if (!status && how->both_ways)
        status = other_way(&d, &e, field, report);
    if (!status)
        status = judge(&d, field, report);
    kf_work_give(work, d.model);
    kf_work_give(work, e.model);
    release_input(work, &input[0]);
    release_input(work, &input[1]);
    if (!status)
        status = kf_register_deform_judge(work, field, report);
    if (status) {
        kf_field_release(work, field);
        *report = (struct kf_register_deform_report){.ways_mean_mm = -1, .ways_max_mm = -1};
    }
    return status;
}
