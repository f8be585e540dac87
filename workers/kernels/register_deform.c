// From coarse to fine: warp, describe, cost every displacement, let the smooth field settle, compose, unfold.
#include "workers/kernels/register_deform_inside.h"
#include "workers/kernels/register_inside.h"

#include <math.h>
#include <string.h>

#define OUTSIDE    (-32768.0) // of a warped image where there is none
#define STEP_LEAST 0.3        // Jacobian of one step
#define LEAST      0.05       // and of all of them
#define FAINT      0.05       // curvature of the costs per square voxel below which a node has little to say
#define CG_STEPS   80

// One round: blocks of `size` voxels, `reach` voxels each way, the pull of the smooth field on the choices.
struct round {
    int size, reach, turns;
    double bend;
};
static const struct round rounds[] = {{2, 3, 4, 8}, {2, 3, 4, 4},   {2, 2, 4, 2},  {4, 2, 4, 1},
                                      {4, 1, 1, 1}, {4, 1, 1, 0.5}, {4, 1, 1, 0.5}};
#define ROUNDS (int)(sizeof rounds / sizeof *rounds)

struct deform {
    const struct kf_work *work;
    const struct kf_register_deform *how;
    struct kf_affine linear;
    const struct kf_volume *mask;
    struct kf_reg_image image[3][2]; // [full, merged for the fine rounds, for the coarse][fixed, moving]
    struct kf_grid nodes;
    double h;
    int64_t count;
    struct kf_volume seen[2]; // int16 on the grid of one round: fixed, moving warped
    uint8_t *mind[2], *valid;
    float *scratch, *model, *u, *solve;
    double *sums;
    struct kf_block_costs costs;
    double from, span; // progress
};

static int make_nodes(struct deform *d, const struct kf_grid *fixed)
{
    d->h = d->how->grid_mm > 0 ? d->how->grid_mm : 8;
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

static void release(struct deform *d)
{
    void *const blocks[] = {d->seen[0].data, d->seen[1].data, d->mind[0],   d->mind[1], d->valid,
                            d->scratch,      d->model,        d->u,         d->solve,   d->sums,
                            d->costs.costs,  d->costs.weight, d->costs.line};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        kf_work_give(d->work, blocks[i]);
    for (int n = 0; n < 6; n++)
        kf_reg_image_release(d->work, &d->image[2 - n / 2][n % 2]);
}

static enum kf_kernel_status prepare(struct deform *d, const struct kf_volume *fixed, const struct kf_volume *moving)
{
    const struct kf_volume *const in[2] = {fixed, moving};
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int i = 0; i < 2 && !status; i++) {
        struct kf_reg_units units;
        if (in[i]->type == KF_VOXEL_UINT16 || !kf_reg_units_find(in[i], &units))
            return KF_KERNEL_INVALID;
        status = kf_reg_image_take(d->work, in[i], NULL, &units, &d->image[0][i]);
        if (!status)
            status = kf_reg_image_reduce(d->work, &d->image[0][i], d->h / 4, &d->image[1][i]);
        if (!status)
            status = kf_reg_image_reduce(d->work, &d->image[1][i], d->h / 2, &d->image[2][i]);
    }
    if (status)
        return status;
    const int64_t voxels = 64 * d->count, n = d->count;
    for (int i = 0; i < 2; i++) {
        d->seen[i] = (struct kf_volume){.type = KF_VOXEL_INT16, .data = kf_work_take(d->work, 2 * voxels)};
        d->mind[i] = kf_work_take(d->work, KF_MIND_BYTES * voxels);
    }
    d->valid = kf_work_take(d->work, voxels);
    d->scratch = kf_work_take(d->work, 28 * voxels);
    d->model = kf_work_take(d->work, 9 * 4 * n);
    d->u = kf_work_take(d->work, 6 * 4 * n);
    d->solve = kf_work_take(d->work, 15 * 4 * n);
    d->sums = kf_work_take(d->work, 3 * 8 * n);
    d->costs.costs = kf_work_take(d->work, 2 * 343 * n);
    d->costs.weight = kf_work_take(d->work, 4 * n);
    d->costs.line = kf_work_take(d->work, 4 * n * d->work->threads);
    int all = d->seen[0].data && d->seen[1].data && d->mind[0] && d->mind[1] && d->valid && d->scratch && d->model &&
              d->u && d->solve && d->sums && d->costs.costs && d->costs.weight && d->costs.line;
    return all ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
}

