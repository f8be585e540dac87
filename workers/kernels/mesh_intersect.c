#include "workers/kernels/mesh_intersect.h"
#include "workers/kernels/adjacency.h"
#include "workers/kernels/bvh.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#include <string.h>

// ---- exact signs ----

// A number as a sum of doubles that do not overlap, the greatest last (Shewchuk's expansion).
struct sum {
    double part[64];
    int parts;
};

// Adds one double without rounding (grow-expansion with zero elimination; Shewchuk 1997, figure 6).
static void add_exactly(struct sum *s, double b)
{
    int kept = 0;
    double q = b;
    for (int i = 0; i < s->parts; i++) {
        double e = s->part[i], total = q + e, of_e = total - q, of_q = total - of_e;
        double rest = (q - of_q) + (e - of_e);
        q = total;
        if (rest != 0)
            s->part[kept++] = rest;
    }
    if (q != 0)
        s->part[kept++] = q;
    s->parts = kept;
}

// Adds x·y·z of three floats: x·y is exact in a double, and so are its two halves times z.
static void add_product(struct sum *s, float x, float y, float z)
{
    double xy = (double)x * (double)y, c = 134217729.0 * xy, high = c - (c - xy), low = xy - high;
    add_exactly(s, high * (double)z);
    add_exactly(s, low * (double)z);
}

static int sign_of(const struct sum *s)
{
    return s->parts == 0 ? 0 : s->part[s->parts - 1] > 0 ? 1 : -1;
}

// + |u v w| as a sum of six products.
static void add_determinant(struct sum *s, const float u[3], const float v[3], const float w[3])
{
    add_product(s, u[0], v[1], w[2]);
    add_product(s, u[1], v[2], w[0]);
    add_product(s, u[2], v[0], w[1]);
    add_product(s, -u[2], v[1], w[0]);
    add_product(s, -u[1], v[0], w[2]);
    add_product(s, -u[0], v[2], w[1]);
}

static int orientation_exactly(const float a[3], const float b[3], const float c[3], const float d[3])
{
    // |a-d b-d c-d| = |a b c| - |b c d| + |c d a| - |d a b|, with the second and fourth turned by one swap.
    struct sum s = {.parts = 0};
    add_determinant(&s, a, b, c);
    add_determinant(&s, c, b, d);
    add_determinant(&s, c, d, a);
    add_determinant(&s, a, d, b);
    return sign_of(&s);
}

int kf_orientation(const float a[3], const float b[3], const float c[3], const float d[3])
{
    double u[3], v[3], w[3];
    for (int r = 0; r < 3; r++) {
        u[r] = (double)a[r] - (double)d[r];
        v[r] = (double)b[r] - (double)d[r];
        w[r] = (double)c[r] - (double)d[r];
    }
    double p0 = v[1] * w[2], q0 = v[2] * w[1], p1 = v[2] * w[0], q1 = v[0] * w[2], p2 = v[0] * w[1], q2 = v[1] * w[0];
    double det = u[0] * (p0 - q0) + u[1] * (p1 - q1) + u[2] * (p2 - q2);
    double size = (__builtin_fabs(p0) + __builtin_fabs(q0)) * __builtin_fabs(u[0]) +
                  (__builtin_fabs(p1) + __builtin_fabs(q1)) * __builtin_fabs(u[1]) +
                  (__builtin_fabs(p2) + __builtin_fabs(q2)) * __builtin_fabs(u[2]);
    double unsure = 8e-16 * size; // Shewchuk's bound is 7.8e-16
    if (det > unsure || -det > unsure)
        return det > 0 ? 1 : -1;
    if (size == 0) // every product has a factor that is 0 exactly
        return 0;
    return orientation_exactly(a, b, c, d);
}

