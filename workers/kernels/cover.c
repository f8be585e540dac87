#include "workers/kernels/cover.h"

#include <string.h>

#define TRIANGLES_MOST 192 // around a facet; one with more is better cut
#define SLOTS          1024
#define MARGIN         1e-9 // of the facet's size: what is so near to a side is taken for being on either

// A facet lies in the plane of its first two coordinates.
struct cover {
    const struct kf_bvh *bvh;
    double origin[3], axis[3][3]; // unit vectors
    double corner[3][2], inward[3][3]; // of side n: a, b, c with a·x + b·y + c ≥ 0 inside, a² + b² = 1
    double margin, most;
    int64_t count;
    uint32_t triangle[TRIANGLES_MOST];
    uint64_t edge[SLOTS]; // those met an odd number of times; 0: free
    int64_t edges;
};

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

// 0 when the facet has no area to speak of.
static int set_frame(struct cover *c, const double facet[3][3])
{
    double u[3], w[3], n[3], size = 0;
    for (int r = 0; r < 3; r++) {
        c->origin[r] = facet[0][r];
        u[r] = facet[1][r] - facet[0][r];
        w[r] = facet[2][r] - facet[0][r];
    }
    n[0] = u[1] * w[2] - u[2] * w[1];
    n[1] = u[2] * w[0] - u[0] * w[2];
    n[2] = u[0] * w[1] - u[1] * w[0];
    double along = __builtin_sqrt(dot(u, u)), area = __builtin_sqrt(dot(n, n));
    size = along > __builtin_sqrt(dot(w, w)) ? along : __builtin_sqrt(dot(w, w));
    if (!(area > 1e-4 * size * size))
        return 0;
    for (int r = 0; r < 3; r++) {
        c->axis[0][r] = u[r] / along;
        c->axis[2][r] = n[r] / area;
    }
    for (int r = 0; r < 3; r++) {
        const double *x = c->axis[0], *z = c->axis[2];
        c->axis[1][r] = z[(r + 1) % 3] * x[(r + 2) % 3] - z[(r + 2) % 3] * x[(r + 1) % 3];
    }
    c->margin = MARGIN * size;
    for (int k = 0; k < 3; k++) {
        const double d[3] = {facet[k][0] - c->origin[0], facet[k][1] - c->origin[1], facet[k][2] - c->origin[2]};
        c->corner[k][0] = dot(d, c->axis[0]);
        c->corner[k][1] = dot(d, c->axis[1]);
    }
    for (int k = 0; k < 3; k++) { // counter-clockwise, since the third axis is the normal
        const double *p = c->corner[k], *q = c->corner[(k + 1) % 3];
        double dx = q[0] - p[0], dy = q[1] - p[1], length = __builtin_sqrt(dx * dx + dy * dy);
        c->inward[k][0] = -dy / length;
        c->inward[k][1] = dx / length;
        c->inward[k][2] = -(c->inward[k][0] * p[0] + c->inward[k][1] * p[1]);
    }
    return 1;
}

static void to_frame(const struct cover *c, uint32_t vertex, double p[3])
{
    const float *at = c->bvh->mesh->xyz + 3 * (int64_t)vertex;
    const double d[3] = {(double)at[0] - c->origin[0], (double)at[1] - c->origin[1], (double)at[2] - c->origin[2]};
    for (int r = 0; r < 3; r++)
        p[r] = dot(d, c->axis[r]);
}

static double inside(const double side[3], const double p[3])
{
    return side[0] * p[0] + side[1] * p[1] + side[2];
}

// 1 when all of the n points lie beyond one side of the facet.
static int is_beside(const struct cover *c, const double p[][3], int n)
{
    for (int k = 0; k < 3; k++) {
        int beyond = 0;
        while (beyond < n && inside(c->inward[k], p[beyond]) < -c->margin)
            beyond++;
        if (beyond == n)
            return 1;
    }
    return 0;
}

// The greatest height of what of a triangle lies above the facet, a margin wider; below 0: nothing does.
static double greatest_height(const struct cover *c, const double corner[3][3])
{
    double a[8][3], b[8][3], most = -1;
    int n = 3;
    memcpy(a, corner, 9 * sizeof corner[0][0]);
    for (int k = 0; k < 3; k++) {
        int kept = 0;
        for (int i = 0; i < n; i++) {
            const double *p = a[i], *q = a[(i + 1) % n];
            double dp = inside(c->inward[k], p) + 2 * c->margin, dq = inside(c->inward[k], q) + 2 * c->margin;
            if (dp >= 0)
                memcpy(b[kept++], p, sizeof b[0]);
            if ((dp >= 0) == (dq >= 0))
                continue;
            for (int r = 0; r < 3; r++)
                b[kept][r] = p[r] + dp / (dp - dq) * (q[r] - p[r]);
            kept++;
        }
        n = kept;
        memcpy(a, b, (size_t)n * sizeof a[0]);
    }
    for (int i = 0; i < n; i++)
        most = __builtin_fabs(a[i][2]) > most ? __builtin_fabs(a[i][2]) : most;
    return most;
}

