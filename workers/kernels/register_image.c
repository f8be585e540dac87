// Image registration: a coarse search for the start, then BFGS from coarse to fine.
#include "workers/kernels/math.h"
#include "workers/kernels/register_inside.h"

#include <math.h>
#include <string.h>

#define LEVELS_MOST   8
#define COARSEST_MM   5.0 // levels double in voxel size until they pass this
#define PARAMS_MOST   12
#define STARTS_MOST   320
#define REFINED       8 // starts that get a descent of their own
#define REFINED_STEPS 12
#define STEPS_MOST    60
#define CACHED_VOXELS 200000 // of larger images what the samples need is copied side by side

// ---- parameters ----

// A pose is 3×4, q = A·x + t with x mm from the samples' centre. Parameters are millimetres: what a turn or a stretch
// moves a point at the samples' root mean square distance.
struct fit {
    struct kf_reg_metric *metric;
    enum kf_register_model model;
    int count;       // parameters: 6 or 12
    double base[12]; // the pose at parameters 0
    double radius;
};

static void pose_at(const struct fit *fit, const double *p, double pose[12])
{
    double turn[9];
    if (fit->model == KF_REGISTER_RIGID) {
        const double w[3] = {p[0] / fit->radius, p[1] / fit->radius, p[2] / fit->radius};
        kf_rotation_exp(w, turn);
    }
    for (int r = 0; r < 3; r++) {
        for (int c = 0; c < 3; c++) {
            double sum = fit->base[4 * r + c];
            if (fit->model == KF_REGISTER_AFFINE)
                sum += p[3 * r + c] / fit->radius;
            else {
                sum = 0;
                for (int n = 0; n < 3; n++)
                    sum += turn[3 * r + n] * fit->base[4 * n + c];
            }
            pose[4 * r + c] = sum;
        }
        pose[4 * r + 3] = fit->base[4 * r + 3] + p[fit->count - 3 + r];
    }
}

// The left Jacobian of the exponential map, transposed, times g (Chirikjian, "Stochastic Models, Information Theory,
// and Lie Groups", vol. 2, 10.2).
static void left_jacobian_transposed(const double w[3], const double g[3], double out[3])
{
    double square = w[0] * w[0] + w[1] * w[1] + w[2] * w[2], angle = sqrt(square);
    double a = 0.5, b = 1.0 / 6;
    if (angle > 1e-4) {
        double half = kf_sin(0.5 * angle) / angle;
        a = 2 * half * half;
        b = (angle - kf_sin(angle)) / (square * angle);
    }
    const double wg[3] = {w[1] * g[2] - w[2] * g[1], w[2] * g[0] - w[0] * g[2], w[0] * g[1] - w[1] * g[0]};
    const double wwg[3] = {w[1] * wg[2] - w[2] * wg[1], w[2] * wg[0] - w[0] * wg[2], w[0] * wg[1] - w[1] * wg[0]};
    for (int i = 0; i < 3; i++)
        out[i] = g[i] - a * wg[i] + b * wwg[i];
}

static double value_at(struct fit *fit, const double *p, double *gradient)
{
    double pose[12], d[12] = {0};
    pose_at(fit, p, pose);
    double value = kf_reg_evaluate(fit->metric, pose, d);
    for (int r = 0; r < 3; r++)
        gradient[fit->count - 3 + r] = d[4 * r + 3];
    if (fit->model == KF_REGISTER_AFFINE) {
        for (int i = 0; i < 9; i++)
            gradient[i] = d[i / 3 * 4 + i % 3] / fit->radius;
        return value;
    }
    double torque[3] = {0}, w[3], turned[3];
    for (int c = 0; c < 3; c++)
        for (int r = 0; r < 3; r++) {
            int r1 = (r + 1) % 3, r2 = (r + 2) % 3;
            torque[r] += pose[4 * r1 + c] * d[4 * r2 + c] - pose[4 * r2 + c] * d[4 * r1 + c];
        }
    for (int r = 0; r < 3; r++)
        w[r] = p[r] / fit->radius;
    left_jacobian_transposed(w, torque, turned);
    for (int r = 0; r < 3; r++)
        gradient[r] = turned[r] / fit->radius;
    return value;
}

// ---- BFGS ----

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

