// Pairs of triangles that are surely apart, in doubles and floats, and the search for the others; compiled once per
// instruction set (see rows_tmpl.h).
#include "workers/kernels/bits.h"
#include "workers/kernels/mesh_intersect_pass.h"

#include <stddef.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

// ---- what is sure in doubles ----

// The side of the facet's plane on which p surely lies, 1 or -1; 0 when it is not sure. Rounding does at most 9 · 2^-53
// of size · (sum of the differences).
static int sure_side(const struct kf_facet *f, const float p[3])
{
    double x = (double)p[0] - (double)f->p[0][0], y = (double)p[1] - (double)f->p[0][1];
    double z = (double)p[2] - (double)f->p[0][2], at = f->normal[0] * x + f->normal[1] * y + f->normal[2] * z;
    double unsure = 4e-15 * f->size * (__builtin_fabs(x) + __builtin_fabs(y) + __builtin_fabs(z));
    return at > unsure ? 1 : at < -unsure ? -1 : 0;
}

// All corners of a facet surely lie on one side of another's plane.
#if defined(__AVX2__)
static int surely_beside(const struct kf_facet *f, const struct kf_facet *of)
{
    const __m256i near = _mm256_set_epi32(0, 0, 0, 0, 0, 6, 3, 0), far = _mm256_set_epi32(0, 0, 0, 0, 1, 7, 4, 1);
    const __m256 begin = _mm256_loadu_ps(of->p[0]), end = _mm256_loadu_ps(of->p[0] + 1);
    const __m128 at[3] = {_mm256_castps256_ps128(_mm256_permutevar8x32_ps(begin, near)),
                          _mm256_castps256_ps128(_mm256_permutevar8x32_ps(end, near)),
                          _mm256_castps256_ps128(_mm256_permutevar8x32_ps(end, far))};
    const __m256d sign = _mm256_set1_pd(-0.0);
    __m256d above = _mm256_setzero_pd(), size = above;
    for (int r = 0; r < 3; r++) {
        const __m256d d = _mm256_sub_pd(_mm256_cvtps_pd(at[r]), _mm256_set1_pd((double)f->p[0][r]));
        above = _mm256_add_pd(above, _mm256_mul_pd(_mm256_set1_pd(f->normal[r]), d));
        size = _mm256_add_pd(size, _mm256_andnot_pd(sign, d));
    }
    const __m256d unsure = _mm256_mul_pd(_mm256_set1_pd(4e-15 * f->size), size);
    const int sure = _mm256_movemask_pd(_mm256_cmp_pd(_mm256_andnot_pd(sign, above), unsure, _CMP_GT_OQ));
    const int below = _mm256_movemask_pd(above);
    return sure == 15 && (below == 0 || below == 15);
}
#else
static int surely_beside(const struct kf_facet *f, const struct kf_facet *of)
{
    int side = sure_side(f, of->p[0]);
    return side && sure_side(f, of->p[1]) == side && sure_side(f, of->p[2]) == side;
}
#endif

// Of the three corners of a facet.
static const int corner_after[3] = {1, 2, 0}, corner_before[3] = {2, 0, 1};

#if !defined(__AVX2__)
typedef float four __attribute__((vector_size(16)));
typedef int32_t four_int __attribute__((vector_size(16)));

static four positive(four a)
{
    return (four)((four_int)a & 0x7fffffff);
}
#endif