// The same in the plane of the axes x and y: 1 when a, b, c turn counter-clockwise.
static int turn_of(const float *a, const float *b, const float *c, int x, int y)
{
    double left = ((double)a[x] - (double)c[x]) * ((double)b[y] - (double)c[y]);
    double right = ((double)a[y] - (double)c[y]) * ((double)b[x] - (double)c[x]);
    double det = left - right, unsure = 4e-16 * (__builtin_fabs(left) + __builtin_fabs(right));
    if (det > unsure || -det > unsure)
        return det > 0 ? 1 : -1;
    struct sum s = {.parts = 0};
    add_product(&s, a[x], b[y], 1);
    add_product(&s, -a[y], b[x], 1);
    add_product(&s, b[x], c[y], 1);
    add_product(&s, -b[y], c[x], 1);
    add_product(&s, c[x], a[y], 1);
    add_product(&s, -c[y], a[x], 1);
    return sign_of(&s);
}

// An axis along which the triangle can be looked at without becoming a line; -1 when it has no area.
static int seen_along(const float t[3][3])
{
    for (int axis = 0; axis < 3; axis++)
        if (turn_of(t[0], t[1], t[2], (axis + 1) % 3, (axis + 2) % 3))
            return axis;
    return -1;
}

// ---- within a plane ----

static int between(const float *a, const float *b, const float *p, int x, int y)
{
    for (int n = 0; n < 2; n++) {
        int r = n ? y : x;
        if ((p[r] < a[r] && p[r] < b[r]) || (p[r] > a[r] && p[r] > b[r]))
            return 0;
    }
    return 1;
}

static int segments_meet(const float *a, const float *b, const float *c, const float *d, int x, int y)
{
    int s = turn_of(a, b, c, x, y), t = turn_of(a, b, d, x, y), u = turn_of(c, d, a, x, y), v = turn_of(c, d, b, x, y);
    if (s * t < 0 && u * v < 0)
        return 1;
    return (!s && between(a, b, c, x, y)) || (!t && between(a, b, d, x, y)) || (!u && between(c, d, a, x, y)) ||
           (!v && between(c, d, b, x, y));
}

static int inside_triangle(const float t[3][3], const float *p, int x, int y)
{
    int low = 0, high = 0;
    for (int c = 0; c < 3; c++) {
        int turn = turn_of(t[c], t[(c + 1) % 3], p, x, y);
        low |= turn < 0;
        high |= turn > 0;
    }
    return !(low && high);
}

// A segment and a triangle in one plane.
static int flat_meet(const float *p, const float *q, const float t[3][3])
{
    int axis = seen_along(t), x = (axis + 1) % 3, y = (axis + 2) % 3;
    if (inside_triangle(t, p, x, y) || inside_triangle(t, q, x, y))
        return 1;
    for (int c = 0; c < 3; c++)
        if (segments_meet(p, q, t[c], t[(c + 1) % 3], x, y))
            return 1;
    return 0;
}

// ---- triangles ----

// The segment pq, whose ends lie on the sides s and u of the triangle's plane, and the triangle, both with their rims.
static int segment_meets(const float *p, const float *q, int s, int u, const float t[3][3])
{
    if (s * u > 0)
        return 0;
    if (!s && !u)
        return flat_meet(p, q, t);
    int low = 0, high = 0;
    for (int c = 0; c < 3; c++) {
        int side = kf_orientation(p, q, t[c], t[(c + 1) % 3]);
        low |= side < 0;
        high |= side > 0;
        if (low && high)
            return 0;
    }
    return 1;
}