// The inverse Hessian after a step s that changed the gradient by y (Nocedal and Wright, "Numerical Optimization",
// 6.17).
static void bfgs_update(int n, double *h, const double *s, const double *y, int first)
{
    double sy = dot(s, y, n), yy = dot(y, y, n), hy[PARAMS_MOST];
    if (!(sy > 1e-10 * sqrt(yy * dot(s, s, n))))
        return;
    for (int i = 0; i < n * n && first; i++)
        h[i] = i % (n + 1) == 0 ? sy / yy : 0;
    for (int i = 0; i < n; i++)
        hy[i] = dot(h + i * n, y, n);
    double yhy = dot(y, hy, n);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            h[i * n + j] += (1 + yhy / sy) * s[i] * s[j] / sy - (hy[i] * s[j] + s[i] * hy[j]) / sy;
}

struct descent {
    double size_mm;  // voxels of this resolution
    double stop_mm;  // a step below this ends it
    int steps;       // at most
    double from, to; // share of the progress
};

struct state {
    double p[PARAMS_MOST], g[PARAMS_MOST], value;
};

// Along -H·g, halving until the value falls enough (Armijo). 0: no step helps.
static int line_search(struct fit *fit, const double *direction, double slope, const struct state *from,
                       struct state *to)
{
    double share = 1;
    for (int tries = 0; tries < 7; tries++, share *= tries < 2 ? 0.5 : 0.25) {
        for (int i = 0; i < fit->count; i++)
            to->p[i] = from->p[i] + share * direction[i];
        to->value = value_at(fit, to->p, to->g);
        if (to->value <= from->value + 1e-4 * share * slope)
            return 1;
    }
    return 0;
}

static void choose_direction(const struct fit *fit, const struct descent *how, const struct state *at, double *h,
                             int *plain, double *direction)
{
    int n = fit->count;
    double norm = sqrt(dot(at->g, at->g, n));
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < n * n && *plain; i++)
            h[i] = i % (n + 1) == 0 ? 0.5 * how->size_mm / (norm > 0 ? norm : 1) : 0;
        for (int i = 0; i < n; i++)
            direction[i] = -dot(h + i * n, at->g, n);
        if (dot(direction, at->g, n) < 0)
            break;
        *plain = 1;
    }
    double length = sqrt(dot(direction, direction, n)), most = 2 * how->size_mm;
    for (int i = 0; i < n && length > most; i++)
        direction[i] *= most / length;
}

// Moves fit->base to the minimum. *converged (may be NULL): it stopped before how->steps. KF_KERNEL_CANCELLED.
static enum kf_kernel_status descend(struct fit *fit, const struct descent *how, double *value, int *converged)
{
    int n = fit->count, plain = 1, done = 0;
    double h[PARAMS_MOST * PARAMS_MOST], direction[PARAMS_MOST], s[PARAMS_MOST], y[PARAMS_MOST];
    struct state at = {.value = 0}, next;
    at.value = value_at(fit, at.p, at.g);
    for (int step = 0; step < how->steps && !done; step++) {
        const struct kf_work *work = fit->metric->work;
        if (kf_work_step(work, how->from + (how->to - how->from) * step / how->steps))
            return KF_KERNEL_CANCELLED;
        choose_direction(fit, how, &at, h, &plain, direction);
        double slope = dot(direction, at.g, n);
        if (!(slope < 0) || !line_search(fit, direction, slope, &at, &next)) {
            done = plain || !(slope < 0); // even the steepest descent leads nowhere: as low as it gets
            plain = 1;
            continue;
        }
        for (int i = 0; i < n; i++) {
            s[i] = next.p[i] - at.p[i];
            y[i] = next.g[i] - at.g[i];
        }
        bfgs_update(n, h, s, y, plain);
        done = !plain && dot(s, s, n) < how->stop_mm * how->stop_mm;
        plain = 0;
        at = next;
    }
    double pose[12];
    pose_at(fit, at.p, pose);
    memcpy(fit->base, pose, sizeof pose);
    *value = at.value;
    if (converged)
        *converged = done;
    return KF_KERNEL_OK;
}

// ---- the start ----

struct start {
    double pose[12], score;
};