// Where both images are, and the mask is; what is outside of an image gets its darkest value, so that nothing
// stands out.
static void find_valid(const struct deform *d)
{
    const struct kf_grid *g = &d->seen[0].grid;
    const int64_t total = kf_grid_voxels(g);
    memset(d->valid, 1, (size_t)total);
    for (int i = 0; i < 2; i++) {
        int16_t *v = d->seen[i].data, least = 32767;
        for (int64_t n = 0; n < total; n++)
            least = v[n] > OUTSIDE && v[n] < least ? v[n] : least;
        for (int64_t n = 0; n < total; n++)
            if (v[n] == OUTSIDE) {
                v[n] = least;
                d->valid[n] = 0;
            }
    }
    if (!d->mask)
        return;
#pragma omp parallel for num_threads(d->work->threads) schedule(static)
    for (int64_t n = 0; n < total; n++) {
        const double ijk[3] = {(double)(n % g->dim[0]), (double)(n / g->dim[0] % g->dim[1]),
                               (double)(n / g->dim[0] / g->dim[1])};
        double p[3], at[3];
        int64_t where = 0;
        kf_grid_to_lps(g, ijk, p);
        kf_grid_to_ijk(&d->mask->grid, p, at);
        for (int a = 2; a >= 0; a--) {
            double r = floor(at[a] + 0.5), most = (double)(d->mask->grid.dim[a] - 1);
            where = where * d->mask->grid.dim[a] + (int64_t)(r > 0 ? r < most ? r : most : 0);
        }
        if (!((const uint8_t *)d->mask->data)[where])
            d->valid[n] = 0;
    }
}

static enum kf_kernel_status find_costs(struct deform *d, const struct kf_field *field, const struct round *r,
                                        int size_changed)
{
    struct kf_work quiet = *d->work;
    quiet.progress = NULL;
    struct kf_affine still;
    const struct kf_field none = {0};
    kf_affine_identity(&still);
    const struct kf_reg_image *image = d->image[r->size == 2 ? 2 : 1];
    d->seen[0].grid = d->seen[1].grid = fine_grid(d, r->size);
    enum kf_kernel_status status = kf_field_warp(&quiet, &none, &still, &image[0].image, 0, OUTSIDE, &d->seen[0]);
    if (!status)
        status = kf_field_warp(&quiet, field, &d->linear, &image[1].image, 0, OUTSIDE, &d->seen[1]);
    if (status)
        return status;
    find_valid(d);
    if (size_changed)
        kf_mind(d->work, &d->seen[0], d->scratch, d->mind[0]);
    kf_mind(d->work, &d->seen[1], d->scratch, d->mind[1]);
    memcpy(d->costs.dim, d->nodes.dim, sizeof d->costs.dim);
    d->costs.size = r->size;
    d->costs.reach = r->reach;
    d->costs.fixed = d->mind[0];
    d->costs.moving = d->mind[1];
    d->costs.valid = d->valid;
    return kf_block_costs_find(d->work, &d->costs);
}

// The quadratic through the 27 costs around displacement `at` by least squares, as a model in blocks, its curvature
// made positive.
static void fit_model(const struct deform *d, int64_t node, const int at[3])
{
    const int side = 2 * d->costs.reach + 1, size = d->costs.size, reach = d->costs.reach;
    double h[6] = {0}, g[3] = {0}, full[9], values[3], vectors[9];
    for (int n = 0; n < 27; n++) {
        const int o[3] = {n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1};
        int64_t which = at[0] + o[0] + reach + (int64_t)side * (at[1] + o[1] + reach + side * (at[2] + o[2] + reach));
        double cost = d->costs.costs[which * d->count + node] * (1.0 / (16 * KF_MIND_MOST));
        for (int a = 0; a < 3; a++) {
            int b = (a + 1) % 3;
            g[a] += cost * o[a] / 18;
            h[a] += cost * (o[a] * o[a] - 2.0 / 3) / 3;
            h[a == 0 ? 3 : a == 1 ? 5 : 4] += cost * o[a] * o[b] / 12;
        }
    }
    const double matrix[9] = {h[0], h[3], h[4], h[3], h[1], h[5], h[4], h[5], h[2]};
    memcpy(full, matrix, sizeof full);
    kf_eigen_symmetric(3, full, values, vectors);
    memset(full, 0, sizeof full);
    for (int e = 0; e < 3; e++) // where the cost is no bowl, at least the step stays within a voxel or so
        for (int i = 0; i < 9; i++) {
            double slope = fabs(vectors[3 * e] * g[0] + vectors[3 * e + 1] * g[1] + vectors[3 * e + 2] * g[2]);
            double v = values[e] > slope / 1.5 ? values[e] : slope / 1.5;
            full[i] += v * vectors[3 * e + i / 3] * vectors[3 * e + i % 3];
        }
    static const int of[6] = {0, 4, 8, 1, 2, 5};
    double bent = 0;
    for (int e = 0; e < 3; e++)
        bent += values[e] > 0 ? values[e] : 0;
    double weight = (double)d->costs.weight[node] * bent * bent / (bent * bent + FAINT * FAINT);
    for (int i = 0; i < 6; i++)
        d->model[i * d->count + node] = (float)(weight * size * size * full[of[i]]);
    for (int a = 0; a < 3; a++) {
        double pull = g[a];
        for (int b = 0; b < 3; b++)
            pull -= full[3 * a + b] * at[b];
        d->model[(6 + a) * d->count + node] = (float)(weight * size * pull);
    }
}

