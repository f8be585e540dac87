// Few coefficients, ever less stiff, in ever smaller voxels: warp, count, ask every voxel, let the smooth field settle;
// then a judge that saw nothing of it.
#include "workers/kernels/register_deform_inside.h"

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
#define LOOK    65536      // nodes between looks at whether to stop

// The bending energy's weight, in nats per square of a node's way, falls from stage to stage, in large voxels (one to a
// node, which see far) as in small ones.
static const struct stage {
    int steps;
    double bend;
} stages[] = {{4, 320}, {4, 32}};
#define LAST_BEND 1.6
#define TRIAL     2 // steps of the last stage with the slopes of either image
#define LAST      3 // and with the better ones after that
#define SIZES     3 // of voxels, the last of which all is done with
#define STEPS     (SIZES * (4 + 4) + 2 * TRIAL + LAST)

struct deform {
    const struct kf_work *work;
    const struct kf_register_deform *how;
    struct kf_affine linear;
    const struct kf_volume *mask;
    const struct kf_affine *to_mask;                   // from this way's fixed image; NULL: it is the mask's
    struct kf_reg_image taken[2], merged[2], image[2]; // fixed, moving: original, levels merged little, and to be seen
    struct kf_grid nodes;
    double h;
    int fine; // voxels that are compared, per node and axis, at present
    int64_t count;
    struct kf_spline spline;
    struct kf_volume seen[2]; // int16 on the grid of the voxels that are compared: fixed, moving warped
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
    d->fine = many < 2 ? 2 : many > FINEST ? FINEST : (int)many;
    d->h = d->how->grid_mm > 0 || voxel > GRID_MM / 2 ? wanted : d->fine * voxel;
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

static void release(struct deform *d)
{
    void *const blocks[] = {d->seen[0].data, d->seen[1].data, d->c, d->kept, d->values, d->model, d->bins, d->scratch};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        kf_work_give(d->work, blocks[i]);
    for (int i = 0; i < 2; i++) {
        kf_reg_image_release(d->work, &d->image[i]);
        kf_reg_image_release(d->work, &d->merged[i]);
        kf_reg_image_release(d->work, &d->taken[i]);
    }
}

static enum kf_kernel_status take_image(struct deform *d, const struct kf_volume *in, int i)
{
    struct kf_reg_units units;
    if (in->type == KF_VOXEL_UINT16 || !kf_reg_units_find(in, &units))
        return KF_KERNEL_INVALID;
    enum kf_kernel_status status = kf_reg_image_take(d->work, in, NULL, &units, &d->taken[i]);
    if (!status)
        status = kf_reg_image_reduce(d->work, &d->taken[i], d->h / (2 * d->fine), &d->merged[i]);
    if (!status && !d->merged[i].owned_image) { // to be written to
        const int64_t bytes = 2 * kf_grid_voxels(&d->merged[i].image.grid);
        void *copy = kf_work_take(d->work, bytes);
        if (!copy)
            return KF_KERNEL_NOMEM;
        memcpy(copy, d->merged[i].image.data, (size_t)bytes);
        d->merged[i].image.data = copy;
        d->merged[i].owned_image = 1;
    }
    if (!status)
        kf_reg_image_release(d->work, &d->taken[i]); // nobody reads it any more
    if (!status)
        status = kf_levels_make(d->work, &units, &d->merged[i].image);
    return status;
}

static enum kf_kernel_status prepare(struct deform *d, const struct kf_volume *fixed, const struct kf_volume *moving)
{
    if (!kf_spline_init(&d->spline, d->nodes.dim, KNOT))
        return KF_KERNEL_INVALID;
    enum kf_kernel_status status = take_image(d, fixed, 0);
    if (!status)
        status = take_image(d, moving, 1);
    if (status)
        return status;
    const int64_t coefficients = 3 * 4 * d->spline.count;
    for (int i = 0; i < 2; i++)
        d->seen[i] = (struct kf_volume){.type = KF_VOXEL_INT16, .data = kf_work_take(d->work, 2 * fine_voxels(d))};
    d->c = kf_work_take(d->work, coefficients);
    d->kept = kf_work_take(d->work, coefficients);
    d->values = kf_work_take(d->work, 3 * 4 * d->count);
    d->model = kf_work_take(d->work, 9 * 4 * d->count);
    d->scratch = kf_work_take(d->work, 4 * kf_spline_scratch(&d->spline));
    d->bins = kf_work_take(d->work, KF_MATCH_BYTES);
    if (!d->seen[0].data || !d->seen[1].data || !d->c || !d->kept || !d->values || !d->model || !d->scratch || !d->bins)
        return KF_KERNEL_NOMEM;
    memset(d->c, 0, (size_t)coefficients);
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

static enum kf_kernel_status see_fixed(struct deform *d)
{
    struct kf_work quiet = *d->work;
    struct kf_affine still;
    const struct kf_field none = {0};
    quiet.progress = NULL;
    kf_affine_identity(&still);
    enum kf_kernel_status status = kf_field_warp(&quiet, &none, &still, &d->image[0].image, 0, -1, &d->seen[0]);
    int16_t *v = d->seen[0].data;
    const int64_t total = fine_voxels(d);
#pragma omp parallel for num_threads(d->work->threads) schedule(static)
    for (int64_t n = 0; n < total; n++)
        if (!status && !in_mask(d, &d->seen[0].grid, n))
            v[n] = -1;
    return status;
}

// From voxels of the comparison to those of the moving image.
struct way {
    const int16_t *voxels;
    int64_t dim[3];
    double start[3], step[3][3]; // of voxel (0, 0, 0), and along i, j, k
    float turn[9];               // mm along the grid's axes → voxels
};

static void find_way(const struct deform *d, struct way *w)
{
    const struct kf_grid *g = &d->seen[1].grid;
    const double *to = d->image[1].to_ijk, *m = d->linear.m;
    double all[12];
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 4; c++)
            all[4 * r + c] =
                to[4 * r] * m[c] + to[4 * r + 1] * m[4 + c] + to[4 * r + 2] * m[8 + c] + (c == 3 ? to[4 * r + 3] : 0);
    w->voxels = d->image[1].image.data;
    memcpy(w->dim, d->image[1].image.grid.dim, sizeof w->dim);
    for (int r = 0; r < 3; r++) {
        w->start[r] = all[4 * r + 3];
        for (int c = 0; c < 3; c++) {
            w->start[r] += all[4 * r + c] * g->origin_lps[c];
            double along = 0;
            for (int k = 0; k < 3; k++)
                along += all[4 * r + k] * g->direction[3 * k + c];
            w->step[c][r] = along * g->spacing_mm[c];
            w->turn[3 * r + c] = (float)along;
        }
    }
}

// The node before voxel i of an axis, the way to the next one, and 1 or 0 where there is none.
static int64_t node_before(int64_t i, int fine, int64_t nodes, float *t, int64_t *next)
{
    float at = ((float)i + 0.5f) / (float)fine - 0.5f;
    at = at > 0 ? at : 0;
    int64_t low = (int64_t)at;
    *next = low + 1 < nodes;
    *t = *next ? at - (float)low : 0;
    return *next ? low : nodes - 1;
}

// Displacements along a row of nodes, in voxels of the moving image.
static void row_of_nodes(const struct deform *d, const struct way *w, int64_t j, int64_t k, float (*line)[3])
{
    const int64_t *n = d->nodes.dim;
    float ty, tz;
    int64_t next_y, next_z, y = node_before(j, d->fine, n[1], &ty, &next_y),
                            z = node_before(k, d->fine, n[2], &tz, &next_z);
    next_y *= n[0];
    next_z *= n[0] * n[1];
    for (int64_t i = 0; i < n[0]; i++) {
        float u[3];
        for (int a = 0; a < 3; a++) {
            const float *p = d->values + a * d->count + i + n[0] * (y + n[1] * z);
            float front = p[0] + ty * (p[next_y] - p[0]), back = p[next_z] + ty * (p[next_y + next_z] - p[next_z]);
            u[a] = front + tz * (back - front);
        }
        for (int r = 0; r < 3; r++)
            line[i][r] = w->turn[3 * r] * u[0] + w->turn[3 * r + 1] * u[1] + w->turn[3 * r + 2] * u[2];
    }
}

// The level at a place of the moving image; -1 beyond its outermost voxels.
static int16_t level_at(const struct way *w, const float at[3])
{
    int64_t low[3], step[3] = {1, w->dim[0], w->dim[0] * w->dim[1]};
    float t[3];
    for (int a = 0; a < 3; a++) {
        const float most = (float)(w->dim[a] - 1);
        if (!(at[a] >= 0 && at[a] <= most))
            return -1;
        low[a] = (int64_t)at[a];
        t[a] = at[a] - (float)low[a];
        step[a] = low[a] + 1 < w->dim[a] ? step[a] : 0;
    }
    const int16_t *p = w->voxels + low[0] + w->dim[0] * (low[1] + w->dim[1] * low[2]);
    float line[4];
    for (int n = 0; n < 4; n++) {
        const int16_t *q = p + (n & 1 ? step[1] : 0) + (n & 2 ? step[2] : 0);
        line[n] = (float)q[0] + t[0] * (float)(q[step[0]] - q[0]);
    }
    const float front = line[0] + t[1] * (line[1] - line[0]), back = line[2] + t[1] * (line[3] - line[2]);
    return (int16_t)(front + t[2] * (back - front) + 0.5f);
}

static void see_moving(const struct deform *d)
{
    struct way w;
    const int64_t *dim = d->seen[1].grid.dim;
    int16_t *out = d->seen[1].data;
    find_way(d, &w);
#pragma omp parallel for num_threads(d->work->threads) schedule(dynamic, 16)
    for (int64_t row = 0; row < dim[1] * dim[2]; row++) {
        const int64_t j = row % dim[1], k = row / dim[1];
        float line[KF_SPLINE_MOST][3];
        row_of_nodes(d, &w, j, k, line);
        for (int64_t i = 0; i < dim[0]; i++) {
            float t, at[3];
            int64_t next, node = node_before(i, d->fine, d->nodes.dim[0], &t, &next);
            for (int a = 0; a < 3; a++) {
                const double still =
                    w.start[a] + (double)i * w.step[0][a] + (double)j * w.step[1][a] + (double)k * w.step[2][a];
                at[a] = (float)still + line[node][a] + t * (line[node + next][a] - line[node][a]);
            }
            out[row * dim[0] + i] = level_at(&w, at);
        }
    }
}

// ---- the search ----

// What the field is worth now.
static void compare(struct deform *d)
{
    kf_spline_at_nodes(d->work, &d->spline, d->c, d->values, d->scratch);
    see_moving(d);
    kf_match_find(d->work, &d->seen[0], &d->seen[1], d->bins, &d->match);
}

// Both images with `fine` voxels to a node and axis, and what the field is worth there.
static enum kf_kernel_status look_at(struct deform *d, int fine)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    d->fine = fine;
    for (int i = 0; i < 2 && !status; i++) {
        kf_reg_image_release(d->work, &d->image[i]);
        d->seen[i].grid = fine_grid(d, fine);
        status = kf_reg_image_reduce(d->work, &d->merged[i], d->h / fine, &d->image[i]);
    }
    if (!status)
        status = see_fixed(d);
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
        kf_spline_step(d->work, &d->spline, d->model, (float)(stiffness * bend * node), (float)(DAMP * node), d->c,
                       d->scratch);
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

// One direction. *field is owned, whatever comes back.
static enum kf_kernel_status one_way(struct deform *d, const struct kf_volume *fixed, const struct kf_volume *moving,
                                     struct kf_field *field)
{
    *field = (struct kf_field){0};
    if (!make_nodes(d, &fixed->grid, &moving->grid))
        return KF_KERNEL_INVALID;
    enum kf_kernel_status status = kf_field_take(d->work, &d->nodes, field);
    if (!status && kf_work_step(d->work, d->from))
        status = KF_KERNEL_CANCELLED;
    if (!status)
        status = prepare(d, fixed, moving);
    const int finest = d->fine;
    for (int fine = 1; !status; fine = 2 * fine < finest ? 2 * fine : finest) {
        status = look_at(d, fine);
        for (size_t n = 0; n < sizeof stages / sizeof *stages && !status; n++)
            status = walk(d, stages[n].steps, stages[n].bend, KF_SLOPES_BOTH);
        if (fine == finest)
            break;
    }
    if (!status)
        status = finish(d);
    if (!status) {
        to_field(d, field);
        status = kf_field_unfold(d->work, field, NULL, LEAST);
    }
    return status;
}

// ---- the judge ----

// Where both images are, and the mask is; what is outside of an image gets its darkest value, so that nothing
// stands out.
static void find_valid(const struct deform *d, const struct kf_volume seen[2], uint8_t *valid)
{
    const struct kf_grid *g = &seen[0].grid;
    const int64_t total = kf_grid_voxels(g);
    memset(valid, 1, (size_t)total);
    for (int i = 0; i < 2; i++) {
        int16_t *v = seen[i].data, least = 32767;
        for (int64_t n = 0; n < total; n++)
            least = v[n] > OUTSIDE && v[n] < least ? v[n] : least;
        for (int64_t n = 0; n < total; n++)
            if (v[n] == OUTSIDE) {
                v[n] = least;
                valid[n] = 0;
            }
    }
#pragma omp parallel for num_threads(d->work->threads) schedule(static)
    for (int64_t n = 0; n < total; n++)
        if (!in_mask(d, g, n))
            valid[n] = 0;
}

// Mean difference of the descriptors with `field`, or without one.
static enum kf_kernel_status difference(const struct deform *d, const struct kf_field *field, struct kf_volume seen[2],
                                        uint8_t *const mind[2], uint8_t *valid, float *scratch, double *result)
{
    struct kf_work quiet = *d->work;
    struct kf_affine still;
    const struct kf_field none = {0};
    quiet.progress = NULL;
    kf_affine_identity(&still);
    enum kf_kernel_status status = kf_field_warp(&quiet, &none, &still, &d->image[0].image, 0, OUTSIDE, &seen[0]);
    if (!status)
        status = kf_field_warp(&quiet, field, &d->linear, &d->image[1].image, 0, OUTSIDE, &seen[1]);
    if (status)
        return status;
    find_valid(d, seen, valid);
    for (int i = 0; i < 2; i++)
        kf_mind(d->work, &seen[i], scratch, mind[i]);
    *result = kf_mind_difference(mind[0], mind[1], valid, kf_grid_voxels(&seen[0].grid));
    return KF_KERNEL_OK;
}

// Whether the field makes the images more alike to descriptors that had no part in the search. If it does not, nothing
// moves: what makes them less alike is no deformation.
static enum kf_kernel_status judge(struct deform *d, struct kf_field *field, struct kf_register_deform_report *report)
{
    const int64_t voxels = JUDGED * JUDGED * JUDGED * d->count;
    const struct kf_field none = {0};
    struct kf_volume seen[2];
    uint8_t *mind[2], *valid = kf_work_take(d->work, voxels);
    float *scratch = kf_work_take(d->work, 28 * voxels);
    int all = valid && scratch;
    for (int i = 0; i < 2; i++) {
        seen[i] = (struct kf_volume){
            .grid = fine_grid(d, JUDGED), .type = KF_VOXEL_INT16, .data = kf_work_take(d->work, 2 * voxels)};
        mind[i] = kf_work_take(d->work, KF_MIND_BYTES * voxels);
        all = all && seen[i].data && mind[i];
    }
    enum kf_kernel_status status = all ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status)
        status = difference(d, &none, seen, mind, valid, scratch, &report->before);
    if (!status && report->before < 0)
        status = KF_KERNEL_INVALID;
    if (!status)
        status = difference(d, field, seen, mind, valid, scratch, &report->after);
    if (!status && (report->after < 0 || report->after > GAIN * report->before)) {
        memset(field->xyz, 0, (size_t)(3 * d->count) * sizeof *field->xyz);
        report->after = report->before;
    }
    for (int i = 0; i < 2; i++) {
        kf_work_give(d->work, mind[i]);
        kf_work_give(d->work, seen[i].data);
    }
    kf_work_give(d->work, scratch);
    kf_work_give(d->work, valid);
    return status;
}