// Mutual information favours small overlaps by chance; below half of the image they count less.
static double for_overlap(const struct kf_reg_metric *m, double value, double score)
{
    return value >= 1e29 ? -1e30 : score * (m->overlap < 0.5 ? 2 * m->overlap : 1);
}

struct starts {
    struct start list[STARTS_MOST];
    int count;
};

// Turned about the samples' centre, which goes to `to` (LPS of the moving frame) and then by `shift`.
static void add_start(struct starts *s, const double rotation[9], const double to[3], const double shift[3])
{
    if (s->count == STARTS_MOST)
        return;
    struct start *start = &s->list[s->count++];
    for (int r = 0; r < 3; r++) {
        for (int c = 0; c < 3; c++)
            start->pose[4 * r + c] = rotation[3 * r + c];
        start->pose[4 * r + 3] = to[r] + (shift ? shift[r] : 0);
    }
}

static const double unturned[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};

// Turns in steps of 20° about all three axes and 40° about one, and moves in steps of 30 mm.
static void add_around(struct starts *s, const double to[3])
{
    const double step = 20 * KF_PI / 180;
    for (int n = 0; n < 27; n++) {
        const double w[3] = {step * (n % 3 - 1), step * (n / 3 % 3 - 1), step * (n / 9 - 1)};
        const double shift[3] = {30.0 * (n % 3 - 1), 30.0 * (n / 3 % 3 - 1), 30.0 * (n / 9 - 1)};
        double rotation[9];
        kf_rotation_exp(w, rotation);
        add_start(s, rotation, to, NULL);
        if (n != 13)
            add_start(s, unturned, to, shift);
    }
    for (int n = 0; n < 6; n++) {
        double w[3] = {0}, rotation[9];
        w[n / 2] = n % 2 ? 2 * step : -2 * step;
        kf_rotation_exp(w, rotation);
        add_start(s, rotation, to, NULL);
    }
}

// The turns that take the principal axes of one image to those of the other; those over 75° are taken for a swap.
static void add_axes(struct starts *s, const struct kf_reg_moments *f, const struct kf_reg_moments *m)
{
    for (int n = 0; n < 8; n++) {
        double rotation[9] = {0};
        for (int r = 0; r < 3; r++)
            for (int c = 0; c < 3; c++)
                for (int a = 0; a < 3; a++)
                    rotation[3 * r + c] += (n >> a & 1 ? -1 : 1) * m->axes[3 * a + r] * f->axes[3 * a + c];
        const double *q = rotation;
        double det = q[0] * (q[4] * q[8] - q[5] * q[7]) - q[1] * (q[3] * q[8] - q[5] * q[6]) +
                     q[2] * (q[3] * q[7] - q[4] * q[6]);
        if (det > 0 && kf_rotation_angle_rad(rotation) < 75 * KF_PI / 180)
            add_start(s, rotation, m->centre, NULL);
    }
}

static double pose_distance(const double a[12], const double b[12], double radius)
{
    double turn = 0, shift = 0;
    for (int r = 0; r < 3; r++) {
        for (int c = 0; c < 3; c++)
            turn += (a[4 * r + c] - b[4 * r + c]) * (a[4 * r + c] - b[4 * r + c]);
        shift += (a[4 * r + 3] - b[4 * r + 3]) * (a[4 * r + 3] - b[4 * r + 3]);
    }
    return sqrt(turn / 2 * radius * radius + shift);
}

// The best start that is not close to one already taken (score -1e30 marks those); -1: none is left.
static int best_start(struct starts *s, double radius, double apart_mm)
{
    int best = -1;
    for (int n = 0; n < s->count; n++)
        if (s->list[n].score > -1e29 && (best < 0 || s->list[n].score > s->list[best].score))
            best = n;
    for (int n = 0; n < s->count && best >= 0; n++)
        if (n != best && pose_distance(s->list[n].pose, s->list[best].pose, radius) < apart_mm)
            s->list[n].score = -1e30;
    return best;
}