static int same_place(const float *a, const float *b)
{
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

static void sides_of(const float t[3][3], const float of[3][3], int side[3])
{
    for (int c = 0; c < 3; c++)
        side[c] = kf_orientation(t[0], t[1], t[2], of[c]);
}

static int all_on_one_side(const int side[3])
{
    return (side[0] > 0 && side[1] > 0 && side[2] > 0) || (side[0] < 0 && side[1] < 0 && side[2] < 0);
}

// Two triangles with the edge from a[i] to a[(i + 1) % 3] in common: they meet beyond it only when folded flat.
static int folded(const float a[3][3], int i, const float *other)
{
    const float *p = a[i], *q = a[(i + 1) % 3], *mine = a[(i + 2) % 3];
    if (kf_orientation(p, q, mine, other))
        return 0;
    int axis = seen_along(a), x = (axis + 1) % 3, y = (axis + 2) % 3;
    return turn_of(p, q, mine, x, y) == turn_of(p, q, other, x, y);
}

// Two triangles with the corner a[i] = b[k] in common: what leaves it together ends on a side opposite to it.
static int meet_around_corner(const float a[3][3], int i, const float b[3][3], int k)
{
    const float *p = a[(i + 1) % 3], *q = a[(i + 2) % 3], *r = b[(k + 1) % 3], *s = b[(k + 2) % 3];
    int side_r = kf_orientation(a[0], a[1], a[2], r), side_s = kf_orientation(a[0], a[1], a[2], s);
    if (side_r * side_s > 0)
        return 0;
    int side_p = kf_orientation(b[0], b[1], b[2], p), side_q = kf_orientation(b[0], b[1], b[2], q);
    if (side_p * side_q > 0)
        return 0;
    return segment_meets(p, q, side_p, side_q, b) || segment_meets(r, s, side_r, side_s, a);
}

int kf_triangles_meet(const float a[][3], const float b[][3])
{
    int shared = 0, at_a[3] = {0, 0, 0}, at_b[3] = {0, 0, 0}, free_a = 3, free_b = 3;
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            if (same_place(a[i], b[k])) {
                at_a[shared % 3] = i;
                at_b[shared % 3] = k;
                free_a -= i;
                free_b -= k;
                shared++;
            }
    if (shared >= 3)
        return 1;
    if (shared == 2) // the corner of a that is left is free_a, and the edge begins after it
        return folded(a, (free_a + 1) % 3, b[free_b]);
    if (shared == 1)
        return meet_around_corner(a, at_a[0], b, at_b[0]);
    int side_b[3], side_a[3];
    sides_of(a, b, side_b);
    if (all_on_one_side(side_b))
        return 0;
    sides_of(b, a, side_a);
    if (all_on_one_side(side_a))
        return 0;
    for (int c = 0; c < 3; c++) {
        int n = (c + 1) % 3;
        if (segment_meets(a[c], a[n], side_a[c], side_a[n], b) || segment_meets(b[c], b[n], side_b[c], side_b[n], a))
            return 1;
    }
    return 0;
}

// ---- what is sure in doubles ----

// A triangle at its place in the tree's order. `normal` is the cross product of two sides, rounded; `size` at least the
// sum of the products in each of its parts, which bounds what rounding can have done: 4.1 · 2^-53 of it.
struct facet {
    float p[3][3];
    uint32_t id[4]; // of its corners, equal where places are; the last is none's
    int flat;
    double normal[3], size;
};

static void make_facet(const struct kf_mesh *mesh, uint32_t t, const uint32_t *same, struct facet *f)
{
    double u[3], w[3], widest_u = 0, widest_w = 0;
    for (int c = 0; c < 3; c++) {
        uint32_t v = mesh->index[3 * (int64_t)t + c];
        memcpy(f->p[c], mesh->xyz + 3 * (int64_t)v, sizeof f->p[c]);
        f->id[c] = same[v];
    }
    f->id[3] = UINT32_MAX;
    for (int r = 0; r < 3; r++) {
        u[r] = (double)f->p[1][r] - (double)f->p[0][r];
        w[r] = (double)f->p[2][r] - (double)f->p[0][r];
        widest_u = __builtin_fabs(u[r]) > widest_u ? __builtin_fabs(u[r]) : widest_u;
        widest_w = __builtin_fabs(w[r]) > widest_w ? __builtin_fabs(w[r]) : widest_w;
    }
    f->size = 2 * widest_u * widest_w;
    int sure = 0;
    for (int r = 0; r < 3; r++) {
        f->normal[r] = u[(r + 1) % 3] * w[(r + 2) % 3] - u[(r + 2) % 3] * w[(r + 1) % 3];
        sure |= __builtin_fabs(f->normal[r]) > 1e-15 * f->size;
    }
    f->flat = !sure && seen_along((const float (*)[3])f->p) < 0;
}

// The side of the facet's plane on which p surely lies, 1 or -1; 0 when it is not sure. Rounding does at most 9 · 2^-53
// of size · (sum of the differences).
static int sure_side(const struct facet *f, const float p[3])
{
    double x = (double)p[0] - (double)f->p[0][0], y = (double)p[1] - (double)f->p[0][1];
    double z = (double)p[2] - (double)f->p[0][2], at = f->normal[0] * x + f->normal[1] * y + f->normal[2] * z;
    double unsure = 4e-15 * f->size * (__builtin_fabs(x) + __builtin_fabs(y) + __builtin_fabs(z));
    return at > unsure ? 1 : at < -unsure ? -1 : 0;
}

static int surely_beside(const struct facet *f, const struct facet *of)
{
    int side = sure_side(f, of->p[0]);
    return side && sure_side(f, of->p[1]) == side && sure_side(f, of->p[2]) == side;
}

typedef float four __attribute__((vector_size(16)));
typedef int32_t four_int __attribute__((vector_size(16)));

static four positive(four a)
{
    return (four)((four_int)a & 0x7fffffff);
}

// Two facets with the corner a.p[i] = b.p[k] in common, surely on both sides of a plane through it. The plane is tried
// whose normal m lies between the directions in which they leave the corner; that m is rounded does not matter. In
// floats: what is rounded of a product m · (p - v) is at most 5 · 2^-24 of the sum of its parts, unless these are hardly
// floats any more.
static int surely_parted(const struct facet *a, int i, const struct facet *b, int k)
{
    static const int next[3] = {1, 2, 0}, last[3] = {2, 0, 1};
    const float *p = a->p[next[i]], *q = a->p[last[i]], *r = b->p[next[k]], *s = b->p[last[k]], *v = a->p[i];
    const four x = (four){p[0], q[0], r[0], s[0]} - v[0], y = (four){p[1], q[1], r[1], s[1]} - v[1],
               z = (four){p[2], q[2], r[2], s[2]} - v[2];
    const float ax = x[0] + x[1], ay = y[0] + y[1], az = z[0] + z[1], bx = x[2] + x[3], by = y[2] + y[3],
                bz = z[2] + z[3];
    const float length_a = __builtin_fabsf(ax) + __builtin_fabsf(ay) + __builtin_fabsf(az);
    const float length_b = __builtin_fabsf(bx) + __builtin_fabsf(by) + __builtin_fabsf(bz);
    const four xm = x * (ax * length_b - bx * length_a), ym = y * (ay * length_b - by * length_a),
               zm = z * (az * length_b - bz * length_a);
    const four along = xm + ym + zm, unsure = (positive(xm) + positive(ym) + positive(zm)) * 1e-6f + 1e-30f;
    const four turned = {along[0], along[1], -along[2], -along[3]};
    const four_int sure = turned > unsure;
    return sure[0] & sure[1] & sure[2] & sure[3];
}

// Two facets with an edge in common, of which these corners are none: folded onto each other, the edge's cross products
// with both would point the same way. They are the normals, turned when the edge is run through the other way.
static int surely_unfolded(const struct facet *a, int free_a, const struct facet *b, int free_b)
{
    double both = a->normal[0] * b->normal[0] + a->normal[1] * b->normal[1] + a->normal[2] * b->normal[2];
    int opposite = a->id[(free_a + 1) % 3] == b->id[(free_b + 2) % 3];
    return (opposite ? both : -both) > 1e-14 * a->size * b->size;
}

// Bit 4 k + i: corner i of a is corner k of b.
static uint32_t common_corners(const struct facet *a, const struct facet *b)
{
    uint32_t mask = 0;
#if defined(__SSE2__)
    const __m128i own = _mm_loadu_si128((const __m128i *)(const void *)a->id);
    for (int k = 0; k < 3; k++) {
        const __m128i same = _mm_cmpeq_epi32(own, _mm_set1_epi32((int)b->id[k]));
        mask |= (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(same)) << 4 * k;
    }
#else
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 3; i++)
            mask |= (uint32_t)(a->id[i] == b->id[k]) << (4 * k + i);
#endif
    return mask;
}

