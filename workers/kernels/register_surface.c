// Trimmed ICP with symmetric matching. A point's partner is the closest point of the triangles around the nearest
// vertex of the other surface. A pair counts in full along the normal at the partner and with SLIDE across it
// (Chen and Medioni, "Object modelling by registration of multiple range images", IVC 10(3), 1992), so that surfaces
// glide into place instead of creeping.
#include "workers/kernels/adjacency.h"
#include "workers/kernels/kdtree.h"
#include "workers/kernels/register.h"

#include <math.h>
#include <string.h>

#define STILL_MM    1e-4 // a motion below this at every vertex ends it
#define SLIDE       0.02
#define FIRST_STEPS 5

struct side {
    const struct kf_mesh *mesh;
    struct kf_corners corners;
    struct kf_kdtree tree;
    int64_t points; // of this side that look for a partner, every n-th vertex
};

struct icp {
    const struct kf_work *work;
    struct side side[2]; // fixed, moving
    double *pairs[2];    // 3 per pair, fixed and moving position
    double *normals;     // 3 per pair, in the frame of the partner
    double *weights;     // 1: counts, 0: trimmed
    float *far[2];       // distance² of each pair, and a copy to select from
    int64_t count;
};

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

// The closest point to p of the segment a–b.
static void closest_on_segment(const double a[3], const double b[3], const double p[3], double out[3])
{
    double along[3], to[3];
    for (int i = 0; i < 3; i++) {
        along[i] = b[i] - a[i];
        to[i] = p[i] - a[i];
    }
    double square = dot(along, along), t = square > 0 ? dot(to, along) / square : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    for (int i = 0; i < 3; i++)
        out[i] = a[i] + t * along[i];
}