static enum kf_kernel_status search(struct fit *fit, struct starts *s, double size_mm)
{
    const struct kf_work *work = fit->metric->work;
    double best_score = -1e30, best[12] = {0};
    for (int n = 0; n < s->count; n++) {
        double value = kf_reg_evaluate(fit->metric, s->list[n].pose, NULL);
        s->list[n].score = for_overlap(fit->metric, value, fit->metric->mi);
        if (n % 16 == 0 && kf_work_step(work, 0.1 + 0.2 * n / s->count))
            return KF_KERNEL_CANCELLED;
    }
    for (int n = 0; n < REFINED; n++) {
        int at = best_start(s, fit->radius, 12);
        if (at < 0)
            break;
        double value;
        struct descent how = {.size_mm = size_mm,
                              .stop_mm = 0.1 * size_mm,
                              .steps = REFINED_STEPS,
                              .from = 0.3 + 0.2 * n / REFINED,
                              .to = 0.3 + 0.2 * (n + 1) / REFINED};
        memcpy(fit->base, s->list[at].pose, sizeof fit->base);
        s->list[at].score = -1e30;
        enum kf_kernel_status status = descend(fit, &how, &value, NULL);
        if (status)
            return status;
        // Of minima with unlike overlaps the mutual information may be greater where less is seen; what it is of the
        // entropy there is not (Studholme, Hill, Hawkes, "An overlap invariant entropy measure of 3D medical image
        // alignment", Pattern Recognition 32(1), 1999).
        value = kf_reg_evaluate(fit->metric, fit->base, NULL);
        double score = for_overlap(fit->metric, value, fit->metric->nmi - 1);
        if (score > best_score) {
            best_score = score;
            memcpy(best, fit->base, sizeof best);
        }
    }
    memcpy(fit->base, best, sizeof best);
    return best_score > -1e29 ? KF_KERNEL_OK : KF_KERNEL_INVALID;
}

// ---- the whole ----

struct registration {
    const struct kf_work *work;
    const struct kf_register *how;
    struct kf_reg_units units[2];
    struct kf_reg_image original[2];           // fixed, moving
    struct kf_reg_image level[LEVELS_MOST][2]; // finest first
    int levels;
    double size_mm[LEVELS_MOST];
    struct kf_reg_range range[2];
    struct kf_reg_samples samples;
    struct kf_reg_metric metric;
    struct starts *starts;
    struct fit fit;
    int64_t wanted; // samples at the finest level
};

static enum kf_kernel_status check_volume(const struct kf_volume *v, const struct kf_volume *mask)
{
    if (v->type != KF_VOXEL_INT16 && v->type != KF_VOXEL_UINT8 && v->type != KF_VOXEL_FLOAT32)
        return KF_KERNEL_INVALID;
    if (mask && (mask->type != KF_VOXEL_UINT8 || memcmp(mask->grid.dim, v->grid.dim, sizeof v->grid.dim) != 0))
        return KF_KERNEL_INVALID;
    for (int a = 0; a < 3; a++)
        if (v->grid.dim[a] < 8 || !(v->grid.spacing_mm[a] > 0))
            return KF_KERNEL_INVALID;
    return KF_KERNEL_OK;
}

// Both images in int16, in common units when their values are to be compared.
static enum kf_kernel_status take_images(struct registration *r, const struct kf_volume *fixed,
                                         const struct kf_volume *moving)
{
    const struct kf_volume *const volume[2] = {fixed, moving};
    const struct kf_volume *const mask[2] = {r->how->fixed_mask, r->how->moving_mask};
    for (int i = 0; i < 2; i++)
        if (check_volume(volume[i], mask[i]) || !kf_reg_units_find(volume[i], &r->units[i]))
            return KF_KERNEL_INVALID;
    if (r->how->metric == KF_REGISTER_MSD && (fixed->type == KF_VOXEL_FLOAT32 || moving->type == KF_VOXEL_FLOAT32)) {
        double low = 1e300, high = -1e300;
        for (int i = 0; i < 2; i++) { // values from offset - 32000 / scale to offset + 32000 / scale
            double half = volume[i]->type == KF_VOXEL_FLOAT32 ? 32000 / r->units[i].scale : 4096;
            low = r->units[i].offset - half < low ? r->units[i].offset - half : low;
            high = r->units[i].offset + half > high ? r->units[i].offset + half : high;
        }
        for (int i = 0; i < 2; i++)
            r->units[i] = (struct kf_reg_units){.offset = 0.5 * (low + high), .scale = 64000 / (high - low)};
    }
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int i = 0; i < 2 && !status; i++)
        status = kf_reg_image_take(r->work, volume[i], mask[i], &r->units[i], &r->original[i]);
    return status;
}