// Counts an edge that may lie above the facet. There is room for those of all triangles.
static void toggle_edge(struct cover *c, uint32_t v, uint32_t w, const double p[3], const double q[3])
{
    double ends[2][3];
    const int turned = v > w; // the same arithmetic from both of its triangles
    memcpy(ends[turned], p, sizeof ends[0]);
    memcpy(ends[!turned], q, sizeof ends[0]);
    if (is_beside(c, (const double(*)[3])ends, 2))
        return;
    double dx = ends[1][0] - ends[0][0], dy = ends[1][1] - ends[0][1];
    double least = __builtin_inf(), greatest = -least, slack = c->margin * __builtin_sqrt(dx * dx + dy * dy);
    for (int k = 0; k < 3; k++) {
        double side = dx * (c->corner[k][1] - ends[0][1]) - dy * (c->corner[k][0] - ends[0][0]);
        least = side < least ? side : least;
        greatest = side > greatest ? side : greatest;
    }
    if (least > slack || greatest < -slack)
        return;
    const uint64_t key = ((uint64_t)(turned ? w : v) << 32 | (turned ? v : w)) + 1;
    uint64_t at = (key * 0x9e3779b97f4a7c15u) >> 54;
    while (c->edge[at] && c->edge[at] != key)
        at = (at + 1) % SLOTS;
    if (!c->edge[at]) {
        c->edge[at] = key;
        c->edges++;
        return;
    }
    // Taken out: what follows in the row moves up to where it is looked for.
    c->edges--;
    for (uint64_t next = (at + 1) % SLOTS; c->edge[next]; next = (next + 1) % SLOTS) {
        uint64_t home = (c->edge[next] * 0x9e3779b97f4a7c15u) >> 54;
        if (((next - home) % SLOTS) < ((next - at) % SLOTS))
            continue;
        c->edge[at] = c->edge[next];
        at = next;
    }
    c->edge[at] = 0;
}

// Of the corners of a triangle as the point sees them: 1 it is covered, 0 it is not, -1 it cannot be told.
static int covers_point(const double corner[3][3], const double point[2], double margin)
{
    int left = 0, right = 0;
    for (int k = 0; k < 3; k++) {
        const double *p = corner[k], *q = corner[(k + 1) % 3];
        double dx = q[0] - p[0], dy = q[1] - p[1];
        double side = dx * (point[1] - p[1]) - dy * (point[0] - p[0]);
        double slack = margin * __builtin_sqrt(dx * dx + dy * dy);
        left += side > slack;
        right += side < -slack;
    }
    return left && right ? 0 : left == 3 || right == 3 ? 1 : -1;
}

static int collect(void *user, int64_t place)
{
    struct cover *c = user;
    if (c->count == TRIANGLES_MOST) {
        c->count++;
        return 1;
    }
    c->triangle[c->count++] = c->bvh->order[place];
    return 0;
}

// Gathers the triangles around: 0 when there are none or too many.
static int find_triangles(struct cover *c, const double facet[3][3], int64_t *looks)
{
    float low[3], high[3];
    for (int r = 0; r < 3; r++) {
        double least = facet[0][r], most = facet[0][r];
        for (int k = 1; k < 3; k++) {
            least = facet[k][r] < least ? facet[k][r] : least;
            most = facet[k][r] > most ? facet[k][r] : most;
        }
        // Wider by what rounding to floats may do.
        low[r] = (float)(least - c->most - 2.5e-7 * c->bvh->largest);
        high[r] = (float)(most + c->most + 2.5e-7 * c->bvh->largest);
    }
    *looks += kf_bvh_overlaps(c->bvh, low, high, 0, collect, c);
    *looks += c->count;
    return c->count > 0 && c->count <= TRIANGLES_MOST;
}

int kf_bvh_covers(const struct kf_bvh *bvh, const double facet[3][3], double most_mm, double *far, int64_t *looks)
{
    struct cover c = {.bvh = bvh, .most = most_mm};
    *far = 0;
    *looks = 0;
    if (!set_frame(&c, facet) || !find_triangles(&c, facet, looks))
        return 0;
    // A point within, on no line that a grid would have.
    static const double weight[3] = {0.3141, 0.2718, 0.4141};
    const double point[2] = {
        weight[0] * c.corner[0][0] + weight[1] * c.corner[1][0] + weight[2] * c.corner[2][0],
        weight[0] * c.corner[0][1] + weight[1] * c.corner[1][1] + weight[2] * c.corner[2][1]};
    int64_t above = 0;
    for (int64_t i = 0; i < c.count; i++) {
        const uint32_t *v = bvh->mesh->index + 3 * (int64_t)c.triangle[i];
        double corner[3][3];
        for (int k = 0; k < 3; k++)
            to_frame(&c, v[k], corner[k]);
        if (is_beside(&c, (const double(*)[3])corner, 3))
            continue;
        double height = greatest_height(&c, (const double(*)[3])corner);
        if (height > most_mm)
            continue; // its edges will be left over, unless all around it are as far
        *far = height > *far ? height : *far;
        int covered = covers_point((const double(*)[3])corner, point, c.margin);
        if (covered < 0)
            return 0;
        above += covered;
        for (int k = 0; k < 3; k++)
            toggle_edge(&c, v[k], v[(k + 1) % 3], corner[k], corner[(k + 1) % 3]);
    }
    return c.edges == 0 && above % 2 == 1;
}
