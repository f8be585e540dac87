#include "workers/kernels/bvh.h"
#include "workers/kernels/sort.h"

#include <string.h>

#define WIDTH KF_BVH_WIDTH
#define STACK (KF_BVH_LEVELS * WIDTH)
#define BLOCK 4096 // triangles, or nodes, between two questions

void kf_bvh_release(const struct kf_work *work, struct kf_bvh *bvh)
{
    kf_work_give(work, bvh->order);
    for (int l = 0; l < KF_BVH_LEVELS; l++)
        kf_work_give(work, bvh->node[l]);
    *bvh = (struct kf_bvh){0};
}

// ---- making ----

struct bounds {
    float low[3], high[3];
};

// The bounds of a block of triangles; 1 when one of them is no triangle of a tree.
static int bound_block(const struct kf_mesh *mesh, int64_t block, struct bounds *out)
{
    int64_t end = (block + 1) * BLOCK < mesh->triangles ? (block + 1) * BLOCK : mesh->triangles;
    struct bounds b = {{KF_BVH_FAR, KF_BVH_FAR, KF_BVH_FAR}, {-KF_BVH_FAR, -KF_BVH_FAR, -KF_BVH_FAR}};
    int wrong = 0;
    for (int64_t c = 3 * block * BLOCK; c < 3 * end; c++) {
        if (mesh->index[c] >= (uint64_t)mesh->vertices)
            return 1;
        const float *p = mesh->xyz + 3 * (int64_t)mesh->index[c];
        for (int r = 0; r < 3; r++) {
            wrong |= !(p[r] > -KF_BVH_FAR && p[r] < KF_BVH_FAR);
            b.low[r] = p[r] < b.low[r] ? p[r] : b.low[r];
            b.high[r] = p[r] > b.high[r] ? p[r] : b.high[r];
        }
    }
    *out = b;
    return wrong;
}

static enum kf_kernel_status find_bounds(const struct kf_work *work, const struct kf_mesh *mesh, double low[3],
                                         double high[3])
{
    int64_t blocks = (mesh->triangles + BLOCK - 1) / BLOCK;
    struct bounds *block = kf_work_take(work, blocks * (int64_t)sizeof *block);
    if (!block)
        return KF_KERNEL_NOMEM;
    struct kf_loop loop = kf_loop_make(work, blocks, 0, 0.2);
    int wrong = 0;
#pragma omp parallel for num_threads(work->threads) schedule(static) reduction(| : wrong)
    for (int64_t b = 0; b < blocks; b++)
        if (!kf_loop_stop(&loop))
            wrong |= bound_block(mesh, b, &block[b]);
    for (int64_t b = 0; b < blocks && !wrong && !loop.stop; b++)
        for (int r = 0; r < 3; r++) {
            low[r] = b == 0 || (double)block[b].low[r] < low[r] ? (double)block[b].low[r] : low[r];
            high[r] = b == 0 || (double)block[b].high[r] > high[r] ? (double)block[b].high[r] : high[r];
        }
    kf_work_give(work, block);
    return loop.stop ? KF_KERNEL_CANCELLED : wrong ? KF_KERNEL_INVALID : KF_KERNEL_OK;
}

// Every third bit of the answer is a bit of the 16 of v.
static uint64_t spread(uint64_t v)
{
    v = (v | v << 16) & 0x0000ff0000ffu;
    v = (v | v << 8) & 0x00f00f00f00fu;
    v = (v | v << 4) & 0x0c30c30c30c3u;
    return (v | v << 2) & 0x249249249249u;
}

static uint64_t key_of(const struct kf_mesh *mesh, int64_t t, const double low[3], const double scale)
{
    uint64_t key = 0;
    for (int r = 0; r < 3; r++) {
        double sum = 0;
        for (int c = 0; c < 3; c++)
            sum += (double)mesh->xyz[3 * (int64_t)mesh->index[3 * t + c] + r];
        double at = (sum / 3 - low[r]) * scale;
        key |= spread(at > 0 ? at < 65535 ? (uint64_t)at : 65535 : 0) << r;
    }
    return key;
}