static enum kf_kernel_status make_levels(struct registration *r)
{
    double size = r->how->finest_mm > 0 ? r->how->finest_mm : 1;
    enum kf_kernel_status status = KF_KERNEL_OK;
    do {
        for (int i = 0; i < 2 && !status; i++)
            status = kf_reg_image_reduce(r->work, r->levels ? &r->level[r->levels - 1][i] : &r->original[i], size,
                                         &r->level[r->levels][i]);
        r->size_mm[r->levels++] = size;
        size *= 2;
    } while (!status && r->levels < LEVELS_MOST && r->size_mm[r->levels - 1] < COARSEST_MM);
    return status;
}

static enum kf_kernel_status prepare(struct registration *r, const struct kf_volume *fixed,
                                     const struct kf_volume *moving)
{
    enum kf_kernel_status status = take_images(r, fixed, moving);
    if (!status)
        status = make_levels(r);
    for (int i = 0; i < 2 && !status; i++)
        if (!kf_reg_range_find(r->work, &r->level[r->levels - 1][i], &r->range[i], &status) && !status)
            status = KF_KERNEL_INVALID;
    r->wanted = r->how->samples > 0 ? r->how->samples : 80000;
    int64_t room = 2 * r->wanted + 4096;
    if (!status)
        status = kf_reg_samples_take(r->work, room, &r->samples);
    if (!status)
        status = kf_reg_metric_init(&r->metric, r->work, r->samples.room);
    r->starts = status ? NULL : kf_work_take(r->work, sizeof *r->starts);
    if (!status && !r->starts)
        status = KF_KERNEL_NOMEM;
    return status;
}

static void release(struct registration *r)
{
    kf_work_give(r->work, r->starts);
    kf_reg_metric_release(&r->metric);
    kf_reg_samples_release(r->work, &r->samples);
    for (int n = r->levels - 1; n >= 0; n--)
        for (int i = 1; i >= 0; i--)
            kf_reg_image_release(r->work, &r->level[n][i]);
    for (int i = 1; i >= 0; i--)
        kf_reg_image_release(r->work, &r->original[i]);
}

static void set_model(struct fit *fit, enum kf_register_model model)
{
    fit->model = model;
    fit->count = model == KF_REGISTER_AFFINE ? 12 : 6;
}

// Samples of level n of the image `from` (0: fixed), and the metric over them in the other one.
static enum kf_kernel_status use_level(struct registration *r, int n, int64_t wanted, int from)
{
    kf_reg_samples_lay(&r->level[n][from], wanted, 1, &r->range[from], &r->samples);
    r->metric.samples = &r->samples;
    r->metric.moving = &r->level[n][!from];
    r->metric.range = r->range[!from];
    r->metric.kind = KF_REGISTER_MI;
    r->fit.radius = r->samples.radius;
    return r->samples.count < 64 ? KF_KERNEL_INVALID : KF_KERNEL_OK;
}

static enum kf_kernel_status find_start(struct registration *r, struct kf_register_report *report)
{
    int n = r->levels - 1;
    struct kf_reg_moments f, m;
    kf_reg_moments_find(&r->level[n][0], &r->range[0], &f);
    kf_reg_moments_find(&r->level[n][1], &r->range[1], &m);
    memcpy(r->samples.centre, f.centre, sizeof f.centre);
    int64_t wanted = r->wanted / 8 < 2000 ? 2000 : r->wanted / 8;
    enum kf_kernel_status status = use_level(r, n, wanted > r->wanted ? r->wanted : wanted, 0);
    if (status)
        return status;
    set_model(&r->fit, KF_REGISTER_RIGID);
    if (r->how->start) {
        kf_affine_apply(r->how->start, f.centre, m.centre);
        memcpy(r->fit.base, r->how->start->m, sizeof r->fit.base);
        for (int a = 0; a < 3; a++)
            r->fit.base[4 * a + 3] = m.centre[a];
        if (kf_reg_evaluate(&r->metric, r->fit.base, NULL) >= 1e29)
            return KF_KERNEL_INVALID;
    } else {
        double middle[3]; // the fields of view laid over each other
        for (int a = 0; a < 3; a++)
            middle[a] = f.centre[a] - f.middle[a] + m.middle[a];
        r->starts->count = 0;
        add_around(r->starts, f.centre); // the headers' common frame
        add_around(r->starts, m.centre);
        add_around(r->starts, middle);
        add_axes(r->starts, &f, &m);
        status = search(&r->fit, r->starts, r->size_mm[n]);
        if (!status)
            kf_reg_evaluate(&r->metric, r->fit.base, NULL);
    }
    report->start_mi = r->metric.mi;
    return status;
}