// kf_triangles_meet of two facets that are not flat, mostly decided without it.
static int facets_meet(const struct facet *a, const struct facet *b)
{
    const uint32_t common = common_corners(a, b), more = common & (common - 1);
    if (!common) {
        if (surely_beside(a, b) || surely_beside(b, a))
            return 0;
    } else if (!more) {
        const int i = __builtin_ctz(common) & 3, k = __builtin_ctz(common) >> 2;
        if (surely_parted(a, i, b, k))
            return 0;
        const int side = sure_side(a, b->p[(k + 1) % 3]);
        if (side && sure_side(a, b->p[(k + 2) % 3]) == side)
            return 0;
    } else if (!(more & (more - 1))) {
        const int one = __builtin_ctz(common), two = __builtin_ctz(more);
        if (surely_unfolded(a, 3 - (one & 3) - (two & 3), b, 3 - (one >> 2) - (two >> 2)))
            return 0;
    }
    return kf_triangles_meet((const float (*)[3])a->p, (const float (*)[3])b->p);
}

// ---- the mesh ----

#define WIDTH     KF_BVH_WIDTH
#define STACK     (KF_BVH_LEVELS * WIDTH)
#define BLOCK     64   // leaves of the tree that one thread searches for in a row
#define ASK_EVERY 4096 // looks: some of them are at pairs whose signs need sums without rounding