static void triangle_box(const struct kf_mesh *mesh, uint32_t t, struct kf_bvh_node *node, int child)
{
    for (int r = 0; r < 3; r++) {
        float low = 0, high = 0;
        for (int c = 0; c < 3; c++) {
            float x = mesh->xyz[3 * (int64_t)mesh->index[3 * (int64_t)t + c] + r];
            low = c == 0 || x < low ? x : low;
            high = c == 0 || x > high ? x : high;
        }
        node->low[r][child] = low;
        node->high[r][child] = high;
    }
}

static void empty_box(struct kf_bvh_node *node, int child)
{
    for (int r = 0; r < 3; r++) {
        node->low[r][child] = __builtin_inff();
        node->high[r][child] = -__builtin_inff();
    }
}

static enum kf_kernel_status fill_level(const struct kf_work *work, struct kf_bvh *b, int level)
{
    int64_t children = level ? b->nodes[level - 1] : b->mesh->triangles;
    struct kf_loop loop = kf_loop_make(work, b->nodes[level] / BLOCK + 1, 0.8, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t n = 0; n < b->nodes[level]; n++) {
        struct kf_bvh_node *node = &b->node[level][n];
        if (n % BLOCK == 0)
            (void)kf_loop_stop(&loop);
        if (__atomic_load_n(&loop.stop, __ATOMIC_RELAXED))
            continue;
        for (int c = 0; c < WIDTH; c++) {
            int64_t child = WIDTH * n + c;
            empty_box(node, c);
            if (child < children && !level)
                triangle_box(b->mesh, b->order[child], node, c);
            for (int g = 0; g < WIDTH && level && child < children; g++)
                for (int r = 0; r < 3; r++) {
                    const struct kf_bvh_node *below = &b->node[level - 1][child];
                    float low = below->low[r][g], high = below->high[r][g];
                    node->low[r][c] = low < node->low[r][c] ? low : node->low[r][c];
                    node->high[r][c] = high > node->high[r][c] ? high : node->high[r][c];
                }
        }
    }
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

static enum kf_kernel_status make_order(const struct kf_work *work, const struct kf_mesh *mesh, struct kf_bvh *out)
{
    double low[3], high[3];
    enum kf_kernel_status status = find_bounds(work, mesh, low, high);
    if (status)
        return status;
    double widest = 0;
    for (int r = 0; r < 3; r++) {
        widest = high[r] - low[r] > widest ? high[r] - low[r] : widest;
        double far = high[r] > -low[r] ? high[r] : -low[r];
        out->largest = far > out->largest ? far : out->largest;
    }
    double scale = widest > 0 ? 65535 / widest : 0;
    int64_t n = mesh->triangles;
    struct kf_sort_entry *list = kf_work_take(work, n * (int64_t)sizeof *list);
    struct kf_sort_entry *spare = kf_work_take(work, n * (int64_t)sizeof *spare);
    out->order = kf_work_take(work, n * (int64_t)sizeof *out->order);
    status = list && spare && out->order ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        struct kf_loop loop = kf_loop_make(work, n / BLOCK + 1, 0.2, 0.4);
#pragma omp parallel for num_threads(work->threads) schedule(static)
        for (int64_t t = 0; t < n; t++) {
            if (t % BLOCK == 0)
                (void)kf_loop_stop(&loop);
            list[t] = (struct kf_sort_entry){key_of(mesh, t, low, scale), (uint32_t)t, 0};
        }
        status = loop.stop ? KF_KERNEL_CANCELLED : kf_sort(work, list, spare, n, 48);
    }
    for (int64_t t = 0; t < n && !status; t++)
        out->order[t] = list[t].value;
    kf_work_give(work, list);
    kf_work_give(work, spare);
    return status;
}

enum kf_kernel_status kf_bvh_make(const struct kf_work *work, const struct kf_mesh *mesh, struct kf_bvh *out)
{
    *out = (struct kf_bvh){.mesh = mesh};
    if (mesh->triangles >= UINT32_MAX)
        return KF_KERNEL_TOO_LARGE;
    if (mesh->triangles == 0)
        return KF_KERNEL_OK;
    enum kf_kernel_status status = make_order(work, mesh, out);
    for (int64_t count = mesh->triangles; !status; count = out->nodes[out->levels - 1]) {
        if (out->levels && count == 1)
            break;
        int l = out->levels++;
        out->nodes[l] = (count + WIDTH - 1) / WIDTH;
        out->node[l] = kf_work_take(work, out->nodes[l] * (int64_t)sizeof *out->node[l]);
        status = out->node[l] ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
        if (!status)
            status = fill_level(work, out, l);
    }
    if (!status && kf_work_step(work, 1))
        status = KF_KERNEL_CANCELLED;
    if (status)
        kf_bvh_release(work, out);
    return status;
}