static enum kf_kernel_status refine(struct registration *r, int n, int from, enum kf_register_model model,
                                    int *converged)
{
    double value;
    enum kf_kernel_status status = use_level(r, n, n ? r->wanted / 2 : r->wanted, from);
    if (status)
        return status;
    r->metric.kind = r->how->metric;
    set_model(&r->fit, model);
    if (kf_grid_voxels(&r->metric.moving->image.grid) > CACHED_VOXELS)
        kf_reg_patches_take(&r->metric, r->fit.base);
    double begin = 0.5 + 0.5 * (double)(r->levels - 1 - n) / r->levels;
    struct descent how = {.size_mm = r->size_mm[n],
                          .stop_mm = (n ? 0.02 : 0.001) * r->size_mm[n],
                          .steps = STEPS_MOST,
                          .from = begin,
                          .to = begin + 0.5 / r->levels};
    return descend(&r->fit, &how, &value, converged);
}

// From fixed → moving about one centre to moving → fixed about where that lies, and the same back.
static enum kf_kernel_status turn_round(struct registration *r)
{
    struct kf_affine t, back;
    memcpy(t.m, r->fit.base, sizeof t.m);
    for (int a = 0; a < 3; a++)
        t.m[4 * a + 3] = 0;
    if (kf_affine_invert(&t, &back))
        return KF_KERNEL_INVALID;
    for (int a = 0; a < 3; a++) {
        back.m[4 * a + 3] = r->samples.centre[a];
        r->samples.centre[a] = r->fit.base[4 * a + 3];
    }
    memcpy(r->fit.base, back.m, sizeof back.m);
    return KF_KERNEL_OK;
}

// The same map about another centre.
static void move_centre(struct registration *r, const double centre[3])
{
    double *m = r->fit.base;
    for (int a = 0; a < 3; a++)
        for (int c = 0; c < 3; c++)
            m[4 * a + 3] += m[4 * a + c] * (centre[c] - r->samples.centre[c]);
    memcpy(r->samples.centre, centre, sizeof r->samples.centre);
}

// Most that two poses differ over the corners of the box of samples.
static double corner_distance(const struct kf_reg_samples *s, const double a[12], const double b[12])
{
    double worst = 0;
    for (int corner = 0; corner < 8; corner++) {
        double x[3], square = 0;
        for (int i = 0; i < 3; i++)
            x[i] = (corner >> i & 1 ? s->high[i] : s->low[i]) - s->centre[i];
        for (int i = 0; i < 3; i++) {
            double d = a[4 * i + 3] - b[4 * i + 3];
            for (int c = 0; c < 3; c++)
                d += (a[4 * i + c] - b[4 * i + c]) * x[c];
            square += d * d;
        }
        worst = square > worst ? square : worst;
    }
    return sqrt(worst);
}

// The middle of two poses that lie close together, into `a`.
static void middle_pose(enum kf_register_model model, double a[12], const double b[12])
{
    double turn[9] = {0}, half[9], mean[12];
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            for (int n = 0; n < 3; n++)
                turn[3 * r + c] += b[4 * r + n] * a[4 * c + n];
    const double w[3] = {(turn[7] - turn[5]) / 4, (turn[2] - turn[6]) / 4, (turn[3] - turn[1]) / 4};
    kf_rotation_exp(w, half);
    for (int i = 0; i < 12; i++) {
        mean[i] = 0.5 * (a[i] + b[i]);
        if (model == KF_REGISTER_RIGID && i % 4 < 3)
            mean[i] =
                half[i / 4 * 3] * a[i % 4] + half[i / 4 * 3 + 1] * a[4 + i % 4] + half[i / 4 * 3 + 2] * a[8 + i % 4];
    }
    memcpy(a, mean, sizeof mean);
}