// The middle of the field found one way and the inverse of the one found the other way. How far they are apart is
// weighed by how much the images say at a node (the model's curvatures): in air nothing pulls at either.
static enum kf_kernel_status take_middle(const struct deform *d, const struct kf_affine *back, struct kf_field *field,
                                         const struct kf_field *other, struct kf_register_deform_report *report)
{
    double sum = 0, most = 0, total = 0;
    for (int64_t n = 0; n < d->count; n++) {
        if (n % LOOK == 0 && d->work->cancelled && d->work->cancelled(d->work->user))
            return KF_KERNEL_CANCELLED;
        const double ijk[3] = {(double)(n % d->nodes.dim[0]), (double)(n / d->nodes.dim[0] % d->nodes.dim[1]),
                               (double)(n / d->nodes.dim[0] / d->nodes.dim[1])};
        double p[3], q[3], there[3], square = 0, weight = 0;
        kf_grid_to_lps(&d->nodes, ijk, p);
        kf_affine_apply(&d->linear, p, q);
        kf_field_invert_at(other, q, q);
        kf_affine_apply(back, q, there);
        for (int a = 0; a < 3; a++) {
            float *x = field->xyz + a * d->count + n;
            double apart = there[a] - p[a] - (double)*x;
            square += apart * apart;
            weight += (double)d->model[a * d->count + n];
            *x = (float)((double)*x + 0.5 * apart);
        }
        sum += weight * sqrt(square);
        total += weight;
        most = weight > 0 && sqrt(square) > most ? sqrt(square) : most;
    }
    report->ways_mean_mm = total > 0 ? sum / total : 0;
    report->ways_max_mm = most;
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_register_deform_judge(const struct kf_work *work, const struct kf_field *field,
                                               struct kf_register_deform_report *report)
{
    struct kf_field inverse;
    enum kf_kernel_status status = kf_field_invert(work, field, &inverse);
    if (status)
        return status;
    const struct kf_grid *g = &field->grid;
    const int64_t count = kf_grid_voxels(g);
    double way = 0;
    report->inverse_mean_mm = report->inverse_max_mm = report->moved_max_mm = 0;
    for (int64_t n = 0; n < count; n++) {
        if (n % LOOK == 0 && work->cancelled && work->cancelled(work->user)) {
            kf_field_release(work, &inverse);
            return KF_KERNEL_CANCELLED;
        }
        const double ijk[3] = {(double)(n % g->dim[0]), (double)(n / g->dim[0] % g->dim[1]),
                               (double)(n / g->dim[0] / g->dim[1])};
        double p[3], q[3], e[3], square = 0, moved = 0;
        kf_grid_to_lps(g, ijk, p);
        for (int a = 0; a < 3; a++) {
            double x = (double)field->xyz[a * count + n];
            q[a] = p[a] + x;
            moved += x * x;
        }
        kf_field_at(&inverse, q, e);
        for (int a = 0; a < 3; a++)
            square += (q[a] + e[a] - p[a]) * (q[a] + e[a] - p[a]);
        report->inverse_mean_mm += sqrt(square) / (double)count;
        report->inverse_max_mm = sqrt(square) > report->inverse_max_mm ? sqrt(square) : report->inverse_max_mm;
        way += sqrt(moved);
        report->moved_max_mm = sqrt(moved) > report->moved_max_mm ? sqrt(moved) : report->moved_max_mm;
    }
    report->moved_mean_mm = way / (double)count;
    report->jacobian = kf_field_jacobian(work, field);
    kf_field_release(work, &inverse);
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_register_deform(const struct kf_work *work, const struct kf_volume *fixed,
                                         const struct kf_volume *moving, const struct kf_register_deform *how,
                                         struct kf_field *field, struct kf_register_deform_report *report)
{
    struct deform d = {.work = work, .how = how, .linear = *how->linear, .mask = how->fixed_mask};
    struct kf_affine back;
    *report = (struct kf_register_deform_report){.ways_mean_mm = -1, .ways_max_mm = -1};
    *field = (struct kf_field){0};
    if (kf_affine_invert(how->linear, &back))
        return KF_KERNEL_INVALID;
    d.span = how->both_ways ? 0.5 : 1;
    enum kf_kernel_status status = one_way(&d, fixed, moving, field);
    if (!status && how->both_ways) {
        struct kf_field other;
        struct deform e = {.work = work,
                           .how = how,
                           .linear = back,
                           .mask = how->fixed_mask,
                           .to_mask = &back,
                           .from = 0.5,
                           .span = 0.5};
        status = one_way(&e, moving, fixed, &other);
        release(&e);
        if (!status) {
            status = take_middle(&d, &back, field, &other, report);
            if (report->ways_mean_mm > APART * d.h) // then there is nothing to believe in either
                memset(field->xyz, 0, (size_t)(3 * d.count) * sizeof *field->xyz);
            if (!status)
                status = kf_field_unfold(work, field, NULL, LEAST);
        }
        kf_field_release(work, &other);
    }
    if (!status)
        status = judge(&d, field, report);
    release(&d);
    if (!status)
        status = kf_register_deform_judge(work, field, report);
    if (status) {
        kf_field_release(work, field);
        *report = (struct kf_register_deform_report){.ways_mean_mm = -1, .ways_max_mm = -1};
    }
    return status;
}