// ---- nearest point ----

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static double part(double a, double whole)
{
    return whole > 0 ? a / whole : 0;
}

// Weights of a triangle's corners in its point nearest to p; returns which corners hold it: bits 0 to 2.
static inline int weigh(const double ab[3], const double ac[3], const double ap[3], const double bp[3],
                        const double cp[3], double *u, double *w)
{
    double d1 = dot(ab, ap), d2 = dot(ac, ap), d3 = dot(ab, bp), d4 = dot(ac, bp), d5 = dot(ab, cp), d6 = dot(ac, cp);
    *u = *w = 0;
    if (d1 <= 0 && d2 <= 0)
        return 1;
    if (d3 >= 0 && d4 <= d3) {
        *u = 1;
        return 2;
    }
    if (d6 >= 0 && d5 <= d6) {
        *w = 1;
        return 4;
    }
    double vc = d1 * d4 - d3 * d2, vb = d5 * d2 - d1 * d6, va = d3 * d6 - d5 * d4;
    if (vc <= 0 && d1 >= 0 && d3 <= 0 && d1 > d3) { // the first two corners are two
        *u = part(d1, d1 - d3);
        return 3;
    }
    if (vb <= 0 && d2 >= 0 && d6 <= 0) {
        *w = part(d2, d2 - d6);
        return 5;
    }
    double along = d4 - d3, back = d5 - d6, all = va + vb + vc;
    if ((va <= 0 && along >= 0 && back >= 0) || !(all > 0)) {
        double at = part(along, along + back);
        *w = at < 0 ? 0 : at > 1 ? 1 : at;
        *u = 1 - *w;
        return 6;
    }
    *u = vb / all;
    *w = vc / all;
    return 7;
}

static inline int nearest_of(const struct kf_mesh *mesh, uint32_t triangle, const double p[3], double nearest[3],
                             double *distance2, double *u, double *w)
{
    double a[3], ab[3], ac[3], ap[3], bp[3], cp[3], sum = 0;
    const uint32_t *i = mesh->index + 3 * (int64_t)triangle;
    for (int r = 0; r < 3; r++) {
        double b = (double)mesh->xyz[3 * (int64_t)i[1] + r], c = (double)mesh->xyz[3 * (int64_t)i[2] + r];
        a[r] = (double)mesh->xyz[3 * (int64_t)i[0] + r];
        ab[r] = b - a[r];
        ac[r] = c - a[r];
        ap[r] = p[r] - a[r];
        bp[r] = p[r] - b;
        cp[r] = p[r] - c;
    }
    int corners = weigh(ab, ac, ap, bp, cp, u, w);
    for (int r = 0; r < 3; r++) {
        nearest[r] = a[r] + (*u * ab[r] + *w * ac[r]);
        sum += (nearest[r] - p[r]) * (nearest[r] - p[r]);
    }
    *distance2 = sum;
    return corners;
}

double kf_triangle_distance2(const struct kf_mesh *mesh, uint32_t triangle, const double p[3], double nearest[3])
{
    double distance2, u, w;
    nearest_of(mesh, triangle, p, nearest, &distance2, &u, &w);
    return distance2;
}

int kf_triangle_place(const struct kf_mesh *mesh, uint32_t triangle, const double p[3], double share[3])
{
    double nearest[3], distance2;
    int corners = nearest_of(mesh, triangle, p, nearest, &distance2, &share[1], &share[2]);
    share[0] = 1 - share[1] - share[2];
    return corners;
}

struct item {
    float low2;
    uint32_t node;
    int level;
};

// Lower bounds of the square distances from p to the eight boxes. `slack` covers that p was rounded to float and the
// factor what the sums round, so that no bound is ever above the truth.
static void box_distances2(const struct kf_bvh_node *node, const float p[3], float slack, float low2[WIDTH])
{
    for (int c = 0; c < WIDTH; c++)
        low2[c] = 0;
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < WIDTH; c++) {
            float under = node->low[r][c] - p[r], over = p[r] - node->high[r][c];
            float gap = (under > over ? under : over) - slack;
            gap = gap > 0 ? gap : 0;
            low2[c] += gap * gap;
        }
    for (int c = 0; c < WIDTH; c++)
        low2[c] *= 0.99999f;
}