// The last resolution once more with the images' parts exchanged: what interpolating only one of them does to the
// result has the opposite sign, and the middle of both is free of it.
static enum kf_kernel_status refine_back(struct registration *r, struct kf_register_report *report)
{
    double forth[12], centre[3];
    int converged = 0;
    memcpy(forth, r->fit.base, sizeof forth);
    memcpy(centre, r->samples.centre, sizeof centre);
    enum kf_kernel_status status = turn_round(r);
    if (!status)
        status = refine(r, 0, 1, r->how->model, &converged);
    if (!status)
        status = turn_round(r);
    if (status)
        return status;
    move_centre(r, centre);
    kf_reg_samples_lay(&r->level[0][0], r->wanted, 1, &r->range[0], &r->samples);
    r->metric.moving = &r->level[0][1];
    r->metric.range = r->range[1];
    report->converged &= converged;
    report->inverse_mm = corner_distance(&r->samples, forth, r->fit.base);
    middle_pose(r->how->model, r->fit.base, forth);
    return KF_KERNEL_OK;
}

static enum kf_kernel_status finish(struct registration *r, struct kf_affine *out, struct kf_register_report *report)
{
    const double *pose = r->fit.base, *c = r->samples.centre;
    double rotation[9], moved = 0;
    r->metric.kind = KF_REGISTER_MSD;
    kf_reg_evaluate(&r->metric, pose, NULL);
    r->metric.kind = KF_REGISTER_MI;
    if (kf_reg_evaluate(&r->metric, pose, NULL) >= 1e29)
        return KF_KERNEL_INVALID;
    for (int i = 0; i < 3; i++) {
        out->m[4 * i + 3] = pose[4 * i + 3];
        for (int k = 0; k < 3; k++) {
            out->m[4 * i + k] = rotation[3 * i + k] = pose[4 * i + k];
            out->m[4 * i + 3] -= pose[4 * i + k] * c[k];
        }
    }
    for (int64_t n = 0; n < r->samples.count; n++) {
        const double p[3] = {c[0] + (double)r->samples.x[n], c[1] + (double)r->samples.y[n],
                             c[2] + (double)r->samples.z[n]};
        double q[3];
        kf_affine_apply(out, p, q);
        moved += sqrt((q[0] - p[0]) * (q[0] - p[0]) + (q[1] - p[1]) * (q[1] - p[1]) + (q[2] - p[2]) * (q[2] - p[2]));
    }
    report->mi = r->metric.mi;
    report->nmi = r->metric.nmi;
    report->msd = r->metric.msd / (r->units[0].scale * r->units[0].scale);
    report->overlap = r->metric.overlap;
    report->evaluations = r->metric.evaluations;
    report->moved_mm = moved / (double)r->samples.count;
    report->rotation_rad = kf_rotation_angle_rad(rotation);
    return KF_KERNEL_OK;
}

static enum kf_kernel_status run(struct registration *r, struct kf_affine *out, struct kf_register_report *report)
{
    enum kf_kernel_status status = find_start(r, report);
    int affine = r->how->model == KF_REGISTER_AFFINE;
    for (int n = r->levels - 1; n >= 0 && !status; n--) {
        if (!affine || n >= r->levels - 2)
            status = refine(r, n, 0, KF_REGISTER_RIGID, &report->converged);
        if (affine && !status && (n < r->levels - 1 || r->levels == 1))
            status = refine(r, n, 0, KF_REGISTER_AFFINE, &report->converged);
    }
    if (!status && r->how->both_ways)
        status = refine_back(r, report);
    return status ? status : finish(r, out, report);
}

enum kf_kernel_status kf_register_images(const struct kf_work *work, const struct kf_volume *fixed,
                                         const struct kf_volume *moving, const struct kf_register *how,
                                         struct kf_affine *out, struct kf_register_report *report)
{
    struct registration r = {.work = work, .how = how};
    kf_affine_identity(out);
    *report = (struct kf_register_report){.inverse_mm = -1};
    r.fit.metric = &r.metric;
    enum kf_kernel_status status = prepare(&r, fixed, moving);
    if (!status)
        status = run(&r, out, report);
    release(&r);
    if (status) {
        kf_affine_identity(out);
        *report = (struct kf_register_report){.inverse_mm = -1};
    }
    return status;
}