// Shared by all threads.
struct limits {
    struct kf_loop *loop;
    int64_t looks; // that are left
};

struct search {
    const struct kf_bvh *bvh;
    const struct facet *facet; // in the tree's order
    struct limits *limits;
    int64_t looks; // not yet taken off the limit
    int stop;
    int64_t pairs;
    uint32_t *list; // NULL: only count
    int64_t most;
};

struct box {
    float low[3], high[3];
};

// Counts looks; 1 when the search is to end.
static int look(struct search *s, int64_t looks)
{
    s->looks += looks;
    if (s->looks < ASK_EVERY)
        return s->stop;
    int64_t left = __atomic_sub_fetch(&s->limits->looks, s->looks, __ATOMIC_RELAXED);
    s->looks = 0;
    return s->stop = kf_loop_ask(s->limits->loop) || left < 0;
}

// Bit c: child c of the node meets the box, touching counts.
static uint32_t meets(const struct kf_bvh_node *node, const struct box *box)
{
    uint32_t mask = 0;
#if defined(__SSE2__)
    for (int half = 0; half < 2; half++) {
        __m128 hit = _mm_castsi128_ps(_mm_set1_epi32(-1));
        for (int r = 0; r < 3; r++) {
            hit = _mm_and_ps(hit, _mm_cmple_ps(_mm_loadu_ps(node->low[r] + 4 * half), _mm_set1_ps(box->high[r])));
            hit = _mm_and_ps(hit, _mm_cmpge_ps(_mm_loadu_ps(node->high[r] + 4 * half), _mm_set1_ps(box->low[r])));
        }
        mask |= (uint32_t)_mm_movemask_ps(hit) << 4 * half;
    }
#else
    for (int c = 0; c < WIDTH; c++) {
        uint32_t hit = 1;
        for (int r = 0; r < 3; r++)
            hit &= (node->low[r][c] <= box->high[r]) & (node->high[r][c] >= box->low[r]);
        mask |= hit << c;
    }
#endif
    return mask;
}

static struct box box_of(const struct kf_bvh_node *node, int child)
{
    struct box b;
    for (int r = 0; r < 3; r++) {
        b.low[r] = node->low[r][child];
        b.high[r] = node->high[r][child];
    }
    return b;
}

static struct box box_of_all(const struct kf_bvh_node *node)
{
    struct box b = box_of(node, 0);
    for (int r = 0; r < 3; r++)
        for (int c = 1; c < WIDTH; c++) {
            b.low[r] = node->low[r][c] < b.low[r] ? node->low[r][c] : b.low[r];
            b.high[r] = node->high[r][c] > b.high[r] ? node->high[r][c] : b.high[r];
        }
    return b;
}

static void try_pair(struct search *s, int64_t place, int64_t other)
{
    const struct facet *a = s->facet + place, *b = s->facet + other;
    s->looks++;
    if (b->flat || !facets_meet(a, b))
        return;
    uint32_t t = s->bvh->order[place], u = s->bvh->order[other];
    if (s->list && s->pairs < s->most) {
        s->list[2 * s->pairs] = t < u ? t : u;
        s->list[2 * s->pairs + 1] = t < u ? u : t;
    }
    s->pairs++;
}