// Two facets with the corner a.p[i] = b.p[k] in common, surely on both sides of a plane through it. The plane is tried
// whose normal m lies between the directions in which they leave the corner; that m is rounded does not matter. In
// floats: what is rounded of a product m · (p - v) is at most 5 · 2^-24 of the sum of its parts, unless these are
// hardly floats any more.
static int surely_parted(const struct kf_facet *a, int i, const struct kf_facet *b, int k)
{
    const float *p = a->p[corner_after[i]], *q = a->p[corner_before[i]], *r = b->p[corner_after[k]],
                *s = b->p[corner_before[k]], *v = a->p[i];
#if defined(__AVX2__)
    // A fourth float is the next corner's, or a number's, and goes nowhere.
    const __m128 pf = _mm_loadu_ps(p), qf = _mm_loadu_ps(q), rf = _mm_loadu_ps(r), sf = _mm_loadu_ps(s);
    const __m128 low_a = _mm_unpacklo_ps(pf, qf), low_b = _mm_unpacklo_ps(rf, sf);
    const __m128 x = _mm_sub_ps(_mm_movelh_ps(low_a, low_b), _mm_set1_ps(v[0]));
    const __m128 y = _mm_sub_ps(_mm_movehl_ps(low_b, low_a), _mm_set1_ps(v[1]));
    const __m128 z = _mm_sub_ps(_mm_movelh_ps(_mm_unpackhi_ps(pf, qf), _mm_unpackhi_ps(rf, sf)), _mm_set1_ps(v[2]));
    const __m128 sign = _mm_set1_ps(-0.0f);
    const __m128 ways = _mm_hadd_ps(x, y), way_z = _mm_hadd_ps(z, z); // a's and b's x, a's and b's y; z
    const __m128 size = _mm_andnot_ps(sign, ways);
    const __m128 length = _mm_add_ps(_mm_add_ps(size, _mm_movehl_ps(size, size)), _mm_andnot_ps(sign, way_z));
    const __m128 m = _mm_sub_ps(_mm_mul_ps(_mm_shuffle_ps(ways, way_z, 0x08), _mm_shuffle_ps(length, length, 0x55)),
                                _mm_mul_ps(_mm_shuffle_ps(ways, way_z, 0x5d), _mm_shuffle_ps(length, length, 0)));
    const __m128 xm = _mm_mul_ps(x, _mm_shuffle_ps(m, m, 0)), ym = _mm_mul_ps(y, _mm_shuffle_ps(m, m, 0x55));
    const __m128 zm = _mm_mul_ps(z, _mm_shuffle_ps(m, m, 0xaa)), along = _mm_add_ps(_mm_add_ps(xm, ym), zm);
    const __m128 sizes =
        _mm_add_ps(_mm_add_ps(_mm_andnot_ps(sign, xm), _mm_andnot_ps(sign, ym)), _mm_andnot_ps(sign, zm));
    const __m128 unsure = _mm_add_ps(_mm_mul_ps(sizes, _mm_set1_ps(1e-6f)), _mm_set1_ps(1e-30f));
    return _mm_movemask_ps(_mm_cmpgt_ps(_mm_xor_ps(along, _mm_set_ps(-0.0f, -0.0f, 0, 0)), unsure)) == 15;
#else
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
#endif
}

// Two facets with an edge in common, of which these corners are none: folded onto each other, the edge's cross products
// with both would point the same way. They are the normals, turned when the edge is run through the other way.
static int surely_unfolded(const struct kf_facet *a, int free_a, const struct kf_facet *b, int free_b)
{
    double both = a->normal[0] * b->normal[0] + a->normal[1] * b->normal[1] + a->normal[2] * b->normal[2];
    int opposite = a->id[corner_after[free_a]] == b->id[corner_before[free_b]];
    return (opposite ? both : -both) > 1e-14 * a->size * b->size;
}

// Bit 4 k + i: corner i of a is corner k of b.
static uint32_t common_corners(const struct kf_facet *a, const struct kf_facet *b)
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
static int facets_meet(const struct kf_facet *a, const struct kf_facet *b)
{
    const uint32_t common = common_corners(a, b), more = common & (common - 1);
    if (!common) {
        if (surely_beside(a, b) || surely_beside(b, a))
            return 0;
    } else if (!more) {
        const int i = __builtin_ctz(common) & 3, k = __builtin_ctz(common) >> 2;
        if (surely_parted(a, i, b, k))
            return 0;
        const int side = sure_side(a, b->p[corner_after[k]]);
        if (side && sure_side(a, b->p[corner_before[k]]) == side)
            return 0;
    } else if (!(more & (more - 1))) {
        const int one = __builtin_ctz(common), two = __builtin_ctz(more);
        if (surely_unfolded(a, 3 - (one & 3) - (two & 3), b, 3 - (one >> 2) - (two >> 2)))
            return 0;
    }
    return kf_triangles_meet((const float(*)[3])a->p, (const float(*)[3])b->p);
}

// ---- the search ----

#define WIDTH     KF_BVH_WIDTH
#define STACK     (KF_BVH_LEVELS * WIDTH)
#define ASK_EVERY 4096 // looks: some of them are at pairs whose signs need sums without rounding

struct box {
    float low[3], high[3];
};