// The best displacement of a node with a pull to the smooth field, one voxel away from the end of reach.
static void choose(const struct deform *d, int64_t node, double pull, int at[3])
{
    const int reach = d->costs.reach, inner = reach - 1, side = 2 * reach + 1;
    double best = 1e30, v[3];
    for (int a = 0; a < 3; a++)
        v[a] = (double)d->u[a * d->count + node] * d->costs.size;
    for (int z = -inner; z <= inner; z++)
        for (int y = -inner; y <= inner; y++)
            for (int x = -inner; x <= inner; x++) {
                int64_t which = x + reach + (int64_t)side * (y + reach + side * (z + reach));
                double cost = d->costs.costs[which * d->count + node] * (1.0 / (16 * KF_MIND_MOST)) +
                              pull * ((x - v[0]) * (x - v[0]) + (y - v[1]) * (y - v[1]) + (z - v[2]) * (z - v[2]));
                if (cost < best) {
                    best = cost;
                    at[0] = x;
                    at[1] = y;
                    at[2] = z;
                }
            }
}

static double mean_cost(const struct deform *d)
{
    const int side = 2 * d->costs.reach + 1;
    const uint16_t *still = d->costs.costs + (int64_t)(side * side * side / 2) * d->count;
    double sum = 0, weight = 0;
    for (int64_t n = 0; n < d->count; n++) {
        sum += still[n] * (1.0 / (16 * KF_MIND_MOST));
        weight += (double)d->costs.weight[n];
    }
    return weight > 0 ? sum / weight : -1;
}

// The nodes' own displacement in blocks along the grid's axes (base), or the way back (step).
static void to_blocks(const struct deform *d, const struct kf_field *field, float *base)
{
    for (int64_t n = 0; n < d->count; n++)
        for (int a = 0; a < 3; a++) {
            double sum = 0;
            for (int c = 0; c < 3; c++)
                sum += d->nodes.direction[3 * c + a] * (double)field->xyz[c * d->count + n];
            base[a * d->count + n] = (float)(sum / d->h);
        }
}

static void from_blocks(const struct deform *d, const float *u, struct kf_field *step)
{
    for (int64_t n = 0; n < d->count; n++)
        for (int c = 0; c < 3; c++) {
            double sum = 0;
            for (int a = 0; a < 3; a++)
                sum += d->nodes.direction[3 * c + a] * (double)u[a * d->count + n];
            step->xyz[c * d->count + n] = (float)(sum * d->h);
        }
}

static enum kf_kernel_status settle(struct deform *d, struct kf_field *field, const struct round *r)
{
    static const double pulls[4] = {0.0005, 0.003, 0.01, 0.03};
    double stiffness = d->how->stiffness > 0 ? d->how->stiffness : 1;
    float *base = d->u + 3 * d->count;
    memset(d->u, 0, (size_t)(12 * d->count));
    to_blocks(d, field, base);
    struct kf_bend bend = {
        .model = d->model, .base = base, .bend = (float)(stiffness * r->bend), .damp = 1e-4f, .steps = CG_STEPS};
    memcpy(bend.dim, d->nodes.dim, sizeof bend.dim);
    for (int turn = 0; turn < r->turns; turn++) {
#pragma omp parallel for num_threads(d->work->threads) schedule(static)
        for (int64_t n = 0; n < d->count; n++) {
            int at[3] = {0};
            if (r->reach > 1)
                choose(d, n, pulls[turn], at);
            fit_model(d, n, at);
        }
        kf_bend_solve(d->work, &bend, d->u, d->solve, d->sums);
    }
    struct kf_field step;
    enum kf_kernel_status status = kf_field_take(d->work, &d->nodes, &step);
    if (status)
        return status;
    from_blocks(d, d->u, &step);
    status = kf_field_unfold(d->work, &step, NULL, STEP_LEAST);
    if (!status)
        status = kf_field_compose(d->work, &step, field);
    kf_field_release(d->work, &step);
    return status ? status : kf_field_unfold(d->work, field, NULL, LEAST);
}