// The triangles of a leaf against those of another, whose box is `all`, or against those that follow each in the same.
static void try_leaves(struct search *s, int64_t leaf, int64_t other, const struct box *all)
{
    const struct kf_bvh_node *own = &s->bvh->node[0][leaf], *node = &s->bvh->node[0][other];
    (void)look(s, 1);
    // All of them will be looked at, and lie in a row; asking beyond the last of all does no harm.
    for (size_t at = 0; at < WIDTH * sizeof *s->facet; at += 64)
        __builtin_prefetch((const char *)(s->facet + WIDTH * other) + at);
    for (uint32_t left = meets(own, all); left && !s->stop; left &= left - 1) {
        const int i = __builtin_ctz(left);
        const struct box box = box_of(own, i);
        uint32_t hits = meets(node, &box);
        if (s->facet[WIDTH * leaf + i].flat)
            continue;
        for (hits &= leaf == other ? ~(uint32_t)0 << i << 1 : ~(uint32_t)0; hits; hits &= hits - 1)
            try_pair(s, WIDTH * leaf + i, WIDTH * other + __builtin_ctz(hits));
        (void)look(s, 0);
    }
}

// A leaf against itself and all that come after it in the tree's order.
static void search_leaf(struct search *s, int64_t leaf)
{
    const struct kf_bvh *bvh = s->bvh;
    const struct box box = box_of_all(&bvh->node[0][leaf]);
    struct {
        int64_t node;
        int level;
    } stack[STACK];
    int64_t span[KF_BVH_LEVELS] = {1}; // leaves below a node of each level
    for (int l = 1; l < bvh->levels; l++)
        span[l] = WIDTH * span[l - 1];
    if (bvh->levels == 1)
        try_leaves(s, leaf, leaf, &box);
    int top = 0;
    stack[top].level = bvh->levels - 1;
    stack[top++].node = 0;
    while (top && bvh->levels > 1 && !s->stop) {
        const int64_t at = stack[--top].node;
        const int level = stack[top].level;
        const struct kf_bvh_node *node = &bvh->node[level][at];
        (void)look(s, 1);
        for (uint32_t hits = meets(node, &box); hits; hits &= hits - 1) {
            const int c = __builtin_ctz(hits);
            const int64_t child = WIDTH * at + c;
            if ((child + 1) * span[level - 1] <= leaf)
                continue;
            if (level == 1) {
                const struct box all = box_of(node, c);
                try_leaves(s, leaf, child, &all);
            } else {
                stack[top].level = level - 1;
                stack[top++].node = child;
            }
        }
    }
}

static void search_block(struct search *s, int64_t block)
{
    const int64_t leaves = s->bvh->nodes[0], end = (block + 1) * BLOCK < leaves ? (block + 1) * BLOCK : leaves;
    for (int64_t leaf = block * BLOCK; leaf < end && !s->stop; leaf++)
        search_leaf(s, leaf);
    __atomic_sub_fetch(&s->limits->looks, s->looks, __ATOMIC_RELAXED);
}

// Per block of leaves the number of pairs before it; the last entry is that of all. *given_up: looks ran out.
static enum kf_kernel_status count_pairs(const struct kf_work *work, const struct search *like, int64_t blocks,
                                         int64_t *count, int *given_up)
{
    struct kf_loop loop = kf_loop_make(work, blocks, 0, 1);
    struct limits limits = {&loop, KF_INTERSECT_LOOKS + 64 * like->bvh->mesh->triangles};
    int64_t total = 0;
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        struct search s = {.bvh = like->bvh, .facet = like->facet, .limits = &limits};
        if (kf_loop_stop(&loop) || __atomic_load_n(&limits.looks, __ATOMIC_RELAXED) < 0)
            continue;
        search_block(&s, b);
        count[b] = s.pairs;
    }
    *given_up = limits.looks < 0;
    if (loop.stop)
        return KF_KERNEL_CANCELLED;
    for (int64_t b = 0; b < blocks && !*given_up; b++) {
        int64_t n = count[b];
        count[b] = total;
        total += n;
    }
    count[blocks] = *given_up ? 0 : total;
    return KF_KERNEL_OK;
}