static double square_distance(const double a[3], const double b[3])
{
    const double d[3] = {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
    return dot(d, d);
}

// In the triangle's plane when the foot lies inside, else on the nearest edge.
static void closest_on_triangle(const double c[3][3], const double p[3], double out[3])
{
    double e[3], f[3], to[3];
    for (int i = 0; i < 3; i++) {
        e[i] = c[1][i] - c[0][i];
        f[i] = c[2][i] - c[0][i];
        to[i] = p[i] - c[0][i];
    }
    double ee = dot(e, e), ef = dot(e, f), ff = dot(f, f), pe = dot(to, e), pf = dot(to, f), det = ee * ff - ef * ef;
    double u = det > 0 ? (ff * pe - ef * pf) / det : -1, v = det > 0 ? (ee * pf - ef * pe) / det : -1;
    if (u >= 0 && v >= 0 && u + v <= 1) {
        for (int i = 0; i < 3; i++)
            out[i] = c[0][i] + u * e[i] + v * f[i];
        return;
    }
    double least = 1e300;
    for (int n = 0; n < 3; n++) {
        double q[3];
        closest_on_segment(c[n], c[(n + 1) % 3], p, q);
        double square = square_distance(q, p);
        if (square < least) {
            least = square;
            memcpy(out, q, sizeof q);
        }
    }
}

static void vertex_at(const struct kf_mesh *mesh, uint32_t v, double out[3])
{
    for (int i = 0; i < 3; i++)
        out[i] = (double)mesh->xyz[3 * (int64_t)v + i];
}

// Unit length; zeros for a triangle without area.
static void triangle_normal(const double c[3][3], double out[3])
{
    double e[3], f[3];
    for (int i = 0; i < 3; i++) {
        e[i] = c[1][i] - c[0][i];
        f[i] = c[2][i] - c[0][i];
    }
    for (int i = 0; i < 3; i++)
        out[i] = e[(i + 1) % 3] * f[(i + 2) % 3] - e[(i + 2) % 3] * f[(i + 1) % 3];
    double length = sqrt(dot(out, out));
    for (int i = 0; i < 3; i++)
        out[i] = length > 0 ? out[i] / length : 0;
}

static double closest_on_side(const struct side *s, const double p[3], double out[3], double normal[3])
{
    normal[0] = normal[1] = normal[2] = 0;
    const float at[3] = {(float)p[0], (float)p[1], (float)p[2]};
    uint32_t vertex = kf_kdtree_nearest(&s->tree, at, NULL);
    vertex_at(s->mesh, vertex, out);
    double least = square_distance(out, p);
    for (uint32_t n = s->corners.first[vertex]; n < s->corners.first[vertex + 1]; n++) {
        const uint32_t *index = s->mesh->index + s->corners.corner[n] / 3 * (int64_t)3;
        double c[3][3], q[3];
        for (int k = 0; k < 3; k++)
            vertex_at(s->mesh, index[k], c[k]);
        closest_on_triangle(c, p, q);
        double square = square_distance(q, p);
        if (square < least || n == s->corners.first[vertex]) {
            least = square;
            memcpy(out, q, sizeof q);
            triangle_normal((const double(*)[3])c, normal);
        }
    }
    return least;
}

// Partner of every point of both sides under the motion t (fixed → moving) and its inverse.
static void match(struct icp *icp, const struct kf_affine *t, const struct kf_affine *back)
{
    int64_t first = icp->side[0].points;
#pragma omp parallel for num_threads(icp->work->threads) schedule(static, 64)
    for (int64_t n = 0; n < icp->count; n++) {
        int which = n >= first;
        const struct side *own = &icp->side[which];
        int64_t i = which ? n - first : n;
        double p[3], there[3];
        vertex_at(own->mesh, (uint32_t)(i * own->mesh->vertices / own->points), p);
        kf_affine_apply(which ? back : t, p, there);
        memcpy(icp->pairs[which] + 3 * n, p, sizeof p);
        icp->far[0][n] =
            (float)closest_on_side(&icp->side[!which], there, icp->pairs[!which] + 3 * n, icp->normals + 3 * n);
    }
}

// Weights 1 for the closest `keep` of each side's points, else 0.
static void trim(struct icp *icp, double keep)
{
    int64_t first = 0;
    for (int s = 0; s < 2; s++) {
        int64_t n = icp->side[s].points, kept = (int64_t)ceil(keep * (double)n);
        memcpy(icp->far[1], icp->far[0] + first, (size_t)n * sizeof(float));
        float most = kf_select_f32(icp->far[1], n, kept < 1 ? 0 : kept - 1);
        for (int64_t i = first; i < first + n; i++)
            icp->weights[i] = icp->far[0][i] <= most;
        first += n;
    }
}

static void measure(const struct icp *icp, struct kf_register_surfaces_report *report)
{
    double sum = 0, square = 0, kept = 0;
    for (int64_t n = 0; n < icp->count; n++) {
        sum += sqrt((double)icp->far[0][n]);
        square += icp->weights[n] * (double)icp->far[0][n];
        kept += icp->weights[n];
    }
    report->mean_mm = sum / (double)icp->count;
    report->rms_mm = sqrt(square / kept);
}

static void centroid(const struct kf_mesh *mesh, double out[3])
{
    double sum[3] = {0};
    for (int64_t v = 0; v < mesh->vertices; v++)
        for (int i = 0; i < 3; i++)
            sum[i] += (double)mesh->xyz[3 * v + i];
    for (int i = 0; i < 3; i++)
        out[i] = sum[i] / (double)mesh->vertices;
}

// Most that two motions differ over the fixed mesh's vertices.
static double motion(const struct kf_mesh *mesh, const struct kf_affine *a, const struct kf_affine *b)
{
    double most = 0;
    for (int64_t v = 0; v < mesh->vertices; v++) {
        double p[3], q[3], r[3];
        vertex_at(mesh, (uint32_t)v, p);
        kf_affine_apply(a, p, q);
        kf_affine_apply(b, p, r);
        double square = square_distance(q, r);
        most = square > most ? square : most;
    }
    return sqrt(most);
}

// h·x = -g for a symmetric 6×6 h by Cholesky's factors, in place; -1 when h is not positive.
static int solve(double h[6][6], const double g[6], double x[6])
{
    for (int i = 0; i < 6; i++)
        for (int j = 0; j <= i; j++) {
            double sum = h[i][j];
            for (int k = 0; k < j; k++)
                sum -= h[i][k] * h[j][k];
            if (i == j && !(sum > 1e-9))
                return -1;
            h[i][j] = i == j ? sqrt(sum) : sum / h[j][j];
        }
    for (int i = 0; i < 6; i++) {
        x[i] = -g[i];
        for (int k = 0; k < i; k++)
            x[i] -= h[i][k] * x[k];
        x[i] /= h[i][i];
    }
    for (int i = 5; i >= 0; i--) {
        for (int k = i + 1; k < 6; k++)
            x[i] -= h[k][i] * x[k];
        x[i] /= h[i][i];
    }
    return 0;
}

// Adds one pair: residual d = a - b, a moves by turn × (a - about) + shift.
static void add_pair(double h[6][6], double g[6], const double a[3], const double b[3], const double about[3],
                     const double n[3])
{
    const double r[3] = {a[0] - about[0], a[1] - about[1], a[2] - about[2]},
                 d[3] = {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
    const double jacobian[3][6] = {{0, r[2], -r[1], 1, 0, 0}, {-r[2], 0, r[0], 0, 1, 0}, {r[1], -r[0], 0, 0, 0, 1}};
    double weighed[3][6], nd = dot(n, d);
    for (int c = 0; c < 6; c++) {
        double along = n[0] * jacobian[0][c] + n[1] * jacobian[1][c] + n[2] * jacobian[2][c];
        for (int i = 0; i < 3; i++) {
            weighed[i][c] = n[i] * along + SLIDE * jacobian[i][c];
            g[c] += jacobian[i][c] * (n[i] * nd + SLIDE * d[i]);
        }
    }
    for (int c = 0; c < 6; c++)
        for (int e = 0; e <= c; e++)
            h[c][e] += jacobian[0][c] * weighed[0][e] + jacobian[1][c] * weighed[1][e] + jacobian[2][c] * weighed[2][e];
}

// One Gauss–Newton step over the pairs that count. -1: they fix no motion.
static int step(const struct icp *icp, const struct kf_affine *t, const double centre[3], struct kf_affine *next)
{
    double h[6][6] = {{0}}, g[6] = {0}, x[6], rotation[9], about[3];
    kf_affine_apply(t, centre, about);
    for (int64_t n = 0; n < icp->count; n++) {
        if (icp->weights[n] == 0)
            continue;
        double a[3], normal[3];
        const double *own = icp->normals + 3 * n;
        kf_affine_apply(t, icp->pairs[0] + 3 * n, a);
        memcpy(normal, own, sizeof normal);
        for (int i = 0; i < 3 && n >= icp->side[0].points; i++) // the partner is on the fixed side: turned along
            normal[i] = dot(t->m + 4 * i, own);
        add_pair(h, g, a, icp->pairs[1] + 3 * n, about, normal);
    }
    if (solve(h, g, x))
        return -1;
    kf_rotation_exp(x, rotation);
    struct kf_affine move;
    for (int r = 0; r < 3; r++) {
        move.m[4 * r + 3] = about[r] + x[3 + r];
        for (int c = 0; c < 3; c++) {
            move.m[4 * r + c] = rotation[3 * r + c];
            move.m[4 * r + 3] -= rotation[3 * r + c] * about[c];
        }
    }
    kf_affine_chain(&move, t, next);
    return 0;
}

static enum kf_kernel_status take(struct icp *icp, int64_t points)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int s = 0; s < 2 && !status; s++) {
        struct side *side = &icp->side[s];
        if (side->mesh->vertices < 3 || side->mesh->triangles < 1)
            return KF_KERNEL_INVALID;
        side->points = side->mesh->vertices < points ? side->mesh->vertices : points;
        icp->count += side->points;
        status = kf_corners_make(icp->work, side->mesh, &side->corners);
        if (!status)
            status = kf_kdtree_make(icp->work, side->mesh->xyz, side->mesh->vertices, &side->tree);
    }
    if (status)
        return status;
    for (int i = 0; i < 2; i++) {
        icp->pairs[i] = kf_work_take(icp->work, 24 * icp->count);
        icp->far[i] = kf_work_take(icp->work, 4 * icp->count);
    }
    icp->weights = kf_work_take(icp->work, 8 * icp->count);
    icp->normals = kf_work_take(icp->work, 24 * icp->count);
    int fine = icp->normals && icp->pairs[0] && icp->pairs[1] && icp->far[0] && icp->far[1] && icp->weights;
    return fine ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
}