// One direction. *field is owned, whatever comes back.
static enum kf_kernel_status one_way(struct deform *d, const struct kf_volume *fixed, const struct kf_volume *moving,
                                     struct kf_field *field, struct kf_register_deform_report *report)
{
    *field = (struct kf_field){0};
    if (!make_nodes(d, &fixed->grid))
        return KF_KERNEL_INVALID;
    enum kf_kernel_status status = kf_field_take(d->work, &d->nodes, field);
    if (!status)
        status = prepare(d, fixed, moving);
    for (int n = 0; n < ROUNDS && !status; n++) {
        if (kf_work_step(d->work, d->from + d->span * n / ROUNDS))
            status = KF_KERNEL_CANCELLED;
        if (!status)
            status = find_costs(d, field, &rounds[n], n == 0 || rounds[n].size != rounds[n - 1].size);
        if (!status && mean_cost(d) < 0)
            status = KF_KERNEL_INVALID;
        if (!status && n == 0)
            report->before = mean_cost(d);
        if (!status)
            status = settle(d, field, &rounds[n]);
    }
    if (!status)
        status = find_costs(d, field, &rounds[0], 1);
    if (!status)
        report->after = mean_cost(d);
    if (!status && report->after >= report->before) { // what makes the images less alike is no deformation
        memset(field->xyz, 0, (size_t)(3 * d->count) * sizeof *field->xyz);
        report->after = report->before;
    }
    release(d);
    return status;
}

// The middle of the field found one way and the inverse of the one found the other way.
static void take_middle(const struct deform *d, const struct kf_affine *back, struct kf_field *field,
                        const struct kf_field *other, struct kf_register_deform_report *report)
{
    double sum = 0, most = 0;
    for (int64_t n = 0; n < d->count; n++) {
        const double ijk[3] = {(double)(n % d->nodes.dim[0]), (double)(n / d->nodes.dim[0] % d->nodes.dim[1]),
                               (double)(n / d->nodes.dim[0] / d->nodes.dim[1])};
        double p[3], q[3], there[3], square = 0;
        kf_grid_to_lps(&d->nodes, ijk, p);
        kf_affine_apply(&d->linear, p, q);
        kf_field_invert_at(other, q, q);
        kf_affine_apply(back, q, there);
        for (int a = 0; a < 3; a++) {
            float *x = field->xyz + a * d->count + n;
            double apart = there[a] - p[a] - (double)*x;
            square += apart * apart;
            *x = (float)((double)*x + 0.5 * apart);
        }
        sum += sqrt(square);
        most = sqrt(square) > most ? sqrt(square) : most;
    }
    report->ways_mean_mm = sum / (double)d->count;
    report->ways_max_mm = most;
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
    struct deform d = {.work = work, .how = how, .linear = *how->linear, .mask = how->fixed_mask, .span = 1};
    struct kf_affine back;
    *report = (struct kf_register_deform_report){.ways_mean_mm = -1, .ways_max_mm = -1};
    *field = (struct kf_field){0};
    if (kf_affine_invert(how->linear, &back))
        return KF_KERNEL_INVALID;
    d.span = how->both_ways ? 0.5 : 1;
    enum kf_kernel_status status = one_way(&d, fixed, moving, field, report);
    if (!status && how->both_ways) {
        struct kf_register_deform_report unused;
        struct kf_field other;
        struct deform e = {.work = work, .how = how, .linear = back, .from = 0.5, .span = 0.5};
        status = one_way(&e, moving, fixed, &other, &unused);
        if (!status) {
            take_middle(&d, &back, field, &other, report);
            status = kf_field_unfold(work, field, NULL, LEAST);
        }
        kf_field_release(work, &other);
    }
    if (!status)
        status = kf_register_deform_judge(work, field, report);
    if (status) {
        kf_field_release(work, field);
        *report = (struct kf_register_deform_report){.ways_mean_mm = -1, .ways_max_mm = -1};
    }
    return status;
}