// Searches once more in the blocks that have pairs, and writes these to where they belong.
static enum kf_kernel_status list_pairs(const struct kf_work *work, const struct search *like, int64_t blocks,
                                        const int64_t *count, int64_t listed, uint32_t *pair)
{
    struct kf_loop loop = kf_loop_make(work, blocks, 1, 1);
    struct limits limits = {&loop, INT64_MAX}; // as many as before
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t b = 0; b < blocks; b++) {
        if (kf_loop_stop(&loop) || count[b] == count[b + 1] || count[b] >= listed)
            continue;
        struct search s = {.bvh = like->bvh, .facet = like->facet, .limits = &limits};
        s.list = pair + 2 * count[b];
        s.most = listed - count[b];
        search_block(&s, b);
    }
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

static enum kf_kernel_status search_all(const struct kf_work *work, const struct search *like, int64_t most,
                                        struct kf_mesh_intersections *out)
{
    int64_t blocks = (like->bvh->nodes[0] + BLOCK - 1) / BLOCK;
    int64_t *count = kf_work_take(work, (blocks + 1) * (int64_t)sizeof *count);
    if (!count)
        return KF_KERNEL_NOMEM;
    enum kf_kernel_status status = count_pairs(work, like, blocks, count, &out->given_up);
    if (!status) {
        out->pairs = count[blocks];
        out->listed = out->pairs < most ? out->pairs : most;
        out->pair = out->listed > 0 ? kf_work_take(work, out->listed * 2 * (int64_t)sizeof *out->pair) : NULL;
    }
    if (!status && out->listed > 0)
        status = out->pair ? list_pairs(work, like, blocks, count, out->listed, out->pair) : KF_KERNEL_NOMEM;
    kf_work_give(work, count);
    return status;
}

// The facets in the tree's order. Owned: kf_work_give.
static enum kf_kernel_status make_facets(const struct kf_work *work, const struct kf_bvh *bvh, struct facet **out,
                                         int64_t *flat)
{
    const struct kf_mesh *mesh = bvh->mesh;
    int64_t flats = 0;
    uint32_t *same = kf_work_take(work, mesh->vertices * (int64_t)sizeof *same);
    struct facet *facet = kf_work_take(work, mesh->triangles * (int64_t)sizeof *facet);
    enum kf_kernel_status status = same && facet ? kf_same_places(work, mesh, same) : KF_KERNEL_NOMEM;
    if (!status) {
        struct kf_loop loop = kf_loop_make(work, mesh->triangles / ASK_EVERY + 1, 0, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static) reduction(+ : flats)
        for (int64_t n = 0; n < mesh->triangles; n++) {
            if (n % ASK_EVERY == 0)
                (void)kf_loop_stop(&loop);
            if (__atomic_load_n(&loop.stop, __ATOMIC_RELAXED))
                continue;
            make_facet(mesh, bvh->order[n], same, &facet[n]);
            flats += facet[n].flat;
        }
        status = loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
    }
    kf_work_give(work, same);
    if (status) {
        kf_work_give(work, facet);
        facet = NULL;
    }
    *out = facet;
    *flat = flats;
    return status;
}

enum kf_kernel_status kf_mesh_intersect(const struct kf_work *work, const struct kf_mesh *mesh, int64_t most,
                                        struct kf_mesh_intersections *out)
{
    *out = (struct kf_mesh_intersections){0};
    if (most < 0)
        return KF_KERNEL_INVALID;
    if (mesh->vertices >= UINT32_MAX)
        return KF_KERNEL_TOO_LARGE;
    struct kf_bvh bvh;
    struct kf_work_part part;
    struct facet *facet = NULL;
    enum kf_kernel_status status = kf_bvh_make(kf_work_part(&part, work, 0, 0.2), mesh, &bvh);
    if (!status && bvh.levels)
        status = make_facets(kf_work_part(&part, work, 0.2, 0.3), &bvh, &facet, &out->flat);
    if (!status && bvh.levels) {
        const struct search like = {.bvh = &bvh, .facet = facet};
        status = search_all(kf_work_part(&part, work, 0.3, 1), &like, most, out);
    }
    out->flat = out->given_up ? 0 : out->flat;
    kf_work_give(work, facet);
    kf_bvh_release(work, &bvh);
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    if (status) {
        kf_work_give(work, out->pair);
        *out = (struct kf_mesh_intersections){0};
    }
    return status;
}