static void release(struct icp *icp)
{
    kf_work_give(icp->work, icp->normals);
    kf_work_give(icp->work, icp->weights);
    for (int i = 1; i >= 0; i--) {
        kf_work_give(icp->work, icp->far[i]);
        kf_work_give(icp->work, icp->pairs[i]);
        kf_kdtree_release(icp->work, &icp->side[i].tree);
        kf_corners_release(icp->work, &icp->side[i].corners);
    }
}

static enum kf_kernel_status iterate(struct icp *icp, double keep, int most, struct kf_affine *t,
                                     struct kf_register_surfaces_report *report)
{
    double centre[3];
    centroid(icp->side[0].mesh, centre);
    for (int n = 0; n < most && !report->converged; n++) {
        struct kf_affine back, next;
        if (kf_work_step(icp->work, (double)n / most))
            return KF_KERNEL_CANCELLED;
        if (kf_affine_invert(t, &back))
            return KF_KERNEL_INVALID;
        match(icp, t, &back);
        trim(icp, keep);
        measure(icp, report);
        // Far apart the closed form over whole pairs is the safer step.
        if (n < FIRST_STEPS
                ? kf_register_points(icp->pairs[0], icp->pairs[1], icp->weights, icp->count, &next, NULL) != 0
                : step(icp, t, centre, &next))
            return KF_KERNEL_INVALID;
        report->iterations = n + 1;
        report->converged = motion(icp->side[0].mesh, t, &next) < STILL_MM;
        *t = next;
    }
    return KF_KERNEL_OK;
}

enum kf_kernel_status kf_register_surfaces(const struct kf_work *work, const struct kf_mesh *fixed,
                                           const struct kf_mesh *moving, const struct kf_register_surfaces *how,
                                           struct kf_affine *out, struct kf_register_surfaces_report *report)
{
    struct icp icp = {.work = work, .side = {{.mesh = fixed}, {.mesh = moving}}};
    double keep = how->keep > 0 ? how->keep : 0.8;
    kf_affine_identity(out);
    *report = (struct kf_register_surfaces_report){0};
    enum kf_kernel_status status = keep >= 0.3 && keep <= 1 ? KF_KERNEL_OK : KF_KERNEL_INVALID;
    if (!status)
        status = take(&icp, how->points > 0 ? how->points : 4000);
    if (!status) {
        double from[3], to[3];
        centroid(fixed, from);
        centroid(moving, to);
        for (int i = 0; i < 3; i++)
            out->m[4 * i + 3] = to[i] - from[i];
        if (how->start)
            *out = *how->start;
        status = iterate(&icp, keep, how->iterations > 0 ? how->iterations : 100, out, report);
    }
    release(&icp);
    if (status) {
        kf_affine_identity(out);
        *report = (struct kf_register_surfaces_report){0};
    }
    return status;
}