static void try_triangle(const struct kf_bvh *b, uint32_t t, const double p[3], struct kf_bvh_nearest *best)
{
    double q[3], d2 = kf_triangle_distance2(b->mesh, t, p, q);
    if (d2 < best->distance2) {
        best->distance2 = d2;
        best->triangle = t;
        memcpy(best->point, q, sizeof q);
    }
}

// Pushes the children that may hold something nearer, the nearest last.
static int push_children(const struct item *at, const float low2[WIDTH], double best2, struct item *stack, int top)
{
    int first = top;
    for (int c = 0; c < WIDTH; c++) {
        if (!((double)low2[c] < best2))
            continue;
        int place = top++;
        for (; place > first && stack[place - 1].low2 < low2[c]; place--)
            stack[place] = stack[place - 1];
        stack[place] = (struct item){low2[c], WIDTH * at->node + (uint32_t)c, at->level - 1};
    }
    return top;
}

int kf_bvh_nearest(const struct kf_bvh *b, const double p[3], uint32_t hint, struct kf_bvh_nearest *out)
{
    return kf_bvh_near(b, p, hint, -1, out);
}

int kf_bvh_near(const struct kf_bvh *b, const double p[3], uint32_t hint, double enough2, struct kf_bvh_nearest *out)
{
    *out = (struct kf_bvh_nearest){.distance2 = __builtin_inf(), .triangle = UINT32_MAX};
    if (!b->levels)
        return 0;
    if (hint < b->mesh->triangles)
        try_triangle(b, hint, p, out);
    struct item stack[STACK];
    int top = 0;
    float at[3] = {(float)p[0], (float)p[1], (float)p[2]};
    double far = b->largest;
    for (int r = 0; r < 3; r++)
        far = __builtin_fabs(p[r]) > far ? __builtin_fabs(p[r]) : far;
    float slack = (float)(far * 2.5e-7);
    stack[top++] = (struct item){0, 0, b->levels - 1};
    while (top && out->distance2 > enough2) {
        struct item now = stack[--top];
        if (!((double)now.low2 < out->distance2))
            continue;
        float low2[WIDTH];
        out->looks++;
        box_distances2(&b->node[now.level][now.node], at, slack, low2);
        if (now.level) {
            top = push_children(&now, low2, out->distance2, stack, top);
            continue;
        }
        for (int c = 0; c < WIDTH; c++)
            if ((double)low2[c] < out->distance2) {
                out->looks++;
                try_triangle(b, b->order[WIDTH * (int64_t)now.node + c], p, out);
            }
    }
    return 1;
}

// ---- overlaps ----

int64_t kf_bvh_overlaps(const struct kf_bvh *b, const float low[3], const float high[3], int64_t from,
                        int (*found)(void *user, int64_t place), void *user)
{
    struct item stack[STACK];
    int top = 0;
    int64_t looks = 0, span[KF_BVH_LEVELS]; // triangles below a child of a node of each level
    span[0] = 1;
    for (int l = 1; l < b->levels; l++)
        span[l] = WIDTH * span[l - 1];
    if (b->levels)
        stack[top++] = (struct item){0, 0, b->levels - 1};
    while (top) {
        struct item now = stack[--top];
        looks++;
        const struct kf_bvh_node *node = &b->node[now.level][now.node];
        int hit[WIDTH];
        for (int c = 0; c < WIDTH; c++)
            hit[c] = 1;
        for (int r = 0; r < 3; r++)
            for (int c = 0; c < WIDTH; c++)
                hit[c] &= (node->low[r][c] <= high[r]) & (node->high[r][c] >= low[r]);
        for (int c = 0; c < WIDTH; c++) {
            int64_t child = WIDTH * (int64_t)now.node + c;
            if (!hit[c] || (child + 1) * span[now.level] <= from)
                continue;
            if (now.level)
                stack[top++] = (struct item){0, (uint32_t)child, now.level - 1};
            else if (found(user, child))
                return looks;
        }
    }
    return looks;
}