// Counts looks; 1 when the search is to end.
static int look(struct kf_intersect_search *s, int64_t looks)
{
    s->looks += looks;
    if (s->looks < ASK_EVERY)
        return s->stop;
    int64_t left = __atomic_sub_fetch(&s->limits->looks, s->looks, __ATOMIC_RELAXED);
    s->looks = 0;
    return s->stop = kf_loop_ask(s->limits->loop) || left < 0;
}

// Bit c: child c of the node meets the box, touching counts.
static inline uint32_t meets(const struct kf_bvh_node *node, const struct box *box)
{
#if defined(__AVX2__)
    __m256 hit = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
    for (int r = 0; r < 3; r++) {
        hit =
            _mm256_and_ps(hit, _mm256_cmp_ps(_mm256_loadu_ps(node->low[r]), _mm256_set1_ps(box->high[r]), _CMP_LE_OS));
        hit =
            _mm256_and_ps(hit, _mm256_cmp_ps(_mm256_loadu_ps(node->high[r]), _mm256_set1_ps(box->low[r]), _CMP_GE_OS));
    }
    return (uint32_t)_mm256_movemask_ps(hit);
#elif defined(__SSE2__)
    uint32_t mask = 0;
    for (int half = 0; half < 2; half++) {
        __m128 hit = _mm_castsi128_ps(_mm_set1_epi32(-1));
        for (int r = 0; r < 3; r++) {
            hit = _mm_and_ps(hit, _mm_cmple_ps(_mm_loadu_ps(node->low[r] + 4 * half), _mm_set1_ps(box->high[r])));
            hit = _mm_and_ps(hit, _mm_cmpge_ps(_mm_loadu_ps(node->high[r] + 4 * half), _mm_set1_ps(box->low[r])));
        }
        mask |= (uint32_t)_mm_movemask_ps(hit) << 4 * half;
    }
    return mask;
#else
    uint32_t mask = 0;
    for (int c = 0; c < WIDTH; c++) {
        uint32_t hit = 1;
        for (int r = 0; r < 3; r++)
            hit &= (node->low[r][c] <= box->high[r]) & (node->high[r][c] >= box->low[r]);
        mask |= hit << c;
    }
    return mask;
#endif
}

// Bit c: child c of the node meets child i of another.
static inline uint32_t meets_child(const struct kf_bvh_node *node, const struct kf_bvh_node *other, int i)
{
    const struct box box = {{other->low[0][i], other->low[1][i], other->low[2][i]},
                            {other->high[0][i], other->high[1][i], other->high[2][i]}};
    return meets(node, &box);
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

static void try_pair(struct kf_intersect_search *s, int64_t place, int64_t other)
{
    const struct kf_facet *a = s->facet + place, *b = s->facet + other;
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
static void try_leaves(struct kf_intersect_search *s, int64_t leaf, int64_t other, const struct box *all)
{
    const struct kf_bvh_node *own = &s->bvh->node[0][leaf], *node = &s->bvh->node[0][other];
    (void)look(s, 1);
    // All of them will be looked at, and lie in a row; asking beyond the last of all does no harm.
    for (size_t at = 0; at < WIDTH * sizeof *s->facet; at += 64)
        __builtin_prefetch((const char *)(s->facet + WIDTH * other) + at);
    for (uint32_t left = meets(own, all); left && !s->stop; left &= left - 1) {
        const int i = __builtin_ctz(left);
        if (s->facet[WIDTH * leaf + i].flat)
            continue;
        uint32_t hits = meets_child(node, own, i) & (leaf == other ? ~(uint32_t)0 << i << 1 : ~(uint32_t)0);
        const int64_t looks = kf_ones(hits);
        for (; hits; hits &= hits - 1)
            try_pair(s, WIDTH * leaf + i, WIDTH * other + __builtin_ctz(hits));
        (void)look(s, looks);
    }
}

// A leaf against itself and all that come after it in the tree's order.
static void search_leaf(struct kf_intersect_search *s, int64_t leaf)
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

static void intersect_block(struct kf_intersect_search *s, int64_t block)
{
    const int64_t leaves = s->bvh->nodes[0],
                  end = (block + 1) * KF_INTERSECT_BLOCK < leaves ? (block + 1) * KF_INTERSECT_BLOCK : leaves;
    for (int64_t leaf = block * KF_INTERSECT_BLOCK; leaf < end && !s->stop; leaf++)
        search_leaf(s, leaf);
    __atomic_sub_fetch(&s->limits->looks, s->looks, __ATOMIC_RELAXED);
}

#undef WIDTH
#undef STACK
#undef ASK_EVERY
